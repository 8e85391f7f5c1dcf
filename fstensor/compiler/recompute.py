"""Values that are computed where they are read, instead of being written to memory first.

So are cheap ones that are there for one equation only: one that finds elements by their index, as
a pad does, or that reads indices, as a gather does, once for many elements. And so are several
cheap functions of one value, as an activation and its slope, which the backward pass reads again:
the value itself takes less memory than they do.
"""

from __future__ import annotations

from collections.abc import Mapping

from fstensor.compiler.kernels import LOADS
from fstensor.compiler.kinds import form_of
from fstensor.core.affine import Affine
from fstensor.core.jaxpr import Atom, Eqn, Jaxpr, Var
from fstensor.core.scalar import ELEMENTARY
from fstensor.ops.arrange import Concatenate
from fstensor.ops.families import PerElement
from fstensor.ops.gather import Gather
from fstensor.ops.index import DynamicSlice, DynamicUpdateSlice, Pad
from fstensor.ops.scatter import Scattering
from fstensor.ops.window import Windowed

_ELEMENTARY = frozenset(ELEMENTARY)
_COSTLY = {"div", "rem", "sqrt", *ELEMENTARY}
# The most equations that are computed for one other, and their longest form.
_MOST_EQUATIONS = 12
_LONGEST = 6


def recomputed(jaxpr: Jaxpr, kinds: Mapping[int, str]) -> set[int]:
    """The identities of the equations whose results are computed where they are read.

    kinds: of the equations, by their identities; see `fuse`.
    """
    uses: dict[Var, list[tuple[Eqn | None, int]]] = {}
    for eqn in jaxpr.eqns:
        for k, a in enumerate(eqn.invars):
            if isinstance(a, Var):
                uses.setdefault(a, []).append((eqn, k))
    for a in jaxpr.outvars:
        if isinstance(a, Var):
            uses.setdefault(a, []).append((None, 0))
    ends: dict[int, int] = {}  # the equation that a result is computed for
    counts: dict[int, int] = {}
    found: set[int] = set()
    for eqn in reversed(jaxpr.eqns):
        kind = kinds[id(eqn)]
        if kind not in ("point", "view", "indexed", "parts"):
            continue
        readers = uses.get(eqn.outvars[0], ())
        of = {_end(reader, k, ends, kinds) for reader, k in readers}
        end = of.pop() if len(of) == 1 else None
        if end is None:
            continue
        if kind == "view" and _is_regular(eqn):
            ends[id(eqn)] = end
        elif kind == "point" and _is_cheap(eqn) and counts.get(end, 0) < _MOST_EQUATIONS:
            ends[id(eqn)] = end
            counts[end] = counts.get(end, 0) + 1
            found.add(id(eqn))
        elif kind in ("indexed", "parts") and all(_joins_columns(eqn, r, k) for r, k in readers):
            ends[id(eqn)] = end
            found.add(id(eqn))
    return found


def derived(jaxpr: Jaxpr, kinds: Mapping[int, str]) -> set[int]:
    """The identities of cheap functions of one value, of which that value is kept instead."""
    readers: dict[Var, list[Eqn | None]] = {}
    for eqn in jaxpr.eqns:
        for v in dict.fromkeys(a for a in eqn.invars if isinstance(a, Var)):
            readers.setdefault(v, []).append(eqn)
    for a in jaxpr.outvars:
        if isinstance(a, Var):
            readers.setdefault(a, []).append(None)
    constants: set[Atom] = set()
    source: dict[Var, Var] = {}
    functions: dict[Var, list[Eqn]] = {}
    for eqn in jaxpr.eqns:
        if kinds[id(eqn)] not in ("view", "point"):
            continue
        (out,) = eqn.outvars
        operands = [a for a in eqn.invars if isinstance(a, Var) and a not in constants]
        of = {source.get(v, v) for v in operands}
        if kinds[id(eqn)] == "view":
            if not of:
                constants.add(out)
            continue
        if len(of) != 1 or not _is_simple(eqn):
            continue
        (x,) = of
        if all(v.aval.shape == out.aval.shape for v in operands):
            source[out] = x
            functions.setdefault(x, []).append(eqn)
    found: set[int] = set()
    for x, eqns in functions.items():
        own = set(map(id, eqns))
        size, beyond = 0, list[Eqn | None]()
        for v in (e.outvars[0] for e in eqns):
            others = [r for r in readers.get(v, ()) if r is None or id(r) not in own]
            size += v.aval.dtype.itemsize * bool(others)
            beyond += others
        is_worth_it = len(eqns) <= _MOST_EQUATIONS and size > x.aval.dtype.itemsize
        if is_worth_it and all(_reads_anything(r, kinds, readers) for r in beyond):
            found |= own
    return found


def _reads_anything(
    reader: Eqn | None, kinds: Mapping[int, str], readers: Mapping[Var, list[Eqn | None]]
) -> bool:
    """Whether an equation can compute what it reads, or so can those that read its view of that."""
    if reader is None:
        return False
    kind = kinds[id(reader)]
    if kind != "view":
        return kind in ("point", "reduce") or isinstance(reader.primitive, Windowed)
    beyond = readers.get(reader.outvars[0], ())
    return _is_regular(reader) and all(
        r is not None
        and not isinstance(r.primitive, Windowed)
        and _reads_anything(r, kinds, readers)
        for r in beyond
    )


def _is_simple(eqn: Eqn) -> bool:
    ops = _operations(eqn)
    return len(ops) <= _LONGEST and not _ELEMENTARY.intersection(ops)


def _operations(eqn: Eqn) -> list[str]:
    """What an equation of the kind "point" does to each element."""
    primitive = eqn.primitive
    assert isinstance(primitive, PerElement)
    form = form_of(primitive, tuple([a.aval.dtype for a in eqn.invars]))
    assert form is not None, "its kind is point"
    return [i.op for i in form if i.op not in ("constant", *LOADS)]


def _is_regular(view: Eqn) -> bool:
    """Whether a rearrangement reads its operand by an index, not as a part of memory."""
    index = tuple([Affine.axis(d, n) for n in [view.outvars[0].aval.ndim] for d in range(n)])
    return view.primitive.source_index(index, view.invars[0].aval) is not None


def _end(
    reader: Eqn | None, k: int, ends: Mapping[int, int], kinds: Mapping[int, str]
) -> int | None:
    """The equation that computes an operand of the reader while it runs; None if there is none."""
    if reader is None:
        return None
    return ends.get(id(reader)) or (id(reader) if _computes(reader, k, kinds) else None)


def _computes(reader: Eqn, k: int, kinds: Mapping[int, str]) -> bool:
    """Whether an equation can compute its operand k instead of reading it."""
    primitive = reader.primitive
    if kinds[id(reader)] == "indexed":
        if isinstance(primitive, (Gather, DynamicSlice)):
            return k > 0
        return isinstance(primitive, (Pad, Concatenate))
    if kinds[id(reader)] in ("scatter", "parts"):
        return k > 0 or not isinstance(primitive, (Scattering, DynamicUpdateSlice))
    return False


def _joins_columns(eqn: Eqn, reader: Eqn | None, k: int) -> bool:
    """Whether an equation joins the columns of indices, of which the reader takes one at a time."""
    primitive = eqn.primitive
    takes = reader and isinstance(reader.primitive, (Gather, Scattering)) and k == 1
    last = eqn.outvars[0].aval.ndim - 1
    return bool(takes) and isinstance(primitive, Concatenate) and primitive.dimension == last


def _is_cheap(eqn: Eqn) -> bool:
    return not _COSTLY.intersection(_operations(eqn)) and _is_simple(eqn)

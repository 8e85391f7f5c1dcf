"""Arrays of one number throughout: elementwise operations take the number instead."""

from __future__ import annotations

from collections.abc import Sequence

from fstensor.compiler.fold import folded
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Literal, Var
from fstensor.ops.families import Elementwise
from fstensor.ops.logical import SelectN
from fstensor.ops.shape import BroadcastInDim


def take_numbers(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program in which elementwise operations read numbers that were broadcast for them.

    What such operations make of broadcast numbers alone is a broadcast number itself.
    """
    j = closed.jaxpr
    number: dict[Var, Literal] = {}  # that the elements of a value all are
    eqns = []
    for eqn in j.eqns:
        primitive = eqn.primitive
        if isinstance(primitive, (Elementwise, SelectN)):
            invars = [number.get(a, a) if isinstance(a, Var) else a for a in eqn.invars]
            eqn = _with_numbers(eqn, invars)
            primitive = eqn.primitive
        if isinstance(primitive, BroadcastInDim):
            (x,) = eqn.invars
            x = number.get(x, x) if isinstance(x, Var) else x
            if isinstance(x, Literal):
                number[eqn.outvars[0]] = x
                primitive = BroadcastInDim(primitive.shape, ())
                eqn = Eqn(primitive, [x], eqn.outvars, eqn.source_info)
        eqns.append(eqn)
    changed = Jaxpr(j.constvars, j.invars, j.outvars, eqns, j.debug_info)
    return ClosedJaxpr(changed, closed.consts)


def _with_numbers(eqn: Eqn, invars: Sequence[Atom]) -> Eqn:
    """The equation with these operands, or what it comes to; as it is where neither fits."""
    if all(a is b for a, b in zip(invars, eqn.invars, strict=True)):
        return eqn
    (out,) = eqn.outvars
    known = all(isinstance(a, Literal) for a in invars)
    if isinstance(eqn.primitive, SelectN) and not known:
        return eqn  # its cases must have the shape of the result
    aval = eqn.primitive.infer(tuple([a.aval for a in invars]))
    if aval == out.aval:
        return Eqn(eqn.primitive, invars, [out], eqn.source_info)
    value = folded(eqn.primitive, invars, aval) if known else None
    if value is None or aval != out.aval.update(shape=()):
        return eqn
    return Eqn(BroadcastInDim(out.aval.shape, ()), [Literal(value)], [out], eqn.source_info)

"""How a program's native code is called, written down beside the code itself.

What the compiler makes of a program depends on its equations, not on the values of constants. So a
process that finds an entry for the same equations fuses, plans and writes nothing: it numbers the
program's variables, and reads which of them each native function takes and gives.

An entry is a line of JSON, then object code.
"""

from __future__ import annotations

import json
from typing import Any, final

from fstensor import dtypes
from fstensor.compiler.calls import Assembled, Call, Part
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Literal, Var


def written(source: ClosedJaxpr, assembled: Assembled) -> bytes | None:
    """The first line of an entry; None where what is called does not all stand in the program."""
    try:
        parts = _Writer(source).written(assembled)
    except LookupError:
        return None
    return json.dumps(parts, separators=(",", ":")).encode() + b"\n"


def read(source: ClosedJaxpr, entry: bytes) -> tuple[Assembled, bytes]:
    """How a program is run, and the object code for it."""
    text, _, code = entry.partition(b"\n")
    return _assembled(source, json.loads(text)), code


def _variables(source: ClosedJaxpr) -> list[Var]:
    j = source.jaxpr
    return [*j.constvars, *j.invars, *(v for e in j.eqns for v in e.outvars)]


@final
class _Writer:
    """Variables as numbers: those of the program in their order, then others with their types."""

    def __init__(self, source: ClosedJaxpr) -> None:
        self.source = source
        self.numbers = {v: n for n, v in enumerate(_variables(source))}
        self.maker = {e.outvars[0]: n for n, e in enumerate(source.eqns) if e.outvars}
        self.others: list[Any] = []

    def written(self, assembled: Assembled) -> dict[str, Any]:
        made = {v for p in assembled.parts for v in (p.outvars if isinstance(p, Eqn) else p.writes)}
        self.made = {*made, *self.numbers}
        return {
            "parts": [self._part(p) for p in assembled.parts],
            "outputs": [self._atom(a) for a in assembled.outputs],
            "others": self.others,
        }

    def _part(self, part: Part) -> list[Any]:
        if isinstance(part, Eqn):
            n = self.maker[part.outvars[0]]
            if self.source.eqns[n].primitive is not part.primitive:
                raise LookupError("an equation that the program has in another form")
            return [n, [self._atom(a) for a in part.invars]]
        origin = part.origin and part.origin.outvars
        return [
            part.function,
            [self._number(v) for v in part.reads],
            [self._number(v) for v in part.writes],
            part.scratch,
            part.workspace,
            part.shared,
            part.takes,
            self.maker.get(origin[0]) if origin else None,
        ]

    def _atom(self, atom: Atom) -> int | None:
        """None for a number, which stands in the same place of the program."""
        return None if isinstance(atom, Literal) else self._number(atom)

    def _number(self, v: Var) -> int:
        if v not in self.numbers:
            if v not in self.made:
                raise LookupError("a constant that belongs to a program inside of this one")
            self.numbers[v] = len(self.numbers)
            self.others.append([list(v.aval.shape), dtypes.name(v.aval.dtype)])
        return self.numbers[v]


def _assembled(source: ClosedJaxpr, found: dict[str, Any]) -> Assembled:
    variables = _variables(source)
    for shape, dtype in found["others"]:
        variables.append(Var(ShapedArray(tuple(shape), dtypes.canonical(dtype))))

    def atoms(numbers: list[int | None], instead: list[Atom]) -> list[Atom]:
        pairs = zip(numbers, instead, strict=True)
        return [a if n is None else variables[n] for n, a in pairs]

    parts: list[Part] = []
    for first, *rest in found["parts"]:
        if isinstance(first, int):
            eqn = source.eqns[first]
            operands = atoms(rest[0], list(eqn.invars))
            parts.append(Eqn(eqn.primitive, operands, eqn.outvars, eqn.source_info))
        else:
            reads, writes, scratch, workspace, shared, takes, origin = rest
            parts.append(
                Call(
                    first,
                    [variables[n] for n in reads],
                    [variables[n] for n in writes],
                    scratch,
                    workspace,
                    shared,
                    [(k, i) for k, i in takes],
                    None if origin is None else source.eqns[origin],
                )
            )
    return Assembled(parts, atoms(found["outputs"], list(source.jaxpr.outvars)), {})

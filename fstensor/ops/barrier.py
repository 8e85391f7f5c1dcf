"""A border that optimizations do not cross."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from fstensor import tree
from fstensor.array import lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value, primitive


@final
@primitive("optimization_barrier")
class OptimizationBarrier(Primitive):
    """The operands themselves, none of which is available before all of them are computed."""

    multiple_results = True
    stays_apart = True

    def abstract(self, *xs: ShapedArray) -> list[ShapedArray]:
        return list(xs)

    def impl(self, xp: Any, *xs: Any) -> Any:
        return xs

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), _among_others(tangents)

    def transpose(self, cts: Sequence[Value], *xs: Value) -> Sequence[Value]:
        return [
            ct if isinstance(x, Linear) else None
            for ct, x in zip(_among_others(cts), xs, strict=True)
        ]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Sequence[int | None]]:
        return self.bind(*args), dims


def _among_others(values: Sequence[Value]) -> list[Value]:
    """Those that are not zero behind a barrier, the others as they are."""
    known = [x for x in values if x is not ZERO]
    passed = iter(OptimizationBarrier().bind(*known))
    return [ZERO if x is ZERO else next(passed) for x in values]


def optimization_barrier(operand: Any, /) -> Any:
    """`operand`, kept apart from what comes before: no optimization moves operations across.

    operand: a tree of arrays, all of which are computed before any of them is used. Their tangents
        and cotangents pass a barrier of their own.
    """
    leaves, structure = tree.flatten(operand)
    if not leaves:
        return operand
    arrays = [lift(x, what="optimization_barrier") for x in leaves]
    return tree.unflatten(structure, OptimizationBarrier().bind(*arrays))

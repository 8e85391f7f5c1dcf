"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from fstensor import ops
from fstensor.array import Array, ArrayLike, lift, normalize_axes
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import MappedAxis, Primitive, Value, primitive
from fstensor.ops.elementwise import div, mul
from fstensor.ops.families import NUMBER, ORDERED, Kind
from fstensor.errors import ShapeError


class Reduction(Primitive):
    """Combines the elements along `axes`, which the result lacks."""

    axes: tuple[int, ...]
    takes: Kind = NUMBER

    def abstract(self, x: ShapedArray) -> ShapedArray:
        self.takes.check(self.name, x)
        return x.update(shape=tuple([n for i, n in enumerate(x.shape) if i not in self.axes]))

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        d = dims[0]
        assert d is not None
        axes = tuple([a + (a >= d) for a in self.axes])
        # The batch moves forward by the reduced axes before it.
        return type(self)(axes).bind(args[0]), d - sum(a < d for a in axes)  # type: ignore[call-arg]


@final
@primitive("reduce_sum")
class ReduceSum(Reduction):
    """Sum over `axes`."""

    axes: tuple[int, ...]

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.sum(x, self.axes, x.dtype)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(*tangents)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        kept = tuple([i for i in range(x.ndim) if i not in self.axes])
        return [ops.shape.broadcast_in_dim(ct, x.shape, kept)]


def reduce_sum(x: ArrayLike, axes: Sequence[int]) -> Array:
    """Sum of `x` over `axes`. No axes: `x` itself.

    Raises: AxisError for an axis that does not exist.
    """
    x = lift(x)
    chosen = normalize_axes(tuple(axes), x.ndim, "reduce_sum")
    return ReduceSum(chosen).bind(x) if chosen else x

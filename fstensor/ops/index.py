"""Reading and writing parts of arrays: static and dynamic slices, padding, gather and scatter."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, final

from fstensor import ops
from fstensor.array import Array, ArrayLike, lift, normalize_axis
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import Linear, MappedAxis, Primitive, Value, primitive
from fstensor.errors import OutOfBoundsError, ShapeError
from fstensor.ops.families import Structural, check_same_dtype, constant
from fstensor.ops.shape import moveaxis


@final
@primitive("slice")
class Slice(Structural):
    """The part from `start_indices` up to `limit_indices`, by positive `strides`."""

    start_indices: tuple[int, ...]
    limit_indices: tuple[int, ...]
    strides: tuple[int, ...] | None

    def abstract(self, x: ShapedArray) -> ShapedArray:
        starts, limits = self.start_indices, self.limit_indices
        strides = self.strides or (1,) * x.ndim
        if not len(starts) == len(limits) == len(strides) == x.ndim:
            raise ShapeError(
                f"slice: needs a start, limit and stride for each axis, got {starts}, {limits} "
                f"and {self.strides} for {x}"
            )
        for start, limit, stride, n in zip(starts, limits, strides, x.shape, strict=True):
            if not 0 <= start <= limit <= n or stride < 1:
                raise OutOfBoundsError(
                    f"slice: 0 <= start <= limit <= size and stride >= 1 must hold on every axis, "
                    f"got {start}:{limit}:{stride} on an axis of size {n} of {x}"
                )
        sizes = zip(starts, limits, strides, strict=True)
        return x.update(shape=tuple([-(-(b - a) // s) for a, b, s in sizes]))

    def impl(self, xp: Any, x: Any) -> Any:
        strides = self.strides or (1,) * x.ndim
        return x[tuple(map(builtins.slice, self.start_indices, self.limit_indices, strides))]

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        strides = self.strides or (1,) * x.ndim
        config = []
        for n, start, stride, m in zip(x.shape, self.start_indices, strides, ct.shape, strict=True):
            covered = start + max(0, (m - 1) * stride + 1)
            config.append((start, n - covered, stride - 1))
        return [pad(ct, constant(0, ct), config)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        strides = None if self.strides is None else (1, *self.strides)
        part = Slice((0, *self.start_indices), (axis.size, *self.limit_indices), strides)
        return part.bind(moveaxis(args[0], dims[0], 0)), 0


def slice(
    operand: ArrayLike,
    start_indices: Sequence[int],
    limit_indices: Sequence[int],
    strides: Sequence[int] | None = None,
) -> Array:
    """The part of `operand` from start_indices up to limit_indices, by positive strides.

    Raises: OutOfBoundsError when 0 <= start <= limit <= size fails, ShapeError for wrong lengths.
    """
    x = lift(operand)
    steps = None if strides is None or all(s == 1 for s in strides) else tuple(strides)
    return Slice(tuple(start_indices), tuple(limit_indices), steps).bind(x)


def slice_in_dim(
    operand: ArrayLike,
    start_index: int | None,
    limit_index: int | None,
    stride: int = 1,
    axis: int = 0,
) -> Array:
    """A slice along one axis; negative indices count from the end, None is the whole side."""
    x = lift(operand)
    axis = normalize_axis(axis, x.ndim, "slice_in_dim")
    n = x.shape[axis]
    start = 0 if start_index is None else start_index + n * (start_index < 0)
    limit = n if limit_index is None else limit_index + n * (limit_index < 0)
    starts, limits, strides = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[axis], limits[axis], strides[axis] = start, limit, stride
    return slice(x, starts, limits, strides)


@final
@primitive("pad")
class Pad(Primitive):
    """Padding in front, behind and between elements of each axis; negative amounts cut away."""

    padding_config: tuple[tuple[int, int, int], ...]

    def abstract(self, x: ShapedArray, value: ShapedArray) -> ShapedArray:
        check_same_dtype("pad", (x, value))
        if value.shape or len(self.padding_config) != x.ndim:
            raise ShapeError(
                f"pad: needs a scalar value and (low, high, interior) for each axis, "
                f"got {value} and {self.padding_config} for {x}"
            )
        shape = tuple(
            [
                low + high + n + max(0, n - 1) * interior
                for n, (low, high, interior) in zip(x.shape, self.padding_config, strict=True)
            ]
        )
        if any(n < 0 for n in shape) or any(c[2] < 0 for c in self.padding_config):
            raise ShapeError(
                f"pad: sizes and interior padding must not be negative, got {self.padding_config} "
                f"for {x}, which gives {shape}"
            )
        return x.update(shape=shape, weak_type=x.weak_type and value.weak_type)

    def impl(self, xp: Any, x: Any, value: Any) -> Any:
        grown = [
            max(low, 0) + max(high, 0) + n + max(0, n - 1) * interior
            for n, (low, high, interior) in zip(x.shape, self.padding_config, strict=True)
        ]
        out = xp.full(grown, value, x.dtype)
        inside = [
            builtins.slice(max(low, 0), max(low, 0) + max(0, (n - 1) * (interior + 1) + 1), interior + 1)
            for n, (low, _, interior) in zip(x.shape, self.padding_config, strict=True)
        ]
        if x.size:
            out[tuple(inside)] = x
        cut = [
            builtins.slice(max(-low, 0), size - max(-high, 0))
            for size, (low, high, _) in zip(grown, self.padding_config, strict=True)
        ]
        return out[tuple(cut)]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        x, value = primals
        filled = ops.logical.filled(tangents, (x.aval, value.aval))
        return self.bind(x, value), self.bind(*filled)

    def transpose(self, ct: Array, x: Value, value: Value) -> Sequence[Value]:
        ct_x = None
        opposite = [(-low, -high, 0) for low, high, _ in self.padding_config]
        interiors = [c[2] + 1 for c in self.padding_config]
        if isinstance(x, Linear):
            cut = pad(ct, constant(0, ct), opposite)
            ct_x = slice(cut, [0] * cut.ndim, cut.shape, interiors)
        ct_value = None
        if isinstance(value, Linear):
            # What the padding received is all of ct but what x received.
            ones = ops.shape.full(x.shape, 1, ct.dtype)
            mask = pad(ones, constant(0, ct), self.padding_config)
            everywhere = ops.elementwise.mul(ct, ops.elementwise.sub(constant(1, ct), mask))
            ct_value = ops.reduce.reduce_sum(everywhere, range(ct.ndim))
        return [ct_x, ct_value]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        x, value = args
        if dims[1] is None:
            return Pad(((0, 0, 0), *self.padding_config)).bind(moveaxis(x, dims[0], 0)), 0
        x = x if dims[0] is None else moveaxis(x, dims[0], 0)
        config = (*([] if dims[0] is None else [(0, 0, 0)]), *self.padding_config)
        zero, one = constant(0, x), ops.shape.full(x.shape, 1, x.dtype)
        # Pad with zeros, then put each example's own value where x does not lie.
        inside = ops.logical.ne(Pad(config).bind(one, zero), zero)
        padded = Pad(config).bind(x, zero)
        shape = (axis.size, *padded.shape[len(config) - len(self.padding_config) :])
        kept = tuple(range(1, len(shape)))
        if dims[0] is None:
            inside = ops.shape.broadcast_in_dim(inside, shape, kept)
            padded = ops.shape.broadcast_in_dim(padded, shape, kept)
        values = ops.shape.broadcast_in_dim(value, shape, (0,))
        return ops.logical.select_n(inside, values, padded), 0


def pad(
    operand: ArrayLike, padding_value: ArrayLike, padding_config: Sequence[tuple[int, int, int]]
) -> Array:
    """Pad each axis by (low, high, interior) elements of `padding_value`, a scalar.

    Negative low or high cut elements away; interior puts that many between neighbours.
    Raises: ShapeError when the configuration does not fit, DtypeError when dtypes differ.
    """
    x = lift(operand)
    is_scalar = isinstance(padding_value, (bool, int, float, complex))
    value = lift(padding_value, x.dtype if is_scalar else None)
    return Pad(tuple([(int(a), int(b), int(c)) for a, b, c in padding_config])).bind(x, value)

"""Parts of arrays that are boxes: static and dynamic slices, their updates, and padding."""

from __future__ import annotations

import builtins
import functools
import operator
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes, ops
from fstensor.array import Array, ArrayLike, lift, normalize_axis
from fstensor.config import config
from fstensor.core.affine import Index
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import Linear, MappedAxis, Primitive, Value, primitive
from fstensor.core.scalar import INT32, INT64, Elements, IndexedOps, V
from fstensor.errors import ArgumentError, DtypeError, OutOfBoundsError, ShapeError
from fstensor.ops.bounds import checked_index
from fstensor.ops.elementwise import add
from fstensor.ops.families import Structural, check_same_dtype, constant
from fstensor.ops.logical import filled, lt, select_n
from fstensor.ops.shape import expand_dims, moveaxis, squeeze, zeros_of


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
        if self.strides is None:
            return x[tuple(map(builtins.slice, self.start_indices, self.limit_indices))]
        return x[tuple(map(builtins.slice, self.start_indices, self.limit_indices, self.strides))]

    def source_index(self, index: Index, x: ShapedArray) -> Index:
        steps = self.strides or (1,) * x.ndim
        places = zip(index, steps, self.start_indices, strict=True)
        return tuple([i * step + start for i, step, start in places])

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
    steps = None if strides is None else tuple(strides)
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


def index_in_dim(operand: ArrayLike, index: int, axis: int = 0, keepdims: bool = True) -> Array:
    """The part of `operand` at a static `index` along one axis; negative ones count from the end.

    Shapes: the axis has size 1 in the result, or is dropped when not keepdims.
    Raises: OutOfBoundsError when the axis has no such index, AxisError when there is no such axis.
    """
    x = lift(operand)
    axis = normalize_axis(axis, x.ndim, "index_in_dim")
    i, n = operator.index(index), x.shape[axis]
    if not -n <= i < n:
        raise OutOfBoundsError(f"index_in_dim: {i} is out of bounds for axis {axis} of {x.aval}")
    i += n * (i < 0)
    part = slice_in_dim(x, i, i + 1, 1, axis)
    return part if keepdims else squeeze(part, (axis,))


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
            builtins.slice(
                max(low, 0), max(low, 0) + max(0, (n - 1) * (interior + 1) + 1), interior + 1
            )
            for n, (low, _, interior) in zip(x.shape, self.padding_config, strict=True)
        ]
        if x.size:
            out[tuple(inside)] = x
        cut = [
            builtins.slice(max(-low, 0), size - max(-high, 0))
            for size, (low, high, _) in zip(grown, self.padding_config, strict=True)
        ]
        return out[tuple(cut)]

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        x, value = operands
        if any(interior for _, _, interior in self.padding_config):
            return NotImplemented
        place = tuple([i + -c[0] for i, c in zip(index, self.padding_config, strict=True)])
        tests = []
        for i, n, (low, high, _) in zip(place, x.aval.shape, self.padding_config, strict=True):
            dtype = INT32 if low + n + high < 1 << 31 else INT64
            if low > 0:
                tests.append(ops.ge(ops.index(i, dtype), ops.constant(0, dtype)))
            if high > 0:
                tests.append(ops.lt(ops.index(i, dtype), ops.constant(n, dtype)))
        if not tests:
            return x.at(place)
        inside = functools.reduce(ops.and_, tests)
        return ops.select(inside, x.at_if(inside, place), value.at(()))

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
            return Pad(((0, 0, 0), *self.padding_config)).bind(moveaxis(x, dims[0], 0), value), 0
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


def batch_first(x: Array, dim: int | None, size: int) -> Array:
    """For batch rules: `x` with its batch in front, repeated there if all examples share it."""
    if dim is not None:
        return moveaxis(x, dim, 0)
    return ops.shape.broadcast_in_dim(x, (size, *x.shape), tuple(range(1, 1 + x.ndim)))


def wrap_index(index: Array, size: int) -> Array:
    """A traced index with negative values counted from the end of an axis of `size`."""
    if dtypes.is_unsigned(index.dtype):
        return index
    negative = lt(index, constant(0, index))
    return select_n(negative, index, add(index, constant(size, index)))


def as_index(i: ArrayLike, what: str) -> Array:
    """An index as an Array of an integer dtype wide enough for any axis: int32 or int64."""
    if isinstance(i, int) and not isinstance(i, bool):
        fits = -(2**31) <= i < 2**31
        return lift(i, np.dtype(np.int32 if fits else np.int64))
    x = lift(i, what=what)
    if not dtypes.is_integer(x.dtype):
        raise DtypeError(f"{what}: indices must be integers, got {x.aval}; convert with astype")
    if x.dtype.itemsize < 4:
        return ops.convert.convert_element_type(x, np.int32)
    if x.dtype == np.uint32:
        return ops.convert.convert_element_type(x, np.int64)
    return x


def _start_indices(
    what: str,
    x: Array,
    start_indices: ArrayLike | Sequence[ArrayLike],
    sizes: Sequence[int],
    wraps: Sequence[bool],
) -> list[Array]:
    """A scalar start for each axis, with negative ones counted from the end where `wraps`.

    sizes: of the box that starts there.
    """
    starts: list[ArrayLike]
    if isinstance(start_indices, (Array, np.ndarray)):
        if start_indices.ndim != 1:
            got = lift(start_indices).aval
            raise ShapeError(f"{what}: start_indices must have one dimension, got {got}")
        vector = lift(start_indices)
        starts = [index_in_dim(vector, k, 0, keepdims=False) for k in range(vector.shape[0])]
    elif isinstance(start_indices, (tuple, list)):
        starts = list(start_indices)
    else:
        raise ArgumentError(
            f"{what}: start_indices must be a sequence of scalars or an array of one dimension, "
            f"got {type(start_indices).__name__}"
        )
    if len(starts) != x.ndim:
        raise ShapeError(
            f"{what}: needs a start index for each axis, got {len(starts)} for {x.aval}"
        )
    if config.checking and len(sizes) == len(wraps) == x.ndim:
        starts = [
            checked_index(as_index(start, what), x.aval, axis, what, size, wrap)
            for axis, (start, size, wrap) in enumerate(zip(starts, sizes, wraps, strict=True))
        ]
    return [_start(what, *each) for each in zip(starts, x.shape, wraps, strict=True)]


def _start(what: str, start: ArrayLike, size: int, wrap: bool) -> Array:
    if isinstance(start, int) and not isinstance(start, bool):
        return as_index(start + size * (wrap and start < 0), what)
    i = as_index(start, what)
    return wrap_index(i, size) if wrap else i


def _wraps(allowed: bool | Sequence[bool], ndim: int) -> Sequence[bool]:
    return (allowed,) * ndim if isinstance(allowed, bool) else tuple(allowed)


def _check_starts(what: str, starts: Sequence[ShapedArray], x: ShapedArray) -> None:
    if len(starts) != x.ndim or any(s.shape for s in starts):
        got = ", ".join(map(str, starts)) or "none"
        raise ShapeError(f"{what}: needs a scalar start for each axis, got {got} for {x}")
    for s in starts:
        if not dtypes.is_integer(s.dtype):
            raise DtypeError(f"{what}: start indices must be integers, got {s}")


def _box(starts: Sequence[Any], sizes: Sequence[int], shape: Sequence[int]) -> tuple[Any, ...]:
    """The slices of a box of `sizes`, moved inside an array of `shape` where it sticks out."""
    at = [min(max(int(i), 0), n - size) for i, size, n in zip(starts, sizes, shape, strict=True)]
    return tuple([builtins.slice(a, a + size) for a, size in zip(at, sizes, strict=True)])


@final
@primitive("dynamic_slice")
class DynamicSlice(Primitive):
    """The box of `slice_sizes` that starts at given indices, moved inside where it sticks out."""

    slice_sizes: tuple[int, ...]

    def abstract(self, x: ShapedArray, *starts: ShapedArray) -> ShapedArray:
        _check_starts("dynamic_slice", starts, x)
        if len(self.slice_sizes) != x.ndim or any(
            not 0 <= size <= n for size, n in zip(self.slice_sizes, x.shape, strict=True)
        ):
            raise ShapeError(
                "dynamic_slice: slice_sizes must lie between 0 and the size of each axis, "
                f"got {self.slice_sizes} for {x}"
            )
        return x.update(shape=self.slice_sizes)

    def impl(self, xp: Any, x: Any, *starts: Any) -> Any:
        return x[_box(starts, self.slice_sizes, x.shape)]

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        x, *starts = operands
        offsets: list[V | None] = []
        for d, start in enumerate(starts):
            limit = x.aval.shape[d] - self.slice_sizes[d]
            if limit == 0:
                offsets.append(None)
                continue
            first, last = ops.convert(start.at(()), INT64), ops.constant(limit, INT64)
            offsets.append(ops.max(ops.constant(0, INT64), ops.min(first, last)))
        return x.take(index, offsets)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(tangents[0], *primals[1:])

    def transpose(self, ct: Array, x: Value, *starts: Value) -> Sequence[Value]:
        zeros = zeros_of(ct.aval.update(shape=x.shape))
        return [DynamicUpdateSlice().bind(zeros, ct, *starts), *[None] * len(starts)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int | None]:
        x, *starts = args
        shape = [n for i, n in enumerate(x.shape) if i != dims[0]]
        starts, places = _free_starts(starts, dims[1:], self.slice_sizes, shape)
        if all(d is None for d in places):
            if dims[0] is None:
                return self.bind(x, *starts), None
            whole = DynamicSlice((axis.size, *self.slice_sizes))
            zero = lift(0, starts[0].dtype if starts else np.dtype(np.int32))
            return whole.bind(moveaxis(x, dims[0], 0), zero, *starts), 0
        chosen, indices = _index_vectors(starts, places, self.slice_sizes, shape, axis.size)
        numbers = ops.gather.GatherDimensionNumbers(tuple(range(len(shape))), (), chosen)
        one_box = ops.gather.Gather(
            numbers, None, True, ops.gather.GatherScatterMode.CLIP, self.slice_sizes, True
        )
        return one_box.batch(axis, (x, indices), (dims[0], 0))


def _free_starts(
    starts: Sequence[Array],
    dims: Sequence[int | None],
    sizes: Sequence[int],
    shape: Sequence[int],
) -> tuple[list[Array], list[int | None]]:
    """Starts and their batch axes, with 0 for each axis that the box fills."""
    full = [size == n for size, n in zip(sizes, shape, strict=True)]
    return (
        [constant(0, s) if f else s for s, f in zip(starts, full, strict=True)],
        [None if f else d for d, f in zip(dims, full, strict=True)],
    )


def _index_vectors(
    starts: Sequence[Array],
    dims: Sequence[int | None],
    sizes: Sequence[int],
    shape: Sequence[int],
    batch: int,
) -> tuple[tuple[int, ...], Array]:
    """The axes that a box does not fill, and a batch of vectors with its starts along them."""
    chosen = tuple([d for d, n in enumerate(shape) if sizes[d] != n])
    dtype = np.result_type(*[starts[d].dtype for d in chosen])
    columns = []
    for d in chosen:
        column = batch_first(ops.convert.convert_element_type(starts[d], dtype), dims[d], batch)
        columns.append(expand_dims(column, (1,)))
    return chosen, ops.arrange.concatenate(columns, 1)


def dynamic_slice(
    operand: ArrayLike,
    start_indices: ArrayLike | Sequence[ArrayLike],
    slice_sizes: Sequence[int],
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Array:
    """The box of static `slice_sizes` that starts at indices that may be traced.

    start_indices: a scalar for each axis, in a sequence or an array of one dimension. Negative
        ones count from the end, where allowed. A box that would stick out is moved inside.
    Raises: ShapeError when sizes or starts do not fit `operand`, DtypeError when starts are no
        integers.
    """
    x = lift(operand)
    wraps = _wraps(allow_negative_indices, x.ndim)
    sizes = tuple([operator.index(n) for n in slice_sizes])
    starts = _start_indices("dynamic_slice", x, start_indices, sizes, wraps)
    return DynamicSlice(sizes).bind(x, *starts)


@final
@primitive("dynamic_update_slice")
class DynamicUpdateSlice(Primitive):
    """The operand with a box that starts at given indices replaced; moved inside like its slice."""

    def abstract(self, x: ShapedArray, update: ShapedArray, *starts: ShapedArray) -> ShapedArray:
        _check_starts("dynamic_update_slice", starts, x)
        check_same_dtype("dynamic_update_slice", (x, update))
        if update.ndim != x.ndim or any(m > n for m, n in zip(update.shape, x.shape, strict=True)):
            raise ShapeError(
                "dynamic_update_slice: the update must have the operand's rank and be no larger, "
                f"got {update} for {x}"
            )
        return x.update(weak_type=x.weak_type and update.weak_type)

    def impl(self, xp: Any, x: Any, update: Any, *starts: Any) -> Any:
        out = xp.array(x)
        out[_box(starts, update.shape, x.shape)] = update
        return out

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        x, update, *starts = primals
        pushed = filled(tangents[:2], (x.aval, update.aval))
        return self.bind(*primals), self.bind(*pushed, *starts)

    def transpose(self, ct: Array, x: Value, update: Value, *starts: Value) -> Sequence[Value]:
        ct_x = ct_update = None
        if isinstance(x, Linear):
            ct_x = self.bind(ct, zeros_of(ct.aval.update(shape=update.shape)), *starts)
        if isinstance(update, Linear):
            ct_update = DynamicSlice(update.shape).bind(ct, *starts)
        return [ct_x, ct_update, *[None] * len(starts)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        x, update, *starts = args
        sizes = [n for i, n in enumerate(update.shape) if i != dims[1]]
        shape = [n for i, n in enumerate(x.shape) if i != dims[0]]
        starts, places = _free_starts(starts, dims[2:], sizes, shape)
        both = [batch_first(a, d, axis.size) for a, d in zip((x, update), dims[:2], strict=True)]
        if all(d is None for d in places):
            zero = lift(0, starts[0].dtype if starts else np.dtype(np.int32))
            return self.bind(*both, zero, *starts), 0
        chosen, indices = _index_vectors(starts, places, sizes, shape, axis.size)
        numbers = ops.scatter.ScatterDimensionNumbers(tuple(range(len(shape))), (), chosen)
        one_box = ops.scatter.Scatter(numbers, True, ops.gather.GatherScatterMode.CLIP, True)
        return one_box.batch(axis, (both[0], indices, both[1]), (0, 0, 0))


def dynamic_update_slice(
    operand: ArrayLike,
    update: ArrayLike,
    start_indices: ArrayLike | Sequence[ArrayLike],
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Array:
    """`operand` with the box of `update`'s shape that starts at `start_indices` replaced by it.

    Starts are read as by `dynamic_slice`: the box that this writes is the box that it reads.
    Raises: ShapeError when shapes do not fit, DtypeError when dtypes differ.
    """
    x = lift(operand)
    is_scalar = isinstance(update, (bool, int, float, complex))
    new = lift(update, x.dtype if is_scalar else None)
    wraps = _wraps(allow_negative_indices, x.ndim)
    starts = _start_indices("dynamic_update_slice", x, start_indices, new.shape, wraps)
    return DynamicUpdateSlice().bind(x, new, *starts)


def dynamic_slice_in_dim(
    operand: ArrayLike,
    start_index: ArrayLike,
    slice_size: int,
    axis: int = 0,
    *,
    allow_negative_indices: bool = True,
) -> Array:
    """`dynamic_slice` along one axis, whole along the others."""
    x = lift(operand)
    axis = normalize_axis(axis, x.ndim, "dynamic_slice_in_dim")
    sizes = list(x.shape)
    sizes[axis] = slice_size
    starts: list[ArrayLike] = [0] * x.ndim
    starts[axis] = start_index
    wraps = allow_negative_indices
    return dynamic_slice(x, starts, sizes, allow_negative_indices=wraps)


def dynamic_index_in_dim(
    operand: ArrayLike,
    index: ArrayLike,
    axis: int = 0,
    keepdims: bool = True,
    *,
    allow_negative_indices: bool = True,
) -> Array:
    """The part of `operand` at an index that may be traced; its axis has size 1, or is dropped."""
    x = lift(operand)
    axis = normalize_axis(axis, x.ndim, "dynamic_index_in_dim")
    part = dynamic_slice_in_dim(x, index, 1, axis, allow_negative_indices=allow_negative_indices)
    return part if keepdims else squeeze(part, (axis,))


def dynamic_update_slice_in_dim(
    operand: ArrayLike,
    update: ArrayLike,
    start_index: ArrayLike,
    axis: int,
    *,
    allow_negative_indices: bool = True,
) -> Array:
    """`dynamic_update_slice` with a start along one axis, and 0 along the others."""
    x = lift(operand)
    axis = normalize_axis(axis, x.ndim, "dynamic_update_slice_in_dim")
    starts: list[ArrayLike] = [0] * x.ndim
    starts[axis] = start_index
    wraps = allow_negative_indices
    return dynamic_update_slice(x, update, starts, allow_negative_indices=wraps)


def dynamic_update_index_in_dim(
    operand: ArrayLike,
    update: ArrayLike,
    index: ArrayLike,
    axis: int,
    *,
    allow_negative_indices: bool = True,
) -> Array:
    """`operand` with its part at one index along one axis replaced.

    Shapes: `update` has the shape of `operand`, with size 1 along the axis or without it.
    """
    x = lift(operand)
    axis = normalize_axis(axis, x.ndim, "dynamic_update_index_in_dim")
    is_scalar = isinstance(update, (bool, int, float, complex))
    new = lift(update, x.dtype if is_scalar else None)
    if new.ndim != x.ndim:
        new = expand_dims(new, (axis,))
    wraps = allow_negative_indices
    return dynamic_update_slice_in_dim(x, new, index, axis, allow_negative_indices=wraps)

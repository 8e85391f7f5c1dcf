"""Gather: many boxes of one array at given places, and what it shares with scatter.

The dimension numbers are those of XLA ("Gather" and "Scatter" in its operation semantics). The
last axis of `indices` holds the start of one box for each place on its other axes, the batch. Along
each axis of the operand the box is a window, which the output keeps (`offset_dims`), or one
element, which it drops (`collapsed_slice_dims`), or the axis is walked along with one of the batch
(`operand_batching_dims`).
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np

from fstensor import dtypes, ops
from fstensor.array import Array, ArrayLike, lift
from fstensor.config import config
from fstensor.core.affine import Affine, Index
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import MappedAxis, Primitive, Value, primitive
from fstensor.core.scalar import BOOL, INT64, Elements, IndexedOps, V
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError
from fstensor.ops.bounds import checked_columns
from fstensor.ops.index import as_index
from fstensor.ops.shape import moveaxis, zeros_of


class GatherDimensionNumbers(NamedTuple):
    """Which axis is what in a gather.

    offset_dims: the axes of the output that hold windows, ascending.
    collapsed_slice_dims: the axes of the operand whose windows of size 1 are dropped, ascending.
    start_index_map: the axis of the operand that each entry of a start belongs to.
    operand_batching_dims, start_indices_batching_dims: axes of the operand that are walked along
        with these axes of the indices.
    """

    offset_dims: tuple[int, ...]
    collapsed_slice_dims: tuple[int, ...]
    start_index_map: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    start_indices_batching_dims: tuple[int, ...] = ()


class GatherScatterMode(enum.Enum):
    """What becomes of a box that sticks out of the operand.

    CLIP moves it inside. FILL_OR_DROP reads a fill value, and writes nothing. PROMISE_IN_BOUNDS
    leaves it open: there is none; here it is moved inside.
    """

    CLIP = 0
    FILL_OR_DROP = 1
    PROMISE_IN_BOUNDS = 2

    @staticmethod
    def from_any(mode: str | GatherScatterMode | None) -> GatherScatterMode:
        """The mode for "clip", "fill", "drop" or "promise_in_bounds"; None means fill or drop.

        Raises: OptionError for another value.
        """
        if isinstance(mode, GatherScatterMode):
            return mode
        if mode not in _MODES:
            raise OptionError(
                f"mode: must be 'clip', 'fill', 'drop', 'promise_in_bounds' or None, got {mode!r}"
            )
        return _MODES[mode]

    def __str__(self) -> str:
        return f"GatherScatterMode.{self.name}"

    __repr__ = __str__


_MODES = {
    None: GatherScatterMode.FILL_OR_DROP,
    "fill": GatherScatterMode.FILL_OR_DROP,
    "drop": GatherScatterMode.FILL_OR_DROP,
    "clip": GatherScatterMode.CLIP,
    "promise_in_bounds": GatherScatterMode.PROMISE_IN_BOUNDS,
}


class Boxes:
    """How NumPy's indexing reaches the boxes of a gather or scatter.

    Axes of the operand that some box does not fill are `pointed`: they get an index array each.
    The others are `whole`. With the pointed axes moved in front, indexing gives the batch axes,
    then the windows on pointed axes, then the whole axes; `to_output` brings those into the order
    of a gather's output, or of a scatter's updates.
    """

    def __init__(
        self,
        numbers: GatherDimensionNumbers,
        sizes: tuple[int, ...],
        shape: tuple[int, ...],
        batch: tuple[int, ...],
    ) -> None:
        self.shape = shape
        self.batch = batch
        self.column = {d: k for k, d in enumerate(numbers.start_index_map)}
        # The largest start along each axis of a start vector.
        self.limits = [shape[d] - sizes[d] for d in numbers.start_index_map]
        walked = dict(
            zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
        )
        dropped = {*numbers.collapsed_slice_dims, *walked}
        self.walked = {d: axis for d, axis in walked.items() if shape[d] != 1}
        self.pointed = [d for d, n in enumerate(shape) if sizes[d] != n or d in self.walked]
        self.whole = [d for d in range(len(shape)) if d not in self.pointed]
        self.order = (*self.pointed, *self.whole)
        self.windows = [d for d in self.pointed if d not in dropped and sizes[d] != 1]
        self.sizes = sizes
        self.is_lookup = (
            list(self.column) == self.pointed and not self.windows and (len(self.pointed) == 1)
        )
        self.grid = (*batch, *[sizes[d] for d in self.windows])
        self.kept = [d for d in self.whole if d not in dropped]
        # The output's axes, windows of size 1 on pointed axes left out.
        rank = len(batch) + len(numbers.offset_dims)
        window_axes = dict(
            zip(
                [d for d in range(len(shape)) if d not in dropped], numbers.offset_dims, strict=True
            )
        )
        batch_axes = [i for i in range(rank) if i not in numbers.offset_dims]
        found = [*batch_axes, *[window_axes[d] for d in [*self.windows, *self.kept]]]
        self.to_output = tuple([found.index(i) for i in range(rank) if i in found])
        self.from_output = tuple([sorted(found).index(i) for i in found])
        self.squeezed = (*self.grid, *[shape[d] for d in self.kept])
        self.packed = tuple([self.squeezed[i] for i in self.to_output])
        self.is_single = math.prod(batch) == 1 and not self.walked
        output = dict(zip(batch_axes, batch, strict=True))
        output.update({axis: sizes[d] for d, axis in window_axes.items()})
        self.output = tuple([output[i] for i in range(rank)])

    def starts(self, xp: Any, indices: Any) -> list[Any]:
        """The column of starts for each entry of a start vector, as integers that can index."""
        indices = indices.astype(np.intp, copy=False)
        return [indices[..., k] for k in range(len(self.limits))]

    def only_box(self, indices: Any) -> tuple[tuple[Any, ...], bool]:
        """The slices of the one box that there is, moved inside, and whether it lay inside."""
        starts = indices.ravel().tolist()
        found: list[Any] = list(map(slice, self.sizes))
        inside = True
        for start, limit, d in zip(starts, self.limits, self.column, strict=True):
            at = min(max(start, 0), limit)
            inside &= at == start
            found[d] = slice(at, at + self.sizes[d])
        return (*found, ...), inside  # the Ellipsis makes a view of a 0-d operand too

    def inside(self, xp: Any, starts: Sequence[Any]) -> Any:
        """For each place of the batch, whether its box lies inside the operand."""
        mask = xp.ones(self.batch, bool)
        for start, limit in zip(starts, self.limits, strict=True):
            mask &= (start >= 0) & (start <= limit)
        return mask

    def points(self, xp: Any, starts: Sequence[Any]) -> list[Any]:
        """An index array for each pointed axis; together they stretch to the shape `grid`."""
        found = []
        tail = len(self.windows)
        for d in self.pointed:
            if d in self.walked:
                axis = self.walked[d]
                spread = [1] * len(self.grid)
                spread[axis] = self.shape[d]
                found.append(xp.arange(self.shape[d]).reshape(spread))
                continue
            if d in self.column:
                k = self.column[d]
                start = xp.clip(starts[k], 0, self.limits[k])
                start = start.reshape(self.batch + (1,) * tail)
            else:
                start = xp.zeros((1,) * len(self.grid), np.intp)
            if d in self.windows:
                spread = [1] * len(self.grid)
                spread[len(self.batch) + self.windows.index(d)] = self.sizes[d]
                start = start + xp.arange(self.sizes[d]).reshape(spread)
            found.append(start)
        if found and not any(d in self.column for d in self.pointed):
            found[0] = xp.broadcast_to(found[0], self.grid)
        return found


@functools.lru_cache(maxsize=4096)
def boxes(
    numbers: GatherDimensionNumbers,
    sizes: tuple[int, ...],
    shape: tuple[int, ...],
    batch: tuple[int, ...],
) -> Boxes:
    return Boxes(numbers, sizes, shape, batch)


def box_indices(numbers: GatherDimensionNumbers, index: Index, rank: int) -> tuple[Index, Index]:
    """For an index of the output: that of its box, and where it lies in the operand's first box.

    The first box is the one that starts at 0. rank: of the operand.
    """
    batch = tuple([i for d, i in enumerate(index) if d not in numbers.offset_dims])
    walked = dict(
        zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    )
    windows = iter(numbers.offset_dims)
    place = []
    for d in range(rank):
        if d in walked:
            place.append(batch[walked[d]])
        elif d in numbers.collapsed_slice_dims:
            place.append(Affine(0))
        else:
            place.append(index[next(windows)])
    return batch, tuple(place)


def box_start(
    ops: IndexedOps[V],
    numbers: GatherDimensionNumbers,
    sizes: Sequence[int],
    shape: Sequence[int],
    batch: Index,
    indices: Elements[V],
) -> tuple[list[V | None], V]:
    """Where a box starts along each axis of the operand, moved inside; and whether it lay inside.

    A start of None is 0.
    """
    offsets: list[V | None] = [None] * len(shape)
    inside = ops.constant(True, BOOL)
    zero = ops.constant(0, INT64)
    for k, d in enumerate(numbers.start_index_map):
        start = ops.convert(indices.at((*batch, Affine(k))), INT64)
        limit = shape[d] - sizes[d]
        moved = zero
        if limit:
            offsets[d] = moved = ops.max(zero, ops.min(start, ops.constant(limit, INT64)))
        here = ops.eq(start, moved)
        inside = here if k == 0 else ops.and_(inside, here)
    return offsets, inside


def check_numbers(
    what: str,
    numbers: GatherDimensionNumbers,
    x: ShapedArray,
    indices: ShapedArray,
    rank: int,
) -> None:
    """What the dimension numbers of gather and scatter must fulfil. `rank` of output or updates."""
    if not dtypes.is_integer(indices.dtype):
        raise DtypeError(f"{what}: indices must be integers, got {indices}")
    if indices.ndim < 1 or indices.shape[-1] != len(numbers.start_index_map):
        raise ShapeError(
            f"{what}: the last axis of the indices must have an entry for each axis that they "
            f"point along, got {indices} for {numbers.start_index_map}"
        )
    walked, along = numbers.operand_batching_dims, numbers.start_indices_batching_dims
    rules = [
        (numbers.offset_dims, rank, "window axes", True),
        (numbers.collapsed_slice_dims, x.ndim, "dropped axes", True),
        (numbers.start_index_map, x.ndim, "indexed axes", False),
        (walked, x.ndim, "batching axes of the operand", True),
        (along, indices.ndim - 1, "batching axes of the indices", False),
    ]
    for dims, limit, name, ascending in rules:
        if (
            len(set(dims)) != len(dims)
            or any(not 0 <= d < limit for d in dims)
            or (ascending and tuple(sorted(dims)) != dims)
        ):
            order = "ascending" if ascending else "distinct"
            raise ShapeError(
                f"{what}: the {name} must be {order} and between 0 and {limit - 1}, got {dims} "
                f"for {x} and indices {indices}"
            )
    if {*walked} & {*numbers.collapsed_slice_dims, *numbers.start_index_map}:
        raise ShapeError(
            f"{what}: a batching axis can be neither dropped nor indexed, got {numbers}"
        )
    if len(walked) != len(along) or any(
        x.shape[a] != indices.shape[b] for a, b in zip(walked, along, strict=True)
    ):
        raise ShapeError(
            f"{what}: batching axes must agree in number and size, got {walked} of {x} "
            f"and {along} of {indices}"
        )
    windows = x.ndim - len(walked) - len(numbers.collapsed_slice_dims)
    if windows != len(numbers.offset_dims) or rank != windows + indices.ndim - 1:
        raise ShapeError(
            f"{what}: needs a window axis for each of the operand's {windows} kept axes, "
            f"got {numbers.offset_dims} for {x}, indices {indices} and rank {rank}"
        )


def checked_starts(
    what: str,
    x: Array,
    indices: Array,
    numbers: GatherDimensionNumbers,
    sizes: Sequence[int],
) -> Array:
    """The indices of a gather or scatter, looked at under check_indices."""
    axes = numbers.start_index_map
    return checked_columns(indices, x.aval, axes, what, [sizes[d] for d in axes])


@final
@primitive("gather")
class Gather(Primitive):
    """Boxes of `slice_sizes` of the operand, each starting at one of the indices.

    For inexact dtypes the tangent is the gather of the tangent; its transpose adds each box of the
    cotangent where it was read, also when several boxes overlap.
    """

    dimension_numbers: GatherDimensionNumbers
    fill_value: Any
    indices_are_sorted: bool
    mode: GatherScatterMode
    slice_sizes: tuple[int, ...]
    unique_indices: bool

    def abstract(self, x: ShapedArray, indices: ShapedArray) -> ShapedArray:
        numbers, sizes = self.dimension_numbers, self.slice_sizes
        rank = indices.ndim - 1 + len(numbers.offset_dims)
        check_numbers("gather", numbers, x, indices, rank)
        dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
        if (
            len(sizes) != x.ndim
            or any(
                not 0 <= size <= (min(1, n) if d in dropped else n)
                for d, (size, n) in enumerate(zip(sizes, x.shape, strict=False))
            )
            or any(sizes[d] != 1 for d in numbers.collapsed_slice_dims)
        ):
            raise ShapeError(
                "gather: slice_sizes must lie between 0 and the size of each axis, and be 1 on "
                f"dropped axes, got {sizes} for {x} with {numbers}"
            )
        output = boxes(numbers, sizes, x.shape, indices.shape[:-1]).output
        return x.update(shape=output)

    def impl(self, xp: Any, x: Any, indices: Any) -> Any:
        plan = boxes(self.dimension_numbers, self.slice_sizes, x.shape, indices.shape[:-1])
        fill = None
        if self.mode is GatherScatterMode.FILL_OR_DROP:
            fill = default_fill(x.dtype) if self.fill_value is None else self.fill_value
        if plan.is_single:
            box, inside = plan.only_box(indices)
            if fill is None or inside:
                return x[box].reshape(plan.output)
            return xp.full(plan.output, fill, x.dtype)
        starts = plan.starts(xp, indices)
        out = _read(xp, plan, x, starts)
        if fill is not None:
            inside = plan.inside(xp, starts)
            if xp is not np or not inside.all():
                spread = inside.reshape(inside.shape + (1,) * (out.ndim - inside.ndim))
                out = xp.where(spread, out, xp.asarray(fill).astype(x.dtype))
        return out.transpose(plan.to_output).reshape(plan.output)

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        x, indices = operands
        numbers = self.dimension_numbers
        batch, place = box_indices(numbers, index, x.aval.ndim)
        offsets, inside = box_start(ops, numbers, self.slice_sizes, x.aval.shape, batch, indices)
        found = x.take(place, offsets)
        if self.mode is not GatherScatterMode.FILL_OR_DROP:
            return found
        dtype = x.aval.dtype
        fill = default_fill(dtype) if self.fill_value is None else self.fill_value
        outside = ops.constant(np.asarray(fill).astype(dtype), ops.dtype(found))
        return ops.select(inside, found, outside)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        x, indices = primals
        return self.bind(x, indices), self.linear.bind(tangents[0], indices)

    @property
    def linear(self) -> Gather:
        """The gather of tangents, which fills with zero."""
        if self.mode is not GatherScatterMode.FILL_OR_DROP or self.fill_value == 0:
            return self
        return self.replace(fill_value=0)

    def replace(self, **changes: Any) -> Gather:
        return Gather(**{**self.params, **changes})

    def transpose(self, ct: Array, x: Value, indices: Array) -> Sequence[Value]:
        numbers = ops.scatter.ScatterDimensionNumbers(*self.dimension_numbers)
        add = ops.scatter.ScatterAdd(
            numbers, self.indices_are_sorted, self.mode, self.unique_indices
        )
        return [add.bind(zeros_of(ct.aval.update(shape=x.shape)), indices, ct), None]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        x, indices = args
        if dims[0] is not None:
            x = moveaxis(x, dims[0], 0)
        if dims[1] is not None:
            indices = moveaxis(indices, dims[1], 0)
        numbers = batch_numbers(self.dimension_numbers, dims[0] is not None, dims[1] is not None)
        sizes = self.slice_sizes
        if dims[0] is not None:
            sizes = (axis.size if dims[1] is None else min(1, axis.size), *sizes)
        batched = self.replace(dimension_numbers=numbers, slice_sizes=sizes)
        if dims[0] is None:
            # Different examples may read the same box.
            batched = batched.replace(indices_are_sorted=False, unique_indices=False)
        return batched.bind(x, indices), 0


def batch_numbers(
    numbers: GatherDimensionNumbers, operand: bool, indices: bool
) -> GatherDimensionNumbers:
    """The numbers for a batch in front of the operand, of the indices, or of both.

    The output has its batch in front too: as a window when the operand alone is batched.
    """

    def later(dims: tuple[int, ...], by: bool) -> tuple[int, ...]:
        return tuple([d + by for d in dims])

    both, alone = operand and indices, operand and not indices
    return GatherDimensionNumbers(
        (*[0] * alone, *later(numbers.offset_dims, True)),
        later(numbers.collapsed_slice_dims, operand),
        later(numbers.start_index_map, operand),
        (*[0] * both, *later(numbers.operand_batching_dims, operand)),
        (*[0] * both, *later(numbers.start_indices_batching_dims, indices)),
    )


def _read(xp: Any, plan: Boxes, x: Any, starts: Sequence[Any]) -> Any:
    """The boxes, with axes in the order grid, whole axes that are kept."""
    if not plan.pointed:
        out = xp.broadcast_to(x, (*plan.batch, *x.shape))
    elif math.prod(plan.grid) == 0 or 0 in x.shape:
        out = xp.zeros((*plan.grid, *[x.shape[d] for d in plan.whole]), x.dtype)
    else:
        moved = x.transpose(plan.order)
        if xp is np and plan.is_lookup:
            # The hot path of embeddings: NumPy's own clipping saves two passes over the indices.
            out = moved.take(starts[0], 0, mode="clip")
        else:
            out = moved[tuple(plan.points(xp, starts))]
    return out.reshape(plan.squeezed)


@functools.lru_cache(maxsize=64)
def default_fill(dtype: np.dtype[Any]) -> complex:
    """What a gather reads outside of the operand: a value of the dtype that stands out.

    NaN for inexact dtypes, the smallest value for signed and the largest for unsigned integers,
    True for bools. Always the same object, so that a NaN equals itself as a parameter.
    """
    if dtypes.is_inexact(dtype):
        return math.nan
    if dtypes.is_bool(dtype):
        return True
    info = dtypes.iinfo(dtype)
    return int(info.max if dtypes.is_unsigned(dtype) else info.min)


def fill_parameter(
    fill_value: ArrayLike | None, mode: GatherScatterMode, dtype: np.dtype[Any]
) -> complex | None:
    """The field `fill_value` of a gather of this mode."""
    if mode is not GatherScatterMode.FILL_OR_DROP:
        return None
    if fill_value is None:
        return default_fill(dtype)
    if isinstance(fill_value, (Array, np.ndarray)) and fill_value.ndim:
        raise ArgumentError(f"gather: fill_value must be a scalar, got {lift(fill_value).aval}")
    value: complex = np.asarray(fill_value).item()
    return math.nan if value != value and isinstance(value, float) else value


def gather(
    operand: ArrayLike,
    start_indices: ArrayLike,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: str | GatherScatterMode | None = None,
    fill_value: complex | None = None,
) -> Array:
    """Boxes of `slice_sizes` of `operand`, each starting at one of `start_indices`.

    Shapes: the last axis of start_indices holds one start; the output has its other axes, and the
        boxes' axes at dimension_numbers.offset_dims.
    mode: "clip" moves boxes inside, "fill" (the default) reads `fill_value` for a box that sticks
        out, "promise_in_bounds" says that none does.
    unique_indices, indices_are_sorted: promises about the indices, for speed.
    Raises: ShapeError or DtypeError when the arguments do not fit, OptionError for a wrong mode.
    """
    x, indices = lift(operand), as_index(start_indices, "gather")
    chosen = GatherScatterMode.from_any(mode)
    fill = fill_parameter(fill_value, chosen, x.dtype)
    numbers = GatherDimensionNumbers(*[tuple(dims) for dims in dimension_numbers])
    apply = Gather(numbers, fill, indices_are_sorted, chosen, tuple(slice_sizes), unique_indices)
    if config.checking and (mode is None or chosen is GatherScatterMode.PROMISE_IN_BOUNDS):
        apply.infer((x.aval, indices.aval))  # first, what the types tell
        indices = checked_starts("gather", x, indices, numbers, apply.slice_sizes)
    return apply.bind(x, indices)

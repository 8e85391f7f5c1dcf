"""Scatter: updates of many boxes of one array, by replacement or by an operation.

Dimension numbers and modes are those of gather, with the updates in the place of its output: a
scatter writes the boxes that the gather of the same numbers reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar, final

import numpy as np

from fstensor.array import Array, ArrayLike, lift
from fstensor.config import config
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value, primitive
from fstensor.errors import ShapeError
from fstensor.ops.elementwise import div, mul, neg
from fstensor.ops.families import NUMBER, NUMERIC, ORDERED, Kind, check_same_dtype, constant
from fstensor.ops.gather import (
    Boxes,
    Gather,
    GatherDimensionNumbers,
    GatherScatterMode,
    batch_numbers,
    boxes,
    check_numbers,
    checked_starts,
)
from fstensor.ops.index import as_index, batch_first
from fstensor.ops.logical import eq, filled, ne, where
from fstensor.ops.shape import broadcasted_iota, full, moveaxis, reshape, stretch, zeros_of


class ScatterDimensionNumbers(NamedTuple):
    """Which axis is what in a scatter.

    update_window_dims: the axes of the updates that hold windows, ascending.
    inserted_window_dims: the axes of the operand that the updates lack, ascending.
    scatter_dims_to_operand_dims: the axis of the operand that each entry of a start belongs to.
    operand_batching_dims, scatter_indices_batching_dims: axes of the operand that are walked along
        with these axes of the indices.
    """

    update_window_dims: tuple[int, ...]
    inserted_window_dims: tuple[int, ...]
    scatter_dims_to_operand_dims: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    scatter_indices_batching_dims: tuple[int, ...] = ()


class Scattering(Primitive):
    """The operand with boxes that start at `indices` changed by `updates`.

    Where boxes overlap, every update takes part; a replacement is decided by the last of them.
    """

    dimension_numbers: ScatterDimensionNumbers
    indices_are_sorted: bool
    mode: GatherScatterMode
    unique_indices: bool

    takes: ClassVar[Kind] = NUMERIC
    ufunc: ClassVar[str]

    def abstract(self, x: ShapedArray, indices: ShapedArray, updates: ShapedArray) -> ShapedArray:
        self.takes.check(self.name, x)
        check_same_dtype(self.name, (x, updates))
        numbers = GatherDimensionNumbers(*self.dimension_numbers)
        check_numbers(self.name, numbers, x, indices, updates.ndim)
        sizes = self.sizes(x.shape, updates.shape)
        expected = boxes(numbers, sizes, x.shape, indices.shape[:-1]).output
        if any(size > n for size, n in zip(sizes, x.shape, strict=True)) or (
            updates.shape != expected
        ):
            raise ShapeError(
                f"{self.name}: updates must have the indices' batch axes and windows no larger "
                f"than the operand, got {updates} for {x} and indices {indices} with "
                f"{self.dimension_numbers}"
            )
        return x

    def sizes(self, shape: Sequence[int], updates: Sequence[int]) -> tuple[int, ...]:
        """The size of a box along each axis of the operand."""
        numbers = self.dimension_numbers
        windows = iter(numbers.update_window_dims)
        dropped = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
        return tuple(
            [min(1, n) if d in dropped else updates[next(windows)] for d, n in enumerate(shape)]
        )

    def impl(self, xp: Any, x: Any, indices: Any, updates: Any) -> Any:
        numbers = GatherDimensionNumbers(*self.dimension_numbers)
        plan = boxes(numbers, self.sizes(x.shape, updates.shape), x.shape, indices.shape[:-1])
        out = xp.array(x, order="C")
        if not updates.size:
            return out
        if plan.is_single:
            box, inside = plan.only_box(indices)
            if inside or self.mode is not GatherScatterMode.FILL_OR_DROP:
                self.write_box(xp, out[box], updates)
            return out
        starts = plan.starts(xp, indices)
        packed = updates.reshape(plan.packed).transpose(plan.from_output)
        packed = packed.reshape(plan.grid + tuple([x.shape[d] for d in plan.whole]))
        points = plan.points(xp, starts)
        if self.mode is GatherScatterMode.FILL_OR_DROP:
            inside = plan.inside(xp, starts)
            if xp is not np or not inside.all():
                points = [xp.broadcast_to(p, plan.grid)[inside] for p in points]
                packed = packed[inside]
        if packed.size:
            self.write(xp, out, plan, points, packed, self.unique_indices and bool(points))
        return out

    def write_box(self, xp: Any, box: Any, updates: Any) -> None:
        """Change a box, a view, in place."""
        getattr(xp, self.ufunc)(box, updates.reshape(box.shape), out=box)

    def write(
        self, xp: Any, out: Any, plan: Boxes, points: list[Any], updates: Any, alone: bool
    ) -> None:
        """Change `out` in place. `alone`: no element has several updates."""
        ufunc = getattr(xp, self.ufunc)
        if alone:
            reached = out.transpose(plan.order)
            at = tuple(points)
            reached[at] = ufunc(reached[at], updates)
            return
        places, values = _flat(xp, out.shape, plan, points, updates)
        target = out.reshape(-1)
        if xp is np:
            ufunc.at(target, places, values)
        else:
            places, values = combine_equal(xp, ufunc, places, values)
            target[places] = ufunc(target[places], values)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        x, indices, updates = args
        if dims[1] is not None:
            indices = moveaxis(indices, dims[1], 0)
        numbers = batch_numbers(
            GatherDimensionNumbers(*self.dimension_numbers), True, dims[1] is not None
        )
        batched = self.replace(dimension_numbers=ScatterDimensionNumbers(*numbers))
        x = batch_first(x, dims[0], axis.size)
        return batched.bind(x, indices, batch_first(updates, dims[2], axis.size)), 0

    def replace(self: S, **changes: Any) -> S:
        return type(self)(**{**self.params, **changes})

    def reading(self, x: Value, updates: Value, fill_value: int = 0) -> Gather:
        """The gather of the boxes that this scatter writes."""
        fill = fill_value if self.mode is GatherScatterMode.FILL_OR_DROP else None
        return Gather(
            GatherDimensionNumbers(*self.dimension_numbers),
            fill,
            self.indices_are_sorted,
            self.mode,
            self.sizes(x.shape, updates.shape),
            self.unique_indices,
        )

    def like(self, kind: type[S]) -> S:
        """Another scatter into the same boxes."""
        return kind(**self.params)


S = TypeVar("S", bound=Scattering)


def _flat(
    xp: Any, shape: Sequence[int], plan: Boxes, points: Sequence[Any], updates: Any
) -> tuple[Any, Any]:
    """The place of each update in the flattened operand, and the updates, both of one dimension.

    NumPy's `ufunc.at` is several times as fast on one dimension as on rows.
    """
    strides = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
    places = xp.zeros((), np.intp)
    for d, p in zip(plan.pointed, points, strict=True):
        places = places + p * strides[d]
    grid = updates.ndim - len(plan.whole)
    places = xp.broadcast_to(places, updates.shape[:grid]).reshape(
        updates.shape[:grid] + (1,) * len(plan.whole)
    )
    for i, d in enumerate(plan.whole):
        if shape[d] != 1:
            steps = xp.arange(shape[d]) * strides[d]
            places = places + steps.reshape((-1,) + (1,) * (len(plan.whole) - 1 - i))
    return places.reshape(-1), updates.reshape(-1)


def combine_equal(xp: Any, ufunc: Any, places: Any, values: Any) -> tuple[Any, Any]:
    """Values of equal places combined into one, neighbours first, in log2(multiplicity) rounds.

    For array modules whose ufuncs have no `at`. The result does not depend on thread timing.
    """
    order = xp.argsort(places, kind="stable")
    places, values = places[order], values[order]
    while True:
        rank = xp.arange(places.size) - xp.searchsorted(places, places)
        odd = (rank & 1).astype(bool)
        if not bool(odd.any()):
            return places, values
        second = xp.flatnonzero(odd)
        values[second - 1] = ufunc(values[second - 1], values[second])
        places, values = places[~odd], values[~odd]


@final
@primitive("scatter")
class Scatter(Scattering):
    """Boxes replaced by updates; where they overlap, the last update stays."""

    dimension_numbers: ScatterDimensionNumbers
    indices_are_sorted: bool
    mode: GatherScatterMode
    unique_indices: bool

    def write_box(self, xp: Any, box: Any, updates: Any) -> None:
        box[...] = updates.reshape(box.shape)

    def write(
        self, xp: Any, out: Any, plan: Boxes, points: list[Any], updates: Any, alone: bool
    ) -> None:
        reached = out.transpose(plan.order)
        if not points:
            reached[...] = updates.reshape(-1, *reached.shape)[-1]
        elif alone or xp is np:
            # NumPy assigns in order, so that the last update stays.
            reached[tuple(points)] = updates
        else:
            places, values = _flat(xp, out.shape, plan, points, updates)
            order = xp.argsort(places, kind="stable")
            places = places[order]
            last = xp.ones(places.shape, bool)
            last[:-1] = places[1:] != places[:-1]
            out.reshape(-1)[places[last]] = values[order][last]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        x, indices, updates = primals
        t_x, t_updates = filled((tangents[0], tangents[2]), (x.aval, updates.aval))
        return self.bind(*primals), self.bind(t_x, indices, t_updates)

    def transpose(self, ct: Array, x: Value, indices: Array, updates: Value) -> Sequence[Value]:
        ct_x = ct_updates = None
        if isinstance(x, Linear):
            nothing = zeros_of(ct.aval.update(shape=updates.shape))
            ct_x = self.bind(ct, indices, nothing)
        if isinstance(updates, Linear):
            ct_updates = self.reading(x, updates).bind(ct, indices)
            if not self.unique_indices:
                stays = self._stays(x, indices, updates)
                ct_updates = where(stays, ct_updates, constant(0, ct))
        return [ct_x, None, ct_updates]

    def _stays(self, x: Value, indices: Array, updates: Value) -> Array:
        """For each element of the updates, whether it is the last one written to its place."""
        count = math.prod(updates.shape)
        dtype = np.dtype(np.int32 if count < 2**31 else np.int64)
        number = reshape(broadcasted_iota(dtype, (count,), 0), updates.shape)
        board = self.bind(full(x.shape, -1, dtype), indices, number)
        return eq(self.reading(x, updates, -1).bind(board, indices), number)


@final
@primitive("scatter-add")
class ScatterAdd(Scattering):
    """Updates added to boxes of the operand."""

    dimension_numbers: ScatterDimensionNumbers
    indices_are_sorted: bool
    mode: GatherScatterMode
    unique_indices: bool
    ufunc = "add"

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), _pushed(self, primals, tangents)

    def transpose(self, ct: Array, x: Value, indices: Array, updates: Value) -> Sequence[Value]:
        ct_updates = None
        if isinstance(updates, Linear):
            ct_updates = self.reading(x, updates).bind(ct, indices)
        return [ct if isinstance(x, Linear) else None, None, ct_updates]


@final
@primitive("scatter-sub")
class ScatterSub(Scattering):
    """Updates subtracted from boxes of the operand."""

    dimension_numbers: ScatterDimensionNumbers
    indices_are_sorted: bool
    mode: GatherScatterMode
    unique_indices: bool
    takes = NUMBER
    ufunc = "subtract"

    def write(
        self, xp: Any, out: Any, plan: Boxes, points: list[Any], updates: Any, alone: bool
    ) -> None:
        # Differences cannot be combined pairwise as sums can.
        self.like(ScatterAdd).write(xp, out, plan, points, -updates, alone)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), _pushed(self, primals, tangents)

    def transpose(self, ct: Array, x: Value, indices: Array, updates: Value) -> Sequence[Value]:
        ct_updates = None
        if isinstance(updates, Linear):
            ct_updates = neg(self.reading(x, updates).bind(ct, indices))
        return [ct if isinstance(x, Linear) else None, None, ct_updates]


def _pushed(
    scatter: ScatterAdd | ScatterSub, primals: Sequence[Value], tangents: Sequence[Value]
) -> Value:
    x, indices, updates = primals
    t_x, _, t_updates = tangents
    if t_updates is ZERO:
        return t_x
    t_x, t_updates = filled((t_x, t_updates), (x.aval, updates.aval))
    return scatter.bind(t_x, indices, t_updates)


@final
@primitive("scatter-mul")
class ScatterMul(Scattering):
    """Boxes of the operand multiplied by updates.

    The tangent of x u1 u2 ... is t_x u1 u2 ... plus, for each update, its tangent times the product
    of x and the others. That product is found by division, and around a single zero among the
    updates by leaving it out. Second derivatives are right except where an element has several
    updates of which some are zero.
    """

    dimension_numbers: ScatterDimensionNumbers
    indices_are_sorted: bool
    mode: GatherScatterMode
    unique_indices: bool
    ufunc = "multiply"

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        x, indices, updates = primals
        t_x, _, t_updates = tangents
        out = self.bind(*primals)
        t_out = ZERO if t_x is ZERO else self.bind(t_x, indices, updates)
        if t_updates is not ZERO:
            part = mul(t_updates, self._others(x, indices, updates))
            start = zeros_of(x.aval.tangent) if t_out is ZERO else t_out
            t_out = self.like(ScatterAdd).bind(start, indices, part)
        return out, t_out

    def _others(self, x: Array, indices: Array, updates: Array) -> Array:
        """For each update the product of the operand and the other updates of the same element."""
        read = self.reading(x, updates)
        if self.unique_indices:
            return read.bind(x, indices)
        zero, one = constant(0, updates), constant(1, updates)
        absent = eq(updates, zero)
        divisor = where(absent, one, updates)
        product = read.bind(self.bind(x, indices, divisor), indices)
        zeros_here = where(absent, one, full(updates.shape, 0, updates.dtype))
        board = full(x.shape, 0, updates.dtype)
        zeros = read.bind(self.like(ScatterAdd).bind(board, indices, zeros_here), indices)
        vanishes = ne(zeros, zeros_here)  # some other update is zero
        return where(vanishes, zero, div(product, divisor))

    def transpose(self, ct: Array, x: Value, indices: Array, updates: Value) -> Sequence[Value]:
        if isinstance(updates, Linear):
            if not self.unique_indices:
                raise self._missing("transpose for updates that may overlap", "linear_transpose")
            read = self.reading(x, updates)
            return [None, None, mul(read.bind(ct, indices), read.bind(x, indices))]
        return [self.bind(ct, indices, updates), None, None]


class Selecting(Scattering):
    """The least or greatest of an element of the operand and its updates.

    Those of them that are equal to the result share its slope evenly.
    """

    takes = ORDERED

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        x, indices, updates = primals
        t_x, _, t_updates = tangents
        out = self.bind(*primals)
        add_up = self.like(ScatterAdd)
        chosen = self.reading(x, updates).bind(out, indices)
        zero, one = constant(0, out), constant(1, out)
        stays = where(eq(x, out), stretch(one, x.shape), zero)
        wins = where(eq(updates, chosen), stretch(one, updates.shape), zero)
        ties = add_up.bind(stays, indices, wins)
        part = full(x.shape, 0, out.dtype) if t_x is ZERO else mul(t_x, stays)
        if t_updates is not ZERO:
            part = add_up.bind(part, indices, mul(t_updates, wins))
        return out, div(part, ties)


@final
@primitive("scatter-min")
class ScatterMin(Selecting):
    """The least of each element and its updates; NaN when one of them is."""

    dimension_numbers: ScatterDimensionNumbers
    indices_are_sorted: bool
    mode: GatherScatterMode
    unique_indices: bool
    ufunc = "minimum"


@final
@primitive("scatter-max")
class ScatterMax(Selecting):
    """The greatest of each element and its updates; NaN when one of them is."""

    dimension_numbers: ScatterDimensionNumbers
    indices_are_sorted: bool
    mode: GatherScatterMode
    unique_indices: bool
    ufunc = "maximum"


def _function(cls: type[Scattering], name: str) -> Callable[..., Array]:
    def function(
        operand: ArrayLike,
        scatter_indices: ArrayLike,
        updates: ArrayLike,
        dimension_numbers: ScatterDimensionNumbers,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
    ) -> Array:
        x = lift(operand)
        is_scalar = isinstance(updates, (bool, int, float, complex))
        new = lift(updates, x.dtype if is_scalar else None)
        numbers = ScatterDimensionNumbers(*[tuple(dims) for dims in dimension_numbers])
        chosen = GatherScatterMode.from_any(mode)
        apply = cls(numbers, indices_are_sorted, chosen, unique_indices)  # type: ignore[call-arg]
        indices = as_index(scatter_indices, cls.name)
        if config.checking and (mode is None or chosen is GatherScatterMode.PROMISE_IN_BOUNDS):
            apply.infer((x.aval, indices.aval, new.aval))  # first, what the types tell
            of_gather = GatherDimensionNumbers(*numbers)
            sizes = apply.sizes(x.shape, new.shape)
            indices = checked_starts(name, x, indices, of_gather, sizes)
        return apply.bind(x, indices, new)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""{cls.__doc__}

    Shapes: the last axis of scatter_indices holds the start of one box; `updates` has its other
        axes, and the boxes' axes at dimension_numbers.update_window_dims.
    Dtypes: operand and updates alike; any integers as indices.
    mode: "drop" (the default) skips a box that sticks out, "clip" moves it inside,
        "promise_in_bounds" says that there is none.
    indices_are_sorted, unique_indices: promises about the indices, for speed.
    Raises: ShapeError or DtypeError when the arguments do not fit, OptionError for a wrong mode.
    """
    return function


scatter = _function(Scatter, "scatter")
scatter_add = _function(ScatterAdd, "scatter_add")
scatter_sub = _function(ScatterSub, "scatter_sub")
scatter_mul = _function(ScatterMul, "scatter_mul")
scatter_min = _function(ScatterMin, "scatter_min")
scatter_max = _function(ScatterMax, "scatter_max")

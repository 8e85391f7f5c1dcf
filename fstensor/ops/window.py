"""Reductions over moving windows: pooling, and the derivatives of it."""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike
from fstensor.core.affine import Index
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, MappedAxis, Primitive, Value, primitive
from fstensor.core.scalar import Elements, IndexedOps, V
from fstensor.core.trace import operand as as_operand
from fstensor.errors import OptionError, ShapeError
from fstensor.ops.conv import as_pads, padtype_to_pads
from fstensor.ops.elementwise import add, max, min
from fstensor.ops.families import (
    NUMERIC,
    ORDERED,
    Kind,
    apply_scalar_op,
    beside,
    check_same_dtype,
    constant,
)
from fstensor.ops.im2col import dilated, window_places
from fstensor.ops.index import Pad, batch_first, pad, slice_in_dim
from fstensor.ops.index import slice as slice_static
from fstensor.ops.reduce import is_neutral, monoid_of, neutral, wide_accumulator
from fstensor.ops.shape import broadcast_in_dim, zeros_of
from fstensor.ops.window_elements import (
    WindowAxis,
    gather_element,
    reduce_window_element,
    scatter_element,
)

# Elements of a result that a kernel computes together, at most.
_MOST_TOGETHER = 9


class Step(NamedTuple):
    """How a window moves along one axis."""

    axis: int
    size: int
    stride: int
    dilation: int

    def places(self, length: int) -> int:
        return window_places(length, self.size, self.stride, (0, 0), spread=self.dilation)

    def views(self, x: Any) -> Iterator[Any]:
        """For each element of the window, that element at each place of it in `x`."""
        count = self.places(x.shape[self.axis])
        before = (slice(None),) * self.axis
        for k in range(self.size):
            start = k * self.dilation
            stop = start + dilated(count, self.stride)
            yield x[(*before, slice(start, stop, self.stride))]


class Windowed(Primitive):
    """What reductions over windows share: their parameters and the shapes that follow."""

    base_dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    window_dilation: tuple[int, ...]
    window_dimensions: tuple[int, ...]
    window_strides: tuple[int, ...]
    takes: ClassVar[Kind] = NUMERIC

    def reduced_shape(self, x: ShapedArray) -> tuple[int, ...]:
        """The number of places of the window along each axis. Checks all parameters."""
        self.takes.check(self.name, x)
        for option in ("base_dilation", "window_dilation", "window_dimensions", "window_strides"):
            given = getattr(self, option)
            if len(given) != x.ndim or any(n < 1 for n in given):
                raise OptionError(
                    f"{self.name}: {option} must have a positive number for each axis, "
                    f"got {given} for {x}"
                )
        if len(self.padding) != x.ndim:
            raise OptionError(
                f"{self.name}: padding must have a pair for each axis, got {self.padding} for {x}"
            )
        for n, base, (low, high) in zip(x.shape, self.base_dilation, self.padding, strict=True):
            if dilated(n, base) + low + high < 0:
                raise ShapeError(
                    f"{self.name}: negative padding must leave something, "
                    f"got {(low, high)} for an axis of size {n} of {x}"
                )
        options = (self.window_strides, self.padding, self.base_dilation, self.window_dilation)
        axes = zip(x.shape, self.window_dimensions, *options, strict=True)
        return tuple([window_places(*axis) for axis in axes])

    def steps(self) -> list[Step]:
        """The axes along which the window does anything. It is reduced along one after another."""
        sizes = (self.window_dimensions, self.window_strides, self.window_dilation)
        steps = [Step(axis, *size) for axis, size in enumerate(zip(*sizes, strict=True))]
        return [s for s in steps if s.size > 1 or s.stride > 1]

    def axes_of(self, x: ShapedArray) -> list[WindowAxis]:
        """The parameters axis by axis, for windows over `x`."""
        places = self.reduced_shape(x)
        sizes = (self.window_dimensions, self.window_strides, self.window_dilation)
        lows = [low for low, _ in self.padding]
        axes = zip(x.shape, places, *sizes, self.base_dilation, lows, strict=True)
        return [WindowAxis(*axis) for axis in axes]

    def reduced_element(
        self, ops: IndexedOps[V], index: Index, operand: Elements[V], op: str, outside: Any
    ) -> Any:
        """The element of a reduction at `index`, by an operation of kernels."""
        axes = self.axes_of(operand.aval)

        def combine(x: V, y: V) -> V:
            return apply_scalar_op(ops, op, x, y)

        return reduce_window_element(ops, axes, index, operand, outside, combine)

    def padded(self, xp: Any, x: Any, value: Any) -> Any:
        """`x` dilated and padded with a Python scalar."""
        config = self.padding_config
        if any(c != (0, 0, 0) for c in config):
            return Pad(config).impl(xp, x, xp.asarray(value).astype(x.dtype))
        return x

    @property
    def padding_config(self) -> tuple[tuple[int, int, int], ...]:
        pads = zip(self.padding, self.base_dilation, strict=True)
        return tuple([(low, high, base - 1) for (low, high), base in pads])

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        fronted = [batch_first(x, d, axis.size) for x, d in zip(args, dims, strict=True)]
        wider = {
            **self.params,
            "base_dilation": (1, *self.base_dilation),
            "padding": ((0, 0), *self.padding),
            "window_dilation": (1, *self.window_dilation),
            "window_dimensions": (1, *self.window_dimensions),
            "window_strides": (1, *self.window_strides),
        }
        return type(self)(**wider).bind(*fronted), 0


def _reduce_windows(combine: Any, x: Any, steps: Sequence[Step]) -> Any:
    for step in steps:
        views = step.views(x)
        first = next(views)
        second = next(views, None)
        x = first if second is None else combine(first, second)
        for view in views:
            combine(x, view, out=x)
    return x


@final
@primitive("reduce_window_sum")
class ReduceWindowSum(Windowed):
    """Sum over each window; elements of the padding are 0."""

    base_dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    window_dilation: tuple[int, ...]
    window_dimensions: tuple[int, ...]
    window_strides: tuple[int, ...]

    def abstract(self, x: ShapedArray) -> ShapedArray:
        return x.update(shape=self.reduced_shape(x))

    def impl(self, xp: Any, x: Any) -> Any:
        wide = x.astype(wide_accumulator(x.dtype), copy=False)
        out = _reduce_windows(xp.add, self.padded(xp, wide, 0), self.steps())
        return out.astype(x.dtype, copy=False)

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        return self.reduced_element(ops, index, operands[0], "add", 0)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(*tangents)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        """Window sums of `ct`, dilated by the strides: the same windows, seen from the elements."""
        if 0 in ct.shape:
            return [zeros_of(x.aval)]
        config = []
        for i, (low, _) in enumerate(self.padding):
            reach = dilated(self.window_dimensions[i], self.window_dilation[i])
            covered = dilated(ct.shape[i], self.window_strides[i])
            before = reach - 1 - low
            needed = dilated(x.shape[i], self.base_dilation[i]) + reach - 1
            config.append((before, needed - covered - before, self.window_strides[i] - 1))
        ones = (1,) * ct.ndim
        opposite = ReduceWindowSum(
            base_dilation=ones,
            padding=((0, 0),) * ct.ndim,
            window_dilation=self.window_dilation,
            window_dimensions=self.window_dimensions,
            window_strides=self.base_dilation,
        )
        return [opposite.bind(pad(ct, constant(0, ct), config))]


class WindowExtremum(Windowed):
    """The largest or smallest element of each window; the padding never is.

    The slope is that of the first of the elements that tie, in row-major order.
    """

    takes = ORDERED
    select_prim: ClassVar[str]

    def abstract(self, x: ShapedArray) -> ShapedArray:
        return x.update(shape=self.reduced_shape(x))

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        gather = SelectAndGatherAdd(**self.params, select_prim=self.select_prim)
        return self.bind(*primals), gather.bind(*tangents, *primals)


@final
@primitive("reduce_window_max")
class ReduceWindowMax(WindowExtremum):
    """Maximum over each window; NaN when an element is."""

    base_dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    window_dilation: tuple[int, ...]
    window_dimensions: tuple[int, ...]
    window_strides: tuple[int, ...]

    select_prim = "ge"

    def impl(self, xp: Any, x: Any) -> Any:
        x = self.padded(xp, x, neutral("max", x.dtype))
        return _reduce_windows(xp.maximum, x, self.steps())

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        lowest = neutral("max", operands[0].aval.dtype)
        return self.reduced_element(ops, index, operands[0], "max", lowest)


@final
@primitive("reduce_window_min")
class ReduceWindowMin(WindowExtremum):
    """Minimum over each window; NaN when an element is."""

    base_dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    window_dilation: tuple[int, ...]
    window_dimensions: tuple[int, ...]
    window_strides: tuple[int, ...]

    select_prim = "le"

    def impl(self, xp: Any, x: Any) -> Any:
        x = self.padded(xp, x, neutral("min", x.dtype))
        return _reduce_windows(xp.minimum, x, self.steps())

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        highest = neutral("min", operands[0].aval.dtype)
        return self.reduced_element(ops, index, operands[0], "min", highest)


class Selection(Windowed):
    """Operations on the element that is chosen in each window of a second operand.

    `select_prim` tells which: the first that is "ge", or "le", all others. The choice is constant
    but for jumps, so that these operations are linear in the first operand.
    """

    select_prim: str
    takes = ORDERED

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        out = self.bind(*primals)
        t = tangents[0]
        return out, ZERO if t is ZERO else self.bind(t, primals[1])

    def extreme(self, x: ShapedArray) -> tuple[bool, Any]:
        """Whether the largest element is chosen, and what padding counts as."""
        largest = self.select_prim == "ge"
        return largest, neutral("max" if largest else "min", x.dtype)

    def choices(self, xp: Any, x: Any) -> Iterator[tuple[Step, tuple[int, ...], Any]]:
        """Along one axis after another: the step, the shape before it, and which element it chose.

        The last axis comes first: among equals that chooses the first in row-major order.
        """
        largest = self.select_prim == "ge"
        keeps, combine = (xp.greater_equal, xp.maximum) if largest else (xp.less_equal, xp.minimum)
        best = self.padded(xp, x, neutral("max" if largest else "min", x.dtype))
        for step in reversed(self.steps()):
            shape = best.shape
            views = enumerate(step.views(best))
            best = next(views)[1]
            chosen = xp.zeros(best.shape, "uint8" if step.size < 256 else "int64")
            for k, view in views:
                taken = xp.logical_not(keeps(best, view))
                best = combine(best, view)
                chosen = xp.maximum(chosen, xp.multiply(taken, k, dtype=chosen.dtype))
            yield step, shape, chosen


def _masked_bits(xp: Any, x: Any, mask: Any) -> Any:
    """The bits of `x` where the mask holds, 0 elsewhere. Branches would cost many times as much."""
    bits = np.dtype(f"i{x.itemsize}")
    return x.view(bits) & xp.negative(mask.view("i1"), dtype=bits)


@final
@primitive("select_and_gather_add")
class SelectAndGatherAdd(Selection):
    """For each window the element of `source` where that of `operand` is chosen; 0 for padding."""

    base_dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    select_prim: str
    window_dilation: tuple[int, ...]
    window_dimensions: tuple[int, ...]
    window_strides: tuple[int, ...]

    def abstract(self, source: ShapedArray, operand: ShapedArray) -> ShapedArray:
        check_same_dtype(self.name, (source, operand))
        if source.shape != operand.shape:
            raise ShapeError(
                f"{self.name}: operands must have one shape, got {source} and {operand}"
            )
        return ShapedArray(self.reduced_shape(operand), source.dtype)

    def impl(self, xp: Any, source: Any, operand: Any) -> Any:
        out = self.padded(xp, source, 0)
        for step, _, chosen in self.choices(xp, operand):
            # Of the parts all but one are 0.
            views = enumerate(step.views(out))
            parts = [_masked_bits(xp, view, chosen == k) for k, view in views]
            out = functools.reduce(xp.bitwise_or, parts).view(source.dtype)
        return out

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        source, operand = operands
        return gather_element(
            ops, self.axes_of(operand.aval), index, source, operand, *self.extreme(operand.aval)
        )

    def transpose(self, ct: Array, source: Value, operand: Array) -> Sequence[Value]:
        """Scattered into the dilated operand; the elements between are dropped again."""
        low = constant(neutral("max" if self.select_prim == "ge" else "min", ct.dtype), ct)
        spread = [(0, 0, base - 1) for base in self.base_dilation]
        dense = all(base == 1 for base in self.base_dilation)
        scattered = SelectAndScatterAdd(
            padding=self.padding,
            select_prim=self.select_prim,
            window_dilation=self.window_dilation,
            window_dimensions=self.window_dimensions,
            window_strides=self.window_strides,
        ).bind(ct, operand if dense else pad(operand, low, spread))
        if dense:
            return [scattered, None]
        starts = [0] * ct.ndim
        return [slice_static(scattered, starts, scattered.shape, self.base_dilation), None]


@final
@primitive("select_and_scatter_add")
class SelectAndScatterAdd(Selection):
    """Adds each element of `source` where, in its window, that of `operand` is chosen."""

    padding: tuple[tuple[int, int], ...]
    select_prim: str
    window_dilation: tuple[int, ...]
    window_dimensions: tuple[int, ...]
    window_strides: tuple[int, ...]

    @property
    def base_dilation(self) -> tuple[int, ...]:
        return (1,) * len(self.padding)

    def printed_params(self) -> dict[str, Any]:
        params = self.params
        if all(d == 1 for d in self.window_dilation):
            del params["window_dilation"]
        return params

    def abstract(self, source: ShapedArray, operand: ShapedArray) -> ShapedArray:
        check_same_dtype(self.name, (source, operand))
        shape = self.reduced_shape(operand)
        if source.shape != shape:
            raise ShapeError(
                f"{self.name}: the source must have an element for each window, "
                f"got {source} for {operand} with windows {shape}"
            )
        return ShapedArray(operand.shape, source.dtype)

    def impl(self, xp: Any, source: Any, operand: Any) -> Any:
        out = source.astype(wide_accumulator(source.dtype), copy=False)
        for step, shape, chosen in reversed(list(self.choices(xp, operand))):
            spread = xp.zeros(shape, out.dtype)
            overlap = dilated(step.size, step.dilation) > step.stride
            for k, view in enumerate(step.views(spread)):
                part = _masked_bits(xp, out, chosen == k).view(out.dtype)
                if overlap:
                    xp.add(view, part, out=view)
                else:
                    view[...] = part
            out = spread
        cut = tuple([(-low, -high, 0) for low, high in self.padding])
        if any(c != (0, 0, 0) for c in cut):
            out = Pad(cut).impl(xp, out, out.dtype.type(0))
        return out.astype(source.dtype, copy=False)

    def elements_together(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """A window's stride in each direction: then it is the same windows that they meet."""
        fits = all(n % s == 0 for n, s in zip(shape, self.window_strides, strict=True))
        several = 1 < math.prod(self.window_strides) <= _MOST_TOGETHER
        return self.window_strides if fits and several else None

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        source, operand = operands
        return scatter_element(
            ops, self.axes_of(operand.aval), index, source, operand, *self.extreme(operand.aval)
        )

    def transpose(self, ct: Array, source: Value, operand: Array) -> Sequence[Value]:
        gather = SelectAndGatherAdd(**self.params, base_dilation=self.base_dilation)
        return [gather.bind(ct, operand), None]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        fronted = [batch_first(x, d, axis.size) for x, d in zip(args, dims, strict=True)]
        wider = SelectAndScatterAdd(
            padding=((0, 0), *self.padding),
            select_prim=self.select_prim,
            window_dilation=(1, *self.window_dilation),
            window_dimensions=(1, *self.window_dimensions),
            window_strides=(1, *self.window_strides),
        )
        return wider.bind(*fronted), 0


_BY_MONOID: dict[str, Callable[..., Windowed]] = {
    "add": ReduceWindowSum,
    "max": ReduceWindowMax,
    "min": ReduceWindowMin,
}
_FUNCTIONS = {"add": add, "max": max, "min": min}


def reduce_window(
    operand: ArrayLike,
    init_value: ArrayLike,
    computation: Callable[[Any, Any], Any],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Array:
    """Combines the elements of each window that moves over `operand`, and `init_value`.

    init_value: a scalar, combined once with each window. Elements of the padding do not count.
    computation: an associative and commutative function of two arrays, applied elementwise.
        Sums, maxima and minima (`lax.add`, `lax.max`, `lax.min`, or functions that do the same)
        have operations of their own; other functions are applied to all windows at once, one after
        another to the elements of the window. When it is not one of lax's, init_value must be
        neutral to it: the padding is filled with that.
    padding: pairs (low, high), or "VALID", "SAME", "SAME_LOWER" as in `padtype_to_pads`,
        for the operand as it is before dilation.
    Shapes: along each axis floor((padded size - dilated window) / stride) + 1 places.
    Raises: OptionError when parameters do not fit the rank, DtypeError, ShapeError.
    """
    x = as_operand(operand, "reduce_window")
    init = beside(init_value, x, "reduce_window")
    check_same_dtype("reduce_window", (x.aval, init.aval))
    if init.ndim:
        raise ShapeError(f"reduce_window: init_value must be a scalar, got {init.aval}")
    ones = (1,) * x.ndim
    window = tuple(map(int, window_dimensions))
    strides = ones if window_strides is None else tuple(map(int, window_strides))
    base = ones if base_dilation is None else tuple(map(int, base_dilation))
    spread = ones if window_dilation is None else tuple(map(int, window_dilation))
    if isinstance(padding, str):
        reach = [dilated(k, d) for k, d in zip(window, spread, strict=False)]
        padding = padtype_to_pads(x.shape, reach, strides, padding)
    given = {
        "base_dilation": base,
        "padding": as_pads(padding, "reduce_window"),
        "window_dilation": spread,
        "window_dimensions": window,
        "window_strides": strides,
    }
    monoid = monoid_of(computation, x.dtype)
    if dtypes.is_bool(x.dtype):
        monoid = {"or": "max", "and": "min"}.get(monoid, monoid)
    apply = _BY_MONOID.get(monoid, ReduceWindowSum)(**given)
    if monoid in _BY_MONOID and is_neutral(init, monoid):
        return apply.bind(x)
    if monoid in _BY_MONOID:
        inside = apply.bind(x)
    else:
        apply.reduced_shape(x.aval)  # checks the parameters, which are the same for all functions
        filling = constant(neutral(monoid, x.dtype), x) if monoid else init
        inside = _fold(computation, pad(x, filling, apply.padding_config), apply.steps())
    start = broadcast_in_dim(init, inside.shape, ())
    return _FUNCTIONS.get(monoid, computation)(start, inside)


def _fold(computation: Callable[[Any, Any], Any], x: Array, steps: Sequence[Step]) -> Array:
    for step in steps:
        count = step.places(x.shape[step.axis])
        parts = []
        for k in range(step.size):
            start = builtins.min(k * step.dilation, x.shape[step.axis])
            stop = start + dilated(count, step.stride)
            parts.append(slice_in_dim(x, start, stop, step.stride, step.axis))
        x = functools.reduce(computation, parts)
    return x

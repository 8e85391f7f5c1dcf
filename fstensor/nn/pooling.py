"""Pooling: one number for each of the windows that move over an array, or that divide it.

Layouts are those of `spatial`. Windows move by `stride`, which is their own size by default.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, final, overload

import numpy as np

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.errors import OptionError, ShapeError
from fstensor.nn.spatial import (
    Layout,
    Padding,
    Sizes,
    layout_of,
    of_rank,
    pairs_of,
    per_axis,
    reach_of,
)
from fstensor.numpy.promote import inexact

# Elements of a window that are reduced together; larger ones go along one axis after the other.
_MOST_TOGETHER = 40


@final
class _Axis(NamedTuple):
    """How windows move along an axis. `further`: what rounding up adds behind the padding."""

    size: int
    window: int
    stride: int
    dilation: int
    low: int
    high: int
    further: int
    places: int

    @property
    def starts(self) -> Any:
        """Where windows begin; negative within the padding."""
        return np.arange(self.places) * self.stride - self.low


def _axis(what: str, x: Array, ceil_mode: bool, n: int, k: int, s: int, d: int, pair: Any) -> _Axis:
    low, high = pair
    reach = (k - 1) * d + 1
    if not (0 <= 2 * low <= reach and 0 <= 2 * high <= reach):
        raise OptionError(
            f"{what}: padding must be at most half of the window, got {pair} for a window that "
            f"reaches over {reach}"
        )
    room = n + low + high - reach
    if room < 0:
        raise ShapeError(
            f"{what}: the window must fit into the padded axes, got {x.aval} padded by {pair} and "
            f"a window that reaches over {reach}"
        )
    places = (-(-room // s) if ceil_mode else room // s) + 1
    if ceil_mode and (places - 1) * s >= n + low:
        places -= 1  # windows begin within the array or the padding before it
    further = max((places - 1) * s - room, 0)
    return _Axis(n, k, s, d, low, high, further, places)


def _axes(
    what: str,
    x: Array,
    layout: Layout,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Padding,
    dilation: Sizes,
    ceil_mode: bool,
) -> list[_Axis]:
    """The windows along each spatial axis, after all arguments were found to fit."""
    sizes = layout.sizes(x)
    window = per_axis(what, "kernel_size", kernel_size, len(sizes))
    strides = window if stride is None else per_axis(what, "stride", stride, len(sizes))
    spread = per_axis(what, "dilation", dilation, len(sizes))
    pairs = pairs_of(what, padding, sizes, reach_of(window, spread), strides)
    axes = zip(sizes, window, strides, spread, pairs, strict=True)
    return [_axis(what, x, ceil_mode, *axis) for axis in axes]


def _reduced(
    x: Array, axes: Sequence[_Axis], layout: Layout, combine: Callable[..., Any], start: Any
) -> Array:
    """The combination of each window."""
    if len(axes) > 1 and math.prod(a.window for a in axes) > _MOST_TOGETHER:
        # The last axis first: of equal elements the maximum is the first in row-major order.
        for i in reversed(range(len(axes))):
            part = layout._replace(spatial=(layout.spatial[i],))
            x = _reduced_over(x, [axes[i]], part, combine, start)
        return x
    return _reduced_over(x, axes, layout, combine, start)


def _reduced_over(
    x: Array, axes: Sequence[_Axis], layout: Layout, combine: Callable[..., Any], start: Any
) -> Array:
    def full(values: Sequence[Any], other: Any) -> tuple[Any, ...]:
        everywhere = [other] * x.ndim
        for axis, value in zip(layout.spatial, values, strict=True):
            everywhere[axis] = value
        return tuple(everywhere)

    return lax.reduce_window(
        x,
        fnp.asarray(start, x.dtype),
        combine,
        full([a.window for a in axes], 1),
        full([a.stride for a in axes], 1),
        full([(a.low, a.high + a.further) for a in axes], (0, 0)),
        window_dilation=full([a.dilation for a in axes], 1),
    )


def _along(layout: Layout, ndim: int, vectors: Sequence[Any]) -> list[Any]:
    """Vectors, one for each spatial axis, that broadcast to arrays of the layout."""
    out = []
    for axis, vector in zip(layout.spatial, vectors, strict=True):
        shape = [1] * ndim
        shape[axis] = len(vector)
        out.append(vector.reshape(shape))
    return out


@boundary
def avg_pool(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: float | None = None,
    *,
    data_format: str | None = None,
) -> Array:
    """The mean of each window.

    ceil_mode: whether a last window counts that is not whole; what lies behind the padding is never
        part of a mean. count_include_pad: whether the padding is.
    divisor_override: what sums are divided by, instead of the number of elements.
    Shapes: (n, *s, c) -> (n, *y, c), y = floor or ceil((padded s - window) / stride) + 1.
    Dtypes: integers become the default float.
    Raises: ShapeError where no window fits, OptionError for arguments that do not fit the rank, and
        for padding of more than half of the window.
    """
    x = inexact("avg_pool", x)
    layout = layout_of("avg_pool", x, data_format)
    axes = _axes("avg_pool", x, layout, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None and divisor_override == 0:
        raise OptionError("avg_pool: divisor_override must not be zero")
    total = _reduced(x, axes, layout, lax.add, 0)
    if divisor_override is not None:
        return total / divisor_override
    counts = []
    for a in axes:
        low, high = (a.low, a.high) if count_include_pad else (0, 0)
        first = np.maximum(a.starts, -low)
        counts.append(np.minimum(a.starts + a.window, a.size + high) - first)
    if all(np.all(c == c[0]) for c in counts):
        return total / math.prod(int(c[0]) for c in counts)
    divisors = functools.reduce(np.multiply, _along(layout, x.ndim, counts))
    return total / divisors.astype(x.dtype)


@overload
def max_pool(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    *,
    data_format: str | None = None,
) -> Array: ...


@overload
def max_pool(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
    data_format: str | None = None,
) -> tuple[Array, Array]: ...


@boundary
def max_pool(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Padding = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str | None = None,
) -> Array | tuple[Array, Array]:
    """The maximum of each window; the padding never is one.

    ceil_mode: whether a last window counts that is not whole.
    return_indices: whether the places of the maxima are returned as well, counted in row-major
        order over the spatial axes. Of equal elements it is the first, which gets the derivative.
    Shapes: (n, *s, c) -> (n, *y, c), y = floor or ceil((padded s - dilation (window - 1) - 1) /
        stride) + 1. Raises: as `avg_pool`; DtypeError for complex numbers.

    >>> from fstensor import nn
    >>> y, indices = nn.max_pool(fnp.array([[[3], [7], [5], [5]]]), 2, return_indices=True)
    >>> y.ravel().tolist(), indices.ravel().tolist()
    ([7, 5], [1, 2])
    """
    x = fnp.asarray(x)
    layout = layout_of("max_pool", x, data_format)
    axes = _axes("max_pool", x, layout, kernel_size, stride, padding, dilation, ceil_mode)
    y = _reduced(x, axes, layout, lax.max, _lowest(x))
    return (y, _places_of_maxima(x, axes, layout)) if return_indices else y


def _lowest(x: Array) -> Any:
    if dtypes.is_inexact(x.dtype):
        return -math.inf
    return fnp.iinfo(x.dtype).min if not dtypes.is_bool(x.dtype) else False


def _places_of_maxima(x: Array, axes: Sequence[_Axis], layout: Layout) -> Array:
    """Where the first maximum of each window is; NaN counts as one, and then the last."""
    x = lax.stop_gradient(x)
    config = layout.everywhere([(a.low, a.high + a.further, 0) for a in axes], (0, 0, 0))
    wide = lax.pad(x, fnp.asarray(_lowest(x), x.dtype), config)
    steps = [math.prod(a.size for a in axes[i + 1 :]) for i in range(len(axes))]
    # In each window, counted from its start: the elements seen so far have their maximum at `at`.
    insides = [-(np.minimum(a.starts, 0) // a.dilation) * a.dilation for a in axes]
    first = [inside * step for inside, step in zip(insides, steps, strict=True)]
    index = dtypes.default_int()
    at: Any = sum(_along(layout, x.ndim, first)).astype(index)
    best = None
    for offsets in itertools.product(*[range(0, a.window * a.dilation, a.dilation) for a in axes]):
        cuts = []
        for a, offset in zip(axes, offsets, strict=True):
            cuts.append(slice(offset, offset + (a.places - 1) * a.stride + 1, a.stride))
        view = wide[layout.everywhere(cuts, slice(None))]
        place = sum(o * step for o, step in zip(offsets, steps, strict=True))
        if best is None:
            at, best = fnp.broadcast_to(at, view.shape), fnp.full_like(view, _lowest(x))
        better = (view > best) | (view != view)
        at, best = fnp.where(better, fnp.asarray(place, index), at), fnp.where(better, view, best)
    starts = [a.starts * step for a, step in zip(axes, steps, strict=True)]
    return at + sum(_along(layout, x.ndim, starts)).astype(index)


@boundary
def max_unpool(
    x: ArrayLike,
    indices: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sizes | None = None,
    *,
    data_format: str | None = None,
) -> Array:
    """Zeros, with the elements of `x` at the places that `max_pool` gave for them.

    output_size: the spatial sizes; by default (size - 1) stride - 2 padding + window. Where windows
    overlap, an index can stand twice, and it is not defined which of its elements stays.
    Shapes: x and indices (n, *s, c) -> (n, *output_size, c).
    Raises: ShapeError where shapes differ, OptionError for arguments that do not fit the rank.
    """
    x, places = fnp.asarray(x), fnp.asarray(indices)
    layout = layout_of("max_unpool", x, data_format)
    if places.shape != x.shape:
        raise ShapeError(
            f"max_unpool: indices must be as many as elements, got {places.aval} for {x.aval}"
        )
    rank = len(layout.spatial)
    window = per_axis("max_unpool", "kernel_size", kernel_size, rank)
    strides = window if stride is None else per_axis("max_unpool", "stride", stride, rank)
    pads = per_axis("max_unpool", "padding", padding, rank, 0)
    if output_size is None:
        each = zip(layout.sizes(x), strides, pads, window, strict=True)
        sizes = tuple([(n - 1) * s - 2 * p + k for n, s, p, k in each])
    else:
        sizes = per_axis("max_unpool", "output_size", output_size, rank)
    x, places = (fnp.moveaxis(a, layout.channels, 1) for a in (x, places))
    n, c = x.shape[:2]
    flat, at = (fnp.reshape(a, (n, c, math.prod(a.shape[2:]))) for a in (x, places))
    batch, channel = np.arange(n)[:, None, None], np.arange(c)[:, None]
    whole = fnp.zeros((n, c, math.prod(sizes)), x.dtype).at[batch, channel, at].set(flat)
    return fnp.moveaxis(fnp.reshape(whole, (n, c, *sizes)), 1, layout.channels)


@boundary
def lp_pool(
    x: ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
    *,
    data_format: str | None = None,
) -> Array:
    """(sum of x**p over each window)**(1 / p) for p = norm_type; the derivative at 0 is 0.

    ceil_mode: whether a last window counts that is not whole. As in PyTorch, its sum is scaled up
        to that of a whole one.
    For odd p a negative sum gives NaN, as x itself is taken, not its absolute value.
    Shapes: as `avg_pool`. Raises: as there; OptionError unless norm_type is positive and finite.
    """
    x = inexact("lp_pool", x)
    if not 0 < norm_type < math.inf:
        raise OptionError(f"lp_pool: norm_type must be positive and finite, got {norm_type}")
    rank = x.ndim - 2
    mean = avg_pool(x**norm_type, kernel_size, stride, 0, ceil_mode, data_format=data_format)
    total = mean * math.prod(per_axis("lp_pool", "kernel_size", kernel_size, rank))
    none = total == 0
    # Where the sum is 0, a root's infinite derivative must not meet that of the sum.
    root = fnp.where(none, 1, total) ** (1 / norm_type)
    return fnp.where(none, 0, root)


def _output_sizes(
    what: str, x: Array, layout: Layout, output_size: int | Sequence[int | None] | None
) -> tuple[int, ...]:
    sizes = layout.sizes(x)
    given: Any = [None] * len(sizes) if output_size is None else output_size
    if isinstance(given, Sequence) and len(given) == len(sizes):
        given = [n if o is None else o for n, o in zip(sizes, given, strict=True)]
    if 0 in sizes:
        raise ShapeError(f"{what}: spatial axes must not be empty, got {x.aval}")
    return per_axis(what, "output_size", given, len(sizes))


def _parts(size: int, count: int) -> tuple[Any, Any]:
    """Where the parts of an axis begin and end, from floor(i n / o) to ceil((i + 1) n / o)."""
    i = np.arange(count)
    return i * size // count, -(-(i + 1) * size // count)


@boundary
def adaptive_avg_pool(
    x: ArrayLike,
    output_size: int | Sequence[int | None] | None,
    *,
    data_format: str | None = None,
) -> Array:
    """The mean of each part, of which there are as many along each axis as output_size says.

    Part i of o begins at floor(i n / o) and ends before ceil((i + 1) n / o). None keeps a size.
    Shapes: (n, *s, c) -> (n, *output_size, c). Dtypes: integers become the default float.
    Raises: ShapeError for empty spatial axes, OptionError for sizes that do not fit the rank.
    """
    x = inexact("adaptive_avg_pool", x)
    layout = layout_of("adaptive_avg_pool", x, data_format)
    outs = _output_sizes("adaptive_avg_pool", x, layout, output_size)
    for axis, n, o in zip(layout.spatial, layout.sizes(x), outs, strict=True):
        if n % o:
            begin, end = _parts(n, o)
            place = np.arange(n)[:, None]
            weights = ((begin <= place) & (place < end)) / (end - begin)
            mixed = fnp.tensordot(x, fnp.asarray(weights.astype(x.dtype)), ((axis,), (0,)))
            x = fnp.moveaxis(mixed, -1, axis)
    shape, inside = [], []
    counts = dict(zip(layout.spatial, outs, strict=True))
    for axis, n in enumerate(x.shape):
        shape.append(counts.get(axis, n))
        if axis in counts:
            inside.append(len(shape))
            shape.append(n // counts[axis])
    return fnp.mean(fnp.reshape(x, shape), tuple(inside))


@overload
def adaptive_max_pool(
    x: ArrayLike,
    output_size: int | Sequence[int | None] | None,
    return_indices: Literal[False] = False,
    *,
    data_format: str | None = None,
) -> Array: ...


@overload
def adaptive_max_pool(
    x: ArrayLike,
    output_size: int | Sequence[int | None] | None,
    return_indices: Literal[True],
    *,
    data_format: str | None = None,
) -> tuple[Array, Array]: ...


@boundary
def adaptive_max_pool(
    x: ArrayLike,
    output_size: int | Sequence[int | None] | None,
    return_indices: bool = False,
    *,
    data_format: str | None = None,
) -> Array | tuple[Array, Array]:
    """The maximum of each part, as `adaptive_avg_pool` divides; indices as those of `max_pool`.

    Shapes: (n, *s, c) -> (n, *output_size, c).
    Raises: as `adaptive_avg_pool`; DtypeError for complex numbers.
    """
    x = fnp.asarray(x)
    layout = layout_of("adaptive_max_pool", x, data_format)
    outs = _output_sizes("adaptive_max_pool", x, layout, output_size)
    sizes = layout.sizes(x)
    if all(n % o == 0 for n, o in zip(sizes, outs, strict=True)):
        window = [n // o for n, o in zip(sizes, outs, strict=True)]
        if return_indices:
            return max_pool(x, window, return_indices=True, data_format=data_format)
        return max_pool(x, window, data_format=data_format)
    y, indices = _maxima_of_parts(x, layout, outs)
    return (y, indices) if return_indices else y


def _maxima_of_parts(x: Array, layout: Layout, outs: Sequence[int]) -> tuple[Array, Array]:
    sizes = layout.sizes(x)
    numbered = np.arange(math.prod(sizes)).reshape(layout.everywhere(sizes, 1))
    indices: Any = fnp.asarray(numbered.astype(dtypes.default_int()))
    indices = fnp.broadcast_to(indices, x.shape)
    # As with windows, the last axis first.
    for axis, n, o in reversed([*zip(layout.spatial, sizes, outs, strict=True)]):
        begin, end = _parts(n, o)
        best = at = None
        for k in range(int(np.max(end - begin))):
            place = np.minimum(begin + k, end - 1)  # parts that are shorter repeat their last one
            view, there = (fnp.take(a, place, axis, mode="clip") for a in (x, indices))
            if best is None or at is None:
                best, at = view, there
                continue
            better = (view > best) | (view != view)
            best, at = fnp.where(better, view, best), fnp.where(better, there, at)
        assert best is not None
        assert at is not None
        x, indices = best, at
    return x, indices


avg_pool1d, avg_pool2d, avg_pool3d = (of_rank(avg_pool, rank) for rank in (1, 2, 3))
max_pool1d, max_pool2d, max_pool3d = (of_rank(max_pool, rank) for rank in (1, 2, 3))
max_unpool1d, max_unpool2d, max_unpool3d = (of_rank(max_unpool, rank) for rank in (1, 2, 3))
lp_pool1d, lp_pool2d, lp_pool3d = (of_rank(lp_pool, rank) for rank in (1, 2, 3))
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = (
    of_rank(adaptive_avg_pool, rank) for rank in (1, 2, 3)
)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = (
    of_rank(adaptive_max_pool, rank) for rank in (1, 2, 3)
)

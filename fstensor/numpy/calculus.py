"""Differences, gradients, interpolation, convolution, and functions applied along axes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import (
    Array,
    ArrayLike,
    Axis,
    DtypeLike,
    normalize_axes,
    normalize_axis,
)
from fstensor.errors import ArgumentError, OptionError, ShapeError
from fstensor.numpy.arithmetic import remainder
from fstensor.numpy.indexing import take
from fstensor.numpy.joining import concatenate
from fstensor.numpy.logic import isfinite, isinf
from fstensor.numpy.promote import (
    cast,
    constant,
    converted,
    inexact,
    operand,
    owned,
    promote_all,
    promote_dtypes,
    promote_inexact,
    repeated,
    select,
)
from fstensor.numpy.reductions import sum
from fstensor.numpy.shape import moveaxis
from fstensor.numpy.sorting import searchsorted
from fstensor.ops.precision import PrecisionLike, check_precision
from fstensor.transforms.vmap import vmap


def diff(
    a: ArrayLike,
    n: int = 1,
    axis: int = -1,
    prepend: ArrayLike | None = None,
    append: ArrayLike | None = None,
) -> Array:
    """Differences of neighbours along `axis`, n times; of bools: whether they differ.

    prepend, append: joined to the array first; a scalar as one element.
    Raises: ShapeError for a scalar, OptionError for a negative n.
    """
    x = owned(a, "diff")
    if x.ndim == 0:
        raise ShapeError(f"diff: takes at least 1 axis, got {x.aval}")
    n = operator.index(n)
    if n < 0:
        raise OptionError(f"diff: n must not be negative, got {n}")
    if n == 0:
        return x
    axis = normalize_axis(axis, x.ndim, "diff")
    ends = [None if e is None else _as_end(owned(e, "diff"), x, axis) for e in (prepend, append)]
    x = concatenate([part for part in (ends[0], x, ends[1]) if part is not None], axis)
    subtract = lax.ne if dtypes.is_bool(x.dtype) else lax.sub
    for _ in range(n):
        size = x.shape[axis]
        if size == 0:
            return x
        later = lax.slice_in_dim(x, 1, size, axis=axis)
        x = subtract(later, lax.slice_in_dim(x, 0, size - 1, axis=axis))
    return x


def _as_end(end: Array, x: Array, axis: int) -> Array:
    if end.ndim:
        return end
    return repeated(end, tuple([1 if i == axis else m for i, m in enumerate(x.shape)]))


def ediff1d(
    ary: ArrayLike, to_end: ArrayLike | None = None, to_begin: ArrayLike | None = None
) -> Array:
    """Differences of neighbours in the flat array, between `to_begin` and `to_end`."""
    x = owned(ary, "ediff1d")
    x = lax.reshape(x, (x.size,))
    middle = diff(x)
    ends = [
        None if e is None else converted(lax.reshape(e, (e.size,)), x.dtype)
        for e in (None if e is None else owned(e, "ediff1d") for e in (to_begin, to_end))
    ]
    return concatenate([p for p in (ends[0], middle, ends[1]) if p is not None], 0)


def gradient(
    f: ArrayLike,
    *varargs: ArrayLike,
    axis: Axis = None,
    edge_order: int = 1,
) -> Array | list[Array]:
    """Slopes along axes: central differences inside, one-sided ones at the edges.

    varargs: the spacing: one number; or for each axis a number or the places of the samples.
    axis: all axes by default; a list of results when there is not just one.
    edge_order: 1 or 2, the order of accuracy at the edges.
    Raises: ShapeError when an axis has fewer than edge_order + 1 samples or places do not fit.
    """
    x = inexact("gradient", f)
    axes = normalize_axes(axis, x.ndim, "gradient")
    if edge_order not in (1, 2):
        raise OptionError(f"gradient: edge_order must be 1 or 2, got {edge_order}")
    if len(varargs) not in (0, 1, len(axes)):
        raise ArgumentError(
            f"gradient: takes one spacing, or one for each of {len(axes)} axes, got {len(varargs)}"
        )
    spacings: Sequence[ArrayLike] = varargs or (1.0,)
    if len(spacings) == 1:
        spacings = list(spacings) * len(axes)
    found = []
    for i, spacing in zip(axes, spacings, strict=True):
        if x.shape[i] <= edge_order:
            raise ShapeError(
                f"gradient: needs at least {edge_order + 1} samples, got axis {i} of {x.aval}"
            )
        found.append(_slopes(x, operand(spacing, "gradient"), i, edge_order))
    return found[0] if len(found) == 1 else found


def _slopes(x: Array, spacing: Array, axis: int, edge_order: int) -> Array:
    n = x.shape[axis]
    if spacing.ndim > 1 or (spacing.ndim == 1 and spacing.shape[0] != n):
        raise ShapeError(
            f"gradient: places must be one for each sample, got {spacing.aval} for axis {axis} "
            f"of {x.aval}"
        )
    spacing = converted(spacing, dtypes.to_real(x.dtype))
    gaps = diff(spacing) if spacing.ndim else repeated(spacing, (n - 1,))
    gaps = converted(gaps, x.dtype)
    shape = [n - 1 if i == axis else 1 for i in range(x.ndim)]
    gaps = lax.reshape(gaps, shape)

    def part(y: Array, start: int, stop: int) -> Array:
        return lax.slice_in_dim(y, start, stop, axis=axis)

    secants = lax.div(lax.sub(part(x, 1, n), part(x, 0, n - 1)), gaps)
    before, after = part(secants, 0, n - 2), part(secants, 1, n - 1)
    gap_before, gap_after = part(gaps, 0, n - 2), part(gaps, 1, n - 1)
    # The slope of the parabola through three samples: each secant weighted by the other's gap.
    total = lax.add(gap_before, gap_after)
    inside = lax.div(lax.add(lax.mul(before, gap_after), lax.mul(after, gap_before)), total)
    first, last = part(secants, 0, 1), part(secants, n - 2, n - 1)
    if edge_order == 2:
        # The same parabola's slope at its ends.
        bend = lax.div(lax.sub(after, before), total)
        first = lax.sub(first, lax.mul(part(bend, 0, 1), part(gaps, 0, 1)))
        last = lax.add(last, lax.mul(part(bend, n - 3, n - 2), part(gaps, n - 2, n - 1)))
    return lax.concatenate([first, inside, last], axis)


def trapezoid(
    y: ArrayLike, x: ArrayLike | None = None, dx: ArrayLike = 1.0, axis: int = -1
) -> Array:
    """Integral along `axis` by the trapezoidal rule, over places `x` or steps `dx`."""
    values = moveaxis(inexact("trapezoid", y), axis, -1)
    n = values.shape[-1]
    if x is None:
        widths = operand(dx, "trapezoid")
    else:
        places = owned(x, "trapezoid")
        widths = diff(places if places.ndim == 1 else moveaxis(places, axis, -1))
    last = values.ndim - 1
    pairs = lax.add(
        lax.slice_in_dim(values, min(1, n), n, axis=last),
        lax.slice_in_dim(values, 0, max(n - 1, 0), axis=last),
    )
    areas = lax.mul(*promote_inexact("trapezoid", pairs, widths))
    total = sum(areas, -1)
    return lax.mul(total, constant(0.5, total))


def interp(
    x: ArrayLike,
    xp: ArrayLike,
    fp: ArrayLike,
    left: ArrayLike | None = None,
    right: ArrayLike | None = None,
    period: ArrayLike | None = None,
) -> Array:
    """Linear interpolation at `x` between the points (xp, fp), of which xp increase.

    left, right: values before the first and behind the last point; those at the points by default.
    period: with which xp and fp repeat; left and right are then not used.
    Raises: ShapeError unless xp and fp are vectors of one size.
    """
    at, places = promote_dtypes("interp", x, xp, 0.0)[:2]
    values = inexact("interp", fp)
    if places.ndim != 1 or values.shape != places.shape or not places.size:
        raise ShapeError(
            f"interp: xp and fp must be vectors of one size, got {places.aval} and {values.aval}"
        )
    if period is not None:
        at, places, values = _wrapped(at, places, values, period)
    n = places.shape[0]
    i = lax.clamp(1, searchsorted(places, at, "right"), max(n - 1, 1))
    before, after = lax.sub(i, 1), lax.min(i, constant(n - 1, i))
    x0, x1, y0, y1 = (take(v, j) for v in (places, values) for j in (before, after))
    gap = lax.sub(x1, x0)
    empty = lax.eq(gap, constant(0, gap))
    share = lax.div(lax.sub(at, x0), select(empty, constant(1, gap), gap))
    share, y0, y1 = promote_all("interp", share, y0, y1)
    found = select(empty, y0, lax.add(y0, lax.mul(share, _rise(share, y0, y1))))
    if period is not None:
        return found
    first, last = (
        lax.index_in_dim(v, k, 0, keepdims=False) for v, k in ((values, 0), (values, n - 1))
    )
    low = first if left is None else operand(left, "interp")
    high = last if right is None else operand(right, "interp")
    found, low, high = promote_dtypes("interp", found, low, high)
    start, end = (lax.index_in_dim(places, k, 0, keepdims=False) for k in (0, n - 1))
    found = select(lax.lt(at, start), low, found)
    return select(lax.gt(at, end), high, found)


def _rise(share: Array, y0: Array, y1: Array) -> Array:
    """y1 - y0, but 0 where that is infinite or NaN although the line stays at y0."""
    rise = lax.sub(y1, y0)
    at_start = lax.eq(share, constant(0, share))
    from_infinity = lax.bitwise_and(isinf(y0), isfinite(y1))
    stays = lax.bitwise_or(lax.bitwise_or(at_start, lax.eq(y0, y1)), from_infinity)
    endless = lax.bitwise_not(isfinite(rise))
    return select(lax.bitwise_and(stays, endless), constant(0, rise), rise)


def _wrapped(
    at: Array, places: Array, values: Array, period: ArrayLike
) -> tuple[Array, Array, Array]:
    """Places within one period, in order, with one point more on either side."""
    length = lax.abs(cast("interp", period, places.dtype))
    at, places = remainder(at, length), remainder(places, length)
    places, values = lax.sort((places, values), 0, True, 1)
    n = places.shape[0]

    def ends(v: Array) -> tuple[Array, Array]:
        return lax.slice_in_dim(v, 0, 1), lax.slice_in_dim(v, n - 1, n)

    (first, last), (first_value, last_value) = ends(places), ends(values)
    places = lax.concatenate([lax.sub(last, length), places, lax.add(first, length)], 0)
    return at, places, lax.concatenate([last_value, values, first_value], 0)


def convolve(
    a: ArrayLike,
    v: ArrayLike,
    mode: str = "full",
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Discrete convolution of two vectors: sums of a[i] v[k - i].

    mode: "full" gives every k at which they overlap, "same" the middle max(m, n) of these, "valid"
        those at which the shorter one lies inside the longer.
    precision, preferred_element_type: as of `dot`.
    Raises: OptionError for another mode or precision, ShapeError unless both are vectors with
        elements.
    """
    check_precision("convolve", precision)
    x, y = promote_dtypes("convolve", a, v)
    return _correlated("convolve", x, y, mode, preferred_element_type, flip=True)


def correlate(
    a: ArrayLike,
    v: ArrayLike,
    mode: str = "valid",
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Cross-correlation of two vectors: sums of a[i + k] conj(v[i]); options as in `convolve`."""
    check_precision("correlate", precision)
    x, y = promote_dtypes("correlate", a, v)
    y = lax.conj(y) if dtypes.is_complex(y.dtype) else y
    swapped = x.ndim == y.ndim == 1 and x.shape[0] < y.shape[0]
    if swapped:
        x, y = y, x
    result = _correlated("correlate", x, y, mode, preferred_element_type, flip=False)
    return lax.rev(result, (0,)) if swapped else result


def _correlated(what: str, x: Array, y: Array, mode: str, dtype: DtypeLike, *, flip: bool) -> Array:
    if x.ndim != 1 or y.ndim != 1 or not x.size or not y.size:
        raise ShapeError(f"{what}: takes two vectors with elements, got {x.aval} and {y.aval}")
    if mode not in ("full", "same", "valid"):
        raise OptionError(f"{what}: mode must be 'full', 'same' or 'valid', got {mode!r}")
    if x.shape[0] < y.shape[0]:
        x, y = y, x
    n, m = x.shape[0], y.shape[0]
    kernel = lax.rev(y, (0,)) if flip else y
    before = {"full": m - 1, "same": m // 2, "valid": 0}[mode]
    size = {"full": n + m - 1, "same": n, "valid": n - m + 1}[mode]
    padded = lax.pad(x, constant(0, x), [(before, size + m - 1 - n - before, 0)])
    # Windows of the longer vector, one row each.
    rows = lax.broadcasted_iota(np.int32, (size, m), 0)
    places = lax.add(rows, lax.broadcasted_iota(np.int32, (size, m), 1))
    numbers: lax.DotDimensionNumbers = (((1,), (0,)), ((), ()))
    preferred = x.dtype if dtype is None else dtype
    return lax.dot_general(take(padded, places), kernel, numbers, preferred_element_type=preferred)


# Functions applied along axes


def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: ArrayLike, *args: Any, **kwargs: Any
) -> Array:
    """`func1d` of each vector along `axis`, by `vmap`; its result's axes take that one's place."""
    x = owned(arr, "apply_along_axis")
    axis = normalize_axis(axis, x.ndim, "apply_along_axis")
    vectors = moveaxis(x, axis, -1)
    others = vectors.shape[:-1]
    rows = lax.reshape(vectors, (math.prod(others), vectors.shape[-1]))
    found = vmap(lambda row: func1d(row, *args, **kwargs))(rows)
    added = found.ndim - 1
    found = lax.reshape(found, (*others, *found.shape[1:]))
    return moveaxis(found, range(len(others), found.ndim), range(axis, axis + added))


def apply_over_axes(func: Callable[..., Array], a: ArrayLike, axes: int | Sequence[int]) -> Array:
    """`func(a, axis)` for each of `axes` in turn; where it drops the axis, with size 1."""
    x = owned(a, "apply_over_axes")
    for axis in axes if isinstance(axes, Sequence) else (axes,):
        result = func(x, axis)
        if result.ndim == x.ndim - 1:
            result = lax.expand_dims(result, (normalize_axis(axis, x.ndim, "apply_over_axes"),))
        if result.ndim != x.ndim:
            raise ShapeError(
                f"apply_over_axes: the function must keep or drop the axis, got {result.aval} "
                f"from {x.aval}"
            )
        x = result
    return x

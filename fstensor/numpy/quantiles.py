"""Medians, quantiles and percentiles, and those that leave NaN out."""

from __future__ import annotations

import math

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, Axis, normalize_axes
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.numpy import reductions
from fstensor.numpy.indexing import take_along_axis
from fstensor.numpy.promote import (
    cast,
    constant,
    converted,
    operand,
    promote_inexact,
    refuse_out,
    repeated,
    select,
)

_METHODS = ("linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf")


def median(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Array:
    """The middle element along `axis`, all axes by default, or the mean of the middle two.

    NaN where there is one. Integers give floats.
    """
    return quantile(a, 0.5, axis, out, overwrite_input, "midpoint", keepdims)


def quantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """The element at the fraction `q` of the sorted ones along `axis`, all axes by default.

    q: from 0 to 1. Shapes: its axes come first in the result.
    method: between two elements "linear" interpolates, "lower" and "higher" take one, "nearest"
        the nearer, the even one at a tie, "midpoint" the mean. "inverted_cdf" takes the first
        element up to which lies at least the fraction `q` of all elements, or of their weights.
    weights: of the elements, for "inverted_cdf"; of the shape of `a` or of its axes. The result is
        NaN where one is negative or NaN, or where all are 0. It does not vary with them.
    NaN where there is one. Integers give floats.
    Raises: OptionError for another method, for weights with another method than "inverted_cdf", or
        overwrite_input; ShapeError for no elements, or weights that do not fit; DtypeError for
        complex weights.
    """
    return _quantile(
        "quantile", a, q, 1, axis, out, overwrite_input, method, keepdims, weights, skip_nan=False
    )


def percentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """As `quantile`, with `q` from 0 to 100."""
    return _quantile(
        "percentile",
        a,
        q,
        100,
        axis,
        out,
        overwrite_input,
        method,
        keepdims,
        weights,
        skip_nan=False,
    )


def nanmedian(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    keepdims: bool = False,
) -> Array:
    """As `median`, of the elements that are not NaN; NaN where there are none."""
    return nanquantile(a, 0.5, axis, out, overwrite_input, "midpoint", keepdims)


def nanquantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """As `quantile`, of the elements that are not NaN; NaN where there are none."""
    return _quantile(
        "nanquantile", a, q, 1, axis, out, overwrite_input, method, keepdims, weights, skip_nan=True
    )


def nanpercentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """As `nanquantile`, with `q` from 0 to 100."""
    return _quantile(
        "nanpercentile",
        a,
        q,
        100,
        axis,
        out,
        overwrite_input,
        method,
        keepdims,
        weights,
        skip_nan=True,
    )


def _quantile(
    what: str,
    a: ArrayLike,
    q: ArrayLike,
    whole: int,
    axis: Axis,
    out: None,
    overwrite_input: bool,
    method: str,
    keepdims: bool,
    weights: ArrayLike | None,
    *,
    skip_nan: bool,
) -> Array:
    refuse_out(what, out)
    if overwrite_input:
        raise OptionError(f"{what}: arrays are immutable, so overwrite_input must be False")
    if method not in _METHODS:
        raise OptionError(f"{what}: method must be one of {', '.join(_METHODS)}, got {method!r}")
    x = promote_inexact(what, a, 0.0)[0]
    fraction = cast(what, q, x.dtype)
    if whole != 1:
        fraction = lax.div(fraction, constant(whole, fraction))
    axes = normalize_axes(axis, x.ndim, what)
    if not math.prod(x.shape[i] for i in axes):
        raise ShapeError(f"{what}: there is no result for no elements, got {x.aval} along {axes}")
    flat = lax.reshape(fraction, (fraction.size,))
    if weights is None:
        found = _between(_rows(x, axes), flat, method, skip_nan)
    else:
        w = _weights(what, x, weights, axis, method)
        found = _weighted(_rows(x, axes), _rows(w, axes), flat, skip_nan)
    # (others, q) -> (q, others), with the axes of q as they were.
    found = lax.transpose(found, (found.ndim - 1, *range(found.ndim - 1)))
    found = lax.reshape(found, (*fraction.shape, *found.shape[1:]))
    if keepdims:
        found = lax.expand_dims(found, [fraction.ndim + i for i in axes])
    return found


def _weights(what: str, x: Array, weights: ArrayLike, axis: Axis, method: str) -> Array:
    """The weight of each element of `x`."""
    if method != "inverted_cdf":
        raise OptionError(f"{what}: weights need method='inverted_cdf', got {method!r}")
    w = operand(weights, what)
    if dtypes.is_complex(w.dtype):
        raise DtypeError(f"{what}: weights must be real, got {w.aval}")
    w = reductions.weight_each(what, x, w, axis)
    return w if dtypes.is_inexact(w.dtype) else converted(w, x.dtype)


def _rows(x: Array, axes: tuple[int, ...]) -> Array:
    """The elements along `axes` as the last axis."""
    kept = [i for i in range(x.ndim) if i not in axes]
    x = lax.transpose(x, (*kept, *axes))
    return lax.reshape(x, (*x.shape[: len(kept)], math.prod(x.shape[len(kept) :])))


def _between(rows: Array, q: Array, method: str, skip_nan: bool) -> Array:
    """For each row, the values at the fractions `q` of its sorted elements."""
    ordered = lax.sort(rows, rows.ndim - 1)  # NaN comes last
    share = lax.reshape(q, (*[1] * (rows.ndim - 1), q.shape[0]))
    if skip_nan:
        count = reductions.sum(lax.eq(rows, rows), -1, q.dtype, keepdims=True)
        last = lax.sub(count, constant(1, count))
    else:
        last = constant(rows.shape[-1] - 1, q)
    if method == "inverted_cdf":
        place = lax.add(lax.mul(share, last), lax.sub(share, constant(1, share)))
        below = above = lax.ceil(place)  # q n - 1
    else:
        place = lax.mul(share, last)
        below, above = lax.floor(place), lax.ceil(place)
    if method == "nearest":
        below = above = lax.round(place, lax.RoundingMethod.TO_NEAREST_EVEN)
    low, high = (_elements(ordered, p) for p in (below, above))
    if method in ("lower", "nearest", "inverted_cdf"):
        value = low
    elif method == "higher":
        value = high
    else:
        weight = lax.sub(place, below)
        if method == "midpoint":
            whole = lax.eq(weight, constant(0, weight))
            weight = select(whole, weight, constant(0.5, weight))
        # A weight of 0 must not make NaN of an infinite neighbour, nor equal infinities of theirs.
        # Equal finite ones are weighted, for each is to have its share of the slope.
        rest = lax.mul(lax.sub(high, low), weight)
        same = lax.bitwise_and(lax.eq(low, high), lax.bitwise_not(lax.is_finite(low)))
        exact = lax.bitwise_or(same, lax.eq(weight, constant(0, weight)))
        value = select(exact, low, lax.add(low, rest))
    return value if skip_nan else _nan_where_any(lax.ne(rows, rows), value)


def _elements(rows: Array, places: Array) -> Array:
    """Of each row, or of all alike, the elements at places that may be outside."""
    index = lax.clamp(0, converted(places, np.dtype(np.int32)), rows.shape[-1] - 1)
    spread = repeated(index, (*rows.shape[:-1], index.shape[-1]))
    return take_along_axis(rows, spread, -1)


def _weighted(rows: Array, weights: Array, q: Array, skip_nan: bool) -> Array:
    """For each row, its first element up to which lies at least the fraction `q` of its weights."""
    missing = lax.ne(rows, rows)
    zero = constant(0, weights)
    wrong = lax.bitwise_not(lax.ge(weights, zero))
    if skip_nan:
        wrong = lax.bitwise_and(wrong, lax.bitwise_not(missing))
        weights = select(missing, zero, weights)
    else:
        wrong = lax.bitwise_or(wrong, missing)
    weights = lax.stop_gradient(weights)
    ordered, weights = lax.sort_key_val(rows, weights)
    sums = lax.cumsum(weights, weights.ndim - 1)
    total = lax.slice_in_dim(sums, -1, None, axis=-1)
    # Sums over the total, not `q` times it: 7 of 100 are not less than 0.07.
    shares = lax.expand_dims(lax.div(sums, total), (sums.ndim - 1,))
    # An element without weight is none, also for q = 0.
    empty = lax.eq(lax.expand_dims(sums, (sums.ndim - 1,)), zero)
    before = lax.bitwise_or(lax.lt(shares, _column(converted(q, sums.dtype), sums.ndim)), empty)
    value = _elements(ordered, reductions.sum(before, -1, np.int32))
    none = lax.bitwise_not(lax.gt(total, zero))
    return _nan_where_any(lax.bitwise_or(wrong, none), value)


def _column(q: Array, leading: int) -> Array:
    return lax.reshape(q, (*[1] * (leading - 1), q.shape[0], 1))


def _nan_where_any(rows: Array, value: Array) -> Array:
    return select(reductions.any(rows, -1, keepdims=True), constant(math.nan, value), value)

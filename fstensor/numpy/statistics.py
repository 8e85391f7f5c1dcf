"""Histograms, counts and covariance."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, DtypeLike
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError
from fstensor.numpy import reductions
from fstensor.numpy.arithmetic import real
from fstensor.numpy.creation import linspace
from fstensor.numpy.joining import concatenate
from fstensor.numpy.linear import dot
from fstensor.numpy.promote import (
    cast,
    concrete,
    constant,
    converted,
    inexact,
    operand,
    select,
)
from fstensor.numpy.shape import at_least
from fstensor.numpy.sorting import searchsorted

# Counts


def bincount(
    x: ArrayLike, weights: ArrayLike | None = None, minlength: int = 0, *, length: int | None = None
) -> Array:
    """How often each of 0, 1, 2, … occurs in `x`; the sum of its weights, if given.

    length: the size of the result, beyond which elements do not count; it must be given when `x`
        is traced. By default max(x) + 1, and at least minlength.
    Negative elements do not count under a given length.
    Raises: ArgumentError unless `x` is a vector of integers; OptionError for negative elements.
    """
    x = operand(x, "bincount")
    if x.ndim != 1 or not (dtypes.is_integer(x.dtype) or dtypes.is_bool(x.dtype)):
        raise ArgumentError(f"bincount: takes a vector of integers, got {x.aval}")
    if length is None:
        values = concrete("bincount", x, "pass length")
        if values.size and values.min() < 0:
            raise OptionError(f"bincount: elements must not be negative, got {values.min()}")
        length = max(int(values.max()) + 1 if values.size else 0, operator.index(minlength))
    if weights is None:
        amounts = lax.full(x.shape, 1, dtypes.default_int())
    else:
        amounts = operand(weights, "bincount")
        if amounts.shape != x.shape:
            raise ShapeError(
                f"bincount: weights must have the shape of x, got {amounts.aval} for {x.aval}"
            )
    counts = lax.full((length,), 0, amounts.dtype)
    places = converted(x, np.dtype(np.int64) if x.dtype.itemsize == 8 else np.dtype(np.int32))
    # Outside the bounds a scatter drops; negative places must not wrap.
    places = select(lax.lt(places, constant(0, places)), constant(length, places), places)
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    index = lax.reshape(places, (places.size, 1))
    return lax.scatter_add(counts, index, amounts, numbers, mode="drop")


def histogram_bin_edges(
    a: ArrayLike,
    bins: ArrayLike = 10,
    range: Sequence[ArrayLike] | None = None,
    weights: ArrayLike | None = None,
) -> Array:
    """Edges of `bins` equal bins from the least to the greatest element, or over `range`.

    bins: a number, or the edges themselves.
    weights: not used, as in NumPy for a number of bins.
    """
    x = inexact("histogram", a)
    if isinstance(bins, str):
        raise OptionError(f"histogram: bins must be a number or edges, got {bins!r}")
    given = operand(bins, "histogram")
    if given.ndim:
        return inexact("histogram", given)
    if range is not None:
        low, high = (cast("histogram", r, x.dtype) for r in range)
    elif x.size == 0:
        low, high = constant(0, x), constant(1, x)
    else:
        low, high = reductions.min(x), reductions.max(x)
    # A range without width gets one around it.
    flat = lax.eq(low, high)
    low = select(flat, lax.sub(low, constant(0.5, low)), low)
    high = select(flat, lax.add(high, constant(0.5, high)), high)
    edges = linspace(low, high, operator.index(bins) + 1)  # type: ignore[arg-type]
    assert isinstance(edges, Array)
    return edges


def histogram(
    a: ArrayLike,
    bins: ArrayLike = 10,
    range: Sequence[ArrayLike] | None = None,
    weights: ArrayLike | None = None,
    density: bool | None = None,
) -> tuple[Array, Array]:
    """How many elements lie in each bin, and the edges of the bins; see `histogram_bin_edges`.

    Bins contain their lower edge, the last one both. Elements outside do not count.
    weights: what each element counts, instead of 1.
    density: divide so that the integral over the bins is 1.
    """
    edges = histogram_bin_edges(a, bins, range)
    x = operand(a, "histogram")
    x = converted(lax.reshape(x, (x.size,)), edges.dtype)
    count = edges.shape[0] - 1
    place = lax.sub(searchsorted(edges, x, "right"), 1)
    last = lax.index_in_dim(edges, count, 0, keepdims=False)
    place = select(lax.eq(x, last), constant(count - 1, place), place)
    if weights is not None:
        weights = operand(weights, "histogram")
        weights = lax.reshape(weights, (weights.size,))
    counts = bincount(place, weights, length=count)
    if density:
        widths = lax.sub(lax.slice_in_dim(edges, 1, None), lax.slice_in_dim(edges, 0, count))
        shares = converted(counts, edges.dtype)
        counts = lax.div(lax.div(shares, widths), reductions.sum(shares))
    return counts, edges


# Covariance


def cov(
    m: ArrayLike,
    y: ArrayLike | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: ArrayLike | None = None,
    aweights: ArrayLike | None = None,
    dtype: DtypeLike = None,
) -> Array:
    """Covariance matrix of variables, of which each is a row of `m`, or a column if not rowvar.

    y: more variables. bias: divide by n, not n - 1. ddof: divide by n - ddof.
    fweights: how often each observation counts; aweights: its weight.
    dtype: a float or complex one, of the result, to which `m` and `y` are converted first.
    Raises: ShapeError for more than 2 axes, DtypeError for another dtype.
    """
    x = inexact("cov", m)
    if x.ndim > 2:
        raise ShapeError(f"cov: takes at most 2 axes, got {x.aval}")
    x = _variables(x, rowvar)
    if y is not None:
        others = inexact("cov", y)
        x = concatenate([x, _variables(others, rowvar or others.ndim == 1)], 0)
    if dtype is not None:
        wanted = dtypes.canonical(dtype)
        if not dtypes.is_inexact(wanted):
            raise DtypeError(f"cov: dtype must be float or complex, got {dtypes.name(wanted)}")
        x = converted(x, wanted)
    less = ddof if ddof is not None else int(not bias)
    weights = None
    if fweights is not None:
        weights = cast("cov", fweights, dtypes.to_real(x.dtype))
    if aweights is not None:
        importance = cast("cov", aweights, dtypes.to_real(x.dtype))
        weights = importance if weights is None else lax.mul(weights, importance)
    observations = x.shape[1]
    if weights is None:
        center = reductions.mean(x, 1, keepdims=True)
        factor = constant(max(observations - less, 0), real(center))
        scaled = x = lax.sub(x, center)
    else:
        total = reductions.sum(weights)
        center, _ = reductions.average(x, 1, weights, True)
        if less == 0:
            factor = total
        elif aweights is None:
            factor = lax.sub(total, constant(less, total))
        else:
            squares = reductions.sum(lax.mul(weights, importance))
            factor = lax.sub(total, lax.div(lax.mul(constant(less, total), squares), total))
        x = lax.sub(x, lax.expand_dims(center, (1,)))
        scaled = lax.mul(x, converted(lax.expand_dims(weights, (0,)), x.dtype))
    right = lax.transpose(scaled, (1, 0))
    right = lax.conj(right) if dtypes.is_complex(x.dtype) else right
    product = dot(x, right)
    result = lax.div(product, converted(factor, product.dtype))
    return lax.squeeze(result, [i for i, n in enumerate(result.shape) if n == 1])


def _variables(x: Array, rowvar: bool) -> Array:
    """`x` with one row for each variable; a vector is one variable."""
    return at_least(2, x) if rowvar or x.ndim < 2 else lax.transpose(x, (1, 0))


def corrcoef(
    x: ArrayLike, y: ArrayLike | None = None, rowvar: bool = True, dtype: DtypeLike = None
) -> Array:
    """Correlation coefficients of the variables of `cov`; parameters as there."""
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return lax.div(c, c)
    rows = lax.broadcasted_iota(np.int32, c.shape, 0)
    columns = lax.broadcasted_iota(np.int32, c.shape, 1)
    on = lax.eq(rows, columns)
    spread = lax.sqrt(real(lax.reduce_sum(select(on, c, constant(0, c)), (1,))))
    divisor = lax.mul(lax.expand_dims(spread, (1,)), lax.expand_dims(spread, (0,)))
    result = lax.div(c, converted(divisor, c.dtype))
    if dtypes.is_complex(c.dtype):
        one = constant(1, divisor)
        parts = [lax.clamp(lax.neg(one), p, one) for p in (lax.real(result), lax.imag(result))]
        return lax.complex(*parts)
    return lax.clamp(-1, result, 1)

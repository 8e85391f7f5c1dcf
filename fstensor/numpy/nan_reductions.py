"""Reductions that leave NaN out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, Axis, DtypeLike
from fstensor.numpy import reductions
from fstensor.numpy.logic import isnan, logical_and
from fstensor.numpy.promote import constant, operand, owned, refuse_out, select


def _without_nan(what: str, a: ArrayLike, instead: complex) -> tuple[Array, Array]:
    """`a` with `instead` for NaN, and where there was none."""
    x = operand(a, what)
    if not dtypes.is_inexact(x.dtype):
        return x, lax.eq(x, x)
    missing = isnan(x)
    return select(missing, constant(instead, x), x), lax.bitwise_not(missing)


def nansum(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DtypeLike = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """Sum over `axis` with NaN as 0."""
    refuse_out("nansum", out)
    x, _ = _without_nan("nansum", a, 0)
    return reductions.sum(x, axis, dtype, None, keepdims, initial, where)


def nanprod(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DtypeLike = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """Product over `axis` with NaN as 1."""
    refuse_out("nanprod", out)
    x, _ = _without_nan("nanprod", a, 1)
    return reductions.prod(x, axis, dtype, None, keepdims, initial, where)


def nancumsum(
    a: ArrayLike, axis: int | None = None, dtype: DtypeLike = None, out: None = None
) -> Array:
    """Running sums along `axis`, of the flat array by default, with NaN as 0."""
    refuse_out("nancumsum", out)
    x, _ = _without_nan("nancumsum", owned(a, "nancumsum"), 0)
    return reductions.cumsum(x, axis, dtype)


def nancumprod(
    a: ArrayLike, axis: int | None = None, dtype: DtypeLike = None, out: None = None
) -> Array:
    """Running products along `axis`, of the flat array by default, with NaN as 1."""
    refuse_out("nancumprod", out)
    x, _ = _without_nan("nancumprod", owned(a, "nancumprod"), 1)
    return reductions.cumprod(x, axis, dtype)


def nanmax(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """Maximum over `axis` without NaN; NaN where there is nothing else."""
    refuse_out("nanmax", out)
    return _extremum("nanmax", reductions.max, -math.inf, a, axis, keepdims, initial, where)


def nanmin(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """Minimum over `axis` without NaN; NaN where there is nothing else."""
    refuse_out("nanmin", out)
    return _extremum("nanmin", reductions.min, math.inf, a, axis, keepdims, initial, where)


def _extremum(
    what: str,
    reduce: Callable[..., Array],
    beyond: float,
    a: ArrayLike,
    axis: Axis,
    keepdims: bool,
    initial: ArrayLike | None,
    where: ArrayLike | None,
) -> Array:
    x = operand(a, what)
    if not dtypes.is_inexact(x.dtype):
        return reduce(x, axis, None, keepdims, initial, where)
    filled, present = _without_nan(what, x, beyond)
    result = reduce(filled, axis, None, keepdims, initial, where)
    if initial is not None:
        return result
    some = reductions.any(present, axis, keepdims=keepdims)
    return select(some, result, constant(math.nan, result))


def nanargmax(
    a: ArrayLike, axis: int | None = None, out: None = None, keepdims: bool = False
) -> Array:
    """The index of the first maximum that is not NaN along `axis`; -1 where all are NaN."""
    refuse_out("nanargmax", out)
    return _place("nanargmax", reductions.argmax, -math.inf, a, axis, keepdims)


def nanargmin(
    a: ArrayLike, axis: int | None = None, out: None = None, keepdims: bool = False
) -> Array:
    """The index of the first minimum that is not NaN along `axis`; -1 where all are NaN."""
    refuse_out("nanargmin", out)
    return _place("nanargmin", reductions.argmin, math.inf, a, axis, keepdims)


def _place(
    what: str,
    find: Callable[..., Array],
    beyond: float,
    a: ArrayLike,
    axis: int | None,
    keepdims: bool,
) -> Array:
    x, present = _without_nan(what, a, beyond)
    found = find(x, axis, None, keepdims)
    if not dtypes.is_inexact(x.dtype):
        return found
    some = reductions.any(present, axis, keepdims=keepdims)
    return select(some, found, constant(-1, found))


def nanmean(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DtypeLike = None,
    out: None = None,
    keepdims: bool = False,
    where: ArrayLike | None = None,
) -> Array:
    """Mean over `axis` without NaN; NaN where there is nothing else."""
    refuse_out("nanmean", out)
    x, present = _without_nan("nanmean", a, 0)
    return reductions.mean(x, axis, dtype, None, keepdims, where=_both(present, where))


def nanvar(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DtypeLike = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
) -> Array:
    """Variance over `axis` without NaN; NaN where no more than `ddof` elements are left."""
    refuse_out("nanvar", out)
    return _spread("nanvar", reductions.var, a, axis, dtype, ddof, keepdims, where, mean)


def nanstd(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DtypeLike = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
) -> Array:
    """Standard deviation over `axis` without NaN; NaN where no more than `ddof` are left."""
    refuse_out("nanstd", out)
    return _spread("nanstd", reductions.std, a, axis, dtype, ddof, keepdims, where, mean)


def _spread(
    what: str,
    reduce: Callable[..., Array],
    a: ArrayLike,
    axis: Axis,
    dtype: DtypeLike,
    ddof: int,
    keepdims: bool,
    where: ArrayLike | None,
    mean: ArrayLike | None,
) -> Array:
    x, present = _without_nan(what, a, 0)
    if not dtypes.is_inexact(x.dtype):
        return reduce(x, axis, dtype, None, ddof, keepdims, where=where, mean=mean)
    chosen = _both(present, where)
    result = reduce(x, axis, dtype, None, ddof, keepdims, where=chosen, mean=mean)
    count = reductions.sum(chosen, axis, np.dtype(np.int32), keepdims=keepdims)
    enough = lax.gt(count, constant(ddof, count))
    return select(enough, result, constant(math.nan, result))


def _both(present: Array, where: ArrayLike | None) -> Array:
    return present if where is None else logical_and(present, where)

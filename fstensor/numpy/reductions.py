"""Reductions over axes, and running sums and products.

`where` leaves elements out, `initial` joins in one value more, as in NumPy. Sums of narrow integers
and bools are made in the default integer; those of 16-bit floats are made in float32.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
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
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError
from fstensor.numpy.logic import truth
from fstensor.numpy.promote import (
    cast,
    constant,
    converted,
    equal_ranks,
    operand,
    owned,
    promote_inexact,
    refuse_out,
    repeated,
    select,
)
from fstensor.transforms.replay import replayed

_HALVES = (np.dtype(np.float16), np.dtype(dtypes.bfloat16))


# What they share


def _kept(x: Array, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> Array:
    """A result over `axes` of an array of `shape`, with these as axes of size 1 if `keepdims`."""
    return lax.expand_dims(x, axes) if keepdims and axes else x


def _masked(what: str, x: Array, where: ArrayLike | None, instead: Array) -> Array:
    """`x`, with `instead` where `where` is false; at the shape that they broadcast to."""
    if where is None:
        return x
    mask, x = equal_ranks([truth(what, where), x])
    return select(mask, x, instead)


def _reduced(
    what: str,
    x: Array,
    axis: Axis,
    keepdims: bool,
    initial: ArrayLike | None,
    where: ArrayLike | None,
    identity: complex | None,
    reduce: Callable[[Array, Any], Array],
    join: Callable[[Array, Array], Array],
) -> Array:
    """Reduce `x`, which has the dtype of the result.

    identity: what `join` leaves any value as. None when there is none within the dtype: then
        `where` and empty axes need `initial`.
    """
    start = None if initial is None else _initial(what, initial, x)
    if where is not None:
        if start is None and identity is None:
            raise OptionError(f"{what}: with `where`, `initial` must be given, too")
        instead = start if identity is None else constant(identity, x)
        assert instead is not None
        x = _masked(what, x, where, instead)
    axes = normalize_axes(axis, x.ndim, what)
    if identity is None and builtins.any(x.shape[a] == 0 for a in axes):
        if start is None:
            raise ShapeError(
                f"{what}: there is no result for no elements, got {x.aval} along {axes}; "
                "pass initial"
            )
        shape = tuple([n for i, n in enumerate(x.shape) if i not in axes])
        return _kept(repeated(start, shape), x.shape, axes, keepdims)
    out = reduce(x, axes)
    if start is not None:
        out = join(out, start)
    return _kept(out, x.shape, axes, keepdims)


def _initial(what: str, initial: ArrayLike, x: Array) -> Array:
    value = cast(what, initial, x.dtype, x.weak_type)
    if value.ndim:
        raise ShapeError(f"{what}: initial must be a scalar, got {value.aval}")
    return value


def _sum_dtype(
    x: Array, dtype: DtypeLike, promote_integers: bool = True
) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """The dtypes in which to add and to return: wide enough for integers and 16-bit floats."""
    target = x.dtype if dtype is None else dtypes.canonical(dtype)
    if dtype is None:
        if dtypes.is_bool(target):
            target = dtypes.default_int()
        elif promote_integers and dtypes.is_integer(target):
            signed = dtypes.is_signed(target)
            default = dtypes.default_int() if signed else dtypes.default_uint()
            target = default if default.itemsize > target.itemsize else target
    return np.dtype(np.float32) if target in _HALVES else target, target


def _with_dtype(x: Array, dtype: np.dtype[Any]) -> Array:
    """`x` as `dtype`, weak when it was weak and keeps its dtype."""
    return converted(x, dtype, x.weak_type and x.dtype == dtype)


# Sums, products, extrema


@replayed
def sum(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DtypeLike = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    promote_integers: bool = True,
) -> Array:
    """Sum over `axis`, all axes by default; 0 of no elements.

    dtype: in which to add; by default that of `a`, but at least the default integer for integers,
        unless promote_integers is false.
    """
    refuse_out("sum", out)
    a = operand(a, "sum")
    working, target = _sum_dtype(a, dtype, promote_integers)
    x = _with_dtype(a, working)
    total = _reduced("sum", x, axis, keepdims, initial, where, 0, lax.reduce_sum, lax.add)
    return _with_dtype(total, target)


@replayed
def prod(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DtypeLike = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    promote_integers: bool = True,
) -> Array:
    """Product over `axis`, all axes by default; 1 of no elements. `dtype` as in `sum`."""
    refuse_out("prod", out)
    a = operand(a, "prod")
    working, target = _sum_dtype(a, dtype, promote_integers)
    x = _with_dtype(a, working)
    product = _reduced("prod", x, axis, keepdims, initial, where, 1, lax.reduce_prod, lax.mul)
    return _with_dtype(product, target)


@replayed
def max(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """Maximum over `axis`, all axes by default; NaN where there is one. Ties share the slope.

    Raises: ShapeError for no elements without `initial`, OptionError for `where` without it.
    """
    refuse_out("max", out)
    a = operand(a, "max")
    return _reduced("max", a, axis, keepdims, initial, where, None, lax.reduce_max, lax.max)


@replayed
def min(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """Minimum over `axis`, all axes by default; NaN where there is one. Ties share the slope.

    Raises: ShapeError for no elements without `initial`, OptionError for `where` without it.
    """
    refuse_out("min", out)
    a = operand(a, "min")
    return _reduced("min", a, axis, keepdims, initial, where, None, lax.reduce_min, lax.min)


amax, amin = max, min


@replayed
def ptp(a: ArrayLike, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """Maximum less minimum over `axis`, all axes by default."""
    refuse_out("ptp", out)
    a = operand(a, "ptp")
    return lax.sub(max(a, axis, None, keepdims), min(a, axis, None, keepdims))


@replayed
def all(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: ArrayLike | None = None,
) -> Array:
    """Whether all elements along `axis`, all axes by default, are true, that is not zero."""
    refuse_out("all", out)
    a = truth("all", a)
    return _reduced("all", a, axis, keepdims, None, where, True, lax.reduce_and, lax.bitwise_and)


@replayed
def any(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: ArrayLike | None = None,
) -> Array:
    """Whether any element along `axis`, all axes by default, is true, that is not zero."""
    refuse_out("any", out)
    a = truth("any", a)
    return _reduced("any", a, axis, keepdims, None, where, False, lax.reduce_or, lax.bitwise_or)


@replayed
def count_nonzero(a: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The number of elements that are not zero, as the default integer."""
    return sum(truth("count_nonzero", a), axis, dtypes.default_int(), keepdims=keepdims)


# Places


@replayed
def argmax(
    a: ArrayLike, axis: int | None = None, out: None = None, keepdims: bool = False
) -> Array:
    """The index of the first maximum, or first NaN, along `axis`; of the flat array by default.

    Dtypes: the result is the default integer.
    Raises: ShapeError for no elements.
    """
    refuse_out("argmax", out)
    return _place("argmax", lax.argmax, a, axis, keepdims)


@replayed
def argmin(
    a: ArrayLike, axis: int | None = None, out: None = None, keepdims: bool = False
) -> Array:
    """The index of the first minimum, or first NaN, along `axis`; of the flat array by default.

    Dtypes: the result is the default integer.
    Raises: ShapeError for no elements.
    """
    refuse_out("argmin", out)
    return _place("argmin", lax.argmin, a, axis, keepdims)


def _place(
    what: str, find: Callable[..., Array], a: ArrayLike, axis: int | None, keepdims: bool
) -> Array:
    x = operand(a, what)
    rank = x.ndim
    if axis is None:
        x, chosen = lax.reshape(x, (x.size,)), 0
    else:
        chosen = normalize_axis(axis, rank, what)
    if x.shape[chosen] == 0:
        raise ShapeError(f"{what}: there is no result for no elements, got {x.aval}")
    found = find(x, chosen, dtypes.default_int())
    if not keepdims:
        return found
    return lax.expand_dims(found, range(rank) if axis is None else (chosen,))


# Means and variances


@replayed
def mean(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DtypeLike = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: ArrayLike | None = None,
) -> Array:
    """Mean over `axis`, all axes by default; NaN of no elements. Integers give floats."""
    refuse_out("mean", out)
    a = operand(a, "mean")
    target = dtypes.to_inexact(a.dtype) if dtype is None else dtypes.canonical(dtype)
    working = np.dtype(np.float32) if target in _HALVES else dtypes.to_inexact(target)
    x = _with_dtype(a, working)
    total = sum(x, axis, keepdims=keepdims, where=where)
    count = _count(a, axis, keepdims, where, total)
    return _with_dtype(lax.div(total, count), target)


def _count(a: Array, axis: Axis, keepdims: bool, where: ArrayLike | None, like: Array) -> Array:
    """The number of elements along `axis`, or of those where `where` is true, in `like`'s dtype."""
    if where is None:
        axes = normalize_axes(axis, a.ndim, "mean")
        return constant(math.prod(a.shape[i] for i in axes), like)
    mask = truth("mean", where)
    shape = np.broadcast_shapes(mask.shape, a.shape)
    counted = sum(repeated(mask, shape), axis, dtypes.to_real(like.dtype), keepdims=keepdims)
    return converted(counted, like.dtype)


@replayed
def var(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DtypeLike = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    *,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    correction: float | None = None,
) -> Array:
    """Mean square distance from the mean, over `axis`, all axes by default.

    ddof: subtracted from the number of elements; `correction` is another name for it.
    mean: the mean, if it is known, with axes of size 1 for those of `axis`.
    Raises: ArgumentError when both ddof and correction are given.
    """
    refuse_out("var", out)
    if correction is not None and ddof:
        raise ArgumentError(f"var: takes ddof or correction, got both, {ddof} and {correction}")
    less = ddof if correction is None else correction
    a = operand(a, "var")
    target = dtypes.to_inexact(a.dtype) if dtype is None else dtypes.canonical(dtype)
    if dtype is not None and not dtypes.is_inexact(target):
        raise DtypeError(f"var: dtype must be float or complex, got {dtypes.name(target)}")
    working = np.dtype(np.float32) if target in _HALVES else target
    x = _with_dtype(a, working)
    center = _mean(x, axis, None, None, True, where=where) if mean is None else mean
    centered = lax.sub(*promote_inexact("var", x, center))
    squares = _squared_modulus(centered)
    total = sum(squares, axis, keepdims=keepdims, where=where)
    count = _count(x, axis, keepdims, where, total)
    freedom = lax.max(lax.sub(count, constant(less, count)), constant(0, count)) if less else count
    return _with_dtype(lax.div(total, freedom), dtypes.to_real(target))


_mean = mean


def _squared_modulus(x: Array) -> Array:
    return lax.real(lax.mul(x, lax.conj(x))) if dtypes.is_complex(x.dtype) else lax.square(x)


@replayed
def std(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DtypeLike = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    *,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    correction: float | None = None,
) -> Array:
    """Square root of the variance; parameters as in `var`."""
    refuse_out("std", out)
    spread = var(
        a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction
    )
    return lax.sqrt(spread)


@replayed
def average(
    a: ArrayLike,
    axis: Axis = None,
    weights: ArrayLike | None = None,
    returned: bool = False,
    keepdims: bool = False,
) -> Array | tuple[Array, Array]:
    """Weighted mean over `axis`, all axes by default.

    weights: of the shape of `a`, or a vector along one axis. None weighs all alike.
    returned: also return the sum of the weights.
    Raises: ShapeError when the weights do not fit.
    """
    if weights is None:
        result = mean(a, axis, keepdims=keepdims)
        if not returned:
            return result
        return result, repeated(
            _count(operand(a, "average"), axis, keepdims, None, result), result.shape
        )
    x, w = operand(a, "average"), operand(weights, "average")
    x, w = promote_inexact("average", x, weight_each("average", x, w, axis))
    total = sum(w, axis, keepdims=keepdims)
    result = lax.div(sum(lax.mul(x, w), axis, keepdims=keepdims), total)
    return (result, total) if returned else result


def weight_each(what: str, x: Array, weights: Array, axis: Axis) -> Array:
    """Weights of the shape of `x`, from such ones, or from one for each place along `axis`.

    Raises: ShapeError for other shapes.
    """
    if weights.shape == x.shape:
        return weights
    axes = normalize_axes(axis, x.ndim, what)
    if axis is None or weights.shape != tuple([x.shape[i] for i in axes]):
        raise ShapeError(
            f"{what}: weights must have the shape of the array or of its axis, "
            f"got {weights.aval} for {x.aval} along {axis}"
        )
    ordered = sorted(range(len(axes)), key=lambda i: axes[i])
    return lax.broadcast_in_dim(lax.transpose(weights, ordered), x.shape, sorted(axes))


# Running sums and products


@replayed
def cumsum(
    a: ArrayLike, axis: int | None = None, dtype: DtypeLike = None, out: None = None
) -> Array:
    """Running sums along `axis`; of the flat array by default. `dtype` as in `sum`."""
    refuse_out("cumsum", out)
    return _cumulative("cumsum", lax.cumsum, a, axis, dtype)


@replayed
def cumprod(
    a: ArrayLike, axis: int | None = None, dtype: DtypeLike = None, out: None = None
) -> Array:
    """Running products along `axis`; of the flat array by default. `dtype` as in `sum`."""
    refuse_out("cumprod", out)
    return _cumulative("cumprod", lax.cumprod, a, axis, dtype)


def _cumulative(
    what: str, run: Callable[..., Array], a: ArrayLike, axis: int | None, dtype: DtypeLike
) -> Array:
    x = owned(a, what)
    working, target = _sum_dtype(x, dtype)
    x = _with_dtype(x, working)
    if axis is None:
        x, axis = lax.reshape(x, (x.size,)), 0
    return _with_dtype(run(x, normalize_axis(axis, x.ndim, what)), target)


@replayed
def cumulative_sum(
    x: ArrayLike,
    /,
    *,
    axis: int | None = None,
    dtype: DtypeLike = None,
    include_initial: bool = False,
) -> Array:
    """Running sums along `axis`, which vectors need not name.

    include_initial: begin with 0, so that the result is one longer.
    """
    return _from_initial("cumulative_sum", cumsum, x, axis, dtype, include_initial, 0)


@replayed
def cumulative_prod(
    x: ArrayLike,
    /,
    *,
    axis: int | None = None,
    dtype: DtypeLike = None,
    include_initial: bool = False,
) -> Array:
    """Running products along `axis`, which vectors need not name.

    include_initial: begin with 1, so that the result is one longer.
    """
    return _from_initial("cumulative_prod", cumprod, x, axis, dtype, include_initial, 1)


def _from_initial(
    what: str,
    run: Callable[..., Array],
    x: ArrayLike,
    axis: int | None,
    dtype: DtypeLike,
    include_initial: bool,
    initial: int,
) -> Array:
    x = owned(x, what)
    if x.ndim == 0 or (axis is None and x.ndim > 1):
        raise ArgumentError(f"{what}: axis must be given unless x is a vector, got {x.aval}")
    chosen = normalize_axis(0 if axis is None else axis, x.ndim, what)
    result = run(x, chosen, dtype)
    if not include_initial:
        return result
    shape = tuple([1 if i == chosen else n for i, n in enumerate(result.shape)])
    return lax.concatenate([repeated(constant(initial, result), shape), result], chosen)

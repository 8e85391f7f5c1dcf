"""Distributions made of gamma variates: their ratios, shares, roots and multiples.

All results are differentiable by their parameters, as `gamma` is.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, DtypeLike, lift
from fstensor.errors import ArgumentError, ShapeError
from fstensor.lax import stop_gradient
from fstensor.ops.random_bits import check_sizes
from fstensor.random.continuous import exponential, normal
from fstensor.random.gamma import gamma, loggamma
from fstensor.random.keys import check_key, split_keys
from fstensor.random.uniform import float_dtype, full_shape, in_dtype, signs, to_rank
from fstensor.transforms.jit import jit


def beta(
    key: ArrayLike, a: ArrayLike, b: ArrayLike, shape: Any = None, dtype: DtypeLike = None
) -> Array:
    """Floats of the beta distribution, with density proportional to x^(a-1) (1-x)^(b-1).

    a, b: stretch to `shape`, which is theirs together by default.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "beta")
    target = float_dtype(dtype, "beta")
    sizes = full_shape(shape, "beta", a, b)
    p, q = (in_dtype(x, target) for x in (a, b))
    return _beta(typed, p, q, sizes, target)


@functools.partial(jit, static_argnums=(3, 4))
def _beta(key: Array, a: Array, b: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    # x / (x + y) of two gamma variates, both divided by the larger one, since both can underflow.
    logs = [
        loggamma(k, to_rank(p, shape, "beta"), shape, dtype)
        for k, p in zip(split_keys(key, 2), (a, b), strict=True)
    ]
    larger = fnp.maximum(*logs)
    x, y = (fnp.exp(log - larger) for log in logs)
    return x / (x + y)


def dirichlet(
    key: ArrayLike, alpha: ArrayLike, shape: Any = None, dtype: DtypeLike = None
) -> Array:
    """Vectors of positive numbers with sum 1, of the Dirichlet distribution.

    The density is proportional to the product of x_i^(alpha_i - 1).
    Shapes: alpha (..., n) -> (*shape, n); the axes in front stretch to `shape`, which is theirs by
        default.
    Raises: DtypeError unless dtype is float, ShapeError when alpha is a scalar, for a wrong shape
        or several keys.
    """
    typed = check_key(key, "dirichlet")
    value = lift(alpha, what="dirichlet")
    if not value.ndim:
        raise ShapeError(f"dirichlet: alpha must have an axis or more, got {value.aval}")
    front = value.shape[:-1] if shape is None else check_sizes(shape, "dirichlet")
    target = float_dtype(dtype, "dirichlet")
    return _dirichlet(typed, in_dtype(value, target), (*front, value.shape[-1]), target)


@functools.partial(jit, static_argnums=(2, 3))
def _dirichlet(key: Array, alpha: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    fitted = to_rank(alpha, shape, "dirichlet")
    if not shape[-1]:
        return fnp.zeros(shape, dtype)
    logs = loggamma(key, fitted, shape, dtype)
    shares = fnp.exp(logs - stop_gradient(fnp.max(logs, -1, keepdims=True)))
    return shares / fnp.sum(shares, -1, keepdims=True)


def chisquare(key: ArrayLike, df: ArrayLike, shape: Any = None, dtype: DtypeLike = None) -> Array:
    """Floats of the chi-square distribution: the sum of the squares of `df` normal numbers.

    df: degrees of freedom; stretch to `shape`, which is their own by default.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "chisquare")
    target = float_dtype(dtype, "chisquare")
    sizes = full_shape(shape, "chisquare", df)
    return _chisquare(typed, in_dtype(df, target), sizes, target)


@functools.partial(jit, static_argnums=(2, 3))
def _chisquare(key: Array, df: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    half = to_rank(df, shape, "chisquare") / 2
    return fnp.exp(loggamma(key, half, shape, dtype)) * 2


def f(
    key: ArrayLike, dfnum: ArrayLike, dfden: ArrayLike, shape: Any = None, dtype: DtypeLike = None
) -> Array:
    """Floats of the F distribution: the ratio of two chi-square variates, each over its `df`.

    dfnum, dfden: degrees of freedom of both; stretch to `shape`, which is theirs together by
        default.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "f")
    target = float_dtype(dtype, "f")
    num, den = (in_dtype(x, target) for x in (dfnum, dfden))
    return _f(typed, num, den, full_shape(shape, "f", dfnum, dfden), target)


@functools.partial(jit, static_argnums=(3, 4))
def _f(
    key: Array, dfnum: Array, dfden: Array, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    below_key, above_key = split_keys(key, 2)
    num, den = to_rank(dfnum, shape, "f"), to_rank(dfden, shape, "f")
    above = chisquare(above_key, num, shape, dtype) / num
    return above / (chisquare(below_key, den, shape, dtype) / den)


def t(key: ArrayLike, df: ArrayLike, shape: Any = None, dtype: DtypeLike = None) -> Array:
    """Floats of Student's t distribution with `df` degrees of freedom.

    df: stretch to `shape`, which is their own by default.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "t")
    target = float_dtype(dtype, "t")
    return _t(typed, in_dtype(df, target), full_shape(shape, "t", df), target)


@functools.partial(jit, static_argnums=(2, 3))
def _t(key: Array, df: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    normal_key, gamma_key = split_keys(key, 2)
    half = to_rank(df, shape, "t") / 2
    above = normal(normal_key, shape, dtype)
    return above * fnp.sqrt(half / gamma(gamma_key, half, shape, dtype))


def generalized_normal(
    key: ArrayLike, p: ArrayLike, shape: Any = (), dtype: DtypeLike = None
) -> Array:
    """Floats with a density proportional to exp(-|x|^p).

    p: stretches to `shape`.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "generalized_normal")
    sizes = check_sizes(shape, "generalized_normal")
    target = float_dtype(dtype, "generalized_normal")
    return _generalized_normal(typed, in_dtype(p, target), sizes, target)


@functools.partial(jit, static_argnums=(2, 3))
def _generalized_normal(
    key: Array, p: Array, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    gamma_key, sign_key = split_keys(key, 2)
    inverse = 1 / to_rank(p, shape, "generalized_normal")
    length = gamma(gamma_key, inverse, shape, dtype) ** inverse
    return signs(sign_key, shape, dtype) * length


def ball(
    key: ArrayLike, d: int, p: ArrayLike = 2, shape: Any = (), dtype: DtypeLike = None
) -> Array:
    """Points distributed uniformly in the unit ball of the p-norm in `d` dimensions.

    Shapes: (*shape, d). p: a scalar, at least 1 for a norm.
    Raises: DtypeError unless dtype is float, ArgumentError unless d is an integer, ShapeError for
        a wrong shape or several keys.
    Source: F. Barthe, O. Guedon, S. Mendelson, A. Naor, A probabilistic approach to the geometry
        of the l_p^n-ball, 2005.
    """
    typed = check_key(key, "ball")
    try:
        dimensions = operator.index(d)
    except TypeError:
        raise ArgumentError(f"ball: d must be an integer, got {type(d).__name__}") from None
    sizes = (*check_sizes(shape, "ball"), *check_sizes((dimensions,), "ball"))
    target = float_dtype(dtype, "ball")
    return _ball(typed, in_dtype(p, target), sizes, target)


@functools.partial(jit, static_argnums=(2, 3))
def _ball(key: Array, p: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    normal_key, radius_key = split_keys(key, 2)
    x = generalized_normal(normal_key, p, shape, dtype)
    beyond = exponential(radius_key, shape[:-1], dtype)
    radius = (fnp.sum(fnp.abs(x) ** p, -1) + beyond) ** (1 / p)
    return x / fnp.expand_dims(radius, -1)

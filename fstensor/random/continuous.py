"""Floats of many distributions, each made of uniform ones by the inverse of its cumulative one."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike, DtypeLike
from fstensor.errors import DtypeError, OptionError
from fstensor.lax import stop_gradient
from fstensor.ops.convert import complex, convert_element_type
from fstensor.ops.elementwise import abs, add, div, max, min, mul, neg, nextafter, sign, sub
from fstensor.ops.logical import ge, where
from fstensor.ops.random_bits import check_sizes
from fstensor.ops.special import erf, erf_inv
from fstensor.ops.transcendental import log, log1p, tan
from fstensor.random.keys import check_key, split_keys, unstack
from fstensor.random.uniform import float_dtype, full_shape, to_rank, uniform, unrounded
from fstensor.transforms.jit import jit


def normal(key: ArrayLike, shape: Any = (), dtype: DtypeLike = None) -> Array:
    """Floats of the standard normal distribution, or complex numbers of variance 1.

    dtype: a float or complex dtype; the default float by default. The parts of a complex number
        have variance 1/2.
    Raises: DtypeError for another dtype, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "normal")
    target = dtypes.default_float() if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_inexact(target):
        raise DtypeError(
            f"normal: dtype must be a float or complex dtype, got {dtypes.name(target)}"
        )
    return _normal(typed, check_sizes(shape, "normal"), target)


@functools.partial(jit, static_argnums=(1, 2))
def _normal(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if not dtypes.is_complex(dtype):
        return _normal_real(key, shape, dtype)
    real, imag = (_normal_real(k, shape, dtypes.to_real(dtype)) for k in split_keys(key, 2))
    return div(complex(real, imag), math.sqrt(2))


@functools.partial(jit, static_argnums=(1, 2))
def _normal_real(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    above = np.nextafter(np.array(-1, dtype), np.array(0, dtype))
    u = uniform(key, shape, dtype, above, np.array(1, dtype))
    return mul(math.sqrt(2), erf_inv(u))


def truncated_normal(
    key: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    shape: Any = None,
    dtype: DtypeLike = None,
) -> Array:
    """Floats of the standard normal distribution given that they lie in (lower, upper).

    lower, upper: stretch to `shape`, which is theirs together by default. The result is
        differentiable by both.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "truncated_normal")
    sizes = full_shape(shape, "truncated_normal", lower, upper)
    target = float_dtype(dtype, "truncated_normal")
    low, high = (unrounded(bound, target) for bound in (lower, upper))
    return _truncated_normal(typed, low, high, sizes, target)


@functools.partial(jit, static_argnums=(3, 4))
def _truncated_normal(
    key: Array, lower: Any, upper: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    low, high = (
        to_rank(convert_element_type(bound, dtype), shape, "truncated_normal")
        for bound in (lower, upper)
    )
    root = math.sqrt(2)
    u = uniform(key, shape, dtype, erf(div(low, root)), erf(div(high, root)))
    out = mul(root, erf_inv(u))
    # Rounding could reach a bound or pass it.
    least = nextafter(stop_gradient(low), math.inf)
    most = nextafter(stop_gradient(high), -math.inf)
    return min(max(out, least), most)


def exponential(key: ArrayLike, shape: Any = (), dtype: DtypeLike = None) -> Array:
    """Floats of the exponential distribution with rate 1.

    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "exponential")
    return _exponential(typed, check_sizes(shape, "exponential"), float_dtype(dtype, "exponential"))


@functools.partial(jit, static_argnums=(1, 2))
def _exponential(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    # log(1 - u), since u can be 0 but not 1.
    return neg(log1p(neg(uniform(key, shape, dtype))))


def gumbel(
    key: ArrayLike, shape: Any = (), dtype: DtypeLike = None, mode: str | None = None
) -> Array:
    """Floats of the standard Gumbel distribution, -log(-log(u)).

    mode: "low", the default, draws u in steps of 2^-23 for float32, so that the largest value is
        near 16; "high" draws a second number for the range beyond.
    Raises: DtypeError unless dtype is float, OptionError for another mode, ShapeError.
    """
    typed = check_key(key, "gumbel")
    if mode not in (None, "low", "high"):
        raise OptionError(f"gumbel: mode must be 'low' or 'high', got {mode!r}")
    sizes, target = check_sizes(shape, "gumbel"), float_dtype(dtype, "gumbel")
    return _gumbel(typed, sizes, target, mode or "low")


@functools.partial(jit, static_argnums=(1, 2, 3))
def _gumbel(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any], mode: str) -> Array:
    info = dtypes.finfo(dtype)
    tiny = float(info.tiny)
    if mode == "low":
        return neg(log(neg(log(uniform(key, shape, dtype, tiny, 1.0)))))
    coarse, fine = unstack(uniform(key, (2, *shape), dtype))
    refined = add(add(coarse, mul(2.0**-info.nmant, fine)), tiny)
    x = where(ge(coarse, 0.5), coarse, refined)
    return neg(log(neg(log1p(neg(x)))))


def laplace(key: ArrayLike, shape: Any = (), dtype: DtypeLike = None) -> Array:
    """Floats of the standard Laplace distribution, with density exp(-|x|) / 2.

    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "laplace")
    return _laplace(typed, check_sizes(shape, "laplace"), float_dtype(dtype, "laplace"))


@functools.partial(jit, static_argnums=(1, 2))
def _laplace(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    u = uniform(key, shape, dtype, -1.0 + float(dtypes.finfo(dtype).epsneg), 1.0)
    return mul(sign(u), log1p(neg(abs(u))))


def logistic(key: ArrayLike, shape: Any = (), dtype: DtypeLike = None) -> Array:
    """Floats of the standard logistic distribution, log(u / (1 - u)).

    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "logistic")
    return _logistic(typed, check_sizes(shape, "logistic"), float_dtype(dtype, "logistic"))


@functools.partial(jit, static_argnums=(1, 2))
def _logistic(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    u = uniform(key, shape, dtype, float(dtypes.finfo(dtype).tiny), 1.0)
    return sub(log(u), log1p(neg(u)))


def cauchy(key: ArrayLike, shape: Any = (), dtype: DtypeLike = None) -> Array:
    """Floats of the standard Cauchy distribution, tan(pi (u - 1/2)).

    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "cauchy")
    return _cauchy(typed, check_sizes(shape, "cauchy"), float_dtype(dtype, "cauchy"))


@functools.partial(jit, static_argnums=(1, 2))
def _cauchy(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    u = uniform(key, shape, dtype, float(dtypes.finfo(dtype).eps), 1.0)
    return tan(mul(math.pi, sub(u, 0.5)))

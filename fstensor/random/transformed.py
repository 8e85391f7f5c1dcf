"""Floats of distributions with parameters, each made of uniform, normal or exponential ones."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fstensor import dtypes
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, DtypeLike
from fstensor.errors import DtypeError
from fstensor.numpy.promote import select
from fstensor.ops.random_bits import check_sizes
from fstensor.random.continuous import exponential, normal
from fstensor.random.keys import check_key, split_keys
from fstensor.random.uniform import float_dtype, full_shape, in_dtype, signs, to_rank, uniform
from fstensor.transforms.jit import jit


def maxwell(key: ArrayLike, shape: Any = (), dtype: DtypeLike = None) -> Array:
    """Floats of the Maxwell distribution: the lengths of vectors of three normal numbers.

    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "maxwell")
    return _maxwell(typed, check_sizes(shape, "maxwell"), float_dtype(dtype, "maxwell"))


@functools.partial(jit, static_argnums=(1, 2))
def _maxwell(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return fnp.linalg.norm(normal(key, (*shape, 3), dtype), axis=-1)


def double_sided_maxwell(
    key: ArrayLike, loc: ArrayLike, scale: ArrayLike, shape: Any = (), dtype: DtypeLike = None
) -> Array:
    """Floats loc + scale s x, with x of the Maxwell distribution and s = -1 or 1.

    Shapes: `shape`, or for () that of the parameters together; and then that of the parameters.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "double_sided_maxwell")
    own = full_shape(None, "double_sided_maxwell", loc, scale)
    sizes = check_sizes(shape, "double_sided_maxwell") or own
    target = float_dtype(dtype, "double_sided_maxwell")
    center, factor = (in_dtype(x, target) for x in (loc, scale))
    return _double_sided_maxwell(typed, center, factor, (*sizes, *own), target)


@functools.partial(jit, static_argnums=(3, 4))
def _double_sided_maxwell(
    key: Array, loc: Array, scale: Array, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    length_key, sign_key = split_keys(key, 2)
    return signs(sign_key, shape, dtype) * maxwell(length_key, shape, dtype) * scale + loc


def weibull_min(
    key: ArrayLike,
    scale: ArrayLike,
    concentration: ArrayLike,
    shape: Any = (),
    dtype: DtypeLike = None,
) -> Array:
    """Floats of the Weibull distribution, scale e^(1/concentration) with e exponential.

    Shapes: `shape` and those of the parameters, which stretch to one another. There are as many
        independent numbers as `shape` says; the result is differentiable by the parameters.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "weibull_min")
    sizes = check_sizes(shape, "weibull_min")
    full_shape(None, "weibull_min", np.empty(sizes, bool), scale, concentration)
    target = float_dtype(dtype, "weibull_min")
    factor, power = (in_dtype(x, target) for x in (scale, concentration))
    return _weibull_min(typed, factor, power, sizes, target)


@functools.partial(jit, static_argnums=(3, 4))
def _weibull_min(
    key: Array, scale: Array, concentration: Array, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    return exponential(key, shape, dtype) ** (1 / concentration) * scale


def pareto(key: ArrayLike, b: ArrayLike, shape: Any = None, dtype: DtypeLike = None) -> Array:
    """Floats of the Pareto distribution, with density b / x^(b + 1) for x above 1.

    b: stretches to `shape`, which is its own by default. The result is differentiable by it.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "pareto")
    target = float_dtype(dtype, "pareto")
    sizes = full_shape(shape, "pareto", b)
    return _pareto(typed, in_dtype(b, target), sizes, target)


@functools.partial(jit, static_argnums=(2, 3))
def _pareto(key: Array, b: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return fnp.exp(exponential(key, shape, dtype) / to_rank(b, shape, "pareto"))


def rayleigh(key: ArrayLike, scale: ArrayLike, shape: Any = None, dtype: DtypeLike = None) -> Array:
    """Floats of the Rayleigh distribution, with density x / scale^2 exp(-x^2 / (2 scale^2)).

    scale: stretches to `shape`, which is its own by default. The result is differentiable by it.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "rayleigh")
    target = float_dtype(dtype, "rayleigh")
    sizes = full_shape(shape, "rayleigh", scale)
    return _rayleigh(typed, in_dtype(scale, target), sizes, target)


@functools.partial(jit, static_argnums=(2, 3))
def _rayleigh(key: Array, scale: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    factor = to_rank(scale, shape, "rayleigh")
    return factor * fnp.sqrt(fnp.log(uniform(key, shape, dtype)) * -2)


def wald(key: ArrayLike, mean: ArrayLike, shape: Any = None, dtype: DtypeLike = None) -> Array:
    """Floats of the Wald (inverse Gaussian) distribution with scale 1.

    The density is (2 pi x^3)^(-1/2) exp(-(x - mean)^2 / (2 mean^2 x)).
    mean: stretches to `shape`, which is its own by default. The result is differentiable by it
        along the root that was drawn.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    Source: J. Michael, W. Schucany, R. Haas, Generating random variates using transformations with
        multiple roots, 1976.
    """
    typed = check_key(key, "wald")
    target = float_dtype(dtype, "wald")
    sizes = full_shape(shape, "wald", mean)
    return _wald(typed, in_dtype(mean, target), sizes, target)


@functools.partial(jit, static_argnums=(2, 3))
def _wald(key: Array, mean: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    mean = to_rank(mean, shape, "wald")
    normal_key, uniform_key = split_keys(key, 2)
    v = normal(normal_key, shape, dtype)
    y, square = v * v, mean * mean
    # The smaller root of (x - mean)^2 = mean^2 x y; the other one is mean^2 / x.
    x = mean + square * y / 2 - mean / 2 * fnp.sqrt(4 * mean * y + square * (y * y))
    smaller = uniform(uniform_key, shape, dtype) <= mean / (mean + x)
    return select(smaller, x, square / x)


def triangular(
    key: ArrayLike,
    left: ArrayLike,
    mode: ArrayLike,
    right: ArrayLike,
    shape: Any = None,
    dtype: DtypeLike = None,
) -> Array:
    """Floats with a density that rises linearly from `left` to `mode` and falls to `right`.

    left, mode, right: stretch to `shape`, which is theirs together by default. The result is
        differentiable by them.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "triangular")
    sizes = full_shape(shape, "triangular", left, mode, right)
    target = float_dtype(dtype, "triangular")
    start, top, end = (in_dtype(x, target) for x in (left, mode, right))
    return _triangular(typed, start, top, end, sizes, target)


@functools.partial(jit, static_argnums=(4, 5))
def _triangular(
    key: Array, left: Array, mode: Array, right: Array, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    left, mode, right = (to_rank(x, shape, "triangular") for x in (left, mode, right))
    width = right - left
    u = uniform(key, shape, dtype)
    rising = left + fnp.sqrt(u * width * (mode - left))
    falling = right - fnp.sqrt((1 - u) * width * (right - mode))
    return select(u < (mode - left) / width, rising, falling)


_ONE = np.float32(1)  # JAX's default, of which the dtype does not count


def lognormal(
    key: ArrayLike, sigma: ArrayLike = _ONE, shape: Any = None, dtype: DtypeLike = None
) -> Array:
    """Floats exp(sigma x) with x normal, or complex numbers.

    sigma: stretches to `shape`, which is its own by default. The result is differentiable by it.
    Raises: DtypeError unless dtype is float or complex, ShapeError for a wrong shape or several
        keys.
    """
    typed = check_key(key, "lognormal")
    target = dtypes.default_float() if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_inexact(target):
        raise DtypeError(
            f"lognormal: dtype must be a float or complex dtype, got {dtypes.name(target)}"
        )
    sizes = full_shape(shape, "lognormal", sigma)
    return _lognormal(typed, in_dtype(sigma, target), sizes, target)


@functools.partial(jit, static_argnums=(2, 3))
def _lognormal(key: Array, sigma: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return fnp.exp(normal(key, shape, dtype) * to_rank(sigma, shape, "lognormal"))

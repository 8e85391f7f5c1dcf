"""Window functions of signal processing, and the Bessel function that one of them needs."""

from __future__ import annotations

import operator

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike
from fstensor.errors import DtypeError, ShapeError
from fstensor.numpy.creation import asarray
from fstensor.numpy.promote import constant, converted, inexact


def _window(values: np.ndarray) -> Array:
    return asarray(values.astype(dtypes.default_float()))


def bartlett(M: int) -> Array:
    """The triangle from 0 over 1 to 0, at M places; [1] for one, [] for none."""
    return _window(np.bartlett(operator.index(M)))


def blackman(M: int) -> Array:
    """0.42 - 0.5 cos(2 pi n / (M - 1)) + 0.08 cos(4 pi n / (M - 1)); [1] for one place."""
    return _window(np.blackman(operator.index(M)))


def hamming(M: int) -> Array:
    """0.54 - 0.46 cos(2 pi n / (M - 1)); [1] for one place, [] for none."""
    return _window(np.hamming(operator.index(M)))


def hanning(M: int) -> Array:
    """0.5 - 0.5 cos(2 pi n / (M - 1)); [1] for one place, [] for none."""
    return _window(np.hanning(operator.index(M)))


def kaiser(M: int, beta: ArrayLike) -> Array:
    """I0(beta sqrt(1 - (2 n / (M - 1) - 1)^2)) / I0(beta); [1] for one place, [] for none.

    beta: a scalar, also traced; the greater, the narrower the window.
    """
    size = operator.index(M)
    beta = inexact("kaiser", beta)
    beta = converted(beta, beta.dtype)  # a Python number counts as the default float
    if beta.ndim:
        raise ShapeError(f"kaiser: beta must be a scalar, got {beta.aval}")
    if size <= 1:
        return lax.full((max(size, 0),), 1, beta.dtype)
    places = np.linspace(-1, 1, size)
    arch = asarray(np.sqrt((1 - places) * (1 + places)).astype(beta.dtype))
    return lax.div(i0(lax.mul(arch, beta)), i0(beta))


def i0(x: ArrayLike) -> Array:
    """Elementwise modified Bessel function of the first kind and order 0.

    I0(x) is the mean of exp(x cos t) over t from 0 to pi. The trapezoidal rule gives it with N
    intervals up to the terms 2 I_2N(x) + …, which are far below rounding here: relative to I0 they
    fall like exp(-2 N^2 / x) (L. Trefethen and J. Weideman, SIAM Review 56, 2014).
    Raises: DtypeError for complex numbers.
    """
    x = inexact("i0", x)
    if dtypes.is_complex(x.dtype):
        raise DtypeError(f"i0: takes real numbers, got {x.aval}")
    # I0 is beyond the largest number at 92 in single precision, at 714 in double precision.
    limit, intervals = (800.0, 128) if x.dtype == np.float64 else (100.0, 32)
    angles = np.linspace(0, np.pi, intervals + 1)
    weights = np.full(intervals + 1, 1 / intervals)
    weights[[0, -1]] /= 2
    # cos t - 1 = -2 sin^2(t / 2), which does not cancel.
    nodes = _last(-2 * np.sin(angles / 2) ** 2, x)
    size = lax.abs(x)
    near = lax.expand_dims(lax.min(size, constant(limit, x)), (x.ndim,))
    terms = lax.exp(lax.mul(near, nodes))
    mean = lax.reduce_sum(lax.mul(terms, _last(weights, x)), (x.ndim,))
    return lax.mul(lax.exp(size), mean)


def _last(values: np.ndarray, x: Array) -> Array:
    """`values` of the dtype of `x`, along an axis behind its own."""
    return asarray(values.astype(x.dtype).reshape(*[1] * x.ndim, values.size))

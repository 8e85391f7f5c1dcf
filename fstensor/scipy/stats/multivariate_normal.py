"""The multivariate normal distribution, with a vector `mean` and a matrix `cov` of covariances."""

from __future__ import annotations

import math

import numpy as np

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import DtypeError, ShapeError
from fstensor.numpy import linalg
from fstensor.numpy.promote import cast, result_pair
from fstensor.ops.linalg import triangular_solve
from fstensor.scipy.stats._common import NEVER, within


def logpdf(x: ArrayLike, mean: ArrayLike, cov: ArrayLike, allow_singular: bool = False) -> Array:
    """Logarithm of the density exp(-d^T cov^-1 d / 2) / sqrt(det(2 pi cov)), d = x - mean.

    allow_singular: whether the covariance may be positive semidefinite only. The density is then
        that on the plane through `mean` that its range spans, and 0 elsewhere; derivatives hold
        within that plane. Otherwise `cov` must be positive definite, and gives NaN if it is not.
    Shapes: x and mean (..., n), cov (..., n, n), or a scalar for the same variance along all axes;
        leading axes broadcast to those of the result. With scalar `mean` all are scalars, or
        broadcast.
    Raises: ShapeError; DtypeError for complex numbers.
    """
    x, mean, cov = _floats(x, mean, cov)
    if not mean.ndim:
        away = lax.square(x - mean) / cov
        return -0.5 * (away + math.log(2 * math.pi) + fnp.log(cov))
    n = mean.shape[-1]
    away = x - mean
    if away.shape[-1] != n:
        raise ShapeError(
            f"multivariate_normal: x and mean must have one size, got {x.aval} and {mean.aval}"
        )
    if not cov.ndim:
        squared = fnp.sum(lax.square(away), -1) / cov
        return -0.5 * (squared + n * (math.log(2 * math.pi) + fnp.log(cov)))
    if cov.shape[-2:] != (n, n):
        raise ShapeError(
            f"multivariate_normal: cov must be (..., n, n) for mean (..., n), got {cov.aval} "
            f"and {mean.aval}"
        )
    if allow_singular:
        return _on_a_plane(away, cov)
    # With cov = l l^T the density is that of l^-1 d, times 1 / det(l).
    low = linalg.cholesky(cov)
    shape = np.broadcast_shapes(away.shape[:-1], cov.shape[:-2])
    low = fnp.broadcast_to(low, (*shape, n, n))
    column = fnp.broadcast_to(away, (*shape, n))[..., None]
    standard = triangular_solve(low, column, left_side=True, lower=True)[..., 0]
    squared = fnp.sum(lax.square(standard), -1)
    logarithms = fnp.sum(fnp.log(linalg.diagonal(low)), -1)
    return -0.5 * (squared + n * math.log(2 * math.pi)) - logarithms


def _floats(*args: ArrayLike) -> list[Array]:
    """The operands as floats of one dtype. Raises: DtypeError for complex ones."""
    dtype, weak = result_pair("multivariate_normal", args)
    if dtypes.is_complex(dtype):
        raise DtypeError(f"multivariate_normal: takes real numbers, got {dtypes.name(dtype)}")
    return [cast("multivariate_normal", x, dtypes.to_inexact(dtype), weak) for x in args]


def _on_a_plane(away: Array, cov: Array) -> Array:
    # What counts as 0 is what SciPy takes for it: eigenvalues by their part of the largest one, and
    # distances from the plane by 1000 times that.
    resolution = float(dtypes.finfo(cov.dtype).eps)
    part = resolution * (1e6 if cov.dtype == np.float64 else 1e3)
    values = linalg.eigvalsh(cov)
    largest = fnp.max(fnp.abs(values), -1, keepdims=True)
    kept = values > part * largest
    logarithms = fnp.sum(fnp.log(within(kept, values, 1)), -1)
    rank = fnp.sum(kept, -1, dtype=cov.dtype)
    inverse = linalg.pinv(cov, part, hermitian=True)
    standard = fnp.matvec(inverse, away)
    outside = away - fnp.matvec(cov, standard)
    near = linalg.vector_norm(outside, axis=-1) <= 1e3 * part * largest[..., 0]
    squared = fnp.sum(away * standard, -1)
    density = -0.5 * (squared + rank * math.log(2 * math.pi) + logarithms)
    semidefinite = values[..., 0] >= -part * largest[..., 0]
    return within(semidefinite, within(near, density, NEVER), math.nan)


def pdf(x: ArrayLike, mean: ArrayLike, cov: ArrayLike, allow_singular: bool = False) -> Array:
    """Density."""
    return lax.exp(logpdf(x, mean, cov, allow_singular))

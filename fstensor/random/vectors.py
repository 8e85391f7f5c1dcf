"""Random vectors and matrices, made of normal numbers."""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from fstensor import dtypes
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, DtypeLike, lift
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError
from fstensor.ops.convert import convert_element_type
from fstensor.ops.random_bits import check_sizes
from fstensor.random.continuous import normal
from fstensor.random.keys import check_key
from fstensor.random.uniform import float_dtype
from fstensor.transforms.jit import jit


def multivariate_normal(
    key: ArrayLike,
    mean: ArrayLike,
    cov: ArrayLike,
    shape: Any = None,
    dtype: DtypeLike = None,
    method: str = "cholesky",
) -> Array:
    """Vectors of the normal distribution with a mean and a covariance matrix.

    Shapes: mean (..., n), cov (..., n, n) -> (*shape, n); the axes in front stretch to `shape`,
        which is theirs together by default.
    dtype: by default that of mean and cov together, a float.
    method: how cov = A A^T is made: "cholesky", the fastest; "eigh" or "svd", which serve a
        singular cov, too. The result is differentiable by mean and cov.
    Raises: OptionError for another method, DtypeError unless dtype is float, ShapeError.
    """
    typed = check_key(key, "multivariate_normal")
    center, spread = (lift(x, what="multivariate_normal") for x in (mean, cov))
    if method not in ("cholesky", "eigh", "svd"):
        raise OptionError(
            f"multivariate_normal: method must be cholesky, eigh or svd, got {method!r}"
        )
    if dtype is None:
        target = dtypes.to_inexact(fnp.result_type(center, spread))
    else:
        target = dtypes.canonical(dtype)
    target = float_dtype(target, "multivariate_normal")
    n = center.shape[-1:]
    if not n or spread.shape[-2:] != n * 2:
        raise ShapeError(
            "multivariate_normal: mean must be (..., n) and cov (..., n, n), "
            f"got {center.aval} and {spread.aval}"
        )
    given = (center.shape[:-1], spread.shape[:-2])
    sizes = None if shape is None else check_sizes(shape, "multivariate_normal")
    try:
        together = np.broadcast_shapes(*given, *([] if sizes is None else [sizes]))
    except ValueError:
        together = None
    if together is None or sizes not in (None, together):
        wanted = "one shape" if sizes is None else f"shape {sizes}"
        raise ShapeError(
            f"multivariate_normal: the axes in front must stretch to {wanted}, "
            f"got {given[0]} and {given[1]}"
        )
    return _multivariate_normal(typed, center, spread, together, target, method)


@functools.partial(jit, static_argnums=(3, 4, 5))
def _multivariate_normal(
    key: Array, mean: Array, cov: Array, shape: tuple[int, ...], dtype: np.dtype[Any], method: str
) -> Array:
    center, spread = convert_element_type(mean, dtype), convert_element_type(cov, dtype)
    if method == "cholesky":
        factor = fnp.linalg.cholesky(spread)
    elif method == "eigh":
        values, vectors = fnp.linalg.eigh(spread)
        factor = vectors * fnp.sqrt(values)[..., None, :]
    else:
        vectors, values, _ = fnp.linalg.svd(spread)
        factor = vectors * fnp.sqrt(values)[..., None, :]
    x = normal(key, (*shape, mean.shape[-1]), dtype)
    return center + fnp.einsum("...ij,...j->...i", factor, x)


def orthogonal(
    key: ArrayLike, n: int, shape: Any = (), dtype: DtypeLike = None, m: int | None = None
) -> Array:
    """Orthogonal matrices, distributed uniformly (by the Haar measure), or unitary ones.

    Shapes: (*shape, n, m), m = n by default. Of matrices that are not square, the shorter ones of
        rows and columns are orthonormal.
    dtype: float, or complex for unitary matrices.
    Raises: ArgumentError unless n and m are integers, DtypeError for another dtype, ShapeError.
    Source: F. Mezzadri, How to generate random matrices from the classical compact groups, 2007.
    """
    typed = check_key(key, "orthogonal")
    try:
        rows = operator.index(n)
        columns = rows if m is None else operator.index(m)
    except TypeError:
        got = f"{type(n).__name__} and {type(m).__name__}"
        raise ArgumentError(f"orthogonal: n and m must be integers, got {got}") from None
    target = dtypes.default_float() if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_inexact(target):
        raise DtypeError(
            f"orthogonal: dtype must be a float or complex dtype, got {dtypes.name(target)}"
        )
    sizes = check_sizes(shape, "orthogonal")
    rows, columns = check_sizes((rows, columns), "orthogonal")
    return _orthogonal(typed, rows, columns, sizes, target)


@functools.partial(jit, static_argnums=(1, 2, 3, 4))
def _orthogonal(key: Array, n: int, m: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    q, r = fnp.linalg.qr(normal(key, (*shape, max(n, m), min(n, m)), dtype))
    # The decomposition is unique, and so q uniform, once the signs of r's diagonal are fixed.
    signs = fnp.sign(fnp.diagonal(r, axis1=-2, axis2=-1))
    x = q * signs[..., None, :]
    return fnp.matrix_transpose(x) if n < m else x

"""Linear systems, inverses, determinants, least squares and ranks."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, normalize_axes
from fstensor.errors import ArgumentError, ShapeError
from fstensor.numpy.linalg.operands import largest, matrices, singular_values, solved, two
from fstensor.numpy.promote import cast, concrete, constant, inexact, owned, repeated, select
from fstensor.numpy.reductions import sum as sum_of
from fstensor.ops import decompositions, linalg
from fstensor.ops import pinv as pseudo


class SlogdetResult(NamedTuple):
    sign: Array
    logabsdet: Array


def solve(a: ArrayLike, b: ArrayLike) -> Array:
    """The solution x of a x = b.

    Shapes: a (..., n, n) and b (n,) -> (..., n), or b (..., n, m) -> (..., n, m).
    Singular matrices give NaN. Raises: ShapeError, DtypeError.
    """
    return solved("solve", linalg.solve, a, b)


def inv(a: ArrayLike) -> Array:
    """The inverses of square matrices, (..., n, n); NaN where a matrix is singular.

    Raises: ShapeError, DtypeError.
    """
    x = matrices("inv", a, square=True)
    return linalg.solve(x, linalg.identity(x))


def det(a: ArrayLike) -> Array:
    """The determinants of square matrices, (..., n, n) -> (...).

    The gradient is the matrix of cofactors, also for singular matrices; second derivatives need
    invertible ones. Raises: ShapeError, DtypeError.
    """
    return linalg.det(matrices("det", a, square=True))


def slogdet(a: ArrayLike) -> SlogdetResult:
    """The sign of the determinant, or its direction, and the logarithm of its modulus.

    Shapes: (..., n, n) -> SlogdetResult((...), (...)). For singular matrices they are 0 and -inf,
    and the gradient NaN. Raises: ShapeError, DtypeError.
    """
    return SlogdetResult(*linalg.slogdet(matrices("slogdet", a, square=True)))


def pinv(
    a: ArrayLike,
    rtol: ArrayLike | None = None,
    hermitian: bool = False,
    *,
    rcond: ArrayLike | None = None,
) -> Array:
    """The pseudo-inverses of matrices, (..., m, n) -> (..., n, m).

    rtol, or rcond: singular values up to this part of the largest one are taken as 0; shape (...)
        or a scalar; by default 10 max(m, n) times the resolution of the dtype, as in JAX.
    hermitian: invert (a + a^H) / 2, by its eigenvectors.
    Derivatives hold where the rank stays the same, also for singular matrices and equal singular
    values (Golub and Pereyra, 1973). Raises: ShapeError, DtypeError, ArgumentError for both.
    """
    if rtol is not None and rcond is not None:
        raise ArgumentError("pinv: rtol and rcond are the same, so at most one may be given")
    x = matrices("pinv", a, square=hermitian)
    cutoff = _cutoff("pinv", x, rcond if rtol is None else rtol, 10)
    if hermitian:
        x = linalg.symmetrized("pinv", x)
    return pseudo.pinv(x, cutoff, hermitian=hermitian)


def _cutoff(what: str, x: Array, given: ArrayLike | None, factor: float = 1) -> Array:
    """What part of the largest singular value of each matrix counts as 0."""
    real = dtypes.to_real(x.dtype)
    if given is None:
        given = factor * max(x.shape[-2:]) * float(dtypes.finfo(real).eps)
    cutoff = cast(what, given, real)
    if np.broadcast_shapes(cutoff.shape, x.shape[:-2]) != x.shape[:-2]:
        raise ShapeError(f"{what}: there is a tolerance for each matrix, got {cutoff.aval}")
    return repeated(cutoff, x.shape[:-2])


def matrix_rank(
    M: ArrayLike,
    *,
    rtol: ArrayLike | None = None,
    hermitian: bool = False,
    tol: ArrayLike | None = None,
) -> Array:
    """How many singular values count as more than 0, (..., m, n) -> (...); 1 for vectors but 0.

    tol, or rtol: what does not count, absolutely or as a part of the largest singular value; shape
        (...) or a scalar; by default rtol is max(m, n) times the resolution of the dtype. They are
        given by name, since by position the first is rtol for JAX and tol for NumPy.
    hermitian: the matrices are Hermitian, and eigenvalues are counted.
    Dtypes: the result is of the default integer. Raises: ShapeError, DtypeError, ArgumentError.
    """
    if tol is not None and rtol is not None:
        raise ArgumentError("matrix_rank: at most one of tol and rtol may be given")
    x = owned(M, "matrix_rank")
    if x.ndim < 2:
        x = lax.reshape(x, (1, x.size))
        hermitian = False
    x = matrices("matrix_rank", x, square=hermitian)
    values = lax.abs(decompositions.eigh(x)[1]) if hermitian else singular_values(x)
    if tol is None:
        first = largest(values, (values.ndim - 1,))
        limit = lax.mul(_cutoff("matrix_rank", x, rtol), first)
    else:
        limit = _cutoff("matrix_rank", x, tol)
    return _count_above(values, limit)


def _count_above(values: Array, limit: Array) -> Array:
    above = lax.gt(values, lax.expand_dims(limit, (limit.ndim,)))
    return sum_of(above, -1, dtype=dtypes.default_int())


def lstsq(
    a: ArrayLike, b: ArrayLike, rcond: float | None = None, *, numpy_resid: bool = False
) -> tuple[Array, Array, Array, Array]:
    """The x of least norm among those of least |a x - b|^2.

    rcond: singular values up to this part of the largest one are taken as 0; max(m, n) times the
        resolution of the dtype by default, the resolution itself when negative.
    numpy_resid: give no residuals, shape (0,), when the rank is below n or m <= n, as NumPy does.
        Not for a traced `a`, since the shape depends on its values.
    Shapes: a (m, n), b (m,) or (m, k) -> x (n,) or (n, k), the sums of squared residuals (1,) or
        (k,), the rank (), and the singular values of a (min(m, n),).
    Derivatives of x hold where the rank stays the same, also for singular `a`.
    Raises: ShapeError, DtypeError, ConcretizationTypeError.
    """
    x, y = two("lstsq", a, b)
    if x.ndim != 2 or y.ndim not in (1, 2) or x.shape[0] != y.shape[0]:
        raise ShapeError(f"lstsq: takes a (m, n) and b (m,) or (m, k), got {x.aval} and {y.aval}")
    real = dtypes.to_real(x.dtype)
    resolution = float(dtypes.finfo(real).eps)
    m, n = x.shape
    limit = _cutoff("lstsq", x, max(m, n) * resolution if rcond is None else rcond)
    limit = select(lax.lt(limit, constant(0, limit)), constant(resolution, limit), limit)
    values = singular_values(x)
    rank = _count_above(values, lax.mul(limit, largest(values, (0,))))
    columns = lax.expand_dims(y, (1,)) if y.ndim == 1 else y
    found = linalg.dot(pseudo.pinv(x, limit), columns)
    out = lax.squeeze(found, (1,)) if y.ndim == 1 else found
    if numpy_resid:
        known = int(concrete("lstsq", rank, "pass numpy_resid=False"))
        if known < n or m <= n:
            return out, lax.full((0,), 0, real), rank, values
    miss = lax.sub(columns, linalg.dot(x, found))
    return out, sum_of(lax.square(lax.abs(miss)), 0), rank, values


def tensorinv(a: ArrayLike, ind: int = 2) -> Array:
    """The inverse of tensordot(a, ., ind): the tensor as a matrix, its first `ind` axes the rows.

    Shapes: the last axes, then the first ones; the products of their sizes must be equal.
    Raises: ShapeError.
    """
    x = inexact("tensorinv", owned(a, "tensorinv"))
    ind = operator.index(ind)
    rows, columns = x.shape[:ind], x.shape[ind:]
    size = math.prod(rows)
    if ind <= 0 or size != math.prod(columns):
        raise ShapeError(
            f"tensorinv: the first ind axes must hold as many elements as the others, ind must be "
            f"positive, got {x.aval} with ind {ind}"
        )
    return lax.reshape(inv(lax.reshape(x, (size, size))), (*columns, *rows))


def tensorsolve(a: ArrayLike, b: ArrayLike, axes: Sequence[int] | None = None) -> Array:
    """The x with tensordot(a, x, x.ndim) = b.

    axes: of `a`, to be moved to its end, where the axes of x lie.
    Shapes: a has the axes of b, then those of x, with equal numbers of elements.
    Raises: ShapeError, AxisError.
    """
    x, y = two("tensorsolve", a, b)
    if axes is not None:
        last = normalize_axes(tuple(axes), x.ndim, "tensorsolve")
        x = lax.transpose(x, (*[i for i in range(x.ndim) if i not in last], *last))
    shape = x.shape[y.ndim :]
    if y.size != math.prod(shape) or x.size != y.size**2:
        raise ShapeError(
            f"tensorsolve: a must have the axes of b, then axes with as many elements, got "
            f"{x.aval} and {y.aval}"
        )
    flat = lax.reshape(x, (y.size, y.size))
    return lax.reshape(solve(flat, lax.reshape(y, (y.size,))), shape)

"""Linear algebra of stacks of matrices: decompositions, and systems with special matrices.

Operands have one dtype, which LAPACK knows: float32, float64, complex64 or complex128. Matrices are
the last two axes; the axes before them are a batch, equal in all operands.

Sources: T. Joffrain et al., "Accumulating Householder transformations, revisited" (2006), for
products of reflectors; P. Gill, G. Golub, W. Murray and M. Saunders, "Methods for modifying matrix
factorizations" (1974), for `cholesky_update`.
"""

from __future__ import annotations

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike, lift
from fstensor.core.aval import ShapedArray
from fstensor.errors import ShapeError
from fstensor.ops import decompositions
from fstensor.ops.arrange import concatenate
from fstensor.ops.convert import convert_element_type, real
from fstensor.ops.cumulative import cumsum
from fstensor.ops.decompositions import eigh, qr, svd
from fstensor.ops.dot import batch_matmul
from fstensor.ops.elementwise import add, div, mul, sqrt, sub
from fstensor.ops.families import check_same_dtype, constant
from fstensor.ops.index import pad, slice_in_dim
from fstensor.ops.linalg import (
    adjoint,
    check_matrix,
    check_square,
    cholesky,
    columns,
    conjugated,
    identity,
    lower_triangle,
    matrix_transpose,
    rows,
    solve,
    triangular_solve,
    upper_triangle,
)
from fstensor.ops.logical import eq, where
from fstensor.ops.lu import lu, lu_pivots_to_permutation
from fstensor.ops.reduce import argmax, reduce_sum
from fstensor.ops.shape import broadcasted_iota, full
from fstensor.ops.tridiagonal import tridiagonal_solve


def eig(
    x: ArrayLike,
    *,
    compute_left_eigenvectors: bool = True,
    compute_right_eigenvectors: bool = True,
) -> list[Array]:
    """Eigenvalues w and, as asked for, left and right eigenvectors of square matrices: [w, vl, vr].

    x vr = vr diag(w) and vl^H x = diag(w) vl^H. Vectors are columns of length 1, whose largest
    component is real.
    Shapes: (..., n, n) -> (..., n), and (..., n, n) for vectors; all complex.
    Dtypes: float32, float64, complex64 or complex128.
    Derivatives of vectors need distinct eigenvalues; derivatives of values, and left vectors, need
    matrices with a full set of right vectors. Raises: ShapeError, DtypeError.
    """
    if not compute_left_eigenvectors:
        return decompositions.eig(x, compute_right_eigenvectors=compute_right_eigenvectors)
    values, right = decompositions.eig(x)
    # vr^-1 x = diag(w) vr^-1, so the columns of vr^-H have the right directions.
    left = _normalized(solve(adjoint(right), identity(right))) if right.shape[-1] else right
    return [values, left, right] if compute_right_eigenvectors else [values, left]


def _normalized(x: Array) -> Array:
    """Complex columns, with length 1 and the largest component positive."""
    axis = x.ndim - 2
    squares = _square(x)
    length = sqrt(reduce_sum(squares, (axis,)))
    largest = eq(
        rows(argmax(squares, axis, np.int32), x), broadcasted_iota(np.int32, x.shape, axis)
    )
    lead = reduce_sum(where(largest, x, constant(0, x)), (axis,))
    turn = div(conjugated(lead), convert_element_type(mul(sqrt(_square(lead)), length), x.dtype))
    return mul(x, rows(turn, x))


def _square(x: Array) -> Array:
    """The squared moduli."""
    return real(mul(x, conjugated(x))) if dtypes.is_complex(x.dtype) else mul(x, x)


def householder_product(a: ArrayLike, taus: ArrayLike) -> Array:
    """The first columns of the product of reflectors I - taus[i] v v^H, as QR finds them.

    The vector v of reflector i is 0 above row i, 1 there, and column i of `a` below.
    Shapes: a (..., m, n) with m >= n, taus (..., k) with k <= n -> (..., m, n).
    Dtypes: float32, float64, complex64 or complex128, one for both.
    Raises: ShapeError, DtypeError.
    """
    x, scales = _reflectors("householder_product", a, taus)
    m, n = x.shape[-2:]
    if m < n:
        raise ShapeError(
            f"householder_product: a must have at least as many rows as columns, got {x.aval}"
        )
    v = _unit_vectors(x, scales.shape[-1])
    start = slice_in_dim(adjoint(v), 0, n, axis=-1)
    return sub(identity(x), batch_matmul(v, _combined(v, scales, start, inverse=False)))


def ormqr(
    a: ArrayLike, taus: ArrayLike, c: ArrayLike, *, left: bool = True, transpose: bool = False
) -> Array:
    """Q c, with the product Q of reflectors as in `householder_product`, which is not formed.

    left: else c Q. transpose: with Q^H in place of Q.
    Shapes: a (..., m, n), taus (..., k) with k <= min(m, n), c (..., m, p) -> (..., m, p); c is
        (..., p, m) unless left. Dtypes: float32, float64, complex64 or complex128, one for all.
    Raises: ShapeError, DtypeError.
    """
    x, scales = _reflectors("ormqr", a, taus)
    y = lift(c, what="ormqr")
    check_same_dtype("ormqr", (x.aval, y.aval))
    fits = y.ndim == x.ndim and y.shape[:-2] == x.shape[:-2]
    if not fits or y.shape[-2 if left else -1] != x.shape[-2]:
        side = "rows" if left else "columns"
        raise ShapeError(f"ormqr: c must have {x.shape[-2]} {side}, got {y.aval} for {x.aval}")
    v = _unit_vectors(x, scales.shape[-1])
    if not left:  # c Q = (Q^H c^H)^H
        y = adjoint(y)
    inner = _combined(v, scales, batch_matmul(adjoint(v), y), inverse=transpose == left)
    out = sub(y, batch_matmul(v, inner))
    return out if left else adjoint(out)


def _reflectors(what: str, a: ArrayLike, taus: ArrayLike) -> tuple[Array, Array]:
    x, scales = lift(a, what=what), lift(taus, what=what)
    batch, m, n = check_matrix(what, x.aval)
    check_same_dtype(what, (x.aval, scales.aval))
    if scales.shape[:-1] != batch or not scales.ndim or scales.shape[-1] > min(m, n):
        raise ShapeError(
            f"{what}: taus must be (..., k) with k <= min(m, n) for a (..., m, n), "
            f"got {scales.aval} for {x.aval}"
        )
    return x, scales


def _unit_vectors(x: Array, k: int) -> Array:
    """The vectors of the first k reflectors, in columns."""
    first = slice_in_dim(x, 0, k, axis=-1)
    return add(lower_triangle(first, strict=True), identity(first))


def _combined(v: Array, taus: Array, y: Array, inverse: bool) -> Array:
    """T y, or T^H y for the inverse, where the product of the reflectors is I - v T v^H."""
    # T^-1 = diag(1 / taus) + S, with the strict upper triangle S of v^H v. Times diag(taus), which
    # may be 0, its diagonal is ones: (I + diag(taus) S) T = diag(taus).
    products = batch_matmul(adjoint(v), v)
    if inverse:  # T^-H has S^H, the strict lower triangle of v^H v, which is Hermitian.
        taus = conjugated(taus)
    system = mul(columns(taus, products), products)
    right = mul(columns(taus, y), y)
    return triangular_solve(system, right, left_side=True, lower=inverse, unit_diagonal=True)


def cholesky_update(r_matrix: ArrayLike, w_vector: ArrayLike) -> Array:
    """The upper triangle R' with R'^H R' = R^H R + w w^H, in O(n^2) operations.

    Shapes: r_matrix (..., n, n), w_vector (..., n) -> (..., n, n). The upper triangle of r_matrix,
        R, is read; its diagonal must be positive.
    Dtypes: float32, float64, complex64 or complex128, one for both.
    Raises: ShapeError, DtypeError.
    """
    what = "cholesky_update"
    x, w = lift(r_matrix, what=what), lift(w_vector, what=what)
    check_square(what, x.aval)
    check_same_dtype(what, (x.aval, w.aval))
    if w.shape != x.shape[:-1]:
        raise ShapeError(
            f"{what}: w_vector must be (..., n) for r_matrix (..., n, n), got {w.aval} for {x.aval}"
        )
    # R^H R + w w^H = R^H (I + p p^H) R with R^H p = w. With t[j] = 1 + |p[0]|^2 + ... + |p[j]|^2,
    # the lower factor of I + p p^H is sqrt(t[j] / t[j-1]) on the diagonal and
    # p[i] conj(p[j]) / sqrt(t[j] t[j-1]) below it.
    r = upper_triangle(x)
    p = triangular_solve(r, w, left_side=True, transpose_a=True, conjugate_a=True)
    last = p.ndim - 1
    one = full((*p.shape[:-1], 1), 1, dtypes.to_real(p.dtype))
    sums = cumsum(concatenate([one, _square(p)], last), last)
    n = p.shape[-1]
    before, after = slice_in_dim(sums, 0, n, axis=last), slice_in_dim(sums, 1, n + 1, axis=last)
    diagonal, scale = (
        convert_element_type(s, p.dtype)
        for s in (sqrt(div(after, before)), sqrt(mul(after, before)))
    )
    # Row j of the result gathers the rows of R behind j.
    running = cumsum(mul(columns(conjugated(p), r), r), last, reverse=True)
    config = [(0, 0, 0)] * r.ndim
    config[last] = (-1, 1, 0)
    behind = mul(columns(div(p, scale), r), pad(running, 0.0, config))
    return add(mul(columns(diagonal, r), r), behind)


def symmetric_product(
    a_matrix: ArrayLike,
    c_matrix: ArrayLike,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    symmetrize_output: bool = False,
) -> Array:
    """The sum of products alpha a a^T + beta c.

    symmetrize_output: copy the lower triangle of the result over the upper one, which makes a
        difference where c is not symmetric.
    Shapes: a_matrix (..., m, n), c_matrix (..., m, m) -> (..., m, m).
    Dtypes: float32, float64, complex64 or complex128, one for both.
    Raises: ShapeError, DtypeError.
    """
    what = "symmetric_product"
    a, c = lift(a_matrix, what=what), lift(c_matrix, what=what)
    batch, m, _ = check_matrix(what, a.aval)
    check_same_dtype(what, (a.aval, c.aval))
    if c.shape != (*batch, m, m):
        raise ShapeError(
            f"{what}: c_matrix must be {ShapedArray((*batch, m, m), a.dtype)} "
            f"for a_matrix {a.aval}, got {c.aval}"
        )
    product = mul(batch_matmul(a, matrix_transpose(a)), constant(alpha, a))
    out = add(product, mul(c, constant(beta, c)))
    if not symmetrize_output:
        return out
    return add(lower_triangle(out), matrix_transpose(lower_triangle(out, strict=True)))


__all__ = [
    "cholesky",
    "cholesky_update",
    "eig",
    "eigh",
    "householder_product",
    "lu",
    "lu_pivots_to_permutation",
    "ormqr",
    "qr",
    "svd",
    "symmetric_product",
    "triangular_solve",
    "tridiagonal_solve",
]

"""Linear algebra, by the names and signatures of `scipy.linalg`.

Matrices are the last two axes; the axes before them are a batch, and those of two operands
broadcast. Integers and bools become the default float. A function that reads one triangle of a
matrix has its gradient there. Where SciPy raises LinAlgError for the values of a matrix, the result
is NaN for that matrix alone.
"""

from __future__ import annotations

import functools
import math
import operator

import numpy as np

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import OptionError, ShapeError
from fstensor.numpy import linalg
from fstensor.numpy.linalg.operands import largest, matrices, one_batch, solved, two
from fstensor.numpy.promote import constant, owned, promote_dtypes, select
from fstensor.numpy.shape import at_least
from fstensor.ops import decompositions
from fstensor.ops import expm as exponential
from fstensor.ops import linalg as ops
from fstensor.ops import lu as elimination
from fstensor.ops import sqrtm as root

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "circulant",
    "companion",
    "det",
    "eigh",
    "expm",
    "expm_frechet",
    "hankel",
    "hilbert",
    "inv",
    "lu",
    "lu_factor",
    "lu_solve",
    "pascal",
    "qr",
    "solve",
    "solve_triangular",
    "sqrtm",
    "svd",
    "toeplitz",
]

# Systems


def inv(a: ArrayLike) -> Array:
    """The inverses of square matrices, as `fstensor.numpy.linalg.inv`."""
    return linalg.inv(a)


def det(a: ArrayLike) -> Array:
    """The determinants of square matrices, as `fstensor.numpy.linalg.det`."""
    return linalg.det(a)


_KINDS = {
    "general": "gen",
    "symmetric": "sym",
    "hermitian": "her",
    "positive definite": "pos",
}
_ASSUMED = ("gen", "sym", "her", "pos", "diagonal", "lower triangular", "upper triangular")


def solve(
    a: ArrayLike,
    b: ArrayLike,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    debug: bool = False,
    check_finite: bool = True,
    assume_a: str = "gen",
) -> Array:
    """The solution x of a x = b.

    assume_a: what is known of `a`: "gen" nothing; "sym" symmetric, "her" Hermitian, "pos" Hermitian
        positive definite, of which one triangle is read, the lower or the upper one as `lower`
        tells; "diagonal", "lower triangular" or "upper triangular", of which the rest is not read.
        "general", "symmetric", "hermitian" and "positive definite" are other words for the first.
    overwrite_a, overwrite_b, debug, check_finite: without effect, as in JAX: they keep the places.
    Shapes: a (..., n, n) and b (n,) -> (..., n), or b (..., n, m) -> (..., n, m).
    Singular matrices give NaN. Raises: OptionError, ShapeError, DtypeError.
    """
    kind = _KINDS.get(assume_a, assume_a)
    if kind not in _ASSUMED:
        raise OptionError(
            f"solve: assume_a must be one of {', '.join((*_ASSUMED, *_KINDS))}, got {assume_a!r}"
        )

    def solver(x: Array, y: Array) -> Array:
        match kind:
            case "gen":
                return ops.solve(x, y)
            case "sym":
                return ops.solve(_symmetric_from(x, lower), y)
            case "her":
                return ops.solve(ops.hermitian_from(x, lower), y)
            case "pos":
                return _cho_solve(cholesky(x, lower=lower), y, lower)
            case "diagonal":
                return lax.div(y, ops.columns(ops.diagonal(x), y))
        return ops.triangular_solve(x, y, left_side=True, lower=kind == "lower triangular")

    return solved("solve", solver, a, b)


def _symmetric_from(x: Array, lower: bool) -> Array:
    """The symmetric matrices of which `x` holds one triangle."""
    strict = ops.lower_triangle(x if lower else ops.matrix_transpose(x), strict=True)
    return lax.add(lax.add(strict, ops.matrix_transpose(strict)), ops.diagonal_part(x))


_TRANSPOSES = {0: (False, False), 1: (True, False), 2: (True, True)}
_TRANS_LETTERS = {"N": 0, "T": 1, "C": 2}


def _trans(what: str, trans: int | str) -> tuple[bool, bool]:
    """Whether to transpose, and whether to conjugate."""
    number = _TRANS_LETTERS.get(trans) if isinstance(trans, str) else trans
    if number not in _TRANSPOSES:
        raise OptionError(f"{what}: trans must be 0, 1, 2, 'N', 'T' or 'C', got {trans!r}")
    return _TRANSPOSES[number]


def solve_triangular(
    a: ArrayLike,
    b: ArrayLike,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
) -> Array:
    """The solution x of op(a) x = b, of triangular `a`, of which the other triangle is not read.

    trans: what op is: nothing for 0 or "N", the transpose for 1 or "T", the conjugate transpose for
        2 or "C".
    unit_diagonal: the diagonal is taken as ones and not read.
    Shapes: as in `solve`. Raises: OptionError, ShapeError, DtypeError.
    """
    transpose_a, conjugate_a = _trans("solve_triangular", trans)
    solver = functools.partial(
        ops.triangular_solve,
        left_side=True,
        lower=lower,
        transpose_a=transpose_a,
        conjugate_a=conjugate_a,
        unit_diagonal=unit_diagonal,
    )
    return solved("solve_triangular", solver, a, b)


# Decompositions


def cholesky(a: ArrayLike, lower: bool = False) -> Array:
    """The triangle with a = u^H u, or a = l l^H if `lower`, of positive definite matrices.

    One triangle of `a` is read, the lower or the upper one as `lower` tells.
    Shapes: (..., n, n). Raises: ShapeError, DtypeError.
    """
    return linalg.cholesky(a, upper=not lower, symmetrize_input=False)


def cho_factor(a: ArrayLike, lower: bool = False) -> tuple[Array, bool]:
    """What `cho_solve` takes: the triangle of `cholesky`, the other one zeros, and `lower`."""
    return cholesky(a, lower), lower


def cho_solve(c_and_lower: tuple[ArrayLike, bool], b: ArrayLike) -> Array:
    """The solution x of a x = b, of the matrix that `cho_factor` has decomposed.

    Shapes: as in `solve`. Raises: ShapeError, DtypeError.
    """
    c, lower = c_and_lower
    return solved("cho_solve", lambda x, y: _cho_solve(x, y, lower), c, b)


def _cho_solve(c: Array, b: Array, lower: bool) -> Array:
    for second in (False, True):
        adjoint = second == lower
        b = ops.triangular_solve(
            c, b, left_side=True, lower=lower, transpose_a=adjoint, conjugate_a=adjoint
        )
    return b


def lu(a: ArrayLike, permute_l: bool = False) -> tuple[Array, Array] | tuple[Array, Array, Array]:
    """The decomposition a = p l u into a permutation and triangles, by partial pivoting.

    permute_l: give p l and u.
    Shapes: (..., m, n) -> p (..., m, m), l (..., m, k), u (..., k, n), k = min(m, n).
    Derivatives need independent first k columns and rows of p^T a. Raises: ShapeError, DtypeError.
    """
    x = matrices("lu", a)
    factors, _, permutation = elimination.lu(x)
    m, n = x.shape[-2:]
    k = min(m, n)
    low = fnp.tril(factors[..., :k], -1) + fnp.eye(m, k, dtype=x.dtype)
    high = fnp.triu(factors[..., :k, :])
    places = lax.broadcasted_iota(permutation.dtype, (m, 1), 0)
    where = fnp.equal(places, lax.expand_dims(permutation, (permutation.ndim - 1,)))
    p = where.astype(dtypes.to_real(x.dtype))
    return (fnp.matmul(p, low), high) if permute_l else (p, low, high)


def lu_factor(a: ArrayLike) -> tuple[Array, Array]:
    """What `lu_solve` takes: the triangles of `lu` in one matrix, and pivots.

    Row j was swapped with row pivots[j], for ascending j.
    Shapes: (..., m, n) -> (..., m, n) and (..., min(m, n)). Raises: ShapeError, DtypeError.
    """
    factors, pivots, _ = elimination.lu(matrices("lu_factor", a))
    return factors, pivots


def lu_solve(lu_and_piv: tuple[ArrayLike, ArrayLike], b: ArrayLike, trans: int = 0) -> Array:
    """The solution x of op(a) x = b, of the matrix that `lu_factor` has decomposed.

    trans: what op is, as in `solve_triangular`.
    Shapes: as in `solve`. Raises: OptionError, ShapeError, DtypeError.
    """
    factors, pivots = lu_and_piv[0], owned(lu_and_piv[1], "lu_solve").astype(np.int32)
    transpose_a, conjugate_a = _trans("lu_solve", trans)

    def solver(x: Array, y: Array) -> Array:
        order = elimination.lu_pivots_to_permutation(pivots, x.shape[-1])
        order = lax.expand_dims(order, (order.ndim,))
        order = fnp.broadcast_to(order, (*y.shape[:-1], 1))
        triangle = functools.partial(
            ops.triangular_solve,
            x,
            left_side=True,
            transpose_a=transpose_a,
            conjugate_a=conjugate_a,
        )
        low = functools.partial(triangle, lower=True, unit_diagonal=True)
        if not transpose_a:
            # a = p l u, and p^T takes the rows in this order.
            return triangle(low(fnp.take_along_axis(y, order, -2)))
        return fnp.take_along_axis(low(triangle(y)), fnp.argsort(order, -2), -2)

    return solved("lu_solve", solver, factors, b)


def qr(
    a: ArrayLike, overwrite_a: bool = False, lwork: int | None = None, mode: str = "full"
) -> tuple[Array, ...]:
    """The decomposition a = q r into orthonormal columns and an upper triangle.

    overwrite_a, lwork: without effect, as in JAX: they keep the places.
    mode: "full" for m columns, "economic" for k = min(m, n) of them, "r" for (r,) alone.
    Shapes: (..., m, n) -> q (..., m, m), r (..., m, n); economic (..., m, k), (..., k, n).
    Derivatives need independent first k columns, and mode "economic" when m > n.
    Raises: OptionError, ShapeError, DtypeError.
    """
    if mode not in ("full", "r", "economic"):
        raise OptionError(f"qr: mode must be 'full', 'r' or 'economic', got {mode!r}")
    q, r = decompositions.qr(matrices("qr", a), full_matrices=mode != "economic")
    return (r,) if mode == "r" else (q, r)


def svd(
    a: ArrayLike, full_matrices: bool = True, compute_uv: bool = True
) -> Array | tuple[Array, Array, Array]:
    """The singular value decomposition, as `fstensor.numpy.linalg.svd`, as a plain tuple."""
    found = linalg.svd(a, full_matrices, compute_uv)
    return (found.U, found.S, found.Vh) if isinstance(found, linalg.SVDResult) else found


def eigh(
    a: ArrayLike,
    b: ArrayLike | None = None,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    turbo: bool = True,
    eigvals: None = None,
    type: int = 1,
) -> Array | tuple[Array, Array]:
    """Ascending eigenvalues and eigenvectors of Hermitian matrices, or of pairs of them.

    b: positive definite. With it the problem is, by type, 1: a v = w b v, 2: a b v = w v,
        3: b a v = w v; the vectors have v^H b v = 1, and v^H b^-1 v = 1 for type 3.
    lower: which triangle of `a` and `b` is read, in which their gradients lie.
    overwrite_a, overwrite_b, turbo: without effect, as in JAX: they keep the places.
    eigvals: None; SciPy has dropped it too.
    Shapes: (..., n, n) -> (..., n) and, unless eigvals_only, (..., n, n), the vectors in columns.
    Derivatives of vectors need distinct eigenvalues.
    Raises: OptionError, ShapeError, DtypeError.
    """
    if type not in (1, 2, 3):
        raise OptionError(f"eigh: type must be 1, 2 or 3, got {type!r}")
    if eigvals is not None:
        raise OptionError(f"eigh: eigvals must be None, got {eigvals!r}; slice the result")
    if b is None:
        vectors, values = decompositions.eigh(_hermitian("eigh", matrices("eigh", a), lower))
        return values if eigvals_only else (values, vectors)
    x, y = one_batch("eigh", *(_hermitian("eigh", z, lower) for z in two("eigh", a, b)))
    if x.shape != y.shape:
        raise ShapeError(f"eigh: a and b must be of one size, got {x.aval} and {y.aval}")
    # With b = l l^H the problem is c u = w u, for v = l^-H u, or v = l u in type 3.
    low = ops.cholesky(y, symmetrize_input=False)
    solver = functools.partial(ops.triangular_solve, low, lower=True)
    if type == 1:
        # c = l^-1 a l^-H
        half = solver(x, transpose_a=True, conjugate_a=True)
        c = solver(half, left_side=True)
    else:
        c = ops.dot(ops.adjoint(low), x, low)
    vectors, values = decompositions.eigh(c)
    if eigvals_only:
        return values
    if type == 3:
        return values, ops.dot(low, vectors)
    return values, solver(vectors, left_side=True, transpose_a=True, conjugate_a=True)


def _hermitian(what: str, x: Array, lower: bool) -> Array:
    return ops.hermitian_from(matrices(what, x, square=True), lower)


# Functions of matrices


def expm(A: ArrayLike, *, upper_triangular: bool = False, max_squarings: int = 16) -> Array:
    """The exponential of square matrices, (..., n, n), by scaling and squaring.

    upper_triangular: read the upper triangle alone, as if below it were zeros.
    max_squarings: a matrix that needs more of them gives NaN. k are needed for sums of moduli over
        a column up to 5.37 2^k.
    Derivatives hold to any order. Raises: ShapeError, DtypeError.
    """
    x = matrices("expm", A, square=True)
    if upper_triangular:
        x = ops.upper_triangle(x)
    size = linalg.matrix_norm(lax.stop_gradient(x), ord=1)
    most = exponential.LIMIT * 2.0 ** min(operator.index(max_squarings), 1000)
    beyond = lax.gt(size, constant(most, size))
    return _nan_where(beyond, exponential.expm(x))


def _nan_where(condition: Array, x: Array) -> Array:
    """Matrices `x`, with those all NaN for which the condition holds."""
    condition = lax.expand_dims(condition, (x.ndim - 2, x.ndim - 1))
    return select(condition, constant(math.nan, x), x)


def expm_frechet(
    A: ArrayLike, E: ArrayLike, *, compute_expm: bool = True
) -> Array | tuple[Array, Array]:
    """The exponential of `A`, unless told otherwise, and its derivative in the direction `E`.

    Shapes: (..., n, n) both. Raises: ShapeError, DtypeError.
    """
    x, e = two("expm_frechet", A, E)
    x, e = one_batch("expm_frechet", *(matrices("expm_frechet", z, square=True) for z in (x, e)))
    moved = exponential.expm_frechet(x, e)
    return (exponential.expm(x), moved) if compute_expm else moved


def sqrtm(A: ArrayLike) -> Array:
    """The positive semidefinite square root of positive semidefinite Hermitian matrices.

    NaN for others: where a matrix is not Hermitian, up to rounding, or has a negative eigenvalue.
    (SciPy's and JAX's are of any matrix, and may be complex.)
    Shapes: (..., n, n). Derivatives need positive eigenvalues, which may be equal; they are those
    of the root of (A + A^H) / 2.
    Raises: ShapeError, DtypeError.
    """
    x = matrices("sqrtm", A, square=True)
    found = root.sqrtm(ops.symmetrized("sqrtm", x))
    x = lax.stop_gradient(x)
    axes = (x.ndim - 2, x.ndim - 1)
    size, error = (largest(lax.abs(y), axes) for y in (x, lax.sub(x, ops.adjoint(x))))
    rounding = 8 * x.shape[-1] * float(dtypes.finfo(size.dtype).eps)
    return _nan_where(lax.gt(error, lax.mul(size, constant(rounding, size))), found)


# Special matrices


def block_diag(*arrs: ArrayLike) -> Array:
    """The matrix with the given ones along its diagonal, zeros elsewhere.

    Vectors are rows, scalars are (1, 1). Without any it is (1, 0).
    Raises: ShapeError for more than 2 axes.
    """
    if not arrs:
        return fnp.zeros((1, 0))
    blocks = promote_dtypes("block_diag", *[owned(x, "block_diag") for x in arrs])
    for x in blocks:
        if x.ndim > 2:
            raise ShapeError(f"block_diag: takes matrices, vectors and scalars, got {x.aval}")
    blocks = [at_least(2, x) for x in blocks]
    width, before, rows = sum(x.shape[1] for x in blocks), 0, []
    for x in blocks:
        after = width - before - x.shape[1]
        rows.append(fnp.pad(x, ((0, 0), (before, after))))
        before += x.shape[1]
    return fnp.concatenate(rows)


def toeplitz(c: ArrayLike, r: ArrayLike | None = None) -> Array:
    """Matrices with constant diagonals: `c` is the first column, r[1:] the rest of the first row.

    r: by default the conjugate of c. r[0] is not used.
    Shapes: c (..., m), r (..., n) -> (..., m, n); leading axes broadcast.
    """
    column = at_least(1, owned(c, "toeplitz"))
    row = fnp.conj(column) if r is None else at_least(1, owned(r, "toeplitz"))
    column, row = promote_dtypes("toeplitz", column, row)
    m, n = column.shape[-1], row.shape[-1]
    batch = fnp.broadcast_shapes(column.shape[:-1], row.shape[:-1])
    column, row = fnp.broadcast_to(column, (*batch, m)), fnp.broadcast_to(row, (*batch, n))
    # All diagonals from the top right to the bottom left.
    diagonals = fnp.concatenate([fnp.flip(row[..., 1:], -1), column], -1)
    return diagonals[..., np.arange(m)[:, None] - np.arange(n) + max(n - 1, 0)]


def hankel(c: ArrayLike, r: ArrayLike | None = None) -> Array:
    """The matrix with constant antidiagonals: `c` is its first column, r[1:] ends its last row.

    r: zeros by default. r[0] is not used. Shapes: c (m,), r (n,) -> (m, n).
    Raises: ShapeError for other ranks.
    """
    column = at_least(1, owned(c, "hankel"))
    row = fnp.zeros_like(column) if r is None else at_least(1, owned(r, "hankel"))
    for x in (column, row):
        if x.ndim != 1:
            raise ShapeError(f"hankel: takes vectors, got {x.aval}")
    m, n = column.shape[0], row.shape[0]
    values = fnp.concatenate([column, row[1:]])
    return values[np.arange(m)[:, None] + np.arange(n)]


def circulant(c: ArrayLike) -> Array:
    """The matrices whose columns are `c`, rolled down by 0, 1, ...: (..., n) -> (..., n, n)."""
    column = at_least(1, owned(c, "circulant"))
    n = column.shape[-1]
    return column[..., (np.arange(n)[:, None] - np.arange(n)) % max(n, 1)]


def companion(a: ArrayLike) -> Array:
    """The matrices whose eigenvalues are the zeros of polynomials: (..., n) -> (..., n - 1, n - 1).

    Raises: ShapeError for less than 2 coefficients.
    """
    p = owned(a, "companion")
    if not p.ndim or p.shape[-1] < 2:
        raise ShapeError(f"companion: takes at least 2 coefficients, got {p.aval}")
    first = fnp.true_divide(-p[..., None, 1:], p[..., None, :1])
    n = first.shape[-1]
    rest = fnp.broadcast_to(fnp.eye(n - 1, n, dtype=first.dtype), (*first.shape[:-2], n - 1, n))
    return fnp.concatenate([first, rest], -2)


def hilbert(n: int) -> Array:
    """The matrix (n, n) of 1 / (i + j + 1), of the default float."""
    i = np.arange(operator.index(n))
    return fnp.asarray(1 / (i[:, None] + i + 1), dtypes.default_float())


def pascal(n: int, kind: str | None = None) -> Array:
    """The matrix (n, n) of binomial coefficients, of the default float.

    kind: "lower" for those of i over j, "upper" for its transpose, "symmetric" or None for those
        of i + j over j. Raises: OptionError.
    """
    n = operator.index(n)
    if kind not in (None, "symmetric", "lower", "upper"):
        raise OptionError(f"pascal: kind must be 'symmetric', 'lower' or 'upper', got {kind!r}")
    shift = kind in (None, "symmetric")
    rows = [[float(math.comb(i + j * shift, j)) for j in range(n)] for i in range(n)]
    out = np.array(rows).reshape(n, n)
    return fnp.asarray(out.T if kind == "upper" else out, dtypes.default_float())

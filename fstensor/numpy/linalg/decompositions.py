"""Decompositions of matrices, and eigenvalues and singular values."""

from __future__ import annotations

from typing import NamedTuple

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.errors import OptionError
from fstensor.numpy.arithmetic import abs as absolute
from fstensor.numpy.indexing import take_along_axis
from fstensor.numpy.linalg.operands import matrices, singular_values
from fstensor.numpy.promote import constant, select
from fstensor.numpy.sorting import argsort, sort
from fstensor.ops import decompositions, linalg


class EigResult(NamedTuple):
    eigenvalues: Array
    eigenvectors: Array


class EighResult(NamedTuple):
    eigenvalues: Array
    eigenvectors: Array


class QRResult(NamedTuple):
    Q: Array
    R: Array


class SVDResult(NamedTuple):
    U: Array
    S: Array
    Vh: Array


def cholesky(a: ArrayLike, *, upper: bool = False, symmetrize_input: bool = True) -> Array:
    """The lower triangle l with a = l l^H of Hermitian positive definite matrices.

    upper: give u = l^H, with a = u^H u.
    symmetrize_input: factor (a + a^H) / 2, so that the gradient is Hermitian; else one triangle
        of `a` alone is read, the lower one, or the upper one for `upper`.
    Shapes: (..., n, n).
    Raises: ShapeError, DtypeError.
    """
    x = matrices("cholesky", a, square=True)
    if upper and not symmetrize_input:
        x = linalg.adjoint(x)
    low = linalg.cholesky(x, symmetrize_input=symmetrize_input)
    return linalg.adjoint(low) if upper else low


def qr(a: ArrayLike, mode: str = "reduced") -> Array | QRResult:
    """The decomposition a = q r into orthonormal columns and an upper triangle.

    mode: "reduced" for k = min(m, n) columns, "complete" for m of them, "r" for r alone.
    Shapes: (..., m, n) -> QRResult(Q (..., m, k), R (..., k, n)).
    Derivatives need independent first k columns, and mode "reduced" or "r" when m > n.
    Raises: OptionError, ShapeError, DtypeError.
    """
    if mode not in ("reduced", "complete", "r"):
        raise OptionError(f"qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    q, r = decompositions.qr(matrices("qr", a), full_matrices=mode == "complete")
    return r if mode == "r" else QRResult(q, r)


def svd(
    a: ArrayLike,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
    subset_by_index: tuple[int, int] | None = None,
) -> Array | SVDResult:
    """The singular value decomposition a = u diag(s) vh; s alone unless compute_uv.

    hermitian: decompose (a + a^H) / 2, by its eigenvectors.
    subset_by_index: give the singular values, and vectors, from the first of these indices up to
        the second, which it excludes; not with full_matrices or hermitian.
    Shapes: (..., m, n) -> SVDResult(U (..., m, k), S (..., k), Vh (..., k, n)), S descending; k is
        min(m, n) or the size of the subset; with full_matrices U is (..., m, m), Vh (..., n, n).
    Derivatives of U and Vh need distinct values, none of them 0 unless `a` is real and square, and
    full_matrices=False unless `a` is square.
    Raises: ShapeError, DtypeError, OptionError.
    """
    if hermitian:
        if subset_by_index is not None:
            raise OptionError(
                "svd: hermitian decomposes wholly, without subset_by_index, got "
                f"{subset_by_index}; slice the result, or pass hermitian=False"
            )
        return _svd_of_hermitian(matrices("svd", a, square=True), compute_uv)
    x = matrices("svd", a)
    found = decompositions.svd(
        x,
        full_matrices=full_matrices,
        compute_uv=compute_uv,
        subset_by_index=subset_by_index,
    )
    return SVDResult(*found) if isinstance(found, tuple) else found


def _svd_of_hermitian(x: Array, compute_uv: bool) -> Array | SVDResult:
    vectors, values = decompositions.eigh(x)
    sizes = absolute(values)
    if not compute_uv:
        return sort(sizes, descending=True)
    order = argsort(sizes, descending=True)
    values, sizes = (take_along_axis(v, order, -1) for v in (values, sizes))
    u = take_along_axis(vectors, lax.expand_dims(order, (order.ndim - 1,)), -1)
    # The sign goes to the right; that of 0 is 1, so that vh is unitary.
    one = constant(1, values)
    signs = select(lax.lt(values, constant(0, values)), lax.neg(one), one)
    signs = lax.convert_element_type(signs, u.dtype)
    vh = linalg.adjoint(lax.mul(u, lax.expand_dims(signs, (signs.ndim - 1,))))
    return SVDResult(u, sizes, vh)


def svdvals(x: ArrayLike, /) -> Array:
    """The singular values, descending: (..., m, n) -> (..., min(m, n)).

    Raises: ShapeError, DtypeError.
    """
    return singular_values(matrices("svdvals", x))


def eigh(a: ArrayLike, UPLO: str | None = None, symmetrize_input: bool = True) -> EighResult:
    """Ascending eigenvalues and orthonormal eigenvectors of Hermitian matrices.

    symmetrize_input: decompose (a + a^H) / 2, so that the gradient is Hermitian, as in JAX; else
        the triangle UPLO, "L" (also for None) or "U", is read alone, as in NumPy.
    Shapes: (..., n, n) -> EighResult((..., n), (..., n, n)), the vectors in columns.
    Derivatives of vectors need distinct eigenvalues.
    Raises: OptionError, ShapeError, DtypeError.
    """
    vectors, values = _eigh("eigh", a, UPLO, symmetrize_input)
    return EighResult(values, vectors)


def eigvalsh(a: ArrayLike, UPLO: str | None = "L", *, symmetrize_input: bool = True) -> Array:
    """Ascending eigenvalues of Hermitian matrices, (..., n, n) -> (..., n).

    Parameters and errors as in `eigh`.
    """
    return _eigh("eigvalsh", a, UPLO, symmetrize_input)[1]


def _eigh(what: str, a: ArrayLike, UPLO: str | None, symmetrize_input: bool) -> tuple[Array, Array]:
    if UPLO is not None and str(UPLO).upper() not in ("L", "U"):
        raise OptionError(f"{what}: UPLO must be 'L' or 'U', got {UPLO!r}")
    lower = UPLO is None or UPLO.upper() == "L"
    x = matrices(what, a, square=True)
    return decompositions.eigh(x, lower=lower, symmetrize_input=symmetrize_input)


def eig(a: ArrayLike) -> EigResult:
    """Eigenvalues and eigenvectors of square matrices.

    Shapes: (..., n, n) -> EigResult((..., n), (..., n, n)), the vectors in columns, of length 1.
    Dtypes: the result is complex, also where all eigenvalues are real: no dtype depends on values.
    Derivatives of vectors need distinct eigenvalues, those of values a full set of vectors.
    Raises: ShapeError, DtypeError, DeviceError where the array module lacks it.
    """
    values, vectors = decompositions.eig(matrices("eig", a, square=True))
    return EigResult(values, vectors)


def eigvals(a: ArrayLike) -> Array:
    """Eigenvalues of square matrices, complex, (..., n, n) -> (..., n).

    Derivatives and errors as in `eig`.
    """
    x = matrices("eigvals", a, square=True)
    return decompositions.eig(x, compute_right_eigenvectors=False)[0]

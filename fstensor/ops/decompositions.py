"""Eigenvalues, singular values and orthogonal factors, of stacks of matrices.

Derivatives hold where the eigenvalues, or the singular values, that enter a formula differ; where
two are equal, the vectors are not differentiable, and their tangents are infinite or NaN, while
those of the values are right. Complex vectors are determined up to a factor of modulus 1; which
one LAPACK takes is no smooth function of the matrix, and only what does not depend on it has a
derivative, unless said otherwise.

Sources: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), section 3; J. Townsend, "Differentiating the singular value decomposition"
(2016); S. Walter, L. Lehmann, "Algorithmic differentiation of linear algebra functions" (2010),
for QR.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from fstensor import dtypes
from fstensor.array import Array, ArrayLike, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Value, primitive
from fstensor.errors import DeviceError, MissingRuleError, OptionError
from fstensor.ops.convert import convert_element_type, real
from fstensor.ops.elementwise import add, div, mul, sub
from fstensor.ops.families import constant
from fstensor.ops.index import slice_in_dim
from fstensor.ops.linalg import (
    OfMatrices,
    adjoint,
    check_matrix,
    check_square,
    columns,
    conjugated,
    diagonal,
    diagonal_part,
    dot,
    hermitian_from,
    imaginary,
    lower_triangle,
    off_diagonal_quotient,
    rows,
    solve,
    symmetrized,
    triangular_solve,
    upper_triangle,
)
from fstensor.ops.logical import eq, where
from fstensor.ops.reduce import reduce_max, reduce_sum


def _refuse_complement(what: str, a: Array) -> None:
    """Raises: square or not, some vectors of the full result depend on no column of `a`."""
    raise MissingRuleError(
        f"{what}: has no derivative when full_matrices completes the vectors of a matrix that is "
        f"not square, since any completion would do, got {a.aval}; pass full_matrices=False"
    )


@final
@primitive("eigh")
class Eigh(OfMatrices):
    """Eigenvectors, in columns, and ascending eigenvalues of Hermitian matrices.

    One triangle of them is read. The vectors are orthonormal.
    """

    lower: bool

    multiple_results = True

    def abstract(self, a: ShapedArray) -> list[ShapedArray]:
        check_square("eigh", a)
        return [
            ShapedArray(a.shape, a.dtype),
            ShapedArray(a.shape[:-1], dtypes.to_real(a.dtype)),
        ]

    def evaluate(self, xp: Any, a: Any) -> Any:
        values, vectors = xp.linalg.eigh(a, UPLO="L" if self.lower else "U")
        return vectors, values

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # a v = v diag(w). With v' = v C and P = v^H a' v:  P + diag(w) C = C diag(w) + diag(w').
        # On the diagonal w' = P; elsewhere C[i,j] (w[j] - w[i]) = P[i,j] (Giles, 3.1). C is
        # skew-Hermitian, as it must for orthonormal vectors; its diagonal is chosen 0.
        (a,), (t,) = primals, tangents
        vectors, values = self.bind(a)
        inner = dot(adjoint(vectors), hermitian_from(t, self.lower), vectors)
        w = convert_element_type(values, a.dtype)
        turn = off_diagonal_quotient(inner, sub(rows(w, a), columns(w, a)))
        return [vectors, values], [dot(vectors, turn), _real(diagonal(inner))]


def _real(x: Array) -> Array:
    return real(x) if dtypes.is_complex(x.dtype) else x


def eigh(
    x: ArrayLike,
    *,
    lower: bool = True,
    symmetrize_input: bool = True,
    subset_by_index: tuple[int, int] | None = None,
) -> tuple[Array, Array]:
    """Eigenvectors, in columns, and ascending eigenvalues of Hermitian matrices.

    symmetrize_input: decompose (x + x^H) / 2, so that the gradient is Hermitian; else one triangle
        of `x` alone is read, the lower one or the upper one, and the gradient lies there.
    subset_by_index: give those from the first of these indices up to the second, which it excludes.
    Shapes: (..., n, n) -> (..., n, k) and (..., k); k is n, or the size of the subset.
    Dtypes: float32, float64, complex64 or complex128; eigenvalues are real.
    Derivatives of vectors need distinct eigenvalues. Raises: ShapeError, DtypeError, OptionError.
    """
    x = lift(x, what="eigh")
    vectors, values = Eigh(lower).bind(symmetrized("eigh", x) if symmetrize_input else x)
    if subset_by_index is not None:
        vectors, values = _subset("eigh", subset_by_index, (vectors, -1), (values, -1))
    return vectors, values


def _subset(what: str, bounds: tuple[int, int], *parts: tuple[Array, int]) -> list[Array]:
    """Each array from the first to the second bound along its axis. Raises: OptionError."""
    (first, axis), (start, end) = parts[0], bounds
    size = first.shape[axis]
    if not 0 <= start <= end <= size:
        raise OptionError(
            f"{what}: subset_by_index must be (start, end) with 0 <= start <= end <= {size}, "
            f"got {bounds}"
        )
    return [slice_in_dim(x, start, end, axis=axis) for x, axis in parts]


@final
@primitive("eig")
class Eig(OfMatrices):
    """Eigenvalues and, in columns, eigenvectors of square matrices, complex ones both.

    Vectors have length 1, and their largest component is real, as LAPACK makes them.
    """

    compute_right_eigenvectors: bool

    multiple_results = True

    def abstract(self, a: ShapedArray) -> list[ShapedArray]:
        check_square("eig", a)
        dtype = dtypes.to_complex(a.dtype)
        values, vectors = ShapedArray(a.shape[:-1], dtype), ShapedArray(a.shape, dtype)
        return [values, vectors] if self.compute_right_eigenvectors else [values]

    def evaluate(self, xp: Any, a: Any) -> Any:
        if not hasattr(xp.linalg, "eig"):
            raise DeviceError("eig: this version of CuPy lacks it; move the matrix to the CPU")
        dtype = dtypes.to_complex(a.dtype)
        if not self.compute_right_eigenvectors:
            return [xp.linalg.eigvals(a).astype(dtype, copy=False)]
        values, vectors = xp.linalg.eig(a)
        return [values.astype(dtype, copy=False), vectors.astype(dtype, copy=False)]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # As for `eigh`, with the inverse of v in place of its adjoint: P = v^-1 a' v.
        (a,), (t,) = primals, tangents
        w, v = Eig(True).bind(a)
        outs = [w, v] if self.compute_right_eigenvectors else [w]
        if not a.shape[-1]:
            return outs, [ZERO] * len(outs)
        inner = solve(v, dot(convert_element_type(t, v.dtype), v))
        if not self.compute_right_eigenvectors:
            return outs, [diagonal(inner)]
        turned = dot(v, off_diagonal_quotient(inner, sub(rows(w, v), columns(w, v))))
        # Each vector may also move along itself, v' = turned + c v, which the norm decides and the
        # component that stays real: Re(v^H v') = 0, and Im(v'[k] / v[k]) = 0 for the largest v[k].
        along = convert_element_type(_real(_summed(mul(conjugated(v), turned))), v.dtype)
        size = _real(mul(conjugated(v), v))
        largest = eq(size, rows(reduce_max(size, (v.ndim - 2,)), size))
        ratio = div(turned, where(largest, v, constant(1, v)))
        count = _summed(convert_element_type(largest, v.dtype))
        turning = imaginary(div(_summed(where(largest, ratio, constant(0, v))), count))
        shift = mul(v, rows(add(along, turning), v))
        return outs, [diagonal(inner), sub(turned, shift)]


def _summed(x: Array) -> Array:
    """Sums over the rows of matrices, one for each column."""
    return reduce_sum(x, (x.ndim - 2,))


def eig(x: ArrayLike, *, compute_right_eigenvectors: bool = True) -> list[Array]:
    """Eigenvalues and, unless told otherwise, eigenvectors of square matrices, in columns.

    Shapes: (..., n, n) -> (..., n) and (..., n, n), complex.
    Dtypes: float32, float64, complex64 or complex128.
    Derivatives of vectors need distinct eigenvalues, those of values matrices with a full set of
    vectors. Raises: ShapeError, DtypeError, DeviceError where the array module lacks it.
    """
    return list(Eig(compute_right_eigenvectors).bind(x))


@final
@primitive("svd")
class Svd(OfMatrices):
    """Singular values s, descending, and vectors, a = u diag(s) vh; s alone unless compute_uv.

    u and the adjoint of vh have orthonormal columns: min(m, n) of them, or, with full_matrices,
    m and n.
    """

    compute_uv: bool
    full_matrices: bool

    multiple_results = True

    def abstract(self, a: ShapedArray) -> list[ShapedArray]:
        batch, m, n = check_matrix("svd", a)
        k = min(m, n)
        values = ShapedArray((*batch, k), dtypes.to_real(a.dtype))
        if not self.compute_uv:
            return [values]
        left, right = (m, n) if self.full_matrices else (k, k)
        return [
            values,
            ShapedArray((*batch, m, left), a.dtype),
            ShapedArray((*batch, right, n), a.dtype),
        ]

    def evaluate(self, xp: Any, a: Any) -> Any:
        if not self.compute_uv:
            return [xp.linalg.svd(a, compute_uv=False)]
        u, s, vh = xp.linalg.svd(a, full_matrices=self.full_matrices)
        return [s, u, vh]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # With u' = u C + ..., v' = v D + ..., P = u^H a' v:  P = C s + s' - s D. C and D are
        # skew-Hermitian, so that for i != j, from P and its adjoint,
        #   C[i,j] = (P[i,j] s[j] + s[i] P^H[i,j]) / (s[j]^2 - s[i]^2),
        #   D[i,j] = (s[i] P[i,j] + P^H[i,j] s[j]) / (s[j]^2 - s[i]^2),
        # and s' = Re P[i,i], while Im P[i,i] = Im (C - D)[i,i] s[i] is given to C. Outside of their
        # span the vectors move by (I - u u^H) a' v / s, and likewise v (Townsend, section 2).
        (a,), (t,) = primals, tangents
        m, n = a.shape[-2:]
        if self.compute_uv and self.full_matrices and m != n:
            _refuse_complement("svd", a)
        s, u, vh = Svd(True, False).bind(a)
        v = adjoint(vh)
        t_v = dot(t, v)
        inner = dot(adjoint(u), t_v)
        t_s = _real(diagonal(inner))
        if not self.compute_uv:
            return [s], [t_s]
        inner_h = adjoint(inner)
        wide = convert_element_type(s, a.dtype)
        si, sj = columns(wide, inner), rows(wide, inner)
        gap = mul(sub(sj, si), add(sj, si))
        left = off_diagonal_quotient(add(mul(inner, sj), mul(si, inner_h)), gap)
        right = off_diagonal_quotient(add(mul(si, inner), mul(inner_h, sj)), gap)
        if dtypes.is_complex(a.dtype):
            left = add(left, div(imaginary(diagonal_part(inner)), sj))
        t_u, t_vh = dot(u, left), dot(v, right)
        if m > n:
            t_u = add(t_u, div(sub(t_v, dot(u, inner)), rows(wide, u)))
        if n > m:
            t_vh = add(t_vh, div(sub(dot(adjoint(t), u), dot(v, inner_h)), rows(wide, v)))
        return [s, u, vh], [t_s, t_u, adjoint(t_vh)]


def svd(
    x: ArrayLike,
    *,
    full_matrices: bool = True,
    compute_uv: bool = True,
    subset_by_index: tuple[int, int] | None = None,
) -> Array | tuple[Array, Array, Array]:
    """The singular value decomposition x = u diag(s) vh, as (u, s, vh); s alone unless compute_uv.

    subset_by_index: give the singular values, and vectors, from the first of these indices up to
        the second, which it excludes; not with full_matrices.
    Shapes: (..., m, n) -> u (..., m, k), s (..., k), vh (..., k, n) with k = min(m, n), or the size
        of the subset; with full_matrices u is (..., m, m) and vh (..., n, n). s is descending.
    Dtypes: float32, float64, complex64 or complex128; s is real.
    Derivatives of vectors need distinct singular values, none of them 0 unless `x` is real and
    square, and full_matrices only for square `x`. Raises: ShapeError, DtypeError, OptionError.
    """
    outs = Svd(compute_uv, full_matrices).bind(x)
    if subset_by_index is not None:
        if compute_uv and full_matrices:
            raise OptionError(
                "svd: subset_by_index goes without the completed vectors, "
                f"got {subset_by_index}; pass full_matrices=False"
            )
        outs = _subset("svd", subset_by_index, *zip(outs, (-1, -1, -2), strict=False))
    return (outs[1], outs[0], outs[2]) if compute_uv else outs[0]


@final
@primitive("qr")
class Qr(OfMatrices):
    """Orthonormal columns q and an upper triangle r with a = q r; the diagonal of r is real.

    q has min(m, n) columns, or m of them with full_matrices.
    """

    full_matrices: bool

    multiple_results = True

    def abstract(self, a: ShapedArray) -> list[ShapedArray]:
        batch, m, n = check_matrix("qr", a)
        k = m if self.full_matrices else min(m, n)
        return [ShapedArray((*batch, m, k), a.dtype), ShapedArray((*batch, k, n), a.dtype)]

    def evaluate(self, xp: Any, a: Any) -> Any:
        q, r = xp.linalg.qr(a, mode="complete" if self.full_matrices else "reduced")
        return [q, r]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # The first k columns of a = q r, with square r: a' r^-1 = q' + q r' r^-1. Let C be the left
        # side. In q^H C = q^H q' + r' r^-1 the first term W is skew-Hermitian, the second upper
        # triangular with a real diagonal: W has the strict lower triangle of q^H C, and the
        # imaginary part of its diagonal. Then q' = C - q (q^H C - W), and r' = q^H a' - W r for
        # all columns (Walter and Lehmann, section 4.1).
        (a,), (t,) = primals, tangents
        m, n = a.shape[-2:]
        if self.full_matrices and m > n:
            _refuse_complement("qr", a)
        q, r = self.bind(a)
        k, last = min(m, n), a.ndim - 1
        first_r, first_t = (slice_in_dim(x, 0, k, axis=last) for x in (r, t))
        c = triangular_solve(first_r, first_t)
        inner = dot(adjoint(q), c)
        low = lower_triangle(inner, strict=True)
        turn = sub(low, adjoint(low))
        if dtypes.is_complex(a.dtype):
            turn = add(turn, imaginary(diagonal_part(inner)))
        t_q = sub(c, dot(q, sub(inner, turn)))
        t_r = upper_triangle(sub(dot(adjoint(q), t), dot(turn, r)))
        return [q, r], [t_q, t_r]


def qr(x: ArrayLike, *, full_matrices: bool = True) -> tuple[Array, Array]:
    """The decomposition x = q r into orthonormal columns and an upper triangle.

    Shapes: (..., m, n) -> q (..., m, k), r (..., k, n) with k = min(m, n), or k = m with
        full_matrices.
    Dtypes: float32, float64, complex64 or complex128.
    Derivatives need independent first k columns, and no full_matrices when m > n.
    Raises: ShapeError, DtypeError.
    """
    q, r = Qr(full_matrices).bind(x)
    return q, r

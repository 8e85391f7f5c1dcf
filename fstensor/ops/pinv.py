"""The pseudo-inverse of matrices.

Source: G. Golub and V. Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares
problems whose variables separate" (1973), equation 4.12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Value, primitive
from fstensor.errors import DtypeError, ShapeError
from fstensor.ops.elementwise import add, sub
from fstensor.ops.linalg import LAPACK, OfMatrices, adjoint, check_square, dot, hermitian_from


@final
@primitive("pinv")
class Pinv(OfMatrices):
    """The pseudo-inverse p of a: singular values up to rtol times the largest are taken as 0.

    Of hermitian matrices the lower triangle is read. The derivative holds where the rank stays.
    """

    hermitian: bool

    def abstract(self, a: ShapedArray, rtol: ShapedArray) -> ShapedArray:
        LAPACK.check("pinv", a)
        if a.ndim < 2:
            raise ShapeError(f"pinv: takes matrices (..., m, n), got {a}")
        if self.hermitian:
            check_square("pinv", a)
        if rtol.shape != a.shape[:-2]:
            raise ShapeError(f"pinv: there must be one rtol for each matrix, got {rtol} for {a}")
        if rtol.dtype != dtypes.to_real(a.dtype):
            raise DtypeError(f"pinv: rtol must be real and as precise as a, got {rtol} for {a}")
        return ShapedArray((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)

    def evaluate(self, xp: Any, a: Any, rtol: Any) -> Any:
        m, n = a.shape[-2:]
        if not m or not n:
            return xp.zeros((*a.shape[:-2], n, m), a.dtype)
        if self.hermitian:
            values, u = xp.linalg.eigh(a)
            v = u
        else:
            u, values, vh = xp.linalg.svd(a, full_matrices=False)
            v = vh.swapaxes(-1, -2).conj()
        size = xp.abs(values)
        kept = size > rtol[..., None] * size.max(-1, keepdims=True)
        inverse = xp.where(kept, 1 / xp.where(kept, values, 1), 0)
        # A NaN is larger than nothing, and would be dropped.
        inverse = xp.where(xp.isnan(values), np.nan, inverse).astype(size.dtype, copy=False)
        return xp.matmul(v * inverse[..., None, :], u.swapaxes(-1, -2).conj())

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # The projections onto the ranges of a and p turn with a:
        #   p' = -p a' p + p p^H a'^H (1 - a p) + (1 - p a) a'^H p^H p.
        # Which singular values are kept jumps with rtol, and has no derivative.
        (a, rtol), (t, _) = primals, tangents
        p = self.bind(a, rtol)
        if t is ZERO:
            return p, ZERO
        if self.hermitian:
            a, t = hermitian_from(a, lower=True), hermitian_from(t, lower=True)
        p_h, t_h = adjoint(p), adjoint(t)
        left, right = dot(p, p_h, t_h), dot(t_h, p_h, p)
        tangent = sub(left, dot(left, a, p))
        tangent = add(tangent, sub(right, dot(p, a, right)))
        return p, sub(tangent, dot(p, t, p))


def pinv(a: ArrayLike, rtol: ArrayLike, *, hermitian: bool = False) -> Array:
    """The pseudo-inverses of matrices.

    rtol: singular values up to this part of the largest one are taken as 0; one for each matrix.
    hermitian: whether the matrices are Hermitian; their lower triangle alone is read.
    Shapes: a (..., m, n), rtol (...) -> (..., n, m).
    Dtypes: float32, float64, complex64 or complex128; rtol is real.
    Derivatives of any order hold where the rank stays the same, also for equal singular values.
    Raises: ShapeError, DtypeError.
    """
    return Pinv(hermitian).bind(a, rtol)

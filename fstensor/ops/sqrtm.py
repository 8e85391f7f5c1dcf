"""The square root of Hermitian matrices, and the equation that its derivative solves.

Source: N. Higham, "Functions of Matrices" (2008), sections 6.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor.array import Array, ArrayLike
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Value, primitive
from fstensor.errors import ShapeError
from fstensor.ops.elementwise import add, neg, sub
from fstensor.ops.families import check_same_dtype
from fstensor.ops.linalg import OfMatrices, check_square, dot, hermitian_from, matrix_transpose


@final
@primitive("sqrtm")
class Sqrtm(OfMatrices):
    """The positive semidefinite s with s s = a, of such a, whose lower triangle is read.

    s is NaN where a has a negative eigenvalue.
    """

    def abstract(self, a: ShapedArray) -> ShapedArray:
        check_square("sqrtm", a)
        return ShapedArray(a.shape, a.dtype)

    def evaluate(self, xp: Any, a: Any) -> Any:
        n = a.shape[-1]
        if not n:
            return xp.zeros(a.shape, a.dtype)
        values, vectors = xp.linalg.eigh(a)
        # Zero eigenvalues are computed up to rounding in the largest one.
        rounding = n * np.finfo(values.dtype).eps * xp.abs(values).max(-1, keepdims=True)
        roots = xp.sqrt(xp.where(xp.abs(values) <= rounding, 0, values))
        return xp.matmul(vectors * roots[..., None, :], vectors.swapaxes(-1, -2).conj())

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # s s = a  =>  s s' + s' s = a'.
        (a,), (t,) = primals, tangents
        s = self.bind(a)
        return s, SquareRootTangent().bind(s, hermitian_from(t, lower=True))


@final
@primitive("sqrtm_tangent")
class SquareRootTangent(OfMatrices):
    """The solution x of s x + x s = b for positive definite s, whose lower triangle is read.

    It is linear in b. Entries that s leaves open, where it is singular, are NaN.
    """

    def abstract(self, s: ShapedArray, b: ShapedArray) -> ShapedArray:
        check_square("sqrtm_tangent", s)
        check_same_dtype("sqrtm_tangent", (s, b))
        if s.shape != b.shape:
            raise ShapeError(f"sqrtm_tangent: shapes must be equal, got {s} and {b}")
        return ShapedArray(b.shape, b.dtype)

    def evaluate(self, xp: Any, s: Any, b: Any) -> Any:
        # In the basis of the eigenvectors of s the equation is (w[i] + w[j]) x[i,j] = b[i,j].
        values, v = xp.linalg.eigh(s)
        v_h = v.swapaxes(-1, -2).conj()
        inner = xp.matmul(xp.matmul(v_h, b), v)
        inner = inner / (values[..., :, None] + values[..., None, :])
        return xp.matmul(xp.matmul(v, inner), v_h)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # s x' + x' s = b' - s' x - x s', with the same left side: no eigenvalues are subtracted.
        (s, b), (ts, right) = primals, tangents
        x = self.bind(s, b)
        if ts is not ZERO:
            ts = hermitian_from(ts, lower=True)
            moved = add(dot(ts, x), dot(x, ts))
            right = neg(moved) if right is ZERO else sub(right, moved)
        return x, self.bind(s, right)

    def transpose(self, ct: Array, s: Value, b: Value) -> Sequence[Value]:
        return [None, self.bind(matrix_transpose(hermitian_from(s, lower=True)), ct)]


def sqrtm(a: ArrayLike) -> Array:
    """The positive semidefinite square roots of positive semidefinite Hermitian matrices.

    Shapes: (..., n, n), of which the lower triangle is read.
    Dtypes: float32, float64, complex64 or complex128.
    NaN where an eigenvalue is negative by more than rounding. Derivatives need positive ones,
    which may be equal. Raises: ShapeError, DtypeError.
    """
    return Sqrtm().bind(a)

"""The exponential of matrices, and its derivative.

Sources: N. Higham, "The scaling and squaring method for the matrix exponential revisited" (2005);
A. Al-Mohy and N. Higham, "Computing the Frechet derivative of the matrix exponential, with an
application to condition number estimation" (2009), whose equation 1.3 is used throughout:

    exp([[a, e], [0, a]]) = [[exp(a), L(a, e)], [0, exp(a)]].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from fstensor.array import Array, ArrayLike
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Value, primitive
from fstensor.errors import ShapeError
from fstensor.ops.arrange import concatenate
from fstensor.ops.elementwise import add_any
from fstensor.ops.families import check_same_dtype
from fstensor.ops.index import slice_in_dim
from fstensor.ops.linalg import OfMatrices, check_square, matrix_transpose
from fstensor.ops.shape import full

# The coefficients of the numerator of the [13/13] Pade approximant to exp, from the constant on.
# The denominator is the numerator at -x. It is accurate for norms up to the limit (Higham's theta
# in table 2.3), and larger matrices are halved until they are below it.
_PADE = (
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
)
LIMIT = 5.371920351148152


def _exponential(xp: Any, a: Any) -> Any:
    # Norms that are not finite are of matrices whose exponentials are NaN; nothing is halved.
    norm = _norm(xp, a)
    halvings = xp.ceil(xp.log2(xp.maximum(xp.where(xp.isfinite(norm), norm, 1), LIMIT) / LIMIT))
    a = a * xp.exp2(-halvings)[..., None, None].astype(a.dtype)
    out = _pade(xp, a)
    for i in range(int(float(halvings.max())) if halvings.size else 0):
        squared = xp.matmul(out, out)
        out = xp.where((halvings > i)[..., None, None], squared, out)
    return out


def _norm(xp: Any, a: Any) -> Any:
    """The largest sum of moduli over a column, of each matrix."""
    if not a.shape[-1]:
        return xp.zeros(a.shape[:-2], xp.abs(a).dtype)
    return xp.abs(a).sum(-2).max(-1)


def _pade(xp: Any, a: Any) -> Any:
    c = _PADE
    one = xp.eye(a.shape[-1], dtype=a.dtype)
    a2 = xp.matmul(a, a)
    a4 = xp.matmul(a2, a2)
    a6 = xp.matmul(a4, a2)
    high = xp.matmul(a6, a6 * c[13] + a4 * c[11] + a2 * c[9])
    odd = xp.matmul(a, high + a6 * c[7] + a4 * c[5] + a2 * c[3] + one * c[1])
    high = xp.matmul(a6, a6 * c[12] + a4 * c[10] + a2 * c[8])
    even = high + a6 * c[6] + a4 * c[4] + a2 * c[2] + one * c[0]
    return xp.linalg.solve(even - odd, even + odd)


def _blocks(xp: Any, a: Any, e: Any) -> Any:
    """The matrices [[a, e], [0, a]], as buffers."""
    upper = xp.concatenate([a, e], -1)
    return xp.concatenate([upper, xp.concatenate([xp.zeros_like(a), a], -1)], -2)


@final
@primitive("expm")
class Expm(OfMatrices):
    """The exponential of square matrices, the sum of a^k / k! over k."""

    def abstract(self, a: ShapedArray) -> ShapedArray:
        check_square("expm", a)
        return ShapedArray(a.shape, a.dtype)

    def evaluate(self, xp: Any, a: Any) -> Any:
        return _exponential(xp, a)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        (a,), (t,) = primals, tangents
        return self.bind(a), ExpmFrechet().bind(a, t)


@final
@primitive("expm_frechet")
class ExpmFrechet(OfMatrices):
    """The derivative L(a, e) of the exponential at `a` in the direction `e`, in which it is linear.

    L(a, e) is the integral of exp((1 - s) a) e exp(s a) over s from 0 to 1.
    """

    def abstract(self, a: ShapedArray, e: ShapedArray) -> ShapedArray:
        check_square("expm_frechet", a)
        check_same_dtype("expm_frechet", (a, e))
        if a.shape != e.shape:
            raise ShapeError(f"expm_frechet: shapes must be equal, got {a} and {e}")
        return ShapedArray(a.shape, a.dtype)

    def evaluate(self, xp: Any, a: Any, e: Any) -> Any:
        # A direction of norm 1, so that its length does not make the blocks be halved too often.
        n = a.shape[-1]
        length = _norm(xp, e)
        length = xp.where((length > 0) & xp.isfinite(length), length, 1)[..., None, None]
        out = _exponential(xp, _blocks(xp, a, e / length.astype(e.dtype)))
        return out[..., :n, n:] * length.astype(e.dtype)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # L is linear in e. In a: the blocks [[a, e], [0, a]] move by [[f, 0], [0, f]], so that the
        # block of their exponential which is L(a, e) moves by that block of its derivative.
        (a, e), (f, te) = primals, tangents
        out = self.bind(a, e)
        total = ZERO if te is ZERO else self.bind(a, te)
        if f is not ZERO:
            n, zero = a.shape[-1], full(a.shape, 0, a.dtype)
            moved = self.bind(_of_blocks(a, e, zero), _of_blocks(f, zero, zero))
            block = slice_in_dim(slice_in_dim(moved, 0, n, axis=-2), n, 2 * n, axis=-1)
            total = block if total is ZERO else add_any(total, block)
        return out, total

    def transpose(self, ct: Array, a: Value, e: Value) -> Sequence[Value]:
        # In the integral, the transpose of e -> x e y is ct -> x^T ct y^T.
        return [None, self.bind(matrix_transpose(a), ct)]


def _of_blocks(middle: Array, right: Array, zero: Array) -> Array:
    """The matrices [[middle, right], [0, middle]]."""
    last = middle.ndim - 1
    upper = concatenate([middle, right], last)
    return concatenate([upper, concatenate([zero, middle], last)], last - 1)


def expm(a: ArrayLike) -> Array:
    """The exponential of square matrices.

    Shapes: (..., n, n). Dtypes: float32, float64, complex64 or complex128.
    Matrices with infinities or NaN give NaN. Raises: ShapeError, DtypeError.
    """
    return Expm().bind(a)


def expm_frechet(a: ArrayLike, e: ArrayLike) -> Array:
    """The derivative of `expm` at `a` in the direction `e`.

    Shapes: (..., n, n), equal. Dtypes: as in `expm`, one for both.
    Raises: ShapeError, DtypeError.
    """
    return ExpmFrechet().bind(a, e)

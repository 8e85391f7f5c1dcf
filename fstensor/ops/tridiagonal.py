"""Tridiagonal linear systems, of stacks of matrices.

Gaussian elimination with partial pivoting in a time proportional to the number of unknowns
(G. Golub and C. Van Loan, "Matrix Computations", 4.3.4): stable for every matrix, where
elimination without pivots needs a dominant diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor.array import Array, ArrayLike
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, Value, primitive
from fstensor.errors import ShapeError
from fstensor.ops.elementwise import add_any, mul, neg
from fstensor.ops.families import check_same_dtype
from fstensor.ops.index import pad
from fstensor.ops.linalg import LAPACK, OfMatrices, columns


@final
@primitive("tridiagonal_solve")
class TridiagonalSolve(OfMatrices):
    """x with a x = b, of matrices with diagonals d, du above it and dl below it.

    Like du and d, dl has one element for each row; the first of dl and the last of du are not read.
    """

    def abstract(
        self, dl: ShapedArray, d: ShapedArray, du: ShapedArray, b: ShapedArray
    ) -> ShapedArray:
        what = "tridiagonal_solve"
        LAPACK.check(what, dl, d, du, b)
        check_same_dtype(what, (dl, d, du, b))
        if not d.ndim or dl.shape != d.shape or du.shape != d.shape:
            raise ShapeError(
                f"{what}: diagonals must be vectors (..., m) of one shape, got {dl}, {d} and {du}"
            )
        if b.shape[:-1] != d.shape:
            raise ShapeError(
                f"{what}: b must be (..., m, n) with diagonals (..., m), got {b} and {d}"
            )
        return b.update(weak_type=False)

    def evaluate(self, xp: Any, dl: Any, d: Any, du: Any, b: Any) -> Any:
        solved = _by_lapack(dl, d, du, b) if xp is np else None
        return _eliminate(xp, dl, d, du, b) if solved is None else solved

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # a x = b  =>  x' = a^-1 (b' - a' x), and row i of a' x is
        # dl'[i] x[i-1] + d'[i] x[i] + du'[i] x[i+1].
        dl, d, du, b = primals
        t_b = tangents[3]
        x = self.bind(dl, d, du, b)
        right: Value = t_b
        for offset, t in zip((1, 0, -1), tangents[:3], strict=True):
            if t is not ZERO:
                moved = neg(mul(columns(t, x), _shifted(x, offset, x.ndim - 2)))
                right = moved if right is ZERO else add_any(right, moved)
        return x, self.bind(dl, d, du, right)

    def transpose(self, ct: Array, dl: Array, d: Array, du: Array, b: Linear) -> Sequence[Value]:
        last = d.ndim - 1
        below, above = _shifted(du, 1, last), _shifted(dl, -1, last)
        return [None, None, None, self.bind(below, d, above, ct)]


def _shifted(x: Array, offset: int, axis: int) -> Array:
    """The element at i - offset in the place of that at i; zeros come in from outside."""
    if not offset:
        return x
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (offset, -offset, 0)
    return pad(x, 0.0, config)


def _by_lapack(dl: Any, d: Any, du: Any, b: Any) -> Any:
    """The solution by LAPACK; None where SciPy is not installed or a result is not finite.

    A stack is one long system whose blocks nothing couples, but for what is not finite: that would
    spread from one to the others.
    """
    try:
        from scipy.linalg.lapack import get_lapack_funcs
    except ImportError:
        return None
    if d.size < 2 or not b.size:
        return None
    below, above = dl.copy(), du.copy()
    below[..., 0] = above[..., -1] = 0
    (solve,) = get_lapack_funcs(("gtsv",), (d, b))
    right = b.reshape(d.size, b.shape[-1])
    *_, x, singular = solve(below.ravel()[1:], d.ravel(), above.ravel()[:-1], right)
    return None if singular or not np.isfinite(x).all() else x.reshape(b.shape)


def _eliminate(xp: Any, dl: Any, d: Any, du: Any, b: Any) -> Any:
    """Row by row, each for the whole stack at once."""
    *batch, m, n = b.shape
    # A row is [its elements left of, on and right of the diagonal, right sides].
    rows = xp.empty((m, *batch, 3 + n), b.dtype)
    for i, part in enumerate((dl, d, du)):
        rows[..., i] = xp.moveaxis(part, -1, 0)
    rows[..., 3:] = xp.moveaxis(b, -2, 0)
    rows[:1, ..., 0] = 0
    rows[-1:, ..., 2] = 0
    # The current row, which starts at the diagonal from here on, against the next one, which
    # starts there too: the one with the larger first element is kept and clears the other.
    rows[:1, ..., :2] = rows[:1, ..., 1:3]
    rows[:1, ..., 2] = 0
    for i in range(m - 1):
        current, following = rows[i], rows[i + 1]
        swap = xp.abs(current[..., :1]) < xp.abs(following[..., :1])
        kept, other = xp.where(swap, following, current), xp.where(swap, current, following)
        rest = other - other[..., :1] / kept[..., :1] * kept
        rows[i] = kept
        following[..., :2] = rest[..., 1:3]
        following[..., 2] = 0
        following[..., 3:] = rest[..., 3:]
    x = xp.empty((m, *batch, n), b.dtype)
    for i in range(m - 1, -1, -1):
        right = rows[i, ..., 3:]
        if i + 1 < m:
            right = right - rows[i, ..., 1:2] * x[i + 1]
        if i + 2 < m:
            right = right - rows[i, ..., 2:3] * x[i + 2]
        x[i] = right / rows[i, ..., :1]
    return xp.moveaxis(x, 0, -2)


def tridiagonal_solve(dl: ArrayLike, d: ArrayLike, du: ArrayLike, b: ArrayLike) -> Array:
    """The solution x of a x = b, with a[i, i-1] = dl[i], a[i, i] = d[i] and a[i, i+1] = du[i].

    The first element of dl and the last of du are not read.
    Shapes: dl, d and du (..., m), b (..., m, n) -> (..., m, n).
    Dtypes: float32, float64, complex64 or complex128, one for all.
    Rows are swapped as stability asks. Singular matrices give infinities or NaN. Where SciPy is
    installed its LAPACK solves on the CPU; else each row takes a few calls of the array module.
    Raises: ShapeError, DtypeError.
    """
    return TridiagonalSolve().bind(dl, d, du, b)

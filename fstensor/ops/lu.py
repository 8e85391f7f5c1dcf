"""The LU decomposition with partial pivoting, of stacks of matrices.

NumPy and CuPy have none to offer, so the elimination is written here: column by column inside of
blocks, each column for the whole stack at once, and a product of matrices for what lies behind a
block (G. Golub and C. Van Loan, "Matrix Computations", 3.2.11 and 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor.array import Array, ArrayLike
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, MappedAxis, Primitive, Value, primitive
from fstensor.errors import DtypeError, ShapeError
from fstensor.ops.elementwise import add, sub
from fstensor.ops.gather import Gather, GatherDimensionNumbers, GatherScatterMode
from fstensor.ops.index import batch_first, pad, slice_in_dim
from fstensor.ops.linalg import (
    BLOCK,
    OfMatrices,
    check_matrix,
    dot,
    forward_substitution,
    lower_triangle,
    triangular_solve,
    upper_triangle,
)
from fstensor.ops.shape import expand_dims


@final
@primitive("lu")
class Lu(OfMatrices):
    """The factors l and u of a[permutation] = l u in one matrix, pivots, and the permutation.

    l has ones on the diagonal, which are left out.
    """

    multiple_results = True

    def abstract(self, a: ShapedArray) -> list[ShapedArray]:
        batch, m, n = check_matrix("lu", a)
        pivots = ShapedArray((*batch, min(m, n)), np.dtype(np.int32))
        return [a.update(weak_type=False), pivots, ShapedArray((*batch, m), pivots.dtype)]

    def evaluate(self, xp: Any, a: Any) -> Any:
        *batch, m, n = a.shape
        count = int(np.prod(batch))
        factors = xp.array(a.reshape(count, m, n), order="C")
        pivots = xp.empty((count, min(m, n)), np.int32)
        for start in range(0, min(m, n), BLOCK):
            end = min(start + BLOCK, m, n)
            _eliminate(xp, factors, pivots, start, end)
            right, below = factors[:, start:end, end:], factors[:, end:, start:end]
            if end < n:
                right[...] = forward_substitution(xp, factors[:, start:end, start:end], right, True)
                factors[:, end:, end:] -= xp.matmul(below, right)
        permutation = _apply_swaps(xp, pivots, m)
        return [x.reshape(*batch, *x.shape[1:]) for x in (factors, pivots, permutation)]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # With b = a[permutation] = l u:  b' = l' u + l u', so that l^-1 b' = M u + u' with
        # M = l^-1 l'. In the first k = min(m, n) columns, where u is square,
        # l^-1 b' u^-1 = M + u' u^-1: the first term is strictly lower triangular, the second upper.
        # So M is the strict lower triangle, l' = l M, and u' = l^-1 b' - M u. When m > n, l is
        # completed to a square by columns of the identity.
        (a,), (t,) = primals, tangents
        factors, pivots, permutation = self.bind(a)
        m, n = a.shape[-2:]
        k = min(m, n)
        u = upper_triangle(_first(factors, k, -2))
        low = _extended(_first(factors, k, -1), -1, m)
        reduced = triangular_solve(
            low, _permuted(t, permutation), left_side=True, lower=True, unit_diagonal=True
        )
        moved = lower_triangle(
            triangular_solve(_first(u, k, -1), _first(reduced, k, -1)), strict=True
        )
        t_low = add(moved, dot(lower_triangle(low, strict=True), moved))
        t_up = upper_triangle(sub(_first(reduced, k, -2), dot(_first(moved, k, -2), u)))
        t_factors = add(_extended(t_low, -1, n), _extended(t_up, -2, m))
        return [factors, pivots, permutation], [t_factors, ZERO, ZERO]


def _eliminate(xp: Any, factors: Any, pivots: Any, start: int, end: int) -> None:
    """Factor the columns from `start` to `end`, in place, and swap whole rows as they need."""
    which = xp.arange(len(factors))
    for j in range(start, end):
        column = factors[:, j:, j]
        # As LAPACK measures complex numbers.
        size = xp.abs(column.real)
        if column.dtype.kind == "c":
            size = size + xp.abs(column.imag)
        chosen = j + xp.argmax(size, -1)
        pivots[:, j] = chosen
        held = factors[which, chosen]
        factors[which, chosen] = factors[:, j]
        factors[:, j] = held
        # A zero pivot has only zeros below it, which stay as they are.
        pivot = factors[:, j, j]
        below = factors[:, j + 1 :, j]
        below /= xp.where(pivot == 0, pivot.dtype.type(1), pivot)[:, None]
        factors[:, j + 1 :, j + 1 : end] -= below[:, :, None] * factors[:, j, None, j + 1 : end]


def _apply_swaps(xp: Any, pivots: Any, size: int) -> Any:
    """The order of rows, (count, size), after each row j was swapped with row pivots[j]."""
    count, k = pivots.shape
    which = xp.arange(count)
    order = xp.repeat(xp.arange(size, dtype=np.int32)[None], count, 0)
    for j in range(k):
        held = order[which, pivots[:, j]]
        order[which, pivots[:, j]] = order[:, j]
        order[:, j] = held
    return order


def _first(x: Array, k: int, axis: int) -> Array:
    return slice_in_dim(x, 0, k, axis=axis)


def _extended(x: Array, axis: int, size: int) -> Array:
    """`x` with zeros at the end of an axis, up to `size`."""
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (0, size - x.shape[axis], 0)
    return pad(x, 0.0, config) if size != x.shape[axis] else x


def _permuted(x: Array, permutation: Array) -> Array:
    """The rows of matrices in the order of `permutation`."""
    axis = x.ndim - 2
    if not x.shape[axis]:
        return x
    batch = tuple(range(axis))
    numbers = GatherDimensionNumbers((axis + 1,), (axis,), (axis,), batch, batch)
    sizes = (*[min(1, n) for n in x.shape[:-1]], x.shape[-1])
    take = Gather(numbers, None, False, GatherScatterMode.PROMISE_IN_BOUNDS, sizes, True)
    return take.bind(x, expand_dims(permutation, (permutation.ndim,)))


def lu(x: ArrayLike) -> tuple[Array, Array, Array]:
    """The decomposition x[permutation] = l u with partial pivoting: (factors, pivots, permutation).

    The strict lower triangle of `factors` is that of l, whose diagonal is ones, and the upper
    triangle is u. Row j was swapped with row pivots[j], for ascending j.
    Shapes: (..., m, n) -> (..., m, n), (..., min(m, n)) and (..., m).
    Dtypes: float32, float64, complex64 or complex128; pivots and permutation are int32.
    Singular matrices are decomposed too, with zeros on the diagonal of u; derivatives need the
    first min(m, n) columns of u to be invertible.
    Raises: ShapeError, DtypeError.
    """
    factors, pivots, permutation = Lu().bind(x)
    return factors, pivots, permutation


@final
@primitive("lu_pivots_to_permutation")
class LuPivotsToPermutation(Primitive):
    """The order of rows after swaps: row j with row pivots[j], for ascending j."""

    permutation_size: int

    def abstract(self, pivots: ShapedArray) -> ShapedArray:
        what = "lu_pivots_to_permutation"
        if pivots.dtype != np.int32:
            raise DtypeError(f"{what}: pivots must be int32, got {pivots}; convert with astype")
        if not pivots.ndim or pivots.shape[-1] > self.permutation_size:
            raise ShapeError(
                f"{what}: the last axis of pivots must have at most permutation_size = "
                f"{self.permutation_size} elements, got {pivots}"
            )
        return ShapedArray((*pivots.shape[:-1], self.permutation_size), pivots.dtype)

    def impl(self, xp: Any, pivots: Any) -> Any:
        *batch, k = pivots.shape
        order = _apply_swaps(xp, pivots.reshape(int(np.prod(batch)), k), self.permutation_size)
        return order.reshape(*batch, self.permutation_size)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), ZERO

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        return self.bind(batch_first(args[0], dims[0], axis.size)), 0


def lu_pivots_to_permutation(pivots: ArrayLike, permutation_size: int) -> Array:
    """The permutation of rows that the pivots of `lu` stand for.

    Shapes: (..., k) with k <= permutation_size -> (..., permutation_size). Dtypes: int32.
    The pivots must lie in [0, permutation_size). Raises: ShapeError, DtypeError.
    """
    return LuPivotsToPermutation(permutation_size).bind(pivots)

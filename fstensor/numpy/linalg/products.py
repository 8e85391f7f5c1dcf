"""Products of vectors and matrices, diagonals, powers.

Some of these names are in `fstensor.numpy` too. Here they are the array API standard's: matrices
are the last two axes, vectors the last one.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence

from fstensor.array import Array, ArrayLike, DtypeLike
from fstensor.errors import ShapeError
from fstensor.numpy import linear
from fstensor.numpy.creation import eye
from fstensor.numpy.linalg.systems import inv
from fstensor.numpy.promote import owned, promote_dtypes, repeated
from fstensor.numpy.shape import expand_dims, squeeze
from fstensor.numpy.shape import matrix_transpose as transposed
from fstensor.ops import linalg
from fstensor.ops.precision import PrecisionLike, check_precision


def matmul(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Matrix product, as `fstensor.numpy.matmul`."""
    return linear.matmul(x1, x2, precision=precision, preferred_element_type=preferred_element_type)


def vecdot(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    *,
    axis: int = -1,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Sums of products along `axis`, the first operand conjugated, as `fstensor.numpy.vecdot`."""
    return linear.vecdot(
        x1, x2, axis=axis, precision=precision, preferred_element_type=preferred_element_type
    )


def tensordot(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    *,
    axes: int | Sequence[int] | Sequence[Sequence[int]] = 2,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Sums of products over pairs of axes, as `fstensor.numpy.tensordot`."""
    return linear.tensordot(
        x1, x2, axes, precision=precision, preferred_element_type=preferred_element_type
    )


def outer(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """Products of all pairs of elements of two vectors: (m,), (n,) -> (m, n).

    Raises: ShapeError for other ranks.
    """
    x, y = owned(x1, "outer"), owned(x2, "outer")
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(
            f"outer: takes vectors, got {x.aval} and {y.aval}; fstensor.numpy.outer makes them flat"
        )
    return linear.outer(x, y)


def cross(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Array:
    """Cross products of vectors of 3 components along `axis`; other axes broadcast.

    Raises: ShapeError for another number of components, AxisError.
    """
    x, y = owned(x1, "cross"), owned(x2, "cross")
    for z in (x, y):
        if z.ndim and z.shape[axis if -z.ndim <= axis < z.ndim else 0] != 3:
            raise ShapeError(f"cross: vectors must have 3 components, got {x.aval} and {y.aval}")
    return linear.cross(x, y, axis=axis)


def matrix_transpose(x: ArrayLike, /) -> Array:
    """Matrices with rows and columns exchanged: (..., m, n) -> (..., n, m)."""
    return transposed(x)


def diagonal(x: ArrayLike, /, *, offset: int = 0) -> Array:
    """The diagonals of matrices; `offset` counts upwards.

    Shapes: (..., m, n) -> (..., k). Raises: ShapeError below rank 2.
    """
    return linear.diagonal(x, offset, -2, -1)


def trace(x: ArrayLike, /, *, offset: int = 0, dtype: DtypeLike = None) -> Array:
    """The sums of the diagonals of matrices: (..., m, n) -> (...).

    dtype: of the result, in which sums are made. Raises: ShapeError below rank 2.
    """
    return linear.trace(x, offset, -2, -1, dtype)


def matrix_power(a: ArrayLike, n: int) -> Array:
    """The n-th power of square matrices: of their inverses for negative `n`.

    n: a Python integer. Shapes: (..., k, k).
    Dtypes: as given; floats or complex numbers for negative n.
    Raises: ShapeError; DtypeError for a negative n and a precision that LAPACK lacks.
    """
    x = owned(a, "matrix_power")
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power: takes square matrices (..., n, n), got {x.aval}")
    n = operator.index(n)
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        return repeated(eye(x.shape[-1], dtype=x.dtype), x.shape)
    # By the binary digits of n, from the lowest.
    out: Array | None = None
    while True:
        if n % 2:
            out = x if out is None else linear.matmul(out, x)
        n //= 2
        if not n:
            assert out is not None
            return out
        x = linear.matmul(x, x)


def multi_dot(arrays: Sequence[ArrayLike], *, precision: PrecisionLike = None) -> Array:
    """The product of several matrices, in the order that takes the fewest multiplications.

    Shapes: (m, k), (k, l), ..., (p, n) -> (m, n). The first may be a row, the last a column, and
    their axes are dropped from the result.
    precision: a lower bound on the accuracy, which all results exceed.
    Raises: ShapeError for fewer than two, other ranks, or sizes that do not fit; OptionError for
        another precision.
    """
    check_precision("multi_dot", precision)
    if len(arrays) < 2:
        raise ShapeError(f"multi_dot: takes at least two arrays, got {len(arrays)}")
    factors = promote_dtypes("multi_dot", *[owned(x, "multi_dot") for x in arrays])
    row, column = factors[0].ndim == 1, factors[-1].ndim == 1
    if row:
        factors[0] = expand_dims(factors[0], 0)
    if column:
        factors[-1] = expand_dims(factors[-1], 1)
    for x in factors:
        if x.ndim != 2:
            raise ShapeError(
                "multi_dot: takes matrices, and vectors as the first and the last, got "
                + ", ".join(str(f.aval) for f in factors)
            )
    for x, y in itertools.pairwise(factors):
        if x.shape[1] != y.shape[0]:
            raise ShapeError(
                f"multi_dot: inner sizes must match, got {x.aval} and {y.aval} "
                f"({x.shape[1]} != {y.shape[0]})"
            )
    splits = _cheapest_splits([factors[0].shape[0], *[x.shape[1] for x in factors]])

    def product(first: int, last: int) -> Array:
        if first == last:
            return factors[first]
        middle = splits[first, last]
        return linalg.dot(product(first, middle), product(middle + 1, last))

    out = product(0, len(factors) - 1)
    dropped = [i for i, drop in enumerate((row, column)) if drop]
    return squeeze(out, tuple(dropped)) if dropped else out


def _cheapest_splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """For each run of factors, first to last, the last factor of its left part.

    Factor i has sizes[i] rows and sizes[i + 1] columns. By dynamic programming over longer and
    longer runs (Cormen et al., "Introduction to Algorithms", section 15.2).
    """
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    splits: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for first in range(count - length):
            last = first + length
            ends = sizes[first] * sizes[last + 1]
            options = {
                middle: cost[first, middle] + cost[middle + 1, last] + ends * sizes[middle + 1]
                for middle in range(first, last)
            }
            splits[first, last] = min(options, key=options.__getitem__)
            cost[first, last] = options[splits[first, last]]
    return splits

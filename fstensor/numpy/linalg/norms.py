"""Norms of vectors and matrices, and condition numbers.

Where a norm has a kink, at 0 or at ties, its gradient is one of its subgradients: 0 for the root of
a sum that is 0, where JAX gives NaN; at ties the mean over them.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, Axis, normalize_axes
from fstensor.errors import OptionError, ShapeError
from fstensor.numpy.arithmetic import power
from fstensor.numpy.linalg.operands import largest, matrices, singular_values
from fstensor.numpy.linalg.systems import inv
from fstensor.numpy.promote import constant, converted, inexact, owned, select
from fstensor.numpy.reductions import any as any_of
from fstensor.numpy.reductions import max as maximum_of
from fstensor.numpy.reductions import min as minimum_of
from fstensor.numpy.reductions import sum as sum_of
from fstensor.numpy.shape import moveaxis

Order: TypeAlias = float | str | None


def norm(x: ArrayLike, ord: Order = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """The norm of vectors along one axis, or of matrices along two.

    ord: for vectors, inf and -inf for the largest and the smallest modulus, 0 for the number of
        elements that are not 0, p for (sum |x|^p)^(1/p), by default 2. For matrices, "fro" for the
        root of the sum of squares, the default; "nuc" for the sum of the singular values, 2 and -2
        for the largest and the smallest of them; 1 and -1 for the largest and the smallest sum of
        moduli over a column, inf and -inf over a row.
    axis: one or two; all by default, which without `ord` may be any number.
    Dtypes: real, as precise as `x`.
    The gradient at 0 is 0 for 2, "fro" and each p > 1. Raises: OptionError, ShapeError, AxisError.
    """
    x = inexact("norm", owned(x, "norm"))
    if axis is None:
        axes = tuple(range(x.ndim))
        if ord is None:
            return _of_vectors("norm", x, 2, axes, keepdims)
    else:
        axes = normalize_axes(axis, x.ndim, "norm")
    if len(axes) == 1:
        return _of_vectors("norm", x, 2 if ord is None else ord, axes, keepdims)
    if len(axes) == 2:
        return _of_matrices("norm", x, "fro" if ord is None else ord, axes, keepdims)
    raise ShapeError(
        f"norm: of vectors or matrices, along one axis or two, got axes {axes} of {x.aval}; "
        "vector_norm takes any number"
    )


def vector_norm(
    x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2
) -> Array:
    """The norm of all elements along some axes, by default all; `ord` as in `norm` for vectors.

    Raises: OptionError, AxisError.
    """
    x = inexact("vector_norm", owned(x, "vector_norm"))
    axes = normalize_axes(axis, x.ndim, "vector_norm")
    return _of_vectors("vector_norm", x, ord, axes, keepdims)


def matrix_norm(x: ArrayLike, /, *, keepdims: bool = False, ord: float | str = "fro") -> Array:
    """The norm of matrices, (..., m, n) -> (...); `ord` as in `norm` for matrices.

    Raises: OptionError, ShapeError below rank 2.
    """
    x = inexact("matrix_norm", owned(x, "matrix_norm"))
    if x.ndim < 2:
        raise ShapeError(f"matrix_norm: takes matrices (..., m, n), got {x.aval}")
    return _of_matrices("matrix_norm", x, ord, (x.ndim - 2, x.ndim - 1), keepdims)


def _of_vectors(
    what: str, x: Array, ord: float | str, axes: tuple[int, ...], keepdims: bool
) -> Array:
    if isinstance(ord, str):
        raise OptionError(f"{what}: ord of vectors must be a number, inf or -inf, got {ord!r}")
    if ord == 2:
        return _root_of_sum(_squared(x), 2, axes, keepdims)
    size = lax.abs(x)
    if ord == math.inf:
        return largest(size, axes, keepdims)
    if ord == -math.inf:
        return minimum_of(size, axes, keepdims=keepdims)
    if ord == 0:
        return sum_of(
            converted(lax.ne(size, constant(0, size)), size.dtype), axes, None, None, keepdims
        )
    if ord == 1:
        return sum_of(size, axes, keepdims=keepdims)
    return _root_of_sum(power(size, ord), ord, axes, keepdims)


def _squared(x: Array) -> Array:
    """|x|^2, whose derivative at 0 is 0 for complex numbers too."""
    if dtypes.is_complex(x.dtype):
        return lax.add(lax.square(lax.real(x)), lax.square(lax.imag(x)))
    return lax.square(x)


def _root_of_sum(powers: Array, p: float, axes: tuple[int, ...], keepdims: bool) -> Array:
    """(sum of powers)^(1/p), with the derivative 0 where the sum is 0."""
    total = sum_of(powers, axes, keepdims=keepdims)
    zero, one = constant(0, total), constant(1, total)
    vanishes = lax.eq(total, zero)
    inside = select(vanishes, one, total)
    root = lax.sqrt(inside) if p == 2 else power(inside, 1 / p)
    return select(vanishes, zero if p > 0 else constant(math.inf, total), root)


def _of_matrices(
    what: str, x: Array, ord: float | str, axes: tuple[int, ...], keepdims: bool
) -> Array:
    if ord in ("fro", "f"):
        return _root_of_sum(_squared(x), 2, axes, keepdims)
    row, column = axes
    if ord in (1, -1, math.inf, -math.inf):
        summed, other = (row, column) if abs(float(ord)) == 1 else (column, row)
        sums = sum_of(lax.abs(x), summed, keepdims=True)
        found = (
            largest(sums, (other,), True)
            if float(ord) > 0
            else minimum_of(sums, other, keepdims=True)
        )
        return found if keepdims else lax.squeeze(found, axes)
    if ord not in ("nuc", 2, -2):
        raise OptionError(
            f"{what}: ord of matrices must be one of 'fro', 'nuc', inf, -inf, 1, -1, 2 and -2, "
            f"got {ord!r}"
        )
    values = singular_values(matrices(what, moveaxis(x, axes, (-2, -1))))
    if ord == "nuc":
        found = sum_of(values, -1)
    else:
        found = largest(values, (values.ndim - 1,)) if ord == 2 else minimum_of(values, -1)
    return lax.expand_dims(found, axes) if keepdims else found


def cond(x: ArrayLike, p: Order = None) -> Array:
    """The condition numbers of matrices, (..., m, n) -> (...): the norm times that of the inverse.

    p: the `ord` of `norm` to take; 2 by default. With 2 and -2 the matrices need not be square.
    Singular matrices have the condition number inf.
    Raises: OptionError; ShapeError for matrices without elements, or not square; DtypeError.
    """
    y = matrices("cond", x, square=p not in (None, 2, -2))
    if not y.shape[-1] or not y.shape[-2]:
        raise ShapeError(f"cond: is not defined for matrices without elements, got {y.aval}")
    if p in (None, 2, -2):
        values = singular_values(y)
        first, last = maximum_of(values, -1), minimum_of(values, -1)
        found = lax.div(last, first) if p == -2 else lax.div(first, last)
    else:
        last_two = (y.ndim - 2, y.ndim - 1)
        found = lax.mul(
            _of_matrices("cond", y, p, last_two, False),
            _of_matrices("cond", inv(y), p, last_two, False),
        )
    # NaN that does not come from NaN comes from a singular matrix.
    of_numbers = lax.bitwise_not(any_of(lax.ne(y, y), (-2, -1)))
    singular = lax.bitwise_and(lax.ne(found, found), of_numbers)
    return select(singular, constant(math.inf, found), found)

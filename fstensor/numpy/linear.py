"""Products of vectors, matrices and tensors; diagonals and triangles.

`preferred_element_type` is the dtype of the result, in which sums are made. `precision` is a lower
bound on the accuracy, which all results exceed; see `fstensor.lax.Precision`. Of products, the
functions raise OptionError for another one.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, DtypeLike, normalize_axes, normalize_axis
from fstensor.errors import AxisError, ShapeError
from fstensor.numpy.promote import (
    constant,
    converted,
    equal_ranks,
    operand,
    owned,
    promote_dtypes,
    refuse_out,
    repeated,
    select,
    with_weakness,
)
from fstensor.numpy.reductions import sum
from fstensor.numpy.shape import broadcast_shapes, moveaxis
from fstensor.ops.dot import contraction
from fstensor.ops.precision import PrecisionLike, check_precision
from fstensor.transforms.replay import replayed

# Products


@replayed
def dot(
    a: ArrayLike,
    b: ArrayLike,
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Sums of products over the last axis of `a` and the last but one of `b`.

    A scalar multiplies.
    Shapes: a (..., k), b (..., k, n) or (k,) -> the other axes of a, then those of b.
    Raises: ShapeError when sizes differ.
    """
    check_precision("dot", precision)
    x, y = promote_dtypes("dot", a, b)
    if not x.ndim or not y.ndim:
        return _as(lax.mul(x, y), preferred_element_type)
    axis = 0 if y.ndim == 1 else y.ndim - 2
    _check_sizes("dot", x, x.ndim - 1, y, axis)
    return _contracted(x, y, ((x.ndim - 1,), (axis,)), ((), ()), preferred_element_type)


@replayed
def matmul(
    a: ArrayLike,
    b: ArrayLike,
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Matrix product.

    Shapes: a (..., m, k), b (..., k, n) -> (..., m, n); batch axes broadcast. A vector is a row
    on the left and a column on the right, and its axis is dropped from the result.
    Dtypes: any numeric; they promote.
    Raises: ShapeError when sizes differ, or for a scalar.
    """
    check_precision("matmul", precision)
    x, y = promote_dtypes("matmul", a, b)
    if not x.ndim or not y.ndim:
        raise ShapeError(f"matmul: takes at least 1 axis each, got {x.aval} and {y.aval}")
    x_vector, y_vector = x.ndim == 1, y.ndim == 1
    x_axis, y_axis = x.ndim - 1, 0 if y_vector else y.ndim - 2
    _check_sizes("matmul", x, x_axis, y, y_axis)
    x_batch = () if x_vector else x.shape[:-2]
    y_batch = () if y_vector else y.shape[:-2]
    if not y_batch:
        # The batch axes of a, if there are any, are more rows.
        return _contracted(x, y, ((x_axis,), (y_axis,)), ((), ()), preferred_element_type)
    if not x_batch:
        # (m, k), (..., k, n) -> (m, ..., n): the rows go behind the batch.
        out = _contracted(x, y, ((x_axis,), (y_axis,)), ((), ()), preferred_element_type)
        return out if x_vector else moveaxis(out, 0, -2)
    batch = broadcast_shapes(x_batch, y_batch)
    x, y = (repeated(z, (*batch, *z.shape[-2:])) for z in (x, y))
    places = tuple(range(len(batch)))
    contracting = ((x.ndim - 1,), (y.ndim - 2,))
    return _contracted(x, y, contracting, (places, places), preferred_element_type)


def _check_sizes(what: str, x: Array, i: int, y: Array, j: int) -> None:
    if x.shape[i] != y.shape[j]:
        raise ShapeError(
            f"{what}: axis {i} of the first operand and axis {j} of the second must have one "
            f"size, got {x.aval} and {y.aval} ({x.shape[i]} != {y.shape[j]})"
        )


def _contracted(
    x: Array,
    y: Array,
    contracting: tuple[tuple[int, ...], tuple[int, ...]],
    batch: tuple[tuple[int, ...], tuple[int, ...]],
    dtype: DtypeLike,
) -> Array:
    preferred = x.aval.dtype if dtype is None else dtypes.canonical(dtype)
    out = contraction((contracting, batch), preferred).bind(x, y)
    weak = dtype is None and x.aval.weak_type and y.aval.weak_type
    return with_weakness(out, True) if weak else out


def _as(x: Array, dtype: DtypeLike) -> Array:
    return x if dtype is None else converted(x, dtypes.canonical(dtype))


@replayed
def vdot(
    a: ArrayLike,
    b: ArrayLike,
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Sum of products of all elements, with the first operand conjugated."""
    check_precision("vdot", precision)
    x, y = promote_dtypes("vdot", a, b)
    x = lax.conj(x) if dtypes.is_complex(x.dtype) else x
    x, y = lax.reshape(x, (x.size,)), lax.reshape(y, (y.size,))
    return dot(x, y, preferred_element_type=preferred_element_type)


@replayed
def vecdot(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    *,
    axis: int = -1,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Sums of products along `axis`, with the first operand conjugated; other axes broadcast.

    Raises: ShapeError when the sizes of the axis differ.
    """
    check_precision("vecdot", precision)
    x, y = promote_dtypes("vecdot", x1, x2)
    if not x.ndim or not y.ndim:
        raise ShapeError(f"vecdot: takes at least 1 axis each, got {x.aval} and {y.aval}")
    x, y = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    _check_sizes("vecdot", x, x.ndim - 1, y, y.ndim - 1)
    shape = broadcast_shapes(x.shape, y.shape)
    x, y = repeated(x, shape), repeated(y, shape)
    x = lax.conj(x) if dtypes.is_complex(x.dtype) else x
    batch, last = tuple(range(len(shape) - 1)), (len(shape) - 1,)
    return _contracted(x, y, (last, last), (batch, batch), preferred_element_type)


@replayed
def matvec(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """Matrices times vectors: (..., m, k), (..., k) -> (..., m); batch axes broadcast."""
    y = owned(x2, "matvec")
    if not y.ndim:
        raise ShapeError(f"matvec: the second operand must have at least 1 axis, got {y.aval}")
    return lax.squeeze(matmul(x1, lax.expand_dims(y, (y.ndim,))), (-1,))


@replayed
def vecmat(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """Conjugated vectors times matrices: (..., k), (..., k, n) -> (..., n)."""
    x = owned(x1, "vecmat")
    if not x.ndim:
        raise ShapeError(f"vecmat: the first operand must have at least 1 axis, got {x.aval}")
    x = lax.conj(x) if dtypes.is_complex(x.dtype) else x
    return lax.squeeze(matmul(lax.expand_dims(x, (x.ndim - 1,)), x2), (-2,))


@replayed
def inner(
    a: ArrayLike,
    b: ArrayLike,
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Sums of products over the last axes: (..., k), (..., k) -> the other axes of both."""
    check_precision("inner", precision)
    x, y = promote_dtypes("inner", a, b)
    if not x.ndim or not y.ndim:
        return _as(lax.mul(x, y), preferred_element_type)
    return tensordot(x, y, ([-1], [-1]), preferred_element_type=preferred_element_type)


@replayed
def outer(a: ArrayLike, b: ArrayLike, out: None = None) -> Array:
    """Products of all pairs of elements: (m,), (n,) -> (m, n); other shapes are made flat."""
    refuse_out("outer", out)
    x, y = promote_dtypes("outer", a, b)
    x, y = lax.reshape(x, (x.size,)), lax.reshape(y, (y.size,))
    return lax.mul(lax.expand_dims(x, (1,)), lax.expand_dims(y, (0,)))


@replayed
def tensordot(
    a: ArrayLike,
    b: ArrayLike,
    axes: int | Sequence[int] | Sequence[Sequence[int]] = 2,
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Sums of products over pairs of axes: the last of `a` with the first of `b`, or those named.

    axes: how many; or a pair of axes, or of sequences of axes, of a and of b.
    Shapes: the other axes of a, then those of b.
    Raises: ShapeError when sizes differ, AxisError when the axes do not pair.
    """
    check_precision("tensordot", precision)
    x, y = promote_dtypes("tensordot", a, b)
    x_axes, y_axes = _paired_axes(axes, x, y)
    for i, j in zip(x_axes, y_axes, strict=True):
        _check_sizes("tensordot", x, i, y, j)
    return _contracted(x, y, (tuple(x_axes), tuple(y_axes)), ((), ()), preferred_element_type)


def _paired_axes(
    axes: int | Sequence[int] | Sequence[Sequence[int]], x: Array, y: Array
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if not isinstance(axes, Sequence):
        count = operator.index(axes)
        if not 0 <= count <= builtins.min(x.ndim, y.ndim):
            raise AxisError(f"tensordot: there are no {count} axes in both {x.aval} and {y.aval}")
        return tuple(range(x.ndim - count, x.ndim)), tuple(range(count))
    if len(axes) != 2:
        raise AxisError(f"tensordot: axes must be a number or a pair, got {axes}")
    of_x = normalize_axes(axes[0], x.ndim, "tensordot")
    of_y = normalize_axes(axes[1], y.ndim, "tensordot")
    if len(of_x) != len(of_y):
        raise AxisError(f"tensordot: there must be as many axes of a as of b, got {axes}")
    return of_x, of_y


@replayed
def kron(a: ArrayLike, b: ArrayLike) -> Array:
    """Kronecker product: blocks of `b`, each times an element of `a`."""
    x, y = equal_ranks(promote_dtypes("kron", a, b))
    rank = builtins.max(x.ndim, y.ndim)
    x, y = (lax.expand_dims(z, range(rank - z.ndim)) for z in (x, y))
    blocks = lax.mul(
        lax.expand_dims(x, range(1, 2 * rank, 2)), lax.expand_dims(y, range(0, 2 * rank, 2))
    )
    return lax.reshape(blocks, [m * n for m, n in zip(x.shape, y.shape, strict=True)])


def cross(
    a: ArrayLike,
    b: ArrayLike,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Array:
    """Cross product of vectors of 3 components, or of 2, whose result is the third component.

    axisa, axisb, axisc: where the components of a, b and the result lie; `axis` sets all three.
    Raises: ShapeError for another number of components.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = promote_dtypes("cross", a, b)
    x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    for z in (x, y):
        if z.shape[-1] not in (2, 3):
            raise ShapeError(f"cross: vectors must have 2 or 3 components, got {x.aval}, {y.aval}")
    shape = broadcast_shapes(x.shape[:-1], y.shape[:-1])
    x1, x2, x3 = _components(x, shape)
    y1, y2, y3 = _components(y, shape)
    third = lax.sub(lax.mul(x1, y2), lax.mul(x2, y1))
    if x.shape[-1] == y.shape[-1] == 2:
        return third
    first = lax.sub(lax.mul(x2, y3), lax.mul(x3, y2))
    second = lax.sub(lax.mul(x3, y1), lax.mul(x1, y3))
    place = normalize_axis(axisc, len(shape) + 1, "cross")
    return lax.concatenate([lax.expand_dims(z, (place,)) for z in (first, second, third)], place)


def _components(x: Array, shape: tuple[int, ...]) -> list[Array]:
    """The three components along the last axis, at `shape`; a missing third one is zero."""
    found = [
        repeated(lax.index_in_dim(x, i, x.ndim - 1, keepdims=False), shape)
        for i in range(x.shape[-1])
    ]
    return found if len(found) == 3 else [*found, repeated(constant(0, x), shape)]


# Diagonals and triangles


def diagonal(a: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The elements whose index along axis2 is `offset` above that along axis1, as a last axis.

    Raises: ShapeError below rank 2.
    """
    x = owned(a, "diagonal")
    if x.ndim < 2:
        raise ShapeError(f"diagonal: takes at least 2 axes, got {x.aval}")
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    m, n = x.shape[-2:]
    offset = operator.index(offset)
    first_row, first_column = builtins.max(0, -offset), builtins.max(0, offset)
    length = builtins.max(0, builtins.min(m - first_row, n - first_column))
    if not length:
        return lax.full((*x.shape[:-2], 0), 0, x.dtype)
    # In the flat matrix, the diagonal is every (n + 1)-th element.
    flat = lax.reshape(x, (*x.shape[:-2], m * n))
    start = first_row * n + first_column
    axis = flat.ndim - 1
    return lax.slice_in_dim(flat, start, start + (length - 1) * (n + 1) + 1, n + 1, axis)


def diag(v: ArrayLike, k: int = 0) -> Array:
    """The k-th diagonal of a matrix, or the matrix whose k-th diagonal is a vector.

    Raises: ShapeError for other ranks.
    """
    x = owned(v, "diag")
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: takes a vector or a matrix, got {x.aval}")
    k = operator.index(k)
    before, after = builtins.max(0, k), builtins.max(0, -k)
    n = x.shape[0] + before + after
    zero = constant(0, x)
    row = lax.pad(x, zero, [(before, after, 0)])
    i = lax.broadcasted_iota(np.int32, (n, n), 0)
    j = lax.broadcasted_iota(np.int32, (n, n), 1)
    on = lax.eq(lax.add(i, constant(k, i)), j)
    return select(on, lax.expand_dims(row, (0,)), zero)


def diagflat(v: ArrayLike, k: int = 0) -> Array:
    """The matrix whose k-th diagonal has the elements of `v`, made flat."""
    x = owned(v, "diagflat")
    return diag(lax.reshape(x, (x.size,)), k)


@replayed
def trace(
    a: ArrayLike,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: DtypeLike = None,
    out: None = None,
) -> Array:
    """Sum of the diagonal; parameters as in `diagonal` and `sum`."""
    refuse_out("trace", out)
    return sum(diagonal(a, offset, axis1, axis2), -1, dtype)


def tril(m: ArrayLike, k: int = 0) -> Array:
    """Matrices with zeros above the k-th diagonal. Raises: ShapeError below rank 2."""
    x = operand(m, "tril")
    return select(_at_or_below("tril", x, k), x, constant(0, x))


def triu(m: ArrayLike, k: int = 0) -> Array:
    """Matrices with zeros below the k-th diagonal. Raises: ShapeError below rank 2."""
    x = operand(m, "triu")
    return select(_at_or_below("triu", x, k - 1), constant(0, x), x)


def _at_or_below(what: str, x: Array, k: int) -> Array:
    """Where the column index is at most `k` above the row index, of the last two axes."""
    if x.ndim < 2:
        raise ShapeError(f"{what}: takes at least 2 axes, got {x.aval}")
    shape = x.shape[-2:]
    i = lax.broadcasted_iota(np.int32, shape, 0)
    i = lax.add(i, constant(operator.index(k), i))
    return repeated(lax.ge(i, lax.broadcasted_iota(np.int32, shape, 1)), x.shape)

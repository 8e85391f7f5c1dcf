"""Indices of triangles and diagonals, of flat arrays and of grids; choosing by number."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, DtypeLike, from_buffer
from fstensor.errors import (
    ArgumentError,
    DtypeError,
    OptionError,
    OutOfBoundsError,
    ShapeError,
)
from fstensor.numpy.promote import (
    concrete,
    constant,
    converted,
    equal_ranks,
    operand,
    owned,
    promote_dtypes,
    refuse_out,
    repeated,
    result_pair,
    select,
)


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, Array]:
    """Rows and columns of the elements at and below the k-th diagonal of an n by m matrix."""
    return _from_numpy(np.tril_indices(operator.index(n), operator.index(k), m))


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, Array]:
    """Rows and columns of the elements at and above the k-th diagonal of an n by m matrix."""
    return _from_numpy(np.triu_indices(operator.index(n), operator.index(k), m))


def tril_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Array, Array]:
    """As `tril_indices`, for the shape of the matrix `arr`."""
    rows, columns = _matrix_shape("tril_indices_from", arr)
    return tril_indices(rows, k, columns)


def triu_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Array, Array]:
    """As `triu_indices`, for the shape of the matrix `arr`."""
    rows, columns = _matrix_shape("triu_indices_from", arr)
    return triu_indices(rows, k, columns)


def diag_indices(n: int, ndim: int = 2) -> tuple[Array, ...]:
    """The indices of the main diagonal of an array with `ndim` axes of size n."""
    return (lax.iota(dtypes.default_int(), operator.index(n)),) * operator.index(ndim)


def diag_indices_from(arr: ArrayLike) -> tuple[Array, ...]:
    """As `diag_indices`, for `arr`. Raises: ShapeError unless all axes have one size."""
    x = operand(arr, "diag_indices_from")
    if x.ndim < 2 or len(set(x.shape)) != 1:
        raise ShapeError(f"diag_indices_from: takes at least 2 axes, all of one size, got {x.aval}")
    return diag_indices(x.shape[0], x.ndim)


def _from_numpy(indices: tuple[np.ndarray, np.ndarray]) -> tuple[Array, Array]:
    rows, columns = (from_buffer(i.astype(dtypes.default_int())) for i in indices)
    return rows, columns


def _matrix_shape(what: str, arr: ArrayLike) -> tuple[int, int]:
    x = operand(arr, what)
    if x.ndim != 2:
        raise ShapeError(f"{what}: takes a matrix, got {x.aval}")
    return x.shape[0], x.shape[1]


def unravel_index(
    indices: ArrayLike, shape: int | Sequence[int], order: str = "C"
) -> tuple[Array, ...]:
    """The index along each axis of `shape` of elements counted in row-major order.

    order: "C", or "F" to count with the first axis changing fastest.
    Negative indices count from the end; those out of bounds are limited to the first or last.
    Raises: ArgumentError unless indices are integers, OptionError for another order.
    """
    _check_order("unravel_index", order)
    flat = _integers("unravel_index", indices)
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    total = math.prod(sizes)
    flat = select(lax.lt(flat, constant(0, flat)), lax.add(flat, constant(total, flat)), flat)
    flat = lax.clamp(0, flat, max(total - 1, 0))
    found = []
    for n in reversed(sizes) if order == "C" else sizes:
        size = constant(max(n, 1), flat)
        found.append(lax.rem(flat, size))
        flat = lax.div(flat, size)
    return tuple(reversed(found) if order == "C" else found)


def _check_order(what: str, order: str) -> None:
    if order not in ("C", "F"):
        raise OptionError(f"{what}: order must be 'C' or 'F', got {order!r}")


def ravel_multi_index(
    multi_index: Sequence[ArrayLike],
    dims: Sequence[int],
    mode: str = "raise",
    order: str = "C",
    *,
    dtype: DtypeLike = None,
) -> Array:
    """The place, counted in row-major order, of elements with the given index along each axis.

    mode: what to do out of bounds: "raise", for concrete indices only, "wrap" around or "clip".
    order: "C", or "F" to count with the first axis changing fastest.
    dtype: an integer one, of the result; by default that of the indices.
    Raises: OutOfBoundsError in mode "raise"; ShapeError when there is not one index for each axis;
        DtypeError for a dtype that is no integer, or too narrow for the last place.
    """
    if len(multi_index) != len(dims):
        raise ShapeError(
            f"ravel_multi_index: needs an index for each axis, got {len(multi_index)} for {dims}"
        )
    if mode not in ("raise", "wrap", "clip"):
        raise OptionError(f"ravel_multi_index: mode must be raise, wrap or clip, got {mode!r}")
    _check_order("ravel_multi_index", order)
    places = [_integers("ravel_multi_index", x) for x in multi_index]
    result = _place_dtype(places, dims, dtype)
    pairs = [
        (_place_within(x, n, mode, result), n)
        for x, n in zip(equal_ranks(places) if places else [], dims, strict=True)
    ]
    total = None
    for x, n in pairs if order == "C" else reversed(pairs):
        total = x if total is None else lax.add(lax.mul(total, constant(n, total)), x)
    return lax.full((), 0, result) if total is None else total


def _place_within(x: Array, n: int, mode: str, dtype: dtypes.Dtype) -> Array:
    # An index may be negative, or may be unable to hold n, where the result is neither.
    both = dtypes.promote_types(x.dtype, dtype)
    working = both if dtypes.is_integer(both) else np.dtype(np.int64)
    return converted(_within(converted(x, working), n, mode), dtype)


def _place_dtype(indices: Sequence[Array], dims: Sequence[int], dtype: DtypeLike) -> dtypes.Dtype:
    if dtype is not None:
        result = dtypes.canonical(dtype)
    else:
        result = result_pair("ravel_multi_index", [0, *indices])[0]
    if not dtypes.is_integer(result):
        raise DtypeError(f"ravel_multi_index: dtype must be an integer, got {dtypes.name(result)}")
    if math.prod(dims) - 1 > dtypes.iinfo(result).max:
        raise DtypeError(
            f"ravel_multi_index: {dtypes.name(result)} cannot count all places of {tuple(dims)}; "
            "pass a wider dtype"
        )
    return result


def _within(x: Array, n: int, mode: str) -> Array:
    if mode == "clip":
        return lax.clamp(0, x, n - 1)
    if mode == "wrap":
        size = constant(n, x)
        return lax.rem(lax.add(lax.rem(x, size), size), size)
    values = concrete("ravel_multi_index", x, "pass mode='wrap' or mode='clip'")
    if ((values < 0) | (values >= n)).any():
        raise OutOfBoundsError(f"ravel_multi_index: index is out of bounds for an axis of size {n}")
    return x


def _integers(what: str, x: ArrayLike) -> Array:
    x = owned(x, what)
    if not dtypes.is_integer(x.dtype):
        raise ArgumentError(f"{what}: indices must be integers, got {x.aval}")
    return x


def choose(
    a: ArrayLike, choices: Sequence[ArrayLike] | Array, out: None = None, mode: str = "raise"
) -> Array:
    """Elementwise choices[a]. Shapes broadcast, the dtypes of the choices promote.

    mode: out of bounds "raise", for concrete `a` only, "wrap" around or "clip".
    Raises: OutOfBoundsError in mode "raise", ArgumentError unless `a` is made of integers.
    """
    refuse_out("choose", out)
    if mode not in ("raise", "wrap", "clip"):
        raise OptionError(f"choose: mode must be raise, wrap or clip, got {mode!r}")
    values = promote_dtypes("choose", *choices)
    which = _integers("choose", a)
    if mode == "raise":
        given = concrete("choose", which, "pass mode='wrap' or mode='clip'")
        if ((given < 0) | (given >= len(values))).any():
            raise OutOfBoundsError(f"choose: indices must be in [0, {len(values)})")
    else:
        which = _within(which, len(values), mode)
    which, *values = equal_ranks([which, *values])
    shape = np.broadcast_shapes(which.shape, *[x.shape for x in values])
    which = converted(repeated(which, shape), np.dtype(np.int32))
    return lax.select_n(which, *[repeated(x, shape) for x in values])

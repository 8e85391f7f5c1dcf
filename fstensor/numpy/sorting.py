"""Sorting, searching, and finding elements."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, DtypeLike, from_buffer, normalize_axis
from fstensor.errors import ArgumentError, OptionError, ShapeError
from fstensor.numpy.indexing import take
from fstensor.numpy.joining import stack
from fstensor.numpy.logic import truth
from fstensor.numpy.promote import (
    cast,
    concrete,
    constant,
    converted,
    owned,
    promote_dtypes,
    select,
)
from fstensor.transforms.replay import replayed

# Sorting


@replayed
def sort(
    a: ArrayLike,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
) -> Array:
    """The elements in order along `axis`; of the flat array for None. NaN comes last.

    descending: from the greatest, NaN first.
    stable: has no effect to be seen, since equal elements do not differ.
    kind, order: must be None; they are NumPy's, and belong to stable and to structured arrays.
    """
    _refuse_kind("sort", kind, order)
    x, axis = _along("sort", a, axis)
    if not x.ndim:
        return x
    result = lax.sort(x, axis, stable)
    return lax.rev(result, (axis,)) if descending else result


@replayed
def argsort(
    a: ArrayLike,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
    dtype: DtypeLike = None,
) -> Array:
    """The indices that put elements in order along `axis`; of the flat array for None.

    stable: equal elements keep their order; they always do, also when descending.
    dtype: of the indices; the default integer by default.
    """
    _refuse_kind("argsort", kind, order)
    x, axis = _along("argsort", a, axis)
    index = dtypes.default_int() if dtype is None else dtypes.canonical(dtype)
    if not x.ndim:
        return converted(lax.full((), 0, np.int32), index)
    places = lax.broadcasted_iota(index, x.shape, axis)
    if descending:
        # Reversed before and after, equal elements come out in their own order.
        x, places = lax.rev(x, (axis,)), lax.rev(places, (axis,))
    _, found = lax.sort((x, places), axis, stable, 1)
    return lax.rev(found, (axis,)) if descending else found


def _refuse_kind(what: str, kind: None, order: None) -> None:
    if kind is not None or order is not None:
        raise ArgumentError(f"{what}: kind and order must be None, got {kind!r} and {order!r}")


def _along(what: str, a: ArrayLike, axis: int | None) -> tuple[Array, int]:
    """`a` with a non-negative axis; made flat when that is None."""
    x = owned(a, what)
    if axis is None:
        return lax.reshape(x, (x.size,)), 0
    return x, normalize_axis(axis, x.ndim, what) if x.ndim else 0


def lexsort(keys: Sequence[ArrayLike] | Array | np.ndarray, axis: int = -1) -> Array:
    """The indices that sort by the last of `keys`, then by the one before it, and so on."""
    arrays = [owned(k, "lexsort") for k in keys]
    if not arrays:
        raise ShapeError("lexsort: takes at least one key, got none")
    axis = normalize_axis(axis, arrays[0].ndim, "lexsort")
    places = lax.broadcasted_iota(dtypes.default_int(), arrays[0].shape, axis)
    return lax.sort((*arrays[::-1], places), axis, True, len(arrays))[-1]


# Searching


def searchsorted(
    a: ArrayLike, v: ArrayLike, side: str = "left", sorter: ArrayLike | None = None
) -> Array:
    """Where elements of `v` belong in the sorted vector `a`, as default integers.

    side: "left" gives the first such place, a[i-1] < v <= a[i], "right" the last.
    sorter: indices that sort `a`, when it is not sorted.
    NaN belongs at the end.
    Raises: OptionError for another side, ShapeError when `a` is no vector.
    """
    if side not in ("left", "right"):
        raise OptionError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    x, y = promote_dtypes("searchsorted", a, v)
    if x.ndim != 1:
        raise ShapeError(f"searchsorted: takes a sorted vector, got {x.aval}")
    if sorter is not None:
        x = take(x, sorter)
    index = dtypes.default_int()
    # Bisection: every element before `low` goes before v, none from `high` on does.
    low = lax.full(y.shape, 0, index)
    high = lax.full(y.shape, x.size, index)
    for _ in range(math.ceil(math.log2(x.size + 1))):
        middle = lax.shift_right_logical(lax.add(low, high), 1)
        element = take(x, lax.min(middle, constant(x.size - 1, middle)))
        before = _before(element, y) if side == "left" else lax.bitwise_not(_before(y, element))
        open_ = lax.lt(low, high)
        low = select(lax.bitwise_and(open_, before), lax.add(middle, 1), low)
        high = select(lax.bitwise_and(open_, lax.bitwise_not(before)), middle, high)
    return low


def _before(x: Array, y: Array) -> Array:
    """Whether x sorts before y: NaN is last."""
    if dtypes.is_complex(x.dtype):
        real_x, real_y = lax.real(x), lax.real(y)
        tied = lax.bitwise_not(lax.bitwise_or(_before(real_x, real_y), _before(real_y, real_x)))
        by_imag = lax.bitwise_and(tied, _before(lax.imag(x), lax.imag(y)))
        return lax.bitwise_or(_before(real_x, real_y), by_imag)
    if not dtypes.is_inexact(x.dtype):
        return lax.lt(x, y)
    only_y = lax.bitwise_and(lax.eq(x, x), lax.ne(y, y))
    return lax.bitwise_or(lax.lt(x, y), only_y)


def digitize(x: ArrayLike, bins: ArrayLike, right: bool = False) -> Array:
    """The bin of each element: how many edges lie at or below it; below it, if `right`.

    bins: edges, increasing or decreasing; with decreasing ones, edges above count.
    """
    x, edges = owned(x, "digitize"), owned(bins, "digitize")
    if edges.ndim != 1:
        raise ShapeError(f"digitize: bins must be a vector, got {edges.aval}")
    n = edges.shape[0]
    if n == 0:
        return lax.full(x.shape, 0, dtypes.default_int())
    side = "left" if right else "right"
    increasing = searchsorted(edges, x, side)
    reverse = searchsorted(lax.rev(edges, (0,)), x, side)
    decreasing = lax.sub(constant(n, reverse), reverse)
    first = lax.index_in_dim(edges, 0, 0, keepdims=False)
    last = lax.index_in_dim(edges, n - 1, 0, keepdims=False)
    return select(lax.ge(last, first), increasing, decreasing)


def isin(
    element: ArrayLike,
    test_elements: ArrayLike,
    assume_unique: bool = False,
    invert: bool = False,
) -> Array:
    """Elementwise: whether it is one of `test_elements`; whether it is not, if `invert`.

    assume_unique: has no effect, since repeated elements cost nothing more.
    """
    x, tests = promote_dtypes("isin", element, test_elements)
    tests = lax.sort(lax.reshape(tests, (tests.size,)), 0)
    if tests.size == 0:
        found = lax.full(x.shape, False, np.bool_)
    else:
        place = searchsorted(tests, x)
        found = lax.eq(take(tests, lax.min(place, constant(tests.size - 1, place))), x)
    return lax.bitwise_not(found) if invert else found


# Finding


def nonzero(
    a: ArrayLike,
    *,
    size: int | None = None,
    fill_value: ArrayLike | tuple[ArrayLike, ...] | None = None,
) -> tuple[Array, ...]:
    """The indices of elements that are not zero, one array for each axis, as default integers.

    size: how many there are, or shall be; it must be given when `a` is traced. More are cut off,
        fewer are filled up with fill_value, 0 by default, or one value for each axis.
    Raises: ShapeError for a scalar, ConcretizationTypeError when traced without size.
    """
    mask = truth("nonzero", a)
    if mask.ndim == 0:
        raise ShapeError(f"nonzero: takes at least 1 axis, got {mask.aval}; use atleast_1d")
    index = dtypes.default_int()
    if size is None:
        values = concrete("nonzero", mask, "pass size, or use where(condition, x, y)")
        return tuple([from_buffer(places.astype(index)) for places in np.nonzero(values)])
    flat, count = _true_places(lax.reshape(mask, (mask.size,)), operator.index(size))
    filled = lax.ge(lax.iota(index, flat.shape[0]), count)
    fills: Sequence[ArrayLike]
    fills = fill_value if isinstance(fill_value, tuple) else [fill_value or 0] * mask.ndim
    if len(fills) != mask.ndim:
        raise ShapeError(f"nonzero: fill_value must have {mask.ndim} values, got {len(fills)}")
    found = []
    for axis, fill in enumerate(fills):
        step = math.prod(mask.shape[axis + 1 :])
        place = lax.div(flat, constant(max(step, 1), flat))
        place = lax.rem(place, constant(max(mask.shape[axis], 1), flat))
        found.append(select(filled, cast("nonzero", fill, index), place))
    return tuple(found)


def _true_places(mask: Array, size: int) -> tuple[Array, Array]:
    """The first `size` indices of true elements, then any; and how many there are."""
    index = dtypes.default_int()
    counts = lax.cumsum(lax.convert_element_type(mask, index))
    # The n-th true element is the first where n of them are counted.
    places = searchsorted(counts, lax.add(lax.iota(index, size), 1))
    count = lax.reduce_sum(lax.convert_element_type(mask, index), (0,))
    return places, count


def flatnonzero(
    a: ArrayLike, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> Array:
    """The indices, in the flat array, of elements that are not zero; see `nonzero`."""
    x = owned(a, "flatnonzero")
    return nonzero(lax.reshape(x, (x.size,)), size=size, fill_value=fill_value)[0]


def argwhere(
    a: ArrayLike, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> Array:
    """The indices of elements that are not zero, one row for each; see `nonzero`."""
    x = owned(a, "argwhere")
    if x.ndim == 0:
        found = nonzero(lax.reshape(x, (1,)), size=size, fill_value=fill_value)[0]
        return lax.full((found.shape[0], 0), 0, found.dtype)
    return stack(nonzero(x, size=size, fill_value=fill_value), 1)


def extract(
    condition: ArrayLike, arr: ArrayLike, *, size: int | None = None, fill_value: ArrayLike = 0
) -> Array:
    """The elements of the flat `arr` where the condition holds; `size` as in `nonzero`."""
    x, mask = owned(arr, "extract"), truth("extract", condition)
    flat, mask = lax.reshape(x, (x.size,)), lax.reshape(mask, (mask.size,))
    found = take(flat, flatnonzero(mask, size=size))
    if size is None:
        return found
    count = lax.reduce_sum(lax.convert_element_type(mask, np.int32), (0,))
    filled = lax.ge(lax.iota(np.int32, found.shape[0]), count)
    return select(filled, cast("extract", fill_value, found.dtype), found)

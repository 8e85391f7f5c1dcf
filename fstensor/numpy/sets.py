"""The distinct elements of an array."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, from_buffer, normalize_axis
from fstensor.errors import ShapeError
from fstensor.numpy.indexing import take
from fstensor.numpy.promote import cast, concrete, constant, owned, select
from fstensor.numpy.shape import moveaxis
from fstensor.numpy.sorting import flatnonzero


def unique(
    ar: ArrayLike,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Any:
    """The distinct elements in order, of the flat array or of the slices along `axis`.

    return_index: also the place of the first of each; return_inverse: also, for each element, its
        place among the distinct; return_counts: also how often each occurs.
    equal_nan: whether all NaN are one element.
    size: how many there are, or shall be; it must be given when `ar` is traced. More are cut off,
        fewer are filled up with fill_value, the least element by default, with count 0.
    Returns: the elements, or a tuple of them and of what else is asked for.
    Raises: ConcretizationTypeError when traced without size.
    """
    x = owned(ar, "unique")
    wanted = (return_index, return_inverse, return_counts)
    if size is None:
        values = concrete("unique", x, "pass size")
        found: Any = np.unique(values, *wanted, axis, equal_nan=equal_nan)  # type: ignore[call-overload]
        if not any(wanted):
            return from_buffer(found)
        first, *others = found
        index = dtypes.default_int()
        return (from_buffer(first), *[from_buffer(o.astype(index)) for o in others])
    found = _unique_of_size(x, axis, equal_nan, operator.index(size), fill_value)
    chosen = [found[0], *[o for o, on in zip(found[1:], wanted, strict=True) if on]]
    return tuple(chosen) if any(wanted) else chosen[0]


def _unique_of_size(
    x: Array, axis: int | None, equal_nan: bool, size: int, fill_value: ArrayLike | None
) -> tuple[Array, Array, Array, Array]:
    """Distinct slices, the place of the first of each, the inverse, and the counts."""
    shape = x.shape
    place = 0 if axis is None else normalize_axis(axis, x.ndim, "unique")
    items = lax.reshape(x, (x.size,)) if axis is None else moveaxis(x, place, 0)
    n = items.shape[0]
    if n == 0:
        raise ShapeError(f"unique: of a given size, takes at least one element, got {x.aval}")
    index = dtypes.default_int()
    rows = lax.reshape(items, (n, items.size // n))
    columns = [lax.index_in_dim(rows, j, 1, keepdims=False) for j in range(rows.shape[1])]
    *ordered, origin = lax.sort((*columns, lax.iota(index, n)), 0, True, len(columns))
    begins = _begins(ordered, equal_nan)
    group = lax.sub(lax.cumsum(lax.convert_element_type(begins, index), 0), 1)
    inverse = lax.sort((origin, group), 0, True, 1)[1]
    # One place more than asked for, so that the last count has its end.
    starts = flatnonzero(begins, size=size + 1, fill_value=n)
    counts = lax.sub(lax.slice_in_dim(starts, 1, size + 1), lax.slice_in_dim(starts, 0, size))
    starts = lax.slice_in_dim(starts, 0, size)
    beyond = lax.ge(starts, constant(n, starts))
    firsts = take(origin, select(beyond, constant(0, starts), starts))
    values = take(items, firsts, axis=0)
    if fill_value is not None:
        fill = cast("unique", fill_value, values.dtype)
        spread = lax.reshape(beyond, (size, *[1] * (values.ndim - 1)))
        values = select(spread, fill, values)
    if axis is None:
        return values, firsts, lax.reshape(inverse, shape), counts
    return moveaxis(values, 0, place), firsts, inverse, counts


def _begins(ordered: list[Array], equal_nan: bool) -> Array:
    """Where a sorted element differs from the one before it."""
    n = ordered[0].shape[0] if ordered else 0
    begins = None
    for x in ordered:
        before, after = lax.slice_in_dim(x, 0, n - 1), lax.slice_in_dim(x, 1, n)
        differs = lax.ne(before, after)
        if equal_nan and dtypes.is_inexact(x.dtype):
            both = lax.bitwise_and(lax.ne(before, before), lax.ne(after, after))
            differs = lax.bitwise_and(differs, lax.bitwise_not(both))
        begins = differs if begins is None else lax.bitwise_or(begins, differs)
    assert begins is not None
    return lax.concatenate([lax.full((1,), True, np.bool_), begins], 0)


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Array
    counts: Array


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Array
    inverse_indices: Array


def unique_all(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> UniqueAll:
    """Distinct elements, their first places, the inverse and the counts; each NaN is distinct."""
    found = unique(x, True, True, True, equal_nan=False, size=size, fill_value=fill_value)
    return UniqueAll(*found)


def unique_counts(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> UniqueCounts:
    """Distinct elements and their counts; each NaN is distinct."""
    found = unique(x, return_counts=True, equal_nan=False, size=size, fill_value=fill_value)
    return UniqueCounts(*found)


def unique_inverse(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> UniqueInverse:
    """Distinct elements and, for each element, its place among them; each NaN is distinct."""
    found = unique(x, return_inverse=True, equal_nan=False, size=size, fill_value=fill_value)
    return UniqueInverse(*found)


def unique_values(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> Array:
    """Distinct elements; each NaN is distinct."""
    return unique(x, equal_nan=False, size=size, fill_value=fill_value)

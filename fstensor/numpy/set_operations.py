"""Sets, as vectors of their elements in order.

How many elements a result has depends on values. For traced arrays `size` must say it: more are cut
off, fewer are filled up with fill_value, the least element of the result by default.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike
from fstensor.numpy.indexing import take
from fstensor.numpy.joining import concatenate
from fstensor.numpy.promote import cast, constant, operand, promote_dtypes, repeated, select
from fstensor.numpy.sets import unique
from fstensor.numpy.sorting import extract, flatnonzero, isin, searchsorted


def union1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Array:
    """The elements of either array.

    Raises: ConcretizationTypeError when traced without size.
    """
    x, y = _flat("union1d", ar1, ar2)
    return unique(concatenate([x, y]), size=size, fill_value=fill_value)


def intersect1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Any:
    """The elements of both arrays. NaN is equal to nothing.

    assume_unique: has no effect, since repeated elements cost nothing more.
    return_indices: also the place of the first of each in either array; with `size`, filled up with
        the size of that array, which is out of bounds.
    Raises: ConcretizationTypeError when traced without size.
    """
    x, y = _flat("intersect1d", ar1, ar2)
    ordered, places, first = _distinct(x)
    common = lax.bitwise_and(first, isin(ordered, y))
    found = _chosen(ordered, common, size, fill_value)
    if not return_indices:
        return found
    at_x = _chosen(places, common, size, x.size)
    ordered_y, places_y, _ = _distinct(y)
    if y.size == 0:
        return found, at_x, lax.full(found.shape, y.size, places_y.dtype)
    partner = lax.clamp(0, searchsorted(ordered_y, ordered), y.size - 1)
    return found, at_x, _chosen(take(places_y, partner), common, size, y.size)


def setdiff1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Array:
    """The elements of the first array that are not in the second.

    assume_unique: leaves the first array in its order, with its repeated elements.
    Raises: ConcretizationTypeError when traced without size.
    """
    x, y = _flat("setdiff1d", ar1, ar2)
    alone = isin(x, y, invert=True)
    if not assume_unique:
        x, _, first = _distinct(x)
        alone = lax.bitwise_and(first, isin(x, y, invert=True))
    return _chosen(x, alone, size, fill_value)


def setxor1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Array:
    """The elements of one of the arrays, but not of both.

    assume_unique: has no effect, since repeated elements cost nothing more.
    Raises: ConcretizationTypeError when traced without size.
    """
    x, y = _flat("setxor1d", ar1, ar2)
    values, alone = [], []
    for own, other in ((x, y), (y, x)):
        ordered, _, first = _distinct(own)
        values.append(ordered)
        alone.append(lax.bitwise_and(first, isin(ordered, other, invert=True)))
    joined, kept = lax.sort((concatenate(values), concatenate(alone)), 0, True, 1)
    return _chosen(joined, kept, size, fill_value)


def _flat(what: str, ar1: ArrayLike, ar2: ArrayLike) -> tuple[Array, Array]:
    x, y = promote_dtypes(what, ar1, ar2)
    return lax.reshape(x, (x.size,)), lax.reshape(y, (y.size,))


def _distinct(x: Array) -> tuple[Array, Array, Array]:
    """The elements in order, the place of each in `x`, and which of them are the first of equals.

    All NaN are equals here.
    """
    places = lax.iota(dtypes.default_int(), x.size)
    ordered, places = lax.sort((x, places), 0, True, 1)
    if x.size == 0:
        return ordered, places, lax.full((0,), True, np.bool_)
    before, after = lax.slice_in_dim(ordered, 0, -1), lax.slice_in_dim(ordered, 1, x.size)
    differs = lax.ne(before, after)
    if dtypes.is_inexact(x.dtype):
        missing = lax.bitwise_and(lax.ne(before, before), lax.ne(after, after))
        differs = lax.bitwise_and(differs, lax.bitwise_not(missing))
    return ordered, places, lax.concatenate([lax.full((1,), True, np.bool_), differs], 0)


def _chosen(x: Array, chosen: Array, size: int | None, fill_value: ArrayLike | None) -> Array:
    """The elements where `chosen` holds, `size` of them; the first fills up unless told else."""
    if size is None:
        return extract(chosen, x)
    size = operator.index(size)
    if x.size == 0:
        return lax.full((size,), 0 if fill_value is None else fill_value, x.dtype)
    places = flatnonzero(chosen, size=size, fill_value=x.size)
    beyond = lax.ge(places, constant(x.size, places))
    if fill_value is None:
        fill = lax.reduce_min(select(chosen, x, lax.reduce_max(x, (0,))), (0,))
    else:
        fill = operand(cast("fill_value", fill_value, x.dtype))
    found = take(x, select(beyond, constant(0, places), places))
    return select(beyond, repeated(fill, found.shape), found)

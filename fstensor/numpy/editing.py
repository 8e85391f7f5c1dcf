"""Elements put in and taken out; arrays repeated to a size, and put together from blocks."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, ConcreteArray, normalize_axis
from fstensor.errors import ArgumentError, OptionError, OutOfBoundsError, ShapeError
from fstensor.numpy.creation import asarray
from fstensor.numpy.indexing import take
from fstensor.numpy.joining import concatenate
from fstensor.numpy.promote import (
    concrete,
    constant,
    converted,
    owned,
    promote_dtypes,
    repeated,
    select,
)
from fstensor.numpy.reductions import cumsum
from fstensor.numpy.shape import moveaxis
from fstensor.numpy.sorting import argsort, flatnonzero

Places: TypeAlias = "ArrayLike | Sequence[int] | slice"


def insert(arr: ArrayLike, obj: Places, values: ArrayLike, axis: int | None = None) -> Array:
    """`arr` with `values` put in before the places `obj` along `axis`; flat by default.

    obj: integers, which count in `arr` as it was, a slice, or a mask.
    values: cast to the dtype of `arr`; they broadcast to the places. At a single place any number
        of them along `axis` is put in.
    Raises: OutOfBoundsError for a place beyond the end, where known; ArgumentError for places that
    are no integers; ShapeError when values do not fit.
    """
    x, axis = _along("insert", arr, axis)
    n = x.shape[axis]
    places = _places("insert", obj, n, n)
    added = converted(owned(values, "insert"), x.dtype)
    if places.size == 1:
        added = lax.expand_dims(added, range(max(x.ndim - added.ndim, 0)))
        if places.ndim == 0:
            added = moveaxis(added, 0, axis)
        places = lax.broadcast(lax.reshape(places, ()), (added.shape[axis],))
    k = places.shape[0]
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    sizes = zip(added.shape[::-1], shape[::-1], strict=False)
    if added.ndim > len(shape) or any(m not in (1, n) for m, n in sizes):
        raise ShapeError(f"insert: values must broadcast to {shape}, got {added.aval}")
    added = repeated(added, shape)
    # The i-th of the places in order moves up by the i that are put in before it.
    order = argsort(places)
    count = lax.iota(places.dtype, k)
    targets = places.at[order].add(count)
    is_new = lax.full((n + k,), False, np.bool_).at[targets].set(True)
    which = lax.full((n + k,), 0, places.dtype).at[targets].set(lax.add(count, n))
    old = lax.sub(cumsum(lax.bitwise_not(is_new), dtype=places.dtype), 1)
    return take(concatenate([x, added], axis), select(is_new, which, old), axis)


def delete(
    arr: ArrayLike,
    obj: Places,
    axis: int | None = None,
    *,
    assume_unique_indices: bool = False,
) -> Array:
    """`arr` without the places `obj` along `axis`; flat by default.

    obj: an integer, integers, a slice, or a mask.
    assume_unique_indices: that no place is named twice. Traced integers must be so, since the
        shape of the result depends on it.
    Raises: OutOfBoundsError, where known; ConcretizationTypeError for several traced places that
    may be equal; ArgumentError for places that are no integers.
    """
    x, axis = _along("delete", arr, axis)
    n = x.shape[axis]
    places = _places("delete", obj, n, n - 1)
    if places.ndim == 0:
        rest = lax.iota(places.dtype, n - 1)
        behind = lax.ge(rest, places)
        return take(x, lax.add(rest, lax.convert_element_type(behind, rest.dtype)), axis)
    if not assume_unique_indices:
        found = concrete("delete", places, "pass assume_unique_indices=True")
        kept = np.delete(np.arange(n), found)
        return take(x, asarray(kept.astype(places.dtype)), axis)
    mask = lax.full((n,), True, np.bool_).at[places].set(False)
    return take(x, flatnonzero(mask, size=n - places.shape[0]), axis)


def _along(what: str, arr: ArrayLike, axis: int | None) -> tuple[Array, int]:
    x = owned(arr, what)
    if axis is None:
        return lax.reshape(x, (x.size,)), 0
    return x, normalize_axis(axis, x.ndim, what)


def _places(what: str, obj: Places, n: int, last: int) -> Array:
    """Non-negative places along an axis of size n, a scalar or a vector."""
    index = dtypes.default_int()
    if isinstance(obj, slice):
        return asarray(np.arange(*obj.indices(n)).astype(index))
    places = asarray(obj)
    if places.ndim > 1:
        raise ShapeError(f"{what}: places must be a scalar or a vector, got {places.aval}")
    if dtypes.is_bool(places.dtype) and places.ndim:
        if places.shape != (n,):
            raise ShapeError(f"{what}: a mask must have {n} elements, got {places.aval}")
        return flatnonzero(places)
    empty_list = isinstance(obj, (list, tuple)) and not obj
    if not (dtypes.is_integer(places.dtype) or empty_list):
        raise ArgumentError(f"{what}: places must be integers, got {places.aval}")
    if isinstance(places, ConcreteArray):
        values = np.asarray(places)
        if ((values < -n) | (values > last)).any():
            raise OutOfBoundsError(f"{what}: a place is outside of an axis of size {n}, got {obj}")
        # By NumPy, so that they stay known while the array is traced.
        values = values.astype(index)
        return asarray(np.where(values < 0, values + n, values))
    places = lax.convert_element_type(places, index)
    negative = lax.lt(places, constant(0, places))
    return select(negative, lax.add(places, constant(n, places)), places)


def resize(a: ArrayLike, new_shape: int | Sequence[int]) -> Array:
    """An array of another shape, filled with the elements of `a` again and again.

    Without elements in `a`: zeros. Raises: OptionError for a negative size.
    """
    x = owned(a, "resize")
    sizes = tuple(new_shape) if isinstance(new_shape, Sequence) else (new_shape,)
    shape = tuple(operator.index(n) for n in sizes)
    if any(n < 0 for n in shape):
        raise OptionError(f"resize: sizes must not be negative, got {shape}")
    total = math.prod(shape)
    if not x.size:
        return lax.full(shape, 0, x.dtype)
    flat = lax.reshape(x, (x.size,))
    copies = max(-(-total // x.size), 1)
    return lax.reshape(lax.slice_in_dim(concatenate([flat] * copies), 0, total), shape)


def block(arrays: Any) -> Array:
    """An array put together from nested lists of blocks.

    The innermost lists are joined along the last axis, those around them along the one before, and
    so on; blocks get axes of size 1 in front where they lack them.
    Raises: ShapeError when lists are empty or not all equally deep, or blocks do not fit.
    """
    leaves: list[ArrayLike] = []
    depth = _depth(arrays, leaves)
    found = promote_dtypes("block", *leaves)
    rank = max(depth, *[x.ndim for x in found])
    blocks = iter([lax.expand_dims(x, range(rank - x.ndim)) for x in found])

    def joined(part: Any, level: int) -> Array:
        if not isinstance(part, list):
            return next(blocks)
        return concatenate([joined(p, level - 1) for p in part], -level)

    return joined(arrays, depth)


def _depth(part: Any, leaves: list[ArrayLike]) -> int:
    """How deep the lists are nested; collects what is in them."""
    if not isinstance(part, list):
        leaves.append(owned(part, "block"))
        return 0
    depths = {_depth(p, leaves) for p in part}
    if len(depths) != 1:
        got = "an empty list" if not depths else f"depths {sorted(depths)}"
        raise ShapeError(f"block: lists must be equally deep and not empty, got {got}")
    return depths.pop() + 1

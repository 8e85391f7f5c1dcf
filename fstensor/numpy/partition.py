"""Parts of arrays: those below and above a place in the order, and those that a mask keeps."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from fstensor import lax
from fstensor.array import Array, ArrayLike, normalize_axis
from fstensor.errors import OptionError, ShapeError
from fstensor.numpy.indexing import take
from fstensor.numpy.logic import truth
from fstensor.numpy.promote import cast, owned, refuse_out
from fstensor.numpy.shape import moveaxis
from fstensor.numpy.sorting import argsort, flatnonzero, sort


def partition(a: ArrayLike, kth: int | Sequence[int], axis: int | None = -1) -> Array:
    """Elements so placed along `axis` that those before place `kth` are not greater than it.

    All of them are in order here, which satisfies every `kth`.
    Raises: OptionError for a place that does not exist.
    """
    x, axis = _with_place("partition", a, kth, axis)
    return sort(x, axis)


def argpartition(a: ArrayLike, kth: int | Sequence[int], axis: int | None = -1) -> Array:
    """The indices of the elements as `partition` places them.

    Raises: OptionError for a place that does not exist.
    """
    x, axis = _with_place("argpartition", a, kth, axis)
    return argsort(x, axis)


def _with_place(
    what: str, a: ArrayLike, kth: int | Sequence[int], axis: int | None
) -> tuple[Array, int]:
    x = owned(a, what)
    if axis is None:
        x, axis = lax.reshape(x, (x.size,)), 0
    axis = normalize_axis(axis, x.ndim, what)
    n = x.shape[axis]
    for k in kth if isinstance(kth, Sequence) else (kth,):
        if not -n <= operator.index(k) < n:
            raise OptionError(f"{what}: kth must lie within the axis of size {n}, got {k}")
    return x, axis


def compress(
    condition: ArrayLike,
    a: ArrayLike,
    axis: int | None = None,
    *,
    size: int | None = None,
    fill_value: ArrayLike = 0,
    out: None = None,
) -> Array:
    """The places along `axis` at which the vector `condition` holds; of the flat array by default.

    condition: may be shorter than the axis; what it lacks does not hold.
    size: how many places there are, or shall be; it must be given when `condition` is traced. More
        are cut off, fewer are filled up with fill_value.
    Raises: ShapeError unless the condition is a vector not longer than the axis.
    """
    refuse_out("compress", out)
    x, mask = owned(a, "compress"), truth("compress", condition)
    if axis is None:
        x, axis = lax.reshape(x, (x.size,)), 0
    axis = normalize_axis(axis, x.ndim, "compress")
    n = x.shape[axis]
    if mask.ndim != 1 or mask.size > n:
        raise ShapeError(
            f"compress: condition must be a vector of at most {n} elements, got {mask.aval}"
        )
    places = flatnonzero(mask, size=size, fill_value=n)
    if size is None:
        return take(x, places, axis)
    rows = moveaxis(x, axis, 0)
    # Places that are filled up read one row more.
    more = [(0, 1, 0), *[(0, 0, 0)] * (x.ndim - 1)]
    padded = lax.pad(rows, cast("compress", fill_value, x.dtype), more)
    return moveaxis(take(padded, places, 0), 0, axis)

"""Joining arrays, and splitting them."""

from __future__ import annotations

import builtins
import itertools
import operator
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, DtypeLike, normalize_axis
from fstensor.errors import ArgumentError, OptionError, ShapeError
from fstensor.numpy.promote import converted, owned, promote_dtypes, refuse_out
from fstensor.numpy.shape import at_least, ravel
from fstensor.transforms.replay import replayed

# Several arrays, or one whose first axis counts them.
Arrays: TypeAlias = Array | np.ndarray | Sequence[ArrayLike]


def _operands(what: str, arrays: Arrays, dtype: DtypeLike = None) -> list[Array]:
    """The arrays to join, of one dtype. Raises: ShapeError when there are none."""
    if isinstance(arrays, (bool, int, float, complex)):
        raise ArgumentError(f"{what}: takes a sequence of arrays, got {type(arrays).__name__}")
    found = [owned(x, what) for x in arrays]
    if not found:
        raise ShapeError(f"{what}: takes at least one array, got none")
    if dtype is None:
        return promote_dtypes(what, *found)
    return [converted(x, dtypes.canonical(dtype)) for x in found]


@replayed
def concatenate(arrays: Arrays, axis: int | None = 0, dtype: DtypeLike = None) -> Array:
    """Arrays one after the other along `axis`; None joins them flat.

    Shapes: equal but for `axis`. Dtypes promote, unless `dtype` is given.
    """
    found = _operands("concatenate", arrays, dtype)
    if axis is None:
        return lax.concatenate([ravel(x) for x in found], 0)
    axis = normalize_axis(axis, found[0].ndim, "concatenate")
    return found[0] if len(found) == 1 else lax.concatenate(found, axis)


def concat(
    arrays: Sequence[ArrayLike], /, *, axis: int | None = 0, dtype: DtypeLike = None
) -> Array:
    """As `concatenate`."""
    return concatenate(arrays, axis, dtype)


@replayed
def stack(arrays: Arrays, axis: int = 0, out: None = None, dtype: DtypeLike = None) -> Array:
    """Arrays of one shape along a new axis, at place `axis` of the result."""
    refuse_out("stack", out)
    found = _operands("stack", arrays, dtype)
    if builtins.any(x.shape != found[0].shape for x in found):
        got = " and ".join(dict.fromkeys(str(x.aval) for x in found))
        raise ShapeError(f"stack: arrays must have one shape, got {got}")
    axis = normalize_axis(axis, found[0].ndim + 1, "stack")
    return concatenate([lax.expand_dims(x, (axis,)) for x in found], axis)


@replayed
def hstack(tup: Arrays, dtype: DtypeLike = None) -> Array:
    """Arrays side by side: joined along axis 1, vectors along axis 0."""
    found = [at_least(1, x) for x in _operands("hstack", tup, dtype)]
    return concatenate(found, 0 if found[0].ndim == 1 else 1)


@replayed
def vstack(tup: Arrays, dtype: DtypeLike = None) -> Array:
    """Arrays below each other: joined along axis 0, vectors as rows."""
    return concatenate([at_least(2, x) for x in _operands("vstack", tup, dtype)], 0)


@replayed
def dstack(tup: Arrays, dtype: DtypeLike = None) -> Array:
    """Arrays behind each other: joined along axis 2."""
    return concatenate([at_least(3, x) for x in _operands("dstack", tup, dtype)], 2)


@replayed
def column_stack(tup: Arrays) -> Array:
    """Vectors as columns, and matrices, side by side."""
    found = _operands("column_stack", tup)
    return concatenate([x if x.ndim > 1 else lax.reshape(x, (x.size, 1)) for x in found], 1)


def append(arr: ArrayLike, values: ArrayLike, axis: int | None = None) -> Array:
    """`values` after `arr` along `axis`; both flat by default."""
    return concatenate([arr, values], axis)


def unstack(x: ArrayLike, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The parts along `axis`, without that axis."""
    x = owned(x, "unstack")
    axis = normalize_axis(axis, x.ndim, "unstack")
    return tuple([lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])])


def split(
    ary: ArrayLike, indices_or_sections: int | Sequence[int] | ArrayLike, axis: int = 0
) -> list[Array]:
    """Consecutive parts along `axis`: so many equal ones, or cut at the given indices.

    Raises: ShapeError when the axis does not divide into equal parts.
    """
    x = owned(ary, "split")
    axis = normalize_axis(axis, x.ndim, "split")
    sections = _sections(indices_or_sections)
    if isinstance(sections, int) and (sections < 1 or x.shape[axis] % sections):
        raise ShapeError(
            f"split: the axis must divide into equal parts, got {sections} parts of axis {axis} "
            f"of {x.aval}; array_split allows unequal ones"
        )
    return _parts(x, sections, axis)


def array_split(
    ary: ArrayLike, indices_or_sections: int | Sequence[int] | ArrayLike, axis: int = 0
) -> list[Array]:
    """As `split`, but the first parts may be longer by one."""
    x = owned(ary, "array_split")
    sections = _sections(indices_or_sections)
    if isinstance(sections, int) and sections < 1:
        raise OptionError(f"array_split: there must be at least 1 part, got {sections}")
    return _parts(x, sections, normalize_axis(axis, x.ndim, "array_split"))


def _sections(indices_or_sections: int | Sequence[int] | ArrayLike) -> int | list[int]:
    """The number of parts, or where to cut. Traced values raise, since they would set shapes."""
    if isinstance(indices_or_sections, Sequence):
        return [operator.index(i) for i in indices_or_sections]
    if getattr(indices_or_sections, "ndim", 0):
        return [int(i) for i in np.asarray(indices_or_sections)]
    return operator.index(indices_or_sections)  # type: ignore[arg-type]


def _parts(x: Array, sections: int | list[int], axis: int) -> list[Array]:
    n = x.shape[axis]
    if isinstance(sections, int):
        short, longer = divmod(n, sections)
        return list(lax.split(x, [short + (i < longer) for i in range(sections)], axis))
    # As Python slices: indices may be negative, too large, or out of order.
    bounds = [0, *sections, n]
    parts = []
    for a, b in itertools.pairwise(bounds):
        start, stop, _ = builtins.slice(a, b).indices(n)
        parts.append(lax.slice_in_dim(x, start, builtins.max(start, stop), axis=axis))
    return parts


def hsplit(ary: ArrayLike, indices_or_sections: int | Sequence[int] | ArrayLike) -> list[Array]:
    """As `split` along axis 1, of vectors along axis 0. Raises: ShapeError for scalars."""
    x = owned(ary, "hsplit")
    if x.ndim == 0:
        raise ShapeError(f"hsplit: takes at least 1 axis, got {x.aval}")
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(ary: ArrayLike, indices_or_sections: int | Sequence[int] | ArrayLike) -> list[Array]:
    """As `split` along axis 0. Raises: ShapeError below rank 2."""
    return _split_at_least("vsplit", ary, indices_or_sections, 0, 2)


def dsplit(ary: ArrayLike, indices_or_sections: int | Sequence[int] | ArrayLike) -> list[Array]:
    """As `split` along axis 2. Raises: ShapeError below rank 3."""
    return _split_at_least("dsplit", ary, indices_or_sections, 2, 3)


def _split_at_least(
    what: str,
    ary: ArrayLike,
    sections: int | Sequence[int] | ArrayLike,
    axis: int,
    rank: int,
) -> list[Array]:
    x = owned(ary, what)
    if x.ndim < rank:
        raise ShapeError(f"{what}: takes at least {rank} axes, got {x.aval}")
    return split(x, sections, axis)

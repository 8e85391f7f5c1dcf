"""Shapes and axes: reshaping, reordering, adding and dropping axes, reversing, repeating."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, Axis, normalize_axes, normalize_axis
from fstensor.errors import ArgumentError, AxisError, OptionError, ShapeError
from fstensor.numpy.promote import constant, operand, owned, repeated
from fstensor.transforms.replay import replayed

# What an array is


def shape(a: ArrayLike) -> tuple[int, ...]:
    """The sizes of the axes."""
    return operand(a, "shape").shape


def ndim(a: ArrayLike) -> int:
    """The number of axes."""
    return operand(a, "ndim").ndim


def size(a: ArrayLike, axis: Axis = None) -> int:
    """The number of elements, or of places along `axis`."""
    x = operand(a, "size")
    return math.prod(x.shape[i] for i in normalize_axes(axis, x.ndim, "size"))


# Reshaping


@replayed
def reshape(
    a: ArrayLike, shape: int | Sequence[int], order: str = "C", *, copy: bool | None = None
) -> Array:
    """The same elements in another shape, in which one size may be -1: whatever is left.

    order: "C" counts elements with the last axis changing fastest, "F" with the first.
    copy: has no effect to be seen, since an Array never changes.
    Raises: ShapeError when the number of elements differs, OptionError for another order.
    """
    x = owned(a, "reshape")
    sizes = (shape,) if not isinstance(shape, Sequence) else shape
    try:
        target = [operator.index(n) for n in sizes]
    except TypeError:
        raise ArgumentError(f"reshape: shape must be made of integers, got {shape!r}") from None
    resolved = _resolved(x, target)
    if order == "C":
        return lax.reshape(x, resolved)
    if order == "F":
        backwards = lax.reshape(_reversed(x), resolved[::-1])
        return _reversed(backwards)
    raise OptionError(f"reshape: order must be 'C' or 'F', got {order!r}")


def _resolved(x: Array, sizes: list[int]) -> tuple[int, ...]:
    """`sizes` with the one -1 replaced by what is left."""
    if sizes.count(-1) > 1:
        raise ShapeError(f"reshape: only one size may be -1, got {tuple(sizes)}")
    if -1 in sizes:
        others = math.prod(n for n in sizes if n != -1)
        if others <= 0 or x.size % others:
            raise ShapeError(
                f"reshape: the number of elements must stay, got {x.aval} ({x.size}) to "
                f"{tuple(sizes)}, whose other sizes make {others}"
            )
        sizes[sizes.index(-1)] = x.size // others
    return tuple(sizes)


def _reversed(x: Array) -> Array:
    return lax.transpose(x, range(x.ndim)[::-1])


@replayed
def ravel(a: ArrayLike, order: str = "C") -> Array:
    """All elements in one axis; `order` as in `reshape`."""
    return reshape(a, (-1,) if operand(a, "ravel").size else (0,), order)


# Reordering axes


@replayed
def transpose(a: ArrayLike, axes: Sequence[int] | None = None) -> Array:
    """Axes in opposite order, or axis i of the result from axis axes[i].

    Raises: AxisError when `axes` does not name each axis once.
    """
    x = owned(a, "transpose")
    if axes is None:
        return _reversed(x)
    return lax.transpose(x, normalize_axes(tuple(axes), x.ndim, "transpose"))


def permute_dims(a: ArrayLike, /, axes: tuple[int, ...]) -> Array:
    """Axis i of the result is axis axes[i]."""
    return transpose(a, axes)


@replayed
def matrix_transpose(x: ArrayLike, /) -> Array:
    """The last two axes exchanged. Raises: ShapeError below rank 2."""
    x = owned(x, "matrix_transpose")
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose: takes at least 2 axes, got {x.aval}")
    return swapaxes(x, -1, -2)


@replayed
def swapaxes(a: ArrayLike, axis1: int, axis2: int) -> Array:
    """Two axes exchanged."""
    x = owned(a, "swapaxes")
    i, j = (normalize_axis(axis, x.ndim, "swapaxes") for axis in (axis1, axis2))
    order = list(range(x.ndim))
    order[i], order[j] = j, i
    return lax.transpose(x, order)


@replayed
def moveaxis(a: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Axes `source` moved to places `destination`, the others in order.

    Raises: AxisError when they are not as many as each other.
    """
    x = owned(a, "moveaxis")
    sources = normalize_axes(source, x.ndim, "moveaxis")
    places = normalize_axes(destination, x.ndim, "moveaxis")
    if len(sources) != len(places):
        raise AxisError(
            f"moveaxis: there must be one destination for each source, "
            f"got {source} and {destination}"
        )
    order = [i for i in range(x.ndim) if i not in sources]
    for place, i in sorted(zip(places, sources, strict=True)):
        order.insert(place, i)
    return lax.transpose(x, order)


def rollaxis(a: ArrayLike, axis: int, start: int = 0) -> Array:
    """Axis `axis` moved in front of axis `start`."""
    x = owned(a, "rollaxis")
    source = normalize_axis(axis, x.ndim, "rollaxis")
    place = x.ndim if start == x.ndim else normalize_axis(start, x.ndim, "rollaxis")
    return moveaxis(x, source, place - 1 if place > source else place)


# Adding and dropping axes


@replayed
def expand_dims(a: ArrayLike, axis: int | Sequence[int]) -> Array:
    """Axes of size 1 added at places `axis` of the result."""
    x = owned(a, "expand_dims")
    return lax.expand_dims(x, (axis,) if not isinstance(axis, Sequence) else axis)


@replayed
def squeeze(a: ArrayLike, axis: Axis = None) -> Array:
    """Without axes of size 1: all, or those of `axis`.

    Raises: ShapeError when an axis named has another size.
    """
    x = owned(a, "squeeze")
    if axis is None:
        return lax.squeeze(x, [i for i, n in enumerate(x.shape) if n == 1])
    return lax.squeeze(x, normalize_axes(axis, x.ndim, "squeeze"))


def atleast_1d(*arys: ArrayLike) -> Array | list[Array]:
    """Each operand with at least 1 axis; a list when there is not just one."""
    return _each("atleast_1d", 1, arys)


def atleast_2d(*arys: ArrayLike) -> Array | list[Array]:
    """Each operand with at least 2 axes, added in front."""
    return _each("atleast_2d", 2, arys)


def atleast_3d(*arys: ArrayLike) -> Array | list[Array]:
    """Each operand with at least 3 axes: (1, n, 1) of a vector, (m, n, 1) of a matrix."""
    return _each("atleast_3d", 3, arys)


def _each(what: str, rank: int, arys: Sequence[ArrayLike]) -> Array | list[Array]:
    found = [at_least(rank, owned(x, what)) for x in arys]
    return found[0] if len(found) == 1 else found


def at_least(rank: int, x: Array) -> Array:
    """`x` with at least `rank` axes, of at most 3, where NumPy adds them."""
    if rank < 3 or x.ndim == 0:
        return lax.expand_dims(x, range(rank - x.ndim))
    return lax.expand_dims(x, {1: (0, 2), 2: (2,)}.get(x.ndim, ()))


# Broadcasting


def broadcast_shapes(*shapes: int | Sequence[int]) -> tuple[int, ...]:
    """The shape to which arrays of these shapes broadcast. Raises: ShapeError."""
    try:
        return np.broadcast_shapes(*[s if isinstance(s, int) else tuple(s) for s in shapes])
    except ValueError:
        got = " and ".join(map(str, shapes))
        raise ShapeError(
            f"broadcast_shapes: sizes must be equal or 1, counted from the last axis, got {got}"
        ) from None


def broadcast_arrays(*args: ArrayLike) -> tuple[Array, ...]:
    """The operands, all at the shape to which they broadcast. Raises: ShapeError."""
    arrays = [owned(x, "broadcast_arrays") for x in args]
    shape = broadcast_shapes(*[x.shape for x in arrays])
    return tuple([repeated(x, shape) for x in arrays])


# Reversing and turning


@replayed
def flip(m: ArrayLike, axis: Axis = None) -> Array:
    """Elements in opposite order along `axis`, all axes by default."""
    x = owned(m, "flip")
    return lax.rev(x, normalize_axes(axis, x.ndim, "flip"))


def fliplr(m: ArrayLike) -> Array:
    """Elements in opposite order along axis 1."""
    return flip(m, 1)


def flipud(m: ArrayLike) -> Array:
    """Elements in opposite order along axis 0."""
    return flip(m, 0)


def rot90(m: ArrayLike, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """Turned k times by 90 degrees, from the first of `axes` towards the second."""
    x = owned(m, "rot90")
    if len(axes) != 2:
        raise AxisError(f"rot90: takes two axes, got {axes}")
    first, second = normalize_axes(tuple(axes), x.ndim, "rot90")
    turns = operator.index(k) % 4
    if turns == 0:
        return x
    if turns == 2:
        return lax.rev(x, (first, second))
    if turns == 1:
        return swapaxes(lax.rev(x, (second,)), first, second)
    return lax.rev(swapaxes(x, first, second), (second,))


def roll(a: ArrayLike, shift: ArrayLike | Sequence[int], axis: Axis = None) -> Array:
    """Elements moved by `shift` places along `axis`, those past the end to the front.

    Without `axis`, the flat array rolls. Several axes take one shift each, or one for all. The
    shift may be traced.
    """
    x = owned(a, "roll")
    if axis is None:
        return lax.reshape(roll(lax.reshape(x, (x.size,)), shift, 0), x.shape)
    chosen = (axis,) if not isinstance(axis, Sequence) else tuple(axis)
    axes = [normalize_axis(i, x.ndim, "roll") for i in chosen]  # an axis may be named twice
    if isinstance(shift, Sequence):
        shifts: list[ArrayLike] = list(shift)
    else:
        by = operand(shift, "roll")
        shifts = [shift] if by.ndim == 0 else [by[i] for i in range(by.shape[0])]
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: needs one shift for each axis, got {len(shifts)} for {axis}")
    for by_one, i in zip(shifts, axes, strict=True):
        x = _rolled(x, by_one, i)
    return x


def _rolled(x: Array, shift: ArrayLike, axis: int) -> Array:
    n = x.shape[axis]
    if n == 0:
        return x
    if isinstance(shift, (int, np.integer)):
        start = -int(shift) % n
        if start == 0:
            return x
        head = lax.slice_in_dim(x, 0, start, axis=axis)
        return lax.concatenate([lax.slice_in_dim(x, start, n, axis=axis), head], axis)
    by = operand(shift, "roll")
    if not dtypes.is_integer(by.dtype):
        raise ArgumentError(f"roll: shift must be an integer, got {by.aval}")
    size = constant(n, by)
    start_at = lax.rem(lax.sub(size, lax.rem(by, size)), size)  # from 0, also for a negative shift
    return lax.dynamic_slice_in_dim(lax.concatenate([x, x], axis), start_at, n, axis)


# Repeating


def tile(A: ArrayLike, reps: int | Sequence[int]) -> Array:
    """Copies side by side: `reps` of them along each axis, counted from the last."""
    x = owned(A, "tile")
    counts = [operator.index(r) for r in (reps if isinstance(reps, Sequence) else (reps,))]
    if builtins.any(r < 0 for r in counts):
        raise OptionError(f"tile: repetitions must not be negative, got {tuple(counts)}")
    rank = builtins.max(x.ndim, len(counts))
    x = lax.expand_dims(x, range(rank - x.ndim))
    counts = [1] * (rank - len(counts)) + counts
    spread = [m for r, n in zip(counts, x.shape, strict=True) for m in (r, n)]
    copies = lax.broadcast_in_dim(x, spread, range(1, 2 * rank, 2))
    return lax.reshape(copies, [r * n for r, n in zip(counts, x.shape, strict=True)])


def repeat(
    a: ArrayLike,
    repeats: ArrayLike | Sequence[int],
    axis: int | None = None,
    *,
    total_repeat_length: int | None = None,
) -> Array:
    """Each element `repeats` times, along `axis`; of the flat array by default.

    repeats: one count, or one for each element. Counts must be concrete unless
        total_repeat_length fixes the size of the result: it is cut there, or the last element
        fills it up.
    Raises: ShapeError when there are not as many counts as elements.
    """
    x = owned(a, "repeat")
    if axis is None:
        x, axis = lax.reshape(x, (x.size,)), 0
    axis = normalize_axis(axis, x.ndim, "repeat") if x.ndim else 0
    counts = operand(np.asarray(repeats) if isinstance(repeats, Sequence) else repeats, "repeat")
    if counts.ndim > 1 or (counts.ndim == 1 and counts.shape[0] not in (1, x.shape[axis])):
        raise ShapeError(
            f"repeat: needs one count for each element, got {counts.aval} for {x.aval}"
        )
    if not dtypes.is_integer(counts.dtype):
        raise ArgumentError(f"repeat: counts must be integers, got {counts.aval}")
    if total_repeat_length is None:
        return _repeated_known(x, np.asarray(counts), axis)
    counts = repeated(lax.reshape(counts, (counts.size,)), (x.shape[axis],))
    return _repeated_to(x, counts, axis, operator.index(total_repeat_length))


def _repeated_known(x: Array, counts: np.ndarray[Any, Any], axis: int) -> Array:
    if (counts < 0).any():
        raise OptionError(f"repeat: counts must not be negative, got {counts.min()}")
    n = x.shape[axis]
    if counts.size == 1:
        count = int(counts.reshape(()))
        spread = [*x.shape[: axis + 1], count, *x.shape[axis + 1 :]]
        kept = [i for i in range(x.ndim + 1) if i != axis + 1]
        copies = lax.broadcast_in_dim(x, spread, kept)
        return lax.reshape(copies, [*x.shape[:axis], n * count, *x.shape[axis + 1 :]])
    from fstensor.numpy.indexing import take

    places = np.repeat(np.arange(n, dtype=np.int32), counts)
    return take(x, places, axis=axis)


def _repeated_to(x: Array, counts: Array, axis: int, length: int) -> Array:
    """The place that element j of the result comes from is the number of counts used up by j."""
    from fstensor.numpy.indexing import take

    ends = lax.cumsum(counts, 0)
    j = lax.broadcasted_iota(ends.dtype, (length, 1), 0)
    used = lax.le(repeated(lax.expand_dims(ends, (0,)), (length, ends.shape[0])), j)
    places = lax.reduce_sum(lax.convert_element_type(used, np.int32), (1,))
    last = constant(x.shape[axis] - 1, places)
    return take(x, lax.min(places, last), axis=axis)

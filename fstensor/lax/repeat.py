"""Arrays repeated, stacked, and taken apart again."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from fstensor.array import Array, ArrayLike, lift, normalize_axis
from fstensor.errors import OptionError, ShapeError
from fstensor.ops.arrange import concatenate, split
from fstensor.ops.shape import broadcast_in_dim, expand_dims, reshape, squeeze


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape of an elementwise result. Axes of size 1 stretch, missing ones are in front.

    Raises: ShapeError when the shapes do not fit.
    """
    rank = max(map(len, shapes), default=0)
    columns = zip(*[(1,) * (rank - len(s)) + tuple(s) for s in shapes], strict=True)
    sizes = [{operator.index(n) for n in column} - {1} for column in columns]
    if any(len(s) > 1 for s in sizes):
        got = " and ".join([str(tuple(s)) for s in shapes])
        raise ShapeError(f"broadcast_shapes: shapes must agree but for axes of size 1, got {got}")
    return tuple([s.pop() if s else 1 for s in sizes])


def broadcast_to_rank(x: ArrayLike, rank: int) -> Array:
    """`x` with axes of size 1 in front, `rank` axes in all.

    Raises: ShapeError when it has more.
    """
    x = lift(x, what="broadcast_to_rank")
    if rank < x.ndim:
        raise ShapeError(f"broadcast_to_rank: rank must be at least {x.ndim}, got {rank}")
    return expand_dims(x, range(rank - x.ndim))


def broadcast_like(arr: ArrayLike, like_arr: ArrayLike) -> Array:
    """`arr` repeated to the shape of `like_arr`, with new axes in front.

    Raises: ShapeError when it does not fit.
    """
    x, shape = lift(arr, what="broadcast_like"), lift(like_arr, what="broadcast_like").shape
    return broadcast_in_dim(x, shape, range(len(shape) - x.ndim, len(shape)))


def tile(operand: ArrayLike, reps: Sequence[int]) -> Array:
    """`operand` repeated as a whole reps[i] times along each axis i.

    Raises: OptionError unless there is a number, at least 0, for each axis.
    """
    x = lift(operand, what="tile")
    counts = tuple([operator.index(n) for n in reps])
    if len(counts) != x.ndim or min(counts, default=0) < 0:
        raise OptionError(
            f"tile: reps must have a number for each axis, none of them negative, "
            f"got {counts} for {x.aval}"
        )
    if all(n == 1 for n in counts):
        return x
    pairs = list(zip(counts, x.shape, strict=True))
    spread = broadcast_in_dim(x, [n for pair in pairs for n in pair], range(1, 2 * x.ndim, 2))
    return reshape(spread, [math.prod(pair) for pair in pairs])


def stack(operands: Sequence[ArrayLike], axis: int = 0) -> Array:
    """The operands along a new axis, which stands at `axis` of the result.

    Shapes and dtypes: equal.
    Raises: ShapeError, DtypeError, or AxisError for an axis that does not exist.
    """
    xs = [lift(x, what="stack") for x in operands]
    if not xs:
        raise ShapeError("stack: needs at least one operand, got none")
    place = normalize_axis(axis, xs[0].ndim + 1, "stack")
    if any(x.shape != xs[0].shape for x in xs):
        got = ", ".join([str(x.aval) for x in xs])
        raise ShapeError(f"stack: shapes must be equal, got {got}")
    return concatenate([expand_dims(x, (place,)) for x in xs], place)


def unstack(x: ArrayLike, axis: int = 0) -> tuple[Array, ...]:
    """The parts of `x` along `axis`, which they do not have; the inverse of `stack`.

    Raises: AxisError for an axis that does not exist.
    """
    x = lift(x, what="unstack")
    place = normalize_axis(axis, x.ndim, "unstack")
    return tuple([squeeze(part, (place,)) for part in split(x, [1] * x.shape[place], place)])

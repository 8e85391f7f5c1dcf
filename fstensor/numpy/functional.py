"""Functions by pieces and over indices; phases without jumps."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, DtypeLike, normalize_axis
from fstensor.errors import ArgumentError
from fstensor.numpy.arithmetic import remainder
from fstensor.numpy.calculus import diff
from fstensor.numpy.creation import indices
from fstensor.numpy.joining import unstack
from fstensor.numpy.logic import truth
from fstensor.numpy.promote import (
    cast,
    constant,
    operand,
    owned,
    promote_dtypes,
    repeated,
    select,
)
from fstensor.numpy.reductions import cumsum
from fstensor.transforms.vmap import vmap


def piecewise(
    x: ArrayLike,
    condlist: ArrayLike | Sequence[ArrayLike],
    funclist: Sequence[ArrayLike | Callable[..., Any]],
    *args: Any,
    **kw: Any,
) -> Array:
    """At each element of `x` the function, or the constant, of the last condition that holds.

    funclist: one for each condition, and perhaps one more for where none holds; 0 by default.
    args, kw: passed to the functions behind x.
    Shapes and dtype: those of `x`. Unlike in NumPy each function sees all of x, and its values are
    selected: where it has none, its derivative may be NaN also at the elements not selected.
    Raises: ArgumentError for another number of functions.
    """
    x = owned(x, "piecewise")
    if isinstance(condlist, (list, tuple)):
        conditions = [truth("piecewise", c) for c in condlist]
    else:
        c = truth("piecewise", condlist)  # type: ignore[arg-type]
        conditions = [c] if c.ndim <= x.ndim else list(unstack(c))
    n = len(conditions)
    pieces = list(funclist)
    if len(pieces) not in (n, n + 1):
        raise ArgumentError(
            f"piecewise: needs {n} or {n + 1} functions for {n} conditions, got {len(pieces)}"
        )
    otherwise = pieces.pop() if len(pieces) == n + 1 else 0

    def value(piece: Any) -> Array:
        found = piece(x, *args, **kw) if callable(piece) else piece
        return repeated(cast("piecewise", found, x.dtype), x.shape)

    result = value(otherwise)
    for condition, piece in zip(conditions, pieces, strict=True):
        result = select(condition, value(piece), result)
    return result


def fromfunction(
    function: Callable[..., Any], shape: Sequence[int], *, dtype: DtypeLike = float, **kwargs: Any
) -> Any:
    """The array, or tree of arrays, of function(i, j, …) at each index of `shape`.

    The function is called once, on traced scalars of `dtype`, and mapped by `vmap`; its own axes
    come last.
    """
    sizes = tuple(operator.index(n) for n in shape)
    grids = unstack(_indices(sizes, dtype)) if sizes else ()
    mapped = lambda *index: function(*index, **kwargs)  # noqa: E731  # one name for every depth
    for _ in sizes:
        mapped = vmap(mapped)
    return mapped(*grids)


def _indices(sizes: tuple[int, ...], dtype: DtypeLike) -> Array:
    found = indices(sizes, dtypes.canonical(dtype))
    assert isinstance(found, Array), "one array unless sparse"
    return found


def unwrap(
    p: ArrayLike, discont: ArrayLike | None = None, axis: int = -1, period: ArrayLike = 2 * math.pi
) -> Array:
    """Phases with multiples of the period added, so that neighbours along `axis` are close.

    discont: a difference below it stays as it is; half the period by default, and at least.
    """
    x, span = promote_dtypes("unwrap", p, period)
    if dtypes.is_complex(x.dtype):
        raise ArgumentError(f"unwrap: takes real numbers, got {x.aval}")
    axis = normalize_axis(axis, x.ndim, "unwrap")
    whole = dtypes.is_integer(x.dtype)
    two = constant(2, span)
    half = lax.div(span, two)
    jumps = diff(x, axis=axis)
    low = lax.neg(half)
    wrapped = lax.add(remainder(lax.sub(jumps, low), span), low)
    # A jump of just half a period may go either way: it keeps its sign.
    edge = lax.bitwise_and(lax.eq(wrapped, low), lax.gt(jumps, constant(0, jumps)))
    if whole:
        edge = lax.bitwise_and(edge, lax.eq(lax.rem(span, two), constant(0, span)))
    wrapped = select(edge, half, wrapped)
    least = half if discont is None else operand(discont, "unwrap")
    small = lax.lt(*_same(lax.abs(jumps), least))
    fixes = select(small, constant(0, jumps), lax.sub(wrapped, jumps))
    first = lax.slice_in_dim(x, 0, min(1, x.shape[axis]), axis=axis)
    rest = lax.slice_in_dim(x, min(1, x.shape[axis]), x.shape[axis], axis=axis)
    return lax.concatenate([first, lax.add(rest, cumsum(fixes, axis, dtype=x.dtype))], axis)


def _same(x: Array, y: Array) -> list[Array]:
    return promote_dtypes("unwrap", x, y)

"""Sorting along an axis, and the largest elements."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor.array import Array, ArrayLike, lift, normalize_axis
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, MappedAxis, Primitive, Value, primitive
from fstensor.errors import OptionError, ShapeError
from fstensor.ops.families import NUMERIC, ORDERED
from fstensor.ops.gather import Gather, GatherDimensionNumbers, GatherScatterMode
from fstensor.ops.index import batch_first
from fstensor.ops.shape import broadcasted_iota, expand_dims


def _follow(x: Array, places: Array, axis: int) -> Array:
    """The elements of `x` at places along `axis`: positions with one more axis of size 1."""
    others = tuple([d for d in range(x.ndim) if d != axis])
    numbers = GatherDimensionNumbers((), (axis,), (axis,), others, others)
    mode = GatherScatterMode.PROMISE_IN_BOUNDS
    sizes = tuple([1 if d == axis else min(1, n) for d, n in enumerate(x.shape)])
    follow = Gather(numbers, None, False, mode, sizes, False)
    return follow.bind(x, places)


def _ordered(key: Any) -> Any:
    """A key that NumPy puts in order: it knows no place for the NaN of the extension dtypes."""
    return key if key.dtype.isbuiltin == 1 else key.astype(np.float32)


def _equals_differ(key: Any) -> bool:
    """Whether stability can be seen in sorted keys: elements that are equal, but not the same.

    The bits by which one NaN differs from another do not count.
    """
    if key.dtype.kind == "f":  # a zero with the sign bit set, as an integer of as many bits
        bits = key.view(np.dtype(f"i{key.dtype.itemsize}"))
        return bool((bits == np.iinfo(bits.dtype).min).any())
    return key.dtype.kind == "c"


_LEAST_UNSTABLE = 4096  # elements; for fewer, stability costs nothing


def _stable_order(key: Any) -> Any:
    """The stable order of a vector, by NumPy's unstable sort, which is about twice as fast.

    Where neighbors in the unstable order are equal, they are put in the order of their places.
    """
    n = key.size
    if n < _LEAST_UNSTABLE or key.dtype.kind == "c":
        return np.argsort(key, kind="stable")
    order = np.argsort(key)
    ordered = key[order]
    equal = ordered[1:] == ordered[:-1]
    if key.dtype.kind == "f":
        equal |= np.isnan(ordered[:-1])  # and so is the next
    if not equal.any():
        return order
    first = np.concatenate(([True], ~equal))  # of its run of equals
    tied = np.flatnonzero(np.concatenate((equal, [False])) | ~first)
    run = np.cumsum(first)[tied]
    order[tied] = np.sort(run * n + order[tied]) % n
    return order


@final
@primitive("sort")
class Sort(Primitive):
    """The operands in the order that sorts the first `num_keys` of them along one axis.

    Ascending, by the first key, then the second among equals, and so on. NaN comes last; complex
    numbers are ordered by their real, then their imaginary part. The order is always stable.
    """

    dimension: int
    is_stable: bool
    num_keys: int

    multiple_results = True

    def abstract(self, *xs: ShapedArray) -> list[ShapedArray]:
        if not xs or any(x.shape != xs[0].shape for x in xs):
            got = ", ".join(map(str, xs)) or "none"
            raise ShapeError(f"sort: operands must have one shape, got {got}")
        if not 0 <= self.dimension < xs[0].ndim:
            raise ShapeError(f"sort: axis {self.dimension} does not exist in {xs[0]}")
        if not 1 <= self.num_keys <= len(xs):
            raise OptionError(
                f"sort: num_keys must lie between 1 and the number of operands, {len(xs)}, "
                f"got {self.num_keys}"
            )
        NUMERIC.check("sort", *xs[: self.num_keys])
        return list(xs)

    def impl(self, xp: Any, *xs: Any) -> Any:
        if len(xs) == 1:
            key = _ordered(xs[0])
            stable = xp is not np or key.size < _LEAST_UNSTABLE or _equals_differ(key)
            kind = "stable" if stable else None
            return [xp.sort(key, self.dimension, kind=kind).astype(xs[0].dtype, copy=False)]
        if xp is np and xs[0].ndim == 1 and self.num_keys == 1:
            order = _stable_order(_ordered(xs[0]))
            return [x[order] for x in xs]
        order = None
        for key in reversed(xs[: self.num_keys]):
            # Each key's stable order keeps that of the later keys among its equals.
            key = _ordered(key)
            if order is not None:
                key = xp.take_along_axis(key, order, self.dimension)
            step = xp.argsort(key, self.dimension, kind="stable")
            order = step if order is None else xp.take_along_axis(order, step, self.dimension)
        return [xp.take_along_axis(x, order, self.dimension) for x in xs]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        shape = primals[0].shape
        unsigned = np.uint32 if shape[self.dimension] < 2**32 else np.uint64
        *outs, order = self.bind(*primals, broadcasted_iota(unsigned, shape, self.dimension))
        if not shape[self.dimension]:
            return outs, list(tangents)
        places = expand_dims(order, (order.ndim,))
        pushed = [t if t is ZERO else _follow(t, places, self.dimension) for t in tangents]
        return outs, pushed

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, list[int]]:
        fronted = [batch_first(x, d, axis.size) for x, d in zip(args, dims, strict=True)]
        outs = Sort(self.dimension + 1, self.is_stable, self.num_keys).bind(*fronted)
        return outs, [0] * len(outs)


def sort(
    operand: ArrayLike | Sequence[ArrayLike],
    dimension: int = -1,
    is_stable: bool = True,
    num_keys: int = 1,
) -> Any:
    """`operand` sorted along an axis; several operands, in a sequence, sorted by the first.

    num_keys: how many operands decide the order, the first before the second among equals.
    is_stable: whether equals must keep their order; they always do.
    Returns an array for an array, a tuple for a sequence.
    Raises: ShapeError when shapes differ, AxisError, or OptionError for a wrong num_keys.
    """
    several = isinstance(operand, (tuple, list))
    given: Sequence[Any] = operand if isinstance(operand, (tuple, list)) else [operand]
    xs = [lift(x, what="sort") for x in given]
    if not xs:
        raise ShapeError("sort: needs at least one operand, got none")
    axis = normalize_axis(dimension, xs[0].ndim, "sort")
    outs = Sort(axis, is_stable, num_keys).bind(*xs)
    return tuple(outs) if several else outs[0]


def sort_key_val(
    keys: ArrayLike, values: ArrayLike, dimension: int = -1, is_stable: bool = True
) -> tuple[Array, Array]:
    """Keys sorted along an axis, and values in the order of their keys."""
    sorted_keys, sorted_values = sort((keys, values), dimension, is_stable)
    return sorted_keys, sorted_values


@final
@primitive("top_k")
class TopK(Primitive):
    """The `k` greatest elements along `axis`, in descending order, and their positions.

    NaN counts as greatest; among equals the first comes first.
    """

    axis: int
    k: int

    multiple_results = True

    def abstract(self, x: ShapedArray) -> list[ShapedArray]:
        ORDERED.check("top_k", x)
        if not 0 <= self.axis < x.ndim or not 0 <= self.k <= x.shape[self.axis]:
            raise ShapeError(
                f"top_k: k must lie between 0 and the size of axis {self.axis}, "
                f"got {self.k} for {x}"
            )
        shape = (*x.shape[: self.axis], self.k, *x.shape[self.axis + 1 :])
        return [x.update(shape=shape), ShapedArray(shape, np.dtype(np.int32))]

    def impl(self, xp: Any, x: Any) -> Any:
        # The reverse of an ascending stable order has equals backwards; sorting the reversed
        # array puts them right.
        backwards = xp.argsort(xp.flip(_ordered(x), self.axis), self.axis, kind="stable")
        order = x.shape[self.axis] - 1 - xp.flip(backwards, self.axis)
        chosen = order[(slice(None),) * self.axis + (slice(0, self.k),)]
        return xp.take_along_axis(x, chosen, self.axis), chosen.astype(np.int32)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        values, positions = self.bind(*primals)
        if not values.size:
            return [values, positions], [values, ZERO]
        places = expand_dims(positions, (positions.ndim,))
        return [values, positions], [_follow(tangents[0], places, self.axis), ZERO]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, list[int]]:
        x = batch_first(args[0], dims[0], axis.size)
        return TopK(self.axis + 1, self.k).bind(x), [0, 0]


def top_k(operand: ArrayLike, k: int, *, axis: int = -1) -> tuple[Array, Array]:
    """The `k` greatest elements of `operand` along `axis`, descending, and their positions (int32).

    NaN counts as greatest; among equals the first comes first.
    Raises: ShapeError when k exceeds the size of the axis, DtypeError for complex numbers.
    """
    x = lift(operand)
    values, positions = TopK(normalize_axis(axis, x.ndim, "top_k"), operator.index(k)).bind(x)
    return values, positions

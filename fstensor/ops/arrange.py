"""Operations that join arrays, cut them apart, and reverse them."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Sequence
from typing import Any, final

from fstensor.array import Array, ArrayLike, lift, normalize_axes, normalize_axis
from fstensor.core.affine import Index
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value, primitive
from fstensor.core.scalar import INT32, INT64, Elements, IndexedOps, V
from fstensor.errors import ArgumentError, ShapeError
from fstensor.ops.families import Structural, check_same_dtype
from fstensor.ops.index import batch_first
from fstensor.ops.logical import filled
from fstensor.ops.shape import zeros_of


@final
@primitive("concatenate")
class Concatenate(Primitive):
    """The operands behind each other along one axis."""

    dimension: int

    def abstract(self, *xs: ShapedArray) -> ShapedArray:
        d = self.dimension
        if not xs:
            raise ShapeError("concatenate: needs at least one operand, got none")
        check_same_dtype("concatenate", xs)
        first = xs[0].shape
        if not 0 <= d < len(first) or any(
            x.ndim != len(first) or x.shape[:d] + x.shape[d + 1 :] != first[:d] + first[d + 1 :]
            for x in xs
        ):
            got = ", ".join(map(str, xs))
            raise ShapeError(f"concatenate: shapes must agree but for axis {d}, got {got}")
        size = sum([x.shape[d] for x in xs])
        weak = all(x.weak_type for x in xs)
        return xs[0].update(shape=(*first[:d], size, *first[d + 1 :]), weak_type=weak)

    def impl(self, xp: Any, *xs: Any) -> Any:
        return xp.concatenate(xs, self.dimension)

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        d = self.dimension
        sizes = [x.aval.shape[d] for x in operands]
        starts = [0, *itertools.accumulate(sizes)]
        if index[d].is_constant:
            k = bisect.bisect_right(starts, index[d].constant) - 1
            return operands[k].at((*index[:d], index[d] + -starts[k], *index[d + 1 :]))
        dtype = INT32 if starts[-1] < 1 << 31 else INT64
        here = ops.index(index[d], dtype)
        behind = [ops.ge(here, ops.constant(s, dtype)) for s in starts[1:-1]]
        found = None
        for k in reversed(range(len(operands))):
            own = [behind[k - 1]] if k > 0 else []
            own += [ops.not_(behind[k])] if k < len(behind) else []
            place = (*index[:d], index[d] + -starts[k], *index[d + 1 :])
            if not own:
                return operands[k].at(place)
            part = operands[k].at_if(functools.reduce(ops.and_, own), place)
            found = part if found is None else ops.select(behind[k], found, part)
        return found

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        pushed = filled(tangents, [x.aval for x in primals])
        return self.bind(*primals), self.bind(*pushed)

    def transpose(self, ct: Array, *xs: Value) -> Sequence[Value]:
        parts = split(ct, [x.shape[self.dimension] for x in xs], self.dimension)
        return [p if isinstance(x, Linear) else None for p, x in zip(parts, xs, strict=True)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        fronted = [batch_first(x, d, axis.size) for x, d in zip(args, dims, strict=True)]
        return Concatenate(self.dimension + 1).bind(*fronted), 0


def concatenate(operands: Sequence[ArrayLike], dimension: int) -> Array:
    """The operands behind each other along axis `dimension`.

    Shapes: equal but for that axis. Dtypes: equal.
    Raises: ShapeError, DtypeError, or AxisError for an axis that does not exist.
    """
    xs = [lift(x, what="concatenate") for x in operands]
    if not xs:
        raise ShapeError("concatenate: needs at least one operand, got none")
    axis = normalize_axis(dimension, xs[0].ndim, "concatenate")
    return xs[0] if len(xs) == 1 else Concatenate(axis).bind(*xs)


@final
@primitive("split")
class Split(Primitive):
    """Consecutive parts of given sizes along one axis."""

    sizes: tuple[int, ...]
    axis: int

    multiple_results = True

    def abstract(self, x: ShapedArray) -> list[ShapedArray]:
        a = self.axis
        if not 0 <= a < x.ndim or sum(self.sizes) != x.shape[a] or min(self.sizes, default=0) < 0:
            raise ShapeError(
                f"split: sizes must add up to the size of axis {a}, got {self.sizes} for {x}"
            )
        return [x.update(shape=(*x.shape[:a], n, *x.shape[a + 1 :])) for n in self.sizes]

    def impl(self, xp: Any, x: Any) -> Any:
        ends = list(itertools.accumulate(self.sizes))
        before = (slice(None),) * self.axis
        return [x[(*before, slice(end - n, end))] for n, end in zip(self.sizes, ends, strict=True)]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(*tangents)

    def transpose(self, cts: Sequence[Value], x: Value) -> Sequence[Value]:
        known = next(ct for ct in cts if ct is not ZERO)
        before, after = x.shape[: self.axis], x.shape[self.axis + 1 :]
        parts = [
            zeros_of(ShapedArray((*before, n, *after), known.dtype)) if ct is ZERO else ct
            for ct, n in zip(cts, self.sizes, strict=True)
        ]
        return [concatenate(parts, self.axis)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, list[int]]:
        parts = Split(self.sizes, self.axis + 1).bind(batch_first(args[0], dims[0], axis.size))
        return parts, [0] * len(parts)


def split(operand: ArrayLike, sizes: Sequence[int], axis: int = 0) -> Sequence[Array]:
    """Consecutive parts of `operand` along `axis`, of the given sizes.

    Raises: ShapeError when the sizes do not add up, AxisError for an axis that does not exist.
    """
    x = lift(operand)
    if isinstance(sizes, int):
        raise ArgumentError(f"split: sizes must be a sequence of ints, got {sizes}")
    return Split(tuple(sizes), normalize_axis(axis, x.ndim, "split")).bind(x)


@final
@primitive("rev")
class Rev(Structural):
    """The elements in opposite order along `dimensions`."""

    dimensions: tuple[int, ...]

    def abstract(self, x: ShapedArray) -> ShapedArray:
        if len(set(self.dimensions)) != len(self.dimensions) or any(
            not 0 <= d < x.ndim for d in self.dimensions
        ):
            raise ShapeError(
                f"rev: dimensions must be distinct axes of the operand, "
                f"got {self.dimensions} for {x}"
            )
        return x

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.flip(x, self.dimensions)

    def source_index(self, index: Index, x: ShapedArray) -> Index:
        turned = [i * -1 + (n - 1) for i, n in zip(index, x.shape, strict=True)]
        return tuple([turned[d] if d in self.dimensions else i for d, i in enumerate(index)])

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [self.bind(ct)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        d = dims[0]
        assert d is not None
        return Rev(tuple([i + (i >= d) for i in self.dimensions])).bind(args[0]), d


def rev(operand: ArrayLike, dimensions: Sequence[int]) -> Array:
    """The elements of `operand` in opposite order along `dimensions`.

    Raises: AxisError for an axis that does not exist or is named twice.
    """
    x = lift(operand)
    axes = normalize_axes(tuple(dimensions), x.ndim, "rev")
    return Rev(axes).bind(x) if axes else x

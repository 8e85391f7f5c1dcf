"""Operations that rearrange elements: broadcast, reshape, transpose, and their kin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes, ops
from fstensor.array import (
    Array,
    ArrayLike,
    ConcreteArray,
    DtypeLike,
    lift,
    normalize_axes,
    normalize_axis,
)
from fstensor.core.affine import Affine, Index, flat
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import MappedAxis, Primitive, Value, primitive
from fstensor.core.tape import zero_tapes
from fstensor.errors import ArgumentError, ShapeError
from fstensor.ops.families import NUMBER, Structural


@final
@primitive("broadcast_in_dim")
class BroadcastInDim(Structural):
    """Operand axis i becomes axis `broadcast_dimensions[i]` of `shape`; axes of size 1 stretch."""

    shape: tuple[int, ...]
    broadcast_dimensions: tuple[int, ...]

    def printed_params(self) -> dict[str, Any]:
        dims = self.broadcast_dimensions
        return {"broadcast_dimensions": dims} if dims else {}

    def abstract(self, x: ShapedArray) -> ShapedArray:
        dims, shape = self.broadcast_dimensions, self.shape
        if not all(isinstance(n, (int, np.integer)) for n in shape):
            raise ArgumentError(
                f"broadcast_in_dim: shape must be made of integers, got {shape} for {x}"
            )
        if (
            len(dims) != x.ndim
            or any(b <= a for a, b in itertools.pairwise(dims))
            or any(not 0 <= d < len(shape) for d in dims)
        ):
            raise ShapeError(
                "broadcast_in_dim: broadcast_dimensions must name an axis of the result for each "
                f"axis of the operand, ascending, got {dims} for {x} to {shape}"
            )
        if any(n < 0 for n in shape):
            raise ShapeError(f"broadcast_in_dim: sizes must not be negative, got {shape} for {x}")
        if any(n not in (1, shape[d]) for n, d in zip(x.shape, dims, strict=True)):
            raise ShapeError(
                f"broadcast_in_dim: only axes of size 1 stretch, got {x} to {shape} along {dims}"
            )
        return x.update(shape=shape)

    def same_as(
        self, avals: tuple[ShapedArray, ...], literals: Sequence[Array | None]
    ) -> int | None:
        return 0 if avals[0].shape == self.shape else None

    def impl(self, xp: Any, x: Any) -> Any:
        if x.ndim == 0:
            return xp.full(self.shape, x, x.dtype)
        spread = [1] * len(self.shape)
        for n, d in zip(x.shape, self.broadcast_dimensions, strict=True):
            spread[d] = n
        x = x.reshape(spread)
        return x if x.shape == self.shape else xp.broadcast_to(x, self.shape)

    def source_index(self, index: Index, x: ShapedArray) -> Index:
        dims = self.broadcast_dimensions
        return tuple(
            [index[d] if n != 1 else Affine(0) for n, d in zip(x.shape, dims, strict=True)]
        )

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        dims = self.broadcast_dimensions
        stretched = [d for n, d in zip(x.shape, dims, strict=True) if n == 1 and self.shape[d] != 1]
        summed = tuple([i for i in range(len(self.shape)) if i not in dims or i in stretched])
        return [reshape(ops.reduce.reduce_sum(ct, summed), x.shape)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        x = moveaxis(args[0], dims[0], 0)
        kept = (0, *[d + 1 for d in self.broadcast_dimensions])
        return BroadcastInDim((axis.size, *self.shape), kept).bind(x), 0


def broadcast_in_dim(
    operand: ArrayLike, shape: Sequence[int], broadcast_dimensions: Sequence[int]
) -> Array:
    """Place the axes of `operand` among those of a larger array, and repeat it along the others.

    Shapes: axis i of operand becomes axis broadcast_dimensions[i] of the result; it has the same
    size there, or size 1.
    Raises: ShapeError when they do not fit.
    """
    x = lift(operand)
    target, dims = tuple(shape), tuple(broadcast_dimensions)
    if x.shape == target and dims == tuple(range(len(target))):
        return x
    return BroadcastInDim(target, dims).bind(x)


def expand_dims(array: ArrayLike, dimensions: Sequence[int]) -> Array:
    """Insert axes of size 1, at positions `dimensions` of the result."""
    x = lift(array)
    rank = x.ndim + len(dimensions)
    added = normalize_axes(tuple(dimensions), rank, "expand_dims")
    if not added:
        return x
    kept = tuple([i for i in range(rank) if i not in added])
    sizes = iter(x.shape)
    shape = tuple([1 if i in added else next(sizes) for i in range(rank)])
    return BroadcastInDim(shape, kept).bind(x)


def stretch(x: Array, shape: tuple[int, ...]) -> Array:
    """`x` at the full shape of an elementwise result of which it was an operand."""
    if x.shape == shape:
        return x
    return BroadcastInDim(shape, tuple(range(len(shape))) if x.ndim else ()).bind(x)


def full(shape: Sequence[int], value: ArrayLike, dtype: np.dtype[Any]) -> Array:
    """An array filled with a Python scalar."""
    scalar = lift(value, dtype)
    return BroadcastInDim(tuple(shape), ()).bind(scalar) if len(shape) else scalar


def zeros_of(aval: ShapedArray) -> Array:
    """The zero tangent or cotangent of type `aval`."""
    if aval.dtype == dtypes.tape:
        return ConcreteArray(zero_tapes(aval.shape), aval)
    return full(aval.shape, 0, aval.dtype)


@final
@primitive("reshape")
class Reshape(Structural):
    """The same elements, in row-major order, in another shape."""

    new_sizes: tuple[int, ...]

    def abstract(self, x: ShapedArray) -> ShapedArray:
        if math.prod(self.new_sizes) != x.size or any(n < 0 for n in self.new_sizes):
            raise ShapeError(
                f"reshape: the number of elements must stay, got {x} ({x.size}) to "
                f"{self.new_sizes} ({math.prod(self.new_sizes)})"
            )
        return x.update(shape=self.new_sizes)

    def same_as(
        self, avals: tuple[ShapedArray, ...], literals: Sequence[Array | None]
    ) -> int | None:
        return 0 if avals[0].shape == self.new_sizes else None

    def impl(self, xp: Any, x: Any) -> Any:
        return x.reshape(self.new_sizes)

    def source_index(self, index: Index, x: ShapedArray) -> Index | None:
        found: list[Affine] = []
        for old, new in _equal_parts(x.shape, self.new_sizes):
            long = [i for i in old if x.shape[i] != 1]
            if len(long) > 1:
                return None  # one index would have to be divided into several
            where = flat([index[i] for i in new], [self.new_sizes[i] for i in new])
            found += [where if i in long else Affine(0) for i in old]
        return tuple(found)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [reshape(ct, x.shape)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        return Reshape((axis.size, *self.new_sizes)).bind(moveaxis(args[0], dims[0], 0)), 0


def _equal_parts(
    old: tuple[int, ...], new: tuple[int, ...]
) -> Iterator[tuple[list[int], list[int]]]:
    """The shortest runs of axes of two shapes that hold equally many elements, in order."""
    i = j = 0
    while i < len(old) or j < len(new):
        a: list[int] = []
        b: list[int] = []
        m = n = 1
        while not (a or b) or m != n:
            if (m <= n and i < len(old)) or j == len(new):
                m *= old[i]
                a.append(i)
                i += 1
            else:
                n *= new[j]
                b.append(j)
                j += 1
        yield a, b


def reshape(
    operand: ArrayLike, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None
) -> Array:
    """The elements of `operand` in row-major order, in shape `new_sizes`.

    dimensions: the order of the axes, slowest first, in which to read the elements; that of
        `operand` by default.
    Raises: ShapeError when the number of elements differs, or `dimensions` does not fit.
    """
    x, target = lift(operand), tuple(new_sizes)
    if dimensions is not None:
        x = transpose(x, dimensions)
    return x if x.shape == target else Reshape(target).bind(x)


@final
@primitive("transpose")
class Transpose(Structural):
    """Axis i of the result is axis `permutation[i]` of the operand."""

    permutation: tuple[int, ...]

    def abstract(self, x: ShapedArray) -> ShapedArray:
        if sorted(self.permutation) != list(range(x.ndim)):
            raise ShapeError(
                f"transpose: permutation must name each axis once, got {self.permutation} for {x}"
            )
        return x.update(shape=tuple([x.shape[i] for i in self.permutation]))

    def same_as(
        self, avals: tuple[ShapedArray, ...], literals: Sequence[Array | None]
    ) -> int | None:
        return 0 if self.permutation == tuple(range(avals[0].ndim)) else None

    def impl(self, xp: Any, x: Any) -> Any:
        return x.transpose(self.permutation)

    def source_index(self, index: Index, x: ShapedArray) -> Index:
        return tuple([index[i] for i in np.argsort(self.permutation).tolist()])

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [transpose(ct, tuple(np.argsort(self.permutation).tolist()))]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        d = dims[0]
        assert d is not None
        kept = [i + (i >= d) for i in self.permutation]
        return transpose(args[0], (d, *kept)), 0


def transpose(operand: ArrayLike, permutation: Sequence[int]) -> Array:
    """Reorder axes: axis i of the result is axis permutation[i] of `operand`.

    Raises: ShapeError when `permutation` does not name each axis once.
    """
    x, order = lift(operand), tuple(permutation)
    return x if order == tuple(range(x.ndim)) else Transpose(order).bind(x)


def moveaxis(x: Array, source: int | None, destination: int) -> Array:
    """Move one axis; for the batch axes of rules, where it is known not to be None."""
    assert source is not None
    if source == destination:
        return x
    order = [i for i in range(x.ndim) if i != source]
    order.insert(destination, source)
    return transpose(x, order)


@final
@primitive("squeeze")
class Squeeze(Structural):
    """Drop axes of size 1."""

    dimensions: tuple[int, ...]

    def abstract(self, x: ShapedArray) -> ShapedArray:
        if any(x.shape[d] != 1 for d in self.dimensions):
            raise ShapeError(
                f"squeeze: only axes of size 1 can be dropped, got {x} along {self.dimensions}"
            )
        return x.update(shape=tuple([n for i, n in enumerate(x.shape) if i not in self.dimensions]))

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.squeeze(x, self.dimensions)

    def source_index(self, index: Index, x: ShapedArray) -> Index:
        kept = iter(index)
        return tuple([Affine(0) if i in self.dimensions else next(kept) for i in range(x.ndim)])

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [expand_dims(ct, self.dimensions)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        x = moveaxis(args[0], dims[0], 0)
        return Squeeze(tuple([d + 1 for d in self.dimensions])).bind(x), 0


def squeeze(array: ArrayLike, dimensions: Sequence[int]) -> Array:
    """Drop the axes `dimensions`, each of size 1.

    Raises: AxisError for an axis that does not exist, ShapeError when its size is not 1.
    """
    x = lift(array)
    dims = tuple(sorted(normalize_axes(tuple(dimensions), x.ndim, "squeeze")))
    return Squeeze(dims).bind(x) if dims else x


@final
@primitive("iota")
class Iota(Primitive):
    """The index along one axis: 0, 1, 2, …, repeated along the others."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    dimension: int

    def abstract(self) -> ShapedArray:
        return ShapedArray(self.shape, self.dtype)

    def impl(self, xp: Any) -> Any:
        spread = [1] * len(self.shape)
        spread[self.dimension] = self.shape[self.dimension]
        values = xp.arange(self.shape[self.dimension]).astype(self.dtype).reshape(spread)
        return values if values.shape == self.shape else xp.broadcast_to(values, self.shape)


def broadcasted_iota(dtype: DtypeLike, shape: Sequence[int], dimension: int) -> Array:
    """The index along axis `dimension` of an array of `shape`, as `dtype`.

    Raises: AxisError for an axis that does not exist; DtypeError for a dtype that is no number.
    """
    target = dtypes.canonical(dtype)
    NUMBER.check("iota", ShapedArray((), target))
    return Iota(target, tuple(shape), normalize_axis(dimension, len(shape), "iota")).bind()

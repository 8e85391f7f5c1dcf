"""Where an index points, in the terms of gather and scatter: for reading by arrays, and updates."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import device, dtypes
from fstensor.array import Array, ConcreteArray, from_buffer, lift
from fstensor.config import config
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import Primitive
from fstensor.core.state import state
from fstensor.core.trace import EVAL
from fstensor.errors import OutOfBoundsError
from fstensor.numpy.index_key import Key, Layout, Operand, Operands, Span, layout_of
from fstensor.ops.arrange import concatenate
from fstensor.ops.bounds import checked_index
from fstensor.ops.convert import convert_element_type
from fstensor.ops.gather import GatherDimensionNumbers
from fstensor.ops.index import as_index, wrap_index
from fstensor.ops.shape import broadcast_in_dim, expand_dims, reshape


@final
class Reach:
    """Where an index points, in the terms of gather and scatter.

    The boxes have `sizes`. Their starts have a column for each axis that is not read whole: a
    number, places along an axis of the batch (a strided slice), or an operand.
    """

    def __init__(self, aval: ShapedArray, key: Key, strict: bool, wrap: bool) -> None:
        layout = self.layout = layout_of(aval, key)
        shape = aval.shape
        batch: list[int] = []
        windows: list[int] = []
        strided: dict[int, int] = {}
        arrays_at = at = 0
        backwards = []
        for token in layout.tokens:
            if token is None:
                continue
            if token == "arrays":
                arrays_at = len(batch)
                batch += layout.stretched
                at += len(layout.stretched)
                continue
            span = layout.by_axis[token]
            if span.step == 1:
                windows.append(at)
                if span.reverse:
                    backwards.append(at)
            else:
                strided[token] = len(batch)
                batch.append(span.size)
            at += 1
        self.batch = tuple(batch)
        self.arrays_end = arrays_at + len(layout.stretched)
        self.backwards = tuple(backwards)
        self.flat_shape = tuple(
            [n for i, n in enumerate(layout.shape) if i not in layout.new_axes()]
        )
        sizes: list[int] = []
        collapsed: list[int] = []
        columns: dict[int, Any] = {}
        for axis, entry in enumerate(layout.by_axis):
            if isinstance(entry, Span) and axis not in strided:
                sizes.append(entry.size)
                if entry.size != shape[axis]:
                    columns[axis] = np.asarray(entry.low)
                continue
            sizes.append(1)
            collapsed.append(axis)
            if isinstance(entry, Span):
                steps = entry.low + entry.step * np.arange(entry.size)
                spread = [1] * len(batch)
                spread[strided[axis]] = entry.size
                columns[axis] = (steps[::-1] if entry.reverse else steps).reshape(spread)
            elif isinstance(entry, Operand):
                columns[axis] = entry
            else:
                i = layout.place(axis, strict, wrap)
                if (i, shape[axis]) != (0, 1):
                    columns[axis] = np.asarray(i)
        self.sizes = tuple(sizes)
        self.columns: list[Any] = list(columns.values())
        self.numbers = GatherDimensionNumbers(tuple(windows), tuple(collapsed), tuple(columns))
        self.is_empty = 0 in layout.shape
        self.unreachable = not self.is_empty and any(
            size > n for size, n in zip(self.sizes, shape, strict=True)
        )
        self._known: Array | None = None
        self.scatters: dict[Any, Primitive] = {}  # by kind, with no promises and the default mode

    def check(self, operands: Operands, wrap: bool) -> None:
        """Raises OutOfBoundsError when an ndarray among the operands points outside.

        Under check_indices also when an Array points along an axis without elements.
        """
        for i, axis in zip(operands, self.layout.operand_axes, strict=True):
            if isinstance(i, Array):
                if config.check_indices and self.unreachable and not self.layout.aval.shape[axis]:
                    raise OutOfBoundsError(
                        f"index: axis {axis} of {self.layout.aval} has no elements"
                    )
            else:
                places_on_axis(i, self.layout.aval, axis, True, wrap)

    def indices(self, operands: Operands, strict: bool, wrap: bool) -> Array:
        """The starts of all boxes, as an array of shape (*batch, columns)."""
        # A program that is recorded shows the numbers of a single box as literals.
        as_literals = state.trace is not EVAL and not self.batch
        if self._known is not None and not as_literals:
            return self._known
        columns: list[Any] = []
        for column in self.columns:
            if isinstance(column, Operand):
                axis = self.layout.operand_axes[column.position]
                i = places_on_axis(operands[column.position], self.layout.aval, axis, strict, wrap)
                missing = len(self.batch) - self.arrays_end
                column = _append_axes(i, missing) if missing else i
            columns.append(column)
        if as_literals:
            columns = [c if isinstance(c, Array) else known_places(c) for c in columns]
        found = _join(columns, self.batch)
        if not operands and not as_literals:
            self._known = found
        return found


def _append_axes(x: Any, count: int) -> Any:
    shape = (*x.shape, *[1] * count)
    return reshape(x, shape) if isinstance(x, Array) else x.reshape(shape)


def _join(columns: Sequence[Any], batch: tuple[int, ...]) -> Array:
    """The columns side by side on a last axis, each stretched over the batch."""
    if not columns:
        return lift(np.zeros((*batch, 0), np.int32))
    if not any(isinstance(c, Array) for c in columns):
        if len(columns) == 1 and columns[0].shape == batch:
            return known_places(columns[0][..., None])
        stretched = [np.broadcast_to(c, batch) for c in columns]
        return known_places(np.stack(stretched, -1))
    arrays = [c if isinstance(c, Array) else known_places(c) for c in columns]
    dtype = np.dtype(np.int64 if any(c.dtype.itemsize == 8 for c in arrays) else np.int32)
    spread = []
    for c in arrays:
        c = convert_element_type(c, dtype)
        c = broadcast_in_dim(c, batch, range(len(batch) - c.ndim, len(batch)))
        spread.append(expand_dims(c, (len(batch),)))
    return concatenate(spread, len(batch))


def beside(x: Array, places: Array) -> Array:
    """`places` on the device of `x`, when both are concrete."""
    if isinstance(x, ConcreteArray) and isinstance(places, ConcreteArray):
        home = device.device_of(x._buffer)
        if home != device.CPU:
            return from_buffer(device.move(places._buffer, home))
    return places


def known_places(places: Any) -> Array:
    """Places known now as an Array, of int32 when they fit."""
    places = np.asarray(places)
    narrow = places.dtype.itemsize <= 4 or not places.size
    narrow = narrow or (places.min() >= -(2**31) and places.max() < 2**31)
    return lift(places.astype(np.int32 if narrow else np.int64))


def checked_promise(layout: Layout, operands: Operands, wrap: bool) -> Operands:
    """The operands of an index that promises to lie inside, looked at under check_indices."""
    if not config.checking:
        return operands
    return [
        checked_index(i, layout.aval, axis, "index", wrap=wrap) if isinstance(i, Array) else i
        for i, axis in zip(operands, layout.operand_axes, strict=True)
    ]


def places_on_axis(
    index: Any, aval: ShapedArray, axis: int, strict: bool, wrap: bool, what: str = "index"
) -> Any:
    """An index array as places on an axis, negative ones counted from its end.

    An ndarray gives an ndarray. So does an Array outside of every transform, whose values are at
    hand; but it is not checked, since it would not be while traced, unless check_indices is on.
    Raises: OutOfBoundsError when strict and an ndarray points outside.
    """
    n = aval.shape[axis]
    if isinstance(index, Array):
        if strict and config.checking:
            index = checked_index(index, aval, axis, what, wrap=wrap)
        if (
            not isinstance(index, ConcreteArray)
            or state.trace is not EVAL
            or index.device != device.CPU
        ):
            i = as_index(index, "index")
            return wrap_index(i, n) if wrap and not dtypes.is_unsigned(index.dtype) else i
        index, strict = np.asarray(index), False
    if strict and index.size and not (-n if wrap else 0) <= index.min() <= index.max() < n:
        outside = index[(index < (-n if wrap else 0)) | (index >= n)]
        raise OutOfBoundsError(f"index: {outside[0]} is out of bounds for axis {axis} of {aval}")
    if wrap and index.dtype.kind == "i":
        index = index.astype(np.int64, copy=False)
        return np.where(index < 0, index + n, index)
    return index


@functools.lru_cache(maxsize=4096)
def reach_of(aval: ShapedArray, key: Key, strict: bool, wrap: bool) -> Reach:
    return Reach(aval, key, strict, wrap)

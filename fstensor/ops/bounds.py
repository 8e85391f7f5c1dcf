"""The check that an index lies inside, made where it is computed: the setting `check_indices`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import device, ops
from fstensor.array import Array
from fstensor.config import config
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import MappedAxis, Primitive, Value, primitive
from fstensor.core.source_info import SourceInfo
from fstensor.errors import OutOfBoundsError
from fstensor.ops.families import INTEGER


@final
@primitive("check_index")
class CheckIndex(Primitive):
    """The index itself, if it lies inside of the array that it is for. Otherwise it raises.

    axes: the axis of the array that the index points along; with `columns`, the axes, and the last
        axis of the index has an entry for each.
    sizes: of the box that starts there, along each of `axes`.
    wrap: whether negative places count from the end.
    source: the line of the message.
    """

    array: ShapedArray
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    wrap: bool
    columns: bool
    what: str
    source: SourceInfo | None

    def printed_params(self) -> dict[str, Any]:
        return {"array": self.array, "axes": self.axes, "sizes": self.sizes, "wrap": self.wrap}

    def abstract(self, index: ShapedArray) -> ShapedArray:
        INTEGER.check("check_index", index)
        return index

    def impl(self, xp: Any, index: Any) -> Any:
        places = np.asarray(device.move(index, device.CPU))
        for k, (axis, size) in enumerate(zip(self.axes, self.sizes, strict=True)):
            column = places[..., k] if self.columns else places
            n = self.array.shape[axis]
            inside = (column >= 0) & (column <= n - size)
            if self.wrap:
                inside |= (column >= -n) & (column < 0) & (column <= -size)
            if not inside.all():
                raise self._error(int(np.asarray(column)[~inside].flat[0]), axis, size)
        return index

    def _error(self, index: int, axis: int, size: int) -> OutOfBoundsError:
        n = self.array.shape[axis]
        box = "" if size == 1 else f" for a box of size {size}"
        error = OutOfBoundsError(
            f"{self.what}: {index} is out of bounds{box} on axis {axis} of {self.array}, whose "
            f"size is {n}; found because check_indices is on"
        )
        error.location = None if self.source is None else str(self.source)
        return error

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        return self.bind(ops.shape.moveaxis(args[0], dims[0], 0)), 0


def checked_index(
    index: Array, array: ShapedArray, axis: int, what: str, size: int = 1, wrap: bool = True
) -> Array:
    """`index` along an axis of `array`, looked at when the program runs if the setting says so.

    size: of the box that starts there.
    """
    if not (config.checking and config.check_indices):
        return index
    return _bind(index, array, (axis,), what, (size,), wrap, False)


def checked_columns(
    indices: Array,
    array: ShapedArray,
    axes: Sequence[int],
    what: str,
    sizes: Sequence[int],
) -> Array:
    """The starts of boxes for gather and scatter, looked at in the same way."""
    if not (config.checking and config.check_indices):
        return indices
    return _bind(indices, array, tuple(axes), what, tuple(sizes), False, True)


def _bind(
    index: Array,
    array: ShapedArray,
    axes: tuple[int, ...],
    what: str,
    sizes: tuple[int, ...],
    wrap: bool,
    columns: bool,
) -> Array:
    source = source_info.capture()
    check = CheckIndex(array.strong, axes, sizes, wrap, columns, what, source)
    out: Array = check.bind(index)
    return out

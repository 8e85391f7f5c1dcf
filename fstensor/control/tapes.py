"""Batches of tapes, and the one tape that they refer to. See `core.tape`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes
from fstensor.array import Array
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import MappedAxis, Primitive, Value, primitive
from fstensor.core.tape import unwrapped, wrapped


@final
@primitive("spread_tape")
class SpreadTape(Primitive):
    """A tape whose elements have a batch in front, as a batch of `size` tapes along `axis`."""

    axis: int
    size: int

    def abstract(self, tape: ShapedArray) -> ShapedArray:
        shape = (*tape.shape[: self.axis], self.size, *tape.shape[self.axis :])
        return ShapedArray(shape, dtypes.tape)

    def impl(self, xp: Any, tape: Any) -> Any:
        shape = (*tape.shape[: self.axis], self.size, *tape.shape[self.axis :])
        return np.broadcast_to(np.expand_dims(tape, self.axis), shape)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(*tangents)

    def transpose(self, ct: Array, tape: Value) -> Sequence[Value]:
        return [UniteTapes(self.axis).bind(ct)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        d = dims[0]
        assert d is not None
        moved = self.axis + (d <= self.axis)
        return SpreadTape(moved, self.size).bind(args[0]), d + (moved <= d)


@final
@primitive("unite_tapes")
class UniteTapes(Primitive):
    """The tape, with a batch in front of its elements, that a batch of tapes refers to."""

    axis: int

    def abstract(self, tapes: ShapedArray) -> ShapedArray:
        shape = tapes.shape[: self.axis] + tapes.shape[self.axis + 1 :]
        return ShapedArray(shape, dtypes.tape)

    def impl(self, xp: Any, tapes: Any) -> Any:
        shape = tapes.shape[: self.axis] + tapes.shape[self.axis + 1 :]
        return wrapped(unwrapped(tapes), shape)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(*tangents)

    def transpose(self, ct: Array, tapes: Value) -> Sequence[Value]:
        return [SpreadTape(self.axis, tapes.shape[self.axis]).bind(ct)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        d = dims[0]
        assert d is not None
        moved = self.axis + (d <= self.axis)
        return UniteTapes(moved).bind(args[0]), d - (moved < d)


def spread(tape: Array, size: int) -> Array:
    out: Array = SpreadTape(0, size).bind(tape)
    return out


def united(tapes: Array, axis: int) -> Array:
    out: Array = UniteTapes(axis).bind(tapes)
    return out

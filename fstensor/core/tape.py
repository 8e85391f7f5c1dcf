"""Tapes: arrays whose leading axis grows while a loop of unknown length runs.

A tape is one value in a program, of dtype `dtypes.tape` and of shape (); the array that it holds
has an axis of steps in front. Its type says nothing of that array: whoever reads the tape knows.
A batch of tapes, shape (n,), is n references to one tape, whose steps have the batch in front.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np

_FIRST = 8  # steps that there is room for at first


@final
class Tape:
    """The values of one array at each step of a loop; without steps, a tape of zeros."""

    __slots__ = ("_count", "_steps")

    def __init__(self, steps: Any = None) -> None:
        self._steps = steps
        self._count = 0 if steps is None else len(steps)

    @property
    def is_zero(self) -> bool:
        return self._steps is None

    def append(self, xp: Any, x: Any) -> None:
        """Add a step. The room doubles when it is used up, so that each is copied twice at most."""
        if self._steps is None:
            self._steps = xp.empty((_FIRST, *x.shape), x.dtype)
        elif self._count == len(self._steps):
            grown = xp.empty((2 * self._count, *x.shape), x.dtype)
            grown[: self._count] = self._steps
            self._steps = grown
        self._steps[self._count, ...] = x
        self._count += 1

    def steps(self) -> Any:
        """The array of all steps."""
        return self._steps[: self._count]

    def plus(self, other: Tape) -> Tape:
        if self.is_zero or other.is_zero:
            return other if self.is_zero else self
        return Tape(self.steps() + other.steps())

    def __repr__(self) -> str:
        return "Tape(zeros)" if self.is_zero else f"Tape({self._count} steps)"


ZERO_TAPE = Tape()


def wrapped(tape: Tape, shape: tuple[int, ...] = ()) -> np.ndarray[Any, Any]:
    """The buffer of a tape, or of a batch of references to it."""
    buffer = np.empty((), object)
    buffer[()] = tape
    return np.broadcast_to(buffer, shape)


def zero_tapes(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return wrapped(ZERO_TAPE, shape)


def unwrapped(buffer: np.ndarray[Any, Any]) -> Tape:
    """The tape that a buffer refers to. Where branches were chosen, some references are zero."""
    if not buffer.strides or not any(buffer.strides):
        return ZERO_TAPE if not buffer.size else buffer.flat[0]
    return next((t for t in buffer.flat if not t.is_zero), ZERO_TAPE)


def sum_of_tapes(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The buffer of the tapes' sums: those of the same two tapes are one sum."""
    x, y = np.broadcast_arrays(x, y)
    sums: dict[tuple[int, int], Tape] = {}
    out = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        a: Any = x[i]
        b: Any = y[i]
        key = id(a), id(b)
        if key not in sums:
            sums[key] = a.plus(b)
        out[i] = sums[key]
    return out

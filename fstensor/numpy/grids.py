"""Objects that make arrays when they are indexed: grids by slices, and arrays joined in brackets.

A slice `start:stop:step` stands for numbers as in `arange`; with an imaginary step, as in `0:1:5j`,
for so many numbers from start to stop, both included.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from fstensor import lax
from fstensor.array import Array
from fstensor.errors import ArgumentError, OptionError
from fstensor.numpy.creation import arange, asarray, linspace
from fstensor.numpy.joining import concatenate, stack
from fstensor.numpy.promote import promote_dtypes, repeated


def _numbers(what: str, part: slice) -> Array:
    """The numbers that a slice stands for."""
    start, step = (default if v is None else v for v, default in ((part.start, 0), (part.step, 1)))
    if part.stop is None:
        raise ArgumentError(f"{what}: a slice must have a stop, got {part}")
    if isinstance(step, complex):
        numbers = linspace(start, part.stop, int(builtins.abs(step)))
        assert isinstance(numbers, Array), "one array without the step"
        return numbers
    return arange(start, part.stop, step)


class OpenGrid:
    """`ogrid[a:b, c:d]`: the numbers of each slice along its axis, others of size 1.

    One slice gives its numbers themselves, several a tuple. Dtypes promote.
    """

    name = "ogrid"

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return _numbers(self.name, key)
        found = promote_dtypes(self.name, *[_numbers(self.name, part) for part in key])
        return tuple(
            lax.broadcast_in_dim(x, [x.size if i == j else 1 for j in range(len(found))], (i,))
            for i, x in enumerate(found)
        )


class FullGrid:
    """`mgrid[a:b, c:d]`: the numbers of each slice along its axis, repeated along the others.

    One slice gives its numbers, several an array whose first axis counts them. Dtypes promote.
    """

    name = "mgrid"

    def __getitem__(self, key: Any) -> Array:
        if isinstance(key, slice):
            return _numbers(self.name, key)
        axes = OpenGrid()[key]
        shape = tuple(x.size for x in axes)
        return stack([repeated(x, shape) for x in axes])


class Joined:
    """`r_[1:4, 0, x]`: slices, scalars and arrays joined along an axis, the first for `r_`.

    A string in front says more: "axis", or "axis,ndim", or "axis,ndim,place", with the axis to join
    along, the least number of axes, and the place at which the axes of an array with fewer begin
    among them. "r" and "c" make of a vector that is the result a matrix of one row, or of
    one column. `c_` is r_["-1,2,0", ...]: it joins vectors as columns.
    """

    def __init__(self, name: str, axis: int, ndmin: int, place: int) -> None:
        self.name = name
        self.axis, self.ndmin, self.place = axis, ndmin, place

    def __getitem__(self, key: Any) -> Array:
        parts = key if isinstance(key, tuple) else (key,)
        axis, ndmin, place = self.axis, self.ndmin, self.place
        matrix = ""
        if parts and isinstance(parts[0], str):
            if parts[0] in ("r", "c"):
                matrix = parts[0]
            else:
                axis, ndmin, place = self._directive(parts[0])
            parts = parts[1:]
        if not parts:
            raise ArgumentError(f"{self.name}: needs something to join, got {key!r}")
        found = []
        for part in parts:
            if isinstance(part, slice):
                found.append(self._with_axes(_numbers(self.name, part), ndmin, place))
                continue
            x = asarray(part) if isinstance(part, (list, tuple)) else part
            rank = np.ndim(x) if not isinstance(x, Array) else x.ndim
            # A Python scalar stays weak until dtypes are joined.
            found.append(x if rank == 0 else self._with_axes(asarray(x), ndmin, place))
        arrays = promote_dtypes(self.name, *found)
        least = max(ndmin, 1)
        arrays = [x if x.ndim else lax.reshape(x, (1,) * least) for x in arrays]
        joined = concatenate(arrays, axis)
        if matrix and joined.ndim == 1:
            joined = lax.expand_dims(joined, (1,) if matrix == "c" else (0,))
        return joined

    def _directive(self, text: str) -> tuple[int, int, int]:
        try:
            numbers = [int(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if not 1 <= len(numbers) <= 3:
            raise OptionError(
                f"{self.name}: the string must be 'r', 'c' or up to three integers, got {text!r}"
            )
        axis, ndmin, place = (*numbers, *(self.axis, self.ndmin, self.place)[len(numbers) :])
        return axis, ndmin, place

    @staticmethod
    def _with_axes(x: Array, ndmin: int, place: int) -> Array:
        """`x` with axes of size 1 up to ndmin; its own begin at `place`, at the end for -1."""
        missing = ndmin - x.ndim
        if missing <= 0:
            return x
        front = missing if place == -1 else min(builtins.max(place, 0), missing)
        return lax.expand_dims(x, [*range(front), *range(front + x.ndim, ndmin)])


class Subscript:
    """`s_[1:2, ...]`: the index itself, to be kept and used later."""

    def __getitem__(self, key: Any) -> Any:
        return key


mgrid, ogrid = FullGrid(), OpenGrid()
r_ = Joined("r_", 0, 1, -1)
c_ = Joined("c_", -1, 2, 0)
s_ = Subscript()

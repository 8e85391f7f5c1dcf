"""Results of a convolution that lie in rows of outputs, handed on as vectors along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from fstensor.compiler.llvm.conv_copy import transposed
from fstensor.compiler.llvm.packing import load, offset, store
from fstensor.compiler.llvm.text import Function
from fstensor.compiler.llvm.vector import type_of
from fstensor.core.scalar import Dtype

# Writes what becomes of some neighbouring results: the function, their value, the indices of all
# axes, the number of lanes, and the mask of those that exist.
Epilogue: TypeAlias = Callable[[Function, str, list[str], int, str | None], None]


class Turned(NamedTuple):
    """Rows of results for neighbouring places, of one vector of outputs after the other.

    row: elements between rows. axis: the index of that of the places, among those of the epilogue.
    square: memory for as many vectors as each has elements.
    """

    dtype: Dtype
    lanes: int
    row: int
    axis: int
    square: str
    epilogue: Epilogue

    def write(
        self,
        fn: Function,
        rows: str,
        count: int,
        outputs: tuple[str, int],
        index: Sequence[str],
    ) -> None:
        """Hand some rows, as many as a vector has elements at most, to the epilogue.

        outputs: the first one, and their number. index: that of the first row, without the output.
        """
        first, width = outputs
        whole, rest = divmod(width, self.lanes)
        # Short vectors for what is left: not all CPUs have stores with a mask.
        sizes = [1 << b for b in reversed(range(count.bit_length())) if count >> b & 1]
        starts = [sum(sizes[:n]) for n in range(len(sizes))]

        def block(at: str, here: int) -> None:
            self._turn(fn, offset(fn, rows, self.dtype, at), count, here)
            output = fn.value(f"add nsw i64 {first}, {at}")
            with fn.loop("0", str(here)) as i:
                place = fn.value(f"add nsw i64 {output}, {i}")
                line = offset(fn, self.square, self.dtype, i, self.lanes)
                for start, lanes in zip(starts, sizes, strict=True):
                    places = list(index)
                    if start:
                        places[self.axis] = fn.value(f"add nsw i64 {index[self.axis]}, {start}")
                    acc = load(fn, offset(fn, line, self.dtype, str(start)), self.dtype, lanes)
                    self.epilogue(fn, acc, [*places, place], lanes, None)

        if whole:
            with fn.loop("0", str(whole * self.lanes), str(self.lanes)) as at:
                block(at, self.lanes)
        if rest:
            block(str(whole * self.lanes), rest)

    def _turn(self, fn: Function, near: str, count: int, outputs: int) -> None:
        """Transpose a vector of each of `count` rows into the square."""
        addresses = [offset(fn, near, self.dtype, str(r * self.row)) for r in range(count)]
        loaded = [load(fn, x, self.dtype, self.lanes) for x in addresses]
        loaded += loaded[-1:] * (self.lanes - count)
        columns = transposed(fn, loaded, type_of(self.dtype, 1))
        for n, x in enumerate(columns[:outputs]):
            to = offset(fn, self.square, self.dtype, str(n * self.lanes))
            store(fn, x, to, self.dtype, self.lanes)

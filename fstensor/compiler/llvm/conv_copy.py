"""What convolutions copy: images, with zeros around them, and kernels, in the order of reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import prod
from typing import NamedTuple

from fstensor.compiler.convolution import Convolution
from fstensor.compiler.llvm.conv_plan import Copied
from fstensor.compiler.llvm.indices import clamped, minus, times
from fstensor.compiler.llvm.packing import (
    Source,
    constant_mask,
    first_lanes,
    load,
    offset,
    store,
    widened,
    write_packing,
)
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.vector import suffix, type_of
from fstensor.core.scalar import Dtype


def write_copy(
    module: Module,
    name: str,
    dtypes: tuple[Dtype, Dtype],
    copies: Sequence[Copied],
    in_bands: bool,
    lanes: int,
) -> None:
    """Add `void @name(ptr %from, ptr %to, i64 %start)`: copy an image, or the part of a band.

    dtypes: in memory, and of the copy. %from is the image's first element, %start the first row of
    the padded image, if it is copied in bands. The copy has zeros where the padded image has them.
    It is written from front to back, and some elements, at most two vectors of them, are written
    behind it.
    """
    fn = Function(module, name, ["ptr noalias %from", "ptr noalias %to", "i64 %start"])
    _Copy(fn, *dtypes, copies, in_bands, lanes).axis(0, "%from", "%to")
    fn.finish()


class _Copy(NamedTuple):
    fn: Function
    memory: Dtype
    dtype: Dtype
    copies: Sequence[Copied]
    in_bands: bool
    lanes: int

    def axis(self, number: int, near: str, far: str) -> None:
        """Copy what lies along an axis and those behind it."""
        fn, copies, dtype = self.fn, self.copies, self.dtype
        axis = copies[number]
        source = Source(self.memory, dtype, axis.source, 1)
        # The elements from `first` up to `last` of the copy are there.
        if axis.axis == 0 and self.in_bands:
            low = fn.value(f"sub nsw i64 {axis.low}, %start")
            first = clamped(fn, low, axis.extent)
            last = clamped(fn, fn.value(f"add nsw i64 {low}, {axis.size}"), axis.extent)
            skipped = fn.value(f"sub nsw i64 {first}, {low}")
        else:
            start = min(max(axis.low, 0), axis.extent)
            stop = min(max(axis.low + axis.size, start), axis.extent)
            first, last, skipped = str(start), str(stop), str(start - axis.low)
        near = offset(fn, near, source.memory, skipped, axis.source)
        # Axes that follow each other without a gap in both are copied in one go.
        step, behind = axis.target, copies[number + 1 :]
        whole = axis.source == axis.target and all(
            c.source == c.target and c.low == 0 and c.size == c.extent and c.axis for c in behind
        )
        self.zeros(far, "0", first, step)
        begin = offset(fn, far, dtype, first, step)
        count = times(fn, minus(fn, last, first), step)
        if whole:
            self.run(near, begin, count, source)
        elif self.is_turned(axis, behind) and first.isdecimal():
            self.squares(near, begin, int(last) - int(first), axis, behind[0])
        elif not behind:
            with fn.loop("0", count) as i:
                x = load(fn, offset(fn, near, source.memory, i, axis.source), source.memory, 1)
                to = offset(fn, begin, dtype, i)
                store(fn, widened(fn, x, source, 1), to, dtype, 1)
        else:
            with fn.loop(first, last) as i:
                row = offset(fn, near, source.memory, minus(fn, i, first), axis.source)
                self.axis(number + 1, row, offset(fn, far, dtype, i, step))
        self.zeros(far, last, str(axis.extent), step)

    def is_turned(self, axis: Copied, behind: Sequence[Copied]) -> bool:
        """Whether the faster of two last axes is the slower one in memory."""
        if len(behind) != 1 or axis.source != 1:
            return False
        (last,) = behind
        return last.extent == last.size >= self.lanes // 2 and last.low == 0

    def squares(self, near: str, far: str, length: int, axis: Copied, last: Copied) -> None:
        """Copy two axes, `length` elements of the first, transposing squares in registers."""
        fn, lanes = self.fn, self.lanes

        def square(along: str, rows: int, across: str, columns: int) -> None:
            source = Source(self.memory, self.dtype, 1, last.source)
            begin = offset(fn, near, source.memory, along)
            begin = offset(fn, begin, source.memory, across, last.source)
            mask = constant_mask(lanes, rows) if rows < lanes else None
            loaded = []
            for c in range(columns):
                line = offset(fn, begin, source.memory, "1", c * last.source)
                x = load(fn, line, source.memory, lanes, mask)
                loaded.append(widened(fn, x, source, lanes))
            loaded += loaded[-1:] * (lanes - columns)
            to = offset(fn, offset(fn, far, source.dtype, along, axis.target), source.dtype, across)
            for n, x in enumerate(transposed(fn, loaded, type_of(source.dtype, 1))[:rows]):
                line = offset(fn, to, source.dtype, "1", n * axis.target)
                store_first(fn, x, line, source.dtype, lanes, columns)

        def blocks(size: int, body: Callable[[str, int], None]) -> None:
            whole, rest = divmod(size, lanes)
            if whole:
                with fn.loop("0", str(whole * lanes), str(lanes)) as i:
                    body(i, lanes)
            if rest:
                body(str(whole * lanes), rest)

        blocks(
            length,
            lambda along, rows: blocks(
                last.extent, lambda across, columns: square(along, rows, across, columns)
            ),
        )

    def zeros(self, to: str, start: str, stop: str, step: int) -> None:
        """Zeros from one index up to another of an axis, in whole vectors."""
        fn, dtype = self.fn, self.dtype
        count = times(fn, minus(fn, stop, start), step)
        if count == "0":
            return
        to = offset(fn, to, dtype, start, step)
        with fn.loop("0", count, str(self.lanes)) as i:
            store(fn, "zeroinitializer", offset(fn, to, dtype, i), dtype, self.lanes)

    def run(self, near: str, far: str, count: str, source: Source) -> None:
        """Copy neighbours, in whole vectors: what is written beyond them comes later."""
        fn, lanes = self.fn, self.lanes

        def some(i: str, mask: str | None) -> None:
            x = load(fn, offset(fn, near, source.memory, i), source.memory, lanes, mask)
            x = widened(fn, x, source, lanes)
            store(fn, x, offset(fn, far, source.dtype, i), source.dtype, lanes)

        if count.isdecimal():
            number = int(count)
            whole = str(number // lanes * lanes)
            rest: str | None = constant_mask(lanes, number % lanes) if number % lanes else None
        else:
            whole = fn.value(f"and i64 {count}, {-lanes}")
            rest = first_lanes(fn, lanes, fn.value(f"sub nsw i64 {count}, {whole}"))
        if whole != "0":
            with fn.loop("0", whole, str(lanes)) as i:
                some(i, None)
        if rest is not None:
            some(whole, rest)


def store_first(fn: Function, x: str, to: str, dtype: Dtype, lanes: int, count: int) -> None:
    """Store the first elements of a vector, and no others."""
    if count == lanes:
        store(fn, x, to, dtype, lanes)
        return
    kind, bits = type_of(dtype, lanes), f"<{lanes} x i1>"
    name = f"llvm.masked.store.{suffix(dtype, lanes)}.p0"
    fn.module.declare(f"declare void @{name}({kind}, ptr, {bits})")
    where = f"ptr align {dtype.itemsize} {to}"
    fn.do(f"call void @{name}({kind} {x}, {where}, {bits} {constant_mask(lanes, count)})")


def write_panel_copy(
    module: Module,
    name: str,
    conv: Convolution,
    packing: Sequence[tuple[int, int]],
    lanes: int,
    widths: tuple[int, int],
    size: int,
) -> None:
    """Add `void @name(ptr %from, ptr %to, i64 %panels)`: copy panels of outputs.

    packing: sizes of the levels of sums, in the order of the copy, and their strides in memory.
    widths: how many outputs a panel has, and how many elements a row of the copy takes. A panel of
    the copy takes `size` elements.
    """
    levels, (width, row) = list(packing), widths
    inner, k_stride = levels.pop() if levels else (1, 1)
    while levels and levels[-1][1] == inner * k_stride:
        inner *= levels.pop()[0]
    if inner == 1:
        k_stride = 1
    line_stride = conv.rhs_output if conv.outputs > 1 else 1
    source = Source(conv.rhs_dtype, conv.dtype, k_stride, line_stride)
    write_packing(module, f"{name}.lines", source, width, row, size, lanes)
    fn = Function(module, name, ["ptr %from", "ptr %to", "i64 %panels"], quickly=True)
    near, far, step = "%from", "%to", row * inner
    steps: list[int] = []
    for count, _ in reversed(levels):
        steps.insert(0, step)
        step *= count
    with ExitStack() as stack:
        for (count, stride), to in zip(levels, steps, strict=True):
            i = stack.enter_context(fn.loop("0", str(count)))
            near = offset(fn, near, conv.rhs_dtype, i, stride)
            far = offset(fn, far, conv.dtype, i, to)
        if prod(count for count, _ in packing):
            fn.do(f"call void @{name}.lines(ptr {near}, ptr {far}, i64 {inner}, i64 %panels)")
    fn.finish()


def transposed(fn: Function, rows: Sequence[str], element: str) -> list[str]:
    """The columns of a square of as many vectors as each has elements (Eklundh, 1972).

    Blocks off the diagonal are exchanged: first the largest ones, of half the size, then within
    those that are left.
    """
    lanes = len(rows)
    kind = f"<{lanes} x {element}>"
    rows = list(rows)

    def shuffle(x: str, y: str, order: Sequence[int]) -> str:
        which = ", ".join(f"i32 {i}" for i in order)
        return fn.value(f"shufflevector {kind} {x}, {kind} {y}, <{lanes} x i32> <{which}>")

    distance = lanes // 2
    while distance:
        low = [e if not e & distance else e - distance + lanes for e in range(lanes)]
        high = [e + distance if not e & distance else e + lanes for e in range(lanes)]
        for n in range(lanes):
            if not n & distance:
                x, y = rows[n], rows[n + distance]
                rows[n], rows[n + distance] = shuffle(x, y, low), shuffle(x, y, high)
        distance //= 2
    return rows

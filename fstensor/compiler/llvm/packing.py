"""Copying parts of matrices into the order in which a matrix product reads them.

A panel is `width` neighbouring lines of a matrix (rows of the first factor, columns of the second),
for a range of k. It is laid out either as [k][width], "interleaved", or as [width][k], "lines".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.vector import (
    Register,
    VectorWriter,
    memory_type,
    suffix,
    type_of,
)
from fstensor.core.scalar import Dtype

# How far copies are told to load ahead, in rows.
_ROWS_AHEAD = 16


class Source(NamedTuple):
    """Where elements come from: dtype in memory, dtype wanted, and strides in elements.

    A stride may be the name of an i64 that is known when the code runs.
    """

    memory: Dtype
    dtype: Dtype
    k_stride: int | str
    line_stride: int | str


def offset(fn: Function, pointer: str, dtype: Dtype, index: str, stride: int | str = 1) -> str:
    """The address of the element `index * stride` after `pointer`; stride may be an i64's name."""
    if stride == 0 or index == "0":
        return pointer
    if isinstance(stride, str):
        index = stride if index == "1" else fn.value(f"mul nsw i64 {index}, {stride}")
    elif index.isdecimal():
        index = str(int(index) * stride)
    elif stride != 1:
        index = fn.value(f"mul nsw i64 {index}, {stride}")
    return fn.value(f"getelementptr {memory_type(dtype)}, ptr {pointer}, i64 {index}")


def lines_from(
    fn: Function, start: str, dtype: Dtype, stride: int | str, count: int
) -> tuple[list[str], int | str]:
    """The pointers that are enough to reach so many lines, and the distance of two lines.

    Where the stride is known, one is enough. Otherwise every third is: a processor adds a register
    to an address, or twice that, at no cost, but has not many registers.
    """
    if isinstance(stride, int):
        return [start], 0
    found = [offset(fn, start, dtype, str(n), stride) for n in range(0, count, 3)]
    return found, fn.value(f"shl nsw i64 {stride}, 1")


def line_addresses(
    fn: Function,
    pointers: Sequence[str],
    dtype: Dtype,
    strides: tuple[int | str, int | str],
    count: int,
) -> list[str]:
    """The addresses of the lines, from what `lines_from` has found, with stride and distance."""
    stride, twice = strides
    if isinstance(stride, int):
        return [offset(fn, pointers[0], dtype, str(n), stride) for n in range(count)]
    steps: list[int | str] = [0, stride, twice]
    return [offset(fn, pointers[n // 3], dtype, "1", steps[n % 3]) for n in range(count)]


def constant_mask(lanes: int, valid: int) -> str:
    """A vector constant that is true in the first `valid` lanes."""
    bits = ", ".join("i1 true" if i < valid else "i1 false" for i in range(lanes))
    return f"<{bits}>"


def first_lanes(fn: Function, lanes: int, count: str) -> str:
    """A mask that is true in the first `count` lanes, where `count` is an i64."""
    kind = f"<{lanes} x i32>"
    short = fn.value(f"trunc i64 {count} to i32")
    one = fn.value(f"insertelement {kind} poison, i32 {short}, i64 0")
    many = fn.value(f"shufflevector {kind} {one}, {kind} poison, {kind} zeroinitializer")
    numbers = ", ".join(f"i32 {i}" for i in range(lanes))
    return fn.value(f"icmp slt {kind} <{numbers}>, {many}")


def load(fn: Function, pointer: str, dtype: Dtype, lanes: int, mask: str | None = None) -> str:
    """Load elements; those that the mask leaves out are 0, and their memory is not touched."""
    kind, size = type_of(dtype, lanes), dtype.itemsize
    if mask is None:
        return fn.value(f"load {kind}, ptr {pointer}, align {size}")
    name, bits = f"llvm.masked.load.{suffix(dtype, lanes)}.p0", f"<{lanes} x i1>"
    fn.module.declare(f"declare {kind} @{name}(ptr, {bits}, {kind})")
    rest = f"{bits} {mask}, {kind} zeroinitializer"
    return fn.value(f"call {kind} @{name}(ptr align {size} {pointer}, {rest})")


def store(fn: Function, value: str, pointer: str, dtype: Dtype, lanes: int) -> None:
    fn.do(f"store {type_of(dtype, lanes)} {value}, ptr {pointer}, align {dtype.itemsize}")


def widened(fn: Function, value: str, source: Source, lanes: int) -> str:
    """Elements as loaded, in the dtype wanted."""
    if source.memory == source.dtype:
        return value
    return VectorWriter(fn).convert(Register(value, source.memory, lanes), source.dtype).text


def write_packing(
    module: Module,
    name: str,
    source: Source,
    width: int,
    padded: int,
    size: int | str,
    lanes: int,
    more: Sequence[str] = (),
) -> None:
    """Add `void @name(ptr %from, ptr %to, i64 %count, i64 %panels)`: copy panels, interleaved.

    more: further parameters, among them the names of strides or of the size. Panels are `width`
    lines apart in the source and `size` elements in the copy, where a row of a panel takes `padded`
    elements, of which those after `width` hold any number. `size` has place for a count that is
    rounded up to a multiple of `lanes`.
    """
    parameters = ["ptr noalias %from", "ptr noalias %to", "i64 %count", "i64 %panels", *more]
    fn = Function(module, name, parameters)
    if source.line_stride == 1 or width == 1:
        _copy_rows(fn, source, width, padded, size, lanes)
    elif source.k_stride == 1:
        _transpose(fn, source, width, padded, size, lanes)
    else:
        _gather(fn, source, width, padded, size)
    fn.finish()


def write_line_copy(
    module: Module, name: str, source: Source, width: int, lanes: int, more: Sequence[str]
) -> None:
    """Add `void @name(ptr %from, ptr %to, i64 %count, i64 %panels, ...)`: copy a panel, as lines.

    more: further parameters; a line of the copy takes `i64 %size` elements. There is one panel.
    """
    parameters = ["ptr noalias %from", "ptr noalias %to", "i64 %count", "i64 %panels", *more]
    fn = Function(module, name, parameters)
    with fn.loop("0", str(width)) as line:
        start = offset(fn, "%from", source.memory, line, source.line_stride)
        to = offset(fn, "%to", source.dtype, fn.value(f"mul nsw i64 {line}, %size"))
        whole = "0"
        if source.k_stride == 1:
            whole = fn.value(f"and i64 %count, {-lanes}")
            with fn.loop("0", whole, str(lanes)) as k:
                x = load(fn, offset(fn, start, source.memory, k), source.memory, lanes)
                x = widened(fn, x, source, lanes)
                store(fn, x, offset(fn, to, source.dtype, k), source.dtype, lanes)
        with fn.loop(whole, "%count") as k:
            x = load(fn, offset(fn, start, source.memory, k, source.k_stride), source.memory, 1)
            store(fn, widened(fn, x, source, 1), offset(fn, to, source.dtype, k), source.dtype, 1)
    fn.finish()


def _copy_rows(
    fn: Function, source: Source, width: int, padded: int, size: int | str, lanes: int
) -> None:
    """Lines are neighbours in memory: for each k, copy vectors.

    Of every k only a little is read, far from the one before. Processors do not know what to load
    ahead then, so they are told.
    """
    fn.module.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    line = 64 // source.memory.itemsize
    pieces = [(at, min(lanes, width - at)) for at in range(0, width, lanes)]
    with fn.loop("0", "%count") as k:
        row = offset(fn, "%from", source.memory, k, source.k_stride)
        to = offset(fn, "%to", source.dtype, k, padded)
        with fn.loop("0", "%panels") as panel:
            near = offset(fn, row, source.memory, panel, width)
            far = offset(fn, to, source.dtype, panel, size)
            ahead = offset(fn, near, source.memory, str(_ROWS_AHEAD), source.k_stride)
            for at in range(0, width, line):
                there = offset(fn, ahead, source.memory, str(at))
                fn.do(f"call void @llvm.prefetch.p0(ptr {there}, i32 0, i32 2, i32 1)")
            for at, count in pieces:
                x = load(fn, offset(fn, near, source.memory, str(at)), source.memory, count)
                x = widened(fn, x, source, count)
                store(fn, x, offset(fn, far, source.dtype, str(at)), source.dtype, count)


def _gather(fn: Function, source: Source, width: int, padded: int, size: int | str) -> None:
    """Lines with any strides: one element after the other."""
    with fn.loop("0", "%panels") as panel, fn.loop("0", "%count") as k:
        first = fn.value(f"mul nsw i64 {panel}, {width}")
        row = offset(fn, "%from", source.memory, first, source.line_stride)
        row = offset(fn, row, source.memory, k, source.k_stride)
        to = offset(fn, "%to", source.dtype, panel, size)
        to = offset(fn, to, source.dtype, k, padded)
        with fn.loop("0", str(width)) as line:
            x = load(fn, offset(fn, row, source.memory, line, source.line_stride), source.memory, 1)
            x = widened(fn, x, source, 1)
            store(fn, x, offset(fn, to, source.dtype, line), source.dtype, 1)


def _transpose(
    fn: Function, source: Source, width: int, padded: int, size: int | str, lanes: int
) -> None:
    """Lines that are contiguous in k: transpose them in registers, in groups of `lanes` lines.

    16 bytes of each line are put side by side; then squares within 16 bytes are transposed, by
    instructions that every CPU has.
    """
    memory, dtype = source.memory, source.dtype
    step = min(lanes, 16 // dtype.itemsize)
    whole = fn.value(f"and i64 %count, {-step}")
    whole_groups, last_group = divmod(width, lanes)

    def group(near: str, far: str, valid: int) -> None:
        stride = source.line_stride
        pointers, twice = lines_from(fn, near, memory, stride, valid)
        with fn.loop("0", whole, str(step)) as k:
            now = [offset(fn, p, memory, k) for p in pointers]
            lines = line_addresses(fn, now, memory, (stride, twice), valid)
            pieces = [load(fn, line, memory, step) for line in lines]
            # Beyond the last line stands that line again.
            pieces += pieces[-1:] * (lanes - valid)
            rows = [_side_by_side(fn, pieces[i::step], memory, step) for i in range(step)]
            rows = [widened(fn, x, source, lanes) for x in rows]
            to = offset(fn, far, dtype, k, padded)
            for i, x in enumerate(_squares_transposed(fn, rows, type_of(dtype, 1), lanes)):
                store(fn, x, offset(fn, to, dtype, str(i * padded)), dtype, lanes)
        with fn.loop(whole, "%count") as k, fn.loop("0", str(valid)) as line:
            address = offset(fn, near, memory, line, source.line_stride)
            x = load(fn, offset(fn, address, memory, k), memory, 1)
            to = offset(fn, offset(fn, far, dtype, k, padded), dtype, line)
            store(fn, widened(fn, x, source, 1), to, dtype, 1)

    with fn.loop("0", "%panels") as panel:
        first = fn.value(f"mul nsw i64 {panel}, {width}")
        near = offset(fn, "%from", memory, first, source.line_stride)
        far = offset(fn, "%to", dtype, panel, size)
        if whole_groups:
            with fn.loop("0", str(whole_groups)) as v:
                first = fn.value(f"mul nsw i64 {v}, {lanes}")
                start = offset(fn, near, memory, first, source.line_stride)
                group(start, offset(fn, far, dtype, v, lanes), lanes)
        if last_group:
            at = whole_groups * lanes
            start = offset(fn, near, memory, str(at), source.line_stride)
            group(start, offset(fn, far, dtype, str(at)), last_group)


def _side_by_side(fn: Function, parts: list[str], dtype: Dtype, size: int) -> str:
    """Vectors of `size` elements as one vector."""
    while len(parts) > 1:
        kind, order = type_of(dtype, size), ", ".join(f"i32 {i}" for i in range(2 * size))
        parts = [
            fn.value(f"shufflevector {kind} {x}, {kind} {y}, <{2 * size} x i32> <{order}>")
            for x, y in zip(parts[::2], parts[1::2], strict=True)
        ]
        size *= 2
    return parts[0]


def _squares_transposed(fn: Function, rows: list[str], element: str, lanes: int) -> list[str]:
    """Transpose the squares of n by n elements that n vectors hold, where n is 2 or 4."""
    kind = f"<{lanes} x {element}>"

    def shuffle(x: str, y: str, order: Sequence[int]) -> str:
        mask = ", ".join(f"i32 {i}" for i in order)
        return fn.value(f"shufflevector {kind} {x}, {kind} {y}, <{lanes} x i32> <{mask}>")

    if len(rows) == 2:
        low = [e + lanes * i for e in range(0, lanes, 2) for i in (0, 1)]
        high = [e + 1 for e in low]
        return [shuffle(rows[0], rows[1], low), shuffle(rows[0], rows[1], high)]
    # First single elements of two rows side by side, then pairs.
    low = [e + lanes * i for q in range(0, lanes, 4) for e in (q, q + 1) for i in (0, 1)]
    high = [e + 2 for e in low]
    pairs = [e + lanes * i for q in range(0, lanes, 4) for i in (0, 1) for e in (q, q + 1)]
    other = [e + 2 for e in pairs]
    a, b, c, d = rows
    ab, cd = shuffle(a, b, low), shuffle(c, d, low)
    ab_high, cd_high = shuffle(a, b, high), shuffle(c, d, high)
    return [
        shuffle(ab, cd, pairs),
        shuffle(ab, cd, other),
        shuffle(ab_high, cd_high, pairs),
        shuffle(ab_high, cd_high, other),
    ]

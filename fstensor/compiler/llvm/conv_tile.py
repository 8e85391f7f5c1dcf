"""The innermost part of a convolution: a few results, held in registers, while the sums run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fstensor.compiler.llvm.conv_plan import Level, Piece, unrolled_from
from fstensor.compiler.llvm.packing import constant_mask, load, offset, store
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function
from fstensor.compiler.llvm.tiles import multiply_add
from fstensor.compiler.llvm.vector import suffix, type_of
from fstensor.core.scalar import Dtype


class ConvTile(NamedTuple):
    """Sums over all `levels` of a[row, k] b[k, column]; `rows` are offsets of elements of a.

    pieces: the vectors of columns. b_row: how far apart rows of sums are stored. resumable: whether
    %resume tells to add to the stored sums. b_padded: vectors may be read beyond the last column.
    apart: each column has its own elements of a, neighbours in memory.
    """

    dtype: Dtype
    levels: tuple[Level, ...]
    pieces: tuple[Piece, ...]
    rows: tuple[int, ...]
    b_row: int
    resumable: bool
    b_padded: bool
    apart: bool


def write_conv_tile(fn: Function, tile: ConvTile, target: Target) -> None:
    """Add the lines of a function of %a, %b, %sums and, where it is resumable, the i1 %resume."""
    places = [(r * tile.b_row + p.at, p) for r in range(len(tile.rows)) for p in tile.pieces]
    kinds = [type_of(tile.dtype, p.lanes) for _, p in places]
    sums = ["zeroinitializer"] * len(places)
    if tile.resumable:
        before, resume, start = fn.block, fn.new_block("resume"), fn.new_block("start")
        fn.branch_if("%resume", resume, start)
        fn.enter(resume)
        stored = [
            load(fn, offset(fn, "%sums", tile.dtype, str(at)), tile.dtype, p.lanes)
            for at, p in places
        ]
        fn.branch(start)
        fn.enter(start)
        pairs = zip(kinds, stored, strict=True)
        sums = [
            fn.value(f"phi {k} [zeroinitializer, %{before}], [{x}, %{resume}]") for k, x in pairs
        ]
    loops = unrolled_from(tile.levels, len(places))
    sums = _nest(fn, tile, target, tile.levels, loops, ("%a", "%b"), sums)
    for (at, p), x in zip(places, sums, strict=True):
        store(fn, x, offset(fn, "%sums", tile.dtype, str(at)), tile.dtype, p.lanes)


def _nest(
    fn: Function,
    tile: ConvTile,
    target: Target,
    levels: tuple[Level, ...],
    loops: int,
    pointers: tuple[str, str],
    sums: list[str],
) -> list[str]:
    """The sums, with the products of some levels added; the first `loops` are loops."""
    a, b = pointers
    if not levels:
        return _step(fn, tile, target, pointers, sums)
    level, rest = levels[0], levels[1:]
    if loops <= 0:
        for k in range(level.size):
            near = _apart(fn, offset(fn, a, tile.dtype, "1", k * level.a)) if k else a
            far = offset(fn, b, tile.dtype, "1", k * level.b) if k else b
            sums = _nest(fn, tile, target, rest, 0, (near, far), sums)
        return sums
    kinds = [type_of(tile.dtype, p.lanes) for _ in tile.rows for p in tile.pieces]
    carried = [("ptr", a), ("ptr", b), *zip(kinds, sums, strict=True)]
    with fn.carrying("0", str(level.size), "1", carried) as (_, now, following):
        here = (now[0], now[1])
        following[2:] = _nest(fn, tile, target, rest, loops - 1, here, now[2:])
        following[0] = offset(fn, now[0], tile.dtype, "1", level.a)
        following[1] = offset(fn, now[1], tile.dtype, "1", level.b)
    return following[2:]


def _apart(fn: Function, pointer: str) -> str:
    """The same address, from which LLVM does not know how far it is to others.

    Otherwise it would keep elements in registers that another row of the tile needs a step
    later, and have none left for sums.
    """
    return fn.value(f'call ptr asm "", "=r,0"(ptr {pointer})')


def _step(
    fn: Function, tile: ConvTile, target: Target, pointers: tuple[str, str], sums: Sequence[str]
) -> list[str]:
    """The sums with the products of one k added."""
    a, b = pointers
    dtype, pieces, widest = tile.dtype, tile.pieces, tile.pieces[0].lanes
    factors = []
    for p in pieces:
        partial = p.valid < p.lanes and not tile.b_padded
        mask = constant_mask(p.lanes, p.valid) if partial else None
        factors.append(load(fn, offset(fn, b, dtype, str(p.at)), dtype, p.lanes, mask))
    result: list[str] = []
    whole, element = type_of(dtype, widest), type_of(dtype, 1)
    for r in tile.rows:
        near = offset(fn, a, dtype, "1", r) if r else a
        if tile.apart:
            for p, y in zip(pieces, factors, strict=True):
                x = load(fn, offset(fn, near, dtype, str(p.at)), dtype, p.lanes)
                kind, name = type_of(dtype, p.lanes), suffix(dtype, p.lanes)
                total = sums[len(result)]
                result.append(multiply_add(fn, kind, name, target, x, y, total))
            continue
        x = load(fn, near, dtype, 1)
        one = fn.value(f"insertelement {whole} poison, {element} {x}, i64 0")
        x = fn.value(
            f"shufflevector {whole} {one}, {whole} poison, <{widest} x i32> zeroinitializer"
        )
        for p, y in zip(pieces, factors, strict=True):
            kind, part = type_of(dtype, p.lanes), x
            if p.lanes < widest:
                which = ", ".join(f"i32 {k}" for k in range(p.lanes))
                part = fn.value(
                    f"shufflevector {whole} {x}, {whole} poison, <{p.lanes} x i32> <{which}>"
                )
            total = sums[len(result)]
            name = suffix(dtype, p.lanes)
            result.append(multiply_add(fn, kind, name, target, part, y, total))
    return result

"""The innermost part of a matrix product: a few rows and columns of it, held in registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from fstensor.compiler.llvm.packing import (
    constant_mask,
    first_lanes,
    line_addresses,
    lines_from,
    load,
    offset,
    store,
)
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function
from fstensor.compiler.llvm.vector import suffix, type_of
from fstensor.core.scalar import Dtype

# Sums that must be under way at once, so that additions do not wait for each other.
_UNDER_WAY = 8


class Tile(NamedTuple):
    """`rows` by `width` sums over k of a[row, k] b[k, column]; strides are in elements.

    A stride may be the name of an i64 that is known when the code runs.

    kind: "outer" keeps vectors of columns, and adds for each k one row of b times each element of a
    (columns of b are contiguous); "inner" keeps vectors of partial sums over k, added up at the end
    (a and b are contiguous in k); "column" is an outer tile that keeps vectors of rows, for a
    second factor of one column (rows of a are contiguous).
    b_padded: vectors may be read beyond the last column.
    """

    kind: str
    dtype: Dtype
    rows: int
    width: int
    a_row: int | str
    a_k: int | str
    b_k: int | str
    b_column: int | str
    b_padded: bool

    def row_size(self, lanes: int) -> int:
        """How many elements apart the rows of the sums are stored."""
        return -(-self.width // lanes) * lanes if self.kind == "outer" else self.width

    def size(self, lanes: int) -> int:
        """How many elements the stored sums take, and what is read or written beyond them."""
        return -(-self.rows * self.row_size(lanes) // lanes) * lanes + lanes

    def pieces(self, lanes: int) -> list[tuple[int, int, str | None]]:
        """The vectors of a row of the stored sums: column, number of lanes, mask."""
        if self.width == 1:
            return [(0, 1, None)]
        while self.kind == "inner" and lanes // 2 >= self.width:
            lanes //= 2
        starts = range(0, self.width, lanes)
        return [
            (at, lanes, constant_mask(lanes, self.width - at) if at + lanes > self.width else None)
            for at in starts
        ]


def write_tile(
    fn: Function,
    tile: Tile,
    target: Target,
    resumable: bool,
    finish: Callable[[list[str]], None] | None = None,
) -> None:
    """Add the lines that compute a tile from %a, %b and the i64 %count, the extent of k.

    The sums are stored in %sums, or handed to `finish`, which is possible for outer tiles: one name
    for each vector, row by row. A resumable tile has the i1 %resume: start from the stored sums.
    """
    lanes = target.lanes(tile.dtype)
    if tile.kind == "inner":
        assert not resumable
        assert finish is None
        _inner(fn, tile, target, lanes)
        return
    if tile.kind == "column":
        tile = Tile(
            "outer", tile.dtype, 1, tile.rows, 0, tile.b_k, tile.a_k, 1, tile.b_padded
        )  # the transposed product
        a, b = "%b", "%a"
    else:
        a, b = "%a", "%b"
    kind = type_of(tile.dtype, lanes)
    number = tile.rows * len(tile.pieces(lanes))
    start = _stored_sums(fn, tile, kind, number, lanes) if resumable else _zeros(number)
    sums = _outer(fn, tile, target, lanes, (a, b), start)
    if finish is not None:
        finish(sums)
        return
    for i, total in enumerate(sums):
        store(fn, total, offset(fn, "%sums", tile.dtype, str(i * lanes)), tile.dtype, lanes)


def _zeros(number: int) -> list[str]:
    return ["zeroinitializer"] * number


def _stored_sums(fn: Function, tile: Tile, kind: str, number: int, lanes: int) -> list[str]:
    before, resume, start = fn.block, fn.new_block("resume"), fn.new_block("start")
    fn.branch_if("%resume", resume, start)
    fn.enter(resume)
    addresses = [offset(fn, "%sums", tile.dtype, str(i * lanes)) for i in range(number)]
    stored = [load(fn, address, tile.dtype, lanes) for address in addresses]
    fn.branch(start)
    fn.enter(start)
    return [fn.value(f"phi {kind} [zeroinitializer, %{before}], [{x}, %{resume}]") for x in stored]


def multiply_add(fn: Function, kind: str, name: str, target: Target, *xyz: str) -> str:
    """The vector x y + z."""
    x, y, z = xyz
    if not target.has_fma:
        product = fn.value(f"fmul {kind} {x}, {y}")
        return fn.value(f"fadd {kind} {product}, {z}")
    fn.module.declare(f"declare {kind} @llvm.fma.{name}({kind}, {kind}, {kind})")
    return fn.value(f"call {kind} @llvm.fma.{name}({kind} {x}, {kind} {y}, {kind} {z})")


def _total(fn: Function, kind: str, terms: Sequence[str]) -> str:
    """The sum of vectors, in pairs."""
    terms = list(terms)
    while len(terms) > 1:
        pairs = zip(terms[::2], terms[1::2], strict=False)
        rest = terms[len(terms) // 2 * 2 :]
        terms = [fn.value(f"fadd {kind} {x}, {y}") for x, y in pairs] + rest
    return terms[0]


def _ways(number: int) -> int:
    """How many k to treat at once, each with sums of its own."""
    ways = 1
    while number * ways < _UNDER_WAY:
        ways *= 2
    return ways


def _outer(
    fn: Function,
    tile: Tile,
    target: Target,
    lanes: int,
    operands: tuple[str, str],
    start: Sequence[str],
) -> list[str]:
    dtype, rows, number = tile.dtype, tile.rows, len(start)
    kind, element = type_of(dtype, lanes), type_of(dtype, 1)
    starts = range(0, tile.width, lanes)
    masks = [
        None if tile.b_padded or at + lanes <= tile.width else constant_mask(lanes, tile.width - at)
        for at in starts
    ]

    def step(pointers: Sequence[str], sums: Sequence[str]) -> list[str]:
        *lines, b = pointers
        row = [
            load(fn, offset(fn, b, dtype, str(at)), dtype, lanes, mask)
            for at, mask in zip(starts, masks, strict=True)
        ]
        result: list[str] = []
        for address in line_addresses(fn, lines, dtype, (tile.a_row, twice), rows):
            x = load(fn, address, dtype, 1)
            one = fn.value(f"insertelement {kind} poison, {element} {x}, i64 0")
            x = fn.value(
                f"shufflevector {kind} {one}, {kind} poison, <{lanes} x i32> zeroinitializer"
            )
            for y in row:
                total = sums[len(result)]
                result.append(multiply_add(fn, kind, suffix(dtype, lanes), target, x, y, total))
        return result

    def advance(pointers: Sequence[str], by: int) -> list[str]:
        *lines, b = pointers
        moved = [offset(fn, a, dtype, str(by), tile.a_k) for a in lines]
        return [*moved, offset(fn, b, dtype, str(by), tile.b_k)]

    ways = _ways(number)
    lines, twice = lines_from(fn, operands[0], dtype, tile.a_row, rows)
    pointers, sums, done = [*lines, operands[1]], list(start), "0"
    places = len(pointers)
    if ways > 1:
        done = fn.value(f"and i64 %count, {-ways}")
        first = [*sums, *_zeros(number * (ways - 1))]
        carried = [("ptr", p) for p in pointers] + [(kind, x) for x in first]
        with fn.carrying("0", done, str(ways), carried) as (_, now, following):
            following[:places] = advance(now[:places], ways)
            for way in range(ways):
                part = slice(places + way * number, places + (way + 1) * number)
                following[part] = step(advance(now[:places], way), now[part])
        pointers, all_sums = following[:places], following[places:]
        sums = [_total(fn, kind, all_sums[i::number]) for i in range(number)]
    carried = [("ptr", p) for p in pointers] + [(kind, x) for x in sums]
    with fn.carrying(done, "%count", "1", carried) as (_, now, following):
        following[:places] = advance(now[:places], 1)
        following[places:] = step(now[:places], now[places:])
    return following[places:]


def _inner(fn: Function, tile: Tile, target: Target, lanes: int) -> None:
    dtype, number = tile.dtype, tile.rows * tile.width
    kind = type_of(dtype, lanes)
    a_lines = [offset(fn, "%a", dtype, str(r), tile.a_row) for r in range(tile.rows)]
    b_lines = [offset(fn, "%b", dtype, str(c), tile.b_column) for c in range(tile.width)]

    def step(k: str, sums: Sequence[str], mask: str | None) -> list[str]:
        ys = [load(fn, offset(fn, line, dtype, k), dtype, lanes, mask) for line in b_lines]
        result = []
        for r, line in enumerate(a_lines):
            x = load(fn, offset(fn, line, dtype, k), dtype, lanes, mask)
            for c, y in enumerate(ys):
                total = sums[r * tile.width + c]
                result.append(multiply_add(fn, kind, suffix(dtype, lanes), target, x, y, total))
        return result

    ways = _ways(number)
    sums, done = _zeros(number), "0"
    if ways > 1:
        done = fn.value(f"and i64 %count, {-ways * lanes}")
        carried = [(kind, x) for x in _zeros(number * ways)]
        with fn.carrying("0", done, str(ways * lanes), carried) as (k, now, following):
            for way in range(ways):
                part = slice(way * number, (way + 1) * number)
                at = fn.value(f"add nsw i64 {k}, {way * lanes}")
                following[part] = step(at, now[part], None)
        sums = [_total(fn, kind, following[i::number]) for i in range(number)]
    whole = fn.value(f"and i64 %count, {-lanes}")
    carried = [(kind, x) for x in sums]
    with fn.carrying(done, whole, str(lanes), carried) as (k, now, following):
        following[:] = step(k, now, None)
    rest = fn.value(f"sub nsw i64 %count, {whole}")
    mask = first_lanes(fn, lanes, rest)
    # At most one round, which is none where nothing is left.
    carried = [(kind, x) for x in following]
    with fn.carrying(whole, "%count", str(lanes), carried) as (k, now, following):
        following[:] = step(k, now, mask)
    for first in range(0, number, lanes):
        some = following[first : first + lanes]
        total, valid = sums_across(fn, some, dtype, lanes), len(some)
        address = offset(fn, "%sums", dtype, str(first))
        width = 1 << (valid - 1).bit_length()
        store(fn, total, address, dtype, width)


def sums_across(fn: Function, vectors: list[str], dtype: Dtype, lanes: int) -> str:
    """The sum of the elements of each vector, as one vector of as many sums.

    Their number is rounded up to a power of two; the sums beyond are any numbers. Vectors are
    halved until they hold as many elements as there are vectors; then, in each round, half of the
    vectors remain, each of which holds partial sums of two in its halves.
    """
    number = 1 << (len(vectors) - 1).bit_length()
    vectors = vectors + vectors[-1:] * (number - len(vectors))
    element = type_of(dtype, 1)

    def taking(x: str, y: str, size: int, order: Sequence[int]) -> str:
        mask = ", ".join(f"i32 {i}" for i in order)
        kind = f"<{size} x {element}>"
        mask = f"<{len(order)} x i32> <{mask}>"
        return fn.value(f"shufflevector {kind} {x}, {kind} {y}, {mask}")

    def add(x: str, y: str, size: int) -> str:
        return fn.value(f"fadd <{size} x {element}> {x}, {y}")

    size = lanes
    while size > number:
        size //= 2
        low, high = list(range(size)), list(range(size, 2 * size))
        vectors = [
            add(taking(x, x, 2 * size, low), taking(x, x, 2 * size, high), size) for x in vectors
        ]
    distance = number // 2
    while distance:
        half = len(vectors) // 2
        low = [e if not e & distance else e - distance + size for e in range(size)]
        high = [e + distance if not e & distance else e + size for e in range(size)]
        vectors = [
            add(taking(x, y, size, low), taking(x, y, size, high), size)
            for x, y in zip(vectors[:half], vectors[half:], strict=True)
        ]
        distance //= 2
    if size == 1:
        return fn.value(f"extractelement <1 x {element}> {vectors[0]}, i64 0")
    return vectors[0]

"""What Winograd's algorithm adds up: elements of tiles before, and products after they are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from fstensor.compiler.llvm.conv_plan import in_pieces, rounded_up
from fstensor.compiler.llvm.indices import divided, plus, times
from fstensor.compiler.llvm.packing import constant_mask, load, offset, store
from fstensor.compiler.llvm.text import Function
from fstensor.compiler.llvm.vector import type_of
from fstensor.compiler.llvm.winograd_plan import OPERAND, POINTS, RESULTS, TileAxis
from fstensor.core.scalar import Dtype

# Vectors for the places of a tile, or what has become of them.
Square: TypeAlias = list[list[str]]
# What becomes of vectors along an axis.
Transform: TypeAlias = Callable[[Function, str, Sequence[str]], list[str]]


def vectors(
    fn: Function,
    size: int,
    dtype: Dtype,
    lanes: int,
    body: Callable[[str, int, str | None], None],
    exact: bool = False,
) -> None:
    """Write what is done for the vectors of a row.

    body: takes where one begins, how many lanes it has, and the mask of those that exist. The last
    one reaches over the end of the row, and there is no mask, unless it must be `exact`.
    """
    if not exact:
        size = rounded_up(size, lanes)
    found = in_pieces(size, lanes, 16 // dtype.itemsize)
    whole = size // lanes if size // lanes > 1 else 0
    if whole:
        with fn.loop("0", str(whole * lanes), str(lanes)) as i:
            body(i, lanes, None)
    for p in found[whole:]:
        mask = constant_mask(p.lanes, p.valid) if p.valid < p.lanes else None
        body(str(p.at), p.lanes, mask)


def load_square(
    fn: Function,
    near: str,
    dtype: Dtype,
    steps: Sequence[int],
    sizes: Sequence[int],
    lanes: int,
    mask: str | None = None,
) -> Square:
    """The vectors at distances of `steps` along two axes."""

    def at(u: int, v: int) -> str:
        return offset(fn, near, dtype, "1", u * steps[0] + v * steps[1])

    return [
        [load(fn, at(u, v), dtype, lanes, mask) for v in range(sizes[1])] for u in range(sizes[0])
    ]


def store_square(
    fn: Function, values: Square, far: str, dtype: Dtype, steps: Sequence[int], lanes: int
) -> None:
    for u, line in enumerate(values):
        for v, x in enumerate(line):
            to = offset(fn, far, dtype, "1", u * steps[0] + v * steps[1])
            store(fn, x, to, dtype, lanes)


def tile_start(fn: Function, tile: str, axis: TileAxis) -> str:
    """The first of what a tile has for its own along an axis."""
    if axis.step == 1:
        return times(fn, tile, axis.advance)
    group, within = divided(fn, tile, axis.step)
    return plus(fn, times(fn, group, axis.step * axis.advance), within)


def transformed(
    fn: Function, kind: str, values: Square, first: Transform, second: Transform
) -> Square:
    """Vectors of a type, transformed along both axes."""
    lines = [second(fn, kind, line) for line in values]
    columns = [first(fn, kind, column) for column in zip(*lines, strict=True)]
    return [list(line) for line in zip(*columns, strict=True)]


def of_operand(fn: Function, kind: str, values: Sequence[str]) -> list[str]:
    """What the operand's elements contribute to the products."""
    return [_added(fn, kind, numbers, values) for numbers in OPERAND]


def of_kernel(fn: Function, kind: str, values: Sequence[str]) -> list[str]:
    """The first and the last element, and half of the even ones plus and minus the odd ones."""
    half, even = _half(kind), values[0]
    if len(values) > 2:
        even = fn.value(f"fadd {kind} {even}, {values[2]}")
    even = fn.value(f"fmul {kind} {even}, {half}")
    odd = fn.value(f"fmul {kind} {values[1]}, {half}")
    total = fn.value(f"fadd {kind} {even}, {odd}")
    difference = fn.value(f"fsub {kind} {even}, {odd}")
    return [values[0], total, difference, values[-1]]


def of_products(axis: TileAxis) -> Transform:
    """The results that the products give."""

    def transform(fn: Function, kind: str, products: Sequence[str]) -> list[str]:
        last = axis.results - 1
        return [
            _added(fn, kind, [*numbers, -(number == last)], products)
            for number, numbers in enumerate(RESULTS[: axis.results])
        ]

    return transform


class Tiles(NamedTuple):
    """The tiles of a band of an image, whose channels are neighbours, and where they go.

    strides: of the image, along its axes; steps: between the elements of a tile. sizes: of a tile,
    along the axes. row: elements from one tile to the next in the result. point: from one of its
    points to the next. exact: nothing may be read behind the last channel.
    """

    axes: tuple[TileAxis, TileAxis]
    channels: int
    strides: Sequence[int]
    sizes: Sequence[int]
    row: int
    point: int
    exact: bool

    @property
    def steps(self) -> list[int]:
        return [s * axis.step for s, axis in zip(self.strides, self.axes, strict=True)]


def write_tiles(fn: Function, tiles: Tiles, dtype: Dtype, lanes: int, transform: Transform) -> None:
    """Add the lines of a function of %from and %to: transform all tiles along both axes."""
    first, second = tiles.axes
    with fn.loop("0", str(first.tiles)) as i, fn.loop("0", str(second.tiles)) as j:
        near = offset(fn, "%from", dtype, tile_start(fn, i, first), tiles.strides[0])
        near = offset(fn, near, dtype, tile_start(fn, j, second), tiles.strides[1])
        tile = plus(fn, times(fn, i, second.tiles), j)
        far = offset(fn, "%to", dtype, tile, tiles.row)

        def some(at: str, lanes: int, mask: str | None) -> None:
            start = offset(fn, near, dtype, at)
            values = load_square(fn, start, dtype, tiles.steps, tiles.sizes, lanes, mask)
            values = transformed(fn, type_of(dtype, lanes), values, transform, transform)
            to = offset(fn, far, dtype, at)
            store_square(fn, values, to, dtype, (POINTS * tiles.point, tiles.point), lanes)

        vectors(fn, tiles.channels, dtype, lanes, some, tiles.exact)


def _added(fn: Function, kind: str, numbers: Sequence[int], values: Sequence[str]) -> str:
    """The sum of values, each times 1, -1 or 0."""
    pairs = list(zip(numbers, values, strict=True))
    total, *more = [x for n, x in pairs if n > 0]
    for x in more:
        total = fn.value(f"fadd {kind} {total}, {x}")
    for x in [x for n, x in pairs if n < 0]:
        total = fn.value(f"fsub {kind} {total}, {x}")
    return total


def _half(kind: str) -> str:
    """The number 1/2 in all lanes of a type of vectors."""
    _, element = kind.strip("<>").split(" x ")
    return f"splat ({element} 0.5)"

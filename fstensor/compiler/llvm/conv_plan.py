"""How a convolution is computed: what is copied, what registers hold, what threads share.

There are two ways. By images: results of one image after the other, for kernels that are small
beside the operand; the kernel is copied once into the order in which it is read. By inputs: all
results at once, whose sums stay in memory while one input after the other is added, for kernels
that are as large as the operand; such are derivatives, where the inputs are the former batch.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from fstensor.compiler.convolution import Convolution
from fstensor.compiler.llvm.target import Target

# So many vectors of neighbouring results at most, unless few more are all.
_VECTORS = 4
_WIDEST = 6
# Steps of the innermost loops that are written out, and multiplications in them.
_UNROLLED = 16
_UNROLLED_WORK = 100
# A part of an image that is copied should stay in the second cache.
_BAND_BYTES = 128 * 1024
# So many parts at least, for threads to share.
_PARTS = 16


class Row(NamedTuple):
    """An axis along which results lie that share an element of the kernel.

    axis: a spatial axis, or -1 for the batch. stride: how far apart their elements are in the
    operand, or in its copy. tile: how many of them registers hold.
    """

    axis: int
    size: int
    stride: int
    tile: int = 1


class Level(NamedTuple):
    """A loop over the sums: its strides in the operand, and in the kernel or its copy."""

    size: int
    a: int
    b: int


class Piece(NamedTuple):
    """Neighbouring results in a vector: `lanes` of them from `at`, of which `valid` exist."""

    at: int
    lanes: int
    valid: int


class Copied(NamedTuple):
    """An axis of a copy of the operand, from the slowest to the fastest in memory.

    axis: a spatial axis, or -1 for inputs or batch, -2 for outputs. source, target: strides in
    memory and in the copy. extent: of the copy, in which `size` elements of the operand stand
    behind `low` zeros, or as many as fit.
    """

    axis: int
    source: int
    target: int
    extent: int
    low: int
    size: int


class ConvPlan(NamedTuple):
    """See the module.

    copies: the axes of the copy of the operand; empty where it is read in place. images: how many
    are in work together. band: how many places along the first spatial axis. rows: from the fastest
    on. levels: from the slowest on; of sums over inputs and window, by inputs over the window.
    width: columns of a panel. b_row: elements between the rows of a packed kernel, b_packed.
    chunks: into how many parts the inputs fall whose sums are added at last.
    """

    by_inputs: bool
    copies: tuple[Copied, ...]
    images: int
    band: int
    rows: tuple[Row, ...]
    levels: tuple[Level, ...]
    packing: tuple[tuple[int, int], ...]  # sizes of the packed levels, and their strides in memory
    width: int
    b_row: int
    b_packed: bool
    chunks: int

    @property
    def copy_size(self) -> int:
        """Elements of the copy of an image, without the space that vectors need behind it."""
        return self.copies[0].target * self.copies[0].extent if self.copies else 0

    @property
    def depth(self) -> int:
        """How many products each result sums up, or those of one input."""
        return math.prod(level.size for level in self.levels)


def in_pieces(width: int, lanes: int, smallest: int) -> tuple[Piece, ...]:
    """The vectors of a row of results; a short rest takes a short vector."""
    found = [Piece(at, lanes, lanes) for at in range(0, width - lanes + 1, lanes)]
    at = len(found) * lanes
    if at < width:
        while lanes // 2 >= max(width - at, smallest):
            lanes //= 2
        found.append(Piece(at, lanes, width - at))
    return tuple(found)


def rounded_up(x: int, step: int) -> int:
    return -(-x // step) * step


@lru_cache(maxsize=256)
def plan_convolution(conv: Convolution, target: Target) -> ConvPlan:
    """Choose a way, what is copied, and sizes."""
    whole = _planned(conv, target, conv.axes[0].places)
    if whole.by_inputs:
        return whole
    band = _band(conv, whole)
    return whole if band == whole.band else _planned(conv, target, band)


def _planned(conv: Convolution, target: Target, band: int) -> ConvPlan:
    lanes = target.lanes(conv.dtype)
    places = math.prod(a.places for a in conv.axes)
    window = math.prod(a.window for a in conv.axes)
    by_inputs = window > places
    width = _panel_width(conv.outputs, lanes)
    vectors = -(-width // lanes)
    most = max(1, (target.registers - vectors - 2) // vectors)
    copies = _copies(conv, by_inputs, band)
    layout = {c.axis: c.target for c in copies}
    strides = [layout.get(i, a.lhs) for i, a in enumerate(conv.axes)]
    rows = [
        Row(i, a.places, a.stride * s)
        for i, (a, s) in enumerate(zip(conv.axes, strides, strict=True))
        if a.places > 1
    ]
    images, chunks = 1, 1
    copy_size = copies[0].target * copies[0].extent if copies else 0
    if by_inputs:
        if conv.batch > 1:
            rows.append(Row(-1, conv.batch, layout.get(-1, conv.lhs_batch)))
    elif places < most // 2:
        images = max(n for n in range(1, most + 1) if conv.batch % n == 0)
        if images > 1:
            rows.append(Row(-1, images, copy_size or conv.lhs_batch))
    rows.sort(key=lambda r: abs(r.stride))
    rows = _tiled(rows, most, vectors)
    levels = [(a.window, a.dilation * s, a.rhs) for a, s in zip(conv.axes, strides, strict=True)]
    if not by_inputs:
        levels.append((conv.inputs, layout.get(-1, conv.lhs_input), conv.rhs_input))
    levels = sorted([x for x in levels if x[0] != 1], key=lambda x: -abs(x[1]))
    b_packed = not (by_inputs and conv.rhs_output == 1 and conv.rhs_dtype == conv.dtype)
    b_row = rounded_up(width, lanes)
    packing = tuple([(size, b) for size, _, b in levels])
    if b_packed:
        step, packed = b_row, []
        for size, a, _ in reversed(levels):
            packed.append(Level(size, a, step))
            step *= size
        made = packed[::-1]
    else:
        made = [Level(*x) for x in levels]
    if by_inputs:
        tiles = math.prod(-(-r.size // r.tile) for r in rows) * -(-conv.outputs // width)
        chunks = min(conv.inputs, -(-_PARTS // (tiles * conv.groups)))
        chunks = -(-conv.inputs // -(-conv.inputs // chunks))  # none of them empty
    return ConvPlan(
        by_inputs, copies, images, band, tuple(rows), _merged(made), packing, width, b_row,
        b_packed, chunks,
    )  # fmt: skip


def _panel_width(outputs: int, lanes: int) -> int:
    vectors = -(-outputs // lanes)
    if vectors <= _WIDEST:
        return outputs
    best = min((4, 3, 2), key=lambda v: -(-vectors // v) * v)
    return best * lanes


def _tiled(rows: list[Row], most: int, vectors: int) -> list[Row]:
    """The rows with tiles: as many of the fastest as fit, then of the next, where all are taken."""
    left, result = most, []
    for number, row in enumerate(rows):
        tile = 1
        if number == 0:
            tile = _fitting(row.size, most, vectors)
        elif left > 1:
            tile = max(n for n in range(1, left + 1) if row.size % n == 0)
        left = left // tile if tile == row.size else 1
        result.append(Row(row.axis, row.size, row.stride, tile))
    return result


def _fitting(size: int, most: int, vectors: int) -> int:
    """A number of rows that divides the size, or leaves nearly as many."""
    if size <= most:
        return size
    for rows in range(most, max(most // 2, 8 // vectors, 1), -1):
        if size % rows == 0:
            return rows
    return -(-size // -(-size // most))


def _merged(levels: list[Level]) -> tuple[Level, ...]:
    """The levels with neighbours made one where they are one regular walk through memory."""
    found: list[Level] = []
    for level in levels:
        last = found[-1] if found else None
        if last and last.a == level.a * level.size and last.b == level.b * level.size:
            found[-1] = Level(last.size * level.size, level.a, level.b)
        else:
            found.append(level)
    return tuple(found)


def _copies(conv: Convolution, by_inputs: bool, band: int) -> tuple[Copied, ...]:
    """The axes of a copy of an image (or of an input), in the order in which they lie in memory."""
    in_place = all(a.is_inside for a in conv.axes) and conv.lhs_dtype == conv.dtype
    if in_place and not conv.lhs_output:
        return ()
    size, stride = (conv.batch, conv.lhs_batch) if by_inputs else (conv.inputs, conv.lhs_input)
    taken = (conv.axes[0]._replace(places=band), *conv.axes[1:])
    axes = [(i, a.lhs, a.extent, a.low, a.size) for i, a in enumerate(taken)]
    axes.append((-1, stride, size, 0, size))
    # Axes of size 1 go outside, where they disturb no run of elements.
    axes.sort(key=lambda x: (x[2] != 1 or x[4] != 1, -abs(x[1])))
    if conv.lhs_output:
        axes.append((-2, conv.lhs_output, conv.outputs, 0, conv.outputs))
    found: list[Copied] = []
    step = 1
    for axis, source, extent, low, n in reversed(axes):
        found.insert(0, Copied(axis, source, step, extent, low, n))
        step *= max(extent, 1)
    return tuple(found)


def _band(conv: Convolution, whole: ConvPlan) -> int:
    """How many places along the first spatial axis make up a part."""
    first, copy_size = conv.axes[0], whole.copy_size
    row = next((r for r in whole.rows if r.axis == 0), None)
    if row is None or whole.images > 1:
        return first.places
    parts = conv.groups * conv.batch
    pieces = -(-_PARTS // parts)
    if copy_size:
        size = copy_size * conv.dtype.itemsize
        pieces = max(pieces, -(-size // _BAND_BYTES))
    band = rounded_up(-(-first.places // pieces), row.tile)
    if copy_size:  # what neighbouring parts both copy must not be much
        reach = (first.window - 1) * first.dilation // first.stride
        band = max(band, rounded_up(2 * reach, row.tile))
    return min(band, first.places)


def unrolled_from(levels: tuple[Level, ...], work: int) -> int:
    """The number of the first level that is written out, with all behind it."""
    steps, at = 1, len(levels)
    while at and steps * levels[at - 1].size <= min(_UNROLLED, _UNROLLED_WORK // work):
        at -= 1
        steps *= levels[at].size
    return at


def offsets(rows: tuple[Row, ...], first: int) -> list[int]:
    """Where the elements of the rows of a tile lie, with `first` rows along the fastest axis."""
    sizes = [first if n == 0 else r.tile for n, r in enumerate(rows)]
    found = []
    for index in product(*(range(n) for n in reversed(sizes))):
        pairs = zip(reversed(index), rows, strict=True)
        found.append(sum(i * r.stride for i, r in pairs))
    return found

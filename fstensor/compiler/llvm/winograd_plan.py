"""How a convolution is computed with fewer multiplications, by Winograd's minimal filtering.

Along an axis, m neighbouring results of a window of r elements take m + r - 1 products, not m r, of
sums of elements of the operand with sums of elements of the window; the results are sums of the
products. Here m + r - 1 is 4: two results of a window of three, or three of a window of two. For
two axes that makes 16 products in the place of 36. As all of this is linear, sums over inputs are
taken of the products, and become 16 products of matrices, whose rows are the tiles of 4 by 4
elements (S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, Fast
Algorithms for Convolutional Neural Networks, 2016).

Tiles cover the results, where the window is small, or else the window, where the results are few;
such are derivatives with respect to kernels. The numbers 1, -1 and 1/2 are all that elements are
multiplied with, so that rounding errors are like those of the direct way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

from fstensor.compiler.convolution import Convolution, SpatialAxis
from fstensor.compiler.llvm.conv_plan import Copied, rounded_up
from fstensor.compiler.llvm.target import Target
from fstensor.core.scalar import FLOAT32

POINTS = 4
PRODUCTS = POINTS * POINTS

# Matrices of numbers: what is added up of the operand's elements, and of products for results. In
# the last column of the latter, the last of the results has -1, and the others 0.
OPERAND = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
RESULTS = ((1, 1, 1), (0, 1, -1), (0, 1, 1))

# What becomes of a vector of a tile costs as much as so many multiplications of vectors.
_OPERAND_COST = 44
_KERNEL_COST = 44
_RESULT_COST = 70
# What is transformed into memory that the second cache does not hold takes so many times as long.
_FAR = 4
# The multiplications of before must be at least so many times what there is to do then.
_GAIN = 0.9
# Vectors of a panel at most, and entries of the batch in a block.
_WIDEST = 4
_BLOCK = 64
# Tiles over which products of matrices should sum up, or that should be their rows.
_FEW_TILES = 48
_MOST_IMAGES = 16
# So many parts at least, for threads to share.
_PARTS = 16


class TileAxis(NamedTuple):
    """How tiles lie along an axis.

    results, taps: how many results of how many elements of the window a tile has. step: how far
    apart its elements are. advance: how many of the results, or else of the window's elements, it
    has for its own. tiles: how many there are.
    """

    results: int
    taps: int
    step: int
    advance: int
    tiles: int

    @property
    def own(self) -> int:
        """How many results, or elements of the window, all tiles cover."""
        return self.tiles * self.advance

    @property
    def extent(self) -> int:
        """How many elements of the padded operand they meet."""
        return self.own + (POINTS - self.advance) * self.step

    def with_tiles(self, tiles: int) -> TileAxis:
        return self._replace(tiles=tiles)


class Packed(NamedTuple):
    """A level of a packed kernel: of a spatial axis, or -1 for inputs; its stride in memory."""

    axis: int
    size: int
    stride: int


class WinogradPlan(NamedTuple):
    """See the module.

    axes: the tiles of a band. bands: how many there are along the first axis. images: how many are
    in work together. copies, kernel_copies: the axes of copies of operand and, by inputs, kernel;
    empty where they are read in place. width: columns of a panel. block: by inputs, how many of the
    batch's entries are in work together. rows: of a tile of sums. The last panel, block, and tile
    of sums overlap those before where they would not be full. depth: how many products these sum
    up. a_row, b_row: elements between rows of matrices. packing: sizes of the levels of a packed
    kernel, and their strides in memory. chunks: into how many parts the inputs fall whose sums are
    added at last.
    """

    by_inputs: bool
    axes: tuple[TileAxis, TileAxis]
    bands: int
    images: int
    copies: tuple[Copied, ...]
    kernel_copies: tuple[Copied, ...]
    panels: int
    width: int
    block: int
    rows: int
    depth: int
    a_row: int
    b_row: int
    packing: tuple[Packed, ...]
    chunks: int

    @property
    def band_tiles(self) -> int:
        """How many tiles a band of one image has."""
        return prod(axis.tiles for axis in self.axes)

    @property
    def all_rows(self) -> int:
        """Rows of the products of matrices."""
        return self.block if self.by_inputs else self.images * self.band_tiles

    @property
    def row_blocks(self) -> int:
        return -(-self.all_rows // self.rows)


@lru_cache(maxsize=256)
def plan_winograd(conv: Convolution, target: Target) -> WinogradPlan | None:
    """How to compute a convolution in this way, if it is possible and the better one."""
    if conv.precise or conv.dtype != FLOAT32:
        return None
    if len(conv.axes) != 2 or conv.lhs_output or not conv.flops:
        return None
    by_inputs = prod(a.window for a in conv.axes) > prod(a.places for a in conv.axes)
    found = [_tiles(a, by_inputs) for a in conv.axes]
    axes = [axis for axis in found if axis is not None]
    if len(axes) < 2 or not _pays(conv, target, by_inputs, axes):
        return None
    return (_by_inputs if by_inputs else _by_images)(conv, target, (axes[0], axes[1]))


def _tiles(axis: SpatialAxis, by_inputs: bool) -> TileAxis | None:
    """The tiles of a whole axis."""
    few, many = (axis.places, axis.window) if by_inputs else (axis.window, axis.places)
    distance, step = axis.dilation, axis.stride
    if not by_inputs:
        distance, step = step, distance
    if few not in (2, 3) or distance != 1:
        return None
    advance = POINTS + 1 - few
    tiles = step * -(-many // (step * advance))
    return TileAxis(*((few, advance) if by_inputs else (advance, few)), step, advance, tiles)


def _pays(conv: Convolution, target: Target, by_inputs: bool, axes: Sequence[TileAxis]) -> bool:
    """Whether few enough multiplications are left, beside all that comes with it."""
    lanes = target.lanes(conv.dtype)
    outputs = -(-conv.outputs // lanes)
    # A band has at least a row of tiles, which should stay in the second cache.
    channels = min(conv.batch, _BLOCK) + min(outputs, _WIDEST) * lanes if by_inputs else conv.inputs
    if axes[1].tiles * axes[0].step * PRODUCTS * channels * conv.dtype.itemsize > target.l2:
        return False
    direct = prod(a.places * a.window for a in conv.axes) * conv.batch * conv.inputs * outputs
    tiles = prod(axis.tiles for axis in axes)
    rows = conv.batch if by_inputs else conv.inputs
    is_far = PRODUCTS * rows * conv.outputs * conv.dtype.itemsize > target.l2
    far = _FAR if is_far else 1
    if by_inputs:
        panels, blocks = -(-outputs // _WIDEST), -(-conv.batch // _BLOCK)
        each = _OPERAND_COST * -(-conv.batch // lanes) * panels + _KERNEL_COST * outputs * blocks
        total = tiles * conv.inputs * (PRODUCTS * conv.batch * outputs + each)
        chunks = min(conv.inputs, -(-_PARTS // (conv.groups * panels * blocks)))
        total += rows * outputs * _RESULT_COST * far * chunks
    else:
        each = _OPERAND_COST * -(-conv.inputs // lanes) + _RESULT_COST * outputs
        total = tiles * conv.batch * (PRODUCTS * conv.inputs * outputs + each)
        total += rows * outputs * _KERNEL_COST * far
    return total < _GAIN * direct


def _panels(conv: Convolution, lanes: int) -> tuple[int, int]:
    """How many panels, of how many outputs."""
    vectors = -(-conv.outputs // lanes)
    if vectors <= _WIDEST:
        return 1, conv.outputs
    best = min((4, 3), key=lambda v: -(-vectors // v) * v)
    return -(-vectors // best), best * lanes


def _rows_of(all_rows: int, most: int) -> int:
    """As many rows as registers hold, or fewer where that leaves less to compute twice."""
    return -(-all_rows // -(-all_rows // most))


def _most_rows(target: Target, width: int, lanes: int) -> int:
    vectors = -(-width // lanes)
    return max(1, (target.registers - vectors - 2) // vectors)


def _by_images(conv: Convolution, target: Target, axes: tuple[TileAxis, TileAxis]) -> WinogradPlan:
    lanes = target.lanes(conv.dtype)
    panels, width = _panels(conv, lanes)
    a_row = _row_size(conv.inputs, conv)
    most = _most_rows(target, width, lanes)
    fitting = max(1, target.l2 // 4 // (PRODUCTS * a_row * conv.dtype.itemsize))
    axes, bands = _in_bands(axes, fitting, -(-_PARTS // (conv.batch * conv.groups)))
    tiles = axes[0].tiles * axes[1].tiles
    images = 1
    if bands == 1:
        parts = -(-_PARTS // conv.groups)
        possible = [
            n
            for n in range(1, _MOST_IMAGES + 1)
            if conv.batch % n == 0 and n * tiles <= fitting and conv.batch // n >= parts
        ]
        # The last rows of sums are computed twice where they are no multiple; many tiles share
        # what is read of the kernel.
        images = min(
            possible or [1],
            key=lambda n: (-(-n * tiles // most) * most + _FEW_TILES // 4) / (n * tiles),
        )
    packing = [Packed(n, axis.window, axis.rhs) for n, axis in enumerate(conv.axes)]
    packing.append(Packed(-1, conv.inputs, conv.rhs_input))
    packing.sort(key=lambda level: -abs(level.stride))
    return WinogradPlan(
        by_inputs=False,
        axes=axes,
        bands=bands,
        images=images,
        copies=_copies(conv, axes, bands, conv.inputs, conv.lhs_input),
        kernel_copies=(),
        panels=panels,
        width=width,
        block=0,
        rows=_rows_of(images * tiles, most),
        depth=conv.inputs,
        a_row=a_row,
        b_row=rounded_up(width, lanes),
        packing=tuple(packing),
        chunks=1,
    )


def _by_inputs(conv: Convolution, target: Target, axes: tuple[TileAxis, TileAxis]) -> WinogradPlan:
    lanes = target.lanes(conv.dtype)
    panels, width = _panels(conv, lanes)
    blocks = -(-conv.batch // _BLOCK)
    block = min(conv.batch, rounded_up(-(-conv.batch // blocks), lanes))
    a_row, b_row = _row_size(block, conv), rounded_up(width, lanes)
    fitting = max(1, target.l2 // 2 // (PRODUCTS * (a_row + b_row) * conv.dtype.itemsize))
    axes, bands = _in_bands(axes, fitting, 1)
    tiles = axes[0].tiles * axes[1].tiles
    images = 1
    if bands == 1:
        possible = [n for n in range(1, _MOST_IMAGES + 1) if conv.inputs % n == 0]
        enough = [n for n in possible if n * tiles >= _FEW_TILES]
        wanted = min(enough, default=possible[-1])
        images = max(n for n in possible if n <= wanted and (n == 1 or n * tiles <= fitting))
    number = conv.inputs // images
    parts = conv.groups * panels * -(-conv.batch // block)
    chunks = min(number, -(-_PARTS // parts))
    chunks = -(-number // -(-number // chunks))  # none of them empty
    return WinogradPlan(
        by_inputs=True,
        axes=axes,
        bands=bands,
        images=images,
        copies=_copies(conv, axes, bands, block, conv.lhs_batch),
        kernel_copies=_kernel_copies(conv, axes, bands, width),
        panels=panels,
        width=width,
        block=block,
        rows=_rows_of(block, _most_rows(target, width, lanes)),
        depth=images * tiles,
        a_row=a_row,
        b_row=b_row,
        packing=(),
        chunks=chunks,
    )


def _row_size(size: int, conv: Convolution) -> int:
    """Elements between rows: no multiple for which they would compete for places in caches."""
    line = 64 // conv.dtype.itemsize
    size = rounded_up(size, line)
    return size + line if size * conv.dtype.itemsize % 512 == 0 else size


def _in_bands(
    axes: tuple[TileAxis, TileAxis], fitting: int, at_least: int
) -> tuple[tuple[TileAxis, TileAxis], int]:
    """The tiles of one of equal bands, each of `fitting` tiles at most, and how many there are."""
    first, second = axes
    groups = first.tiles // first.step
    bands = max(at_least, -(-first.tiles * second.tiles // fitting))
    size = -(-groups // min(bands, groups))
    return (first.with_tiles(size * first.step), second), -(-groups // size)


def _copies(
    conv: Convolution, axes: Sequence[TileAxis], bands: int, channels: int, stride: int
) -> tuple[Copied, ...]:
    """The axes of a copy of a band whose channels lie side by side, if it is needed."""
    taken = []
    for number, (a, axis) in enumerate(zip(conv.axes, axes, strict=True)):
        whole = axis if number else axis.with_tiles(axis.tiles * bands)
        inside = a.low <= 0 and whole.extent - a.low <= a.size
        taken.append((inside, number, a.lhs, axis.extent, a.low, a.size))
    if all(x[0] for x in taken) and stride == 1 and conv.lhs_dtype == conv.dtype:
        return ()
    return _in_order(taken, channels, stride)


def _kernel_copies(
    conv: Convolution, axes: Sequence[TileAxis], bands: int, width: int
) -> tuple[Copied, ...]:
    """The same for the kernel, where tiles cover it."""
    taken = []
    for number, (a, axis) in enumerate(zip(conv.axes, axes, strict=True)):
        whole = axis if number else axis.with_tiles(axis.tiles * bands)
        taken.append((whole.own == a.window, number, a.rhs, axis.own, 0, a.window))
    stride = conv.rhs_output if conv.outputs > 1 else 1
    if all(x[0] for x in taken) and stride == 1 and conv.rhs_dtype == conv.dtype:
        return ()
    return _in_order(taken, width, stride)


def _in_order(
    taken: Sequence[tuple[bool, int, int, int, int, int]], channels: int, stride: int
) -> tuple[Copied, ...]:
    found = [Copied(-1, stride, 1, channels, 0, channels)]
    step = channels
    for _, number, source, extent, low, size in sorted(taken, key=lambda x: abs(x[2])):
        found.insert(0, Copied(number, source, step, extent, low, size))
        step *= extent
    return tuple(found)

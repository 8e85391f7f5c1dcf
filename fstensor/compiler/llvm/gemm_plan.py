"""How a matrix product is computed: what is copied, and the sizes of tiles and blocks."""

from __future__ import annotations

from typing import NamedTuple

from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.tiles import Tile
from fstensor.core.scalar import Dtype

# So many rows of a large matrix are read side by side in products with a vector, for the columns
# of so many tiles: their partial sums stay in the first cache.
_FEW_K = 8
_TILES_SIDE_BY_SIDE = 32
# At most so many bytes of a row of A, or of a column of B, are treated at once: the rows of a tile
# should stay in the first cache, or at least in the second.
_BLOCK_BYTES = 4096
# Some processors add to a sum only every fifth cycle, but do two additions in each.
_UNDER_WAY = 10
# Results of so few vectors in a row are not cut into columns.
_WIDEST = 6
# A walk through so few tiles along a column takes little time.
_SHORT_WALK = 6
# For so many rows partial sums are kept, where k is treated in several blocks.
_ROWS_AT_ONCE = 2048


def _quotient_up(x: int, y: int) -> int:
    return -(-x // y)


def _rounded_up(x: int, step: int) -> int:
    """The next multiple of step."""
    return _quotient_up(x, step) * step


class MatrixProduct(NamedTuple):
    """What is multiplied. Strides are in elements; any integers, 0 where an operand is repeated.

    dtype: that of the arithmetic, float32 or float64. a_dtype, b_dtype: those in memory, where they
    differ (bfloat16, float16 or float32). large_epilogue: whether what follows goes through arrays
    which are as large as the result, and larger than caches.
    """

    dtype: Dtype
    batch: tuple[int, ...]
    m: int
    n: int
    k: int
    a_batch: tuple[int, ...]
    a_row: int
    a_k: int
    b_batch: tuple[int, ...]
    b_k: int
    b_column: int
    a_dtype: Dtype | None = None
    b_dtype: Dtype | None = None
    large_epilogue: bool = False

    @property
    def memory(self) -> tuple[Dtype, Dtype]:
        """The dtypes of the operands in memory."""
        return self.a_dtype or self.dtype, self.b_dtype or self.dtype

    def transposed(self) -> MatrixProduct:
        """The product with the operands exchanged, whose results are those of the transpose of C.

        With n = 1, or where columns of C are contiguous, this may be the better one to write.
        """
        return self._replace(
            m=self.n, n=self.m,
            a_batch=self.b_batch, a_row=self.b_column, a_k=self.b_k, a_dtype=self.b_dtype,
            b_batch=self.a_batch, b_column=self.a_row, b_k=self.a_k, b_dtype=self.a_dtype,
        )  # fmt: skip


class Plan(NamedTuple):
    """How a product is cut into pieces. Counts of tiles are of `tile`, or of what remains of it.

    k_block: how much of k is done at once. panels: how many tiles along a row share a packed block
    of B. group: how many tiles along a column are packed together. rows_at_once: for how many tiles
    along a column partial sums are kept, where k has several blocks.
    a_packing: "lines", "interleaved" or None. b_packed: whether B is copied.
    by_rows: whether threads share the rows, rather than the columns.
    in_lines: whether the epilogue follows on all the tiles side by side at once, line by line: of
    arrays of which a few lines are read, far apart, processors do not know what to load ahead. For
    the same reason threads share the rows then: whole ones follow each other in memory.
    """

    tile: Tile
    lanes: int
    k_block: int
    panels: int
    group: int
    rows_at_once: int
    a_packing: str | None
    b_packed: bool
    by_rows: bool
    in_lines: bool = False

    def blocks(self, k: int) -> int:
        """How many blocks k has; at least one."""
        return max(_quotient_up(k, self.k_block), 1)

    def k_size(self) -> int:
        """The room for a k_block, with what vectors write beyond it."""
        return _rounded_up(self.k_block, self.lanes)

    def line_size(self) -> int:
        """As k_size, but no power of two, so that lines do not compete for places in a cache."""
        return self.k_size() + max(self.lanes, 64 // self.tile.dtype.itemsize)

    def panel_size(self) -> int:
        """Elements of a packed panel of B."""
        return self.k_size() * self.tile.row_size(self.lanes)

    def a_tile_size(self) -> int:
        """Elements of the packed rows of A of a tile."""
        size = self.line_size() if self.a_packing == "lines" else self.k_size()
        return self.tile.rows * size

    def sizes(self) -> tuple[int, int, int]:
        """Elements of a thread's workspace: partial sums, packed A, packed B."""
        across = self.panels if self.rows_at_once or self.in_lines else 1
        sums = self.tile.size(self.lanes) * max(self.rows_at_once, 1) * across
        a = self.a_tile_size() * self.group + 2 * self.lanes if self.a_packing else 0
        b = self.panel_size() * self.panels + 2 * self.lanes if self.b_packed else 0
        line = 64 // self.tile.dtype.itemsize
        sums, a, b = (_rounded_up(size, line) for size in (sums, a, b))
        return sums, a, b


def workspace_bytes(spec: MatrixProduct, target: Target, threads: int) -> int:
    """How much memory `threads` threads need, in bytes."""
    if has_no_results(spec):
        return 0
    return threads * sum(make_plan(spec, target).sizes()) * spec.dtype.itemsize


def has_no_results(spec: MatrixProduct) -> bool:
    return 0 in (spec.m, spec.n, *spec.batch)


def normal(spec: MatrixProduct) -> MatrixProduct:
    """The same product with strides of 1 where a stride does not matter."""
    return spec._replace(
        a_row=spec.a_row if spec.m > 1 else 1,
        b_column=spec.b_column if spec.n > 1 else 1,
        a_k=spec.a_k if spec.k > 1 else 1,
        b_k=spec.b_k if spec.k > 1 else 1,
    )


def make_plan(spec: MatrixProduct, target: Target) -> Plan:
    """Choose tiles, blocks and what is copied."""
    spec = normal(spec)
    a_memory, b_memory = spec.memory
    a_alike, b_alike = a_memory == spec.dtype, b_memory == spec.dtype
    lanes = target.lanes(spec.dtype)
    if spec.n == 1 and spec.a_row == 1 and a_alike and spec.m > 1 and spec.k:
        return _column_plan(spec, target, lanes, b_alike)
    long = spec.k >= 2 * lanes
    if spec.n == 1 and (spec.a_k == 1 or not a_alike) and long:
        return _inner_plan(spec, lanes, a_alike, b_alike)
    few_rows = spec.m <= 4 and spec.b_k == 1 and spec.b_column != 1
    if few_rows and b_alike and long:
        return _inner_plan(spec, lanes, a_alike, b_alike)
    return _outer_plan(spec, target, lanes, a_alike, b_alike)


def _column_plan(spec: MatrixProduct, target: Target, lanes: int, b_alike: bool) -> Plan:
    rows = min(8 * lanes, spec.m)
    b_k = spec.b_k if b_alike else 1
    tile = Tile("column", spec.dtype, rows, 1, 1, spec.a_k, b_k, 1, False)
    large = spec.m * spec.k * spec.dtype.itemsize > target.l2 // 2
    k_block = min(spec.k, _FEW_K) if large else spec.k
    at_once = min(_quotient_up(spec.m, rows), _TILES_SIDE_BY_SIDE) if k_block < spec.k else 0
    return Plan(tile, lanes, k_block, 1, 1, at_once, None, not b_alike, by_rows=True)


def _inner_plan(spec: MatrixProduct, lanes: int, a_alike: bool, b_alike: bool) -> Plan:
    a_packing = None if a_alike and spec.a_k == 1 else "lines"
    b_packed = spec.n == 1 and not (b_alike and spec.b_k == 1)
    rows = min(8, spec.m) if spec.n == 1 else spec.m
    width = min(max(1, 8 // rows), spec.n)
    tile = Tile("inner", spec.dtype, rows, width, spec.a_row, 1, 1, spec.b_column, False)
    plan = Plan(tile, lanes, spec.k, 1, 1, 0, a_packing, b_packed, by_rows=spec.n == 1)
    if a_packing:
        plan = plan._replace(tile=tile._replace(a_row=plan.line_size()))
    return plan


def _rows_of_tile(m: int, most: int, vectors: int) -> int:
    """The number of rows of a tile: one that divides m, or leaves nearly as many.

    A divisor saves the code for another size, but must leave the tile large.
    """
    for rows in range(most, max(most // 2, (_UNDER_WAY - 1) // vectors), -1):
        if m % rows == 0:
            return rows
    return _quotient_up(m, _quotient_up(m, most))


def _outer_plan(
    spec: MatrixProduct, target: Target, lanes: int, a_alike: bool, b_alike: bool
) -> Plan:
    size = spec.dtype.itemsize
    most, vectors = target.product_tile
    whole = _quotient_up(spec.n, lanes)
    if vectors < whole <= _WIDEST:
        # Tiles take whole rows of the result, if enough rows fit into the registers.
        fitting = min(most * vectors, target.registers - whole - 1) // whole
        if fitting * whole >= _UNDER_WAY:
            most, vectors = fitting, whole
    rows = _rows_of_tile(spec.m, most, vectors)
    vectors = min(max(vectors, most * vectors // rows if spec.m <= most else 0), 8)
    width = min(vectors * lanes, spec.n)
    across, down = _quotient_up(spec.n, width), _quotient_up(spec.m, rows)
    b_bytes = spec.n * spec.k * size
    small = b_bytes <= 2 * target.l1
    few_uses = spec.m <= rows or (spec.m <= 2 * rows and b_bytes <= target.l2)
    in_place = b_alike and spec.b_column == 1 and (few_uses or small)
    k_block, panels = max(spec.k, 1), across
    if not in_place:
        blocks = _quotient_up(k_block * size, _BLOCK_BYTES)
        k_block = _rounded_up(_quotient_up(k_block, blocks), lanes)
        # Panels of B follow each other in memory, so it does not hurt when not all of them are in
        # the second cache; but each block of B costs a walk through A. Where that is short, copies
        # are read soon after they are made, and should be near.
        room = 2 * target.l2 if down > _SHORT_WALK else target.l2 // 2
        panels = min(across, max(1, room // (k_block * vectors * lanes * size)))
    elif spec.m <= 2 and b_bytes > target.l2 // 2:
        k_block, panels = min(k_block, _FEW_K), min(across, _TILES_SIDE_BY_SIDE)
    a_packing, group = None, 1
    if not a_alike or (across >= 4 and k_block >= 64 and not small):
        a_packing = "lines" if spec.a_k == 1 else "interleaved"
        if a_packing == "interleaved":
            group = min(max(1, 64 // rows), down)
    tile = Tile(
        "outer", spec.dtype, rows, width,
        spec.a_row, spec.a_k, spec.b_k, 1, b_padded=not in_place,
    )  # fmt: skip
    in_lines = spec.large_epilogue and panels > 1
    at_once = min(down, max(1, _ROWS_AT_ONCE // rows)) if k_block < spec.k else 0
    plan = Plan(
        tile, lanes, k_block, panels, group, at_once, a_packing, not in_place,
        by_rows=(across < 16 or in_lines) and down > across, in_lines=in_lines,
    )  # fmt: skip
    if a_packing == "lines":
        tile = tile._replace(a_row=plan.line_size(), a_k=1)
    elif a_packing:
        tile = tile._replace(a_row=1, a_k=rows)
    if plan.b_packed:
        tile = tile._replace(b_k=tile.row_size(lanes))
    return plan._replace(tile=tile)

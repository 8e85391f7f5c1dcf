"""Matrix products as LLVM functions: C[batch, i, j] = sum over k of A[batch, i, k] B[batch, k, j].

`write_product(module, name, spec, target, extra, epilogue)` adds

    void @name(ptr %a, ptr %b, <extra parameters>, ptr %workspace, i64 %thread, i64 %threads)

Each thread of a team calls it with its own number; together they compute the whole, each its own
part, without waiting for another. `workspace_bytes(spec, target, threads)` says how large the
workspace is, which starts at a multiple of 64 bytes.

What becomes of the results is the caller's choice: `epilogue(fn, acc, batch, i, j, lanes, mask)`
writes the lines that store (or use) C[batch, i, j:j + lanes]. It is reached exactly once for each
element, with the complete sum. `acc` is a value of type `<lanes x float>`, or of the scalar type
where lanes is 1; `batch`, `i` and `j` are i64 values; `mask` is a constant of type `<lanes x i1>`,
or None where all lanes are valid. `lanes` is a power of two, at most that of a vector; it is 1 only
where n is 1. The lines stand in a function of their own, whose parameters are `batch`, i, j and
`extra`, so they may use nothing else; they may contain blocks.

The method is that of K. Goto and R. A. van de Geijn, "Anatomy of high-performance matrix
multiplication" (2008), as arranged in BLIS (F. G. Van Zee and R. A. van de Geijn, 2015): blocks of B
are copied into panels that stay in the second cache, rows of A stay in the first, and a tile of C
stays in registers while k runs. Small products, and those with few rows, are read in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

from fstensor.compiler.llvm.packing import (
    Source,
    constant_mask,
    offset,
    write_line_copy,
    write_packing,
)
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.tiles import Tile, write_tile
from fstensor.compiler.llvm.vector import type_of
from fstensor.core.scalar import Dtype

# So many rows of a large matrix are read side by side in products with a vector.
_FEW_K = 8
# Up to this extent of k, results are not stored between the sums and a short epilogue.
_SHORT_K = 256
_SHORT_EPILOGUE = 8

# Multiplications in a tile from which on the loops around it may be slow.
_LONG_TILE = 2**15

Epilogue = Callable[[Function, str, list[str], str, str, int, str | None], None]


@dataclass(frozen=True)
class MatrixProduct:
    """What is multiplied. Strides are in elements; any integers, 0 where an operand is repeated.

    dtype: that of the arithmetic, float32 or float64. a_dtype, b_dtype: those in memory, where they
    differ (bfloat16, float16 or float32).
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

    @property
    def memory(self) -> tuple[Dtype, Dtype]:
        """The dtypes of the operands in memory."""
        return self.a_dtype or self.dtype, self.b_dtype or self.dtype

    def transposed(self) -> MatrixProduct:
        """The product with the operands exchanged, whose results are those of the transpose of C.

        With n = 1, or where columns of C are contiguous, this may be the better one to write.
        """
        return replace(
            self, m=self.n, n=self.m,
            a_batch=self.b_batch, a_row=self.b_column, a_k=self.b_k, a_dtype=self.b_dtype,
            b_batch=self.a_batch, b_column=self.a_row, b_k=self.a_k, b_dtype=self.a_dtype,
        )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How a product is cut into pieces. Counts of tiles are of `tile`, or of what remains of it.

    k_block: how much of k is done at once. panels: how many tiles along a row share a packed block
    of B. group: how many tiles along a column are packed together. rows_at_once: for how many tiles
    along a column partial sums are kept, where k has several blocks.
    a_packing: "lines", "interleaved" or None. b_packed: whether B is copied.
    by_rows: whether threads share the rows, rather than the columns.
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

    def k_size(self) -> int:
        """The room for a k_block, with what vectors write beyond it."""
        return -(-self.k_block // self.lanes) * self.lanes

    def line_size(self) -> int:
        """As k_size, but off powers of two, so that lines do not compete for places in the cache."""
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
        across = self.panels if self.rows_at_once else 1
        sums = self.tile.size(self.lanes) * max(self.rows_at_once, 1) * across
        a = self.a_tile_size() * self.group + 2 * self.lanes if self.a_packing else 0
        b = self.panel_size() * self.panels + 2 * self.lanes if self.b_packed else 0
        line = 64 // self.tile.dtype.itemsize
        sums, a, b = (-(-size // line) * line for size in (sums, a, b))
        return sums, a, b


def workspace_bytes(spec: MatrixProduct, target: Target, threads: int) -> int:
    """How much memory `threads` threads need, in bytes."""
    if _empty(spec):
        return 0
    return threads * sum(make_plan(spec, target).sizes()) * spec.dtype.itemsize


def _empty(spec: MatrixProduct) -> bool:
    return 0 in (spec.m, spec.n, *spec.batch)


def _normal(spec: MatrixProduct) -> MatrixProduct:
    """The same product with strides of 1 where a stride does not matter."""
    return replace(
        spec,
        a_row=spec.a_row if spec.m > 1 else 1,
        b_column=spec.b_column if spec.n > 1 else 1,
        a_k=spec.a_k if spec.k > 1 else 1,
        b_k=spec.b_k if spec.k > 1 else 1,
    )


def make_plan(spec: MatrixProduct, target: Target) -> Plan:
    """Choose tiles, blocks and what is copied."""
    spec = _normal(spec)
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
    several = -(-spec.m // rows) if k_block < spec.k else 0
    return Plan(tile, lanes, k_block, 1, 1, several, None, not b_alike, by_rows=True)


def _inner_plan(spec: MatrixProduct, lanes: int, a_alike: bool, b_alike: bool) -> Plan:
    a_packing = None if a_alike and spec.a_k == 1 else "lines"
    b_packed = spec.n == 1 and not (b_alike and spec.b_k == 1)
    rows = min(8, spec.m) if spec.n == 1 else spec.m
    width = min(max(1, 8 // rows), spec.n)
    tile = Tile("inner", spec.dtype, rows, width, spec.a_row, 1, 1, spec.b_column, False)
    plan = Plan(tile, lanes, spec.k, 1, 1, 0, a_packing, b_packed, by_rows=spec.n == 1)
    if a_packing:
        plan = replace(plan, tile=replace(tile, a_row=plan.line_size()))
    return plan


def _rows_of_tile(m: int, most: int) -> int:
    """The number of rows of a tile: one that divides m, or leaves nearly as many."""
    for rows in range(most, most // 2, -1):
        if m % rows == 0:
            return rows
    return -(-m // -(-m // most))


def _outer_plan(
    spec: MatrixProduct, target: Target, lanes: int, a_alike: bool, b_alike: bool
) -> Plan:
    size = spec.dtype.itemsize
    most, vectors = target.product_tile
    rows = _rows_of_tile(spec.m, most)
    vectors = min(max(vectors, most * vectors // rows if spec.m <= most else 0), 8)
    width = min(vectors * lanes, spec.n)
    across, down = -(-spec.n // width), -(-spec.m // rows)
    small = spec.n * spec.k * size <= target.l1
    in_place = b_alike and spec.b_column == 1 and (spec.m <= 2 * rows or small)
    k_block = max(spec.k, 1)
    if not in_place:
        blocks = -(-k_block * size // 3072)
        k_block = -(-(-(-k_block // blocks)) // lanes) * lanes
    elif spec.m <= 2 and spec.n * spec.k * size > target.l2 // 2:
        k_block = min(k_block, _FEW_K)
    several = k_block < spec.k
    panels = across
    if not in_place:
        panels = min(across, max(1, target.l2 // 2 // (k_block * vectors * lanes * size)))
    a_packing, group = None, 1
    if not a_alike or (across >= 4 and k_block >= 64 and not small):
        a_packing = "lines" if spec.a_k == 1 else "interleaved"
        if a_packing == "interleaved":
            group = min(max(1, 64 // rows), down)
    tile = Tile(
        "outer", spec.dtype, rows, width,
        spec.a_row, spec.a_k, spec.b_k, 1, b_padded=not in_place,
    )  # fmt: skip
    plan = Plan(
        tile, lanes, k_block, panels, group, min(down, max(1, 4096 // rows)) if several else 0,
        a_packing, not in_place, by_rows=across < 16 and down > across,
    )  # fmt: skip
    if a_packing == "lines":
        tile = replace(tile, a_row=plan.line_size(), a_k=1)
    elif a_packing:
        tile = replace(tile, a_row=1, a_k=rows)
    if plan.b_packed:
        tile = replace(tile, b_k=tile.row_size(lanes))
    return replace(plan, tile=tile)


def write_product(
    module: Module,
    name: str,
    spec: MatrixProduct,
    target: Target,
    extra: Sequence[str],
    epilogue: Epilogue,
) -> None:
    """Add the function `name`, described above, and those it calls, `name.*`."""
    spec = _normal(spec)
    parameters = ["ptr %a", "ptr %b", *extra, "ptr %workspace", "i64 %thread", "i64 %threads"]
    if _empty(spec):
        Function(module, name, parameters).finish()
        return
    writer = _Writer(module, name, spec, target, extra, epilogue)
    writer.write_tiles()
    writer.write_packing()
    writer.write_part()
    fn = Function(module, name, parameters)
    writer.write_share(fn)


class _Writer:
    """Writes the functions of one product."""

    def __init__(
        self,
        module: Module,
        name: str,
        spec: MatrixProduct,
        target: Target,
        extra: Sequence[str],
        epilogue: Epilogue,
    ) -> None:
        self.module, self.name, self.spec, self.target = module, name, spec, target
        self.epilogue = epilogue
        self.plan = plan = make_plan(spec, target)
        tile = plan.tile
        # Whole tiles, and what remains, along both directions.
        self.down, self.row_rest = divmod(spec.m, tile.rows)
        self.across, self.column_rest = divmod(spec.n, tile.width)
        self.blocks = -(-max(spec.k, 1) // plan.k_block)
        self.batch = [f"%n{i}" for i in range(len(spec.batch))]
        # What is handed down to the epilogue.
        self.passed = [*(f"i64 {x}" for x in self.batch), *extra]
        self.row_counts = [tile.rows] * bool(self.down) + [self.row_rest] * bool(self.row_rest)
        self.in_registers = self._finishes_in_registers()
        self.widths = [tile.width] * bool(self.across) + [self.column_rest] * bool(self.column_rest)

    def _finishes_in_registers(self) -> bool:
        """Whether tiles call the epilogue: where storing the sums first would take its time."""
        tile = self.plan.tile
        if tile.kind != "outer" or self.spec.k > _SHORT_K or self.blocks > 1:
            return False
        trial = Function(self.module, "", [])
        lanes = self.plan.lanes
        self.epilogue(trial, "%acc", self.batch, "%i", "%j", lanes, constant_mask(lanes, 1))
        return trial.length <= _SHORT_EPILOGUE

    def _finish_in_registers(self, fn: Function, tile: Tile, sums: list[str]) -> None:
        pieces = tile.pieces(self.plan.lanes)
        columns = [fn.value(f"add nsw i64 %j, {at}") if at else "%j" for at, _, _ in pieces]
        for r in range(tile.rows):
            i = fn.value(f"add nsw i64 %i, {r}") if r else "%i"
            for v, (_, lanes, mask) in enumerate(pieces):
                acc = sums[r * len(pieces) + v]
                if lanes == 1:
                    kind = type_of(tile.dtype, self.plan.lanes)
                    acc = fn.value(f"extractelement {kind} {acc}, i64 0")
                self.epilogue(fn, acc, self.batch, i, columns[v], lanes, mask)

    def write_tiles(self) -> None:
        """A function for each size of a tile, and for each width one that stores its results."""
        plan = self.plan
        for width in self.widths:
            for rows in self.row_counts:
                tile = replace(plan.tile, rows=rows, width=width)
                if plan.a_packing == "interleaved":
                    tile = replace(tile, a_k=rows)
                if plan.b_packed and tile.kind == "outer":
                    tile = replace(tile, b_k=tile.row_size(plan.lanes))
                parameters = ["ptr noalias %a", "ptr noalias %b", "i64 %count"]
                finish = None
                if self.in_registers:
                    parameters += ["i64 %i", "i64 %j", *self.passed]
                else:
                    parameters += ["ptr noalias %sums"] + ["i1 %resume"] * (self.blocks > 1)
                fn = Function(self.module, f"{self.name}.tile{rows}x{width}", parameters)
                if self.in_registers:
                    finish = partial(self._finish_in_registers, fn, tile)
                write_tile(fn, tile, self.target, self.blocks > 1, finish)
                fn.finish()
            if not self.in_registers:
                self._write_finish(replace(plan.tile, width=width))

    def _write_finish(self, tile: Tile) -> None:
        """Hand the sums of a tile, row by row, to the epilogue."""
        parameters = ["ptr %sums", "i64 %rows", "i64 %i", "i64 %j", *self.passed]
        fn = Function(self.module, f"{self.name}.finish{tile.width}", parameters)
        dtype = tile.dtype
        with fn.loop("0", "%rows") as r:
            i = fn.value(f"add nsw i64 %i, {r}")
            row = offset(fn, "%sums", dtype, r, tile.row_size(self.plan.lanes))
            for at, lanes, mask in tile.pieces(self.plan.lanes):
                address = offset(fn, row, dtype, str(at))
                kind = type_of(dtype, lanes)
                acc = fn.value(f"load {kind}, ptr {address}, align {dtype.itemsize}")
                j = fn.value(f"add nsw i64 %j, {at}") if at else "%j"
                self.epilogue(fn, acc, self.batch, i, j, lanes, mask)
        fn.finish()

    def write_packing(self) -> None:
        """Functions that copy panels of B and of A."""
        plan, spec, tile = self.plan, self.spec, self.plan.tile
        a_memory, b_memory = spec.memory
        if plan.b_packed:
            source = Source(b_memory, spec.dtype, spec.b_k, spec.b_column)
            for width in self.widths:
                # A column of b alone is read by elements, not vectors.
                narrow = replace(tile, width=width)
                padded = narrow.row_size(plan.lanes) if tile.kind == "outer" else width
                write_packing(
                    self.module, f"{self.name}.pack_b{width}", source, width, padded,
                    plan.panel_size(), plan.lanes,
                )  # fmt: skip
        if plan.a_packing:
            source = Source(a_memory, spec.dtype, spec.a_k, spec.a_row)
            for rows in self.row_counts:
                name = f"{self.name}.pack_a{rows}"
                if plan.a_packing == "lines":
                    write_line_copy(self.module, name, source, rows, plan.lanes)
                else:
                    write_packing(
                        self.module, name, source, rows, rows, plan.a_tile_size(), plan.lanes
                    )

    def write_part(self) -> None:
        """The part of the product of one batch entry that lies between two rows or columns.

        These are counted in tiles, as are all rows and columns below.
        """
        plan = self.plan
        parameters = ["ptr %a", "ptr %b", *self.passed, "ptr %workspace", "i64 %start", "i64 %stop"]
        # Where a tile takes long, nothing is gained by making the loops around it faster.
        long = plan.k_block * plan.tile.rows * plan.tile.width >= _LONG_TILE
        fn = Function(self.module, f"{self.name}.part", parameters, quickly=long)
        sums, a_size, _ = plan.sizes()
        a_copy = offset(fn, "%workspace", self.spec.dtype, str(sums))
        b_copy = offset(fn, a_copy, self.spec.dtype, str(a_size))
        rows = ("0", str(self.down + bool(self.row_rest)))
        columns = ("0", str(self.across + bool(self.column_rest)))
        if plan.by_rows:
            rows = ("%start", "%stop")
        else:
            columns = ("%start", "%stop")
        with fn.loop(*columns, str(plan.panels)) as column:
            column_stop = self._at_most(fn, column, plan.panels, columns[1])
            step = plan.rows_at_once or self.down + 1
            with fn.loop(*rows, str(step)) as row:
                row_stop = self._at_most(fn, row, step, rows[1])
                with fn.loop("0", str(max(self.spec.k, 1)), str(plan.k_block)) as k:
                    region = (row, row_stop, column, column_stop)
                    self._write_block(fn, region, k, a_copy, b_copy)
        fn.finish()

    def _at_most(self, fn: Function, start: str, size: int, stop: str) -> str:
        """The end of a range of `size` from `start`, or `stop` if that comes first."""
        end = fn.value(f"add nsw i64 {start}, {size}")
        self.module.declare("declare i64 @llvm.smin.i64(i64, i64)")
        return fn.value(f"call i64 @llvm.smin.i64(i64 {end}, i64 {stop})")

    def _write_block(
        self, fn: Function, region: tuple[str, str, str, str], k: str, a_copy: str, b_copy: str
    ) -> None:
        """All tiles of a region, for the block of k that starts at `k`."""
        plan, spec = self.plan, self.spec
        row, row_stop, column, column_stop = region
        end = self._at_most(fn, k, plan.k_block, str(spec.k))
        count = fn.value(f"sub nsw i64 {end}, {k}")
        a = offset(fn, "%a", spec.memory[0], k, spec.a_k)
        b = offset(fn, "%b", spec.memory[1], k, spec.b_k)
        if plan.b_packed:
            self._pack_b(fn, (b, b_copy), count, column, column_stop)
        with fn.loop(row, row_stop, str(plan.group)) as first:
            last = self._at_most(fn, first, plan.group, row_stop)
            if plan.a_packing:
                self._pack_a(fn, (a, a_copy), count, first, last)
            with fn.loop(first, last) as i, fn.loop(column, column_stop) as j:
                if plan.a_packing:
                    behind = fn.value(f"sub nsw i64 {i}, {first}")
                    a_tile = offset(fn, a_copy, spec.dtype, behind, plan.a_tile_size())
                else:
                    a_tile = offset(fn, a, spec.dtype, i, plan.tile.rows * spec.a_row)
                if plan.b_packed:
                    behind = fn.value(f"sub nsw i64 {j}, {column}")
                    b_tile = offset(fn, b_copy, spec.dtype, behind, plan.panel_size())
                else:
                    b_tile = offset(fn, b, spec.dtype, j, plan.tile.width * spec.b_column)
                sums = "%workspace"
                if self.blocks > 1:
                    below = fn.value(f"sub nsw i64 {i}, {row}")
                    beside = fn.value(f"sub nsw i64 {j}, {column}")
                    place = fn.value(f"mul nsw i64 {below}, {plan.panels}")
                    place = fn.value(f"add nsw i64 {place}, {beside}")
                    sums = offset(fn, sums, spec.dtype, place, plan.tile.size(plan.lanes))
                self._write_tile_calls(fn, (i, j), (a_tile, b_tile, count, sums), (k, end))

    def _write_tile_calls(
        self,
        fn: Function,
        position: tuple[str, str],
        operands: tuple[str, str, str, str],
        ks: tuple[str, str],
    ) -> None:
        i, j = position
        a, b, count, sums = operands
        first_row = fn.value(f"mul nsw i64 {i}, {self.plan.tile.rows}")
        first_column = fn.value(f"mul nsw i64 {j}, {self.plan.tile.width}")
        where = [f"i64 {first_row}", f"i64 {first_column}", *self.passed]
        rows = self._choice(fn, i, self.down, "i64", [str(r) for r in self.row_counts])
        by_width = []
        for width in self.widths:
            names = [f"@{self.name}.tile{r}x{width}" for r in self.row_counts]
            by_width.append(self._choice(fn, i, self.down, "ptr", names))
        compute = self._choice(fn, j, self.across, "ptr", by_width)
        if self.in_registers:
            arguments = ", ".join([f"ptr {a}", f"ptr {b}", f"i64 {count}", *where])
            fn.do(f"call void {compute}({arguments})")
            return
        arguments = f"ptr {a}, ptr {b}, i64 {count}, ptr {sums}"
        if self.blocks > 1:
            arguments += ", i1 " + fn.value(f"icmp sgt i64 {ks[0]}, 0")
        fn.do(f"call void {compute}({arguments})")
        after = ""
        if self.blocks > 1:
            done, after = fn.new_block("done"), fn.new_block("after")
            complete = fn.value(f"icmp eq i64 {ks[1]}, {self.spec.k}")
            fn.branch_if(complete, done, after)
            fn.enter(done)
        names = [f"@{self.name}.finish{width}" for width in self.widths]
        finish = self._choice(fn, j, self.across, "ptr", names)
        passed = ", ".join([f"ptr {sums}", f"i64 {rows}", *where])
        fn.do(f"call void {finish}({passed})")
        if after:
            fn.branch(after)
            fn.enter(after)

    def _choice(
        self, fn: Function, index: str, whole: int, kind: str, options: Sequence[str]
    ) -> str:
        """The first option for whole tiles, the second for what remains after them."""
        if len(options) == 1:
            return options[0]
        inside = fn.value(f"icmp slt i64 {index}, {whole}")
        return fn.value(f"select i1 {inside}, {kind} {options[0]}, {kind} {options[1]}")

    def _pack_b(
        self, fn: Function, pointers: tuple[str, str], count: str, start: str, stop: str
    ) -> None:
        width, size = self.plan.tile.width * self.spec.b_column, self.plan.panel_size()
        names = [f"@{self.name}.pack_b{w}" for w in self.widths]
        strides = (width, size)
        self._pack(fn, names, pointers, count, (start, stop, self.across), strides, None)

    def _pack_a(
        self, fn: Function, pointers: tuple[str, str], count: str, start: str, stop: str
    ) -> None:
        size = self.plan.a_tile_size()
        names = [f"@{self.name}.pack_a{r}" for r in self.row_counts]
        strides = (self.plan.tile.rows * self.spec.a_row, size)
        line = str(self.plan.line_size()) if self.plan.a_packing == "lines" else None
        self._pack(fn, names, pointers, count, (start, stop, self.down), strides, line)

    def _pack(
        self,
        fn: Function,
        names: Sequence[str],
        pointers: tuple[str, str],
        count: str,
        bounds: tuple[str, str, int],
        strides: tuple[int, int],
        line: str | None,
    ) -> None:
        """Copy the panels from start to stop, of which those from `whole` on are the remainder."""
        memory = self.spec.memory["pack_b" in names[0]]
        start, stop, whole = bounds
        if whole:
            stop_whole = fn.value(f"call i64 @llvm.smin.i64(i64 {stop}, i64 {whole})")
            near = offset(fn, pointers[0], memory, start, strides[0])
            number = fn.value(f"sub nsw i64 {stop_whole}, {start}")
            last = line or number
            if line is None:
                fn.do(
                    f"call void {names[0]}(ptr {near}, ptr {pointers[1]}, i64 {count}, i64 {last})"
                )
            else:
                with fn.loop("0", number):  # lines are packed for one tile at a time
                    fn.do(
                        f"call void {names[0]}(ptr {near}, ptr {pointers[1]}, i64 {count}, i64 {line})"
                    )
        if len(names) > 1 or not whole:
            rest, after = fn.new_block("rest"), fn.new_block("after")
            fn.branch_if(fn.value(f"icmp sgt i64 {stop}, {whole}"), rest, after)
            fn.enter(rest)
            near = offset(fn, pointers[0], memory, str(whole), strides[0])
            behind = fn.value(f"sub nsw i64 {whole}, {start}")
            far = offset(fn, pointers[1], self.spec.dtype, behind, strides[1])
            fn.do(f"call void {names[-1]}(ptr {near}, ptr {far}, i64 {count}, i64 {line or 1})")
            fn.branch(after)
            fn.enter(after)

    def write_share(self, fn: Function) -> None:
        """A thread's share: tiles along the shared direction, through all batch entries."""
        spec, plan = self.spec, self.plan
        whole, rest = (
            (self.down, self.row_rest) if plan.by_rows else (self.across, self.column_rest)
        )
        tiles = whole + bool(rest)
        units = prod(spec.batch) * tiles
        size = sum(plan.sizes())
        workspace = offset(fn, "%workspace", spec.dtype, "%thread", size)
        start = fn.value(f"mul nsw i64 %thread, {units}")
        stop = fn.value(f"add nsw i64 {start}, {units}")
        start = fn.value(f"udiv i64 {start}, %threads")
        stop = fn.value(f"udiv i64 {stop}, %threads")
        if not spec.batch:
            self._call_part(fn, ("%a", "%b", workspace), [], start, stop)
            fn.finish()
            return
        first = fn.value(f"udiv i64 {start}, {tiles}")
        last = fn.value(f"add nsw i64 {stop}, {tiles - 1}")
        last = fn.value(f"udiv i64 {last}, {tiles}")
        self.module.declare("declare i64 @llvm.smax.i64(i64, i64)")
        with fn.loop(first, last) as entry:
            base = fn.value(f"mul nsw i64 {entry}, {tiles}")
            low = fn.value(f"sub nsw i64 {start}, {base}")
            low = fn.value(f"call i64 @llvm.smax.i64(i64 {low}, i64 0)")
            high = fn.value(f"sub nsw i64 {stop}, {base}")
            high = fn.value(f"call i64 @llvm.smin.i64(i64 {high}, i64 {tiles})")
            a, b, indices, left = "%a", "%b", [], entry
            for axis in reversed(range(len(spec.batch))):
                index = fn.value(f"urem i64 {left}, {spec.batch[axis]}") if axis else left
                if axis:
                    left = fn.value(f"udiv i64 {left}, {spec.batch[axis]}")
                a = offset(fn, a, spec.memory[0], index, spec.a_batch[axis])
                b = offset(fn, b, spec.memory[1], index, spec.b_batch[axis])
                indices.insert(0, index)
            self._call_part(fn, (a, b, workspace), indices, low, high)
        fn.finish()

    def _call_part(
        self, fn: Function, pointers: tuple[str, str, str], batch: list[str], low: str, high: str
    ) -> None:
        a, b, workspace = pointers
        passed = [f"i64 {x}" for x in batch] + self.passed[len(batch) :]
        arguments = [f"ptr {a}", f"ptr {b}", *passed, f"ptr {workspace}"]
        arguments += [f"i64 {low}", f"i64 {high}"]
        fn.do(f"call void @{self.name}.part({', '.join(arguments)})")

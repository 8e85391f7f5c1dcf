"""The loops around the tiles of a matrix product: one function for all products of all programs.

It finds sizes, strides and the functions of a product in a table; see `table`. All numbers in it
are i64, distances are in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fstensor.compiler.llvm.gemm_plan import MatrixProduct, Plan
from fstensor.compiler.llvm.text import Function, Module

# The function, and one that LLVM has made faster.
LOOPS = ("product_loops", "product_quick_loops")

_PARAMETERS = [
    "ptr noalias %table", "ptr %a", "ptr %b", "ptr %context", "ptr %workspace", "i64 %thread",
    "i64 %threads",
]  # fmt: skip
_TILES = "product_tiles"
# Rows and columns are counted in tiles: those from the first to the last, and a number of columns.
_TILES_PARAMETERS = [
    "ptr noalias %table", "ptr %context", "ptr %a", "ptr %b", "ptr %sums", "i64 %a_step",
    "i64 %b_step", "i64 %first", "i64 %last", "i64 %column", "i64 %number", "i64 %k", "i64 %end",
]  # fmt: skip

# Multiplications of a batch entry from which on the loops around its tiles may be slow.
_LONG = 2**17

# What stands in a table, before the sizes and strides of the batch. The tile's own strides, which
# come first, are in elements; so are those of packing.
_FIELDS = (
    "tile_a_row", "tile_a_k", "tile_b_k", "tile_b_column",
    "tile00", "tile01", "tile10", "tile11", "finish0", "finish1", "finish_lines",
    "pack_a0", "pack_a1", "pack_b0", "pack_b1",
    "a_k_stride", "a_line_stride", "a_size", "b_k_stride", "b_line_stride", "b_size",
    "in_registers", "a_packed", "b_packed", "by_rows", "units", "batch_rank",
    "down", "down_whole", "across", "across_whole", "rows", "row_rest", "width",
    "panels", "rows_at_once", "group", "k", "k_block", "blocks",
    "a_k", "a_tile", "a_packed_tile", "b_k", "b_tile", "b_packed_tile",
    "sums_tile", "sums_down", "a_copy", "b_copy", "workspace",
)  # fmt: skip
_PLACE = {name: n for n, name in enumerate(_FIELDS)}
_BATCH = len(_FIELDS)


def table(
    spec: MatrixProduct,
    plan: Plan,
    tiles: Sequence[Sequence[str]],
    finish: Sequence[str],
    pack_a: Sequence[str],
    pack_b: Sequence[str],
) -> list[str]:
    """The values of a product's table, each with its type.

    tiles: names of functions, for whole tiles and what remains of the rows, if anything; for each
    of these, for whole tiles and what remains of the columns. The others likewise; but where the
    plan is to finish in lines, there is one function `finish` for all columns.
    """
    tile, a_size, b_size = plan.tile, *(d.itemsize for d in spec.memory)
    size = spec.dtype.itemsize
    down, across = -(-spec.m // tile.rows), -(-spec.n // tile.width)
    sums, a_copy, b_copy = (n * size for n in plan.sizes())
    blocks, upper, lower = plan.blocks(spec.k), tiles[0], tiles[-1]
    lines = plan.a_packing == "lines"
    kept = plan.tile.size(plan.lanes) * size
    numbers: dict[str, int | str] = {
        "tile_a_row": tile.a_row, "tile_a_k": tile.a_k,
        "tile_b_k": tile.b_k, "tile_b_column": tile.b_column,
        "a_k_stride": spec.a_k, "a_line_stride": spec.a_row,
        "a_size": plan.line_size() if lines else plan.a_tile_size(),
        "b_k_stride": spec.b_k, "b_line_stride": spec.b_column, "b_size": plan.panel_size(),
        "in_registers": int(not finish),
        "a_packed": int(plan.a_packing is not None), "b_packed": int(plan.b_packed),
        "by_rows": int(plan.by_rows), "units": down if plan.by_rows else across,
        "batch_rank": len(spec.batch),
        "down": down, "down_whole": spec.m // tile.rows,
        "across": across, "across_whole": spec.n // tile.width,
        "rows": tile.rows, "row_rest": spec.m % tile.rows, "width": tile.width,
        "panels": plan.panels, "rows_at_once": plan.rows_at_once or down,
        "group": plan.group if plan.a_packing else down,
        "k": spec.k, "k_block": plan.k_block, "blocks": blocks,
        "a_k": spec.a_k * a_size, "a_tile": tile.rows * spec.a_row * a_size,
        "a_packed_tile": plan.a_tile_size() * size,
        "b_k": spec.b_k * b_size, "b_tile": tile.width * spec.b_column * b_size,
        "b_packed_tile": plan.panel_size() * size,
        "sums_tile": kept if blocks > 1 or plan.in_lines else 0,
        "sums_down": kept * plan.panels if blocks > 1 else 0,
        "a_copy": sums, "b_copy": sums + a_copy, "workspace": sums + a_copy + b_copy,
    }  # fmt: skip
    functions = {
        "tile00": upper[0], "tile01": upper[-1], "tile10": lower[0], "tile11": lower[-1],
    }  # fmt: skip
    for name, pair in (("finish", finish), ("pack_a", pack_a), ("pack_b", pack_b)):
        if pair:
            functions |= {f"{name}0": pair[0], f"{name}1": pair[-1]}
    if finish and plan.in_lines:
        functions["finish_lines"] = finish[0]
    values = []
    for name in _FIELDS:
        if name in numbers:
            values.append(f"i64 {numbers[name]}")
        else:
            values.append(f"ptr @{functions[name]}" if name in functions else "ptr null")
    for n in range(len(spec.batch)):
        values.append(f"i64 {spec.batch[n]}")
        values += [f"i64 {spec.a_batch[n] * a_size}", f"i64 {spec.b_batch[n] * b_size}"]
    return values


class Context(NamedTuple):
    """What an epilogue is told, in memory: row and column, indices of the batch, its pointers."""

    batch: int
    extra: Sequence[str]

    def make(self, fn: Function) -> str:
        """Room for it, with the pointers, which have the names of `extra`."""
        room = fn.value(f"alloca [{2 + self.batch + len(self.extra)} x i64], align 8")
        for n, name in enumerate(self.extra):
            fn.do(f"store ptr {name}, ptr {_slot(fn, room, 2 + self.batch + n)}")
        return room

    def load(self, fn: Function, context: str) -> tuple[list[str], str, str]:
        """The indices of the batch, the row and the column; the pointers get their names."""
        i, j, *batch = (
            fn.value(f"load i64, ptr {_slot(fn, context, n)}") for n in range(2 + self.batch)
        )
        for n, name in enumerate(self.extra):
            fn.do(f"{name} = load ptr, ptr {_slot(fn, context, 2 + self.batch + n)}")
        return batch, i, j


def _slot(fn: Function, table: str, number: int) -> str:
    return fn.value(f"getelementptr i64, ptr {table}, i64 {number}")


def loops_of(module: Module, spec: MatrixProduct) -> str:
    """Declare the function that has what a thread is to do for a product; says its name."""
    is_long = not spec.batch or spec.m * spec.n * spec.k >= _LONG
    name = LOOPS[not is_long]
    kinds = ", ".join(p.split()[0] for p in _PARAMETERS)
    module.declare(f"declare void @{name}({kinds})")
    return name


def write_loops(module: Module, name: str) -> None:
    """Add one of the functions LOOPS.

    Only the innermost loops, in a function of their own, run often enough for LLVM to work on them,
    unless batch entries are small.
    """
    fn = Function(module, name, _PARAMETERS, linkage="", quickly=name == LOOPS[0])
    _Loops(fn).share()
    fn.finish()
    fn = Function(module, _TILES, _TILES_PARAMETERS)
    _Loops(fn).tiles()
    fn.finish()


class _Loops:
    """Writes the function."""

    def __init__(self, fn: Function) -> None:
        self.fn = fn
        fn.module.declare("declare i64 @llvm.smin.i64(i64, i64)")
        fn.module.declare("declare i64 @llvm.smax.i64(i64, i64)")

    def field(self, name: str, kind: str = "i64") -> str:
        where = _slot(self.fn, "%table", _PLACE[name])
        return self.fn.value(f"load {kind}, ptr {where}")

    def flag(self, name: str) -> str:
        return self.fn.value(f"icmp ne i64 {self.field(name)}, 0")

    def pointer_flag(self, name: str) -> str:
        return self.fn.value(f"icmp ne ptr {self.field(name, 'ptr')}, null")

    def of(self, op: str, x: str, y: str) -> str:
        return self.fn.value(f"{op} i64 {x}, {y}")

    def least(self, x: str, y: str) -> str:
        return self.fn.value(f"call i64 @llvm.smin.i64(i64 {x}, i64 {y})")

    def at(self, pointer: str, index: str, distance: str) -> str:
        place = self.of("mul nsw", index, distance)
        return self.fn.value(f"getelementptr i8, ptr {pointer}, i64 {place}")

    def choice(self, condition: str, x: str, y: str, kind: str = "i64") -> str:
        return self.fn.value(f"select i1 {condition}, {kind} {x}, {kind} {y}")

    def either(self, condition: str, names: tuple[str, str]) -> str:
        """One of two functions of the table."""
        first, second = (self.field(n, "ptr") for n in names)
        return self.choice(condition, first, second, "ptr")

    def share(self) -> None:
        """A thread's share: tiles along the shared direction, through all batch entries."""
        fn = self.fn
        units, rank = self.field("units"), self.field("batch_rank")
        sizes = _slot(fn, "%table", _BATCH)
        with fn.carrying("0", rank, "1", [("i64", units)]) as (axis, now, total):
            size = fn.value(f"load i64, ptr {self.at(sizes, axis, '24')}")
            total[0] = self.of("mul nsw", now[0], size)
        start = self.of("mul nsw", "%thread", total[0])
        stop = self.of("add nsw", start, total[0])
        start, stop = self.of("udiv", start, "%threads"), self.of("udiv", stop, "%threads")
        first = self.of("udiv", start, units)
        # A thread without a share has no entries.
        some = fn.value(f"icmp slt i64 {start}, {stop}")
        last = self.of("udiv", self.of("add nsw", self.of("sub nsw", stop, "1"), units), units)
        last = self.choice(some, last, first)
        workspace = self.at("%workspace", "%thread", self.field("workspace"))
        with fn.loop(first, last) as entry:
            low = self.of("sub nsw", start, self.of("mul nsw", entry, units))
            high = self.of("sub nsw", stop, self.of("mul nsw", entry, units))
            low = fn.value(f"call i64 @llvm.smax.i64(i64 {low}, i64 0)")
            high = self.least(high, units)
            pointers = [("ptr", "%a"), ("ptr", "%b"), ("i64", entry)]
            with fn.carrying("0", rank, "1", pointers) as (n, now, then):
                axis = self.of("sub nsw", self.of("sub nsw", rank, "1"), n)
                row = self.at(sizes, axis, "24")
                size, *steps = (fn.value(f"load i64, ptr {_slot(fn, row, k)}") for k in range(3))
                index = self.of("urem", now[2], size)
                then[:] = [self.at(p, index, s) for p, s in zip(now[:2], steps, strict=True)]
                then.append(self.of("udiv", now[2], size))
                behind = self.of("add nsw", axis, "2")
                fn.do(f"store i64 {index}, ptr {self.at('%context', behind, '8')}")
            self.part(then[0], then[1], workspace, low, high)

    def part(self, a: str, b: str, workspace: str, low: str, high: str) -> None:
        """The part of one batch entry between two rows or columns, counted in tiles."""
        fn = self.fn
        by_rows = self.flag("by_rows")
        columns = self.choice(by_rows, "0", low), self.choice(by_rows, self.field("across"), high)
        rows = self.choice(by_rows, low, "0"), self.choice(by_rows, high, self.field("down"))
        panels, at_once = self.field("panels"), self.field("rows_at_once")
        with fn.loop(*columns, panels) as column:
            column_stop = self.least(self.of("add nsw", column, panels), columns[1])
            with fn.loop(*rows, at_once) as row:
                row_stop = self.least(self.of("add nsw", row, at_once), rows[1])
                with fn.loop("0", self.field("blocks")) as block:
                    region = (row, row_stop, column, column_stop)
                    self.block(a, b, workspace, region, block)

    def block(
        self, a: str, b: str, workspace: str, region: tuple[str, str, str, str], block: str
    ) -> None:
        """All tiles of a region, for a block of k."""
        fn = self.fn
        row, row_stop, column, column_stop = region
        k = self.of("mul nsw", block, self.field("k_block"))
        end = self.least(self.of("add nsw", k, self.field("k_block")), self.field("k"))
        count = self.of("sub nsw", end, k)
        a, b = self.at(a, k, self.field("a_k")), self.at(b, k, self.field("b_k"))
        copies = [self.at(workspace, "1", self.field(n)) for n in ("a_copy", "b_copy")]
        number = self.of("sub nsw", column_stop, column)
        with self.fn.only_if(self.flag("b_packed")):
            near = self.at(b, column, self.field("b_tile"))
            whole = self.field("across_whole")
            self.pack("b", near, copies[1], count, (column, column_stop, whole))
        packed = self.flag("b_packed")
        b = self.choice(packed, copies[1], self.at(b, column, self.field("b_tile")), "ptr")
        b_step = self.choice(packed, self.field("b_packed_tile"), self.field("b_tile"))
        group = self.field("group")
        with fn.loop(row, row_stop, group) as first:
            last = self.least(self.of("add nsw", first, group), row_stop)
            near = self.at(a, first, self.field("a_tile"))
            a_packed = self.flag("a_packed")
            with self.fn.only_if(a_packed):
                self.pack("a", near, copies[0], count, (first, last, self.field("down_whole")))
            near = self.choice(a_packed, copies[0], near, "ptr")
            a_step = self.choice(a_packed, self.field("a_packed_tile"), self.field("a_tile"))
            below = self.of("sub nsw", first, row)
            sums = self.at(workspace, below, self.field("sums_down"))
            pointers = ", ".join(f"ptr {x}" for x in ("%table", "%context", near, b, sums))
            numbers = (a_step, b_step, first, last, column, number, k, end)
            passed = ", ".join(f"i64 {x}" for x in numbers)
            fn.do(f"call void @{_TILES}({pointers}, {passed})")

    def tiles(self) -> None:
        """All tiles of some rows."""
        fn, a_step = self.fn, "%a_step"
        down = self.field("sums_down")
        pointers = [("ptr", "%a"), ("ptr", "%sums")]
        with fn.carrying("%first", "%last", "1", pointers) as (i, now, then):
            then[0] = fn.value(f"getelementptr i8, ptr {now[0]}, i64 {a_step}")
            then[1] = fn.value(f"getelementptr i8, ptr {now[1]}, i64 {down}")
            self.side_by_side(i, *now)

    def side_by_side(self, i: str, a: str, sums: str) -> None:
        """The tiles in the same rows."""
        fn, k, end = self.fn, "%k", "%end"
        count = self.of("sub nsw", end, k)
        whole = fn.value(f"icmp slt i64 {i}, {self.field('down_whole')}")
        tiles = self.either(whole, ("tile00", "tile10")), self.either(whole, ("tile01", "tile11"))
        rows = self.choice(whole, self.field("rows"), self.field("row_rest"))
        first_row = self.of("mul nsw", i, self.field("rows"))
        fn.do(f"store i64 {first_row}, ptr %context")
        resume = fn.value(f"icmp sgt i64 {k}, 0")
        in_registers, in_lines = self.flag("in_registers"), self.pointer_flag("finish_lines")
        finishes = fn.value(f"icmp eq i64 {end}, {self.field('k')}")
        finishes = fn.value(f"select i1 {in_registers}, i1 false, i1 {finishes}")
        each = fn.value(f"select i1 {in_lines}, i1 false, i1 {finishes}")
        place = _slot(fn, "%context", 1)
        sums_step, width = self.field("sums_tile"), self.field("width")
        with fn.carrying("0", "%number", "1", [("ptr", "%b"), ("ptr", sums)]) as (n, now, then):
            then[0] = fn.value(f"getelementptr i8, ptr {now[0]}, i64 %b_step")
            then[1] = fn.value(f"getelementptr i8, ptr {now[1]}, i64 {sums_step}")
            j = self.of("add nsw", "%column", n)
            fn.do(f"store i64 {self.of('mul nsw', j, width)}, ptr {place}")
            wide = fn.value(f"icmp slt i64 {j}, {self.field('across_whole')}")
            tile = self.choice(wide, tiles[0], tiles[1], "ptr")
            to = self.choice(in_registers, "%context", now[1], "ptr")
            passed = f"ptr {a}, ptr {now[0]}, i64 {count}, ptr {to}, i1 {resume}, ptr %table"
            fn.do(f"call void {tile}({passed})")
            with self.fn.only_if(each):
                finish = self.either(wide, ("finish0", "finish1"))
                fn.do(f"call void {finish}(ptr {now[1]}, i64 {rows}, ptr %context)")
        with self.fn.only_if(fn.value(f"select i1 {in_lines}, i1 {finishes}, i1 false")):
            fn.do(f"store i64 {self.of('mul nsw', '%column', width)}, ptr {place}")
            number = self.of("sub nsw", self.field("across_whole"), "%column")
            passed = f"i64 {self.least('%number', number)}, i64 %number, i64 {sums_step}"
            finish = self.field("finish_lines", "ptr")
            fn.do(f"call void {finish}(ptr {sums}, i64 {rows}, ptr %context, {passed})")

    def pack(
        self, what: str, near: str, far: str, count: str, bounds: tuple[str, str, str]
    ) -> None:
        """Copy panels from one tile to another, of which that from `whole` on is the remainder."""
        start, stop, whole = bounds
        strides = [self.field(f"{what}_{n}") for n in ("k_stride", "line_stride", "size")]
        rest = ", ".join(f"i64 {x}" for x in strides)
        number = self.of("sub nsw", self.least(whole, stop), start)
        number = self.fn.value(f"call i64 @llvm.smax.i64(i64 {number}, i64 0)")
        left = self.of("sub nsw", self.of("sub nsw", stop, start), number)
        steps = [self.field(f"{what}{n}_tile") for n in ("", "_packed")]
        for n, panels in enumerate((number, left)):
            with self.fn.only_if(self.fn.value(f"icmp sgt i64 {panels}, 0")):
                function = self.field(f"pack_{what}{n}", "ptr")
                passed = f"ptr {near}, ptr {far}, i64 {count}, i64 {panels}, {rest}"
                self.fn.do(f"call void {function}({passed})")
            near, far = (self.at(p, number, s) for p, s in zip((near, far), steps, strict=True))

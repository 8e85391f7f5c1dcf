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
or None where all lanes are valid. `lanes` is a power of two, at most that of a vector. The lines
stand in functions of their own, whose parameters include `extra`; they may use nothing else, and
may contain blocks. They are written several times, and once for a trial whose text is thrown away.

The method is that of K. Goto and R. A. van de Geijn, "Anatomy of high-performance matrix
multiplication" (2008), as arranged in BLIS (F. G. Van Zee and R. A. van de Geijn, 2015): blocks of
B are copied into panels that stay in the second cache, rows of A stay in the first, and a tile of C
stays in registers while k runs. Small products, and those with few rows, are read in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import prod

from fstensor.compiler.llvm.gemm_plan import (
    MatrixProduct,
    has_no_results,
    make_plan,
    normal,
    workspace_bytes,
)
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

# Up to this extent of k, results are not stored between the sums and an epilogue of few lines.
_SHORT_K = 256
_SHORT_EPILOGUE = 12

# Multiplications in a tile from which on the loops around it may be slow.
_LONG_TILE = 2**15

__all__ = ["Epilogue", "MatrixProduct", "make_plan", "workspace_bytes", "write_product"]

Epilogue = Callable[[Function, str, list[str], str, str, int, str | None], None]


def write_product(
    module: Module,
    name: str,
    spec: MatrixProduct,
    target: Target,
    extra: Sequence[str],
    epilogue: Epilogue,
) -> None:
    """Add the function `name`, described above, and those it calls, `name.*`."""
    spec = normal(spec)
    parameters = ["ptr %a", "ptr %b", *extra, "ptr %workspace", "i64 %thread", "i64 %threads"]
    if has_no_results(spec):
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
        self.blocks = plan.blocks(spec.k)
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
        several = plan.panels < self.across + bool(self.column_rest)
        with self._pieces(fn, columns, plan.panels, several) as (column, column_stop):
            step = plan.rows_at_once or self.down + 1
            several = step < self.down + bool(self.row_rest)
            with self._pieces(fn, rows, step, several) as (row, row_stop):
                ks = ("0", str(self.spec.k))
                with self._pieces(fn, ks, plan.k_block, self.blocks > 1) as (k, end):
                    region = (row, row_stop, column, column_stop)
                    self._write_block(fn, region, (k, end), (a_copy, b_copy))
        fn.finish()

    @contextmanager
    def _pieces(
        self, fn: Function, bounds: tuple[str, str], size: int, several: bool
    ) -> Iterator[tuple[str, str]]:
        """Go through a range, which is not empty, in pieces of `size`, or at once."""
        start, stop = bounds
        if not several:
            yield start, stop
            return
        with fn.loop(start, stop, str(size)) as at:
            yield at, self._at_most(fn, at, size, stop)

    def _at_most(self, fn: Function, start: str, size: int, stop: str) -> str:
        """The end of a range of `size` from `start`, or `stop` if that comes first."""
        end = str(size) if start == "0" else fn.value(f"add nsw i64 {start}, {size}")
        self.module.declare("declare i64 @llvm.smin.i64(i64, i64)")
        return fn.value(f"call i64 @llvm.smin.i64(i64 {end}, i64 {stop})")

    def _write_block(
        self,
        fn: Function,
        region: tuple[str, str, str, str],
        ks: tuple[str, str],
        copies: tuple[str, str],
    ) -> None:
        """All tiles of a region, for a block of k."""
        plan, spec = self.plan, self.spec
        row, row_stop, column, column_stop = region
        count = fn.value(f"sub nsw i64 {ks[1]}, {ks[0]}")
        a = offset(fn, "%a", spec.memory[0], ks[0], spec.a_k)
        b = offset(fn, "%b", spec.memory[1], ks[0], spec.b_k)
        if plan.b_packed:
            self._pack_b(fn, (b, copies[1]), count, column, column_stop)
        if plan.group > 1:
            with fn.loop(row, row_stop, str(plan.group)) as first:
                last = self._at_most(fn, first, plan.group, row_stop)
                self._pack_a(fn, (a, copies[0]), count, first, last)
                with fn.loop(first, last) as i:
                    behind = fn.value(f"sub nsw i64 {i}, {first}")
                    a_tile = offset(fn, copies[0], spec.dtype, behind, plan.a_tile_size())
                    self._write_row(fn, region, i, (a_tile, b, copies[1], count), ks)
            return
        with fn.loop(row, row_stop) as i:
            a_tile = offset(fn, a, spec.memory[0], i, plan.tile.rows * spec.a_row)
            if plan.a_packing:
                self._pack_a_tile(fn, (a_tile, copies[0]), count, i)
                a_tile = copies[0]
            self._write_row(fn, region, i, (a_tile, b, copies[1], count), ks)

    def _write_row(
        self,
        fn: Function,
        region: tuple[str, str, str, str],
        i: str,
        operands: tuple[str, str, str, str],
        ks: tuple[str, str],
    ) -> None:
        """The tiles of a region that lie side by side."""
        plan, spec = self.plan, self.spec
        row, _, column, column_stop = region
        a_tile, b, b_copy, count = operands
        with fn.loop(column, column_stop) as j:
            behind = j if column == "0" else fn.value(f"sub nsw i64 {j}, {column}")
            if plan.b_packed:
                b_tile = offset(fn, b_copy, spec.dtype, behind, plan.panel_size())
            else:
                b_tile = offset(fn, b, spec.memory[1], j, plan.tile.width * spec.b_column)
            sums = "%workspace"
            if self.blocks > 1:
                below = fn.value(f"sub nsw i64 {i}, {row}")
                place = fn.value(f"mul nsw i64 {below}, {plan.panels}")
                place = fn.value(f"add nsw i64 {place}, {behind}")
                sums = offset(fn, sums, spec.dtype, place, plan.tile.size(plan.lanes))
            self._write_tile_calls(fn, (i, j), (a_tile, b_tile, count, sums), ks)

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
        names = [f"@{self.name}.pack_b{width}" for width in self.widths]
        strides = (self.plan.tile.width * self.spec.b_column, self.plan.panel_size())
        bounds = (start, stop, self.across)
        self._pack(fn, names, pointers, self.spec.memory[1], count, bounds, strides)

    def _pack_a(
        self, fn: Function, pointers: tuple[str, str], count: str, start: str, stop: str
    ) -> None:
        names = [f"@{self.name}.pack_a{rows}" for rows in self.row_counts]
        strides = (self.plan.tile.rows * self.spec.a_row, self.plan.a_tile_size())
        bounds = (start, stop, self.down)
        self._pack(fn, names, pointers, self.spec.memory[0], count, bounds, strides)

    def _pack_a_tile(self, fn: Function, pointers: tuple[str, str], count: str, i: str) -> None:
        names = [f"@{self.name}.pack_a{rows}" for rows in self.row_counts]
        pack = self._choice(fn, i, self.down, "ptr", names)
        size = self.plan.line_size() if self.plan.a_packing == "lines" else 1
        near, far = pointers
        fn.do(f"call void {pack}(ptr {near}, ptr {far}, i64 {count}, i64 {size})")

    def _pack(
        self,
        fn: Function,
        names: Sequence[str],
        pointers: tuple[str, str],
        memory: Dtype,
        count: str,
        bounds: tuple[str, str, int],
        strides: tuple[int, int],
    ) -> None:
        """Copy the panels from start to stop, of which that from `whole` on is the remainder."""
        start, stop, whole = bounds
        near = offset(fn, pointers[0], memory, start, strides[0])
        if len(names) == 1:
            number = fn.value(f"sub nsw i64 {stop}, {start}")
            fn.do(f"call void {names[0]}(ptr {near}, ptr {pointers[1]}, i64 {count}, i64 {number})")
            return
        stop_whole = self._at_most(fn, "0", whole, stop)
        number = fn.value(f"sub nsw i64 {stop_whole}, {start}")
        fn.do(f"call void {names[0]}(ptr {near}, ptr {pointers[1]}, i64 {count}, i64 {number})")
        rest = fn.value(f"sub nsw i64 {stop}, {stop_whole}")
        near = offset(fn, near, memory, number, strides[0])
        far = offset(fn, pointers[1], self.spec.dtype, number, strides[1])
        fn.do(f"call void {names[1]}(ptr {near}, ptr {far}, i64 {count}, i64 {rest})")

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
        work, nothing = fn.new_block("work"), fn.new_block("nothing")
        fn.branch_if(fn.value(f"icmp slt i64 {start}, {stop}"), work, nothing)
        fn.enter(work)
        if not spec.batch:
            self._call_part(fn, ("%a", "%b", workspace), [], start, stop)
            fn.branch(nothing)
            fn.enter(nothing)
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
            a, b, left = "%a", "%b", entry
            indices: list[str] = []
            for axis in reversed(range(len(spec.batch))):
                index = fn.value(f"urem i64 {left}, {spec.batch[axis]}") if axis else left
                if axis:
                    left = fn.value(f"udiv i64 {left}, {spec.batch[axis]}")
                a = offset(fn, a, spec.memory[0], index, spec.a_batch[axis])
                b = offset(fn, b, spec.memory[1], index, spec.b_batch[axis])
                indices.insert(0, index)
            self._call_part(fn, (a, b, workspace), indices, low, high)
        fn.branch(nothing)
        fn.enter(nothing)
        fn.finish()

    def _call_part(
        self, fn: Function, pointers: tuple[str, str, str], batch: list[str], low: str, high: str
    ) -> None:
        a, b, workspace = pointers
        passed = [f"i64 {x}" for x in batch] + self.passed[len(batch) :]
        arguments = [f"ptr {a}", f"ptr {b}", *passed, f"ptr {workspace}"]
        arguments += [f"i64 {low}", f"i64 {high}"]
        fn.do(f"call void @{self.name}.part({', '.join(arguments)})")

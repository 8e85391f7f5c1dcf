"""Attention as LLVM functions: strips of queries, swept over the keys; see `attention_plan`.

`write_attention(module, name, step, target)` adds

    void @name(ptr %a0, ..., ptr %common, ptr %own, i64 %thread, i64 %threads)

where the pointers are those of the values read and written, and of a workspace for all threads and
one for each; `attention_room(step, target)` says how large they are. Each thread of a team calls it
with its own number, and computes some strips. Where there are sums over queries, those are all of
an entry of the batch; or a part of them, and then, when there is a common workspace, all threads
have to call `name.join` with the same arguments after a barrier.

That scores need not be in memory as a whole was shown by M. N. Rabe and C. Staats, "Self-attention
does not need O(n^2) memory" (2021), and by T. Dao et al., "FlashAttention" (2022), from which we
differ: all scores of a strip are there at once, so that no sum has to be corrected later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fstensor.compiler.kernels import identity
from fstensor.compiler.llvm.attention_plan import AttentionPlan, Sweep
from fstensor.compiler.llvm.bits import WORD, write_bits
from fstensor.compiler.llvm.loops import LoopWriter, Values
from fstensor.compiler.llvm.packing import (
    Source,
    load,
    offset,
    store,
    write_packing,
)
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.tiles import Tile, write_tile
from fstensor.compiler.llvm.vector import Register, VectorWriter, type_of
from fstensor.compiler.schedule import Schedule
from fstensor.compiler.strips import AttentionStep, Lines, MixProduct
from fstensor.core.scalar import BOOL, FLOAT32, INT64, UINT32

_LAST = ["ptr %common", "ptr %own", "i64 %thread", "i64 %threads"]


def attention_room(step: AttentionStep, target: Target) -> tuple[int, int]:
    """Bytes of the workspace: what all threads share, and what each of them needs."""
    plan = AttentionPlan(step, target)
    common = plan.entries * plan.parts * plan.total_size() if plan.has_joint_sums else 0
    return common * FLOAT32.itemsize, plan.room() * FLOAT32.itemsize


def write_attention(module: Module, name: str, step: AttentionStep, target: Target) -> None:
    """Add the function `name`, described above, and those it calls, `name.*`."""
    _Writer(module, name, step, target).write()


class _Writer:
    def __init__(self, module: Module, name: str, step: AttentionStep, target: Target) -> None:
        self.module, self.name, self.step, self.target = module, name, step, target
        self.plan = AttentionPlan(step, target)
        self.kernel = step.kernel
        self.batch = [f"%n{k}" for k in range(len(self.kernel.outer) - 1)]
        count = len(step.reads) + len(step.writes)
        self.passed = [f"ptr %a{k}" for k in range(count)]
        self._places()

    def _places(self) -> None:
        """Where in a thread's workspace everything begins, in elements."""
        plan, at = self.plan, 0

        def take(sizes: Sequence[int]) -> list[int]:
            nonlocal at
            starts = []
            for size in sizes:
                starts.append(at)
                at += size
            return starts

        self.slots = take(plan.slot_sizes())
        self.packed = take(plan.pack_sizes())
        reductions = [k for k, i in enumerate(self.kernel.instructions) if i.op == "reduce"]
        places = take([plan.width] * plan.row_values())
        self.reduced = dict(zip(reductions, places, strict=False))
        self.scales = places[len(reductions) :]
        # Of sums over queries, the place among all of them.
        self.sums = take([0 if m.over_rows else plan.sum_size(m) for m in self.step.mixes])
        self.copy, self.totals = take([plan.copy_size(), 0])
        self.turned = dict(
            zip(plan.turned, take(list(map(plan.turned_size, plan.turned))), strict=True)
        )
        self.totals = at
        at = 0
        (*starts,) = take([plan.sum_size(m) * m.over_rows for m in self.step.mixes])
        self.sums = [
            n if m.over_rows else k
            for m, n, k in zip(self.step.mixes, starts, self.sums, strict=True)
        ]

    def write(self) -> None:
        self._write_strip()
        plan = self.plan
        parameters = [*self.passed, *_LAST]
        fn = Function(self.module, self.name, parameters)
        room = offset(fn, "%own", FLOAT32, "%thread", plan.room())
        with self._units(fn) as (unit, batch, part):
            start, stop = self._bounds(fn, part, plan.strips)
            totals = offset(fn, room, FLOAT32, str(self.totals))
            if plan.has_joint_sums:
                totals = offset(fn, "%common", FLOAT32, unit, plan.total_size())
            with fn.loop(start, stop) as strip:
                first = fn.value(f"mul nsw i64 {strip}, {plan.width}")
                again = fn.value(f"icmp sgt i64 {strip}, {start}")
                passed = ", ".join([*self.passed, *(f"i64 {x}" for x in batch)])
                passed += f", i64 {first}, ptr {room}, ptr {totals}, i1 {again}"
                fn.do(f"call void @{self.name}.strip({passed})")
            if plan.by_entry and not plan.has_joint_sums:
                self._finish_totals(fn, batch, totals, ("0", str(plan.keys)))
        fn.finish()
        if plan.has_joint_sums:
            self._write_join()

    def _write_join(self) -> None:
        """A function that adds the sums of the parts; threads share the keys."""
        plan = self.plan
        fn = Function(self.module, f"{self.name}.join", [*self.passed, *_LAST])
        with self._units(fn) as (unit, batch, part):
            first = fn.value(f"sub nsw i64 {unit}, {part}")
            totals = offset(fn, "%common", FLOAT32, first, plan.total_size())
            self._finish_totals(fn, batch, totals, self._bounds(fn, part, plan.keys))
        fn.finish()

    @contextmanager
    def _units(self, fn: Function) -> Iterator[tuple[str, list[str], str]]:
        """Go through the units of a thread: parts of entries of the batch."""
        plan = self.plan
        units = plan.entries * plan.parts
        start = fn.value(f"mul nsw i64 %thread, {units}")
        stop = fn.value(f"add nsw i64 {start}, {units}")
        start = fn.value(f"udiv i64 {start}, %threads")
        stop = fn.value(f"udiv i64 {stop}, %threads")
        with fn.loop(start, stop) as unit:
            entry = fn.value(f"udiv i64 {unit}, {plan.parts}")
            part = fn.value(f"urem i64 {unit}, {plan.parts}")
            yield unit, self._batch_index(fn, entry), part

    def _bounds(self, fn: Function, part: str, total: int) -> tuple[str, str]:
        """Where a part of so many strips, or keys, begins and ends."""
        start = fn.value(f"mul nsw i64 {part}, {total}")
        stop = fn.value(f"add nsw i64 {start}, {total}")
        start = fn.value(f"udiv i64 {start}, {self.plan.parts}")
        return start, fn.value(f"udiv i64 {stop}, {self.plan.parts}")

    def _finish_totals(
        self, fn: Function, batch: Sequence[str], totals: str, keys: tuple[str, str]
    ) -> None:
        """Write the sums over queries for some keys."""
        for k, m in enumerate(self.step.mixes):
            if m.over_rows:
                lines = self._lines(fn, m.result, batch)
                sums = offset(fn, totals, FLOAT32, str(self.sums[k]))
                self._finish(fn, m, sums, lines, keys, [])

    def _batch_index(self, fn: Function, left: str) -> list[str]:
        indices: list[str] = []
        for axis in reversed(range(len(self.batch))):
            size = self.kernel.outer[axis]
            index = fn.value(f"urem i64 {left}, {size}") if axis else left
            if axis:
                left = fn.value(f"udiv i64 {left}, {size}")
            indices.insert(0, index)
        return indices

    def _lines(self, fn: Function, lines: Lines, batch: Sequence[str], line: str = "0") -> str:
        """The address of a line of an entry."""
        at = offset(fn, f"%a{lines.buffer}", FLOAT32, str(lines.start))
        for index, stride in zip(batch, lines.batch, strict=True):
            at = offset(fn, at, FLOAT32, index, stride)
        return offset(fn, at, FLOAT32, line, lines.line)

    # Functions that are called

    def _tile(self, tile: Tile, target: Target) -> str:
        """The name of a function that computes a tile, of which sums may be there already."""
        strides = f"{tile.a_row}_{tile.a_k}_{tile.b_k}_{tile.b_column}"
        name = f"attention_tile_{tile.rows}x{tile.width}_{strides}_{target.vector_bytes}"
        if name not in self.module:
            pointers = [f"ptr noalias %{x}" for x in ("a", "b")]
            parameters = [*pointers, "i64 %count", "ptr noalias %sums", "i1 %resume"]
            fn = Function(self.module, name, parameters)
            write_tile(fn, tile, target, True)
            fn.finish()
        return name

    def _pack(self, lines: Lines, queries: int) -> str:
        """The name of a function that copies the lines of queries, interleaved."""
        source = Source(FLOAT32, FLOAT32, lines.element, lines.line)
        return self._packing(source, queries, self.plan.width)

    def _packing(self, source: Source, lines: int, padded: int) -> str:
        strides = f"{source.k_stride}_{source.line_stride}"
        name = f"attention_pack_{lines}_{padded}_{strides}_{self.plan.lanes}"
        if name not in self.module:
            write_packing(self.module, name, source, lines, padded, 0, self.plan.lanes)
        return name

    def _choice(self, fn: Function, test: str, kind: str, options: Sequence[str]) -> str:
        if options[0] == options[1]:
            return options[0]
        return fn.value(f"select i1 {test}, {kind} {options[0]}, {kind} {options[1]}")

    # A strip

    def _write_strip(self) -> None:
        parameters = [*self.passed, *(f"i64 {x}" for x in self.batch), "i64 %first", "ptr %room"]
        parameters += ["ptr %totals", "i1 %again"]
        self.fn = fn = Function(self.module, f"{self.name}.strip", parameters)
        plan, kernel = self.plan, self.kernel
        left = fn.value(f"sub nsw i64 {plan.queries}, %first")
        self.module.declare("declare i64 @llvm.smin.i64(i64, i64)")
        self.count = fn.value(f"call i64 @llvm.smin.i64(i64 {left}, i64 {plan.width})")
        for k, number in enumerate(self.step.buffers):
            at = f"%a{number}" if number >= 0 else "%room"
            fn.do(f"%p{k} = getelementptr i8, ptr {at}, i64 0")
        row = len(kernel.outer) - 1
        self.writer = LoopWriter(fn, Schedule(kernel, row, plan.lanes, 1), self.target.has_fma)
        self.writer.variables = dict(enumerate(self.batch))
        for place in self.writer.places():
            self.writer.base(place)
        self._pack_queries()
        for sweep in plan.sweeps:
            self._sweep(sweep)
        self._finish_rows()
        for k, m in enumerate(self.step.mixes):
            if not m.over_rows:
                lines = self._lines(fn, m.result, self.batch, "%first")
                before = sum(len(n.scales) for n in self.step.mixes[:k])
                scales = self.scales[before : before + len(m.scales)]
                self._finish(fn, m, self._room(self.sums[k]), lines, ("0", self.count), scales)
        fn.finish()

    def _room(self, place: int, index: str = "0", stride: int = 1) -> str:
        at = offset(self.fn, "%room", FLOAT32, str(place))
        return offset(self.fn, at, FLOAT32, index, stride)

    def _pack_queries(self) -> None:
        fn, plan = self.fn, self.plan
        rest = plan.queries % plan.width or plan.width
        whole = fn.value(f"icmp eq i64 {self.count}, {plan.width}")
        for k, p in enumerate(self.step.scores):
            sizes = [plan.width if plan.queries >= plan.width else rest, rest]
            names = [f"@{self._pack(p.queries, n)}" for n in sizes]
            name = self._choice(fn, whole, "ptr", names)
            near = self._lines(fn, p.queries, self.batch, "%first")
            far = self._room(self.packed[k])
            fn.do(f"call void {name}(ptr {near}, ptr {far}, i64 {p.depth}, i64 1)")

    def _sweep(self, sweep: Sweep) -> None:
        fn, plan = self.fn, self.plan
        if plan.one_block:
            self._block(sweep, ("0", str(plan.tiles)), ("0", str(plan.keys)), "false")
            return
        for k in sweep.reduced:
            i = self.kernel.instructions[k]
            one = self.writer.ops.constant(identity(i.detail, i.dtype), i.dtype)
            for v in range(plan.vectors):
                at = self._room(self.reduced[k], str(v * plan.lanes))
                store(fn, self.writer.ops.spread(one, plan.lanes).text, at, FLOAT32, plan.lanes)
        with fn.loop("0", str(plan.tiles), str(plan.block_tiles)) as tile:
            end = fn.value(f"add nsw i64 {tile}, {plan.block_tiles}")
            end = fn.value(f"call i64 @llvm.smin.i64(i64 {end}, i64 {plan.tiles})")
            start = fn.value(f"mul nsw i64 {tile}, {plan.rows}")
            stop = fn.value(f"mul nsw i64 {end}, {plan.rows}")
            stop = fn.value(f"call i64 @llvm.smin.i64(i64 {stop}, i64 {plan.keys})")
            resume = fn.value(f"icmp sgt i64 {start}, 0")
            self._block(sweep, (tile, end), (start, stop), resume)

    def _slot(self, value: int, start: str, key: str) -> str:
        """The address of a kept value for a key, in a block that begins at `start`."""
        slot = self.plan.kept[value].slot
        if not self.plan.slots[slot] and start != "0":
            key = "0" if key == start else self.fn.value(f"sub nsw i64 {key}, {start}")
        return self._room(self.slots[slot], key, self.plan.width)

    def _block(
        self, sweep: Sweep, tiles: tuple[str, str], keys: tuple[str, str], resume: str
    ) -> None:
        for number in sweep.scores:
            self._compute_scores(number, tiles, keys[0])
        for value in sweep.turned:
            self._turn(value, keys)
        if sweep.reduced or sweep.stores:
            vectors = self.fn.value(f"add nsw i64 {self.count}, {self.plan.lanes - 1}")
            vectors = self.fn.value(f"udiv i64 {vectors}, {self.plan.lanes}")
            with self.fn.loop("0", vectors) as v:
                self._compute_elements(sweep, v, keys)
        for number in sweep.mixes:
            self._compute_mix(number, keys, resume)

    def _compute_scores(self, number: int, tiles: tuple[str, str], start: str) -> None:
        """Scores of a block: for each key a row of those of all queries."""
        fn, plan, product = self.fn, self.plan, self.step.scores[number]
        value = next(k for k in plan.kept if self._buffer(k) == product.buffer)
        rest = plan.keys % plan.rows or plan.rows
        line, element = product.keys.line, product.keys.element
        whole_tile = Tile(
            "outer", FLOAT32, plan.rows, plan.width, line, element, plan.width, 1, b_padded=True
        )
        of = [whole_tile, whole_tile._replace(rows=rest)]
        queries = self._room(self.packed[number])
        keys = self._lines(fn, product.keys, self.batch)
        with fn.loop(*tiles) as t:
            whole = fn.value(f"icmp slt i64 {t}, {plan.keys // plan.rows}")
            names = [f"@{self._tile(x, self.target)}" for x in of]
            name = self._choice(fn, whole, "ptr", names)
            key = fn.value(f"mul nsw i64 {t}, {plan.rows}")
            a = offset(fn, keys, FLOAT32, key, product.keys.line)
            to = self._slot(value, start, key)
            passed = f"ptr {a}, ptr {queries}, i64 {product.depth}, ptr {to}, i1 false"
            fn.do(f"call void {name}({passed})")

    def _buffer(self, k: int) -> int:
        """The buffer that a value of the kernel is loaded from, if any."""
        i = self.kernel.instructions[k]
        return i.detail.buffer if i.op == "load" else -1

    def _row_values(self, v: str) -> tuple[Values, str]:
        """What is known of a vector of queries from the sweeps before, and its first query."""
        fn, plan, writer = self.fn, self.plan, self.writer
        at = fn.value(f"mul nsw i64 {v}, {plan.lanes}")
        writer.variables[len(self.batch)] = fn.value(f"add nsw i64 %first, {at}")
        writer.mask = None
        if plan.queries % plan.lanes:
            writer.mask = writer.lanes_below(at, self.count)
        return {}, at

    def _known(self, k: int, at: str) -> list[Register]:
        """A reduction that is complete, for a vector of queries."""
        text = load(self.fn, self._room(self.reduced[k], at), FLOAT32, self.plan.lanes)
        return [Register(text, FLOAT32, self.plan.lanes)]

    def _with_reductions(self, values: Values, wanted: Sequence[int], at: str, stage: int) -> None:
        """Make known the reductions that some values need."""
        todo, seen = list(wanted), set()
        while todo:
            k = todo.pop()
            if k in seen:
                continue
            seen.add(k)
            i = self.kernel.instructions[k]
            if i.op == "reduce":
                assert i.stage <= stage
                values[k] = self._known(k, at)
            else:
                todo += i.args

    def _compute_elements(self, sweep: Sweep, v: str, keys: tuple[str, str]) -> None:
        """Reductions over a block, and what products need of it, for a vector of queries."""
        fn, plan, writer, kernel = self.fn, self.plan, self.writer, self.kernel
        lanes, kind = plan.lanes, type_of(FLOAT32, plan.lanes)
        common, at = self._row_values(v)
        self._with_reductions(common, sweep.rows, at, len(plan.sweeps))
        for k in sweep.rows:
            if kernel.instructions[k].op != "constant":
                writer.value(k, common, 0, 1)
        ones = []
        for k in sweep.reduced:
            i = kernel.instructions[k]
            ones.append(
                writer.ops.spread(writer.ops.constant(identity(i.detail, i.dtype), i.dtype), lanes)
            )
        with fn.carrying(*keys, "1", [(kind, x.text) for x in ones]) as (j, now, following):
            writer.variables[len(kernel.outer)] = j
            values = dict(common)
            places = {k: self._element(k, keys[0], j, at) for k in (*sweep.loads, *sweep.stores)}
            for k in sweep.loads:
                values[k] = [Register(load(fn, places[k], FLOAT32, lanes), FLOAT32, lanes)]
            for k in sweep.turned:
                values[k] = [self._turned(k, keys[0], j, at)]
            for n, k in enumerate(sweep.reduced):
                i = kernel.instructions[k]
                x = writer.ops.spread(writer.value(i.args[0], values, 0, 1), lanes)
                total = Register(now[n], FLOAT32, lanes)
                following[n] = writer.ops.binary(i.detail, total, x).text
            for k in sweep.stores:
                x = writer.ops.spread(writer.value(k, values, 0, 1), lanes)
                store(fn, x.text, places[k], FLOAT32, lanes)
        for k, end in zip(sweep.reduced, following, strict=True):
            result = Register(end, FLOAT32, lanes)
            if not plan.one_block:
                (before,) = self._known(k, at)
                result = writer.ops.binary(kernel.instructions[k].detail, before, result)
            store(fn, result.text, self._room(self.reduced[k], at), FLOAT32, lanes)

    def _turn(self, value: int, keys: tuple[str, str]) -> None:
        """Copy what is read for the queries of a strip and a block of keys."""
        fn, plan, writer = self.fn, self.plan, self.writer
        access = self.kernel.instructions[value].detail
        dtype = self.kernel.buffers[access.buffer]
        row = access.place.strides[-2]
        writer.mask = None
        begin = writer.plus_constant(writer.base(access.place), access.place.constant)
        near = offset(fn, f"%p{access.buffer}", dtype, begin)
        near = offset(fn, offset(fn, near, dtype, "%first", row), dtype, keys[0])
        far = self._room(self.turned[value])
        number = fn.value(f"sub nsw i64 {keys[1]}, {keys[0]}")
        if dtype == BOOL:
            name = f"{self.name}.bits{row}"
            if name not in self.module:
                write_bits(self.module, name, row, plan.width)
            fn.do(f"call void @{name}(ptr {near}, ptr {far}, i64 {number}, i64 {self.count})")
            return
        rest = plan.queries % plan.width or plan.width
        sizes = [plan.width if plan.queries >= plan.width else rest, rest]
        source = Source(FLOAT32, FLOAT32, 1, row)
        names = [f"@{self._packing(source, n, plan.width)}" for n in sizes]
        whole = fn.value(f"icmp eq i64 {self.count}, {plan.width}")
        name = self._choice(fn, whole, "ptr", names)
        fn.do(f"call void {name}(ptr {near}, ptr {far}, i64 {number}, i64 1)")

    def _turned(self, value: int, start: str, key: str, at: str) -> Register:
        """What was copied, for a vector of queries."""
        fn, plan = self.fn, self.plan
        lanes = plan.lanes
        key = key if start == "0" else fn.value(f"sub nsw i64 {key}, {start}")
        dtype = self.kernel.instructions[value].dtype
        word = fn.value(f"udiv i64 {key}, {WORD}") if dtype == BOOL else key
        where = offset(fn, self._room(self.turned[value], word, plan.width), FLOAT32, at)
        if dtype != BOOL:
            return Register(load(fn, where, FLOAT32, lanes), FLOAT32, lanes)
        ops = self.writer.ops
        bits = Register(load(fn, where, UINT32, lanes), UINT32, lanes)
        place = ops.convert(Register(fn.value(f"urem i64 {key}, {WORD}"), INT64), UINT32)
        one = ops.binary("shl", ops.constant(1, UINT32), place)
        return ops.ne(ops.binary("and", bits, one), ops.constant(0, UINT32))

    def _element(self, value: int, start: str, key: str, at: str) -> str:
        return offset(self.fn, self._slot(value, start, key), FLOAT32, at)

    # Products of scores

    def _compute_mix(self, number: int, keys: tuple[str, str], resume: str) -> None:
        mix = self.step.mixes[number]
        weights = self._slot(mix.value, keys[0], keys[0])
        sums = self._room(self.sums[number])
        if mix.over_rows:
            sums = offset(self.fn, "%totals", FLOAT32, str(self.sums[number]))
        for column, width in self.plan.columns(mix.depth):
            padded = self.plan.padded(mix, width)
            if mix.over_rows:
                self._mix_queries(mix, (column, width, padded), weights, sums, keys)
                sums = offset(self.fn, sums, FLOAT32, str(self.plan.keys * padded))
            else:
                self._mix_keys(mix, (column, width, padded), weights, sums, keys, resume)
                sums = offset(self.fn, sums, FLOAT32, str(self.plan.width * padded))

    def _in_rows(
        self, mix: MixProduct, first: str, number: str, columns: tuple[int, int, int]
    ) -> tuple[str, int]:
        """Some columns of lines, from the first one on, as rows of neighbours; and their stride."""
        fn = self.fn
        column, width, padded = columns
        lines = self._lines(fn, mix.lines, self.batch, first)
        lines = offset(fn, lines, FLOAT32, str(column), mix.lines.element)
        if mix.lines.element == 1 or mix.depth == 1:
            return lines, mix.lines.line
        source = Source(FLOAT32, FLOAT32, mix.lines.line, mix.lines.element)
        to = self._room(self.copy)
        name = self._packing(source, width, padded)
        fn.do(f"call void @{name}(ptr {lines}, ptr {to}, i64 {number}, i64 1)")
        return to, padded

    def _mix_keys(
        self,
        mix: MixProduct,
        columns: tuple[int, int, int],
        weights: str,
        sums: str,
        keys: tuple[str, str],
        resume: str,
    ) -> None:
        """For each query, some columns of the lines of a block of keys, weighted and summed."""
        fn, plan = self.fn, self.plan
        _, width, padded = columns
        rows, target = plan.mix_rows(mix, width), plan.target_for(mix.depth)
        number = fn.value(f"sub nsw i64 {keys[1]}, {keys[0]}")
        lines, line = self._in_rows(mix, keys[0], number, columns)
        tile = Tile("outer", FLOAT32, rows, width, 1, plan.width, line, 1, False)
        with fn.loop("0", self.count, str(rows)) as r:
            a = offset(fn, weights, FLOAT32, r)
            to = offset(fn, sums, FLOAT32, r, padded)
            passed = f"ptr {a}, ptr {lines}, i64 {number}, ptr {to}, i1 {resume}"
            fn.do(f"call void @{self._tile(tile, target)}({passed})")

    def _mix_queries(
        self,
        mix: MixProduct,
        columns: tuple[int, int, int],
        weights: str,
        sums: str,
        keys: tuple[str, str],
    ) -> None:
        """For each key of a block, some columns of the lines of queries, weighted and summed."""
        fn, plan = self.fn, self.plan
        _, width, padded = columns
        rows, target = plan.mix_rows(mix, width), plan.target_for(mix.depth)
        last = plan.keys % plan.block_keys or plan.block_keys
        lines, line = self._in_rows(mix, "%first", self.count, columns)
        tile = Tile("outer", FLOAT32, rows, width, plan.width, 1, line, 1, False)
        rest = tile._replace(rows=last % rows or rows)
        with fn.loop(*keys, str(rows)) as j:
            end = fn.value(f"add nsw i64 {j}, {rows}")
            whole = fn.value(f"icmp sle i64 {end}, {keys[1]}")
            names = [f"@{self._tile(t, target)}" for t in (tile, rest)]
            name = self._choice(fn, whole, "ptr", names)
            behind = j if keys[0] == "0" else fn.value(f"sub nsw i64 {j}, {keys[0]}")
            a = offset(fn, weights, FLOAT32, behind, plan.width)
            to = offset(fn, sums, FLOAT32, j, padded)
            passed = f"ptr {a}, ptr {lines}, i64 {self.count}, ptr {to}, i1 %again"
            fn.do(f"call void {name}({passed})")

    # Results

    def _finish_rows(self) -> None:
        """Write what there is for each query, and note the scales of sums."""
        fn, plan, writer, kernel = self.fn, self.plan, self.writer, self.kernel
        scales = [k for m in self.step.mixes for _, k in m.scales]
        if not scales and not kernel.stores:
            return
        vectors = fn.value(f"add nsw i64 {self.count}, {plan.lanes - 1}")
        vectors = fn.value(f"udiv i64 {vectors}, {plan.lanes}")
        with fn.loop("0", vectors) as v:
            values, at = self._row_values(v)
            wanted = [*scales, *(s.value for s in kernel.stores)]
            self._with_reductions(values, wanted, at, len(plan.sweeps))
            for k, place in zip(scales, self.scales, strict=True):
                x = writer.ops.spread(writer.value(k, values, 0, 1), plan.lanes)
                store(fn, x.text, self._room(place, at), FLOAT32, plan.lanes)
            writer.store_all(kernel.stores, values, 1)

    def _finish(
        self,
        fn: Function,
        mix: MixProduct,
        sums: str,
        lines: str,
        bounds: tuple[str, str],
        scales: list[int],
    ) -> None:
        """Write some sums, scaled, to where they belong."""
        plan, element = self.plan, mix.result.element
        ops = VectorWriter(fn, self.target.has_fma)
        for column, width in plan.columns(mix.depth):
            padded = plan.padded(mix, width)
            with fn.loop(*bounds) as r:
                near = offset(fn, sums, FLOAT32, r, padded)
                far = offset(fn, lines, FLOAT32, str(column), element)
                far = offset(fn, far, FLOAT32, r, mix.result.line)
                factors = []
                for (op, _), place in zip(mix.scales, scales, strict=False):
                    at = offset(fn, offset(fn, "%room", FLOAT32, str(place)), FLOAT32, r)
                    factors.append((op, Register(load(fn, at, FLOAT32, 1), FLOAT32)))
                for start, lanes in self._pieces(width if element == 1 else 1):
                    total = self._total(fn, ops, mix, offset(fn, near, FLOAT32, str(start)), lanes)
                    x = scaled(ops, total, factors)
                    store(fn, x.text, offset(fn, far, FLOAT32, str(start)), FLOAT32, lanes)
                if element != 1:
                    with fn.loop("1", str(width)) as c:
                        total = self._total(fn, ops, mix, offset(fn, near, FLOAT32, c), 1)
                        x = scaled(ops, total, factors)
                        store(fn, x.text, offset(fn, far, FLOAT32, c, element), FLOAT32, 1)
            lines_of = plan.keys if mix.over_rows else plan.width
            sums = offset(fn, sums, FLOAT32, str(lines_of * padded))

    def _total(
        self, fn: Function, ops: VectorWriter, mix: MixProduct, address: str, lanes: int
    ) -> Register:
        """A sum, added up from those of all parts, in their order."""
        plan = self.plan
        parts = plan.parts if mix.over_rows and plan.has_joint_sums else 1
        total = Register(load(fn, address, FLOAT32, lanes), FLOAT32, lanes)
        for n in range(1, parts):
            at = offset(fn, address, FLOAT32, str(n * plan.total_size()))
            total = ops.add(total, Register(load(fn, at, FLOAT32, lanes), FLOAT32, lanes))
        return total

    def _pieces(self, width: int) -> list[tuple[int, int]]:
        """A line as vectors, each of a power of two elements."""
        pieces, at = [], 0
        while at < width:
            lanes = min(self.plan.lanes, 1 << ((width - at).bit_length() - 1))
            pieces.append((at, lanes))
            at += lanes
        return pieces


def scaled(ops: VectorWriter, x: Register, factors: Sequence[tuple[str, Register]]) -> Register:
    for op, factor in factors:
        x = ops.binary(op, x, factor)
    return x

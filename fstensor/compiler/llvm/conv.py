"""Convolutions as LLVM functions, by products of matrices that are never laid out.

`write_convolution` adds three functions of the parameters (ptr %a, ptr %b, <extra parameters>,
ptr %shared, ptr %own, i64 %thread, i64 %threads), named NAME.first, NAME.then and NAME.last. All
threads of a team call one after the other, and wait for each other in between; `stages` says which
exist. `room` says how much memory they need that is shared, and that each thread has as its own.

Registers hold a tile of results: for some places of the window, vectors of neighbouring outputs.
For each input and each place in the window a row of the kernel is added to them, times the elements
that the places meet there, all of which lie at constant distances from the first. Where the window
reaches over the edge, the operand is copied with zeros around it, an image, or some rows of one, at
a time. See `conv_plan` for the two orders in which that happens. Two other ways
are taken where they are better: `conv_rows` and `winograd`.

What becomes of results is the epilogue's affair, as in `gemm`; it is called with the batch entry,
the spatial places and the output. The order of additions does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from math import prod

from fstensor.compiler.convolution import Convolution
from fstensor.compiler.llvm.conv_copy import write_copy, write_panel_copy
from fstensor.compiler.llvm.conv_plan import (
    ConvPlan,
    Piece,
    in_pieces,
    offsets,
    plan_convolution,
    rounded_up,
)
from fstensor.compiler.llvm.conv_rows import plan_rows, write_rows
from fstensor.compiler.llvm.conv_tile import ConvTile, write_conv_tile
from fstensor.compiler.llvm.conv_turned import Epilogue, Turned
from fstensor.compiler.llvm.indices import clamped, share, split, times
from fstensor.compiler.llvm.packing import constant_mask, load, offset, store
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.vector import type_of
from fstensor.compiler.llvm.winograd import room_of_winograd, write_winograd
from fstensor.compiler.llvm.winograd_plan import plan_winograd

# Multiplications of vectors in a tile from which on the loops around it may be slow.
_LONG_TILE = 2048

# Results are turned to lie along an axis only if so many neighbours are in registers.
_FEW_ROWS = 3

STAGES = ("first", "then", "last")


def stages(conv: Convolution, target: Target) -> tuple[str, ...]:
    """The names of the functions that compute a convolution."""
    if plan_rows(conv, target):
        return ("then",)
    plan = plan_winograd(conv, target) or plan_convolution(conv, target)
    return ("then", "last") if plan.by_inputs else ("first", "then")


def room(conv: Convolution, target: Target) -> tuple[int, int]:
    """Bytes of the workspace: what all threads share, and what each of them needs."""
    rows = plan_rows(conv, target)
    if rows is not None:
        return 0, rounded_up(rows.sums * conv.dtype.itemsize, 64)
    fast = plan_winograd(conv, target)
    if fast is not None:
        return room_of_winograd(conv, fast, target)
    writer = _Writer(Module(), "", conv, target, [], lambda *_: None)
    return writer.shared_bytes, writer.own_bytes


def can_go_along(conv: Convolution, target: Target, axis: int) -> bool:
    """Whether vectors of results along an axis can be handed to the epilogue."""
    rows = plan_rows(conv, target)
    if rows is not None:
        return rows.along and rows.axis == axis
    fast = plan_winograd(conv, target)
    if fast is not None:
        return axis == 1 and not fast.by_inputs
    plan = plan_convolution(conv, target)
    if plan.by_inputs or not plan.rows:
        return False
    return plan.rows[0].axis == axis and plan.rows[0].tile >= _FEW_ROWS


def must_go_along(conv: Convolution, target: Target) -> int | None:
    """The axis along which all vectors of results lie, where that is not the outputs."""
    rows = plan_rows(conv, target)
    return rows.axis if rows is not None and rows.along else None


def write_convolution(
    module: Module,
    name: str,
    conv: Convolution,
    target: Target,
    extra: Sequence[str],
    epilogue: Epilogue,
    along: int | None = None,
) -> None:
    """Add the functions described above, and those they call, `name.*`.

    along: the spatial axis whose results the epilogue takes as neighbours, rather than outputs; one
    that `can_go_along`.
    """
    rows = plan_rows(conv, target)
    if rows is not None:
        write_rows(module, name, conv, rows, target, extra, epilogue)
        return
    fast = plan_winograd(conv, target)
    if fast is not None:
        write_winograd(module, name, conv, fast, target, extra, epilogue, along)
        return
    writer = _Writer(module, name, conv, target, extra, epilogue)
    writer.along = along
    writer.write_tiles()
    if along is None:
        writer.write_finish()
    else:
        writer.write_finish_along()
    if writer.plan.copies:
        write_copy(
            module, f"{name}.copy", (conv.lhs_dtype, conv.dtype), writer.plan.copies,
            not writer.plan.by_inputs, writer.lanes,
        )  # fmt: skip
    if writer.plan.b_packed:
        for width in writer.widths:
            write_panel_copy(
                module, f"{name}.pack{width}", conv, writer.plan.packing, writer.lanes,
                (width, writer.plan.b_row), writer.panel_size,
            )  # fmt: skip
    if writer.plan.by_inputs:
        writer.write_sums()
        writer.write_results()
    else:
        writer.write_kernel_copy()
        writer.write_images()


class _Writer:
    def __init__(
        self,
        module: Module,
        name: str,
        conv: Convolution,
        target: Target,
        extra: Sequence[str],
        epilogue: Epilogue,
    ) -> None:
        self.module, self.name, self.conv, self.target = module, name, conv, target
        self.extra, self.epilogue = list(extra), epilogue
        self.plan: ConvPlan = plan_convolution(conv, target)
        self.along: int | None = None
        self.dtype = conv.dtype
        self.lanes = target.lanes(conv.dtype)
        plan = self.plan
        self.panels, rest = divmod(conv.outputs, plan.width)
        self.widths = [plan.width] * bool(self.panels) + [rest] * bool(rest)
        self.all_panels = self.panels + bool(rest)
        # The fastest axis of results is cut into tiles of a size, and what remains.
        self.fastest = plan.rows[0].tile if plan.rows else 1
        size = plan.rows[0].size if plan.rows else 1
        self.firsts = [self.fastest] * bool(size // self.fastest)
        self.firsts += [size % self.fastest] * bool(size % self.fastest)
        self.tile_rows = prod(r.tile for r in plan.rows)
        self.tiles = prod(-(-r.size // r.tile) for r in plan.rows)
        line = 64 // self.dtype.itemsize
        self.sums_size = rounded_up(self.tile_rows * plan.b_row, line)
        self.panel_size = rounded_up(rounded_up(plan.depth, self.lanes) * plan.b_row, line)
        copy = rounded_up(plan.copy_size * plan.images + 2 * self.lanes, line)
        self.copy_room = copy if plan.copies else 0
        packed = (self.panel_size * self.all_panels + line) * plan.b_packed
        # Behind the sums a square of them is transposed.
        self.before_copy = self.sums_size + rounded_up(self.lanes * self.lanes, line)
        shared, own = packed * conv.groups, self.before_copy + self.copy_room
        if plan.by_inputs:
            shared = conv.groups * plan.chunks * self.all_panels * self.tiles * self.sums_size
            own = packed + self.copy_room
        self.shared_bytes = rounded_up(shared, line) * self.dtype.itemsize
        self.own_bytes = rounded_up(own, line) * self.dtype.itemsize
        self.batch_axes = 1 + len(conv.axes)

    def _pieces(self, width: int) -> tuple[Piece, ...]:
        return in_pieces(width, self.lanes, 16 // self.dtype.itemsize)

    def _parameters(self) -> list[str]:
        rest = ["ptr %shared", "ptr %own", "i64 %thread", "i64 %threads"]
        return ["ptr %a", "ptr %b", *self.extra, *rest]

    # Tiles

    def write_tiles(self) -> None:
        """A function for each size: %sums of what %a and %b meet, added to those there if so."""
        for width in self.widths:
            for first in self.firsts:
                parameters = ["ptr noalias %a", "ptr noalias %b", "ptr noalias %sums"]
                parameters += ["i1 %resume"] * self.plan.by_inputs
                fn = Function(self.module, f"{self.name}.tile{first}x{width}", parameters)
                plan, rows = self.plan, offsets(self.plan.rows, first)
                tile = ConvTile(
                    self.dtype, plan.levels, self._pieces(width), tuple(rows), plan.b_row,
                    plan.by_inputs, plan.b_packed, bool(self.conv.lhs_output),
                )  # fmt: skip
                write_conv_tile(fn, tile, self.target)
                fn.finish()

    def _tile(self, fn: Function, first: str, panel: str) -> str:
        """The function for a tile with `first` rows along the fastest axis, for a panel."""
        names = [
            self._of_rows(fn, first, "ptr", [f"@{self.name}.tile{r}x{w}" for r in self.firsts])
            for w in self.widths
        ]
        return self._of_panel(fn, panel, names)

    def _of_rows(self, fn: Function, at: str, kind: str, options: Sequence[str]) -> str:
        """The first option for whole tiles along the fastest axis, the other for the rest."""
        if len(options) == 1:
            return options[0]
        whole = self.plan.rows[0].size // self.fastest * self.fastest
        inside = fn.value(f"icmp slt i64 {at}, {whole}")
        return fn.value(f"select i1 {inside}, {kind} {options[0]}, {kind} {options[1]}")

    def _of_panel(self, fn: Function, panel: str, options: Sequence[str]) -> str:
        if len(options) == 1:
            return options[0]
        inside = fn.value(f"icmp slt i64 {panel}, {self.panels}")
        return fn.value(f"select i1 {inside}, ptr {options[0]}, ptr {options[1]}")

    # Results

    def write_finish(self) -> None:
        """Functions that hand the sums of a tile, row by row, to the epilogue."""
        names = ["%n", *(f"%at{i}" for i in range(len(self.conv.axes)))]
        indices = [f"i64 {n}" for n in names]
        for width in self.widths:
            parameters = ["ptr %sums", "i64 %count", *indices, "i64 %output", *self.extra]
            fn = Function(self.module, f"{self.name}.finish{width}", parameters)
            index = list(names)
            with ExitStack() as stack:
                number = "0"
                for n, row in reversed(list(enumerate(self.plan.rows))):
                    if n and row.tile == 1:
                        continue
                    size = str(row.tile) if n else "%count"
                    i = stack.enter_context(fn.loop("0", size))
                    axis = row.axis + 1
                    index[axis] = fn.value(f"add nsw i64 {index[axis]}, {i}")
                    if number != "0":
                        number = fn.value(f"mul nsw i64 {number}, {size}")
                        number = fn.value(f"add nsw i64 {number}, {i}")
                    else:
                        number = i
                line = offset(fn, "%sums", self.dtype, number, self.plan.b_row)
                for p in self._pieces(width):
                    address = offset(fn, line, self.dtype, str(p.at))
                    acc = load(fn, address, self.dtype, p.lanes)
                    at = fn.value(f"add nsw i64 %output, {p.at}") if p.at else "%output"
                    mask = constant_mask(p.lanes, p.valid) if p.valid < p.lanes else None
                    self.epilogue(fn, acc, [*index, at], p.lanes, mask)
            fn.finish()

    def write_finish_along(self) -> None:
        """As `write_finish`, with vectors along the fastest axis of rows."""
        fastest = self.plan.rows[0].axis + 1
        names = ["%n", *(f"%at{i}" for i in range(len(self.conv.axes)))]
        indices = [f"i64 {n}" for n in names]
        for width in self.widths:
            for first in self.firsts:
                parameters = ["ptr %sums", "i64 %count", *indices, "i64 %output", *self.extra]
                fn = Function(self.module, f"{self.name}.finish{first}x{width}", parameters)
                index, number = list(names), "0"
                with ExitStack() as stack:
                    for row in reversed([r for r in self.plan.rows[1:] if r.tile > 1]):
                        i = stack.enter_context(fn.loop("0", str(row.tile)))
                        axis = row.axis + 1
                        index[axis] = fn.value(f"add nsw i64 {index[axis]}, {i}")
                        number = fn.value(f"add nsw i64 {times(fn, number, row.tile)}, {i}")
                    line = offset(fn, "%sums", self.dtype, number, first * self.plan.b_row)
                    square = offset(fn, "%sums", self.dtype, str(self.sums_size))
                    turned = Turned(
                        self.dtype, self.lanes, self.plan.b_row, fastest, square, self.epilogue
                    )
                    for start in range(0, first, self.lanes):
                        count = min(self.lanes, first - start)
                        here = list(index)
                        if start:
                            here[fastest] = fn.value(f"add nsw i64 {index[fastest]}, {start}")
                        part = offset(fn, line, self.dtype, "1", start * self.plan.b_row)
                        turned.write(fn, part, count, ("%output", width), here)
                fn.finish()

    def _finish(
        self, fn: Function, sums: str, first: str, index: Sequence[str], group: str, panel: str
    ) -> None:
        """Call that function for a tile that begins at an index."""
        if self.along is None:
            names = [f"@{self.name}.finish{w}" for w in self.widths]
        else:
            names = [
                self._of_rows(
                    fn, first, "ptr", [f"@{self.name}.finish{r}x{w}" for r in self.firsts]
                )
                for w in self.widths
            ]
        name = self._of_panel(fn, panel, names)
        count = self._of_rows(fn, first, "i64", [str(r) for r in self.firsts])
        output = fn.value(f"mul nsw i64 {panel}, {self.plan.width}")
        before = fn.value(f"mul nsw i64 {group}, {self.conv.outputs}")
        output = fn.value(f"add nsw i64 {output}, {before}")
        numbers = [f"i64 {i}" for i in (*index, output)]
        arguments = ", ".join([f"ptr {sums}", f"i64 {count}", *numbers, *self.extra])
        fn.do(f"call void {name}({arguments})")

    # Shares

    def _pack(self, fn: Function, near: str, far: str, panel: str) -> None:
        """Copy one panel of the kernel."""
        name = self._of_panel(fn, panel, [f"@{self.name}.pack{w}" for w in self.widths])
        near = offset(fn, near, self.conv.rhs_dtype, panel, self.plan.width * self.conv.rhs_output)
        fn.do(f"call void {name}(ptr {near}, ptr {far}, i64 1)")

    # By images

    def write_kernel_copy(self) -> None:
        """The kernel in panels, for all threads."""
        fn = Function(self.module, f"{self.name}.first", self._parameters(), quickly=True)
        start, stop = share(fn, self.conv.groups * self.all_panels)
        with fn.loop(start, stop) as number:
            group, panel = split(fn, number, [self.conv.groups, self.all_panels])
            near = offset(fn, "%b", self.conv.rhs_dtype, group, self.conv.rhs_group)
            far = offset(fn, "%shared", self.dtype, number, self.panel_size)
            self._pack(fn, near, far, panel)
        fn.finish()

    def write_images(self) -> None:
        """A thread's share of images, or of bands of them."""
        conv, plan = self.conv, self.plan
        work = plan.depth * self.tile_rows * len(self._pieces(self.widths[0]))
        quickly = work >= _LONG_TILE
        fn = Function(self.module, f"{self.name}.then", self._parameters(), quickly=quickly)
        copy = offset(fn, "%own", self.dtype, str(self.before_copy))
        first_axis = conv.axes[0]
        bands = -(-first_axis.places // plan.band)
        # Groups of an image follow each other: they may lie in the same parts of memory.
        sizes = [conv.batch // plan.images, conv.groups, bands]
        start, stop = share(fn, prod(sizes))
        with fn.loop(start, stop) as number:
            image, group, band = split(fn, number, sizes)
            n = fn.value(f"mul nsw i64 {image}, {plan.images}")
            at = fn.value(f"mul nsw i64 {band}, {plan.band}")
            a = offset(fn, "%a", conv.lhs_dtype, group, conv.lhs_group)
            a = offset(fn, a, conv.lhs_dtype, n, conv.lhs_batch)
            row = fn.value(f"mul nsw i64 {at}, {first_axis.stride}")
            if plan.copies:
                with fn.loop("0", str(plan.images)) as i:
                    near = offset(fn, a, conv.lhs_dtype, i, conv.lhs_batch)
                    far = offset(fn, copy, self.dtype, i, plan.copy_size)
                    fn.do(f"call void @{self.name}.copy(ptr {near}, ptr {far}, i64 {row})")
                a = copy
            else:
                a = self._past_padding(fn, a)
                a = offset(fn, a, self.dtype, row, first_axis.lhs)
            left = fn.value(f"sub nsw i64 {first_axis.places}, {at}")
            count = clamped(fn, left, plan.band)
            with fn.loop("0", str(self.all_panels)) as panel:
                b = fn.value(f"mul nsw i64 {group}, {self.all_panels}")
                b = fn.value(f"add nsw i64 {b}, {panel}")
                b = offset(fn, "%shared", self.dtype, b, self.panel_size)
                self._write_rows(fn, (a, b, "%own"), (group, n, at, count), panel)
        fn.finish()

    def _of_outputs(self, fn: Function, a: str, panel: str) -> str:
        """The elements that the outputs of a panel read, where each reads its own."""
        if not self.conv.lhs_output:
            return a
        return offset(fn, a, self.dtype, panel, self.plan.width)

    def _past_padding(self, fn: Function, a: str) -> str:
        """Where the first window begins in the operand itself."""
        skipped = sum(-axis.low * axis.lhs for axis in self.conv.axes)
        return offset(fn, a, self.dtype, "1", skipped) if skipped else a

    def _write_rows(
        self,
        fn: Function,
        pointers: tuple[str, str, str],
        position: tuple[str, str, str, str],
        panel: str,
    ) -> None:
        """All tiles of a band, for a panel of outputs."""
        a, b, sums = pointers
        a = self._of_outputs(fn, a, panel)
        group, n, at, count = position
        index = [n] + ["0"] * len(self.conv.axes)
        index[1] = at
        first = "0"
        with ExitStack() as stack:
            for number, row in reversed(list(enumerate(self.plan.rows))):
                size = count if row.axis == 0 else str(row.size)
                i = stack.enter_context(fn.loop("0", size, str(row.tile)))
                a = offset(fn, a, self.dtype, i, row.stride)
                axis = row.axis + 1
                if index[axis] == "0":
                    index[axis] = i
                else:
                    index[axis] = fn.value(f"add nsw i64 {index[axis]}, {i}")
                if number == 0:
                    first = index[axis] if row.axis == 0 else i
            tile = self._tile(fn, first, panel)
            fn.do(f"call void {tile}(ptr {a}, ptr {b}, ptr {sums})")
            self._finish(fn, sums, first, index, group, panel)

    # By inputs

    def write_sums(self) -> None:
        """A thread's share of all tiles, for one input after the other."""
        conv, plan = self.conv, self.plan
        work = plan.depth * self.tile_rows * len(self._pieces(self.widths[0]))
        quickly = work >= _LONG_TILE
        fn = Function(self.module, f"{self.name}.then", self._parameters(), quickly=quickly)
        packed = offset(fn, "%own", self.dtype, str(self.copy_room))
        tiles = self.all_panels * self.tiles
        start, stop = share(fn, conv.groups * plan.chunks * tiles)
        first = fn.value(f"udiv i64 {start}, {tiles}")
        last = fn.value(f"add nsw i64 {stop}, {tiles - 1}")
        last = fn.value(f"udiv i64 {last}, {tiles}")
        chunk_size = -(-conv.inputs // plan.chunks)
        with fn.loop(first, last) as part:
            group, chunk = split(fn, part, [conv.groups, plan.chunks])
            before = fn.value(f"mul nsw i64 {part}, {tiles}")
            low = clamped(fn, fn.value(f"sub nsw i64 {start}, {before}"), tiles)
            high = clamped(fn, fn.value(f"sub nsw i64 {stop}, {before}"), tiles)
            sums = offset(fn, "%shared", self.dtype, before, self.sums_size)
            begin = fn.value(f"mul nsw i64 {chunk}, {chunk_size}")
            end = fn.value(f"add nsw i64 {begin}, {chunk_size}")
            end = clamped(fn, end, conv.inputs)
            a = offset(fn, "%a", conv.lhs_dtype, group, conv.lhs_group)
            b = offset(fn, "%b", conv.rhs_dtype, group, conv.rhs_group)
            with fn.loop(begin, end) as c:
                near = offset(fn, a, conv.lhs_dtype, c, conv.lhs_input)
                far = offset(fn, b, conv.rhs_dtype, c, conv.rhs_input)
                if plan.copies:
                    fn.do(f"call void @{self.name}.copy(ptr {near}, ptr %own, i64 0)")
                    near = "%own"
                else:
                    near = self._past_padding(fn, near)
                if plan.b_packed:
                    with fn.loop("0", str(self.all_panels)) as panel:
                        to = offset(fn, packed, self.dtype, panel, self.panel_size)
                        self._pack(fn, far, to, panel)
                    far = packed
                resume = fn.value(f"icmp sgt i64 {c}, {begin}")
                with fn.loop(low, high) as number:
                    index, panel = self._tile_index(fn, number)
                    self._add_tile(fn, (near, far, sums), (number, panel, index), resume)
        fn.finish()

    def _tile_index(self, fn: Function, number: str) -> tuple[list[str], str]:
        """Where a tile begins along each of the rows, from the fastest on, and its panel."""
        counts = [-(-r.size // r.tile) for r in reversed(self.plan.rows)]
        panel, *found = split(fn, number, [self.all_panels, *counts])
        pairs = zip(reversed(found), self.plan.rows, strict=True)
        return [times(fn, i, r.tile) for i, r in pairs], panel

    def _add_tile(
        self,
        fn: Function,
        pointers: tuple[str, str, str],
        which: tuple[str, str, list[str]],
        resume: str,
    ) -> None:
        a, b, sums = pointers
        number, panel, index = which
        a = self._of_outputs(fn, a, panel)
        for i, row in zip(index, self.plan.rows, strict=True):
            a = offset(fn, a, self.dtype, i, row.stride)
        size = self.panel_size if self.plan.b_packed else self.plan.width
        b = offset(fn, b, self.dtype, panel, size)
        to = offset(fn, sums, self.dtype, number, self.sums_size)
        tile = self._tile(fn, index[0] if index else "0", panel)
        fn.do(f"call void {tile}(ptr {a}, ptr {b}, ptr {to}, i1 {resume})")

    def write_results(self) -> None:
        """A thread's share of the tiles: their sums of all chunks, handed to the epilogue."""
        conv, plan = self.conv, self.plan
        fn = Function(self.module, f"{self.name}.last", self._parameters())
        tiles = self.all_panels * self.tiles
        start, stop = share(fn, conv.groups * tiles)
        chunk_size = tiles * self.sums_size
        with fn.loop(start, stop) as unit:
            group, number = split(fn, unit, [conv.groups, tiles])
            sums = offset(fn, "%shared", self.dtype, group, plan.chunks * chunk_size)
            sums = offset(fn, sums, self.dtype, number, self.sums_size)
            if plan.chunks > 1:
                self._add_chunks(fn, sums, chunk_size)
            place, panel = self._tile_index(fn, number)
            index = ["0"] * self.batch_axes
            for i, row in zip(place, plan.rows, strict=True):
                index[row.axis + 1] = i
            self._finish(fn, sums, place[0] if place else "0", index, group, panel)
        fn.finish()

    def _add_chunks(self, fn: Function, sums: str, chunk_size: int) -> None:
        """Add what the other chunks have to the sums of the first, in order."""
        kind = type_of(self.dtype, self.lanes)
        with fn.loop("0", str(self.sums_size), str(self.lanes)) as i:
            at = offset(fn, sums, self.dtype, i)
            total = load(fn, at, self.dtype, self.lanes)
            with fn.carrying("1", str(self.plan.chunks), "1", [(kind, total)]) as (n, now, then):
                more = offset(fn, at, self.dtype, n, chunk_size)
                x = load(fn, more, self.dtype, self.lanes)
                then[0] = fn.value(f"fadd {kind} {now[0]}, {x}")
            store(fn, then[0], at, self.dtype, self.lanes)

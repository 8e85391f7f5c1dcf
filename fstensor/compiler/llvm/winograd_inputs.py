"""Winograd's algorithm for one input after the other: see `winograd`."""

from __future__ import annotations

from math import prod
from typing import final

from fstensor.compiler.llvm.conv_copy import write_copy
from fstensor.compiler.llvm.conv_plan import rounded_up
from fstensor.compiler.llvm.indices import (
    at_most,
    clamped,
    divided,
    minus,
    plus,
    share,
    split,
    times,
)
from fstensor.compiler.llvm.packing import offset
from fstensor.compiler.llvm.text import Function
from fstensor.compiler.llvm.vector import type_of
from fstensor.compiler.llvm.winograd_common import WinogradWriter
from fstensor.compiler.llvm.winograd_direct import DirectSum
from fstensor.compiler.llvm.winograd_plan import POINTS, PRODUCTS
from fstensor.compiler.llvm.winograd_transforms import (
    Tiles,
    load_square,
    of_kernel,
    of_products,
    store_square,
    transformed,
    vectors,
    write_tiles,
)


@final
class ByInputs(WinogradWriter):
    """Tiles cover the window, and sums stay in memory."""

    def make_room(self) -> None:
        plan, conv, room = self.plan, self.conv, self.room
        first, second = plan.axes
        self.blocks = -(-conv.batch // plan.block)
        sums = PRODUCTS * plan.row_blocks * plan.rows * plan.b_row
        self.sums_size = rounded_up(sums, self.line)
        self.copy_at = room(PRODUCTS * self.tiles * plan.a_row)
        self.kernel_at = self.copy_at + self.room_of_copy(plan.copies)
        kernel_copy = self.room_of_copy(plan.kernel_copies)
        self.kernel_copy_at = self.kernel_at + room(PRODUCTS * self.tiles * plan.b_row)
        # At last there are copies for direct sums, and results of an entry of the batch.
        self.results_at = kernel_copy
        self.result_rows = first.results * second.results
        results = room(self.result_rows * plan.b_row)
        self.own_size = max(self.kernel_copy_at + kernel_copy, self.results_at + results)
        parts = conv.groups * self.blocks * plan.panels * plan.chunks
        self.shared_size = parts * self.sums_size

    def write(self) -> None:
        super().write()
        plan, conv = self.plan, self.conv
        if plan.kernel_copies:
            name, dtypes = f"{self.name}.kernel_copy", (conv.rhs_dtype, conv.dtype)
            write_copy(self.module, name, dtypes, plan.kernel_copies, True, self.lanes)
        self._write_kernel_tiles()
        self._write_again()
        self._write_finish()
        self._write_sums()
        self._write_results()

    def _write_kernel_tiles(self) -> None:
        """Tiles of the kernel, or its copy, where these cover it."""
        plan, conv = self.plan, self.conv
        tiles = Tiles(
            plan.axes,
            channels=plan.width,
            strides=self.strides(plan.kernel_copies, [a.rhs for a in conv.axes]),
            sizes=[a.taps for a in plan.axes],
            row=plan.b_row,
            point=self.tiles * plan.b_row,
            exact=not plan.kernel_copies,
        )
        fn = Function(self.module, f"{self.name}.kernel", ["ptr noalias %from", "ptr noalias %to"])
        write_tiles(fn, tiles, self.dtype, self.lanes, of_kernel)
        fn.finish()

    def _entry(self, fn: Function, block: str) -> str:
        """The first entry of the batch in a block."""
        return at_most(fn, times(fn, block, self.plan.block), self.conv.batch - self.plan.block)

    def _write_sums(self) -> None:
        """A thread's share of the sums, each of all images of a chunk."""
        conv, plan = self.conv, self.plan
        fn = Function(self.module, f"{self.name}.then", self.parameters())
        sizes = [conv.groups, self.blocks, plan.panels, plan.chunks]
        start, stop = share(fn, prod(sizes))
        number_of_images = conv.inputs // plan.images
        chunk_size = -(-number_of_images // plan.chunks)
        with fn.loop(start, stop) as number:
            group, block, panel, chunk = split(fn, number, sizes)
            sums = offset(fn, "%shared", self.dtype, number, self.sums_size)
            a = offset(fn, "%a", conv.lhs_dtype, group, conv.lhs_group)
            a = offset(fn, a, conv.lhs_dtype, self._entry(fn, block), conv.lhs_batch)
            b = offset(fn, "%b", conv.rhs_dtype, group, conv.rhs_group)
            b = offset(fn, b, conv.rhs_dtype, self.output(fn, panel), conv.rhs_output)
            begin = times(fn, chunk, chunk_size)
            end = clamped(fn, plus(fn, begin, str(chunk_size)), number_of_images)
            with fn.loop(begin, end) as image, fn.loop("0", str(plan.bands)) as band:
                later = fn.value(f"icmp sgt i64 {image}, {begin}")
                follows = fn.value(f"icmp sgt i64 {band}, 0")
                resume = fn.value(f"or i1 {later}, {follows}")
                at = times(fn, band, plan.axes[0].own)
                c = times(fn, image, plan.images)
                near = offset(fn, a, conv.lhs_dtype, c, conv.lhs_input)
                self.take_operand(fn, near, conv.lhs_input, at)
                far = offset(fn, b, conv.rhs_dtype, c, conv.rhs_input)
                self._take_kernel(fn, far, at)
                self._add_products(fn, sums, resume)
        fn.finish()

    def _take_kernel(self, fn: Function, far: str, at: str) -> None:
        """Transform the tiles of the kernel that belong to the images in work."""
        conv, plan = self.conv, self.plan
        with fn.loop("0", str(plan.images)) as i:
            image = offset(fn, far, conv.rhs_dtype, i, conv.rhs_input)
            if plan.kernel_copies:
                copy = offset(fn, "%own", self.dtype, str(self.kernel_copy_at))
                fn.do(f"call void @{self.name}.kernel_copy(ptr {image}, ptr {copy}, i64 {at})")
                image = copy
            else:
                image = offset(fn, image, self.dtype, at, conv.axes[0].rhs)
            to = offset(fn, "%own", self.dtype, str(self.kernel_at))
            to = offset(fn, to, self.dtype, i, plan.band_tiles * plan.b_row)
            fn.do(f"call void @{self.name}.kernel(ptr {image}, ptr {to})")

    def _add_products(self, fn: Function, sums: str, resume: str) -> None:
        plan = self.plan
        kernel = offset(fn, "%own", self.dtype, str(self.kernel_at))
        with fn.loop("0", str(PRODUCTS)) as f:
            a = offset(fn, "%own", self.dtype, f, self.tiles * plan.a_row)
            b = offset(fn, kernel, self.dtype, f, self.tiles * plan.b_row)
            to = offset(fn, sums, self.dtype, f, plan.row_blocks * plan.rows * plan.b_row)
            with fn.loop("0", str(plan.row_blocks)) as block:
                near = offset(fn, a, self.dtype, self.first_row(fn, block))
                far = offset(fn, to, self.dtype, block, plan.rows * plan.b_row)
                pointers = f"ptr {near}, ptr {b}, ptr {far}"
                fn.do(f"call void @{self.name}.tile({pointers}, i1 {resume})")

    def _write_finish(self) -> None:
        """Functions that hand the results of an entry of the batch to the epilogue."""
        plan = self.plan
        first, second = plan.axes
        for number, columns in enumerate(self.columns()):
            parameters = ["ptr %results", *self.finish_parameters()]
            fn = Function(self.module, f"{self.name}.finish{number}", parameters)
            with fn.loop("0", str(first.results)) as u, fn.loop("0", str(second.results)) as v:
                place = plus(fn, times(fn, u, second.results), v)
                line = offset(fn, "%results", self.dtype, place, plan.b_row)
                self.hand_on(fn, line, ["%n", u, v], columns)
            fn.finish()

    def _write_again(self) -> None:
        """Add `name.again(ptr %from, ptr %kernel, ptr %to, ptr %own)`: direct sums for an entry."""
        plan, conv = self.plan, self.conv
        first, second = plan.axes
        copies = plan.kernel_copies
        memory = conv.dtype if copies else conv.rhs_dtype
        strides = self.strides(copies, [a.rhs for a in conv.axes])
        parameters = ["ptr %from", "ptr %kernel", "ptr %to", "ptr %own"]
        fn = Function(self.module, f"{self.name}.again", parameters)
        sums = DirectSum(fn, conv, self.target, plan.width)
        with fn.loop("0", str(self.result_rows)) as row:
            sums.clear(offset(fn, "%to", self.dtype, row, plan.b_row))
        with fn.loop("0", str(conv.inputs)) as c, fn.loop("0", str(plan.bands)) as band:
            near = offset(fn, "%from", conv.lhs_dtype, c, conv.lhs_input)
            kernel = offset(fn, "%kernel", conv.rhs_dtype, c, conv.rhs_input)
            at = times(fn, band, first.own)
            if copies:
                fn.do(f"call void @{self.name}.kernel_copy(ptr {kernel}, ptr %own, i64 {at})")
                kernel = "%own"
            else:
                kernel = offset(fn, kernel, memory, at, strides[0])
            left = clamped(fn, fn.value(f"sub nsw i64 {conv.axes[0].window}, {at}"), first.own)
            with fn.loop("0", left) as i, fn.loop("0", str(conv.axes[1].window)) as j:
                line = offset(fn, kernel, memory, i, strides[0])
                line = offset(fn, line, memory, j, strides[1])
                window = (plus(fn, at, i), j)
                with fn.loop("0", str(first.results)) as u, fn.loop("0", str(second.results)) as v:
                    place = plus(fn, times(fn, u, second.results), v)
                    far = offset(fn, "%to", self.dtype, place, plan.b_row)
                    element = sums.element(near, (u, v), window)
                    sums.add(element, line, memory, far, exact=not copies)
        fn.finish()

    def _write_results(self) -> None:
        """A thread's share of the results: those of the sums of all chunks."""
        conv, plan = self.conv, self.plan
        fn = Function(self.module, f"{self.name}.last", self.parameters())
        sizes = [conv.groups, conv.batch, plan.panels]
        start, stop = share(fn, prod(sizes))
        results = offset(fn, "%own", self.dtype, str(self.results_at))
        with fn.loop(start, stop) as number:
            group, n, panel = split(fn, number, sizes)
            block, _ = divided(fn, n, plan.block)
            entry = minus(fn, n, self._entry(fn, block))
            tile, _ = divided(fn, entry, plan.rows)
            row = minus(fn, entry, self.first_row(fn, tile))
            row = plus(fn, times(fn, tile, plan.rows), row)
            part = plus(fn, times(fn, group, self.blocks), block)
            part = plus(fn, times(fn, part, plan.panels), panel)
            sums = offset(fn, "%shared", self.dtype, part, plan.chunks * self.sums_size)
            self._finish_entry(fn, offset(fn, sums, self.dtype, row, plan.b_row), results)
            output = self.output(fn, panel)
            self._check_entry(fn, (group, n, output), results)
            output = plus(fn, times(fn, group, conv.outputs), output)
            where = ", ".join([f"i64 {n}", "i64 0", f"i64 {output}", *self.extra])
            fn.do(f"call void {self.finisher(fn, panel)}(ptr {results}, {where})")
        fn.finish()

    def _check_entry(self, fn: Function, which: tuple[str, str, str], results: str) -> None:
        """Compute the results of a group, entry, and panel from an output on again, if need be."""
        conv = self.conv
        group, n, output = which
        with fn.only_if(fn.value(f"call i1 @{self.name}.odd(ptr {results})")):
            near = offset(fn, "%a", conv.lhs_dtype, group, conv.lhs_group)
            near = offset(fn, near, conv.lhs_dtype, n, conv.lhs_batch)
            kernel = offset(fn, "%b", conv.rhs_dtype, group, conv.rhs_group)
            kernel = offset(fn, kernel, conv.rhs_dtype, output, conv.rhs_output)
            taken = f"ptr {near}, ptr {kernel}, ptr {results}, ptr %own"
            fn.do(f"call void @{self.name}.again({taken})")

    def _finish_entry(self, fn: Function, sums: str, results: str) -> None:
        """The results of a row of sums, after those of the other chunks are added, in order."""
        plan = self.plan
        step = plan.row_blocks * plan.rows * plan.b_row
        steps, size = (POINTS * step, step), (POINTS, POINTS)

        def some(at: str, lanes: int, mask: str | None) -> None:
            kind, near = type_of(self.dtype, lanes), offset(fn, sums, self.dtype, at)
            total = load_square(fn, near, self.dtype, steps, size, lanes)
            carried = [(kind, x) for line in total for x in line]
            with fn.carrying("1", str(plan.chunks), "1", carried) as (chunk, now, then):
                more = offset(fn, near, self.dtype, chunk, self.sums_size)
                loaded = load_square(fn, more, self.dtype, steps, size, lanes)
                for k, x in enumerate([x for line in loaded for x in line]):
                    then[k] = fn.value(f"fadd {kind} {now[k]}, {x}")
            values = [then[u * POINTS : (u + 1) * POINTS] for u in range(POINTS)]
            values = transformed(fn, kind, values, *map(of_products, plan.axes))
            strides = (plan.axes[1].results * plan.b_row, plan.b_row)
            to = offset(fn, results, self.dtype, at)
            store_square(fn, values, to, self.dtype, strides, lanes)

        vectors(fn, plan.width, self.dtype, self.lanes, some)

"""Winograd's algorithm for one image after the other: see `winograd`."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import final

from fstensor.compiler.llvm.conv_copy import write_panel_copy
from fstensor.compiler.llvm.conv_plan import rounded_up
from fstensor.compiler.llvm.conv_turned import Turned
from fstensor.compiler.llvm.indices import (
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
    load_square,
    of_kernel,
    of_products,
    store_square,
    tile_start,
    transformed,
    vectors,
)


@final
class ByImages(WinogradWriter):
    """Tiles cover the results."""

    def make_room(self) -> None:
        plan, conv, room = self.plan, self.conv, self.room
        first, second = plan.axes
        self.kernel_size = rounded_up(PRODUCTS * conv.inputs * plan.b_row, self.line)
        depth = rounded_up(first.taps * second.taps * conv.inputs, self.lanes)
        self.packed_size = rounded_up(depth * plan.b_row, self.line)
        self.packed_at = conv.groups * plan.panels * self.kernel_size
        # The results of a tile of sums, or all in work.
        self.result_rows = plan.rows * first.results * second.results
        if self.along is not None:
            self.result_rows = plan.images * first.own * second.own
        self.copy_at = room(PRODUCTS * self.tiles * plan.a_row)
        self.products_at = self.copy_at + self.room_of_copy(plan.copies)
        self.results_at = self.products_at + room(PRODUCTS * plan.rows * plan.b_row)
        self.square_at = self.results_at + room(self.result_rows * plan.b_row)
        self.own_size = self.square_at + self.lanes * self.lanes
        self.shared_size = self.packed_at + room(conv.groups * plan.panels * self.packed_size)

    def write(self) -> None:
        super().write()
        self._write_kernel()
        self._write_products()
        self._write_again()
        if self.along is None:
            self._write_finish()
        else:
            self._write_finish_along()
        self._write_images()

    def _write_kernel(self) -> None:
        """The whole kernel, for all threads: packed, then transformed."""
        plan, conv = self.plan, self.conv
        write_panel_copy(
            self.module, f"{self.name}.pack", conv, [(p.size, p.stride) for p in plan.packing],
            self.lanes, (plan.width, plan.b_row), self.packed_size,
        )  # fmt: skip
        *window, of_input = self._packed_strides()
        taps, steps = [a.taps for a in plan.axes], conv.inputs * plan.b_row
        fn = Function(self.module, f"{self.name}.first", self.parameters())
        start, stop = share(fn, conv.groups * plan.panels)
        with fn.loop(start, stop) as number:
            group, panel = split(fn, number, [conv.groups, plan.panels])
            near = offset(fn, "%b", conv.rhs_dtype, group, conv.rhs_group)
            near = offset(fn, near, conv.rhs_dtype, self.output(fn, panel), conv.rhs_output)
            packed = self._packed(fn, number)
            fn.do(f"call void @{self.name}.pack(ptr {near}, ptr {packed}, i64 1)")
            far = offset(fn, "%shared", self.dtype, number, self.kernel_size)
            with fn.loop("0", str(conv.inputs)) as c:
                row = offset(fn, packed, self.dtype, c, of_input)
                to = offset(fn, far, self.dtype, c, plan.b_row)

                def some(at: str, lanes: int, mask: str | None) -> None:
                    begin = offset(fn, row, self.dtype, at)
                    values = load_square(fn, begin, self.dtype, window, taps, lanes)
                    kind = type_of(self.dtype, lanes)
                    values = transformed(fn, kind, values, of_kernel, of_kernel)
                    end = offset(fn, to, self.dtype, at)
                    store_square(fn, values, end, self.dtype, (POINTS * steps, steps), lanes)

                vectors(fn, plan.width, self.dtype, self.lanes, some)
        fn.finish()

    def _packed(self, fn: Function, number: str) -> str:
        """The packed kernel of a panel."""
        packed = offset(fn, "%shared", self.dtype, str(self.packed_at))
        return offset(fn, packed, self.dtype, number, self.packed_size)

    def _packed_strides(self) -> list[int]:
        """How far apart neighbours along the window's axes, and inputs, are in a packed kernel."""
        found, step = dict[int, int](), self.plan.b_row
        for level in reversed(self.plan.packing):
            found[level.axis] = step
            step *= level.size
        return [found[n] for n in (0, 1, -1)]

    def _write_products(self) -> None:
        """Add `name.results(ptr %products, ptr %to, i64 %first)`: those of a tile of sums."""
        plan = self.plan
        first, second = plan.axes
        strides = self._result_strides()
        parameters = ["ptr noalias %products", "ptr noalias %to", "i64 %first"]
        fn = Function(self.module, f"{self.name}.results", parameters)
        with fn.loop("0", str(plan.rows)) as row:
            near = offset(fn, "%products", self.dtype, row, plan.b_row)
            image, place = self._place(fn, fn.value(f"add nsw i64 %first, {row}"))
            far = self._result(fn, row, image, place)

            def some(at: str, lanes: int, mask: str | None) -> None:
                begin, step = offset(fn, near, self.dtype, at), plan.rows * plan.b_row
                steps = (POINTS * step, step)
                values = load_square(fn, begin, self.dtype, steps, (POINTS, POINTS), lanes)
                kind = type_of(self.dtype, lanes)
                values = transformed(fn, kind, values, of_products(first), of_products(second))
                to = offset(fn, far, self.dtype, at)
                store_square(fn, values, to, self.dtype, strides, lanes)

            vectors(fn, plan.width, self.dtype, self.lanes, some)
        fn.finish()

    def _result(self, fn: Function, row: str, image: str, place: Sequence[str]) -> str:
        """Where the results of a tile lie after %to, which has a place in the images in work.

        They lie behind each other by tile, or, where they are to be handed on along an axis, as the
        places do.
        """
        first, second = self.plan.axes
        if self.along is None:
            return offset(
                fn, "%to", self.dtype, row, first.results * second.results * self.plan.b_row
            )
        at = plus(fn, times(fn, image, first.own), place[0])
        at = plus(fn, times(fn, at, second.own), place[1])
        return offset(fn, "%to", self.dtype, at, self.plan.b_row)

    def _result_strides(self) -> tuple[int, int]:
        """How far apart the results of a tile lie."""
        first, second = self.plan.axes
        if self.along is None:
            return second.results * self.plan.b_row, self.plan.b_row
        return first.step * second.own * self.plan.b_row, second.step * self.plan.b_row

    def _place(self, fn: Function, tile: str) -> tuple[str, list[str]]:
        """The image of a tile among those in work, and its first results within the band."""
        first, second = self.plan.axes
        rest, j = divided(fn, tile, second.tiles)
        image, i = divided(fn, rest, first.tiles) if self.plan.images > 1 else ("0", rest)
        return image, [tile_start(fn, i, first), tile_start(fn, j, second)]

    def _write_again(self) -> None:
        """Add `name.again(ptr %from, ptr %packed, ptr %to, i64 %first, i64 %at)`: direct sums.

        They take the places of the results of a tile of sums, or of all tiles in work.
        """
        plan, conv = self.plan, self.conv
        first, second = plan.axes
        parameters = ["ptr %from", "ptr %packed", "ptr %to", "i64 %first", "i64 %at"]
        fn = Function(self.module, f"{self.name}.again", parameters)
        sums = DirectSum(fn, conv, self.target, plan.width)
        strides, packed = self._result_strides(), self._packed_strides()
        rows = plan.rows if self.along is None else self.tiles
        with fn.loop("0", str(rows)) as row:
            image, begin = self._place(fn, fn.value(f"add nsw i64 %first, {row}"))
            near = offset(fn, "%from", conv.lhs_dtype, image, conv.lhs_batch)
            results = self._result(fn, row, image, begin)
            with fn.loop("0", str(first.results)) as u, fn.loop("0", str(second.results)) as v:
                y = fn.value(f"add nsw i64 %at, {plus(fn, begin[0], times(fn, u, first.step))}")
                x = plus(fn, begin[1], times(fn, v, second.step))
                far = offset(fn, results, self.dtype, u, strides[0])
                far = offset(fn, far, self.dtype, v, strides[1])
                sums.clear(far)
                with fn.loop("0", str(first.taps)) as i, fn.loop("0", str(second.taps)) as j:
                    line = offset(fn, "%packed", self.dtype, i, packed[0])
                    line = offset(fn, line, self.dtype, j, packed[1])
                    element, inside = sums.element(near, (y, x), (i, j))
                    with fn.loop("0", str(conv.inputs)) as c:
                        one = offset(fn, element, conv.lhs_dtype, c, conv.lhs_input)
                        kernel = offset(fn, line, self.dtype, c, packed[2])
                        sums.add((one, inside), kernel, self.dtype, far, exact=False)
        fn.finish()

    def _write_finish(self) -> None:
        """Functions that hand the results of a tile of sums to the epilogue, from row %skip on."""
        plan = self.plan
        first, second = plan.axes
        for number, columns in enumerate(self.columns()):
            parameters = ["ptr %results", "i64 %skip", "i64 %first", *self.finish_parameters()]
            fn = Function(self.module, f"{self.name}.finish{number}", parameters)
            with fn.loop("%skip", str(plan.rows)) as row:
                image, place = self._place(fn, fn.value(f"add nsw i64 %first, {row}"))
                y = fn.value(f"add nsw i64 %at, {place[0]}")
                size = first.results * second.results * plan.b_row
                near = offset(fn, "%results", self.dtype, row, size)
                n = plus(fn, "%n", image)
                with fn.loop("0", self._existing(fn, y, 0)) as u:
                    here = plus(fn, y, times(fn, u, first.step))
                    line = offset(fn, near, self.dtype, u, second.results * plan.b_row)
                    with fn.loop("0", self._existing(fn, place[1], 1)) as v:
                        x = plus(fn, place[1], times(fn, v, second.step))
                        self.hand_on(
                            fn, offset(fn, line, self.dtype, v, plan.b_row), [n, here, x], columns
                        )
            fn.finish()

    def _existing(self, fn: Function, first: str, number: int) -> str:
        """How many of a tile's results along an axis there are."""
        axis, places = self.plan.axes[number], self.conv.axes[number].places
        bands = 1 if number else self.plan.bands
        if axis.own * bands == places:
            return str(axis.results)
        left = fn.value(f"sub nsw i64 {places + axis.step - 1}, {first}")
        left = fn.value(f"sdiv i64 {left}, {axis.step}") if axis.step > 1 else left
        return clamped(fn, left, axis.results)

    def _write_finish_along(self) -> None:
        """Functions that hand on all results of the panel of a band, along the second axis."""
        for number, columns in enumerate(self.columns()):
            parameters = ["ptr %results", "ptr %square", *self.finish_parameters()]
            fn = Function(self.module, f"{self.name}.finish{number}", parameters)
            self._finish_along(fn, columns)
            fn.finish()

    def _finish_along(self, fn: Function, columns: tuple[int, int]) -> None:
        plan, conv = self.plan, self.conv
        first, second = plan.axes
        turned = Turned(self.dtype, self.lanes, plan.b_row, 2, "%square", self.epilogue)
        outputs = (plus(fn, "%output", str(columns[0])), columns[1])
        count = clamped(fn, fn.value(f"sub nsw i64 {conv.axes[0].places}, %at"), first.own)
        with fn.loop("0", str(plan.images)) as image, fn.loop("0", count) as y:
            row = plus(fn, times(fn, image, first.own), y)
            line = offset(fn, "%results", self.dtype, row, second.own * plan.b_row)
            line = offset(fn, line, self.dtype, str(columns[0]))
            index = [plus(fn, "%n", image), plus(fn, "%at", y)]

            def some(x: str, places: int) -> None:
                near = offset(fn, line, self.dtype, x, plan.b_row)
                turned.write(fn, near, places, outputs, [*index, x])

            whole, rest = divmod(conv.axes[1].places, self.lanes)
            if whole:
                with fn.loop("0", str(whole * self.lanes), str(self.lanes)) as x:
                    some(x, self.lanes)
            if rest:
                some(str(whole * self.lanes), rest)

    def _write_images(self) -> None:
        """A thread's share of images, or of bands of them."""
        conv, plan = self.conv, self.plan
        fn = Function(self.module, f"{self.name}.then", self.parameters())
        # Groups of an image follow each other: they may lie in the same parts of memory.
        sizes = [conv.batch // plan.images, conv.groups, plan.bands]
        start, stop = share(fn, prod(sizes))
        with fn.loop(start, stop) as number:
            image, group, band = split(fn, number, sizes)
            n = times(fn, image, plan.images)
            at = times(fn, band, plan.axes[0].own)
            near = offset(fn, "%a", conv.lhs_dtype, group, conv.lhs_group)
            near = offset(fn, near, conv.lhs_dtype, n, conv.lhs_batch)
            self.take_operand(fn, near, conv.lhs_batch, at)
            with fn.loop("0", str(plan.panels)) as panel:
                index = plus(fn, times(fn, group, plan.panels), panel)
                kernel = offset(fn, "%shared", self.dtype, index, self.kernel_size)
                packed = self._packed(fn, index)
                self._multiply(fn, (near, kernel, packed), group, n, at, panel)
        fn.finish()

    def _multiply(
        self,
        fn: Function,
        pointers: tuple[str, str, str],
        group: str,
        n: str,
        at: str,
        panel: str,
    ) -> None:
        """The results of all tiles in work, for a panel."""
        plan, conv = self.plan, self.conv
        near, kernel, packed = pointers
        products = offset(fn, "%own", self.dtype, str(self.products_at))
        results = offset(fn, "%own", self.dtype, str(self.results_at))
        output = plus(fn, times(fn, group, conv.outputs), self.output(fn, panel))
        finish = self.finisher(fn, panel)
        where = ", ".join([f"i64 {n}", f"i64 {at}", f"i64 {output}", *self.extra])

        def check(first: str) -> None:
            with fn.only_if(fn.value(f"call i1 @{self.name}.odd(ptr {results})")):
                taken = f"ptr {near}, ptr {packed}, ptr {results}, i64 {first}, i64 {at}"
                fn.do(f"call void @{self.name}.again({taken})")

        with fn.loop("0", str(plan.row_blocks)) as block:
            first = self.first_row(fn, block)
            rows = offset(fn, "%own", self.dtype, first, plan.a_row)
            with fn.loop("0", str(PRODUCTS)) as f:
                a = offset(fn, rows, self.dtype, f, self.tiles * plan.a_row)
                b = offset(fn, kernel, self.dtype, f, conv.inputs * plan.b_row)
                to = offset(fn, products, self.dtype, f, plan.rows * plan.b_row)
                fn.do(f"call void @{self.name}.tile(ptr {a}, ptr {b}, ptr {to})")
            taken = f"ptr {products}, ptr {results}, i64 {first}"
            fn.do(f"call void @{self.name}.results({taken})")
            if self.along is None:
                check(first)
                skip = minus(fn, times(fn, block, plan.rows), first)
                fn.do(f"call void {finish}(ptr {results}, i64 {skip}, i64 {first}, {where})")
        if self.along is not None:
            check("0")
            square = offset(fn, "%own", self.dtype, str(self.square_at))
            fn.do(f"call void {finish}(ptr {results}, ptr {square}, {where})")

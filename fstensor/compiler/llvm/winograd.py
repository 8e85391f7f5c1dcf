"""Convolutions as sixteen products of matrices, after `winograd_plan`, as LLVM functions.

They are the functions that `conv` describes. By images, the kernel is transformed first, once, for
all threads. A thread then takes some images, or bands of one: it transforms the operand's tiles,
multiplies a few of them at a time with the kernel, and makes results of the products. By inputs, it
transforms tiles of operand and kernel, and adds their products to sums that stay in memory; results
are made of the sums of all threads at last.

The last panel of outputs, the last rows of a product, and the last block of a batch overlap those
before where they would not be full. What is computed twice is handed on once. Results that are not
finite are computed again, directly: see `winograd_direct`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from fstensor.compiler.convolution import Convolution
from fstensor.compiler.llvm.conv_copy import write_copy, write_panel_copy
from fstensor.compiler.llvm.conv_plan import Copied, Level, in_pieces, rounded_up
from fstensor.compiler.llvm.conv_tile import ConvTile, write_conv_tile
from fstensor.compiler.llvm.conv_turned import Epilogue, Turned
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
from fstensor.compiler.llvm.packing import constant_mask, load, offset
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.vector import type_of
from fstensor.compiler.llvm.winograd_direct import DirectSum, unless, write_check
from fstensor.compiler.llvm.winograd_plan import POINTS, PRODUCTS, WinogradPlan
from fstensor.compiler.llvm.winograd_transforms import (
    load_square,
    of_kernel,
    of_operand,
    of_products,
    store_square,
    tile_start,
    transformed,
    vectors,
    write_tiles,
)

# Multiplications of vectors that are worth a round of a loop.
_LEAST_WORK = 16


def write_winograd(
    module: Module,
    name: str,
    conv: Convolution,
    plan: WinogradPlan,
    target: Target,
    extra: Sequence[str],
    epilogue: Epilogue,
    along: int | None,
) -> None:
    """Add the functions that `conv` describes: `name.first` and `name.then`, or that and `last`."""
    writer = _Writer(module, name, conv, plan, target, extra, epilogue, along)
    writer.write()


def room_of_winograd(conv: Convolution, plan: WinogradPlan, target: Target) -> tuple[int, int]:
    """Bytes of the workspace, as `conv.room` tells them."""
    writer = _Writer(Module(), "", conv, plan, target, [], lambda *_: None, 1)
    return writer.shared_bytes, writer.own_bytes


class _Writer:
    def __init__(
        self,
        module: Module,
        name: str,
        conv: Convolution,
        plan: WinogradPlan,
        target: Target,
        extra: Sequence[str],
        epilogue: Epilogue,
        along: int | None,
    ) -> None:
        self.module, self.name, self.conv, self.plan = module, name, conv, plan
        self.target, self.extra, self.epilogue, self.along = target, list(extra), epilogue, along
        self.dtype, self.lanes = conv.dtype, target.lanes(conv.dtype)
        self.tiles = plan.images * plan.band_tiles
        self.blocks = -(-conv.batch // plan.block) if plan.by_inputs else 0
        self._make_room()

    def _make_room(self) -> None:
        """Decide where things lie in the workspace, in elements."""
        plan, conv, line = self.plan, self.conv, 64 // self.dtype.itemsize
        first, second = plan.axes

        def room(size: int) -> int:
            # Vectors may be read or written behind the last element.
            return rounded_up(size + 2 * self.lanes, line)

        def copied(copies: Sequence[Copied]) -> int:
            return room(copies[0].target * copies[0].extent) if copies else 0

        self.sums_size = rounded_up(PRODUCTS * plan.row_blocks * plan.rows * plan.b_row, line)
        operand = room(PRODUCTS * self.tiles * plan.a_row)
        copy = copied(plan.copies)
        if plan.by_inputs:
            kernel = room(PRODUCTS * self.tiles * plan.b_row)
            self.copy_at, self.kernel_at = operand, operand + copy
            kernel_copy = copied(plan.kernel_copies)
            self.kernel_copy_at = self.kernel_at + kernel
            # At last there are results of an entry of the batch, and copies for direct sums.
            self.results_at = kernel_copy
            self.result_rows = first.results * second.results
            results = room(self.result_rows * plan.b_row)
            own = max(self.kernel_copy_at + kernel_copy, self.results_at + results)
            parts = conv.groups * self.blocks * plan.panels * plan.chunks
            shared = parts * self.sums_size
        else:
            self.kernel_size = rounded_up(PRODUCTS * conv.inputs * plan.b_row, line)
            depth = rounded_up(first.taps * second.taps * conv.inputs, self.lanes)
            self.packed_size = rounded_up(depth * plan.b_row, line)
            self.packed_at = conv.groups * plan.panels * self.kernel_size
            # The results of all tiles in work, or of a tile of sums.
            self.result_rows = plan.rows * first.results * second.results
            if self.along is not None:
                self.result_rows = plan.images * first.own * second.own
            self.copy_at = operand
            self.products_at = self.copy_at + copy
            self.results_at = self.products_at + room(PRODUCTS * plan.rows * plan.b_row)
            self.square_at = self.results_at + room(self.result_rows * plan.b_row)
            own = self.square_at + self.lanes * self.lanes
            shared = self.packed_at + room(conv.groups * plan.panels * self.packed_size)
        self.shared_bytes = rounded_up(shared, line) * self.dtype.itemsize
        self.own_bytes = rounded_up(own, line) * self.dtype.itemsize

    def write(self) -> None:
        """Add all functions."""
        plan, conv = self.plan, self.conv
        self._write_tile()
        dtypes = (conv.lhs_dtype, conv.dtype)
        if plan.copies:
            write_copy(self.module, f"{self.name}.copy", dtypes, plan.copies, True, self.lanes)
        self._write_operand()
        write_check(
            self.module, f"{self.name}.finite", self.dtype, self.lanes, self.result_rows,
            (plan.width, plan.b_row),
        )  # fmt: skip
        if plan.by_inputs:
            dtypes = (conv.rhs_dtype, conv.dtype)
            if plan.kernel_copies:
                name = f"{self.name}.kernel_copy"
                write_copy(self.module, name, dtypes, plan.kernel_copies, True, self.lanes)
            self._write_kernel_tiles()
            self._write_again_of_inputs()
            self._write_finish_entry()
            self._write_sums()
            self._write_results()
            return
        self._write_kernel()
        self._write_products()
        self._write_again()
        if self.along is None:
            self._write_finish()
        else:
            self._write_finish_along()
        self._write_images()

    # What is transformed

    def _write_operand(self) -> None:
        """Tiles of the operand, or its copy."""
        plan, conv = self.plan, self.conv
        strides = self._strides(plan.copies, [a.lhs for a in conv.axes])
        steps = [s * a.step for s, a in zip(strides, plan.axes, strict=True)]
        channels = plan.block if plan.by_inputs else conv.inputs
        fn = Function(self.module, f"{self.name}.operand", ["ptr noalias %from", "ptr noalias %to"])
        write_tiles(
            fn, plan.axes, self.dtype, self.lanes, (strides, steps),
            (channels, (POINTS, POINTS), plan.a_row, self.tiles * plan.a_row),
            of_operand, exact=not plan.copies,
        )  # fmt: skip
        fn.finish()

    def _write_kernel_tiles(self) -> None:
        """Tiles of the kernel, or its copy, where these cover it."""
        plan, conv = self.plan, self.conv
        strides = self._strides(plan.kernel_copies, [a.rhs for a in conv.axes])
        steps = [s * a.step for s, a in zip(strides, plan.axes, strict=True)]
        taps = [a.taps for a in plan.axes]
        fn = Function(self.module, f"{self.name}.kernel", ["ptr noalias %from", "ptr noalias %to"])
        write_tiles(
            fn, plan.axes, self.dtype, self.lanes, (strides, steps),
            (plan.width, taps, plan.b_row, self.tiles * plan.b_row),
            of_kernel, exact=not plan.kernel_copies,
        )  # fmt: skip
        fn.finish()

    @staticmethod
    def _strides(copies: Sequence[Copied], in_memory: list[int]) -> list[int]:
        found = {c.axis: c.target for c in copies}
        return [found.get(number, stride) for number, stride in enumerate(in_memory)]

    def _write_kernel(self) -> None:
        """The whole kernel, for all threads: packed, then transformed."""
        plan, conv = self.plan, self.conv
        write_panel_copy(
            self.module, f"{self.name}.pack", conv, [(p.size, p.stride) for p in plan.packing],
            self.lanes, (plan.width, plan.b_row), self.packed_size,
        )  # fmt: skip
        *window, of_input = self._packed_strides()
        taps, steps = [a.taps for a in plan.axes], conv.inputs * plan.b_row
        fn = Function(self.module, f"{self.name}.first", self._parameters())
        start, stop = share(fn, conv.groups * plan.panels)
        with fn.loop(start, stop) as number:
            group, panel = split(fn, number, [conv.groups, plan.panels])
            near = offset(fn, "%b", conv.rhs_dtype, group, conv.rhs_group)
            near = offset(fn, near, conv.rhs_dtype, self._output(fn, panel), conv.rhs_output)
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

    # Products

    def _write_tile(self) -> None:
        """A tile of sums: some rows, and the columns of a panel."""
        plan = self.plan
        parameters = ["ptr noalias %a", "ptr noalias %b", "ptr noalias %sums"]
        parameters += ["i1 %resume"] * plan.by_inputs
        fn = Function(self.module, f"{self.name}.tile", parameters)
        step = plan.a_row if plan.by_inputs else 1
        work = plan.rows * plan.b_row // self.lanes
        some = max(n for n in range(1, -(-_LEAST_WORK // work) + 1) if plan.depth % n == 0)
        levels = [Level(plan.depth // some, some * step, some * plan.b_row)]
        levels.append(Level(some, step, plan.b_row))
        apart = 1 if plan.by_inputs else plan.a_row
        tile = ConvTile(
            self.dtype,
            tuple([level for level in levels if level.size > 1]),
            in_pieces(plan.width, self.lanes, 16 // self.dtype.itemsize),
            tuple([n * apart for n in range(plan.rows)]),
            plan.b_row,
            resumable=plan.by_inputs,
            b_padded=True,
            apart=False,
        )
        write_conv_tile(fn, tile, self.target)
        fn.finish()

    def _output(self, fn: Function, panel: str) -> str:
        """The first output of a panel."""
        return at_most(fn, times(fn, panel, self.plan.width), self.conv.outputs - self.plan.width)

    def _first_row(self, fn: Function, block: str) -> str:
        """The first row of a tile of sums."""
        return at_most(fn, times(fn, block, self.plan.rows), self.plan.all_rows - self.plan.rows)

    def _columns(self) -> list[tuple[int, int]]:
        """From where, and how many columns of a panel are handed on; last, of the last one."""
        plan = self.plan
        twice = plan.panels * plan.width - self.conv.outputs
        return [(0, plan.width)] + [(twice, plan.width - twice)] * (twice > 0)

    def _finisher(self, fn: Function, panel: str) -> str:
        """The function that hands on the results of a panel."""
        if len(self._columns()) == 1:
            return f"@{self.name}.finish0"
        inside = fn.value(f"icmp slt i64 {panel}, {self.plan.panels - 1}")
        return fn.value(f"select i1 {inside}, ptr @{self.name}.finish0, ptr @{self.name}.finish1")

    def _parameters(self) -> list[str]:
        rest = ["ptr %shared", "ptr %own", "i64 %thread", "i64 %threads"]
        return ["ptr %a", "ptr %b", *self.extra, *rest]

    def _hand_on(self, fn: Function, line: str, index: list[str], columns: tuple[int, int]) -> None:
        """Hand a row of results of neighbouring outputs to the epilogue."""
        first, width = columns
        for p in in_pieces(width, self.lanes, 16 // self.dtype.itemsize):
            acc = load(fn, offset(fn, line, self.dtype, str(first + p.at)), self.dtype, p.lanes)
            at = fn.value(f"add nsw i64 %output, {first + p.at}")
            mask = constant_mask(p.lanes, p.valid) if p.valid < p.lanes else None
            self.epilogue(fn, acc, [*index, at], p.lanes, mask)

    # By images

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

    def _finish_parameters(self) -> list[str]:
        return ["i64 %n", "i64 %at", "i64 %output", *self.extra]

    def _write_finish(self) -> None:
        """Functions that hand the results of a tile of sums to the epilogue, from row %skip on."""
        plan = self.plan
        first, second = plan.axes
        for number, columns in enumerate(self._columns()):
            parameters = ["ptr %results", "i64 %skip", "i64 %first", *self._finish_parameters()]
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
                        self._hand_on(
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
        for number, columns in enumerate(self._columns()):
            parameters = ["ptr %results", "ptr %square", *self._finish_parameters()]
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
        fn = Function(self.module, f"{self.name}.then", self._parameters())
        # Groups of an image follow each other: they may lie in the same parts of memory.
        sizes = [conv.batch // plan.images, conv.groups, plan.bands]
        start, stop = share(fn, prod(sizes))
        with fn.loop(start, stop) as number:
            image, group, band = split(fn, number, sizes)
            n = times(fn, image, plan.images)
            at = times(fn, band, plan.axes[0].own)
            near = offset(fn, "%a", conv.lhs_dtype, group, conv.lhs_group)
            near = offset(fn, near, conv.lhs_dtype, n, conv.lhs_batch)
            self._take_operand(fn, near, conv.lhs_batch, at)
            with fn.loop("0", str(plan.panels)) as panel:
                index = plus(fn, times(fn, group, plan.panels), panel)
                kernel = offset(fn, "%shared", self.dtype, index, self.kernel_size)
                packed = self._packed(fn, index)
                self._multiply(fn, (near, kernel, packed), group, n, at, panel)
        fn.finish()

    def _take_operand(self, fn: Function, near: str, stride: int, at: str) -> None:
        """Transform the tiles of the images in work, which are `stride` apart, for a band."""
        conv, plan = self.conv, self.plan
        with fn.loop("0", str(plan.images)) as i:
            image = offset(fn, near, conv.lhs_dtype, i, stride)
            if plan.copies:
                copy = offset(fn, "%own", self.dtype, str(self.copy_at))
                fn.do(f"call void @{self.name}.copy(ptr {image}, ptr {copy}, i64 {at})")
                image = copy
            else:
                skipped = sum(-axis.low * axis.lhs for axis in conv.axes)
                image = offset(fn, image, self.dtype, "1", skipped) if skipped else image
                image = offset(fn, image, self.dtype, at, conv.axes[0].lhs)
            to = offset(fn, "%own", self.dtype, i, plan.band_tiles * plan.a_row)
            fn.do(f"call void @{self.name}.operand(ptr {image}, ptr {to})")

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
        output = plus(fn, times(fn, group, conv.outputs), self._output(fn, panel))
        finish = self._finisher(fn, panel)
        where = ", ".join([f"i64 {n}", f"i64 {at}", f"i64 {output}", *self.extra])

        def check(first: str) -> None:
            finite = fn.value(f"call i1 @{self.name}.finite(ptr {results})")
            taken = f"ptr {near}, ptr {packed}, ptr {results}, i64 {first}, i64 {at}"
            unless(fn, finite, lambda: fn.do(f"call void @{self.name}.again({taken})"))

        with fn.loop("0", str(plan.row_blocks)) as block:
            first = self._first_row(fn, block)
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

    # By inputs

    def _entry(self, fn: Function, block: str) -> str:
        """The first entry of the batch in a block."""
        return at_most(fn, times(fn, block, self.plan.block), self.conv.batch - self.plan.block)

    def _write_sums(self) -> None:
        """A thread's share of the sums, each of all images of a chunk."""
        conv, plan = self.conv, self.plan
        fn = Function(self.module, f"{self.name}.then", self._parameters())
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
            b = offset(fn, b, conv.rhs_dtype, self._output(fn, panel), conv.rhs_output)
            begin = times(fn, chunk, chunk_size)
            end = clamped(fn, plus(fn, begin, str(chunk_size)), number_of_images)
            with fn.loop(begin, end) as image, fn.loop("0", str(plan.bands)) as band:
                later = fn.value(f"icmp sgt i64 {image}, {begin}")
                follows = fn.value(f"icmp sgt i64 {band}, 0")
                resume = fn.value(f"or i1 {later}, {follows}")
                at = times(fn, band, plan.axes[0].own)
                c = times(fn, image, plan.images)
                near = offset(fn, a, conv.lhs_dtype, c, conv.lhs_input)
                self._take_operand(fn, near, conv.lhs_input, at)
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
                near = offset(fn, a, self.dtype, self._first_row(fn, block))
                far = offset(fn, to, self.dtype, block, plan.rows * plan.b_row)
                pointers = f"ptr {near}, ptr {b}, ptr {far}"
                fn.do(f"call void @{self.name}.tile({pointers}, i1 {resume})")

    def _write_finish_entry(self) -> None:
        """Functions that hand the results of an entry of the batch to the epilogue."""
        plan = self.plan
        first, second = plan.axes
        for number, columns in enumerate(self._columns()):
            parameters = ["ptr %results", *self._finish_parameters()]
            fn = Function(self.module, f"{self.name}.finish{number}", parameters)
            with fn.loop("0", str(first.results)) as u, fn.loop("0", str(second.results)) as v:
                place = plus(fn, times(fn, u, second.results), v)
                line = offset(fn, "%results", self.dtype, place, plan.b_row)
                self._hand_on(fn, line, ["%n", u, v], columns)
            fn.finish()

    def _write_again_of_inputs(self) -> None:
        """Add `name.again(ptr %from, ptr %kernel, ptr %to, ptr %own)`: direct sums for an entry."""
        plan, conv = self.plan, self.conv
        first, second = plan.axes
        copies = plan.kernel_copies
        memory = conv.dtype if copies else conv.rhs_dtype
        strides = self._strides(copies, [a.rhs for a in conv.axes])
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
        fn = Function(self.module, f"{self.name}.last", self._parameters())
        sizes = [conv.groups, conv.batch, plan.panels]
        start, stop = share(fn, prod(sizes))
        results = offset(fn, "%own", self.dtype, str(self.results_at))
        with fn.loop(start, stop) as number:
            group, n, panel = split(fn, number, sizes)
            block, _ = divided(fn, n, plan.block)
            entry = minus(fn, n, self._entry(fn, block))
            tile, _ = divided(fn, entry, plan.rows)
            row = minus(fn, entry, self._first_row(fn, tile))
            row = plus(fn, times(fn, tile, plan.rows), row)
            part = plus(fn, times(fn, group, self.blocks), block)
            part = plus(fn, times(fn, part, plan.panels), panel)
            sums = offset(fn, "%shared", self.dtype, part, plan.chunks * self.sums_size)
            self._finish_entry(fn, offset(fn, sums, self.dtype, row, plan.b_row), results)
            output = self._output(fn, panel)
            self._check_entry(fn, (group, n, output), results)
            output = plus(fn, times(fn, group, conv.outputs), output)
            where = ", ".join([f"i64 {n}", "i64 0", f"i64 {output}", *self.extra])
            fn.do(f"call void {self._finisher(fn, panel)}(ptr {results}, {where})")
        fn.finish()

    def _check_entry(self, fn: Function, which: tuple[str, str, str], results: str) -> None:
        """Compute the results of a group, entry, and panel from an output on again, if need be."""
        conv = self.conv
        group, n, output = which

        def again() -> None:
            near = offset(fn, "%a", conv.lhs_dtype, group, conv.lhs_group)
            near = offset(fn, near, conv.lhs_dtype, n, conv.lhs_batch)
            kernel = offset(fn, "%b", conv.rhs_dtype, group, conv.rhs_group)
            kernel = offset(fn, kernel, conv.rhs_dtype, output, conv.rhs_output)
            taken = f"ptr {near}, ptr {kernel}, ptr {results}, ptr %own"
            fn.do(f"call void @{self.name}.again({taken})")

        finite = fn.value(f"call i1 @{self.name}.finite(ptr {results})")
        unless(fn, finite, again)

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

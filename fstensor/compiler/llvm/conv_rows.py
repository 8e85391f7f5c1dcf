"""Convolutions that read their operand in place, one row of results after the other.

For these the other ways have too little to do in each vector: a depthwise convolution, where each
output has elements of its own, and one of few outputs. Results lie in vectors either along the
outputs (the elements of neighbouring outputs are neighbours in memory), or along a spatial axis,
each vector times one element of the kernel; or vectors lie along the inputs, and each result is the
sum of one. Nothing is copied: the rows of the window that lie
outside of the operand are left out, and so are, in the blocks of a row near its ends, the elements
there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

from fstensor.compiler.convolution import Convolution, SpatialAxis
from fstensor.compiler.llvm.conv_turned import Epilogue
from fstensor.compiler.llvm.packing import Source, constant_mask, load, offset, store, widened
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.tiles import multiply_add, sums_across
from fstensor.compiler.llvm.vector import suffix, type_of
from fstensor.core.scalar import Dtype

# Registers that are not for sums.
_OTHERS = 6
# Places of a block whose vectors do not lie along them.
_PLACES = 7
# Vectors along inputs are summed up at last; before, so many must have been added.
_LONG_SUM = 16
# Blocks of a row that are written out, since they reach over its ends.
_MOST_EDGES = 4
# Elements of the kernel along a row, which are written out.
_WIDEST_WINDOW = 16
# Up to so many lines, an epilogue follows on the sums in registers.
_SHORT_EPILOGUE = 12


class RowPlan(NamedTuple):
    """See the module.

    axis: the spatial axis of a row. vectors_along: "places", which are those of the row, "outputs"
    or "inputs". vectors: of sums in a block, for each output; where they do not lie along places,
    of as many places. outputs: how many are summed up together. edges: the blocks that are written
    out; the others are between them.
    """

    axis: int
    vectors_along: str
    lanes: int
    vectors: int
    outputs: int
    edges: tuple[int, ...]
    blocks: int

    @property
    def along(self) -> bool:
        """Whether results lie in vectors along the row."""
        return self.vectors_along == "places"

    @property
    def sums(self) -> int:
        """Elements that a thread needs for the sums of a block."""
        return self.vectors * self.lanes

    @property
    def places(self) -> int:
        """How many results of a row a block has, for an output."""
        return self.vectors * (self.lanes if self.along else 1)


@lru_cache(maxsize=256)
def plan_rows(conv: Convolution, target: Target) -> RowPlan | None:
    """How to compute a convolution in this way, if it is the better one."""
    lanes = target.lanes(conv.dtype)
    if 0 in (conv.outputs, conv.batch, conv.groups, conv.inputs, conv.flops):
        return None
    if prod(a.window for a in conv.axes) > prod(a.places for a in conv.axes):
        return None
    if conv.lhs_output == conv.rhs_output == 1 and 2 * conv.outputs >= lanes:
        axis = min(range(len(conv.axes)), key=lambda i: _slow(conv.axes[i]))
        return _checked(conv, axis, "outputs", lanes, _PLACES, 1)
    outputs = 1 if conv.lhs_output else conv.outputs
    for i, a in enumerate(conv.axes):
        if a.lhs == a.stride == 1 and 2 * a.places > lanes and 2 * outputs < lanes:
            most = (target.registers - _OTHERS) // outputs
            return _checked(conv, i, "places", lanes, most, outputs) if most else None
    long = conv.inputs * prod(a.window for a in conv.axes) >= _LONG_SUM * lanes
    neighbours = conv.lhs_input == conv.rhs_input == 1 and conv.inputs >= lanes
    if long and neighbours and not conv.lhs_output and 4 * outputs <= lanes:
        axis = min(range(len(conv.axes)), key=lambda i: _slow(conv.axes[i]))
        most = min(_PLACES, (target.registers - _OTHERS) // outputs)
        return _checked(conv, axis, "inputs", lanes, most, outputs)
    return None


def _slow(axis: SpatialAxis) -> tuple[bool, int]:
    """The axis along which neighbours are nearest comes first, unless it has only one result."""
    return axis.places == 1, abs(axis.lhs)


def _checked(
    conv: Convolution, axis: int, along: str, lanes: int, most: int, outputs: int
) -> RowPlan | None:
    row = conv.axes[axis]
    vectors = -(-row.places // lanes) if along == "places" else row.places
    blocks = -(-vectors // most)
    vectors = -(-vectors // blocks)
    plan = RowPlan(axis, along, lanes, vectors, outputs, (), blocks)
    edges = tuple([b for b in range(blocks) if not _is_inside(row, plan.places, b)])
    inner = [b for b in range(blocks) if b not in edges]
    apart = inner != list(range(inner[0], inner[-1] + 1)) if inner else False
    if apart or len(edges) > _MOST_EDGES or row.window > _WIDEST_WINDOW:
        return None
    return RowPlan(axis, along, lanes, vectors, outputs, edges, blocks)


def _is_inside(row: SpatialAxis, places: int, block: int) -> bool:
    """Whether all results of a block exist, and all elements that they meet."""
    first, stop = block * places, (block + 1) * places
    low = first * row.stride - row.low
    high = (stop - 1) * row.stride + (row.window - 1) * row.dilation - row.low
    return stop <= row.places and low >= 0 and high < row.size


def write_rows(
    module: Module,
    name: str,
    conv: Convolution,
    plan: RowPlan,
    target: Target,
    extra: Sequence[str],
    epilogue: Epilogue,
) -> None:
    """Add `name.then`, with the parameters described in `conv`: a thread's share of the rows."""
    _Rows(module, name, conv, plan, target, extra, epilogue).write()


class _Rows:
    """Writes the functions of one convolution."""

    def __init__(
        self,
        module: Module,
        name: str,
        conv: Convolution,
        plan: RowPlan,
        target: Target,
        extra: Sequence[str],
        epilogue: Epilogue,
    ) -> None:
        self.module, self.name, self.conv, self.plan = module, name, conv, plan
        self.target, self.extra, self.epilogue = target, list(extra), epilogue
        self.dtype, self.row = conv.dtype, conv.axes[plan.axis]
        self.others = [i for i in range(len(conv.axes)) if i != plan.axis]
        self.names = ["%n", *(f"%at{i}" for i in range(len(conv.axes)))]
        trial = Function(module, "", [])
        lanes = plan.lanes
        index = [*self.names, "%output"]
        epilogue(trial, "%acc", index, lanes, constant_mask(lanes, 1) if lanes > 1 else None)
        self.in_registers = trial.length <= _SHORT_EPILOGUE

    def write(self) -> None:
        conv, plan = self.conv, self.plan
        rest = ["ptr %shared", "ptr %own", "i64 %thread", "i64 %threads"]
        fn = Function(self.module, f"{self.name}.then", ["ptr %a", "ptr %b", *self.extra, *rest])
        # Outputs with elements of their own are the slowest to vary, but for those of a vector.
        separate = conv.outputs if plan.along and conv.lhs_output else 1
        sizes = [conv.batch, conv.groups, separate, *(conv.axes[i].places for i in self.others)]
        units = prod(sizes)
        start = fn.value(f"mul nsw i64 %thread, {units}")
        stop = fn.value(f"add nsw i64 {start}, {units}")
        start, stop = (fn.value(f"udiv i64 {x}, %threads") for x in (start, stop))
        with fn.loop(start, stop) as unit:
            n, group, output, *places = _split(fn, unit, sizes)
            index = [n] + ["0"] * len(conv.axes)
            for i, place in zip(self.others, places, strict=True):
                index[i + 1] = place
            a = offset(fn, "%a", conv.lhs_dtype, group, conv.lhs_group)
            a = offset(fn, a, conv.lhs_dtype, n, conv.lhs_batch)
            a = offset(fn, a, conv.lhs_dtype, output, conv.lhs_output)
            b = offset(fn, "%b", conv.rhs_dtype, group, conv.rhs_group)
            b = offset(fn, b, conv.rhs_dtype, output, conv.rhs_output)
            first = fn.value(f"mul nsw i64 {group}, {conv.outputs}")
            first = fn.value(f"add nsw i64 {first}, {output}")
            windows = []
            for i in self.others:
                a, window = self._window(fn, a, index[i + 1], conv.axes[i])
                windows.append(window)

            def vectors_of_outputs(o: str, lanes: int, valid: int) -> None:
                near = offset(fn, a, conv.lhs_dtype, o, conv.lhs_output)
                far = offset(fn, b, conv.rhs_dtype, o, conv.rhs_output)
                here = [*index, first if o == "0" else fn.value(f"add nsw i64 {first}, {o}")]
                self._row(fn, (near, far), here, windows, (lanes, valid))

            self._each_vector(fn, vectors_of_outputs)
        fn.finish()

    def _window(
        self, fn: Function, a: str, place: str, axis: SpatialAxis
    ) -> tuple[str, tuple[str, str]]:
        """Where the window begins along an axis, and which of its elements meet the operand."""
        moved = fn.value(f"mul nsw i64 {place}, {axis.stride}")
        moved = fn.value(f"sub nsw i64 {moved}, {axis.low}")
        a = offset(fn, a, self.conv.lhs_dtype, moved, axis.lhs)
        if axis.is_inside:
            return a, ("0", str(axis.window))

        def first_from(element: int) -> str:
            x = fn.value(f"sub nsw i64 {element}, {moved}")
            x = fn.value(f"call i64 @llvm.smax.i64(i64 {x}, i64 0)")
            if axis.dilation != 1:
                x = fn.value(f"add nsw i64 {x}, {axis.dilation - 1}")
                x = fn.value(f"udiv i64 {x}, {axis.dilation}")
            return fn.value(f"call i64 @llvm.smin.i64(i64 {x}, i64 {axis.window})")

        self.module.declare("declare i64 @llvm.smin.i64(i64, i64)")
        self.module.declare("declare i64 @llvm.smax.i64(i64, i64)")
        return a, (first_from(0), first_from(axis.size))

    def _each_vector(self, fn: Function, body: Callable[[str, int, int], None]) -> None:
        """Go through the vectors of outputs: where they begin, their lanes, how many exist."""
        plan, outputs = self.plan, self.conv.outputs
        if plan.vectors_along != "outputs":
            body("0", plan.lanes, plan.lanes)
            return
        whole, rest = divmod(outputs, plan.lanes)
        if whole:
            with fn.loop("0", str(whole * plan.lanes), str(plan.lanes)) as o:
                body(o, plan.lanes, plan.lanes)
        if rest:
            lanes = 1 << (rest - 1).bit_length()
            body(str(whole * plan.lanes), lanes, rest)

    def _row(
        self,
        fn: Function,
        pointers: tuple[str, str],
        index: list[str],
        windows: Sequence[tuple[str, str]],
        lanes: tuple[int, int],
    ) -> None:
        """The results of a row: those of its blocks at the ends, and those between them."""
        plan = self.plan
        inner = [b for b in range(plan.blocks) if b not in plan.edges]
        for block in plan.edges:
            start = block * plan.places
            self._block(fn, pointers, index, windows, lanes, str(start), start)
        if inner:
            bounds = [str(n * plan.places) for n in (inner[0], inner[-1] + 1)]
            with fn.loop(bounds[0], bounds[1], str(plan.places)) as at:
                self._block(fn, pointers, index, windows, lanes, at, None)

    def _block(
        self,
        fn: Function,
        pointers: tuple[str, str],
        index: list[str],
        windows: Sequence[tuple[str, str]],
        lanes: tuple[int, int],
        at: str,
        start: int | None,
    ) -> None:
        """The results of a block from the place `at` on, which is `start` where that is known."""
        conv, plan, row = self.conv, self.plan, self.row
        a, b = pointers
        moved = offset(fn, a, conv.lhs_dtype, at, row.stride * row.lhs)
        a = offset(fn, moved, conv.lhs_dtype, "1", -row.low * row.lhs) if row.low else moved
        each = plan.lanes if plan.along else 1
        vectors = plan.vectors
        if start is not None:
            vectors = min(vectors, -(-(row.places - start) // each))
        levels = [
            (*bounds, conv.axes[i].dilation * conv.axes[i].lhs, conv.axes[i].rhs)
            for i, bounds in zip(self.others, windows, strict=True)
        ]
        steps = {"places": self._along, "outputs": self._across, "inputs": self._within}
        step, rest = steps[plan.vectors_along], 0
        if plan.vectors_along == "inputs":
            whole, rest = divmod(conv.inputs, plan.lanes)
            levels.append(("0", str(whole), plan.lanes, plan.lanes))
        else:
            levels.append(("0", str(conv.inputs), conv.lhs_input, conv.rhs_input))
        kind = type_of(self.dtype, lanes[0])

        def nest(number: int, a: str, b: str, sums: list[str]) -> list[str]:
            if number == len(levels):
                return step(fn, (a, b), lanes, start, sums)
            if number == len(levels) - 1 and rest:
                # What remains of the inputs comes first.
                a_rest = offset(fn, a, conv.lhs_dtype, str(conv.inputs - rest))
                b_rest = offset(fn, b, conv.rhs_dtype, str(conv.inputs - rest))
                sums = step(fn, (a_rest, b_rest), (plan.lanes, rest), start, sums)
            low, high, near, far = levels[number]
            if (low, high) == ("0", "1"):
                return nest(number + 1, a, b, sums)
            with fn.carrying(low, high, "1", [(kind, x) for x in sums]) as (k, now, following):
                a = offset(fn, a, conv.lhs_dtype, k, near)
                b = offset(fn, b, conv.rhs_dtype, k, far)
                following[:] = nest(number + 1, a, b, now)
            return following

        sums = nest(0, a, b, ["zeroinitializer"] * (vectors * plan.outputs))
        if plan.vectors_along == "inputs":
            self._finish_within(fn, sums, [*index[: plan.axis + 1], at, *index[plan.axis + 2 :]])
            return
        for o in range(plan.outputs):
            part = sums[o * vectors : (o + 1) * vectors]
            here = list(index)
            if o:
                here[-1] = fn.value(f"add nsw i64 {index[-1]}, {o}")
            here[plan.axis + 1] = at
            valid = lanes[1]
            if plan.along and start is not None:
                valid = min(plan.lanes, row.places - start - (vectors - 1) * plan.lanes)
            self._finish(fn, part, here, lanes[0], valid)

    def _along(
        self,
        fn: Function,
        pointers: tuple[str, str],
        lanes: tuple[int, int],
        start: int | None,
        sums: list[str],
    ) -> list[str]:
        """Sums with the products of a row of the window: vectors times elements of the kernel."""
        conv, plan, row = self.conv, self.plan, self.row
        a, b = pointers
        sums, vectors = list(sums), len(sums) // plan.outputs
        source = Source(conv.lhs_dtype, self.dtype, 1, 1)
        kind = type_of(self.dtype, plan.lanes)
        for k in range(row.window):
            ys = []
            for o in range(plan.outputs):
                at = offset(fn, b, conv.rhs_dtype, "1", k * row.rhs + o * conv.rhs_output)
                ys.append(self._spread(fn, at))
            for v in range(vectors):
                moved = v * plan.lanes + k * row.dilation
                mask: str | None = None
                if start is not None:
                    first = start + moved - row.low
                    exist = [0 <= first + i < row.size for i in range(plan.lanes)]
                    if not any(exist):
                        continue
                    mask = None if all(exist) else _mask(exist)
                x = load(fn, offset(fn, a, source.memory, str(moved)), source.memory, plan.lanes,
                         mask)  # fmt: skip
                x = widened(fn, x, source, plan.lanes)
                for o, y in enumerate(ys):
                    i = o * vectors + v
                    sums[i] = self._multiply_add(fn, kind, plan.lanes, x, y, sums[i])
        return sums

    def _across(
        self,
        fn: Function,
        pointers: tuple[str, str],
        lanes: tuple[int, int],
        start: int | None,
        sums: list[str],
    ) -> list[str]:
        """The same for vectors of outputs: each element of the row is loaded once."""
        conv, row = self.conv, self.row
        a, b = pointers
        sums, (size, valid) = list(sums), lanes
        mask = constant_mask(size, valid) if valid < size else None
        kind = type_of(self.dtype, size)

        def vector(pointer: str, memory: Dtype, at: int) -> str:
            address = offset(fn, pointer, memory, "1", at)
            x = load(fn, address, memory, size, mask)
            return widened(fn, x, Source(memory, self.dtype, 1, 1), size)

        ys = [vector(b, conv.rhs_dtype, k * row.rhs) for k in range(row.window)]
        met: dict[int, list[tuple[int, int]]] = {}
        for t in range(len(sums)):
            for k in range(row.window):
                met.setdefault(t * row.stride + k * row.dilation, []).append((t, k))
        for moved, pairs in sorted(met.items()):
            if start is not None and not 0 <= start * row.stride + moved - row.low < row.size:
                continue
            x = vector(a, conv.lhs_dtype, moved * row.lhs)
            for t, k in pairs:
                sums[t] = self._multiply_add(fn, kind, size, x, ys[k], sums[t])
        return sums

    def _within(
        self,
        fn: Function,
        pointers: tuple[str, str],
        lanes: tuple[int, int],
        start: int | None,
        sums: list[str],
    ) -> list[str]:
        """The same for vectors of inputs, of which each result has partial sums."""
        conv, plan, row = self.conv, self.plan, self.row
        a, b = pointers
        sums, (size, valid) = list(sums), lanes
        vectors = len(sums) // plan.outputs
        mask = constant_mask(size, valid) if valid < size else None
        kind = type_of(self.dtype, size)

        def vector(pointer: str, memory: Dtype, at: int) -> str:
            address = offset(fn, pointer, memory, "1", at)
            x = load(fn, address, memory, size, mask)
            return widened(fn, x, Source(memory, self.dtype, 1, 1), size)

        for k in range(row.window):
            places = [k * row.rhs + o * conv.rhs_output for o in range(plan.outputs)]
            ys = [vector(b, conv.rhs_dtype, at) for at in places]
            for t in range(vectors):
                moved = t * row.stride + k * row.dilation
                if start is not None:
                    place = start * row.stride + moved - row.low
                    if not 0 <= place < row.size:
                        continue
                x = vector(a, conv.lhs_dtype, moved * row.lhs)
                for o, y in enumerate(ys):
                    i = o * vectors + t
                    sums[i] = self._multiply_add(fn, kind, size, x, y, sums[i])
        return sums

    def _spread(self, fn: Function, address: str) -> str:
        """A vector of an element of the kernel."""
        source, lanes = Source(self.conv.rhs_dtype, self.dtype, 1, 1), self.plan.lanes
        kind, element = type_of(self.dtype, lanes), type_of(self.dtype, 1)
        x = widened(fn, load(fn, address, source.memory, 1), source, 1)
        one = fn.value(f"insertelement {kind} poison, {element} {x}, i64 0")
        return fn.value(
            f"shufflevector {kind} {one}, {kind} poison, <{lanes} x i32> zeroinitializer"
        )

    def _multiply_add(self, fn: Function, kind: str, lanes: int, *xyz: str) -> str:
        return multiply_add(fn, kind, suffix(self.dtype, lanes), self.target, *xyz)

    # Results

    def _finish(
        self, fn: Function, sums: Sequence[str], index: list[str], lanes: int, valid: int
    ) -> None:
        """Hand sums to the epilogue: vectors side by side along the row, the last with a mask."""
        axis, each = self.plan.axis + 1, lanes if self.plan.along else 1
        if self.in_registers:
            for v, acc in enumerate(sums):
                here = list(index)
                if v:
                    here[axis] = fn.value(f"add nsw i64 {index[axis]}, {v * each}")
                partial = valid < lanes and (not self.plan.along or v == len(sums) - 1)
                self.epilogue(
                    fn, acc, here, lanes, constant_mask(lanes, valid) if partial else None
                )
            return
        for v, acc in enumerate(sums):
            store(fn, acc, offset(fn, "%own", self.dtype, str(v * lanes)), self.dtype, lanes)
        whole = len(sums)
        if valid < lanes:
            whole = whole - 1 if self.plan.along else 0
        for first, last, count in ((0, whole, lanes), (whole, len(sums), valid)):
            if first == last:
                continue
            from_here = offset(fn, "%own", self.dtype, str(first * lanes))
            here = list(index)
            if first:
                here[axis] = fn.value(f"add nsw i64 {index[axis]}, {first * each}")
            name = self._finish_function(lanes, count)
            numbers = ", ".join(f"i64 {x}" for x in here)
            passed = "".join(f", {x}" for x in self.extra)
            fn.do(f"call void @{name}(ptr {from_here}, i64 {last - first}, {numbers}{passed})")

    def _finish_within(self, fn: Function, sums: Sequence[str], index: Sequence[str]) -> None:
        """Sum up each vector, and hand over the results of one place after the other."""
        outputs, lanes = self.plan.outputs, self.plan.lanes
        vectors = len(sums) // outputs
        by_place = [sums[o * vectors + t] for t in range(vectors) for o in range(outputs)]
        for first in range(0, len(by_place), lanes):
            some = by_place[first : first + lanes]
            total = sums_across(fn, some, self.dtype, lanes)
            width = 1 << (len(some) - 1).bit_length()
            store(fn, total, offset(fn, "%own", self.dtype, str(first)), self.dtype, width)
        name = self._finish_function(1 << (outputs - 1).bit_length(), outputs)
        numbers = ", ".join(f"i64 {x}" for x in index)
        passed = "".join(f", {x}" for x in self.extra)
        fn.do(f"call void @{name}(ptr %own, i64 {vectors}, {numbers}{passed})")

    def _finish_function(self, lanes: int, valid: int) -> str:
        """A function that hands vectors of sums to the epilogue; written the first time."""
        name = f"{self.name}.finish{lanes}x{valid}"
        if name in self.module:
            return name
        indices = [f"i64 {x}" for x in (*self.names, "%output")]
        fn = Function(self.module, name, ["ptr %sums", "i64 %count", *indices, *self.extra])
        axis = self.plan.axis + 1
        with fn.loop("0", "%count") as v:
            apart = valid if self.plan.vectors_along == "inputs" else lanes
            acc = load(fn, offset(fn, "%sums", self.dtype, v, apart), self.dtype, lanes)
            here = [*self.names, "%output"]
            moved = fn.value(f"mul nsw i64 {v}, {lanes}") if self.plan.along else v
            here[axis] = fn.value(f"add nsw i64 {here[axis]}, {moved}")
            mask = constant_mask(lanes, valid) if valid < lanes else None
            self.epilogue(fn, acc, here, lanes, mask)
        fn.finish()
        return name


def _mask(exist: Sequence[bool]) -> str:
    return f"<{', '.join('i1 true' if x else 'i1 false' for x in exist)}>"


def _split(fn: Function, number: str, sizes: Sequence[int]) -> list[str]:
    """The indices that a number stands for, the last running fastest."""
    found: list[str] = []
    left = prod(sizes)
    for size in reversed(sizes):
        left //= size
        if size == 1:
            found.insert(0, "0")
            continue
        found.insert(0, number if left == 1 else fn.value(f"urem i64 {number}, {size}"))
        if left > 1:
            number = fn.value(f"udiv i64 {number}, {size}")
    return found

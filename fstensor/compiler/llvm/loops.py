"""Kernels as LLVM functions: the loop nest of a schedule, with vectors along one axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

from fstensor.compiler.kernels import LOADS, Instruction, Kernel, Store, identity
from fstensor.compiler.llvm.accesses import AccessWriter
from fstensor.compiler.llvm.packing import constant_mask
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.vector import Register, scalar_type, type_of
from fstensor.compiler.schedule import Schedule
from fstensor.core.scalar import BINARY, BOOL, COMPARISONS, UNARY

# The values of one round, for each vector that is unrolled: one register, or one for each.
Values = dict[int, list[Register]]
# Writes a round of some vectors, given what rounds hand on; gives that for the next one.
LaneBody = Callable[[int, list[Register]], list[Register]]


def write_kernel(
    module: Module, name: str, schedule: Schedule, has_fma: bool = True, quickly: bool = False
) -> None:
    """Add `void @name(ptr %p0, ..., i64 %begin, i64 %end)`.

    The parameters are the kernel's buffers, and the part of its first outer axis to compute. Of a
    kernel without outer axes the part is not looked at. quickly: see `Function`.
    """
    pointers = [f"ptr %p{k}" for k in range(len(schedule.kernel.buffers))]
    parameters = [*pointers, "i64 %begin", "i64 %end"]
    f = Function(module, name, parameters, quickly=quickly)
    if schedule.streamed:
        write_kernel(
            module,
            f"{name}_cached",
            schedule._replace(streamed=frozenset(), streamed_place=None),
            has_fma,
        )
        _unless_past_caches(f, schedule, f"@{name}_cached({', '.join(parameters)})")
    LoopWriter(f, schedule, has_fma).write()
    f.finish()


def _unless_past_caches(f: Function, schedule: Schedule, instead: str) -> None:
    """Call something else and return where a streamed buffer should not be written past the caches.

    It may not begin with whole vectors, as a row of an array; or it is written over what was read,
    which is in the caches.
    """
    bits = "0"
    for b in sorted(schedule.streamed):
        address = f.value(f"ptrtoint ptr %p{b} to i64")
        bits = f.value(f"or i64 {bits}, {address}")
    size = schedule.lanes * schedule.kernel.buffers[min(schedule.streamed)].itemsize
    rest = f.value(f"and i64 {bits}, {size - 1}")
    past = f.value(f"icmp eq i64 {rest}, 0")
    kernel = schedule.kernel
    for r in sorted({i.detail.buffer for i in kernel.instructions if i.op in LOADS}):
        for b in sorted(schedule.streamed):
            if kernel.buffers[b] == kernel.buffers[r]:
                apart = f.value(f"icmp ne ptr %p{b}, %p{r}")
                past = f.value(f"and i1 {past}, {apart}")
    here, elsewhere = map(f.new_block, ("past", "cached"))
    f.branch_if(past, here, elsewhere)
    f.enter(elsewhere)
    f.do(f"call void {instead}")
    f.do("ret void")
    f.enter(here)


def write_epilogue(
    f: Function,
    kernel: Kernel,
    product: str,
    variables: Sequence[str],
    lanes: int,
    mask: str | None,
    has_fma: bool,
) -> None:
    """Add the lines of a map for some neighbours along its last axis, of one row.

    product: the value of the matrix product there. variables: of all axes; of the last one where
    the first lane is. mask: of the lanes that exist.
    """
    writer = LoopWriter(f, Schedule(kernel, len(kernel.outer) - 1, lanes, 1), has_fma)
    writer.variables = dict(enumerate(variables))
    writer.mask, writer.product = mask, product
    writer.store_all(kernel.stores, {}, 1)


@final
class LoopWriter(AccessWriter):
    """Prints what stands in the loops of a schedule; see `write_kernel` and `write_scatter`."""

    def __init__(self, f: Function, schedule: Schedule, has_fma: bool) -> None:
        super().__init__(f, schedule, has_fma)
        self.product = ""  # the element of the product that an epilogue follows on
        self.lane_bit = 1 << schedule.lane if schedule.lane >= 0 else 0
        self.row_bits = (1 << len(self.kernel.outer)) - 1
        self.stage = 0
        self.rooms: dict[int, str] = {}  # where the values of a row are that later stages need

    def write(self) -> None:
        outer = len(self.kernel.outer)
        loops = outer - 1 if self.schedule.across_rows else outer
        for k in self.schedule.kept:
            kind = scalar_type(self.kernel.instructions[k].dtype)
            size = self.schedule.kept_elements
            self.rooms[k] = self.f.value(f"alloca [{size} x {kind}], align 64")
        self._outer(0, loops)
        if self.schedule.streamed:
            self.f.do("fence seq_cst")  # others shall see what went past the caches

    # Rows

    def _outer(self, axis: int, loops: int) -> None:
        if axis < loops:
            start, stop = ("%begin", "%end") if axis == 0 else ("0", str(self.kernel.outer[axis]))
            with self.f.loop(start, stop) as i:
                self.variables[axis] = i
                self._outer(axis + 1, loops)
            return
        self.bases = {}
        for place in self.places():
            self.base(place)
        if not self.schedule.across_rows:
            self._rows({}, 1)
            return
        common: Values = {}
        free = self.row_bits & ~self.lane_bit
        self._prepare(common, lambda i: not i.axes & ~free and i.stage == 0 and i.op != "reduce")
        if self.schedule.lane == 0:
            start, stop = "%begin", "%end"
        else:
            start, stop = "0", str(self.kernel.outer[self.schedule.lane])
        first = self._first_aligned()
        self.lane_loop(start, stop, [], lambda n, _: self._vectors_of_rows(common, n), first)

    def _vectors_of_rows(self, common: Values, unroll: int) -> list[Register]:
        self._rows(dict(common), unroll)
        return []

    def _rows(self, values: Values, unroll: int) -> None:
        """Everything for one row, or for some vectors of rows."""
        kernel = self.kernel
        for stage in range(kernel.stages):
            self.stage = stage
            reduced = [
                k
                for k, i in enumerate(kernel.instructions)
                if i.op == "reduce" and i.stage == stage + 1
            ]
            stores = [s for s in kernel.stores if kernel.stage_of(s) == stage]
            inside = [s for s in stores if kernel.is_inside(s)]
            self.store_all([s for s in stores if s not in inside], values, unroll)
            if not reduced and not inside:
                continue
            targets = [kernel.instructions[k].args[0] for k in reduced] + [s.value for s in inside]
            for k in self._row_operands(targets):
                for u in range(unroll):
                    self.value(k, values, u, unroll)
            self._inner(values, reduced, inside, unroll)

    def _row_operands(self, targets: Sequence[int]) -> list[int]:
        """What the targets need that is the same for all elements of a row."""
        seen: set[int] = set()
        found: list[int] = []
        todo = list(targets)
        while todo:
            k = todo.pop()
            if k in seen:
                continue
            seen.add(k)
            i = self.kernel.instructions[k]
            if not i.axes & self.kernel.inner_bits:
                found.append(k)
            else:
                todo += i.args
        return sorted(found)

    # The inner loops of a stage

    def _inner(self, values: Values, reduced: list[int], stores: list[Store], unroll: int) -> None:
        kernel, schedule = self.kernel, self.schedule
        first, last = len(kernel.outer), len(kernel.sizes)
        parts = unroll if schedule.across_rows else schedule.unroll
        targets = [kernel.instructions[k].args[0] for k in reduced] + [s.value for s in stores]
        scans = self._scans(targets)
        start: list[Register] = []
        for k in [*reduced, *scans]:
            i = kernel.instructions[k]
            one = self.ops.constant(identity(i.detail, i.dtype), i.dtype)
            wide = schedule.lanes if not schedule.across_rows or i.axes & self.lane_bit else 1
            start += [self.ops.spread(one, wide)] * parts

        def body(count: int, carried: list[Register]) -> list[Register]:
            here = dict(values)
            result = list(carried)
            for n, k in enumerate(scans, len(reduced)):
                i = kernel.instructions[k]
                own = slice(n * parts, n * parts + count)
                xs = [self.value(i.args[0], here, u, count) for u in range(count)]
                pairs = zip(carried[own], xs, strict=True)
                here[k] = result[own] = [self._combined(i.detail, c, x) for c, x in pairs]
            for n, k in enumerate(reduced):
                i = kernel.instructions[k]
                for u in range(count):
                    x = self.value(i.args[0], here, u, count)
                    at = n * parts + u
                    x = self.ops.spread(x, carried[at].lanes)
                    if self.mask is not None and not schedule.across_rows:
                        existing = Register(self.mask, BOOL, x.lanes)
                        x = self.ops.select(existing, x, start[at])
                    result[at] = self.ops.binary(i.detail, carried[at], x)
            self.store_all(stores, here, count)
            self._keep(here, count)
            return result

        def nest(axis: int, carried: list[Register]) -> list[Register]:
            if not schedule.across_rows and axis == last - 1:
                past = any(s.access.buffer in schedule.streamed for s in stores)
                first = self._first_aligned() if past else None
                return self.lane_loop("0", str(kernel.sizes[axis]), carried, body, first)
            if axis == last:
                return body(unroll, carried)
            typed = [(type_of(c.dtype, c.lanes), c.text) for c in carried]
            with self.f.carrying("0", str(kernel.sizes[axis]), "1", typed) as (i, now, then):
                self.variables[axis] = i
                named = [c._replace(text=t) for c, t in zip(carried, now, strict=True)]
                then[:] = [r.text for r in nest(axis + 1, named)]
            return [c._replace(text=t) for c, t in zip(carried, then, strict=True)]

        end = nest(first, start)
        for n, k in enumerate(reduced):
            results = end[n * parts : (n + 1) * parts]
            if schedule.across_rows:
                values[k] = results
            else:
                values[k] = [self._across(kernel.instructions[k].detail, results)]

    def _scans(self, targets: Sequence[int]) -> list[int]:
        """The scans that some values need, each after those that it needs itself."""
        seen: set[int] = set()
        todo = list(targets)
        while todo:
            k = todo.pop()
            if k not in seen:
                seen.add(k)
                todo += self.kernel.instructions[k].args
        return [k for k in sorted(seen) if self.kernel.instructions[k].op == "scan"]

    def _combined(self, op: str, total: Register, x: Register) -> Register:
        ops = self.ops
        x = ops.spread(x, total.lanes)
        if op != "logaddexp":
            return ops.binary(op, total, x)
        # Equal infinities have no difference.
        zero = ops.constant(0, x.dtype)
        gap = ops.select(ops.eq(total, x), zero, ops.abs(ops.sub(total, x)))
        more = ops.elementary("log1p", ops.elementary("exp", ops.neg(gap)))
        return ops.add(ops.max(total, x), more)

    def _across(self, op: str, parts: list[Register]) -> Register:
        """All lanes of some vectors, combined: by halves, as exact as sums can be."""
        total = parts[0]
        for part in parts[1:]:
            total = self.ops.binary(op, total, part)
        lanes = total.lanes
        while lanes > 1:
            half = lanes // 2
            low, high = (self._part(total, lanes, start, half) for start in (0, half))
            total, lanes = self.ops.binary(op, low, high), half
        return total

    def _part(self, x: Register, lanes: int, start: int, count: int) -> Register:
        whole = type_of(x.dtype, lanes)
        if count == 1:
            text = self.f.value(f"extractelement {whole} {x.text}, i64 {start}")
            return Register(text, x.dtype)
        which = ", ".join(f"i32 {start + k}" for k in range(count))
        text = self.f.value(
            f"shufflevector {whole} {x.text}, {whole} poison, <{count} x i32> <{which}>"
        )
        return Register(text, x.dtype, count)

    # Loops of vectors

    def lane_loop(
        self,
        start: str,
        stop: str,
        carried: list[Register],
        body: LaneBody,
        first: str | None = None,
    ) -> list[Register]:
        """Rounds of `unroll` vectors, then the rest, one vector at a time with a mask.

        first: what comes before is done by itself, so that rounds begin there.
        """
        lanes, unroll = self.schedule.lanes, self.schedule.unroll
        step, lane = lanes * unroll, self.schedule.lane

        def rounds(
            begin: str, end: str, by: int, count: int, now: list[Register]
        ) -> list[Register]:
            if begin.isdigit() and end.isdigit() and int(end) - int(begin) <= by:
                self.variables[lane] = begin
                return self._single_round(int(end) - int(begin), count, now, body)
            typed = [(type_of(c.dtype, c.lanes), c.text) for c in now]
            with self.f.carrying(begin, end, str(by), typed) as (i, names, then):
                self.variables[lane] = i
                if self.mask is not None:
                    self.mask = self.lanes_below(i, end)
                named = [c._replace(text=t) for c, t in zip(now, names, strict=True)]
                then[:] = [r.text for r in body(count, named)]
            return [c._replace(text=t) for c, t in zip(now, then, strict=True)]

        if first is not None:
            self.mask = ""
            carried = rounds(start, first, lanes, 1, carried)
            self.mask, start = None, first
        if start == "0" and stop.isdigit():
            size = int(stop)
            if size // step:
                carried = rounds("0", str(size // step * step), step, unroll, carried)
            if size % step:
                self.mask = "" if size % lanes else None
                carried = rounds(str(size // step * step), stop, lanes, 1, carried)
        else:
            whole = self._whole_rounds(start, stop, step)
            carried = rounds(start, whole, step, unroll, carried)
            if step > 1:
                self.mask = "" if lanes > 1 else None
                carried = rounds(whole, stop, lanes, 1, carried)
        self.mask = None
        return carried

    def _single_round(
        self, size: int, count: int, carried: list[Register], body: LaneBody
    ) -> list[Register]:
        """A round of as many elements; of few of them, in a narrower vector."""
        whole = self.schedule
        if self.mask is not None:
            if not carried and not self.kernel.inner:
                self.schedule = whole._replace(lanes=1 << (size - 1).bit_length(), unroll=1)
            lanes = self.schedule.lanes
            self.mask = constant_mask(lanes, size) if size < lanes else None
        result = body(count, carried)
        self.schedule = whole
        return result

    def _first_aligned(self) -> str | None:
        """Where whole vectors of the streamed buffers begin, if that is not where all others do."""
        place, lanes = self.schedule.streamed_place, self.schedule.lanes
        if place is None:
            return None
        total = self.base(place)
        for a in self.kernel.inner_axes:
            if a != self.schedule.lane:
                total = self._plus(total, self.variables[a], place.strides[a])
        total = self.plus_constant(total, place.constant)
        ahead = self.f.value(f"sub i64 0, {total}")
        return self.f.value(f"and i64 {ahead}, {lanes - 1}")

    def _whole_rounds(self, start: str, stop: str, step: int) -> str:
        """Where the last whole round ends."""
        if step == 1:
            return stop
        length = self.f.value(f"sub i64 {stop}, {start}")
        rest = self.f.value(f"urem i64 {length}, {step}")
        return self.f.value(f"sub i64 {stop}, {rest}")

    def lanes_below(self, i: str, stop: str) -> str:
        """The mask of the lanes below `stop`."""
        lanes = self.schedule.lanes
        left = self.f.value(f"sub i64 {stop}, {i}")
        left = self.f.value(f"trunc i64 {left} to i32")
        numbers = ", ".join(f"i32 {k}" for k in range(lanes))
        one = self.f.value(f"insertelement <{lanes} x i32> poison, i32 {left}, i64 0")
        every = self.f.value(
            f"shufflevector <{lanes} x i32> {one}, <{lanes} x i32> poison, "
            f"<{lanes} x i32> zeroinitializer"
        )
        return self.f.value(f"icmp sgt <{lanes} x i32> {every}, <{numbers}>")

    # Values

    def _prepare(self, values: Values, wanted: Callable[[Instruction], bool]) -> None:
        """Compute ahead what holds for all vectors of a loop, as far as it is used."""
        for k, i in enumerate(self.kernel.instructions):
            if wanted(i) and i.op != "constant":
                self.value(k, values, 0, 1)

    def value(self, k: int, values: Values, u: int, unroll: int) -> Register:
        """Instruction k for vector u of a round, printed where it is asked for first."""
        known = values.get(k)
        if known is not None:
            found = known[u] if len(known) > 1 else known[0]
            if found is not _NONE:
                return found
        i = self.kernel.instructions[k]
        if k in self.rooms and self.schedule.kept[k] < self.stage:
            result = self._kept(k, u)
        else:
            result = self._print(i, values, u, unroll)
        if unroll == 1 or not i.axes & self.lane_bit:
            values[k] = [result]
        else:
            slots = values.get(k, [_NONE] * unroll)
            values[k] = [*slots[:u], result, *slots[u + 1 :]]
        return result

    def _print(self, i: Instruction, values: Values, u: int, unroll: int) -> Register:
        ops = self.ops
        if i.op in LOADS and (held := self.held.get(i.detail.buffer)) is not None:
            return held
        if i.op == "load":
            return self.load(i.detail, u)
        if i.op == "constant":
            return ops.constant(i.detail, i.dtype)
        if i.op == "index":
            return self._index(i.detail, i.dtype, u)
        if i.op == "product":
            return Register(self.product, i.dtype, self.schedule.lanes)
        args = [self.value(a, values, u, unroll) for a in i.args]
        if i.op == "take":
            return self.load(i.detail, u, offset=args[0])
        if i.op == "load_if":
            return self._load_if(i.detail, u, args[0])
        if i.op == "convert":
            return ops.convert(args[0], i.dtype)
        if i.op == "bitcast":
            return ops.bitcast(args[0], i.dtype)
        if i.op == "select":
            return ops.select(*args)
        if i.op == "fma":
            return ops.fma(*args)
        if i.op in COMPARISONS:
            return ops.compare(i.op, *args)
        if i.op in UNARY:
            return ops.unary(i.op, *args)
        if i.op in BINARY:
            return ops.binary(i.op, *args)
        return ops.elementary(i.op, *args)

    # Values kept from one stage to the next

    def _keep(self, values: Values, count: int) -> None:
        """Keep what this stage has made and later ones need."""
        for k, made in self.schedule.kept.items():
            if made == self.stage:
                for u in range(count):
                    x = self.ops.spread(self.value(k, values, u, count), self.schedule.lanes)
                    where = self._room(k, u)
                    self.f.do(f"store {type_of(x.dtype, x.lanes)} {x.text}, ptr {where}, align 4")

    def _kept(self, k: int, u: int) -> Register:
        dtype, lanes = self.kernel.instructions[k].dtype, self.schedule.lanes
        kind, where = type_of(dtype, lanes), self._room(k, u)
        return Register(self.f.value(f"load {kind}, ptr {where}, align 4"), dtype, lanes)

    def _room(self, k: int, u: int) -> str:
        """Where the elements of vector u are kept; whole vectors, with what lies beyond a row."""
        schedule, kernel = self.schedule, self.kernel
        step = schedule.lanes * schedule.unroll if schedule.across_rows else 1
        total = str(u * schedule.lanes)
        for a in reversed(kernel.inner_axes):
            total = self._plus(total, self.variables[a], step)
            if a == schedule.lane:
                step = -(-kernel.sizes[a] // schedule.lanes) * schedule.lanes
            else:
                step *= kernel.sizes[a]
        kind = scalar_type(kernel.instructions[k].dtype)
        return self.f.value(f"getelementptr inbounds {kind}, ptr {self.rooms[k]}, i64 {total}")

    # Results

    def store_all(self, stores: Sequence[Store], values: Values, unroll: int) -> None:
        """Compute everything, and only then write: a result may lie where an operand did."""
        pairs = [(s, u) for s in stores for u in range(unroll)]
        ready = [self._accumulated(s, self.value(s.value, values, u, unroll), u) for s, u in pairs]
        if self._are_interleaved(stores):
            for u in range(unroll):
                self._store_in_turn(stores[0], ready[u::unroll], u)
            return
        for (s, u), value in zip(pairs, ready, strict=True):
            self.store(s, value, u)

    def _accumulated(self, store: Store, value: Register, u: int) -> Register:
        """The value, combined with what is in memory already where it is not the first."""
        if not store.by:
            return value
        before = self.load(store.access, u)
        first = self.f.value(f"icmp eq i64 {self.variables[store.along]}, 0")
        neutral = self.ops.constant(identity(store.by, value.dtype), value.dtype)
        before = self.ops.select(
            Register(first, BOOL), self.ops.spread(neutral, before.lanes), before
        )
        return self.ops.binary(store.by, before, value)


_NONE = Register("", BOOL)

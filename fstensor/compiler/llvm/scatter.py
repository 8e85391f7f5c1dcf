"""Scatters as LLVM functions: loops over boxes, with vectors along their fastest axis."""

from __future__ import annotations

from typing import final

from fstensor.compiler.llvm.loops import LoopWriter, Values
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.vector import Register
from fstensor.compiler.scatter import ScatterStep
from fstensor.compiler.schedule import Schedule


def scatter_lanes(step: ScatterStep, vector_bytes: int) -> int:
    """How many elements the vectors of a scatter have."""
    kernel = step.kernel
    last = len(kernel.outer) - 1
    if last < step.n_walked + step.n_boxes:
        return 1
    store = kernel.stores[0]
    if store.access.place.strides[last] != 1 or kernel.outer[last] < 4:
        return 1
    lanes = vector_bytes // kernel.instructions[store.value].dtype.itemsize
    while lanes > kernel.outer[last]:
        lanes //= 2
    return max(1, lanes)


def write_scatter(module: Module, name: str, step: ScatterStep, lanes: int, has_fma: bool) -> None:
    """Add `void @name(ptr %p0, ..., i64 %begin, i64 %end)`.

    The parameters are the buffers that are read, the array to change, and the part of the axis
    `shared` to go over.
    """
    pointers = [f"ptr %p{k}" for k in range(len(step.kernel.buffers))]
    f = Function(module, name, [*pointers, "i64 %begin", "i64 %end"])
    _Scatter(f, step, lanes, has_fma).write()
    f.finish()


@final
class _Scatter:
    def __init__(self, f: Function, step: ScatterStep, lanes: int, has_fma: bool) -> None:
        kernel = step.kernel
        last = len(kernel.outer) - 1
        lane = last if last >= step.n_walked + step.n_boxes else -1
        unroll = 2 if lane >= 0 and kernel.outer[last] >= 4 * lanes else 1
        self.f = f
        self.step = step
        self.kernel = kernel
        self.writer = LoopWriter(f, Schedule(kernel, lane, lanes, unroll), has_fma)
        self.lane = lane
        self.n_outside = step.n_walked + step.n_boxes

    def write(self) -> None:
        self._loops(0)

    def _bounds(self, axis: int) -> tuple[str, str]:
        if axis == self.step.shared:
            return "%begin", "%end"
        return "0", str(self.kernel.outer[axis])

    def _loops(self, axis: int) -> None:
        if axis == self.n_outside:
            self._box()
            return
        with self.f.loop(*self._bounds(axis)) as i:
            self.writer.variables[axis] = i
            self._loops(axis + 1)

    def _box(self) -> None:
        """One box, unless it is left out."""
        f, step, writer = self.f, self.step, self.writer
        writer.bases = {}
        values: Values = {}
        if step.inside is None:
            self._windows(self.n_outside, values)
            return
        inside = writer.value(step.inside, values, 0, 1)
        there, after = f.new_block("box"), f.new_block("next")
        f.branch_if(inside.text, there, after)
        f.enter(there)
        self._windows(self.n_outside, values)
        f.branch(after)
        f.enter(after)

    def _windows(self, axis: int, values: Values) -> None:
        step, writer = self.step, self.writer
        if axis == self.n_outside and step.offset is not None:
            writer.value(step.offset, values, 0, 1)
        if axis < len(self.kernel.outer) - 1:
            with self.f.loop(*self._bounds(axis)) as i:
                writer.variables[axis] = i
                self._windows(axis + 1, dict(values))
            return
        writer.bases = {}
        for place in writer.places():
            writer.base(place)
        if self.lane < 0:
            self._elements(dict(values), 1)
            return
        bits = (1 << self.lane) - 1
        known = dict(values)
        store = self.kernel.stores[0]
        for k in self._needed(store.value):
            instruction = self.kernel.instructions[k]
            if not instruction.axes & ~bits and instruction.op != "constant":
                writer.value(k, known, 0, 1)
        start, stop = self._bounds(self.lane)

        def body(count: int, carried: list[Register]) -> list[Register]:
            self._elements(dict(known), count)
            return carried

        writer.lane_loop(start, stop, [], body)

    def _needed(self, value: int) -> list[int]:
        found, todo = set(), [value]
        while todo:
            k = todo.pop()
            if k not in found:
                found.add(k)
                todo += self.kernel.instructions[k].args
        return sorted(found)

    def _elements(self, values: Values, count: int) -> None:
        """The elements of some vectors, each changed where it is."""
        step, writer = self.step, self.writer
        store = self.kernel.stores[0]
        offset = None if step.offset is None else writer.value(step.offset, values, 0, 1)
        for u in range(count):
            new = writer.value(store.value, values, u, count)
            if step.combine:
                old = writer.load(store.access, u, offset)
                new = writer.ops.binary(step.combine, old, new)
            writer.store(store, new, u, offset)

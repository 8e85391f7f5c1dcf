"""Long reductions in parts: for all threads, and in the order of memory.

Threads divide the rows of a kernel among them. One with few rows, as a sum over everything has, is
written as several: an inner axis is cut into chunks, each of which is reduced by itself; then the
results of the chunks are combined. So are sums of long columns, since a column by itself takes a
few bytes from every page. How many chunks there are depends on sizes alone: results do not depend
on the number of threads, and sums of sums are more exact than long ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import final

from fstensor.compiler.kernels import Kernel, Recorder, Store, merged
from fstensor.compiler.rewritten import Loops, Writer, Written
from fstensor.compiler.schedule import bytes_touched, scheduled
from fstensor.compiler.steps import KernelStep
from fstensor.core.affine import Affine, flat
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Var

# With fewer rows than this, threads could not share a kernel evenly. That is no matter where each
# row is less work than two chunks.
_FEW_ROWS = 32
# The least operations of a chunk, and the most chunks: of rows, and of columns.
_LEAST_WORK = 60_000
_MOST_CHUNKS = 256
_MOST_OF_COLUMNS = 64
# Of columns: the least bytes that are worth it, and the least elements and rows of a chunk. With
# so many columns, their sums wait in the cache while the rows are run through one after the other.
_LEAST_BYTES = 1 << 20
_LEAST_ELEMENTS = 1 << 14
_LEAST_ROWS = 16
_LEAST_COLUMNS = 64


def in_parts(step: KernelStep) -> list[KernelStep]:
    """The step, or several that do the same."""
    ops = {i.op for i in step.kernel.instructions}
    if "reduce" not in ops or "scan" in ops:
        return [step]
    kernel = plain(step.kernel)
    if not kernel.inner:
        return [step]
    axis = max(kernel.inner_axes, key=lambda a: kernel.sizes[a])
    cut = _cut(kernel, axis)
    return [step] if cut is None else _Parts(step, kernel, axis, *cut).steps()


def plain(kernel: Kernel) -> Kernel:
    """The kernel without axes of size 1, and with those made one that can be."""
    n_outer = len(kernel.outer)
    axes = [a for a, n in enumerate(kernel.sizes) if n != 1]
    return merged(kernel, axes, sum(a < n_outer for a in axes))


def _cut(kernel: Kernel, axis: int) -> tuple[int, bool] | None:
    """How much of an inner axis makes up a chunk, and whether it is run through row by row.

    None for a kernel that is best as it is.
    """
    size, rows = kernel.sizes[axis], math.prod(kernel.outer)
    loads = [i.detail for i in kernel.instructions if i.op == "load"]
    is_across = scheduled(kernel, 64).across_rows
    if is_across:
        if max((bytes_touched(kernel, a) for a in loads), default=0) < _LEAST_BYTES:
            return None
        others = math.prod(kernel.sizes) // size
        least = max(_LEAST_ROWS, -(-_LEAST_ELEMENTS // others), -(-size // _MOST_OF_COLUMNS))
    else:
        chunks = min(_MOST_CHUNKS, kernel.work // (rows * _LEAST_WORK))
        if rows >= _FEW_ROWS or chunks < 2:
            return None
        least = -(-size // chunks)
    if size < 2 * least:
        return None
    # Without a rest if possible.
    length = next((n for n in range(least, 2 * least) if size % n == 0), least)
    return length, is_across and kernel.outer[-1] >= _LEAST_COLUMNS


@final
class _Parts:
    """The steps that stand for one whose inner axis `axis` is cut into chunks of some length."""

    def __init__(
        self, step: KernelStep, kernel: Kernel, axis: int, length: int, row_by_row: bool
    ) -> None:
        self.kernel = kernel
        self.variables = [*step.reads, *step.writes]
        self.axis = axis
        self.length = length
        self.row_by_row = row_by_row
        self.chunks, self.rest = divmod(kernel.sizes[axis], length)

    def _writer(self, loops: Loops, known: Mapping[int, Var]) -> Writer:
        record = Recorder(Kernel(loops.outer, loops.inner))
        return Writer(self.kernel, self.variables, loops, record, known)

    def steps(self) -> list[KernelStep]:
        kernel, found = self.kernel, []
        known: dict[int, Var] = {}
        for stage in range(kernel.stages):
            of_stage = [s for s in kernel.stores if kernel.stage_of(s) == stage]
            inside = [s for s in of_stage if kernel.is_inside(s)]
            reduced = [
                k
                for k, i in enumerate(kernel.instructions)
                if i.op == "reduce" and i.stage == stage + 1
            ]
            if not reduced:
                found += self._map(inside, known) if inside else []
                continue
            partial = {k: self._variable(k, self.chunks + bool(self.rest)) for k in reduced}
            found += self._chunks(inside, partial, known)
            ready = [s for s in kernel.stores if kernel.stage_of(s) == stage + 1]
            if stage == 0:
                ready += of_stage
            ready = [s for s in ready if not kernel.is_inside(s)]
            results = {k: self._variable(k) for k in reduced}
            found.append(self._combined(ready, partial, results, known))
            known |= results
        return found

    def _variable(self, k: int, chunks: int = 0) -> Var:
        shape = (chunks, *self.kernel.outer) if chunks else self.kernel.outer
        return Var(ShapedArray(shape, self.kernel.instructions[k].dtype))

    def _chunks(
        self, stores: Sequence[Store], partial: Mapping[int, Var], known: Mapping[int, Var]
    ) -> list[KernelStep]:
        """What is written, and reduced, along the inner axes of each chunk; then of the rest."""
        kernel, n_outer = self.kernel, len(self.kernel.outer)
        inner = list(kernel.inner)
        inner[self.axis - n_outer] = self.length
        at: tuple[int | None, ...] = tuple(range(1, len(kernel.sizes) + 1))
        loops = Loops((self.chunks, *kernel.outer), tuple(inner), at, self.axis, (self.length,))
        if self.row_by_row:
            del inner[self.axis - n_outer]
            outer = (self.chunks, self.length, *kernel.outer)
            at = tuple([a + 2 - (a > self.axis) for a in range(len(kernel.sizes))])
            at = (*at[: self.axis], None, *at[self.axis + 1 :])
            loops = Loops(outer, tuple(inner), at, self.axis, (self.length, 1))
        found = [self._chunk(loops, stores, partial, known, 0)]
        if self.rest:
            inner = list(kernel.inner)
            inner[self.axis - n_outer] = self.rest
            first = self.chunks * self.length
            at = tuple(range(1, len(kernel.sizes) + 1))
            loops = Loops((1, *kernel.outer), tuple(inner), at, self.axis, first=first)
            found.append(self._chunk(loops, stores, partial, known, self.chunks))
            found[-1].continues = True
        return found

    def _chunk(
        self,
        loops: Loops,
        stores: Sequence[Store],
        partial: Mapping[int, Var],
        known: Mapping[int, Var],
        number: int,
    ) -> KernelStep:
        kernel, writer = self.kernel, self._writer(loops, known)
        writer.make(
            [*(kernel.instructions[k].args[0] for k in partial), *(s.value for s in stores)]
        )
        rank, n_outer = len(loops.outer) + len(loops.inner), len(loops.outer)
        rows = range(n_outer - len(kernel.outer), n_outer)
        index = [Affine.axis(0, rank) + number, *(Affine.axis(a, rank) for a in rows)]
        place = flat(index, (self.chunks + 1, *kernel.outer))
        written = self._written(stores, writer)
        along = 1 if len(loops.steps) > 1 else -1
        for k, v in partial.items():
            i = kernel.instructions[k]
            value = writer.values[i.args[0]]
            if loops.inner:
                value = writer.record.reduce(i.detail, value)
            written.append(Written(v, place, value, i.detail if along >= 0 else "", along))
        return writer.finish(written)

    def _written(self, stores: Sequence[Store], writer: Writer) -> list[Written]:
        return [
            Written(
                self.variables[s.access.buffer],
                writer.loops.place(s.access.place),
                writer.values[s.value],
            )
            for s in stores
        ]

    def _combined(
        self,
        stores: Sequence[Store],
        partial: Mapping[int, Var],
        results: Mapping[int, Var],
        known: Mapping[int, Var],
    ) -> KernelStep:
        """The chunks' results made one, and what is written for each row."""
        kernel, n_outer = self.kernel, len(self.kernel.outer)
        chunks = self.chunks + bool(self.rest)
        at = (*range(n_outer), *[None] * len(kernel.inner))
        writer = self._writer(Loops(kernel.outer, (chunks,), at), known)
        index = [Affine.axis(n_outer, n_outer + 1)]
        index += [Affine.axis(a, n_outer + 1) for a in range(n_outer)]
        place = flat(index, (chunks, *kernel.outer))
        written: list[Written] = []
        for k, v in partial.items():
            part = writer.record.load(writer.access(v, place))
            writer.values[k] = writer.record.reduce(kernel.instructions[k].detail, part)
        writer.make(s.value for s in stores)
        later = [i for i in kernel.instructions if i.stage >= 1 and i.axes & kernel.inner_bits]
        if later or any(kernel.is_inside(s) and kernel.stage_of(s) >= 1 for s in kernel.stores):
            written += [Written(v, None, writer.values[k]) for k, v in results.items()]
        return writer.finish([*written, *self._written(stores, writer)])

    def _map(self, stores: Sequence[Store], known: Mapping[int, Var]) -> list[KernelStep]:
        """What is written for each element in the end."""
        at = tuple(range(len(self.kernel.sizes)))
        writer = self._writer(Loops(self.kernel.sizes, (), at), known)
        writer.make(s.value for s in stores)
        return [writer.finish(self._written(stores, writer))]

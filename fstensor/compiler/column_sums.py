"""Sums of columns in the kernel that makes or reads their elements row by row.

The gradient of a layer norm is a kernel over rows; those of its scale and shift are sums over the
same rows of what it has at hand. They are added up while it runs, each chunk of rows by itself.
Other sums of columns are of several rows at a time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from fstensor.compiler.kernels import Kernel, Recorder
from fstensor.compiler.partial import plain
from fstensor.compiler.rewritten import Loops, Writer, Written
from fstensor.compiler.steps import KernelStep, Step
from fstensor.core.affine import Affine
from fstensor.core.jaxpr import Var

# The most instructions of a kernel: with more, registers would be short.
_MOST_INSTRUCTIONS = 160
# How many rows are added up before the sums of their chunk are read and written, the first that
# divides the chunk; and the most instructions for each.
_ROWS_AT_ONCE = (4, 5, 3, 2)
_MOST_FOR_A_ROW = 8


def join_column_sums(steps: Sequence[Step], wanted: set[Var]) -> list[Step]:
    """The steps, with sums of columns in kernels over rows where they fit.

    wanted: the results of the program.
    """
    return [_of_several_rows(s) for s in _with_joined(steps, wanted)]


def _with_joined(steps: Sequence[Step], wanted: set[Var]) -> list[Step]:
    found = list(steps)
    sums = [s for s in found if isinstance(s, KernelStep) and _adds_up(s.kernel)]
    for columns in sums:
        for rows in [s for s in found if isinstance(s, KernelStep) and s.kernel.inner]:
            joined = _joined(found, rows, columns, wanted)
            if joined is not None:
                step, place = joined
                found.insert(place, step)
                found = [s for s in found if s is not rows and s is not columns]
                break
    return found


def _adds_up(kernel: Kernel) -> bool:
    """Whether a kernel runs through chunks of rows, and adds up columns of each; see `partial`."""
    by = [s.by for s in kernel.stores]
    return all(by) and not kernel.inner and len(kernel.outer) == 3


def _joined(
    steps: Sequence[Step], rows: KernelStep, columns: KernelStep, wanted: set[Var]
) -> tuple[KernelStep, int] | None:
    """One step in place of two, and where it goes; None where they do not fit together."""
    chunks, length, width = columns.kernel.outer
    large = {v for v in columns.reads if math.prod(v.aval.shape) == chunks * length * width}
    if not large & {*rows.reads, *rows.writes}:
        return None
    kernel = plain(rows.kernel)
    if len(kernel.inner) != 1 or kernel.inner[0] != width or not _fits(kernel, chunks, length):
        return None
    if len(kernel.instructions) + len(columns.kernel.instructions) > _MOST_INSTRUCTIONS:
        return None
    place = _place(steps, rows, columns)
    if place is None:
        return None
    others = [s for s in steps if s is not rows and s is not columns]
    read = {v for s in others for v in s.reads} | wanted
    step = _one_kernel(kernel, rows, columns, read)
    return None if step is None else (step, place)


def _fits(kernel: Kernel, chunks: int, length: int) -> bool:
    """Whether a kernel runs over as many rows; it may have been cut into the same chunks."""
    ops = {i.op for i in kernel.instructions}
    return "scan" not in ops and kernel.outer in ((chunks * length,), (chunks, length))


def _place(steps: Sequence[Step], rows: KernelStep, columns: KernelStep) -> int | None:
    """Where the first of two steps is, if the second can go there, too."""
    first, second = sorted((steps.index(rows), steps.index(columns)))
    between = {v for s in steps[first + 1 : second] for v in s.writes}
    if any(v in between for v in steps[second].reads):
        return None
    made = set(steps[first].writes)
    later = made & set(steps[second].reads)
    # Sums may read what the rows make, at the same place; not the other way round.
    return first if not later or steps[first] is rows else None


def _one_kernel(
    kernel: Kernel, rows: KernelStep, columns: KernelStep, read: set[Var]
) -> KernelStep | None:
    chunks, length, width = columns.kernel.outer
    record = Recorder(Kernel((chunks, length), (width,)))
    if len(kernel.outer) == 2:
        loops = Loops((chunks, length), (width,), (0, 1, 2))
    else:
        loops = Loops((chunks, length), (width,), (None, 2), 0, (length, 1))
    writer = Writer(kernel, [*rows.reads, *rows.writes], loops, record)
    writer.make(s.value for s in kernel.stores)
    made: dict[Var, tuple[Affine, int]] = {}
    written: list[Written] = []
    for s in kernel.stores:
        v, place = writer.variables[s.access.buffer], loops.place(s.access.place)
        made[v] = place, writer.values[s.value]
        if v in read or s.by:
            written.append(Written(v, place, writer.values[s.value], s.by, s.along))
    adder = Writer(
        columns.kernel,
        [*columns.reads, *columns.writes],
        Loops((chunks, length), (width,), (0, 1, 2)),
        record,
        buffers=writer.buffers,
    )
    for k, i in enumerate(columns.kernel.instructions):
        if i.op == "load" and (known := made.get(adder.variables[i.detail.buffer])):
            if known[0] != i.detail.place:
                return None
            adder.values[k] = known[1]
        elif i.op in ("take", "load_if") and adder.variables[i.detail.buffer] in made:
            return None
    adder.make(s.value for s in columns.kernel.stores)
    for s in columns.kernel.stores:
        v = adder.variables[s.access.buffer]
        written.append(Written(v, s.access.place, adder.values[s.value], s.by, s.along))
    return adder.finish(written)


def _of_several_rows(step: Step) -> Step:
    """Sums of columns with several rows in one turn of the loop; other steps as they are."""
    if not isinstance(step, KernelStep) or not _adds_up(step.kernel):
        return step
    kernel = step.kernel
    chunks, length, width = kernel.outer
    count = next((n for n in _ROWS_AT_ONCE if length % n == 0), 1)
    if count == 1 or len(kernel.instructions) > _MOST_FOR_A_ROW:
        return step
    record = Recorder(Kernel((chunks, length // count, width), ()))
    buffers: dict[Var, int] = {}
    rows = []
    for r in range(count):
        loops = Loops(record.kernel.outer, (), (0, None, 2), 1, (0, count), r)
        writer = Writer(kernel, [*step.reads, *step.writes], loops, record, buffers=buffers)
        writer.make(s.value for s in kernel.stores)
        rows.append(writer)
    written = []
    for s in kernel.stores:
        values = [w.values[s.value] for w in rows]
        total = functools.reduce(functools.partial(record.binary, s.by), values)
        v, place = rows[0].variables[s.access.buffer], rows[0].loops.place(s.access.place)
        written.append(Written(v, place, total, s.by, s.along))
    return rows[0].finish(written)

"""Sums of columns in the kernel that makes or reads their elements row by row.

The gradient of a layer norm is a kernel over rows; those of its scale and shift are sums over the
same rows of what it has at hand. They are added up while it runs, each chunk of rows by itself.
"""

from __future__ import annotations

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


def join_column_sums(steps: Sequence[Step], wanted: set[Var]) -> list[Step]:
    """The steps, with sums of columns in kernels over rows where they fit.

    wanted: the results of the program.
    """
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

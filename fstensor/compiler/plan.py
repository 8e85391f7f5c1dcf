"""Where the values of a program lie, and which of its steps run in one native call.

Steps between two visits of the host make up a segment. What only a segment uses lies in its scratch
memory, at a fixed place for as long as it is needed; a kernel may write over an operand that nobody
needs any more, when each element is read at the place where its result goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from fstensor.compiler.convolution import ConvStep
from fstensor.compiler.kernels import LOADS
from fstensor.compiler.steps import HostStep, NativeStep, ProductStep, Step
from fstensor.core.jaxpr import Var

ALIGNMENT = 64  # bytes; of the scratch memory, and of each value in it


def size_of(v: Var) -> int:
    """Bytes of a value in memory."""
    return math.prod(v.aval.shape) * v.aval.dtype.itemsize


@final
@dataclass
class Segment:
    """Kernels that run one after the other, without the host.

    arguments: the values that are passed as arrays: those read, then those made for others.
    n_inputs: how many are read. places: where in the scratch memory the other values lie.
    """

    steps: list[NativeStep]
    arguments: list[Var] = field(default_factory=list)
    n_inputs: int = 0
    places: dict[Var, int] = field(default_factory=dict)
    scratch: int = 0

    @property
    def outputs(self) -> list[Var]:
        return self.arguments[self.n_inputs :]

    def __str__(self) -> str:
        lines = [f"segment of {len(self.steps)} kernels, scratch {self.scratch} bytes"]
        for n, step in enumerate(self.steps):
            kind = "product" if isinstance(step, ProductStep) else "kernel"
            if isinstance(step, ConvStep):
                kind = "convolution"
            reads = ", ".join(map(self._where, step.reads))
            writes = ", ".join(map(self._where, step.writes))
            lines.append(f"  {kind} {n}: {reads} -> {writes}")
        return "\n".join(lines)

    def _where(self, v: Var) -> str:
        if v in self.places:
            return f"{v.aval.short()} at {self.places[v]}"
        return f"{v.aval.short()} #{self.arguments.index(v)}"


def plan(steps: Sequence[Step], outputs: set[Var]) -> list[Segment | HostStep]:
    """The segments and host calls of a program, with memory for all that stays inside."""
    parts: list[Segment | HostStep] = []
    for step in steps:
        if isinstance(step, HostStep):
            parts.append(step)
        elif parts and isinstance(parts[-1], Segment):
            parts[-1].steps.append(step)
        else:
            parts.append(Segment([step]))
    readers: dict[Var, set[int]] = {}
    for n, part in enumerate(parts):
        for v in _read_by(part):
            readers.setdefault(v, set()).add(n)
    for n, part in enumerate(parts):
        if isinstance(part, Segment):
            made = [v for s in part.steps for v in s.writes]
            inside = [v for v in made if v not in outputs and readers.get(v, {n}) == {n}]
            _lay_out(part, set(inside))
    return parts


def _read_by(part: Segment | HostStep) -> list[Var]:
    return part.reads if isinstance(part, HostStep) else [v for s in part.steps for v in s.reads]


def _lay_out(segment: Segment, inside: set[Var]) -> None:
    """Give each value of a segment its memory."""
    made = {v for s in segment.steps for v in s.writes}
    reads = dict.fromkeys(v for s in segment.steps for v in s.reads if v not in made)
    writes = dict.fromkeys(v for s in segment.steps for v in s.writes if v not in inside)
    segment.arguments = [*reads, *writes]
    segment.n_inputs = len(reads)
    last = {v: n for n, s in enumerate(segment.steps) for v in (*s.writes, *s.reads)}
    live: dict[Var, tuple[int, int]] = {}  # place and size
    for n, step in enumerate(segment.steps):
        dying = [v for v in step.reads if v in live and last[v] == n]
        for w in step.writes:
            if w not in inside or w in live:  # or made by the steps before, too
                continue
            heir = next((v for v in dying if _may_take_over(step, v, w)), None)
            if heir is not None:
                dying.remove(heir)
                live[w] = live.pop(heir)
            else:
                live[w] = (_free_place(list(live.values()), size_of(w)), size_of(w))
            segment.places[w] = live[w][0]
            segment.scratch = max(segment.scratch, sum(live[w]))
        for v in [v for v in live if last[v] <= n]:
            del live[v]


def _may_take_over(step: NativeStep, old: Var, new: Var) -> bool:
    """Whether a kernel can write `new` over `old`: it reads each element where it then writes."""
    kernel, reads = step.kernel, step.reads
    if isinstance(step, (ProductStep, ConvStep)):
        if old in reads[:2]:
            return False
        reads = reads[2:]
    if old.aval.dtype.itemsize != new.aval.dtype.itemsize or kernel.inner:
        return False
    if size_of(old) < size_of(new):
        return False
    buffers = [*reads, *step.writes]
    place = next(s.access.place for s in kernel.stores if buffers[s.access.buffer] is new)
    loads = [i for i in kernel.instructions if i.op in LOADS and buffers[i.detail.buffer] is old]
    return all(i.op != "take" and i.detail.place == place for i in loads)


def _free_place(taken: Sequence[tuple[int, int]], size: int) -> int:
    """The first gap between what is taken that is large enough."""
    place = 0
    for start, length in sorted(taken):
        if place + size <= start:
            break
        place = max(place, -(-(start + length) // ALIGNMENT) * ALIGNMENT)
    return place

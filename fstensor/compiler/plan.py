"""Where the values of a program lie, and which of its steps run in one native call.

Steps between two visits of the host make up a segment. What only a segment uses lies in its scratch
memory, at a fixed place for as long as it is needed; a kernel may write over an operand that nobody
needs any more, when each element is read at the place where its result goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from fstensor.compiler.control import ChoiceStep, LoopStep
from fstensor.compiler.convolution import ConvStep
from fstensor.compiler.kernels import LOADS
from fstensor.compiler.layout import aligned, size_of
from fstensor.compiler.steps import HostStep, NativeStep, ProductStep, Step
from fstensor.compiler.strips import AttentionStep
from fstensor.core.jaxpr import Var

_KINDS = {
    ProductStep: "product",
    ConvStep: "convolution",
    AttentionStep: "attention",
    LoopStep: "loop",
    ChoiceStep: "choice",
}


@final
@dataclass
class Segment:
    """Kernels that run one after the other, without the host.

    arguments: the values that are passed as arrays: those read, then those made for others.
    n_inputs: how many are read. places: where in the scratch memory the other values lie; rooms:
    where the steps of these numbers have some for themselves. same_place: the arguments that are
    written where another one was read; may_take: those of which that is decided at each call.
    """

    steps: list[NativeStep]
    arguments: list[Var] = field(default_factory=list)
    n_inputs: int = 0
    places: dict[Var, int] = field(default_factory=dict)
    rooms: dict[int, int] = field(default_factory=dict)
    same_place: dict[Var, Var] = field(default_factory=dict)
    may_take: dict[Var, Var] = field(default_factory=dict)
    scratch: int = 0

    @property
    def outputs(self) -> list[Var]:
        return self.arguments[self.n_inputs :]

    def location(self, v: Var) -> tuple[str, int]:
        """Where a value lies: in the scratch memory from some byte, or which argument it is."""
        if v in self.places:
            return "scratch", self.places[v]
        return "argument", self.arguments.index(self.same_place.get(v, v))

    def __str__(self) -> str:
        lines = [f"segment of {len(self.steps)} kernels, scratch {self.scratch} bytes"]
        for n, step in enumerate(self.steps):
            reads = ", ".join(map(self._where, step.reads))
            writes = ", ".join(map(self._where, step.writes))
            lines.append(f"  {_KINDS.get(type(step), 'kernel')} {n}: {reads} -> {writes}")
            if isinstance(step, (LoopStep, ChoiceStep)):
                lines.append(f"    {step.headline()}, {step.room} bytes at {self.rooms[n]}")
                for nested in step.nested:
                    lines += [f"    {line}" for line in str(nested.segment).splitlines()]
        return "\n".join(lines)

    def _where(self, v: Var) -> str:
        kind, place = self.location(v)
        old = self.may_take.get(v)
        instead = "" if old is None else f" or #{self.location(old)[1]}"
        return f"{v.aval.short()} {'at ' if kind == 'scratch' else '#'}{place}{instead}"


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
        for v in read_by(part):
            readers.setdefault(v, set()).add(n)
    for n, part in enumerate(parts):
        if isinstance(part, Segment):
            made = [v for s in part.steps for v in s.writes]
            inside = [v for v in made if v not in outputs and readers.get(v, {n}) == {n}]
            _lay_out(part, set(inside), {})
    return parts


def plan_inside(
    steps: Sequence[NativeStep],
    inputs: Sequence[Var],
    outputs: Sequence[Var],
    heirs: Mapping[Var, Var],
) -> Segment:
    """The segment of a program inside of a step.

    heirs: outputs that take over the memory of an input, where the steps allow it.
    """
    segment = Segment(list(steps))
    kept = set(outputs)
    _lay_out(segment, {v for s in steps for v in s.writes if v not in kept}, heirs)
    segment.arguments = [*inputs, *outputs]
    segment.n_inputs = len(inputs)
    return segment


def read_by(part: Segment | HostStep) -> list[Var]:
    """The values that a segment, or a call of the host, takes from memory."""
    return part.reads if isinstance(part, HostStep) else [v for s in part.steps for v in s.reads]


def _lay_out(segment: Segment, inside: set[Var], heirs: Mapping[Var, Var]) -> None:
    """Give each value of a segment its memory. heirs: see `plan_inside`."""
    made = {v for s in segment.steps for v in s.writes}
    reads = dict.fromkeys(v for s in segment.steps for v in s.reads if v not in made)
    writes = dict.fromkeys(v for s in segment.steps for v in s.writes if v not in inside)
    segment.arguments = [*reads, *writes]
    segment.n_inputs = len(reads)
    last = {v: n for n, s in enumerate(segment.steps) for v in (*s.writes, *s.reads)}
    live: dict[Var, tuple[int, int]] = {}  # place and size
    begun: set[Var] = set()  # what steps have written, or a part of it
    for n, step in enumerate(segment.steps):
        dying = [v for v in step.reads if v in live and last[v] == n]
        for w in step.writes:
            if w in begun:
                continue
            begun.add(w)
            if w not in inside:
                old = heirs.get(w)
                if old is not None and (
                    last.get(old, -1) < n or (last[old] == n and may_take_over(step, old, w))
                ):
                    segment.same_place[w] = old
                continue
            heir = next((v for v in dying if may_take_over(step, v, w)), None)
            if heir is not None:
                dying.remove(heir)
                live[w] = live.pop(heir)
            else:
                live[w] = (_free_place(list(live.values()), size_of(w)), size_of(w))
            segment.places[w] = live[w][0]
            segment.scratch = max(segment.scratch, sum(live[w]))
        if isinstance(step, (LoopStep, ChoiceStep)):
            segment.rooms[n] = _free_place(list(live.values()), step.room)
            segment.scratch = max(segment.scratch, segment.rooms[n] + step.room)
        for v in [v for v in live if last[v] <= n]:
            del live[v]


def may_take_over(step: NativeStep, old: Var, new: Var) -> bool:
    """Whether a kernel can write `new` over `old`: it reads each element where it then writes."""
    if isinstance(step, (LoopStep, ChoiceStep)):
        return step.may_take_over(old, new)
    if isinstance(step, AttentionStep):
        return False  # operands are read more than once
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
        place = max(place, aligned(start + length))
    return place

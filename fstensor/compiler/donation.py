"""Which results may be written into the memory of an argument that the caller gives up.

Whether it is given up is known at each call (`core.donation`). Here is decided where a program does
not read the argument any more once the result is written: in no other segment, not on the host, and
in this segment last by the step that writes the result, each element where it goes, or before.
Threads then treat both as one piece of memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from fstensor.compiler.plan import Segment, may_take_over, read_by
from fstensor.compiler.steps import HostStep, KernelStep, NativeStep, ProductStep
from fstensor.core.jaxpr import Var


def allow_donations(
    parts: Sequence[Segment | HostStep], inputs: Sequence[Var], outputs: set[Var]
) -> None:
    """Note in each segment which argument each of its results may take the memory of."""
    readers: dict[Var, int] = {}
    for part in parts:
        for v in set(read_by(part)):
            readers[v] = readers.get(v, 0) + 1
    free = [v for v in inputs if v not in outputs and readers.get(v) == 1]
    for part in parts:
        if isinstance(part, Segment):
            part.may_take = _pairs(part, [v for v in free if v in part.arguments[: part.n_inputs]])


def _pairs(segment: Segment, inputs: list[Var]) -> dict[Var, Var]:
    last = {v: n for n, s in enumerate(segment.steps) for v in s.reads}
    found: dict[Var, Var] = {}
    results = set(segment.outputs)
    for n, step in enumerate(segment.steps):
        for w in step.writes:
            if w not in results:
                continue
            results.remove(w)  # parts of it may be written by the steps that follow
            old = next((v for v in inputs if _fits(step, v, w, last[v], n)), None)
            if old is not None:
                inputs.remove(old)
                found[w] = old
    return found


def _fits(step: NativeStep, old: Var, new: Var, last: int, now: int) -> bool:
    if not new.aval.same_type(old.aval) or not new.aval.shape or last > now:
        return False
    is_plain = isinstance(step, (KernelStep, ProductStep))
    return last < now or (is_plain and may_take_over(step, old, new))

"""What a row's elements cost to compute again, and which are kept for the next stage instead."""

from __future__ import annotations

from fstensor.compiler.kernels import COSTS, LOADS, Kernel

# From this cost on, a store and a load are cheaper; and the most bytes of a row that are kept.
_COSTLY = 6
_MOST_BYTES = 128 << 10


def kept_values(kernel: Kernel, lane: int, elements: int) -> dict[int, int]:
    """The instructions whose values are kept for a row's later stages, and in which they are made.

    lane: the axis that vectors lie along. elements: how many there are of each.
    """
    if kernel.stages < 2 or any(i.op == "scan" for i in kernel.instructions):
        return {}
    made: dict[int, int] = {}  # the stage that computes an instruction first
    kept: dict[int, int] = {}
    costs = _costs(kernel)
    for stage in range(kernel.stages):
        here: set[int] = set()
        todo = _targets(kernel, stage)
        while todo:
            k = todo.pop()
            i = kernel.instructions[k]
            if k in here or not i.axes & kernel.inner_bits:
                continue
            here.add(k)
            if k in made and costs[k] >= _COSTLY and i.axes >> lane & 1 and i.dtype.kind == "f":
                kept.setdefault(k, made[k])
            else:
                todo += i.args
        for k in here:
            made.setdefault(k, stage)
    size = sum(kernel.instructions[k].dtype.itemsize for k in kept) * elements
    return kept if size <= _MOST_BYTES else {}


def _targets(kernel: Kernel, stage: int) -> list[int]:
    """What is computed in the inner loops of a stage."""
    reduced = [i.args[0] for i in kernel.instructions if i.op == "reduce" and i.stage == stage + 1]
    stores = [s for s in kernel.stores if kernel.stage_of(s) == stage and kernel.is_inside(s)]
    return reduced + [s.value for s in stores]


def _costs(kernel: Kernel) -> list[int]:
    """What each instruction costs with all that it needs within the inner loops, but for loads."""
    needs: list[frozenset[int]] = []
    for k, i in enumerate(kernel.instructions):
        inside = i.axes & kernel.inner_bits and i.op not in LOADS
        below = frozenset[int]().union(*(needs[a] for a in i.args))
        needs.append(below | {k} if inside else frozenset())
    own = [COSTS.get(i.op, 1) for i in kernel.instructions]
    return [sum(own[k] for k in found) for found in needs]

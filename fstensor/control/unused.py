"""Loops and branches without the results that nobody uses.

A part of the carry is needed when its last value is used, or when anything needed is computed of
it: that is a fixpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

from fstensor.control.common import split_at
from fstensor.core.jaxpr import ClosedJaxpr, dce_closed


def smaller_body(
    body: ClosedJaxpr, num_consts: int, carry: Sequence[bool], others: Sequence[bool]
) -> tuple[ClosedJaxpr, list[bool], list[bool]]:
    """A body that gives the marked parts of its carry, and the marked ones of its other results.

    The second result marks the inputs that it still takes, the third the parts of its carry.
    """
    needed = list(carry)
    while True:
        outs = (*needed, *others)
        _, ins = dce_closed(body, outs)
        _, read, _ = split_at(ins, num_consts, len(needed))
        wider = [a or b for a, b in zip(needed, read, strict=True)]
        if wider == needed:
            break
        needed = wider
    end = num_consts + len(needed)
    stay = (*[False] * num_consts, *needed, *[False] * (len(ins) - end))
    return *dce_closed(body, outs, stay), needed


def smaller_branches(
    branches: Sequence[ClosedJaxpr], used: tuple[bool, ...]
) -> tuple[tuple[ClosedJaxpr, ...], list[bool]]:
    """Branches that give the used results, and marks of the operands that any of them takes."""
    read = [dce_closed(b, used)[1] for b in branches]
    ins = tuple([any(column) for column in zip(*read, strict=True)])
    return tuple([dce_closed(b, used, ins)[0] for b in branches]), list(ins)


def condition_without(condition: ClosedJaxpr, num_consts: int, kept: Sequence[bool]) -> ClosedJaxpr:
    """A loop's condition that takes the kept parts of the carry, and reads no others."""
    stay = (*[True] * num_consts, *kept)
    program, ins = dce_closed(condition, (True,), stay)
    assert sum(ins) == sum(stay)
    return program


def condition_reads(condition: ClosedJaxpr, num_consts: int) -> list[bool]:
    """Which parts of the carry a loop's condition depends on."""
    return dce_closed(condition, (True,))[1][num_consts:]

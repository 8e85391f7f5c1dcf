"""What loops and branches are to a compiler, whatever operations they were written as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from fstensor.core.jaxpr import ClosedJaxpr


@final
@dataclass(frozen=True)
class Round:
    """A part of a loop in which each round is the same program.

    body: from consts, carry and the elements of the xs, of one step after the other, to carry and
        the elements of the ys, likewise. steps: how many it takes at once. count: how many rounds
        there are; None for as many as a condition lets through.
    """

    body: ClosedJaxpr
    steps: int
    count: int | None


@final
@dataclass(frozen=True)
class Loop:
    """carry, y[i] = body(consts, carry, x[i]), again and again.

    Its operands are the consts of the condition, those of the body, the carry, and the xs; its
    results the carry, and the ys. condition: from its consts and the carry to a bool.
    reverse: from the last element of the xs to the first.
    """

    rounds: tuple[Round, ...]
    num_consts: int
    num_carry: int
    reverse: bool = False
    condition: ClosedJaxpr | None = None
    num_condition_consts: int = 0


@final
@dataclass(frozen=True)
class Choice:
    """One of several programs, by a number that is moved into their range.

    Its operands are that number, then those that all programs take.
    """

    branches: tuple[ClosedJaxpr, ...]

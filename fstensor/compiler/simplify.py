"""Passes that make a program smaller. Each gives a well-typed program with the same results."""

from __future__ import annotations

from collections.abc import Callable

from fstensor.compiler.cse import share_equal
from fstensor.compiler.fills import take_numbers
from fstensor.compiler.fold import fold_constants
from fstensor.compiler.identities import drop_identities
from fstensor.compiler.products import (
    exchange_operands,
    multiply_elements,
    multiply_places,
    split_sums,
)
from fstensor.core.collector import no_collection
from fstensor.core.inline import inline_calls
from fstensor.core.jaxpr import ClosedJaxpr, dce


def drop_dead(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program without equations that nothing needs."""
    return ClosedJaxpr(dce(closed.jaxpr), closed.consts)


PASSES: tuple[Callable[[ClosedJaxpr], ClosedJaxpr], ...] = (
    inline_calls,
    drop_dead,
    multiply_elements,
    multiply_places,
    split_sums,
    fold_constants,
    take_numbers,
    drop_identities,
    share_equal,
    exchange_operands,
    drop_dead,
)


def simplify(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program after all passes, verified; made once."""
    return closed.derive("simplified", lambda: _after_passes(closed))


def _after_passes(closed: ClosedJaxpr) -> ClosedJaxpr:
    with no_collection():
        for change in PASSES:
            closed = change(closed)
        closed.check()
    return closed


def already_simple(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same program, which no pass is to look at again: it has been through all of them."""
    known = ClosedJaxpr(closed.jaxpr, closed.consts)
    known.derive("simplified", lambda: closed)
    return known

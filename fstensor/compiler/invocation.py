"""Native calls as functions of Python: of buffers, or of Arrays that are looked at on the way.

These functions keep the code that they call, and of the program no more than its identity.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from fstensor.compiler.calls import Call
from fstensor.compiler.layout import ALIGNMENT
from fstensor.compiler.llvm import engine, entry
from fstensor.compiler.threads import BARRIER_BYTES, Team, team
from fstensor.core import memory
from fstensor.core.aval import ShapedArray
from fstensor.core.donation import given_up
from fstensor.core.jaxpr import ClosedJaxpr

Maker: TypeAlias = Callable[[], Any]
# What enters the native code, and what gives its scratch.
Prepared: TypeAlias = tuple[entry.Enter, Maker]
FromArrays: TypeAlias = Callable[[tuple[Any, ...]], list[Any] | None]

_MOST_TEAMS = 8  # that one call is prepared for


def from_buffers(
    call: Call, code: engine.Compiled, program: ClosedJaxpr
) -> Callable[..., list[Any]]:
    """A call as a function `run(*buffers)` with the buffers of its results."""
    makers = _makers_of(call)
    avals = [v.aval for v in call.reads]
    prepared = _preparation(call, code, functools.partial(entry.of_buffers, avals))

    def run(*buffers: Any) -> list[Any]:
        enter, scratch = prepared()
        if given_up:
            outputs = _taken(call.takes, program, buffers, makers)
        else:
            outputs = [make() for make in makers]
        if not enter(*buffers, *outputs, scratch()):
            enter(*map(_plain, buffers), *outputs, scratch())
        return outputs

    return run


def from_arrays(
    call: Call, code: engine.Compiled, avals: Sequence[ShapedArray]
) -> FromArrays | None:
    """A call as a function `run(arrays)` with the buffers of its results.

    It gives None where one of them is no Array on the CPU with that very aval, or does not lie in
    row-major order. There is None in its place where it cannot be told.
    """
    if not entry.can_look_at_arrays():
        return None
    makers = _makers_of(call)
    prepared = _preparation(call, code, functools.partial(entry.of_arrays, avals))
    if call.shared or len(makers) != 1:

        def run(arrays: tuple[Any, ...]) -> list[Any] | None:
            enter, scratch = prepared()
            outputs = [make() for make in makers]
            return outputs if enter(*arrays, *outputs, scratch()) else None

        return run

    # The shortest calls are of this kind.
    (make,), (enter, scratch) = makers, prepared()

    def run_short(arrays: tuple[Any, ...]) -> list[Any] | None:
        output = make()
        return [output] if enter(*arrays, output, scratch()) else None

    return run_short


def _preparation(
    call: Call, code: engine.Compiled, make: Callable[..., entry.Enter]
) -> Callable[[], Prepared]:
    """Gives what enters a call, and what gives its scratch, for the team that is in use."""
    address, others = code.address(call.function), len(call.writes) + 1
    if not call.shared:
        alone = make(others, entry.Target(address, 0, 0, code)), _scratch_of(call, 1)
        return lambda: alone
    barrier = np.zeros(BARRIER_BYTES + 128, np.uint8)
    meeting_place = -(-barrier.__array_interface__["data"][0] // 128) * 128
    known: dict[Team, Prepared] = {}

    def prepared() -> Prepared:
        runners = team()
        found = known.get(runners)
        if found is None:
            if len(known) >= _MOST_TEAMS:
                known.clear()
            target = entry.Target(address, runners.state, meeting_place, (code, barrier))
            found = make(others, target), _scratch_of(call, runners.size)
            known[runners] = found
        return found

    return prepared


def _makers_of(call: Call) -> list[Maker]:
    return [memory.maker(v.aval.shape, v.aval.dtype) for v in call.writes]


def _taken(
    takes: Sequence[tuple[int, int]],
    program: ClosedJaxpr,
    buffers: Sequence[Any],
    makers: Sequence[Maker],
) -> list[Any]:
    """Memory for the results: that of arguments which are given up, where it can be.

    Large ones that came from elsewhere are left: a loop is faster in memory of the pool, which has
    large pages.
    """
    taken = {
        k: i
        for k, i in takes
        if given_up.get(id(buffers[i])) is program
        and (buffers[i].nbytes < memory.SMALLEST_MAPPED or memory.is_pooled(buffers[i]))
    }
    return [buffers[taken[k]] if k in taken else make() for k, make in enumerate(makers)]


def _scratch_of(call: Call, threads: int) -> Maker:
    """Gives memory for the values inside, and for what each of so many threads needs for itself."""
    size = call.scratch + call.workspace * threads
    make = memory.maker((size + 2 * ALIGNMENT,), np.dtype(np.uint8))
    if size:
        return make
    none = make()
    return lambda: none


def _plain(x: Any) -> Any:
    """A copy whose elements lie in row-major order, at addresses that suit their size."""
    return np.require(x, requirements=["C", "A"])

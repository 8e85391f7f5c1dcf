"""A team of threads that run one native function together.

Worker threads wait in native code, by a mailbox: for a moment they spin, so that the next call of a
loop is handed over in less than a microsecond; then they block, and an idle process is idle. Every
thread runs the whole function and does its share of each step; between steps they meet at a
barrier.

A function that a team runs has the signature `void (ptr argument, i64 thread, i64 threads)`. After
`provide_barrier()`, modules may declare

    declare void @fst_barrier(ptr, i64)
    declare i64 @fst_part(i64, i64, i64, i64)

The barrier's pointer is that of BARRIER_BYTES, which were zeros once; the number that of the
threads that meet. It returns when so many have called it, and what one wrote before, all can read
after. It can be used again at once, by any number of threads. `fst_part` of a thread, the number of
threads, a total and a grain is where the thread's part of the total begins, in whole grains.
"""

from __future__ import annotations

import _thread
import ctypes
import functools
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, final

from fstensor.config import config

if TYPE_CHECKING:
    from fstensor.compiler.llvm.team import Native

BARRIER_BYTES = 256  # best aligned to 128, and apart from what is written all the time

_MOST_BY_DEFAULT = 64
_MAILBOX_SECONDS = 80e-6  # how long workers spin for the next call
_BARRIER_SECONDS = 2e-6  # how long threads spin for each other, before they let others run
_FEWEST_TURNS = 20


@final
class Team:
    """Threads that run a function together, the calling one being the first.

    size: how many there are.
    state: what native code knows it by, an address; 0 for a team of one. While the team is busy,
        with a call by another thread of Python or by one that waits for this, a function that it is
        to run is run by one thread; so it is when the team is no longer in use.
    """

    __slots__ = ("size", "state")

    def __init__(self, size: int, state: int) -> None:
        self.size = size
        self.state = state


# By setting. All but those of size 1 are the same team.
_teams: dict[int | str, Team] = {}
# Teams that were busy when another took their place.
_retired: list[Team] = []
_lock = threading.Lock()


def team() -> Team:
    """The team of as many threads as `config.threads` says. Its workers start at the first call."""
    found = _teams.get(config.threads)
    return found if found is not None else _form(config.threads)


def provide_barrier() -> int:
    """Let modules that are compiled from now on declare `fst_barrier`. Gives its address."""
    return _native().barrier


def usable_cpus() -> int:
    """The number of processors that this process may keep busy."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, _cpus_of_container()))


def size_of_team() -> int:
    """How many threads `config.threads` stands for."""
    return _size(config.threads)


def _size(setting: int | str) -> int:
    return setting if isinstance(setting, int) else min(usable_cpus(), _MOST_BY_DEFAULT)


def _cpus_of_container() -> int:
    """The share that a container has of the machine, rounded up; large where there is no limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no such system, or "max"
        return 1 << 16


def _form(setting: int | str) -> Team:
    """Make or find the team of a setting, in place of one of another size."""
    with _lock:
        size = _size(setting)
        formed = _teams.get(setting)
        if formed is None:
            formed = next((t for t in _teams.values() if t.size == size), None)
        if formed is None:
            if size > 1:
                _disband()
            formed = _start(size)
        _teams[setting] = formed
        return formed


def _disband() -> None:
    """Stop the workers of the team that is in use, or later on if it is busy."""
    for setting, old in list(_teams.items()):
        if old.size > 1:
            del _teams[setting]
            if old not in _retired:
                _retired.append(old)
    stop = _native().stop
    _retired[:] = [old for old in _retired if not stop(old.state)]


def _start(size: int) -> Team:
    solo = Team(1, 0)
    if size == 1:
        return solo
    native = _native()
    state = _new_state(native, size)
    _tune(native, size)
    started = 1
    try:
        for index in range(1, size):
            _thread.start_new_thread(native.work, (state, index))
            started += 1
    except RuntimeError:  # no more threads, as at the end of the interpreter
        _set_threads(state, started)
        native.stop(state)
        return solo
    return Team(size, state)


def _new_state(native: Native, size: int) -> int:
    """The address of the memory of a new team. Workers look at it until the process ends."""
    from fstensor.compiler.llvm.team import STATE_BYTES

    buffer = (ctypes.c_char * (STATE_BYTES + 128))()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(buffer))
    state = -(-ctypes.addressof(buffer) // 128) * 128
    _set_threads(state, size)
    native.prepare(state)
    return state


def _set_threads(state: int, count: int) -> None:
    from fstensor.compiler.llvm.team import THREADS_AT

    ctypes.c_int64.from_address(state + THREADS_AT).value = count


def _tune(native: Native, size: int) -> None:
    """Choose how often threads look before they wait in earnest."""
    if size > usable_cpus():  # whoever spins keeps another from running
        native.tune(_FEWEST_TURNS, _FEWEST_TURNS)
        return
    per_second = 1 / _seconds_of_turn()
    native.tune(
        max(int(_MAILBOX_SECONDS * per_second), _FEWEST_TURNS),
        max(int(_BARRIER_SECONDS * per_second), _FEWEST_TURNS),
    )


@functools.cache
def _seconds_of_turn() -> float:
    spin, count = _native().spin, 2000
    times = []
    for _ in range(5):
        start = time.perf_counter()
        spin(count)
        times.append(time.perf_counter() - start)
    return max(min(times) / count, 1e-10)


def _native() -> Native:
    from fstensor.compiler.llvm import team as native_team  # with llvmlite, so not before need

    return native_team.native()


def _forget() -> None:
    """In the child of a fork there are no workers: whoever still has a team is on his own."""
    global _lock
    _lock = threading.Lock()
    for old in {id(t): t for t in [*_teams.values(), *_retired]}.values():
        if old.size > 1:
            _native().abandon(old.state)
    _teams.clear()
    _retired.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

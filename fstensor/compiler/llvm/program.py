"""A segment as one native function: its kernels called in turn, by every thread of a team.

The function takes a pointer to an array of pointers to ndarrays, the last of them the scratch
memory, and reads from each ndarray where its elements lie: handing over a hundred arrays costs
little more than handing over one. An ndarray's struct has that address right behind what every
Python object begins with.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from fstensor.compiler.llvm.loops import write_kernel
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.plan import Segment, size_of
from fstensor.compiler.schedule import Schedule, scheduled
from fstensor.core.jaxpr import Var

# The least work, in operations, that is worth a second thread.
_WORK_TO_SHARE = 40_000


@functools.cache
def data_offset() -> int:
    """Where an ndarray keeps the address of its elements, in bytes from the object's own."""
    import ctypes

    probes = [np.zeros(n) for n in (1, 3, 7)]
    for offset in (16, 32, 24, 40):
        found = [ctypes.c_size_t.from_address(id(p) + offset).value for p in probes]
        if found == [p.__array_interface__["data"][0] for p in probes]:
            return offset
    raise RuntimeError("numpy: an ndarray does not keep its address where it is looked for")


def write_segment(
    module: Module, name: str, segment: Segment, target: Target
) -> tuple[list[Schedule], bool]:
    """Add `void @name(ptr arrays, i64 thread, i64 threads)`; gives the schedules of its kernels.

    The second result is whether several threads have something to do.
    """
    schedules = [scheduled(s.kernel, target.vector_bytes) for s in segment.steps]
    names: dict[str, str] = {}
    for schedule in schedules:
        key = f"{schedule.lane} {schedule.lanes} {schedule.unroll} {schedule.kernel}"
        if key not in names:
            names[key] = f"{name}_kernel{len(names)}"
            write_kernel(module, names[key], schedule, target.has_fma)
    f = Function(module, name, ["ptr %arrays", "i64 %thread", "i64 %threads"], linkage="")
    pointers = _pointers(f, segment)
    shared = False
    touched: dict[tuple[str, int, int], bool] = {}  # memory since the last barrier; written?
    for step, schedule in zip(segment.steps, schedules, strict=True):
        reads = [_memory(segment, v) for v in step.reads]
        writes = [_memory(segment, v) for v in step.writes]
        if any(_meet(m, t) for t in touched for m in writes) or any(
            _meet(m, t) for t, written in touched.items() if written for m in reads
        ):
            module.declare("declare void @fst_barrier(ptr, i64)")
            f.do("call void @fst_barrier(ptr %barrier, i64 %threads)")
            touched = {}
        for m in reads:
            touched.setdefault(m, False)
        for m in writes:
            touched[m] = True
        key = f"{schedule.lane} {schedule.lanes} {schedule.unroll} {schedule.kernel}"
        parts = schedule.kernel.work >= _WORK_TO_SHARE and schedule.shared > 1
        shared = shared or parts
        arguments = [f"ptr {pointers[v]}" for v in (*step.reads, *step.writes)]
        _call(f, names[key], arguments, schedule, parts)
    f.finish()
    return schedules, shared


def _pointers(f: Function, segment: Segment) -> dict[Var, str]:
    """The address of each value."""
    found: dict[Var, str] = {}
    for k, v in enumerate(segment.arguments):
        found[v] = _address(f, k)
    scratch = _address(f, len(segment.arguments)) if segment.scratch else ""
    for v, place in segment.places.items():
        found[v] = f.value(f"getelementptr i8, ptr {scratch}, i64 {place}")
    where = f.value(f"getelementptr ptr, ptr %arrays, i64 {len(segment.arguments) + 1}")
    f.do(f"%barrier = load ptr, ptr {where}")
    return found


def _address(f: Function, k: int) -> str:
    where = f.value(f"getelementptr ptr, ptr %arrays, i64 {k}")
    array = f.value(f"load ptr, ptr {where}")
    field = f.value(f"getelementptr i8, ptr {array}, i64 {data_offset()}")
    return f.value(f"load ptr, ptr {field}")


def _memory(segment: Segment, v: Var) -> tuple[str, int, int]:
    """What memory a value takes: which, from where, up to where."""
    if v in segment.places:
        place = segment.places[v]
        return "scratch", place, place + size_of(v)
    return f"array {segment.arguments.index(v)}", 0, 1


def _meet(a: tuple[str, int, int], b: tuple[str, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def _call(
    f: Function, name: str, arguments: Sequence[str], schedule: Schedule, shared: bool
) -> None:
    """A call of a kernel for the thread's part, or for all of it on the first thread."""
    total = schedule.shared
    if not shared:
        first, work, after = f.value("icmp eq i64 %thread, 0"), f.new_block("do"), f.new_block("go")
        f.branch_if(first, work, after)
        f.enter(work)
        f.do(f"call void @{name}({', '.join(arguments)}, i64 0, i64 {total})")
        f.branch(after)
        f.enter(after)
        return
    grain = schedule.lanes * schedule.unroll if schedule.lane == 0 else 1
    grains = -(-total // grain)
    begin, end = (_bound(f, total, grains, grain, n) for n in ("%thread", None))
    f.do(f"call void @{name}({', '.join(arguments)}, i64 {begin}, i64 {end})")


def _bound(f: Function, total: int, grains: int, grain: int, thread: str | None) -> str:
    """Where the part of a thread begins; of the next one, for None."""
    number = thread or f.value("add i64 %thread, 1")
    product = f.value(f"mul i64 {number}, {grains}")
    quotient = f.value(f"udiv i64 {product}, %threads")
    place = f.value(f"mul i64 {quotient}, {grain}")
    beyond = f.value(f"icmp ugt i64 {place}, {total}")
    return f.value(f"select i1 {beyond}, i64 {total}, i64 {place}")

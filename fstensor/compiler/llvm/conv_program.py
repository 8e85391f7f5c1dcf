"""A convolution within a segment: the calls of its phases, and the memory that they work in."""

from __future__ import annotations

from collections.abc import Sequence

from fstensor.compiler.convolution import ConvStep, Phase
from fstensor.compiler.kernels import Kernel, grouped
from fstensor.compiler.llvm.conv import (
    STAGES,
    can_go_along,
    must_go_along,
    room,
    stages,
    write_convolution,
)
from fstensor.compiler.llvm.loops import write_epilogue
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function


def conv_room(step: ConvStep, target: Target) -> tuple[int, int]:
    """Bytes of the workspace: what all threads share, and what each of them needs."""
    rooms = [room(p.convolution, target) for p in step.phases]
    return sum(shared for shared, _ in rooms), max(own for _, own in rooms)


def write_conv_step(
    f: Function,
    names: dict[str, str],
    segment: str,
    step: ConvStep,
    addresses: Sequence[str],
    workspace: str,
    target: Target,
    is_large: bool,
) -> bool:
    """The functions of a convolution, unless they are there already, and their calls.

    addresses: of all values read and written. Says whether threads share the work.
    """
    rooms = [room(p.convolution, target) for p in step.phases]
    total, most = conv_room(step, target)
    thread, threads = ("%thread", "%threads") if is_large else ("0", "1")
    after = ""
    if not is_large:
        first, work, after = f.value("icmp eq i64 %thread, 0"), f.new_block("do"), f.new_block("go")
        f.branch_if(first, work, after)
        f.enter(work)
    own = f.value(f"mul i64 {thread}, {most}")
    own = f.value(f"add i64 {own}, {total}")
    own = f.value(f"getelementptr i8, ptr {workspace}, i64 {own}")
    called = {stage for p in step.phases for stage in stages(p.convolution, target)}
    waits = False
    for stage in STAGES:
        if stage not in called:
            continue
        if waits and is_large:
            f.module.declare("declare void @fst_barrier(ptr, i64)")
            f.do("call void @fst_barrier(ptr %barrier, i64 %threads)")
        waits, place = True, 0
        for phase, (shared_bytes, _) in zip(step.phases, rooms, strict=True):
            conv = phase.convolution
            name = _phase(f, names, segment, phase, len(addresses) - 2, target)
            shared = f.bytes_further(workspace, place)
            place += shared_bytes
            if stage not in stages(conv, target):
                continue
            begin = (conv.lhs * conv.lhs_dtype.itemsize, conv.rhs * conv.rhs_dtype.itemsize)
            operands = [f.bytes_further(a, n) for a, n in zip(addresses, begin, strict=False)]
            pointers = ", ".join(f"ptr {a}" for a in (*operands, *addresses[2:], shared, own))
            f.do(f"call void @{name}.{stage}({pointers}, i64 {thread}, i64 {threads})")
    if after:
        f.branch(after)
        f.enter(after)
    return is_large


def neighbours(kernel: Kernel) -> int | None:
    """The axis along which results are neighbours in memory, where that is not the outputs."""
    strides = [s.access.place.strides for s in kernel.stores]
    last = len(kernel.outer) - 1
    if kernel.outer[last] > 1 and all(s[last] == 1 for s in strides):
        return None
    fitting = [a for a in range(1, last) if all(s[a] == 1 for s in strides)]
    return fitting[0] if fitting else None


def _phase(
    f: Function, names: dict[str, str], segment: str, phase: Phase, buffers: int, target: Target
) -> str:
    """The name of the functions of a phase, which are written the first time."""
    key = f"{phase.convolution}\n{phase.kernel}"
    if key not in names:
        names[key] = f"{segment}_conv{len(names)}"

        conv, kernel = phase.convolution, phase.kernel
        always = must_go_along(conv, target)
        along = neighbours(kernel) if always is None else always + 1
        if along is not None and not can_go_along(conv, target, along - 1):
            along = None
        order = list(range(len(kernel.outer)))
        if along is not None:
            order.append(order.pop(along))
        turned = grouped(kernel, [[a] for a in order], len(order))

        def epilogue(g: Function, acc: str, index: list[str], lanes: int, mask: str | None) -> None:
            places = [index[a] for a in order]
            write_epilogue(g, turned, acc, places, lanes, mask, target.has_fma)

        extra = [f"ptr %p{k}" for k in range(buffers)]
        axis = None if along is None else along - 1
        write_convolution(f.module, names[key], conv, target, extra, epilogue, axis)
    return names[key]

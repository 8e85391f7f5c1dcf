"""A segment as one native function: its kernels called in turn, by every thread of a team.

The function takes a pointer to a block of addresses, of the elements of all arrays, then of the
scratch memory, and of the barrier: handing over a hundred arrays costs little more than one.

What writes convolutions, attention, scatters and loops is loaded with the first of these: it is
much, and most programs have none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from fstensor.compiler.control import ChoiceStep, LoopStep, Nested
from fstensor.compiler.convolution import ConvStep
from fstensor.compiler.layout import ALIGNMENT, aligned, size_of
from fstensor.compiler.llvm.gemm import MatrixProduct, workspace_bytes, write_product
from fstensor.compiler.llvm.loop_frame import NESTED_PARAMETERS
from fstensor.compiler.llvm.loops import write_epilogue, write_kernel
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.plan import Segment
from fstensor.compiler.scatter import ScatterStep
from fstensor.compiler.schedule import Schedule, scheduled
from fstensor.compiler.steps import KernelStep, NativeStep, ProductStep
from fstensor.compiler.strips import AttentionStep
from fstensor.core.jaxpr import Var

# The least work, in operations, that is worth a second thread where threads are there already; and
# the least of a whole segment that is worth waking them.
_WORK_TO_SHARE = 40_000
_WORK_TO_WAKE = 400_000
# A kernel does not matter for the time of a segment that has so many times its work.
_MINOR = 10_000


@final
@dataclass
class Written:
    """What was written for a segment.

    schedules: of its kernels. shared: whether several threads have something to do. workspace: the
    bytes that each thread needs beside the scratch memory; common: those that all need together.
    """

    schedules: list[Schedule]
    shared: bool = False
    workspace: int = 0
    common: int = 0


@final
class _Writer:
    """What the functions of a segment share.

    prefix: what their names begin with. names: of what is written already, by what it does.
    """

    def __init__(self, module: Module, prefix: str, target: Target) -> None:
        self.module = module
        self.prefix = prefix
        self.target = target
        self.names: dict[str, str] = {}
        self.written = Written([])


def write_segment(module: Module, name: str, segment: Segment, target: Target) -> Written:
    """Add `void @name(ptr arrays, i64 thread, i64 threads)`."""
    writer = _Writer(module, name, target)
    parameters = ["ptr %arrays", "i64 %thread", "i64 %threads"]
    f = Function(module, name, parameters, linkage="", quickly=True)
    pointers = _pointers(f, segment)
    work = sum(map(_work, segment.steps))
    shared = _write_steps(writer, f, segment, pointers, minor=work // _MINOR)
    writer.written.shared = shared and work >= _WORK_TO_WAKE
    f.finish()
    return writer.written


def _work(step: NativeStep) -> int:
    """Operations, roughly, in those of kernels: two of a product take as long as one of them."""
    if isinstance(step, KernelStep):
        return step.kernel.work
    if isinstance(step, (ProductStep, ConvStep, AttentionStep)):
        return step.flops // 2 + step.kernel.work
    return _WORK_TO_WAKE  # of loops and scatters nobody knows


def _write_nested(writer: _Writer, nested: Nested) -> tuple[str, bool]:
    """Add the function of a program inside of a step; gives its name, and whether it is shared.

    It takes the addresses of its values, then what `NESTED_PARAMETERS` says.
    """
    name = f"{writer.prefix}_program{len(writer.names)}"
    writer.names[name] = name
    passed = nested.passed()
    parameters = [f"ptr %a{k}" for k in range(len(passed))]
    f = Function(writer.module, name, [*parameters, *NESTED_PARAMETERS])
    pointers = {v: f"%a{k}" for k, v in enumerate(passed)}
    segment = nested.segment
    pointers |= {new: pointers[old] for new, old in segment.same_place.items()}
    for v, place in segment.places.items():
        pointers[v] = f.bytes_further("%room", place)
    shared = _write_steps(writer, f, segment, pointers, "%room")
    f.finish()
    return name, shared


def _write_steps(
    writer: _Writer,
    f: Function,
    segment: Segment,
    pointers: Mapping[Var, str],
    scratch: str = "%scratch",
    minor: int = 0,
) -> bool:
    """The calls of the kernels of a segment, with barriers; says whether threads share any.

    minor: the work up to which it matters little how fast a kernel runs.
    """
    written = writer.written
    any_shared = False
    touched: dict[Memory, bool] = {}  # memory since the last barrier; written?
    for n, step in enumerate(segment.steps):
        if isinstance(step, KernelStep) and _is_done(segment, step):
            continue
        reads = [_memory(segment, v) for v in step.reads]
        writes = [_memory(segment, v) for v in step.writes]
        waits_for = [] if isinstance(step, KernelStep) and step.continues else writes
        if isinstance(step, (LoopStep, ChoiceStep)):
            place = segment.rooms[n]
            # What is inside may need the workspace, too.
            writes += [("scratch", place, place + step.room), ("workspace", 0, 1)]
        common, room = _workspace(step, writer.target)
        if room or common:
            written.workspace = max(written.workspace, room)
            written.common = max(written.common, common)
            writes.append(("workspace", 0, 1))
        if any(_meet(m, t) for t in touched for m in waits_for) or any(
            _meet(m, t) for t, is_written in touched.items() if is_written for m in reads
        ):
            writer.module.declare("declare void @fst_barrier(ptr, i64)")
            f.do("call void @fst_barrier(ptr %barrier, i64 %threads)")
            touched = {}
        for m in reads:
            touched.setdefault(m, False)
        for m in writes:
            touched[m] = True
        addresses = [pointers[v] for v in (*step.reads, *step.writes)]
        if isinstance(step, (LoopStep, ChoiceStep)):
            addresses.append(f.bytes_further(scratch, segment.rooms[n]))
            shared = _write_control(writer, f, step, addresses)
        elif isinstance(step, ProductStep):
            shared = _write_product(writer, f, step, addresses)
        elif isinstance(step, AttentionStep):
            shared = _write_attention(writer, f, step, addresses)
        elif isinstance(step, ConvStep):
            from fstensor.compiler.llvm.conv_program import write_conv_step

            is_large = step.flops >= _WORK_TO_SHARE * 8
            shared = write_conv_step(
                f, writer.names, writer.prefix, step, addresses, "%workspace", writer.target,
                is_large,
            )  # fmt: skip
        elif isinstance(step, ScatterStep):
            shared = _write_scatter(writer, f, step, addresses)
        else:
            is_minor = step.kernel.work <= minor
            schedule = scheduled(step.kernel, writer.target.vector_bytes, is_minor)
            written.schedules.append(schedule)
            shared = _write_kernel(writer, f, schedule, addresses, is_minor)
        any_shared = any_shared or shared
    return any_shared


def _workspace(step: NativeStep, target: Target) -> tuple[int, int]:
    """Bytes that a step works in: what all threads have in common, and what each needs."""
    if isinstance(step, ProductStep):
        return 0, workspace_bytes(_product(step, target), target, 1)
    if isinstance(step, AttentionStep):
        from fstensor.compiler.llvm.attention import attention_room

        return attention_room(step, target)
    if isinstance(step, ConvStep):
        from fstensor.compiler.llvm.conv_program import conv_room

        return conv_room(step, target)
    return 0, 0


def _is_done(segment: Segment, step: KernelStep) -> bool:
    """Whether a kernel would only copy a value to where it is."""
    values = [*step.reads, *step.writes]
    if len(values) != 2 or segment.location(values[0]) != segment.location(values[1]):
        return False
    (store,) = step.kernel.stores
    value = step.kernel.instructions[store.value]
    return value.op == "load" and value.detail.place == store.access.place


def _write_control(
    writer: _Writer, f: Function, step: LoopStep | ChoiceStep, addresses: Sequence[str]
) -> bool:
    """A loop or choice, with the programs in it, and its call; says whether threads share it."""
    from fstensor.compiler.llvm.control import write_choice, write_loop
    from fstensor.compiler.llvm.number_loop import NumberLoop, is_of_numbers

    arguments = ", ".join(f"ptr {a}" for a in (*addresses, "%workspace", "%barrier"))
    if isinstance(step, LoopStep) and is_of_numbers(step):
        name = f"{writer.prefix}_control{len(writer.names)}"
        writer.names[name] = name
        NumberLoop(writer.module, name, step, writer.target).write()
        _on_first_thread(f, f"@{name}({arguments}, i64 0, i64 1)")
        return False
    functions = [_write_nested(writer, n) for n in step.nested]
    names = [name for name, _ in functions]
    shared = any(is_shared for _, is_shared in functions)
    name = f"{writer.prefix}_control{len(writer.names)}"
    writer.names[name] = name
    if isinstance(step, LoopStep):
        write_loop(writer.module, name, step, names, shared)
    else:
        write_choice(writer.module, name, step, names)
    if shared:
        f.do(f"call void @{name}({arguments}, i64 %thread, i64 %threads)")
    else:
        _on_first_thread(f, f"@{name}({arguments}, i64 0, i64 1)")
    return shared


def _write_kernel(
    writer: _Writer, f: Function, schedule: Schedule, addresses: Sequence[str], is_minor: bool
) -> bool:
    """A kernel, unless it is there already, and its call; says whether threads share it."""
    key = f"{schedule.lane} {schedule.lanes} {schedule.unroll} {is_minor} {schedule.kernel}"
    names = writer.names
    if key not in names:
        names[key] = f"{writer.prefix}_kernel{len(names)}"
        write_kernel(f.module, names[key], schedule, writer.target.has_fma, quickly=is_minor)
    grain = schedule.lanes * schedule.unroll if schedule.lane == 0 else 1
    is_large = schedule.kernel.work >= _WORK_TO_SHARE
    return _call_shared(f, names[key], addresses, schedule.shared, grain, is_large)


def _call_shared(
    f: Function, name: str, addresses: Sequence[str], total: int, grain: int, is_large: bool
) -> bool:
    """Call a function for parts of `total`, by all threads where it is large enough."""
    arguments = ", ".join(f"ptr {a}" for a in addresses)
    if not is_large or total <= 1:
        _on_first_thread(f, f"@{name}({arguments}, i64 0, i64 {total})")
        return False
    begin, end = (_bound(f, total, grain, n) for n in ("%thread", None))
    f.do(f"call void @{name}({arguments}, i64 {begin}, i64 {end})")
    return True


def _write_scatter(
    writer: _Writer, f: Function, step: ScatterStep, addresses: Sequence[str]
) -> bool:
    """A scatter, unless it is there already, and its call."""
    from fstensor.compiler.llvm.scatter import scatter_lanes, write_scatter

    names, target = writer.names, writer.target
    lanes = scatter_lanes(step, target.vector_bytes)
    key = str(step)
    if key not in names:
        names[key] = f"{writer.prefix}_scatter{len(names)}"
        write_scatter(f.module, names[key], step, lanes, target.has_fma)
    sizes = step.kernel.outer
    last = step.shared == len(sizes) - 1
    # Threads that change neighbouring elements would wait for each other's cache lines.
    grain = 64 if last else 1
    total = sizes[step.shared] if step.shared >= 0 else 1
    is_large = step.kernel.work >= _WORK_TO_SHARE and total >= 2 * grain
    return _call_shared(f, names[key], addresses, total, grain, is_large)


def _write_product(
    writer: _Writer, f: Function, step: ProductStep, addresses: Sequence[str]
) -> bool:
    """A matrix product, unless it is there already, and its call."""
    names, target = writer.names, writer.target
    extra = [f"ptr %p{k}" for k in range(len(addresses) - 2)]
    key = str(step)
    if key not in names:
        names[key] = f"{writer.prefix}_product{len(names)}"

        def epilogue(
            g: Function, acc: str, batch: list[str], i: str, j: str, lanes: int, mask: str | None
        ) -> None:
            write_epilogue(g, step.kernel, acc, [*batch, i, j], lanes, mask, target.has_fma)

        write_product(f.module, names[key], _product(step, target), target, extra, epilogue)
    p = step.product
    operands = [
        f.bytes_further(a, offset * dtype.itemsize)
        for a, offset, dtype in zip(addresses, step.offsets, p.memory, strict=False)
    ]
    arguments = ", ".join(f"ptr {a}" for a in (*operands, *addresses[2:], "%workspace"))
    shared = math.prod(p.batch) * p.m * p.n * p.k >= _WORK_TO_SHARE * 4
    if not shared:
        _on_first_thread(f, f"@{names[key]}({arguments}, i64 0, i64 1)")
        return False
    f.do(f"call void @{names[key]}({arguments}, i64 %thread, i64 %threads)")
    return True


def _product(step: ProductStep, target: Target) -> MatrixProduct:
    """The product of a step, with what is to be known of its epilogue."""
    p, kernel = step.product, step.kernel
    places = [i.detail for i in kernel.instructions if i.op == "load"]
    read = {a.buffer: kernel.buffers[a.buffer] for a in places if all(a.place.strides[-2:])}
    size = math.prod(p.batch) * p.m * p.n * sum(d.itemsize for d in read.values())
    return p._replace(large_epilogue=size > target.l2)


def _write_attention(
    writer: _Writer, f: Function, step: AttentionStep, addresses: Sequence[str]
) -> bool:
    """An attention, unless it is there already, and its call."""
    from fstensor.compiler.llvm.attention import attention_room, write_attention

    names, key = writer.names, str(step)
    if key not in names:
        names[key] = f"{writer.prefix}_attention{len(names)}"
        write_attention(f.module, names[key], step, writer.target)
    common, _ = attention_room(step, writer.target)
    own = f.bytes_further("%workspace", common)
    arguments = ", ".join(f"ptr {a}" for a in (*addresses, "%workspace", own))
    is_large = step.flops >= _WORK_TO_SHARE * 8
    for n, name in enumerate([names[key], f"{names[key]}.join"][: 1 + bool(common)]):
        if not is_large:
            _on_first_thread(f, f"@{name}({arguments}, i64 0, i64 1)")
            continue
        if n:
            f.module.declare("declare void @fst_barrier(ptr, i64)")
            f.do("call void @fst_barrier(ptr %barrier, i64 %threads)")
        f.do(f"call void @{name}({arguments}, i64 %thread, i64 %threads)")
    return is_large


def _on_first_thread(f: Function, call: str) -> None:
    first, work, after = f.value("icmp eq i64 %thread, 0"), f.new_block("do"), f.new_block("go")
    f.branch_if(first, work, after)
    f.enter(work)
    f.do(f"call void {call}")
    f.branch(after)
    f.enter(after)


def _pointers(f: Function, segment: Segment) -> dict[Var, str]:
    """The address of each value. Names %scratch, %workspace, which lies behind it, and %barrier."""
    found: dict[Var, str] = {}
    for k, v in enumerate(segment.arguments):
        found[v] = _address(f, k)
    scratch = _aligned(f, _address(f, len(segment.arguments)))
    f.do(f"%scratch = getelementptr i8, ptr {scratch}, i64 0")
    for v, place in segment.places.items():
        found[v] = f.bytes_further("%scratch", place)
    where = f.value(f"getelementptr ptr, ptr %arrays, i64 {len(segment.arguments) + 1}")
    f.do(f"%barrier = load ptr, ptr {where}")
    f.do(f"%workspace = getelementptr i8, ptr %scratch, i64 {aligned(segment.scratch)}")
    return found


def _aligned(f: Function, address: str) -> str:
    """The next address that suits vectors."""
    number = f.value(f"ptrtoint ptr {address} to i64")
    number = f.value(f"add i64 {number}, {ALIGNMENT - 1}")
    number = f.value(f"and i64 {number}, {-ALIGNMENT}")
    return f.value(f"inttoptr i64 {number} to ptr")


def _address(f: Function, k: int) -> str:
    where = f.value(f"getelementptr ptr, ptr %arrays, i64 {k}")
    return f.value(f"load ptr, ptr {where}")


Memory: TypeAlias = tuple[str, int, int]


def _memory(segment: Segment, v: Var) -> Memory:
    """What memory a value takes: which, from where, up to where."""
    kind, place = segment.location(segment.may_take.get(v, v))
    return (kind, place, place + size_of(v)) if kind == "scratch" else (f"{kind} {place}", 0, 1)


def _meet(a: Memory, b: Memory) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def _bound(f: Function, total: int, grain: int, thread: str | None) -> str:
    """Where the part of a thread begins; of the next one, for None."""
    f.module.declare("declare i64 @fst_part(i64, i64, i64, i64)")
    number = thread or f.value("add i64 %thread, 1")
    return f.once(f"call i64 @fst_part(i64 {number}, i64 %threads, i64 {total}, i64 {grain})")

"""Programs for the CPU: all that has a form in the loop IR becomes native code.

The result is a program again, in which one equation, `native`, stands for each segment. The other
equations are those that are run by their primitives' `impl` between the native parts; the NumPy
executor runs both.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, final

import numpy as np

from fstensor.compiler import memory
from fstensor.compiler.barriers import drop_barriers, free_numbers
from fstensor.compiler.fuse import fuse
from fstensor.compiler.kinds import why_host
from fstensor.compiler.layout import ALIGNMENT, size_of
from fstensor.compiler.llvm import engine
from fstensor.compiler.llvm.program import Written, write_segment
from fstensor.compiler.llvm.target import host_target
from fstensor.compiler.llvm.text import Module
from fstensor.compiler.nesting import nest
from fstensor.compiler.plan import Segment, plan
from fstensor.compiler.schedule import Schedule
from fstensor.compiler.steps import HostStep, kernel_steps
from fstensor.compiler.threads import BARRIER_BYTES, provide_barrier, team
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr, Eqn, Jaxpr, Var
from fstensor.core.primitive import Primitive


@final
class NativeCall(Primitive):
    """A segment of a program as an equation: one native call.

    It belongs to the program that it was made for, and is equal to no other.
    """

    name = "native"
    multiple_results = True
    result_is_apart = True
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, number: int, segment: Segment) -> None:
        self.number = number
        self.segment = segment
        self._outputs = [memory.maker(v.aval.shape, v.aval.dtype) for v in segment.outputs]
        self._pointers = ctypes.c_void_p * (len(segment.arguments) + 2)
        self._barrier = np.zeros(BARRIER_BYTES + 128, np.uint8)
        start = self._barrier.__array_interface__["data"][0]
        self._barrier_address = -(-start // 128) * 128
        self._scratch_makers: dict[int, Callable[[], Any]] = {}

    @property
    def params(self) -> dict[str, Any]:
        return {"number": self.number}

    def link(self, code: engine.Compiled, written: Written) -> None:
        """Set the code that runs it."""
        self._code = code  # lives as long as its address is in use
        self._address = code.address(f"segment{self.number}")
        self._shared = written.shared
        self._workspace = written.workspace
        self._scratch = self.segment.scratch + written.common + 2 * ALIGNMENT
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self._function = kind(self._address)

    def abstract(self, *avals: ShapedArray) -> Any:
        return [v.aval for v in self.segment.outputs]

    def impl(self, xp: Any, *buffers: Any) -> Any:
        for b in buffers:
            flags = b.flags
            if not (flags.c_contiguous and flags.aligned):
                buffers = tuple([_plain(b) for b in buffers])
                break
        outputs = [make() for make in self._outputs]
        if self._shared:
            runners = team()
            scratch = self._scratch_for(runners.size)
            pointers = self._pointers(
                *map(id, buffers), *map(id, outputs), id(scratch), self._barrier_address
            )
            runners.run(self._address, ctypes.addressof(pointers))
        else:
            scratch = self._scratch_for(1)
            self._function(
                self._pointers(*map(id, buffers), *map(id, outputs), id(scratch), 0), 0, 1
            )
        return outputs

    def _scratch_for(self, threads: int) -> Any:
        """Memory for the values inside, and what each thread needs for itself."""
        make = self._scratch_makers.get(threads)
        if make is None:
            size = self._scratch + self._workspace * threads
            make = self._scratch_makers[threads] = memory.maker((size,), np.dtype(np.uint8))
        return make()


def _plain(x: Any) -> Any:
    """A copy whose elements lie in row-major order, at addresses that suit their size."""
    return np.require(x, requirements=["C", "A"])


@final
class Native:
    """A program compiled for this machine, and every stage on the way.

    source: the simplified program. steps, parts: what was made of it. result: the program in which
    native calls stand for most of the equations.
    """

    def __init__(self, source: ClosedJaxpr) -> None:
        source = nest(free_numbers(source))
        self.source = source
        self.steps, same = drop_barriers(fuse(source))
        outvars = [same.get(a, a) if isinstance(a, Var) else a for a in source.jaxpr.outvars]
        if engine.verifying():
            for step in kernel_steps(self.steps):
                step.kernel.check()
        self.parts = plan(self.steps, {a for a in outvars if isinstance(a, Var)})
        self.schedules: list[Schedule] = []
        module = Module()
        calls: list[tuple[NativeCall, Written]] = []
        eqns: list[Eqn] = []
        for part in self.parts:
            if isinstance(part, HostStep):
                eqns.append(part.eqn)
                continue
            call = NativeCall(len(calls), part)
            name = f"segment{call.number}"
            written = write_segment(module, name, part, host_target())
            self.schedules += written.schedules
            calls.append((call, written))
            reads = part.arguments[: part.n_inputs]
            eqns.append(Eqn(call, reads, part.outputs, _source_info(source, part)))
        self.llvm: str = str(module)
        if calls:
            provide_barrier()
            code = engine.compile_module(self.llvm)
            for call, written in calls:
                call.link(code, written)
        jaxpr = source.jaxpr
        changed = Jaxpr(jaxpr.constvars, jaxpr.invars, outvars, eqns, jaxpr.debug_info)
        self.result = ClosedJaxpr(changed, source.consts)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is native."""
        return not any(isinstance(s, HostStep) for s in self.steps)

    @property
    def kernels(self) -> str:
        """The text of all kernels."""
        return "\n\n".join(str(s) for s in self.steps if not isinstance(s, HostStep))

    @property
    def plan(self) -> str:
        """The text of the segments and host calls."""
        return "\n".join(map(str, self.parts))

    @property
    def assembly(self) -> str:
        """The machine's instructions, as text."""
        return engine.assembly(self.llvm)

    def cost_analysis(self) -> dict[str, float]:
        """See `Lowered.cost_analysis`."""
        native = [s for s in self.steps if not isinstance(s, HostStep)]
        moved = [size_of(v) for s in native for v in {*s.reads, *s.writes}]
        segments = [p for p in self.parts if isinstance(p, Segment)]
        return {
            "flops": float(sum(s.flops for s in native)),
            "bytes accessed": float(sum(moved)),
            "arena size": float(sum(p.scratch for p in segments)),
            "kernels": float(len(native)),
            "host calls": float(len(self.steps) - len(native)),
        }

    def report(self) -> str:
        """See `Lowered.report`."""
        lines = []
        for part in self.parts:
            if isinstance(part, HostStep):
                lines.append(f"host: {part.eqn.primitive.name}, {why_host(part.eqn)}")
            else:
                lines.append(f"native: {len(part.steps)} kernels in one call")
        return "\n".join(lines)


def _source_info(source: ClosedJaxpr, part: Segment) -> Any:
    made = {v for s in part.steps for v in s.writes}
    return next((e.source_info for e in source.eqns if made & set(e.outvars)), None)

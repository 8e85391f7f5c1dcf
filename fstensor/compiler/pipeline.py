"""A program on its way to native code: every stage, to be run and to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

from fstensor.compiler.barriers import drop_barriers, free_numbers
from fstensor.compiler.calls import Assembled, Call
from fstensor.compiler.donation import allow_donations
from fstensor.compiler.fuse import fuse
from fstensor.compiler.kinds import why_host
from fstensor.compiler.layout import size_of
from fstensor.compiler.llvm import engine
from fstensor.compiler.llvm.program import Written, write_segment
from fstensor.compiler.llvm.target import host_target
from fstensor.compiler.llvm.text import Module, Part
from fstensor.compiler.nesting import nest
from fstensor.compiler.plan import Segment, plan
from fstensor.compiler.schedule import Schedule
from fstensor.compiler.steps import HostStep, kernel_steps
from fstensor.core.jaxpr import ClosedJaxpr, Var


@final
class Code(NamedTuple):
    """What was written for a program.

    llvm: the text of its module. assembled: how the functions there are called. schedules: of the
    kernels.
    """

    llvm: str
    assembled: Assembled
    schedules: list[Schedule]


@final
class Pipeline:
    """The stages of a simplified program. Those up to the plan are gone through at once.

    donated: which of its inputs the caller may give up.
    source: the program, its loops and choices nested. steps: what fusion made of it. parts: the
    steps in segments.
    """

    def __init__(self, program: ClosedJaxpr, donated: Sequence[int] = ()) -> None:
        source = self.source = nest(free_numbers(program))
        self.steps, same = drop_barriers(fuse(source))
        outputs = [same.get(a, a) if isinstance(a, Var) else a for a in source.jaxpr.outvars]
        if engine.verifying():
            for step in kernel_steps(self.steps):
                step.kernel.check()
        self.parts = plan(self.steps, {a for a in outputs if isinstance(a, Var)})
        given = [source.jaxpr.invars[i] for i in donated]
        allow_donations(self.parts, given, {a for a in outputs if isinstance(a, Var)})
        self._outputs = outputs
        self._own = set(program.jaxpr.constvars)
        self._code: Code | None = None

    @property
    def code(self) -> Code:
        return self._code or self.write()

    def write(self, send: Callable[[Part], None] | None = None) -> Code:
        """Write the code. `send` takes parts of the module meanwhile; see `Module`."""
        source, module = self.source, Module(send)
        pairs = zip(source.jaxpr.constvars, source.consts, strict=True)
        assembled = Assembled([], self._outputs, {v: c for v, c in pairs if v not in self._own})
        schedules: list[Schedule] = []
        for part in self.parts:
            if isinstance(part, HostStep):
                assembled.parts.append(part.eqn)
                continue
            function = f"segment{len(assembled.functions)}"
            written = write_segment(module, function, part, host_target())
            schedules += written.schedules
            assembled.parts.append(self._call(function, part, written))
        if send is not None:
            module.send_rest()
        self._code = Code(str(module), assembled, schedules)
        return self._code

    def _call(self, function: str, segment: Segment, written: Written) -> Call:
        made = {v for s in segment.steps for v in s.writes}
        return Call(
            function,
            segment.arguments[: segment.n_inputs],
            segment.outputs,
            segment.scratch + written.common,
            written.workspace,
            written.shared,
            [
                (segment.outputs.index(w), segment.arguments.index(old))
                for w, old in segment.may_take.items()
            ],
            next((e for e in self.source.eqns if made & set(e.outvars)), None),
        )

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
        """The machine's instructions, as text, part by part."""
        parts: list[Part] = []
        self.write(parts.append)
        return "\n".join(engine.assembly(p.text, quickly=p.quickly) for p in parts)

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

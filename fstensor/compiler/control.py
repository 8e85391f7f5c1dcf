"""Loops and choices as steps of a segment, around segments of their own.

Every thread runs the loop itself, and its share of each kernel in it. A carry that the body can
write where it has read it stays in one place; others change between two places from round to round.
The elements of xs and ys are rows of arrays, read and written in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from fstensor.compiler.layout import ALIGNMENT, aligned, size_of
from fstensor.core.aval import ShapedArray
from fstensor.core.control_flow import Loop
from fstensor.core.jaxpr import Var
from fstensor.core.primitive import Primitive
from fstensor.core.scalar import ScalarOps, V
from fstensor.ops.families import PerElement

if TYPE_CHECKING:
    from fstensor.compiler.plan import Segment


@final
class Copy(PerElement):
    """The operand, in memory of its own: what a program inside returns without having made it."""

    name = "copy"
    result_is_apart = True

    def abstract(self, *avals: ShapedArray) -> ShapedArray:
        return avals[0]

    def impl(self, xp: Any, *buffers: Any) -> Any:
        return buffers[0].copy()

    def lower(self, ops: ScalarOps[V], *args: V) -> V:
        (x,) = args
        return x

    def __hash__(self) -> int:
        return hash(Copy)


@final
@dataclass
class Nested:
    """A program inside of a step, whose kernels all are native.

    inputs: what it takes. outputs: what it makes, each a value of its own; None for a carry that
    it returns as it got it.
    """

    segment: Segment
    inputs: list[Var]
    outputs: list[Var | None]

    @property
    def flops(self) -> int:
        return sum(s.flops for s in self.segment.steps)

    def passed(self) -> list[Var]:
        """The values whose addresses it is called with."""
        made = [v for v in self.outputs if v is not None and v not in self.segment.same_place]
        return [*self.inputs, *made]

    def __str__(self) -> str:
        return "\n".join(f"  {line}" for s in self.segment.steps for line in str(s).splitlines())


@final
@dataclass
class LoopStep:
    """A loop. reads: its operands; writes: its results, as `Loop` has them.

    bodies: the program of each of the loop's rounds. kept: of each part of the carry, whether it is
    the same throughout. in_place: whether it stays in one place, that of the result.
    """

    loop: Loop
    bodies: list[Nested]
    condition: Nested | None
    kept: list[bool]
    in_place: list[bool]
    reads: list[Var]
    writes: list[Var]

    @property
    def flops(self) -> int:
        """Those of one round where their number is not known."""
        counts = [1 if r.count is None else r.count for r in self.loop.rounds]
        total = sum(n * b.flops for n, b in zip(counts, self.bodies, strict=True))
        return total + (self.condition.flops if self.condition else 0)

    @property
    def nested(self) -> list[Nested]:
        return [*self.bodies, *([self.condition] if self.condition else [])]

    @property
    def swapped(self) -> list[int]:
        """The parts of the carry that change between two places."""
        pairs = enumerate(zip(self.kept, self.in_place, strict=True))
        return [k for k, (same, fixed) in pairs if not same and not fixed]

    @property
    def places(self) -> tuple[list[int], int]:
        """Where in the loop's room the second place of each swapped carry is, and what is free."""
        found, end = [], ALIGNMENT  # what the condition says comes first
        for k in self.swapped:
            found.append(end)
            end += aligned(size_of(self.writes[k]))
        return found, end

    @property
    def room(self) -> int:
        """The bytes of scratch memory that it needs."""
        return self.places[1] + max(n.segment.scratch for n in self.nested)

    def may_take_over(self, old: Var, new: Var) -> bool:
        """Whether a result can have the memory of an operand: the carry that it begins as."""
        if new not in self.writes[: self.loop.num_carry] or self.reads.count(old) != 1:
            return False
        k = self.writes.index(new)
        first = self.loop.num_condition_consts + self.loop.num_consts
        return self.reads[first + k] is old and k not in self.swapped

    def headline(self) -> str:
        rounds = [
            ("while" if r.count is None else f"{r.count} rounds")
            + (f" of {r.steps} steps" if r.steps > 1 else "")
            for r in self.loop.rounds
        ]
        ways = [
            "kept" if same else "in place" if fixed else "in turn"
            for same, fixed in zip(self.kept, self.in_place, strict=True)
        ]
        back = " backwards" if self.loop.reverse else ""
        return f"loop, {', '.join(rounds)}{back}, carry {', '.join(ways) or 'nothing'}"

    def __str__(self) -> str:
        parts = [self.headline()]
        if self.condition:
            parts += ["condition", str(self.condition)]
        for body in self.bodies:
            parts += ["body", str(body)]
        return "\n".join(parts)


@final
@dataclass
class ChoiceStep:
    """One of several programs. reads: the number that chooses, and operands; writes: results."""

    branches: list[Nested]
    reads: list[Var]
    writes: list[Var]

    @property
    def flops(self) -> int:
        """Those of the longest branch."""
        return max(b.flops for b in self.branches)

    @property
    def nested(self) -> list[Nested]:
        return self.branches

    @property
    def room(self) -> int:
        return max(b.segment.scratch for b in self.branches)

    def may_take_over(self, old: Var, new: Var) -> bool:
        return False

    def headline(self) -> str:
        return f"choice of {len(self.branches)}"

    def __str__(self) -> str:
        parts = [self.headline()]
        for k, branch in enumerate(self.branches):
            parts += [f"branch {k}", str(branch)]
        return "\n".join(parts)


@final
class NativeControl(Primitive):
    """An equation that stands for a loop or choice whose programs are native.

    Its operands are those of the loop or choice, all of them variables. It belongs to one program
    and is equal to no other.
    """

    name = "native_control"
    multiple_results = True
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, form: LoopStep | ChoiceStep, out_avals: Sequence[ShapedArray]) -> None:
        self.form = form
        self.out_avals = list(out_avals)

    @property
    def params(self) -> dict[str, Any]:
        return {}

    def abstract(self, *avals: ShapedArray) -> Any:
        return self.out_avals

    def impl(self, xp: Any, *buffers: Any) -> Any:
        raise AssertionError("it is compiled, never called")

    def step(self, reads: list[Var], writes: list[Var]) -> LoopStep | ChoiceStep:
        """The step with these operands and results."""
        return replace(self.form, reads=reads, writes=writes)

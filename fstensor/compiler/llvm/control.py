"""Loops and choices as functions, which every thread runs, and which call those of their programs.

Such a function takes the addresses of what it reads and writes, then `NESTED_PARAMETERS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fstensor.compiler.control import ChoiceStep, LoopStep, Nested
from fstensor.compiler.layout import size_of
from fstensor.compiler.llvm.loop_frame import NESTED_PARAMETERS, LoopFrame
from fstensor.compiler.llvm.text import Function, Module


def write_loop(
    module: Module, name: str, step: LoopStep, functions: Sequence[str], shared: bool
) -> None:
    """Add the function of a loop.

    functions: those of its bodies, then that of its condition. shared: whether threads meet in it.
    """
    _Loop(module, name, step, functions, shared).write()


class _Loop:
    """A loop while it is written."""

    def __init__(
        self, module: Module, name: str, step: LoopStep, functions: Sequence[str], shared: bool
    ) -> None:
        self.step = step
        self.functions = functions
        self.shared = shared
        self.frame = frame = LoopFrame(module, name, step)
        self.f = frame.function
        self.of_condition = [a for a, _ in frame.of_condition]
        self.consts = [a for a, _ in frame.consts]
        self.init = [a for a, _ in frame.init]
        self.final = [a for a, _ in frame.final]

    def write(self) -> None:
        f, step = self.f, self.step
        f.do(f"%free = getelementptr i8, ptr %room, i64 {step.places[1]}")
        moved = [k for k, (same, fixed) in enumerate(self._ways()) if same or fixed]
        self._copy([(self.final[k], self.init[k], k) for k in moved])
        # Of each part that changes place: where it is, where it goes, and the place after that.
        seconds = [f.value(f"getelementptr i8, ptr %room, i64 {p}") for p in step.places[0]]
        state: list[str] = []
        for k, second in zip(step.swapped, seconds, strict=True):
            ends_in_second = step.loop.condition is None and self._rounds() % 2 == 0
            places = [second, self.final[k]] if ends_in_second else [self.final[k], second]
            state += [self.init[k], *places]
        if step.loop.condition is None:
            done = 0
            for n, r in enumerate(step.loop.rounds):
                with f.carrying("0", str(r.count), "1", [("ptr", p) for p in state]) as (
                    i,
                    now,
                    to,
                ):
                    self._round(n, i, done, now)
                    to[:] = _turned(now)
                state = to
                done += r.steps * (r.count or 0)
        else:
            state = self._while(state)
            self._copy(
                [(self.final[k], state[3 * n], k) for n, k in enumerate(step.swapped)], meet=False
            )
        f.finish()

    def _rounds(self) -> int:
        return sum(r.count or 0 for r in self.step.loop.rounds)

    def _ways(self) -> list[tuple[bool, bool]]:
        return list(zip(self.step.kept, self.step.in_place, strict=True))

    def _while(self, state: list[str]) -> list[str]:
        """The rounds for as long as the condition holds; gives where the carry is at the end."""
        f = self.f
        assert self.step.condition is not None
        with f.repeating([("ptr", p) for p in state]) as (now, following, go_on):
            arguments = [*self.of_condition, *self._carry(now), "%room"]
            self._call(self.functions[-1], self.step.condition, arguments)
            self._meet()
            flag = f.value("load i8, ptr %room")
            go_on(f.value(f"icmp ne i8 {flag}, 0"))
            self._round(0, "0", 0, now)
            following[:] = _turned(now)
        return following

    def _carry(self, state: Sequence[str]) -> list[str]:
        """Where the parts of the carry are."""
        swapped = iter(state[::3])
        return [
            start if same else end if fixed else next(swapped)
            for start, end, (same, fixed) in zip(self.init, self.final, self._ways(), strict=True)
        ]

    def _round(self, n: int, i: str, done: int, state: Sequence[str]) -> None:
        """Call a body for round `i`, before which there were `done` steps in other rounds."""
        steps = self.step.loop.rounds[n].steps
        body = self.step.bodies[n]
        frame = self.frame
        rows = frame.rows(i, steps, done) if frame.xs or frame.ys else []
        xs = [frame.row(x, row) for row in rows for x in frame.xs]
        ys = [frame.row(y, row) for row in rows for y in frame.ys]
        outputs = [*state[1::3], *ys]
        self._call(self.functions[n], body, [*self.consts, *self._carry(state), *xs, *outputs])
        self._meet()

    def _call(self, function: str, nested: Nested, addresses: Sequence[str]) -> None:
        assert len(addresses) == len(nested.passed()), "see Nested"
        _call(self.f, function, addresses, "%free")

    def _meet(self) -> None:
        if self.shared:
            _meet(self.f)

    def _copy(self, copies: Sequence[tuple[str, str, int]], meet: bool = True) -> None:
        """Copy parts of the carry on the first thread, where they are not there already."""
        if not copies:
            return
        f = self.f
        f.module.declare("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        work, after = f.new_block("copy"), f.new_block("copied")
        f.branch_if(f.value("icmp eq i64 %thread, 0"), work, after)
        f.enter(work)
        for target, source, k in copies:
            apart, there = f.new_block("apart"), f.new_block("there")
            f.branch_if(f.value(f"icmp eq ptr {target}, {source}"), there, apart)
            f.enter(apart)
            size = size_of(self.step.writes[k])
            f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 0)")
            f.branch(there)
            f.enter(there)
        f.branch(after)
        f.enter(after)
        if meet:
            self._meet()


def _turned(state: Sequence[str]) -> list[str]:
    """The places for the next round: each part is where it went, and goes to the other place."""
    found: list[str] = []
    for k in range(0, len(state), 3):
        _, to, other = state[k : k + 3]
        found += [to, other, to]
    return found


def write_choice(module: Module, name: str, step: ChoiceStep, functions: Sequence[str]) -> None:
    """Add the function of a choice. functions: those of its branches."""
    reads = [f"%r{k}" for k in range(len(step.reads))]
    writes = [f"%w{k}" for k in range(len(step.writes))]
    f = Function(module, name, [*(f"ptr {a}" for a in (*reads, *writes)), *NESTED_PARAMETERS])
    kind = f"i{8 * step.reads[0].aval.dtype.itemsize}"
    number = f.value(f"load {kind}, ptr {reads[0]}")
    blocks = [f.new_block("branch") for _ in functions]
    after = f.new_block("after")
    # What is beyond either end is moved inside.
    below = f.value(f"icmp slt {kind} {number}, 0")
    inside = f.value(f"select i1 {below}, {kind} 0, {kind} {number}")
    cases = " ".join(f"{kind} {k}, label %{b}" for k, b in enumerate(blocks[:-1]))
    f.do(f"switch {kind} {inside}, label %{blocks[-1]} [{cases}]")
    for function, block in zip(functions, blocks, strict=True):
        f.enter(block)
        _call(f, function, [*reads[1:], *writes], "%room")
        f.branch(after)
    f.enter(after)
    f.finish()


def _call(f: Function, function: str, addresses: Sequence[str], room: str) -> None:
    arguments = ", ".join(f"ptr {a}" for a in (*addresses, room, "%workspace", "%barrier"))
    f.do(f"call void @{function}({arguments}, i64 %thread, i64 %threads)")


def _meet(f: Function) -> None:
    f.module.declare("declare void @fst_barrier(ptr, i64)")
    f.do("call void @fst_barrier(ptr %barrier, i64 %threads)")

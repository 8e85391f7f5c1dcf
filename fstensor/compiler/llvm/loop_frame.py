"""What the function of a loop is given, by the parts that these values play in the loop."""

from __future__ import annotations

from typing import TypeAlias, final

from fstensor.compiler.control import LoopStep
from fstensor.compiler.layout import size_of
from fstensor.compiler.llvm.text import Function, Module
from fstensor.core.jaxpr import Var

# Scratch memory of its own; what products need besides; where threads meet; which one this is.
NESTED_PARAMETERS = [
    "ptr %room",
    "ptr %workspace",
    "ptr %barrier",
    "i64 %thread",
    "i64 %threads",
]

# The address of a value.
Place: TypeAlias = tuple[str, Var]


@final
class LoopFrame:
    """The function of a loop, and the places of its operands and results.

    Its parameters are the addresses of what it reads and writes, then `NESTED_PARAMETERS`.
    """

    def __init__(self, module: Module, name: str, step: LoopStep) -> None:
        loop = step.loop
        reads = [(f"%r{k}", v) for k, v in enumerate(step.reads)]
        writes = [(f"%w{k}", v) for k, v in enumerate(step.writes)]
        parameters = [f"ptr {address}" for address, _ in (*reads, *writes)]
        self.function = Function(module, name, [*parameters, *NESTED_PARAMETERS])
        first = loop.num_condition_consts
        second = first + loop.num_consts
        third = second + loop.num_carry
        self.of_condition: list[Place] = reads[:first]
        self.consts: list[Place] = reads[first:second]
        self.init: list[Place] = reads[second:third]
        self.xs: list[Place] = reads[third:]
        self.final: list[Place] = writes[: loop.num_carry]
        self.ys: list[Place] = writes[loop.num_carry :]
        self.reverse = loop.reverse
        self.length = sum((r.count or 0) * r.steps for r in loop.rounds)

    def rows(self, i: str, steps: int, done: int) -> list[str]:
        """Where along xs and ys the steps of round `i` are, `done` steps after the first."""
        f = self.function
        first = f.value(f"mul i64 {i}, {steps}")
        if self.reverse:
            last = self.length - 1 - done
            return [f.value(f"sub i64 {last - s}, {first}") for s in range(steps)]
        return [f.value(f"add i64 {first}, {done + s}") for s in range(steps)]

    def row(self, array: Place, row: str) -> str:
        """The address of a row of one of the xs or ys."""
        address, v = array
        offset = self.function.value(f"mul i64 {row}, {size_of(v) // self.length}")
        return self.function.value(f"getelementptr i8, ptr {address}, i64 {offset}")

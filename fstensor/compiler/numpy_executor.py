"""The NumPy executor: a program run by its primitives' `impl` rules.

It is what every other executor is compared with, and what runs on CuPy buffers. A program becomes a
list of steps over numbered slots; each slot is emptied after its last use, so that memory is held
no longer than by hand-written NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from fstensor import device
from fstensor.array import Array
from fstensor.compiler.simplify import simplify
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Literal, Var
from fstensor.errors import ConcretizationTypeError


@final
class Step:
    """One operation: `outs = impl(ins)`, after which the slots in `dead` are empty."""

    __slots__ = ("dead", "impl", "ins", "multiple", "name", "outs")

    def __init__(
        self, name: str, impl: Callable[..., Any], multiple: bool, ins: list[int], outs: list[int]
    ) -> None:
        self.name = name
        self.impl = impl
        self.multiple = multiple
        self.ins = ins
        self.outs = outs
        self.dead: list[int] = []

    def __str__(self) -> str:
        outs = ", ".join(f"s{i}" for i in self.outs)
        ins = ", ".join(f"s{i}" for i in self.ins)
        dead = f"   # frees {', '.join(f's{i}' for i in self.dead)}" if self.dead else ""
        return f"{outs} = {self.name}({ins}){dead}"


@final
class Program:
    """A program ready to run on buffers."""

    def __init__(self, closed: ClosedJaxpr) -> None:
        self.source = simplify(closed)
        self.source.check()
        jaxpr = self.source.jaxpr
        self._slots: dict[Var, int] = {}
        self._fixed: list[tuple[int, Any]] = []
        self.count = 0
        for v, c in zip(jaxpr.constvars, self.source.consts, strict=True):
            self._fixed.append((self._slot(v), _buffer_of(c)))
        self.inputs = [self._slot(v) for v in jaxpr.invars]
        self.steps = [
            Step(
                repr(eqn.primitive),
                eqn.primitive.impl,
                eqn.primitive.multiple_results,
                [self._read(a) for a in eqn.invars],
                [self._slot(v) for v in eqn.outvars],
            )
            for eqn in jaxpr.eqns
        ]
        self.outputs = [self._read(a) for a in jaxpr.outvars]
        self._free_after_last_use()

    def _slot(self, v: Var) -> int:
        self._slots[v] = self.count
        self.count += 1
        return self._slots[v]

    def _read(self, atom: Atom) -> int:
        if isinstance(atom, Literal):
            self._fixed.append((self.count, _buffer_of(atom.value)))
            self.count += 1
            return self.count - 1
        return self._slots[atom]

    def _free_after_last_use(self) -> None:
        kept = {*self.outputs, *(i for i, _ in self._fixed)}
        for step in reversed(self.steps):
            # A result that nobody reads dies with its own step.
            for i in dict.fromkeys([*step.ins, *step.outs]):
                if i not in kept:
                    kept.add(i)
                    step.dead.append(i)

    def run(self, xp: Any, buffers: Sequence[Any]) -> list[Any]:
        """The buffers of the outputs. `xp` is the array module of the inputs."""
        values: list[Any] = [None] * self.count
        home = device.CPU if xp is np else device.home_of(buffers)
        for i, b in self._fixed:
            values[i] = b if xp is np else device.move(b, home)
        for i, b in zip(self.inputs, buffers, strict=True):
            values[i] = b
        for step in self.steps:
            out = step.impl(xp, *[values[i] for i in step.ins])
            if step.multiple:
                for i, b in zip(step.outs, out, strict=True):
                    values[i] = np.asarray(b) if isinstance(b, np.generic) else b
            else:
                values[step.outs[0]] = np.asarray(out) if isinstance(out, np.generic) else out
            for i in step.dead:
                values[i] = None
        return [values[i] for i in self.outputs]

    def __str__(self) -> str:
        head = ", ".join(f"s{i}" for i in self.inputs)
        lines = [f"def program({head}):"]
        for i, b in self._fixed:
            value = "" if b.ndim else f" {b}"
            lines.append(f"    s{i} = constant {b.dtype}{list(b.shape)}{value}")
        lines += [f"    {step}" for step in self.steps]
        lines.append(f"    return {', '.join(f's{i}' for i in self.outputs)}")
        return "\n".join(lines)


def _buffer_of(constant: Array) -> Any:
    return constant.concretize(ConcretizationTypeError, "the value of")

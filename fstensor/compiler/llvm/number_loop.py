"""Loops over numbers, one at a time: the carry lives in registers, and memory is hardly touched.

Such a loop takes as long as its operations do one after the other. So its kernels, each of one
element, are printed into the loop itself, on a single thread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, final

from fstensor.compiler.control import LoopStep, Nested
from fstensor.compiler.kernels import Access, Kernel, Store
from fstensor.compiler.llvm.loop_frame import LoopFrame
from fstensor.compiler.llvm.loops import LoopWriter
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Module
from fstensor.compiler.llvm.vector import Register, type_of
from fstensor.compiler.schedule import Schedule, scheduled
from fstensor.compiler.steps import KernelStep
from fstensor.core.affine import Affine
from fstensor.core.jaxpr import Var

# What is known of a value: the number itself, or where it lies.
Known: TypeAlias = Register | str


def is_of_numbers(step: LoopStep) -> bool:
    """Whether all that changes in a loop are single numbers."""
    if any(v.aval.size != 1 for v in step.writes[: step.loop.num_carry]):
        return False
    for nested in step.nested:
        for inner in nested.segment.steps:
            if not isinstance(inner, KernelStep) or math.prod(inner.kernel.sizes) != 1:
                return False
            if any(i.op in ("reduce", "scan") for i in inner.kernel.instructions):
                return False
            if any(v.aval.size != 1 for v in inner.writes):
                return False
    return True


@final
class NumberLoop:
    """The function of such a loop while it is written."""

    def __init__(self, module: Module, name: str, step: LoopStep, target: Target) -> None:
        self.step = step
        self.target = target
        self.frame = frame = LoopFrame(module, name, step)
        self.f = frame.function
        # Whatever has one element is read once, ahead of the loop.
        self.of_condition = [self._read(*place) for place in frame.of_condition]
        self.consts = [self._read(*place) for place in frame.consts]
        self.init = [self._read(*place) for place in frame.init]

    def write(self) -> None:
        f, loop, carry = self.f, self.step.loop, self.init
        if self.step.condition is not None:
            with f.repeating(_typed(carry)) as (names, following, go_on):
                now = _named(carry, names)
                (holds,) = self._run(self.step.condition, [*self.of_condition, *now])
                go_on(_register(holds).text)
                outs = self._run(self.step.bodies[0], [*self.consts, *now])
                following[:] = self._texts(outs, now)
            carry = _named(carry, following)
        else:
            done = 0
            for n, r in enumerate(loop.rounds):
                with f.carrying("0", str(r.count), "1", _typed(carry)) as (i, names, following):
                    now = _named(carry, names)
                    following[:] = self._texts(self._round(n, i, done, now), now)
                carry = _named(carry, following)
                done += r.steps * (r.count or 0)
        for (address, v), value in zip(self.frame.final, carry, strict=True):
            self._write(address, v, value)
        f.finish()

    def _texts(self, outs: Sequence[Known | None], now: Sequence[Known]) -> list[str]:
        """The carry for the next round."""
        pairs = zip(outs, now, strict=False)
        return [_register(old if new is None else new).text for new, old in pairs]

    def _round(self, n: int, i: str, done: int, carry: Sequence[Known]) -> list[Known | None]:
        frame = self.frame
        rows = frame.rows(i, self.step.loop.rounds[n].steps, done)
        body = self.step.bodies[n]
        elements = body.inputs[len(self.consts) + len(carry) :]
        places = [frame.row(x, row) for row in rows for x in frame.xs]
        xs = [self._read(a, v) for a, v in zip(places, elements, strict=True)]
        outs = self._run(body, [*self.consts, *carry, *xs])
        places = [frame.row(y, row) for row in rows for y in frame.ys]
        for address, v, value in zip(
            places, body.outputs[len(carry) :], outs[len(carry) :], strict=True
        ):
            assert v is not None
            self._write(address, v, _register(value))
        return outs[: len(carry)]

    def _run(self, nested: Nested, given: Sequence[Known]) -> list[Known | None]:
        """Print the kernels of a program for these inputs; gives its outputs."""
        env: dict[Var, Known] = dict(zip(nested.inputs, given, strict=True))
        for step in nested.segment.steps:
            assert isinstance(step, KernelStep)
            values = [*step.reads, *step.writes]
            writer = self._writer(step.kernel)
            writer.held = {
                k: None if v in step.writes else _register(env[v])
                for k, v in enumerate(values)
                if v in step.writes or isinstance(env[v], Register)
            }
            writer.buffers = [str(env.get(v, "")) for v in values]
            writer.store_all(writer.kernel.stores, {}, 1)
            for k, v in enumerate(step.writes, len(step.reads)):
                env[v] = _register(writer.held[k])
        return [None if v is None else env[v] for v in nested.outputs]

    # Memory

    def _writer(self, kernel: Kernel) -> LoopWriter:
        schedule = scheduled(kernel, self.target.vector_bytes)
        return LoopWriter(self.f, schedule, self.target.has_fma)

    def _single(self, v: Var, address: str) -> LoopWriter:
        """A writer for the first element of a buffer."""
        kernel = Kernel((), ())
        kernel.buffers.append(v.aval.dtype)
        writer = LoopWriter(self.f, Schedule(kernel, -1, 1, 1), self.target.has_fma)
        writer.buffers = [address]
        return writer

    def _read(self, address: str, v: Var) -> Known:
        if v.aval.size != 1:
            return address
        return self._single(v, address).load(Access(0, Affine(0)), 0)

    def _write(self, address: str, v: Var, value: Known) -> None:
        store = Store(Access(0, Affine(0)), 0)
        self._single(v, address).store(store, _register(value), 0)


def _register(known: Known | None) -> Register:
    assert isinstance(known, Register)
    return known


def _typed(carry: Sequence[Known]) -> list[tuple[str, str]]:
    registers = map(_register, carry)
    return [(type_of(x.dtype, 1), x.text) for x in registers]


def _named(carry: Sequence[Known], names: Sequence[str]) -> list[Known]:
    return [_register(x)._replace(text=n) for x, n in zip(carry, names, strict=True)]

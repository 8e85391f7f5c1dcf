"""Kernels written anew, with other loops, out of the instructions of one or more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final

from fstensor.compiler.kernels import LOADS, Access, Kernel, Recorder
from fstensor.compiler.steps import KernelStep
from fstensor.core.affine import Affine, flat
from fstensor.core.jaxpr import Var


@final
class Loops(NamedTuple):
    """The loops of a new kernel: where the axes of the old one are in it, and what else begins it.

    at: for each old axis the new one, or None. cut: the axis that is run through in chunks, perhaps
    row by row; the first new axes count these. steps: how far they go along it. first: where it
    begins.
    """

    outer: tuple[int, ...]
    inner: tuple[int, ...]
    at: tuple[int | None, ...]
    cut: int = -1
    steps: tuple[int, ...] = ()
    first: int = 0

    def place(self, old: Affine) -> Affine:
        """The place of an access, by the new axes."""
        strides = [0] * (len(self.outer) + len(self.inner))
        for a, step in enumerate(old.strides):
            if (new := self.at[a]) is not None:
                strides[new] += step
        constant = old.constant
        if self.cut >= 0 and old.strides:
            constant += old.strides[self.cut] * self.first
            for new, step in enumerate(self.steps):
                strides[new] += old.strides[self.cut] * step
        return Affine(constant, tuple(strides))


@final
class Written(NamedTuple):
    """What a new kernel writes; the place None is that of the row. by, along: see `Store`."""

    variable: Var
    place: Affine | None
    value: int
    by: str = ""
    along: int = -1


@final
@dataclass
class Writer:
    """Writes instructions of `kernel`, whose buffers are `variables`, into another kernel.

    known: the values in memory of reductions, by the numbers of their instructions. record: of the
    new kernel; buffers: its buffers. values: what the old instructions have become.
    """

    kernel: Kernel
    variables: Sequence[Var]
    loops: Loops
    record: Recorder
    known: Mapping[int, Var] = field(default_factory=dict)
    buffers: dict[Var, int] = field(default_factory=dict)
    values: dict[int, int] = field(default_factory=dict)

    def access(self, v: Var, place: Affine) -> Access:
        number = self.buffers.get(v)
        if number is None:
            number = self.buffers[v] = len(self.record.kernel.buffers)
            self.record.kernel.buffers.append(v.aval.dtype)
        return Access(number, place)

    def row(self, v: Var) -> Access:
        """Where a value with an element for each row has that of the present one."""
        rank = len(self.kernel.sizes)
        index = [Affine.axis(a, rank) for a in range(len(self.kernel.outer))]
        place = flat(index, self.kernel.outer)
        place = Affine(place.constant, place.strides or (0,) * rank)
        return self.access(v, self.loops.place(place))

    def make(self, targets: Iterable[int]) -> None:
        """Record some instructions of the old kernel, with what they need."""
        for k in self._needed(targets):
            if k not in self.values:
                self.values[k] = self._one(k)

    def _needed(self, targets: Iterable[int]) -> list[int]:
        """The instructions that some need, but for what known ones need; in order."""
        seen: set[int] = set()
        todo = list(targets)
        while todo:
            k = todo.pop()
            if k not in seen:
                seen.add(k)
                if k not in self.known and k not in self.values:
                    todo += self.kernel.instructions[k].args
        return sorted(seen)

    def _one(self, k: int) -> int:
        i, record = self.kernel.instructions[k], self.record
        if k in self.known:
            return record.load(self.row(self.known[k]))
        if i.op == "constant":
            return record.constant(i.detail, i.dtype)
        if i.op == "index":
            return record.index(self.loops.place(i.detail), i.dtype)
        args = [self.values[a] for a in i.args]
        if i.op == "reduce":
            return record.reduce(i.detail, args[0])
        if i.op not in LOADS:
            return record.again(i, args)
        v = self.variables[i.detail.buffer]
        access = self.access(v, self.loops.place(i.detail.place))
        if i.op == "load":
            return record.load(access)
        (arg,) = args
        return record.take(access, arg) if i.op == "take" else record.load_if(arg, access)

    def finish(self, written: Sequence[Written]) -> KernelStep:
        reads = list(self.buffers)
        for w in written:
            access = self.row(w.variable) if w.place is None else self.access(w.variable, w.place)
            self.record.store(access, w.value, w.by, w.along)
        return KernelStep(self.record.kernel, reads, [v for v in self.buffers if v not in reads])

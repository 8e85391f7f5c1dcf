"""The loop IR: what one fused kernel computes, for any target.

A kernel is a loop nest. Its outer axes make up the rows: independent of each other, so that vectors
and threads may take many at once. For each row the inner axes are run through, once for each
`stage`: a reduction over the inner axes is known from the next stage on. Instructions are listed in
the order in which they depend on each other; where in the nest each one stands follows from the
axes that it depends on, and from its stage.

A kernel without inner axes is a map. `softmax` over the last axis is one kernel of three stages:
the maximum, the sum of exponentials, the quotients.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

import numpy as np

from fstensor import dtypes
from fstensor.core.affine import Affine
from fstensor.core.scalar import BOOL, FLOAT32, INT64, KEY, STORED, UINT64, Dtype, IndexedOps

# The instructions that read memory.
LOADS = frozenset({"load", "take", "load_if"})

# What is no arithmetic.
_NO_FLOPS = LOADS | {"constant", "index", "convert", "bitcast", "select", "product"}

# Where a value's dtype in memory is not one of arithmetic.
_WIDER = {d: FLOAT32 for d in STORED if d.itemsize == 2 and d.kind not in "iu"} | {KEY: UINT64}


def computed(dtype: Dtype) -> Dtype:
    """The dtype that values of `dtype` are computed in, where it is another one."""
    return _WIDER.get(dtype, dtype)


@final
class Access(NamedTuple):
    """An element of a buffer: its number, and the position as a function of the axes."""

    buffer: int
    place: Affine


@final
class Instruction(NamedTuple):
    """One operation on elements.

    op: a name of `core.scalar`, or "constant", "index", "convert", "bitcast", "select", "fma",
        "reduce", "scan", or "product": the element of a matrix product that the kernel follows on;
        "load", "take" (a number of elements further on), "load_if" (where a condition holds).
        detail: what is loaded; the constant; the index; the reduction's operation.
    axes: a bit for each axis that the value depends on. stage: the first in which it is known.
    """

    op: str
    dtype: Dtype
    args: tuple[int, ...]
    detail: Any
    axes: int
    stage: int


@final
class Store(NamedTuple):
    """A value written to memory.

    along: an outer axis that the place does not depend on, where what is written is combined by
        `by`, one index after the other; then that axis must not be divided among threads.
    """

    access: Access
    value: int
    by: str = ""
    along: int = -1


@final
@dataclass
class Kernel:
    """A fused loop nest over `outer` and `inner` axes; see the module.

    buffers: the dtypes of the buffers in memory, in the order in which they are passed.
    """

    outer: tuple[int, ...]
    inner: tuple[int, ...]
    buffers: list[Dtype] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.outer + self.inner

    @property
    def inner_bits(self) -> int:
        """The bits of `Instruction.axes` that stand for inner axes."""
        return ((1 << len(self.inner)) - 1) << len(self.outer)

    @property
    def inner_axes(self) -> range:
        return range(len(self.outer), len(self.sizes))

    @property
    def stages(self) -> int:
        """How often the inner axes are run through, or 1."""
        return 1 + max((self.stage_of(s) for s in self.stores), default=0)

    def stage_of(self, store: Store) -> int:
        return self.instructions[store.value].stage

    def is_inside(self, store: Store) -> bool:
        """Whether something is written for each element of the inner axes, not once for a row."""
        along_inner = any(store.access.place.strides[len(self.outer) :])
        return along_inner or bool(self.instructions[store.value].axes & self.inner_bits)

    @property
    def work(self) -> int:
        """Operations, roughly: for choosing how many threads."""
        rows = math.prod(self.outer)
        inside = math.prod(self.inner)
        costs = [COSTS.get(i.op, 1) for i in self.instructions]
        per = [
            inside if i.axes & self.inner_bits or i.op == "reduce" else 1 for i in self.instructions
        ]
        return rows * sum(c * n for c, n in zip(costs, per, strict=True))

    @property
    def flops(self) -> int:
        """Operations of arithmetic on floats; an elementary function counts as one."""
        rows, inside = math.prod(self.outer), math.prod(self.inner)
        total = 0
        for i in self.instructions:
            if i.op not in _NO_FLOPS and i.dtype.kind == "f":
                within = i.axes & self.inner_bits or i.op == "reduce"
                total += rows * (inside if within else 1) * (2 if i.op == "fma" else 1)
        return total

    def check(self) -> None:
        """Raises AssertionError where the kernel is not well formed."""
        for k, i in enumerate(self.instructions):
            assert all(a < k for a in i.args), f"%{k} uses what comes later"
            kinds = [self.instructions[a].dtype for a in i.args]
            if i.op in ("select",):
                assert kinds[0] == BOOL, f"%{k}: a condition of {kinds[0]}"
                kinds = kinds[1:]
            if i.op not in ("convert", "bitcast", *LOADS):
                assert len(set(kinds)) <= 1, f"%{k}: {i.op} of {kinds}"
            if i.op in LOADS:
                assert len(i.detail.place.strides) == len(self.sizes), f"%{k}: strides"
                assert computed(self.buffers[i.detail.buffer]) == i.dtype, f"%{k}: dtype"
            if i.op == "reduce":
                assert not i.axes & self.inner_bits, f"%{k}: a reduction depends on inner axes"
        for s in self.stores:
            value = self.instructions[s.value]
            assert computed(self.buffers[s.access.buffer]) == value.dtype, f"store of %{s.value}"
            if s.by:
                assert 0 < s.along < len(self.outer), f"store of %{s.value}: along i{s.along}"
                assert not s.access.place.strides[s.along], f"store of %{s.value}: moves"

    def __str__(self) -> str:
        # Kernels with the same text are compiled once: it tells all that there is to a kernel.
        names = [f"i{a}" for a in range(len(self.sizes))]
        rows = " ".join(f"{n}<{s}" for n, s in zip(names, self.outer, strict=False))
        inner = " ".join(
            f"{n}<{s}" for n, s in zip(names[len(self.outer) :], self.inner, strict=True)
        )
        stored = [(n, d) for n, d in enumerate(self.buffers) if computed(d) != d]
        loops = f"rows ({rows}) inner ({inner})" if self.inner else f"map ({rows})"
        lines = [", ".join([loops, *(f"b{n} of {dtypes.name(d)}" for n, d in stored)])]
        for k, i in enumerate(self.instructions):
            args = " ".join(f"%{a}" for a in i.args)
            detail = ""
            if i.op in LOADS:
                detail = f" b{i.detail.buffer}[{i.detail.place}]"
            elif i.detail is not None:
                detail = f" {i.detail}"
            stage = f"  ; stage {i.stage}" if i.stage else ""
            lines.append(
                f"  %{k}:{_text(i.dtype)} = {i.op}{detail}{' ' + args if args else ''}{stage}"
            )
        for s in self.stores:
            along = f" {s.by} along i{s.along}" if s.by else ""
            lines.append(f"  b{s.access.buffer}[{s.access.place}] ={along} %{s.value}")
        return "\n".join(lines)


_text = functools.cache(str)  # of dtypes, for which NumPy takes long

# What operations cost, in those that machines do at once.
COSTS = {
    "load": 1,
    "constant": 0,
    "exp": 12,
    "log": 14,
    "tanh": 16,
    "sin": 20,
    "cos": 20,
    "pow": 40,
}
COSTS |= {"div": 6, "sqrt": 6, "logistic": 16, "erf": 20}


@final
class Recorder(IndexedOps[int]):
    """Writes instructions into a kernel. A value is the number of its instruction.

    Equal instructions are recorded once.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._known: dict[Any, int] = {}

    def _add(
        self, op: str, dtype: Dtype, args: tuple[int, ...], detail: Any, axes: int, stage: int
    ) -> int:
        key = (op, dtype, args, detail)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self.kernel.instructions)
            self.kernel.instructions.append(Instruction(op, dtype, args, detail, axes, stage))
        return found

    def _of(self, op: str, dtype: Dtype, *args: int, detail: Any = None) -> int:
        axes = stage = 0
        for a in args:
            operand = self.kernel.instructions[a]
            axes |= operand.axes
            stage = max(stage, operand.stage)
        return self._add(op, dtype, args, detail, axes, stage)

    def dtype(self, x: int) -> Dtype:
        return self.kernel.instructions[x].dtype

    def constant(self, value: Any, dtype: Dtype) -> int:
        # The bits are the key: 0.0 is not -0.0, and NaN is itself.
        number = np.asarray(value).astype(dtype)
        key = ("constant", dtype, number.tobytes())
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self.kernel.instructions)
            i = Instruction("constant", dtype, (), number[()], 0, 0)
            self.kernel.instructions.append(i)
        return found

    def unary(self, op: str, x: int) -> int:
        return self._of(op, self.dtype(x), x)

    def binary(self, op: str, x: int, y: int) -> int:
        assert self.dtype(x) == self.dtype(y), (op, self.dtype(x), self.dtype(y))
        chosen = op == "div" and self.kernel.instructions[y].op == "select"
        inverse = self._inverse(y) if chosen else None  # of a number alone, LLVM finds it
        if inverse is not None:
            return self._of("mul", self.dtype(x), x, inverse)
        return self._of(op, self.dtype(x), x, y)

    def _inverse(self, x: int) -> int | None:
        """1 / x where dividing by x is multiplying by that, to the bit: for powers of two."""
        i = self.kernel.instructions[x]
        if i.op == "constant" and i.dtype.kind == "f":
            mantissa, exponent = math.frexp(float(i.detail))
            if abs(mantissa) == 0.5 and abs(exponent) < 100:
                return self.constant(1 / i.detail, i.dtype)
        elif i.op == "select":
            first, second = (self._inverse(a) for a in i.args[1:])
            if first is not None and second is not None:
                return self.select(i.args[0], first, second)
        return None

    def compare(self, op: str, x: int, y: int) -> int:
        assert self.dtype(x) == self.dtype(y), (op, self.dtype(x), self.dtype(y))
        return self._of(op, BOOL, x, y)

    def fma(self, x: int, y: int, z: int) -> int:
        return self._of("fma", self.dtype(x), x, y, z)

    def select(self, condition: int, x: int, y: int) -> int:
        assert self.dtype(x) == self.dtype(y), ("select", self.dtype(x), self.dtype(y))
        return self._of("select", self.dtype(x), condition, x, y)

    def convert(self, x: int, dtype: Dtype) -> int:
        return x if self.dtype(x) == dtype else self._of("convert", dtype, x)

    def bitcast(self, x: int, dtype: Dtype) -> int:
        return x if self.dtype(x) == dtype else self._of("bitcast", dtype, x)

    def elementary(self, name: str, *args: int) -> int:
        return self._of(name, self.dtype(args[0]), *args)

    # What only kernels have

    def load(self, access: Access) -> int:
        axes = sum(1 << a for a, s in enumerate(access.place.strides) if s)
        dtype = computed(self.kernel.buffers[access.buffer])
        return self._add("load", dtype, (), access, axes, 0)

    def take(self, access: Access, offset: int) -> int:
        """The element that lies an int64 behind the place."""
        return self._from_memory("take", access, offset)

    def load_if(self, condition: int, access: Access) -> int:
        """The element where the condition holds; elsewhere its place is not touched."""
        return self._from_memory("load_if", access, condition)

    def _from_memory(self, op: str, access: Access, arg: int) -> int:
        operand = self.kernel.instructions[arg]
        axes = operand.axes | sum(1 << a for a, s in enumerate(access.place.strides) if s)
        dtype = computed(self.kernel.buffers[access.buffer])
        return self._add(op, dtype, (arg,), access, axes, operand.stage)

    def index(self, place: Affine, dtype: Dtype = INT64) -> int:
        if place.is_constant:
            return self.constant(place.constant, dtype)
        axes = sum(1 << a for a, s in enumerate(place.strides) if s)
        return self._add("index", dtype, (), place, axes, 0)

    def reduce(self, op: str, x: int) -> int:
        """The combination of `x` over the inner axes."""
        operand = self.kernel.instructions[x]
        axes = operand.axes & ~self.kernel.inner_bits
        return self._add("reduce", operand.dtype, (x,), op, axes, operand.stage + 1)

    def scan(self, op: str, x: int) -> int:
        """The combination of `x` with all before it along the inner axis, of which there is one.

        op: as of reductions, or "logaddexp".
        """
        operand = self.kernel.instructions[x]
        axes = operand.axes | self.kernel.inner_bits
        return self._add("scan", operand.dtype, (x,), op, axes, operand.stage)

    def product(self, dtype: Dtype) -> int:
        """The result of the contraction whose epilogue this kernel is, at the present row."""
        return self._add("product", dtype, (), None, (1 << len(self.kernel.outer)) - 1, 0)

    def again(self, i: Instruction, args: Sequence[int]) -> int:
        """An instruction of another kernel, that reads no memory, of operands in this one."""
        return self._of(i.op, i.dtype, *args, detail=i.detail)

    def store(self, access: Access, value: int, by: str = "", along: int = -1) -> None:
        self.kernel.stores.append(Store(access, value, by, along))


def identity(op: str, dtype: Dtype) -> Any:
    """What changes nothing when it is combined with another number by `op`."""
    if op == "logaddexp":
        return -math.inf
    if op in ("add", "or", "xor"):
        return False if dtype == BOOL else (-0.0 if dtype.kind == "f" else 0)
    if op == "mul":
        return 1
    if op == "and":
        return True if dtype == BOOL else -1 if dtype.kind == "i" else np.iinfo(dtype).max
    if dtype == BOOL:
        return op == "min"
    if dtype.kind == "f":
        return -math.inf if op == "max" else math.inf
    limits = np.iinfo(dtype)
    return limits.min if op == "max" else limits.max


def can_merge(kernel: Kernel, first: int, second: int) -> bool:
    """Whether two axes can be run through as one, the second being the faster of them."""
    places = [i.detail.place for i in kernel.instructions if i.op in LOADS]
    places += [i.detail for i in kernel.instructions if i.op == "index"]
    places += [s.access.place for s in kernel.stores]
    n = kernel.sizes[second]
    return all(p.strides[first] == p.strides[second] * n for p in places)


def merged(kernel: Kernel, order: Sequence[int], n_outer: int) -> Kernel:
    """The kernel with its axes in another order, and neighbours made one where all accesses allow.

    order: the present numbers of the axes to keep; those left out have size 1. The first n_outer
    are the outer ones.
    """
    groups: list[list[int]] = []
    for k, a in enumerate(order):
        if groups and k != n_outer and can_merge(kernel, groups[-1][-1], a):
            groups[-1].append(a)
        else:
            groups.append([a])
    before = set(order[:n_outer])
    return grouped(kernel, groups, sum(g[0] in before for g in groups))


def grouped(kernel: Kernel, groups: Sequence[Sequence[int]], n_outer: int) -> Kernel:
    """The kernel with an axis for each group of mergeable ones; n_outer groups are outer axes.

    An empty group stands for an axis of size 1.
    """

    def moved(place: Affine) -> Affine:
        return Affine(place.constant, tuple([place.strides[g[-1]] if g else 0 for g in groups]))

    known: dict[int, int] = {}

    def moved_axes(axes: int) -> int:
        found = known.get(axes)
        if found is None:
            bits = [1 << k for k, g in enumerate(groups) if any(axes >> a & 1 for a in g)]
            found = known[axes] = sum(bits)
        return found

    sizes = [math.prod([kernel.sizes[a] for a in g]) for g in groups]
    result = Kernel(tuple(sizes[:n_outer]), tuple(sizes[n_outer:]), list(kernel.buffers))
    for i in kernel.instructions:
        detail = i.detail
        if i.op in LOADS:
            detail = Access(detail.buffer, moved(detail.place))
        elif i.op == "index":
            detail = moved(detail)
        axes = moved_axes(i.axes)
        result.instructions.append(Instruction(i.op, i.dtype, i.args, detail, axes, i.stage))
    for s in kernel.stores:
        access = Access(s.access.buffer, moved(s.access.place))
        along = next((k for k, g in enumerate(groups) if s.along in g), -1)
        result.stores.append(Store(access, s.value, s.by, along))
    return result

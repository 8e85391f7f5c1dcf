"""Equations written as the instructions of a kernel, from the results down to what is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import final

import numpy as np

from fstensor.compiler.domain import Domain, Shape, padded, stretched
from fstensor.compiler.kernels import Access, Kernel, Recorder, computed
from fstensor.compiler.steps import KernelStep
from fstensor.core.affine import Affine, Index, flat
from fstensor.core.jaxpr import Atom, Eqn, Literal, Var
from fstensor.core.primitive import Primitive
from fstensor.core.scalar import BOOL, INT32, INT64, KEY, Elements
from fstensor.ops.cumulative import Cumulative
from fstensor.ops.families import PerElement
from fstensor.ops.reduce import ArgExtremum, Reduction
from fstensor.ops.shape import Iota

# Kinds of equations whose results are computed by whoever reads them; see `kinds`.
UNMADE = ("view", "iota", "inline")


class InMemory:
    """Where values lie, each in row-major order; some are views of others.

    maker: the equation that makes a value. kinds: by the identity of an equation; see `kinds`.
    """

    def __init__(self, maker: Mapping[Var, Eqn], kinds: Mapping[int, str]) -> None:
        self.maker = dict(maker)
        self.kinds = dict(kinds)

    def kind(self, eqn: Eqn) -> str:
        return self.kinds[id(eqn)]

    def in_memory(self, atom: Atom, index: Index, rank: int) -> tuple[Var, Affine]:
        """Where an element lies: the value whose memory it is, and the place."""
        while (
            isinstance(atom, Var) and atom in self.maker and self.kind(self.maker[atom]) == "view"
        ):
            view = self.maker[atom]
            found = view.primitive.source_index(index, view.invars[0].aval)
            if found is None:
                atom, place = view.invars[0], flat(index, atom.aval.shape)
                break
            atom, index = view.invars[0], found
        else:
            place = flat(index, atom.aval.shape)
        assert isinstance(atom, Var), "see Values"
        return atom, Affine(place.constant, place.strides or (0,) * rank)

    def lies(self, atom: Atom) -> bool:
        """Whether a value is in memory, but for rearrangements."""
        while isinstance(atom, Var) and atom in self.maker:
            made_by = self.maker[atom]
            if self.kind(made_by) != "view":
                return self.kind(made_by) not in UNMADE
            atom = made_by.invars[0]
        return isinstance(atom, Var)


@final
class Lowering:
    """Writes the kernel of some equations, the members; other values lie in memory."""

    def __init__(self, values: InMemory, domain: Domain, members: Iterable[Eqn] = ()) -> None:
        self.values = values
        self.domain = domain
        sizes = self.domain.loops
        rows = [n for d, n in enumerate(sizes) if d not in self.domain.reduced]
        inner = [sizes[d] for d in self.domain.reduced]
        self.rank = len(self.domain.shape)
        self.kernel = Kernel(tuple(rows), tuple(inner))
        self.record = Recorder(self.kernel)
        self.buffers: dict[Var, int] = {}
        self.known: dict[tuple[int, Index, int | None], int] = {}
        self.condition: int | None = None  # where it holds there is something to read
        self.members = {id(e) for e in members}

    def step(self, outputs: Sequence[Var]) -> KernelStep:
        values = []
        for v in outputs:
            index = self.domain.index_of(v.aval.shape)
            assert index is not None
            for offset in self.domain.offsets if self.domain.together else [(0,) * len(index)]:
                moved = tuple([i + n for i, n in zip(index, offset, strict=True)])
                values.append((v, moved, self.value(v, moved)))
        reads = list(self.buffers)
        for v, index, value in values:
            self.store(v, index, value)
        return KernelStep(self.kernel, reads, list(outputs))

    def store(self, v: Var, index: Index, value: int) -> None:
        self.record.store(self._access(v, index), value)

    def _access(self, v: Var, index: Index) -> Access:
        number = self.buffers.get(v)
        if number is None:
            number = self.buffers[v] = len(self.kernel.buffers)
            self.kernel.buffers.append(v.aval.dtype)
        place = flat(index, v.aval.shape)
        return Access(number, Affine(place.constant, place.strides or (0,) * self.rank))

    def value(self, atom: Atom, index: Index) -> int:
        """The instruction for an element of a value."""
        if isinstance(atom, Literal):
            dtype = computed(atom.aval.dtype)
            number = np.asarray(atom.value)
            return self.record.constant(
                number.view(dtype) if number.dtype == KEY else number, dtype
            )
        key = (id(atom), padded(index, self.rank), self.condition)
        if key not in self.known:
            self.known[key] = self._make(atom, key[1])
        return self.known[key]

    def _make(self, v: Var, index: Index) -> int:
        eqn = self.values.maker.get(v)
        if eqn is None:
            return self._load(self._access(v, index))
        kind = self.values.kind(eqn)
        if kind not in UNMADE and id(eqn) not in self.members:
            return self._load(self._access(v, index))
        if isinstance(eqn.primitive, Iota):
            dtype, d = computed(v.aval.dtype), eqn.primitive.dimension
            if dtype.kind in "iu":
                return self.record.index(index[d], dtype)
            fits = v.aval.shape[d] <= 1 << 31
            return self.record.convert(self.record.index(index[d], INT32 if fits else INT64), dtype)
        if kind in ("view", "copy"):
            (operand,) = eqn.invars
            place = eqn.primitive.source_index(index, operand.aval)
            if place is not None:
                return self.value(operand, place)
            # The elements of what is reshaped lie in memory, in the same order.
            assert isinstance(operand, Var)
            return self._load_flat(operand, flat(index, v.aval.shape))
        if type(eqn.primitive).element_at is not Primitive.element_at:
            operands = [Operand(self, a) for a in eqn.invars]
            found: int = eqn.primitive.element_at(self.record, index, *operands)
            return found
        if kind == "reduce":
            return self._reduction(eqn)
        if kind == "scan":
            assert isinstance(eqn.primitive, Cumulative)
            return self.scan(eqn.primitive, self.value(eqn.invars[0], index))
        if kind in ("product", "convolution"):
            return self.record.product(computed(v.aval.dtype))
        shape = v.aval.shape
        args = [self.value(a, stretched(index, a.aval.shape, shape)) for a in eqn.invars]
        assert isinstance(eqn.primitive, PerElement)
        result = eqn.primitive.lower(self.record, *args)
        assert result is not NotImplemented
        lowered: int = result
        return lowered

    def in_memory(self, atom: Var, index: Index) -> Access:
        """Where an element of a value lies that was computed elsewhere."""
        v, place = self.values.in_memory(atom, index, self.rank)
        number = self._access(v, tuple([Affine(0)] * v.aval.ndim)).buffer
        return Access(number, place)

    def stride(self, atom: Var, axis: int) -> int:
        """How far apart neighbours along an axis of a value lie."""
        index = [Affine(0)] * atom.aval.ndim
        _, first = self.values.in_memory(atom, tuple(index), self.rank)
        index[axis] = Affine(1)
        return self.values.in_memory(atom, tuple(index), self.rank)[1].constant - first.constant

    def _load_flat(self, v: Var, place: Affine) -> int:
        number = self._access(v, tuple([Affine(0)] * v.aval.ndim)).buffer
        strides = place.strides or (0,) * self.rank
        return self._load(Access(number, Affine(place.constant, strides)))

    def _load(self, access: Access) -> int:
        if self.condition is None:
            return self.record.load(access)
        return self.record.load_if(self.condition, access)

    def value_if(self, condition: int, atom: Atom, index: Index) -> int:
        """As `value`, where what is read exists only where a condition holds."""
        outside, self.condition = self.condition, condition
        found = self.value(atom, index)
        self.condition = outside
        return found

    def _reduction(self, eqn: Eqn) -> int:
        (operand,) = eqn.invars
        index = self.domain.index_of(self.domain.shape)
        assert index is not None
        assert isinstance(eqn.primitive, Reduction)
        x = self.value(operand, index)
        if isinstance(eqn.primitive, ArgExtremum):
            return self._extremum(eqn.primitive, operand.aval.shape, x)
        op = eqn.primitive.combines_by
        if operand.aval.dtype == BOOL:
            op = {"add": "or", "mul": "and"}.get(op, op)
        return self.record.reduce(op, x)

    def scan(self, primitive: Cumulative, x: int) -> int:
        op = primitive.combines_by
        if self.record.dtype(x) == BOOL:
            op = {"max": "or", "min": "and"}[op]
        return self.record.scan(op, x)

    def _extremum(self, primitive: ArgExtremum, shape: Shape, x: int) -> int:
        """The least index of an element that is equal to the extremum, or that is NaN."""
        record = self.record
        if record.dtype(x) == BOOL:
            x = record.convert(x, INT32)
        best = record.reduce(primitive.seeks, x)
        wanted = record.eq(x, best)
        if record.dtype(x).kind == "f":
            wanted = record.or_(wanted, record.ne(x, x))
        (d,) = primitive.axes
        dtype = INT32 if shape[d] < 1 << 31 else INT64
        place = Affine.axis(self.rank - 1, self.rank)
        here = record.index(place, dtype)
        beyond = record.constant(shape[d], dtype)
        first = record.reduce("min", record.select(wanted, here, beyond))
        return record.convert(first, primitive.index_dtype)


@final
class Operand(Elements[int]):
    """An operand of an equation that finds its elements by their indices."""

    def __init__(self, lowering: Lowering, atom: Atom) -> None:
        self.aval = atom.aval
        self._lowering = lowering
        self._atom = atom

    def at(self, index: Index) -> int:
        return self._lowering.value(self._atom, index)

    def at_if(self, condition: int, index: Index) -> int:
        if not self._lowering.values.lies(self._atom):
            return self._lowering.value_if(condition, self._atom, index)
        assert isinstance(self._atom, Var)
        access = self._lowering.in_memory(self._atom, index)
        return self._lowering.record.load_if(condition, access)

    def take(self, index: Index, offsets: Sequence[int | None]) -> int:
        if isinstance(self._atom, Literal):
            return self._lowering.value(self._atom, ())
        if not self._lowering.values.lies(self._atom):
            return self._take_operands(index, offsets)
        access = self._lowering.in_memory(self._atom, index)
        record, total = self._lowering.record, None
        for d, i in enumerate(offsets):
            if i is not None:
                step = self._lowering.stride(self._atom, d)
                part = i if step == 1 else record.mul(i, record.constant(step, INT64))
                total = part if total is None else record.add(total, part)
        return record.load(access) if total is None else record.take(access, total)

    def _take_operands(self, index: Index, offsets: Sequence[int | None]) -> int:
        """Of what is computed here: the same of its operands; constants are so everywhere."""
        assert isinstance(self._atom, Var)
        eqn = self._lowering.values.maker[self._atom]
        if not isinstance(eqn.primitive, PerElement):
            return self._lowering.value(self._atom, index)  # a view of a constant
        args = [Operand(self._lowering, a).take(index, offsets) for a in eqn.invars]
        result: int = eqn.primitive.lower(self._lowering.record, *args)
        return result

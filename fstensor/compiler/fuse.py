"""From equations to kernels: which of them are computed together, in one pass over memory.

Elementwise operations and reductions join the kernel of an operand where they run over the same
elements. Rearrangements (transposes, broadcasts, slices) are no work at all: whoever reads such a
value reads its operand at another place. What has no form in the loop IR stays an equation, to be
run by its primitive's `impl`.

A kernel runs over a shape, and reduces some of its axes; a value in it has the whole shape, or that
of a row: the shape without the reduced axes, which may also stand in it with size 1. Within a
kernel a value is read only where it was computed, element by element.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

import numpy as np

from fstensor.compiler.convolution import ConvStep, convolution_step, is_convolution
from fstensor.compiler.elementary import EXPANSIONS
from fstensor.compiler.kernels import Access, Kernel, Recorder, can_merge, computed, grouped
from fstensor.compiler.llvm.gemm import MatrixProduct
from fstensor.compiler.recompute import recomputed
from fstensor.compiler.rewrite import without_splits
from fstensor.compiler.scatter import ScatterParts, ScatterStep, is_scatter, scatter_step
from fstensor.core.affine import Affine, Index, flat
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Literal, Var
from fstensor.core.primitive import Primitive
from fstensor.core.scalar import (
    BOOL,
    ELEMENTARY,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    KEY,
    STORED,
    Elements,
)
from fstensor.ops.arrange import Concatenate
from fstensor.ops.conv import ConvGeneralDilated
from fstensor.ops.cumulative import Cumulative
from fstensor.ops.barrier import OptimizationBarrier
from fstensor.ops.dot import DotGeneral, free_axes
from fstensor.ops.families import PerElement
from fstensor.ops.gather import Gather
from fstensor.ops.index import DynamicSlice, DynamicUpdateSlice, Pad
from fstensor.ops.reduce import ArgExtremum, Reduction
from fstensor.ops.scatter import Scattering
from fstensor.ops.shape import Iota

# Kinds of equations whose results are computed by whoever reads them; see `_kind`.
_UNMADE = ("view", "iota", "inline")

# A kernel with more equations than this would run out of registers.
_LARGEST = 120

# A concatenation of more parts than this is written part by part.
_MOST_PARTS = 4

Shape: TypeAlias = tuple[int, ...]


@final
@dataclass(frozen=True)
class Domain:
    """What a kernel runs over: a shape, and the axes that it reduces.

    together: the box of elements that are computed at once, where it is not a single one.
    """

    shape: Shape
    reduced: tuple[int, ...] = ()
    together: Shape | None = None

    @property
    def loops(self) -> Shape:
        """How often each axis is run through."""
        if self.together is None:
            return self.shape
        return tuple([n // m for n, m in zip(self.shape, self.together, strict=True)])

    @property
    def offsets(self) -> Iterator[Shape]:
        """The places of the elements that are computed together, from the first."""
        return itertools.product(*map(range, self.together or (1,) * len(self.shape)))

    @property
    def row(self) -> Shape:
        return tuple([n for d, n in enumerate(self.shape) if d not in self.reduced])

    @property
    def kept(self) -> Shape:
        """The shape of a row with the reduced axes in it, of size 1."""
        return tuple([1 if d in self.reduced else n for d, n in enumerate(self.shape)])

    def index_of(self, shape: Shape) -> Index | None:
        """Where a value of the kernel with this shape has its element; None if it fits nowhere.

        The loop axes are those of the rows, then the reduced ones.
        """
        rank = len(self.shape)
        rows = [d for d in range(rank) if d not in self.reduced]
        at = {d: k for k, d in enumerate([*rows, *self.reduced])}
        whole = [Affine.axis(at[d], rank) for d in range(rank)]
        if self.together is not None:
            whole = [i * n for i, n in zip(whole, self.together, strict=True)]
        if shape == self.shape:
            return tuple(whole)
        if self.reduced and shape == self.row:
            return tuple([whole[d] for d in rows])
        if self.reduced and shape == self.kept:
            return tuple([Affine(0) if d in self.reduced else whole[d] for d in range(rank)])
        return None

    def joined(self, other: Domain) -> Domain | None:
        """What both can run over; None when there is no such thing."""
        if self == other:
            return self
        if self.together or other.together:
            single = not ((self.together and other.together) or self.reduced or other.reduced)
            blocked = self if self.together else other
            return blocked if single and self.shape == other.shape else None
        if self.reduced and other.reduced:
            return None
        wide, narrow = (self, other) if self.reduced else (other, self)
        fits = wide.reduced and narrow.shape in (wide.shape, wide.row, wide.kept)
        return wide if fits else None


@final
@dataclass
class KernelStep:
    """A kernel and the values that are its buffers: those it reads, then those it makes.

    continues: whether it writes a part of what the step before has written other parts of.
    """

    kernel: Kernel
    reads: list[Var]
    writes: list[Var]
    continues: bool = False

    @property
    def flops(self) -> int:
        return self.kernel.flops

    def __str__(self) -> str:
        return str(self.kernel)


@final
@dataclass
class ProductStep:
    """A matrix product, and the map that its results go through on their way to memory.

    The kernel's last two axes are the rows and columns of the product, those before its batch.
    offsets: where the two operands begin in their buffers, which are the first ones read; the
    others are those of the kernel.
    """

    product: MatrixProduct
    offsets: tuple[int, int]
    kernel: Kernel
    reads: list[Var]
    writes: list[Var]

    @property
    def flops(self) -> int:
        p = self.product
        return 2 * math.prod(p.batch) * p.m * p.n * p.k + self.kernel.flops

    def __str__(self) -> str:
        p = self.product
        sizes = f"batch {p.batch} {p.m}x{p.k} by {p.k}x{p.n}"
        strides = f"a {p.a_batch} {p.a_row} {p.a_k}, b {p.b_batch} {p.b_k} {p.b_column}"
        return f"product {p.dtype} {sizes}, strides {strides}\n{self.kernel}"


@final
@dataclass
class HostStep:
    """An equation that is run by its primitive's `impl`."""

    eqn: Eqn

    @property
    def reads(self) -> list[Var]:
        return [a for a in self.eqn.invars if isinstance(a, Var)]

    @property
    def writes(self) -> list[Var]:
        return self.eqn.outvars

    def __str__(self) -> str:
        return f"host {self.eqn.primitive.name}"


NativeStep: TypeAlias = KernelStep | ProductStep | ConvStep | ScatterStep
Step: TypeAlias = NativeStep | HostStep


def fuse(closed: ClosedJaxpr) -> list[Step]:
    """The steps of a simplified program, in an order in which they can run.

    A step's buffers lie in memory in row-major order, each as large as its value.
    """
    return _Fusion(closed).steps()


@final
@dataclass(eq=False)
class _Unit:
    """Equations that become one step. `before`: a bit for each unit that must run earlier."""

    number: int
    eqns: list[Eqn]
    domain: Domain | None  # None: on the host
    before: int = 0
    product: Eqn | None = None
    edges: list[_Edge] = field(default_factory=list)


@final
@dataclass(frozen=True)
class _Edge:
    """The use of a value that a step makes: `views` lie between it and the operand of `user`."""

    value: Var
    views: tuple[Eqn, ...]  # from the value on
    user: Eqn


@final
class _Fusion:
    def __init__(self, closed: ClosedJaxpr) -> None:
        self.closed = closed
        self.jaxpr = without_splits(closed.jaxpr)
        self.maker = {v: e for e in self.jaxpr.eqns for v in e.outvars}
        self.kinds = {id(e): _kind(e) for e in self.jaxpr.eqns}
        self._make_real()
        self._settle_products()
        for n in recomputed(self.jaxpr, self.kinds):
            self.kinds[n] = "inline"
        self.units: dict[int, _Unit] = {}
        self.unit_of: dict[int, _Unit] = {}  # by the identity of an equation
        for eqn in self.jaxpr.eqns:
            if self._kind(eqn) not in _UNMADE:
                self._place(eqn)

    def _kind(self, eqn: Eqn) -> str:
        return self.kinds[id(eqn)]

    def _make_real(self) -> None:
        """Rearrangements that must be made after all: results, and what is then reshaped."""
        needed = [a for a in self.jaxpr.outvars if isinstance(a, Var)]
        for eqn in self.jaxpr.eqns:
            if isinstance(eqn.primitive, OptimizationBarrier):
                needed += [a for a in eqn.invars if isinstance(a, Var)]
            if self._kind(eqn) == "view" and _source(eqn) is None:
                needed += [a for a in eqn.invars if isinstance(a, Var)]
            in_memory: Sequence[Atom] = ()
            if self._kind(eqn) in ("product", "convolution"):
                in_memory = eqn.invars
            elif isinstance(eqn.primitive, (Gather, DynamicSlice)):
                in_memory = eqn.invars[:1]
            elif self._kind(eqn) == "indexed" and not isinstance(eqn.primitive, (Pad, Concatenate)):
                in_memory = eqn.invars
            needed += [a for a in in_memory if isinstance(a, Var) and not self.lies(a)]
        for v in needed:
            made_by = self.maker.get(v)
            if made_by is not None and self._kind(made_by) in ("view", "iota"):
                self.kinds[id(made_by)] = "copy"

    def _settle_products(self) -> None:
        """Leave to the host the contractions whose sums run over no regular part of memory."""
        for eqn in self.jaxpr.eqns:
            if self._kind(eqn) != "product" or self._sums_are_regular(eqn):
                continue
            for atom in eqn.invars:
                made_by = self.maker.get(atom) if isinstance(atom, Var) else None
                if made_by is not None and self._kind(made_by) == "view":
                    self.kinds[id(made_by)] = "copy"
            if not self._sums_are_regular(eqn):
                self.kinds[id(eqn)] = "host"

    def _sums_are_regular(self, eqn: Eqn) -> bool:
        """Whether the contracted axes can be run through as one."""
        pairs = self._contracted(eqn)
        sizes = [eqn.invars[0].aval.shape[d] for d, _ in pairs]
        for side in (0, 1):
            place = self._along(eqn, [pair[side] for pair in pairs], side)
            for k in range(len(pairs) - 1):
                if place.strides[k] != place.strides[k + 1] * sizes[k + 1]:
                    return False
        return True

    def _contracted(self, eqn: Eqn) -> list[tuple[int, int]]:
        """The pairs of contracted axes, the slowest in memory first, but for those of size 1."""
        primitive = eqn.primitive
        assert isinstance(primitive, DotGeneral)
        (first, second), _ = primitive.dimension_numbers
        shape = eqn.invars[0].aval.shape
        pairs = [p for p in zip(first, second, strict=True) if shape[p[0]] != 1]
        place = self._along(eqn, [d for d, _ in pairs], 0)
        order = sorted(range(len(pairs)), key=lambda k: -abs(place.strides[k]))
        return [pairs[k] for k in order]

    def _along(self, eqn: Eqn, axes: Sequence[int], side: int) -> Affine:
        """Where the elements of an operand lie along some axes, for index 0 of the others."""
        operand = eqn.invars[side]
        index = [Affine(0)] * operand.aval.ndim
        for k, d in enumerate(axes):
            index[d] = Affine.axis(k, len(axes))
        return self.in_memory(operand, tuple(index), len(axes))[1]

    def lies(self, atom: Atom) -> bool:
        """Whether a value is in memory, but for rearrangements."""
        while isinstance(atom, Var) and atom in self.maker:
            made_by = self.maker[atom]
            if self._kind(made_by) != "view":
                return self._kind(made_by) not in _UNMADE
            atom = made_by.invars[0]
        return isinstance(atom, Var)

    def _edges(self, eqn: Eqn) -> Iterator[_Edge]:
        """The values in memory, or of kernels, that an equation reads."""
        for atom in eqn.invars:
            yield from self._edges_of(atom, eqn)

    def _edges_of(self, atom: Atom, user: Eqn) -> Iterator[_Edge]:
        views: list[Eqn] = []
        while isinstance(atom, Var) and atom in self.maker:
            made_by = self.maker[atom]
            kind = self._kind(made_by)
            if kind == "inline":
                for a in made_by.invars:
                    yield from self._edges_of(a, user)
                break
            if kind == "iota":
                break
            if kind != "view":
                yield _Edge(atom, tuple(reversed(views)), user)
                break
            views.append(made_by)
            atom = made_by.invars[0]

    # Which equations stand together

    def _place(self, eqn: Eqn) -> None:
        """Give an equation a unit, together with those of its operands that it can join."""
        domain = None
        kind = self._kind(eqn)
        if kind in ("point", "copy", "product", "convolution", "indexed", "parts", "scatter"):
            domain = _domain(eqn)
        elif kind == "scan":
            primitive = eqn.primitive
            assert isinstance(primitive, Cumulative)
            domain = Domain(eqn.outvars[0].aval.shape, (primitive.axis,))
        elif kind == "reduce":
            primitive = eqn.primitive
            assert isinstance(primitive, Reduction)
            domain = Domain(eqn.invars[0].aval.shape, tuple(sorted(primitive.axes)))
        unit = _Unit(len(self.unit_of), [eqn], domain)
        unit.edges = list(self._edges(eqn))
        unit.product = eqn if kind in ("product", "convolution") else None
        self.unit_of[id(eqn)] = self.units[unit.number] = unit
        makers = {self._unit_of(e.value).number for e in unit.edges}
        for n in makers:
            unit.before |= 1 << n | self.units[n].before
        for n in sorted(makers, reverse=True):
            other = self.units[n]
            if self._can_join(other, unit):
                unit = self._join(other, unit)

    def _unit_of(self, v: Var) -> _Unit:
        return self.unit_of[id(self.maker[v])]

    def _can_join(self, first: _Unit, second: _Unit) -> bool:
        if first.domain is None or second.domain is None:
            return False
        if self._stands_alone(first.eqns[0]) or self._stands_alone(second.eqns[0]):
            return False
        if len(first.eqns) + len(second.eqns) > _LARGEST:
            return False
        domain = first.domain.joined(second.domain)
        if domain is None:
            return False
        if (first.product and second.product) or (
            (domain.reduced or domain.together) and (first.product or second.product)
        ):
            return False
        if domain.together:
            number = (len(first.eqns) + len(second.eqns)) * math.prod(domain.together)
            edges = [e for e in second.edges if self._unit_of(e.value) is first]
            if number > _LARGEST or any(e.views for e in edges):
                return False
        between = second.before & ~(1 << first.number)
        if any(self.units[n].before >> first.number & 1 for n in _bits(between)):
            return False  # something else needs the first, and the second needs it
        return all(
            self._is_read_in_place(e, domain)
            for e in second.edges
            if self._unit_of(e.value) is first
        )

    def _stands_alone(self, eqn: Eqn) -> bool:
        """Whether nothing is computed together with an equation.

        A scan along the last axis runs through single elements: what else there is goes faster
        without it.
        """
        if self._kind(eqn) == "scan":
            primitive = eqn.primitive
            assert isinstance(primitive, Cumulative)
            behind = eqn.outvars[0].aval.shape[primitive.axis + 1 :]
            return primitive.reverse or math.prod(behind) == 1
        return self._kind(eqn) in ("parts", "scatter")

    def _is_read_in_place(self, edge: _Edge, domain: Domain) -> bool:
        """Whether a value is read where it is computed, in a kernel of both."""
        if self._kind(edge.user) in ("product", "convolution", "indexed"):
            return False
        shape = edge.user.outvars[0].aval.shape
        if self._kind(edge.user) == "reduce":
            shape = domain.shape
        index = domain.index_of(shape)
        own = domain.index_of(edge.value.aval.shape)
        if index is None or own is None:
            return False
        last = edge.views[-1].outvars[0] if edge.views else edge.value
        if self._kind(edge.user) == "copy":
            found = edge.user.primitive.source_index(index, last.aval)
            if found is None:
                return False
            index = found
        elif self._kind(edge.user) != "reduce":
            index = _stretched(index, last.aval.shape, shape)
        for view in reversed(edge.views):
            found = view.primitive.source_index(index, view.invars[0].aval)
            if found is None:
                return False
            index = found
        return _padded(index, len(domain.shape)) == _padded(own, len(domain.shape))

    def _join(self, first: _Unit, second: _Unit) -> _Unit:
        assert first.domain is not None
        assert second.domain is not None
        second.domain = first.domain.joined(second.domain)
        second.product = first.product or second.product
        second.eqns = first.eqns + second.eqns
        second.edges = first.edges + second.edges
        gone, stays = 1 << first.number, 1 << second.number
        second.before = (second.before | first.before) & ~(gone | stays)
        del self.units[first.number]
        for e in first.eqns:
            self.unit_of[id(e)] = second
        for u in self.units.values():
            if u is not second and u.before & (gone | stays):
                u.before = (u.before & ~gone) | stays | second.before
        return second

    # Steps

    def steps(self) -> list[Step]:
        order = self._ordered()
        wanted = {a for a in self.jaxpr.outvars if isinstance(a, Var)}
        views: dict[int, Eqn] = {}
        for unit in self.units.values():
            for e in unit.edges:
                own = self._unit_of(e.value) is unit
                if not own or not unit.domain:
                    wanted.add(e.value)
        made: list[Step] = []
        for unit in order:
            if unit.domain is None:
                for eqn in self._views_of(unit.eqns[0], views):
                    made.append(HostStep(eqn))
                made.append(HostStep(unit.eqns[0]))
            else:
                made += self._native(unit, wanted)
        return made

    def _native(self, unit: _Unit, wanted: set[Var]) -> Sequence[Step]:
        kind = self._kind(unit.eqns[0])
        if kind == "parts":
            return self._parts(unit.eqns[0])
        if kind == "scatter":
            return self._scatter(unit.eqns[0])
        if kind == "scan" and self._stands_alone(unit.eqns[0]):
            return [self._scan(unit.eqns[0])]
        return [self._kernel(unit, wanted)]

    def _parts(self, eqn: Eqn) -> list[KernelStep]:
        """A result that is written part by part: a concatenation, or a pad between elements."""
        (out,) = eqn.outvars
        if isinstance(eqn.primitive, Pad):
            x, value = eqn.invars
            steps = [self._copy(value, out, _everywhere(out.aval.shape))]
            box = _padded_box(eqn.primitive, x.aval.shape, out.aval.shape)
            return steps if box is None else [*steps, self._copy(x, out, box)]
        assert isinstance(eqn.primitive, Concatenate)
        if _is_interleaved(eqn):
            return [self._interleaved(eqn)]
        d, start, steps = eqn.primitive.dimension, 0, []
        for x in eqn.invars:
            index = _axes(x.aval.ndim)
            place = (*index[:d], index[d] + start, *index[d + 1 :])
            part = self._copy(x, out, _Box(x.aval.shape, index, place))
            part.continues = bool(steps)
            steps.append(part)
            start += x.aval.shape[d]
        return steps

    def _interleaved(self, eqn: Eqn) -> KernelStep:
        """Neighbours in the result come from one operand each, in turn."""
        (out,), shape = eqn.outvars, eqn.invars[0].aval.shape
        lowering = _Lowering(self, _Unit(0, [], Domain(shape)))
        index = _axes(len(shape))
        values = [lowering.value(x, index) for x in eqn.invars]
        reads = list(lowering.buffers)
        d = eqn.primitive.params["dimension"]
        for k, value in enumerate(values):
            lowering.store(out, (*index[:d], index[d] + k, *index[d + 1 :]), value)
        return KernelStep(lowering.kernel, reads, [out])

    def _copy(self, source: Atom, out: Var, box: _Box) -> KernelStep:
        """The kernel that puts a box of one value into another."""
        lowering = _Lowering(self, _Unit(0, [], Domain(box.shape)))
        value = lowering.value(source, box.source if source.aval.shape else ())
        reads = list(lowering.buffers)
        lowering.store(out, box.target, value)
        return KernelStep(lowering.kernel, reads, [out])

    def _scan(self, eqn: Eqn) -> KernelStep:
        (x,), (out,), primitive = eqn.invars, eqn.outvars, eqn.primitive
        assert isinstance(primitive, Cumulative)
        domain = Domain(out.aval.shape, (primitive.axis,))
        lowering = _Lowering(self, _Unit(0, [], domain))
        index = domain.index_of(domain.shape)
        assert index is not None
        if primitive.reverse:
            d = primitive.axis
            last = domain.shape[d] - 1
            index = (*index[:d], index[d] * -1 + last, *index[d + 1 :])
        value = lowering.scan(primitive, lowering.value(x, index))
        reads = list(lowering.buffers)
        lowering.store(out, index, value)
        return KernelStep(lowering.kernel, reads, [out])

    def _scatter(self, eqn: Eqn) -> list[Step]:
        """The operand is copied to the result, unless the plan gives both the same place."""
        (out,) = eqn.outvars
        updates = eqn.invars[1 if isinstance(eqn.primitive, DynamicUpdateSlice) else 2]
        lowering = _Lowering(self, _Unit(0, [], Domain(updates.aval.shape)))
        parts = ScatterParts(
            lowering.kernel,
            lowering.record,
            lowering.value,
            lambda atom: _Operand(lowering, atom),
            lambda index, value: lowering.store(out, index, value),
            lambda: list(lowering.buffers),
        )
        begin = self._copy(eqn.invars[0], out, _everywhere(out.aval.shape))
        return [begin, scatter_step(eqn, parts)]

    def _views_of(self, eqn: Eqn, known: dict[int, Eqn]) -> list[Eqn]:
        """The rearrangements that the host has to make before an equation, each once."""
        found: list[Eqn] = []
        for atom in eqn.invars:
            chain: list[Eqn] = []
            while isinstance(atom, Var) and atom in self.maker:
                made_by = self.maker[atom]
                if self._kind(made_by) not in ("view", "iota") or id(made_by) in known:
                    break
                known[id(made_by)] = made_by
                chain.append(made_by)
                if not made_by.invars:
                    break
                atom = made_by.invars[0]
            found += reversed(chain)
        return found

    def _ordered(self) -> list[_Unit]:
        """The units, each after those it needs, with as few changes to the host as possible."""
        missing = {u.number: u.before.bit_count() for u in self.units.values()}
        users: dict[int, list[_Unit]] = {}
        for u in self.units.values():
            for n in _bits(u.before):
                users.setdefault(n, []).append(u)
        ready: tuple[list[int], list[int]] = ([], [])  # in native code, on the host
        order: list[_Unit] = []
        on_host = False

        def add(u: _Unit) -> None:
            heapq.heappush(ready[self._is_on_host(u)], u.number)

        for u in self.units.values():
            if not missing[u.number]:
                add(u)
        while len(order) < len(self.units):
            if not ready[on_host]:
                on_host = not on_host
            unit = self.units[heapq.heappop(ready[on_host])]
            order.append(unit)
            for user in users.get(unit.number, ()):
                missing[user.number] -= 1
                if not missing[user.number]:
                    add(user)
        return order

    def _is_on_host(self, unit: _Unit) -> bool:
        # Barriers are no work for anybody.
        return unit.domain is None and not isinstance(unit.eqns[0].primitive, OptimizationBarrier)

    def _kernel(self, unit: _Unit, wanted: set[Var]) -> KernelStep | ProductStep | ConvStep:
        lowering = _Lowering(self, unit)
        outputs = [v for e in unit.eqns for v in e.outvars if v in wanted]
        step = lowering.step(outputs)
        if unit.product is None:
            return step
        if self._kind(unit.product) == "convolution":
            return self._convolution(unit.product, step)
        return self._product(unit.product, step)

    def _convolution(self, eqn: Eqn, epilogue: KernelStep) -> ConvStep:
        operands, places = [], []
        for atom in eqn.invars:
            rank = atom.aval.ndim
            index = tuple([Affine.axis(a, rank) for a in range(rank)])
            v, place = self.in_memory(atom, index, rank)
            operands.append(v)
            places.append(place)
        reads = [*operands, *epilogue.reads]
        return convolution_step(eqn, places, epilogue.kernel, reads, epilogue.writes)

    def _product(self, eqn: Eqn, epilogue: KernelStep) -> ProductStep:
        """The step of a contraction: its axes sorted into batch, rows, columns and sums."""
        primitive = eqn.primitive
        assert isinstance(primitive, DotGeneral)
        _, batch = primitive.dimension_numbers
        contract = list(zip(*self._contracted(eqn), strict=True)) or [(), ()]
        shapes = [a.aval.shape for a in eqn.invars]
        n_batch, n_out = len(batch[0]), eqn.outvars[0].aval.ndim
        rank = n_out + len(contract[0])
        axis = [Affine.axis(a, rank) for a in range(rank)]
        places: list[Affine] = []
        operands: list[Var] = []
        free_from = n_batch
        for side, shape in enumerate(shapes):
            index = [Affine(0)] * len(shape)
            for k, d in enumerate(batch[side]):
                index[d] = axis[k]
            for k, d in enumerate(contract[side]):
                index[d] = axis[n_out + k]
            for d in free_axes(len(shape), primitive.dimension_numbers[0][side], batch[side]):
                index[d] = axis[free_from]
                free_from += 1
            v, place = self.in_memory(eqn.invars[side], tuple(index), rank)
            operands.append(v)
            places.append(place)
            if side == 0:
                n_rows = free_from - n_batch
        a, b = places
        sizes = [*eqn.outvars[0].aval.shape, *(shapes[0][d] for d in contract[0])]

        def together(first: int, second: int, operand: Affine) -> bool:
            fits = operand.strides[first] == operand.strides[second] * sizes[second]
            return fits and (second >= n_out or can_merge(epilogue.kernel, first, second))

        def groups(axes: Sequence[int], *of: Affine) -> list[list[int]]:
            found: list[list[int]] = []
            for x in [x for x in axes if sizes[x] != 1]:
                if found and all(together(found[-1][-1], x, p) for p in of):
                    found[-1].append(x)
                else:
                    found.append([x])
            return found or [[]]

        *more, rows = groups(range(n_batch, n_batch + n_rows), a)
        *still_more, columns = groups(range(n_batch + n_rows, n_out), b)
        sums = groups(range(n_out, rank), a, b)
        batches = [[x] for x in range(n_batch) if sizes[x] != 1] + more + still_more
        assert len(sums) == 1, "see _settle_products"

        def size(group: list[int]) -> int:
            return math.prod([sizes[x] for x in group])

        def stride(place: Affine, group: list[int]) -> int:
            return place.strides[group[-1]] if group else 0

        product = MatrixProduct(
            eqn.outvars[0].aval.dtype,
            tuple(map(size, batches)),
            size(rows),
            size(columns),
            size(sums[0]),
            tuple([stride(a, g) for g in batches]),
            stride(a, rows),
            stride(a, sums[0]),
            tuple([stride(b, g) for g in batches]),
            stride(b, sums[0]),
            stride(b, columns),
        )
        all_groups = [*batches, rows, columns]
        kernel = grouped(epilogue.kernel, all_groups, len(all_groups))
        offsets = (a.constant, b.constant)
        return ProductStep(product, offsets, kernel, [*operands, *epilogue.reads], epilogue.writes)

    def in_memory(self, atom: Atom, index: Index, rank: int) -> tuple[Var, Affine]:
        """Where an element lies: the value whose memory it is, and the place."""
        while (
            isinstance(atom, Var) and atom in self.maker and self._kind(self.maker[atom]) == "view"
        ):
            view = self.maker[atom]
            found = view.primitive.source_index(index, view.invars[0].aval)
            if found is None:
                atom, place = view.invars[0], flat(index, atom.aval.shape)
                break
            atom, index = view.invars[0], found
        else:
            place = flat(index, atom.aval.shape)
        assert isinstance(atom, Var), "see _make_real"
        return atom, Affine(place.constant, place.strides or (0,) * rank)


@final
class _Lowering:
    """The kernel of one unit."""

    def __init__(self, fusion: _Fusion, unit: _Unit) -> None:
        assert unit.domain is not None
        self.fusion = fusion
        self.unit = unit
        self.domain = unit.domain
        sizes = self.domain.loops
        rows = [n for d, n in enumerate(sizes) if d not in self.domain.reduced]
        inner = [sizes[d] for d in self.domain.reduced]
        self.rank = len(self.domain.shape)
        self.kernel = Kernel(tuple(rows), tuple(inner))
        self.record = Recorder(self.kernel)
        self.buffers: dict[Var, int] = {}
        self.known: dict[tuple[int, Index, int | None], int] = {}
        self.condition: int | None = None  # where it holds there is something to read
        self.members = {id(e) for e in unit.eqns}

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
        key = (id(atom), _padded(index, self.rank), self.condition)
        if key not in self.known:
            self.known[key] = self._make(atom, key[1])
        return self.known[key]

    def _make(self, v: Var, index: Index) -> int:
        eqn = self.fusion.maker.get(v)
        if eqn is None:
            return self._load(self._access(v, index))
        kind = self.fusion._kind(eqn)
        if kind not in _UNMADE and id(eqn) not in self.members:
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
            operands = [_Operand(self, a) for a in eqn.invars]
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
        args = [self.value(a, _stretched(index, a.aval.shape, shape)) for a in eqn.invars]
        assert isinstance(eqn.primitive, PerElement)
        result = eqn.primitive.lower(self.record, *args)
        assert result is not NotImplemented
        lowered: int = result
        return lowered

    def in_memory(self, atom: Var, index: Index) -> Access:
        """Where an element of a value lies that was computed elsewhere."""
        v, place = self.fusion.in_memory(atom, index, self.rank)
        number = self._access(v, tuple([Affine(0)] * v.aval.ndim)).buffer
        return Access(number, place)

    def stride(self, atom: Var, axis: int) -> int:
        """How far apart neighbours along an axis of a value lie."""
        index = [Affine(0)] * atom.aval.ndim
        _, first = self.fusion.in_memory(atom, tuple(index), self.rank)
        index[axis] = Affine(1)
        return self.fusion.in_memory(atom, tuple(index), self.rank)[1].constant - first.constant

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
class _Operand(Elements[int]):
    """An operand of an equation that finds its elements by their indices."""

    def __init__(self, lowering: _Lowering, atom: Atom) -> None:
        self.aval = atom.aval
        self._lowering = lowering
        self._atom = atom

    def at(self, index: Index) -> int:
        return self._lowering.value(self._atom, index)

    def at_if(self, condition: int, index: Index) -> int:
        if not self._lowering.fusion.lies(self._atom):
            return self._lowering.value_if(condition, self._atom, index)
        assert isinstance(self._atom, Var)
        access = self._lowering.in_memory(self._atom, index)
        return self._lowering.record.load_if(condition, access)

    def take(self, index: Index, offsets: Sequence[int | None]) -> int:
        if isinstance(self._atom, Literal):
            return self._lowering.value(self._atom, ())
        access = self._lowering.in_memory(self._atom, index)
        record, total = self._lowering.record, None
        for d, i in enumerate(offsets):
            if i is not None:
                step = self._lowering.stride(self._atom, d)
                part = i if step == 1 else record.mul(i, record.constant(step, INT64))
                total = part if total is None else record.add(total, part)
        return record.load(access) if total is None else record.take(access, total)


@final
@dataclass(frozen=True)
class _Box:
    """A part of two values: the indices of its element at each index of `shape`."""

    shape: Shape
    source: Index
    target: Index


def _axes(rank: int) -> Index:
    return tuple([Affine.axis(d, rank) for d in range(rank)])


def _everywhere(shape: Shape) -> _Box:
    return _Box(shape, _axes(len(shape)), _axes(len(shape)))


def _padded_box(pad: Pad, shape: Shape, result: Shape) -> _Box | None:
    """Where the elements of a padded operand go, without those that are cut away."""
    sizes, firsts = [], []
    for n, m, (low, _, interior) in zip(shape, result, pad.padding_config, strict=True):
        step = interior + 1
        first = max(0, -(low // step))
        behind = min(n, (m - 1 - low) // step + 1)
        if behind <= first:
            return None
        sizes.append(behind - first)
        firsts.append(first)
    source = [i + k for i, k in zip(_axes(len(shape)), firsts, strict=True)]
    target = [
        i * (interior + 1) + low
        for i, (low, _, interior) in zip(source, pad.padding_config, strict=True)
    ]
    return _Box(tuple(sizes), tuple(source), tuple(target))


def _bits(x: int) -> Iterator[int]:
    while x:
        low = x & -x
        yield low.bit_length() - 1
        x ^= low


def _padded(index: Index, rank: int) -> Index:
    """The index with constants written out over all axes, so that equal ones are equal."""
    return tuple([i if i.strides else Affine(i.constant, (0,) * rank) for i in index])


def _stretched(index: Index, operand: Shape, result: Shape) -> Index:
    """Where an elementwise operand has the element for `index` of the result."""
    if operand == result:
        return index
    if not operand:
        return ()
    pairs = zip(index, operand, result, strict=True)
    return tuple([i if n == m else Affine(0) for i, n, m in pairs])


def _source(eqn: Eqn) -> Index | None:
    """Whether the operand of a rearrangement is read in place: its index for one of the result."""
    shape = eqn.outvars[0].aval.shape
    index = tuple([Affine.axis(d, len(shape)) for d in range(len(shape))])
    return eqn.primitive.source_index(index, eqn.invars[0].aval)


def _kind(eqn: Eqn) -> str:
    """What an equation becomes.

    "point": something for each element. "reduce", "scan": a combination along axes. "view":
    nothing, a rearrangement that others read in place. "iota": a function of the index. "indexed":
    elements found by their index. "product": of matrices. "convolution". "parts": a result written
    part by part. "scatter": an array changed in places. "host": a call of `impl`. Later some become "copy": a
    rearrangement that is made after all; and "inline": see `recomputed`.
    """
    avals = [a.aval for a in (*eqn.invars, *eqn.outvars)]
    if isinstance(eqn.primitive, (Gather, Scattering)) and avals[1].shape[-1] == 0:
        del avals[1]  # all boxes begin at 0, as no index has to tell
    if any(a.size == 0 or (a.dtype not in STORED and a.dtype != KEY) for a in avals):
        return "host"
    primitive = eqn.primitive
    if primitive.effectful or primitive.stays_apart or primitive.multiple_results:
        return "host"
    if isinstance(primitive, Iota):
        return "iota"
    if isinstance(primitive, DotGeneral):
        return "product" if _is_product(eqn) else "host"
    if isinstance(primitive, ConvGeneralDilated):
        return "convolution" if is_convolution(eqn) else "host"
    if isinstance(primitive, ArgExtremum):
        return "reduce"
    if isinstance(primitive, Cumulative):
        return "scan"
    if isinstance(primitive, Reduction):
        if not primitive.combines_by:
            return "host"
        return "view" if _source(eqn) is not None else "reduce"
    if isinstance(primitive, PerElement):
        return (
            "point" if _has_form(primitive, tuple([a.aval.dtype for a in eqn.invars])) else "host"
        )
    if is_scatter(eqn):
        return "scatter"
    if _is_in_parts(eqn):
        return "parts"
    if type(primitive).element_at is not Primitive.element_at:
        return "indexed" if _is_indexed(eqn) else "host"
    if type(primitive).source_index is not Primitive.source_index:
        return "view"
    return "host"


def why_host(eqn: Eqn) -> str:
    """Why an equation is left to its `impl`."""
    avals = [a.aval for a in (*eqn.invars, *eqn.outvars)]
    strange = [str(a) for a in avals if a.dtype not in STORED]
    if strange:
        return f"no native arithmetic on {strange[0]}"
    if any(a.size == 0 for a in avals):
        return "an array is empty"
    if type(eqn.primitive).source_index is not Primitive.source_index:
        return "a rearrangement that another host call reads"
    return "no native form"


def _domain(eqn: Eqn) -> Domain:
    """What a kernel runs over that makes the result of an equation, and reduces nothing."""
    shape = eqn.outvars[0].aval.shape
    if type(eqn.primitive).element_at is Primitive.element_at:
        return Domain(shape)
    return Domain(shape, (), eqn.primitive.elements_together(shape))


def _is_product(eqn: Eqn) -> bool:
    """Whether a contraction is a product of matrices, of floats, for each index of a batch."""
    primitive = eqn.primitive
    assert isinstance(primitive, DotGeneral)
    kinds = {a.aval.dtype for a in (*eqn.invars, *eqn.outvars)}
    return len(kinds) == 1 and kinds <= {FLOAT32, FLOAT64}


def _is_in_parts(eqn: Eqn) -> bool:
    """Whether a result is written part by part, since each element would ask for too many."""
    primitive = eqn.primitive
    if isinstance(primitive, Concatenate):
        return len(eqn.invars) > _MOST_PARTS or _is_interleaved(eqn)
    return isinstance(primitive, Pad) and any(c[2] for c in primitive.padding_config)


def _is_interleaved(eqn: Eqn) -> bool:
    """Whether a concatenation takes single elements from some operands in turn."""
    primitive = eqn.primitive
    shapes = {a.aval.shape for a in eqn.invars}
    if (
        not isinstance(primitive, Concatenate)
        or len(shapes) != 1
        or len(eqn.invars) > 2 * _MOST_PARTS
    ):
        return False
    return math.prod(shapes.pop()[primitive.dimension :]) == 1


def _is_indexed(eqn: Eqn) -> bool:
    """Whether a primitive's `element_at` speaks of operands of these types."""
    (out,) = eqn.outvars
    jaxpr = Jaxpr([], [a for a in eqn.invars if isinstance(a, Var)], [out], [])
    domain = _domain(eqn)
    lowering = _Lowering(_Fusion(ClosedJaxpr(jaxpr, [])), _Unit(0, [], domain))
    index = domain.index_of(out.aval.shape)
    assert index is not None
    operands = [_Operand(lowering, a) for a in eqn.invars]
    found = eqn.primitive.element_at(lowering.record, index, *operands)
    return found is not NotImplemented


@functools.lru_cache(maxsize=4096)
def _has_form(primitive: PerElement, kinds: tuple[Any, ...]) -> bool:
    """Whether a primitive's `lower` speaks of operands with these dtypes."""
    if primitive.reads_bits and any(computed(d) != d for d in kinds):
        return False
    record = Recorder(Kernel((), ()))
    args = []
    for n, dtype in enumerate(kinds):
        record.kernel.buffers.append(dtype)
        args.append(record.load(Access(n, Affine(0))))
    try:
        result = primitive.lower(record, *args)
    except NotImplementedError:
        return False
    if result is NotImplemented:
        return False
    used = record.kernel.instructions
    return all(i.op not in ELEMENTARY or (i.op, i.dtype) in EXPANSIONS for i in used)

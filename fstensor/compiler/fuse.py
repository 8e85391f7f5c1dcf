"""From equations to kernels: which of them are computed together, in one pass over memory.

Elementwise operations and reductions join the kernel of an operand where they run over the same
elements. Rearrangements (transposes, broadcasts, slices) are no work at all: whoever reads such a
value reads its operand at another place. What has no form in the loop IR stays an equation, to be
run by its primitive's `impl`.

A kernel runs over a domain; see `domain`. Within a kernel a value is read only where it was
computed, element by element.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, final

from fstensor.compiler.attention import attend
from fstensor.compiler.attention_step import attention_step
from fstensor.compiler.column_sums import join_column_sums
from fstensor.compiler.contraction import product_step
from fstensor.compiler.convolution import ConvStep, convolution_step
from fstensor.compiler.domain import Domain, padded, stretched
from fstensor.compiler.kinds import domain_of
from fstensor.compiler.lowering import UNMADE, Lowering
from fstensor.compiler.partial import in_parts
from fstensor.compiler.parts import control_step, parts_steps, scan_step, scatter_steps
from fstensor.compiler.picks import pick_elements
from fstensor.compiler.rewrite import without_splits
from fstensor.compiler.steps import HostStep, KernelStep, ProductStep, Step
from fstensor.compiler.values import Values
from fstensor.core.affine import Affine
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Var
from fstensor.ops.barrier import OptimizationBarrier
from fstensor.ops.cumulative import Cumulative
from fstensor.ops.families import PerElement
from fstensor.ops.reduce import Reduction

# A kernel with more equations than this would run out of registers.
_LARGEST = 120


def fuse(closed: ClosedJaxpr) -> list[Step]:
    """The steps of a simplified program, in an order in which they can run.

    A step's buffers lie in memory in row-major order, each as large as its value.
    """
    return _Fusion(attend(pick_elements(without_splits(closed.jaxpr)))).steps()


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
class _Edge(NamedTuple):
    """The use of a value that a step makes: `views` lie between it and the operand of `user`."""

    value: Var
    views: tuple[Eqn, ...]  # from the value on
    user: Eqn


@final
class _Fusion:
    """The units of a program, while they grow."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.values = Values(jaxpr)
        self.units: dict[int, _Unit] = {}
        self.unit_of: dict[int, _Unit] = {}  # by the identity of an equation
        for eqn in jaxpr.eqns:
            if self.values.kind(eqn) not in UNMADE:
                self._place(eqn)
        self._join_neighbors()

    def _edges(self, eqn: Eqn) -> Iterator[_Edge]:
        """The values in memory, or of kernels, that an equation reads."""
        for atom in eqn.invars:
            yield from self._edges_of(atom, eqn)

    def _edges_of(self, atom: Atom, user: Eqn, through: Sequence[Eqn] = ()) -> Iterator[_Edge]:
        views = list(through)
        while isinstance(atom, Var) and atom in self.values.maker:
            made_by = self.values.maker[atom]
            kind = self.values.kind(made_by)
            if kind == "inline":
                is_map = isinstance(made_by.primitive, PerElement)
                for a in made_by.invars:
                    yield from self._edges_of(a, user, views if is_map else ())
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
        kind = self.values.kind(eqn)
        if kind in ("point", "copy", "product", "convolution", "indexed", "parts", "scatter"):
            domain = domain_of(eqn)
        elif kind in ("control", "attention"):
            domain = Domain(())
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

    def _join_neighbors(self) -> None:
        """Join kernels that run over the same elements and read the same; and those of scalars."""
        readers: dict[Var | None, list[_Unit]] = {}
        for unit in list(self.units.values()):
            if unit.domain is None or unit.product or self._stands_alone(unit.eqns[0]):
                continue
            read = [e.value for e in unit.edges if self._unit_of(e.value) is not unit]
            read += self._arguments(unit)
            size = math.prod(unit.domain.shape)
            keys = [v for v in read if math.prod(v.aval.shape) == size]
            for key in dict.fromkeys(keys) if unit.domain.shape else [None]:
                for other in readers.get(key, ()):
                    if other.number in self.units and self._are_neighbors(other, unit):
                        unit = self._join(other, unit)
                readers.setdefault(key, []).append(unit)

    def _arguments(self, unit: _Unit) -> list[Var]:
        """The arguments of the program that a unit reads."""
        found: list[Var] = []
        todo = [a for e in unit.eqns for a in e.invars]
        while todo:
            a = todo.pop()
            made_by = self.values.maker.get(a) if isinstance(a, Var) else None
            if made_by is not None:
                if self.values.kind(made_by) in UNMADE:
                    todo += made_by.invars
            elif isinstance(a, Var):
                found.append(a)
        return found

    def _are_neighbors(self, first: _Unit, second: _Unit) -> bool:
        """Whether two units, of which neither needs the other, are better one."""
        if first is second or first.before >> second.number & 1:
            return False
        if not self._can_join(first, second):
            return False
        assert first.domain is not None
        assert second.domain is not None
        domain = first.domain.joined(second.domain)
        assert domain is not None
        # A map is slower where it runs along the columns that a reduction goes through.
        rank = len(domain.shape)
        trailing = domain.reduced == tuple(range(rank - len(domain.reduced), rank))
        return first.domain == second.domain or trailing

    def _unit_of(self, v: Var) -> _Unit:
        return self.unit_of[id(self.values.maker[v])]

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
        if self.values.kind(eqn) == "scan":
            primitive = eqn.primitive
            assert isinstance(primitive, Cumulative)
            behind = eqn.outvars[0].aval.shape[primitive.axis + 1 :]
            return primitive.reverse or math.prod(behind) == 1
        return self.values.kind(eqn) in ("parts", "scatter", "control", "attention")

    def _is_read_in_place(self, edge: _Edge, domain: Domain) -> bool:
        """Whether a value is read where it is computed, in a kernel of both."""
        if self.values.kind(edge.user) in ("product", "convolution", "indexed"):
            return False
        shape = edge.user.outvars[0].aval.shape
        if self.values.kind(edge.user) == "reduce":
            shape = domain.shape
        index = domain.index_of(shape)
        own = domain.index_of(edge.value.aval.shape)
        if index is None or own is None:
            return False
        last = edge.views[-1].outvars[0] if edge.views else edge.value
        if self.values.kind(edge.user) == "copy":
            found = edge.user.primitive.source_index(index, last.aval)
            if found is None:
                return False
            index = found
        elif self.values.kind(edge.user) != "reduce":
            index = stretched(index, last.aval.shape, shape)
        for view in reversed(edge.views):
            found = view.primitive.source_index(index, view.invars[0].aval)
            if found is None:
                return False
            index = found
        return padded(index, len(domain.shape)) == padded(own, len(domain.shape))

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
        results = {a for a in self.jaxpr.outvars if isinstance(a, Var)}
        return join_column_sums(made, results)

    def _native(self, unit: _Unit, wanted: set[Var]) -> Sequence[Step]:
        kind = self.values.kind(unit.eqns[0])
        if kind == "parts":
            return parts_steps(self.values, unit.eqns[0])
        if kind == "control":
            return [control_step(unit.eqns[0])]
        if kind == "attention":
            return [attention_step(self.values, unit.eqns[0])]
        if kind == "scatter":
            return scatter_steps(self.values, unit.eqns[0])
        if kind == "scan" and self._stands_alone(unit.eqns[0]):
            return [scan_step(self.values, unit.eqns[0])]
        step = self._kernel(unit, wanted)
        return in_parts(step) if isinstance(step, KernelStep) else [step]

    def _views_of(self, eqn: Eqn, known: dict[int, Eqn]) -> list[Eqn]:
        """The rearrangements that the host has to make before an equation, each once."""
        found: list[Eqn] = []
        for atom in eqn.invars:
            chain: list[Eqn] = []
            while isinstance(atom, Var) and atom in self.values.maker:
                made_by = self.values.maker[atom]
                if self.values.kind(made_by) not in ("view", "iota") or id(made_by) in known:
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
        assert unit.domain is not None
        lowering = Lowering(self.values, unit.domain, unit.eqns)
        outputs = [v for e in unit.eqns for v in e.outvars if v in wanted]
        step = lowering.step(outputs)
        if unit.product is None:
            return step
        if self.values.kind(unit.product) == "convolution":
            return self._convolution(unit.product, step)
        return product_step(self.values, unit.product, step)

    def _convolution(self, eqn: Eqn, epilogue: KernelStep) -> ConvStep:
        operands, places = [], []
        for atom in eqn.invars:
            rank = atom.aval.ndim
            index = tuple([Affine.axis(a, rank) for a in range(rank)])
            v, place = self.values.in_memory(atom, index, rank)
            operands.append(v)
            places.append(place)
        reads = [*operands, *epilogue.reads]
        return convolution_step(eqn, places, epilogue.kernel, reads, epilogue.writes)


def _bits(x: int) -> Iterator[int]:
    while x:
        low = x & -x
        yield low.bit_length() - 1
        x ^= low

"""Attention as steps; see `strips` for what it is, and `attention` for where it comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from fstensor.compiler.domain import Domain
from fstensor.compiler.kernels import Kernel, grouped
from fstensor.compiler.kinds import kind_of
from fstensor.compiler.lowering import InMemory, Lowering
from fstensor.compiler.strips import Attention, AttentionStep, Lines, Mix, MixProduct, ScoreProduct
from fstensor.core.affine import Affine, Index, flat
from fstensor.core.jaxpr import Atom, Eqn, Var
from fstensor.ops.dot import DotGeneral, free_axes


def attention_step(values: InMemory, eqn: Eqn) -> AttentionStep:
    """The step of an attention."""
    return _StepWriter(values, eqn).step()


@final
class _StepWriter:
    def __init__(self, values: InMemory, eqn: Eqn) -> None:
        attention = eqn.primitive
        assert isinstance(attention, Attention)
        self.attention = attention
        inner = [*attention.members, *(e for e, _ in attention.scores)]
        kinds = {id(e): kind_of(e) for e in inner if id(e) not in values.kinds}
        maker = {v: e for e in inner for v in e.outvars}
        self.values = InMemory({**values.maker, **maker}, {**values.kinds, **kinds})
        shape, row, column = attention.shape, attention.row, attention.column
        # The axes of an element: the batch, queries, keys, and last those of lines.
        others = [a for a in range(len(shape)) if a not in (row, column)]
        self.batch = [a for a in others if shape[a] != 1]
        self.domain = Domain(shape, (column,))
        kept = [a for a in range(len(shape)) if a != column]
        self.groups = [[kept.index(a)] for a in (*self.batch, row)] + [[len(kept)]]
        self.lowering = Lowering(self.values, self.domain, attention.members)
        self.reads: list[Var] = []

    def step(self) -> AttentionStep:
        attention, lowering = self.attention, self.lowering
        index = self.domain.index_of(self.domain.shape)
        assert index is not None
        weights = [lowering.value(m.matrix, index) for m in attention.mixes]
        for v in attention.rows:
            at = self.domain.index_of(v.aval.shape)
            assert at is not None
            lowering.store(v, at, lowering.value(v, at))
        virtual = {e.outvars[0] for e, _ in attention.scores}
        writes = attention.results
        self.reads = [v for v in lowering.buffers if v not in virtual and v not in writes]
        scores = [self._score(e, order) for e, order in attention.scores]
        products = enumerate(zip(attention.mixes, weights, strict=True))
        mixes = [self._mix(m, k, w) for k, (m, w) in products]
        addresses = {v: k for k, v in enumerate([*self.reads, *writes])}
        buffers = [-1 if v in virtual else addresses[v] for v in lowering.buffers]
        kernel = grouped(lowering.kernel, self.groups, len(self.groups) - 1)
        found = [self._behind_reads(m) for m in self._with_scales(kernel, mixes)]
        return AttentionStep(kernel, buffers, scores, found, self.reads, writes)

    def _behind_reads(self, mix: MixProduct) -> MixProduct:
        """Count the result among what is written, which comes behind all that is read."""
        result = mix.result
        return mix._replace(result=result._replace(buffer=result.buffer + len(self.reads)))

    def _place(self, atom: Atom, index: Index, rank: int) -> tuple[int, Affine]:
        v, place = self.values.in_memory(atom, index, rank)
        if v not in self.reads:
            self.reads.append(v)
        return self.reads.index(v), place

    def _score(self, eqn: Eqn, order: tuple[int, ...]) -> ScoreProduct:
        primitive = eqn.primitive
        assert isinstance(primitive, DotGeneral)
        contract, batch = primitive.dimension_numbers
        attention = self.attention
        rank = len(attention.shape) + 1
        axis = [Affine.axis(a, rank) for a in range(rank)]
        at = len(batch[0])
        lines: dict[bool, Lines] = {}
        for side, operand in enumerate(eqn.invars):
            shape = operand.aval.shape
            index = [Affine(0)] * len(shape)
            for k, d in enumerate(batch[side]):
                index[d] = axis[order[k]]
            for d in free_axes(len(shape), contract[side], batch[side]):
                index[d] = axis[order[at]]
                at += 1
            for d in contract[side]:
                index[d] = axis[-1] if shape[d] != 1 else Affine(0)
            number, place = self._place(operand, tuple(index), rank)
            free = free_axes(len(shape), contract[side], batch[side])
            start = at - len(free)
            of_keys = attention.column in [order[k] for k in range(start, at)]
            line = attention.column if of_keys else attention.row
            lines[of_keys] = Lines.of(number, place, self.batch, line, rank - 1)
        depth = math.prod([eqn.invars[0].aval.shape[d] for d in contract[0]])
        buffer = self.lowering.buffers[eqn.outvars[0]]
        return ScoreProduct(buffer, depth, lines[False], lines[True])

    def _mix(self, mix: Mix, number: int, value: int) -> MixProduct:
        primitive, side = mix.eqn.primitive, mix.side
        assert isinstance(primitive, DotGeneral)
        contract, batch = primitive.dimension_numbers
        attention = self.attention
        rank = len(attention.shape) + 1
        axis = [Affine.axis(a, rank) for a in range(rank)]
        shapes = [a.aval.shape for a in mix.eqn.invars]
        other = 1 - side
        index = [Affine(0)] * len(shapes[other])
        for d, e in zip(batch[side], batch[other], strict=True):
            index[e] = axis[mix.order[d]]
        for d, e in zip(contract[side], contract[other], strict=True):
            index[e] = axis[mix.order[d]]
        free = [free_axes(len(shapes[k]), contract[k], batch[k]) for k in (0, 1)]
        for d in free[other]:
            index[d] = axis[-1] if shapes[other][d] != 1 else Affine(0)
        out: list[Affine] = [axis[mix.order[d]] for d in batch[side]]
        for k in (0, 1):
            if k == side:
                out += [axis[mix.order[d]] for d in free[k]]
            else:
                out += [axis[-1] if shapes[k][d] != 1 else Affine(0) for d in free[k]]
        place = flat([out[d] for d in mix.turned], mix.result.aval.shape)
        along, across = attention.row, attention.column
        if not mix.over_rows:
            along, across = across, along
        number_read, where = self._place(mix.eqn.invars[other], tuple(index), rank)
        depth = math.prod([shapes[other][d] for d in free[other]])
        return MixProduct(
            value, mix.over_rows, depth,
            Lines.of(number_read, where, self.batch, along, rank - 1),
            Lines.of(number, place, self.batch, across, rank - 1),
        )  # fmt: skip

    def _with_scales(self, kernel: Kernel, mixes: Sequence[MixProduct]) -> list[MixProduct]:
        """The sums with factors in front of them that are the same for all keys.

        Only where that makes no difference to other sums of the same value.
        """
        found = []
        for m in mixes:
            alone = [n.value for n in mixes].count(m.value) == 1
            while alone and not m.over_rows:
                i = kernel.instructions[m.value]
                axes = [kernel.instructions[a].axes for a in i.args]
                factors = [k for k, x in enumerate(axes) if not x & kernel.inner_bits]
                if (i.op, factors) not in (("mul", [0]), ("mul", [1]), ("div", [1])):
                    break
                scale = (i.op, i.args[factors[0]])
                m = m._replace(value=i.args[1 - factors[0]], scales=(scale, *m.scales))
            found.append(m)
        return found

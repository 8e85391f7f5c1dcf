"""Where the values of a program lie, and which of them are made at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from fstensor.compiler.kinds import kind_of, source_of
from fstensor.compiler.lowering import InMemory
from fstensor.compiler.recompute import derived, recomputed
from fstensor.core.affine import Affine
from fstensor.core.jaxpr import Atom, Eqn, Jaxpr, Var
from fstensor.ops.arrange import Concatenate
from fstensor.ops.barrier import OptimizationBarrier
from fstensor.ops.dot import DotGeneral
from fstensor.ops.gather import Gather
from fstensor.ops.index import DynamicSlice, Pad


@final
class Values(InMemory):
    """The values of a program, with the kinds of its equations settled among them."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        maker = {v: e for e in jaxpr.eqns for v in e.outvars}
        super().__init__(maker, {id(e): kind_of(e) for e in jaxpr.eqns})
        self.jaxpr = jaxpr
        self._make_real()
        self._settle_products()
        for n in recomputed(jaxpr, self.kinds) | derived(jaxpr, self.kinds):
            self.kinds[n] = "inline"

    def _make_real(self) -> None:
        """Rearrangements that must be made after all: results, and what is then reshaped."""
        needed = [a for a in self.jaxpr.outvars if isinstance(a, Var)]
        for eqn in self.jaxpr.eqns:
            if isinstance(eqn.primitive, OptimizationBarrier):
                needed += [a for a in eqn.invars if isinstance(a, Var)]
            if self.kind(eqn) == "control" or (self.kind(eqn) == "view" and source_of(eqn) is None):
                needed += [a for a in eqn.invars if isinstance(a, Var)]
            in_memory: Sequence[Atom] = ()
            if self.kind(eqn) in ("product", "convolution", "attention"):
                in_memory = eqn.invars
            elif isinstance(eqn.primitive, (Gather, DynamicSlice)):
                in_memory = eqn.invars[:1]
            elif self.kind(eqn) == "indexed" and not isinstance(eqn.primitive, (Pad, Concatenate)):
                in_memory = eqn.invars
            needed += [a for a in in_memory if isinstance(a, Var) and not self.lies(a)]
        for v in needed:
            made_by = self.maker.get(v)
            if made_by is not None and self.kind(made_by) in ("view", "iota"):
                self.kinds[id(made_by)] = "copy"

    def _settle_products(self) -> None:
        """Leave to the host the contractions whose sums run over no regular part of memory."""
        for eqn in self.jaxpr.eqns:
            if self.kind(eqn) != "product" or self._sums_are_regular(eqn):
                continue
            for atom in eqn.invars:
                made_by = self.maker.get(atom) if isinstance(atom, Var) else None
                if made_by is not None and self.kind(made_by) == "view":
                    self.kinds[id(made_by)] = "copy"
            if not self._sums_are_regular(eqn):
                self.kinds[id(eqn)] = "host"

    def _sums_are_regular(self, eqn: Eqn) -> bool:
        """Whether the contracted axes can be run through as one."""
        pairs = self.contracted(eqn)
        sizes = [eqn.invars[0].aval.shape[d] for d, _ in pairs]
        for side in (0, 1):
            place = self._along(eqn, [pair[side] for pair in pairs], side)
            for k in range(len(pairs) - 1):
                if place.strides[k] != place.strides[k + 1] * sizes[k + 1]:
                    return False
        return True

    def contracted(self, eqn: Eqn) -> list[tuple[int, int]]:
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

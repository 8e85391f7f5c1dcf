"""One element out of each row, as a loss takes that of the label: without gathers of whole arrays.

A gather that reads element `label[b]` of row b reads the operands of an elementwise operation just
as well, of which the other results are then not needed. And what adds a number to that element of
zeros, its gradient, is an elementwise operation: it compares the index with the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from fstensor.array import from_buffer
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var, dce
from fstensor.core.primitive import Primitive
from fstensor.ops.arrange import Concatenate
from fstensor.ops.elementwise import Max, Min
from fstensor.ops.families import Elementwise
from fstensor.ops.gather import (
    Gather,
    GatherDimensionNumbers,
    GatherScatterMode,
    default_fill,
)
from fstensor.ops.logical import And, Eq, Ge, Le, Lt, SelectN
from fstensor.ops.scatter import ScatterAdd
from fstensor.ops.shape import BroadcastInDim, Iota, Reshape, Squeeze

# How many elementwise operations a gather goes through.
_DEEPEST = 8


def pick_elements(jaxpr: Jaxpr) -> Jaxpr:
    """The program with such gathers and scatters replaced."""
    if not any(isinstance(e.primitive, (Gather, ScatterAdd)) for e in jaxpr.eqns):
        return jaxpr
    eqns: list[Eqn] = []
    maker: dict[Var, Eqn] = {}
    changed = False
    for eqn in jaxpr.eqns:
        found = _Rewriting(maker, eqn).result()
        changed = changed or found is not None
        for e in [eqn] if found is None else found:
            eqns.append(e)
            maker.update((v, e) for v in e.outvars)
    if not changed:
        return jaxpr
    return dce(Jaxpr(jaxpr.constvars, jaxpr.invars, jaxpr.outvars, eqns, jaxpr.debug_info))


@final
@dataclass
class _Pick:
    """Which element is read or written for each index of the batch.

    batch: its shape. axis: of the operand, which `label` points along; it has the shape of the
    batch. along: the axis of the batch that each other axis of the operand is walked along with.
    """

    batch: tuple[int, ...]
    axis: int
    label: Atom
    along: dict[int, int]


@final
class _Rewriting:
    """The equations in place of one."""

    def __init__(self, maker: dict[Var, Eqn], eqn: Eqn) -> None:
        self.maker = maker
        self.eqn = eqn
        self.made: list[Eqn] = []

    def result(self) -> list[Eqn] | None:
        primitive = self.eqn.primitive
        if isinstance(primitive, Gather):
            return self._gather(primitive)
        if isinstance(primitive, ScatterAdd):
            return self._scatter(primitive)
        return None

    def _apply(self, primitive: Primitive, *operands: Atom) -> Var:
        out = Var(primitive.infer(tuple([a.aval for a in operands])))
        self.made.append(Eqn(primitive, operands, [out], self.eqn.source_info))
        return out

    def _finished(self, last: Var) -> list[Eqn]:
        """The equations, the last of which has the result of the one replaced."""
        end = self.made[-1]
        assert end.outvars == [last]
        self.made[-1] = Eqn(end.primitive, end.invars, self.eqn.outvars, end.source_info)
        return self.made

    # What is picked

    def _pick(self, numbers: GatherDimensionNumbers, shape: Sequence[int]) -> _Pick | None:
        """What a gather or scatter with boxes of one element does; None if it is none of these."""
        indices = self.eqn.invars[1]
        batch = indices.aval.shape[:-1]
        if numbers.offset_dims or not batch:
            return None
        along = dict(
            zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
        )
        labels = []
        for k, d in enumerate(numbers.start_index_map):
            column = self._column(indices, k)
            axis = None if column is None else self._counted(column)
            if axis is not None and axis < len(batch) and batch[axis] == shape[d]:
                along[d] = axis
            else:
                labels.append((d, column))
        if len(labels) != 1 or len(along) != len(shape) - 1:
            return None
        axis, column = labels[0]
        walked = [along[d] for d in sorted(along)]
        rest = [n for b, n in enumerate(batch) if b not in walked]
        if column is None or walked != sorted(set(walked)) or any(n != 1 for n in rest):
            return None
        label = self._apply(Squeeze((len(batch),)), column)
        return _Pick(batch, axis, label, along)

    def _column(self, indices: Atom, k: int) -> Atom | None:
        """Entry k of the indices, with a last axis of size 1."""
        if indices.aval.shape[-1] == 1:
            return indices
        made_by = self.maker.get(indices) if isinstance(indices, Var) else None
        if made_by is None or not isinstance(made_by.primitive, Concatenate):
            return None
        parts = made_by.invars
        if made_by.primitive.dimension != indices.aval.ndim - 1 or len(parts) <= k:
            return None
        return parts[k] if all(p.aval.shape[-1] == 1 for p in parts) else None

    def _counted(self, atom: Atom) -> int | None:
        """The axis whose index the elements are; None if they are not."""
        made_by = self.maker.get(atom) if isinstance(atom, Var) else None
        if made_by is None:
            return None
        primitive = made_by.primitive
        if isinstance(primitive, Iota):
            return primitive.dimension
        if isinstance(primitive, SelectN) and len(made_by.invars) == 3:
            test, usual, _ = made_by.invars  # below zero no index is
            by = self.maker.get(test) if isinstance(test, Var) else None
            is_test = by is not None and isinstance(by.primitive, Lt) and by.invars[0] is usual
            zero = is_test and by is not None and by.invars[1]
            if isinstance(zero, Literal) and not np.any(np.asarray(zero.value)):
                return self._counted(usual)
            return None
        if isinstance(primitive, BroadcastInDim):
            axis = self._counted(made_by.invars[0])
            return None if axis is None else primitive.broadcast_dimensions[axis]
        if isinstance(primitive, Reshape):
            axis = self._counted(made_by.invars[0])
            shape = made_by.invars[0].aval.shape
            trailing = made_by.outvars[0].aval.shape[len(shape) :]
            kept = made_by.outvars[0].aval.shape[: len(shape)] == shape
            return axis if kept and all(n == 1 for n in trailing) else None
        return None

    def _inside(self, label: Atom, size: int) -> Var:
        """Whether a label is an index."""
        low, high = (_number(n, label.aval) for n in (0, size - 1))
        return self._apply(And(), self._apply(Ge(), label, low), self._apply(Le(), label, high))

    # Gathers

    def _gather(self, gather: Gather) -> list[Eqn] | None:
        x, indices = self.eqn.invars
        if not self._is_pushed(x):
            return None
        pick = self._pick(gather.dimension_numbers, x.aval.shape)
        if pick is None:
            return None
        found = self._pushed(x, pick, gather.replace(mode=GatherScatterMode.CLIP), indices, 0)
        if not isinstance(found, Var):
            return None
        if gather.mode is GatherScatterMode.FILL_OR_DROP:
            fill = gather.fill_value
            number = _number(default_fill(x.aval.dtype) if fill is None else fill, x.aval)
            outside = self._apply(BroadcastInDim(pick.batch, ()), number)
            inside = self._inside(pick.label, x.aval.shape[pick.axis])
            found = self._apply(SelectN(), inside, outside, found)
        return self._finished(found)

    def _is_pushed(self, x: Atom) -> bool:
        made_by = self.maker.get(x) if isinstance(x, Var) else None
        return made_by is not None and isinstance(made_by.primitive, Elementwise)

    def _pushed(
        self, x: Atom, pick: _Pick, gather: Gather, indices: Atom, depth: int
    ) -> Atom | None:
        """The picked elements of a value that has the operand's shape, or stretches to it."""
        if not x.aval.shape:
            return x
        shape = self.eqn.invars[0].aval.shape
        made_by = self.maker.get(x) if isinstance(x, Var) else None
        if x.aval.shape != shape:
            full = tuple([1 if d == pick.axis else n for d, n in enumerate(shape)])
            if x.aval.shape != full:
                return None
            row = self._apply(Squeeze((pick.axis,)), x)
            return self._apply(
                BroadcastInDim(pick.batch, tuple([pick.along[d] for d in sorted(pick.along)])), row
            )
        if made_by is not None and isinstance(made_by.primitive, Elementwise) and depth < _DEEPEST:
            operands = []
            for a in made_by.invars:
                operand = self._pushed(a, pick, gather, indices, depth + 1)
                if operand is None:
                    return None
                operands.append(operand)
            return self._apply(made_by.primitive, *operands)
        if made_by is not None and isinstance(made_by.primitive, BroadcastInDim):
            axes = made_by.primitive.broadcast_dimensions
            (source,) = made_by.invars
            if pick.axis not in axes and source.aval.shape == tuple([shape[d] for d in axes]):
                places = tuple([pick.along[d] for d in axes])
                return self._apply(BroadcastInDim(pick.batch, places), source)
        return self._apply(gather, x, indices)

    # Scatters

    def _scatter(self, scatter: ScatterAdd) -> list[Eqn] | None:
        x, _, updates = self.eqn.invars
        shape = x.aval.shape
        made_by = self.maker.get(x) if isinstance(x, Var) else None
        if made_by is None or not isinstance(made_by.primitive, BroadcastInDim):
            return None
        (zero,) = made_by.invars
        if not isinstance(zero, Literal) or np.any(np.asarray(zero.value)):
            return None
        pick = self._pick(GatherDimensionNumbers(*scatter.dimension_numbers), shape)
        if pick is None or pick.label.aval.dtype.itemsize < 4:  # or it might not hold all indices
            return None
        label: Atom = pick.label
        if scatter.mode is not GatherScatterMode.FILL_OR_DROP:  # moved inside
            low, high = (_number(n, label.aval) for n in (0, shape[pick.axis] - 1))
            label = self._apply(Max(), self._apply(Min(), label, high), low)
        counted = tuple([n if d == pick.axis else 1 for d, n in enumerate(shape)])
        index = self._apply(Iota(label.aval.dtype, counted, pick.axis))
        stretch = BroadcastInDim(shape, tuple(range(len(shape))))
        operands = index, self._spread(label, pick, shape), self._spread(updates, pick, shape)
        index, row, number = (self._apply(stretch, a) for a in operands)
        return self._finished(self._apply(SelectN(), self._apply(Eq(), index, row), x, number))

    def _spread(self, atom: Atom, pick: _Pick, shape: Sequence[int]) -> Var:
        """A value with an element for each of the batch, on the axes of the operand."""
        walked = set(pick.along.values())
        dropped = tuple([b for b in range(len(pick.batch)) if b not in walked])
        atom = self._apply(Squeeze(dropped), atom) if dropped else atom
        thin = tuple([1 if d == pick.axis else n for d, n in enumerate(shape)])
        return self._apply(BroadcastInDim(thin, tuple(sorted(pick.along))), atom)


def _number(value: Any, like: ShapedArray) -> Literal:
    """A number of the same dtype."""
    return Literal(from_buffer(np.asarray(value).astype(like.dtype)))

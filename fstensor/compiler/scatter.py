"""Scatters as loop nests: boxes of an array, changed in place one after the other.

The loops run over the elements of the updates. Boxes may overlap, and then their order counts: the
loops over boxes keep it. What threads may divide among them are axes along which no two boxes
meet in different indices: those that every box fills, and those that boxes walk along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from fstensor.compiler.kernels import Kernel, can_merge, grouped
from fstensor.core.affine import Affine, Index
from fstensor.core.jaxpr import Atom, Eqn, Var
from fstensor.core.scalar import BOOL, INT64, Elements
from fstensor.ops.gather import GatherDimensionNumbers, GatherScatterMode, box_indices, box_start
from fstensor.ops.index import DynamicUpdateSlice
from fstensor.ops.scatter import Scattering

if TYPE_CHECKING:
    from fstensor.compiler.kernels import Recorder

# How NumPy's functions that scatters combine by are called in kernels.
_COMBINES = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "minimum": "min",
    "maximum": "max",
}
_OF_BOOLS = {"add": "or", "mul": "and", "min": "and", "max": "or"}


@final
@dataclass
class ScatterStep:
    """Changes some boxes of an array that a step before has filled.

    kernel: a map over the elements of the updates, with one store: into the first element of the
        array that an update could go to. Its axes are `n_walked` ones along which boxes never
        meet, `n_boxes` ones over boxes, in order, and those of the windows.
    offset: how far from there each one goes, or None; inside: whether it goes anywhere, or None.
    combine: the operation on what is there and the update; "" for replacement.
    shared: the axis that threads divide among them, -1 for none.
    """

    kernel: Kernel
    n_walked: int
    n_boxes: int
    offset: int | None
    inside: int | None
    combine: str
    shared: int
    reads: list[Var]
    writes: list[Var]

    @property
    def flops(self) -> int:
        is_float = self.combine and self.kernel.instructions[-1].dtype.kind == "f"
        return self.kernel.flops + (math.prod(self.kernel.outer) if is_float else 0)

    def __str__(self) -> str:
        at = "" if self.offset is None else f" further by %{self.offset}"
        where = "" if self.inside is None else f" where %{self.inside}"
        return (
            f"scatter {self.combine or 'set'}{at}{where}, {self.n_walked} walked, "
            f"{self.n_boxes} of boxes, shared {self.shared}\n{self.kernel}"
        )


def is_scatter(eqn: Eqn) -> bool:
    """Whether an equation can become a ScatterStep."""
    return isinstance(eqn.primitive, (Scattering, DynamicUpdateSlice))


@final
@dataclass
class ScatterParts:
    """What a scatter's step is recorded with; `fuse` supplies it.

    value: the instruction for an element of a value; place: that where the result lies.
    """

    kernel: Kernel
    record: Recorder
    value: Callable[[Atom, Index], int]
    operand: Callable[[Atom], Elements[int]]
    store: Callable[[Index, int], None]
    reads: Callable[[], list[Var]]


def scatter_step(eqn: Eqn, parts: ScatterParts) -> ScatterStep:
    """The step of a scatter, whose `parts` are a map over the shape of its updates."""
    primitive = eqn.primitive
    (out,) = eqn.outvars
    record = parts.record
    shape = out.aval.shape
    if isinstance(primitive, DynamicUpdateSlice):
        _, updates, *starts = eqn.invars
        index = _axes(updates.aval.ndim)
        batch: Index = ()
        place, walked = index, set()
        sizes = updates.aval.shape
        offsets: list[int | None] = []
        for start, n, size in zip(starts, shape, sizes, strict=True):
            offsets.append(_moved_inside(record, parts.operand(start).at(()), n - size))
        inside, combine = None, ""
    else:
        assert isinstance(primitive, Scattering)
        _, indices, updates = eqn.invars
        index = _axes(updates.aval.ndim)
        numbers = GatherDimensionNumbers(*primitive.dimension_numbers)
        sizes = primitive.sizes(shape, updates.aval.shape)
        batch, place = box_indices(numbers, index, len(shape))
        offsets, is_inside = box_start(record, numbers, sizes, shape, batch, parts.operand(indices))
        drops = primitive.mode is GatherScatterMode.FILL_OR_DROP
        inside = is_inside if drops else None
        walked = {_axis(batch[b]) for b in numbers.start_indices_batching_dims}
        combine = _COMBINES[primitive.ufunc] if hasattr(primitive, "ufunc") else ""
        if out.aval.dtype == BOOL:
            combine = _OF_BOOLS.get(combine, combine)
    value = parts.value(updates, index)
    offset = _total(record, offsets, shape)
    reads = parts.reads()
    parts.store(place, value)
    boxes = [_axis(b) for b in batch]
    whole = {_axis(i) for i, size, n in zip(place, sizes, shape, strict=True) if size == n}
    windows = [a for a in range(len(index)) if a not in boxes]
    order = (
        [a for a in boxes if a in walked],
        [a for a in boxes if a not in walked],
        windows,
    )
    return _arranged(
        ScatterStep(parts.kernel, 0, 0, offset, inside, combine, -1, reads, [out]), order, whole
    )


def _axes(rank: int) -> Index:
    return tuple([Affine.axis(a, rank) for a in range(rank)])


def _axis(i: Affine) -> int:
    """The axis whose variable an index is; -1 for a constant."""
    return i.strides.index(1) if any(i.strides) else -1


def _moved_inside(record: Recorder, start: int, limit: int) -> int | None:
    """The start of a box, moved inside; None for 0."""
    if limit == 0:
        return None
    first = record.convert(start, INT64)
    last = record.constant(limit, INT64)
    return record.max(record.constant(0, INT64), record.min(first, last))


def _total(record: Recorder, offsets: Sequence[int | None], shape: Sequence[int]) -> int | None:
    """How many elements on an element lies that is moved along some axes."""
    total = None
    for d, i in enumerate(offsets):
        if i is not None:
            step = math.prod(shape[d + 1 :])
            part = i if step == 1 else record.mul(i, record.constant(step, INT64))
            total = part if total is None else record.add(total, part)
    return total


def _arranged(step: ScatterStep, order: Sequence[Sequence[int]], whole: set[int]) -> ScatterStep:
    """The step with its loops in order, axes merged where memory allows, the fastest one last."""
    kernel = step.kernel
    place = kernel.stores[0].access.place
    walked, boxes, windows = ([a for a in axes if kernel.sizes[a] != 1] for axes in order)
    windows = sorted(windows, key=lambda a: -place.strides[a])
    groups: list[list[int]] = []
    counts = []
    for axes in (walked, boxes, windows):
        first = len(groups)
        for a in axes:
            before = groups[-1][-1] if len(groups) > first else None
            if before is not None and (
                can_merge(kernel, before, a)
                and (axes is not windows or (before in whole) == (a in whole))
            ):
                groups[-1].append(a)
            else:
                groups.append([a])
        counts.append(len(groups) - first)
    step.kernel = grouped(kernel, groups, len(groups))
    step.n_walked, step.n_boxes, _ = counts
    safe = [
        k
        for k, g in enumerate(groups)
        if k < step.n_walked or (k >= step.n_walked + step.n_boxes and all(a in whole for a in g))
    ]
    step.shared = max(safe, key=lambda k: step.kernel.sizes[k], default=-1)
    return step

"""How a kernel's loops run: their order, which axis the vectors lie along, what is unrolled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from fstensor.compiler.kernels import LOADS, Instruction, Kernel, merged


@final
@dataclass(frozen=True)
class Schedule:
    """A kernel with its axes in the order of its loops.

    lane: the axis that vectors lie along, the last outer or the last inner one; -1 when there is no
        axis at all. lanes: how many elements a vector has. unroll: how many vectors a round takes.
    """

    kernel: Kernel
    lane: int
    lanes: int
    unroll: int

    @property
    def across_rows(self) -> bool:
        """Whether the lanes of a vector are different rows."""
        return 0 <= self.lane < len(self.kernel.outer)

    @property
    def shared(self) -> int:
        """The size of the axis that threads divide among them, the first; 1 without any."""
        return self.kernel.outer[0] if self.kernel.outer else 1


def scheduled(kernel: Kernel, vector_bytes: int) -> Schedule:
    """The schedule of a kernel for vectors of a size."""
    n_outer, sizes = len(kernel.outer), kernel.sizes
    outer = [a for a in range(n_outer) if sizes[a] != 1]
    inner = [a for a in range(n_outer, len(sizes)) if sizes[a] != 1]
    if kernel.inner and not inner:
        inner = [len(sizes) - 1]  # a reduction over one element is a loop, too
    in_turn = any(i.op == "scan" for i in kernel.instructions)
    lane = _lane_of_scans(kernel, outer) if in_turn else _lane(kernel, outer, inner)
    if lane is None and in_turn:
        kernel = merged(kernel, outer + inner, len(outer))
        return Schedule(kernel, len(kernel.sizes) - 1, 1, 1)
    if lane is not None:
        ours = outer if lane in outer else inner
        ours.remove(lane)
        ours.append(lane)
    kernel = merged(kernel, outer + inner, len(outer))
    if lane is None:
        return Schedule(kernel, -1, 1, 1)
    at = len(kernel.outer) - 1 if lane in outer else len(kernel.sizes) - 1
    lanes = max(1, vector_bytes // _element_size(kernel, at))
    if kernel.sizes[at] <= lanes // 2:
        lanes = 1 << max(0, kernel.sizes[at] - 1).bit_length()
    rounds = math.ceil(kernel.sizes[at] / lanes)
    return Schedule(kernel, at, lanes, min(_unroll(kernel), 1 << (rounds.bit_length() - 1)))


def _lane(kernel: Kernel, outer: list[int], inner: list[int]) -> int | None:
    """The axis along which most accesses are contiguous; of the later of equals."""
    places = [(i.detail.place, _moving(kernel, i)) for i in kernel.instructions if i.op in LOADS]
    places += [(s.access.place, 0) for s in kernel.stores] * 2  # scattered stores cost more

    def merit(a: int) -> tuple[float, int]:
        steps = [2 if moving >> a & 1 else abs(p.strides[a]) for p, moving in places]
        contiguous = sum(1.0 for s in steps if s == 1)
        scattered = sum(1.0 for s in steps if s > 1)
        return (contiguous - 2 * scattered - (1.5 if kernel.sizes[a] < 4 else 0), a)

    axes = outer + inner
    return max(axes, key=merit) if axes else None


def _moving(kernel: Kernel, load: Instruction) -> int:
    """A bit for each axis along which a load's place changes in no regular way."""
    return kernel.instructions[load.args[0]].axes if load.op == "take" else 0


def _lane_of_scans(kernel: Kernel, outer: list[int]) -> int | None:
    """The outer axis along which all accesses are contiguous.

    For kernels whose inner loop is one step after the other.
    """
    loads = [i for i in kernel.instructions if i.op in LOADS]
    for a in outer:
        steps = [2 if _moving(kernel, i) >> a & 1 else i.detail.place.strides[a] for i in loads]
        if all(s.access.place.strides[a] == 1 for s in kernel.stores) and {*steps} <= {0, 1}:
            return a
    return None


def _element_size(kernel: Kernel, lane: int) -> int:
    """Of the widest float, or else of the widest integer, among what differs between lanes."""
    varying = [i for i in kernel.instructions if i.axes >> lane & 1] or kernel.instructions
    floats = [i.dtype.itemsize for i in varying if i.dtype.kind == "f"]
    if floats:
        return max(floats)
    return max([1, *(i.dtype.itemsize for i in varying if i.op != "index")])


def _unroll(kernel: Kernel) -> int:
    """More for short bodies, whose rounds would otherwise wait for each other."""
    steps = sum(i.op not in ("constant", *LOADS) for i in kernel.instructions)
    long = any(i.op in ("div", "exp", "log", "tanh", "sin", "pow") for i in kernel.instructions)
    if any(i.op == "reduce" for i in kernel.instructions):
        return 4 if steps <= 12 else 2
    return 4 if steps <= 4 else 2 if steps <= 12 and not long else 1

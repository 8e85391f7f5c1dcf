"""How a kernel's loops run: their order, which axis the vectors lie along, what is unrolled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, final

from fstensor.compiler.kernels import LOADS, Access, Instruction, Kernel, merged
from fstensor.compiler.saving import kept_values
from fstensor.core.affine import Affine

# Kernels that touch more bytes than this leave nothing in the caches that is worth its place; and
# the least that are worth a way past them.
_LARGEST_CACHE = 12 << 20
_LEAST_STREAMED = 1 << 20


@final
class Schedule(NamedTuple):
    """A kernel with its axes in the order of its loops.

    lane: the axis that vectors lie along, the last outer or the last inner one; -1 when there is no
        axis at all. lanes: how many elements a vector has. unroll: how many vectors a round takes.
    streamed: the buffers that are written past the caches; streamed_place: what place in them is
        a multiple of vectors where whole ones begin, None for places that all are. kept: see
        `kept_values`.
    """

    kernel: Kernel
    lane: int
    lanes: int
    unroll: int
    streamed: frozenset[int] = frozenset()
    streamed_place: Affine | None = None
    kept: Mapping[int, int] = MappingProxyType({})

    @property
    def across_rows(self) -> bool:
        """Whether the lanes of a vector are different rows."""
        return 0 <= self.lane < len(self.kernel.outer)

    @property
    def kept_elements(self) -> int:
        """How many elements there are of a value that is kept, for one row or vectors of rows."""
        inner = self.kernel.inner
        if self.across_rows:
            return math.prod(inner) * self.lanes * self.unroll
        # Where vectors begin elsewhere in a later stage, the last one goes further.
        return math.prod(inner[:-1]) * -(-inner[-1] // self.lanes) * self.lanes + self.lanes

    @property
    def shared(self) -> int:
        """The size of the axis that threads divide among them, the first; 1 without any."""
        return self.kernel.outer[0] if self.kernel.outer else 1


def scheduled(kernel: Kernel, vector_bytes: int, is_minor: bool = False) -> Schedule:
    """The schedule of a kernel for vectors of a size.

    is_minor: that it is compiled soon matters more than that it runs fast.
    """
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
    unroll = 1 if is_minor else min(_unroll(kernel), 1 << (rounds.bit_length() - 1))
    found = Schedule(kernel, at, lanes, unroll, *_streamed(kernel, at, lanes, vector_bytes))
    kept = kept_values(kernel, at, found.kept_elements) if kernel.inner else {}
    return found._replace(kept=kept)


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
    if any(i.op == "reduce" for i in kernel.instructions):
        return 4 if steps <= 12 else 2
    return 4 if steps <= 4 else 2 if steps <= 16 else 1


def _streamed(
    kernel: Kernel, lane: int, lanes: int, vector_bytes: int
) -> tuple[frozenset[int], Affine | None]:
    """The buffers that are written in whole vectors, by a kernel that no cache has room for.

    What is written through the caches is read first, line by line: a third of the traffic of a
    copy. And what is read next has to give way to it. See `Schedule`.
    """
    reached = {
        i.detail.buffer: bytes_touched(kernel, i.detail)
        for i in kernel.instructions
        if i.op == "load"
    }
    reached |= {s.access.buffer: bytes_touched(kernel, s.access) for s in kernel.stores}
    if sum(reached.values()) < _LARGEST_CACHE:
        return frozenset(), None
    other = {i.detail.buffer for i in kernel.instructions if i.op in LOADS}
    places: dict[int, Affine] = {}
    for s in kernel.stores:
        b, place = s.access.buffer, s.access.place
        whole = lanes * kernel.buffers[b].itemsize == vector_bytes and place.strides[lane] == 1
        if s.by or not whole or b in places or reached[b] < _LEAST_STREAMED:
            other.add(b)
        places[b] = place

    def shift(place: Affine) -> tuple[int, ...]:
        """What two places have in common where they are multiples of vectors together."""
        others = place.strides[:lane] + place.strides[lane + 1 :]
        return tuple([n % lanes for n in (place.constant, *others)])

    found = {b: p for b, p in places.items() if b not in other}
    # Threads begin anywhere along the first axis; and short rows have few whole vectors.
    movable = lane > 0 and kernel.sizes[lane] >= 8 * lanes
    found = {b: p for b, p in found.items() if movable or not any(shift(p))}
    if not found:
        return frozenset(), None
    place = next(iter(found.values()))
    alike = frozenset([b for b, p in found.items() if shift(p) == shift(place)])
    return alike, place if any(shift(place)) else None


def bytes_touched(kernel: Kernel, access: Access) -> int:
    """How much of a buffer is touched."""
    sizes = [n for n, s in zip(kernel.sizes, access.place.strides, strict=True) if s]
    return math.prod(sizes) * kernel.buffers[access.buffer].itemsize

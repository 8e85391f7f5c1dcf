"""How an attention is computed: sweeps over the keys, what is kept between them, and tiles.

A strip of queries lies along the vectors. For it, scores are computed key after key, [key][query],
and swept over: the first sweep finds their maximum, say, and the second one the exponentials, their
sum, and the sums of values that they weigh. A row of scores is complete before a function of it is
computed, so that results are those of the program as it was written, also where a row is masked as
a whole; a strip of all keys is small enough to stay in the second cache, or nearly, for thousands
of keys. Within a sweep, keys are taken in blocks for which everything is in the first cache.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import final

from fstensor.compiler.kernels import LOADS, Kernel
from fstensor.compiler.llvm.bits import WORD
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.strips import AttentionStep, MixProduct
from fstensor.core.scalar import BOOL, ELEMENTARY, FLOAT32

# Keys in a block: a multiple of the rows of all tiles.
_BLOCK = 96
# With so many keys at most there is one block.
_ONE_BLOCK = 192
# Of vectors: a result of so many in a row is not cut into columns.
_WIDEST = 6
# What threads share should be so many units, or more; of few entries of a batch, parts. Each has so
# many strips at least, since its sums over queries cost memory and time.
_ENOUGH_UNITS = 16
_STRIPS_IN_PART = 4
_MOST_PARTS = 8
_COSTLY = {"div", "rem", "sqrt", "select", *LOADS, *ELEMENTARY}


@final
@dataclass(eq=False)
class Kept:
    """Values for each query of a strip and each key that are in memory.

    born, last: the first and last sweep in which they are there. is_mixed: whether a product reads
    them. whole: whether there is room for all keys, or for a block.
    """

    born: int
    last: int
    is_mixed: bool = False
    whole: bool = False
    slot: int = -1


@final
@dataclass
class Sweep:
    """What happens while all keys are gone through once.

    reduced: the reductions that are computed. loads, stores: values of the kernel that are read
    from the strip, or written to it. turned: those that are read from elsewhere, where the keys are
    neighbours, not the queries. rows: what else is needed that is the same for all keys. scores,
    mixes: the numbers of the products before and after.
    """

    reduced: list[int] = field(default_factory=list)
    loads: list[int] = field(default_factory=list)
    stores: list[int] = field(default_factory=list)
    turned: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    scores: list[int] = field(default_factory=list)
    mixes: list[int] = field(default_factory=list)


@final
class AttentionPlan:
    """The sweeps of a step, the room for what is kept, and the sizes of tiles."""

    def __init__(self, step: AttentionStep, target: Target) -> None:
        self.step = step
        self.kernel: Kernel = step.kernel
        self.target = target
        self.lanes = target.lanes(FLOAT32)
        self.queries, (self.keys,) = self.kernel.outer[-1], self.kernel.inner
        most, vectors = target.product_tile
        self.sums = most * vectors  # how many vectors of sums registers hold
        self.vectors = self._vectors()
        self.width = self.vectors * self.lanes
        self.rows = self._rows(self.sums // self.vectors)
        self.strips = -(-self.queries // self.width)
        self.tiles = -(-self.keys // self.rows)
        blocks = 1 if self.keys <= _ONE_BLOCK else -(-self.keys // _BLOCK)
        self.one_block = blocks == 1
        self.block_keys = self.keys if self.one_block else _BLOCK
        self.block_tiles = self.tiles if self.one_block else _BLOCK // self.rows
        self.entries = prod(self.kernel.outer[:-1])
        self.by_entry = any(m.over_rows for m in step.mixes)
        self.parts = self._parts() if self.by_entry else self.strips
        self.kept: dict[int, Kept] = {}
        self.sweeps = self._sweeps()
        self.slots = self._slots()

    def _parts(self) -> int:
        """Into how many parts the strips of an entry are divided, with a sum over queries each.

        It depends on no number of threads, so that results do not, either.
        """
        wanted = -(-_ENOUGH_UNITS // self.entries)
        depth = sum(m.depth for m in self.step.mixes if m.over_rows)
        # Of the memory that all scores would take, a quarter at most.
        affordable = self.queries // (4 * depth)
        return max(1, min(wanted, affordable, self.strips // _STRIPS_IN_PART, _MOST_PARTS))

    def _vectors(self) -> int:
        """How many vectors a strip takes: those with the fewest left empty, of equals the most."""
        whole = -(-self.queries // self.lanes)
        most = 4 if self.target.registers >= 32 else 2
        if whole <= most:
            return whole
        return min(range(2, most + 1), key=lambda v: (-(-whole // v) * v, -v))

    def _rows(self, most: int) -> int:
        """Keys in a tile of scores: of few keys, a divisor of their number."""
        if self.keys <= _ONE_BLOCK:
            for rows in range(most, most // 2, -1):
                if self.keys % rows == 0:
                    return rows
        return most

    def target_for(self, depth: int) -> Target:
        """The target with vectors that results of a depth fill."""
        size = self.target.vector_bytes
        while size > 16 and depth * FLOAT32.itemsize <= size // 2:
            size //= 2
        return self.target._replace(vector_bytes=size)

    def padded(self, mix: MixProduct, width: int) -> int:
        """How many elements apart the sums of a tile's rows lie."""
        lanes = self.target_for(mix.depth).lanes(FLOAT32)
        return -(-width // lanes) * lanes

    def columns(self, depth: int) -> list[tuple[int, int]]:
        """Where the tiles of results of a depth begin, and how wide they are."""
        most = _WIDEST if self.target.registers >= 32 else 2
        vectors = -(-depth // self.lanes)
        width = -(-vectors // -(-vectors // most)) * self.lanes
        return [(at, min(width, depth - at)) for at in range(0, depth, width)]

    def mix_rows(self, mix: MixProduct, width: int) -> int:
        """How many results, one below the other, a tile of a mix has."""
        most = self.sums // -(-width // self.lanes)
        if mix.over_rows and self.one_block:
            return min(most, self.keys)
        whole = _BLOCK if mix.over_rows else self.width
        return next(r for r in range(most, 0, -1) if whole % r == 0)

    # Sweeps

    def _is_scores(self, k: int) -> bool:
        i = self.kernel.instructions[k]
        return i.op == "load" and self.step.buffers[i.detail.buffer] < 0

    def _is_turned(self, k: int) -> bool:
        """Whether a value is copied before it is used, so that queries are neighbours."""
        i = self.kernel.instructions[k]
        if i.op != "load" or self._is_scores(k):
            return False
        dtype = self.kernel.buffers[i.detail.buffer]
        row, key = i.detail.place.strides[-2:]
        return dtype in (FLOAT32, BOOL) and row not in (0, 1) and key == 1

    def turned_size(self, k: int) -> int:
        """Of the copy of a value, for a block; of bools there are WORD in a number."""
        short = max(self.block_keys, self.block_tiles * self.rows)
        is_bool = self.kernel.instructions[k].dtype == BOOL
        return self.width * (-(-short // WORD) if is_bool else short)

    @property
    def turned(self) -> list[int]:
        return sorted({k for sweep in self.sweeps for k in sweep.turned})

    def _cost(self, k: int, memo: dict[int, int]) -> int:
        """Operations from what lies in the strip to a value."""
        if k not in memo:
            i = self.kernel.instructions[k]
            if not i.axes & self.kernel.inner_bits or self._is_scores(k):
                memo[k] = 0
            else:
                own = 4 if i.op in _COSTLY else 1
                memo[k] = own + sum(self._cost(a, memo) for a in i.args)
        return memo[k]

    def _is_worth_keeping(self, k: int, memo: dict[int, int]) -> bool:
        return self.kernel.instructions[k].dtype == FLOAT32 and self._cost(k, memo) > 1

    def _sweeps(self) -> list[Sweep]:
        instructions = self.kernel.instructions
        stages = [i.stage for i in instructions if i.op == "reduce"]
        mixed = [instructions[m.value].stage for m in self.step.mixes]
        number = max([*stages, *(n + 1 for n in mixed)])
        sweeps = [Sweep() for _ in range(number)]
        first: dict[int, int] = {}  # the sweep in which a value is computed
        memo: dict[int, int] = {}
        for n, sweep in enumerate(sweeps):
            reductions = [k for k, i in enumerate(instructions) if i.op == "reduce"]
            sweep.reduced = [k for k in reductions if instructions[k].stage == n + 1]
            sweep.mixes = [k for k, stage in enumerate(mixed) if stage == n]
            todo = [instructions[k].args[0] for k in sweep.reduced]
            todo += [self.step.mixes[k].value for k in sweep.mixes]
            seen: set[int] = set()
            while todo:
                k = todo.pop()
                if k in seen:
                    continue
                seen.add(k)
                if not instructions[k].axes & self.kernel.inner_bits:
                    sweep.rows.append(k)
                elif self._is_scores(k) or (k in first and self._is_worth_keeping(k, memo)):
                    sweep.loads.append(k)
                else:
                    todo += instructions[k].args
                    if self._is_turned(k):
                        sweep.turned.append(k)
            for k in seen:
                if instructions[k].axes & self.kernel.inner_bits:
                    first.setdefault(k, n)
            sweep.rows.sort()
            self._keep(sweeps, n, first)
        return sweeps

    def _keep(self, sweeps: list[Sweep], n: int, first: dict[int, int]) -> None:
        """Note what a sweep reads from the strip, and leaves in it for products."""
        instructions = self.kernel.instructions
        for k in sweeps[n].loads:
            if k not in self.kept:
                self.kept[k] = Kept(n if self._is_scores(k) else first[k], n)
                if self._is_scores(k):
                    buffer = instructions[k].detail.buffer
                    numbers = [j for j, p in enumerate(self.step.scores) if p.buffer == buffer]
                    sweeps[n].scores += numbers
                else:
                    sweeps[first[k]].stores.append(k)
            self.kept[k].last = n
        for j in sweeps[n].mixes:
            k = self.step.mixes[j].value
            if k not in self.kept:
                self.kept[k] = Kept(n, n)
                sweeps[n].stores.append(k)
            self.kept[k].is_mixed = True

    def _slots(self) -> list[bool]:
        """Give what is kept its place in the strip; says of each whether it is for all keys.

        A value may take the place of another one that is read for the last time while it is made.
        """
        slots: list[bool] = []
        users: list[Kept] = []  # of each slot, the last one
        order = sorted(self.kept, key=lambda k: (self.kept[k].born, not self._is_scores(k), k))
        for k in order:
            kept = self.kept[k]
            for slot, before in enumerate(users):
                free = before.last < kept.born
                dies = before.last == kept.born and not before.is_mixed and before is not kept
                if free or (dies and not self._is_scores(k)):
                    kept.slot = slot
                    users[slot] = kept
                    break
            else:
                kept.slot = len(slots)
                slots.append(False)
                users.append(kept)
            slots[kept.slot] = slots[kept.slot] or (kept.last > kept.born and not self.one_block)
        return slots

    # Memory, in elements

    def slot_sizes(self) -> list[int]:
        short = max(self.block_keys, self.block_tiles * self.rows)
        return [self.width * (self.keys if whole else short) for whole in self.slots]

    def pack_sizes(self) -> list[int]:
        """Of the queries' lines, [depth][query], with what vectors write beyond."""
        return [-(-p.depth // self.lanes) * self.lanes * self.width for p in self.step.scores]

    def sum_size(self, mix: MixProduct) -> int:
        """Of the sums of a mix for a strip, or for all keys."""
        lines = self.keys if mix.over_rows else self.width
        return lines * sum(self.padded(mix, w) for _, w in self.columns(mix.depth)) + self.lanes

    def copy_size(self) -> int:
        """Of the lines of a mix for a block, where their elements are no neighbours in memory."""
        sizes = [0]
        for m in self.step.mixes:
            if m.lines.element != 1:
                lines = self.width if m.over_rows else self.block_keys
                widest = max(w for _, w in self.columns(m.depth))
                sizes.append(
                    (-(-lines // self.lanes) + 1) * -(-widest // self.lanes) * self.lanes**2
                )
        return max(sizes)

    def row_values(self) -> int:
        """How many values of rows are kept: of reductions, and scales."""
        reduced = sum(i.op == "reduce" for i in self.kernel.instructions)
        return reduced + sum(len(m.scales) for m in self.step.mixes)

    def room(self) -> int:
        """Elements of a thread's workspace, a multiple of a cache line's."""
        total = sum(self.slot_sizes()) + sum(self.pack_sizes()) + self.row_values() * self.width
        total += sum(self.sum_size(m) for m in self.step.mixes if not m.over_rows)
        total += self.copy_size() + sum(map(self.turned_size, self.turned)) + self.lanes
        if not self.has_joint_sums:
            total += self.total_size()
        return -(-total // 16) * 16

    def total_size(self) -> int:
        """Of the sums over queries of a unit, a multiple of a cache line's."""
        total = sum(self.sum_size(m) for m in self.step.mixes if m.over_rows)
        return -(-total // 16) * 16

    @property
    def has_joint_sums(self) -> bool:
        """Whether sums over queries are made of those of several parts."""
        return self.by_entry and self.parts > 1

"""Attention as the compiler sees it: products, functions of their elements, and products of those.

The elements of `softmax(q k^T) v` and of its gradients that there is one of for each query and each
key, the scores, are many more than those of its operands. An `Attention` stands for all equations
that make and use them, up to where a result depends on something computed elsewhere: one for the
forward direction, one for the backward one. Its scores exist only for a strip of a few queries at a
time; whoever needs them later computes them again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

from fstensor.compiler.kernels import Kernel
from fstensor.core.affine import Affine
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Eqn, Var
from fstensor.core.primitive import Primitive


@final
class Mix(NamedTuple):
    """A product that sums over the scores of a row, or of a column.

    matrix: the value with the axes of the scores. eqn: the contraction, whose operand `side` is the
    matrix, with its axes in the order `order`. result: the contraction's, perhaps transposed by
    `turned`. over_rows: whether it sums over queries, so that its results belong to keys.
    """

    matrix: Var
    eqn: Eqn
    side: int
    order: tuple[int, ...]
    result: Var
    turned: tuple[int, ...]
    over_rows: bool


@final
class Attention(Primitive):
    """Some equations as one; see the module. It is equal to no other.

    shape: of the scores. row, column: their axes of queries and of keys. scores: the contractions
    that scores are made of, each with the order in which its axes are those of the scores. members:
    the equations in between. mixes: the products of scores. rows: the reductions over keys whose
    results others need.
    """

    name = "attention"
    multiple_results = True
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(
        self,
        shape: tuple[int, ...],
        axes: tuple[int, int],
        scores: Sequence[tuple[Eqn, tuple[int, ...]]],
        members: Sequence[Eqn],
        mixes: Sequence[Mix],
        rows: Sequence[Var],
    ) -> None:
        self.shape = shape
        self.row, self.column = axes
        self.scores = list(scores)
        self.members = list(members)
        self.mixes = list(mixes)
        self.rows = list(rows)

    @property
    def params(self) -> dict[str, Any]:
        return {"shape": self.shape}

    @property
    def results(self) -> list[Var]:
        return [*(m.result for m in self.mixes), *self.rows]

    def abstract(self, *avals: ShapedArray) -> Any:
        return [v.aval for v in self.results]

    def impl(self, xp: Any, *buffers: Any) -> Any:
        raise AssertionError("attention: it is made for native code, and is part of no program")


@final
class Lines(NamedTuple):
    """Where a matrix lies: for each batch index some lines, each of some elements.

    buffer: its number among the values that a step reads, or writes. Strides are in elements.
    """

    buffer: int
    start: int
    batch: tuple[int, ...]
    line: int
    element: int

    @staticmethod
    def of(buffer: int, place: Affine, batch: Sequence[int], line: int, element: int) -> Lines:
        """From the place of an element, by the axes of the batch, of lines and along them."""
        strides = place.strides
        along = tuple([strides[a] for a in batch])
        return Lines(buffer, place.constant, along, strides[line], strides[element])

    def __str__(self) -> str:
        return f"#{self.buffer} at {self.start} {self.batch} {self.line} {self.element}"


@final
class ScoreProduct(NamedTuple):
    """Scores as sums over `depth`: the product of a line for each query and one for each key.

    buffer: the one of the kernel that has them.
    """

    buffer: int
    depth: int
    queries: Lines
    keys: Lines

    def __str__(self) -> str:
        return f"b{self.buffer} = queries {self.queries} by keys {self.keys}, depth {self.depth}"


@final
class MixProduct(NamedTuple):
    """Sums of lines, weighted by a value of the kernel: for each query over keys, or vice versa.

    scales: what a sum is multiplied with or divided by, each an operation and a value of the row.
    """

    value: int
    over_rows: bool
    depth: int
    lines: Lines
    result: Lines
    scales: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        over = "queries" if self.over_rows else "keys"
        then = "".join(f", {op} %{k}" for op, k in self.scales)
        sums = f"sum over {over} of %{self.value} by {self.lines}, depth {self.depth}"
        return f"{self.result} = {sums}{then}"


@final
@dataclass
class AttentionStep:
    """Products of scores that are never in memory as a whole.

    kernel: what becomes of the scores: its last outer axis are the queries, the inner one the keys,
        those before are the batch. Its stores are of rows.
    buffers: for each of the kernel's, the number among the values read and then those written; -1
        for scores. reads: those that the kernel reads, and the operands of products.
    """

    kernel: Kernel
    buffers: list[int]
    scores: list[ScoreProduct]
    mixes: list[MixProduct]
    reads: list[Var] = field(default_factory=list)
    writes: list[Var] = field(default_factory=list)

    @property
    def flops(self) -> int:
        depth = sum(p.depth for p in self.scores) + sum(m.depth for m in self.mixes)
        return 2 * depth * math.prod(self.kernel.sizes) + self.kernel.flops

    def __str__(self) -> str:
        *batch, rows = self.kernel.outer
        lines = [f"attention batch {tuple(batch)}, {rows} queries by {self.kernel.inner[0]} keys"]
        lines += [f"  {p}" for p in self.scores]
        lines += [f"  {p}" for p in self.mixes]
        return "\n".join([*lines, str(self.kernel)])

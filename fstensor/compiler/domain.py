"""What kernels run over, and where in it their values have their elements.

A kernel runs over a shape, and reduces some of its axes; a value in it has the whole shape, or that
of a row: the shape without the reduced axes, which may also stand in it with size 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias, final

from fstensor.core.affine import Affine, Index

Shape: TypeAlias = tuple[int, ...]


@final
class Domain(NamedTuple):
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


def padded(index: Index, rank: int) -> Index:
    """The index with constants written out over all axes, so that equal ones are equal."""
    return tuple([i if i.strides else Affine(i.constant, (0,) * rank) for i in index])


def stretched(index: Index, operand: Shape, result: Shape) -> Index:
    """Where an elementwise operand has the element for `index` of the result."""
    if operand == result:
        return index
    if not operand:
        return ()
    pairs = zip(index, operand, result, strict=True)
    return tuple([i if n == m else Affine(0) for i, n, m in pairs])

"""Indices as kernels compute them: sums of loop variables times constants."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, final


@final
@dataclass(frozen=True, slots=True)
class Affine:
    """A number `constant + sum of strides[a] * (variable of loop axis a)`.

    A constant may have no strides at all, and goes with any number of axes.
    """

    constant: int
    strides: tuple[int, ...] = ()

    @staticmethod
    @functools.cache
    def axis(a: int, rank: int) -> Affine:
        """The variable of one of `rank` loop axes."""
        return Affine(0, tuple([int(i == a) for i in range(rank)]))

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.constant + other, self.strides)
        constant = self.constant + other.constant
        if not self.strides or not other.strides:
            return Affine(constant, self.strides or other.strides)
        strides = [s + t for s, t in zip(self.strides, other.strides, strict=True)]
        return Affine(constant, tuple(strides))

    def __mul__(self, factor: int) -> Affine:
        return Affine(self.constant * factor, tuple([s * factor for s in self.strides]))

    @property
    def is_constant(self) -> bool:
        return not any(self.strides)

    def __str__(self) -> str:
        terms = [f"i{a}" if s == 1 else f"{s} i{a}" for a, s in enumerate(self.strides) if s != 0]
        if self.constant or not terms:
            terms.append(str(self.constant))
        return " + ".join(terms).replace("+ -", "- ")


Index: TypeAlias = tuple[Affine, ...]


def flat(index: Sequence[Affine], shape: Sequence[int]) -> Affine:
    """The position of an element in row-major order."""
    total, step = Affine(0), 1
    for i, n in zip(reversed(index), reversed(shape), strict=True):
        total = total + i * step
        step *= n
    return total

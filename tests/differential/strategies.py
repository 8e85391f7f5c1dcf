"""What the arguments of functions are drawn from: dtypes, shapes, axes, and values with edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np

from fstensor import dtypes

BOOL = ("bool",)
INTS = ("int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")
HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
INEXACT = FLOATS + COMPLEX
REALS = INTS + FLOATS
NUMBERS = REALS + COMPLEX
ALL = BOOL + NUMBERS

# Beside 0 and 1: where rounding, overflow, and the rules of IEEE 754 show.
_EDGES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -2.5,
    20.0,
    100.0,
    -100.0,
    1e-30,
    np.inf,
    -np.inf,
    np.nan,
    np.nan,
]


def edges(dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Edge values of a dtype: zeros, infinities, NaN, subnormal and extreme numbers."""
    if dtypes.is_bool(dtype):
        return np.array([False, True])
    if dtypes.is_integer(dtype):
        limits = np.iinfo(dtype)
        numbers = [0, 1, -1, 2, -7, limits.min, limits.max, limits.min + 1, limits.max - 1]
        return np.array([n for n in numbers if n >= limits.min], dtype)
    limits = dtypes.finfo(dtype)
    extreme = [float(limits.max), -float(limits.max), float(limits.smallest_normal)]
    subnormal = [float(limits.smallest_subnormal), -float(limits.smallest_subnormal)]
    return np.array([*_EDGES, *extreme, *subnormal]).astype(dtype)


class Draw:
    """Draws the arguments of one call.

    smooth: for derivatives: double precision, values apart from each other, no edges.
    valid: without arguments that shall raise, such as axes that do not exist.
    second: for each array that was drawn, by its id, another of the same kind.
    """

    def __init__(
        self,
        data: st.DataObject,
        kinds: Sequence[str],
        low: float,
        high: float,
        *,
        smooth: bool = False,
        valid: bool = True,
        edgy: bool = True,
    ) -> None:
        self.data, self.kinds = data, tuple(kinds)
        self.low, self.high = low, high
        self.smooth, self.valid, self.edgy = smooth, valid or smooth, edgy and not smooth
        self.second: dict[int, np.ndarray[Any, Any]] = {}
        self._kept: list[Any] = []  # ids are unique among what lives
        self._made = 0
        self._edgy_call = self.edgy and self.flag()

    def __call__(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self.data.draw(strategy)

    def flag(self) -> bool:
        return self(st.booleans())

    def one_of(self, *options: Any) -> Any:
        return self(st.sampled_from(options))

    def integer(self, low: int, high: int) -> int:
        return self(st.integers(low, high))

    # Shapes and axes

    def shape(self, ranks: tuple[int, int] = (0, 3), sides: tuple[int, int] = (0, 3)) -> tuple:
        least = max(sides[0], 1) if self.smooth else sides[0]
        # Empty axes are rarer, for they tell less.
        kept = [n for n in (2, 1, 3, 3, 2, 0) if least <= n <= max(sides[1], least)]
        rank = self.integer(*ranks)
        return tuple(self(st.lists(st.sampled_from(kept), min_size=rank, max_size=rank)))

    def shapes(self, count: int, ranks: tuple[int, int] = (0, 3)) -> list[tuple[int, ...]]:
        """Shapes that broadcast with each other."""
        full = self.shape(ranks)
        found = []
        for _ in range(count):
            kept = full[self.integer(0, len(full)) :]
            found.append(tuple([n if self.flag() else 1 for n in kept]))
        # One of them has every axis, so that the result is what was drawn.
        found[self.integer(0, count - 1)] = full
        return found

    def axis(self, rank: int) -> int:
        """An axis, from either end; one that does not exist when errors are wanted."""
        if not rank or (not self.valid and self.integer(0, 9) == 9):
            return self.one_of(rank, -rank - 1)
        return self.integer(-rank, rank - 1)

    def axis_or_none(self, rank: int) -> int | None:
        return None if not rank or self.flag() else self.axis(rank)

    def axes(self, rank: int) -> Any:
        """None, an axis, or a tuple of them; repeated ones when errors are wanted."""
        kind = self.one_of("none", "one", "several") if rank else self.one_of("none", "empty")
        if kind == "none":
            return None
        if kind == "one":
            return self.axis(rank)
        if kind == "empty":
            return ()
        if not self.valid and self.integer(0, 9) == 9:
            return (0, -rank)  # one axis twice
        chosen = self(st.lists(st.integers(0, rank - 1), unique=True, max_size=rank))
        return tuple([i - rank * self.flag() for i in chosen])

    def permutation(self, rank: int) -> tuple[int, ...]:
        return tuple([i - rank * self.flag() for i in self(st.permutations(range(rank)))])

    # Arrays

    def dtype(self, kinds: Sequence[str] | None = None) -> np.dtype[Any]:
        kinds = self.kinds if kinds is None else kinds
        if self.smooth:
            wide = [k for k in ("float64", "complex128") if k in kinds]
            kinds = wide or kinds
        # Floats are the most common, and there are but two of them.
        floats = [k for k in FLOATS if k in kinds]
        return dtypes.canonical(self.one_of(*kinds, *floats, *floats))

    def array(
        self,
        shape: tuple[int, ...],
        dtype: Any = None,
        low: float | None = None,
        high: float | None = None,
    ) -> np.ndarray[Any, Any]:
        """An array: many ties and small numbers within [low, high], or edges among them."""
        dtype = self.dtype() if dtype is None else dtypes.canonical(dtype)
        low, high = self.low if low is None else low, self.high if high is None else high
        x, y = (self._values(shape, dtype, low, high) for _ in range(2))
        self.second[id(x)] = y
        self._kept.append(x)
        return x

    def _values(self, shape: tuple, dtype: np.dtype, low: float, high: float) -> np.ndarray:
        if dtypes.is_complex(dtype):
            part = dtypes.to_real(dtype)
            parts = [self._values(shape, part, low, high) for _ in range(2)]
            return np.asarray(parts[0] + 1j * parts[1], dtype)
        size = int(np.prod(shape))
        if self.smooth and dtypes.is_inexact(dtype):
            return self._apart(shape, dtype, low, high)
        pool = ordinary(dtype, low, high)
        # Edges of complex numbers are not drawn: which of inf and NaN the parts of a product are
        # is not agreed upon.
        if self._edgy_call and "complex" not in "".join(self.kinds):
            pool = np.concatenate([edges(dtype), pool[::5]])
        found = np.frombuffer(self(st.binary(min_size=size, max_size=size)), np.uint8)
        return pool[found % len(pool)].reshape(shape)

    def _apart(self, shape: tuple, dtype: np.dtype, low: float, high: float) -> np.ndarray:
        """Random values no two of which are close, and none near a multiple of 1/2."""
        self._made += 1  # so that no two arrays are alike
        rng = np.random.default_rng((self.integer(0, 2**16), self._made))
        size = int(np.prod(shape))
        cells = np.linspace(low, high, size + 1)
        x = rng.permutation(cells[:-1] + np.diff(cells) * rng.uniform(0.3, 0.7, size))
        near = np.round(2 * x) / 2
        shift = 0.02 * np.where(x >= near, 1, -1) * (np.abs(x - near) < 0.02)
        return np.clip(x + shift, low, high).reshape(shape).astype(dtype)

    def operand(self, shape: tuple[int, ...], **limits: Any) -> Any:
        """An array, or instead of a scalar one sometimes a Python number."""
        if shape or self.smooth or self.flag():
            return self.array(shape, **limits)
        dtype = self.dtype()
        if dtypes.is_bool(dtype):
            return True
        whole = self.integer(max(0, int(self.low)), max(1, int(self.high)))
        if dtypes.is_integer(dtype):
            return whole
        return float(whole) if not dtypes.is_complex(dtype) else complex(whole, 1)


def ordinary(dtype: np.dtype, low: float, high: float) -> np.ndarray[Any, Any]:
    """A few evenly spaced values within [low, high]."""
    if dtypes.is_bool(dtype):
        return np.array([False, True])
    if dtypes.is_integer(dtype):
        start = max(int(np.ceil(low)), 0) if dtypes.is_unsigned(dtype) else int(np.ceil(low))
        return np.unique(np.linspace(start, max(int(high), start), 25).round()).astype(dtype)
    return np.linspace(low, high, 25).astype(dtype)

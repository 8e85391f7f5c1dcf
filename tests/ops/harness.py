"""What the matrix of tests does with each case of a primitive.

A case is a primitive with static parameters and a description of its operands. Files in
`tests/ops/cases/` list them; `test_matrix.py` runs every case through every rule.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fstensor import dtypes
from fstensor.core.primitive import Primitive

FLOATS = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
INEXACT = FLOATS + COMPLEX
INTEGERS = ("int32", "int64", "uint8")
BOOL = ("bool",)
NUMBERS = INEXACT + INTEGERS
REALS = FLOATS + INTEGERS
ALL = NUMBERS + BOOL
HALVES = ("float16", "bfloat16")
EDGES = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]


@dataclass(frozen=True)
class Operand:
    """Random values of `shape`.

    dtype: of this operand, or None for the dtype that the case is run with.
    low, high: the range of the values; of real and imaginary part for complex ones.
    values: fixed values in place of random ones (edge values, indices), cast to the dtype.
    apart: the least distance between any two values, where ties would make a kink.
    """

    shape: tuple[int, ...] = ()
    dtype: str | None = None
    low: float = -2.0
    high: float = 2.0
    values: Any = None
    apart: bool = False

    def make(self, rng: np.random.Generator, dtype: str) -> np.ndarray:
        target = dtypes.canonical(self.dtype or dtype)
        if self.values is not None:
            return np.asarray(self.values).astype(target)
        if dtypes.is_bool(target):
            return rng.integers(0, 2, self.shape).astype(bool)
        if dtypes.is_integer(target):
            low = max(int(self.low), 0) if dtypes.is_unsigned(target) else int(self.low)
            return rng.integers(low, max(int(self.high), low + 1) + 1, self.shape).astype(target)
        if self.apart:
            count = int(np.prod(self.shape))
            spread = np.linspace(self.low, self.high, count + 2)[1:-1]
            return rng.permutation(spread).reshape(self.shape).astype(target)
        x = rng.uniform(self.low, self.high, self.shape)
        if dtypes.is_complex(target):
            x = x + 1j * rng.uniform(self.low, self.high, self.shape)
        return np.asarray(x).astype(target)


@dataclass(frozen=True)
class Case:
    """A primitive, its operands, and what is known of the result.

    reference: a function of NumPy arrays that gives the expected value (or values), by other means
        than `impl`: NumPy's own function, or a loop.
    dtypes: the dtypes to run it with.
    differentiable: whether derivatives are compared, in float and complex dtypes.
    batchable: which operands may be batched; all by default.
    factor: multiplies the dtype's tolerance; `reason` says why.
    """

    primitive: Primitive
    operands: tuple[Operand, ...]
    reference: Callable[..., Any]
    dtypes: Sequence[str] = FLOATS
    differentiable: bool = True
    batchable: tuple[int, ...] | None = None
    factor: float = 1.0
    reason: str = ""
    label: str = field(default="")

    def __post_init__(self) -> None:
        assert self.factor == 1.0 or self.reason, "a looser tolerance needs its reason"

    @property
    def name(self) -> str:
        shapes = "-".join("x".join(map(str, o.shape)) or "s" for o in self.operands)
        return f"{self.primitive.name}{'-' + self.label if self.label else ''}({shapes})"

    def arguments(self, dtype: str, variant: int = 0) -> list[np.ndarray]:
        """Operands' values: the same in every run, others for another variant."""
        seed = zlib.crc32(f"{self.name}{dtype}{variant}".encode())
        rng = np.random.default_rng(seed)
        return [o.make(rng, dtype) for o in self.operands]

    def directions(self, args: Sequence[np.ndarray], variant: int = 0) -> list[np.ndarray]:
        """A random direction for each inexact argument, None for the others."""
        rng = np.random.default_rng(zlib.crc32(f"{self.name}{variant}".encode()) + 1)
        return [random_like(rng, a) if dtypes.is_inexact(a.dtype) else None for a in args]


def random_like(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    t = rng.standard_normal(x.shape)
    if dtypes.is_complex(x.dtype):
        t = t + 1j * rng.standard_normal(x.shape)
    return np.asarray(t).astype(x.dtype)


def outputs(primitive: Primitive, out: Any) -> list[Any]:
    """A primitive's results as a list, also for one result."""
    return list(out) if primitive.multiple_results else [out]


def unary(
    primitive: Primitive,
    reference: Callable[..., Any],
    low: float = -2.0,
    high: float = 2.0,
    edges: Sequence[float] = (),
    **options: Any,
) -> list[Case]:
    """Cases of an elementwise function of one operand: matrix, scalar, empty array, edges."""
    shapes = [(2, 3), (), (0, 3)]
    cases = [
        Case(primitive, (Operand(s, low=low, high=high),), reference, **options) for s in shapes
    ]
    if edges:
        known = {k: v for k, v in options.items() if k != "differentiable"}
        cases.append(
            Case(
                primitive,
                (Operand((len(edges),), values=np.array(edges)),),
                reference,
                **{**known, "dtypes": FLOATS, "differentiable": False, "label": "edges"},
            )
        )
    return cases


def binary(
    primitive: Primitive,
    reference: Callable[..., Any],
    x: tuple[float, float] = (-2.0, 2.0),
    y: tuple[float, float] = (-2.0, 2.0),
    edges: tuple[Sequence[float], Sequence[float]] | None = None,
    **options: Any,
) -> list[Case]:
    """Cases of an elementwise function of two operands: equal shapes, stretched axes, scalars."""
    pairs = [((2, 3), (2, 3)), ((2, 1), (1, 3)), ((2, 3), ()), ((), (3,)), ((), ()), ((0,), ())]
    cases = [
        Case(
            primitive,
            (Operand(a, low=x[0], high=x[1]), Operand(b, low=y[0], high=y[1])),
            reference,
            **options,
        )
        for a, b in pairs
    ]
    if edges:
        known = {k: v for k, v in options.items() if k != "differentiable"}
        left, right = np.meshgrid(np.array(edges[0]), np.array(edges[1]))
        cases.append(
            Case(
                primitive,
                (
                    Operand((left.size,), values=left.ravel()),
                    Operand((right.size,), values=right.ravel()),
                ),
                reference,
                **{**known, "dtypes": FLOATS, "differentiable": False, "label": "edges"},
            )
        )
    return cases


def wide(function):
    """`function` of the operands in double precision."""

    def in_double(*xs):
        kinds = {"f": np.float64, "V": np.float64, "c": np.complex128}
        return function(*[x.astype(kinds.get(x.dtype.kind, x.dtype)) for x in xs])

    return in_double


def loop(function):
    """`function` of Python numbers, applied in a loop; integers wrap around."""

    def over_elements(*xs):
        spread = np.broadcast_arrays(*xs)
        out = np.zeros(spread[0].shape, xs[0].dtype)
        for i in np.ndindex(out.shape):
            value = function(*[x[i].item() for x in spread])
            out[i] = np.array(value % 2**64, np.uint64).astype(out.dtype)
        return out

    return over_elements


def halves(primitive, function, *, arity=1, low=-2.0, high=2.0):
    """Cases in half precision: values only, for derivatives round too often to be compared."""
    operand = Operand((2, 3), low=low, high=high)
    return [
        Case(primitive, (operand,) * arity, wide(function), dtypes=HALVES, differentiable=False)
    ]

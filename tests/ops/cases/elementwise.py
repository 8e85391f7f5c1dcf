import math

import numpy as np

from fstensor.ops import elementwise as ops
from fstensor.ops.rounding import Ceil, Floor, Round, RoundingMethod
from tests.ops.harness import (
    ALL,
    COMPLEX,
    EDGES,
    INEXACT,
    INTEGERS,
    NUMBERS,
    REALS,
    Case,
    Operand,
    binary,
    halves,
    loop,
    unary,
    wide,
)

INF, NAN = np.inf, np.nan
AWAY, EVEN = RoundingMethod.AWAY_FROM_ZERO, RoundingMethod.TO_NEAREST_EVEN


def integers(primitive, function, *, arity=1):
    """Cases of integers that include the ends of their range, and zeros."""
    cases = []
    for dtype in INTEGERS:
        ends = np.iinfo(dtype)
        values = [ends.min, ends.max, 0, 1, 7, ends.max - 2]
        values += [-1, -7] if ends.min < 0 else [2, 5]
        operands = [np.array(values, dtype)]
        if arity == 2:
            left, right = np.meshgrid(operands[0], operands[0])
            operands = [left.ravel(), right.ravel()]
        cases.append(
            Case(
                primitive,
                tuple(Operand(v.shape, values=v) for v in operands),
                loop(function),
                dtypes=(dtype,),
                label="ends",
            )
        )
    return cases


def quotient(x, y):
    """Rounded towards zero; all bits set for a divisor of zero."""
    if y == 0:
        return -1
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def remainder(x, y):
    return x if y == 0 else x - y * quotient(x, y)


def away_from_zero(x):
    whole, size = np.floor(np.abs(x)), np.abs(x)
    return np.where(np.isfinite(x), np.copysign(whole + (size - whole >= 0.5), x), x)


def sign_of_complex(x):
    with np.errstate(all="ignore"):
        return np.where(x == 0, 0, x / np.abs(x))


def clamped(low, x, high):
    """By Python's min and max, element by element; NaN stays."""
    low, x, high = np.broadcast_arrays(low, x, high)
    triples = zip(low.flat, x.flat, high.flat, strict=True)
    out = [v if v != v else min(max(v, a), b) for a, v, b in triples]
    return np.array(out, x.dtype).reshape(x.shape)


def clamp_cases():
    shapes = [((2, 3),) * 3, ((), (2, 3), ()), ((2, 3), (2, 3), ()), ((), (), ()), ((), (0,), ())]
    cases = [
        Case(
            ops.Clamp(),
            (Operand(a, low=-1, high=0), Operand(b), Operand(c, low=0.1, high=1)),
            clamped,
            dtypes=REALS,
        )
        for a, b, c in shapes
    ]
    values = np.array(EDGES)
    edges = (Operand(values=-1.0), Operand(values.shape, values=values), Operand(values=1.0))
    return [*cases, Case(ops.Clamp(), edges, clamped, differentiable=False, label="edges")]


def neighbor(x, y):
    pairs = zip(x.flat, y.flat, strict=True)
    return np.array([math.nextafter(a, b) for a, b in pairs]).reshape(x.shape)


CASES = [
    *binary(ops.AddAny(), np.add, dtypes=ALL),
    *binary(ops.Add(), np.add, dtypes=ALL, edges=(EDGES, EDGES)),
    *integers(ops.Add(), lambda x, y: x + y, arity=2),
    *halves(ops.Add(), np.add, arity=2),
    *binary(ops.Sub(), np.subtract, dtypes=NUMBERS, edges=(EDGES, EDGES)),
    *integers(ops.Sub(), lambda x, y: x - y, arity=2),
    *binary(ops.Mul(), np.multiply, dtypes=ALL, edges=(EDGES, EDGES)),
    *integers(ops.Mul(), lambda x, y: x * y, arity=2),
    *halves(ops.Mul(), np.multiply, arity=2),
    *binary(ops.Div(), np.divide, y=(1.0, 3.0), dtypes=INEXACT, edges=(EDGES, EDGES)),
    *binary(ops.Div(), loop(quotient), x=(-9, 9), y=(-3, 3), dtypes=INTEGERS),
    *integers(ops.Div(), quotient, arity=2),
    *halves(ops.Div(), np.divide, arity=2, low=0.5),
    *binary(ops.Rem(), np.fmod, x=(3.1, 3.9), y=(0.8, 1.0), edges=(EDGES, EDGES)),
    *binary(ops.Rem(), np.fmod, x=(-3.9, -3.1), y=(-1.0, -0.8)),
    *binary(ops.Rem(), loop(remainder), x=(-9, 9), y=(-3, 3), dtypes=INTEGERS),
    *integers(ops.Rem(), remainder, arity=2),
    *binary(ops.Max(), lambda x, y: np.where(x > y, x, y), dtypes=(*REALS, "bool")),
    *binary(ops.Max(), np.maximum, edges=(EDGES, EDGES))[-1:],
    *binary(ops.Max(), np.maximum, dtypes=COMPLEX),
    *halves(ops.Max(), np.maximum, arity=2),
    *binary(ops.Min(), lambda x, y: np.where(x < y, x, y), dtypes=(*REALS, "bool")),
    *binary(ops.Min(), np.minimum, edges=(EDGES, EDGES))[-1:],
    *binary(ops.Min(), np.minimum, dtypes=COMPLEX),
    *clamp_cases(),
    *halves(ops.Clamp(), clamped, arity=3),
    *binary(ops.NextAfter(), np.nextafter, edges=(EDGES, EDGES), differentiable=False),
    *binary(ops.NextAfter(), neighbor, dtypes=("float64",), differentiable=False)[:1],
    *unary(ops.Neg(), lambda x: 0 - x, dtypes=NUMBERS, edges=EDGES),
    *integers(ops.Neg(), lambda x: -x),
    *halves(ops.Neg(), np.negative),
    *unary(ops.Abs(), np.abs, dtypes=NUMBERS, edges=EDGES),
    *integers(ops.Abs(), abs),
    *unary(ops.Sign(), lambda x: 1.0 * (x > 0) - (x < 0), dtypes=REALS),
    *unary(ops.Sign(), np.sign, edges=EDGES)[-1:],
    *unary(ops.Sign(), sign_of_complex, dtypes=COMPLEX),
    *unary(Floor(), lambda x: x // 1, low=-9.0, high=9.0, dtypes=REALS),
    *unary(Floor(), np.floor, edges=[*EDGES, 0.5, -0.5])[-1:],
    *unary(Ceil(), lambda x: -(-x // 1), low=-9.0, high=9.0, dtypes=REALS),
    *unary(Ceil(), np.ceil, edges=[*EDGES, 0.5, -0.5])[-1:],
    *halves(Floor(), np.floor, low=-9.0),
    *unary(
        Round(AWAY),
        away_from_zero,
        low=-9.0,
        high=9.0,
        edges=[*EDGES, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997],
    ),
    *unary(
        Round(EVEN),
        np.round,
        low=-9.0,
        high=9.0,
        label="even",
    ),
    *unary(Round(EVEN), np.round, edges=[*EDGES, 0.5, -0.5, 1.5, 2.5, -2.5])[-1:],
    *unary(Round(AWAY), lambda x: x, edges=[8388607.0, 8388609.0, -16777215.0])[-1:],
    *halves(Round(AWAY), away_from_zero, low=-9.0),
    *unary(ops.IsFinite(), lambda x: np.abs(x) < INF, edges=EDGES),
    *halves(ops.IsFinite(), np.isfinite),
    *unary(ops.IntegerPow(3), lambda x: x * x * x, dtypes=NUMBERS, edges=EDGES),
    *unary(ops.IntegerPow(2), lambda x: x * x, dtypes=NUMBERS, label="2"),
    *unary(ops.IntegerPow(1), lambda x: x, dtypes=NUMBERS, label="1"),
    *unary(ops.IntegerPow(11), wide(lambda x: x**5 * x**6), dtypes=INEXACT, label="11"),
    *unary(ops.IntegerPow(-2), lambda x: 1 / (x * x), low=0.5, dtypes=INEXACT, label="-2"),
    *unary(ops.IntegerPow(0), np.ones_like, dtypes=NUMBERS, edges=EDGES),
    *integers(ops.IntegerPow(300), lambda x: x**300),
    *halves(ops.IntegerPow(3), lambda x: x * x * x),
    *halves(ops.IntegerPow(11), lambda x: x**11),
    *halves(ops.IntegerPow(0), np.ones_like),
    *unary(ops.Square(), lambda x: x * x, dtypes=NUMBERS, edges=EDGES),
    *halves(ops.Square(), lambda x: x * x),
    *unary(ops.Sqrt(), wide(np.emath.sqrt), low=0.1, dtypes=INEXACT),
    *unary(ops.Sqrt(), np.sqrt, edges=EDGES)[-1:],
    *halves(ops.Sqrt(), np.sqrt, low=0.1),
    *unary(ops.Rsqrt(), wide(lambda x: 1 / np.emath.sqrt(x)), low=0.1, dtypes=INEXACT),
    *unary(ops.Rsqrt(), lambda x: 1 / np.sqrt(x), edges=EDGES)[-1:],
    *halves(ops.Rsqrt(), lambda x: 1 / np.sqrt(x), low=0.1),
    *unary(ops.Cbrt(), wide(lambda x: x ** (1 / 3)), low=0.1),
    *unary(ops.Cbrt(), lambda x: -((-x) ** (1 / 3)), low=-2.0, high=-0.1),
    *unary(ops.Cbrt(), np.cbrt, edges=EDGES)[-1:],
    *halves(ops.Cbrt(), np.cbrt),
    *binary(ops.Pow(), wide(lambda x, y: np.exp(y * np.log(x))), x=(0.2, 2.0), dtypes=INEXACT),
    *binary(ops.Pow(), np.power, edges=([*EDGES, 0.5, 2.0, -2.0], [*EDGES, 0.5, 2.0]))[-1:],
    *halves(ops.Pow(), np.power, arity=2, low=0.5),
    *[
        Case(
            ops.Pow(),
            (Operand((2, 3), low=0.3), Operand((2, 3), dtype=d, values=[[3, 0, 1], [2, 5, e]])),
            lambda x, y: (
                np.prod([np.where(y > i, x, 1) for i in range(5)], axis=0) / np.where(y < 0, x, 1)
            ),
            dtypes=INEXACT,
            label=d,
        )
        for d, e in (("int32", -1), ("uint8", 4))
    ],
    *[
        Case(ops.Pow(), (Operand((3,)), Operand((), values=e)), lambda x, y: x ** float(y))
        for e in (2, 0)
    ],
]

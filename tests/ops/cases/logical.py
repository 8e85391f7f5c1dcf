import operator

import numpy as np

from fstensor.ops import logical as ops
from tests.ops.harness import (
    ALL,
    BOOL,
    EDGES,
    HALVES,
    INTEGERS,
    REALS,
    Case,
    Operand,
    binary,
    loop,
    unary,
)

BITS = INTEGERS + BOOL


def relation(function):
    """A relation of Python numbers in a loop."""

    def over_elements(x, y):
        x, y = np.broadcast_arrays(x, y)
        pairs = zip(x.flat, y.flat, strict=True)
        return np.array([bool(function(a.item(), b.item())) for a, b in pairs]).reshape(x.shape)

    return over_elements


def relations(primitive, function, dtypes):
    # Few whole numbers, so that many are equal.
    small = Operand((4, 5), low=-1, high=1)
    return [
        *binary(primitive, relation(function), dtypes=dtypes, edges=(EDGES, EDGES)),
        Case(primitive, (small, small), relation(function), dtypes=INTEGERS, label="ties"),
        *binary(primitive, relation(function), dtypes=HALVES, differentiable=False)[:1],
    ]


def bits(x):
    return 8 * x.dtype.itemsize


def shift(function):
    """`function(x, places, bits)` of Python integers; nothing but its own result counts."""

    def over_elements(x, y):
        return loop(lambda a, b: function(a, b, bits(x)))(x, y)

    return over_elements


def left(x, places, width):
    return x << places if 0 <= places < width else 0


def right(x, places, width):
    return (x % 2**width) >> places if 0 <= places < width else 0


def right_with_sign(x, places, width):
    signed = x - 2**width if x >= 2 ** (width - 1) else x
    return signed >> (places if 0 <= places < width else width - 1)


def shifts(primitive, function):
    places = [0, 1, 7, 8, 31, 32, 33, 63, 64, 100]
    cases = binary(primitive, shift(function), x=(-90, 90), y=(0, 9), dtypes=INTEGERS)
    for dtype in (*INTEGERS, "int8", "uint64"):
        ends = np.iinfo(dtype)
        more = [-1, -64] if ends.min < 0 else [255]
        xs = np.array([ends.min, ends.max, 5, 0, ends.max // 3], dtype)
        x, y = np.meshgrid(xs, np.array(places + more, dtype))
        operands = tuple(Operand(v.shape, values=v) for v in (x, y))
        cases.append(Case(primitive, operands, shift(function), dtypes=(dtype,), label="ends"))
    return cases


def counts(primitive, function):
    """`function` of the bits of each number, as text."""

    def reference(x):
        width = bits(x)
        return loop(lambda a: function(f"{a % 2**width:0{width}b}"))(x)

    cases = unary(primitive, reference, low=-90, high=90, dtypes=INTEGERS)
    for dtype in (*INTEGERS, "int8", "uint16", "uint64"):
        ends = np.iinfo(dtype)
        values = np.array([ends.min, ends.max, 0, 1, 100, ends.max // 3], dtype)
        operand = Operand(values.shape, values=values)
        cases.append(Case(primitive, (operand,), reference, dtypes=(dtype,), label="ends"))
    return cases


def chosen(which, *cases):
    """By indexing in a loop."""
    out = np.empty_like(cases[0])
    which = np.broadcast_to(which, out.shape)
    for i in np.ndindex(out.shape):
        out[i] = cases[int(which[i])][i]
    return out


def selections():
    def case(which, shape, count, dtypes=ALL, label=""):
        operands = (which, *[Operand(shape) for _ in range(count)])
        return Case(ops.SelectN(), operands, chosen, dtypes=dtypes, label=label)

    third = Operand((2, 3), dtype="int32", low=0, high=2)
    return [
        case(Operand((2, 3), dtype="bool"), (2, 3), 2),
        case(Operand((), dtype="bool"), (2, 3), 2),
        case(Operand((), dtype="bool"), (), 2),
        case(Operand((0, 2), dtype="bool"), (0, 2), 2),
        case(Operand((2, 3), dtype="int32", low=0, high=1), (2, 3), 2, label="integer"),
        case(third, (2, 3), 3),
        case(Operand((), dtype="int32", low=0, high=2), (4,), 3),
        case(Operand((3,), dtype="int32", values=[0, 0, 0]), (3,), 1),
    ]


CASES = [
    *relations(ops.Eq(), operator.eq, ALL),
    *relations(ops.Ne(), operator.ne, ALL),
    *relations(ops.Lt(), operator.lt, (*REALS, "bool")),
    *relations(ops.Le(), operator.le, (*REALS, "bool")),
    *relations(ops.Gt(), operator.gt, (*REALS, "bool")),
    *relations(ops.Ge(), operator.ge, (*REALS, "bool")),
    *binary(ops.And(), loop(operator.and_), x=(-90, 90), y=(-90, 90), dtypes=BITS),
    *binary(ops.Or(), loop(operator.or_), x=(-90, 90), y=(-90, 90), dtypes=BITS),
    *binary(ops.Xor(), loop(operator.xor), x=(-90, 90), y=(-90, 90), dtypes=BITS),
    *unary(ops.Not(), loop(operator.invert), low=-90, high=90, dtypes=INTEGERS),
    *unary(ops.Not(), loop(operator.not_), dtypes=BOOL),
    *shifts(ops.ShiftLeft(), left),
    *shifts(ops.ShiftRightArithmetic(), right_with_sign),
    *shifts(ops.ShiftRightLogical(), right),
    *counts(ops.PopulationCount(), lambda text: text.count("1")),
    *counts(ops.Clz(), lambda text: len(text) - len(text.lstrip("0"))),
    *selections(),
]

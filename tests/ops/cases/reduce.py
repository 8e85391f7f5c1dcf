import functools
import itertools
import math

import numpy as np

from fstensor import dtypes
from fstensor.ops import reduce as ops
from tests.ops.harness import (
    ALL,
    BOOL,
    FLOATS,
    HALVES,
    INEXACT,
    INTEGERS,
    NUMBERS,
    REALS,
    Case,
    Operand,
)

INF, NAN = np.inf, np.nan
REDUCED = [((2, 3), (0,)), ((2, 3, 4), (1,)), ((2, 3, 4), (0, 2)), ((3, 2), (1, 0)), ((5,), (0,))]
EMPTY = [((0, 3), (0,)), ((0, 3), (1,)), ((2, 0), (0, 1))]


def fold(combine, start):
    """A reduction element by element."""

    def over(axes):
        def reference(x):
            kept = [n for i, n in enumerate(x.shape) if i not in axes]
            count = math.prod(x.shape[a] for a in axes)
            rows = np.moveaxis(x, axes, range(len(axes))).reshape(count, *kept)
            out = np.full(kept, start, x.dtype)
            return functools.reduce(lambda a, b: combine(a, b).astype(x.dtype), rows, out)

        return reference

    return over


def by_search(better):
    """The first index whose element no other one beats; NaN beats all."""

    def over(axis):
        def reference(x):
            x = np.moveaxis(x.astype(np.float64), axis, -1)
            out = np.zeros(x.shape[:-1], int)
            for place in itertools.product(*map(range, out.shape)):
                row = x[place].tolist()
                out[place] = next((i for i, v in enumerate(row) if v != v), row.index(better(row)))
            return out

        return reference

    return over


def cases(cls, over, shapes, kinds, **operand):
    return [
        Case(
            cls(axes),
            (Operand(shape, **operand),),
            over(axes),
            dtypes=kinds,
            label=f"axes={axes}".replace(" ", ""),
        )
        for shape, axes in shapes
    ]


def fixed(primitive, reference, values, kinds=FLOATS, label="edges"):
    values = np.array(values)
    return Case(
        primitive,
        (Operand(values.shape, values=values),),
        reference,
        dtypes=kinds,
        differentiable=False,
        label=label,
    )


def largest(axes):
    return lambda x: np.max(x, axes)


def smallest(axes):
    return lambda x: np.min(x, axes)


def argument(cls, over, axis, shape, index_dtype="int32", kinds=(*REALS, *BOOL)):
    return Case(
        cls((axis,), dtypes.canonical(index_dtype)),
        (Operand(shape, apart=True),),
        over(axis),
        dtypes=kinds,
        label=f"axis={axis}-{index_dtype}",
    )


ROWS = [[0.0, -0.0, 1.0, NAN], [INF, -INF, 1.0, 2.0], [NAN, 1.0, NAN, -INF], [-INF] * 4]
TIES = [[1.0, 3.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]

CASES = [
    *cases(ops.ReduceSum, fold(np.add, 0), [*REDUCED, *EMPTY], ALL),
    *cases(ops.ReduceProd, fold(np.multiply, 1), [*REDUCED, *EMPTY], ALL, low=-1.5, high=1.5),
    *cases(ops.ReduceMax, largest, [*REDUCED, ((0, 3), (1,))], (*REALS, *BOOL), apart=True),
    *cases(ops.ReduceMin, smallest, [*REDUCED, ((0, 3), (1,))], (*REALS, *BOOL), apart=True),
    *cases(
        ops.ReduceAnd, fold(np.bitwise_and, -1), [REDUCED[0]], ("int32", "int64"), low=0, high=9
    ),
    *cases(ops.ReduceAnd, fold(np.bitwise_and, True), [*REDUCED, *EMPTY], BOOL),
    *cases(ops.ReduceOr, fold(np.bitwise_or, 0), [*REDUCED, *EMPTY], (*INTEGERS, *BOOL)),
    *cases(ops.ReduceXor, fold(np.bitwise_xor, 0), [*REDUCED, *EMPTY], (*INTEGERS, *BOOL)),
    # Products with one zero and with several: the tangent must be finite and right.
    Case(
        ops.ReduceProd((0,)),
        (Operand((3, 4), values=[[0, 2, 0, 1.5], [3, 0, 0, 2], [1, 2, 0.5, 0.5]]),),
        lambda x: x[0] * x[1] * x[2],
        dtypes=INEXACT,
        label="zeros",
    ),
    fixed(ops.ReduceSum((1,)), lambda x: x[:, 0] + x[:, 1] + x[:, 2] + x[:, 3], ROWS),
    fixed(ops.ReduceProd((1,)), lambda x: x[:, 0] * x[:, 1] * x[:, 2] * x[:, 3], ROWS),
    fixed(ops.ReduceMax((1,)), lambda x: np.array([NAN, INF, NAN, -INF]), ROWS),
    fixed(ops.ReduceMin((1,)), lambda x: np.array([NAN, -INF, NAN, -INF]), ROWS),
    # Rounded once: in 16 bits 256 + 1 is 256, so that a running sum would stay there.
    fixed(ops.ReduceSum((0,)), lambda x: np.float32(512), np.ones(512), HALVES, "half"),
    fixed(ops.ReduceMax((0,)), lambda x: np.float32(2), [1.0, 2.0, -3.0], HALVES, "half"),
    argument(ops.ArgMax, by_search(max), 0, (4, 3)),
    argument(ops.ArgMax, by_search(max), 1, (2, 5, 3), "int64"),
    argument(ops.ArgMin, by_search(min), 0, (4, 3), "uint8"),
    argument(ops.ArgMin, by_search(min), 2, (2, 1, 3)),
    argument(ops.ArgMin, by_search(min), 1, (0, 3), kinds=NUMBERS[:2]),
    fixed(ops.ArgMax((1,), np.dtype("int32")), by_search(max)(1), ROWS),
    fixed(ops.ArgMin((1,), np.dtype("int32")), by_search(min)(1), ROWS),
    fixed(ops.ArgMax((1,), np.dtype("int32")), by_search(max)(1), TIES, (*REALS, *HALVES), "ties"),
    fixed(ops.ArgMin((1,), np.dtype("int32")), by_search(min)(1), TIES, (*REALS, *HALVES), "ties"),
]

import numpy as np

from fstensor.ops import cumulative as ops
from tests.ops.harness import FLOATS, HALVES, INEXACT, NUMBERS, REALS, Case, Operand

INF, NAN = np.inf, np.nan
# Lengths on both sides of powers of two, along each axis.
PLACES = [((3,), 0), ((4, 2), 0), ((2, 5), 1), ((2, 7, 2), 1), ((1, 2), 0), ((8,), 0)]
EMPTY = [((0, 3), 0), ((0, 3), 1)]


def loop(combine):
    """The result element by element."""

    def along(axis, reverse):
        def reference(x):
            rows = list(np.moveaxis(x, axis, 0))
            if reverse:
                rows.reverse()
            for i in range(1, len(rows)):
                rows[i] = np.asarray(combine(rows[i - 1], rows[i])).astype(x.dtype)
            if reverse:
                rows.reverse()
            return np.moveaxis(np.array(rows).reshape(np.moveaxis(x, axis, 0).shape), 0, axis)

        return reference

    return along


def cases(cls, combine, kinds, **operand):
    return [
        Case(
            cls(axis, reverse),
            (Operand(shape, **operand),),
            loop(combine)(axis, reverse),
            dtypes=kinds,
            label=f"axis={axis}{'-reverse' if reverse else ''}",
        )
        for shape, axis in [*PLACES, *EMPTY]
        for reverse in (False, True)
    ]


def fixed(cls, combine, values, kinds=FLOATS, label="edges", differentiable=False):
    return Case(
        cls(0, False),
        (Operand((len(values),), values=np.array(values)),),
        loop(combine)(0, False),
        dtypes=kinds,
        differentiable=differentiable,
        label=label,
    )


EDGES = [
    [1.0, INF, 2.0, -INF, 3.0],
    [-INF, -INF, 0.0, NAN, 1.0],
    [0.0, -0.0, INF, 0.0],
]

CASES = [
    *cases(ops.CumSum, np.add, NUMBERS),
    *cases(ops.CumProd, np.multiply, NUMBERS),
    *cases(ops.CumMax, np.maximum, REALS, apart=True),
    *cases(ops.CumMin, np.minimum, REALS, apart=True),
    *cases(ops.CumLogSumExp, np.logaddexp, FLOATS),
    *[fixed(ops.CumSum, np.add, e) for e in EDGES],
    *[fixed(ops.CumProd, np.multiply, e) for e in EDGES],
    *[fixed(ops.CumMax, np.maximum, e) for e in EDGES],
    *[fixed(ops.CumMin, np.minimum, e) for e in EDGES],
    *[fixed(ops.CumLogSumExp, np.logaddexp, e) for e in EDGES],
    fixed(ops.CumLogSumExp, np.logaddexp, [800.0, -800.0, 801.0], label="large"),
    fixed(ops.CumLogSumExp, np.logaddexp, [1.0, 1.0, 2.0, 1.0], label="ties", differentiable=True),
    fixed(
        ops.CumProd,
        np.multiply,
        [2.0, 0.0, 3.0, 0.0, 1.5],
        kinds=INEXACT,
        label="zeros",
        differentiable=True,
    ),
    Case(
        ops.CumSum(0, False),
        (Operand((512,), values=np.ones(512)),),
        lambda x: np.arange(1, 513, dtype=np.float32),
        dtypes=HALVES,
        differentiable=False,
        label="half",
    ),
]

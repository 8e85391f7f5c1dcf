import math

import numpy as np

from fstensor.ops.division import FloorDivide, Remainder
from tests.ops.harness import EDGES, FLOATS, INTEGERS, binary, halves, loop

APART = {"x": (0.5, 2.0), "y": (2.5, 4.0)}  # the quotient is 0 throughout, hence smooth


def quotient(x, y):
    return x // y if y else 0


def leftover(x, y):
    return x - y * quotient(x, y) if y else 0


CASES = [
    *binary(FloorDivide(), lambda x, y: np.floor(x / y), **APART, dtypes=FLOATS),
    *binary(FloorDivide(), loop(quotient), (-9, 9), (-3, 3), dtypes=INTEGERS),
    *binary(Remainder(), lambda x, y: x - y * np.floor(x / y), **APART, dtypes=FLOATS),
    *binary(
        Remainder(), lambda x, y: x - y * np.floor(x / y), (-2.9, -2.6), (1.4, 1.6), dtypes=FLOATS
    ),
    *binary(Remainder(), loop(leftover), (-9, 9), (-3, 3), dtypes=INTEGERS),
    *binary(
        Remainder(),
        np.vectorize(math.fmod, otypes=[float]),
        (0, 2),
        (2.5, 4),
        edges=([0.0, 1.5], [1.0, 4.0]),
    ),
    *halves(FloorDivide(), lambda x, y: np.floor(x / y), arity=2, low=1.0, high=4.0),
    *binary(
        FloorDivide(),
        np.floor_divide,
        **APART,
        edges=(EDGES, EDGES),
        dtypes=("float64",),
    )[-1:],
    *binary(Remainder(), np.remainder, **APART, edges=(EDGES, EDGES), dtypes=("float64",))[-1:],
]

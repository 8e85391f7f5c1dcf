import numpy as np
import scipy.special

from fstensor.ops.beta import RegularizedIncompleteBeta
from tests.ops.harness import HALVES, Case, Operand, wide

PRIMITIVE = RegularizedIncompleteBeta()
REASON = "a relative error of 1e-14 times the size of the exponent a log x + b log(1 - x)"
REFERENCE = wide(scipy.special.betainc)
CALM = Operand((2, 3), low=0.5, high=4.0)
INSIDE = Operand((2, 3), low=0.1, high=0.9)
POSITIVE = [0.0, 0.5, 2.0, 30.0, -1.0, np.nan]
POINTS = [0.0, 0.3, 1.0, -0.5, 1.5, np.nan]
A, B, X = (v.ravel() for v in np.meshgrid(POSITIVE[1:], POSITIVE[1:], POINTS))


def near(low, high):
    return Operand((30,), low=low, high=high)


# Derivatives in a and b do not exist; those in x are in tests/scipy/test_special.py.
VALUES = {"differentiable": False, "factor": 50, "reason": REASON}

CASES = [
    Case(PRIMITIVE, (CALM, CALM, INSIDE), REFERENCE, **VALUES),
    Case(PRIMITIVE, (Operand((2, 1), low=1, high=3), Operand((), low=1, high=3), INSIDE), REFERENCE,
         label="stretched", **VALUES),
    Case(PRIMITIVE, (Operand((), values=2.0), Operand((), values=1.5), Operand((), values=0.3)),
         REFERENCE, **VALUES),
    Case(PRIMITIVE, (Operand((0,)), Operand(()), Operand((0,))), REFERENCE, **VALUES),
    Case(PRIMITIVE, (CALM, CALM, INSIDE), REFERENCE, dtypes=HALVES, differentiable=False),
    Case(PRIMITIVE, tuple(Operand(v.shape, values=v) for v in (A, B, X)), REFERENCE,
         label="edges", **VALUES),
    *[
        Case(PRIMITIVE, (near(*a), near(*b), near(*x)), REFERENCE, label=f"{a}-{b}-{x}", **VALUES)
        for a, b, x in [
            ((0.02, 4.9), (0.02, 4.9), (0.01, 0.99)),
            ((0.1, 4.9), (5, 300), (0.001, 0.2)),
            ((5, 300), (0.1, 4.9), (0.8, 0.999)),
            ((5, 50), (0.1, 4.9), (0.2, 0.8)),
            ((5, 90), (5, 90), (0.1, 0.9)),
            ((900, 1000), (900, 1000), (0.46, 0.54)),
        ]
    ],
]  # fmt: skip

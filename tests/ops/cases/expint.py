import numpy as np
import scipy.special

from fstensor.ops import expint as ops
from tests.ops.cases.special import pieces
from tests.ops.harness import Case, Operand, halves, unary, wide

INTEGRATED = {"factor": 3, "reason": "the rounding of nodes of the Gauss-Legendre rule"}
POINTS = [0.0, 1.0, np.inf, np.nan, -1.0, 0.5]

CASES = [
    *unary(
        ops.Expi(),
        wide(scipy.special.expi),
        low=0.5,
        high=3.0,
        edges=[0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 40.0, 60.0],
        **INTEGRATED,
    ),
    *pieces(
        ops.Expi(), wide(scipy.special.expi), (0.2, 0.3), (-0.9, -0.2), (-9, -1), (38, 42),
        **INTEGRATED,
    ),
    *halves(ops.Expi(), scipy.special.expi, low=0.5, high=3.0),
    # Derivatives in the order do not exist; those in x are in tests/scipy/test_special.py.
    *[
        Case(
            ops.Expn(),
            (Operand((), values=float(n)), Operand((30,), low=low, high=high)),
            wide(lambda n, x: scipy.special.expn(n.astype(int), x)),
            differentiable=False,
            label=f"{n}-{low}",
            **INTEGRATED,
        )
        for n in (0, 1, 2, 5, 8, 30)
        for low, high in [(0.01, 0.99), (1.0, 4.0)]
    ],
    Case(
        ops.Expn(),
        (Operand((2, 1), values=[[1.0], [3.0]]), Operand((1, 6), values=[POINTS])),
        wide(lambda n, x: scipy.special.expn(n.astype(int), x)),
        differentiable=False,
        label="edges",
        **INTEGRATED,
    ),
    *halves(ops.Expn(), lambda n, x: scipy.special.expn(np.floor(n), x), arity=2, low=2, high=2),
]  # fmt: skip

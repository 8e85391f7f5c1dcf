import numpy as np
import scipy.special

from fstensor.ops import polygamma as ops
from tests.ops.cases.special import POLES, pieces
from tests.ops.harness import Case, Operand, binary, halves, unary, wide


def digamma(x):
    """SciPy's, with NaN at 0 as at the other poles."""
    return np.where(x == 0, np.nan, scipy.special.digamma(x))


CASES = [
    *unary(ops.Digamma(), wide(digamma), low=0.5, high=4.0, edges=[*POLES, -np.inf]),
    *pieces(ops.Digamma(), wide(digamma), (0.1, 1), (1, 2), (2.5, 12), (50, 500)),
    *pieces(ops.Digamma(), wide(digamma), (-0.8, -0.2), (-7.8, -7.2)),
    *halves(ops.Digamma(), scipy.special.digamma, low=2.0, high=12.0),
    # Derivatives in the order of the function do not exist, so only the other operand varies.
    *binary(
        ops.Zeta(), wide(scipy.special.zeta), x=(1.5, 5.0), y=(0.5, 20.0), differentiable=False
    ),
    Case(
        ops.Zeta(),
        (
            Operand((8,), values=[1.0, 0.5, 2.0, 2.0, 3.0, 2.0, np.nan, 2.5]),
            Operand((8,), values=[2.0, 2.0, 0.0, -3.0, -2.5, np.nan, 1.0, -0.5]),
        ),
        wide(scipy.special.zeta),
        differentiable=False,
        label="edges",
    ),
    *[
        Case(
            ops.Polygamma(),
            (Operand((), values=float(m)), Operand((2, 3), low=0.5, high=12.0)),
            wide(lambda m, x: scipy.special.polygamma(m.astype(int), x)),
            differentiable=False,
            label=f"order {m}",
        )
        for m in (0, 1, 2, 4)
    ],
    *halves(ops.Zeta(), scipy.special.zeta, arity=2, low=1.5, high=4.0),
]

import math

import numpy as np
import scipy.special

from fstensor.ops import special as ops
from tests.ops.harness import EDGES, Case, Operand, halves, unary, wide


def in_loop(function):
    """`function` of Python floats in a loop; also for an empty array."""
    return wide(np.vectorize(function, otypes=[np.float64]))


def pieces(primitive, reference, *ranges, **options):
    """A case for each range, so that small values are not judged by the scale of large ones."""
    return [
        Case(primitive, (Operand((40,), low=a, high=b),), reference, label=f"{a}-{b}", **options)
        for a, b in ranges
    ]


POLES = [0.0, -0.0, -1.0, -2.0, 1.0, 2.0, np.inf, np.nan]

CASES = [
    *unary(ops.Erf(), in_loop(math.erf), edges=[*EDGES, 0.46875, 4.0, 30.0, -30.0]),
    *pieces(ops.Erf(), in_loop(math.erf), (-1e-6, 1e-6), (-0.47, 0.47), (0.46, 4.1), (-6, -3.5)),
    *halves(ops.Erf(), scipy.special.erf),
    *unary(ops.Erfc(), in_loop(math.erfc), edges=[*EDGES, 0.46875, 4.0, 30.0, -30.0]),
    *pieces(ops.Erfc(), in_loop(math.erfc), (-4.5, 0.5), (0.4, 1), (1, 2), (3.9, 4.2), (8, 8.5)),
    *halves(ops.Erfc(), scipy.special.erfc),
    *unary(
        ops.ErfInv(),
        wide(scipy.special.erfinv),
        low=-0.9,
        high=0.9,
        edges=[0.0, 1.0, -1.0, 1.5, -np.inf, np.nan, 0.85, 0.999999, -0.99],
    ),
    *pieces(ops.ErfInv(), wide(scipy.special.erfinv), (-1e-6, 1e-6), (-0.86, 0.86), (0.84, 0.95)),
    *pieces(
        ops.ErfInv(),
        wide(scipy.special.erfinv),
        (0.9, 0.999),
        (1 - 1e-12, 1 - 1e-15),
        dtypes=("float64",),
        differentiable=False,
    ),
    *halves(ops.ErfInv(), scipy.special.erfinv, low=-0.9, high=0.9),
    *unary(ops.Erfcx(), wide(scipy.special.erfcx), edges=[*EDGES, 0.46875, 4.0, 30.0, 1e5, -9.0]),
    *pieces(ops.Erfcx(), wide(scipy.special.erfcx), (0.4, 0.6), (0.46, 4.1), (3.5, 60)),
    *halves(ops.Erfcx(), scipy.special.erfcx),
    *unary(ops.LogNdtr(), wide(scipy.special.log_ndtr), edges=[*EDGES, 40.0, -1e5]),
    *pieces(ops.LogNdtr(), wide(scipy.special.log_ndtr), (-80, -20), (-5, -1), (1, 5)),
    *halves(ops.LogNdtr(), scipy.special.log_ndtr),
    *unary(
        ops.Ndtri(),
        wide(scipy.special.ndtri),
        low=0.1,
        high=0.9,
        edges=[0.0, 1.0, 0.5, 1e-30, -1.0, 1.5, np.nan, 1e-12],
    ),
    *pieces(ops.Ndtri(), wide(scipy.special.ndtri), (0.05, 0.08), (0.92, 0.95)),
    *halves(ops.Ndtri(), scipy.special.ndtri, low=0.1, high=0.9),
    *unary(ops.Lgamma(), wide(scipy.special.gammaln), low=0.5, high=4.0, edges=POLES),
    *pieces(ops.Lgamma(), wide(scipy.special.gammaln), (1e-6, 1), (0.9, 1.1), (1.8, 2.2), (3, 12)),
    *pieces(ops.Lgamma(), wide(scipy.special.gammaln), (-0.8, -0.2), (-7.8, -7.2), (50, 500)),
    *halves(ops.Lgamma(), scipy.special.gammaln, low=0.5, high=12.0),
    *unary(
        ops.Gamma(),
        wide(scipy.special.gamma),
        low=0.5,
        high=4.0,
        edges=[0.0, -0.0, -1.0, -20.0, 1.0, 34.0, 200.0, np.inf, -np.inf, np.nan],
    ),
    *pieces(ops.Gamma(), wide(scipy.special.gamma), (0.05, 1), (3, 9.9), (10, 12)),
    *pieces(ops.Gamma(), wide(scipy.special.gamma), (-0.8, -0.2), (-7.8, -7.2)),
    *pieces(
        ops.Gamma(),
        wide(scipy.special.gamma),
        (100, 102),
        (-20.8, -20.2),
        dtypes=("float64",),
        factor=10,
        reason="SciPy's own error grows with the exponent",
        differentiable=False,  # finite differences too lose digits
    ),
    *halves(ops.Gamma(), scipy.special.gamma, low=0.5, high=4.0),
    *unary(ops.Ndtr(), wide(scipy.special.ndtr), edges=[*EDGES, 0.67, 40.0, -40.0]),
    *pieces(ops.Ndtr(), wide(scipy.special.ndtr), (-0.7, 0.7), (-4, -0.6), (0.6, 4)),
    *pieces(
        ops.Ndtr(),
        wide(scipy.special.ndtr),
        (-12, -11.8),
        differentiable=False,
        factor=10,
        reason="SciPy's own error grows like x^2",
    ),
    *halves(ops.Ndtr(), scipy.special.ndtr),
]

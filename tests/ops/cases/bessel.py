import scipy.special

from fstensor.ops import bessel as ops
from tests.ops.cases.special import pieces
from tests.ops.harness import EDGES, halves, unary, wide


def cases(primitive, reference):
    return [
        *unary(primitive, wide(reference), edges=[*EDGES[:4], EDGES[-1], 20.0, -20.0, 1e30]),
        *pieces(primitive, wide(reference), (1e-4, 1e-3), (-9, 9), (8, 22), (-500, -50)),
        *halves(primitive, reference),
    ]


def unscaled(primitive, reference):
    return [
        *unary(primitive, wide(reference), edges=[*EDGES[:4], EDGES[-1], 8.0, -20.0]),
        *pieces(primitive, wide(reference), (1e-4, 1e-3), (-9, 9), (8, 22)),
        *pieces(
            primitive,
            wide(reference),
            (690, 708),
            dtypes=("float64",),
            differentiable=False,  # differences overflow
            factor=10,
            reason="SciPy's own error where exp(x / 2) is squared",
        ),
        *halves(primitive, reference),
    ]


CASES = [
    *cases(ops.BesselI0e(), scipy.special.i0e),
    *cases(ops.BesselI1e(), scipy.special.i1e),
    *unscaled(ops.BesselI0(), scipy.special.i0),
    *unscaled(ops.BesselI1(), scipy.special.i1),
]

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


CASES = [*cases(ops.BesselI0e(), scipy.special.i0e), *cases(ops.BesselI1e(), scipy.special.i1e)]

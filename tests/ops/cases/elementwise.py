import numpy as np

from fstensor.ops import elementwise as ops
from tests.ops.harness import ALL, INEXACT, NUMBERS, REALS, binary, unary

INF, NAN = np.inf, np.nan


def truncated_quotient(x, y):
    if x.dtype.kind not in "iu":
        return np.divide(x, y)
    return np.trunc(x.astype(np.float64) / y.astype(np.float64)).astype(x.dtype)


CASES = [
    *binary(ops.AddAny(), np.add, dtypes=ALL),
    *binary(ops.Add(), np.add, dtypes=ALL, edges=([0.0, -0.0, INF, NAN], [0.0, -0.0, -INF])),
    *binary(ops.Sub(), np.subtract, dtypes=NUMBERS, edges=([0.0, INF], [0.0, INF, NAN])),
    *binary(ops.Mul(), np.multiply, dtypes=ALL, edges=([0.0, INF, -1.0], [-0.0, 0.0, NAN])),
    *binary(ops.Div(), truncated_quotient, y=(1.0, 3.0), dtypes=NUMBERS),
    *unary(ops.Neg(), np.negative, dtypes=NUMBERS, edges=[0.0, -0.0, INF, NAN]),
    *unary(ops.Abs(), np.abs, dtypes=NUMBERS, edges=[0.0, -0.0, -INF, NAN]),
    *unary(ops.Sign(), np.sign, dtypes=REALS, edges=[0.0, -0.0, -INF, NAN]),
    *unary(ops.IntegerPow(3), lambda x: x * x * x, dtypes=NUMBERS),
    *unary(ops.IntegerPow(-2), lambda x: 1 / (x * x), low=0.5, dtypes=INEXACT),
    *unary(ops.IntegerPow(0), np.ones_like, dtypes=NUMBERS, edges=[0.0, NAN, INF]),
]

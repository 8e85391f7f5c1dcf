import scipy.special

from fstensor.ops import xlogy as ops
from tests.ops.harness import INEXACT, binary

POINTS = ([0.0, -0.0, 1.0, -1.0, float("nan")], [0.0, 0.5, -1.0, float("inf"), float("nan")])

CASES = [
    *binary(ops.XLogY(), scipy.special.xlogy, y=(0.5, 3.0), edges=POINTS, dtypes=INEXACT),
    *binary(ops.XLog1PY(), scipy.special.xlog1py, y=(-0.5, 3.0), edges=POINTS),
]

import numpy as np
import scipy.special

from fstensor.ops.dilogarithm import Spence
from tests.ops.cases.elementwise import EDGES
from tests.ops.harness import halves, unary, wide


def spence(x):
    """SciPy's, with the limit at infinity, where that is NaN."""
    return np.where(x == np.inf, -np.inf, scipy.special.spence(x))


CASES = [
    *unary(Spence(), wide(spence), low=0.05, high=0.5, edges=[*EDGES, 0.5, 2.0, 1e9]),
    *unary(Spence(), wide(spence), low=0.5, high=2.0),
    *unary(Spence(), wide(spence), low=2.0, high=30.0),
    *unary(Spence(), wide(spence), low=0.97, high=1.03, label="near-1"),
    *halves(Spence(), spence, low=0.1, high=6.0),
]

import numpy as np

from fstensor.ops.pinv import Pinv
from tests.ops.cases.linalg import cramer, each
from tests.ops.harness import Case, Operand

ROUNDINGS = {"factor": 200, "reason": "the condition number is squared in the reference"}
# The dtypes of matrices beside those of rtol.
PRECISIONS = [("float32", ("float32", "complex64")), ("float64", ("float64", "complex128"))]
SHAPES = [(3, 3), (4, 2), (2, 4), (1, 1), (2, 3, 2), (2, 1, 2, 3), (0, 3, 2)]


class Spread(Operand):
    """Random matrices whose singular values are within a factor of 10."""

    def make(self, rng, dtype):
        x = super().make(rng, dtype)
        return (x + 3 * np.eye(*self.shape[-2:])).astype(x.dtype)


def by_normal_equations(a, rtol):
    h = a.conj().T
    if a.shape[0] < a.shape[1]:
        return cramer(a @ h, a).conj().T
    return cramer(h @ a, h)


def hermitian_inverse(a, rtol):
    low = np.tril(a, -1)
    full = low + low.conj().T + np.diag(np.diag(a).real)
    return cramer(full, np.eye(len(a), dtype=a.dtype))


def tolerance(shape, real, value=1e-3):
    return Operand(shape[:-2], dtype=real, values=np.full(shape[:-2], value))


def fixed(values, reference, rtol=1e-3, hermitian=False):
    values = np.array(values)
    return [
        Case(
            Pinv(hermitian),
            (Operand(values.shape, values=values), tolerance(values.shape, real, rtol)),
            reference,
            dtypes,
            differentiable=False,
            label="edges",
        )
        for real, dtypes in PRECISIONS
    ]


CASES = [
    *[
        Case(
            Pinv(False), (Spread(s, low=-1, high=1), tolerance(s, real)),
            each(by_normal_equations), dtypes, **ROUNDINGS,
        )
        for s in SHAPES for real, dtypes in PRECISIONS
    ],
    *[
        Case(
            Pinv(True), (Spread(s, low=-1, high=1), tolerance(s, real)), each(hermitian_inverse),
            dtypes, **ROUNDINGS,
        )
        for s in [(3, 3), (2, 2, 2), (0, 2, 2)] for real, dtypes in PRECISIONS
    ],
    *fixed(np.ones((2, 3)), lambda a, r: np.full((3, 2), 1 / 6)),
    *fixed(np.zeros((2, 3)), lambda a, r: np.zeros((3, 2))),
    *fixed(np.zeros((0, 3)), lambda a, r: np.zeros((3, 0))),
    *fixed(np.zeros((2, 3, 0)), lambda a, r: np.zeros((2, 0, 3))),
    *fixed(np.diag([8, 4, 0.5]), lambda a, r: np.diag([0.125, 0.25, 0]), rtol=0.1),
    *fixed(np.diag([-8, 4, 0.5]), lambda a, r: np.diag([-0.125, 0.25, 0]), 0.1, hermitian=True),
    *fixed([[1, np.nan], [0, 1]], lambda a, r: np.full((2, 2), np.nan)),
    *fixed([[np.nan, 0], [0, 1]], lambda a, r: np.full((2, 2), np.nan), hermitian=True),
]  # fmt: skip

import numpy as np
import scipy.linalg

from fstensor.ops.sqrtm import Sqrtm, SquareRootTangent
from tests.ops.cases.linalg import ROUNDINGS, SHAPES, each, matrices
from tests.ops.harness import INEXACT, Case, Operand


def hermitian(a):
    low = np.tril(a, -1)
    return low + low.conj().T + np.diag(np.diag(a).real)


def edge(values, expected):
    operand = Operand(np.shape(values), values=np.array(values))
    return Case(
        Sqrtm(), (operand,), lambda a: expected, INEXACT, differentiable=False, label="edges"
    )


CASES = [
    *[
        Case(
            Sqrtm(), (matrices(s),), each(lambda a: scipy.linalg.sqrtm(hermitian(a))), INEXACT,
            **ROUNDINGS,
        )
        for s in SHAPES if 0 not in s
    ],
    *[
        Case(
            SquareRootTangent(), (matrices(s), Operand(s)),
            each(lambda s, b: scipy.linalg.solve_sylvester(hermitian(s), hermitian(s), b)), INEXACT,
            **ROUNDINGS,
        )
        for s in SHAPES if 0 not in s
    ],
    *[Case(Sqrtm(), (Operand(s),), np.zeros_like, INEXACT) for s in SHAPES if 0 in s],
    *[
        Case(SquareRootTangent(), (Operand(s),) * 2, lambda s, b: b, INEXACT)
        for s in SHAPES if 0 in s
    ],
    # Derivatives hold at equal eigenvalues, to any order.
    Case(
        Sqrtm(), (Operand((3, 3), values=4 * np.eye(3)),), lambda a: 2 * np.eye(3), INEXACT,
        label="equal eigenvalues",
    ),
    edge([[0.0, 9.0], [0.0, 4.0]], np.diag([0.0, 2.0])),
    edge(np.ones((2, 2)), np.full((2, 2), np.sqrt(0.5))),
    edge(np.zeros((2, 2)), np.zeros((2, 2))),
    edge([[-1.0, 0.0], [0.0, 4.0]], np.full((2, 2), np.nan)),
    edge([[np.nan, 0.0], [0.0, 4.0]], np.full((2, 2), np.nan)),
]  # fmt: skip

import numpy as np

from fstensor.ops.tridiagonal import TridiagonalSolve
from tests.ops.harness import INEXACT, Case, Operand

ROUNDINGS = {"factor": 40, "reason": "elimination in n steps amplifies by the condition number"}
SOLVE = TridiagonalSolve()


def dense(dl, d, du, b):
    """By the matrices with all their zeros, in double precision."""
    m = d.shape[-1]
    wide = np.result_type(d, np.float64)
    a = np.zeros((*d.shape, m), wide)
    i = np.arange(m)
    a[..., i, i] = d
    a[..., i[1:], i[:-1]] = dl[..., 1:]
    a[..., i[:-1], i[1:]] = du[..., :-1]
    return np.linalg.solve(a, b.astype(wide))


def case(shape, n, diagonal, label=""):
    """A dominant diagonal needs no pivots; with a small one rows are swapped."""
    low, high = diagonal
    operands = (
        Operand(shape, low=1.0, high=2.0),
        Operand(shape, low=low, high=high),
        Operand(shape, low=1.0, high=2.0),
        Operand((*shape, n)),
    )
    return Case(SOLVE, operands, dense, dtypes=INEXACT, label=label, **ROUNDINGS)


def edge(dl, d, du, b, expected):
    operands = tuple(Operand(np.shape(v), values=np.array(v)) for v in (dl, d, du, b))
    return Case(
        SOLVE,
        operands,
        lambda *xs: np.array(expected),
        dtypes=INEXACT,
        differentiable=False,
        label="edges",
    )


NAN, INF = np.nan, np.inf

CASES = [
    *[
        case(shape, n, (5.0, 6.0))
        for shape, n in [
            ((5,), 2),
            ((2, 3), 1),
            ((2, 1, 4), 3),
            ((1,), 2),
            ((2,), 2),
            ((0,), 2),
            ((3,), 0),
            ((0, 3), 2),
        ]
    ],
    *[case(shape, 2, (-0.3, 0.3), "swaps") for shape in [(2,), (4,), (3, 6)]],
    # What is not read may be anything.
    edge([NAN, 1.0], [2.0, 2.0], [1.0, INF], [[3.0], [3.0]], [[1], [1]]),
    edge([0.0, 1.0], [0.0, 0.0], [2.0, 0.0], [[2.0], [3.0]], [[3], [1]]),
    # One matrix of a stack that is singular, or not finite, leaves the others alone.
    edge(
        np.zeros((3, 2)),
        [[1.0, 2.0], [0.0, 1.0], [4.0, 1.0]],
        np.zeros((3, 2)),
        np.ones((3, 2, 1)),
        [[[1], [0.5]], [[NAN], [NAN]], [[0.25], [1]]],
    ),
    edge(
        np.zeros((3, 2)),
        [[1.0, 2.0], [NAN, 1.0], [4.0, 1.0]],
        np.zeros((3, 2)),
        np.ones((3, 2, 1)),
        [[[1], [0.5]], [[NAN], [NAN]], [[0.25], [1]]],
    ),
]

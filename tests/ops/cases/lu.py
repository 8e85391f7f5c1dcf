import numpy as np
import scipy.linalg

from fstensor.ops.lu import Lu, LuPivotsToPermutation
from tests.ops.cases.linalg import ROUNDINGS, SHAPES, Dominant
from tests.ops.harness import INEXACT, Case, Operand

TALL_AND_WIDE = [(4, 2), (2, 4), (2, 3, 2), (1, 3), (3, 1), (0, 2, 3), (0, 2), (2, 0)]
BLOCKS = [(70, 70), (40, 70), (2, 70, 40)]


def swapped(pivots, size):
    order = list(range(size))
    for j, p in enumerate(pivots):
        order[j], order[p] = order[p], order[j]
    return np.array(order, np.int32)


def over_stacks(function, x, ndim, *outs):
    """`function` of each matrix (ndim 2) or vector; results of the given shapes and dtypes."""
    batch = x.shape[: x.ndim - ndim]
    outs = [np.zeros((*batch, *end), dtype) for end, dtype in outs]
    for i in np.ndindex(batch):
        for out, result in zip(outs, function(x[i]), strict=True):
            out[i] = result
    return outs


def by_lapack(x):
    def single(a):
        if not a.size:
            return a, np.arange(min(a.shape)), np.arange(len(a))
        factors, pivots = scipy.linalg.lu_factor(a, check_finite=False)
        return factors, pivots, swapped(pivots, len(a))

    m, n = x.shape[-2:]
    wide = x.astype(np.result_type(x, np.float64))
    return over_stacks(
        single, wide, 2, ((m, n), wide.dtype), ((min(m, n),), np.int32), ((m,), np.int32)
    )


def permutations(size):
    def reference(pivots):
        def single(p):
            return (swapped(p, size),)

        return over_stacks(single, pivots, 1, ((size,), np.int32))[0]

    return reference


def matrices(shape):
    return Operand(shape, low=-1.0, high=1.0)


def edge(values, *expected):
    operand = Operand(np.shape(values), values=np.array(values))
    return Case(
        Lu(),
        (operand,),
        lambda a: [np.array(e) for e in expected],
        dtypes=INEXACT,
        differentiable=False,
        label="edges",
    )


PIVOTS = [([2, 3, 2], 4), ([[1, 1], [0, 1], [2, 2]], 3), ([], 2), (np.zeros((0, 2)), 2)]

CASES = [
    *[
        Case(Lu(), (matrices(s),), by_lapack, dtypes=INEXACT, **ROUNDINGS)
        for s in SHAPES + TALL_AND_WIDE
    ],
    *[
        Case(Lu(), (Operand(s),), by_lapack, INEXACT, False, label="blocks", factor=2000,
             reason="random matrices of this size have condition numbers near 1000")
        for s in BLOCKS
    ],
    Case(
        Lu(),
        (Dominant((70, 70), low=-1.0, high=1.0),),
        by_lapack,
        dtypes=INEXACT,
        label="dominant",
        **ROUNDINGS,
    ),
    edge([[1.0, 2.0], [2.0, 4.0]], [[2, 4], [0.5, 0]], [1, 1], [1, 0]),
    edge(np.zeros((3, 2)), np.zeros((3, 2)), [0, 1], [0, 1, 2]),
    edge([[1.0, np.inf], [2.0, 1.0]], [[2, 1], [0.5, np.inf]], [1, 1], [1, 0]),
    edge(
        [[[1.0, np.nan], [0.0, 4.0]], [[2.0, 0.0], [0.0, 3.0]]],
        [[[1, np.nan], [0, np.nan]], [[2, 0], [0, 3]]],
        [[0, 1], [0, 1]],
        [[0, 1], [0, 1]],
    ),
    *[
        Case(
            LuPivotsToPermutation(size),
            (Operand(np.shape(values), values=np.array(values)),),
            permutations(size),
            dtypes=("int32",),
        )
        for values, size in PIVOTS
    ],
]  # fmt: skip

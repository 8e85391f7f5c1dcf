import itertools

import numpy as np

from fstensor.ops.linalg import Adjugate, Cholesky, Det, Slogdet, Solve, TriangularSolve
from tests.ops.harness import FLOATS, INEXACT, Case, Operand

SHAPES = [(3, 3), (1, 1), (2, 4, 4), (2, 1, 3, 3), (0, 3, 3), (0, 0), (2, 0, 0)]
ROUNDINGS = {"factor": 40, "reason": "elimination in n steps amplifies by the condition number"}


class Shifted(Operand):
    """Random matrices plus a multiple of the identity, which makes them well conditioned.

    With four times the identity, matrices whose lower triangle is read are positive definite.
    """

    def make(self, rng, dtype):
        x = super().make(rng, dtype)
        return (x + 4 * np.eye(*self.shape[-2:])).astype(x.dtype)


class Dominant(Operand):
    """Random matrices with a dominant diagonal, for sizes that are eliminated in blocks."""

    def make(self, rng, dtype):
        x = super().make(rng, dtype)
        n = self.shape[-1]
        return (x / n + np.eye(n)).astype(x.dtype)


def matrices(shape, bound=1.0):
    return Shifted(shape, low=-bound, high=bound)


def each(function):
    """`function` of single matrices in double precision, over the leading axes."""

    def over_stacks(*stacks):
        wide = np.result_type(stacks[0].dtype, np.float64)
        batch = stacks[0].shape[:-2]
        found = [function(*[s[i].astype(wide) for s in stacks]) for i in np.ndindex(batch)]
        if not found:
            found = [function(*[np.ones(s.shape[-2:], wide) for s in stacks])]
            pick = slice(0, 0)
        else:
            pick = slice(None)
        parts = found if isinstance(found[0], tuple) else [(f,) for f in found]
        outs = [
            np.stack(p)[pick].reshape((*batch, *np.shape(p[0]))) for p in zip(*parts, strict=True)
        ]
        return outs if isinstance(found[0], tuple) else outs[0]

    return over_stacks


def minor(a, i, j):
    return np.delete(np.delete(a, i, 0), j, 1)


def laplace(a):
    """The determinant by expansion along the first row."""
    if not len(a):
        return a.dtype.type(1)
    return sum((-1) ** j * a[0, j] * laplace(minor(a, 0, j)) for j in range(len(a)))


def cofactors(a):
    out = np.zeros_like(a)
    for i, j in np.ndindex(a.shape):
        out[j, i] = (-1) ** (i + j) * laplace(minor(a, i, j))
    return out


def cramer(a, b):
    return cofactors(a) @ b / laplace(a)


def sign_and_logarithm(a):
    d = laplace(a)
    return d / abs(d), np.log(abs(d))


def rows_of_cholesky(a):
    """Row by row, from the lower triangle."""
    low = np.zeros_like(a)
    for i in range(len(a)):
        for j in range(i):
            low[i, j] = (a[i, j] - low[i, :j] @ low[j, :j].conj()) / low[j, j]
        low[i, i] = np.sqrt(a[i, i].real - np.sum(np.abs(low[i, :i]) ** 2))
    return low


def triangular(p):
    def reference(a, b):
        t = np.tril(a) if p.lower else np.triu(a)
        if p.unit_diagonal:
            t = t - np.diag(np.diag(t)) + np.eye(len(t))
        t = t.T if p.transpose_a else t
        t = t.conj() if p.conjugate_a else t
        return cramer(t, b) if p.left_side else cramer(t.T, b.T).T

    return each(reference)


def triangular_case(p, a, b, dtypes=INEXACT):
    label = "".join("01"[flag] for flag in p.params.values())
    return Case(
        p, (matrices(a), Operand(b)), triangular(p), dtypes=dtypes, label=label, **ROUNDINGS
    )


OPTIONS = [TriangularSolve(*flags) for flags in itertools.product((False, True), repeat=5)]
# conjugate_a, left_side, lower, transpose_a, unit_diagonal
PLAIN_RIGHT = TriangularSolve(False, False, False, False, False)
PLAIN_LEFT = TriangularSolve(False, True, True, False, False)


def edge(primitive, values, reference, *more, dtypes=INEXACT):
    operands = [Operand(np.shape(v), values=np.array(v)) for v in (values, *more)]
    return Case(
        primitive, tuple(operands), reference, dtypes=dtypes, differentiable=False, label="edges"
    )


SINGULAR_AND_FINE = [[[1.0, 2.0], [2.0, 4.0]], [[2.0, 0.0], [0.0, 1.0]]]
NAN = np.full((2, 2), np.nan)

CASES = [
    *[triangular_case(p, (3, 3), (3, 3), ("float64", "complex128")) for p in OPTIONS],
    triangular_case(PLAIN_LEFT, (3, 3), (3, 2)),
    triangular_case(PLAIN_RIGHT, (3, 3), (2, 3)),
    triangular_case(PLAIN_LEFT, (2, 4, 4), (2, 4, 1)),
    triangular_case(PLAIN_RIGHT, (0, 3, 3), (0, 2, 3)),
    triangular_case(PLAIN_LEFT, (0, 0), (0, 2)),
    *[
        Case(
            PLAIN_LEFT,
            (Dominant((*batch, 70, 70), low=-1.0, high=1.0), Operand((*batch, 70, 2))),
            lambda a, b: np.linalg.solve(np.tril(a), b),
            dtypes=INEXACT,
            label="blocks",
            **ROUNDINGS,
        )
        for batch in [(), (2,)]
    ],
    edge(
        PLAIN_LEFT,
        [[0.0, 1], [1, 1]],
        lambda a, b: np.array([[np.inf, np.nan], [-np.inf, np.nan]]),
        np.eye(2),
        dtypes=FLOATS,
    ),
    edge(
        PLAIN_LEFT,
        [[2.0, np.nan], [np.inf, 1]],
        lambda a, b: np.array([[0.5, 0], [-np.inf, np.nan]]),
        np.eye(2),
        dtypes=FLOATS,
    ),
    *[
        Case(Solve(), (matrices(s), Operand((*s[:-1], 2))), each(cramer), INEXACT, **ROUNDINGS)
        for s in SHAPES
    ],
    Case(Solve(), (matrices((3, 3)), Operand((3, 0))), each(cramer), dtypes=INEXACT),
    edge(
        Solve(),
        SINGULAR_AND_FINE,
        lambda a, b: np.stack([NAN, [[0.5, 0], [0, 1]]]),
        np.stack([np.eye(2)] * 2),
    ),
    *[
        Case(Cholesky(), (matrices(s),), each(rows_of_cholesky), dtypes=INEXACT, **ROUNDINGS)
        for s in SHAPES
    ],
    edge(
        Cholesky(),
        [[[-1.0, 0], [0, 1]], [[4.0, 7], [0, 9]]],
        lambda a: np.stack([NAN, [[2, 0], [0, 3]]]),
    ),
    *[Case(Det(), (matrices(s),), each(laplace), dtypes=INEXACT, **ROUNDINGS) for s in SHAPES],
    Case(
        Det(),
        (Operand((3, 3), values=np.diag([2.0, 0.0, 3.0])),),
        lambda a: np.zeros(()),
        dtypes=INEXACT,
        label="singular",
    ),
    edge(Det(), [[1.0, np.nan], [0, 1]], lambda a: np.array(np.nan)),
    *[
        Case(Adjugate(), (matrices(s),), each(cofactors), dtypes=INEXACT, **ROUNDINGS)
        for s in SHAPES
    ],
    edge(Adjugate(), np.diag([2.0, 0, 3]), lambda a: np.diag([0.0, 6, 0])),
    edge(Adjugate(), np.zeros((3, 3)), np.zeros_like),
    edge(Adjugate(), [[1.0, np.nan], [0, 1]], lambda a: NAN),
    *[
        Case(Slogdet(), (matrices(s),), each(sign_and_logarithm), dtypes=INEXACT, **ROUNDINGS)
        for s in SHAPES
    ],
    edge(Slogdet(), np.zeros((2, 2)), lambda a: (np.zeros(()), np.array(-np.inf))),
]  # fmt: skip

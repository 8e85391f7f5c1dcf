"""Vectors are determined up to a factor of modulus 1 each: a sign for real ones.

The references find values and vectors by other algorithms than NumPy's, in double precision. Only
the factors, the one thing that is free, they take from NumPy's vectors.
"""

import numpy as np
import scipy.linalg

from fstensor.ops.decompositions import Eig, Eigh, Qr, Svd
from tests.ops.cases.linalg import NAN, SHAPES, each
from tests.ops.harness import COMPLEX, FLOATS, INEXACT, Case, Operand

ROUNDINGS = {"factor": 60, "reason": "vectors are perturbed by roundings over the gap of values"}
TALL_AND_WIDE = [(4, 2), (2, 4), (2, 3, 2), (1, 3), (0, 2, 3), (0, 2), (2, 0)]


class Apart(Operand):
    """Random matrices plus 4, 8, 12, ... on the diagonal, which keep the values apart."""

    def make(self, rng, dtype):
        x = super().make(rng, dtype)
        m, n = self.shape[-2:]
        return (x + np.eye(m, n) * 4 * np.arange(1, n + 1)).astype(x.dtype)


class Turning(Operand):
    """Real matrices with pairs of conjugate eigenvalues."""

    def make(self, rng, dtype):
        x = super().make(rng, dtype)
        pairs = np.kron(np.diag(np.arange(1, self.shape[-1] // 2 + 1)), [[1, 5], [-3, 1]])
        return (x + 2 * pairs).astype(x.dtype)


def matrices(shape):
    return Apart(shape, low=-1.0, high=1.0)


def along(found, factors_of):
    """Each column of `found` times the number of modulus 1 that turns it to the other column."""
    inner = np.sum(found.conj() * factors_of, 0)
    return found * np.where(inner == 0, 1, inner / np.where(inner == 0, 1, abs(inner)))


def by_qr_iteration(lower):
    def single(a):
        half = np.tril(a, -1) if lower else np.triu(a, 1).conj().T
        full = half + half.conj().T + np.diag(np.diag(a).real)
        if not len(a):
            return np.zeros((0, 0), a.dtype), np.zeros(0)
        values, vectors = scipy.linalg.eigh(full, driver="ev")
        return along(vectors, np.linalg.eigh(a, UPLO="L" if lower else "U")[1]), values

    return each(single)


def from_schur(vectors):
    """Eigenvalues from the Schur form, and vectors as null spaces, in NumPy's order."""

    def single(a):
        wide = np.result_type(a, np.complex128)
        if not len(a):
            return (np.zeros(0, wide), np.zeros((0, 0), wide))[: 1 + vectors]
        near, directions = np.linalg.eig(a)
        found = np.diag(scipy.linalg.schur(a.astype(wide), output="complex")[0])
        values = np.array([found[np.argmin(abs(found - w))] for w in near])
        null = [scipy.linalg.svd(a - w * np.eye(len(a)))[2][-1].conj() for w in values]
        return (values, along(np.array(null).T, directions))[: 1 + vectors]

    def reference(a):
        out = each(single)(a)
        return out if vectors else out[:1]

    return reference


def by_implicit_qr(p):
    """LAPACK's gesvd, where NumPy divides and conquers."""

    def single(a):
        m, n = a.shape
        k = min(m, n)
        if not k:
            sides = (m, n) if p.full_matrices else (0, 0)
            u, vh = np.eye(m, sides[0], dtype=a.dtype), np.eye(sides[1], n, dtype=a.dtype)
            return (np.zeros(0), u, vh)[: 3 if p.compute_uv else 1]
        u, s, vh = scipy.linalg.svd(a, full_matrices=p.full_matrices, lapack_driver="gesvd")
        if not p.compute_uv:
            return (s,)
        u0, _, vh0 = np.linalg.svd(a, full_matrices=p.full_matrices)
        turned = along(u, u0)
        ours = np.sum(u[:, :k].conj() * turned[:, :k], 0)
        v = vh.conj().T.copy()
        v[:, :k] *= ours
        v[:, k:] = along(v[:, k:], vh0.conj().T[:, k:])
        return s, turned, v.conj().T

    return each(single)


def gram_schmidt(p):
    """Column by column, each cleared twice of those before it; then of the coordinate axes."""

    def single(a):
        m, n = a.shape
        k = m if p.full_matrices else min(m, n)
        columns = np.concatenate([a, np.eye(m, dtype=a.dtype)], 1)
        q = np.zeros((m, 0), a.dtype)
        for c in [c for j, c in enumerate(columns.T) if j < min(m, n) or j >= n]:
            if q.shape[1] == k:
                break
            for _ in range(2):
                c = c - q @ (q.conj().T @ c)
            if np.linalg.norm(c) > 1e-6:
                q = np.concatenate([q, c[:, None] / np.linalg.norm(c)], 1)
        if q.size:
            q = along(q, np.linalg.qr(a, mode="complete" if p.full_matrices else "reduced")[0])
        return q, q.conj().T @ a

    return each(single)


def edge(primitive, values, reference):
    operand = Operand(np.shape(values), values=np.array(values))
    return Case(
        primitive, (operand,), reference, dtypes=INEXACT, differentiable=False, label="edges"
    )


def two(primitive, shape, reference, label="", smooth=True, operand=matrices):
    """A case in real dtypes, and one in complex ones, whose vectors turn as LAPACK likes."""
    make = {"label": label, **ROUNDINGS}
    return [
        Case(primitive, (operand(shape),), reference, FLOATS, **make),
        Case(primitive, (operand(shape),), reference, COMPLEX, smooth, **make),
    ]


NAN_AND_FINE = [[[1.0, np.nan], [np.nan, 4.0]], [[2.0, 0.0], [0.0, 3.0]]]
LOWER, UPPER, VALUES = Eigh(True), Eigh(False), Svd(False, False)
THIN, FULL = Svd(True, False), Svd(True, True)
EIG, EIGVALS = Eig(True), Eig(False)

CASES = [
    *[c for s in SHAPES for c in two(LOWER, s, by_qr_iteration(True), smooth=False)],
    *two(UPPER, (3, 3), by_qr_iteration(False), "upper", smooth=False),
    edge(
        LOWER,
        NAN_AND_FINE,
        lambda a: (np.stack([NAN, np.eye(2)]), np.array([[np.nan] * 2, [2, 3]])),
    ),
    *[c for s in SHAPES for c in two(EIG, s, from_schur(True))],
    *[c for s in [(3, 3), (2, 4, 4), (0, 0)] for c in two(EIGVALS, s, from_schur(False), "values")],
    *[
        Case(p, (Turning((4, 4), low=-0.5, high=0.5),), from_schur(v), FLOATS, label=f"pairs{v:d}",
             **ROUNDINGS)
        for p, v in [(EIG, True), (EIGVALS, False)]
    ],
    edge(EIGVALS, NAN_AND_FINE, lambda a: [np.array([[np.nan] * 2, [2, 3]])]),
    *[c for s in SHAPES + TALL_AND_WIDE for c in two(THIN, s, by_implicit_qr(THIN), "thin", False)],
    *[c for s in SHAPES + TALL_AND_WIDE for c in two(VALUES, s, by_implicit_qr(VALUES), "values")],
    *[c for s in [(3, 3), (0, 0)] for c in two(FULL, s, by_implicit_qr(FULL), "full", False)],
    *[
        Case(FULL, (matrices(s),), by_implicit_qr(FULL), INEXACT, False, label="full", **ROUNDINGS)
        for s in [(3, 2), (2, 3), (0, 2, 3), (1, 0)]
    ],
    edge(VALUES, NAN_AND_FINE, lambda a: [np.array([[np.nan] * 2, [3, 2]])]),
    edge(VALUES, np.zeros((2, 3)), lambda a: [np.zeros(2)]),
    *[c for s in SHAPES + TALL_AND_WIDE for c in two(Qr(False), s, gram_schmidt(Qr(False)))],
    *[
        c
        for s in [(3, 3), (2, 4), (0, 0)]
        for c in two(Qr(True), s, gram_schmidt(Qr(True)), "full")
    ],
    *[
        Case(Qr(True), (matrices(s),), gram_schmidt(Qr(True)), INEXACT, False, label="full",
             **ROUNDINGS)
        for s in [(3, 2), (2, 4, 3), (0, 3, 2)]
    ],
]  # fmt: skip

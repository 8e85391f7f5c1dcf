import numpy as np
import scipy.linalg

from fstensor.ops.expm import Expm, ExpmFrechet
from tests.ops.cases.linalg import SHAPES, each
from tests.ops.harness import INEXACT, Case, Operand

ROUNDINGS = {"factor": 100, "reason": "squaring doubles relative errors, up to three times here"}


def by_eigenvectors(a):
    w, v = np.linalg.eig(a)
    out = (v * np.exp(w)) @ np.linalg.inv(v)
    return out if np.iscomplexobj(a) else out.real


def by_divided_differences(a, e):
    """Daleckii and Krein: in the basis of eigenvectors each entry has its own factor."""
    w, v = np.linalg.eig(a)
    x, y = np.exp(w)[:, None], np.exp(w)[None, :]
    gap = w[:, None] - w[None, :]
    factor = np.where(gap == 0, x, (x - y) / np.where(gap == 0, 1, gap))
    out = v @ (factor * (np.linalg.solve(v, e) @ v)) @ np.linalg.inv(v)
    return out if np.iscomplexobj(a) else out.real


def edge(values, reference, label="edges"):
    operand = Operand(np.shape(values), values=np.array(values))
    return Case(Expm(), (operand,), reference, dtypes=INEXACT, differentiable=False, label=label)


JORDAN = np.eye(3) + np.diag([1.0, 1.0], 1)

CASES = [
    *[Case(Expm(), (Operand(s),), each(by_eigenvectors), INEXACT, **ROUNDINGS) for s in SHAPES],
    *[
        Case(
            ExpmFrechet(), (Operand(s), Operand(s)), each(by_divided_differences), INEXACT,
            **ROUNDINGS,
        )
        for s in SHAPES
    ],
    # Each matrix of a stack is halved as often as itself needs.
    Case(
        Expm(),
        (Operand((3, 2, 2), values=np.stack([np.diag(d) for d in ([0, 1e-3], [-30, 9], [0, 0])])),),
        each(by_eigenvectors), INEXACT, differentiable=False, label="unequal", **ROUNDINGS,
    ),
    Case(
        Expm(), (Operand((3, 3), values=JORDAN),), each(scipy.linalg.expm), INEXACT,
        label="defective", **ROUNDINGS,
    ),
    Case(
        ExpmFrechet(), (Operand((3, 3), values=JORDAN), Operand((3, 3))),
        each(lambda a, e: scipy.linalg.expm_frechet(a, e, compute_expm=False)), INEXACT,
        label="defective", **ROUNDINGS,
    ),
    Case(
        ExpmFrechet(), (Operand((2, 2)), Operand((2, 2), values=np.zeros((2, 2)))),
        lambda a, e: np.zeros((2, 2)), INEXACT, label="zero",
    ),
    edge([[np.nan, 0], [0, 1]], lambda a: np.full((2, 2), np.nan)),
    edge([[np.inf, 0], [0, 1]], lambda a: np.full((2, 2), np.nan)),
]  # fmt: skip

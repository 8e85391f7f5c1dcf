import numpy as np
import scipy.special

from fstensor.ops import gamma as ops
from tests.ops.harness import Case, Operand, binary, halves, wide

# What SciPy's continued fractions and expansions differ by from values of 60 digits, and more.
REASON = "a relative error of 1e-14 times the size of the exponent a log x - x"
EDGES = ([0.0, 0.5, 1.0, 30.0, np.inf, -1.0, np.nan], [0.0, 0.5, 1.0, 25.0, np.inf, -1.0, np.nan])


def domains(primitive, reference):
    """All the ways of evaluation: below and above the mean, near it, small and large."""
    ranges = [
        ((0.05, 0.9), (0.05, 0.9)),
        ((0.05, 0.9), (1.0, 30.0)),
        ((1.0, 19.0), (0.5, 19.0)),
        ((20.0, 60.0), (15.0, 70.0)),
        ((900.0, 1000.0), (880.0, 1020.0)),
    ]
    return [
        Case(
            primitive,
            (Operand((30,), low=a[0], high=a[1]), Operand((30,), low=x[0], high=x[1])),
            reference,
            factor=50,
            reason=REASON,
            label=f"{a}-{x}",
        )
        for a, x in ranges
    ]


def cases(primitive, reference, edges=EDGES):
    return [
        *binary(
            primitive,
            wide(reference),
            x=(0.3, 5.0),
            y=(0.2, 9.0),
            edges=edges,
            factor=20,
            reason=REASON,
        ),
        *domains(primitive, wide(reference)),
        *halves(primitive, reference, arity=2, low=0.5, high=4.0),
    ]


PANELS = 60
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def _slope(a, x):
    """The derivative of P in a: with t = e^u, the density times u - digamma(a) up to u = log x."""
    edges = np.log(x) - (45 / a + 1.5) * np.linspace(1, 0, PANELS + 1) ** 2
    half = np.diff(edges)[:, None] / 2
    u = edges[:-1, None] + half * (1 + NODES)
    f = np.exp(a * u - np.exp(u) - scipy.special.gammaln(a)) * (u - scipy.special.digamma(a))
    return np.sum(half * WEIGHTS * f)


slope = np.vectorize(_slope, otypes=[np.float64])


def sample_slope(a, x):
    density = np.exp((a - 1) * np.log(x) - x - scipy.special.gammaln(a))
    return -slope(a, x) / density


def grads(primitive, reference):
    # Derivatives in the shape a do not exist, so values alone are compared here; those in x are in
    # tests/scipy/test_special.py.
    quadrature = {"factor": 100, "reason": REASON, "differentiable": False}
    return [
        *binary(primitive, wide(reference), x=(0.3, 5.0), y=(0.2, 9.0), **quadrature),
        *[
            Case(
                primitive,
                (Operand((5,), low=a[0], high=a[1]), Operand((5,), low=x[0], high=x[1])),
                wide(reference),
                label=f"{a}-{x}",
                **quadrature,
            )
            for a, x in [((0.1, 0.9), (0.1, 0.9)), ((6, 19), (2, 12)), ((22, 40), (20, 45))]
        ],
    ]


CASES = [
    *cases(ops.Igamma(), scipy.special.gammainc),
    *cases(ops.Igammac(), scipy.special.gammaincc),
    *grads(ops.IgammaGradA(), slope),
    *grads(ops.RandomGammaGrad(), sample_slope),
]

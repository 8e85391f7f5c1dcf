"""Probability distributions, by the names and signatures of `scipy.stats`: one module for each.

Operands promote to one float dtype and broadcast; `loc` shifts and `scale` stretches a
distribution. Outside its support a density is 0, and its logarithm -inf.
"""

from fstensor.scipy.stats import (
    bernoulli,
    beta,
    cauchy,
    chi2,
    expon,
    gamma,
    laplace,
    logistic,
    multivariate_normal,
    norm,
    poisson,
    t,
    uniform,
)

__all__ = [
    "bernoulli",
    "beta",
    "cauchy",
    "chi2",
    "expon",
    "gamma",
    "laplace",
    "logistic",
    "multivariate_normal",
    "norm",
    "poisson",
    "t",
    "uniform",
]

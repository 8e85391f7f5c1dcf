"""Random numbers, as pure functions of keys.

`key(seed)` makes a key, `split(key)` makes new ones of it, and each sampler draws an array from
one. The same key, shape and dtype always give the same values, those of `jax.random`.

>>> from fstensor import random
>>> key, subkey = random.split(random.key(42))
>>> random.normal(subkey, (3,)).shape
(3,)
"""

from fstensor.random.choose import categorical, choice, permutation
from fstensor.random.continuous import (
    cauchy,
    exponential,
    gumbel,
    laplace,
    logistic,
    normal,
    truncated_normal,
)
from fstensor.random.counts import binomial, geometric, multinomial, poisson
from fstensor.random.gamma import gamma, loggamma
from fstensor.random.keys import (
    PRNGKey,
    clone,
    fold_in,
    key,
    key_data,
    key_impl,
    split,
    wrap_key_data,
)
from fstensor.random.of_gamma import ball, beta, chisquare, dirichlet, f, generalized_normal, t
from fstensor.random.transformed import (
    double_sided_maxwell,
    lognormal,
    maxwell,
    pareto,
    rayleigh,
    triangular,
    wald,
    weibull_min,
)
from fstensor.random.uniform import bernoulli, bits, rademacher, randint, uniform
from fstensor.random.vectors import multivariate_normal, orthogonal

__all__ = [
    "PRNGKey",
    "ball",
    "bernoulli",
    "beta",
    "binomial",
    "bits",
    "categorical",
    "cauchy",
    "chisquare",
    "choice",
    "clone",
    "dirichlet",
    "double_sided_maxwell",
    "exponential",
    "f",
    "fold_in",
    "gamma",
    "generalized_normal",
    "geometric",
    "gumbel",
    "key",
    "key_data",
    "key_impl",
    "laplace",
    "loggamma",
    "logistic",
    "lognormal",
    "maxwell",
    "multinomial",
    "multivariate_normal",
    "normal",
    "orthogonal",
    "pareto",
    "permutation",
    "poisson",
    "rademacher",
    "randint",
    "rayleigh",
    "split",
    "t",
    "triangular",
    "truncated_normal",
    "uniform",
    "wald",
    "weibull_min",
    "wrap_key_data",
]

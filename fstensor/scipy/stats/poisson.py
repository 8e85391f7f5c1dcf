"""The Poisson distribution of mean `mu`, shifted by `loc`."""

from __future__ import annotations

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.scipy import special
from fstensor.scipy.stats._common import NEVER, floats, inside, within


def logpmf(k: ArrayLike, mu: ArrayLike, loc: ArrayLike = 0) -> Array:
    """Logarithm of the probability mu^x e^-mu / x! of the whole number x = k - loc >= 0."""
    k, mu, loc = floats("poisson.logpmf", k, mu, loc)
    x = k - loc
    supported = lax.bitwise_not((x < 0) | (x != lax.floor(x)))
    x = inside(supported, x, 0)
    return within(supported, special.xlogy(x, mu) - lax.lgamma(x + 1) - mu, NEVER)


def pmf(k: ArrayLike, mu: ArrayLike, loc: ArrayLike = 0) -> Array:
    """Probability of k."""
    return lax.exp(logpmf(k, mu, loc))


def cdf(k: ArrayLike, mu: ArrayLike, loc: ArrayLike = 0) -> Array:
    """Probability of at most k."""
    k, mu, loc = floats("poisson.cdf", k, mu, loc)
    x = lax.floor(k - loc)
    supported = lax.bitwise_not(x < 0)
    return within(supported, special.gammaincc(inside(supported, x, 0) + 1, mu), 0)

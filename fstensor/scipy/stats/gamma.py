"""The gamma distribution of shape `a`, from `loc` on."""

from __future__ import annotations

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.scipy import special
from fstensor.scipy.stats._common import NEVER, floats, inside, within


def logpdf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of the density z^(a-1) e^-z / (gamma(a) scale), with z = (x - loc) / scale."""
    x, a, loc, scale = floats("gamma.logpdf", x, a, loc, scale)
    supported = lax.bitwise_not(x < loc)
    z = inside(supported, (x - loc) / scale, 1)
    out = special.xlogy(a - 1, z) - z - lax.lgamma(a) - lax.log(scale)
    return within(supported, out, NEVER)


def pdf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Density."""
    return lax.exp(logpdf(x, a, loc, scale))


def cdf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of at most x."""
    x, a, loc, scale = floats("gamma.cdf", x, a, loc, scale)
    supported = lax.bitwise_not(x <= loc)
    return within(supported, special.gammainc(a, inside(supported, (x - loc) / scale, 1)), 0)


def logcdf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of `cdf`."""
    return lax.log(cdf(x, a, loc, scale))


def sf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of more than x, 1 - cdf."""
    x, a, loc, scale = floats("gamma.sf", x, a, loc, scale)
    supported = lax.bitwise_not(x <= loc)
    return within(supported, special.gammaincc(a, inside(supported, (x - loc) / scale, 1)), 1)


def logsf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of `sf`."""
    return lax.log(sf(x, a, loc, scale))

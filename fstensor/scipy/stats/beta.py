"""The beta distribution of shapes `a` and `b`, from `loc` to loc + scale."""

from __future__ import annotations

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.numpy import clip
from fstensor.scipy import special
from fstensor.scipy.stats._common import NEVER, floats, inside, within


def logpdf(
    x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1
) -> Array:
    """Logarithm of the density z^(a-1) (1-z)^(b-1) / (B(a, b) scale), z = (x - loc) / scale."""
    x, a, b, loc, scale = floats("beta.logpdf", x, a, b, loc, scale)
    supported = lax.bitwise_not((x < loc) | (x > loc + scale))
    z = inside(supported, (x - loc) / scale, 0.5)
    powers = special.xlogy(a - 1, z) + special.xlog1py(b - 1, -z)
    return within(supported, powers - special.betaln(a, b) - lax.log(scale), NEVER)


def pdf(
    x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1
) -> Array:
    """Density."""
    return lax.exp(logpdf(x, a, b, loc, scale))


def cdf(
    x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1
) -> Array:
    """Probability of at most x; differentiable in x, loc and scale."""
    x, a, b, loc, scale = floats("beta.cdf", x, a, b, loc, scale)
    return special.betainc(a, b, clip((x - loc) / scale, 0, 1))


def logcdf(
    x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1
) -> Array:
    """Logarithm of `cdf`."""
    return lax.log(cdf(x, a, b, loc, scale))


def sf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of more than x, 1 - cdf."""
    x, a, b, loc, scale = floats("beta.sf", x, a, b, loc, scale)
    return special.betainc(b, a, 1 - clip((x - loc) / scale, 0, 1))


def logsf(
    x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1
) -> Array:
    """Logarithm of `sf`."""
    return lax.log(sf(x, a, b, loc, scale))

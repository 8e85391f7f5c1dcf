"""The exponential distribution from `loc` on, with mean loc + scale."""

from __future__ import annotations

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.scipy.stats._common import NEVER, floats, inside, within


def _standard(what: str, x: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> tuple[Array, Array]:
    """Whether x is in the support, and (x - loc) / scale, which is 0 elsewhere."""
    x, loc, scale = floats(what, x, loc, scale)
    supported = lax.bitwise_not(x < loc)
    return supported, inside(supported, (x - loc) / scale, 0)


def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of the density exp(-(x - loc) / scale) / scale."""
    supported, z = _standard("expon.logpdf", x, loc, scale)
    z, scale = floats("expon.logpdf", z, scale)
    return within(supported, -z - lax.log(scale), NEVER)


def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of at most x."""
    supported, z = _standard("expon.cdf", x, loc, scale)
    return within(supported, -lax.expm1(-z), 0)


def logcdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of `cdf`."""
    supported, z = _standard("expon.logcdf", x, loc, scale)
    return within(supported, lax.log(-lax.expm1(-z)), NEVER)


def sf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of more than x, 1 - cdf."""
    supported, z = _standard("expon.sf", x, loc, scale)
    return within(supported, lax.exp(-z), 1)


def logsf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of `sf`."""
    supported, z = _standard("expon.logsf", x, loc, scale)
    return within(supported, -z, 0)


def ppf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The x whose `cdf` is q; NaN unless 0 <= q <= 1."""
    q, loc, scale = floats("expon.ppf", q, loc, scale)
    valid = (q >= 0) & (q <= 1)
    return within(valid, loc - scale * lax.log1p(-inside(valid, q, 0)), float("nan"))

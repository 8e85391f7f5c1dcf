"""The logistic distribution, with median `loc`."""

from __future__ import annotations

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.scipy import special
from fstensor.scipy.stats._common import floats


def _standard(what: str, x: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Array:
    x, loc, scale = floats(what, x, loc, scale)
    return (x - loc) / scale


def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of the density exp(-z) / (scale (1 + exp(-z))^2), with z = (x - loc) / scale."""
    x, loc, scale = floats("logistic.logpdf", x, loc, scale)
    # The density is even; with |z| nothing overflows.
    z = -lax.abs((x - loc) / scale)
    return z - 2 * lax.log1p(lax.exp(z)) - lax.log(scale)


def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of at most x."""
    return lax.logistic(_standard("logistic.cdf", x, loc, scale))


def sf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of more than x, 1 - cdf."""
    return lax.logistic(-_standard("logistic.sf", x, loc, scale))


def ppf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The x whose `cdf` is q."""
    q, loc, scale = floats("logistic.ppf", q, loc, scale)
    return special.logit(q) * scale + loc


def isf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The x whose `sf` is q."""
    q, loc, scale = floats("logistic.isf", q, loc, scale)
    return loc - special.logit(q) * scale

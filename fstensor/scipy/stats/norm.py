"""The normal distribution, with mean `loc` and standard deviation `scale`."""

from __future__ import annotations

import math

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.scipy import special
from fstensor.scipy.stats._common import floats


def _standard(what: str, x: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Array:
    x, loc, scale = floats(what, x, loc, scale)
    return (x - loc) / scale


def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of the density exp(-(x - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi))."""
    x, loc, scale = floats("norm.logpdf", x, loc, scale)
    return -0.5 * lax.square((x - loc) / scale) - lax.log(scale) - 0.5 * math.log(2 * math.pi)


def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of at most x."""
    return special.ndtr(_standard("norm.cdf", x, loc, scale))


def logcdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of `cdf`, accurate far into both tails."""
    return special.log_ndtr(_standard("norm.logcdf", x, loc, scale))


def sf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of more than x, 1 - cdf."""
    return special.ndtr(-_standard("norm.sf", x, loc, scale))


def logsf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of `sf`, accurate far into both tails."""
    return special.log_ndtr(-_standard("norm.logsf", x, loc, scale))


def ppf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The x whose `cdf` is q."""
    q, loc, scale = floats("norm.ppf", q, loc, scale)
    return special.ndtri(q) * scale + loc


def isf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The x whose `sf` is q."""
    q, loc, scale = floats("norm.isf", q, loc, scale)
    return loc - special.ndtri(q) * scale

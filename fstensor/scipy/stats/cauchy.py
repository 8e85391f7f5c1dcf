"""The Cauchy distribution, with median `loc` and half width at half maximum `scale`."""

from __future__ import annotations

import math

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.numpy.promote import constant
from fstensor.scipy.stats._common import floats


def _upper(what: str, x: ArrayLike, loc: ArrayLike, scale: ArrayLike, sign: int) -> Array:
    """Probability above the standardized sign x: atan2(1, z) / pi, which keeps far tails."""
    x, loc, scale = floats(what, x, loc, scale)
    z = sign * ((x - loc) / scale)
    return lax.atan2(constant(1, z), z) / math.pi


def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of the density 1 / (pi scale (1 + z^2)), with z = (x - loc) / scale."""
    x, loc, scale = floats("cauchy.logpdf", x, loc, scale)
    return -math.log(math.pi) - lax.log(scale) - lax.log1p(lax.square((x - loc) / scale))


def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of at most x."""
    return _upper("cauchy.cdf", x, loc, scale, -1)


def logcdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of `cdf`."""
    return lax.log(cdf(x, loc, scale))


def sf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of more than x, 1 - cdf."""
    return _upper("cauchy.sf", x, loc, scale, 1)


def logsf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of `sf`."""
    return lax.log(sf(x, loc, scale))


def ppf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The x whose `cdf` is q."""
    q, loc, scale = floats("cauchy.ppf", q, loc, scale)
    return lax.tan(math.pi * q - math.pi / 2) * scale + loc


def isf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The x whose `sf` is q."""
    q, loc, scale = floats("cauchy.isf", q, loc, scale)
    return lax.tan(math.pi / 2 - math.pi * q) * scale + loc

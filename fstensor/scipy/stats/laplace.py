"""The Laplace distribution, with mean `loc`."""

from __future__ import annotations

import math

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.numpy.promote import constant, select
from fstensor.scipy.stats._common import floats


def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of the density exp(-|x - loc| / scale) / (2 scale)."""
    x, loc, scale = floats("laplace.logpdf", x, loc, scale)
    return -lax.abs((x - loc) / scale) - lax.log(scale) - math.log(2)


def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of at most x."""
    x, loc, scale = floats("laplace.cdf", x, loc, scale)
    z = (x - loc) / scale
    tail = 0.5 * lax.exp(-lax.abs(z))
    return select(z <= constant(0, z), tail, 1 - tail)

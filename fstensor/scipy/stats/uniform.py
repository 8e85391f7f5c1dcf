"""The uniform distribution from `loc` to loc + scale."""

from __future__ import annotations

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.numpy import clip
from fstensor.scipy.stats._common import NEVER, floats, within


def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of the density 1 / scale."""
    x, loc, scale = floats("uniform.logpdf", x, loc, scale)
    outside = (x < loc) | (x > loc + scale)
    return within(lax.bitwise_not(outside), -lax.log(scale) + 0 * (x - loc), NEVER)


def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Density."""
    return lax.exp(logpdf(x, loc, scale))


def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of at most x."""
    x, loc, scale = floats("uniform.cdf", x, loc, scale)
    return clip((x - loc) / scale, 0, 1)


def ppf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The x whose `cdf` is q; NaN unless 0 <= q <= 1."""
    q, loc, scale = floats("uniform.ppf", q, loc, scale)
    return within((q >= 0) & (q <= 1), loc + scale * q, float("nan"))

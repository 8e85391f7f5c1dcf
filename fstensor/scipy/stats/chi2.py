"""The chi-squared distribution of `df` degrees of freedom: a gamma distribution of shape df/2."""

from __future__ import annotations

from fstensor.array import Array, ArrayLike
from fstensor.scipy.stats import gamma
from fstensor.scipy.stats._common import floats


def _as_gamma(
    what: str, x: ArrayLike, df: ArrayLike, loc: ArrayLike, scale: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    x, df, loc, scale = floats(f"chi2.{what}", x, df, loc, scale)
    return x, df / 2, loc, scale * 2


def logpdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of the density."""
    return gamma.logpdf(*_as_gamma("logpdf", x, df, loc, scale))


def pdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Density."""
    return gamma.pdf(*_as_gamma("pdf", x, df, loc, scale))


def cdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of at most x."""
    return gamma.cdf(*_as_gamma("cdf", x, df, loc, scale))


def logcdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of `cdf`."""
    return gamma.logcdf(*_as_gamma("logcdf", x, df, loc, scale))


def sf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Probability of more than x, 1 - cdf."""
    return gamma.sf(*_as_gamma("sf", x, df, loc, scale))


def logsf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of `sf`."""
    return gamma.logsf(*_as_gamma("logsf", x, df, loc, scale))

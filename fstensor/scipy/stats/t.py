"""Student's t distribution of `df` degrees of freedom."""

from __future__ import annotations

import math

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.scipy.stats._common import floats


def logpdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Logarithm of the density (1 + z^2 / df)^(-(df + 1) / 2) / (scale sqrt(df) B(1/2, df/2)).

    z = (x - loc) / scale.
    """
    x, df, loc, scale = floats("t.logpdf", x, df, loc, scale)
    z = (x - loc) / scale
    half = df / 2
    norm = lax.lgamma(half + 0.5) - lax.lgamma(half) - 0.5 * lax.log(math.pi * df)
    return norm - lax.log(scale) - (half + 0.5) * lax.log1p(lax.square(z) / df)


def pdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """Density."""
    return lax.exp(logpdf(x, df, loc, scale))

"""The Bernoulli distribution: 1 with probability `p`, 0 with 1 - p."""

from __future__ import annotations

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.scipy import special
from fstensor.scipy.stats._common import NEVER, floats, within


def logpmf(k: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """Logarithm of the probability of k, which is loc or loc + 1."""
    k, p, loc = floats("bernoulli.logpmf", k, p, loc)
    x = k - loc
    supported = (x == 0) | (x == 1)
    return within(supported, special.xlogy(x, p) + special.xlog1py(1 - x, -p), NEVER)


def pmf(k: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """Probability of k."""
    return lax.exp(logpmf(k, p, loc))


def cdf(k: ArrayLike, p: ArrayLike) -> Array:
    """Probability of at most k; NaN unless 0 <= p <= 1."""
    k, p = floats("bernoulli.cdf", k, p)
    below_one = within(k < 0, 0 * p, 0) + within((k >= 0) & (k < 1), 1 - p, 0)
    out = below_one + within(k >= 1, 0 * p + 1, 0)
    return within((p >= 0) & (p <= 1) & (k == k), out, float("nan"))


def ppf(q: ArrayLike, p: ArrayLike) -> Array:
    """The least k whose `cdf` is at least q; NaN unless 0 <= p, q <= 1."""
    q, p = floats("bernoulli.ppf", q, p)
    valid = (q >= 0) & (q <= 1) & (p >= 0) & (p <= 1)
    one = within(q > 1 - p, 0 * q + 1, 0)
    return within(valid, within(lax.bitwise_not(q == 0), one, -1), float("nan"))

"""The regularized incomplete beta function.

In the variable s = logit(x) - logit(t) the lower tail of the beta distribution is

    I_x(a, b) = d * integral over s > 0 of exp(-a s - (a + b) log(1 + x (e^-s - 1))),
    d = x^a (1 - x)^b / B(a, b),

which a Gauss-Legendre rule gives to float64 for x up to the mean a / (a + b), uniformly in large a
and b. For small a the power series takes over (DLMF 8.17.8 and 15.8.1). For larger x, the
symmetry I_x(a, b) = 1 - I_(1-x)(b, a) leads back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor.array import Array, ArrayLike
from fstensor.core.primitive import Value, primitive
from fstensor.ops.elementwise import add, mul, neg, sub
from fstensor.ops.families import FLOAT, Elementwise, beside, constant
from fstensor.ops.gamma import FALL, exp_remainder, gauss_legendre, log_remainder
from fstensor.ops.special import Lgamma, by_pieces, lgamma, log_gamma_correction
from fstensor.ops.transcendental import exp, log, log1p

_SMALL = 5.0
_SERIES_TERMS = 100


@final
@primitive("regularized_incomplete_beta")
class RegularizedIncompleteBeta(Elementwise):
    """Elementwise regularized incomplete beta function I_x(a, b); operands a, b > 0, 0 <= x <= 1.

    1/B(a, b) times the integral of t^(a-1) (1 - t)^(b-1) from 0 to x; NaN outside the domain.
    Only x has a derivative, as in JAX.
    """

    takes = FLOAT

    def impl(self, xp: Any, a: Any, b: Any, x: Any) -> Any:
        wide = xp.broadcast_arrays(*[v.astype(np.float64) for v in (a, b, x)])
        p, q, z = [v.reshape(-1) for v in wide]
        positive = (p > 0) & (q > 0) & (p < math.inf) & (q < math.inf)
        regular = positive & (z > 0) & (z < 1)
        is_lower = xp.where(p <= q, _lower_suits(xp, p, q, z), ~_lower_suits(xp, q, p, 1 - z))
        lower, upper = regular & is_lower, regular & ~is_lower
        out = by_pieces(
            xp,
            z,
            [
                (lower, lambda xp, z, p, q: _lower_tail(xp, p, q, z, 1 - z)),
                (upper, lambda xp, z, p, q: 1 - _lower_tail(xp, q, p, 1 - z, z)),
            ],
            p,
            q,
        )
        out = xp.where(positive & ((z == 0) | (z == 1)), z, out)
        return out.astype(x.dtype).reshape(wide[0].shape)

    def tangent(self, i: int, t: Array, out: Array, *args: Value) -> Value:
        if i < 2:
            raise self._missing("tangent in a and b", "differentiation")
        a, b, x = args
        one = constant(1, x)
        log_beta = sub(add(lgamma(a), lgamma(b)), lgamma(add(a, b)))
        powers = add(mul(sub(b, one), log1p(neg(x))), mul(sub(a, one), log(x)))
        return mul(t, exp(sub(powers, log_beta)))


def _lower_suits(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """For a <= b, whether to compute the lower tail; else the upper one.

    Beside a large b, the upper tail's integrand has a plateau when a and x are small.
    """
    plateau = (a < _SMALL) & (x < 0.1) & ((a + b) * x < a + 5)
    return xp.where(b < _SMALL, x <= 0.5, (x <= a / (a + b)) | plateau)


def _lower_tail(xp: Any, a: Any, b: Any, x: Any, rest: Any) -> Any:
    """I_x(a, b) for x up to the mean, or a little more when a is small; rest = 1 - x."""
    small = a < _SMALL
    return by_pieces(xp, a, [(small, _by_series), (~small, _by_integral)], b, x, rest)


def _by_series(xp: Any, a: Any, b: Any, x: Any, rest: Any) -> Any:
    """I = d / a times the sum over n of (a + b)_n / (a + 1)_n x^n, whose terms are positive."""
    term = total = xp.ones_like(x)
    for n in range(_SERIES_TERMS):
        term = term * (x * ((a + b + n) / (a + 1 + n)))
        total = total + term
    return _density(xp, a, b, x, rest) / a * total


def _by_integral(xp: Any, a: Any, b: Any, x: Any, rest: Any) -> Any:
    total = a + b
    slope = a * rest - b * x

    # The exponent is the same with x, -s and with 1 - x, s. The smaller of the two is the one
    # that does not cancel.
    sign = xp.where(x < rest, -1.0, 1.0)
    side = xp.minimum(x, rest)

    def fall(s: Any) -> tuple[Any, Any]:
        """How far the exponent has fallen at s, and how fast it falls."""
        change = side * xp.expm1(sign * s)
        bent = side * exp_remainder(xp, sign * s) - log_remainder(xp, change, 1 + change)
        below = x * xp.exp(-s)
        return slope * s + total * bent, a - total * (below / (rest + below))

    # An upper bound of where the exponent has fallen by FALL; it is convex, so Newton's method
    # comes down to that point.
    width = xp.sqrt(2 * math.e * FALL / (total * x * rest))
    end = (FALL - total * xp.log(rest)) / a
    end = xp.minimum(xp.where(width < 1, width, end), end)
    end = xp.where(slope > 0, xp.minimum(end, FALL / slope), end)
    for _ in range(10):
        height, steepness = fall(end)
        end = end - (height - FALL) / steepness
    mass = xp.zeros_like(x)
    for node, weight in gauss_legendre():
        mass = mass + weight * xp.exp(-fall(node * end)[0])
    return _density(xp, a, b, x, rest) * mass * end


def _density(xp: Any, a: Any, b: Any, x: Any, rest: Any) -> Any:
    """x^a (1 - x)^b / B(a, b), with what is large in the exponent cancelled before rounding.

    With n = a + b and the mean m = a / n, a log(x/m) + b log((1-x)/(1-m)) has no linear term in
    x - m, and Stirling's formula takes m^a (1-m)^b / B(a, b) to sqrt(a b / (2 pi n)).
    """
    n = a + b
    shift = b * x - a * rest
    exponent = -a * log_remainder(xp, shift / a, x * n / a)
    exponent = exponent - b * log_remainder(xp, -shift / b, rest * n / b)
    exponent = exponent + _correction(xp, n) - _correction(xp, a) - _correction(xp, b)
    return xp.sqrt(a / n * b / (2 * math.pi)) * xp.exp(exponent)


def _correction(xp: Any, x: Any) -> Any:
    """What log gamma(x) is above Stirling's leading terms, for all x > 0."""

    def near(xp: Any, x: Any) -> Any:
        leading = (x - 0.5) * xp.log(x) - x + 0.5 * math.log(2 * math.pi)
        return Lgamma().evaluate(xp, x) - leading

    far = x >= 10
    return by_pieces(xp, x, [(far, lambda xp, x: log_gamma_correction(x)), (~far, near)])


def regularized_incomplete_beta(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """Elementwise regularized incomplete beta function I_x(a, b); operands a, b > 0, 0 <= x <= 1.

    Dtypes: float; Python scalars take that of the Arrays. NaN outside the domain. Only x has a
    derivative, as in JAX.
    """
    args: Sequence[ArrayLike] = (a, b, x)
    like = next((v for v in args if isinstance(v, Array)), None)
    if like is not None:
        args = [beside(v, like, RegularizedIncompleteBeta.name) for v in args]
    return RegularizedIncompleteBeta().bind(*args)


betainc = regularized_incomplete_beta

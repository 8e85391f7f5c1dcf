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
from fstensor.ops import doubled
from fstensor.ops.elementwise import add, mul, neg, sub
from fstensor.ops.families import FLOAT, Elementwise, beside, constant
from fstensor.ops.gamma import FALL, exp_remainder, gauss_legendre, log_remainder
from fstensor.ops.special import (
    Lgamma,
    by_pieces,
    gamma_parts,
    in_blocks,
    lgamma,
    log_gamma_correction,
)
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
        out = in_blocks(xp, _evaluate, *[v.reshape(-1) for v in wide])
        return out.astype(x.dtype).reshape(wide[0].shape)

    def tangent(self, i: int, t: Array, out: Array, *args: Value) -> Value:
        if i < 2:
            raise self._missing("tangent in a and b", "differentiation")
        a, b, x = args
        one = constant(1, x)
        log_beta = sub(add(lgamma(a), lgamma(b)), lgamma(add(a, b)))
        powers = add(mul(sub(b, one), log1p(neg(x))), mul(sub(a, one), log(x)))
        return mul(t, exp(sub(powers, log_beta)))


def _evaluate(xp: Any, p: Any, q: Any, z: Any) -> Any:
    positive = (p > 0) & (q > 0) & (p < math.inf) & (q < math.inf)
    regular = positive & (z > 0) & (z < 1)
    is_lower = xp.where(p <= q, _lower_suits(xp, p, q, z), ~_lower_suits(xp, q, p, 1 - z))
    rest, error = doubled.two_sum(1.0, -z)
    pieces = [
        (regular & is_lower, _lower_tail),
        (
            regular & ~is_lower,
            lambda xp, p, q, z, rest, error: (
                1 - _lower_tail(xp, q, p, rest, z, error, swapped=True)
            ),
        ),
    ]
    out = by_pieces(xp, p, pieces, q, z, rest, error)
    return xp.where(positive & ((z == 0) | (z == 1)), z, out)


def _lower_suits(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """For a <= b, whether to compute the lower tail; else the upper one.

    Beside a large b, the upper tail's integrand has a plateau when a and x are small.
    """
    plateau = (a < _SMALL) & (x < 0.1) & ((a + b) * x < a + 5)
    return xp.where(b < _SMALL, x <= 0.5, (x <= a / (a + b)) | plateau)


def _lower_tail(
    xp: Any, a: Any, b: Any, x: Any, rest: Any, error: Any, swapped: bool = False
) -> Any:
    """I_x(a, b) for x up to the mean, or a little more when a is small.

    rest: 1 - x, rounded; rest + error is exact; if swapped, x is rounded and x + error is exact.
    """
    small = a < _SMALL
    integral = by_pieces(xp, a, [(small, _by_series), (~small, _by_integral)], b, x, rest)
    large = a + b >= _PAIRS_BELOW
    x_error, rest_error = (error, xp.zeros_like(x)) if swapped else (xp.zeros_like(x), error)
    pieces = [(large, _density_large), (~large, _density_by_pairs)]
    return integral * by_pieces(xp, a, pieces, b, x, rest, x_error, rest_error)


def _by_series(xp: Any, a: Any, b: Any, x: Any, rest: Any) -> Any:
    """I / d = 1 / a times the sum over n of (a + b)_n / (a + 1)_n x^n, whose terms are positive."""
    term = total = xp.ones_like(x)
    for n in range(_SERIES_TERMS):
        term = term * (x * ((a + b + n) / (a + 1 + n)))
        total = total + term
    return total / a


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
    return mass * end


# Beyond, a log x has more bits than a pair.
_PAIRS_BELOW = 2.0**20


def _density_by_pairs(
    xp: Any, a: Any, b: Any, x: Any, rest: Any, x_error: Any, rest_error: Any
) -> Any:
    """x^a (1 - x)^b / B(a, b), with the exponents of all powers added up as pairs."""
    n, n_error = doubled.two_sum(a, b)
    exponent_a, inverse_a = gamma_parts(xp, a)
    exponent_b, inverse_b = gamma_parts(xp, b)
    exponent, inverse = gamma_parts(xp, n)
    exponent = doubled.add(exponent, doubled.negative(exponent_a))
    exponent = doubled.add(exponent, doubled.negative(exponent_b))
    exponent = doubled.add(exponent, doubled.scale(a, doubled.log(xp, x)))
    exponent = doubled.add(exponent, doubled.scale(b, doubled.log(xp, rest)))
    # First-order effects of what was rounded; digamma(n) is log(n + 1/2) - 1/n within some percent.
    slope = xp.log(n + 0.5) - 1 / n
    small = a * (x_error / x) + b * (rest_error / rest) + n_error * slope
    exponent = doubled.add(exponent, (small, 0.0))
    return inverse_a * (inverse_b / inverse) * doubled.exp(xp, exponent)


def _density_large(
    xp: Any, a: Any, b: Any, x: Any, rest: Any, x_error: Any, rest_error: Any
) -> Any:
    """The same by Stirling's formula, with what is large in the exponent cancelled before rounding.

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

"""The incomplete gamma functions, and their derivatives.

With t = x e^y the upper tail of the gamma distribution is a density times an integral,

    Q(a, x) = d(a, x) * integral over y > 0 of exp(a y - x (e^y - 1)),   d = x^a e^-x / gamma(a),

and the lower tail P(a, x) the same over y < 0. The integrand is entire and falls off like a
Gaussian or faster, so that a Gauss-Legendre rule is exact to float64, uniformly in a large a where
series and continued fractions converge slowly (compare W. H. Press et al., Numerical Recipes, 3rd
edition, section 6.2, which integrates in t). The derivative in a is the same integral with one
factor y + log x - digamma(a) more. Where a and x are small, the power series takes over.
"""

from __future__ import annotations

import decimal
import functools
import math
from abc import abstractmethod
from typing import Any, final

import numpy as np

from fstensor.array import Array, ArrayLike
from fstensor.core.primitive import primitive
from fstensor.ops import doubled
from fstensor.ops.elementwise import add, div, mul, neg, sub
from fstensor.ops.families import FLOAT, Binary, binary, constant
from fstensor.ops.polygamma import Digamma, digamma
from fstensor.ops.special import (
    by_pieces,
    gamma_parts,
    in_blocks,
    lgamma,
    log_gamma_correction,
    log_gamma_near_one,
    polynomial,
)
from fstensor.ops.transcendental import exp, log

# Numerics shared with the other functions that are integrated


@functools.cache
def gauss_legendre(count: int = 32) -> tuple[tuple[float, float], ...]:
    """Nodes and weights of the rule on [0, 1], correctly rounded: NumPy's are good to 1e-14.

    NumPy's nodes z are improved by Newton's method; the weight is 2 / ((1 - z^2) P'(z)^2). The last
    node comes first: integrands fall, and sums that begin with what is small are more accurate.
    """
    rule = []
    with decimal.localcontext(decimal.Context(prec=50)):
        for start in np.polynomial.legendre.leggauss(count)[0].tolist():
            z = decimal.Decimal(start)
            for _ in range(3):
                value, slope = _legendre(count, z)
                z -= value / slope
            rule.append((float((1 + z) / 2), float(1 / ((1 - z * z) * slope**2))))
    return tuple(reversed(rule))


def _legendre(n: int, z: decimal.Decimal) -> tuple[decimal.Decimal, decimal.Decimal]:
    """Legendre's polynomial P_n and its derivative.

    By (k + 1) P_(k+1) = (2k + 1) z P_k - k P_(k-1).
    """
    before, value = decimal.Decimal(1), z
    for k in range(1, n):
        before, value = value, ((2 * k + 1) * z * value - k * before) / (k + 1)
    return value, n * (z * value - before) / (z * z - 1)


# exp(-40) is below float64's precision: integrals end where the integrand has fallen that far.
FALL = 40.0

_EXP_SERIES = tuple(1 / math.factorial(k) for k in range(15, 1, -1))
_ATANH_SERIES = tuple(1 / (2 * k + 1) for k in range(14, 0, -1))


def exp_remainder(xp: Any, y: Any) -> Any:
    """e^y - 1 - y, accurate near 0."""
    near = y * y * polynomial(_EXP_SERIES, y)
    return xp.where(xp.abs(y) < 0.5, near, xp.expm1(y) - y)


def log_remainder(xp: Any, d: Any, above: Any) -> Any:
    """D - log(1 + d), accurate near 0, where log(1 + d) = 2 atanh(d / (2 + d)).

    above: 1 + d, which is more accurate than `d` where d is near -1.
    """
    r = d / (2 + d)
    s = r * r
    near = r * (d - 2 * s * polynomial(_ATANH_SERIES, s))
    return xp.where(xp.abs(d) < 0.4, near, d - xp.log(above))


def tail_integrals(xp: Any, a: Any, x: Any, sign: int) -> tuple[Any, Any]:
    """The integrals over y > 0 of f and y f, with f = exp(sign a y - x sign (e^(sign y) - 1)).

    sign: 1 for the upper tail, x >= a, where a may be negative; -1 for the lower one, x < a.
    """
    slope = xp.abs(x - a)
    if sign > 0:
        end = xp.sqrt(2 * FALL / x)
    else:
        end = xp.where(a >= 3 * FALL, xp.sqrt(3 * FALL / a), 1 + FALL / a)
    # The exponent is convex, so Newton's method comes down to where it is FALL.
    end = xp.minimum(end, FALL / slope)
    for _ in range(10):
        fall = slope * end + x * exp_remainder(xp, sign * end)
        end = end - (fall - FALL) / (slope + x * xp.abs(xp.expm1(sign * end)))
    mass, moment = xp.zeros_like(x), xp.zeros_like(x)
    for node, weight in gauss_legendre():
        y = node * end
        f = weight * xp.exp(-slope * y - x * exp_remainder(xp, sign * y))
        mass = mass + f
        moment = moment + y * f
    return mass * end, moment * end


# The gamma distribution's tails


def _density(xp: Any, a: Any, x: Any) -> Any:
    """x^a e^-x / gamma(a): x times the density."""
    large = a >= _PAIRS_BELOW
    return by_pieces(xp, a, [(large, _density_large), (~large, _density_by_pairs)], x)


def _density_by_pairs(xp: Any, a: Any, x: Any) -> Any:
    exponent, inverse = gamma_parts(xp, a)
    power = doubled.add(doubled.scale(a, doubled.log(xp, x)), (-x, 0.0))
    return inverse * doubled.exp(xp, doubled.add(power, doubled.negative(exponent)))


# Beyond, a log x has more bits than a pair.
_PAIRS_BELOW = 2.0**20


def _density_large(xp: Any, a: Any, x: Any) -> Any:
    """By Stirling's formula, so that the large terms of the exponent cancel before rounding."""
    exponent = -a * log_remainder(xp, (x - a) / a, x / a) - log_gamma_correction(a)
    return xp.sqrt(a / (2 * math.pi)) * xp.exp(exponent)


def _center(xp: Any, a: Any, x: Any) -> Any:
    return xp.log(x) - Digamma().evaluate(xp, a)


def _upper(xp: Any, a: Any, x: Any) -> tuple[Any, Any]:
    """Q / d, and the derivative of P in a over d."""
    mass, moment = tail_integrals(xp, a, x, 1)
    return mass, -moment - _center(xp, a, x) * mass


def _lower(xp: Any, a: Any, x: Any) -> tuple[Any, Any]:
    """P / d, and the derivative of P in a over d, by integrals."""
    mass, moment = tail_integrals(xp, a, x, -1)
    return mass, _center(xp, a, x) * mass - moment


def _series(xp: Any, a: Any, x: Any) -> tuple[Any, Any]:
    """As `_lower`, by P / d = sum over n >= 0 of x^n / (a (a + 1) ... (a + n)); DLMF 8.7.1."""
    term = 1 / a
    total, harmonic = term, xp.zeros_like(a)
    slope = xp.zeros_like(a)
    for n in range(1, _SERIES_TERMS):
        term = term * (x / (a + n))
        harmonic = harmonic + 1 / (a + n)
        total = total + term
        slope = slope - term * harmonic
    return total, slope + _center(xp, 1 + a, x) * total


_SERIES_BELOW = 20.0
_SERIES_TERMS = 60


def _upper_near_zero(xp: Any, a: Any, x: Any) -> Any:
    """Q for x < 1 and a < 1, where 1 - P cancels; from DLMF 8.7.1 without its factor e^-x."""
    scale = a * xp.log(x) - log_gamma_near_one(xp, a)
    term, total = xp.ones_like(x), xp.zeros_like(x)
    for n in range(1, 20):
        term = term * (-x / n)
        total = total + term * (a / (a + n))
    return -xp.expm1(scale) - xp.exp(scale) * total


class _Incomplete(Binary):
    """A function of the gamma distribution of shape a > 0 at x >= 0, evaluated in float64."""

    takes = FLOAT

    @abstractmethod
    def inside(self, xp: Any, a: Any, x: Any, upper: bool, tails: Any) -> Any:
        """The function where a and x are positive and finite.

        upper: whether x is above the middle of the distribution.
        tails: `_upper`, `_lower` or `_series`, whichever is good there.
        """

    @abstractmethod
    def outside(self, xp: Any, below: Any, above: Any) -> Any:
        """The function where all of the distribution is above x, or where all is below x."""

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        wide = xp.broadcast_arrays(x.astype(np.float64), y.astype(np.float64))
        out = in_blocks(xp, self._evaluate, *[v.reshape(-1) for v in wide])
        return out.astype(x.dtype).reshape(wide[0].shape)

    def _evaluate(self, xp: Any, a: Any, z: Any) -> Any:
        regular = (a > 0) & (z > 0) & xp.isfinite(a) & xp.isfinite(z)
        upper = regular & (z >= xp.maximum(a, 1))
        lower = regular & ~upper
        far = a >= _SERIES_BELOW

        def over(is_upper: bool, tails: Any) -> Any:
            return lambda xp, a, z: self.inside(xp, a, z, is_upper, tails)

        pieces = [
            (upper, over(True, _upper)),
            (lower & far, over(False, _lower)),
            (lower & ~far, over(False, _series)),
        ]
        out = by_pieces(xp, a, pieces, z)
        below = ((z == 0) & (a > 0)) | ((a == math.inf) & (z >= 0) & (z < math.inf))
        above = ((a == 0) & (z > 0)) | ((z == math.inf) & (a >= 0) & (a < math.inf))
        return xp.where(below | above, self.outside(xp, below, above), out)


@final
@primitive("igamma")
class Igamma(_Incomplete):
    """Elementwise regularized lower incomplete gamma function P(a, x).

    1/gamma(a) times the integral of t^(a-1) e^-t from 0 to x; NaN for negative a or x.
    """

    def inside(self, xp: Any, a: Any, x: Any, upper: bool, tails: Any) -> Any:
        mass = _density(xp, a, x) * tails(xp, a, x)[0]
        return 1 - mass if upper else mass

    def outside(self, xp: Any, below: Any, above: Any) -> Any:
        return above.astype(np.float64)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, igamma_grad_a(x, y))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _density_of(x, y))


def _density_of(a: Array, x: Array) -> Array:
    """The derivative of P(a, x) in x."""
    power = mul(sub(a, constant(1, a)), log(x))
    return exp(sub(add(neg(x), power), lgamma(a)))


@final
@primitive("igammac")
class Igammac(_Incomplete):
    """Elementwise regularized upper incomplete gamma function, Q(a, x) = 1 - P(a, x)."""

    def inside(self, xp: Any, a: Any, x: Any, upper: bool, tails: Any) -> Any:
        mass = _density(xp, a, x) * tails(xp, a, x)[0]
        if upper:
            return mass
        small = (a < 1) & (x < 1)
        return xp.where(small, _upper_near_zero(xp, a, x), 1 - mass)

    def outside(self, xp: Any, below: Any, above: Any) -> Any:
        return below.astype(np.float64)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return neg(mul(t, igamma_grad_a(x, y)))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return neg(mul(t, _density_of(x, y)))


@final
@primitive("igamma_grad_a")
class IgammaGradA(_Incomplete):
    """Elementwise derivative of P(a, x) in a. Has no derivative in a itself, as in JAX."""

    def inside(self, xp: Any, a: Any, x: Any, upper: bool, tails: Any) -> Any:
        return _density(xp, a, x) * tails(xp, a, x)[1]

    def outside(self, xp: Any, below: Any, above: Any) -> Any:
        return xp.zeros(below.shape)

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        # The density's derivative in a.
        return mul(t, mul(_density_of(x, y), sub(log(y), digamma(x))))


@final
@primitive("random_gamma_grad")
class RandomGammaGrad(_Incomplete):
    """Elementwise derivative in a of a gamma variate whose value is x, at a fixed quantile.

    -(dP/da) / (dP/dx); see M. Figurnov, S. Mohamed, A. Mnih, Implicit Reparameterization Gradients,
    2018. Has no derivative in a, as in JAX.
    """

    def inside(self, xp: Any, a: Any, x: Any, upper: bool, tails: Any) -> Any:
        return -x * tails(xp, a, x)[1]

    def outside(self, xp: Any, below: Any, above: Any) -> Any:
        return xp.where(below, 0.0, math.nan)

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        # With density p: -(log x - digamma(a)) - out p'/p, and p'/p = (a - 1) / x - 1.
        one = constant(1, x)
        growth = sub(div(sub(x, one), y), one)
        return mul(t, sub(sub(digamma(x), log(y)), mul(out, growth)))


_igamma = binary(Igamma)
_igammac = binary(Igammac)
_igamma_grad_a = binary(IgammaGradA)
random_gamma_grad = binary(RandomGammaGrad)


def igamma(a: ArrayLike, x: ArrayLike) -> Array:
    """Elementwise regularized lower incomplete gamma function P(a, x). Dtypes: float."""
    return _igamma(a, x)


def igammac(a: ArrayLike, x: ArrayLike) -> Array:
    """Elementwise regularized upper incomplete gamma function Q(a, x). Dtypes: float."""
    return _igammac(a, x)


def igamma_grad_a(a: ArrayLike, x: ArrayLike) -> Array:
    """Elementwise derivative of P(a, x) in a; differentiable in x. Dtypes: float."""
    return _igamma_grad_a(a, x)

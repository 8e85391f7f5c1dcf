"""The error function, the normal distribution, the gamma function and its logarithm.

NumPy has none of these, so each `impl` evaluates an approximation that its docstring names. It does
so in float64 whatever the dtype, so that narrower results are correctly rounded but for rare ties.

Tables whose source is not named were made for this file: they interpolate the function, computed to
70 digits, at Chebyshev points, with as many terms as float64 can tell apart.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import numpy as np

from fstensor import ops
from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.core.scalar import FLOAT32, FLOAT64, ScalarOps, V
from fstensor.ops import doubled
from fstensor.ops.element import Element, ElementModule
from fstensor.ops.elementwise import div, mul, neg, square, sub
from fstensor.ops.families import FLOAT, Unary, constant, unary
from fstensor.ops.transcendental import exp


class Special(Unary):
    """A function of one real, evaluated in float64."""

    takes = FLOAT
    # Whether `evaluate` is arithmetic alone, and can be run with `ElementModule`.
    has_scalar_form: ClassVar[bool] = True

    @abstractmethod
    def evaluate(self, xp: Any, x: Any) -> Any:
        """The function of a vector of float64 numbers."""

    def impl(self, xp: Any, x: Any) -> Any:
        out = in_blocks(xp, self.evaluate, x.astype(np.float64).reshape(-1))
        return out.astype(x.dtype).reshape(x.shape)

    def element(self, ops: ScalarOps[V], x: V) -> Any:
        if self.scalar_op:
            return super().element(ops, x)
        if not self.has_scalar_form:
            return NotImplemented
        out = self.evaluate(ElementModule(ops), Element(ops, ops.convert(x, FLOAT64)))
        return ops.convert(out.value, ops.dtype(x))


# Many steps over vectors of this size stay in the processor's cache.
_BLOCK = 1 << 15


def in_blocks(xp: Any, function: Callable[..., Any], *vectors: Any) -> Any:
    """function(xp, *vectors), a block at a time on the CPU."""
    size = vectors[0].size
    if xp is not np or size <= _BLOCK:
        return function(xp, *vectors)
    out = np.empty(size)
    for start in range(0, size, _BLOCK):
        block = slice(start, start + _BLOCK)
        out[block] = function(xp, *[v[block] for v in vectors])
    return out


def by_pieces(
    xp: Any, x: Any, pieces: Sequence[tuple[Any, Callable[..., Any]]], *others: Any
) -> Any:
    """Each function applied to the part of the vectors under its mask; NaN where no mask holds."""
    out = xp.full_like(x, math.nan)
    if isinstance(xp, ElementModule):
        for mask, function in pieces:
            out = xp.where_due(mask, functools.partial(function, xp, x, *others), out)
        return out
    for mask, function in pieces:
        out[mask] = function(xp, x[mask], *[y[mask] for y in others])
    return out


def polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """The polynomial with these coefficients, highest power first, by Horner's rule."""
    if isinstance(x, Element):
        return x.polynomial(coefficients)
    out = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        out = out * x + c
    return out


def chebyshev(coefficients: Sequence[float], t: Any) -> Any:
    """The sum of c_k T_k(t) of Chebyshev's polynomials, by Clenshaw's recurrence."""
    high, higher = coefficients[-1], 0.0
    for c in reversed(coefficients[1:-1]):
        high, higher = 2 * t * high - higher + c, high
    return t * high - higher + coefficients[0]


@final
@primitive("erf")
class Erf(Special):
    """Elementwise error function, 2/sqrt(pi) times the integral of exp(-s^2) from 0 to x.

    Near 0 by a rational approximation of W. J. Cody, Rational Chebyshev approximations for the
    error function, Mathematics of Computation 23 (1969); else from erfcx, approximated as M. M.
    Shepherd and J. G. Laframboise do in Mathematics of Computation 36 (1981).
    """

    scalar_op = "erf"

    def evaluate(self, xp: Any, x: Any) -> Any:
        size = xp.abs(x)
        inner = size <= _ERF_INNER
        return by_pieces(xp, x, [(inner, _erf_inner), (size > _ERF_INNER, _erf_outer)])

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(constant(2 / math.sqrt(math.pi), x), mul(t, exp(neg(square(x)))))


@final
@primitive("erfc")
class Erfc(Special):
    """Elementwise 1 - erf(x), accurate where erf(x) is near 1. Approximated as `erf` is."""

    scalar_op = "erfc"

    def evaluate(self, xp: Any, x: Any) -> Any:
        inner = xp.abs(x) <= _ERF_INNER
        return by_pieces(
            xp,
            x,
            [
                (inner, lambda xp, x: 1 - _erf_inner(xp, x)),
                (x > _ERF_INNER, _erfc_outer),
                (x < -_ERF_INNER, lambda xp, x: 2 - _erfc_outer(xp, -x)),
            ],
        )

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(constant(-2 / math.sqrt(math.pi), x), mul(t, exp(neg(square(x)))))


_ERF_INNER = 0.46875
_ERFC_IS_ZERO = 28.0


def _erf_inner(xp: Any, x: Any) -> Any:
    s = x * x
    return x * polynomial(_CODY_A, s) / polynomial(_CODY_B, s)


def _erf_outer(xp: Any, x: Any) -> Any:
    return xp.copysign(1 - _erfc_outer(xp, xp.abs(x)), x)


def _erfc_outer(xp: Any, x: Any) -> Any:
    """Function erfc of numbers above 0.46875."""
    x = xp.minimum(x, _ERFC_IS_ZERO)
    return _gaussian(xp, x) * _erfcx(xp, x)


def _gaussian(xp: Any, x: Any, factor: float = 1.0) -> Any:
    """exp(-factor x^2), without the rounding error of x^2; factor is a power of two."""
    square, rest = doubled.two_product(x, x)
    size = xp.exp(-factor * square)
    return size - size * (factor * rest)


def _erfcx(xp: Any, x: Any) -> Any:
    """For x >= 0: (1 + 2x) erfcx(x) is smooth in t = (x - 3) / (x + 3), up to infinity."""
    return 0.5 * chebyshev(_ERFCX, 1 - 6 / (x + 3)) / (x + 0.5)


# fmt: off
_CODY_A = (
    1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
    3.20937758913846947e3,
)
_CODY_B = (
    1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
    2.84423683343917062e3,
)
_ERFCX = (
    1.17756257419656, 0.005353904539615676, -0.09377550342284209, 0.05436652555744322,
    -0.018976596707845208, 0.004453426061462712, -0.0006335531710553147, 1.7661719523171593e-05,
    1.2841532864056671e-05, -2.0072285659059913e-06, -1.807522790414837e-07, 7.549828343825093e-08,
    1.885668523838603e-09, -2.699519049798364e-09, -1.460079119939105e-11, 1.0361607445969489e-10,
    1.475715976623473e-12, -4.277340064396911e-12, -2.07922492859799e-13, 1.8134502003176963e-13,
    1.973425574544739e-14, -7.287943737592673e-15, -1.5169878690228116e-15, 2.3514112258781403e-16,
    1.0006111691821667e-16,
)
# fmt: on


@final
@primitive("erf_inv")
class ErfInv(Special):
    """Elementwise inverse of the error function; infinite at -1 and 1, NaN beyond.

    Through the normal distribution's quantiles, erf_inv(x) = quantile((1 + x) / 2) / sqrt(2), by
    M. J. Wichura, Algorithm AS 241, Applied Statistics 37 (1988).
    """

    def element(self, ops: ScalarOps[V], x: V) -> Any:
        return _erf_inv_single(ops, x) if ops.dtype(x) == FLOAT32 else super().element(ops, x)

    def evaluate(self, xp: Any, x: Any) -> Any:
        size = xp.abs(x)
        inner = size <= 0.85
        return by_pieces(
            xp,
            x,
            [
                (inner, _erf_inv_inner),
                ((size > 0.85) & (size < 1), _erf_inv_outer),
                (size == 1, lambda xp, x: x * math.inf),
            ],
        )

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(constant(math.sqrt(math.pi) / 2, x), mul(t, exp(square(out))))


def _erf_inv_inner(xp: Any, x: Any) -> Any:
    half = x / 2
    r = 0.180625 - half * half
    return half * polynomial(_WICHURA_A, r) / polynomial(_WICHURA_B, r) / math.sqrt(2)


def _erf_inv_outer(xp: Any, x: Any) -> Any:
    r = xp.sqrt(-xp.log((1 - xp.abs(x)) / 2))
    size = by_pieces(xp, r, [(r <= 5, _quantile_near), (r > 5, _quantile_far)])
    return xp.copysign(size / math.sqrt(2), x)


def _quantile_near(xp: Any, r: Any) -> Any:
    return polynomial(_WICHURA_C, r - 1.6) / polynomial(_WICHURA_D, r - 1.6)


def _quantile_far(xp: Any, r: Any) -> Any:
    return polynomial(_WICHURA_E, r - 5) / polynomial(_WICHURA_F, r - 5)


def _erf_inv_single(ops: ScalarOps[V], x: V) -> V:
    """In float32, with an error of two units in the last place: normal random numbers take it.

    erf_inv(x) / x is smooth in w = -log(1 - x^2) near 0, and in its root far from it; this way of
    writing it is that of M. Giles, Approximating the erfinv function, GPU Computing Gems 2, 2011.
    """
    one = ops.like(1, x)
    w = ops.neg(ops.elementary("log", ops.mul(ops.sub(one, x), ops.add(one, x))))
    near = Element(ops, ops.sub(w, ops.like(2.5, x))).polynomial(_ERF_INV_NEAR)
    far = Element(ops, ops.sub(ops.sqrt(w), ops.like(3, x))).polynomial(_ERF_INV_FAR)
    quotient = ops.select(ops.lt(w, ops.like(5, x)), near.value, far.value)
    end = ops.eq(ops.abs(x), one)
    return ops.mul(x, ops.select(end, ops.like(math.inf, x), quotient))


# erf_inv(x) / x in w - 2.5 for w < 5, and in sqrt(w) - 3 for 5 <= w < 16: least relative error.
# fmt: off
_ERF_INV_NEAR = (
    -8.791056483e-09, 2.323264432e-08, 4.661706641e-07, -3.462704759e-06, -4.963347855e-06,
    2.183444394e-04, -1.252741878e-03, -4.177386781e-03, 0.2466402862, 1.501409359,
)
_ERF_INV_FAR = (
    1.28964847e-04, -3.187243667e-04, -7.662013839e-05, 1.495858067e-03, -3.586987439e-03,
    5.683171874e-03, -7.639410062e-03, 9.44568424e-03, 1.001675087, 2.832976796,
)
# fmt: on


@final
@primitive("erfcx")
class Erfcx(Special):
    """Elementwise exp(x^2) erfc(x), which neither underflows nor cancels. Approximated as `erf`."""

    def evaluate(self, xp: Any, x: Any) -> Any:
        return by_pieces(
            xp,
            x,
            [
                (x >= 0, _erfcx),
                (x < 0, _erfcx_left),
            ],
        )

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        slope = sub(mul(mul(constant(2, x), x), out), constant(2 / math.sqrt(math.pi), x))
        return mul(t, slope)


def _erfcx_left(xp: Any, x: Any) -> Any:
    x = xp.maximum(x, -30)  # every x below -27 overflows
    square, rest = doubled.two_product(x, x)
    return 2 * doubled.exp(xp, (square, rest)) - _erfcx(xp, -x)


@final
@primitive("ndtr")
class Ndtr(Special):
    """Elementwise standard normal distribution function, accurate in its left tail."""

    def evaluate(self, xp: Any, x: Any) -> Any:
        size = xp.abs(x) * math.sqrt(0.5)
        inner = size <= _ERF_INNER
        pieces = [
            (inner, lambda xp, x: 0.5 + 0.5 * _erf_inner(xp, x * math.sqrt(0.5))),
            (~inner & (x > 0), lambda xp, x: 1 - _ndtr_tail(xp, x)),
            (~inner & (x < 0), lambda xp, x: _ndtr_tail(xp, -x)),
        ]
        return by_pieces(xp, x, pieces)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        density = exp(mul(constant(-0.5, x), square(x)))
        return mul(t, mul(constant(1 / math.sqrt(2 * math.pi), x), density))


_NDTR_IS_ZERO = 40.0


def _ndtr_tail(xp: Any, x: Any) -> Any:
    """The probability of more than x, for x >= 0."""
    x = xp.minimum(x, _NDTR_IS_ZERO)
    return 0.5 * _gaussian(xp, x, 0.5) * _erfcx(xp, x * math.sqrt(0.5))


@final
@primitive("log_ndtr")
class LogNdtr(Special):
    """Elementwise logarithm of the standard normal distribution function."""

    def evaluate(self, xp: Any, x: Any) -> Any:
        return by_pieces(xp, x, [(x <= 0, _log_ndtr_left), (x > 0, _log_ndtr_right)])

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        # Density over distribution function, without the exponentials that they have in common.
        scaled = erfcx(mul(constant(-math.sqrt(0.5), x), x))
        return mul(t, div(constant(math.sqrt(2 / math.pi), x), scaled))


def _log_ndtr_left(xp: Any, x: Any) -> Any:
    return xp.log(_erfcx(xp, -x * math.sqrt(0.5)) / 2) - x * x / 2


def _log_ndtr_right(xp: Any, x: Any) -> Any:
    return xp.log1p(-_ndtr_tail(xp, x))


@final
@primitive("ndtri")
class Ndtri(Special):
    """Elementwise quantile of the standard normal distribution; infinite at 0 and 1, NaN beyond.

    M. J. Wichura, Algorithm AS 241, Applied Statistics 37 (1988).
    """

    def evaluate(self, xp: Any, x: Any) -> Any:
        inner = xp.abs(x - 0.5) <= 0.425
        outer = ~inner & (x > 0) & (x < 1)
        pieces = [
            (inner, _ndtri_inner),
            (outer, _ndtri_outer),
            (x == 0, lambda xp, x: x - math.inf),
            (x == 1, lambda xp, x: x * math.inf),
        ]
        return by_pieces(xp, x, pieces)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        half = constant(0.5, x)
        return mul(t, mul(constant(math.sqrt(2 * math.pi), x), exp(mul(half, square(out)))))


def _ndtri_inner(xp: Any, x: Any) -> Any:
    q = x - 0.5
    r = 0.180625 - q * q
    return q * polynomial(_WICHURA_A, r) / polynomial(_WICHURA_B, r)


def _ndtri_outer(xp: Any, x: Any) -> Any:
    r = xp.sqrt(-xp.log(xp.minimum(x, 1 - x)))
    size = by_pieces(xp, r, [(r <= 5, _quantile_near), (r > 5, _quantile_far)])
    return xp.copysign(size, x - 0.5)


# fmt: off
_WICHURA_A = (
    2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
    4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
    1.3314166789178437745e2, 3.3871328727963666080e0,
)
_WICHURA_B = (
    5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
    2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
    4.2313330701600911252e1, 1.0,
)
_WICHURA_C = (
    7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
    1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
    4.63033784615654529590e0, 1.42343711074968357734e0,
)
_WICHURA_D = (
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
    1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
    2.05319162663775882187e0, 1.0,
)
_WICHURA_E = (
    2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
    2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0,
    5.46378491116411436990e0, 6.65790464350110377720e0,
)
_WICHURA_F = (
    2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
    7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
    5.99832206555887937690e-1, 1.0,
)
# fmt: on


# B_2, B_4, …, B_24
BERNOULLI = (
    1 / 6,
    -1 / 30,
    1 / 42,
    -1 / 30,
    5 / 66,
    -691 / 2730,
    7 / 6,
    -3617 / 510,
    43867 / 798,
    -174611 / 330,
    854513 / 138,
    -236364091 / 2730,
)


def _zeta_minus_one(k: int) -> float:
    """Riemann's zeta(k) - 1, by the Euler-Maclaurin formula from 64 on."""
    n = 64
    head = [m**-k for m in range(2, n)]
    tail = [n ** (1 - k) / (k - 1), n**-k / 2, k * n ** (-k - 1) / 12]
    tail.append(-k * (k + 1) * (k + 2) * n ** (-k - 3) / 720)
    tail.append(k * (k + 1) * (k + 2) * (k + 3) * (k + 4) * n ** (-k - 5) / 30240)
    tail.append(-math.prod(range(k, k + 7)) * n ** (-k - 7) / 1209600)
    return math.fsum(head + tail)


# log gamma(2 + z) = sum over k >= 1 of c_k z^k, for |z| < 2 (Abramowitz and Stegun 6.1.33).
LOG_GAMMA_TAYLOR = (
    1 - 0.57721566490153286061,
    *((-1) ** k * _zeta_minus_one(k) / k for k in range(2, 29)),
)
_LOG_GAMMA_SERIES = (*reversed(LOG_GAMMA_TAYLOR), 0.0)

# From here on, 8 terms of Stirling's series are exact to float64 (A. and S. 6.1.41, 6.3.18).
STIRLING_FROM = 10.0
_LOG_GAMMA_STIRLING = tuple(
    b / (2 * k * (2 * k - 1)) for k, b in reversed(list(enumerate(BERNOULLI[:8], 1)))
)


@final
@primitive("lgamma")
class Lgamma(Special):
    """Elementwise logarithm of the gamma function's absolute value; infinite at 0, -1, -2, ….

    Above 10 by Stirling's series; below by log gamma(x) = log gamma(x - k) + log of the factors
    between, and the Taylor series at 2, so that the zeros at 1 and 2 are exact; for negative x by
    gamma(x) gamma(-x) = -pi / (x sin(pi x)), from gamma itself down to -10. Near the zeros at
    negative x the error is absolute.
    """

    def evaluate(self, xp: Any, x: Any) -> Any:
        return by_pieces(xp, x, [(x >= 0, _log_gamma), (x < 0, _log_gamma_reflected)])

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, ops.polygamma.digamma(x))


# All floats beyond are integers, where poles are: clipping there changes no result.
_MOST_NEGATIVE = -(2.0**53)


def _log_gamma_reflected(xp: Any, x: Any) -> Any:
    x = xp.maximum(x, _MOST_NEGATIVE)
    far = x <= -STIRLING_FROM
    return by_pieces(xp, x, [(far, _log_gamma_negative), (~far, _log_abs_gamma)])


def _log_abs_gamma(xp: Any, x: Any) -> Any:
    return xp.log(xp.abs(_gamma_near(xp, x)))


def _log_gamma_negative(xp: Any, x: Any) -> Any:
    """By gamma(x) gamma(-x) = -pi / (x sin(pi x)): unlike 1 - x, -x is not rounded."""
    sine = xp.abs(xp.sin(math.pi * (x - xp.rint(x))))
    return math.log(math.pi) - xp.log(-x * sine) - _log_gamma(xp, -x)


def _log_gamma(xp: Any, x: Any) -> Any:
    far = x >= STIRLING_FROM
    return by_pieces(xp, x, [(far, _log_gamma_stirling), (~far, _log_gamma_near)])


def _log_gamma_stirling(xp: Any, x: Any) -> Any:
    leading = (x - 0.5) * (xp.log(x) - 1) + (0.5 * math.log(2 * math.pi) - 0.5)
    return leading + log_gamma_correction(x)


def log_gamma_correction(x: Any) -> Any:
    """What log gamma(x) is above (x - 1/2) log x - x + log(2 pi) / 2, for x >= 10."""
    inverse = 1 / x
    return inverse * polynomial(_LOG_GAMMA_STIRLING, inverse * inverse)


def _log_gamma_near(xp: Any, x: Any) -> Any:
    """For x from 0 to 10: with k = rint(x), the factors between x and 2 + (x - k)."""
    k = xp.rint(x)
    factors = xp.where(k == 0, x * (1 + x), xp.where(k == 1, x, xp.ones_like(x)))
    for j in range(1, int(STIRLING_FROM) - 1):
        factors = xp.where(k >= j + 2, factors * (x - j), factors)
    logs = xp.log(factors)
    return polynomial(_LOG_GAMMA_SERIES, x - k) + xp.where(k < 2, -logs, logs)


def log_gamma_near_one(xp: Any, z: Any) -> Any:
    """Logarithm of gamma(1 + z) for z from 0 to 1, accurate near 0."""
    near = polynomial(_LOG_GAMMA_SERIES, z) - xp.log1p(z)
    return xp.where(z < 0.5, near, _log_gamma(xp, 1 + z))


@final
@primitive("gamma")
class Gamma(Special):
    """Elementwise gamma function; NaN at -1, -2, …, and infinite with the sign of x at 0.

    Below 10 in size from gamma(2 + z), |z| <= 1/2, and the factors between; beyond by Stirling's
    formula, with its exponent as a pair, and for negative x by gamma(x) gamma(-x) = -pi / (x sin
    pi x).
    """

    has_scalar_form = False  # the logarithm of `doubled` reads a table

    def evaluate(self, xp: Any, x: Any) -> Any:
        near = xp.abs(x) < STIRLING_FROM
        pole = (x < 0) & (x == xp.floor(x))
        pieces = [
            (near & ~pole, _gamma_near),
            (x >= STIRLING_FROM, _gamma_far),
            (~near & ~pole & (x < 0), _gamma_negative),
        ]
        return by_pieces(xp, x, pieces)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, mul(out, ops.polygamma.digamma(x)))


def _gamma_quotient(xp: Any, x: Any) -> tuple[Any, Any]:
    """Numerator and denominator of gamma(x), for |x| <= 10.

    With k = rint(x) they are gamma(2 + (x - k)) and, on one side or the other, the factors between.
    """
    k = xp.rint(x)
    product, rest = xp.ones_like(x), xp.zeros_like(x)
    for j in range(1, int(STIRLING_FROM) - 1):
        factor = xp.where(k >= j + 2, x - j, 1.0)
        product, error = doubled.two_product(product, factor)
        rest = rest * factor + error
    lowest = -STIRLING_FROM
    if not isinstance(k, Element):
        lowest = float(k.min()) if k.size else 2.0
    for j in range(2 - int(lowest)):
        factor = xp.where(k < 2 - j, x + j if j else x, 1.0)
        product, error = doubled.two_product(product, factor)
        rest = rest * factor + error
    product = xp.where(product == 0, product, product + rest)  # -0 stays
    center = polynomial(_GAMMA, x - k)
    return xp.where(k < 2, center, center * product), xp.where(k < 2, product, 1.0)


def _gamma_near(xp: Any, x: Any) -> Any:
    numerator, denominator = _gamma_quotient(xp, x)
    return numerator / denominator


_GAMMA_IS_INFINITE = 200.0


def _stirling_exponent(xp: Any, x: Any) -> doubled.Pair:
    """(x - 1/2) log x - x as a pair, for x > 1/2."""
    return doubled.add(doubled.scale(x - 0.5, doubled.log(xp, x)), (-x, 0.0))


def gamma_parts(xp: Any, x: Any) -> tuple[doubled.Pair, Any]:
    """A pair y and a number r for x > 0 with gamma(x) = exp(y) / r; y is 0 below 10."""
    far = x >= STIRLING_FROM
    high, low = _stirling_exponent(xp, xp.maximum(x, STIRLING_FROM))
    numerator, denominator = _gamma_quotient(xp, xp.where(far, 2.0, x))
    inverse = xp.exp(-log_gamma_correction(xp.maximum(x, STIRLING_FROM))) / math.sqrt(2 * math.pi)
    exponent = xp.where(far, high, 0.0), xp.where(far, low, 0.0)
    return exponent, xp.where(far, inverse, denominator / numerator)


def _gamma_far(xp: Any, x: Any) -> Any:
    x = xp.minimum(x, _GAMMA_IS_INFINITE)
    exponent = doubled.add(_stirling_exponent(xp, x), (log_gamma_correction(x), 0.0))
    return math.sqrt(2 * math.pi) * doubled.exp(xp, exponent)


def _gamma_negative(xp: Any, x: Any) -> Any:
    whole = xp.rint(x)
    sine = xp.sin(math.pi * (x - whole)) * (1 - 2 * (whole % 2))
    size = xp.minimum(-x, _GAMMA_IS_INFINITE)
    exponent = doubled.add(_stirling_exponent(xp, size), (log_gamma_correction(size), 0.0))
    # With a factor of 2^512 until the end: beside a pole the result is normal where 1 / gamma(-x)
    # is not.
    lifted = doubled.exp(xp, doubled.add(_LOG_LIFT, doubled.negative(exponent)))
    return math.sqrt(math.pi / 2) / (size * sine) * lifted * 2.0**-512


_LOG_LIFT = (354.891356446692, 1.1873519686893054e-14)  # log 2^512


# gamma(2 + z) for |z| <= 1/2.
# fmt: off
_GAMMA = (
    6.672088876290777e-07, -1.3343070017400827e-06, 1.792573008733643e-06, -3.5842818697056385e-06,
    7.658736710883484e-06, -1.530884712690297e-05, 3.044629718059869e-05, -6.077837214088268e-05,
    0.00012167470137306104, -0.00024094322543932877, 0.0004903883819460522, -0.000919573701078013,
    0.0021039333438764517, -0.002852645827513233, 0.011154045718050476, -0.0002669820685839899,
    0.07424901075351484, 0.08157691924708439, 0.4118403304264397, 0.42278433509846713, 1.0,
)
# fmt: on


erf = unary(Erf)
erfc = unary(Erfc)
erf_inv = unary(ErfInv)
gamma = unary(Gamma)
ndtr = unary(Ndtr)
erfcx = unary(Erfcx)
log_ndtr = unary(LogNdtr)
ndtri = unary(Ndtri)
lgamma = unary(Lgamma)

"""The error function, the gamma function's logarithm, and their kin.

NumPy has none of these, so each `impl` evaluates an approximation that its docstring names. It does
so in float64 whatever the dtype, so that narrower results are correctly rounded but for rare ties.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.ops.elementwise import add, div, mul, neg, square, sub
from fstensor.ops.families import FLOAT, Binary, Unary, binary, constant, unary
from fstensor.ops.transcendental import exp


class Special(Unary):
    """A function of one real, evaluated in float64."""

    takes = FLOAT

    @abstractmethod
    def evaluate(self, xp: Any, x: Any) -> Any:
        """The function of a vector of float64 numbers."""

    def impl(self, xp: Any, x: Any) -> Any:
        return self.evaluate(xp, x.astype(np.float64).reshape(-1)).astype(x.dtype).reshape(x.shape)


def by_pieces(
    xp: Any, x: Any, pieces: Sequence[tuple[Any, Callable[..., Any]]], *others: Any
) -> Any:
    """Each function applied to the part of the vectors under its mask; NaN where no mask holds."""
    out = xp.full_like(x, math.nan)
    for mask, function in pieces:
        out[mask] = function(xp, x[mask], *[y[mask] for y in others])
    return out


def polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """The polynomial with these coefficients, highest power first, by Horner's rule."""
    out = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        out = out * x + c
    return out


@final
@primitive("erf")
class Erf(Special):
    """Elementwise error function, 2/sqrt(pi) times the integral of exp(-s^2) from 0 to x.

    Rational approximations of W. J. Cody, Rational Chebyshev approximations for the error function,
    Mathematics of Computation 23 (1969), with the coefficients of his CALERF.
    """

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
_ERF_FAR = 4.0
_ERFC_IS_ZERO = 28.0


def _erf_inner(xp: Any, x: Any) -> Any:
    s = x * x
    return x * polynomial(_CODY_A, s) / polynomial(_CODY_B, s)


def _erf_outer(xp: Any, x: Any) -> Any:
    return xp.copysign(1 - _erfc_outer(xp, xp.abs(x)), x)


def _erfc_outer(xp: Any, x: Any) -> Any:
    """Function erfc of numbers above 0.46875, as exp(-x^2) times a rational function."""
    x = xp.minimum(x, _ERFC_IS_ZERO)
    ratio = by_pieces(xp, x, [(x <= _ERF_FAR, _erfc_ratio_near), (x > _ERF_FAR, _erfc_ratio_far)])
    # x^2 in two parts, the first one exact: the rounding error of x^2 would grow under exp.
    coarse = xp.trunc(x * 16) / 16
    rest = (x - coarse) * (x + coarse)
    return xp.exp(-coarse * coarse) * xp.exp(-rest) * ratio


def _erfc_ratio_near(xp: Any, x: Any) -> Any:
    return polynomial(_CODY_C, x) / polynomial(_CODY_D, x)


def _erfc_ratio_far(xp: Any, x: Any) -> Any:
    s = 1 / (x * x)
    series = s * polynomial(_CODY_P, s) / polynomial(_CODY_Q, s)
    return (1 / math.sqrt(math.pi) - series) / x


# fmt: off
_CODY_A = (
    1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
    3.20937758913846947e3,
)
_CODY_B = (
    1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
    2.84423683343917062e3,
)
_CODY_C = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
    2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
    1.23033935479799725e3,
)
_CODY_D = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
    1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
    1.23033935480374942e3,
)
_CODY_P = (
    1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
    1.60837851487422766e-2, 6.58749161529837803e-4,
)
_CODY_Q = (
    1.0, 2.56852019228982242e0, 1.87295284992346047e0, 5.27905102951428412e-1,
    6.05183413124413191e-2, 2.33520497626869185e-3,
)
# fmt: on


@final
@primitive("erf_inv")
class ErfInv(Special):
    """Elementwise inverse of the error function; infinite at -1 and 1, NaN beyond.

    Through the normal distribution's quantiles, erf_inv(x) = quantile((1 + x) / 2) / sqrt(2), by
    M. J. Wichura, Algorithm AS 241, Applied Statistics 37 (1988).
    """

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
                # Every x below -27 overflows.
                (x < 0, lambda xp, x: 2 * xp.exp(xp.maximum(x, -30) ** 2) - _erfcx(xp, -x)),
            ],
        )

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        slope = sub(mul(mul(constant(2, x), x), out), constant(2 / math.sqrt(math.pi), x))
        return mul(t, slope)


def _erfcx(xp: Any, x: Any) -> Any:
    """For x >= 0."""
    return by_pieces(
        xp,
        x,
        [
            (x <= _ERF_INNER, lambda xp, x: xp.exp(x * x) * (1 - _erf_inner(xp, x))),
            ((x > _ERF_INNER) & (x <= _ERF_FAR), _erfc_ratio_near),
            (x > _ERF_FAR, _erfc_ratio_far),
        ],
    )


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
    return xp.log1p(-Erfc().evaluate(xp, x * math.sqrt(0.5)) / 2)


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
_BERNOULLI = (
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
    """Riemann's zeta(k) - 1, by the Euler-Maclaurin formula from 16 on."""
    n = 16
    head = [m**-k for m in range(2, n)]
    tail = [n ** (1 - k) / (k - 1), n**-k / 2, k * n ** (-k - 1) / 12]
    tail.append(-k * (k + 1) * (k + 2) * n ** (-k - 3) / 720)
    tail.append(k * (k + 1) * (k + 2) * (k + 3) * (k + 4) * n ** (-k - 5) / 30240)
    tail.append(-math.prod(range(k, k + 7)) * n ** (-k - 7) / 1209600)
    return math.fsum(head + tail)


# log gamma(2 + z) = sum over k >= 1 of c_k z^k, for |z| < 2 (Abramowitz and Stegun 6.1.33).
_SERIES = (
    1 - 0.57721566490153286061,
    *((-1) ** k * _zeta_minus_one(k) / k for k in range(2, 29)),
)
_LOG_GAMMA_SERIES = (*reversed(_SERIES), 0.0)
_DIGAMMA_SERIES = tuple(k * c for k, c in reversed(list(enumerate(_SERIES, 1))))

# From here on, 8 terms of Stirling's series are exact to float64 (A. and S. 6.1.41, 6.3.18).
_STIRLING_FROM = 10.0
_LOG_GAMMA_STIRLING = tuple(
    b / (2 * k * (2 * k - 1)) for k, b in reversed(list(enumerate(_BERNOULLI[:8], 1)))
)
_DIGAMMA_STIRLING = tuple(-b / (2 * k) for k, b in reversed(list(enumerate(_BERNOULLI[:8], 1))))


@final
@primitive("lgamma")
class Lgamma(Special):
    """Elementwise logarithm of the gamma function's absolute value; infinite at 0, -1, -2, ….

    Above 10 by Stirling's series; below by log gamma(x) = log gamma(x - k) + log of the factors
    between, and the Taylor series at 2, so that the zeros at 1 and 2 are exact; for negative x by
    gamma(x) gamma(1 - x) = pi / sin(pi x). Near the zeros at negative x the error is absolute.
    """

    def evaluate(self, xp: Any, x: Any) -> Any:
        return by_pieces(xp, x, [(x >= 0, _log_gamma), (x < 0, _log_gamma_reflected)])

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, digamma(x))


# All floats beyond are integers, where poles are: clipping there changes no result.
_MOST_NEGATIVE = -(2.0**53)


def _log_gamma_reflected(xp: Any, x: Any) -> Any:
    x = xp.maximum(x, _MOST_NEGATIVE)
    sine = xp.abs(xp.sin(math.pi * (x - xp.rint(x))))
    return math.log(math.pi) - xp.log(sine) - _log_gamma(xp, 1 - x)


def _log_gamma(xp: Any, x: Any) -> Any:
    far = x >= _STIRLING_FROM
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
    for j in range(1, int(_STIRLING_FROM) - 1):
        factors = xp.where(k >= j + 2, factors * (x - j), factors)
    logs = xp.log(factors)
    return polynomial(_LOG_GAMMA_SERIES, x - k) + xp.where(k < 2, -logs, logs)


def log_gamma_near_one(xp: Any, z: Any) -> Any:
    """Logarithm of gamma(1 + z) for z from 0 to 1, accurate near 0."""
    near = polynomial(_LOG_GAMMA_SERIES, z) - xp.log1p(z)
    return xp.where(z < 0.5, near, _log_gamma(xp, 1 + z))


@final
@primitive("digamma")
class Digamma(Special):
    """Elementwise derivative of log gamma; NaN at 0, -1, -2, ….

    Computed as `lgamma` is, from the derivatives of the same series. Near its zeros the error is
    absolute.
    """

    def evaluate(self, xp: Any, x: Any) -> Any:
        return by_pieces(xp, x, [(x > 0, _digamma), (x < 0, _digamma_reflected)])

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, polygamma(constant(1, x), x))


def _digamma_reflected(xp: Any, x: Any) -> Any:
    fraction = x - xp.rint(x)
    tangent = xp.tan(math.pi * fraction)
    pole = xp.full_like(x, math.nan)
    return _digamma(xp, 1 - x) - math.pi / xp.where(fraction == 0, pole, tangent)


def _digamma(xp: Any, x: Any) -> Any:
    far = x >= _STIRLING_FROM
    return by_pieces(xp, x, [(far, _digamma_stirling), (~far, _digamma_near)])


def _digamma_stirling(xp: Any, x: Any) -> Any:
    inverse = 1 / x
    s = inverse * inverse
    return xp.log(x) - 0.5 * inverse + s * polynomial(_DIGAMMA_STIRLING, s)


def _digamma_near(xp: Any, x: Any) -> Any:
    """For x from 0 to 10, by psi(x) = psi(x - 1) + 1 / (x - 1)."""
    k = xp.rint(x)
    zero = xp.zeros_like(x)
    total = xp.where(k < 2, -1 / x, zero) + xp.where(k == 0, -1 / (1 + x), zero)
    for j in range(1, int(_STIRLING_FROM) - 1):
        total = total + xp.where(k >= j + 2, 1 / (x - j), zero)
    return polynomial(_DIGAMMA_SERIES, x - k) + total


@final
@primitive("zeta")
class Zeta(Binary):
    """Elementwise Hurwitz zeta function, the sum over k >= 0 of (q + k)^-x, for x > 1.

    Infinite at x = 1 and at q = 0, -1, …; NaN for x < 1, for other negative q unless x is an
    integer, and for q below -90. By the Euler-Maclaurin formula (F. Johansson, Rigorous
    high-precision computation of the Hurwitz zeta function, 2015, equation 5).
    Only q has a derivative, as in JAX.
    """

    takes = FLOAT

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return _hurwitz_zeta(xp, x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, mul(neg(x), zeta(add(x, constant(1, x)), y)))


_ZETA_DIRECT = 10
_ZETA_LOWEST = -90


def _hurwitz_zeta(xp: Any, s: Any, q: Any) -> Any:
    s, q = xp.broadcast_arrays(s, q)
    lowest = float(xp.fmin(q, 0).min()) if q.size else 0.0
    count = _ZETA_DIRECT + math.ceil(-max(lowest, _ZETA_LOWEST))
    total = xp.zeros_like(q)
    for k in range(count):
        total = total + xp.power(q + k, -s)
    a = q + count
    power = xp.power(a, -s)
    total = total + a * power / (s - 1) + power / 2
    factor = s * power / a
    for j, b in enumerate(_BERNOULLI, 1):
        total = total + b / math.factorial(2 * j) * factor
        factor = factor * (s + (2 * j - 1)) * (s + 2 * j) / (a * a)
    pole = (s == 1) | ((q <= 0) & (q == xp.floor(q)))
    outside = (s < 1) | (q < _ZETA_LOWEST) | ((q < 0) & (s != xp.floor(s)))
    total = xp.where(xp.isinf(q) & (q > 0), xp.zeros_like(q), total)
    total = xp.where(pole, xp.full_like(q, math.inf), total)
    return xp.where(outside | (s != s) | (q != q), xp.full_like(q, math.nan), total)


@final
@primitive("polygamma")
class Polygamma(Binary):
    """Elementwise derivative of order m of digamma at x, for whole m >= 0.

    (-1)^(m+1) m! zeta(m + 1, x), and digamma itself for m = 0; NaN for other m, and below -90.
    Only x has a derivative, as in JAX.
    """

    takes = FLOAT

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        m, z = xp.broadcast_arrays(x.astype(np.float64), y.astype(np.float64))
        whole = (m >= 0) & (m == xp.floor(m))
        factorial = xp.exp(Lgamma().impl(xp, m + 1))
        sign = xp.where(m % 2 == 0, -1, 1)
        out = sign * factorial * _hurwitz_zeta(xp, m + 1, z)
        out = xp.where(m == 0, Digamma().impl(xp, z), out)
        return xp.where(whole, out, xp.full_like(out, math.nan)).astype(x.dtype)

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, polygamma(add(x, constant(1, x)), y))


erf = unary(Erf)
erfc = unary(Erfc)
erf_inv = unary(ErfInv)
erfcx = unary(Erfcx)
log_ndtr = unary(LogNdtr)
ndtri = unary(Ndtri)
lgamma = unary(Lgamma)
digamma = unary(Digamma)
zeta = binary(Zeta)
polygamma = binary(Polygamma)

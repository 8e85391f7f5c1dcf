"""The derivatives of the gamma function's logarithm, and the zeta function they are made of."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np

from fstensor.array import Array, ArrayLike
from fstensor.core.primitive import primitive
from fstensor.ops import doubled
from fstensor.ops.elementwise import add, mul, neg
from fstensor.ops.families import FLOAT, Binary, binary, constant, unary
from fstensor.ops.special import (
    BERNOULLI,
    LOG_GAMMA_TAYLOR,
    STIRLING_FROM,
    Gamma,
    Special,
    by_pieces,
    in_blocks,
    polynomial,
)

_DIGAMMA_SERIES = tuple(k * c for k, c in reversed(list(enumerate(LOG_GAMMA_TAYLOR, 1))))
_DIGAMMA_STIRLING = tuple(-b / (2 * k) for k, b in reversed(list(enumerate(BERNOULLI[:8], 1))))
# digamma(3/2 + z) over its distance from the zero, |z| <= 1/2; made as the tables of special.py.
# fmt: off
_DIGAMMA = (
    0.00011881232908510335, -0.0001782188548855923, 9.653646261410062e-05, -0.00014480643368061614,
    0.00032395945401345196, -0.00048595039220036254, 0.0006909255761282986, -0.0010364584817312839,
    0.0015633696313653504, -0.0023454947397380833, 0.003518106563802472, -0.005279937255532708,
    0.007927021796868154, -0.011908220105959716, 0.017907248317313294, -0.026975796659787055,
    0.040760833940846085, -0.06192213327548831, 0.09498872445289039, -0.14840492305388092,
    0.24054248424078697, -0.4236274212814606, 0.9510558760318328,
)
# fmt: on
_DIGAMMA_ZERO = (1.4616321449683622, 9.549995429965697e-17)


@final
@primitive("digamma")
class Digamma(Special):
    """Elementwise derivative of log gamma; NaN at 0, -1, -2, ….

    Computed as `lgamma` is, from the derivatives of the same series, but from 1 to 2 as a multiple
    of the distance from the zero. Near the zeros at negative x the error is absolute.
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
    far = x >= STIRLING_FROM
    middle = (x >= 1) & (x <= 2)
    pieces = [(far, _digamma_stirling), (middle, _digamma_middle), (~far & ~middle, _digamma_near)]
    return by_pieces(xp, x, pieces)


def _digamma_middle(xp: Any, x: Any) -> Any:
    return ((x - _DIGAMMA_ZERO[0]) - _DIGAMMA_ZERO[1]) * polynomial(_DIGAMMA, x - 1.5)


def _digamma_stirling(xp: Any, x: Any) -> Any:
    inverse = 1 / x
    s = inverse * inverse
    return xp.log(x) - 0.5 * inverse + s * polynomial(_DIGAMMA_STIRLING, s)


def _digamma_near(xp: Any, x: Any) -> Any:
    """For x from 0 to 10, by psi(x) = psi(x - 1) + 1 / (x - 1)."""
    k = xp.rint(x)
    zero = xp.zeros_like(x)
    total = xp.where(k < 2, -1 / x, zero) + xp.where(k == 0, -1 / (1 + x), zero)
    for j in range(1, int(STIRLING_FROM) - 1):
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
        wide = xp.broadcast_arrays(x.astype(np.float64), y.astype(np.float64))
        out = in_blocks(xp, _hurwitz_zeta, *[v.reshape(-1) for v in wide])
        return out.astype(x.dtype).reshape(wide[0].shape)

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, mul(neg(x), zeta(add(x, constant(1, x)), y)))


_ZETA_DIRECT = 10
_ZETA_LOWEST = -90


def _hurwitz_zeta(xp: Any, s: Any, q: Any) -> Any:
    lowest = float(xp.fmin(q, 0).min()) if q.size else 0.0
    count = _ZETA_DIRECT + math.ceil(-max(lowest, _ZETA_LOWEST))
    total = xp.zeros_like(q)
    for k in range(count):
        total = total + _power_of_sum(xp, q, k, s)
    a = q + count
    power = _power_of_sum(xp, q, count, s)
    total = total + a * power / (s - 1) + power / 2
    factor = s * power / a
    for j, b in enumerate(BERNOULLI, 1):
        total = total + b / math.factorial(2 * j) * factor
        factor = factor * (s + (2 * j - 1)) * (s + 2 * j) / (a * a)
    pole = (s == 1) | ((q <= 0) & (q == xp.floor(q)))
    outside = (s < 1) | (q < _ZETA_LOWEST) | ((q < 0) & (s != xp.floor(s)))
    total = xp.where(xp.isinf(q) & (q > 0), xp.zeros_like(q), total)
    total = xp.where(pole, xp.full_like(q, math.inf), total)
    return xp.where(outside | (s != s) | (q != q), xp.full_like(q, math.nan), total)


def _power_of_sum(xp: Any, q: Any, k: int, s: Any) -> Any:
    """(q + k)^-s, without s times the rounding error of q + k."""
    base, rest = doubled.two_sum(q, float(k))
    power = xp.power(base, -s)
    return power - power * xp.where(rest == 0, 0.0, s * rest / base)


@final
@primitive("polygamma")
class Polygamma(Binary):
    """Elementwise derivative of order m of digamma at x, for whole m >= 0.

    (-1)^(m+1) m! zeta(m + 1, x), and digamma itself for m = 0; NaN for other m, and below -90.
    Only x has a derivative, as in JAX.
    """

    takes = FLOAT

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        wide = xp.broadcast_arrays(x.astype(np.float64), y.astype(np.float64))
        out = in_blocks(xp, self._evaluate, *[v.reshape(-1) for v in wide])
        return out.astype(x.dtype).reshape(wide[0].shape)

    def _evaluate(self, xp: Any, m: Any, z: Any) -> Any:
        whole = (m >= 0) & (m == xp.floor(m))
        factorial = Gamma().evaluate(xp, m + 1)
        sign = xp.where(m % 2 == 0, -1, 1)
        out = sign * factorial * _hurwitz_zeta(xp, m + 1, z)
        out = xp.where(m == 0, Digamma().evaluate(xp, z), out)
        return xp.where(whole, out, math.nan)

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, polygamma(add(x, constant(1, x)), y))


digamma = unary(Digamma)
_zeta = binary(Zeta)
_polygamma = binary(Polygamma)


def zeta(x: ArrayLike, q: ArrayLike) -> Array:
    """Elementwise Hurwitz zeta function, the sum over k >= 0 of (q + k)^-x. Dtypes: float."""
    return _zeta(x, q)


def polygamma(m: ArrayLike, x: ArrayLike) -> Array:
    """Elementwise derivative of order m of `digamma`, for whole m >= 0. Dtypes: float."""
    return _polygamma(m, x)

"""Exponential integrals."""

from __future__ import annotations

import itertools
import math
from typing import Any, final

import numpy as np

from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.ops.elementwise import div, mul, neg, sub
from fstensor.ops.families import FLOAT, Binary, binary, constant, unary
from fstensor.ops.gamma import tail_integrals
from fstensor.ops.special import Special, by_pieces, chebyshev, in_blocks, polynomial
from fstensor.ops.transcendental import exp

# sum over k >= 1 of x^k / (k k!), to x = 8; DLMF 6.6.2.
_NEAR, _FAR = 8.0, 40.0
_EI_ZERO = (0.3725074107813666, 1.3140183414386028e-17)
_EI_SERIES = (*(1 / (k * math.factorial(k)) for k in range(45, 0, -1)), 0.0)
# sum over k of k! x^-k; DLMF 6.12.2.
_EI_FAR = tuple(float(math.factorial(k)) for k in range(40, -1, -1))
_E1_SERIES = (*((-1) ** (k + 1) / (k * math.factorial(k)) for k in range(20, 0, -1)), 0.0)
_LOWEST, _HIGHEST = -20, 8


# (S(x) - S(z)) / (x - z) for that sum S and the zero z of Ei: Horner's rule without its last step.
_EI_DIVIDED = tuple(itertools.accumulate(_EI_SERIES[:-1], lambda total, c: total * _EI_ZERO[0] + c))
# x e^-x Ei(x) for 8 <= x <= 40 in Chebyshev polynomials of (20 / x - 1.5) that interpolate it, and
# (x + 1) e^x E_1(x) for x >= 3/4 in those of (x - 3.25) / (x + 1.75); computed to 70 digits.
# fmt: off
_EI_MIDDLE = (
    1.0971822993526872, 0.0770591919089815, 0.006986735233060248, 0.0007445073400536521,
    -6.190945240808453e-05, -6.05671540835428e-05, -6.510201721653501e-06, 3.930993125975363e-06,
    6.717200189571958e-07, -3.612436914826666e-07, -3.574881351254242e-08, 3.938951511685486e-08,
    -2.644362369619498e-09, -3.6030171029809262e-09, 1.1033699909043024e-09, 1.144413115197129e-10,
    -1.568408756663115e-10, 3.505437075609703e-11, 6.7939534155303266e-12, -6.5411053691705375e-12,
    1.5928906131965833e-12, 1.8289148861895117e-13, -2.698690008134379e-13, 8.964153429943713e-14,
    -4.652855207149057e-15, -9.299960733497457e-15, 4.825539452691901e-15, -1.0531241799722363e-15,
    -1.2280105894332015e-16, 1.9685295484758756e-16, -8.145827739483319e-17,
)
_E1_FAR = (
    1.0842898732805475, -0.12064404166343136, 0.04351352054482136, -0.009166569494310333,
    0.002465840111380802, -0.0005857851185141927, 0.00015794588443542937, -3.9439641041299714e-05,
    1.0805965710706856e-05, -2.7666999650734584e-06, 7.711297138823456e-07,
    -1.9975194799242294e-07, 5.671665156369751e-08, -1.4709300800810092e-08, 4.273109460926448e-09,
    -1.0965054450547582e-09, 3.290479707057e-10, -8.208194918347317e-11, 2.594007200972616e-11,
    -6.0969864694576345e-12, 2.1081113875607558e-12, -4.38926830019636e-13, 1.7930062724564775e-13,
    -2.88388493129735e-14, 1.638883643392349e-14, -1.3701012632182893e-15, 1.6704391602272572e-15,
    4.3682634169051457e-17, 1.9650796001773594e-16, 3.004552707543193e-17, 2.6956250922612122e-17,
)
# fmt: on


def _ei_low(xp: Any, x: Any) -> Any:
    """For 0 < x < 1, as Ei(x) - Ei(z) at the zero z: log(x / z) + S(x) - S(z), of one sign."""
    distance = (x - _EI_ZERO[0]) - _EI_ZERO[1]
    ratio = xp.where(x > 0.1, xp.log1p(distance / _EI_ZERO[0]), xp.log(x / _EI_ZERO[0]))
    return ratio + distance * polynomial(_EI_DIVIDED[-20:], x)


def _e1(xp: Any, x: Any) -> Any:
    """E_1(x) for x > 0."""
    return by_pieces(xp, x, [(x < _E1_FROM, _e1_near), (x >= _E1_FROM, _e1_far)])


_E1_FROM = 0.75


def _e1_near(xp: Any, x: Any) -> Any:
    return polynomial(_E1_SERIES, x) - xp.log(x) - np.euler_gamma


def _e1_far(xp: Any, x: Any) -> Any:
    return xp.exp(-x) * (chebyshev(_E1_FAR, 1 - 5 / (x + 1.75)) / (x + 1))


def _ei_near(xp: Any, x: Any) -> Any:
    return np.euler_gamma + xp.log(x) + polynomial(_EI_SERIES, x)


def _ei_middle(xp: Any, x: Any) -> Any:
    return xp.exp(x) * (chebyshev(_EI_MIDDLE, 20 / x - 1.5) / x)


def _ei_far(xp: Any, x: Any) -> Any:
    # The exponential in two factors: the quotient may be finite where it is not.
    root = xp.exp(x / 2)
    return root * (polynomial(_EI_FAR, 1 / x) / x) * root


def _expn(xp: Any, n: Any, x: Any) -> Any:
    """E_n(x) of whole n and x > 0."""
    first = n == 1
    near = ~first & ((n <= 0) | ((x < 1) & (n < _HIGHEST)))
    pieces = [
        (first, lambda xp, n, x: _e1(xp, x)),
        (near, _expn_near),
        (~first & ~near, _expn_integral),
    ]
    return by_pieces(xp, n, pieces, x)


def _expn_integral(xp: Any, n: Any, x: Any) -> Any:
    """E_n(x) = integral over y > 0 of exp(-x e^y - (n - 1) y), as for the gamma function."""
    return xp.exp(-x) * tail_integrals(xp, 1 - n, x, 1)[0]


def _expn_near(xp: Any, n: Any, x: Any) -> Any:
    """For n <= 0, or x < 1: from E_0 or E_1 by n E_(n+1) = e^-x - x E_n."""
    decay = xp.exp(-x)
    value = _e1(xp, x)
    out = xp.full_like(x, math.nan)
    for k in range(1, _HIGHEST - 1):
        value = (decay - x * value) / k
        out = xp.where(n == k + 1, value, out)
    value = decay / x
    out = xp.where(n == 0, value, out)
    for k in range(-1, _LOWEST - 1, -1):
        value = (decay - k * value) / x
        out = xp.where(n == k, value, out)
    return out


@final
@primitive("expi")
class Expi(Special):
    """Elementwise exponential integral Ei, the principal value of that of e^t / t from -inf to x.

    -inf at 0. Accurate also near its zero at 0.3725.
    """

    def evaluate(self, xp: Any, x: Any) -> Any:
        out = by_pieces(
            xp,
            x,
            [
                (x < 0, lambda xp, x: -_e1(xp, -x)),
                ((x > 0) & (x < 1), _ei_low),
                ((x >= 1) & (x <= _NEAR), _ei_near),
                ((x > _NEAR) & (x <= _FAR), _ei_middle),
                (x > _FAR, _ei_far),
            ],
        )
        out = xp.where(x == 0, -math.inf, out)
        return xp.where(x == math.inf, math.inf, xp.where(x == -math.inf, -0.0, out))

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, div(exp(x), x))


@final
@primitive("expn")
class Expn(Binary):
    """Elementwise exponential integral E_n(x): of e^(-x t) / t^n, t from 1 to infinity.

    For whole n >= -20 and x >= 0; NaN elsewhere. Infinite at x = 0 for n <= 1. Only x has a
    derivative.
    """

    takes = FLOAT

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        wide = xp.broadcast_arrays(x.astype(np.float64), y.astype(np.float64))
        out = in_blocks(xp, self._evaluate, *[v.reshape(-1) for v in wide])
        return out.astype(x.dtype).reshape(wide[0].shape)

    def _evaluate(self, xp: Any, n: Any, z: Any) -> Any:
        whole = (n == xp.floor(n)) & (n >= _LOWEST) & (n < math.inf)
        inside = whole & (z > 0) & (z < math.inf)
        out = by_pieces(xp, n, [(inside, _expn)], z)
        at_zero = xp.where(n > 1, 1 / xp.maximum(n - 1, 1), math.inf)
        out = xp.where(whole & (z == 0), at_zero, out)
        return xp.where(whole & (z == math.inf), 0.0, out)

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return neg(mul(t, expn(sub(x, constant(1, x)), y)))


expi = unary(Expi)
expn = binary(Expn)

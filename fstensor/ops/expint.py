"""Exponential integrals."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np

from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.ops.elementwise import div, mul, neg, sub
from fstensor.ops.families import FLOAT, Binary, binary, constant, unary
from fstensor.ops.gamma import tail_integrals
from fstensor.ops.special import Special, by_pieces, polynomial
from fstensor.ops.transcendental import exp

# sum over k >= 1 of x^k / (k k!), to x = 40; DLMF 6.6.2.
_FAR = 40.0
_EI_SERIES = (*(1 / (k * math.factorial(k)) for k in range(130, 0, -1)), 0.0)
# sum over k of k! x^-k; DLMF 6.12.2.
_EI_FAR = tuple(float(math.factorial(k)) for k in range(40, -1, -1))
_E1_SERIES = (*((-1) ** (k + 1) / (k * math.factorial(k)) for k in range(20, 0, -1)), 0.0)
_LOWEST, _HIGHEST = -20, 8


def _ei_near(xp: Any, x: Any) -> Any:
    return np.euler_gamma + xp.log(x) + polynomial(_EI_SERIES, x)


def _ei_far(xp: Any, x: Any) -> Any:
    # The exponential in two factors: the quotient may be finite where it is not.
    root = xp.exp(x / 2)
    return root * (polynomial(_EI_FAR, 1 / x) / x) * root


def _expn(xp: Any, n: Any, x: Any) -> Any:
    """E_n(x) of whole n and x > 0."""
    near = (n <= 0) | ((x < 1) & (n < _HIGHEST))
    return by_pieces(xp, n, [(~near, _expn_integral), (near, _expn_near)], x)


def _expn_integral(xp: Any, n: Any, x: Any) -> Any:
    """E_n(x) = integral over y > 0 of exp(-x e^y - (n - 1) y), as for the gamma function."""
    return xp.exp(-x) * tail_integrals(xp, 1 - n, x, 1)[0]


def _expn_near(xp: Any, n: Any, x: Any) -> Any:
    """For n <= 0, or x < 1: from E_0 or E_1, DLMF 6.6.2, by n E_(n+1) = e^-x - x E_n."""
    decay = xp.exp(-x)
    first = polynomial(_E1_SERIES, x) - xp.log(x) - np.euler_gamma
    out = xp.where(n == 1, first, math.nan)
    value = first
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

    -inf at 0. Near its zero at 0.3725 the error is absolute.
    """

    def evaluate(self, xp: Any, x: Any) -> Any:
        out = by_pieces(
            xp,
            x,
            [
                (x < 0, lambda xp, x: -_expn(xp, xp.ones_like(x), -x)),
                ((x > 0) & (x <= _FAR), _ei_near),
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
        n, z = [v.reshape(-1) for v in wide]
        whole = (n == xp.floor(n)) & (n >= _LOWEST) & (n < math.inf)
        inside = whole & (z > 0) & (z < math.inf)
        out = by_pieces(xp, n, [(inside, _expn)], z)
        at_zero = xp.where(n > 1, 1 / xp.maximum(n - 1, 1), math.inf)
        out = xp.where(whole & (z == 0), at_zero, out)
        out = xp.where(whole & (z == math.inf), 0.0, out)
        return out.astype(x.dtype).reshape(wide[0].shape)

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return neg(mul(t, expn(sub(x, constant(1, x)), y)))


expi = unary(Expi)
expn = binary(Expn)

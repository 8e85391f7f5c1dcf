"""Spence's function, the dilogarithm of 1 - x."""

from __future__ import annotations

import math
from typing import Any, final

from fstensor import ops
from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.ops.elementwise import abs, add, div, mul, neg, sub
from fstensor.ops.families import constant, unary
from fstensor.ops.special import Special, by_pieces, polynomial
from fstensor.ops.transcendental import log1p

# Li2(1 - e^-u) = u - u^2/4 + sum over k >= 1 of B_2k u^(2k + 1) / (2k + 1)!, from the Bernoulli
# numbers' generating function; the sum's coefficients, highest power of u^2 first.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
_SERIES = tuple(b / math.factorial(2 * k + 3) for k, b in enumerate(_BERNOULLI))[::-1]


def _of_log(u: Any) -> Any:
    """Li2(1 - e^-u) for |u| <= log 2."""
    s = u * u
    return u - s / 4 + u * s * polynomial(_SERIES, s)


def _near_zero(xp: Any, x: Any) -> Any:
    """By Li2(1 - x) = pi^2/6 - log(x) log(1 - x) - Li2(x); DLMF 25.12.6."""
    u = -xp.log1p(-x)
    product = xp.where(x == 0, 0.0, xp.log(xp.where(x == 0, 1.0, x)) * u)
    return math.pi**2 / 6 + product - _of_log(u)


def _middle(xp: Any, x: Any) -> Any:
    return _of_log(-xp.log(x))


def _far(xp: Any, x: Any) -> Any:
    """By Li2(z) = -pi^2/6 - log(-z)^2/2 - Li2(1/z) at z = 1 - x; DLMF 25.12.4."""
    return -(math.pi**2) / 6 - xp.log(x - 1) ** 2 / 2 - _of_log(-xp.log1p(1 / (x - 1)))


# log(1 + d) / d = 1 - d/2 + d^2/3 - ..., highest power first.
_SLOPE_SERIES = tuple((-1) ** k / (k + 1) for k in range(14, -1, -1))
_SLOPE_NEAR = 0.06


@final
@primitive("spence")
class Spence(Special):
    """Elementwise integral of log(t) / (1 - t) from 1 to x, the dilogarithm of 1 - x; x >= 0."""

    def evaluate(self, xp: Any, x: Any) -> Any:
        pieces = [
            ((x >= 0) & (x < 0.5), _near_zero),
            ((x >= 0.5) & (x <= 2), _middle),
            (x > 2, _far),
        ]
        return by_pieces(xp, x, pieces)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        """-log(1 + d) / d at d = x - 1, by its series near 0, so that further derivatives hold."""
        d = sub(x, constant(1, x))
        is_near = ops.logical.lt(abs(d), constant(_SLOPE_NEAR, d))
        near = ops.logical.where(is_near, d, constant(0, d))
        far = ops.logical.where(is_near, constant(1, d), d)
        series = constant(_SLOPE_SERIES[0], d)
        for c in _SLOPE_SERIES[1:]:
            series = add(mul(series, near), constant(c, d))
        slope = ops.logical.where(is_near, series, div(log1p(far), far))
        return neg(mul(t, slope))


spence = unary(Spence)

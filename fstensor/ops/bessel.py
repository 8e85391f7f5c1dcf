"""Modified Bessel functions of the first kind, scaled by exp(-|x|)."""

from __future__ import annotations

import math
from typing import Any, final

from fstensor import ops
from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.ops.elementwise import div, mul, sign, sub
from fstensor.ops.families import constant, unary
from fstensor.ops.special import Special, by_pieces, polynomial

# The power series is used below, Hankel's expansion above; both are exact to float64 at 20.
_FAR = 20.0


def _power_series(order: int) -> tuple[float, ...]:
    """Coefficients of (x / 2)^2k in I_order(x) (x / 2)^-order; DLMF 10.25.2."""
    return tuple(1 / (math.factorial(k) * math.factorial(k + order)) for k in range(45, -1, -1))


def _hankel(order: int) -> tuple[float, ...]:
    """Coefficients of x^-k in I_order(x) e^-x sqrt(2 pi x); DLMF 10.40.1."""
    terms = [1.0]
    for k in range(1, 31):
        terms.append(-terms[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    return tuple(reversed(terms))


_POWERS = tuple(map(_power_series, (0, 1)))
_INVERSE_POWERS = tuple(map(_hankel, (0, 1)))


def _scaled(xp: Any, x: Any, order: int) -> Any:
    """I_order(x) e^-x for x >= 0."""

    def near(xp: Any, x: Any) -> Any:
        half = x / 2
        return half**order * polynomial(_POWERS[order], half * half) * xp.exp(-x)

    def far(xp: Any, x: Any) -> Any:
        return polynomial(_INVERSE_POWERS[order], 1 / x) / xp.sqrt(2 * math.pi * x)

    return by_pieces(xp, x, [(x < _FAR, near), (x >= _FAR, far)])


@final
@primitive("bessel_i0e")
class BesselI0e(Special):
    """Elementwise exp(-|x|) I_0(x), with the modified Bessel function of order 0."""

    def evaluate(self, xp: Any, x: Any) -> Any:
        return _scaled(xp, xp.abs(x), 0)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        # I_0' = I_1.
        return mul(t, sub(bessel_i1e(x), mul(sign(x), out)))


@final
@primitive("bessel_i1e")
class BesselI1e(Special):
    """Elementwise exp(-|x|) I_1(x), with the modified Bessel function of order 1."""

    def evaluate(self, xp: Any, x: Any) -> Any:
        return xp.copysign(_scaled(xp, xp.abs(x), 1), x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        # I_1' = I_0 - I_1 / x, which is 1/2 at 0.
        tiny = ops.logical.eq(x, constant(0, x))
        safe = ops.logical.where(tiny, constant(1, x), x)
        ratio = div(out, safe)
        ratio = ops.logical.where(tiny, constant(0.5, x), ratio)
        return mul(t, sub(sub(bessel_i0e(x), ratio), mul(sign(x), out)))


bessel_i0e = unary(BesselI0e)
bessel_i1e = unary(BesselI1e)

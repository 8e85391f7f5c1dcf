"""Modified Bessel functions of the first kind, and those scaled by exp(-|x|)."""

from __future__ import annotations

import math
from typing import Any, final

from fstensor import ops
from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.ops import doubled
from fstensor.ops.elementwise import div, mul, sign, sub
from fstensor.ops.families import constant, unary
from fstensor.ops.special import Special, by_pieces, chebyshev, polynomial

_FAR = 8.0


def _power_series(order: int) -> tuple[float, ...]:
    """Coefficients of (x / 2)^2k in I_order(x) (x / 2)^-order, to x = 8; DLMF 10.25.2."""
    return tuple(1 / (math.factorial(k) * math.factorial(k + order)) for k in range(24, -1, -1))


_POWERS = tuple(map(_power_series, (0, 1)))
# I_order(x) e^-x sqrt(x) for x >= 8, in Chebyshev polynomials of 16 / x - 1, which interpolate it,
# computed to 70 digits.
# fmt: off
_I0_FAR = (
    0.4022452055070544, 0.0033691164782556943, 6.889758346916825e-05, 2.8913705208347567e-06,
    2.0489185894690638e-07, 2.266668990498178e-08, 3.3962320257083865e-09, 4.94060238822497e-10,
    1.1889147107846439e-11, -3.1499165279632416e-11, -1.3215811840447713e-11,
    -1.7941785315068062e-12, 7.180124451383666e-13, 3.8527783827421426e-13, 1.54008621752141e-14,
    -4.150569347287222e-14, -9.554846698828307e-15, 3.8116806693526224e-15, 1.7725601330565263e-15,
    -3.425485619677219e-16, -2.8276239805165836e-16, 3.461222867697461e-17, 4.46562142029676e-17,
)
_I1_FAR = (
    0.38928811750914005, -0.009761097491361469, -0.00011058893876262371, -3.882564808877691e-06,
    -2.512236237870209e-07, -2.6314688468895196e-08, -3.835380385964237e-09,
    -5.589743462196584e-10, -1.8974958123505413e-11, 3.2526035830154884e-11,
    1.4125807436613782e-11, 2.0356285441470896e-12, -7.198551776245908e-13,
    -4.0835511110921974e-13, -2.1015418427726643e-14, 4.272440016711951e-14,
    1.0420276984128802e-14, -3.8144030724370075e-15, -1.8803547755107825e-15,
    3.3082023109209285e-16, 2.96262899764595e-16, -3.209525921993424e-17, -4.650305368489358e-17,
)
# fmt: on
_CHEBYSHEV = (_I0_FAR, _I1_FAR)


def _scaled(xp: Any, x: Any, order: int) -> Any:
    """I_order(x) e^-x for x >= 0."""
    damped = [
        (x < _FAR, lambda xp, x: _near(xp, x, order) * xp.exp(-x)),
        (x >= _FAR, lambda xp, x: _far(xp, x, order)),
    ]
    return by_pieces(xp, x, damped)


def _unscaled(xp: Any, x: Any, order: int) -> Any:
    """I_order(x) for x >= 0."""
    pieces = [
        (x < _FAR, lambda xp, x: _near(xp, x, order)),
        (x >= _FAR, lambda xp, x: _undamped(xp, x, _far(xp, x, order))),
    ]
    return by_pieces(xp, x, pieces)


def _near(xp: Any, x: Any, order: int) -> Any:
    half = x / 2
    square, rest = doubled.two_product(half, half)
    # The rounding error of the square s counts by the logarithmic derivative in s, which is close
    # to 1 / (sqrt(s) + 1 + order).
    series = polynomial(_POWERS[order], square)
    return half**order * (series + series * (rest / (half + 1 + order)))


def _far(xp: Any, x: Any, order: int) -> Any:
    """I_order(x) e^-x."""
    return chebyshev(_CHEBYSHEV[order], 16 / x - 1) / xp.sqrt(x)


_IS_INFINITE = 800.0


def _undamped(xp: Any, x: Any, scaled: Any) -> Any:
    """e^x times the scaled function, which may be finite where e^x is not."""
    x = xp.minimum(x, _IS_INFINITE)
    high = x > 700
    factor = xp.where(high, math.exp(32), 1.0) * scaled
    return xp.where(x < _IS_INFINITE, xp.exp(xp.where(high, x - 32, x)) * factor, math.inf)


@final
@primitive("bessel_i0")
class BesselI0(Special):
    """Elementwise modified Bessel function of the first kind, of order 0."""

    def evaluate(self, xp: Any, x: Any) -> Any:
        return _unscaled(xp, xp.abs(x), 0)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, bessel_i1(x))


@final
@primitive("bessel_i1")
class BesselI1(Special):
    """Elementwise modified Bessel function of the first kind, of order 1."""

    def evaluate(self, xp: Any, x: Any) -> Any:
        return xp.copysign(_unscaled(xp, xp.abs(x), 1), x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, sub(bessel_i0(x), _over(out, x)))


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
        return mul(t, sub(sub(bessel_i0e(x), _over(out, x)), mul(sign(x), out)))


def _over(i1: Array, x: Array) -> Array:
    """I_1 / x, which is 1/2 at 0; I_1' = I_0 - I_1 / x."""
    tiny = ops.logical.eq(x, constant(0, x))
    safe = ops.logical.where(tiny, constant(1, x), x)
    return ops.logical.where(tiny, constant(0.5, x), div(i1, safe))


bessel_i0 = unary(BesselI0)
bessel_i1 = unary(BesselI1)
bessel_i0e = unary(BesselI0e)
bessel_i1e = unary(BesselI1e)

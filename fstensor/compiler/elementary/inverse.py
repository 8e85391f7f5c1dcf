"""The inverse trigonometric functions."""

from __future__ import annotations

from fstensor.compiler.elementary.common import SINGLE, Format, format_of, horner
from fstensor.core.scalar import ScalarOps, V

# atan t = t + t z q(z) with z = t^2 for 0 <= t <= 1; relative errors 2^-28.5 and 2^-58.2.
_ATAN_SINGLE = (
    -0.333333,
    0.1999853,
    -0.14264014,
    0.109508604,
    -0.08399203,
    0.05787873,
    -0.031093346,
    0.010866148,
    -0.0017821125,
)
_ATAN_DOUBLE = (
    -0.33333333333333287,
    0.1999999999999062,
    -0.14285714285045192,
    0.11111111086677737,
    -0.09090908551130815,
    0.0769229975604317,
    -0.0666658408477843,
    0.0588171835100669,
    -0.052594439389508654,
    0.04744962450128421,
    -0.04286492884086985,
    0.038212323331402474,
    -0.03278939259899236,
    0.026157164650649403,
    -0.018620188964684724,
    0.011322712227763402,
    -0.005615634846833117,
    0.0021531158915649913,
    -0.000593390073212598,
    0.00010397163086462745,
    -8.663516284409337e-06,
)

# asin s = s + s z q(z) with z = s^2 for 0 <= s <= 1/2; relative errors 2^-27.6 and 2^-55.9.
_ASIN_SINGLE = (0.16666752, 0.074953094, 0.045469157, 0.0241847, 0.042158503)
_ASIN_DOUBLE = (
    0.16666666666665408,
    0.07500000000337118,
    0.04464285682826123,
    0.030381959139153505,
    0.02237175800864878,
    0.017359705267794116,
    0.013885231485679394,
    0.01216923230641637,
    0.006527905990834516,
    0.019528406999041063,
    -0.016224408578310687,
    0.03191233503894972,
)

# pi / 2, and what its rounded value lacks; pi is exactly twice that.
_HALF_PI_SINGLE = (1.5707964, -4.371139e-08)
_HALF_PI_DOUBLE = (1.5707963267948966, 6.123233995736766e-17)


def atan(ops: ScalarOps[V], x: V) -> V:
    """The arctangent t + t z q(z) of t = |x|, or for |x| > 1 pi / 2 + that of t = -1 / |x|."""
    form = format_of(ops, x)
    size, zero, one = ops.abs(x), ops.like(0, x), ops.like(1, x)
    steep = ops.gt(size, one)
    t = ops.select(steep, ops.div(ops.neg(one), size), size)
    high, low = _half_pi(ops, form)
    base = ops.select(steep, high, zero), ops.select(steep, low, zero)
    return ops.copysign(_atan_from(ops, base, t), x)


def atan2(ops: ScalarOps[V], y: V, x: V) -> V:
    """The angle of the point (x, y), found from t = min(|x|, |y|) / max(|x|, |y|).

    In the eight octants it is t's own arctangent, subtracted from pi / 2 where the point is steep,
    the result subtracted from pi where x is negative, and then given the sign of y.
    """
    form = format_of(ops, x)
    zero, one = ops.like(0, x), ops.like(1, x)
    width, height = ops.abs(x), ops.abs(y)
    steep = ops.gt(height, width)
    left = ops.lt(ops.copysign(one, x), zero)
    lesser = ops.select(steep, width, height)
    greater = ops.select(steep, height, width)
    # 0 / 0 counts as 0, infinity / infinity as 1
    same = ops.select(ops.eq(greater, zero), zero, one)
    t = ops.select(ops.eq(lesser, greater), same, ops.div(lesser, greater))
    t = ops.select(ops.xor(steep, left), ops.neg(t), t)

    high, low = _half_pi(ops, form)
    beside = ops.select(left, ops.add(high, high), zero), ops.select(left, ops.add(low, low), zero)
    base = ops.select(steep, high, beside[0]), ops.select(steep, low, beside[1])
    return ops.copysign(_atan_from(ops, base, t), y)


def asin(ops: ScalarOps[V], x: V) -> V:
    """The arcsine of s = |x|, or for |x| > 1/2 pi / 2 - 2 asin s with s^2 = (1 - |x|) / 2."""
    form = format_of(ops, x)
    size = ops.abs(x)
    near_one, s, tail = _asin_parts(ops, size)
    high, low = _half_pi(ops, form)
    complement = ops.sub(ops.sub(high, ops.add(s, s)), ops.sub(ops.add(tail, tail), low))
    return ops.copysign(ops.select(near_one, complement, ops.add(s, tail)), x)


def acos(ops: ScalarOps[V], x: V) -> V:
    """The arccosine pi / 2 - asin x, or 2 asin s for x > 1/2, or pi - 2 asin s for x < -1/2."""
    form = format_of(ops, x)
    zero = ops.like(0, x)
    near_one, s, tail = _asin_parts(ops, ops.abs(x))
    high, low = _half_pi(ops, form)
    left = ops.lt(x, zero)
    far = ops.select(left, ops.add(high, high), zero), ops.select(left, ops.add(low, low), zero)
    base, base_low = ops.select(near_one, far[0], high), ops.select(near_one, far[1], low)
    s = ops.select(near_one, ops.add(s, s), s)
    tail = ops.select(near_one, ops.add(tail, tail), tail)
    minus = ops.eq(left, near_one)
    s, tail = ops.select(minus, ops.neg(s), s), ops.select(minus, ops.neg(tail), tail)
    return ops.add(ops.add(base, s), ops.add(tail, base_low))


def _half_pi(ops: ScalarOps[V], form: Format) -> tuple[V, V]:
    high, low = _HALF_PI_SINGLE if form is SINGLE else _HALF_PI_DOUBLE
    return ops.constant(high, form.dtype), ops.constant(low, form.dtype)


def _atan_from(ops: ScalarOps[V], base: tuple[V, V], t: V) -> V:
    """The sum of `base`, of two parts, and atan t."""
    z = ops.mul(t, t)
    q = horner(ops, z, _ATAN_SINGLE if format_of(ops, t) is SINGLE else _ATAN_DOUBLE)
    return ops.add(base[0], ops.add(t, ops.fma(ops.mul(t, z), q, base[1])))


def _asin_parts(ops: ScalarOps[V], size: V) -> tuple[V, V, V]:
    """Whether size > 1/2, the s of `asin`, and asin s - s."""
    half = ops.like(0.5, size)
    near_one = ops.gt(size, half)
    far = ops.mul(ops.sub(ops.like(1, size), size), half)
    z = ops.select(near_one, far, ops.mul(size, size))
    s = ops.select(near_one, ops.sqrt(far), size)
    q = horner(ops, z, _ASIN_SINGLE if format_of(ops, size) is SINGLE else _ASIN_DOUBLE)
    return near_one, s, ops.mul(ops.mul(s, z), q)

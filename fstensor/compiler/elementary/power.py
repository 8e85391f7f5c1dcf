"""Powers and roots."""

from __future__ import annotations

import math

from fstensor.compiler.elementary.common import (
    DOUBLE,
    SINGLE,
    at_least,
    at_most,
    format_of,
    head,
    horner,
    nearest_multiple,
    power_of_two,
)
from fstensor.compiler.elementary.exponential import scaled_exp2
from fstensor.compiler.elementary.logarithm import split
from fstensor.core.scalar import FLOAT32, FLOAT64, INT32, ScalarOps, V

# For powers of float32, computed in float64, with s and z as below:
# log2 m = s q(z), relative error 2^-37.8;
# 2^r = 1 + r q(r) for |r| <= 1/2, relative error 2^-34.3.
_LOG2_FOR_SINGLE = (
    2.8853900817901406,
    0.9617966732852903,
    0.5770835942362713,
    0.4116722307900517,
    0.34073814290195475,
)
_EXP2_FOR_SINGLE = (
    0.6931471807045468,
    0.24022651066551315,
    0.05550410365940646,
    0.009618038133198,
    0.001333393508827245,
    0.00015466755974068202,
    1.519615044181966e-05,
)

# log m = (2/3) s (3 + z + z^2 q(z)) with s = (m - 1) / (m + 1), z = s^2, for m within sqrt(2) of 1;
# relative error 2^-66.3.
_LOG_DOUBLE = (
    0.6000000000000338,
    0.42857142855149327,
    0.3333333377989735,
    0.2727267654930246,
    0.23080136062346074,
    0.19885225183541097,
    0.19794504812695296,
)
# 2 / (3 ln 2), the first part of 26 bits.
_LOG2_HIGH, _LOG2_LOW = 0.9617966860532761, 7.872699542894897e-09

_SQRT_HALF = math.sqrt(0.5)


def rsqrt(ops: ScalarOps[V], x: V) -> V:
    """1 / sqrt(x)."""
    return ops.div(ops.like(1, x), ops.sqrt(x))


def cbrt(ops: ScalarOps[V], x: V) -> V:
    """The cube root, from the reciprocal one.

    The bits of a float, as an integer, are about a linear function of its logarithm: a third of
    them, subtracted from a constant, gives r = |x|^(-1/3) to 3.5 percent. With e = 1 - |x| r^3 the
    true one is r (1 - e)^(-1/3), whose series is cut off.
    """
    form = format_of(ops, x)
    size = ops.abs(x)
    subnormal = ops.lt(size, ops.like(2.0 ** (1 - form.bias), x))
    thirds = 8 if form is SINGLE else 18
    a = ops.select(subnormal, ops.mul(size, ops.like(2.0 ** (3 * thirds), x)), size)
    r = _rough_inverse_cbrt(ops, a)
    r = _better_inverse_cbrt(ops, a, r, (1 / 3, 2 / 9, 14 / 81))
    if form is not SINGLE:
        r = _better_inverse_cbrt(ops, a, r, (1 / 3, 2 / 9))
    # A step of Newton on y = a r^2, with 1 / y^2 = r^2
    square = ops.mul(r, r)
    y = ops.mul(a, square)
    remainder = ops.fma(ops.neg(ops.mul(y, y)), y, a)
    y = ops.fma(ops.mul(remainder, square), ops.like(1 / 3, x), y)
    y = ops.select(subnormal, ops.mul(y, ops.like(2.0**-thirds, x)), y)
    return ops.copysign(ops.select(ops.lt(size, ops.like(math.inf, x)), y, size), x)


def _rough_inverse_cbrt(ops: ScalarOps[V], a: V) -> V:
    """a^(-1/3) within 3.5 percent, for normal a > 0."""
    form = format_of(ops, a)
    low = form.sign - 31  # the high 32 bits do
    bits = ops.bitcast(a, form.bits)
    if low:
        bits = ops.shr(bits, ops.constant(low, form.bits))
    logarithm = ops.convert(ops.convert(bits, INT32), form.dtype)
    at_one = (form.bias * 4 / 3 - 0.068) * 2.0 ** (form.fraction - low)
    third = ops.fma(logarithm, ops.like(-1 / 3, a), ops.like(at_one, a))
    bits = ops.convert(ops.convert(third, INT32), form.bits)
    if low:
        bits = ops.shl(bits, ops.constant(low, form.bits))
    return ops.bitcast(bits, form.dtype)


def _better_inverse_cbrt(ops: ScalarOps[V], a: V, r: V, series: tuple[float, ...]) -> V:
    """The r times (1 - e)^(-1/3) with e = 1 - a r^3, by the terms of its series after the one."""
    one = ops.like(1, a)
    e = ops.fma(ops.neg(ops.mul(ops.mul(a, r), r)), r, one)
    return ops.mul(r, horner(ops, e, (1.0, *series)))


def pow(ops: ScalarOps[V], x: V, y: V) -> V:
    """2^(y log2 |x|), with the sign of x for odd y."""
    form = format_of(ops, x)
    size = ops.abs(x)
    usual = (_size_single if form is SINGLE else _size_double)(ops, size, y)
    # Anything but a positive finite x with a finite y
    infinity = ops.like(math.inf, x)
    x_usual = ops.and_(ops.gt(x, ops.like(0, x)), ops.lt(x, infinity))
    special = ops.not_(ops.and_(x_usual, ops.lt(ops.abs(y), infinity)))
    return ops.rarely(special, usual, lambda: _special_pow(ops, x, y, usual))


def _special_pow(ops: ScalarOps[V], x: V, y: V, usual: V) -> V:
    """The power for all x and y; `usual` is |x|^y where both are finite and x is not zero.

    As C99, F.9.4.4: any x^0 and 1^y are 1, even with NaN; (-1)^(+-infinity) is 1.
    """
    form = format_of(ops, x)
    zero, one, infinity = ops.like(0, x), ops.like(1, x), ops.like(math.inf, x)
    size = ops.abs(x)
    y_infinite = ops.eq(ops.abs(y), infinity)
    extreme = ops.or_(ops.or_(ops.eq(x, zero), ops.eq(size, infinity)), y_infinite)
    grows = ops.eq(ops.gt(size, one), ops.gt(y, zero))
    result = ops.select(extreme, ops.select(grows, infinity, zero), usual)
    result = ops.select(ops.and_(y_infinite, ops.eq(size, one)), one, result)

    whole = ops.eq(ops.rint(y), y)
    half = ops.mul(y, ops.like(0.5, y))
    odd = ops.and_(whole, ops.ne(ops.rint(half), half))
    result = ops.select(odd, ops.copysign(result, x), result)

    negative = ops.and_(ops.lt(x, zero), ops.gt(x, ops.neg(infinity)))
    undefined = ops.and_(negative, ops.not_(whole))
    result = ops.select(undefined, ops.constant(math.nan, form.dtype), result)
    is_nan = ops.or_(ops.ne(x, x), ops.ne(y, y))
    result = ops.select(is_nan, ops.add(x, y), result)
    return ops.select(ops.or_(ops.eq(y, zero), ops.eq(x, one)), one, result)


def _size_single(ops: ScalarOps[V], x: V, y: V) -> V:
    """The power of float32, in float64: that holds log2 x to the bits that y may move up."""
    wide = ops.convert(x, FLOAT64)
    k, _, m = split(ops, wide, _SQRT_HALF)
    one = ops.like(1, wide)
    s = ops.div(ops.sub(m, one), ops.add(m, one))
    logarithm = ops.fma(s, horner(ops, ops.mul(s, s), _LOG2_FOR_SINGLE), k)
    power = ops.mul(ops.convert(y, FLOAT64), logarithm)
    power = at_least(ops, at_most(ops, power, 200.0), -200.0)
    n, bits = nearest_multiple(ops, power, 1.0, DOUBLE.bias)
    r = ops.sub(power, n)
    value = ops.fma(horner(ops, r, _EXP2_FOR_SINGLE), r, one)
    return ops.convert(ops.mul(value, power_of_two(ops, bits, DOUBLE)), FLOAT32)


def _size_double(ops: ScalarOps[V], x: V, y: V) -> V:
    """The power of float64, with log2 x and its product with y as a head and a tail.

    Heads of 26 bits make exact products, also where a fused multiplication and addition rounds
    twice; tails need no more than the precision of float64.
    """
    # The exponent of 2^x must not exceed 1100 or so, nor y log2 x lose its tail to an overflow.
    y = at_least(ops, at_most(ops, y, 2.0**66), -(2.0**66))
    high, low = _log2_in_two(ops, x)
    y_high = head(ops, y)
    product = ops.mul(y_high, high)
    rest = ops.fma(ops.sub(y, y_high), high, ops.mul(y, low))
    total = at_least(ops, at_most(ops, ops.add(product, rest), 1100.0), -1100.0)
    h, bits = nearest_multiple(ops, total, 0.5, DOUBLE.bias)
    # Where the sum was clamped, product and rest are of no use.
    kept = ops.lt(ops.abs(total), ops.like(1100, x))
    r = ops.add(ops.fma(h, ops.like(-2, x), ops.select(kept, product, total)), rest)
    r = ops.select(kept, r, ops.fma(h, ops.like(-2, x), total))
    return scaled_exp2(ops, r, bits)


def _log2_in_two(ops: ScalarOps[V], x: V) -> tuple[V, V]:
    """The base-2 logarithm as a head of 26 bits and a tail; relative errors of about 2^-64."""
    one = ops.like(1, x)
    subnormal = ops.lt(x, ops.like(2.0**-1022, x))
    up = DOUBLE.fraction + 1
    k, _, m = split(ops, ops.select(subnormal, ops.mul(x, ops.like(2.0**up, x)), x), _SQRT_HALF)
    k = ops.select(subnormal, ops.sub(k, ops.like(up, x)), k)

    # s = (m - 1) / (m + 1) as the head s_high and s_low, from the remainder of the division
    f = ops.sub(m, one)
    d = ops.add(m, one)
    inverse = ops.div(one, d)
    s_high = head(ops, ops.mul(f, inverse))
    d_high = head(ops, d)
    d_low = ops.sub(m, ops.sub(d_high, one))
    remainder = ops.sub(ops.sub(f, ops.mul(s_high, d_high)), ops.mul(s_high, d_low))
    s_low = ops.mul(remainder, inverse)
    s = ops.add(s_high, s_low)

    # b = 3 + z + z^2 q(z) in two, where z = z_high + z_low
    z = ops.mul(s, s)
    z_high = ops.mul(s_high, s_high)
    z_low = ops.mul(s_low, ops.add(s, s_high))
    tail = ops.fma(ops.mul(z, z), horner(ops, z, _LOG_DOUBLE), z_low)
    three = ops.like(3, x)
    b_high = head(ops, ops.add(three, ops.add(z_high, tail)))
    b_low = ops.sub(tail, ops.sub(ops.sub(b_high, three), z_high))

    # t = s b in two
    product = ops.mul(s_high, b_high)
    rest = ops.fma(s_low, b_high, ops.mul(s, b_low))
    t = ops.add(product, rest)
    t_high = head(ops, t)
    t_low = ops.sub(rest, ops.sub(t_high, product))

    # k + 2 t / (3 ln 2) in two
    product = ops.mul(t_high, ops.like(_LOG2_HIGH, x))
    rest = ops.fma(t_low, ops.like(_LOG2_HIGH, x), ops.mul(t, ops.like(_LOG2_LOW, x)))
    high = head(ops, ops.add(k, ops.add(product, rest)))
    return high, ops.sub(rest, ops.sub(ops.sub(high, k), product))

"""Logarithms and the inverse hyperbolic functions."""

from __future__ import annotations

import math

from fstensor.compiler.elementary.common import SINGLE, Format, format_of, horner
from fstensor.core.scalar import ScalarOps, V

# log(1 + f) = f - f^2 / 2 + f^3 q(f) for |f| <= 1/3; relative error 2^-27.4.
_LOG_SINGLE = (
    0.33333215,
    -0.24999797,
    0.20010403,
    -0.16680491,
    0.140059,
    -0.12184221,
    0.13984346,
    -0.12891845,
)

# log(1 + f) = 2 s + s z q(z) with s = f / (2 + f), z = s^2, for 1 + f within sqrt(2) of 1;
# relative error 2^-59.5.
_LOG_DOUBLE = (
    0.6666666666666734,
    0.39999999999416663,
    0.28571428742021576,
    0.22222198605724502,
    0.18183562822232524,
    0.1531408537019923,
    0.14795630448032351,
)


def log(ops: ScalarOps[V], x: V) -> V:
    """The sum k ln 2 + log m, where x = 2^k m and m is near one."""
    return ops.rarely(_not_normal(ops, x), _log_normal(ops, x), lambda: _log_special(ops, x))


def log2(ops: ScalarOps[V], x: V) -> V:
    """The sum k + log2 m, where x = 2^k m; exact for powers of two."""
    usual = _log2_normal(ops, x)
    return ops.rarely(_not_normal(ops, x), usual, lambda: _log2_special(ops, x))


def log1p(ops: ScalarOps[V], x: V) -> V:
    """The logarithm of 1 + x."""
    form = format_of(ops, x)
    u = ops.add(x, ops.like(1, x))
    above = ops.sub(ops.bitcast(u, form.bits), _integer(ops, form.pattern(2.0**-60), form))
    # u outside of [2^-60, 2^60], or NaN
    outside = ops.ge(above, _integer(ops, 120 << form.fraction, form))

    def otherwise() -> V:
        minus_one, infinity = ops.like(-1, x), ops.like(math.inf, x)
        y = ops.select(ops.lt(x, infinity), _log_normal(ops, x), x)
        y = ops.select(ops.lt(x, minus_one), ops.like(math.nan, x), y)
        return ops.select(ops.eq(x, minus_one), ops.neg(infinity), y)

    # The sum of f and zero loses the sign of -0.
    return ops.copysign(ops.rarely(outside, log1p_inside(ops, x), otherwise), x)


def log1p_inside(ops: ScalarOps[V], x: V, doublings: V | None = None) -> V:
    """log(1 + x), or log(2^doublings (1 + x)), for 1 + x > 0 whose inverse is normal; NaN stays.

    k is that of the rounded 1 + x, but f = 2^-k (1 + x) - 1 is found from x itself: 2^-k x and
    2^-k - 1 are exact, so that f has one rounding, and none for small x.
    """
    form = format_of(ops, x)
    one = ops.like(1, x)
    k, biased, _ = split(ops, ops.add(x, one), _lowest(form))
    inverse = ops.bitcast(ops.sub(_integer(ops, 2 * form.pattern(1.0), form), biased), form.dtype)
    f = ops.fma(x, inverse, ops.sub(inverse, one))
    return log_of_parts(ops, k if doublings is None else ops.add(k, doublings), f)


def asinh(ops: ScalarOps[V], x: V) -> V:
    """log(1 + y) of |x| with y = |x| + x^2 / (1 + sqrt(1 + x^2))."""
    size, one = ops.abs(x), ops.like(1, x)
    square = ops.mul(size, size)
    y = ops.add(size, ops.div(square, ops.add(one, ops.sqrt(ops.add(one, square)))))
    return ops.copysign(_log_of_sum(ops, size, y), x)


def acosh(ops: ScalarOps[V], x: V) -> V:
    """log(1 + y) with y = (x - 1) + sqrt((x - 1) (x + 1))."""
    one = ops.like(1, x)
    t = ops.sub(x, one)
    y = ops.add(t, ops.sqrt(ops.mul(t, ops.add(x, one))))
    return ops.select(ops.lt(x, one), ops.like(math.nan, x), _log_of_sum(ops, x, y))


def _log_of_sum(ops: ScalarOps[V], x: V, y: V) -> V:
    """log(1 + y), or log(2 x) where x is so large that y has overflowed."""
    form = format_of(ops, x)
    large = ops.gt(x, ops.like(2.0 ** (form.bias // 2 - 1), x))
    # The scaled x is still so large that 1 + x is x.
    less = (form.bias + 1) // 4
    y = ops.select(large, ops.mul(x, ops.like(2.0**-less, x)), y)
    doublings = ops.select(large, ops.like(less + 1, x), ops.like(0, x))
    finite = ops.lt(x, ops.like(math.inf, x))
    return ops.select(finite, log1p_inside(ops, y, doublings), x)


def atanh(ops: ScalarOps[V], x: V) -> V:
    """log(1 + y) / 2 of |x| with y = 2 |x| / (1 - |x|)."""
    size, one = ops.abs(x), ops.like(1, x)
    y = ops.div(ops.add(size, size), ops.sub(one, size))
    inside = ops.mul(ops.like(0.5, x), log1p_inside(ops, y))
    at_one = ops.select(ops.eq(size, one), ops.like(math.inf, x), ops.like(math.nan, x))
    return ops.copysign(ops.select(ops.lt(size, one), inside, at_one), x)


def split(ops: ScalarOps[V], x: V, lowest: float) -> tuple[V, V, V]:
    """The k, the bits of 2^k, and m with x = 2^k m and lowest <= m < 2 lowest, for normal x > 0."""
    form = format_of(ops, x)
    one = form.pattern(1.0)
    bits = ops.bitcast(x, form.bits)
    raised = ops.add(bits, _integer(ops, one - form.pattern(lowest), form))
    biased = ops.and_(raised, _integer(ops, form.exponents, form))
    m = ops.bitcast(ops.add(ops.sub(bits, biased), _integer(ops, one, form)), form.dtype)
    # An integer in the lowest bits of 2^fraction makes a float of it, cheaper than a conversion.
    exponent = ops.shr(raised, ops.constant(form.fraction, form.bits))
    unit = 2.0**form.fraction
    placed = ops.or_(exponent, _integer(ops, form.pattern(unit), form))
    k = ops.sub(ops.bitcast(placed, form.dtype), ops.like(unit + form.bias, x))
    return k, biased, m


def log_of_parts(ops: ScalarOps[V], k: V, f: V) -> V:
    """The sum k ln 2 + log(1 + f)."""
    form = format_of(ops, f)
    tail = ops.fma(k, ops.like(form.ln2_low, f), _log_tail(ops, f))
    return ops.fma(k, ops.like(form.ln2_high, f), ops.add(f, tail))


def _log_tail(ops: ScalarOps[V], f: V) -> V:
    """The difference log(1 + f) - f."""
    if format_of(ops, f) is SINGLE:
        q = ops.fma(horner(ops, f, _LOG_SINGLE), f, ops.like(-0.5, f))
        return ops.mul(ops.mul(f, f), q)
    half = ops.mul(ops.mul(f, f), ops.like(0.5, f))
    s = ops.div(f, ops.add(f, ops.like(2, f)))
    z = ops.mul(s, s)
    # 2 s = f - s f, and s f = f^2 / 2 - s f^2 / 2
    return ops.sub(ops.mul(s, ops.fma(z, horner(ops, z, _LOG_DOUBLE), half)), half)


def _lowest(form: Format) -> float:
    """Where m begins: so that |f| <= 1/3, or so that |s| is smallest."""
    return 2 / 3 if form is SINGLE else math.sqrt(0.5)


def _integer(ops: ScalarOps[V], value: int, form: Format) -> V:
    return ops.constant(value, form.bits)


def _not_normal(ops: ScalarOps[V], x: V) -> V:
    """Whether x is not a positive normal number, by one comparison of integers."""
    form = format_of(ops, x)
    smallest = 1 << form.fraction
    above = ops.sub(ops.bitcast(x, form.bits), _integer(ops, smallest, form))
    return ops.ge(above, _integer(ops, form.exponents - smallest, form))


def _log_normal(ops: ScalarOps[V], x: V) -> V:
    k, _, m = split(ops, x, _lowest(format_of(ops, x)))
    return log_of_parts(ops, k, ops.sub(m, ops.like(1, x)))


def _log2_normal(ops: ScalarOps[V], x: V, less: int = 0) -> V:
    k, _, m = split(ops, x, _lowest(format_of(ops, x)))
    if less:
        k = ops.sub(k, ops.like(less, x))
    f = ops.sub(m, ops.like(1, x))
    y = ops.add(f, _log_tail(ops, f))
    # y / ln 2 = y + 0.44 y, whose constant is rounded to finer steps than that of 1.44 y
    return ops.add(k, ops.fma(y, ops.like(0.4426950408889634, x), y))


def _log_special(ops: ScalarOps[V], x: V) -> V:
    form = format_of(ops, x)
    up = form.fraction + 1
    k, _, m = split(ops, ops.mul(x, ops.like(2.0**up, x)), _lowest(form))
    k = ops.sub(k, ops.like(up, x))
    return _outside(ops, x, log_of_parts(ops, k, ops.sub(m, ops.like(1, x))))


def _log2_special(ops: ScalarOps[V], x: V) -> V:
    up = format_of(ops, x).fraction + 1
    return _outside(ops, x, _log2_normal(ops, ops.mul(x, ops.like(2.0**up, x)), up))


def _outside(ops: ScalarOps[V], x: V, y: V) -> V:
    """The logarithm at zero, infinity, NaN and negative numbers, elsewhere y."""
    y = ops.select(ops.eq(x, ops.like(0, x)), ops.like(-math.inf, x), y)
    y = ops.select(ops.lt(x, ops.like(math.inf, x)), y, x)
    return ops.select(ops.lt(x, ops.like(0, x)), ops.like(math.nan, x), y)

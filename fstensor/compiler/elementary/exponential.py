"""Exponentials and the hyperbolic functions."""

from __future__ import annotations

from fstensor.compiler.elementary.common import (
    LOG2_E,
    SINGLE,
    at_least,
    at_most,
    format_of,
    horner,
    nearest_multiple,
    power_of_two,
    subtract_ln2,
)
from fstensor.core.scalar import ScalarOps, V

# exp(r) = 1 + r + r^2 q(r) for |r| <= ln 2; relative errors of exp: 2^-26.0 and 2^-56.5.
_EXP_SINGLE = (0.50000036, 0.16666616, 0.041661166, 0.008335904, 0.0014106373, 0.0001964691)
_EXP_DOUBLE = (
    0.4999999999999993,
    0.16666666666666935,
    0.04166666666670214,
    0.008333333333270389,
    0.0013888888883569711,
    0.00019841269892339436,
    2.4801590833746523e-05,
    2.7557300835838387e-06,
    2.755615718502599e-07,
    2.505499740604041e-08,
    2.10624014616968e-09,
    1.5938220276610745e-10,
)

# 2^r = 1 + r q(r) for |r| <= 1; relative errors of 2^r: 2^-26.1 and 2^-55.7.
_EXP2_SINGLE = (
    0.69314724,
    0.24022673,
    0.055503562,
    0.009616723,
    0.0013344344,
    0.00015652819,
    1.4750765e-05,
)
_EXP2_DOUBLE = (
    0.6931471805599453,
    0.24022650695909983,
    0.055504108664821895,
    0.009618129107644487,
    0.0013333558146433487,
    0.0001540353038372573,
    1.5252733791762066e-05,
    1.3215489457962753e-06,
    1.0178089878399181e-07,
    7.054539840722784e-09,
    4.4450585690803455e-10,
    2.5932796736731727e-11,
    1.3930833426124615e-12,
)

# exp(r) - 1 = r + r^2 q(r) for |r| <= ln(2) / 2; relative errors: 2^-26.1 and 2^-54.7.
_EXPM1_SINGLE = (0.49999997, 0.16666539, 0.041667756, 0.008367124, 0.0013835655)
_EXPM1_DOUBLE = (
    0.5000000000000006,
    0.16666666666666588,
    0.04166666666657683,
    0.008333333333389472,
    0.0013888888931537556,
    0.00019841269719172302,
    2.4801505308428057e-05,
    2.7557407414032173e-06,
    2.762602348397935e-07,
    2.5053806793077446e-08,
)

# For |r| <= ln(2) / 2 and z = r^2: sinh r = r + r z q(z), relative errors 2^-26.2 and 2^-61.7;
# cosh r = 1 + z q(z), 2^-33.2 and 2^-69.9.
_SINH_SINGLE = (0.16666543, 0.008366535)
_SINH_DOUBLE = (
    0.16666666666666677,
    0.008333333333321384,
    0.00019841269886823392,
    2.755724344166691e-06,
    2.510932532995565e-08,
)
_COSH_SINGLE = (0.5, 0.04166646, 0.0013935426)
_COSH_DOUBLE = (
    0.5,
    0.041666666666666685,
    0.0013888888888873283,
    2.480158734919949e-05,
    2.7557251822709065e-07,
    2.0921768794773772e-09,
)


def exp(ops: ScalarOps[V], x: V) -> V:
    """e^x = p s s, where s = 2^h, p = e^r and x = 2 h ln 2 + r.

    Two factors s, because 2^(2h) leaves the range of floats before the result does; an exponent
    in two equal parts saves integer operations, at the price of the wider interval for r.
    """
    single = format_of(ops, x) is SINGLE
    x = at_least(ops, at_most(ops, x, 89.0 if single else 710.0), -104.0 if single else -746.0)
    p, s = exp_parts(ops, x)
    return ops.mul(ops.mul(p, s), s)


def exp_parts(ops: ScalarOps[V], x: V, rest: V | None = None) -> tuple[V, V]:
    """e^r and 2^h with x + rest = 2 h ln 2 + r, where `rest` is small."""
    form = format_of(ops, x)
    total = x if rest is None else ops.add(x, rest)
    h, bits = nearest_multiple(ops, total, LOG2_E / 2, form.bias)
    r = subtract_ln2(ops, x, h, 2, rest)
    one = ops.like(1, x)
    q = horner(ops, r, _EXP_SINGLE if form is SINGLE else _EXP_DOUBLE)
    return ops.fma(ops.fma(q, r, one), r, one), power_of_two(ops, bits, form)


def exp2(ops: ScalarOps[V], x: V) -> V:
    """2^x, as `exp` but with the exact r = x - 2 h."""
    form = format_of(ops, x)
    single = form is SINGLE
    x = at_least(ops, at_most(ops, x, 129.0 if single else 1025.0), -151.0 if single else -1076.0)
    h, bits = nearest_multiple(ops, x, 0.5, form.bias)
    return scaled_exp2(ops, ops.fma(h, ops.like(-2, x), x), bits)


def scaled_exp2(ops: ScalarOps[V], r: V, bits: V) -> V:
    """2^(r + 2 h) for |r| <= 1 and bits whose lowest ones are h + bias."""
    form = format_of(ops, r)
    q = horner(ops, r, _EXP2_SINGLE if form is SINGLE else _EXP2_DOUBLE)
    s = power_of_two(ops, bits, form)
    return ops.mul(ops.mul(ops.fma(q, r, ops.like(1, r)), s), s)


def logistic(ops: ScalarOps[V], x: V) -> V:
    """1 / (1 + e^-x) = u / (u + p s), where e^-x = p s s and u = 1 / s.

    Neither term leaves the range of floats, so that results down to the subnormal ones are right.
    """
    form = format_of(ops, x)
    limit = 104.0 if form is SINGLE else 746.0
    p, s = exp_parts(ops, ops.neg(at_least(ops, at_most(ops, x, limit), -limit)))
    twice_one = ops.constant(2 * form.pattern(1.0), form.bits)
    u = ops.bitcast(ops.sub(twice_one, ops.bitcast(s, form.bits)), form.dtype)
    return ops.div(u, ops.fma(p, s, u))


def expm1(ops: ScalarOps[V], x: V) -> V:
    """e^x - 1 = 2 (s p + (s - 1/2)), where s = 2^(k-1), p = e^r - 1 and x = k ln 2 + r."""
    form = format_of(ops, x)
    single = form is SINGLE
    small = ops.lt(ops.abs(x), ops.like(2.0 ** -(form.fraction + 2), x))
    y = at_least(ops, at_most(ops, x, 89.0 if single else 710.0), -25.0 if single else -45.0)
    p, bits = _expm1_parts(ops, y, form.bias - 1)
    s = power_of_two(ops, bits, form)
    half = ops.fma(s, p, ops.sub(s, ops.like(0.5, x)))
    return ops.select(small, x, ops.add(half, half))


def _expm1_parts(ops: ScalarOps[V], x: V, offset: int) -> tuple[V, V]:
    """e^r - 1, and bits whose lowest ones are k + offset, with x = k ln 2 + r."""
    k, bits = nearest_multiple(ops, x, LOG2_E, offset)
    r = subtract_ln2(ops, x, k)
    single = format_of(ops, x) is SINGLE
    q = horner(ops, r, _EXPM1_SINGLE if single else _EXPM1_DOUBLE)
    return ops.fma(ops.mul(r, r), q, r), bits


def expm1_inside(ops: ScalarOps[V], x: V) -> V:
    """e^x - 1 for moderate x, those where e^x and e^-x are normal numbers."""
    form = format_of(ops, x)
    p, bits = _expm1_parts(ops, x, form.bias)
    s = power_of_two(ops, bits, form)
    return ops.fma(s, p, ops.sub(s, ops.like(1, x)))


def tanh(ops: ScalarOps[V], x: V) -> V:
    """The quotient E / (E + 2) with E = e^(2|x|) - 1, whose errors count less the larger E is."""
    size = at_most(ops, ops.abs(x), 10.0 if format_of(ops, x) is SINGLE else 20.0)
    e = expm1_inside(ops, ops.mul(size, ops.like(2, x)))
    return ops.copysign(ops.div(e, ops.add(e, ops.like(2, x))), x)


def sinh(ops: ScalarOps[V], x: V) -> V:
    """2 (2^(k-2) - 2^(-k-2)) cosh r + 2 (2^(k-2) + 2^(-k-2)) sinh r, where |x| = k ln 2 + r."""
    form = format_of(ops, x)
    size = ops.abs(x)
    sinh_r, rest, less, more = _hyperbolic_parts(ops, size)
    half = ops.add(ops.fma(sinh_r, more, ops.mul(rest, less)), less)
    small = ops.lt(size, ops.like(2.0 ** -(form.fraction + 2), x))
    return ops.copysign(ops.select(small, size, ops.add(half, half)), x)


def cosh(ops: ScalarOps[V], x: V) -> V:
    """2 (2^(k-2) + 2^(-k-2)) cosh r + 2 (2^(k-2) - 2^(-k-2)) sinh r, where |x| = k ln 2 + r."""
    sinh_r, rest, less, more = _hyperbolic_parts(ops, ops.abs(x))
    half = ops.add(ops.fma(sinh_r, less, ops.mul(rest, more)), more)
    return ops.add(half, half)


def _hyperbolic_parts(ops: ScalarOps[V], size: V) -> tuple[V, V, V, V]:
    """For size = k ln 2 + r: sinh r, cosh r - 1, 2^(k-2) - 2^(-k-2) and 2^(k-2) + 2^(-k-2)."""
    form = format_of(ops, size)
    single = form is SINGLE
    size = at_most(ops, size, 89.7 if single else 710.6)
    k, bits = nearest_multiple(ops, size, LOG2_E, form.bias - 2)
    r = subtract_ln2(ops, size, k)
    z = ops.mul(r, r)
    odd = horner(ops, z, _SINH_SINGLE if single else _SINH_DOUBLE)
    even = horner(ops, z, _COSH_SINGLE if single else _COSH_DOUBLE)
    up = power_of_two(ops, bits, form)
    sixteenth = ops.constant(2 * form.pattern(0.25), form.bits)
    down = ops.bitcast(ops.sub(sixteenth, ops.bitcast(up, form.bits)), form.dtype)
    # From here on 2^-k does not count, and later has no normal number.
    down = ops.select(ops.lt(k, ops.like(form.fraction, r)), down, ops.like(0, r))
    sinh_r = ops.fma(ops.mul(r, z), odd, r)
    return sinh_r, ops.mul(z, even), ops.sub(up, down), ops.add(up, down)

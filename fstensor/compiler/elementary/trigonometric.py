"""Sine, cosine and tangent, of every finite argument."""

from __future__ import annotations

import math

from fstensor.compiler.elementary.common import (
    SINGLE,
    at_least,
    at_most,
    format_of,
    horner,
    nearest_multiple,
)
from fstensor.compiler.elementary.reduction import parts_of_half_pi, turns
from fstensor.core.scalar import ScalarOps, V

# sin r = r + r z q(z) with z = r^2 for |r| <= pi / 2; relative errors 2^-27.3 and 2^-61.3.
_SIN_SINGLE = (-0.1666666, 0.008333069, -0.00019809777, 2.6060957e-06)
_SIN_DOUBLE = (
    -0.16666666666666666,
    0.008333333333333207,
    -0.00019841269841212476,
    2.7557319211568495e-06,
    -2.505210690426764e-08,
    1.6058940990796754e-10,
    -7.643018965221037e-13,
    2.721414046479562e-15,
)

# tan r = r + r z q(z) for |r| <= pi / 4; relative errors 2^-25.7 and 2^-56.1.
_TAN_SINGLE = (0.33333156, 0.13338834, 0.0534087, 0.024438325, 0.0031081694, 0.009391684)
_TAN_DOUBLE = (
    0.3333333333333278,
    0.13333333333414116,
    0.05396825392689416,
    0.021869489603850913,
    0.008863219233858619,
    0.003592288472328214,
    0.0014547615418080897,
    0.0005950500891471485,
    0.00022242212189448312,
    0.00013643975084608366,
    -2.626666394595909e-05,
    8.93434957972278e-05,
    -4.481821449294541e-05,
    2.084930493531564e-05,
)


def sin(ops: ScalarOps[V], x: V) -> V:
    """(-1)^k sin r with |x| = k pi + r."""
    size = ops.abs(x)
    k, bits = nearest_multiple(ops, size, 1 / math.pi)
    usual = _signed_sin(ops, _subtract_quarters(ops, size, k, 2), bits)

    def otherwise() -> V:
        r, bits = turns(ops, size, halves=True)
        return _signed_sin(ops, r, bits)

    y = ops.rarely(_is_large(ops, size), usual, otherwise)
    return _negated_like(ops, y, x)


def cos(ops: ScalarOps[V], x: V) -> V:
    """(-1)^(k + 1) sin r with |x| = (k + 1/2) pi + r."""
    size = ops.abs(x)
    half = ops.like(0.5, x)
    shifted = ops.fma(size, ops.like(1 / math.pi, x), ops.neg(half))
    k, bits = nearest_multiple(ops, shifted, 1.0, 1)
    usual = _signed_sin(ops, _subtract_quarters(ops, size, ops.add(k, half), 2), bits)

    def otherwise() -> V:
        r, bits = turns(ops, size, halves=True, quarters_ahead=1)
        return _signed_sin(ops, r, bits)

    return ops.rarely(_is_large(ops, size), usual, otherwise)


def tan(ops: ScalarOps[V], x: V) -> V:
    """The tangent of r, or for odd k the negative inverse of that, with |x| = k pi / 2 + r."""
    size = ops.abs(x)
    k, bits = nearest_multiple(ops, size, 2 / math.pi)
    usual = _tan_of_parts(ops, _subtract_quarters(ops, size, k, 1), bits)

    def otherwise() -> V:
        r, bits = turns(ops, size, halves=False)
        return _tan_of_parts(ops, r, bits)

    return _negated_like(ops, ops.rarely(_is_large(ops, size), usual, otherwise), x)


def _tan_of_parts(ops: ScalarOps[V], r: V, bits: V) -> V:
    """The tangent of |r| <= pi / 4, or its negative inverse where the lowest bit is set."""
    form = format_of(ops, r)
    z = ops.mul(r, r)
    q = horner(ops, z, _TAN_SINGLE if form is SINGLE else _TAN_DOUBLE)
    y = ops.fma(ops.mul(r, z), q, r)
    one = ops.constant(1, form.bits)
    odd = ops.eq(ops.and_(bits, one), one)
    return ops.select(odd, ops.div(ops.like(-1, r), y), y)


def _negated_like(ops: ScalarOps[V], y: V, x: V) -> V:
    """The value y, its sign changed where x has one; that of -0 counts."""
    form = format_of(ops, x)
    sign = ops.and_(ops.bitcast(x, form.bits), ops.constant(1 << form.sign, form.bits))
    return ops.bitcast(ops.xor(ops.bitcast(y, form.bits), sign), form.dtype)


def _is_large(ops: ScalarOps[V], size: V) -> V:
    """Whether multiples of pi / 2 cannot be subtracted as parts: 2^13 or 2^20 of them, or NaN."""
    limit = 12800.0 if format_of(ops, size) is SINGLE else 1.6e6
    return ops.not_(ops.le(size, ops.like(limit, size)))


def _subtract_quarters(ops: ScalarOps[V], size: V, k: V, quarters: int) -> V:
    """`size` - k times so many quarter turns; the products of the first parts are exact."""
    for part in parts_of_half_pi(format_of(ops, size)):
        size = ops.fma(k, ops.like(-quarters * part, size), size)
    return size


def _signed_sin(ops: ScalarOps[V], r: V, bits: V) -> V:
    """The sine of |r| <= pi / 2, negated where the lowest one of `bits` is set."""
    form = format_of(ops, r)
    z = ops.mul(r, r)
    q = horner(ops, z, _SIN_SINGLE if form is SINGLE else _SIN_DOUBLE)
    y = ops.fma(ops.mul(r, z), q, r)
    # Rounding errors could lead past one.
    y = ops.bitcast(at_least(ops, at_most(ops, y, 1.0), -1.0), form.bits)
    return ops.bitcast(ops.xor(y, ops.shl(bits, ops.constant(form.sign, form.bits))), form.dtype)

"""Sine, cosine and tangent, of every finite argument."""

from __future__ import annotations

import math

from fstensor.compiler.elementary.common import SINGLE, format_of, horner, nearest_multiple
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


def sin(ops: ScalarOps[V], x: V) -> V:
    """sin |x| = (-1)^k sin r with |x| = k pi + r."""
    size = ops.abs(x)
    k, bits = nearest_multiple(ops, size, 1 / math.pi)
    usual = _signed_sin(ops, _subtract_quarters(ops, size, k, 2), bits)

    def otherwise() -> V:
        r, bits = turns(ops, size, halves=True)
        return _signed_sin(ops, r, bits)

    y = ops.rarely(_is_large(ops, size), usual, otherwise)
    form = format_of(ops, x)
    # |x| was used, and its sign comes last, since r + r z q would lose the sign of -0
    sign = ops.and_(ops.bitcast(x, form.bits), ops.constant(1 << form.sign, form.bits))
    return ops.bitcast(ops.xor(ops.bitcast(y, form.bits), sign), form.float)


def cos(ops: ScalarOps[V], x: V) -> V:
    """cos |x| = (-1)^(k + 1) sin r with |x| = (k + 1/2) pi + r."""
    size = ops.abs(x)
    half = ops.like(0.5, x)
    shifted = ops.fma(size, ops.like(1 / math.pi, x), ops.neg(half))
    k, bits = nearest_multiple(ops, shifted, 1.0, 1)
    usual = _signed_sin(ops, _subtract_quarters(ops, size, ops.add(k, half), 2), bits)

    def otherwise() -> V:
        r, bits = turns(ops, size, halves=True, quarters_ahead=1)
        return _signed_sin(ops, r, bits)

    return ops.rarely(_is_large(ops, size), usual, otherwise)


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
    """sin r for |r| <= pi / 2, negated where the lowest one of `bits` is set."""
    form = format_of(ops, r)
    z = ops.mul(r, r)
    q = horner(ops, z, _SIN_SINGLE if form is SINGLE else _SIN_DOUBLE)
    y = ops.bitcast(ops.fma(ops.mul(r, z), q, r), form.bits)
    return ops.bitcast(ops.xor(y, ops.shl(bits, ops.constant(form.sign, form.bits))), form.float)

"""Reduction of angles: parts of pi / 2 for moderate ones, exact arithmetic for all others."""

from __future__ import annotations

import math
from itertools import pairwise

from fstensor.compiler.elementary.common import SINGLE, Format, format_of
from fstensor.core.scalar import FLOAT64, INT64, UINT64, ScalarOps, V

# pi / 2 in parts of 11 bits, or 33, and a rest: products with integers below 2^13, or 2^20, are
# exact also where a fused multiplication and addition rounds twice (Cody and Waite).
_HALF_PI_SINGLE = (1.5703125, 0.0004837512969970703, 7.549533620476723e-08, 2.563344e-12)
_HALF_PI_DOUBLE = (
    1.5707963267341256,
    6.077100506303966e-11,
    2.0222662487111665e-21,
    8.4784276603689e-32,
)

# The first bits of 1 / (2 pi) after the binary point.
_TURNS_OF_RADIAN = int(
    "28BE60DB9391054A7F09D5F47D4D377036D8A5664F10E4107F9458EAF7AEF1586DC91B8E90"
    "9374B801924BBA827464873F877AC72C4A69CFBA208D7D4BAED1213A671C09AD17DF904E64"
    "758E60D4CE7D272117E2EF7E4A0EC7FE25FFF7816603FBCBC462D6829B47DB4D9FB3C9F2C2"
    "6DD3D18FD9A797FA8B5D49EEB1FAF97C5ECF41CE7DE294A4BA9AFED7EC47E357421580CC11",
    16,
)
_TABLE_BITS = 1184


def parts_of_half_pi(form: Format) -> tuple[float, ...]:
    return _HALF_PI_SINGLE if form is SINGLE else _HALF_PI_DOUBLE


def turns(ops: ScalarOps[V], size: V, halves: bool, quarters_ahead: int = 0) -> tuple[V, V]:
    """Reduce a large angle: r, and bits whose lowest ones are k.

    size + quarters_ahead pi / 2 = k unit + r + turns, with k the nearest integer, and the unit half
    a turn or, if not `halves`, a quarter. r is NaN for infinity and NaN.

    The angle is m 2^e with an integer m. Of 2^e / (2 pi) only the bits after the point matter: a
    window of them, times m, gives the fraction of a turn in integers. This is the method of Payne
    and Hanek, Radian reduction for trigonometric functions, SIGNUM Newsletter 18 (1983).
    """
    form = format_of(ops, size)
    unit_bits = 1 if halves else 2
    high, low = (_turns_single if form is SINGLE else _turns_double)(ops, size)
    high = ops.add(high, _integer(ops, quarters_ahead << 62))
    k = _right(ops, ops.add(high, _integer(ops, 1 << (63 - unit_bits))), 64 - unit_bits)
    # As a signed integer the rest after the unit is the distance from the nearest multiple.
    rest = _left(ops, high, unit_bits)
    if low is not None:
        rest = ops.or_(rest, _right(ops, low, 64 - unit_bits))
    r = ops.convert(ops.bitcast(rest, INT64), FLOAT64)
    if low is not None:
        after = ops.bitcast(_right(ops, _left(ops, low, unit_bits), 1), INT64)
        r = ops.fma(ops.convert(after, FLOAT64), ops.constant(2.0**-63, FLOAT64), r)
    scale = ops.constant(math.ldexp(2 * math.pi, -64 - unit_bits), FLOAT64)
    r = ops.convert(ops.mul(r, scale), form.dtype)
    finite = ops.lt(size, ops.like(math.inf, size))
    return ops.select(finite, r, ops.like(math.nan, size)), ops.convert(k, form.bits)


def _turns_single(ops: ScalarOps[V], size: V) -> tuple[V, None]:
    """The fraction of a turn of an angle >= 2^13 in units of 2^-64."""
    m, (first, second) = _factors(ops, size, zeros=16, count=2, steps=1)
    # Of m second / 2^64 the lower half of `second` adds less than one.
    above = _right(ops, ops.mul(m, _right(ops, second, 32)), 32)
    return ops.add(ops.mul(m, first), above), None


def _turns_double(ops: ScalarOps[V], size: V) -> tuple[V, V]:
    """The fraction of a turn of an angle >= 2^20 in units of 2^-64, and 64 more bits.

    Doubles come closer to multiples of pi than floats, to 2^-61.
    """
    m, (first, second, third) = _factors(ops, size, zeros=32, count=3, steps=4)
    half = _integer(ops, (1 << 32) - 1)
    # Long multiplication: halves of 32 bits, whose products have 64.
    m_high, m_low = _right(ops, m, 32), ops.and_(m, half)
    second_high, second_low = _right(ops, second, 32), ops.and_(second, half)
    third_high, third_low = _right(ops, third, 32), ops.and_(third, half)
    # m third / 2^64, up to a few units
    carry = _right(
        ops, ops.add(ops.mul(m_high, third_low), _right(ops, ops.mul(m_low, third_low), 32)), 32
    )
    carry = ops.add(carry, _right(ops, ops.mul(m_low, third_high), 32))
    carry = ops.add(carry, ops.mul(m_high, third_high))
    # m second + carry, by weights 1, 2^32 and 2^64
    product = ops.mul(m_low, second_low)
    lowest = ops.add(ops.and_(product, half), ops.and_(carry, half))
    middle = ops.add(_right(ops, product, 32), _right(ops, carry, 32))
    middle = ops.add(middle, _right(ops, lowest, 32))
    middle = ops.add(middle, ops.mul(m_high, second_low))
    product = ops.mul(m_low, second_high)
    middle = ops.add(middle, ops.and_(product, half))
    highest = ops.add(_right(ops, product, 32), _right(ops, middle, 32))
    highest = ops.add(highest, ops.mul(m_high, second_high))
    low = ops.or_(_left(ops, middle, 32), ops.and_(lowest, half))
    return ops.add(ops.mul(m, first), highest), low


def _factors(ops: ScalarOps[V], size: V, zeros: int, count: int, steps: int) -> tuple[V, list[V]]:
    """The m of size = m 2^e, and `count` words of 64 bits of 2^e / (2 pi), those after the point.

    e + zeros, which must be from 0 on and below 2^(6 + steps), is a place in the table with so many
    zeros in front. Words are moved there by powers of two, the largest first, as in a barrel
    shifter, and then by single bits.
    """
    form = format_of(ops, size)
    bits = ops.bitcast(size, form.bits)
    if form is SINGLE:
        bits = ops.convert(bits, UINT64)
    leading = 1 << form.fraction
    m = ops.or_(ops.and_(bits, _integer(ops, leading - 1)), _integer(ops, leading))
    offset = form.bias + form.fraction - zeros
    place = ops.sub(_right(ops, bits, form.fraction), _integer(ops, offset))

    words = [_integer(ops, word) for word in _table(zeros, (1 << steps) + count)]
    for step in reversed(range(steps)):
        move = 1 << step
        chosen = ops.ne(ops.and_(place, _integer(ops, move << 6)), _integer(ops, 0))
        # One word more than `count`, and those that later steps skip
        words = [ops.select(chosen, words[i + move], words[i]) for i in range(count + move)]
    left = ops.and_(place, _integer(ops, 63))
    right = ops.xor(left, _integer(ops, 63))
    joined = [
        ops.or_(ops.shl(word, left), ops.shr(_right(ops, after, 1), right))
        for word, after in pairwise(words)
    ]
    return m, joined


def _table(zeros: int, count: int) -> list[int]:
    """So many words of 64 bits of zeros and then 1 / (2 pi)."""
    end = _TABLE_BITS + zeros
    return [_TURNS_OF_RADIAN >> (end - 64 * (i + 1)) & ((1 << 64) - 1) for i in range(count)]


def _integer(ops: ScalarOps[V], value: int) -> V:
    return ops.constant(value, UINT64)


def _right(ops: ScalarOps[V], x: V, count: int) -> V:
    return ops.shr(x, _integer(ops, count))


def _left(ops: ScalarOps[V], x: V, count: int) -> V:
    return ops.shl(x, _integer(ops, count))

"""Reduction of angles: parts of pi / 2 for moderate ones, exact arithmetic for all others."""

from __future__ import annotations

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

# 1 / (2 pi) after the binary point, in words of 32 bits, after one word of zeros.
_TURNS_OF_RADIAN = (
    0x00000000,
    0x28BE60DB,
    0x9391054A,
    0x7F09D5F4,
    0x7D4D3770,
    0x36D8A566,
    0x4F10E410,
    0x7F9458EA,
    0xF7AEF158,
    0x6DC91B8E,
    0x909374B8,
    0x01924BBA,
    0x82746487,
    0x3F877AC7,
    0x2C4A69CF,
    0xBA208D7D,
    0x4BAED121,
    0x3A671C09,
    0xAD17DF90,
    0x4E64758E,
    0x60D4CE7D,
    0x272117E2,
    0xEF7E4A0E,
    0xC7FE25FF,
    0xF7816603,
    0xFBCBC462,
    0xD6829B47,
    0xDB4D9FB3,
    0xC9F2C26D,
    0xD3D18FD9,
    0xA797FA8B,
    0x5D49EEB1,
    0xFAF97C5E,
    0xCF41CE7D,
    0xE294A4BA,
    0x9AFED7EC,
    0x47E35742,
    0x1580CC11,
)


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

    def integer(value: int) -> V:
        return ops.constant(value, UINT64)

    high, low = _fraction_of_turn(ops, ops.convert(ops.bitcast(size, form.bits), UINT64), form)
    high = ops.add(high, integer(quarters_ahead << 62))
    # As a signed integer the rest after the unit is the distance from the nearest multiple.
    unit_bits = 1 if halves else 2
    k = ops.shr(ops.add(high, integer(1 << (63 - unit_bits))), integer(64 - unit_bits))
    rest = ops.shl(high, integer(unit_bits))
    if low is not None:
        rest = ops.or_(rest, ops.shr(low, integer(64 - unit_bits)))
    r = ops.convert(ops.bitcast(rest, INT64), FLOAT64)
    if low is not None:
        unsigned = ops.convert(ops.shr(ops.shl(low, integer(unit_bits)), integer(1)), FLOAT64)
        r = ops.fma(unsigned, ops.constant(2.0**-63, FLOAT64), r)
    scale = 3.4061215800865545e-19 / (1 << unit_bits)
    r = ops.convert(ops.mul(r, ops.constant(scale, FLOAT64)), form.dtype)
    infinity = ops.constant(float("inf"), form.dtype)
    r = ops.select(ops.lt(size, infinity), r, ops.sub(size, size))
    return r, ops.convert(k, form.bits)


def _fraction_of_turn(ops: ScalarOps[V], bits: V, form: Format) -> tuple[V, V | None]:
    """The first 64 bits of the fraction of a turn that floats with these bits are, and 64 more.

    The latter only for float64, whose numbers come closer to multiples of pi.
    """
    single = form is SINGLE

    def integer(value: int) -> V:
        return ops.constant(value, UINT64)

    mask = integer(0xFFFFFFFF)
    exponent = ops.shr(bits, integer(form.fraction))
    # The window begins after this many bits of the table.
    place = ops.sub(exponent, integer(form.bias + form.fraction - 32))
    leading = 1 << form.fraction
    m = ops.or_(ops.and_(bits, integer(leading - 1)), integer(leading))
    window = _window(ops, place, 3 if single else 6, 3 if single else 5)
    limbs = [m] if single else [ops.and_(m, mask), ops.shr(m, integer(32))]
    thirty_two = integer(32)
    carry = None
    product = []
    for j in reversed(range(len(window))):
        columns = [ops.mul(limb, word) for limb, word in zip(limbs, window[j:], strict=False)]
        if carry is not None:
            columns.append(carry)
        word = ops.and_(columns[0], mask)
        carry = ops.shr(columns[0], thirty_two)
        for column in columns[1:]:
            word = ops.add(word, ops.and_(column, mask))
            carry = ops.add(carry, ops.shr(column, thirty_two))
        carry = ops.add(carry, ops.shr(word, thirty_two))
        product.append(ops.and_(word, mask))
    joined = [
        ops.or_(ops.shl(product[-i], thirty_two), product[-i - 1]) for i in (1, 3)[: len(limbs)]
    ]
    return joined[0], None if single else joined[1]


def _window(ops: ScalarOps[V], place: V, count: int, steps: int) -> list[V]:
    """`count` words of the table from bit `place` on, which is below 2^(5 + steps).

    Words are moved by powers of two, the largest first, as in a barrel shifter.
    """

    def integer(value: int) -> V:
        return ops.constant(value, UINT64)

    words = [integer(word) for word in _TURNS_OF_RADIAN]
    for step in reversed(range(steps)):
        move = 1 << step
        chosen = ops.ne(ops.and_(place, integer(move << 5)), integer(0))
        needed = count + move  # one more than `count`, and what later steps skip
        words = [ops.select(chosen, words[i + move], words[i]) for i in range(needed)]
    left = ops.sub(integer(32), ops.and_(place, integer(31)))
    mask = integer(0xFFFFFFFF)
    joined = [ops.or_(ops.shl(word, integer(32)), after) for word, after in pairwise(words)]
    return [ops.and_(ops.shr(pair, left), mask) for pair in joined[:count]]

"""Arithmetic with sums of two float64 numbers, for what is large under an exponential.

exp(y) has the relative error that y has absolutely: of an exponent near 700 rounded to float64 it
keeps three digits less. So exponents are held as a pair (high, low), whose sum is good to some 70
bits. Sums and products of two numbers are exact as pairs (T. J. Dekker, A floating-point technique
for extending the available precision, Numerische Mathematik 18, 1971; D. E. Knuth, The Art of
Computer Programming 2, section 4.2.2).
"""

from __future__ import annotations

import decimal
import functools
import math
from typing import Any

import numpy as np

Pair = tuple[Any, Any]


def two_sum(a: Any, b: Any) -> Pair:
    """The rounded sum, and what it is off by."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Any, b: Any) -> Pair:
    """The rounded product, and what it is off by; for factors below 2^996."""
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    product = a * b
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(x: Any) -> Pair:
    """Parts of 26 bits, whose products are exact."""
    shifted = x * 134217729.0  # 2^27 + 1
    high = shifted - (shifted - x)
    return high, x - high


def add(x: Pair, y: Pair) -> Pair:
    """The sum of two pairs."""
    high, low = two_sum(x[0], y[0])
    return two_sum(high, low + (x[1] + y[1]))


def negative(x: Pair) -> Pair:
    return -x[0], -x[1]


def scale(a: Any, x: Pair) -> Pair:
    """A number times a pair."""
    high, low = two_product(a, x[0])
    return two_sum(high, low + a * x[1])


def exp(xp: Any, x: Pair) -> Any:
    """The exponential of a pair, rounded."""
    high, low = two_sum(x[0], x[1])
    size = xp.exp(high)
    return xp.where(size < math.inf, size + size * low, size)


# log(1 + r) is r - r^2 / 2 + r^3 times this.
_LOG_SERIES = tuple((-1) ** k / (k + 3) for k in range(8, -1, -1))
_STEPS = 128
_LOG_2_BITS = 40


@functools.cache
def _log_table() -> tuple[tuple[float, ...], tuple[float, ...], float, float]:
    """Pairs for log(i / 128), i = 64, …, 128, and one for log 2 with few bits in its first part."""
    with decimal.localcontext(decimal.Context(prec=50)):
        exact = [(decimal.Decimal(i) / _STEPS).ln() for i in range(_STEPS // 2, _STEPS + 1)]
        high = [float(v) for v in exact]
        low = [float(v - decimal.Decimal(h)) for v, h in zip(exact, high, strict=True)]
        log_2 = decimal.Decimal(2).ln()
        coarse = int(log_2 * 2**_LOG_2_BITS) / 2**_LOG_2_BITS
        return tuple(high), tuple(low), coarse, float(log_2 - decimal.Decimal(coarse))


def log(xp: Any, x: Any) -> Pair:
    """The logarithm of positive finite numbers as a pair, within 2^-73 of it.

    With x = 2^e c (1 + r), c the nearest of 65 fractions, log x = e log 2 + log c + log(1 + r).
    The first two are tabulated, and the third is a short series since |r| <= 1/128.
    """
    high, low, log_2, log_2_rest = _log_table()
    fraction, exponent = xp.frexp(x)
    index = xp.rint(fraction * _STEPS).astype(np.int64)
    center = index / _STEPS
    index = index - _STEPS // 2
    r = (fraction - center) / center
    product, rest = two_product(r, center)
    r_rest = ((fraction - center) - product - rest) / center
    square, square_rest = two_product(r, r)
    tail = r * square * _horner(_LOG_SERIES, r)
    exponent = exponent.astype(np.float64)
    first, error_1 = two_sum(exponent * log_2, xp.take(xp.asarray(high), index))
    first, error_2 = two_sum(first, r)
    first, error_3 = two_sum(first, -0.5 * square)
    small = exponent * log_2_rest + xp.take(xp.asarray(low), index)
    small = small + (r_rest - r * r_rest - 0.5 * square_rest + tail)
    return two_sum(first, error_1 + error_2 + error_3 + small)


def _horner(coefficients: tuple[float, ...], x: Any) -> Any:
    out = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        out = out * x + c
    return out

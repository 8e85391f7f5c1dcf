"""What the elementary functions share: the layout of floats, polynomials, powers of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np

from fstensor.core.scalar import FLOAT32, FLOAT64, UINT32, UINT64, Dtype, ScalarOps, V

LOG2_E = 1.4426950408889634


@final
class Format(NamedTuple):
    """The layout of a float dtype, and ln 2 in two parts.

    The first part, `ln2_high`, has so few bits that its product with any exponent is exact.
    """

    dtype: Dtype
    bits: Dtype  # the unsigned integers of the same size
    fraction: int  # bits after the leading one
    bias: int
    ln2_high: float
    ln2_low: float

    @property
    def sign(self) -> int:
        """The position of the sign bit."""
        return self.bits.itemsize * 8 - 1

    @property
    def exponents(self) -> int:
        """The bits of infinity: all those of the exponent."""
        return (2 * self.bias + 1) << self.fraction

    def pattern(self, value: float) -> int:
        """The bits of a number as an integer."""
        return int(np.asarray(value, self.dtype).view(self.bits))


SINGLE = Format(FLOAT32, UINT32, 23, 127, 0.693145751953125, 1.4286068e-06)
DOUBLE = Format(FLOAT64, UINT64, 52, 1023, 0.693147180559663, 2.8235290563031577e-13)


def format_of(ops: ScalarOps[V], x: V) -> Format:
    dtype = ops.dtype(x)
    assert dtype in (FLOAT32, FLOAT64), dtype
    return SINGLE if dtype == FLOAT32 else DOUBLE


def horner(ops: ScalarOps[V], x: V, coefficients: Sequence[float]) -> V:
    """The polynomial c[0] + c[1] x + c[2] x^2 + ..."""
    *rest, last = coefficients
    total = ops.like(last, x)
    for coefficient in reversed(rest):
        total = ops.fma(total, x, ops.like(coefficient, x))
    return total


def at_most(ops: ScalarOps[V], x: V, high: float) -> V:
    """The smaller one of x and `high`; NaN stays."""
    bound = ops.like(high, x)
    return ops.select(ops.gt(x, bound), bound, x)


def at_least(ops: ScalarOps[V], x: V, low: float) -> V:
    """The greater one of x and `low`; NaN stays."""
    bound = ops.like(low, x)
    return ops.select(ops.lt(x, bound), bound, x)


def nearest_multiple(ops: ScalarOps[V], x: V, scale: float, offset: int = 0) -> tuple[V, V]:
    """The integer k nearest to `scale` x as a float, and bits whose lowest ones are k + offset.

    A float of the size 1.5 2^fraction has no bits after the point: adding that rounds, and leaves
    the integer in the lowest bits. The size of k must be below 2^(fraction - 2).
    """
    form = format_of(ops, x)
    shift = ops.like(1.5 * 2.0**form.fraction + offset, x)
    shifted = ops.fma(x, ops.like(scale, x), shift)
    return ops.sub(shifted, shift), ops.bitcast(shifted, form.bits)


def power_of_two(ops: ScalarOps[V], bits: V, form: Format) -> V:
    """The float 2^k for bits whose lowest ones are k + bias, with 0 < k + bias <= 2 bias."""
    shifted = ops.shl(bits, ops.constant(form.fraction, form.bits))
    return ops.bitcast(shifted, form.dtype)


def head(ops: ScalarOps[V], x: V) -> V:
    """The first 12 or 26 bits of a float: products of two heads are exact."""
    form = format_of(ops, x)
    rest = form.fraction // 2 + 1
    mask = ops.constant((1 << (form.sign + 1)) - (1 << rest), form.bits)
    return ops.bitcast(ops.and_(ops.bitcast(x, form.bits), mask), form.dtype)


def subtract_ln2(ops: ScalarOps[V], x: V, k: V, times: int = 1, rest: V | None = None) -> V:
    """The difference of x + rest and k `times` ln 2, for a small rest, rounded about once.

    Cody and Waite, Software Manual for the Elementary Functions (1980), chapter 6.
    """
    form = format_of(ops, x)
    difference = ops.fma(k, ops.like(-times * form.ln2_high, x), x)
    low = ops.like(-times * form.ln2_low, x)
    if rest is None:
        return ops.fma(k, low, difference)
    return ops.add(difference, ops.fma(k, low, rest))

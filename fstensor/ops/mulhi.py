"""The upper half of the product of two integers."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from fstensor import dtypes
from fstensor.core.primitive import primitive
from fstensor.ops.families import INTEGER, Discrete, binary


@final
@primitive("mulhi")
class MulHi(Discrete):
    """Elementwise upper half of the product of integers: x y shifted right by the dtype's width."""

    takes = INTEGER

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        bits = dtypes.iinfo(x.dtype).bits
        if bits == 64:
            return _upper_half_of_longs(xp, x, y)
        wide = np.int64 if dtypes.is_signed(x.dtype) else np.uint64
        product = x.astype(wide) * y.astype(wide)
        return (product >> xp.asarray(bits, wide)).astype(x.dtype)


def _upper_half_of_longs(xp: Any, x: Any, y: Any) -> Any:
    """From products of halves of 32 bits, which 64 bits hold together with a carry."""
    half, low = xp.asarray(32, np.uint64), xp.asarray(2**32 - 1, np.uint64)
    a, b = x.astype(np.uint64), y.astype(np.uint64)
    a1, a0, b1, b0 = a >> half, a & low, b >> half, b & low
    middle = a1 * b0 + (a0 * b0 >> half)
    other = a0 * b1 + (middle & low)
    upper = a1 * b1 + (middle >> half) + (other >> half)
    if dtypes.is_signed(x.dtype):
        # Read without sign, a negative x is x + 2^64, which adds y to the upper half.
        zero = xp.asarray(0, np.uint64)
        upper = upper - xp.where(x < 0, b, zero) - xp.where(y < 0, a, zero)
    return upper.astype(x.dtype)


mulhi = binary(MulHi)

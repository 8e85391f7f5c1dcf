"""The upper half of the product of two integers."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from fstensor import dtypes
from fstensor.core.primitive import primitive
from fstensor.core.scalar import INT64, UINT64, ScalarOps, V
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

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        dtype = ops.dtype(x)
        if dtype.itemsize == 8:
            return _upper_half_of_two_longs(ops, x, y)
        wide = INT64 if dtype.kind == "i" else UINT64
        product = ops.mul(ops.convert(x, wide), ops.convert(y, wide))
        return ops.convert(ops.shr(product, ops.constant(8 * dtype.itemsize, wide)), dtype)


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


def _upper_half_of_two_longs(ops: ScalarOps[V], x: V, y: V) -> V:
    """`_upper_half_of_longs`, of one element."""
    half, low = ops.constant(32, UINT64), ops.constant(2**32 - 1, UINT64)
    a, b = ops.bitcast(x, UINT64), ops.bitcast(y, UINT64)
    a1, a0, b1, b0 = ops.shr(a, half), ops.and_(a, low), ops.shr(b, half), ops.and_(b, low)
    middle = ops.add(ops.mul(a1, b0), ops.shr(ops.mul(a0, b0), half))
    other = ops.add(ops.mul(a0, b1), ops.and_(middle, low))
    upper = ops.add(ops.mul(a1, b1), ops.add(ops.shr(middle, half), ops.shr(other, half)))
    if ops.dtype(x).kind == "i":
        # The sign bit spread over all bits: a mask of what is subtracted.
        places = ops.constant(63, INT64)
        x_sign, y_sign = (ops.bitcast(ops.shr(z, places), UINT64) for z in (x, y))
        excess = ops.add(ops.and_(x_sign, b), ops.and_(y_sign, a))
        upper = ops.sub(upper, excess)
    return ops.bitcast(upper, ops.dtype(x))


mulhi = binary(MulHi)

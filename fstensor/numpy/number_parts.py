"""Numbers taken apart: into whole and fraction, mantissa and exponent, divisors, bits."""

from __future__ import annotations

import math
import operator

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, normalize_axis
from fstensor.errors import DtypeError, OptionError
from fstensor.numpy.arithmetic import copysign, trunc
from fstensor.numpy.logic import isinf, truth
from fstensor.numpy.promote import (
    constant,
    converted,
    inexact,
    operand,
    owned,
    promote,
    refuse_out,
    select,
)
from fstensor.numpy.shape import moveaxis


def _float(what: str, x: ArrayLike) -> Array:
    x = inexact(what, owned(x, what))
    if dtypes.is_complex(x.dtype):
        raise DtypeError(f"{what}: takes real numbers, got {x.aval}")
    return converted(x, x.dtype)


def modf(x: ArrayLike, /, out: None = None) -> tuple[Array, Array]:
    """Elementwise fraction and whole part, both floats with the sign of x. Slopes: 1 and 0."""
    refuse_out("modf", out)
    x = _float("modf", x)
    # The remainder of an infinity is NaN; its fraction is a zero.
    fraction = lax.rem(x, constant(1, x))
    return select(isinf(x), copysign(0.0, x), fraction), copysign(trunc(x), x)


def frexp(x: ArrayLike, /) -> tuple[Array, Array]:
    """Elementwise mantissa m and exponent e, such that x = m 2^e with 1/2 <= |m| < 1.

    Of zeros, infinities and NaN the exponent is 0. Dtypes: floats and int32.
    The slope of the mantissa is 2^-e.
    """
    x = _float("frexp", x)
    info = dtypes.finfo(x.dtype)
    tiny = lax.lt(lax.abs(x), constant(float(info.tiny), x))
    # A subnormal number is made normal first, so that its exponent field tells.
    raised = select(tiny, lax.mul(x, constant(2.0 ** (info.nmant + 1), x)), x)
    exponent = lax.add(_exponent_field(raised), int(info.minexp))
    exponent = select(tiny, lax.sub(exponent, info.nmant + 1), exponent)
    plain = lax.bitwise_and(lax.is_finite(x), lax.ne(x, constant(0, x)))
    exponent = select(plain, exponent, constant(0, exponent))
    return ldexp(x, lax.neg(exponent)), exponent


def _exponent_field(x: Array) -> Array:
    """The bits of the exponent, as an int32."""
    info = dtypes.finfo(x.dtype)
    bits = lax.bitcast_convert_type(x, np.dtype(f"uint{info.bits}"))
    field = lax.shift_right_logical(bits, constant(info.nmant, bits))
    mask = (1 << (info.bits - 1 - info.nmant)) - 1
    return lax.convert_element_type(lax.bitwise_and(field, constant(mask, field)), np.int32)


def ldexp(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """Elementwise x1 2^x2, rounded once. Shapes broadcast.

    Dtypes: x1 is made a float, x2 is of integers.
    Raises: DtypeError for other exponents.
    """
    x, exponent = _float("ldexp", x1), owned(x2, "ldexp")
    if not dtypes.is_integer(exponent.dtype):
        raise DtypeError(f"ldexp: exponents must be integers, got {exponent.aval}")
    if x.dtype == np.float16:  # too few exponents for the steps below
        return converted(ldexp(converted(x, np.dtype(np.float32)), exponent), x.dtype)
    rank = max(x.ndim, exponent.ndim)
    x, exponent = (lax.expand_dims(a, range(rank - a.ndim)) for a in (x, exponent))
    info = dtypes.finfo(x.dtype)
    low, high, digits = int(info.minexp), int(info.maxexp) - 1, int(info.nmant) + 1
    far = 3 * high
    exponent = lax.convert_element_type(lax.clamp(*_limits(exponent, far)), np.int32)
    # 2^exponent itself may lie outside of the range, so it is applied in steps. On the way down a
    # step leaves at least `digits` powers for the last product: should it round, to a subnormal
    # number, then the last product is a zero, and nothing is rounded twice.
    for _ in range(2):
        up, down = lax.gt(exponent, high), lax.lt(exponent, low)
        step = select(up, constant(high, exponent), constant(0, exponent))
        step = select(down, constant(low + digits, exponent), step)
        x = lax.mul(x, _power_of_two(step, x.dtype))
        exponent = lax.sub(exponent, step)
    return lax.mul(x, _power_of_two(lax.clamp(low, exponent, high), x.dtype))


def _limits(exponent: Array, far: int) -> tuple[int, Array, int]:
    """Bounds that the dtype of the exponent can hold."""
    info = dtypes.iinfo(exponent.dtype)
    return max(-far, int(info.min)), exponent, min(far, int(info.max))


def _power_of_two(exponent: Array, dtype: np.dtype) -> Array:
    """2^exponent by its bits, exactly, where that is a normal number."""
    info = dtypes.finfo(dtype)
    field = lax.add(exponent, 1 - int(info.minexp))
    field = lax.convert_element_type(field, np.dtype(f"uint{info.bits}"))
    return lax.bitcast_convert_type(lax.shift_left(field, constant(info.nmant, field)), dtype)


# Divisors


def gcd(x1: ArrayLike, x2: ArrayLike) -> Array:
    """Elementwise greatest common divisor, by Euclid's algorithm; that of x and 0 is |x|.

    Raises: DtypeError unless both are integers.
    """
    x, y = _integers("gcd", x1, x2)
    return lax.convert_element_type(_gcd(_size(x), _size(y)), x.dtype)


def lcm(x1: ArrayLike, x2: ArrayLike) -> Array:
    """Elementwise least common multiple, not negative; that of x and 0 is 0. It wraps around.

    Raises: DtypeError unless both are integers.
    """
    x, y = _integers("lcm", x1, x2)
    m, n = _size(x), _size(y)
    divisor = lax.max(_gcd(m, n), constant(1, m))
    return lax.convert_element_type(lax.mul(lax.div(m, divisor), n), x.dtype)


def _integers(what: str, x1: ArrayLike, x2: ArrayLike) -> tuple[Array, Array]:
    x, y = promote(what, x1, x2)
    if not dtypes.is_integer(x.dtype):
        raise DtypeError(f"{what}: takes integers, got {x.aval} and {y.aval}")
    return x, y


def _size(x: Array) -> Array:
    """|x| without sign: that of the least integer fits only so."""
    bits = dtypes.iinfo(x.dtype).bits
    unsigned = dtypes.canonical(f"uint{bits}")
    return lax.convert_element_type(lax.abs(x), unsigned) if dtypes.is_signed(x.dtype) else x


def _gcd(x: Array, y: Array) -> Array:
    # Numbers of so many bits take the most steps when they are neighbours in Fibonacci's sequence
    # (G. Lamé, 1844): log(2) / log(golden ratio) = 1.44 steps a bit. What is left of the shorter
    # ones takes turns with 0, since the remainder by 0 is the number itself.
    steps = math.ceil(1.4405 * dtypes.iinfo(x.dtype).bits) + 1
    for _ in range(steps):
        x, y = y, lax.rem(x, y)
    return lax.max(x, y)


# Bits


def packbits(a: ArrayLike, axis: int | None = None, bitorder: str = "big") -> Array:
    """Eight elements along `axis`, of the flat array by default, as the bits of one uint8.

    What is not 0 is a 1; an axis is filled up with zeros. bitorder: "big" puts the first element
    into the highest bit, "little" into the lowest.
    Raises: DtypeError unless `a` holds bools or integers, OptionError for another order.
    """
    x = operand(a, "packbits")
    if not (dtypes.is_integer(x.dtype) or dtypes.is_bool(x.dtype)):
        raise DtypeError(f"packbits: takes bools or integers, got {x.aval}")
    bits, axis = _bits_last("packbits", lax.convert_element_type(truth("packbits", x), "u1"), axis)
    bits = lax.pad(bits, constant(0, bits), [*[(0, 0, 0)] * (bits.ndim - 1), _fill(bits)])
    bits = lax.reshape(bits, (*bits.shape[:-1], bits.shape[-1] // 8, 8))
    weights = owned(np.left_shift(np.uint8(1), _shifts("packbits", bitorder)), "packbits")
    weighted = lax.mul(bits, lax.reshape(weights, (*[1] * (bits.ndim - 1), 8)))
    return moveaxis(lax.reduce_sum(weighted, (bits.ndim - 1,)), -1, axis)


def unpackbits(
    a: ArrayLike, axis: int | None = None, count: int | None = None, bitorder: str = "big"
) -> Array:
    """The bits of each uint8 as eight elements 0 or 1 along `axis`, of the flat array by default.

    count: how many to keep; more are filled up with zeros, a negative one drops from the end.
    bitorder: as in `packbits`.
    Raises: DtypeError unless `a` holds uint8, OptionError for another order.
    """
    x = owned(a, "unpackbits")
    if x.dtype != np.uint8:
        raise DtypeError(f"unpackbits: takes uint8, got {x.aval}; convert with astype")
    x, axis = _bits_last("unpackbits", x, axis)
    shifts = owned(_shifts("unpackbits", bitorder), "unpackbits")
    shifts = lax.reshape(shifts, (*[1] * x.ndim, 8))
    bits = lax.shift_right_logical(lax.expand_dims(x, (x.ndim,)), shifts)
    bits = lax.bitwise_and(bits, constant(1, bits))
    n = 8 * x.shape[-1]
    bits = lax.reshape(bits, (*x.shape[:-1], n))
    size = n if count is None else operator.index(count)
    size = max(size + n, 0) if size < 0 else size
    bits = lax.slice_in_dim(bits, 0, min(size, n), axis=-1)
    more = [*[(0, 0, 0)] * (bits.ndim - 1), (0, max(size - n, 0), 0)]
    return moveaxis(lax.pad(bits, constant(0, bits), more), -1, axis)


def _bits_last(what: str, x: Array, axis: int | None) -> tuple[Array, int]:
    if axis is None:
        return lax.reshape(x, (x.size,)), 0
    axis = normalize_axis(axis, x.ndim, what)
    return moveaxis(x, axis, -1), axis


def _fill(bits: Array) -> tuple[int, int, int]:
    return 0, -bits.shape[-1] % 8, 0


def _shifts(what: str, bitorder: str) -> np.ndarray:
    if bitorder not in ("big", "little"):
        raise OptionError(f"{what}: bitorder must be 'big' or 'little', got {bitorder!r}")
    shifts = np.arange(8, dtype=np.uint8)
    return shifts[::-1].copy() if bitorder == "big" else shifts

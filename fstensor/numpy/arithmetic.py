"""Elementwise arithmetic: sums, products, quotients, powers, rounding, extrema, complex parts."""

from __future__ import annotations

import builtins
import math
import operator

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, ConcreteArray
from fstensor.errors import DtypeError, OptionError
from fstensor.numpy.promote import (
    cast,
    constant,
    converted,
    equal_ranks,
    inexact,
    numeric,
    operand,
    owned,
    promote,
    promote_inexact,
    refuse_out,
    repeated,
    result_pair,
    scalar,
    select,
)
from fstensor.ops import division
from fstensor.transforms.replay import replayed, takes_no_derivative

# Sums and products


@replayed
def add(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise sum, x + y. Of bools: logical or.

    Shapes broadcast, dtypes promote.
    """
    return lax.add(*promote("add", x, y))


@replayed
def subtract(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise difference, x - y. Shapes broadcast, dtypes promote.

    Raises: DtypeError for two bools; use logical_xor.
    """
    return lax.sub(*promote("subtract", x, y))


@replayed
def multiply(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise product, x y. Of bools: logical and.

    Shapes broadcast, dtypes promote.
    """
    return lax.mul(*promote("multiply", x, y))


@replayed
def negative(x: ArrayLike, /) -> Array:
    """Elementwise -x. Raises: DtypeError for bools; use logical_not."""
    return lax.neg(operand(x, "negative"))


def positive(x: ArrayLike, /) -> Array:
    """Elementwise +x: `x` itself. Raises: DtypeError for bools."""
    x = owned(x, "positive")
    if dtypes.is_bool(x.dtype):
        raise DtypeError(f"positive: takes an integer, float or complex dtype, got {x.aval}")
    return x


@replayed
def abs(x: ArrayLike, /) -> Array:
    """Elementwise absolute value; the modulus, real, of complex numbers. Its slope at 0 is 1."""
    x = owned(x, "abs")
    if dtypes.is_bool(x.dtype) or dtypes.is_unsigned(x.dtype):
        return x
    return lax.abs(x)


absolute = abs


@replayed
def fabs(x: ArrayLike, /) -> Array:
    """Elementwise absolute value, of real numbers, as a float."""
    return lax.abs(_real("fabs", inexact("fabs", x)))


@replayed
def sign(x: ArrayLike, /) -> Array:
    """Elementwise sign: -1, 0 or 1; z / |z| for complex numbers; NaN stays."""
    return lax.sign(operand(x, "sign"))


@replayed
def square(x: ArrayLike, /) -> Array:
    """Elementwise x²."""
    return lax.square(numeric("square", x))


# Quotients


@replayed
def true_divide(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise quotient, x / y; of integers too as a float. Shapes broadcast."""
    return lax.div(*promote_inexact("divide", x, y))


divide = true_divide


@replayed
def floor_divide(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise quotient, rounded down. Of integers by zero: 0, as in NumPy.

    Shapes broadcast, dtypes promote. Raises: DtypeError for complex numbers.
    """
    return division.floor_divide(*_promote_numeric("floor_divide", x, y))


@replayed
def remainder(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise remainder, with the sign of y. Of integers by zero: 0, as in NumPy.

    Shapes broadcast, dtypes promote. Raises: DtypeError for complex numbers.
    """
    return division.remainder(*_promote_numeric("remainder", x, y))


mod = remainder


def divmod(x: ArrayLike, y: ArrayLike, /) -> tuple[Array, Array]:
    """The pair (floor_divide(x, y), remainder(x, y))."""
    return floor_divide(x, y), remainder(x, y)


@replayed
def fmod(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise remainder, with the sign of x. Of integers by zero: 0, as in NumPy.

    Shapes broadcast, dtypes promote.
    """
    x, y = _promote_numeric("fmod", x, y)
    if dtypes.is_integer(x.dtype):
        y = _unless_zero(y, y, constant(1, y))
    return lax.rem(_real("fmod", x), y)


@replayed
def reciprocal(x: ArrayLike, /) -> Array:
    """Elementwise 1 / x, as a float."""
    return lax.reciprocal(inexact("reciprocal", x))


def _promote_numeric(what: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """As `promote`, with bools as the default integers."""
    x, y = promote(what, x, y)
    return (numeric(what, x), numeric(what, y)) if dtypes.is_bool(x.dtype) else (x, y)


def _real(what: str, x: Array) -> Array:
    if dtypes.is_complex(x.dtype):
        raise DtypeError(f"{what}: takes real numbers, got {x.aval}")
    return x


def _unless_zero(y: Array, value: Array, instead: Array) -> Array:
    """`value`, but `instead` where `y` is zero."""
    if isinstance(y, ConcreteArray) and not y.ndim and y.item() != 0:
        return value
    return select(lax.eq(y, constant(0, y)), instead, value)


# Powers


@replayed
def power(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise power, x to the y.

    A Python integer y is static: the result has the dtype of x, and derivatives are exact at 0.
    Raises: OptionError for an integer x and a negative static y. An array of integer exponents may
    be traced, so where one is negative the power is rounded towards 0, in place of NumPy's error.
    """
    if isinstance(x, Array) and isinstance(y, Array):
        kind = x.aval.dtype
        if kind == y.aval.dtype and dtypes.is_inexact(kind):
            return lax.pow(*promote("power", x, y))
    exponent = y if y.__class__ is int else _static_integer(y)
    if exponent is not None and not isinstance(x, (bool, int, float, complex)):
        return lax.integer_pow(numeric("power", x), exponent)
    kind, weak = result_pair("power", (x, y))
    x, y = (
        # In its full precision, not that of the default float.
        cast("power", z, kind, weak) if isinstance(z, (float, complex)) else operand(z, "power")
        for z in (x, y)
    )
    if kind == x.dtype and dtypes.is_inexact(kind) and dtypes.is_integer(y.dtype):
        return lax.pow(*equal_ranks([x, y]))  # integer exponents need no logarithm
    x, y = _promote_numeric("power", x, y)
    return lax.pow(x, y) if dtypes.is_inexact(x.dtype) else _integer_power(x, y)


pow = power


def _static_integer(y: ArrayLike) -> int | None:
    if isinstance(y, (int, np.integer)) and not isinstance(y, bool):
        return operator.index(y)
    return None


def _integer_power(x: Array, y: Array) -> Array:
    """Powers of integers with integer exponents, by squaring: one step for each bit of y.

    Negative exponents give 0, but for a base of 1 or -1 the exact power.
    """
    zero, one = constant(0, x), constant(1, x)
    result = repeated(one, np.broadcast_shapes(x.shape, y.shape))
    base, rest = x, y
    for _ in range(dtypes.iinfo(y.dtype).bits):
        odd = lax.ne(lax.bitwise_and(rest, one), zero)
        result = select(odd, lax.mul(result, base), result)
        base = lax.mul(base, base)
        rest = lax.shift_right_logical(rest, one)
    if not dtypes.is_signed(y.dtype):
        return result
    unit = lax.bitwise_or(lax.eq(x, one), lax.eq(x, lax.neg(one)))
    whole = lax.bitwise_or(lax.ge(y, zero), unit)
    return select(whole, result, zero)


@replayed
def float_power(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise power of floats, x to the y; integers become floats."""
    return lax.pow(*promote_inexact("float_power", x, y))


# Rounding


@replayed
def floor(x: ArrayLike, /) -> Array:
    """Elementwise largest integer not above x, in the dtype of x."""
    x = owned(x, "floor")
    return x if not dtypes.is_inexact(x.dtype) else lax.floor(x)


@replayed
def ceil(x: ArrayLike, /) -> Array:
    """Elementwise smallest integer not below x, in the dtype of x."""
    x = owned(x, "ceil")
    return x if not dtypes.is_inexact(x.dtype) else lax.ceil(x)


@replayed
def trunc(x: ArrayLike, /) -> Array:
    """Elementwise nearest integer towards zero, in the dtype of x."""
    x = owned(x, "trunc")
    if not dtypes.is_inexact(x.dtype):
        return x
    return select(lax.lt(_real("trunc", x), constant(0, x)), lax.ceil(x), lax.floor(x))


@replayed
def rint(x: ArrayLike, /) -> Array:
    """Elementwise nearest integer, halves to even, as a float or complex."""
    x = inexact("rint", x)
    if dtypes.is_complex(x.dtype):
        return lax.complex(rint(lax.real(x)), rint(lax.imag(x)))
    return lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)


@replayed
def round(a: ArrayLike, decimals: int = 0, out: None = None) -> Array:
    """Elementwise rounding to `decimals` places, halves to even; negative places are tens."""
    refuse_out("round", out)
    a, decimals = owned(a, "round"), operator.index(decimals)
    if dtypes.is_inexact(a.dtype):
        if decimals == 0:
            return rint(a)
        # In NumPy's order of operations, so that the same halves appear.
        factor = constant(10.0 ** builtins.abs(decimals), a)
        if decimals > 0:
            return lax.div(rint(lax.mul(a, factor)), factor)
        return lax.mul(rint(lax.div(a, factor)), factor)
    if decimals >= 0 or dtypes.is_bool(a.dtype):
        return a
    unit = 10**-decimals
    if unit > dtypes.iinfo(a.dtype).max:
        return lax.mul(a, constant(0, a))
    tens = rint(lax.div(converted(a, np.dtype(np.float64)), float(unit)))
    return lax.mul(converted(tens, a.dtype, a.weak_type), constant(unit, a))


around = round


# Extrema


@replayed
def maximum(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise maximum; NaN where either is. At a tie each operand has half the slope.

    Complex numbers are ordered by real part, then by imaginary part.
    """
    return lax.max(*promote("maximum", x, y))


@replayed
def minimum(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise minimum; NaN where either is. Ties and complex numbers as in `maximum`."""
    return lax.min(*promote("minimum", x, y))


@replayed
def fmax(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise maximum; a NaN gives way to the other operand."""
    x, y = promote("fmax", x, y)
    return select(lax.bitwise_or(lax.gt(x, y), lax.ne(y, y)), x, y)


@replayed
def fmin(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise minimum; a NaN gives way to the other operand."""
    x, y = promote("fmin", x, y)
    return select(lax.bitwise_or(lax.lt(x, y), lax.ne(y, y)), x, y)


_NUMBERS = (int, float)


@replayed
def clip(arr: ArrayLike, /, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Array:
    """Elementwise limitation to the interval from `min` to `max`; None is no limit.

    At a bound the slope is 1/2. Where min > max the result is max.
    Raises: DtypeError for complex numbers.
    """
    unlimited = min is None and max is None
    arr = _real("clip", owned(arr, "clip") if unlimited else operand(arr, "clip"))
    if takes_no_derivative() and min.__class__ in _NUMBERS and max.__class__ in _NUMBERS:
        # Where no derivative is taken, clamp has the same values, and makes them in one pass.
        x, low = promote("clip", arr, min)
        x, high = promote("clip", x, max)
        if low.dtype == x.dtype:
            return lax.clamp(low, x, high)
    if min is not None:
        arr = maximum(min, arr)
    if max is not None:
        arr = minimum(max, arr)
    return arr


# Complex numbers


def real(val: ArrayLike, /) -> Array:
    """Elementwise real part; `val` itself when it is real."""
    val = owned(val, "real")
    return lax.real(val) if dtypes.is_complex(val.dtype) else val


def imag(val: ArrayLike, /) -> Array:
    """Elementwise imaginary part; zeros for real numbers."""
    val = operand(val, "imag")
    if dtypes.is_complex(val.dtype):
        return lax.imag(val)
    return repeated(constant(0, val), val.shape)


@replayed
def conj(x: ArrayLike, /) -> Array:
    """Elementwise complex conjugate; `x` itself when it is real."""
    x = owned(x, "conj")
    return lax.conj(x) if dtypes.is_complex(x.dtype) else x


conjugate = conj


@replayed
def angle(z: ArrayLike, deg: bool = False) -> Array:
    """Elementwise argument of complex numbers, in (-pi, pi]; in degrees if `deg`."""
    z = inexact("angle", z)
    real, imag = (lax.real(z), lax.imag(z)) if dtypes.is_complex(z.dtype) else (z, constant(0, z))
    if imag.ndim < real.ndim:
        imag = repeated(imag, real.shape)
    radians = lax.atan2(imag, real)
    return lax.mul(radians, constant(180 / math.pi, radians)) if deg else radians


# Floats by their parts


@replayed
def copysign(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise |x| with the sign of y, also that of a zero or NaN."""
    x, y = promote_inexact("copysign", x, y)
    magnitude = lax.abs(_real("copysign", x))
    return select(signbit(y), lax.neg(magnitude), magnitude)


@replayed
def signbit(x: ArrayLike, /) -> Array:
    """Elementwise: whether the sign bit is set, as for -0.0."""
    x = _real("signbit", operand(x, "signbit"))
    if dtypes.is_bool(x.dtype) or dtypes.is_unsigned(x.dtype):
        return repeated(scalar(False, np.dtype(bool)), x.shape)
    if dtypes.is_integer(x.dtype):
        return lax.lt(x, constant(0, x))
    bits = lax.bitcast_convert_type(x, np.dtype(f"int{8 * x.dtype.itemsize}"))
    return lax.lt(bits, constant(0, bits))


@replayed
def heaviside(x: ArrayLike, h: ArrayLike, /) -> Array:
    """Elementwise step: 0 for x < 0, `h` at 0, 1 for x > 0; NaN stays."""
    x, h = promote_inexact("heaviside", x, h)
    zero = constant(0, x)
    step = select(lax.lt(x, zero), zero, select(lax.gt(x, zero), constant(1, x), h))
    return select(lax.ne(x, x), x, step)


@replayed
def nextafter(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise next float after x towards y."""
    return lax.nextafter(*promote_inexact("nextafter", x, y))


def nan_to_num(
    x: ArrayLike,
    copy: bool = True,
    nan: ArrayLike = 0.0,
    posinf: ArrayLike | None = None,
    neginf: ArrayLike | None = None,
) -> Array:
    """Elementwise replacement of NaN, inf and -inf; None is the largest or smallest number.

    Raises: OptionError for copy=False, which would write into `x`.
    """
    if not copy:
        raise OptionError("nan_to_num: arrays are immutable, so copy must be True, got False")
    x = owned(x, "nan_to_num")
    if not dtypes.is_inexact(x.dtype):
        return x
    if dtypes.is_complex(x.dtype):
        parts = [nan_to_num(part, True, nan, posinf, neginf) for part in (lax.real(x), lax.imag(x))]
        return lax.complex(*parts)
    limits = dtypes.finfo(x.dtype)
    above = float(limits.max) if posinf is None else posinf
    below = float(limits.min) if neginf is None else neginf
    for found, value in [
        (lax.ne(x, x), nan),
        (lax.eq(x, constant(math.inf, x)), above),
        (lax.eq(x, constant(-math.inf, x)), below),
    ]:
        x = select(found, cast("nan_to_num", value, x.dtype, x.weak_type), x)
    return x

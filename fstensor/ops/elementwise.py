"""Arithmetic: each operation is applied element by element.

Conventions at kinks follow JAX: `max` and `min` give each operand half at a tie, abs'(0) = 1.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes, ops
from fstensor.array import Array, ArrayLike, DtypeLike, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, Value, primitive
from fstensor.core.scalar import ScalarOps, V
from fstensor.core.tape import sum_of_tapes
from fstensor.errors import DtypeError, OptionError
from fstensor.ops.families import (
    FLOAT,
    INEXACT,
    NUMBER,
    NUMERIC,
    ORDERED,
    Binary,
    Discrete,
    Elementwise,
    Kind,
    Unary,
    apply_scalar_op,
    beside,
    binary,
    broadcast_shape,
    constant,
    is_real_literal,
    unary,
    unbroadcast,
)


class _JointlyLinear(Binary):
    """An operation that is linear in both operands together: its tangent is itself of tangents."""

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        if any(t is ZERO for t in tangents):
            return super().jvp(primals, tangents)
        return self.bind(*primals), self.bind(*tangents)


class _Sum(_JointlyLinear):
    """x + y."""

    scalar_op = "add"
    commutes = True

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.add(x, y)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return t

    derive_y = derive_x

    def transpose(self, ct: Array, x: Value, y: Value) -> Sequence[Value]:
        return [unbroadcast(ct, a) if isinstance(a, Linear) else None for a in (x, y)]


@final
@primitive("add_any")
class AddAny(_Sum):
    """Sum of two tangents or cotangents; what transforms use to accumulate."""

    takes = Kind("a numeric dtype", lambda d: NUMERIC.contains(d) or d == dtypes.tape)

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return sum_of_tapes(x, y) if x.dtype == dtypes.tape else xp.add(x, y)


@final
@primitive("add")
class Add(_Sum):
    """Elementwise sum, x + y. For bools: logical or."""

    elementwise_ufunc = "add"


@final
@primitive("neg")
class Neg(Unary):
    """Elementwise negation, -x."""

    elementwise_ufunc = "negative"
    scalar_op = "neg"

    takes = NUMBER

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.negative(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return neg(t)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [neg(ct)]


@final
@primitive("sub")
class Sub(_JointlyLinear):
    """Elementwise difference, x - y."""

    elementwise_ufunc = "subtract"
    scalar_op = "sub"

    takes = NUMBER

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.subtract(x, y)

    def same_as(
        self, avals: tuple[ShapedArray, ...], literals: Sequence[Array | None]
    ) -> int | None:
        # Not so for 0 - (-0.0), nor for the sum with 0.
        literal = literals[1]
        zero = is_real_literal(literal, 0) and not np.signbit(np.asarray(literal))
        return 0 if zero else None

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return t

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return neg(t)

    def transpose(self, ct: Array, x: Value, y: Value) -> Sequence[Value]:
        return [
            unbroadcast(ct, x) if isinstance(x, Linear) else None,
            unbroadcast(neg(ct), y) if isinstance(y, Linear) else None,
        ]


@final
@primitive("mul")
class Mul(Binary):
    """Elementwise product, x y. For bools: logical and."""

    elementwise_ufunc = "multiply"
    scalar_op = "mul"
    commutes = True

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.multiply(x, y)

    def same_as(
        self, avals: tuple[ShapedArray, ...], literals: Sequence[Array | None]
    ) -> int | None:
        for i in (0, 1):
            if is_real_literal(literals[1 - i], 1):
                return i
        return None

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, y)

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(x, t)

    def transpose(self, ct: Array, x: Value, y: Value) -> Sequence[Value]:
        if isinstance(x, Linear):
            return [unbroadcast(mul(ct, y), x), None]
        return [None, unbroadcast(mul(x, ct), y)]


@final
@primitive("div")
class Div(Binary):
    """Elementwise quotient, x / y; that of integers is rounded towards zero.

    An integer divisor of zero gives -1, or the largest unsigned number, as XLA has it.
    """

    elementwise_ufunc = "divide"

    takes = NUMBER

    def same_as(
        self, avals: tuple[ShapedArray, ...], literals: Sequence[Array | None]
    ) -> int | None:
        return 0 if is_real_literal(literals[1], 1) else None

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        if not dtypes.is_integer(x.dtype):
            return xp.divide(x, y)
        return _integer_quotient(xp, x, y)

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        if ops.dtype(x).kind == "f":
            return ops.div(x, y)
        zero = ops.like(0, y)
        return ops.select(ops.eq(y, zero), ops.not_(zero), whole_quotient(ops, x, y))

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return div(t, y)

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(mul(neg(t), x), integer_pow(y, -2))

    def transpose(self, ct: Array, x: Value, y: Array) -> Sequence[Value]:
        return [unbroadcast(div(ct, y), x), None]


def _integer_quotient(xp: Any, x: Any, y: Any) -> Any:
    zero = y == 0
    safe = xp.where(zero, xp.ones_like(y), y)
    quotient = xp.floor_divide(x, safe)
    if dtypes.is_signed(x.dtype):
        # floor_divide rounds down; towards zero is one more when the signs differ.
        inexact = quotient * safe != x
        quotient = quotient + (inexact & ((x < 0) != (safe < 0))).astype(x.dtype)
    return xp.where(zero, xp.asarray(-1).astype(x.dtype), quotient).astype(x.dtype)


def whole_quotient(ops: ScalarOps[V], x: V, y: V) -> V:
    """The quotient of integers rounded towards zero, wrapping around; x itself for y = 0."""
    zero = ops.eq(y, ops.like(0, y))
    if ops.dtype(x).kind == "u":
        return ops.div(x, ops.select(zero, ops.like(1, y), y))
    minus = ops.eq(y, ops.like(-1, y))
    quotient = ops.div(x, ops.select(ops.or_(zero, minus), ops.like(1, y), y))
    return ops.select(minus, ops.neg(x), quotient)


@final
@primitive("rem")
class Rem(Binary):
    """Elementwise remainder with the sign of x; x itself for an integer divisor of zero."""

    takes = NUMBER

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        if not dtypes.is_integer(x.dtype):
            return xp.fmod(x, y)
        zero = y == 0
        return xp.where(zero, x, xp.fmod(x, xp.where(zero, xp.ones_like(y), y))).astype(x.dtype)

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        if ops.dtype(x).kind == "f":
            return ops.rem(x, y)
        return ops.sub(x, ops.mul(whole_quotient(ops, x, y), y))

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return t

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        quotient = div(x, y)
        truncated = mul(sign(quotient), ops.rounding.floor(abs(quotient)))
        return mul(neg(t), truncated)


@final
@primitive("max")
class Max(Binary):
    """Elementwise maximum; NaN when either is NaN. At a tie each operand has half the slope.

    Complex numbers are ordered by real part, then by imaginary part.
    """

    elementwise_ufunc = "maximum"
    scalar_op = "max"

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.maximum(x, y)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _share(x, out, y))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _share(y, out, x))


@final
@primitive("min")
class Min(Binary):
    """Elementwise minimum; NaN when either is NaN. At a tie each operand has half the slope.

    Complex numbers are ordered by real part, then by imaginary part.
    """

    elementwise_ufunc = "minimum"
    scalar_op = "min"

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.minimum(x, y)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _share(x, out, y))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _share(y, out, x))


def _share(x: Array, out: Array, other: Array) -> Array:
    """The share of `x` in the chosen value: 1 where it was chosen, 0 elsewhere, 1/2 at a tie."""
    zero, one, two = constant(0, out), constant(1, out), constant(2, out)
    chosen = ops.logical.where(ops.logical.eq(x, out), one, zero)
    return div(chosen, ops.logical.where(ops.logical.eq(other, out), two, one))


@final
@primitive("clamp")
class Clamp(Elementwise):
    """Elementwise min(max(x, low), high), for operands low, x, high; NaN stays.

    The slope is 1 strictly between the bounds and 0 at them, unlike that of `max` and `min`.
    """

    takes = ORDERED

    def impl(self, xp: Any, low: Any, x: Any, high: Any) -> Any:
        if x.dtype.isbuiltin != 1:  # of these, clip makes float32
            return xp.minimum(xp.maximum(x, low), high)
        return xp.clip(x, low, high)

    def element(self, ops: ScalarOps[V], low: V, x: V, high: V) -> V:
        above = apply_scalar_op(ops, "max", x, low)
        return apply_scalar_op(ops, "min", above, high)

    def tangent(self, i: int, t: Array, out: Array, *args: Value) -> Array:
        low, x, high = args
        lt, gt = ops.logical.lt, ops.logical.gt
        if i == 0:
            chosen = ops.logical.bitwise_and(gt(low, x), lt(low, high))
        elif i == 1:
            chosen = ops.logical.bitwise_and(gt(x, low), lt(x, high))
        else:
            chosen = lt(high, x)
        return ops.logical.where(chosen, t, constant(0, t))


def clamp(min: ArrayLike, x: ArrayLike, max: ArrayLike) -> Array:
    """Elementwise min(max(x, low), high). The bounds have the shape of `x` or are scalars.

    Dtypes: one for all three; Python scalars take that of `x`. NaN stays NaN.
    Raises: ShapeError or DtypeError.
    """
    x = lift(x, what="clamp")
    return Clamp().bind(beside(min, x, "clamp"), x, beside(max, x, "clamp"))


@final
@primitive("nextafter")
class NextAfter(Binary):
    """Elementwise next float after x in the direction of y."""

    takes = FLOAT
    reads_bits = True

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.nextafter(x, y)

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        as_bits = np.dtype(f"i{ops.dtype(x).itemsize}")
        zero, one = ops.like(0, x), ops.constant(1, as_bits)
        bits = ops.bitcast(x, as_bits)  # grows with the size of x
        outward = ops.eq(ops.gt(y, x), ops.gt(x, zero))
        moved = ops.select(outward, ops.add(bits, one), ops.sub(bits, one))
        from_zero = ops.copysign(ops.bitcast(one, ops.dtype(x)), y)
        moved = ops.select(ops.eq(x, zero), from_zero, ops.bitcast(moved, ops.dtype(x)))
        moved = ops.select(ops.eq(x, y), y, moved)
        comparable = ops.and_(ops.eq(x, x), ops.eq(y, y))
        return ops.select(comparable, moved, ops.add(x, y))


_nextafter = binary(NextAfter)


def nextafter(x1: ArrayLike, x2: ArrayLike) -> Array:
    """Elementwise next float after x1 in the direction of x2."""
    return _nextafter(x1, x2)


@final
@primitive("sign")
class Sign(Unary):
    """Elementwise sign: -1, 0 or 1; x / |x| for complex numbers; NaN stays."""

    takes = NUMBER

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.sign(x)

    def element(self, ops: ScalarOps[V], x: V) -> V:
        zero, one = ops.like(0, x), ops.like(1, x)
        if ops.dtype(x).kind == "u":
            return ops.min(x, one)
        below = ops.select(ops.lt(x, zero), ops.like(-1, x), ops.add(x, zero))  # NaN, or 0 from -0
        return ops.select(ops.gt(x, zero), one, below)

    def derive(self, t: Array, out: Array, x: Array) -> Value:
        """Constant between jumps; of a complex number only what turns it shows.

        With s = x / |x|: ds = i s Im(conj(s) dx) / |x|, and 0 at the origin. JAX has 0 everywhere.
        """
        if not dtypes.is_complex(x.dtype):
            return ZERO
        size = abs(x)
        zero = constant(0, size)
        safe = ops.logical.where(ops.logical.eq(size, zero), constant(1, size), size)
        turn = div(ops.convert.imag(mul(ops.convert.conj(out), t)), safe)
        return mul(mul(out, constant(1j, x)), ops.convert.convert_element_type(turn, x.dtype))


@final
@primitive("is_finite")
class IsFinite(Discrete):
    """Elementwise: whether x is neither infinite nor NaN."""

    takes = FLOAT

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(bool)

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.isfinite(x)

    def element(self, ops: ScalarOps[V], x: V) -> V:
        return ops.lt(ops.abs(x), ops.like(math.inf, x))


@final
@primitive("abs")
class Abs(Unary):
    """Elementwise absolute value; the modulus, real, for complex numbers. abs'(0) = 1."""

    takes = NUMBER

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return dtypes.to_real(dtype)

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.abs(x)

    def element(self, ops: ScalarOps[V], x: V) -> V:
        return x if ops.dtype(x).kind == "u" else ops.abs(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        if dtypes.is_complex(x.dtype):
            # d|z| = Re(conj(z) dz) / |z|, and 0 at the origin.
            size = ops.convert.convert_element_type(out, x.dtype)
            zero = ops.logical.eq(size, constant(0, size))
            safe = ops.logical.where(zero, constant(1, size), size)
            return ops.convert.real(mul(t, div(ops.convert.conj(x), safe)))
        return ops.logical.where(ops.logical.ge(x, constant(0, x)), t, neg(t))


@final
@primitive("integer_pow")
class IntegerPow(Unary):
    """Elementwise power with a static integer exponent `y`; negative ones for inexact dtypes."""

    y: int
    takes = NUMBER

    def abstract(self, *avals: ShapedArray) -> ShapedArray:
        if self.y < 0 and not dtypes.is_inexact(avals[0].dtype):
            raise OptionError(
                f"integer_pow: an integer base needs an exponent of at least 0, "
                f"got {avals[0]} to the power {self.y}"
            )
        return super().abstract(*avals)

    def same_as(
        self, avals: tuple[ShapedArray, ...], literals: Sequence[Array | None]
    ) -> int | None:
        return 0 if self.y == 1 else None

    def impl(self, xp: Any, x: Any) -> Any:
        if self.y == 2:
            return xp.square(x)
        n = builtins.abs(self.y)
        if n == 0:
            return xp.ones_like(x)
        if self.y == 1:
            return x.copy()  # not `x`: results of arithmetic have memory of their own
        if n > _LONGEST_PRODUCT and x.dtype.kind in "fc":
            return xp.power(x, self.y)
        out, square = None, x
        while n:
            if n & 1:
                out = square if out is None else xp.multiply(out, square)
            n >>= 1
            square = xp.square(square) if n else square
        return xp.reciprocal(out) if self.y < 0 else out

    def element(self, ops: ScalarOps[V], x: V) -> V:
        one = ops.like(1, x)
        n = builtins.abs(self.y)
        if n > _LONGEST_PRODUCT and ops.dtype(x).kind == "f":
            return ops.elementary("pow", x, ops.like(self.y, x))
        out, square = None, x
        while n:
            if n & 1:
                out = square if out is None else ops.mul(out, square)
            n >>= 1
            square = ops.mul(square, square) if n else square
        if out is None:
            return one
        return ops.div(one, out) if self.y < 0 else out

    def derive(self, t: Array, out: Array, x: Array) -> Value:
        if self.y == 0:
            return ZERO
        return mul(t, mul(constant(self.y, x), integer_pow(x, self.y - 1)))


# Up to here repeated squaring is as accurate as the power function, and many times as fast.
_LONGEST_PRODUCT = 8


def integer_pow(x: ArrayLike, y: int) -> Array:
    """Elementwise power with a static integer exponent.

    Dtypes: any numeric; a negative exponent needs a float or complex x.
    Raises: OptionError for a negative power of integers.
    """
    return IntegerPow(int(y)).bind(x)


@final
@primitive("square")
class Square(Unary):
    """Elementwise x^2."""

    elementwise_ufunc = "square"

    takes = NUMBER

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.square(x)

    def element(self, ops: ScalarOps[V], x: V) -> V:
        return ops.mul(x, x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, mul(constant(2, x), x))


@final
@primitive("sqrt")
class Sqrt(Unary):
    """Elementwise square root; NaN for negative reals. Its slope is infinite at 0."""

    elementwise_ufunc = "sqrt"
    scalar_op = "sqrt"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.sqrt(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, div(constant(0.5, x), out))


@final
@primitive("rsqrt")
class Rsqrt(Unary):
    """Elementwise 1 / sqrt(x); infinite at 0."""

    scalar_op = "rsqrt"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.reciprocal(xp.sqrt(x))

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, mul(constant(-0.5, x), div(out, x)))


@final
@primitive("cbrt")
class Cbrt(Unary):
    """Elementwise real cube root, with the sign of x. Its slope is infinite at 0."""

    scalar_op = "cbrt"

    takes = FLOAT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.cbrt(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, mul(constant(1 / 3, x), integer_pow(out, -2)))


@final
@primitive("pow")
class Pow(Binary):
    """Elementwise x^y, for y of the dtype of x or of an integer dtype; x^0 = 1 everywhere.

    d/dx = y x^(y-1), taken as 0 where y = 0, also at x = 0. d/dy = log(x) x^y, taken as 0 where
    x = 0; NaN where x < 0, since the power is not defined beside integers y.
    """

    def abstract(self, *avals: ShapedArray) -> ShapedArray:
        x, y = avals
        INEXACT.check("pow", x)
        NUMBER.check("pow", y)
        if y.dtype != x.dtype and dtypes.is_inexact(y.dtype):
            raise DtypeError(
                f"pow: the exponent must have the dtype of the base or an integer dtype, "
                f"got {x} and {y}; convert with astype"
            )
        return ShapedArray(broadcast_shape("pow", avals), x.dtype, x.weak_type and y.weak_type)

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.power(x, y.astype(x.dtype, copy=False))

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        return ops.elementary("pow", x, ops.convert(y, ops.dtype(x)))

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        y = ops.convert.convert_element_type(y, x.dtype)
        # x^(y-1) is infinite at x = y = 0; any finite factor will do beside y = 0.
        zero, one = constant(0, y), constant(1, y)
        exponent = sub(ops.logical.where(ops.logical.eq(y, zero), one, y), one)
        return mul(t, mul(y, pow(x, exponent)))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        zero = ops.logical.eq(x, constant(0, x))
        safe = ops.logical.where(zero, constant(1, x), x)
        return mul(t, mul(ops.transcendental.log(safe), out))


def pow(x: ArrayLike, y: ArrayLike) -> Array:
    """Elementwise power x^y. A Python float or complex takes the dtype of the other operand.

    Dtypes: x float or complex; y of the same dtype or of any integer dtype.
    Raises: DtypeError for other dtypes, ShapeError.
    """
    if isinstance(x, Array):
        y = lift(y, what="pow") if isinstance(y, int) else beside(y, x, "pow")
    elif isinstance(y, Array) and dtypes.is_inexact(y.dtype):
        x = beside(x, y, "pow")
    return Pow().bind(x, y)


add_any = binary(AddAny)
neg = unary(Neg)
add = binary(Add)
sub = binary(Sub)


def mul(x: ArrayLike, y: ArrayLike, *, out_dtype: DtypeLike = None) -> Array:
    """The product x * y. A Python scalar takes the dtype of the other operand.

    out_dtype: the dtype to which both operands are converted first.
    Raises: DtypeError when the dtypes differ and out_dtype is not given; ShapeError.
    """
    # What `binary` makes, written out: this is the operation that is called most.
    if isinstance(x, Array):
        if not isinstance(y, Array):
            y = beside(y, x, "mul")
    elif isinstance(y, Array):
        x = beside(x, y, "mul")
    if out_dtype is not None:
        x, y = (ops.convert.convert_element_type(z, out_dtype) for z in (x, y))
    return _MUL.bind(x, y)


_MUL = Mul()
div = binary(Div)
rem = binary(Rem)
max = binary(Max)
min = binary(Min)
sign = unary(Sign)
abs = unary(Abs)
is_finite = unary(IsFinite)
square = unary(Square)
sqrt = unary(Sqrt)
rsqrt = unary(Rsqrt)
cbrt = unary(Cbrt)

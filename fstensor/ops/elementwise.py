"""Arithmetic: each operation is applied element by element.

Conventions at kinks follow JAX: `max` and `min` give each operand half at a tie, abs'(0) = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes, ops
from fstensor.array import Array, ArrayLike
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import Linear, Value, primitive
from fstensor.errors import OptionError
from fstensor.ops.families import (
    NUMBER,
    ORDERED,
    Binary,
    Discrete,
    Unary,
    binary,
    constant,
    unary,
    unbroadcast,
)


@final
@primitive("add_any")
class AddAny(Binary):
    """Sum of two tangents or cotangents; what transforms use to accumulate."""

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.add(x, y)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return t

    derive_y = derive_x

    def transpose(self, ct: Array, x: Value, y: Value) -> Sequence[Value]:
        return [unbroadcast(ct, a) if isinstance(a, Linear) else None for a in (x, y)]


@final
@primitive("neg")
class Neg(Unary):
    """Elementwise negation, -x."""

    takes = NUMBER

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.negative(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return neg(t)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [neg(ct)]


@final
@primitive("add")
class Add(Binary):
    """Elementwise sum, x + y. For bools: logical or."""

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.add(x, y)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return t

    derive_y = derive_x

    def transpose(self, ct: Array, x: Value, y: Value) -> Sequence[Value]:
        return [unbroadcast(ct, a) if isinstance(a, Linear) else None for a in (x, y)]


@final
@primitive("sub")
class Sub(Binary):
    """Elementwise difference, x - y."""

    takes = NUMBER

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.subtract(x, y)

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

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.multiply(x, y)

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
    """Elementwise quotient, x / y. For integers: rounded towards zero, and -1 or the largest
    unsigned number for a zero divisor, as XLA has it.
    """

    takes = NUMBER

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        if x.dtype.kind not in "iu":
            return xp.divide(x, y)
        return _integer_quotient(xp, x, y)

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
    if x.dtype.kind == "i":
        # floor_divide rounds down; towards zero is one more when the signs differ.
        inexact = quotient * safe != x
        quotient = quotient + (inexact & ((x < 0) != (safe < 0))).astype(x.dtype)
    return xp.where(zero, xp.asarray(-1).astype(x.dtype), quotient).astype(x.dtype)


@final
@primitive("rem")
class Rem(Binary):
    """Elementwise remainder with the sign of x; x itself for an integer divisor of zero."""

    takes = NUMBER

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        if x.dtype.kind not in "iu":
            return xp.fmod(x, y)
        zero = y == 0
        return xp.where(zero, x, xp.fmod(x, xp.where(zero, xp.ones_like(y), y))).astype(x.dtype)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return t

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        quotient = div(x, y)
        truncated = mul(sign(quotient), floor(abs(quotient)))
        return mul(neg(t), truncated)


@final
@primitive("max")
class Max(Binary):
    """Elementwise maximum; NaN when either is NaN. At a tie each operand has half the slope."""

    takes = ORDERED

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.maximum(x, y)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _share(x, out, y))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _share(y, out, x))


@final
@primitive("min")
class Min(Binary):
    """Elementwise minimum; NaN when either is NaN. At a tie each operand has half the slope."""

    takes = ORDERED

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.minimum(x, y)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _share(x, out, y))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _share(y, out, x))


def _share(x: Array, out: Array, other: Array) -> Array:
    """The share of `x` in the chosen value: 1 where it was chosen, 0 elsewhere, 1/2 at a tie."""
    one, zero, half = constant(1, out), constant(0, out), constant(0.5, out)
    chosen = ops.logical.eq(x, out)
    tied = ops.logical.eq(other, out)
    whole = ops.logical.where(tied, half, one)
    return ops.logical.where(chosen, whole, zero)


@final
@primitive("sign")
class Sign(Discrete):
    """Elementwise sign: -1, 0 or 1; x / |x| for complex numbers; NaN stays."""

    takes = NUMBER

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.sign(x)


@final
@primitive("floor")
class Floor(Discrete):
    """Elementwise largest integer not above x."""

    takes = ORDERED

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.floor(x)


@final
@primitive("ceil")
class Ceil(Discrete):
    """Elementwise smallest integer not below x."""

    takes = ORDERED

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.ceil(x)


@final
@primitive("abs")
class Abs(Unary):
    """Elementwise absolute value; the modulus, real, for complex numbers. abs'(0) = 1."""

    takes = NUMBER

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return dtypes.to_real(dtype)

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.abs(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        if dtypes.is_complex(x.dtype):
            # d|z| = Re(conj(z) dz) / |z|, and 0 at the origin.
            zero = ops.logical.eq(out, constant(0, out))
            safe = ops.logical.where(zero, constant(1, out), out)
            return div(ops.convert.real(mul(t, ops.convert.conj(x))), safe)
        negative = ops.logical.lt(x, constant(0, x))
        return ops.logical.where(negative, neg(t), t)


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

    def impl(self, xp: Any, x: Any) -> Any:
        if self.y == 2:
            return xp.square(x)
        return xp.power(x, xp.asarray(self.y).astype(x.dtype) if x.dtype.kind in "iu" else self.y)

    def derive(self, t: Array, out: Array, x: Array) -> Value:
        if self.y == 0:
            return constant(0, x)
        return mul(t, mul(constant(self.y, x), integer_pow(x, self.y - 1)))


def integer_pow(x: ArrayLike, y: int) -> Array:
    """Elementwise power with a static integer exponent.

    Dtypes: any numeric; a negative exponent needs a float or complex x.
    Raises: OptionError for a negative power of integers.
    """
    return IntegerPow(int(y)).bind(x)


add_any = binary(AddAny)
neg = unary(Neg)
add = binary(Add)
sub = binary(Sub)
mul = binary(Mul)
div = binary(Div)
rem = binary(Rem)
max = binary(Max)
min = binary(Min)
sign = unary(Sign)
floor = unary(Floor)
ceil = unary(Ceil)
abs = unary(Abs)


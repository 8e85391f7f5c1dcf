"""Division rounded down, and what it leaves."""

from __future__ import annotations

from typing import Any, final

from fstensor import dtypes
from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.core.scalar import ScalarOps, V
from fstensor.ops.elementwise import mul, neg, whole_quotient
from fstensor.ops.families import Binary, Discrete, Kind, binary

_REAL = Kind(
    "an integer or float dtype", lambda d: dtypes.is_numeric(d) and not dtypes.is_complex(d)
)


def _is_of_other_sign(ops: ScalarOps[V], rest: V, y: V) -> V:
    """Whether a remainder that is not zero has another sign than the divisor."""
    zero = ops.like(0, y)
    other = ops.ne(ops.lt(rest, zero), ops.lt(y, zero))
    return ops.and_(ops.ne(rest, zero), other)


def _floor_of_quotient(ops: ScalarOps[V], x: V, y: V) -> V:
    """Of floats, by the exact remainder, since x / y may be rounded up to an integer."""
    zero, one = ops.like(0, x), ops.like(1, x)
    rest = ops.rem(x, y)
    quotient = ops.div(ops.sub(x, rest), y)
    down = _is_of_other_sign(ops, rest, y)
    quotient = ops.select(down, ops.sub(quotient, one), quotient)
    # An integer, but for rounding: of large quotients, floor alone may give the one below.
    below = ops.floor(quotient)
    far = ops.gt(ops.sub(quotient, below), ops.like(0.5, x))
    nearest = ops.select(far, ops.add(below, one), below)
    rounded = ops.div(x, y)
    quotient = ops.select(ops.eq(nearest, zero), ops.copysign(zero, rounded), nearest)
    return ops.select(ops.eq(y, zero), rounded, quotient)


@final
@primitive("floor_divide")
class FloorDivide(Discrete):
    """Elementwise quotient, rounded down. Of integers by zero: 0."""

    takes = _REAL

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.floor_divide(x, y)

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        if ops.dtype(x).kind == "f":
            return _floor_of_quotient(ops, x, y)
        quotient = whole_quotient(ops, x, y)
        if ops.dtype(x).kind == "i":
            rest = ops.sub(x, ops.mul(quotient, y))
            down = _is_of_other_sign(ops, rest, y)
            quotient = ops.select(down, ops.sub(quotient, ops.like(1, x)), quotient)
        zero = ops.like(0, y)
        return ops.select(ops.eq(y, zero), zero, quotient)


@final
@primitive("remainder")
class Remainder(Binary):
    """Elementwise remainder of the division rounded down: x - y floor(x / y), of the sign of y.

    Of integers by zero: 0.
    """

    takes = _REAL

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.remainder(x, y)

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        zero = ops.like(0, y)
        if ops.dtype(x).kind == "f":
            rest, none = ops.rem(x, y), ops.copysign(zero, y)
            rest = ops.select(ops.eq(rest, zero), none, rest)
        else:
            rest = ops.sub(x, ops.mul(whole_quotient(ops, x, y), y))
            rest = ops.select(ops.eq(y, zero), zero, rest)
        if ops.dtype(x).kind == "u":
            return rest
        return ops.select(_is_of_other_sign(ops, rest, y), ops.add(rest, y), rest)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return t

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(neg(t), floor_divide(x, y))


floor_divide = binary(FloorDivide)
remainder = binary(Remainder)

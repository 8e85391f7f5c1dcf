"""Exponentials, logarithms, roots, trigonometric and hyperbolic functions and their inverses."""

from __future__ import annotations

from typing import Any, final

from fstensor import dtypes
from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.ops.elementwise import add, div, integer_pow, mul, neg, rsqrt, square, sub
from fstensor.ops.families import FLOAT, INEXACT, Binary, Unary, binary, constant, unary


@final
@primitive("exp")
class Exp(Unary):
    """Elementwise exponential function."""

    elementwise_ufunc = "exp"
    scalar_op = "exp"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.exp(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, out)


@final
@primitive("log")
class Log(Unary):
    """Elementwise natural logarithm; NaN for negative reals, -inf at 0."""

    elementwise_ufunc = "log"
    scalar_op = "log"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.log(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return div(t, x)


@final
@primitive("sin")
class Sin(Unary):
    """Elementwise sine, of radians."""

    elementwise_ufunc = "sin"
    scalar_op = "sin"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.sin(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, cos(x))


@final
@primitive("cos")
class Cos(Unary):
    """Elementwise cosine, of radians."""

    elementwise_ufunc = "cos"
    scalar_op = "cos"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.cos(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return neg(mul(t, sin(x)))


@final
@primitive("exp2")
class Exp2(Unary):
    """Elementwise 2^x."""

    scalar_op = "exp2"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.exp2(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(log(constant(2, x)), mul(t, out))


@final
@primitive("expm1")
class Expm1(Unary):
    """Elementwise exp(x) - 1, accurate near 0."""

    scalar_op = "expm1"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.expm1(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, add(out, constant(1, x)))


@final
@primitive("log1p")
class Log1p(Unary):
    """Elementwise log(1 + x), accurate near 0."""

    scalar_op = "log1p"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        if x.dtype.kind != "c":
            return xp.log1p(x)
        # log|1 + z| = log1p(2a + a^2 + b^2) / 2 near 0, where |1 + z| would round to 1.
        a, b = x.real, x.imag
        out = xp.asarray(xp.log1p(x))
        near = xp.abs(x) < 0.5
        accurate = 0.5 * xp.log1p(xp.where(near, a * (2 + a) + b * b, xp.zeros_like(a)))
        out.real = xp.where(near, accurate, out.real)
        return out

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return div(t, add(x, constant(1, x)))


@final
@primitive("logistic")
class Logistic(Unary):
    """Elementwise 1 / (1 + exp(-x))."""

    scalar_op = "logistic"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        if x.dtype.kind == "c":
            return xp.reciprocal(1 + xp.exp(-x))
        # exp(-x) itself would overflow far to the left, where the result is subnormal.
        decay = xp.exp(-xp.abs(x))
        return (xp.where(x < 0, decay, xp.ones_like(decay)) / (1 + decay)).astype(x.dtype)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, mul(out, sub(constant(1, out), out)))


@final
@primitive("tan")
class Tan(Unary):
    """Elementwise tangent, of radians."""

    scalar_op = "tan"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.tan(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, add(constant(1, x), square(out)))


@final
@primitive("asin")
class Asin(Unary):
    """Elementwise arc sine, in radians; NaN for reals outside [-1, 1]."""

    scalar_op = "asin"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.arcsin(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, rsqrt(sub(constant(1, x), square(x))))


@final
@primitive("acos")
class Acos(Unary):
    """Elementwise arc cosine, in radians; NaN for reals outside [-1, 1]."""

    scalar_op = "acos"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.arccos(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, neg(rsqrt(sub(constant(1, x), square(x)))))


@final
@primitive("atan")
class Atan(Unary):
    """Elementwise arc tangent, in radians."""

    scalar_op = "atan"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.arctan(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return div(t, add(constant(1, x), square(x)))


@final
@primitive("atan2")
class Atan2(Binary):
    """Elementwise angle, in radians, between the positive first axis and the point (y, x).

    The first operand is the point's second coordinate, as in atan(x / y). NaN slopes at the origin.
    """

    scalar_op = "atan2"

    takes = FLOAT

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.arctan2(x, y)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, div(y, add(square(x), square(y))))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, div(neg(x), add(square(x), square(y))))


@final
@primitive("sinh")
class Sinh(Unary):
    """Elementwise hyperbolic sine."""

    scalar_op = "sinh"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.sinh(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, cosh(x))


@final
@primitive("cosh")
class Cosh(Unary):
    """Elementwise hyperbolic cosine."""

    scalar_op = "cosh"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.cosh(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, sinh(x))


@final
@primitive("tanh")
class Tanh(Unary):
    """Elementwise hyperbolic tangent."""

    elementwise_ufunc = "tanh"
    scalar_op = "tanh"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.tanh(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        # (t + t y)(1 - y) is t (1 - y^2), without the cancellation in 1 - y^2.
        return mul(add(t, mul(t, out)), sub(constant(1, x), out))


@final
@primitive("asinh")
class Asinh(Unary):
    """Elementwise inverse hyperbolic sine."""

    scalar_op = "asinh"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.arcsinh(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, rsqrt(add(square(x), constant(1, x))))


@final
@primitive("acosh")
class Acosh(Unary):
    """Elementwise inverse hyperbolic cosine; NaN for reals below 1."""

    scalar_op = "acosh"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.arccosh(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        one = constant(1, x)
        if dtypes.is_complex(x.dtype):
            # The root of x^2 - 1 has the wrong sign in the left half plane.
            return mul(t, mul(rsqrt(sub(x, one)), rsqrt(add(x, one))))
        return mul(t, rsqrt(sub(square(x), one)))


@final
@primitive("atanh")
class Atanh(Unary):
    """Elementwise inverse hyperbolic tangent; NaN for reals outside [-1, 1]."""

    scalar_op = "atanh"

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.arctanh(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        one = constant(1, x)
        return mul(integer_pow(add(one, x), -1), div(t, sub(one, x)))


exp = unary(Exp)
exp2 = unary(Exp2)
expm1 = unary(Expm1)
log = unary(Log)
log1p = unary(Log1p)
logistic = unary(Logistic)
sin = unary(Sin)
cos = unary(Cos)
tan = unary(Tan)
asin = unary(Asin)
acos = unary(Acos)
atan = unary(Atan)
atan2 = binary(Atan2)
sinh = unary(Sinh)
cosh = unary(Cosh)
tanh = unary(Tanh)
asinh = unary(Asinh)
acosh = unary(Acosh)
atanh = unary(Atanh)

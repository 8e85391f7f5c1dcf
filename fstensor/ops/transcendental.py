"""Exponentials, logarithms, roots, trigonometric and hyperbolic functions and their inverses."""

from __future__ import annotations

from typing import Any, final

from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.ops.elementwise import div, mul, neg
from fstensor.ops.families import INEXACT, Unary, unary


@final
@primitive("exp")
class Exp(Unary):
    """Elementwise exponential function."""

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.exp(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, out)


@final
@primitive("log")
class Log(Unary):
    """Elementwise natural logarithm; NaN for negative reals, -inf at 0."""

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.log(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return div(t, x)


@final
@primitive("sin")
class Sin(Unary):
    """Elementwise sine, of radians."""

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.sin(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return mul(t, cos(x))


@final
@primitive("cos")
class Cos(Unary):
    """Elementwise cosine, of radians."""

    takes = INEXACT

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.cos(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return neg(mul(t, sin(x)))


exp = unary(Exp)
log = unary(Log)
sin = unary(Sin)
cos = unary(Cos)

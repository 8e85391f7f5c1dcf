"""Elementwise exponentials, logarithms, roots, trigonometric and hyperbolic functions.

All take integers and bools as the default float. Slopes are those of the analytic functions.
"""

from __future__ import annotations

import math

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike
from fstensor.errors import DtypeError
from fstensor.numpy.promote import constant, inexact, promote_inexact, select
from fstensor.transforms.replay import replayed

# Exponentials, logarithms, roots


@replayed
def exp(x: ArrayLike, /) -> Array:
    """Elementwise exponential function."""
    return lax.exp(inexact("exp", x))


@replayed
def exp2(x: ArrayLike, /) -> Array:
    """Elementwise 2 to the x."""
    return lax.exp2(inexact("exp2", x))


@replayed
def expm1(x: ArrayLike, /) -> Array:
    """Elementwise exp(x) - 1, exact near 0."""
    return lax.expm1(inexact("expm1", x))


@replayed
def log(x: ArrayLike, /) -> Array:
    """Elementwise natural logarithm; NaN for negative reals, -inf at 0."""
    return lax.log(inexact("log", x))


@replayed
def log2(x: ArrayLike, /) -> Array:
    """Elementwise logarithm to base 2."""
    return _log_to_base(2, inexact("log2", x))


@replayed
def log10(x: ArrayLike, /) -> Array:
    """Elementwise logarithm to base 10."""
    return _log_to_base(10, inexact("log10", x))


def _log_to_base(base: int, x: Array) -> Array:
    y = lax.log(x)
    if dtypes.is_complex(y.dtype):
        # By parts: a complex quotient would make NaN of the infinite real part of log(0).
        parts = [lax.real(y), lax.imag(y)]
        return lax.complex(*[lax.div(part, constant(math.log(base), part)) for part in parts])
    return lax.div(y, constant(math.log(base), y))


@replayed
def log1p(x: ArrayLike, /) -> Array:
    """Elementwise log(1 + x), exact near 0."""
    return lax.log1p(inexact("log1p", x))


@replayed
def sqrt(x: ArrayLike, /) -> Array:
    """Elementwise square root; NaN for negative reals."""
    return lax.sqrt(inexact("sqrt", x))


@replayed
def cbrt(x: ArrayLike, /) -> Array:
    """Elementwise real cube root."""
    return lax.cbrt(inexact("cbrt", x))


@replayed
def logaddexp(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise log(exp(x) + exp(y)), without overflow."""
    x, y = promote_inexact("logaddexp", x, y)
    return _logaddexp(x, y)


@replayed
def logaddexp2(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise log2(2^x + 2^y), without overflow."""
    x, y = promote_inexact("logaddexp2", x, y)
    factor = constant(math.log(2), x)
    return lax.div(_logaddexp(lax.mul(x, factor), lax.mul(y, factor)), factor)


def _logaddexp(x: Array, y: Array) -> Array:
    if dtypes.is_complex(x.dtype):
        raise DtypeError(f"logaddexp: takes real numbers, got {x.aval} and {y.aval}")
    # high + log(1 + exp(low - high)). Not by max and |x - y|, whose slopes at a tie, by convention
    # 1/2 and 1, would add up to 0 and 1 in place of 1/2 and 1/2.
    first = lax.ge(x, y)
    high, low = select(first, x, y), select(first, y, x)
    gap = lax.sub(low, high)
    # Equal infinities have no difference: the result is either.
    undefined = lax.ne(gap, gap)
    safe = select(undefined, constant(0, x), gap)
    return select(
        undefined,
        lax.mul(lax.add(x, y), constant(0.5, x)),
        lax.add(high, lax.log1p(lax.exp(safe))),
    )


# Trigonometric functions


@replayed
def sin(x: ArrayLike, /) -> Array:
    """Elementwise sine, of radians."""
    return lax.sin(inexact("sin", x))


@replayed
def cos(x: ArrayLike, /) -> Array:
    """Elementwise cosine, of radians."""
    return lax.cos(inexact("cos", x))


@replayed
def tan(x: ArrayLike, /) -> Array:
    """Elementwise tangent, of radians."""
    return lax.tan(inexact("tan", x))


@replayed
def arcsin(x: ArrayLike, /) -> Array:
    """Elementwise inverse sine, in [-pi/2, pi/2]."""
    return lax.asin(inexact("arcsin", x))


@replayed
def arccos(x: ArrayLike, /) -> Array:
    """Elementwise inverse cosine, in [0, pi]."""
    return lax.acos(inexact("arccos", x))


@replayed
def arctan(x: ArrayLike, /) -> Array:
    """Elementwise inverse tangent, in [-pi/2, pi/2]."""
    return lax.atan(inexact("arctan", x))


@replayed
def arctan2(y: ArrayLike, x: ArrayLike, /) -> Array:
    """Elementwise angle of the point (x, y), in (-pi, pi]."""
    return lax.atan2(*promote_inexact("arctan2", y, x))


@replayed
def hypot(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise sqrt(x² + y²), without overflow; inf when either operand is infinite.

    At the origin, where there is no slope, it is 1/2 in each operand, as in JAX.
    """
    x, y = promote_inexact("hypot", x, y)
    if dtypes.is_complex(x.dtype):
        raise DtypeError(f"hypot: takes real numbers, got {x.aval} and {y.aval}")
    x, y = lax.abs(x), lax.abs(y)
    infinity, zero = constant(math.inf, x), constant(0, x)
    infinite = lax.bitwise_or(lax.eq(x, infinity), lax.eq(y, infinity))
    large, small = lax.max(x, y), lax.min(x, y)
    degenerate = lax.bitwise_or(infinite, lax.eq(large, zero))
    ratio = lax.div(small, select(degenerate, constant(1, x), large))
    length = lax.mul(large, lax.sqrt(lax.add(constant(1, x), lax.square(ratio))))
    return select(infinite, infinity, select(lax.eq(large, zero), large, length))


# sin(a) / a = sum of c a^(2k), c = (-1)^k / (2k+1)!; up to a = 1/2 exact in float64.
_SINC_SERIES = [(-1) ** k / math.factorial(2 * k + 1) for k in range(8)]


@replayed
def sinc(x: ArrayLike, /) -> Array:
    """Elementwise sin(pi x) / (pi x), and 1 at 0.

    Near 0 by its series: the slope of the quotient is a difference of large and almost equal terms.
    """
    x = inexact("sinc", x)
    angle = lax.mul(x, constant(math.pi, x))
    small = lax.lt(lax.abs(angle), 0.5)
    square = lax.square(select(small, angle, constant(0, x)))
    series = constant(_SINC_SERIES[-1], x)
    for c in _SINC_SERIES[-2::-1]:
        series = lax.add(lax.mul(series, square), constant(c, x))
    safe = select(small, constant(1, x), angle)
    return select(small, series, lax.div(lax.sin(safe), safe))


@replayed
def deg2rad(x: ArrayLike, /) -> Array:
    """Elementwise degrees to radians."""
    x = inexact("deg2rad", x)
    return lax.mul(x, constant(math.pi / 180, x))


@replayed
def rad2deg(x: ArrayLike, /) -> Array:
    """Elementwise radians to degrees."""
    x = inexact("rad2deg", x)
    return lax.mul(x, constant(180 / math.pi, x))


# Hyperbolic functions


@replayed
def sinh(x: ArrayLike, /) -> Array:
    """Elementwise hyperbolic sine."""
    return lax.sinh(inexact("sinh", x))


@replayed
def cosh(x: ArrayLike, /) -> Array:
    """Elementwise hyperbolic cosine."""
    return lax.cosh(inexact("cosh", x))


@replayed
def tanh(x: ArrayLike, /) -> Array:
    """Elementwise hyperbolic tangent."""
    return lax.tanh(inexact("tanh", x))


@replayed
def arcsinh(x: ArrayLike, /) -> Array:
    """Elementwise inverse hyperbolic sine."""
    return lax.asinh(inexact("arcsinh", x))


@replayed
def arccosh(x: ArrayLike, /) -> Array:
    """Elementwise inverse hyperbolic cosine, at least 0; NaN below 1."""
    return lax.acosh(inexact("arccosh", x))


@replayed
def arctanh(x: ArrayLike, /) -> Array:
    """Elementwise inverse hyperbolic tangent; NaN outside [-1, 1]."""
    return lax.atanh(inexact("arctanh", x))


# The array API's spellings.
asin, acos, atan, atan2 = arcsin, arccos, arctan, arctan2
asinh, acosh, atanh = arcsinh, arccosh, arctanh
degrees, radians = rad2deg, deg2rad

"""What benchmarks/accuracy.py measures: each function, its exact value and where to look."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as m
import numpy as np

import fstensor.numpy as fnp
from fstensor import lax
from fstensor.scipy import special

EVERY = math.inf


@dataclass(frozen=True)
class Range:
    """Where to take points of one operand.

    kind: "floats" spreads them as the floats between the ends are, "linear" evenly, and "near"
    takes them around the one point given.
    """

    kind: str
    ends: tuple[float, float]


def floats(low: float, high: float) -> Range:
    return Range("floats", (low, high))


def linear(low: float, high: float) -> Range:
    return Range("linear", (low, high))


def near(*points: float) -> tuple[Range, ...]:
    return tuple(Range("near", (p, p)) for p in points)


@dataclass(frozen=True)
class Function:
    """A function to measure.

    call, exact: ours of Arrays, and mpmath's of its numbers.
    ranges: a tuple with a range for each operand, as often as there are stretches to look at.
    domain: the stretches in words.
    miss: why it misses the limit, where it does.
    adjust: makes the operands from those of the ranges, where they depend on each other.
    """

    name: str
    call: Callable[..., Any]
    exact: Callable[..., Any]
    ranges: tuple[tuple[Range, ...], ...]
    domain: str
    miss: str = ""
    adjust: Callable[..., Any] | None = None


def of_one(
    name: str,
    call: Callable[..., Any],
    exact: Callable[..., Any],
    *ranges: Range,
    domain: str = "all",
    miss: str = "",
) -> Function:
    return Function(name, call, exact, tuple((r,) for r in ranges), domain, miss)


REAL = (floats(-EVERY, EVERY), linear(-4, 4), linear(-40, 40))
POSITIVE = (floats(0, EVERY), linear(0, 4), linear(0, 40))
UNIT = (floats(-1, 1), linear(-1, 1), *near(-1.0, 1.0))
PROBABILITY = (floats(0, 1), linear(0, 1), *near(0.5, 1.0))
EXPONENTS = (floats(-800, 800), linear(-4, 4), linear(-110, 110), linear(-750, 750))
ANGLES = (*REAL, linear(-1000, 1000), *near(math.pi / 2, math.pi, 2 * math.pi, 11.0))


# Exact values that mpmath has no name for


def exp2(x: Any) -> Any:
    return m.power(2, x)


def logistic(x: Any) -> Any:
    return 1 / (1 + m.exp(-x))


def cbrt(x: Any) -> Any:
    return m.sign(x) * m.cbrt(abs(x))


def sinc(x: Any) -> Any:
    return m.sinpi(x) / (m.pi * x) if x else m.mpf(1)


def erfcx(x: Any) -> Any:
    if x > 1e8:
        # exp(x^2) and erfc are out of reach; the next term is below 1e-16^4.
        s = 1 / (2 * x * x)
        return (1 - s + 3 * s**2 - 15 * s**3 + 105 * s**4 - 945 * s**5) / (x * m.sqrt(m.pi))
    return m.exp(x * x) * m.erfc(x) if x > -40 else m.inf


def ndtr(x: Any) -> Any:
    return m.erfc(-x / m.sqrt(2)) / 2


def log_ndtr(x: Any) -> Any:
    if x < -1e8:
        return m.log(erfcx(-x / m.sqrt(2)) / 2) - x * x / 2
    if x > 1e4:
        return m.mpf(0)
    return m.log1p(-m.erfc(x / m.sqrt(2)) / 2) if x > 0 else m.log(ndtr(x))


def erfinv(x: Any) -> Any:
    if abs(x) >= 1:
        return x * m.inf if abs(x) == 1 else m.nan
    if abs(x) < 1e-30:
        return x * m.sqrt(m.pi) / 2 * (1 + m.pi * x * x / 12)
    return m.erfinv(x)


def ndtri(p: Any) -> Any:
    """Newton's method for log_ndtr, concave, from a point below the root; symmetric about 1/2."""
    if not 0 < p < 1:
        return {0: -m.inf, 1: m.inf}.get(p, m.nan)
    if p == 0.5:
        return m.mpf(0)
    with m.extraprec(20):
        if p > 0.5:
            return m.sqrt(2) * m.erfinv(2 * p - 1) if p < 0.9 else -ndtri(1 - p)
        if p > 0.1:
            return m.sqrt(2) * m.erfinv(2 * p - 1)
        target = m.log(p)
        x = -m.sqrt(-2 * target)
        for _ in range(60):
            value = m.erfc(-x / m.sqrt(2)) / 2
            density = m.exp(-x * x / 2) / m.sqrt(2 * m.pi)
            step = (m.log(value) - target) * value / density
            x -= step
            if abs(step) < m.eps * 16 * abs(x):
                break
        return x


def gammaln(x: Any) -> Any:
    if x <= 0 and x == m.floor(x):
        return m.inf
    return m.loggamma(x) if x > 0 else m.log(abs(m.pi / m.sinpi(x))) - m.loggamma(1 - x)


def gamma(x: Any) -> Any:
    if x == 0:
        return m.inf
    if x < 0 and x == m.floor(x):
        return m.nan
    if x > 1000:
        return m.inf
    return m.mpf(0) if x < -1000 else m.gamma(x)


def digamma(x: Any) -> Any:
    return m.nan if x <= 0 and x == m.floor(x) else m.digamma(x)


def hurwitz(s: Any, q: Any) -> Any:
    return m.zeta(s, q)


def polygamma(n: Any, x: Any) -> Any:
    return m.psi(int(n), x)


def lower_series(a: Any, x: Any) -> Any:
    """The regularized lower incomplete gamma function, by its series of positive terms."""
    term = total = m.mpf(1)
    n = 0
    while term > total * m.eps / 16:
        n += 1
        term *= x / (a + n)
        total += term
    return m.exp(a * m.log(x) - x - m.loggamma(a + 1)) * total


def gammainc(a: Any, x: Any) -> Any:
    return lower_series(a, x) if x else m.mpf(0)


def gammaincc(a: Any, x: Any) -> Any:
    with m.extraprec(int(1.5 * max(x - a, 0))):  # about the digits that cancel
        return 1 - lower_series(a, x) if x else m.mpf(1)


def betainc(a: Any, b: Any, x: Any) -> Any:
    if x in (0, 1):
        return x
    if x > a / (a + b):
        return 1 - betainc_series(b, a, 1 - x)
    return betainc_series(a, b, x)


def betainc_series(a: Any, b: Any, x: Any) -> Any:
    term = total = m.mpf(1)
    n = 0
    while term > total * m.eps / 16 or (a + b + n) * x > a + 1 + n:
        term *= x * (a + b + n) / (a + 1 + n)
        total += term
        n += 1
    log_beta = m.loggamma(a) + m.loggamma(b) - m.loggamma(a + b)
    return m.exp(a * m.log(x) + b * m.log1p(-x) - log_beta) / a * total


def betaln(a: Any, b: Any) -> Any:
    return m.loggamma(a) + m.loggamma(b) - m.loggamma(a + b)


def bessel(order: int, scaled: bool) -> Callable[[Any], Any]:
    def exact(x: Any) -> Any:
        size = abs(x)
        if not scaled and size > 800:
            return m.inf * (m.sign(x) if order else 1)
        if size > 1000:
            total, term, k = m.mpf(1), m.mpf(1), 0
            while abs(term) > m.eps:
                k += 1
                term *= -(4 * order**2 - (2 * k - 1) ** 2) / (8 * k * size)
                total += term
            value = total / m.sqrt(2 * m.pi * size)
        else:
            value = m.besseli(order, size) * (m.exp(-size) if scaled else 1)
        return -value if order and x < 0 else value

    return exact


def expi(x: Any) -> Any:
    if x > 800:
        return m.inf
    return m.mpf(0) if x < -800 else m.ei(x) if x else -m.inf


def expn(n: Any, x: Any) -> Any:
    if not x:
        return 1 / (n - 1) if n > 1 else m.inf
    return m.mpf(0) if x > 800 else m.expint(int(n), x)


def xlogy(x: Any, y: Any) -> Any:
    return x * m.log(y) if x else m.mpf(0)


def xlog1py(x: Any, y: Any) -> Any:
    return x * m.log1p(y) if x else m.mpf(0)


def entr(x: Any) -> Any:
    return -x * m.log(x) if x else m.mpf(0)


def logit(x: Any) -> Any:
    return m.log(x / (1 - x)) if x < 1 else m.nan


def rel_entr(p: Any, q: Any) -> Any:
    return p * m.log(p / q) if p else m.mpf(0)


def logaddexp(x: Any, y: Any) -> Any:
    high, low = max(x, y), min(x, y)
    return high + (m.log1p(m.exp(low - high)) if high - low < 2000 else 0)


def power(x: Any, y: Any) -> Any:
    exponent = y * m.log(x)
    if abs(exponent) > 2000:
        return m.inf if exponent > 0 else m.mpf(0)
    return m.exp(exponent)


def bounded(exact: Callable[[Any], Any], limit: float = 2000) -> Callable[[Any], Any]:
    """The function at arguments cut off where it has overflowed, vanished or saturated."""
    return lambda x: exact(max(min(x, m.mpf(limit)), m.mpf(-limit)))


TAKES_LOGS = "A difference of logarithms, as JAX has it, which cancels where the result is near 0."
ZEROS = (
    "Near its zeros between the poles, where many points are taken: only the absolute error is "
    "small."
)
ROUNDING = "Roundings of a long sum and of its factors add up."

ELEMENTARY = [
    of_one("exp", lax.exp, bounded(m.exp), *REAL, *EXPONENTS),
    of_one("exp2", lax.exp2, bounded(exp2), *REAL, floats(-1100, 1100), linear(-1080, 1030)),
    of_one("expm1", lax.expm1, bounded(m.expm1), *REAL, *EXPONENTS),
    of_one("log", lax.log, m.log, *POSITIVE[:1], linear(0.1, 4), *near(1.0),
           domain="x > 0"),
    of_one("log1p", lax.log1p, m.log1p, floats(-0.999, EVERY), linear(-0.9, 4),
           domain="x > -1"),
    of_one("log2", fnp.log2, lambda x: m.log(x) / m.log(2), floats(1e-320, EVERY), linear(0.1, 4),
           *near(1.0),
           domain="x > 0"),
    of_one("log10", fnp.log10, m.log10, floats(1e-320, EVERY), linear(0.1, 4), *near(1.0),
           domain="x > 0"),
    of_one("sqrt", lax.sqrt, m.sqrt, *POSITIVE,
           domain="x >= 0"),
    of_one("rsqrt", lax.rsqrt, lambda x: 1 / m.sqrt(x), floats(1e-320, EVERY), linear(0.1, 4),
           domain="x > 0"),
    of_one("cbrt", lax.cbrt, cbrt, *REAL),
    of_one("sin", lax.sin, m.sin, *ANGLES),
    of_one("cos", lax.cos, m.cos, *ANGLES),
    of_one("tan", lax.tan, m.tan, *ANGLES),
    of_one("asin", lax.asin, m.asin, *UNIT, domain="[-1, 1]"),
    of_one("acos", lax.acos, m.acos, *UNIT, domain="[-1, 1]"),
    of_one("atan", lax.atan, m.atan, *REAL, *near(1.0)),
    of_one("sinh", lax.sinh, bounded(m.sinh), *REAL, *EXPONENTS),
    of_one("cosh", lax.cosh, bounded(m.cosh), *REAL, *EXPONENTS),
    of_one("tanh", lax.tanh, bounded(m.tanh), *REAL),
    of_one("asinh", lax.asinh, m.asinh, *REAL),
    of_one("acosh", lax.acosh, m.acosh, floats(1, EVERY), linear(1, 4), domain="x >= 1"),
    of_one("atanh", lax.atanh, m.atanh, floats(-0.999999, 0.999999), linear(-1, 1),
           domain="(-1, 1)"),
    of_one("logistic", lax.logistic, bounded(logistic), *REAL, *EXPONENTS),
    of_one("sinc", fnp.sinc, sinc, *REAL, linear(-1000, 1000), *near(1.0, 2.0, 7.0),
           miss="pi x is rounded before the sine, as in JAX."),
    Function("atan2", lax.atan2, m.atan2,
             ((floats(-EVERY, EVERY),) * 2, (linear(-4, 4),) * 2), "all"),
    Function("hypot", fnp.hypot, m.hypot,
             ((floats(-EVERY, EVERY),) * 2, (linear(-4, 4),) * 2), "all"),
    Function("pow", lax.pow, power,
             ((floats(1e-320, EVERY), floats(-800, 800)), (linear(0.1, 4), linear(-500, 500)),
              (near(1.0)[0], floats(-1e8, 1e8))), "x > 0"),
    Function("logaddexp", fnp.logaddexp, logaddexp,
             ((floats(-EVERY, EVERY),) * 2, (linear(-4, 4),) * 2, (linear(-40, 40),) * 2), "all",
             miss="max(x, y) + log1p(exp(-|x - y|)), as in JAX, cancels where the result "
             "is near 0."),
]  # fmt: skip

SPECIAL = [
    of_one("erf", special.erf, bounded(m.erf, 40), *REAL, *near(0.46875, 4.0)),
    of_one("erfc", special.erfc, bounded(m.erfc, 40), *REAL, linear(-6, 10), linear(4, 28),
           *near(0.46875, 4.0)),
    of_one("erfcx", special.erfcx, erfcx, floats(-27, EVERY), linear(-27, 0), linear(0, 6),
           linear(4, 40), *near(0.46875, 4.0)),
    of_one("erfinv", special.erfinv, erfinv, *UNIT, *near(0.85),
           domain="[-1, 1]", miss=ROUNDING),
    of_one("ndtr", special.ndtr, bounded(ndtr, 60), *REAL, linear(-15, 9), linear(-40, 0)),
    of_one("log_ndtr", special.log_ndtr, log_ndtr, *REAL, linear(-40, 40), linear(-6, 6)),
    of_one("ndtri", special.ndtri, ndtri, *PROBABILITY, *near(0.075, 0.925),
           domain="[0, 1]", miss=ROUNDING),
    of_one("gamma", special.gamma, gamma, *REAL, linear(0, 36), linear(10, 172), linear(-40, 0),
           linear(-180, 0), *near(1.0, 2.0, -1.0, -3.0)),
    of_one("gammaln", special.gammaln, gammaln, floats(0, EVERY), linear(0, 4), linear(0, 40),
           *near(1.0, 2.0), domain="x > 0"),
    of_one("gammaln (< 0)", special.gammaln, gammaln, floats(-EVERY, 0), linear(-5, 0),
           linear(-40, 0), *near(-1.0, -2.457024738, -2.747682647, -3.143580889),
           domain="x < 0", miss=ZEROS),
    of_one("digamma", special.digamma, digamma, floats(0, EVERY), linear(0, 4), linear(0, 40),
           *near(1.4616321449683623), domain="x > 0"),
    of_one("digamma (< 0)", special.digamma, digamma, floats(-EVERY, 0), linear(-5, 0),
           linear(-40, 0), *near(-1.0, -0.504083008264455), domain="x < 0", miss=ZEROS),
    of_one("i0", special.i0, bessel(0, False), *REAL, linear(-100, 100), linear(-720, 720)),
    of_one("i0e", special.i0e, bessel(0, True), *REAL, linear(-100, 100)),
    of_one("i1", special.i1, bessel(1, False), *REAL, linear(-100, 100), linear(-720, 720)),
    of_one("i1e", special.i1e, bessel(1, True), *REAL, linear(-100, 100)),
    of_one("expi", special.expi, expi, *REAL, linear(-1, 1), linear(-100, 720),
           *near(0.37250741078136663, 40.0)),
    of_one("exp1", special.exp1, lambda x: expn(1, x), *POSITIVE, linear(0, 740), *near(1.0),
           domain="x >= 0"),
    of_one("entr", special.entr, entr, *POSITIVE, *near(1.0), domain="x >= 0"),
    of_one("logit", special.logit, logit, floats(1e-320, 0.99),
           linear(0.01, 0.99), *near(0.5), domain="(0, 1)", miss=TAKES_LOGS),
    Function("polygamma", special.polygamma, polygamma,
             ((linear(1, 6), floats(1e-3, 1e5)), (linear(1, 6), linear(0.1, 20)),
              (linear(1, 40), linear(0.5, 30))),
             "n from 1 to 40, x from 0.001 to 1e5", miss=ROUNDING,
             adjust=lambda n, x: (np.rint(n), x)),
    Function("zeta", special.zeta, hurwitz,
             ((linear(1.01, 30), floats(1e-3, 1e5)), (linear(1.01, 12), linear(0.1, 20)),
              (floats(1.0001, 60), linear(1, 1))),
             "x from 1.0001 to 60, q from 0.001 to 1e5"),
    Function("expn", special.expn, expn,
             ((linear(0, 12), floats(1e-5, 700)), (linear(0, 12), linear(0, 10)),
              (linear(12, 60), linear(0, 80))),
             "n from 0 to 60, x >= 0", adjust=lambda n, x: (np.rint(n), x)),
    Function("gammainc", special.gammainc, gammainc,
             ((floats(1e-3, 1e3), floats(1e-3, 1e3)), (linear(0.1, 20), linear(0.01, 30)),
              (linear(20, 200), linear(10, 300))),
             "a and x from 0.001 to 1000", miss=ROUNDING),
    Function("gammaincc", special.gammaincc, gammaincc,
             ((floats(1e-3, 1e3), floats(1e-3, 1e3)), (linear(0.1, 20), linear(0.01, 30)),
              (linear(20, 200), linear(10, 300))),
             "a and x from 0.001 to 1000", miss=ROUNDING),
    Function("betainc", special.betainc, betainc,
             ((floats(1e-2, 1e3), floats(1e-2, 1e3), linear(0, 1)),
              (linear(0.1, 20), linear(0.1, 20), linear(0, 1)),
              (linear(5, 100), linear(5, 100), linear(0, 1))),
             "a and b from 0.01 to 1000, [0, 1]",
             miss="Where the result is the small complement of the tail that is computed, when a "
             "or b is below 5."),
    Function("betaln", special.betaln, betaln,
             ((floats(1e-3, 1e5), floats(1e-3, 1e5)), (linear(0.1, 20), linear(0.1, 20))),
             "a and b from 0.001 to 1e5",
             miss="The sum of three values of gammaln, as in JAX, cancels."),
    Function("xlogy", special.xlogy, xlogy,
             ((floats(-1e30, 1e30), floats(1e-30, 1e30)), (linear(-4, 4), linear(0.1, 4))),
             "y > 0"),
    Function("xlog1py", special.xlog1py, xlog1py,
             ((floats(-1e30, 1e30), floats(-0.99, 1e30)), (linear(-4, 4), linear(-0.9, 4))),
             "y > -1"),
    Function("rel_entr", special.rel_entr, rel_entr,
             ((floats(1e-30, 1e30), floats(1e-30, 1e30)), (linear(0.1, 4), linear(0.1, 4))),
             "p, q > 0", miss=TAKES_LOGS),
    Function("kl_div", special.kl_div, lambda p, q: rel_entr(p, q) - p + q,
             ((floats(1e-30, 1e30), floats(1e-30, 1e30)), (linear(0.1, 4), linear(0.1, 4))),
             "p, q > 0", miss=TAKES_LOGS),
]  # fmt: skip

FUNCTIONS = [*ELEMENTARY, *SPECIAL]

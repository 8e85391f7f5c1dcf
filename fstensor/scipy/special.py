"""Special functions, by the names and signatures of `scipy.special`.

Dtypes: integers and bools become the default float; several operands promote, and their shapes
broadcast. Values are accurate in float64 and, but for functions made of several operations,
correctly rounded in narrower dtypes. Derivatives hold in the operands that each function names.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, Axis, normalize_axes
from fstensor.errors import ArgumentError, DtypeError, OptionError
from fstensor.numpy.promote import (
    cast,
    constant,
    converted,
    equal_ranks,
    inexact,
    promote_inexact,
    result_pair,
    select,
)
from fstensor.ops import bessel, dilogarithm, expint
from fstensor.ops import special as ops
from fstensor.ops import xlogy as products
from fstensor.scipy.spherical import sph_harm_y

__all__ = [
    "bernoulli",
    "beta",
    "betainc",
    "betaln",
    "boxcox",
    "boxcox1p",
    "comb",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp1",
    "expi",
    "expit",
    "expn",
    "factorial",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "gammasgn",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "kl_div",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "poch",
    "polygamma",
    "rel_entr",
    "softmax",
    "spence",
    "sph_harm_y",
    "xlog1py",
    "xlogy",
    "zeta",
]


def _real(what: str, *args: ArrayLike) -> list[Array]:
    """The operands as floats of one dtype and rank. Raises: DtypeError for complex ones."""
    dtype, weak = result_pair(what, args)
    if dtypes.is_complex(dtype):
        raise DtypeError(f"{what}: takes real numbers, got {dtypes.name(dtype)}")
    dtype = dtypes.to_inexact(dtype)
    return equal_ranks([cast(what, x, dtype, weak) for x in args])


# The error function and the normal distribution


def erf(x: ArrayLike) -> Array:
    """Elementwise error function, 2/sqrt(pi) times the integral of exp(-s^2) from 0 to x."""
    return lax.erf(*_real("erf", x))


def erfc(x: ArrayLike) -> Array:
    """Elementwise 1 - erf(x), accurate where erf(x) is near 1."""
    return lax.erfc(*_real("erfc", x))


def erfcx(x: ArrayLike) -> Array:
    """Elementwise exp(x^2) erfc(x), which does not underflow."""
    return ops.erfcx(*_real("erfcx", x))


def erfinv(x: ArrayLike) -> Array:
    """Elementwise inverse of the error function."""
    return lax.erf_inv(*_real("erfinv", x))


def ndtr(x: ArrayLike) -> Array:
    """Elementwise distribution function of the standard normal distribution."""
    return ops.ndtr(*_real("ndtr", x))


def log_ndtr(x: ArrayLike) -> Array:
    """Elementwise logarithm of `ndtr`, accurate far into both tails, with its derivative.

    JAX's parameter series_order is not there: no truncated series is used.
    """
    return ops.log_ndtr(*_real("log_ndtr", x))


def ndtri(p: ArrayLike) -> Array:
    """Elementwise inverse of `ndtr`: the quantiles of the standard normal distribution."""
    return ops.ndtri(*_real("ndtri", p))


# The gamma function


def gammaln(x: ArrayLike) -> Array:
    """Elementwise logarithm of the gamma function's absolute value."""
    return lax.lgamma(*_real("gammaln", x))


def gammasgn(x: ArrayLike) -> Array:
    """Elementwise sign of the gamma function; that of 0 itself at ±0, NaN at negative integers."""
    (x,) = _real("gammasgn", x)
    zero, one = constant(0, x), constant(1, x)
    whole = fnp.floor(x)
    odd = fnp.mod(whole, constant(2, x)) != zero
    sign = select(odd, -one, one)
    sign = select(whole == x, constant(math.nan, x), sign)
    sign = select(x > zero, one, sign)
    sign = select(x == zero, lax.sign(lax.div(one, x)), sign)
    return select(x == constant(-math.inf, x), constant(math.nan, x), select(x != x, x, sign))


def gamma(x: ArrayLike) -> Array:
    """Elementwise gamma function; NaN at negative integers, and infinite at ±0."""
    return ops.gamma(*_real("gamma", x))


def factorial(n: ArrayLike, exact: bool = False) -> Array:
    """Elementwise n! = gamma(n + 1), and 0 for negative n.

    Raises: ArgumentError for `exact`, since Arrays hold no integers of any size.
    """
    if exact:
        raise ArgumentError("factorial: exact must be False; use math.factorial for integers")
    (n,) = _real("factorial", n)
    return select(n < constant(0, n), constant(0, n), lax.exp(lax.lgamma(n + constant(1, n))))


def poch(z: ArrayLike, m: ArrayLike) -> Array:
    """Elementwise rising factorial gamma(z + m) / gamma(z), for z, z + m > 0; 1 for m = 0."""
    z, m = _real("poch", z, m)
    rise = lax.exp(lax.lgamma(z + m) - lax.lgamma(z))
    return select(m == constant(0, m), constant(1, m), rise)


def digamma(x: ArrayLike) -> Array:
    """Elementwise derivative of `gammaln`."""
    return lax.digamma(*_real("digamma", x))


def polygamma(n: ArrayLike, x: ArrayLike) -> Array:
    """Elementwise derivative of order n of `digamma`, for whole n >= 0; differentiable in x."""
    return lax.polygamma(*_real("polygamma", n, x))


def zeta(x: ArrayLike, q: ArrayLike | None = None) -> Array:
    """Elementwise Hurwitz zeta function, the sum over k >= 0 of (q + k)^-x; q is 1 by default.

    Differentiable in q. Where JAX demands q, Riemann's zeta function is the default here.
    """
    return lax.zeta(*_real("zeta", x, 1 if q is None else q))


def gammainc(a: ArrayLike, x: ArrayLike) -> Array:
    """Elementwise regularized lower incomplete gamma function; differentiable in a and x."""
    return lax.igamma(*_real("gammainc", a, x))


def gammaincc(a: ArrayLike, x: ArrayLike) -> Array:
    """Elementwise regularized upper incomplete gamma function; differentiable in a and x."""
    return lax.igammac(*_real("gammaincc", a, x))


def multigammaln(a: ArrayLike, d: int) -> Array:
    """Elementwise logarithm of the multivariate gamma function of dimension d, for a > (d - 1)/2.

    d (d - 1) / 4 log pi plus the sum over j < d of gammaln(a - j/2).
    """
    (a,) = _real("multigammaln", a)
    d = operator.index(d)
    out = constant(d * (d - 1) / 4 * math.log(math.pi), a)
    return functools.reduce(
        operator.add, [lax.lgamma(a - constant(j / 2, a)) for j in range(d)], out
    )


def comb(N: ArrayLike, k: ArrayLike, *, repetition: bool = False) -> Array:
    """Elementwise number of ways to choose k of N things; 0 unless 0 <= k <= N.

    By the gamma function: real operands are allowed, and have derivatives.
    repetition: whether a thing may be chosen more than once.
    """
    n, k = _real("comb", N, k)
    zero, one = constant(0, n), constant(1, n)
    if repetition:
        inside = (k >= zero) & (n >= zero) & ((n > zero) | (k == zero))
        n = select(n + k > zero, n + k - one, zero)
    else:
        inside = (k >= zero) & (n >= k)
    n, k = select(inside, n, zero), select(inside, k, zero)
    ways = lax.exp(lax.lgamma(n + one) - lax.lgamma(k + one) - lax.lgamma(n - k + one))
    return select(inside, ways, zero)


def bernoulli(n: int) -> Array:
    """The Bernoulli numbers B_0, ..., B_n, with B_1 = -1/2, in the default float dtype.

    By the recurrence sum over k <= m of (m + 1 over k) B_k = 0, in fractions.
    Raises: OptionError for a negative n.
    """
    n = operator.index(n)
    if n < 0:
        raise OptionError(f"bernoulli: n must not be negative, got {n}")
    return fnp.asarray(_bernoulli_numbers(n), dtypes.default_float())


@functools.lru_cache
def _bernoulli_numbers(n: int) -> np.ndarray[Any, Any]:
    exact = [Fraction(1)]
    for m in range(1, min(n, _LAST_FINITE) + 1):
        known = sum([math.comb(m + 1, k) * b for k, b in enumerate(exact) if b], Fraction(0))
        exact.append(-known / Fraction(m + 1))
    even = [math.copysign(math.inf, -1) if m % 4 == 0 else math.inf for m in range(n + 1)]
    beyond = [even[m] if m % 2 == 0 else 0.0 for m in range(len(exact), n + 1)]
    return np.array([*map(float, exact), *beyond])


_LAST_FINITE = 258  # B_260 is beyond the largest float64


# The beta function


def betaln(a: ArrayLike, b: ArrayLike) -> Array:
    """Elementwise logarithm of the beta function's absolute value."""
    a, b = _real("betaln", a, b)
    return lax.lgamma(a) + lax.lgamma(b) - lax.lgamma(a + b)


def beta(a: ArrayLike, b: ArrayLike) -> Array:
    """Elementwise beta function, gamma(a) gamma(b) / gamma(a + b)."""
    a, b = _real("beta", a, b)
    sign = gammasgn(a) * gammasgn(b) * gammasgn(a + b)
    return sign * lax.exp(betaln(a, b))


def betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """Elementwise regularized incomplete beta function I_x(a, b); differentiable in x."""
    return lax.betainc(*_real("betainc", a, b, x))


# Entropies


def xlogy(x: ArrayLike, y: ArrayLike) -> Array:
    """Elementwise x log y, and 0 where x = 0 unless y is NaN. Its derivative in x is log y."""
    return products.xlogy(*promote_inexact("xlogy", x, y))


def xlog1py(x: ArrayLike, y: ArrayLike) -> Array:
    """Elementwise x log(1 + y), and 0 where x = 0 unless y is NaN."""
    return products.xlog1py(*promote_inexact("xlog1py", x, y))


def entr(x: ArrayLike) -> Array:
    """Elementwise entropy -x log x: 0 at 0, -inf below."""
    (x,) = _real("entr", x)
    zero = constant(0, x)
    below = x < zero
    inside = products.xlogy(x, select(below, constant(1, x), x))
    return select(below, constant(-math.inf, x), lax.neg(inside))


def rel_entr(p: ArrayLike, q: ArrayLike) -> Array:
    """Elementwise relative entropy p log(p / q): 0 for p = 0 <= q, inf outside of p, q >= 0."""
    p, q = _real("rel_entr", p, q)
    zero, one = constant(0, p), constant(1, p)
    positive = (p > zero) & (q > zero)
    # log p - log q: the quotient could overflow.
    safe_p, safe_q = select(positive, p, one), select(positive, q, one)
    inside = safe_p * (lax.log(safe_p) - lax.log(safe_q))
    at_zero = (p == zero) & (q >= zero)
    out = select(positive, inside, select(at_zero, zero, constant(math.inf, p)))
    return select((p != p) | (q != q), constant(math.nan, p), out)


def kl_div(p: ArrayLike, q: ArrayLike) -> Array:
    """Elementwise Kullback-Leibler divergence of Poisson variables, p log(p / q) - p + q."""
    p, q = _real("kl_div", p, q)
    return rel_entr(p, q) - p + q


# Sums of exponentials


def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: ArrayLike | None = None,
) -> Array | tuple[Array, Array]:
    """Logarithm of the sum of b exp(a) over `axis`, without overflow; -inf of no elements.

    b: factors, 1 by default; those of 0 leave their element out, even an infinite one.
    where: which elements to include.
    return_sign: return (log|sum|, sign of the sum); else a negative sum gives NaN.
    Elements of -inf have derivative 0, also where all of them are -inf.
    """
    if b is None:
        a, factor = inexact("logsumexp", a), None
    else:
        a, factor = promote_inexact("logsumexp", a, b)
    low = constant(-math.inf, a)
    if factor is not None:
        a = select(factor != constant(0, a), a, low)
    if where is not None:
        mask, a = equal_ranks([fnp.asarray(where, bool), a])
        a = select(mask, a, low)
    axes = normalize_axes(axis, a.ndim, "logsumexp")
    top = fnp.max(fnp.real(a), axes, keepdims=True, initial=-math.inf)
    top = lax.stop_gradient(select(lax.is_finite(top), top, constant(0, top)))
    terms = lax.exp(a - converted(top, a.dtype, a.weak_type))
    total = fnp.sum(terms if factor is None else terms * factor, axes, keepdims=keepdims)
    top = top if keepdims else lax.squeeze(top, axes)
    sign = lax.sign(total)
    is_complex = dtypes.is_complex(total.dtype)
    if return_sign or not is_complex:
        total = lax.abs(total)
    none = total == constant(0, total)
    out = lax.log(select(none, constant(1, total), total))
    out = select(none, constant(-math.inf, total), out + converted(top, total.dtype, out.weak_type))
    if return_sign:
        return out, sign
    if factor is not None and not is_complex:
        out = select(sign < constant(0, sign), constant(math.nan, out), out)
    return out


def softmax(x: ArrayLike, /, *, axis: int | Sequence[int] | None = None) -> Array:
    """exp(x) divided by its sum over `axis`, all axes by default."""
    x = inexact("softmax", x)
    axes = normalize_axes(axis, x.ndim, "softmax")
    top = lax.stop_gradient(fnp.max(x, axes, keepdims=True, initial=-math.inf))
    terms = lax.exp(x - top)
    return terms / fnp.sum(terms, axes, keepdims=True)


def log_softmax(x: ArrayLike, /, *, axis: int | Sequence[int] | None = None) -> Array:
    """Logarithm of `softmax`, without underflow."""
    x = inexact("log_softmax", x)
    axes = normalize_axes(axis, x.ndim, "log_softmax")
    top = lax.stop_gradient(fnp.max(x, axes, keepdims=True, initial=-math.inf))
    shifted = x - top
    return shifted - lax.log(fnp.sum(lax.exp(shifted), axes, keepdims=True))


def boxcox(x: ArrayLike, lmbda: ArrayLike) -> Array:
    """Elementwise (x^lmbda - 1) / lmbda, and log x for lmbda = 0; differentiable in both there too.

    For x >= 0.
    """
    x, power = _real("boxcox", x, lmbda)
    return _power_of_log(lax.log(x), power)


def boxcox1p(x: ArrayLike, lmbda: ArrayLike) -> Array:
    """Elementwise `boxcox` of 1 + x, accurate near x = 0."""
    x, power = _real("boxcox1p", x, lmbda)
    return _power_of_log(lax.log1p(x), power)


def _power_of_log(logarithm: Array, power: Array) -> Array:
    """(exp(power logarithm) - 1) / power.

    Where the exponent z is small, as logarithm (1 + z/2! + z^2/3! + ...): the derivative in `power`
    of the quotient would cancel there.
    """
    zero, one = constant(0, power), constant(1, power)
    finite = select(lax.is_finite(logarithm), logarithm, zero)
    z = power * finite
    is_near = ((lax.abs(z) < constant(0.25, z)) & lax.is_finite(logarithm)) | (power == zero)
    near = select(is_near, z, zero)
    series = constant(1 / math.factorial(14), z)
    for k in range(13, 0, -1):
        series = series * near + constant(1 / math.factorial(k), z)
    divisor = select(is_near, one, power)
    exponent = divisor * select(is_near, zero, logarithm)
    return select(is_near, logarithm * series, lax.expm1(exponent) / divisor)


def expit(x: ArrayLike) -> Array:
    """Elementwise logistic function, 1 / (1 + exp(-x))."""
    return lax.logistic(inexact("expit", x))


def logit(x: ArrayLike) -> Array:
    """Elementwise log(x / (1 - x)), the inverse of `expit`."""
    x = inexact("logit", x)
    return lax.log(x) - lax.log1p(-x)


# Bessel functions and exponential integrals


def i0e(x: ArrayLike) -> Array:
    """Elementwise exp(-|x|) i0(x)."""
    return lax.bessel_i0e(*_real("i0e", x))


def i0(x: ArrayLike) -> Array:
    """Elementwise modified Bessel function of the first kind, of order 0."""
    return bessel.bessel_i0(*_real("i0", x))


def i1e(x: ArrayLike) -> Array:
    """Elementwise exp(-|x|) i1(x)."""
    return lax.bessel_i1e(*_real("i1e", x))


def i1(x: ArrayLike) -> Array:
    """Elementwise modified Bessel function of the first kind, of order 1."""
    return bessel.bessel_i1(*_real("i1", x))


def spence(x: ArrayLike) -> Array:
    """Elementwise integral of log(t) / (1 - t) from 1 to x, the dilogarithm of 1 - x.

    NaN for negative x.
    """
    return dilogarithm.spence(*_real("spence", x))


def expi(x: ArrayLike) -> Array:
    """Elementwise exponential integral Ei, of e^t / t from -inf to x (principal value)."""
    return expint.expi(*_real("expi", x))


def expn(n: ArrayLike, x: ArrayLike) -> Array:
    """Elementwise exponential integral E_n, of e^(-x t) / t^n for t from 1 to infinity.

    For whole n >= 0 and x >= 0; differentiable in x.
    """
    return expint.expn(*_real("expn", n, x))


def exp1(x: ArrayLike) -> Array:
    """Elementwise exponential integral E_1, of e^-t / t from x to infinity."""
    return expn(1, x)

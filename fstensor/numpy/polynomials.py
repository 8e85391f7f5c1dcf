"""Polynomials, as vectors of coefficients from the highest power down to the constant."""

from __future__ import annotations

import operator

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike
from fstensor.errors import OptionError, ShapeError
from fstensor.numpy.calculus import convolve
from fstensor.numpy.creation import asarray
from fstensor.numpy.joining import concatenate
from fstensor.numpy.promote import (
    concrete,
    constant,
    converted,
    inexact,
    owned,
    promote,
    promote_dtypes,
    promote_inexact,
    repeated,
)
from fstensor.numpy.reductions import cumprod
from fstensor.numpy.shape import at_least


def _vectors(what: str, *polynomials: ArrayLike) -> list[Array]:
    """Polynomials of one dtype. Raises: ShapeError unless each is a vector or a constant."""
    found = [at_least(1, owned(p, what)) for p in polynomials]
    for p in found:
        if p.ndim != 1:
            raise ShapeError(f"{what}: a polynomial is a vector of coefficients, got {p.aval}")
    return promote_dtypes(what, *found)


def polyval(p: ArrayLike, x: ArrayLike) -> Array:
    """The polynomial p at `x`, by Horner's rule.

    Shapes: p (n,) and x give the shape of x. Further axes of p, behind the first, broadcast with
    those of x.
    """
    coefficients = at_least(1, owned(p, "polyval"))
    coefficients, x = promote_dtypes("polyval", coefficients, x)
    shape = np.broadcast_shapes(coefficients.shape[1:], x.shape)
    x = repeated(x, shape)
    value = lax.full(shape, 0, x.dtype)
    for i in range(coefficients.shape[0]):
        c = lax.index_in_dim(coefficients, i, 0, keepdims=False)
        value = lax.add(lax.mul(value, x), repeated(c, shape))
    return value


def polyadd(a1: ArrayLike, a2: ArrayLike) -> Array:
    """The sum of two polynomials."""
    return lax.add(*_of_one_length(*_vectors("polyadd", a1, a2)))


def polysub(a1: ArrayLike, a2: ArrayLike) -> Array:
    """The difference of two polynomials."""
    return lax.sub(*_of_one_length(*_vectors("polysub", a1, a2)))


def _of_one_length(*polynomials: Array) -> list[Array]:
    n = max(p.shape[0] for p in polynomials)
    return [lax.pad(p, constant(0, p), [(n - p.shape[0], 0, 0)]) for p in polynomials]


def polymul(a1: ArrayLike, a2: ArrayLike, *, trim_leading_zeros: bool = False) -> Array:
    """The product of two polynomials.

    trim_leading_zeros: whether to drop zero coefficients of the highest powers of each first, as
        NumPy does; not for traced ones, since the shape depends on it.
    """
    x, y = _vectors("polymul", a1, a2)
    if trim_leading_zeros:
        x, y = _trimmed("polymul", x, 0.0), _trimmed("polymul", y, 0.0)
    return convolve(x, y)


def polydiv(u: ArrayLike, v: ArrayLike, *, trim_leading_zeros: bool = False) -> tuple[Array, Array]:
    """Quotient and remainder of two polynomials, of which `v` begins with no zero.

    Shapes: u (m,), v (n,) -> (max(m - n + 1, 1),) and (n - 1,), the latter at least (1,), and u
    itself when it is shorter than v.
    trim_leading_zeros: whether to drop zeros, up to rounding, in front of the remainder, as NumPy
        does; not for traced ones, since the shape depends on it.
    """
    x, y = promote_inexact("polydiv", *_vectors("polydiv", u, v))
    m, n = x.shape[0], y.shape[0]
    if n == 0:
        raise ShapeError(f"polydiv: the divisor must have a coefficient, got {y.aval}")
    first = lax.index_in_dim(y, 0, 0)
    digits, rest = [], x
    for _ in range(m - n + 1):
        digit = lax.div(lax.slice_in_dim(rest, 0, 1), first)
        digits.append(digit)
        # The highest power cancels by construction, so it is dropped.
        below = lax.sub(lax.slice_in_dim(rest, 1, n), lax.mul(digit, lax.slice_in_dim(y, 1, n)))
        rest = lax.concatenate([below, lax.slice_in_dim(rest, n, rest.shape[0])], 0)
    zero = lax.full((1,), 0, x.dtype)
    quotient = lax.concatenate(digits, 0) if digits else zero
    rest = rest if rest.shape[0] else zero
    return quotient, _trimmed("polydiv", rest, 1e-8) if trim_leading_zeros else rest


def _trimmed(what: str, p: Array, tolerance: float) -> Array:
    """Without coefficients up to the tolerance in front, but with one coefficient at least."""
    values = concrete(what, p, "pass trim_leading_zeros=False")
    kept = np.flatnonzero(np.abs(values) > tolerance)
    start = int(kept[0]) if kept.size else p.shape[0] - 1
    return lax.slice_in_dim(p, max(start, 0), p.shape[0])


def polyder(p: ArrayLike, m: int = 1) -> Array:
    """The m-th derivative of a polynomial.

    Raises: OptionError for a negative m.
    """
    (x,) = _vectors("polyder", p)
    for _ in range(_order("polyder", m)):
        powers = asarray(np.arange(x.shape[0] - 1, 0, -1))
        x = lax.mul(*promote("polyder", lax.slice_in_dim(x, 0, powers.size), _like(powers, x)))
    return x


def polyint(p: ArrayLike, m: int = 1, k: ArrayLike | None = None) -> Array:
    """The m-th antiderivative of a polynomial, as floats or complex numbers.

    k: the constants of integration, one for each time, the first one first, or one for m = 1; zero
        by default.
    Raises: OptionError for a negative m, ShapeError for another number of constants.
    """
    order = _order("polyint", m)
    constants = at_least(1, inexact("polyint", 0.0 if k is None else k))
    if k is None or (constants.shape == (1,) and order > 1):
        constants = repeated(lax.reshape(constants, (1,)), (order,))
    if constants.shape != (order,):
        raise ShapeError(f"polyint: needs {order} constants, got {constants.aval}")
    x, constants = promote_inexact("polyint", *_vectors("polyint", p, constants))
    for i in range(order):
        powers = _like(asarray(np.arange(x.shape[0], 0, -1)), x)
        x = concatenate([lax.div(x, powers), lax.slice_in_dim(constants, i, i + 1)])
    return x


def _like(integers: Array, x: Array) -> Array:
    return lax.convert_element_type(integers, x.dtype)


def _order(what: str, m: int) -> int:
    order = operator.index(m)
    if order < 0:
        raise OptionError(f"{what}: m must not be negative, got {order}")
    return order


def poly(seq_of_zeros: ArrayLike) -> Array:
    """The polynomial with first coefficient 1 and these zeros.

    Complex zeros give complex coefficients, also when they come in conjugate pairs, where NumPy
    gives real ones: what type there is does not depend on values here.
    Raises: ShapeError unless the zeros are a vector.
    """
    (zeros,) = _vectors("poly", seq_of_zeros)
    zeros = inexact("poly", zeros)
    p = lax.full((1,), 1, zeros.dtype)
    for i in range(zeros.shape[0]):
        times = lax.mul(p, lax.index_in_dim(zeros, i, 0))
        x, shifted = _of_one_length(lax.pad(p, constant(0, p), [(0, 1, 0)]), times)
        p = lax.sub(x, shifted)
    return p


def vander(x: ArrayLike, N: int | None = None, increasing: bool = False) -> Array:
    """The matrix of powers of the elements of a vector, one row for each.

    Shapes: (n,) -> (n, N), with N = n by default; powers fall from N - 1 to 0, unless increasing.
    Dtypes: integers become the default integer at least.
    Raises: ShapeError unless `x` is a vector, OptionError for a negative N.
    """
    x = owned(x, "vander")
    if x.ndim != 1:
        raise ShapeError(f"vander: takes a vector, got {x.aval}")
    if not dtypes.is_inexact(x.dtype):
        x = converted(x, dtypes.promote_types(x.dtype, dtypes.default_int()))
    n, columns = x.shape[0], x.shape[0] if N is None else operator.index(N)
    if columns < 0:
        raise OptionError(f"vander: N must not be negative, got {columns}")
    if columns == 0:
        return lax.full((n, 0), 0, x.dtype)
    factors = lax.broadcast_in_dim(x, (n, columns - 1), (0,))
    powers = cumprod(concatenate([lax.full((n, 1), 1, x.dtype), factors], 1), 1, dtype=x.dtype)
    return powers if increasing else lax.rev(powers, (1,))

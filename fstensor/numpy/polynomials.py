"""Polynomials, as vectors of coefficients from the highest power down to the constant."""

from __future__ import annotations

import operator

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike
from fstensor.errors import OptionError, ShapeError
from fstensor.numpy import linalg
from fstensor.numpy.arithmetic import true_divide
from fstensor.numpy.calculus import convolve
from fstensor.numpy.creation import asarray, eye
from fstensor.numpy.indexing import take
from fstensor.numpy.joining import concatenate
from fstensor.numpy.linear import matmul, outer
from fstensor.numpy.promote import (
    cast,
    concrete,
    constant,
    converted,
    inexact,
    owned,
    promote,
    promote_dtypes,
    promote_inexact,
    repeated,
    select,
)
from fstensor.numpy.reductions import cumprod
from fstensor.numpy.shape import at_least
from fstensor.numpy.sorting import argsort


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
    """The polynomial with first coefficient 1 and these zeros, or the eigenvalues of a matrix.

    Complex zeros give complex coefficients, also when they come in conjugate pairs, where NumPy
    gives real ones: what type there is does not depend on values here. A real matrix gives real
    ones.
    Raises: ShapeError unless the zeros are a vector, or the matrix is square.
    """
    given = at_least(1, owned(seq_of_zeros, "poly"))
    if given.ndim == 2 and given.shape[0] == given.shape[1]:
        p = _with_zeros(linalg.eigvals(given))
        return p if dtypes.is_complex(given.dtype) else lax.real(p)
    if given.ndim != 1:
        raise ShapeError(f"poly: takes a vector of zeros or a square matrix, got {given.aval}")
    return _with_zeros(inexact("poly", given))


def _with_zeros(zeros: Array) -> Array:
    p = lax.full((1,), 1, zeros.dtype)
    for i in range(zeros.shape[0]):
        times = lax.mul(p, lax.index_in_dim(zeros, i, 0))
        x, shifted = _of_one_length(lax.pad(p, constant(0, p), [(0, 1, 0)]), times)
        p = lax.sub(x, shifted)
    return p


def roots(p: ArrayLike, *, strip_zeros: bool = True) -> Array:
    """The zeros of a polynomial, complex, as the eigenvalues of its companion matrix.

    strip_zeros: whether to drop zero coefficients of the highest powers first, as NumPy does; not
        for traced polynomials, since the shape depends on it. Else there are n - 1 zeros for n
        coefficients, of which those that do not exist are NaN and stand at the end.
    Derivatives need distinct zeros, and not more than one that does not exist.
    Raises: ShapeError unless `p` is a vector, ConcretizationTypeError, DtypeError.
    """
    (x,) = _vectors("roots", p)
    x = inexact("roots", x)
    n = x.shape[0]
    if strip_zeros:
        kept = np.flatnonzero(concrete("roots", lax.stop_gradient(x), "pass strip_zeros=False"))
        if not kept.size:
            return lax.full((0,), 0, dtypes.to_complex(x.dtype))
        return _eigenvalues_of_companion(lax.slice_in_dim(x, int(kept[0]), n))
    if n < 2:
        return lax.full((0,), 0, dtypes.to_complex(x.dtype))
    # Divided by the power of x that is missing, the zeros are found and some more that are 0: with
    # the coefficients moved to the front, and the last ones 0.
    places = lax.broadcasted_iota(np.int32, (n,), 0)
    present = lax.ne(x, constant(0, x))
    missing = lax.reduce_min(select(present, places, constant(n, places)), (0,))
    moved = lax.add(places, missing)
    moved = select(lax.ge(moved, constant(n, moved)), lax.sub(moved, constant(n, moved)), moved)
    x = take(x, moved)
    is_zero = lax.eq(missing, constant(n, missing))
    x = select(is_zero, constant(1, x), x)
    found = _eigenvalues_of_companion(x)
    # In the companion matrix these are whole columns of zeros, which LAPACK splits off exactly.
    found = take(found, argsort(lax.eq(found, constant(0, found))))
    exists = lax.lt(lax.slice_in_dim(places, 0, n - 1), lax.sub(constant(n - 1, places), missing))
    return select(exists, found, constant(complex(np.nan, np.nan), found))


def _eigenvalues_of_companion(p: Array) -> Array:
    n = p.shape[0] - 1
    if not n:
        return lax.full((0,), 0, dtypes.to_complex(p.dtype))
    first = lax.neg(lax.div(lax.slice_in_dim(p, 1, n + 1), lax.slice_in_dim(p, 0, 1)))
    rest = eye(n - 1, n, dtype=p.dtype)
    return linalg.eigvals(concatenate([lax.reshape(first, (1, n)), rest]))


def polyfit(
    x: ArrayLike,
    y: ArrayLike,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: ArrayLike | None = None,
    cov: bool | str = False,
) -> Array | tuple[Array, ...]:
    """The polynomial of degree `deg` through the points (x, y), in the sense of least squares.

    rcond: singular values of the system up to this part of the largest are taken as 0; by default
        the number of points times the resolution of the dtype.
    w: factors of the distances in y, one for each point.
    full: return also the sums of squared residuals, the rank, the singular values, and rcond.
    cov: return also the covariance of the coefficients, estimated from the residuals, or for given
        variances 1 / w^2 when "unscaled". Not with `full`.
    Shapes: x (m,), y (m,) or (m, k) -> (deg + 1,) or (deg + 1, k), covariances (deg + 1, deg + 1)
        or (deg + 1, deg + 1, k), which has 1 in place of k when "unscaled".
    Derivatives hold where the system has full rank.
    Raises: ShapeError, OptionError, DtypeError.
    """
    xs, ys = promote_dtypes("polyfit", owned(x, "polyfit"), owned(y, "polyfit"))
    xs, ys = inexact("polyfit", xs), inexact("polyfit", ys)
    columns = operator.index(deg) + 1
    if columns < 1:
        raise OptionError(f"polyfit: deg must not be negative, got {deg}")
    if xs.ndim != 1 or not xs.shape[0] or ys.ndim not in (1, 2) or ys.shape[0] != xs.shape[0]:
        raise ShapeError(
            f"polyfit: takes x (m,) and y (m,) or (m, k), m > 0, got {xs.aval} and {ys.aval}"
        )
    if rcond is None:
        rcond = xs.shape[0] * float(dtypes.finfo(dtypes.to_real(xs.dtype)).eps)
    system, values = vander(xs, columns), ys
    if w is not None:
        system, values = _weighted(w, system, values)
    # Columns of length 1 make the system better conditioned.
    scale = linalg.norm(system, axis=0)
    system = true_divide(system, scale)
    found, residuals, rank, singular = linalg.lstsq(system, values, rcond)
    coefficients = true_divide(found, scale if ys.ndim == 1 else scale[:, None])
    if full:
        return coefficients, residuals, rank, singular, cast("polyfit", rcond, singular.dtype)
    if not cov:
        return coefficients
    spread = linalg.inv(matmul(linalg.matrix_transpose(system), system))
    spread = true_divide(spread, outer(scale, scale))
    spread = spread if ys.ndim == 1 else lax.expand_dims(spread, (2,))
    if cov == "unscaled":
        return coefficients, spread
    if xs.shape[0] <= columns:
        raise ShapeError(
            f"polyfit: the covariance needs more points than coefficients, got {xs.shape[0]} "
            f"for {columns}; pass cov='unscaled'"
        )
    return coefficients, spread * (residuals / (xs.shape[0] - columns))


def _weighted(w: ArrayLike, system: Array, values: Array) -> tuple[Array, Array]:
    """Both, with each row times its weight."""
    weights = inexact("polyfit", owned(w, "polyfit"))
    if weights.shape != values.shape[:1]:
        raise ShapeError(
            f"polyfit: there must be one weight for each point, got {weights.aval} for "
            f"{values.shape[0]} points"
        )
    system, values, weights = promote_dtypes("polyfit", system, values, weights)
    rows = lax.expand_dims(weights, (1,))
    return lax.mul(system, rows), lax.mul(values, weights if values.ndim == 1 else rows)


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

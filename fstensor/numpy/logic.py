"""Comparisons, logical and bitwise functions, tests of values, and choices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import overload

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike
from fstensor.errors import ArgumentError, DtypeError, ShapeError
from fstensor.numpy.promote import (
    cast,
    constant,
    converted,
    equal_ranks,
    numeric,
    operand,
    promote,
    promote_dtypes,
    promote_inexact,
    repeated,
    scalar,
)
from fstensor.numpy.promote import (
    select as select_elements,
)
from fstensor.transforms.replay import replayed

_BOOL = np.dtype(bool)

# Comparisons. Complex numbers are ordered by real part, then by imaginary part, as in NumPy.


@replayed
def equal(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise x = y. Shapes broadcast, dtypes promote; the result is bool."""
    return lax.eq(*promote("equal", x, y))


@replayed
def not_equal(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise x != y. Shapes broadcast, dtypes promote; the result is bool."""
    return lax.ne(*promote("not_equal", x, y))


@replayed
def less(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise x < y. Shapes broadcast, dtypes promote; the result is bool."""
    x, y = promote("less", x, y)
    return _lexical(lax.lt, x, y) if dtypes.is_complex(x.dtype) else lax.lt(x, y)


@replayed
def less_equal(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise x <= y. Shapes broadcast, dtypes promote; the result is bool."""
    x, y = promote("less_equal", x, y)
    return _lexical(lax.le, x, y) if dtypes.is_complex(x.dtype) else lax.le(x, y)


@replayed
def greater(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise x > y. Shapes broadcast, dtypes promote; the result is bool."""
    x, y = promote("greater", x, y)
    return _lexical(lax.gt, x, y) if dtypes.is_complex(x.dtype) else lax.gt(x, y)


@replayed
def greater_equal(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise x >= y. Shapes broadcast, dtypes promote; the result is bool."""
    x, y = promote("greater_equal", x, y)
    return _lexical(lax.ge, x, y) if dtypes.is_complex(x.dtype) else lax.ge(x, y)


def _lexical(compare: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    real_x, real_y = lax.real(x), lax.real(y)
    by_imag = compare(lax.imag(x), lax.imag(y))
    return select_elements(lax.eq(real_x, real_y), by_imag, compare(real_x, real_y))


# Logical functions


def truth(what: str, x: ArrayLike) -> Array:
    """Elementwise: whether x is not zero. Raises: ArgumentError for what is not array-like."""
    x = operand(x, what)
    return x if dtypes.is_bool(x.dtype) else lax.ne(x, constant(0, x))


@replayed
def logical_and(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise: whether both operands are true; what is not zero is true."""
    return lax.bitwise_and(*equal_ranks([truth("logical_and", x), truth("logical_and", y)]))


@replayed
def logical_or(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise: whether either operand is true; what is not zero is true."""
    return lax.bitwise_or(*equal_ranks([truth("logical_or", x), truth("logical_or", y)]))


@replayed
def logical_xor(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise: whether just one operand is true; what is not zero is true."""
    return lax.bitwise_xor(*equal_ranks([truth("logical_xor", x), truth("logical_xor", y)]))


@replayed
def logical_not(x: ArrayLike, /) -> Array:
    """Elementwise: whether x is false, that is zero."""
    return lax.bitwise_not(truth("logical_not", x))


# Bitwise functions


@replayed
def bitwise_and(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Bits set in both operands, elementwise. Dtypes: integers and bools."""
    return lax.bitwise_and(*promote("bitwise_and", x, y))


@replayed
def bitwise_or(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Bits set in either operand, elementwise. Dtypes: integers and bools."""
    return lax.bitwise_or(*promote("bitwise_or", x, y))


@replayed
def bitwise_xor(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Bits set in just one operand, elementwise. Dtypes: integers and bools."""
    return lax.bitwise_xor(*promote("bitwise_xor", x, y))


@replayed
def invert(x: ArrayLike, /) -> Array:
    """All bits flipped, elementwise; of bools: logical not."""
    return lax.bitwise_not(operand(x, "invert"))


bitwise_not = bitwise_invert = invert


@replayed
def left_shift(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise x times 2 to the y, without the bits that fall off. Dtypes: integers."""
    x, y = promote("left_shift", x, y)
    return lax.shift_left(numeric("left_shift", x), numeric("left_shift", y))


@replayed
def right_shift(x: ArrayLike, y: ArrayLike, /) -> Array:
    """Elementwise x divided by 2 to the y, rounded down. Dtypes: integers."""
    x, y = promote("right_shift", x, y)
    x, y = numeric("right_shift", x), numeric("right_shift", y)
    shift = lax.shift_right_logical if dtypes.is_unsigned(x.dtype) else lax.shift_right_arithmetic
    return shift(x, y)


bitwise_left_shift, bitwise_right_shift = left_shift, right_shift


def bitwise_count(x: ArrayLike, /) -> Array:
    """The number of bits set in |x|, elementwise, as uint8. Dtypes: integers and bools."""
    x = operand(x, "bitwise_count")
    if dtypes.is_bool(x.dtype):
        return converted(x, np.dtype(np.uint8))
    magnitude = lax.abs(x) if dtypes.is_signed(x.dtype) else x
    return converted(lax.population_count(magnitude), np.dtype(np.uint8))


# Tests of values


@replayed
def isnan(x: ArrayLike, /) -> Array:
    """Elementwise: whether x is NaN, in either part of a complex number."""
    x = operand(x, "isnan")
    return lax.ne(x, x) if dtypes.is_inexact(x.dtype) else _everywhere(False, x)


@replayed
def isinf(x: ArrayLike, /) -> Array:
    """Elementwise: whether x is infinite, in either part of a complex number."""
    x = operand(x, "isinf")
    if dtypes.is_complex(x.dtype):
        return lax.bitwise_or(isinf(lax.real(x)), isinf(lax.imag(x)))
    if not dtypes.is_inexact(x.dtype):
        return _everywhere(False, x)
    return lax.eq(lax.abs(x), constant(math.inf, x))


@replayed
def isfinite(x: ArrayLike, /) -> Array:
    """Elementwise: whether x is neither infinite nor NaN, in both parts of a complex number."""
    x = operand(x, "isfinite")
    if dtypes.is_complex(x.dtype):
        return lax.bitwise_and(lax.is_finite(lax.real(x)), lax.is_finite(lax.imag(x)))
    return lax.is_finite(x) if dtypes.is_inexact(x.dtype) else _everywhere(True, x)


def isposinf(x: ArrayLike, /) -> Array:
    """Elementwise: whether x is inf. Dtypes: real."""
    return _is_infinity("isposinf", x, math.inf)


def isneginf(x: ArrayLike, /) -> Array:
    """Elementwise: whether x is -inf. Dtypes: real."""
    return _is_infinity("isneginf", x, -math.inf)


def _is_infinity(what: str, x: ArrayLike, value: float) -> Array:
    x = operand(x, what)
    if dtypes.is_complex(x.dtype):
        raise DtypeError(f"{what}: takes real numbers, got {x.aval}")
    return lax.eq(x, constant(value, x)) if dtypes.is_inexact(x.dtype) else _everywhere(False, x)


def isreal(x: ArrayLike) -> Array:
    """Elementwise: whether the imaginary part is zero."""
    x = operand(x, "isreal")
    if not dtypes.is_complex(x.dtype):
        return _everywhere(True, x)
    imag = lax.imag(x)
    return lax.eq(imag, constant(0, imag))


def iscomplex(x: ArrayLike) -> Array:
    """Elementwise: whether the imaginary part is not zero."""
    return lax.bitwise_not(isreal(x))


def isrealobj(x: ArrayLike) -> bool:
    """Whether the dtype is not complex."""
    return not iscomplexobj(x)


def iscomplexobj(x: ArrayLike) -> bool:
    """Whether the dtype is complex."""
    return dtypes.is_complex(dtypes.weak_pair(x)[0])


def isscalar(element: object) -> bool:
    """Whether `element` is a number: a Python or NumPy scalar, or an array without axes."""
    if isinstance(element, (Array, np.ndarray)):
        return element.ndim == 0
    return bool(np.isscalar(element))


def _everywhere(value: bool, x: Array) -> Array:
    return repeated(scalar(value, _BOOL), x.shape)


@replayed
def isclose(
    a: ArrayLike,
    b: ArrayLike,
    rtol: ArrayLike = 1e-05,
    atol: ArrayLike = 1e-08,
    equal_nan: bool = False,
) -> Array:
    """Elementwise: whether |a - b| <= atol + rtol |b|; infinities must be equal.

    equal_nan: whether NaN is close to NaN.
    """
    a, b = promote("isclose", a, b)
    if not dtypes.is_inexact(a.dtype):
        # In float, where the difference does not overflow.
        a, b = promote_inexact("isclose", a, b)
    # The tolerances must not lift the comparison out of the precision of the operands.
    real = dtypes.to_real(a.dtype)
    tolerances = [cast("isclose", t, real) for t in (rtol, atol)]
    a, b, rtol, atol = equal_ranks([a, b, *tolerances])
    allowed = lax.add(atol, lax.mul(rtol, lax.abs(b)))
    near = lax.le(lax.abs(lax.sub(a, b)), allowed)
    finite = lax.bitwise_and(isfinite(a), isfinite(b))
    close = lax.bitwise_or(lax.bitwise_and(finite, near), lax.eq(a, b))
    if equal_nan:
        close = lax.bitwise_or(close, lax.bitwise_and(isnan(a), isnan(b)))
    return close


def allclose(
    a: ArrayLike,
    b: ArrayLike,
    rtol: ArrayLike = 1e-05,
    atol: ArrayLike = 1e-08,
    equal_nan: bool = False,
) -> Array:
    """Whether `isclose` holds everywhere, as a bool scalar."""
    return _all(isclose(a, b, rtol, atol, equal_nan))


def array_equal(a1: ArrayLike, a2: ArrayLike, equal_nan: bool = False) -> Array:
    """Whether both arrays have one shape and equal elements, as a bool scalar."""
    x, y = operand(a1, "array_equal"), operand(a2, "array_equal")
    if x.shape != y.shape:
        return scalar(False, _BOOL)
    same = equal(x, y)
    if equal_nan:
        same = lax.bitwise_or(same, lax.bitwise_and(isnan(x), isnan(y)))
    return _all(same)


def array_equiv(a1: ArrayLike, a2: ArrayLike) -> Array:
    """Whether both arrays broadcast to equal ones, as a bool scalar."""
    x, y = operand(a1, "array_equiv"), operand(a2, "array_equiv")
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return scalar(False, _BOOL)
    return _all(equal(x, y))


def _all(x: Array) -> Array:
    return lax.reduce_and(x, range(x.ndim))


# Choices


@overload
def where(condition: ArrayLike, x: ArrayLike, y: ArrayLike, /) -> Array: ...
@overload
def where(
    condition: ArrayLike,
    /,
    *,
    size: int | None = ...,
    fill_value: ArrayLike | tuple[ArrayLike, ...] | None = ...,
) -> tuple[Array, ...]: ...
@replayed
def where(
    condition: ArrayLike,
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    /,
    *,
    size: int | None = None,
    fill_value: ArrayLike | tuple[ArrayLike, ...] | None = None,
) -> Array | tuple[Array, ...]:
    """`x` where the condition holds, else `y`, elementwise; with neither, `nonzero(condition)`.

    Shapes broadcast, the dtypes of x and y promote.
    size, fill_value: as in `nonzero`, and only without x and y.
    Raises: ArgumentError when just one of x and y is given.

    The operand that is not chosen gets a zero derivative. Where its own derivative is not finite,
    zero times that is NaN, in reverse mode as in JAX and PyTorch; the chosen operand cannot help.
    The remedy is a second `where` inside, which keeps the other branch in its domain:

    >>> import fstensor as fst, fstensor.numpy as fnp
    >>> def root(x):
    ...     return fnp.where(x > 0, fnp.sqrt(x), 0.0)
    >>> float(fst.grad(root)(0.0))  # 0 * inf
    nan
    >>> def guarded_root(x):
    ...     return fnp.where(x > 0, fnp.sqrt(fnp.where(x > 0, x, 1.0)), 0.0)
    >>> float(fst.grad(guarded_root)(0.0)), float(fst.grad(guarded_root)(4.0))
    (0.0, 0.25)

    The same guards a norm, sqrt(sum(x²)), at the origin.
    """
    if x is None and y is None:
        from fstensor.numpy.sorting import nonzero

        return nonzero(condition, size=size, fill_value=fill_value)
    if x is None or y is None:
        raise ArgumentError("where: takes both x and y, or neither, got one")
    if size is not None or fill_value is not None:
        raise ArgumentError("where: size and fill_value belong to the call without x and y")
    return select_elements(truth("where", condition), *promote_dtypes("where", x, y))


def select(
    condlist: Sequence[ArrayLike], choicelist: Sequence[ArrayLike], default: ArrayLike = 0
) -> Array:
    """The element of the first choice whose condition holds, or `default`, elementwise.

    Raises: ShapeError when there are not as many choices as conditions, or none.
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ShapeError(
            "select: there must be one choice for each condition, "
            f"got {len(condlist)} conditions and {len(choicelist)} choices"
        )
    *choices, result = promote_dtypes("select", *choicelist, default)
    for condition, choice in zip(reversed(condlist), reversed(choices), strict=True):
        result = select_elements(truth("select", condition), choice, result)
    return result

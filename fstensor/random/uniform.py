"""Random bits, and the numbers made of them directly: uniform floats, integers, coins."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike, DtypeLike, lift
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.ops.convert import bitcast_convert_type, convert_element_type
from fstensor.ops.elementwise import add, max, min, mul, rem, sub
from fstensor.ops.logical import bitwise_and, bitwise_or, gt, le, lt, shift_right_logical, where
from fstensor.ops.random_bits import check_sizes, random_bits
from fstensor.ops.shape import expand_dims, stretch
from fstensor.random.keys import check_key, split_keys, unstack
from fstensor.transforms.jit import jit


def bits(key: ArrayLike, shape: Any = (), dtype: DtypeLike = None) -> Array:
    """Uniformly distributed bits, as unsigned integers.

    dtype: an unsigned integer; by default one of the default width.
    Raises: DtypeError for another dtype, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "bits")
    target = dtypes.default_uint() if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_unsigned(target) or dtypes.iinfo(target).bits < 8:
        raise DtypeError(f"bits: dtype must be an unsigned integer, got {dtypes.name(target)}")
    return random_bits(typed, target.itemsize * 8, check_sizes(shape, "bits"))


def uniform(
    key: ArrayLike,
    shape: Any = (),
    dtype: DtypeLike = None,
    minval: ArrayLike = 0.0,
    maxval: ArrayLike = 1.0,
) -> Array:
    """Floats distributed uniformly in [minval, maxval).

    dtype: a float; the default float by default. All multiples of its spacing below 1 are equally
        likely (2^-23 for float32).
    minval, maxval: stretch to `shape`. The result is differentiable by both.
    Raises: DtypeError for another dtype, ShapeError for a wrong shape or several keys.

    >>> from fstensor import random
    >>> random.uniform(random.key(0), (2,)).shape
    (2,)
    """
    typed = check_key(key, "uniform")
    target = float_dtype(dtype, "uniform")
    low, high = (unrounded(bound, target) for bound in (minval, maxval))
    return _uniform(typed, low, high, check_sizes(shape, "uniform"), target)


@functools.partial(jit, static_argnums=(3, 4))
def _uniform(
    key: Array, minval: Any, maxval: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    low, high = convert_element_type(minval, dtype), convert_element_type(maxval, dtype)
    low, high = to_rank(low, shape, "uniform"), to_rank(high, shape, "uniform")
    # Random bits as the mantissa of a number in [1, 2), from which 1 is taken.
    info = dtypes.finfo(dtype)
    drawn = info.bits if info.nmant >= 8 else 8
    mantissa = random_bits(key, drawn, shape)
    if drawn != info.bits:
        mantissa = convert_element_type(mantissa, f"uint{info.bits}")
    mantissa = shift_right_logical(mantissa, drawn - info.nmant)
    one = np.ones((), dtype).view(mantissa.dtype).item()
    unit = sub(bitcast_convert_type(bitwise_or(mantissa, one), dtype), 1.0)
    return max(low, add(mul(unit, sub(high, low)), low))


def float_dtype(dtype: DtypeLike, what: str) -> np.dtype[Any]:
    """The float dtype to draw, the default one for None. Raises DtypeError for no float."""
    target = dtypes.default_float() if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_float(target):
        raise DtypeError(f"{what}: dtype must be a float dtype, got {dtypes.name(target)}")
    return target


def in_dtype(x: ArrayLike, dtype: np.dtype[Any]) -> Array:
    """A parameter in the dtype to draw. For use before `jit`, which would round a Python number."""
    return convert_element_type(lift(x, dtype), dtype)


def unrounded(x: ArrayLike, dtype: np.dtype[Any]) -> ArrayLike:
    """A parameter that `jit` will not round, otherwise as it is."""
    narrowed = isinstance(x, (int, float)) and dtype.itemsize > dtypes.default_float().itemsize
    return lift(x, dtype) if narrowed else x


def to_rank(x: Array, shape: tuple[int, ...], what: str) -> Array:
    """A parameter with as many axes as `shape`, to which it must stretch. Raises ShapeError."""
    fits = all(n in (1, m) for n, m in zip(x.shape[::-1], shape[::-1], strict=False))
    if x.ndim > len(shape) or not fits:
        raise ShapeError(f"{what}: a parameter of {x.aval} does not stretch to shape {shape}")
    return expand_dims(x, tuple(range(len(shape) - x.ndim)))


def full_shape(shape: Any, what: str, *parameters: ArrayLike) -> tuple[int, ...]:
    """The shape to draw: that asked for, or for None that of the parameters together."""
    if shape is not None:
        return check_sizes(shape, what)
    shapes = [np.shape(p) if not isinstance(p, Array) else p.shape for p in parameters]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        got = " and ".join(map(str, shapes))
        raise ShapeError(f"{what}: the parameters must stretch to one shape, got {got}") from None


def randint(
    key: ArrayLike, shape: Any, minval: ArrayLike, maxval: ArrayLike, dtype: DtypeLike = None
) -> Array:
    """Integers distributed uniformly in [minval, maxval); minval where maxval is not above it.

    dtype: an integer; the default integer by default.
    minval, maxval: integers that stretch to `shape`; those outside of the dtype are clipped.
    Integers come from twice as many random bits by a remainder, as in JAX: for a span that is no
    power of two their probabilities differ by a part in 2^32 or less.
    Raises: DtypeError for another dtype, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "randint")
    target = dtypes.default_int() if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_integer(target):
        raise DtypeError(f"randint: dtype must be an integer dtype, got {dtypes.name(target)}")
    sizes = check_sizes(shape, "randint")
    low, high = (_integer_bound(bound) for bound in (minval, maxval))
    info = dtypes.iinfo(target)
    sampled = target
    if info.bits < 32:
        # Drawn from 32 bits, so that small spans keep their precision.
        sampled = np.dtype(np.int32)
        low = _clip_to(low, sampled, info.min, info.max)
        high = _clip_to(high, sampled, info.min, info.max + 1)
    return convert_element_type(_randint(typed, low, high, sizes, sampled), target)


def _integer_bound(x: ArrayLike) -> Array:
    own = dtypes.iinfo(dtypes.default_int())
    if isinstance(x, int) and not own.min <= x <= own.max:
        x = np.asarray(x)  # as wide as it must be
    value = lift(x, what="randint")
    if dtypes.is_integer(value.dtype):
        return value
    return convert_element_type(value, dtypes.default_int())


def _clip_to(x: Array, dtype: np.dtype[Any], low: int, high: int) -> Array:
    """Integers converted to `dtype`, those outside of [low, high] to its ends."""
    own = dtypes.iinfo(x.dtype)
    inside = max(x, low) if own.min < low else x
    inside = min(inside, high) if own.max > high else inside
    return convert_element_type(inside, dtype)


@functools.partial(jit, static_argnums=(3, 4))
def _randint(
    key: Array, minval: Array, maxval: Array, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    info = dtypes.iinfo(dtype)
    beyond = dtypes.iinfo(maxval.dtype).max > info.max
    low, high = (
        to_rank(_clip_to(bound, dtype, info.min, info.max), shape, "randint")
        for bound in (minval, maxval)
    )
    upper, lower = (random_bits(k, info.bits, shape) for k in split_keys(key, 2))
    unsigned = lower.dtype
    span = convert_element_type(sub(high, low), unsigned)
    span = where(le(high, low), lift(1, unsigned), span)
    if beyond:
        # The upper end was clipped to the largest number, which belongs to the range as well. A
        # span of all numbers becomes 0 here, and a remainder by 0 changes nothing.
        past = to_rank(gt(maxval, info.max), shape, "randint")
        span = where(bitwise_and(past, gt(high, low)), add(span, 1), span)
    # (upper 2^b + lower) mod span, in b bits; 2^b mod span is the square of 2^(b/2) mod span.
    weight = rem(lift(1 << info.bits // 2, unsigned), span)
    weight = rem(mul(weight, weight), span)
    offset = rem(add(mul(rem(upper, span), weight), rem(lower, span)), span)
    return add(low, convert_element_type(offset, dtype))


def bernoulli(key: ArrayLike, p: ArrayLike = 0.5, shape: Any = None, mode: str = "low") -> Array:
    """Bools that are true with probability p.

    p: floats; they stretch to `shape`, which is theirs by default.
    mode: "low" compares p with a uniform number of its dtype, so that it counts in steps of 2^-23
        for float32; "high" draws a second one, for the probability of rare events.
    Raises: DtypeError unless p is float, OptionError for another mode, ShapeError.
    """
    typed = check_key(key, "bernoulli")
    if mode not in ("low", "high"):
        raise OptionError(f"bernoulli: mode must be 'low' or 'high', got {mode!r}")
    chance = lift(p, what="bernoulli")
    if not dtypes.is_float(chance.dtype):
        raise DtypeError(f"bernoulli: p must have a float dtype, got {chance.aval}")
    return _bernoulli(typed, chance, full_shape(shape, "bernoulli", chance), mode)


@functools.partial(jit, static_argnums=(2, 3))
def _bernoulli(key: Array, p: Array, shape: tuple[int, ...], mode: str) -> Array:
    chance = to_rank(p, shape, "bernoulli") if p.ndim else p
    if mode == "low":
        return lt(uniform(key, shape, p.dtype), chance)
    coarse, fine = unstack(uniform(key, (2, *shape), p.dtype))
    fine = mul(fine, 2.0 ** -dtypes.finfo(p.dtype).nmant)
    return lt(fine, sub(stretch(chance, shape), coarse))


def rademacher(key: ArrayLike, shape: Any = (), dtype: DtypeLike = None) -> Array:
    """-1 or 1, each with probability 1/2.

    dtype: a number; the default integer by default.
    Raises: DtypeError for another dtype, ShapeError for a wrong shape or several keys.
    """
    target = dtypes.default_int() if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_numeric(target):
        raise DtypeError(f"rademacher: dtype must be numeric, got {dtypes.name(target)}")
    coin = bernoulli(key, 0.5, check_sizes(shape, "rademacher"))
    return sub(mul(convert_element_type(coin, target), 2), 1)


def signs(key: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """-1 or 1 as floats, drawn as JAX's `rademacher` does where `dtype` is its default float."""
    wide = np.float64 in (dtype, dtypes.default_float())
    coin = bernoulli(key, np.asarray(0.5, np.float64 if wide else np.float32), shape)
    return sub(mul(convert_element_type(coin, dtype), 2), 1)

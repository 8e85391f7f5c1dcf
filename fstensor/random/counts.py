"""Whole numbers of random events: Poisson, binomial, multinomial and geometric distributions.

They move in steps, so their derivatives by the parameters are 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fstensor import dtypes
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, DtypeLike, lift
from fstensor.control.scan import scan
from fstensor.control.while_loop import while_loop
from fstensor.errors import DtypeError, ShapeError
from fstensor.lax import stop_gradient
from fstensor.ops.convert import convert_element_type
from fstensor.ops.random_bits import check_sizes, random_split
from fstensor.ops.special import lgamma
from fstensor.random.keys import check_key, split_keys
from fstensor.random.uniform import float_dtype, full_shape, in_dtype, to_rank, uniform
from fstensor.transforms.jit import jit

_Carry: TypeAlias = tuple[Array, Array, Array]


def poisson(key: ArrayLike, lam: ArrayLike, shape: Any = None, dtype: DtypeLike = None) -> Array:
    """Integers of the Poisson distribution with mean `lam`; -1 where it is negative or NaN.

    lam: stretches to `shape`, which is its own by default. It counts as float32.
    dtype: an integer; the default integer by default.
    The numbers are those of JAX while lam is below some 10^4; with larger ones it depends on
    rounding which are accepted.
    Raises: DtypeError for another dtype, ShapeError for a wrong shape or several keys.
    Source: D. Knuth, The Art of Computer Programming, section 3.4.1, for lam below 10; W. Hormann,
        The transformed rejection method for generating Poisson random variables, 1993, else.
    """
    typed = check_key(key, "poisson")
    target = _integer_dtype(dtype, "poisson")
    rate = in_dtype(lam, np.dtype(np.float32))
    return _poisson(typed, rate, full_shape(shape, "poisson", lam), target)


def _integer_dtype(dtype: DtypeLike, what: str) -> np.dtype[Any]:
    target = dtypes.default_int() if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_integer(target):
        raise DtypeError(f"{what}: dtype must be an integer dtype, got {dtypes.name(target)}")
    return target


def _where(condition: Array, x: ArrayLike, y: ArrayLike) -> Array:
    out = fnp.where(condition, x, y)
    assert isinstance(out, Array)  # it is a tuple only without x and y
    return out


@functools.partial(jit, static_argnums=(2, 3))
def _poisson(key: Array, lam: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    rate = stop_gradient(fnp.broadcast_to(to_rank(lam, shape, "poisson"), shape))
    small = ~(rate >= 10)
    few = _poisson_small(key, _where(small, rate, 0), dtype)
    many = _poisson_large(key, _where(small, 1e5, rate), small & fnp.all(small))
    many = convert_element_type(many, dtype)
    return _where(rate == 0, 0, _where(small, few, many))


def _poisson_small(key: Array, lam: Array, dtype: np.dtype[Any]) -> Array:
    """How many uniform numbers are multiplied before their product is below exp(-lam)."""

    def step(carry: _Carry) -> _Carry:
        key, count, log_product = carry
        key, subkey = split_keys(key, 2)
        count = _where(log_product > -lam, count + 1, count)
        return key, count, log_product + fnp.log(uniform(subkey, lam.shape, lam.dtype))

    first = (key, fnp.zeros(lam.shape, dtype), fnp.zeros_like(lam))
    return while_loop(lambda carry: fnp.any(carry[2] > -lam), step, first)[1] - 1


def _poisson_large(key: Array, lam: Array, done: Array) -> Array:
    """By rejection; the names are those of Hormann's algorithm PTRS.

    done: as for `_until_all_accept`.
    """
    log_lam = fnp.log(lam)
    b = 0.931 + 2.53 * fnp.sqrt(lam)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)

    def trial(key: Array) -> tuple[Array, Array, Array]:
        key, u_key, v_key = split_keys(key, 3)
        u = uniform(u_key, lam.shape, lam.dtype) - 0.5
        v = uniform(v_key, lam.shape, lam.dtype)
        us = 0.5 - fnp.abs(u)
        k = fnp.floor((2 * a / us + b) * u + lam + 0.43)
        height = fnp.log(v * inverse_alpha / (a / (us * us) + b))
        outside = (k < 0) | ((us < 0.013) & (v > us))
        below = height <= -lam + k * log_lam - lgamma(k + 1)
        return key, k, ((us >= 0.07) & (v <= v_r)) | (~outside & below)

    return _until_all_accept(key, trial, lam, done)


def _until_all_accept(
    key: Array, trial: Callable[[Array], tuple[Array, Array, Array]], like: Array, done: Array
) -> Array:
    """Numbers that were accepted, one for each lane of an array `like` them.

    trial: maps a key to a new one, to a number for each lane, and to whether it is accepted.
    done: lanes for which nothing needs to be accepted.
    All lanes try on while any has to; each has what it accepted last, as in JAX.
    """

    def step(carry: _Carry) -> _Carry:
        key, count, done = carry
        key, k, accepted = trial(key)
        return key, _where(accepted, k, count), done | accepted

    first = (key, fnp.full(like.shape, -1, like.dtype), done)
    return while_loop(lambda carry: fnp.any(~carry[2]), step, first)[1]


def binomial(
    key: ArrayLike, n: ArrayLike, p: ArrayLike, shape: Any = None, dtype: DtypeLike = None
) -> Array:
    """Whole numbers, as floats: how many of `n` events happen that have probability `p` each.

    n, p: stretch to `shape`, which is theirs together by default. The part of n after the point
        does not count. Where n is negative or NaN, or p NaN, negative or above 1, the result is
        NaN; where n is infinite, so is the result.
    dtype: a float, of the result; the numbers are drawn in the dtype of p.
    Raises: DtypeError for another dtype, ShapeError for a wrong shape or several keys.
    Source: L. Devroye, Non-Uniform Random Variate Generation, 1986, section X.4.3, where n p is at
        most 10; W. Hormann, The generation of binomial random variates, 1993, else.
    """
    typed = check_key(key, "binomial")
    sizes = full_shape(shape, "binomial", n, p)
    return _binomial(typed, n, p, sizes, float_dtype(dtype, "binomial"))


@functools.partial(jit, static_argnums=(3, 4))
def _binomial(key: Array, n: Any, p: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    chance = lift(p, what="binomial")
    drawn = dtypes.to_inexact(chance.dtype)
    count, prob = (
        stop_gradient(
            fnp.broadcast_to(to_rank(convert_element_type(x, drawn), shape, "binomial"), shape)
        )
        for x in (n, chance)
    )
    rare = prob < 0.5
    q = _where(rare, prob, 1 - prob)
    no_count, no_chance = ~(count >= 0), ~(q >= 0)
    q = _where(no_chance, 0.01, q)
    few = no_count | (count * q <= 10)
    whole = fnp.floor(count)
    small = _binomial_small(key, _where(few, whole, 0), q)
    large = _binomial_large(
        key,
        _where(few, 1e4, whole),
        _where(few, 0.5, q),
        # Of an infinite count and no chance, no number is ever accepted.
        (few & fnp.all(few)) | (fnp.isinf(count) & (q == 0)),
    )
    out = convert_element_type(_where(few, small, large), dtype)
    invalid, endless = no_count | no_chance, fnp.isinf(count)
    out = _where(invalid, math.nan, _where(endless, math.inf, out))
    mirrored = convert_element_type(whole, dtype) - out
    return _where(rare | invalid | endless, out, mirrored)


def _binomial_small(key: Array, count: Array, prob: Array) -> Array:
    """How many geometric variates have a sum of at most `count`."""
    log_miss = fnp.log1p(-prob)

    def step(carry: _Carry) -> _Carry:
        key, successes, trials = carry
        subkey, key = split_keys(key, 2)
        successes = _where(trials <= count, successes + 1, successes)
        u = uniform(subkey, prob.shape, prob.dtype)
        return key, successes, trials + fnp.ceil(fnp.log(u) / log_miss)

    first = (key, fnp.zeros_like(prob), fnp.zeros_like(prob))
    return while_loop(lambda carry: fnp.any(carry[2] <= count), step, first)[1] - 1


def _binomial_large(key: Array, count: Array, prob: Array, done: Array) -> Array:
    """By rejection; the names are those of Hormann's algorithm BTRS.

    done: as for `_until_all_accept`.
    """
    deviation = fnp.sqrt(count * prob * (1 - prob))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * prob
    c = count * prob + 0.5
    v_r = 0.92 - 4.2 / b
    r = prob / (1 - prob)
    alpha = (2.83 + 5.1 / b) * deviation
    m = fnp.floor((count + 1) * prob)
    at_mode = _stirling_tail(m) + _stirling_tail(count - m)

    def trial(key: Array) -> tuple[Array, Array, Array]:
        key, u_key, v_key = split_keys(key, 3)
        u = uniform(u_key, prob.shape, prob.dtype) - 0.5
        v = uniform(v_key, prob.shape, prob.dtype)
        us = 0.5 - fnp.abs(u)
        k = fnp.floor((2 * a / us + b) * u + c)
        height = fnp.log(v * alpha / (a / (us * us) + b))
        bound = (
            (m + 0.5) * fnp.log((m + 1) / (r * (count - m + 1)))
            + (count + 1) * fnp.log((count - m + 1) / (count - k + 1))
            + (k + 0.5) * fnp.log(r * (count - k + 1) / (k + 1))
            + (at_mode - _stirling_tail(k) - _stirling_tail(count - k))
        )
        outside = (k < 0) | (k > count)
        return key, k, ((us >= 0.07) & (v <= v_r)) | (~outside & (height <= bound))

    return _until_all_accept(key, trial, prob, done)


def _stirling_tail(k: Array) -> Array:
    """log k! less Stirling's formula, (k + 1/2) log(k + 1) - k - 1 + log(2 pi) / 2, for k >= 0."""
    above = 1 / (k + 1)
    square = above * above
    series = (1 / 12 - (1 / 360 - square / 1260) * square) * above
    exact = fnp.take(np.asarray(_STIRLING_TAILS, k.dtype), fnp.clip(k, 0, 9).astype("int32"))
    return _where(k <= 9, exact, series)


_STIRLING_TAILS = [
    math.lgamma(k + 1) - (k + 0.5) * math.log(k + 1) + (k + 1) - math.log(2 * math.pi) / 2
    for k in range(10)
]


def multinomial(
    key: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    *,
    shape: Any = None,
    dtype: DtypeLike = None,
    unroll: int | bool = 1,
) -> Array:
    """Whole numbers, as floats: how often each of several outcomes happens in `n` trials.

    Shapes: n (...), p (..., k) -> (..., k), or `shape`, to which p stretches, and to whose axes in
        front n does.
    p: probabilities along the last axis; only their ratios count.
    dtype: of the result, a number; the default float by default. The numbers are drawn in the dtype
        of n and p together.
    unroll: as in `lax.scan`, which draws them one after another.
    Raises: DtypeError, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "multinomial")
    trials, chances = (lift(x, what="multinomial") for x in (n, p))
    if not chances.ndim:
        raise ShapeError(f"multinomial: p must have an axis or more, got {chances.aval}")
    sizes = chances.shape if shape is None else check_sizes(shape, "multinomial")
    target = dtypes.default_float() if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_numeric(target):
        raise DtypeError(f"multinomial: dtype must be numeric, got {dtypes.name(target)}")
    if not sizes:
        raise ShapeError(f"multinomial: shape must have an axis or more, got {sizes}")
    return _multinomial(typed, trials, chances, sizes, target, unroll)


@functools.partial(jit, static_argnums=(3, 4, 5))
def _multinomial(
    key: Array,
    n: Array,
    p: Array,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    unroll: int | bool,
) -> Array:
    drawn = dtypes.to_inexact(fnp.result_type(n, p))
    total, chances = (
        stop_gradient(
            fnp.broadcast_to(to_rank(convert_element_type(x, drawn), sizes, "multinomial"), sizes)
        )
        for x, sizes in ((n, shape[:-1]), (p, shape))
    )
    # Of the trials that are left, each outcome's share of the probability that is left.
    chances = fnp.moveaxis(chances, -1, 0)
    left = fnp.flip(fnp.cumsum(fnp.flip(chances, 0), 0), 0)
    shares = fnp.clip(chances / _where(left == 0, 1, left), 0, 1)

    def draw(left: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
        key, share = given
        count = binomial(key, left, share, dtype=drawn)
        return left - count, count

    keys = random_split(key, shape[-1:])
    _, counts = scan(draw, total, (keys, shares), unroll=unroll)
    return convert_element_type(fnp.moveaxis(counts, 0, -1), dtype)


def geometric(key: ArrayLike, p: ArrayLike, shape: Any = None, dtype: DtypeLike = None) -> Array:
    """Integers: the number of the first of independent trials that succeeds, with chance `p` each.

    p: stretches to `shape`, which is its own by default.
    dtype: an integer; the default integer by default.
    Raises: DtypeError for another dtype, ShapeError for a wrong shape or several keys.
    """
    typed = check_key(key, "geometric")
    target = _integer_dtype(dtype, "geometric")
    return _geometric(typed, p, full_shape(shape, "geometric", p), target)


@functools.partial(jit, static_argnums=(2, 3))
def _geometric(key: Array, p: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    chance = lift(p, what="geometric")
    chance = convert_element_type(chance, dtypes.to_inexact(chance.dtype))
    chance = stop_gradient(to_rank(chance, shape, "geometric"))
    u = uniform(key, shape, chance.dtype)
    trials = fnp.log(_where(u == 0, 1, u)) / fnp.log1p(-chance)
    return convert_element_type(fnp.floor(trials) + 1, dtype)

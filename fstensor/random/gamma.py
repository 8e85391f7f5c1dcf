"""Gamma variates, and their logarithms, by rejection."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, DtypeLike, lift
from fstensor.control.while_loop import while_loop
from fstensor.dtypes import finfo
from fstensor.numpy.promote import select
from fstensor.ops.gamma import random_gamma_grad
from fstensor.ops.random_bits import random_fold_in, random_split
from fstensor.random.continuous import exponential, normal
from fstensor.random.keys import check_key
from fstensor.random.uniform import float_dtype, full_shape, in_dtype, to_rank, uniform
from fstensor.transforms.custom_jvp import custom_jvp
from fstensor.transforms.jit import jit
from fstensor.transforms.vmap import vmap


def gamma(key: ArrayLike, a: ArrayLike, shape: Any = None, dtype: DtypeLike = None) -> Array:
    """Floats of the gamma distribution, with density x^(a-1) e^-x / Gamma(a).

    a: stretches to `shape`, which is its own by default. The result is differentiable by it, as
        the quantile that was drawn. With an a near 0 it can be too small for the dtype, and 0 then;
        see `loggamma`.
    Raises: DtypeError unless dtype is float, ShapeError for a wrong shape or several keys.
    Source: G. Marsaglia, W. W. Tsang, A simple method for generating gamma variables, 2000; M.
        Figurnov, S. Mohamed, A. Mnih, Implicit Reparameterization Gradients, 2018.
    """
    typed = check_key(key, "gamma")
    sizes = full_shape(shape, "gamma", a)
    target = float_dtype(dtype, "gamma")
    return _gamma(typed, in_dtype(a, target), sizes, False, "gamma")


def loggamma(key: ArrayLike, a: ArrayLike, shape: Any = None, dtype: DtypeLike = None) -> Array:
    """Logarithms of numbers of the gamma distribution, which stay accurate for an a near 0.

    Arguments, errors and source as for `gamma`. For a below 1 the values are others than the
    logarithms of those of `gamma`.
    """
    typed = check_key(key, "loggamma")
    sizes = full_shape(shape, "loggamma", a)
    target = float_dtype(dtype, "loggamma")
    return _gamma(typed, in_dtype(a, target), sizes, True, "loggamma")


@functools.partial(jit, static_argnums=(2, 3, 4))
def _gamma(key: Array, a: Array, shape: tuple[int, ...], log_space: bool, what: str) -> Array:
    count = math.prod(shape)
    flat = fnp.reshape(fnp.broadcast_to(to_rank(a, shape, what), shape), (count,))
    draw = _log_variates if log_space else _variates
    return fnp.reshape(draw(random_split(key, (count,)), flat), shape)


@custom_jvp
def _variates(keys: Array, a: Array) -> Array:
    """A variate for each key and each number of `a`, two vectors."""
    return vmap(_scaled)(*_accepted(keys, a), a)


@_variates.defjvp
def _variates_jvp(primals: Sequence[Array], tangents: Sequence[Array]) -> tuple[Array, Array]:
    out: Array = _variates(*primals)
    return out, tangents[1] * random_gamma_grad(primals[1], out)


@custom_jvp
def _log_variates(keys: Array, a: Array) -> Array:
    return vmap(_log_scaled)(*_accepted(keys, a), a)


@_log_variates.defjvp
def _log_variates_jvp(primals: Sequence[Array], tangents: Sequence[Array]) -> tuple[Array, Array]:
    out: Array = _log_variates(*primals)
    variates = fnp.maximum(fnp.exp(out), float(finfo(out.dtype).tiny))
    return out, tangents[1] * (random_gamma_grad(primals[1], variates) / variates)


def _scaled(key: Array, cube: Array, a: Array) -> Array:
    """A variate, of one that was accepted.

    For a below 1 it was of a + 1; its product with u^(1/a), u uniform, is one of a.
    """
    u = 1 - uniform(key, (), a.dtype)
    power = u ** (1 / a)
    return _center(a)[0] * cube * select(a >= 1, fnp.ones_like(a), power)


def _log_scaled(key: Array, cube: Array, a: Array) -> Array:
    log_u = -exponential(key, (), a.dtype)
    boost = select((a >= 1) | (log_u == 0), fnp.zeros_like(a), log_u * (1 / a))
    return fnp.log(_center(a)[0]) + fnp.log(cube) + boost


def _center(a: Array) -> tuple[Array, Array]:
    """Marsaglia and Tsang's d and c, for a or, where it is below 1, for a + 1."""
    third = lift(1 / 3, a.dtype)
    d = select(a >= 1, a, a + 1) - third
    return d, third / fnp.sqrt(d)


def _accepted(keys: Array, a: Array) -> tuple[Array, Array]:
    """A key for each lane, and its first (1 + c x)^3 that is accepted, x normal.

    At least 95% of all lanes accept their first one. Of many lanes, the others are gathered, and
    start again together.
    """
    starts, last = _nth_split(keys, 0), _nth_split(keys, 1)
    count = len(a)
    if count < _MANY:
        return last, _accepted_by_all(starts, a)

    nth = fnp.arange(1, count // 8, dtype=np.int32)

    def finish(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        cubes, waits = carry
        # The n-th lane that waits; past the last one, the end: reading there gives some lane, and
        # what is written there is dropped.
        lanes = fnp.searchsorted(fnp.cumsum(waits, dtype=np.int32), nth)
        tried = _accepted_by_all(
            fnp.take(starts, lanes, mode="clip"), fnp.take(a, lanes, mode="clip")
        )
        drop = {"mode": "drop"}
        return cubes.at[lanes].set(tried, **drop), waits.at[lanes].set(False, **drop)

    *_, cubes, waits = vmap(_trial)(*_round(starts), a)
    cubes, _ = while_loop(lambda carry: fnp.any(carry[1]), finish, (cubes, waits))
    return last, cubes


_MANY = 4096
_Lanes: TypeAlias = tuple[Array, Array, Array, Array, Array]


def _accepted_by_all(starts: Array, a: Array) -> Array:
    """Each lane's first cube that is accepted.

    All take their steps at once, whether they try the next x, since 1 + c x is to be positive, or
    start a new round after a rejection; those that are done wait for the others.
    """

    def step(carry: _Lanes) -> _Lanes:
        key, x_key, u_key, cubes, waits = carry
        key, x_key, u_key, tried, again = vmap(_trial)(key, x_key, u_key, a)
        return key, x_key, u_key, select(waits, tried, cubes), waits & again

    first = (*_round(starts), fnp.ones_like(a), fnp.ones(a.shape, bool))
    return while_loop(lambda carry: fnp.any(carry[-1]), step, first)[-2]


def _round(key: Array) -> tuple[Array, Array, Array]:
    """The key of the next round, that of the tries and that of the uniform number."""
    return _nth_split(key, 0), _nth_split(key, 1), _nth_split(key, 2)


def _nth_split(key: Array, n: int) -> Array:
    """`split(key, ...)[n]`. Of many keys at once, it is made without an axis as short as 2 or 3."""
    return random_fold_in(key, fnp.uint32(n))


def _trial(key: Array, x_key: Array, u_key: Array, a: Array) -> _Lanes:
    """One lane's next keys, its (1 + c x)^3, and whether it has to try on.

    key: of the rounds; x_key: of the tries of this round; u_key: of its one uniform number.
    """
    d, c = _center(a)
    x = normal(_nth_split(x_key, 1), (), a.dtype)
    v = 1 + x * c
    square, cube = x * x, v * v * v
    u = uniform(u_key, (), a.dtype)
    far = u >= 1 - lift(0.0331, a.dtype) * (square * square)
    rejected = far & (fnp.log(u) >= square * 0.5 + d * (1 - cube + fnp.log(cube)))
    again = v <= 0
    same = (key, _nth_split(x_key, 0), u_key)
    key, x_key, u_key = (
        select(again, old, new) for old, new in zip(same, _round(key), strict=True)
    )
    return key, x_key, u_key, cube, again | rejected

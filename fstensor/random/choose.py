"""Choosing among elements: permutations, categories, samples with and without replacement."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

from fstensor import dtypes
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, lift, normalize_axis
from fstensor.errors import ArgumentError, ShapeError
from fstensor.ops.convert import convert_element_type
from fstensor.ops.elementwise import add, mul, sub
from fstensor.ops.index import slice_in_dim
from fstensor.ops.random_bits import check_sizes, random_bits
from fstensor.ops.reduce import argmax
from fstensor.ops.shape import broadcasted_iota, expand_dims, moveaxis, reshape
from fstensor.ops.sort import sort_key_val, top_k
from fstensor.ops.transcendental import log
from fstensor.random.continuous import gumbel
from fstensor.random.keys import check_key, split_keys
from fstensor.random.uniform import randint, uniform
from fstensor.transforms.jit import jit


def permutation(key: ArrayLike, x: ArrayLike, axis: int = 0, independent: bool = False) -> Array:
    """The integers below `x`, or the slices of an array along `axis`, in random order.

    independent: shuffle each vector along the axis by itself, instead of whole slices.
    Raises: ArgumentError when x is a scalar but no integer, AxisError, ShapeError for several keys.
    """
    typed = check_key(key, "permutation")
    value = lift(x, what="permutation")
    dim = normalize_axis(axis, value.ndim or 1, "permutation")
    if not value.ndim:
        return _shuffle(typed, _range(_count(x, "permutation")), 0)
    return _permutation(typed, value, dim, independent)


@functools.partial(jit, static_argnums=(2, 3))
def _permutation(key: Array, x: Array, axis: int, independent: bool) -> Array:
    if independent or x.ndim == 1:
        return _shuffle(key, x, axis)
    return fnp.take(x, _shuffle(key, _range(x.shape[axis]), 0), axis)


@functools.partial(jit, static_argnums=2)
def _shuffle(key: Array, x: Array, axis: int) -> Array:
    # Sorting by random words leaves equal words in order. In so many rounds the probability that
    # two of n elements draw equal words each time is below n^-3.
    rounds = math.ceil(3 * math.log(max(1, x.size)) / math.log(2**32 - 1))
    for _ in range(rounds):
        key, subkey = split_keys(key, 2)
        _, x = sort_key_val(random_bits(subkey, 32, x.shape), x, axis)
    return x


def _range(n: int) -> Array:
    return broadcasted_iota(dtypes.default_int(), (n,), 0)


def _count(n: Any, what: str) -> int:
    try:
        return operator.index(n)
    except TypeError:
        raise ArgumentError(
            f"{what}: takes an integer or an array of at least one axis, got {lift(n).aval}"
        ) from None


def categorical(
    key: ArrayLike,
    logits: ArrayLike,
    axis: int = -1,
    shape: Any = None,
    replace: bool = True,
    mode: str | None = None,
) -> Array:
    """Indices along `axis` of `logits`, with probabilities softmax(logits).

    Shapes: logits without `axis` by default; `shape` may have more axes, in front.
    replace: whether an index may be drawn again along those axes in front.
    mode: of `gumbel`; "high" for categories with probabilities below 1e-7.
    Raises: ShapeError, also when more are to be drawn without replacement than there are.
    Source: the index of the largest logit with Gumbel noise added (E. Gumbel, 1954).
    """
    typed = check_key(key, "categorical")
    values = lift(logits, what="categorical")
    dim = normalize_axis(axis, values.ndim, "categorical")
    batch = (*values.shape[:dim], *values.shape[dim + 1 :])
    sizes = batch if shape is None else check_sizes(shape, "categorical")
    front = sizes[: len(sizes) - len(batch)]
    if sizes[len(front) :] != batch:
        raise ShapeError(
            f"categorical: shape must end with that of the logits without axis {dim}, {batch}, "
            f"got {sizes}"
        )
    count, draws = values.shape[dim], math.prod(front)
    if replace:
        noise = gumbel(typed, (*front, *values.shape), values.dtype, mode)
        noisy = add(noise, expand_dims(values, tuple(range(len(front)))))
        return argmax(noisy, dim + len(front), dtypes.default_int())
    if draws > count:
        raise ShapeError(
            f"categorical: without replacement at most {count} can be drawn, got {draws}"
        )
    noisy = add(gumbel(typed, values.shape, values.dtype, mode), values)
    chosen = top_k(moveaxis(noisy, dim, values.ndim - 1), draws)[1]
    return reshape(moveaxis(chosen, values.ndim - 1, 0), sizes)


def choice(
    key: ArrayLike,
    a: ArrayLike,
    shape: Any = (),
    replace: bool = True,
    p: ArrayLike | None = None,
    axis: int = 0,
    mode: str | None = None,
) -> Array:
    """Elements of `a`, or slices along `axis` of it, or integers below it, drawn at random.

    Shapes: `shape` in place of the axis drawn from.
    replace: whether an element may be drawn again.
    p: a vector of probabilities, in place of equal ones.
    mode: of `gumbel`, for p without replacement.
    Raises: ShapeError when more are to be drawn without replacement than there are, when there are
        none, or when p does not fit; ArgumentError, AxisError.
    """
    typed = check_key(key, "choice")
    pool = lift(a, what="choice")
    sizes = check_sizes(shape, "choice")
    dim = normalize_axis(axis, pool.ndim, "choice") if pool.ndim else 0
    count = pool.shape[dim] if pool.ndim else _count(a, "choice")
    draws = math.prod(sizes)
    target = (*pool.shape[:dim], *sizes, *pool.shape[dim + 1 :])
    if draws == 0:
        return fnp.zeros(target, pool.dtype)
    if count <= 0:
        raise ShapeError(f"choice: there is nothing to draw from, got {pool.aval}")
    if not replace and draws > count:
        raise ShapeError(f"choice: without replacement at most {count} can be drawn, got {draws}")
    if p is None and not replace:
        shuffled = permutation(typed, a if not pool.ndim else pool, dim)
        return reshape(slice_in_dim(shuffled, 0, draws, axis=dim), target)
    if p is None:
        chosen = randint(typed, sizes, 0, count)
    else:
        chosen = _weighted(typed, p, count, sizes, replace, mode)
    return reshape(fnp.take(pool, chosen, dim), target) if pool.ndim else chosen


def _weighted(
    key: Array, p: ArrayLike, count: int, shape: tuple[int, ...], replace: bool, mode: str | None
) -> Array:
    given = lift(p, what="choice")
    weights = convert_element_type(given, dtypes.to_inexact(given.dtype))
    if weights.shape != (count,):
        raise ShapeError(f"choice: p must be a vector of {count} numbers, got {weights.aval}")
    if replace:
        steps = fnp.cumsum(weights)
        total = reshape(slice_in_dim(steps, count - 1, count), ())
        heights = mul(total, sub(1, uniform(key, shape, weights.dtype)))
        return convert_element_type(fnp.searchsorted(steps, heights), dtypes.default_int())
    noisy = add(gumbel(key, (count,), weights.dtype, mode), log(weights))
    drawn = top_k(noisy, math.prod(shape))[1]
    return reshape(convert_element_type(drawn, dtypes.default_int()), shape)

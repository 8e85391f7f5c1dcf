"""Random keys: made of a seed, split into new ones, and folded with data.

A key is used once: either to draw from it, or to derive new keys from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fstensor import dtypes, ops
from fstensor.array import Array, ArrayLike, is_array_like, lift
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError
from fstensor.ops.index import slice_in_dim
from fstensor.ops.random_bits import (
    check_keys,
    check_sizes,
    random_fold_in,
    random_split,
    random_unwrap,
)
from fstensor.ops.shape import squeeze

_IMPL = "threefry2x32"


def key(seed: ArrayLike, *, impl: Any = None, dtype: Any = None) -> Array:
    """A key for an integer seed: a scalar array of dtype `key<fry>`.

    seed: an integer. A Python int counts modulo 2^32, or modulo 2^64 when the default dtypes have
        64 bits; an array's integer counts whole.
    impl, dtype: the generator; there is one, "threefry2x32".
    Raises: ArgumentError or DtypeError when the seed is no integer, ShapeError when it is no
        scalar, OptionError for another generator.

    >>> from fstensor import random
    >>> random.key(0)
    Array([0, 0], dtype=key<fry>, shape=())
    """
    if impl is not None and dtype is not None:
        raise OptionError(f"key: takes impl or dtype, got both, {impl!r} and {dtype!r}")
    _check_impl(impl if dtype is None else dtype, "key")
    return _from_seed(seed, "key")


def PRNGKey(seed: ArrayLike, *, impl: Any = None) -> Array:
    """A key in its older form: its two words, uint32[2]. All functions take it in place of a key.

    Arguments and errors as in `key`.
    """
    _check_impl(impl, "PRNGKey")
    return random_unwrap(_from_seed(seed, "PRNGKey"))


def _from_seed(seed: Any, what: str) -> Array:
    if isinstance(seed, int):
        if not -(1 << 63) <= seed < 1 << 64:
            raise OptionError(f"{what}: the seed must fit 64 bits, got {seed}")
        seed = np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF).astype(dtypes.default_int())
    elif isinstance(seed, (list, tuple)):
        seed = np.asarray(seed)
    value = lift(seed, what=what)
    if value.ndim:
        raise ShapeError(f"{what}: the seed must be a scalar, got {value.aval}; use vmap for many")
    if not dtypes.is_integer(value.dtype):
        raise DtypeError(f"{what}: the seed must be an integer, got {value.aval}")
    return ops.random_bits.random_seed(value)


def _check_impl(impl: Any, what: str) -> None:
    named = isinstance(impl, str) and impl in (_IMPL, "fry", "key<fry>")
    if impl is not None and not named and not dtypes.is_key(impl):
        raise OptionError(f"{what}: the only generator is {_IMPL!r}, got {impl!r}")


def split(key: ArrayLike, num: int | Sequence[int] = 2) -> Array:
    """New keys from one.

    Shapes: a scalar key -> (num,), or num itself when it is a tuple of sizes.
    A key of `PRNGKey` gives keys of that form, with a last axis of 2.
    Raises: DtypeError, ShapeError as all functions of keys do: see `check_key`.
    """
    shape = check_sizes(num, "split")
    return _like(key, random_split(check_key(key, "split"), shape))


def split_keys(key: Array, num: int) -> list[Array]:
    """New keys from a typed one, for use in a sampler."""
    return unstack(random_split(key, (num,)))


def unstack(x: Array) -> list[Array]:
    """The slices of `x` along its first axis."""
    return [squeeze(slice_in_dim(x, i, i + 1), (0,)) for i in range(x.shape[0])]


def fold_in(key: ArrayLike, data: ArrayLike) -> Array:
    """A new key from a key and an integer: other integers give other keys.

    data: an integer scalar from 0 to 2^32 - 1; an array's integer counts modulo 2^32.
    Raises: OptionError for a Python int out of that range, ShapeError when data is no scalar,
        DtypeError when it is no integer.
    """
    typed = check_key(key, "fold_in")
    if isinstance(data, int):
        if not 0 <= data < 1 << 32:
            raise OptionError(f"fold_in: data must lie between 0 and 2**32 - 1, got {data}")
        data = np.asarray(data, np.uint32)
    value = lift(data, what="fold_in")
    if value.ndim:
        raise ShapeError(f"fold_in: data must be a scalar, got {value.aval}; use vmap for many")
    if not dtypes.is_integer(value.dtype):
        raise DtypeError(f"fold_in: data must be an integer, got {value.aval}")
    return _like(key, random_fold_in(typed, ops.convert.convert_element_type(value, np.uint32)))


def clone(key: ArrayLike) -> Array:
    """The same key, where a program wants to say that it uses it twice on purpose."""
    return _like(key, _typed(key, "clone"))


def key_data(keys: ArrayLike) -> Array:
    """The words of keys: shape (...) -> (..., 2), uint32."""
    return random_unwrap(_typed(keys, "key_data"))


def wrap_key_data(key_bits_array: ArrayLike, *, impl: Any = None, dtype: Any = None) -> Array:
    """Keys made of their words: shape (..., 2) uint32 -> (...).

    impl, dtype: the generator; there is one, "threefry2x32".
    Raises: DtypeError unless uint32, ShapeError unless the last axis has size 2.
    """
    _check_impl(impl if dtype is None else dtype, "wrap_key_data")
    return ops.random_bits.random_wrap(key_bits_array)


def key_impl(keys: ArrayLike) -> str:
    """The name of the generator that the keys are for."""
    _typed(keys, "key_impl")
    return _IMPL


def check_key(key: Any, what: str) -> Array:
    """The one key that a function was given, also in the form of `PRNGKey`.

    Raises: ArgumentError or DtypeError when it is no key, ShapeError for an array of several.
    """
    typed = _typed(key, what)
    if typed.ndim:
        raise ShapeError(f"{what}: takes a single key, got {typed.aval}; use vmap for several")
    return typed


def _typed(keys: Any, what: str) -> Array:
    if not is_array_like(keys):
        hint = "make one with random.key(seed)"
        raise ArgumentError(f"{what}: takes a random key, got {type(keys).__name__}; {hint}")
    value = lift(keys)
    if value.dtype == np.uint32 and value.shape[-1:] == (2,):
        return ops.random_bits.random_wrap(value)
    check_keys(what, value.aval)
    return value


def _like(given: Any, keys: Array) -> Array:
    """`keys` in the form of the key that the user gave."""
    return keys if dtypes.is_key(lift(given).dtype) else random_unwrap(keys)

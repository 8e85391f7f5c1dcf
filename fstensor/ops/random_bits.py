"""Random keys and random bits, by the counter-based generator Threefry-2x32.

A key is two 32-bit words. The hash of a key and a counter is two more words, as random as the key;
so each element of an array of bits depends on the key and its own index alone. That makes the bits
the same however the work is divided. Keys stay in host memory, also where bits are made on a GPU.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.
How counters are laid out, keys split and data folded in is as in JAX, so that the bits are too.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import device, dtypes
from fstensor.array import Array, ArrayLike
from fstensor.core.affine import Affine, Index, flat
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, MappedAxis, Primitive, Value, primitive
from fstensor.core.scalar import INT64, UINT32, UINT64, Elements, IndexedOps, ScalarOps, V
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.ops.families import INTEGER, broadcast_shape
from fstensor.ops.shape import expand_dims, moveaxis


class Random(Primitive):
    """An operation on keys. Its operands are keys and integers, so it has no tangent."""

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), ZERO

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        # The axes of the first operand come first in the result, unchanged.
        assert dims[0] is not None
        return self.bind(*args), dims[0]


def check_keys(what: str, keys: ShapedArray) -> None:
    """Raises DtypeError naming `what` when `keys` is no array of keys."""
    if not dtypes.is_key(keys.dtype):
        raise DtypeError(f"{what}: takes random keys, got {keys}; make one with random.key(seed)")


@final
@primitive("random_seed")
class RandomSeed(Random):
    """The key of each integer: its 64 bits, high word first; 32-bit ones are its low word."""

    @property
    def params(self) -> dict[str, Any]:
        return {"impl": "fry"}

    def abstract(self, seeds: ShapedArray) -> ShapedArray:
        INTEGER.check("random_seed", seeds)
        return ShapedArray(seeds.shape, dtypes.prng_key)

    def impl(self, xp: Any, seeds: Any) -> Any:
        seeds = device.move(seeds, device.CPU)
        words = np.zeros((*seeds.shape, 2), np.uint32)
        if seeds.dtype.itemsize == 8:
            words[..., 0] = seeds.astype(np.uint64) >> 32
        words[..., 1] = seeds.astype(np.uint32)
        return _as_keys(words)

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        seed = operands[0].at(index)
        high = ops.constant(0, UINT32)
        if ops.dtype(seed).itemsize == 8:
            high = _shifted_right(ops, ops.convert(seed, UINT64), 32, UINT32)
        return _key_of(ops, high, ops.convert(seed, UINT32))


@final
@primitive("random_wrap")
class RandomWrap(Random):
    """Keys made of pairs of words, along the last axis."""

    @property
    def params(self) -> dict[str, Any]:
        return {"impl": "fry"}

    def abstract(self, words: ShapedArray) -> ShapedArray:
        if words.dtype != np.uint32:
            raise DtypeError(f"random_wrap: the words of keys must be uint32, got {words}")
        if words.shape[-1:] != (2,):
            raise ShapeError(f"random_wrap: a key has two words, in the last axis, got {words}")
        return ShapedArray(words.shape[:-1], dtypes.prng_key)

    def impl(self, xp: Any, words: Any) -> Any:
        return _as_keys(np.ascontiguousarray(device.move(words, device.CPU)))

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        first, second = (operands[0].at((*index, Affine(k))) for k in (0, 1))
        return _key_of(ops, first, second)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        return self.bind(moveaxis(args[0], dims[0], 0)), 0


@final
@primitive("random_unwrap")
class RandomUnwrap(Random):
    """The two words of each key, along a new last axis."""

    def abstract(self, keys: ShapedArray) -> ShapedArray:
        check_keys("random_unwrap", keys)
        return ShapedArray((*keys.shape, 2), np.dtype(np.uint32))

    def impl(self, xp: Any, keys: Any) -> Any:
        return keys["fry"]

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        first, second = _words_of(ops, operands[0].at(index[:-1]))
        which = ops.index(index[-1], UINT32)
        return ops.select(ops.eq(which, ops.like(0, which)), first, second)


@final
@primitive("random_bits")
class RandomBits(Random):
    """Independent random bits, an array of `shape` for each key, of `bit_width` bits each."""

    bit_width: int
    shape: tuple[int, ...]

    def abstract(self, keys: ShapedArray) -> ShapedArray:
        check_keys("random_bits", keys)
        if self.bit_width not in _UNSIGNED:
            raise OptionError(
                f"random_bits: bit_width must be 8, 16, 32 or 64, got {self.bit_width}"
            )
        return ShapedArray((*keys.shape, *self.shape), _UNSIGNED[self.bit_width])

    def impl(self, xp: Any, keys: Any) -> Any:
        # Keys stay on the host; the bits are made where they are wanted.
        words = xp.asarray(keys["fry"])
        high, low = _hash_indices(xp, words, math.prod(self.shape))
        if self.bit_width == 64:
            bits = high.astype(np.uint64)
            bits <<= 32
            bits |= low
        else:
            high ^= low
            bits = high.astype(_UNSIGNED[self.bit_width], copy=False)
        return bits.reshape(keys.shape + self.shape)

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        high, low = _hashed_index(ops, index, self.shape, operands[0])
        if self.bit_width == 64:
            return _key_of(ops, low, high)
        return ops.convert(ops.xor(high, low), _UNSIGNED[self.bit_width])


@final
@primitive("random_split")
class RandomSplit(Random):
    """New keys, an array of `shape` for each key."""

    shape: tuple[int, ...]

    def abstract(self, keys: ShapedArray) -> ShapedArray:
        check_keys("random_split", keys)
        return ShapedArray((*keys.shape, *self.shape), dtypes.prng_key)

    def impl(self, xp: Any, keys: Any) -> Any:
        high, low = _hash_indices(np, keys["fry"], math.prod(self.shape))
        return _as_keys(np.stack([high, low], -1)).reshape(keys.shape + self.shape)

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        return _key_of(ops, *_hashed_index(ops, index, self.shape, operands[0]))


@final
@primitive("random_fold_in")
class RandomFoldIn(Random):
    """A new key from each key and integer. Axes of size 1 and scalars stretch."""

    def abstract(self, keys: ShapedArray, data: ShapedArray) -> ShapedArray:
        check_keys("random_fold_in", keys)
        if data.dtype != np.uint32:
            raise DtypeError(f"random_fold_in: the data must be uint32, got {data}")
        return ShapedArray(broadcast_shape("random_fold_in", (keys, data)), dtypes.prng_key)

    def impl(self, xp: Any, keys: Any, data: Any) -> Any:
        shape = np.broadcast_shapes(keys.shape, data.shape)
        words = np.zeros((2, *shape), np.uint32)
        words[1] = device.move(data, device.CPU)
        _threefry(np, keys["fry"][..., 0], keys["fry"][..., 1], words[0, ...], words[1, ...])
        return _as_keys(np.ascontiguousarray(np.moveaxis(words, 0, -1)))

    def element_at(self, ops: IndexedOps[V], index: Index, *operands: Elements[V]) -> Any:
        key, data = (x.at(_within(index, x.aval.shape)) for x in operands)
        return _key_of(ops, *_hashed(ops, _words_of(ops, key), (None, data)))

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        rank = max(x.ndim - (d is not None) for x, d in zip(args, dims, strict=True))
        return self.bind(*[_fronted(x, d, rank) for x, d in zip(args, dims, strict=True)]), 0


def _fronted(x: Array, dim: int | None, rank: int) -> Array:
    """With the batch in front of the `rank` axes that stretch against those of other operands."""
    if dim is None:
        return expand_dims(x, (0,)) if x.ndim else x
    x = moveaxis(x, dim, 0)
    return expand_dims(x, tuple(range(x.ndim, 1 + rank)))


_UNSIGNED = {n: np.dtype(f"uint{n}") for n in (8, 16, 32, 64)}
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_ROUNDS_OF_FOUR = 5

# So many counters are hashed at a time, for what is hashed to stay in the cache. A power of two.
_BLOCK = 1 << 15
# Up to so many are hashed with Python's integers, which is faster than a hundred calls of NumPy.
_FEW = 12


def _as_keys(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return words.view(dtypes.prng_key)[..., 0]


def _hash_indices(xp: Any, keys: Any, count: int) -> tuple[Any, Any]:
    """Both words of the hashes of 0, …, count-1 with each key: arrays (number of keys, count)."""
    words = xp.asarray(keys.reshape(-1, 1, 2))
    high, low = (xp.empty((len(words), count), np.uint32) for _ in range(2))
    block = _BLOCK if xp is np else 1 << 28
    columns = min(count, block) or 1
    rows = block // columns
    for c in range(0, count, columns):
        indices = xp.arange(c, min(c + columns, count)).astype(np.uint32)
        for r in range(0, len(words), rows):
            part = slice(r, r + rows), slice(c, c + columns)
            high[part], low[part] = c >> 32, indices
            _threefry(
                xp, words[r : r + rows, :, 0], words[r : r + rows, :, 1], high[part], low[part]
            )
    return high, low


def _threefry(xp: Any, k0: Any, k1: Any, x0: Any, x1: Any) -> None:
    """Replace the counters (x0, x1) by their hashes with the keys (k0, k1)."""
    if x0.size <= _FEW and xp is np:
        flat = [np.broadcast_to(a, x0.shape).ravel().tolist() for a in (k0, k1, x0, x1)]
        hashed = np.array([_hash(*words) for words in zip(*flat, strict=True)], np.uint32)
        x0[...], x1[...] = hashed.reshape(-1, 2).T.reshape(2, *x0.shape)
        return
    schedule = (k0, k1, k0 ^ k1 ^ np.uint32(_PARITY))
    spare = xp.empty_like(x1)
    x0 += k0
    x1 += k1
    for i in range(_ROUNDS_OF_FOUR):
        for bits in _ROTATIONS[i % 2]:
            x0 += x1
            xp.right_shift(x1, 32 - bits, out=spare)
            xp.left_shift(x1, bits, out=x1)
            x1 |= spare
            x1 ^= x0
        x0 += schedule[(i + 1) % 3]
        x1 += schedule[(i + 2) % 3] + np.uint32(i + 1)


def _hash(k0: int, k1: int, x0: int, x1: int) -> tuple[int, int]:
    """`_threefry` of one counter."""
    mask = 0xFFFFFFFF
    schedule = (k0, k1, k0 ^ k1 ^ _PARITY)
    x0, x1 = x0 + k0 & mask, x1 + k1 & mask
    for i in range(_ROUNDS_OF_FOUR):
        for bits in _ROTATIONS[i % 2]:
            x0 = x0 + x1 & mask
            x1 = (x1 << bits & mask | x1 >> 32 - bits) ^ x0
        x0 = x0 + schedule[(i + 1) % 3] & mask
        x1 = x1 + schedule[(i + 2) % 3] + i + 1 & mask
    return x0, x1


def _within(index: Index, shape: tuple[int, ...]) -> Index:
    """Where an operand of `shape`, which stretches, has the element for an index of the result."""
    pairs = zip(index, shape, strict=True) if shape else ()
    return tuple([Affine(0) if n == 1 else i for i, n in pairs])


def _hashed_index(
    ops: IndexedOps[V], index: Index, shape: tuple[int, ...], keys: Elements[V]
) -> tuple[V, V]:
    """Both words of the hash that belongs to an index: of a key, then of one of `shape` for it."""
    rank = len(index) - len(shape)
    place = flat(index[rank:], shape)
    high = None
    if math.prod(shape) > 1 << 32:
        high = _shifted_right(ops, ops.index(place, INT64), 32, UINT32)
    words = _words_of(ops, keys.at(index[:rank]))
    return _hashed(ops, words, (high, ops.index(place, UINT32)))


def _hashed(ops: ScalarOps[V], key: tuple[V, V], counter: tuple[V | None, V]) -> tuple[V, V]:
    """`_threefry` in the vocabulary of kernels. None as the counter's first word stands for 0."""
    k0, k1 = key
    schedule = (k0, k1, ops.xor(ops.xor(k0, k1), ops.constant(_PARITY, UINT32)))
    x0 = k0 if counter[0] is None else ops.add(counter[0], k0)
    x1 = ops.add(counter[1], k1)
    for i in range(_ROUNDS_OF_FOUR):
        for bits in _ROTATIONS[i % 2]:
            x0 = ops.add(x0, x1)
            x1 = ops.xor(ops.rotl(x1, ops.constant(bits, UINT32)), x0)
        x0 = ops.add(x0, schedule[(i + 1) % 3])
        # The key and the number of the round are added first: they are the same for all counters.
        x1 = ops.add(x1, ops.add(schedule[(i + 2) % 3], ops.constant(i + 1, UINT32)))
    return x0, x1


def _words_of(ops: ScalarOps[V], key: V) -> tuple[V, V]:
    """The words of a key as kernels hold it: the first one is the low half of an integer."""
    return ops.convert(key, UINT32), _shifted_right(ops, key, 32, UINT32)


def _key_of(ops: ScalarOps[V], first: V, second: V) -> V:
    """The integer that has one word as its low half, another one as its high half."""
    high = ops.shl(ops.convert(second, UINT64), ops.constant(32, UINT64))
    return ops.or_(high, ops.convert(first, UINT64))


def _shifted_right(ops: ScalarOps[V], x: V, bits: int, dtype: np.dtype[Any]) -> V:
    return ops.convert(ops.shr(x, ops.like(bits, x)), dtype)


def random_seed(seeds: ArrayLike) -> Array:
    """The key of each integer in `seeds`.

    Shapes: the result has that of seeds. Dtypes: integers, of which 64 bits count.
    Raises: DtypeError for other dtypes.
    """
    return RandomSeed().bind(seeds)


def random_wrap(words: ArrayLike) -> Array:
    """Keys made of their words.

    Shapes: words (..., 2) -> keys (...). Dtypes: uint32.
    Raises: DtypeError, ShapeError.
    """
    return RandomWrap().bind(words)


def random_unwrap(keys: ArrayLike) -> Array:
    """The words of keys, uint32.

    Shapes: keys (...) -> words (..., 2).
    Raises: DtypeError when they are no keys.
    """
    return RandomUnwrap().bind(keys)


def random_bits(keys: ArrayLike, bit_width: int, shape: Sequence[int]) -> Array:
    """Independent random bits for each key, as unsigned integers of `bit_width` bits.

    Shapes: keys (...) -> (..., *shape).
    Raises: DtypeError when they are no keys, OptionError for a width other than 8, 16, 32, 64.
    """
    return RandomBits(bit_width, check_sizes(shape, "random_bits")).bind(keys)


def random_split(keys: ArrayLike, shape: Sequence[int]) -> Array:
    """New keys for each key.

    Shapes: keys (...) -> (..., *shape).
    Raises: DtypeError when they are no keys.
    """
    return RandomSplit(check_sizes(shape, "random_split")).bind(keys)


def random_fold_in(keys: ArrayLike, data: ArrayLike) -> Array:
    """New keys from keys and integers.

    Shapes: equal, up to axes of size 1 and scalars, which stretch. Dtypes: data is uint32.
    Raises: DtypeError, ShapeError.
    """
    return RandomFoldIn().bind(keys, data)


def check_sizes(shape: Any, what: str) -> tuple[int, ...]:
    """A shape as a tuple of ints; one integer is the size of a vector.

    Raises: ShapeError when it is none.
    """
    try:
        given = shape if isinstance(shape, (tuple, list, np.ndarray)) else (shape,)
        sizes = tuple([operator.index(n) for n in given])
    except TypeError:
        raise ShapeError(f"{what}: shape must be a tuple of integers, got {shape!r}") from None
    if any(n < 0 for n in sizes):
        raise ShapeError(f"{what}: sizes must not be negative, got {sizes}")
    return sizes

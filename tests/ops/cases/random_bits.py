"""The reference is the generator written out with Python's integers, as the paper defines it."""

import itertools

import numpy as np

from fstensor import dtypes
from fstensor.ops import random_bits as ops
from tests.ops.harness import Case, Operand


def rotate(x, n):
    return ((x << n) | (x >> (32 - n))) % 2**32


def threefry(key, counter):
    """Threefry-2x32 with 20 rounds. J. Salmon et al., 2011, section 3."""
    words = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    x = [(c + k) % 2**32 for c, k in zip(counter, key, strict=True)]
    rotations = itertools.cycle([13, 15, 26, 6, 17, 29, 16, 24])
    for i in range(20):
        x[0] = (x[0] + x[1]) % 2**32
        x[1] = rotate(x[1], next(rotations)) ^ x[0]
        if i % 4 == 3:
            j = i // 4 + 1
            x = [(x[0] + words[j % 3]) % 2**32, (x[1] + words[(j + 1) % 3] + j) % 2**32]
    return x


def make_keys(words):
    return np.array(words, np.uint32).view(dtypes.prng_key)[..., 0]


def hashes(keys, shape):
    """The words of each key's hashes of 0, 1, …: (*keys.shape, *shape, 2)."""
    indices = range(int(np.prod(shape)))
    words = keys["fry"].reshape(-1, 2).tolist()
    flat = [threefry(key, [0, i]) for key in words for i in indices]
    return np.array(flat, np.uint32).reshape(*keys.shape, *shape, 2)


def bits(width, shape):
    def reference(keys):
        words = hashes(keys, shape)
        if width == 64:
            return words[..., 0].astype(np.uint64) * 2**32 + words[..., 1]
        return (words[..., 0] ^ words[..., 1]).astype(f"uint{width}")

    return reference


def folded(keys, data):
    keys, data = np.broadcast_arrays(keys, data)
    flat = [
        threefry(k, [0, d])
        for k, d in zip(keys["fry"].reshape(-1, 2).tolist(), data.ravel().tolist(), strict=True)
    ]
    return make_keys(np.array(flat, np.uint32).reshape(*keys.shape, 2))


def seeded(seeds):
    wide = [int(s) % 2 ** (64 if seeds.dtype.itemsize == 8 else 32) for s in seeds.ravel()]
    words = [[s >> 32, s % 2**32] for s in wide]
    return make_keys(np.array(words, np.uint32).reshape(*seeds.shape, 2))


ONE = make_keys([7, 0xFFFFFFFF])
SOME = make_keys([[0, 0], [1, 2], [0x13198A2E, 0x03707344]])
NONE = make_keys(np.zeros((0, 2)))
SEEDS = np.array([0, 1, -1, 2**31 - 1, -(2**31)])
WIDE_SEEDS = np.array([0, -1, 2**40 + 3, 2**63 - 1, -(2**63)])


def case(primitive, reference, *values, label=""):
    """A case on fixed operands of their own dtypes."""
    operands = tuple(Operand(v.shape, dtypes.name(v.dtype), values=v) for v in values)
    return Case(
        primitive, operands, reference, dtypes=("uint32",), differentiable=False, label=label
    )


CASES = [
    case(ops.RandomSeed(), seeded, SEEDS.astype(np.int32), label="int32"),
    case(ops.RandomSeed(), seeded, WIDE_SEEDS, label="int64"),
    case(ops.RandomSeed(), seeded, np.array([2**64 - 1, 5], np.uint64), label="uint64"),
    case(ops.RandomSeed(), seeded, np.array(-3, np.int8), label="int8"),
    *[case(ops.RandomWrap(), make_keys, k["fry"]) for k in (ONE, SOME, NONE)],
    *[case(ops.RandomUnwrap(), lambda k: k["fry"], k) for k in (ONE, SOME, NONE)],
    *[
        case(ops.RandomBits(w, s), bits(w, s), k, label=f"{w}-{s}")
        for w, s, k in [
            (8, (5,), ONE),
            (16, (2, 3), SOME),
            (32, (), SOME),
            (32, (33,), ONE),
            (32, (0, 2), SOME),
            (32, (4,), NONE),
            (64, (3, 1), ONE),
        ]
    ],
    *[
        case(ops.RandomSplit(s), lambda k, s=s: make_keys(hashes(k, s)), k, label=f"{s}")
        for s, k in [((2,), ONE), ((2, 3), SOME), ((), SOME), ((0,), ONE), ((20,), ONE)]
    ],
    case(ops.RandomFoldIn(), folded, ONE, np.array(5, np.uint32)),
    case(ops.RandomFoldIn(), folded, SOME, np.array([0, 9, 2**32 - 1], np.uint32)),
    case(ops.RandomFoldIn(), folded, ONE, np.arange(20, dtype=np.uint32)),
    case(ops.RandomFoldIn(), folded, SOME[:, None], np.array([[4, 5]], np.uint32)),
]

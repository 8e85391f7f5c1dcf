"""Quotients and rests of vectors of integers, which kernels compute by floats."""

import numpy as np
import pytest

from fstensor import lax
from fstensor.config import config
from fstensor.transforms.jit import jit

DTYPES = [np.dtype(c) for c in "bBhHiIqQ"]


def numbers(dtype):
    """Numbers of all sizes, the ends, and multiples of some divisors with their neighbours."""
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    some = rng.integers(info.min, info.max, 200, dtype, endpoint=True)
    small = some >> rng.integers(0, info.bits, 200).astype(dtype)
    ends = np.array([info.min, info.min + 1, info.max, info.max - 1, 1, 2, 3, 7, 10], dtype)
    steps = small[:100] // 3 * 3
    with np.errstate(over="ignore"):
        return np.concatenate(
            [some, small, ends, steps, steps + dtype.type(1), steps - dtype.type(1)]
        )


def truncated(x, y):
    """By Python's integers, towards zero."""
    pairs = [(int(a), int(b)) for a, b in zip(x, y, strict=True)]
    quotients = [abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) for a, b in pairs]
    rests = [a - q * b for (a, b), q in zip(pairs, quotients, strict=True)]
    return np.array(quotients, object), np.array(rests, object)


@jit
def divided(x, y):
    return lax.div(x, y), lax.rem(x, y)


def check(x, y):
    with config.override(executor="llvm"):
        quotient, rest = divided(x, y)
    expected = truncated(x, np.broadcast_to(y, x.shape))
    # The smallest number by -1 is beyond the dtype.
    fits = expected[0] <= np.iinfo(x.dtype).max
    for got, want in zip((quotient, rest), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(got)[fits], want[fits].astype(x.dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_by_vectors(dtype):
    x = numbers(dtype)
    for turn in range(1, 40):
        y = np.roll(x, turn)
        check(x, np.where(y == 0, dtype.type(1), y))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_by_one_number(dtype):
    x = numbers(dtype)
    for y in [*numbers(dtype)[::23], *np.array([1, 2, 3, 10, 100, 127], dtype)]:
        if y != 0:
            check(x, y)


def test_every_short_integer_by_every_byte():
    x = np.arange(1 << 16, dtype=np.uint16)
    with config.override(executor="llvm"):
        for y in np.arange(1, 256, 2, np.uint16):
            np.testing.assert_array_equal(divided(x, y)[0], x // y)


@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_near_multiples_of_large_numbers(dtype):
    """Where the quotient comes next to an integer as closely as it can."""
    rng = np.random.default_rng(1)
    high = np.iinfo(dtype).max
    for y in [3, 7, 641, 65537, 46341, 2**31 - 1, *rng.integers(2, high, 60)]:
        times = np.unique(np.append(rng.integers(0, high // y, 200, endpoint=True), high // y))
        near = (times[:, None] * int(y) + np.array([-1, 0, 1])).ravel()
        x = np.resize(near[(near >= 0) & (near <= high)], 512).astype(dtype)
        x = x if dtype == "uint32" else np.concatenate([x, -x])
        check(x, np.asarray(y, dtype))

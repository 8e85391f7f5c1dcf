"""What keys are, and what the functions of them refuse."""

import numpy as np
import pytest

from fstensor import dtypes, random
from fstensor.errors import ArgumentError, AxisError, DtypeError, OptionError, ShapeError
from fstensor.ops.random_bits import RandomBits, random_fold_in, random_split, random_wrap
from fstensor.transforms.jit import jit
from fstensor.transforms.make_jaxpr import make_jaxpr

KEY = random.key(0)

# Known answers of Threefry-2x32-20, from the Random123 library of the paper's authors.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN)
@pytest.mark.parametrize("repeats", [1, 100])
def test_known_answers(key, counter, expected, repeats):
    from fstensor.ops.random_bits import _threefry

    k0, k1 = (np.full(repeats, k, np.uint32) for k in key)
    x0, x1 = (np.full(repeats, c, np.uint32) for c in counter)
    _threefry(np, k0, k1, x0, x1)
    assert set(x0.tolist()) == {expected[0]}
    assert set(x1.tolist()) == {expected[1]}


def test_key_dtype():
    assert KEY.dtype == dtypes.prng_key
    assert str(KEY.aval) == "key<fry>[]"
    assert random.split(KEY, (2, 3)).shape == (2, 3)
    assert random.key_impl(KEY) == "threefry2x32"
    assert random.PRNGKey(0).dtype == np.uint32


def test_clone_is_the_same_key():
    assert np.array_equal(random.key_data(random.clone(KEY)), random.key_data(KEY))
    old = random.PRNGKey(7)
    assert np.array_equal(random.clone(old), old)


def test_keys_index_and_reshape():
    keys = random.split(KEY, 6)
    words = np.asarray(random.key_data(keys))
    assert np.array_equal(random.key_data(keys[2]), words[2])
    assert np.array_equal(random.key_data(keys.reshape(2, 3)), words.reshape(2, 3, 2))


def test_draws_do_not_depend_on_the_size_of_blocks(monkeypatch):
    whole = np.asarray(random.bits(KEY, (100,)))
    several = np.asarray(RandomBits(32, (100,)).bind(random.split(KEY, 7)))
    monkeypatch.setattr("fstensor.ops.random_bits._BLOCK", 16)
    assert np.array_equal(random.bits(KEY, (100,)), whole)
    assert np.array_equal(RandomBits(32, (100,)).bind(random.split(KEY, 7)), several)


def test_key_is_an_argument_of_jit():
    traces = []

    @jit
    def draw(key):
        traces.append(1)
        return random.uniform(key, (2,))

    first, second = (np.asarray(draw(k)) for k in random.split(KEY))
    assert not np.array_equal(first, second)
    assert len(traces) == 1


def test_jaxpr():
    closed = make_jaxpr(lambda k, s: (random_split(k, (2,)), random.key(s)))(KEY, np.int32(1))
    closed.check()
    assert str(closed) == (
        "{ lambda ; a:key<fry>[] b:i32[]. let\n"
        "    c:key<fry>[2] = random_split[shape=(2,)] a\n"
        "    d:key<fry>[] = random_seed[impl=fry] b\n"
        "  in (c, d) }"
    )


def test_bad_keys():
    with pytest.raises(ArgumentError, match=r"uniform: takes a random key, got str.*random\.key"):
        random.uniform("seed")
    with pytest.raises(DtypeError, match=r"uniform: takes random keys, got float32\[3\]"):
        random.uniform(np.zeros(3, np.float32))
    with pytest.raises(DtypeError, match=r"normal: takes random keys, got int32\[\]"):
        random.normal(3)
    with pytest.raises(DtypeError, match=r"bits: takes random keys, got uint32\[3\]"):
        random.bits(np.zeros(3, np.uint32))
    for draw in (random.uniform, random.split, random.bits, lambda k: random.permutation(k, 3)):
        with pytest.raises(ShapeError, match=r"takes a single key, got key<fry>\[2\]; use vmap"):
            draw(random.split(KEY))


def test_bad_seeds():
    with pytest.raises(DtypeError, match=r"key: the seed must be an integer, got float32\[\]"):
        random.key(1.5)
    with pytest.raises(ShapeError, match=r"key: the seed must be a scalar, got int32\[2\]"):
        random.key(np.zeros(2, np.int32))
    with pytest.raises(DtypeError, match=r"the seed must be an integer, got key<fry>\[\]"):
        random.PRNGKey(KEY)
    with pytest.raises(OptionError, match="the seed must fit 64 bits, got 18446744073709551616"):
        random.key(2**64)
    with pytest.raises(OptionError, match="the only generator is 'threefry2x32', got 'rbg'"):
        random.key(0, impl="rbg")
    with pytest.raises(OptionError, match="takes impl or dtype, got both"):
        random.key(0, impl="fry", dtype="fry")


def test_bad_data():
    with pytest.raises(OptionError, match=r"data must lie between 0 and 2\*\*32 - 1, got -1"):
        random.fold_in(KEY, -1)
    with pytest.raises(OptionError, match="got 4294967296"):
        random.fold_in(KEY, 2**32)
    with pytest.raises(ShapeError, match=r"data must be a scalar, got int32\[2\]"):
        random.fold_in(KEY, np.zeros(2, np.int32))
    with pytest.raises(DtypeError, match=r"data must be an integer, got float32\[\]"):
        random.fold_in(KEY, np.float32(1))
    with pytest.raises(DtypeError, match=r"random_fold_in: the data must be uint32, got int32"):
        random_fold_in(KEY, np.int32(1))
    with pytest.raises(DtypeError, match=r"random_wrap: .*must be uint32, got int32\[2\]"):
        random_wrap(np.zeros(2, np.int32))
    with pytest.raises(ShapeError, match=r"random_wrap: a key has two words.*got uint32\[3\]"):
        random_wrap(np.zeros(3, np.uint32))


@pytest.mark.parametrize("name", ["uniform", "normal", "bits", "gumbel", "exponential"])
def test_bad_shapes(name):
    draw = getattr(random, name)
    for shape in ((1.5,), "ab", 2.0, None):
        with pytest.raises(ShapeError, match=f"{name}: shape must be a tuple of integers, got"):
            draw(KEY, shape)
    with pytest.raises(ShapeError, match=f"{name}: sizes must not be negative, got"):
        draw(KEY, (-1,))
    assert draw(KEY, 3).shape == (3,)


def test_bad_dtypes():
    for name in ("uniform", "exponential", "gumbel", "laplace", "logistic", "cauchy"):
        with pytest.raises(DtypeError, match=f"{name}: dtype must be a float dtype, got int32"):
            getattr(random, name)(KEY, (2,), np.int32)
    with pytest.raises(DtypeError, match="normal: dtype must be a float or complex dtype"):
        random.normal(KEY, (2,), bool)
    with pytest.raises(DtypeError, match="bits: dtype must be an unsigned integer, got int32"):
        random.bits(KEY, (2,), np.int32)
    with pytest.raises(DtypeError, match="randint: dtype must be an integer dtype, got float32"):
        random.randint(KEY, (2,), 0, 3, np.float32)
    with pytest.raises(DtypeError, match=r"bernoulli: p must have a float dtype, got int32\[\]"):
        random.bernoulli(KEY, 1)


def test_bad_parameters():
    three = np.zeros(3, np.float32)
    with pytest.raises(ShapeError, match=r"uniform: .*float32\[3\] does not stretch to .*\(2,\)"):
        random.uniform(KEY, (2,), minval=three)
    with pytest.raises(ShapeError, match=r"randint: .*int32\[3\] does not stretch"):
        random.randint(KEY, (2,), np.zeros(3, np.int32), 3)
    with pytest.raises(ShapeError, match=r"truncated_normal: .*got \(3,\) and \(2,\)"):
        random.truncated_normal(KEY, three, three[:2])
    with pytest.raises(OptionError, match="gumbel: mode must be 'low' or 'high', got 'huge'"):
        random.gumbel(KEY, mode="huge")
    with pytest.raises(OptionError, match="bernoulli: mode must be"):
        random.bernoulli(KEY, mode="huge")


def test_bad_choices():
    with pytest.raises(ShapeError, match="without replacement at most 3 can be drawn, got 4"):
        random.choice(KEY, 3, (4,), replace=False)
    with pytest.raises(ShapeError, match="there is nothing to draw from"):
        random.choice(KEY, 0, (4,))
    with pytest.raises(ShapeError, match=r"p must be a vector of 3 numbers, got float32\[2\]"):
        random.choice(KEY, 3, (1,), p=np.zeros(2, np.float32))
    with pytest.raises(ArgumentError, match=r"permutation: takes an integer.*got float32\[\]"):
        random.permutation(KEY, 1.5)
    with pytest.raises(AxisError, match="permutation: axis 2 does not exist"):
        random.permutation(KEY, np.zeros((2, 2)), 2)
    with pytest.raises(ShapeError, match=r"categorical: shape must end with .*\(4,\), got \(3,\)"):
        random.categorical(KEY, np.zeros((4, 5), np.float32), shape=(3,))
    with pytest.raises(ShapeError, match="categorical: without replacement at most 5"):
        random.categorical(KEY, np.zeros((4, 5), np.float32), shape=(6, 4), replace=False)

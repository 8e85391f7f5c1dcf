"""Random numbers in native code: the bits of the interpreter, made where they are used."""

import functools

import numpy as np
import pytest

from fstensor import dtypes, lax, random
from fstensor import numpy as fnp
from fstensor.array import from_buffer
from fstensor.compiler.pipeline import Pipeline
from fstensor.compiler.simplify import simplify
from fstensor.compiler.steps import HostStep, KernelStep
from fstensor.config import config
from fstensor.core.affine import Affine
from fstensor.core.scalar import INT64, UINT64, ArrayOps
from fstensor.ops import random_bits as ops
from fstensor.transforms.grad import grad
from fstensor.transforms.jit import jit
from fstensor.transforms.make_jaxpr import make_jaxpr
from fstensor.transforms.vmap import vmap
from tests.ops.cases.random_bits import make_keys, threefry
from tests.tolerances import assert_close

ONE = make_keys([7, 0xFFFFFFFF])
SOME = make_keys([[0, 0], [1, 2], [0x13198A2E, 0x03707344], [5, 0x80000000], [0xFFFFFFFF, 0]])
SHAPES = [(), (1,), (2,), (15,), (16,), (17,), (1000,), (3, 5), (7, 1, 33), (33, 2), (100, 64)]


def native(f, *args):
    return Pipeline(simplify(make_jaxpr(f)(*args)))


def on(executor, f, *args):
    with config.override(executor=executor):
        return jit(lambda *xs: f(*xs))(*args)


def assert_same_bits(f, *args):
    """The native result, and proof that nothing of it came from the interpreter."""
    assert not [s for s in native(f, *args).steps if isinstance(s, HostStep)]
    eager = f(*args)
    for executor in ("numpy", "llvm"):
        got = on(executor, f, *args)
        assert got.aval == eager.aval
        assert bytes_of(got) == bytes_of(eager)


def bytes_of(x):
    if x.dtype == dtypes.prng_key:
        x = random.key_data(x)
    return np.asarray(x).tobytes()


def operand(values):
    return from_buffer(np.array(values))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("width", [8, 16, 32, 64])
@pytest.mark.parametrize(
    "keys", [ONE, SOME, SOME[:4].reshape(2, 2), SOME[:1]], ids=lambda k: k.shape
)
def test_bits(keys, width, shape):
    assert_same_bits(lambda k: ops.random_bits(k, width, shape), operand(keys))


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_bits_on_threads(width):
    with config.override(threads=4):
        assert_same_bits(lambda k: ops.random_bits(k, width, (300_007,)), operand(ONE))
        assert_same_bits(lambda k: ops.random_bits(k, width, (60_001,)), operand(SOME))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("keys", [ONE, SOME], ids=["one", "some"])
def test_split(keys, shape):
    assert_same_bits(lambda k: ops.random_split(k, shape), operand(keys))


def test_fold_in():
    data = np.array([0, 9, 2**32 - 1, 2**31, 77], np.uint32)
    for keys, numbers in [
        (ONE, data[1]),
        (ONE, data),
        (SOME, data[2]),
        (SOME, data),
        (SOME[:, None], data[None]),
        (SOME[:, None], data[:, None]),
        (SOME[:1], data),
    ]:
        assert_same_bits(ops.random_fold_in, operand(keys), operand(numbers))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"])
def test_seed(dtype):
    info = np.iinfo(dtype)
    seeds = np.array([info.min, info.max, 0, 1, 77, info.max // 3, *range(20)], dtype)
    assert_same_bits(ops.random_seed, operand(seeds))
    assert_same_bits(ops.random_seed, operand(seeds[1]))


@pytest.mark.parametrize("keys", [ONE, SOME, SOME[:4].reshape(2, 2)], ids=lambda k: k.shape)
def test_words(keys):
    assert_same_bits(ops.random_unwrap, operand(keys))
    assert_same_bits(ops.random_wrap, operand(keys["fry"]))
    assert_same_bits(lambda w: ops.random_unwrap(ops.random_wrap(w)), operand(keys["fry"]))


def test_keys_are_rearranged_as_other_values():
    def chosen(keys, flag):
        turned = fnp.stack([keys, keys[::-1]], 1).reshape(-1)[1:7]
        return fnp.where(flag, turned, random.split(keys[2], 6))

    keys, flag = operand(SOME), fnp.arange(6) % 2 == 0
    eager = chosen(keys, flag)
    for executor in ("numpy", "llvm"):
        got = on(executor, chosen, keys, flag)
        assert got.dtype == dtypes.prng_key
        assert bytes_of(got) == bytes_of(eager)


def test_keys_that_are_not_aligned_or_in_order():
    memory = np.zeros(8 * 9 + 3, np.uint8)
    odd = memory[3:].view(dtypes.prng_key)
    odd[:] = make_keys(np.arange(18).reshape(9, 2))
    for keys in (odd, odd[::2], odd.reshape(3, 3).T):
        f = functools.partial(random.bits, shape=(20,))
        f = functools.reduce(lambda g, _: vmap(g), range(keys.ndim), f)
        got = on("llvm", f, from_buffer(keys))
        np.testing.assert_array_equal(got, f(from_buffer(keys.copy())))


def test_keys_go_through_loops():
    def walk(key):
        def step(carry, i):
            key, total = carry
            key, drawn = random.split(random.fold_in(key, i))
            return (key, total + random.uniform(drawn, (5,))), random.bits(key)

        (key, total), drawn = lax.scan(step, (key, fnp.zeros(5)), fnp.arange(7))
        return random.key_data(key), total, drawn

    for got, expected in zip(on("llvm", walk, operand(ONE)), walk(operand(ONE)), strict=True):
        np.testing.assert_array_equal(got, expected)


class Here(ArrayOps):
    """Rules that find elements by constant indices, computed by NumPy."""

    def index(self, place, dtype=INT64):
        assert place.is_constant
        return np.asarray(place.constant).astype(dtype)


class Key:
    aval = operand(ONE).aval

    def at(self, index):
        assert index == ()
        return np.asarray(ONE).reshape(1).view(UINT64)[0]


@pytest.mark.parametrize("place", [0, 5, 2**32 - 1, 2**32, 2**32 + 5, 3 * 2**33 + 1])
def test_counters_have_two_words(place):
    """An array of more than 2^32 elements, one of which is made."""
    index = (Affine(place // 2**16), Affine(place % 2**16))
    high, low = threefry([7, 0xFFFFFFFF], [place >> 32, place % 2**32])
    bits = functools.partial(ops.RandomBits, shape=(2**20, 2**16))
    assert bits(64).element_at(Here(), index, Key()) == high << 32 | low
    assert bits(8).element_at(Here(), index, Key()) == (high ^ low) % 256
    split = ops.RandomSplit((2**20, 2**16)).element_at(Here(), index, Key())
    assert split == low << 32 | high


@pytest.mark.parametrize("shape", [(), (1,), (1003,), (3, 1), (40, 33)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform(dtype, shape):
    key = random.key(3)
    assert_same_bits(lambda k: random.uniform(k, shape, dtype) * 2, key)
    # With other bounds than 0 and 1 kernels multiply and add with one rounding.
    between = functools.partial(random.uniform, shape=shape, dtype=dtype, minval=-2.0, maxval=3.5)
    assert not [s for s in native(between, key).steps if isinstance(s, HostStep)]
    assert_close(np.asarray(on("llvm", between, key)), np.asarray(between(key)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_uniform_of_halves(dtype):
    key = random.key(3)
    got = on("llvm", lambda k: random.uniform(k, (100,), dtype), key)
    np.testing.assert_array_equal(got, random.uniform(key, (100,), dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_integers(dtype):
    for low, high in [(0, 10), (-7, 100), (0, 127), (5, 5), (9, 3), (3, 4), (-128, 1 << 40)]:
        draw = functools.partial(random.randint, minval=low, maxval=high, dtype=dtype)
        assert_same_bits(functools.partial(draw, shape=(205,)), random.key(1))


def test_coins():
    p = fnp.linspace(0, 1, 33)
    assert_same_bits(lambda k: random.bernoulli(k, 0.3, (1001,)), random.key(1))
    assert_same_bits(lambda k, p: random.bernoulli(k, p, (7, 33)), random.key(1), p)
    assert_same_bits(lambda k, p: random.bernoulli(k, p, mode="high"), random.key(1), p)
    assert_same_bits(lambda k: random.rademacher(k, (100,)), random.key(1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "sampler",
    [random.normal, random.exponential, random.gumbel, random.laplace, random.logistic],
    ids=lambda s: s.__name__,
)
def test_continuous(sampler, dtype):
    key = random.key(11)
    draw = functools.partial(sampler, shape=(5003,), dtype=dtype)
    assert not [s for s in native(draw, key).steps if isinstance(s, HostStep)]
    assert_close(np.asarray(on("llvm", draw, key)), np.asarray(draw(key)))


def test_vmap_over_keys():
    keys = random.split(random.key(5), 6)
    assert_same_bits(vmap(lambda k: random.uniform(k, (37,))), keys)
    assert_same_bits(vmap(lambda k: random.uniform(k, (3,)), out_axes=1), keys)
    assert_same_bits(
        vmap(lambda k, n: random.bits(random.fold_in(k, n), (9,))), keys, fnp.arange(6)
    )
    assert_same_bits(vmap(vmap(lambda k: random.randint(k, (), 0, 9))), keys.reshape(2, 3))


def test_keys_of_the_older_form():
    def draw(key):
        first, second = random.split(random.fold_in(key, 3))
        return random.uniform(first, (10,)) + random.uniform(second, (10,))

    assert_same_bits(draw, random.PRNGKey(0))
    assert_same_bits(lambda seed: random.bits(random.key(seed), (5,)), operand(np.int32(-4)))


# No buffer of bits


def kernels_of(f, *args):
    made = native(f, *args)
    assert all(isinstance(s, KernelStep) for s in made.steps)
    return made.steps


def dropout(key, x, rate=0.1):
    return fnp.where(random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)


def written(steps):
    """The sizes of the values that kernels write."""
    return sorted(v.aval.size for s in steps for v in s.writes)


def test_bits_are_made_where_they_are_used():
    steps = kernels_of(lambda key: random.uniform(key, (1000,)) * 2, random.key(0))
    assert [n for n in written(steps) if n > 1] == [1000]
    x = fnp.ones((40, 50))
    steps = kernels_of(dropout, random.key(0), x)
    assert [n for n in written(steps) if n > 1] == [2000]


def test_dropout_joins_its_neighbours():
    def layer(key, x):
        y = fnp.maximum(x, 0)
        return dropout(key, y / y.sum(-1, keepdims=True)).max(-1)

    x = random.uniform(random.key(9), (40, 50))
    steps = kernels_of(layer, random.key(0), x)
    assert [n for n in written(steps) if n > 1] == [40]
    assert_close(
        np.asarray(on("llvm", layer, random.key(0), x)), np.asarray(layer(random.key(0), x))
    )


def test_gradient_of_dropout_makes_the_mask_again():
    def loss(x, key):
        return (dropout(key, x) ** 2).sum()

    x, key = random.normal(random.key(9), (40, 50)), random.key(0)
    steps = kernels_of(grad(loss), x, key)
    assert [n for n in written(steps) if n > 1] == [2000]
    assert_close(np.asarray(on("llvm", grad(loss), x, key)), np.asarray(grad(loss)(x, key)))

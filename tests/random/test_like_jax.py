"""The same keys and values as `jax.random`: bits, integers and uniform floats to the last bit,
others to rounding."""

import jax
import numpy as np
import pytest

from fstensor import random
from fstensor.transforms.grad import grad
from fstensor.transforms.jit import jit
from fstensor.transforms.vmap import vmap
from tests.tolerances import assert_close

SHAPES = [(), (3, 7), (2, 0, 3), (1 << 16) + 3]
SHAPE_IDS = [str(s) for s in SHAPES]
SEEDS = [0, 1, 42, -1, -12345, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 7, 2**62 + 11, -(2**63)]


def with_width(dtype, ask):
    """What JAX says, with 64-bit dtypes where the test needs them."""
    with jax.enable_x64(np.dtype(dtype).itemsize // (2 if dtype == "complex128" else 1) == 8):
        return np.asarray(ask())


def assert_same(got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()


@pytest.fixture
def same(recorded):
    return recorded.assert_same


def words(keys):
    return np.asarray(random.key_data(keys))


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds(seed):
    expected = jax.random.key(seed)
    assert_same(words(random.key(seed)), jax.random.key_data(expected))
    assert_same(random.PRNGKey(seed), jax.random.PRNGKey(seed))
    assert_same(random.bits(random.key(seed), (3,)), jax.random.bits(expected, (3,)))


@pytest.mark.parametrize("seed", [np.int8(-3), np.uint32(2**32 - 1), np.int32(-7), np.array(5)])
def test_array_seeds(seed):
    assert_same(words(random.key(seed)), jax.random.key_data(jax.random.key(seed)))


def test_wide_array_seeds():
    """All 64 bits of an array's integer count, as in JAX where it has 64-bit integers."""
    for seed in (np.int64(-1), np.int64(2**40 + 1), np.uint64(2**64 - 1)):
        with jax.enable_x64(True):
            expected = np.asarray(jax.random.key_data(jax.random.key(seed)))
        assert_same(words(random.key(seed)), expected)


@pytest.mark.parametrize("shape", [2, 0, 1, 17, (2,), (3, 2), (), (70000,)], ids=str)
def test_split(shape, same):
    def expected():
        return jax.random.key_data(jax.random.split(jax.random.key(3), shape))

    same(words(random.split(random.key(3), shape)), expected)
    old = random.split(random.PRNGKey(3), shape)
    same(old, lambda: jax.random.split(jax.random.PRNGKey(3), shape))


@pytest.mark.parametrize("data", [0, 1, 2**31, 2**32 - 1, np.int32(-1), np.uint8(9)])
def test_fold_in(data):
    expected = jax.random.fold_in(jax.random.key(3), data)
    assert_same(words(random.fold_in(random.key(3), data)), jax.random.key_data(expected))
    old = random.fold_in(random.PRNGKey(3), data)
    assert_same(old, jax.random.fold_in(jax.random.PRNGKey(3), data))


def test_wrapped_words():
    data = np.array([[1, 2], [3, 4]], np.uint32)
    assert_same(words(random.wrap_key_data(data)), data)
    key = random.wrap_key_data(data[0])
    assert_same(
        random.uniform(key, (4,)), jax.random.uniform(jax.random.wrap_key_data(data[0]), (4,))
    )


@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_IDS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_bits(shape, dtype, same):
    got = random.bits(random.key(1), shape, dtype)
    same(got, lambda: with_width(dtype, lambda: jax.random.bits(jax.random.key(1), shape, dtype)))


@pytest.mark.parametrize("shape", SHAPES, ids=SHAPE_IDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform(shape, dtype, same):
    def expected():
        return with_width(dtype, lambda: jax.random.uniform(jax.random.key(1), shape, dtype))

    same(random.uniform(random.key(1), shape, dtype), expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_between_bounds(dtype, recorded):
    def theirs(n, high):
        return with_width(
            dtype, lambda: jax.random.uniform(jax.random.key(1), (n,), dtype, -1.5, high)
        )

    got = random.uniform(random.key(1), (999,), dtype, -1.5, 2.5)
    recorded.assert_same(got, lambda: theirs(999, 2.5))
    near = recorded(lambda: theirs(99, 2.75))
    # JAX's compiler rounds the product by the span and the sum once, as one operation.
    assert_close(random.uniform(random.key(1), (99,), dtype, -1.5, 2.75), near)


def test_uniform_between_arrays(same):
    low, high = np.float32([[-1], [0]]), np.float32([[0.5, 1, 2]])
    same(
        random.uniform(random.key(1), (2, 3), minval=low, maxval=high),
        lambda: jax.random.uniform(jax.random.key(1), (2, 3), minval=low, maxval=high),
    )


RANGES = [
    *[("int32", lo, hi) for lo, hi in [(0, 10), (-5, 100), (5, 5), (7, 3), (0, 2**31 - 1)]],
    *[("int32", -(2**31), 2**31 - 1), ("uint32", 0, 3_000_000), ("uint32", 5, 2**31 - 1)],
    *[("int8", -128, 128), ("int8", -1000, 1000), ("int8", 3, 9)],
    *[("uint8", 0, 256), ("uint8", 10, 20), ("int16", -7, 30000), ("uint16", 0, 70000)],
    *[("int64", 0, 2**40), ("int64", -(2**62), 2**62), ("uint64", 0, 2**60)],
]


@pytest.mark.parametrize(("dtype", "low", "high"), RANGES)
def test_randint(dtype, low, high, same):
    args = ((5, 200), low, high, dtype)
    got = random.randint(random.key(9), *args)
    same(got, lambda: with_width(dtype, lambda: jax.random.randint(jax.random.key(9), *args)))


def test_randint_between_arrays(same):
    args = ((2, 3), np.int32([[-1], [0]]), np.int32([[5, 1, 200]]))
    got = random.randint(random.key(1), *args)
    same(got, lambda: jax.random.randint(jax.random.key(1), *args))


@pytest.mark.parametrize("n", [0, 1, 7, 3000, 70000])
def test_permutation_of_integers(n, same):
    got = random.permutation(random.key(4), n)
    same(got, lambda: jax.random.permutation(jax.random.key(4), n))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_permutation_of_arrays(axis, independent, dtype, same):
    x = np.arange(20).reshape(4, 5).astype(dtype)
    for value in (x, x[0]):
        where = axis if value.ndim == 2 else 0
        args = (value, where, independent)
        got = random.permutation(random.key(4), *args)
        same(got, lambda args=args: jax.random.permutation(jax.random.key(4), *args))


LOGITS = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"axis": 0},
        {"axis": 1, "shape": (3, 4)},
        {"axis": 0, "shape": (2, 5, 6)},
        {"shape": (3, 4), "replace": False},
        {"axis": 0, "shape": (2, 2, 6), "replace": False},
        {"mode": "high"},
    ],
    ids=str,
)
def test_categorical(options, same):
    got = random.categorical(random.key(6), LOGITS, **options)
    same(got, lambda: jax.random.categorical(jax.random.key(6), LOGITS, **options))


P = np.array([0.1, 0.2, 0.3, 0.4], np.float32)


@pytest.mark.parametrize(
    ("a", "options"),
    [
        (7, {}),
        (7, {"shape": (3, 2)}),
        (7, {"shape": (3, 2), "replace": False}),
        (4, {"shape": (20,), "p": P}),
        (4, {"shape": (2,), "p": P, "replace": False}),
        (4, {"shape": (0,)}),
        (LOGITS, {"shape": (2, 2)}),
        (LOGITS, {"shape": (3,), "axis": 1}),
        (LOGITS, {"shape": (3,), "axis": 1, "replace": False}),
        (LOGITS, {"shape": (9,), "p": P}),
        (LOGITS, {"shape": (3,), "p": P, "replace": False}),
    ],
)
def test_choice(a, options, same):
    options = {"shape": (), **options}
    got = random.choice(random.key(6), a, **options)
    same(got, lambda: jax.random.choice(jax.random.key(6), a, **options))


@pytest.mark.parametrize("mode", ["low", "high"])
def test_bernoulli(mode, same):
    for p in (0.3, np.float32([0.1, 0.5, 0.9])):
        for shape in (None, (1000, 3)):
            args = (p, shape, mode)
            got = random.bernoulli(random.key(2), *args)
            same(got, lambda args=args: jax.random.bernoulli(jax.random.key(2), *args))


@pytest.mark.parametrize("dtype", ["int32", "float32", "int8"])
def test_rademacher(dtype, same):
    got = random.rademacher(random.key(2), (100,), dtype)
    same(got, lambda: jax.random.rademacher(jax.random.key(2), (100,), dtype))


@pytest.mark.parametrize("shape", [(), (7, 43)], ids=str)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize(
    "name", ["normal", "exponential", "gumbel", "laplace", "logistic", "cauchy"]
)
def test_continuous(name, dtype, shape, recorded):
    @recorded
    def expected():
        draw = getattr(jax.random, name)
        return with_width(dtype, lambda: draw(jax.random.key(1), shape, dtype))

    got = getattr(random, name)(random.key(1), shape, dtype)
    # Near 0 and 1 logarithms and tan have large slopes; rounding of their arguments shows there.
    assert_close(got, expected, factor=10)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_normal(dtype, recorded):
    @recorded
    def expected():
        return with_width(dtype, lambda: jax.random.normal(jax.random.key(1), (3, 50), dtype))

    assert_close(random.normal(random.key(1), (3, 50), dtype), expected, factor=10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_truncated_normal(dtype, recorded):
    low, high = np.array([[-1.0], [0.5]], dtype), np.array([1.0, 2.0, 3.0], dtype)
    for args in [(-1.0, 2.0, (500,)), (low, high), (low, high, (2, 3)), (2.0, 2.5, (100,))]:
        options = (*args[:2], args[2] if len(args) > 2 else None, dtype)

        @recorded
        def expected(options=options):
            return with_width(
                dtype, lambda: jax.random.truncated_normal(jax.random.key(1), *options)
            )

        got = random.truncated_normal(random.key(1), *options)
        assert_close(got, expected, factor=10)
        assert (np.asarray(got) > args[0]).all()
        assert (np.asarray(got) < args[1]).all()


def test_gumbel_of_rare_events(recorded):
    expected = recorded(lambda: jax.random.gumbel(jax.random.key(1), (300,), mode="high"))
    assert_close(random.gumbel(random.key(1), (300,), mode="high"), expected, factor=10)


def test_older_keys_draw_the_same():
    old, new = random.PRNGKey(8), random.key(8)
    for draw in (random.uniform, random.bits, random.normal):
        assert_same(draw(old, (5,)), draw(new, (5,)))
    assert_same(random.permutation(old, 9), random.permutation(new, 9))


SAMPLERS = [
    lambda r, k: r.uniform(k, (3,)),
    lambda r, k: r.bits(k, (2, 2)),
    lambda r, k: r.normal(k),
    lambda r, k: r.randint(k, (5,), 0, 7),
    lambda r, k: r.permutation(k, 6),
    lambda r, k: r.key_data(r.split(k, 3)),
    lambda r, k: r.key_data(r.fold_in(k, 3)),
    lambda r, k: r.categorical(k, LOGITS),
    lambda r, k: r.uniform(r.split(k)[1], (2,)),
]


@pytest.mark.parametrize("draw", SAMPLERS)
def test_vmap_and_jit(draw, recorded):
    ours = random.split(random.key(0), 4)

    @recorded
    def expected():
        return jax.vmap(lambda k: draw(jax.random, k))(jax.random.split(jax.random.key(0), 4))

    def f(k):
        return draw(random, k)

    for mapped in (vmap(f), jit(vmap(f)), vmap(jit(f))):
        assert_close(mapped(ours), expected, factor=10)
    loop = np.stack([np.asarray(f(k)) for k in ours])
    assert_close(vmap(f)(ours), loop)


def test_vmap_over_data_and_seeds():
    data = np.arange(4, dtype=np.uint32)
    got = vmap(lambda d: random.key_data(random.fold_in(random.key(1), d)))(data)
    expected = jax.vmap(lambda d: jax.random.key_data(jax.random.fold_in(jax.random.key(1), d)))
    assert_same(got, expected(data))
    got = vmap(lambda s: random.key_data(random.key(s)))(data)
    assert_same(got, jax.vmap(lambda s: jax.random.key_data(jax.random.key(s)))(data))


def test_gradient_by_bounds():
    def total(r):
        def f(low, high):
            return r.uniform(k[r], (5,), minval=low, maxval=high).sum()

        return f

    k = {random: random.key(3), jax.random: jax.random.key(3)}
    low, high = np.float32(-1), np.float32(2)
    got = grad(total(random), (0, 1))(low, high)
    expected = jax.grad(total(jax.random), (0, 1))(low, high)
    for a, b in zip(got, expected, strict=True):
        assert_close(a, b, derivative=True)


def test_gradient_of_truncated_normal(recorded):
    def f(r):
        return lambda low: r.truncated_normal(r.key(3), low, 2.0, (5,)).sum()

    got = grad(f(random))(np.float32(0.5))
    expected = recorded(lambda: jax.grad(f(jax.random))(np.float32(0.5)))
    assert_close(got, expected, derivative=True)

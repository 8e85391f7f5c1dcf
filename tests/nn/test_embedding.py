"""Embeddings and encodings of positions: values, gradients, and what they mean for attention."""

import jax
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import ShapeDtypeStruct, jit, nn, random, vmap
from fstensor.errors import DtypeError, OptionError, ShapeError
from tests.nn.golden_cases import assert_agrees, case

KEY = random.key(0)
INDICES = ShapeDtypeStruct((2, 3), np.int32)
OPTIONS = {
    "embedding": {},
    "embedding_padding": {"padding_idx": 2},
    "embedding_often": {"scale_grad_by_freq": True},
    "embedding_max_norm_1": {"max_norm": 1.0, "norm_type": 1.0},
    "embedding_max_norm_2": {"max_norm": 1.0},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_values_and_gradients(name):
    arrays = case("norms", name)
    x, given = arrays["x"], {"table": arrays["table"]}

    def run(given):
        return nn.embedding(x, given["table"], **OPTIONS[name])

    assert_agrees(run, given, arrays["out"], arrays["grad"])
    layer = nn.Embedding(5, 3, **OPTIONS[name])
    np.testing.assert_allclose(layer(given, x), arrays["out"], 1e-10, 1e-10)


def test_the_table_is_random_at_first_but_for_padding():
    params, state = nn.Embedding(50, 20, padding_idx=-2).init(KEY, INDICES)
    assert state == {}
    table = np.asarray(params["table"])
    assert table.shape == (50, 20)
    np.testing.assert_array_equal(table[48], 0)
    np.testing.assert_allclose([table.mean(), table.std()], [0, 1], atol=0.1)
    other = nn.Embedding(5, 2, table_init=nn.initializers.ones).init(KEY, INDICES)[0]
    np.testing.assert_array_equal(other["table"], np.ones((5, 2)))


def test_padding_counted_from_behind_gets_no_gradient():
    table = random.normal(KEY, (5, 3))
    gradient = fst.grad(lambda t: nn.embedding(np.array([4, -1, 2]), t, padding_idx=-1).sum())(
        table
    )
    np.testing.assert_array_equal(gradient[:, 0], [0, 0, 1, 0, 0])


def test_how_often_counts_from_behind_too():
    f = lambda t: nn.embedding(np.array([4, -1, 2]), t, scale_grad_by_freq=True).sum()
    np.testing.assert_array_equal(fst.grad(f)(np.ones((5, 2)))[:, 0], [0, 0, 1, 0, 1])


def test_tied_outputs():
    class Tied(nn.Layer):
        embed: nn.Embedding = nn.Embedding(7, 4)

        def forward(self, net, x):
            return net.embed(nn.tanh(net.embed(x)), attend=True)

    x = np.array([[1, 2], [6, 0]])
    params, _ = Tied().init(KEY, x)
    assert fst.tree.map(lambda p: p.shape, params) == {"embed": {"table": (7, 4)}}
    table = np.asarray(params["embed"]["table"])
    y = jit(Tied())(params, x)
    np.testing.assert_allclose(y, np.tanh(table[x]) @ table.T, 1e-5, 1e-5)
    ensemble, _ = vmap(lambda key: Tied().init(key, x))(random.split(KEY, 3))
    assert vmap(Tied(), (0, None))(ensemble, x).shape == (3, 2, 2, 7)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda t: nn.embedding(np.ones(2), t), DtypeError, r"must be integers, got float64\[2\]"),
        (lambda t: nn.embedding(np.array([0]), t[0]), ShapeError, "must have two axes"),
        (lambda t: nn.embedding(0, t, padding_idx=5), OptionError, "within the 5 rows .* got 5"),
        (lambda t: nn.Embedding(5, 3, -6).init(KEY, INDICES), OptionError, "within the 5 rows"),
        (lambda t: nn.sinusoidal_encoding(3, 5), OptionError, "even and positive, got 5"),
        (lambda t: nn.rotary_encoding(np.ones((4, 2, 3))), OptionError, "even and positive, got 3"),
        (lambda t: nn.rotary_encoding(np.ones((4, 2))), ShapeError, "three axes or more"),
        (
            lambda t: nn.LearnedEncoding(3).init(KEY, np.ones((2, 4, 5))),
            ShapeError,
            "must have 3 steps or fewer, got 4",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(np.ones((5, 3)))


# Positions


def test_sinusoidal_encoding():
    found = nn.sinusoidal_encoding(6, 4, dtype=np.float64)
    for position in range(6):
        for i in range(2):
            angle = position / 10000 ** (2 * i / 4)
            np.testing.assert_allclose(found[position, 2 * i], np.sin(angle), 1e-12)
            np.testing.assert_allclose(found[position, 2 * i + 1], np.cos(angle), 1e-12)
    some = nn.sinusoidal_encoding(np.array([[5, 2]]), 4, dtype=np.float64)
    np.testing.assert_array_equal(some, found[np.array([[5, 2]])])
    assert nn.sinusoidal_encoding(6, 4).dtype == np.float32


def rotated(x, base, interleaved):
    """By matrices of two rows, one pair after the other."""
    y = np.array(x)
    depth = x.shape[-1]
    for t in range(x.shape[-3]):
        for i in range(depth // 2):
            angle = t * base ** (-2 * i / depth)
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            pair = [2 * i, 2 * i + 1] if interleaved else [i, i + depth // 2]
            y[..., t, :, pair] = np.einsum("ab,b...->a...", turn, x[..., t, :, pair])
    return y


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_encoding(interleaved):
    x = np.random.default_rng(0).normal(size=(2, 7, 3, 6))
    y = nn.rotary_encoding(x, base=50.0, interleaved=interleaved)
    np.testing.assert_allclose(y, rotated(x, 50.0, interleaved), 1e-10, 1e-12)
    at = np.array([3, 5])
    some = nn.rotary_encoding(x[:, at], at, base=50.0, interleaved=interleaved)
    np.testing.assert_allclose(some, y[:, at], 1e-12, 1e-12)
    each = np.stack([np.arange(7), np.arange(7)])
    layer = nn.RotaryEncoding(base=50.0, interleaved=interleaved)
    np.testing.assert_allclose(jit(layer)({}, x, each), y, 1e-10, 1e-12)
    with jax.enable_x64(True):
        plain = jax.grad(lambda x: (x**3).sum())(np.asarray(y))
    gradient = fst.grad(
        lambda x: (nn.rotary_encoding(x, base=50.0, interleaved=interleaved) ** 3).sum()
    )(x)
    # Turning back is the transpose: the length of the gradient stays.
    np.testing.assert_allclose(np.sum(gradient**2, -1), np.sum(np.asarray(plain) ** 2, -1), 1e-9)


def test_products_of_rotated_depend_on_distance_alone():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(1, 1, 8)), rng.normal(size=(1, 1, 8))

    def product(i, j):
        turned = [nn.rotary_encoding(a, np.array([n])) for a, n in ((q, i), (k, j))]
        return (turned[0] * turned[1]).sum()

    np.testing.assert_allclose(product(3, 1), product(103, 101), 1e-9)
    assert abs(product(3, 1) - product(3, 2)) > 1e-3


@pytest.mark.parametrize("layer", [nn.SinusoidalEncoding(), nn.LearnedEncoding(9)])
def test_encodings_step_by_step(layer):
    x = random.normal(KEY, (2, 7, 4))
    params, state = layer.init(KEY, x)
    assert state == {}
    whole = layer(params, x)
    assert not np.allclose(whole[:, 1] - x[:, 1], whole[:, 2] - x[:, 2])
    np.testing.assert_allclose(whole[0] - x[0], whole[1] - x[1], 1e-4, 1e-6)
    _, state = layer.init(KEY, x[:, :1], decode=9)
    parts = []
    for part in (x[:, :3], x[:, 3:4], x[:, 4:]):
        y, state = layer.apply(params, state, part, decode=9)
        parts.append(y)
    np.testing.assert_allclose(fnp.concatenate(parts, 1), whole, 1e-5, 1e-6)


def test_no_position_after_the_last_learned_one():
    layer = nn.LearnedEncoding(3)
    params, state = layer.init(KEY, np.ones((2, 2)), decode=3)
    _, state = layer.apply(params, state, np.ones((2, 2)), decode=3)
    y, _ = layer.apply(params, state, np.ones((2, 2)), decode=3)
    np.testing.assert_array_equal(np.isnan(y), [[False, False], [True, True]])

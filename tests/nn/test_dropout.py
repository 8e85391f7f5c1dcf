"""Dropping at random: rates, what is kept, whole channels, and evaluation."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import jit, nn, random, vmap
from fstensor.errors import ArgumentError, OptionError, ShapeError

KEY = random.key(0)
CHANNELS = {
    "1d": (nn.dropout1d, nn.Dropout1d, (50, 5, 20), (1,)),
    "2d": (nn.dropout2d, nn.Dropout2d, (50, 3, 4, 20), (1, 2)),
    "3d": (nn.dropout3d, nn.Dropout3d, (50, 2, 3, 2, 20), (1, 2, 3)),
}
FUNCTIONS = [
    nn.dropout,
    nn.dropout1d,
    nn.dropout2d,
    nn.dropout3d,
    nn.alpha_dropout,
    nn.feature_alpha_dropout,
]
LAYERS = [
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_elements(rate):
    x = random.uniform(random.key(1), (100, 100), minval=1, maxval=2)
    y = np.asarray(jit(nn.dropout, static_argnums=2)(KEY, x, rate))
    kept = y != 0
    np.testing.assert_allclose(1 - kept.mean(), rate, atol=0.02)
    np.testing.assert_allclose(y[kept], np.asarray(x)[kept] / (1 - rate), 1e-5)
    gradient = fst.grad(lambda x: nn.dropout(KEY, x, rate).sum())(x)
    np.testing.assert_allclose(gradient, np.where(kept, 1 / (1 - rate), 0), 1e-5)


@pytest.mark.parametrize("name", CHANNELS)
def test_whole_channels(name):
    function, layer, shape, spatial = CHANNELS[name]
    y = np.asarray(function(KEY, np.ones(shape, np.float32), 0.25))
    np.testing.assert_array_equal(y, np.broadcast_to(y.min(spatial, keepdims=True), shape))
    dropped = y.max(spatial) == 0
    assert dropped.any(0).sum() > 1
    np.testing.assert_allclose(dropped.mean(), 0.25, atol=0.05)
    np.testing.assert_allclose(y[y != 0], 1 / 0.75, 1e-6)
    alone = function(KEY, np.ones(shape[1:], np.float32), 0.25)
    np.testing.assert_array_equal(np.unique(alone), np.unique(y))
    trained = layer(0.25)({}, np.ones(shape, np.float32), key=KEY, train=True)
    np.testing.assert_array_equal(trained.min(spatial), trained.max(spatial))


def test_alpha_dropout_keeps_mean_and_variance():
    x = random.normal(random.key(1), (400, 400))
    y = np.asarray(nn.alpha_dropout(KEY, x, 0.3))
    np.testing.assert_allclose([y.mean(), y.var()], [0, 1], atol=0.02)
    limit = nn.selu(-100.0)
    values, counts = np.unique(y, return_counts=True)
    scale = 1 / np.sqrt(0.7 * (1 + 0.3 * limit**2))
    np.testing.assert_allclose(values[counts.argmax()], limit * scale * 0.7, 1e-5)
    np.testing.assert_allclose(counts.max() / y.size, 0.3, atol=0.01)


def test_alpha_dropout_of_whole_channels():
    x = random.normal(random.key(1), (300, 4, 200))
    y = np.asarray(nn.feature_alpha_dropout(KEY, x, 0.3))
    np.testing.assert_allclose([y.mean(), y.var()], [0, 1], atol=0.02)
    moved = y.min(1) == y.max(1)
    np.testing.assert_allclose(moved.mean(), 0.3, atol=0.01)
    np.testing.assert_allclose(y[moved[:, None].repeat(4, 1)].std(), 0, atol=1e-6)
    with pytest.raises(ShapeError, match=r"must have two axes or more, got float32\[4\]"):
        nn.feature_alpha_dropout(KEY, x[0, :, 0])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_derivatives(function):
    """Where an element is kept, outputs are a line in it; the derivatives of others are 0."""
    x = np.random.default_rng(0).normal(size=(3, 2, 2, 4))
    f = lambda x: function(KEY, x, 0.3)
    ct = np.cos(np.arange(x.size)).reshape(x.shape)
    slope = fst.jit(fst.grad(lambda x: (f(x) * ct).sum()))(x)
    by_one = np.asarray(f(x + 1)) - f(x)  # as it is linear in what is kept
    np.testing.assert_allclose(slope, by_one * ct, 1e-10, 1e-12)
    scale = 1 / 0.7
    if "alpha" in function.__name__:
        limit = 1.0507009873554805 * 1.6732632423543772
        scale = 1 / np.sqrt(0.7 * (1 + 0.3 * limit**2))
    np.testing.assert_allclose(np.unique(by_one.round(12)), [0, scale], 1e-10)


def test_a_checkpoint_drops_the_same_again():
    x = random.normal(random.key(1), (100,))
    f = lambda x: fnp.sin(nn.Dropout(0.5)({}, fnp.sin(x), key=KEY, train=True)).sum()
    expected = fst.grad(f)(x)
    np.testing.assert_allclose(fst.jit(fst.grad(fst.checkpoint(f)))(x), expected, 1e-5, 1e-6)
    assert (expected == 0).sum() > 20


@pytest.mark.parametrize("layer", LAYERS)
def test_layers(layer):
    x = random.normal(random.key(1), (4, 3, 3, 3, 6))
    assert layer(0.5).init(KEY, x) == ({}, {})
    np.testing.assert_array_equal(layer(0.5)({}, x, key=KEY), x)
    np.testing.assert_array_equal(layer(0.0)({}, x, train=True), x)
    np.testing.assert_array_equal(layer(1.0)({}, x, train=True), np.zeros(x.shape))
    first, second = (layer(0.5)({}, x, key=random.key(n), train=True) for n in (1, 2))
    assert not np.allclose(first, second)
    compiled = jit(layer(0.5), static_argnames="train")({}, x, key=random.key(1), train=True)
    np.testing.assert_allclose(compiled, first, 1e-5, 1e-6)
    ys = vmap(lambda key: layer(0.5)({}, x, key=key, train=True))(random.split(KEY, 3))
    assert not np.allclose(ys[0], ys[1])
    with pytest.raises(ArgumentError, match=f"{layer.__name__}: needs random numbers"):
        layer(0.5)({}, x, train=True)
    with pytest.raises(OptionError, match=f"{layer.__name__}: rate must be within 0 and 1"):
        layer(-0.1)


def test_each_layer_of_a_network_drops_others():
    both = nn.Parallel(nn.Dropout(0.5), nn.Dropout(0.5))
    a, b = both({}, fnp.ones((20, 20)), key=KEY, train=True)
    assert not np.allclose(a, b)


@pytest.mark.parametrize("function", [nn.dropout, nn.dropout1d, nn.alpha_dropout])
def test_edges_and_errors(function):
    x = np.ones((2, 3, 4), np.float32)
    np.testing.assert_allclose(function(KEY, x, 0.0), x, 1e-6)
    np.testing.assert_array_equal(function(KEY, x, 1.0), np.zeros_like(x))
    with pytest.raises(OptionError, match=r"rate must be within 0 and 1, got 1\.5"):
        function(KEY, x, 1.5)
    with pytest.raises(
        ShapeError, match=r"dropout2d: must have 3 axes or more, got float32\[3,4\]"
    ):
        nn.dropout2d(KEY, x[0])

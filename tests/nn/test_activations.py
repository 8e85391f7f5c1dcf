"""Activation functions: values and derivatives beside those of `jax.nn`."""

import jax
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import nn, random
from fstensor.errors import OptionError, ShapeError
from fstensor.nn import activations

KINKS = [0.0, -0.0, 6.0, -3.0, 3.0, 1.0, -1.0, 0.5, -0.5, np.inf, -np.inf, 100.0, -100.0]
POINTS = np.concatenate([np.linspace(-8, 8, 41), KINKS])
NAMES = [
    "relu",
    "relu6",
    "sigmoid",
    "softplus",
    "silu",
    "soft_sign",
    "log_sigmoid",
    "leaky_relu",
    "hard_sigmoid",
    "hard_silu",
    "elu",
    "celu",
    "selu",
    "gelu",
    "mish",
    "squareplus",
    "sparse_plus",
    "sparse_sigmoid",
    "swish",
    "hard_swish",
    "hard_tanh",
]


@pytest.fixture
def double_jax():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives(name, double_jax):
    f, g = getattr(activations, name), getattr(jax.nn, name)
    np.testing.assert_allclose(f(POINTS), g(POINTS), 1e-10, 1e-12)
    ours = fst.vmap(fst.grad(f))(POINTS)
    np.testing.assert_allclose(ours, jax.vmap(jax.grad(g))(POINTS), 1e-10, 1e-12)
    small = POINTS.astype(np.float32)
    assert f(small).dtype == np.float32
    np.testing.assert_allclose(f(small), g(small), 1e-5, 1e-6)


def test_gelu_without_approximation(double_jax):
    finite = POINTS[np.isfinite(POINTS)]
    expected = jax.nn.gelu(finite, approximate=False)
    np.testing.assert_allclose(nn.gelu(finite, approximate=False), expected, 1e-10, 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan(name):
    assert np.isnan(getattr(activations, name)(np.float32(np.nan)))


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_finite(name):
    points = POINTS[np.isfinite(POINTS)]
    assert np.isfinite(fst.vmap(fst.grad(getattr(activations, name)))(points)).all()


def test_functions_with_thresholds():
    x = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    np.testing.assert_array_equal(nn.hardtanh(x), np.clip(x, -1, 1))
    np.testing.assert_array_equal(nn.hardtanh(x, 0, 1.5), np.clip(x, 0, 1.5))
    np.testing.assert_array_equal(nn.hardshrink(x), [-2, -1, 0, 0, 0, 1, 2])
    np.testing.assert_array_equal(nn.softshrink(x), [-1.5, -0.5, 0, 0, 0, 0.5, 1.5])
    np.testing.assert_array_equal(nn.threshold(x, 0.5, 9.0), [9, 9, 9, 9, 9, 1, 2])
    np.testing.assert_array_equal(nn.prelu(x, 0.25), np.where(x > 0, x, 0.25 * x))
    np.testing.assert_array_equal(nn.rrelu(x), np.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2))
    np.testing.assert_allclose(nn.tanhshrink(x), x - np.tanh(x), 1e-12)
    np.testing.assert_allclose(nn.softsign(x), x / (1 + abs(x)), 1e-12)


def test_rrelu_draws_slopes():
    x = -fnp.ones(1000)
    y = -np.asarray(nn.rrelu(x, 0.1, 0.3, key=random.key(0), train=True))
    assert y.min() >= 0.1
    assert y.max() <= 0.3
    assert abs(y.mean() - 0.2) < 0.01


def test_integers_stay_integers():
    x = np.array([-3, 0, 7])
    assert nn.relu(x).dtype == fnp.asarray(x).dtype
    assert nn.relu6(x).tolist() == [0, 0, 6]


def test_glu():
    x = np.arange(12.0).reshape(2, 6) / 10
    np.testing.assert_allclose(nn.glu(x), x[:, :3] / (1 + np.exp(-x[:, 3:])), 1e-12)
    with pytest.raises(ShapeError, match="even size"):
        nn.glu(x[:, :5])


def test_log1mexp():
    x = np.array([1e-10, 0.1, np.log(2), 1.0, 40.0])
    np.testing.assert_allclose(
        nn.log1mexp(x), np.log1p(-np.exp(-np.longdouble(x))).astype(float), 1e-7
    )
    assert np.isfinite(fst.vmap(fst.grad(nn.log1mexp))(x)).all()


def test_gumbel_softmax():
    logits = np.log([[0.1, 0.2, 0.7]] * 5000).astype(np.float32)
    soft = nn.gumbel_softmax(random.key(1), logits, tau=0.5)
    np.testing.assert_allclose(soft.sum(-1), 1, 1e-5)
    hard = nn.gumbel_softmax(random.key(1), logits, tau=0.5, hard=True)
    np.testing.assert_allclose(np.sort(hard, -1)[:, :2], 0, atol=1e-6)
    np.testing.assert_allclose(np.mean(hard, 0), [0.1, 0.2, 0.7], atol=0.02)
    weights = np.array([1.0, 2.0, 3.0], np.float32)
    of = lambda hard: fst.grad(
        lambda z: (nn.gumbel_softmax(random.key(1), z, hard=hard) * weights).sum()
    )(logits[:3])
    np.testing.assert_allclose(of(True), of(False), 1e-5, 1e-7)
    with pytest.raises(OptionError, match="tau must be positive"):
        nn.gumbel_softmax(random.key(1), logits, tau=0)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis):
    x = np.array([[0, 2, -1], [3, 1, 0]])
    expected = jax.nn.one_hot(x, 3, axis=axis)
    np.testing.assert_array_equal(nn.one_hot(x, 3, axis=axis), expected)
    assert nn.one_hot(x, 3, dtype=bool).dtype == np.bool_


def test_standardize(double_jax):
    x = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_allclose(nn.standardize(x), jax.nn.standardize(x), 1e-10)
    where = x > -0.5
    ours = nn.standardize(x, axis=0, where=where)
    np.testing.assert_allclose(ours, jax.nn.standardize(x, axis=0, where=where), 1e-10)
    x = x + 1e8
    stable = nn.standardize(x, algorithm="stable")
    np.testing.assert_allclose(stable, jax.nn.standardize(x, algorithm="stable"), 1e-7)
    assert np.abs(stable - nn.standardize(x)).max() > 0.01
    with pytest.raises(OptionError, match="algorithm must be fast or stable, got 'slow'"):
        nn.standardize(x, algorithm="slow")


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, double_jax):
    f, g = getattr(nn, name), getattr(jax.nn, name)
    x = np.random.default_rng(0).standard_normal((3, 4))
    where = x > -0.5
    for options in ({}, {"axis": 0}, {"axis": None}, {"where": where}):
        np.testing.assert_allclose(f(x, **options), g(x, **options), 1e-10)
    with_mask = lambda f: lambda x: f(x, where=where)[where].sum()
    expected = jax.grad(with_mask(g))(x)
    np.testing.assert_allclose(fst.grad(with_mask(f))(x), expected, 1e-10, 1e-12)
    # What is left out may hold anything.
    wild = np.where(where, x, np.inf)
    np.testing.assert_allclose(fst.grad(with_mask(f))(wild), expected, 1e-10, 1e-12)


def test_softmin():
    x = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(nn.softmin(x), np.exp(-x) / np.exp(-x).sum(), 1e-12)

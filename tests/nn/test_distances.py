"""Distances beside NumPy's, and their derivatives where points coincide."""

import numpy as np
import pytest

import fstensor as fst
from fstensor import nn
from fstensor.errors import AxisError, DtypeError, OptionError, ShapeError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 4, 3)), RNG.normal(size=(2, 5, 3))
POWERS = [0.5, 1, 1.5, 2, 3, np.inf]


@pytest.mark.parametrize("p", POWERS)
def test_cdist(p):
    difference = X[:, :, None] - Y[:, None]
    if p == np.inf:
        expected = np.abs(difference).max(-1)
    else:
        expected = (np.abs(difference) ** p).sum(-1) ** (1 / p)
    np.testing.assert_allclose(nn.cdist(X, Y, p), expected, 1e-12)
    np.testing.assert_allclose(fst.jit(fst.vmap(lambda a, b: nn.cdist(a, b, p)))(X, Y), expected)
    if p >= 1:  # of smaller powers, components near 0 have no finite differences
        fst.test_util.check_grads(lambda a, b: nn.cdist(a, b, p), (X, Y), 1, ("fwd", "rev"))


@pytest.mark.parametrize("p", POWERS)
def test_derivatives_are_zero_where_points_coincide(p):
    point = np.array([[1.0, 2.0]])
    for f in (
        lambda x: nn.cdist(x, point, p).sum(),
        lambda x: nn.pairwise_distance(x, point, p, eps=0.0).sum(),
    ):
        np.testing.assert_array_equal(fst.grad(f)(point), 0)
        np.testing.assert_array_equal(fst.jit(fst.grad(f))(point), 0)


@pytest.mark.parametrize("p", POWERS)
def test_normalize_zero(p):
    value, grads = fst.value_and_grad(lambda x: nn.normalize(x, p).sum())(np.zeros(3))
    assert value == 0
    # There the length is eps; the power of 0 has no derivative.
    np.testing.assert_allclose(grads, 1e12)


def test_near_points_are_told_apart():
    """The form |x|^2 + |y|^2 - 2 x y would lose the distance."""
    x = np.array([[1000.0, 1000.0]], np.float32)
    y = x + np.float32(2**-10)
    np.testing.assert_allclose(nn.cdist(x, y), np.sqrt(2) * 2**-10, 1e-5)


def test_cosine_below_eps():
    a, b = np.array([3.0, 4.0]), np.array([0.6, 0.8])
    np.testing.assert_allclose(nn.cosine_similarity(a, b), 1, 1e-12)
    np.testing.assert_allclose(nn.cosine_similarity(a, b, eps=2.0), 0.5, 1e-12)
    np.testing.assert_array_equal(fst.grad(nn.cosine_similarity)(np.zeros(2), np.zeros(2)), 0)


def test_cosine_broadcasts():
    expected = np.einsum("bmi,bni->bmn", X, Y)
    expected /= np.linalg.norm(X, axis=-1)[:, :, None] * np.linalg.norm(Y, axis=-1)[:, None]
    ours = nn.cosine_similarity(X[:, :, None], Y[:, None])
    np.testing.assert_allclose(ours, expected, 1e-12)


def test_errors():
    with pytest.raises(OptionError, match="cdist: p must be positive, got 0"):
        nn.cdist(X, Y, 0)
    with pytest.raises(ShapeError, match=r"got float64\[2,4,3\] and float64\[2,5,2\]"):
        nn.cdist(X, Y[..., :2])
    with pytest.raises(ShapeError, match="pairwise_distance: shapes must broadcast"):
        nn.pairwise_distance(X, Y)
    with pytest.raises(ShapeError, match="takes vectors"):
        nn.pairwise_distance(1.0, 2.0)
    with pytest.raises(AxisError, match="normalize"):
        nn.normalize(X, axis=3)
    with pytest.raises(DtypeError, match="cosine_similarity: takes real numbers"):
        nn.cosine_similarity(X, X * 1j)

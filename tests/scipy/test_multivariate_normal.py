"""Values against SciPy, derivatives against JAX, both in double precision."""

import jax
import numpy as np
import pytest
import scipy.stats
from jax.scipy.stats import multivariate_normal as theirs

import fstensor as fst
from fstensor import errors
from fstensor.scipy.stats import multivariate_normal as own
from tests.numpy.compare import check, values

FACTOR = 200
NAMES = ("logpdf", "pdf")


@pytest.fixture(autouse=True, scope="module")
def wide():
    with jax.enable_x64(True):
        yield


def covariance(n, rank=None, seed=0):
    x = values((n, rank or n), "float64", -1, 1, seed)
    return x @ x.T + (0 if rank else 1) * np.eye(n)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_value(name, n):
    reference = getattr(scipy.stats.multivariate_normal, name)
    function = getattr(own, name)
    mean, cov = values((n,), "float64", seed=1), covariance(n)
    for shape in [(n,), (5, n), (2, 3, n)]:
        x = values(shape, "float64", seed=2)
        expected = np.reshape(reference(x, mean, cov), shape[:-1])
        for f in (function, fst.jit(function)):
            check(f(x, mean, cov), expected, None, FACTOR)
        expected = np.reshape(reference(x, mean, 2.5), shape[:-1])
        check(function(x, mean, 2.5), expected, None, FACTOR)
    narrow = function(*[v.astype("float32") for v in (x, mean, cov)])
    check(narrow, np.reshape(reference(x, mean, cov), shape[:-1]), "float32", FACTOR)


def test_scalars():
    expected = scipy.stats.norm.logpdf([0.5, 2], 1, 2.0**0.5)
    check(own.logpdf(np.array([0.5, 2]), 1, 2), expected, None, FACTOR)
    assert own.pdf(0, 0, 1).dtype == np.float32


def test_batches_of_means_and_covariances():
    mean, x = values((3, 2), "float64"), values((4, 1, 2), "float64", seed=1)
    cov = np.stack([covariance(2, seed=s) for s in range(3)])
    reference = scipy.stats.multivariate_normal.logpdf
    expected = [[reference(v[0], m, c) for m, c in zip(mean, cov, strict=True)] for v in x]
    check(own.logpdf(x, mean, cov), np.array(expected), None, FACTOR)
    looped = np.array([reference(x[0, 0], m, c) for m, c in zip(mean, cov, strict=True)])
    check(fst.vmap(own.logpdf, (None, 0, 0))(x[0, 0], mean, cov), looped, None, FACTOR)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cov", [covariance(3), np.array(1.5)], ids=["matrix", "scalar"])
def test_grad(name, cov):
    args = (values((2, 3), "float64"), values((3,), "float64", seed=1), cov)

    def gradient(module, transform):
        return transform(lambda *xs: getattr(module, name)(*xs).sum(), (0, 1, 2))(*args)

    expected = [np.asarray(e) for e in gradient(theirs, jax.grad)]
    check(gradient(own, fst.grad), expected, None, FACTOR)


class TestSingularCovariances:
    def test_value(self):
        cov, mean = covariance(3, 2), np.array([1.0, -2.0, 0.5])
        on = mean + (cov @ values((3, 4), "float64", seed=3)).T
        reference = scipy.stats.multivariate_normal.logpdf
        expected = reference(on, mean, cov, allow_singular=True)
        check(own.logpdf(on, mean, cov, True), expected, None, 1e4)
        check(own.pdf(on, mean, cov, allow_singular=True), np.exp(expected), None, 1e4)
        check(fst.jit(lambda x: own.logpdf(x, mean, cov, True))(on), expected, None, 1e4)
        assert (np.asarray(own.logpdf(on + 1, mean, cov, True)) == -np.inf).all()
        assert np.isnan(np.asarray(own.logpdf(on, mean, np.diag([1.0, 1, -1])))).all()

    def test_of_regular_ones(self):
        cov, x = covariance(3), values((4, 3), "float64")
        expected = np.asarray(own.logpdf(x, np.zeros(3), cov))
        check(own.logpdf(x, np.zeros(3), cov, True), expected, None, FACTOR)
        for argnum in (0, 1, 2):
            slopes = [
                fst.grad(lambda *xs, s=s: own.logpdf(*xs, s), argnum)(x[0], x[1], cov)
                for s in (False, True)
            ]
            check(slopes[1], np.asarray(slopes[0]), None, FACTOR)

    def test_indefinite_ones_are_nan(self):
        assert np.isnan(float(own.logpdf(np.ones(2), np.zeros(2), np.diag([1.0, -1.0]), True)))

    def test_grad_within_the_plane(self):
        cov, mean = np.diag([2.0, 0.0]), np.zeros(2)
        slope = fst.grad(lambda x: own.logpdf(x, mean, cov, True))(np.array([3.0, 0.0]))
        check(slope, np.array([-1.5, 0.0]), None, FACTOR)


def test_mistakes():
    with pytest.raises(errors.ShapeError, match=r"cov must be \(..., n, n\) .* float64\[2,3\]"):
        own.logpdf(np.ones(2), np.ones(2), np.ones((2, 3)))
    with pytest.raises(errors.ShapeError, match="x and mean must have one size"):
        own.logpdf(np.ones((4, 3)), np.ones(1), np.ones((1, 1)))
    with pytest.raises(errors.DtypeError, match="takes real numbers, got complex"):
        own.pdf(1j, 0.0, 1.0)

"""Values against SciPy, derivatives against JAX."""

import inspect

import jax
import jax.scipy.stats
import numpy as np
import pytest
import scipy.stats

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.errors import DtypeError
from fstensor.scipy import stats as own

X = np.array([-5.0, -1.2, 0.3, 0.8, 1.0, 2.5, 9.0])
Q = np.array([0.01, 0.3, 0.5, 0.95])
K = np.array([-1.0, 0.0, 1.0, 2.0, 7.0])
LOC_SCALE = {"loc": np.array(0.25), "scale": np.array(1.75)}
# For each distribution its shape parameters, whether it is stretched, and its kind of argument.
DISTRIBUTIONS = {
    "bernoulli": ((np.array(0.3),), {}, K),
    "beta": ((np.array(2.0), np.array(3.5)), LOC_SCALE, X),
    "cauchy": ((), LOC_SCALE, X),
    "chi2": ((np.array(3.0),), LOC_SCALE, X),
    "expon": ((), LOC_SCALE, X),
    "gamma": ((np.array(2.5),), LOC_SCALE, X),
    "laplace": ((), LOC_SCALE, X),
    "logistic": ((), LOC_SCALE, X),
    "norm": ((), LOC_SCALE, X),
    "poisson": ((np.array(2.5),), {}, K),
    "t": ((np.array(4.0),), LOC_SCALE, X),
    "uniform": ((), LOC_SCALE, X),
}
QUANTILES = ("ppf", "isf")
CASES = [
    (d, n)
    for d in own.__all__
    if d != "multivariate_normal"  # of vectors, in a file of its own
    for n, f in vars(getattr(own, d)).items()
    if inspect.isfunction(f) and f.__module__.endswith(f".{d}") and not n.startswith("_")
]


@pytest.fixture(autouse=True, scope="module")
def wide():
    with jax.enable_x64(True):
        yield


def arguments(distribution, name):
    shapes, stretch, x = DISTRIBUTIONS[distribution]
    return (Q if name in QUANTILES else x), shapes, stretch


@pytest.mark.parametrize(("distribution", "name"), CASES)
def test_value(distribution, name):
    function = getattr(getattr(own, distribution), name)
    reference = getattr(getattr(scipy.stats, distribution), name)
    x, shapes, stretch = arguments(distribution, name)
    for options in ({}, stretch):
        expected = reference(x, *shapes, **options)
        for f in (function, fst.jit(function)):
            np.testing.assert_allclose(f(x, *shapes, **options), expected, rtol=2e-13, atol=1e-13)
    narrow = function(x.astype(np.float32), *[s.astype(np.float32) for s in shapes])
    assert narrow.dtype == np.float32
    expected = reference(x, *[s.astype(np.float32) for s in shapes])
    np.testing.assert_allclose(narrow, expected, rtol=2e-5, atol=1e-6)
    batched = fst.vmap(lambda x: function(x, *shapes))(x)
    np.testing.assert_array_equal(batched, function(x, *shapes))


@pytest.mark.parametrize(("distribution", "name"), CASES)
def test_grad(distribution, name, recorded):
    function = getattr(getattr(own, distribution), name)
    theirs = getattr(getattr(jax.scipy.stats, distribution), name)
    x, shapes, stretch = arguments(distribution, name)
    # Inside of the support, where JAX's derivatives are finite.
    x = x[(x > 0.3) & (x < 1.9)] if x is X else x[x >= 0]
    args = (x, *shapes, *stretch.values())
    # Of beta's distribution function no derivative in a and b exists, here and in JAX.
    fixed = distribution == "beta" and name not in ("logpdf", "pdf")
    argnums = tuple(i for i in range(len(args)) if not (fixed and i in (1, 2)))
    got = fst.grad(lambda *xs: fnp.sum(function(*xs)), argnums)(*args)
    expected = recorded.each(lambda: jax.grad(lambda *xs: theirs(*xs).sum(), argnums)(*args))
    for g, want in zip(got, expected, strict=True):
        assert np.isfinite(g).all()
        if np.isfinite(want).all():
            np.testing.assert_allclose(g, want, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("distribution", ["expon", "gamma", "beta", "chi2", "uniform"])
def test_outside_of_the_support(distribution):
    shapes, _, _ = DISTRIBUTIONS[distribution]
    module = getattr(own, distribution)
    assert float(module.logpdf(-1.0, *shapes)) == -np.inf
    assert float(module.pdf(-1.0, *shapes)) == 0
    assert float(fst.grad(module.logpdf)(-1.0, *shapes)) == 0
    assert np.isnan(module.logpdf(np.nan, *shapes))


def test_far_tails():
    assert float(own.norm.logcdf(-1e3)) == pytest.approx(scipy.stats.norm.logcdf(-1e3))
    assert float(own.norm.sf(np.float64(30))) == pytest.approx(scipy.stats.norm.sf(30), rel=1e-12)
    assert float(own.cauchy.sf(np.float64(1e20))) == pytest.approx(1e-20 / np.pi)


@pytest.mark.parametrize(("distribution", "name"), CASES)
def test_parameters_are_those_of_jax(distribution, name):
    function = getattr(getattr(own, distribution), name)
    theirs = getattr(getattr(jax.scipy.stats, distribution), name)
    ours = inspect.signature(function).parameters
    # JAX calls quantiles of the logistic distribution x, SciPy q.
    quantile = distribution == "logistic" and name in QUANTILES
    expected = [
        ("q" if quantile and p.name == "x" else p.name, p.default)
        for p in inspect.signature(theirs).parameters.values()
    ]
    assert [(p.name, p.default) for p in ours.values()] == expected
    assert function.__doc__


def test_complex_numbers_are_refused():
    with pytest.raises(DtypeError, match=r"norm\.cdf: takes real numbers, got complex64"):
        own.norm.cdf(np.complex64(1j))

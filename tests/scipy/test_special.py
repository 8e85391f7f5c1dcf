"""Values against SciPy, derivatives against JAX, and the points where formulas break down."""

import importlib
import inspect

import jax
import jax.scipy.special as jss
import numpy as np
import pytest
import scipy.special

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.errors import ArgumentError, DtypeError, FstensorError, OptionError
from fstensor.scipy import special as own

X = np.linspace(-3, 3, 12)  # without 0, where |x| has a kink
POSITIVE = np.linspace(0.1, 6, 12)
UNIT = np.linspace(0.05, 0.95, 9)
SHAPES = np.array([[0.4], [1.0], [3.5], [25.0]])
# name, arguments, and which of them JAX differentiates.
FUNCTIONS = [
    ("beta", (SHAPES, POSITIVE), (0, 1)),
    ("betainc", (SHAPES, np.array(2.5), UNIT), (2,)),
    ("betaln", (SHAPES, POSITIVE), (0, 1)),
    ("boxcox", (POSITIVE, np.array([[-1.5], [0.5], [2.0]])), (0, 1)),
    ("boxcox1p", (POSITIVE - 0.9, np.array([[-1.5], [0.5], [2.0]])), (0, 1)),
    ("comb", (SHAPES + 6, POSITIVE), (0, 1)),
    ("digamma", (POSITIVE,), (0,)),
    ("entr", (POSITIVE,), (0,)),
    ("erf", (X,), (0,)),
    ("erfc", (X,), (0,)),
    ("erfcx", (X,), (0,)),
    ("erfinv", (UNIT,), (0,)),
    ("exp1", (POSITIVE,), (0,)),
    ("expi", (POSITIVE,), (0,)),
    ("expit", (X,), (0,)),
    ("factorial", (POSITIVE,), (0,)),
    ("gamma", (POSITIVE,), (0,)),
    ("gamma", (np.array([-0.5, -1.5, -2.3]),), (0,)),
    ("gammainc", (SHAPES, POSITIVE), (0, 1)),
    ("gammaincc", (SHAPES, POSITIVE), (0, 1)),
    ("gammaln", (POSITIVE,), (0,)),
    ("gammasgn", (np.array([-3.5, -2.5, -0.5, 0.5]),), ()),
    ("i0", (X,), (0,)),
    ("i0e", (X,), (0,)),
    ("i1", (X,), (0,)),
    ("i1e", (X,), (0,)),
    ("kl_div", (POSITIVE, SHAPES), (0, 1)),
    ("log_ndtr", (10 * X,), (0,)),
    ("logit", (UNIT,), (0,)),
    ("ndtr", (X,), (0,)),
    ("ndtri", (UNIT,), (0,)),
    ("poch", (POSITIVE, np.array(1.5)), ()),
    ("spence", (POSITIVE,), ()),  # JAX's slope is NaN at some
    ("rel_entr", (POSITIVE, SHAPES), (0, 1)),
    ("xlog1py", (X, POSITIVE), (0, 1)),
    ("xlogy", (X, POSITIVE), (0, 1)),
    ("zeta", (np.array([[1.5], [3.0]]), POSITIVE), ()),
]
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(FUNCTIONS)]


@pytest.fixture(autouse=True, scope="module")
def wide():
    with jax.enable_x64(True):
        yield


def close(got, expected, rtol):
    np.testing.assert_allclose(np.asarray(got), expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("name", "args", "_"), FUNCTIONS, ids=IDS)
def test_value(name, args, _):
    function, reference = getattr(own, name), getattr(scipy.special, name)
    close(function(*args), reference(*args), 2e-13)
    close(fst.jit(function)(*args), reference(*args), 2e-13)
    narrow = [a.astype(np.float32) for a in args]
    out = function(*narrow)
    assert out.dtype == np.float32
    # ndtr and functions made of exp(lgamma) round between their parts.
    np.testing.assert_allclose(
        out, reference(*[a.astype(np.float64) for a in narrow]), rtol=2e-5, atol=2e-6
    )


@pytest.mark.parametrize(
    ("name", "args", "argnums"), [f for f in FUNCTIONS if f[2]], ids=lambda x: str(x)[:12]
)
def test_grad(name, args, argnums, recorded):
    function, theirs = getattr(own, name), getattr(jss, name)
    got = fst.grad(lambda *xs: fnp.sum(function(*xs)), argnums)(*args)
    expected = recorded.each(lambda: jax.grad(lambda *xs: theirs(*xs).sum(), argnums)(*args))
    for g, want in zip(got, expected, strict=True):
        scale = np.abs(want).max()
        np.testing.assert_allclose(g, want, rtol=1e-6, atol=1e-8 * scale)


@pytest.mark.parametrize(
    ("name", "args", "argnums"), [f for f in FUNCTIONS if f[2]], ids=lambda x: str(x)[:12]
)
def test_grad_against_differences(name, args, argnums):
    function = getattr(own, name)
    spread = np.broadcast_arrays(*args)
    for i in argnums:
        ones = [np.ones_like(x) if k == i else np.zeros_like(x) for k, x in enumerate(spread)]
        moved = [[x + h * t for x, t in zip(spread, ones, strict=True)] for h in (1e-5, -1e-5)]
        expected = (np.asarray(function(*moved[0])) - np.asarray(function(*moved[1]))) / 2e-5
        slope = fst.vmap(fst.grad(function, i))
        got = slope(*[x.ravel() for x in spread])
        scale = max(1, np.abs(expected).max())
        np.testing.assert_allclose(got, expected.ravel(), atol=1e-7 * scale, rtol=1e-7)


@pytest.mark.parametrize(("name", "args", "_"), FUNCTIONS, ids=IDS)
def test_vmap(name, args, _):
    function = getattr(own, name)
    spread = [x.ravel() for x in np.broadcast_arrays(*args)]
    close(fst.vmap(function)(*spread), np.asarray(function(*spread)), 1e-14)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 20])
def test_expn(n):
    close(own.expn(n, POSITIVE), scipy.special.expn(n, POSITIVE), 1e-13)
    slope = fst.grad(lambda x: fnp.sum(own.expn(n, x)))(POSITIVE)
    if n:
        close(slope, -scipy.special.expn(n - 1, POSITIVE), 1e-13)
    else:
        close(slope, -np.exp(-POSITIVE) * (1 / POSITIVE + 1 / POSITIVE**2), 1e-13)


def test_polygamma_and_multigammaln():
    close(own.polygamma(2, POSITIVE), scipy.special.polygamma(2, POSITIVE), 1e-13)
    close(own.multigammaln(POSITIVE + 2, 3), scipy.special.multigammaln(POSITIVE + 2, 3), 1e-13)
    close(own.zeta(np.array(3.0)), scipy.special.zeta(3.0), 1e-14)


def test_derivatives_of_the_gamma_functions_in_x():
    grad_a = lambda x: fst.lax.igamma_grad_a(np.asarray(2.5), x)
    sample = lambda x: fst.lax.random_gamma_grad(np.asarray(2.5), x)
    for function in (grad_a, sample):
        for x in (0.7, 2.4, 9.0):
            high, low = (float(function(np.asarray(x + h))) for h in (1e-5, -1e-5))
            np.testing.assert_allclose(
                fst.grad(function)(np.asarray(x)), (high - low) / 2e-5, rtol=1e-7
            )
    with pytest.raises(FstensorError, match="igamma_grad_a"):
        fst.grad(lambda a: fst.lax.igamma_grad_a(a, np.asarray(2.0)))(np.asarray(2.5))


# Where formulas break down


def test_xlogy_at_zero():
    assert float(own.xlogy(0.0, 0.0)) == 0
    assert np.isnan(own.xlogy(0.0, np.nan))
    assert float(fst.grad(own.xlogy)(0.0, 3.0)) == pytest.approx(np.log(3))
    assert float(fst.grad(own.xlogy)(0.0, 0.0)) == -np.inf
    assert float(fst.grad(own.xlogy, 1)(0.0, 0.0)) == 0
    assert float(fst.grad(own.xlog1py, 1)(0.0, -1.0)) == 0
    assert float(fst.grad(own.entr)(0.0)) == np.inf
    np.testing.assert_array_equal(own.entr(np.float32([0, -1])), [0, -np.inf])
    np.testing.assert_array_equal(
        own.rel_entr(np.float32([0, 0, 1, -1]), np.float32([0, 2, 0, 1])), [0, 0, np.inf, np.inf]
    )


def test_log_ndtr_far_left():
    for dtype, rtol in ((np.float32, 1e-6), (np.float64, 1e-13)):
        x = np.array([-1e4, -200, -30, -6, 0, 6, 30], dtype)
        np.testing.assert_allclose(own.log_ndtr(x), scipy.special.log_ndtr(x), rtol=rtol)
        slope = fst.grad(lambda x: fnp.sum(own.log_ndtr(x)))(x)
        wide = x.astype(np.float64)
        expected = np.sqrt(2 / np.pi) / scipy.special.erfcx(-wide / np.sqrt(2))
        np.testing.assert_allclose(slope, expected, rtol=200 * rtol, atol=1e-30)
    assert float(own.log_ndtr(-np.inf)) == -np.inf


def test_ndtri_near_zero():
    p = np.float32([1e-30, 1e-10, 1e-3])
    np.testing.assert_allclose(own.ndtri(p), scipy.special.ndtri(p.astype(float)), rtol=1e-6)


ROWS = np.array([[0.5, -1.0, 2.0], [1000.0, 999.0, -np.inf], [-np.inf] * 3])


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp(axis, keepdims):
    got = own.logsumexp(ROWS, axis, keepdims=keepdims)
    close(got, scipy.special.logsumexp(ROWS, axis, keepdims=keepdims), 1e-14)


def test_logsumexp_options():
    a, b = ROWS[:2], np.array([1.0, -2.0, 0.5])
    got, sign = own.logsumexp(a, 1, b, return_sign=True)
    expected, expected_sign = scipy.special.logsumexp(a, 1, b, return_sign=True)
    close(got, expected, 1e-14)
    np.testing.assert_array_equal(sign, expected_sign)
    assert np.isnan(own.logsumexp(np.zeros(2), b=np.array([-1.0, 0.5])))
    assert float(own.logsumexp(np.array([np.inf, 0.0]), b=np.array([0.0, 1.0]))) == 0
    mask = np.array([True, False, True])
    close(own.logsumexp(a, 1, where=mask), scipy.special.logsumexp(a[:, mask], 1), 1e-14)
    assert float(own.logsumexp(np.zeros(0))) == -np.inf
    z = np.array([1 + 2j, 0.3 - 1j])
    close(own.logsumexp(z), np.log(np.exp(z).sum()), 1e-14)


def test_gradient_of_logsumexp_with_infinities():
    slope = fst.grad(lambda x: fnp.sum(own.logsumexp(x[:2], 1)))(ROWS)
    expected = np.zeros((3, 3))
    expected[:2] = scipy.special.softmax(ROWS[:2], 1)
    close(slope, expected, 1e-14)
    np.testing.assert_array_equal(fst.grad(own.logsumexp)(ROWS[2]), np.zeros(3))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_softmax(axis):
    x = ROWS[:2]
    close(own.softmax(x, axis=axis), scipy.special.softmax(x, axis), 1e-14)
    if axis != 0:
        close(own.log_softmax(x[:1], axis=axis), scipy.special.log_softmax(x[:1], axis), 1e-14)


def test_bessel_at_zero():
    for function, slope in ((own.i0, 0.0), (own.i0e, 0.0), (own.i1, 0.5), (own.i1e, 0.5)):
        assert float(fst.grad(function)(0.0)) == slope


def test_gamma_at_poles():
    x = np.array([0.0, -0.0, -1.0, -2.0, np.inf])
    np.testing.assert_array_equal(own.gamma(x), [np.inf, -np.inf, np.nan, np.nan, np.inf])
    np.testing.assert_array_equal(own.factorial(np.array([-2.0, 0.0])), [0, 1])


def test_comb():
    n, k = np.meshgrid(np.arange(-2.0, 12), np.arange(-2.0, 12))
    close(own.comb(n, k), scipy.special.comb(n, k), 1e-12)
    whole = (n >= 0) & (k >= 0)
    expected = scipy.special.comb(n[whole], k[whole], repetition=True)
    close(own.comb(n[whole], k[whole], repetition=True), expected, 1e-12)


def test_bernoulli():
    with fst.config.override(default_dtype_bits=64):
        np.testing.assert_array_equal(own.bernoulli(4), [1, -1 / 2, 1 / 6, 0, -1 / 30])
        ratio = np.asarray(own.bernoulli(256))[2::2] / scipy.special.bernoulli(256)[2::2]
        np.testing.assert_allclose(ratio, 1, rtol=1e-11)
        np.testing.assert_array_equal(own.bernoulli(264)[260:], [-np.inf, 0, np.inf, 0, -np.inf])
    assert own.bernoulli(0).dtype == np.float32
    with pytest.raises(OptionError, match="must not be negative, got -1"):
        own.bernoulli(-1)


@pytest.mark.parametrize("function", [own.boxcox, own.boxcox1p])
def test_boxcox_near_zero_power(function):
    """(e^(l L) - 1) / l = L + l L^2 / 2 + l^2 L^3 / 6 + ..., with L the logarithm."""
    x = np.array(2.5) if function is own.boxcox else np.array(1.5)
    log = np.log(2.5)
    for power in (0.0, 1e-9, -1e-4):
        power = np.array(power)
        slope = fst.grad(function, 1)(x, power)
        exact = log**2 / 2 + power * log**3 / 3 + power**2 * log**4 / 8
        np.testing.assert_allclose(slope, exact, rtol=1e-11)
        curve = fst.grad(fst.grad(function, 1), 1)(x, power)
        np.testing.assert_allclose(curve, log**3 / 3 + power * log**4 / 4, rtol=1e-6)
    zero = np.zeros(3) - (function is own.boxcox1p)
    powers = np.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(function(zero, powers), [-np.inf, -np.inf, -0.5])
    assert np.isnan(function(zero[0] - 1, 0.5))


def test_spence_to_higher_order():
    assert float(own.spence(np.array(0.0))) == np.pi**2 / 6
    assert float(own.spence(np.array(1.0))) == 0
    first = fst.grad(own.spence)
    for x, want in ((1.0, -1.0), (0.5, np.log(0.5) / 0.5), (3.0, -np.log(3) / 2)):
        np.testing.assert_allclose(first(np.array(x)), want, rtol=1e-14)
    np.testing.assert_allclose(fst.grad(first)(np.array(1.0)), 0.5, rtol=1e-14)
    np.testing.assert_allclose(fst.grad(fst.grad(first))(np.array(1.0)), -2 / 3, rtol=1e-13)


class TestSphericalHarmonics:
    n, m = np.meshgrid(np.arange(9), np.arange(-9, 10))
    theta = np.array([0.0, 0.4, 1.7, np.pi])[:, None, None]
    phi = np.array(0.7)

    def test_value(self):
        got = own.sph_harm_y(self.n, self.m, self.theta, self.phi)
        close(got, scipy.special.sph_harm_y(self.n, self.m, self.theta, self.phi), 1e-14)
        jitted = fst.jit(lambda n, x: own.sph_harm_y(n, self.m, x, self.phi, n_max=8))
        close(jitted(self.n, self.theta), np.asarray(got), 1e-14)
        batched = fst.vmap(lambda x: own.sph_harm_y(self.n, self.m, x, self.phi))
        close(batched(self.theta), np.asarray(got), 1e-14)

    def test_high_degree(self):
        n, m = np.array([150, 150, 90]), np.array([3, 149, -60])
        got = own.sph_harm_y(n, m, np.array(1.1), self.phi)
        close(got, scipy.special.sph_harm_y(n, m, 1.1, self.phi), 1e-12)

    def test_orthonormal(self):
        nodes, weights = np.polynomial.legendre.leggauss(12)
        phi = np.arange(20) * (2 * np.pi / 20)
        index = [(n, m) for n in range(5) for m in range(-n, n + 1)]
        n, m = (np.array(k)[:, None, None] for k in zip(*index, strict=True))
        y = np.asarray(own.sph_harm_y(n, m, np.arccos(nodes)[:, None], phi))
        products = np.einsum("aij,bij,i->ab", y, y.conj(), weights) * (2 * np.pi / 20)
        close(products, np.eye(len(index)), 1e-14)

    def test_derivatives_of_scipy(self):
        inside = self.theta[1:3]
        for diff_n in (0, 1, 2):
            got = own.sph_harm_y(self.n, self.m, inside, self.phi, diff_n)
            want = scipy.special.sph_harm_y(self.n, self.m, inside, self.phi, diff_n=diff_n)
            assert isinstance(got, tuple) == (diff_n > 0)
            got, want = (x if diff_n else [x] for x in (got, want))
            assert len(got) == len(want)
            for g, w in zip(got, want, strict=True):
                close(g, w, 1e-12)

    def test_slope_at_the_pole(self):
        part = lambda x: fnp.real(own.sph_harm_y(3, 1, x, np.array(0.3)))
        high, low = (float(part(np.array(h))) for h in (1e-5, -1e-5))
        slope = fst.grad(part)(np.array(0.0))
        np.testing.assert_allclose(slope, (high - low) / 2e-5, rtol=1e-9)

    def test_like_jax(self):
        n, m = np.array([2, 5]), np.array([1, -3])
        theta, phi = np.array([0.4, 1.2]), np.array([0.2, 2.0])
        for n_max in (5, 4):
            got = own.sph_harm_y(n, m, theta, phi, n_max=n_max)
            close(got, jss.sph_harm_y(n, m, theta, phi, n_max=n_max), 1e-6)

    def test_dtypes_and_errors(self):
        assert own.sph_harm_y(1, 0, np.float32(0.5), 0.1).dtype == np.complex64
        assert own.sph_harm_y(1, 0, np.float32(0.5), np.float64([0.1])).dtype == np.complex128
        with pytest.raises(DtypeError, match="n and m must be integers, got float32"):
            own.sph_harm_y(1.0, 0, 0.5, 0.1)
        with pytest.raises(ArgumentError, match="n_max must be given when n is traced"):
            fst.jit(lambda n: own.sph_harm_y(n, 0, 0.5, 0.1))(3)
        with pytest.raises(OptionError, match="diff_n must be None, 0, 1 or 2, got 3"):
            own.sph_harm_y(1, 0, 0.5, 0.1, 3)


def test_errors():
    with pytest.raises(DtypeError, match="erf: takes real numbers, got complex64"):
        own.erf(np.complex64(1j))
    with pytest.raises(ArgumentError, match="exact"):
        own.factorial(3, exact=True)


def test_integers_and_weak_types():
    assert own.erf(1).dtype == np.float32
    assert own.gammainc(2, np.float64([1.0])).dtype == np.float64
    assert own.gammainc(2, np.float16([1.0])).dtype == np.float16


@pytest.mark.parametrize("name", own.__all__)
def test_parameters_are_those_of_jax(name):
    theirs = list(inspect.signature(getattr(jss, name)).parameters)
    if name == "log_ndtr":
        theirs.remove("series_order")  # there is no series to be cut off
    assert list(inspect.signature(getattr(own, name)).parameters) == theirs
    assert getattr(own, name).__doc__
    assert importlib.import_module("fstensor.scipy").special is own


UFUNCS = [n for n in own.__all__ if isinstance(getattr(scipy.special, n), np.ufunc)]


@pytest.mark.parametrize("name", UFUNCS)
def test_scipys_ufuncs_on_arrays(name):
    ufunc = getattr(scipy.special, name)
    args = [fnp.asarray(0.5)] * ufunc.nin
    got = ufunc(*args)
    assert isinstance(got, fst.Array)
    close(got, np.asarray(getattr(own, name)(*args)), 1e-7)
    assert fst.make_jaxpr(ufunc)(*args).eqns

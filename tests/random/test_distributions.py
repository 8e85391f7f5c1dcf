"""The samplers with parameters: values and derivatives as of `jax.random`, edges, moments."""

import jax
import numpy as np
import pytest

from fstensor import random
from fstensor.config import config
from fstensor.errors import ArgumentError, DtypeError, OptionError, ShapeError
from fstensor.transforms.grad import grad
from fstensor.transforms.jit import jit
from fstensor.transforms.jvp import jvp
from fstensor.transforms.vmap import vmap
from tests.tolerances import assert_close

KEY = random.key(5)
NAN, INF = np.nan, np.inf
DTYPES = ["float32", "float64"]


def jax_key():
    return jax.random.key(5)


@pytest.fixture
def both(recorded):
    def draw(name, dtype, *args, **options):
        """The values of ours and of JAX's function, which has 64-bit dtypes for float64."""
        options["dtype"] = dtype
        args = [np.asarray(a, dtype) if isinstance(a, list) else a for a in args]

        @recorded
        def expected():
            with jax.enable_x64("64" in dtype):
                return np.asarray(getattr(jax.random, name)(jax_key(), *args, **options))

        return getattr(random, name)(KEY, *args, **options), expected

    return draw


def assert_each_close(got, expected, factor=1.0):
    """Each element relative to itself: values of these distributions have many magnitudes."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    rtol = {"float32": 1e-5, "float64": 1e-12}[expected.dtype.name] * factor
    tiny = np.finfo(expected.dtype).tiny  # JAX's compiler has no smaller ones
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=tiny)


# We compile for each shape and dtype, so that few cases hold many parameters.
EDGES = [0.0, INF, NAN]
CONTINUOUS = [
    ("gamma", [[0.3], [1.0], [40.0]], {"shape": (3, 100)}),
    ("gamma", 2.0, {}),
    ("gamma", 2.0, {"shape": (2, 0)}),
    ("gamma", [1e-3, -0.1, -2.0, 1e6, *EDGES], {"shape": (50, 7)}),
    ("loggamma", [0.3, 1.0, 40.0, 1e-3, -0.1, -2.0, 1e6, *EDGES], {"shape": (50, 10)}),
    ("chisquare", [0.5, 2.0, 30.0, *EDGES], {"shape": (50, 6)}),
    ("t", [0.5, 2.0, 30.0, *EDGES], {"shape": (50, 6)}),
    ("generalized_normal", 1.3, {"shape": (100,)}),
    ("maxwell", None, {"shape": (4, 10)}),
    ("maxwell", None, {}),
    ("pareto", [0.5, 2.0, 30.0, *EDGES], {"shape": (50, 6)}),
    ("pareto", 2.0, {}),
    ("rayleigh", [0.5, 2.0, 30.0, *EDGES], {"shape": (50, 6)}),
    ("lognormal", [0.5, 2.0, 5.0, *EDGES], {"shape": (50, 6)}),
    ("lognormal", None, {"shape": (9,)}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "parameter", "options"), CONTINUOUS, ids=str)
def test_of_one_parameter(both, name, parameter, options, dtype):
    args = [] if parameter is None else [parameter]
    # Logarithms near 0 and exponentials of large numbers: their slopes are large.
    factor = 20 if name in ("loggamma", "chisquare", "lognormal") else 2
    assert_each_close(*both(name, dtype, *args, **options), factor)


def test_many_gamma_variates(recorded):
    """Beyond the number of lanes from which those that wait are gathered."""
    got = np.asarray(random.gamma(KEY, 1.5, (9000,), "float32"))
    expected = recorded(lambda: jax.random.gamma(jax_key(), 1.5, (9000,), "float32")[::20])
    assert_each_close(got[::20], expected, 2)


OF_SEVERAL = [
    ("beta", ([0.5, 2.0, 3.0], 2.0), {"shape": (50, 3)}),
    ("beta", ([0.5, 2.0], [[1.0], [2.0]]), {}),
    ("beta", ([0.0, 1e-3, 1e4, NAN, 0.0, INF], [1.0, 1e-3, 1e-4, 1.0, 0.0, 1.0]), {}),
    ("f", ([[3.0, 5.0, *EDGES]], [[4.0, 1.0, 1.0, 1.0, 1.0]]), {"shape": (20, 5)}),
    ("double_sided_maxwell", ([1.0, 2.0], [[0.5], [3.0]]), {}),
    ("double_sided_maxwell", (1.0, 2.0), {"shape": (20,)}),
    ("weibull_min", ([1.0, 2.0], [[0.5], [3.0]]), {}),
    ("weibull_min", ([1.0, INF, NAN], [0.0, 1.0, 1.0]), {"shape": (20, 3)}),
    ("triangular", (-1.0, 0.5, [1.0, 2.0]), {"shape": (30, 2)}),
    ("triangular", ([1.0, 0.0, 0.0, NAN], [1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]), {}),
    ("ball", (3,), {"shape": (40,)}),
    ("ball", (2, 1.0), {"shape": (4, 10)}),
    ("ball", (0,), {"shape": (3,)}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "args", "options"), OF_SEVERAL, ids=str)
def test_of_several_parameters(both, name, args, options, dtype):
    assert_each_close(*both(name, dtype, *args, **options), 20)


@pytest.mark.parametrize("dtype", DTYPES)
def test_wald(both, dtype):
    got, expected = both("wald", dtype, [0.5, 2.0, 30.0], shape=(50, 3))
    # The smaller root is the difference of numbers near the mean times y.
    assert_close(got, expected, factor=20)
    assert_each_close(*both("wald", dtype, [0.0, -1.0, NAN, INF]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("alpha", "shape"),
    [
        ([0.3, 1.0, 5.0], (40,)),
        ([[0.3, 1.0, 5.0], [1e-3, 1e-3, 2e-3]], None),
        ([[0.3, 1.0, 5.0], [1.0, 1.0, 1.0]], (5, 2)),
        ([0.0, 1.0, 2.0], None),
        ([0.0, 0.0], None),
        ([1.0, NAN], None),
    ],
    ids=str,
)
def test_dirichlet(both, alpha, shape, dtype):
    got, expected = both("dirichlet", dtype, alpha, shape=shape)
    assert_each_close(got, expected, 20)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["cholesky", "eigh", "svd"])
def test_multivariate_normal(both, method, dtype):
    mean, cov = [1.0, 2.0], [[2.0, 0.5], [0.5, 1.0]]
    options = {"method": method}
    if method != "cholesky":
        # Eigenvectors have signs; the distribution is the same, for one vector of them at least.
        drawn = random.multivariate_normal(KEY, mean := np.array(mean), np.array(cov), (20000,))
        assert_close(np.cov(np.asarray(drawn).T), np.array(cov), factor=5e12)
        drawn = random.multivariate_normal(KEY, mean, np.array(cov), (20000,), method=method)
        assert_close(np.cov(np.asarray(drawn).T), np.array(cov), factor=5e12)
        return
    assert_close(*both("multivariate_normal", dtype, mean, cov, **options), factor=10)
    for shape, m, c in [((30,), mean, cov), ((3, 2), [mean, mean], cov), (None, mean, [cov, cov])]:
        got, expected = both("multivariate_normal", dtype, m, c, shape=shape, **options)
        assert_close(got, expected, factor=10)


def test_multivariate_normal_of_a_singular_matrix():
    cov = np.ones((2, 2))
    for method in ("eigh", "svd"):
        x = np.asarray(random.multivariate_normal(KEY, np.zeros(2), cov, (100,), method=method))
        np.testing.assert_allclose(x[:, 0], x[:, 1], atol=1e-6)
        assert 0.7 < x.std() < 1.3


def test_multivariate_normal_takes_the_dtype_of_its_parameters():
    assert random.multivariate_normal(KEY, np.zeros(2), np.eye(2)).dtype == np.float64
    whole = random.multivariate_normal(KEY, np.zeros(2, int), np.eye(2, dtype=np.int32))
    assert whole.dtype in (np.float32, np.float64)
    narrow = random.multivariate_normal(KEY, np.zeros(2), np.eye(2), dtype="float32")
    assert narrow.dtype == np.float32


@pytest.mark.parametrize("dtype", [*DTYPES, "complex64"])
@pytest.mark.parametrize(
    ("n", "m", "shape"), [(3, None, (4,)), (3, 5, ()), (5, 3, (2,)), (1, None, ()), (0, None, ())]
)
def test_orthogonal(both, n, m, shape, dtype):
    got, expected = both("orthogonal", dtype, n, shape=shape, m=m)
    assert_close(got, expected, factor=20)
    x = np.asarray(got)
    x = x if n >= (m or n) else x.mT
    product = x.conj().mT @ x
    np.testing.assert_allclose(
        product, np.broadcast_to(np.eye(x.shape[-1]), product.shape), atol=1e-5
    )


POISSON = [
    ([0.0, 0.5, 3.0, 9.9], (200, 4), "int32"),
    ([0.0, 0.5, 3.0, 12.0, 1e3], (200, 5), "int32"),
    ([0.0, 0.5, 3.0, 12.0, 1e3], (200, 5), "int64"),
    ([3.0, 12.0], (50, 2), "int16"),
    ([3.0, 12.0], (50, 2), "uint8"),
    ([-1.0, NAN, 0.0], None, "int32"),
    (4.0, None, "int32"),
    ([3.0], (0, 1), "int32"),
]


@pytest.mark.parametrize(("lam", "shape", "dtype"), POISSON, ids=str)
def test_poisson(both, lam, shape, dtype):
    got, expected = both("poisson", dtype, np.asarray(lam, np.float32), shape=shape)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_poisson_with_a_large_mean():
    """Whether a number is accepted hangs on rounding there, so the numbers need not be JAX's."""
    lam = np.float32([1e5, 1e6])
    x = np.asarray(random.poisson(KEY, lam, (2000, 2), "int64"))
    assert (np.abs(x.mean(0) - lam) < 5 * np.sqrt(lam / 2000)).all()
    np.testing.assert_allclose(x.std(0), np.sqrt(lam), rtol=0.08)


def test_many_poisson_and_binomial_variates():
    """Some need rejection, some do not; or none does."""
    for large in (1e4, 3.0):
        x = np.asarray(random.poisson(KEY, np.float32([large, 3]), (4000, 2)))
        np.testing.assert_allclose(x.mean(0), [large, 3], rtol=0.05)
        x = np.asarray(random.binomial(KEY, np.float32([large, 3]), np.float32(0.5), (4000, 2)))
        np.testing.assert_allclose(x.mean(0), [large / 2, 1.5], rtol=0.05)


def test_poisson_with_an_infinite_mean_ends():
    assert random.poisson(KEY, np.float32([INF, 3])).shape == (2,)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16"])
def test_geometric(both, dtype):
    for p, shape in [([0.1, 0.9, 0.5, 1.0], (200, 4)), (0.3, None)]:
        got, expected = both("geometric", dtype, np.asarray(p, np.float32), shape=shape)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


N = [100.0, 1000.0, 20.0, 0.0, 7.9, -1.0, NAN, INF, INF, 5.0, 5.0, 5.0, 5.0, 5.0]
P = [0.5, 0.0003, 0.8, 0.5, 0.5, 0.5, 0.5, 0.3, NAN, NAN, 0.0, 1.0, -0.1, 1.1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "p", "shape"),
    [
        ([10.0, 3.0, 1.0], [0.1, 0.9, 0.5], (200, 3)),
        ([100.0, 1000.0, 20.0], [0.5, 0.97, 0.8], (200, 3)),
        ([[5.0], [500.0]], [0.2, 0.7, 0.9], None),
        (N, P, (50, 14)),
    ],
    ids=["small", "large", "stretched", "edges"],
)
def test_binomial(both, n, p, shape, dtype):
    got, expected = both("binomial", dtype, n, p, shape=shape)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_binomial_of_infinitely_many_without_a_chance_ends():
    for p in (0.0, 1.0):
        assert np.asarray(random.binomial(KEY, np.float32(INF), np.float32(p))) == INF


@pytest.mark.parametrize("dtype", DTYPES)
def test_multinomial(both, dtype):
    given = [
        ([100.0, 7.0], [0.2, 0.3, 0.5], (2, 3)),
        (50.0, [0.0, 2.0, 0.0, 3.0], (4,)),
        (50.0, [[0.1, 0.9], [0.6, 0.4]], None),
        (50.0, [0.0, 0.0], None),
    ]
    for n, p, shape in given:
        got, expected = both("multinomial", dtype, np.asarray(n, dtype), p, shape=shape)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    counts = np.asarray(random.multinomial(KEY, 1000, np.array([0.2, 0.3, 0.5]), unroll=3))
    assert counts.sum() == 1000


def test_default_dtypes():
    assert random.gamma(KEY, 2.0).dtype == np.float32
    assert random.poisson(KEY, 2.0).dtype == np.int32
    assert random.binomial(KEY, 9.0, 0.5).dtype == np.float32
    assert random.multinomial(KEY, 9.0, np.float32([0.5, 0.5])).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_floats(dtype):
    x = np.asarray(random.gamma(KEY, 3.0, (2000,), dtype)).astype(float)
    assert abs(x.mean() - 3) < 0.2
    x = np.asarray(random.t(KEY, 9.0, (2000,), dtype)).astype(float)
    assert abs(x.mean()) < 0.2


MOMENTS = [
    (lambda k, s: random.gamma(k, 0.4, s), 0.4, 0.4),
    (lambda k, s: random.gamma(k, 7.0, s), 7, 7),
    (lambda k, s: random.beta(k, 2.0, 3.0, s), 0.4, 0.04),
    (lambda k, s: random.chisquare(k, 3.0, s), 3, 6),
    (lambda k, s: random.t(k, 12.0, s), 0, 1.2),
    (lambda k, s: random.poisson(k, 4.0, s), 4, 4),
    (lambda k, s: random.poisson(k, 40.0, s), 40, 40),
    (lambda k, s: random.binomial(k, 12.0, 0.3, s), 3.6, 2.52),
    (lambda k, s: random.binomial(k, 100.0, 0.7, s), 70, 21),
    (lambda k, s: random.geometric(k, 0.25, s), 4, 12),
    (lambda k, s: random.wald(k, 0.7, s), 0.7, 0.343),
    (lambda k, s: random.triangular(k, 0.0, 1.0, 2.0, s), 1, 1 / 6),
    (lambda k, s: random.rayleigh(k, 2.0, s), 2 * np.sqrt(np.pi / 2), 4 * (2 - np.pi / 2)),
    (lambda k, s: random.maxwell(k, s), 2 * np.sqrt(2 / np.pi), 3 - 8 / np.pi),
    (lambda k, s: random.generalized_normal(k, 2.0, s), 0, 0.5),
    (lambda k, s: random.weibull_min(k, 3.0, 1.0, s), 3, 9),
    (lambda k, s: random.pareto(k, 6.0, s), 1.2, 0.06),
    (lambda k, s: random.lognormal(k, 0.3, s), np.exp(0.045), np.exp(0.09) * np.expm1(0.09)),
]


@pytest.mark.parametrize(("draw", "mean", "variance"), MOMENTS)
def test_moments(draw, mean, variance):
    n = 20000
    x = np.asarray(jit(lambda k: draw(k, (n,)))(random.key(1))).astype(float)
    assert abs(x.mean() - mean) < 5 * np.sqrt(variance / n)
    assert abs(x.var() / variance - 1) < 0.15


# Functions of a key and one number, with the derivatives of JAX.
DIFFERENTIABLE = {
    "gamma": lambda r, k, x: r.gamma(k, x, (20,)),
    "gamma of a stretched number": lambda r, k, x: r.gamma(k, x[None] * np.float32([1, 9]), (4, 2)),
    "loggamma": lambda r, k, x: r.loggamma(k, x, (20,)),
    "beta": lambda r, k, x: r.beta(k, x, 1 + x, (20,)),
    "dirichlet": lambda r, k, x: r.dirichlet(k, x * np.float32([1, 2, 3]), (5,))[:, 0],
    "chisquare": lambda r, k, x: r.chisquare(k, x, (20,)),
    "f": lambda r, k, x: r.f(k, x, 9 + x, (20,)),
    "t": lambda r, k, x: r.t(k, 9 * x, (20,)),
    "pareto": lambda r, k, x: r.pareto(k, 9 + x, (20,)),
    "rayleigh": lambda r, k, x: r.rayleigh(k, x, (20,)),
    "wald": lambda r, k, x: r.wald(k, x, (20,)),
    "triangular": lambda r, k, x: r.triangular(k, x - 1, x, x * x + 1, (20,)),
    "lognormal": lambda r, k, x: r.lognormal(k, x, (20,)),
    "weibull_min": lambda r, k, x: r.weibull_min(k, x, 1 + x, (20,)),
    "double_sided_maxwell": lambda r, k, x: r.double_sided_maxwell(k, x, 1 + x, (20,)),
    "multivariate_normal": lambda r, k, x: r.multivariate_normal(
        k, x * np.float32([1, 2]), x * np.float32([[2, 1], [1, 3]]), (20,)
    ),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_grad_and_jvp(name, recorded):
    draw = DIFFERENTIABLE[name]
    x = np.float32(0.7)
    weights = np.cos(np.arange(40, dtype=np.float32))

    def total(r, k):
        def f(x):
            out = draw(r, k, x)
            return (out.reshape(-1) * weights[: out.size]).sum()

        return f

    ours = total(random, KEY)
    expected = recorded(lambda: jax.grad(total(jax.random, jax_key()))(x))
    for derivative in (grad(ours), jit(grad(ours)), grad(jit(ours))):
        np.testing.assert_allclose(derivative(x), expected, rtol=2e-4)
    _, forward = jvp(ours, (x,), (np.float32(1),))
    np.testing.assert_allclose(forward, expected, rtol=2e-4)


def test_gradient_of_gamma_in_float64(recorded):
    a = np.array([0.05, 0.7, 3.0, 80.0])

    def f(r, k):
        return lambda a: r.gamma(k, a, (9, 4), "float64").sum()

    @recorded
    def expected():
        with jax.enable_x64(True):
            return np.asarray(jax.grad(f(jax.random, jax_key()))(a))

    # JAX's derivative is by power series and continued fractions with fewer digits.
    np.testing.assert_allclose(grad(f(random, KEY))(a), expected, rtol=1e-9)


def test_gradient_of_loggamma_near_zero(recorded):
    def f(r, k):
        return lambda a: r.loggamma(k, a, (9, 2)).sum()

    a = np.float32([1e-3, 0.02])
    expected = recorded(lambda: jax.grad(f(jax.random, jax_key()))(a))
    np.testing.assert_allclose(grad(f(random, KEY))(a), expected, rtol=1e-4)


def test_counts_have_no_slope():
    x = np.float32(0.3)
    assert grad(lambda p: random.binomial(KEY, np.float32(20), p, (5,)).sum())(x) == 0
    assert grad(lambda n: random.binomial(KEY, 20 + n, x, (5,)).sum())(x) == 0
    _, t = jvp(lambda p: random.binomial(KEY, np.float32(20), p), (x,), (x,))
    assert t == 0


BATCHED = {
    "gamma": lambda r, k, x: r.gamma(k, x, (2,)),
    "loggamma": lambda r, k, x: r.loggamma(k, x),
    "beta": lambda r, k, x: r.beta(k, x, 2.0, (3,)),
    "dirichlet": lambda r, k, x: r.dirichlet(k, x * np.float32([1, 2])),
    "poisson": lambda r, k, x: r.poisson(k, 8 * x, (3,)),
    "binomial": lambda r, k, x: r.binomial(k, np.float32(40), x / 4, (3,)),
    "multinomial": lambda r, k, x: r.multinomial(k, 9.0, x * np.float32([0.2, 0.3])),
    "geometric": lambda r, k, x: r.geometric(k, x / 4, (3,)),
    "t": lambda r, k, x: r.t(k, x),
    "wald": lambda r, k, x: r.wald(k, x, (3,)),
    "orthogonal": lambda r, k, x: r.orthogonal(k, 3) * x,
    "ball": lambda r, k, x: r.ball(k, 3) * x,
}


@pytest.mark.parametrize("name", BATCHED)
def test_vmap_and_jit(name, recorded):
    draw = BATCHED[name]
    x = np.float32([0.4, 1.3, 2.9])
    ours = random.split(random.key(0), 3)

    def theirs():
        return jax.random.split(jax.random.key(0), 3)

    expected = recorded(lambda: jax.vmap(lambda k, x: draw(jax.random, k, x))(theirs(), x))

    def f(k, x):
        return draw(random, k, x)

    for mapped in (vmap(f), jit(vmap(f)), vmap(jit(f))):
        assert_close(mapped(ours, x), expected, factor=20)
    one_key = recorded(lambda: jax.vmap(lambda x: draw(jax.random, theirs()[0], x))(x))
    assert_close(vmap(lambda x: f(ours[0], x))(x), one_key, factor=20)


def test_vmap_of_many_lanes():
    """Beyond the number of lanes from which those that wait are gathered."""
    keys, a = random.split(random.key(0), 2), np.float32([0.5, 2])
    got = vmap(lambda k, a: random.gamma(k, a, (5000,)))(keys, a)
    for k, x, row in zip(keys, a, got, strict=True):
        assert_close(row, random.gamma(k, x, (5000,)))


def test_vmap_grad(recorded):
    a = np.float32([0.4, 1.3, 2.9])
    got = vmap(grad(lambda a, k: random.gamma(k, a, (4,)).sum()))(a, random.split(KEY, 3))

    @recorded
    def expected():
        gradient = jax.grad(lambda a, k: jax.random.gamma(k, a, (4,)).sum())
        return jax.vmap(gradient)(a, jax.random.split(jax_key(), 3))

    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_python_numbers_keep_their_precision(both, recorded):
    @recorded
    def expected():
        with jax.enable_x64(True):
            return np.asarray(jax.random.uniform(jax_key(), (9,), "float64", -0.1, 0.7))

    assert_close(random.uniform(KEY, (9,), "float64", -0.1, 0.7), expected)
    assert_close(*both("truncated_normal", "float64", -0.1, 0.7, shape=(9,)), factor=10)
    assert_close(*both("gamma", "float64", 0.3, shape=(9,)), factor=10)


def test_under_64_bit_defaults(recorded):
    """Signs are drawn as JAX does then, also for narrow floats."""

    def theirs(*dtype):
        with jax.enable_x64(True):
            return np.asarray(jax.random.generalized_normal(jax_key(), 2.0, (20,), *dtype))

    expected, wide = recorded(lambda: theirs("float32")), recorded(theirs)
    with config.override(default_dtype_bits=64):
        assert_close(random.generalized_normal(KEY, 2.0, (20,), "float32"), expected, factor=5)
        assert_close(random.generalized_normal(KEY, 2.0, (20,)), wide, factor=5)


ERRORS = [
    (lambda: random.gamma(KEY, 1.0, dtype="int32"), DtypeError, "gamma: dtype must be a float"),
    (lambda: random.gamma(KEY, np.ones(3), (2,)), ShapeError, "gamma: a parameter of float32[3]"),
    (lambda: random.loggamma(KEY, np.ones(3), (2,)), ShapeError, "loggamma: a parameter of"),
    (lambda: random.gamma(random.split(KEY), 1.0), ShapeError, "gamma: takes a single key"),
    (lambda: random.gamma(3.0, 1.0), DtypeError, "gamma: takes random keys"),
    (
        lambda: random.beta(KEY, np.ones(2), np.ones(3)),
        ShapeError,
        "beta: the parameters must stretch to one shape, got (2,) and (3,)",
    ),
    (lambda: random.dirichlet(KEY, 1.0), ShapeError, "dirichlet: alpha must have an axis or more"),
    (
        lambda: random.dirichlet(KEY, np.ones((3, 2)), (4,)),
        ShapeError,
        "dirichlet: a parameter of float32[3,2] does not stretch to shape (4, 2)",
    ),
    (
        lambda: random.poisson(KEY, 1.0, dtype="float32"),
        DtypeError,
        "poisson: dtype must be an int",
    ),
    (lambda: random.geometric(KEY, 0.5, dtype="bool"), DtypeError, "geometric: dtype must be an"),
    (lambda: random.binomial(KEY, 3.0, 0.5, dtype=int), DtypeError, "binomial: dtype must be a fl"),
    (lambda: random.multinomial(KEY, 3.0, 0.5), ShapeError, "multinomial: p must have an axis"),
    (
        lambda: random.multinomial(KEY, np.ones(2), np.ones((3, 2))),
        ShapeError,
        "multinomial: a parameter of float64[2] does not stretch to shape (3,)",
    ),
    (
        lambda: random.multivariate_normal(KEY, np.zeros(2), np.eye(3)),
        ShapeError,
        "multivariate_normal: mean must be (..., n) and cov (..., n, n), got float64[2] and",
    ),
    (
        lambda: random.multivariate_normal(KEY, np.zeros((4, 2)), np.eye(2), (3,)),
        ShapeError,
        "multivariate_normal: the axes in front must stretch to shape (3,), got (4,) and ()",
    ),
    (
        lambda: random.multivariate_normal(KEY, np.zeros(2), np.eye(2), method="qr"),
        OptionError,
        "multivariate_normal: method must be cholesky, eigh or svd, got 'qr'",
    ),
    (
        lambda: random.multivariate_normal(KEY, np.zeros(2), np.eye(2), dtype=int),
        DtypeError,
        "multivariate_normal: dtype must be a float dtype",
    ),
    (
        lambda: random.orthogonal(KEY, 2.5),
        ArgumentError,
        "orthogonal: n and m must be integers, got float and NoneType",
    ),
    (lambda: random.orthogonal(KEY, 2, dtype=int), DtypeError, "orthogonal: dtype must be a float"),
    (lambda: random.orthogonal(KEY, -2), ShapeError, "orthogonal: "),
    (lambda: random.ball(KEY, 2.5), ArgumentError, "ball: d must be an integer, got float"),
    (
        lambda: random.lognormal(KEY, dtype=int),
        DtypeError,
        "lognormal: dtype must be a float or co",
    ),
    (lambda: random.weibull_min(KEY, np.ones(2), 1.0, (3,)), ShapeError, "weibull_min: the param"),
    (lambda: random.pareto(KEY, np.ones(2), (3,)), ShapeError, "pareto: a parameter of float32[2]"),
]


@pytest.mark.parametrize(("call", "error", "text"), ERRORS)
def test_errors(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(text), str(caught.value)

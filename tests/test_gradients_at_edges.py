"""Gradients where naive rules give NaN or infinity, though mathematics gives a number.

Each is compared with the value from mathematics, and with JAX's where that is right. Where ours is
meant to differ from JAX's, the test says so.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax
from fstensor.scipy import special

INF = np.inf


def gradient(function, *xs):
    """The gradient of the sum of results, in each argument, in float32."""
    xs = [np.asarray(x, np.float32) for x in xs]
    places = tuple(range(len(xs)))
    return fst.grad(lambda *a: fnp.sum(function(*a)), argnums=places)(*xs)


def jax_gradient(function, *xs):
    xs = [jnp.asarray(x, jnp.float32) for x in xs]
    return jax.grad(lambda *a: jnp.sum(function(*a)), argnums=tuple(range(len(xs))))(*xs)


def check(name, xs, expected, like_jax=True):
    """`name` is a function of fstensor.numpy, or a pair of functions: ours and JAX's."""
    ours, theirs = name if isinstance(name, tuple) else (getattr(fnp, name), getattr(jnp, name))
    expected = [np.asarray(e, np.float32) for e in expected]
    for got, want in zip(gradient(ours, *xs), expected, strict=True):
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-6, atol=1e-30)
    if like_jax:
        for got, want in zip(jax_gradient(theirs, *xs), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-30)


class TestPower:
    @pytest.mark.parametrize(("exponent", "slope"), [(0, 0), (1, 1), (2, 0), (3, 0)])
    def test_static_exponent_at_zero(self, exponent, slope):
        check((lambda x: x**exponent, lambda x: x**exponent), [0.0], [slope])

    @pytest.mark.parametrize(("exponent", "slope"), [(1.0, 1), (2.0, 0), (1.5, 0)])
    def test_float_exponent_at_zero(self, exponent, slope):
        check((lambda x: x**exponent, lambda x: x**exponent), [0.0], [slope])

    def test_zero_as_a_float_exponent(self):
        # x^0 is 1 everywhere. In JAX NaN, from 0 times the infinite 0^-1.
        check((lambda x: x**0.0, None), [[0.0, 2.0]], [[0, 0]], like_jax=False)

    def test_second_derivative_of_square_at_zero(self):
        assert float(fst.grad(fst.grad(lambda x: x**2))(0.0)) == 2.0
        assert float(fst.grad(fst.grad(lambda x: x**2.0))(0.0)) == 2.0

    def test_exponent_with_zero_base(self):
        # d/dy 0^y = 0^y log 0, which is 0 for y > 0.
        check("power", [0.0, 2.0], [0.0, 0.0])

    def test_array_of_exponents_at_zero(self):
        x, y = np.zeros(4), np.array([1.0, 2.0, 3.0, 0.5])
        check("power", [x, y], [[1, 0, 0, INF], np.zeros(4)])  # the slope of sqrt is infinite

    def test_negative_base_with_integer_exponent(self):
        check((lambda x: x**3, lambda x: x**3), [-2.0], [12.0])
        check((lambda x: x**-1, lambda x: x**-1), [-2.0], [-0.25])


class TestRoots:
    def test_sqrt_at_zero_is_infinite(self):
        check("sqrt", [0.0], [INF])

    def test_sqrt_under_where_is_nan_as_documented(self):
        naive = gradient(lambda x: fnp.where(x > 0, fnp.sqrt(x), 0.0), 0.0)[0]
        theirs = jax_gradient(lambda x: jnp.where(x > 0, jnp.sqrt(x), 0.0), 0.0)[0]
        assert np.isnan(float(naive))
        assert np.isnan(float(theirs))

    def test_double_where(self):
        def guarded(x):
            positive = x > 0
            return fnp.where(positive, fnp.sqrt(fnp.where(positive, x, 1.0)), 0.0)

        (got,) = gradient(guarded, [-1.0, 0.0, 4.0])
        assert np.asarray(got).tolist() == [0, 0, 0.25]

    def test_norm_at_zero_is_nan_as_documented(self):
        # sqrt(sum(x^2)): an infinite slope times 0, as in JAX. The guarded norm has a subgradient.
        norms = (lambda x: fnp.sqrt(fnp.sum(x**2)), lambda x: jnp.sqrt(jnp.sum(x**2)))
        check(norms, [[0.0, 0.0]], [[np.nan, np.nan]])

        def guarded(x):
            square = fnp.sum(x**2)
            some = square > 0
            return fnp.where(some, fnp.sqrt(fnp.where(some, square, 1.0)), 0.0)

        assert np.asarray(gradient(guarded, [0.0, 0.0])[0]).tolist() == [0, 0]
        np.testing.assert_allclose(np.asarray(gradient(guarded, [3.0, 4.0])[0]), [0.6, 0.8])

    def test_std_of_equal_elements_is_nan_as_documented(self):
        check("std", [[2.0, 2.0]], [[np.nan, np.nan]])

    def test_hypot_on_the_axes(self):
        check("hypot", [[3.0, 0.0, -3.0], [0.0, -2.0, 0.0]], [[1, 0, -1], [0, -1, 0]])

    def test_hypot_at_a_tie(self):
        half = np.sqrt(0.5)
        check("hypot", [[2.0, -2.0], [2.0, 2.0]], [[half, -half], [half, half]])

    def test_hypot_at_the_origin_is_finite(self):
        check("hypot", [0.0, 0.0], [0.5, 0.5])

    def test_abs_of_complex_zero(self):
        slope = fst.grad(lambda z: fnp.abs(z))(np.complex64(0))
        assert complex(slope) == 0

    def test_cbrt_away_from_zero(self):
        check("cbrt", [[-8.0, 8.0]], [[1 / 12, 1 / 12]])


class TestExponentials:
    def test_logsumexp_with_minus_infinity(self):
        functions = (special.logsumexp, jax.scipy.special.logsumexp)
        check(functions, [[-INF, 0.0, 0.0]], [[0, 0.5, 0.5]])

    def test_logsumexp_of_large_numbers(self):
        functions = (special.logsumexp, jax.scipy.special.logsumexp)
        check(functions, [[1000.0, 1000.0, -1000.0]], [[0.5, 0.5, 0]])

    def test_softplus_far_out(self):
        functions = (lambda x: fnp.logaddexp(x, 0.0), lambda x: jnp.logaddexp(x, 0.0))
        check(functions, [[-100.0, 100.0]], [[3.783506e-44, 1]])
        plain = (lambda x: fnp.log1p(fnp.exp(x)), lambda x: jnp.log1p(jnp.exp(x)))
        check(plain, [[-80.0, 20.0]], [[np.exp(-80.0), 1]])

    def test_softplus_at_zero(self):
        # Not by max and |x - y|, whose slopes at a tie would give 0 or 1.
        functions = (lambda x: fnp.logaddexp(x, 0.0), lambda x: jnp.logaddexp(x, 0.0))
        check(functions, [0.0], [0.5])

    @pytest.mark.parametrize("name", ["logaddexp", "logaddexp2"])
    def test_logaddexp_at_a_tie(self, name):
        check(name, [[1.0, -3.0], [1.0, -3.0]], [[0.5, 0.5], [0.5, 0.5]])

    def test_logaddexp_with_one_infinity(self):
        check("logaddexp", [[-INF, 2.0], [2.0, -INF]], [[0, 1], [1, 0]])

    def test_logaddexp_of_two_infinities(self):
        # Shared evenly, as at every tie. In JAX NaN below, and 1 for each above.
        check(
            "logaddexp",
            [[-INF, INF], [-INF, INF]],
            [[0.5, 0.5], [0.5, 0.5]],
            like_jax=False,
        )

    def test_xlogy_at_zero(self):
        functions = (special.xlogy, jax.scipy.special.xlogy)
        check(functions, [0.0, 2.0], [np.log(2.0), 0.0])
        check((lambda y: special.xlogy(0.0, y), lambda y: y * 0), [0.0], [0.0])

    def test_sigmoid_and_tanh_far_out(self):
        check("tanh", [[-100.0, 100.0]], [[0, 0]])
        check((special.expit, jax.scipy.special.expit), [[-200.0, 200.0]], [[0, 0]])


class TestAngles:
    def test_sinc_at_zero(self):
        check("sinc", [0.0], [0.0])
        curvature = fst.grad(fst.grad(fnp.sinc))
        np.testing.assert_allclose(float(curvature(0.0)), -(np.pi**2) / 3, rtol=1e-6)

    @pytest.mark.parametrize("x", [1e-7, -1e-5, 1e-3])
    def test_sinc_near_zero(self, x):
        # -pi^2 x / 3. JAX takes the difference of cos(a) / x and sin(a) / (a x): off by 1e-7 / x.
        check("sinc", [x], [-(np.pi**2) * x / 3], like_jax=False)

    def test_sinc_at_whole_numbers(self):
        check("sinc", [[1.0, -2.0]], [[-1, -0.5]])

    def test_arctan2_on_the_axes(self):
        y, x = [0.0, 0.0, 2.0, -2.0], [1.0, -2.0, 0.0, 0.0]
        check("arctan2", [y, x], [[1, -0.5, 0, 0], [0, 0, -0.5, 0.5]])

    def test_angle_on_the_axes(self):
        for z, slope in ((1j, -1), (-1j, 1), (2 + 0j, 0), (-2 + 0j, 0)):
            turned = fst.grad(lambda x, z=z: fnp.angle(x + z))(np.float32(0))
            np.testing.assert_allclose(float(turned), slope, atol=1e-7)


class TestProducts:
    @pytest.mark.parametrize(
        ("x", "expected"),
        [
            ([0.0, 2.0, 3.0], [6, 0, 0]),
            ([0.0, 0.0, 3.0], [0, 0, 0]),
            ([2.0, 3.0, 4.0], [12, 8, 6]),
            ([0.0], [1]),
        ],
    )
    def test_prod_with_zeros(self, x, expected):
        check("prod", [x], [expected])

    def test_second_derivative_of_prod_with_zeros(self):
        x = np.float32([0.0, 0.0, 3.0])
        rows = [fst.jvp(fst.grad(fnp.prod), (x,), (row,))[1] for row in np.eye(3, dtype=x.dtype)]
        assert np.asarray(rows[0]).tolist() == [0, 3, 0]
        assert np.asarray(rows[1]).tolist() == [3, 0, 0]
        assert np.asarray(rows[2]).tolist() == [0, 0, 0]

    def test_cumprod_with_zeros(self):
        # Of x, x y, x y z: the slopes are 1 + y + y z, x + x z, x y.
        check("cumprod", [[0.0, 2.0, 3.0]], [[9, 0, 0]])
        check("cumprod", [[2.0, 0.0, 3.0]], [[1, 8, 0]])
        check("cumprod", [[0.0, 0.0, 3.0]], [[1, 0, 0]])

    def test_prod_with_infinity(self):
        check("prod", [[2.0, INF]], [[INF, 2]])


class TestTies:
    def test_max_shares_evenly(self):
        check("max", [[1.0, 3.0, 3.0]], [[0, 0.5, 0.5]])
        check("min", [[1.0, 1.0, 1.0, 1.0]], [[0.25] * 4])

    def test_maximum_and_minimum(self):
        check("maximum", [1.0, 1.0], [0.5, 0.5])
        check("minimum", [1.0, 1.0], [0.5, 0.5])

    def test_clip_at_its_bounds(self):
        bounds = (lambda x: fnp.clip(x, -1.0, 1.0), lambda x: jnp.clip(x, -1.0, 1.0))
        check(bounds, [[-2.0, -1.0, 0.0, 1.0, 2.0]], [[0, 0.5, 1, 0.5, 0]])

    def test_abs_at_zero(self):
        check("abs", [0.0], [1.0])

    def test_sort_keeps_the_order_of_equal_elements(self):
        weights = np.float32([1, 2, 4, 8])
        functions = (lambda x: fnp.sort(x) * weights, lambda x: jnp.sort(x) * weights)
        check(functions, [[3.0, 1.0, 3.0, 1.0]], [[4, 1, 8, 2]])

    def test_median_with_ties(self):
        check("median", [[1.0, 2.0, 2.0, 5.0]], [[0, 0.5, 0.5, 0]])

    def test_cummax_with_ties(self):
        functions = (lambda x: lax.cummax(x, 0), lambda x: jax.lax.cummax(x, 0))
        check(functions, [[1.0, 1.0, 2.0]], [[1.5, 0.5, 1]])


class TestInfinities:
    def test_where_leaves_infinite_operands_out(self):
        # The slope of what is not chosen is 0, where its own slope is finite.
        functions = (
            lambda x: fnp.where(fnp.isfinite(x), x, 0.0),
            lambda x: jnp.where(jnp.isfinite(x), x, 0.0),
        )
        check(functions, [[INF, -INF, np.nan, 2.0]], [[0, 0, 0, 1]])

    def test_nansum_and_nanmean(self):
        check("nansum", [[np.nan, 2.0]], [[0, 1]])
        check("nanmean", [[np.nan, 2.0, 4.0]], [[0, 0.5, 0.5]])

    def test_log_and_reciprocal_at_zero_are_infinite(self):
        check("log", [0.0], [INF])
        check("reciprocal", [0.0], [-INF])
        check("log1p", [-1.0], [INF])

    def test_softmax_with_minus_infinity(self):
        def softmax_first(np_):
            def first(x):
                e = np_.exp(x - np_.max(x))
                return (e / np_.sum(e))[1]

            return first

        check((softmax_first(fnp), softmax_first(jnp)), [[-INF, 0.0, 0.0]], [[0, 0.25, -0.25]])

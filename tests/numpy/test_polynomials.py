import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values

P = {n: values((n,), "float64", seed=n) for n in range(1, 6)}


@pytest.mark.parametrize("name", ["polyadd", "polysub", "polymul"])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 5), (4, 2), (1, 4)])
def test_arithmetic(name, m, n):
    for dtype in ("float64", "int32", "complex64"):
        x, y = P[m].astype(dtype), P[n].astype(dtype) + 1
        if x[0] and y[0]:
            check(getattr(fnp, name)(x, y), getattr(np, name)(x, y), dtype)
    assert fnp.polyadd(2.0, P[3]).shape == (3,)


def test_product_of_trimmed_polynomials():
    x, y = np.array([0.0, 0, 1, 2]), np.array([0.0, 3])
    check(fnp.polymul(x, y, trim_leading_zeros=True), np.polymul(x, y))
    check(fnp.polymul(x, y), np.array([0, 0, 0, 3, 6.0]))
    check(fnp.polymul(np.zeros(2), y, trim_leading_zeros=True), np.polymul(np.zeros(2), y))
    with pytest.raises(errors.ConcretizationTypeError, match="polymul"):
        fst.jit(lambda x: fnp.polymul(x, x, trim_leading_zeros=True))(x)


@pytest.mark.parametrize(("m", "n"), [(5, 3), (3, 3), (4, 1), (2, 4), (5, 2)])
def test_division(m, n):
    divisor = values((n,), "float64", seed=20)
    quotient, rest = fnp.polydiv(P[m], divisor)
    expected = np.polydiv(P[m], divisor)
    # Rounding is relative to the coefficients that cancel.
    np.testing.assert_allclose(quotient, expected[0], rtol=1e-12)
    np.testing.assert_allclose(rest, expected[1], rtol=0, atol=1e-12)
    back = fnp.polyadd(fnp.polymul(quotient, divisor), rest)
    np.testing.assert_allclose(back[-m:], P[m], rtol=0, atol=1e-12)
    assert fst.jit(fnp.polydiv)(P[m], divisor)[1].shape == rest.shape


def test_division_without_rest():
    product = np.polymul([1.0, 2], [1.0, 3, 5])
    check(fnp.polydiv(product, np.array([1.0, 2])), [np.array([1.0, 3, 5]), np.zeros(1)])
    trimmed = fnp.polydiv(np.array([1.0, 2, 3, 4]), np.ones(3), trim_leading_zeros=True)
    check(trimmed, list(np.polydiv([1.0, 2, 3, 4], np.ones(3))))


def test_values():
    for n, p in P.items():
        for x in (values((2, 3), "float64"), 1.5, np.arange(3)):
            check(fnp.polyval(p, x), np.polyval(p, x), factor=20)
        check(fnp.polyval(p.astype("int32"), 3), np.polyval(p.astype("int32"), 3), "int32")
        assert n == p.size
    check(fnp.polyval(P[3].astype("complex64"), np.float32(2)), np.polyval(P[3], 2), "complex64")
    many = values((3, 4), "float64")
    check(fnp.polyval(many, 2.0), np.polyval(many, 2.0), factor=20)
    slope = fst.grad(lambda x: fnp.polyval(P[4], x))(1.5)
    check(slope, np.polyval(np.polyder(P[4]), 1.5), "float32")


@pytest.mark.parametrize("m", [0, 1, 2, 6])
def test_derivatives_and_integrals(m):
    for p in P.values():
        check(fnp.polyder(p, m), np.polyder(p, m), factor=20)
        check(fnp.polyint(p, m), np.polyint(p, m), factor=20)
        ints = p.astype("int32")
        check(fnp.polyder(ints, m), np.polyder(ints, m), "int32")
        check(fnp.polyint(ints, m), np.polyint(ints, m), "float32")
        if m:
            constants = values((m,), "float64")
            check(fnp.polyint(p, m, constants), np.polyint(p, m, constants), factor=20)
            check(fnp.polyint(p, m, 2.0), np.polyint(p, m, 2.0), factor=20)


def test_zeros():
    for dtype in ("float64", "int32", "complex128"):
        zeros = values((4,), dtype)
        got = fnp.poly(zeros)
        check(got, np.poly(zeros).astype(got.dtype), factor=20)
    check(fnp.poly(np.zeros(0)), np.ones(1))
    expected = jax.jacobian(jnp.poly)(P[4].astype("float32"))
    check(fst.jacobian(fnp.poly)(P[4].astype("float32")), expected, factor=20)


@pytest.mark.parametrize("increasing", [False, True])
def test_powers(increasing):
    for dtype in ("float32", "int32", "complex64", "int8"):
        x = values((3,), dtype)
        for n in (None, 0, 1, 5):
            got = fnp.vander(x, n, increasing)
            check(got, np.vander(x, n, increasing), "int32" if dtype == "int8" else dtype)
    slopes = fst.jacobian(lambda x: fnp.vander(x, 4, increasing))(np.array([0.0, 2.0]))
    powers = np.array([[0, 1, 0, 0], [0, 1, 4, 12.0]])
    own = np.stack([slopes[0, :, 0], slopes[1, :, 1]])
    check(fnp.asarray(own), powers if increasing else powers[:, ::-1])


def test_mistakes():
    with pytest.raises(errors.ShapeError, match="vector of coefficients"):
        fnp.polyadd(np.ones((2, 2)), 1.0)
    with pytest.raises(errors.OptionError, match="m must not be negative"):
        fnp.polyder(P[2], -1)
    with pytest.raises(errors.ShapeError, match="needs 2 constants"):
        fnp.polyint(P[2], 2, np.ones(3))
    with pytest.raises(errors.ShapeError, match="vander: takes a vector"):
        fnp.vander(np.ones((2, 2)))
    with pytest.raises(errors.OptionError, match="N must not be negative"):
        fnp.vander(np.ones(2), -1)
    with pytest.raises(errors.ShapeError, match="divisor must have"):
        fnp.polydiv(P[2], np.ones(0))


class TestRoots:
    @pytest.mark.parametrize(
        "p",
        [[1, -6, 11, -6], [0, 0, 2, 1, 3], [1, 2, 0, 0], [1, 0, -1], [5], [0, 0, 7], [3, 1]],
    )
    @pytest.mark.parametrize("dtype", ["float64", "complex64", "int32"])
    def test_values(self, p, dtype):
        p = np.array(p).astype(dtype)
        expected = np.sort_complex(np.roots(p))
        got = np.asarray(fnp.roots(p))
        np.testing.assert_allclose(np.sort_complex(got), expected, rtol=0, atol=1e-5)
        assert got.dtype == np.result_type(fnp.asarray(p).dtype if dtype != "int32" else "f4", "c8")
        for f in (fnp.roots, fst.jit(fnp.roots, static_argnames="strip_zeros")):
            whole = np.asarray(f(p, strip_zeros=False))
            assert whole.shape == (max(p.size - 1, 0),)
            found = whole[: expected.size]
            np.testing.assert_allclose(np.sort_complex(found), expected, rtol=0, atol=1e-5)
            assert np.isnan(whole[expected.size :]).all()

    def test_without_roots(self):
        for p in (np.zeros(0), np.zeros(1), np.zeros(3), np.ones(1)):
            assert fnp.roots(p).shape == (0,)
        assert np.isnan(np.asarray(fnp.roots(np.zeros(3), strip_zeros=False))).all()

    def test_vmap(self):
        many = np.array([[1.0, -3, 2], [0, 1, -5], [0, 0, 1]])
        got = fst.vmap(lambda p: fnp.roots(p, strip_zeros=False))(many)
        expected = np.array([[2, 1], [5, np.nan], [np.nan, np.nan]])
        np.testing.assert_allclose(np.asarray(got).real, expected, rtol=1e-14)

    def test_derivative(self):
        """Of a zero z, dz/dp[k] = -z^(n-1-k) / p'(z)."""
        p = np.array([1.0, -6, 11, -6])
        z = np.asarray(fnp.roots(p)).real
        expected = -(z[:, None] ** np.arange(3, -1, -1)) / np.polyval(np.polyder(p), z)[:, None]
        for options in ({}, {"strip_zeros": False}):
            slope = fst.jacrev(lambda p, o=options: fnp.roots(p, **o).real)(p)
            np.testing.assert_allclose(slope, expected, rtol=1e-10)
        at_zero = fst.grad(lambda p: fnp.roots(p).real.sum())(np.array([2.0, 4, 0]))
        np.testing.assert_allclose(at_zero, [1.0, -0.5, 0], atol=1e-14)

    def test_mistakes(self):
        with pytest.raises(errors.ConcretizationTypeError, match=r"roots: .*strip_zeros=False"):
            fst.jit(fnp.roots)(np.ones(3))
        with pytest.raises(errors.ShapeError, match="roots: a polynomial is a vector"):
            fnp.roots(np.ones((2, 2)))


class TestFit:
    X = np.linspace(-1, 2, 9)
    Y = np.sin(3 * X) + X**2

    @pytest.mark.parametrize("deg", [0, 1, 3])
    @pytest.mark.parametrize("weights", [None, np.linspace(1, 2, 9)])
    @pytest.mark.parametrize("columns", [None, 2])
    def test_values(self, deg, weights, columns):
        y = self.Y if columns is None else np.stack([self.Y, self.X**3], 1)
        for options in ({}, {"full": True}, {"cov": True}, {"cov": "unscaled"}):
            got = fnp.polyfit(self.X, y, deg, w=weights, **options)
            expected = np.polyfit(self.X, y, deg, w=weights, **options)
            parts = expected if isinstance(expected, tuple) else (expected,)
            for g, e in zip(fst.tree.leaves(got), parts, strict=True):
                assert g.shape == np.shape(e)
                np.testing.assert_allclose(g, e, rtol=1e-11, atol=1e-12)
        many = fst.vmap(lambda v: fnp.polyfit(self.X, v, deg, w=weights))(np.stack([y, 2 * y]))
        np.testing.assert_allclose(many[1], 2 * np.polyfit(self.X, y, deg, w=weights), atol=1e-12)
        fit = fst.jit(lambda x, y: fnp.polyfit(x, y, deg, w=weights))
        np.testing.assert_allclose(
            fit(self.X, y), np.polyfit(self.X, y, deg, w=weights), atol=1e-12
        )

    def test_dtypes(self):
        x = np.arange(4)
        check(fnp.polyfit(x, x, 1), np.array([1.0, 0.0]), "float32", 100)
        assert fnp.polyfit(x.astype("f4"), x.astype("c8"), 1).dtype == np.complex64
        narrow = fnp.polyfit(self.X.astype("f4"), self.Y.astype("f4"), 2)
        np.testing.assert_allclose(narrow, np.polyfit(self.X, self.Y, 2), rtol=1e-4)

    def test_rcond(self):
        """Cut off, the small singular values leave the coefficients of least norm."""
        got = fnp.polyfit(self.X, self.Y, 3, 0.5)
        with pytest.warns(np.exceptions.RankWarning):
            expected = np.polyfit(self.X, self.Y, 3, 0.5)
        np.testing.assert_allclose(got, expected, rtol=1e-11)

    def test_gradient_like_jax(self):
        def loss(xp):
            return lambda x, y: (xp.polyfit(x, y, 2) ** 2).sum()

        with jax.enable_x64(True):
            expected = jax.grad(loss(jnp), (0, 1))(self.X, self.Y)
        got = fst.grad(loss(fnp), (0, 1))(self.X, self.Y)
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-11)

    def test_mistakes(self):
        with pytest.raises(errors.OptionError, match="polyfit: deg must not be negative, got -1"):
            fnp.polyfit(self.X, self.Y, -1)
        with pytest.raises(errors.ShapeError, match=r"polyfit: takes x \(m,\) and y"):
            fnp.polyfit(self.X, self.Y[:3], 1)
        with pytest.raises(errors.ShapeError, match="one weight for each point"):
            fnp.polyfit(self.X, self.Y, 1, w=np.ones(3))
        with pytest.raises(errors.ShapeError, match="needs more points than coefficients"):
            fnp.polyfit(self.X[:3], self.Y[:3], 2, cov=True)


def test_characteristic_polynomial():
    for dtype in ("float64", "complex128"):
        a = values((4, 4), dtype)
        got = fnp.poly(a)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, np.poly(a), rtol=1e-10, atol=1e-10)
    # The coefficient behind the first is minus the trace, the last one here is the determinant.
    slope = fst.grad(lambda a: fnp.poly(a)[1])(values((4, 4), "float64"))
    np.testing.assert_allclose(slope, -np.eye(4), atol=1e-12)
    check(fnp.poly(np.array([[1, 2], [3, 4]])), np.array([1.0, -5, -2]), "float32", 20)

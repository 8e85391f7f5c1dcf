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

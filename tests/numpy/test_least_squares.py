"""numpy.linalg.pinv and lstsq: derivatives in double precision, also at equal singular values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from tests.numpy.compare import check, values
from tests.numpy.matrices import FACTOR, agree, hermitian, matrix


@pytest.fixture(autouse=True, scope="module")
def wide():
    with jax.enable_x64(True):
        yield


class TestLeastSquares:
    """The pseudo-inverse where JAX's derivative is not finite or does not hold."""

    def test_derivative_at_constant_rank(self):
        # a(t) = u(t) v(t)^T has rank 2 for all t.
        rng = np.random.default_rng(3)
        u, v, du, dv = (rng.normal(size=s) for s in [(4, 2), (3, 2), (4, 2), (3, 2)])

        def path(t):
            return (u + t * du) @ (v + t * dv).T

        rtol, h = 1e-8, 1e-5
        slope = fst.jvp(lambda a: fnp.linalg.pinv(a, rtol), [path(0)], [du @ v.T + u @ dv.T])[1]
        expected = (np.linalg.pinv(path(h), rtol) - np.linalg.pinv(path(-h), rtol)) / (2 * h)
        np.testing.assert_allclose(slope, expected, atol=1e-7)
        b = rng.normal(size=(4,))
        moved = fst.jvp(
            lambda a: fnp.linalg.lstsq(a, b, rtol)[0], [path(0)], [du @ v.T + u @ dv.T]
        )[1]
        np.testing.assert_allclose(moved, expected @ b, atol=1e-7)
        curved = fst.jvp(
            lambda t: fst.jvp(
                lambda t: fnp.linalg.pinv((u + t * du) @ (v + t * dv).T, rtol), [t], [1.0]
            )[1],
            [np.array(0.0)], [1.0],
        )[1]  # fmt: skip
        h = 1e-3
        ends = [np.linalg.pinv(path(t), rtol) for t in (h, 0, -h)]
        np.testing.assert_allclose(curved, (ends[0] - 2 * ends[1] + ends[2]) / h**2, rtol=1e-3)

    def test_equal_singular_values(self):
        slope = fst.jacrev(fnp.linalg.pinv)(np.eye(2))
        np.testing.assert_allclose(
            slope, -np.einsum("ik,jl->ijkl", np.eye(2), np.eye(2)), atol=1e-14
        )

    def test_zero(self):
        check(fst.grad(lambda a: fnp.linalg.pinv(a).sum())(np.zeros((2, 3))), np.zeros((2, 3)))

    @pytest.mark.parametrize("shape", [(5, 3), (3, 3), (3, 5)])
    def test_lstsq_like_jax(self, shape, recorded):
        a, b = matrix(shape), values((shape[0], 2), "float64")

        def loss(linalg):
            def of(a, b):
                x, residuals, _, s = linalg.lstsq(a, b)
                return (x**2).sum() + (residuals if shape[0] > shape[1] else 0 * x).sum() + s.sum()

            return of

        expected = recorded.each(lambda: jax.grad(loss(jnp.linalg), (0, 1))(a, b))
        check(fst.grad(loss(fnp.linalg), (0, 1))(a, b), expected, None, FACTOR)

        def parts(a, b):
            x, residuals, rank, s = fnp.linalg.lstsq(a, b)
            # Where b can be met, the residuals are nothing but rounding.
            return (x, residuals, rank, s) if shape[0] > shape[1] else (x, rank, s)

        agree(parts, np.stack([a, 2 * a]), np.stack([b, b + 1]))

    def test_hermitian(self):
        x = hermitian((3, 3), "complex128")
        for f in (fnp.abs, fnp.real):
            got = fst.grad(lambda a, f=f: (f(fnp.linalg.pinv(a, hermitian=True)) ** 2).sum())(x)
            plain = np.asarray(fst.grad(lambda a, f=f: (f(fnp.linalg.inv(a)) ** 2).sum())(x))
            check(got, (plain + plain.conj().T) / 2, None, FACTOR * 10)

    def test_pinv_of_a_stack(self):
        agree(fnp.linalg.pinv, np.stack([matrix((3, 2)), np.ones((3, 2))]))
        agree(lambda a, r: fnp.linalg.pinv(a, r), matrix((2, 3, 2)), np.array([1e-9, 0.9]))
        agree(fnp.linalg.matrix_rank, np.stack([matrix((3, 2)), np.ones((3, 2))]))

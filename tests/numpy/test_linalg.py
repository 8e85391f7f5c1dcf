"""numpy.linalg: values against NumPy, derivatives against JAX, both in double precision."""

import functools
import inspect
import itertools

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, few, values
from tests.numpy.matrices import FACTOR, agree, definite, hermitian, matrix

INEXACT = ("float32", "float64", "complex64", "complex128")
batches = st.sampled_from([(), (3,), (2, 1), (0,), (1, 0)])
sizes = st.integers(0, 4)
kinds = st.sampled_from(INEXACT)
VECTOR_ORDERS = [None, 2, 1, 0, 3, 1.5, -1, -2, np.inf, -np.inf]
MATRIX_ORDERS = [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf]


@pytest.fixture(autouse=True, scope="module")
def wide():
    with jax.enable_x64(True):
        yield


class TestValues:
    @few
    @given(batches, sizes, kinds)
    def test_square_matrices(self, batch, n, dtype):
        x = matrix((*batch, n, n), dtype)
        for name in ("inv", "det"):
            check(getattr(fnp.linalg, name)(x), getattr(np.linalg, name)(x), dtype, FACTOR)
        got, expected = fnp.linalg.slogdet(x), np.linalg.slogdet(x)
        check([*got], [*expected], factor=FACTOR)
        check(got.logabsdet, expected.logabsdet, factor=FACTOR)
        assert got.sign.dtype == dtype

    @few
    @given(batches, sizes, st.integers(0, 3), kinds)
    def test_solve(self, batch, n, m, dtype):
        a = matrix((*batch, n, n), dtype)
        b = values((n, m), dtype)
        check(fnp.linalg.solve(a, b), np.linalg.solve(a, b), dtype, FACTOR)
        check(fnp.linalg.solve(a, b[:, 0] if m else np.ones(n, dtype)),
              np.linalg.solve(a, b[:, 0] if m else np.ones(n, dtype)), dtype, FACTOR)  # fmt: skip
        many = values((*batch, n, m), dtype)
        check(fnp.linalg.solve(matrix((n, n), dtype), many),
              np.linalg.solve(matrix((n, n), dtype), many), dtype, FACTOR)  # fmt: skip

    @few
    @given(batches, sizes, kinds, st.booleans())
    def test_cholesky(self, batch, n, dtype, upper):
        x = definite((*batch, n, n), dtype)
        got = fnp.linalg.cholesky(x, upper=upper)
        check(got, np.linalg.cholesky(x, upper=upper), dtype, FACTOR)
        one_triangle = np.triu(x) if upper else np.tril(x)
        read = fnp.linalg.cholesky(one_triangle, upper=upper, symmetrize_input=False)
        check(read, np.linalg.cholesky(x, upper=upper), dtype, FACTOR)

    @few
    @given(batches, sizes, sizes, kinds, st.sampled_from(["reduced", "complete", "r"]))
    def test_qr(self, batch, m, n, dtype, mode):
        x = matrix((*batch, m, n), dtype)
        got, expected = fnp.linalg.qr(x, mode), np.linalg.qr(x, mode)
        if mode == "r":
            check(got, expected, dtype, FACTOR)
        else:
            check([got.Q, got.R], [expected.Q, expected.R], dtype, FACTOR)

    @few
    @given(batches, sizes, sizes, kinds, st.booleans())
    def test_svd(self, batch, m, n, dtype, full):
        x = matrix((*batch, m, n), dtype)
        u, s, vh = got = fnp.linalg.svd(x, full)
        assert [y.shape for y in got] == [y.shape for y in np.linalg.svd(x, full)]
        check(s, np.linalg.svd(x, compute_uv=False), s.dtype, FACTOR)
        k = min(m, n)
        check((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], x, dtype, FACTOR)
        check(fnp.linalg.svd(x, compute_uv=False), np.asarray(s), s.dtype, FACTOR)
        check(fnp.linalg.svdvals(x), np.asarray(s), s.dtype, FACTOR)

    @pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5)])
    def test_subset_of_svd(self, shape):
        x = matrix(shape)
        u, s, vh = fnp.linalg.svd(x, full_matrices=False)
        found = fnp.linalg.svd(x, full_matrices=False, subset_by_index=(1, 3))
        check(found, [np.asarray(y) for y in (u[..., 1:3], s[..., 1:3], vh[..., 1:3, :])])
        found = fnp.linalg.svd(x, compute_uv=False, subset_by_index=(0, 1))
        check(found, np.asarray(s[..., :1]))

        def largest(x):
            return fnp.linalg.svd(x, False, False, subset_by_index=(0, 1)).sum()

        check(fst.grad(largest)(x), np.asarray(u[..., :1] @ vh[..., :1, :]), None, FACTOR)
        agree(largest, np.stack([x, x + 1]))
        with pytest.raises(errors.OptionError, match="pass full_matrices=False"):
            fnp.linalg.svd(x, subset_by_index=(0, 1))
        with pytest.raises(errors.OptionError, match="without subset_by_index"):
            fnp.linalg.svd(np.eye(2), hermitian=True, subset_by_index=(0, 1))

    @few
    @given(batches, sizes, kinds)
    def test_of_hermitian_matrices(self, batch, n, dtype):
        x = hermitian((*batch, n, n), dtype)
        w, v = got = fnp.linalg.eigh(x)
        assert (got.eigenvalues is w, got.eigenvectors is v) == (True, True)
        check(w, np.linalg.eigvalsh(x), w.dtype, FACTOR)
        check((v * w[..., None, :]) @ v.conj().mT, x, dtype, FACTOR)
        u, s, vh = fnp.linalg.svd(x, hermitian=True)
        check(s, np.linalg.svd(x, compute_uv=False), w.dtype, FACTOR)
        check(fnp.linalg.svd(x, compute_uv=False, hermitian=True), np.asarray(s), None, FACTOR)
        check((u * s[..., None, :]) @ vh, x, dtype, FACTOR)
        check(vh @ vh.conj().mT, np.broadcast_to(np.eye(n), x.shape), dtype, FACTOR)
        for uplo, part in (("L", np.tril(x)), ("U", np.triu(x)), (None, np.tril(x))):
            for f in (fnp.linalg.eigvalsh, fnp.linalg.eigh):
                found = f(part, uplo, symmetrize_input=False)
                found = found if isinstance(found, fst.Array) else found.eigenvalues
                check(found, np.linalg.eigvalsh(x), w.dtype, FACTOR)
                # What stands in one triangle is shared with the other one, unless told otherwise.
                mean = (part + part.conj().swapaxes(-1, -2)) / 2
                found = f(part, uplo)
                found = found if isinstance(found, fst.Array) else found.eigenvalues
                check(found, np.linalg.eigvalsh(mean), w.dtype, FACTOR)

    @few
    @given(batches, sizes, kinds)
    def test_eig(self, batch, n, dtype):
        x = matrix((*batch, n, n), dtype)
        w, v = fnp.linalg.eig(x)
        wide = np.result_type(dtype, np.complex64)
        check(x @ v, np.asarray(v * w[..., None, :]), wide, FACTOR)
        check(fnp.linalg.eigvals(x), np.linalg.eigvals(x).astype(wide), wide, FACTOR)

    @few
    @given(batches, sizes, sizes, kinds)
    def test_pinv_and_rank(self, batch, m, n, dtype):
        x = matrix((*batch, m, n), dtype)
        x[..., :, n // 2 :] = 0
        check(fnp.linalg.pinv(x), np.linalg.pinv(x, rtol=None), dtype, FACTOR)
        check(fnp.linalg.pinv(x, 0.5), np.linalg.pinv(x, 0.5), dtype, FACTOR)
        cut = np.full(batch, 0.5, x.real.dtype)
        check(fnp.linalg.pinv(x, rcond=cut), np.linalg.pinv(x, cut), dtype, FACTOR)
        if 0 not in (m, n):
            rank = fnp.linalg.matrix_rank
            check(rank(x), np.linalg.matrix_rank(x), "int32")
            check(rank(M=x), np.linalg.matrix_rank(x), "int32")
            check(rank(x, tol=2.5), np.linalg.matrix_rank(x, tol=2.5), "int32")
            check(rank(x, rtol=0.9), np.linalg.matrix_rank(x, rtol=0.9), "int32")
        h = hermitian((*batch, n, n), dtype)
        check(fnp.linalg.pinv(h, hermitian=True), np.linalg.pinv(h), dtype, FACTOR * 20)
        if n:
            check(fnp.linalg.matrix_rank(h, hermitian=True), np.linalg.matrix_rank(h), "int32")

    def test_rank_of_other_ranks(self):
        for x in (0.0, 2.0, np.zeros(3), np.array([0.0, 1.0])):
            check(fnp.linalg.matrix_rank(x), np.linalg.matrix_rank(x), "int32")

    @few
    @given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), kinds)
    def test_lstsq(self, m, n, k, dtype):
        a, b = matrix((m, n), dtype), values((m, k), dtype)
        for y in (b, values((m,), dtype, seed=4)):
            for rcond in (None, 0.3, -1):
                expected = np.linalg.lstsq(a, y, rcond)
                got = fnp.linalg.lstsq(a, y, rcond, numpy_resid=True)
                scale = max(1, np.abs(y).max(initial=0)) ** 2
                for g, e in zip(got, expected, strict=True):
                    assert g.shape == np.shape(e)
                    np.testing.assert_allclose(g, e, 0, scale * 1e3 * np.finfo(dtype).eps)
                x, residuals, *_ = fnp.linalg.lstsq(a, y, rcond)
                miss = (np.abs(y - a @ np.asarray(x)) ** 2).sum(0).reshape(-1)
                np.testing.assert_allclose(residuals, miss, 1e-4, scale * 1e2 * np.finfo(dtype).eps)

    def test_lstsq_of_dependent_columns(self):
        a, b = np.ones((4, 2)), np.arange(4.0)
        got, expected = fnp.linalg.lstsq(a, b, numpy_resid=True), np.linalg.lstsq(a, b)
        check(got[0], expected[0], factor=FACTOR)
        assert (got[1].shape, int(got[2])) == ((0,), 1)
        check(fnp.linalg.lstsq(a, b)[1], np.array([5.0]), factor=FACTOR)

    @few
    @given(
        batches,
        st.integers(1, 4),
        kinds,
        st.sampled_from([None, 1, -1, 2, -2, np.inf, -np.inf, "fro", "nuc"]),
    )
    def test_cond(self, batch, n, dtype, p):
        x = matrix((*batch, n, n), dtype)
        check(fnp.linalg.cond(x, p), np.linalg.cond(x, p), None, FACTOR)

    def test_cond_of_singular_matrices(self):
        x = np.stack([np.zeros((2, 2)), np.ones((2, 2)), np.eye(2), np.full((2, 2), np.nan)])
        got = np.asarray(fnp.linalg.cond(x, 1))
        assert np.isinf(got[:2]).all()
        assert got[2] == 1
        assert np.isnan(got[3])
        assert float(fnp.linalg.cond(x[0])) == np.inf
        assert np.isnan(np.asarray(fnp.linalg.cond(x[3])))
        check(fnp.linalg.cond(np.ones((2, 3, 1))), np.ones(2))

    @few
    @given(batches, st.integers(0, 3), st.integers(-3, 6))
    def test_matrix_power(self, batch, n, power):
        x = matrix((*batch, n, n))
        check(fnp.linalg.matrix_power(x, power), np.linalg.matrix_power(x, power), None, FACTOR)
        if power >= 0:
            whole = values((*batch, n, n), "int32")
            expected = np.linalg.matrix_power(whole, power)
            check(fnp.linalg.matrix_power(whole, power), expected, "int32")

    @few
    @given(st.lists(st.integers(0, 4), min_size=3, max_size=7), st.booleans(), st.booleans())
    def test_multi_dot(self, ends, row, column):
        arrays = [values((m, n), "float64") for m, n in itertools.pairwise(ends)]
        if row:
            arrays[0] = np.ones(arrays[0].shape[1])
        if column:
            arrays[-1] = np.ones(arrays[-1].shape[0])
        check(fnp.linalg.multi_dot(arrays), np.linalg.multi_dot(arrays), None, FACTOR)

    def test_multi_dot_multiplies_small_matrices_first(self):
        shapes = [(50, 2), (2, 50), (50, 1)]
        program = fst.make_jaxpr(lambda *xs: fnp.linalg.multi_dot(xs))(*map(np.ones, shapes))
        assert "f32[50,50]" not in str(program)
        assert "f64[50,50]" not in str(program)
        assert "f64[2,1]" in str(program)

    def test_tensors(self):
        a = values((4, 6, 8, 3), "float64")
        check(fnp.linalg.tensorinv(a), np.linalg.tensorinv(a), None, FACTOR * 10)
        b = values((24, 8, 3), "float64")
        check(fnp.linalg.tensorinv(b, 1), np.linalg.tensorinv(b, 1), None, FACTOR * 10)
        right = values((4, 6), "float64")
        check(fnp.linalg.tensorsolve(a, right), np.linalg.tensorsolve(a, right), None, FACTOR * 10)
        a = values((3, 4, 2, 6), "float64")
        right = values((3, 4), "float64")
        moved = np.moveaxis(values((3, 4, 12), "float64"), 2, 0)
        check(
            fnp.linalg.tensorsolve(moved, right, axes=(0,)),
            np.linalg.tensorsolve(moved, right, axes=(0,)), None, FACTOR * 10,
        )  # fmt: skip

    @few
    @given(batches, st.integers(0, 4), st.integers(0, 4), st.integers(-3, 3))
    def test_products_and_diagonals(self, batch, m, n, offset):
        x, y = values((*batch, m, n), "float64"), values((*batch, n, m), "float64", seed=1)
        own, theirs = fnp.linalg, np.linalg
        check(own.diagonal(x, offset=offset), theirs.diagonal(x, offset=offset))
        check(own.trace(x, offset=offset), theirs.trace(x, offset=offset), factor=20)
        check(own.matrix_transpose(x), theirs.matrix_transpose(x))
        check(own.matmul(x, y), theirs.matmul(x, y), factor=20)
        check(own.vecdot(x, x), theirs.vecdot(x, x), factor=20)
        check(own.vecdot(x, x, axis=-2), theirs.vecdot(x, x, axis=-2), factor=20)
        check(own.tensordot(x, x, axes=x.ndim), theirs.tensordot(x, x, axes=x.ndim), factor=FACTOR)
        check(own.outer(x.ravel(), y.ravel()), theirs.outer(x.ravel(), y.ravel()))
        u, v = values((*batch, 3), "float64"), values((3,), "float64", seed=2)
        check(own.cross(u, v), theirs.cross(u, v), factor=20)
        check(own.cross(u.T, u.T, axis=0), theirs.cross(u.T, u.T, axis=0), factor=20)
        assert own.trace(x, dtype="complex64").dtype == np.complex64


class TestNorms:
    @few
    @given(batches, st.integers(1, 4), kinds, st.booleans(), st.sampled_from(VECTOR_ORDERS))
    def test_vectors(self, batch, n, dtype, keepdims, order):
        x = values((n, *batch), dtype)
        expected = np.linalg.norm(x, order, 0, keepdims)
        check(fnp.linalg.norm(x, order, 0, keepdims), expected, x.real.dtype, 30)
        if order is not None:
            got = fnp.linalg.vector_norm(x, axis=0, keepdims=keepdims, ord=order)
            check(got, expected, x.real.dtype, 30)
            if x.size:
                check(fnp.linalg.vector_norm(x, keepdims=keepdims, ord=order),
                      np.linalg.vector_norm(x, keepdims=keepdims, ord=order), None, 30)  # fmt: skip

    @few
    @given(
        st.integers(1, 4), st.integers(1, 4), kinds, st.booleans(), st.sampled_from(MATRIX_ORDERS)
    )
    def test_matrices(self, m, n, dtype, keepdims, order):
        x = values((m, 2, n), dtype)
        for axes in ((0, 2), (-1, 0), (1, 2)):
            got = fnp.linalg.norm(x, order, axes, keepdims)
            check(got, np.linalg.norm(x, order, axes, keepdims), x.real.dtype, FACTOR)
        if order is not None:
            got = fnp.linalg.matrix_norm(x, keepdims=keepdims, ord=order)
            check(got, np.linalg.matrix_norm(x, keepdims=keepdims, ord=order), None, FACTOR)
        check(fnp.linalg.norm(x[0], order), np.linalg.norm(x[0], order), None, FACTOR)

    def test_all_elements(self):
        for shape in [(), (0,), (2, 3, 4), (0, 2, 3)]:
            x = values(shape, "float64")
            for keepdims in (False, True):
                expected = np.linalg.norm(x, keepdims=keepdims)
                check(fnp.linalg.norm(x, keepdims=keepdims), expected, None, 30)
        check(fnp.linalg.norm(np.arange(4)), np.linalg.norm(np.arange(4)), "float32")
        check(fnp.linalg.vector_norm(np.ones((2, 3, 4)), axis=(0, 2)), np.full(3, 8**0.5))

    @pytest.mark.parametrize("order", [0, 1, 2, 3, np.inf])
    def test_no_elements(self, order):
        check(fnp.linalg.norm(np.zeros(0), order), np.zeros(()))
        check(fnp.linalg.norm(np.zeros((0, 3)), order, axis=0), np.zeros(3))

    @pytest.mark.parametrize("order", ["fro", "nuc", 1, 2, np.inf])
    def test_matrices_without_elements(self, order):
        for shape in [(0, 3), (3, 0), (0, 0)]:
            check(fnp.linalg.norm(np.zeros(shape), order), np.zeros(()))

    @pytest.mark.parametrize("order", [None, 1.5, 2, 3])
    def test_gradient_at_zero_is_zero(self, order):
        for x in (np.zeros(3), np.zeros(3, complex)):
            slope = fst.grad(lambda x: fnp.linalg.norm(x, order))(x)
            check(slope, np.zeros_like(x))
            check(fst.jit(fst.grad(lambda x: fnp.linalg.vector_norm(x, ord=order or 2)))(x), 0 * x)
        check(fst.grad(fnp.linalg.norm)(np.zeros((2, 2))), np.zeros((2, 2)))
        check(fst.grad(fnp.linalg.norm)(np.array([3.0, 0, 4])), np.array([0.6, 0, 0.8]))
        check(fst.hessian(fnp.linalg.norm)(np.zeros(2)), np.zeros((2, 2)))

    @pytest.mark.parametrize("order", [o for o in VECTOR_ORDERS if o])
    def test_gradient_of_vectors(self, order, recorded):
        x = np.array([[0.5, -1.5, 2.0], [1.0, -3.0, 0.25]])
        for z in (x, x + 1j):
            got = fst.grad(lambda v: fnp.linalg.norm(v, order, axis=1).sum())(z)
            theirs = jax.grad(lambda v: jnp.linalg.norm(v, order, axis=1).sum())
            check(got, recorded(functools.partial(theirs, z)), None, 50)
        agree(functools.partial(fnp.linalg.norm, ord=order), x)

    @pytest.mark.parametrize("order", MATRIX_ORDERS)
    def test_gradient_of_matrices(self, order, recorded):
        x = matrix((2, 3, 3))
        got = fst.grad(lambda v: fnp.linalg.norm(v, order, axis=(1, 2)).sum())(x)
        theirs = jax.grad(lambda v: jnp.linalg.norm(v, order, axis=(1, 2)).sum())
        check(got, recorded(lambda: theirs(x)), None, FACTOR)
        agree(functools.partial(fnp.linalg.norm, ord=order), x)
        agree(functools.partial(fnp.linalg.cond, p=order), x)


# Each with our function, JAX's, and its arguments; derivatives are taken of the moduli of results,
# since the phases of complex vectors are arbitrary.
DERIVATIVES = {
    "inv": ("inv", {}, [matrix((3, 3))]),
    "inv of complex": ("inv", {}, [matrix((3, 3), "complex128")]),
    "inv of a stack": ("inv", {}, [matrix((2, 3, 3))]),
    "det": ("det", {}, [matrix((3, 3))]),
    "slogdet": ("slogdet", {}, [matrix((3, 3))]),
    "slogdet of complex": ("slogdet", {}, [matrix((3, 3), "complex128")]),
    "solve": ("solve", {}, [matrix((3, 3)), values((3, 2), "float64")]),
    "solve for a vector": ("solve", {}, [matrix((2, 3, 3)), values((3,), "float64")]),
    "cholesky": ("cholesky", {}, [definite((3, 3))]),
    "cholesky upper": ("cholesky", {"upper": True}, [definite((2, 3, 3), "complex128")]),
    "qr": ("qr", {}, [matrix((4, 3))]),
    "qr r": ("qr", {"mode": "r"}, [matrix((4, 3))]),
    "qr complete": ("qr", {"mode": "complete"}, [matrix((3, 3))]),
    "svd": ("svd", {"full_matrices": False}, [matrix((4, 3))]),
    "svd of complex": ("svd", {"full_matrices": False}, [matrix((3, 4), "complex128")]),
    "svd values": ("svd", {"compute_uv": False}, [matrix((2, 3, 3))]),
    "svd hermitian": ("svd", {"hermitian": True}, [hermitian((3, 3))]),
    "svdvals": ("svdvals", {}, [matrix((3, 3))]),
    "eigh": ("eigh", {}, [hermitian((3, 3))]),
    "eigh of complex": ("eigh", {}, [hermitian((2, 3, 3), "complex128")]),
    "eigvalsh": ("eigvalsh", {}, [hermitian((3, 3))]),
    "eigvals": ("eigvals", {}, [matrix((3, 3))]),
    "pinv": ("pinv", {}, [matrix((4, 3))]),
    "pinv of complex": ("pinv", {}, [matrix((3, 4), "complex128")]),
    "matrix_power": ("matrix_power", {"n": 3}, [matrix((3, 3))]),
    "matrix_power negative": ("matrix_power", {"n": -2}, [matrix((3, 3))]),
    "tensorinv": ("tensorinv", {"ind": 1}, [matrix((4, 4)).reshape(4, 2, 2)]),
    "tensorsolve": ("tensorsolve", {}, [matrix((4, 4)).reshape(4, 2, 2), values((4,), "float64")]),
    "multi_dot": (
        "multi_dot", {}, [[values((2, 3), "float64"), matrix((3, 3)), values((3,), "float64")]],
    ),
    "cross": ("cross", {}, [values((2, 3), "float64"), values((2, 3), "float64", seed=1)]),
    "outer": ("outer", {}, [values((2,), "float64"), values((3,), "float64")]),
    "trace": ("trace", {"offset": 1}, [values((2, 3, 3), "float64")]),
    "diagonal": ("diagonal", {}, [values((2, 3, 4), "float64")]),
}  # fmt: skip


@pytest.mark.parametrize("case", DERIVATIVES)
def test_derivatives_like_jax(case, recorded):
    name, options, args = DERIVATIVES[case]

    def loss(xp, linalg):
        def of(*xs):
            leaves = jax.tree.leaves if xp is jnp else fst.tree.leaves
            outs = leaves(getattr(linalg, name)(*xs, **options))
            return sum((xp.abs(y + 0.1 * (k + 1)) ** 2 * (k + 1)).sum() if phases_settled
                       else (xp.abs(y) ** (k + 2)).sum() for k, y in enumerate(outs))  # fmt: skip

        return of

    phases_settled = not name.startswith(("svd", "eig"))
    argnums = tuple(range(len(args)))
    theirs = jax.grad(loss(jnp, jnp.linalg), argnums)
    leaves = recorded.each(lambda: jax.tree.leaves(theirs(*args)))
    got = fst.grad(loss(fnp, fnp.linalg), argnums)(*args)
    check(got, leaves, factor=FACTOR)
    check(fst.jit(fst.grad(loss(fnp, fnp.linalg), argnums))(*args), leaves, factor=FACTOR)


def test_derivative_of_eigenvectors(recorded):
    """JAX's numpy.linalg.eig has none for vectors; jax.lax.linalg.eig has."""
    x = matrix((3, 3))

    def theirs(a):
        w, v = jax.lax.linalg.eig(a, compute_left_eigenvectors=False, enable_eigvec_derivs=True)
        return (jnp.abs(v) ** 3).sum() + (jnp.abs(w) ** 2).sum()

    def own(a):
        w, v = fnp.linalg.eig(a)
        return (fnp.abs(v) ** 3).sum() + (fnp.abs(w) ** 2).sum()

    check(fst.grad(own)(x), recorded(lambda: jax.grad(theirs)(x)), factor=FACTOR)
    agree(fnp.linalg.eig, np.stack([x, 2 * x]))


@pytest.mark.parametrize("case", DERIVATIVES)
def test_jit_and_vmap(case):
    name, options, args = DERIVATIVES[case]
    if name == "multi_dot":
        args = args[0]
    stacks = [
        np.stack([x, x * (1 + 0.25 * np.cos(np.arange(x.size).reshape(x.shape)))]) for x in args
    ]
    if name.startswith("eigh") or name == "eigvalsh" or options.get("hermitian"):
        stacks = [np.stack([x, x @ x]) for x in args]
    if name == "cholesky":
        stacks = [np.stack([x, 2 * x]) for x in args]
    function = functools.partial(getattr(fnp.linalg, name), **options)
    agree(lambda *xs: function(xs) if name == "multi_dot" else function(*xs), *stacks)


class TestTriangles:
    def test_gradient_of_eigh_is_where_it_reads(self):
        x = hermitian((3, 3))
        upper = fst.grad(lambda a: fnp.linalg.eigvalsh(a, "U", symmetrize_input=False)[0])(x)
        both = fst.grad(lambda a: fnp.linalg.eigvalsh(a)[0])(x)
        again = fst.grad(lambda a: fnp.linalg.eigvalsh(a, "U")[0])(x)
        check(both, np.asarray(both).T)
        check(again, np.asarray(both), factor=20)
        assert not np.tril(upper, -1).any()
        check(fnp.triu(both) + fnp.triu(both, 1), np.asarray(upper), factor=20)

    def test_singular_matrices_are_nan_alone(self):
        x = np.stack([np.eye(2), np.ones((2, 2)) * 2])
        for f in (fnp.linalg.inv, lambda a: fnp.linalg.solve(a, np.eye(2))):
            got = np.asarray(f(x))
            np.testing.assert_array_equal(got[0], np.eye(2))
            assert np.isnan(got[1]).all()
        got = np.asarray(fnp.linalg.cholesky(-x))
        assert np.isnan(got).all()


def test_integers_become_floats():
    x = np.array([[2, 1], [1, 3]])
    for name in ("inv", "det", "cholesky", "pinv", "svdvals", "eigvalsh", "cond", "norm"):
        check(getattr(fnp.linalg, name)(x), getattr(np.linalg, name)(x), "float32", FACTOR)
    assert fnp.linalg.eigvals(x).dtype == np.complex64
    assert fnp.linalg.solve(x, np.array([1, 2])).dtype == np.float32
    assert fnp.linalg.solve(x, np.array([1.0, 2])).dtype == np.float64
    assert fnp.linalg.solve(x.astype("complex64"), np.float64([1, 2])).dtype == np.complex128
    assert fnp.linalg.norm(np.ones(3, bool)).dtype == np.float32


class TestNumPysOwnFunctions:
    def test_of_arrays(self):
        x = matrix((3, 3))
        a = fnp.asarray(x)
        for name in ("inv", "det", "norm", "cholesky", "pinv", "svdvals", "matrix_rank", "cond"):
            target = definite((3, 3)) if name == "cholesky" else x
            got = getattr(np.linalg, name)(fnp.asarray(target))
            assert isinstance(got, fst.Array)
            check(got, getattr(np.linalg, name)(target), factor=FACTOR)
        q, _ = np.linalg.qr(a)
        assert isinstance(q, fst.Array)
        assert isinstance(np.linalg.eigh(a).eigenvectors, fst.Array)
        check(np.linalg.outer(a[0], x[1]), np.outer(x[0], x[1]))
        check(
            np.linalg.norm(a, ord="fro", axis=(0, 1), keepdims=True),
            np.linalg.norm(x, keepdims=True),
            None,
            20,
        )
        check(np.linalg.matrix_power(a, 2), x @ x, None, 20)
        check(np.linalg.multi_dot([a, x]), x @ x, None, 20)
        check(np.linalg.solve(x, a), np.eye(3), None, FACTOR)
        check(np.linalg.svd(a, compute_uv=False), np.linalg.svd(x)[1], None, FACTOR)

    def test_of_tracers(self):
        x = matrix((3, 3))
        check(fst.grad(np.linalg.norm)(x), x / np.linalg.norm(x), None, 20)
        check(fst.jit(np.linalg.inv)(x), np.linalg.inv(x), None, FACTOR)
        check(fst.grad(np.linalg.det)(x), np.linalg.det(x) * np.linalg.inv(x).T, None, FACTOR)
        sizes = fst.vmap(lambda v: np.linalg.norm(v))(x)
        check(sizes, np.linalg.norm(x, axis=1), None, 20)

    def test_rank_by_position_is_refused(self):
        with pytest.raises(errors.ArgumentError, match="matrix_rank"):
            np.linalg.matrix_rank(fnp.eye(2), 0.5)


def test_results_are_trees():
    x = matrix((2, 3, 3))
    found = fst.jit(fnp.linalg.svd)(x[0])
    assert type(found).__name__ == "SVDResult"
    check(found.S, np.linalg.svdvals(x[0]), None, FACTOR)
    many = fst.vmap(fnp.linalg.slogdet)(x)
    check(many.logabsdet, np.linalg.slogdet(x).logabsdet, None, FACTOR)
    assert {type(r(x)).__name__ for r in (fnp.linalg.eig, fnp.linalg.qr)} == {
        "EigResult",
        "QRResult",
    }


def test_mistakes():
    x, square = np.ones((2, 3)), np.eye(3)
    own = fnp.linalg
    for f in (own.inv, own.det, own.slogdet, own.eig, own.eigvals, own.eigh, own.cholesky):
        with pytest.raises(errors.ShapeError, match=r"takes square matrices .* float64\[2,3\]"):
            f(x)
    for f in (own.svd, own.qr, own.svdvals, own.pinv, own.cond):
        with pytest.raises(
            errors.ShapeError, match=r"takes matrices \(..., m, n\), got float64\[3\]"
        ):
            f(np.ones(3))
    with pytest.raises(errors.DtypeError, match=r"svd: takes float32, float64.*float16\[2,2\]"):
        own.svd(np.ones((2, 2), np.float16))
    with pytest.raises(errors.ShapeError, match=r"solve: b must be \(n,\) or"):
        own.solve(square, np.ones(2))
    with pytest.raises(errors.ShapeError, match="solve: b must be"):
        own.solve(square, 1.0)
    with pytest.raises(errors.ShapeError, match="solve: the leading axes of both must broadcast"):
        own.solve(np.ones((2, 3, 3)), np.ones((5, 3, 1)))
    with pytest.raises(errors.OptionError, match="qr: mode must be 'reduced', 'complete' or 'r'"):
        own.qr(x, "raw")
    with pytest.raises(errors.OptionError, match="eigvalsh: UPLO must be 'L' or 'U', got 'X'"):
        own.eigvalsh(square, "X")
    with pytest.raises(errors.OptionError, match=r"norm: ord of matrices must be one of .*got 3"):
        own.norm(x, 3)
    with pytest.raises(errors.OptionError, match="norm: ord of vectors must be a number"):
        own.norm(x[0], "fro")
    with pytest.raises(errors.ShapeError, match=r"norm: of vectors or matrices.*float64\[2,2,2\]"):
        own.norm(np.ones((2, 2, 2)), 2)
    with pytest.raises(errors.AxisError, match="norm"):
        own.norm(x, axis=2)
    with pytest.raises(errors.ShapeError, match="matrix_norm: takes matrices"):
        own.matrix_norm(np.ones(2))
    with pytest.raises(errors.ShapeError, match="cond: is not defined for matrices without"):
        own.cond(np.ones((0, 0)))
    with pytest.raises(errors.ShapeError, match="cond: takes square matrices"):
        own.cond(x, 1)
    with pytest.raises(errors.ArgumentError, match="pinv: rtol and rcond are the same"):
        own.pinv(x, 0.1, rcond=0.1)
    with pytest.raises(errors.ShapeError, match="pinv: there is a tolerance for each matrix"):
        own.pinv(x, np.ones(2))
    with pytest.raises(errors.ArgumentError, match="matrix_rank: at most one of tol and rtol"):
        own.matrix_rank(x, tol=1, rtol=1)
    with pytest.raises(errors.ShapeError, match=r"lstsq: takes a \(m, n\) and b"):
        own.lstsq(x, np.ones(3))
    with pytest.raises(errors.ConcretizationTypeError, match="pass numpy_resid=False"):
        fst.jit(lambda a: own.lstsq(a, np.ones(2), numpy_resid=True))(x)
    with pytest.raises(errors.ShapeError, match="tensorinv: the first ind axes must hold as many"):
        own.tensorinv(np.ones((2, 3, 4)))
    with pytest.raises(errors.ShapeError, match="tensorsolve: a must have the axes of b"):
        own.tensorsolve(np.ones((2, 3)), np.ones(2))
    with pytest.raises(errors.ShapeError, match="outer: takes vectors"):
        own.outer(x, x)
    with pytest.raises(errors.ShapeError, match="cross: vectors must have 3 components"):
        own.cross(np.ones(2), np.ones(2))
    with pytest.raises(errors.ShapeError, match="matrix_power: takes square matrices"):
        own.matrix_power(x, 2)
    with pytest.raises(errors.ShapeError, match="multi_dot: takes at least two arrays, got 1"):
        own.multi_dot([x])
    with pytest.raises(errors.ShapeError, match=r"multi_dot: inner sizes must match.*3 != 2"):
        own.multi_dot([x, x])
    with pytest.raises(errors.ShapeError, match="multi_dot: takes matrices, and vectors as"):
        own.multi_dot([x, np.ones(3), np.ones(3)])
    with pytest.raises(errors.MissingRuleError, match="svd: has no derivative when full_matrices"):
        fst.grad(lambda a: own.svd(a).U.sum())(x)


def test_names_are_numpys():
    theirs = {n for n in dir(np.linalg) if not n.startswith("_")} - {"LinAlgError", "test"}
    assert theirs <= set(fnp.linalg.__all__)
    for name in theirs:
        assert getattr(fnp.linalg, name).__doc__, name


def test_parameters_stand_in_the_order_of_jax():
    # By position the second one is `rtol` for JAX and `tol` for NumPy, so here it is by name.
    for name in set(fnp.linalg.__all__) - {"matrix_rank"}:
        own, theirs = getattr(fnp.linalg, name), getattr(jnp.linalg, name, None)
        if theirs is None or isinstance(own, type):
            continue
        ours = inspect.signature(own).parameters
        expected = inspect.signature(theirs).parameters
        assert list(ours) == [p for p in expected if p in ours], name
        absent = set(expected) - set(ours)
        assert absent <= {"out_sharding", "method"}, name


@pytest.mark.parametrize("name", ["matmul", "vecdot", "tensordot", "multi_dot"])
def test_precision(name):
    x = matrix((3, 3))
    f = getattr(fnp.linalg, name)
    args = ([x, x],) if name == "multi_dot" else (x, x)
    check(f(*args, precision="highest"), np.asarray(f(*args)))
    with pytest.raises(errors.OptionError, match=f"{name}: precision must be None"):
        f(*args, precision="best")

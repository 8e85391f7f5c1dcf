"""Derivatives of linear algebra against JAX, under transforms; what the matrix of tests leaves out.

Vectors are compared by what their signs, or complex factors of modulus 1, do not change.
"""

import contextlib
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import device, errors
from fstensor.lax import linalg
from fstensor.ops import tridiagonal
from fstensor.ops.linalg import solve
from tests import fake_cupy

OURS = SimpleNamespace(linalg=linalg, np=fnp, eig=linalg.eig)
JAXS = SimpleNamespace(
    linalg=jax.lax.linalg,
    np=jnp,
    eig=lambda x, **options: jax.lax.linalg.eig(x, enable_eigvec_derivs=True, **options),
)
# Second derivatives divide by gaps of values near 1, to the third power.
RTOL = 1e-10
N = 4


def random(shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x if dtype == "float64" else x + 1j * rng.standard_normal(shape)


def weights(lib, shape):
    return lib.np.asarray(np.sin(1.0 + np.arange(np.prod(shape))).reshape(shape))


def weighted(lib, x):
    """A real number that depends on each element of x by itself."""
    w = weights(lib, x.shape)
    return lib.np.sum(w * lib.np.real(x)) + lib.np.sum(w * w * lib.np.imag(x))


def moduli(lib, x):
    """A real number that depends on the moduli alone."""
    squares = lib.np.real(x * lib.np.conj(x))
    return lib.np.sum(weights(lib, x.shape) * squares * squares)


def by_eigh(lib, a):
    v, w = lib.linalg.eigh(a)
    return moduli(lib, v) + weighted(lib, lib.np.sin(w))


def by_eigenvalues(lib, a):
    (w,) = lib.eig(a, compute_left_eigenvectors=False, compute_right_eigenvectors=False)
    return lib.np.sum(lib.np.real(w * w * w))


def by_eigenvectors(lib, a):
    """A function of the matrix: its exponential by eigenvectors, and the lengths of those."""
    w, v = lib.eig(a, compute_left_eigenvectors=False)
    shifted = lib.np.linalg.solve(lib.np.conj(v).T @ v, lib.np.conj(v).T)
    return weighted(lib, v @ (lib.np.exp(w / 4)[:, None] * shifted)) + lib.np.sum(abs(v) ** 2)


def by_singular_values(lib, a):
    return weighted(lib, lib.np.sin(lib.linalg.svd(a, compute_uv=False)))


def by_svd(lib, a):
    u, s, vh = lib.linalg.svd(a, full_matrices=False)
    turned = u @ (lib.np.sin(s)[:, None] * vh)
    return weighted(lib, turned) + moduli(lib, u) + moduli(lib, vh)


def by_full_svd(lib, a):
    u, s, vh = lib.linalg.svd(a)
    return weighted(lib, u @ (lib.np.sin(s)[:, None] * vh))


def by_qr(lib, a):
    q, r = lib.linalg.qr(a, full_matrices=False)
    return moduli(lib, q) + moduli(lib, r) + weighted(lib, q @ r[:, :1])


def by_lu(lib, a):
    factors, _, permutation = lib.linalg.lu(a)
    return weighted(lib, factors * factors) + weighted(lib, factors[permutation])


def by_cholesky(lib, a):
    eye = lib.np.eye(a.shape[0])
    return weighted(lib, lib.linalg.cholesky(a @ lib.np.conj(a).T + eye))


def by_log_determinant(lib, a):
    low = lib.linalg.cholesky(a @ lib.np.conj(a).T + lib.np.eye(a.shape[0]))
    return lib.np.sum(lib.np.log(lib.np.real(lib.np.diagonal(low))))


def by_triangles(lib, a):
    b = lib.np.asarray(random((3, N)))
    total = 0.0
    for left_side in (False, True):
        for transpose_a in (False, True):
            x = lib.linalg.triangular_solve(
                a + 2 * lib.np.eye(N),
                (b.T if left_side else b).astype(a.dtype),
                left_side=left_side,
                lower=True,
                transpose_a=transpose_a,
                conjugate_a=transpose_a,
            )
            total = total + weighted(lib, x)
    return total


def by_tridiagonal(lib, a):
    dl, d, du, b = a[0], a[1] + 3, a[2], a[3:].T
    return weighted(lib, lib.linalg.tridiagonal_solve(dl, d, du, b))


SQUARE = [
    by_eigh,
    by_eigenvalues,
    by_eigenvectors,
    by_singular_values,
    by_svd,
    by_full_svd,
    by_qr,
    by_lu,
    by_cholesky,
    by_log_determinant,
    by_triangles,
]
TALL_AND_WIDE = [by_singular_values, by_svd, by_qr, by_lu]
CASES = [
    *[(f, (N, N)) for f in SQUARE],
    *[(f, (5, 3)) for f in TALL_AND_WIDE],
    *[(f, (3, 5)) for f in TALL_AND_WIDE],
    (by_tridiagonal, (5, 6)),
    *[(f, (1, 1)) for f in (by_eigh, by_svd, by_qr, by_lu)],
]
BOTH = ["float64", "complex128"]


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize(
    ("function", "shape"), CASES, ids=[f"{f.__name__}-{s[0]}x{s[1]}" for f, s in CASES]
)
def test_derivatives_like_jax(function, shape, dtype):
    a, t = random(shape, dtype), random(shape, dtype, seed=1)

    def derivatives(lib, transforms, x, direction):
        def f(x):
            return function(lib, x)

        gradient = transforms.grad(f)
        second = transforms.jvp(gradient, (x,), (direction,))[1]
        return f(x), gradient(x), second

    with jax.enable_x64(True):
        expected = jax.jit(lambda a, t: derivatives(JAXS, jax, a, t))(a, t)
        expected = [np.asarray(x) for x in expected]
    for got, want in zip(derivatives(OURS, fst, a, t), expected, strict=True):
        assert got.dtype == want.dtype
        scale = abs(want).max()
        np.testing.assert_allclose(np.asarray(got), want, rtol=RTOL, atol=RTOL * scale)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("function", SQUARE, ids=lambda f: f.__name__)
def test_jit_vmap_grad(function, dtype):
    stack = random((N, 3, N), dtype)

    def gradient(a):
        return fst.grad(lambda a: function(OURS, a))(a)

    got = fst.jit(fst.vmap(gradient, in_axes=1, out_axes=2))(stack)
    for k in range(3):
        want = np.asarray(gradient(stack[:, k]))
        np.testing.assert_allclose(
            np.asarray(got)[..., k], want, rtol=RTOL, atol=RTOL * abs(want).max()
        )


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("name", ["lu", "qr", "cholesky"])
def test_tangents_like_jax(name, dtype):
    """Of factors whose conventions leave nothing open."""
    a, t = random((N, N), dtype), random((N, N), dtype, seed=1)
    if name == "cholesky":
        a, t = a @ a.conj().T + np.eye(N), t + t.conj().T
    with jax.enable_x64(True):
        expected = jax.tree.leaves(jax.jvp(getattr(jax.lax.linalg, name), (a,), (t,)))
        expected = [np.asarray(x) for x in expected]
    got = fst.tree.leaves(fst.jvp(getattr(linalg, name), (a,), (t,)))
    assert len(got) == len(expected)
    for ours, want in zip(got, expected, strict=True):
        assert ours.shape == want.shape
        assert ours.dtype == want.dtype
        if want.dtype != jax.dtypes.float0:
            np.testing.assert_allclose(np.asarray(ours), want, rtol=1e-11, atol=1e-11)


def test_hessians_known_in_closed_form():
    x = random((3, 3))
    a = x @ x.T + np.eye(3)
    inverse = np.linalg.inv(a)

    def log_determinant(a):
        return 2 * fnp.sum(fnp.log(fnp.diagonal(linalg.cholesky(a, symmetrize_input=True))))

    got = np.asarray(fst.hessian(log_determinant)(a))
    # d^2 log det = -tr(a^-1 da a^-1 da), of the symmetric part of da.
    want = -np.einsum("jk,li->ijkl", inverse, inverse)
    want = (want + want.transpose(1, 0, 2, 3)) / 2
    want = (want + want.transpose(0, 1, 3, 2)) / 2
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)

    def squares(a):
        return fnp.sum(linalg.eigh(a)[1] ** 2)

    # tr(a^2) of the symmetric part of a, so its Hessian is twice the projection on that.
    eye = np.eye(3)
    identity = np.einsum("ik,jl->ijkl", eye, eye)
    want = identity + identity.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(np.asarray(fst.hessian(squares)(a)), want, atol=1e-11)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("lower", [False, True])
def test_eigh_of_one_triangle(lower, dtype):
    """Its gradient lies there; that of JAX lies on both sides, though one is not read."""

    def read(a):
        return linalg.eigh(a, lower=lower, symmetrize_input=False)

    def completed(a):
        strict = fnp.tril(a, -1) if lower else fnp.triu(a, 1)
        diagonal = fnp.diag(fnp.real(fnp.diagonal(a)))
        return linalg.eigh(strict + diagonal + fnp.conj(strict.T))

    def through(decompose):
        def f(a):
            v, w = decompose(a)
            return moduli(OURS, v) + weighted(OURS, w * w)

        return np.asarray(fst.grad(f)(random((N, N), dtype)))

    np.testing.assert_allclose(through(read), through(completed), rtol=1e-11, atol=1e-11)
    assert not (np.triu if lower else np.tril)(through(read), 1 if lower else -1).any()


class TestDegenerate:
    """Where values are equal, those have derivatives; vectors have none."""

    def test_eigh(self):
        t = random((3, 3))
        _, (vectors, values) = fst.jvp(linalg.eigh, (np.eye(3),), (t,))
        symmetric = (t + t.T) / 2
        np.testing.assert_allclose(np.asarray(fnp.sum(values)), np.trace(symmetric))
        assert not np.isfinite(np.asarray(vectors)).any()
        gradient = fst.grad(lambda a: fnp.sum(linalg.eigh(a)[1]))(np.eye(3))
        np.testing.assert_allclose(np.asarray(gradient), np.eye(3), atol=1e-14)

    def test_singular_values(self):
        gradient = fst.grad(lambda a: fnp.sum(linalg.svd(a, compute_uv=False)))(np.eye(3))
        np.testing.assert_allclose(np.asarray(gradient), np.eye(3), atol=1e-14)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (2, 4, 2), (2, 0), (0, 2), (1, 1)])
def test_factors_multiply_to_the_matrix(shape, dtype):
    a = random(shape, dtype)
    m, n = shape[-2:]
    k = min(m, n)

    def h(x):
        return x.conj().swapaxes(-1, -2)

    for full in (False, True):
        u, s, vh = map(np.asarray, linalg.svd(a, full_matrices=full))
        assert u.shape[-1] == (m if full else k)
        assert vh.shape[-2] == (n if full else k)
        np.testing.assert_allclose((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a, atol=1e-14)
        np.testing.assert_allclose(
            h(u) @ u, np.broadcast_to(np.eye(u.shape[-1]), (h(u) @ u).shape), atol=1e-14
        )
        np.testing.assert_allclose(
            vh @ h(vh), np.broadcast_to(np.eye(vh.shape[-2]), (vh @ h(vh)).shape), atol=1e-14
        )
        q, r = map(np.asarray, linalg.qr(a, full_matrices=full))
        assert q.shape[-1] == (m if full else k)
        np.testing.assert_allclose(q @ r, a, atol=1e-14)
        np.testing.assert_allclose(
            h(q) @ q, np.broadcast_to(np.eye(q.shape[-1]), (h(q) @ q).shape), atol=1e-14
        )
        np.testing.assert_array_equal(r, np.triu(r))
    factors, pivots, permutation = map(np.asarray, linalg.lu(a))
    low = np.tril(factors[..., :k], -1) + np.eye(m, k)
    moved = np.take_along_axis(a, permutation[..., None], -2)
    np.testing.assert_allclose(low @ np.triu(factors[..., :k, :]), moved, atol=1e-14)
    again = linalg.lu_pivots_to_permutation(pivots, m)
    np.testing.assert_array_equal(np.asarray(again), permutation)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3), (1, 1), (0, 0), (2, 0, 0)])
def test_left_eigenvectors(shape, dtype):
    a = random(shape, dtype)
    w, left, right = map(np.asarray, linalg.eig(a))
    adjoint = left.conj().swapaxes(-1, -2)
    np.testing.assert_allclose(adjoint @ a, w[..., None] * adjoint, atol=1e-13)
    np.testing.assert_allclose(a @ right, right * w[..., None, :], atol=1e-13)
    for vectors in (left, right):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-2), np.ones(w.shape))
        if a.size:
            largest = np.take_along_axis(vectors, abs(vectors).argmax(-2)[..., None, :], -2)
            np.testing.assert_allclose(largest.imag, 0 * largest.imag, atol=1e-14)
    assert len(linalg.eig(a, compute_right_eigenvectors=False)) == 2
    assert len(linalg.eig(a, compute_left_eigenvectors=False)) == 2


def test_left_eigenvectors_with_two_largest_components():
    _, left, _ = linalg.eig(np.array([[0.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(abs(np.asarray(left)), np.full((2, 2), np.sqrt(0.5)))


def test_subsets():
    a = random((2, 4, 4))
    v, w = linalg.eigh(a)
    part_v, part_w = linalg.eigh(a, subset_by_index=(1, 3))
    np.testing.assert_array_equal(part_v, np.asarray(v)[..., 1:3])
    np.testing.assert_array_equal(part_w, np.asarray(w)[..., 1:3])
    u, s, vh = linalg.svd(a, full_matrices=False)
    parts = linalg.svd(a, full_matrices=False, subset_by_index=(0, 2))
    for got, want in zip(parts, (u[..., :2], s[..., :2], vh[..., :2, :]), strict=True):
        np.testing.assert_array_equal(got, want)
    values = linalg.svd(a, compute_uv=False, subset_by_index=(1, 2))
    np.testing.assert_allclose(values, np.asarray(s)[..., 1:2], rtol=1e-13)


# Reflectors


def explicit_product(lib, a, taus):
    """The reflectors one after the other, each as a matrix."""
    m = a.shape[0]
    out = lib.np.eye(m, dtype=a.dtype)
    for i in range(taus.shape[0]):
        v = lib.np.where(lib.np.arange(m) > i, a[:, i], 0) + lib.np.eye(m)[i]
        out = out @ (lib.np.eye(m) - taus[i] * v[:, None] * lib.np.conj(v)[None, :])
    return out


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize(("m", "n", "k"), [(4, 4, 4), (5, 3, 3), (5, 3, 2), (3, 2, 0), (1, 1, 1)])
def test_products_of_reflectors(m, n, k, dtype):
    a, taus, c = random((m, n), dtype), random(k, dtype, 1), random((m, 2), dtype, 2)
    with jax.enable_x64(True):
        q = np.asarray(explicit_product(JAXS, jnp.asarray(a), jnp.asarray(taus)))
        gradients = jax.grad(
            lambda a, taus: moduli(JAXS, explicit_product(JAXS, a, taus)[:, :n]), (0, 1)
        )(a, taus)
        gradients = [np.asarray(g) for g in gradients]
    # Random factors make no unitary matrices; their products grow.
    near = {"rtol": 1e-12, "atol": 1e-13 * max(1, abs(q).max())}
    np.testing.assert_allclose(linalg.householder_product(a, taus), q[:, :n], **near)
    got = fst.grad(lambda a, taus: moduli(OURS, linalg.householder_product(a, taus)), (0, 1))
    for ours, want in zip(got(a, taus), gradients, strict=True):
        atol = 1e-12 * abs(want).max(initial=1)
        np.testing.assert_allclose(ours, want, rtol=1e-11, atol=atol)
    # Q^H for `transpose`: the product of the adjoint factors in reverse order.
    h = q.conj().T
    np.testing.assert_allclose(linalg.ormqr(a, taus, c), q @ c, **near)
    np.testing.assert_allclose(linalg.ormqr(a, taus, c, transpose=True), h @ c, **near)
    np.testing.assert_allclose(linalg.ormqr(a, taus, c.T, left=False), c.T @ q, **near)
    both = linalg.ormqr(a, taus, c.T, left=False, transpose=True)
    np.testing.assert_allclose(both, c.T @ h, **near)


def test_reflectors_of_large_matrices_stay_orthogonal():
    """Also of one whose elimination grows, and of one whose columns are nearly dependent."""
    n = 200
    growing = np.eye(n) - np.tril(np.ones((n, n)), -1)
    growing[:, -1] = 1
    for a in (random((n, n)), growing, scipy.linalg.hilbert(n)):
        (reflectors, taus), _ = scipy.linalg.qr(a, mode="raw")
        q = np.asarray(linalg.householder_product(reflectors, taus))
        np.testing.assert_allclose(q.T @ q, np.eye(n), atol=1e-13)


def test_batches_of_reflectors():
    a, taus = random((2, 3, 4, 3)), random((2, 3, 3))
    got = fst.vmap(linalg.householder_product, in_axes=(1, 0))(a.swapaxes(0, 1), taus)
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose(
            np.asarray(got)[i], linalg.householder_product(a[i], taus[i]), atol=1e-12
        )


# Updates and products


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("n", [4, 1, 0])
def test_cholesky_update(n, dtype):
    a, w = random((n, n), dtype), random(n, dtype, 1)
    r = np.linalg.cholesky(a @ a.conj().T + np.eye(n)).conj().T

    def by_cholesky(r, w):
        r = fnp.triu(r)
        return fnp.conj(linalg.cholesky(fnp.conj(r.T) @ r + fnp.outer(w, fnp.conj(w)))).T

    np.testing.assert_allclose(linalg.cholesky_update(r, w), by_cholesky(r, w), atol=1e-13)

    def through(function):
        def f(r, w):
            real_diagonal = fnp.triu(r, 1) + fnp.diag(fnp.real(fnp.diagonal(r)))
            return weighted(OURS, function(real_diagonal, w))

        return fst.grad(f, (0, 1))(r, w)

    for got, want in zip(through(linalg.cholesky_update), through(by_cholesky), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_cholesky_updates_of_stacks():
    a, w = random((2, 3, 3)), random((2, 3), seed=1)
    r = np.triu(a) + 5 * np.eye(3)
    got = np.asarray(linalg.cholesky_update(r, w))
    gram = r.swapaxes(-1, -2) @ r + w[:, :, None] * w[:, None, :]
    np.testing.assert_allclose(got.swapaxes(-1, -2) @ got, gram, rtol=1e-13, atol=1e-13)


def test_symmetric_product():
    a, c = random((2, 3, 4)), random((2, 3, 3), seed=1)
    want = 2 * a @ a.swapaxes(-1, -2) + 0.5 * c
    got = linalg.symmetric_product(a, c, alpha=2.0, beta=0.5)
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-14)
    got = linalg.symmetric_product(a, c, alpha=2.0, beta=0.5, symmetrize_output=True)
    low = np.tril(want)
    np.testing.assert_allclose(got, low + np.tril(want, -1).swapaxes(-1, -2), atol=1e-14)
    np.testing.assert_allclose(
        linalg.symmetric_product(a, c), a @ a.swapaxes(-1, -2), rtol=1e-14, atol=1e-14
    )


# Tridiagonal systems


@pytest.mark.parametrize("scipy_is_there", [True, False])
def test_tridiagonal_solve_needs_pivots(monkeypatch, scipy_is_there):
    """Without swapping rows a diagonal of tiny numbers would lose all digits."""
    if not scipy_is_there:
        monkeypatch.setitem(sys.modules, "scipy.linalg.lapack", None)
    m = 200
    dl, du, b = np.ones((3, m)), np.ones((3, m)), random((3, m, 2))
    d = np.full((3, m), 1e-18)
    x = np.asarray(linalg.tridiagonal_solve(dl, d, du, b))
    a = np.diag(d[0]) + np.diag(dl[0, 1:], -1) + np.diag(du[0, 1:], 1)
    np.testing.assert_allclose(a @ x, b, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_both_ways_to_solve_tridiagonal_systems_agree(dtype):
    parts = [random((2, 5), dtype[:5] + "64", k).astype(dtype) for k in range(3)]
    b = random((2, 5, 3), seed=3).astype(dtype)
    by_lapack = tridiagonal._by_lapack(*parts, b)
    by_rows = tridiagonal._eliminate(np, *parts, b)
    assert by_lapack.dtype == by_rows.dtype == np.dtype(dtype)
    tolerance = 1e-3 if dtype in ("float32", "complex64") else 1e-11
    np.testing.assert_allclose(by_lapack, by_rows, rtol=tolerance)


@pytest.mark.parametrize("name", ["cholesky", "solve"])
def test_cupy_is_told_to_refuse_matrices(monkeypatch, name):
    """Left to itself it does not look whether a matrix was refused."""
    asked = []

    @contextlib.contextmanager
    def errstate(linalg):
        asked.append(linalg)
        yield

    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(errstate=errstate))
    monkeypatch.setattr(device, "_cupy", fake_cupy.Module)
    stack = np.stack([-np.eye(2) if name == "cholesky" else np.ones((2, 2)), np.eye(2)])
    x = fst.device_put(stack, "cuda:0")
    got = linalg.cholesky(x) if name == "cholesky" else solve(x, x)
    np.testing.assert_array_equal(np.asarray(got), [np.full((2, 2), np.nan), np.eye(2)])
    # Together, then one by one.
    assert asked == ["raise"] * 3


# Errors

M, V = np.ones((3, 3)), np.ones(3)
REFUSED = [
    (lambda: linalg.lu(V), errors.ShapeError, r"lu: takes matrices \(.*\), got float64\[3\]"),
    (lambda: linalg.lu(M > 0), errors.DtypeError, r"lu: takes float32, .* got bool\[3,3\]"),
    (lambda: linalg.eigh(M.astype(int)), errors.DtypeError, r"eigh: takes .* got int64\[3,3\]"),
    (lambda: linalg.qr(V), errors.ShapeError, "qr: takes matrices"),
    (lambda: linalg.svd(np.ones((2, 2), np.float16)), errors.DtypeError, "svd: takes float32"),
    (lambda: linalg.eigh(M[:2]), errors.ShapeError, r"eigh: takes square .* float64\[2,3\]"),
    (lambda: linalg.eig(M[:2]), errors.ShapeError, r"eig: takes square .* float64\[2,3\]"),
    (lambda: linalg.cholesky(M[:2]), errors.ShapeError, r"cholesky: takes square"),
    (
        lambda: linalg.eigh(M, subset_by_index=(2, 5)),
        errors.OptionError,
        r"eigh: subset_by_index must be .* 0 <= start <= end <= 3, got \(2, 5\)",
    ),
    (
        lambda: linalg.svd(M, subset_by_index=(0, 1)),
        errors.OptionError,
        r"svd: subset_by_index goes without the completed vectors.*full_matrices=False",
    ),
    (
        lambda: linalg.lu_pivots_to_permutation(V, 3),
        errors.DtypeError,
        r"pivots must be int32, got float64\[3\]",
    ),
    (
        lambda: linalg.lu_pivots_to_permutation(V.astype("int32"), 2),
        errors.ShapeError,
        r"at most permutation_size = 2 elements, got int32\[3\]",
    ),
    (
        lambda: linalg.tridiagonal_solve(V, V, V[:2], M),
        errors.ShapeError,
        r"tridiagonal_solve: diagonals .* float64\[3\], float64\[3\] and float64\[2\]",
    ),
    (
        lambda: linalg.tridiagonal_solve(V, V, V, V),
        errors.ShapeError,
        r"b must be \(..., m, n\) .* got float64\[3\] and float64\[3\]",
    ),
    (
        lambda: linalg.tridiagonal_solve(V, V, V, M.astype("float32")),
        errors.DtypeError,
        "tridiagonal_solve: dtypes must be equal",
    ),
    (
        lambda: linalg.householder_product(M[:2], V[:1]),
        errors.ShapeError,
        r"at least as many rows as columns, got float64\[2,3\]",
    ),
    (
        lambda: linalg.householder_product(M, np.ones(4)),
        errors.ShapeError,
        r"taus must be \(..., k\) with k <= min\(m, n\) .* got float64\[4\]",
    ),
    (
        lambda: linalg.ormqr(M, V, np.ones((2, 3))),
        errors.ShapeError,
        r"ormqr: c must have 3 rows, got float64\[2,3\]",
    ),
    (
        lambda: linalg.ormqr(M, V, np.ones((3, 2)), left=False),
        errors.ShapeError,
        r"ormqr: c must have 3 columns, got float64\[3,2\]",
    ),
    (
        lambda: linalg.cholesky_update(M, V[:2]),
        errors.ShapeError,
        r"w_vector must be \(..., n\) .* got float64\[2\] for float64\[3,3\]",
    ),
    (
        lambda: linalg.symmetric_product(M[:2], M),
        errors.ShapeError,
        r"c_matrix must be float64\[2,2\] for a_matrix float64\[2,3\], got float64\[3,3\]",
    ),
    (
        lambda: fst.jvp(linalg.svd, (M[:2],), (M[:2],)),
        errors.MissingRuleError,
        r"svd: has no derivative when full_matrices .* float64\[2,3\]; pass full_matrices=False",
    ),
    (
        lambda: fst.jvp(linalg.qr, (M[:, :2],), (M[:, :2],)),
        errors.MissingRuleError,
        r"qr: has no derivative when full_matrices .* float64\[3,2\]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), REFUSED, ids=[t for *_, t in REFUSED])
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()

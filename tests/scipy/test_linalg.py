"""scipy.linalg: values against SciPy, derivatives against JAX, both in double precision."""

import functools
import inspect

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from fstensor.scipy import linalg as own
from tests.numpy.compare import check, few, values
from tests.numpy.matrices import definite, hermitian, matrix

# Elimination and decompositions amplify roundings by the condition number, here up to about 50.
FACTOR = 500
kinds = st.sampled_from(["float32", "float64", "complex64", "complex128"])
sizes = st.integers(1, 4)


@pytest.fixture(autouse=True, scope="module")
def wide():
    with jax.enable_x64(True):
        yield


class TestSystems:
    @few
    @given(sizes, st.integers(0, 3), kinds)
    def test_solve(self, n, m, dtype):
        any_b = [values((n, m), dtype), values((n,), dtype)]
        for b in any_b:
            for assume_a, a in [
                ("gen", matrix((n, n), dtype)), ("general", matrix((n, n), dtype)),
                ("her", hermitian((n, n), dtype) + 4 * np.eye(n, dtype=dtype)),
                ("pos", definite((n, n), dtype)), ("positive definite", definite((n, n), dtype)),
                ("sym", matrix((n, n), dtype) + matrix((n, n), dtype).T),
            ]:  # fmt: skip
                expected = np.linalg.solve(a, b)
                check(own.solve(a, b, assume_a=assume_a), expected, dtype, FACTOR)
                if not assume_a.startswith("gen"):
                    for lower, part in ((True, np.tril), (False, np.triu)):
                        got = own.solve(part(a), b, lower, assume_a=assume_a)
                        check(got, expected, dtype, FACTOR)
            a = matrix((n, n), dtype)
            for words, part in [
                ("lower triangular", np.tril(a)), ("upper triangular", np.triu(a)),
                ("diagonal", np.diag(np.diag(a))),
            ]:  # fmt: skip
                got = own.solve(a, b, assume_a=words)
                check(got, np.linalg.solve(part, b), dtype, FACTOR)

    @few
    @given(sizes, kinds, st.booleans(), st.booleans(), st.sampled_from([0, 1, 2, "N", "T", "C"]))
    def test_triangular(self, n, dtype, lower, unit, trans):
        a = matrix((n, n), dtype)
        for b in (values((n, 2), dtype), values((n,), dtype)):
            expected = scipy.linalg.solve_triangular(
                a, b, trans=trans, lower=lower, unit_diagonal=unit
            )
            check(own.solve_triangular(a, b, trans, lower, unit), expected, dtype, FACTOR)

    @few
    @given(sizes, kinds, st.booleans())
    def test_cholesky(self, n, dtype, lower):
        a = definite((n, n), dtype)
        one_triangle = np.tril(a) if lower else np.triu(a)
        check(own.cholesky(one_triangle, lower), scipy.linalg.cholesky(a, lower), dtype, FACTOR)
        factor = own.cho_factor(one_triangle, lower)
        assert factor[1] is lower
        for b in (values((n, 2), dtype), values((n,), dtype)):
            check(own.cho_solve(factor, b), np.linalg.solve(a, b), dtype, FACTOR)
            theirs = scipy.linalg.cho_factor(a, lower)
            check(own.cho_solve(theirs, b), np.linalg.solve(a, b), dtype, FACTOR)

    @few
    @given(sizes, sizes, kinds)
    def test_lu(self, m, n, dtype):
        a = values((m, n), dtype)
        got = own.lu(a)
        swaps, *triangles = scipy.linalg.lu(a)
        check([*got], [swaps.real, *triangles], factor=FACTOR)
        assert got[0].dtype == a.real.dtype
        check([*own.lu(a, permute_l=True)], [*scipy.linalg.lu(a, permute_l=True)], factor=FACTOR)
        check([*own.lu_factor(a)], [*scipy.linalg.lu_factor(a)], factor=FACTOR)

    @few
    @given(sizes, kinds, st.sampled_from([0, 1, 2]))
    def test_lu_solve(self, n, dtype, trans):
        a = values((n, n), dtype) + 0.1 * np.eye(n, dtype=dtype)
        op = [a, a.T, a.conj().T][trans]
        for b in (values((n, 2), dtype), values((n,), dtype)):
            got = own.lu_solve(own.lu_factor(a), b, trans)
            # The matrix need not be well conditioned: compare what solves the system.
            np.testing.assert_allclose(op @ np.asarray(got), b, atol=1e3 * np.finfo(dtype).eps)
            theirs = own.lu_solve(scipy.linalg.lu_factor(a), b, trans)
            np.testing.assert_allclose(theirs, got, rtol=1e5 * np.finfo(dtype).eps)

    def test_stacks(self):
        a, b = matrix((3, 4, 4)), values((3, 4, 2), "float64")
        spd = definite((3, 4, 4))
        for f, x in [
            (own.solve, a), (lambda x, y: own.lu_solve(own.lu_factor(x), y), a),
            (own.solve_triangular, a), (lambda x, y: own.cho_solve(own.cho_factor(x), y), spd),
            (lambda x, y: own.solve(x, y, assume_a="pos"), spd),
            (lambda x, y: own.solve(x, y, assume_a="diagonal"), a),
        ]:  # fmt: skip
            loop = np.stack([np.asarray(f(*pair)) for pair in zip(x, b, strict=True)])
            check(f(x, b), loop, factor=FACTOR)
            check(fst.vmap(f)(x, b), loop, factor=FACTOR)
            check(fst.jit(f)(x, b), loop, factor=FACTOR)
            shared = np.stack([np.asarray(f(y, b[0])) for y in x])
            check(f(x, b[0]), shared, factor=FACTOR)
        swaps, low, high = own.lu(a)
        check(swaps @ low @ high, a, factor=FACTOR)
        again = fst.jit(fst.vmap(own.lu))(a)
        check(again, [np.asarray(x) for x in (swaps, low, high)], factor=FACTOR)


class TestDecompositions:
    @few
    @given(sizes, sizes, kinds, st.sampled_from(["full", "economic", "r"]))
    def test_qr(self, m, n, dtype, mode):
        a = matrix((m, n), dtype)
        expected = np.linalg.qr(
            a, {"full": "complete", "economic": "reduced", "r": "complete"}[mode]
        )
        got = own.qr(a, False, None, mode)
        check([*got], [expected.R] if mode == "r" else [*expected], dtype, FACTOR)
        assert len(got) == len(scipy.linalg.qr(a, mode=mode)[: len(got)])

    def test_svd(self):
        a = matrix((3, 2))
        found = own.svd(a)
        assert type(found) is tuple
        assert [x.shape for x in found] == [(3, 3), (2,), (2, 2)]
        check(own.svd(a, compute_uv=False), scipy.linalg.svdvals(a), factor=FACTOR)
        check(own.svd(a, full_matrices=False)[1], scipy.linalg.svdvals(a), factor=FACTOR)

    @few
    @given(sizes, kinds, st.booleans(), st.sampled_from([None, 1, 2, 3]))
    def test_eigh(self, n, dtype, lower, kind):
        a, b = hermitian((n, n), dtype), definite((n, n), dtype, 5)
        b = None if kind is None else (b / 8 + np.eye(n)).astype(dtype)
        part = np.tril if lower else np.triu
        right = None if b is None else part(b)
        type_ = 1 if kind is None else kind
        w, v = own.eigh(part(a), right, lower, type=type_)
        if lower:
            check(own.eigh(part(a), right, type=type_)[0], np.asarray(w), None, FACTOR)
        by_place = (False, False, False, True, None, type_)
        check(own.eigh(part(a), right, lower, *by_place)[0], np.asarray(w), None, FACTOR)
        expected = scipy.linalg.eigh(a, b, eigvals_only=True, type=type_)
        check(w, expected, expected.dtype, FACTOR)
        check(own.eigh(part(a), right, lower, True, type=type_), np.asarray(w), None, FACTOR)
        v = np.asarray(v)
        b = np.eye(n, dtype=dtype) if b is None else b
        left, under = {1: (a @ v, b @ v), 2: (a @ b @ v, v), 3: (b @ a @ v, v)}[type_]
        np.testing.assert_allclose(left, under * np.asarray(w), atol=300 * np.finfo(dtype).eps)
        metric = np.linalg.inv(b) if type_ == 3 else b
        unit = v.conj().T @ metric @ v
        np.testing.assert_allclose(unit, np.eye(n), atol=300 * np.finfo(dtype).eps)


class TestFunctions:
    @few
    @given(sizes, kinds, st.floats(0.01, 20))
    def test_expm(self, n, dtype, size):
        a = (values((2, n, n), dtype, -1, 1) * size).astype(dtype)
        wide = np.result_type(dtype, np.float64)
        check(own.expm(a), scipy.linalg.expm(a.astype(wide)), dtype, 2000)

    def test_expm_of_other_shapes(self):
        for shape in [(0, 0), (0, 2, 2), (2, 0, 0)]:
            assert own.expm(np.ones(shape)).shape == shape
        check(own.expm(np.zeros((2, 2), int)), np.eye(2), "float32")
        check(own.expm(np.diag([600.0, -800.0])), np.diag(np.exp([600.0, -800.0])), factor=FACTOR)

    @pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
    def test_limit_of_squarings(self, dtype):
        # The largest sums of a column, 5, 10, 20, need 0, 1, 2 squarings.
        a = (values((3, 3, 3), dtype, -1, 1)).astype(dtype)
        a = a / np.abs(a).sum(-2).max(-1)[:, None, None] * np.array([5, 10, 20])[:, None, None]
        a = a.astype(dtype)
        full = np.asarray(own.expm(a))
        for most in range(3):
            got = np.asarray(own.expm(a, max_squarings=most))
            np.testing.assert_array_equal(got[: most + 1], full[: most + 1])
            assert np.isnan(got[most + 1 :]).all()
            jitted = fst.jit(lambda a, m=most: own.expm(a, max_squarings=m))(a)
            check(jitted, got, None, FACTOR)
        slope = fst.grad(lambda a: fnp.real(own.expm(a, max_squarings=1)).sum())
        plain = fst.grad(lambda a: fnp.real(own.expm(a)).sum())
        check(fst.vmap(slope)(a[:2]), np.asarray(fst.vmap(plain)(a[:2])), None, FACTOR)
        assert np.isnan(own.expm(np.eye(2) * 1e7)).all()
        check(own.expm(np.eye(2) * -1e7, max_squarings=2000), np.zeros((2, 2)), None, FACTOR)

    def test_expm_of_upper_triangles(self):
        a = values((2, 4, 4), "float64", -1, 1)
        expected = scipy.linalg.expm(np.triu(a))
        f = functools.partial(own.expm, upper_triangular=True)
        check(f(a), expected, None, FACTOR)
        check(fst.vmap(fst.jit(f))(a), expected, None, FACTOR)
        slope = fst.grad(lambda a: f(a).sum())(a)
        plain = fst.grad(lambda a: own.expm(a).sum())(np.triu(a))
        check(slope, np.triu(plain), None, FACTOR)

    @few
    @given(sizes, st.sampled_from(["float64", "complex128"]))
    def test_expm_frechet(self, n, dtype):
        a, e = values((n, n), dtype), values((n, n), dtype, seed=1)
        expected = scipy.linalg.expm_frechet(a, e)
        check([*own.expm_frechet(a, e)], [*expected], dtype, FACTOR * 4)
        got = own.expm_frechet(a, e, compute_expm=False)
        check(got, expected[1], dtype, FACTOR * 4)
        check(own.expm_frechet(np.stack([a, e]), e)[1][0], expected[1], dtype, FACTOR * 4)

    def test_expm_of_tiny_and_huge_directions(self):
        a, e = values((3, 3), "float64"), values((3, 3), "float64", seed=1)
        slope = np.asarray(own.expm_frechet(a, e, compute_expm=False))
        for size in (1e-200, 1e200):
            check(own.expm_frechet(a, e * size, compute_expm=False), slope * size, None, FACTOR)

    @few
    @given(sizes, kinds)
    def test_sqrtm(self, n, dtype):
        a = definite((2, n, n), dtype)
        root = own.sqrtm(a)
        check(root @ root, a, dtype, FACTOR)
        check(root[0], scipy.linalg.sqrtm(a[0]).astype(dtype), dtype, FACTOR)

    def test_sqrtm_of_other_matrices(self):
        got = np.asarray(own.sqrtm(np.stack([np.ones((2, 2)), -np.eye(2)])))
        np.testing.assert_allclose(got[0], np.full((2, 2), 0.5**0.5), rtol=1e-12)
        assert np.isnan(got[1]).all()

    def test_sqrtm_is_nan_unless_hermitian(self):
        good = definite((3, 3))
        skew = good + np.triu(np.full((3, 3), 1e-6), 1)
        for f in (own.sqrtm, fst.jit(own.sqrtm), fst.vmap(own.sqrtm)):
            got = np.asarray(f(np.stack([good, skew])))
            np.testing.assert_allclose(got[0], scipy.linalg.sqrtm(good), rtol=1e-10)
            assert np.isnan(got[1]).all()
        # Roundings are no asymmetry.
        near = good.astype("float32")
        near[0, 1] = np.nextafter(near[0, 1], np.float32(9))
        assert np.isfinite(own.sqrtm(near)).all()
        assert np.isnan(own.sqrtm(definite((2, 2), "complex128").T * 1j)).all()
        assert own.sqrtm(np.zeros((2, 0, 0))).shape == (2, 0, 0)

    def test_derivatives_of_sqrtm(self):
        def third(t):
            a = fnp.eye(3, dtype="float64") * 4 + t * fnp.asarray(hermitian((3, 3)))
            return own.sqrtm(a).sum()

        # At equal eigenvalues: sqrt(4 + t w) = 2 + t w / 4 - (t w)^2 / 64 + ..., in the basis of
        # eigenvectors.
        h = hermitian((3, 3))
        assert float(fst.grad(third)(np.array(0.0))) == pytest.approx(h.sum() / 4, abs=1e-12)
        curved = fst.grad(fst.grad(third))(np.array(0.0))
        assert float(curved) == pytest.approx(-(h @ h).sum() / 32, abs=1e-12)


@few
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4))
def test_block_diag(shapes):
    blocks = [values(s, "float64") for s in shapes]
    check(own.block_diag(*blocks), scipy.linalg.block_diag(*blocks))


def test_special_matrices():
    check(own.block_diag(1, np.array([2, 3]), np.ones((2, 1), int)),
          scipy.linalg.block_diag(1, [2, 3], np.ones((2, 1), int)))  # fmt: skip
    c, r = np.array([1 + 1j, 2, 3 - 2j]), np.array([9, 5, 6, 7 + 1j])
    for args in [(c,), (c, r), (r, c), (c.real, r.real), (c[:1], r), (c, r[:1])]:
        check(own.toeplitz(*args), scipy.linalg.toeplitz(*args))
        check(own.hankel(*args), scipy.linalg.hankel(*args))
    check(
        own.toeplitz(np.stack([c, 2 * c])), np.stack([scipy.linalg.toeplitz(x) for x in (c, 2 * c)])
    )
    check(own.toeplitz(2), scipy.linalg.toeplitz(2))
    check(own.circulant(c), scipy.linalg.circulant(c))
    check(own.circulant(np.stack([c, r[:3]])), scipy.linalg.circulant(np.stack([c, r[:3]])))
    check(own.companion(r), scipy.linalg.companion(r))
    check(own.companion(np.array([2, 3])), scipy.linalg.companion([2, 3]), "float32")
    many = own.companion(np.stack([r, r + 1]))
    check(many, np.stack([scipy.linalg.companion(x) for x in (r, r + 1)]))
    for n in (0, 1, 4):
        check(own.hilbert(n), 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0), "float32")
        for kind in ("symmetric", "lower", "upper"):
            expected = scipy.linalg.pascal(n, kind) if n else np.zeros((0, 0))
            check(own.pascal(n, kind), expected, "float32")
        check(own.pascal(n), np.asarray(own.pascal(n, "symmetric")), "float32")


SPD = definite((3, 3))
B = values((3, 2), "float64")
DERIVATIVES = {
    "solve": ((matrix((3, 3)), B), {}),
    "solve pos": ((SPD, B), {"assume_a": "pos"}),
    "solve_triangular": ((matrix((3, 3)), B), {"trans": 1, "lower": True}),
    "inv": ((matrix((3, 3)),), {}),
    "det": ((matrix((3, 3)),), {}),
    "cholesky": ((SPD,), {"lower": True}),
    "lu": ((matrix((3, 3)),), {}),
    "lu of a wide matrix": ((values((3, 4), "float64"),), {}),
    "lu permuted": ((values((4, 3), "float64"),), {"permute_l": True}),
    "qr": ((matrix((4, 3)),), {"mode": "economic"}),
    "svd": ((matrix((4, 3)),), {"full_matrices": False}),
    "eigh": ((hermitian((3, 3)),), {}),
    "expm": ((matrix((3, 3)),), {}),
    "expm of complex": ((values((3, 3), "complex128"),), {}),
    "expm_frechet": ((matrix((3, 3)), values((3, 3), "float64", seed=2)), {}),
    "toeplitz": ((B[:, 0], B[:, 1]), {}),
    "block_diag": ((B, SPD), {}),
    "companion": ((B[:, 0],), {}),
}


@pytest.mark.parametrize("case", DERIVATIVES)
def test_derivatives_like_jax(case, recorded):
    name = case.split()[0]
    args, options = DERIVATIVES[case]

    def loss(linalg, leaves, xp):
        def of(*xs):
            outs = leaves(getattr(linalg, name)(*xs, **options))
            return sum((xp.abs(y) ** 3 * (k + 1)).sum() for k, y in enumerate(outs))

        return of

    argnums = tuple(range(len(args)))
    theirs = jax.grad(loss(jax.scipy.linalg, jax.tree.leaves, jnp), argnums)
    expected = recorded.each(lambda: theirs(*args))
    if case == "solve pos":  # ours lies in the triangle that is read
        a = expected[0]
        expected = (np.triu(a) + np.tril(a, -1).T, expected[1])
    if name in ("cholesky", "eigh"):
        a = expected[0]
        expected = (np.tril(a) + np.triu(a, 1).T,)
    gradient = fst.grad(loss(own, fst.tree.leaves, fnp), argnums)
    check(gradient(*args), list(expected), factor=FACTOR * 2)
    check(fst.jit(gradient)(*args), list(expected), factor=FACTOR * 2)


@pytest.mark.parametrize("case", DERIVATIVES)
def test_jit_and_vmap(case):
    args, options = DERIVATIVES[case]
    function = getattr(own, case.split()[0])

    def call(*xs):
        return function(*xs, **options)

    def plain(found):
        return [np.asarray(y) for y in fst.tree.leaves(found)]

    check(fst.jit(call)(*args), plain(call(*args)), factor=20)
    stacks = [np.stack([x, 2 * x, x + x]) for x in args]
    each = [plain(call(*[s[i] for s in stacks])) for i in range(3)]
    batched = fst.vmap(call)(*stacks)
    check(batched, [np.stack(parts) for parts in zip(*each, strict=True)], factor=20)


def test_cho_factor_through_jit():
    def f(a, b):
        return own.cho_solve(own.cho_factor(a, lower=True), b)

    check(fst.jit(f)(SPD, B), np.linalg.solve(SPD, B), None, FACTOR)
    expected = np.asarray(jax.grad(lambda a: jnp.linalg.solve(a, B).sum())(SPD))
    got = fst.grad(lambda a: f(a, B).sum())(SPD)
    check(got, np.tril(expected) + np.triu(expected, 1).T, None, FACTOR)


def test_third_derivative_of_expm():
    """The derivatives of t -> exp(t a) are a^k exp(t a)."""
    a = values((3, 3), "float64", -1, 1)

    def f(t):
        return own.expm(t * a)

    slope = fst.jacfwd(fst.jacfwd(fst.jacfwd(f)))(np.array(0.7))
    check(slope, a @ a @ a @ scipy.linalg.expm(0.7 * a), None, FACTOR)
    back = fst.jacrev(fst.jacrev(f))(np.array(0.7))
    check(back, a @ a @ scipy.linalg.expm(0.7 * a), None, FACTOR)


def test_parameters_without_effect_keep_the_places():
    a, b = definite((3, 3)), values((3,), "float64")
    expected = np.linalg.solve(a, b)
    check(own.solve(np.tril(a), b, True, True, True, False, True, "pos"), expected, None, FACTOR)
    with pytest.raises(errors.OptionError, match="eigh: eigvals must be None"):
        own.eigh(a, eigvals=(0, 1))


def test_mistakes():
    square, wide = np.eye(3), np.ones((2, 3))
    for f in (own.inv, own.det, own.expm, own.sqrtm, own.cholesky, own.eigh):
        with pytest.raises(errors.ShapeError, match=r"takes square matrices .* float64\[2,3\]"):
            f(wide)
    with pytest.raises(errors.OptionError, match="solve: assume_a must be one of gen, sym"):
        own.solve(square, square, assume_a="banded")
    with pytest.raises(errors.OptionError, match="trans must be 0, 1, 2, 'N', 'T' or 'C', got 3"):
        own.solve_triangular(square, square, trans=3)
    with pytest.raises(errors.OptionError, match="lu_solve: trans must be"):
        own.lu_solve(own.lu_factor(square), square, trans=-1)
    with pytest.raises(errors.ShapeError, match="cho_solve: b must be"):
        own.cho_solve((square, True), np.ones(2))
    with pytest.raises(errors.OptionError, match="qr: mode must be 'full', 'r' or 'economic'"):
        own.qr(square, mode="raw")
    with pytest.raises(errors.OptionError, match="eigh: type must be 1, 2 or 3, got 4"):
        own.eigh(square, type=4)
    with pytest.raises(errors.ShapeError, match="eigh: a and b must be of one size"):
        own.eigh(square, np.eye(2))
    with pytest.raises(errors.ShapeError, match="expm_frechet: shapes must be equal"):
        own.expm_frechet(square, np.eye(2))
    with pytest.raises(errors.ShapeError, match="block_diag: takes matrices, vectors and scalars"):
        own.block_diag(np.ones((1, 1, 1)))
    with pytest.raises(errors.ShapeError, match="hankel: takes vectors"):
        own.hankel(square)
    with pytest.raises(errors.ShapeError, match="companion: takes at least 2 coefficients"):
        own.companion(np.ones(1))
    with pytest.raises(errors.OptionError, match="pascal: kind must be 'symmetric'"):
        own.pascal(3, "diagonal")


# Parameters of JAX's which have no effect there, or which are not supported here.
ABSENT = {
    "overwrite_a", "overwrite_b", "check_finite", "debug", "pivoting", "lapack_driver", "method",
    "blocksize",
}  # fmt: skip


@pytest.mark.parametrize("name", own.__all__)
def test_parameters_are_those_of_jax(name):
    function = getattr(own, name)
    ours = inspect.signature(function).parameters
    theirs = inspect.signature(getattr(jax.scipy.linalg, name)).parameters
    assert list(ours) == [p for p in theirs if p in ours]
    assert set(theirs) - set(ours) <= ABSENT
    assert function.__doc__

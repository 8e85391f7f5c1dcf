"""`fori_loop`, `map` and `associative_scan`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax
from fstensor.config import config
from fstensor.errors import (
    ArgumentError,
    AxisError,
    CarryTypeError,
    DtypeError,
    OptionError,
    ShapeError,
    TreeError,
)
from tests.tolerances import assert_close

X = np.asarray(0.7)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True), config.override(default_dtype_bits=64):
        yield


# fori_loop


def polynomial(m, **options):
    """((x + lower) x + lower + 1) x + ..., and so on up to `upper`."""
    return lambda x, lower, upper: m.lax.fori_loop(
        lower, upper, lambda i, c: c * x + i, x * 0 + 1, **options
    )


@pytest.mark.parametrize(("lower", "upper"), [(0, 5), (2, 4), (-3, 2), (3, 3), (4, 1), (-1, -4)])
def test_known_and_traced_bounds_have_the_same_values_and_gradients(lower, upper):
    expected = jax.grad(polynomial(jax))(X, lower, upper)
    value = polynomial(jax)(X, lower, upper)
    f = polynomial(fst)
    known = lambda x: f(x, lower, upper)
    assert_close(f(X, lower, upper), value, derivative=True)
    assert_close(fst.grad(known)(X), expected, derivative=True)
    assert_close(fst.jit(fst.grad(known))(X), expected, derivative=True)
    assert_close(fst.jit(f)(X, lower, upper), value, derivative=True)
    assert_close(fst.jit(fst.grad(f))(X, lower, upper), expected, derivative=True)
    second = jax.grad(jax.grad(polynomial(jax)))(X, lower, upper)
    assert_close(fst.jit(fst.grad(fst.grad(f)))(X, lower, upper), second, derivative=True)


def test_batches_of_bounds():
    lower, upper = np.array([0, 2, -1]), np.array([3, 1, 4])
    got = fst.vmap(fst.grad(polynomial(fst)), (None, 0, 0))(X, lower, upper)
    expected = [
        jax.grad(polynomial(jax))(X, int(a), int(b)) for a, b in zip(lower, upper, strict=True)
    ]
    assert_close(got, np.asarray(expected), derivative=True)


@pytest.mark.parametrize("unroll", [1, 2, 3, 9, True, False])
def test_unroll(unroll):
    f = polynomial(fst, unroll=unroll)
    assert_close(
        fst.grad(lambda x: f(x, 0, 5))(X), jax.grad(polynomial(jax))(X, 0, 5), derivative=True
    )


def test_the_counter_is_as_weak_as_the_bounds():
    def weak(m):
        return m.lax.fori_loop(0, 3, lambda i, c: c + i, np.int8(0))

    assert weak(fst).dtype == weak(jax).dtype == np.int8
    strong = lax.fori_loop(np.int16(0), np.int16(3), lambda i, c: i, np.int16(0))
    assert strong.dtype == np.int16
    assert (
        fst.jit(lambda n: lax.fori_loop(0, n, lambda i, c: c * i, np.int8(2)))(3).dtype == np.int8
    )


def test_bounds_that_end_their_dtype():
    assert lax.fori_loop(np.uint8(250), np.uint8(255), lambda i, c: c + 1, 0).item() == 5
    assert lax.fori_loop(np.int8(120), np.int8(127), lambda i, c: c + 1, 0).item() == 7


def test_bounds_of_two_dtypes_are_promoted():
    assert lax.fori_loop(np.int32(0), np.int64(3), lambda i, c: i, 0).dtype == np.int64


def test_trees_and_empty_trees():
    got = lax.fori_loop(
        0, 3, lambda i, c: {"a": c["a"] + i, "b": (c["b"][0] * 2,)}, {"a": 0, "b": (X,)}
    )
    assert got["a"].item() == 3
    assert_close(got["b"][0], X * 8)
    assert lax.fori_loop(0, 3, lambda i, c: None, None) is None


def test_fori_messages():
    body = lambda i, c: c
    with pytest.raises(DtypeError, match=r"fori_loop: lower must be an integer, got float64\[\]"):
        lax.fori_loop(0.0, 3, body, X)
    with pytest.raises(DtypeError, match=r"fori_loop: upper must be an integer, got bool\[\]"):
        lax.fori_loop(0, True, body, X)
    with pytest.raises(ShapeError, match=r"fori_loop: upper must be a scalar, got int64\[1\]"):
        lax.fori_loop(0, np.array([3]), body, X)
    with pytest.raises(ArgumentError, match="fori_loop: takes a function, got NoneType"):
        lax.fori_loop(0, 3, None, X)
    with pytest.raises(OptionError, match="fori_loop: unroll needs bounds that are known while"):
        fst.jit(polynomial(fst, unroll=2))(X, 0, 3)
    with pytest.raises(
        CarryTypeError, match=r"the body changes .*\['a'\] from float64\[\] to bool"
    ):
        lax.fori_loop(0, 3, lambda i, c: {"a": c["a"] > 0}, {"a": X})


def test_disable_jit_gives_python_numbers_to_look_at():
    seen = []
    with config.override(disable_jit=True):
        y = lax.fori_loop(1, 4, lambda i, c: seen.append(int(i)) or c * 2, X)
    assert seen == [1, 2, 3]
    assert_close(y, X * 8)


# map


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 7, 10])
@pytest.mark.parametrize("size", [0, 1, 6, 7])
def test_map(size, batch_size, recorded):
    xs = {"a": np.arange(size * 2.0).reshape(size, 2), "b": np.arange(size)}

    def f(x):
        return x["a"] * x["b"], (x["a"].sum(),)

    got = lax.map(f, xs, batch_size=batch_size)
    expected = recorded.each(lambda: jax.tree.leaves(jax.lax.map(f, xs)))
    for a, b in zip(fst.tree.leaves(got), expected, strict=True):
        assert_close(a, b)

    def total(a, m):
        both, (sums,) = m.lax.map(f, {"a": a * a, "b": xs["b"]}, batch_size=batch_size)
        return both.sum() + sums.sum()

    theirs = recorded(lambda: jax.grad(lambda a: total(a, jax))(xs["a"]))
    assert_close(fst.grad(lambda a: total(a, fst))(xs["a"]), theirs, derivative=True)


def test_map_messages():
    with pytest.raises(OptionError, match="map: batch_size must be at least 1, got 0"):
        lax.map(lambda x: x, np.ones(3), batch_size=0)
    with pytest.raises(ArgumentError, match=r"map: batch_size must be an integer, got 1\.5"):
        lax.map(lambda x: x, np.ones(3), batch_size=1.5)
    with pytest.raises(ArgumentError, match="map: takes a function, got ndarray"):
        lax.map(np.ones(3), lambda x: x)
    with pytest.raises(ArgumentError, match="map: xs must hold at least one array"):
        lax.map(lambda x: x, None)
    for size in (None, 2):
        with pytest.raises(ShapeError, match="map: leading axes must have one size, got xs"):
            lax.map(lambda x: x, (np.ones(3), np.ones(2)), batch_size=size)


# associative_scan


@pytest.mark.parametrize("n", range(18))
def test_sums_and_products_of_any_number(n):
    x = np.random.default_rng(n).standard_normal((2, n, 3))
    for axis, reverse in itertools.product((1, -2), (False, True)):
        got = lax.associative_scan(fnp.add, x, reverse=reverse, axis=axis)
        flipped = np.flip(np.cumsum(np.flip(x, 1), 1), 1) if reverse else np.cumsum(x, 1)
        assert_close(got, flipped, derivative=True)
    ints = np.arange(1, n + 1)
    np.testing.assert_array_equal(lax.associative_scan(fnp.multiply, ints), np.cumprod(ints))
    bools = ints % 3 == 0
    np.testing.assert_array_equal(
        lax.associative_scan(fnp.logical_or, bools), np.logical_or.accumulate(bools)
    )


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("reverse", [False, True])
def test_functions_that_do_not_commute_and_trees(n, reverse, recorded):
    rng = np.random.default_rng(n)
    elems = {"a": rng.standard_normal((n, 2, 2)), "b": rng.standard_normal((n, 2))}

    def affine(np_):
        def combine(p, q):
            return {
                "a": np_.matmul(q["a"], p["a"]),
                "b": np_.einsum("nij,nj->ni", q["a"], p["b"]) + q["b"],
            }

        return combine

    got = lax.associative_scan(affine(fnp), elems, reverse=reverse)
    expected = [{k: v[i] for k, v in elems.items()} for i in range(n)]
    order = range(n - 2, -1, -1) if reverse else range(1, n)
    for i in order:
        p, q = expected[i + 1 if reverse else i - 1], expected[i]
        expected[i] = {"a": q["a"] @ p["a"], "b": q["a"] @ p["b"] + q["b"]}
    for i in range(n):
        for k in "ab":
            np.testing.assert_allclose(got[k][i], expected[i][k], rtol=1e-12, atol=1e-12)

    def total(e, m, np_):
        results = m.lax.associative_scan(affine(np_), e, reverse=reverse)
        return sum((y * y).sum() for y in results.values())

    ours = fst.grad(lambda e: total(e, fst, fnp))(elems)
    gradient = jax.grad(lambda e: total(e, jax, jnp))
    theirs = recorded.each(lambda: [gradient(elems)[k] for k in "ab"])
    for k, want in zip("ab", theirs, strict=True):
        assert_close(ours[k], want, derivative=True, factor=100)


def test_associative_scan_keeps_signed_zeros():
    got = lax.associative_scan(lambda a, b: b, np.float64([-0.0, -0.0, -0.0, -0.0, -0.0]))
    assert np.all(np.signbit(got))


def test_the_depth_is_logarithmic():
    calls = []
    lax.associative_scan(lambda a, b: calls.append(len(a)) or a + b, np.ones(1000))
    assert len(calls) <= 20
    assert sum(calls) <= 2000


def test_associative_scan_messages():
    with pytest.raises(ArgumentError, match="associative_scan: takes a function, got ndarray"):
        lax.associative_scan(np.ones(3), fnp.add)
    with pytest.raises(AxisError, match="associative_scan: axis 2 does not exist in an array of 1"):
        lax.associative_scan(fnp.add, np.ones(3), axis=2)
    with pytest.raises(
        ShapeError, match=r"sizes along axis 0 must be equal, got float64\[3\], float64\[2\]"
    ):
        lax.associative_scan(lambda a, b: a, (np.ones(3), np.ones(2)))
    with pytest.raises(TreeError, match="associative_scan: fn must keep the structure"):
        lax.associative_scan(lambda a, b: (a, b), np.ones(3))
    with pytest.raises(CarryTypeError, match=r"changes \['k'\] from float64\[1\] to float32\[1\]"):
        lax.associative_scan(lambda a, b: {"k": a["k"].astype(np.float32)}, {"k": np.ones(3)})
    assert lax.associative_scan(fnp.add, ()) == ()

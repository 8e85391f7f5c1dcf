"""NumPy's own functions on Arrays and tracers."""

import numpy as np
import pytest
import scipy.special

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values

X = values((2, 3), "float32", 0.1, 0.9)


def is_array(x):
    return isinstance(x, fst.Array)


@pytest.mark.parametrize(
    "function",
    [np.sin, np.exp, np.abs, np.sqrt, np.negative, np.isnan, np.floor, np.conj, np.square, np.sum,
     np.mean, np.max, np.argmax, np.cumsum, np.sort, np.ravel, np.transpose, np.median, np.diff,
     np.trace, np.unique, np.zeros_like, np.var, np.count_nonzero, np.any, np.round, np.diagonal],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_functions_of_one_array(function):
    got = function(fnp.asarray(X))
    assert is_array(got)
    check(got, function(X), factor=20)


@pytest.mark.parametrize(
    "function",
    [np.add, np.multiply, np.power, np.maximum, np.arctan2, np.less, np.equal, np.logical_and,
     np.hypot, np.dot, np.outer, np.kron, np.array_equal, np.allclose],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_functions_of_two_arrays(function):
    x, y = X[:, :2], X[:, 1:]
    for pair in [(fnp.asarray(x), fnp.asarray(y)), (x, fnp.asarray(y)), (fnp.asarray(x), y)]:
        got = function(*pair)
        assert is_array(got)
        check(got, function(x, y), factor=20)


def test_functions_with_options():
    x = fnp.asarray(X)
    check(np.sum(x, axis=1, keepdims=True), X.sum(1, keepdims=True))
    check(np.max(x, 0, initial=2.0), X.max(0, initial=2.0))
    check(np.concatenate([x, X], axis=1), np.concatenate([X, X], axis=1))
    check(np.stack([x, x], axis=-1), np.stack([X, X], axis=-1))
    check(np.where(x > 0.5, x, 0.0), np.where(X > 0.5, X, 0))
    check(np.einsum("ij,kj->ik", x, x), np.einsum("ij,kj->ik", X, X))
    check(np.reshape(x, (3, 2)), X.reshape(3, 2))
    check(np.pad(x, 1), np.pad(X, 1))
    check(np.clip(x, 0.3, 0.5), np.clip(X, 0.3, 0.5))
    check(np.interp(0.5, x[0].sort(), x[1]), np.interp(0.5, np.sort(X[0]), X[1]))
    check(np.broadcast_to(x, (4, 2, 3)), np.broadcast_to(X, (4, 2, 3)))
    check(np.tensordot(x, x, ([0, 1], [0, 1])), np.tensordot(X, X, 2))
    assert np.shape(x) == (2, 3)
    assert np.ndim(x) == 2
    assert np.size(x) == 6
    assert np.result_type(x, np.int8) == np.float32


def test_methods_of_ufuncs():
    x = fnp.asarray(X)
    check(np.add.reduce(x), np.add.reduce(X))
    check(np.multiply.reduce(x, axis=1), np.multiply.reduce(X, axis=1), factor=20)
    check(np.maximum.reduce(x, axis=None, keepdims=True), X.max(keepdims=True))
    check(np.logical_or.reduce(x > 0.5, 1), (X > 0.5).any(1))
    check(np.add.accumulate(x, 1), np.add.accumulate(X, 1))
    check(
        np.multiply.outer(x, np.arange(2, dtype="float32")),
        np.multiply.outer(X, np.float32([0, 1])),
    )
    with pytest.raises(errors.ArgumentError, match=r"add\.reduceat: has no counterpart"):
        np.add.reduceat(x, [0, 1])
    with pytest.raises(errors.ArgumentError, match=r"maximum\.reduce: .*max does not take"):
        np.maximum.reduce(x, dtype=np.float64)


@pytest.mark.parametrize("name", ["erf", "erfc", "expit", "gammaln", "digamma", "psi", "erfinv"])
def test_scipy_special(name):
    function = getattr(scipy.special, name)
    check(function(fnp.asarray(X)), function(X), "float32", factor=50)


class TestTransforms:
    def test_grad(self):
        x = fnp.array([1.0, 2.0])
        check(fst.grad(lambda x: np.sum(np.sin(x)))(x), np.cos([1.0, 2.0]).astype("float32"))
        check(fst.grad(lambda x: np.sum(np.ones(2, "float32") * x))(x), np.ones(2))
        check(fst.grad(lambda x: np.float64(3) * x)(1.0), 3.0, "float32")

    def test_jit_and_vmap(self):
        f = fst.jit(fst.vmap(lambda x: np.dot(x, x) + np.add.reduce(x)))
        check(f(X), (X**2).sum(1) + X.sum(1), "float32")
        assert "dot_general" in str(fst.make_jaxpr(f)(X))

    def test_operators_with_ndarrays_on_the_left(self):
        n = np.ones(3, "float32")
        x = fnp.arange(3.0)
        for got, expected in [(n + x, [1, 2, 3]), (n - x, [1, 0, -1]), (n @ x, 3),
                              (n < x, [0, 0, 1]),
                              (np.float64(2) * x, [0, 2, 4]), (np.int8(2) ** x, [1, 2, 4]),
                              (np.float32(2) / (x + 1), [2, 1, 2 / 3])]:  # fmt: skip
            assert is_array(got)
            np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-6)
        assert (np.float64(2) * x).dtype == np.float32
        traced = fst.make_jaxpr(lambda x: n + x)(x)
        assert "add" in str(traced)

    def test_conversion_of_a_tracer(self):
        with pytest.raises(errors.TracerArrayConversionError, match=r"fstensor\.numpy"):
            fst.jit(np.asarray)(1.0)
        with pytest.raises(errors.TracerArrayConversionError):
            fst.jit(lambda x: np.ones(3)[x])(np.array([1]))
        with pytest.raises(errors.TracerArrayConversionError):
            fst.jit(lambda x: np.array([1.0, x]))(1.0)


class TestWriting:
    def test_into_an_ndarray(self):
        n = np.ones(3)
        n += fnp.arange(3.0)
        assert n.tolist() == [1, 2, 3]
        np.multiply(n, fnp.array(2.0), out=n)
        assert n.tolist() == [2, 4, 6]
        n[:] = fnp.zeros(3)
        assert n.tolist() == [0, 0, 0]
        np.add.at(n, [0, 0], fnp.array(1.0))
        assert n.tolist() == [2, 0, 0]

    def test_a_tracer_into_an_ndarray(self):
        def f(x):
            n = np.ones(3)
            n += x
            return n

        with pytest.raises(
            errors.TracerArrayConversionError, match=r"n = n \+ x instead of n \+= x"
        ):
            fst.jit(f)(1.0)

    def test_into_an_array(self):
        x = fnp.ones(3)
        with pytest.raises(errors.ImmutableArrayError, match="cannot be written into"):
            np.add(1, 2, out=x)
        with pytest.raises(errors.ImmutableArrayError, match="cannot be written into"):
            np.add.at(x, 0, 1)
        before = x
        x += 1  # binds a new array
        assert (before.tolist(), x.tolist()) == ([1, 1, 1], [2, 2, 2])


class TestRefusals:
    def test_unknown_functions(self):
        x = fnp.ones(3)
        with pytest.raises(
            errors.ArgumentError, match=r"spacing: has no counterpart .*np\.asarray"
        ):
            np.spacing(x)
        with pytest.raises(errors.ArgumentError, match="busday_count: has no counterpart"):
            np.busday_count(x, x)

    def test_unsupported_options(self):
        x = fnp.ones(3)
        with pytest.raises(errors.ArgumentError, match=r"add: .* no keyword arguments, got dtype"):
            np.add(x, x, dtype=np.float64)
        with pytest.raises(errors.ArgumentError, match="where"):
            np.sin(x, where=np.array([True, False, True]))
        with pytest.raises(errors.ArgumentError, match="sum: arrays are immutable, so out"):
            np.sum(x, out=np.zeros(()))
        with pytest.raises(errors.ArgumentError, match="does not take these arguments"):
            np.unique(x, sorted=False)


def test_array_namespace():
    x = fnp.ones(2)
    assert x.__array_namespace__() is fnp
    assert x.__array_namespace__(api_version="2025.12") is fnp
    with pytest.raises(errors.OptionError, match="array API"):
        x.__array_namespace__(api_version="1999.01")


def test_functions_of_linalg_are_their_own():
    """Some names stand in both namespaces, for functions that differ."""
    x = fnp.asarray(np.arange(8.0).reshape(2, 2, 2))
    check(np.linalg.trace(x), np.linalg.trace(np.asarray(x)))
    check(np.trace(x), np.trace(np.asarray(x)))
    check(np.linalg.diagonal(x), np.linalg.diagonal(np.asarray(x)))
    check(np.outer(x, x), np.outer(np.asarray(x), np.asarray(x)))
    with pytest.raises(errors.ShapeError, match="outer: takes vectors"):
        np.linalg.outer(x, x)
    with pytest.raises(errors.ArgumentError, match=r"multi_dot: .* does not take these arguments"):
        np.linalg.multi_dot([x[0], x[0]], out=np.ones((2, 2)))


def test_every_function_of_numpy_that_we_have_is_found():
    from fstensor.numpy.dispatch import _counterparts

    ours = {f.__name__ for f in _counterparts().values()}
    assert {"sum", "sin", "einsum", "unique", "pad", "true_divide", "concatenate"} <= ours
    assert _counterparts()[np.add] is fnp.add


def test_array_namespace_info():
    info = fnp.__array_namespace_info__()
    assert info.default_device() == "cpu"
    assert "cpu" in info.devices()
    assert info.default_dtypes()["real floating"] == np.float32
    assert set(info.dtypes(kind="integral")) == {
        f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32, 64)
    }
    assert set(info.dtypes(kind=("bool", "complex floating"))) == {
        "bool",
        "complex64",
        "complex128",
    }
    assert len(info.dtypes()) == 13
    assert info.capabilities()["data-dependent shapes"]
    with pytest.raises(errors.OptionError, match="kind must be one of"):
        info.dtypes(kind="decimal")

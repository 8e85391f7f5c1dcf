"""Trees of arrays as vectors."""

import jax
import jax.flatten_util
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.flatten_util import ravel_pytree
from tests.tolerances import assert_close

F32 = np.arange(6, dtype=np.float32).reshape(2, 3)
TREES = {
    "one dtype": {"w": F32, "b": (np.float32(7.0), [F32[0]])},
    "integers": [np.arange(3, dtype=np.int32), np.int32(5)],
    "mixed": {"a": F32, "n": np.arange(2, dtype=np.int32), "m": np.array([True, False])},
    "complex": [F32, np.array([1 + 2j], np.complex64)],
    "half": [F32.astype(np.float16), F32],
    "a leaf": F32,
    "weak": [2.0, F32],
    "empty arrays": [np.zeros((0, 3), np.float32), F32],
    "no leaves": {"a": (), "b": None},
    "nothing": [],
}


def assert_same_tree(got, expected):
    assert fst.tree.structure(got) == fst.tree.structure(expected)
    for g, e in zip(fst.tree.leaves(got), fst.tree.leaves(expected), strict=True):
        assert_close(g, e)


@pytest.mark.parametrize("name", TREES)
def test_vector_and_tree_like_jax(name):
    vector, unravel = ravel_pytree(TREES[name])
    expected, jax_unravel = jax.flatten_util.ravel_pytree(TREES[name])
    assert_close(vector, np.asarray(expected))
    expected = jax.tree.map(np.asarray, jax_unravel(expected))
    if name == "no leaves":  # JAX gives an empty list back
        expected = TREES[name]
    assert_same_tree(unravel(vector), expected)
    assert vector.ndim == 1
    assert not vector.weak_type


def test_any_dtype_where_the_leaves_have_one():
    _, unravel = ravel_pytree(TREES["one dtype"])
    assert unravel(np.zeros(10, np.float16))["w"].dtype == np.float16
    assert ravel_pytree([])[1](np.zeros(0, np.int32)) == []


def test_mistakes():
    vector, unravel = ravel_pytree(TREES["mixed"])
    assert vector.dtype == np.float32
    with pytest.raises(fst.errors.ShapeError, match=r"of the tree's 10 elements, got float32\[3\]"):
        unravel(np.zeros(3, np.float32))
    with pytest.raises(fst.errors.DtypeError, match=r"common dtype float32.*got float64\[10\]"):
        unravel(np.zeros(10, np.float64))
    with pytest.raises(fst.errors.ArgumentError, match="ravel_pytree"):
        ravel_pytree(["text"])


def test_the_vector_is_a_copy():
    x = np.ones(3, np.float32)
    vector, _ = ravel_pytree([x])
    x[0] = 5
    assert vector.tolist() == [1, 1, 1]


def test_unravel_is_hashable_and_static():
    _, unravel = ravel_pytree(TREES["mixed"])
    _, again = ravel_pytree(TREES["mixed"])
    assert unravel == again
    assert hash(unravel) == hash(again)
    doubled = fst.jit(lambda u, v: u(2 * v), static_argnums=0)
    vector, _ = ravel_pytree(TREES["mixed"])
    assert_close(doubled(unravel, vector)["a"], 2 * F32)


def test_grad_jit_vmap_through_both():
    params = {"w": np.array([1.0, 2.0]), "b": np.array(3.0)}
    vector, unravel = ravel_pytree(params)

    def loss(v):
        p = unravel(v)
        return fnp.sum(p["w"] ** 2) * p["b"]

    expected = np.array([5.0, 6.0, 12.0])  # b first: (w.w, 2 b w)
    assert_close(fst.grad(loss)(vector), expected)
    assert_close(fst.jit(fst.grad(loss))(vector), expected)
    rows = np.stack([np.asarray(vector), 2 * np.asarray(vector)])
    assert_close(fst.vmap(loss)(rows), np.array([15.0, 120.0]))

    def through_ravel(p):
        v, u = ravel_pytree(p)
        return fnp.sum(ravel_pytree(u(v**2))[0] * fnp.arange(3.0, dtype=float))

    got = fst.jit(fst.grad(through_ravel))(params)
    assert_close(got["w"], np.array([2.0, 8.0]))
    assert_close(got["b"], np.array(0.0))
    assert fst.vmap(lambda p: ravel_pytree(p)[0])(
        {"w": np.ones((4, 2)), "b": np.ones(4)}
    ).shape == (4, 3)


def test_derivative_through_mixed_dtypes():
    x = {"a": np.array([1.0, 2.0], np.float32), "b": np.array([3.0], np.float64)}

    def f(tree):
        vector, unravel = ravel_pytree(tree)
        out = unravel(vector * vector)
        return out["a"].sum() + out["b"].sum().astype(np.float32)

    got = fst.grad(f)(x)
    assert_close(got["a"], np.array([2.0, 4.0], np.float32))
    assert_close(got["b"], np.array([6.0]))

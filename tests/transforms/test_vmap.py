import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.errors import AxisError, OptionError, ShapeError, TreeError
from tests.tolerances import assert_close

M = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_in_axes_and_out_axes():
    assert_close(fst.vmap(lambda x: x * 2)(M), M * 2)
    assert_close(fst.vmap(lambda x: x * 2, in_axes=1, out_axes=1)(M), M * 2)
    assert_close(fst.vmap(lambda x: x * 2, in_axes=-1)(M), (M * 2).T)
    assert_close(fst.vmap(lambda x: x * 2, out_axes=-1)(M), (M * 2).T)
    assert_close(fst.vmap(lambda x, y: x + y, in_axes=(0, None))(M, M[0]), M + M[0])
    assert_close(fst.vmap(lambda x, y: fnp.dot(x, y), in_axes=(0, 1))(M, M.T), (M * M).sum(1))


def test_tree_prefixes():
    def f(p, x):
        return {"sum": p["a"] + x, "b": p["b"]}

    p = {"a": M, "b": np.float32(7)}
    out = fst.vmap(f, in_axes=({"a": 0, "b": None}, 0), out_axes={"sum": 0, "b": None})(p, M)
    assert_close(out["sum"], M + M)
    assert float(out["b"]) == 7.0
    whole = fst.vmap(lambda p: p["a"] * 2, in_axes=({"a": 1, "b": None},))(p)
    assert_close(whole, (2 * M).T)


def test_keyword_arguments_are_mapped_over_axis_0():
    assert_close(fst.vmap(lambda x, *, y: x + y)(M, y=M), M + M)


def test_unmapped_output_is_repeated():
    assert_close(fst.vmap(lambda x: fnp.ones(2), out_axes=1)(M), np.ones((2, 2), np.float32))


def test_axis_size_alone():
    assert_close(fst.vmap(lambda: fnp.zeros(3), axis_size=2)(), np.zeros((2, 3), np.float32))


def test_nested_with_different_axes():
    def f(np_, vmap):
        return vmap(vmap(lambda x, y: np_.sin(x) * y, in_axes=(0, None)), in_axes=(None, 0))

    assert_close(f(fnp, fst.vmap)(M, M), f(jnp, jax.vmap)(M, M))


def test_calls_function_once():
    calls = []
    fst.vmap(lambda x: calls.append(1) or x)(M)
    assert len(calls) == 1


def test_per_example_gradients():
    def loss(w, x):
        return fnp.sum(fnp.sin(w * x))

    w = np.float32([1.0, 2.0, 3.0])
    got = fst.vmap(fst.grad(loss), in_axes=(None, 0))(w, M)
    assert_close(got, np.stack([fst.grad(loss)(w, row) for row in M]))


def test_sizes_that_differ_are_named():
    def f(params, x):
        return params["w"] + x

    with pytest.raises(
        ShapeError,
        match=r"params\['w'\] of float32\[2,3\] has 2 along axis 0, "
        r"x of float32\[3,2\] has 3 along axis 0",
    ):
        fst.vmap(f)({"w": M}, M.T)


def test_errors_are_those_of_one_example():
    def add(x, y):
        return fst.lax.add(x, y)

    x, y = np.ones((3, 2), np.float32), np.ones((3, 1, 2), np.float32)
    with pytest.raises(ShapeError, match=r"got float32\[2\] and float32\[1,2\]"):
        fst.vmap(add)(x, y)
    with pytest.raises(ShapeError, match=r"got float32\[2\] and float32\[1,2\]"):
        add(x[0], y[0])


def test_axis_that_does_not_exist():
    with pytest.raises(AxisError, match=r"axis 2 to map over, got x of float32\[2,3\]"):
        fst.vmap(lambda x: x, in_axes=2)(M)
    with pytest.raises(AxisError, match=r"axis 0 to map over, got x of float32\[\]; None leaves"):
        fst.vmap(lambda x: x)(1.0)
    with pytest.raises(AxisError, match=r"out_axes: axis 5 does not exist"):
        fst.vmap(lambda x: x, out_axes=5)(M)


def test_wrong_prefixes():
    with pytest.raises(OptionError, match=r"an entry for each positional argument, got 2 for 1"):
        fst.vmap(lambda x: x, in_axes=(0, 0))(M)
    with pytest.raises(TreeError, match="vmap: in_axes"):
        fst.vmap(lambda p: p["a"], in_axes=({"b": 0},))({"a": M})
    with pytest.raises(OptionError, match=r"must be an int, None or a tuple .*, got dict"):
        fst.vmap(lambda x: x, in_axes={"x": 0})
    with pytest.raises(OptionError, match="pass axis_size"):
        fst.vmap(lambda x: x, in_axes=None)(M)
    with pytest.raises(OptionError, match=r"out_axes is None for an output .* depends on"):
        fst.vmap(lambda x: x, out_axes=None)(M)

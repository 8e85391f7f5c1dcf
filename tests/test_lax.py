"""Functions of `fstensor.lax` that are made of others; the operations have tests of their own."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors, lax
from tests.numpy.compare import check, values

X = values((2, 3), "float32", 0.5, 2)


def test_reciprocal_and_select():
    check(lax.reciprocal(X), 1 / X, "float32")
    check(lax.select(X > 1, X, -X), np.where(X > 1, X, -X), "float32")
    check(lax.select(True, X, -X), X, "float32")
    with pytest.raises(errors.ShapeError, match="select_n"):
        lax.select(X > 1, X, X[0])


def test_stop_gradient():
    assert float(fst.grad(lambda x: x * lax.stop_gradient(x))(3.0)) == 3
    tree = lax.stop_gradient({"a": 1.0, "b": (2,)})
    assert (float(tree["a"]), int(tree["b"][0])) == (1, 2)


class TestFull:
    def test_full(self):
        check(lax.full((2, 3), 7), np.full((2, 3), 7), "int32")
        check(lax.full((2,), 0.1, "float64"), np.full(2, 0.1), "float64")
        check(lax.full((), fnp.float32(3), np.int8), np.int8(3), "int8")
        check(lax.full_like(X, 2), np.full_like(X, 2), "float32")
        check(lax.full_like(X, 2, "int8", (4,)), np.full(4, 2), "int8")

    def test_traced_value(self):
        check(fst.grad(lambda v: lax.full((2, 3), v).sum())(1.0), 6.0, "float32")


def test_iota_and_broadcast():
    check(lax.iota("int32", 4), np.arange(4), "int32")
    check(lax.broadcasted_iota("float32", (2, 3), 1), np.indices((2, 3))[1], "float32")
    check(lax.broadcast(X, (4, 1)), np.broadcast_to(X, (4, 1, 2, 3)), "float32")


def test_collapse():
    y = values((2, 3, 4), "float32")
    check(lax.collapse(y, 0, 2), y.reshape(6, 4))
    check(lax.collapse(y, 1), y.reshape(2, 12))
    check(lax.collapse(y, -2, -1), y)
    with pytest.raises(errors.AxisError, match="start_dimension <= stop_dimension"):
        lax.collapse(y, 2, 1)
    with pytest.raises(errors.AxisError):
        lax.collapse(y, 0, 4)


def test_scalars_take_the_dtype_of_the_other_operand():
    x = fnp.ones(2, "bfloat16")
    assert lax.add(x, 1.5).dtype == x.dtype
    assert lax.mul(2, x).dtype == x.dtype


def test_operations_do_not_promote():
    with pytest.raises(errors.DtypeError, match=r"add: dtypes must be equal, got float32\[2,3\]"):
        lax.add(X, X.astype("float64"))
    with pytest.raises(errors.ShapeError, match="add: shapes must agree"):
        lax.add(X, X[0])

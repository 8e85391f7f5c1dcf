import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.errors import ArgumentError, DtypeError, ShapeError, TreeError
from tests.tolerances import assert_close


def test_value_and_tangent():
    x, t = np.float32([0.5, 1.5]), np.float32([1.0, -2.0])
    y, dy = fst.jvp(fnp.sin, (x,), (t,))
    assert_close(y, np.sin(x))
    assert_close(dy, np.cos(x) * t)


def test_trees_in_and_out():
    def f(p, x):
        return {"y": p["w"] * x, "x": x}

    out, tangent = fst.jvp(f, ({"w": 2.0}, 3.0), ({"w": 1.0}, 10.0))
    assert float(out["y"]) == 6.0
    assert float(tangent["y"]) == 3.0 + 20.0
    assert float(tangent["x"]) == 10.0


def test_has_aux():
    y, dy, aux = fst.jvp(lambda x: (x * x, {"n": x + 1}), (3.0,), (1.0,), has_aux=True)
    assert (float(y), float(dy), float(aux["n"])) == (9.0, 6.0, 4.0)


def test_constant_function_has_zero_tangent():
    _, dy = fst.jvp(lambda x: fnp.ones(3), (1.0,), (1.0,))
    assert dy.shape == (3,)
    assert not np.any(np.asarray(dy))


def test_integer_input_takes_a_float0_tangent():
    zero = np.zeros((), fst.float0)
    _, dy = fst.jvp(lambda n, x: n * x, (3, 2.0), (zero, 1.0))
    assert float(dy) == 3.0
    n, dn = fst.jvp(lambda n: n + 1, (3,), (zero,))
    assert int(n) == 4
    assert dn.dtype == fst.float0


def test_nested_jvp_gives_second_derivative():
    def derivative(f):
        return lambda x: fst.jvp(f, (x,), (1.0,))[1]

    assert_close(derivative(derivative(lambda x: x**3))(2.0), np.float32(12.0))


def test_tangents_of_another_shape():
    with pytest.raises(
        ShapeError, match=r"tangent must have the shape.*float32\[2\].*float32\[3\]"
    ):
        fst.jvp(fnp.sin, (np.ones(3, np.float32),), (np.ones(2, np.float32),))


def test_tangents_of_another_dtype():
    with pytest.raises(DtypeError, match=r"must have dtype float32, got float64\[3\]"):
        fst.jvp(fnp.sin, (np.ones(3, np.float32),), (np.ones(3),))
    with pytest.raises(DtypeError, match=r"must have dtype float0.*np\.zeros\(shape"):
        fst.jvp(lambda n: n, (3,), (1,))


def test_tangents_of_another_tree():
    with pytest.raises(TreeError, match="structure of primals"):
        fst.jvp(lambda d: d["a"], ({"a": 1.0},), ({"b": 1.0},))


def test_primals_must_be_a_tuple():
    with pytest.raises(ArgumentError, match=r"tuples or lists, got ndarray and ndarray"):
        fst.jvp(fnp.sin, np.ones(3), np.ones(3))

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.errors import MissingRuleError, TreeError
from fstensor.transforms.linearize import linearize_flat
from tests.tolerances import assert_close

X = np.float32([0.3, -1.2, 2.0])


def f(x):
    return fnp.sum(fnp.sin(x) * fnp.exp(x))


def test_matches_jvp_at_many_tangents():
    y, f_jvp = fst.linearize(f, X)
    assert_close(y, f(X))
    for t in np.eye(3, dtype=np.float32):
        assert_close(f_jvp(t), fst.jvp(f, (X,), (t,))[1])


def test_function_runs_once():
    calls = []

    def counted(x):
        calls.append(1)
        return fnp.sin(x)

    _, f_jvp = fst.linearize(counted, X)
    f_jvp(X)
    f_jvp(X)
    assert len(calls) == 1


def test_has_aux():
    y, f_jvp, aux = fst.linearize(lambda x: (x * x, "x" and x + 1), 3.0, has_aux=True)
    assert (float(y), float(f_jvp(1.0)), float(aux)) == (9.0, 6.0, 4.0)


def test_dead_residuals_are_dropped_and_shared_ones_kept_once():
    def two_uses(x):
        dead = fnp.exp(x)  # no output needs it
        return x * x, fnp.sin(x) * 1.0 + 0 * fst.lax.stop_gradient(dead)

    x = fnp.asarray(X)
    linear = linearize_flat(two_uses, [x], [True], "linearize", "two_uses")
    held = [c for c in linear.consts if c.shape]
    assert sum(c is x for c in held) == 1, "an input is a residual itself, once"
    assert len(held) == 2, "x and cos(x)"


def test_mutating_the_callers_array_changes_nothing():
    x = np.float32([1.0, 2.0])
    _, f_jvp = fst.linearize(lambda x: x * x, x)
    _, f_vjp = fst.vjp(lambda x: x * x, x)
    x[:] = 100
    assert_close(f_jvp(np.ones(2, np.float32)), np.float32([2, 4]))
    assert_close(f_vjp(np.ones(2, np.float32))[0], np.float32([2, 4]))


def test_mutating_a_captured_array_changes_nothing():
    c = np.float32([1.0, 2.0])
    _, f_vjp = fst.vjp(lambda x: x * c, np.ones(2, np.float32))
    c[:] = 100
    assert_close(f_vjp(np.ones(2, np.float32))[0], np.float32([1, 2]))


def test_linear_transpose():
    A = np.float32([[1, 2, 3], [4, 5, 6]])
    (ct,) = fst.linear_transpose(lambda x: fnp.dot(A, x), X)(np.float32([1, 10]))
    assert_close(ct, A.T @ np.float32([1, 10]))


def test_linear_transpose_takes_structs():
    struct = fst.ShapeDtypeStruct((3,), np.float32)
    (ct,) = fst.linear_transpose(lambda x: 2 * x, struct)(X)
    assert_close(ct, 2 * X)


def test_linear_transpose_of_a_nonlinear_function():
    with pytest.raises(MissingRuleError, match=r"sin: has no transpose rule"):
        fst.linear_transpose(fnp.sin, X)(X)


def test_cotangent_of_another_tree():
    _, f_vjp = fst.vjp(lambda x: (x, x), X)
    with pytest.raises(TreeError, match="structure of the output"):
        f_vjp(X)


def test_vjp_of_integers_gives_float0():
    _, f_vjp = fst.vjp(lambda n, x: n * x, 3, 2.0)
    ct_n, ct_x = f_vjp(1.0)
    assert ct_n.dtype == fst.float0
    assert float(ct_x) == 3.0

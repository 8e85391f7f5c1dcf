"""The check of derivatives accepts right ones and tells what is wrong."""

import jax
import jax.test_util
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.test_util import check_grads

X64 = np.linspace(-1.0, 1.0, 5)


def tree_function(p, n):
    return {"out": fnp.tanh(p["w"] @ p["x"]) * n, "count": n + 1, "norm": fnp.sum(p["w"] ** 2)}


@pytest.mark.parametrize("modes", [("fwd",), ("rev",), ["fwd", "rev"], "rev"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_right_derivatives_pass(dtype, modes):
    p = {"w": np.linspace(0.2, 1, 6, dtype=dtype).reshape(2, 3), "x": np.ones(3, dtype)}
    check_grads(tree_function, (p, np.int32(3)), 2, modes)
    check_grads(lambda x: fnp.sin(x) * fnp.exp(x), (dtype(0.3),), 3, modes)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_derivatives(dtype):
    z = np.array([0.5 + 1j, -1 + 0.3j], dtype)
    check_grads(lambda z: z * fnp.exp(z), (z,), 2)
    check_grads(lambda z: fnp.abs(z) ** 2 * fnp.conj(z), (z,), 2)
    check_grads(lambda z: fnp.real(z) * fnp.imag(z), (z,), 2)
    check_grads(lambda x: x * (1 + 2j), (np.float32(2.0),), 2)


def test_half_precision():
    check_grads(fnp.sin, (np.float16(0.5),), 1)
    check_grads(fnp.sin, (fnp.asarray(0.5, fnp.bfloat16),), 1)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_a_wrong_first_derivative(mode):
    def half(x):
        return {"y": [fst.lax.stop_gradient(x) * x, x]}

    with pytest.raises(AssertionError) as e:
        check_grads(half, (X64,), 1, (mode,))
    text = str(e.value)
    assert f"order 1, mode {mode}" in text
    assert "error" in text
    assert "beyond atol=1e-06, rtol=1e-06" in text
    if mode == "fwd":
        assert "output['y'][0][" in text
        assert "of 5 differ" in text


@pytest.mark.parametrize(
    ("modes", "first"),
    [(("fwd",), "fwd of fwd"), (("rev",), "rev of rev"), (("fwd", "rev"), "fwd of fwd")],
)
def test_a_wrong_second_derivative(modes, first):
    def f(x):  # the derivative of sin, with none of its own
        stop = fst.lax.stop_gradient
        return stop(fnp.sin(x)) + stop(fnp.cos(x)) * (x - stop(x))

    check_grads(f, (X64,), 1, modes)
    with pytest.raises(AssertionError, match=f"order 2, mode {first}"):
        check_grads(f, (X64,), 2, modes)


def test_a_wrong_value_under_a_transform():
    calls = []

    def unsteady(x):
        calls.append(x)
        return x + len(calls)

    with pytest.raises(AssertionError, match="the value under jvp differs"):
        check_grads(unsteady, (1.0,), 1)


def test_nan_is_found():
    with pytest.raises(AssertionError, match="got nan"):
        check_grads(lambda x: fnp.sqrt(0 * x), (np.array([1.0]),), 1)


def test_tolerances_and_step_are_used():
    def off(x):
        return fnp.sin(x) + 1e-3 * (x - fst.lax.stop_gradient(x))

    x = np.array(0.5)
    with pytest.raises(AssertionError):
        check_grads(off, (x,), 1, atol=1e-5, rtol=1e-5)
    check_grads(off, (x,), 1, atol=1e-2)
    check_grads(off, (x,), 1, rtol=1e-2)
    with pytest.raises(AssertionError, match=r"atol=1e-06"):
        check_grads(fnp.sin, (x,), 1, eps=0.1)  # the difference is too coarse


def test_it_agrees_with_jax_about_what_passes():
    for f in (lambda m: m.sin, lambda m: m.exp, lambda m: m.square):
        x = np.linspace(0.1, 1, 4, dtype=np.float32)
        check_grads(f(fnp), (x,), 2, ("fwd", "rev"), 1e-2, 1e-2, 1e-2)
        jax.test_util.check_grads(f(jax.numpy), (x,), 2, ("fwd", "rev"), 1e-2, 1e-2, 1e-2)


def test_wrong_arguments():
    with pytest.raises(fst.errors.OptionError, match="modes"):
        check_grads(fnp.sin, (1.0,), 1, ("backwards",))
    with pytest.raises(fst.errors.OptionError, match="modes"):
        check_grads(fnp.sin, (1.0,), 1, ())
    with pytest.raises(fst.errors.OptionError, match="order"):
        check_grads(fnp.sin, (1.0,), 0)
    with pytest.raises(fst.errors.ArgumentError, match="args must be a tuple"):
        check_grads(fnp.sin, 1.0, 1)
    with pytest.raises(fst.errors.ArgumentError, match="no argument"):
        check_grads(fnp.sin, (1,), 1)

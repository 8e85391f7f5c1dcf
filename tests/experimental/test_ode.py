"""Solutions of differential equations and their derivatives, against closed forms and JAX."""

import jax
import jax.experimental.ode
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.experimental.ode import odeint

T = np.linspace(0.0, 2.0, 6)
# The error of a step is below 1.4e-8; some tens of steps, and derivatives with factors of a few.
RTOL = 1e-6


def close(got, expected, rtol=RTOL):
    np.testing.assert_allclose(np.asarray(got), expected, rtol=rtol, atol=rtol)


def decay(y, t, rate):
    return -rate * y


def oscillator(m, y, t, mu):
    """Van der Pol's, pushed from outside."""
    return m.stack([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0] + m.sin(t)])


def test_closed_forms():
    close(odeint(decay, np.array(3.0), T, np.array(2.0)), 3 * np.exp(-2 * T))
    close(odeint(lambda y, t: fnp.cos(t) * y, np.array(1.0), T), np.exp(np.sin(T)))
    close(odeint(lambda y, t: 1j * y, np.array(1.0 + 0j), T), np.exp(1j * T))
    turned = odeint(lambda y, t: {"a": y["b"], "b": -y["a"]}, {"a": T * 0, "b": T * 0 + 1}, T)
    assert turned["a"].shape == (6, 6)
    close(turned["a"][:, 0], np.sin(T))
    close(turned["b"][:, 5], np.cos(T))


def test_backwards_in_time():
    close(odeint(decay, np.array(1.0), -T, np.array(2.0)), np.exp(2 * T))


def test_the_order_between_the_steps_is_four():
    """The error per step falls with its size: to within the tolerance at any time asked for."""
    t = np.linspace(0, 2, 101)
    for tolerance in (1e-4, 1e-6, 1e-8):
        y = odeint(lambda y, t: 1j * y, np.array(1.0 + 0j), t, rtol=tolerance, atol=tolerance)
        assert np.abs(np.asarray(y) - np.exp(1j * t)).max() < 30 * tolerance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_kept(dtype):
    y = odeint(decay, dtype(1.0) * np.ones(2, dtype), T.astype(dtype), 2.0, rtol=1e-5, atol=1e-5)
    assert y.dtype == dtype
    close(y[:, 0], np.exp(-2 * T), 1e-4)
    mixed = odeint(
        lambda y, t: {"a": -y["a"], "b": y["b"]},
        {"a": np.ones(2, np.float32), "b": np.ones((), np.float64)},
        T,
    )
    assert mixed["a"].dtype == np.float32
    assert mixed["b"].dtype == np.float64
    assert odeint(decay, 1.0, np.arange(3), 1.0, rtol=1e-5, atol=1e-5).shape == (3,)


def test_values_and_gradients_like_jax():
    y0, mu = np.array([2.0, 0.0]), np.array(1.5)

    def loss(m, solve, y0, t, mu):
        return m.sum(m.sin(solve(lambda *a: oscillator(m, *a), y0, t, mu)))

    got = fst.value_and_grad(lambda *a: loss(fnp, odeint, *a), (0, 1, 2))(y0, T, mu)
    with jax.enable_x64(True):
        jnp, solve = jax.numpy, jax.experimental.ode.odeint
        expected = jax.value_and_grad(lambda *a: loss(jnp, solve, *a), (0, 1, 2))(y0, T, mu)
        expected = jax.tree.map(np.asarray, expected)
    for g, e in zip(fst.tree.leaves(got), fst.tree.leaves(expected), strict=True):
        close(g, e, 1e-5)


def last(y0, t0, t1, rate):
    return odeint(decay, y0, fnp.stack([t0, t1]), rate)[-1]


POINT = tuple(map(np.array, (1.5, 0.2, 1.0, 2.0)))


def exact_gradient(y0, t0, t1, rate):
    y = y0 * np.exp(-rate * (t1 - t0))
    return y / y0, rate * y, -rate * y, -(t1 - t0) * y


def test_reverse_mode_in_closed_form():
    for transform in (lambda f: f, fst.jit):
        close(transform(fst.grad(last, (0, 1, 2, 3)))(*POINT), exact_gradient(*POINT))


def test_forward_mode_in_closed_form():
    for i, expected in enumerate(exact_gradient(*POINT)):
        tangents = tuple(np.array(float(i == j)) for j in range(4))
        close(fst.jvp(last, POINT, tangents)[1], expected)


def test_second_derivatives():
    rate = np.array(2.0)
    # y = exp(-rate): both derivatives are y in size.
    f = lambda r: odeint(decay, np.array(1.0), np.array([0.0, 1.0]), r)[-1]
    close(fst.grad(fst.grad(f))(rate), np.exp(-2))
    close(fst.jvp(fst.grad(f), (rate,), (np.array(1.0),))[1], np.exp(-2))


def test_what_func_closes_over_is_differentiated():
    def f(rate):
        return odeint(lambda y, t: -rate * y, np.array(1.0), np.array([0.0, 1.0]))[-1]

    close(fst.grad(f)(np.array(2.0)), -np.exp(-2))
    close(fst.vmap(fst.grad(f))(np.array([1.0, 2.0])), -np.exp([-1.0, -2.0]))


def test_batches_and_jit():
    rates = np.array([0.5, 1.0, 4.0])
    got = fst.jit(fst.vmap(lambda r: odeint(decay, np.array(1.0), T, r)))(rates)
    close(got, np.exp(-rates[:, None] * T))


def test_integer_arguments_and_trees_of_arguments():
    def slope(y, t, p, n):
        return -p["rate"] * y * n

    f = lambda p: odeint(slope, np.array(1.0), np.array([0.0, 0.5]), p, np.int32(2))[-1]
    close(fst.grad(f)({"rate": np.array(2.0)})["rate"], -np.exp(-2))


def test_one_time():
    y = odeint(decay, np.array([1.0, 2.0]), np.array([0.5]), 2.0)
    assert y.tolist() == [[1, 2]]
    got = fst.grad(lambda y0: odeint(decay, y0, np.array([0.5]), 2.0).sum())(np.array(1.0))
    assert got.item() == 1


def test_times_that_are_not_reached_are_nan():
    pole = np.asarray(odeint(lambda y, t: y**2, np.array(1.0), np.array([0.0, 0.5, 1.5])))
    close(pole[:2], [1, 2])
    assert np.isnan(pole[2])
    few = np.asarray(odeint(decay, np.array(1.0), np.array([0.0, 10.0]), 2.0, mxstep=3))
    assert np.isnan(few[1])
    enough = odeint(decay, np.array(1.0), np.array([0.0, 10.0]), 2.0, mxstep=1000)
    close(enough[1], np.exp(-20))


def test_no_step_is_longer_than_hmax():
    """A short push is missed by long steps."""
    push = lambda y, t: fnp.exp(-(((t - 50.0) / 0.1) ** 2))
    y = odeint(push, np.array(0.0), np.array([0.0, 100.0]), rtol=1e-6, atol=1e-6, hmax=0.2)
    close(y[1], 0.1 * np.sqrt(np.pi), 1e-4)


def test_mistakes():
    e = fst.errors
    one, t = np.array(1.0), np.array([0.0, 1.0])
    with pytest.raises(e.ShapeError, match=r"vector of at least one time, got float64\[\]"):
        odeint(decay, one, one, 2.0)
    with pytest.raises(e.ShapeError, match=r"shapes of y0, got float64\[2\].*for float64\[\]"):
        odeint(lambda y, t: fnp.stack([y, y]), one, t)
    with pytest.raises(e.TreeError, match="structure of y0"):
        odeint(lambda y, t: (y["a"],), {"a": one}, t)
    with pytest.raises(e.DtypeError, match=r"y0\['a'\] must have a float or complex dtype"):
        odeint(lambda y, t: y, {"a": np.array(1)}, t)
    with pytest.raises(e.DtypeError, match="complex slope"):
        odeint(lambda y, t: 1j * y, one, t)
    with pytest.raises(e.DtypeError, match="real dtype"):
        odeint(decay, one, t + 0j, 2.0)
    with pytest.raises(e.OptionError, match="rtol must not be negative"):
        odeint(decay, one, t, 2.0, rtol=-1.0)
    with pytest.raises(e.OptionError, match="mxstep must be positive"):
        odeint(decay, one, t, 2.0, mxstep=0)
    with pytest.raises(e.ArgumentError, match="takes a function"):
        odeint(3, one, t)

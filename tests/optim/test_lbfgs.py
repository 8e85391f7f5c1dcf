"""L-BFGS takes PyTorch's steps, finds minima, and runs within loops."""

import numpy as np
import pytest

import fstensor as fst
from fstensor import numpy as fnp
from fstensor import optim
from fstensor.errors import ArgumentError, OptionError, TreeError
from fstensor.optim.line_search import Point, strong_wolfe
from tests.optim.golden import STEPS, assert_follows, first_params, golden, loss

CASES = {
    "lbfgs": {"learning_rate": 0.2, "memory_size": 3, "line_search": None},
    "lbfgs_strong_wolfe": {"memory_size": 4},
    "lbfgs_long_steps": {"learning_rate": 50.0, "memory_size": 100},
    "lbfgs_short_steps": {"learning_rate": 0.001, "memory_size": 100},
}


def rosenbrock(x):
    return fnp.sum((1 - x[:-1]) ** 2 + 100 * (x[1:] - x[:-1] ** 2) ** 2)


def steps(optimizer, f, params, count, compiled=True):
    def step(params, state):
        value, grads = fst.value_and_grad(f)(params)
        updates, state = optimizer.update(
            grads, state, params, value=value, value_and_grad=fst.value_and_grad(f)
        )
        return optim.apply_updates(params, updates), state

    step = fst.jit(step) if compiled else step
    state, seen = optimizer.init(params), []
    for _ in range(count):
        params, state = step(params, state)
        seen.append(params)
    return seen, state


@pytest.mark.parametrize("name", CASES)
def test_torch(name):
    seen, state = steps(optim.lbfgs(**CASES[name]), loss, first_params(), STEPS)
    assert int(state.step) == STEPS
    # Searches from far away lose digits: differences of values near 1 decide on the next step.
    assert_follows(seen, golden("torch", name), rtol=1e-7 if name == "lbfgs_long_steps" else 1e-9)


def test_eager():
    optimizer = optim.lbfgs(learning_rate=0.001)
    eager, _ = steps(optimizer, loss, first_params(), 6, compiled=False)
    compiled, _ = steps(optimizer, loss, first_params(), 6)
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(a["w"], b["w"], rtol=1e-9)


def test_rosenbrock():
    x = fnp.asarray(np.array([0.3, 1.5, 0.8, 0.5]))
    seen, _ = steps(optim.lbfgs(tolerance_change=1e-16), rosenbrock, x, 80)
    np.testing.assert_allclose(seen[-1], np.ones(4), rtol=1e-7)
    # What has been found does not move any more.
    again, _ = steps(optim.lbfgs(), rosenbrock, fnp.ones(4), 2)
    np.testing.assert_array_equal(again[-1], np.ones(4))


def test_loop_and_vmap():
    """A whole minimization, in a while_loop, for several starts at once."""
    optimizer = optim.lbfgs(memory_size=5, tolerance_change=1e-16)
    f = fst.value_and_grad(rosenbrock)

    def minimize(x):
        def more(carry):
            x, _, count = carry
            return (count < 80) & (fnp.max(fnp.abs(f(x)[1])) > 1e-8)

        def step(carry):
            x, state, count = carry
            value, grads = optim.value_and_grad_from_state(f)(x, state)
            updates, state = optimizer.update(grads, state, x, value=value, value_and_grad=f)
            return optim.apply_updates(x, updates), state, count + 1

        return fst.lax.while_loop(more, step, (x, optimizer.init(x), 0))[0]

    starts = fnp.asarray(np.array([[-1.2, 1.0], [2.0, 2.0], [0.5, -1.0]]))
    found = fst.jit(fst.vmap(minimize))(starts)
    np.testing.assert_allclose(found, np.ones((3, 2)), rtol=1e-7)
    alone = minimize(starts[1])
    np.testing.assert_allclose(found[1], alone, rtol=1e-9)


def test_value_and_grad_from_state():
    """It is what the function gives, and calls it only before the first step."""
    optimizer = optim.lbfgs()
    f = fst.value_and_grad(loss)
    params = first_params()
    state = optimizer.init(params)
    for _ in range(3):
        value, grads = optim.value_and_grad_from_state(f)(params, state)
        expected, slope = f(params)
        np.testing.assert_allclose(value, expected, rtol=1e-13)
        np.testing.assert_allclose(grads["w"], slope["w"], rtol=1e-10, atol=1e-13)
        updates, state = optimizer.update(grads, state, params, value=value, value_and_grad=f)
        params = optim.apply_updates(params, updates)
    assert np.isfinite(float(state.slots.next_value))


@pytest.mark.parametrize("first", [1e-3, 0.3, 1.0, 20.0, 1e3])
@pytest.mark.parametrize(
    "f",
    [
        lambda t: (t - 1) ** 2,
        lambda t: t**4 / 4 - t,
        lambda t: -t / (t**2 + 2),  # Moré and Thuente's first: flat far away
        lambda t: fnp.exp(-t) + 0.1 * t,
    ],
)
def test_strong_wolfe_conditions(f, first):
    derived = fst.value_and_grad(f)

    def along(t):
        value, slope = derived(t)
        return Point(t, value, slope.reshape(1), slope)

    start = along(fnp.asarray(np.array(0.0)))
    # c2 as for conjugate gradients, so that not any step will do.
    found = strong_wolfe(along, start, fnp.asarray(np.array(first)), c2=0.1)
    assert float(found.value) <= float(start.value) + 1e-4 * float(found.step) * float(start.slope)
    assert abs(float(found.slope)) <= 0.1 * abs(float(start.slope))


def test_chain_passes_value_and_grad():
    optimizer = optim.chain(optim.lbfgs(), optim.scale(0.5))
    alone, _ = steps(optim.lbfgs(), loss, first_params(), 1)
    halved, _ = steps(optimizer, loss, first_params(), 1)
    start = first_params()
    np.testing.assert_allclose(
        halved[0]["w"] - start["w"], 0.5 * (alone[0]["w"] - start["w"]), rtol=1e-12
    )


def test_errors():
    params = first_params()
    grads = fst.grad(loss)(params)
    optimizer = optim.lbfgs()
    state = optimizer.init(params)
    with pytest.raises(ArgumentError, match="the line search needs update"):
        optimizer.update(grads, state, params)
    with pytest.raises(ArgumentError, match=r"lbfgs: update.* needs the parameters"):
        optim.lbfgs(line_search=None).update(grads, state)
    with pytest.raises(OptionError, match="got 'backtracking'"):
        optim.lbfgs(line_search="backtracking")
    with pytest.raises(OptionError, match="memory_size must be at least 1, got 0"):
        optim.lbfgs(memory_size=0)
    with pytest.raises(TreeError, match="b"):
        optim.lbfgs(line_search=None).update({"w": grads["w"]}, state, params)
    with pytest.raises(TypeError, match="value"):
        optim.chain(optim.sgd(0.1)).update(grads, (state,), params, value=1.0)

"""No number that steers an optimizer hides in a closure: the state shows it, and takes another."""

import inspect

import numpy as np
import pytest

import fstensor as fst
from fstensor import numpy as fnp
from fstensor import optim

PARAMS = {"w": fnp.ones((3, 4)), "b": fnp.ones((2, 2))}
OTHERS = {"inner": optim.sgd(0.1), "fast_optimizer": optim.sgd(0.1), "key": fst.random.key(0)}
# Parameters that are not among the hyperparameters of the state, and why.
ELSEWHERE = {
    ("adagrad", "initial_accumulator_value"): "where the sums begin, which the state has",
    ("dynamic_loss_scale", "init_scale"): "the first scale, which the state has",
    ("rprop", "learning_rate"): "the first step sizes, which the state has",
    ("shampoo", "eps"): "where the sums begin, which the state has",
    ("shampoo", "max_size"): "which sums are diagonals: their shapes",
    ("lbfgs", "memory_size"): "the shapes of the state",
    ("muon", "ns_steps"): "how long the program is",
    ("adaptive_grad_clip", "axis"): "which program",
    ("centralize", "axis"): "which program",
}


def is_number(parameter):
    annotation = str(parameter.annotation)
    return "Hyperparam" in annotation or annotation.split(" ")[0] in ("float", "int")


def made(name):
    """What a function makes with numbers other than zero, and these."""
    function, numbers, others = getattr(optim, name), {}, {}
    for p in inspect.signature(function).parameters.values():
        if is_number(p):
            given = p.default not in (inspect.Parameter.empty, 0, None)
            numbers[p.name] = p.default if given else (2 if "int" in str(p.annotation) else 0.37)
        elif p.name in OTHERS:
            others[p.name] = OTHERS[p.name]
    if name == "shampoo":
        numbers["update_every"] = 2
    return function(**numbers, **others), numbers


NAMES = [
    name
    for name in optim.__all__
    if inspect.isfunction(f := getattr(optim, name))
    and f.__annotations__["return"].startswith(("GradientTransformation", "Averaging", "Plateau"))
    and any(map(is_number, inspect.signature(f).parameters.values()))
]


def test_there_are_many():
    assert len(NAMES) > 35
    assert {name for name, _ in ELSEWHERE} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_state_shows_all(name):
    transformation, numbers = made(name)
    state = transformation.init() if name == "reduce_on_plateau" else transformation.init(PARAMS)
    shown = {k.split(".")[-1]: v for k, v in optim.hyperparams(state).items()}
    for parameter, value in numbers.items():
        if (name, parameter) not in ELSEWHERE:
            np.testing.assert_allclose(shown[parameter], value, 1e-6, err_msg=parameter)


# What happens when they change


def one_step(transformation, state, grads=PARAMS):
    return transformation.update(grads, state, PARAMS)


def test_lookahead():
    optimizer = optim.lookahead(optim.sgd(1.0), 5, 0.5)
    state = optim.with_hyperparams(optimizer.init(PARAMS), sync_period=1, slow_step_size=0.25)
    updates, state = fst.jit(optimizer.update)(PARAMS, state, PARAMS)
    np.testing.assert_allclose(updates["w"], -0.25 * np.ones((3, 4)))
    assert int(state.numbers.hyperparams["sync_period"]) == 1


def test_multi_steps():
    optimizer = optim.multi_steps(optim.sgd(1.0), 5)
    state = optim.with_hyperparams(optimizer.init(PARAMS), every_k_schedule=1)
    updates, _ = one_step(optimizer, state)
    np.testing.assert_array_equal(updates["w"], -np.ones((3, 4)))
    growing = optim.multi_steps(optim.sgd(1.0), lambda done: done + 1)
    state = growing.init(PARAMS)
    for k in (1, 2, 2, 3):
        _, state = one_step(growing, state)
        assert int(state.numbers.hyperparams["every_k_schedule"]) == k
    with pytest.raises(fst.errors.OptionError, match="comes from a schedule"):
        optim.with_hyperparams(state, every_k_schedule=1)


def test_apply_if_finite():
    optimizer = optim.apply_if_finite(optim.sgd(1.0), 5)
    bad = fst.tree.map(lambda p: fnp.nan * p, PARAMS)
    state = optimizer.init(PARAMS)
    assert not np.asarray(one_step(optimizer, state, bad)[0]["w"]).any()
    state = optim.with_hyperparams(state, max_consecutive_errors=0)
    assert np.isnan(one_step(optimizer, state, bad)[0]["w"]).all()


def test_dynamic_loss_scale():
    optimizer = optim.dynamic_loss_scale(optim.sgd(1.0), 8.0)
    state = optim.with_hyperparams(
        optimizer.init(PARAMS), growth_interval=1, growth_factor=4, backoff_factor=0.25
    )
    _, state = one_step(optimizer, state)
    assert float(state.scale) == 32
    _, state = one_step(optimizer, state, fst.tree.map(lambda p: fnp.inf * p, PARAMS))
    assert float(state.scale) == 8


def test_plateau():
    plateau = optim.reduce_on_plateau()
    state = optim.with_hyperparams(plateau.init(), patience=0, factor=0.25, cooldown=7)
    _, state = plateau.update(1.0, state)
    factor, state = plateau.update(1.0, state)
    assert (float(factor), int(state.cooling)) == (0.25, 7)


def test_ema_params():
    ema = optim.ema_params(0.9)
    state = ema.update(fnp.ones(2), optim.with_hyperparams(ema.init(fnp.zeros(2)), decay=0.5))
    state = ema.update(fnp.zeros(2), state)
    np.testing.assert_allclose(ema.params(state, fnp.zeros(2)), [0.5, 0.5])


def test_coefficients_of_muon():
    optimizer = optim.muon(1.0, 0.0, 0.0, ns_steps=1)
    state = optim.with_hyperparams(optimizer.init(PARAMS), ns_coefficients=[1.0, 0.0, 0.0])
    updates, _ = one_step(optimizer, state)
    # Then nothing is made orthogonal: the gradient is divided by its norm.
    np.testing.assert_allclose(updates["b"], -np.full((2, 2), 0.5), 1e-6)
    with pytest.raises(fst.errors.ShapeError, match=r"must have the shape \(3,\), got float32\[\]"):
        optim.with_hyperparams(state, ns_coefficients=1.0)


def test_roots_of_shampoo():
    """The second step has new ones when they are computed in every step."""
    optimizer = optim.shampoo(0.1, update_every=5)
    _, state = one_step(optimizer, optimizer.init(PARAMS))
    same = one_step(optimizer, state)[1]
    other = one_step(optimizer, optim.with_hyperparams(state, update_every=1))[1]
    roots = [s.slots.preconditioners["b"].roots[0] for s in (state, same, other)]
    np.testing.assert_array_equal(roots[0], roots[1])
    assert not np.allclose(roots[0], roots[2])

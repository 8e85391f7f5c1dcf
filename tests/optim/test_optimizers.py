"""Optimizers take the steps that those of PyTorch and Optax take."""

import numpy as np
import pytest

import fstensor as fst
from fstensor import numpy as fnp
from fstensor import optim
from tests.optim.golden import (
    GIVEN,
    KEPT,
    assert_follows,
    first_params,
    golden,
    loss,
    trajectory,
)

MASK = {"w": True, "b": False}


def cosine(value):
    return optim.cosine_annealing_schedule(value, 20, 0.01)


TORCH = {
    "sgd": lambda: optim.sgd(0.1),
    "sgd_cosine": lambda: optim.sgd(cosine(0.1), momentum=0.9),
    "sgd_momentum": lambda: optim.sgd(0.1, momentum=0.9, dampening=0.5, weight_decay=0.1),
    "sgd_nesterov": lambda: optim.sgd(0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "adadelta": lambda: optim.adadelta(),
    "adadelta_options": lambda: optim.adadelta(0.7, rho=0.8, eps=1e-3, weight_decay=0.1),
    "adagrad": lambda: optim.adagrad(0.1),
    "adagrad_options": lambda: optim.adagrad(
        0.3, lr_decay=0.2, weight_decay=0.1, initial_accumulator_value=0.5, eps=1e-3
    ),
    "adam": lambda: optim.adam(0.05),
    "adam_options": lambda: optim.adam(0.05, 0.8, 0.9, 1e-3, weight_decay=0.1, amsgrad=True),
    "adam_cosine": lambda: optim.adam(cosine(0.05)),
    "adamw": lambda: optim.adamw(0.05),
    "adamw_options": lambda: optim.adamw(0.05, 0.8, 0.9, 1e-3, weight_decay=0.5, amsgrad=True),
    "adamw_cosine": lambda: optim.adamw(cosine(0.05), weight_decay=0.5),
    "adamax": lambda: optim.adamax(0.05),
    "adamax_options": lambda: optim.adamax(0.05, 0.8, 0.9, 1e-2, weight_decay=0.1),
    "nadam": lambda: optim.nadam(0.05),
    "nadam_options": lambda: optim.nadam(
        0.05, 0.8, 0.9, 1e-3, 0.1, momentum_decay=0.1, decoupled_weight_decay=True
    ),
    "nadam_coupled": lambda: optim.nadam(0.05, weight_decay=0.1),
    "radam": lambda: optim.radam(0.05),
    "radam_options": lambda: optim.radam(0.05, 0.8, 0.9, 1e-3, 0.1, decoupled_weight_decay=True),
    "radam_coupled": lambda: optim.radam(0.05, weight_decay=0.1),
    "asgd": lambda: optim.asgd(0.1),
    "asgd_options": lambda: optim.asgd(0.1, lambd=0.1, alpha=0.5, t0=5, weight_decay=0.1),
    "rmsprop": lambda: optim.rmsprop(0.02),
    "rmsprop_options": lambda: optim.rmsprop(
        0.02, decay=0.8, eps=1e-3, weight_decay=0.1, momentum=0.7, centered=True
    ),
    "rmsprop_momentum": lambda: optim.rmsprop(0.02, momentum=0.9),
    "rprop": lambda: optim.rprop(0.1),
    "rprop_options": lambda: optim.rprop(0.3, 0.3, 1.5, 0.01, 0.35),
    "adafactor": lambda: optim.adafactor(0.1),
    "adafactor_options": lambda: optim.adafactor(
        0.5, beta2_decay=-0.5, eps1=1e-3, eps2=0.1, clipping_threshold=1.5, weight_decay=0.1
    ),
    "muon": lambda: optim.muon(0.1),
    "muon_options": lambda: optim.muon(
        0.1,
        weight_decay=0.3,
        momentum=0.8,
        nesterov=False,
        ns_coefficients=(2.0, -1.5, 0.5),
        ns_steps=3,
        adjust_lr_fn="match_rms_adamw",
    ),
    "muon_spectral": lambda: optim.muon(0.1, adjust_lr_fn="spectral_unclamped"),
}

OPTAX = {
    "lion": lambda: optim.lion(0.02),
    "lion_options": lambda: optim.lion(0.02, 0.8, 0.95, weight_decay=0.3, mask=MASK),
    "lamb": lambda: optim.lamb(0.05),
    "lamb_options": lambda: optim.lamb(0.05, 0.8, 0.9, 1e-3, 1e-4, weight_decay=0.2, mask=MASK),
    "lars": lambda: optim.lars(0.5),
    "lars_options": lambda: optim.lars(
        0.5, 0.1, MASK, 0.02, 1e-3, trust_ratio_mask=MASK, momentum=0.8, nesterov=True
    ),
    "adamw_mask": lambda: optim.adamw(0.05, weight_decay=0.5, mask=MASK),
}


def params_for(name):
    """Muon takes matrices only."""
    params = first_params()
    if name.startswith("muon"):
        params["b"] = fnp.asarray(GIVEN["b"][:, None] * GIVEN["b"])
    return params


@pytest.fixture(autouse=True)
def _wide():
    # So that schedules compute in float64 too.
    with fst.config.override(default_dtype_bits=64):
        yield


@pytest.mark.parametrize("name", TORCH)
def test_torch(name):
    seen, state = trajectory(TORCH[name](), params_for(name))
    assert int(state.step) == 20
    assert_follows(seen, golden("torch", name))


@pytest.mark.parametrize("name", OPTAX)
def test_optax(name):
    seen, state = trajectory(OPTAX[name]())
    assert int(state.step) == 20
    assert_follows(seen, golden("optax", name))


@pytest.mark.parametrize(
    ("library", "name"), [("torch", n) for n in TORCH] + [("optax", n) for n in OPTAX]
)
def test_float32(library, name):
    """The same steps in float32, whose rounding errors add up over twenty of them."""
    make = TORCH[name] if library == "torch" else OPTAX[name]
    params = {k: p.astype("float32") for k, p in params_for(name).items()}
    seen, _ = trajectory(make(), params)
    assert seen[-1]["w"].dtype == np.float32
    assert_follows(seen, golden(library, name), rtol=2e-5)


@pytest.mark.parametrize("name", ["asgd", "asgd_options"])
def test_asgd_average(name):
    _, state = trajectory(TORCH[name]())
    expected = golden("torch", name)
    for leaf, average in optim.asgd_average(state).items():
        np.testing.assert_allclose(average, expected[f"average_{leaf}"], rtol=1e-10)


def test_sparse_adam():
    expected = golden("torch", "sparse_adam")
    optimizer = optim.sparse_adam(0.05, 0.8, 0.95, 1e-4)
    table = fnp.asarray(expected["start"])
    state = optimizer.init(table)

    @fst.jit
    def step(table, state, indices, values):
        gradient = optim.row_sparse(indices, values, table.shape)
        updates, state = optimizer.update(gradient, state, table)
        return optim.apply_updates(table, updates), state

    seen = []
    for indices, values in zip(expected["indices"], expected["values"], strict=True):
        table, state = step(table, state, indices, values)
        seen.append(np.asarray(table))
    np.testing.assert_allclose(np.stack(seen)[KEPT], expected["table"], rtol=1e-10)


def matrix_root(x, order):
    values, vectors = np.linalg.eigh(x)
    return vectors @ np.diag(values ** (-1 / order)) @ vectors.T


@pytest.mark.parametrize("options", [{}, {"momentum": 0.8, "weight_decay": 0.1, "max_size": 3}])
def test_shampoo(options):
    """Against the algorithm of the paper, written down for one matrix and one vector."""
    momentum, decay = options.get("momentum", 0.0), options.get("weight_decay", 0.0)
    seen, _ = trajectory(optim.shampoo(0.1, eps=0.1, **options))
    params = {k: GIVEN[k].copy() for k in "wb"}
    left, right, one = 0.1 * np.eye(3), 0.1 * np.eye(4), 0.1 * np.eye(4)
    velocity = {k: np.zeros_like(p) for k, p in params.items()}
    for found in seen:
        grads = fst.grad(loss)({k: fnp.asarray(p) for k, p in params.items()})
        w, b = (np.asarray(grads[k]) + decay * params[k] for k in "wb")
        left, right, one = left + w @ w.T, right + w.T @ w, one + np.outer(b, b)
        if options:  # axes of 4 are longer than max_size
            right, one = np.diag(np.diag(right)), np.diag(np.diag(one))
        moves = {
            "w": matrix_root(left, 4) @ w @ matrix_root(right, 4),
            "b": matrix_root(one, 2) @ b,
        }
        for k, move in moves.items():
            velocity[k] = momentum * velocity[k] + move
            params[k] = params[k] - 0.1 * velocity[k]
            np.testing.assert_allclose(found[k], params[k], rtol=1e-9, atol=1e-10)


def test_shampoo_seldom():
    """With update_every, the roots are those of the steps 1, 4, 7, though sums go on."""
    optimizer = optim.shampoo(0.1, update_every=3)
    states = [trajectory(optimizer, steps=n)[1].slots.preconditioners["w"] for n in range(1, 5)]
    first, second, third, fourth = (np.asarray(s.roots[0]) for s in states)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)
    assert not np.allclose(first, fourth)
    assert not np.allclose(states[0].sums[0], states[1].sums[0])
    np.testing.assert_allclose(fourth, matrix_root(np.asarray(states[3].sums[0]), 4), rtol=1e-9)

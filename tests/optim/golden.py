"""The problem that trajectories are compared on, and what PyTorch and Optax make of it."""

from pathlib import Path

import numpy as np

import fstensor as fst
from fstensor import numpy as fnp
from fstensor import optim

STEPS = 20
KEPT = [0, 1, 2, 4, 9, 19]
_DIRECTORY = Path(__file__).parents[1] / "golden"


def golden(library, prefix):
    """The arrays of a case, by their names."""
    with np.load(_DIRECTORY / f"optim_{library}.npz") as arrays:
        start = f"{prefix}/"
        return {k.removeprefix(start): arrays[k] for k in arrays.files if k.startswith(start)}


GIVEN = golden("torch", "problem")


def first_params(dtype="float64"):
    return {k: fnp.asarray(GIVEN[k].astype(dtype)) for k in "wb"}


def loss(params):
    """The mean square of what is left; of a matrix for the bias, the sums of columns."""
    b = params["b"] if params["b"].ndim == 1 else params["b"].sum(0)
    x, y = (fnp.asarray(GIVEN[k].astype(params["w"].dtype)) for k in "xy")
    return ((fnp.tanh(x @ params["w"] + b) - y) ** 2).mean()


def trajectory(optimizer, params=None, *, steps=STEPS, compiled=True):
    """The parameters after each step, and the last state."""
    params = first_params() if params is None else params

    def step(params, state):
        updates, state = optimizer.update(fst.grad(loss)(params), state, params)
        return optim.apply_updates(params, updates), state

    step = fst.jit(step) if compiled else step
    state = optimizer.init(params)
    seen = []
    for _ in range(steps):
        params, state = step(params, state)
        seen.append(params)
    return seen, state


def assert_follows(seen, expected, rtol=1e-10):
    for name in "wb":
        found = np.stack([np.asarray(p[name]) for p in seen])[KEPT]
        np.testing.assert_allclose(found, expected[name], rtol=rtol, atol=rtol, err_msg=name)

"""Schedules have the values of PyTorch's and Optax's, at every step."""

import numpy as np
import pytest

import fstensor as fst
from fstensor import numpy as fnp
from fstensor import optim
from fstensor.errors import OptionError
from tests.optim.golden import golden

CYCLE = {"max_value": 0.5, "total_steps": 102}
STEEP = {"anneal_strategy": "linear", "three_phase": True, "pct_start": 0.4}
WARM = {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 10, "decay_steps": 40}
TORCH = {
    "step": optim.step_schedule(0.5, 7, 0.5),
    "multi_step": optim.multi_step_schedule(0.5, [5, 20, 21, 80], 0.3),
    "exponential": optim.exponential_decay(0.5, 1, 0.97),
    "polynomial": optim.polynomial_schedule(0.5, 0.0, 2.0, 60),
    "linear": optim.warmup_constant_schedule(0.125, 0.5, 30),
    "constant_warmup": optim.constant_warmup_schedule(0.5, 10),
    "cosine_annealing": optim.cosine_annealing_schedule(0.5, 40, 0.01),
    "cosine_restarts": optim.cosine_restarts_schedule(0.5, 9, 1, 0.01),
    "cosine_restarts_longer": optim.cosine_restarts_schedule(0.5, 5, 2, 0.01),
    "one_cycle": optim.one_cycle_schedule(**CYCLE),
    "one_cycle_momentum": optim.one_cycle_momentum(102),
    "one_cycle_steep": optim.one_cycle_schedule(**CYCLE, **STEEP),
    "one_cycle_steep_momentum": optim.one_cycle_momentum(102, **STEEP),
    "cyclic": optim.cyclic_schedule(0.1, 0.5, 7, 5),
    "cyclic_triangular2": optim.cyclic_schedule(0.1, 0.5, 7, 5, mode="triangular2"),
    "cyclic_exp_range": optim.cyclic_schedule(0.1, 0.5, 7, 5, mode="exp_range", gamma=0.98),
    "cyclic_momentum": optim.cyclic_schedule(0.9, 0.8, 7, 5),
    "lambda": optim.lambda_schedule(0.5, lambda t: 1 / (1 + 0.1 * t)),
    "multiplicative": optim.multiplicative_schedule(0.5, lambda t: 1 - 0.5 / (t + 2)),
    "chained": optim.chained_schedule(
        optim.constant_warmup_schedule(0.5, 5, 0.1), optim.exponential_decay(1.0, 1, 0.9)
    ),
    "joined": optim.join_schedules(
        [optim.linear_schedule(0.05, 0.5, 10), optim.exponential_decay(0.5, 1, 0.95)], [10]
    ),
}
OPTAX = {
    "piecewise_constant": optim.piecewise_constant_schedule(0.5, {10: 0.5, 30: 0.1, 31: 2.0}),
    "exponential": optim.exponential_decay(0.5, 10, 0.5, 5, True, 0.01),
    "exponential_growing": optim.exponential_decay(0.5, 10, 1.5, end_value=3.0),
    "polynomial": optim.polynomial_schedule(0.5, 0.1, 3, 50, 10),
    "linear": optim.linear_schedule(0.5, 0.1, 50, 10),
    "cosine_decay": optim.cosine_decay_schedule(0.5, 60, 0.1, 1.5),
    "warmup_constant": optim.warmup_constant_schedule(0.1, 0.5, 30),
    "warmup_cosine": optim.warmup_cosine_decay_schedule(**WARM, end_value=0.05, exponent=2.0),
    "warmup_exponential": optim.warmup_exponential_decay_schedule(
        0.1, 0.5, 10, 20, 0.5, 5, True, 0.1
    ),
    "sgdr": optim.sgdr_schedule([WARM, {**WARM, "peak_value": 0.3, "decay_steps": 30}]),
}
CASES = [("torch", name) for name in TORCH] + [("optax", name) for name in OPTAX]


def case(library, name):
    return (TORCH if library == "torch" else OPTAX)[name], golden(library, "schedule")[name]


@pytest.mark.parametrize(("library", "name"), CASES)
def test_every_step(library, name):
    schedule, expected = case(library, name)
    values = [float(schedule(t)) for t in range(101)]
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("library", "name"), CASES)
def test_float64_jit_vmap(library, name):
    """A step that is a float64 gives a float64, which is what PyTorch computes in."""
    schedule, expected = case(library, name)
    steps = fnp.arange(101, dtype="int32")
    with fst.config.override(default_dtype_bits=64):
        values = fst.jit(fst.vmap(schedule))(steps)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("library", "name"), CASES)
def test_calls_do_not_compound(library, name):
    schedule, _ = case(library, name)
    there_and_back = [float(schedule(t)) for t in (50, 7, 7, 50, 0, 7)]
    assert there_and_back[0] == there_and_back[3]
    assert there_and_back[1] == there_and_back[2] == there_and_back[5]


def test_dtypes():
    schedule = optim.cosine_decay_schedule(1.0, 10)
    assert schedule(3).dtype == schedule(fnp.asarray(3)).dtype == np.float32
    assert schedule(fnp.asarray(np.array(3.0))).dtype == np.float64
    assert optim.constant_schedule(0.5)(3).dtype == np.float32


def test_inverse_sqrt():
    schedule = optim.inverse_sqrt_schedule(0.5, 4, 0.1)
    values = [float(schedule(t)) for t in (0, 2, 4, 16, 400)]
    np.testing.assert_allclose(values, [0.1, 0.3, 0.5, 0.25, 0.05], rtol=1e-6)


PLATEAUS = {
    "plateau": {"factor": 0.5, "patience": 3},
    "plateau_options": {
        "factor": 0.3,
        "patience": 1,
        "threshold": 0.05,
        "threshold_mode": "abs",
        "cooldown": 2,
        "min_factor": 0.01,
    },
    "plateau_max": {"mode": "max", "factor": 0.5, "patience": 2, "threshold": 0.01},
}


@pytest.mark.parametrize("name", PLATEAUS)
def test_plateau(name):
    expected = golden("torch", "schedule")
    values = expected["plateau_values"] * (-1 if name == "plateau_max" else 1)
    plateau = optim.reduce_on_plateau(**PLATEAUS[name])
    state = plateau.init()
    eager = []
    for value in values:
        factor, state = plateau.update(value, state)
        eager.append(float(factor))
    assert len(set(eager)) > 2  # it has fallen more than once
    np.testing.assert_allclose(eager, expected[name], rtol=1e-6)

    def step(state, value):
        factor, state = plateau.update(value, state)
        return state, factor

    _, scanned = fst.lax.scan(step, plateau.init(), fnp.asarray(values.astype("float32")))
    np.testing.assert_allclose(scanned, expected[name], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: optim.step_schedule(1.0, 0), "step_schedule: step_size must be positive, got 0"),
        (lambda: optim.linear_schedule(1.0, 0.0, 0), "transition_steps must be positive, got 0"),
        (lambda: optim.one_cycle_schedule(1.0, 10, anneal_strategy="sin"), "got 'sin'"),
        (lambda: optim.cyclic_schedule(0.1, 1.0, mode="square"), "got 'square'"),
        (
            lambda: optim.join_schedules([optim.constant_schedule(1.0)] * 2, []),
            r"one between each two schedules, got \[\] for 2",
        ),
        (lambda: optim.chained_schedule(), "needs at least one schedule"),
        (lambda: optim.reduce_on_plateau(mode="least"), "got 'least' and 'rel'"),
        (lambda: optim.reduce_on_plateau(factor=1.0), "factor must be below 1, got 1.0"),
    ],
)
def test_errors(make, text):
    with pytest.raises(OptionError, match=text):
        make()

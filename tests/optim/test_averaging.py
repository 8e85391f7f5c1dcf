"""Averages of parameters, statistics of averaged networks, and scaled losses."""

import numpy as np
import pytest

import fstensor as fst
from fstensor import nn, optim
from fstensor import numpy as fnp
from fstensor.errors import ArgumentError
from tests.optim.golden import golden, loss, trajectory


def averaged(averaging, trees):
    state = averaging.init(trees[0])
    for params in trees:
        state = fst.jit(averaging.update)(params, state)
    return state


@pytest.fixture
def seen():
    return trajectory(optim.sgd(0.3), steps=6)[0]


def test_average_params(seen):
    swa = optim.average_params()
    state = averaged(swa, seen)
    assert int(state.taken) == 6
    found = swa.params(state, seen[0])
    for k in "wb":
        np.testing.assert_allclose(found[k], np.mean([p[k] for p in seen], 0), rtol=1e-13)


@pytest.mark.parametrize("debias", [False, True])
def test_ema_params(seen, debias):
    ema = optim.ema_params(0.8, debias)
    found = ema.params(averaged(ema, seen), seen[0])
    expected = 0.0 if debias else seen[0]["w"]
    for p in seen if debias else seen[1:]:
        expected = 0.8 * expected + 0.2 * np.asarray(p["w"])
    np.testing.assert_allclose(found["w"], expected / (1 - 0.8**6 if debias else 1), rtol=1e-12)


@pytest.mark.parametrize("name", ["swa", "ema"])
def test_torch(name):
    """As PyTorch's AveragedModel of a sequence of parameters."""
    expected = golden("torch", "averaging")
    averaging = optim.average_params() if name == "swa" else optim.ema_params(0.9)
    trees = [fnp.asarray(p) for p in expected["params"]]
    found = averaging.params(averaged(averaging, trees), trees[0])
    np.testing.assert_allclose(found, expected[name], rtol=1e-12)


def test_averages_of_bfloat16_are_wide():
    """A running mean in bfloat16 would stand still."""
    ema = optim.ema_params(0.999)
    state = ema.init(fnp.zeros(2, "bfloat16"))
    state = ema.update(fnp.zeros(2, "bfloat16"), state)
    for _ in range(10):
        state = ema.update(fnp.ones(2, "bfloat16"), state)
    assert state.average.dtype == np.float32
    np.testing.assert_allclose(state.average, (1 - 0.999**10) * np.ones(2), rtol=1e-4)
    assert ema.params(state, fnp.zeros(2, "bfloat16")).dtype == fst.dtypes.bfloat16


def test_update_batch_norm():
    model = nn.Sequential(nn.Linear(4), nn.BatchNorm(momentum=0.3), nn.Linear(2))
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(8, 3)).astype("float32") for _ in range(3)]
    params, state = model.init(fst.random.key(0), batches[0])
    after = optim.update_batch_norm(model, params, state, (fnp.asarray(b) for b in batches))
    inner = next(iter(params.values()))
    hidden = [b @ np.asarray(inner["kernel"]) + np.asarray(inner["bias"]) for b in batches]
    (statistics,) = after.values()
    np.testing.assert_allclose(statistics["mean"], np.mean([h.mean(0) for h in hidden], 0), 1e-4)
    np.testing.assert_allclose(
        statistics["var"], np.mean([h.var(0, ddof=1) for h in hidden], 0), 1e-4
    )
    with pytest.raises(ArgumentError, match="needs at least one batch"):
        optim.update_batch_norm(model, params, state, [])


def test_loss_scale():
    optimizer = optim.dynamic_loss_scale(optim.sgd(1.0, momentum=0.5), 8.0, growth_interval=2)
    params = fnp.zeros(1)
    state = optimizer.init(params)
    scales, moved = [], []
    for g in (1.0, 1.0, np.inf, 1.0, np.nan, 1.0, 1.0):
        scaled = fnp.asarray(np.array([g], "float32")) * state.scale
        updates, state = fst.jit(optimizer.update)(scaled, state, params)
        scales.append(float(state.scale))
        moved.append(float(updates[0]))
    assert scales == [8.0, 16.0, 8.0, 8.0, 4.0, 4.0, 8.0]
    assert moved == [-1.0, -1.5, 0.0, -1.75, 0.0, -1.875, -1.9375]
    assert (int(state.skipped), int(state.good_steps), int(state.inner_state.step)) == (2, 0, 5)


def test_loss_scale_stays_finite():
    optimizer = optim.dynamic_loss_scale(optim.sgd(1.0), 2.0**127, growth_interval=1)
    one = fnp.ones(1)
    _, state = optimizer.update(one, optimizer.init(one))
    assert float(state.scale) == 2.0**127


def test_float16_training():
    """Gradients that vanish in float16 do not, when they are scaled."""
    params = fnp.full(3, 1.0, "float16")
    tiny = 1e-8

    def loss_of(p):
        return (p * p).sum().astype("float32") * tiny

    assert not np.asarray(fst.grad(loss_of)(params)).any()
    optimizer = optim.dynamic_loss_scale(optim.sgd(0.1 / tiny), 2.0**20)
    state = optimizer.init(params)
    for _ in range(3):
        grads = fst.grad(lambda p, state=state: optim.scale_loss(loss_of(p), state))(params)
        updates, state = optimizer.update(grads, state, params)
        params = optim.apply_updates(params, updates)
    assert params.dtype == np.float16
    np.testing.assert_allclose(np.asarray(params, "float32"), 0.8**3 * np.ones(3), rtol=5e-3)


def test_minimizes():
    seen, _ = trajectory(optim.adam(0.1), steps=20)
    assert float(loss(seen[-1])) < 0.8 * float(loss(seen[0]))

"""Transformations to chain, and those around others."""

import numpy as np
import pytest

import fstensor as fst
from fstensor import numpy as fnp
from fstensor import optim
from fstensor.errors import ArgumentError, OptionError, ShapeError, TreeError
from tests.optim.golden import KEPT, assert_follows, first_params, golden, loss, trajectory

MASK = {"w": True, "b": False}

OPTAX = {
    "scale_by_adam": lambda: optim.chain(
        optim.scale_by_adam(0.8, 0.9, 1e-3, 1e-4), optim.scale(-0.1)
    ),
    "scale_by_rms": lambda: optim.chain(optim.scale_by_rms(0.8), optim.scale(-0.1)),
    "trace": lambda: optim.chain(optim.trace(0.9), optim.scale_by_learning_rate(0.1)),
    "trace_nesterov": lambda: optim.chain(optim.trace(0.9, nesterov=True), optim.scale(-0.1)),
    "ema": lambda: optim.chain(optim.ema(0.9), optim.scale(-0.1)),
    "ema_biased": lambda: optim.chain(optim.ema(0.9, debias=False), optim.scale(-0.1)),
    "add_decayed_weights": lambda: optim.chain(
        optim.add_decayed_weights(0.1, lambda params: MASK), optim.sgd(0.1)
    ),
    "clip": lambda: optim.chain(optim.clip(0.05), optim.sgd(0.1)),
    "clip_by_global_norm": lambda: optim.chain(optim.clip_by_global_norm(0.1), optim.sgd(0.1)),
    "clip_by_block_rms": lambda: optim.chain(optim.clip_by_block_rms(0.05), optim.sgd(0.1)),
    "adaptive_grad_clip": lambda: optim.chain(optim.adaptive_grad_clip(0.05), optim.sgd(0.1)),
    "centralize": lambda: optim.chain(optim.centralize(), optim.sgd(0.1)),
    "scale_by_schedule": lambda: optim.scale_by_schedule(lambda t: -0.1 / (1 + t)),
    "scale_by_trust_ratio": lambda: optim.chain(
        optim.scale_by_trust_ratio(trust_coefficient=0.1, eps=0.1), optim.scale(-1)
    ),
    "multi_steps": lambda: optim.multi_steps(optim.adam(0.05), 3),
    "multi_transform": lambda: optim.multi_transform(
        {"fast": optim.sgd(0.2), "slow": optim.adam(0.01)}, {"w": "slow", "b": "fast"}
    ),
    "masked": lambda: optim.chain(optim.masked(optim.trace(0.9), MASK), optim.sgd(0.1)),
    "lookahead": lambda: optim.lookahead(optim.adam(0.1), sync_period=3, slow_step_size=0.4),
}


@pytest.fixture(autouse=True)
def _wide():
    with fst.config.override(default_dtype_bits=64):
        yield


@pytest.mark.parametrize("name", OPTAX)
def test_optax(name):
    seen, _ = trajectory(OPTAX[name]())
    assert_follows(seen, golden("optax", name))


def scaled(optimizer):
    """The optimizer, of gradients of a loss that is multiplied by the scale in its state."""

    def update(grads, state, params):
        grads = fst.tree.map(lambda g: g * state.scale, grads)
        return optimizer.update(grads, state, params)

    return optim.GradientTransformation(optimizer.init, update)


# Composed in another way they are the same, or they change nothing where all is well.
SAME = {
    "lion": lambda: optim.chain(
        optim.scale_by_lion(),
        optim.add_decayed_weights(1e-3),
        optim.scale_by_learning_rate(0.02),
    ),
    "adam": lambda: optim.chain(optim.identity(), optim.adam(0.05), optim.scale(1.0)),
    "adam without errors": lambda: optim.apply_if_finite(optim.adam(0.05), 1),
    "adam of a scaled loss": lambda: scaled(
        optim.dynamic_loss_scale(optim.adam(0.05), 8.0, growth_interval=3)
    ),
    "adam of real numbers": lambda: optim.split_real_and_imaginary(optim.adam(0.05)),
    "adam of short gradients": lambda: optim.chain(optim.clip_by_norm(100.0), optim.adam(0.05)),
    "adam of all": lambda: optim.masked(optim.adam(0.05), True),
    "adam where nothing is frozen": lambda: optim.chain(optim.adam(0.05), optim.freeze(False)),
    "adam without noise": lambda: optim.chain(
        optim.add_noise(0.0, 1.0, fst.random.key(0)), optim.adam(0.05)
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_same(name):
    seen, _ = trajectory(SAME[name]())
    of = name.split(" ")[0]
    assert_follows(seen, golden("optax" if of == "lion" else "torch", of))


def test_lookahead_slow():
    expected = golden("optax", "lookahead")
    for i, step in enumerate(KEPT):
        _, state = trajectory(OPTAX["lookahead"](), steps=step + 1)
        np.testing.assert_allclose(state.slow["w"], expected["slow_w"][i], rtol=1e-10)


def test_lookahead_reset():
    """With reset_state, Adam's count begins again after each meeting."""
    optimizer = optim.lookahead(optim.adam(0.1), 3, 0.5, reset_state=True)
    counts = [int(trajectory(optimizer, steps=n)[1].fast_state.step) for n in (1, 2, 3, 4)]
    assert counts == [1, 2, 0, 1]


def test_sam():
    descent = optim.sam(fst.value_and_grad(loss), rho=0.3)
    optimizer = optim.adam(0.05)
    params = first_params()
    state, seen = optimizer.init(params), []
    for _ in range(20):
        value, grads = fst.jit(descent)(params)
        np.testing.assert_allclose(value, loss(params), rtol=1e-13)
        updates, state = optimizer.update(grads, state, params)
        params = optim.apply_updates(params, updates)
        seen.append(params)
    assert_follows(seen, golden("optax", "sam"))


def test_adaptive_sam():
    """On f = p . c the gradient is c anywhere; on |p|^2 / 2 it is where it is taken."""
    p, c = np.array([1.0, -2.0, 0.5]), np.array([3.0, 1.0, 2.0])
    f = fst.value_and_grad(lambda x: (x * x).sum() / 2 + (x * c).sum())
    _, grads = optim.sam(f, rho=0.1, adaptive=True)(fnp.asarray(p))
    g = p + c
    worst = p + 0.1 * p * p * g / np.linalg.norm(p * g)
    np.testing.assert_allclose(grads, worst + c, rtol=1e-13)


def grads_like(*arrays):
    return [fnp.asarray(np.array(a)) for a in arrays]


def once(transformation, grads, params=None):
    updates, _ = transformation.update(grads, transformation.init(grads), params)
    return updates


def test_clip_by_norm():
    clipped = once(optim.clip_by_norm(1.0), grads_like([3.0, 4.0], [0.6, 0.0]))
    np.testing.assert_allclose(clipped[0], [0.6, 0.8])
    np.testing.assert_array_equal(clipped[1], [0.6, 0.0])


def test_global_norm():
    assert float(optim.global_norm(grads_like([3.0], [[0.0, 4.0]]))) == 5.0
    assert float(optim.global_norm([])) == 0.0
    # Squares of float16 would overflow.
    assert float(optim.global_norm([fnp.full(4, 300.0, "float16")])) == 600.0


def test_clip_of_zeros():
    zeros = grads_like([0.0, 0.0])
    for t in (
        optim.clip_by_global_norm(1.0),
        optim.clip_by_norm(1.0),
        optim.clip_by_block_rms(1.0),
    ):
        np.testing.assert_array_equal(once(t, zeros)[0], [0.0, 0.0])
    np.testing.assert_array_equal(once(optim.normalize(), zeros)[0], [0.0, 0.0])


def test_adaptive_grad_clip_axes():
    """Of a kernel (rows, columns, inputs, outputs), each output is a unit."""
    g = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
    clipped = once(optim.adaptive_grad_clip(0.1), grads_like(g), grads_like(np.ones_like(g)))[0]
    norms = np.sqrt((np.asarray(clipped) ** 2).sum((0, 1, 2)))
    np.testing.assert_allclose(norms, 0.1 * np.sqrt(18))
    with pytest.raises(ShapeError, match=r"at most 5 axes, got float64\[2,2,2,2,2,2\]"):
        once(optim.adaptive_grad_clip(0.1), *[grads_like(np.ones((2,) * 6))] * 2)


def test_centralize_last():
    g = np.arange(6.0).reshape(3, 2)
    centered = once(optim.centralize(axis=-1), grads_like(g, [1.0, 2.0]))
    np.testing.assert_allclose(centered[0], g - g.mean(0))
    np.testing.assert_array_equal(centered[1], [1.0, 2.0])


def test_add_noise():
    grads = {"a": fnp.zeros(20000), "b": fnp.zeros(20000)}
    noise = optim.add_noise(0.25, 2.0, fst.random.key(0))
    first, state = noise.update(grads, noise.init(grads))
    second, _ = noise.update(grads, state)
    again, _ = noise.update(grads, noise.init(grads))
    np.testing.assert_array_equal(first["a"], again["a"])
    assert not np.allclose(first["a"], first["b"])
    assert abs(float(first["a"].std()) - 0.5) < 0.01
    assert abs(float(second["b"].std()) - 0.25) < 0.005


def test_freeze():
    optimizer = optim.chain(optim.adam(0.1), optim.freeze({"w": False, "b": True}))
    seen, _ = trajectory(optimizer, steps=3)
    start = first_params()
    np.testing.assert_array_equal(seen[-1]["b"], start["b"])
    assert not np.allclose(seen[-1]["w"], start["w"])
    alone, _ = trajectory(optim.set_to_zero(), steps=2)
    np.testing.assert_array_equal(alone[-1]["w"], start["w"])
    same = once(optim.identity(), grads_like([1.0]))
    np.testing.assert_array_equal(same[0], [1.0])


def test_masked_state_holds_only_its_leaves():
    params = first_params()
    state = optim.masked(optim.adam(), MASK).init(params)
    assert state.inner_state.slots.mean == {"w": state.inner_state.slots.mean["w"], "b": ()}
    assert isinstance(state.inner_state.slots.mean["b"], optim.MaskedNode)


def test_multi_transform_prefix_and_function():
    params = {"body": [fnp.ones(2), fnp.ones(3)], "head": fnp.ones(2)}
    grads = fst.tree.map(fnp.ones_like, params)
    groups = {"slow": optim.sgd(0.1), "fast": optim.sgd(1.0)}
    for labels in ({"body": "slow", "head": "fast"}, lambda p: {"body": "slow", "head": "fast"}):
        optimizer = optim.multi_transform(groups, labels)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        np.testing.assert_allclose(updates["body"][1], -0.1 * np.ones(3), rtol=1e-6)
        np.testing.assert_allclose(updates["head"], -np.ones(2))


def test_multi_steps_sum_and_schedule():
    grads = fnp.asarray(np.array([1.0]))
    optimizer = optim.multi_steps(optim.sgd(1.0), lambda done: done + 1, use_grad_mean=False)
    state = optimizer.init(grads)
    moved, steps = [], []
    for _ in range(6):
        updates, state = fst.jit(optimizer.update)(grads, state)
        moved.append(float(updates[0]))
        steps.append(int(state.mini_step))
    assert moved == [-1.0, 0.0, -2.0, 0.0, 0.0, -3.0]
    assert steps == [0, 1, 0, 1, 2, 0]
    assert int(state.gradient_step) == 3


def test_apply_if_finite():
    good, bad = fnp.asarray(np.array([1.0])), fnp.asarray(np.array([np.nan]))
    optimizer = optim.apply_if_finite(optim.sgd(1.0, momentum=0.5), 2)
    state, moved = optimizer.init(good), []
    for g in (good, bad, bad, good, bad, bad, bad):
        updates, state = fst.jit(optimizer.update)(g, state)
        moved.append(float(updates[0]))
    assert moved[:6] == [-1.0, 0.0, 0.0, -1.5, 0.0, 0.0]
    assert np.isnan(moved[6])  # the third on end
    assert (int(state.notfinite_count), int(state.total_notfinite)) == (3, 5)
    assert not bool(state.last_finite)
    assert bool(optim.all_finite({"a": fnp.arange(3), "b": good}))


def test_apply_if_finite_with_noise():
    """Random keys in a state stay, too."""
    bad = fnp.asarray(np.array([np.inf]))
    optimizer = optim.apply_if_finite(optim.add_noise(1.0, 1.0, fst.random.key(3)), 5)
    state = optimizer.init(bad)
    _, after = optimizer.update(bad, state)
    key, then = (fst.random.key_data(s.inner_state.slots) for s in (state, after))
    np.testing.assert_array_equal(key, then)


def test_split_real_and_imaginary():
    z = np.array([1.0 + 2.0j, -0.5j])
    inner = optim.adam(0.1)
    params = {"z": fnp.asarray(z), "x": fnp.asarray(np.array([1.0]))}
    optimizer = optim.split_real_and_imaginary(inner)
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    apart = {"re": fnp.asarray(z.real.copy()), "im": fnp.asarray(z.imag.copy())}
    expected, _ = inner.update(apart, inner.init(apart), apart)
    np.testing.assert_allclose(updates["z"], expected["re"] + 1j * expected["im"])
    assert updates["z"].dtype == np.complex128
    assert updates["x"].dtype == np.float64


def test_hyperparams():
    optimizer = optim.chain(
        optim.add_decayed_weights(0.1),
        optim.masked(optim.sgd(0.5, momentum=0.9, weight_decay=0.2), MASK),
    )
    params = first_params()
    state = optimizer.init(params)
    read = optim.hyperparams(state)
    assert float(read["learning_rate"]) == 0.5
    assert float(read["momentum"]) == 0.9
    # Both have a weight_decay.
    assert {k for k in read if k.endswith("weight_decay")} == {
        "[0].weight_decay",
        "[1].inner_state.weight_decay",
    }
    grads = fst.grad(loss)(params)
    faster = optim.with_hyperparams(state, learning_rate=1.0)
    slow, _ = optimizer.update(grads, state, params)
    fast, after = fst.jit(optimizer.update)(grads, faster, params)
    np.testing.assert_allclose(fast["w"], 2 * slow["w"])
    assert float(optim.hyperparams(after)["learning_rate"]) == 1.0
    assert float(optim.hyperparams(state)["learning_rate"]) == 0.5
    with pytest.raises(OptionError, match=r"among \['dampening', .*got 'rate'"):
        optim.with_hyperparams(state, rate=1.0)
    with pytest.raises(ShapeError, match=r"learning_rate must be a number, got .*\[2\]"):
        optim.with_hyperparams(state, learning_rate=[1.0, 2.0])


def test_hyperparams_within_jit_and_schedules():
    optimizer = optim.inject_hyperparams(optim.sgd)(
        optim.linear_schedule(1.0, 0.0, 10), momentum=0.5
    )
    params = first_params()
    _, state = trajectory(optimizer, params, steps=4)
    # Of the last update, before which there were three.
    np.testing.assert_allclose(state.hyperparams["learning_rate"], 0.7, rtol=1e-12)
    changed = fst.jit(lambda s, r: optim.with_hyperparams(s, momentum=r))(state, 0.25)
    assert float(optim.hyperparams(changed)["momentum"]) == 0.25
    with pytest.raises(OptionError, match="learning_rate comes from a schedule"):
        optim.with_hyperparams(state, learning_rate=0.1)


def test_hyperparams_that_are_left_out_cannot_be_set():
    """Without momentum there is no velocity, and with a number of it nothing would change."""
    state = optim.sgd(0.1).init(first_params())
    assert set(optim.hyperparams(state)) == {"learning_rate"}
    with pytest.raises(OptionError, match=r"names must be among \['learning_rate'\]"):
        optim.with_hyperparams(state, momentum=0.9)
    # A zero that shall grow later is given as an array.
    later = optim.sgd(0.1, weight_decay=fnp.asarray(0.0)).init(first_params())
    assert set(optim.hyperparams(later)) == {"learning_rate", "weight_decay"}


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (
            lambda p: optim.multi_transform({"a": optim.sgd(0.1)}, {"w": "a", "b": "c"}).init(p),
            OptionError,
            r"labels must be among \['a'\], got 'c' at \['b'\]",
        ),
        (lambda p: optim.masked(optim.sgd(0.1), {"w": True}).init(p), TreeError, "b"),
        (lambda p: optim.multi_steps(optim.sgd(0.1), 0), OptionError, "at least 1, got 0"),
        (lambda p: optim.lookahead(optim.sgd(0.1), 0, 0.5), OptionError, "at least 1, got 0"),
        (lambda p: optim.muon().init(p), ShapeError, r"float64\[4\] at \['b'\]; give others"),
        (lambda p: optim.muon(adjust_lr_fn="none"), OptionError, "got 'none'"),
        (lambda p: optim.shampoo(update_every=0), OptionError, "at least 1, got 0"),
        (lambda p: optim.sgd(0.1, nesterov=True), OptionError, "nesterov needs momentum"),
        (lambda p: optim.ema_params(1.5), OptionError, r"in \[0, 1\], got 1.5"),
        (
            lambda p: optim.sparse_adam().update(p, optim.sparse_adam().init(p)),
            ArgumentError,
            r"must be RowSparse, got float64\[4\] at \['b'\]",
        ),
        (lambda p: once(optim.adamw(), p), ArgumentError, "adamw: .* needs the parameters"),
        (lambda p: once(optim.lookahead(optim.sgd(0.1), 2, 0.5), p), ArgumentError, "lookahead"),
        (
            lambda p: optim.asgd_average(optim.sgd(0.1).init(p)),
            ArgumentError,
            "needs a state of asgd",
        ),
        (
            lambda p: optim.chain(optim.sgd(0.1)).update(p, (), p),
            TreeError,
            "the state must have 1 parts, got 0",
        ),
    ],
)
def test_errors(act, error, text):
    with pytest.raises(error, match=text):
        act(first_params())

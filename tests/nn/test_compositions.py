"""Layers under several transforms at once, as research uses them.

Ensembles in one program, gradients of single examples, products with Hessians, rematerialization,
and training in 16 bits.
"""

from typing import NamedTuple

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import (
    Array,
    checkpoint,
    checkpoint_policies,
    grad,
    jit,
    jvp,
    lax,
    nn,
    optim,
    random,
    tree,
    vmap,
)
from fstensor.errors import TreeError
from fstensor.flatten_util import ravel_pytree
from fstensor.transforms.residuals import saved_residuals
from tests.tolerances import FINITE_DIFFERENCES, assert_close

KEY = random.key(0)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def as_dtype(dtype, values):
    return tree.map(
        lambda p: p.astype(dtype) if fnp.issubdtype(p.dtype, fnp.floating) else p, values
    )


def assert_trees_close(got, expected, **options):
    """As vectors: what is zero but for rounding, as of the bias of keys, is so beside the rest."""
    assert tree.structure(got) == tree.structure(expected)
    assert_close(ravel_pytree(got)[0], ravel_pytree(expected)[0], **options)


MLP = nn.Sequential(nn.Linear(6), nn.tanh, nn.Linear(3))
CONV_NET = nn.Sequential(
    nn.Conv2d(3, 3, padding=1), nn.relu, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3)
)
ENCODER = nn.Sequential(
    layer=nn.TransformerEncoderLayer(2, 8, dropout=0.0),
    mean=lambda x: x.mean(-2),
    out=nn.Linear(3),
)
INPUTS = {"mlp": (4,), "conv": (6, 6, 1), "encoder": (5, 4)}
MODELS = {"mlp": MLP, "conv": CONV_NET, "encoder": ENCODER}


def examples(name, count):
    """Inputs in float64, and labels that a linear function of them gives."""
    x = normal(1, count, *INPUTS[name])
    scores = x.reshape(count, -1) @ normal(2, int(np.prod(INPUTS[name])), 3)
    return fnp.asarray(x), fnp.asarray(scores.argmax(-1))


def made(model, x, key=KEY):
    """Parameters in the dtype of x."""
    return as_dtype(x.dtype, model.init(key, x)[0])


# Many models at once


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_an_ensemble_trains_as_each_model_alone(name):
    model = MODELS[name]
    x, labels = examples(name, 16)
    optimizer = optim.adam(0.03)

    def loss(params):
        return nn.cross_entropy(model(params, x), labels)

    def train(key):
        params = made(model, x, key)

        def step(carry, _):
            params, state = carry
            value, grads = fst.value_and_grad(loss)(params)
            updates, state = optimizer.update(grads, state, params)
            return (optim.apply_updates(params, updates), state), value

        (params, _), losses = lax.scan(step, (params, optimizer.init(params)), length=12)
        return params, losses

    keys = random.split(KEY, 3)
    together, losses = jit(vmap(train))(keys)
    assert losses.shape == (3, 12)
    assert (losses[:, -1] < 0.7 * losses[:, 0]).all()
    alone = jit(train)
    for i, key in enumerate(keys):
        params, history = alone(key)
        # Twelve steps of Adam, each of which divides by what may be small.
        assert_close(losses[i], history, factor=1e4)
        assert_trees_close(tree.map(lambda p, i=i: p[i], together), params, factor=1e4)
    first = together[next(iter(together))]["kernel"]
    assert not np.allclose(first[0], first[1])


# Gradients of single examples


@pytest.mark.parametrize("name", ["conv", "encoder"])
def test_gradients_of_single_examples(name):
    model = MODELS[name]
    x, labels = examples(name, 4)
    params = made(model, x)

    def loss(params, x, labels):
        return nn.cross_entropy(model(params, x), labels)

    def of_one(params, x, label):
        return grad(loss)(params, x[None], label[None])

    each = jit(vmap(of_one, (None, 0, 0)))(params, x, labels)
    single = jit(of_one)
    for i in range(4):
        one = tree.map(lambda g, i=i: g[i], each)
        assert_trees_close(one, single(params, x[i], labels[i]), derivative=True, factor=10)
    mean = tree.map(lambda g: g.mean(0), each)
    assert_trees_close(mean, jit(grad(loss))(params, x, labels), derivative=True, factor=10)


def test_private_training_is_one_program():
    """DP-SGD (Abadi et al., 2016, algorithm 1): gradients clipped one by one, then noise."""
    x, labels = examples("conv", 12)
    most, noise = 0.5, 0.01
    clip = optim.clip_by_global_norm(most)

    def clipped(params, x, label):
        loss = lambda params: nn.cross_entropy(CONV_NET(params, x[None]), label[None])
        return clip.update(grad(loss)(params), clip.init(params))[0]

    @jit
    def step(params, key):
        each = vmap(clipped, (None, 0, 0))(params, x, labels)
        flat, unravel = ravel_pytree(tree.map(lambda g: g.sum(0), each))
        noisy = flat + noise * most * random.normal(key, flat.shape, flat.dtype)
        after = tree.map(lambda p, g: p - 0.5 * g / len(x), params, unravel(noisy))
        return after, vmap(optim.global_norm)(each), unravel(flat)

    params = made(CONV_NET, x)
    single = jit(clipped)
    by_hand = [single(params, *pair) for pair in zip(x, labels, strict=True)]
    after, norms, total = step(params, KEY)
    assert_trees_close(total, tree.map(lambda *g: sum(g), *by_hand), derivative=True, factor=10)
    assert norms.max() <= most * (1 + 1e-6)
    assert norms.max() == pytest.approx(most)
    first = nn.cross_entropy(CONV_NET(params, x), labels)
    for key in random.split(KEY, 30):
        after, _, _ = step(after, key)
    assert nn.cross_entropy(CONV_NET(after, x), labels) < 0.8 * first


# Products with Hessians


def _attention_loss():
    model = nn.MultiheadAttention(2)
    x = fnp.asarray(normal(3, 2, 3, 2))
    return made(model, x), lambda params: fnp.sum(model(params, x, is_causal=True) ** 3)


def _batch_norm_loss():
    model = nn.Sequential(nn.Linear(3), nn.BatchNorm(), nn.tanh)
    x = fnp.asarray(normal(4, 5, 2))
    params, state = as_dtype("float64", model.init(KEY, x))

    def loss(params):
        y, after = model.apply(params, state, x, train=True)
        return fnp.sum(y**3) + fnp.sum(after["1"]["var"] ** 2)

    return params, loss


def _lstm_loss():
    model = nn.LSTM(2)
    x = fnp.asarray(normal(5, 2, 4, 2))

    def loss(params):
        y, (_, c) = model(params, x, lengths=fnp.array([4, 2]))
        return fnp.sum(y**2) + fnp.sum(c**3)

    return made(model, x), loss


HVP = {
    "forward over reverse": lambda f, p, v: jvp(grad(f), (p,), (v,))[1],
    "reverse over forward": lambda f, p, v: grad(lambda p: jvp(f, (p,), (v,))[1])(p),
    "reverse over reverse": lambda f, p, v: grad(lambda p: fnp.vdot(grad(f)(p), v))(p),
}


@pytest.mark.parametrize("make", [_attention_loss, _batch_norm_loss, _lstm_loss])
def test_products_with_hessians(make):
    params, loss = make()
    point, unravel = ravel_pytree(params)
    assert point.dtype == np.float64
    point = point + 0.1 * normal(6, point.size)  # biases begin at zero

    def f(p):
        return loss(unravel(p))

    v = fnp.asarray(normal(7, point.size))
    expected = jit(fst.hessian(f))(point) @ v
    assert np.abs(expected).max() > 0.1
    for name, product in HVP.items():
        got = jit(lambda p, v, product=product: product(f, p, v))(point, v)
        assert_close(got, expected, derivative=True, factor=100, err_msg=name)
    gradient, step = jit(grad(f)), 1e-5
    difference = (gradient(point + step * v) - gradient(point - step * v)) / (2 * step)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(difference, expected, rtol=0, atol=FINITE_DIFFERENCES * scale)


# Rematerialization


BLOCK = nn.TransformerEncoderLayer(2, 32, dropout=0.25, norm_first=True)


def _stack(repeated, anew):
    policy = None if anew else checkpoint_policies.everything_saveable
    block = nn.Checkpoint(BLOCK, policy)
    return nn.Repeat(block, 3) if repeated else nn.Sequential(*[block] * 3)


@pytest.mark.parametrize("repeated", [False, True], ids=["sequence", "repeat"])
def test_blocks_that_are_computed_again(repeated):
    x = fnp.asarray(normal(8, 4, 12, 8))
    params = made(_stack(repeated, False), x)
    found, kept, memory, work = [], [], [], []
    for anew in (False, True):
        model = _stack(repeated, anew)
        assert tree.structure(made(model, x)) == tree.structure(params)

        def loss(params, x, key, model=model):
            return fnp.mean(model(params, x, key=key, train=True) ** 3)

        residuals = [a for a, origin in saved_residuals(loss, params, x, KEY)]
        kept.append(sum(a.size * a.dtype.itemsize for a in residuals))
        lowered = jit(fst.value_and_grad(loss, (0, 1))).lower(params, x, KEY)
        costs = lowered.cost_analysis()
        memory.append(costs["arena size"])
        work.append(costs["flops"])
        found.append(lowered.compile()(params, x, KEY))
    for plain, again in zip(*found, strict=True):
        # The same numbers are dropped: with other masks nothing would agree.
        assert_trees_close(again, plain, derivative=True, factor=10)
    assert kept[1] < 0.3 * kept[0]
    assert memory[1] < 0.6 * memory[0]
    assert work[0] < work[1] < 1.6 * work[0]


def test_state_within_what_is_computed_again():
    x = fnp.asarray(normal(9, 6, 4))
    model = nn.Sequential(nn.Checkpoint(nn.BatchNorm()), nn.Linear(2))
    params, state = model.init(KEY, x)

    def loss(params, state):
        y, state = model.apply(params, state, x, train=True)
        return fnp.sum(y**2), state

    grads, after = fst.grad(loss, has_aux=True)(params, state)
    norm = nn.BatchNorm()
    _, expected = norm.apply(params["0"]["layer"], state["0"]["layer"], x, train=True)
    assert_trees_close(after["0"]["layer"], expected)
    assert tree.structure(grads) == tree.structure(params)
    with pytest.raises(TreeError, match="it has state"):
        model(params, x)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_mask_is_the_same_when_it_is_computed_again(compiled):
    layer = nn.Sequential(nn.Lambda(fnp.exp), nn.Dropout(0.5))
    x = fnp.asarray(normal(9, 64))

    @checkpoint
    def dropped(x, key):
        return layer({}, x, key=key, train=True)

    def run(x, key):
        y, backwards = fst.vjp(lambda x: dropped(x, key), x)
        return y, backwards(fnp.ones(x.shape, x.dtype))[0]

    for key in random.split(KEY, 2):
        y, gradient = (jit(run) if compiled else run)(x, key)
        assert 10 < fnp.sum(y == 0) < 54
        assert_close(gradient, y)  # exp is its own derivative


# Sixteen bits


class Trained(NamedTuple):
    """What training gives: the loss, the scale of the loss and the parameters, of each step."""

    losses: Array
    scales: Array
    skipped: Array
    params: dict


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["conv", "encoder"])
def test_training_in_mixed_precision(name, dtype):
    model = MODELS[name]
    x, labels = examples(name, 16)
    x = x.astype("float32")
    optimizer = optim.dynamic_loss_scale(optim.adam(0.02), 2.0**12, growth_interval=4)

    def loss(params, x):
        logits = model(as_dtype(dtype, params), x.astype(dtype))
        assert logits.dtype == dtype
        return nn.cross_entropy(logits.astype("float32"), labels)

    def step(carry, x):
        params, state = carry

        def scaled(params):
            value = loss(params, x)
            return optim.scale_loss(value, state), value

        grads, value = grad(scaled, has_aux=True)(params)
        updates, after = optimizer.update(grads, state, params)
        params = optim.apply_updates(params, updates)
        return (params, after), Trained(value, after.scale, after.skipped, params)

    @jit
    def train(params, xs):
        return lax.scan(step, (params, optimizer.init(params)), xs)[1]

    first = made(model, x)
    bad = 2  # one batch is beyond the range of 16 bits
    xs = fnp.stack([x] * 14).at[bad].multiply(fnp.inf)
    run = train(first, xs)

    assert all(p.dtype == np.float32 for p in tree.leaves(run.params))
    before, after = (tree.map(lambda p, i=i: p[i], run.params) for i in (bad - 1, bad))
    for p, q in zip(tree.leaves(before), tree.leaves(after), strict=True):
        np.testing.assert_array_equal(p, q)
    assert list(run.skipped) == [0] * bad + [1] * (14 - bad)
    scales = [2.0**12] * bad + [2.0**11] * 4 + [2.0**12] * 4 + [2.0**13] * 4
    assert list(run.scales) == scales
    assert run.losses[-1] < 0.8 * run.losses[0]

    def plain(params):
        return nn.cross_entropy(model(params, x), labels)

    state = optimizer.init(first)
    got = ravel_pytree(jit(grad(lambda p: optim.scale_loss(loss(p, x), state)))(first))[0]
    expected = ravel_pytree(jit(grad(plain))(first))[0]
    # A gradient has a few roundings of 2**-11 or 2**-8 in it.
    distance = fnp.linalg.norm(got / state.scale - expected) / fnp.linalg.norm(expected)
    assert distance < {"float16": 2e-3, "bfloat16": 2e-2}[dtype]

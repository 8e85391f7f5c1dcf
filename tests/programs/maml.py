"""Learning to learn: a start from which one gradient step fits a new sine (Finn et al. 2017)."""

import itertools

import fstensor as fst
import fstensor.numpy as jnp
from fstensor import lax, random

INNER_RATE = 0.1


def network(params, x):
    for i, (w, b) in enumerate(params):
        x = x @ w + b
        if i < len(params) - 1:
            x = jnp.tanh(x)
    return x


def init(key, sizes=(1, 16, 16, 1)):
    layers = []
    for n, m in itertools.pairwise(sizes):
        key, sub = random.split(key)
        layers.append((random.normal(sub, (n, m)) / jnp.sqrt(n), jnp.zeros(m)))
    return layers


def loss(params, x, y):
    return jnp.mean((network(params, x) - y) ** 2)


def adapted(params, x, y, loss=loss):
    grads = fst.grad(loss)(params, x, y)
    return fst.tree.map(lambda p, g: p - INNER_RATE * g, params, grads)


def meta_loss(params, tasks):
    def of_task(x1, y1, x2, y2):
        return loss(adapted(params, x1, y1), x2, y2)

    return jnp.mean(fst.vmap(of_task)(*tasks))


def sample_tasks(key, count=8, points=10):
    keys = random.split(key, 4)
    amplitude = random.uniform(keys[0], (count, 1, 1), minval=0.5, maxval=2.0)
    phase = random.uniform(keys[1], (count, 1, 1), minval=0.0, maxval=jnp.pi)
    x1 = random.uniform(keys[2], (count, points, 1), minval=-3.0, maxval=3.0)
    x2 = random.uniform(keys[3], (count, points, 1), minval=-3.0, maxval=3.0)
    return x1, amplitude * jnp.sin(x1 + phase), x2, amplitude * jnp.sin(x2 + phase)


@fst.jit
def train(params, key):
    def step(params, key):
        value, grads = fst.value_and_grad(meta_loss)(params, sample_tasks(key))
        return fst.tree.map(lambda p, g: p - 0.05 * g, params, grads), value

    return lax.scan(step, params, random.split(key, 200))


def run():
    start = init(random.PRNGKey(0))
    params, losses = train(start, random.PRNGKey(1))
    others = sample_tasks(random.PRNGKey(2), 50)

    # Of the loss (w - c)^2 / 2, whose meta-gradient is known.
    def quadratic(w, c, _):
        return 0.5 * (w - c) ** 2

    def after_one_step(w, c):
        return quadratic(adapted(w, c, None, quadratic), c, None)

    meta_gradient = fst.vmap(fst.grad(after_one_step))(jnp.arange(4.0), jnp.full(4, 0.5))
    return {
        "losses": losses,
        "before": meta_loss(start, others),
        "after": meta_loss(params, others),
        "meta_gradient": meta_gradient,
    }

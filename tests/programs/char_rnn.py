"""A recurrent network that learns to continue a text, character by character."""

import fstensor as fst
import fstensor.numpy as jnp
from fstensor import lax, random

TEXT = "to be or not to be, " * 4
ALPHABET = sorted(set(TEXT))
HIDDEN = 24


def one_hot(codes):
    return jnp.eye(len(ALPHABET))[codes]


def init(key):
    keys = random.split(key, 3)
    n = len(ALPHABET)
    return {
        "in": random.normal(keys[0], (n, HIDDEN)) * 0.3,
        "hidden": random.normal(keys[1], (HIDDEN, HIDDEN)) / jnp.sqrt(HIDDEN),
        "out": random.normal(keys[2], (HIDDEN, n)) * 0.3,
        "bias": jnp.zeros(HIDDEN),
    }


def step(params, state, x):
    state = jnp.tanh(x @ params["in"] + state @ params["hidden"] + params["bias"])
    return state, state @ params["out"]


def loss(params, codes):
    start = jnp.zeros(HIDDEN)
    _, logits = lax.scan(lambda s, x: step(params, s, x), start, one_hot(codes[:-1]))
    logits = logits - jnp.max(logits, axis=1, keepdims=True)
    logp = logits - jnp.log(jnp.sum(jnp.exp(logits), axis=1, keepdims=True))
    return -jnp.mean(jnp.take_along_axis(logp, codes[1:, None], axis=1))


def adam(params, grads, moments, i, rate=0.02):
    first, second = moments
    first = fst.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = fst.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, second, grads)

    def move(p, m, v):
        return p - rate * (m / (1 - 0.9**i)) / (jnp.sqrt(v / (1 - 0.99**i)) + 1e-8)

    return fst.tree.map(move, params, first, second), (first, second)


@fst.jit
def train(params, codes):
    def update(carry, i):
        params, moments = carry
        value, grads = fst.value_and_grad(loss)(params, codes)
        return adam(params, grads, moments, i), value

    zeros = fst.tree.map(jnp.zeros_like, params)
    (params, _), losses = lax.scan(update, (params, (zeros, zeros)), jnp.arange(1.0, 81.0))
    return params, losses


@fst.jit
def generate(params, first, length=20):
    def following(carry, _):
        state, code = carry
        state, logits = step(params, state, one_hot(code))
        code = jnp.argmax(logits)
        return (state, code), code

    _, codes = lax.scan(following, (jnp.zeros(HIDDEN), first), None, length=20)
    return codes


def run():
    codes = jnp.array([ALPHABET.index(c) for c in TEXT])
    params, losses = train(init(random.PRNGKey(0)), codes)
    return {"losses": losses, "continued": generate(params, codes[0])}

"""The three models in JAX's style, for fstensor and for JAX: `lib` holds the namespaces.

Parameters are trees, a training step is one jitted function that may reuse the memory of the
parameters and of the optimizer's state. Images are [n, height, width, channels].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.libraries import Library, functional
from benchmarks.models import HEADS, STEPS_COMPARED, Params, Training
from benchmarks.workers import Task

Array = Any


# Layers


def dense(layer: dict[str, Array], x: Array) -> Array:
    return x @ layer["w"] + layer["b"]


def relu(lib: Library, x: Array) -> Array:
    return lib.np.maximum(x, 0)


def conv(lib: Library, layer: dict[str, Array], x: Array) -> Array:
    y = lib.lax.conv_general_dilated(
        x, layer["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + layer["b"]


def max_pool(lib: Library, x: Array) -> Array:
    """The largest value of each 2x2 block of pixels."""
    window = (1, 2, 2, 1)
    return lib.lax.reduce_window(x, -math.inf, lib.lax.max, window, window, "VALID")


def softmax(lib: Library, x: Array) -> Array:
    shifted = x - lib.lax.stop_gradient(lib.np.max(x, axis=-1, keepdims=True))
    e = lib.np.exp(shifted)
    return e / lib.np.sum(e, axis=-1, keepdims=True)


def layer_norm(lib: Library, layer: dict[str, Array], x: Array) -> Array:
    centered = x - lib.np.mean(x, axis=-1, keepdims=True)
    variance = lib.np.mean(centered * centered, axis=-1, keepdims=True)
    return centered * lib.lax.rsqrt(variance + 1e-5) * layer["scale"] + layer["shift"]


def dropout(lib: Library, key: Array, x: Array, rate: float) -> Array:
    if rate == 0:
        return x
    kept = lib.random.bernoulli(key, 1 - rate, x.shape)
    return lib.np.where(kept, x / (1 - rate), 0)


def attention(lib: Library, params: Params, x: Array) -> Array:
    """Each position looks at all positions, in several heads: [n, t, d] to [n, t, d]."""
    n, t, d = x.shape

    def heads(layer: dict[str, Array]) -> Array:
        return dense(layer, x).reshape(n, t, HEADS, d // HEADS)

    query, key, value = (heads(params[name]) for name in ("query", "key", "value"))
    scores = lib.np.einsum("nqhc,nkhc->nhqk", query, key) / math.sqrt(d // HEADS)
    mixed = lib.np.einsum("nhqk,nkhc->nqhc", softmax(lib, scores), value)
    return dense(params["mix"], mixed.reshape(n, t, d))


# Models


def residual_mlp(lib: Library, params: Params, x: Array, key: Array, rate: float) -> Array:
    z1 = relu(lib, dense(params["dense1"], x))
    z2 = relu(lib, dense(params["dense2"], z1))
    return dense(params["dense3"], z1 + z2)


def conv_net(lib: Library, params: Params, x: Array, key: Array, rate: float) -> Array:
    x = max_pool(lib, relu(lib, conv(lib, params["conv1"], x)))
    x = max_pool(lib, relu(lib, conv(lib, params["conv2"], x)))
    x = relu(lib, dense(params["dense1"], x.reshape(x.shape[0], -1)))
    return dense(params["dense2"], x)


def transformer(lib: Library, params: Params, tokens: Array, key: Array, rate: float) -> Array:
    keys = lib.random.split(key, 3)
    x = params["embedding"]["w"][tokens] + params["positions"]["w"]
    x = dropout(lib, keys[0], x, rate)
    y = dropout(lib, keys[1], attention(lib, params, x), rate)
    x = layer_norm(lib, params["norm1"], x + y)
    y = dense(params["dense2"], relu(lib, dense(params["dense1"], x)))
    x = layer_norm(lib, params["norm2"], x + dropout(lib, keys[2], y, rate))
    return dense(params["out"], lib.np.mean(x, axis=1))


APPLY = {"residual_mlp": residual_mlp, "conv_net": conv_net, "transformer": transformer}


# Training


def cross_entropy(lib: Library, logits: Array, labels: Array) -> Array:
    """Minus the mean log probability of the right class."""
    shifted = logits - lib.lax.stop_gradient(lib.np.max(logits, axis=-1, keepdims=True))
    log_total = lib.np.log(lib.np.sum(lib.np.exp(shifted), axis=-1))
    right = shifted[lib.np.arange(labels.shape[0]), labels]
    return lib.np.mean(log_total - right)


def adam_init(lib: Library, params: Params) -> dict[str, Any]:
    def zeros() -> Params:
        return lib.root.tree.map(lambda p: lib.np.zeros(p.shape, p.dtype), params)

    return {"step": lib.np.zeros((), lib.np.int32), "mean": zeros(), "square": zeros()}


def adam(lib: Library, params: Params, grads: Params, state: Any, rate: float) -> tuple[Any, Any]:
    """The next parameters and state (Kingma and Ba, 2015, algorithm 1)."""
    b1, b2, eps = 0.9, 0.999, 1e-8
    map_ = lib.root.tree.map
    step = state["step"] + 1
    mean = map_(lambda m, g: b1 * m + (1 - b1) * g, state["mean"], grads)
    square = map_(lambda s, g: b2 * s + (1 - b2) * g * g, state["square"], grads)
    count = step.astype(lib.np.float32)
    weight1, weight2 = 1 - b1**count, 1 - b2**count

    def update(p: Array, m: Array, s: Array) -> Array:
        return p - rate * (m / weight1) / (lib.np.sqrt(s / weight2) + eps)

    return map_(update, params, mean, square), {"step": step, "mean": mean, "square": square}


def train_step(lib: Library, run: Training) -> Callable[..., Any]:
    """From parameters, state, key and a batch to the next parameters and state, and the loss."""
    apply = APPLY[run.name]

    def loss(params: Params, inputs: Array, labels: Array, key: Array) -> Array:
        return cross_entropy(lib, apply(lib, params, inputs, key, run.dropout), labels)

    def step(params: Params, state: Any, key: Array, inputs: Array, labels: Array) -> Any:
        here = lib.random.fold_in(key, state["step"])
        value, grads = lib.root.value_and_grad(loss)(params, inputs, labels, here)
        params, state = adam(lib, params, grads, state, run.learning_rate)
        return params, state, value

    return lib.root.jit(step, donate_argnums=(0, 1))


def prepare(contender: str, run: Training) -> Task:
    """A task whose call is a training step."""
    lib = functional(contender)
    step, key = train_step(lib, run), lib.random.key(2)
    params = lib.root.tree.map(lib.np.array, run.params)
    state = adam_init(lib, params)
    batches = [tuple(map(lib.np.asarray, batch)) for batch in run.batches]
    loss, count = None, 0

    def call() -> Array:
        nonlocal params, state, loss, count
        params, state, loss = step(params, state, key, *batches[count % len(batches)])
        count += 1
        return loss

    def losses() -> dict[str, np.ndarray]:
        """Those of the first steps: the one taken before, and the next."""
        assert count == 1, "steps have been taken"
        found = [float(loss), *(float(call()) for _ in range(STEPS_COMPARED - 1))]
        return {"losses": np.array(found)}

    return Task(call, losses, lambda: lib.root.block_until_ready((params, loss)))

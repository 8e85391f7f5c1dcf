"""The operations in JAX's style: for fstensor and JAX, and those of `np` alone for NumPy, too.

`lib` holds the namespaces; see `benchmarks.libraries`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.libraries import Library, functional
from benchmarks.operations.items import Conv, Item
from benchmarks.workers import Skip, Task

Array = Any


# Chains


def axpy(lib: Library, x: Array, y: Array) -> Array:
    return 1.5 * x + y


def gelu(lib: Library, x: Array) -> Array:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1 + lib.np.tanh(inner))


def gate(lib: Library, x: Array, y: Array, z: Array) -> Array:
    weight = 1 / (1 + lib.np.exp(-x))
    return weight * lib.np.maximum(y, 0) + (1 - weight) * lib.np.tanh(z)


# Reductions


def sum_all(lib: Library, x: Array) -> Array:
    return lib.np.sum(x)


def sum_rows(lib: Library, x: Array) -> Array:
    return lib.np.sum(x, axis=1)


def sum_columns(lib: Library, x: Array) -> Array:
    return lib.np.sum(x, axis=0)


def max_rows(lib: Library, x: Array) -> Array:
    return lib.np.max(x, axis=1)


def variance_rows(lib: Library, x: Array) -> Array:
    return lib.np.var(x, axis=1)


# Normalizations


def shifted(lib: Library, x: Array) -> Array:
    """Each row less its maximum, which is a constant to gradients."""
    largest = lib.np.max(x, axis=-1, keepdims=True)
    return x - (lib.lax.stop_gradient(largest) if lib.lax else largest)


def softmax(lib: Library, x: Array) -> Array:
    e = lib.np.exp(shifted(lib, x))
    return e / lib.np.sum(e, axis=-1, keepdims=True)


def logsumexp(lib: Library, x: Array) -> Array:
    largest = lib.np.max(x, axis=-1)
    if lib.lax:
        largest = lib.lax.stop_gradient(largest)
    return largest + lib.np.log(lib.np.sum(lib.np.exp(x - largest[:, None]), axis=-1))


def layer_norm(lib: Library, x: Array, scale: Array, shift: Array) -> Array:
    centered = x - lib.np.mean(x, axis=-1, keepdims=True)
    variance = lib.np.mean(centered * centered, axis=-1, keepdims=True)
    return centered / lib.np.sqrt(variance + 1e-5) * scale + shift


def cross_entropy(lib: Library, logits: Array, labels: Array) -> Array:
    logits = shifted(lib, logits)
    log_total = lib.np.log(lib.np.sum(lib.np.exp(logits), axis=-1))
    return lib.np.mean(log_total - logits[lib.np.arange(labels.shape[0]), labels])


def adam(lib: Library, p: Array, g: Array, mean: Array, square: Array) -> tuple[Array, ...]:
    """The hundredth step of Adam."""
    b1, b2 = 0.9, 0.999
    mean = b1 * mean + (1 - b1) * g
    square = b2 * square + (1 - b2) * g * g
    p = p - 1e-3 * (mean / (1 - b1**100)) / (lib.np.sqrt(square / (1 - b2**100)) + 1e-8)
    return p, mean, square


# Products


def product(lib: Library, x: Array, y: Array, *, how: str) -> Array:
    """A product whose letters are those of einsum, written with `@` and transposition."""
    left, right = how.split("->")[0].split(",")
    if left == "km":
        x = x.T
    if right == "nk":
        y = y.T
    return lib.np.matmul(x, y)


def convolution(lib: Library, x: Array, w: Array, *, conv: Conv, layout: str) -> Array:
    padding, dilation = conv.padding, (conv.dilation, conv.dilation)
    stride, spread = (conv.stride, conv.stride), (1, 1)
    if conv.transposed:
        padding, stride, spread = conv.kernel - 1 - padding, (1, 1), stride
    return lib.lax.conv_general_dilated(
        x,
        w,
        stride,
        [(padding, padding)] * 2,
        lhs_dilation=spread,
        rhs_dilation=dilation,
        dimension_numbers=(layout, "OIHW" if layout == "NCHW" else "HWIO", layout),
        feature_group_count=conv.groups,
    )


# Loops


def rnn(lib: Library, xs: Array, h: Array, w: Array, u: Array, b: Array) -> Array:
    def cell(h: Array, x: Array) -> tuple[Array, Array]:
        h = lib.np.tanh(x @ w + h @ u + b)
        return h, h

    return lib.lax.scan(cell, h, xs)[1]


def gru(lib: Library, xs: Array, h: Array, w: Array, u: Array, b: Array) -> Array:
    """Cho et al., 2014, with the reset gate after the product, as cuDNN has it."""

    def sigmoid(x: Array) -> Array:
        return 1 / (1 + lib.np.exp(-x))

    def cell(h: Array, x: Array) -> tuple[Array, Array]:
        xr, xz, xn = lib.np.split(x @ w + b, 3, axis=-1)
        hr, hz, hn = lib.np.split(h @ u, 3, axis=-1)
        z = sigmoid(xz + hz)
        h = (1 - z) * lib.np.tanh(xn + sigmoid(xr + hr) * hn) + z * h
        return h, h

    return lib.lax.scan(cell, h, xs)[1]


def newton(lib: Library, a: Array, *, count: int) -> Array:
    """The square root, by steps that go a thousandth of Newton's way."""

    def more(state: tuple[Array, Array]) -> Array:
        return state[0] < count

    def body(state: tuple[Array, Array]) -> tuple[Array, Array]:
        i, x = state
        return i + 1, x - 0.001 * (0.5 * (x - a / x))

    return lib.lax.while_loop(more, body, (lib.np.int32(0), lib.np.ones_like(a)))[1]


def congruential(lib: Library, seed: Array, *, count: int) -> Array:
    """A linear congruential generator; counts the numbers with the top bit set."""

    def more(state: tuple[Array, ...]) -> Array:
        return state[0] < count

    def body(state: tuple[Array, ...]) -> tuple[Array, ...]:
        i, x, high = state
        x = x * lib.np.uint32(1664525) + lib.np.uint32(1013904223)
        return i + 1, x, high + (x >> lib.np.uint32(31))

    return lib.lax.while_loop(more, body, (lib.np.int32(0), seed, lib.np.zeros_like(seed)))[2]


def uniform(lib: Library, seed: Array, *, count: int) -> Array:
    return lib.random.uniform(lib.random.key(seed), (count,), lib.np.float32)


def normal(lib: Library, seed: Array, *, count: int) -> Array:
    return lib.random.normal(lib.random.key(seed), (count,), lib.np.float32)


# What NumPy can do, too
OF_NUMPY = {
    f.__name__
    for f in (axpy, gelu, gate, sum_all, sum_rows, sum_columns, max_rows, variance_rows, softmax,
              logsumexp, layer_norm, cross_entropy, adam, product)
}  # fmt: skip


def function(lib: Library, item: Item) -> Callable[..., Any]:
    """The item's function of its operands alone: the value, or the value and the gradients.

    With gradients, the last operand is the cotangent of the value.
    """
    f = globals()[item.function]

    def value(*operands: Array) -> Any:
        return f(lib, *operands, **item.params)

    if not item.grads:
        return value

    def value_and_grads(*operands: Array) -> Any:
        *operands, ct = operands
        rest = operands[item.grads :]
        out, pull = lib.root.vjp(lambda *xs: value(*xs, *rest), *operands[: item.grads])
        return out, pull(ct)

    return value_and_grads


def flat(outputs: Any) -> list[Any]:
    """The arrays in nested tuples."""
    if isinstance(outputs, tuple | list):
        return [x for part in outputs for x in flat(part)]
    return [outputs]


def named(outputs: Any) -> dict[str, np.ndarray]:
    return {str(i): np.asarray(x) for i, x in enumerate(flat(outputs))}


def adam_task(
    lib: Library, f: Callable[..., tuple[Array, ...]], operands: Sequence[np.ndarray]
) -> Task:
    """Steps of the optimizer, which may write into what it is given, as in training."""
    jitted = lib.root.jit(f, donate_argnums=(0, 2, 3))
    p, g, mean, square = (lib.np.array(x) for x in operands)
    state = [p, mean, square]

    def call() -> None:
        p, mean, square = state
        state[:] = lib.root.block_until_ready(jitted(p, g, mean, square))

    return Task(call, lambda: named(jitted(*(lib.np.array(x) for x in operands))))


def prepare(contender: str, item: Item, operands: Sequence[np.ndarray]) -> Task:
    lib = functional(contender)
    f = function(lib, item)
    if contender == "numpy":
        if item.grads or item.function not in OF_NUMPY:
            raise Skip("not in NumPy")
        return Task(lambda: f(*operands), lambda: named(f(*operands)))
    if item.function == "adam":
        return adam_task(lib, f, operands)
    arrays = [lib.np.array(x) for x in operands]
    if contender == "jax":
        assert all(a.dtype == x.dtype for a, x in zip(arrays, operands, strict=True)), "needs x64"
    jitted, wait = lib.root.jit(f), lib.root.block_until_ready
    return Task(lambda: wait(jitted(*arrays)), lambda: named(jitted(*arrays)))

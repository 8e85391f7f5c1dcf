"""The three headline models: parameters and data here, programs in `functional` and `modules`.

- residual_mlp: z1 = relu(784 -> 1024), z2 = relu(1024 -> 1024)(z1), out = (1024 -> 10)(z1 + z2)
- conv_net: conv 1 -> 20, relu, pool; conv 20 -> 50, relu, pool; 2450 -> 500, relu; 500 -> 10.
  Kernels are 3x3 with padding 1, pools take the largest of 2x2.
- transformer: embedding 64 and learned positions; one block with 4 heads and 64 -> 256 -> 64,
  normalized after each residual sum; mean over time; 64 -> 2. Padding is a token like others.

Parameters come from NumPy, so that all libraries begin with the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.models.data import Data, cola, images, random_images, random_sentences

Params = dict[str, dict[str, np.ndarray]]

TOKENS, LENGTH, WIDTH, HEADS, HIDDEN = 5415, 44, 64, 4, 256
DROPOUT = 0.05
STEPS_COMPARED, COMPARED_RATE = 5, 1e-4


@dataclass(frozen=True)
class Model:
    """Where a model's parameters and data come from, and how it is trained.

    limit: the most that our step may take of the best peer's. epoch: batches of 128 in a pass over
    the data. published: the seconds that PyDyNet's authors report for it, on a CPU.
    """

    title: str
    init: Callable[[np.random.Generator], Params]
    synthetic: Callable[[np.random.Generator, int], Data]
    real: Callable[[str, int], Data]
    learning_rate: float
    limit: float
    epoch: int
    published: float
    dropout: float = 0.0


def normal(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> np.ndarray:
    return (variance**0.5 * rng.standard_normal(shape)).astype(np.float32)


def dense(rng: np.random.Generator, inputs: int, outputs: int, gain: float = 2.0) -> Any:
    """A matrix [inputs, outputs] of variance gain / inputs, and a bias of zeros."""
    return {
        "w": normal(rng, (inputs, outputs), gain / inputs),
        "b": np.zeros(outputs, np.float32),
    }


def conv(rng: np.random.Generator, inputs: int, outputs: int) -> Any:
    """A 3x3 kernel [height, width, inputs, outputs] and a bias of zeros."""
    return {
        "w": normal(rng, (3, 3, inputs, outputs), 2 / (9 * inputs)),
        "b": np.zeros(outputs, np.float32),
    }


def norm() -> Any:
    return {"scale": np.ones(WIDTH, np.float32), "shift": np.zeros(WIDTH, np.float32)}


def init_residual_mlp(rng: np.random.Generator) -> Params:
    return {
        "dense1": dense(rng, 784, 1024),
        "dense2": dense(rng, 1024, 1024),
        "dense3": dense(rng, 1024, 10, gain=0.5),
    }


def init_conv_net(rng: np.random.Generator) -> Params:
    return {
        "conv1": conv(rng, 1, 20),
        "conv2": conv(rng, 20, 50),
        "dense1": dense(rng, 7 * 7 * 50, 500),
        "dense2": dense(rng, 500, 10, gain=1.0),
    }


def init_transformer(rng: np.random.Generator) -> Params:
    return {
        "embedding": {"w": normal(rng, (TOKENS, WIDTH), 1.0)},
        "positions": {"w": normal(rng, (LENGTH, WIDTH), 0.01)},
        **{name: dense(rng, WIDTH, WIDTH, gain=1.0) for name in ("query", "key", "value", "mix")},
        "norm1": norm(),
        "dense1": dense(rng, WIDTH, HIDDEN),
        "dense2": dense(rng, HIDDEN, WIDTH, gain=1.0),
        "norm2": norm(),
        "out": dense(rng, WIDTH, 2, gain=1.0),
    }


MODELS = {
    "residual_mlp": Model(
        "ResidualMLP",
        init_residual_mlp,
        lambda rng, count: random_images(rng, count, (784,)),
        lambda folder, count: images(folder, count, (784,)),
        learning_rate=5e-3,
        limit=0.9,
        epoch=469,
        published=20.256,
    ),
    "conv_net": Model(
        "ConvNet",
        init_conv_net,
        lambda rng, count: random_images(rng, count, (28, 28, 1)),
        lambda folder, count: images(folder, count, (28, 28, 1)),
        learning_rate=5e-3,
        limit=0.5,
        epoch=469,
        published=239.664,
    ),
    "transformer": Model(
        "Transformer",
        init_transformer,
        lambda rng, count: random_sentences(rng, count, LENGTH, TOKENS),
        lambda folder, count: cola(folder, count, LENGTH, TOKENS),
        learning_rate=1e-3,
        limit=0.5,
        epoch=54,
        published=17.503,
        dropout=DROPOUT,
    ),
}


@dataclass(frozen=True)
class Training:
    """One run: the model, its first parameters, and the batches, taken in turn."""

    name: str
    model: Model
    params: Params
    batches: list[Data]
    learning_rate: float
    dropout: float


def training(item: dict[str, Any]) -> Training:
    """The run that an item of `train` or `compile` asks for.

    item: the "model", the "batch" size, the folder "data" or None. Where losses are compared, also
    "compared": without dropout, for libraries draw other masks, and at a small learning rate, for
    at 5e-3 the first steps throw the losses up to 16 and what was rounding shows in three digits.
    """
    model = MODELS[item["model"]]
    size, count = item["batch"], item.get("batches", 8)
    if item.get("data"):
        data = model.real(item["data"], size * count)
    else:
        data = model.synthetic(np.random.default_rng(1), size * count)
    count = len(data.labels) // size
    if not count:
        raise ValueError(f"{len(data.labels)} examples make no batch of {size}")
    batches = [
        Data(data.inputs[i * size : (i + 1) * size], data.labels[i * size : (i + 1) * size])
        for i in range(count)
    ]
    rate, dropout = model.learning_rate, model.dropout
    if item.get("compared"):
        rate, dropout = COMPARED_RATE, 0.0
    params = model.init(np.random.default_rng(0))
    return Training(item["model"], model, params, batches, rate, dropout)

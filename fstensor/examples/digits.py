"""Train a small convolutional network on handwritten digits.

    python -m fstensor.examples.digits --epochs 15 --batch-size 32

Everything here is a pure function of pytrees. `init` draws the parameters, `apply` maps them and
a batch of images to logits, `loss` makes one number of these, and `adam_init` and `adam_update` are
the optimizer. `train_step` joins them: parameters and optimizer state go in, new ones come out, and
`fst.jit` turns the whole step, gradient and update included, into one program. Random numbers come
from explicit keys, so the same seed always gives the same numbers.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple, TypeAlias

import numpy as np

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax, random
from fstensor.examples.common import progress

CLASSES = 10
TRAIN_IMAGES = 1437  # of 1797; the other 360 are the test set
TARGET_ACCURACY = 0.97


# The data


class Digits(NamedTuple):
    """Images of digits and what they show; as a named tuple, a pytree."""

    images: fst.Array  # float32[n, 8, 8, 1], 0 is paper and 1 is ink
    labels: fst.Array  # int32[n]


def load() -> Digits:
    """The 1,797 images in the package; `data/digits-license.md` says where they come from."""
    path = resources.files("fstensor.examples") / "data" / "digits.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        images = arrays["images"].astype(np.float32) / np.float32(16)
        labels = arrays["labels"].astype(np.int32)
    return Digits(fnp.asarray(images[..., np.newaxis]), fnp.asarray(labels))


def take(digits: Digits, rows: fst.Array) -> Digits:
    return fst.tree.map(lambda x: x[rows], digits)


def split(key: fst.Array, digits: Digits) -> tuple[Digits, Digits]:
    """Deal the images at random into a training set and a test set."""
    order = random.permutation(key, digits.labels.shape[0])
    return take(digits, order[:TRAIN_IMAGES]), take(digits, order[TRAIN_IMAGES:])


# The model

Params: TypeAlias = dict[str, dict[str, fst.Array]]


def init(key: fst.Array) -> Params:
    """Parameters: zero biases, normal weights of variance 2 / fan-in (He et al., 2015, eq. 10)."""
    shapes = {"conv1": (3, 3, 1, 16), "conv2": (3, 3, 16, 32), "dense": (4 * 4 * 32, CLASSES)}
    params = {}
    for (name, shape), layer_key in zip(
        shapes.items(), random.split(key, len(shapes)), strict=True
    ):
        scale = math.sqrt(2 / math.prod(shape[:-1]))
        params[name] = {"w": scale * random.normal(layer_key, shape), "b": fnp.zeros(shape[-1])}
    return params


def conv(layer: dict[str, fst.Array], x: fst.Array) -> fst.Array:
    y = lax.conv_general_dilated(
        x,
        layer["w"],
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y + layer["b"]


def relu(x: fst.Array) -> fst.Array:
    return fnp.maximum(x, 0)


def max_pool(x: fst.Array) -> fst.Array:
    """The largest value of each 2x2 block of pixels."""
    return lax.reduce_window(x, -math.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def apply(params: Params, images: fst.Array) -> fst.Array:
    """Logits [n, 10] of images [n, 8, 8, 1]."""
    x = max_pool(relu(conv(params["conv1"], images)))  # [n, 4, 4, 16]
    x = relu(conv(params["conv2"], x))  # [n, 4, 4, 32]
    x = x.reshape(x.shape[0], -1)  # [n, 512]
    return x @ params["dense"]["w"] + params["dense"]["b"]


def log_softmax(logits: fst.Array) -> fst.Array:
    """Log probabilities of each row; subtracting the row's maximum keeps `exp` from overflowing."""
    shifted = logits - lax.stop_gradient(fnp.max(logits, axis=1, keepdims=True))
    return shifted - fnp.log(fnp.sum(fnp.exp(shifted), axis=1, keepdims=True))


def loss(params: Params, batch: Digits) -> fst.Array:
    """Cross-entropy: minus the mean log probability of the right digit."""
    log_probabilities = log_softmax(apply(params, batch.images))
    rows = fnp.arange(batch.labels.shape[0])
    return -fnp.mean(log_probabilities[rows, batch.labels])


def accuracy(params: Params, digits: Digits) -> float:
    predictions = fnp.argmax(apply(params, digits.images), axis=1)
    return float(fnp.mean(predictions == digits.labels))


# The optimizer


class AdamState(NamedTuple):
    step: fst.Array  # int32[], the number of updates so far
    mean: Params  # running mean of the gradients
    square: Params  # running mean of their squares


def adam_init(params: Params) -> AdamState:
    def zeros() -> Params:
        return fst.tree.map(lambda p: fnp.zeros(p.shape, p.dtype), params)

    return AdamState(fnp.zeros((), fnp.int32), zeros(), zeros())


def adam_update(
    grads: Params,
    state: AdamState,
    learning_rate: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Params, AdamState]:
    """What to add to the parameters, and the next state (Kingma and Ba, 2015, algorithm 1)."""
    step = state.step + 1
    mean = fst.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mean, grads)
    square = fst.tree.map(lambda s, g: b2 * s + (1 - b2) * g * g, state.square, grads)
    # Both means start at zero; dividing by their total weight so far removes that bias.
    mean_weight, square_weight = 1 - b1**step, 1 - b2**step

    def change(m: fst.Array, s: fst.Array) -> fst.Array:
        return -learning_rate * (m / mean_weight) / (fnp.sqrt(s / square_weight) + eps)

    return fst.tree.map(change, mean, square), AdamState(step, mean, square)


# Training

Step: TypeAlias = Callable[[Params, AdamState, Digits, float], tuple[Params, AdamState, fst.Array]]


def train_step(
    params: Params, state: AdamState, batch: Digits, learning_rate: float
) -> tuple[Params, AdamState, fst.Array]:
    """One step of Adam; returns the new parameters and state, and the loss before the step."""
    value, grads = fst.value_and_grad(loss)(params, batch)
    updates, state = adam_update(grads, state, learning_rate)
    return fst.tree.map(fnp.add, params, updates), state, value


class Fit(NamedTuple):
    params: Params
    losses: tuple[float, ...]  # the mean training loss of each epoch
    seconds: tuple[float, ...]  # the time each epoch took


def fit(
    step: Step,
    params: Params,
    train: Digits,
    key: fst.Array,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    name: str,
) -> Fit:
    """Train for some epochs, each in its own random order; a short last batch is left out."""
    state = adam_init(params)
    count = train.labels.shape[0]
    batches = count // batch_size
    losses, seconds = [], []
    for epoch in range(epochs):
        start = time.perf_counter()
        order = random.permutation(random.fold_in(key, epoch), count)
        total = 0.0
        for rows in order[: batches * batch_size].reshape(batches, batch_size):
            params, state, value = step(params, state, take(train, rows), learning_rate)
            total += float(value)
        fst.block_until_ready((params, state))
        losses.append(total / batches)
        seconds.append(time.perf_counter() - start)
        progress(
            f"{name:>6}  epoch {epoch + 1:{len(str(epochs))}}/{epochs}"
            f"  loss {losses[-1]:8.4f}  {seconds[-1]:7.3f} s",
            last=epoch + 1 == epochs,
        )
    return Fit(params, tuple(losses), tuple(seconds))


# The program


@dataclass(frozen=True)
class Results:
    """What a run found; `str` of it is the closing table."""

    test_accuracy: float
    jitted: Fit
    eager: Fit
    equations: int

    def __str__(self) -> str:
        # The first epoch of a jitted step also traces and compiles it.
        jitted = statistics.median(self.jitted.seconds[1:] or self.jitted.seconds)
        eager = statistics.median(self.eager.seconds)
        verdict = "" if self.test_accuracy >= TARGET_ACCURACY else f" (under {TARGET_ACCURACY:.0%})"
        rows = [
            ("test accuracy", f"{self.test_accuracy:.2%}", verdict),
            ("time per epoch, jitted", f"{1e3 * jitted:,.1f}", " ms"),
            ("time per epoch, eager", f"{1e3 * eager:,.1f}", " ms"),
            ("jaxpr of a training step", f"{self.equations:,}", " equations"),
        ]
        return "\n".join(f"{label:<26}{value:>10}{unit}" for label, value, unit in rows)


def count_equations(jaxpr: Any) -> int:
    """The equations of a jaxpr and of the jaxprs inside it."""
    values = [value for eqn in jaxpr.eqns for value in eqn.params.values()]
    return len(jaxpr.eqns) + sum(count_equations(v) for v in values if hasattr(v, "eqns"))


def main(argv: Sequence[str] | None = None) -> Results:
    options = parse(argv)
    split_key, init_key, shuffle_key = random.split(random.key(options.seed), 3)
    train, test = split(split_key, load())

    params = init(init_key)
    batch = take(train, fnp.arange(options.batch_size))
    jaxpr = fst.make_jaxpr(train_step)(params, adam_init(params), batch, options.lr)
    if options.show_jaxpr:
        print(jaxpr)

    # The step may reuse the memory of the parameters and the state it replaces.
    step = fst.jit(train_step, donate_argnums=(0, 1))

    def run(name: str, epochs: int) -> Fit:
        return fit(
            step,
            init(init_key),
            train,
            shuffle_key,
            epochs=epochs,
            batch_size=options.batch_size,
            learning_rate=options.lr,
            name=name,
        )

    jitted = run("jitted", options.epochs)
    with fst.disable_jit():
        eager = run("eager", 1)

    results = Results(accuracy(jitted.params, test), jitted, eager, count_equations(jaxpr))
    print(results)
    return results


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fstensor.examples.digits",
        description="Train a small convolutional network on handwritten digits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=15, help="passes over the training set")
    parser.add_argument("--batch-size", type=int, default=32, help="images in a training step")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    parser.add_argument("--lr", type=float, default=4e-3, help="learning rate of Adam")
    parser.add_argument("--show-jaxpr", action="store_true", help="print the training step's jaxpr")
    options = parser.parse_args(argv)

    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {options.epochs}")
    if not 1 <= options.batch_size <= TRAIN_IMAGES:
        parser.error(
            f"--batch-size must be from 1 to {TRAIN_IMAGES}, the size of the training set, "
            f"got {options.batch_size}"
        )
    if not 0 <= options.seed < 2**32:
        parser.error(f"--seed must be from 0 to {2**32 - 1}, got {options.seed}")
    if not 0 < options.lr < math.inf:
        parser.error(f"--lr must be positive and finite, got {options.lr}")
    return options


if __name__ == "__main__":
    main()

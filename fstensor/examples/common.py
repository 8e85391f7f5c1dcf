"""What the examples share: options, a training loop with its progress, and a closing table."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import fstensor as fst
from fstensor import optim, random

Params: TypeAlias = Any
State: TypeAlias = Any
Batch: TypeAlias = Any
# The loss of a batch, for parameters, state and a random key, and the state afterwards.
Loss: TypeAlias = Callable[[Params, State, Batch, fst.Array], tuple[fst.Array, State]]
# What is told of a model after an epoch.
Evaluate: TypeAlias = Callable[[Params, State], Mapping[str, float]]


def parser(
    name: str,
    about: str | None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
) -> argparse.ArgumentParser:
    """A parser with --seed, and those options that have a default here; examples add their own."""
    made = argparse.ArgumentParser(
        prog=f"python -m fstensor.examples.{name}",
        description=(about or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def add(option: str, kind: Callable[[str], Any], default: float | None, help: str) -> None:
        if default is not None:
            made.add_argument(option, type=kind, default=default, help=help)

    add("--epochs", positive(int), epochs, "passes over the data")
    add("--batch-size", positive(int), batch_size, "examples in a training step")
    add("--lr", positive(float), lr, "learning rate")
    add("--seed", seed, 0, "seed of all random numbers")
    return made


def positive(kind: type) -> Callable[[str], Any]:
    """An option that is a finite number above 0."""

    def convert(text: str) -> Any:
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be positive and finite, got {text}")
        return value

    convert.__name__ = kind.__name__  # argparse names it where a text is no number
    return convert


def share(text: str) -> float:
    """An option that is a part of something: at least 0, and less than 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and less than 1, got {text}")
    return value


def seed(text: str) -> int:
    """An option that is a seed of random keys."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be from 0 to {2**32 - 1}, got {text}")
    return value


def warmed_up(lr: float, steps: int) -> Callable[[fst.Array], fst.Array]:
    """A learning rate: up along a line in a tenth of the steps, then down along half a cosine."""
    return optim.warmup_cosine_decay_schedule(0.0, lr, steps // 10 + 1, steps + 1)


class Training(NamedTuple):
    """What a training step takes and gives."""

    params: Params
    state: State
    optimizer: optim.State
    key: fst.Array


class Fit(NamedTuple):
    """A model after its training.

    losses: the mean training loss of each epoch. seconds: the time each took, of training alone.
    found: what was told of it after each epoch.
    """

    params: Params
    state: State
    losses: tuple[float, ...]
    seconds: tuple[float, ...]
    found: tuple[Mapping[str, float], ...]

    def epoch_seconds(self) -> float:
        """The median; the first epoch, which also compiles, counts only if it is the only one."""
        return statistics.median(self.seconds[1:] or self.seconds)


def training_step(
    loss: Loss, optimizer: optim.GradientTransformation
) -> Callable[[Training, Batch], tuple[Training, fst.Array]]:
    """A step of training as one program, which may reuse the memory of what it replaces."""

    def step(before: Training, batch: Batch) -> tuple[Training, fst.Array]:
        key, used = random.split(before.key)
        (value, state), grads = fst.value_and_grad(loss, has_aux=True)(
            before.params, before.state, batch, used
        )
        updates, after = optimizer.update(grads, before.optimizer, before.params)
        params = optim.apply_updates(before.params, updates)
        return Training(params, state, after, key), value

    jitted: Callable[[Training, Batch], tuple[Training, fst.Array]]
    jitted = fst.jit(step, donate_argnums=0)
    return jitted


def fit(
    loss: Loss,
    optimizer: optim.GradientTransformation,
    params: Params,
    state: State,
    data: Any,
    *,
    epochs: int,
    batch_size: int,
    key: fst.Array,
    evaluate: Evaluate = lambda params, state: {},
    name: str = "",
) -> Fit:
    """Train for some epochs, each in its own random order; a short last batch is left out.

    data: a tree of arrays whose first axis runs over the examples. evaluate: what to tell after
    each epoch beside the loss.
    Raises: ValueError for fewer examples than a batch has.
    """
    count = len(fst.tree.leaves(data)[0])
    if batch_size > count:
        raise ValueError(f"a batch of {batch_size} must be within the {count} training examples")
    data = fst.tree.map(fst.numpy.asarray, data)
    step = training_step(loss, optimizer)
    batches = count // batch_size
    shuffle_key, step_key = random.split(key)
    # Copies, since a step takes the memory of what it is given.
    params, state = fst.tree.map(fst.numpy.copy, (params, state))
    now = Training(params, state, optimizer.init(params), step_key)
    losses, seconds, told = [], [], []
    for epoch in range(epochs):
        start = time.perf_counter()
        order = random.permutation(random.fold_in(shuffle_key, epoch), count)
        values = []
        for rows in order[: batches * batch_size].reshape(batches, batch_size):
            now, value = step(now, fst.tree.map(lambda x, rows=rows: x[rows], data))
            values.append(value)
        fst.block_until_ready(now)
        seconds.append(time.perf_counter() - start)
        losses.append(statistics.fmean(map(float, values)))
        told.append(evaluate(now.params, now.state))
        words = [f"{what} {value:.4f}" for what, value in told[-1].items()]
        line = [f"{name:>12}  epoch {epoch + 1:{len(str(epochs))}}/{epochs}"]
        line += [f"loss {losses[-1]:8.4f}", *words, f"{seconds[-1]:7.2f} s"]
        progress("  ".join(line), last=epoch + 1 == epochs)
    return Fit(now.params, now.state, tuple(losses), tuple(seconds), tuple(told))


def in_batches(function: Callable[..., fst.Array], inputs: Any, batch_size: int = 500) -> fst.Array:
    """What a function gives for a tree of inputs, a batch at a time, joined along the first axis.

    Keeps the memory of a large test set small; the last batch may be short.
    """
    count = len(fst.tree.leaves(inputs)[0])
    parts = [
        function(fst.tree.map(lambda x, n=n: fst.numpy.asarray(x[n : n + batch_size]), inputs))
        for n in range(0, count, batch_size)
    ]
    return fst.numpy.concatenate(parts)


def progress(line: str, last: bool) -> None:
    """Print a line of progress; on a terminal it takes the place of the one before."""
    if sys.stdout.isatty():
        print(f"\r{line}", end="\n" if last else "", flush=True)
    else:
        print(line, flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text beneath a head, in columns: the first to the left, the others to the right."""
    widths = [max(_columns(row[n]) for row in (head, *rows)) for n in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        spaces = [" " * (w - _columns(c)) for c, w in zip(cells, widths, strict=True)]
        others = [space + c for c, space in zip(cells[1:], spaces[1:], strict=True)]
        return "  ".join([cells[0] + spaces[0], *others]).rstrip()

    return "\n".join([line(head), line(["-" * w for w in widths]), *map(line, rows)])


def _columns(text: str) -> int:
    """Of a terminal, where Chinese characters take two each."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def count(params: Params) -> int:
    """How many numbers parameters have."""
    return sum(leaf.size for leaf in fst.tree.leaves(params))


def steps(options: argparse.Namespace, examples: int) -> int:
    """How many steps a training has, of all epochs together."""
    count: int = options.epochs * (examples // options.batch_size)
    return count


def check_batch(parser: argparse.ArgumentParser, batch_size: int, examples: int) -> None:
    """End the program, and say why, where there are fewer training examples than a batch has."""
    if batch_size > examples:
        parser.error(
            f"--batch-size must be at most {examples}, as many as the training examples are, "
            f"got {batch_size}"
        )


def loaded(parser: argparse.ArgumentParser, load: Callable[..., Any], *arguments: Any) -> Any:
    """What `load` reads; where it cannot, the program ends and says why."""
    try:
        return load(*arguments)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        parser.error(str(error))

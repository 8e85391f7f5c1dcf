"""A small GPT learns to write, character by character.

    python -m fstensor.examples.char_gpt --data DIR
    python -m fstensor.examples.char_gpt --data DIR --minutes 15

`DIR/tinyshakespeare/input.txt` has Shakespeare's plays; without --data, the source of this library
is learned. Each character is predicted from those before it, up to 128 of them. Losses are in nats
per character; that of validation is of the last tenth of the text, which is not trained on. At the
end the model writes some text of its own.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import fstensor as fst
from fstensor import nn, optim, random
from fstensor import numpy as fnp
from fstensor.examples import common, datasets
from fstensor.nn import models

REPORTS = 10  # how many lines of progress there are
WARM_UP = 0.02  # the part of a training in which the learning rate rises


class Fit(NamedTuple):
    """A model after its training."""

    params: common.Params
    steps: int
    seconds: float
    training_loss: float
    validation_loss: float


def losses(model: nn.Layer, params: common.Params, pieces: fst.Array, **options: Any) -> fst.Array:
    """Of each token but the first of each piece, as predicted from those before it."""
    logits = model(params, pieces[:, :-1], **options)
    return nn.cross_entropy(logits, pieces[:, 1:], reduction="none")


def validation(model: models.GPT, tokens: np.ndarray) -> Callable[[common.Params], float]:
    """The mean loss on a text, cut into pieces as long as the model reads."""
    # Each piece ends with the first token of the next one, which it predicts, too.
    starts = np.arange(0, len(tokens) - model.length, model.length)
    pieces = tokens[starts[:, None] + np.arange(model.length + 1)]
    of_each = fst.jit(lambda params, pieces: losses(model, params, pieces).mean(-1))

    def mean_loss(params: common.Params) -> float:
        return float(common.in_batches(lambda p: of_each(params, p), pieces, 64).mean())

    return mean_loss


def learning_rate(peak: float, done: float) -> float:
    """For the part of a training that is done: up along a line, then down along half a cosine."""
    if done < WARM_UP:
        return peak * done / WARM_UP
    falling = (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2
    return peak * (0.05 + 0.95 * falling)


def parts_done(options: argparse.Namespace) -> Iterator[float]:
    """For each step of a training, the part of it that is done with this step; the last is 1."""
    start = time.perf_counter()
    for step in itertools.count(1):
        seconds = time.perf_counter() - start
        done = seconds / (60 * options.minutes) if options.minutes else step / options.steps
        yield min(done, 1.0)
        if done >= 1:
            return


def optimizer_for(lr: float) -> optim.GradientTransformation:
    """AdamW of clipped gradients. Matrices decay; biases and norms do not."""

    def matrices(params: common.Params) -> common.Params:
        return fst.tree.map(lambda p: p.ndim > 1, params)

    adamw = optim.adamw(lr, b2=0.99, weight_decay=0.1, mask=matrices)
    return optim.chain(optim.clip_by_global_norm(1.0), adamw)


def train(
    model: models.GPT,
    tokens: np.ndarray,
    validate: Callable[[common.Params], float],
    options: argparse.Namespace,
) -> Fit:
    """Train on pieces that begin anywhere in a text, for some steps or some minutes."""
    size = model.length + 1
    init_key, step_key = random.split(random.key(options.seed))

    def loss(
        params: common.Params, state: common.State, text: fst.Array, key: fst.Array
    ) -> tuple[fst.Array, common.State]:
        start_key, dropout_key = random.split(key)
        starts = random.randint(start_key, (options.batch_size, 1), 0, len(text) - size + 1)
        pieces = text[starts + fnp.arange(size)]
        return losses(model, params, pieces, key=dropout_key, train=True).mean(), state

    optimizer = optimizer_for(options.lr)
    step = common.training_step(loss, optimizer)
    text = fnp.asarray(tokens)
    params, state = model.init(init_key, text[: model.length])
    now = common.Training(params, state, optimizer.init(params), step_key)
    start = since = time.perf_counter()
    steps, reports, recent = 0, 0, []
    for done in parts_done(options):
        rate = learning_rate(options.lr, done)
        rated = optim.with_hyperparams(now.optimizer, learning_rate=rate)
        now, value = step(now._replace(optimizer=rated), text)
        recent.append(float(value))
        steps += 1
        if done * REPORTS >= reports + 1:
            trained = len(recent) * options.batch_size * model.length
            speed = trained / (time.perf_counter() - since)
            training, held_out = statistics.fmean(recent), validate(now.params)
            common.progress(
                f"{done:4.0%}  step {steps:,}  training loss {training:.4f}  "
                f"validation loss {held_out:.4f}  {speed:,.0f} tokens/s",
                last=done == 1,
            )
            reports, recent, since = int(done * REPORTS), [], time.perf_counter()
    return Fit(now.params, steps, time.perf_counter() - start, training, held_out)


def written(
    model: models.GPT, params: common.Params, text: list[int], key: fst.Array
) -> Iterator[int]:
    """The tokens that follow a text, without end; each is drawn knowing half a length or more."""
    while True:
        prompt = text[-(model.length // 2) :]
        steps = model.length - len(prompt)
        key, used = random.split(key)
        for token in models.stream(model, params, np.array(prompt), steps, key=used):
            text.append(int(token))
            yield text[-1]


def parse(argv: Sequence[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = common.parser("char_gpt", __doc__, batch_size=16, lr=2e-3)
    number, part = common.positive(int), common.positive(float)
    parser.add_argument("--data", metavar="DIR", help="take tiny Shakespeare from there")
    parser.add_argument("--steps", type=number, default=4000, help="of training")
    parser.add_argument("--minutes", type=part, help="train for so long, however many steps")
    parser.add_argument("--length", type=number, default=128, help="characters of a piece")
    parser.add_argument("--layers", type=number, default=4, help="of the model")
    parser.add_argument("--features", type=number, default=128, help="of each of them")
    parser.add_argument("--heads", type=number, default=4, help="of attention")
    parser.add_argument("--dropout", type=common.share, default=0.0, help="while training")
    parser.add_argument("--sample", type=number, default=500, help="characters to write at the end")
    return parser, parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> Fit:
    parser, options = parse(argv)
    source = (datasets.shakespeare, options.data) if options.data else (datasets.own_source,)
    text = common.loaded(parser, *source)
    # The token of a character is its place among them all.
    characters, tokens = np.unique(list(text), return_inverse=True)
    tokens = tokens.astype(np.int32)
    cut = len(tokens) * 9 // 10
    if not 2 <= options.length < len(tokens) - cut:
        parser.error(
            f"--length must be from 2 to {len(tokens) - cut - 1}, within a tenth of the text, "
            f"got {options.length}"
        )
    try:
        model = models.GPT(
            len(characters),
            options.length,
            options.features,
            options.heads,
            options.layers,
            dropout=options.dropout,
        )
        fit = train(model, tokens[:cut], validation(model, tokens[cut:]), options)
    except fst.errors.OptionError as error:
        parser.error(str(error))
    sample = written(model, fit.params, tokens[:1].tolist(), random.key(options.seed))
    print()
    for token in itertools.islice(sample, options.sample):
        print(characters[token], end="", flush=True)
    print("\n")
    rows = [
        (
            f"{common.count(fit.params):,}",
            f"{fit.steps:,}",
            f"{fit.training_loss:.4f}",
            f"{fit.validation_loss:.4f}",
            f"{fit.seconds:.1f} s",
        )
    ]
    print(common.table(("parameters", "steps", "training loss", "validation loss", "time"), rows))
    return fit


if __name__ == "__main__":
    main()

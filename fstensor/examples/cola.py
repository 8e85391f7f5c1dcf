"""A Transformer of one layer learns which sentences are acceptable English.

    python -m fstensor.examples.cola --data DIR

`DIR/cola` is the Corpus of Linguistic Acceptability. Four fifths of its training file, at random,
are trained on; the table tells of the others, held out. The development file of the same sources
decides after which epoch a network is taken: that of its least cross-entropy there.

Seven in ten sentences are acceptable, and who knows no more English than these few thousand
sentences hardly does better than to accept them all. Two things help a little: the network learns
at the same time to predict each next word, for which attention sees only words before; and several
networks, which differ by their random numbers, are averaged. Matthews' correlation tells what was
found apart from the majority: 0 is nothing, 1 is all.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import fstensor as fst
from fstensor import metrics, nn, optim, random
from fstensor import numpy as fnp
from fstensor.examples import common, datasets
from fstensor.examples.datasets import Examples
from fstensor.examples.text import PADDING, UNKNOWN, Vocabulary

LENGTH = 44  # words of a sentence; later ones are cut off
FEATURES = 64


class Data(NamedTuple):
    """Sentences as rows of numbers, and whether they are acceptable."""

    train: Examples
    development: Examples
    held_out: Examples
    words: int


class Score(NamedTuple):
    accuracy: float
    matthews: float


def load(folder: str) -> Data:
    """The corpus, its training file split 80 to 20; words that occur once there are unknown."""
    parts = datasets.cola(folder)
    texts, labels = parts["train"]
    order = np.random.default_rng(0).permutation(len(texts))
    chosen, others = np.split(order, [len(texts) * 4 // 5])
    vocabulary = Vocabulary((texts[n] for n in chosen), at_least=2)

    def encoded(texts: Sequence[Sequence[str]], labels: np.ndarray) -> Examples:
        return Examples(vocabulary.encode([text[:LENGTH] for text in texts]), labels)

    return Data(
        encoded([texts[n] for n in chosen], labels[chosen]),
        encoded(*parts["in_domain"]),
        encoded([texts[n] for n in others], labels[others]),
        len(vocabulary),
    )


class Classifier(nn.Layer):
    """Logits of unacceptable and acceptable; with `following`, also of each next word.

    Embeddings of words and of positions, one block of a Transformer, the mean over the words.
    Shapes: tokens (batch, time) -> (batch, 2), and (batch, time, words).
    """

    words: int
    dropout: float = 0.05

    def forward(
        self, net: nn.Net, tokens: fst.Array, following: bool = False
    ) -> fst.Array | tuple[fst.Array, fst.Array]:
        embed = net.child(
            "embed", nn.Embedding(self.words, FEATURES, table_init=nn.initializers.normal(0.1))
        )
        x = net.child("positions", nn.LearnedEncoding(LENGTH, table_init=waves))(embed(tokens))
        x = net.child("drop", nn.Dropout(self.dropout))(x)
        block = nn.TransformerEncoderLayer(heads=4, feed_forward=256, dropout=self.dropout)
        x = net.child("block", block)(x, is_causal=True)
        there = (tokens != PADDING)[..., None]
        mean = fnp.sum(x, axis=-2, where=there) / there.sum(axis=-2)
        logits: fst.Array = net.child("out", nn.Linear(2))(mean)
        if not following:
            return logits
        return logits, embed(net.child("next", nn.Linear(FEATURES))(x), attend=True)


def waves(key: fst.Array, shape: tuple[int, ...], dtype: Any) -> fst.Array:
    """Positions to begin with: by sines and cosines, neighbors are found soon."""
    time, features = shape
    return 0.1 * nn.sinusoidal_encoding(time, features, dtype=dtype)


def train(
    name: str, model: Classifier, data: Data, key: fst.Array, options: argparse.Namespace
) -> common.Params:
    """The parameters of a network after its best epoch."""
    init_key, fit_key = random.split(key)
    params, state = model.init(init_key, data.train.inputs[:1], following=True)

    def loss(
        params: common.Params, state: common.State, batch: Examples, key: fst.Array
    ) -> tuple[fst.Array, common.State]:
        word_key, dropout_key = random.split(key)
        # Some words are made unknown, so that the network can do without any of them.
        left_out = random.bernoulli(word_key, options.word_dropout, batch.inputs.shape)
        seen = fnp.where(left_out & (batch.inputs != PADDING), UNKNOWN, batch.inputs)
        logits, words = model(params, seen, following=True, key=dropout_key, train=True)
        next_words = nn.cross_entropy(words[:, :-1], batch.inputs[:, 1:], ignore_index=PADDING)
        value = nn.cross_entropy(logits, batch.labels) + options.language * next_words
        return value, state

    least, best = math.inf, params

    def evaluate(params: common.Params, state: common.State) -> dict[str, float]:
        nonlocal least, best
        found, labels = probabilities(model, params, data.development), data.development.labels
        entropy = float(nn.nll_loss(fnp.log(found), labels))
        if entropy < least:
            # A copy, since the next step takes the memory of the parameters.
            least, best = entropy, fst.tree.map(fnp.copy, params)
        return {"development loss": entropy, "accuracy": score(found, labels).accuracy}

    steps = common.steps(options, len(data.train.labels))
    rate = common.warmed_up(options.lr, steps)
    common.fit(
        loss,
        optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(rate, weight_decay=0.1)),
        params,
        state,
        data.train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        key=fit_key,
        evaluate=evaluate,
        name=name,
    )
    return best


@partial(fst.jit, static_argnums=0)
def _probabilities(model: Classifier, params: common.Params, tokens: fst.Array) -> fst.Array:
    return nn.softmax(model(params, tokens))


def probabilities(model: Classifier, params: common.Params, examples: Examples) -> fst.Array:
    """Of being unacceptable and acceptable: (n, 2)."""
    return common.in_batches(lambda tokens: _probabilities(model, params, tokens), examples.inputs)


def score(probabilities: fst.Array, labels: np.ndarray) -> Score:
    """Of predictions: the classes with the largest of the probabilities, (n, 2)."""
    accuracy, matthews = metrics.Accuracy(), metrics.MatthewsCorrelation()
    hits = accuracy.update(accuracy.init(), probabilities, labels)
    pairs = matthews.update(matthews.init(), probabilities, labels)
    return Score(float(accuracy.compute(hits)), float(matthews.compute(pairs)))


def main(argv: Sequence[str] | None = None) -> dict[str, Score]:
    parser = common.parser("cola", __doc__, epochs=5, batch_size=128, lr=3e-3)
    number, positive = common.positive(int), common.positive(float)
    parser.add_argument("--data", metavar="DIR", help="take the corpus from there; always needed")
    parser.add_argument("--networks", type=number, default=6, help="how many are averaged")
    parser.add_argument("--language", type=positive, default=1.0, help="weight of the next words")
    parser.add_argument(
        "--word-dropout", type=common.share, default=0.2, help="part of the words made unknown"
    )
    options = parser.parse_args(argv)
    if not options.data:
        parser.error(
            "--data DIR is needed: DIR/cola is as published at https://nyu-mll.github.io/CoLA"
        )
    data = common.loaded(parser, load, options.data)
    common.check_batch(parser, options.batch_size, len(data.train.labels))

    model = Classifier(data.words)
    found = [
        probabilities(model, train(f"network {n}", model, data, key, options), data.held_out)
        for n, key in enumerate(random.split(random.key(options.seed), options.networks), 1)
    ]
    labels = data.held_out.labels
    singles = [score(p, labels) for p in found]
    scores = {
        "all accepted": score(fnp.tile(fnp.array([0.0, 1.0]), (len(labels), 1)), labels),
        "one network": Score(*map(statistics.fmean, zip(*singles, strict=True))),
        "all networks": score(fnp.stack(found).mean(0), labels),
    }
    rows = [(name, f"{one.accuracy:.2%}", f"{one.matthews:.3f}") for name, one in scores.items()]
    print(common.table((f"{len(labels):,} sentences held out", "accuracy", "Matthews"), rows))
    return scores


if __name__ == "__main__":
    main()

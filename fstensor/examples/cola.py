"""A Transformer and n-grams learn which sentences are acceptable English.

    python -m fstensor.examples.cola --data DIR

`DIR/cola` is the Corpus of Linguistic Acceptability. Its training file is cut into five parts at
random; each is judged by what was learned from the other four, and the table tells of all. Seven in
ten sentences are acceptable, and who knows no more English than a few thousand sentences hardly
does better than to accept them all. What helps:

- Beside the words stand their classes, which are found from their neighbors (`word_classes`).
- A logistic regression on n-grams of words and classes finds more than the network does. But it
  rejects too readily, and the network too rarely: best is the mean of their log-odds.
- The network, a Transformer of one layer, predicts the classes of each next word as well, for which
  attention sees only words before. Without this task it learns its sentences by heart.
- Several of both are averaged, which differ by their random numbers, the classes among them.

Matthews' correlation tells what was found apart from the majority: 0 is nothing, 1 is all.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import fstensor as fst
from fstensor import metrics, nn, optim, random
from fstensor import numpy as fnp
from fstensor.examples import common, datasets
from fstensor.examples.datasets import Examples, Sentences
from fstensor.examples.text import PADDING, UNKNOWN
from fstensor.examples.word_classes import classes, encode, neighbor_vectors

LENGTH = 30  # words of a sentence; later ones are cut off
FREQUENT = 3  # how often a word occurs that is not replaced by its ending
CLASSES = (40, 150)  # coarse and fine
FEATURES = 64  # of the network
# The places of an n-gram's words, from its first: up to four in a row, and two with a gap.
PATTERNS = ((0,), (0, 1), (0, 1, 2), (0, 1, 2, 3), (0, 2), (0, 3))
PENALTY = 1e-3  # of the squared weights of n-grams


class Score(NamedTuple):
    accuracy: float
    matthews: float


class Fold(NamedTuple):
    """Sentences as rows of numbers below `words`, and a vector for each number."""

    train: Examples
    held_out: Examples
    words: int
    vectors: np.ndarray


def fold(sentences: Sentences, held_out: np.ndarray) -> Fold:
    """The sentences at the indices `held_out`, and all others to learn from, also the words."""
    chosen = np.setdiff1d(np.arange(len(sentences.texts)), held_out)

    def texts(indices: np.ndarray) -> list[list[str]]:
        return [sentences.texts[n][:LENGTH] for n in indices]

    train, others, words = encode(texts(chosen), texts(held_out), FREQUENT)
    return Fold(
        Examples(train, sentences.labels[chosen]),
        Examples(others, sentences.labels[held_out]),
        words,
        neighbor_vectors(train, words),
    )


def with_classes(part: Fold, key: fst.Array) -> tuple[Fold, tuple[int, ...]]:
    """Inputs (n, time) -> (n, time, 3), words and their classes; and how many there are of each."""
    keys = random.split(key, len(CLASSES))
    tables = [
        np.arange(part.words, dtype=np.int32),
        *(classes(part.vectors, count, key) for count, key in zip(CLASSES, keys, strict=True)),
    ]
    table = np.stack(tables, axis=1)
    train, held_out = (x._replace(inputs=table[x.inputs]) for x in (part.train, part.held_out))
    sizes = tuple(int(size) for size in table.max(axis=0) + 1)
    return part._replace(train=train, held_out=held_out), sizes


# N-grams


class Found(NamedTuple):
    """Which n-grams are in which sentences: pairs of indices, each pair once, by sentences."""

    sentences: np.ndarray
    ngrams: np.ndarray


class Weights(NamedTuple):
    bias: fst.Array
    ngrams: fst.Array


def ngrams(tokens: np.ndarray, size: int) -> Found:
    """The n-grams of all sentences, each as one number.

    tokens: (n, time, levels), below `size`, at most 26,000, since codes are int64. An n-gram is of
    one level: of words, or of classes of one kind.
    """
    _, time, levels = tokens.shape
    found = []
    for level in range(levels):
        for number, pattern in enumerate(PATTERNS):
            width = max(time - pattern[-1], 0)
            code = np.zeros((len(tokens), width), np.int64)
            for place in pattern:
                word = tokens[:, place : place + width, level]
                code = code * size + word
            code += (level * len(PATTERNS) + number) * size**4
            found.append(np.where(word == PADDING, -1, code))
    codes = np.sort(np.concatenate(found, axis=1), axis=1)
    is_new = np.diff(codes, axis=1, prepend=-1) > 0
    return Found(np.nonzero(is_new)[0], codes[is_new])


def numbered(part: Fold) -> tuple[Found, Found, int]:
    """The n-grams of both parts that two sentences to learn from have, and how many these are."""
    train, held_out = (ngrams(x.inputs, part.words + 1) for x in (part.train, part.held_out))
    codes, counts = np.unique(train.ngrams, return_counts=True)
    known = codes[counts >= 2]

    def renumbered(found: Found) -> Found:
        there = np.isin(found.ngrams, known)
        return Found(found.sentences[there], np.searchsorted(known, found.ngrams[there]))

    return renumbered(train), renumbered(held_out), len(known)


def log_odds(weights: Weights, found: Found, sentences: int) -> fst.Array:
    """Of being acceptable: the bias, and the weights of the n-grams that a sentence has."""
    sums = fnp.zeros(sentences).at[found.sentences].add(weights.ngrams[found.ngrams])
    return weights.bias + sums


def objective(weights: Weights, found: Found, labels: fst.Array) -> fst.Array:
    """Cross-entropy, and a penalty that keeps the weights small."""
    entropy = nn.binary_cross_entropy_with_logits(
        log_odds(weights, found, len(labels)), labels.astype(weights.bias.dtype)
    )
    return entropy + PENALTY / 2 * fnp.sum(weights.ngrams**2)


def logistic_regression(
    found: Found, labels: np.ndarray, count: int, least: float = 1e-4, steps: int = 200
) -> Weights:
    """The weights of `count` n-grams where the objective is least, by L-BFGS.

    It ends when the gradient's norm is below `least`, or after so many steps.
    """
    optimizer = optim.lbfgs()

    @fst.jit
    def step(
        weights: Weights, state: optim.State, found: Found, labels: fst.Array
    ) -> tuple[Weights, optim.State, fst.Array]:
        def value_and_grad(weights: Weights) -> Any:
            return fst.value_and_grad(objective)(weights, found, labels)

        value, grads = optim.value_and_grad_from_state(value_and_grad)(weights, state)
        updates, state = optimizer.update(
            grads, state, weights, value=value, value_and_grad=value_and_grad
        )
        return optim.apply_updates(weights, updates), state, optim.global_norm(grads)

    data = fst.tree.map(fnp.asarray, (found, labels))
    weights = Weights(fnp.zeros(()), fnp.zeros(count))
    state = optimizer.init(weights)
    for _ in range(steps):
        weights, state, norm = step(weights, state, *data)
        if norm < least:
            break
    return weights


# The network


class Classifier(nn.Layer):
    """The log-odds of being acceptable; with `following`, also logits of each next word's classes.

    Embeddings of words, of their classes and of positions, one block of a Transformer, the mean
    over the words. sizes: how many words, and classes of each kind, there are.
    Shapes: tokens (batch, time, kinds) -> (batch,), and (batch, time, size) for each kind of class.
    """

    sizes: tuple[int, ...]
    dropout: float = 0.1

    def forward(
        self, net: nn.Net, tokens: fst.Array, following: bool = False
    ) -> fst.Array | tuple[fst.Array, list[fst.Array]]:
        x = sum(
            net.child(
                f"embed{n}", nn.Embedding(size, FEATURES, table_init=nn.initializers.normal(0.1))
            )(tokens[..., n])
            for n, size in enumerate(self.sizes)
        )
        x = net.child("positions", nn.LearnedEncoding(LENGTH + 2, table_init=waves))(x)
        x = net.child("drop", nn.Dropout(self.dropout))(x)
        block = nn.TransformerEncoderLayer(heads=4, feed_forward=256, dropout=self.dropout)
        x = net.child("block", block)(x, is_causal=True)
        there = (tokens[..., 0] != PADDING)[..., None]
        mean = fnp.sum(x, axis=-2, where=there) / there.sum(axis=-2)
        logits: fst.Array = net.child("out", nn.Linear(1))(mean)[..., 0]
        if not following:
            return logits
        sizes = self.sizes[1:]
        return logits, [net.child(f"next{n}", nn.Linear(s))(x) for n, s in enumerate(sizes, 1)]


def waves(key: fst.Array, shape: tuple[int, ...], dtype: Any) -> fst.Array:
    """Positions to begin with: by sines and cosines, neighbors are found soon."""
    time, features = shape
    return 0.1 * nn.sinusoidal_encoding(time, features, dtype=dtype)


def train(
    name: str, model: Classifier, data: Examples, key: fst.Array, options: argparse.Namespace
) -> common.Params:
    """The parameters of a network after all epochs."""
    init_key, fit_key = random.split(key)
    params, state = model.init(init_key, data.inputs[:1], following=True)

    def loss(
        params: common.Params, state: common.State, batch: Examples, key: fst.Array
    ) -> tuple[fst.Array, common.State]:
        word_key, dropout_key = random.split(key)
        tokens, labels = map(fnp.asarray, batch)
        words = tokens[..., 0]
        # Some words are made unknown, so that the network learns to do with their classes.
        left_out = random.bernoulli(word_key, options.word_dropout, words.shape)
        words = fnp.where(left_out & (words != PADDING), UNKNOWN, words)
        seen = tokens.at[..., 0].set(words)
        logits, following = model(params, seen, following=True, key=dropout_key, train=True)
        value = nn.binary_cross_entropy_with_logits(logits, labels.astype(logits.dtype))
        for n, guess in enumerate(following, 1):
            value += options.language * nn.cross_entropy(
                guess[:, :-1], tokens[:, 1:, n], ignore_index=PADDING
            )
        return value, state

    rate = common.warmed_up(options.lr, common.steps(options, len(data.labels)))
    fit = common.fit(
        loss,
        optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(rate, weight_decay=0.1)),
        params,
        state,
        data,
        epochs=options.epochs,
        batch_size=options.batch_size,
        key=fit_key,
        name=name,
    )
    return fit.params


# Both


def score(log_odds: np.ndarray, labels: np.ndarray) -> Score:
    """Of predictions: sentences are accepted whose log-odds are positive."""
    predicted = (log_odds > 0).astype(np.int32)
    accuracy, matthews = metrics.Accuracy(), metrics.MatthewsCorrelation()
    hits = accuracy.update(accuracy.init(), predicted, labels)
    pairs = matthews.update(matthews.init(), predicted, labels)
    return Score(float(accuracy.compute(hits)), float(matthews.compute(pairs)))


def held_out_log_odds(
    name: str, part: Fold, key: fst.Array, options: argparse.Namespace
) -> tuple[fst.Array, fst.Array]:
    """Of the sentences held out, by a network and by n-grams that have the same random classes."""
    class_key, network_key = random.split(key)
    part, sizes = with_classes(part, class_key)
    model = Classifier(sizes)
    params = train(name, model, part.train, network_key, options)
    network = common.in_batches(fst.jit(partial(model, params)), part.held_out.inputs)
    train_ngrams, held_out_ngrams, count = numbered(part)
    weights = logistic_regression(train_ngrams, part.train.labels, count)
    return network, log_odds(weights, held_out_ngrams, len(part.held_out.labels))


def main(argv: Sequence[str] | None = None) -> dict[str, Score]:
    parser = common.parser("cola", __doc__, epochs=6, batch_size=128, lr=3e-3)
    number, positive = common.positive(int), common.positive(float)
    parser.add_argument("--data", metavar="DIR", help="take the corpus from there; always needed")
    parser.add_argument("--folds", type=number, default=5, help="parts, each held out once")
    parser.add_argument(
        "--networks", type=number, default=4, help="how many are averaged, n-grams' models as well"
    )
    parser.add_argument("--language", type=positive, default=1.0, help="weight of the next words")
    parser.add_argument(
        "--word-dropout", type=common.share, default=0.3, help="part of the words made unknown"
    )
    options = parser.parse_args(argv)
    if not options.data:
        parser.error(
            "--data DIR is needed: DIR/cola is as published at https://nyu-mll.github.io/CoLA"
        )
    sentences = common.loaded(parser, datasets.cola, options.data)["train"]
    count = len(sentences.texts)
    if not 2 <= options.folds <= count:
        parser.error(f"--folds must be from 2 to {count}, got {options.folds}")
    order = np.random.default_rng(options.seed).permutation(count)
    parts = np.array_split(order, options.folds)
    common.check_batch(parser, options.batch_size, count - len(parts[0]))

    network, by_ngrams = np.zeros(count), np.zeros(count)
    for f, held_out in enumerate(parts):
        part = fold(sentences, held_out)
        keys = random.split(random.fold_in(random.key(options.seed), f), options.networks)
        found = [
            held_out_log_odds(f"fold {f + 1}, {n}", part, key, options)
            for n, key in enumerate(keys, 1)
        ]
        network[held_out], by_ngrams[held_out] = np.mean(found, axis=0)

    scores = {
        name: score(log_odds, sentences.labels)
        for name, log_odds in {
            "all accepted": np.ones(count),
            "networks": network,
            "n-grams": by_ngrams,
            "both": (network + by_ngrams) / 2,
        }.items()
    }
    rows = [(name, f"{s.accuracy:.2%}", f"{s.matthews:.3f}") for name, s in scores.items()]
    print(common.table((f"{count:,} sentences held out", "accuracy", "Matthews"), rows))
    return scores


if __name__ == "__main__":
    main()

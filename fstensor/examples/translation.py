"""A Transformer learns to translate from English to Chinese.

    python -m fstensor.examples.translation
    python -m fstensor.examples.translation --data DIR --pairs 500

`DIR/translation/cmn-eng.txt.gz` has sentences, of which the shortest are learned; without --data,
numbers below ten thousand are translated from words to numerals. A few hundred pairs can be learned
by heart; how well other ones are translated shows what was understood beyond that. English is read
word by word, Chinese written character by character.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NamedTuple

import fstensor as fst
from fstensor import metrics, nn, optim, random
from fstensor import numpy as fnp
from fstensor.examples import common, datasets
from fstensor.examples.text import END, PADDING, START, Vocabulary
from fstensor.nn import models

OTHERS = 100  # pairs that are not learned
SHOWN = 4  # translations to look at, of those that are learned and of others


class Pair(NamedTuple):
    """A sentence in both languages, in words and in characters."""

    english: list[str]
    chinese: list[str]


class Batch(NamedTuple):
    """Sentences of both languages as rows of numbers."""

    source: fst.Array
    target: fst.Array


class Score(NamedTuple):
    """The part of translations that are as in the pairs, and their BLEU, from 0 to 1."""

    exact: float
    bleu: float


# The pairs

# fmt: off
SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
    "eighteen", "nineteen",
]
# fmt: on
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
DIGITS = "零一二三四五六七八九"


def in_english(number: int) -> str:
    """A number below ten thousand, in words."""
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {in_english(number % size)}" if number % size else ""
            return f"{in_english(number // size)} {name}{rest}"
    if number < len(SMALL):
        return SMALL[number]
    return TENS[number // 10 - 2] + (f" {SMALL[number % 10]}" if number % 10 else "")


def in_chinese(number: int) -> str:
    """A number below ten thousand, in Chinese numerals."""
    digits = [DIGITS[int(digit)] for digit in str(number)]
    units = "千百十 "[-len(digits) :]
    text = "".join(d if d == "零" else d + u for d, u in zip(digits, units, strict=True))
    # Zeros are read once, and none at the end; ten to nineteen begin with ten, not with one.
    text = re.sub("零+", "零", text.replace(" ", "")).rstrip("零") or "零"
    return text.removeprefix("一") if 10 <= number < 20 else text


def numbers(seed: int) -> list[tuple[str, str]]:
    """Those below ten thousand in both languages, in a random order."""
    order = random.permutation(random.key(seed), 10_000)
    return [(in_english(n), in_chinese(n)) for n in order.tolist()]


def pairs_of(texts: Sequence[tuple[str, str]]) -> list[Pair]:
    """The pairs of texts; of those with one English sentence, the first."""
    found: dict[tuple[str, ...], Pair] = {}
    for english, chinese in texts:
        words = re.findall(r"[\w']+|[^\w\s]", english.lower())
        found.setdefault(tuple(words), Pair(words, list(chinese.replace(" ", ""))))
    return list(found.values())


# The model


class Translator(NamedTuple):
    """A trained network, and what its numbers mean."""

    model: models.Seq2Seq
    params: common.Params
    english: Vocabulary
    chinese: Vocabulary
    length: int

    def translate(self, pairs: Sequence[Pair]) -> list[list[str]]:
        """What the network makes of the English sentences of pairs, up to a length."""

        def translated(rows: fst.Array) -> fst.Array:
            return models.translate(
                self.model, self.params, rows, self.length, start=START, end=END
            )

        rows = self.english.encode([pair.english for pair in pairs])
        found = common.in_batches(translated, rows)
        return [self.chinese.decode(row) for row in found.tolist()]

    def score(self, pairs: Sequence[Pair]) -> Score:
        found, wanted = self.translate(pairs), [pair.chinese for pair in pairs]
        exact = sum(a == b for a, b in zip(found, wanted, strict=True)) / len(pairs)
        return Score(exact, metrics.bleu(found, [[text] for text in wanted]))


def learn(pairs: Sequence[Pair], options: argparse.Namespace) -> Translator:
    """Train on the cross-entropy of each character, given the sentence and those before it."""
    english = Vocabulary(pair.english for pair in pairs)
    chinese = Vocabulary(pair.chinese for pair in pairs)
    data = Batch(
        fnp.asarray(english.encode([pair.english for pair in pairs])),
        fnp.asarray(chinese.encode([pair.chinese for pair in pairs], ends=True)),
    )
    model = models.Seq2Seq(
        len(english),
        len(chinese),
        options.features,
        heads=4,
        layers=options.layers,
        hidden=2 * options.features,
        dropout=0.0,
        norm_first=True,
    )

    def loss(
        params: common.Params, state: common.State, batch: Batch, key: fst.Array
    ) -> tuple[fst.Array, common.State]:
        before, after = batch.target[:, :-1], batch.target[:, 1:]
        logits = model(params, batch.source, before, key=key, train=True)
        return nn.cross_entropy(logits, after, ignore_index=PADDING), state

    steps = common.steps(options, len(pairs))
    rate = common.warmed_up(options.lr, steps)
    init_key, fit_key = random.split(random.key(options.seed))
    params, state = model.init(init_key, data.source, data.target)
    fit = common.fit(
        loss,
        optim.chain(optim.clip_by_global_norm(1.0), optim.adam(rate)),
        params,
        state,
        data,
        epochs=options.epochs,
        batch_size=options.batch_size,
        key=fit_key,
        name="translation",
    )
    return Translator(model, fit.params, english, chinese, data.target.shape[1])


def main(argv: Sequence[str] | None = None) -> dict[str, Score]:
    parser = common.parser("translation", __doc__, epochs=40, batch_size=32, lr=2e-3)
    number = common.positive(int)
    parser.add_argument("--data", metavar="DIR", help="take sentences from there")
    parser.add_argument("--pairs", type=number, default=500, help="how many to learn")
    parser.add_argument("--layers", type=number, default=2, help="of encoder and decoder")
    parser.add_argument("--features", type=number, default=128, help="of a layer")
    options = parser.parse_args(argv)
    source = (datasets.english_chinese, options.data) if options.data else (numbers, options.seed)
    pairs = pairs_of(common.loaded(parser, *source))
    learned, others = pairs[: options.pairs], pairs[options.pairs :][:OTHERS]
    common.check_batch(parser, options.batch_size, len(learned))
    try:
        translator = learn(learned, options)
    except fst.errors.OptionError as error:
        parser.error(str(error))

    examples = [*learned[-SHOWN:], *others[:SHOWN]]
    sentences = [
        (" ".join(pair.english), "".join(pair.chinese), "".join(found))
        for pair, found in zip(examples, translator.translate(examples), strict=True)
    ]
    print(common.table(("English", "Chinese", "translated"), sentences), end="\n\n")
    parts = {"learned": learned, "others": others}
    scores = {name: translator.score(part) for name, part in parts.items() if part}
    rows = [
        (name, f"{len(parts[name]):,}", f"{score.exact:.1%}", f"{100 * score.bleu:.1f}")
        for name, score in scores.items()
    ]
    print(common.table(("pairs", "number", "exact", "BLEU"), rows))
    return scores


if __name__ == "__main__":
    main()

"""Numbers for words and characters, as the examples with texts need them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

# The first numbers stand for no word: what fills the end of a row, words that are not known, and
# what stands before and after a text.
PADDING, UNKNOWN, START, END = range(4)


class Vocabulary:
    """The words of some texts, each with a number; `len` is one more than the largest.

    at_least: how often a word occurs in them; others are not known.
    """

    def __init__(self, texts: Iterable[Sequence[str]], at_least: int = 1) -> None:
        counts = Counter(word for text in texts for word in text)
        words = sorted(word for word, count in counts.items() if count >= at_least)
        self._words = dict(enumerate(words, END + 1))
        self._numbers = {word: number for number, word in self._words.items()}

    def __len__(self) -> int:
        return END + 1 + len(self._words)

    def encode(self, texts: Sequence[Sequence[str]], ends: bool = False) -> np.ndarray:
        """Texts as the rows of an array, int32, as long as the longest of them.

        ends: whether each has START and END around it.
        """
        rows = [[self._numbers.get(word, UNKNOWN) for word in text] for text in texts]
        if ends:
            rows = [[START, *row, END] for row in rows]
        encoded = np.full((len(rows), max(map(len, rows))), PADDING, np.int32)
        for filled, row in zip(encoded, rows, strict=True):
            filled[: len(row)] = row
        return encoded

    def decode(self, row: Iterable[int]) -> list[str]:
        """The words of a row up to END; "?" for what is none."""
        words = []
        for number in map(int, row):
            if number == END:
                break
            words.append(self._words.get(number, "?"))
        return words

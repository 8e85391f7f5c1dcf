"""Classes of words, found from the words that stand beside them.

To one who has read little, most pairs of words are new, but few pairs of classes are. "These dog"
and "these dogs" may both be new; yet words like "these" are often followed by words like "dogs".
Words are alike that have the same neighbors: the vector of a word tells which others stand before
and after it more often than by chance, and words with near vectors form a class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

import fstensor as fst
from fstensor import lax, nn, random
from fstensor import numpy as fnp
from fstensor.examples.text import PADDING, Vocabulary

ENDINGS = ["ing", "ed", "ly", "tion", "ness", "ment", "er", "est", "ity", "ous", "ive", "able"]
ENDINGS += ["al", "es", "s", "en", "y"]
FEATURES = 50  # of a word's vector
NEIGHBORS = 1000  # words that are told apart as neighbors: the most frequent
ROUNDS = 30  # of k-means


def encode(
    texts: Sequence[Sequence[str]], others: Sequence[Sequence[str]], at_least: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Both as rows of numbers, with START and END, and how many numbers there are.

    Words that occur in `texts` less often than at_least are replaced by their endings.
    """
    counts = Counter(word for text in texts for word in text)

    def frequent(text: Sequence[str]) -> list[str]:
        return [word if counts[word] >= at_least else ending(word) for word in text]

    known = [frequent(text) for text in texts]
    vocabulary = Vocabulary(known)
    tokens = vocabulary.encode(known, ends=True)
    return tokens, vocabulary.encode([frequent(t) for t in others], ends=True), len(vocabulary)


def ending(word: str) -> str:
    """What tells a rare word's form: "-ing" of "wugging", "-" where no known ending is."""
    found = (e for e in ENDINGS if len(word) > len(e) + 2 and word.endswith(e))
    return "-" + next(found, "")


def neighbor_vectors(tokens: np.ndarray, words: int) -> np.ndarray:
    """A vector of length 1 for each word of the texts.

    The positive pointwise mutual information of words and of their neighbors, on the left and on
    the right, log(p(word, neighbor) / (p(word) p(neighbor))) where it is above 0; of its singular
    value decomposition U S V' the first columns of U sqrt(S) (Levy and Goldberg, 2014).
    Shapes: tokens (n, time), of numbers below `words` -> (words, at most FEATURES).
    """
    occurrences = np.bincount(tokens[tokens != PADDING], minlength=words)
    columns = min(NEIGHBORS, words)
    column = np.full(words, columns)  # one column is for all that are rarer
    column[np.argsort(-occurrences, kind="stable")[:columns]] = np.arange(columns)
    left, right = tokens[:, :-1], tokens[:, 1:]
    left, right = left[right != PADDING], right[right != PADDING]
    counts = np.zeros((words, 2, columns + 1))
    np.add.at(counts, (right, 0, column[left]), 1)
    np.add.at(counts, (left, 1, column[right]), 1)

    joint = counts.reshape(words, -1) / counts.sum()
    by_chance = joint.sum(1, keepdims=True) * joint.sum(0)
    ratio = np.divide(joint, by_chance, out=np.ones_like(joint), where=joint > by_chance)
    u, s, _ = fnp.linalg.svd(np.log(ratio).astype(np.float32), full_matrices=False)
    vectors = np.asarray(u * fnp.sqrt(s))[:, :FEATURES]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def classes(vectors: np.ndarray, count: int, key: fst.Array) -> np.ndarray:
    """The class of each word, from 1 to count; that of PADDING is PADDING."""
    table = 1 + np.asarray(k_means(fnp.asarray(vectors), min(count, len(vectors)), key))
    table[PADDING] = PADDING
    return table


def k_means(points: fst.Array, count: int, key: fst.Array) -> fst.Array:
    """The group of each point, by rounds of Lloyd's algorithm that begin at points drawn at random.

    Shapes: points (n, features) -> (n,), int, of `count` groups.
    """

    def nearest(centers: fst.Array) -> fst.Array:
        return fnp.argmin(fnp.sum(centers**2, axis=1) - 2 * points @ centers.T, axis=1)

    def moved(_: fst.Array, centers: fst.Array) -> fst.Array:
        member = nn.one_hot(nearest(centers), count)
        sizes = member.sum(0)[:, None]
        means = member.T @ points / fnp.maximum(sizes, 1)
        return fnp.where(sizes > 0, means, centers)

    first = random.choice(key, points, (count,), replace=False)
    found: fst.Array = nearest(lax.fori_loop(0, ROUNDS, moved, first))
    return found

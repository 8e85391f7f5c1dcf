"""BLEU: how many sequences of words a translation shares with those of people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeAlias, final

import numpy as np

from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.errors import ArgumentError, OptionError, ShapeError
from fstensor.metrics.metric import Metric, added, result

Tokens: TypeAlias = Sequence[Hashable]


class BLEUStatistics(NamedTuple):
    """All that the score depends on, sums over sentences; int32, or int64 on the host.

    matches, possible: of each length of sequences, 1 to max_order, how many of the candidate's
    occur in a reference, and how many there are. candidate_length, reference_length: in tokens.
    """

    matches: Array | np.ndarray
    possible: Array | np.ndarray
    candidate_length: Array | np.ndarray
    reference_length: Array | np.ndarray


@final
class BLEU(Metric):
    """BLEU of a corpus, between 0 and 1; 0 without any match.

    The geometric mean, over lengths n of sequences, of the part of the candidates' sequences of n
    tokens that occur in a reference, each at most as often as it does there; times
    exp(1 - r / c) where the candidates' c tokens are fewer than the references' r, of which those
    of the closest length count, of two the shorter.

    max_order: the largest n. smooth: adds 1 to numerators and denominators for n above 1 (Lin, Och,
    2004), so that a single sentence has a score.
    update(state, statistics): from `statistics`, which counts tokens on the host; the rest are
    arrays. Raises: OptionError for a max_order below 1.
    Source: K. Papineni et al., BLEU, 2002, section 2.3.
    """

    max_order: int = 4
    smooth: bool = False

    def __post_init__(self) -> None:
        if self.max_order < 1:
            raise OptionError(f"BLEU: max_order must be positive, got {self.max_order}")

    def statistics(
        self, candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
    ) -> BLEUStatistics:
        """Counts of candidates, lists of tokens, each against a list of its references.

        Raises: ArgumentError for text instead of tokens, ShapeError for lists of unequal length or
            no reference.
        """
        if len(candidates) != len(references):
            raise ShapeError(
                "BLEU: each candidate must have its references, "
                f"got {len(candidates)} and {len(references)}"
            )
        matches, possible = (np.zeros(self.max_order, np.int64) for _ in range(2))
        candidate_length = reference_length = 0
        for candidate, known in zip(candidates, references, strict=True):
            if isinstance(candidate, str) or any(isinstance(k, str) for k in known):
                raise ArgumentError("BLEU: takes lists of tokens, got text; split it first")
            if not known:
                raise ShapeError("BLEU: each candidate must have a reference, got none")
            length = len(candidate)
            candidate_length += length
            reference_length += min((abs(len(k) - length), len(k)) for k in known)[1]
            for order in range(1, self.max_order + 1):
                own = _sequences(candidate, order)
                allowed: Counter[Tokens] = Counter()
                for k in known:
                    allowed |= _sequences(k, order)
                matches[order - 1] += (own & allowed).total()
                possible[order - 1] += own.total()
        return BLEUStatistics(
            matches, possible, np.asarray(candidate_length), np.asarray(reference_length)
        )

    def init(self) -> BLEUStatistics:
        counts = fnp.zeros(self.max_order, "int32")
        return BLEUStatistics(counts, counts, fnp.zeros((), "int32"), fnp.zeros((), "int32"))

    def update(self, state: BLEUStatistics, statistics: BLEUStatistics) -> BLEUStatistics:
        return added(state, BLEUStatistics(*(fnp.asarray(x, "int32") for x in statistics)))

    def merge(self, a: BLEUStatistics, b: BLEUStatistics) -> BLEUStatistics:
        return added(a, b)

    def compute(self, state: BLEUStatistics) -> Array:
        return result(self.score(state))

    def score(self, state: BLEUStatistics) -> Array:
        """The result in float64."""
        matches, possible, candidate, reference = (fnp.asarray(x, "float64") for x in state)
        if self.smooth:
            more = fnp.asarray(np.arange(self.max_order) > 0, "float64")
            matches, possible = matches + more, possible + more
        nothing = fnp.any(matches == 0)
        precisions = fnp.where(nothing, 1.0, matches) / fnp.where(nothing, 1.0, possible)
        mean = fnp.exp(fnp.mean(fnp.log(precisions)))
        short = 1 - reference / fnp.maximum(candidate, 1.0)
        penalty = fnp.exp(fnp.minimum(short, 0.0))
        return fnp.where(nothing, 0.0, mean * penalty)


def _sequences(tokens: Tokens, order: int) -> Counter[Tokens]:
    return Counter(tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1))


def bleu(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    *,
    max_order: int = 4,
    smooth: bool = False,
) -> float:
    """The score of `BLEU` of lists of tokens, each with a list of references; options as there.

    >>> candidate, reference = "the cat is on the mat".split(), "a cat is on the mat".split()
    >>> round(bleu([candidate], [[reference]], max_order=2), 6)
    0.816497
    """
    metric = BLEU(max_order, smooth)
    return float(metric.score(metric.statistics(candidates, references)))

"""The area under the receiver operating characteristic.

It is the probability that a positive has a larger score than a negative, ties counting one half.
"""

from __future__ import annotations

import math
from typing import NamedTuple, final

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.metrics.metric import Metric, added, mask, result


class Seen(NamedTuple):
    """Scores and targets, of which the first `number` places are filled."""

    scores: Array
    positive: Array
    number: Array


def _operands(
    what: str, scores: ArrayLike, targets: ArrayLike, where: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Scores, which are positive, and which count, each as one axis."""
    x, t = fnp.asarray(scores), fnp.asarray(targets)
    if x.shape != t.shape:
        raise ShapeError(
            f"{what}: scores and targets must have one shape, got {x.aval} and {t.aval}"
        )
    if not (dtypes.is_integer(t.dtype) or dtypes.is_bool(t.dtype)) or dtypes.is_complex(x.dtype):
        raise DtypeError(
            f"{what}: takes real scores, and targets 0 or 1, got {x.aval} and {t.aval}"
        )
    return x.ravel(), (t > 0).ravel(), mask(what, where, t).ravel()


@final
class AUROC(Metric):
    """The area itself, by sorting all scores, which the state keeps; nan without both classes.

    capacity: how many scores it can keep. After more of them the result is nan. They are kept in
    the default float.
    update(state, scores, targets, where=None): of one shape; targets 1 for positive, or 0.
    """

    capacity: int

    def init(self) -> Seen:
        return Seen(
            fnp.zeros(self.capacity, dtypes.default_float()),
            fnp.zeros(self.capacity, bool),
            fnp.zeros((), "int32"),
        )

    def update(
        self, state: Seen, scores: ArrayLike, targets: ArrayLike, where: ArrayLike | None = None
    ) -> Seen:
        return self._with(state, *_operands("AUROC", scores, targets, where))

    def _with(self, state: Seen, scores: Array, positive: Array, counts: Array) -> Seen:
        # Those that count go to the next places; the others, and what is too much, to none.
        order = fnp.cumsum(counts, dtype="int32") - 1
        places = fnp.where(counts, state.number + order, self.capacity)
        return Seen(
            state.scores.at[places].set(scores.astype(state.scores.dtype), mode="drop"),
            state.positive.at[places].set(positive, mode="drop"),
            state.number + fnp.sum(counts, dtype="int32"),
        )

    def merge(self, a: Seen, b: Seen) -> Seen:
        filled = fnp.arange(self.capacity, dtype="int32") < b.number
        both = self._with(a, b.scores, b.positive, filled)
        return both._replace(number=a.number + b.number)

    def compute(self, state: Seen) -> Array:
        filled = fnp.arange(self.capacity, dtype="int32") < state.number
        # Empty places go to the end, where they belong to neither class.
        scores = fnp.where(filled, state.scores, math.inf)
        scores, positive, negative = lax.sort(
            (
                scores,
                (filled & state.positive).astype("int64"),
                (filled & ~state.positive).astype("int64"),
            ),
            num_keys=1,
        )
        below = fnp.concatenate([fnp.zeros(1, "int64"), fnp.cumsum(negative)])
        smaller = below[fnp.searchsorted(scores, scores, "left")]
        not_larger = below[fnp.searchsorted(scores, scores, "right")]
        # Twice the number of pairs in order, so that it is an integer.
        ordered = fnp.sum(positive * (smaller + not_larger))
        pairs = fnp.sum(positive) * fnp.sum(negative)
        unknown = (pairs == 0) | (state.number > self.capacity) | fnp.any(fnp.isnan(scores))
        return _area(ordered, pairs, unknown)


def _area(ordered: Array, pairs: Array, unknown: Array) -> Array:
    area = ordered.astype("float64") / fnp.where(unknown, 1, 2 * pairs).astype("float64")
    return result(fnp.where(unknown, math.nan, area))


class Histograms(NamedTuple):
    """How many positives and negatives have scores in each bin; int32."""

    positive: Array
    negative: Array


@final
class BinnedAUROC(Metric):
    """The area from histograms of scores, in memory that does not grow; nan without both classes.

    bins: of equal width, between low and high. Scores beyond are in the first or the last one.
    Scores in one bin count as ties, so that the result is wrong by at most half the part of pairs,
    of a positive and a negative, that share a bin: `error_bound(state)`.
    update(state, scores, targets, where=None): of one shape; targets 1 for positive, or 0.
    Raises: OptionError without bins, or for a low that is not below high.
    """

    bins: int = 1000
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.bins < 1 or not self.low < self.high:
            raise OptionError(
                "BinnedAUROC: there must be bins, and low below high, "
                f"got {self.bins}, {self.low} and {self.high}"
            )

    def init(self) -> Histograms:
        return Histograms(fnp.zeros(self.bins, "int32"), fnp.zeros(self.bins, "int32"))

    def update(
        self,
        state: Histograms,
        scores: ArrayLike,
        targets: ArrayLike,
        where: ArrayLike | None = None,
    ) -> Histograms:
        x, positive, counts = _operands("BinnedAUROC", scores, targets, where)
        part = (x.astype("float64") - self.low) * (self.bins / (self.high - self.low))
        bins = fnp.clip(fnp.floor(part), 0, self.bins - 1).astype("int32")

        def counted(chosen: Array) -> Array:
            places = fnp.where(chosen & counts, bins, self.bins)
            return fnp.zeros(self.bins, "int32").at[places].add(1, mode="drop")

        return added(state, Histograms(counted(positive), counted(~positive)))

    def merge(self, a: Histograms, b: Histograms) -> Histograms:
        return added(a, b)

    def compute(self, state: Histograms) -> Array:
        positive, negative = (x.astype("int64") for x in state)
        below = fnp.cumsum(negative) - negative
        pairs = fnp.sum(positive) * fnp.sum(negative)
        return _area(fnp.sum(positive * (2 * below + negative)), pairs, pairs == 0)

    def error_bound(self, state: Histograms) -> Array:
        """How far the result may be from the area of the scores themselves."""
        positive, negative = (x.astype("int64") for x in state)
        pairs = fnp.sum(positive) * fnp.sum(negative)
        return _area(fnp.sum(positive * negative), pairs, pairs == 0)

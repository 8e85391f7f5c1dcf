"""What is taken for what: the confusion matrix, and scores of classes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, NamedTuple, TypeAlias, final

from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import OptionError
from fstensor.metrics.metric import Metric, added, classes, mask, ratio, result

Average: TypeAlias = Literal["micro", "macro"] | None


def _counted(index: Array, counts: Array, size: int) -> Array:
    """How often each index below size occurs among those that count; int32."""
    known = counts & (index >= 0) & (index < size)
    places = fnp.where(known, index, size).ravel()
    return fnp.zeros(size, "int32").at[places].add(1, mode="drop")


@final
class ConfusionMatrix(Metric):
    """How often classes are taken for others: rows are targets, columns predictions; int32.

    update(state, predictions, targets, where=None): as in `Accuracy`. Pairs in which either is no
    class do not count. compute gives the matrix, (num_classes, num_classes).
    """

    num_classes: int

    def init(self) -> Array:
        return fnp.zeros((self.num_classes, self.num_classes), "int32")

    def update(
        self,
        state: Array,
        predictions: ArrayLike,
        targets: ArrayLike,
        where: ArrayLike | None = None,
    ) -> Array:
        return state + _matrix("ConfusionMatrix", self.num_classes, predictions, targets, where)

    def merge(self, a: Array, b: Array) -> Array:
        return a + b

    def compute(self, state: Array) -> Array:
        return state


def _matrix(
    what: str, size: int, predictions: ArrayLike, targets: ArrayLike, where: ArrayLike | None
) -> Array:
    p, t = classes(what, predictions, targets)
    known = mask(what, where, t) & (p >= 0) & (p < size) & (t >= 0) & (t < size)
    return _counted(t * size + p, known, size * size).reshape(size, size)


@final
class MatthewsCorrelation(Metric):
    """The correlation of predicted classes and targets; 0 where either never changes.

    update(state, predictions, targets, where=None): as in `ConfusionMatrix`.
    Source: B. Matthews, 1975, for two classes; J. Gorodkin, Comparing two K-category assignments by
        a K-category correlation coefficient, 2004, eq. 8, for more.
    """

    num_classes: int = 2

    def init(self) -> Array:
        return fnp.zeros((self.num_classes, self.num_classes), "int32")

    def update(
        self,
        state: Array,
        predictions: ArrayLike,
        targets: ArrayLike,
        where: ArrayLike | None = None,
    ) -> Array:
        return state + _matrix("MatthewsCorrelation", self.num_classes, predictions, targets, where)

    def merge(self, a: Array, b: Array) -> Array:
        return a + b

    def compute(self, state: Array) -> Array:
        counts = state.astype("float64")
        total, right = fnp.sum(counts), fnp.trace(counts)
        actual, predicted = fnp.sum(counts, 1), fnp.sum(counts, 0)
        of_predicted = total * total - fnp.sum(predicted * predicted)
        of_actual = total * total - fnp.sum(actual * actual)
        product = fnp.sqrt(of_predicted) * fnp.sqrt(of_actual)
        covariance = right * total - fnp.sum(predicted * actual)
        nothing = product == 0
        return result(fnp.where(nothing, 0.0, covariance / fnp.where(nothing, 1.0, product)))


class Counts(NamedTuple):
    """Of each class, how often it was predicted rightly, predicted, and right; int32."""

    hits: Array
    predicted: Array
    actual: Array


class ClassScore(Metric):
    """A score of each class, or of all together.

    average: None for each class, (num_classes,); "macro" for their mean, over those classes that
    occur in predictions or targets; "micro" for the score of all decisions together. A score is 0
    where it would be 0 / 0.
    update(state, predictions, targets, where=None): as in `Accuracy`. Targets that are no class do
    not count; predictions that are none are wrong.
    """

    num_classes: int
    average: Average = "macro"

    def __post_init__(self) -> None:
        if self.average not in ("micro", "macro", None):
            raise OptionError(
                f"{type(self).__name__}: average must be micro, macro or None, got {self.average!r}"
            )

    @abstractmethod
    def _score(self, counts: Counts) -> Array: ...

    @final
    def init(self) -> Counts:
        return Counts(*(fnp.zeros(self.num_classes, "int32") for _ in Counts._fields))

    @final
    def update(
        self,
        state: Counts,
        predictions: ArrayLike,
        targets: ArrayLike,
        where: ArrayLike | None = None,
    ) -> Counts:
        what = type(self).__name__
        p, t = classes(what, predictions, targets)
        counts = mask(what, where, t) & (t >= 0) & (t < self.num_classes)
        batch = Counts(
            _counted(t, counts & (p == t), self.num_classes),
            _counted(p, counts, self.num_classes),
            _counted(t, counts, self.num_classes),
        )
        return added(state, batch)

    @final
    def merge(self, a: Counts, b: Counts) -> Counts:
        return added(a, b)

    @final
    def compute(self, state: Counts) -> Array:
        if self.average == "micro":
            return self._score(Counts(*(fnp.sum(x, dtype="int32") for x in state)))
        scores = self._score(state)
        if self.average is None:
            return scores
        occur = (state.predicted > 0) | (state.actual > 0)
        return ratio(fnp.sum(fnp.where(occur, scores, 0.0)), fnp.sum(occur))


@final
class Precision(ClassScore):
    """The part of predictions of a class that are right. Options: see `ClassScore`."""

    def _score(self, counts: Counts) -> Array:
        return ratio(counts.hits, counts.predicted)


@final
class Recall(ClassScore):
    """The part of targets of a class that are predicted. Options: see `ClassScore`."""

    def _score(self, counts: Counts) -> Array:
        return ratio(counts.hits, counts.actual)


@final
class F1(ClassScore):
    """The harmonic mean of precision and recall of a class. Options: see `ClassScore`."""

    def _score(self, counts: Counts) -> Array:
        return ratio(2 * counts.hits, counts.predicted + counts.actual)

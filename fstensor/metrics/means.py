"""Means of numbers, errors of numbers, and what part of their variance is explained."""

from __future__ import annotations

import math
from typing import NamedTuple, final

from fstensor import numpy as fnp
from fstensor import scipy
from fstensor.array import Array, ArrayLike
from fstensor.errors import ShapeError
from fstensor.metrics.metric import Metric, added, classes, mask, ratio, real_pair, result


class Sum(NamedTuple):
    """A sum and the number, or weight, of what is in it; float64."""

    total: Array
    weight: Array


def _empty() -> Sum:
    return Sum(fnp.zeros((), "float64"), fnp.zeros((), "float64"))


def _with(state: Sum, values: Array, where: Array) -> Sum:
    """With further values, those that count. Of the others not even a nan does harm."""
    more = fnp.sum(fnp.where(where, values, 0.0), dtype="float64")
    return Sum(state.total + more, state.weight + fnp.sum(where, dtype="float64"))


def _mean(state: Sum) -> Array:
    return result(state.total / state.weight)


@final
class Mean(Metric):
    """The mean of numbers; nan for none.

    update(state, values, weights=None): weights broadcast to the values, or it raises ShapeError.
    """

    def init(self) -> Sum:
        return _empty()

    def update(self, state: Sum, values: ArrayLike, weights: ArrayLike | None = None) -> Sum:
        x = fnp.asarray(values)
        x, _ = real_pair("Mean", x, x)
        if weights is None:
            return _with(state, x, mask("Mean", None, x))
        w = fnp.asarray(weights, "float64")
        if fnp.broadcast_shapes(w.shape, x.shape) != x.shape:
            raise ShapeError(f"Mean: weights must broadcast to {x.aval}, got {w.aval}")
        w = fnp.broadcast_to(w, x.shape)
        return Sum(state.total + fnp.sum(w * x), state.weight + fnp.sum(w))

    def merge(self, a: Sum, b: Sum) -> Sum:
        return added(a, b)

    def compute(self, state: Sum) -> Array:
        return _mean(state)


@final
class MeanSquaredError(Metric):
    """The mean of (prediction - target)^2, or its root; nan for none.

    update(state, predictions, targets, where=None).
    """

    root: bool = False

    def init(self) -> Sum:
        return _empty()

    def update(
        self,
        state: Sum,
        predictions: ArrayLike,
        targets: ArrayLike,
        where: ArrayLike | None = None,
    ) -> Sum:
        p, t = real_pair("MeanSquaredError", predictions, targets)
        return _with(state, fnp.square(p - t), mask("MeanSquaredError", where, p))

    def merge(self, a: Sum, b: Sum) -> Sum:
        return added(a, b)

    def compute(self, state: Sum) -> Array:
        return fnp.sqrt(_mean(state)) if self.root else _mean(state)


@final
class MeanAbsoluteError(Metric):
    """The mean of |prediction - target|; nan for none.

    update(state, predictions, targets, where=None).
    """

    def init(self) -> Sum:
        return _empty()

    def update(
        self,
        state: Sum,
        predictions: ArrayLike,
        targets: ArrayLike,
        where: ArrayLike | None = None,
    ) -> Sum:
        p, t = real_pair("MeanAbsoluteError", predictions, targets)
        return _with(state, fnp.abs(p - t), mask("MeanAbsoluteError", where, p))

    def merge(self, a: Sum, b: Sum) -> Sum:
        return added(a, b)

    def compute(self, state: Sum) -> Array:
        return _mean(state)


class Spread(NamedTuple):
    """Number, mean and sum of squares around it, of targets; sum of squared errors; float64."""

    number: Array
    mean: Array
    squares: Array
    errors: Array


@final
class R2(Metric):
    """1 - sum of squared errors / sum of squares of targets around their mean.

    nan for targets that are all equal. update(state, predictions, targets, where=None).
    Means are moved, as by Chan et al. (1983), so that targets far from 0 lose no accuracy.
    """

    def init(self) -> Spread:
        return Spread(*(fnp.zeros((), "float64") for _ in Spread._fields))

    def update(
        self,
        state: Spread,
        predictions: ArrayLike,
        targets: ArrayLike,
        where: ArrayLike | None = None,
    ) -> Spread:
        p, t = real_pair("R2", predictions, targets)
        counts = mask("R2", where, p)

        def total(x: Array) -> Array:
            return fnp.sum(fnp.where(counts, x, 0.0))

        count = fnp.sum(counts, dtype="float64")
        mean = total(t) / fnp.maximum(count, 1.0)
        batch = Spread(count, mean, total(fnp.square(t - mean)), total(fnp.square(p - t)))
        return self.merge(state, batch)

    def merge(self, a: Spread, b: Spread) -> Spread:
        count = a.number + b.number
        part = b.number / fnp.maximum(count, 1.0)
        apart = b.mean - a.mean
        return Spread(
            count,
            a.mean + apart * part,
            a.squares + b.squares + fnp.square(apart) * a.number * part,
            a.errors + b.errors,
        )

    def compute(self, state: Spread) -> Array:
        nothing = state.squares == 0
        quotient = state.errors / fnp.where(nothing, 1.0, state.squares)
        return result(fnp.where(nothing, math.nan, 1 - quotient))


@final
class Perplexity(Metric):
    """exp of the mean of minus the logarithm of the targets' probabilities; nan for none.

    update(state, logits, targets, where=None): logits (..., classes), of which softmax gives the
    probabilities; targets (...) are indices of classes. Those of `ignore_index` do not count.
    Raises: ShapeError for others.
    """

    ignore_index: int = -100

    def init(self) -> Sum:
        return _empty()

    def update(
        self, state: Sum, logits: ArrayLike, targets: ArrayLike, where: ArrayLike | None = None
    ) -> Sum:
        x = fnp.asarray(logits)
        if x.ndim != fnp.ndim(targets) + 1:
            raise ShapeError(
                "Perplexity: logits must have an axis of classes more than targets, "
                f"got {x.aval} and {fnp.asarray(targets).aval}"
            )
        _, t = classes("Perplexity", x, targets)
        counts = mask("Perplexity", where, t) & (t != self.ignore_index)
        index = fnp.where(counts, t, 0)[..., None]
        logp = scipy.special.log_softmax(x, axis=-1)
        picked = fnp.take_along_axis(logp, index, -1, mode="fill", wrap_negative_indices=False)
        return _with(state, -picked[..., 0].astype("float64"), counts)

    def merge(self, a: Sum, b: Sum) -> Sum:
        return added(a, b)

    def compute(self, state: Sum) -> Array:
        return result(fnp.exp(state.total / state.weight))


class Hits(NamedTuple):
    """How many predictions were right, of how many; int32."""

    right: Array
    number: Array


def _hits(state: Hits, right: Array, counts: Array) -> Hits:
    return Hits(
        state.right + fnp.sum(right & counts, dtype="int32"),
        state.number + fnp.sum(counts, dtype="int32"),
    )


def _no_hits() -> Hits:
    return Hits(fnp.zeros((), "int32"), fnp.zeros((), "int32"))


@final
class Accuracy(Metric):
    """The part of predictions that are right; 0 for none.

    update(state, predictions, targets, where=None): targets (...) are indices of classes;
    predictions too, or scores (..., classes), of which the largest is the prediction.
    """

    def init(self) -> Hits:
        return _no_hits()

    def update(
        self,
        state: Hits,
        predictions: ArrayLike,
        targets: ArrayLike,
        where: ArrayLike | None = None,
    ) -> Hits:
        p, t = classes("Accuracy", predictions, targets)
        return _hits(state, p == t, mask("Accuracy", where, t))

    def merge(self, a: Hits, b: Hits) -> Hits:
        return added(a, b)

    def compute(self, state: Hits) -> Array:
        return ratio(state.right, state.number)


@final
class TopKAccuracy(Metric):
    """The part of targets whose score is among the k largest; 0 for none.

    update(state, scores, targets, where=None): scores (..., classes), targets (...) are indices.
    Of equal scores, that of the smaller index is the larger one, as in `lax.top_k`. A target that
    is no class, or whose score is nan, is not among them. Raises: ShapeError for others.
    """

    k: int = 5

    def init(self) -> Hits:
        return _no_hits()

    def update(
        self, state: Hits, scores: ArrayLike, targets: ArrayLike, where: ArrayLike | None = None
    ) -> Hits:
        x = fnp.asarray(scores)
        if x.ndim != fnp.ndim(targets) + 1:
            raise ShapeError(
                "TopKAccuracy: scores must have an axis of classes more than targets, "
                f"got {x.aval} and {fnp.asarray(targets).aval}"
            )
        _, t = classes("TopKAccuracy", x, targets)
        index = t[..., None]
        own = fnp.take_along_axis(x, fnp.clip(index, 0, x.shape[-1] - 1), -1)
        before = fnp.arange(x.shape[-1], dtype=index.dtype) < index
        rank = fnp.sum((x > own) | ((x == own) & before), -1)
        there = (t >= 0) & (t < x.shape[-1]) & (own == own)[..., 0]
        return _hits(state, (rank < self.k) & there, mask("TopKAccuracy", where, t))

    def merge(self, a: Hits, b: Hits) -> Hits:
        return added(a, b)

    def compute(self, state: Hits) -> Array:
        return ratio(state.right, state.number)

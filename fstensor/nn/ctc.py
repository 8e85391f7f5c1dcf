"""Connectionist temporal classification: labels without times for a sequence of predictions."""

from __future__ import annotations

import math

import numpy as np

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.core.trace import Tracer
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.nn.reduction import Reduction, check_reduction, floats, reduced


@boundary
def ctc_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    *,
    blank: int = 0,
    zero_infinity: bool = False,
    reduction: Reduction = "mean",
) -> Array:
    """Minus the logarithm of the probability of labels, summed over all their alignments.

    An alignment gives each time a label or a blank; without repetitions, and then without blanks,
    it is the target.

    Shapes: log_probs (times, batch, classes), logarithms of probabilities; targets (batch, labels),
        indices of classes other than blank, padded at the end by anything; input_lengths and
        target_lengths (batch,), how many times and labels count. Or all without the batch. Or
        targets without padding, (sum of target_lengths,): those of one after the other. An index
        beyond the last class counts as the last one, for values are not looked at.
    reduction: for the mean each loss is divided by the number of its labels, 1 at least.
    zero_infinity: a target that is impossible, such as one that is too long, has the loss 0 and
        derivatives 0, instead of infinity.
    The derivative is that of this function. PyTorch's is the same after log_softmax, which takes
    the difference away.
    Targets without padding take longer under `jit` when target_lengths is traced: then each of the
    batch may have all of them.
    Raises: ShapeError, DtypeError, OptionError for a blank that is no class.
    Source: A. Graves et al., Connectionist Temporal Classification, 2006, section 4.1.
    """
    check_reduction("ctc_loss", reduction)
    (logp,) = floats("ctc_loss", log_probs)
    labels, times, counts = (fnp.asarray(x) for x in (targets, input_lengths, target_lengths))
    _check(logp, labels, times, counts)
    if not 0 <= blank < logp.shape[-1]:
        raise OptionError(f"ctc_loss: blank must be one of {logp.shape[-1]} classes, got {blank}")
    if labels.ndim == logp.ndim - 2:
        labels = _apart(labels, counts)
    single = logp.ndim == 2
    if single:
        logp, labels = logp[:, None], labels[None]
        times, counts = fnp.reshape(times, (1,)), fnp.reshape(counts, (1,))
    loss = -_log_likelihood(logp, labels, times, counts, blank)
    if zero_infinity:
        loss = fnp.where(loss == math.inf, fnp.zeros((), loss.dtype), loss)
    if reduction == "mean":
        return fnp.mean(loss / fnp.maximum(counts, 1).astype(loss.dtype))
    return reduced("ctc_loss", loss[0] if single else loss, reduction)


def _check(logp: Array, labels: Array, times: Array, counts: Array) -> None:
    for x in (labels, times, counts):
        if not dtypes.is_integer(x.dtype):
            raise DtypeError(f"ctc_loss: targets and lengths must be integers, got {x.aval}")
    batch = logp.shape[1:-1]
    lengths_fit = all(x.shape == batch or (not batch and x.shape == (1,)) for x in (times, counts))
    labels_fit = labels.ndim > 0 and (labels.ndim == 1 or labels.shape[:-1] == batch)
    if logp.ndim not in (2, 3) or not labels_fit or not lengths_fit:
        raise ShapeError(
            "ctc_loss: takes log_probs (times, batch, classes), targets (batch, labels) or "
            f"(all labels,), and lengths (batch,), got {logp.aval}, {labels.aval}, {times.aval} "
            f"and {counts.aval}"
        )
    if not logp.shape[0]:
        raise ShapeError(f"ctc_loss: log_probs must have one time or more, got {logp.aval}")


def _apart(labels: Array, counts: Array) -> Array:
    """Labels of all of a batch, one after the other, as (batch, labels) with any padding.

    Raises: ShapeError where they are not as many as counts say, if these are not traced.
    """
    size = labels.shape[0]
    if not isinstance(counts, Tracer):
        numbers = np.asarray(counts)
        if numbers.sum() != size:
            raise ShapeError(
                f"ctc_loss: targets must have as many labels as target_lengths together, "
                f"{numbers.sum()}, got {labels.aval}"
            )
        size = int(numbers.max(initial=0))
    starts = fnp.cumsum(counts) - counts
    places = starts[:, None] + fnp.arange(size, dtype=starts.dtype)
    return fnp.take(labels, places, mode="clip")


def _log_likelihood(logp: Array, labels: Array, times: Array, counts: Array, blank: int) -> Array:
    """Forward variables over the labels with blanks around them, one time after the other.

    alpha[s] is the logarithm of the probability of all beginnings of alignments that are at s.
    """
    batch, size = labels.shape
    extended = fnp.full((batch, 2 * size + 1), blank, labels.dtype).at[:, 1::2].set(labels)
    # A label may follow another one without a blank between, unless both are the same.
    before = fnp.pad(extended, ((0, 0), (2, 0)), constant_values=blank)[:, :-2]
    may_skip = (extended != blank) & (extended != before)
    # Beyond a target's end there may be any padding: nothing of it reaches the states that count.
    emitted = fnp.take_along_axis(logp, extended[None], -1, mode="clip")
    never = fnp.asarray(-math.inf, logp.dtype)
    starts = fnp.arange(2 * size + 1) < 2
    first = fnp.where(starts, emitted[0], never)

    def advance(alpha: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
        emission, time = at
        one = _shifted(alpha, 1)
        two = fnp.where(may_skip, _shifted(alpha, 2), never)
        moved = _log_sum(fnp.stack([alpha, one, two]), 0) + emission
        return fnp.where((time < times)[:, None], moved, alpha), None

    steps = fnp.arange(1, logp.shape[0], dtype=times.dtype)
    alpha, _ = lax.scan(advance, first, (emitted[1:], steps))
    # Alignments end at the last label or the blank after it; without labels, at the blank.
    place, end = fnp.arange(2 * size + 1, dtype=counts.dtype), 2 * counts[:, None]
    last = fnp.where((place == end) | (place == end - 1), alpha, never)
    total = _log_sum(last, -1)
    return fnp.where(times > 0, total, fnp.where(counts > 0, never, fnp.zeros((), logp.dtype)))


def _shifted(alpha: Array, by: int) -> Array:
    """What comes from `by` states before."""
    padded = fnp.pad(alpha, ((0, 0), (by, 0)), constant_values=-math.inf)
    return padded[:, : alpha.shape[1]]


def _log_sum(x: Array, axis: int) -> Array:
    """log(sum(exp(x))), with derivative 0 where all are minus infinity."""
    top = lax.stop_gradient(fnp.max(x, axis, keepdims=True))
    none = top == -math.inf
    top = fnp.where(none, fnp.zeros((), x.dtype), top)
    total = fnp.sum(fnp.exp(x - top), axis, keepdims=True)
    # The logarithm does not get a 0, of which its derivative is infinite.
    safe = fnp.where(none, fnp.ones((), x.dtype), total)
    result = fnp.where(none, fnp.asarray(-math.inf, x.dtype), fnp.log(safe) + top)
    return fnp.squeeze(result, axis)

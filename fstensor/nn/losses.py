"""Losses: functions of predictions and targets whose mean training makes small.

Formulas, names and defaults are those of torch.nn.functional. `reduction` says what becomes of the
losses of single elements: "mean", "sum", or "none", which leaves them as they are. Operands are
floats; integers and bools are converted, and complex numbers raise DtypeError. They are of one
shape or scalars (ShapeError otherwise), for losses are not broadcast.

Losses with margins are in `fstensor.nn.margins`, connectionist ones in `fstensor.nn.ctc`.
"""

from __future__ import annotations

import math

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, normalize_axis
from fstensor.core.boundary import boundary
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.nn.activations import log_softmax
from fstensor.nn.reduction import (
    Reduction,
    absolute,
    check_reduction,
    clamped,
    floats,
    of_one_shape,
    reduced,
    weights_like,
)
from fstensor.transforms.custom_jvp import custom_jvp

# Distances between numbers


@boundary
def l1_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """|input - target|, whose derivative is 0 where they are equal.

    weight: a factor of each; the mean is then divided by the sum of weights.
    """
    x, y = of_one_shape("l1_loss", input=input, target=target)
    return _weighted("l1_loss", absolute(x - y), weight, reduction)


@boundary
def mse_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """(input - target)^2.

    weight: a factor of each; the mean is then divided by the sum of weights.
    """
    x, y = of_one_shape("mse_loss", input=input, target=target)
    return _weighted("mse_loss", fnp.square(x - y), weight, reduction)


def _weighted(what: str, loss: Array, weight: ArrayLike | None, reduction: str) -> Array:
    if weight is None:
        return reduced(what, loss, reduction)
    w = weights_like(what, weight, loss)
    return reduced(what, loss * w, reduction, fnp.sum(fnp.broadcast_to(w, loss.shape)))


@boundary
def smooth_l1_loss(
    input: ArrayLike, target: ArrayLike, *, beta: float = 1.0, reduction: Reduction = "mean"
) -> Array:
    """d^2 / (2 beta) where the distance d is below beta, else d - beta / 2 (Girshick, 2015).

    Raises: OptionError for a negative beta; with 0 it is `l1_loss`.
    """
    if beta < 0:
        raise OptionError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    x, y = of_one_shape("smooth_l1_loss", input=input, target=target)
    if beta == 0:
        return reduced("smooth_l1_loss", absolute(x - y), reduction)
    return reduced("smooth_l1_loss", _huber(x - y, beta) / beta, reduction)


@boundary
def huber_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    delta: float = 1.0,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """d^2 / 2 where the distance d is up to delta, else delta (d - delta / 2) (Huber, 1964).

    weight: a factor of each; the mean is divided by their number all the same, as in PyTorch.
    Raises: OptionError for a delta that is not positive.
    """
    if delta <= 0:
        raise OptionError(f"huber_loss: delta must be positive, got {delta}")
    x, y = of_one_shape("huber_loss", input=input, target=target)
    loss = _huber(x - y, delta)
    if weight is not None:
        loss = loss * weights_like("huber_loss", weight, loss)
    return reduced("huber_loss", loss, reduction)


def _huber(difference: Array, delta: float) -> Array:
    # The distance up to delta, times what is left of it: no square of a large number is formed.
    distance = absolute(difference)
    near = fnp.where(distance < delta, distance, fnp.asarray(delta, distance.dtype))
    return near * (distance - 0.5 * near)


# Distributions of numbers


@boundary
def poisson_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: Reduction = "mean",
) -> Array:
    """Minus log-likelihood of counts under Poisson distributions, without log(target!).

    log_input: the input is the logarithm of the mean: exp(input) - target input. Otherwise
        input - target log(input + eps).
    full: with Stirling's approximation of log(target!) for targets above 1.
    """
    x, t = of_one_shape("poisson_nll_loss", input=input, target=target)
    loss = fnp.exp(x) - t * x if log_input else x - t * fnp.log(x + eps)
    if full:
        many = fnp.where(t > 1, t, fnp.ones((), t.dtype))
        stirling = many * fnp.log(many) - many + 0.5 * fnp.log(2 * math.pi * many)
        loss = loss + fnp.where(t > 1, stirling, fnp.zeros((), t.dtype))
    return reduced("poisson_nll_loss", loss, reduction)


@boundary
def gaussian_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> Array:
    """Minus log-likelihood under normal distributions, (log var + (input - target)^2 / var) / 2.

    var: the variance: a scalar, or of the input's shape, in which sizes may be 1 or the last one
        lacking. One below eps counts as eps, but has its derivative all the same.
    full: with the constant log(2 pi) / 2. Raises: ShapeError, OptionError for eps not positive.
    Source: D. Nix, A. Weigend, Estimating the mean and variance of the target probability
        distribution, 1994.
    """
    if eps <= 0:
        raise OptionError(f"gaussian_nll_loss: eps must be positive, got {eps}")
    x, t, variance = floats("gaussian_nll_loss", input, target, var)
    x, t = of_one_shape("gaussian_nll_loss", input=x, target=t)
    shape = x.shape or t.shape
    if variance.ndim and variance.ndim == len(shape) - 1:
        variance = fnp.expand_dims(variance, -1)
    pairs = zip(variance.shape, shape, strict=False)
    if variance.ndim not in (0, len(shape)) or any(n not in (1, m) for n, m in pairs):
        raise ShapeError(
            f"gaussian_nll_loss: var must broadcast to the input's shape {shape}, "
            f"got {fnp.asarray(var).aval}"
        )
    raised = eps + (variance - lax.stop_gradient(variance))
    variance = fnp.where(variance < eps, raised, variance)
    loss = 0.5 * (fnp.log(variance) + fnp.square(x - t) / variance)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced("gaussian_nll_loss", loss, reduction)


@boundary
def kl_div(
    input: ArrayLike,
    target: ArrayLike,
    *,
    log_target: bool = False,
    reduction: Reduction | str = "mean",
) -> Array:
    """Terms target (log target - input) of the divergence of the target from exp(input).

    input: logarithms of probabilities. Where the target is 0, so is the term.
    log_target: the target is the logarithm too.
    reduction: also "batchmean", the sum divided by the size of the first axis: the divergence
        itself, where "mean" divides by the number of all elements.
    Raises: OptionError; ShapeError for "batchmean" of scalars.
    """
    check_reduction("kl_div", reduction, "batchmean")
    x, t = of_one_shape("kl_div", input=input, target=target)
    if log_target:
        loss = fnp.exp(t) * (t - x)
    else:
        loss = t * fnp.log(fnp.where(t == 0, fnp.ones((), t.dtype), t)) - t * x
    if reduction == "batchmean":
        if not loss.ndim:
            raise ShapeError(f"kl_div: batchmean needs an axis of the batch, got {loss.aval}")
        return reduced("kl_div", loss, "mean", loss.shape[0])
    return reduced("kl_div", loss, reduction)


# Classes


@boundary
def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    axis: int = -1,
    reduction: Reduction = "mean",
) -> Array:
    """Minus the logarithm of the target's probability under softmax(input).

    Shapes: input has the classes along `axis`; target is of the shape without that axis, integers,
        the indices of classes, or of the same shape, floats, the probabilities of all classes.
        The losses have the shape without that axis.
    weight: one factor for each class. The mean over indices is divided by the sum of the targets'
        weights, over probabilities by the number of targets.
    ignore_index: targets of this index do not count, neither in sums nor in means. Other indices
        without class give nan.
    label_smoothing: this part of the target is spread evenly over all classes (Szegedy et al.,
        2016, section 7).
    Raises: ShapeError, OptionError for smoothing outside [0, 1], AxisError.
    """
    if not 0 <= label_smoothing <= 1:
        raise OptionError(
            f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}"
        )
    check_reduction("cross_entropy", reduction)
    (x,) = floats("cross_entropy", input)
    t = fnp.asarray(target)
    at = normalize_axis(axis, x.ndim, "cross_entropy")
    logp = log_softmax(x, axis=at)
    if not dtypes.is_inexact(t.dtype):
        return _of_indices(
            "cross_entropy", logp, t, weight, ignore_index, at, reduction, label_smoothing
        )
    if t.shape != x.shape:
        raise ShapeError(
            "cross_entropy: targets must be integers, or floats of the input's shape, "
            f"got {x.aval} and {t.aval}"
        )
    t = t.astype(x.dtype)
    if label_smoothing:
        t = t * (1 - label_smoothing) + label_smoothing / x.shape[at]
    if weight is not None:
        w = weights_like("cross_entropy", weight, x, at)
        t = t * fnp.expand_dims(w, range(1, x.ndim - at))
    # A class of probability 0 on both sides adds nothing: not 0 times infinity.
    terms = fnp.where(t == 0, fnp.zeros((), t.dtype), t * logp)
    return reduced("cross_entropy", -fnp.sum(terms, at), reduction)


@boundary
def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    axis: int = -1,
    reduction: Reduction = "mean",
) -> Array:
    """Minus the input at the target's class, for inputs that are logarithms of probabilities.

    Shapes, weight and ignore_index: as in `cross_entropy`, for indices of classes.
    Raises: ShapeError, DtypeError for targets that are no integers.
    """
    check_reduction("nll_loss", reduction)
    (x,) = floats("nll_loss", input)
    at = normalize_axis(axis, x.ndim, "nll_loss")
    t = fnp.asarray(target)
    return _of_indices("nll_loss", x, t, weight, ignore_index, at, reduction)


def _of_indices(
    what: str,
    logp: Array,
    target: Array,
    weight: ArrayLike | None,
    ignore_index: int,
    axis: int,
    reduction: str,
    smoothing: float = 0.0,
) -> Array:
    """The loss of targets that are indices of classes, from logarithms of probabilities."""
    if not dtypes.is_integer(target.dtype):
        raise DtypeError(f"{what}: indices of classes must be integers, got {target.aval}")
    if target.shape != logp.shape[:axis] + logp.shape[axis + 1 :]:
        raise ShapeError(
            f"{what}: target must have the shape of input without axis {axis}, "
            f"got {logp.aval} and {target.aval}"
        )
    zero = fnp.zeros((), logp.dtype)
    counts = target != ignore_index
    index = fnp.where(counts, target, fnp.zeros((), target.dtype))
    # Negative indices are no classes: they do not count from the end.
    picked = fnp.take_along_axis(
        logp, fnp.expand_dims(index, axis), axis, mode="fill", wrap_negative_indices=False
    )
    loss = -fnp.squeeze(picked, axis)
    if weight is None:
        total = fnp.sum(counts, dtype=logp.dtype)
        spread = -fnp.mean(logp, axis) if smoothing else zero
    else:
        w = weights_like(what, weight, logp, axis)
        of_target = fnp.take(w, index, mode="fill")
        total = fnp.sum(fnp.where(counts, of_target, zero))
        loss = loss * of_target
        along = fnp.expand_dims(w, range(1, logp.ndim - axis))
        spread = -fnp.mean(logp * along, axis) if smoothing else zero
    if smoothing:
        loss = (1 - smoothing) * loss + smoothing * spread
    return reduced(what, fnp.where(counts, loss, zero), reduction, total)


# Two classes


@boundary
def binary_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """-(target log input + (1 - target) log(1 - input)), for probabilities.

    Logarithms are at least -100, and the derivative in the input is (input - target) over
    input (1 - input), which is at least 1e-12: both stay finite for probabilities 0 and 1.
    weight: a factor of each; the mean is divided by their number all the same.
    """
    x, t = of_one_shape("binary_cross_entropy", input=input, target=target)
    loss = _entropy(x, t)
    if weight is not None:
        loss = loss * weights_like("binary_cross_entropy", weight, loss)
    return reduced("binary_cross_entropy", loss, reduction)


@custom_jvp
def _entropy(x: Array, t: Array) -> Array:
    return (t - 1) * clamped(fnp.log1p(-x), -100.0) - t * clamped(fnp.log(x), -100.0)


@_entropy.defjvp
def _entropy_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, ...]:
    (x, t), (dx, dt) = primals, tangents
    of_x = (x - t) / clamped(x * (1 - x), 1e-12)
    of_t = clamped(fnp.log1p(-x), -100.0) - clamped(fnp.log(x), -100.0)
    return _entropy(x, t), of_x * dx + of_t * dt


@boundary
def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """`binary_cross_entropy` of sigmoid(input), accurate for inputs of any size.

    pos_weight: a factor of the loss of positive targets, which broadcasts with them.
    weight: a factor of each; the mean is divided by their number all the same.
    """
    what = "binary_cross_entropy_with_logits"
    x, t = of_one_shape(what, input=input, target=target)
    if_true, if_false = _minus_logs(x)
    if pos_weight is not None:
        if_true = if_true * weights_like(what, pos_weight, if_true + t)
    loss = t * if_true + (1 - t) * if_false
    if weight is not None:
        loss = loss * weights_like(what, weight, loss)
    return reduced(what, loss, reduction)


def _minus_logs(x: Array) -> tuple[Array, Array]:
    """-log(sigmoid(x)) and -log(1 - sigmoid(x)), with one exponential for both."""
    positive = x >= 0
    zero = fnp.zeros((), x.dtype)
    rest = fnp.log1p(fnp.exp(fnp.where(positive, -x, x)))
    return fnp.where(positive, zero, -x) + rest, fnp.where(positive, x, zero) + rest


@boundary
def focal_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Array:
    """-alpha_t (1 - p_t)^gamma log p_t, which looks away from what is known well already.

    input: logits of two classes. target: 0 or 1, or between. p_t is the probability of the target;
    alpha_t is alpha for targets 1 and 1 - alpha for 0, or 1 when alpha is None.
    Raises: OptionError for a negative gamma, or an alpha outside [0, 1].
    Source: T.-Y. Lin et al., Focal Loss for Dense Object Detection, 2017, eq. 5; with targets
        between, and defaults, as in torchvision, but for the mean.
    """
    if gamma < 0:
        raise OptionError(f"focal_loss: gamma must not be negative, got {gamma}")
    if alpha is not None and not 0 <= alpha <= 1:
        raise OptionError(f"focal_loss: alpha must be between 0 and 1, got {alpha}")
    x, t = of_one_shape("focal_loss", input=input, target=target)
    if_true, if_false = _minus_logs(x)
    loss = t * if_true + (1 - t) * if_false
    if gamma:
        missed = lax.logistic(-x) * t + lax.logistic(x) * (1 - t)  # 1 - p_t, without cancellation
        if gamma >= 1:
            loss = loss * missed**gamma
        else:  # the derivative of the power is infinite at 0
            none = missed == 0
            power = fnp.where(none, fnp.ones((), x.dtype), missed) ** gamma
            loss = fnp.where(none, fnp.zeros((), x.dtype), loss * power)
    if alpha is not None:
        loss = loss * (alpha * t + (1 - alpha) * (1 - t))
    return reduced("focal_loss", loss, reduction)

"""Losses with margins: a prediction that is right by the margin or more costs nothing.

Formulas, names and defaults are those of torch.nn.functional, as in `fstensor.nn.losses`: so are
`reduction` and what is raised.
"""

from __future__ import annotations

from collections.abc import Callable

from fstensor import dtypes
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.nn.activations import log_sigmoid, relu, softplus
from fstensor.nn.distances import pairwise_distance
from fstensor.nn.reduction import Reduction, clamped, floats, of_one_shape, reduced, weights_like


@boundary
def hinge_loss(
    input: ArrayLike, target: ArrayLike, *, margin: float = 1.0, reduction: Reduction = "mean"
) -> Array:
    """max(0, margin - target input), for targets 1 and -1 (Cortes, Vapnik, 1995)."""
    x, y = of_one_shape("hinge_loss", input=input, target=target)
    return reduced("hinge_loss", clamped(margin - y * x), reduction)


@boundary
def soft_margin_loss(
    input: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Array:
    """log(1 + exp(-target input)), for targets 1 and -1."""
    x, y = of_one_shape("soft_margin_loss", input=input, target=target)
    return reduced("soft_margin_loss", softplus(-y * x), reduction)


@boundary
def margin_ranking_loss(
    input1: ArrayLike,
    input2: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.0,
    reduction: Reduction = "mean",
) -> Array:
    """max(0, margin - target (input1 - input2)); the target is 1 where input1 should be larger.

    Otherwise it is -1.
    """
    a, b, y = of_one_shape("margin_ranking_loss", input1=input1, input2=input2, target=target)
    return reduced("margin_ranking_loss", clamped(margin - y * (a - b)), reduction)


@boundary
def hinge_embedding_loss(
    input: ArrayLike, target: ArrayLike, *, margin: float = 1.0, reduction: Reduction = "mean"
) -> Array:
    """A distance, the input, where the target is 1; max(0, margin - input) where it is -1."""
    x, y = of_one_shape("hinge_embedding_loss", input=input, target=target)
    zero = fnp.zeros((), x.dtype)
    apart = fnp.where(y == 1, zero, clamped(margin - x))
    together = fnp.where(y == -1, zero, x)
    return reduced("hinge_embedding_loss", apart + together, reduction)


@boundary
def cosine_embedding_loss(
    input1: ArrayLike,
    input2: ArrayLike,
    target: ArrayLike,
    *,
    margin: float = 0.0,
    reduction: Reduction = "mean",
) -> Array:
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1.

    cos is the cosine of the angle between the vectors along the last axis.
    Shapes: inputs (..., n), target (...), losses (...). Raises: ShapeError.
    """
    what = "cosine_embedding_loss"
    a, b, y = floats(what, input1, input2, target)
    a, b = of_one_shape(what, input1=a, input2=b)
    if not a.ndim or a.ndim != b.ndim or y.shape != a.shape[:-1]:
        raise ShapeError(
            f"{what}: takes vectors (..., n) and targets (...), got {a.aval}, {b.aval} and {y.aval}"
        )
    tiny = 1e-12  # in squares of lengths, as in PyTorch
    product = fnp.sum(a * b, -1)
    squares = (fnp.sum(a * a, -1) + tiny) * (fnp.sum(b * b, -1) + tiny)
    cosine = product / fnp.sqrt(squares)
    zero = fnp.zeros((), a.dtype)
    together = fnp.where(y == 1, 1 - cosine, zero)
    apart = fnp.where(y == -1, clamped(cosine - margin), zero)
    return reduced(what, together + apart, reduction)


# Many classes


def _indices(what: str, target: ArrayLike) -> Array:
    t = fnp.asarray(target)
    if not dtypes.is_integer(t.dtype):
        raise DtypeError(f"{what}: indices of classes must be integers, got {t.aval}")
    return t


@boundary
def multi_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    p: int = 1,
    margin: float = 1.0,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """The mean over classes i of max(0, margin - input[target] + input[i])^p, without the target.

    Shapes: input (..., classes), target (...), losses (...). weight: one factor for each class.
    The mean is over all classes: their number, with the target's, is divided by.
    Raises: ShapeError, OptionError for a p other than 1 and 2.
    """
    what = "multi_margin_loss"
    if p not in (1, 2):
        raise OptionError(f"{what}: p must be 1 or 2, got {p}")
    (x,) = floats(what, input)
    t = _indices(what, target)
    if not x.ndim or t.shape != x.shape[:-1]:
        raise ShapeError(
            f"{what}: takes (..., classes) and targets (...), got {x.aval} and {t.aval}"
        )
    index = t[..., None]
    own = fnp.take_along_axis(x, index, -1, mode="fill", wrap_negative_indices=False)
    excess = relu(margin - own + x)
    loss = excess if p == 1 else fnp.square(excess)
    if weight is not None:
        w = weights_like(what, weight, x, x.ndim - 1)
        loss = loss * fnp.take(w, index, mode="fill")
    others = fnp.arange(x.shape[-1], dtype=t.dtype) != index
    loss = fnp.where(others, loss, fnp.zeros((), x.dtype))
    return reduced(what, fnp.mean(loss, -1), reduction)


@boundary
def multilabel_margin_loss(
    input: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Array:
    """The sum of max(0, 1 - input[j] + input[i]) over targets j and others i, over the classes.

    Shapes: input (..., classes), target the same: indices of classes, of which those before the
    first negative one count. Losses (...). Raises: ShapeError.
    """
    what = "multilabel_margin_loss"
    (x,) = floats(what, input)
    t = _indices(what, target)
    if not x.ndim or t.shape != x.shape:
        raise ShapeError(f"{what}: takes two of shape (..., classes), got {x.aval} and {t.aval}")
    counts = fnp.cumprod((t >= 0).astype(t.dtype), -1) > 0
    index = fnp.where(counts, t, fnp.zeros((), t.dtype))
    own = fnp.take_along_axis(x, index, -1, mode="fill", wrap_negative_indices=False)
    classes = fnp.arange(x.shape[-1], dtype=t.dtype)
    chosen = fnp.any((index[..., None] == classes) & counts[..., None], -2)
    excess = relu(1 - own[..., :, None] + x[..., None, :])
    pairs = counts[..., :, None] & ~chosen[..., None, :]
    loss = fnp.sum(fnp.where(pairs, excess, fnp.zeros((), x.dtype)), (-2, -1)) / x.shape[-1]
    return reduced(what, loss, reduction)


@boundary
def multilabel_soft_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """The mean over classes of -(target log s(input) + (1 - target) log s(-input)), s the sigmoid.

    Shapes: input and target (..., classes), losses (...). weight: factors that broadcast with them.
    Raises: ShapeError for others, or without an axis of classes.
    """
    what = "multilabel_soft_margin_loss"
    x, t = of_one_shape(what, input=input, target=target)
    loss = -(t * log_sigmoid(x) + (1 - t) * log_sigmoid(-x))
    if not loss.ndim:
        raise ShapeError(f"{what}: takes two of shape (..., classes), got {x.aval} and {t.aval}")
    if weight is not None:
        loss = loss * weights_like(what, weight, loss)
    return reduced(what, fnp.mean(loss, -1), reduction)


# Triplets


@boundary
def triplet_margin_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Array:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), d the `pairwise_distance`.

    Shapes: (..., n) -> (...). p, eps: of the distance. swap: the smaller one of
    d(anchor, negative) and d(positive, negative) counts instead (V. Balntas et al., 2016).
    Raises: ShapeError, OptionError for a margin or a p that is not positive.
    """

    def distance(x: Array, y: Array) -> Array:
        return pairwise_distance(x, y, p, eps)

    return _triplets(
        "triplet_margin_loss", distance, anchor, positive, negative, margin, swap, reduction
    )


@boundary
def triplet_margin_with_distance_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    distance_function: Callable[[Array, Array], Array] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Array:
    """`triplet_margin_loss` for a distance of one's own.

    distance_function: of two arrays (..., n), which gives (...); `pairwise_distance` for None.
    swap: as there. Raises: ShapeError, OptionError for a margin that is not positive.
    """
    return _triplets(
        "triplet_margin_with_distance_loss",
        pairwise_distance if distance_function is None else distance_function,
        anchor,
        positive,
        negative,
        margin,
        swap,
        reduction,
    )


def _triplets(
    what: str,
    distance: Callable[[Array, Array], Array],
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    margin: float,
    swap: bool,
    reduction: str,
) -> Array:
    if margin <= 0:
        raise OptionError(f"{what}: margin must be positive, got {margin}")
    a, b, c = of_one_shape(what, anchor=anchor, positive=positive, negative=negative)
    to_positive, to_negative = distance(a, b), distance(a, c)
    if swap:
        to_negative = fnp.minimum(to_negative, distance(b, c))
    return reduced(what, clamped(margin + to_positive - to_negative), reduction)

"""Optimizers with a rate for each element: Adagrad, RMSprop, and the family of Adam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fstensor import numpy as fnp
from fstensor import tree
from fstensor.array import Array
from fstensor.optim.base import (
    GradientTransformation,
    Hyperparam,
    Params,
    Rule,
    hyperparam_dtype,
    transformation,
)
from fstensor.optim.descent import (
    Mask,
    descent,
    is_zero,
    real_zeros_like,
    running_mean,
    squared,
    unless_zero,
)


class Moments(NamedTuple):
    """Running means of the gradients, and of their squares. largest: of these, with amsgrad."""

    mean: Any
    square: Any
    largest: Any = ()


def adam(
    learning_rate: Hyperparam = 1e-3,
    b1: Hyperparam = 0.9,
    b2: Hyperparam = 0.999,
    eps: Hyperparam = 1e-8,
    weight_decay: Hyperparam = 0.0,
    amsgrad: bool = False,
) -> GradientTransformation:
    """Adam (Kingma and Ba, 2015, algorithm 1), with PyTorch's coupled weight decay.

    g = grad + weight_decay * p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; the update is
    -learning_rate * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
    amsgrad: divide by the largest v so far (Reddi et al., 2018).
    """
    return descent(
        "adam",
        _adam_direction(amsgrad),
        lambda params: first_moments("adam", params, amsgrad),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        b1=b1,
        b2=b2,
        eps=eps,
    )


def adamw(
    learning_rate: Hyperparam = 1e-3,
    b1: Hyperparam = 0.9,
    b2: Hyperparam = 0.999,
    eps: Hyperparam = 1e-8,
    weight_decay: Hyperparam = 1e-2,
    amsgrad: bool = False,
    mask: Mask = None,
) -> GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as PyTorch has it.

    The update is that of `adam` without decay, and -learning_rate * weight_decay * p.
    mask: the leaves that decay: a tree of booleans, a prefix of one, or a function of params.
    """
    return descent(
        "adamw",
        _adam_direction(amsgrad),
        lambda params: first_moments("adamw", params, amsgrad),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        decoupled=True,
        mask=mask,
        b1=b1,
        b2=b2,
        eps=eps,
    )


def scale_by_adam(
    b1: Hyperparam = 0.9,
    b2: Hyperparam = 0.999,
    eps: Hyperparam = 1e-8,
    eps_root: Hyperparam = 0.0,
    amsgrad: bool = False,
) -> GradientTransformation:
    """The direction of `adam`, without decay and learning rate. eps_root: added under the root."""
    return transformation(
        _adam_direction(amsgrad),
        lambda params: first_moments("scale_by_adam", params, amsgrad),
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
    )


def _adam_direction(amsgrad: bool) -> Rule:
    def direction(
        grads: Params, slots: Moments, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Moments]:
        slots = moments(slots, grads, hyper["b1"], hyper["b2"])
        if amsgrad:
            slots = slots._replace(largest=tree.map(fnp.maximum, slots.largest, slots.square))
        return corrected(slots, step, **hyper), slots

    return direction


def first_moments(name: str, params: Params, amsgrad: bool = False) -> Moments:
    """Moments of zeros. Raises: DtypeError for complex parameters, in the name of an optimizer."""
    mean, square = real_zeros_like(name, params), real_zeros_like(name, params)
    return Moments(mean, square, real_zeros_like(name, params) if amsgrad else ())


def moments(slots: Moments, grads: Params, b1: Array, b2: Array) -> Moments:
    """The running means with one more gradient, in the dtypes that they have."""
    mean = running_mean(b1, slots.mean, grads)
    return slots._replace(mean=mean, square=running_mean(b2, slots.square, squared(grads)))


def corrected(
    slots: Moments,
    step: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    eps_root: Array | None = None,
    **others: Array,
) -> Params:
    """The mean over the root of the square, both without the bias of their first value, 0."""
    of_mean, of_square = 1 / (1 - b1**step), 1 / fnp.sqrt(1 - b2**step)

    def direction(m: Array, v: Array) -> Array:
        if eps_root is None:
            return (m * of_mean) / (fnp.sqrt(v) * of_square + eps)
        return (m * of_mean) / (fnp.sqrt(v * (of_square * of_square) + eps_root) + eps)

    return tree.map(direction, slots.mean, slots.square if slots.largest == () else slots.largest)


def adamax(
    learning_rate: Hyperparam = 2e-3,
    b1: Hyperparam = 0.9,
    b2: Hyperparam = 0.999,
    eps: Hyperparam = 1e-8,
    weight_decay: Hyperparam = 0.0,
) -> GradientTransformation:
    """Adam with the maximum norm (Kingma and Ba, 2015, algorithm 2), as PyTorch has it.

    m as in `adam`; u = max(b2 u, |g| + eps); the direction is m / (1 - b1^t) / u.
    """

    def direction(
        grads: Params, slots: Moments, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Moments]:
        b1, b2, eps = hyper["b1"], hyper["b2"], hyper["eps"]
        mean = running_mean(b1, slots.mean, grads)
        largest = tree.map(
            lambda u, g: fnp.maximum(b2 * u, fnp.abs(g) + eps).astype(u.dtype), slots.square, grads
        )
        of_mean = 1 / (1 - b1**step)
        return tree.map(lambda m, u: m * of_mean / u, mean, largest), Moments(mean, largest)

    return descent(
        "adamax",
        direction,
        lambda params: first_moments("adamax", params),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        b1=b1,
        b2=b2,
        eps=eps,
    )


class NadamSlots(NamedTuple):
    """Of nadam. product: of all the momentums so far."""

    moments: Moments
    product: Array


def nadam(
    learning_rate: Hyperparam = 2e-3,
    b1: Hyperparam = 0.9,
    b2: Hyperparam = 0.999,
    eps: Hyperparam = 1e-8,
    weight_decay: Hyperparam = 0.0,
    momentum_decay: Hyperparam = 4e-3,
    decoupled_weight_decay: bool = False,
) -> GradientTransformation:
    """Adam with Nesterov momentum (Dozat, 2016), as PyTorch has it.

    m, v as in `adam`; mu_t = b1 (1 - 0.96^(t momentum_decay) / 2), M_t = mu_1 ... mu_t; the
    direction is ((1 - mu_t) g / (1 - M_t) + mu_{t+1} m / (1 - M_{t+1})) / (sqrt(v / (1 - b2^t)) +
    eps).
    """

    def slots(params: Params) -> NadamSlots:
        product = fnp.ones((), hyperparam_dtype(params))
        return NadamSlots(first_moments("nadam", params), product)

    return descent(
        "nadam",
        _of_nadam,
        slots,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        decoupled=decoupled_weight_decay,
        b1=b1,
        b2=b2,
        eps=eps,
        momentum_decay=momentum_decay,
    )


def _of_nadam(
    grads: Params, slots: NadamSlots, params: Params, *, hyper: Mapping[str, Array], step: Array
) -> tuple[Params, NadamSlots]:
    b1, b2, eps = hyper["b1"], hyper["b2"], hyper["eps"]
    mu, ahead = (b1 * (1 - 0.5 * 0.96 ** (t * hyper["momentum_decay"])) for t in (step, step + 1))
    product = slots.product * mu
    after = moments(slots.moments, grads, b1, b2)
    of_grad, of_mean = (1 - mu) / (1 - product), ahead / (1 - product * ahead)
    of_square = 1 / (1 - b2**step)
    direction = tree.map(
        lambda g, m, v: (of_grad * g + of_mean * m) / (fnp.sqrt(v * of_square) + eps),
        grads,
        after.mean,
        after.square,
    )
    return direction, NadamSlots(after, product)


def radam(
    learning_rate: Hyperparam = 1e-3,
    b1: Hyperparam = 0.9,
    b2: Hyperparam = 0.999,
    eps: Hyperparam = 1e-8,
    weight_decay: Hyperparam = 0.0,
    decoupled_weight_decay: bool = False,
) -> GradientTransformation:
    """Rectified Adam (Liu et al., 2020, algorithm 2), as PyTorch has it.

    With n = 2 / (1 - b2) - 1 and n_t = n - 2 t b2^t / (1 - b2^t), the direction is m / (1 - b1^t),
    and where n_t > 5 times r sqrt(1 - b2^t) / (sqrt(v) + eps), where
    r^2 = (n_t - 4) (n_t - 2) n / ((n - 4) (n - 2) n_t).
    """
    return descent(
        "radam",
        _of_radam,
        lambda params: first_moments("radam", params),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        decoupled=decoupled_weight_decay,
        b1=b1,
        b2=b2,
        eps=eps,
    )


def _of_radam(
    grads: Params, slots: Moments, params: Params, *, hyper: Mapping[str, Array], step: Array
) -> tuple[Params, Moments]:
    b1, b2, eps = hyper["b1"], hyper["b2"], hyper["eps"]
    slots = moments(slots, grads, b1, b2)
    rest = 1 - b2**step
    limit = 2 / (1 - b2) - 1
    length = limit - 2 * step * (1 - rest) / rest
    known = length > 5
    sure = fnp.where(known, length, 6)
    ratio = (sure - 4) * (sure - 2) * limit / ((limit - 4) * (limit - 2) * sure)
    rectified = fnp.sqrt(fnp.where(known, ratio, 1) * rest)
    of_mean = 1 / (1 - b1**step)
    direction = tree.map(
        lambda m, v: m * of_mean * fnp.where(known, rectified / (fnp.sqrt(v) + eps), 1),
        slots.mean,
        slots.square,
    )
    return direction, slots


def adagrad(
    learning_rate: Hyperparam = 1e-2,
    lr_decay: Hyperparam = 0.0,
    weight_decay: Hyperparam = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: Hyperparam = 1e-10,
) -> GradientTransformation:
    """Adagrad (Duchi et al., 2011), as PyTorch has it.

    s = s + g^2, at first initial_accumulator_value; the direction is
    g / (sqrt(s) + eps) / (1 + (t - 1) lr_decay).
    """

    def slots(params: Params) -> Params:
        zeros = real_zeros_like("adagrad", params)
        return tree.map(lambda z: fnp.full_like(z, initial_accumulator_value), zeros)

    def direction(
        grads: Params, slots: Params, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Params]:
        sums = tree.map(lambda s, g: (s + g * g).astype(s.dtype), slots, grads)
        share = 1 / (1 + (step - 1) * hyper["lr_decay"])
        eps = hyper["eps"]
        return tree.map(lambda g, s: share * g / (fnp.sqrt(s) + eps), grads, sums), sums

    return descent(
        "adagrad",
        direction,
        slots,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        lr_decay=lr_decay,
        eps=eps,
    )


class AdadeltaSlots(NamedTuple):
    """Running means of the squares of gradients, and of directions."""

    square: Any
    moved: Any


def adadelta(
    learning_rate: Hyperparam = 1.0,
    rho: Hyperparam = 0.9,
    eps: Hyperparam = 1e-6,
    weight_decay: Hyperparam = 0.0,
) -> GradientTransformation:
    """Adadelta (Zeiler, 2012, algorithm 1), as PyTorch has it.

    s = rho s + (1 - rho) g^2; the direction is d = g sqrt(u + eps) / sqrt(s + eps);
    u = rho u + (1 - rho) d^2.
    """

    def slots(params: Params) -> AdadeltaSlots:
        zeros = [real_zeros_like("adadelta", params) for _ in range(2)]
        return AdadeltaSlots(*zeros)

    def direction(
        grads: Params,
        slots: AdadeltaSlots,
        params: Params,
        *,
        hyper: Mapping[str, Array],
        step: Array,
    ) -> tuple[Params, AdadeltaSlots]:
        rho, eps = hyper["rho"], hyper["eps"]
        square = running_mean(rho, slots.square, squared(grads))
        moved = tree.map(
            lambda g, s, u: g * fnp.sqrt(u + eps) / fnp.sqrt(s + eps), grads, square, slots.moved
        )
        return moved, AdadeltaSlots(square, running_mean(rho, slots.moved, squared(moved)))

    return descent(
        "adadelta",
        direction,
        slots,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        rho=rho,
        eps=eps,
    )


class RmsSlots(NamedTuple):
    """Of rmsprop: running means of squares, of gradients where centered, and the velocity."""

    square: Any
    mean: Any
    velocity: Any


def rmsprop(
    learning_rate: Hyperparam = 1e-2,
    decay: Hyperparam = 0.99,
    eps: Hyperparam = 1e-8,
    centered: bool = False,
    momentum: Hyperparam = 0.0,
    weight_decay: Hyperparam = 0.0,
) -> GradientTransformation:
    """RMSprop (Tieleman and Hinton, 2012), as PyTorch has it, where decay is named alpha.

    s = decay s + (1 - decay) g^2; d = g / (sqrt(s) + eps), or `centered` with s minus the square of
    the running mean of g (Graves, 2013); the direction is d, or v = momentum v + d.
    """
    return descent(
        "rmsprop",
        _rms_direction(centered, not is_zero(momentum)),
        lambda params: _rms_slots("rmsprop", params, centered, not is_zero(momentum)),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        decay=decay,
        eps=eps,
        **unless_zero(momentum=momentum),
    )


def scale_by_rms(
    decay: Hyperparam = 0.9, eps: Hyperparam = 1e-8, centered: bool = False
) -> GradientTransformation:
    """The direction of `rmsprop`, without momentum, decay of weights and learning rate."""
    return transformation(
        _rms_direction(centered, False),
        lambda params: _rms_slots("scale_by_rms", params, centered, False),
        decay=decay,
        eps=eps,
    )


def _rms_slots(name: str, params: Params, centered: bool, moving: bool) -> RmsSlots:
    zeros = [real_zeros_like(name, params) if there else () for there in (True, centered, moving)]
    return RmsSlots(*zeros)


def _rms_direction(centered: bool, moving: bool) -> Rule:
    def direction(
        grads: Params, slots: RmsSlots, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, RmsSlots]:
        decay, eps = hyper["decay"], hyper["eps"]
        square, mean = running_mean(decay, slots.square, squared(grads)), slots.mean
        spread = square
        if centered:
            mean = running_mean(decay, mean, grads)
            spread = tree.map(lambda s, m: fnp.maximum(s - m * m, 0), square, mean)
        direct = tree.map(lambda g, s: g / (fnp.sqrt(s) + eps), grads, spread)
        if not moving:
            return direct, RmsSlots(square, mean, ())
        momentum = hyper["momentum"]
        velocity = tree.map(lambda v, d: (momentum * v + d).astype(v.dtype), slots.velocity, direct)
        return velocity, RmsSlots(square, mean, velocity)

    return direction

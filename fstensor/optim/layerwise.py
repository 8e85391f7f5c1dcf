"""Optimizers with a rate for each leaf, for large batches: LARS and LAMB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fstensor import numpy as fnp
from fstensor import tree
from fstensor.array import Array
from fstensor.optim.adaptive import Moments, corrected, first_moments, moments
from fstensor.optim.base import (
    GradientTransformation,
    Hyperparam,
    Params,
    transformation,
    zeros_like,
)
from fstensor.optim.descent import Mask, flags, is_zero, norm, plus_decay, scaled, unless_zero
from fstensor.optim.first_order import traced


def lars(
    learning_rate: Hyperparam,
    weight_decay: Hyperparam = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: Hyperparam = 0.001,
    eps: Hyperparam = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: Hyperparam = 0.9,
    nesterov: bool = False,
) -> GradientTransformation:
    """Layer-wise rates for momentum (You et al., 2017), as Optax has it.

    g = grad + weight_decay * p; r = trust_coefficient |p| / (|g| + eps), or 1 where a norm is 0;
    v = momentum * v - learning_rate * r * g, which is the update; with `nesterov` momentum * v is
    added once more. The masks say which leaves decay, and which are scaled by r.
    """

    def rule(
        grads: Params, slots: Params, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Params]:
        if not is_zero(weight_decay):
            grads = plus_decay(grads, params, hyper["weight_decay"], weight_decay_mask)
        steps = scaled(
            -hyper["learning_rate"],
            tree.map(
                lambda yes, g, p: g * trust(p, g, hyper) if yes else g,
                flags(trust_ratio_mask, params),
                grads,
                params,
            ),
        )
        return traced(steps, slots, hyper["momentum"], fnp.ones_like(step), nesterov)

    return transformation(
        rule,
        zeros_like,
        needs_params="lars",
        learning_rate=learning_rate,
        **unless_zero(weight_decay=weight_decay),
        trust_coefficient=trust_coefficient,
        eps=eps,
        momentum=momentum,
    )


def lamb(
    learning_rate: Hyperparam,
    b1: Hyperparam = 0.9,
    b2: Hyperparam = 0.999,
    eps: Hyperparam = 1e-6,
    eps_root: Hyperparam = 0.0,
    weight_decay: Hyperparam = 0.0,
    mask: Mask = None,
) -> GradientTransformation:
    """Layer-wise rates for Adam (You et al., 2020, algorithm 2), as Optax has it.

    With d the direction of `adam`, plus weight_decay * p, the direction is d |p| / |d|, or d where
    a norm is 0. eps_root is added under the root; mask: the leaves that decay.
    """

    def rule(
        grads: Params, slots: Moments, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Moments]:
        slots = moments(slots, grads, hyper["b1"], hyper["b2"])
        direct = corrected(slots, step, **hyper)
        if not is_zero(weight_decay):
            direct = plus_decay(direct, params, hyper["weight_decay"], mask)
        rate = hyper["learning_rate"]
        return tree.map(lambda d, p: -rate * trust(p, d, {}) * d, direct, params), slots

    return transformation(
        rule,
        lambda params: first_moments("lamb", params),
        needs_params="lamb",
        learning_rate=learning_rate,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        **unless_zero(weight_decay=weight_decay),
    )


def scale_by_trust_ratio(
    trust_coefficient: Hyperparam = 1.0, eps: Hyperparam = 0.0
) -> GradientTransformation:
    """Scale each leaf by trust_coefficient |p| / (|update| + eps), or 1 where a norm is 0."""

    def rule(
        grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]:
        return tree.map(lambda g, p: g * trust(p, g, hyper), grads, params), slots

    return transformation(
        rule,
        needs_params="scale_by_trust_ratio",
        trust_coefficient=trust_coefficient,
        eps=eps,
    )


def trust(param: Array, direction: Array, hyper: Mapping[str, Array]) -> Array:
    """How far a leaf may go along a direction, relative to its length."""
    size, length = norm(param), norm(direction)
    ratio = hyper.get("trust_coefficient", 1) * size / (length + hyper.get("eps", 0))
    return fnp.where((size == 0) | (length == 0), 1, ratio)

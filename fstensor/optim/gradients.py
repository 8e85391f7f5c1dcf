"""Transformations to chain: they scale gradients, average them, add to them, or drop them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fstensor import numpy as fnp
from fstensor import random, tree
from fstensor.array import Array
from fstensor.optim.base import (
    GradientTransformation,
    Hyperparam,
    Params,
    Schedule,
    transformation,
    zeros_like,
)
from fstensor.optim.descent import Mask, plus_decay, running_mean, scaled


def identity() -> GradientTransformation:
    """Updates are the gradients."""
    return transformation(_unchanged)


def _unchanged(
    grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
) -> tuple[Params, Any]:
    return grads, slots


def set_to_zero() -> GradientTransformation:
    """Updates are zero: these parameters stay."""

    def rule(
        grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]:
        return zeros_like(grads), slots

    return transformation(rule)


def scale(step_size: Hyperparam) -> GradientTransformation:
    """Multiply by step_size."""

    def rule(
        grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]:
        return scaled(hyper["step_size"], grads), slots

    return transformation(rule, step_size=step_size)


def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    """Multiply by what a schedule gives for the number of steps before."""
    return scale(step_size_fn)


def scale_by_learning_rate(
    learning_rate: Hyperparam, flip_sign: bool = True
) -> GradientTransformation:
    """Multiply by -learning_rate; by learning_rate, without flip_sign."""
    sign = -1 if flip_sign else 1

    def rule(
        grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]:
        return scaled(sign * hyper["learning_rate"], grads), slots

    return transformation(rule, learning_rate=learning_rate)


def add_decayed_weights(
    weight_decay: Hyperparam = 0.0, mask: Mask = None
) -> GradientTransformation:
    """Add weight_decay * p, where the mask is true.

    Before an optimizer's direction the decay is coupled, an L2 penalty; between it and the learning
    rate it is decoupled (Loshchilov and Hutter, 2019). mask: a tree of booleans, a prefix of one,
    or a function of the parameters; None for all leaves.

    >>> from fstensor import optim
    >>> decays = lambda params: {k: k != "bias" for k in params}
    >>> adamw = optim.chain(
    ...     optim.scale_by_adam(),
    ...     optim.add_decayed_weights(0.01, decays),
    ...     optim.scale_by_learning_rate(1e-3),
    ... )
    """

    def rule(
        grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]:
        return plus_decay(grads, params, hyper["weight_decay"], mask), slots

    return transformation(rule, needs_params="add_decayed_weights", weight_decay=weight_decay)


def add_noise(eta: Hyperparam, gamma: Hyperparam, key: Array) -> GradientTransformation:
    """Add normal noise of variance eta / t^gamma in the step t (Neelakantan et al., 2015).

    key: random. The state has it, so that a run can be repeated.
    """

    def rule(
        grads: Params, slots: Array, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Array]:
        leaves, structure = tree.flatten(grads)
        deviation = fnp.sqrt(hyper["eta"] / step ** hyper["gamma"])
        after, *keys = random.split(slots, len(leaves) + 1)
        noisy = [
            (g + deviation * random.normal(k, g.shape, g.dtype)).astype(g.dtype)
            for g, k in zip(leaves, keys, strict=True)
        ]
        return tree.unflatten(structure, noisy), after

    return transformation(rule, lambda params: key, eta=eta, gamma=gamma)


def centralize(axis: int = 0) -> GradientTransformation:
    """Subtract the mean over all axes but one, for leaves of two axes or more (Yong et al., 2020).

    axis: the one that is kept, the first as in Optax. The paper's is that of the outputs, which is
    the last one of the kernels of `nn`.
    """

    def centered(g: Array) -> Array:
        if g.ndim < 2:
            return g
        others = tuple(a for a in range(g.ndim) if a != axis % g.ndim)
        return g - fnp.mean(g, others, keepdims=True)

    def rule(
        grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]:
        return tree.map(centered, grads), slots

    return transformation(rule)


def ema(decay: Hyperparam, debias: bool = True) -> GradientTransformation:
    """The running mean m = decay * m + (1 - decay) * g; with `debias`, m / (1 - decay^t)."""

    def rule(
        grads: Params, slots: Params, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Params]:
        mean = running_mean(hyper["decay"], slots, grads)
        return scaled(1 / (1 - hyper["decay"] ** step), mean) if debias else mean, mean

    return transformation(rule, zeros_like, decay=decay)

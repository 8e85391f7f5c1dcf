"""Optimizers that follow the gradient, or its sign: with momentum, or averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fstensor import numpy as fnp
from fstensor import tree
from fstensor.array import Array
from fstensor.errors import ArgumentError, OptionError
from fstensor.optim.base import (
    GradientTransformation,
    Hyperparam,
    Params,
    State,
    hyperparam_dtype,
    transformation,
    zeros_like,
)
from fstensor.optim.descent import (
    Mask,
    descent,
    is_zero,
    plus_decay,
    real_zeros_like,
    running_mean,
    unless_zero,
)


def sgd(
    learning_rate: Hyperparam,
    momentum: Hyperparam = 0.0,
    dampening: Hyperparam = 0.0,
    weight_decay: Hyperparam = 0.0,
    nesterov: bool = False,
) -> GradientTransformation:
    """Gradient descent with momentum, as PyTorch has it.

    g = grad + weight_decay * p; v = momentum * v + (1 - dampening) * g, the first v = g; the update
    is -learning_rate * v, or with `nesterov` -learning_rate * (g + momentum * v) (Sutskever et al.,
    2013, in PyTorch's form, where the rate multiplies v).
    Raises: OptionError for `nesterov` with dampening, or without momentum.
    """
    plain = is_zero(momentum)
    if nesterov and (plain or not is_zero(dampening)):
        raise OptionError("sgd: nesterov needs momentum, and no dampening")

    moving: dict[str, Any] = {} if plain else {"momentum": momentum, "dampening": dampening}

    def direction(
        grads: Params, slots: Params, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Params]:
        if plain:
            return grads, slots
        share = fnp.where(step == 1, 1, 1 - hyper["dampening"])
        return traced(grads, slots, hyper["momentum"], share, nesterov)

    return descent(
        "sgd",
        direction,
        (lambda params: ()) if plain else zeros_like,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        **moving,
    )


def trace(decay: Hyperparam, nesterov: bool = False) -> GradientTransformation:
    """Momentum: v = decay * v + g, as Optax has it; with `nesterov`, g + decay * v."""

    def rule(
        grads: Params, slots: Params, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Params]:
        return traced(grads, slots, hyper["decay"], fnp.ones_like(step), nesterov)

    return transformation(rule, zeros_like, decay=decay)


def traced(
    grads: Params, velocity: Params, momentum: Array, share: Array, nesterov: bool
) -> tuple[Params, Params]:
    """Where momentum leads, and the velocity afterwards."""
    velocity = tree.map(lambda v, g: (momentum * v + share * g).astype(v.dtype), velocity, grads)
    if nesterov:
        return tree.map(lambda g, v: g + momentum * v, grads, velocity), velocity
    return velocity, velocity


def lion(
    learning_rate: Hyperparam,
    b1: Hyperparam = 0.9,
    b2: Hyperparam = 0.99,
    weight_decay: Hyperparam = 1e-3,
    mask: Mask = None,
) -> GradientTransformation:
    """Lion (Chen et al., 2023, algorithm 2), as Optax has it.

    The direction is sign(b1 m + (1 - b1) g) + weight_decay * p, and m = b2 m + (1 - b2) g.
    mask: the leaves that decay.
    """
    return descent(
        "lion",
        _of_lion,
        lambda params: real_zeros_like("lion", params),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        decoupled=True,
        mask=mask,
        b1=b1,
        b2=b2,
    )


def scale_by_lion(b1: Hyperparam = 0.9, b2: Hyperparam = 0.99) -> GradientTransformation:
    """The direction of `lion`, without decay and learning rate."""
    return transformation(
        _of_lion, lambda params: real_zeros_like("scale_by_lion", params), b1=b1, b2=b2
    )


def _of_lion(
    grads: Params, slots: Params, params: Params, *, hyper: Mapping[str, Array], step: Array
) -> tuple[Params, Params]:
    b1 = hyper["b1"]
    direction = tree.map(lambda m, g: fnp.sign(b1 * m + (1 - b1) * g), slots, grads)
    return direction, running_mean(hyper["b2"], slots, grads)


class SignSlots(NamedTuple):
    """Of rprop. step_size: how far each element moves. last: the gradients before."""

    step_size: Any
    last: Any


def rprop(
    learning_rate: float = 1e-2,
    eta_minus: Hyperparam = 0.5,
    eta_plus: Hyperparam = 1.2,
    min_step_size: Hyperparam = 1e-6,
    max_step_size: Hyperparam = 50.0,
) -> GradientTransformation:
    """Resilient propagation (Riedmiller and Braun, 1993), as PyTorch has it: for full batches.

    Each element has a step size, at first learning_rate. It grows by eta_plus where the gradient
    keeps its sign, and shrinks by eta_minus where the sign changes; there the gradient then counts
    as 0, for this step and as the one before. The update is -sign(gradient) * step size.
    """

    def slots(params: Params) -> SignSlots:
        last = real_zeros_like("rprop", params)
        return SignSlots(tree.map(lambda p: fnp.full_like(p, learning_rate), params), last)

    return transformation(
        _of_rprop,
        slots,
        eta_minus=eta_minus,
        eta_plus=eta_plus,
        min_step_size=min_step_size,
        max_step_size=max_step_size,
    )


def _of_rprop(
    grads: Params, slots: SignSlots, params: Params, *, hyper: Mapping[str, Array], step: Array
) -> tuple[Params, SignSlots]:
    def sized(size: Array, last: Array, g: Array) -> Array:
        turn = g * last
        factor = fnp.where(turn > 0, hyper["eta_plus"], fnp.where(turn < 0, hyper["eta_minus"], 1))
        return fnp.clip(size * factor, hyper["min_step_size"], hyper["max_step_size"]).astype(
            size.dtype
        )

    sizes = tree.map(sized, slots.step_size, slots.last, grads)
    kept = tree.map(
        lambda last, g: fnp.where(g * last < 0, 0, g).astype(last.dtype), slots.last, grads
    )
    return tree.map(lambda g, size: -fnp.sign(g) * size, kept, sizes), SignSlots(sizes, kept)


class AveragedSlots(NamedTuple):
    """Of asgd. rate: of the next step. share: of the next parameters in the average."""

    average: Any
    rate: Array
    share: Array


def asgd(
    learning_rate: Hyperparam = 1e-2,
    lambd: Hyperparam = 1e-4,
    alpha: Hyperparam = 0.75,
    t0: Hyperparam = 1e6,
    weight_decay: Hyperparam = 0.0,
) -> GradientTransformation:
    """Averaged gradient descent (Polyak and Juditsky, 1992), as PyTorch has it.

    p = (1 - lambd * rate) p - rate * g, where rate = learning_rate / (1 + lambd * learning_rate *
    t)^alpha of the step t before; from t0 on, the average moves by 1 / (t - t0) to the parameters.
    `asgd_average(state)` reads it.
    """

    def slots(params: Params) -> AveragedSlots:
        # The rate of the first step is the learning rate, known when it is taken.
        one = fnp.ones((), hyperparam_dtype(params))
        return AveragedSlots(zeros_like(params), fnp.zeros_like(one), one)

    def rule(
        grads: Params,
        slots: AveragedSlots,
        params: Params,
        *,
        hyper: Mapping[str, Array],
        step: Array,
    ) -> tuple[Params, AveragedSlots]:
        if not is_zero(weight_decay):
            grads = plus_decay(grads, params, hyper["weight_decay"], None)
        first = hyper["learning_rate"]
        rate = fnp.where(step == 1, first, slots.rate)
        updates = tree.map(lambda g, p: -rate * (g + hyper["lambd"] * p), grads, params)
        average = tree.map(
            lambda a, p, u: (a + slots.share * ((p + u).astype(p.dtype) - a)).astype(a.dtype),
            slots.average,
            params,
            updates,
        )
        rate = first / (1 + hyper["lambd"] * first * step) ** hyper["alpha"]
        share = 1 / fnp.maximum(step - hyper["t0"], 1)
        return updates, AveragedSlots(average, rate, share)

    return transformation(
        rule,
        slots,
        needs_params="asgd",
        learning_rate=learning_rate,
        lambd=lambd,
        alpha=alpha,
        t0=t0,
        **unless_zero(weight_decay=weight_decay),
    )


def asgd_average(state: State) -> Params:
    """The averaged parameters in a state of `asgd`. Raises: ArgumentError for another state."""
    if not isinstance(state.slots, AveragedSlots):
        raise ArgumentError("asgd_average: needs a state of asgd")
    return state.slots.average

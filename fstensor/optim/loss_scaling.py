"""Losses that are scaled up, so that their gradients do not vanish in float16."""

from __future__ import annotations

from typing import Any, NamedTuple

from fstensor import numpy as fnp
from fstensor import tree
from fstensor.array import Array
from fstensor.optim.base import (
    GradientTransformation,
    Numbers,
    Params,
    composed,
    numbers,
    updated,
)
from fstensor.optim.wrappers import all_finite, chosen


class LossScaleState(NamedTuple):
    """The state of `dynamic_loss_scale`.

    scale: what the next loss is multiplied by. good_steps: finite ones since the scale changed.
    skipped: steps left out so far. numbers: the hyperparameters growth_factor, backoff_factor and
    growth_interval.
    """

    scale: Array
    good_steps: Array
    skipped: Array
    inner_state: Any
    numbers: Numbers


def dynamic_loss_scale(
    inner: GradientTransformation,
    init_scale: float = 2.0**16,
    growth_factor: float = 2.0,
    backoff_factor: float = 0.5,
    growth_interval: int = 2000,
) -> GradientTransformation:
    """Take gradients of a scaled loss, as PyTorch's GradScaler (Micikevicius et al., 2018).

    They are divided by the scale, in float32 at least, before `inner` sees them. Where one is not
    finite, updates are zero, the state of `inner` stays, and the scale is multiplied by
    backoff_factor; after growth_interval steps without, by growth_factor, as far as it is finite.

    >>> import fstensor as fst
    >>> from fstensor import optim
    >>> optimizer = optim.dynamic_loss_scale(optim.sgd(0.1), init_scale=2.0**15)
    >>> params = fnp.array([1.0, 2.0], "float16")
    >>> state = optimizer.init(params)
    >>> loss = lambda p, state: optim.scale_loss((1e-6 * p).sum(), state)
    >>> grads = fst.grad(loss)(params, state)
    >>> updates, state = optimizer.update(grads, state, params)
    >>> bool((updates != 0).all()), float(state.scale)
    (True, 32768.0)
    """

    def init(params: Params) -> LossScaleState:
        zero = fnp.zeros((), "int32")
        scale = fnp.asarray(init_scale, "float32")
        given = numbers(
            "float32",
            {"growth_factor": growth_factor, "backoff_factor": backoff_factor},
            {"growth_interval": growth_interval},
        )
        return LossScaleState(scale, zero, zero, inner.init(params), given)

    def update(
        grads: Params, state: LossScaleState, params: Params = None, **extra: Any
    ) -> tuple[Params, LossScaleState]:
        finite = all_finite(grads)
        plain = tree.map(lambda g: _unscaled(g, state.scale), grads)
        updates, after = updated(inner, plain, state.inner_state, params, extra)
        updates, after = chosen(
            finite, (updates, after), (tree.map(fnp.zeros_like, updates), state.inner_state)
        )
        good = fnp.where(finite, state.good_steps + 1, 0)
        hyper = state.numbers.hyperparams
        grows = good >= hyper["growth_interval"]
        grown = state.scale * hyper["growth_factor"]
        grown = fnp.where(grows & fnp.isfinite(grown), grown, state.scale)
        return updates, LossScaleState(
            fnp.where(finite, grown, state.scale * hyper["backoff_factor"]).astype("float32"),
            fnp.where(grows, 0, good).astype("int32"),
            (state.skipped + fnp.where(finite, 0, 1)).astype("int32"),
            after,
            state.numbers,
        )

    return composed([inner], init, update)


def scale_loss(loss: Array, state: LossScaleState) -> Array:
    """The loss times the scale, in float32 at least: a float16 cannot hold many scales."""
    return loss.astype(fnp.promote_types(loss.dtype, "float32")) * state.scale


def _unscaled(g: Array, scale: Array) -> Array:
    return g.astype(fnp.promote_types(g.dtype, "float32")) / scale

"""Transformations around another one: they run it later, or not, or go back a part of the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fstensor import dtypes, lax, tree
from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.errors import ArgumentError, OptionError
from fstensor.optim.base import (
    GradientTransformation,
    Names,
    Numbers,
    Params,
    check_structure,
    composed,
    hyperparam_dtype,
    numbers,
    updated,
)
from fstensor.transforms.make_jaxpr import eval_shape


class MultiStepsState(NamedTuple):
    """The state of `multi_steps`.

    mini_step: how many gradients are in acc_grads. gradient_step: updates of the parameters so far.
    numbers: the hyperparameter every_k_schedule.
    """

    mini_step: Array
    gradient_step: Array
    inner_state: Any
    acc_grads: Any
    numbers: Numbers


def multi_steps(
    inner: GradientTransformation,
    every_k_schedule: int | Callable[[Array], Any],
    use_grad_mean: bool = True,
) -> GradientTransformation:
    """Collect the gradients of k batches, and give their mean to `inner`; updates between are zero.

    every_k_schedule: k, or a function of the updates so far that gives it. use_grad_mean: their
    mean, or else their sum. They are collected at least in float32.
    `state.mini_step == 0` tells that parameters have just been updated.
    Raises: OptionError for k below 1.
    """
    if isinstance(every_k_schedule, int) and every_k_schedule < 1:
        raise OptionError(
            f"multi_steps: every_k_schedule must be at least 1, got {every_k_schedule}"
        )

    def every(updates_before: Array) -> Numbers:
        if not callable(every_k_schedule):
            return numbers("int32", counts={"every_k_schedule": every_k_schedule})
        k = numbers("int32", counts={"every_k_schedule": every_k_schedule(updates_before)})
        return k._replace(scheduled=Names(("every_k_schedule",)))

    def init(params: Params) -> MultiStepsState:
        zero = fnp.zeros((), "int32")
        return MultiStepsState(zero, zero, inner.init(params), _wide_zeros(params), every(zero))

    def update(
        grads: Params, state: MultiStepsState, params: Params = None, **extra: Any
    ) -> tuple[Params, MultiStepsState]:
        check_structure("update: gradients", state.acc_grads, grads)
        count = state.mini_step + 1
        if use_grad_mean:
            total = tree.map(
                lambda a, g: (a + (g - a) / count).astype(a.dtype), state.acc_grads, grads
            )
        else:
            total = tree.map(lambda a, g: (a + g).astype(a.dtype), state.acc_grads, grads)
        now_every = every(state.gradient_step) if callable(every_k_schedule) else state.numbers

        def now(total: Params, inner_state: Any) -> tuple[Params, Any, Params]:
            updates, after = updated(inner, total, inner_state, params, extra)
            return updates, after, tree.map(fnp.zeros_like, total)

        like = eval_shape(now, total, state.inner_state)[0]

        def later(total: Params, inner_state: Any) -> tuple[Params, Any, Params]:
            return tree.map(lambda s: fnp.zeros(s.shape, s.dtype), like), inner_state, total

        full = count >= now_every.hyperparams["every_k_schedule"]
        updates, inner_state, total = lax.cond(full, now, later, total, state.inner_state)
        return updates, MultiStepsState(
            fnp.where(full, 0, count).astype("int32"),
            fnp.where(full, state.gradient_step + 1, state.gradient_step).astype("int32"),
            inner_state,
            total,
            now_every,
        )

    return composed([inner], init, update)


def _wide_zeros(params: Params) -> Params:
    return tree.map(lambda p: fnp.zeros(p.shape, fnp.promote_types(p.dtype, "float32")), params)


class ApplyIfFiniteState(NamedTuple):
    """The state of `apply_if_finite`.

    notfinite_count: steps on end with a NaN or an infinity; total_notfinite: all of them.
    last_finite: whether the last step had none. numbers: the hyperparameter
    max_consecutive_errors.
    """

    notfinite_count: Array
    last_finite: Array
    total_notfinite: Array
    inner_state: Any
    numbers: Numbers


def apply_if_finite(
    inner: GradientTransformation, max_consecutive_errors: int
) -> GradientTransformation:
    """Leave a step out when a gradient is NaN or infinite: updates are zero, and the state stays.

    After more than max_consecutive_errors such steps on end, they are taken all the same.
    """

    def init(params: Params) -> ApplyIfFiniteState:
        zero = fnp.zeros((), "int32")
        most = numbers("int32", counts={"max_consecutive_errors": max_consecutive_errors})
        return ApplyIfFiniteState(zero, fnp.ones((), "bool"), zero, inner.init(params), most)

    def update(
        grads: Params, state: ApplyIfFiniteState, params: Params = None, **extra: Any
    ) -> tuple[Params, ApplyIfFiniteState]:
        finite = all_finite(grads)
        count = fnp.where(finite, 0, state.notfinite_count + 1).astype("int32")
        updates, after = updated(inner, grads, state.inner_state, params, extra)
        taken = finite | (count > state.numbers.hyperparams["max_consecutive_errors"])
        updates, after = chosen(
            taken, (updates, after), (tree.map(fnp.zeros_like, updates), state.inner_state)
        )
        total = state.total_notfinite + fnp.where(finite, 0, 1).astype("int32")
        return updates, ApplyIfFiniteState(count, finite, total, after, state.numbers)

    return composed([inner], init, update)


def all_finite(grads: Params) -> Array:
    """Whether all elements of all leaves are finite; integers are."""
    finite = [fnp.all(fnp.isfinite(g)) for g in tree.leaves(grads) if dtypes.is_inexact(g.dtype)]
    return fnp.all(fnp.stack(finite)) if finite else fnp.ones((), "bool")


def chosen(yes: Array, these: Any, those: Any) -> Any:
    """One of two trees, by a traced boolean; random keys in them are chosen, too."""
    return tree.map(lambda a, b: fnp.where(yes, a, b), these, those)


class LookaheadState(NamedTuple):
    """The state of `lookahead`.

    slow: parameters; steps_since_sync: of the fast ones. numbers: the hyperparameters sync_period
    and slow_step_size.
    """

    fast_state: Any
    slow: Any
    steps_since_sync: Array
    numbers: Numbers


def lookahead(
    fast_optimizer: GradientTransformation,
    sync_period: int,
    slow_step_size: float,
    reset_state: bool = False,
) -> GradientTransformation:
    """After sync_period steps, go back to slow + slow_step_size * (fast - slow), the new slow ones.

    Zhang et al., 2019. The parameters are the fast ones, and the slow ones are in the state (Optax
    takes both as parameters). reset_state: whether the optimizer then starts anew.
    Raises: OptionError for a period below 1; `update` without parameters ArgumentError.
    """
    if sync_period < 1:
        raise OptionError(f"lookahead: sync_period must be at least 1, got {sync_period}")

    def init(params: Params) -> LookaheadState:
        slow = tree.map(fnp.asarray, params)
        given = numbers(
            hyperparam_dtype(params),
            {"slow_step_size": slow_step_size},
            {"sync_period": sync_period},
        )
        return LookaheadState(fast_optimizer.init(params), slow, fnp.zeros((), "int32"), given)

    def update(
        grads: Params, state: LookaheadState, params: Params = None, **extra: Any
    ) -> tuple[Params, LookaheadState]:
        if params is None:
            raise ArgumentError("lookahead: update(grads, state, params) needs the parameters")
        updates, fast = updated(fast_optimizer, grads, state.fast_state, params, extra)
        count = state.steps_since_sync + 1
        hyper = state.numbers.hyperparams
        meets = count >= hyper["sync_period"]
        met = tree.map(
            lambda s, p, u: (s + hyper["slow_step_size"] * (p + u - s)).astype(s.dtype),
            state.slow,
            params,
            updates,
        )
        back = tree.map(lambda m, p, u: (m - p).astype(u.dtype), met, params, updates)
        if reset_state:
            fast = chosen(meets, fast_optimizer.init(params), fast)
        return chosen(meets, back, updates), LookaheadState(
            fast,
            chosen(meets, met, state.slow),
            fnp.where(meets, 0, count).astype("int32"),
            state.numbers,
        )

    return composed([fast_optimizer], init, update)


class SplitRealAndImaginary(NamedTuple):
    """A complex leaf, as `inner` sees it."""

    real: Any
    imaginary: Any


def split_real_and_imaginary(inner: GradientTransformation) -> GradientTransformation:
    """Give real and imaginary parts to `inner` as leaves of their own, as PyTorch's optimizers do.

    The gradients must be those that point uphill: of `grad`, take the conjugates.
    """

    def init(params: Params) -> Any:
        return inner.init(_split(params))

    def update(
        grads: Params, state: Any, params: Params = None, **extra: Any
    ) -> tuple[Params, Any]:
        of_params = None if params is None else _split(params)
        updates, after = updated(inner, _split(grads), state, of_params, extra)
        return tree.map(
            lambda g, u: u.real + 1j * u.imaginary if isinstance(u, SplitRealAndImaginary) else u,
            grads,
            updates,
        ), after

    return composed([inner], init, update)


def _split(params: Params) -> Params:
    return tree.map(
        lambda x: SplitRealAndImaginary(x.real, x.imag) if dtypes.is_complex(x.dtype) else x, params
    )

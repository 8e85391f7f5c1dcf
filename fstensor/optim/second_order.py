"""L-BFGS: Newton's method with a Hessian that is learned from the last gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from fstensor import lax
from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.errors import ArgumentError, OptionError
from fstensor.flatten_util import ravel_pytree
from fstensor.optim.base import (
    GradientTransformationExtraArgs,
    Hyperparam,
    Params,
    State,
    transformation,
)
from fstensor.optim.descent import real_zeros_like
from fstensor.optim.line_search import Point, strong_wolfe

ValueAndGrad = Callable[[Params], tuple[Any, Params]]


class LbfgsSlots(NamedTuple):
    """Of n parameters, as vectors, and m pairs, the newest last.

    moves, changes: (m, n), of parameters and gradients; weights: (m,), 1 / (move . change), 0 where
    there is none yet. scale: of the Hessian's inverse. grad, move: of the last step.
    next_value, next_grad: where it led, known from the line search; else infinite, and zeros.
    """

    moves: Array
    changes: Array
    weights: Array
    scale: Array
    grad: Array
    move: Array
    next_value: Array
    next_grad: Array


def lbfgs(
    learning_rate: Hyperparam = 1.0,
    memory_size: int = 10,
    line_search: Literal["strong_wolfe"] | None = "strong_wolfe",
    max_evaluations: Hyperparam = 25,
    tolerance_grad: Hyperparam = 1e-7,
    tolerance_change: Hyperparam = 1e-9,
) -> GradientTransformationExtraArgs:
    """L-BFGS (Nocedal and Wright, 2006, algorithm 7.4), as PyTorch has it, of one step an update.

    `update(grads, state, params, value=..., value_and_grad=...)` takes the value at params, and a
    function of parameters alone that gives (value, gradients), for the search along the direction
    d, whose first step is learning_rate * d (in the first update min(1, 1 / sum |g|) times that).
    With a line_search of None this is the step, and neither is needed.
    memory_size: of how many steps it learns (PyTorch: 100). max_evaluations: in a search.
    Nothing moves when no gradient is greater than tolerance_grad, or the slope than
    tolerance_change, nor are steps told apart that are closer than the latter.
    Works on traced values; functions should be deterministic, and not of small batches.

    >>> import fstensor as fst
    >>> from fstensor import optim
    >>> f = fst.value_and_grad(lambda x: (1 - x[0]) ** 2 + 9 * (x[1] - x[0] ** 2) ** 2)
    >>> optimizer, x = optim.lbfgs(), fnp.array([-1.0, 1.0])
    >>> state = optimizer.init(x)
    >>> for _ in range(30):
    ...     value, grads = f(x)
    ...     updates, state = optimizer.update(grads, state, x, value=value, value_and_grad=f)
    ...     x = optim.apply_updates(x, updates)
    >>> [round(a, 3) for a in x.tolist()]
    [1.0, 1.0]

    Raises: OptionError for other options, ArgumentError without parameters or what a search needs.
    """
    if line_search not in ("strong_wolfe", None):
        raise OptionError(f"lbfgs: line_search must be 'strong_wolfe' or None, got {line_search!r}")
    if memory_size < 1:
        raise OptionError(f"lbfgs: memory_size must be at least 1, got {memory_size}")

    def made(value: Any, value_and_grad: ValueAndGrad | None) -> Any:
        return transformation(
            functools.partial(_moved, value, value_and_grad),
            lambda params: _first_slots(params, memory_size),
            needs_params="lbfgs",
            learning_rate=learning_rate,
            max_evaluations=max_evaluations,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
        )

    def update(
        grads: Params,
        state: State,
        params: Params = None,
        *,
        value: Any = None,
        value_and_grad: ValueAndGrad | None = None,
    ) -> tuple[Params, State]:
        if line_search is not None and (value is None or value_and_grad is None):
            raise ArgumentError(
                "lbfgs: the line search needs update(..., value=..., value_and_grad=...); "
                "or pass line_search=None to lbfgs"
            )

        searched = None if line_search is None else value_and_grad
        return made(value, searched).update(grads, state, params)

    return GradientTransformationExtraArgs(made(None, None).init, update)


def _moved(
    value: Any,
    value_and_grad: ValueAndGrad | None,
    grads: Params,
    slots: LbfgsSlots,
    params: Params,
    *,
    hyper: Mapping[str, Array],
    step: Array,
) -> tuple[Params, LbfgsSlots]:
    """The rule of `lbfgs`. value_and_grad: for the search; without it, the first step is taken."""
    start, unravel = ravel_pytree(params)
    x, g = _wide(start), _wide(ravel_pytree(grads)[0])
    slots = _learned(slots, g)
    d = _direction(slots, g)
    rate = fnp.where(step == 1, fnp.minimum(1, 1 / fnp.sum(fnp.abs(g))), 1)
    first = (rate * hyper["learning_rate"]).astype(x.dtype)
    here = Point(fnp.zeros_like(first), _number(value, x), g, fnp.sum(g * d))
    steep = fnp.max(fnp.abs(g), initial=0) > hyper["tolerance_grad"]
    goes = steep & (here.slope <= -hyper["tolerance_change"])
    if value_and_grad is None:
        there = Point(first, fnp.full_like(first, fnp.inf), fnp.zeros_like(g), here.slope)
    else:

        def along(t: Array) -> Point:
            new, slope = value_and_grad(unravel((x + t * d).astype(start.dtype)))
            of_new = _wide(ravel_pytree(slope)[0])
            return Point(t, _number(new, x), of_new, fnp.sum(of_new * d))

        longest = fnp.maximum(fnp.max(fnp.abs(d), initial=0), 1e-30)
        there = lax.cond(
            goes,
            lambda: strong_wolfe(
                along,
                here,
                first,
                max_evaluations=hyper["max_evaluations"],
                least_width=hyper["tolerance_change"] / longest,
            ),
            lambda: here,
        )
    move = fnp.where(goes, there.step * d, 0)
    after = slots._replace(grad=g, move=move, next_value=there.value, next_grad=there.grad)
    return unravel(move.astype(start.dtype)), after


def value_and_grad_from_state(
    value_and_grad: ValueAndGrad,
) -> Callable[[Params, State], tuple[Array, Params]]:
    """value_and_grad(params), or what the line search that led to params has found there.

    The function returned takes params and the state of `lbfgs`; params must be those that its last
    update made. As Optax has it.
    """

    def of(params: Params, state: State) -> tuple[Array, Params]:
        slots: LbfgsSlots = state.slots
        start, unravel = ravel_pytree(params)

        def known() -> tuple[Array, Params]:
            return slots.next_value, unravel(slots.next_grad.astype(start.dtype))

        def anew() -> tuple[Array, Params]:
            value, grads = value_and_grad(params)
            return _number(value, slots.next_value), grads

        return lax.cond(fnp.isfinite(slots.next_value), known, anew)

    return of


def _wide(x: Array) -> Array:
    return x.astype(fnp.promote_types(x.dtype, "float32"))


def _number(value: Any, like: Array) -> Array:
    return fnp.asarray(0 if value is None else value).astype(like.dtype).reshape(())


def _first_slots(params: Params, memory_size: int) -> LbfgsSlots:
    x = fnp.zeros_like(_wide(ravel_pytree(real_zeros_like("lbfgs", params))[0]))
    pairs, one = fnp.zeros((memory_size, x.size), x.dtype), fnp.ones((), x.dtype)
    weights = fnp.zeros(memory_size, x.dtype)
    return LbfgsSlots(pairs, pairs, weights, one, x, x, fnp.inf * one, x)


def _learned(slots: LbfgsSlots, g: Array) -> LbfgsSlots:
    """With the pair of the last step, if the value curves upwards along it."""
    change = g - slots.grad
    product = fnp.sum(change * slots.move)
    good = product > 1e-10
    safe = fnp.where(good, product, 1)

    def appended(old: Array, new: Array) -> Array:
        return fnp.where(good, fnp.concatenate([old[1:], new[None]]), old)

    square = fnp.where(good, fnp.sum(change * change), 1)
    return slots._replace(
        moves=appended(slots.moves, slots.move),
        changes=appended(slots.changes, change),
        weights=appended(slots.weights, 1 / safe),
        scale=fnp.where(good, product / square, slots.scale),
    )


def _direction(slots: LbfgsSlots, g: Array) -> Array:
    """Minus the inverse Hessian times g: the two loops of algorithm 7.4."""
    pairs = (slots.moves, slots.changes, slots.weights)

    def newest_first(q: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        move, change, weight = pair
        share = weight * fnp.sum(move * q)
        return q - share * change, share

    def oldest_first(r: Array, pair: tuple[Any, Array]) -> tuple[Array, None]:
        (move, change, weight), share = pair
        return r + move * (share - weight * fnp.sum(change * r)), None

    q, shares = lax.scan(newest_first, -g, pairs, reverse=True)
    direction: Array = lax.scan(oldest_first, slots.scale * q, (pairs, shares))[0]
    return direction

"""A factor for the learning rate that falls when a value stops getting better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import OptionError
from fstensor.optim.base import Numbers, numbers


class PlateauState(NamedTuple):
    """What `reduce_on_plateau` knows.

    factor: for the learning rate. best: the best value so far. bad: values since then that were no
    better. cooling: how many values more do not count. numbers: the hyperparameters factor,
    patience, threshold, cooldown and min_factor.
    """

    factor: Array
    best: Array
    bad: Array
    cooling: Array
    numbers: Numbers


class Plateau(NamedTuple):
    """init() makes a state, and update(value, state) gives the factor, and the next state."""

    init: Callable[[], PlateauState]
    update: Callable[[ArrayLike, PlateauState], tuple[Array, PlateauState]]


def reduce_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_factor: float = 0.0,
    mode: Literal["min", "max"] = "min",
) -> Plateau:
    """PyTorch's ReduceLROnPlateau, as two pure functions.

    Where more than `patience` values on end are no better than the best, it is multiplied by
    `factor`, down to min_factor; then `cooldown` values do not count as bad. A value is better when
    it is less (for "max": greater) than the best by more than the threshold, for "rel" times the
    best. Use: `updates = tree.map(lambda u: f * u, updates)`, or as the learning rate itself, by
    `with_hyperparams`. Raises: OptionError for other modes, and for a factor that is not below 1.

    >>> plateau = reduce_on_plateau(factor=0.5, patience=0)
    >>> state = plateau.init()
    >>> for loss in (1.0, 0.5, 0.5):
    ...     factor, state = plateau.update(loss, state)
    >>> float(factor)
    0.5
    """
    if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
        raise OptionError(
            "reduce_on_plateau: mode must be 'min' or 'max', and threshold_mode 'rel' or 'abs', "
            f"got {mode!r} and {threshold_mode!r}"
        )
    if not factor < 1:
        raise OptionError(f"reduce_on_plateau: factor must be below 1, got {factor}")
    sign = 1 if mode == "min" else -1

    def init() -> PlateauState:
        zero = fnp.zeros((), "int32")
        one = fnp.ones(())
        given = numbers(
            one.dtype,
            {"factor": factor, "threshold": threshold, "min_factor": min_factor},
            {"patience": patience, "cooldown": cooldown},
        )
        return PlateauState(one, fnp.full((), sign * fnp.inf), zero, zero, given)

    def update(value: ArrayLike, state: PlateauState) -> tuple[Array, PlateauState]:
        now, best = fnp.asarray(value).astype(state.best.dtype), state.best
        hyper = state.numbers.hyperparams
        margin = hyper["threshold"] * best if threshold_mode == "rel" else hyper["threshold"]
        # At first the best is infinite, and any number is better.
        limit = fnp.where(fnp.isinf(best), best, best - sign * margin)
        better = sign * now < sign * limit
        bad = fnp.where(better, 0, state.bad + 1)
        bad = fnp.where(state.cooling > 0, 0, bad)
        cooling = fnp.maximum(state.cooling - 1, 0)
        falls = bad > hyper["patience"]
        least = fnp.maximum(state.factor * hyper["factor"], hyper["min_factor"])
        after = PlateauState(
            fnp.where(falls, least, state.factor).astype(state.factor.dtype),
            fnp.where(better, now, best),
            fnp.where(falls, 0, bad).astype("int32"),
            fnp.where(falls, hyper["cooldown"], cooling).astype("int32"),
            state.numbers,
        )
        return after.factor, after

    return Plateau(init, update)

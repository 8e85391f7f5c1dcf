"""Averages of the parameters of many steps, which often do better than those of the last."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fstensor import numpy as fnp
from fstensor import tree
from fstensor.array import Array
from fstensor.errors import ArgumentError, OptionError
from fstensor.optim.base import Numbers, Params, hyperparam_dtype, numbers


class AverageState(NamedTuple):
    """taken: how many parameters are in the average. average: at least in float32.

    numbers: the hyperparameter decay of a running mean.
    """

    taken: Array
    average: Any
    numbers: Numbers


class Averaging(NamedTuple):
    """How to average.

    init(params) makes a state of nothing yet, update(params, state) takes parameters in, and
    params(state, like) reads the average, in the dtypes of `like`.
    """

    init: Callable[[Params], AverageState]
    update: Callable[[Params, AverageState], AverageState]
    params: Callable[[AverageState, Params], Params]


def average_params() -> Averaging:
    """The mean of all parameters taken in: stochastic weight averaging (Izmailov et al., 2018).

    Take them in late in training, as once an epoch, under a constant or cyclic rate; then
    `update_batch_norm`. The average is that of PyTorch's AveragedModel.

    >>> from fstensor import optim
    >>> swa = optim.average_params()
    >>> state = swa.init(fnp.array([0.0]))
    >>> for params in (fnp.array([1.0]), fnp.array([2.0]), fnp.array([6.0])):
    ...     state = swa.update(params, state)
    >>> swa.params(state, params).tolist()
    [3.0]
    """

    def moved(count: Array, a: Array, p: Array, hyper: Mapping[str, Array]) -> Array:
        return a + (p - a) / (count + 1)

    return _averaging(moved, {})


def ema_params(decay: float = 0.999, debias: bool = False) -> Averaging:
    """The running mean a = decay * a + (1 - decay) * p, of which the first is p.

    As PyTorch's AveragedModel has it with get_ema_avg_fn. debias: it starts at zero instead, and is
    divided by 1 - decay^count when it is read.
    Raises: OptionError for a decay outside of [0, 1].
    """
    if not 0 <= decay <= 1:
        raise OptionError(f"ema_params: decay must be in [0, 1], got {decay}")

    def moved(count: Array, a: Array, p: Array, hyper: Mapping[str, Array]) -> Array:
        before = fnp.where(count == 0, 0, a) if debias else a
        return hyper["decay"] * before + (1 - hyper["decay"]) * p

    return _averaging(moved, {"decay": decay}, debias)


def _averaging(
    moved: Callable[[Array, Array, Array, Mapping[str, Array]], Array],
    hyperparams: Mapping[str, float],
    debias: bool = False,
) -> Averaging:
    def init(params: Params) -> AverageState:
        wide = tree.map(lambda p: p.astype(fnp.promote_types(p.dtype, "float32")), params)
        given = numbers(hyperparam_dtype(params), hyperparams)
        return AverageState(fnp.zeros((), "int32"), wide, given)

    def update(params: Params, state: AverageState) -> AverageState:
        count = state.taken

        def one(a: Array, p: Array) -> Array:
            p = p.astype(a.dtype)
            after = moved(count, a, p, state.numbers.hyperparams)
            first = after if debias else p
            return fnp.where(count == 0, first, after).astype(a.dtype)

        return AverageState(count + 1, tree.map(one, state.average, params), state.numbers)

    def params(state: AverageState, like: Params) -> Params:
        def read(a: Array, p: Array) -> Array:
            if debias:
                weight = 1 - state.numbers.hyperparams["decay"] ** state.taken
                a = fnp.where(state.taken == 0, a, a / fnp.where(state.taken == 0, 1, weight))
            return a.astype(p.dtype)

        return tree.map(read, state.average, like)

    return Averaging(init, update, params)


def update_batch_norm(model: Any, params: Params, state: Any, batches: Iterable[Any]) -> Any:
    """The state whose running statistics are the means over batches, as for averaged parameters.

    model: an `nn.Layer`; its sublayers that have a field `momentum`, as BatchNorm has, count each
    batch alike. batches: inputs, a tuple of them where the layer takes several. PyTorch's
    `update_bn`. Random layers are as in training, and must need no key.
    Raises: ArgumentError without any batch.
    """
    count = 0
    for count, batch in enumerate(batches, 1):
        inputs = batch if isinstance(batch, tuple) else (batch,)
        counting = _with_momentum(model, (count - 1) / count)
        _, state = counting.apply(params, state, *inputs, train=True)
    if not count:
        raise ArgumentError("update_batch_norm: needs at least one batch, got none")
    return state


def _with_momentum(part: Any, momentum: float) -> Any:
    """The layer, and all within it, with this momentum where there is one."""
    if isinstance(part, (tuple, list)) and not hasattr(part, "_fields"):
        return type(part)(_with_momentum(p, momentum) for p in part)
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return part
    # Some layers' constructors take other arguments than their fields; a copy needs none.
    other = copy.copy(part)
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        changed = momentum if field.name == "momentum" else _with_momentum(value, momentum)
        object.__setattr__(other, field.name, changed)
    return other

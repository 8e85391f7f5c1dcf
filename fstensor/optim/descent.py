"""What optimizers share: a direction, a learning rate, and a decay of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from fstensor import dtypes, tree
from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.errors import DtypeError
from fstensor.optim.base import (
    GradientTransformation,
    Hyperparam,
    Params,
    Rule,
    transformation,
    zeros_like,
)

# Which leaves something is for: a tree of booleans, or a prefix of one, or what makes it of params.
Mask: TypeAlias = Any


def descent(
    name: str,
    direction: Rule,
    slots: Callable[[Params], Any] = lambda params: (),
    *,
    learning_rate: Hyperparam,
    weight_decay: Hyperparam = 0.0,
    decoupled: bool = False,
    mask: Mask = None,
    **hyperparams: Any,
) -> GradientTransformation:
    """The optimizer whose update is -learning_rate * direction.

    weight_decay * p is added to the gradients, or, where it is decoupled, to the direction
    (Loshchilov and Hutter, 2019, as PyTorch has it, where the rate multiplies the decay).
    mask: the leaves that decay, all for None.
    """
    decays = not is_zero(weight_decay)

    def rule(
        grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]:
        if decays and not decoupled:
            grads = plus_decay(grads, params, hyper["weight_decay"], mask)
        direct, slots = direction(grads, slots, params, hyper=hyper, step=step)
        if decays and decoupled:
            direct = plus_decay(direct, params, hyper["weight_decay"], mask)
        return scaled(-hyper["learning_rate"], direct), slots

    return transformation(
        rule,
        slots,
        needs_params=name if decays else "",
        learning_rate=learning_rate,
        **unless_zero(weight_decay=weight_decay),
        **hyperparams,
    )


def plus_decay(grads: Params, params: Params, rate: Array, mask: Mask) -> Params:
    """grads + rate * params, where the mask is true."""
    if mask is None:
        return tree.map(lambda g, p: g + rate * p, grads, params)
    chosen = flags(mask, params)
    return tree.map(lambda g, p, yes: g + rate * p if yes else g, grads, params, chosen)


def flags(mask: Mask, params: Params) -> Params:
    """A tree of booleans, of a mask. Raises: TreeError when it does not fit the parameters."""
    return tree.broadcast(mask(params) if callable(mask) else mask, params)


def scaled(factor: Array, direction: Params) -> Params:
    """factor * direction, leaf by leaf."""
    return tree.map(lambda d: factor * d, direction)


def running_mean(decay: Array, means: Params, values: Params) -> Params:
    """decay * mean + (1 - decay) * value, in the dtypes of the means."""
    return tree.map(lambda m, x: (decay * m + (1 - decay) * x).astype(m.dtype), means, values)


def squared(grads: Params) -> Params:
    """The squares, leaf by leaf."""
    return tree.map(lambda g: g * g, grads)


def real_zeros_like(name: str, params: Params) -> Params:
    """Slots of zeros. Raises: DtypeError for complex parameters, naming the leaf."""
    for path, p in tree.leaves_with_path(params):
        if dtypes.is_complex(p.dtype):
            raise DtypeError(
                f"{name}: parameters must be real, got {p.aval} at {tree.keystr(path)}; "
                "wrap it in split_real_and_imaginary"
            )
    return zeros_like(params)


def is_zero(h: Hyperparam) -> bool:
    """Whether a hyperparameter is the number 0, and what it is for is left out."""
    return isinstance(h, (int, float)) and h == 0


def unless_zero(**hyperparams: Hyperparam) -> dict[str, Any]:
    """Those that are not left out. The others have no place in the state: nothing reads them."""
    return {name: h for name, h in hyperparams.items() if not is_zero(h)}


def norm(x: Array) -> Array:
    """The Euclidean norm of all elements, computed at least in float32."""
    wide = x.astype(fnp.promote_types(x.dtype, "float32"))
    return fnp.sqrt(fnp.sum(fnp.square(fnp.abs(wide))))

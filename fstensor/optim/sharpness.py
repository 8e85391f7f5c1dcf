"""Gradients of the worst point nearby, which lead to flat minima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fstensor import numpy as fnp
from fstensor import tree
from fstensor.array import Array
from fstensor.optim.base import GradientTransformation, Params, transformation
from fstensor.optim.clipping import global_norm
from fstensor.optim.descent import scaled


def sam(
    value_and_grad: Callable[..., tuple[Any, Params]], rho: float = 0.05, adaptive: bool = False
) -> Callable[..., tuple[Any, Params]]:
    """Sharpness-aware minimization (Foret et al., 2021), for any optimizer.

    value_and_grad(params, *args) gives a value, or a value and more, and the gradients g, as
    `fst.value_and_grad` does. The function returned gives the value there, and the gradients at
    params + rho * g / |g|; or, `adaptive` (Kwon et al., 2021), at params + rho * p^2 g / |p g|.
    It calls value_and_grad twice.

    >>> import fstensor as fst
    >>> from fstensor import optim
    >>> descent = optim.sam(fst.value_and_grad(lambda p: (p**2).sum()), rho=0.1)
    >>> value, grads = descent(fnp.array([3.0, 4.0]))
    >>> float(value), [round(g, 3) for g in grads.tolist()]
    (25.0, [6.12, 8.16])
    """

    def of_worst(params: Params, *args: Any, **kwargs: Any) -> tuple[Any, Params]:
        value, grads = value_and_grad(params, *args, **kwargs)
        worst = tree.map(
            lambda p, e: (p + e).astype(p.dtype), params, _ascent(params, grads, rho, adaptive)
        )
        return value, value_and_grad(worst, *args, **kwargs)[1]

    return of_worst


def _ascent(params: Params, grads: Params, rho: float, adaptive: bool) -> Params:
    relative = tree.map(lambda g, p: fnp.abs(p) * g, grads, params) if adaptive else grads
    factor = rho * _inverse(global_norm(relative))
    if adaptive:
        return tree.map(lambda r, p: factor * fnp.abs(p) * r, relative, params)
    return scaled(factor, relative)


def normalize() -> GradientTransformation:
    """Divide by the global norm, as Optax's contrib has it; zeros stay zero."""

    def rule(grads: Params, slots: Any, params: Params, **options: Any) -> tuple[Params, Any]:
        return scaled(_inverse(global_norm(grads)), grads), slots

    return transformation(rule)


def _inverse(length: Array) -> Array:
    return 1 / fnp.where(length == 0, 1, length)

"""Gradients that are not too long: clipped by value, by norm, or relative to the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fstensor import numpy as fnp
from fstensor import tree
from fstensor.array import Array
from fstensor.errors import ShapeError
from fstensor.optim.base import GradientTransformation, Hyperparam, Params, transformation
from fstensor.optim.descent import norm


def global_norm(updates: Params) -> Array:
    """The Euclidean norm of all elements of all leaves, computed at least in float32."""
    squares = [fnp.square(norm(x)) for x in tree.leaves(updates)]
    return fnp.sqrt(sum(squares, fnp.zeros((), "float32")))


def clip(max_delta: Hyperparam) -> GradientTransformation:
    """Keep each element between -max_delta and max_delta: PyTorch's clip_grad_value_."""
    return _leafwise(lambda g, most: fnp.clip(g, -most, most), max_delta=max_delta)


def clip_by_norm(max_norm: Hyperparam) -> GradientTransformation:
    """Scale each leaf whose norm is greater than max_norm down to it."""
    return _leafwise(lambda g, most: _shortened(g, norm(g), most), max_norm=max_norm)


def clip_by_block_rms(threshold: Hyperparam) -> GradientTransformation:
    """Scale each leaf whose root mean square is greater than the threshold down to it."""

    def shortened(g: Array, most: Array) -> Array:
        return _shortened(g, norm(g), most * max(g.size, 1) ** 0.5)

    return _leafwise(shortened, threshold=threshold)


def clip_by_global_norm(max_norm: Hyperparam) -> GradientTransformation:
    """Scale all leaves by max_norm / global_norm, if that is below 1 (Pascanu et al., 2013).

    As in Optax; PyTorch's clip_grad_norm_ adds 1e-6 to the norm.
    """

    def rule(
        grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]:
        length = global_norm(grads)
        return tree.map(lambda g: _shortened(g, length, hyper["max_norm"]), grads), slots

    return transformation(rule, max_norm=max_norm)


def adaptive_grad_clip(
    clipping: Hyperparam, eps: Hyperparam = 1e-3, axis: int | Sequence[int] | None = None
) -> GradientTransformation:
    """Scale units down whose norm is more than `clipping` times that of their parameters.

    The norm of parameters counts as `eps` at least (Brock et al., 2021, as Optax has it). A unit
    is what lies along `axis`; for None a vector as a whole, the inputs of an output (axis 0) of
    leaves of two or three axes, and all axes but the last of kernels of four or five.
    Raises: ShapeError for a leaf of more axes, without `axis`.
    """

    def clipped(g: Array, p: Array, hyper: Mapping[str, Array]) -> Array:
        axes = _unit_axes(p) if axis is None else axis
        length = _norm_along(g, axes)
        most = hyper["clipping"] * fnp.maximum(_norm_along(p, axes), hyper["eps"])
        return fnp.where(length < most, g, g * (most / fnp.maximum(length, 1e-6))).astype(g.dtype)

    def rule(
        grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]:
        return tree.map(lambda g, p: clipped(g, p, hyper), grads, params), slots

    return transformation(rule, needs_params="adaptive_grad_clip", clipping=clipping, eps=eps)


def _unit_axes(p: Array) -> tuple[int, ...]:
    if sum(n > 1 for n in p.shape) <= 1:
        return tuple(range(p.ndim))
    if p.ndim > 5:
        raise ShapeError(
            f"adaptive_grad_clip: leaves must have at most 5 axes, got {p.aval}; pass axis"
        )
    return (0,) if p.ndim <= 3 else tuple(range(p.ndim - 1))


def _norm_along(x: Array, axes: int | Sequence[int]) -> Array:
    wide = x.astype(fnp.promote_types(x.dtype, "float32"))
    axes = axes if isinstance(axes, int) else tuple(axes)
    return fnp.sqrt(fnp.sum(fnp.square(fnp.abs(wide)), axes, keepdims=True))


def _shortened(g: Array, length: Array, most: Array) -> Array:
    # Not most / length for all: what is short enough stays exactly as it is.
    return fnp.where(length > most, g * (most / length), g).astype(g.dtype)


def _leafwise(f: Callable[[Array, Array], Array], **hyperparam: Any) -> GradientTransformation:
    """f of each leaf and of the one hyperparameter."""

    def rule(
        grads: Params, slots: Any, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Any]:
        (limit,) = hyper.values()
        return tree.map(lambda g: f(g, limit).astype(g.dtype), grads), slots

    return transformation(rule, **hyperparam)

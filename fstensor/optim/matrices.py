"""Optimizers that know matrices: Adafactor, Muon and Shampoo."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from fstensor import lax, tree
from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.errors import OptionError, ShapeError
from fstensor.optim.base import (
    GradientTransformation,
    Hyperparam,
    Params,
    transformation,
)
from fstensor.optim.descent import (
    descent,
    is_zero,
    norm,
    plus_decay,
    real_zeros_like,
    running_mean,
    scaled,
    unless_zero,
)


class Factors(NamedTuple):
    """Running means of the squares of a leaf: of rows and columns, or of each element."""

    rows: Any
    columns: Any
    whole: Any


def adafactor(
    learning_rate: Hyperparam = 1e-2,
    beta2_decay: Hyperparam = -0.8,
    eps1: Hyperparam | None = None,
    eps2: Hyperparam = 1e-3,
    clipping_threshold: Hyperparam = 1.0,
    weight_decay: Hyperparam = 0.0,
) -> GradientTransformation:
    """Adafactor (Shazeer and Stern, 2018, algorithms 4 and 5), as PyTorch has it.

    Of the squares of a matrix it keeps the running means of rows R and columns C, with the decay
    1 - t^beta2_decay; V = R C / mean(R), at least eps1^2, or for vectors the running mean itself.
    With d = g / sqrt(V) and rms(x) = |x| / sqrt(size), the update is -min(learning_rate,
    1 / sqrt(t)) * max(eps2, rms(p)) * d / max(1, rms(d) / clipping_threshold)
    - learning_rate * weight_decay * p.
    eps1: None for the machine epsilon of each leaf. Leaves of more than two axes are stacks.
    """

    def rule(
        grads: Params, slots: Params, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Params]:
        share = step ** hyper["beta2_decay"]
        after = tree.map(lambda g, f: _factors(f, g, share), grads, slots)
        rate = fnp.minimum(hyper["learning_rate"], 1 / fnp.sqrt(step))

        def update(g: Array, f: Factors, p: Array) -> Array:
            least = hyper.get("eps1", fnp.finfo(p.dtype).eps)
            d = g / fnp.sqrt(fnp.maximum(_estimate(f, least), least * least))
            length = fnp.maximum(1, _rms(d) / hyper["clipping_threshold"])
            return -rate * fnp.maximum(hyper["eps2"], _rms(p)) / length * d

        updates = tree.map(update, grads, after, params)
        if not is_zero(weight_decay):
            decay = -hyper["learning_rate"] * hyper["weight_decay"]
            updates = plus_decay(updates, params, decay, None)
        return updates, after

    least_root: dict[str, Any] = {} if eps1 is None else {"eps1": eps1}
    return transformation(
        rule,
        lambda params: tree.map(_no_factors, real_zeros_like("adafactor", params)),
        needs_params="adafactor",
        learning_rate=learning_rate,
        beta2_decay=beta2_decay,
        **least_root,
        eps2=eps2,
        clipping_threshold=clipping_threshold,
        **unless_zero(weight_decay=weight_decay),
    )


def _no_factors(zeros: Array) -> Factors:
    if zeros.ndim < 2:
        return Factors((), (), zeros)
    return Factors(zeros[..., :1], zeros[..., :1, :], ())


def _factors(factors: Factors, g: Array, share: Array) -> Factors:
    def moved(mean: Array, x: Array) -> Array:
        return (mean + share * (x - mean)).astype(mean.dtype)

    if g.ndim < 2:
        return Factors((), (), moved(factors.whole, g * g))
    rows, columns = (fnp.mean(g * g, axis, keepdims=True) for axis in (-1, -2))
    return Factors(moved(factors.rows, rows), moved(factors.columns, columns), ())


def _estimate(f: Factors, least: float | Array) -> Array:
    """What the squares are taken for."""
    if f.rows == ():
        whole: Array = f.whole
        return whole
    return f.rows * f.columns / fnp.maximum(fnp.mean(f.rows, -2, keepdims=True), least)


def _rms(x: Array) -> Array:
    return norm(x) / math.sqrt(x.size)


def muon(
    learning_rate: Hyperparam = 1e-3,
    weight_decay: Hyperparam = 0.1,
    momentum: Hyperparam = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
    eps: Hyperparam = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: Literal["original", "match_rms_adamw", "spectral_unclamped"] = "original",
) -> GradientTransformation:
    """Momentum made orthogonal (Jordan et al., 2024), as PyTorch has it. For matrices only.

    m = momentum * m + (1 - momentum) g; d = m, or with `nesterov` the same mean of g and m. d is
    divided by its norm, at least eps, and made nearly orthogonal by ns_steps of
    X = a X + (b A + c A A) X, A = X X^T, in the dtype of d or float32 (PyTorch: bfloat16).
    The rate is multiplied by sqrt(max(1, rows / columns)) ("original"), 0.2 sqrt(max(rows,
    columns)) ("match_rms_adamw"), or sqrt(rows / columns) ("spectral_unclamped").
    Other parameters go to another optimizer, by `multi_transform`.
    Raises: ShapeError for a leaf that is no matrix, naming it; OptionError for another adjustment.
    """
    factors = {
        "original": lambda m, n: math.sqrt(max(1, m / n)),
        "match_rms_adamw": lambda m, n: 0.2 * math.sqrt(max(m, n)),
        "spectral_unclamped": lambda m, n: math.sqrt(m / n),
    }
    if adjust_lr_fn not in factors:
        raise OptionError(
            f"muon: adjust_lr_fn must be one of {list(factors)}, got {adjust_lr_fn!r}"
        )
    adjusted = factors[adjust_lr_fn]

    def rule(
        grads: Params, slots: Params, params: Params, *, hyper: Mapping[str, Array], step: Array
    ) -> tuple[Params, Params]:
        mean = running_mean(hyper["momentum"], slots, grads)
        ahead = running_mean(hyper["momentum"], mean, grads) if nesterov else mean
        direct = tree.map(
            lambda d: (
                adjusted(*d.shape)
                * orthogonalized(d, hyper["ns_coefficients"], ns_steps, hyper["eps"])
            ),
            ahead,
        )
        if not is_zero(weight_decay):
            direct = plus_decay(direct, params, hyper["weight_decay"], None)
        return scaled(-hyper["learning_rate"], direct), mean

    return transformation(
        rule,
        _matrix_zeros,
        needs_params="" if is_zero(weight_decay) else "muon",
        learning_rate=learning_rate,
        **unless_zero(weight_decay=weight_decay),
        momentum=momentum,
        ns_coefficients=fnp.asarray(np.array(ns_coefficients)),
        eps=eps,
    )


def _matrix_zeros(params: Params) -> Params:
    for path, p in tree.leaves_with_path(params):
        if p.ndim != 2:
            raise ShapeError(
                f"muon: parameters must be matrices, got {p.aval} at {tree.keystr(path)}; "
                "give others to another optimizer by multi_transform"
            )
    return real_zeros_like("muon", params)


def orthogonalized(
    x: Array,
    ns_coefficients: tuple[float, float, float] | Array = (3.4445, -4.7750, 2.0315),
    ns_steps: int = 5,
    eps: float | Array = 1e-7,
) -> Array:
    """A matrix with the singular vectors of `x`, and singular values near 1, as in `muon`.

    Shapes: (m, n) -> (m, n).
    """
    a, b, c = ns_coefficients
    tall = x.shape[0] > x.shape[1]
    y = x.astype(fnp.promote_types(x.dtype, "float32"))
    y = (y.T if tall else y) / fnp.maximum(norm(y), eps)
    for _ in range(ns_steps):
        gram = y @ y.T
        y = a * y + (b * gram + c * (gram @ gram)) @ y
    return y.T if tall else y


class Preconditioner(NamedTuple):
    """Of a leaf, for each axis. sums: of products of gradients. roots: inverse roots of these."""

    sums: tuple[Array, ...]
    roots: tuple[Array, ...]


class ShampooSlots(NamedTuple):
    """Of shampoo. velocity: () without momentum."""

    preconditioners: Any
    velocity: Any


def shampoo(
    learning_rate: Hyperparam = 0.1,
    momentum: Hyperparam = 0.0,
    eps: float = 1e-4,
    weight_decay: Hyperparam = 0.0,
    update_every: int = 1,
    max_size: int = 1024,
) -> GradientTransformation:
    """Shampoo (Gupta, Koren and Singer, 2018, algorithms 1 and 2).

    For each axis i of a leaf with k axes, H_i starts at eps * identity and has the product of the
    gradient with itself over all other axes added; the direction d is the gradient times
    H_i^(-1 / 2k) along each axis, or with momentum v = momentum * v + d. Weight decay is coupled.
    update_every: in which steps, from the first on, the roots are computed anew.
    max_size: of axes longer than this, only the diagonal of H_i is kept.
    Raises: OptionError for an update_every below 1.
    """
    if update_every < 1:
        raise OptionError(f"shampoo: update_every must be at least 1, got {update_every}")
    plain = is_zero(momentum)

    def slots(params: Params) -> ShampooSlots:
        zeros = real_zeros_like("shampoo", params)
        start = tree.map(lambda z: _preconditioner(z, eps, max_size), zeros)
        return ShampooSlots(start, () if plain else zeros)

    def direction(
        grads: Params,
        slots: ShampooSlots,
        params: Params,
        *,
        hyper: Mapping[str, Array],
        step: Array,
    ) -> tuple[Params, ShampooSlots]:
        anew = None if update_every == 1 else (step - 1) % hyper["update_every"] == 0
        after = tree.map(lambda g, h: _with_products(h, g, anew), grads, slots.preconditioners)
        direct = tree.map(_preconditioned, grads, after)
        if plain:
            return direct, ShampooSlots(after, ())
        m = hyper["momentum"]
        velocity = tree.map(lambda v, d: (m * v + d).astype(v.dtype), slots.velocity, direct)
        return velocity, ShampooSlots(after, velocity)

    seldom: dict[str, Any] = {} if update_every == 1 else {"update_every": update_every}
    return descent(
        "shampoo",
        direction,
        slots,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        **unless_zero(momentum=momentum),
        **seldom,
    )


def _preconditioner(p: Array, eps: float, max_size: int) -> Preconditioner:
    dtype = fnp.promote_types(p.dtype, "float32")
    ones = [fnp.ones(n, dtype) if n > max_size else fnp.eye(n, dtype=dtype) for n in p.shape]
    return Preconditioner(tuple([eps * x for x in ones]), tuple(ones))


def _with_products(h: Preconditioner, g: Array, anew: Array | None) -> Preconditioner:
    if g.size == 0:
        return h
    sums = []
    for axis, total in enumerate(h.sums):
        flat = fnp.moveaxis(g.astype(total.dtype), axis, 0).reshape(g.shape[axis], -1)
        sums.append(total + (flat @ flat.T if total.ndim == 2 else fnp.sum(flat * flat, 1)))

    def roots(sums: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple([_inverse_root(x, 2 * g.ndim) for x in sums])

    if anew is None:
        return Preconditioner(tuple(sums), roots(tuple(sums)))
    return Preconditioner(tuple(sums), lax.cond(anew, roots, lambda sums: h.roots, tuple(sums)))


def _inverse_root(x: Array, order: int) -> Array:
    """x^(-1 / order), of a positive matrix or of a diagonal."""
    if x.ndim == 1:
        return x ** (-1 / order)
    values, vectors = fnp.linalg.eigh(x)
    # Sums of squares have no negative eigenvalues but by rounding.
    least = fnp.finfo(x.dtype).eps * fnp.max(values)
    return (vectors * fnp.maximum(values, least) ** (-1 / order)) @ vectors.T


def _preconditioned(g: Array, h: Preconditioner) -> Array:
    for axis, root in enumerate(h.roots):
        moved = fnp.moveaxis(g, axis, -1)
        moved = moved @ root if root.ndim == 2 else moved * root
        g = fnp.moveaxis(moved, -1, axis)
    return g

"""Lengths of vectors, and distances and angles between them.

Derivatives are finite everywhere: 0 at a vector of length 0, where points coincide, and of
components that are 0, as PyTorch has it.
"""

from __future__ import annotations

import math

from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, normalize_axis
from fstensor.core.boundary import boundary
from fstensor.errors import OptionError, ShapeError
from fstensor.nn.reduction import absolute, clamped, floats


def length(what: str, x: Array, p: float, axis: int, keepdims: bool = False) -> Array:
    """(sum |x|^p)^(1/p) along an axis: for p = 1, 2 and infinity, and any other p > 0.

    Raises: OptionError for another p.
    """
    if not p > 0:
        raise OptionError(f"{what}: p must be positive, got {p}")
    if p == 1:
        return fnp.sum(absolute(x), axis, keepdims=keepdims)
    if p == math.inf:
        return fnp.max(absolute(x), axis, keepdims=keepdims, initial=0)
    powers = fnp.square(x) if p == 2 else _power(absolute(x), p)
    return _power(fnp.sum(powers, axis, keepdims=keepdims), 1 / p)


def _power(x: Array, exponent: float) -> Array:
    """x^exponent for x >= 0, with derivative 0 at 0."""
    none = x == 0
    # Where x is 0, the power does not get it: its derivative there is infinite, or 0 times that.
    base = fnp.where(none, fnp.ones((), x.dtype), x)
    power = fnp.sqrt(base) if exponent == 0.5 else base**exponent
    return fnp.where(none, fnp.zeros((), x.dtype), power)


def _pair(what: str, x1: ArrayLike, x2: ArrayLike) -> tuple[Array, Array]:
    """Vectors to compare, which broadcast. Raises: ShapeError."""
    a, b = floats(what, x1, x2)
    try:
        fnp.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(
            f"{what}: shapes must broadcast to each other, got {a.aval} and {b.aval}"
        ) from None
    return a, b


@boundary
def normalize(x: ArrayLike, p: float = 2.0, axis: int = -1, eps: float = 1e-12) -> Array:
    """x divided by its length along an axis, or by eps where that is larger.

    p: the length is (sum |x|^p)^(1/p); p may be infinity. Shapes: those of x.
    Raises: OptionError for a p that is not positive, AxisError, DtypeError for complex numbers.
    """
    (x,) = floats("normalize", x)
    axis = normalize_axis(axis, x.ndim, "normalize")
    return x / clamped(length("normalize", x, p, axis, keepdims=True), eps)


@boundary
def cosine_similarity(x1: ArrayLike, x2: ArrayLike, axis: int = -1, eps: float = 1e-8) -> Array:
    """The cosine of the angle between vectors: x1 x2 / (max(|x1|, eps) max(|x2|, eps)).

    Shapes: x1 and x2 broadcast; the result lacks the axis.
    Raises: ShapeError, AxisError, DtypeError for complex numbers.
    """
    a, b = _pair("cosine_similarity", x1, x2)
    axis = normalize_axis(axis, max(a.ndim, b.ndim), "cosine_similarity")
    a, b = fnp.broadcast_arrays(a, b)
    of_a, of_b = (
        clamped(length("cosine_similarity", x, 2, axis, keepdims=True), eps) for x in (a, b)
    )
    return fnp.sum((a / of_a) * (b / of_b), axis)


@boundary
def pairwise_distance(
    x1: ArrayLike, x2: ArrayLike, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False
) -> Array:
    """The length of x1 - x2 + eps along the last axis, (sum |x|^p)^(1/p).

    Shapes: x1 (..., n), x2 (..., n) -> (...), or (..., 1) with keepdims; they broadcast.
    Raises: ShapeError, OptionError for a p that is not positive, DtypeError for complex numbers.
    """
    a, b = _pair("pairwise_distance", x1, x2)
    difference = a - b + eps
    if not difference.ndim:
        raise ShapeError(f"pairwise_distance: takes vectors, got {a.aval} and {b.aval}")
    return length("pairwise_distance", difference, p, difference.ndim - 1, keepdims)


@boundary
def cdist(x1: ArrayLike, x2: ArrayLike, p: float = 2.0) -> Array:
    """Distances of all vectors of one set from all of another, (sum |difference|^p)^(1/p).

    Shapes: x1 (..., m, n), x2 (..., k, n) -> (..., m, k); batch dimensions broadcast.
    Differences are formed one by one, so that vectors nearly equal have an accurate distance.
    Raises: ShapeError, OptionError for a p that is not positive, DtypeError for complex numbers.
    """
    a, b = floats("cdist", x1, x2)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise ShapeError(f"cdist: takes (..., m, n) and (..., k, n), got {a.aval} and {b.aval}")
    a, b = _pair("cdist", a[..., :, None, :], b[..., None, :, :])
    difference = a - b
    return length("cdist", difference, p, difference.ndim - 1)

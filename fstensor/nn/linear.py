"""Products with parameters: linear in one array, or in each of two."""

from __future__ import annotations

from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.errors import ShapeError
from fstensor.numpy.promote import promote_dtypes


@boundary
def linear(x: ArrayLike, kernel: ArrayLike, bias: ArrayLike | None = None) -> Array:
    """x kernel + bias, along the last axis.

    Shapes: x (..., in), kernel (in, features), bias (features,) -> (..., features).
    Raises: ShapeError for others.
    """
    x, w = promote_dtypes("linear", x, kernel)
    if not x.ndim or w.ndim != 2 or x.shape[-1] != w.shape[0]:
        raise ShapeError(
            f"linear: the kernel must be (in, features) for x (..., in), got {w.aval} for {x.aval}"
        )
    return _with_bias("linear", x @ w, bias)


@boundary
def bilinear(
    x1: ArrayLike, x2: ArrayLike, kernel: ArrayLike, bias: ArrayLike | None = None
) -> Array:
    """y[k] = sum of x1[i] kernel[i, j, k] x2[j] over i and j, + bias[k], along the last axes.

    Shapes: x1 (..., in1), x2 (..., in2), kernel (in1, in2, features), bias (features,) ->
        (..., features); the axes before broadcast.
    Raises: ShapeError for others.
    """
    a, b, w = promote_dtypes("bilinear", x1, x2, kernel)
    if not a.ndim or not b.ndim or w.ndim != 3 or (a.shape[-1], b.shape[-1]) != w.shape[:2]:
        raise ShapeError(
            "bilinear: the kernel must be (in1, in2, features) for x1 (..., in1) and "
            f"x2 (..., in2), got {w.aval} for {a.aval} and {b.aval}"
        )
    # As two products, so that no array has the axes of both inputs and of the outputs.
    of_first = (a @ w.reshape(w.shape[0], -1)).reshape(*a.shape[:-1], *w.shape[1:])
    product = fnp.squeeze(fnp.expand_dims(b, -2) @ of_first, -2)
    return _with_bias("bilinear", product, bias)


def _with_bias(what: str, y: Array, bias: ArrayLike | None) -> Array:
    if bias is None:
        return y
    given = fnp.asarray(bias)
    if given.shape != y.shape[-1:]:
        raise ShapeError(f"{what}: bias must have shape {y.shape[-1:]}, got {given.aval}")
    total: Array = y + given
    return total

"""What losses share: their operands, and what becomes of the losses of single elements."""

from __future__ import annotations

from typing import Literal, TypeAlias

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.numpy.promote import promote_dtypes

Reduction: TypeAlias = Literal["none", "mean", "sum"]


def reduced(what: str, loss: Array, reduction: str, total: Array | float | None = None) -> Array:
    """The losses themselves, their mean or their sum.

    total: what the sum is divided by for the mean, instead of the number of losses.
    Raises: OptionError for another reduction.
    """
    if reduction == "none":
        return loss
    if reduction == "sum":
        return fnp.sum(loss)
    if reduction == "mean":
        return fnp.mean(loss) if total is None else fnp.sum(loss) / total
    raise OptionError(f"{what}: reduction must be none, mean or sum, got {reduction!r}")


def check_reduction(what: str, reduction: str, *others: str) -> None:
    """Raises: OptionError for what is neither none, mean, sum, nor one of the others."""
    known = ("none", "mean", "sum", *others)
    if reduction not in known:
        names = f"{', '.join(known[:-1])} or {known[-1]}"
        raise OptionError(f"{what}: reduction must be {names}, got {reduction!r}")


def floats(what: str, *args: ArrayLike) -> list[Array]:
    """The operands as floats of one dtype, each of its own shape.

    Raises: DtypeError for complex ones, ArgumentError for what is not array-like.
    """
    arrays = promote_dtypes(what, *args)
    kind = arrays[0].dtype
    if dtypes.is_complex(kind):
        raise DtypeError(f"{what}: takes real numbers, got {dtypes.name(kind)}")
    if not dtypes.is_inexact(kind):
        arrays = [x.astype(dtypes.to_inexact(kind)) for x in arrays]
    return arrays


def of_one_shape(what: str, **args: ArrayLike) -> list[Array]:
    """The operands as floats of one dtype and one shape; scalars stay scalars.

    They are not broadcast: the mean over (n, 1) against (n,) would count n * n pairs.
    Raises: ShapeError, DtypeError.
    """
    arrays = floats(what, *args.values())
    if len({x.shape for x in arrays if x.ndim}) > 1:
        given = " and ".join(str(x.aval) for x in arrays)
        raise ShapeError(f"{what}: {' and '.join(args)} must have one shape, got {given}")
    return arrays


def weights_like(what: str, weight: ArrayLike, x: Array, axis: int | None = None) -> Array:
    """Weights in the dtype of `x`, which broadcast with it.

    axis: they are one for each place along this axis. Raises: ShapeError.
    """
    w = fnp.asarray(weight, x.dtype)
    if axis is None:
        fits = w.ndim <= x.ndim and all(
            n in (1, m) for n, m in zip(w.shape, x.shape[x.ndim - w.ndim :], strict=True)
        )
        if not fits:
            raise ShapeError(f"{what}: weights must broadcast to {x.aval}, got {w.aval}")
        return w
    if w.shape != (x.shape[axis],):
        raise ShapeError(
            f"{what}: weight must have one number for each of {x.shape[axis]} classes, got {w.aval}"
        )
    return w


def absolute(x: Array) -> Array:
    """|x|, with derivative 0 at 0: equal operands pull neither way."""
    return x * lax.stop_gradient(fnp.sign(x))


def clamped(x: Array, low: float = 0.0) -> Array:
    """The larger of `x` and `low`, with derivative 0 where they are equal, as in PyTorch."""
    return fnp.where(x <= low, fnp.asarray(low, x.dtype), x)

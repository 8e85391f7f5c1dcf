"""Normalization, of activations and of weights.

Channels are the last axis unless `axis` says otherwise. Of float16 and bfloat16, statistics are
computed in float32; variances divide by n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.numpy.promote import inexact

Axes: TypeAlias = int | Sequence[int]
AxisName: TypeAlias = str | tuple[str, ...]


def axes_of(what: str, axis: Axes, ndim: int) -> tuple[int, ...]:
    """Axes as they count from the front, in order. Raises: ShapeError for one out of range."""
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -ndim <= a < ndim for a in given):
        raise ShapeError(f"{what}: axis {given} must be within {ndim} axes")
    return tuple(sorted({a % ndim for a in given}))


def _floats(what: str, x: ArrayLike) -> Array:
    """Real floats. Raises: DtypeError for complex numbers."""
    x = inexact(what, x)
    if dtypes.is_complex(x.dtype):
        raise DtypeError(f"{what}: must be real, got {x.aval}")
    return x


def _wide(x: Array) -> Array:
    """At least float32, in which squares of float16 do not overflow."""
    return x.astype(fnp.promote_types(x.dtype, np.float32))


def _along(what: str, name: str, x: Array, parameter: ArrayLike, axes: tuple[int, ...]) -> Array:
    """A parameter with an element for each index of some axes, with the rank of x."""
    parameter = fnp.asarray(parameter)
    wanted = tuple(x.shape[a] for a in axes)
    if parameter.shape != wanted:
        raise ShapeError(
            f"{what}: {name} must have shape {wanted} for {x.aval}, got {parameter.aval}"
        )
    return parameter.reshape([n if a in axes else 1 for a, n in enumerate(x.shape)])


def _affine(
    what: str,
    y: Array,
    scale: ArrayLike | None,
    bias: ArrayLike | None,
    axes: tuple[int, ...],
) -> Array:
    if scale is not None:
        y = y * _along(what, "scale", y, scale, axes)
    return y if bias is None else y + _along(what, "bias", y, bias, axes)


def _standardized(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    """(x - mean) / sqrt(variance + epsilon), over some axes."""
    wide = _wide(x)
    centered = wide - fnp.mean(wide, axes, keepdims=True)
    variance = fnp.mean(centered * centered, axes, keepdims=True)
    return (centered * lax.rsqrt(variance + epsilon)).astype(x.dtype)


@boundary
def layer_norm(
    x: ArrayLike,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axes = -1,
    epsilon: float = 1e-5,
) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, over `axis` (Ba et al., 2016).

    Shapes: any; scale and bias have those of x along `axis`.
    Raises: ShapeError for other shapes, or an axis out of range.
    """
    x = _floats("layer_norm", x)
    axes = axes_of("layer_norm", axis, x.ndim)
    return _affine("layer_norm", _standardized(x, axes, epsilon), scale, bias, axes)


@boundary
def rms_norm(
    x: ArrayLike,
    scale: ArrayLike | None = None,
    *,
    axis: Axes = -1,
    epsilon: float | None = None,
) -> Array:
    """x / sqrt(mean(x^2) + epsilon) * scale, over `axis` (Zhang and Sennrich, 2019, eq. 4).

    epsilon: the distance from 1 to the next number of the dtype for None, as in PyTorch.
    Shapes: any; scale has that of x along `axis`.
    Raises: ShapeError for other shapes, or an axis out of range.
    """
    x = _floats("rms_norm", x)
    axes = axes_of("rms_norm", axis, x.ndim)
    if epsilon is None:
        epsilon = float(dtypes.finfo(x.dtype).eps)
    wide = _wide(x)
    y = wide * lax.rsqrt(fnp.mean(wide * wide, axes, keepdims=True) + epsilon)
    return _affine("rms_norm", y.astype(x.dtype), scale, None, axes)


@boundary
def instance_norm(
    x: ArrayLike,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
) -> Array:
    """Standardize each channel of each example (Ulyanov et al., 2016, eq. 4).

    Shapes: x (n, ..., channels), with the axis of channels in `axis`; scale and bias (channels,).
    Raises: ShapeError for other shapes, or no axis between.
    """
    x = _floats("instance_norm", x)
    channels = axes_of("instance_norm", axis, x.ndim)
    axes = tuple(a for a in range(1, x.ndim) if a not in channels)
    if not axes:
        raise ShapeError(f"instance_norm: needs three axes or more, got {x.aval}")
    return _affine("instance_norm", _standardized(x, axes, epsilon), scale, bias, channels)


@boundary
def group_norm(
    x: ArrayLike,
    groups: int,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
) -> Array:
    """Standardize each group of neighboring channels of each example (Wu and He, 2018, eq. 7).

    Shapes: x (n, ..., channels), with the axis of channels in `axis`; scale and bias (channels,).
    Raises: ShapeError for other shapes, OptionError for groups that do not divide the channels.
    """
    x = _floats("group_norm", x)
    (at,) = channels = axes_of("group_norm", axis, x.ndim)
    count = x.shape[at]
    if at == 0:
        raise ShapeError(f"group_norm: channels must not be the first axis, got {x.aval}")
    if groups < 1 or count % groups:
        raise OptionError(
            f"group_norm: groups must divide the channels of {x.aval}, {count}, got {groups}"
        )
    split = x.reshape(*x.shape[:at], groups, count // groups, *x.shape[at + 1 :])
    axes = tuple(a for a in range(1, split.ndim) if a != at)
    y = _standardized(split, axes, epsilon).reshape(x.shape)
    return _affine("group_norm", y, scale, bias, channels)


@boundary
def local_response_norm(
    x: ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    axis: int = -1,
) -> Array:
    """x / (k + alpha * mean of the squares of `size` channels around)^beta.

    As Krizhevsky et al., 2012, section 3.3, but with alpha / size in place of alpha, as in PyTorch.
    Of an even size, one channel more is before than after; there are zeros beyond the ends.
    Shapes: any. Raises: OptionError for a size below 1, ShapeError for an axis out of range.
    """
    if size < 1:
        raise OptionError(f"local_response_norm: size must be 1 or more, got {size}")
    x = _floats("local_response_norm", x)
    (at,) = axes_of("local_response_norm", axis, x.ndim)
    before = size // 2
    pads = [(before, size - 1 - before) if a == at else (0, 0) for a in range(x.ndim)]
    padded = fnp.pad(fnp.square(_wide(x)), pads)
    parts = [lax.slice_in_dim(padded, i, i + x.shape[at], axis=at) for i in range(size)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    y: Array = (x / (total * (alpha / size) + k) ** beta).astype(x.dtype)
    return y


@boundary
def batch_norm(
    x: ArrayLike,
    running_mean: ArrayLike | None,
    running_var: ArrayLike | None,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    train: bool = False,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    axis: int = -1,
    axis_name: AxisName | None = None,
) -> tuple[Array, Array | None, Array | None]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias for each channel, and what runs.

    Returns the outputs, the running means and the running variances afterwards. While training,
    mean and variance are those over all axes but that of channels, and over the devices or examples
    of `axis_name`, and running = momentum * running + (1 - momentum) * new, with the variance
    divided by n - 1 as in PyTorch, whose momentum is 1 - ours. Otherwise the running ones are used,
    and given back as they are. Without running ones (None), it is always done as in training
    (Ioffe and Szegedy, 2015). No derivative goes through what runs.
    Shapes: x (..., channels), with the axis of channels in `axis`; others (channels,).
    Raises: ShapeError for other shapes, OptionError for one running statistic without the other.
    """
    x = _floats("batch_norm", x)
    if (running_mean is None) != (running_var is None):
        raise OptionError("batch_norm: running_mean and running_var must both be given, or neither")
    channels = axes_of("batch_norm", axis, x.ndim)
    axes = tuple(a for a in range(x.ndim) if a not in channels)
    mean_after: Array | None = None
    var_after: Array | None = None
    if running_mean is None or running_var is None:
        mean, variance, _ = _of_batch(x, axes, axis_name)
    else:
        mean_after, var_after = fnp.asarray(running_mean), fnp.asarray(running_var)
        mean = _along("batch_norm", "running_mean", x, mean_after, channels)
        variance = _along("batch_norm", "running_var", x, var_after, channels)
        if train:
            mean, variance, n = _of_batch(x, axes, axis_name)
            mean_after = moved(mean_after, mean, momentum)
            var_after = moved(var_after, variance * (n / max(n - 1, 1)), momentum)
    y = ((x - mean) * lax.rsqrt(variance + epsilon)).astype(x.dtype)
    y = _affine("batch_norm", y, scale, bias, channels)
    return y, mean_after, var_after


def _of_batch(
    x: Array, axes: tuple[int, ...], axis_name: AxisName | None
) -> tuple[Array, Array, int]:
    """Mean and variance with the rank of x, and of how many elements each of them is."""
    n, x = math.prod(x.shape[a] for a in axes), _wide(x)
    mean = fnp.mean(x, axes, keepdims=True)
    if axis_name is not None:
        mean = lax.pmean(mean, axis_name)
        n *= lax.axis_size(axis_name)
    centered = x - mean
    variance = fnp.mean(centered * centered, axes, keepdims=True)
    if axis_name is not None:
        variance = lax.pmean(variance, axis_name)
    return mean, variance, n


def moved(running: Array, new: Array, momentum: float) -> Array:
    """Running statistics after new ones. No derivative goes through them."""
    new = lax.stop_gradient(new).reshape(running.shape).astype(running.dtype)
    return momentum * running + (1 - momentum) * new


@boundary
def weight_norm(direction: ArrayLike, magnitude: ArrayLike, *, axis: Axes = -1) -> Array:
    """magnitude * direction / |direction| (Salimans and Kingma, 2016, eq. 2).

    Norms are over all axes but `axis`, along which magnitude has its elements.
    Shapes: direction any, magnitude that of direction along `axis`. Raises: ShapeError for others.
    """
    direction = inexact("weight_norm", direction)
    axes = axes_of("weight_norm", axis, direction.ndim)
    norm = weight_magnitude(direction, axis).reshape(
        [n if a in axes else 1 for a, n in enumerate(direction.shape)]
    )
    return direction * (_along("weight_norm", "magnitude", direction, magnitude, axes) / norm)


def weight_magnitude(weight: Array, axis: Axes = -1) -> Array:
    """The norms of a weight over all axes but `axis`, with which `weight_norm` gives it back."""
    axes = axes_of("weight_norm", axis, weight.ndim)
    others = tuple(a for a in range(weight.ndim) if a not in axes)
    magnitude: Array = fnp.sqrt(fnp.sum(weight * weight, others))
    return magnitude


@boundary
def spectral_norm(
    weight: ArrayLike,
    u: ArrayLike,
    v: ArrayLike,
    *,
    steps: int = 1,
    epsilon: float = 1e-12,
    axis: int = -1,
) -> tuple[Array, Array, Array]:
    """weight / its largest singular value, as power iteration finds it; and u and v afterwards.

    (Miyato et al., 2018, algorithm 1, beginning each iteration with u, as PyTorch does.) The matrix
    has a row for each index of `axis`. steps: iterations; with 0, u and v stay as they are, as they
    should in evaluation. No derivative goes through u and v.
    Shapes: weight any of two axes or more, u (rows,), v (weight.size / rows,).
    Raises: ShapeError for others, OptionError for steps below 0.
    """
    weight = inexact("spectral_norm", weight)
    if steps < 0:
        raise OptionError(f"spectral_norm: steps must be 0 or more, got {steps}")
    (at,) = axes_of("spectral_norm", axis, weight.ndim)
    matrix = fnp.moveaxis(weight, at, 0).reshape(weight.shape[at], -1)
    left, right = fnp.asarray(u), fnp.asarray(v)
    if left.shape != matrix.shape[:1] or right.shape != matrix.shape[1:]:
        raise ShapeError(
            f"spectral_norm: u and v must have shapes {matrix.shape[:1]} and {matrix.shape[1:]} "
            f"for {weight.aval}, got {left.aval} and {right.aval}"
        )
    held = lax.stop_gradient(matrix)
    for _ in range(steps):
        left = _of_length_one(held @ right, epsilon)
        right = _of_length_one(held.T @ left, epsilon)
    left, right = lax.stop_gradient(left), lax.stop_gradient(right)
    sigma = fnp.dot(left, matrix @ right)
    return weight / sigma, left, right


def _of_length_one(x: Array, epsilon: float) -> Array:
    unit: Array = x / fnp.maximum(fnp.sqrt(fnp.sum(x * x)), epsilon)
    return unit

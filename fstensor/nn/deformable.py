"""Convolution whose windows take their elements from places that are computed."""

from __future__ import annotations

import math

from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.errors import ShapeError
from fstensor.nn.spatial import Padding, Sizes, Windows, windows_over
from fstensor.numpy.promote import inexact, promote_dtypes


@boundary
def deform_conv2d(
    x: ArrayLike,
    offset: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    mask: ArrayLike | None = None,
) -> Array:
    """`conv` of images, whose elements are taken beside their places (Dai et al., 2017, eq. 2).

    At each place, the sum over k of x[p stride + k dilation + offset[p, k]] mask[p, k] kernel[k],
    and the bias; between pixels x is bilinear, and beyond its edges 0. With a mask it is the second
    version of the authors (Zhu et al., 2019, eq. 1).
    padding: numbers, pairs or words, as in `conv`.
    Shapes: x (n, h, w, c), kernel (kh, kw, c / groups, features), bias (features,), offset
        (n, h', w', parts kh kw 2), mask (n, h', w', parts kh kw) -> (n, h', w', features). The
        channels fall into `parts` parts of equal size, each with offsets (down, right) of its own
        for each k.
    Raises: ShapeError where shapes do not fit, OptionError for arguments of two axes that do not.
    Names and order of offsets are those of torchvision.ops, with channels last.
    """
    what = "deform_conv2d"
    x, given, w = promote_dtypes(what, inexact(what, x), offset, kernel)
    if x.ndim != 4 or w.ndim != 4 or not w.shape[2] or x.shape[3] % w.shape[2]:
        raise ShapeError(
            f"{what}: the kernel must be (kh, kw, c / groups, features) for x (n, h, w, c), got "
            f"{w.aval} for {x.aval}"
        )
    over = windows_over(what, x.shape[1:3], w.shape[:2], dilation, padding, stride)
    places, count = over.places, math.prod(w.shape[:2])
    parts = given.shape[-1] // (2 * count) if given.ndim == 4 else 0
    if given.shape != (x.shape[0], *places, parts * count * 2):
        raise ShapeError(
            f"{what}: offset must be (n, {places[0]}, {places[1]}, parts * {2 * count}) for "
            f"{x.aval} and kernel {w.aval}, got {given.aval}"
        )
    if not parts or x.shape[3] % parts:
        raise ShapeError(
            f"{what}: the parts of offset must divide {x.shape[3]} channels, got {given.aval}"
        )
    shape = (x.shape[0], *places, parts, count)
    sampled = _sampled(x, _grid(over).astype(given.dtype) + given.reshape(*shape, 2))
    if mask is not None:
        weights = _of_windows(what, mask, shape).astype(sampled.dtype)
        sampled = sampled * fnp.expand_dims(weights, -1)
    return _multiplied(what, sampled, w, bias)


def _of_windows(what: str, mask: ArrayLike, shape: tuple[int, ...]) -> Array:
    found = fnp.asarray(mask)
    wanted = (*shape[:3], math.prod(shape[3:]))
    if found.shape != wanted:
        raise ShapeError(f"{what}: mask must have shape {wanted}, got {found.aval}")
    return found.reshape(shape)


def _grid(over: Windows) -> Array:
    """Where elements of windows are without offsets: (h', w', 1, kh kw, 2)."""
    down, right = (
        fnp.arange(m)[:, None] * s - low + fnp.arange(k) * d
        for m, k, s, d, (low, _) in zip(
            over.places, over.window, over.strides, over.dilation, over.pairs, strict=True
        )
    )
    down, right = fnp.broadcast_arrays(down[:, None, :, None], right[None, :, None, :])
    return fnp.stack([down, right], -1).reshape(*over.places, 1, -1, 2)


def _sampled(x: Array, at: Array) -> Array:
    """What is at places between pixels: (n, h', w', parts, kh kw, channels of a part)."""
    n, height, width, channels = x.shape
    parts = at.shape[3]
    first = fnp.floor(at)
    far = at - first
    # To (n, parts, pixels, channels of a part), of which each place takes some.
    pixels = fnp.moveaxis(x.reshape(n, height * width, parts, channels // parts), 2, 1)
    total: Array | None = None
    for down in (0, 1):
        for right in (0, 1):
            row, column = first[..., 0] + down, first[..., 1] + right
            share = _near(far[..., 0], down) * _near(far[..., 1], right)
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = fnp.where(inside, row * width + column, 0).astype("int32")
            flat = fnp.moveaxis(index, 3, 1).reshape(n, parts, -1, 1)
            taken = fnp.take_along_axis(pixels, flat, 2)
            taken = taken.reshape(n, parts, *index.shape[1:3], index.shape[4], -1)
            share = fnp.expand_dims(fnp.where(inside, share, 0), -1)
            part = fnp.moveaxis(taken, 1, 3) * share
            total = part if total is None else total + part
    assert total is not None
    return total


def _near(far: Array, side: int) -> Array:
    """How much of the pixel before (0) or after (1) there is, so far from the one before."""
    return far if side else 1 - far


def _multiplied(what: str, sampled: Array, w: Array, bias: ArrayLike | None) -> Array:
    """The product of windows (n, h', w', parts, kh kw, channels of a part) with a kernel."""
    n, high, wide, parts, count, each = sampled.shape
    groups, features = parts * each // w.shape[2], w.shape[3]
    if features % groups:
        raise ShapeError(f"{what}: features must fall into {groups} groups, got {w.aval}")
    windows = fnp.moveaxis(sampled, 3, 4).reshape(n, high, wide, count, groups, w.shape[2])
    kernel = w.reshape(count, w.shape[2], groups, features // groups)
    y = fnp.einsum("nhwkgc,kcgf->nhwgf", windows, kernel).reshape(n, high, wide, features)
    if bias is None:
        return y
    given = fnp.asarray(bias)
    if given.shape != (features,):
        raise ShapeError(f"{what}: bias must have shape {(features,)}, got {given.aval}")
    total: Array = y + given
    return total

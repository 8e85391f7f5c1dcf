"""Convolutions over one to three spatial axes, and their transposes.

With x (n, *spatial, c) and a kernel (*window, c / groups, features); see `spatial` for layouts with
channels in front. The kernel's layout is the same for all of them.
"""

from __future__ import annotations

from fstensor import lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.errors import OptionError, ShapeError
from fstensor.nn.spatial import (
    Layout,
    Padding,
    Sizes,
    layout_of,
    of_rank,
    padded,
    pairs_of,
    per_axis,
    reach_of,
)
from fstensor.numpy.promote import promote_dtypes


@boundary
def conv(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    data_format: str | None = None,
) -> Array:
    """At each place p, the sum over k of x[p stride + k dilation] kernel[k], and the bias.

    padding: an integer, or for each spatial axis an integer or a pair; "valid"; or "same", which
        gives ceil(size / stride) places.
    groups: channels and features fall into this many groups, convolved apart from each other.
    padding_mode: "zeros", "reflect", "replicate" or "circular"; see `pad`.
    Shapes: x (n, *s, c), kernel (*window, c / groups, features), bias (features,) ->
        (n, *y, features), y = floor((padded s - dilation (window - 1) - 1) / stride) + 1.
    Raises: ShapeError where shapes do not fit, OptionError for arguments that do not fit the rank.

    >>> from fstensor import nn
    >>> x, kernel = fnp.ones((1, 8, 8, 4)), fnp.ones((3, 3, 4, 6))
    >>> nn.conv(x, kernel, stride=2, padding=1).shape
    (1, 4, 4, 6)
    """
    x, w = promote_dtypes("conv", x, kernel)
    layout = layout_of("conv", x, data_format)
    window = _window("conv", x, w, layout, groups)
    rank = len(window)
    strides = per_axis("conv", "stride", stride, rank)
    spread = per_axis("conv", "dilation", dilation, rank)
    reach = reach_of(window, spread)
    pairs = pairs_of("conv", padding, layout.sizes(x), reach, strides)
    if padding_mode != "zeros":
        x = padded("conv", x, list(layout.everywhere(pairs, (0, 0))), padding_mode)
        pairs = [(0, 0)] * rank
    for n, (low, high), k in zip(layout.sizes(x), pairs, reach, strict=True):
        if n + low + high < k:
            raise ShapeError(
                f"conv: the window must fit into the padded axes, got {x.aval} padded by {pairs} "
                f"and a kernel that reaches over {reach}"
            )
    y = lax.conv_general_dilated(
        x,
        w,
        strides,
        pairs,
        rhs_dilation=spread,
        dimension_numbers=_numbers(layout),
        feature_group_count=groups,
    )
    return _with_bias("conv", y, bias, layout)


@boundary
def conv_transpose(
    x: ArrayLike,
    kernel: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
    *,
    data_format: str | None = None,
) -> Array:
    """Each x[p] times the kernel, laid at p stride - padding, summed up: `conv` transposed.

    padding: what that convolution would have; "same" gives size stride places, "valid" is none.
    output_padding: how many more places there are at the end; it is less than stride or dilation.
    Shapes: x (n, *s, c), kernel (*window, c / groups, features), bias (features,) ->
        (n, *y, features), y = (s - 1) stride - 2 padding + dilation (window - 1) + output_padding
        + 1. Where PyTorch has a kernel (c, features / groups, *window), group by group, this one
        has the inputs of a group and the features of all, as in `conv`.
    Raises: ShapeError where shapes do not fit, OptionError for arguments that do not fit the rank.
    """
    x, w = promote_dtypes("conv_transpose", x, kernel)
    layout = layout_of("conv_transpose", x, data_format)
    window = _window("conv_transpose", x, w, layout, groups)
    rank = len(window)
    strides = per_axis("conv_transpose", "stride", stride, rank)
    spread = per_axis("conv_transpose", "dilation", dilation, rank)
    further = per_axis("conv_transpose", "output_padding", output_padding, rank, 0)
    if any(e >= max(s, d) for e, s, d in zip(further, strides, spread, strict=True)):
        raise OptionError(
            "conv_transpose: output_padding must be less than stride or dilation, "
            f"got {further}, {strides} and {spread}"
        )
    reach = reach_of(window, spread)
    sizes = layout.sizes(x)
    if isinstance(padding, str) and padding.lower() == "same":
        lows = [max(k - s, 0) // 2 for k, s in zip(reach, strides, strict=True)]
        pairs = [(low, k - s - low) for low, k, s in zip(lows, reach, strides, strict=True)]
    else:
        pairs = pairs_of("conv_transpose", padding, sizes, reach, strides)
    around = [
        (k - 1 - low, k - 1 - high + e)
        for k, (low, high), e in zip(reach, pairs, further, strict=True)
    ]
    for n, s, (low, high), k in zip(sizes, strides, around, reach, strict=True):
        if (n - 1) * s + 1 + low + high < k:
            raise ShapeError(
                f"conv_transpose: padding must leave something, got {x.aval} with stride "
                f"{strides} and padding {pairs}"
            )
    y = lax.conv_general_dilated(
        x,
        fnp.flip(w, tuple(range(rank))),
        (1,) * rank,
        around,
        lhs_dilation=strides,
        rhs_dilation=spread,
        dimension_numbers=_numbers(layout),
        feature_group_count=groups,
    )
    return _with_bias("conv_transpose", y, bias, layout)


def _window(what: str, x: Array, kernel: Array, layout: Layout, groups: int) -> tuple[int, ...]:
    """The kernel's window, after its shape was found to fit."""
    per_axis(what, "groups", groups, 1)
    channels = x.shape[layout.channels]
    if kernel.ndim != x.ndim:
        raise ShapeError(
            f"{what}: the kernel must be (*window, channels / groups, features) with a window "
            f"over {len(layout.spatial)} axes, got {kernel.aval} for x {x.aval}"
        )
    if kernel.shape[-2] * groups != channels or kernel.shape[-1] % groups:
        raise ShapeError(
            f"{what}: channels and features must fall into {groups} groups of those of the kernel "
            f"(*window, channels / groups, features), got {kernel.aval} for x {x.aval}"
        )
    return kernel.shape[:-2]


def _numbers(layout: Layout) -> tuple[str, str, str]:
    """For lax, which layouts x, the kernel and the result have."""
    window = layout.letters.replace("N", "").replace("C", "")
    return layout.letters, f"{window}IO", layout.letters


def _with_bias(what: str, y: Array, bias: ArrayLike | None, layout: Layout) -> Array:
    if bias is None:
        return y
    y, b = promote_dtypes(what, y, bias)
    features = y.shape[layout.channels]
    if b.shape != (features,):
        raise ShapeError(f"{what}: bias must have the shape ({features},), got {b.aval}")
    return y + fnp.reshape(b, (features, *[1] * (y.ndim - 1 - layout.channels)))


conv1d, conv2d, conv3d = (of_rank(conv, rank) for rank in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (
    of_rank(conv_transpose, rank) for rank in (1, 2, 3)
)

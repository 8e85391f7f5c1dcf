"""Layers that convolve. Layouts are those of `fstensor.nn.spatial`, channels last by default.

A kernel is (*window, channels / groups, features): the fan-in of initializers is the size of the
window times the channels of a group.
"""

from __future__ import annotations

import math
from typing import ClassVar, final

from fstensor import numpy as fnp
from fstensor import random
from fstensor.array import Array, DtypeLike
from fstensor.errors import ShapeError
from fstensor.nn import initializers
from fstensor.nn.convolution import conv, conv_transpose
from fstensor.nn.deformable import deform_conv2d
from fstensor.nn.layer import Initializer, Layer, Net
from fstensor.nn.spatial import Padding, Sizes, layout_of, per_axis, unfold, windows_over
from fstensor.transforms.vmap import vmap


class _Convolution(Layer):
    """What convolutions of all ranks share."""

    rank: ClassVar[int]

    features: int
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Padding = 0
    dilation: Sizes = 1
    groups: int = 1
    bias: bool = True
    padding_mode: str = "zeros"
    data_format: str | None = None
    kernel_init: Initializer = initializers.lecun_normal()
    bias_init: Initializer = initializers.zeros

    def forward(self, net: Net, x: Array) -> Array:
        x = fnp.asarray(x)
        channels = _channels(self, x, self.data_format, self.rank)
        groups = channels if self.groups == -1 else self.groups
        window = per_axis(type(self).__name__, "kernel_size", self.kernel_size, self.rank)
        shape = (*window, _share(self, channels, groups), self.features)
        return conv(
            x,
            net.param("kernel", self.kernel_init, shape),
            net.param("bias", self.bias_init, (self.features,)) if self.bias else None,
            self.stride,
            self.padding,
            self.dilation,
            groups,
            padding_mode=self.padding_mode,
            data_format=self.data_format,
        )


def _channels(layer: Layer, x: Array, data_format: str | None, rank: int | None) -> int:
    """The channels of an input. Raises: ShapeError for another number of spatial axes."""
    name = type(layer).__name__
    layout = layout_of(name, x, data_format)
    if rank is not None and len(layout.spatial) != rank:
        raise ShapeError(f"{name}: x must have {rank + 2} axes, got {x.aval}")
    return x.shape[layout.channels]


def _share(layer: Layer, channels: int, groups: int) -> int:
    """The channels of each group."""
    name = type(layer).__name__
    per_axis(name, "groups", groups, 1)
    if channels % groups:
        raise ShapeError(
            f"{name}: channels must fall into {groups} groups of equal size, got {channels}"
        )
    return channels // groups


@final
class Conv1d(_Convolution):
    """`conv` over signals. groups = -1 means one for each channel.

    Shapes: x (n, s, c), kernel (k, c / groups, features), bias (features,) -> (n, y, features).
    Raises: ShapeError where shapes do not fit, OptionError; see `conv`.
    """

    rank = 1


@final
class Conv2d(_Convolution):
    """`conv` over images. groups = -1 means one for each channel.

    Shapes: x (n, h, w, c), kernel (kh, kw, c / groups, features), bias (features,) ->
    (n, h', w', features).
    Raises: ShapeError where shapes do not fit, OptionError; see `conv`.
    """

    rank = 2


@final
class Conv3d(_Convolution):
    """`conv` over volumes. groups = -1 means one for each channel.

    Shapes: x (n, d, h, w, c), kernel (kd, kh, kw, c / groups, features), bias (features,) ->
    (n, d', h', w', features).
    Raises: ShapeError where shapes do not fit, OptionError; see `conv`.
    """

    rank = 3


class _Transposed(Layer):
    """What transposed convolutions of all ranks share."""

    rank: ClassVar[int]

    features: int
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Padding = 0
    output_padding: Sizes = 0
    groups: int = 1
    dilation: Sizes = 1
    bias: bool = True
    data_format: str | None = None
    kernel_init: Initializer = initializers.lecun_normal()
    bias_init: Initializer = initializers.zeros

    def forward(self, net: Net, x: Array) -> Array:
        x = fnp.asarray(x)
        channels = _channels(self, x, self.data_format, self.rank)
        window = per_axis(type(self).__name__, "kernel_size", self.kernel_size, self.rank)
        shape = (*window, _share(self, channels, self.groups), self.features)
        return conv_transpose(
            x,
            net.param("kernel", self.kernel_init, shape),
            net.param("bias", self.bias_init, (self.features,)) if self.bias else None,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
            data_format=self.data_format,
        )


@final
class ConvTranspose1d(_Transposed):
    """`conv_transpose` over signals.

    Shapes: x (n, s, c), kernel (k, c / groups, features), bias (features,) -> (n, y, features).
    Raises: ShapeError where shapes do not fit, OptionError; see `conv_transpose`.
    """

    rank = 1


@final
class ConvTranspose2d(_Transposed):
    """`conv_transpose` over images.

    Shapes: x (n, h, w, c), kernel (kh, kw, c / groups, features), bias (features,) ->
    (n, h', w', features).
    Raises: ShapeError where shapes do not fit, OptionError; see `conv_transpose`.
    """

    rank = 2


@final
class ConvTranspose3d(_Transposed):
    """`conv_transpose` over volumes.

    Shapes: x (n, d, h, w, c), kernel (kd, kh, kw, c / groups, features), bias (features,) ->
    (n, d', h', w', features).
    Raises: ShapeError where shapes do not fit, OptionError; see `conv_transpose`.
    """

    rank = 3


@final
class DepthwiseConv(Layer):
    """`conv` of each channel by itself, with `multiplier` kernels for each.

    Shapes: x (n, *s, c), kernel (*window, 1, c multiplier), bias (c multiplier,) ->
    (n, *y, c multiplier), for one to three spatial axes.
    Raises: ShapeError where shapes do not fit, OptionError; see `conv`.
    """

    kernel_size: Sizes
    multiplier: int = 1
    stride: Sizes = 1
    padding: Padding = 0
    dilation: Sizes = 1
    bias: bool = True
    padding_mode: str = "zeros"
    data_format: str | None = None
    kernel_init: Initializer = initializers.lecun_normal()
    bias_init: Initializer = initializers.zeros

    def forward(self, net: Net, x: Array) -> Array:
        x = fnp.asarray(x)
        channels = _channels(self, x, self.data_format, None)
        window = per_axis("DepthwiseConv", "kernel_size", self.kernel_size, x.ndim - 2)
        features = channels * per_axis("DepthwiseConv", "multiplier", self.multiplier, 1)[0]
        return conv(
            x,
            net.param("kernel", self.kernel_init, (*window, 1, features)),
            net.param("bias", self.bias_init, (features,)) if self.bias else None,
            self.stride,
            self.padding,
            self.dilation,
            channels,
            padding_mode=self.padding_mode,
            data_format=self.data_format,
        )


@final
class SeparableConv(Layer):
    """A convolution of each channel by itself, then one that mixes them at each place.

    From Chollet, 2017, section 2, with nothing between the two. Their parameters are in
    "depthwise", without a bias, and in "pointwise".
    Shapes: x (n, *s, c) -> (n, *y, features), for one to three spatial axes.
    Raises: ShapeError where shapes do not fit, OptionError; see `conv`.
    """

    features: int
    kernel_size: Sizes
    multiplier: int = 1
    stride: Sizes = 1
    padding: Padding = 0
    dilation: Sizes = 1
    bias: bool = True
    padding_mode: str = "zeros"
    data_format: str | None = None
    kernel_init: Initializer = initializers.lecun_normal()
    bias_init: Initializer = initializers.zeros

    def forward(self, net: Net, x: Array) -> Array:
        depthwise = DepthwiseConv(
            self.kernel_size,
            self.multiplier,
            self.stride,
            self.padding,
            self.dilation,
            bias=False,
            padding_mode=self.padding_mode,
            data_format=self.data_format,
            kernel_init=self.kernel_init,
        )
        pointwise = (Conv1d, Conv2d, Conv3d)[max(min(x.ndim, 5) - 3, 0)](
            self.features,
            1,
            bias=self.bias,
            data_format=self.data_format,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
        )
        x = net.child("depthwise", depthwise)(x)
        y: Array = net.child("pointwise", pointwise)(x)
        return y


@final
class LocalConv(Layer):
    """As a convolution, but with a kernel and a bias of its own at each place.

    The kernel of each place is drawn by itself, so that its fan-in is that of one window.
    Shapes: x (n, *s, c), kernel (*y, c prod(window), features), whose second axis from behind is by
    channel first, bias (*y, features) -> (n, *y, features), for one to three spatial axes.
    Raises: ShapeError where shapes do not fit, OptionError; see `unfold`.
    """

    features: int
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Padding = 0
    dilation: Sizes = 1
    bias: bool = True
    data_format: str | None = None
    kernel_init: Initializer = initializers.lecun_normal()
    bias_init: Initializer = initializers.zeros

    def forward(self, net: Net, x: Array) -> Array:
        x = fnp.asarray(x)
        layout = layout_of("LocalConv", x, self.data_format)
        x = fnp.moveaxis(x, layout.channels, -1)
        windows = (self.kernel_size, self.dilation, self.padding, self.stride)
        places = windows_over("LocalConv", x.shape[1:-1], *windows).places
        patches = unfold(x, *windows)

        def each(key: Array, shape: tuple[int, ...], dtype: DtypeLike) -> Array:
            keys = random.split(key, math.prod(places))
            drawn = vmap(lambda key: self.kernel_init(key, shape[-2:], dtype))(keys)
            return fnp.reshape(drawn, shape)

        shape = (*places, patches.shape[-1], self.features)
        kernel = fnp.reshape(net.param("kernel", each, shape), (-1, *shape[-2:]))
        y = fnp.swapaxes(fnp.matmul(fnp.swapaxes(patches, 0, 1), kernel), 0, 1)
        y = fnp.reshape(y, (x.shape[0], *places, self.features))
        if self.bias:
            y = y + net.param("bias", self.bias_init, (*places, self.features))
        return fnp.moveaxis(y, -1, layout.channels)


@final
class DeformConv2d(Layer):
    """`deform_conv2d`: `layer(params, x, offset, mask)`, with offsets and mask that are computed.

    Shapes: x (n, h, w, c), kernel (kh, kw, c / groups, features), bias (features,), offset (n, h',
    w', parts kh kw 2), mask (n, h', w', parts kh kw) or None -> (n, h', w', features).
    Raises: ShapeError where shapes do not fit, OptionError; see `deform_conv2d`.
    """

    features: int
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Padding = 0
    dilation: Sizes = 1
    groups: int = 1
    bias: bool = True
    kernel_init: Initializer = initializers.lecun_normal()
    bias_init: Initializer = initializers.zeros

    def forward(self, net: Net, x: Array, offset: Array, mask: Array | None = None) -> Array:
        x = fnp.asarray(x)
        channels = _channels(self, x, None, 2)
        window = per_axis("DeformConv2d", "kernel_size", self.kernel_size, 2)
        shape = (*window, _share(self, channels, self.groups), self.features)
        return deform_conv2d(
            x,
            offset,
            net.param("kernel", self.kernel_init, shape),
            net.param("bias", self.bias_init, (self.features,)) if self.bias else None,
            self.stride,
            self.padding,
            self.dilation,
            mask,
        )

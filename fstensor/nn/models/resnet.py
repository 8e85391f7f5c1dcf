"""Residual networks: K. He, X. Zhang, S. Ren and J. Sun, 2016.

With the strides of bottlenecks in their 3x3 convolutions, as in torchvision ("v1.5"); the paper has
them in the first ones, of 1x1.
"""

from __future__ import annotations

import dataclasses
from typing import Any, final

from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.errors import OptionError
from fstensor.nn import initializers
from fstensor.nn.activations import relu
from fstensor.nn.layer import Layer, Net
from fstensor.nn.layers.conv import Conv2d
from fstensor.nn.layers.linear import Linear
from fstensor.nn.layers.norm import BatchNorm
from fstensor.nn.pooling import max_pool2d

_CONV_INIT = initializers.variance_scaling(2.0, "fan_out", "normal")  # He et al., 2015, eq. 14


def _convolution(features: int, size: int, stride: int = 1) -> Conv2d:
    """Without bias: a norm follows, which has one."""
    return Conv2d(features, size, stride, size // 2, bias=False, kernel_init=_CONV_INIT)


def _last_norm(norm: Any, zero_init: bool) -> Layer:
    last: Layer = dataclasses.replace(norm, scale_init=initializers.zeros) if zero_init else norm
    return last


def _check_norm(what: str, norm: Layer, zero_init: bool) -> None:
    if zero_init and not hasattr(norm, "scale_init"):
        raise OptionError(f"{what}: zero_init needs a norm with a scale_init, got {norm}")


def _shortcut(net: Net, x: Array, features: int, stride: int, norm: Layer) -> Array:
    """x itself, or where shapes ask for it, its projection (section 3.3, option B)."""
    if stride == 1 and x.shape[-1] == features:
        return x
    projected = net.child("shortcut", _convolution(features, 1, stride))(x)
    y: Array = net.child("shortcut_norm", norm)(projected)
    return y


@final
class BasicBlock(Layer):
    """relu(shortcut(x) + norm1(conv1(relu(norm0(conv0(x)))))) (figure 5, left).

    Both convolutions are of 3x3; the first has the stride. The shortcut is x itself, or where
    shapes differ a convolution of 1x1 and a norm. zero_init: the scale of the last norm is 0 at
    first, so that the block begins as its shortcut (Goyal et al., 2017, section 5.1).
    Shapes: (n, h, w, c) -> (n, ceil(h / stride), ceil(w / stride), features).
    Raises: OptionError for zero_init with a norm that has no scale_init.
    """

    features: int
    stride: int = 1
    norm: Layer = BatchNorm()
    zero_init: bool = False

    def __post_init__(self) -> None:
        _check_norm("BasicBlock", self.norm, self.zero_init)

    def forward(self, net: Net, x: Array) -> Array:
        y = net.child("conv0", _convolution(self.features, 3, self.stride))(x)
        y = relu(net.child("norm0", self.norm)(y))
        y = net.child("conv1", _convolution(self.features, 3))(y)
        y = net.child("norm1", _last_norm(self.norm, self.zero_init))(y)
        return relu(_shortcut(net, x, self.features, self.stride, self.norm) + y)


@final
class Bottleneck(Layer):
    """relu(shortcut(x) + y), where y are convolutions of 1x1, 3x3 and 1x1 (figure 5, right).

    Each has a norm, and the first two relu. They have features / 4, features / 4 and features
    outputs; the second has the stride. The shortcut and zero_init are as in `BasicBlock`.
    Shapes: (n, h, w, c) -> (n, ceil(h / stride), ceil(w / stride), features).
    Raises: OptionError for features that are no multiple of 4, and as `BasicBlock`.
    """

    features: int
    stride: int = 1
    norm: Layer = BatchNorm()
    zero_init: bool = False

    def __post_init__(self) -> None:
        if self.features % 4:
            raise OptionError(f"Bottleneck: features must be a multiple of 4, got {self.features}")
        _check_norm("Bottleneck", self.norm, self.zero_init)

    def forward(self, net: Net, x: Array) -> Array:
        inner = self.features // 4
        y = net.child("conv0", _convolution(inner, 1))(x)
        y = relu(net.child("norm0", self.norm)(y))
        y = net.child("conv1", _convolution(inner, 3, self.stride))(y)
        y = relu(net.child("norm1", self.norm)(y))
        y = net.child("conv2", _convolution(self.features, 1))(y)
        y = net.child("norm2", _last_norm(self.norm, self.zero_init))(y)
        return relu(_shortcut(net, x, self.features, self.stride, self.norm) + y)


@final
class ResNet(Layer):
    """A stem, stages of residual blocks, the mean over all pixels, and a linear layer (table 1).

    blocks: how many each stage has. widths: the features of each stage; those of bottlenecks come
    out four times as many. The first block of each stage but the first halves the image.
    bottleneck: whether blocks are `Bottleneck`s rather than `BasicBlock`s.
    small_images: the stem is a single convolution of 3x3 (section 4.2, for images of about 32x32),
    instead of one of 7x7 with stride 2 and the maximum of 3x3 pixels, also with stride 2.
    norm: the layer that normalizes, such as `BatchNorm(axis_name="batch")` over several devices.
    zero_init: whether blocks begin as their shortcuts; see `BasicBlock`.
    The sublayers are stem, stem_norm, stage0_block0, stage0_block1, ..., and out.
    Shapes: (n, h, w, c) -> (n, classes).
    Raises: OptionError for other numbers of widths than of stages, and as the blocks.

    >>> import fstensor as fst
    >>> from fstensor.nn import models
    >>> model = models.ResNet((1, 1), (4, 8), classes=10, small_images=True)
    >>> images = fst.numpy.ones((2, 28, 28, 1))
    >>> params, state = model.init(fst.random.key(0), images)
    >>> logits, state = model.apply(params, state, images, train=True)
    >>> logits.shape
    (2, 10)
    """

    blocks: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: bool = False
    classes: int = 1000
    small_images: bool = False
    norm: Layer = BatchNorm()
    zero_init: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "widths", tuple(self.widths))
        if not self.blocks or len(self.blocks) != len(self.widths):
            raise OptionError(
                "ResNet: each stage must have a number of blocks and a width, "
                f"got blocks {self.blocks} and widths {self.widths}"
            )
        _check_norm("ResNet", self.norm, self.zero_init)

    def forward(self, net: Net, x: Array) -> Array:
        x = self._stem(net, x)
        for stage, (count, width) in enumerate(zip(self.blocks, self.widths, strict=True)):
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                x = net.child(f"stage{stage}_block{i}", self._block(width, stride))(x)
        y: Array = net.child("out", Linear(self.classes))(fnp.mean(x, (1, 2)))
        return y

    def _stem(self, net: Net, x: Array) -> Array:
        size, stride = (3, 1) if self.small_images else (7, 2)
        x = net.child("stem", _convolution(self.widths[0], size, stride))(x)
        x = relu(net.child("stem_norm", self.norm)(x))
        return x if self.small_images else max_pool2d(x, 3, 2, 1)

    def _block(self, width: int, stride: int) -> Layer:
        if self.bottleneck:
            return Bottleneck(4 * width, stride, self.norm, self.zero_init)
        return BasicBlock(width, stride, self.norm, self.zero_init)


def resnet18(classes: int = 1000, **fields: Any) -> ResNet:
    """Basic blocks, 2 in each of 4 stages. fields: those of `ResNet`."""
    return ResNet((2, 2, 2, 2), classes=classes, **fields)


def resnet34(classes: int = 1000, **fields: Any) -> ResNet:
    """Basic blocks, 3, 4, 6 and 3 of them. fields: those of `ResNet`."""
    return ResNet((3, 4, 6, 3), classes=classes, **fields)


def resnet50(classes: int = 1000, **fields: Any) -> ResNet:
    """Bottlenecks, 3, 4, 6 and 3 of them. fields: those of `ResNet`."""
    return ResNet((3, 4, 6, 3), bottleneck=True, classes=classes, **fields)


def resnet101(classes: int = 1000, **fields: Any) -> ResNet:
    """Bottlenecks, 3, 4, 23 and 3 of them. fields: those of `ResNet`."""
    return ResNet((3, 4, 23, 3), bottleneck=True, classes=classes, **fields)


def resnet152(classes: int = 1000, **fields: Any) -> ResNet:
    """Bottlenecks, 3, 8, 36 and 3 of them. fields: those of `ResNet`."""
    return ResNet((3, 8, 36, 3), bottleneck=True, classes=classes, **fields)


def resnet20(classes: int = 10, **fields: Any) -> ResNet:
    """For images of about 32x32: 3 basic blocks of 16, 32 and 64 features each (section 4.2).

    Shortcuts that change the shape are projections, where the paper has zeros for new features.
    fields: those of `ResNet`.
    """
    small: dict[str, Any] = {"widths": (16, 32, 64), "small_images": True, **fields}
    return ResNet((3, 3, 3), classes=classes, **small)

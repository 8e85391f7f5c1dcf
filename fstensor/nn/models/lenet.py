"""A small convolutional network after LeNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from fstensor.array import Array
from fstensor.nn.activations import relu
from fstensor.nn.layer import Layer, Net
from fstensor.nn.layers.conv import Conv2d
from fstensor.nn.layers.linear import Linear
from fstensor.nn.layers.spatial import Flatten
from fstensor.nn.pooling import max_pool2d


@final
class LeNet(Layer):
    """Convolutions with pooling, then two linear layers: LeNet in the form in which it lives on.

    For each of `channels`: a padded convolution of 3x3, the activation, and the maximum of 2x2
    pixels. Then a hidden linear layer with the activation, and the outputs. After LeCun et al.,
    1998, section II, whose windows are of 5x5, with means instead of maxima and tanh instead of
    relu. For images of 28x28x1 it has 1,239,760 parameters.
    The sublayers are conv0, conv1, ..., hidden and out. The inputs of `hidden` are the channels of
    the first pixel, of the second, and so on; in PyTorch they are the pixels of each channel.
    Shapes: (n, h, w, c) -> (n, classes), where h and w are at least 2**len(channels).
    Raises: ShapeError for smaller images.
    """

    channels: tuple[int, ...] = (20, 50)
    hidden: int = 500
    classes: int = 10
    activation: Callable[[Array], Array] = relu

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))

    def forward(self, net: Net, x: Array) -> Array:
        for i, channels in enumerate(self.channels):
            x = self.activation(net.child(f"conv{i}", Conv2d(channels, 3, padding=1))(x))
            x = max_pool2d(x, 2)
        x = net.child("flatten", Flatten())(x)
        x = self.activation(net.child("hidden", Linear(self.hidden))(x))
        y: Array = net.child("out", Linear(self.classes))(x)
        return y

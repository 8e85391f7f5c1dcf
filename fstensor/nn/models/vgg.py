"""Very deep convolutional networks of small windows: K. Simonyan and A. Zisserman, 2015.

With batch normalization, as in torchvision, where the paper has none.
"""

from __future__ import annotations

from typing import Any, final

from fstensor.array import Array
from fstensor.errors import OptionError
from fstensor.nn import initializers
from fstensor.nn.activations import relu
from fstensor.nn.dropouts import check_rate
from fstensor.nn.layer import Layer, Net
from fstensor.nn.layers.conv import Conv2d
from fstensor.nn.layers.dropout import Dropout
from fstensor.nn.layers.linear import Linear
from fstensor.nn.layers.norm import BatchNorm
from fstensor.nn.layers.spatial import Flatten
from fstensor.nn.pooling import adaptive_avg_pool, max_pool2d

# First values as in torchvision: He et al., 2015, eq. 14, and the paper's own for linear layers.
_CONV_INIT = initializers.variance_scaling(2.0, "fan_out", "normal")
_LINEAR_INIT = initializers.normal(0.01)


@final
class VGG(Layer):
    """Stages of 3x3 convolutions, each halving the image, and three linear layers.

    stages: the features of the convolutions of each stage. All are padded and followed by relu,
    the last of a stage by the maximum of 2x2 pixels. What comes out is averaged to pooled x pooled
    pixels, which keeps it for images of 224x224. Then come two hidden linear layers, each with
    relu and dropout while training, and the outputs.
    batch_norm: normalize after each convolution.
    The sublayers are conv0_0, norm0_0, conv0_1, ..., by stage and place, hidden0, hidden1, out. The
    inputs of hidden0 are the channels of the first pixel, of the second, and so on; in PyTorch they
    are the pixels of each channel.
    Shapes: (n, h, w, c) -> (n, classes), where h and w are at least 2**len(stages).
    Raises: ShapeError for smaller images; OptionError for a rate of dropout outside [0, 1], or a
        stage without convolutions.
    """

    stages: tuple[tuple[int, ...], ...]
    classes: int = 1000
    batch_norm: bool = False
    dropout: float = 0.5
    hidden: int = 4096
    pooled: int = 7

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(map(tuple, self.stages)))
        if not all(self.stages):
            raise OptionError(f"VGG: each stage must have convolutions, got {self.stages}")
        check_rate("VGG", self.dropout)

    def forward(self, net: Net, x: Array) -> Array:
        for stage, widths in enumerate(self.stages):
            for i, features in enumerate(widths):
                conv = Conv2d(features, 3, padding=1, kernel_init=_CONV_INIT)
                x = net.child(f"conv{stage}_{i}", conv)(x)
                if self.batch_norm:
                    x = net.child(f"norm{stage}_{i}", BatchNorm())(x)
                x = relu(x)
            x = max_pool2d(x, 2)
        x = net.child("flatten", Flatten())(adaptive_avg_pool(x, self.pooled))
        for i in range(2):
            x = relu(net.child(f"hidden{i}", Linear(self.hidden, kernel_init=_LINEAR_INIT))(x))
            x = net.child(f"drop{i}", Dropout(self.dropout))(x)
        y: Array = net.child("out", Linear(self.classes, kernel_init=_LINEAR_INIT))(x)
        return y


def vgg11(classes: int = 1000, **fields: Any) -> VGG:
    """Configuration A: 8 convolutions. fields: those of `VGG`, such as batch_norm=True."""
    return _vgg((1, 1, 2, 2, 2), classes, fields)


def vgg13(classes: int = 1000, **fields: Any) -> VGG:
    """Configuration B: 10 convolutions. fields: those of `VGG`, such as batch_norm=True."""
    return _vgg((2, 2, 2, 2, 2), classes, fields)


def vgg16(classes: int = 1000, **fields: Any) -> VGG:
    """Configuration D: 13 convolutions. fields: those of `VGG`, such as batch_norm=True."""
    return _vgg((2, 2, 3, 3, 3), classes, fields)


def vgg19(classes: int = 1000, **fields: Any) -> VGG:
    """Configuration E: 16 convolutions. fields: those of `VGG`, such as batch_norm=True."""
    return _vgg((2, 2, 4, 4, 4), classes, fields)


def _vgg(counts: tuple[int, ...], classes: int, fields: dict[str, Any]) -> VGG:
    """The network with so many convolutions in each stage (table 1)."""
    widths = (64, 128, 256, 512, 512)
    return VGG(tuple((w,) * n for w, n in zip(widths, counts, strict=True)), classes, **fields)

"""Layers that multiply by parameters. The functions are in `fstensor.nn.linear`."""

from __future__ import annotations

from typing import final

from fstensor.array import Array
from fstensor.nn import initializers
from fstensor.nn.layer import Initializer, Layer, Net
from fstensor.nn.linear import bilinear, linear


@final
class Linear(Layer):
    """y = x kernel + bias, along the last axis.

    Shapes: x (..., in), kernel (in, features), bias (features,) -> (..., features).
    """

    features: int
    bias: bool = True
    kernel_init: Initializer = initializers.lecun_normal()
    bias_init: Initializer = initializers.zeros

    def forward(self, net: Net, x: Array) -> Array:
        kernel = net.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = net.param("bias", self.bias_init, (self.features,)) if self.bias else None
        return linear(x, kernel, bias)


@final
class Bilinear(Layer):
    """y[k] = sum of x1[i] kernel[i, j, k] x2[j] over i and j, + bias[k], along the last axes.

    Shapes: x1 (..., in1), x2 (..., in2), kernel (in1, in2, features), bias (features,) ->
    (..., features). Raises: ShapeError for inputs whose other axes do not broadcast.
    """

    features: int
    bias: bool = True
    kernel_init: Initializer = initializers.lecun_normal(in_axis=(0, 1))
    bias_init: Initializer = initializers.zeros

    def forward(self, net: Net, x1: Array, x2: Array) -> Array:
        shape = (x1.shape[-1], x2.shape[-1], self.features)
        kernel = net.param("kernel", self.kernel_init, shape)
        bias = net.param("bias", self.bias_init, (self.features,)) if self.bias else None
        return bilinear(x1, x2, kernel, bias)

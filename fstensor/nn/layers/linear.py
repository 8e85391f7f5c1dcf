"""Layers that multiply by a matrix."""

from __future__ import annotations

from typing import Any, final

from fstensor.array import Array
from fstensor.nn import initializers
from fstensor.nn.layer import Initializer, Layer, Net


@final
class Linear(Layer):
    """y = x kernel + bias, along the last axis.

    Shapes: x (..., in), kernel (in, features), bias (features,) -> (..., features).
    """

    features: int
    bias: bool = True
    kernel_init: Initializer = initializers.lecun_normal()
    bias_init: Initializer = initializers.zeros

    def forward(self, net: Net, x: Array, **options: Any) -> Array:
        kernel = net.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        y = x @ kernel
        return y + net.param("bias", self.bias_init, (self.features,)) if self.bias else y

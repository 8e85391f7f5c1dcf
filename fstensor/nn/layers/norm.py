"""Layers that normalize."""

from __future__ import annotations

from typing import Any, final

from fstensor import lax
from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.nn import initializers
from fstensor.nn.layer import Initializer, Layer, Net


@final
class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, for each channel.

    While training, mean and variance are those of the batch, over all axes but the last, and the
    running ones move towards them: running = momentum * running + (1 - momentum) * new, with the
    variance divided by n - 1 as PyTorch does. Otherwise the running ones are used (Ioffe and
    Szegedy, 2015).
    Shapes: x (..., channels), with the axis of channels in `axis`.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    axis: int = -1
    affine: bool = True
    scale_init: Initializer = initializers.ones
    bias_init: Initializer = initializers.zeros

    def forward(self, net: Net, x: Array, **options: Any) -> Array:
        channels = x.shape[self.axis]
        axes = tuple(a for a in range(x.ndim) if a != self.axis % x.ndim)
        running_mean = net.variable("mean", lambda: fnp.zeros(channels))
        running_var = net.variable("var", lambda: fnp.ones(channels))
        if net.training:
            mean, var = fnp.mean(x, axes), fnp.var(x, axes)
            n = x.size // channels
            net.assign("mean", self._moved(running_mean, mean))
            net.assign("var", self._moved(running_var, var * (n / max(n - 1, 1))))
        else:
            mean, var = running_mean, running_var
        factor = lax.rsqrt(var + self.epsilon)
        if self.affine:
            factor = factor * net.param("scale", self.scale_init, (channels,))
        shift = -mean * factor
        if self.affine:
            shift = shift + net.param("bias", self.bias_init, (channels,))
        return x * fnp.expand_dims(factor, axes) + fnp.expand_dims(shift, axes)

    def _moved(self, running: Array, new: Array) -> Array:
        return self.momentum * running + (1 - self.momentum) * lax.stop_gradient(new)

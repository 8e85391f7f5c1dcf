"""Layers that drop at random while training."""

from __future__ import annotations

from typing import Any, final

from fstensor import numpy as fnp
from fstensor import random
from fstensor.array import Array
from fstensor.errors import OptionError
from fstensor.nn.layer import Layer, Net


@final
class Dropout(Layer):
    """While training, each element is 0 with probability `rate`; others are divided by 1 - rate.

    Otherwise the input itself (Srivastava et al., 2014). Shapes: any.
    Raises: OptionError for a rate outside [0, 1], ArgumentError when training without a key.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise OptionError(f"Dropout: rate must be within 0 and 1, got {self.rate}")

    def forward(self, net: Net, x: Array, **options: Any) -> Array:
        if not net.training or self.rate == 0:
            return x
        if self.rate == 1:
            return fnp.zeros_like(x)
        kept = random.bernoulli(net.random_key(), 1 - self.rate, x.shape)
        dropped: Array = fnp.where(kept, x / (1 - self.rate), 0)
        return dropped

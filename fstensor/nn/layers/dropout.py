"""Layers that drop at random while training, and are the identity otherwise.

The functions with their equations are in `fstensor.nn.dropouts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.nn import dropouts
from fstensor.nn.layer import Layer, Net


def _dropped(
    net: Net, function: Callable[[Array, Array, float], Array], x: Array, rate: float
) -> Array:
    if not net.training or rate == 0:
        return x
    # Nothing is random where all is dropped.
    return fnp.zeros_like(x) if rate == 1 else function(net.random_key(), x, rate)


@final
class Dropout(Layer):
    """While training, each element is 0 with probability `rate`; others are divided by 1 - rate.

    Otherwise the input itself (Srivastava et al., 2014). Shapes: any.
    Raises: OptionError for a rate outside [0, 1], ArgumentError when training without a key.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        dropouts.check_rate("Dropout", self.rate)

    def forward(self, net: Net, x: Array) -> Array:
        return _dropped(net, dropouts.dropout, x, self.rate)


@final
class Dropout1d(Layer):
    """As `Dropout`, of whole channels. Shapes: (..., length, channels)."""

    rate: float = 0.5

    def __post_init__(self) -> None:
        dropouts.check_rate("Dropout1d", self.rate)

    def forward(self, net: Net, x: Array) -> Array:
        return _dropped(net, dropouts.dropout1d, x, self.rate)


@final
class Dropout2d(Layer):
    """As `Dropout`, of whole channels. Shapes: (..., height, width, channels)."""

    rate: float = 0.5

    def __post_init__(self) -> None:
        dropouts.check_rate("Dropout2d", self.rate)

    def forward(self, net: Net, x: Array) -> Array:
        return _dropped(net, dropouts.dropout2d, x, self.rate)


@final
class Dropout3d(Layer):
    """As `Dropout`, of whole channels. Shapes: (..., depth, height, width, channels)."""

    rate: float = 0.5

    def __post_init__(self) -> None:
        dropouts.check_rate("Dropout3d", self.rate)

    def forward(self, net: Net, x: Array) -> Array:
        return _dropped(net, dropouts.dropout3d, x, self.rate)


@final
class AlphaDropout(Layer):
    """Dropping that keeps mean and variance after `selu` (Klambauer et al., 2017). Shapes: any."""

    rate: float = 0.5

    def __post_init__(self) -> None:
        dropouts.check_rate("AlphaDropout", self.rate)

    def forward(self, net: Net, x: Array) -> Array:
        return _dropped(net, dropouts.alpha_dropout, x, self.rate)


@final
class FeatureAlphaDropout(Layer):
    """As `AlphaDropout`, of whole channels of an example. Shapes: (n, ..., channels)."""

    rate: float = 0.5

    def __post_init__(self) -> None:
        dropouts.check_rate("FeatureAlphaDropout", self.rate)

    def forward(self, net: Net, x: Array) -> Array:
        return _dropped(net, dropouts.feature_alpha_dropout, x, self.rate)

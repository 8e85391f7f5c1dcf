"""Activations that are learned, or random while training.

All others are functions of `fstensor.nn.activations`, and layers as they are: in
`Sequential(Linear(8), relu)`.
"""

from __future__ import annotations

from typing import final

from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.errors import OptionError
from fstensor.nn import initializers
from fstensor.nn.activations import prelu, rrelu
from fstensor.nn.layer import Initializer, Layer, Net
from fstensor.nn.norms import axes_of


@final
class PReLU(Layer):
    """x where that is positive, else slope x, for a slope that is learned (He et al., 2015, eq. 1).

    axis: along which each index has a slope of its own, such as -1 for that of channels; None for
    one slope. Shapes: x any, slope (), or (channels,) -> those of x.
    Raises: ShapeError for an axis out of range.
    """

    axis: int | None = None
    slope_init: Initializer = initializers.constant(0.25)

    def forward(self, net: Net, x: Array) -> Array:
        x = fnp.asarray(x)
        if self.axis is None:
            return prelu(x, net.param("slope", self.slope_init, ()))
        (at,) = axes_of("PReLU", self.axis, x.ndim)
        slope = net.param("slope", self.slope_init, (x.shape[at],))
        return prelu(x, slope.reshape([n if a == at else 1 for a, n in enumerate(x.shape)]))


@final
class RReLU(Layer):
    """x where that is not negative, else x times a slope (Xu et al., 2015).

    While training, the slope of each element is random, uniform between the bounds; otherwise it is
    their mean. Shapes: any.
    Raises: OptionError for bounds in the wrong order, ArgumentError when training without a key.
    """

    lower: float = 1 / 8
    upper: float = 1 / 3

    def __post_init__(self) -> None:
        if self.lower > self.upper:
            raise OptionError(
                f"RReLU: lower must be at most upper, got {self.lower} and {self.upper}"
            )

    def forward(self, net: Net, x: Array) -> Array:
        key = net.random_key() if net.training else None
        return rrelu(x, self.lower, self.upper, key=key, train=net.training)

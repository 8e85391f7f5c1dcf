"""Perceptrons: networks of linear layers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from fstensor.array import Array
from fstensor.errors import OptionError
from fstensor.nn.activations import relu
from fstensor.nn.dropouts import check_rate
from fstensor.nn.layer import Layer, Net
from fstensor.nn.layers.dropout import Dropout
from fstensor.nn.layers.linear import Linear
from fstensor.nn.layers.norm import BatchNorm


@final
class MLP(Layer):
    """Linear layers with an activation after each but the last (Rumelhart et al., 1986).

    sizes: the features of each layer; the last are the outputs.
    dropout: after each activation, while training. batch_norm: normalize before each activation;
    the layers before a norm then have no bias, for it would be taken away again.
    The sublayers are hidden0, hidden1, ..., norm0, ... and out.
    Shapes: (..., in) -> (..., sizes[-1]).
    Raises: OptionError for no sizes, or a rate of dropout outside [0, 1].
    """

    sizes: tuple[int, ...]
    activation: Callable[[Array], Array] = relu
    dropout: float = 0.0
    batch_norm: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        if not self.sizes:
            raise OptionError("MLP: must have one layer or more, got no sizes")
        check_rate("MLP", self.dropout)

    def forward(self, net: Net, x: Array) -> Array:
        *hidden, outputs = self.sizes
        for i, features in enumerate(hidden):
            x = net.child(f"hidden{i}", Linear(features, bias=not self.batch_norm))(x)
            if self.batch_norm:
                x = net.child(f"norm{i}", BatchNorm())(x)
            x = net.child(f"drop{i}", Dropout(self.dropout))(self.activation(x))
        y: Array = net.child("out", Linear(outputs))(x)
        return y


@final
class ResidualMLP(Layer):
    """out(z1 + z2), where z1 = relu(hidden0(x)) and z2 = relu(hidden1(z1)).

    A perceptron with a shortcut (He et al., 2016, eq. 1). For 784 inputs and the sizes by default
    it has 1,863,690 parameters.
    Shapes: (..., in) -> (..., classes); both hidden layers have `features`.
    """

    features: int = 1024
    classes: int = 10

    def forward(self, net: Net, x: Array) -> Array:
        z1 = relu(net.child("hidden0", Linear(self.features))(x))
        z2 = relu(net.child("hidden1", Linear(self.features))(z1))
        y: Array = net.child("out", Linear(self.classes))(z1 + z2)
        return y

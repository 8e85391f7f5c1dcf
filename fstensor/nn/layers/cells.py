"""One step of recurrent networks, with PyTorch's equations and order of gates.

A cell is applied to x (..., in) and its state before, and gives its state afterwards. Parameters
are input_kernel (in, gates * features), hidden_kernel (features, gates * features), and two biases
(gates * features,), all first uniform within 1 / sqrt(features).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple, TypeAlias, final

from fstensor import lax, random
from fstensor import numpy as fnp
from fstensor.array import Array, DtypeLike
from fstensor.errors import OptionError, ShapeError
from fstensor.nn.activations import sigmoid
from fstensor.nn.layer import Initializer, Layer, Net

# What goes from step to step: (h,), or (h, c), each (..., width).
Carry: TypeAlias = tuple[Array, ...]


class Weights(NamedTuple):
    """The parameters: of inputs, of what is hidden, their biases, and of a projection of h.

    None for those that a cell does not have.
    """

    of_inputs: Array
    of_hidden: Array
    input_bias: Array | None
    hidden_bias: Array | None
    projection: Array | None


class Cell(Layer):
    """What the cells have in common: a product of inputs, then a step with what it gives."""

    features: int
    bias: bool = True
    kernel_init: Initializer | None = None
    bias_init: Initializer | None = None

    @property
    @abstractmethod
    def gates(self) -> int:
        """How many times `features` a product has."""

    @property
    @abstractmethod
    def widths(self) -> tuple[int, ...]:
        """The features of each array that is carried, h first."""

    @abstractmethod
    def step(self, weights: Weights, projected: Array, carry: Carry) -> Carry:
        """The carry afterwards, h first. projected: as from `project`."""

    def weights(self, net: Net, inputs: int) -> Weights:
        """The parameters, for so many features of inputs."""

        def within(key: Array, shape: tuple[int, ...], dtype: DtypeLike) -> Array:
            bound = 1 / math.sqrt(self.features)
            return random.uniform(key, shape, dtype, -bound, bound)

        of_kernels, of_biases = self.kernel_init or within, self.bias_init or within
        width, out = self.gates * self.features, self.widths[0]
        of_inputs = net.param("input_kernel", of_kernels, (inputs, width))
        of_hidden = net.param("hidden_kernel", of_kernels, (out, width))
        input_bias, hidden_bias = (
            net.param(f"{name}_bias", of_biases, (width,)) if self.bias else None
            for name in ("input", "hidden")
        )
        projection = None
        if out != self.features:
            projection = net.param("projection_kernel", of_kernels, (self.features, out))
        return Weights(of_inputs, of_hidden, input_bias, hidden_bias, projection)

    def project(self, weights: Weights, x: Array) -> Array:
        """What of a step depends on inputs alone, so that it can be had for all steps at once."""
        y = x @ weights.of_inputs
        return y if weights.input_bias is None else y + weights.input_bias

    def first(self, batch: tuple[int, ...], like: Array) -> Carry:
        """The carry to begin with: zeros, of the dtype of products."""
        return tuple([fnp.zeros((*batch, width), like.dtype) for width in self.widths])

    def checked(self, carry: Carry, batch: tuple[int, ...]) -> Carry:
        """A carry that was given. Raises: ShapeError where it has other shapes."""
        carry = tuple([fnp.asarray(part) for part in carry])
        wanted = [(*batch, width) for width in self.widths]
        if [part.shape for part in carry] != wanted:
            shapes = " and ".join(map(str, wanted))
            found = ", ".join(str(part.aval) for part in carry)
            raise ShapeError(
                f"{type(self).__name__}: state must be of shape {shapes} for these inputs, "
                f"got {found}"
            )
        return carry

    def whole(self, net: Net, x: Array, carry: Carry | None) -> Carry:
        """One step, with its product of inputs."""
        weights = self.weights(net, x.shape[-1])
        projected, batch = self.project(weights, fnp.asarray(x)), x.shape[:-1]
        if carry is None:
            carry = self.first(batch, projected)
        return self.step(weights, projected, self.checked(carry, batch))


def _of_hidden(weights: Weights, h: Array) -> Array:
    y = h @ weights.of_hidden
    return y if weights.hidden_bias is None else y + weights.hidden_bias


def _gates(x: Array, count: int) -> list[Array]:
    """The parts of a product, along the last axis."""
    n = x.shape[-1] // count
    return [lax.slice_in_dim(x, i * n, (i + 1) * n, axis=-1) for i in range(count)]


@final
class RNNCell(Cell):
    """h' = activation(x W_i + b_i + h W_h + b_h) (Elman, 1990).

    `cell(params, x, h)` gives h'; h is 0 where it is not given.
    Shapes: x (..., in), h (..., features). Raises: ShapeError for others.
    """

    activation: Callable[[Array], Array] = fnp.tanh

    @property
    def gates(self) -> int:
        return 1

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.features,)

    def step(self, weights: Weights, projected: Array, carry: Carry) -> Carry:
        return (self.activation(projected + _of_hidden(weights, carry[0])),)

    def forward(self, net: Net, x: Array, h: Array | None = None) -> Array:
        return self.whole(net, x, None if h is None else (h,))[0]


@final
class LSTMCell(Cell):
    """c' = f c + i g and h' = o tanh(c') (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).

    i, f, g, o = the four parts of x W_i + b_i + h W_h + b_h, g through tanh and the others through
    the sigmoid. `cell(params, x, (h, c))` gives (h', c'); both are 0 where they are not given.
    proj_size: of h, which is then multiplied by a parameter projection_kernel (features,
        proj_size), as in PyTorch's layer (Sak et al., 2014, eq. 9); 0 for none.
    Shapes: x (..., in), h (..., features) or (..., proj_size), c (..., features).
    Raises: ShapeError for others, OptionError for a proj_size that is not below features.
    """

    proj_size: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.proj_size < self.features:
            raise OptionError(
                "LSTM: proj_size must be below features, or 0, "
                f"got {self.proj_size} and {self.features}"
            )

    @property
    def gates(self) -> int:
        return 4

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.proj_size or self.features, self.features)

    def step(self, weights: Weights, projected: Array, carry: Carry) -> Carry:
        h, c = carry
        i, f, g, o = _gates(projected + _of_hidden(weights, h), 4)
        c = sigmoid(f) * c + sigmoid(i) * fnp.tanh(g)
        h = sigmoid(o) * fnp.tanh(c)
        return (h if weights.projection is None else h @ weights.projection), c

    def forward(
        self, net: Net, x: Array, state: tuple[Array, Array] | None = None
    ) -> tuple[Array, Array]:
        h, c = self.whole(net, x, state)
        return h, c


@final
class GRUCell(Cell):
    """h' = (1 - z) n + z h (Cho et al., 2014), with the reset gate after the product.

    r = sigmoid(x W_ir + b_ir + h W_hr + b_hr), z likewise, n = tanh(x W_in + b_in + r (h W_hn +
    b_hn)): as in PyTorch, and unlike in the paper, where r multiplies h. The parts of the kernels
    are r, z, n. `cell(params, x, h)` gives h'; h is 0 where it is not given.
    Shapes: x (..., in), h (..., features). Raises: ShapeError for others.
    """

    @property
    def gates(self) -> int:
        return 3

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.features,)

    def step(self, weights: Weights, projected: Array, carry: Carry) -> Carry:
        (h,) = carry
        of_x, of_h = _gates(projected, 3), _gates(_of_hidden(weights, h), 3)
        r, z = (sigmoid(a + b) for a, b in zip(of_x[:2], of_h[:2], strict=True))
        n = fnp.tanh(of_x[2] + r * of_h[2])
        return (n + z * (h - n),)

    def forward(self, net: Net, x: Array, h: Array | None = None) -> Array:
        return self.whole(net, x, None if h is None else (h,))[0]


def check_sizes(what: str, features: int, layers: int) -> None:
    if features < 1 or layers < 1:
        raise OptionError(
            f"{what}: features and layers must be 1 or more, got {features} and {layers}"
        )

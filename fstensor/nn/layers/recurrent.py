"""Recurrent networks of several layers, over sequences that may end at different steps.

x is (..., time, in), or (time, ..., in) with `time_major`, and outputs are (..., time, features),
twice as many features with both directions. The state at the end is (layers, ..., features); with
both directions, each layer has two there, forward first. Each layer and direction is a cell, named
layer0, layer0_reverse, layer1, ... The products with inputs are had for all steps at once; what is
left runs in one `scan`.

>>> import fstensor as fst
>>> from fstensor import nn
>>> lstm = nn.LSTM(16, layers=2, bidirectional=True)
>>> x = fst.numpy.ones((4, 10, 3))
>>> params, _ = lstm.init(fst.random.key(0), x)
>>> y, (h, c) = lstm(params, x, lengths=fst.numpy.array([10, 7, 1, 3]))
>>> y.shape, h.shape, c.shape
((4, 10, 32), (4, 4, 16), (4, 4, 16))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.errors import DtypeError, ShapeError
from fstensor.nn.dropouts import check_rate
from fstensor.nn.layer import Initializer, Layer, Net
from fstensor.nn.layers.cells import Carry, Cell, GRUCell, LSTMCell, RNNCell, check_sizes
from fstensor.nn.layers.dropout import Dropout


@final
class RNN(Layer):
    """`RNNCell` along a sequence: outputs h of each step, and the last h.

    `rnn(params, x, h)`: h is that to begin with, 0 where it is not given.
    lengths: how many steps of each sequence count. Outputs after them are 0, the last state is that
    of the last step that counts, and the reverse direction begins there.
    dropout: between layers, while training.
    Shapes: x (..., time, in), h (layers, ..., features), lengths (...) -> (..., time, features).
    Raises: ShapeError for others, DtypeError for lengths that are no integers.
    """

    features: int
    layers: int = 1
    bias: bool = True
    dropout: float = 0.0
    bidirectional: bool = False
    time_major: bool = False
    kernel_init: Initializer | None = None
    bias_init: Initializer | None = None
    activation: Callable[[Array], Array] = fnp.tanh

    def __post_init__(self) -> None:
        _check(self)

    def forward(
        self,
        net: Net,
        x: Array,
        h: Array | None = None,
        *,
        lengths: ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        cell = RNNCell(self.features, self.bias, self.kernel_init, self.bias_init, self.activation)
        y, (last,) = _run(net, self, cell, x, None if h is None else (h,), lengths)
        return y, last


@final
class LSTM(Layer):
    """`LSTMCell` along a sequence: outputs h of each step, and the last (h, c).

    `lstm(params, x, (h, c))`, else as `RNN`. proj_size: see `LSTMCell`; outputs have so many
    features then. Raises: as `RNN`, OptionError for a proj_size that is not below features.
    """

    features: int
    layers: int = 1
    bias: bool = True
    dropout: float = 0.0
    bidirectional: bool = False
    time_major: bool = False
    kernel_init: Initializer | None = None
    bias_init: Initializer | None = None

    proj_size: int = 0

    def __post_init__(self) -> None:
        _check(self)
        self._cell()

    def _cell(self) -> LSTMCell:
        return LSTMCell(self.features, self.bias, self.kernel_init, self.bias_init, self.proj_size)

    def forward(
        self,
        net: Net,
        x: Array,
        state: tuple[Array, Array] | None = None,
        *,
        lengths: ArrayLike | None = None,
    ) -> tuple[Array, tuple[Array, Array]]:
        cell = self._cell()
        y, (h, c) = _run(net, self, cell, x, state, lengths)
        return y, (h, c)


@final
class GRU(Layer):
    """`GRUCell` along a sequence: outputs h of each step, and the last h; else as `RNN`."""

    features: int
    layers: int = 1
    bias: bool = True
    dropout: float = 0.0
    bidirectional: bool = False
    time_major: bool = False
    kernel_init: Initializer | None = None
    bias_init: Initializer | None = None

    def __post_init__(self) -> None:
        _check(self)

    def forward(
        self,
        net: Net,
        x: Array,
        h: Array | None = None,
        *,
        lengths: ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        cell = GRUCell(self.features, self.bias, self.kernel_init, self.bias_init)
        y, (last,) = _run(net, self, cell, x, None if h is None else (h,), lengths)
        return y, last


def _check(layer: RNN | LSTM | GRU) -> None:
    what = type(layer).__name__
    check_sizes(what, layer.features, layer.layers)
    check_rate(what, layer.dropout)


def _run(
    net: Net,
    layer: RNN | LSTM | GRU,
    cell: Cell,
    x: Array,
    carry: Carry | None,
    lengths: ArrayLike | None,
) -> tuple[Array, Carry]:
    """Outputs and the last carry of all layers."""
    what, x = type(layer).__name__, fnp.asarray(x)
    if x.ndim < 2:
        raise ShapeError(f"{what}: x must have axes of time and of features, got {x.aval}")
    if not layer.time_major:
        x = fnp.moveaxis(x, -2, 0)
    batch = x.shape[1:-1]
    counts = _counting(what, x.shape[0], batch, lengths)
    directions = 2 if layer.bidirectional else 1
    count = layer.layers * directions
    if carry is not None:
        carry = cell.checked(tuple(carry), (count, *batch))
    lasts: list[Carry] = []
    for n in range(layer.layers):
        if n:
            x = net.child(f"dropout{n}", Dropout(layer.dropout))(x)
        outputs = []
        for is_reverse in (False, True)[:directions]:
            first = None if carry is None else tuple([part[len(lasts)] for part in carry])
            name = f"layer{n}_reverse" if is_reverse else f"layer{n}"
            y, last = _along(net.child(name, cell), cell, x, first, counts, is_reverse)
            outputs.append(y)
            lasts.append(last)
        x = fnp.concatenate(outputs, -1) if layer.bidirectional else outputs[0]
    if not layer.time_major:
        x = fnp.moveaxis(x, 0, -2)
    return x, tuple([fnp.stack(parts) for parts in zip(*lasts, strict=True)])


def _counting(
    what: str, time: int, batch: tuple[int, ...], lengths: ArrayLike | None
) -> Array | None:
    """(time, ..., 1): whether a step counts; None for all."""
    if lengths is None:
        return None
    lengths = fnp.asarray(lengths)
    if not dtypes.is_integer(lengths.dtype):
        raise DtypeError(f"{what}: lengths must be integers, got {lengths.aval}")
    if lengths.shape != batch:
        raise ShapeError(
            f"{what}: lengths must have shape {batch} for these inputs, got {lengths.aval}"
        )
    steps = fnp.arange(time).reshape(time, *[1] * (len(batch) + 1))
    counts: Array = steps < fnp.expand_dims(lengths, -1)
    return counts


def _along(
    net: Net, cell: Cell, x: Array, first: Carry | None, counts: Array | None, reverse: bool
) -> tuple[Array, Carry]:
    """Outputs and the last carry of one layer in one direction."""
    weights = cell.weights(net, x.shape[-1])

    def step(carry: Carry, inputs: tuple[Array, Array | None]) -> tuple[Carry, Array]:
        projected, goes_on = inputs
        after = cell.step(weights, projected, carry)
        if goes_on is None:
            return after, after[0]
        held = [fnp.where(goes_on, new, old) for new, old in zip(after, carry, strict=True)]
        return tuple(held), fnp.where(goes_on, after[0], 0)

    projected = cell.project(weights, x)
    if first is None:
        first = cell.first(x.shape[1:-1], projected)
    first = tuple([part.astype(projected.dtype) for part in first])
    last, outputs = lax.scan(step, first, (projected, counts), reverse=reverse)
    return outputs, last

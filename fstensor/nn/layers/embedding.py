"""Layers that give vectors for indices, and for positions in a sequence."""

from __future__ import annotations

from typing import final

import numpy as np

from fstensor import numpy as fnp
from fstensor.array import Array, DtypeLike
from fstensor.errors import ShapeError
from fstensor.nn import initializers
from fstensor.nn.embedding import (
    embedding,
    padding_index,
    rotary_encoding,
    sinusoidal_encoding,
)
from fstensor.nn.layer import Initializer, Layer, Net


@final
class Embedding(Layer):
    """Rows of a table for indices; with `attend=True`, products of features and all rows.

    `net.embed(x, attend=True)` are the logits of an output that shares its weights with the input
    (Press and Wolf, 2017).
    padding_idx: the index of a row that is 0 at first, and gets no gradient as a row.
    max_norm: longer rows are shortened to this norm, of the kind `norm_type`; this and
    scale_grad_by_freq are as in `nn.embedding`.
    Shapes: indices (...) -> (..., features); features (..., features) -> (..., rows).
    Raises: DtypeError for indices that are no integers, OptionError for a padding_idx out of range.
    """

    rows: int
    features: int
    padding_idx: int | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    table_init: Initializer = initializers.normal(1.0)
    scale_grad_by_freq: bool = False

    def forward(self, net: Net, x: Array, attend: bool = False) -> Array:
        table = net.param("table", self._first, (self.rows, self.features))
        if attend:
            return x @ table.T
        return embedding(
            x,
            table,
            padding_idx=self.padding_idx,
            max_norm=self.max_norm,
            norm_type=self.norm_type,
            scale_grad_by_freq=self.scale_grad_by_freq,
        )

    def _first(self, key: Array, shape: tuple[int, ...], dtype: DtypeLike) -> Array:
        table = self.table_init(key, shape, dtype)
        if self.padding_idx is None:
            return table
        index = padding_index(self.rows, self.padding_idx)
        cleared: Array = table.at[index].set(0)
        return cleared


def _positions(net: Net, time: int, decode: int | None) -> Array:
    """0, 1, ..., or while decoding those that follow the ones before."""
    steps = fnp.arange(time)
    if decode is None:
        return steps
    start = net.variable("position", lambda: fnp.zeros((), np.int32))
    net.assign("position", start + time)
    return start + steps


@final
class SinusoidalEncoding(Layer):
    """x + sines and cosines of positions (Vaswani et al., 2017, section 3.5).

    decode: as in `MultiheadAttention`. Shapes: (..., time, features), an even number of them.
    """

    base: float = 10000.0

    def forward(self, net: Net, x: Array, decode: int | None = None) -> Array:
        *_, time, features = x.shape
        positions = _positions(net, time, decode)
        return x + sinusoidal_encoding(positions, features, base=self.base, dtype=x.dtype)


@final
class LearnedEncoding(Layer):
    """x + a parameter for each position (Gehring et al., 2017, section 3.1).

    length: the largest number of steps. decode: as in `MultiheadAttention`; later steps give NaN.
    Shapes: (..., time, features). Raises: ShapeError for more steps.
    """

    length: int
    table_init: Initializer = initializers.normal(0.02)

    def forward(self, net: Net, x: Array, decode: int | None = None) -> Array:
        *_, time, features = x.shape
        if time > self.length:
            raise ShapeError(f"LearnedEncoding: must have {self.length} steps or fewer, got {time}")
        table = net.param("table", self.table_init, (self.length, features))
        if decode is None:
            return x + table[:time]
        positions = _positions(net, time, decode)
        return x + fnp.asarray(table).at[positions].get(mode="fill", fill_value=fnp.nan)


@final
class RotaryEncoding(Layer):
    """Queries or keys with pairs of features turned by their positions (Su et al., 2021, eq. 34).

    interleaved: see `nn.rotary_encoding`. Shapes: x (..., time, heads, features), positions
    broadcast to (..., time).
    """

    base: float = 10000.0
    interleaved: bool = True

    def forward(self, net: Net, x: Array, positions: Array | None = None) -> Array:
        return rotary_encoding(x, positions, base=self.base, interleaved=self.interleaved)

"""Layers that pool: the functions of `fstensor.nn.pooling`, with their arguments as fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

from fstensor.array import Array
from fstensor.nn.layer import Layer, Net
from fstensor.nn.pooling import (
    adaptive_avg_pool,
    adaptive_max_pool,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool,
)
from fstensor.nn.spatial import Padding, Sizes


class _MaxPool(Layer):
    """What maxima over windows of all ranks share."""

    rank: ClassVar[int]

    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Padding = 0
    dilation: Sizes = 1
    ceil_mode: bool = False
    return_indices: bool = False
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array | tuple[Array, Array]:
        pool: Any = (max_pool1d, max_pool2d, max_pool3d)[self.rank - 1]
        pooled: Array | tuple[Array, Array] = pool(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
            data_format=self.data_format,
        )
        return pooled


@final
class MaxPool1d(_MaxPool):
    """`max_pool` over signals: (n, s, c) -> (n, y, c), or two of them with indices."""

    rank = 1


@final
class MaxPool2d(_MaxPool):
    """`max_pool` over images: (n, h, w, c) -> (n, h', w', c), or two of them with indices."""

    rank = 2


@final
class MaxPool3d(_MaxPool):
    """`max_pool` over volumes: (n, d, h, w, c) -> (n, d', h', w', c), or two with indices."""

    rank = 3


class _AvgPool(Layer):
    """What means over windows of all ranks share."""

    rank: ClassVar[int]

    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Padding = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: float | None = None
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array:
        return (avg_pool1d, avg_pool2d, avg_pool3d)[self.rank - 1](
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
            data_format=self.data_format,
        )


@final
class AvgPool1d(_AvgPool):
    """`avg_pool` over signals: (n, s, c) -> (n, y, c)."""

    rank = 1


@final
class AvgPool2d(_AvgPool):
    """`avg_pool` over images: (n, h, w, c) -> (n, h', w', c)."""

    rank = 2


@final
class AvgPool3d(_AvgPool):
    """`avg_pool` over volumes: (n, d, h, w, c) -> (n, d', h', w', c)."""

    rank = 3


class _LPPool(Layer):
    """What norms of windows of all ranks share."""

    rank: ClassVar[int]

    norm_type: float
    kernel_size: Sizes
    stride: Sizes | None = None
    ceil_mode: bool = False
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array:
        return (lp_pool1d, lp_pool2d, lp_pool3d)[self.rank - 1](
            x,
            self.norm_type,
            self.kernel_size,
            self.stride,
            self.ceil_mode,
            data_format=self.data_format,
        )


@final
class LPPool1d(_LPPool):
    """`lp_pool` over signals: (n, s, c) -> (n, y, c)."""

    rank = 1


@final
class LPPool2d(_LPPool):
    """`lp_pool` over images: (n, h, w, c) -> (n, h', w', c)."""

    rank = 2


@final
class LPPool3d(_LPPool):
    """`lp_pool` over volumes: (n, d, h, w, c) -> (n, d', h', w', c)."""

    rank = 3


@final
class AdaptiveAvgPool(Layer):
    """`adaptive_avg_pool`: (n, *s, c) -> (n, *output_size, c). Of size 1 it pools globally."""

    output_size: int | Sequence[int | None] | None
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array:
        return adaptive_avg_pool(x, self.output_size, data_format=self.data_format)


@final
class AdaptiveMaxPool(Layer):
    """`adaptive_max_pool`: (n, *s, c) -> (n, *output_size, c), or two of them with indices."""

    output_size: int | Sequence[int | None] | None
    return_indices: bool = False
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array | tuple[Array, Array]:
        pool: Any = adaptive_max_pool
        pooled: Array | tuple[Array, Array] = pool(
            x, self.output_size, self.return_indices, data_format=self.data_format
        )
        return pooled


@final
class MaxUnpool(Layer):
    """`max_unpool` of maxima and their indices: two (n, *s, c) -> (n, *y, c).

    The size of the output can be told by `output_size`, when it is called.
    """

    kernel_size: Sizes
    stride: Sizes | None = None
    padding: Sizes = 0
    data_format: str | None = None

    def forward(
        self, net: Net, x: Array, indices: Array, output_size: Sizes | None = None
    ) -> Array:
        return max_unpool(
            x,
            indices,
            self.kernel_size,
            self.stride,
            self.padding,
            output_size,
            data_format=self.data_format,
        )

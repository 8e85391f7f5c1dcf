"""Layers that resize and rearrange: functions of `fstensor.nn`, with their arguments as fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from fstensor import numpy as fnp
from fstensor.array import Array
from fstensor.errors import AxisError, OptionError
from fstensor.nn.layer import Layer, Net
from fstensor.nn.resize import interpolate
from fstensor.nn.spatial import (
    Padding,
    Sizes,
    channel_shuffle,
    fold,
    layout_of,
    pad,
    pairs_of,
    pixel_shuffle,
    pixel_unshuffle,
    unfold,
)


@final
class Upsample(Layer):
    """`interpolate` to a size or by a factor: (n, *s, c) -> (n, *size, c)."""

    size: Sizes | None = None
    scale_factor: float | Sequence[float] | None = None
    mode: str = "nearest"
    align_corners: bool | None = None
    recompute_scale_factor: bool = False
    antialias: bool = False
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array:
        return interpolate(
            x,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
            self.antialias,
            data_format=self.data_format,
        )


@final
class PixelShuffle(Layer):
    """`pixel_shuffle`: (n, *s, c r**d) -> (n, *(s r), c)."""

    upscale_factor: int
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array:
        return pixel_shuffle(x, self.upscale_factor, data_format=self.data_format)


@final
class PixelUnshuffle(Layer):
    """`pixel_unshuffle`: (n, *(s r), c) -> (n, *s, c r**d)."""

    downscale_factor: int
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array:
        return pixel_unshuffle(x, self.downscale_factor, data_format=self.data_format)


@final
class ChannelShuffle(Layer):
    """`channel_shuffle`: (n, *s, c) -> (n, *s, c)."""

    groups: int
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array:
        return channel_shuffle(x, self.groups, data_format=self.data_format)


@final
class Flatten(Layer):
    """Axes from `start` to `end`, both included, as one; the batch's axis stays by default.

    Shapes: (n, *s) -> (n, prod(s)). Raises: AxisError for axes that `x` does not have,
    OptionError where the last is before the first.
    """

    start: int = 1
    end: int = -1

    def forward(self, net: Net, x: Array) -> Array:
        x = fnp.asarray(x)
        for axis in (self.start, self.end):
            if not -x.ndim <= axis < x.ndim:
                raise AxisError(f"Flatten: must be an axis of {x.aval}, got {axis}")
        first, last = self.start % x.ndim, self.end % x.ndim
        if last < first:
            raise OptionError(
                f"Flatten: start must not be behind end, got {self.start} and {self.end} for "
                f"{x.aval}"
            )
        whole = math.prod(x.shape[first : last + 1])
        return fnp.reshape(x, (*x.shape[:first], whole, *x.shape[last + 1 :]))


@final
class Pad(Layer):
    """`pad` of the spatial axes, by numbers or pairs for them.

    mode: "constant", which is `value`; "reflect"; "replicate"; "circular".
    Shapes: (n, *s, c) -> (n, *(before + s + after), c). Raises: as `pad`.
    """

    padding: Padding
    mode: str = "constant"
    value: complex = 0
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array:
        x = fnp.asarray(x)
        layout = layout_of("Pad", x, self.data_format)
        if isinstance(self.padding, str):
            raise OptionError(f"Pad: padding must be numbers, got {self.padding!r}")
        ones = (1,) * len(layout.spatial)
        pairs = pairs_of("Pad", self.padding, layout.sizes(x), ones, ones)
        return pad(x, layout.everywhere(pairs, (0, 0)), self.mode, self.value)


@final
class Unfold(Layer):
    """`unfold`: (n, *s, c) -> (n, places, c prod(kernel_size))."""

    kernel_size: Sizes
    dilation: Sizes = 1
    padding: Padding = 0
    stride: Sizes = 1
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array:
        windows = (self.kernel_size, self.dilation, self.padding, self.stride)
        return unfold(x, *windows, data_format=self.data_format)


@final
class Fold(Layer):
    """`fold`: (n, places, c prod(kernel_size)) -> (n, *output_size, c)."""

    output_size: Sequence[int]
    kernel_size: Sizes
    dilation: Sizes = 1
    padding: Padding = 0
    stride: Sizes = 1
    data_format: str | None = None

    def forward(self, net: Net, x: Array) -> Array:
        windows = (self.kernel_size, self.dilation, self.padding, self.stride)
        return fold(x, self.output_size, *windows, data_format=self.data_format)

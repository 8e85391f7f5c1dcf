"""Arrays of images, and of signals and volumes: layouts, padding, and ways to rearrange them.

They are (n, *spatial, channels) with one to three spatial axes, or (n, channels, *spatial) where
data_format says so: "NCW", "NCHW" or "NCDHW", instead of "NWC", "NHWC" or "NDHWC".
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeAlias, TypeVar

from fstensor import lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.errors import OptionError, ShapeError

P = ParamSpec("P")
R = TypeVar("R")

# One number for all spatial axes, or one for each.
Sizes: TypeAlias = int | Sequence[int]
# Also a pair (before, after) for each spatial axis, or "same" or "valid".
Padding: TypeAlias = str | int | Sequence[int] | Sequence[Sequence[int]]
Pairs: TypeAlias = list[tuple[int, int]]

_FORMATS = ("NWC", "NHWC", "NDHWC", "NCW", "NCHW", "NCDHW")
_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class Layout(NamedTuple):
    """Which axes of an array are which; the first is that of the batch."""

    letters: str
    channels: int
    spatial: tuple[int, ...]

    def sizes(self, x: Array) -> tuple[int, ...]:
        """The spatial sizes."""
        return tuple([x.shape[axis] for axis in self.spatial])

    def everywhere(self, values: Sequence[Any], other: Any) -> tuple[Any, ...]:
        """Values for the spatial axes among those for all axes, which are `other`."""
        full = [other] * (len(self.spatial) + 2)
        for axis, value in zip(self.spatial, values, strict=True):
            full[axis] = value
        return tuple(full)


def layout_of(what: str, x: Array, data_format: str | None) -> Layout:
    """The layout of `x`. Raises: OptionError for an unknown format, ShapeError for another rank."""
    return layout_for(what, x.ndim, data_format, x.aval)


def layout_for(what: str, ndim: int, data_format: str | None, given: object) -> Layout:
    """The layout of an array of a rank; `given` is what a message tells."""
    if data_format is not None and data_format not in _FORMATS:
        raise OptionError(
            f"{what}: data_format must be one of {', '.join(_FORMATS)}, got {data_format!r}"
        )
    if not 3 <= ndim <= 5:
        raise ShapeError(
            f"{what}: takes axes of batch and channels and one to three spatial ones, got {given}"
        )
    letters = _FORMATS[ndim - 3] if data_format is None else data_format
    if len(letters) != ndim:
        raise ShapeError(f"{what}: takes the axes {letters}, got {given}")
    spatial = [axis for axis, letter in enumerate(letters) if letter not in "NC"]
    return Layout(letters, letters.index("C"), tuple(spatial))


def of_rank(function: Callable[P, R], rank: int) -> Callable[P, R]:
    """A function for arrays of one spatial rank only, named after it, such as conv2d of conv."""
    name = f"{function.__name__}{rank}d"

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        x: Any = args[0] if args else kwargs.get("x")
        if x is not None and fnp.ndim(x) != rank + 2:
            raise ShapeError(f"{name}: x must have {rank + 2} axes, got shape {fnp.shape(x)}")
        return function(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    axes = ("one spatial axis", "two spatial axes", "three spatial axes")[rank - 1]
    call.__doc__ = (
        f"`{function.__name__}` over {axes}. Raises: ShapeError for others, and as "
        f"`{function.__name__}`."
    )
    return boundary(call)


def per_axis(what: str, option: str, value: Sizes, rank: int, least: int = 1) -> tuple[int, ...]:
    """A number for each spatial axis. Raises: OptionError unless they are and reach `least`."""
    try:
        each = value if isinstance(value, Sequence) else (value,) * rank
        sizes = tuple([operator.index(n) for n in each])
    except TypeError:
        sizes = ()
    if len(sizes) != rank or any(n < least for n in sizes):
        numbers = "an integer" if rank == 1 else f"an integer or {rank} of them"
        raise OptionError(f"{what}: {option} must be {numbers}, at least {least}, got {value!r}")
    return sizes


def pairs_of(
    what: str,
    padding: Padding,
    sizes: Sequence[int],
    reach: Sequence[int],
    strides: Sequence[int],
) -> Pairs:
    """Padding before and after each spatial axis, for windows that reach so far.

    "same" gives ceil(size / stride) places, with the odd element behind; "valid" is none.
    Raises: OptionError for what is no padding.
    """
    if isinstance(padding, str):
        if padding.lower() not in ("same", "valid"):
            raise OptionError(
                f"{what}: padding must be 'same', 'valid' or numbers, got {padding!r}"
            )
        return lax.padtype_to_pads(sizes, reach, strides, padding.upper())
    each: Sequence[Any] = padding if isinstance(padding, Sequence) else [padding] * len(sizes)
    pairs = [p if isinstance(p, Sequence) else (p, p) for p in each]
    try:
        found = [(operator.index(low), operator.index(high)) for low, high in pairs]
    except (TypeError, ValueError):
        found = []
    if len(found) != len(sizes):
        raise OptionError(
            f"{what}: padding must be 'same', 'valid', an integer, or for each of {len(sizes)} "
            f"spatial axes an integer or a pair, got {padding!r}"
        )
    return found


def reach_of(window: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """How far windows reach whose elements lie apart."""
    return [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]


@boundary
def pad(
    x: ArrayLike,
    padding: Padding,
    mode: str = "constant",
    value: complex = 0,
) -> Array:
    """`x` with more elements before and after its axes.

    padding: for each axis of `x`, the first one first, a pair (before, after) or a number for both;
        one number for all axes. Negative ones take elements away.
    mode: "constant", which is `value`; "reflect" without the edge itself; "replicate", the edge;
        "circular", from the other end of what is left when elements were taken away.
    Raises: OptionError for another mode or other forms of padding, ShapeError where an axis is too
        short: reflection needs more elements than it adds, circular padding as many.
    """
    x = fnp.asarray(x)
    zeros, ones = (0,) * x.ndim, (1,) * x.ndim
    if isinstance(padding, str):
        raise OptionError(f"pad: padding must be numbers, got {padding!r}")
    return padded("pad", x, pairs_of("pad", padding, zeros, ones, ones), mode, value)


def padded(what: str, x: Array, pairs: Pairs, mode: str, value: complex = 0) -> Array:
    """See `pad`."""
    if mode == "constant":
        config = [(low, high, 0) for low, high in pairs]
        _check_left(what, x, pairs)
        return lax.pad(x, fnp.asarray(value, x.dtype), config)
    if mode not in _MODES:
        raise OptionError(
            f"{what}: mode of padding must be constant, {', '.join(_MODES)}, got {mode!r}"
        )
    _check_left(what, x, pairs)
    cut = [(min(low, 0), min(high, 0), 0) for low, high in pairs]
    wider = [(max(low, 0), max(high, 0)) for low, high in pairs]
    if mode == "circular":
        x = _cut(x, cut)
    for axis, pair in enumerate(wider):
        needed = {"reflect": max(pair) + 1, "replicate": 1, "circular": max(pair)}[mode]
        if max(pair) > 0 and x.shape[axis] < needed:
            raise ShapeError(
                f"{what}: {mode} padding of {pair} needs at least {needed} elements, "
                f"got axis {axis} of {x.aval}"
            )
    x = fnp.pad(x, wider, _MODES[mode])
    return x if mode == "circular" else _cut(x, cut)


def _cut(x: Array, config: Sequence[tuple[int, int, int]]) -> Array:
    if all(c == (0, 0, 0) for c in config):
        return x
    return lax.pad(x, fnp.zeros((), x.dtype), config)


def _check_left(what: str, x: Array, pairs: Pairs) -> None:
    for axis, (low, high) in enumerate(pairs):
        if x.shape[axis] + low + high < 0:
            raise ShapeError(
                f"{what}: negative padding must leave something, got {(low, high)} for axis "
                f"{axis} of {x.aval}"
            )


@boundary
def pixel_shuffle(x: ArrayLike, upscale_factor: int, *, data_format: str | None = None) -> Array:
    """Channels laid out in space: r**d times as few, and r times as many places along each axis.

    Channel c r**2 + i r + j of the input at (h, w) is channel c at (h r + i, w r + j), and likewise
    for other spatial ranks d (Shi et al., 2016, eq. 4). Shapes: (n, *spatial, c r**d) ->
    (n, *(spatial r), c). Raises: ShapeError unless channels are a multiple, OptionError.

    >>> from fstensor import nn
    >>> x = fnp.arange(8).reshape(1, 1, 2, 4)
    >>> nn.pixel_shuffle(x, 2)[0, ..., 0].tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    x = fnp.asarray(x)
    layout = layout_of("pixel_shuffle", x, data_format)
    d = len(layout.spatial)
    r = per_axis("pixel_shuffle", "upscale_factor", upscale_factor, 1)[0]
    channels = x.shape[layout.channels]
    if channels % r**d:
        raise ShapeError(
            f"pixel_shuffle: channels must be a multiple of {r}**{d}, got {channels} in {x.aval}"
        )
    x = fnp.moveaxis(x, layout.channels, -1)
    n, *sizes, _ = x.shape
    x = fnp.reshape(x, (n, *sizes, channels // r**d, *[r] * d))
    order = [0, *itertools.chain(*[(1 + i, 2 + d + i) for i in range(d)]), 1 + d]
    x = fnp.reshape(fnp.transpose(x, order), (n, *[s * r for s in sizes], channels // r**d))
    return fnp.moveaxis(x, -1, layout.channels)


@boundary
def pixel_unshuffle(
    x: ArrayLike, downscale_factor: int, *, data_format: str | None = None
) -> Array:
    """What undoes `pixel_shuffle`: blocks of places become channels.

    Shapes: (n, *(spatial r), c) -> (n, *spatial, c r**d).
    Raises: ShapeError unless all spatial sizes are multiples of r, OptionError.
    """
    x = fnp.asarray(x)
    layout = layout_of("pixel_unshuffle", x, data_format)
    d = len(layout.spatial)
    r = per_axis("pixel_unshuffle", "downscale_factor", downscale_factor, 1)[0]
    if any(s % r for s in layout.sizes(x)):
        raise ShapeError(f"pixel_unshuffle: spatial sizes must be multiples of {r}, got {x.aval}")
    x = fnp.moveaxis(x, layout.channels, -1)
    n, *sizes, channels = x.shape
    parts = itertools.chain(*[(s // r, r) for s in sizes])
    x = fnp.reshape(x, (n, *parts, channels))
    order = [0, *range(1, 2 * d, 2), 2 * d + 1, *range(2, 2 * d + 1, 2)]
    x = fnp.reshape(fnp.transpose(x, order), (n, *[s // r for s in sizes], channels * r**d))
    return fnp.moveaxis(x, -1, layout.channels)


@boundary
def channel_shuffle(x: ArrayLike, groups: int, *, data_format: str | None = None) -> Array:
    """Channels of all groups in turn: channel i of group g goes to i groups + g.

    From Zhang et al., 2018, section 3.1. Shapes: those of `x`.
    Raises: ShapeError unless channels are a multiple of groups, OptionError.
    """
    x = fnp.asarray(x)
    axis = layout_of("channel_shuffle", x, data_format).channels
    groups = per_axis("channel_shuffle", "groups", groups, 1)[0]
    channels = x.shape[axis]
    if channels % groups:
        raise ShapeError(
            f"channel_shuffle: channels must be a multiple of {groups} groups, got {x.aval}"
        )
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    split = fnp.reshape(x, (*before, groups, channels // groups, *after))
    return fnp.reshape(fnp.swapaxes(split, axis, axis + 1), x.shape)


class Windows(NamedTuple):
    """Windows over some spatial axes."""

    window: tuple[int, ...]
    dilation: tuple[int, ...]
    strides: tuple[int, ...]
    pairs: Pairs
    places: tuple[int, ...]


def windows_over(
    what: str,
    sizes: Sequence[int],
    kernel_size: Sizes,
    dilation: Sizes,
    padding: Padding,
    stride: Sizes,
) -> Windows:
    rank = len(sizes)
    window = per_axis(what, "kernel_size", kernel_size, rank)
    spread = per_axis(what, "dilation", dilation, rank)
    strides = per_axis(what, "stride", stride, rank)
    reach = reach_of(window, spread)
    pairs = pairs_of(what, padding, sizes, reach, strides)
    places = [
        (n + low + high - k) // s + 1
        for n, (low, high), k, s in zip(sizes, pairs, reach, strides, strict=True)
    ]
    if any(p < 1 for p in places):
        raise ShapeError(
            f"{what}: a window must fit into the padded axes, got a window that reaches over "
            f"{tuple(reach)} for sizes {tuple(sizes)} padded by {pairs}"
        )
    return Windows(window, spread, strides, pairs, tuple(places))


@boundary
def unfold(
    x: ArrayLike,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Padding = 0,
    stride: Sizes = 1,
    *,
    data_format: str | None = None,
) -> Array:
    """The window at each place, as a vector: by channel first, then by place in the window.

    Shapes: (n, *spatial, c) -> (n, places, c prod(kernel_size)); with channels in front
    (n, c, *spatial) -> (n, c prod(kernel_size), places).
    Raises: ShapeError where no window fits, OptionError for arguments that do not fit the rank.
    """
    x = fnp.asarray(x)
    layout = layout_of("unfold", x, data_format)
    blocks = windows_over("unfold", layout.sizes(x), kernel_size, dilation, padding, stride)
    x = padded(
        "unfold", fnp.moveaxis(x, layout.channels, -1), [(0, 0), *blocks.pairs, (0, 0)], "constant"
    )
    views = []
    for at in itertools.product(*[range(k) for k in blocks.window]):
        cut = []
        for k, d, s, p in zip(at, blocks.dilation, blocks.strides, blocks.places, strict=True):
            cut.append(slice(k * d, k * d + (p - 1) * s + 1, s))
        views.append(x[(slice(None), *cut)])
    stacked = fnp.stack(views, axis=-1)
    shape = (x.shape[0], math.prod(blocks.places), x.shape[-1] * len(views))
    flat = fnp.reshape(stacked, shape)
    return flat if layout.channels > 1 else fnp.swapaxes(flat, 1, 2)


@boundary
def fold(
    x: ArrayLike,
    output_size: Sequence[int],
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Padding = 0,
    stride: Sizes = 1,
    *,
    data_format: str | None = None,
) -> Array:
    """The sum of windows, each laid at its place: the transpose of `unfold`.

    output_size: the spatial sizes of the result, of which there are one to three.
    Shapes: (n, places, c prod(kernel_size)) -> (n, *output_size, c); with channels in front
    (n, c prod(kernel_size), places) -> (n, c, *output_size).
    Raises: ShapeError unless `x` has the shape that `unfold` gives, OptionError.
    """
    x = fnp.asarray(x)
    sizes = per_axis("fold", "output_size", output_size, len(output_size))
    blocks = windows_over("fold", sizes, kernel_size, dilation, padding, stride)
    layout = layout_for("fold", len(sizes) + 2, data_format, f"output_size {tuple(output_size)}")
    number, count = math.prod(blocks.places), math.prod(blocks.window)
    last = layout.channels > 1
    features, places = (2, 1) if last else (1, 2)
    if x.ndim != 3 or x.shape[places] != number or x.shape[features] % count:
        wanted = f"(n, {number}, {count} c)" if last else f"(n, {count} c, {number})"
        raise ShapeError(f"fold: x must have the shape {wanted}, got {x.aval}")
    x = x if last else fnp.swapaxes(x, 1, 2)
    channels = x.shape[2] // count
    x = fnp.reshape(x, (x.shape[0], *blocks.places, channels, count))
    zero = fnp.zeros((), x.dtype)
    total = None
    for k, at in enumerate(itertools.product(*[range(k) for k in blocks.window])):
        config = []
        for i, n in enumerate(at):
            low, s = n * blocks.dilation[i], blocks.strides[i]
            covered = (blocks.places[i] - 1) * s + 1
            size = sizes[i] + sum(blocks.pairs[i])
            config.append(
                (low - blocks.pairs[i][0], size - low - covered - blocks.pairs[i][1], s - 1)
            )
        laid = lax.pad(x[..., k], zero, [(0, 0, 0), *config, (0, 0, 0)])
        total = laid if total is None else total + laid
    assert total is not None
    return fnp.moveaxis(total, -1, layout.channels)

"""Images of other sizes, and images seen through a grid of points.

Layouts are those of `spatial`. align_corners says what the ends of an axis are, at -1 and 1 where
coordinates are relative: the centers of its first and last elements, or by default their outer
edges.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fstensor import lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike
from fstensor.core.boundary import boundary
from fstensor.errors import OptionError, ShapeError
from fstensor.nn.pooling import adaptive_avg_pool
from fstensor.nn.spatial import Layout, Sizes, layout_of, per_axis
from fstensor.numpy.promote import inexact, promote_inexact

# For each mode, the numbers of spatial axes that it takes.
_MODES: dict[str, tuple[int, ...]] = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
}
_WEIGHED = ("linear", "bilinear", "bicubic", "trilinear")


class _Taps(NamedTuple):
    """For each element of a result along an axis, what it is a sum of: (results, elements)."""

    places: Any
    weights: Any


@boundary
def interpolate(
    x: ArrayLike,
    size: Sizes | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool = False,
    antialias: bool = False,
    *,
    data_format: str | None = None,
) -> Array:
    """`x` with other spatial sizes.

    size: the sizes, or scale_factor: what the present ones are multiplied by, then rounded down.
    mode: "nearest" rounds coordinates down, "nearest-exact" rounds them to the nearest center,
        "linear", "bilinear" or "trilinear" by the number of axes, "bicubic" (Keys, 1981, with
        a = -0.75), or "area", the means of `adaptive_avg_pool`.
    align_corners: see the module; False by default.
    recompute_scale_factor: whether coordinates follow from the rounded sizes, not from the scale.
    antialias: whether "bilinear" and "bicubic" weigh all elements that one of the result covers
        when sizes shrink, with a = -0.5.
    Shapes: (n, *s, c) -> (n, *size, c). Dtypes: integers become the default float.
    Raises: OptionError for arguments that exclude each other or do not fit the rank, ShapeError.

    >>> from fstensor import nn
    >>> x = fnp.array([0.0, 1.0, 2.0]).reshape(1, 3, 1)
    >>> nn.interpolate(x, size=5, mode="linear", align_corners=True).ravel().tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    x = inexact("interpolate", x)
    layout = layout_of("interpolate", x, data_format)
    rank = len(layout.spatial)
    if mode not in _MODES or rank not in _MODES[mode]:
        fitting = [m for m, ranks in _MODES.items() if rank in ranks]
        raise OptionError(
            f"interpolate: mode must be one of {', '.join(fitting)} for {x.aval}, got {mode!r}"
        )
    if align_corners is not None and mode not in _WEIGHED:
        raise OptionError(
            f"interpolate: align_corners is for {', '.join(_WEIGHED)}, got {align_corners} and "
            f"{mode!r}"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise OptionError(f"interpolate: antialias is for bilinear and bicubic, got {mode!r}")
    before = layout.sizes(x)
    if 0 in before:
        raise ShapeError(f"interpolate: spatial axes must not be empty, got {x.aval}")
    after, scales = _sizes_after(before, size, scale_factor, recompute_scale_factor)
    if mode == "area":
        return adaptive_avg_pool(x, after, data_format=data_format)
    for axis, n, o, scale in zip(layout.spatial, before, after, scales, strict=True):
        if mode in _WEIGHED:
            x = _combined(x, axis, _taps(n, o, scale, mode, bool(align_corners), antialias))
        else:
            x = fnp.take(x, _nearest(n, o, scale, mode), axis, mode="clip")
    return x


def _sizes_after(
    before: Sequence[int], size: Sizes | None, scale_factor: Any, recompute: bool
) -> tuple[tuple[int, ...], list[float | None]]:
    """The sizes, and for each axis a scale that coordinates follow, or None for that of sizes."""
    rank = len(before)
    if (size is None) == (scale_factor is None):
        raise OptionError(f"interpolate: needs size or scale_factor, got {size} and {scale_factor}")
    if size is not None:
        if recompute:
            raise OptionError("interpolate: recompute_scale_factor is for scale_factor, got size")
        return per_axis("interpolate", "size", size, rank), [None] * rank
    each = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,) * rank
    if len(each) != rank or any(s <= 0 for s in each):
        raise OptionError(
            f"interpolate: scale_factor must be a positive number or {rank} of them, "
            f"got {scale_factor}"
        )
    sizes = tuple([math.floor(n * s) for n, s in zip(before, each, strict=True)])
    if 0 in sizes:
        raise OptionError(
            f"interpolate: scale_factor must leave something, got {scale_factor} for sizes "
            f"{tuple(before)}"
        )
    return sizes, [None] * rank if recompute else list(each)


def _nearest(n: int, o: int, scale: float | None, mode: str) -> Any:
    """The element nearest to each of a result. Sizes alone give an exact quotient."""
    i = np.arange(o)
    if scale is None:
        place = i * n // o if mode == "nearest" else (2 * i + 1) * n // (2 * o)
    else:
        place = np.floor((i if mode == "nearest" else i + 0.5) / scale).astype(int)
    return np.minimum(place, n - 1)


def _cubic(distance: Any, a: float) -> Any:
    """Keys, 1981, eq. 4 and 15: the weight of an element at a distance."""
    d = abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return near, far


def _cubic_weights(t: Any, a: float = -0.75) -> list[Any]:
    """The weights of the elements at -1, 0, 1 and 2 for a point at t from 0 to 1."""
    return [
        _cubic(t + 1, a)[1],
        _cubic(t, a)[0],
        _cubic(1 - t, a)[0],
        _cubic(2 - t, a)[1],
    ]


def _taps(n: int, o: int, scale: float | None, mode: str, align: bool, antialias: bool) -> _Taps:
    """What each element of a result is a weighted sum of, along an axis."""
    if align:
        ratio = (n - 1) / (o - 1) if o > 1 else 0.0
    else:
        ratio = n / o if scale is None else 1 / scale
    i = np.arange(o)
    if antialias:
        return _covering(n, ratio * (i + 0.5), ratio, mode)
    source = ratio * i if align else ratio * (i + 0.5) - 0.5
    if mode == "bicubic":
        low = np.floor(source)
        weights = _cubic_weights(source - low)
        places = [low + k for k in (-1, 0, 1, 2)]
    else:
        source = np.maximum(source, 0)
        low = np.minimum(np.floor(source), n - 1)
        t = np.clip(source - low, 0, 1)
        places, weights = [low, low + 1], [1 - t, t]
    return _Taps(np.clip(np.stack(places, 1), 0, n - 1).astype(int), np.stack(weights, 1))


def _covering(n: int, center: Any, ratio: float, mode: str) -> _Taps:
    """All elements within the filter around each center, which is as wide as sizes shrink."""
    width = max(ratio, 1.0)
    support = (1 if mode == "bilinear" else 2) * width
    first = np.maximum((center - support + 0.5).astype(int), 0)
    last = np.minimum((center + support + 0.5).astype(int), n)
    places = first[:, None] + np.arange(np.max(last - first))
    distance = abs((places - center[:, None] + 0.5) / width)
    if mode == "bilinear":
        weights = np.maximum(1 - distance, 0)
    else:
        near, far = _cubic(distance, -0.5)
        weights = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    weights = np.where(places < last[:, None], weights, 0)
    return _Taps(np.minimum(places, n - 1), weights / weights.sum(1, keepdims=True))


def _combined(x: Array, axis: int, taps: _Taps) -> Array:
    shape = [1] * x.ndim
    shape[axis] = -1
    total = None
    for place, weight in zip(taps.places.T, taps.weights.T, strict=True):
        weights = fnp.asarray(weight.astype(x.dtype).reshape(shape))
        part = fnp.take(x, place, axis, mode="clip") * weights
        total = part if total is None else total + part
    assert total is not None
    return total


@boundary
def affine_grid(theta: ArrayLike, size: Sequence[int], align_corners: bool = False) -> Array:
    """The points of `grid_sample` that an affine map of the points of an image gives.

    size: the spatial sizes of the image, two or three. align_corners: see the module.
    Shapes: theta (n, 2, 3) -> (n, height, width, 2), or (n, 3, 4) -> (n, depth, height, width, 3),
        whose points are (x, y) or (x, y, z), from the last spatial axis to the first.
    Raises: ShapeError for another shape of theta, OptionError for sizes that do not fit.
    """
    theta = inexact("affine_grid", theta)
    if theta.ndim != 3 or theta.shape[1:] not in ((2, 3), (3, 4)):
        raise ShapeError(f"affine_grid: theta must be (n, 2, 3) or (n, 3, 4), got {theta.aval}")
    sizes = per_axis("affine_grid", "size", size, theta.shape[1])
    ticks = []
    for n in sizes:
        ends = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        ticks.append(ends if align_corners else ends * ((n - 1) / n))
    points = np.stack([*reversed(np.meshgrid(*ticks, indexing="ij")), np.ones(sizes)], -1)
    flat = fnp.asarray(points.reshape(-1, len(sizes) + 1).astype(theta.dtype))
    grid = fnp.matmul(flat, fnp.swapaxes(theta, 1, 2))
    return fnp.reshape(grid, (theta.shape[0], *sizes, len(sizes)))


@boundary
def grid_sample(
    x: ArrayLike,
    grid: ArrayLike,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
    *,
    data_format: str | None = None,
) -> Array:
    """`x` at the points of a grid (Jaderberg et al., 2015, section 3.3).

    grid: for each place of the result a point (x, y) or (x, y, z), from the last spatial axis to
        the first, with -1 and 1 the ends of axes; see the module for align_corners.
    mode: "bilinear" (of volumes, trilinear), "nearest", or for images "bicubic".
    padding_mode: what lies outside: "zeros", the "border", or the "reflection" of what is inside.
    Shapes: x (n, *s, c), grid (n, *y, len(s)) -> (n, *y, c), for two or three spatial axes.
    The derivative with respect to the grid is 0 where points are moved to the border, and for
    "nearest". Raises: ShapeError where shapes do not fit, OptionError for an unknown mode.
    """
    x, points = (inexact("grid_sample", a) for a in (x, grid))
    if x.dtype != points.dtype:
        x, points = promote_inexact("grid_sample", x, points)
    layout = layout_of("grid_sample", x, data_format)
    rank = len(layout.spatial)
    _check_grid(x, points, layout, mode, padding_mode)
    x = fnp.moveaxis(x, layout.channels, -1)
    sizes = x.shape[1:-1]
    at = []
    for i, n in enumerate(sizes):
        p = points[..., rank - 1 - i]
        at.append((p + 1) / 2 * (n - 1) if align_corners else ((p + 1) * n - 1) / 2)

    def moved(p: Array, n: int) -> Array:
        return _moved(p, n, padding_mode, align_corners)

    sample = _Sampled(x, padding_mode == "zeros")
    if mode == "bicubic":
        y = _bicubic(sample, at, moved)
    elif mode == "nearest":
        y = sample.at(
            [fnp.round(lax.stop_gradient(moved(p, n))) for p, n in zip(at, sizes, strict=True)]
        )
    else:
        y = _multilinear(sample, [moved(p, n) for p, n in zip(at, sizes, strict=True)])
    return fnp.moveaxis(y, -1, layout.channels)


def _check_grid(x: Array, grid: Array, layout: Layout, mode: str, padding_mode: str) -> None:
    rank = len(layout.spatial)
    if rank < 2 or grid.ndim != x.ndim or grid.shape[0] != x.shape[0] or grid.shape[-1] != rank:
        raise ShapeError(
            "grid_sample: must have two or three spatial axes, and a grid (n, *places, axes), "
            f"got x {x.aval} and grid {grid.aval}"
        )
    if 0 in layout.sizes(x):
        raise ShapeError(f"grid_sample: spatial axes must not be empty, got {x.aval}")
    modes = ("bilinear", "nearest", "bicubic") if rank == 2 else ("bilinear", "nearest")
    if mode not in modes:
        raise OptionError(
            f"grid_sample: mode must be one of {', '.join(modes)} for {x.aval}, got {mode!r}"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise OptionError(
            f"grid_sample: padding_mode must be zeros, border or reflection, got {padding_mode!r}"
        )


def _moved(p: Array, n: int, padding_mode: str, align_corners: bool) -> Array:
    """Coordinates along an axis of size n as they are, or moved to where elements are."""
    if padding_mode == "zeros":
        return p
    if padding_mode == "reflection":
        p = _reflected(p, 0.0, n - 1.0) if align_corners else _reflected(p, -0.5, n - 0.5)
    inside = (p > 0) & (p < n - 1)
    return fnp.where(inside, p, lax.stop_gradient(fnp.clip(p, 0, n - 1)))


def _reflected(p: Array, low: float, high: float) -> Array:
    """Coordinates reflected at both ends until they lie between them."""
    span = high - low
    if span == 0:
        return fnp.zeros_like(p)
    distance = fnp.abs(p - low)
    turns = lax.stop_gradient(fnp.floor(distance / span))
    rest = distance - turns * span
    return low + fnp.where(turns % 2 == 0, rest, span - rest)


class _Sampled:
    """The elements of `x` (n, *s, c) at whole coordinates; outside 0, or not to be asked for."""

    def __init__(self, x: Array, zeros: bool) -> None:
        self.x = x
        self.sizes = x.shape[1:-1]
        self.zeros = zeros

    def at(self, coordinates: Sequence[Array]) -> Array:
        """The elements, (n, *places, c), at coordinates (n, *places) for each axis."""
        batch = np.arange(self.x.shape[0]).reshape(-1, *[1] * (coordinates[0].ndim - 1))
        whole, inside = [], None
        for p, n in zip(coordinates, self.sizes, strict=True):
            whole.append(fnp.clip(p, 0, n - 1).astype(int))
            within = (p >= 0) & (p <= n - 1)
            inside = within if inside is None else inside & within
        values = self.x[(batch, *whole)]
        assert inside is not None
        return fnp.where(inside[..., None], values, 0) if self.zeros else values


def _multilinear(sample: _Sampled, at: Sequence[Array]) -> Array:
    lows = [lax.stop_gradient(fnp.floor(p)) for p in at]
    total = None
    for corner in itertools.product((0, 1), repeat=len(at)):
        weight = None
        for p, low, k in zip(at, lows, corner, strict=True):
            part = p - low if k else 1 - (p - low)
            weight = part if weight is None else weight * part
        assert weight is not None
        found = sample.at([low + k for low, k in zip(lows, corner, strict=True)])
        total = found * weight[..., None] if total is None else total + found * weight[..., None]
    assert total is not None
    return total


def _bicubic(sample: _Sampled, at: Sequence[Array], moved: Callable[[Array, int], Array]) -> Array:
    """The 16 elements around each point, each of them moved if it lies outside."""
    lows = [lax.stop_gradient(fnp.floor(p)) for p in at]
    weights = [_cubic_weights(p - low) for p, low in zip(at, lows, strict=True)]
    rows = []
    for i in range(4):
        row = None
        for j in range(4):
            places = [
                fnp.round(moved(low + k - 1, n))
                for low, k, n in zip(lows, (i, j), sample.sizes, strict=True)
            ]
            part = sample.at(places) * weights[1][j][..., None]
            row = part if row is None else row + part
        assert row is not None
        rows.append(row * weights[0][i][..., None])
    return rows[0] + rows[1] + rows[2] + rows[3]

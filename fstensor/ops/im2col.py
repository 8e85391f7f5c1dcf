"""Convolutions of NumPy and CuPy buffers, by products of matrices.

Two ways lead there. One lays all windows of the operand out as a matrix and multiplies it with the
kernel ("im2col", K. Chellapilla et al., 2006). The other multiplies each element with the kernel,
then adds the products where they belong; it has no zeros to multiply when the operand is dilated.
Both work on buffers with features last, or with the batch last, whichever keeps longer runs of
memory together; results come in the same order, so that a chain of convolutions keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from fstensor.ops.dot import matmul
from fstensor.ops.index import Pad

# Runs of this many elements are copied at nearly full speed.
_LONG_RUN = 32
# Windows are laid out in blocks of about this many elements, which stay in the cache.
_BLOCK = 1 << 19


def dilated(size: int, dilation: int) -> int:
    """The length of `size` elements at a distance of `dilation`."""
    return (size - 1) * dilation + 1 if size else 0


def window_places(
    size: int, window: int, stride: int, pads: tuple[int, int], base: int = 1, spread: int = 1
) -> int:
    """The number of places of a window: `base` dilates the operand, `spread` the window."""
    room = dilated(size, base) + sum(pads) - dilated(window, spread)
    return max(0, room // stride + 1)


@final
@dataclass(frozen=True)
class Geometry:
    """How a window moves: along each spatial axis its stride, the padding, and both dilations."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]

    def places(self, sizes: Sequence[int], window: Sequence[int]) -> tuple[int, ...]:
        """The spatial shape of the result."""
        options = (self.strides, self.padding, self.lhs_dilation, self.rhs_dilation)
        return tuple([window_places(*axis) for axis in zip(sizes, window, *options, strict=True)])


def convolve_groups(xp: Any, x: Any, w: Any, geometry: Geometry) -> Any:
    """The results (G, N, O, *Y) of operands x (G, N, C, *S) and kernels w (G, O, C, *K)."""
    batch_last = _prefers_batch_last(x, w, geometry)
    spatial = range(3, x.ndim)
    places = geometry.places(x.shape[3:], w.shape[3:])
    by_element = all(s == 1 for s in geometry.strides) and (
        any(d > 1 for d in geometry.lhs_dilation) or 4 * w.shape[1] <= w.shape[2]
    )
    evaluate = _by_element if by_element else _by_window
    if batch_last:
        y = evaluate(xp, x.transpose((0, 2, *spatial, 1)), w, geometry, places, True)
        return y.transpose((0, y.ndim - 1, *range(1, y.ndim - 1)))
    y = evaluate(xp, x.transpose((0, 1, *spatial, 2)), w, geometry, places, False)
    return y.transpose((0, 1, y.ndim - 1, *range(2, y.ndim - 1)))


def _prefers_batch_last(x: Any, w: Any, geometry: Geometry) -> bool:
    """Compares the runs of elements that stay together in windows.

    The order in which x lies in memory is kept where its runs are long enough.
    """
    batch, features = x.shape[1:3]
    with_features, with_batch = features, batch
    if geometry.strides:
        if geometry.rhs_dilation[-1] == 1:
            with_features *= w.shape[-1]
        if geometry.strides[-1] == 1:
            with_batch *= x.shape[-1]
    if batch > 1 and x.strides[1] == x.itemsize:
        return bool(with_batch >= min(with_features, _LONG_RUN))
    return bool(with_features < min(with_batch, _LONG_RUN))


def _by_window(
    xp: Any, x: Any, w: Any, geometry: Geometry, places: Sequence[int], batch_last: bool
) -> Any:
    """From x (G, N, *S, C) to (G, N, *Y, O); with the batch last (G, C, *S, N) to (G, O, *Y, N)."""
    outputs, window = w.shape[1], w.shape[3:]
    groups, first, last = x.shape[0], x.shape[1], x.shape[-1]
    windows = _windows(xp, x, window, geometry, places, batch_last)
    features = first if batch_last else last
    kernel = _kernel_matrix(w, features_first=batch_last)
    depth = features * math.prod(window)

    def multiply(block: Any, rows: int) -> Any:
        shape = (rows, *places[1:]) if places else ()
        if batch_last:
            y = matmul(xp, kernel, block.reshape(groups, depth, math.prod(shape) * last))
            return y.reshape(groups, outputs, *shape, last)
        y = matmul(xp, block.reshape(groups, first * math.prod(shape), depth), kernel)
        return y.reshape(groups, first, *shape, outputs)

    rows = places[0] if places else 1
    step = max(1, _BLOCK * rows // max(1, windows.size))
    if step >= rows or math.prod(window) == 1:
        return multiply(windows, rows)
    axis = 2 + len(window) if batch_last else 2
    ends = (outputs, last) if batch_last else (first, outputs)
    out = xp.empty((groups, ends[0], *places, ends[1]), x.dtype)
    return _in_blocks(xp, windows, axis, step, multiply, out)


def _in_blocks(
    xp: Any, windows: Any, axis: int, step: int, multiply: Callable[[Any, int], Any], out: Any
) -> Any:
    """Fill `out` along its axis 2 by `multiply` of parts of `windows` along `axis`."""
    rows = windows.shape[axis]
    buffer = xp.empty(windows.size // rows * step, windows.dtype)
    before = (slice(None),) * axis
    for start in range(0, rows, step):
        part = windows[(*before, slice(start, start + step))]
        block = buffer[: part.size].reshape(part.shape)
        xp.copyto(block, part)
        out[:, :, start : start + step] = multiply(block, part.shape[axis])
    return out


def _windows(
    xp: Any,
    x: Any,
    window: Sequence[int],
    geometry: Geometry,
    places: Sequence[int],
    batch_last: bool,
) -> Any:
    """A view of padded x that has its element at each place of each window.

    (G, N, *Y, *K, C), or with the batch last (G, C, *K, *Y, N).
    """
    pads = zip(geometry.padding, geometry.lhs_dilation, strict=True)
    config = [(low, high, dilation - 1) for (low, high), dilation in pads]
    if any(c != (0, 0, 0) for c in config):
        x = Pad(((0, 0, 0), (0, 0, 0), *config, (0, 0, 0))).impl(xp, x, x.dtype.type(0))
    x = xp.ascontiguousarray(x)
    spatial = x.strides[2:-1]
    moves = [b * s for b, s in zip(spatial, geometry.strides, strict=True)]
    reaches = [b * d for b, d in zip(spatial, geometry.rhs_dilation, strict=True)]
    middle = (*window, *places) if batch_last else (*places, *window)
    strides = (*reaches, *moves) if batch_last else (*moves, *reaches)
    return xp.lib.stride_tricks.as_strided(
        x, (*x.shape[:2], *middle, x.shape[-1]), (*x.strides[:2], *strides, x.strides[-1])
    )


def _kernel_matrix(w: Any, features_first: bool) -> Any:
    """The kernel (G, O, C, *K) as (G, O, C K), or (G, K C, O), without a copy where possible."""
    groups, outputs, features, *window = w.shape
    places = range(3, w.ndim)
    summed = (2, *places) if features_first else (*places, 2)
    size = features * math.prod(window)
    if w.strides[1] == w.itemsize and outputs > 1:
        columns = w.transpose((0, *summed, 1)).reshape(groups, size, outputs)
        return columns.swapaxes(1, 2) if features_first else columns
    rows = w.transpose((0, 1, *summed)).reshape(groups, outputs, size)
    return rows if features_first else rows.swapaxes(1, 2)


def _by_element(
    xp: Any, x: Any, w: Any, geometry: Geometry, places: Sequence[int], batch_last: bool
) -> Any:
    """As `_by_window`, for windows that move by 1.

    Element i and place k of the window meet in the result at i l + low - k d, for the dilations l
    and d. All results for which they do are collected, then cut or padded to those asked for.
    """
    groups, outputs, features, *window = w.shape
    sizes = x.shape[2:-1]
    count, last = math.prod(window), x.shape[-1]
    if batch_last:
        kernel = xp.moveaxis(w, 2, -1).reshape(groups, outputs, count, features)
        flat = x.reshape(groups, 1, features, math.prod(sizes) * last)
        parts = matmul(xp, kernel.swapaxes(1, 2), flat)
        parts = parts.reshape(groups, count, outputs, *sizes, last)
    else:
        kernel = w.reshape(groups, outputs, features, count).transpose((0, 3, 2, 1))
        flat = x.reshape(groups, 1, x.shape[1] * math.prod(sizes), features)
        parts = matmul(xp, flat, kernel).reshape(groups, count, x.shape[1], *sizes, outputs)
    reach = [dilated(k, d) - 1 for k, d in zip(window, geometry.rhs_dilation, strict=True)]
    spans = [dilated(n, d) for n, d in zip(sizes, geometry.lhs_dilation, strict=True)]
    full = [max(0, n + r) for n, r in zip(spans, reach, strict=True)]
    ends = (outputs, last) if batch_last else (x.shape[1], outputs)
    out = xp.zeros((groups, ends[0], *full, ends[1]), x.dtype)
    for number, place in enumerate(np.ndindex(*window)):
        starts = [r - k * d for r, k, d in zip(reach, place, geometry.rhs_dilation, strict=True)]
        target = [
            slice(start, start + span, dilation)
            for start, span, dilation in zip(starts, spans, geometry.lhs_dilation, strict=True)
        ]
        out[(slice(None), slice(None), *target)] += parts[:, number]
    config = []
    for (low, _), r, n, m in zip(geometry.padding, reach, full, places, strict=True):
        config.append((low - r, m - n - (low - r), 0))
    if any(c != (0, 0, 0) for c in config):
        out = Pad(((0, 0, 0), (0, 0, 0), *config, (0, 0, 0))).impl(xp, out, out.dtype.type(0))
    return out

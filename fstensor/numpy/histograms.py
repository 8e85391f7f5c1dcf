"""Histograms of points in several dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from fstensor import lax
from fstensor.array import Array, ArrayLike
from fstensor.errors import ShapeError
from fstensor.numpy.creation import asarray
from fstensor.numpy.joining import stack, unstack
from fstensor.numpy.promote import constant, converted, inexact, operand, select
from fstensor.numpy.reductions import sum
from fstensor.numpy.shape import ravel
from fstensor.numpy.sorting import searchsorted
from fstensor.numpy.statistics import bincount, histogram_bin_edges

Range: TypeAlias = "Sequence[Sequence[ArrayLike] | None]"


def histogramdd(
    sample: ArrayLike | Sequence[ArrayLike],
    bins: ArrayLike | Sequence[ArrayLike] = 10,
    range: Range | None = None,
    weights: ArrayLike | None = None,
    density: bool | None = None,
) -> tuple[Array, list[Array]]:
    """How many points lie in each cell of a grid, and the edges of its bins along each axis.

    sample: one row for each point, shape (n, d), or d vectors of coordinates in a sequence.
    bins: a number, or for each axis a number or the edges.
    range: for each axis the ends of its bins, or None for the least and the greatest coordinate.
    weights: what each point counts, instead of 1.
    density: divide so that the integral over the cells is 1.
    Bins contain their lower edge, the last ones both. Points outside of the grid do not count.
    Raises: ShapeError when the arguments do not fit each other.
    """
    points = stack(sample, 1) if isinstance(sample, (list, tuple)) else sample
    points = inexact("histogramdd", points)  # type: ignore[arg-type]
    if points.ndim == 1:
        points = lax.expand_dims(points, (1,))
    if points.ndim != 2:
        raise ShapeError(f"histogramdd: takes one row for each point, got {points.aval}")
    columns = unstack(points, axis=1)
    sizes = _for_each_axis("bins", bins, len(columns))
    ends = _for_each_axis("range", range, len(columns))
    edges = [histogram_bin_edges(x, b, r) for x, b, r in zip(columns, sizes, ends, strict=True)]
    shape = tuple(e.shape[0] - 1 for e in edges)
    cell, inside = _cells(columns, edges)
    # Points outside go to one place more, which is cut off.
    total = math.prod(shape)
    cell = select(inside, cell, constant(total, cell))
    mass = None if weights is None else ravel(operand(weights, "histogramdd"))
    if mass is not None and mass.shape != cell.shape:
        raise ShapeError(f"histogramdd: needs a weight for each point, got {mass.aval}")
    counts = bincount(cell, mass, length=total + 1)
    counts = lax.reshape(lax.slice_in_dim(counts, 0, total), shape)
    if density:
        counts = converted(counts, points.dtype)
        counts = lax.div(counts, sum(counts))
        for axis, e in enumerate(edges):
            widths = lax.sub(lax.slice_in_dim(e, 1, None), lax.slice_in_dim(e, 0, -1))
            widths = converted(widths, counts.dtype)
            spread = [shape[axis] if i == axis else 1 for i, _ in enumerate(shape)]
            counts = lax.div(counts, lax.reshape(widths, spread))
    return counts, edges


def _for_each_axis(what: str, given: Any, d: int) -> Sequence[Any]:
    """One entry for each axis, of what may be one for all."""
    if given is None or isinstance(given, int) or getattr(given, "ndim", None) == 0:
        return [given] * d
    if len(given) != d:
        raise ShapeError(f"histogramdd: {what} must be given for {d} axes, got {len(given)}")
    return given


def _cells(columns: Sequence[Array], edges: Sequence[Array]) -> tuple[Array, Array]:
    """The cell of each point, counted in row-major order, and whether the point is in one."""
    cell, inside = None, None
    for x, e in zip(columns, edges, strict=True):
        x = converted(x, e.dtype)
        n = e.shape[0] - 1
        place = lax.sub(searchsorted(e, x, "right"), 1)
        last = lax.index_in_dim(e, n, 0, keepdims=False)
        place = select(lax.eq(x, last), constant(n - 1, place), place)
        within = lax.bitwise_and(lax.ge(place, 0), lax.lt(place, n))
        cell = place if cell is None else lax.add(lax.mul(cell, n), place)
        inside = within if inside is None else lax.bitwise_and(inside, within)
    if cell is None or inside is None:
        raise ShapeError("histogramdd: points must have at least 1 coordinate, got none")
    return cell, inside


def histogram2d(
    x: ArrayLike,
    y: ArrayLike,
    bins: ArrayLike | Sequence[ArrayLike] = 10,
    range: Range | None = None,
    weights: ArrayLike | None = None,
    density: bool | None = None,
) -> tuple[Array, Array, Array]:
    """As `histogramdd` for points (x, y): the counts, the edges along x and those along y.

    bins: also edges for both axes, as one vector.
    """
    a, b = ravel(x), ravel(y)
    if a.shape != b.shape:
        raise ShapeError(f"histogram2d: needs a y for each x, got {a.aval} and {b.aval}")
    shared = isinstance(bins, (Array, np.ndarray)) and bins.ndim == 1 and bins.size != 2
    pair: Any = [asarray(bins)] * 2 if shared or _is_edges(bins) else bins
    counts, (x_edges, y_edges) = histogramdd([a, b], pair, range, weights, density)
    return counts, x_edges, y_edges


def _is_edges(bins: Any) -> bool:
    """Whether a list holds edges for both axes, not something for each."""
    if not isinstance(bins, (list, tuple)) or len(bins) in (1, 2):
        return False
    return all(isinstance(b, (int, float)) for b in bins)

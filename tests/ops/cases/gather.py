import itertools

import numpy as np

from fstensor.ops.gather import Gather, GatherDimensionNumbers, GatherScatterMode
from tests.ops.harness import ALL, FLOATS, Case, Operand

CLIP = GatherScatterMode.CLIP
FILL = GatherScatterMode.FILL_OR_DROP
PROMISE = GatherScatterMode.PROMISE_IN_BOUNDS


def box_starts(numbers, sizes, shape, indices):
    """For each place of the batch, where its box starts in the operand, before any clipping."""
    for place in np.ndindex(indices.shape[:-1]):
        start = [0] * len(shape)
        for d, i in zip(numbers.start_index_map, indices[place], strict=True):
            start[d] = int(i)
        for d, axis in zip(
            numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True
        ):
            start[d] = place[axis]
        yield place, start


def elements(numbers, sizes, shape, indices, mode):
    """Pairs of an element's place in output or updates, and in the operand (None: outside)."""
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    rank = indices.ndim - 1 + len(numbers.offset_dims)
    for place, start in box_starts(numbers, sizes, shape, indices):
        limits = [n - size for n, size in zip(shape, sizes, strict=True)]
        inside = all(0 <= s <= m for s, m in zip(start, limits, strict=True))
        if mode is not FILL:
            start = [min(max(s, 0), m) for s, m in zip(start, limits, strict=True)]
        for offset in itertools.product(*map(range, sizes)):
            kept = iter([o for d, o in enumerate(offset) if d not in dropped])
            batch = iter(place)
            out = tuple(
                next(kept) if i in numbers.offset_dims else next(batch) for i in range(rank)
            )
            at = tuple(s + o for s, o in zip(start, offset, strict=True))
            yield out, at if inside or mode is not FILL else None


def reference(primitive):
    numbers, sizes = primitive.dimension_numbers, primitive.slice_sizes

    def gather(x, indices):
        dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
        windows = iter([n for d, n in enumerate(sizes) if d not in dropped])
        batch = iter(indices.shape[:-1])
        rank = indices.ndim - 1 + len(numbers.offset_dims)
        shape = [next(windows) if i in numbers.offset_dims else next(batch) for i in range(rank)]
        out = np.zeros(shape, x.dtype)
        for place, at in elements(numbers, sizes, x.shape, indices, primitive.mode):
            out[place] = fill(primitive.fill_value, x.dtype) if at is None else x[at]
        return out

    return gather


def fill(value, dtype):
    if value is not None:
        return np.asarray(value).astype(dtype)
    if dtype.kind in "fcV":
        return np.asarray(np.nan).astype(dtype)
    if dtype.kind == "b":
        return True
    return np.iinfo(dtype).max if dtype.kind == "u" else np.iinfo(dtype).min


def case(shape, indices, numbers, sizes, mode=PROMISE, fill_value=None, unique=False, **options):
    primitive = Gather(numbers, fill_value, False, mode, sizes, unique)
    operands = (
        Operand(shape),
        Operand(np.shape(indices), dtype=options.pop("index_dtype", "int32"), values=indices),
    )
    return Case(primitive, operands, reference(primitive), **options)


ROWS = GatherDimensionNumbers((1,), (0,), (0,))
POINTS = GatherDimensionNumbers((), (0, 1), (1, 0))
ALONG = GatherDimensionNumbers((), (1,), (1,), (0,), (0,))
# One case for each shape of NumPy's indexing that the plan tells apart: (operand, indices, numbers,
# sizes), indices inside.
PLANS = {
    "rows": ((4, 3), [[0], [2], [2], [3]], ROWS, (1, 3)),
    "columns": ((3, 4), [[0], [3], [0]], GatherDimensionNumbers((0,), (1,), (1,)), (3, 1)),
    "middle": (
        (2, 4, 3),
        [[[0], [3]], [[1], [1]]],
        GatherDimensionNumbers((0, 3), (1,), (1,)),
        (2, 1, 3),
    ),
    "points": ((4, 3), [[0, 0], [2, 3], [2, 3]], POINTS, (1, 1)),
    "windows": ((6,), [[0], [2], [3]], GatherDimensionNumbers((1,), (), (0,)), (3,)),
    "windows-first": ((5, 4), [[0, 1], [3, 0]], GatherDimensionNumbers((0, 1), (), (0, 1)), (2, 3)),
    "window-of-one": ((5, 4), [[0], [4], [4]], GatherDimensionNumbers((1, 2), (), (0,)), (1, 4)),
    "partial": ((5, 4), [[1], [4]], GatherDimensionNumbers((1,), (0,), (0,)), (1, 2)),
    "one-box": ((5, 4), [1, 2], GatherDimensionNumbers((0, 1), (), (0, 1)), (2, 2)),
    "one-element": ((5,), [3], GatherDimensionNumbers((), (0,), (0,)), (1,)),
    "along": ((3, 5), [[[0], [4]], [[1], [1]], [[2], [0]]], ALONG, (1, 1)),
    "along-inner": (
        (2, 3, 4),
        [[[1, 0], [1, 0], [0, 0]], [[1, 1], [0, 1], [1, 1]]],
        GatherDimensionNumbers((2,), (0,), (0, 2), (1,), (1,)),
        (1, 1, 3),
    ),
    "whole": ((2, 3), np.zeros((4, 1)), GatherDimensionNumbers((1, 2), (), (0,)), (2, 3)),
    "single-axis": ((1, 3), np.zeros((4, 1)), ROWS, (1, 3)),
    "no-places": ((4, 3), np.zeros((0, 1)), ROWS, (1, 3)),
    "empty-rows": ((4, 0), [[0], [1]], ROWS, (1, 0)),
    "no-axes": ((3,), np.zeros((2, 0)), GatherDimensionNumbers((1,), (), ()), (3,)),
    "scalar-once": ((), np.zeros(0), GatherDimensionNumbers((), (), ()), ()),
    "scalar": ((), np.zeros((2, 0)), GatherDimensionNumbers((), (), ()), ()),
}
# Some boxes stick out, on both sides.
OUTSIDE = {
    "rows": ((4, 3), [[-1], [2], [4], [100]], ROWS, (1, 3)),
    "points": ((4, 3), [[-1, 0], [2, 3], [2, 4]], POINTS, (1, 1)),
    "windows": ((6,), [[-2], [2], [4]], GatherDimensionNumbers((1,), (), (0,)), (3,)),
    "along": ((3, 5), [[[0], [5]], [[-1], [1]], [[2], [0]]], ALONG, (1, 1)),
    "whole": ((2, 3), [[0], [1]], GatherDimensionNumbers((1, 2), (), (0,)), (2, 3)),
}

CASES = [
    *(case(*plan, label=name, dtypes=FLOATS) for name, plan in PLANS.items()),
    *(case(*plan, mode=CLIP, label=f"clip-{name}") for name, plan in OUTSIDE.items()),
    *(case(*plan, mode=FILL, fill_value=0, label=f"zero-{name}") for name, plan in OUTSIDE.items()),
    case(*PLANS["rows"], mode=CLIP, dtypes=ALL, label="dtypes"),
    case(*PLANS["points"], index_dtype="uint8", label="uint8-indices"),
    case(*PLANS["rows"], index_dtype="int64", label="int64-indices"),
    case((4, 3), [[0], [2], [3]], ROWS, (1, 3), unique=True, label="unique"),
    case(*OUTSIDE["rows"], mode=FILL, dtypes=ALL, differentiable=False, label="default-fill"),
    case(*OUTSIDE["points"], mode=FILL, fill_value=7, label="fill"),
]

"""Functions of shapes and axes, of joining and splitting."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.differential.cases.elementwise import functions, one
from tests.differential.checks import Call, Fixed, Function
from tests.differential.strategies import ALL, HALVES, INEXACT, REALS, Draw


def two_or_more(d: Draw) -> Call:
    return Call(d.array(d.shape((2, 3))))


def one_or_more(d: Draw) -> Call:
    return Call(d.array(d.shape((1, 3))))


def several(d: Draw) -> Call:
    return Call(*[d.array(d.shape()) for _ in range(d.integer(1, 3))])


def broadcasting(d: Draw) -> Call:
    return Call(*[d.array(s) for s in d.shapes(3)])


def target_shape(d: Draw) -> Call:
    full = d.shape()
    kept = full[d.integer(0, len(full)) :]
    return Call(d.array(tuple([n if d.flag() else 1 for n in kept])), full)


def new_axes(d: Draw) -> Call:
    shape = d.shape()
    if d.flag():
        return Call(d.array(shape), d.axis(len(shape) + 1))
    rank = len(shape) + 2
    return Call(d.array(shape), d.permutation(rank)[:2])


def flipped(d: Draw) -> Call:
    shape = d.shape()
    return Call(d.array(shape), d.axes(len(shape)))


def moved(d: Draw) -> Call:
    shape = d.shape((1, 3))
    rank = len(shape)
    if d.flag():
        return Call(d.array(shape), d.axis(rank), d.axis(rank))
    return Call(d.array(shape), d.permutation(rank), d.permutation(rank))


def swapped(d: Draw) -> Call:
    shape = d.shape((1, 3))
    return Call(d.array(shape), d.axis(len(shape)), d.axis(len(shape)))


def rolled_back(d: Draw) -> Call:
    shape = d.shape((1, 3))
    rank = len(shape)
    return Call(d.array(shape), d.axis(rank), d.integer(-rank, rank))


def permuted(d: Draw) -> Call:
    shape = d.shape()
    return Call(d.array(shape), None if d.flag() else d.permutation(len(shape)))


def flattened(d: Draw) -> Call:
    return Call(d.array(d.shape()), order=d.one_of("C", "F"))


def reshaped(d: Draw) -> Call:
    shape = d.shape()
    size = int(np.prod(shape))
    options: list[Any] = [(size,), size, (-1,), (1, size), (size, 1, 1)]
    if size:
        options += [(-1, shape[-1] if shape else 1)]
    if not d.valid:
        options += [(size + 1,), (-1, -1)]
    return Call(d.array(shape), d.one_of(*options), order=d.one_of("C", "F"))


def turned(d: Draw) -> Call:
    shape = d.shape((2, 3))
    first, second = d.permutation(len(shape))[:2]
    return Call(d.array(shape), d.integer(-1, 5), (first, second))


def rolled(d: Draw) -> Call:
    shape = d.shape()
    rank = len(shape)
    kind = d.one_of("flat", "one", "several") if rank else "flat"
    if kind == "flat":
        return Call(d.array(shape), d.integer(-7, 7))
    if kind == "one":
        return Call(d.array(shape), d.integer(-7, 7), d.axis(rank))
    axes = d.permutation(rank)
    return Call(d.array(shape), tuple([d.integer(-7, 7) for _ in axes]), axes)


def tiled(d: Draw) -> Call:
    reps = d.integer(0, 3) if d.flag() else d.shape((1, 3), (0, 2))
    return Call(d.array(d.shape()), reps)


def repeated(d: Draw) -> Call:
    shape = d.shape()
    x = d.array(shape)
    axis = d.axis_or_none(len(shape))
    valid = shape and axis is not None and -len(shape) <= axis < len(shape)
    size = shape[axis] if valid else x.size
    if d.flag():
        return Call(x, d.integer(0, 3), axis)
    return Call(x, Fixed(np.array([d.integer(0, 3) for _ in range(size)], int)), axis)


def resized(d: Draw) -> Call:
    return Call(d.array(d.shape((0, 3), (1, 3))), d.shape((1, 3)))


def squeezed(d: Draw) -> Call:
    shape = tuple([1 if d.flag() else n for n in d.shape()])
    ones = [i for i, n in enumerate(shape) if n == 1]
    options: list[Any] = [None, *ones, tuple(ones)]
    if shape and not d.valid:
        options += [d.axis(len(shape))]  # perhaps not of size 1
    return Call(d.array(shape), d.one_of(*options))


def diagonals(d: Draw) -> Call:
    shape = d.shape((2, 3))
    first, second = d.permutation(len(shape))[:2]
    return Call(d.array(shape), d.integer(-3, 3), first, second)


def diagonal_of(d: Draw) -> Call:
    return Call(d.array(d.shape((1, 2))), d.integer(-2, 2))


def flat_diagonal(d: Draw) -> Call:
    return Call(d.array(d.shape((0, 2), (1, 2))), d.integer(-2, 2))


def triangles(d: Draw) -> Call:
    return Call(d.array(d.shape((2, 3))), d.integer(-3, 3))


def cast(d: Draw) -> Call:
    x = d.array(d.shape())
    return Call(x, str(d.dtype([k for k in INEXACT if np.can_cast(x.dtype, k)])))


def astype(x: Any, dtype: Any) -> Any:
    return x.astype(dtype)


# Joining and splitting


def same_but_one(d: Draw) -> tuple[list[Any], int]:
    """Arrays of one shape but for an axis, and that axis."""
    shape = list(d.shape((1, 3)))
    axis = d.integer(0, len(shape) - 1)
    arrays = []
    for _ in range(d.integer(1, 3)):
        shape[axis] = d.integer(0 if not d.smooth else 1, 3)
        arrays.append(d.array(tuple(shape)))
    return arrays, axis - len(shape) * d.flag()


def joined(d: Draw) -> Call:
    arrays, axis = same_but_one(d)
    if not d.valid and d.integer(0, 9) == 9:
        arrays[0] = arrays[0][None]  # another rank
    return Call(arrays, axis=axis)


def joined_flat_too(d: Draw) -> Call:
    if d.flag():
        return joined(d)
    return Call([d.array(d.shape()) for _ in range(d.integer(1, 3))], axis=None)


def stacked(d: Draw) -> Call:
    shape = d.shape()
    arrays = [d.array(shape) for _ in range(d.integer(1, 3))]
    return Call(arrays, d.axis(len(shape) + 1))


def alike(d: Draw) -> Call:
    shape = d.shape()
    return Call([d.array(shape) for _ in range(d.integer(1, 3))])


def columns(d: Draw) -> Call:
    rows = d.one_of(1, 2, 3)
    arrays = [d.array((rows,) if d.flag() else (rows, 2)) for _ in range(d.integer(1, 3))]
    return Call(arrays)


def appended(d: Draw) -> Call:
    if d.flag():
        return Call(d.array(d.shape()), d.array(d.shape()))
    arrays, axis = same_but_one(d)
    return Call(arrays[0], arrays[-1], axis)


def sections(d: Draw) -> Any:
    if d.flag():
        return d.integer(1, 3)  # may not divide
    return [d.integer(-4, 4) for _ in range(d.integer(0, 3))]


def parted(d: Draw) -> Call:
    shape = d.shape((1, 3))
    axis = d.axis(len(shape))
    if d.valid:
        return Call(d.array(shape), [1], axis)
    return Call(d.array(shape), sections(d), axis)


def parted_unevenly(d: Draw) -> Call:
    shape = d.shape((1, 3))
    return Call(d.array(shape), [1] if d.smooth else sections(d), d.axis(len(shape)))


def parted_at(rank: int) -> Any:
    def draw(d: Draw) -> Call:
        shape = d.shape((rank if d.valid else 0, 3))
        return Call(d.array(shape), [1] if d.valid else sections(d))

    return draw


def unstacked(d: Draw) -> Call:
    shape = d.shape((1, 3))
    return Call(d.array(shape), axis=d.axis(len(shape)))


def blocks(d: Draw) -> Call:
    m, n, k = (d.one_of(1, 2) for _ in range(3))
    return Call([[d.array((m, n)), d.array((m, k))], [d.array((2, n + k))]])


def places(d: Draw, n: int, ends: int = 0) -> Any:
    """An index, a list of them, or a slice, within an axis of n elements."""
    kind = d.one_of("one", "list", "slice")
    if kind == "slice":
        return slice(d.one_of(None, 0, 1), d.one_of(None, 2), d.one_of(None, 2))
    beyond = 0 if d.valid else int(d.integer(0, 9) == 9)
    low, high = -n - beyond, n - 1 + ends + beyond
    if kind == "one" or high < low:
        return d.integer(low, max(high, low))
    return Fixed(np.array([d.integer(low, high) for _ in range(d.integer(1, 3))]))


def deleted(d: Draw) -> Call:
    shape = d.shape((1, 3), (1, 3))
    if d.flag():
        return Call(d.array(shape), places(d, int(np.prod(shape))))
    axis = d.integer(-len(shape), len(shape) - 1)
    return Call(d.array(shape), places(d, shape[axis]), axis)


def inserted(d: Draw) -> Call:
    shape = d.shape((1, 3), (1, 3))
    x = d.array(shape)
    # Of the same dtype, for NumPy casts values to that of the array.
    value = d.array((), x.dtype)
    if d.flag():
        return Call(x, places(d, x.size, 1), value)
    axis = d.integer(-len(shape), len(shape) - 1)
    return Call(x, places(d, shape[axis], 1), value, axis)


MODES = ("constant", "edge", "reflect", "symmetric", "wrap", "maximum", "minimum", "mean", "median")


def padded(d: Draw) -> Call:
    shape = d.shape((1, 2), (1, 3))
    mode = d.one_of(*MODES, "linear_ramp")
    wide = d.one_of(1, (0, 2), tuple([(d.integer(0, 3), d.integer(0, 3)) for _ in shape]))
    return Call(d.array(shape), wide, mode=mode)


def shapes_only(d: Draw) -> Call:
    found = d.shapes(3)
    if not d.valid and d.integer(0, 9) > 6:
        found.append((5,))
    return Call(*found)


def sized(d: Draw) -> Call:
    shape = d.shape()
    return Call(d.array(shape), d.axis_or_none(len(shape)))


def first(x: Any, *_: Any) -> Any:
    return x


CUTS = "JAX refuses cuts that are negative or out of order"

FUNCTIONS = [
    *functions("copy", one),
    *functions("matrix_transpose", two_or_more),
    *functions("fliplr", two_or_more),
    *functions("flipud", one_or_more),
    *functions("atleast_1d atleast_2d atleast_3d", several),
    *functions("broadcast_arrays", broadcasting),
    *functions("broadcast_to", target_shape),
    *functions("expand_dims", new_axes),
    *functions("flip", flipped, kinds=ALL + HALVES),
    *functions("moveaxis", moved),
    *functions("swapaxes", swapped),
    *functions("rollaxis", rolled_back),
    *functions("transpose", permuted),
    *functions("ravel", flattened),
    *functions("reshape", reshaped),
    *functions("rot90", turned),
    *functions("roll", rolled),
    *functions("tile", tiled),
    *functions("repeat", repeated, dtype_like=first),
    *functions("resize", resized),
    *functions("squeeze", squeezed),
    *functions("diagonal", diagonals),
    *functions("trace", diagonals),
    *functions("diag", diagonal_of),
    *functions("diagflat", flat_diagonal),
    *functions("tril triu", triangles),
    Function(
        "astype",
        cast,
        INEXACT,
        reference=astype,
        edgy=False,
        dtype_like="numpy",
        why="see tests/ops/cases/convert.py",
    ),
    *functions(
        "broadcast_shapes",
        shapes_only,
        differentiable=False,
        traceable=False,
        jax=None,
        why="of shapes, not of arrays",
    ),
    *functions(
        "size", sized, differentiable=False, traceable=False, jax=None, why="the result is an int"
    ),
    *functions("concatenate", joined_flat_too),
    *functions("concat", joined_flat_too),
    *functions("stack", stacked),
    *functions("hstack vstack dstack", alike),
    *functions("column_stack", columns),
    *functions("append", appended),
    *functions("split", parted, dtype_like=first, why=CUTS),
    *functions("array_split", parted_unevenly, dtype_like=first, why=CUTS),
    *functions("hsplit", parted_at(1), dtype_like=first, why=CUTS),
    *functions("vsplit", parted_at(2), dtype_like=first, why=CUTS),
    *functions("dsplit", parted_at(3), dtype_like=first, why=CUTS),
    *functions("unstack", unstacked),
    *functions("block", blocks),
    *functions("delete", deleted),
    *functions("insert", inserted),
    *functions("pad", padded, kinds=REALS, low=-9, high=9),
]

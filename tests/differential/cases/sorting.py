"""Sorting, searching, sets, and indexing by functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.differential.cases.elementwise import functions, one
from tests.differential.checks import Call, Fixed, Function
from tests.differential.strategies import ALL, HALVES, INTS, REALS, Draw

VALUES = "the size of the result depends on values; with `size` they are tested in tests/numpy"


def along(d: Draw) -> Call:
    shape = d.shape((1, 3))
    return Call(d.array(shape), axis=d.axis_or_none(len(shape)))


def ordered(d: Draw) -> Call:
    call = along(d)
    return Call(*call.args, **call.kwargs, descending=d.flag())


def sort(a: Any, axis: Any, descending: bool = False) -> Any:
    ascending = np.sort(a, axis)
    return np.flip(ascending, -1 if axis is None else axis) if descending else ascending


def argsort(a: Any, axis: Any, descending: bool = False) -> Any:
    if not descending:
        return np.argsort(a, axis, kind="stable")
    if axis is None:
        a, axis = a.ravel(), 0
    # Reversed before and after, equal elements keep their order.
    n = a.shape[axis]
    return np.flip(n - 1 - np.argsort(np.flip(a, axis), axis, kind="stable"), axis)


def keys(d: Draw) -> Call:
    shape = d.shape((1, 2))
    return Call([d.array(shape) for _ in range(d.integer(1, 3))], d.axis(len(shape)))


def partitioned(d: Draw) -> Call:
    shape = d.shape((1, 3), (1, 3))
    axis = d.integer(-len(shape), len(shape) - 1)
    n = shape[axis]
    beyond = 0 if d.valid else int(d.integer(0, 9) == 9)
    return Call(d.array(shape), d.integer(-n - beyond, n - 1 + beyond), axis)


def partition(a: Any, kth: int, axis: int) -> Any:
    np.partition(a, kth, axis)  # raises where it must
    # Both sides are free to have any order; ours have the sorted one.
    return np.sort(a, axis)


def argpartition(a: Any, kth: int, axis: int) -> Any:
    np.argpartition(a, kth, axis)
    return np.argsort(a, axis, kind="stable")


def searched(d: Draw) -> Call:
    x = d.array((d.integer(0, 5),))
    # NaN sorts behind all numbers, and -0.0 is 0.0.
    return Call(np.sort(x), d.array(d.shape(), x.dtype), side=d.one_of("left", "right"))


def binned(d: Draw) -> Call:
    edges = np.sort(d.array((d.integer(1, 4),), None, -3, 3))
    edges = edges[::-1] if d.flag() else edges
    return Call(d.array(d.shape(), edges.dtype), edges, right=d.flag())


def digitize(x: Any, bins: Any, right: bool) -> Any:
    if bins[0] == bins[-1]:
        # NumPy takes equal edges for increasing ones, and so do we.
        return np.searchsorted(bins, x, "left" if right else "right")
    return np.digitize(x, bins, right)


def membership(d: Draw) -> Call:
    x = d.array(d.shape())
    return Call(x, d.array(d.shape(), x.dtype), invert=d.flag())


def isin(element: Any, test_elements: Any, invert: bool) -> Any:
    # By comparing all pairs, so that NaN is in nothing.
    found = (np.asarray(element)[..., None] == np.ravel(test_elements)).any(-1)
    return ~found if invert else found


def two_sets(d: Draw) -> Call:
    kind = d.dtype()
    return Call(d.array(d.shape(), kind), d.array(d.shape(), kind))


def masked(d: Draw) -> Call:
    shape = d.shape()
    return Call(Fixed(d.array(shape, "bool")), d.array(shape))


def compressed(d: Draw) -> Call:
    shape = d.shape((1, 3))
    axis = d.axis_or_none(len(shape))
    n = shape[axis] if axis is not None and -len(shape) <= axis < len(shape) else 3
    size = min(n, int(np.prod(shape)))
    return Call(Fixed(d.array((size,), "bool")), d.array(shape), axis)


def distinct(d: Draw) -> Call:
    options = {k: True for k in ("return_index", "return_inverse", "return_counts") if d.flag()}
    return Call(d.array(d.shape()), **options)


def rows(d: Draw) -> Call:
    shape = d.shape((2, 2), (1, 3))
    return Call(d.array(shape), axis=d.one_of(0, 1, -1))


def taken(d: Draw) -> Call:
    shape = d.shape((1, 3), (1, 3))
    axis = d.axis_or_none(len(shape)) if d.valid else None
    n = int(np.prod(shape)) if axis is None else shape[axis]
    # As in JAX an index behind the end gives NaN or the largest integer, where NumPy raises.
    return Call(d.array(shape), d.array(d.shape((0, 2)), "int32", -n, n - 1), axis)


def within(x: np.ndarray, n: int) -> np.ndarray:
    """Indices, edges among them, brought into the range of n elements."""
    return (np.abs(x.astype(np.int64)) % (2 * n) - n).astype(x.dtype)


def taken_along(d: Draw) -> Call:
    shape = d.shape((1, 3), (1, 3))
    axis = d.integer(-len(shape), len(shape) - 1)
    n = shape[axis]
    places = list(shape)
    places[axis] = d.integer(1, 3)
    return Call(d.array(shape), within(d.array(tuple(places), "int32", -n, n - 1), n), axis)


def put_along(d: Draw) -> Call:
    shape = d.shape((1, 2), (1, 3))
    axis = d.integer(-len(shape), len(shape) - 1)
    places = list(shape)
    places[axis] = 1
    x = d.array(shape)
    index = within(d.array(tuple(places), "int32", 0, shape[axis] - 1), shape[axis])
    return Call(x, index, d.array(tuple(places), x.dtype), axis, inplace=False)


def put_along_axis(x: Any, index: Any, values: Any, axis: Any, inplace: bool) -> Any:
    changed = x.copy()
    np.put_along_axis(changed, index, values, axis)
    return changed


def flat_places(d: Draw) -> Call:
    dims = d.shape((1, 3), (1, 3))
    n = int(np.prod(dims))
    return Call(d.array(d.shape((0, 2)), "int32", 0, n - 1) % n, dims)


def many_places(d: Draw) -> Call:
    dims = d.shape((1, 3), (1, 3))
    shape = d.shape((0, 2))
    found = [d.array(shape, "int32", -4, 4) for _ in dims]
    return Call(tuple(found), dims, mode=d.one_of("wrap", "clip"), order=d.one_of("C", "F"))


def several_vectors(d: Draw) -> Call:
    return Call(*[d.array((d.integer(1, 3),), "int32") for _ in range(d.integer(1, 3))])


def choices(d: Draw) -> Call:
    a, x, y = d.shapes(3)
    kind = d.dtype()
    return Call(
        d.array(a, "int32", -3, 3),
        [d.array(x, kind), d.array(y, kind)],
        mode=d.one_of("wrap", "clip"),
    )


FUNCTIONS = [
    *functions("sort", ordered, kinds=ALL + HALVES, reference=sort),
    *functions("argsort", ordered, reference=argsort, differentiable=False),
    *functions("lexsort", keys, kinds=REALS, differentiable=False),
    *functions("partition", partitioned, kinds=REALS, reference=partition),
    *functions(
        "argpartition",
        partitioned,
        kinds=REALS,
        reference=argpartition,
        differentiable=False,
        dtype_like="index",
    ),
    *functions("searchsorted", searched, kinds=REALS, differentiable=False, dtype_like="index"),
    *functions(
        "digitize",
        binned,
        kinds=REALS,
        reference=digitize,
        edgy=False,
        differentiable=False,
        dtype_like="index",
    ),
    *functions("isin", membership, reference=isin, differentiable=False),
    *functions("nonzero", one, traceable=False, differentiable=False, jax=None, why=VALUES),
    *functions(
        "argwhere flatnonzero", one, traceable=False, differentiable=False, jax=None, why=VALUES
    ),
    *functions("extract", masked, jax=None, traceable=False, why=VALUES),
    *functions("compress", compressed, jax=None),
    *functions("unique", distinct, traceable=False, differentiable=False, jax=None, why=VALUES),
    Function(
        "unique_values",
        one,
        REALS,
        reference=np.unique,
        traceable=False,
        differentiable=False,
        jax=None,
        why="NumPy's are in no order; " + VALUES,
    ),
    Function(
        "unique",
        rows,
        INTS,
        traceable=False,
        differentiable=False,
        jax=None,
        why=VALUES,
        label="rows",
    ),
    *functions(
        "unique_counts unique_inverse unique_all",
        one,
        kinds=REALS,
        traceable=False,
        differentiable=False,
        jax=None,
        why=VALUES,
    ),
    *functions(
        "intersect1d setdiff1d setxor1d union1d",
        two_sets,
        traceable=False,
        differentiable=False,
        jax=None,
        why=VALUES,
    ),
    *functions("take", taken),
    *functions("take_along_axis", taken_along),
    *functions("put_along_axis", put_along, reference=put_along_axis),
    *functions("unravel_index", flat_places, differentiable=False, jax=None),
    *functions("ravel_multi_index", many_places, differentiable=False, jax=None),
    *functions("ix_", several_vectors, differentiable=False, dtype_like="numpy"),
    *functions("choose", choices),
]

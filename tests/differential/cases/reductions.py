"""Reductions over axes, and running ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from fstensor import dtypes
from tests.differential.cases.elementwise import functions
from tests.differential.checks import Call, Function
from tests.differential.strategies import (
    ALL,
    BOOL,
    HALVES,
    INEXACT,
    INTS,
    NUMBERS,
    REALS,
    Draw,
)


def axes(d: Draw, rank: int) -> dict[str, Any]:
    return {"axis": d.axes(rank), "keepdims": d.flag()}


def mask(d: Draw, shape: tuple[int, ...]) -> Any:
    """A mask that broadcasts to `shape`."""
    kept = shape[d.integer(0, len(shape)) :]
    return d.array(tuple([n if d.flag() else 1 for n in kept]), "bool")


def over_axes(d: Draw) -> Call:
    shape = d.shape()
    return Call(d.array(shape), **axes(d, len(shape)))


def over_some(d: Draw) -> Call:
    """With or without `where`."""
    shape = d.shape()
    options = axes(d, len(shape))
    return Call(d.array(shape), **options, **({"where": mask(d, shape)} if d.flag() else {}))


def from_initial(d: Draw) -> Call:
    """With or without `initial`, and `where` only with it."""
    shape = d.shape()
    options = axes(d, len(shape))
    if d.flag():
        options["initial"] = d.one_of(0, 1, 2)
        if d.flag():
            options["where"] = mask(d, shape)
    return Call(d.array(shape), **options)


def in_dtype(d: Draw) -> Call:
    call = from_initial(d)
    if d.smooth or d.flag():
        return call
    held = call.arrays[0].dtype
    wider = ("int64", "float32", "float64", "complex128")
    kept = [k for k in wider if dtypes.can_cast(held, k)]
    return Call(*call.args, **call.kwargs, dtype=d.one_of(*kept)) if kept else call


def over_axis(d: Draw) -> Call:
    shape = d.shape()
    return Call(d.array(shape), axis=d.axis_or_none(len(shape)), keepdims=d.flag())


def spread(d: Draw) -> Call:
    if d.smooth:  # the variance of one element has no square root to differentiate
        shape = d.shape((1, 2), (2, 3))
        return Call(d.array(shape), axis=d.axis_or_none(len(shape)), ddof=d.integer(0, 1))
    call = over_some(d)
    return Call(*call.args, **call.kwargs, ddof=d.integer(0, 2))


def along(d: Draw) -> Call:
    shape = d.shape()
    axis = d.axis_or_none(len(shape))
    return Call(d.array(shape), axis=axis)


def with_initial(d: Draw) -> Call:
    shape = d.shape((1, 3))
    axis = None if len(shape) == 1 and d.flag() else d.axis(len(shape))
    return Call(d.array(shape), axis=axis, include_initial=d.flag())


def weighted(d: Draw) -> Call:
    shape = d.shape((1, 3), (1, 3))
    kind = d.one_of("none", "vector", "full")
    options: dict[str, Any] = axes(d, len(shape))
    if kind == "vector":
        axis = d.integer(0, len(shape) - 1)
        options |= {"axis": axis, "weights": d.array((shape[axis],), None, 0.5, 3)}
    elif kind == "full":
        options["weights"] = d.array(shape, None, 0.5, 3)
    return Call(d.array(shape), **options, returned=d.flag())


def place(find: Callable[..., Any]) -> Callable[..., Any]:
    """The index of an extremum besides NaN; -1 when there is nothing else, where NumPy raises."""

    def reference(x: Any, axis: Any, keepdims: bool) -> Any:
        if x.dtype.kind in "iu":
            return find(x, axis, keepdims=keepdims)
        # Ranks among what is no NaN stand for the values, so that infinities count.
        missing, worst = np.isnan(x), -1 if find is np.argmax else x.size
        ranks = np.unique(x, return_inverse=True)[1].reshape(x.shape)
        found = find(np.where(missing, worst, ranks), axis, keepdims=keepdims)
        return np.where(missing.all(axis, keepdims=keepdims), -1, found)

    return reference


FUNCTIONS = [
    *functions("sum prod", in_dtype, kinds=ALL + HALVES, factor=8),
    *functions("max min", from_initial, kinds=BOOL + REALS + HALVES),
    *functions("ptp", over_axes, kinds=REALS),
    *functions("all any", over_some, differentiable=False),
    *functions("count_nonzero", over_axes, differentiable=False),
    *functions("mean", over_some, kinds=ALL + HALVES, factor=8),
    *functions("var std", spread, kinds=ALL, factor=8),
    *functions("average", weighted, kinds=INTS + INEXACT, factor=8),
    *functions("argmax argmin", over_axis, kinds=BOOL + REALS, differentiable=False),
    *functions(
        "cumsum cumprod nancumsum nancumprod",
        along,
        kinds=ALL + HALVES,
        factor=8,
        dtype_like=lambda x, axis: jnp.sum(x),
        why="JAX widens narrow integers in sum and cumulative_sum, but not in these; NumPy does",
    ),
    *functions("cumulative_sum", with_initial, kinds=ALL, factor=8),
    *functions(
        "cumulative_prod",
        with_initial,
        kinds=ALL,
        factor=8,
        dtype_like=jnp.cumulative_sum,
        why="as of cumprod",
    ),
    *functions("nansum nanprod", from_initial, kinds=ALL, factor=8),
    *functions("nanmax nanmin", from_initial, kinds=REALS),
    *functions("nanmean", over_some, kinds=NUMBERS, factor=8),
    *functions("nanvar nanstd", spread, kinds=NUMBERS, factor=8),
    Function("nanargmax", over_axis, REALS, reference=place(np.argmax), differentiable=False),
    Function("nanargmin", over_axis, REALS, reference=place(np.argmin), differentiable=False),
]

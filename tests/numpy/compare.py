"""Comparing functions of fstensor.numpy with NumPy's."""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np

import fstensor as fst
from fstensor import dtypes
from tests.tolerances import assert_close

FLOATS = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
INTS = ("int8", "uint8", "int32", "int64", "uint32")
REALS = (*INTS, *FLOATS)
NUMBERS = (*REALS, *COMPLEX)
ALL = ("bool", *NUMBERS)

# Examples are few, since each is cheap to get wrong in a way that any example shows.
few = hypothesis.settings(max_examples=25, deadline=None)


def values(shape: tuple[int, ...], dtype: Any, low: float = -3, high: float = 3, seed: int = 0):
    """Random values: integers within [low, high], bools, floats or complex."""
    rng = np.random.default_rng(seed + sum(n * 7**i for i, n in enumerate(shape)))
    kind = dtypes.canonical(dtype)
    if dtypes.is_bool(kind):
        return rng.integers(0, 2, shape).astype(bool)
    if dtypes.is_integer(kind):
        start = max(low, 0) if dtypes.is_unsigned(kind) else low
        return rng.integers(int(start), int(high) + 1, shape).astype(kind)
    x = rng.uniform(low, high, shape)
    if dtypes.is_complex(kind):
        x = x + 1j * rng.uniform(low, high, shape)
    return np.asarray(x).astype(kind)


def check(got: Any, expected: Any, dtype: Any = None, factor: float = 4.0) -> None:
    """Arrays, or trees of them, are close. `dtype` is what the results must have.

    A function of several operations may be off by a few roundings, hence the factor.
    """
    got_leaves, expected_leaves = fst.tree.leaves(got), fst.tree.leaves(_as_tree(expected))
    assert len(got_leaves) == len(expected_leaves)
    for g, e in zip(got_leaves, expected_leaves, strict=True):
        assert isinstance(g, fst.Array), type(g)
        e = np.asarray(e)
        if dtype is not None:
            assert g.dtype == dtypes.canonical(dtype), (g.dtype, dtype)
        assert g.shape == e.shape, (g.shape, e.shape)
        with np.errstate(all="ignore"):
            assert_close(g, e.astype(g.dtype), factor=factor)


def _as_tree(x: Any) -> Any:
    """NumPy's named tuples and lists as plain ones."""
    return [_as_tree(y) for y in x] if isinstance(x, (list, tuple)) else x


def quietly(function, *args, **kwargs):
    """NumPy's result, without its warnings about floating point."""
    with np.errstate(all="ignore"):
        return function(*args, **kwargs)


@st.composite
def broadcastable(draw, count: int = 2, max_dims: int = 3):
    """Shapes that broadcast with each other, scalars and empty ones among them."""
    found = draw(
        hnp.mutually_broadcastable_shapes(
            num_shapes=count, min_dims=0, max_dims=max_dims, min_side=0, max_side=3
        )
    )
    return found.input_shapes


shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
filled_shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)


@st.composite
def shape_and_axes(draw, min_side: int = 0):
    """A shape, and axes to reduce over: None, one, or several, some of them negative."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=min_side, max_side=4))
    if not shape:
        return shape, draw(st.sampled_from([None, ()]))
    kind = draw(st.sampled_from(["none", "one", "several"]))
    if kind == "none":
        return shape, None
    if kind == "one":
        return shape, draw(st.integers(-len(shape), len(shape) - 1))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True))
    return shape, tuple(a - len(shape) * draw(st.booleans()) for a in axes)

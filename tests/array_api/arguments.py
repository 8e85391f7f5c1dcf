"""Strategies for the arguments of the standard's functions."""

from __future__ import annotations

from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from tests.array_api.standard import (
    BOOL,
    DTYPES,
    FLOATING,
    INTEGER,
    NUMERIC,
    SIGNED,
    UNSIGNED,
)


class Call(NamedTuple):
    """Arguments of a call; ndarrays among them stand for arrays, Dtypes for dtypes."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Dtype(str):
    """The name of a dtype, to be read in a namespace."""

    __slots__ = ()


def call(*args: Any, **kwargs: Any) -> st.SearchStrategy[Call]:
    """Calls with arguments drawn from strategies; a keyword may be left out by drawing LEFT_OUT."""
    return st.builds(
        lambda a, k: Call(tuple(a), {n: v for n, v in k.items() if v is not LEFT_OUT}),
        st.tuples(*args),
        st.fixed_dictionaries(kwargs),
    )


LEFT_OUT = object()


def maybe(strategy: Any) -> Any:
    """A keyword argument, or none."""
    return st.just(LEFT_OUT) | strategy


def elements(dtype: str, low: float = -9, high: float = 9, special: bool = False) -> Any:
    """Values small enough that no operation overflows, so that all results are defined."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return st.booleans()
    if kind in "iu":
        return st.integers(max(int(low), 0) if kind == "u" else int(low), int(high))
    width = 32  # every value exists in both widths
    if kind == "f":
        values = st.floats(low, high, width=width, allow_subnormal=False)
        rare = [np.nan, np.inf, -np.inf, -0.0]
        return values | st.sampled_from(rare) if special else values
    part = st.floats(low, high, width=width, allow_subnormal=False)
    return st.builds(complex, part, part)


SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
FILLED = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)


@st.composite
def arrays(draw, dtypes=NUMERIC, shape=SHAPES, low=-9, high=9, special=False, unique=False):
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    return draw(hnp.arrays(dtype, shape, elements=elements(dtype, low, high, special), fill=None
                           if not unique else st.nothing(), unique=unique))  # fmt: skip


def promotable(dtypes: tuple[str, ...]) -> list[tuple[str, str]]:
    """The pairs of dtypes that the standard lets meet."""
    families = (BOOL, SIGNED, UNSIGNED, FLOATING)
    same = [(x, y) for f in families for x in f for y in f]
    mixed = [(x, y) for x in SIGNED for y in UNSIGNED if y != "uint64"]
    found = same + mixed + [(y, x) for x, y in mixed]
    return [(x, y) for x, y in found if x in dtypes and y in dtypes]


def python_scalars(dtype: str, low: float, high: float) -> Any:
    """Python scalars that may meet an array of a dtype."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return st.booleans()
    number = st.integers(max(int(low), 0) if kind == "u" else int(low), int(high))
    if kind in "fc":
        number |= st.floats(low, high, width=32, allow_subnormal=False)
    if kind == "c":
        number |= elements("complex64", low, high)
    return number


@st.composite
def pairs(draw, dtypes=NUMERIC, low=-9, high=9, special=False, second=None, scalars=True):
    """Two operands that broadcast and promote; one of them may be a Python scalar."""
    x_dtype, y_dtype = draw(st.sampled_from(promotable(dtypes)))
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3,
                                                    min_side=0)).input_shapes  # fmt: skip
    y_low, y_high = second or (low, high)
    x = draw(hnp.arrays(x_dtype, shapes[0], elements=elements(x_dtype, low, high, special)))
    y = draw(hnp.arrays(y_dtype, shapes[1], elements=elements(y_dtype, y_low, y_high, special)))
    form = draw(st.sampled_from(["arrays", "arrays", "scalar", "reversed"])) if scalars else ""
    if form == "scalar":
        y = draw(python_scalars(x_dtype, y_low, y_high))
    elif form == "reversed":
        x = draw(python_scalars(y_dtype, low, high))
    return Call((x, y), {})


def unary(dtypes: tuple[str, ...], low: float = -9, high: float = 9, special: bool = True) -> Any:
    return call(arrays(dtypes, low=low, high=high, special=special))


@st.composite
def reductions(draw, dtypes=NUMERIC, shape=SHAPES, several=True, high=9, **kwargs):
    """A reduction over no axis, one, or several."""
    x = draw(arrays(dtypes, shape, high=high))
    axes = st.none()
    if x.ndim:
        one = st.integers(-x.ndim, x.ndim - 1)
        axes |= one
        if several:
            axes |= st.lists(st.integers(0, x.ndim - 1), unique=True, min_size=1).map(tuple)
    options = {"axis": axes, "keepdims": st.booleans(), **kwargs}
    return draw(call(st.just(x), **{k: maybe(v) for k, v in options.items()}))


@st.composite
def along_axis(draw, name, dtypes=NUMERIC, shape=FILLED, needed=False, unique=False, **kwargs):
    """A call on an array with one of its axes as the keyword `name`."""
    x = draw(arrays(dtypes, shape, unique=unique))
    axis = st.integers(-x.ndim, x.ndim - 1)
    options = {name: axis if needed else maybe(axis)}
    return draw(call(st.just(x), **options, **{k: maybe(v) for k, v in kwargs.items()}))


DTYPE = st.sampled_from(DTYPES).map(Dtype)
FLOAT_DTYPE = st.sampled_from(FLOATING).map(Dtype)
INT_OR_BOOL = BOOL + INTEGER
AXIS_LENGTHS = st.integers(0, 4)

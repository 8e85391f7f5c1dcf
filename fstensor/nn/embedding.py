"""Vectors for indices, and for positions in a sequence."""

from __future__ import annotations

import operator

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, DtypeLike
from fstensor.core.boundary import boundary
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.numpy.promote import inexact


@boundary
def embedding(
    x: ArrayLike,
    table: ArrayLike,
    *,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
) -> Array:
    """Rows of a table.

    x: indices, from 0, or from -1 backwards; those out of range are moved into it, as in indexing.
    padding_idx: the index of a row that gets no gradient.
    max_norm: longer rows are shortened to this norm, of the kind `norm_type`. As in PyTorch, the
        gradient is the one at the short row, as if that stood in the table.
    scale_grad_by_freq: divides the gradient of a row by how often its index is in x.
    Shapes: x (...), table (rows, features) -> (..., features).
    Raises: DtypeError for indices that are no integers, ShapeError for another table, OptionError
        for a padding_idx out of range.
    """
    x, table = fnp.asarray(x), inexact("embedding", table)
    if not dtypes.is_integer(x.dtype):
        raise DtypeError(f"embedding: indices must be integers, got {x.aval}")
    if table.ndim != 2:
        raise ShapeError(f"embedding: the table must have two axes, got {table.aval}")
    rows = table[x]
    if max_norm is not None:
        held = lax.stop_gradient(rows)
        norm = _norm(held, norm_type)
        # PyTorch's constant, for norms near 0.
        short = fnp.where(norm > max_norm, held * (max_norm / (norm + 1e-7)), held)
        rows = short + (rows - held)
    if padding_idx is not None:
        index = padding_index(table.shape[0], padding_idx)
        is_padding = fnp.expand_dims((x == index) | (x == index - table.shape[0]), -1)
        rows = fnp.where(is_padding, lax.stop_gradient(rows), rows)
    if scale_grad_by_freq:
        # No difference to the rows, but to what is derived.
        share = rows / fnp.expand_dims(_how_often(x, table.shape[0]), -1).astype(rows.dtype)
        rows = lax.stop_gradient(rows) + (share - lax.stop_gradient(share))
    return rows


def _how_often(x: Array, size: int) -> Array:
    """For each index, of those that are moved into a range, how often it is there."""
    places = fnp.clip(fnp.where(x < 0, x + size, x), 0, size - 1)
    return fnp.zeros(size, "int32").at[places].add(1)[places]


def padding_index(rows: int, padding_idx: int) -> int:
    """An index as it counts from the front. Raises: OptionError for one out of range."""
    if not -rows <= padding_idx < rows:
        raise OptionError(
            f"embedding: padding_idx must be within the {rows} rows of the table, got {padding_idx}"
        )
    return padding_idx % rows


def _norm(x: Array, p: float) -> Array:
    """The p-norms of the last axis, which stays."""
    norm: Array = fnp.linalg.norm(x, ord=p, axis=-1, keepdims=True)
    return norm


def _angles(positions: Array, features: int, base: float, dtype: DtypeLike) -> Array:
    """positions / base^(2 i / features), for i below half of the features, as a last axis."""
    steps = fnp.arange(0, features, 2, dtype=dtype) / features
    return fnp.expand_dims(positions.astype(dtype), -1) * base**-steps


@boundary
def sinusoidal_encoding(
    positions: int | ArrayLike, features: int, *, base: float = 10000.0, dtype: DtypeLike = None
) -> Array:
    """sin and cos of positions / base^(2 i / features), alternating (Vaswani et al., 2017, 3.5).

    positions: any numbers, or how many there are, from 0. dtype: the default float for None.
    Shapes: positions (...) -> (..., features). Raises: OptionError for odd features.
    """
    _check_even("sinusoidal_encoding", features)
    kind = dtypes.default_float() if dtype is None else dtypes.canonical(dtype)
    if isinstance(positions, int):
        positions = fnp.arange(operator.index(positions))
    angles = _angles(fnp.asarray(positions), features, base, kind)
    both = fnp.stack([fnp.sin(angles), fnp.cos(angles)], -1)
    return both.reshape(*angles.shape[:-1], features)


@boundary
def rotary_encoding(
    x: ArrayLike,
    positions: ArrayLike | None = None,
    *,
    base: float = 10000.0,
    interleaved: bool = True,
) -> Array:
    """Pairs of features turned by angles that grow with the position (Su et al., 2021, eq. 34).

    Products of queries and keys so turned depend on the distance of their positions alone.
    positions: 0, 1, ... for None. base: the angle of the pair i of d is position base^(-2 i / d).
    interleaved: pairs are features 2 i and 2 i + 1, as in the paper;
        otherwise feature i and the one half of the features further.
    Shapes: x (..., time, heads, features), positions broadcast to (..., time).
    Raises: ShapeError for fewer than three axes, OptionError for odd features.
    """
    x = inexact("rotary_encoding", x)
    if x.ndim < 3:
        raise ShapeError(f"rotary_encoding: must have three axes or more, got {x.aval}")
    *_, time, _, features = x.shape
    _check_even("rotary_encoding", features)
    given = fnp.arange(time) if positions is None else fnp.asarray(positions)
    angles = fnp.expand_dims(_angles(given, features, base, x.dtype), -2)
    cos, sin = fnp.cos(angles), fnp.sin(angles)
    if interleaved:
        pairs = x.reshape(*x.shape[:-1], features // 2, 2)
        a, b = pairs[..., 0], pairs[..., 1]
        turned = fnp.stack([a * cos - b * sin, a * sin + b * cos], -1)
        return turned.reshape(x.shape)
    a, b = x[..., : features // 2], x[..., features // 2 :]
    return fnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def _check_even(what: str, features: int) -> None:
    if features % 2 or features < 1:
        raise OptionError(f"{what}: features must be even and positive, got {features}")

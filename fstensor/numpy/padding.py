"""Padding, in all of NumPy's modes. Axes are padded one after the other, as NumPy does."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike
from fstensor.errors import ArgumentError, OptionError, ShapeError
from fstensor.numpy import reductions
from fstensor.numpy.arithmetic import rint
from fstensor.numpy.promote import cast, converted, owned, repeated
from fstensor.numpy.quantiles import median

PadWidth: TypeAlias = int | Sequence[Any] | Mapping[int, Any] | np.ndarray
Widths: TypeAlias = list[tuple[int, int]]

_OPTIONS: dict[str, dict[str, Any]] = {
    "constant": {"constant_values": 0},
    "edge": {},
    "empty": {},
    "linear_ramp": {"end_values": 0},
    "maximum": {"stat_length": None},
    "mean": {"stat_length": None},
    "median": {"stat_length": None},
    "minimum": {"stat_length": None},
    "reflect": {"reflect_type": "even"},
    "symmetric": {"reflect_type": "even"},
    "wrap": {},
}


def pad(array: ArrayLike, pad_width: PadWidth, mode: str = "constant", **kwargs: Any) -> Array:
    """`array` with more elements in front of and behind each axis.

    pad_width: one number; a pair (before, after); a pair for each axis; or a dict from axes to
        numbers or pairs.
    mode: "constant" (constant_values, 0), "edge", "linear_ramp" (end_values, 0), "maximum",
        "mean", "median" and "minimum" of the stat_length elements at that side (all), "reflect"
        and "symmetric" (reflect_type, "even" or "odd"), "wrap", "empty" (zeros). The options in
        brackets are keywords, with their defaults; values take the forms of pad_width.
    Raises: OptionError for an unknown mode or a width below 0, ArgumentError for an option of
    another mode, ShapeError when an empty axis cannot be padded that way.
    """
    x = owned(array, "pad")
    if mode not in _OPTIONS:
        raise OptionError(f"pad: mode must be one of {', '.join(_OPTIONS)}, got {mode!r}")
    unknown = kwargs.keys() - _OPTIONS[mode].keys()
    if unknown:
        raise ArgumentError(f"pad: mode {mode!r} does not take {', '.join(sorted(unknown))}")
    options = {**_OPTIONS[mode], **kwargs}
    widths = [
        (operator.index(before), operator.index(after))
        for before, after in _pairs("pad_width", pad_width, x.ndim)
    ]
    if any(n < 0 for pair in widths for n in pair):
        raise OptionError(f"pad: widths must not be negative, got {pad_width}")
    if mode in ("constant", "empty"):
        values = _pairs("constant_values", options.get("constant_values", 0), x.ndim)
        return _constant(x, widths, values)
    for axis, pair in enumerate(widths):
        if pair != (0, 0) and x.shape[axis] == 0:
            raise ShapeError(
                f"pad: an empty axis cannot be padded by mode {mode!r}, got axis {axis} of {x.aval}"
            )
    if mode == "linear_ramp":
        return _linear_ramp(x, widths, _pairs("end_values", options["end_values"], x.ndim))
    if "stat_length" in options:
        return _statistic(x, widths, mode, _pairs("stat_length", options["stat_length"], x.ndim))
    if options.get("reflect_type", "even") not in ("even", "odd"):
        raise OptionError(
            f"pad: reflect_type must be 'even' or 'odd', got {options['reflect_type']!r}"
        )
    if options.get("reflect_type") == "odd":
        return _odd(x, widths, mode)
    return _from_within(x, widths, mode)


def _pairs(what: str, value: Any, ndim: int) -> list[tuple[Any, Any]]:
    """A pair for each axis, from one value, a pair, a pair for each axis, or a dict of these."""
    if isinstance(value, Mapping):
        found: list[tuple[Any, Any]] = [(0, 0)] * ndim
        for axis, one in value.items():
            found[axis] = _pairs(what, one, 1)[0]
        return found
    if isinstance(value, (Array, np.ndarray)) and value.ndim:
        value = [value[i] for i in range(value.shape[0])]
    if not isinstance(value, (Sequence, np.ndarray)) or getattr(value, "ndim", 1) == 0:
        return [(value, value)] * ndim
    rows = [_row(v) for v in value]
    if all(len(r) == 1 for r in rows) and len(rows) in (1, 2):
        flat = [r[0] for r in rows]
        # (n,), or (before, after), or ((n,), (m,)) for two axes.
        nested = _is_sequence(value[0])
        if not nested:
            return [(flat[0], flat[-1])] * ndim
    if len(rows) == 1:
        rows = rows * ndim
    if len(rows) != ndim or any(len(r) not in (1, 2) for r in rows):
        raise ShapeError(f"pad: {what} must be a number, a pair, or a pair for each of {ndim} axes")
    return [(r[0], r[-1]) for r in rows]


def _row(value: Any) -> list[Any]:
    return [value[i] for i in range(len(value))] if _is_sequence(value) else [value]


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) or bool(getattr(value, "ndim", 0))


def _constant(x: Array, widths: Widths, values: list[tuple[Any, Any]]) -> Array:
    if all(value is values[0][0] for pair in values for value in pair):
        config = [(before, after, 0) for before, after in widths]
        is_larger = any(pair != (0, 0) for pair in widths)
        return lax.pad(x, cast("pad", values[0][0], x.dtype), config) if is_larger else x
    for axis, ((before, after), pair) in enumerate(zip(widths, values, strict=True)):
        for sides, value in (((before, 0), pair[0]), ((0, after), pair[1])):
            if sides != (0, 0):
                fill = cast("pad", value, x.dtype)
                config = [(*sides, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)]
                x = lax.pad(x, fill, config)
    return x


def _from_within(x: Array, widths: Widths, mode: str) -> Array:
    """Modes in which each new element is one of the old ones: the order of indices is static."""
    from fstensor.numpy.indexing import take

    for axis, (before, after) in enumerate(widths):
        if before or after:
            order = np.arange(x.shape[axis], dtype=np.int32)
            # NumPy's types want the modes as literals.
            places = np.pad(order, (before, after), mode)  # type: ignore[call-overload]
            x = take(x, places, axis=axis)
    return x


def _odd(x: Array, widths: Widths, mode: str) -> Array:
    """Reflection in the point at each edge: 2 edge - reflected, once for each turn.

    The place that a new element reflects moves in a straight line; each turn at an edge adds twice
    that edge. Both are found by reflecting, in NumPy, the coordinates of a one-hot basis.
    """
    for axis, (before, after) in enumerate(widths):
        if before or after:
            n = x.shape[axis]
            basis = np.eye(n, dtype=np.int32)
            widths = [(before, after), (0, 0)]
            # NumPy's types want the modes as literals.
            weights = np.pad(basis, widths, mode, reflect_type="odd")  # type: ignore[call-overload]
            matrix = cast("pad", weights, x.dtype)
            mixed = lax.dot_general(x, matrix, (([axis], [1]), ([], [])))
            order = [i for i in range(x.ndim) if i != axis]
            back = [*range(axis), x.ndim - 1, *range(axis, len(order))]
            x = lax.transpose(mixed, back)
    return x


def _linear_ramp(x: Array, widths: Widths, ends: list[tuple[Any, Any]]) -> Array:
    for axis, ((before, after), pair) in enumerate(zip(widths, ends, strict=True)):
        n = x.shape[axis]
        parts = [x]
        if before:
            edge = lax.slice_in_dim(x, 0, 1, axis=axis)
            parts.insert(0, _ramp(pair[0], edge, before, axis))
        if after:
            edge = lax.slice_in_dim(x, n - 1, n, axis=axis)
            parts.append(lax.rev(_ramp(pair[1], edge, after, axis), (axis,)))
        x = lax.concatenate(parts, axis) if len(parts) > 1 else x
    return x


def _ramp(end: ArrayLike, edge: Array, count: int, axis: int) -> Array:
    """`count` steps from `end` up to, but without, `edge`."""
    kind = _exact(edge.dtype)
    start, target = cast("pad", end, kind), converted(edge, kind)
    step = lax.div(lax.sub(target, start), float(count))
    shape = [count if i == axis else 1 for i in range(edge.ndim)]
    values = lax.add(start, lax.mul(lax.broadcasted_iota(kind, shape, axis), step))
    if not dtypes.is_inexact(edge.dtype):
        values = lax.floor(values)
    return converted(values, edge.dtype)


def _exact(dtype: dtypes.Dtype) -> dtypes.Dtype:
    """The dtype to compute in: float64 for integers, of which float32 could not hold many."""
    return dtype if dtypes.is_inexact(dtype) else np.dtype(np.float64)


_STATISTICS: dict[str, Callable[..., Array]] = {
    "maximum": reductions.max,
    "mean": reductions.mean,
    "median": median,
    "minimum": reductions.min,
}


def _statistic(x: Array, widths: Widths, mode: str, lengths: list[tuple[Any, Any]]) -> Array:
    for axis, ((before, after), (first, last)) in enumerate(zip(widths, lengths, strict=True)):
        n = x.shape[axis]
        parts = [x]
        if before:
            count = n if first is None else min(operator.index(first), n)
            chosen = lax.slice_in_dim(x, 0, count, axis=axis)
            parts.insert(0, _summary(chosen, mode, axis, before))
        if after:
            count = n if last is None else min(operator.index(last), n)
            chosen = lax.slice_in_dim(x, n - count, n, axis=axis)
            parts.append(_summary(chosen, mode, axis, after))
        x = lax.concatenate(parts, axis) if len(parts) > 1 else x
    return x


def _summary(x: Array, mode: str, axis: int, count: int) -> Array:
    if x.shape[axis] == 0:
        raise OptionError(f"pad: stat_length must be at least 1 for mode {mode!r}, got 0")
    averaged = mode in ("mean", "median")
    value = _STATISTICS[mode](converted(x, _exact(x.dtype)) if averaged else x, axis, keepdims=True)
    if averaged and not dtypes.is_inexact(x.dtype):
        value = rint(value)
    shape = tuple([count if i == axis else m for i, m in enumerate(x.shape)])
    return repeated(converted(value, x.dtype), shape)

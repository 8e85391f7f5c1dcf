"""Reading by NumPy's indexing: basic, advanced and mixed, static and traced.

What an index stands for is remembered for each type of array and key of the index, so that a
repeated index costs little more than its operations:

- slices, integers and new axes become slice, rev, squeeze and broadcast_in_dim;
- with traced scalars among them they become dynamic_slice, squeeze and broadcast_in_dim;
- arrays become one gather, after the slices beside them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike, ConcreteArray, lift, normalize_axis
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import Primitive
from fstensor.core.state import state
from fstensor.core.trace import EVAL
from fstensor.errors import (
    ArgumentError,
    DtypeError,
    OptionError,
    OutOfBoundsError,
    ShapeError,
)
from fstensor.numpy.index_key import (
    ALL,
    ArrayKey,
    FlagKey,
    Key,
    Layout,
    Operand,
    Operands,
    SliceKey,
    Span,
    layout_of,
    parse,
)
from fstensor.numpy.reach import beside, checked_promise, known_places, places_on_axis, reach_of
from fstensor.ops.arrange import Rev
from fstensor.ops.bounds import checked_index
from fstensor.ops.convert import convert_element_type
from fstensor.ops.elementwise import add, rem
from fstensor.ops.families import constant
from fstensor.ops.gather import (
    Gather,
    GatherDimensionNumbers,
    GatherScatterMode,
    default_fill,
    fill_parameter,
)
from fstensor.ops.index import DynamicSlice, Slice, as_index, wrap_index
from fstensor.ops.logical import lt, where
from fstensor.ops.scatter import Scatter, ScatterDimensionNumbers
from fstensor.ops.shape import (
    BroadcastInDim,
    Squeeze,
    broadcast_in_dim,
    expand_dims,
    full,
    reshape,
)

_MUCH_SMALLER = 16


@final
class Basic:
    """The operations that a key without arrays stands for.

    On a concrete array outside of every transform they are one indexing of the buffer.
    """

    def __init__(self, aval: ShapedArray, key: Key) -> None:
        layout = layout_of(aval, key)
        self.steps = _basic_steps(layout)
        self.view = tuple([slice(*e) if isinstance(e, SliceKey) else e for e in key])
        if Ellipsis not in key:
            self.view += (Ellipsis,)  # makes NumPy give an array, not a scalar
        self.aval = aval.update(shape=layout.shape)

    def read(self, x: Array) -> Array:
        if not self.steps:
            return x
        if x.__class__ is ConcreteArray and state.trace is EVAL:
            part = x._buffer[self.view]
            if _MUCH_SMALLER * part.nbytes <= x._buffer.nbytes:
                part = part.copy()  # a view would keep all of x alive
            return ConcreteArray(part, self.aval)
        for step in self.steps:
            x = step.bind(x)
        return x


def _basic_steps(layout: Layout) -> list[Primitive]:
    starts, limits, strides, backwards, dropped = [], [], [], [], []
    for axis, entry in enumerate(layout.by_axis):
        if isinstance(entry, Span):
            n = layout.aval.shape[axis]
            starts.append(entry.low)
            # The limit of a strided slice that reaches the end is the end, as users write it.
            reaches = entry.low + entry.size * entry.step >= n and entry.size > 0
            limits.append(n if reaches else entry.limit)
            strides.append(entry.step if entry.size else 1)
            if entry.reverse:
                backwards.append(axis)
        else:
            i = layout.place(axis)
            starts.append(i)
            limits.append(i + 1)
            strides.append(1)
            dropped.append(axis)
    steps: list[Primitive] = []
    shape = layout.aval.shape
    if starts != [0] * len(shape) or limits != list(shape) or any(s != 1 for s in strides):
        plain = all(s == 1 for s in strides)
        steps.append(Slice(tuple(starts), tuple(limits), None if plain else tuple(strides)))
    if backwards:
        steps.append(Rev(tuple(backwards)))
    if dropped:
        steps.append(Squeeze(tuple(dropped)))
    return [*steps, *_new_axes(layout)]


def _new_axes(layout: Layout) -> list[Primitive]:
    new = layout.new_axes()
    if not new:
        return []
    kept = tuple([i for i in range(len(layout.shape)) if i not in new])
    return [BroadcastInDim(layout.shape, kept)]


@functools.lru_cache(maxsize=4096)
def _basic(aval: ShapedArray, key: Any) -> Basic:
    return Basic(aval, key if key.__class__ is tuple else (key,))


def getitem(x: Array, index: Any) -> Array:
    """`x[index]`, by NumPy's rules for reading.

    index: integers, slices, None, Ellipsis, arrays of integers or bools, alone or in a tuple.
        Integers and integer arrays may be traced; bounds of slices and masks must be known.
    An integer or ndarray outside of its axis raises OutOfBoundsError. An Array is not looked into:
    it reads the nearest element, as it would while traced; with the setting check_indices it
    raises as well.
    Raises: OutOfBoundsError, ShapeError, DtypeError or ArgumentError for a wrong index;
        NonConcreteBooleanIndexError for a traced mask.
    """
    if index.__class__ is int:
        return _basic(x.aval, index).read(x)
    if state.trace is EVAL:
        found = _read_by_numpy(x, index)
        if found is not None:
            return found
    key, operands = parse(index)
    if not operands and not any(e.__class__ is FlagKey for e in key):
        return _basic(x.aval, key).read(x)
    layout = layout_of(x.aval, key)
    if layout.only_scalars:
        if state.trace is EVAL and all(i.__class__ is ConcreteArray for i in operands):
            return _basic(x.aval, _with_values(layout, key, operands)).read(x)
        return _dynamic_slice(x, key, operands)
    slices = layout.slices_apart()
    if slices is not None:
        x = _basic(x.aval, slices).read(x)
        key = _without_slices(key)
    return gather_index(x, key, operands, None)


def _read_by_numpy(x: Array, index: Any) -> Array | None:
    """`x[index]` at once, for an index with concrete Arrays in it; None where NumPy cannot tell.

    It raises for a place outside of its axis, where an Array reads the nearest element. With
    scalar Arrays alone it would give a view, which may hold on to much more memory.
    """
    entries = index if index.__class__ is tuple else (index,)
    key: list[Any] = []
    arrays = 0
    try:
        for e in entries:
            if e.__class__ is ConcreteArray:
                e = e._buffer
                arrays += e.ndim > 0
            elif e is not None and e is not Ellipsis and e.__class__ not in (int, slice):
                return None
            key.append(e)
        if not arrays or x._buffer.__class__ is not np.ndarray:  # type: ignore[attr-defined]
            return None
        out = np.asarray(x._buffer[tuple(key)])  # type: ignore[attr-defined]
    except (AttributeError, IndexError, TypeError, ValueError):
        return None
    return ConcreteArray(out, ShapedArray(out.shape, x.aval.dtype, x.aval.weak_type))


def _without_slices(key: Key) -> Key:
    return tuple([ALL if e.__class__ is SliceKey else 0 if e.__class__ is int else e for e in key])


def _with_values(layout: Layout, key: Key, operands: Operands) -> Key:
    """The key with scalar Arrays replaced by their values, moved inside as dynamic_slice would."""
    given = zip(operands, layout.operand_axes, strict=True)

    def value() -> int:
        operand, axis = next(given)
        operand = checked_index(operand, layout.aval, axis, "index")
        i, n = int(operand), layout.aval.shape[axis]
        _check_reachable(layout.aval, axis)
        return min(max(i + n if i < 0 else i, 0), n - 1)

    return tuple([value() if e.__class__ is ArrayKey else e for e in key])


def _dynamic_slice(x: Array, key: Key, operands: Operands) -> Array:
    """Reading at traced scalars: one box, whose axes of size 1 at integers are dropped."""
    layout = layout_of(x.aval, key)
    if any(isinstance(e, Span) and e.step != 1 for e in layout.by_axis):
        slices = layout.slices_apart()
        assert slices is not None
        x = _basic(x.aval, slices).read(x)
        key = _without_slices(key)
        layout = layout_of(x.aval, key)
    starts, sizes, backwards, dropped = [], [], [], []
    for axis, entry in enumerate(layout.by_axis):
        if isinstance(entry, Span):
            starts.append(known_places(entry.low))
            sizes.append(entry.size)
            if entry.reverse:
                backwards.append(axis)
            continue
        dropped.append(axis)
        sizes.append(1)
        if isinstance(entry, Operand):
            _check_reachable(x.aval, axis)
            i = places_on_axis(operands[entry.position], x.aval, axis, True, True)
            starts.append(i if isinstance(i, Array) else known_places(i))
        else:
            starts.append(known_places(layout.place(axis)))
    out = DynamicSlice(tuple(sizes)).bind(x, *starts)
    if backwards:
        out = Rev(tuple(backwards)).bind(out)
    out = Squeeze(tuple(dropped)).bind(out)
    for step in _new_axes(layout):
        out = step.bind(out)
    return out


def _check_reachable(aval: ShapedArray, axis: int) -> None:
    if not aval.shape[axis]:
        raise OutOfBoundsError(f"index: axis {axis} of {aval} has no elements to read")


def gather_index(
    x: Array,
    key: Key,
    operands: Operands,
    mode: GatherScatterMode | None,
    fill_value: Any = None,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    wrap: bool = True,
) -> Array:
    """Reading by one gather. `mode` None means that nothing known now may point outside."""
    strict = mode is None
    reach = reach_of(x.aval, key, strict, wrap)
    layout = reach.layout
    if reach.is_empty:
        if strict:
            reach.check(operands, wrap)
        return full(layout.shape, 0, x.dtype)
    if reach.unreachable:
        _check_reachable(x.aval, x.shape.index(0))
    chosen = GatherScatterMode.PROMISE_IN_BOUNDS if mode is None else mode
    if mode is GatherScatterMode.PROMISE_IN_BOUNDS:
        operands = checked_promise(layout, operands, wrap)
    fill = fill_parameter(fill_value, chosen, x.dtype)
    distinct = layout.distinct
    gather = Gather(
        reach.numbers,
        fill,
        indices_are_sorted or distinct,
        chosen,
        reach.sizes,
        unique_indices or distinct,
    )
    out = gather.bind(x, beside(x, reach.indices(operands, strict, wrap)))
    if reach.backwards:
        out = Rev(reach.backwards).bind(out)
    for step in _new_axes(layout):
        out = step.bind(out)
    return out


def take(
    a: ArrayLike,
    indices: ArrayLike,
    axis: int | None = None,
    out: None = None,
    mode: str | None = None,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    fill_value: complex | None = None,
) -> Array:
    """The elements of `a` at `indices` along an axis, or of its flattened form.

    Shapes: the axis is replaced by the axes of `indices`.
    mode: what an index outside of the axis reads. "fill" (the default): `fill_value`, which is NaN,
        or for integers the least value, if not given; "clip": the nearest element, the first for a
        negative index; "wrap": the element at the remainder. In the other modes negative indices
        count from the end. With the default mode an ndarray or scalar must lie inside.
    unique_indices, indices_are_sorted: promises, for speed.
    Raises: OutOfBoundsError, AxisError, DtypeError for indices that are no integers, OptionError
        for another mode, ArgumentError for `out`.
    """
    if out is not None:
        raise ArgumentError("take: arrays are immutable, got an argument for out; leave it out")
    x = lift(a, what="take")
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    axis = normalize_axis(axis, x.ndim, "take")
    if mode not in (None, "fill", "clip", "wrap", "promise_in_bounds"):
        hint = "; 'raise' cannot be traced" if mode == "raise" else ""
        raise OptionError(f"take: mode must be 'fill', 'clip' or 'wrap', got {mode!r}{hint}")
    given = indices if isinstance(indices, (Array, np.ndarray)) else np.asarray(indices)
    if isinstance(indices, (list, tuple)) or not dtypes.is_integer(given.dtype):
        raise DtypeError(f"take: indices must be an array of integers, got {lift(given).aval}")
    if mode is None and x.shape[axis] == 0 and given.size:
        _check_reachable(x.aval, axis)
    i = _take_places(given, x.aval, axis, mode)
    offsets = [d if d < axis else d + i.ndim - 1 for d in range(x.ndim) if d != axis]
    numbers = GatherDimensionNumbers(tuple(offsets), (axis,), (axis,))
    sizes = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    chosen = GatherScatterMode.from_any("promise_in_bounds" if mode == "wrap" else mode)
    if not x.shape[axis]:
        shape = (*x.shape[:axis], *i.shape, *x.shape[axis + 1 :])
        return full(shape, default_fill(x.dtype) if fill_value is None else fill_value, x.dtype)
    fill = fill_parameter(fill_value, chosen, x.dtype)
    gather = Gather(numbers, fill, indices_are_sorted, chosen, sizes, unique_indices)
    return gather.bind(x, expand_dims(beside(x, i), (i.ndim,)))


def _take_places(given: Any, aval: ShapedArray, axis: int, mode: str | None) -> Array:
    if mode in ("clip", "wrap"):
        i = as_index(lift(given), "take")
        if mode == "clip" or not aval.shape[axis]:
            return i
        n = constant(aval.shape[axis], i)
        remainder = rem(i, n)  # with the sign of i
        return where(lt(remainder, constant(0, i)), add(remainder, n), remainder)
    if mode == "promise_in_bounds" and isinstance(given, Array):
        given = checked_index(given, aval, axis, "take")
    i = places_on_axis(given, aval, axis, mode is None, True, "take")
    return i if isinstance(i, Array) else known_places(i)


def take_along_axis(
    arr: ArrayLike,
    indices: ArrayLike,
    axis: int | None = -1,
    mode: str | GatherScatterMode | None = None,
    fill_value: complex | None = None,
    *,
    wrap_negative_indices: bool | None = None,
) -> Array:
    """For each line of `arr` along an axis the elements at that line's own `indices`.

    Shapes: arr and indices have one rank and broadcast, but for the axis; None flattens arr.
    mode: "fill" (the default), "clip" or "promise_in_bounds", as for `take`.
    wrap_negative_indices: whether negative indices count from the end, else they are out of bounds;
        None is True but for "promise_in_bounds", as in JAX.
    Raises: ShapeError when shapes do not fit, DtypeError for indices that are no integers.
    """
    x, i = lift(arr, what="take_along_axis"), lift(indices)
    if not dtypes.is_integer(i.dtype):
        raise DtypeError(f"take_along_axis: indices must be integers, got {i.aval}")
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    axis = normalize_axis(axis, x.ndim, "take_along_axis")
    others = [d for d in range(x.ndim) if d != axis]
    if i.ndim != x.ndim or any(
        x.shape[d] != i.shape[d] and 1 not in (x.shape[d], i.shape[d]) for d in others
    ):
        raise ShapeError(
            "take_along_axis: array and indices must have one rank, and sizes that agree or are 1 "
            f"but on axis {axis}, got {x.aval} and {i.aval}"
        )
    chosen = GatherScatterMode.from_any(mode)
    if mode is None or chosen is GatherScatterMode.PROMISE_IN_BOUNDS:
        wraps = chosen is not GatherScatterMode.PROMISE_IN_BOUNDS
        wraps = wraps if wrap_negative_indices is None else wrap_negative_indices
        i = checked_index(i, x.aval, axis, "take_along_axis", wrap=wraps)
    i = as_index(i, "take_along_axis")
    if wrap_negative_indices is None:
        wrap_negative_indices = chosen is not GatherScatterMode.PROMISE_IN_BOUNDS
    if wrap_negative_indices:
        i = wrap_index(i, x.shape[axis])
    walked = [d for d in others if x.shape[d] == i.shape[d]]
    windows = [d for d in others if d not in walked and i.shape[d] == 1]
    kept = [d for d in range(x.ndim) if d not in windows]
    starts = reshape(i, (*[i.shape[d] for d in kept], 1))
    numbers = GatherDimensionNumbers(
        tuple(windows),
        tuple([d for d in range(x.ndim) if d not in walked and d not in windows]),
        (axis,),
        tuple(walked),
        tuple([kept.index(d) for d in walked]),
    )
    shape = tuple([i.shape[d] if d in kept else x.shape[d] for d in range(x.ndim)])
    if not x.size or 0 in shape:
        return full(shape, default_fill(x.dtype) if fill_value is None else fill_value, x.dtype)
    sizes = tuple([x.shape[d] if d in windows else 1 for d in range(x.ndim)])
    fill = fill_parameter(fill_value, chosen, x.dtype)
    return Gather(numbers, fill, False, chosen, sizes, False).bind(x, starts)


def put_along_axis(
    arr: ArrayLike,
    indices: ArrayLike,
    values: ArrayLike,
    axis: int | None,
    inplace: bool = True,
    *,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """`arr` with the elements at each line's own `indices` along an axis replaced by `values`.

    Shapes: indices have the rank of arr, and broadcast against it but for the axis; values
        broadcast against the result of that. None flattens arr for the time being.
    inplace: must be False, since arrays are immutable: the result is the changed copy.
    mode: "drop" (the default) skips an index outside, "clip" moves it inside.
    Raises: ArgumentError unless inplace is False, ShapeError when shapes do not fit, DtypeError for
        indices that are no integers, or complex values for a real array.
    """
    if inplace:
        raise ArgumentError(
            "put_along_axis: arrays are immutable, got inplace=True; pass inplace=False and use "
            "the result"
        )
    x, i = lift(arr, what="put_along_axis"), lift(indices)
    if axis is None:
        flat = put_along_axis(reshape(x, (x.size,)), i, values, 0, False, mode=mode)
        return reshape(flat, x.shape)
    axis = normalize_axis(axis, x.ndim, "put_along_axis")
    if not dtypes.is_integer(i.dtype):
        raise DtypeError(f"put_along_axis: indices must be integers, got {i.aval}")
    if i.ndim != x.ndim:
        raise ShapeError(
            f"put_along_axis: indices must have the array's rank, got {i.aval} for {x.aval}"
        )
    if mode in (None, "promise_in_bounds", GatherScatterMode.PROMISE_IN_BOUNDS):
        i = checked_index(i, x.aval, axis, "put_along_axis")
    shape = (*x.shape[:axis], i.shape[axis], *x.shape[axis + 1 :])
    i = broadcast_value(wrap_index(as_index(i, "put_along_axis"), x.shape[axis]), shape)
    updates = broadcast_value(convert_value(values, x, "put_along_axis"), shape)
    if not updates.size or not x.size:
        return x
    others = tuple([d for d in range(x.ndim) if d != axis])
    numbers = ScatterDimensionNumbers((), (axis,), (axis,), others, others)
    scatter = Scatter(numbers, False, GatherScatterMode.from_any(mode), False)
    return scatter.bind(x, expand_dims(i, (i.ndim,)), updates)


def convert_value(value: ArrayLike, x: Array, what: str) -> Array:
    """`value` with the dtype of `x`, into which it is to be written.

    Raises: DtypeError for a complex value and a real `x`.
    """
    is_scalar = isinstance(value, (bool, int, float, complex))
    if isinstance(value, complex) and not dtypes.is_complex(x.dtype):
        raise DtypeError(f"{what}: a complex value has no place in a real array, got {x.aval}")
    new = lift(value, x.dtype if is_scalar else None, what) if is_scalar else lift(value)
    if new.dtype == x.dtype:
        return new
    if dtypes.is_complex(new.dtype) and not dtypes.is_complex(x.dtype):
        raise DtypeError(
            f"{what}: a complex value has no place in a real array, got {new.aval} for {x.aval}; "
            "take its real part"
        )
    return convert_element_type(new, x.dtype)


def broadcast_value(value: Array, shape: tuple[int, ...]) -> Array:
    """`value` repeated to `shape`. Raises ShapeError when it does not broadcast to it."""
    skipped = len(shape) - value.ndim
    if skipped < 0 or any(
        n not in (1, m) for n, m in zip(value.shape, shape[max(skipped, 0) :], strict=False)
    ):
        raise ShapeError(f"index: values must broadcast to the shape {shape}, got {value.aval}")
    return broadcast_in_dim(value, shape, range(skipped, len(shape)))


def ix_(*args: ArrayLike | Sequence[Any]) -> tuple[Array, ...]:
    """Index arrays that choose the product of some indices along each axis: x[ix_(rows, columns)].

    args: for each axis an array of integers of one dimension, or a mask known while tracing.
    Raises: ShapeError for an array of another rank.
    """
    outs = []
    for k, arg in enumerate(args):
        i = np.asarray(arg) if isinstance(arg, (list, tuple)) else arg
        _, operands = parse(i)
        if not operands or len(operands[0].shape) != 1:
            raise ShapeError(f"ix_: index {k} must have one dimension, got {arg!r}")
        vector = lift(operands[0])
        outs.append(expand_dims(vector, [d for d in range(len(args)) if d != k]))
    return tuple(outs)

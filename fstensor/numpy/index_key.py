"""What an index means: from what stands between the brackets to the axes that it reads or writes.

`parse` brings an index into a key, hashable and with arrays replaced by their shapes, and a list of
those arrays. `layout_of` works out, once for each type of array and key, what each axis of the
array and of the result is. NumPy's rules for mixed indices are all here.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.trace import Tracer
from fstensor.errors import (
    ArgumentError,
    DtypeError,
    IndexShapeError,
    NonConcreteBooleanIndexError,
    OptionError,
    OutOfBoundsError,
    TracerIntegerConversionError,
)

# Entries of a key. An int, None and Ellipsis stand for themselves.


class SliceKey(NamedTuple):
    """A slice."""

    start: int | None
    stop: int | None
    step: int | None


class ArrayKey(NamedTuple):
    """An array of integers, one of the operands of the index."""

    shape: tuple[int, ...]


class MaskKey(NamedTuple):
    """A mask with `chosen` true elements; its operands are their places along each of its axes."""

    shape: tuple[int, ...]
    chosen: int


class FlagKey(NamedTuple):
    """A single bool: a new axis of size `chosen`, 1 if it is true, else 0."""

    chosen: int
    flag: str = "flag"  # tells it from the other tuples of one integer


Key = tuple[Any, ...]
Operands = list[Any]  # ndarrays (known now) and Arrays (known later)
ALL = SliceKey(None, None, None)


def parse(index: Any) -> tuple[Key, Operands]:
    """The key of an index, and its integer arrays.

    Raises: ArgumentError or DtypeError for what cannot be an index,
        NonConcreteBooleanIndexError for a traced mask.
    """
    if isinstance(index, list):
        raise ArgumentError(
            f"index: must not be a list, got {index!r}; use x[np.array([...])] for its elements, "
            "or x[tuple(...)] for one entry for each axis"
        )
    key: list[Any] = []
    operands: Operands = []
    for entry in index if isinstance(index, tuple) else (index,):
        if entry.__class__ is int or entry is None or entry is Ellipsis:
            key.append(entry)
        elif entry.__class__ is slice:
            key.append(SliceKey(*[_bound(b) for b in (entry.start, entry.stop, entry.step)]))
        else:
            key.append(_parse_array(entry, operands))
    return tuple(key), operands


def _bound(bound: Any) -> int | None:
    if bound is None or bound.__class__ is int:
        return bound
    if isinstance(bound, Tracer):
        raise TracerIntegerConversionError(
            f"index: the bounds of a slice must be known while tracing, got {bound.aval}; "
            "use lax.dynamic_slice_in_dim, which takes a traced start and a static size"
        )
    try:
        return operator.index(bound)
    except TypeError:
        raise ArgumentError(
            f"index: the bounds of a slice must be integers or None, got {bound!r}"
        ) from None


def _parse_array(entry: Any, operands: Operands) -> Any:
    """The key of an integer that is no int, a bool, or an array; its operands are appended."""
    if isinstance(entry, (list, tuple)):
        entry = _array_of_list(entry)
    if isinstance(entry, (bool, np.bool_)):
        return FlagKey(int(entry))
    if isinstance(entry, np.generic):
        entry = np.asarray(entry)
    if not isinstance(entry, (Array, np.ndarray)):
        try:
            return operator.index(entry)
        except TypeError:
            raise ArgumentError(
                "index: must be made of integers, slices, None, Ellipsis and arrays of integers or "
                f"bools, got {entry!r} of type {type(entry).__name__}"
            ) from None
    if entry.dtype == np.bool_:
        return _parse_mask(entry, operands)
    if not dtypes.is_integer(entry.dtype):
        raise DtypeError(
            f"index: arrays must be of integers or bools, got {lift(entry).aval}; "
            "convert with astype(int)"
        )
    if isinstance(entry, np.ndarray) and not entry.ndim:
        return int(entry)
    operands.append(entry)
    return ArrayKey(entry.shape)


def _array_of_list(entry: list[Any] | tuple[Any, ...]) -> np.ndarray[Any, Any]:
    try:
        values = np.asarray(entry)
    except ValueError as error:
        raise IndexShapeError(f"index: nested lists must have equal lengths ({error})") from None
    return values if values.size else values.astype(np.intp)  # of nothing, NumPy makes floats


def _parse_mask(mask: Array | np.ndarray[Any, Any], operands: Operands) -> Any:
    if isinstance(mask, Tracer):
        mask.check_alive()
        raise NonConcreteBooleanIndexError(
            f"index: the number of elements that a traced mask chooses is not known, got "
            f"{mask.aval}; use fstensor.numpy.where(mask, x, y), or nonzero(mask, size=n)"
        )
    values = np.asarray(mask)
    if not values.ndim:
        return FlagKey(int(values))
    places = values.nonzero()
    operands.extend(places)
    return MaskKey(values.shape, places[0].size)


# What a key means for an array.


@final
class Span(NamedTuple):
    """A slice on an axis: `size` elements from `low` upwards by `step`, backwards if `reverse`."""

    low: int
    size: int
    step: int
    reverse: bool

    @property
    def limit(self) -> int:
        return self.low + (self.size - 1) * self.step + 1 if self.size else self.low

    def key(self) -> SliceKey:
        if not self.reverse:
            return SliceKey(self.low, self.limit, self.step)
        return SliceKey(self.limit - 1, self.low - 1 if self.low else None, -self.step)


def _span(key: SliceKey, n: int) -> Span:
    if key.step == 0:
        raise OptionError("index: the step of a slice must not be zero, got 0")
    chosen = range(n)[slice(*key)]
    size = len(chosen)
    if chosen.step > 0 or not size:
        # An empty range may start beyond either end.
        return Span(min(max(chosen.start, 0), n), size, abs(chosen.step), False)
    return Span(chosen[-1], size, -chosen.step, True)


@final
class Operand(NamedTuple):
    """The position of an index array among the operands."""

    position: int


@final
class Layout:
    """What a key means for an array of type `aval`.

    by_axis: for each axis of the array a Span, an int, or the position of an operand (an Operand).
    tokens: the axes of the result in order: None for a new one, an int for the Span of that axis,
        "arrays" for the axes of the broadcast index arrays, `stretched`.
    """

    def __init__(self, aval: ShapedArray, key: Key) -> None:
        self.aval = aval
        self.by_axis: list[Any] = []
        self.tokens: list[Any] = []
        self.operand_axes: list[int] = []
        self.masked = False
        shapes: list[tuple[int, ...]] = []
        members: list[int] = []  # entries that are integers or arrays
        first_token = 0
        advanced = any(
            isinstance(e, (MaskKey, FlagKey)) or (isinstance(e, ArrayKey) and e.shape) for e in key
        )
        for position, entry in enumerate(_expand_ellipsis(aval, key)):
            axis = len(self.by_axis)
            if entry is None or entry is Ellipsis:
                if entry is None:
                    self.tokens.append(None)
                continue
            if isinstance(entry, SliceKey):
                self.by_axis.append(_span(entry, aval.shape[axis]))
                self.tokens.append(axis)
                continue
            if not members:
                first_token = len(self.tokens)
            members.append(position)
            if isinstance(entry, FlagKey):
                shapes.append((entry.chosen,))
            elif isinstance(entry, MaskKey):
                self._add_mask(entry, axis)
                shapes.append((entry.chosen,))
            elif isinstance(entry, ArrayKey):
                self._add_operand(axis)
                shapes.append(entry.shape)
            else:
                self.by_axis.append(entry)
        self.only_scalars = not advanced
        # The places that one mask gives are distinct and in order.
        self.distinct = not advanced or (self.masked and len(members) == 1)
        self.stretched = _stretch(aval, shapes)
        if advanced:
            adjacent = members[-1] - members[0] == len(members) - 1
            self.tokens.insert(first_token if adjacent else 0, "arrays")
        sizes = {None: (1,), "arrays": self.stretched}
        shape: list[int] = []
        for token in self.tokens:
            shape += sizes[token] if token in sizes else (self.by_axis[token].size,)
        self.shape = tuple(shape)

    def _add_operand(self, axis: int) -> None:
        self.by_axis.append(Operand(len(self.operand_axes)))
        self.operand_axes.append(axis)

    def _add_mask(self, entry: MaskKey, axis: int) -> None:
        rank = len(entry.shape)
        if self.aval.shape[axis : axis + rank] != entry.shape:
            raise IndexShapeError(
                f"index: a mask must have the shape of the axes that it stands for, got "
                f"bool[{','.join(map(str, entry.shape))}] at axis {axis} of {self.aval}"
            )
        self.masked = True
        for a in range(axis, axis + rank):
            self._add_operand(a)

    def place(self, axis: int, strict: bool = True, wrap: bool = True) -> int:
        """The place of a static integer on its axis. Raises OutOfBoundsError when strict."""
        i, n = self.by_axis[axis], self.aval.shape[axis]
        if strict and not (-n if wrap else 0) <= i < n:
            raise OutOfBoundsError(f"index: {i} is out of bounds for axis {axis} of {self.aval}")
        return i + n if wrap and i < 0 else i

    def new_axes(self) -> tuple[int, ...]:
        """The new axes of the result."""
        found, at = [], 0
        for token in self.tokens:
            if token is None:
                found.append(at)
            at += len(self.stretched) if token == "arrays" else 1
        return tuple(found)

    def slices_apart(self) -> Key | None:
        """The key of the slices and integers alone, integers as slices of size 1.

        None when they take everything.
        """
        slices: list[Any] = []
        needed = False
        for axis, n in enumerate(self.aval.shape):
            entry = self.by_axis[axis]
            if isinstance(entry, Operand):
                slices.append(ALL)
            elif isinstance(entry, Span):
                slices.append(entry.key())
                needed |= entry != Span(0, n, 1, False)
            else:
                i = self.place(axis)
                slices.append(SliceKey(i, i + 1, None))
                needed |= n != 1
        return tuple(slices) if needed else None


def _expand_ellipsis(aval: ShapedArray, key: Key) -> list[Any]:
    """The key with an entry for each axis; an Ellipsis stays before the slices it stands for."""
    used = 0
    for e in key:
        if isinstance(e, MaskKey):
            used += len(e.shape)
        elif not (e is None or e is Ellipsis or isinstance(e, FlagKey)):
            used += 1
    if used > aval.ndim:
        raise OutOfBoundsError(
            f"index: too many indices, got {used} for {aval} of {aval.ndim} dimensions"
        )
    places = [i for i, e in enumerate(key) if e is Ellipsis]
    if len(places) > 1:
        raise OutOfBoundsError(
            f"index: can have one Ellipsis, got {len(places)}; write ':' for the axes in between"
        )
    missing = [ALL] * (aval.ndim - used)
    if not places:
        return [*key, *missing]
    return [*key[: places[0] + 1], *missing, *key[places[0] + 1 :]]


def _stretch(aval: ShapedArray, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        got = " and ".join(map(str, shapes))
        raise IndexShapeError(
            f"index: index arrays must broadcast against each other, got shapes {got} for {aval}"
        ) from None


@functools.lru_cache(maxsize=4096)
def layout_of(aval: ShapedArray, key: Key) -> Layout:
    return Layout(aval, key)

"""Reductions over windows, one element at a time: their rules in the vocabulary of kernels.

A window at place p along an axis meets element (p stride + k dilation - low) / base of the operand
for each k, where that is a whole number of an element; elsewhere it meets padding. Windows are
small, so all their elements are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Generic, NamedTuple, final

from fstensor.core.affine import Affine, Index
from fstensor.core.scalar import INT32, INT64, Elements, IndexedOps, V

# Elements of windows that are written out at most, for one result.
_MOST = 81


@final
@dataclass(frozen=True)
class WindowAxis:
    """How a window moves along an axis; see the module. size: of the operand; places: results."""

    size: int
    places: int
    window: int
    stride: int
    dilation: int
    base: int
    low: int

    @property
    def reach(self) -> int:
        return (self.window - 1) * self.dilation + 1

    @property
    def meeting(self) -> int:
        """How many windows meet an element at most."""
        return min(-(-self.reach // self.stride), self.places)


class Place(NamedTuple, Generic[V]):
    """A window's place along an axis, as an affine function or as a computed int64.

    It lies from `first` to `last`.
    """

    affine: Affine | None
    value: V | None
    first: int
    last: int


@final
class _Elements(Generic[V]):
    """The elements that windows meet, of an operand."""

    def __init__(self, ops: IndexedOps[V], axes: Sequence[WindowAxis]) -> None:
        self.ops = ops
        self.axes = axes

    def number(self, n: int) -> V:
        return self.ops.constant(n, INT64)

    def all_of(self, conditions: Sequence[V]) -> V | None:
        total = None
        for c in conditions:
            total = c if total is None else self.ops.and_(total, c)
        return total

    def within(self, place: Place[V], count: int) -> list[V]:
        """The conditions, if any, for a place to lie from 0 up to `count`."""
        ops, found = self.ops, []
        if place.first >= 0 and place.last < count:
            return []
        value = self.computed(place)
        if place.first < 0:
            found.append(ops.ge(value, self.number(0)))
        if place.last >= count:
            found.append(ops.lt(value, self.number(count)))
        return found

    def computed(self, place: Place[V]) -> V:
        if place.value is not None:
            return place.value
        assert place.affine is not None
        return self.ops.index(place.affine)

    def met(self, axis: WindowAxis, place: Place[V], k: int) -> tuple[Place[V], list[V]]:
        """The element that a window meets along an axis, and conditions for it to be one."""
        ops = self.ops
        shift, stride = k * axis.dilation - axis.low, axis.stride
        first, last = place.first * stride + shift, place.last * stride + shift
        if place.affine is not None and axis.base == 1:
            return Place(place.affine * stride + shift, None, first, last), []
        if place.affine is not None:
            value = ops.index(place.affine * stride + shift)
        else:
            value = ops.add(ops.mul(self.computed(place), self.number(stride)), self.number(shift))
        if axis.base == 1:
            return Place(None, value, first, last), []
        base = self.number(axis.base)
        whole = ops.div(value, base)
        exact = ops.eq(ops.mul(whole, base), value)
        return Place(None, whole, -(-first // axis.base), last // axis.base), [exact]

    def element(
        self, operand: Elements[V], places: Sequence[Place[V]], window: Sequence[int], outside: Any
    ) -> V:
        """The element of the operand that a window meets, or `outside`."""
        met, conditions = [], []
        for axis, place, k in zip(self.axes, places, window, strict=True):
            found, conditions_here = self.met(axis, place, k)
            if found.last < 0 or found.first >= axis.size:
                return self._outside(operand, outside)
            conditions += conditions_here + self.within(found, axis.size)
            met.append(found)
        sizes = [axis.size for axis in self.axes]
        return self.read(operand, met, sizes, self.all_of(conditions), outside)

    def _outside(self, operand: Elements[V], outside: Any) -> V:
        zeros = tuple([Affine(0)] * len(self.axes))
        return self.ops.constant(outside, self.ops.dtype(operand.at(zeros)))

    def read(
        self,
        operand: Elements[V],
        places: Sequence[Place[V]],
        sizes: Sequence[int],
        condition: V | None,
        outside: Any,
    ) -> V:
        """The element at some places if a condition holds, which is that it exists."""
        ops = self.ops
        if all(p.affine is not None for p in places):
            index = tuple([p.affine for p in places if p.affine is not None])
            if condition is None:
                return operand.at(index)
            x = operand.at_if(condition, index)
            return ops.select(condition, x, ops.constant(outside, ops.dtype(x)))
        offsets: list[V | None] = []
        for p, size in zip(places, sizes, strict=True):
            value = ops.max(ops.min(self.computed(p), self.number(size - 1)), self.number(0))
            offsets.append(value)
        x = operand.take(tuple([Affine(0)] * len(places)), offsets)
        if condition is None:
            return x
        return ops.select(condition, x, ops.constant(outside, ops.dtype(x)))


def reduce_window_element(
    ops: IndexedOps[V],
    axes: Sequence[WindowAxis],
    index: Index,
    operand: Elements[V],
    outside: Any,
    combine: Callable[[V, V], V],
) -> Any:
    """The combination of what the window at `index` meets."""
    if prod(axis.window for axis in axes) > _MOST:
        return NotImplemented
    met = _Elements(ops, axes)
    places = _places(axes, index)
    total = None
    for window in product(*(range(axis.window) for axis in axes)):
        x = met.element(operand, places, window, outside)
        total = x if total is None else combine(total, x)
    return total


def _places(axes: Sequence[WindowAxis], index: Index) -> list[Place[Any]]:
    return [Place(i, None, 0, a.places - 1) for i, a in zip(index, axes, strict=True)]


class Choice(NamedTuple, Generic[V]):
    """The chosen element of a window, or of part of it, and what goes with it."""

    best: V
    label: V


def _choose(
    met: _Elements[V],
    operand: Elements[V],
    places: Sequence[Place[V]],
    largest: bool,
    outside: Any,
    label: Callable[[tuple[int, ...]], V],
) -> V:
    """The label of the element that a window chooses: the first that is no less than all others.

    The window is reduced along one axis after the other, the last one first.
    """
    ops = met.ops

    def better(x: Choice[V], y: Choice[V]) -> Choice[V]:
        keeps = ops.ge(x.best, y.best) if largest else ops.le(x.best, y.best)
        best = ops.max(x.best, y.best) if largest else ops.min(x.best, y.best)
        return Choice(best, ops.select(keeps, x.label, y.label))

    def within(window: tuple[int, ...]) -> Choice[V]:
        n = len(window)
        if n == len(met.axes):
            return Choice(met.element(operand, places, window, outside), label(window))
        found = within((*window, 0))
        for k in range(1, met.axes[n].window):
            found = better(found, within((*window, k)))
        return found

    return within(()).label


def gather_element(
    ops: IndexedOps[V],
    axes: Sequence[WindowAxis],
    index: Index,
    source: Elements[V],
    operand: Elements[V],
    largest: bool,
    outside: Any,
) -> Any:
    """The element of `source` where the window at `index` chooses one of `operand`."""
    if prod(axis.window for axis in axes) > _MOST // 2 or operand.aval.dtype.kind == "b":
        return NotImplemented
    met, places = _Elements(ops, axes), _places(axes, index)
    return _choose(
        met, operand, places, largest, outside,
        lambda window: met.element(source, places, window, 0),
    )  # fmt: skip


def scatter_element(
    ops: IndexedOps[V],
    axes: Sequence[WindowAxis],
    index: Index,
    source: Elements[V],
    operand: Elements[V],
    largest: bool,
    outside: Any,
) -> Any:
    """The sum of the elements of `source` whose windows choose that of `operand` at `index`."""
    number = prod(axis.meeting * axis.window for axis in axes)
    if number > _MOST or operand.aval.dtype.kind == "b":
        return NotImplemented
    met = _Elements(ops, axes)
    total = None
    meeting = [_meeting(met, axis, i) for axis, i in zip(axes, index, strict=True)]
    for windows in product(*meeting):
        places = [w.place for w in windows]
        conditions = [c for w in windows for c in w.conditions]
        for axis, place in zip(axes, places, strict=True):
            conditions += met.within(place, axis.places)
        own = ops.constant(0, INT32)
        for axis, w in zip(axes, windows, strict=True):
            own = ops.add(ops.mul(own, ops.constant(axis.window, INT32)), w.element)

        def label(window: tuple[int, ...]) -> V:
            n = 0
            for axis, k in zip(axes, window, strict=True):
                n = n * axis.window + k
            return ops.constant(n, INT32)

        chosen = _choose(met, operand, places, largest, outside, label)
        condition = met.all_of(conditions)
        sizes = [axis.places for axis in axes]
        x = met.read(source, places, sizes, condition, 0)
        zero = ops.constant(0, ops.dtype(x))
        x = ops.select(ops.eq(chosen, own), x, zero)
        total = x if total is None else ops.add(total, x)
    return _outside_all(ops, source) if total is None else total


def _outside_all(ops: IndexedOps[V], source: Elements[V]) -> V:
    zeros = tuple([Affine(0)] * source.aval.ndim)
    return ops.constant(0, ops.dtype(source.at(zeros)))


class _Window(NamedTuple, Generic[V]):
    """A window that may meet an element: its place, and which of its own elements that is."""

    place: Place[V]
    element: V
    conditions: list[V]


def _meeting(met: _Elements[V], axis: WindowAxis, i: Affine) -> list[_Window[V]]:
    """The windows that meet element i along an axis.

    The last of them is at (i + low) / stride, rounded down; it starts a rest before the element.
    """
    ops, stride = met.ops, axis.stride
    if axis.meeting == axis.places and axis.places * stride < axis.reach:
        return [_at_place(met, axis, i, n) for n in range(axis.places)]
    first, last = axis.low // stride, (axis.size - 1 + axis.low) // stride
    found: list[_Window[V]] = []
    if all(s % stride == 0 for s in i.strides):
        strides = tuple([s // stride for s in i.strides])
        at = Affine((i.constant + axis.low) // stride, strides)
        rest = (i.constant + axis.low) % stride
        for n in range(axis.meeting):
            k, misses = divmod(rest + n * stride, axis.dilation)
            if k < axis.window and not misses and last >= n and first - n < axis.places:
                place: Place[V] = Place(at + -n, None, first - n, last - n)
                found.append(_Window(place, ops.constant(k, INT32), []))
        return found
    shifted = ops.index(i + axis.low)  # rounding down is towards zero for what is not negative
    back = 0 if axis.low >= 0 else -(axis.low // stride) * stride
    value = ops.div(ops.add(shifted, met.number(back)), met.number(stride))
    value = ops.sub(value, met.number(back // stride))
    rest_value = ops.sub(shifted, ops.mul(value, met.number(stride)))
    for n in range(axis.meeting):
        distance = ops.add(rest_value, met.number(n * stride))
        k_value = ops.div(distance, met.number(axis.dilation))
        conditions = [ops.lt(k_value, met.number(axis.window))]
        if axis.dilation > 1:
            whole = ops.mul(k_value, met.number(axis.dilation))
            conditions.append(ops.eq(whole, distance))
        earlier = ops.sub(value, met.number(n))
        place = Place(None, earlier, first - n, last - n)
        found.append(_Window(place, ops.convert(k_value, INT32), conditions))
    return found


def _at_place(met: _Elements[V], axis: WindowAxis, i: Affine, place: int) -> _Window[V]:
    """The window at a place, which may meet element i."""
    ops = met.ops
    distance = ops.index(i + (axis.low - place * axis.stride))
    k = ops.div(distance, met.number(axis.dilation))
    conditions = [ops.ge(distance, met.number(0)), ops.lt(k, met.number(axis.window))]
    if axis.dilation > 1:
        conditions.append(ops.eq(ops.mul(k, met.number(axis.dilation)), distance))
    return _Window(Place(Affine(place), None, place, place), ops.convert(k, INT32), conditions)

"""Functional updates: `x.at[index].set(value)` and its siblings give changed copies of `x`.

An index means the same as in `x[index]`. One update is one scatter: where several indices name one
element, `add`, `multiply`, `min` and `max` let each of them take part, and `set` keeps the last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, final

from fstensor import dtypes
from fstensor.array import Array, ArrayLike
from fstensor.errors import DtypeError
from fstensor.numpy.index_key import Key, Operands, parse
from fstensor.numpy.indexing import (
    broadcast_value,
    convert_value,
    gather_index,
    getitem,
)
from fstensor.numpy.reach import beside, checked_promise, reach_of
from fstensor.ops.arrange import rev
from fstensor.ops.elementwise import div, pow
from fstensor.ops.gather import GatherScatterMode
from fstensor.ops.scatter import (
    Scatter,
    ScatterAdd,
    ScatterDimensionNumbers,
    Scattering,
    ScatterMax,
    ScatterMin,
    ScatterMul,
    ScatterSub,
)
from fstensor.ops.shape import full, reshape

Mode = str | GatherScatterMode | None


@final
class At:
    """What `x.at` gives: indexing it chooses the elements to update.

    >>> import fstensor.numpy as fnp
    >>> fnp.zeros(3).at[1].set(5.0).tolist()
    [0.0, 5.0, 0.0]
    """

    __slots__ = ("array",)

    def __init__(self, array: Array) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> Ref:
        return Ref(self.array, index)

    def __repr__(self) -> str:
        return f"At({self.array.aval}); write x.at[index].set(value), or add, multiply, get, ..."


@final
class Ref:
    """Chosen elements of an array: `x.at[index]`. Its methods return changed copies of `x`.

    All of them take, as keywords:

    indices_are_sorted, unique_indices: promises about index arrays, for speed.
    mode: what becomes of an element outside of the array. None: integers and ndarrays must lie
        inside, others are skipped ("drop", the same as "fill"); "clip" moves them to the nearest
        element; "promise_in_bounds" says that there are none.
    wrap_negative_indices: whether negative indices count from the end; otherwise they are outside.

    The value takes the dtype of `x`, and the shape of x[index] by broadcasting. Each method raises
    what indexing does, ShapeError when the value does not broadcast, and DtypeError for a complex
    value in a real array.
    """

    __slots__ = ("array", "index")

    def __init__(self, array: Array, index: Any) -> None:
        self.array = array
        self.index = index

    def __repr__(self) -> str:
        return (
            f"Ref({self.array.aval}, {self.index!r}); nothing is changed yet: "
            "call .set(value), .add(value), .get() or another of its methods"
        )

    def set(self, values: ArrayLike, **options: Any) -> Array:
        """x[index] = values, on a copy; of several values for one element the last stays."""
        return _scatter(Scatter, self, values, "at[...].set", **options)

    def add(self, values: ArrayLike, **options: Any) -> Array:
        """x[index] += values, on a copy; several values for one element are all added."""
        return _scatter(ScatterAdd, self, values, "at[...].add", **options)

    def subtract(self, values: ArrayLike, **options: Any) -> Array:
        """x[index] -= values, on a copy; several values for one element are all subtracted."""
        return _scatter(ScatterSub, self, values, "at[...].subtract", **options)

    def multiply(self, values: ArrayLike, **options: Any) -> Array:
        """x[index] *= values, on a copy; an element is multiplied by all values given for it."""
        return _scatter(ScatterMul, self, values, "at[...].multiply", **options)

    mul = multiply

    def divide(self, values: ArrayLike, **options: Any) -> Array:
        """x[index] /= values, on a copy; an element is divided by all values given for it.

        Raises: DtypeError for integers, whose quotients are no integers.
        """
        return div(self.array, self._on_ones("divide", values, options))

    def power(self, values: ArrayLike, **options: Any) -> Array:
        """x[index] **= values, on a copy; an element is raised to all powers given for it.

        Raises: DtypeError for integers.
        """
        return pow(self.array, self._on_ones("power", values, options))

    def _on_ones(self, method: str, values: ArrayLike, options: dict[str, Any]) -> Array:
        x = self.array
        if not dtypes.is_inexact(x.dtype):
            raise DtypeError(
                f"at[...].{method}: takes a float or complex array, got {x.aval}; "
                "convert with astype"
            )
        ones = Ref(full(x.shape, 1, x.dtype), self.index)
        return _scatter(ScatterMul, ones, values, f"at[...].{method}", **options)

    def min(self, values: ArrayLike, **options: Any) -> Array:
        """x[index] = minimum(x[index], values), on a copy, over all values for an element."""
        return _scatter(ScatterMin, self, values, "at[...].min", **options)

    def max(self, values: ArrayLike, **options: Any) -> Array:
        """x[index] = maximum(x[index], values), on a copy, over all values for an element."""
        return _scatter(ScatterMax, self, values, "at[...].max", **options)

    def apply(self, func: Callable[[Array], ArrayLike], **options: Any) -> Array:
        """x[index] = func(x[index]), on a copy.

        `func` sees all chosen elements at once. It is applied once to an element that several
        indices name, where `np.ufunc.at` would apply it again for each.
        """
        return self.set(func(self.get(**options)), **options)

    def get(
        self,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Mode = None,
        fill_value: complex | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """x[index]; with mode "fill", `fill_value` for elements outside of the array.

        fill_value: by default NaN, for integers the least value, for unsigned ones the greatest.
        """
        plain = not indices_are_sorted and not unique_indices and wrap_negative_indices
        if mode is None and fill_value is None and plain:
            return getitem(self.array, self.index)
        key, operands = parse(self.index)
        chosen = None if mode is None and fill_value is None else GatherScatterMode.from_any(mode)
        return gather_index(
            self.array,
            key,
            operands,
            chosen,
            fill_value,
            unique_indices,
            indices_are_sorted,
            wrap_negative_indices,
        )


K = TypeVar("K", bound=Scattering)


def _scatter(
    kind: type[K],
    ref: Ref,
    values: ArrayLike,
    what: str,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Mode = None,
    wrap_negative_indices: bool = True,
) -> Array:
    x = ref.array
    index = ref.index
    key: Key
    operands: Operands
    key, operands = ((index,), []) if index.__class__ is int else parse(index)
    strict = mode is None
    reach = reach_of(x.aval, key, strict, wrap_negative_indices)
    layout = reach.layout
    if mode in ("promise_in_bounds", GatherScatterMode.PROMISE_IN_BOUNDS):
        operands = checked_promise(layout, operands, wrap_negative_indices)
    writes_nothing = reach.is_empty or reach.unreachable
    if not writes_nothing:
        indices = beside(x, reach.indices(operands, strict, wrap_negative_indices))
    elif strict:
        reach.check(operands, wrap_negative_indices)
    updates = convert_value(values, x, what)
    if updates.shape != layout.shape:
        updates = broadcast_value(updates, layout.shape)
    if writes_nothing:
        return x
    updates = reshape(updates, reach.flat_shape)
    if reach.backwards:
        updates = rev(updates, reach.backwards)
    scatter = reach.scatters.get(kind)
    if scatter is None or not strict or indices_are_sorted or unique_indices:
        distinct = layout.distinct
        scatter = kind(  # type: ignore[call-arg]  # the fields that every kind has
            ScatterDimensionNumbers(*reach.numbers),
            indices_are_sorted or distinct,
            GatherScatterMode.from_any(mode),
            unique_indices or distinct,
        )
        if strict and not indices_are_sorted and not unique_indices:
            reach.scatters[kind] = scatter
    return scatter.bind(x, indices, updates)

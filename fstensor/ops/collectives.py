"""Reductions over the examples of a vmap, over the axis that its `axis_name` names.

In the batch rule a collective finds its axis as an axis of its operand, and becomes a reduction
over it. Over the names that remain, those of outer vmaps, it is applied again in the trace outside.
Collectives that move values between examples are in `exchange.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, NoReturn, TypeAlias, final

import numpy as np

from fstensor import dtypes, ops, tree
from fstensor.array import Array, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import MappedAxis, Primitive, Value, primitive
from fstensor.core.trace import Tracer
from fstensor.core.trace import axis_size as size_of_axis
from fstensor.errors import OptionError, UnboundAxisNameError
from fstensor.ops.convert import convert_element_type
from fstensor.ops.elementwise import add, div, mul
from fstensor.ops.families import NUMBER, ORDERED, Kind, constant

AxisName: TypeAlias = Hashable  # one name, or a tuple of names


class Collective(Primitive):
    """A reduction over mapped axes. Elementwise to any other batch axis."""

    axes: tuple[Any, ...]
    takes: ClassVar[Kind]

    def reduce(self, x: Array, dim: int) -> Array:
        """The reduction over a mapped axis that is axis `dim` of `x`."""
        raise NotImplementedError

    def repeat(self, x: Array, size: int) -> Array:
        """The reduction over an axis along which `x` is the same `size` times."""
        return x

    @property
    def axis_names(self) -> tuple[Any, ...]:
        return self.axes

    def abstract(self, x: ShapedArray) -> ShapedArray:
        self.takes.check(self.name, x)
        return x

    def impl(self, xp: Any, x: Any) -> NoReturn:
        raise unbound(self)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int | None]:
        x, dim = args[0], dims[0]
        if axis.name not in self.axes:
            return self.bind(x), dim
        self.takes.check(self.name, _aval_of_one(x, dim))
        x = self.repeat(x, axis.size) if dim is None else self.reduce(x, dim)
        others = tuple([name for name in self.axes if name != axis.name])
        return (type(self)(others).bind(x) if others else x), None  # type: ignore[call-arg]


def _aval_of_one(x: Array, dim: int | None) -> ShapedArray:
    """What an example sees of a batch."""
    shape = x.shape if dim is None else x.shape[:dim] + x.shape[dim + 1 :]
    return x.aval.update(shape=shape)


def unbound(p: Primitive) -> UnboundAxisNameError:
    names = ", ".join(map(repr, p.axis_names))
    return UnboundAxisNameError(
        f"{p.name}: a program that communicates over {names} was run outside of a vmap that "
        "binds it; pass axis_name to the vmap around it"
    )


@final
@primitive("psum")
class PSum(Collective):
    """Sum over mapped axes.

    Linear, and its own transpose: what an example adds is seen by the results of all.
    """

    axes: tuple[Any, ...]
    takes = NUMBER

    def reduce(self, x: Array, dim: int) -> Array:
        return ops.reduce.reduce_sum(x, (dim,))

    def repeat(self, x: Array, size: int) -> Array:
        return mul(x, constant(size, x))

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(*tangents)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [self.bind(ct)]


class Extremum(Collective):
    """Maximum or minimum over mapped axes. At a tie the tangent is the mean of the tied ones."""

    takes = ORDERED

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        x, t = primals[0], tangents[0]
        out = self.bind(x)
        chosen = ops.logical.eq(x, out)
        total = PSum(self.axes).bind(ops.logical.where(chosen, t, constant(0, t)))
        count = PSum(self.axes).bind(convert_element_type(chosen, t.dtype))
        return out, div(total, count)


@final
@primitive("pmax")
class PMax(Extremum):
    """Maximum over mapped axes."""

    axes: tuple[Any, ...]

    def reduce(self, x: Array, dim: int) -> Array:
        return ops.reduce.reduce_max(x, (dim,))


@final
@primitive("pmin")
class PMin(Extremum):
    """Minimum over mapped axes."""

    axes: tuple[Any, ...]

    def reduce(self, x: Array, dim: int) -> Array:
        return ops.reduce.reduce_min(x, (dim,))


@final
@primitive("axis_index")
class AxisIndex(Primitive):
    """The position of an example along a mapped axis."""

    axis_name: Any

    @property
    def axis_names(self) -> tuple[Any, ...]:
        return (self.axis_name,)

    def abstract(self) -> ShapedArray:
        return ShapedArray((), np.dtype(np.int32))

    def impl(self, xp: Any) -> NoReturn:
        raise unbound(self)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int | None]:
        return ops.shape.broadcasted_iota(np.int32, (axis.size,), 0), 0


def axis_size(axis_name: AxisName) -> int:
    """The number of examples along a mapped axis, or along several together.

    Raises: UnboundAxisNameError when no enclosing vmap has the name.
    """
    size = 1
    for name in axis_names_of(axis_name):
        size *= size_of_axis(name)
    return size


def axis_index(axis_name: AxisName) -> Array:
    """The position of the example along a mapped axis; along several, the last varies fastest.

    Returns an int32 scalar.
    Raises: UnboundAxisNameError when no enclosing vmap has the name.
    """
    names = axis_names_of(axis_name)
    for name in names:
        size_of_axis(name)
    if not isinstance(axis_name, tuple):
        return AxisIndex(axis_name).bind()
    index, stride = lift(0, np.dtype(np.int32)), 1
    for name in reversed(names):
        index = add(index, mul(AxisIndex(name).bind(), stride))
        stride *= size_of_axis(name)
    return index


def psum(x: Any, axis_name: AxisName, *, axis_index_groups: None = None) -> Any:
    """The sum of `x` over the examples of a mapped axis.

    x: a tree of arrays. Bools count as int32. A value that is the same in all examples is
        multiplied by their number; of a Python scalar this is a Python scalar: psum(1, name) is
        the size of the axis.
    axis_name: the `axis_name` of an enclosing vmap, or a tuple of several.
    axis_index_groups: must be None, since vmap has no groups of examples (nor has JAX's).
    Raises: UnboundAxisNameError when no enclosing vmap has the name; OptionError.
    """
    check_no_groups("psum", axis_index_groups)
    names, size = axis_names_of(axis_name), axis_size(axis_name)

    def one(leaf: Any) -> Any:
        if isinstance(leaf, (int, float, complex)):
            return leaf * size
        value = lift(leaf, what="psum")
        if dtypes.is_bool(value.dtype):
            value = convert_element_type(value, np.int32)
        if not names:
            return value
        return PSum(names).bind(value) if isinstance(value, Tracer) else mul(value, size)

    return tree.map(one, x)


def pmean(x: Any, axis_name: AxisName, *, axis_index_groups: None = None) -> Any:
    """The mean of `x` over the examples of a mapped axis; arguments as in `psum`.

    Integers give a float.
    """
    check_no_groups("pmean", axis_index_groups)
    size = axis_size(axis_name)

    def one(leaf: Any) -> Any:
        if isinstance(leaf, (int, float, complex)):
            return leaf * size / size
        value = lift(leaf, what="pmean")
        inexact = convert_element_type(value, dtypes.to_inexact(value.dtype))
        return div(psum(inexact, axis_name), size)

    return tree.map(one, x)


def pmax(x: Any, axis_name: AxisName, *, axis_index_groups: None = None) -> Any:
    """The maximum of `x` over the examples of a mapped axis; arguments as in `psum`.

    Differentiable: the tangent is that of the largest value, the mean of them at a tie.
    """
    check_no_groups("pmax", axis_index_groups)
    return _extremum(PMax, x, axis_name)


def pmin(x: Any, axis_name: AxisName, *, axis_index_groups: None = None) -> Any:
    """The minimum of `x` over the examples of a mapped axis; arguments as in `psum`.

    Differentiable: the tangent is that of the smallest value, the mean of them at a tie.
    """
    check_no_groups("pmin", axis_index_groups)
    return _extremum(PMin, x, axis_name)


def _extremum(kind: Callable[[tuple[Any, ...]], Extremum], x: Any, axis_name: AxisName) -> Any:
    axis_size(axis_name)
    names = axis_names_of(axis_name)
    return tree.map(lambda leaf: kind(names).bind(leaf) if names else lift(leaf), x)


def check_no_groups(what: str, axis_index_groups: Any) -> None:
    """Raises OptionError for groups of examples, which only devices have."""
    if axis_index_groups is not None:
        raise OptionError(
            f"{what}: axis_index_groups must be None under vmap, got {axis_index_groups}; "
            "nest two vmaps, and name the inner axis"
        )


def axis_names_of(axis_name: Any) -> tuple[Any, ...]:
    """One name, or a tuple of names, as a tuple. Raises OptionError for a name given twice."""
    names = axis_name if isinstance(axis_name, tuple) else (axis_name,)
    if len(set(names)) != len(names):
        raise OptionError(f"collective: axis names must be distinct, got {axis_name}")
    return names

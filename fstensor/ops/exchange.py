"""Collectives that move values between the examples of a vmap.

Each primitive works over one named axis; a function given several names applies it once for each,
or gathers over all of them. In its batch rule a collective finds the named axis as an axis of its
operand, so that each is a rearrangement of axes there. All are linear, and the transpose of each is
another of them.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn, final

import numpy as np

from fstensor import dtypes, tree
from fstensor.array import Array, lift, normalize_axis
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import MappedAxis, Primitive, Value, primitive
from fstensor.errors import OptionError, ShapeError
from fstensor.ops.collectives import (
    AxisName,
    axis_index,
    axis_names_of,
    axis_size,
    check_no_groups,
    unbound,
)
from fstensor.ops.convert import convert_element_type
from fstensor.ops.elementwise import mul
from fstensor.ops.families import ANY, NUMBER, Kind, constant
from fstensor.ops.gather import GatherDimensionNumbers, GatherScatterMode, gather
from fstensor.ops.index import batch_first, dynamic_index_in_dim, index_in_dim
from fstensor.ops.reduce import reduce_sum
from fstensor.ops.shape import broadcast_in_dim, moveaxis, reshape, transpose


class Exchange(Primitive):
    """A linear rearrangement of values over one mapped axis."""

    axis_name: Any
    takes: ClassVar[Kind] = ANY

    @property
    def axis_names(self) -> tuple[Any, ...]:
        return (self.axis_name,)

    @abstractmethod
    def exchange(self, x: Array, dim: int | None, size: int) -> tuple[Array, int | None]:
        """The batch of results when the named axis, of `size`, is axis `dim` of `x`."""

    def behind(self) -> Exchange:
        """The same on operands with a batch axis in front."""
        return self

    def impl(self, xp: Any, x: Any) -> NoReturn:
        raise unbound(self)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(*tangents)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int | None]:
        x, dim = args[0], dims[0]
        if axis.name == self.axis_name:
            return self.exchange(x, dim, axis.size)
        return self.behind().bind(moveaxis(x, dim, 0)), 0


def _stretched(x: Array, axis: int, size: int) -> Array:
    """`x` repeated along a new axis."""
    shape = (*x.shape[:axis], size, *x.shape[axis:])
    return broadcast_in_dim(x, shape, [i for i in range(len(shape)) if i != axis])


@final
@primitive("all_gather")
class AllGather(Exchange):
    """The values of all examples, along a new axis that stands at `all_gather_dimension`."""

    all_gather_dimension: int
    axis_name: Any
    axis_size: int

    def abstract(self, x: ShapedArray) -> ShapedArray:
        d = self.all_gather_dimension
        return x.update(shape=(*x.shape[:d], self.axis_size, *x.shape[d:]))

    def exchange(self, x: Array, dim: int | None, size: int) -> tuple[Array, None]:
        d = self.all_gather_dimension
        return (_stretched(x, d, size) if dim is None else moveaxis(x, dim, d)), None

    def behind(self) -> AllGather:
        return AllGather(self.all_gather_dimension + 1, self.axis_name, self.axis_size)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [ReduceScatter(self.axis_name, self.axis_size, self.all_gather_dimension).bind(ct)]


@final
@primitive("reduce_scatter")
class ReduceScatter(Exchange):
    """Sum over the examples, of which example i keeps index i along `scatter_dimension`."""

    axis_name: Any
    axis_size: int
    scatter_dimension: int

    takes = NUMBER

    def abstract(self, x: ShapedArray) -> ShapedArray:
        self.takes.check(self.name, x)
        _check_size(self.name, x, self.scatter_dimension, self.axis_size)
        d = self.scatter_dimension
        return x.update(shape=x.shape[:d] + x.shape[d + 1 :])

    def exchange(self, x: Array, dim: int | None, size: int) -> tuple[Array, int]:
        if dim is None:
            return mul(x, constant(size, x)), self.scatter_dimension
        return reduce_sum(x, (dim,)), self.scatter_dimension

    def behind(self) -> ReduceScatter:
        return ReduceScatter(self.axis_name, self.axis_size, self.scatter_dimension + 1)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [AllGather(self.scatter_dimension, self.axis_name, self.axis_size).bind(ct)]


@final
@primitive("all_to_all")
class AllToAll(Exchange):
    """Example i gets index i along `split_axis` from all, stacked along a new `concat_axis`."""

    axis_name: Any
    axis_size: int
    concat_axis: int
    split_axis: int

    def abstract(self, x: ShapedArray) -> ShapedArray:
        _check_size(self.name, x, self.split_axis, self.axis_size)
        rest = x.shape[: self.split_axis] + x.shape[self.split_axis + 1 :]
        c = self.concat_axis
        return x.update(shape=(*rest[:c], self.axis_size, *rest[c:]))

    def exchange(self, x: Array, dim: int | None, size: int) -> tuple[Array, int]:
        if dim is None:
            return _stretched(moveaxis(x, self.split_axis, 0), 1 + self.concat_axis, size), 0
        split = self.split_axis + (self.split_axis >= dim)
        order = [i for i in range(x.ndim) if i not in (dim, split)]
        order.insert(self.concat_axis, dim)
        return transpose(x, (split, *order)), 0

    def behind(self) -> AllToAll:
        split, concat = self.split_axis + 1, self.concat_axis + 1
        return AllToAll(self.axis_name, self.axis_size, concat, split)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        back = AllToAll(self.axis_name, self.axis_size, self.split_axis, self.concat_axis)
        return [back.bind(ct)]


@final
@primitive("ppermute")
class PPermute(Exchange):
    """Example `target` gets the value of example `source`, zero where no pair names it."""

    axis_name: Any
    perm: tuple[tuple[int, int], ...]

    def abstract(self, x: ShapedArray) -> ShapedArray:
        return x

    def exchange(self, x: Array, dim: int | None, size: int) -> tuple[Array, int | None]:
        if dim is None and len(self.perm) == size:
            return x, None
        sources = np.full(size, size, np.int32)  # beyond the end: filled with 0
        for source, target in self.perm:
            sources[target] = source
        return _rows(batch_first(x, dim, size), sources), 0

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        back = tuple(sorted([(target, source) for source, target in self.perm]))
        return [PPermute(self.axis_name, back).bind(ct)]


def _rows(x: Array, places: np.ndarray[Any, Any]) -> Array:
    """The rows of `x` at `places`, 0 where there is none."""
    numbers = GatherDimensionNumbers(tuple(range(1, x.ndim)), (0,), (0,))
    return gather(
        x,
        places[:, None],
        numbers,
        (1, *x.shape[1:]),
        mode=GatherScatterMode.FILL_OR_DROP,
        fill_value=0,
    )


def _check_size(what: str, x: ShapedArray, axis: int, size: int) -> None:
    if x.shape[axis] != size:
        raise ShapeError(
            f"{what}: axis {axis} must have an index for each of the {size} examples, got {x}; "
            "with tiled=True its size may be a multiple of their number"
        )


def _parts(what: str, x: Array, axis: int, size: int) -> Array:
    """Axis `axis` of a tiled operand as two: the part for each example, and what is in it."""
    if x.shape[axis] % size:
        raise ShapeError(
            f"{what}: the size of axis {axis} must be a multiple of the number of examples, "
            f"got {x.aval} for {size}"
        )
    return reshape(x, (*x.shape[:axis], size, x.shape[axis] // size, *x.shape[axis + 1 :]))


def _joined(x: Array, axis: int) -> Array:
    """Axes `axis` and `axis + 1` as one."""
    n, k = x.shape[axis : axis + 2]
    return reshape(x, (*x.shape[:axis], n * k, *x.shape[axis + 2 :]))


def all_gather(
    x: Any,
    axis_name: AxisName,
    *,
    axis_index_groups: None = None,
    axis: int = 0,
    tiled: bool = False,
) -> Any:
    """The values of `x` in all examples of a mapped axis, for each of them.

    x: a tree of arrays.
    axis_name: the `axis_name` of an enclosing vmap, or a tuple of several, the last of which varies
        fastest.
    axis: where the axis of the examples stands in the result.
    tiled: join it with that axis of `x`, as its major part, in place of a new axis.
    axis_index_groups: must be None, as in `psum`.
    Raises: UnboundAxisNameError when no enclosing vmap has the name; AxisError, OptionError.
    """
    check_no_groups("all_gather", axis_index_groups)
    names, size = axis_names_of(axis_name), axis_size(axis_name)

    def one(leaf: Any) -> Array:
        value = lift(leaf, what="all_gather")
        place = normalize_axis(axis, value.ndim + (not tiled), "all_gather")
        out = value
        for name in reversed(names):
            out = AllGather(place, name, axis_size(name)).bind(out)
        for _ in names[1:]:
            out = _joined(out, place)
        if not names:
            out = _stretched(out, place, size)
        return _joined(out, place) if tiled else out

    return tree.map(one, x)


def psum_scatter(
    x: Any,
    axis_name: AxisName,
    *,
    scatter_dimension: int = 0,
    axis_index_groups: None = None,
    tiled: bool = False,
) -> Any:
    """The sum of `x` over the examples of a mapped axis, of which each keeps its part.

    x: a tree of arrays. Bools count as int32.
    axis_name: as in `all_gather`, of which this is the transpose.
    scatter_dimension: the axis of `x` that is cut in parts. It has an index for each example and
        is dropped; with `tiled` its size is a multiple of their number, and what is left stays.
    axis_index_groups: must be None, as in `psum`.
    Raises: ShapeError when the size does not fit; UnboundAxisNameError, AxisError, OptionError.
    """
    check_no_groups("psum_scatter", axis_index_groups)
    names, size = axis_names_of(axis_name), axis_size(axis_name)

    def one(leaf: Any) -> Array:
        value = lift(leaf, what="psum_scatter")
        if dtypes.is_bool(value.dtype):
            value = convert_element_type(value, np.int32)
        place = normalize_axis(scatter_dimension, value.ndim, "psum_scatter")
        if tiled:
            value = _parts("psum_scatter", value, place, size)
        _check_size("psum_scatter", value.aval, place, size)
        for name in names:
            n = axis_size(name)
            value = _parts("psum_scatter", value, place, n)
            value = ReduceScatter(name, n, place).bind(value)
        return reshape(value, value.shape[:place] + value.shape[place + 1 :])

    return tree.map(one, x)


def all_to_all(
    x: Any,
    axis_name: AxisName,
    split_axis: int,
    concat_axis: int,
    *,
    axis_index_groups: None = None,
    tiled: bool = False,
) -> Any:
    """Exchange of parts: example i gets part i of `x` from every example.

    x: a tree of arrays.
    axis_name: as in `all_gather`.
    split_axis: the axis of `x` whose indices are the parts. It has an index for each example and is
        dropped; with `tiled` its size is a multiple of their number, and what is left stays.
    concat_axis: where the axis of the examples that the parts come from stands in the result; with
        `tiled` it is joined with that axis of `x`, as its major part.
    axis_index_groups: must be None, as in `psum`.
    Raises: ShapeError when the size does not fit; UnboundAxisNameError, AxisError, OptionError.
    """
    check_no_groups("all_to_all", axis_index_groups)
    names, size = axis_names_of(axis_name), axis_size(axis_name)

    def one(leaf: Any) -> Array:
        value = lift(leaf, what="all_to_all")
        split = normalize_axis(split_axis, value.ndim, "all_to_all")
        concat = normalize_axis(concat_axis, value.ndim, "all_to_all")
        if tiled:
            value = _parts("all_to_all", value, split, size)
        _check_size("all_to_all", value.aval, split, size)
        # The parts' axis is moved through the names: each takes its share of it and leaves, in the
        # same place, the axis of the examples it came from.
        value = reshape(
            value, (*value.shape[:split], *map(axis_size, names), *value.shape[split + 1 :])
        )
        for i, name in enumerate(names):
            value = AllToAll(name, axis_size(name), split + i, split + i).bind(value)
        shape = (*value.shape[:split], size, *value.shape[split + len(names) :])
        value = moveaxis(reshape(value, shape), split, concat)
        return _joined(value, concat) if tiled else value

    return tree.map(one, x)


def ppermute(x: Any, axis_name: AxisName, perm: Sequence[tuple[int, int]]) -> Any:
    """Each example named second in a pair of `perm` gets the value of the one named first.

    x: a tree of arrays.
    axis_name: as in `all_gather`.
    perm: pairs (source, target) of positions. None may be a source twice or a target twice.
        An example that is no target gets zeros, where JAX's vmap demands a whole permutation.
    Raises: OptionError for pairs that do not fit; UnboundAxisNameError.
    """
    names, size = axis_names_of(axis_name), axis_size(axis_name)
    pairs = tuple([(operator.index(source), operator.index(target)) for source, target in perm])
    for side in zip(*pairs, strict=True):
        if len(set(side)) != len(side) or not all(0 <= i < size for i in side):
            raise OptionError(
                f"ppermute: sources, and targets, must be distinct positions below {size}, "
                f"got {list(pairs)}"
            )
    if len(names) == 1:
        return tree.map(lambda leaf: PPermute(names[0], pairs).bind(leaf), x)
    sources = np.full(size, size, np.int32)
    for source, target in pairs:
        sources[target] = source

    def one(leaf: Any) -> Array:
        moved = _rows(all_gather(leaf, names), sources)
        return dynamic_index_in_dim(moved, axis_index(names), 0, keepdims=False)

    return tree.map(one, x)


def pshuffle(x: Any, axis_name: AxisName, perm: Sequence[int]) -> Any:
    """Example i gets the value of example perm[i]. See `ppermute`.

    Raises: OptionError when `perm` does not name each example once; UnboundAxisNameError.
    """
    sources = [operator.index(i) for i in perm]
    if sorted(sources) != list(range(axis_size(axis_name))):
        raise OptionError(
            f"pshuffle: perm must name each of the {axis_size(axis_name)} examples once, "
            f"got {sources}"
        )
    return ppermute(x, axis_name, [(source, i) for i, source in enumerate(sources)])


def pbroadcast(x: Any, axis_name: AxisName, source: int) -> Any:
    """The value of example `source`, for each example of a mapped axis.

    Raises: OptionError when there is no such example; UnboundAxisNameError.
    """
    size = axis_size(axis_name)
    if not 0 <= operator.index(source) < size:
        raise OptionError(f"pbroadcast: source must be a position below {size}, got {source}")
    return tree.map(
        lambda leaf: index_in_dim(all_gather(leaf, axis_name), source, 0, keepdims=False), x
    )


def pswapaxes(x: Any, axis_name: AxisName, axis: int, *, axis_index_groups: None = None) -> Any:
    """Exchange of the mapped axis with axis `axis` of `x`: `all_to_all` with one axis for both."""
    return all_to_all(x, axis_name, axis, axis, axis_index_groups=axis_index_groups)

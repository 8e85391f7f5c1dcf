"""Reductions over axes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar, final

import numpy as np

from fstensor import dtypes, ops, tree
from fstensor.array import (
    Array,
    ArrayLike,
    ConcreteArray,
    DtypeLike,
    lift,
    normalize_axes,
    normalize_axis,
)
from fstensor.core.affine import Affine, Index
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, MappedAxis, Primitive, Value, primitive
from fstensor.core.trace import JaxprTrace, current_trace
from fstensor.errors import AxisError, DtypeError, ShapeError, TreeError
from fstensor.ops.elementwise import div, mul
from fstensor.ops.families import BITS, NUMERIC, ORDERED, Kind, beside, check_same_dtype


class Reduction(Primitive):
    """Combines the elements along `axes`, which the result lacks."""

    axes: tuple[int, ...]
    takes: ClassVar[Kind] = NUMERIC
    result_is_apart = True
    # The operation of `core.scalar` that combines two elements. "" where there is none.
    combines_by: ClassVar[str] = ""

    def abstract(self, x: ShapedArray) -> ShapedArray:
        self.takes.check(self.name, x)
        if any(not 0 <= a < x.ndim for a in self.axes) or len(set(self.axes)) < len(self.axes):
            raise AxisError(f"{self.name}: axes must exist and differ, got {self.axes} for {x}")
        return x.update(shape=tuple([n for i, n in enumerate(x.shape) if i not in self.axes]))

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        d = dims[0]
        assert d is not None
        axes = tuple([a + (a >= d) for a in self.axes])
        # The batch moves forward by the reduced axes before it.
        return self.over(axes).bind(args[0]), d - sum(a < d for a in axes)

    def source_index(self, index: Index, x: ShapedArray) -> Index | None:
        if any(x.shape[a] != 1 for a in self.axes):
            return None
        kept = iter(index)
        return tuple([Affine(0) if d in self.axes else next(kept) for d in range(x.ndim)])

    def over(self, axes: tuple[int, ...]) -> Reduction:
        """The same reduction over other axes."""
        return type(self)(axes)  # type: ignore[call-arg]  # a dataclass in every final class


def wide_accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype to accumulate in: float32 for floats of 16 bits and fewer, so as to round once."""
    small = dtypes.is_float(dtype) and dtype.itemsize < 4
    return np.dtype(np.float32) if small else dtype


@final
@primitive("reduce_sum")
class ReduceSum(Reduction):
    """Sum over `axes`. For bools: logical or."""

    axes: tuple[int, ...]
    combines_by = "add"

    def impl(self, xp: Any, x: Any) -> Any:
        return x.sum(self.axes, wide_accumulator(x.dtype)).astype(x.dtype, copy=False)

    def on_numpy(self, *avals: ShapedArray) -> Callable[..., Any]:
        dtype = avals[0].dtype
        if wide_accumulator(dtype) == dtype:
            return functools.partial(np.add.reduce, axis=self.axes, dtype=dtype)
        return super().on_numpy(*avals)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(*tangents)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        kept = tuple([i for i in range(x.ndim) if i not in self.axes])
        return [ops.shape.broadcast_in_dim(ct, x.shape, kept)]


@final
@primitive("reduce_prod")
class ReduceProd(Reduction):
    """Product over `axes`. For bools: logical and.

    Its tangent is the sum of t_i times the product of all other x_j, formed from the products
    before and after i: no division, hence right also where elements are zero.
    """

    axes: tuple[int, ...]
    combines_by = "mul"

    def impl(self, xp: Any, x: Any) -> Any:
        return x.prod(self.axes, wide_accumulator(x.dtype)).astype(x.dtype, copy=False)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        out = self.bind(x)
        rows, directions = _front(x, self.axes), _front(t, self.axes)
        others = mul(_product_of_earlier(rows), _product_of_earlier(rows, reverse=True))
        return out, ReduceSum((0,)).bind(mul(directions, others))


def _product_of_earlier(x: Array, reverse: bool = False) -> Array:
    """For each element along axis 0 the product of those before it, or after it."""
    inclusive = ops.cumulative.cumprod(x, 0, reverse)
    shift = (-1, 1, 0) if reverse else (1, -1, 0)
    if x.shape[0] == 0:
        return inclusive
    return ops.index.pad(inclusive, 1, (shift, *[(0, 0, 0)] * (x.ndim - 1)))


class Extremum(Reduction):
    """The largest or smallest element along `axes`; NaN when one is NaN.

    The slope is shared evenly between the elements that tie.
    """

    takes = ORDERED

    def abstract(self, x: ShapedArray) -> ShapedArray:
        out = super().abstract(x)
        check_some_element(self.name, x, self.axes)
        return out

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        out = self.bind(x)
        spread = [1 if i in self.axes else n for i, n in enumerate(x.shape)]
        found = ops.logical.eq(x, ops.shape.reshape(out, spread))
        location = ops.convert.convert_element_type(found, t.dtype)
        count = ReduceSum(self.axes).bind(location)
        return out, div(ReduceSum(self.axes).bind(mul(t, location)), count)


def check_some_element(what: str, x: ShapedArray, axes: Sequence[int]) -> None:
    """Raises ShapeError when there is nothing along `axes` to choose from."""
    if any(x.shape[a] == 0 for a in axes):
        raise ShapeError(
            f"{what}: needs at least one element along each reduced axis, got {x} over axes "
            f"{tuple(axes)}; an empty set has no largest or smallest element"
        )


@final
@primitive("reduce_max")
class ReduceMax(Extremum):
    """Maximum over `axes`. For bools: logical or."""

    axes: tuple[int, ...]
    combines_by = "max"

    def impl(self, xp: Any, x: Any) -> Any:
        return x.max(self.axes)


@final
@primitive("reduce_min")
class ReduceMin(Extremum):
    """Minimum over `axes`. For bools: logical and."""

    axes: tuple[int, ...]
    combines_by = "min"

    def impl(self, xp: Any, x: Any) -> Any:
        return x.min(self.axes)


def _reduce_bits(xp: Any, ufunc: Any, x: Any, axes: tuple[int, ...], start: int) -> Any:
    """The reduction by a ufunc of bits. CuPy's have none: there, halves are combined."""
    if xp is np:
        return ufunc.reduce(x, axes)
    kept = [n for i, n in enumerate(x.shape) if i not in axes]
    count = math.prod([x.shape[a] for a in axes])
    if count == 0:
        return xp.full(kept, start, x.dtype)
    rows = xp.moveaxis(x, axes, range(len(axes))).reshape(count, *kept)
    while rows.shape[0] > 1:
        half = rows.shape[0] // 2
        merged = ufunc(rows[:half], rows[half : 2 * half])
        rows = xp.concatenate((merged, rows[2 * half :]))
    return rows[0]


@final
@primitive("reduce_and")
class ReduceAnd(Reduction):
    """Bitwise and over `axes`; all bits set when there are no elements."""

    axes: tuple[int, ...]
    combines_by = "and"
    takes = BITS

    def impl(self, xp: Any, x: Any) -> Any:
        return _reduce_bits(xp, xp.bitwise_and, x, self.axes, neutral("and", x.dtype))


@final
@primitive("reduce_or")
class ReduceOr(Reduction):
    """Bitwise or over `axes`; no bit set when there are no elements."""

    axes: tuple[int, ...]
    combines_by = "or"
    takes = BITS

    def impl(self, xp: Any, x: Any) -> Any:
        return _reduce_bits(xp, xp.bitwise_or, x, self.axes, 0)


@final
@primitive("reduce_xor")
class ReduceXor(Reduction):
    """Bitwise exclusive or over `axes`; no bit set when there are no elements."""

    axes: tuple[int, ...]
    combines_by = "xor"
    takes = BITS

    def impl(self, xp: Any, x: Any) -> Any:
        return _reduce_bits(xp, xp.bitwise_xor, x, self.axes, 0)


class ArgExtremum(Reduction):
    """The index along one axis of its first largest or smallest element; NaN comes before all."""

    index_dtype: np.dtype[Any]
    takes = ORDERED
    # The operation of `ScalarOps` that gives the element whose index it is.
    seeks: ClassVar[str]

    def abstract(self, x: ShapedArray) -> ShapedArray:
        out = super().abstract(x)
        if len(self.axes) != 1:
            raise AxisError(f"{self.name}: takes one axis, got {self.axes} for {x}")
        check_some_element(self.name, x, self.axes)
        size = x.shape[self.axes[0]]
        if not dtypes.is_integer(self.index_dtype):
            raise DtypeError(
                f"{self.name}: index_dtype must be an integer dtype, "
                f"got {dtypes.name(self.index_dtype)}"
            )
        if size - 1 > dtypes.iinfo(self.index_dtype).max:
            raise DtypeError(
                f"{self.name}: index_dtype must hold every index, got "
                f"{dtypes.name(self.index_dtype)} for {size} elements of {x}"
            )
        return ShapedArray(out.shape, self.index_dtype)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), ZERO

    def over(self, axes: tuple[int, ...]) -> Reduction:
        return type(self)(axes, self.index_dtype)  # type: ignore[call-arg]  # dataclasses, both


@final
@primitive("argmax")
class ArgMax(ArgExtremum):
    """Index of the first maximum along an axis."""

    axes: tuple[int, ...]
    index_dtype: np.dtype[Any]
    seeks = "max"

    def impl(self, xp: Any, x: Any) -> Any:
        return x.argmax(self.axes[0]).astype(self.index_dtype)


@final
@primitive("argmin")
class ArgMin(ArgExtremum):
    """Index of the first minimum along an axis."""

    axes: tuple[int, ...]
    index_dtype: np.dtype[Any]
    seeks = "min"

    def impl(self, xp: Any, x: Any) -> Any:
        return x.argmin(self.axes[0]).astype(self.index_dtype)


R = TypeVar("R", bound=Reduction)


def _reduction(cls: type[R], summary: str) -> Callable[[ArrayLike, Sequence[int]], Array]:
    """The function that applies a reduction over axes; over none it returns the operand."""

    def function(operand: ArrayLike, axes: Sequence[int]) -> Array:
        x = lift(operand, what=cls.name)
        chosen = normalize_axes(tuple(axes), x.ndim, cls.name)
        return cls(chosen).bind(x) if chosen else x  # type: ignore[call-arg]  # dataclasses, all

    function.__name__ = function.__qualname__ = cls.name
    function.__doc__ = summary
    return function


reduce_sum = _reduction(
    ReduceSum,
    """Sum of `operand` over `axes`. Small floats are summed in float32. No axes: the operand.

    Raises: AxisError for an axis that does not exist.
    """,
)
reduce_prod = _reduction(
    ReduceProd,
    """Product of `operand` over `axes`. The gradient holds at zeros too. No axes: the operand.

    Raises: AxisError for an axis that does not exist.
    """,
)
reduce_max = _reduction(
    ReduceMax,
    """Maximum of `operand` over `axes`, NaN when an element is. No axes: the operand itself.

    Raises: ShapeError for an axis without elements, AxisError for one that does not exist,
    DtypeError for complex numbers.
    """,
)
reduce_min = _reduction(
    ReduceMin,
    """Minimum of `operand` over `axes`, NaN when an element is. No axes: the operand itself.

    Raises: ShapeError for an axis without elements, AxisError for one that does not exist,
    DtypeError for complex numbers.
    """,
)
reduce_and = _reduction(
    ReduceAnd,
    """Bitwise and of `operand` over `axes`, logical for bools. No axes: the operand itself.

    Raises: DtypeError unless it is of an integer dtype or bool; AxisError.
    """,
)
reduce_or = _reduction(
    ReduceOr,
    """Bitwise or of `operand` over `axes`, logical for bools. No axes: the operand itself.

    Raises: DtypeError unless it is of an integer dtype or bool; AxisError.
    """,
)
reduce_xor = _reduction(
    ReduceXor,
    """Bitwise exclusive or of `operand` over `axes`, logical for bools. No axes: the operand.

    Raises: DtypeError unless it is of an integer dtype or bool; AxisError.
    """,
)


def argmax(operand: ArrayLike, axis: int, index_dtype: DtypeLike) -> Array:
    """Index of the first maximum along `axis`, as `index_dtype`; of the first NaN if there is one.

    Raises: ShapeError for an axis without elements, AxisError, DtypeError for complex numbers and
    for an index dtype that cannot hold every index.
    """
    x = lift(operand, what="argmax")
    axes = (normalize_axis(axis, x.ndim, "argmax"),)
    return ArgMax(axes, dtypes.canonical(index_dtype)).bind(x)


def argmin(operand: ArrayLike, axis: int, index_dtype: DtypeLike) -> Array:
    """Index of the first minimum along `axis`, as `index_dtype`; of the first NaN if there is one.

    Raises: ShapeError for an axis without elements, AxisError, DtypeError for complex numbers and
    for an index dtype that cannot hold every index.
    """
    x = lift(operand, what="argmin")
    axes = (normalize_axis(axis, x.ndim, "argmin"),)
    return ArgMin(axes, dtypes.canonical(index_dtype)).bind(x)


def neutral(monoid: str, dtype: np.dtype[Any]) -> Any:
    """The value that changes nothing: for "add", "mul", "max", "min", "and", "or" or "xor"."""
    if monoid in ("add", "or", "xor"):
        return 0
    if monoid == "mul":
        return 1
    if monoid == "and":
        return True if dtypes.is_bool(dtype) else np.bitwise_not(np.zeros((), dtype)).item()
    lowest = monoid == "max"
    if dtypes.is_bool(dtype):
        return not lowest
    if dtypes.is_integer(dtype):
        bounds = dtypes.iinfo(dtype)
        return bounds.min if lowest else bounds.max
    infinity = -np.inf if lowest else np.inf
    if np.isinf(np.asarray(infinity).astype(dtype)):
        return infinity
    return float(dtypes.finfo(dtype).min if lowest else dtypes.finfo(dtype).max)


def is_neutral(x: Array, monoid: str) -> bool:
    """Whether `x` is known to be the neutral scalar."""
    return isinstance(x, ConcreteArray) and bool(x._buffer.item() == neutral(monoid, x.dtype))


_MONOIDS = ("add", "mul", "max", "min", "and", "or", "xor")


def monoid_of(computation: Callable[[Any, Any], Any], dtype: np.dtype[Any]) -> str:
    """The name of the one operation that `computation` applies to two scalars, "" for others."""
    trace = JaxprTrace("reduce", getattr(computation, "__name__", "computation"))
    scalar = ShapedArray((), dtype)
    operands = [trace.new_input(scalar), trace.new_input(scalar)]
    try:
        with current_trace(trace):
            out = computation(*operands)
        eqns = trace.builder.eqns
        if len(eqns) != 1 or not isinstance(out, Array) or trace.atom(out) not in eqns[0].outvars:
            return ""
        x, y = map(trace.atom, operands)
        name = eqns[0].primitive.name
        return name if name in _MONOIDS and eqns[0].invars in ([x, y], [y, x]) else ""
    finally:
        trace.alive = False


_BY_MONOID: dict[str, Callable[[ArrayLike, Sequence[int]], Array]] = {
    "add": reduce_sum,
    "mul": reduce_prod,
    "max": reduce_max,
    "min": reduce_min,
    "and": reduce_and,
    "or": reduce_or,
    "xor": reduce_xor,
}


def reduce(
    operands: Any,
    init_values: Any,
    computation: Callable[[Any, Any], Any],
    dimensions: Sequence[int],
) -> Any:
    """Combines the elements of `operands` over the axes `dimensions`, and the initial values.

    operands: an array, or a tree of arrays of one shape, reduced together.
    init_values: a scalar for each, combined once with each result.
    computation: an associative function of two arrays (two trees), applied elementwise. `lax.add`,
        `mul`, `max`, `min`, `bitwise_and`, `bitwise_or` and `bitwise_xor`, and functions that do
        the same, have operations of their own; with others neighbours are combined until one is
        left.
    Raises: ShapeError, DtypeError or TreeError when operands and initial values do not fit;
        AxisError.
    """
    leaves, structure = tree.flatten(operands)
    starts, start_structure = tree.flatten(init_values)
    if structure != start_structure:
        raise TreeError(
            "reduce: operands and initial values must have one structure; "
            f"{tree.describe_mismatch(structure, init_values)}"
        )
    xs = [lift(x, what="reduce") for x in leaves]
    inits = [beside(v, x, "reduce") for v, x in zip(starts, xs, strict=True)]
    for x, init in zip(xs, inits, strict=True):
        check_same_dtype("reduce", (x.aval, init.aval))
        if x.shape != xs[0].shape or init.ndim:
            got = ", ".join([str(a.aval) for a in (*xs, *inits)])
            raise ShapeError(
                f"reduce: operands must have one shape, and initial values none, got {got}"
            )
    if not xs:
        return operands
    axes = normalize_axes(tuple(dimensions), xs[0].ndim, "reduce")
    if structure.is_leaf():
        (x,), (init,) = xs, inits
        monoid = monoid_of(computation, x.dtype)
        if monoid and 0 not in [x.shape[a] for a in axes]:
            inside = _BY_MONOID[monoid](x, axes)
            return (
                inside if is_neutral(init, monoid) else computation(_spread(init, inside), inside)
            )

    def combine(first: list[Array], second: list[Array]) -> list[Array]:
        out = computation(tree.unflatten(structure, first), tree.unflatten(structure, second))
        return tree.leaves(out)

    rows = [_front(x, axes) for x in xs]
    kept = [n for i, n in enumerate(xs[0].shape) if i not in axes]
    if rows[0].shape[0] == 0:
        return tree.unflatten(structure, [ops.shape.broadcast_in_dim(v, kept, ()) for v in inits])
    while (count := rows[0].shape[0]) > 1:
        even = [_rows(x, 0, count - 1, 2) for x in rows]
        merged = combine(even, [_rows(x, 1, count, 2) for x in rows])
        left = [_rows(x, count - 1, count, 1) for x in rows] if count % 2 else []
        if left:
            merged = [ops.arrange.concatenate(p, 0) for p in zip(merged, left, strict=True)]
        rows = merged
    totals = [ops.shape.reshape(x, kept) for x in rows]
    spread = [_spread(v, x) for v, x in zip(inits, totals, strict=True)]
    return tree.unflatten(structure, combine(spread, totals))


def _front(x: Array, axes: tuple[int, ...]) -> Array:
    """The axes to reduce as one axis in front."""
    kept = [i for i in range(x.ndim) if i not in axes]
    count = math.prod([x.shape[a] for a in axes])
    shape = (count, *[x.shape[i] for i in kept])
    return ops.shape.reshape(ops.shape.transpose(x, (*axes, *kept)), shape)


def _rows(x: Array, start: int, limit: int, stride: int) -> Array:
    return ops.index.slice_in_dim(x, start, limit, stride, 0)


def _spread(scalar: Array, like: Array) -> Array:
    return ops.shape.broadcast_in_dim(scalar, like.shape, ())

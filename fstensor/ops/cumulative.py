"""Cumulative reductions: each element is combined with all before it along one axis.

The derivatives of those that are not linear follow a scan by pairs: neighbours are combined, the
half as many results are scanned, and the elements between are combined with the one before. That
takes about 2 n combinations in 2 log2(n) steps (G. Blelloch, "Prefix sums and their applications",
1990). Its tree is that of JAX, so that ties are shared as there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias, TypeVar, final

import numpy as np

from fstensor.array import Array, ArrayLike, lift, normalize_axis
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import MappedAxis, Primitive, Value, primitive
from fstensor.errors import AxisError
from fstensor.ops.arrange import concatenate, rev
from fstensor.ops.elementwise import Max, Min, Mul, abs, add, add_any, mul, sub
from fstensor.ops.families import FLOAT, NUMBER, ORDERED, Kind, constant
from fstensor.ops.index import pad, slice_in_dim
from fstensor.ops.logical import eq, ge, where
from fstensor.ops.reduce import wide_accumulator
from fstensor.ops.transcendental import exp, log1p

# A value and its tangent.
Dual: TypeAlias = tuple[Array, Array]


class Cumulative(Primitive):
    """Combines each element with all before it along `axis`, or with all behind it."""

    axis: int
    reverse: bool
    takes: ClassVar[Kind] = NUMBER
    # What elements are combined by in kernels: an operation of `ScalarOps`, or "logaddexp".
    combines_by: ClassVar[str]

    def abstract(self, x: ShapedArray) -> ShapedArray:
        self.takes.check(self.name, x)
        if not 0 <= self.axis < x.ndim:
            raise AxisError(f"{self.name}: axis must exist, got {self.axis} for {x}")
        return x

    def impl(self, xp: Any, x: Any) -> Any:
        work = x.astype(wide_accumulator(x.dtype), copy=False)
        if self.reverse:
            out = xp.flip(self.accumulate(xp, xp.flip(work, self.axis)), self.axis)
        else:
            out = self.accumulate(xp, work)
        return out.astype(x.dtype, copy=False)

    @abstractmethod
    def accumulate(self, xp: Any, x: Any) -> Any:
        """The result from the first element on, in the dtype of `x`."""

    def combine(self, earlier: Dual, later: Dual) -> Dual:
        """The operation on two elements, with its tangent. A sum, being linear, needs none."""
        raise self._missing("combine", "differentiation")

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        if self.reverse:
            x_first, t_first = rev(x, (self.axis,)), rev(t, (self.axis,))
            _, tangent = _scan_by_pairs(self.combine, (x_first, t_first), self.axis)
            return self.bind(x), rev(tangent, (self.axis,))
        _, tangent = _scan_by_pairs(self.combine, (x, t), self.axis)
        return self.bind(x), tangent

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        d = dims[0]
        assert d is not None
        place = self.axis + (self.axis >= d)
        moved = type(self)(place, self.reverse)  # type: ignore[call-arg]  # all are dataclasses
        return moved.bind(args[0]), d


def _scan_by_pairs(combine: Callable[[Dual, Dual], Dual], x: Dual, axis: int) -> Dual:
    n = x[0].shape[axis]
    if n < 2:
        return x

    def part(of: Dual, start: int, limit: int | None, stride: int = 2) -> Dual:
        first, second = (slice_in_dim(y, start, limit, stride, axis) for y in of)
        return first, second

    pairs = combine(part(x, 0, n - 1), part(x, 1, n))
    odd = _scan_by_pairs(combine, pairs, axis)
    before = part(odd, 0, (n - 1) // 2, 1)
    even = combine(before, part(x, 2, n)) if n > 2 else before
    value, tangent = (
        _interleave(concatenate((slice_in_dim(y, 0, 1, 1, axis), e), axis), o, axis)
        for y, e, o in zip(x, even, odd, strict=True)
    )
    return value, tangent


def _interleave(even: Array, odd: Array, axis: int) -> Array:
    """The elements of `even` and `odd` in turn. Each is spread among zeros, then they are added."""
    zero = constant(0, even)
    more = even.shape[axis] - odd.shape[axis]
    config = [(0, 0, 0)] * even.ndim
    config[axis] = (0, 1 - more, 1)
    spread = pad(even, zero, config)
    config[axis] = (1, more, 1)
    return add(spread, pad(odd, zero, config))


def _running(xp: Any, ufunc: Any, x: Any, axis: int) -> Any:
    """`ufunc` of each element and all before it.

    CuPy cannot accumulate with every function: there, blocks of twice the length in each step.
    """
    if xp is np:
        return ufunc.accumulate(x, axis)
    x = xp.moveaxis(x, axis, 0)
    shift = 1
    while shift < x.shape[0]:
        x = xp.concatenate((x[:shift], ufunc(x[shift:], x[:-shift])))
        shift *= 2
    return xp.moveaxis(x, 0, axis)


@final
@primitive("cumsum")
class CumSum(Cumulative):
    """Cumulative sum."""

    axis: int
    reverse: bool
    combines_by = "add"

    def accumulate(self, xp: Any, x: Any) -> Any:
        return xp.cumsum(x, self.axis, x.dtype)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(*tangents)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [CumSum(self.axis, not self.reverse).bind(ct)]


@final
@primitive("cumprod")
class CumProd(Cumulative):
    """Cumulative product. Its tangent is formed without division, so it holds at zeros."""

    axis: int
    reverse: bool
    combines_by = "mul"

    def accumulate(self, xp: Any, x: Any) -> Any:
        return xp.cumprod(x, self.axis, x.dtype)

    def combine(self, earlier: Dual, later: Dual) -> Dual:
        return Mul().jvp(*zip(earlier, later, strict=True))


@final
@primitive("cummax")
class CumMax(Cumulative):
    """Cumulative maximum; NaN from the first one on."""

    axis: int
    reverse: bool
    combines_by = "max"
    takes = ORDERED

    def accumulate(self, xp: Any, x: Any) -> Any:
        return _running(xp, xp.maximum, x, self.axis)

    def combine(self, earlier: Dual, later: Dual) -> Dual:
        return Max().jvp(*zip(earlier, later, strict=True))


@final
@primitive("cummin")
class CumMin(Cumulative):
    """Cumulative minimum; NaN from the first one on."""

    axis: int
    reverse: bool
    combines_by = "min"
    takes = ORDERED

    def accumulate(self, xp: Any, x: Any) -> Any:
        return _running(xp, xp.minimum, x, self.axis)

    def combine(self, earlier: Dual, later: Dual) -> Dual:
        return Min().jvp(*zip(earlier, later, strict=True))


@final
@primitive("cumlogsumexp")
class CumLogSumExp(Cumulative):
    """Cumulative log(sum(exp(x))), without overflow."""

    axis: int
    reverse: bool
    combines_by = "logaddexp"
    takes = FLOAT

    def accumulate(self, xp: Any, x: Any) -> Any:
        return _running(xp, xp.logaddexp, x, self.axis)

    def combine(self, earlier: Dual, later: Dual) -> Dual:
        """With z = log(exp(x) + exp(y)): dz = exp(x - z) dx + exp(y - z) dy."""
        (x, t), (y, u) = earlier, later
        first = ge(x, y)
        high, low = where(first, x, y), where(first, y, x)
        # Beside an infinite larger one the smaller counts for nothing, and their difference
        # could be NaN.
        zero = constant(0, x)
        endless = eq(abs(high), constant(np.inf, x))
        gap = where(endless, zero, sub(low, where(endless, zero, high)))
        z = add(high, log1p(exp(gap)))
        return z, add_any(mul(t, _weight(x, z)), mul(u, _weight(y, z)))


def _weight(x: Array, z: Array) -> Array:
    """exp(x - z), the share of x in z; 1 for an infinite x, and 0 beside one."""
    zero, infinity = constant(0, x), constant(np.inf, x)
    z = where(eq(abs(z), infinity), zero, z)
    return exp(sub(where(eq(x, infinity), zero, x), z))


C = TypeVar("C", bound=Cumulative)


def _cumulative(cls: type[C], summary: str) -> Callable[..., Array]:
    def function(operand: ArrayLike, axis: int = 0, reverse: bool = False) -> Array:
        x = lift(operand, what=cls.name)
        place = normalize_axis(axis, x.ndim, cls.name)
        return cls(place, bool(reverse)).bind(x)  # type: ignore[call-arg]  # all are dataclasses

    function.__name__ = function.__qualname__ = cls.name
    function.__doc__ = summary
    return function


cumsum = _cumulative(
    CumSum,
    """Cumulative sum along an axis; from the end when reverse. Small floats are summed in float32.

    Raises: AxisError for an axis that does not exist, DtypeError for bools.
    """,
)
cumprod = _cumulative(
    CumProd,
    """Cumulative product along an axis; from the end when reverse. The gradient holds at zeros.

    Raises: AxisError for an axis that does not exist, DtypeError for bools.
    """,
)
cummax = _cumulative(
    CumMax,
    """Cumulative maximum along an axis; from the end when reverse. NaN from the first one on.

    Raises: AxisError for an axis that does not exist, DtypeError for complex numbers.
    """,
)
cummin = _cumulative(
    CumMin,
    """Cumulative minimum along an axis; from the end when reverse. NaN from the first one on.

    Raises: AxisError for an axis that does not exist, DtypeError for complex numbers.
    """,
)
cumlogsumexp = _cumulative(
    CumLogSumExp,
    """Cumulative log(sum(exp(x))) along an axis; from the end when reverse.

    Raises: AxisError for an axis that does not exist, DtypeError unless `operand` is a float.
    """,
)

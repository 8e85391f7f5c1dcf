"""Comparisons, logical and bitwise operations, and selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from fstensor import dtypes, ops
from fstensor.array import Array, ArrayLike, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value, primitive
from fstensor.errors import DtypeError, ShapeError
from fstensor.ops.families import (
    ANY,
    ORDERED,
    Comparison,
    binary,
    check_same_dtype,
)
from fstensor.ops.shape import expand_dims, full, moveaxis, stretch


@final
@primitive("eq")
class Eq(Comparison):
    """Elementwise x = y."""

    takes = ANY

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.equal(x, y)


@final
@primitive("ne")
class Ne(Comparison):
    """Elementwise x != y; true where either is NaN."""

    takes = ANY

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.not_equal(x, y)


@final
@primitive("lt")
class Lt(Comparison):
    """Elementwise x < y."""

    takes = ORDERED

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.less(x, y)


@final
@primitive("le")
class Le(Comparison):
    """Elementwise x <= y."""

    takes = ORDERED

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.less_equal(x, y)


@final
@primitive("gt")
class Gt(Comparison):
    """Elementwise x > y."""

    takes = ORDERED

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.greater(x, y)


@final
@primitive("ge")
class Ge(Comparison):
    """Elementwise x >= y."""

    takes = ORDERED

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.greater_equal(x, y)


eq = binary(Eq)
ne = binary(Ne)
lt = binary(Lt)
le = binary(Le)
gt = binary(Gt)
ge = binary(Ge)


@final
@primitive("select_n")
class SelectN(Primitive):
    """Elementwise choice among cases by an integer, or of two by a bool, false first.

    The cases have one shape and dtype; `which` has their shape or is a scalar.
    """

    def abstract(self, which: ShapedArray, *cases: ShapedArray) -> ShapedArray:
        if not cases:
            raise ShapeError("select_n: needs at least one case, got none")
        check_same_dtype("select_n", cases)
        if any(c.shape != cases[0].shape for c in cases) or which.shape not in (
            (),
            cases[0].shape,
        ):
            got = ", ".join(map(str, (which, *cases)))
            raise ShapeError(
                f"select_n: the cases must have one shape, and the selector that shape or none, "
                f"got {got}"
            )
        if dtypes.is_bool(which.dtype):
            if len(cases) > 2:
                raise DtypeError(
                    f"select_n: a bool selector chooses between 2 cases, got {len(cases)}"
                )
        elif not dtypes.is_integer(which.dtype):
            raise DtypeError(f"select_n: the selector must be bool or integer, got {which}")
        return cases[0].update(weak_type=all([c.weak_type for c in cases]))

    def impl(self, xp: Any, which: Any, *cases: Any) -> Any:
        if len(cases) == 1:
            return cases[0]
        if len(cases) == 2:
            chosen = which if which.dtype.kind == "b" else which != 0
            return xp.where(chosen, cases[1], cases[0])
        out = cases[0]
        for i, case in enumerate(cases[1:], 1):
            out = xp.where(which >= i, case, out)
        return out

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        which, *cases = primals
        out = self.bind(*primals)
        return out, self.bind(which, *filled(tangents[1:], [c.aval for c in cases]))

    def transpose(self, ct: Array, which: Array, *cases: Value) -> Sequence[Value]:
        zeros = full(ct.shape, 0, ct.dtype)
        results: list[Value] = [None]
        for i, case in enumerate(cases):
            if isinstance(case, Linear):
                picked = [ct if i == j else zeros for j in range(len(cases))]
                results.append(self.bind(which, *picked))
            else:
                results.append(None)
        return results

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        fronted = [x if d is None else moveaxis(x, d, 0) for x, d in zip(args, dims, strict=True)]
        which, *cases = fronted
        shape = next(
            (x.shape for x, d in zip(cases, dims[1:], strict=True) if d is not None),
            (axis.size, *cases[0].shape),
        )
        spread = [
            x if d is not None else ops.shape.broadcast_in_dim(x, shape, tuple(range(1, len(shape))))
            for x, d in zip(cases, dims[1:], strict=True)
        ]
        if which.ndim != len(shape) and (which.ndim or dims[0] is not None):
            # A batch of scalar selectors, or one selector for all examples.
            missing = len(shape) - which.ndim
            places = range(1, 1 + missing) if dims[0] is not None else range(missing)
            which = stretch(expand_dims(which, tuple(places)), shape)
        return self.bind(which, *spread), 0


def filled(tangents: Sequence[Value], avals: Sequence[ShapedArray]) -> list[Array]:
    """Tangents of operands of these avals, with zeros for ZERO."""
    return [
        ops.shape.zeros_of(a.tangent) if t is ZERO else t
        for t, a in zip(tangents, avals, strict=True)
    ]


def select_n(which: ArrayLike, *cases: ArrayLike) -> Array:
    """Elementwise choice: cases[which]. A bool chooses the first case where it is false.

    Shapes: the cases have one shape, `which` has it too or is a scalar.
    Dtypes: the cases have one dtype; `which` is bool or integer.
    Raises: ShapeError or DtypeError.
    """
    return SelectN().bind(which, *cases)


def where(condition: Array, x: ArrayLike, y: ArrayLike) -> Array:
    """For rules: `x` where the condition holds, else `y`; scalars stretch."""
    x, y = lift(x), lift(y)
    shape = max((condition.shape, x.shape, y.shape), key=len)
    return SelectN().bind(stretch(condition, shape), stretch(y, shape), stretch(x, shape))

"""Comparisons, logical and bitwise operations, and selection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes, ops
from fstensor.array import Array, ArrayLike, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Value, primitive
from fstensor.core.scalar import BOOL, ScalarOps, V
from fstensor.errors import DtypeError, ShapeError
from fstensor.ops.families import (
    ANY,
    BITS,
    ORDERED,
    Comparison,
    Discrete,
    Elementwise,
    Kind,
    PerElement,
    binary,
    check_same_dtype,
    unary,
)
from fstensor.ops.shape import expand_dims, moveaxis, stretch, zeros_of


@final
@primitive("eq")
class Eq(Comparison):
    """Elementwise x = y."""

    scalar_op = "eq"
    commutes = True

    takes = ANY

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.equal(x, y)


@final
@primitive("ne")
class Ne(Comparison):
    """Elementwise x != y; true where either is NaN."""

    scalar_op = "ne"
    commutes = True

    takes = ANY

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.not_equal(x, y)


@final
@primitive("lt")
class Lt(Comparison):
    """Elementwise x < y."""

    scalar_op = "lt"

    takes = ORDERED

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.less(x, y)


@final
@primitive("le")
class Le(Comparison):
    """Elementwise x <= y."""

    scalar_op = "le"

    takes = ORDERED

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.less_equal(x, y)


@final
@primitive("gt")
class Gt(Comparison):
    """Elementwise x > y."""

    scalar_op = "gt"

    takes = ORDERED

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.greater(x, y)


@final
@primitive("ge")
class Ge(Comparison):
    """Elementwise x >= y."""

    scalar_op = "ge"

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
@primitive("and")
class And(Discrete):
    """Elementwise and: of truth values, or of each bit of integers."""

    scalar_op = "and"
    commutes = True

    takes = BITS

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.bitwise_and(x, y)


@final
@primitive("or")
class Or(Discrete):
    """Elementwise or: of truth values, or of each bit of integers."""

    scalar_op = "or"
    commutes = True

    takes = BITS

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.bitwise_or(x, y)


@final
@primitive("xor")
class Xor(Discrete):
    """Elementwise exclusive or: of truth values, or of each bit of integers."""

    scalar_op = "xor"
    commutes = True

    takes = BITS

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.bitwise_xor(x, y)


@final
@primitive("not")
class Not(Discrete):
    """Elementwise negation: of truth values, or of each bit of integers."""

    scalar_op = "not"

    takes = BITS

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.invert(x)


# A 4-bit integer lies in a byte whose other bits have no meaning.
WHOLE_BYTES = Kind(
    "an integer dtype of whole bytes",
    lambda d: dtypes.is_integer(d) and dtypes.iinfo(d).bits >= 8,
)


@final
@primitive("shift_left")
class ShiftLeft(Discrete):
    """Elementwise shift of the bits of x to the left by y places.

    0 where y is at least the number of bits, or negative.
    """

    takes = WHOLE_BYTES

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        inside, places = _places(xp, x, y)
        return xp.where(inside, xp.left_shift(x, places), xp.zeros_like(x))

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        inside, places = _places_of(ops, x, y)
        return ops.select(inside, ops.shl(x, places), ops.like(0, x))


@final
@primitive("shift_right_arithmetic")
class ShiftRightArithmetic(Discrete):
    """Elementwise shift of the bits of x to the right by y places, filled with the sign of x.

    Nothing but signs where y is at least the number of bits, or negative. Unsigned x have no sign
    beside their first bit, which counts as one here too.
    """

    takes = WHOLE_BYTES

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        signed = np.dtype(f"i{x.dtype.itemsize}")
        inside, places = _places(xp, x, y)
        places = xp.where(inside, places, xp.full_like(y, 8 * x.dtype.itemsize - 1))
        return xp.right_shift(x.view(signed), places.astype(signed)).view(x.dtype)

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        signed = np.dtype(f"i{ops.dtype(x).itemsize}")
        inside, places = _places_of(ops, x, y)
        places = ops.select(inside, places, ops.like(8 * signed.itemsize - 1, y))
        shifted = ops.shr(ops.bitcast(x, signed), ops.bitcast(places, signed))
        return ops.bitcast(shifted, ops.dtype(x))


@final
@primitive("shift_right_logical")
class ShiftRightLogical(Discrete):
    """Elementwise shift of the bits of x to the right by y places, filled with zeros.

    0 where y is at least the number of bits, or negative.
    """

    takes = WHOLE_BYTES

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        unsigned = np.dtype(f"u{x.dtype.itemsize}")
        inside, places = _places(xp, x, y)
        shifted = xp.right_shift(x.view(unsigned), places.astype(unsigned)).view(x.dtype)
        return xp.where(inside, shifted, xp.zeros_like(x))

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        unsigned = np.dtype(f"u{ops.dtype(x).itemsize}")
        inside, places = _places_of(ops, x, y)
        shifted = ops.shr(ops.bitcast(x, unsigned), ops.bitcast(places, unsigned))
        return ops.select(inside, ops.bitcast(shifted, ops.dtype(x)), ops.like(0, x))


def _places_of(ops: ScalarOps[V], x: V, y: V) -> tuple[V, V]:
    """`_places`, of one element: negative shifts are large ones, read without sign."""
    size = ops.dtype(x).itemsize
    unsigned = np.dtype(f"u{size}")
    inside = ops.lt(ops.bitcast(y, unsigned), ops.constant(8 * size, unsigned))
    return inside, ops.select(inside, y, ops.like(0, y))


def _places(xp: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Where the shift `y` is less than the width of `x`, and it, replaced by 0 elsewhere."""
    inside = (y >= 0) & (y < 8 * x.dtype.itemsize)
    return inside, xp.where(inside, y, xp.zeros_like(y))


@final
@primitive("population_count")
class PopulationCount(Discrete):
    """Elementwise number of bits that are set."""

    scalar_op = "popcount"

    takes = WHOLE_BYTES

    def impl(self, xp: Any, x: Any) -> Any:
        return _count_bits(xp, x.view(np.dtype(f"u{x.dtype.itemsize}"))).astype(x.dtype)


@final
@primitive("clz")
class Clz(Discrete):
    """Elementwise number of leading zero bits."""

    scalar_op = "clz"

    takes = WHOLE_BYTES

    def impl(self, xp: Any, x: Any) -> Any:
        width = 8 * x.dtype.itemsize
        bits = x.view(np.dtype(f"u{x.dtype.itemsize}"))
        # Set every bit behind the first one; what stays clear leads.
        places = 1
        while places < width:
            bits = bits | (bits >> bits.dtype.type(places))
            places *= 2
        return (width - _count_bits(xp, bits)).astype(x.dtype)


def _count_bits(xp: Any, bits: Any) -> Any:
    """The number of set bits of unsigned integers, in pairs, then fours, then bytes.

    H. S. Warren, Hacker's Delight, 2nd edition, section 5-1.
    """
    of = bits.dtype.type
    ones = (1 << (8 * bits.dtype.itemsize)) - 1
    pairs = bits - ((bits >> of(1)) & of(ones // 3))
    fours = (pairs & of(ones // 5)) + ((pairs >> of(2)) & of(ones // 5))
    bytes_ = (fours + (fours >> of(4))) & of(ones // 17)
    # The product sums all bytes into the highest one.
    return (bytes_ * of(ones // 255)) >> of(8 * (bits.dtype.itemsize - 1))


def _bitwise(cls: type[Elementwise], apply: Callable[..., Array]) -> Callable[..., Array]:
    # `and`, `or` and `not` cannot be names of functions.
    apply.__name__ = apply.__qualname__ = f"bitwise_{cls.name}"
    return apply


bitwise_and = _bitwise(And, binary(And))
bitwise_or = _bitwise(Or, binary(Or))
bitwise_xor = _bitwise(Xor, binary(Xor))
bitwise_not = _bitwise(Not, unary(Not))
shift_left = binary(ShiftLeft)
shift_right_arithmetic = binary(ShiftRightArithmetic)
shift_right_logical = binary(ShiftRightLogical)
population_count = unary(PopulationCount)
clz = unary(Clz)


@final
@primitive("select_n")
class SelectN(PerElement):
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
        return cases[0].update(weak_type=all(c.weak_type for c in cases))

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

    def element(self, ops: ScalarOps[V], which: V, *cases: V) -> V:
        dtype = ops.dtype(which)
        if dtype == BOOL:
            return ops.select(which, cases[-1], cases[0])
        if len(cases) == 2:
            return ops.select(ops.ne(which, ops.like(0, which)), cases[1], cases[0])
        out = cases[0]
        for i, case in enumerate(cases[1 : 1 + np.iinfo(dtype).max], 1):
            out = ops.select(ops.ge(which, ops.like(i, which)), case, out)
        return out

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        which, *cases = primals
        out = self.bind(*primals)
        return out, self.bind(which, *filled(tangents[1:], [c.aval for c in cases]))

    def transpose(self, ct: Array, which: Array, *cases: Value) -> Sequence[Value]:
        zeros = zeros_of(ct.aval)
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
            x
            if d is not None
            else ops.shape.broadcast_in_dim(x, shape, tuple(range(1, len(shape))))
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
    condition, x, y = (stretch(a, shape) for a in (condition, x, y))
    return SelectN().bind(condition, y, x)

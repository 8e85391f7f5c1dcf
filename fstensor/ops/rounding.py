"""Elementwise rounding to integers."""

from __future__ import annotations

import enum
from typing import Any, final

from fstensor.array import Array, ArrayLike
from fstensor.core.primitive import primitive
from fstensor.core.scalar import ScalarOps, V
from fstensor.errors import OptionError
from fstensor.ops.families import FLOAT, ORDERED, Discrete, unary


@final
@primitive("floor")
class Floor(Discrete):
    """Elementwise largest integer not above x."""

    takes = ORDERED

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.floor(x)

    def element(self, ops: ScalarOps[V], x: V) -> V:
        return ops.floor(x) if ops.dtype(x).kind == "f" else x


@final
@primitive("ceil")
class Ceil(Discrete):
    """Elementwise smallest integer not below x."""

    takes = ORDERED

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.ceil(x)

    def element(self, ops: ScalarOps[V], x: V) -> V:
        return ops.ceil(x) if ops.dtype(x).kind == "f" else x


class RoundingMethod(enum.IntEnum):
    """Where `round` takes numbers that lie halfway between two integers."""

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


@final
@primitive("round")
class Round(Discrete):
    """Elementwise nearest integer; halves go where `rounding_method` says."""

    rounding_method: RoundingMethod

    takes = FLOAT

    def impl(self, xp: Any, x: Any) -> Any:
        if self.rounding_method == RoundingMethod.TO_NEAREST_EVEN:
            return xp.rint(x)
        # Not floor(|x| + 1/2): that sum rounds up to 1 just below 1/2.
        whole = xp.trunc(x)
        far = xp.abs(x - whole) >= 0.5
        return whole + xp.copysign(far.astype(x.dtype), x)

    def element(self, ops: ScalarOps[V], x: V) -> V:
        if self.rounding_method == RoundingMethod.TO_NEAREST_EVEN:
            return ops.rint(x)
        whole = ops.trunc(x)
        far = ops.ge(ops.abs(ops.sub(x, whole)), ops.like(0.5, x))
        return ops.add(whole, ops.copysign(ops.select(far, ops.like(1, x), ops.like(0, x)), x))


floor = unary(Floor)
ceil = unary(Ceil)


def round(x: ArrayLike, rounding_method: RoundingMethod = RoundingMethod.AWAY_FROM_ZERO) -> Array:
    """Elementwise nearest integer, as a float. Halves go away from zero unless told otherwise.

    Raises: DtypeError unless `x` is of a float dtype; OptionError for an unknown method.
    """
    try:
        method = RoundingMethod(rounding_method)
    except ValueError:
        raise OptionError(
            f"round: rounding_method must be one of RoundingMethod's, got {rounding_method!r}"
        ) from None
    return Round(method).bind(x)

"""Division rounded down, and what it leaves."""

from __future__ import annotations

from typing import Any, final

from fstensor import dtypes
from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.ops.elementwise import mul, neg
from fstensor.ops.families import Binary, Discrete, Kind, binary

_REAL = Kind(
    "an integer or float dtype", lambda d: dtypes.is_numeric(d) and not dtypes.is_complex(d)
)


@final
@primitive("floor_divide")
class FloorDivide(Discrete):
    """Elementwise quotient, rounded down. Of integers by zero: 0."""

    takes = _REAL

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.floor_divide(x, y)


@final
@primitive("remainder")
class Remainder(Binary):
    """Elementwise remainder of the division rounded down: x - y floor(x / y), of the sign of y.

    Of integers by zero: 0.
    """

    takes = _REAL

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.remainder(x, y)

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return t

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(neg(t), floor_divide(x, y))


floor_divide = binary(FloorDivide)
remainder = binary(Remainder)

"""Products with logarithms, zero where the factor is zero."""

from __future__ import annotations

from typing import Any, final

from fstensor import ops
from fstensor.array import Array
from fstensor.core.primitive import primitive
from fstensor.core.scalar import ScalarOps, V
from fstensor.ops.elementwise import add, div, mul
from fstensor.ops.families import INEXACT, Binary, binary, constant
from fstensor.ops.transcendental import log, log1p


def _quotient(x: Array, y: Array) -> Array:
    """X / y, and 0 for 0 / 0."""
    zero = constant(0, x)
    undefined = ops.logical.bitwise_and(ops.logical.eq(x, zero), ops.logical.eq(y, zero))
    return div(x, ops.logical.where(undefined, constant(1, x), y))


def _product(xp: Any, x: Any, y: Any, log_y: Any) -> Any:
    return xp.where((x == 0) & ~xp.isnan(y), xp.zeros_like(x), x * log_y).astype(x.dtype)


def _product_of(ops: ScalarOps[V], x: V, y: V, log_y: V) -> V:
    """`_product`, of one element."""
    zero = ops.like(0, x)
    vanishes = ops.and_(ops.eq(x, zero), ops.eq(y, y))
    return ops.select(vanishes, zero, ops.mul(x, log_y))


@final
@primitive("xlogy")
class XLogY(Binary):
    """Elementwise x log y; 0 where x = 0, unless y is NaN. The derivative in x is always log y."""

    takes = INEXACT

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return _product(xp, x, y, xp.log(y))

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        return _product_of(ops, x, y, ops.elementary("log", y))

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, log(y))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _quotient(x, y))


@final
@primitive("xlog1py")
class XLog1PY(Binary):
    """Elementwise x log(1 + y), accurate near y = 0; 0 where x = 0, unless y is NaN."""

    takes = INEXACT

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        return _product(xp, x, y, xp.log1p(y))

    def element(self, ops: ScalarOps[V], x: V, y: V) -> V:
        return _product_of(ops, x, y, ops.elementary("log1p", y))

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, log1p(y))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return mul(t, _quotient(x, add(constant(1, y), y)))


xlogy = binary(XLogY)
xlog1py = binary(XLog1PY)

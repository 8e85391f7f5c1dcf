"""An array module whose arrays are single elements of a kernel.

What a special function's `evaluate` does with arrays of NumPy, it does with `Element` too, and so
says in the vocabulary of kernels what one element is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, final

from fstensor.core.scalar import FLOAT64, ScalarOps, V

Number = Any  # an Element, or a float


@final
class Element(Generic[V]):
    """A value of `ops` with the operators of an array."""

    __slots__ = ("ops", "value")
    __hash__ = None  # type: ignore[assignment]  # equality is an operation, too

    def __init__(self, ops: ScalarOps[V], value: V) -> None:
        self.ops = ops
        self.value = value

    def _other(self, x: Number) -> V:
        return x.value if isinstance(x, Element) else self.ops.like(x, self.value)

    def _binary(self, op: str, x: Number) -> Element[V]:
        return Element(self.ops, self.ops.binary(op, self.value, self._other(x)))

    def _reflected(self, op: str, x: float) -> Element[V]:
        return Element(self.ops, self.ops.binary(op, self._other(x), self.value))

    def _compare(self, op: str, x: Number) -> Element[V]:
        return Element(self.ops, self.ops.compare(op, self.value, self._other(x)))

    def __add__(self, x: Number) -> Element[V]:
        return self._binary("add", x)

    __radd__ = __add__

    def __sub__(self, x: Number) -> Element[V]:
        return self._binary("sub", x)

    def __rsub__(self, x: float) -> Element[V]:
        return self._reflected("sub", x)

    def __mul__(self, x: Number) -> Element[V]:
        return self._binary("mul", x)

    __rmul__ = __mul__

    def __truediv__(self, x: Number) -> Element[V]:
        return self._binary("div", x)

    def __rtruediv__(self, x: float) -> Element[V]:
        return self._reflected("div", x)

    def __pow__(self, n: int) -> Element[V]:
        assert n >= 0
        out = Element(self.ops, self.ops.like(1, self.value))
        for _ in range(n):
            out = out * self
        return out

    def __neg__(self) -> Element[V]:
        return Element(self.ops, self.ops.neg(self.value))

    def __and__(self, x: Element[V]) -> Element[V]:
        return self._binary("and", x)

    def __or__(self, x: Element[V]) -> Element[V]:
        return self._binary("or", x)

    def __invert__(self) -> Element[V]:
        return Element(self.ops, self.ops.not_(self.value))

    def __eq__(self, x: Number) -> Any:
        return self._compare("eq", x)

    def __ne__(self, x: Number) -> Any:
        return self._compare("ne", x)

    def __lt__(self, x: Number) -> Element[V]:
        return self._compare("lt", x)

    def __le__(self, x: Number) -> Element[V]:
        return self._compare("le", x)

    def __gt__(self, x: Number) -> Element[V]:
        return self._compare("gt", x)

    def __ge__(self, x: Number) -> Element[V]:
        return self._compare("ge", x)

    def polynomial(self, coefficients: Sequence[float]) -> Element[V]:
        """The polynomial with these coefficients, highest power first, by Horner's rule."""
        ops, x = self.ops, self.value
        out = ops.like(coefficients[0], x)
        for c in coefficients[1:]:
            out = ops.fma(out, x, ops.like(c, x))
        return Element(ops, out)


@final
class ElementModule(Generic[V]):
    """The functions of NumPy that special functions use, on elements of float64."""

    def __init__(self, ops: ScalarOps[V]) -> None:
        self._ops = ops

    def _unary(self, op: str, x: Element[V]) -> Element[V]:
        return Element(self._ops, self._ops.unary(op, x.value))

    def _elementary(self, name: str, x: Element[V]) -> Element[V]:
        return Element(self._ops, self._ops.elementary(name, x.value))

    def _value(self, x: Number) -> V:
        return x.value if isinstance(x, Element) else self._ops.constant(x, FLOAT64)

    def abs(self, x: Element[V]) -> Element[V]:
        return self._unary("abs", x)

    def sqrt(self, x: Element[V]) -> Element[V]:
        return self._unary("sqrt", x)

    def rint(self, x: Element[V]) -> Element[V]:
        return self._unary("rint", x)

    def exp(self, x: Element[V]) -> Element[V]:
        return self._elementary("exp", x)

    def log(self, x: Element[V]) -> Element[V]:
        return self._elementary("log", x)

    def log1p(self, x: Element[V]) -> Element[V]:
        return self._elementary("log1p", x)

    def sin(self, x: Element[V]) -> Element[V]:
        return self._elementary("sin", x)

    def tan(self, x: Element[V]) -> Element[V]:
        return self._elementary("tan", x)

    def minimum(self, x: Element[V], y: Number) -> Element[V]:
        return Element(self._ops, self._ops.min(x.value, self._value(y)))

    def maximum(self, x: Element[V], y: Number) -> Element[V]:
        return Element(self._ops, self._ops.max(x.value, self._value(y)))

    def copysign(self, x: Element[V], y: Element[V]) -> Element[V]:
        return Element(self._ops, self._ops.copysign(x.value, y.value))

    def where(self, condition: Element[V], x: Number, y: Number) -> Element[V]:
        chosen = self._ops.select(condition.value, self._value(x), self._value(y))
        return Element(self._ops, chosen)

    def full_like(self, x: Element[V], value: float) -> Element[V]:
        return Element(self._ops, self._ops.like(value, x.value))

    def ones_like(self, x: Element[V]) -> Element[V]:
        return self.full_like(x, 1.0)

    def zeros_like(self, x: Element[V]) -> Element[V]:
        return self.full_like(x, 0.0)

    def where_due(
        self, condition: Element[V], function: Callable[[], Element[V]], usual: Element[V]
    ) -> Element[V]:
        """function() where the condition holds, which is computed only if need be, else `usual`."""
        value = self._ops.rarely(condition.value, usual.value, lambda: function().value)
        return Element(self._ops, value)

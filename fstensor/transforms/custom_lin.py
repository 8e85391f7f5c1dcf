"""`custom_lin`: the derivative of a function with a vjp rule, at one point.

It is linear in the tangents of the arguments, and given by its transpose. What it is in the forward
direction only a jvp rule can tell; where that is never asked for, none is needed.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, final

from fstensor.array import Array
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value, primitive
from fstensor.core.state import state
from fstensor.errors import MissingRuleError
from fstensor.ops.elementwise import mul
from fstensor.ops.families import constant
from fstensor.ops.index import batch_first
from fstensor.ops.reduce import reduce_sum
from fstensor.transforms.custom_common import moved
from fstensor.transforms.jvp import instantiate, jvp_flat
from fstensor.transforms.make_jaxpr import trace_closed
from fstensor.transforms.programs import run
from fstensor.transforms.vmap import batch_flat


class LinearRule(ABC):
    """The derivative at one point: a linear map of tangents, given by its transpose.

    fixed: what it depends on, residuals first of all. Tangents are those of the active arguments.
    """

    @abstractmethod
    def backward(self, fixed: Sequence[Array], cts: Sequence[Value]) -> list[Value]:
        """Cotangents of the active arguments, in the current trace; in and out some are ZERO."""

    @abstractmethod
    def forward(self, fixed: Sequence[Array], tangents: Sequence[Array]) -> list[Array]:
        """Tangents of the results, in the current trace, where `has_forward`."""

    @property
    @abstractmethod
    def has_forward(self) -> bool:
        """Whether there is a jvp rule."""

    @property
    @abstractmethod
    def described(self) -> str:
        """The function, for messages."""


@final
@primitive("custom_lin")
class CustomLin(Primitive):
    """The derivative of a function with a vjp rule. Operands: what it depends on, then tangents.

    out_avals: types of the tangents of the results, one for each result that has any.
    """

    multiple_results = True

    rule: LinearRule
    num_fixed: int
    in_avals: tuple[ShapedArray, ...]
    out_avals: tuple[ShapedArray, ...]

    def printed_params(self) -> dict[str, Any]:
        return {"name": self.rule.described.split(" at ")[0], "num_res": self.num_fixed}

    def infer(self, avals: tuple[ShapedArray, ...]) -> Any:
        return self.out_avals  # and no table that would keep the rule alive

    def abstract(self, *avals: ShapedArray) -> tuple[ShapedArray, ...]:
        return self.out_avals

    def _forward(self, *args: Array) -> list[Array]:
        if not self.rule.has_forward:
            raise MissingRuleError(
                f"custom_vjp: {self.rule.described} has a rule for the reverse mode alone, and "
                "jvp, jacfwd and linearize need one for the forward mode; "
                "give it one with defjvp, or use grad, vjp or jacrev"
            )
        return self.rule.forward(args[: self.num_fixed], args[self.num_fixed :])

    def called_program(self) -> ClosedJaxpr | None:
        return self._program() if self.rule.has_forward else None

    def _program(self) -> ClosedJaxpr:
        return trace_closed(self._forward, self.in_avals, "custom_vjp", self.rule.described)

    def impl(self, xp: Any, *buffers: Any) -> Any:
        return run(self._program(), xp, buffers)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        n = self.num_fixed
        if all(t is ZERO for t in tangents[:n]):
            ts = [instantiate(t, p.aval) for p, t in zip(primals[n:], tangents[n:], strict=True)]
            return self.bind(*primals), self.bind(*primals[:n], *ts)
        return jvp_flat(self._forward, primals, tangents, state.trace, "jvp", self.rule.described)

    def transpose(self, cts: Any, *args: Value) -> Sequence[Value]:
        fixed = args[: self.num_fixed]
        if any(isinstance(x, Linear) for x in fixed):
            raise MissingRuleError(
                f"custom_vjp: the derivative of {self.rule.described} is not linear in its "
                "residuals, and cannot be transposed with respect to them"
            )
        results = self.rule.backward(fixed, cts)
        given = args[self.num_fixed :]
        return [
            *[None] * self.num_fixed,
            *(r if isinstance(x, Linear) else None for r, x in zip(results, given, strict=True)),
        ]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        n = self.num_fixed
        rule = BatchedLinear(self.rule, axis, tuple(dims[:n]), tuple(dims[n:]))
        out_avals = tuple([a.update(shape=(axis.size, *a.shape)) for a in self.out_avals])
        in_avals = tuple([x.aval for x in args])
        return CustomLin(rule, n, in_avals, out_avals).bind(*args), [0] * len(out_avals)


@final
@dataclasses.dataclass(frozen=True)
class BatchedLinear(LinearRule):
    """A linear map for each example of a batch, which lies in front in its results."""

    base: LinearRule
    axis: MappedAxis
    fixed_dims: tuple[int | None, ...]
    dims: tuple[int | None, ...]

    @property
    def described(self) -> str:
        return self.base.described

    @property
    def has_forward(self) -> bool:
        return self.base.has_forward

    def backward(self, fixed: Sequence[Array], cts: Sequence[Value]) -> list[Value]:
        active = [ct is not ZERO for ct in cts]
        marks: list[bool] = []

        def function(*args: Array) -> list[Array]:
            given = iter(args[len(fixed) :])
            full = [next(given) if on else ZERO for on in active]
            results = self.base.backward(args[: len(fixed)], full)
            marks.extend(r is not ZERO for r in results)
            return [r for r in results if r is not ZERO]

        given = [ct for ct in cts if ct is not ZERO]
        values, dims = batch_flat(
            function, [*fixed, *given], [*self.fixed_dims, *[0] * len(given)], self.axis, "bwd"
        )
        found = iter(zip(values, dims, strict=True))
        return [
            self._collected(*next(found), place) if on else ZERO
            for on, place in zip(marks, self.dims, strict=True)
        ]

    def _collected(self, ct: Array, dim: int | None, place: int | None) -> Array:
        """The cotangent of an argument: summed over the batch if all examples share that."""
        if place is not None:
            return moved(ct, dim, place, self.axis.size)
        if dim is None:
            return mul(ct, constant(self.axis.size, ct))
        return reduce_sum(ct, (dim,))

    def forward(self, fixed: Sequence[Array], tangents: Sequence[Array]) -> list[Array]:
        def function(*args: Array) -> list[Array]:
            return self.base.forward(args[: len(fixed)], args[len(fixed) :])

        values, dims = batch_flat(
            function, [*fixed, *tangents], [*self.fixed_dims, *self.dims], self.axis, "jvp"
        )
        return [batch_first(x, d, self.axis.size) for x, d in zip(values, dims, strict=True)]

"""`custom_jvp`: a function whose forward-mode derivative is written by the user.

The reverse mode follows from it by transposition, as it does for every operation.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

from fstensor import tree
from fstensor.array import Array
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import ZERO, MappedAxis, Value, primitive
from fstensor.errors import MissingRuleError, OptionError
from fstensor.ops.elementwise import add_any
from fstensor.transforms.arguments import check_callable
from fstensor.transforms.custom_call import Calls, UserCall, UserRule, close
from fstensor.transforms.custom_common import (
    Parameters,
    SymbolicZero,
    checked_results,
    checked_tangents,
    differentiated_capture,
    moved,
    pair_of,
    rule_name,
)
from fstensor.transforms.jvp import instantiate
from fstensor.transforms.programs import trace_captured
from fstensor.transforms.vmap import batch_flat, batch_jaxpr


class JVPRule(ABC):
    """The derivative of a function of flat operands: first those that it captures."""

    @abstractmethod
    def apply(
        self, captured: Sequence[Array], primals: Sequence[Array], tangents: Sequence[Value]
    ) -> tuple[list[Array], list[Value]]:
        """Results and their tangents, in the current trace. Tangents may be ZERO."""


@final
@primitive("custom_jvp_call")
class CustomJVPCall(UserCall):
    """A call of a function with a jvp rule. Operands: what it captures, then its arguments."""

    label: str
    call_jaxpr: ClosedJaxpr
    num_consts: int
    rule: JVPRule
    rule_label: str
    symbolic_zeros: bool
    stopped: tuple[bool, ...]  # what it captures without derivatives, as a nondiff argument

    def printed_params(self) -> dict[str, Any]:
        consts = {"num_consts": self.num_consts} if self.num_consts else {}
        return {
            "name": self.label,
            "call_jaxpr": self.call_jaxpr,
            "jvp": self.rule_label,
            "symbolic_zeros": self.symbolic_zeros,
            **consts,
        }

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        n = self.num_consts
        for x, t, stopped in zip(primals[:n], tangents[:n], self.stopped, strict=True):
            if t is not ZERO and not stopped:
                raise differentiated_capture(f"custom_jvp of {self.call_jaxpr.name}", x.aval)
        return self.rule.apply(primals[:n], primals[n:], tangents[n:])

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        # What the rule returns is batched where any argument is, so the function's results are.
        forced = (True,) * len(self.call_jaxpr.out_avals)
        program, out_dims = batch_jaxpr(self.call_jaxpr, axis, tuple(dims), forced)
        rule = BatchedJVP(self.rule, axis, tuple(dims))
        call = dataclasses.replace(self, call_jaxpr=program, rule=rule)
        return call.bind(*args), out_dims


@final
@dataclasses.dataclass(frozen=True)
class BatchedJVP(JVPRule):
    """A rule applied to each example of a batch, which lies in front in all results."""

    base: JVPRule
    axis: MappedAxis
    dims: tuple[int | None, ...]

    def apply(
        self, captured: Sequence[Array], primals: Sequence[Array], tangents: Sequence[Value]
    ) -> tuple[list[Array], list[Value]]:
        n, m = len(captured), len(captured) + len(primals)
        active = [t is not ZERO for t in tangents]
        counts: list[int] = []
        marks: list[bool] = []

        def function(*args: Array) -> list[Array]:
            given = iter(args[m:])
            ts = [next(given) if on else ZERO for on in active]
            outs, out_tangents = self.base.apply(args[:n], args[n:m], ts)
            counts.append(len(outs))
            marks.extend(t is not ZERO for t in out_tangents)
            return [*outs, *(t for t in out_tangents if t is not ZERO)]

        given = [t for t in tangents if t is not ZERO]
        given_dims = [d for d, on in zip(self.dims[n:], active, strict=True) if on]
        values, dims = batch_flat(
            function, [*captured, *primals, *given], [*self.dims, *given_dims], self.axis, "jvp"
        )
        values = [moved(x, d, 0, self.axis.size) for x, d in zip(values, dims, strict=True)]
        found = iter(values[counts[0] :])
        return values[: counts[0]], [next(found) if on else ZERO for on in marks]


@final
class ClosedJVP(JVPRule):
    """A rule that refers to tracers: it was recorded while they were alive.

    It was recorded for tangents of which none is zero by structure.
    """

    program: ClosedJaxpr  # from captured, primals, tangents to results and tangents
    out_tangents: list[ShapedArray]

    def apply(
        self, captured: Sequence[Array], primals: Sequence[Array], tangents: Sequence[Value]
    ) -> tuple[list[Array], list[Value]]:
        given = [
            instantiate(t, p.aval)
            for p, t in zip(primals, tangents, strict=True)
            if not p.aval.tangent.is_float0
        ]
        values = self.program.as_function()(*captured, *primals, *given)
        count = len(self.out_tangents)
        found = iter(values[count:])
        return values[:count], [ZERO if a.is_float0 else next(found) for a in self.out_tangents]


@final
class UserJVP(UserRule, JVPRule):
    """The rule as the user wrote it, for arguments of one structure."""

    what = "custom_jvp"

    def __init__(self, owner: custom_jvp, args: Sequence[Any], in_tree: tree.PyTreeDef) -> None:
        assert owner.jvp is not None
        self.jvp = owner.jvp
        self.symbolic_zeros = owner.symbolic_zeros
        self.parameters = owner.parameters
        self.statics = owner.parameters.statics(args)
        self.in_tree = in_tree

    @property
    def functions(self) -> list[Any]:
        return [self.jvp]

    def differentiate(
        self, primals: Sequence[Array], tangents: Sequence[Value]
    ) -> tuple[list[Array], list[Value]]:
        return self.apply((), primals, tangents)

    def apply(
        self, captured: Sequence[Array], primals: Sequence[Array], tangents: Sequence[Value]
    ) -> tuple[list[Array], list[Value]]:
        given = [self._shown(t, p.aval) for p, t in zip(primals, tangents, strict=True)]
        both = tree.unflatten(self.in_tree, primals), tree.unflatten(self.in_tree, given)
        what = f"custom_jvp: the rule {rule_name(self.jvp)} of {self.parameters.described}"
        out, tangent = pair_of(self.jvp(*self.statics, *both), what, "(result, tangent)")
        results, self.out_tree = checked_results(out, self.out_tree, self.out_avals, what)
        avals = [x.aval for x in results]
        return results, checked_tangents(tangent, self.out_tree, avals, what)

    def _shown(self, t: Value, primal: ShapedArray) -> Any:
        if t is ZERO and self.symbolic_zeros:
            return SymbolicZero(primal.tangent)
        return instantiate(t, primal)

    # Where the rule refers to tracers

    def look(self, avals: Sequence[ShapedArray]) -> list[Array]:
        return trace_captured(*self._flat(avals), self.what, self.parameters.described)[1]

    def operation(
        self, call: ClosedJaxpr, captured: Sequence[Array], to_be_closed: bool
    ) -> CustomJVPCall:
        rule = ClosedJVP() if to_be_closed else self
        label = getattr(self.jvp, "__name__", type(self.jvp).__name__)
        nondiff = {id(x) for x in tree.leaves(self.statics)}
        stopped = tuple([id(x) in nondiff for x in captured])
        name = self.parameters.name
        return CustomJVPCall(name, call, len(captured), rule, label, self.symbolic_zeros, stopped)

    def close(self, operation: Any, captured: Sequence[Array]) -> None:
        call, rule = operation.call_jaxpr, operation.rule
        avals = call.in_avals[len(captured) :]
        rule.out_tangents = [a.tangent for a in call.out_avals]
        rule.program = close(*self._flat(avals), captured, self.what, call.name)

    def _flat(
        self, avals: Sequence[ShapedArray]
    ) -> tuple[Callable[..., list[Array]], list[ShapedArray]]:
        """The rule as a function of primals and tangents of these types, without float0."""

        def function(*values: Array) -> list[Array]:
            given = iter(values[len(avals) :])
            tangents = [ZERO if a.tangent.is_float0 else next(given) for a in avals]
            outs, ts = self.apply((), values[: len(avals)], tangents)
            pairs = [(t, x.aval) for t, x in zip(ts, outs, strict=True)]
            return [*outs, *(instantiate(t, a) for t, a in pairs if not a.tangent.is_float0)]

        return function, [*avals, *(a.tangent for a in avals if not a.tangent.is_float0)]


@final
class custom_jvp:
    """A function with a forward-mode derivative of its own: use as a decorator, then `defjvp`.

    fun: takes trees of arrays by position; keyword arguments are resolved to positions.
    nondiff_argnums, nondiff_argnames: arguments without derivatives, which may be anything and are
        given to the rule first. Derivatives do not pass through arrays among them.
    A value that `fun` refers to and that is not an argument must not be differentiated: GradError.

    >>> import fstensor as fst
    >>> @fst.custom_jvp
    ... def f(x, y):
    ...     return fst.numpy.sin(x) * y
    >>> @f.defjvp
    ... def f_jvp(primals, tangents):
    ...     (x, y), (tx, ty) = primals, tangents
    ...     return f(x, y), fst.numpy.cos(x) * tx * y + fst.numpy.sin(x) * ty
    >>> float(fst.grad(f)(0.0, 2.0))
    2.0
    """

    __wrapped__: Callable[..., Any]

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: Sequence[int] = (),
        nondiff_argnames: Sequence[str] = (),
    ) -> None:
        check_callable(fun, "custom_jvp")
        functools.update_wrapper(self, fun)  # first, since it copies what another such has set
        self.parameters = Parameters(
            fun, "custom_jvp", nondiff_argnums, nondiff_argnames, stops=True
        )
        self.fun = fun
        self.jvp: Callable[..., Any] | None = None
        self.symbolic_zeros = False
        self._calls = Calls(self.parameters, functools.partial(UserJVP, self))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<custom_jvp of {self.parameters.described}>"

    def defjvp(self, jvp: Callable[..., Any], symbolic_zeros: bool = False) -> Callable[..., Any]:
        """Set the rule: jvp(*nondiff, primals, tangents) returns (result, tangent of the result).

        primals, tangents: tuples with an entry for each differentiable argument. The tangent of an
        integer or bool array has dtype float0.
        symbolic_zeros: tangents that are zero by structure come as
            `custom_derivatives.SymbolicZero`, and may be returned.
        Returns `jvp`, so that this is a decorator.
        """
        check_callable(jvp, "defjvp")
        self.jvp = jvp
        self.symbolic_zeros = symbolic_zeros
        self._calls.clear()
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Set a rule for each argument: jvps[i](tangent, result, *primals) gives its part.

        None stands for a derivative of zero.
        Raises: OptionError with nondiff_argnums, or if their number is not that of the arguments.
        """
        if self.parameters.static:
            raise OptionError("defjvps: does not go with nondiff_argnums; use defjvp")

        def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
            if len(jvps) != len(primals):
                raise OptionError(
                    f"defjvps: needs a rule for each argument of {self.parameters.described}, "
                    f"got {len(jvps)} for {len(primals)}"
                )
            out = self(*primals)
            total = tree.map(lambda y: SymbolicZero(y.aval.tangent), out)
            for t, rule in zip(tangents, jvps, strict=True):
                if rule is not None:
                    total = tree.map(_plus, total, rule(t, out, *primals))
            return out, total

        for rule in filter(None, jvps):
            jvp.__wrapped__ = rule  # type: ignore[attr-defined]  # for the name in messages
        self.defjvp(jvp)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.jvp is None:
            raise MissingRuleError(
                f"custom_jvp: {self.parameters.described} has no rule; give it one with defjvp"
            )
        args = self.parameters.positional(args, kwargs)
        return self._calls(args)


def _plus(total: Any, part: Any) -> Any:
    return part if isinstance(total, SymbolicZero) else add_any(total, part)

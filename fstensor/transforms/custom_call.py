"""How a function with rules written by the user is called.

It is called in one of three ways. Where nothing is followed, it is a Python function. Where
derivatives of concrete values are followed, the user's rule runs at once, as Python, so that it may
branch on values. Everywhere else (under vmap, jit, in the body of a loop) the function is recorded,
and applied as one operation that carries its rule along.

A function, or its rule, may refer to tracers of enclosing transforms. Rules run later, perhaps when
these transforms have returned. So what they refer to is found out when the function is recorded,
and becomes operands; a rule that refers to something is recorded then, too.
"""

from __future__ import annotations

import functools
import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import numpy as np

from fstensor import tree
from fstensor.array import Array
from fstensor.config import config
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr, Jaxpr, Var
from fstensor.core.primitive import ZERO, Linear, Primitive, Value
from fstensor.core.state import state
from fstensor.core.trace import EVAL, PartialTrace, current_trace
from fstensor.device import current_default_device
from fstensor.transforms.custom_common import (
    GuardTrace,
    Parameters,
    follows_concrete_values,
    lifted,
)
from fstensor.transforms.jvp import JVPTrace, instantiate
from fstensor.transforms.programs import ProgramPrimitive, check_inputs, run, trace_captured
from fstensor.transforms.transpose import transpose_jaxpr

_MOST_SIGNATURES = 1024  # of one function; then its table starts anew


class UserCall(ProgramPrimitive):
    """A call of a function with rules of the user's, which is otherwise what its program does."""

    call_jaxpr: ClosedJaxpr

    @property
    def programs(self) -> tuple[ClosedJaxpr, ...]:
        return (self.call_jaxpr,)

    def called_program(self) -> ClosedJaxpr:
        return self.call_jaxpr

    def abstract(self, *avals: ShapedArray) -> tuple[ShapedArray, ...]:
        check_inputs(self.name, self.call_jaxpr, avals)
        return self.call_jaxpr.out_avals

    def impl(self, xp: Any, *buffers: Any) -> Any:
        return run(self.call_jaxpr, xp, buffers)

    def transpose(self, cts: Any, *args: Value) -> Sequence[Value]:
        # The function was applied to tangents, in which it must be linear.
        linear = tuple([isinstance(x, Linear) for x in args])
        program, marks = transpose_jaxpr(self.call_jaxpr, linear)
        known = [x for x, on in zip(args, linear, strict=True) if not on]
        given = [instantiate(ct, a) for ct, a in zip(cts, self.call_jaxpr.out_avals, strict=True)]
        results = iter(program.as_function()(*known, *given))
        arrived = iter([next(results) if on else ZERO for on in marks])
        return [next(arrived) if on else None for on in linear]


class UserRule(ABC):
    """A function's rules as the user wrote them, for arguments of one structure.

    out_tree, out_avals: of the function's result, as soon as it is known.
    """

    what: ClassVar[str]  # custom_jvp or custom_vjp

    out_tree: tree.PyTreeDef | None = None
    out_avals: Sequence[ShapedArray] = ()

    @property
    @abstractmethod
    def functions(self) -> list[Any]:
        """The user's functions."""

    @abstractmethod
    def differentiate(
        self, primals: Sequence[Array], tangents: Sequence[Value]
    ) -> tuple[list[Array], list[Value]]:
        """Results and their tangents, in the current trace."""

    @abstractmethod
    def look(self, avals: Sequence[ShapedArray]) -> list[Array]:
        """The tracers that the rules refer to, for arguments of these types."""

    @abstractmethod
    def operation(
        self, call: ClosedJaxpr, captured: Sequence[Array], to_be_closed: bool
    ) -> Primitive:
        """The function as an operation: `call` takes what is captured first.

        to_be_closed: the operation has a rule that `close` is yet to record.
        """

    @abstractmethod
    def close(self, operation: Any, captured: Sequence[Array]) -> None:
        """Record the rules of an operation, which may use the operation itself."""


@final
class Calls:
    """The calls of one function with rules, and the operations recorded for them."""

    def __init__(
        self,
        parameters: Parameters,
        rule: Callable[[Sequence[Any], tree.PyTreeDef], UserRule],
    ) -> None:
        self.parameters = parameters
        self._rule = rule
        self._recorded: dict[Any, _Recorded] = {}

    def clear(self) -> None:
        """Forget the operations, since the rules have changed."""
        self._recorded.clear()

    def __call__(self, args: Sequence[Any]) -> Any:
        """The result for these arguments, all by position."""
        leaves, in_tree = self.parameters.leaves(args)
        call = _Call(self, args, in_tree)
        outs = call.apply(leaves)
        return tree.unflatten(call.out_tree, outs)

    def record(self, call: _Call, arrays: Sequence[Array]) -> _Recorded | None:
        """The function as an operation; None while its own rule is looked at.

        Recorded once for each signature, unless it refers to tracers.
        """
        avals = [x.aval for x in arrays]
        key, lasting = _signature(call.in_tree, avals, self.parameters.statics(call.args))
        if lasting and key in self._recorded:
            return self._recorded[key]
        if id(self) in _progress.looking:
            return None
        closing = _progress.closing.get(id(self))
        if closing is not None and closing[0] == key:
            return closing[1]
        recorded = self._record(call, avals, key)
        if lasting and not recorded.captured:
            if len(self._recorded) >= _MOST_SIGNATURES:
                self._recorded.clear()
            self._recorded[key] = recorded
        return recorded

    def _record(self, call: _Call, avals: Sequence[ShapedArray], key: Any) -> _Recorded:
        rule = self._rule(call.args, call.in_tree)
        program, own = trace_captured(call.run, avals, rule.what, self.parameters.described)
        rule.out_tree, rule.out_avals = call.out_tree, program.out_avals
        captured = own
        if may_capture(rule.functions) or may_capture(self.parameters.statics(call.args)):
            _progress.looking.add(id(self))
            try:
                captured = _union(own, rule.look(avals))
            finally:
                _progress.looking.discard(id(self))
        # A rule may call its function with other arguments, whose rule calls it with others again
        # (a derivative that is the next of a series). Such a chain is closed at its first link.
        closed = bool(captured) and id(self) not in _progress.closing
        operation = rule.operation(with_inputs(program, own, captured), captured, closed)
        recorded = _Recorded(operation, captured, call.out_tree)
        if closed:
            _progress.closing[id(self)] = key, recorded
            try:
                rule.close(operation, captured)
            finally:
                del _progress.closing[id(self)]
        return recorded


@final
class _Recorded:
    """An operation, what it captures, and the structure of its result."""

    __slots__ = ("captured", "operation", "out_tree")

    def __init__(
        self, operation: Primitive, captured: Sequence[Array], out_tree: tree.PyTreeDef
    ) -> None:
        self.operation = operation
        self.captured = captured
        self.out_tree = out_tree


class _Progress(threading.local):
    """Operations that are being made, for calls of the function inside its own rule.

    looking: while it is found out what the rule refers to, the function has no rule there.
    closing: while the rule is recorded, the function is this operation there, for the arguments of
        this signature.
    """

    def __init__(self) -> None:
        self.looking: set[int] = set()
        self.closing: dict[int, tuple[Any, _Recorded]] = {}


_progress = _Progress()


@final
class _Call:
    """One call: its arguments but for their leaves, and the structure of its result."""

    out_tree: tree.PyTreeDef

    def __init__(self, owner: Calls, args: Sequence[Any], in_tree: tree.PyTreeDef) -> None:
        self.owner = owner
        self.args = args
        self.in_tree = in_tree

    def run(self, *leaves: Any) -> list[Array]:
        """The function itself."""
        parameters = self.owner.parameters
        args = parameters.whole(self.args, tree.unflatten(self.in_tree, leaves))
        outs, self.out_tree = tree.flatten(parameters.fun(*args))
        return [lifted(x, parameters.what) for x in outs]

    def differentiate(
        self, primals: Sequence[Array], tangents: Sequence[Value]
    ) -> tuple[list[Array], list[Value]]:
        """Its results and their tangents, by the rule as it is written."""
        rule = self.owner._rule(self.args, self.in_tree)
        results = rule.differentiate(primals, tangents)
        assert rule.out_tree is not None
        self.out_tree = rule.out_tree
        return results

    def bind(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """The function as one operation."""
        arrays = [lifted(x, self.owner.parameters.what) for x in leaves]
        recorded = self.owner.record(self, arrays)
        if recorded is None:
            return self.run(*leaves)
        self.out_tree = recorded.out_tree
        outs: Sequence[Any] = recorded.operation.bind(*recorded.captured, *arrays)
        return outs

    def apply(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """The results in the current trace."""
        trace = state.trace
        while isinstance(trace, GuardTrace):
            trace = trace.parent
        if trace is EVAL:
            return self.run(*leaves)
        if not follows_concrete_values(trace):
            return self.bind(leaves)
        if isinstance(trace, JVPTrace):
            return self._apply_to_tangents(trace, leaves)
        assert isinstance(trace, PartialTrace)
        if any(trace.is_unknown(x) for x in leaves):
            return self.bind(leaves)
        with current_trace(GuardTrace(trace, self._described)):
            return self.apply(leaves)

    def _apply_to_tangents(self, trace: JVPTrace, leaves: Sequence[Any]) -> list[Array]:
        pairs = [trace.split(x) for x in leaves]
        guard = GuardTrace(trace, self._described)
        self.args = self.owner.parameters.without_tangents(self.args, trace)
        with current_trace(guard):
            if all(t is ZERO for _, t in pairs):
                outs = self.apply([p for p, _ in pairs])
                tangents: Sequence[Value] = [ZERO] * len(outs)
            else:
                outs, tangents = self.differentiate([p for p, _ in pairs], [t for _, t in pairs])
        for x in [*outs, *tangents]:
            guard.check(x)
        return [trace.join(x, t) for x, t in zip(outs, tangents, strict=True)]

    def _described(self) -> str:
        parameters = self.owner.parameters
        return f"{parameters.what} of {parameters.described}"


def _signature(
    structure: tree.PyTreeDef, avals: Sequence[ShapedArray], statics: Sequence[Any]
) -> tuple[Any, bool]:
    """A key of all that tracing depends on, and whether it may be kept beyond the call."""
    parts: list[Any] = []
    lasting = True
    for x in statics:
        try:
            hash(x)
            parts.append((type(x), x))
        except TypeError:
            parts.append(id(x))
            lasting = False
    scope = tuple(state.axes.items())
    key = (structure, tuple(avals), tuple(parts), config.tracing_key(), scope)
    return (*key, current_default_device()), lasting


def may_capture(x: Any) -> bool:
    """Whether a rule, or an argument of it, may refer to tracers. Errs on the side of True."""
    if isinstance(x, functools.partial):
        return any(map(may_capture, (x.func, *x.args, *x.keywords.values())))
    if isinstance(x, (tuple, list)):
        return any(map(may_capture, x))
    if inspect.isfunction(x):
        return bool(x.__closure__ or x.__defaults__ or x.__kwdefaults__)
    return not isinstance(x, (bool, int, float, complex, str, np.dtype, type, type(None)))


def _union(*captured: Sequence[Array]) -> list[Array]:
    return list({id(x): x for part in captured for x in part}.values())


def close(
    function: Callable[..., Sequence[Any]],
    avals: Sequence[ShapedArray],
    captured: Sequence[Array],
    transform: str,
    name: str,
) -> ClosedJaxpr:
    """The program of a function that refers to no tracers but `captured`, its first inputs."""
    program, own = trace_captured(function, avals, transform, name)
    return with_inputs(program, own, captured)


def with_inputs(
    program: ClosedJaxpr, own: Sequence[Array], captured: Sequence[Array]
) -> ClosedJaxpr:
    """A program that takes first all of `captured` instead of only its `own`."""
    j = program.jaxpr
    variables = dict(zip(map(id, own), j.invars, strict=False))
    assert variables.keys() <= {id(x) for x in captured}
    first = [variables.get(id(x)) or Var(x.aval) for x in captured]
    invars = [*first, *j.invars[len(own) :]]
    opened = Jaxpr(j.constvars, invars, j.outvars, j.eqns, j.debug_info)
    return ClosedJaxpr(opened, program.consts)

"""Traces: who interprets a primitive. Each thread has one current trace.

A transform makes a trace, sets it current for the time of a call, and gives the function tracers
that belong to it. `Primitive.bind` hands the operation to the current trace, which unwraps its own
tracers and treats everything else, tracers of outer traces too, as constants. That rule alone
keeps nested derivatives apart. When a trace needs to compute, it hands on to its parent, the trace
that was current when it was made.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, NoReturn, Self, final

import numpy as np

from fstensor import device
from fstensor.array import Array, ConcreteArray, borrow, lift
from fstensor.config import config
from fstensor.core import finite, source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Atom, DebugInfo, Eqn, Jaxpr, Literal, Var
from fstensor.core.primitive import Primitive
from fstensor.core.source_info import SourceInfo
from fstensor.core.state import State, state
from fstensor.errors import (
    ConcretizationTypeError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
    UnboundAxisNameError,
    UnexpectedTracerError,
)


class Trace(ABC):
    """An interpreter of primitives. `alive` until the transform that made it returns."""

    alive: bool = True
    # What the user sees in messages: the transform, and the function that it follows.
    transform: str = "eval"
    function: str = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        trace = super().__new__(cls)
        if config.check_tracer_leaks:
            state.watched.append(weakref.ref(trace))
        return trace

    @abstractmethod
    def process(self, primitive: Primitive, args: Sequence[Any]) -> Any:
        """Apply `primitive` to array-likes, of which some may be tracers of this trace."""


class Tracer(Array):
    """A value that a trace follows."""

    __slots__ = ("_trace",)

    # Underscored, like the slots of subclasses where NumPy has a method of that name.
    _trace: Trace

    def concretize(self, error: type[ConcretizationTypeError], what: str) -> Any:
        self.check_alive()
        raise error(
            f"{self._trace.transform}: {what} a traced value is not known while tracing "
            f"{self._trace.function}, got {self.aval}{self._origin()}; {_REMEDIES[error]}"
        )

    def check_alive(self) -> None:
        """Raises UnexpectedTracerError once the trace has ended."""
        if not self._trace.alive:
            raise UnexpectedTracerError(
                f"leaked tracer: a value traced by {self._trace.transform} of "
                f"{self._trace.function} was used after the call had ended, got {self.aval}"
                f"{self._origin()}; return it from the function instead of storing it elsewhere"
            )

    def _origin(self) -> str:
        return ""

    @property
    def device(self) -> Any:
        raise ConcretizationTypeError(
            f"device: a traced {self.aval} lies on no device; ask outside the transform"
        )

    def __copy__(self) -> Array:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Array:
        return self

    def __reduce__(self) -> NoReturn:
        raise ConcretizationTypeError(f"pickle: a traced {self.aval} has no value to store")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.aval})"


_REMEDIES: dict[type[ConcretizationTypeError], str] = {
    TracerBoolConversionError: "choose between values with fstensor.numpy.where, "
    "or make the argument static (static_argnums of jit)",
    TracerArrayConversionError: "call the function of the same name in fstensor.numpy, index "
    "fstensor.numpy.asarray(n) instead of an ndarray n and choose by a mask with "
    "fstensor.numpy.where, or keep NumPy work outside the transformed function",
    TracerIntegerConversionError: "index with fstensor.numpy's functions, "
    "or make the argument static (static_argnums of jit)",
    ConcretizationTypeError: "compute with arrays to the end, "
    "or make the argument static (static_argnums of jit)",
}


_ndarray = np.ndarray  # a global is read faster than an attribute


@final
class EvalTrace(Trace):
    """The bottom: computes with NumPy or CuPy at once."""

    def process(self, primitive: Primitive, args: Sequence[Any]) -> Any:
        avals: list[ShapedArray] = []
        buffers: list[Any] = []
        on_cpu = True
        try:
            for x in args:
                avals.append(x.aval)
                b = x._buffer
                buffers.append(b)
                if b.__class__ is not _ndarray:
                    on_cpu = False
        except AttributeError:
            return self._process_lifted(primitive, args)
        out_avals = primitive.infer(tuple(avals))
        xp: Any = np
        if not on_cpu or not device.default_is_cpu():
            xp, buffers = device.unify(buffers)
        # NumPy's floating-point warnings are off in this context: IEEE results, in silence.
        out = state.quiet.run(primitive.impl, xp, *buffers)
        if config.checking and finite.is_wanted():
            results = out if primitive.multiple_results else [out]
            state.quiet.run(finite.check, primitive, buffers, results)
        if primitive.multiple_results:
            return [ConcreteArray(_as_buffer(b), a) for b, a in zip(out, out_avals, strict=True)]
        if out.__class__ is not _ndarray:
            out = _as_buffer(out)
        return ConcreteArray(out, out_avals)

    def _process_lifted(self, primitive: Primitive, args: Sequence[Any]) -> Any:
        lifted = [borrow(x, what=primitive.name) for x in args]
        for x in lifted:
            if isinstance(x, Tracer):
                x.check_alive()
                raise UnexpectedTracerError(
                    f"{primitive.name}: a tracer of {x._trace.transform} of {x._trace.function} "
                    f"met an operation outside of it, got {x.aval}; return it from the function "
                    "instead of storing it elsewhere"
                )
            x.concretize(ConcretizationTypeError, "the value of")  # deleted? then this raises
        out = self.process(primitive, lifted)
        borrowed = [x for x in args if isinstance(x, np.ndarray) and x.flags.writeable]
        if not borrowed:
            return out
        if primitive.multiple_results:
            return [_disown(y, borrowed) for y in out]
        return _disown(out, borrowed)


def _as_buffer(out: Any) -> Any:
    return np.asarray(out) if isinstance(out, np.generic) else out


def _disown(x: ConcreteArray, borrowed: Sequence[np.ndarray[Any, Any]]) -> ConcreteArray:
    """`x`, in memory of its own when it shares that of the user's arrays."""
    if any(np.may_share_memory(x._buffer, b) for b in borrowed):
        return ConcreteArray(x._buffer.copy(), x.aval)
    return x


EVAL = EvalTrace()


State.root = EVAL
state.trace = EVAL


@final
class current_trace:
    """Make `trace` current within a block."""

    __slots__ = ("at_once", "before", "trace")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __enter__(self) -> None:
        self.before, self.at_once = state.trace, state.at_once
        state.trace = self.trace
        state.at_once = state.quiet.run if self.trace is EVAL else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state.trace, state.at_once = self.before, self.at_once


@contextmanager
def named_axis(name: Any, size: int) -> Iterator[None]:
    """Bring a mapped axis into scope for collectives. `None` names none."""
    before = state.axes
    if name is not None:
        state.axes = {**before, name: size}
    try:
        yield
    finally:
        state.axes = before


def axis_size(name: Any) -> int:
    """The size of a mapped axis in scope. Raises UnboundAxisNameError."""
    if name not in state.axes:
        known = ", ".join(repr(n) for n in state.axes) or "none"
        raise UnboundAxisNameError(
            f"axis name: no enclosing vmap binds {name!r}, axes in scope: {known}; "
            f"pass axis_name={name!r} to vmap"
        )
    return state.axes[name]


@final
class JaxprBuilder:
    """Equations as they are recorded, and the constants that they meet."""

    def __init__(self) -> None:
        self.eqns: list[Eqn] = []
        self.invars: list[Var] = []
        self.constants: dict[int, tuple[Var, Array]] = {}

    def new_input(self, aval: ShapedArray) -> Var:
        v = Var(aval)
        self.invars.append(v)
        return v

    def constant(self, x: Array) -> Atom:
        """An atom for a value from outside: a literal for a concrete number, else a constvar."""
        if isinstance(x, ConcreteArray) and not x.aval.shape and x.aval.dtype.names is None:
            return Literal(x)
        if isinstance(x, Tracer):
            x.check_alive()
        found = self.constants.get(id(x))
        if found is None:
            # The entry keeps x alive, so that its id stays its own.
            found = self.constants[id(x)] = (Var(x.aval), x)
        return found[0]

    def record(
        self,
        primitive: Primitive,
        invars: Sequence[Atom],
        out_avals: Any,
        source: SourceInfo | None,
    ) -> list[Var]:
        outvars = [Var(a) for a in (out_avals if primitive.multiple_results else (out_avals,))]
        self.eqns.append(Eqn(primitive, invars, outvars, source))
        return outvars

    def build(self, outvars: Sequence[Atom], debug_info: DebugInfo) -> tuple[Jaxpr, list[Array]]:
        constvars = [v for v, _ in self.constants.values()]
        consts = [c for _, c in self.constants.values()]
        return Jaxpr(constvars, self.invars, outvars, self.eqns, debug_info), consts


@final
class JaxprTracer(Tracer):
    """A value of a program that is being recorded."""

    __slots__ = ("_source", "_var", "aval")

    def __init__(
        self, trace: Trace, aval: ShapedArray, var: Var, source: SourceInfo | None = None
    ) -> None:
        self._trace = trace
        self.aval = aval
        self._var = var
        self._source = source

    def _origin(self) -> str:
        return f" made at {self._source}" if self._source else " (an argument)"


@final
class JaxprTrace(Trace):
    """Records every operation, also those on constants: what runs under it becomes a program."""

    def __init__(self, transform: str, function: str) -> None:
        self.transform = transform
        self.function = function
        self.builder = JaxprBuilder()

    def new_input(self, aval: ShapedArray) -> JaxprTracer:
        return JaxprTracer(self, aval, self.builder.new_input(aval))

    def atom(self, x: Any) -> Atom:
        """The atom of an output or operand."""
        if x.__class__ is JaxprTracer and x._trace is self:
            return x._var
        return self.builder.constant(lift(x))

    def process(self, primitive: Primitive, args: Sequence[Any]) -> Any:
        invars = [self.atom(x) for x in args]
        out_avals = primitive.infer(tuple([a.aval for a in invars]))
        source = source_info.capture()
        outvars = self.builder.record(primitive, invars, out_avals, source)
        tracers = [JaxprTracer(self, v.aval, v, source) for v in outvars]
        return tracers if primitive.multiple_results else tracers[0]


@final
class PartialTrace(Trace):
    """Hands on what is known to its parent and records what depends on unknown inputs.

    Under `linearize` the unknown inputs are tangents, so that the recorded program is linear.
    whole: operations that hold programs are not split into a known and an unknown part, and those
        with effects are recorded.
    """

    def __init__(self, parent: Trace, transform: str, function: str, whole: bool = False) -> None:
        self.parent = parent
        self.whole = whole
        self.transform = transform
        self.function = function
        self.builder = JaxprBuilder()

    def new_input(self, aval: ShapedArray) -> JaxprTracer:
        return JaxprTracer(self, aval, self.builder.new_input(aval))

    def is_unknown(self, x: Any) -> bool:
        return x.__class__ is JaxprTracer and x._trace is self

    def atom(self, x: Any) -> Atom:
        return x._var if self.is_unknown(x) else self.builder.constant(lift(x))

    def process(self, primitive: Primitive, args: Sequence[Any]) -> Any:
        for x in args:
            if x.__class__ is JaxprTracer and x._trace is self:
                if self.whole:
                    return self.record(primitive, args)
                return primitive.partial_eval(self, args)
        if self.whole and primitive.effectful:
            return self.record(primitive, args)
        return self.parent.process(primitive, args)

    def record(self, primitive: Primitive, args: Sequence[Any]) -> Any:
        """Record the operation whole."""
        invars = [self.atom(x) for x in args]
        out_avals = primitive.infer(tuple([a.aval for a in invars]))
        source = source_info.capture()
        outvars = self.builder.record(primitive, invars, out_avals, source)
        tracers = [JaxprTracer(self, v.aval, v, source) for v in outvars]
        return tracers if primitive.multiple_results else tracers[0]


def beside(arrays: Sequence[Any]) -> AbstractContextManager[None]:
    """A block in which new arrays are made on the device of the first of `arrays` on a GPU."""
    for x in arrays:
        if isinstance(x, ConcreteArray) and x._buffer.__class__ is not _ndarray:
            return device.default_device(x.device)
    return _NOTHING


_NOTHING: AbstractContextManager[None] = nullcontext()


def operand(x: Any, what: str = "array argument") -> Array:
    """`x` as an Array, for an operation whose result never shares its operands' memory.

    Computed at once, the operation is done with an ndarray when it returns, and nothing is copied;
    recorded, it refers to the array later. Scalars are copied always: of them a reduction, say, may
    be the operand itself.
    Raises: ArgumentError for what is not array-like.
    """
    if state.trace is EVAL and isinstance(x, np.ndarray) and x.ndim:
        return borrow(x, what=what)
    return lift(x, what=what)

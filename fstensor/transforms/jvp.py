"""Forward-mode differentiation: every value travels with its tangent.

For y = f(x) and a tangent t of x, the tangent of y is f'(x) t. Each primitive knows that for
itself; a program's tangents follow by composition. A tangent that is zero by structure stays the
symbol ZERO, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes, ops, tree
from fstensor.array import Array, ConcreteArray, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import ZERO, Primitive, Value
from fstensor.core.state import state
from fstensor.core.trace import Trace, Tracer, beside, current_trace
from fstensor.errors import (
    ArgumentError,
    ConcretizationTypeError,
    DtypeError,
    ShapeError,
    TracerBoolConversionError,
    TreeError,
)
from fstensor.ops.shape import zeros_of
from fstensor.transforms.arguments import (
    FlatFunction,
    check_callable,
    lift_leaves,
    lift_outputs,
)
from fstensor.transforms.make_jaxpr import trace_closed


@final
class JVPTracer(Tracer):
    """A primal value and its tangent."""

    __slots__ = ("primal", "tangent")

    def __init__(self, trace: Trace, primal: Array, tangent: Value) -> None:
        self._trace = trace
        self.primal = primal
        self.tangent = tangent

    @property
    def aval(self) -> ShapedArray:  # type: ignore[override]  # read-only here
        return self.primal.aval

    def concretize(self, error: type[ConcretizationTypeError], what: str) -> Any:
        # Python may branch on a value whose derivative is followed; taking its number out of the
        # trace would drop the derivative in silence.
        if error is TracerBoolConversionError:
            self.check_alive()
            return self.primal.concretize(error, what)
        return super().concretize(error, what)

    def _origin(self) -> str:
        return self.tangent._origin() if isinstance(self.tangent, Tracer) else ""


@final
class JVPTrace(Trace):
    """Applies each primitive's jvp rule in the trace that was current before."""

    def __init__(self, parent: Trace, transform: str, function: str) -> None:
        self.parent = parent
        self.transform = transform
        self.function = function

    def split(self, x: Any) -> tuple[Array, Value]:
        """The primal and tangent of a value; others than our own are constants."""
        if x.__class__ is JVPTracer and x._trace is self:
            return x.primal, x.tangent
        return (x if isinstance(x, Array) else lift(x)), ZERO

    def join(self, primal: Array, tangent: Value) -> Array:
        return primal if tangent is ZERO else JVPTracer(self, primal, tangent)

    def process(self, primitive: Primitive, args: Sequence[Any]) -> Any:
        primals, tangents = [], []
        active = False
        for x in args:
            if x.__class__ is JVPTracer and x._trace is self:
                primals.append(x.primal)
                tangents.append(x.tangent)
                active = True
            else:
                primals.append(x if isinstance(x, Array) else lift(x))
                tangents.append(ZERO)
        if not active:
            return self.parent.process(primitive, primals)
        with current_trace(self.parent):
            out, tangent = primitive.jvp(primals, tangents)
        if primitive.multiple_results:
            return [self.join(p, t) for p, t in zip(out, tangent, strict=True)]
        return out if tangent is ZERO else JVPTracer(self, out, tangent)


def instantiate(x: Value, aval: ShapedArray) -> Array:
    """The array of a tangent or cotangent: zeros of the tangent type of `aval` for ZERO."""
    if isinstance(x, Array):
        return x
    tangent = aval.tangent
    if dtypes.is_float0(tangent.dtype):
        return ConcreteArray(np.zeros(tangent.shape, dtypes.float0), tangent)
    return zeros_of(tangent)


def jvp_flat(
    function: Callable[..., Sequence[Any]],
    primals: Sequence[Array],
    tangents: Sequence[Value],
    parent: Trace,
    transform: str,
    name: str,
) -> tuple[list[Array], list[Value]]:
    """Outputs and tangents of a function of flat arguments; tangents may be ZERO, in and out."""
    trace = JVPTrace(parent, transform, name)
    try:
        with current_trace(trace), beside(primals):
            inputs = [trace.join(p, t) for p, t in zip(primals, tangents, strict=True)]
            outs = lift_outputs(function(*inputs), transform)
    finally:
        trace.alive = False
    pairs = [trace.split(x) for x in outs]
    return [p for p, _ in pairs], [t for _, t in pairs]


def jvp_jaxpr(
    closed: ClosedJaxpr, active: tuple[bool, ...], forced: tuple[bool, ...] | None = None
) -> tuple[ClosedJaxpr, list[bool]]:
    """The program of outputs and tangents of a program.

    Its inputs are those of `closed`, then a tangent for each active one; its outputs are those of
    `closed`, then the tangents that are not zero by structure, which the second result marks.
    forced: outputs whose tangents are made arrays even where they are zero by structure.
    """
    key = ("jvp", active, forced)
    return closed.derive(key, lambda: _jvp_jaxpr(closed, active, forced))


def _jvp_jaxpr(
    closed: ClosedJaxpr, active: tuple[bool, ...], forced: tuple[bool, ...] | None
) -> tuple[ClosedJaxpr, list[bool]]:
    marks: list[bool] = []
    count = len(closed.in_avals)
    tangent_avals = [a.tangent for a, on in zip(closed.in_avals, active, strict=True) if on]

    def function(*args: Array) -> list[Array]:
        given = iter(args[count:])
        tangents = [next(given) if on else ZERO for on in active]
        outs, out_tangents = jvp_flat(
            closed.as_function(), args[:count], tangents, state.trace, "jvp", closed.name
        )
        if forced is not None:
            out_tangents = [
                instantiate(t, x.aval) if on else t
                for t, x, on in zip(out_tangents, outs, forced, strict=True)
            ]
        marks.extend(t is not ZERO for t in out_tangents)
        return [*outs, *(t for t in out_tangents if t is not ZERO)]

    return trace_closed(function, [*closed.in_avals, *tangent_avals], "jvp", closed.name), marks


@boundary
def jvp(
    fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False
) -> tuple[Any, ...]:
    """The value of `fun` at `primals` and its directional derivative along `tangents`.

    primals, tangents: tuples or lists with an entry for each argument of `fun`, of equal tree
    structure, shapes and dtypes; the tangent of an integer or bool array has dtype float0.
    Returns (out, out_tangent); (out, out_tangent, aux) when has_aux and `fun` returns (out, aux).
    Raises: TreeError, ShapeError or DtypeError when tangents do not fit primals.

    >>> import fstensor as fst
    >>> fst.jvp(fst.numpy.square, (3.0,), (1.0,))
    (Array(9., dtype=float32, shape=(), weak_type=True), Array(6., dtype=float32, shape=()))
    """
    check_callable(fun, "jvp")
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise ArgumentError(
            "jvp: primals and tangents must be tuples or lists, "
            f"got {type(primals).__name__} and {type(tangents).__name__}"
        )
    primal_leaves, in_tree = tree.flatten(tuple(primals))
    tangent_leaves, tangent_tree = tree.flatten(tuple(tangents))
    if in_tree != tangent_tree:
        difference = tree.describe_mismatch(in_tree, tuple(tangents))
        raise TreeError(f"jvp: tangents must have the structure of primals; {difference}")
    ps = lift_leaves(primal_leaves, "jvp")
    ts = [check_tangent(t, p.aval, "jvp: tangent") for p, t in zip(ps, tangent_leaves, strict=True)]
    flat = FlatFunction(fun, in_tree, "jvp", has_aux)
    outs, out_tangents = jvp_flat(flat, ps, ts, state.trace, "jvp", flat.name)
    filled = [instantiate(t, p.aval) for p, t in zip(outs, out_tangents, strict=True)]
    out, aux = flat.outputs(outs)
    out_tangent, _ = flat.outputs(filled)
    return (out, out_tangent, aux) if has_aux else (out, out_tangent)


def check_tangent(t: Any, primal: ShapedArray, what: str) -> Value:
    """The tangent or cotangent `t` of `primal`, ZERO for float0. Raises if its type is another."""
    expected = primal.tangent
    x = lift_leaves([t], what)[0]
    if x.weak_type and x.dtype != expected.dtype and dtypes.is_inexact(expected.dtype):
        x = ops.convert.convert_element_type(x, expected.dtype)
    if x.shape != expected.shape:
        raise ShapeError(f"{what} must have the shape of its primal, got {x.aval} for {primal}")
    if x.dtype != expected.dtype:
        hint = "; the tangent of an integer or bool array is np.zeros(shape, fstensor.float0)"
        raise DtypeError(
            f"{what} must have dtype {dtypes.name(expected.dtype)}, "
            f"got {x.aval} for {primal}{hint if dtypes.is_float0(expected.dtype) else ''}"
        )
    return ZERO if dtypes.is_float0(x.dtype) else x

"""Rematerialization: values of the forward pass are computed again instead of kept.

Reverse mode keeps, of each operation, what its derivative needs, until the backward pass gets
there. `checkpoint` keeps a function's inputs alone, and runs the function once more when its
derivative is asked for: about a third more work for much less memory (A. Griewank, "Achieving
logarithmic growth of temporal and spatial complexity in reverse automatic differentiation", 1992).
A policy may let some values be kept that are dear to compute.

Under `linearize` the program, which the jvp rule has made of the function's, is split into what the
primal values determine and what is linear in the tangents. The first is computed; of its values,
those are kept that the policy allows and the rest needs. The second is recorded together with
equations that compute everything else again, as a checkpoint that is `differentiated`. It is
transposed as a whole: what does not depend on tangents runs first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast, final

from fstensor import tree
from fstensor.array import Array
from fstensor.config import config
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary
from fstensor.core.inline import inline_calls
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Var, dce, dce_closed
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value, primitive
from fstensor.core.state import state
from fstensor.core.trace import EVAL, PartialTrace, Tracer, current_trace
from fstensor.device import current_default_device
from fstensor.errors import ArgumentError, OptionError
from fstensor.ops.barrier import OptimizationBarrier
from fstensor.transforms.arguments import (
    check_callable,
    fix_others,
    lift_leaves,
    lift_outputs,
)
from fstensor.transforms.captures import Captures
from fstensor.transforms.checkpoint_policies import AllBut, Either, Name, Policy, checked
from fstensor.transforms.jit import Jit, signatures_of
from fstensor.transforms.jvp import jvp_jaxpr
from fstensor.transforms.linearize import split_jaxpr
from fstensor.transforms.make_jaxpr import trace_closed, trace_flat
from fstensor.transforms.programs import ProgramPrimitive, check_inputs, run
from fstensor.transforms.transpose import transpose_jaxpr
from fstensor.transforms.vmap import batch_jaxpr

F = TypeVar("F", bound=Callable[..., Any])

_MOST_SIGNATURES = 1024  # of one function; the oldest goes first


@final
@primitive("checkpoint")
class Checkpoint(ProgramPrimitive):
    """A call of a program whose values are computed again for its derivative.

    policy: which values may be kept instead; None for none.
    prevent_cse: whether the second computation is kept apart from the first by a barrier; for all
        operands, or for each.
    differentiated: whether this is the second computation, with what is linear in tangents.
    """

    jaxpr: ClosedJaxpr
    policy: Policy | None
    prevent_cse: bool | tuple[bool, ...]
    differentiated: bool

    @property
    def programs(self) -> tuple[ClosedJaxpr, ...]:
        return (self.jaxpr,)

    def _with(
        self,
        program: ClosedJaxpr,
        prevent_cse: bool | tuple[bool, ...],
        differentiated: bool | None = None,
    ) -> Checkpoint:
        differentiated = self.differentiated if differentiated is None else differentiated
        return Checkpoint(program, self.policy, prevent_cse, differentiated)

    def _barred(self, marks: Sequence[bool], wanted: bool = True) -> list[bool]:
        """What `prevent_cse` says of the operands that are marked."""
        count = len(self.jaxpr.in_avals)
        each = (
            self.prevent_cse if isinstance(self.prevent_cse, tuple) else [self.prevent_cse] * count
        )
        return [b for b, on in zip(each, marks, strict=True) if on == wanted]

    def _united(self, barred: Sequence[bool]) -> bool | tuple[bool, ...]:
        """One answer for all operands if that is how it was given, else one for each."""
        return tuple(barred) if isinstance(self.prevent_cse, tuple) else self.prevent_cse

    def abstract(self, *avals: ShapedArray) -> tuple[ShapedArray, ...]:
        check_inputs("checkpoint", self.jaxpr, avals)
        return self.jaxpr.out_avals

    def impl(self, xp: Any, *buffers: Any) -> Any:
        return run(self.jaxpr, xp, buffers)

    def inlined_program(self) -> ClosedJaxpr:
        barred = tuple(self._barred([True] * len(self.jaxpr.in_avals)))
        if not self.differentiated or not any(barred):
            return self.jaxpr
        return self.jaxpr.derive(("barrier", barred), lambda: _behind_barrier(self.jaxpr, barred))

    def without_unused(
        self, used: Sequence[bool]
    ) -> tuple[Primitive, Sequence[bool], Sequence[bool]]:
        program, ins = dce_closed(self.jaxpr, tuple(used))
        return self._with(program, self._united(self._barred(ins))), ins, used

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        active = tuple([t is not ZERO for t in tangents])
        program, marks = jvp_jaxpr(self.jaxpr, active)
        given = [t for t in tangents if t is not ZERO]
        barred = [*self._barred([True] * len(active)), *[True] * len(given)]
        results = self._with(program, self._united(barred)).bind(*primals, *given)
        count = len(self.jaxpr.out_avals)
        out_tangents = iter(results[count:])
        return results[:count], [next(out_tangents) if on else ZERO for on in marks]

    def partial_eval(self, trace: PartialTrace, args: Sequence[Value]) -> Any:
        unknown = tuple([trace.is_unknown(x) for x in args])
        parts = self.jaxpr.derive(
            ("checkpoint", unknown, self.policy),
            lambda: _Parts(self.jaxpr, unknown, self.policy),
        )
        known = [x for x, on in zip(args, unknown, strict=True) if not on]
        if trace.parent is EVAL:  # as one program, which drops each value after its last use
            outs = EVAL.process(Checkpoint(parts.known, None, False, False), known)
        else:
            with current_trace(trace.parent):
                outs = parts.known.as_function()(*known)
        count = parts.unknown_outs.count(False)
        saved = outs[count:]
        needed = [x for x, on in zip(known, parts.needed, strict=True) if on]
        active = [x for x, on in zip(args, unknown, strict=True) if on]
        of_needed = [
            b for b, on in zip(self._barred(unknown, False), parts.needed, strict=True) if on
        ]
        barred = [*[True] * len(saved), *of_needed, *self._barred(unknown)]
        rest = self._with(parts.rest, self._united(barred), True)
        recorded = iter(trace.record(rest, [*saved, *needed, *active]))
        found = iter(outs)
        return [next(recorded) if on else next(found) for on in parts.unknown_outs]

    def transpose(self, cts: Any, *args: Value) -> Sequence[Value]:
        linear = tuple([isinstance(x, Linear) for x in args])
        arrived = tuple([ct is not ZERO for ct in cts])
        program, marks, ins = self.jaxpr.derive(
            ("checkpoint transpose", linear, arrived),
            lambda: _transposed(self.jaxpr, linear, arrived),
        )
        residuals = [x for x, on in zip(args, linear, strict=True) if not on]
        operands = [*residuals, *(ct for ct in cts if ct is not ZERO)]
        barred = [*self._barred(linear, False), *[True] * sum(arrived)]
        backwards = self._with(program, self._united(_selected(barred, ins)), True)
        results = iter(backwards.bind(*_selected(operands, ins)))
        found = iter([next(results) if on else ZERO for on in marks])
        return [next(found) if on else None for on in linear]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        program, out_dims = batch_jaxpr(self.jaxpr, axis, tuple(dims))
        return self._with(program, self.prevent_cse).bind(*args), out_dims


def _selected(values: Iterable[Any], marks: Iterable[bool]) -> list[Any]:
    return [x for x, on in zip(values, marks, strict=True) if on]


def _behind_barrier(closed: ClosedJaxpr, barred: tuple[bool, ...]) -> ClosedJaxpr:
    """The program with its inputs behind a barrier, so that no equation equals one outside."""

    def function(*args: Array) -> list[Array]:
        passed = iter(OptimizationBarrier().bind(*_selected(args, barred)))
        given = [next(passed) if on else x for x, on in zip(args, barred, strict=True)]
        return closed.as_function()(*given)

    return trace_closed(function, closed.in_avals, "checkpoint", closed.name)


def _transposed(
    closed: ClosedJaxpr, linear: tuple[bool, ...], arrived: tuple[bool, ...]
) -> tuple[ClosedJaxpr, list[bool], list[bool]]:
    """The transpose, without what it does not need.

    Its inputs are those residuals, and cotangents of the outputs where one arrived, that are marked
    in the last result. Its outputs are the cotangents that the second result marks.
    """
    j = closed.jaxpr
    outvars = _selected(j.outvars, arrived)
    opened = ClosedJaxpr(Jaxpr(j.constvars, j.invars, outvars, j.eqns, j.debug_info), closed.consts)
    program, marks = transpose_jaxpr(opened, linear)
    program, ins = dce_closed(program, (True,) * len(program.out_avals))
    return program, marks, ins


# The split


@final
class _Parts:
    """A program in two parts: what is computed at once, and what computes its values again.

    known: from the known inputs to the known outputs, then the values to keep.
    rest: from the values to keep, the needed ones of the known inputs, and the unknown inputs, to
        the unknown outputs, which `unknown_outs` marks.
    """

    def __init__(
        self, closed: ClosedJaxpr, unknown: tuple[bool, ...], policy: Policy | None
    ) -> None:
        split = split_jaxpr(closed, unknown)
        self.unknown_outs = split.unknown_outs
        # Policies look at single operations, also at those in calls.
        flat = inline_calls(split.known, _calls)
        known = flat.jaxpr
        available = [*known.invars, *known.outvars]
        residuals = [available[i] for i in split.residuals]
        fixed = _kept_equations(known.eqns, policy)
        repeated = [e for i, e in enumerate(known.eqns) if i not in fixed]
        again = dce(Jaxpr(known.constvars, known.invars, residuals, repeated))
        values: dict[Atom, Atom] = dict(zip(split.unknown.jaxpr.invars, residuals, strict=False))
        linear = split.unknown.jaxpr
        eqns = [
            *again.eqns,
            *(
                Eqn(e.primitive, [values.get(a, a) for a in e.invars], e.outvars, e.source_info)
                for e in linear.eqns
            ),
        ]
        outvars = [values.get(a, a) for a in linear.outvars]
        read: set[Atom] = {a for e in eqns for a in e.invars} | set(outvars)
        saved = [v for i in sorted(fixed) for v in known.eqns[i].outvars if v in read]
        self.needed = [v in read for v in known.invars]
        self.known = _closed(flat, known.invars, [*known.outvars[: split.known_count], *saved])
        inputs = [*saved, *_selected(known.invars, self.needed), *linear.invars[len(residuals) :]]
        whole = Jaxpr(known.constvars, inputs, outvars, eqns, linear.debug_info)
        self.rest = _with_used_constants(whole, flat.consts)


def _calls(primitive: Primitive) -> ClosedJaxpr | None:
    return primitive.called_program() if isinstance(primitive, Jit) else None


def _closed(closed: ClosedJaxpr, invars: list[Var], outvars: list[Atom]) -> ClosedJaxpr:
    j = closed.jaxpr
    return _with_used_constants(
        dce(Jaxpr(j.constvars, invars, outvars, j.eqns, j.debug_info)), closed.consts
    )


def _with_used_constants(jaxpr: Jaxpr, consts: Sequence[Array]) -> ClosedJaxpr:
    read: set[Atom] = {a for e in jaxpr.eqns for a in e.invars} | set(jaxpr.outvars)
    pairs = [(v, c) for v, c in zip(jaxpr.constvars, consts, strict=True) if v in read]
    opened = Jaxpr([v for v, _ in pairs], jaxpr.invars, jaxpr.outvars, jaxpr.eqns, jaxpr.debug_info)
    return ClosedJaxpr(opened, [c for _, c in pairs])


def _kept_equations(eqns: Sequence[Eqn], policy: Policy | None) -> set[int]:
    """The places of equations that do not run again: their results are kept where needed.

    What has effects runs once.
    """
    kept = {i for i, e in enumerate(eqns) if e.primitive.effectful}
    return kept if policy is None else kept | _saveable(eqns, policy)


def _saveable(eqns: Sequence[Eqn], policy: Policy) -> set[int]:
    if isinstance(policy, Either):
        return _saveable(eqns, policy.first) | _saveable(eqns, policy.second)
    refused: set[Atom] = set()
    if isinstance(policy, AllBut):  # of a named value, also the one that the name was given to
        refused = {
            a
            for e in eqns
            if isinstance(e.primitive, Name) and not policy(e.primitive)
            for a in e.invars
        }
    return {
        i
        for i, e in enumerate(eqns)
        if refused.isdisjoint(e.outvars)
        and checked(policy, policy(e.primitive, *[a.aval for a in e.invars], **e.params))
    }


# The function


@final
class _Traced:
    """A function traced for one signature, and what it refers to, which it takes first."""

    def __init__(
        self, program: ClosedJaxpr, captured: list[Array], out_tree: tree.PyTreeDef
    ) -> None:
        self.program = program
        self.captured = captured
        self.out_tree = out_tree


@final
class _Function:
    """A function with static arguments, and its programs for the signatures seen so far."""

    def __init__(self, fun: Callable[..., Any], positions: Any, names: Any) -> None:
        self._fun = fun
        self._positions: tuple[int, ...] = (
            (positions,) if isinstance(positions, int) else tuple(positions)
        )
        self._names = frozenset([names] if isinstance(names, str) else names)
        if not all(isinstance(i, int) for i in self._positions):
            raise ArgumentError(f"checkpoint: static_argnums must be ints, got {positions!r}")
        if not all(isinstance(n, str) for n in self._names):
            raise ArgumentError(f"checkpoint: static_argnames must be strings, got {names!r}")
        self._signatures: dict[Any, _Traced] = signatures_of(
            fun, ("checkpoint", self._positions, self._names)
        )

    def traced(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[_Traced, Any, list[Array]]:
        """The program of a call, the tree of its arguments that are not static, their leaves."""
        positions = self._static_positions(len(args))
        dynamic = [i for i in range(len(args)) if i not in positions]
        given = tuple([args[i] for i in dynamic])
        named = {n: x for n, x in kwargs.items() if n not in self._names}
        leaves, in_tree = tree.flatten((given, named))
        values = lift_leaves(leaves, "checkpoint")
        static_named = {n: x for n, x in kwargs.items() if n in self._names}
        static = [*((i, args[i]) for i in sorted(positions)), *sorted(static_named.items())]
        arguments = (given, named) if named else given
        avals = tuple([x.aval for x in values])
        scope, home = tuple(state.axes.items()), current_default_device()
        typed = tuple([(n, type(x), x) for n, x in static])
        key: Any = (in_tree, avals, typed, config.tracing_key(), scope, home)
        try:
            found = self._signatures.get(key)
        except TypeError:  # a static argument that cannot be told from others
            found, key = None, None
        if found is None:

            def of_dynamic(*given: Any, **named: Any) -> Any:
                full = {**static_named, **named}
                return fix_others(self._fun, args, full, dynamic)(*given)

            found, may_stay = self._trace(of_dynamic, avals, in_tree)
            if may_stay and key is not None:
                self._signatures[key] = found
                if len(self._signatures) > _MOST_SIGNATURES:
                    self._signatures.pop(next(iter(self._signatures)), None)
        return found, arguments, values

    def _static_positions(self, count: int) -> frozenset[int]:
        for i in self._positions:
            if not -count <= i < count:
                raise OptionError(
                    f"checkpoint: static_argnums={self._positions} names an argument that was not "
                    f"passed by position, got {count} positional argument"
                    f"{'' if count == 1 else 's'}"
                )
        return frozenset([i % count for i in self._positions])

    def _trace(
        self,
        of_dynamic: Callable[..., Any],
        avals: tuple[ShapedArray, ...],
        in_tree: tree.PyTreeDef,
    ) -> tuple[_Traced, bool]:
        """The program, and whether it holds for later calls."""
        out_tree: list[tree.PyTreeDef] = []

        def flat(*leaves: Array) -> list[Array]:
            given, named = tree.unflatten(in_tree, leaves)
            outs, structure = tree.flatten(of_dynamic(*given, **named))
            out_tree.append(structure)
            return lift_outputs(outs, "checkpoint")

        name = source_info.describe_function(self._fun)
        enclosing, captures = state.captures, Captures()
        state.captures = captures
        try:
            jaxpr, captured = trace_flat(flat, avals, "checkpoint", name)
        finally:
            state.captures = enclosing
        ndarrays = captures.remaining()  # which may be written into until the next call
        if enclosing is not None:
            enclosing.extend(ndarrays)
        # What it refers to from outside is an operand like the others, and is kept like them.
        invars = [*jaxpr.constvars, *jaxpr.invars]
        program = ClosedJaxpr(Jaxpr([], invars, jaxpr.outvars, jaxpr.eqns, jaxpr.debug_info))
        may_stay = not ndarrays and not any(isinstance(c, Tracer) for c in captured)
        return _Traced(program, captured, out_tree[0]), may_stay


def checkpoint(
    fun: F,
    *,
    prevent_cse: bool | Sequence[Any] = True,
    policy: Policy | None = None,
    static_argnums: int | tuple[int, ...] = (),
    static_argnames: str | Iterable[str] = (),
) -> F:
    """A function with the results of `fun` whose values are computed again for its derivative.

    Reverse mode keeps the arguments of `fun`, and not what it computes of them; when the backward
    pass gets there, `fun` runs once more. Around layers, or around the body of a `lax.scan`, this
    saves memory for about a third more work.
    prevent_cse: keep the compiler from merging the second computation with the first, which would
        keep the values after all. A tuple, a tree prefix of the arguments, tells it for each. It
        may be False in a `lax.scan`, where the two are in different loops.
    policy: a function of an operation (its primitive, the avals of its operands, its parameters by
        name) that tells whether its results may be kept; see `checkpoint_policies`. Without it
        nothing is kept but what operations with effects give, which run once.
    static_argnums, static_argnames: arguments passed to `fun` as they are, not traced.
    Returns a function of the same arguments, of trees of arrays. `fun` must be pure: it is traced
    once for each signature.
    Raises: ArgumentError or OptionError for wrong options and arguments.

    >>> import fstensor as fst
    >>> block = fst.checkpoint(lambda x: fst.numpy.sin(fst.numpy.sin(x)))
    >>> fst.print_saved_residuals(block, 2.0)
    f32[] from the argument x
    """
    check_callable(fun, "checkpoint")
    if isinstance(prevent_cse, list):
        prevent_cse = tuple(prevent_cse)
    if not isinstance(prevent_cse, (bool, tuple)):
        kind = type(prevent_cse).__name__
        raise ArgumentError(f"checkpoint: prevent_cse must be a bool or a tuple, got {kind}")
    if policy is not None:
        _check_policy(policy)
    function = _Function(fun, static_argnums, static_argnames)

    @functools.wraps(fun)
    @boundary
    def call(*args: Any, **kwargs: Any) -> Any:
        traced, arguments, values = function.traced(args, kwargs)
        barred = prevent_cse
        if isinstance(barred, tuple):
            each = tree.flatten_prefix(barred, arguments, "checkpoint: prevent_cse")
            barred = (*[False] * len(traced.captured), *map(bool, each))
        operation = Checkpoint(traced.program, policy, barred, False)
        outs = operation.bind(*traced.captured, *values)
        return tree.unflatten(traced.out_tree, outs)

    return cast(F, call)


remat = checkpoint


def _check_policy(policy: Any) -> None:
    check_callable(policy, "checkpoint: policy")
    try:
        hash(policy)
    except TypeError:
        raise ArgumentError(
            f"checkpoint: a policy must be hashable, got {type(policy).__name__}; "
            "make it a function or a frozen dataclass"
        ) from None


@boundary
def checkpoint_name(x: Any, name: str) -> Any:
    """`x`, a tree of arrays, under a name that policies of `checkpoint` refer to.

    >>> import fstensor as fst
    >>> def f(x):
    ...     y = fst.checkpoint_name(fst.numpy.sin(x), "y")
    ...     return fst.numpy.sin(y)
    >>> policy = fst.checkpoint_policies.save_only_these_names("y")
    >>> len(fst.make_jaxpr(fst.grad(fst.checkpoint(f, policy=policy)))(1.0).eqns)
    4
    """
    if not isinstance(name, str):
        raise ArgumentError(f"checkpoint_name: the name must be a string, got {name!r}")
    leaves, structure = tree.flatten(x)
    named = Name(name)
    return tree.unflatten(
        structure, [named.bind(v) for v in lift_leaves(leaves, "checkpoint_name")]
    )

"""`while_loop`: a loop for as long as a condition holds.

In the forward mode its derivative is such a loop, too. For the reverse mode, the part of the body
that the primal values determine runs as a loop that records, on tapes that grow with it, what the
rest needs; the rest is a scan of unknown length over these tapes (see `scan`), which transposes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, final

import numpy as np

from fstensor import dtypes, tree
from fstensor.array import Array, ConcreteArray
from fstensor.config import config
from fstensor.control.common import (
    Traced,
    carry_fixpoint,
    chosen,
    int32,
    lifted_tree,
    rearranged,
    select,
    split_at,
    trace_tree_function,
    with_unread_inputs,
)
from fstensor.control.cond import cond
from fstensor.control.known_loop import KnownLoop, split_body
from fstensor.control.scan import TAPE, Scan, scan
from fstensor.control.tapes import spread
from fstensor.control.unused import condition_reads, condition_without, smaller_body
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary
from fstensor.core.control_flow import Loop, Round
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import ZERO, MappedAxis, Primitive, Value, primitive
from fstensor.core.tape import Tape, wrapped
from fstensor.core.trace import PartialTrace, current_trace
from fstensor.errors import ArgumentError, JaxprTypeError, OptionError
from fstensor.ops.convert import convert_element_type
from fstensor.ops.elementwise import add
from fstensor.ops.index import batch_first
from fstensor.ops.reduce import reduce_or
from fstensor.transforms.jvp import instantiate, jvp_jaxpr
from fstensor.transforms.make_jaxpr import trace_closed
from fstensor.transforms.programs import ProgramPrimitive, runner
from fstensor.transforms.vmap import batch_jaxpr

Carry = TypeVar("Carry")
_COUNT = ShapedArray((), np.dtype(np.int32))


@final
@primitive("while")
class While(ProgramPrimitive):
    """The loop. Operands: the consts of the condition, those of the body, the carry.

    recorded: the loop gives the number of its steps first, and what the body returns after the
        carry, of each step, on tapes.
    """

    cond_jaxpr: ClosedJaxpr
    body_jaxpr: ClosedJaxpr
    cond_nconsts: int
    body_nconsts: int
    recorded: bool = False

    @property
    def programs(self) -> tuple[ClosedJaxpr, ...]:
        return (self.cond_jaxpr, self.body_jaxpr)

    def printed_params(self) -> dict[str, Any]:
        params = self.params
        if not self.recorded:
            del params["recorded"]
        return params

    def split(self, values: Sequence[Any]) -> list[list[Any]]:
        """Operands, or what belongs to them: consts of the condition, of the body, the carry."""
        return split_at(values, self.cond_nconsts, self.body_nconsts)

    @property
    def num_carry(self) -> int:
        return len(self.body_jaxpr.in_avals) - self.body_nconsts

    def with_body(self, body: ClosedJaxpr, body_nconsts: int, recorded: bool) -> While:
        """The same loop around another body, whose carry may be longer at its end."""
        more = body.in_avals[body_nconsts:][self.num_carry :]
        condition = with_unread_inputs(self.cond_jaxpr, more, len(self.cond_jaxpr.in_avals))
        return While(condition, body, self.cond_nconsts, body_nconsts, recorded)

    def abstract(self, *avals: ShapedArray) -> list[ShapedArray]:
        of_cond, of_body, carry = self.split(avals)
        expected = self.body_jaxpr.in_avals
        outs, recorded = split_at(self.body_jaxpr.out_avals, self.num_carry)
        kept = expected[self.body_nconsts :]
        pairs = [
            *zip([*of_cond, *carry], self.cond_jaxpr.in_avals, strict=True),
            *zip([*of_body, *carry], expected, strict=True),
            *zip(outs, kept, strict=True),
        ]
        if not all(a.same_type(b) for a, b in pairs) or (recorded and not self.recorded):
            raise JaxprTypeError(
                f"while: the body takes {expected} and returns {outs}, got {avals}"
            )
        if not self.recorded:
            return list(kept)
        return [_COUNT, *kept, *[TAPE] * len(recorded)]

    def without_unused(
        self, used: Sequence[bool]
    ) -> tuple[Primitive, list[bool], list[bool]] | None:
        head, carry_on, tapes_on = split_at(used, self.recorded, self.num_carry)
        read = condition_reads(self.cond_jaxpr, self.cond_nconsts)
        needed = [a or b for a, b in zip(carry_on, read, strict=True)]
        body, ins, carry_on = smaller_body(self.body_jaxpr, self.body_nconsts, needed, tapes_on)
        body_on = ins[: self.body_nconsts]
        if all(carry_on) and all(tapes_on) and all(body_on):
            return None
        condition = condition_without(self.cond_jaxpr, self.cond_nconsts, carry_on)
        smaller = While(condition, body, self.cond_nconsts, sum(body_on), self.recorded)
        operands_on = [*[True] * self.cond_nconsts, *body_on, *carry_on]
        return smaller, operands_on, [*[True] * len(head), *carry_on, *tapes_on]

    def control_flow(self) -> Loop | None:
        if self.recorded:
            return None
        rounds = (Round(self.body_jaxpr, 1, None),)
        return Loop(
            rounds,
            self.body_nconsts,
            self.num_carry,
            condition=self.cond_jaxpr,
            num_condition_consts=self.cond_nconsts,
        )

    def impl(self, xp: Any, *buffers: Any) -> Any:
        of_cond, of_body, carry = self.split(buffers)
        holds = runner(self.cond_jaxpr, xp, buffers)
        step = runner(self.body_jaxpr, xp, buffers)
        count = 0
        tapes = [Tape() for _ in self.body_jaxpr.out_avals[self.num_carry :]]
        while holds(*of_cond, *carry)[0]:
            outs = step(*of_body, *carry)
            carry = outs[: self.num_carry]
            for tape, value in zip(tapes, outs[self.num_carry :], strict=True):
                tape.append(xp, value)
            count += 1
        if not self.recorded:
            return carry
        return [np.asarray(count, np.int32), *carry, *map(wrapped, tapes)]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        of_cond, of_body, carry = self.split(primals)
        _, t_body, t_carry = self.split(tangents)
        body_on = [t is not ZERO for t in t_body]
        carry_on = [t is not ZERO for t in t_carry]
        others = (False,) * (len(self.body_jaxpr.out_avals) - len(carry))
        while True:
            program, marks = jvp_jaxpr(self.body_jaxpr, (*body_on, *carry_on), (*carry_on, *others))
            if marks[: len(carry)] == carry_on:
                break
            carry_on = marks[: len(carry)]
        tape_on = marks[len(carry) :]
        t_start = [
            instantiate(t, x.aval) for t, x, on in zip(t_carry, carry, carry_on, strict=True) if on
        ]
        # From (consts, carry, their tangents) to (consts, tangents, carry, tangents).
        c, k, tc, tk = split_at(
            range(len(program.in_avals)), len(of_body), len(carry), sum(body_on)
        )
        out_k, out_y, out_tk, out_ty = split_at(
            range(len(program.out_avals)), len(carry), len(tape_on), len(tk)
        )
        body = rearranged(program, [*c, *tc, *k, *tk], [*out_k, *out_tk, *out_y, *out_ty])
        given = [t for t in t_body if t is not ZERO]
        loop = self.with_body(body, len(c) + len(tc), self.recorded)
        outs = loop.bind(*of_cond, *of_body, *given, *carry, *t_start)
        head, final, t_final, tapes, t_tapes = split_at(
            outs, self.recorded, len(carry), len(tk), len(tape_on)
        )
        found = iter([*t_final, *t_tapes])
        out_tangents = [next(found) if on else ZERO for on in [*carry_on, *tape_on]]
        return [*head, *final, *tapes], [*[ZERO] * len(head), *out_tangents]

    def partial_eval(self, trace: PartialTrace, args: Sequence[Value]) -> Any:
        unknown = [trace.is_unknown(x) for x in args]
        cond_on, body_on, carry_on = self.split(unknown)
        of_cond, of_body, carry = self.split(args)
        split, carry_on = split_body(self.body_jaxpr, body_on, carry_on, [])
        if any(cond_on) or self._condition_reads(carry_on):
            return trace.record(self, args)
        plan = KnownLoop(split, body_on, carry_on, [])
        fixed, start = chosen(of_body, body_on, False), chosen(carry, carry_on, False)
        with current_trace(trace.parent):
            hoisted = plan.hoisted.as_function()(*fixed)
            same = plan.pick_consts(fixed, hoisted)
            loop = While(
                self._condition_of(carry_on), plan.loop, self.cond_nconsts, len(same), True
            )
            outs = loop.bind(*of_cond, *same, *start)
        (count,), final, tapes = split_at(outs, 1, len(start))
        same, varying = plan.residuals(fixed, hoisted, [], tapes)
        body = rearranged(split.unknown, plan.unknown_order())
        unknown_carry = chosen(carry, carry_on)
        rest = Scan(body, None, len(unknown_carry), len(same) + sum(body_on), False, 1)
        recorded = trace.record(
            rest, [count, *same, *chosen(of_body, body_on), *unknown_carry, *varying]
        )
        known, found = iter([*final, *tapes]), iter(recorded)
        results = [next(found) if on else next(known) for on in split.unknown_outs]
        return [count, *results] if self.recorded else results

    def _condition_reads(self, marks: Sequence[bool]) -> bool:
        """Whether the condition depends on a marked part of the carry."""
        j = self.cond_jaxpr.jaxpr
        read = {a for eqn in j.eqns for a in eqn.invars} | set(j.outvars)
        return any(v in read for v in chosen(j.invars[self.cond_nconsts :], marks))

    def _condition_of(self, unknown: Sequence[bool]) -> ClosedJaxpr:
        """The condition, of the known part of the carry alone."""
        consts, carry = split_at(self.cond_jaxpr.in_avals, self.cond_nconsts)
        known = [a for a, on in zip(carry, unknown, strict=True) if not on]

        def function(*args: Array) -> list[Array]:
            fixed, given = args[: len(consts)], iter(args[len(consts) :])
            full = [_unread(a) if on else next(given) for a, on in zip(carry, unknown, strict=True)]
            return self.cond_jaxpr.as_function()(*fixed, *full)

        return trace_closed(function, [*consts, *known], "while_loop", self.cond_jaxpr.name)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        of_cond, of_body, carry = self.split(args)
        cond_dims, body_dims, carry_dims = self.split(dims)
        count = len(carry)
        forced_tapes = (False,) * (len(self.body_jaxpr.out_avals) - count)
        carry_on = tuple([d is not None for d in carry_dims])
        while True:
            at = [0 if on else None for on in carry_on]
            condition, (holds_dim,) = batch_jaxpr(self.cond_jaxpr, axis, (*cond_dims, *at))
            if holds_dim is not None:
                return self._batch_of_conditions(axis, args, dims)
            body, out_dims = batch_jaxpr(
                self.body_jaxpr, axis, (*body_dims, *at), (*carry_on, *forced_tapes)
            )
            found = tuple([d is not None for d in out_dims])
            if found == (*carry_on, *forced_tapes):
                break
            carry_on, forced_tapes = found[:count], found[count:]
        start = [
            batch_first(x, d, axis.size) if on else x
            for x, d, on in zip(carry, carry_dims, carry_on, strict=True)
        ]
        outs = While(condition, body, self.cond_nconsts, self.body_nconsts, self.recorded).bind(
            *of_cond, *of_body, *start
        )
        head, final, tapes = split_at(outs, self.recorded, count)
        tapes = [
            spread(t, axis.size) if on else t for t, on in zip(tapes, forced_tapes, strict=True)
        ]
        marks = [*carry_on, *forced_tapes]
        return [*head, *final, *tapes], [*[None] * len(head), *(0 if on else None for on in marks)]

    def _batch_of_conditions(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        """Loops that end at different times: all run as long as one does, finished ones stay.

        Each example counts its own steps.
        """
        if self.runs_only_where_due:
            raise OptionError(
                "vmap: a while_loop whose condition is mapped runs finished examples on, and so "
                "cannot have an io_callback; use debug.callback, which may run for them, too"
            )
        of_cond, of_body, carry = self.split(args)
        cond_dims, body_dims, carry_dims = self.split(dims)
        cond_avals, carry_avals = split_at(self.cond_jaxpr.in_avals, self.cond_nconsts)
        body_avals = self.body_jaxpr.in_avals[: self.body_nconsts]
        count = len(carry)
        sizes = len(of_cond), len(of_body)

        # One example: (consts of the condition, of the body; steps, carry).
        def step(*args: Array) -> list[Array]:
            for_cond, for_body, (steps,), values = split_at(args, *sizes, 1)
            (running,) = self.cond_jaxpr.as_function()(*for_cond, *values)
            new, tapes = split_at(self.body_jaxpr.as_function()(*for_body, *values), count)
            kept = [select(running, a, b) for a, b in zip(new, values, strict=True)]
            more = add(steps, convert_element_type(running, np.int32))
            return [more, *kept, *tapes]

        key = ("finished stay", self.cond_jaxpr, self.cond_nconsts, self.body_nconsts)
        avals = [*cond_avals, *body_avals, _COUNT, *carry_avals]
        one = self.body_jaxpr.derive(
            key, lambda: trace_closed(step, avals, "while_loop", self.body_jaxpr.name)
        )
        all_on = (True,) * len(one.out_avals)
        at = (0,) * (count + 1)
        body, _ = batch_jaxpr(one, axis, (*cond_dims, *body_dims, *at), all_on)
        each, (holds_dim,) = batch_jaxpr(self.cond_jaxpr, axis, (*cond_dims, *at[1:]), (True,))
        assert holds_dim == 0

        def some_hold(*args: Array) -> list[Array]:
            for_cond, _, values = split_at(args, len(of_cond), 1)
            return [reduce_or(each.as_function()(*for_cond, *values)[0], (0,))]

        in_avals = [*(x.aval for x in of_cond), *body.in_avals[sum(sizes) :]]
        condition = trace_closed(some_hold, in_avals, "while_loop", self.cond_jaxpr.name)
        start = [
            batch_first(int32(0), None, axis.size),
            *(batch_first(x, d, axis.size) for x, d in zip(carry, carry_dims, strict=True)),
        ]
        loop = While(condition, body, len(of_cond), sum(sizes), self.recorded)
        outs = loop.bind(*of_cond, *of_cond, *of_body, *start)
        if not self.recorded:
            return outs[1:], [0] * count
        _, steps, *rest = outs
        final, tapes = split_at(rest, count)
        spread_tapes = [spread(t, axis.size) for t in tapes]
        return [steps, *final, *spread_tapes], [0] * (1 + len(rest))


def _unread(aval: ShapedArray) -> Array:
    """A value for an input that a program does not read."""
    return ConcreteArray(np.zeros(aval.shape, aval.dtype), aval)


@boundary
def while_loop(
    cond_fun: Callable[[Carry], Any],
    body_fun: Callable[[Carry], Carry],
    init_val: Carry,
    *,
    max_steps: int | None = None,
) -> Carry:
    """A loop: value = init_val; while cond_fun(value): value = body_fun(value); return value.

    Both functions are traced once. The reverse mode keeps what each step needs in memory that grows
    with the number of steps; in that it goes beyond JAX.
    max_steps: the loop ends after so many steps even where its condition still holds. The memory
        for the reverse mode is then known before; each step costs the same, also those that are
        skipped once the condition has failed.
    Raises: CarryTypeError or TreeError when body_fun changes the type of the value, DtypeError or
        ShapeError when cond_fun does not return a bool scalar.

    >>> import fstensor as fst
    >>> fst.lax.while_loop(lambda x: x < 100, lambda x: 2 * x, 3).item()
    192
    """
    for f in (cond_fun, body_fun):
        if not callable(f):
            raise ArgumentError(f"while_loop: takes two functions, got {type(f).__name__}")
    if max_steps is not None:
        bounded: Carry = _bounded(cond_fun, body_fun, init_val, max_steps)
        return bounded
    leaves, init_tree = lifted_tree("while_loop", init_val)
    if config.disable_jit and all(isinstance(x, ConcreteArray) for x in leaves):
        value = init_val
        while cond_fun(value):
            value = body_fun(value)
        return value
    in_tree = tree.structure((init_val,))

    def trace(carry: Sequence[ShapedArray]) -> Traced:
        return trace_tree_function(body_fun, carry, in_tree, "while_loop")

    def carry_of(traced: Traced) -> tuple[tree.PyTreeDef, list[ShapedArray]]:
        return traced.out_tree, list(traced.out_avals)

    body, carry = carry_fixpoint("while_loop", trace, leaves, init_tree, carry_of)
    condition = trace_tree_function(cond_fun, [x.aval for x in carry], in_tree, "while_loop")
    _check_condition(condition)
    loop = While(condition.closed, body.closed, len(condition.captured), len(body.captured))
    outs = loop.bind(*condition.captured, *body.captured, *carry)
    result: Carry = tree.unflatten(init_tree, outs)
    return result


def _check_condition(condition: Traced) -> None:
    avals = condition.out_avals
    if condition.out_tree != tree.structure(0):
        raise ArgumentError(
            f"while_loop: cond_fun must return a bool scalar, got {condition.out_tree} from "
            f"{condition.closed.name}"
        )
    if len(avals) != 1 or avals[0].shape or not dtypes.is_bool(avals[0].dtype):
        got = ", ".join(map(str, avals)) or "nothing"
        raise ArgumentError(
            f"while_loop: cond_fun must return a bool scalar, got {got} from "
            f"{condition.closed.name}"
        )


def _bounded(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init: Any, max_steps: int
) -> Any:
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 0:
        raise OptionError(f"while_loop: max_steps must be a non-negative int, got {max_steps!r}")

    def step(value: Any, _: None) -> tuple[Any, None]:
        return cond(cond_fun(value), body_fun, lambda v: v, value), None

    return scan(step, init, None, length=max_steps)[0]

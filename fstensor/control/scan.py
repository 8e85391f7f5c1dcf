"""`scan`: a loop along leading axes, with a carry from step to step.

    carry[i+1], y[i] = body(consts, carry[i], x[i])

Its derivatives are scans themselves. For the reverse mode, the body is split into what the primal
values determine and what is linear in the tangents. The first part runs forwards and keeps what the
second needs; the second, transposed, runs backwards. What it needs is kept once: parts that are the
same in each step are computed once, outside of the loop; those that the loop reads along an axis,
or returns along one, are there already.

A scan of unknown length (`length` None) is what remains of a `while_loop` for its derivatives: it
takes the number of its steps first, and its x and y are tapes (`core.tape`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, final

import numpy as np

from fstensor import dtypes, tree
from fstensor.array import Array, lift
from fstensor.config import config
from fstensor.control.common import (
    Traced,
    carry_fixpoint,
    chosen,
    int32,
    leaf_paths,
    lifted_tree,
    rearranged,
    select,
    split_at,
    trace_tree_function,
)
from fstensor.control.known_loop import KnownLoop, split_body
from fstensor.control.tapes import spread, united
from fstensor.control.unused import smaller_body
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary
from fstensor.core.control_flow import Loop, Round
from fstensor.core.jaxpr import ClosedJaxpr, Jaxpr
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value, primitive
from fstensor.core.tape import Tape, unwrapped, wrapped, zero_tapes
from fstensor.core.trace import PartialTrace, current_trace
from fstensor.errors import ArgumentError, JaxprTypeError, OptionError, ShapeError
from fstensor.ops.arrange import concatenate
from fstensor.ops.elementwise import add, add_any, sub
from fstensor.ops.index import batch_first, index_in_dim
from fstensor.ops.logical import lt
from fstensor.ops.reduce import reduce_max
from fstensor.ops.shape import expand_dims, moveaxis, zeros_of
from fstensor.transforms.jvp import instantiate, jvp_jaxpr
from fstensor.transforms.make_jaxpr import trace_closed
from fstensor.transforms.programs import ProgramPrimitive, runner
from fstensor.transforms.transpose import backward_pass
from fstensor.transforms.vmap import batch_jaxpr

Carry = TypeVar("Carry")
TAPE = ShapedArray((), dtypes.tape)


@final
@primitive("scan")
class Scan(ProgramPrimitive):
    """The loop. Operands: the number of steps if `length` is None, consts, carry, and xs.

    jaxpr: the body, from consts, carry and one element of each x to carry and one of each y.
    unroll: how many steps are run as one program.
    """

    jaxpr: ClosedJaxpr
    length: int | None
    num_carry: int
    num_consts: int
    reverse: bool
    unroll: int

    @property
    def programs(self) -> tuple[ClosedJaxpr, ...]:
        return (self.jaxpr,)

    def split(self, values: Sequence[Any]) -> list[list[Any]]:
        """Operands, or what belongs to them, as [the number of steps], consts, carry, xs."""
        return split_at(values, self.length is None, self.num_consts, self.num_carry)

    def of_body(self, jaxpr: ClosedJaxpr, num_consts: int, num_carry: int) -> Scan:
        """The same loop around another body."""
        return Scan(jaxpr, self.length, num_carry, num_consts, self.reverse, self.unroll)

    def stacked(self, aval: ShapedArray) -> ShapedArray:
        """The type of an x or y whose elements have type `aval`."""
        if self.length is None:
            return TAPE
        return ShapedArray((self.length, *aval.shape), aval.dtype, aval.weak_type)

    def abstract(self, *avals: ShapedArray) -> list[ShapedArray]:
        _, consts, carry, xs = self.split(avals)
        expected = self.jaxpr.in_avals
        _, _, elements = split_at(expected, self.num_consts, self.num_carry)
        pairs = zip([*consts, *carry], expected, strict=False)
        if (
            len(avals) != len(expected) + (self.length is None)
            or not all(a.same_type(b) for a, b in pairs)
            or not all(x.same_type(self.stacked(e)) for x, e in zip(xs, elements, strict=True))
        ):
            raise JaxprTypeError(f"scan: the body takes {expected}, got {avals}")
        outs, ys = split_at(self.jaxpr.out_avals, self.num_carry)
        kept = expected[self.num_consts : self.num_consts + self.num_carry]
        if not all(a.same_type(b) for a, b in zip(outs, kept, strict=True)):
            raise JaxprTypeError(f"scan: the carry changes its type from {kept} to {outs}")
        return [*kept, *map(self.stacked, ys)]

    def without_unused(
        self, used: Sequence[bool]
    ) -> tuple[Primitive, list[bool], list[bool]] | None:
        carry_on, ys_on = split_at(used, self.num_carry)
        body, ins, carry_on = smaller_body(self.jaxpr, self.num_consts, carry_on, ys_on)
        consts_on, _, xs_on = split_at(ins, self.num_consts, self.num_carry)
        if all(carry_on) and all(ys_on) and all(ins):
            return None
        head = [True] * (self.length is None)
        smaller = self.of_body(body, sum(consts_on), sum(carry_on))
        return smaller, [*head, *consts_on, *carry_on, *xs_on], [*carry_on, *ys_on]

    def control_flow(self) -> Loop | None:
        if self.length is None:
            return None
        several, single = divmod(self.length, self.unroll)
        rounds = [Round(self.jaxpr, 1, single if self.unroll > 1 else self.length)]
        if self.unroll > 1:
            rounds.insert(0, Round(self._several(), self.unroll, several))
        wanted = tuple([r for r in rounds if r.count])
        return Loop(wanted, self.num_consts, self.num_carry, self.reverse)

    # Running

    def impl(self, xp: Any, *buffers: Any) -> Any:
        head, consts, carry, xs = self.split(buffers)
        length = self.length if self.length is not None else int(head[0])
        ys_avals = self.jaxpr.out_avals[self.num_carry :]
        if self.length is None:
            of_tapes = self.jaxpr.in_avals[self.num_consts + self.num_carry :]
            xs = [_steps(xp, x, length, e) for x, e in zip(xs, of_tapes, strict=True)]
        ys = [_room(xp, length, a) for a in ys_avals]
        start = 0
        if self.unroll > 1:
            start = length - length % self.unroll
            run = runner(self._several(), xp, buffers)
            for first in range(0, start, self.unroll):
                places = [self._place(first + i, length) for i in range(self.unroll)]
                elements = [x[i, ...] for i in places for x in xs]
                outs = run(*consts, *carry, *elements)
                carry, results = outs[: self.num_carry], iter(outs[self.num_carry :])
                for i in places:
                    for y in ys:
                        y[i, ...] = next(results)
        run = runner(self.jaxpr, xp, buffers)
        for step in range(start, length):
            i = self._place(step, length)
            outs = run(*consts, *carry, *[x[i, ...] for x in xs])
            carry = outs[: self.num_carry]
            for y, value in zip(ys, outs[self.num_carry :], strict=True):
                y[i, ...] = value
        if self.length is None:
            ys = [wrapped(Tape(y)) for y in ys]
        return [*carry, *ys]

    def _place(self, step: int, length: int) -> int:
        return length - 1 - step if self.reverse else step

    def _several(self) -> ClosedJaxpr:
        """The program of `unroll` steps: consts, carry, xs of each step, to carry, ys of each."""
        return self.jaxpr.derive(("several", self.unroll, self.num_carry), self._make_several)

    def _make_several(self) -> ClosedJaxpr:
        consts, carry, elements = split_at(self.jaxpr.in_avals, self.num_consts, self.num_carry)
        body = self.jaxpr.as_function()

        def function(*args: Array) -> list[Array]:
            fixed, values, xs = split_at(args, len(consts), len(carry))
            results: list[Array] = []
            for step in range(self.unroll):
                given = xs[step * len(elements) : (step + 1) * len(elements)]
                values, ys = split_at(body(*fixed, *values, *given), len(carry))
                results += ys
            return [*values, *results]

        avals = [*consts, *carry, *elements * self.unroll]
        return trace_closed(function, avals, "scan", self.jaxpr.name)

    # Forward mode

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        head, consts, carry, xs = self.split(primals)
        _, t_consts, t_carry, t_xs = self.split(tangents)
        consts_on, carry_on, xs_on = (
            [t is not ZERO for t in ts] for ts in (t_consts, t_carry, t_xs)
        )
        program, marks, carry_on = self._jvp_body(consts_on, carry_on, xs_on)
        ys_on = marks[len(carry) :]
        t_carry = [
            instantiate(t, x.aval) if on else ZERO
            for t, x, on in zip(t_carry, carry, carry_on, strict=True)
        ]
        # From (consts, carry, xs, their tangents) to (consts, tangents, carry, tangents, ...).
        sizes = [len(consts), len(carry), len(xs), sum(consts_on), sum(carry_on)]
        c, k, x, tc, tk, tx = split_at(range(len(program.in_avals)), *sizes)
        out_k, out_y, out_tk, out_ty = split_at(
            range(len(program.out_avals)), len(carry), len(ys_on), sum(carry_on)
        )
        body = rearranged(program, [*c, *tc, *k, *tk, *x, *tx], [*out_k, *out_tk, *out_y, *out_ty])
        given = [[t for t in ts if t is not ZERO] for ts in (t_consts, t_carry, t_xs)]
        outs = self.of_body(body, len(c) + len(tc), len(k) + len(tk)).bind(
            *head, *consts, *given[0], *carry, *given[1], *xs, *given[2]
        )
        k_out, tk_out, y_out, ty_out = split_at(outs, len(k), len(tk), len(ys_on))
        found = iter([*tk_out, *ty_out])
        out_tangents = [next(found) if on else ZERO for on in [*carry_on, *ys_on]]
        return [*k_out, *y_out], out_tangents

    def _jvp_body(
        self, consts_on: list[bool], carry_on: list[bool], xs_on: list[bool]
    ) -> tuple[ClosedJaxpr, list[bool], list[bool]]:
        """The body's jvp. A part of the carry is active once it is in any step."""
        others = (False,) * (len(self.jaxpr.out_avals) - self.num_carry)
        while True:
            active = (*consts_on, *carry_on, *xs_on)
            program, marks = jvp_jaxpr(self.jaxpr, active, (*carry_on, *others))
            if marks[: self.num_carry] == carry_on:
                return program, marks, carry_on
            carry_on = marks[: self.num_carry]

    # Reverse mode: first the split

    def partial_eval(self, trace: PartialTrace, args: Sequence[Value]) -> Any:
        unknown = [trace.is_unknown(x) for x in args]
        head, consts, carry, xs = self.split(args)
        _, consts_on, carry_on, xs_on = self.split(unknown)
        split, carry_on = split_body(self.jaxpr, consts_on, carry_on, xs_on)
        plan = KnownLoop(split, consts_on, carry_on, xs_on)
        fixed = chosen(consts, consts_on, False)
        start = chosen(carry, carry_on, False)
        along = chosen(xs, xs_on, False)
        with current_trace(trace.parent):
            hoisted = plan.hoisted.as_function()(*fixed)
            same = plan.pick_consts(fixed, hoisted)
            loop = self.of_body(plan.loop, len(same), len(start))
            outs = loop.bind(*head, *same, *start, *along)
        final, ys = split_at(outs, len(start))
        same, varying = plan.residuals(fixed, hoisted, along, ys)
        body = rearranged(split.unknown, plan.unknown_order())
        unknown_carry = chosen(carry, carry_on)
        rest = self.of_body(body, len(same) + sum(consts_on), len(unknown_carry))
        recorded = trace.record(
            rest,
            [*head, *same, *chosen(consts, consts_on), *unknown_carry, *varying,
             *chosen(xs, xs_on)],
        )  # fmt: skip
        known, found = iter([*final, *ys]), iter(recorded)
        return [next(found) if on else next(known) for on in split.unknown_outs]

    # Reverse mode: then the transpose

    def transpose(self, cts: Any, *args: Value) -> Sequence[Value]:
        linear = [isinstance(x, Linear) for x in args]
        head, consts, carry, xs = self.split(args)
        # A carry that is no linear argument starts with a tangent that is zero.
        _, consts_on, carry_on, xs_on = self.split(linear)
        ct_carry, ct_ys = split_at(cts, self.num_carry)
        ys_on = [ct is not ZERO for ct in ct_ys]
        body = self._transposed_body(tuple(consts_on), tuple(xs_on), tuple(ys_on))
        ct_consts = [zeros_of(x.aval.tangent) for x in chosen(consts, consts_on)]
        ct_start = [instantiate(ct, x.aval) for ct, x in zip(ct_carry, carry, strict=True)]
        fixed = chosen(consts, consts_on, False)
        backwards = Scan(
            body,
            self.length,
            len(ct_consts) + len(ct_start),
            len(fixed),
            not self.reverse,
            self.unroll,
        )
        outs = backwards.bind(
            *head, *fixed, *ct_consts, *ct_start, *chosen(ct_ys, ys_on), *chosen(xs, xs_on, False)
        )
        to_consts, to_carry, to_xs = map(iter, split_at(outs, len(ct_consts), len(ct_start)))
        return [
            *[None] * len(head),
            *[next(to_consts) if on else None for on in consts_on],
            *[ct if on else None for ct, on in zip(to_carry, carry_on, strict=True)],
            *[next(to_xs) if on else None for on in xs_on],
        ]

    def _transposed_body(
        self, consts_on: tuple[bool, ...], xs_on: tuple[bool, ...], ys_on: tuple[bool, ...]
    ) -> ClosedJaxpr:
        """One step backwards.

        From (residual consts; cotangents of linear consts so far, of the carry; cotangents of ys,
        residual xs) to (cotangents of linear consts, of the carry; of linear xs).
        """
        key = ("scan transpose", consts_on, xs_on, ys_on, self.num_carry)
        return self.jaxpr.derive(key, lambda: self._make_transposed(consts_on, xs_on, ys_on))

    def _make_transposed(
        self, consts_on: tuple[bool, ...], xs_on: tuple[bool, ...], ys_on: tuple[bool, ...]
    ) -> ClosedJaxpr:
        inner = self.jaxpr.jaxpr
        consts, carry, xs = split_at(inner.invars, self.num_consts, self.num_carry)
        ys = inner.out_avals[self.num_carry :]
        fixed, linear_consts = chosen(consts, consts_on, False), chosen(consts, consts_on)
        along, linear_xs = chosen(xs, xs_on, False), chosen(xs, xs_on)
        linear = [*linear_consts, *carry, *linear_xs]
        opened = Jaxpr([*inner.constvars, *fixed, *along], linear, inner.outvars, inner.eqns)

        def function(*args: Array) -> list[Array]:
            given, so_far, ct_carry, ct_ys, elements = split_at(
                args, len(fixed), len(linear_consts), len(carry), sum(ys_on)
            )
            arrived = iter(ct_ys)
            cts = [*ct_carry, *(next(arrived) if on else ZERO for on in ys_on)]
            results = backward_pass(opened, [*self.jaxpr.consts, *given, *elements], cts)
            to_consts, others = results[: len(so_far)], results[len(so_far) :]
            sums = [
                a if b is ZERO else add_any(a, b) for a, b in zip(so_far, to_consts, strict=True)
            ]
            rest = zip(others, linear[len(so_far) :], strict=True)
            return [*sums, *(instantiate(ct, v.aval) for ct, v in rest)]

        avals = [
            *(v.aval for v in fixed),
            *(v.aval.tangent for v in [*linear_consts, *carry]),
            *(a.tangent for a in chosen(ys, ys_on)),
            *(v.aval for v in along),
        ]
        return trace_closed(function, avals, "transpose", self.jaxpr.name)

    # Batches

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        head_dims = self.split(dims)[0]
        if head_dims and head_dims[0] is not None:
            return self._batch_of_lengths(axis, args, dims)
        head, consts, carry, xs = self.split(args)
        _, consts_dims, carry_dims, xs_dims = self.split(dims)
        # Along an x, the steps stay in front, and the batch comes next.
        if self.length is not None:
            xs = [moveaxis(x, 0, 1) if d == 0 else x for x, d in zip(xs, xs_dims, strict=True)]
            xs_dims = [d if d is None else max(d - 1, 0) for d in xs_dims]
        else:  # of a batch of tapes, the elements have the batch in front
            xs = [x if d is None else united(x, d) for x, d in zip(xs, xs_dims, strict=True)]
            xs_dims = [d if d is None else 0 for d in xs_dims]
        carry_on = tuple([d is not None for d in carry_dims])
        ys_forced = (False,) * (len(self.jaxpr.out_avals) - self.num_carry)
        while True:
            body_dims = (*consts_dims, *(0 if on else None for on in carry_on), *xs_dims)
            program, out_dims = batch_jaxpr(self.jaxpr, axis, body_dims, (*carry_on, *ys_forced))
            found = tuple([d is not None for d in out_dims[: self.num_carry]])
            on_tape = tuple([d is not None for d in out_dims[self.num_carry :]])
            settled = self.length is not None or on_tape == ys_forced
            if found == carry_on and settled:
                break
            carry_on = found
            if self.length is None:
                ys_forced = on_tape
        carry = [
            batch_first(x, d, axis.size) if on else x
            for x, d, on in zip(carry, carry_dims, carry_on, strict=True)
        ]
        outs = self.of_body(program, self.num_consts, self.num_carry).bind(
            *head, *consts, *carry, *xs
        )
        final, ys = split_at(outs, self.num_carry)
        ys_dims = out_dims[self.num_carry :]
        if self.length is None:
            ys = [
                y if d is None else spread(y, axis.size) for y, d in zip(ys, ys_dims, strict=True)
            ]
        else:
            ys_dims = [d if d is None else d + 1 for d in ys_dims]
        return [*final, *ys], [*(0 if on else None for on in carry_on), *ys_dims]

    def _batch_of_lengths(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        """Loops of different lengths: all run as long as the longest, and keep a finished carry."""
        (lengths,), _, carry, _ = self.split(args)
        lengths = batch_first(lengths, dims[0], axis.size)
        longest = reduce_max(lengths, (0,)) if axis.size else int32(0)
        first = sub(longest, int32(1)) if self.reverse else int32(0)
        body = self._counted_body()
        loop = self.of_body(body, self.num_consts + 1, self.num_carry + 1)
        _, consts, carry, xs = self.split(args)
        _, consts_dims, carry_dims, xs_dims = self.split(dims)
        outs, out_dims = loop.batch(
            axis,
            [longest, lengths, *consts, first, *carry, *xs],
            [None, 0, *consts_dims, None, *carry_dims, *xs_dims],
        )
        return outs[1:], out_dims[1:]

    def _counted_body(self) -> ClosedJaxpr:
        """The body for one example that knows its own length: (length, consts; i, carry; xs)."""
        return self.jaxpr.derive(("counted", self.reverse, self.num_carry), self._make_counted)

    def _make_counted(self) -> ClosedJaxpr:
        consts, carry, elements = split_at(self.jaxpr.in_avals, self.num_consts, self.num_carry)
        body = self.jaxpr.as_function()
        scalar = int32(0).aval

        def function(length: Array, *args: Array) -> list[Array]:
            fixed, (i,), values, xs = split_at(args, len(consts), 1, len(carry))
            running = lt(i, length)
            new, ys = split_at(body(*fixed, *values, *xs), len(carry))
            kept = [select(running, a, b) for a, b in zip(new, values, strict=True)]
            ys = [select(running, y, zeros_of(y.aval)) for y in ys]
            following = (sub if self.reverse else add)(i, int32(1))
            return [following, *kept, *ys]

        avals = [scalar, *consts, scalar, *carry, *elements]
        return trace_closed(function, avals, "scan", self.jaxpr.name)


def _room(xp: Any, length: int, aval: ShapedArray) -> Any:
    """Uninitialized memory for `length` values, on the host for what stays there."""
    on_host = aval.dtype.names is not None or aval.dtype == dtypes.tape
    return (np if on_host else xp).empty((length, *aval.shape), aval.dtype)


def _steps(xp: Any, buffer: Any, length: int, aval: ShapedArray) -> Any:
    """The steps on a tape, in the order in which they were recorded."""
    tape = unwrapped(buffer)
    if not tape.is_zero:
        return tape.steps()
    if aval.dtype == dtypes.tape:
        return zero_tapes((length, *aval.shape))
    return xp.zeros((length, *aval.shape), aval.dtype)


@boundary
def scan(
    f: Callable[[Carry, Any], tuple[Carry, Any]],
    init: Carry,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Carry, Any]:
    """A loop along the leading axis of `xs`, with a carry from step to step.

    As if by: carry = init; for x in xs: carry, y = f(carry, x); return carry, stack of the ys. `f`
    is traced once, however many steps there are.
    xs: a tree of arrays with equal leading axes, or None. length: the number of steps, needed when
        there are no xs. reverse: from the last element to the first; ys keep the places of xs.
    unroll: how many steps are run as one program; True for all.
    Returns the last carry, and a tree of what `f` returned second, stacked.
    Raises: CarryTypeError or TreeError when `f` changes the type of the carry, ShapeError when the
        leading axes differ, ArgumentError or OptionError for wrong arguments.

    >>> import fstensor as fst
    >>> total, sums = fst.lax.scan(lambda c, x: (c + x, c + x), 0, fst.numpy.arange(4))
    >>> total.item(), sums.tolist()
    (6, [0, 1, 3, 6])
    """
    if not callable(f):
        raise ArgumentError(f"scan: takes a function, got {type(f).__name__}")
    x_leaves, xs_tree = lifted_tree("scan", xs)
    steps = _number_of_steps(x_leaves, length, xs_tree)
    at_once = _unrolled(unroll, steps)
    init_leaves, init_tree = lifted_tree("scan", init)
    if config.disable_jit:
        return _python_scan(f, init, x_leaves, xs_tree, steps, reverse)
    elements = [ShapedArray(x.shape[1:], x.dtype, x.weak_type) for x in x_leaves]
    in_tree = tree.structure((init, xs))

    def trace(carry: Sequence[ShapedArray]) -> Traced:
        return trace_tree_function(f, [*carry, *elements], in_tree, "scan")

    traced, carry = carry_fixpoint("scan", trace, init_leaves, init_tree, _carry_of)
    carry_tree, ys_tree = traced.out_tree.children()
    loop = Scan(traced.closed, steps, len(carry), len(traced.captured), bool(reverse), at_once)
    outs = loop.bind(*traced.captured, *carry, *x_leaves)
    final, ys = split_at(outs, len(carry))
    return tree.unflatten(carry_tree, final), tree.unflatten(ys_tree, ys)


def _carry_of(traced: Traced) -> tuple[tree.PyTreeDef, list[ShapedArray]]:
    if traced.out_tree.type not in (tuple, list) or traced.out_tree.num_children != 2:
        raise ArgumentError(
            f"scan: the function must return a pair (carry, y), got {traced.out_tree}"
        )
    carry = traced.out_tree.children()[0]
    return carry, list(traced.out_avals[: carry.num_leaves])


def _number_of_steps(xs: Sequence[Array], length: int | None, structure: tree.PyTreeDef) -> int:
    for path, x in zip(leaf_paths(structure), xs, strict=True):
        if not x.ndim:
            raise ShapeError(f"scan: xs{path} must have a leading axis, got {x.aval}")
    sizes = {x.shape[0] for x in xs}
    if length is not None:
        try:
            sizes.add(operator.index(length))
        except TypeError:
            raise ArgumentError(f"scan: length must be an integer, got {length!r}") from None
    if not sizes:
        raise ArgumentError("scan: without xs, length must be given")
    if len(sizes) > 1:
        got = ", ".join(
            f"xs{path} of {x.aval}" for path, x in zip(leaf_paths(structure), xs, strict=True)
        )
        given = "" if length is None else f" and length={length}"
        raise ShapeError(f"scan: leading axes must have one size, got {got}{given}")
    (steps,) = sizes
    if steps < 0:
        raise OptionError(f"scan: length must not be negative, got {steps}")
    return steps


def _unrolled(unroll: int | bool, length: int) -> int:
    if isinstance(unroll, bool):
        return max(length, 1) if unroll else 1
    try:
        count = operator.index(unroll)
    except TypeError:
        raise ArgumentError(f"scan: unroll must be an integer or a bool, got {unroll!r}") from None
    if count < 1:
        raise OptionError(f"scan: unroll must be at least 1, got {count}")
    return min(count, max(length, 1))


def _python_scan(
    f: Callable[..., Any],
    carry: Any,
    xs: Sequence[Array],
    xs_tree: tree.PyTreeDef,
    length: int,
    reverse: bool,
) -> tuple[Any, Any]:
    """The loop in Python, for disable_jit. Of no steps it cannot know the ys."""
    if not length:
        raise OptionError("scan: cannot run without steps while jit is disabled")
    ys = []
    for i in range(length)[:: -1 if reverse else 1]:
        elements = [index_in_dim(x, i, keepdims=False) for x in xs]
        carry, y = f(carry, tree.unflatten(xs_tree, elements))
        ys.append(y)
    if reverse:
        ys.reverse()
    stacked = tree.map(lambda *leaves: _stacked([lift(x) for x in leaves]), *ys)
    return carry, stacked


def _stacked(leaves: Sequence[Array]) -> Array:
    return concatenate([expand_dims(x, (0,)) for x in leaves], 0)

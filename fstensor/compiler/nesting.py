"""Which loops and choices run natively: those whose programs do from end to end.

Their equations become `NativeControl`, around kernels that are planned already. The constants of
the programs become operands, and so do numbers, so that each operand is a value in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

from fstensor.array import Array
from fstensor.compiler.barriers import drop_barriers, free_numbers
from fstensor.compiler.control import ChoiceStep, Copy, LoopStep, NativeControl, Nested
from fstensor.compiler.fuse import fuse
from fstensor.compiler.plan import plan_inside
from fstensor.compiler.simplify import simplify
from fstensor.compiler.steps import HostStep, NativeStep
from fstensor.core.control_flow import Choice, Loop
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Literal, Var
from fstensor.core.scalar import KEY, STORED
from fstensor.ops.barrier import OptimizationBarrier


def nest(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program in which `NativeControl` stands for the loops and choices that can be native."""
    if all(e.primitive.control_flow() is None for e in closed.eqns):
        return closed
    return _Nesting(closed).result()


@final
class _Nesting:
    """A program on its way to one whose loops and choices are native."""

    def __init__(self, closed: ClosedJaxpr) -> None:
        self.closed = closed
        self.constvars = list(closed.jaxpr.constvars)
        self.consts = list(closed.consts)
        self.eqns: list[Eqn] = []

    def result(self) -> ClosedJaxpr:
        for eqn in self.closed.eqns:
            flow = eqn.primitive.control_flow()
            made = None
            if flow is not None and _is_plain(eqn):
                made = self._loop(eqn, flow) if isinstance(flow, Loop) else self._choice(eqn, flow)
            self.eqns.append(made or eqn)
        j = self.closed.jaxpr
        changed = Jaxpr(self.constvars, j.invars, j.outvars, self.eqns, j.debug_info)
        return ClosedJaxpr(changed, self.consts)

    def _loop(self, eqn: Eqn, loop: Loop) -> Eqn | None:
        programs = [_Program(r.body) for r in loop.rounds]
        if not programs:
            return None
        kept = [
            all(p.returns_input(k, loop.num_consts + k) for p in programs)
            for k in range(loop.num_carry)
        ]
        condition = None if loop.condition is None else _Program(loop.condition)
        if not all(p.finish(kept) for p in programs) or (condition and not condition.finish()):
            return None
        in_place = _in_place(programs, loop, kept)
        of_condition = eqn.invars[: loop.num_condition_consts]
        of_body = eqn.invars[loop.num_condition_consts :]
        shared = [v for p in programs for v in p.constvars]
        operands = [
            *(self._constants([condition]) if condition else []),
            *map(self._variable, of_condition),
            *self._constants(programs),
            *map(self._variable, of_body),
        ]
        bodies = [p.nested(shared, _heirs(p, loop, in_place)) for p in programs]
        test = condition.nested(condition.constvars) if condition else None
        outer = replace(
            loop,
            num_consts=loop.num_consts + len(shared),
            num_condition_consts=loop.num_condition_consts
            + (len(condition.constvars) if condition else 0),
        )
        form = LoopStep(outer, bodies, test, kept, in_place, [], [])
        return self._equation(eqn, form, operands)

    def _choice(self, eqn: Eqn, choice: Choice) -> Eqn | None:
        programs = [_Program(b) for b in choice.branches]
        if not all(p.finish() for p in programs):
            return None
        number, *operands = map(self._variable, eqn.invars)
        shared = [v for p in programs for v in p.constvars]
        form = ChoiceStep([p.nested(shared) for p in programs], [], [])
        return self._equation(eqn, form, [number, *self._constants(programs), *operands])

    def _equation(self, eqn: Eqn, form: LoopStep | ChoiceStep, operands: Sequence[Atom]) -> Eqn:
        control = NativeControl(form, [v.aval for v in eqn.outvars])
        return Eqn(control, operands, eqn.outvars, eqn.source_info)

    def _constants(self, programs: Sequence[_Program]) -> list[Atom]:
        """Variables of this program for the constants of others."""
        fresh = [Var(v.aval) for p in programs for v in p.constvars]
        self.constvars += fresh
        self.consts += [c for p in programs for c in p.consts]
        return list(fresh)

    def _variable(self, atom: Atom) -> Atom:
        if not isinstance(atom, Literal):
            return atom
        v = Var(atom.aval)
        self.eqns.append(Eqn(Copy(), [atom], [v], None))
        return v


def _is_plain(eqn: Eqn) -> bool:
    """Whether a loop or choice does nothing but compute, on values that kernels know."""
    avals = [a.aval for a in (*eqn.invars, *eqn.outvars)]
    known = all(a.size and (a.dtype in STORED or a.dtype == KEY) for a in avals)
    return known and not eqn.primitive.effectful


@final
class _Program:
    """A program inside of an equation, on its way to kernels."""

    def __init__(self, closed: ClosedJaxpr) -> None:
        self._closed = nest(free_numbers(simplify(closed)))
        self.constvars: list[Var] = self._closed.jaxpr.constvars
        self.consts: Sequence[Array] = self._closed.consts
        self.invars: list[Var] = self._closed.jaxpr.invars
        self.outputs: list[Var | None] = []
        self._steps: list[NativeStep] = []

    def returns_input(self, output: int, place: int) -> bool:
        """Whether a result is an input, as it is."""
        return self._closed.jaxpr.outvars[output] is self.invars[place]

    def finish(self, kept: Sequence[bool] = ()) -> bool:
        """Make kernels of it; says whether that could be done with all of it.

        kept: for the first results, whether they are not asked for.
        """
        jaxpr, self.outputs = _with_own_results(self._closed.jaxpr, kept)
        steps, _ = drop_barriers(fuse(ClosedJaxpr(jaxpr, self.consts)))
        self._steps = [s for s in steps if not isinstance(s, HostStep)]
        return len(self._steps) == len(steps)

    def nested(self, constvars: Sequence[Var], heirs: dict[Var, Var] | None = None) -> Nested:
        """The program as a part of a step, whose operands begin with these constants."""
        inputs = [*constvars, *self.invars]
        made = [v for v in self.outputs if v is not None]
        segment = plan_inside(self._steps, inputs, made, heirs or {})
        return Nested(segment, inputs, self.outputs)


def _with_own_results(jaxpr: Jaxpr, kept: Sequence[bool]) -> tuple[Jaxpr, list[Var | None]]:
    """The program with results that are values of their own: it makes each of them, once."""
    foreign: set[Atom] = {*jaxpr.constvars, *jaxpr.invars}
    for eqn in jaxpr.eqns:
        if isinstance(eqn.primitive, OptimizationBarrier):
            foreign.update(eqn.outvars)
    eqns = list(jaxpr.eqns)
    outputs: list[Var | None] = []
    for k, atom in enumerate(jaxpr.outvars):
        if k < len(kept) and kept[k]:
            outputs.append(None)
            continue
        if isinstance(atom, Literal) or atom in foreign:
            v = Var(atom.aval)
            eqns.append(Eqn(Copy(), [atom], [v], None))
            atom = v
        foreign.add(atom)
        outputs.append(atom)
    made = [v for v in outputs if v is not None]
    return Jaxpr(jaxpr.constvars, jaxpr.invars, made, eqns, jaxpr.debug_info), outputs


def _heirs(program: _Program, loop: Loop, wanted: Sequence[bool]) -> dict[Var, Var]:
    """The parts of the carry that a body is to return where it got them."""
    found = {}
    for k, out in enumerate(program.outputs[: loop.num_carry]):
        if wanted[k] and out is not None:
            found[out] = program.invars[loop.num_consts + k]
    return found


def _in_place(programs: Sequence[_Program], loop: Loop, kept: Sequence[bool]) -> list[bool]:
    """For each part of the carry, whether all bodies can return it where they got it."""
    possible = [not same for same in kept]
    for p in programs:
        heirs = _heirs(p, loop, possible)
        found = p.nested([], heirs).segment.same_place
        possible = [on and p.outputs[k] in found for k, on in enumerate(possible)]
    return possible

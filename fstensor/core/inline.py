"""Calls replaced by the equations of the programs that they call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fstensor.array import Array
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Var
from fstensor.core.primitive import Primitive


def _inlined(primitive: Primitive) -> ClosedJaxpr | None:
    return primitive.inlined_program()


def _out_avals(eqn: Eqn, args: Sequence[Atom]) -> Sequence[ShapedArray]:
    """The types of an equation's results for arguments that may be weak where its own are not.

    A call takes either; what is in it sees what it is given.
    """
    given = tuple([a.aval for a in args])
    if all(a is v.aval or a == v.aval for a, v in zip(given, eqn.invars, strict=True)):
        return [v.aval for v in eqn.outvars]
    found = eqn.primitive.infer(given)
    return found if eqn.primitive.multiple_results else [found]


def inline_calls(
    closed: ClosedJaxpr, called: Callable[[Primitive], ClosedJaxpr | None] = _inlined
) -> ClosedJaxpr:
    """The program with each call of a program replaced by that program's equations.

    called: the program that an operation stands for, None for what stays as it is. The compiler
        asks `inlined_program`; what still has to be differentiated must ask `called_program`.
    """
    eqns: list[Eqn] = []
    constvars = list(closed.jaxpr.constvars)
    consts = list(closed.consts)

    def splice(jaxpr: Jaxpr, inner_consts: Sequence[Array], env: dict[Var, Atom]) -> list[Atom]:
        for v, c in zip(jaxpr.constvars, inner_consts, strict=True):
            fresh = Var(v.aval)
            env[v] = fresh
            constvars.append(fresh)
            consts.append(c)
        return body(jaxpr, env)

    def body(jaxpr: Jaxpr, env: dict[Var, Atom]) -> list[Atom]:
        def read(atom: Atom) -> Atom:
            return env[atom] if isinstance(atom, Var) else atom

        for eqn in jaxpr.eqns:
            args = [read(a) for a in eqn.invars]
            program = called(eqn.primitive)
            if program is not None:
                inner = dict(zip(program.jaxpr.invars, args, strict=True))
                outs = splice(program.jaxpr, program.consts, inner)
                env.update(zip(eqn.outvars, outs, strict=True))
                continue
            outvars = [Var(a) for a in _out_avals(eqn, args)]
            env.update(zip(eqn.outvars, outvars, strict=True))
            eqns.append(Eqn(eqn.primitive, args, outvars, eqn.source_info))
        return [read(a) for a in jaxpr.outvars]

    top = closed.jaxpr
    env: dict[Var, Atom] = {v: v for v in [*top.constvars, *top.invars]}
    outvars = body(top, env)
    return ClosedJaxpr(Jaxpr(constvars, top.invars, outvars, eqns, top.debug_info), consts)

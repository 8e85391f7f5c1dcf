"""Passes that make a program smaller: calls inlined, dead equations dropped."""

from __future__ import annotations

from collections.abc import Sequence

from fstensor.array import Array
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Var, dce


def inline_calls(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program with each call of a program replaced by that program's equations."""
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
            called = eqn.primitive.called_program()
            if called is not None:
                inner = dict(zip(called.jaxpr.invars, args, strict=True))
                outs = splice(called.jaxpr, called.consts, inner)
                env.update(zip(eqn.outvars, outs, strict=True))
                continue
            outvars = [Var(v.aval) for v in eqn.outvars]
            env.update(zip(eqn.outvars, outvars, strict=True))
            eqns.append(Eqn(eqn.primitive, args, outvars, eqn.source_info))
        return [read(a) for a in jaxpr.outvars]

    top = closed.jaxpr
    env: dict[Var, Atom] = {v: v for v in [*top.constvars, *top.invars]}
    outvars = body(top, env)
    return ClosedJaxpr(Jaxpr(constvars, top.invars, outvars, eqns, top.debug_info), consts)


def simplify(closed: ClosedJaxpr) -> ClosedJaxpr:
    """All passes, each result well typed."""
    flat = inline_calls(closed)
    return ClosedJaxpr(dce(flat.jaxpr), flat.consts)

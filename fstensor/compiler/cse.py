"""Common subexpressions: what is computed twice from the same values is computed once."""

from __future__ import annotations

from typing import Any

from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Literal, Var


def share_equal(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program in which equal equations are one.

    What has effects stays, and so does what asks to stay apart: behind an optimization barrier a
    value is another one, so that what a checkpoint computes again is computed again.
    """
    j = closed.jaxpr
    first: dict[Any, list[Var]] = {}
    replaced: dict[Var, Var] = {}
    eqns = []

    def read(atom: Atom) -> Atom:
        return replaced.get(atom, atom) if isinstance(atom, Var) else atom

    for eqn in j.eqns:
        primitive = eqn.primitive
        invars = [read(a) for a in eqn.invars]
        if not primitive.effectful and not primitive.stays_apart:
            operands = [a.key if isinstance(a, Literal) else a for a in invars]
            key = primitive, frozenset(operands) if primitive.commutes else tuple(operands)
            found = first.setdefault(key, eqn.outvars)
            if found is not eqn.outvars:
                replaced.update(zip(eqn.outvars, found, strict=True))
                continue
        eqns.append(Eqn(primitive, invars, eqn.outvars, eqn.source_info))
    outvars = [read(a) for a in j.outvars]
    return ClosedJaxpr(Jaxpr(j.constvars, j.invars, outvars, eqns, j.debug_info), closed.consts)

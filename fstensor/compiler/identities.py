"""Identities: operations whose result is one of their operands, to the last bit."""

from __future__ import annotations

from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Literal, Var


def drop_identities(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program without operations such as x * 1, a reshape to the same shape, x ** 1."""
    j = closed.jaxpr
    same: dict[Var, Atom] = {}
    eqns = []

    def read(atom: Atom) -> Atom:
        return same.get(atom, atom) if isinstance(atom, Var) else atom

    for eqn in j.eqns:
        invars = [read(a) for a in eqn.invars]
        found = None
        if not eqn.primitive.multiple_results:
            found = eqn.primitive.same_as(
                tuple([a.aval for a in invars]),
                [a.value if isinstance(a, Literal) else None for a in invars],
            )
        if found is not None and invars[found].aval == eqn.outvars[0].aval:
            same[eqn.outvars[0]] = invars[found]
        else:
            eqns.append(Eqn(eqn.primitive, invars, eqn.outvars, eqn.source_info))
    outvars = [read(a) for a in j.outvars]
    return ClosedJaxpr(Jaxpr(j.constvars, j.invars, outvars, eqns, j.debug_info), closed.consts)

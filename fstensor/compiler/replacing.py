"""A program while some of its equations are replaced by others."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import final

from fstensor.compiler.kinds import kind_of
from fstensor.core.jaxpr import Atom, Eqn, Jaxpr, Var


@final
class Replacing:
    """A program, with the makers and users of its values as they were at first.

    taken: the identities of the equations that have been replaced.
    """

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.eqns = list(jaxpr.eqns)
        self.maker = {v: e for e in jaxpr.eqns for v in e.outvars}
        self.users: dict[Var, list[Eqn]] = {}
        for e in jaxpr.eqns:
            for a in dict.fromkeys(e.invars):
                if isinstance(a, Var):
                    self.users.setdefault(a, []).append(e)
        self.outputs = {a for a in jaxpr.outvars if isinstance(a, Var)}
        self.taken: set[int] = set()
        self._kinds: dict[int, str] = {}

    def maker_of(self, atom: Atom) -> Eqn | None:
        return self.maker.get(atom) if isinstance(atom, Var) else None

    def kind(self, eqn: Eqn) -> str:
        found = self._kinds.get(id(eqn))
        if found is None:
            found = self._kinds[id(eqn)] = kind_of(eqn)
        return found

    def replace(self, old: Sequence[Eqn], new: Sequence[Eqn]) -> None:
        """Put equations in place of others that make the same values, or values nobody needs.

        Nothing is changed when the new ones need each other's results in a circle, by way of the
        rest, or when effects would change their order.
        """
        gone = {id(e) for e in old}
        kept = [e for e in self.eqns if id(e) not in gone]
        ordered = _ordered([*kept, *new])
        if ordered is None:
            return
        effects = [e for e in self.eqns if e.primitive.effectful]
        if [e for e in ordered if e.primitive.effectful] == effects:
            self.eqns = ordered
            self.taken |= gone

    def result(self) -> Jaxpr:
        if not self.taken:
            return self.jaxpr
        old, eqns = self.jaxpr, used(self.eqns, self.outputs)
        return Jaxpr(old.constvars, old.invars, old.outvars, eqns, old.debug_info)


def used(eqns: Sequence[Eqn], outputs: set[Var]) -> list[Eqn]:
    """The equations that something needs."""
    live = set(outputs)
    kept: list[Eqn] = []
    for eqn in reversed(eqns):
        if eqn.primitive.effectful or not live.isdisjoint(eqn.outvars):
            kept.append(eqn)
            live.update(a for a in eqn.invars if isinstance(a, Var))
    return kept[::-1]


def _ordered(eqns: Sequence[Eqn]) -> list[Eqn] | None:
    """The equations, each behind those it needs, as early as it can be; None if there is no way."""
    maker = {v: n for n, e in enumerate(eqns) for v in e.outvars}
    missing: list[int] = []
    users: dict[int, list[int]] = {}
    for n, e in enumerate(eqns):
        needed = {maker[a] for a in e.invars if isinstance(a, Var) and a in maker}
        missing.append(len(needed))
        for m in needed:
            users.setdefault(m, []).append(n)
    ready = [n for n, count in enumerate(missing) if not count]
    order: list[Eqn] = []
    while ready:
        n = heapq.heappop(ready)
        order.append(eqns[n])
        for user in users.get(n, ()):
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, user)
    return order if len(order) == len(eqns) else None

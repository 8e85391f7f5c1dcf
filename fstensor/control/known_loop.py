"""The known part of a loop's body, for the reverse mode: what runs forwards, and what it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from fstensor.array import Array
from fstensor.control.common import chosen, split_at
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Jaxpr
from fstensor.transforms.linearize import Split, split_jaxpr


def split_body(
    closed: ClosedJaxpr, consts_on: list[bool], carry_on: list[bool], xs_on: list[bool]
) -> tuple[Split, list[bool]]:
    """A body split by its unknown inputs. A part of the carry is unknown once it is in any step."""
    count = len(carry_on)
    others = (False,) * (len(closed.out_avals) - count)
    while True:
        unknown = (*consts_on, *carry_on, *xs_on)
        split = split_jaxpr(closed, unknown, (*carry_on, *others))
        if split.unknown_outs[:count] == carry_on:
            return split, carry_on
        carry_on = split.unknown_outs[:count]


@final
class KnownLoop:
    """The loop of a body's known part, and where the residuals of each step come from.

    The loop gives the known carry and ys, then the residuals that have to be stacked: parts of the
    carry, and what is computed anew in each step. `hoisted` computes, once, what consts determine.
    """

    def __init__(
        self, split: Split, consts_on: list[bool], carry_on: list[bool], xs_on: list[bool]
    ) -> None:
        self._split = split
        self._unknown = (sum(consts_on), sum(carry_on), sum(xs_on))
        self._fixed, self._carry, along = (m.count(False) for m in (consts_on, carry_on, xs_on))
        self._inputs = self._fixed + self._carry + along
        self.num_ys = split.known_count - self._carry
        known = split.known.jaxpr
        self._candidates = self._stacked_candidates(known)
        outvars = [*known.outvars[: split.known_count], *self._candidates]
        extended = ClosedJaxpr(
            Jaxpr(known.constvars, known.invars, outvars, known.eqns, known.debug_info),
            split.known.consts,
        )
        dependent = (False,) * self._fixed + (True,) * (self._carry + along)
        # What has effects stays in the loop with all that it needs.
        stay = split.known.effectful
        forced = (True,) * split.known_count + (stay,) * len(self._candidates)
        parts = split_jaxpr(extended, dependent, forced, whole=True)
        self.hoisted, self.loop = parts.known, parts.unknown
        self._loop_residuals = parts.residuals
        self._varies = parts.unknown_outs[split.known_count :]

    def _stacked_candidates(self, known: Jaxpr) -> list[Atom]:
        """The residuals that neither consts, xs nor ys hold already, each once."""
        found: dict[Atom, None] = {}
        for place in self._split.residuals:
            atom = self._atom(known, place)
            if not self._is_at_hand(known, place):
                found[atom] = None
        return list(found)

    def _atom(self, known: Jaxpr, place: int) -> Atom:
        return [*known.invars, *known.outvars][place]

    def _is_at_hand(self, known: Jaxpr, place: int) -> bool:
        if place < self._inputs:
            return not self._fixed <= place < self._fixed + self._carry
        return self._atom(known, place) in self._ys(known)

    def _ys(self, known: Jaxpr) -> list[Atom]:
        return known.outvars[self._carry : self._split.known_count]

    def pick_consts(self, fixed: Sequence[Array], hoisted: Sequence[Array]) -> list[Array]:
        """The consts of the loop, from the body's known consts and what was hoisted."""
        available = [*fixed, *hoisted]
        return [available[p] for p in self._loop_residuals]

    def residuals(
        self,
        fixed: Sequence[Array],
        hoisted: Sequence[Array],
        along: Sequence[Array],
        ys: Sequence[Array],
    ) -> tuple[list[Array], list[Array]]:
        """The residuals that are the same in each step, and those that are stacked."""
        known = self._split.known.jaxpr
        same, stacked = iter(hoisted), iter(ys[self.num_ys :])
        values: dict[Atom, tuple[bool, Array]] = {}
        for atom, varies in zip(self._candidates, self._varies, strict=True):
            values[atom] = (varies, next(stacked if varies else same))
        for atom, y in zip(self._ys(known), ys, strict=False):
            values[atom] = (True, y)
        for v, x in zip(known.invars[self._fixed + self._carry :], along, strict=True):
            values[v] = (True, x)
        for v, x in zip(known.invars, fixed, strict=False):
            values[v] = (False, x)
        found = [values[self._atom(known, p)] for p in self._split.residuals]
        self._residual_varies = [varies for varies, _ in found]
        return [x for varies, x in found if not varies], [x for varies, x in found if varies]

    def unknown_order(self) -> list[int]:
        """The unknown part's inputs: what is the same in each step, the carry, the others."""
        count = len(self._split.residuals)
        places = range(count)
        consts, carry, xs = self._unknown
        given = split_at(range(count, count + consts + carry + xs), consts, carry)
        same = chosen(places, self._residual_varies, False)
        varying = chosen(places, self._residual_varies)
        return [*same, *given[0], *given[1], *varying, *given[2]]

"""Finding attention in a program; see `strips` for what becomes of it.

What is looked for is no certain formula: products whose results, the scores, are there for each
query and key, functions of their elements, reductions over the keys, and products that sum over
scores. Masks, biases and whatever else has a form for single elements may stand in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from fstensor.array import from_buffer
from fstensor.compiler.domain import Domain, padded
from fstensor.compiler.kinds import source_of
from fstensor.compiler.replacing import Replacing, used
from fstensor.compiler.strips import Attention, Mix
from fstensor.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var
from fstensor.core.scalar import FLOAT32
from fstensor.ops.convert import StopGradient
from fstensor.ops.dot import DotGeneral, free_axes
from fstensor.ops.elementwise import Div, Mul, Sub
from fstensor.ops.reduce import ReduceMax, ReduceSum, Reduction
from fstensor.ops.shape import Transpose
from fstensor.ops.transcendental import Exp

# With fewer keys, or fewer scores in all, there is nothing to gain; nor for lines longer than the
# heads of attention have them.
_FEWEST_KEYS = 12
_FEWEST_SCORES = 4096
_DEEPEST = 256
# Vectors lie along the queries, which should fill three of four lanes; so many lanes and vectors
# the widest machines have.
_LANES = 16
_MOST_VECTORS = 4
# Longer members would run out of registers.
_MOST_MEMBERS = 80
# What is computed again for each score, rather than read, is made of so few equations.
_MOST_ALONG = 16
# Where scores are computed a second time, they must be so many that to keep them costs more time.
FEWEST_TO_COMPUTE_AGAIN = 1 << 19


def attend(jaxpr: Jaxpr) -> Jaxpr:
    """The program with an equation `attention` in place of those that make and use scores."""
    seeds = [e for e in jaxpr.eqns if _may_begin(e)]
    if not seeds:
        return jaxpr
    program = Replacing(jaxpr)
    for seed in seeds:
        if id(seed) in program.taken:
            continue
        region = _Region(program, seed)
        if region.grow() and (steps := region.steps()) is not None:
            program.replace(list(region.eqns()), steps)
    return program.result()


def _may_begin(eqn: Eqn) -> bool:
    """Whether a reduction might be one of scores over keys."""
    if not isinstance(eqn.primitive, Reduction) or len(eqn.primitive.axes) != 1:
        return False
    aval = eqn.invars[0].aval
    return aval.ndim >= 2 and aval.dtype == FLOAT32 and aval.size >= _FEWEST_SCORES


def _free(product: Eqn, side: int) -> tuple[int, ...]:
    """The axes that the result of a contraction has from one operand alone."""
    primitive = product.primitive
    assert isinstance(primitive, DotGeneral)
    contract, batch = primitive.dimension_numbers
    return free_axes(product.invars[side].aval.ndim, contract[side], batch[side])


def _summed(product: Eqn) -> int:
    """How many terms the sums of a contraction have."""
    primitive = product.primitive
    assert isinstance(primitive, DotGeneral)
    (first, _), _ = primitive.dimension_numbers
    return math.prod([product.invars[0].aval.shape[d] for d in first])


@final
@dataclass(eq=False)
class _Region:
    """The equations that make and use the scores of one attention, while they are found.

    orders: of the values with an element for each score, the order of their axes: axis k of such a
    value is axis order[k] of the scores.
    """

    program: Replacing
    seed: Eqn
    orders: dict[Var, tuple[int, ...]] = field(default_factory=dict)
    scores: dict[int, Eqn] = field(default_factory=dict)  # products that make them
    points: dict[int, Eqn] = field(default_factory=dict)
    turns: dict[int, Eqn] = field(default_factory=dict)
    reductions: dict[int, Eqn] = field(default_factory=dict)
    mixes: list[Mix] = field(default_factory=list)
    inner: dict[int, Eqn] = field(default_factory=dict)  # others that are computed along
    searched: set[Var] = field(default_factory=set)

    def __post_init__(self) -> None:
        primitive = self.seed.primitive
        assert isinstance(primitive, Reduction)
        self.shape = self.seed.invars[0].aval.shape
        (self.column,) = primitive.axes
        self.row = -1
        self.identity = tuple(range(len(self.shape)))

    def eqns(self) -> Iterator[Eqn]:
        """Those that are no longer there when the region is replaced."""
        for found in (self.scores, self.points, self.turns, self.reductions):
            yield from found.values()
        for m in self.mixes:
            yield m.eqn
            if m.result is not m.eqn.outvars[0]:
                yield self.program.maker[m.result]

    # What belongs to it

    def grow(self) -> bool:
        """Find all that is connected with the seed by scores; says whether it can be replaced."""
        (operand,) = self.seed.invars
        if not isinstance(operand, Var):
            return False
        found = self._sources(operand, self.identity)
        todo = [eqn.outvars[0] for eqn in found]
        seen: set[Var] = set()
        while todo:
            v = todo.pop()
            if v in seen:
                continue
            seen.add(v)
            if v in self.program.outputs:
                return False
            for user in self.program.users.get(v, ()):
                more = self._use(v, user)
                if more is None:
                    return False
                todo += more
        if not self.scores or not self.mixes or len(self.points) > _MOST_MEMBERS:
            return False
        return self._is_worth_it() and id(self.seed) in self.reductions and self._follow_rows()

    def _is_worth_it(self) -> bool:
        """Whether there are exponentials of scores, and enough queries to fill vectors."""
        if not any(isinstance(e.primitive, Exp) for e in self.points.values()):
            return False
        queries, keys = self.shape[self.row], self.shape[self.column]
        vectors = -(-queries // _LANES)
        if vectors > _MOST_VECTORS:
            vectors = min(-(-vectors // v) * v for v in range(2, _MOST_VECTORS + 1))
        fills = 3 * vectors * _LANES <= 4 * queries
        depths = [_summed(e) for e in self.scores.values()]
        for m in self.mixes:
            shape = m.eqn.invars[1 - m.side].aval.shape
            depths.append(math.prod([shape[d] for d in _free(m.eqn, 1 - m.side)]))
        return fills and keys >= _FEWEST_KEYS and max(depths) <= _DEEPEST

    def _sources(self, v: Var, order: tuple[int, ...]) -> list[Eqn]:
        """The products that a value with the axes of the scores is made of.

        What is made of none is read, or computed along the way, as any other operand.
        """
        found: list[Eqn] = []
        eqn = self.program.maker.get(v)
        if v in self.searched or eqn is None or id(eqn) in self.program.taken:
            return found
        self.searched.add(v)
        if isinstance(eqn.primitive, DotGeneral):
            if not self._is_product(eqn):
                return found
            self.scores[id(eqn)] = eqn
            self.orders[v] = order
            return [eqn]
        if isinstance(eqn.primitive, Transpose) and isinstance(eqn.invars[0], Var):
            permutation = eqn.primitive.permutation
            before = [0] * len(order)
            for k, d in enumerate(permutation):
                before[d] = order[k]
            found = self._sources(eqn.invars[0], tuple(before))
        elif self.program.kind(eqn) == "point" and order == self.identity:
            for a in eqn.invars:
                if isinstance(a, Var) and a.aval.shape == self.shape:
                    found += self._sources(a, order)
        return found

    def _is_product(self, eqn: Eqn) -> bool:
        """Whether something is a product of matrices, all of float32."""
        kinds = {a.aval.dtype for a in (*eqn.invars, *eqn.outvars)}
        return kinds == {FLOAT32} and self.program.kind(eqn) == "product"

    def _use(self, v: Var, eqn: Eqn) -> list[Var] | None:
        """Take in an equation that uses scores; gives more of them, None if it cannot be."""
        if id(eqn) in self.program.taken:
            return None
        primitive, order = eqn.primitive, self.orders[v]
        out = eqn.outvars[0]
        if isinstance(primitive, DotGeneral):
            return [] if self._mix(v, eqn) else None
        if isinstance(primitive, Transpose):
            self.turns[id(eqn)] = eqn
            self.orders[out] = tuple([order[d] for d in primitive.permutation])
            return [out]
        if order != self.identity:
            return None
        kind = self.program.kind(eqn)
        if kind == "reduce" and isinstance(primitive, Reduction):
            self.reductions[id(eqn)] = eqn
            fits = primitive.axes == (self.column,) and out.aval.dtype == FLOAT32
            return [] if fits and primitive.combines_by else None
        if kind != "point" or out.aval.shape != self.shape:
            return None
        self.points[id(eqn)] = eqn
        self.orders[out] = self.identity
        more = [out]
        for a in eqn.invars:
            if isinstance(a, Var) and a.aval.shape == self.shape:
                more += [e.outvars[0] for e in self._sources(a, self.identity)]
        return more

    def _mix(self, v: Var, eqn: Eqn) -> bool:
        """Take in a product that sums over scores."""
        if not self._is_product(eqn) or id(eqn) in self.scores:
            return False
        sides = [k for k, a in enumerate(eqn.invars) if a is v]
        if len(sides) != 1:
            return False
        (side,) = sides
        assert isinstance(eqn.primitive, DotGeneral)
        contract, batch = eqn.primitive.dimension_numbers
        order = self.orders[v]
        summed = {order[d] for d in contract[side] if v.aval.shape[d] != 1}
        if summed != {self.column} and (len(summed) != 1 or self.row not in (-1, *summed)):
            return False
        batches = {order[d] for d in batch[side]}
        if summed == {self.column}:
            # What is left is for queries: with several such axes, that with the most of them.
            left = [a for k, a in enumerate(order) if a != self.column and a not in batches]
            row = max(left, key=lambda a: self.shape[a], default=-1)
        else:
            (row,) = summed
        if row < 0 or self.row not in (-1, row):
            return False
        self.row = row
        if sum(eqn.invars[1 - side].aval.shape[d] != 1 for d in _free(eqn, 1 - side)) > 1:
            return False
        if summed != {self.column} and any(
            n != 1 and a not in (self.row, self.column) and a not in batches
            for a, n in enumerate(self.shape)
        ):
            return False
        matrix, at = v, order
        while at != self.identity or matrix not in self._matrices():
            turn = self.program.maker[matrix]
            if not isinstance(turn.primitive, Transpose) or not isinstance(turn.invars[0], Var):
                return False
            matrix = turn.invars[0]
            at = self.orders[matrix]
        result, turned = eqn.outvars[0], tuple(range(eqn.outvars[0].aval.ndim))
        users = self.program.users.get(result, ())
        if len(users) == 1 and result not in self.program.outputs:
            then = users[0].primitive
            if isinstance(then, Transpose):
                result, turned = users[0].outvars[0], then.permutation
        over_rows = summed != {self.column}
        self.mixes.append(Mix(matrix, eqn, side, order, result, turned, over_rows))
        return True

    def _matrices(self) -> set[Var]:
        """The values that are computed for each score."""
        return {e.outvars[0] for e in (*self.points.values(), *self.scores.values())}

    def _follow_rows(self) -> bool:
        """Find what is computed from reductions for each row, and from no scores, for scores."""
        todo = [e.outvars[0] for e in self.reductions.values()]
        rows = math.prod(self.shape) // self.shape[self.column]
        while todo:
            v = todo.pop()
            for user in self.program.users.get(v, ()):
                if id(user) in self.inner or not self._is_of_rows(user, rows):
                    continue
                self.inner[id(user)] = user
                todo += user.outvars
        for eqn in list(self.points.values()):
            for a in eqn.invars:
                self._take_along(a)
        return all(self._has_one_depth(e) for e in self.scores.values())

    def _is_of_rows(self, eqn: Eqn, rows: int) -> bool:
        kind = self.program.kind(eqn)
        if kind == "view":
            return source_of(eqn) is not None
        return kind == "point" and eqn.outvars[0].aval.size == rows

    def _take_along(self, atom: Atom) -> None:
        """Find what is computed for each score from other values than scores."""
        eqn = self.program.maker_of(atom)
        if eqn is None or id(eqn) in self.inner or id(eqn) in self.points:
            return
        if self._is_made_along(eqn):
            self.inner[id(eqn)] = eqn
            for a in eqn.invars:
                self._take_along(a)

    def _is_made_along(self, eqn: Eqn) -> bool:
        kind = self.program.kind(eqn)
        if kind == "view":
            return source_of(eqn) is not None
        if kind == "point":
            return self._is_cheap(eqn)
        return kind == "iota"

    def _is_cheap(self, eqn: Eqn) -> bool:
        """Whether elements are better computed than read: from indices, or from what is read.

        Not so random numbers: they are made once, and fewer bits are kept than they have.
        """
        is_whole = eqn.outvars[0].aval.shape == self.shape
        seen: dict[int, Eqn] = {}
        todo = [eqn]
        while todo:
            e = todo.pop()
            kind = self.program.kind(e)
            if id(e) in seen or id(e) in self.inner or id(e) in self.points or kind == "iota":
                continue
            seen[id(e)] = e
            if kind not in ("point", "view") or (kind == "view" and source_of(e) is None):
                return False
            makers = [self.program.maker_of(a) for a in e.invars]
            todo += [m for m in makers if m is not None]
            leaves = [a for a, m in zip(e.invars, makers, strict=True) if m is None]
            if not is_whole and any(isinstance(a, Var) for a in leaves):
                return False
        return len(seen) <= _MOST_ALONG

    def _has_one_depth(self, eqn: Eqn) -> bool:
        """Whether a product sums over one axis, for each score."""
        primitive = eqn.primitive
        assert isinstance(primitive, DotGeneral)
        shape = eqn.invars[0].aval.shape
        order = self.orders[eqn.outvars[0]]
        sides = []
        (first, second), batch = primitive.dimension_numbers
        at = len(batch[0])
        for side, contract in enumerate((first, second)):
            n = len(free_axes(eqn.invars[side].aval.ndim, contract, batch[side]))
            sides.append({order[k] for k in range(at, at + n)})
            at += n
        of_keys = [self.column in s for s in sides]
        of_queries = [self.row in s for s in sides]
        apart = of_keys == [not x for x in of_queries] and of_keys[0] != of_keys[1]
        return apart and sum(shape[d] != 1 for d in first) <= 1

    def is_sum_of_weights(self, atom: Atom) -> bool:
        """Whether values are sums of exponentials, of which the largest is 1."""
        total = self._reduction_of_row(atom)
        if total is None or not isinstance(total.primitive, ReduceSum):
            return False
        exp = self.program.maker_of(total.invars[0])
        gap = (
            self.program.maker_of(exp.invars[0]) if exp and isinstance(exp.primitive, Exp) else None
        )
        if gap is None or not isinstance(gap.primitive, Sub):
            return False
        largest = self._reduction_of_row(gap.invars[1])
        return (
            largest is not None
            and isinstance(largest.primitive, ReduceMax)
            and largest.invars[0] is gap.invars[0]
        )

    def _reduction_of_row(self, atom: Atom) -> Eqn | None:
        """The reduction whose result for its own row each element of a value is, if that is so."""
        domain = Domain(self.shape, (self.column,))
        index = domain.index_of(atom.aval.shape)
        eqn = self.program.maker_of(atom)
        while eqn is not None and index is not None and id(eqn) not in self.reductions:
            if self.program.kind(eqn) == "view":
                index = eqn.primitive.source_index(index, eqn.invars[0].aval)
            elif not isinstance(eqn.primitive, StopGradient):
                return None
            (atom,) = eqn.invars
            eqn = self.program.maker_of(atom)
        own = domain.index_of(domain.row)
        if eqn is None or index is None or own is None:
            return None
        rank = len(self.shape)
        return eqn if padded(index, rank) == padded(own, rank) else None

    # What becomes of it

    def steps(self) -> list[Eqn] | None:
        """An attention for each level: those of the second one need results of the first."""
        levels = self._levels()
        mixes: dict[int, list[Mix]] = {}
        for m in self.mixes:
            mixes.setdefault(levels[m.eqn.outvars[0]], []).append(m)
        if len(mixes) > 1 and math.prod(self.shape) < FEWEST_TO_COMPUTE_AGAIN:
            return None
        of = {e.outvars[0]: levels[e.outvars[0]] for e in self.reductions.values()}
        if {*of.values()} - {*mixes}:
            return None
        bodies = {n: _Body(self, of, n, found) for n, found in mixes.items()}
        if not all(b.is_whole for b in bodies.values()):
            return None
        gone = {id(e) for e in self.eqns()}
        wanted = self.program.outputs.union(*(b.reads for b in bodies.values()))
        outside = used([e for e in self.program.eqns if id(e) not in gone], wanted)
        wanted.update(a for e in outside for a in e.invars if isinstance(a, Var))
        rows = {n: [v for v, level in of.items() if level == n and v in wanted] for n in bodies}
        return [bodies[n].eqn(rows[n]) for n in sorted(bodies)]

    def _levels(self) -> dict[Var, int]:
        """How often a value has left the region and come back."""
        ours = {id(e) for e in self.eqns()} | set(self.inner)
        results = {v for m in self.mixes for v in (m.eqn.outvars[0], m.result)}
        derived: set[Var] = set()  # what belongs to the region, or is a result
        levels: dict[Var, int] = {}
        for eqn in self.program.eqns:
            inside = id(eqn) in ours
            level = 0
            for a in eqn.invars:
                if isinstance(a, Var):
                    turns = eqn.outvars[0] in results and a in results
                    leaves = a in derived and (not inside or (a in results and not turns))
                    level = max(level, levels.get(a, 0) + leaves)
            for v in eqn.outvars:
                levels[v] = level
                if inside:
                    derived.add(v)
        return levels


@final
class _Body:
    """The equations that one attention is made of."""

    def __init__(
        self, region: _Region, levels: dict[Var, int], level: int, mixes: Sequence[Mix]
    ) -> None:
        self.region = region
        self.level = level
        self.levels = levels
        self.mixes = list(mixes)
        self.members: dict[int, Eqn] = {}
        self.inverses: dict[Atom, Var] = {}
        self.scores: dict[int, Eqn] = {}
        self.reads: dict[Var, None] = {}
        self.inside = {id(e) for e in region.eqns()} | set(region.inner)
        self.results = {v for m in region.mixes for v in (m.eqn.outvars[0], m.result)}
        self.is_whole = True  # whether it needs no result of its own from outside
        for m in mixes:
            self._read(m.eqn.invars[1 - m.side])
            self._add(m.matrix)
        for v, n in levels.items():
            if n == level:
                self._add(v)

    def _read(self, atom: Atom) -> None:
        if isinstance(atom, Var):
            self.reads[atom] = None

    def _add(self, atom: Atom) -> None:
        """Find what is needed for a value, down to what others have computed."""
        if not isinstance(atom, Var):
            return
        eqn = self.region.program.maker.get(atom)
        if eqn is None or id(eqn) not in self.inside:
            self._read(atom)
            return
        if atom in self.levels and self.levels[atom] < self.level:
            self._read(atom)
            return
        if id(eqn) in self.members or id(eqn) in self.scores:
            return
        if atom in self.results:
            self.is_whole = False
            return
        if id(eqn) in self.region.scores:
            self.scores[id(eqn)] = eqn
            for a in eqn.invars:
                self._read(a)
            return
        if isinstance(eqn.primitive, Div) and self.region.is_sum_of_weights(eqn.invars[1]):
            self._add_quotient(eqn)
            return
        self.members[id(eqn)] = eqn
        for a in eqn.invars:
            self._add(a)

    def _add_quotient(self, eqn: Eqn) -> None:
        """Divide once for a row: by what is 1 at least, or NaN, its inverse may multiply."""
        x, y = eqn.invars
        self._add(x)
        self._add(y)
        if y not in self.inverses:
            inverse = Var(y.aval)
            one = Literal(from_buffer(np.ones((), y.aval.dtype)))
            self.inverses[y] = inverse
            by = Eqn(Div(), [one, y], [inverse], eqn.source_info)
            self.members[id(by)] = by
        product = Eqn(Mul(), [x, self.inverses[y]], eqn.outvars, eqn.source_info)
        self.members[id(eqn)] = product

    def eqn(self, rows: Sequence[Var]) -> Eqn:
        region = self.region
        scores = [(e, region.orders[e.outvars[0]]) for e in self.scores.values()]
        axes, members = (region.row, region.column), list(self.members.values())
        attention = Attention(region.shape, axes, scores, members, self.mixes, rows)
        return Eqn(attention, list(self.reads), attention.results, region.seed.source_info)

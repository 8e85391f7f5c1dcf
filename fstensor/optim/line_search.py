"""How far to go along a direction: a search for a step that satisfies the strong Wolfe conditions.

value(t) <= value(0) + c1 t slope(0), and |slope(t)| <= c2 |slope(0)| (Nocedal and Wright, 2006,
equations 3.7). First steps grow until two of them enclose such a step, then these close in on it;
new steps come from cubics (their algorithms 3.5 and 3.6, with the safeguards of Schmidt's minFunc,
which PyTorch has too; unlike there, one of the two always satisfies the first condition, so that
none is lost after a first step that is far too long).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from fstensor import lax
from fstensor import numpy as fnp
from fstensor.array import Array


class Point(NamedTuple):
    """A step, the value and the gradient there, and the slope: gradient times direction."""

    step: Array
    value: Array
    grad: Array
    slope: Array


Along: TypeAlias = Callable[[Array], Point]

_SEARCHING, _ENCLOSED, _FOUND = 0, 1, 2


def strong_wolfe(
    along: Along,
    start: Point,
    first_step: Array,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_evaluations: Array | float = 25,
    least_width: Array | float = 1e-9,
) -> Point:
    """The point found, or the best one when there are no evaluations left.

    along(t): the point at the step t. start: that at 0; its slope must be negative.
    least_width: two steps closer than this enclose nothing worth looking for.
    Works on traced values, and under vmap.
    """

    def rises_too_much(p: Point) -> Array:
        return p.value > start.value + c1 * p.step * start.slope

    def is_flat(p: Point) -> Array:
        return fnp.abs(p.slope) <= -c2 * start.slope

    def judged(before: Point, now: Point, count: Array) -> Array:
        high = rises_too_much(now) | ((count > 1) & (now.value >= before.value))
        late = fnp.where(now.slope >= 0, _ENCLOSED, _SEARCHING)
        return fnp.where(high, _ENCLOSED, fnp.where(is_flat(now), _FOUND, late))

    def grow(carry: tuple[Array, Point, Point, Array]) -> tuple[Array, Point, Point, Array]:
        count, before, now, _ = carry
        least, most = now.step + 0.01 * (now.step - before.step), 10 * now.step
        beyond = along(_cubic_minimum(before, now, least, most))
        return count + 1, now, beyond, judged(now, beyond, count + 1)

    zero = fnp.zeros((), "int32")
    first = along(first_step)
    count, before, now, status = lax.while_loop(
        lambda carry: (carry[0] < max_evaluations) & (carry[3] == _SEARCHING),
        grow,
        (zero, start, first, judged(start, first, zero)),
    )
    before = _choose(count >= max_evaluations, start, before)
    # The low one always has a value low enough, and slopes down towards the high one.
    rises = rises_too_much(now) | (now.value >= before.value)
    ends_low = (status == _FOUND) | ~rises
    low, high = _choose(ends_low, now, before), _choose(ends_low, before, now)

    def close_in(carry: _Enclosure) -> _Enclosure:
        step, stuck = _within(carry.low, carry.high, carry.stuck)
        new = along(step)
        worse = rises_too_much(new) | (new.value >= carry.low.value)
        rises = new.slope * (carry.high.step - carry.low.step) >= 0
        low = _choose(worse, carry.low, new)
        high = _choose(worse, new, _choose(rises, carry.low, carry.high))
        return _Enclosure(carry.evaluations + 1, low, high, stuck, ~worse & is_flat(new))

    closed = lax.while_loop(
        lambda carry: (
            ~carry.found
            & (carry.evaluations < max_evaluations)
            & (fnp.abs(carry.high.step - carry.low.step) >= least_width)
        ),
        close_in,
        _Enclosure(count, low, high, fnp.zeros((), "bool"), status == _FOUND),
    )
    return closed.low


class _Enclosure(NamedTuple):
    """Two points with a good one between. stuck: whether the last step was close to one of them."""

    evaluations: Array
    low: Point
    high: Point
    stuck: Array
    found: Array


def _choose(yes: Array, a: Point, b: Point) -> Point:
    return Point(*[fnp.where(yes, x, y) for x, y in zip(a, b, strict=True)])


def _within(a: Point, b: Point, stuck: Array) -> tuple[Array, Array]:
    """A step between two; a tenth away from both if it was close to one twice, or is one."""
    least, most = fnp.minimum(a.step, b.step), fnp.maximum(a.step, b.step)
    step = _cubic_minimum(a, b, least, most)
    margin = 0.1 * (most - least)
    close = fnp.minimum(most - step, step - least) < margin
    must_move = close & (stuck | (step >= most) | (step <= least))
    nearer_most = fnp.abs(step - most) < fnp.abs(step - least)
    away = fnp.where(nearer_most, most - margin, least + margin)
    return fnp.where(must_move, away, step), close & ~must_move


def _cubic_minimum(a: Point, b: Point, least: Array, most: Array) -> Array:
    """Where the cubic with the values and slopes of two points is least, within bounds.

    Nocedal and Wright, equation 3.59; the middle where it has no minimum.
    """
    left, right = _choose(a.step <= b.step, a, b), _choose(a.step <= b.step, b, a)
    d1 = left.slope + right.slope - 3 * (left.value - right.value) / (left.step - right.step)
    square = d1 * d1 - left.slope * right.slope
    d2 = fnp.sqrt(fnp.maximum(square, 0))
    share = (right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2)
    minimum = right.step - (right.step - left.step) * share
    return fnp.where(square >= 0, fnp.clip(minimum, least, most), (least + most) / 2)

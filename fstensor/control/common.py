"""What branches and loops share: tracing of their parts, carries of one type, choices of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, final

import numpy as np

from fstensor import tree
from fstensor.array import Array, lift
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr, Jaxpr, Var
from fstensor.errors import CarryTypeError, TreeError
from fstensor.ops.convert import ConvertElementType
from fstensor.ops.families import constant
from fstensor.ops.logical import SelectN
from fstensor.ops.shape import broadcast_in_dim
from fstensor.transforms.arguments import lift_outputs
from fstensor.transforms.programs import trace_captured

T = TypeVar("T")


@final
class Traced:
    """A function of trees as a program, what it captures, and the structure of its output."""

    def __init__(
        self, closed: ClosedJaxpr, captured: list[Array], out_tree: tree.PyTreeDef
    ) -> None:
        self.closed = closed
        self.captured = captured
        self.out_tree = out_tree

    @property
    def out_avals(self) -> tuple[ShapedArray, ...]:
        return self.closed.out_avals


def trace_tree_function(
    function: Callable[..., Any],
    avals: Sequence[ShapedArray],
    in_tree: tree.PyTreeDef,
    what: str,
) -> Traced:
    """Record a function whose arguments have the structure `in_tree`, a tuple's."""
    out_tree: list[tree.PyTreeDef] = []

    def flat(*leaves: Array) -> list[Array]:
        outs, structure = tree.flatten(function(*tree.unflatten(in_tree, leaves)))
        out_tree.append(structure)
        return lift_outputs(outs, what)

    name = source_info.describe_function(function)
    closed, captured = trace_captured(flat, avals, what, name)
    return Traced(closed, captured, out_tree[0])


def lifted_tree(what: str, value: Any) -> tuple[list[Array], tree.PyTreeDef]:
    """The leaves of an argument as Arrays, and its structure."""
    leaves, structure = tree.flatten(value)
    return [lift(x, what=what) for x in leaves], structure


def split_at(values: Sequence[T], *counts: int) -> list[list[T]]:
    """Consecutive parts of these sizes, then the rest."""
    parts = []
    start = 0
    for n in counts:
        parts.append(list(values[start : start + n]))
        start += n
    return [*parts, list(values[start:])]


def chosen(values: Iterable[T], marks: Iterable[bool], which: bool = True) -> list[T]:
    return [x for x, on in zip(values, marks, strict=True) if on == which]


# Programs rearranged


def rearranged(
    closed: ClosedJaxpr, ins: Sequence[int] | None, outs: Sequence[int] | None = None
) -> ClosedJaxpr:
    """The program with its inputs, and its outputs, in another order; None leaves them."""
    j = closed.jaxpr
    invars = j.invars if ins is None else [j.invars[i] for i in ins]
    outvars = j.outvars if outs is None else [j.outvars[i] for i in outs]
    assert len(invars) == len(j.invars)
    return ClosedJaxpr(Jaxpr(j.constvars, invars, outvars, j.eqns, j.debug_info), closed.consts)


def with_unread_inputs(
    closed: ClosedJaxpr, avals: Sequence[ShapedArray], place: int
) -> ClosedJaxpr:
    """The program with more inputs, before that at `place`, that it does not read."""
    j = closed.jaxpr
    invars = [*j.invars[:place], *map(Var, avals), *j.invars[place:]]
    return ClosedJaxpr(Jaxpr(j.constvars, invars, j.outvars, j.eqns, j.debug_info), closed.consts)


def with_common_captures(parts: Sequence[Traced]) -> tuple[list[ClosedJaxpr], list[Array]]:
    """Programs that all take first whatever one of them captures."""
    union: dict[int, Array] = {id(x): x for p in parts for x in p.captured}
    programs = []
    for p in parts:
        j = p.closed.jaxpr
        own = dict(zip(map(id, p.captured), j.invars, strict=False))
        first = [own.get(key) or Var(x.aval) for key, x in union.items()]
        invars = [*first, *j.invars[len(p.captured) :]]
        opened = Jaxpr(j.constvars, invars, j.outvars, j.eqns, j.debug_info)
        programs.append(ClosedJaxpr(opened, p.closed.consts))
    return programs, list(union.values())


def with_out_avals(closed: ClosedJaxpr, avals: Sequence[ShapedArray]) -> ClosedJaxpr:
    """The program with its results made as weak or strong as `avals`; dtypes and shapes agree."""
    if closed.out_avals == tuple(avals):
        return closed
    from fstensor.transforms.make_jaxpr import trace_closed

    def function(*args: Array) -> list[Array]:
        outs = closed.as_function()(*args)
        return [as_weak_as(x, a) for x, a in zip(outs, avals, strict=True)]

    return trace_closed(function, closed.in_avals, "weak types", closed.name)


def as_weak_as(x: Array, aval: ShapedArray) -> Array:
    if x.weak_type == aval.weak_type:
        return x
    out: Array = ConvertElementType(x.dtype, aval.weak_type).bind(x)
    return out


# Carries


def carry_fixpoint(
    what: str,
    trace: Callable[[Sequence[ShapedArray]], Traced],
    init: Sequence[Array],
    init_tree: tree.PyTreeDef,
    count: Callable[[Traced], tuple[tree.PyTreeDef, list[ShapedArray]]],
) -> tuple[Traced, list[Array]]:
    """Trace a loop's body with a carry whose type it keeps, and give the carry at the start.

    A carry that starts weak takes the type that the body gives it.
    count: the structure and the avals of the carry in what was traced.
    Raises: TreeError or CarryTypeError, naming each part by its path, when the type changes.
    """
    carry = list(init)
    while True:
        traced = trace([x.aval for x in carry])
        out_tree, out_avals = count(traced)
        if out_tree != init_tree:
            difference = tree.describe_mismatch(init_tree, out_tree)
            raise TreeError(
                f"{what}: the carry must keep its structure, but the body changes it; {difference}"
            )
        widened = [_widened(x, a) for x, a in zip(carry, out_avals, strict=True)]
        if all(a is b for a, b in zip(widened, carry, strict=True)):
            break
        carry = widened
    changed = [
        f"{path or 'the carry'} from {x.aval} to {a}"
        for path, x, a in zip(leaf_paths(init_tree), carry, out_avals, strict=True)
        if not x.aval.same_type(a)
    ]
    if changed:
        raise CarryTypeError(
            f"{what}: the carry must keep its shapes and dtypes, but the body changes "
            f"{', '.join(changed)}; convert with astype, or start with the type that it returns"
        )
    return traced, carry


def _widened(x: Array, out: ShapedArray) -> Array:
    """A weak value as its body returns it, if shapes agree; the value itself otherwise."""
    if x.weak_type and x.shape == out.shape and (x.dtype != out.dtype or not out.weak_type):
        widened: Array = ConvertElementType(out.dtype, out.weak_type).bind(x)
        return widened
    return x


def leaf_paths(structure: tree.PyTreeDef) -> list[str]:
    """For messages: `['w'][0]` for each leaf, "" for a tree that is a leaf."""
    leaves = tree.unflatten(structure, range(structure.num_leaves))
    return [tree.keystr(path) for path, _ in tree.leaves_with_path(leaves)]


# Choices


def select(condition: Array, x: Array, y: Array) -> Array:
    """`x` where the condition holds, else `y`, of one type; the condition has leading axes."""
    if x.shape != condition.shape:
        condition = broadcast_in_dim(condition, x.shape, range(condition.ndim))
    out: Array = SelectN().bind(condition, y, x)
    return out


def int32(value: int) -> Array:
    return constant(value, ShapedArray((), np.dtype(np.int32)))

"""`cond` and `switch`: one of several branches, chosen by a value.

Derivatives are choices between the branches' derivatives. For the reverse mode each branch is split
into what the primal values determine and what is linear in the tangents; the residuals of all
branches share places by their types, and those of the branches that do not run are zeros.

For a batch of choices all branches run, and each example takes the results of its own. An operand
of a branch that an example does not take is hidden behind a choice, so that a slope that is
infinite or NaN there never reaches the example's gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes, tree
from fstensor.array import Array, ArrayLike, ConcreteArray, lift
from fstensor.config import config
from fstensor.control.common import (
    Traced,
    as_weak_as,
    chosen,
    int32,
    leaf_paths,
    lifted_tree,
    select,
    trace_tree_function,
    with_common_captures,
)
from fstensor.control.unused import smaller_branches
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary
from fstensor.core.control_flow import Choice
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value, primitive
from fstensor.core.trace import PartialTrace, current_trace
from fstensor.errors import (
    ArgumentError,
    CarryTypeError,
    DtypeError,
    JaxprTypeError,
    OptionError,
    ShapeError,
    TreeError,
)
from fstensor.ops.convert import StopGradient, convert_element_type
from fstensor.ops.elementwise import clamp
from fstensor.ops.index import batch_first
from fstensor.ops.logical import eq, ne
from fstensor.ops.shape import zeros_of
from fstensor.transforms.jvp import instantiate, jvp_jaxpr
from fstensor.transforms.linearize import Split, split_jaxpr
from fstensor.transforms.make_jaxpr import trace_closed
from fstensor.transforms.programs import ProgramPrimitive, check_inputs, run
from fstensor.transforms.transpose import transpose_jaxpr
from fstensor.transforms.vmap import batch_jaxpr

Branches = tuple[ClosedJaxpr, ...]


@final
@primitive("cond")
class Cond(ProgramPrimitive):
    """The results of one of `branches`.

    Operands: the number of the branch, clamped to those that there are, then what all of them take.
    """

    branches: Branches

    @property
    def programs(self) -> Branches:
        return self.branches

    def abstract(self, index: ShapedArray, *avals: ShapedArray) -> list[ShapedArray]:
        first = self.branches[0]
        for branch in self.branches:
            check_inputs("cond", branch, avals)
            if not all(
                a.same_type(b) for a, b in zip(branch.out_avals, first.out_avals, strict=True)
            ):
                raise JaxprTypeError(
                    f"cond: branches return {first.out_avals} and {branch.out_avals}"
                )
        if index.shape or not dtypes.is_integer(index.dtype):
            raise JaxprTypeError(f"cond: the number of the branch must be an integer, got {index}")
        outs = zip(*[b.out_avals for b in self.branches], strict=True)
        return [o[0].update(weak_type=all(a.weak_type for a in o)) for o in outs]

    def without_unused(self, used: Sequence[bool]) -> tuple[Primitive, list[bool], Sequence[bool]]:
        branches, ins = smaller_branches(self.branches, tuple(used))
        return Cond(branches), [True, *ins], used

    def control_flow(self) -> Choice:
        return Choice(self.branches)

    def impl(self, xp: Any, index: Any, *buffers: Any) -> Any:
        i = min(max(int(index), 0), len(self.branches) - 1)
        return run(self.branches[i], xp, buffers)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        index, *operands = primals
        ts = tangents[1:]
        active = tuple([t is not ZERO for t in ts])
        marks = [jvp_jaxpr(b, active)[1] for b in self.branches]
        forced = tuple([any(column) for column in zip(*marks, strict=True)])
        programs = tuple([jvp_jaxpr(b, active, forced)[0] for b in self.branches])
        given = [t for t in ts if t is not ZERO]
        outs = Cond(programs).bind(index, *operands, *given)
        found = iter(outs[len(forced) :])
        return outs[: len(forced)], [next(found) if on else ZERO for on in forced]

    def partial_eval(self, trace: PartialTrace, args: Sequence[Value]) -> Any:
        if trace.is_unknown(args[0]):
            return trace.record(self, args)
        index, *operands = args
        unknown = tuple([trace.is_unknown(x) for x in operands])
        marks = [split_jaxpr(b, unknown).unknown_outs for b in self.branches]
        forced = tuple([any(column) for column in zip(*marks, strict=True)])
        splits = [split_jaxpr(b, unknown, forced) for b in self.branches]
        slots = _Slots(splits)
        known_operands = chosen(operands, unknown, False)
        known_count = forced.count(False)
        with current_trace(trace.parent):
            known = Cond(slots.known_branches()).bind(index, *known_operands)
        outs, residuals = known[:known_count], known[known_count:]
        shared = [known_operands[i] for i in slots.operands]
        recorded = iter(
            trace.record(
                Cond(slots.unknown_branches()),
                [index, *shared, *residuals, *chosen(operands, unknown)],
            )
        )
        found = iter(outs)
        return [next(recorded) if on else next(found) for on in forced]

    def transpose(self, cts: Any, index: Value, *operands: Value) -> Sequence[Value]:
        linear = tuple([isinstance(x, Linear) for x in operands])
        programs = tuple([transpose_jaxpr(b, linear, forced=True)[0] for b in self.branches])
        given = [instantiate(ct, a) for ct, a in zip(cts, self.branches[0].out_avals, strict=True)]
        results = iter(Cond(programs).bind(index, *chosen(operands, linear, False), *given))
        return [None, *(next(results) if on else None for on in linear)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        (index, *operands), (index_dim, *operand_dims) = args, dims
        if index_dim is not None:
            return self._batch_of_choices(axis, index, operands, operand_dims)
        found = [batch_jaxpr(b, axis, tuple(operand_dims))[1] for b in self.branches]
        forced = tuple([any(d is not None for d in column) for column in zip(*found, strict=True)])
        programs = tuple(
            [batch_jaxpr(b, axis, tuple(operand_dims), forced)[0] for b in self.branches]
        )
        return Cond(programs).bind(index, *operands), [0 if on else None for on in forced]

    def _batch_of_choices(
        self,
        axis: MappedAxis,
        index: Array,
        operands: Sequence[Array],
        dims: Sequence[int | None],
    ) -> tuple[Any, Any]:
        if self.runs_only_where_due:
            raise OptionError(
                "vmap: a cond whose choice is mapped runs all branches, and so cannot have "
                "branches with an io_callback; use debug.callback, which may run in all of them"
            )
        count = len(self.branches)
        index = clamp(0, index, count - 1)
        batches = [batch_first(x, d, axis.size) for x, d in zip(operands, dims, strict=True)]
        forced = (True,) * len(self.branches[0].out_avals)
        outs: list[Array] = []
        for i, branch in enumerate(self.branches):
            program, _ = batch_jaxpr(branch, axis, (0,) * len(batches), forced)
            taken = eq(index, convert_element_type(int32(i), index.dtype))
            given = [_hidden_unless(taken, x) for x in batches]
            results = program.as_function()(*given)
            if i:
                results = [select(taken, r, o) for r, o in zip(results, outs, strict=True)]
            outs = results
        return outs, [0] * len(outs)


def _hidden_unless(taken: Array, x: Array) -> Array:
    """`x`; its cotangents pass only where `taken`."""
    if dtypes.is_inexact(x.dtype):
        return select(taken, x, StopGradient().bind(x))
    return x


@final
class _Slots:
    """Where the residuals of several branches are kept: places by type, that they share.

    operands: the known operands that are residuals of some branch.
    """

    def __init__(self, splits: Sequence[Split]) -> None:
        self._splits = splits
        self._inputs = len(splits[0].known.in_avals)
        used = {p for s in splits for p in s.residuals if p < self._inputs}
        self.operands = sorted(used)
        self._avals: list[ShapedArray] = []
        self._alone: set[int] = set()
        # For each branch, the slot of each residual that is no operand.
        self._places: list[dict[int, int]] = []
        for s in splits:
            # For a batch, values of several branches stand in one slot, each for its own examples.
            # Tapes belong to all examples, with the numbers of their steps: those share nothing.
            has_tapes = any(a.dtype == dtypes.tape for a in s.known.out_avals)
            taken: set[int] = set(range(len(self._avals))) if has_tapes else set(self._alone)
            places: dict[int, int] = {}
            for p in s.residuals:
                if p >= self._inputs and p not in places:
                    places[p] = self._slot(self._value(s, p).strong, taken)
                    taken.add(places[p])
            self._places.append(places)
            self._alone.update(places.values() if has_tapes else ())

    def _value(self, split: Split, place: int) -> ShapedArray:
        return split.known.out_avals[place - self._inputs]

    def _slot(self, aval: ShapedArray, taken: set[int]) -> int:
        """A free slot of this type, a new one if there is none."""
        for i, a in enumerate(self._avals):
            if a == aval and i not in taken:
                return i
        self._avals.append(aval)
        return len(self._avals) - 1

    def known_branches(self) -> Branches:
        """Each branch's known part, with the known outputs and then all slots."""
        return tuple([self._known(s, p) for s, p in zip(self._splits, self._places, strict=True)])

    def _known(self, split: Split, places: dict[int, int]) -> ClosedJaxpr:
        by_slot = {slot: place - self._inputs for place, slot in places.items()}

        def function(*args: Array) -> list[Array]:
            outs = split.known.as_function()(*args)
            kept = [
                _strong(outs[by_slot[i]]) if i in by_slot else zeros_of(a)
                for i, a in enumerate(self._avals)
            ]
            return [*outs[: split.known_count], *kept]

        return trace_closed(function, split.known.in_avals, "linearize", split.known.name)

    def unknown_branches(self) -> Branches:
        """Each branch's unknown part, of the shared operands, all slots, and unknown operands."""
        return tuple([self._unknown(s, p) for s, p in zip(self._splits, self._places, strict=True)])

    def _unknown(self, split: Split, places: dict[int, int]) -> ClosedJaxpr:
        count = len(self.operands)
        start = {p: i for i, p in enumerate(self.operands)}
        residual_avals = split.unknown.in_avals[: len(split.residuals)]
        unknown_avals = split.unknown.in_avals[len(split.residuals) :]

        def function(*args: Array) -> list[Array]:
            residuals = [
                args[start[p] if p < self._inputs else count + places[p]] for p in split.residuals
            ]
            given = [as_weak_as(x, a) for x, a in zip(residuals, residual_avals, strict=True)]
            return split.unknown.as_function()(*given, *args[count + len(self._avals) :])

        operands = [split.known.in_avals[i] for i in self.operands]
        avals = [*operands, *self._avals, *unknown_avals]
        return trace_closed(function, avals, "linearize", split.unknown.name)


def _strong(x: Array) -> Array:
    return as_weak_as(x, x.aval.strong)


_MISSING = object()


@boundary
def cond(
    pred: ArrayLike,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
    operand: Any = _MISSING,
) -> Any:
    """true_fun(*operands) if `pred` holds, else false_fun(*operands).

    Both functions are traced; one of them runs. Under vmap over `pred` both do.
    pred: a scalar, bool or a number that is true unless 0. operand: one operand, by name.
    Raises: TreeError or CarryTypeError when the functions return different types, naming them by
        path; DtypeError, ShapeError or ArgumentError for a wrong `pred`.

    >>> import fstensor as fst
    >>> fst.lax.cond(True, lambda x: x + 1, lambda x: x - 1, 3).item()
    4
    """
    operands = _operands("cond", operands, operand)
    for f in (true_fun, false_fun):
        if not callable(f):
            raise ArgumentError(f"cond: takes two functions, got {type(f).__name__}")
    chooser = _scalar("cond", "pred", pred)
    if dtypes.is_complex(chooser.dtype):
        raise DtypeError(f"cond: pred must be a bool or a real number, got {chooser.aval}")
    if not dtypes.is_bool(chooser.dtype):
        chooser = ne(chooser, zeros_of(chooser.aval.strong))
    if config.disable_jit and isinstance(chooser, ConcreteArray):
        return (true_fun if chooser else false_fun)(*operands)
    index = convert_element_type(chooser, np.int32)
    return _choose("cond", index, [false_fun, true_fun], operands)


def _operands(what: str, operands: tuple[Any, ...], operand: Any) -> tuple[Any, ...]:
    if operand is _MISSING:
        return operands
    if operands:
        raise ArgumentError(f"{what}: operands are given by position or by name, not both")
    return (operand,)


@boundary
def switch(
    index: ArrayLike,
    branches: Sequence[Callable[..., Any]],
    *operands: Any,
    operand: Any = _MISSING,
) -> Any:
    """branches[index](*operands), with `index` clamped to the branches that there are.

    All branches are traced; one of them runs. Under vmap over `index` all do.
    Raises: as `cond`; OptionError for no branches.
    """
    operands = _operands("switch", operands, operand)
    if not branches:
        raise OptionError("switch: needs at least one branch, got none")
    for f in branches:
        if not callable(f):
            raise ArgumentError(f"switch: takes functions, got {type(f).__name__}")
    chooser = _scalar("switch", "index", index)
    if not dtypes.is_integer(chooser.dtype):
        raise DtypeError(f"switch: index must be an integer, got {chooser.aval}")
    most = len(branches) - 1
    if np.iinfo(chooser.dtype).max > np.iinfo(np.int32).max:  # else it would wrap around
        chooser = clamp(0, chooser, most)
    number = clamp(0, convert_element_type(chooser, np.int32), most)
    if len(branches) == 1:
        return branches[0](*operands)
    if config.disable_jit and isinstance(number, ConcreteArray):
        return branches[int(number)](*operands)
    return _choose("switch", number, branches, operands)


def _scalar(what: str, name: str, x: ArrayLike) -> Array:
    value = lift(x, what=f"{what}: {name}")
    if value.ndim:
        raise ShapeError(f"{what}: {name} must be a scalar, got {value.aval}")
    if not (dtypes.is_bool(value.dtype) or dtypes.is_numeric(value.dtype)):
        raise DtypeError(f"{what}: {name} must be a bool or a number, got {value.aval}")
    return value


def _choose(
    what: str, index: Array, functions: Sequence[Callable[..., Any]], operands: Sequence[Any]
) -> Any:
    leaves, in_tree = lifted_tree(what, tuple(operands))
    avals = [x.aval for x in leaves]
    traced = [trace_tree_function(f, avals, in_tree, what) for f in functions]
    _check_results(what, traced)
    branches, captured = with_common_captures(traced)
    outs = Cond(tuple(branches)).bind(index, *captured, *leaves)
    return tree.unflatten(traced[0].out_tree, outs)


def _check_results(what: str, traced: Sequence[Traced]) -> None:
    """Raises unless all branches return one type."""
    first = traced[0]
    for other in traced[1:]:
        if other.out_tree != first.out_tree:
            difference = tree.describe_mismatch(first.out_tree, other.out_tree)
            raise TreeError(
                f"{what}: branches must return one structure, but {other.closed.name} differs "
                f"from {first.closed.name}; {difference}"
            )
        different = [
            f"{path or 'the result'} is {a} and {b}"
            for path, a, b in zip(
                leaf_paths(first.out_tree), first.out_avals, other.out_avals, strict=True
            )
            if not a.same_type(b)
        ]
        if different:
            raise CarryTypeError(
                f"{what}: branches must return one type, but in {first.closed.name} and "
                f"{other.closed.name} {', '.join(different)}; convert with astype"
            )

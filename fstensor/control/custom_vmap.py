"""`custom_vmap`: a function whose behaviour under vmap is written by the user."""

from __future__ import annotations

import functools
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

from fstensor import tree
from fstensor.array import Array
from fstensor.control.loops import map as map_in_turn
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Value, primitive
from fstensor.core.state import state
from fstensor.core.trace import EVAL
from fstensor.errors import ArgumentError, MissingRuleError, ShapeError, TreeError
from fstensor.ops.index import batch_first
from fstensor.ops.shape import moveaxis
from fstensor.transforms.arguments import check_callable
from fstensor.transforms.custom_common import Parameters, lifted, rule_name, with_type
from fstensor.transforms.jvp import instantiate, jvp_flat, jvp_jaxpr
from fstensor.transforms.make_jaxpr import trace_closed
from fstensor.transforms.programs import ProgramPrimitive, check_inputs, run, trace_captured
from fstensor.transforms.transpose import transpose_jaxpr


class VmapRule(ABC):
    """What a function of flat operands does with batches, which lie in front."""

    @abstractmethod
    def apply(
        self, axis: MappedAxis, args: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[list[Array], list[bool]]:
        """Results, in the current trace, and which of them are batched."""


@final
@primitive("custom_vmap_call")
class CustomVmapCall(ProgramPrimitive):
    """A call of a function with a rule for vmap. Operands: what it captures, then its arguments."""

    call: ClosedJaxpr
    num_consts: int
    rule: VmapRule
    rule_label: str

    @property
    def programs(self) -> tuple[ClosedJaxpr, ...]:
        return (self.call,)

    def printed_params(self) -> dict[str, Any]:
        return {"call": self.call, "rule": self.rule_label}

    def called_program(self) -> ClosedJaxpr:
        return self.call

    def abstract(self, *avals: ShapedArray) -> tuple[ShapedArray, ...]:
        check_inputs(self.name, self.call, avals)
        return self.call.out_avals

    def impl(self, xp: Any, *buffers: Any) -> Any:
        return run(self.call, xp, buffers)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        n = self.num_consts
        for x, d in zip(args[:n], dims, strict=False):
            if d is not None:
                raise ArgumentError(
                    f"custom_vmap: {self.call.name} refers to a value that is being mapped, got "
                    f"{x.aval} mapped along axis {d}, but its rule takes batches of arguments "
                    "alone; pass the value as an argument"
                )
        placed = [
            x if d is None else moveaxis(x, d, 0) for x, d in zip(args[n:], dims[n:], strict=True)
        ]
        outs, batched = self.rule.apply(axis, placed, [d is not None for d in dims[n:]])
        return outs, [0 if on else None for on in batched]

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        # The tangents are those of the function, and under a vmap those of its rule.
        n = self.num_consts
        outs = self.bind(*primals)
        active = tuple([t is not ZERO for t in tangents])
        program, marks = jvp_jaxpr(self.call, active)
        count = len(outs)

        def only_tangents(*args: Array) -> list[Array]:
            return program.as_function()(*args)[count:]

        pushed = trace_closed(only_tangents, program.in_avals, "jvp", self.call.name)
        given = [t for t in tangents if t is not ZERO]
        rule = TangentVmap(self.rule, active[n:], tuple(marks))
        if any(active[:n]):  # tangents of what it captures are none of the rule's arguments
            found = iter(pushed.as_function()(*primals, *given))
        else:
            found = iter(CustomVmapCall(pushed, n, rule, self.rule_label).bind(*primals, *given))
        return outs, [next(found) if on else ZERO for on in marks]

    def transpose(self, cts: Any, *args: Value) -> Sequence[Value]:
        linear = tuple([isinstance(x, Linear) for x in args])
        program, marks = transpose_jaxpr(self.call, linear)
        known = [x for x, on in zip(args, linear, strict=True) if not on]
        given = [instantiate(ct, a) for ct, a in zip(cts, self.call.out_avals, strict=True)]
        results = iter(program.as_function()(*known, *given))
        arrived = iter([next(results) if on else ZERO for on in marks])
        return [next(arrived) if on else None for on in linear]


@final
class TangentVmap(VmapRule):
    """The rule of the tangents: the derivative of the rule."""

    def __init__(
        self, base: VmapRule, active: tuple[bool, ...], out_active: tuple[bool, ...]
    ) -> None:
        self.base = base
        self.active = active
        self.out_active = out_active

    def apply(
        self, axis: MappedAxis, args: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[list[Array], list[bool]]:
        n = len(self.active)
        found, found_batched = iter(args[n:]), iter(batched[n:])
        primals, tangents, flags = [], [], []
        for x, on, x_batched in zip(args[:n], self.active, batched[:n], strict=True):
            t: Value = next(found) if on else ZERO
            t_batched = on and next(found_batched)
            both = x_batched or t_batched
            if both and not x_batched:
                x = batch_first(x, None, axis.size)
            if both and on and not t_batched:
                t = batch_first(t, None, axis.size)
            primals.append(x)
            tangents.append(t)
            flags.append(both)
        out_flags: list[bool] = []

        def function(*values: Array) -> list[Array]:
            outs, of_outs = self.base.apply(axis, values, flags)
            out_flags.extend(of_outs)
            return outs

        outs, ts = jvp_flat(function, primals, tangents, state.trace, "jvp", "a rule for vmap")
        triples = zip(ts, outs, out_flags, self.out_active, strict=True)
        kept = [(instantiate(t, x.aval), on) for t, x, on, active in triples if active]
        return [t for t, _ in kept], [on for _, on in kept]


@final
class UserVmap(VmapRule):
    """The rule as the user wrote it, for arguments of one structure."""

    def __init__(self, owner: custom_vmap, in_tree: tree.PyTreeDef) -> None:
        assert owner.vmap_rule is not None
        self.vmap_rule = owner.vmap_rule
        self.described = owner.parameters.described
        self.in_tree = in_tree
        self.out_tree: tree.PyTreeDef
        self.out_avals: Sequence[ShapedArray]

    def apply(
        self, axis: MappedAxis, args: Sequence[Array], batched: Sequence[bool]
    ) -> tuple[list[Array], list[bool]]:
        flags = list(tree.unflatten(self.in_tree, batched))
        pair = self.vmap_rule(axis.size, flags, *tree.unflatten(self.in_tree, args))
        what = f"custom_vmap: the rule {rule_name(self.vmap_rule)} of {self.described}"
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ArgumentError(
                f"{what} must return a pair (result, which parts are batched), "
                f"got {type(pair).__name__}"
            )
        leaves, structure = tree.flatten(pair[0])
        of_outs, flag_tree = tree.flatten(pair[1])
        for got, part in ((structure, "its result"), (flag_tree, "what it says to be batched")):
            if got != self.out_tree:
                difference = tree.describe_mismatch(self.out_tree, got)
                raise TreeError(
                    f"{what}: {part} must have the structure of the function's result; {difference}"
                )
        outs = [lifted(x, what) for x in leaves]
        for i, (x, on, a) in enumerate(zip(outs, of_outs, self.out_avals, strict=True)):
            wanted = a.update(shape=(axis.size, *a.shape)) if on else a
            if not x.aval.same_type(wanted):
                raise ShapeError(
                    f"{what}: result {i} must have the type of the function's"
                    f"{', with the batch in front' if on else ''}, got {x.aval} for {wanted}"
                )
        return [with_type(x, a) for x, a in zip(outs, self.out_avals, strict=True)], of_outs


@final
class custom_vmap:
    """A function with a behaviour of its own under vmap: use as a decorator, then `def_vmap`.

    The rule must do for batches what `fun` does for one example. Derivatives are those of `fun`, or
    of the rule where the function was mapped first; unlike JAX's, they may be in reverse mode.
    Raises: ArgumentError for a mapped value that `fun` refers to and that is no argument.

    >>> import fstensor as fst
    >>> @fst.custom_batching.custom_vmap
    ... def f(x, y):
    ...     return x + y
    >>> @f.def_vmap
    ... def f_vmap(axis_size, in_batched, xs, ys):
    ...     return xs * ys, True
    >>> fst.vmap(f)(fst.numpy.arange(3), fst.numpy.arange(3)).tolist()
    [0, 1, 4]
    """

    __wrapped__: Callable[..., Any]

    def __init__(self, fun: Callable[..., Any]) -> None:
        check_callable(fun, "custom_vmap")
        functools.update_wrapper(self, fun)  # first, since it copies what another such has set
        self.parameters = Parameters(fun, "custom_vmap")
        self.fun = fun
        self.vmap_rule: Callable[..., Any] | None = None

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<custom_vmap of {self.parameters.described}>"

    def def_vmap(self, vmap_rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule: vmap_rule(axis_size, in_batched, *args) returns (result, out_batched).

        in_batched: a list with, for each argument, a tree of bools like it. Batches lie in front.
        out_batched: a tree of bools like the result.
        Returns the rule, so that this is a decorator.
        """
        check_callable(vmap_rule, "def_vmap")
        self.vmap_rule = vmap_rule
        return vmap_rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.vmap_rule is None:
            raise MissingRuleError(
                f"custom_vmap: {self.parameters.described} has no rule; give it one with def_vmap"
            )
        args = self.parameters.positional(args, kwargs)
        leaves, in_tree = self.parameters.leaves(args)
        if state.trace is EVAL:
            return tree.map(lambda y: lifted(y, "custom_vmap"), self.fun(*args))
        arrays = [lifted(x, "custom_vmap") for x in leaves]
        rule = UserVmap(self, in_tree)

        def flat(*values: Array) -> list[Array]:
            outs, rule.out_tree = tree.flatten(self.fun(*tree.unflatten(in_tree, values)))
            return [lifted(x, "custom_vmap") for x in outs]

        avals = [x.aval for x in arrays]
        described = self.parameters.described
        call, captured = trace_captured(flat, avals, "custom_vmap", described)
        rule.out_avals = call.out_avals
        label = getattr(self.vmap_rule, "__name__", type(self.vmap_rule).__name__)
        outs = CustomVmapCall(call, len(captured), rule, label).bind(*captured, *arrays)
        return tree.unflatten(rule.out_tree, outs)


def sequential_vmap(f: Callable[..., Any]) -> custom_vmap:
    """`f`, which vmap calls for one example after the other, by `lax.map`.

    For functions that take no batches, or too much memory with them.
    """
    function = custom_vmap(f)

    def rule(axis_size: int, in_batched: list[Any], *args: Any) -> tuple[Any, Any]:
        leaves, structure = tree.flatten(args)
        flags = tree.leaves(tuple(in_batched))
        mapped = [x for x, on in zip(leaves, flags, strict=True) if on]

        def one(values: Sequence[Array]) -> Any:
            given = iter(values)
            full = [next(given) if on else x for x, on in zip(leaves, flags, strict=True)]
            return function(*tree.unflatten(structure, full))

        out = map_in_turn(one, mapped)
        return out, tree.map(lambda _: True, out)

    function.def_vmap(rule)
    return function

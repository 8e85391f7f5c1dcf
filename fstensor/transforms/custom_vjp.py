"""`custom_vjp`: a function whose reverse-mode derivative is written by the user.

Under differentiation, `fwd` gives the result and what the derivative needs, its residuals. The
tangents of the result are then the results of one operation, `custom_lin`, that is linear in the
tangents of the arguments. Its transpose is `bwd`. What it is in the forward direction only a jvp
rule can tell; where that is never asked for, none is needed.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

from fstensor import tree
from fstensor.array import Array
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import ZERO, MappedAxis, Value, primitive
from fstensor.errors import MissingRuleError, TreeError
from fstensor.ops.index import batch_first
from fstensor.ops.shape import zeros_of
from fstensor.transforms.arguments import check_callable
from fstensor.transforms.custom_call import Calls, UserCall, UserRule, close
from fstensor.transforms.custom_common import (
    Parameters,
    SymbolicZero,
    checked_results,
    checked_tangent,
    checked_tangents,
    differentiated_capture,
    kind_of,
    lifted,
    pair_of,
    rule_name,
)
from fstensor.transforms.custom_lin import BatchedLinear, CustomLin, LinearRule
from fstensor.transforms.jvp import instantiate
from fstensor.transforms.programs import trace_captured
from fstensor.transforms.vmap import batch_flat, batch_jaxpr


@final
@dataclasses.dataclass(frozen=True)
class CustomVJPPrimal:
    """An argument of `fwd` with symbolic_zeros: its value, and whether it is differentiated."""

    value: Any
    perturbed: bool


class VJPRule(ABC):
    """The derivative of a function of flat operands: first those that it captures."""

    @abstractmethod
    def linearize(
        self, captured: Sequence[Array], primals: Sequence[Array], active: Sequence[bool]
    ) -> tuple[list[Array], list[Array], LinearRule]:
        """Results, what the derivative depends on, and the derivative, in the current trace."""


@final
@primitive("custom_vjp_call")
class CustomVJPCall(UserCall):
    """A call of a function with a vjp rule. Operands: what it captures, then its arguments."""

    label: str
    call_jaxpr: ClosedJaxpr
    num_consts: int
    rule: VJPRule
    rule_labels: tuple[str, str]
    symbolic_zeros: bool

    def printed_params(self) -> dict[str, Any]:
        fwd, bwd = self.rule_labels
        consts = {"num_consts": self.num_consts} if self.num_consts else {}
        return {
            "name": self.label,
            "bwd": bwd,
            "call_jaxpr": self.call_jaxpr,
            "fwd": fwd,
            "symbolic_zeros": self.symbolic_zeros,
            **consts,
        }

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        n = self.num_consts
        for x, t in zip(primals[:n], tangents, strict=False):
            if t is not ZERO:
                raise differentiated_capture(f"custom_vjp of {self.call_jaxpr.name}", x.aval)
        return push(self.rule, primals[:n], primals[n:], tangents[n:])

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        # What the rule returns is batched where any argument is, so the function's results are.
        forced = (True,) * len(self.call_jaxpr.out_avals)
        program, out_dims = batch_jaxpr(self.call_jaxpr, axis, tuple(dims), forced)
        rule = BatchedVJP(self.rule, axis, tuple(dims))
        call = dataclasses.replace(self, call_jaxpr=program, rule=rule)
        return call.bind(*args), out_dims


def push(
    rule: VJPRule, captured: Sequence[Array], primals: Sequence[Array], tangents: Sequence[Value]
) -> tuple[list[Array], list[Value]]:
    """Results and their tangents, of which the latter come from one `custom_lin`."""
    active = [t is not ZERO for t in tangents]
    outs, fixed, linear = rule.linearize(captured, primals, active)
    avals = [x.aval.tangent for x in outs]
    operands = [*fixed, *(t for t in tangents if t is not ZERO)]
    in_avals, out_avals = [x.aval for x in operands], [a for a in avals if not a.is_float0]
    operation = CustomLin(linear, len(fixed), tuple(in_avals), tuple(out_avals))
    found = iter(operation.bind(*operands))
    return outs, [ZERO if a.is_float0 else next(found) for a in avals]


@final
@dataclasses.dataclass(frozen=True)
class BatchedVJP(VJPRule):
    """A rule applied to each example of a batch, which lies in front in all results."""

    base: VJPRule
    axis: MappedAxis
    dims: tuple[int | None, ...]

    def linearize(
        self, captured: Sequence[Array], primals: Sequence[Array], active: Sequence[bool]
    ) -> tuple[list[Array], list[Array], LinearRule]:
        found: list[tuple[int, LinearRule]] = []

        def function(*args: Array) -> list[Array]:
            outs, fixed, linear = self.base.linearize(
                args[: len(captured)], args[len(captured) :], active
            )
            found.append((len(outs), linear))
            return [*outs, *fixed]

        values, dims = batch_flat(function, [*captured, *primals], self.dims, self.axis, "fwd")
        (count, linear), size = found[0], self.axis.size
        outs = [batch_first(x, d, size) for x, d in zip(values[:count], dims, strict=False)]
        of_active = [d for d, on in zip(self.dims[len(captured) :], active, strict=True) if on]
        batched = BatchedLinear(linear, self.axis, tuple(dims[count:]), tuple(of_active))
        return outs, values[count:], batched


@final
class ClosedVJP(VJPRule):
    """A rule that refers to tracers: it was recorded while they were alive.

    It was recorded with all arguments active that can be, and no cotangents zero by structure.
    """

    def __init__(self, described: str) -> None:
        self.described = described
        self.push: ClosedJaxpr | None = None

    def record(self, call: ClosedJaxpr, rule: UserVJP, captured: Sequence[Array]) -> None:
        """Record the rules for the operands of `call`."""
        avals = call.in_avals[len(captured) :]
        self.differentiable = [not a.tangent.is_float0 for a in avals]
        ins = [a.tangent for a in avals if not a.tangent.is_float0]
        outs = [a.tangent for a in call.out_avals if not a.tangent.is_float0]
        seen: list[LinearRule] = []

        def fwd(*primals: Array) -> list[Array]:
            results, fixed, linear = rule.linearize((), primals, self.differentiable)
            seen.append(linear)
            return [*results, *fixed]

        self.fwd = close(fwd, avals, captured, "custom_vjp", self.described)
        self.count = len(call.out_avals)
        fixed = self.fwd.out_avals[self.count :]

        def closed(function: Callable[..., Any], given: Any, wanted: Any) -> ClosedJaxpr:
            def flat(*values: Array) -> list[Array]:
                found = function(values[: len(fixed)], values[len(fixed) :])
                return [instantiate(t, a) for t, a in zip(found, wanted, strict=True)]

            return close(flat, [*fixed, *given], captured, "custom_vjp", self.described)

        self.pull = closed(seen[0].backward, outs, ins)
        if rule.jvp is not None:
            self.push = closed(seen[0].forward, ins, outs)

    def linearize(
        self, captured: Sequence[Array], primals: Sequence[Array], active: Sequence[bool]
    ) -> tuple[list[Array], list[Array], LinearRule]:
        values = self.fwd.as_function()(*captured, *primals)
        marks = [on for on, d in zip(active, self.differentiable, strict=True) if d]
        linear = ClosedLinear(self, tuple(marks))
        return values[: self.count], [*captured, *values[self.count :]], linear


@final
@dataclasses.dataclass(frozen=True)
class ClosedLinear(LinearRule):
    """The derivative that recorded rules give, for some of the differentiable arguments."""

    rule: ClosedVJP
    active: tuple[bool, ...]

    @property
    def described(self) -> str:
        return self.rule.described

    @property
    def has_forward(self) -> bool:
        return self.rule.push is not None

    def backward(self, fixed: Sequence[Array], cts: Sequence[Value]) -> list[Value]:
        avals = self.rule.pull.in_avals[len(fixed) :]
        given = [instantiate(ct, a) for ct, a in zip(cts, avals, strict=True)]
        results = self.rule.pull.as_function()(*fixed, *given)
        return [ct for ct, on in zip(results, self.active, strict=True) if on]

    def forward(self, fixed: Sequence[Array], tangents: Sequence[Array]) -> list[Array]:
        assert self.rule.push is not None
        avals, given = self.rule.push.in_avals[len(fixed) :], iter(tangents)
        pairs = zip(avals, self.active, strict=True)
        full = [next(given) if on else zeros_of(a) for a, on in pairs]
        return self.rule.push.as_function()(*fixed, *full)


@final
class UserVJP(UserRule, VJPRule):
    """The rules as the user wrote them, for arguments of one structure."""

    what = "custom_vjp"

    def __init__(self, owner: custom_vjp, args: Sequence[Any], in_tree: tree.PyTreeDef) -> None:
        assert owner.fwd is not None
        assert owner.bwd is not None
        self.fwd, self.bwd, self.jvp = owner.fwd, owner.bwd, owner.jvp
        self.symbolic_zeros = owner.symbolic_zeros
        self.parameters = owner.parameters
        self.args = [x if i in owner.parameters.static else None for i, x in enumerate(args)]
        self.statics = owner.parameters.statics(args)
        self.in_tree = in_tree

    @property
    def functions(self) -> list[Any]:
        return [f for f in (self.fwd, self.bwd, self.jvp) if f is not None]

    def named(self, rule: Any) -> str:
        """A rule, for messages."""
        return f"custom_vjp: the rule {rule_name(rule)} of {self.parameters.described}"

    def linearize(
        self, captured: Sequence[Array], primals: Sequence[Array], active: Sequence[bool]
    ) -> tuple[list[Array], list[Array], LinearRule]:
        given: Sequence[Any] = primals
        if self.symbolic_zeros:
            given = [CustomVJPPrimal(x, on) for x, on in zip(primals, active, strict=True)]
        args = self.parameters.whole(self.args, tree.unflatten(self.in_tree, given))
        what = self.named(self.fwd)
        out, res = pair_of(self.fwd(*args), what, "(result, residuals)")
        outs, self.out_tree = checked_results(out, self.out_tree, self.out_avals, what)
        residuals, res_tree = tree.flatten(res)
        fixed = [lifted(x, what) for x in residuals]
        if self.jvp is not None:
            fixed = [*primals, *fixed]
        linear = UserLinear(
            self,
            tuple(active),
            tuple([x.aval for x in primals]),
            tuple([x.aval for x in outs]),
            self.out_tree,
            res_tree,
        )
        return outs, fixed, linear

    def differentiate(
        self, primals: Sequence[Array], tangents: Sequence[Value]
    ) -> tuple[list[Array], list[Value]]:
        return push(self, (), primals, tangents)

    # Where the rules refer to tracers

    def look(self, avals: Sequence[ShapedArray]) -> list[Array]:
        active = [not a.tangent.is_float0 for a in avals]

        def function(*values: Array) -> list[Array]:
            primals = values[: len(avals)]
            outs, fixed, linear = self.linearize((), primals, active)
            cts = [instantiate(ZERO, x.aval) for x in outs if not x.aval.tangent.is_float0]
            ts = [instantiate(ZERO, a) for a, on in zip(avals, active, strict=True) if on]
            found = linear.backward(fixed, cts)
            if linear.has_forward:
                found += linear.forward(fixed, ts)
            return [*outs, *fixed, *(x for x in found if x is not ZERO)]

        return trace_captured(function, avals, self.what, self.parameters.described)[1]

    def operation(
        self, call: ClosedJaxpr, captured: Sequence[Array], to_be_closed: bool
    ) -> CustomVJPCall:
        described = self.parameters.described
        rule = ClosedVJP(described) if to_be_closed else self
        fwd, bwd = [getattr(f, "__name__", type(f).__name__) for f in (self.fwd, self.bwd)]
        return CustomVJPCall(
            self.parameters.name, call, len(captured), rule, (fwd, bwd), self.symbolic_zeros
        )

    def close(self, operation: Any, captured: Sequence[Array]) -> None:
        operation.rule.record(operation.call_jaxpr, self, captured)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class UserLinear(LinearRule):
    """The derivative that the user's rules give, for the arguments marked active."""

    rule: UserVJP
    active: tuple[bool, ...]
    in_avals: tuple[ShapedArray, ...]
    out_avals: tuple[ShapedArray, ...]
    out_tree: tree.PyTreeDef
    res_tree: tree.PyTreeDef

    @property
    def described(self) -> str:
        return self.rule.parameters.described

    @property
    def has_forward(self) -> bool:
        return self.rule.jvp is not None

    def backward(self, fixed: Sequence[Array], cts: Sequence[Value]) -> list[Value]:
        rule, given = self.rule, iter(cts)
        full = [ZERO if a.tangent.is_float0 else next(given) for a in self.out_avals]
        shown = [
            SymbolicZero(a.tangent) if ct is ZERO and rule.symbolic_zeros else instantiate(ct, a)
            for ct, a in zip(full, self.out_avals, strict=True)
        ]
        start = len(self.in_avals) if rule.jvp is not None else 0
        residuals = tree.unflatten(self.res_tree, fixed[start:])
        returned = rule.bwd(*rule.statics, residuals, tree.unflatten(self.out_tree, shown))
        what = rule.named(rule.bwd)
        count = len(tree.treedef_children(rule.in_tree))
        if not isinstance(returned, (tuple, list)) or len(returned) != count:
            several = isinstance(returned, (tuple, list))
            got = f"{len(returned)} for {count}" if several else kind_of(returned)
            raise TreeError(
                f"{what} must return a tuple with a cotangent for each differentiable argument, "
                f"got {got}; None stands for zero"
            )
        spread = tree.flatten_prefix(tuple(returned), rule.in_tree, f"{what}: its result")

        def words(i: int) -> Callable[[], str]:
            return lambda: f"{what}: the cotangent of {self._argument(i)}"

        checked = [
            ZERO if ct is None else checked_tangent(ct, a, words(i))
            for i, (ct, a) in enumerate(zip(spread, self.in_avals, strict=True))
        ]
        return [ct for ct, on in zip(checked, self.active, strict=True) if on]

    def _argument(self, place: int) -> str:
        given = tree.unflatten(self.rule.in_tree, range(len(self.in_avals)))
        args = self.rule.parameters.whole(self.rule.args, given)
        return self.rule.parameters.leaf_name(args, place)

    def forward(self, fixed: Sequence[Array], tangents: Sequence[Array]) -> list[Array]:
        rule = self.rule
        assert rule.jvp is not None
        given = iter(tangents)
        pairs = zip(self.in_avals, self.active, strict=True)
        shown = [instantiate(next(given) if on else ZERO, a) for a, on in pairs]
        primals = tree.unflatten(rule.in_tree, fixed[: len(self.in_avals)])
        pair = rule.jvp(*rule.statics, primals, tree.unflatten(rule.in_tree, shown))
        what = rule.named(rule.jvp)
        _, tangent = pair_of(pair, what, "(result, tangent)")
        ts = checked_tangents(tangent, self.out_tree, self.out_avals, what)
        avals = [a for a in self.out_avals if not a.tangent.is_float0]
        kept = [t for t, a in zip(ts, self.out_avals, strict=True) if not a.tangent.is_float0]
        return [instantiate(t, a) for t, a in zip(kept, avals, strict=True)]


@final
class custom_vjp:
    """A function with a reverse-mode derivative of its own: use as a decorator, then `defvjp`.

    fun: takes trees of arrays by position; keyword arguments are resolved to positions.
    nondiff_argnums, nondiff_argnames: arguments without derivatives, which may be anything and are
        given to `bwd` first.
    A value that `fun` refers to and that is not an argument must not be differentiated, nor must
    an array among the nondiff arguments: GradError.
    The forward mode needs a rule of its own, which JAX does not take: see `defjvp`. Without it,
    jvp and jacfwd raise MissingRuleError.

    >>> import fstensor as fst
    >>> @fst.custom_vjp
    ... def clip_gradient(x, bound):
    ...     return x
    >>> def fwd(x, bound):
    ...     return x, bound
    >>> def bwd(bound, ct):
    ...     return fst.numpy.clip(ct, -bound, bound), None  # no cotangent for the bound
    >>> clip_gradient.defvjp(fwd, bwd)
    >>> float(fst.grad(lambda x: 10 * clip_gradient(x, 2.0))(1.0))
    2.0
    """

    __wrapped__: Callable[..., Any]

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: Sequence[int] = (),
        nondiff_argnames: Sequence[str] = (),
    ) -> None:
        check_callable(fun, "custom_vjp")
        functools.update_wrapper(self, fun)  # first, since it copies what another such has set
        self.parameters = Parameters(fun, "custom_vjp", nondiff_argnums, nondiff_argnames)
        self.fun = fun
        self.fwd: Callable[..., Any] | None = None
        self.bwd: Callable[..., Any] | None = None
        self.jvp: Callable[..., Any] | None = None
        self.symbolic_zeros = False
        self._calls = Calls(self.parameters, functools.partial(UserVJP, self))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<custom_vjp of {self.parameters.described}>"

    def defvjp(
        self, fwd: Callable[..., Any], bwd: Callable[..., Any], symbolic_zeros: bool = False
    ) -> None:
        """Set the rules.

        fwd: takes the arguments of the function and returns (result, residuals), trees of arrays.
        bwd: bwd(*nondiff, residuals, ct) returns a tuple with a cotangent for each differentiable
            argument; None for an argument, or a part of one, stands for zero.
        symbolic_zeros: each array among the arguments comes to `fwd` as a CustomVJPPrimal, which
            has a `value` and tells if it is `perturbed`; cotangents that are zero by structure come
            to `bwd` as SymbolicZero (both of `custom_derivatives`).
        """
        check_callable(fwd, "defvjp")
        check_callable(bwd, "defvjp")
        self.fwd, self.bwd = fwd, bwd
        self.symbolic_zeros = symbolic_zeros
        self._calls.clear()

    def defjvp(self, jvp: Callable[..., Any]) -> Callable[..., Any]:
        """Set a rule for the forward mode: jvp(*nondiff, primals, tangents), as in custom_jvp.

        The reverse mode goes on using `fwd` and `bwd`. Returns `jvp`.
        """
        check_callable(jvp, "defjvp")
        self.jvp = jvp
        self._calls.clear()
        return jvp

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.fwd is None or self.bwd is None:
            raise MissingRuleError(
                f"custom_vjp: {self.parameters.described} has no rules; give it some with defvjp"
            )
        return self._calls(self.parameters.positional(args, kwargs))

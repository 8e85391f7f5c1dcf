"""`closure_convert`: the values that a function refers to, as arguments; and `custom_gradient`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, final

from fstensor import dtypes, tree
from fstensor.array import Array
from fstensor.core import source_info
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.trace import JaxprTracer
from fstensor.errors import ArgumentError, TreeError
from fstensor.transforms.arguments import check_callable, lift_outputs
from fstensor.transforms.custom_vjp import custom_vjp
from fstensor.transforms.jvp import JVPTracer
from fstensor.transforms.make_jaxpr import aval_of
from fstensor.transforms.programs import trace_captured
from fstensor.transforms.vmap import BatchTracer


def closure_convert(
    fun: Callable[..., Any], *example_args: Any
) -> tuple[Callable[..., Any], list[Array]]:
    """`fun` as a function that takes the differentiable values it refers to as arguments.

    For functions with rules that take functions: a rule tells derivatives by arguments alone, so
    what such a function refers to must become one.
    example_args: arguments that tell structures, shapes and dtypes.
    Returns (converted, values): converted(*args, *values) gives fun(*args). `values` are those
    that may be differentiated: traced ones of float or complex dtype. `fun` must be pure.
    The converted function raises TreeError for arguments of another structure.

    >>> import fstensor as fst
    >>> def solve(a):
    ...     residual, values = fst.closure_convert(lambda x: x * x - a, a)
    ...     return residual(3.0, *values), len(values)
    >>> float(solve(2.0)[0]), fst.jit(solve)(2.0)[1].item()
    (7.0, 1)
    """
    check_callable(fun, "closure_convert")
    leaves, in_tree = tree.flatten(example_args)
    out_trees: list[tree.PyTreeDef] = []

    def flat(*values: Array) -> list[Array]:
        outs, structure = tree.flatten(fun(*tree.unflatten(in_tree, values)))
        out_trees.append(structure)
        return lift_outputs(outs, "closure_convert")

    name = source_info.describe_function(fun)
    avals = [aval_of(x) for x in leaves]
    closed, captured = trace_captured(flat, avals, "closure_convert", name)
    hoisted = [_may_be_differentiated(x) for x in captured]
    count = sum(hoisted)

    def converted(*args: Any) -> Any:
        if len(args) < count:
            raise ArgumentError(
                f"closure_convert: the converted {name} takes {count} values at its end, "
                f"got {len(args)} arguments"
            )
        own, values = args[: len(args) - count], iter(args[len(args) - count :])
        given, structure = tree.flatten(own)
        if structure != in_tree:
            raise TreeError(
                "closure_convert: arguments must have the structure of example_args; "
                + tree.describe_mismatch(in_tree, own)
            )
        merged = [next(values) if on else x for x, on in zip(captured, hoisted, strict=True)]
        return tree.unflatten(out_trees[0], closed.as_function()(*merged, *given))

    return converted, [x for x, on in zip(captured, hoisted, strict=True) if on]


def _may_be_differentiated(x: Any) -> bool:
    if isinstance(x, BatchTracer):
        return _may_be_differentiated(x.value)
    if isinstance(x, JaxprTracer):  # the recorded program may be differentiated later
        return dtypes.is_inexact(x.dtype)
    return isinstance(x, JVPTracer)


@final
@tree.register_pytree_node_class
class _Pullback:
    """A function from cotangents to cotangents as residuals: a program, and what it captures."""

    def __init__(self, program: ClosedJaxpr, out_tree: tree.PyTreeDef, captured: Any) -> None:
        self.program = program
        self.out_tree = out_tree
        self.captured = captured

    def tree_flatten(self) -> tuple[Any, Any]:
        return self.captured, (self.program, self.out_tree)

    @classmethod
    def tree_unflatten(cls, fixed: Any, captured: Any) -> _Pullback:
        program, out_tree = fixed
        return cls(program, out_tree, captured)


def custom_gradient(fun: Callable[..., Any]) -> custom_vjp:
    """A function whose derivative comes with its value: `fun` returns (result, pullback).

    pullback: takes a cotangent of the result and gives that of the argument, or a tuple with one
        for each of several; it may refer to values computed by `fun`.
    Raises: ArgumentError when `fun` returns no pair.

    >>> import fstensor as fst
    >>> @fst.custom_gradient
    ... def f(x):
    ...     return x**2, lambda ct: ct * x
    >>> float(fst.grad(f)(3.0))
    3.0
    """
    check_callable(fun, "custom_gradient")

    def both(args: Sequence[Any]) -> tuple[Any, Callable[..., Any]]:
        pair = fun(*args)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not callable(pair[1]):
            raise ArgumentError(
                f"custom_gradient: {source_info.describe_function(fun)} must return a pair "
                f"(result, pullback), got {type(pair).__name__}"
            )
        return pair[0], pair[1]

    @functools.wraps(fun)
    def value(*args: Any) -> Any:
        return both(args)[0]

    def fwd(*args: Any) -> tuple[Any, _Pullback]:
        out, pullback = both(args)
        leaves, out_tree = tree.flatten(out)
        structures: list[tree.PyTreeDef] = []

        def flat(*cts: Array) -> list[Array]:
            returned = pullback(tree.unflatten(out_tree, cts))
            results, structure = tree.flatten(returned)
            structures.append(structure)
            return lift_outputs(results, "custom_gradient")

        avals = [aval_of(x).tangent for x in leaves]
        name = source_info.describe_function(pullback)
        program, captured = trace_captured(flat, avals, "custom_gradient", name)
        return out, _Pullback(program, structures[0], captured)

    def bwd(pullback: _Pullback, ct: Any) -> Any:
        cts = pullback.program.as_function()(*pullback.captured, *tree.leaves(ct))
        returned = tree.unflatten(pullback.out_tree, cts)
        return returned if isinstance(returned, (tuple, list)) else (returned,)

    function = custom_vjp(value)
    function.defvjp(fwd, bwd)
    return function

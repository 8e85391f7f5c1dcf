"""Tracing a function to a jaxpr."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from fstensor import dtypes, tree
from fstensor.array import Array, DtypeLike, lift
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary
from fstensor.core.jaxpr import ClosedJaxpr, DebugInfo, Jaxpr
from fstensor.core.trace import JaxprTrace, current_trace, named_axis
from fstensor.transforms.arguments import (
    check_callable,
    fix_others,
    lift_outputs,
    normalize_argnums,
)


@final
class ShapeDtypeStruct:
    """The shape and dtype of an array that does not exist; an argument for `eval_shape`."""

    __slots__ = ("aval",)

    def __init__(self, shape: Sequence[int], dtype: DtypeLike, weak_type: bool = False) -> None:
        self.aval = ShapedArray(tuple(shape), dtypes.canonical(dtype), weak_type)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.aval.dtype

    @property
    def weak_type(self) -> bool:
        return self.aval.weak_type

    @property
    def ndim(self) -> int:
        return self.aval.ndim

    @property
    def size(self) -> int:
        return self.aval.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtypeStruct) and self.aval == other.aval

    def __hash__(self) -> int:
        return hash(self.aval)

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self.weak_type else ""
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={dtypes.name(self.dtype)}{weak})"


def aval_of(x: Any) -> ShapedArray:
    """The aval of an array-like, or of anything with a shape and a dtype."""
    if isinstance(x, (Array, ShapeDtypeStruct)):
        return x.aval
    if hasattr(x, "shape") and hasattr(x, "dtype") and not isinstance(x, np.generic):
        return ShapedArray(tuple(x.shape), dtypes.canonical(x.dtype))
    return lift(x).aval


def typeof(x: Any) -> ShapedArray:
    """The shape, dtype and weakness of an array-like, as in jaxprs."""
    return aval_of(x)


def trace_flat(
    function: Callable[..., Sequence[Any]],
    avals: Sequence[ShapedArray],
    transform: str,
    name: str,
) -> tuple[Jaxpr, list[Array]]:
    """Record a function of flat arguments, and give the program and its constants."""
    trace = JaxprTrace(transform, name)
    try:
        with current_trace(trace):
            args = [trace.new_input(a) for a in avals]
            outs = [trace.atom(x) for x in lift_outputs(function(*args), transform)]
    finally:
        trace.alive = False
    return trace.builder.build(outs, DebugInfo(transform, name))


def trace_closed(
    function: Callable[..., Sequence[Any]],
    avals: Sequence[ShapedArray],
    transform: str,
    name: str,
) -> ClosedJaxpr:
    return ClosedJaxpr(*trace_flat(function, avals, transform, name))


def trace_function(
    function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], transform: str
) -> tuple[ClosedJaxpr, tree.PyTreeDef]:
    """Record a function of trees. Gives the program and the structure of its output."""
    leaves, in_tree = tree.flatten((tuple(args), kwargs))
    out_tree: list[tree.PyTreeDef] = []

    def flat(*values: Any) -> list[Any]:
        flat_args, flat_kwargs = tree.unflatten(in_tree, values)
        outs, structure = tree.flatten(function(*flat_args, **flat_kwargs))
        out_tree.append(structure)
        return outs

    name = source_info.describe_function(function)
    closed = trace_closed(flat, [aval_of(x) for x in leaves], transform, name)
    return closed, out_tree[0]


def make_jaxpr(
    fun: Callable[..., Any],
    static_argnums: int | Sequence[int] = (),
    axis_env: Sequence[tuple[Any, int]] | None = None,
    return_shape: bool = False,
) -> Callable[..., Any]:
    """A function that returns the jaxpr of `fun` for its arguments' shapes and dtypes.

    static_argnums: positions of arguments passed to `fun` as they are.
    axis_env: names and sizes of mapped axes that collectives in `fun` may use.
    return_shape: also return the output's tree of ShapeDtypeStructs.

    >>> import fstensor as fst
    >>> fst.make_jaxpr(lambda x: fst.numpy.sin(x) * 2)(1.0)
    { lambda ; a:f32[]. let b:f32[] = sin a; c:f32[] = mul b 2.0:f32[] in (c,) }
    """
    check_callable(fun, "make_jaxpr")

    @boundary
    @functools.wraps(fun)
    def traced(*args: Any, **kwargs: Any) -> Any:
        static = normalize_argnums(static_argnums, len(args), "make_jaxpr")
        dynamic = [i for i in range(len(args)) if i not in static]

        def of_dynamic(*values: Any, **named: Any) -> Any:
            return fix_others(fun, args, named, dynamic)(*values)

        of_dynamic.__wrapped__ = fun  # type: ignore[attr-defined]  # for the name in messages
        with contextlib.ExitStack() as scopes:
            for name, size in axis_env or ():
                scopes.enter_context(named_axis(name, size))
            closed, out_tree = trace_function(
                of_dynamic, [args[i] for i in dynamic], kwargs, "make_jaxpr"
            )
        if return_shape:
            return closed, _structs(closed, out_tree)
        return closed

    return traced


@boundary
def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of `fun`'s output, without computing it.

    Arguments are arrays, ShapeDtypeStructs, or anything with `shape` and `dtype`.
    Returns the output's tree with a ShapeDtypeStruct for each leaf.
    """
    check_callable(fun, "eval_shape")
    return _structs(*trace_function(fun, args, kwargs, "eval_shape"))


def _structs(closed: ClosedJaxpr, out_tree: tree.PyTreeDef) -> Any:
    return tree.unflatten(
        out_tree, [ShapeDtypeStruct(a.shape, a.dtype, a.weak_type) for a in closed.out_avals]
    )

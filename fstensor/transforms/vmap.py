"""Vectorization: a function of one example becomes a function of a batch.

Each value remembers along which of its axes the batch lies. A primitive's batch rule gives the
same operation on whole batches; a value that is the same for all examples is computed once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast, final

from fstensor import tree
from fstensor.array import Array, lift, normalize_axis
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import MappedAxis, Primitive
from fstensor.core.state import state
from fstensor.core.trace import Trace, Tracer, beside, current_trace, named_axis
from fstensor.errors import AxisError, OptionError, ShapeError
from fstensor.ops.index import batch_first
from fstensor.ops.shape import broadcast_in_dim, moveaxis
from fstensor.transforms.arguments import (
    check_callable,
    leaf_names,
    lift_leaves,
    lift_outputs,
)
from fstensor.transforms.make_jaxpr import trace_closed

F = TypeVar("F", bound=Callable[..., Any])


@final
class BatchTracer(Tracer):
    """A batch of values that looks like one of them."""

    __slots__ = ("_source", "aval", "dim", "value")

    def __init__(self, trace: Trace, value: Array, dim: int) -> None:
        self._trace = trace
        self.value = value
        self.dim = dim
        full = value.aval
        self.aval = ShapedArray(
            full.shape[:dim] + full.shape[dim + 1 :], full.dtype, full.weak_type
        )
        # Wanted for messages alone, so that it is kept only while leaks are looked for.
        self._source = source_info.capture() if state.watched else None

    def _origin(self) -> str:
        if isinstance(self.value, Tracer):
            return self.value._origin()
        return f" made at {self._source}" if self._source else ""


@final
class BatchTrace(Trace):
    """Applies each primitive's batch rule in the trace that was current before."""

    def __init__(self, parent: Trace, axis: MappedAxis, function: str) -> None:
        self.parent = parent
        self.axis = axis
        self.transform = "vmap"
        self.function = function

    def split(self, x: Any) -> tuple[Array, int | None]:
        """The batch and its axis; None for a value that is the same for all examples."""
        if x.__class__ is BatchTracer and x._trace is self:
            return x.value, x.dim
        return (x if isinstance(x, Array) else lift(x)), None

    def join(self, value: Array, dim: int | None) -> Array:
        return value if dim is None else BatchTracer(self, value, dim)

    def process(self, primitive: Primitive, args: Sequence[Any]) -> Any:
        values: list[Array] = []
        dims: list[int | None] = []
        batched = False
        for x in args:
            if x.__class__ is BatchTracer and x._trace is self:
                values.append(x.value)
                dims.append(x.dim)
                batched = True
            else:
                values.append(x if isinstance(x, Array) else lift(x))
                dims.append(None)
        if not batched and (self.axis.name is None or self.axis.name not in primitive.axis_names):
            return self.parent.process(primitive, values)
        # The checks are made on what one example sees: batches could fit where examples do not.
        primitive.infer(tuple([x.aval if isinstance(x, Array) else lift(x).aval for x in args]))
        with current_trace(self.parent):
            out, dim = primitive.batch(self.axis, values, dims)
        if primitive.multiple_results:
            return [self.join(y, d) for y, d in zip(out, dim, strict=True)]
        return out if dim is None else BatchTracer(self, out, dim)


def batch_flat(
    function: Callable[..., Sequence[Any]],
    values: Sequence[Array],
    dims: Sequence[int | None],
    axis: MappedAxis,
    name: str,
) -> tuple[list[Array], list[int | None]]:
    """Outputs and their batch axes of a function of flat arguments."""
    trace = BatchTrace(state.trace, axis, name)
    try:
        with current_trace(trace), named_axis(axis.name, axis.size), beside(values):
            inputs = [trace.join(x, d) for x, d in zip(values, dims, strict=True)]
            outs = lift_outputs(function(*inputs), "vmap")
    finally:
        trace.alive = False
    pairs = [trace.split(x) for x in outs]
    return [x for x, _ in pairs], [d for _, d in pairs]


def batch_jaxpr(
    closed: ClosedJaxpr,
    axis: MappedAxis,
    dims: tuple[int | None, ...],
    forced: tuple[bool, ...] | None = None,
) -> tuple[ClosedJaxpr, list[int | None]]:
    """The program on batches of a program, and where the batch lies in its outputs.

    forced: outputs that have the batch in front even where all examples share them.
    """
    key = ("batch", axis, dims, forced)
    return closed.derive(key, lambda: _batch_jaxpr(closed, axis, dims, forced))


def _batch_jaxpr(
    closed: ClosedJaxpr,
    axis: MappedAxis,
    dims: tuple[int | None, ...],
    forced: tuple[bool, ...] | None,
) -> tuple[ClosedJaxpr, list[int | None]]:
    out_dims: list[int | None] = []

    def function(*args: Array) -> list[Array]:
        outs, found = batch_flat(closed.as_function(), args, dims, axis, closed.name)
        for i, on in enumerate(forced or ()):
            if on:
                outs[i], found[i] = batch_first(outs[i], found[i], axis.size), 0
        out_dims.extend(found)
        return outs

    avals = [
        a if d is None else a.update(shape=(*a.shape[:d], axis.size, *a.shape[d:]))
        for a, d in zip(closed.in_avals, dims, strict=True)
    ]
    return trace_closed(function, avals, "vmap", closed.name), out_dims


def vmap(
    fun: F,
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Any = None,
    axis_size: int | None = None,
) -> F:
    """A function that applies `fun` to each slice of its arguments, in one pass.

    in_axes: for each positional argument the axis to map over, None for one that all examples
        share; an int for all, or a tree prefix of the arguments' tuple. Keyword arguments are
        mapped over axis 0. Axes may be negative.
    out_axes: where the mapped axis goes in the output; a tree prefix of it. None for a part that
        does not depend on the mapped arguments.
    axis_name: the name by which collectives (`lax.psum`, …) in `fun` refer to the mapped axis.
    axis_size: the number of examples; needed only when no argument is mapped.
    Raises: TreeError when a prefix does not fit, AxisError for an axis that does not exist,
        ShapeError when mapped axes differ in size, OptionError for wrong axes.

    >>> import fstensor as fst
    >>> fst.vmap(lambda x: x * x)(fst.numpy.arange(3.0)).tolist()
    [0.0, 1.0, 4.0]
    """
    check_callable(fun, "vmap")
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not isinstance(in_axes, (int, tuple, type(None))):
        raise OptionError(
            "vmap: in_axes must be an int, None or a tuple with an entry for each argument, "
            f"got {type(in_axes).__name__}"
        )

    @boundary
    @functools.wraps(fun)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise OptionError(
                f"vmap: in_axes must have an entry for each positional argument, "
                f"got {len(in_axes)} for {len(args)} arguments"
            )
        leaves, in_tree = tree.flatten((args, kwargs))
        dims = tree.flatten_prefix((in_axes, 0), (args, kwargs), "vmap: in_axes")
        values = lift_leaves(leaves, "vmap")
        names = lambda: leaf_names(fun, args) + ["keyword"] * len(tree.leaves(kwargs))  # noqa: E731
        normal = _normalize_dims(values, dims, names)
        size = _mapped_size(values, normal, names, axis_size)
        out_tree: list[tree.PyTreeDef] = []

        def flat(*examples: Array) -> list[Any]:
            example_args, example_kwargs = tree.unflatten(in_tree, examples)
            outs, structure = tree.flatten(fun(*example_args, **example_kwargs))
            out_tree.append(structure)
            return outs

        name = source_info.describe_function(fun)
        outs, out_dims = batch_flat(flat, values, normal, MappedAxis(size, axis_name), name)
        wanted = tree.flatten_prefix(out_axes, out_tree[0], "vmap: out_axes")
        placed = [
            _place(x, d, w, size, name) for x, d, w in zip(outs, out_dims, wanted, strict=True)
        ]
        return tree.unflatten(out_tree[0], placed)

    return cast(F, mapped)


def _normalize_dims(
    values: Sequence[Array], dims: Sequence[Any], names: Callable[[], list[str]]
) -> list[int | None]:
    normal: list[int | None] = []
    for i, (x, d) in enumerate(zip(values, dims, strict=True)):
        if d is not None and not isinstance(d, int):
            raise OptionError(f"vmap: in_axes must hold ints and None, got {d!r} for {names()[i]}")
        if d is not None and not -x.ndim <= d < x.ndim:
            raise AxisError(
                f"vmap: in_axes gives axis {d} to map over, got {names()[i]} of {x.aval}; "
                "None leaves an argument unmapped"
            )
        normal.append(d if d is None else d % x.ndim)
    return normal


def _mapped_size(
    values: Sequence[Array],
    dims: Sequence[int | None],
    names: Callable[[], list[str]],
    axis_size: int | None,
) -> int:
    sizes = {x.shape[d] for x, d in zip(values, dims, strict=True) if d is not None}
    if axis_size is not None:
        sizes.add(axis_size)
    if not sizes:
        raise OptionError(
            "vmap: some argument must be mapped, got only None in in_axes; pass axis_size"
        )
    if len(sizes) == 1:
        return sizes.pop()
    rows = [
        f"{name} of {x.aval} has {x.shape[d]} along axis {d}"
        for name, x, d in zip(names(), values, dims, strict=True)
        if d is not None
    ]
    if axis_size is not None:
        rows.append(f"axis_size is {axis_size}")
    raise ShapeError(f"vmap: mapped axes must have one size, got {', '.join(rows)}")


def _place(x: Array, dim: int | None, wanted: Any, size: int, name: str) -> Array:
    """The output with its batch at axis `wanted`, repeated there if all examples share it."""
    if wanted is None:
        if dim is not None:
            raise OptionError(
                f"vmap: out_axes is None for an output of {name} that depends on the mapped "
                f"arguments, got {x.aval} mapped along axis {dim}; give it an axis"
            )
        return x
    if not isinstance(wanted, int):
        raise OptionError(f"vmap: out_axes must hold ints and None, got {wanted!r}")
    rank = x.ndim + (dim is None)
    place = normalize_axis(wanted, rank, "vmap: out_axes")
    if dim is not None:
        return moveaxis(x, dim, place)
    kept = [i for i in range(rank) if i != place]
    shape = (*x.shape[:place], size, *x.shape[place:])
    return broadcast_in_dim(x, shape, kept)

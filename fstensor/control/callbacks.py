"""Calls of Python from programs: `pure_callback`, `io_callback`, and what `debug` is made of.

A callback is the user's function: it runs outside of every transform, with NumPy's usual handling
of floating-point errors, and may itself use whatever fstensor has. It runs when and as often as its
equation does: in a loop at each step, in a branch when that is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from fstensor import device, dtypes, tree
from fstensor.array import Array, ConcreteArray, from_buffer, is_array_like, lift
from fstensor.control.common import chosen, leaf_paths
from fstensor.control.scan import Scan
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import MappedAxis, Primitive, Value, primitive
from fstensor.core.state import run_outside
from fstensor.core.trace import Tracer
from fstensor.errors import (
    ArgumentError,
    DtypeError,
    MissingRuleError,
    OptionError,
    ShapeError,
    TreeError,
)
from fstensor.ops.index import batch_first
from fstensor.ops.shape import expand_dims, moveaxis
from fstensor.transforms.arguments import check_callable
from fstensor.transforms.make_jaxpr import aval_of, trace_closed

Avals = tuple[ShapedArray, ...]
_METHODS = (
    "sequential",
    "sequential_unrolled",
    "expand_dims",
    "broadcast_all",
    "legacy_vectorized",
)


@final
class FlatCallback:
    """A function of trees as one of buffers.

    static: leaves of its arguments that are no arrays, by their places among all leaves.
    out_tree: the structure of its results, with tuples for all sequences; None if they are ignored.
    """

    def __init__(
        self,
        what: str,
        function: Callable[..., Any],
        in_tree: tree.PyTreeDef,
        static: dict[int, Any],
        out_tree: tree.PyTreeDef | None,
    ) -> None:
        self.what = what
        self.function = function
        self.in_tree = in_tree
        self.static = static
        self.out_tree = out_tree

    def __call__(self, xp: Any, buffers: Sequence[Any], avals: Avals) -> list[Any]:
        """The buffers of the results, which must be of the types `avals`."""
        given = iter([from_buffer(b) for b in buffers])
        count = self.in_tree.num_leaves
        leaves = [self.static[i] if i in self.static else next(given) for i in range(count)]
        args, kwargs = tree.unflatten(self.in_tree, leaves)
        result = run_outside(lambda: self.function(*args, **kwargs))
        if self.out_tree is None:
            return []
        home = device.CPU if xp is np else device.home_of(buffers)
        return [device.move(b, home) for b in self._checked(result, avals)]

    def _checked(self, result: Any, avals: Avals) -> list[Any]:
        assert self.out_tree is not None
        result = _with_tuples(result)
        leaves, structure = tree.flatten(result)
        if structure != self.out_tree:
            difference = tree.describe_mismatch(self.out_tree, result)
            raise TreeError(
                f"{self.what}: {self._name} must return the structure of result_shape_dtypes; "
                f"{difference}"
            )
        found = []
        for i, (x, aval) in enumerate(zip(leaves, avals, strict=True)):
            found.append(self._result(i, x, aval))
        return found

    def _result(self, place: int, x: Any, aval: ShapedArray) -> Any:
        if not is_array_like(x) or isinstance(x, Tracer):
            raise ArgumentError(
                f"{self.what}: {self._name} must return arrays and scalars, got "
                f"{type(x).__name__}{self._at(place)}"
            )
        if isinstance(x, (bool, int, float, complex)) and _takes(aval.dtype, lift(x)):
            x = lift(x, aval.dtype)
        got = lift(x)  # a copy, where the user could still write into it
        if got.shape != aval.shape:
            raise ShapeError(
                f"{self.what}: {self._name} must return {aval}{self._at(place)}, as "
                f"result_shape_dtypes says, got {got.aval}"
            )
        if got.dtype != aval.dtype:
            raise DtypeError(
                f"{self.what}: {self._name} must return {aval}{self._at(place)}, as "
                f"result_shape_dtypes says, got {got.aval}; convert with astype"
            )
        assert isinstance(got, ConcreteArray)
        return got._buffer

    @property
    def _name(self) -> str:
        return source_info.describe_function(self.function)

    def _at(self, place: int) -> str:
        assert self.out_tree is not None
        path = leaf_paths(self.out_tree)[place]
        return f" at {path}" if path else ""

    def __repr__(self) -> str:
        return self._name


def _with_tuples(x: Any) -> Any:
    """Trees of results are equal when they differ in lists, tuples and named tuples alone."""
    if isinstance(x, (list, tuple)):
        return tuple([_with_tuples(y) for y in x])
    if type(x) is dict:
        return {k: _with_tuples(y) for k, y in x.items()}
    return x


def _takes(dtype: np.dtype[Any], scalar: Array) -> bool:
    """Whether a Python scalar beside an array of this dtype becomes one of it."""
    if dtypes.is_key(dtype):
        return False
    weak = not dtypes.is_bool(scalar.dtype)
    return dtypes.promote_all([(dtype, False), (scalar.dtype, weak)])[0] == dtype


class Callback(Primitive):
    """A call of the user's function. `callback` is compared by identity."""

    multiple_results = True

    callback: FlatCallback
    result_avals: Avals

    def infer(self, avals: Avals) -> Any:
        # The table that the others share would keep the user's function alive.
        return self.abstract(*avals)

    def abstract(self, *avals: ShapedArray) -> list[ShapedArray]:
        return list(self.result_avals)

    def impl(self, xp: Any, *buffers: Any) -> Any:
        return self.callback(xp, buffers, self.result_avals)

    def one_after_another(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None], unroll: int = 1
    ) -> tuple[Any, Any]:
        """The batch as a loop over its examples."""
        marks = [d is not None for d in dims]
        consts = chosen(args, marks, False)
        xs = [moveaxis(x, d, 0) for x, d in zip(args, dims, strict=True) if d is not None]

        def example(*given: Array) -> list[Array]:
            fixed, elements = iter(given[: len(consts)]), iter(given[len(consts) :])
            outs: list[Array] = self.bind(*[next(elements if on else fixed) for on in marks])
            return outs

        avals = [x.aval for x in consts]
        avals += [x.aval.update(shape=x.shape[1:]) for x in xs]
        body = trace_closed(example, avals, "vmap", repr(self.callback))
        loop = Scan(body, axis.size, 0, len(consts), False, unroll)
        return loop.bind(*consts, *xs), [0] * len(self.result_avals)


@final
@primitive("pure_callback")
class PureCallback(Callback):
    """A call of a function that has no effects: it may be left out, or called more than once.

    vmap_method: how a batch is computed, see the function `pure_callback`.
    """

    callback: FlatCallback
    result_avals: Avals
    vmap_method: str | None

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        raise _no_derivative("pure_callback", self.callback)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        method = self.vmap_method
        if method is None:
            raise MissingRuleError(
                f"pure_callback: vmap needs to know how {self.callback} takes a batch, got "
                f"vmap_method=None; pass one of {', '.join(map(repr, _METHODS))}"
            )
        if method == "sequential":
            return self.one_after_another(axis, args, dims)
        if method == "sequential_unrolled":
            return self.one_after_another(axis, args, dims, max(axis.size, 1))
        given = [self._batched(x, d, axis) for x, d in zip(args, dims, strict=True)]
        avals = tuple([a.update(shape=(axis.size, *a.shape)) for a in self.result_avals])
        return PureCallback(self.callback, avals, method).bind(*given), [0] * len(avals)

    def _batched(self, x: Array, dim: int | None, axis: MappedAxis) -> Array:
        if dim is not None:
            return moveaxis(x, dim, 0)
        if self.vmap_method == "expand_dims":
            return expand_dims(x, (0,))
        return x if self.vmap_method == "legacy_vectorized" else batch_first(x, None, axis.size)


@final
@primitive("io_callback")
class IOCallback(Callback):
    """A call of a function for its effects too: it runs exactly once each time it is reached."""

    callback: FlatCallback
    result_avals: Avals
    ordered: bool

    effectful = True
    runs_only_where_due = True

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        raise _no_derivative("io_callback", self.callback)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        if self.ordered:
            raise OptionError(
                f"io_callback: an ordered call of {self.callback} has no order under vmap, got "
                "ordered=True; pass ordered=False to call it for one example after another"
            )
        return self.one_after_another(axis, args, dims)


@final
@primitive("debug_callback")
class DebugCallback(Callback):
    """A call of a function to look at values, on which nothing depends.

    Derivatives are none of its business: under jvp it sees the primal values.
    """

    callback: FlatCallback
    ordered: bool

    effectful = True
    result_avals = ()

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), []

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        return self.one_after_another(axis, args, dims)


def _no_derivative(what: str, callback: FlatCallback) -> MissingRuleError:
    return MissingRuleError(
        f"{what}: {callback} has no derivative; give it one with custom_jvp or custom_vjp, or pass "
        "it lax.stop_gradient of its arguments"
    )


def _flat(
    what: str,
    callback: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: Any,
) -> tuple[FlatCallback, Avals, list[Array]]:
    """The callback, the types of its results, and the arrays among the leaves of its arguments."""
    check_callable(callback, what)
    leaves, in_tree = tree.flatten((args, kwargs))
    for x in leaves:
        if not is_array_like(x):
            raise ArgumentError(
                f"{what}: arguments of {source_info.describe_function(callback)} must be trees of "
                f"arrays or scalars, got a leaf of type {type(x).__name__}; bind it with a lambda "
                "or functools.partial"
            )
    outs, out_tree = tree.flatten(_with_tuples(result))
    for i, x in enumerate(outs):
        if not (hasattr(x, "shape") and hasattr(x, "dtype")):
            raise ArgumentError(
                f"{what}: result_shape_dtypes must be a tree of ShapeDtypeStructs, got "
                f"{type(x).__name__} at {leaf_paths(out_tree)[i] or 'its root'}"
            )
    avals = tuple([aval_of(x).strong for x in outs])
    return FlatCallback(what, callback, in_tree, {}, out_tree), avals, [lift(x) for x in leaves]


def pure_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    vmap_method: str | None = None,
    **kwargs: Any,
) -> Any:
    """callback(*args, **kwargs), a Python function without effects, called when the program runs.

    Under a transform, too, `callback` is given Arrays with values. It may be called more than once,
    or not at all if nobody uses its results.
    result_shape_dtypes: a tree of ShapeDtypeStructs, or of other things with a shape and a dtype,
        like the results. Lists and tuples may stand for each other.
    vmap_method: what vmap does. "sequential" calls it for one example after another, and
        "sequential_unrolled" does so without a loop. The others call it once, with the batch as a
        new first axis of mapped arguments and of all results; an argument that is not mapped
        "expand_dims" gives a first axis of size 1, "broadcast_all" repeats along it, and
        "legacy_vectorized" passes as it is. None: vmap raises.
    Raises: ShapeError, DtypeError or TreeError when the results are not as announced; what
        `callback` raises; MissingRuleError for derivatives, and for vmap without a method;
        ArgumentError or OptionError for wrong arguments.

    >>> import numpy as np, fstensor as fst
    >>> f = lambda x: fst.pure_callback(np.sinc, fst.ShapeDtypeStruct((), np.float32), x)
    >>> fst.jit(f)(fst.numpy.float32(0.0)).item()
    1.0
    """
    if vmap_method is not None and vmap_method not in _METHODS:
        raise OptionError(
            f"pure_callback: vmap_method must be None or one of {', '.join(map(repr, _METHODS))}, "
            f"got {vmap_method!r}"
        )
    flat, avals, leaves = _flat("pure_callback", callback, args, kwargs, result_shape_dtypes)
    outs = PureCallback(flat, avals, vmap_method).bind(*leaves)
    return tree.unflatten(tree.structure(result_shape_dtypes), outs)


def io_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    ordered: bool = True,
    **kwargs: Any,
) -> Any:
    """callback(*args, **kwargs), a Python function with effects, called when the program runs.

    It runs exactly once each time the program reaches it, whether its results are used or not.
    result_shape_dtypes: as for `pure_callback`; None for a function that returns None.
    ordered: whether calls must keep the order of the program; JAX's default is False. Programs run
        in order here in either case, but only a call that needs no order can be mapped by vmap,
        which then calls it for one example after another.
    Raises: as `pure_callback`; OptionError for an ordered call under vmap, or for any call under
        vmap of a `cond` or `while_loop` whose choice is mapped.

    >>> import fstensor as fst
    >>> seen = []
    >>> fst.jit(lambda x: fst.experimental.io_callback(seen.append, None, 2 * x))(3)
    >>> int(seen[0])
    6
    """
    flat, avals, leaves = _flat("io_callback", callback, args, kwargs, result_shape_dtypes)
    outs = IOCallback(flat, avals, bool(ordered)).bind(*leaves)
    return tree.unflatten(tree.structure(result_shape_dtypes), outs)


def debug_callback(
    what: str,
    callback: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    ordered: bool,
) -> None:
    """Call `callback` when the program gets there; leaves that are no arrays pass as they are."""
    check_callable(callback, what)
    leaves, in_tree = tree.flatten((args, kwargs))
    static = {i: x for i, x in enumerate(leaves) if not is_array_like(x)}
    arrays = [lift(x) for i, x in enumerate(leaves) if i not in static]
    flat = FlatCallback(what, callback, in_tree, static, None)
    DebugCallback(flat, bool(ordered)).bind(*arrays)

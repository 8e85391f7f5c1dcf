"""Loops made of `scan` and `while_loop`: `fori_loop`, `map` and `associative_scan`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from fstensor import dtypes, tree
from fstensor.array import Array, ArrayLike, ConcreteArray, lift, normalize_axis
from fstensor.config import config
from fstensor.control.common import leaf_paths, lifted_tree
from fstensor.control.scan import scan
from fstensor.control.while_loop import while_loop
from fstensor.core.boundary import boundary
from fstensor.errors import (
    ArgumentError,
    CarryTypeError,
    DtypeError,
    OptionError,
    ShapeError,
    TreeError,
)
from fstensor.ops.arrange import concatenate, rev
from fstensor.ops.convert import convert_element_type
from fstensor.ops.elementwise import add
from fstensor.ops.index import slice_in_dim
from fstensor.ops.logical import lt
from fstensor.ops.shape import expand_dims, reshape
from fstensor.transforms.vmap import vmap

Carry = TypeVar("Carry")


@boundary
def fori_loop(
    lower: ArrayLike,
    upper: ArrayLike,
    body_fun: Callable[[Array, Carry], Carry],
    init_val: Carry,
    *,
    unroll: int | bool | None = None,
) -> Carry:
    """A loop: value = init_val; for i in range(lower, upper): value = body_fun(i, value).

    With known bounds it is a `scan`, with traced ones a `while_loop`.
    unroll: how many steps are run as one program, True for all; with known bounds only.
    Raises: as `scan`; DtypeError or ShapeError unless the bounds are integer scalars.

    >>> import fstensor as fst
    >>> fst.lax.fori_loop(0, 5, lambda i, total: total + i, 0).item()
    10
    """
    if not callable(body_fun):
        raise ArgumentError(f"fori_loop: takes a function, got {type(body_fun).__name__}")
    first, end = _bound("lower", lower), _bound("upper", upper)
    dtype, _ = dtypes.promote_all([(x.dtype, x.weak_type) for x in (first, end)])
    first, end = (x if x.dtype == dtype else convert_element_type(x, dtype) for x in (first, end))
    if config.disable_jit and isinstance(first, ConcreteArray) and isinstance(end, ConcreteArray):
        for i in range(int(first), int(end)):
            init_val = body_fun(lift(i), init_val)
        return init_val
    if isinstance(first, ConcreteArray) and isinstance(end, ConcreteArray):
        return _known_range(first, end, body_fun, init_val, 1 if unroll is None else unroll)
    if unroll is not None:
        raise OptionError("fori_loop: unroll needs bounds that are known while tracing")

    def body(state: tuple[Array, Array, Carry]) -> tuple[Array, Array, Carry]:
        i, end, value = state
        return add(i, _one(i)), end, body_fun(i, value)

    return while_loop(lambda state: lt(state[0], state[1]), body, (first, end, init_val))[2]


def _bound(name: str, x: ArrayLike) -> Array:
    value = lift(x, what=f"fori_loop: {name}")
    if value.ndim:
        raise ShapeError(f"fori_loop: {name} must be a scalar, got {value.aval}")
    if not dtypes.is_integer(value.dtype):
        raise DtypeError(f"fori_loop: {name} must be an integer, got {value.aval}")
    return value


def _one(i: Array) -> Array:
    """One of the type of `i`: a counter that starts weak stays weak."""
    return ConcreteArray(np.ones((), i.dtype), i.aval)


def _known_range(
    first: ConcreteArray,
    end: ConcreteArray,
    body_fun: Callable[[Array, Carry], Carry],
    init_val: Carry,
    unroll: int | bool,
) -> Carry:
    def body(state: tuple[Array, Carry], _: None) -> tuple[tuple[Array, Carry], None]:
        i, value = state
        return (add(i, _one(i)), body_fun(i, value)), None

    length = max(int(end) - int(first), 0)
    start: tuple[Array, Carry] = (first, init_val)
    return scan(body, start, None, length=length, unroll=unroll)[0][1]


@boundary
def map(f: Callable[..., Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """`f` of each slice of `xs` along the leading axis, one after the other; results stacked.

    batch_size: so many slices at once, under vmap, and what is left at the end at once, too.
    Raises: as `scan`, OptionError for a batch_size below 1.
    """
    if not callable(f):
        raise ArgumentError(f"map: takes a function, got {type(f).__name__}")
    leaves, structure = lifted_tree("map", xs)
    if not leaves:
        raise ArgumentError("map: xs must hold at least one array")
    for path, x in zip(leaf_paths(structure), leaves, strict=True):
        if not x.ndim or x.shape[0] != leaves[0].shape[0]:
            raise ShapeError(
                f"map: leading axes must have one size, got xs{path} of {x.aval} beside "
                f"{leaves[0].aval}"
            )
    if batch_size is None:
        return scan(lambda _, x: (None, f(x)), None, xs)[1]
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise ArgumentError(f"map: batch_size must be an integer, got {batch_size!r}")
    if batch_size < 1:
        raise OptionError(f"map: batch_size must be at least 1, got {batch_size}")
    count = leaves[0].shape[0]
    whole = count // batch_size
    full = [
        reshape(slice_in_dim(x, 0, whole * batch_size), (whole, batch_size, *x.shape[1:]))
        for x in leaves
    ]
    batched = scan(lambda _, x: (None, vmap(f)(x)), None, tree.unflatten(structure, full))[1]
    out = tree.map(lambda y: reshape(y, (whole * batch_size, *y.shape[2:])), batched)
    if whole * batch_size == count:
        return out
    rest = [slice_in_dim(x, whole * batch_size, count) for x in leaves]
    last = vmap(f)(tree.unflatten(structure, rest))
    return tree.map(lambda a, b: concatenate([a, b], 0), out, last)


@boundary
def associative_scan(
    fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """Running results of an associative function: y[0] = x[0], y[i] = fn(y[i-1], x[i]).

    The work is arranged as a tree of depth log2(n) (G. Blelloch, "Prefix sums and their
    applications", 1990): `fn` is called on about 2 log2(n) pairs of many elements at once.
    fn: takes two trees like `elems`, whose elements lie along `axis`, and combines them pairwise.
    reverse: from the last element to the first: y[i] = fn(y[i+1], x[i]).
    Raises: ShapeError when sizes along `axis` differ, TreeError when `fn` changes the structure,
        CarryTypeError when it changes shapes or dtypes, AxisError for an axis that does not exist,
        ArgumentError.
    """
    if not callable(fn):
        raise ArgumentError(f"associative_scan: takes a function, got {type(fn).__name__}")
    leaves, structure = lifted_tree("associative_scan", elems)
    if not leaves:
        return elems
    axes = [normalize_axis(axis, x.ndim, "associative_scan") for x in leaves]
    sizes = {x.shape[a] for x, a in zip(leaves, axes, strict=True)}
    if len(sizes) > 1:
        got = ", ".join(str(x.aval) for x in leaves)
        raise ShapeError(f"associative_scan: sizes along axis {axis} must be equal, got {got}")

    def combine(xs: Sequence[Array], ys: Sequence[Array]) -> list[Array]:
        out = fn(tree.unflatten(structure, xs), tree.unflatten(structure, ys))
        results, out_tree = tree.flatten(out)
        if out_tree != structure:
            difference = tree.describe_mismatch(structure, out_tree)
            raise TreeError(f"associative_scan: fn must keep the structure; {difference}")
        found = [lift(x) for x in results]
        for path, x, y in zip(leaf_paths(structure), xs, found, strict=True):
            if not y.aval.same_type(x.aval):
                raise CarryTypeError(
                    "associative_scan: fn must keep shapes and dtypes, but it changes "
                    f"{path or 'its argument'} from {x.aval} to {y.aval}"
                )
        return found

    if reverse:
        leaves = [rev(x, (a,)) for x, a in zip(leaves, axes, strict=True)]
    results = _prefixes(combine, leaves, axes)
    if reverse:
        results = [rev(x, (a,)) for x, a in zip(results, axes, strict=True)]
    return tree.unflatten(structure, results)


def _prefixes(
    combine: Callable[[Sequence[Array], Sequence[Array]], list[Array]],
    xs: list[Array],
    axes: Sequence[int],
) -> list[Array]:
    n = xs[0].shape[axes[0]]
    if n < 2:
        return xs

    def part(values: Sequence[Array], start: int, stop: int, step: int = 1) -> list[Array]:
        pairs = zip(values, axes, strict=True)
        return [slice_in_dim(x, start, stop, step, a) for x, a in pairs]

    # Results at odd places are those of pairs; at even places, one more element joins in.
    pairs = combine(part(xs, 0, n - 1, 2), part(xs, 1, n, 2))
    odd = _prefixes(combine, pairs, axes)
    evens = (n + 1) // 2
    if n > 2:
        later = combine(part(odd, 0, evens - 1), part(xs, 2, n, 2))
        first = part(xs, 0, 1)
        even = [concatenate([a, b], d) for a, b, d in zip(first, later, axes, strict=True)]
    else:
        even = part(xs, 0, 1)
    return [_interleaved(e, o, a) for e, o, a in zip(even, odd, axes, strict=True)]


def _interleaved(even: Array, odd: Array, axis: int) -> Array:
    """Elements along `axis` in turn, from `even` first, which may have one more."""
    n = odd.shape[axis]
    paired = even if even.shape[axis] == n else slice_in_dim(even, 0, n, 1, axis)
    both = concatenate([expand_dims(paired, (axis + 1,)), expand_dims(odd, (axis + 1,))], axis + 1)
    shape = (*odd.shape[:axis], 2 * n, *odd.shape[axis + 1 :])
    mixed = reshape(both, shape)
    if even.shape[axis] == n:
        return mixed
    return concatenate([mixed, slice_in_dim(even, n, n + 1, 1, axis)], axis)

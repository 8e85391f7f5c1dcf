"""Functions made of several operations, called eagerly: traced once, and replayed from then on.

Each operation of an eager call costs some two microseconds of dispatch, and a function such as
`var` is six of them, with promotion and checks of arguments between. None of that depends on the
values: for arguments of the same shapes, dtypes and options, the same operations follow. So they
are recorded at the first eager call, and the recorded program runs at the next ones. Under a
transform nothing is replayed: there the operations are recorded one by one, as always.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, final

import numpy as np

from fstensor import device, tree
from fstensor.array import ConcreteArray
from fstensor.config import config
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.state import state
from fstensor.core.trace import EVAL
from fstensor.transforms.make_jaxpr import trace_flat
from fstensor.transforms.programs import program_of

P = ParamSpec("P")
R = TypeVar("R")

_MOST_SIGNATURES = 1024  # of one function; then its table starts anew
_OPTIONS = (type(None), bool, int, str, type, np.dtype)
_ndarray = np.ndarray


@final
class _Recorded:
    """A program for one signature. `out_tree` is None for a result that is one array."""

    __slots__ = ("out_avals", "out_tree", "run")

    def __init__(self, closed: ClosedJaxpr, out_tree: tree.PyTreeDef | None) -> None:
        self.run = program_of(closed).on_cpu
        self.out_avals: tuple[ShapedArray, ...] = closed.out_avals
        self.out_tree = out_tree


def replayed(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: replay `function` when it is called eagerly with Arrays on the CPU.

    Its parameters whose annotations name arrays (`ArrayLike`, sequences of it) are arrays; the
    others are options, and `function` must depend on nothing else: not on an array's values, not on
    global state but the default dtypes. Calls with other arguments, such as ndarrays, Python
    scalars for arrays, or options that are no plain values, run as they are written.
    """
    parameters = inspect.signature(function).parameters
    kinds = {p.kind for p in parameters.values()}
    assert inspect.Parameter.VAR_POSITIONAL not in kinds, "each argument has a name"
    arrays = {n for n, p in parameters.items() if "Array" in str(p.annotation)}
    is_option = tuple(n not in arrays for n in parameters)
    signatures: dict[Any, _Recorded] = {}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if state.trace is not EVAL or config.checking or len(args) > len(is_option):
            return function(*args, **kwargs)
        key: list[Any] = []
        buffers: list[Any] = []
        try:
            for x, option in zip(args, is_option, strict=False):
                if x.__class__ is ConcreteArray:
                    key.append(x.aval)
                    buffers.append(x._buffer)
                elif not _add_other(key, buffers, x, option):
                    return function(*args, **kwargs)
            for name, x in kwargs.items():
                key.append(name)
                if x.__class__ is ConcreteArray:
                    key.append(x.aval)
                    buffers.append(x._buffer)
                elif not _add_other(key, buffers, x, name not in arrays):
                    return function(*args, **kwargs)
            for b in buffers:
                if b.__class__ is not _ndarray:
                    return function(*args, **kwargs)
        except AttributeError:  # a deleted array, which `function` complains about
            return function(*args, **kwargs)
        key.append(config.default_dtype_bits)
        signature = tuple(key)
        recorded = signatures.get(signature)
        if recorded is None:
            if not buffers or not device.default_is_cpu():
                return function(*args, **kwargs)
            if len(signatures) >= _MOST_SIGNATURES:
                signatures.clear()
            try:
                recorded = signatures[signature] = _record(function, args, kwargs)
            except Exception:  # the same mistake made eagerly is told in eager terms
                return function(*args, **kwargs)
        # NumPy's floating-point warnings are off in this context, as for single operations.
        outs = state.quiet.run(recorded.run, *buffers)
        if recorded.out_tree is None:
            return ConcreteArray(outs[0], recorded.out_avals[0])  # type: ignore[return-value]
        arrays_out = map(ConcreteArray, outs, recorded.out_avals)
        return tree.unflatten(recorded.out_tree, list(arrays_out))  # type: ignore[no-any-return]

    return call


def _add_other(key: list[Any], buffers: list[Any], x: Any, option: bool) -> bool:
    """Enter what is no array by itself into the signature, if it fits there."""
    kind = x.__class__
    if x is None or (option and isinstance(x, _OPTIONS)):
        key.append(kind)
        key.append(x)
        return True
    if kind is not tuple and kind is not list:
        return False
    key.append(kind)
    key.append(len(x))
    if option:
        return all(_add_other(key, buffers, y, True) for y in x)
    for y in x:
        if y.__class__ is not ConcreteArray:
            return False
        key.append(y.aval)
        buffers.append(y._buffer)
    return True


def _record(function: Callable[..., Any], args: Any, kwargs: Any) -> _Recorded:
    leaves, structure = tree.flatten((args, kwargs), is_leaf=_is_option)
    places = [i for i, x in enumerate(leaves) if isinstance(x, ConcreteArray)]
    out_trees: list[tree.PyTreeDef | None] = []

    def flat(*tracers: Any) -> list[Any]:
        full = list(leaves)
        for i, t in zip(places, tracers, strict=True):
            full[i] = t
        new_args, new_kwargs = tree.unflatten(structure, full)
        out = function(*new_args, **new_kwargs)
        outs, out_tree = tree.flatten(out)
        out_trees.append(None if len(outs) == 1 and out is outs[0] else out_tree)
        return outs

    avals = [leaves[i].aval for i in places]
    name = source_info.describe_function(function)
    return _Recorded(ClosedJaxpr(*trace_flat(flat, avals, "eager", name)), out_trees[0])


def _is_option(x: Any) -> bool:
    return x is None

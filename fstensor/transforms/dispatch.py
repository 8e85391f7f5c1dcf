"""Calls of jitted functions that have been made before, found again without looking closely.

The types of the arguments are compared by identity: arrays that come out of one call and go into
the next have the very types that they had before. What is not found here, jit looks up by value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, final

import numpy as np

from fstensor import tree
from fstensor.array import ConcreteArray
from fstensor.config import config
from fstensor.core.aval import ShapedArray
from fstensor.core.state import state
from fstensor.core.trace import EVAL
from fstensor.device import default_is_cpu

MISSED: Final = object()
_MOST_KNOWN = 256  # calls of one function
_ndarray = np.ndarray


@final
class KnownCall:
    """What a call with arguments of these types does.

    avals: kept, since their identities are the key. stamp: of the settings. function: from buffers
    on the CPU to those of the results; is_native: it makes no call of NumPy. out_tree: None where
    the result is an array.
    """

    __slots__ = ("avals", "function", "is_native", "out_avals", "out_tree", "stamp")

    def __init__(
        self,
        avals: tuple[ShapedArray, ...],
        stamp: int,
        function: Callable[..., list[Any]],
        is_native: bool,
        out_avals: Sequence[ShapedArray],
        out_tree: tree.PyTreeDef | None,
    ) -> None:
        self.avals = avals
        self.stamp = stamp
        self.function = function
        self.is_native = is_native
        self.out_avals = out_avals
        self.out_tree = out_tree


def call_known(table: dict[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a call that `table` knows; MISSED where it does not, or something is special.

    Only outside of every transform, with arrays on the CPU.
    """
    if state.trace is not EVAL or state.axes:
        return MISSED
    leaves, in_tree = _flattened(args, kwargs)
    try:
        known = table.get((in_tree, *[id(x.aval) for x in leaves]))
        if known is None or known.stamp != config.stamp or not default_is_cpu():
            return MISSED
        buffers = [x._buffer for x in leaves]
    except AttributeError:  # no arrays
        return MISSED
    for b in buffers:
        if b.__class__ is not _ndarray:
            return MISSED
    if known.is_native:
        outs = known.function(*buffers)
    else:
        before, state.compiled = state.compiled, True
        try:
            outs = state.quiet.run(known.function, *buffers)
        finally:
            state.compiled = before
    if known.out_tree is None:
        return ConcreteArray(outs[0], known.out_avals[0])
    return known.out_tree.unflatten(map(ConcreteArray, outs, known.out_avals))


def _flattened(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Sequence[Any], tree.PyTreeDef | None]:
    """The leaves of a call's arguments, and their structure: None for arrays by position."""
    if not kwargs:
        for x in args:
            if x.__class__ is not ConcreteArray:
                break
        else:
            return args, None
    return tree.flatten((args, kwargs))


def remember(
    table: dict[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    function: Callable[..., list[Any]],
    is_native: bool,
    out_avals: Sequence[ShapedArray],
    out_tree: tree.PyTreeDef,
) -> None:
    """Let `call_known` find a call that was made with these arguments under these settings."""
    stamp = config.stamp
    leaves, in_tree = _flattened(args, kwargs)
    if stamp is None or not all(x.__class__ is ConcreteArray for x in leaves):
        return
    if len(table) >= _MOST_KNOWN:
        table.clear()
    avals = tuple([x.aval for x in leaves])
    one = out_tree.num_nodes == 1 and out_tree.num_leaves == 1
    key = (in_tree, *map(id, avals))
    table[key] = KnownCall(avals, stamp, function, is_native, out_avals, None if one else out_tree)

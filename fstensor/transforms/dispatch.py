"""Calls of jitted functions that have been made before, found again without looking closely.

Arguments are taken apart by a function that is written for their structure, and native code
compares their types by identity, before it runs the program where that is one native call. What is
not found here, jit looks up by value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from fstensor import tree
from fstensor.array import ConcreteArray, borrow
from fstensor.config import config
from fstensor.core.aval import ShapedArray
from fstensor.core.donation import give, take_back
from fstensor.core.state import state
from fstensor.errors import FstensorError
from fstensor.transforms.programs import native_matcher
from fstensor.transforms.takers import Taker, taker

if TYPE_CHECKING:
    from fstensor.compiler.invocation import FromArrays

MISSED: Final = object()
_MOST_STRUCTURES = 16  # of one function
_MOST_CALLS = 256  # of one structure
_ndarray = np.ndarray
_LIFTED = (bool, int, float, complex, np.ndarray, np.generic)


@final
class KnownCall:
    """What a call with arguments of these types does.

    stamp: of the settings. function: from buffers on the CPU to those of the results. is_native: it
    makes no call of NumPy. enter: the same of Arrays, which gives None where they are not of these
    types, or not on the CPU; it is None where there is more to do. matches: says whether they are.
    out_tree: None where the result is an array. donated: the places of the leaves that the caller
    gives up to a call of `name`, for results of `program`.
    """

    __slots__ = (
        "avals",
        "donated",
        "enter",
        "function",
        "is_native",
        "matches",
        "name",
        "out_avals",
        "out_tree",
        "program",
        "stamp",
    )

    def __init__(
        self,
        stamp: int,
        avals: tuple[ShapedArray, ...],
        function: Callable[..., list[Any]],
        is_native: bool,
        enter: FromArrays | None,
        out_avals: Sequence[ShapedArray],
        out_tree: tree.PyTreeDef,
        donated: Sequence[int],
        name: str,
        program: object,
    ) -> None:
        self.stamp = stamp
        self.avals = avals
        self.function = function
        self.is_native = is_native
        self.enter = None if donated else enter
        self.matches = native_matcher(avals)
        self.out_avals = out_avals
        one = out_tree.num_nodes == 1 and out_tree.num_leaves == 1
        self.out_tree = None if one else out_tree
        self.donated = donated
        self.name = name
        self.program = program


@final
class _Structure:
    """The calls whose arguments have one structure.

    take: gives the leaves of arguments, None of those with another structure. last: the call that
    was found the last time.
    """

    __slots__ = ("calls", "in_tree", "last", "take")

    def __init__(self, in_tree: tree.PyTreeDef) -> None:
        self.in_tree = in_tree
        self.calls: dict[tuple[ShapedArray, ...], KnownCall] = {}
        self.last: KnownCall | None = None
        self.take: Taker = self._take_first

    def _take_first(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The leaves of a call that may be the second one: then it is worth to write a taker."""
        if tree.structure((args, kwargs)) != self.in_tree:
            return None
        self.take = taker(args, kwargs)
        return self.take(args, kwargs)

    def add(self, call: KnownCall) -> None:
        if len(self.calls) >= _MOST_CALLS:
            self.calls.clear()
        self.calls[call.avals] = self.last = call

    def find(self, leaves: tuple[Any, ...]) -> KnownCall | None:
        """The call with leaves of these types, where they are Arrays on the CPU."""
        last = self.last
        if last is not None and last.matches is not None and last.matches(*leaves):
            return last
        try:
            found = self.calls.get(tuple([x.aval for x in leaves]))
            if found is None:
                return None
            for x in leaves:
                if x._buffer.__class__ is not _ndarray:
                    return None
        except AttributeError:  # no arrays, or deleted ones
            return None
        self.last = found
        return found


def call_known(table: dict[Any, _Structure], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a call that `table` knows; MISSED where it does not, or something is special.

    Only outside of every transform, with arrays on the CPU.
    """
    if state.at_once is None or state.axes:
        return MISSED
    for structure in [*table.values()]:  # of which there may soon be others
        leaves = structure.take(args, kwargs)
        if leaves is not None:
            break
    else:
        return MISSED
    call = structure.last
    if call is not None and call.enter is not None and call.stamp == config.stamp:
        outs = call.enter(leaves)
        if outs is not None:
            return _result(call, outs)
    call = structure.find(leaves)
    owners: Sequence[Any] = ()
    if call is None:
        given = leaves
        leaves, owners = lifted(given)
        call = structure.find(leaves)
        if call is not None and any(leaves[i] is not given[i] for i in call.donated):
            return MISSED
    if call is None or call.stamp != config.stamp:
        return MISSED
    buffers = [x._buffer for x in leaves]
    if call.donated:
        outs = _run_donating(call, leaves, buffers)
    elif call.is_native:
        outs = call.function(*buffers)
    else:
        outs = _run(call, buffers)
    if owners:
        outs = [_disowned(b, owners) for b in outs]
    return _result(call, outs)


def _result(call: KnownCall, outs: Sequence[Any]) -> Any:
    if call.out_tree is None:
        return ConcreteArray(outs[0], call.out_avals[0])
    return call.out_tree.unflatten(map(ConcreteArray, outs, call.out_avals))


def _run(call: KnownCall, buffers: Sequence[Any]) -> list[Any]:
    before, state.compiled = state.compiled, True
    try:
        return state.quiet.run(call.function, *buffers)
    finally:
        state.compiled = before


def _run_donating(call: KnownCall, leaves: Sequence[Any], buffers: Sequence[Any]) -> list[Any]:
    given = give(leaves, call.donated, buffers, call.program)
    try:
        return _run(call, buffers)
    finally:
        take_back(given)
        for i in call.donated:  # after an error, too: they may be written into
            leaves[i].donate(call.name)


def lifted(leaves: Sequence[Any]) -> tuple[tuple[Any, ...], list[np.ndarray[Any, Any]]]:
    """The leaves with ndarrays and scalars as Arrays, and those ndarrays that may be written into.

    Other leaves stay as they are.
    """
    arrays: list[Any] = []
    owners: list[np.ndarray[Any, Any]] = []
    for x in leaves:
        if x.__class__ is not ConcreteArray and isinstance(x, _LIFTED):
            if isinstance(x, np.ndarray) and x.flags.writeable:
                owners.append(x)
            with contextlib.suppress(FstensorError):  # jit tells which argument it is
                x = borrow(x)
        arrays.append(x)
    return tuple(arrays), owners


def _disowned(b: Any, owners: Sequence[np.ndarray[Any, Any]]) -> Any:
    """A result's buffer, copied where it shares memory that somebody else may write into."""
    return b.copy() if any(np.may_share_memory(b, x) for x in owners) else b


def remember(table: dict[Any, _Structure], in_tree: tree.PyTreeDef, call: KnownCall) -> None:
    """Let `call_known` find calls with arguments of this structure."""
    structure = table.get(in_tree)
    if structure is None:
        if len(table) >= _MOST_STRUCTURES:
            table.clear()
        structure = table[in_tree] = _Structure(in_tree)
    structure.add(call)

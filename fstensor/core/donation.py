"""Arrays that their owner gives up: a program may write its results into their memory.

That is so only where nothing else refers to the memory: a view that NumPy holds, or a second Array
with the same buffer, keeps its values. Who else refers to it is told by Python's own counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import getrefcount
from typing import Any, Final, final

# By the ids of buffers, the program that may write into them. Ids of living objects are unique, so
# that threads do not meet here; and a program called by the one meant is another one.
given_up: dict[int, object] = {}


def give(
    arrays: Sequence[Any], positions: Iterable[int], buffers: Sequence[Any], program: object
) -> list[int]:
    """Let a program write into the memory of the arrays at these positions, if nobody else has it.

    buffers: of all arrays. Gives what `take_back` is to be told after the call.
    """
    given = []
    for i in positions:
        if getrefcount(arrays[i]._buffer) <= _ALONE and owns_memory(buffers[i]):
            key = id(buffers[i])
            given_up[key] = program
            given.append(key)
    return given


def take_back(given: Iterable[int]) -> None:
    for key in given:
        given_up.pop(key, None)


def owns_memory(buffer: Any) -> bool:
    """Whether a buffer has memory of its own, or is the only one in a block of the pool."""
    owner = buffer.base
    if owner is None:
        return bool(buffer.flags.owndata)
    return hasattr(owner, "block") and getrefcount(owner) <= _ALONE_AS_OWNER


@final
class _Holder:
    """As an Array refers to its buffer."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = object()


def _count_alone() -> int:
    """The count of a buffer that only its array and one list refer to."""
    arrays = [_Holder()]
    buffers = [x._buffer for x in arrays]
    count = getrefcount(arrays[0]._buffer)
    del buffers
    return count


def _count_as_owner() -> int:
    """The count of an owner that only one array refers to."""
    holder = _Holder()
    owner = holder._buffer
    return getrefcount(owner)


_ALONE: Final = _count_alone()
_ALONE_AS_OWNER: Final = _count_as_owner()

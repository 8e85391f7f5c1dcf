"""Memory for the outputs and the scratch of programs, used again and again.

The steps of a loop need the same sizes each time, and memory that is new from the system costs more
than much of the arithmetic done in it: every page is zeroed at its first touch. So blocks wait in a
pool. One belongs to an owner, an object that arrays refer to as their base; when the last view is
gone the owner is, and the block returns to the pool.

Idle blocks together are kept about below the size of those in use, or 256 MiB if that is more; what
was idle for longest goes back to the system first.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import math
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, final

import numpy as np

# Arrays below this are NumPy's own, so that a small one never keeps a large block.
SMALLEST_POOLED = 64 << 10
IDLE_BYTES_ALLOWED = 256 << 20

_ALIGNMENT = 64
_GRAIN = 4096  # sizes are multiples of it
SMALLEST_MAPPED = 1 << 20  # from here on blocks are mapped, with large pages where there are some
_LARGE_PAGE = 2 << 20
_MAPS_PRIVATELY = hasattr(mmap, "MAP_PRIVATE") and hasattr(mmap, "MAP_ANONYMOUS")


@final
class _Block:
    """A piece of memory. returned: counts the blocks that came back to the pool before it did."""

    __slots__ = ("address", "returned", "storage")

    def __init__(self, size: int) -> None:
        self.storage = _storage(size)
        start: int = self.storage.__array_interface__["data"][0]
        self.address = -(-start // _ALIGNMENT) * _ALIGNMENT
        self.returned = 0


def _storage(size: int) -> np.ndarray[Any, Any]:
    """Bytes that keep their memory alive; `size` of them follow the first aligned one."""
    if size < SMALLEST_MAPPED or not _MAPS_PRIVATELY:
        return np.empty(size + _ALIGNMENT, np.uint8)
    # The system gives large pages to what is whole ones; the last may be whole for a little more.
    whole = -(-size // _LARGE_PAGE) * _LARGE_PAGE
    if whole > size + size // 4:
        whole = size
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    mapped = mmap.mmap(-1, whole + _LARGE_PAGE, flags=flags)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # of a kernel without them
            mapped.madvise(mmap.MADV_HUGEPAGE)
    bytes_ = np.frombuffer(mapped, np.uint8)
    first = -bytes_.__array_interface__["data"][0] % _LARGE_PAGE
    return bytes_[first : first + whole]


@final
class _Shelf:
    """The blocks of one size.

    idle: those that wait, the last to come back at the end. count: how many there are, idle or not.
    take: a function that gives the owner of a block.
    """

    __slots__ = ("_next_look", "count", "idle", "pool", "size", "take")

    def __init__(self, pool: Pool, size: int) -> None:
        self.pool = pool
        self.size = size
        self.count = 0
        self.idle: deque[_Block] = deque()
        self._next_look = self._first_look()
        self.take = self._taker()

    def _first_look(self) -> int:
        """With how many idle blocks it is time to look at all idle memory."""
        return IDLE_BYTES_ALLOWED // (8 * self.size) + 1

    def _taker(self) -> Callable[[], Any]:
        # A deque's methods are atomic, so no lock is needed where there is a block; and these
        # names are still there at the end of the interpreter, when globals may be gone.
        pop, append, idle = self.idle.pop, self.idle.append, self.idle
        tick, look = self.pool.tick, self._look

        def __del__(owner: Any) -> None:
            block = owner.block
            block.returned = tick()
            append(block)
            if len(idle) >= self._next_look:
                look()

        names = {"__slots__": ("block",), "__del__": __del__, "__module__": __name__}
        kind: Any = type("Memory", (ctypes.c_char * self.size,), names)
        make, new = kind.from_address, self._new

        def take() -> Any:
            try:
                block = pop()
            except IndexError:
                block = new()
            owner = make(block.address)
            owner.block = block
            return owner

        return take

    def _new(self) -> _Block:
        try:
            block = _Block(self.size)
        except (MemoryError, OSError):
            self.pool.trim(0)
            try:
                block = _Block(self.size)
            except (MemoryError, OSError):
                raise MemoryError(f"no memory for a block of {self.size} bytes") from None
        with self.pool.lock:
            self.count += 1
        return block

    def _look(self) -> None:
        self.pool.limit()
        # While all is well, look again when an eighth more is idle.
        self._next_look = max(self._first_look(), len(self.idle) * 9 // 8 + 1)


@final
class Pool:
    """Blocks by size.

    They come back when an owner dies, in any thread and in the midst of anything, also of what is
    below. So that takes no lock, or leaves the rest to whoever holds it. The holder may take it
    again.
    """

    def __init__(self) -> None:
        self._shelves: dict[int, _Shelf] = {}
        self.tick = itertools.count().__next__
        self.lock = threading.RLock()

    def shelf(self, size: int) -> _Shelf:
        found = self._shelves.get(size)
        if found is None:
            with self.lock:
                found = self._shelves.setdefault(size, _Shelf(self, size))
        return found

    def bytes(self) -> tuple[int, int]:
        """The sizes of all blocks in use, and of all idle ones."""
        total = idle = 0
        for shelf in list(self._shelves.values()):
            total += shelf.size * shelf.count
            idle += shelf.size * len(shelf.idle)
        return total - idle, idle

    def limit(self) -> None:
        """Keep to the limit, unless another thread is about to."""
        if self.lock.acquire(blocking=False):
            try:
                live, idle = self.bytes()
                self._trim(idle, max(live, IDLE_BYTES_ALLOWED))
            finally:
                self.lock.release()

    def trim(self, most_idle: int) -> None:
        """Give blocks back to the system until no more than `most_idle` bytes are idle."""
        with self.lock:
            self._trim(self.bytes()[1], most_idle)

    def _trim(self, idle: int, most_idle: int) -> None:
        while idle > most_idle:
            oldest = min(self._shelves.values(), key=_time_of_oldest)
            try:
                oldest.idle.popleft()
            except IndexError:  # taken in the meantime
                idle = self.bytes()[1]
                continue
            oldest.count -= 1
            idle -= oldest.size

    def forget_lock(self) -> None:
        """Have a new lock: in the child of a fork, the one who held the old one may be gone."""
        self.lock = threading.RLock()


def _time_of_oldest(shelf: _Shelf) -> float:
    try:
        return shelf.idle[0].returned
    except IndexError:
        return math.inf


_pool = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget_lock)


def size_of_block(nbytes: int) -> int:
    """The size of the blocks that serve `nbytes`: there are eight sizes between doubles."""
    step = max(_GRAIN, 1 << max((nbytes - 1).bit_length() - 4, 0))
    return max(-(-nbytes // step) * step, _GRAIN)


def allocate(nbytes: int) -> Any:
    """Memory of at least `nbytes`, aligned to 64 bytes, with any contents.

    It is a ctypes array, at `ctypes.addressof(memory)`, and serves as a buffer. Its block goes back
    to the pool when nothing refers to it any more.
    Raises: MemoryError when the system has none.
    """
    return _pool.shelf(size_of_block(nbytes)).take()


def array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An array with any contents, as `np.empty` gives it, but with memory of the pool."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < SMALLEST_POOLED or dtype.hasobject:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, _pool.shelf(size_of_block(nbytes)).take())


def maker(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Callable[[], np.ndarray[Any, Any]]:
    """A function that gives such an array at each call, for outputs that are made again and again.

    >>> make = maker((512, 512), np.dtype(np.float32))
    >>> make().shape
    (512, 512)
    """
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < SMALLEST_POOLED or dtype.hasobject:
        return functools.partial(np.empty, shape, dtype)
    take, ndarray = _pool.shelf(size_of_block(nbytes)).take, np.ndarray
    return lambda: ndarray(shape, dtype, take())


def copy(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy of an array, in row-major order; of a large one, with memory of the pool."""
    if x.nbytes < SMALLEST_POOLED or x.dtype.hasobject:
        return x.copy()
    result = array(x.shape, x.dtype)
    result[...] = x
    return result


def is_pooled(x: np.ndarray[Any, Any]) -> bool:
    """Whether an array has its memory from the pool."""
    base = x.base
    while isinstance(base, np.ndarray):
        base = base.base
    return type(base).__module__ == __name__


def live_bytes() -> int:
    """The size of all blocks in use."""
    return _pool.bytes()[0]


def idle_bytes() -> int:
    """The size of all blocks that wait to be used again."""
    return _pool.bytes()[1]


def trim(most_idle: int = 0) -> None:
    """Give idle memory back to the system, but for `most_idle` bytes."""
    _pool.trim(most_idle)

"""Memory for the outputs and the scratch of programs, used again and again.

The steps of a loop need the same sizes each time, and memory that is new from the system costs more
than much of the arithmetic done in it: every page is zeroed at its first touch. So blocks wait in a
pool. One belongs to an owner, an object that arrays refer to as their base; when the last view is
gone the owner is, and the block returns to the pool.

Idle blocks together are kept below the size of those in use, or below 256 MiB if that is more; what
was idle for longest goes back to the system first.
"""

from __future__ import annotations

import ctypes
import functools
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
_SMALLEST_MAPPED = 1 << 20  # from here on blocks are mapped, hence aligned to pages
_MAPS_PRIVATELY = hasattr(mmap, "MAP_PRIVATE") and hasattr(mmap, "MAP_ANONYMOUS")


@final
class _Block:
    """A piece of memory. kind: the type of its owners, one for each size."""

    __slots__ = ("address", "kind", "returned", "size", "storage")

    def __init__(self, size: int, kind: type[Any]) -> None:
        self.size = size
        self.kind = kind
        self.storage = _storage(size)
        start: int = self.storage.ctypes.data
        self.address = -(-start // _ALIGNMENT) * _ALIGNMENT
        self.returned = 0  # counts the blocks that came back before


def _storage(size: int) -> np.ndarray[Any, Any]:
    """Bytes that keep their memory alive; `size` of them follow the first aligned one."""
    if size < _SMALLEST_MAPPED or not _MAPS_PRIVATELY:
        return np.empty(size + _ALIGNMENT, np.uint8)
    mapped = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            mapped.madvise(mmap.MADV_HUGEPAGE)
        except OSError:  # a kernel without them
            pass
    return np.frombuffer(mapped, np.uint8)


@final
class Pool:
    """Idle blocks by size.

    Blocks come back whenever an owner dies, in any thread and in the midst of anything, also of the
    methods below. So that is noted first, in a queue, and seen to when nobody else does. The lock
    may be taken again by its holder for the same reason.

    live_bytes, idle_bytes: the sizes of the blocks in use, and of those in the pool.
    """

    def __init__(self) -> None:
        self.live_bytes = 0
        self.idle_bytes = 0
        self._idle: dict[int, deque[_Block]] = {}  # of a size, the last to come back at the end
        self._kinds: dict[int, type[Any]] = {}
        self._returned: deque[_Block] = deque()
        self._count_returned = 0
        self._lock = threading.RLock()

    def take(self, size: int) -> Any:
        """The owner of a block of `size` bytes, which `size_of_block` gave."""
        with self._lock:
            if self._returned:
                self._collect()
            self.live_bytes += size
            blocks = self._idle.get(size)
            if blocks:
                block = blocks.pop()
                self.idle_bytes -= size
            else:
                block = self._new(size)
        owner = block.kind.from_address(block.address)
        owner.block = block
        return owner

    def trim(self, most_idle: int) -> None:
        """Give blocks back to the system until no more than `most_idle` bytes are idle."""
        with self._lock:
            self._collect()
            self._trim(most_idle)

    def forget_lock(self) -> None:
        """Have a new lock: in the child of a fork, the one who held the old one may be gone."""
        self._lock = threading.RLock()

    def _new(self, size: int) -> _Block:
        kind = self._kinds.get(size)
        if kind is None:
            kind = self._kinds[size] = self._kind(size)
        try:
            return _Block(size, kind)
        except (MemoryError, OSError):
            self._trim(0)
        try:
            return _Block(size, kind)
        except (MemoryError, OSError):
            self.live_bytes -= size
            raise MemoryError(f"no memory for a block of {size} bytes") from None

    def _kind(self, size: int) -> type[Any]:
        give = self._give  # which the end of the interpreter leaves in place, unlike globals

        def __del__(owner: Any) -> None:
            give(owner.block)

        names = {"__slots__": ("block",), "__del__": __del__, "__module__": __name__}
        return type("Memory", (ctypes.c_char * size,), names)

    def _give(self, block: _Block) -> None:
        self._returned.append(block)
        if self._lock.acquire(blocking=False):
            try:
                self._collect()
            finally:
                self._lock.release()

    def _collect(self) -> None:
        while self._returned:
            block = self._returned.popleft()
            self._count_returned += 1
            block.returned = self._count_returned
            size = block.size
            blocks = self._idle.get(size)
            if blocks is None:
                blocks = self._idle[size] = deque()
            blocks.append(block)
            self.live_bytes -= size
            self.idle_bytes += size
        if self.idle_bytes > IDLE_BYTES_ALLOWED and self.idle_bytes > self.live_bytes:
            self._trim(max(IDLE_BYTES_ALLOWED, self.live_bytes))

    def _trim(self, most_idle: int) -> None:
        while self.idle_bytes > most_idle:
            oldest = min((b for b in self._idle.values() if b), key=lambda b: b[0].returned)
            self.idle_bytes -= oldest.popleft().size


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
    return _pool.take(size_of_block(nbytes))


def array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An array with any contents, as `np.empty` gives it, but with memory of the pool."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < SMALLEST_POOLED or dtype.hasobject:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, _pool.take(size_of_block(nbytes)))


def maker(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Callable[[], np.ndarray[Any, Any]]:
    """A function that gives such an array at each call, for outputs that are made again and again.

    >>> make = maker((512, 512), np.dtype(np.float32))
    >>> make().shape
    (512, 512)
    """
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < SMALLEST_POOLED or dtype.hasobject:
        return functools.partial(np.empty, shape, dtype)
    size, take, ndarray = size_of_block(nbytes), _pool.take, np.ndarray
    return lambda: ndarray(shape, dtype, take(size))


def live_bytes() -> int:
    """The size of all blocks in use."""
    return _pool.live_bytes


def idle_bytes() -> int:
    """The size of all blocks that wait to be used again."""
    return _pool.idle_bytes


def trim(most_idle: int = 0) -> None:
    """Give idle memory back to the system, but for `most_idle` bytes."""
    _pool.trim(most_idle)

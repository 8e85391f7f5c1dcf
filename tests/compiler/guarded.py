"""Memory in front of pages that cannot be read."""

import ctypes
import mmap
import sys

import numpy as np

from fstensor.array import from_buffer


def guarded(size):
    """`size` bytes, and whatever keeps them, with unreadable memory right behind them."""
    page = mmap.PAGESIZE
    pages = -(-size // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    whole = np.frombuffer(memory, np.uint8)
    if sys.platform != "win32":
        libc = ctypes.CDLL(None, use_errno=True)
        behind = ctypes.c_void_p(whole.ctypes.data + pages * page)
        assert libc.mprotect(behind, ctypes.c_size_t(page), 0) == 0
    return whole[pages * page - size : pages * page]


def in_guarded_memory(values):
    """An array of the values, behind which nothing can be read."""
    memory = guarded(values.nbytes)[: values.nbytes] if values.nbytes else np.zeros(0, np.uint8)
    result = memory.view(values.dtype).reshape(values.shape)
    result[...] = values
    return from_buffer(result)

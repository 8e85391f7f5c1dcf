"""Where Python's objects keep their fields, for native code that reads them.

The places are looked for once, in objects that are known. In an interpreter that keeps its objects
in another way than CPython they might not be found.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fstensor.array import ConcreteArray, from_buffer


@functools.cache
def data_offset() -> int:
    """Where an ndarray keeps the address of its elements, in bytes from the object's own."""
    probes = [np.zeros(n) for n in (1, 3, 7)]
    values = [p.__array_interface__["data"][0] for p in probes]
    return _needed("address", place(probes, values, np.ndarray.__basicsize__))


@functools.cache
def flags_offset() -> int:
    """Where an ndarray keeps its flags, a number of 32 bits."""
    whole = np.zeros((4, 6), np.float32)
    shifted = np.zeros(9, np.uint8)[1:].view(np.float32)
    row = np.broadcast_to(whole, whole.shape)
    probes = [whole, whole[:, 1:3], whole.T, whole[::-1], shifted, row]
    values = [p.flags.num for p in probes]
    return _needed("flags", place(probes, values, np.ndarray.__basicsize__, ctypes.c_int32))


class ArrayPlaces(NamedTuple):
    """Where an Array keeps its class, its aval and its buffer; an ndarray's class is there too."""

    kind: int
    aval: int
    buffer: int


@functools.cache
def array_places() -> ArrayPlaces | None:
    """None where they are not to be had.

    That is also so where Python runs several threads at a time: one might delete an Array while
    another looks at it.
    """
    probes = [from_buffer(np.zeros(n)) for n in (1, 3, 7)]
    size = ConcreteArray.__basicsize__
    kinds = [id(object), id(str), id(ConcreteArray)]
    kind = place([object(), "x", probes[0]], kinds, object.__basicsize__)
    aval = place(probes, [id(x.aval) for x in probes], size)
    buffer = place(probes, [id(x._buffer) for x in probes], size)
    if kind is None or aval is None or buffer is None or not _has_lock():
        return None
    return ArrayPlaces(kind, aval, buffer)


def _has_lock() -> bool:
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def place(
    probes: Sequence[Any], values: Sequence[int], size: int, kind: Any = ctypes.c_size_t
) -> int | None:
    """Where each of the probes, of `size` bytes, has its value; None unless there is one place."""
    step = ctypes.sizeof(kind)
    found = [
        place
        for place in range(0, size - step + 1, step)
        if all(
            kind.from_address(id(p) + place).value == v for p, v in zip(probes, values, strict=True)
        )
    ]
    return found[0] if len(found) == 1 else None


def _needed(what: str, found: int | None) -> int:
    if found is None:
        raise RuntimeError(f"numpy: an ndarray does not keep its {what} where it is looked for")
    return found

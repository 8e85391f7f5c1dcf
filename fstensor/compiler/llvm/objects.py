"""Tuples of Python's objects, looked at by native code: one call in place of a step for each.

Native code reads fields of objects, whose places are looked for once, in objects that are known.
Where they are not found, as they might not be in another interpreter than CPython, there is
None in place of a function, and its user does the same in Python.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fstensor.array import ConcreteArray, from_buffer
from fstensor.compiler.llvm import engine
from fstensor.core.aval import ShapedArray

_WORD = ctypes.sizeof(ctypes.c_void_p)
ITEMS = tuple.__basicsize__  # where a tuple has the addresses of its objects
# Of NumPy's flags: in row-major order, and aligned. They are parts of its ABI.
_PLAIN_FLAGS = 0x0001 | 0x0100
# From so many objects on, one native call takes less time than a step of Python for each.
FEWEST = 8
# Their addresses are other ones in each process, so that code takes them from here.
_KINDS = (ConcreteArray, np.ndarray)


@functools.cache
def data_offset() -> int:
    """Where an ndarray keeps the address of its elements, in bytes from the object's own."""
    probes = [np.zeros(n) for n in (1, 3, 7)]
    for offset in (16, 32, 24, 40):
        found = [ctypes.c_size_t.from_address(id(p) + offset).value for p in probes]
        if found == [p.__array_interface__["data"][0] for p in probes]:
            return offset
    raise RuntimeError("numpy: an ndarray does not keep its address where it is looked for")


def block_of(size: int) -> Callable[[tuple[Any, ...]], Any]:
    """A function that gives a new ctypes array of so many words, with the addresses of objects."""
    block = ctypes.c_void_p * size
    if not tuples_are_known():
        return lambda objects: block(*map(id, objects))
    move, word = ctypes.memmove, _WORD

    def filled(objects: tuple[Any, ...]) -> Any:
        words = block()
        move(words, id(objects) + ITEMS, word * len(objects))
        return words

    return filled


@functools.cache
def tuples_are_known() -> bool:
    """Whether a tuple holds the addresses of its objects behind what all tuples have."""
    probe = (object(), "x", np.zeros(2))
    return tuple(_words(id(probe) + ITEMS, len(probe))) == tuple(map(id, probe))


@functools.cache
def matcher() -> Callable[[tuple[Any, ...], tuple[ShapedArray, ...]], bool] | None:
    """A function that compares arguments with as many avals that are expected.

    It says whether each is a ConcreteArray with that very aval, and with an ndarray in it.
    """
    probes = [from_buffer(np.zeros(n)) for n in (1, 3, 7)]
    size = ConcreteArray.__basicsize__
    aval = _place(probes, [id(x.aval) for x in probes], size)
    buffer = _place(probes, [id(x._buffer) for x in probes], size)
    kinds = [id(object), id(str), id(ConcreteArray)]
    kind = _place([object(), "x", probes[0]], kinds, object.__basicsize__)
    if aval is None or buffer is None or kind is None or not tuples_are_known() or not _has_lock():
        return None
    body = f"""
  %x_kind_at = getelementptr i8, ptr %x, i64 {kind}
  %x_kind = load ptr, ptr %x_kind_at
  %array_kind = load ptr, ptr %kinds
  %is_array = icmp eq ptr %x_kind, %array_kind
  br i1 %is_array, label %array, label %no
array:
  %aval_at = getelementptr i8, ptr %x, i64 {aval}
  %aval = load ptr, ptr %aval_at
  %expected_at = getelementptr ptr, ptr %others, i64 %i
  %expected = load ptr, ptr %expected_at
  %is_expected = icmp eq ptr %aval, %expected
  br i1 %is_expected, label %typed, label %no
typed:
  %buffer_at = getelementptr i8, ptr %x, i64 {buffer}
  %buffer = load ptr, ptr %buffer_at
  %is_deleted = icmp eq ptr %buffer, null
  br i1 %is_deleted, label %no, label %kept
kept:
  %buffer_kind_at = getelementptr i8, ptr %buffer, i64 {kind}
  %buffer_kind = load ptr, ptr %buffer_kind_at
  %ndarray_kind_at = getelementptr ptr, ptr %kinds, i64 1
  %ndarray_kind = load ptr, ptr %ndarray_kind_at
  %good = icmp eq ptr %buffer_kind, %ndarray_kind
"""
    native, kinds_at = _compiled("fst_match", body), id(_KINDS) + ITEMS

    def match(leaves: tuple[Any, ...], avals: tuple[ShapedArray, ...]) -> bool:
        return bool(native(kinds_at, id(leaves) + ITEMS, id(avals) + ITEMS, len(leaves)))

    return match


def plainness(count: int) -> Callable[[tuple[np.ndarray[Any, Any], ...]], bool]:
    """A function that says whether all of `count` ndarrays lie in row-major order, and aligned."""
    native = _native_plainness() if count >= FEWEST else None
    return native or _are_plain


def _are_plain(arrays: tuple[np.ndarray[Any, Any], ...]) -> bool:
    for x in arrays:
        flags = x.flags
        if not (flags.c_contiguous and flags.aligned):
            return False
    return True


@functools.cache
def _native_plainness() -> Callable[[tuple[np.ndarray[Any, Any], ...]], bool] | None:
    whole = np.zeros((4, 6), np.float32)
    shifted = np.zeros(9, np.uint8)[1:].view(np.float32)
    probes = [
        whole,
        whole[:, 1:3],
        whole.T,
        whole[::-1],
        shifted,
        np.broadcast_to(whole, whole.shape),
    ]
    flags = [p.flags.num for p in probes]
    at = _place(probes, flags, np.ndarray.__basicsize__, ctypes.c_int32)
    if at is None or not tuples_are_known():
        return None
    body = f"""
  %flags_at = getelementptr i8, ptr %x, i64 {at}
  %flags = load i32, ptr %flags_at
  %both = and i32 %flags, {_PLAIN_FLAGS}
  %good = icmp eq i32 %both, {_PLAIN_FLAGS}
"""
    native = _compiled("fst_plain", body)

    def are_plain(arrays: tuple[np.ndarray[Any, Any], ...]) -> bool:
        return bool(native(0, id(arrays) + ITEMS, 0, len(arrays)))

    return are_plain


def _has_lock() -> bool:
    """Whether Python runs one thread at a time, so that arrays are not deleted meanwhile."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


_libraries: list[engine.Compiled] = []  # which live as long as their code may be called


def _compiled(name: str, body: str) -> Callable[[int, int, int, int], int]:
    """A function of the addresses of kinds, of items, of others that go with them, and a number.

    It says whether `%good` holds after `body` for each item `%x`.
    """
    text = f"""
define i64 @{name}(ptr %kinds, ptr %items, ptr %others, i64 %count) {{
start:
  br label %head
head:
  %i = phi i64 [0, %start], [%next, %tail]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %item, label %yes
item:
  %at = getelementptr ptr, ptr %items, i64 %i
  %x = load ptr, ptr %at
{body.strip(chr(10))}
  br i1 %good, label %tail, label %no
tail:
  %next = add i64 %i, 1
  br label %head
yes:
  ret i64 1
no:
  ret i64 0
}}
"""
    with engine.exchange({}):  # it is no part of the program that is compiled just now
        library = engine.compile_module(text)
    _libraries.append(library)
    # Python's lock is held meanwhile, so that nobody changes the objects.
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    return ctypes.PYFUNCTYPE(number, pointer, pointer, pointer, number)(library.address(name))


def _place(
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


def _words(address: int, count: int) -> list[int]:
    return list((ctypes.c_size_t * count).from_address(address))

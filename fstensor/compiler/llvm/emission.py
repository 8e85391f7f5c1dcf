"""Object code by several threads at once, each of a part of a module."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import llvmlite.binding as llvm

_LAST_KNOWN_LLVM = 22
# Begins the object code of several parts, followed by how many there are, and how long each is.
_SEVERAL = b"fstensor objects"


def emit_object(machine: Any, module: Any) -> bytes:
    """The object code of a module, while other threads emit that of others.

    llvmlite lets one thread into LLVM at a time, though modules and machines of their own are all
    that threads need to be apart. So its lock is gone around, where it is where it was looked for.
    """
    entry = llvm.ffi.lib.LLVMPY_TargetMachineEmitToMemory
    unlocked = getattr(entry, "_cfn", None)
    if unlocked is None:
        code: bytes = machine.emit_object(module)
        return code
    with llvm.ffi.OutputString() as error:
        buffer = unlocked(machine, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    lib = llvm.ffi.lib
    try:
        return ctypes.string_at(lib.LLVMPY_GetBufferStart(buffer), lib.LLVMPY_GetBufferSize(buffer))
    finally:
        lib.LLVMPY_DisposeMemoryBuffer(buffer)


@contextlib.contextmanager
def without_strength_reduction() -> Iterator[None]:
    """Leave out a pass that takes a third of the time, and makes our loops no faster.

    The option is one of the whole process, so that it is put back for other users of LLVM. LLVM
    ends the process for an option that it does not know: none is set for unknown versions.
    """
    if llvm.llvm_version_info[0] > _LAST_KNOWN_LLVM:
        yield
        return
    llvm.set_option("", "-disable-lsr=true")
    try:
        yield
    finally:
        llvm.set_option("", "-disable-lsr=false")


def at_once(works: Sequence[Callable[[], bytes]]) -> list[bytes]:
    """What some functions give, each called by a thread of its own. Raises what one has raised."""
    results: list[bytes] = [b""] * len(works)
    errors: list[BaseException] = []

    def run(k: int) -> None:
        try:
            results[k] = works[k]()
        except BaseException as error:  # for the caller's thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(1, len(works))]
    for t in threads:
        t.start()
    run(0)
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


def joined(parts: Sequence[bytes]) -> bytes:
    """The object code of the parts of a module as one."""
    if len(parts) == 1:
        return parts[0]
    numbers = [len(parts), *map(len, parts)]
    return b"".join([_SEVERAL, *(n.to_bytes(8, "little") for n in numbers), *parts])


def taken_apart(code: bytes) -> list[bytes]:
    """The object code of each part. Raises: RuntimeError for what was cut off."""
    if not code.startswith(_SEVERAL):
        return [code]
    words = memoryview(code)[len(_SEVERAL) :]
    count = int.from_bytes(words[:8], "little")
    sizes = [int.from_bytes(words[8 * k : 8 * k + 8], "little") for k in range(1, count + 1)]
    place, found = len(_SEVERAL) + 8 * (count + 1), []
    for size in sizes:
        found.append(code[place : place + size])
        place += size
    if place != len(code):
        raise RuntimeError("object code: it is not whole")
    return found

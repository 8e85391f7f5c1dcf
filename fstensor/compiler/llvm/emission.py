"""Object code by several threads at once, each of a part of a module."""

from __future__ import annotations

import contextlib
import ctypes
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import llvmlite.binding as llvm

from fstensor.compiler.llvm.text import Part

_LAST_KNOWN_LLVM = 22
# Begins the object code of several parts, followed by how many there are, and how long each is.
_SEVERAL = b"fstensor objects"
_SHORT_TURN = 2e-4  # seconds

_without = 0  # how many blocks are without strength reduction


def emit_object(machine: Any, module: Any) -> bytes:
    """The object code of a module, while other threads emit that of others."""
    emit = _unlocked("LLVMPY_TargetMachineEmitToMemory")
    if emit is None:
        code: bytes = machine.emit_object(module)
        return code
    with llvm.ffi.OutputString() as error:
        buffer = emit(machine, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    lib = llvm.ffi.lib
    try:
        return ctypes.string_at(lib.LLVMPY_GetBufferStart(buffer), lib.LLVMPY_GetBufferSize(buffer))
    finally:
        lib.LLVMPY_DisposeMemoryBuffer(buffer)


def parse(text: str, context: Any) -> Any:
    """A module from its text, in a context of its own, while other threads are in LLVM."""
    parsed = _unlocked("LLVMPY_ParseAssembly")
    if parsed is None:
        return llvm.parse_assembly(text, context)
    with llvm.ffi.OutputString() as error:
        module = llvm.ModuleRef(parsed(context, text.encode(), error), context)
        if error:
            module.close()
            raise RuntimeError(f"LLVM IR parsing error\n{error}")
    return module


def _unlocked(name: str) -> Any:
    """A function of llvmlite's library, without its lock; None where that is not to be had.

    It lets one thread into LLVM at a time, though modules, contexts and machines of their own are
    all that threads need to be apart. So its lock is gone around, where it is where it was looked
    for.
    """
    return getattr(getattr(llvm.ffi.lib, name), "_cfn", None)


@contextlib.contextmanager
def without_strength_reduction() -> Iterator[None]:
    """Leave out a pass that takes a third of the time, and makes our loops no faster.

    The option is one of the whole process, so that it is put back for other users of LLVM. LLVM
    ends the process for an option that it does not know: none is set for unknown versions. Blocks
    may stand in each other, in one thread at a time.
    """
    if llvm.llvm_version_info[0] > _LAST_KNOWN_LLVM:
        yield
        return
    global _without
    _without += 1
    llvm.set_option("", "-disable-lsr=true")
    try:
        yield
    finally:
        _without -= 1
        if not _without:
            llvm.set_option("", "-disable-lsr=false")


_turns = threading.Lock()
_wanting_short = 0  # how many blocks want short turns
_usual_turn = 0.0


@contextlib.contextmanager
def short_turns() -> Iterator[None]:
    """Let threads have the interpreter soon after they ask for it.

    One that emits code needs it between calls, for some microseconds, while another has it to write
    the next module.
    """
    global _wanting_short, _usual_turn
    with _turns:
        _wanting_short += 1
        if _wanting_short == 1:
            _usual_turn = sys.getswitchinterval()
            sys.setswitchinterval(min(_usual_turn, _SHORT_TURN))
    try:
        yield
    finally:
        with _turns:
            _wanting_short -= 1
            if not _wanting_short:
                sys.setswitchinterval(_usual_turn)


@final
class Crew:
    """Threads that emit the object code of parts, while the caller goes on to write others.

    size: how many they are, with the caller's, which helps once it waits for results. emit: gives
    the code of a part; its first argument is the number of the thread, from 0 for the caller's.
    """

    def __init__(self, size: int, emit: Callable[[int, Part], bytes]) -> None:
        self._size, self._emit = size, emit
        self._todo: queue.SimpleQueue[tuple[int, Part] | None] = queue.SimpleQueue()
        self._codes: list[bytes] = []
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def add(self, part: Part) -> None:
        """Have a part compiled."""
        self._todo.put((len(self._codes), part))
        self._codes.append(b"")
        if not self._threads:
            numbers = range(1, self._size)
            self._threads = [threading.Thread(target=self._work, args=(k,)) for k in numbers]
            for t in self._threads:
                t.start()

    def results(self) -> list[bytes]:
        """The object code of all parts, in their order. Raises what a thread has raised."""
        self._end()
        self._work(0)
        self._join()
        if self._errors:
            raise self._errors[0]
        return self._codes

    def dismiss(self) -> None:
        """Wait for the threads to end. What they have not begun is left undone."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._todo.get_nowait()
        self._end()
        self._join()

    def _end(self) -> None:
        """Let all threads end, the caller's too, when all before is done."""
        for _ in range(self._size):
            self._todo.put(None)

    def _join(self) -> None:
        for t in self._threads:
            t.join()
        self._threads = []

    def _work(self, number: int) -> None:
        while (item := self._todo.get()) is not None:
            try:
                self._codes[item[0]] = self._emit(number, item[1])
            except BaseException as error:  # for the caller's thread
                self._errors.append(error)


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

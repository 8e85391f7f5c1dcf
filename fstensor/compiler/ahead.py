"""What every native program needs, loaded and compiled by another thread, ahead of its use.

It begins with the first function that is to be compiled, before that one is called.
"""

from __future__ import annotations

import contextlib
import os
import threading

from fstensor.compiler.threads import usable_cpus

_lock = threading.Lock()
_thread: threading.Thread | None = None


def begin() -> None:
    """Start the thread, at the first call, where there is a processor for it."""
    global _thread
    with _lock:
        if _thread is not None:
            return
        _thread = threading.Thread(target=_make_ready, name="fstensor-ahead")
        if usable_cpus() > 1:
            with contextlib.suppress(RuntimeError):  # no more threads
                _thread.start()


def is_at_work() -> bool:
    return _thread is not None and _thread.is_alive()


def wait() -> None:
    """Wait until the thread is done, if there is one."""
    if _thread is not None and is_at_work() and _thread is not threading.current_thread():
        _thread.join()


def _make_ready() -> None:
    # Whoever needs any of this finds it made, waits for it, or meets the error himself.
    with contextlib.suppress(Exception):
        from fstensor.compiler.llvm import emission, entry, library

        with emission.short_turns():
            entry.make_ready()
            library.make_ready()


# The child of a fork would find modules half imported, by a thread that it does not have.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=wait)

"""Where the user's code enters the package: what happens to errors on their way out.

The frames inside the package are taken out of an error's traceback, so that what is left are lines
of the user's. And while leaks are looked for, each way out is where tracers must be gone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, cast

from fstensor.config import config
from fstensor.core import leaks, source_info
from fstensor.core.state import state
from fstensor.errors import FstensorError

F = TypeVar("F", bound=Callable[..., Any])

_NOTE = (
    "frames inside fstensor are folded; "
    'fstensor.config.update("traceback_filtering", "off") shows them'
)


def boundary(function: F) -> F:
    """Decorator of what users call and what calls their functions in turn."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            fold(error)
            raise
        if state.watched:
            leaks.check()
        return result

    return cast(F, call)


def fold(error: BaseException) -> None:
    """Take the package's frames out of the traceback of an error, and of those that it came from.

    Of an error that is not our own the innermost frame stays, wherever it is: it may be a bug. A
    bare `raise` that follows adds no frame.
    """
    leaks.forget()
    if config.traceback_filtering == "off":
        return
    folded = False
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        e = waiting.pop()
        if e is None or id(e) in seen:
            continue
        seen.add(id(e))
        waiting += [e.__cause__, e.__context__]
        frames = _frames(e.__traceback__)
        kept = [
            tb
            for i, tb in enumerate(frames)
            if not source_info.is_own(tb.tb_frame.f_code)
            or (i == len(frames) - 1 and not isinstance(e, FstensorError))
        ]
        if len(kept) < len(frames):
            folded = True
            e.__traceback__ = _chained(kept)
    if folded and _NOTE not in getattr(error, "__notes__", ()):
        error.add_note(_NOTE)


def _frames(tb: TracebackType | None) -> list[TracebackType]:
    frames = []
    while tb is not None:
        frames.append(tb)
        tb = tb.tb_next
    return frames


def _chained(frames: list[TracebackType]) -> TracebackType | None:
    """A traceback of these frames. It is a new one: somebody may hold on to the whole."""
    chain: TracebackType | None = None
    for tb in reversed(frames):
        chain = TracebackType(chain, tb.tb_frame, tb.tb_lasti, tb.tb_lineno)
    return chain

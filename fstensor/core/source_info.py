"""Where in the user's own code a thing happened.

Capturing must cost well under a microsecond, since every traced equation does it: it keeps a code
object and an instruction offset, and turns them into a file and a line only when asked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, TypeVar

import numpy as np

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# NumPy calls back into the package; who called NumPy is what the user wants to know.
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
# Code in these folders is written as a user would write it, and is reported as such.
_USER_FOLDERS = (_PACKAGE + "examples" + os.sep,)

# Whether code belongs to the package (or to Python and NumPy), or how it does.
_internal: dict[CodeType, bool | str] = {}
_REPLAYS = "replays equations"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """One place in the user's code: a code object and the offset of an instruction in it."""

    code: CodeType
    offset: int

    @property
    def file(self) -> str:
        return self.code.co_filename

    @property
    def function(self) -> str:
        return self.code.co_name

    @property
    def line(self) -> int:
        # co_positions has one entry per two-byte code unit.
        for i, (line, *_) in enumerate(self.code.co_positions()):
            if i == self.offset // 2 and line is not None:
                return line
        return self.code.co_firstlineno

    def __str__(self) -> str:
        return f"{_shorten(self.file)}:{self.line}"


def capture() -> SourceInfo | None:
    """The innermost frame outside the package, or None when there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        internal = _internal.get(code)
        if internal is None:
            internal = _internal[code] = _is_internal(code)
        if internal is not True:
            if not internal:
                return SourceInfo(code, frame.f_lasti)
            eqn = frame.f_locals.get("eqn")  # none yet in a program without equations
            found: SourceInfo | None = None if eqn is None else eqn.source_info
            if found is not None:
                return found
        frame = frame.f_back
    return None


R = TypeVar("R", bound=Callable[..., Any])


def replays(function: R) -> R:
    """Decorator: `function` applies recorded equations again, each as its local variable `eqn`.

    What is recorded meanwhile comes from where that equation did, not from who asks for it now.
    """
    _internal[function.__code__] = _REPLAYS
    return function


def describe_function(function: object) -> str:
    """`name at file:line` of a Python callable, or its name alone when it is not the user's."""
    function = _unwrapped(function)
    name = getattr(function, "__name__", None) or repr(function)
    code = getattr(function, "__code__", None)
    if code is None or _is_internal(code):
        return name
    return f"{name} at {_shorten(code.co_filename)}:{code.co_firstlineno}"


def is_own(code: CodeType) -> bool:
    """Whether code belongs to this package, or was written by it."""
    file = code.co_filename
    return file.startswith("<fstensor") or (
        file.startswith(_PACKAGE) and not file.startswith(_USER_FOLDERS)
    )


def user_stacklevel() -> int:
    """The `stacklevel` with which the caller's `warnings.warn` points at the user's line."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_internal(frame.f_code):
        frame = frame.f_back
        level += 1
    return level


def is_own_function(function: object) -> bool:
    """Whether a function is one of the package's own."""
    code = getattr(_unwrapped(function), "__code__", None)
    return code is not None and is_own(code)


def _unwrapped(function: object) -> object:
    """The function inside of decorators and partial applications."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return getattr(function, "func", function)


def _is_internal(code: CodeType) -> bool:
    file = code.co_filename
    return file.startswith(("<frozen", _NUMPY)) or file == "<string>" or is_own(code)


def _shorten(file: str) -> str:
    """`file` as seen from the working directory when it lies below it."""
    here = os.getcwd() + os.sep
    return file[len(here) :] if file.startswith(here) else file

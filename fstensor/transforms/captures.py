"""ndarrays that a jitted function refers to without taking them as arguments.

Their values at the time of tracing are in the program. An ndarray can be written into, and the
program would go on with the old values in silence; so each call compares what it cheaply can.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NoReturn, final

import numpy as np

from fstensor.array import ConcreteArray
from fstensor.config import config
from fstensor.core import source_info
from fstensor.errors import MutatedCaptureError

_WHOLE = 16384  # bytes of an array that is compared whole; that takes a microsecond or two
_SAMPLES = 64  # elements of a larger one


@final
class Capture:
    """An ndarray, or a part of one, with the values that it had when it was traced."""

    __slots__ = ("_copy", "_place", "_root", "_sample", "aval")

    def __init__(self, x: np.ndarray[Any, Any], copy: ConcreteArray) -> None:
        root = _root_of(x)
        # The array is its owner's: it lives here no longer than there. A view that the function
        # makes is gone after tracing, so that it is known by its place in what it is a view of.
        self._root = weakref.ref(root)
        self._place = None
        if root is not x:
            start = x.ctypes.data - root.ctypes.data
            self._place = (x.shape, x.dtype, start, x.strides)
        self.aval = copy.aval
        self._copy = copy
        self._sample = _sampled(copy._buffer)

    @property
    def alive(self) -> bool:
        return self._root() is not None

    @property
    def key(self) -> Any:
        return id(self._root()), self._place

    def is_changed(self, whole: bool) -> bool:
        x = self._now()
        if x is None:
            return False
        if x.shape != self.aval.shape:  # by ndarray.resize
            return True
        if whole:
            return bool(x.tobytes() != self._copy._buffer.tobytes())
        return _sampled(x) != self._sample

    def _now(self) -> np.ndarray[Any, Any] | None:
        """The array as it is, None when it is gone."""
        root = self._root()
        if root is None or self._place is None:
            return root
        shape, dtype, start, strides = self._place
        try:
            return np.ndarray(shape, dtype, root, start, strides)
        except (TypeError, ValueError, BufferError):  # no one block of memory, or not any more
            return None

    def name_in(self, function: Callable[..., Any]) -> str:
        """The variable of `function` that holds the array; "" when there is none."""
        function = getattr(function, "__wrapped__", function)
        code = getattr(function, "__code__", None)
        root = self._root()
        if code is None or root is None:
            return ""
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        names = {n: c.cell_contents for n, c in cells if c is not None}
        scope = function.__globals__
        names |= {n: scope[n] for n in code.co_names if n in scope}
        return next((n for n, value in names.items() if _root_of(value) is root), "")


def _root_of(x: Any) -> Any:
    """The array that owns the memory of a view; what is no ndarray is its own."""
    while isinstance(x, np.ndarray) and isinstance(x.base, np.ndarray):
        x = x.base
    return x


def _sampled(x: np.ndarray[Any, Any]) -> bytes:
    if x.nbytes <= _WHOLE:
        return x.tobytes()
    return x.flat[:: x.size // _SAMPLES].tobytes()


@final
class Captures:
    """What is told of copies made while a function is traced."""

    def __init__(self) -> None:
        self._found: list[Capture] = []

    def add(self, x: np.ndarray[Any, Any], copy: ConcreteArray) -> None:
        if x.dtype == copy.dtype and not x.dtype.hasobject:
            self._found.append(Capture(x, copy))

    def extend(self, captures: tuple[Capture, ...]) -> None:
        self._found.extend(captures)

    def remaining(self) -> tuple[Capture, ...]:
        """Those that live on: what the function made for itself is gone when it is traced."""
        return tuple({c.key: c for c in reversed(self._found) if c.alive}.values())


def check_captures(captures: tuple[Capture, ...], function: Callable[..., Any]) -> None:
    """Raises MutatedCaptureError when a captured ndarray is seen to differ from what was traced."""
    mode = config.check_captures
    if mode == "off":
        return
    for c in captures:
        if c.is_changed(mode == "all"):
            _complain(c, function)


def _complain(capture: Capture, function: Callable[..., Any]) -> NoReturn:
    name = capture.name_in(function)
    raise MutatedCaptureError(
        f"jit: {source_info.describe_function(function)} was traced with the values that the NumPy "
        f"array {name + ', ' if name else ''}{capture.aval}{',' if name else ''} had then, but it "
        "has been written into since; pass it as an argument, or call clear_cache() of the jitted "
        "function after each change"
    )

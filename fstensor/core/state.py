"""What each thread holds while it traces: the only global state besides the configuration."""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from fstensor.core.trace import Trace

T = TypeVar("T")


class State(threading.local):
    """The current trace, the mapped axes in scope, and a context in which NumPy never warns.

    Each thread starts at the bottom trace, which `core.trace` enters here as `root`.
    """

    root: Trace

    def __init__(self) -> None:
        if hasattr(State, "root"):
            self.trace = State.root
        self.axes: dict[Any, int] = {}
        # Who is told when a value of the user's is copied into the program that jit traces.
        self.captures: Any = None
        # Whether the programs that run now are parts of one that jit compiled.
        self.compiled = False
        # Traces that have been made, while leaks of their tracers are looked for.
        self.watched: list[weakref.ref[Trace]] = []
        # NumPy keeps its floating-point error handling in a context variable; running a primitive
        # in this context costs a tenth of entering np.errstate.
        self.quiet = _context(all="ignore")
        # `quiet.run` while no transform is at work, else None: eager calls ask for no more.
        self.at_once: Callable[..., Any] | None = self.quiet.run


def _context(**errors: Any) -> contextvars.Context:
    """A context of its own, in which NumPy handles floating-point errors like that."""
    context = contextvars.copy_context()
    context.run(np.seterr, **errors)
    return context


state = State()


def run_outside(function: Callable[..., T], *args: Any) -> T:
    """Call the user's function from within an operation as if outside of every transform.

    The context that the operation runs in cannot be entered twice, so that operations within
    `function` get another; its own NumPy code sees NumPy's usual handling of errors.
    """
    before = (
        state.trace,
        state.axes,
        state.captures,
        state.compiled,
        state.quiet,
        state.at_once,
    )
    state.trace, state.axes, state.captures, state.compiled = State.root, {}, None, False
    state.quiet = _context(all="ignore")
    state.at_once = state.quiet.run
    try:
        usual = _context(divide="warn", over="warn", under="ignore", invalid="warn")
        return usual.run(function, *args)
    finally:
        (
            state.trace,
            state.axes,
            state.captures,
            state.compiled,
            state.quiet,
            state.at_once,
        ) = before

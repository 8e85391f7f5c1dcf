"""Looking for tracers that outlive the call that made them.

A function under a transform that stores a tracer somewhere leaves a value behind that no call can
use. That is told when it is used; here it is told when the call ends, and who holds it.
"""

from __future__ import annotations

import gc
from types import CellType, FrameType, ModuleType
from typing import Any, NoReturn

from fstensor.core.state import state
from fstensor.core.trace import Trace, Tracer
from fstensor.errors import UnexpectedTracerError


def check() -> None:
    """Raises UnexpectedTracerError when tracers live whose traces have ended."""
    if not _ended():
        return
    gc.collect()
    traces = _ended()
    forget()
    leaked = [x for t in traces for x in gc.get_referrers(t) if isinstance(x, Tracer)]
    if leaked:
        _complain(leaked)


def forget() -> None:
    """Stop watching traces that have ended: an error on its way out may hold their tracers."""
    if state.watched:
        alive = [r for r in state.watched if (trace := r()) is not None and trace.alive]
        state.watched[:] = alive


def _ended() -> list[Trace]:
    found = [r() for r in state.watched]
    return [trace for trace in found if trace is not None and not trace.alive]


def _complain(leaked: list[Tracer]) -> NoReturn:
    """Raise for the first tracer that somebody but other tracers holds."""
    tracer, held = leaked[0], ""
    for x in leaked:
        found = _holders(x, leaked)
        if found:
            tracer, held = x, f", held by {' and '.join(found)}"
            break
    trace = tracer._trace
    raise UnexpectedTracerError(
        f"leaked tracer: a value traced by {trace.transform} of {trace.function} outlives the "
        f"call, got {tracer.aval}{tracer._origin()}{held}; return it from the function instead of "
        "storing it elsewhere"
    )


def _holders(x: Tracer, leaked: list[Tracer]) -> list[str]:
    found: list[str] = []
    for holder in gc.get_referrers(x):  # in no nested scope, whose cell would be a holder
        text = "" if holder is leaked else _describe(holder, x)
        if text and text not in found:
            found.append(text)
    return found


def _describe(holder: Any, x: Tracer) -> str:
    """Who a holder is, as a user would say it; "" for what is no place of the user's."""
    if isinstance(holder, (FrameType, Tracer, Trace)):
        return ""
    if isinstance(holder, CellType):
        return "a variable of an enclosing function"
    if isinstance(holder, dict):
        return _describe_dict(holder, x)
    names = [n for n, value in getattr(holder, "__dict__", {}).items() if value is x]
    if names:
        return f"the attribute {names[0]!r} of a {type(holder).__name__}"
    return f"a {type(holder).__name__}"


def _describe_dict(holder: dict[Any, Any], x: Tracer) -> str:
    key = next((k for k, value in list(holder.items()) if value is x), None)
    for owner in gc.get_referrers(holder):
        if getattr(owner, "__dict__", None) is holder:
            if isinstance(owner, ModuleType):
                return f"the global variable {key!r} of {owner.__name__}"
            return f"the attribute {key!r} of a {type(owner).__name__}"
    return f"the global variable {key!r}" if "__builtins__" in holder else f"key {key!r} of a dict"

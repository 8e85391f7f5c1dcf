"""What each thread holds while it traces: the only global state besides the configuration."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fstensor.core.trace import Trace


class State(threading.local):
    """The current trace, the mapped axes in scope, and a context in which NumPy never warns.

    Each thread starts at the bottom trace, which `core.trace` enters here as `root`.
    """

    root: Trace

    def __init__(self) -> None:
        if hasattr(State, "root"):
            self.trace = State.root
        self.axes: dict[Any, int] = {}
        # NumPy keeps its floating-point error handling in a context variable; running a primitive
        # in this context costs a tenth of entering np.errstate.
        self.quiet = contextvars.copy_context()
        self.quiet.run(np.seterr, all="ignore")


state = State()

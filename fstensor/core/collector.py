"""Python's collector of garbage, kept from work that is in vain."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Leave garbage for a while: nearly all of what a compiler makes goes without a collector.

    It would look through all objects of the process several times.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

"""How values lie in memory: in row-major order, at places that suit vectors."""

from __future__ import annotations

import math

from fstensor.core.jaxpr import Var

ALIGNMENT = 64  # bytes; of scratch memory, and of each value in it


def size_of(v: Var) -> int:
    """Bytes of a value in memory."""
    return math.prod(v.aval.shape) * v.aval.dtype.itemsize


def aligned(size: int) -> int:
    """The first place from `size` on that suits vectors."""
    return -(-size // ALIGNMENT) * ALIGNMENT

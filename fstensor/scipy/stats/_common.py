"""What the distributions share."""

from __future__ import annotations

import math

from fstensor import dtypes
from fstensor.array import Array, ArrayLike
from fstensor.errors import DtypeError
from fstensor.numpy.promote import cast, constant, equal_ranks, result_pair, select


def floats(what: str, *args: ArrayLike) -> list[Array]:
    """The operands as floats of one dtype and rank. Raises: DtypeError for complex ones."""
    dtype, weak = result_pair(what, args)
    if dtypes.is_complex(dtype):
        raise DtypeError(f"{what}: takes real numbers, got {dtypes.name(dtype)}")
    return equal_ranks([cast(what, x, dtypes.to_inexact(dtype), weak) for x in args])


def within(condition: Array, value: Array, outside: float) -> Array:
    """`value` where the condition holds, else the number `outside`."""
    return select(condition, value, constant(outside, value))


def inside(condition: Array, x: Array, instead: float) -> Array:
    """`x`, with a harmless number outside of the support, so that derivatives there are finite."""
    return select(condition, x, constant(instead, x))


NEVER = -math.inf

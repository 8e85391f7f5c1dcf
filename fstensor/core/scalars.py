"""Python scalars as operands: buffers and avals of them, each made once."""

from __future__ import annotations

import functools
from typing import Any, TypeAlias

import numpy as np

from fstensor import dtypes
from fstensor.core.aval import ShapedArray
from fstensor.errors import ScalarOverflowError

Scalar: TypeAlias = bool | int | float | complex


@functools.cache
def aval(dtype: np.dtype[Any], weak_type: bool) -> ShapedArray:
    return ShapedArray((), dtype, weak_type)


_MOST = 4096
_buffers: dict[Any, np.ndarray[Any, Any]] = {}


def buffer(x: Scalar, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A 0-d buffer of a Python scalar, remembered: programs use the same few again and again."""
    signed_zero = x == 0 or isinstance(x, complex)  # 0.0 equals -0.0, and 1+0j equals 1-0j
    key = (x.__class__, x, dtype, signed_zero and repr(x))
    found = _buffers.get(key)
    if found is None:
        if len(_buffers) >= _MOST:
            _buffers.clear()
        found = _buffers[key] = _new_buffer(x, dtype)
    return found


def _new_buffer(x: Scalar, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if isinstance(x, int) and dtypes.is_integer(dtype):
        least, greatest = _bounds(dtype)
        if not least <= x <= greatest:
            raise ScalarOverflowError(
                f"scalar: must lie between {least} and {greatest} for "
                f"{dtypes.name(dtype)}, got {x}; name a wider dtype, as in numpy.int64({x})"
            )
    with np.errstate(all="ignore"):  # a float too large for its dtype is infinite
        made = np.array(x, dtype)
    made.flags.writeable = False
    return made


@functools.cache
def _bounds(dtype: np.dtype[Any]) -> tuple[int, int]:
    limits = dtypes.iinfo(dtype)
    return int(limits.min), int(limits.max)

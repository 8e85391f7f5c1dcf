"""Where values are: on devices, in NumPy, ready or not, and whether functions are compiled."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from fstensor import device as device_lib
from fstensor import tree
from fstensor.array import Array, is_array_like, lift
from fstensor.config import config
from fstensor.device import Device
from fstensor.errors import ArgumentError
from fstensor.ops.convert import DevicePut


def device_put(x: Any, device: str | Device | None = None) -> Any:
    """The tree `x` with each leaf as an Array on `device`, by default where new arrays are made.

    Without `device`, Arrays stay where they are.
    Raises: ArgumentError for a leaf that is no array or scalar, DeviceError for no such device.
    """
    chosen = None if device is None else device_lib.canonical_device(device)

    def put(leaf: Any) -> Array:
        if isinstance(leaf, Array) and chosen is None:
            return leaf
        target = device_lib.current_default_device() if chosen is None else chosen
        placed: Array = DevicePut(target).bind(_array("device_put", leaf))
        return placed

    return tree.map(put, x)


def device_get(x: Any) -> Any:
    """The tree `x` with each leaf as an ndarray, read-only where it shares memory with an Array.

    Raises: TracerArrayConversionError for a traced leaf, ArgumentError for one that is no array.
    """
    return tree.map(lambda leaf: np.asarray(_array("device_get", leaf)), x)


def block_until_ready(x: Any) -> Any:
    """Wait until every array in the tree `x` is computed, and return `x`."""
    for leaf in tree.leaves(x):
        if isinstance(leaf, Array):
            leaf.block_until_ready()
    return x


def disable_jit(disable: bool = True) -> AbstractContextManager[None]:
    """Within the block, `jit` calls the Python function itself, so that it can be debugged.

    >>> import fstensor as fst
    >>> with fst.disable_jit():
    ...     fst.jit(lambda x: print(type(x).__name__))(1)
    int
    """
    return config.override(disable_jit=disable)


def _array(what: str, leaf: Any) -> Array:
    if not is_array_like(leaf):
        raise ArgumentError(
            f"{what}: takes trees of arrays and scalars, got a leaf of type {type(leaf).__name__}"
        )
    return lift(leaf)

"""What this namespace offers, in the form that the array API standard asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from fstensor import device as device_lib
from fstensor import dtypes
from fstensor.device import Device
from fstensor.errors import OptionError

_KINDS = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8", "uint16", "uint32", "uint64"),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
}
_WIDER_KINDS = {
    "integral": ("signed integer", "unsigned integer"),
    "numeric": ("signed integer", "unsigned integer", "real floating", "complex floating"),
}


class ArrayNamespaceInfo:
    """Capabilities, devices and dtypes of `fstensor.numpy`."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean masks and sizes that depend on values work outside of transforms."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        return device_lib.current_default_device()

    def default_dtypes(self, *, device: str | Device | None = None) -> dict[str, np.dtype[Any]]:
        """The dtypes of arrays that are made without naming one; they are one for all devices.

        Raises: DeviceError for a device that there is not.
        """
        _check(device)
        return {
            "real floating": dtypes.default_float(),
            "complex floating": dtypes.default_complex(),
            "integral": dtypes.default_int(),
            "indexing": dtypes.default_int(),
        }

    def devices(self) -> tuple[Device, ...]:
        return tuple(device_lib.devices())

    def dtypes(
        self, *, device: str | Device | None = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, np.dtype[Any]]:
        """The standard's dtypes by name, or those of a kind; they are one for all devices.

        Raises: OptionError for another kind, DeviceError for a device that there is not.
        """
        _check(device)
        if kind is None:
            kinds = tuple(_KINDS)
        elif isinstance(kind, tuple):
            kinds = tuple(k for one in kind for k in _WIDER_KINDS.get(one, (one,)))
        else:
            kinds = _WIDER_KINDS.get(kind, (kind,))
        unknown = [k for k in kinds if k not in _KINDS]
        if unknown:
            raise OptionError(
                f"dtypes: kind must be one of {', '.join([*_KINDS, *_WIDER_KINDS])}, "
                f"got {unknown[0]!r}"
            )
        return {name: dtypes.canonical(name) for k in kinds for name in _KINDS[k]}


def _check(device: str | Device | None) -> None:
    if device is not None:
        device_lib.canonical_device(device)


def __array_namespace_info__() -> ArrayNamespaceInfo:
    """Capabilities, devices and dtypes of this namespace, for users of the array API standard."""
    return ArrayNamespaceInfo()


@final
@dataclass(frozen=True)
class FloatLimits:
    """What `finfo` gives: NumPy's attributes, those with a fraction as Python floats."""

    dtype: np.dtype[Any]
    bits: int
    eps: float
    epsneg: float
    max: float
    min: float
    tiny: float
    smallest_normal: float
    smallest_subnormal: float
    resolution: float
    precision: int
    nmant: int
    nexp: int
    iexp: int
    machep: int
    negep: int
    maxexp: int
    minexp: int


def finfo(dtype: Any) -> FloatLimits:
    """The limits of a float dtype (of the parts of a complex one), or of an array's dtype.

    They are Python floats, as the array API standard asks: exact, and weak, so that `x + eps` keeps
    the dtype of x. `fstensor.dtypes.finfo` gives NumPy scalars.
    Raises: DtypeError unless inexact.
    """
    limits = dtypes.finfo(dtype)
    values: dict[str, Any] = {}
    for name, field in FloatLimits.__dataclass_fields__.items():
        value = getattr(limits, name)
        values[name] = float(value) if field.type == "float" else value
    return FloatLimits(**values)

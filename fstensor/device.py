"""Devices, and which array module serves the buffers on each.

A buffer is an `np.ndarray` on the CPU or a `cupy.ndarray` on a GPU; primitives are evaluated by the
module that made their operands. CuPy is imported only when a GPU is named.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any, final

import numpy as np

from fstensor.config import config
from fstensor.errors import DeviceError


@final
class Device(str):
    """The name of a device, `"cpu"` or `"cuda:0"`; equal to that string."""

    __slots__ = ()

    @property
    def platform(self) -> str:
        """`"cpu"` or `"cuda"`."""
        return self.partition(":")[0]

    @property
    def id(self) -> int:
        return int(self.partition(":")[2] or 0)

    def __repr__(self) -> str:
        return f"Device({str(self)!r})"


CPU = Device("cpu")


class _Default(threading.local):
    device: Device = CPU


_default = _Default()


def _cupy() -> ModuleType:
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device: CuPy is not installed, so there is no cuda device; "
            "install fstensor[cuda12] or fstensor[cuda13]"
        ) from error
    return cupy


def devices(backend: str | None = None) -> list[Device]:
    """The devices of this machine, or those of one backend ("cpu", "cuda" or "gpu").

    Raises: DeviceError when the backend has none here.
    """
    if backend in (None, "cpu"):
        found = [CPU]
        if backend is None:
            try:
                count = _cupy().cuda.runtime.getDeviceCount()
            except Exception:  # no CuPy, no driver or no GPU: in each case no cuda device
                count = 0
            found += [Device(f"cuda:{i}") for i in range(count)]
        return found
    if backend not in ("cuda", "gpu"):
        raise DeviceError(f"devices: no backend {backend!r}; there are 'cpu' and 'cuda'")
    return [Device(f"cuda:{i}") for i in range(_cupy().cuda.runtime.getDeviceCount())]


def canonical_device(device: str | Device) -> Device:
    """Check a device's name and complete it: `"cuda"` is `"cuda:0"`."""
    name = str(device)
    if name == "cpu" or name == "cpu:0":
        return CPU
    platform, _, index = name.partition(":")
    if platform in ("cuda", "gpu") and (index or "0").isdigit():
        _cupy()
        return Device(f"cuda:{index or 0}")
    raise DeviceError(f"device: no device {name!r}; names are 'cpu' and 'cuda:0'")


def current_default_device() -> Device:
    return _default.device


def default_is_cpu() -> bool:
    return _default.device is CPU


@contextmanager
def default_device(device: str | Device) -> Iterator[None]:
    """Within the block, new arrays of this thread are made on `device`."""
    chosen, before = canonical_device(device), _default.device
    with nullcontext() if chosen is CPU and before is CPU else config.unusual():
        _default.device = chosen
        try:
            yield
        finally:
            _default.device = before


def is_cupy(buffer: object) -> bool:
    return type(buffer).__module__.partition(".")[0] == "cupy"


def device_of(buffer: Any) -> Device:
    if isinstance(buffer, (np.ndarray, np.generic)):
        return CPU
    return Device(f"cuda:{buffer.device.id}")


def array_module(device: Device) -> ModuleType:
    return np if device == CPU else _cupy()


def move(buffer: Any, device: Device) -> Any:
    """The buffer itself if it lies on `device`, else a copy there. Random keys stay on the host."""
    source = device_of(buffer)
    if source == device or stays_on_host(buffer):
        return buffer
    if source != CPU:
        buffer = buffer.get()
    if device == CPU:
        return buffer
    cupy = _cupy()
    with cupy.cuda.Device(device.id):
        return cupy.asarray(buffer)


def stays_on_host(buffer: Any) -> bool:
    """Whether these are random keys or tapes: CuPy has no dtypes for them, and they are small."""
    return buffer.dtype.names is not None or buffer.dtype.kind == "O"


def home_of(buffers: Sequence[Any]) -> Device:
    """The device on which an operation on `buffers`, known to lie on one, takes place."""
    return next((d for b in buffers if (d := device_of(b)) != CPU), current_default_device())


def unify(buffers: Sequence[Any]) -> tuple[ModuleType, list[Any]]:
    """The array module for an operation on `buffers`; 0-d operands follow the others' device.

    Raises: DeviceError when the rest lie on two devices.
    """
    homes = {device_of(b): b for b in buffers if b.ndim > 0 and not stays_on_host(b)}
    if len(homes) > 1:
        got = " and ".join(f"{b.dtype}{list(b.shape)} on {d}" for d, b in homes.items())
        raise DeviceError(
            f"operands must lie on one device, got {got}; move one with device_put(x, device)"
        )
    home = next(iter(homes)) if homes else home_of(buffers)
    return array_module(home), [move(b, home) for b in buffers]

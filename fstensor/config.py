"""Settings. `config.update(name, value)` holds for the process, `config.override` for a block.

An override belongs to one thread and is undone on the way out, also by an exception.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fstensor.errors import OptionError

_VALID: dict[str, tuple[Any, ...]] = {
    "default_dtype_bits": (32, 64),
    "disable_jit": (False, True),
}


class _Overrides(threading.local):
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}


class Config:
    """All settings, with their values for the calling thread.

    default_dtype_bits: 32 or 64. The width of dtypes that nobody named: of `zeros(3)`, `arange(3)`,
        of Python scalars, and of floats made from integers. 64-bit arrays are allowed either way.
    disable_jit: when true, `jit` calls the Python function itself, so that values can be printed
        and a debugger can stop inside.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {"default_dtype_bits": 32, "disable_jit": False}
        self._overrides = _Overrides()

    @property
    def default_dtype_bits(self) -> int:
        return self._read("default_dtype_bits")

    @property
    def disable_jit(self) -> bool:
        return self._read("disable_jit")

    def _read(self, name: str) -> Any:
        overrides = self._overrides.values
        return overrides[name] if name in overrides else self._values[name]

    def update(self, name: str, value: Any) -> None:
        """Set `name` for the whole process. Raises OptionError for an unknown name or value."""
        self._values[_checked(name, value)] = value

    @contextmanager
    def override(self, **settings: Any) -> Iterator[None]:
        """Set some settings for this thread within a `with` block."""
        for name, value in settings.items():
            _checked(name, value)
        before = self._overrides.values
        self._overrides.values = {**before, **settings}
        try:
            yield
        finally:
            self._overrides.values = before

    def tracing_key(self) -> tuple[Any, ...]:
        """The settings that change what tracing yields: part of every trace cache's key."""
        return (self.default_dtype_bits,)


def _checked(name: str, value: Any) -> str:
    if name not in _VALID:
        raise OptionError(f"config: no setting {name!r}; there are {', '.join(sorted(_VALID))}")
    if value not in _VALID[name]:
        raise OptionError(
            f"config: {name} takes {' or '.join(map(repr, _VALID[name]))}, got {value!r}"
        )
    return name


config = Config()

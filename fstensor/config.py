"""Settings. `config.update(name, value)` holds for the process, `config.override` for a block.

An override belongs to one thread and is undone on the way out, also by an exception.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from fstensor.errors import OptionError

_VALID: dict[str, tuple[Any, ...]] = {
    "default_dtype_bits": (32, 64),
    "disable_jit": (False, True),
    "debug_nans": (False, True),
    "debug_infs": (False, True),
    "check_indices": (False, True),
    "check_captures": ("sample", "all", "off"),
    "check_tracer_leaks": (False, True),
    "explain_retraces": ("auto", True, False),
    "executor": ("llvm", "numpy"),
    "log_compiles": (False, True),
    "traceback_filtering": ("fold", "off"),
    "threads": ("auto",),
}

# Whole numbers that a setting takes, too.
_NUMBERS: dict[str, range] = {"threads": range(1, 1025)}

_ALIASES = {"explain_cache_misses": "explain_retraces"}

# The settings that make operations look at values.
_CHECKS = ("debug_nans", "debug_infs", "check_indices")


class _Overrides(threading.local):
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}


class Config:
    """All settings, with their values for the calling thread.

    default_dtype_bits: 32 or 64. The width of dtypes that nobody named: of `zeros(3)`, `arange(3)`,
        of Python scalars, and of floats made from integers. 64-bit arrays are allowed either way.
    disable_jit: when true, `jit` calls the Python function itself, so that values can be printed
        and a debugger can stop inside.
    check_captures: whether a jitted function complains at a call that an ndarray which it refers to
        has been written into since it was traced. "sample" compares arrays up to 16 KiB whole, and
        some elements of larger ones; "all" compares every element; "off" none.
    check_tracer_leaks: raise when a transformed function keeps a tracer beyond its call, as under
        `checking_leaks`, which sets this for a block.
    explain_retraces: whether a jitted function that is traced again says which argument changed, in
        a RetraceWarning. "auto" says it once, at the sixth signature of a function; True always;
        False never. `explain_cache_misses` is another name of it.
    executor: what runs jitted functions on the CPU. "llvm" compiles them to native code; "numpy"
        runs one operation after the other by NumPy, and is what the other is tested against. Where
        llvmlite cannot be loaded, programs run by NumPy after a warning, and setting "llvm" raises.
    log_compiles: log each function that is traced and compiled, its signature and the seconds that
        it took, by the logger "fstensor.jit" at the level WARNING.
    traceback_filtering: "fold" takes the frames inside this package out of the tracebacks of errors
        that pass through a transform; "off" leaves them.
    threads: how many threads compiled programs run on. "auto" is the number of processors that the
        process may use, at most 64. A change takes effect with the next call of a program.
    debug_nans: when true, the first operation that returns a NaN raises NonFiniteError, which names
        it, its line, and the ranges of its operands. In compiled programs, too, each operation is
        looked at, so that they run slower.
    debug_infs: the same for infinities.
    check_indices: when true, an index that is only known when the program runs, and that lies
        outside of its axis, raises OutOfBoundsError. It otherwise reads the nearest element, and
        writes nothing. Where a mode was chosen ("clip", "fill", "drop", "wrap"), that mode counts.
        Branches and steps that run for nothing, as under vmap of a choice, are looked at, too.
    checking: whether one of the last three is on in some thread. Operations read it each time, so
        that it is a plain attribute.
    usual_bits: what operations ask first: default_dtype_bits while all threads use the settings of
        the process, look at no values, and have the CPU as their default device; else 0.
    stamp: what calls of jitted functions ask: then a number, equal for equal settings; else None.
    """

    checking: bool
    usual_bits: int
    stamp: int | None

    def __init__(self) -> None:
        self._values: dict[str, Any] = {
            "default_dtype_bits": 32,
            "disable_jit": False,
            "check_captures": "sample",
            "check_tracer_leaks": False,
            "explain_retraces": "auto",
            "executor": "llvm",
            "log_compiles": False,
            "traceback_filtering": "fold",
            "threads": "auto",
            **dict.fromkeys(_CHECKS, False),
        }
        self._conditions: dict[tuple[str, Any], Callable[[], str]] = {}
        self._version = 0
        self._overrides = _Overrides()
        self._lock = threading.Lock()
        self._blocks_that_check = 0
        self._blocks = 0
        self._note()

    @property
    def default_dtype_bits(self) -> int:
        return self._read("default_dtype_bits")

    @property
    def disable_jit(self) -> bool:
        return self._read("disable_jit")

    @property
    def check_captures(self) -> str:
        return self._read("check_captures")

    @property
    def check_tracer_leaks(self) -> bool:
        return self._read("check_tracer_leaks")

    @property
    def explain_retraces(self) -> str | bool:
        return self._read("explain_retraces")

    @property
    def executor(self) -> str:
        return self._read("executor")

    @property
    def log_compiles(self) -> bool:
        return self._read("log_compiles")

    @property
    def traceback_filtering(self) -> str:
        return self._read("traceback_filtering")

    @property
    def threads(self) -> int | str:
        return self._read("threads")

    @property
    def debug_nans(self) -> bool:
        return self._read("debug_nans")

    @property
    def debug_infs(self) -> bool:
        return self._read("debug_infs")

    @property
    def check_indices(self) -> bool:
        return self._read("check_indices")

    def _read(self, name: str) -> Any:
        overrides = self._overrides.values
        return overrides[name] if name in overrides else self._values[name]

    def require(self, name: str, value: Any, why_not: Callable[[], str]) -> None:
        """Let nobody set this value where `why_not` gives a reason."""
        self._conditions[name, value] = why_not

    def _checked(self, name: str, value: Any) -> str:
        name = _checked(name, value)
        why_not = self._conditions.get((name, value))
        reason = why_not() if why_not is not None else ""
        if reason:
            raise OptionError(f"config: {name} cannot be {value!r} here, {reason}")
        return name

    def update(self, name: str, value: Any) -> None:
        """Set `name` for the whole process. Raises OptionError for an unknown name or value."""
        checked = self._checked(name, value)
        self._values[checked] = value
        self._version += 1
        self._note()

    def _note(self, blocks: int = 0, that_check: int = 0) -> None:
        """Count blocks that are entered, or left."""
        with self._lock:
            self._blocks += blocks
            self._blocks_that_check += that_check
            everywhere = any(self._values[name] for name in _CHECKS)
            self.checking = everywhere or self._blocks_that_check > 0
            usual = not (self.checking or self._blocks)
            self.usual_bits = self._values["default_dtype_bits"] if usual else 0
            self.stamp = self._version if usual else None

    @contextmanager
    def unusual(self) -> Iterator[None]:
        """Within the block `usual_bits` is 0, in all threads."""
        self._note(1)
        try:
            yield
        finally:
            self._note(-1)

    @contextmanager
    def override(self, **settings: Any) -> Iterator[None]:
        """Set some settings for this thread within a `with` block."""
        checked = {self._checked(name, value): value for name, value in settings.items()}
        checks = any(checked.get(name) for name in _CHECKS)
        before = self._overrides.values
        self._overrides.values = {**before, **checked}
        self._note(1, checks)
        try:
            yield
        finally:
            self._overrides.values = before
            self._note(-1, -checks)

    def tracing_key(self) -> tuple[Any, ...]:
        """The settings that change what tracing yields: part of every trace cache's key."""
        return (self.default_dtype_bits, self.checking and self.check_indices)


def _checked(name: str, value: Any) -> str:
    """The name of a setting, which may be given as JAX's: `jax_disable_jit`."""
    name = name.removeprefix("jax_")
    name = _ALIASES.get(name, name)
    if name not in _VALID:
        raise OptionError(f"config: no setting {name!r}; there are {', '.join(sorted(_VALID))}")
    numbers = _NUMBERS.get(name, range(0))
    if value not in _VALID[name] and not (type(value) is int and value in numbers):
        allowed = [*map(repr, _VALID[name])]
        allowed += [f"an int from {numbers[0]} to {numbers[-1]}"] if numbers else []
        raise OptionError(f"config: {name} takes {' or '.join(allowed)}, got {value!r}")
    return name


config = Config()


def debug_nans(enable: bool = True) -> AbstractContextManager[None]:
    """Within the block, the first operation that returns a NaN raises NonFiniteError.

    >>> import fstensor as fst
    >>> with fst.debug_nans(True):
    ...     fst.numpy.log(-1.0)
    Traceback (most recent call last):
        ...
    fstensor.errors.NonFiniteError: log: the result must have no NaN while debug_nans is on, ...
    """
    return config.override(debug_nans=enable)


def debug_infs(enable: bool = True) -> AbstractContextManager[None]:
    """Within the block, the first operation that returns an infinity raises NonFiniteError."""
    return config.override(debug_infs=enable)


def checking_leaks(enable: bool = True) -> AbstractContextManager[None]:
    """Within the block, a transformed function that keeps a tracer beyond its call raises.

    UnexpectedTracerError comes at the end of that call, and tells where the tracer was made and who
    holds it. Where a leak is suspected, garbage is collected first.
    """
    return config.override(check_tracer_leaks=enable)


def log_compiles(enable: bool = True) -> AbstractContextManager[None]:
    """Within the block, each function that is traced and compiled is logged, with the seconds."""
    return config.override(log_compiles=enable)


def explain_cache_misses(enable: bool = True) -> AbstractContextManager[None]:
    """Within the block, a RetraceWarning tells why a jitted function is traced again, each time."""
    return config.override(explain_retraces=enable)

"""NumPy's own functions on Arrays: which of ours stands for each.

`np.sin(x)` of an Array, concrete or traced, arrives here through `__array_ufunc__`, `np.sum(x)`
through `__array_function__`. The function of the same name in `fstensor.numpy` takes over, so that
NumPy code can be differentiated and compiled. What has no counterpart raises; nothing is ignored.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from fstensor.array import Array, ConcreteArray
from fstensor.errors import (
    ArgumentError,
    ImmutableArrayError,
    OptionError,
    TracerArrayConversionError,
)

# The versions of the array API standard that this namespace follows.
API_VERSIONS = ("2022.12", "2023.12", "2024.12", "2025.12")

# The array API's and NumPy's names for methods of ufuncs.
_REDUCTIONS = {
    np.add: "sum",
    np.multiply: "prod",
    np.maximum: "max",
    np.minimum: "min",
    np.logical_and: "all",
    np.logical_or: "any",
}
_RUNNING = {np.add: "cumsum", np.multiply: "cumprod"}

# What writes into its first argument, an ndarray.
_WRITERS = (np.copyto, np.fill_diagonal, np.place, np.put, np.putmask)

# SciPy's special functions are ufuncs; they are known by name, so that SciPy is not imported. These
# are the names that differ from those of `fstensor.scipy.special`.
_SPECIAL = {"psi": "digamma", "_riemann_zeta": "zeta", "_zeta": "zeta"}


def _namespace() -> ModuleType:
    return sys.modules["fstensor.numpy"]


@functools.cache
def _counterparts() -> dict[Any, Callable[..., Any]]:
    """Ours for each function and ufunc of NumPy's main namespace, its `fft` and its `linalg`."""
    found = {}
    pairs = [(_namespace(), np), (_namespace().fft, np.fft), (_namespace().linalg, np.linalg)]
    for ours, numpys in pairs:
        for name in ours.__all__:
            theirs, own = getattr(numpys, name, None), getattr(ours, name)
            if callable(theirs) and not isinstance(theirs, type) and callable(own):
                found[theirs] = own
    return found


def dispatch_ufunc(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What `__array_ufunc__` returns: the call of a ufunc, or of one of its methods.

    Raises: ArgumentError for a ufunc or a keyword without counterpart, TracerArrayConversionError
    when a traced result is to be written into an ndarray, ImmutableArrayError for `out` an Array.
    """
    if kwargs.get("out") is not None or method == "at":
        return _write(ufunc, method, inputs, kwargs)
    ours, name = _namespace(), ufunc.__name__
    if method == "__call__":
        function = _counterparts().get(ufunc)
        if function is None:
            function = _special(name)
        if function is None:
            raise _unknown(name)
        if kwargs:
            raise ArgumentError(
                f"{name}: of Arrays takes no keyword arguments, got {', '.join(kwargs)}; "
                "convert dtypes with astype, and choose elements with fstensor.numpy.where"
            )
        return function(*inputs)
    if method == "reduce" and ufunc in _REDUCTIONS:
        options = {"axis": 0, **kwargs}
        if len(inputs) > 1:
            options["axis"] = inputs[1]
            inputs = inputs[:1]
        return _call(f"{name}.reduce", getattr(ours, _REDUCTIONS[ufunc]), inputs, options)
    if method == "accumulate" and ufunc in _RUNNING:
        options = {"axis": 0, **kwargs}
        return _call(f"{name}.accumulate", getattr(ours, _RUNNING[ufunc]), inputs, options)
    if method == "outer" and not kwargs:
        x, y = map(ours.asarray, inputs)
        return dispatch_ufunc(ufunc, "__call__", (x.reshape(*x.shape, *[1] * y.ndim), y), {})
    raise _unknown(f"{name}.{method}")


def _special(name: str) -> Callable[..., Any] | None:
    """Ours for SciPy's ufunc of this name; loaded when needed, as it stands above this module.

    And for the ufunc behind `ndarray.clip`, which has no public name.
    """
    if name == "clip":
        return _namespace().clip
    special = importlib.import_module("fstensor.scipy.special")
    name = _SPECIAL.get(name, name)
    return getattr(special, name) if name in special.__all__ else None


def _write(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A ufunc that writes into an ndarray, as `n += x` does: NumPy's own work, on values."""
    targets = kwargs.get("out") or inputs[:1]
    if any(isinstance(t, Array) for t in targets):
        raise ImmutableArrayError(
            f"{ufunc.__name__}: arrays are immutable, so an Array cannot be written into; "
            "use the result that is returned, or x.at[...]"
        )
    for x in (*inputs, kwargs.get("where")):
        if isinstance(x, Array) and not isinstance(x, ConcreteArray):
            raise TracerArrayConversionError(
                f"{ufunc.__name__}: a traced {x.aval} has no values to write into an ndarray; "
                "bind a new name to the result: n = n + x instead of n += x"
            )
    return getattr(ufunc, method)(*_values(inputs), **_values(kwargs))


def _values(args: Any) -> Any:
    if isinstance(args, dict):
        return {k: np.asarray(x) if isinstance(x, Array) else x for k, x in args.items()}
    return [np.asarray(x) if isinstance(x, Array) else x for x in args]


def _write_by_function(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A function that writes into an ndarray, as `np.copyto(n, x)` does: NumPy's, on values."""
    name = func.__name__
    if args and isinstance(args[0], Array):
        raise ImmutableArrayError(
            f"{name}: arrays are immutable, got {args[0].aval} to be written into; "
            "use x.at[...].set(value), or fstensor.numpy.where"
        )
    for x in (*args, *kwargs.values()):
        if isinstance(x, Array) and not isinstance(x, ConcreteArray):
            raise TracerArrayConversionError(
                f"{name}: a traced {x.aval} has no values to write into an ndarray; use "
                "fstensor.numpy.asarray(n).at[...].set(value), or fstensor.numpy.where or full_like"
            )
    return func(*_values(args), **_values(kwargs))


def dispatch_function(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What `__array_function__` returns: a call of the function of the same name.

    Raises: ArgumentError for a function or a keyword argument without counterpart;
        TracerArrayConversionError and ImmutableArrayError as `dispatch_ufunc` does.
    """
    name = getattr(func, "__name__", repr(func))
    if func in _WRITERS:
        return _write_by_function(func, args, kwargs)
    ours = _counterparts().get(func)
    if ours is None:
        raise _unknown(name)
    return _call(name, ours, args, kwargs)


def _call(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    # NumPy marks arguments that were not given by an object of its own.
    given = {k: v for k, v in kwargs.items() if v is not np._NoValue}
    if given.get("order") == "C" and "order" not in _signature(function).parameters:
        del given["order"]  # the default of `np.ones`, which it passes on beside `like`
    try:
        _signature(function).bind(*args, **given)
    except TypeError as error:
        raise ArgumentError(
            f"{name}: fstensor.numpy.{function.__name__} does not take these arguments "
            f"({error}); pass np.asarray(x) for NumPy's own"
        ) from None
    return function(*args, **given)


_signature = functools.cache(inspect.signature)


def _unknown(name: str) -> ArgumentError:
    return ArgumentError(
        f"{name}: has no counterpart in fstensor.numpy; "
        "pass np.asarray(x) to NumPy outside of transforms"
    )


def array_namespace(api_version: str | None = None) -> ModuleType:
    """`fstensor.numpy`, as an implementation of the array API standard.

    Raises: OptionError for a version that it does not follow.
    """
    if api_version is not None and api_version not in API_VERSIONS:
        raise OptionError(
            f"array API: versions {', '.join(API_VERSIONS)} are followed, got {api_version!r}"
        )
    return _namespace()

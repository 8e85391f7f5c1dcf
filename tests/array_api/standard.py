"""What the array API standard, version 2025.12, lists: names and signatures.

array-api-strict refuses what the standard does not promise, so that what it takes must work in
`fstensor.numpy`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import array_api_strict as strict

import fstensor.numpy as fnp

strict.set_array_api_strict_flags(api_version="2025.12")

# Names of array-api-strict itself.
_OWN = {
    "ArrayAPIStrictFlags",
    "Device",
    "__array_api_version__",
    "__version__",
    "get_array_api_strict_flags",
    "reset_array_api_strict_flags",
    "set_array_api_strict_flags",
}
EXTENSIONS = ("fft", "linalg")
NAMES = [name for name in strict.__all__ if name not in _OWN] + [
    f"{extension}.{name}" for extension in EXTENSIONS for name in getattr(strict, extension).__all__
]
# New in 2025.12; array-api-strict 2.6.1 has them, but does not list them.
NAMES += [name for name in ("linalg.eig", "linalg.eigvals") if name not in NAMES]
CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
BOOL = ("bool",)
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGER = SIGNED + UNSIGNED
REAL_FLOATING = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
FLOATING = REAL_FLOATING + COMPLEX
REAL = INTEGER + REAL_FLOATING
NUMERIC = REAL + COMPLEX
DTYPES = BOOL + NUMERIC
FUNCTIONS = [
    name for name in NAMES if name not in (*CONSTANTS, *DTYPES, *EXTENSIONS, "from_dlpack")
] + ["from_dlpack"]

METHODS = [
    "__abs__",
    "__add__",
    "__and__",
    "__array_namespace__",
    "__bool__",
    "__complex__",
    "__dlpack__",
    "__dlpack_device__",
    "__eq__",
    "__float__",
    "__floordiv__",
    "__ge__",
    "__getitem__",
    "__gt__",
    "__index__",
    "__int__",
    "__invert__",
    "__le__",
    "__lshift__",
    "__lt__",
    "__matmul__",
    "__mod__",
    "__mul__",
    "__ne__",
    "__neg__",
    "__or__",
    "__pos__",
    "__pow__",
    "__rshift__",
    "__setitem__",
    "__sub__",
    "__truediv__",
    "__xor__",
    "__radd__",
    "__rand__",
    "__rfloordiv__",
    "__rlshift__",
    "__rmatmul__",
    "__rmod__",
    "__rmul__",
    "__ror__",
    "__rpow__",
    "__rrshift__",
    "__rsub__",
    "__rtruediv__",
    "__rxor__",
    "to_device",
]
ATTRIBUTES = ("T", "device", "dtype", "mT", "ndim", "shape", "size")


def find(namespace: Any, name: str) -> Any:
    """What a name, dotted for an extension, means in a namespace."""
    for part in name.split("."):
        namespace = getattr(namespace, part)
    return namespace


def ours(name: str) -> Callable[..., Any]:
    return find(fnp, name)


def theirs(name: str) -> Callable[..., Any]:
    return find(strict, name)


def ways_to_call(signature: inspect.Signature) -> list[tuple[list[str], dict[str, str]]]:
    """Calls that a signature allows, with the parameters' names for values.

    All parameters by position as far as possible, all by name as far as possible, and those
    without a default alone.
    """
    kinds = inspect.Parameter
    given = [p for p in signature.parameters.values() if p.kind is not kinds.VAR_POSITIONAL]
    first = [p.name for p in given if p.kind is kinds.POSITIONAL_ONLY]
    either = [p.name for p in given if p.kind is kinds.POSITIONAL_OR_KEYWORD]
    named = {p.name: p.name for p in given if p.kind is kinds.KEYWORD_ONLY}
    needed = [p.name for p in given if p.default is kinds.empty]
    return [
        (first + either, named),
        (first, dict.fromkeys(either) | named),
        ([n for n in first + either if n in needed], {n: n for n in named if n in needed}),
    ]

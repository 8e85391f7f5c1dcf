"""A text for what a program does, the same in each process that traces it."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import os
from typing import Any

import numpy as np

from fstensor import dtypes
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Literal, Var
from fstensor.core.primitive import Primitive


class NoFingerprintError(Exception):
    """A parameter of an operation is no plain value: a Python function, say."""


def fingerprint(program: ClosedJaxpr) -> str:
    """A hash of the equations of a program, not of the values of its constants.

    Raises: NoFingerprintError.
    """
    return hashlib.sha256(f"{_sources()}\n{_program(program)}".encode()).hexdigest()


@functools.cache
def _sources() -> str:
    """The compiler's own files: another one may write other code for the same program."""
    package, paths = os.path.dirname(os.path.dirname(__file__)), []
    todo = [os.path.join(package, part) for part in ("compiler", "core", "ops", "control")]
    while todo:  # pathlib takes three times as long, in each process
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    paths.append(entry.path)
                elif entry.is_dir():
                    todo.append(entry.path)
    found = hashlib.sha256()
    for path in sorted(paths):
        with open(path, "rb", buffering=0) as file:
            found.update(file.read())
    return found.hexdigest()


def _program(closed: ClosedJaxpr) -> str:
    j = closed.jaxpr
    numbers: dict[Var, int] = {}

    def define(v: Var) -> str:
        numbers[v] = len(numbers)
        return _aval(v.aval)

    def use(a: Atom) -> str:
        if isinstance(a, Literal):
            return f"{_aval(a.aval)}:{np.asarray(a.value).tobytes().hex()}"
        return str(numbers[a])

    lines = [" ".join(map(define, j.constvars)), " ".join(map(define, j.invars))]
    for e in j.eqns:
        operands, results = " ".join(map(use, e.invars)), " ".join(map(define, e.outvars))
        lines.append(f"{_primitive(e.primitive)} {operands} > {results}")
    lines.append(" ".join(map(use, j.outvars)))
    return "\n".join(lines)


def _aval(a: ShapedArray) -> str:
    return f"{dtypes.name(a.dtype)}{a.shape}"


def _primitive(p: Primitive) -> str:
    fields = ",".join(map(_value, p.params.values()))
    return f"{type(p).__module__}.{type(p).__qualname__}({fields})"


def _value(x: Any) -> str:
    """A parameter, with its type where that is not plain from the text."""
    if x is None or type(x) in (bool, int, str):
        return repr(x)
    if type(x) in (tuple, list):
        return f"({','.join(map(_value, x))})"
    if type(x) in (float, complex):
        return np.asarray(x).tobytes().hex()
    if isinstance(x, np.dtype):
        return dtypes.name(x)
    if isinstance(x, ClosedJaxpr):
        if x.consts:
            raise NoFingerprintError("a program inside has constants")
        return f"{{{_program(x)}}}"
    if isinstance(x, ShapedArray):
        return f"{_aval(x)}{x.weak_type}"
    if isinstance(x, (enum.Enum, str, np.generic)):
        return f"{type(x).__qualname__}:{x!r}"
    if isinstance(x, tuple):
        return f"{type(x).__qualname__}({','.join(map(_value, x))})"
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        fields = [_value(getattr(x, f.name)) for f in dataclasses.fields(x)]
        return f"{type(x).__qualname__}({','.join(fields)})"
    raise NoFingerprintError(type(x).__name__)

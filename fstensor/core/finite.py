"""What the settings debug_nans and debug_infs do: look at the results of each operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fstensor import device, dtypes
from fstensor.config import config
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import Primitive
from fstensor.core.source_info import SourceInfo
from fstensor.errors import NonFiniteError


def is_wanted() -> bool:
    """Whether results are looked at in this thread."""
    return config.checking and (config.debug_nans or config.debug_infs)


def check(
    primitive: Primitive,
    operands: Sequence[Any],
    results: Sequence[Any],
    source: SourceInfo | None = None,
    program: str = "",
) -> None:
    """Raises NonFiniteError when a result has what a setting forbids.

    operands, results: buffers. A result that is an operand, handed on, is not looked at.
    source, program: the line that the operation comes from, and the program that it is part of;
        without a program it is an operation by itself, called from where the error is raised.
    """
    for x in results:
        if not dtypes.is_inexact(x.dtype) or any(x is y for y in operands):
            continue
        values = device.move(x, device.CPU)
        for setting, test, what in (
            ("debug_nans", np.isnan, "NaN"),
            ("debug_infs", np.isinf, "infinity"),
        ):
            if getattr(config, setting) and (count := int(test(values).sum())):
                raise _error(primitive, operands, x, setting, what, count, source, program)


def _error(
    primitive: Primitive,
    operands: Sequence[Any],
    result: Any,
    setting: str,
    what: str,
    count: int,
    source: SourceInfo | None,
    program: str,
) -> NonFiniteError:
    given = ", ".join(map(_described, operands)) or "no operands"
    error = NonFiniteError(
        f"{primitive.name}: the result must have no {what} while {setting} is on, got {count} in "
        f"{_aval(result)} from {given}{program and f'; in {program}'}"
    )
    if program:
        error.location = None if source is None else str(source)
    return error


def _aval(x: Any) -> ShapedArray:
    return ShapedArray(x.shape, dtypes.canonical(x.dtype))


def _described(x: Any) -> str:
    """`float32[3] (0 to 2.5, 1 not finite)`: the range of its finite values, and what is not."""
    aval = _aval(x)
    if not dtypes.is_numeric(x.dtype) or not x.size:
        return str(aval)
    values = np.asarray(device.move(x, device.CPU))
    if not dtypes.is_inexact(values.dtype):
        return f"{aval} ({values.min()} to {values.max()})"
    is_finite = np.isfinite(values)
    finite = values[is_finite]
    range_of = ""
    if finite.size:
        of, name = (np.abs(finite), "size ") if dtypes.is_complex(x.dtype) else (finite, "")
        range_of = f"{name}{float(of.min()):g} to {float(of.max()):g}, "
    return f"{aval} ({range_of}{values.size - finite.size} not finite)"

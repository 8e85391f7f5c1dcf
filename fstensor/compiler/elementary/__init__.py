"""Elementary functions written in the operations of kernels.

Each function takes the operations and its arguments, values of float32 or float64, and is free of
branches but for `rarely`. Errors stay below 4 ULP on the whole domain, for most functions below
2.5, and are about half an ULP larger where the machine cannot multiply and add with one rounding.
Subnormal numbers, zeros with their signs, infinities and NaN come out as C99's Annex F has them.

Polynomials are minimax fits made for this package by Remez' exchange in 220-bit arithmetic, their
first coefficients rounded one after the other, each time with the rest fitted anew. Comments give
the interval and the error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fstensor.compiler.elementary.error import erf, erfc
from fstensor.compiler.elementary.exponential import cosh, exp, exp2, expm1, logistic, sinh, tanh
from fstensor.compiler.elementary.inverse import acos, asin, atan, atan2
from fstensor.compiler.elementary.logarithm import acosh, asinh, atanh, log, log1p, log2
from fstensor.compiler.elementary.power import cbrt, pow, rsqrt
from fstensor.compiler.elementary.trigonometric import cos, sin, tan
from fstensor.core.scalar import FLOAT32, FLOAT64, Dtype

_FUNCTIONS: tuple[Callable[..., Any], ...] = (
    acos, acosh, asin, asinh, atan, atan2, atanh, cbrt, cos, cosh, erf, erfc, exp, exp2, expm1,
    log, log1p, log2, logistic, pow, rsqrt, sin, sinh, tan, tanh,
)  # fmt: skip

# The function of the operations and arguments for each name in ELEMENTARY and dtype.
EXPANSIONS: dict[tuple[str, Dtype], Callable[..., Any]] = {
    (function.__name__, dtype): function for function in _FUNCTIONS for dtype in (FLOAT32, FLOAT64)
}

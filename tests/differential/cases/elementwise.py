"""Elementwise functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from fstensor import dtypes
from tests.differential.checks import Call, Function
from tests.differential.strategies import (
    ALL,
    BOOL,
    COMPLEX,
    FLOATS,
    HALVES,
    INEXACT,
    INTS,
    NUMBERS,
    REALS,
    Draw,
)


def one(d: Draw) -> Call:
    return Call(d.array(d.shape()))


def two(d: Draw) -> Call:
    return Call(*[d.operand(s) for s in d.shapes(2)])


def functions(names: str, draw: Callable[[Draw], Call], **options: Any) -> list[Function]:
    return [Function(name, draw, **options) for name in names.split()]


def named(names: Sequence[str], draw: Callable[[Draw], Call], **options: Any) -> list[Function]:
    return functions(" ".join(names), draw, **options)


def angle(d: Draw) -> Call:
    return Call(d.array(d.shape()), deg=d.flag())


def rounded(d: Draw) -> Call:
    return Call(d.array(d.shape()), d.integer(-2, 2))


def shifted(d: Draw) -> Call:
    x, y = d.shapes(2)
    kind = d.dtype()
    # Shifts by the width and beyond among them.
    return Call(d.array(x, kind), d.array(y, kind, 0, 70))


def powers(d: Draw) -> Call:
    x, y = d.shapes(2)
    if not d.smooth and d.flag():  # a static exponent; negative ones raise for integers
        return Call(d.array(x), d.integer(-2, 4))
    return Call(d.array(x), d.array(y))


def power(x: Any, y: Any) -> Any:
    if isinstance(y, int):
        if x.dtype.kind in "iu" and y < 0:
            raise ValueError("NumPy raises only when there is an element")
        return np.power(x, x.dtype.type(y))
    target = dtypes.result_type(x, y)
    x, y = x.astype(target), y.astype(target)
    if target.kind != "i":
        return np.power(x, y)
    # NumPy raises for negative ones; ours, which may be traced, gives the power rounded to zero.
    positive = np.power(x, np.abs(y) & np.iinfo(target).max)
    return np.where((y < 0) & (np.abs(x) != 1), 0, positive)


def clipped(d: Draw) -> Call:
    x, low, high = (d.operand(s) for s in d.shapes(3))
    kind = d.one_of("both", "low", "high")
    return Call(x, None if kind == "high" else low, None if kind == "low" else high)


def close(d: Draw) -> Call:
    x, y = (d.operand(s) for s in d.shapes(2))
    return Call(x, y, rtol=d.one_of(1e-5, 0.1), atol=d.one_of(1e-8, 0.5), equal_nan=d.flag())


def chosen(d: Draw) -> Call:
    c, x, y = d.shapes(3)
    return Call(d.array(c, "bool"), d.operand(x), d.operand(y))


def i0(x: Any) -> Any:
    return np.where(np.isinf(x), np.inf, np.i0(x))  # NumPy divides inf by inf


def selected(d: Draw) -> Call:
    shapes = d.shapes(4)
    conditions = [d.array(s, "bool") for s in shapes[:2]]
    return Call(conditions, [d.operand(s) for s in shapes[2:]], d.one_of(0, 1))


def select(conditions: Any, choices: Any, default: Any) -> Any:
    # np.select takes no arrays without axes to be conditions for others with axes.
    first, second = conditions
    return np.where(first, choices[0], np.where(second, choices[1], default))


def pieces(d: Draw) -> Call:
    x = d.array(d.shape())
    return Call(x, [x < 0, x > 1], [-1, 2, 3] if d.flag() else [1, 2])


def replaced(d: Draw) -> Call:
    x = d.array(d.shape())
    options = {"nan": 7.0, "posinf": 8.0, "neginf": 9.0}
    return Call(x, **{k: v for k, v in options.items() if d.flag()})


def scaled(d: Draw) -> Call:
    x, y = d.shapes(2)
    return Call(d.array(x), d.array(y, "int32", -200, 200))


def to_float(d: Draw) -> Call:
    return Call(d.array(d.shape(), d.dtype(FLOATS)))


def equal_shapes(d: Draw) -> Call:
    x = d.shape()
    return Call(d.array(x), d.array(x if d.flag() else d.shape()), equal_nan=d.flag())


def two_shapes(d: Draw) -> Call:
    return Call(d.array(d.shape()), d.array(d.shape()))


ANALYTIC = {  # with the interval in which they are smooth
    "arccos": (-0.9, 0.9),
    "arccosh": (1.1, 5),
    "arcsin": (-0.9, 0.9),
    "arcsinh": (-5, 5),
    "arctan": (-5, 5),
    "arctanh": (-0.9, 0.9),
    "cos": (-5, 5),
    "cosh": (-3, 3),
    "exp": (-3, 3),
    "exp2": (-3, 3),
    "expm1": (-3, 3),
    "log": (0.1, 5),
    "log10": (0.1, 5),
    "log1p": (-0.9, 5),
    "log2": (0.1, 5),
    "reciprocal": (0.5, 3),
    "sin": (-5, 5),
    "sinc": (0.1, 3),
    "sinh": (-3, 3),
    "sqrt": (0.1, 5),
    "tan": (-1, 1),
    "tanh": (-3, 3),
}

FUNCTIONS = [
    # Of one operand
    *[
        Function(name, one, ALL + HALVES, low, high, promotes="inexact", factor=20)
        for name, (low, high) in ANALYTIC.items()
    ],
    *functions("cbrt", one, kinds=BOOL + REALS, low=0.1, high=5, promotes="inexact"),
    *functions("deg2rad rad2deg", one, kinds=BOOL + REALS, promotes="inexact"),
    *functions("i0", one, kinds=REALS, reference=i0, promotes="inexact", factor=20),
    *functions("fabs", one, kinds=BOOL + REALS + HALVES, promotes="inexact"),
    *functions("rint", one, kinds=ALL + HALVES, promotes="inexact"),
    *functions("abs conj imag real", one, kinds=NUMBERS + HALVES),
    *functions("square", one, kinds=ALL + HALVES, promotes="number"),
    *functions("negative positive", one, kinds=ALL + HALVES),
    *functions("ceil floor trunc", one, kinds=BOOL + REALS + HALVES),
    *functions("sign", one, kinds=REALS + HALVES),
    Function(
        "sign",
        one,
        COMPLEX,
        0.5,
        jax=None,
        label="complex",
        why="JAX takes its derivative to be zero, and it is not",
    ),
    *functions("round", rounded, kinds=NUMBERS),
    *functions("nan_to_num", replaced, kinds=INEXACT + HALVES),
    *functions(
        "angle",
        angle,
        kinds=NUMBERS,
        promotes="inexact",
        dtype_like=lambda z, deg: jnp.abs(jnp.exp(z)),
        why="JAX's angle of a float32 has the default width",
    ),
    *functions("isfinite isinf isnan", one, kinds=ALL + HALVES, differentiable=False),
    *functions("logical_not", one, differentiable=False),
    *functions("iscomplex isreal", one, differentiable=False),
    *functions("isneginf isposinf", one, kinds=BOOL + REALS, differentiable=False),
    *functions("signbit", one, kinds=BOOL + REALS, differentiable=False),
    *functions("invert", one, kinds=BOOL + INTS, differentiable=False),
    *functions("bitwise_count", one, kinds=INTS, differentiable=False),
    *functions("frexp modf", to_float, kinds=REALS),
    *functions(
        "iscomplexobj isrealobj ndim shape",
        one,
        differentiable=False,
        traceable=False,
        jax=None,
        why="their results are no arrays",
    ),
    # Of two operands
    *functions("add multiply", two, kinds=ALL + HALVES, promotes="all"),
    *functions("subtract", two, kinds=ALL + HALVES, promotes="all"),
    *functions("divide", two, kinds=ALL + HALVES, low=0.6, promotes="inexact"),
    *functions("maximum minimum", two, kinds=ALL + HALVES, promotes="all"),
    *functions("fmax fmin", two, kinds=BOOL + REALS + HALVES, promotes="all"),
    *functions("floor_divide remainder", two, kinds=BOOL + REALS, promotes="number"),
    *functions("fmod", two, kinds=BOOL + REALS, promotes="number"),
    *functions("divmod", two, kinds=BOOL + REALS, promotes="number"),
    *functions("power", powers, kinds=INTS + FLOATS, low=0.2, reference=power, factor=20),
    *functions("float_power", two, kinds=ALL, low=0.2, promotes="inexact", factor=20),
    *functions("arctan2 hypot", two, kinds=BOOL + REALS, promotes="inexact"),
    *functions("copysign", two, kinds=BOOL + REALS, promotes="inexact"),
    *functions("logaddexp logaddexp2", two, kinds=BOOL + REALS, promotes="inexact", factor=20),
    *functions("heaviside", two, kinds=BOOL + REALS, promotes="inexact"),
    *functions("nextafter", two, kinds=FLOATS, promotes="inexact", differentiable=False),
    *functions("ldexp", scaled, kinds=FLOATS),
    *functions("gcd lcm", two, kinds=INTS, promotes="all", differentiable=False),
    *functions(
        "equal greater greater_equal less less_equal not_equal",
        two,
        kinds=ALL + HALVES,
        promotes="all",
        differentiable=False,
    ),
    *functions("logical_and logical_or logical_xor", two, differentiable=False),
    *functions(
        "bitwise_and bitwise_or bitwise_xor",
        two,
        kinds=BOOL + INTS,
        promotes="all",
        differentiable=False,
    ),
    *functions(
        "left_shift right_shift",
        shifted,
        kinds=BOOL + INTS,
        promotes="number",
        differentiable=False,
    ),
    # Choices and comparisons of whole arrays
    *functions("clip", clipped, kinds=REALS + HALVES, promotes="all"),
    *functions("where", chosen, kinds=ALL + HALVES),
    *functions("select", selected, reference=select),
    *functions("piecewise", pieces, kinds=NUMBERS, differentiable=False),
    *functions("isclose allclose", close, kinds=NUMBERS, promotes="inexact", differentiable=False),
    *functions("array_equal", equal_shapes, kinds=NUMBERS, differentiable=False),
    *functions(
        "array_equiv",
        two_shapes,
        differentiable=False,
        dtype_like=None,
        why="JAX raises for shapes that do not broadcast, in place of saying no",
    ),
]

"""Functions that make arrays from shapes and numbers, and those of bits and windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.differential.cases.elementwise import functions
from tests.differential.checks import Call, Fixed, Function
from tests.differential.strategies import COMPLEX, FLOATS, INTS, NUMBERS, Draw

MADE = {"differentiable": False, "traceable": False}


def shape_and_dtype(d: Draw) -> Call:
    return Call(d.shape(), str(d.dtype()))


def fill(d: Draw) -> Call:
    return Call(d.shape(), d.array(()))


def like(d: Draw) -> Call:
    return Call(d.array(d.shape()), **({"shape": d.shape()} if d.flag() else {}))


def full_like(d: Draw) -> Call:
    x = d.array(d.shape())
    return Call(x, d.array((), x.dtype))


def one(d: Draw) -> Call:
    return Call(d.array(d.shape()))


def asarray(d: Draw) -> Call:
    return Call(d.array(d.shape()), str(d.dtype(("complex128",))))


def diagonal(d: Draw) -> Call:
    return Call(d.integer(0, 4), d.one_of(None, 2, 3), d.integer(-2, 2), str(d.dtype()))


def sized(d: Draw) -> Call:
    return Call(d.integer(0, 4), str(d.dtype()))


def interval(d: Draw) -> Call:
    low, step = d.integer(-5, 5), d.one_of(1, 2, -1, 3)
    kind = str(d.dtype())
    return Call(low, low + d.integer(-6, 6), step, dtype=kind)


def spaced(d: Draw) -> Call:
    shape = d.shape((0, 1))
    limits = [d.array(shape), d.array(shape)]
    return Call(*limits, d.integer(0 if not d.smooth else 1, 5), endpoint=d.flag())


def grids(d: Draw) -> Call:
    vectors = [d.array((d.integer(1, 3),)) for _ in range(d.integer(1, 3))]
    return Call(*vectors, indexing=d.one_of("xy", "ij"), sparse=d.flag())


def dimensions(d: Draw) -> Call:
    return Call(d.shape((1, 3)), "int32", sparse=d.flag())


def windowed(d: Draw) -> Call:
    return Call(d.integer(0, 6))


def kaiser(d: Draw) -> Call:
    return Call(d.integer(0, 6), d.one_of(0.0, 2.5, 8.0))


def order(d: Draw) -> Call:
    return Call(d.integer(0, 4), d.integer(1, 3))


def square(d: Draw) -> Call:
    return Call(d.array((d.integer(1, 3),) * d.integer(2, 3)))


def triangle(d: Draw) -> Call:
    return Call(d.integer(0, 4), d.integer(-2, 2), d.one_of(None, 2, 3))


def triangle_of(d: Draw) -> Call:
    return Call(d.array(d.shape((2, 2))), d.integer(-2, 2))


def bits(d: Draw) -> Call:
    # Not empty: NumPy fills up what `count` asks for with whatever is in memory.
    shape = d.shape((1, 3), (1, 3))
    x = d.array(shape)
    return Call(x, axis=d.axis_or_none(len(shape)), bitorder=d.one_of("big", "little"))


def few_bits(d: Draw) -> Call:
    call = bits(d)
    return Call(*call.args, **call.kwargs, **({"count": d.integer(1, 9)} if d.flag() else {}))


def from_indices(d: Draw) -> Call:
    return Call(Fixed(lambda *i: sum(i) * 2.0), d.shape((1, 3), (1, 3)), dtype="float32")


def scalar(d: Draw) -> Call:
    return Call(d.one_of(True, 2, 2.5, 1j, "name", (1,), np.float32(1)))


def from_dlpack(x: Any) -> Any:
    return np.from_dlpack(x) if x.flags.writeable else x


FUNCTIONS = [
    *functions("zeros ones", shape_and_dtype, dtype_like="numpy", **MADE),
    Function("empty", shape_and_dtype, reference=np.zeros, dtype_like="numpy", **MADE),
    *functions("full", fill, differentiable=True),
    *functions("zeros_like ones_like", like, differentiable=False),
    Function("empty_like", like, reference=np.zeros_like, differentiable=False),
    *functions("full_like", full_like, differentiable=False),
    *functions("array", one),
    *functions("asarray", asarray, kinds=FLOATS + COMPLEX, dtype_like="numpy"),
    Function("from_dlpack", one, NUMBERS, reference=from_dlpack, jax=None, **MADE),
    *functions("eye tri", diagonal, dtype_like="numpy", **MADE),
    *functions("identity", sized, dtype_like="numpy", **MADE),
    *functions("arange", interval, kinds=("int32", "int64", *FLOATS), dtype_like="numpy", **MADE),
    *functions("linspace", spaced, kinds=INTS + FLOATS, edgy=False, factor=8),
    *functions("logspace", spaced, kinds=FLOATS, edgy=False, factor=40),
    *functions("geomspace", spaced, kinds=FLOATS, low=0.5, edgy=False, factor=40),
    *functions("meshgrid", grids),
    *functions("indices", dimensions, dtype_like="numpy", **MADE),
    *functions("fromfunction", from_indices, dtype_like=None, **MADE),
    *functions("bartlett blackman hamming hanning", windowed, dtype_like=None, **MADE),
    *functions("kaiser", kaiser, dtype_like=None, factor=20, **MADE),
    *functions("diag_indices", order, dtype_like="index", **MADE),
    *functions("diag_indices_from", square, dtype_like="index", **MADE),
    *functions("tril_indices triu_indices", triangle, dtype_like="index", **MADE),
    *functions("tril_indices_from triu_indices_from", triangle_of, dtype_like="index", **MADE),
    *functions(
        "packbits", bits, kinds=("bool", "uint8", "int32"), differentiable=False, dtype_like="numpy"
    ),
    *functions("unpackbits", few_bits, kinds=("uint8",), differentiable=False, dtype_like="numpy"),
    *functions("isscalar", scalar, jax=None, **MADE),
]

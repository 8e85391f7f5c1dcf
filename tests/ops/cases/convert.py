import math

import ml_dtypes
import numpy as np

from fstensor import device, dtypes
from fstensor.ops import convert as ops
from tests.ops.cases.elementwise import EDGES
from tests.ops.harness import (
    ALL,
    BOOL,
    COMPLEX,
    FLOATS,
    HALVES,
    INEXACT,
    INTEGERS,
    Case,
    Operand,
    unary,
)


def to(name):
    return np.dtype(dtypes.canonical(name))


def to_integers(target):
    """Python's int in a loop: towards zero, held at the ends of the range, NaN to 0."""
    ends = ml_dtypes.iinfo(target)

    def one(x):
        if x != x:
            return 0
        if math.isinf(x):
            return ends.max if x > 0 else ends.min
        return min(max(int(x), int(ends.min)), int(ends.max))

    def over_elements(x):
        values = [one(float(np.real(v))) for v in x.flat]
        return np.array(values, object).astype(target).reshape(x.shape)

    return over_elements


def conversions():
    smooth = [
        # Rounding to fewer bits is no slope that finite differences could see.
        (("float32", "float64"), "float64"),
        (("float32",), "float32"),
        (FLOATS, "complex128"),
        (("complex64", "complex128"), "complex128"),
        (("complex128",), "float64"),
    ]
    for sources, target in smooth:
        reference = np.real if target.startswith("float") else np.asarray
        yield from unary(
            ops.ConvertElementType(to(target), False), reference, dtypes=sources, label=target
        )
    rounded = [(ALL, "float32"), (ALL, "float16"), (ALL, "bfloat16"), (HALVES, "float64")]
    for sources, target in [*rounded, (INTEGERS, "int8"), (BOOL, "uint8"), (INTEGERS, "complex64")]:
        yield from unary(
            ops.ConvertElementType(to(target), False),
            lambda x, kind=target: x if kind.startswith("complex") else np.real(x),
            dtypes=sources,
            differentiable=False,
            label=target,
        )


def float_to_integer():
    beyond = [0.5, -0.5, 1.9, -1.9, 127.5, 128.0, 300.7, -300.7, 3e9, -3e9, 1e20, -1e20]
    values = np.array([*EDGES, *beyond])
    targets = ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "int4"]
    for target in targets:
        for label, operand in (
            ("ends", Operand(values.shape, values=values)),
            ("", Operand((), low=-9, high=9)),
            ("", Operand((0, 2))),
        ):
            yield Case(
                ops.ConvertElementType(to(target), False),
                (operand,),
                to_integers(to(target)),
                dtypes=(*FLOATS, "bfloat16", "complex64"),
                differentiable=False,
                label=f"{target}{label}",
            )


def to_bool():
    values = np.array(EDGES)
    for source in (*FLOATS, *HALVES, *COMPLEX, *INTEGERS):
        finite = values if source not in INTEGERS else np.array([0, 1, 2])
        yield Case(
            ops.ConvertElementType(to("bool"), False),
            (Operand(finite.shape, values=finite),),
            lambda x: np.array([v != 0 for v in x]),
            dtypes=(source,),
            differentiable=False,
            label="bool",
        )


def reread(target):
    """The bytes of each number put together, and read as `target`."""

    def reference(x):
        raw = b"".join(v.tobytes() for v in x.reshape(-1))
        out = x.shape[:-1] if target.itemsize > x.dtype.itemsize else x.shape
        parts = x.dtype.itemsize // target.itemsize
        return np.frombuffer(raw, target).reshape((*out, parts) if parts > 1 else out)

    return reference


def bitcasts():
    pairs = [
        ("float32", "int32", (2, 3)),
        ("float32", "uint32", ()),
        ("int32", "float32", (2, 3)),
        ("float64", "uint64", (0, 3)),
        ("bfloat16", "uint16", (4,)),
        ("float32", "float32", (2,)),
        ("complex64", "complex64", (2,)),
        ("bool", "bool", (2,)),
        ("int32", "int8", (2, 3)),
        ("float64", "uint32", ()),
        ("int64", "uint8", (0, 2)),
        ("uint8", "uint32", (3, 4)),
        ("uint32", "float64", (2, 2, 2)),
        ("int32", "int64", (2,)),
    ]
    for source, target, shape in pairs:
        # No NaN among the results: their bits need not survive a comparison of floats.
        yield Case(
            ops.BitcastConvertType(to(target)),
            (Operand(shape, low=1, high=90),),
            reread(to(target)),
            dtypes=(source,),
            differentiable=False,
            label=target,
        )


def complex_cases():
    for a, b in [((2, 3), (2, 3)), ((2, 1), (1, 3)), ((), (3,)), ((), ()), ((0,), (0,))]:
        yield Case(ops.Complex(), (Operand(a), Operand(b)), lambda x, y: x + 1j * y)


def rounded(exponent_bits, mantissa_bits):
    """By the value: the nearest number of that many digits, if it is in the range."""

    def reference(x):
        wide = x.astype(np.float64)
        with np.errstate(all="ignore"):
            fraction, power = np.frexp(wide)
            unit = 2.0 ** (mantissa_bits + 1)
            y = np.ldexp(np.rint(fraction * unit) / unit, power)
        highest = 2 ** (exponent_bits - 1) - 1
        y = np.where(np.abs(y) >= 2.0 ** (highest + 1), np.copysign(np.inf, wide), y)
        y = np.where(np.abs(y) < 2.0 ** (1 - highest), np.copysign(0, wide), y)
        return np.where(np.isfinite(wide), y, wide)

    return reference


HALFWAY = [1 + 3 / 16, 1 + 5 / 16, -1 - 3 / 16, 15.9, 1e9, -1e9, 1e-4, -1e-4, 0.0155, 248.0]


def precision_cases(exponent_bits, mantissa_bits):
    return unary(
        ops.ReducePrecision(exponent_bits, mantissa_bits),
        rounded(exponent_bits, mantissa_bits),
        edges=[*EDGES, *HALFWAY],
        dtypes=(*FLOATS, "float16", "bfloat16"),
        differentiable=False,
        label=f"{exponent_bits}-{mantissa_bits}",
    )


CASES = [
    *precision_cases(4, 3),
    *precision_cases(5, 2),
    *precision_cases(3, 0),
    *precision_cases(2, 7),
    *conversions(),
    *float_to_integer(),
    *to_bool(),
    *bitcasts(),
    *complex_cases(),
    *unary(ops.Real(), lambda z: ((z + z.conjugate()) / 2).real, dtypes=COMPLEX),
    *unary(ops.Imag(), lambda z: ((z - z.conjugate()) / 2j).real, dtypes=COMPLEX),
    *unary(ops.Conj(), lambda z: 2 * z.real - z, dtypes=COMPLEX),
    # Its derivative is zero by definition, which finite differences contradict.
    *unary(ops.StopGradient(), lambda x: x, dtypes=ALL, differentiable=False),
    *unary(ops.DevicePut(device.CPU), lambda x: x, dtypes=(*ALL, *HALVES), differentiable=False),
    *unary(ops.DevicePut(device.CPU), lambda x: x, dtypes=INEXACT, label="smooth"),
]

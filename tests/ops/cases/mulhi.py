import numpy as np

from fstensor.ops.mulhi import MulHi
from tests.ops.harness import Case, Operand, binary

KINDS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def upper_half(x, y):
    """By Python's integers."""
    info = np.iinfo(x.dtype)
    x, y = np.broadcast_arrays(x, y)
    out = [int(a) * int(b) >> info.bits for a, b in zip(x.flat, y.flat, strict=True)]
    return np.array(out, info.dtype).reshape(x.shape)


def ends(dtype):
    info = np.iinfo(dtype)
    middle = info.max // 3
    values = [info.min, info.max, 0, 1, 7, middle, info.max - 2, info.min + 2]
    values = np.array(values + [-1, -7] * (info.min < 0), dtype)
    operands = [Operand(v.shape, values=v) for v in map(np.ravel, np.meshgrid(values, values))]
    return Case(MulHi(), tuple(operands), upper_half, dtypes=(dtype,), label="ends")


CASES = [*binary(MulHi(), upper_half, x=(-9, 9), y=(-9, 9), dtypes=KINDS), *map(ends, KINDS)]

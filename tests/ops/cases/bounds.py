import numpy as np

from fstensor.core.aval import ShapedArray
from fstensor.ops import bounds as ops
from tests.ops.harness import INTEGERS, Case, Operand

ARRAY = ShapedArray((5, 4), np.dtype("float32"))


def checked(places, axes=(0,), sizes=(1,), wrap=False, columns=False, **options):
    primitive = ops.CheckIndex(ARRAY, axes, sizes, wrap, columns, "index", None)
    operand = Operand(np.shape(places), values=places)
    return Case(primitive, (operand,), lambda i: i, dtypes=INTEGERS, **options)


CASES = [
    checked(4),
    checked([0, 4, 2]),
    checked([[0, 3], [3, 0]], (1,)),
    checked([0, 3], sizes=(2,), label="boxes"),
    checked([[4, 0], [0, 1]], (0, 1), (1, 3), columns=True),
    checked(np.zeros((0, 2)), (0, 1), (1, 1), columns=True, label="empty"),
    Case(
        ops.CheckIndex(ARRAY, (0,), (2,), True, False, "index", None),
        (Operand((2,), values=[-5, -2]),),
        lambda i: i,
        dtypes=("int32", "int64"),
    ),
]

import numpy as np

from fstensor.ops import arrange as ops
from tests.ops.harness import ALL, INEXACT, Case, Operand


def joined(axis, *shapes, **options):
    def reference(*xs):
        return np.moveaxis(np.array([row for x in xs for row in np.moveaxis(x, axis, 0)]), 0, axis)

    return Case(ops.Concatenate(axis), tuple(map(Operand, shapes)), reference, **options)


def parted(shape, sizes, axis, **options):
    def reference(x):
        return np.split(x, np.cumsum(sizes)[:-1], axis)

    return Case(ops.Split(sizes, axis), (Operand(shape),), reference, **options)


def reversed_(shape, axes, **options):
    def reference(x):
        for a in axes:
            x = np.take(x, range(x.shape[a] - 1, -1, -1), a)
        return x

    return Case(ops.Rev(axes), (Operand(shape),), reference, **options)


CASES = [
    joined(0, (2,), (3,), dtypes=ALL),
    joined(1, (2, 1), (2, 3), (2, 2), dtypes=INEXACT),
    joined(0, (2, 3), (2, 3)),
    joined(0, (0, 3), (2, 3), label="with-empty"),
    joined(1, (2, 2)),
    parted((5,), (2, 3), 0, dtypes=ALL),
    parted((2, 6), (1, 2, 3), 1, dtypes=INEXACT),
    parted((3, 2), (0, 3), 0, label="empty-part"),
    parted((3, 2), (3,), 0, label="one-part"),
    reversed_((4,), (0,), dtypes=ALL),
    reversed_((2, 3, 4), (2, 0), dtypes=INEXACT),
    reversed_((2, 3), (), label="no-axes"),
    reversed_((0, 3), (0,), label="of-empty"),
]

import itertools

import numpy as np

from fstensor.ops import shape as ops
from tests.ops.harness import ALL, HALVES, NUMBERS, Case, Operand


def case(primitive, shape, reference, label, kinds=ALL):
    return Case(
        primitive,
        (Operand(shape),),
        reference,
        dtypes=kinds,
        # The tolerance of the adjoint identity is that of 32 bits.
        differentiable=kinds is not HALVES,
        label=label,
    )


def broadcast(shape, target, dims):
    def reference(x):
        out = np.zeros(target, x.dtype)
        for place in itertools.product(*map(range, target)):
            out[place] = x[
                tuple(place[d] if n > 1 else 0 for d, n in zip(dims, shape, strict=True))
            ]
        return out

    label = f"{target}-{dims}".replace(" ", "")
    return case(ops.BroadcastInDim(target, dims), shape, reference, label)


def in_order(new_sizes):
    """Element by element, in row-major order."""

    def reference(x):
        out = np.zeros(new_sizes, x.dtype)
        for old, new in zip(np.ndindex(*x.shape), np.ndindex(*new_sizes), strict=True):
            out[new] = x[old]
        return out

    return reference


def reshape(shape, new_sizes, kinds=ALL):
    label = f"{new_sizes}".replace(" ", "")
    return case(ops.Reshape(new_sizes), shape, in_order(new_sizes), label, kinds)


def permute(shape, permutation):
    def reference(x):
        out = np.zeros([x.shape[i] for i in permutation], x.dtype)
        for place in np.ndindex(*x.shape):
            out[tuple(place[i] for i in permutation)] = x[place]
        return out

    label = f"{permutation}".replace(" ", "")
    return case(ops.Transpose(permutation), shape, reference, label)


def squeeze(shape, dimensions):
    kept = tuple(n for i, n in enumerate(shape) if i not in dimensions)
    label = f"{dimensions}".replace(" ", "")
    return case(ops.Squeeze(dimensions), shape, in_order(kept), label)


def iota(dtype, shape, dimension):
    def reference():
        out = np.zeros(shape, dtype)
        for place in np.ndindex(*shape):
            out[place] = place[dimension]
        return out

    primitive = ops.Iota(np.dtype(dtype), shape, dimension)
    label = f"{dtype}-{shape}-{dimension}".replace(" ", "")
    return Case(primitive, (), reference, dtypes=("float32",), differentiable=False, label=label)


CASES = [
    broadcast((), (), ()),
    broadcast((), (2, 3), ()),
    broadcast((3,), (2, 3), (1,)),
    broadcast((2,), (2, 3), (0,)),
    broadcast((1, 3), (2, 3), (0, 1)),
    broadcast((1, 1), (2, 1, 3), (0, 1)),
    broadcast((2, 1), (2, 4, 3), (0, 2)),
    broadcast((2, 3), (1, 2, 1, 3), (1, 3)),
    broadcast((0,), (2, 0), (1,)),
    broadcast((1,), (0, 2), (0,)),
    broadcast((2,), (2, 0), (0,)),
    reshape((2, 3), (3, 2)),
    reshape((2, 3), (6,)),
    reshape((6,), (1, 2, 3, 1)),
    reshape((1, 1), ()),
    reshape((), (1, 1)),
    reshape((2, 0), (0, 5)),
    reshape((2, 3), (6,), kinds=HALVES),
    permute((), ()),
    permute((2, 3), (0, 1)),
    permute((2, 3), (1, 0)),
    permute((2, 3, 4), (2, 0, 1)),
    permute((2, 3, 4), (1, 2, 0)),
    permute((0, 3), (1, 0)),
    squeeze((1, 2, 1, 3), (0, 2)),
    squeeze((1, 2, 1), (2,)),
    squeeze((1,), (0,)),
    squeeze((2, 3), ()),
    squeeze((0, 1), (1,)),
    *[iota(dtype, (2, 3), 1) for dtype in NUMBERS],
    iota("int32", (3, 2), 0),
    iota("float32", (4,), 0),
    iota("int32", (0, 2), 0),
    iota("uint8", (2, 0), 0),
]

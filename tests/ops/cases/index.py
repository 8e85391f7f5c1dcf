import numpy as np

from fstensor.ops import index as ops
from tests.ops.harness import ALL, FLOATS, INEXACT, Case, Operand


def sliced(shape, starts, limits, strides=None, **options):
    def reference(x):
        steps = strides or (1,) * len(starts)
        parts = [np.arange(a, b, s) for a, b, s in zip(starts, limits, steps, strict=True)]
        return x[np.ix_(*parts)] if parts else x

    return Case(ops.Slice(starts, limits, strides), (Operand(shape),), reference, **options)


def padded(shape, config, **options):
    def reference(x, value):
        for axis, (low, high, interior) in enumerate(config):
            n = x.shape[axis]
            spread = np.full((*x.shape[:axis], 0, *x.shape[axis + 1 :]), value)
            gap = np.full((*x.shape[:axis], interior, *x.shape[axis + 1 :]), value)
            for i in range(n):
                joint = [gap] if i else []
                spread = np.concatenate([spread, *joint, np.take(x, [i], axis)], axis)
            for amount, front in ((low, True), (high, False)):
                if amount < 0:
                    kept = slice(-amount, None) if front else slice(0, spread.shape[axis] + amount)
                    spread = spread[(slice(None),) * axis + (kept,)]
                else:
                    more = np.full((*x.shape[:axis], amount, *x.shape[axis + 1 :]), value)
                    parts = [more, spread] if front else [spread, more]
                    spread = np.concatenate(parts, axis)
            x = spread
        return x

    return Case(ops.Pad(config), (Operand(shape), Operand()), reference, **options)


def box(starts, sizes, shape):
    at = [np.clip(i, 0, n - s) for i, s, n in zip(starts, sizes, shape, strict=True)]
    return np.ix_(*[np.arange(a, a + s) for a, s in zip(at, sizes, strict=True)])


def start_operands(starts, dtype):
    return tuple(Operand((), dtype=dtype, values=i) for i in starts)


def dynamic_sliced(shape, starts, sizes, index_dtype="int32", **options):
    def reference(x, *at):
        return x[box(at, sizes, x.shape)] if x.ndim else x

    operands = (Operand(shape), *start_operands(starts, index_dtype))
    return Case(ops.DynamicSlice(sizes), operands, reference, **options)


def dynamic_updated(shape, update, starts, index_dtype="int32", **options):
    def reference(x, new, *at):
        out = x.copy()
        if x.ndim:
            out[box(at, new.shape, x.shape)] = new
            return out
        return new

    operands = (Operand(shape), Operand(update), *start_operands(starts, index_dtype))
    return Case(ops.DynamicUpdateSlice(), operands, reference, **options)


CASES = [
    sliced((5,), (1,), (4,), dtypes=ALL),
    sliced((5, 4), (1, 0), (4, 4), (2, 3), dtypes=INEXACT),
    sliced((5, 4), (0, 0), (5, 3), (4, 1)),
    sliced((5, 4), (5, 0), (5, 4), label="empty"),
    sliced((0, 4), (0, 1), (0, 4), label="of-empty"),
    sliced((), (), ()),
    padded((3,), ((1, 2, 0),), dtypes=ALL),
    padded((3, 2), ((1, 0, 1), (0, 2, 2)), dtypes=INEXACT, label="interior"),
    padded((4, 3), ((-1, 2, 0), (1, -2, 0)), label="negative"),
    padded((3, 2), ((-1, -1, 1), (0, -1, 2)), label="negative-interior"),
    padded((3,), ((-3, 0, 0),), label="all-cut"),
    padded((0, 2), ((1, 1, 3), (0, 0, 0)), label="of-empty"),
    padded((), ()),
    dynamic_sliced((5,), (1,), (3,), dtypes=ALL),
    dynamic_sliced((5, 4), (3, 1), (2, 3), dtypes=INEXACT),
    dynamic_sliced((5, 4), (3, 0), (1, 4), index_dtype="int64", label="row"),
    dynamic_sliced((5, 4), (9, -3), (2, 3), label="outside"),
    dynamic_sliced((5, 4), (1, 0), (0, 4), label="empty"),
    dynamic_sliced((5, 4), (0, 0), (5, 4), label="whole"),
    dynamic_sliced((), (), ()),
    dynamic_updated((5,), (3,), (1,), dtypes=ALL),
    dynamic_updated((5, 4), (2, 3), (3, 1), dtypes=INEXACT),
    dynamic_updated((5, 4), (1, 4), (3, 0), index_dtype="uint8", label="row"),
    dynamic_updated((5, 4), (2, 3), (9, -3), label="outside"),
    dynamic_updated((5, 4), (0, 4), (1, 0), label="empty"),
    dynamic_updated((5, 4), (5, 4), (0, 0), dtypes=FLOATS, label="whole"),
    dynamic_updated((), (), ()),
]

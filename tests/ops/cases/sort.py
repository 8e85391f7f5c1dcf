import numpy as np

from fstensor.ops import sort as ops
from tests.ops.harness import ALL, FLOATS, REALS, Case, Operand

INF, NAN = np.inf, np.nan


def rank_key(key):
    """NaN after everything else, as a key that Python compares."""
    value = key.item() if hasattr(key, "item") else key
    if isinstance(value, complex):
        return (value.real, value.imag)
    return (value != value, value)


def sort_reference(axis, num_keys):
    def reference(*xs):
        outs = [x.copy() for x in xs]
        others = [n for d, n in enumerate(xs[0].shape) if d != axis]
        for place in np.ndindex(*others):
            line = (*place[:axis], slice(None), *place[axis:])
            rows = list(zip(*[x[line] for x in xs], strict=True))
            rows.sort(key=lambda row: [rank_key(v) for v in row[:num_keys]])
            for i, out in enumerate(outs):
                out[line] = np.array([row[i] for row in rows], out.dtype)
        return outs

    return reference


def sorted_(axis, *operands, num_keys=1, **options):
    primitive = ops.Sort(axis, True, num_keys)
    return Case(primitive, operands, sort_reference(axis, num_keys), **options)


def top(shape, k, axis, values=None, **options):
    def reference(x):
        values, places = [], []
        for line in np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]):
            keys = [(not np.isnan(v), -float(v)) for v in line]
            order = sorted(range(len(line)), key=keys.__getitem__)
            places.append(order[:k])
            values.append([line[i] for i in order[:k]])
        rest = [n for d, n in enumerate(x.shape) if d != axis]

        def back(rows, dtype):
            return np.moveaxis(np.array(rows, dtype).reshape(*rest, k), -1, axis)

        return back(values, x.dtype), back(places, np.int32)

    operand = Operand(shape, values=values, apart=values is None)
    return Case(ops.TopK(axis, k), (operand,), reference, **options)


APART = {"apart": True}
CASES = [
    sorted_(0, Operand((5,), **APART), dtypes=REALS),
    sorted_(1, Operand((2, 4), **APART)),
    sorted_(0, Operand((4, 2), **APART)),
    sorted_(0, Operand((6,)), dtypes=ALL, differentiable=False, label="dtypes"),
    sorted_(1, Operand((2, 4), **APART), Operand((2, 4)), label="key-value"),
    sorted_(
        0,
        Operand((6,), dtype="int32", values=[2, 1, 2, 1, 1, 2]),
        Operand((6,), **APART),
        Operand((6,)),
        num_keys=2,
        label="two-keys",
    ),
    sorted_(
        0,
        Operand((6,), dtype="int32", values=[2, 1, 2, 1, 1, 2]),
        Operand((6,)),
        label="stable",
    ),
    sorted_(
        0,
        Operand((7,), values=[NAN, 1.0, -INF, 0.0, INF, NAN, -2.0]),
        Operand((7,)),
        dtypes=(*FLOATS, "float16"),
        differentiable=False,
        label="edges",
    ),
    sorted_(
        0,
        Operand((4,), values=[3.0, 1.0, NAN, 2.0]),
        dtypes=(*FLOATS, "float16"),
        differentiable=False,
        label="nan",
    ),
    sorted_(0, Operand((0, 2)), label="empty"),
    sorted_(1, Operand((0, 2)), Operand((0, 2)), label="no-lines"),
    top((6,), 3, 0, dtypes=REALS),
    top((2, 5), 2, 1),
    top((5, 2), 5, 0),
    top((2, 3), 0, 1, label="none"),
    top(
        (6,),
        4,
        0,
        values=[1.0, NAN, 3.0, 1.0, 3.0, -INF],
        dtypes=(*FLOATS, "float16"),
        differentiable=False,
        label="edges",
    ),
]

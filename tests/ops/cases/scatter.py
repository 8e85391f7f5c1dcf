import numpy as np

from fstensor.ops import scatter as ops
from tests.ops.cases.gather import CLIP, FILL, OUTSIDE, PLANS, PROMISE, elements, reference
from tests.ops.harness import ALL, FLOATS, INEXACT, INTEGERS, NUMBERS, REALS, Case, Operand

COMBINE = {
    "scatter": lambda a, b: b,
    "scatter-add": lambda a, b: a + b,
    "scatter-sub": lambda a, b: a - b,
    "scatter-mul": lambda a, b: a * b,
    "scatter-min": np.minimum,
    "scatter-max": np.maximum,
}


def reference_of(primitive, sizes):
    numbers = ops.GatherDimensionNumbers(*primitive.dimension_numbers)
    combine = COMBINE[primitive.name]

    def scatter(x, indices, updates):
        out = x.copy()
        for place, at in elements(numbers, sizes, x.shape, indices, primitive.mode):
            if at is not None:
                out[at] = combine(out[at], updates[place])
        return out

    return scatter


def case(kind, plan, mode=PROMISE, unique=False, **options):
    shape, indices, numbers, sizes = plan
    primitive = kind(ops.ScatterDimensionNumbers(*numbers), False, mode, unique)
    read = primitive_output(plan)
    apart = kind in (ops.ScatterMin, ops.ScatterMax)
    operands = (
        Operand(shape, apart=apart, low=-2.1, high=1.9) if apart else Operand(shape),
        Operand(np.shape(indices), dtype="int32", values=indices),
        Operand(read, apart=apart),
    )
    return Case(primitive, operands, reference_of(primitive, sizes), **options)


def primitive_output(plan):
    shape, indices, numbers, sizes = plan
    gather = ops.Gather(numbers, None, False, CLIP, sizes, False)
    return reference(gather)(np.zeros(shape), np.asarray(indices, int)).shape


DISTINCT = ((4, 3), [[3], [0], [2]], PLANS["rows"][2], (1, 3))
KINDS = (
    ops.Scatter,
    ops.ScatterAdd,
    ops.ScatterSub,
    ops.ScatterMul,
    ops.ScatterMin,
    ops.ScatterMax,
)

CASES = [
    *(case(ops.ScatterAdd, plan, label=name, dtypes=FLOATS) for name, plan in PLANS.items()),
    *(case(ops.Scatter, plan, label=name, dtypes=FLOATS) for name, plan in PLANS.items()),
    *(
        case(kind, plan, mode=mode, label=f"{mode.name}-{name}", dtypes=FLOATS)
        for kind in (ops.Scatter, ops.ScatterAdd)
        for mode in (CLIP, FILL)
        for name, plan in OUTSIDE.items()
    ),
    *(
        case(kind, PLANS[name], label=name, dtypes=FLOATS)
        for kind in KINDS[2:]
        for name in ("rows", "points", "windows", "along", "single-axis", "one-element")
    ),
    *(case(kind, OUTSIDE["rows"], mode=FILL, label="drop", dtypes=FLOATS) for kind in KINDS),
    *(case(kind, DISTINCT, unique=True, label="unique", dtypes=FLOATS) for kind in KINDS),
    case(ops.Scatter, PLANS["rows"], dtypes=ALL, label="dtypes"),
    case(ops.ScatterAdd, PLANS["rows"], dtypes=ALL, label="dtypes"),
    case(ops.ScatterSub, PLANS["rows"], dtypes=NUMBERS, label="dtypes"),
    case(ops.ScatterMul, PLANS["rows"], dtypes=(*INEXACT, *INTEGERS), label="dtypes"),
    case(ops.ScatterMin, PLANS["rows"], dtypes=REALS, label="dtypes"),
    case(ops.ScatterMax, PLANS["rows"], dtypes=REALS, label="dtypes"),
]

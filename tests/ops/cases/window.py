import itertools

import numpy as np

from fstensor.ops import window as ops
from tests.ops.harness import FLOATS, HALVES, NUMBERS, REALS, Case, Operand

INF, NAN = np.inf, np.nan


def parameters(window, strides=None, padding=None, base=None, spread=None):
    rank = len(window)
    return {
        "base_dilation": base or (1,) * rank,
        "padding": padding or ((0, 0),) * rank,
        "window_dilation": spread or (1,) * rank,
        "window_dimensions": window,
        "window_strides": strides or (1,) * rank,
    }


SETTINGS = {
    "pooling": ((2, 6, 4), parameters((1, 2, 2), (1, 2, 2))),
    "overlap": ((5, 6), parameters((3, 2), (1, 2))),
    "padding": ((4, 5), parameters((2, 3), (2, 2), ((1, 0), (2, 1)))),
    "negative-padding": ((5, 6), parameters((2, 2), None, ((-1, 1), (0, -2)))),
    "base": ((3, 3), parameters((2, 3), None, ((1, 0), (0, 1)), (2, 3))),
    "spread": ((6, 5), parameters((2, 3), (2, 1), None, None, (3, 2))),
    "all-options": ((4, 3), parameters((3, 2), (2, 3), ((1, 2), (2, 2)), (2, 3), (2, 1))),
    "whole": ((3, 4), parameters((3, 4))),
    "strides-alone": ((5,), parameters((1,), (2,))),
    "no-axes": ((), parameters(())),
    "no-places": ((2, 3), parameters((1, 4))),
    "empty": ((0, 3), parameters((1, 2))),
}


def windows(shape, settings):
    """The result's shape; for each place of the window the indices inside, in row-major order."""
    per_axis = []
    rows = zip(shape, *[settings[k] for k in sorted(settings)], strict=True)
    for n, base, (low, high), spread, size, stride in rows:
        length = max((n - 1) * base + 1, 0) + low + high
        starts = range(0, length - (size - 1) * spread, stride)
        inside = {low + i * base: i for i in range(n) if 0 <= low + i * base < length}
        steps = [[s + k * spread for k in range(size)] for s in starts]
        per_axis.append([[inside[p] for p in places if p in inside] for places in steps])
    found = {
        place: list(itertools.product(*[axis[p] for axis, p in zip(per_axis, place, strict=True)]))
        for place in itertools.product(*[range(len(axis)) for axis in per_axis])
    }
    return tuple(len(axis) for axis in per_axis), found


def reduced(settings, start, combine):
    """The reduction of each window, element by element."""

    def reference(x):
        shape, found = windows(x.shape, settings)
        out = np.full(shape, start(x.dtype), x.dtype)
        for place, indices in found.items():
            for i in indices:
                out[place] = combine(out[place], x[i])
        return out

    return reference


def first_of(x, indices, better):
    best = indices[0]
    for i in indices[1:]:
        if better(x[i], x[best]):
            best = i
    return best


def gathered(settings, better):
    def reference(source, operand):
        shape, found = windows(operand.shape, settings)
        out = np.zeros(shape, source.dtype)
        for place, indices in found.items():
            if indices:
                out[place] = source[first_of(operand, indices, better)]
        return out

    return reference


def scattered(settings, better):
    def reference(source, operand):
        out = np.zeros_like(operand)
        for place, indices in windows(operand.shape, settings)[1].items():
            if indices:
                out[first_of(operand, indices, better)] += source[place]
        return out

    return reference


def zero(dtype):
    return 0


def lowest(dtype):
    return np.iinfo(dtype).min if dtype.kind in "iu" else -INF


def highest(dtype):
    return np.iinfo(dtype).max if dtype.kind in "iu" else INF


def reductions(cls, start, combine, kinds, apart):
    return [
        Case(
            cls(**options),
            (Operand(shape, apart=apart),),
            reduced(options, start, combine),
            dtypes=kinds,
            # Windows without an element inside are infinite: differences give NaN.
            differentiable=not (apart and label == "all-options"),
            label=label,
        )
        for label, (shape, options) in SETTINGS.items()
    ]


def selections(label, shape, options):
    places, _ = windows(shape, options)
    without_base = {k: v for k, v in options.items() if k != "base_dilation"}
    ties = np.random.default_rng(0).integers(0, 3, shape)
    operands = {"": Operand(shape, apart=True), "-ties": Operand(shape, values=ties)}
    cases = []
    for kind, better in (("ge", np.greater), ("le", np.less)):
        for suffix, operand in operands.items():
            # Moving an operand with ties changes the choice.
            known = {"differentiable": not suffix, "label": f"{label}-{kind}{suffix}"}
            gather = ops.SelectAndGatherAdd(**options, select_prim=kind)
            reference = gathered(options, better)
            cases.append(Case(gather, (Operand(shape), operand), reference, **known))
            if all(b == 1 for b in options["base_dilation"]):
                scatter = ops.SelectAndScatterAdd(**without_base, select_prim=kind)
                reference = scattered(options, better)
                cases.append(Case(scatter, (Operand(places), operand), reference, **known))
    return cases


def fixed(cls, reference, values, window, kinds=FLOATS, label="edges"):
    values = np.array(values)
    options = parameters(window)
    return Case(
        cls(**options),
        (Operand(values.shape, values=values),),
        reference,
        dtypes=kinds,
        differentiable=False,
        label=label,
    )


EDGES = [1.0, INF, -INF, NAN, 0.0]
SUM, MAX, MIN = ops.ReduceWindowSum, ops.ReduceWindowMax, ops.ReduceWindowMin

CASES = [
    *reductions(SUM, zero, np.add, NUMBERS, apart=False),
    *reductions(MAX, lowest, np.maximum, REALS, apart=True),
    *reductions(MIN, highest, np.minimum, REALS, apart=True),
    *[c for label, setting in SETTINGS.items() for c in selections(label, *setting)],
    fixed(SUM, lambda x: np.array([INF, NAN, NAN, NAN]), EDGES, (2,)),
    fixed(MAX, lambda x: np.array([INF, INF, NAN, NAN]), EDGES, (2,)),
    fixed(MIN, lambda x: np.array([1.0, -INF, NAN, NAN]), EDGES, (2,)),
    # Rounded once: in 16 bits 256 + 1 is 256, so that a running sum would stay there.
    fixed(SUM, lambda x: np.full(3, 510.0), np.ones(512), (510,), HALVES, "half"),
    fixed(MAX, lambda x: np.array([2.0, 2.0]), [1.0, 2.0, -3.0], (2,), HALVES, "half"),
]

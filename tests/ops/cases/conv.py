import itertools

import numpy as np

from fstensor import dtypes
from fstensor.ops.conv import ConvDimensionNumbers, ConvGeneralDilated, conv_dimension_numbers
from fstensor.ops.precision import Precision
from tests.ops.harness import COMPLEX, FLOATS, HALVES, NUMBERS, Case, Operand


def by_jax(primitive):
    def reference(lhs, rhs):
        # An oracle of the tests; the library does without it.
        import jax

        p = primitive.params
        p["dimension_numbers"] = jax.lax.ConvDimensionNumbers(*p["dimension_numbers"])
        p["precision"] = "highest"
        with jax.enable_x64(True):
            return np.asarray(jax.lax.conv_general_dilated(lhs, rhs, **p))

    return reference


def by_loops(primitive):
    """The definition, for canonical layouts without groups: also for dtypes that XLA lacks."""

    def reference(lhs, rhs):
        strides, spread = primitive.window_strides, primitive.rhs_dilation
        work = lhs.dtype if dtypes.is_inexact(lhs.dtype) else np.dtype(np.int64)
        work = np.dtype(np.float32) if work.itemsize < 4 else work
        x = np.pad(lhs.astype(work), [(0, 0), (0, 0), *primitive.padding])
        reach = [(k - 1) * d + 1 for k, d in zip(rhs.shape[2:], spread, strict=True)]
        places = [(n - r) // s + 1 for n, r, s in zip(x.shape[2:], reach, strides, strict=True)]
        out = np.zeros((lhs.shape[0], rhs.shape[0], *places), x.dtype)
        for place in itertools.product(*map(range, places)):
            corner = [p * s for p, s in zip(place, strides, strict=True)]
            window = tuple(
                slice(c, c + r, d) for c, r, d in zip(corner, reach, spread, strict=True)
            )
            products = x[(slice(None), None, slice(None), *window)] * rhs[None].astype(work)
            out[(slice(None), slice(None), *place)] = products.sum(tuple(range(2, rhs.ndim + 1)))
        return out

    return reference


def case(
    lhs,
    rhs,
    strides=None,
    padding=None,
    lhs_dilation=None,
    rhs_dilation=None,
    layouts=None,
    features=1,
    batches=1,
    kinds=FLOATS,
    label="",
    reference=by_jax,
):
    rank = len(lhs) - 2
    numbers = (
        layouts
        if isinstance(layouts, ConvDimensionNumbers)
        else conv_dimension_numbers(lhs, rhs, layouts)
    )
    primitive = ConvGeneralDilated(
        batch_group_count=batches,
        dimension_numbers=numbers,
        feature_group_count=features,
        lhs_dilation=lhs_dilation or (1,) * rank,
        padding=padding or ((0, 0),) * rank,
        precision=Precision.DEFAULT,
        preferred_element_type=None,
        rhs_dilation=rhs_dilation or (1,) * rank,
        window_strides=strides or (1,) * rank,
    )
    return Case(
        primitive,
        (Operand(lhs), Operand(rhs)),
        reference(primitive),
        dtypes=kinds,
        label=label,
        differentiable=kinds != HALVES,
    )


CASES = [
    case((2, 3), (4, 3), label="no-axes"),
    case((2, 3, 7), (4, 3, 3), label="one-axis"),
    case((2, 2, 5, 6), (3, 2, 3, 2), label="two-axes"),
    case((1, 2, 3, 4, 3), (2, 2, 2, 3, 2), label="three-axes"),
    case((2, 2, 6, 5), (3, 2, 3, 3), strides=(2, 3), padding=((1, 0), (2, 1)), label="strides"),
    case((2, 2, 6), (2, 2, 2), padding=((-1, 3),), label="negative-padding"),
    case((2, 2, 6), (2, 2, 2), padding=((-2, -3),), label="cut"),
    case((1, 2, 4, 3), (2, 2, 2, 3), lhs_dilation=(2, 3), padding=((1, 1),) * 2, label="base"),
    case((1, 2, 4), (2, 2, 3), (2,), ((2, 1),), lhs_dilation=(3,), label="base-and-strides"),
    case((1, 2, 7, 6), (2, 2, 3, 2), rhs_dilation=(2, 3), label="spread"),
    case(
        (1, 1, 5, 4),
        (2, 1, 2, 2),
        (2, 1),
        ((1, 2), (0, 3)),
        (2, 1),
        (1, 3),
        label="all-options",
    ),
    case((2, 6, 5), (4, 3, 3), features=2, label="feature-groups"),
    case((2, 3, 5), (6, 1, 3), features=3, padding=((1, 1),), label="depthwise"),
    case((4, 2, 5), (6, 2, 3), batches=2, strides=(2,), label="batch-groups"),
    case((2, 5, 6, 3), (3, 2, 3, 4), layouts=("NHWC", "HWIO", "NHWC"), label="features-last"),
    case((5, 3, 2, 6), (3, 4, 2, 3), layouts=("HCNW", "IOWH", "WNHC"), label="any-layout"),
    case((5, 4, 2), (3, 2, 4), layouts=("WCN", "WOI", "WNC"), label="short-layout"),
    case(
        (5, 3, 4),
        (3, 3, 4),
        layouts=ConvDimensionNumbers((2, 1, 0), (2, 1, 0), (1, 2, 0)),
        batches=2,
        label="layout-and-groups",
    ),
    # Few output features: evaluated by element rather than by window.
    case((2, 8, 5), (2, 8, 3), padding=((2, 1),), rhs_dilation=(2,), label="few-outputs"),
    case((9, 1, 5), (2, 1, 3), padding=((1, 1),), label="large-batch"),
    case((0, 2, 5), (3, 2, 3), label="no-batch"),
    case((2, 2, 2), (3, 2, 3), label="no-places"),
    case((2, 0, 4), (3, 0, 3), label="no-features"),
    case((2, 2, 5), (3, 2, 3), kinds=NUMBERS, label="every-dtype", reference=by_loops),
    case(
        (1, 2, 5, 4),
        (2, 2, 2, 2),
        (2, 1),
        ((1, 0), (1, 1)),
        rhs_dilation=(1, 2),
        kinds=COMPLEX,
        label="complex",
        reference=by_loops,
    ),
    case((2, 9, 5), (3, 9, 3), kinds=HALVES, label="half", reference=by_loops),
]

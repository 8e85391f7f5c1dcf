"""Examples of `fstensor.numpy`: creation, elementwise functions and reductions."""

from __future__ import annotations

import numpy as np

from fstensor.testing.examples.example import (
    ABOVE_ONE,
    BOOLS,
    COMPLEX,
    INTEGERS,
    MATRIX,
    OTHER,
    OTHER_BOOLS,
    POSITIVE,
    SMALL_INTEGERS,
    SQUARE,
    UNIT,
    Examples,
    constant,
    each,
    given,
)

WITH_NAN = np.array([[0.4, np.nan, -1.2], [0.9, 2.3, np.nan]])

CREATION: Examples = {
    **each("array asarray copy zeros_like ones_like tril triu diag diagonal", SQUARE),
    **each("empty_like", SQUARE, call=lambda f, x: f(x).shape),
    **each("zeros ones", call=constant((2, 3))),
    **each("empty", call=lambda f: f((2, 3)).shape),
    **each("full", np.array(0.7), call=lambda f, x: f((2,), x)),
    **each("full_like", UNIT, np.array(0.7)),
    **each("arange", call=constant(1, 10, 3)),
    **each("linspace", UNIT, OTHER, call=given(5)),
    **each("logspace", UNIT, OTHER, call=given(5)),
    **each("geomspace", POSITIVE, ABOVE_ONE, call=given(5)),
    **each("eye", call=constant(3, 4, 1)),
    **each("identity", call=constant(3)),
    **each("tri", call=constant(3, 4, 1)),
    **each("meshgrid", UNIT, OTHER),
    **each("indices", call=constant((2, 3))),
    **each("astype", UNIT, call=given(np.complex128)),
    **each("from_dlpack", UNIT, like=""),
    **each("fromfunction", call=constant(lambda i, j: i + 2 * j, (2, 3))),
    **each("shape ndim size", MATRIX),
}

UNARY: Examples = {
    **each(
        "abs absolute negative positive square cbrt exp exp2 expm1 sin cos tan arcsin arccos "
        "arctan asin acos atan sinh cosh tanh arcsinh arctanh asinh atanh sinc sign signbit floor "
        "ceil trunc round rint nan_to_num isnan isinf isfinite deg2rad rad2deg i0 unwrap",
        UNIT,
    ),
    **each("reciprocal sqrt log log2 log10 log1p", POSITIVE),
    **each("arccosh acosh", ABOVE_ONE),
    **each("real imag conj conjugate angle", COMPLEX),
    **each("bitwise_not bitwise_invert invert", INTEGERS),
    **each("logical_not", BOOLS),
    **each("frexp modf", POSITIVE),
    **each("packbits", BOOLS),
    **each("unpackbits", np.array([3, 200], np.uint8)),
}

BINARY: Examples = {
    **each(
        "add subtract multiply divide true_divide floor_divide mod remainder fmod divmod hypot "
        "arctan2 atan2 copysign maximum minimum fmax fmin logaddexp logaddexp2 heaviside equal "
        "not_equal less less_equal greater greater_equal isclose allclose array_equal nextafter",
        UNIT,
        OTHER,
    ),
    **each("power pow float_power", POSITIVE, OTHER),
    **each("logical_and logical_or logical_xor", BOOLS, OTHER_BOOLS),
    **each("bitwise_and bitwise_or bitwise_xor gcd lcm", INTEGERS, SMALL_INTEGERS),
    **each(
        "left_shift right_shift bitwise_left_shift bitwise_right_shift", INTEGERS, SMALL_INTEGERS
    ),
    **each("ldexp", UNIT, SMALL_INTEGERS),
    **each("clip", OTHER, UNIT - 0.4, UNIT + 0.4),
    **each("where", BOOLS, UNIT, OTHER),
    **each("select", BOOLS, UNIT, OTHER, call=lambda f, c, x, y: f([c], [x], y)),
    **each("piecewise", UNIT, call=lambda f, x: f(x, [x > 0], [lambda y: y * y, lambda y: -y])),
}

REDUCTIONS: Examples = {
    **each(
        "sum prod mean var std max amax min amin ptp argmax argmin cumsum cumprod average median "
        "count_nonzero",
        MATRIX,
        call=given(axis=1),
    ),
    **each("all any", np.array([[True, False], [True, True]]), call=given(axis=1)),
    **each(
        "nansum nanprod nanmean nanvar nanstd nanmax nanmin nanargmax nanargmin nanmedian "
        "nancumsum nancumprod",
        WITH_NAN,
        call=given(axis=1),
    ),
    **each("nanquantile", WITH_NAN, np.array(0.3), call=given(axis=1)),
    **each("nanpercentile", WITH_NAN, np.array(30.0), call=given(axis=1)),
    **each("cumulative_sum cumulative_prod", MATRIX, call=given(axis=1, include_initial=True)),
    **each("quantile", MATRIX, np.array(0.3), call=given(axis=1)),
    **each("percentile", MATRIX, np.array(30.0), call=given(axis=1)),
    **each("trapezoid", MATRIX, UNIT),
}

OF_DTYPES: Examples = {
    **each("result_type", call=lambda f: str(np.dtype(f(np.float32, np.float64)))),
    **each("promote_types", call=lambda f: str(np.dtype(f(np.float32, np.float64)))),
    **each("issubdtype", call=constant(np.float32, np.floating)),
    **each("isdtype", call=constant(np.dtype(np.float32), "real floating")),
    **each("can_cast", call=constant(np.float32, np.float64)),
    **each("broadcast_shapes", call=constant((2, 1), (3,))),
}

WINDOWS: Examples = {
    **each("bartlett blackman hamming hanning", call=constant(6)),
    **each("kaiser", call=constant(6, 2.5)),
}

EXAMPLES: dict[str, Examples] = {
    "numpy": {**CREATION, **UNARY, **BINARY, **REDUCTIONS, **OF_DTYPES, **WINDOWS}
}

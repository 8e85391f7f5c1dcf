"""Examples of `fstensor.lax` and `lax.linalg`."""

from __future__ import annotations

import numpy as np

import fstensor as fst
from fstensor import lax
from fstensor.testing.examples.example import (
    ABOVE_ONE,
    BOOLS,
    COMPLEX,
    CUBE,
    FRACTION,
    INTEGERS,
    MATRIX,
    OTHER,
    POSITIVE,
    SMALL_INTEGERS,
    SQUARE,
    SYMMETRIC,
    UNIT,
    Call,
    Examples,
    constant,
    each,
    given,
    listed,
)

IMAGE = CUBE.reshape(1, 2, 3, 4)
KERNEL = np.cos(np.arange(16.0)).reshape(2, 2, 2, 2)
INDEX = np.array(1)
ROWS = np.array([[1], [0]])


def _over_axis(f: Call, x: object) -> object:
    """A collective has a sense within vmap alone."""
    return fst.vmap(lambda row: f(row, "i"), axis_name="i")(x)


def _of_index(f: Call, x: object) -> object:
    return fst.vmap(lambda row: f("i") * row, axis_name="i")(x)


ELEMENTWISE: Examples = {
    **each(
        "neg sign floor ceil round exp exp2 expm1 logistic sin cos tan sinh cosh tanh asin acos "
        "atan asinh atanh cbrt square erf erfc erf_inv abs bessel_i0e bessel_i1e is_finite",
        UNIT,
    ),
    **each("log log1p sqrt rsqrt reciprocal lgamma digamma", POSITIVE),
    **each("acosh", ABOVE_ONE),
    **each("real imag conj", COMPLEX),
    **each("integer_pow", UNIT, call=given(3)),
    **each("add sub mul div rem max min atan2 complex nextafter eq ne lt le gt ge", UNIT, OTHER),
    **each("pow igamma igammac igamma_grad_a random_gamma_grad", POSITIVE, ABOVE_ONE),
    **each("zeta", POSITIVE, call=lambda f, q: f(ABOVE_ONE + 0.5, q)),
    **each("polygamma", POSITIVE, call=lambda f, x: f(np.array([0.0, 1.0, 2.0]), x)),
    **each("betainc", FRACTION, call=lambda f, x: f(POSITIVE, ABOVE_ONE, x)),
    **each("bitwise_and bitwise_or bitwise_xor", INTEGERS, SMALL_INTEGERS),
    **each("shift_left shift_right_arithmetic shift_right_logical", INTEGERS, SMALL_INTEGERS),
    **each("bitwise_not population_count clz", INTEGERS),
    **each("mulhi", INTEGERS * 2**60, SMALL_INTEGERS * 7),
    **each("clamp", UNIT - 0.4, OTHER / 2, UNIT + 0.4),
    **each("select", BOOLS, UNIT, OTHER),
    **each("select_n", BOOLS, UNIT, OTHER),
    **each("convert_element_type", UNIT, call=given(np.complex128)),
    **each("bitcast_convert_type", UNIT, call=given(np.int64)),
    **each("reduce_precision", UNIT, call=given(exponent_bits=8, mantissa_bits=10)),
    **each("stop_gradient optimization_barrier", UNIT),
    **each(
        "platform_dependent",
        UNIT,
        call=given(cpu=lambda x: x * x, default=lambda x: x * x * 1.0),
    ),
}

SHAPE: Examples = {
    **each("broadcast", UNIT, call=given((2,))),
    **each("broadcast_in_dim", UNIT, call=given((2, 3), (1,))),
    **each("iota", call=constant(np.int32, 3)),
    **each("broadcasted_iota", call=constant(np.int32, (2, 3), 1)),
    **each("full", np.array(0.7), call=lambda f, x: f((2,), x)),
    **each("full_like", UNIT, np.array(0.7)),
    **each("reshape", MATRIX, call=given((3, 2))),
    **each("transpose", MATRIX, call=given((1, 0))),
    **each("squeeze", MATRIX[None], call=given((0,))),
    **each("expand_dims", MATRIX, call=given((1,))),
    **each("collapse", CUBE, call=given(0, 2)),
    **each("rev", MATRIX, call=given((1,))),
    **each("pad", UNIT, np.array(0.2), call=given([(-1, 2, 1)])),
    **each("concatenate", UNIT, OTHER, call=listed(0)),
    **each("split", UNIT, call=given((1, 2))),
    **each("slice", MATRIX, call=given((0, 1), (2, 3), (1, 1))),
    **each("slice_in_dim", MATRIX, call=given(0, 3, 2, 1)),
    **each("index_in_dim", MATRIX, call=given(1, 1, False)),
    **each("dynamic_slice", MATRIX, INDEX, call=lambda f, x, i: f(x, (0, i), (2, 2))),
    **each("dynamic_slice_in_dim", MATRIX, INDEX, call=given(2, axis=1)),
    **each("dynamic_index_in_dim", MATRIX, INDEX, call=given(axis=1)),
    **each(
        "dynamic_update_slice",
        MATRIX,
        SQUARE[:2, :2],
        INDEX,
        call=lambda f, x, u, i: f(x, u, (0, i)),
    ),
    **each(
        "dynamic_update_slice_in_dim dynamic_update_index_in_dim",
        MATRIX,
        SQUARE[:2, :1],
        INDEX,
        call=given(1),
    ),
    **each("tile", UNIT, call=given((2,))),
    **each(
        "gather",
        MATRIX,
        ROWS,
        call=given(lax.GatherDimensionNumbers((1,), (0,), (0,)), (1, 3)),
        like="",
    ),
    **each(
        "scatter scatter_add scatter_sub scatter_mul scatter_min scatter_max",
        MATRIX,
        ROWS,
        SQUARE[:2],
        call=given(lax.ScatterDimensionNumbers((1,), (0,), (0,))),
        like="",
    ),
}

REDUCTIONS: Examples = {
    **each("reduce", MATRIX, call=given(0.0, lambda a, b: a + b, (1,))),
    **each("reduce_sum reduce_prod reduce_max reduce_min", MATRIX, call=given((1,))),
    **each("reduce_and reduce_or reduce_xor", BOOLS, call=given((0,))),
    **each(
        "reduce_window",
        MATRIX,
        call=given(0.0, lambda a, b: a + b, (1, 2), (1, 1), "VALID"),
        like="",
    ),
    **each("argmax argmin", MATRIX, call=given(1, np.int32)),
    **each("cumsum cumprod cummax cummin cumlogsumexp", MATRIX, call=given(1, reverse=True)),
    **each("sort", UNIT, OTHER, call=lambda f, x, y: f((x, y), num_keys=1)),
    **each("sort_key_val", UNIT, OTHER),
    **each("top_k", MATRIX, call=given(2)),
}

CONTRACTIONS: Examples = {
    **each("dot", MATRIX, SQUARE),
    **each("dot_general", MATRIX, MATRIX, call=given((((1,), (1,)), ((0,), (0,))))),
    **each("batch_matmul", MATRIX[None], SQUARE[None]),
    **each("conv", IMAGE, KERNEL, call=given((1, 1), "SAME")),
    **each(
        "conv_general_dilated", IMAGE, KERNEL, call=given((1, 2), [(1, 0), (0, 1)], (2, 1), (1, 2))
    ),
    **each("conv_with_general_padding", IMAGE, KERNEL, call=given((1, 1), "SAME", (1, 1), (1, 1))),
    **each(
        "conv_transpose",
        IMAGE,
        KERNEL,
        call=given((2, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW")),
    ),
    **each("conv_general_dilated_patches", IMAGE, call=given((2, 2), (1, 1), "VALID")),
    **each(
        "conv_general_dilated_local",
        IMAGE,
        np.sin(np.arange(96.0)).reshape(2, 8, 2, 3),
        call=given((1, 1), "VALID", (2, 2)),
    ),
    **each("padtype_to_pads", call=constant((5,), (3,), (2,), "SAME")),
    **each(
        "conv_dimension_numbers",
        call=constant((1, 2, 3, 4), (2, 2, 2, 2), ("NCHW", "OIHW", "NCHW")),
    ),
    **each("fft", COMPLEX, call=given("fft", (3,))),
    **each("psum pmean pmax pmin", MATRIX, call=_over_axis, like=""),
    **each("axis_index axis_size", MATRIX, call=_of_index, like=""),
    **each("all_gather", MATRIX, call=_over_axis, like=""),
    **each(
        "ppermute",
        MATRIX,
        call=lambda f, x: _over_axis(lambda row, i: f(row, i, [(0, 1), (1, 0)]), x),
        like="",
    ),
    **each(
        "all_to_all",
        SQUARE,
        call=lambda f, x: _over_axis(lambda row, i: f(row, i, 0, 0), x),
        like="",
    ),
    **each("psum_scatter", SQUARE, call=_over_axis, like=""),
}


def _magnitudes(tree: object) -> list[object]:
    """Absolute values: eigenvectors and factors are determined up to a phase."""
    return [
        fst.numpy.abs(x) if isinstance(x, fst.Array) else np.abs(np.asarray(x))
        for x in fst.tree.leaves(tree)
    ]


def _up_to_phase(f: Call, *arrays: object) -> object:
    return _magnitudes(f(*arrays))


LINALG: Examples = {
    **each("cholesky", SYMMETRIC),
    **each("lu", SQUARE),
    **each("qr", SQUARE, call=given(full_matrices=False)),
    **each("eigh", SYMMETRIC, call=_up_to_phase),
    **each("svd", MATRIX, call=lambda f, x: _magnitudes(f(x, full_matrices=False))),
    **each("eig", SQUARE, call=lambda f, x: _magnitudes(f(x)), like=""),
    **each(
        "triangular_solve",
        SQUARE,
        MATRIX,
        call=lambda f, a, b: f(a, b, left_side=False, lower=True),
    ),
    **each(
        "tridiagonal_solve",
        np.array([0.0, 0.4, -0.3]),
        np.array([2.1, 1.8, 2.5]),
        np.array([0.5, 0.2, 0.0]),
        SQUARE,
    ),
    **each("householder_product", SQUARE[:, :2], FRACTION[:2]),
}

EXAMPLES: dict[str, Examples] = {
    "lax": {**ELEMENTWISE, **SHAPE, **REDUCTIONS, **CONTRACTIONS},
    "lax.linalg": LINALG,
}

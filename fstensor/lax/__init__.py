"""The operations themselves, under JAX's names, and functions made of one or two of them.

They are stricter than those of `fstensor.numpy`: operands have one dtype, ranks are equal up to
scalars, and only axes of size 1 stretch. A Python scalar takes the dtype of the other operand.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from fstensor import dtypes, tree
from fstensor.array import Array, ArrayLike, DtypeLike, lift, normalize_axis
from fstensor.control.cond import cond, switch
from fstensor.control.linear_solve import custom_linear_solve
from fstensor.control.loops import associative_scan, fori_loop, map
from fstensor.control.root import custom_root
from fstensor.control.scan import scan
from fstensor.control.while_loop import while_loop
from fstensor.errors import AxisError
from fstensor.lax import linalg as linalg
from fstensor.lax.choose import approx_max_k, approx_min_k, platform_dependent
from fstensor.lax.repeat import (
    broadcast_like,
    broadcast_shapes,
    broadcast_to_rank,
    stack,
    tile,
    unstack,
)
from fstensor.ops.arrange import concatenate, rev, split
from fstensor.ops.barrier import optimization_barrier
from fstensor.ops.bessel import bessel_i0e, bessel_i1e
from fstensor.ops.beta import betainc
from fstensor.ops.collectives import axis_index, axis_size, pmax, pmean, pmin, psum
from fstensor.ops.conv import (
    ConvDimensionNumbers,
    ConvGeneralDilatedDimensionNumbers,
    conv,
    conv_dimension_numbers,
    conv_general_dilated,
    conv_transpose,
    conv_with_general_padding,
    padtype_to_pads,
)
from fstensor.ops.convert import (
    StopGradient,
    bitcast_convert_type,
    complex,
    conj,
    convert_element_type,
    imag,
    real,
    reduce_precision,
)
from fstensor.ops.cumulative import cumlogsumexp, cummax, cummin, cumprod, cumsum
from fstensor.ops.dot import DotDimensionNumbers, batch_matmul, dot, dot_general
from fstensor.ops.elementwise import (
    abs,
    add,
    cbrt,
    clamp,
    div,
    integer_pow,
    is_finite,
    max,
    min,
    mul,
    neg,
    nextafter,
    pow,
    rem,
    rsqrt,
    sign,
    sqrt,
    square,
    sub,
)
from fstensor.ops.exchange import (
    all_gather,
    all_to_all,
    pbroadcast,
    ppermute,
    pshuffle,
    psum_scatter,
    pswapaxes,
)
from fstensor.ops.fft import FftType, fft
from fstensor.ops.gamma import igamma, igamma_grad_a, igammac, random_gamma_grad
from fstensor.ops.gather import GatherDimensionNumbers, GatherScatterMode, gather
from fstensor.ops.index import (
    dynamic_index_in_dim,
    dynamic_slice,
    dynamic_slice_in_dim,
    dynamic_update_index_in_dim,
    dynamic_update_slice,
    dynamic_update_slice_in_dim,
    index_in_dim,
    pad,
    slice,
    slice_in_dim,
)
from fstensor.ops.logical import (
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    clz,
    eq,
    ge,
    gt,
    le,
    lt,
    ne,
    population_count,
    select_n,
    shift_left,
    shift_right_arithmetic,
    shift_right_logical,
)
from fstensor.ops.mulhi import mulhi
from fstensor.ops.patches import conv_general_dilated_local, conv_general_dilated_patches
from fstensor.ops.polygamma import digamma, polygamma, zeta
from fstensor.ops.precision import Precision, PrecisionLike
from fstensor.ops.reduce import (
    argmax,
    argmin,
    reduce,
    reduce_and,
    reduce_max,
    reduce_min,
    reduce_or,
    reduce_prod,
    reduce_sum,
    reduce_xor,
)
from fstensor.ops.rounding import RoundingMethod, ceil, floor, round
from fstensor.ops.scatter import (
    ScatterDimensionNumbers,
    scatter,
    scatter_add,
    scatter_max,
    scatter_min,
    scatter_mul,
    scatter_sub,
)
from fstensor.ops.shape import (
    broadcast_in_dim,
    broadcasted_iota,
    expand_dims,
    reshape,
    squeeze,
    transpose,
)
from fstensor.ops.sort import sort, sort_key_val, top_k
from fstensor.ops.special import erf, erf_inv, erfc, lgamma
from fstensor.ops.transcendental import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cos,
    cosh,
    exp,
    exp2,
    expm1,
    log,
    log1p,
    logistic,
    sin,
    sinh,
    tan,
    tanh,
)
from fstensor.ops.window import reduce_window

__all__ = [
    "ConvDimensionNumbers",
    "ConvGeneralDilatedDimensionNumbers",
    "DotDimensionNumbers",
    "FftType",
    "GatherDimensionNumbers",
    "GatherScatterMode",
    "Precision",
    "PrecisionLike",
    "RoundingMethod",
    "ScatterDimensionNumbers",
    "abs",
    "acos",
    "acosh",
    "add",
    "all_gather",
    "all_to_all",
    "approx_max_k",
    "approx_min_k",
    "argmax",
    "argmin",
    "asin",
    "asinh",
    "associative_scan",
    "atan",
    "atan2",
    "atanh",
    "axis_index",
    "axis_size",
    "batch_matmul",
    "bessel_i0e",
    "bessel_i1e",
    "betainc",
    "bitcast_convert_type",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "broadcast",
    "broadcast_in_dim",
    "broadcast_like",
    "broadcast_shapes",
    "broadcast_to_rank",
    "broadcasted_iota",
    "cbrt",
    "ceil",
    "clamp",
    "clz",
    "collapse",
    "complex",
    "concatenate",
    "cond",
    "conj",
    "conv",
    "conv_dimension_numbers",
    "conv_general_dilated",
    "conv_general_dilated_local",
    "conv_general_dilated_patches",
    "conv_transpose",
    "conv_with_general_padding",
    "convert_element_type",
    "cos",
    "cosh",
    "cumlogsumexp",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "custom_linear_solve",
    "custom_root",
    "digamma",
    "div",
    "dot",
    "dot_general",
    "dtype",
    "dynamic_index_in_dim",
    "dynamic_slice",
    "dynamic_slice_in_dim",
    "dynamic_update_index_in_dim",
    "dynamic_update_slice",
    "dynamic_update_slice_in_dim",
    "empty",
    "eq",
    "erf",
    "erf_inv",
    "erfc",
    "exp",
    "exp2",
    "expand_dims",
    "expm1",
    "fft",
    "floor",
    "fori_loop",
    "full",
    "full_like",
    "gather",
    "ge",
    "gt",
    "igamma",
    "igamma_grad_a",
    "igammac",
    "imag",
    "index_in_dim",
    "integer_pow",
    "iota",
    "is_finite",
    "le",
    "lgamma",
    "linalg",
    "log",
    "log1p",
    "logistic",
    "lt",
    "map",
    "max",
    "min",
    "mul",
    "mulhi",
    "ne",
    "neg",
    "nextafter",
    "optimization_barrier",
    "pad",
    "padtype_to_pads",
    "pbroadcast",
    "platform_dependent",
    "pmax",
    "pmean",
    "pmin",
    "polygamma",
    "population_count",
    "pow",
    "ppermute",
    "pshuffle",
    "psum",
    "psum_scatter",
    "pswapaxes",
    "random_gamma_grad",
    "real",
    "reciprocal",
    "reduce",
    "reduce_and",
    "reduce_max",
    "reduce_min",
    "reduce_or",
    "reduce_precision",
    "reduce_prod",
    "reduce_sum",
    "reduce_window",
    "reduce_xor",
    "rem",
    "reshape",
    "rev",
    "round",
    "rsqrt",
    "scan",
    "scatter",
    "scatter_add",
    "scatter_max",
    "scatter_min",
    "scatter_mul",
    "scatter_sub",
    "select",
    "select_n",
    "shift_left",
    "shift_right_arithmetic",
    "shift_right_logical",
    "sign",
    "sin",
    "sinh",
    "slice",
    "slice_in_dim",
    "sort",
    "sort_key_val",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "stop_gradient",
    "sub",
    "switch",
    "tan",
    "tanh",
    "tile",
    "top_k",
    "transpose",
    "unstack",
    "while_loop",
    "zeta",
]


def reciprocal(x: ArrayLike) -> Array:
    """Elementwise 1 / x. Dtypes: float and complex."""
    return integer_pow(x, -1)


def select(pred: ArrayLike, on_true: ArrayLike, on_false: ArrayLike) -> Array:
    """Elementwise choice of `on_true` where `pred` holds, else of `on_false`.

    Shapes and dtypes as in `select_n`.
    """
    return select_n(pred, on_false, on_true)


def stop_gradient(x: Any) -> Any:
    """`x`, or each leaf of the tree `x`, as a constant to differentiation."""
    return tree.map(StopGradient().bind, x)


def full(shape: Sequence[int], fill_value: ArrayLike, dtype: DtypeLike = None) -> Array:
    """An array filled with a scalar; its dtype by default."""
    value = lift(
        fill_value,
        None if dtype is None or isinstance(fill_value, Array) else dtypes.canonical(dtype),
    )
    if dtype is not None:
        value = convert_element_type(value, dtype)
    return broadcast(value, tuple(shape))


def full_like(
    x: ArrayLike, fill_value: ArrayLike, dtype: DtypeLike = None, shape: Sequence[int] | None = None
) -> Array:
    """An array filled with a scalar, of the shape and dtype of `x` unless others are given."""
    like = lift(x)
    return full(
        like.shape if shape is None else shape, fill_value, like.dtype if dtype is None else dtype
    )


def empty(shape: Sequence[int], dtype: DtypeLike) -> Array:
    """An array of zeros: Arrays cannot be written into, so others would be of no use."""
    return full(shape, 0, dtype)


def dtype(x: Any) -> np.dtype[Any]:
    """The dtype of an array, or the one that a Python scalar has as an array."""
    return lift(x, what="dtype").dtype


def iota(dtype: DtypeLike, size: int) -> Array:
    """The numbers 0, 1, …, size - 1, as `dtype`."""
    return broadcasted_iota(dtype, (operator.index(size),), 0)


def broadcast(operand: ArrayLike, sizes: Sequence[int]) -> Array:
    """`operand` repeated along new leading axes of these sizes."""
    x = lift(operand)
    shape = (*sizes, *x.shape)
    return broadcast_in_dim(x, shape, range(len(sizes), len(shape)))


def collapse(operand: ArrayLike, start_dimension: int, stop_dimension: int | None = None) -> Array:
    """Axes from start_dimension up to, but without, stop_dimension made one.

    Raises: AxisError unless start <= stop and both exist.
    """
    x = lift(operand)
    start = normalize_axis(start_dimension, x.ndim, "collapse")
    stop = x.ndim if stop_dimension is None else operator.index(stop_dimension)
    stop += x.ndim * (stop < 0)
    if not start <= stop <= x.ndim:
        raise AxisError(
            f"collapse: start_dimension <= stop_dimension must hold, got {start_dimension} and "
            f"{stop_dimension} for {x.aval}"
        )
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start:stop]), *x.shape[stop:]))

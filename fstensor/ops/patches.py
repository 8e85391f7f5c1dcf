"""Windows of an operand as features, and convolutions whose kernel differs between places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fstensor.array import Array, ArrayLike, DtypeLike
from fstensor.core.trace import operand as as_operand
from fstensor.errors import ShapeError
from fstensor.ops.conv import (
    ConvGeneralDilatedDimensionNumbers,
    conv_dimension_numbers,
    conv_general_dilated,
    inverse,
)
from fstensor.ops.dot import dot_general
from fstensor.ops.precision import PrecisionLike, check_precision
from fstensor.ops.shape import transpose


def conv_general_dilated_patches(
    lhs: ArrayLike,
    filter_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """The window at each place of a convolution, as features: c prod(filter_shape) of them.

    The features of the result are ordered by channel first, then by place in the window.
    Other arguments: those of conv_general_dilated; Raises: the same.
    """
    x = as_operand(lhs, "conv_general_dilated_patches")
    window = tuple(filter_shape)
    kernel_shape = (0, 0, *window)
    numbers = conv_dimension_numbers(x.shape, kernel_shape, dimension_numbers)
    channels, count = x.shape[numbers.lhs_spec[1]], math.prod(window)
    # One output feature for each place in the window, that picks the element there.
    picks = np.eye(count, dtype=x.dtype).reshape(count, 1, *window)
    kernel = np.tile(picks, (channels, *[1] * (len(window) + 1)))
    kernel = kernel.transpose(inverse(numbers.rhs_spec))
    return conv_general_dilated(
        x,
        kernel,
        window_strides,
        padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=numbers,
        feature_group_count=channels,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_general_dilated_local(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    filter_shape: Sequence[int],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: PrecisionLike = None,
) -> Array:
    """Convolution with a kernel of its own at each place.

    rhs: at its spatial axes the place in the result, at its axis of input features those of
        `conv_general_dilated_patches`: channel first, then the place in the window.
    filter_shape: the sizes of the window, which the shape of rhs does not tell.
    Shapes: canonically lhs (n, c, *s), rhs (o, c prod(filter_shape), *y) -> (n, o, *y).
    Other arguments: those of conv_general_dilated; Raises: the same.
    """
    check_precision("conv_general_dilated_local", precision)
    x, w = (as_operand(operand, "conv_general_dilated_local") for operand in (lhs, rhs))
    numbers = conv_dimension_numbers(x.shape, w.shape, dimension_numbers)
    _, (_, features, *places), out_spec = numbers
    patches = conv_general_dilated_patches(
        x, filter_shape, window_strides, padding, lhs_dilation, rhs_dilation, numbers
    )
    if [w.shape[i] for i in (features, *places)] != [patches.shape[i] for i in out_spec[1:]]:
        raise ShapeError(
            "conv_general_dilated_local: rhs must have a kernel for each place, got "
            f"{w.aval} for patches {patches.aval}"
        )
    # Places are a batch axis of both: the result has them in front, then batch and features.
    contract = ((out_spec[1],), (features,))
    product = dot_general(patches, w, (contract, (out_spec[2:], tuple(places))))
    rank = product.ndim
    canonical = (rank - 2, rank - 1, *range(rank - 2))
    return transpose(product, [canonical[i] for i in inverse(out_spec)])

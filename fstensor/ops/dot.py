"""Contractions: sums of products over shared axes of two operands."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, final

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike, DtypeLike
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value, primitive
from fstensor.core.trace import operand as as_operand
from fstensor.errors import AxisError, DtypeError, OptionError, ShapeError
from fstensor.ops.convert import convert_element_type
from fstensor.ops.elementwise import add_any
from fstensor.ops.families import NUMERIC, check_same_dtype
from fstensor.ops.precision import PrecisionLike, check_precision
from fstensor.ops.reduce import wide_accumulator
from fstensor.ops.shape import moveaxis, transpose

Axes: TypeAlias = tuple[int, ...]
# ((lhs contracting, rhs contracting), (lhs batch, rhs batch))
DotDimensionNumbers: TypeAlias = tuple[tuple[Axes, Axes], tuple[Axes, Axes]]

_OF_BLAS = {np.dtype(c) for c in "fdFD"}


@final
@primitive("dot_general")
class DotGeneral(Primitive):
    """Sum of products over pairs of contracting axes, for each index of pairs of batch axes.

    The result has the batch axes in front, then the other axes of the left operand, then those of
    the right one. It is linear in each operand, and so are its rules: the cotangent of an operand
    is the contraction of the result's cotangent with the other operand.
    """

    dimension_numbers: DotDimensionNumbers
    preferred_element_type: np.dtype[Any] | None = None

    def printed_params(self) -> dict[str, Any]:
        contract, batch = self.dimension_numbers
        as_lists = (tuple(map(list, contract)), tuple(map(list, batch)))
        if self.preferred_element_type is None:
            return {"dimension_numbers": as_lists}
        preferred = dtypes.name(self.preferred_element_type)
        return {"dimension_numbers": as_lists, "preferred_element_type": preferred}

    def abstract(self, lhs: ShapedArray, rhs: ShapedArray) -> ShapedArray:
        (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = self.dimension_numbers
        _check_axes(lhs, "lhs", lhs_contract, lhs_batch)
        _check_axes(rhs, "rhs", rhs_contract, rhs_batch)
        _check_pairs("contracting", lhs, rhs, lhs_contract, rhs_contract)
        _check_pairs("batch", lhs, rhs, lhs_batch, rhs_batch)
        dtype = contraction_dtype("dot_general", lhs, rhs, self.preferred_element_type)
        shape = [lhs.shape[i] for i in lhs_batch]
        shape += [lhs.shape[i] for i in free_axes(lhs.ndim, lhs_contract, lhs_batch)]
        shape += [rhs.shape[i] for i in free_axes(rhs.ndim, rhs_contract, rhs_batch)]
        weak = lhs.weak_type and rhs.weak_type and self.preferred_element_type is None
        return ShapedArray(tuple(shape), dtype, weak)

    def impl(self, xp: Any, lhs: Any, rhs: Any) -> Any:
        (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = self.dimension_numbers
        out_dtype = self.preferred_element_type or lhs.dtype
        lhs, rhs = widened(lhs, rhs, out_dtype)
        if lhs.ndim <= 2 and rhs.ndim <= 2 and len(lhs_contract) == 1 and not lhs_batch:
            left = lhs if lhs_contract[0] == lhs.ndim - 1 else lhs.T
            right = rhs if rhs_contract[0] == 0 else rhs.T
            out = matmul(xp, left, right)
            return out if out.dtype is out_dtype else out.astype(out_dtype, copy=False)
        lhs_free = free_axes(lhs.ndim, lhs_contract, lhs_batch)
        rhs_free = free_axes(rhs.ndim, rhs_contract, rhs_batch)
        # The pairs may be summed in any order: take the one in which the larger operand lies.
        leading = lhs_contract if lhs.size >= rhs.size else rhs_contract
        order = sorted(range(len(leading)), key=leading.__getitem__)
        left = _matrices(lhs, lhs_batch, lhs_free, tuple([lhs_contract[i] for i in order]))
        right = _matrices(rhs, rhs_batch, tuple([rhs_contract[i] for i in order]), rhs_free)
        shape = [lhs.shape[i] for i in (*lhs_batch, *lhs_free)]
        shape += [rhs.shape[i] for i in rhs_free]
        return matmul(xp, left, right).astype(out_dtype, copy=False).reshape(shape)

    def on_numpy(self, *avals: ShapedArray) -> Callable[..., Any]:
        lhs, rhs = avals
        plain = self.dimension_numbers == (((0,), (0,)), ((), ())) and lhs.ndim == rhs.ndim == 1
        if plain and lhs.dtype in _OF_BLAS and self.preferred_element_type in (None, lhs.dtype):
            return np.dot
        return super().on_numpy(*avals)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        (lhs, rhs), (t_lhs, t_rhs) = primals, tangents
        out = self.bind(lhs, rhs)
        parts = []
        if t_lhs is not ZERO:
            parts.append(self.bind(t_lhs, rhs))
        if t_rhs is not ZERO:
            parts.append(self.bind(lhs, t_rhs))
        return out, parts[0] if len(parts) == 1 else add_any(*parts)

    def transpose(self, ct: Array, lhs: Value, rhs: Value) -> Sequence[Value]:
        contract, batch = self.dimension_numbers
        if isinstance(lhs, Linear):
            return [self._pull_back(ct, lhs, rhs, contract, batch, linear_first=True), None]
        swapped = (contract[::-1], batch[::-1])
        return [None, self._pull_back(ct, rhs, lhs, *swapped, linear_first=False)]

    def _pull_back(
        self,
        ct: Array,
        linear: Linear,
        other: Array,
        contract: tuple[Axes, Axes],
        batch: tuple[Axes, Axes],
        linear_first: bool,
    ) -> Array:
        """The cotangent of the operand `linear`, whose axes come first in `contract` and `batch`.

        ct is contracted with `other` over the axes that the result has from `other`; what is left
        are the batch axes, the free axes of `linear`, and its contracting axes in the order in
        which `other` has theirs.
        """
        kept = free_axes(linear.ndim, contract[0], batch[0])
        other_kept = free_axes(other.ndim, contract[1], batch[1])
        count = len(batch[0])
        start = count + len(kept) if linear_first else count
        of_other = tuple(range(start, start + len(other_kept)))
        numbers = ((of_other, other_kept), (tuple(range(count)), batch[1]))
        product = DotGeneral(numbers, self.preferred_element_type).bind(ct, other)
        contracted = [contract[0][i] for i in np.argsort(contract[1])]
        places = [*batch[0], *kept, *contracted]
        order = tuple(sorted(range(linear.ndim), key=places.__getitem__))
        return convert_element_type(transpose(product, order), linear.aval.dtype)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        """Two batches are a pair of batch axes; one batch is a free axis of its operand."""
        (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = self.dimension_numbers
        lhs_dim, rhs_dim = dims
        if lhs_dim is not None:
            lhs_contract, lhs_batch = _past(lhs_dim, lhs_contract), _past(lhs_dim, lhs_batch)
        if rhs_dim is not None:
            rhs_contract, rhs_batch = _past(rhs_dim, rhs_contract), _past(rhs_dim, rhs_batch)
        if lhs_dim is not None and rhs_dim is not None:
            lhs_batch, rhs_batch = (lhs_dim, *lhs_batch), (rhs_dim, *rhs_batch)
            place = 0
        else:
            lhs_free = free_axes(args[0].ndim, lhs_contract, lhs_batch)
            rhs_free = free_axes(args[1].ndim, rhs_contract, rhs_batch)
            place = len(lhs_batch)
            if lhs_dim is not None:
                place += lhs_free.index(lhs_dim)
            elif rhs_dim is not None:
                place += len(lhs_free) + rhs_free.index(rhs_dim)
        numbers = ((lhs_contract, rhs_contract), (lhs_batch, rhs_batch))
        out = DotGeneral(numbers, self.preferred_element_type).bind(*args)
        return moveaxis(out, place, 0), 0


def _check_axes(x: ShapedArray, side: str, contract: Axes, batch: Axes) -> None:
    named = (*contract, *batch)
    if any(not 0 <= i < x.ndim for i in named) or len(set(named)) != len(named):
        raise AxisError(
            f"dot_general: contracting and batch axes of {side} must exist and differ, "
            f"got contracting {contract} and batch {batch} for {x}"
        )


def _check_pairs(kind: str, lhs: ShapedArray, rhs: ShapedArray, of_lhs: Axes, of_rhs: Axes) -> None:
    if len(of_lhs) != len(of_rhs):
        raise ShapeError(
            f"dot_general: {kind} axes must come in pairs, got {of_lhs} for {lhs} "
            f"and {of_rhs} for {rhs}"
        )
    for i, j in zip(of_lhs, of_rhs, strict=True):
        if lhs.shape[i] != rhs.shape[j]:
            raise ShapeError(
                f"dot_general: {kind} sizes must match, got {lhs} and {rhs} "
                f"({lhs.shape[i]} != {rhs.shape[j]})"
            )


def free_axes(ndim: int, contract: Axes, batch: Axes) -> Axes:
    """The axes that are neither contracted nor batch axes."""
    return tuple([i for i in range(ndim) if i not in contract and i not in batch])


def _past(dim: int, axes: Axes) -> Axes:
    """Where the axes of an example lie in a batch along `dim`."""
    return tuple([i + (i >= dim) for i in axes])


def contraction_dtype(
    what: str, lhs: ShapedArray, rhs: ShapedArray, preferred: np.dtype[Any] | None
) -> np.dtype[Any]:
    """The dtype of a sum of products. Operands may differ when the result's dtype is given."""
    NUMERIC.check(what, lhs, rhs)
    if preferred is None:
        return check_same_dtype(what, (lhs, rhs))
    for x in (lhs, rhs):
        if not _holds(preferred, x.dtype):
            raise DtypeError(
                f"{what}: preferred_element_type must be at least as wide as the operands, "
                f"got {dtypes.name(preferred)} for {lhs} and {rhs}"
            )
    return preferred


def _holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    """Whether `wide` may collect products of `narrow`: no narrower, and no poorer in kind."""
    if dtypes.is_integer(narrow) and dtypes.is_float(wide):
        return True
    kinds = (dtypes.is_bool, dtypes.is_signed, dtypes.is_unsigned, dtypes.is_float)
    same_kind = any(kind(wide) and kind(narrow) for kind in kinds)
    to_integer = dtypes.is_bool(narrow) and dtypes.is_numeric(wide)
    to_complex = dtypes.is_complex(wide) and dtypes.is_inexact(narrow)
    return to_integer or ((same_kind or to_complex) and wide.itemsize >= narrow.itemsize)


def widened(lhs: Any, rhs: Any, out_dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The buffers in the dtype to sum in: that of the result, or a wider one."""
    work = wide_accumulator(out_dtype)
    if lhs.dtype is work and rhs.dtype is work:
        return lhs, rhs
    return lhs.astype(work, copy=False), rhs.astype(work, copy=False)


def _matrices(x: Any, batch: Axes, rows: Axes, columns: Axes) -> Any:
    """`x` as a stack of matrices, each index of `batch` one; a view where that is possible."""
    heads = [x.shape[i] for i in batch]
    m = math.prod([x.shape[i] for i in rows])
    n = math.prod([x.shape[i] for i in columns])
    if (*batch, *columns, *rows) == tuple(range(x.ndim)):
        return x.reshape([*heads, n, m]).swapaxes(-1, -2)
    return x.transpose((*batch, *rows, *columns)).reshape([*heads, m, n])


def matmul(xp: Any, x: Any, y: Any) -> Any:
    """Matrix products of stacks of matrices, or with a vector. An axis of size 1 needs no sums."""
    if x.ndim == 1 or y.ndim == 1:
        # The same as xp.matmul, whose calls take longer; but a stack of matrices is another thing.
        return xp.dot(x, y) if x.ndim == y.ndim else xp.matmul(x, y)
    if x.shape[-1] == 1:
        return xp.multiply(x, y)
    return xp.matmul(_addressable(xp, x), _addressable(xp, y))


def _addressable(xp: Any, x: Any) -> Any:
    """`x`, or a copy of it where BLAS could not read it: NumPy would fall back to a slow loop."""
    if xp is not np or dtypes.is_integer(x.dtype) or dtypes.is_bool(x.dtype):
        return x
    down, along = x.strides[-2:]
    size = x.itemsize
    if (along == size and down % size == 0 and down >= size * x.shape[-1]) or (
        down == size and along % size == 0 and along >= size * x.shape[-2]
    ):
        return x
    return np.ascontiguousarray(x)


def dot_general(
    lhs: ArrayLike,
    rhs: ArrayLike,
    dimension_numbers: Sequence[Sequence[Sequence[int]]],
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Sums of products over pairs of axes, for each index of pairs of batch axes.

    dimension_numbers: ((lhs contracting, rhs contracting), (lhs batch, rhs batch)), axes of equal
        sizes in pairs. Negative axes count from the end.
    precision: a lower bound on the accuracy, which all executors exceed. See `Precision`.
    Shapes: the result has the batch axes, then the other axes of lhs, then those of rhs.
    Dtypes: any numeric, one for both; sums of bools are logical. With preferred_element_type the
        result has that dtype, at least as wide as the operands, which may then differ. Products of
        16-bit floats are summed in float32 and rounded once.
    Raises: ShapeError when sizes differ, AxisError for axes that do not exist, DtypeError;
        OptionError for another precision.
    """
    check_precision("dot_general", precision)
    x, y = as_operand(lhs, "dot_general"), as_operand(rhs, "dot_general")
    try:
        (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = dimension_numbers
    except (TypeError, ValueError):
        raise OptionError(
            "dot_general: dimension_numbers must be ((lhs contracting, rhs contracting), "
            f"(lhs batch, rhs batch)), got {dimension_numbers!r}"
        ) from None
    numbers = (
        (_from_start(lhs_contract, x.ndim), _from_start(rhs_contract, y.ndim)),
        (_from_start(lhs_batch, x.ndim), _from_start(rhs_batch, y.ndim)),
    )
    preferred = None if preferred_element_type is None else dtypes.canonical(preferred_element_type)
    return DotGeneral(numbers, preferred).bind(x, y)


@functools.lru_cache(maxsize=256)
def contraction(numbers: DotDimensionNumbers, preferred: np.dtype[Any] | None) -> DotGeneral:
    """The primitive, made once: matrix products have few sets of parameters. No negative axes."""
    return DotGeneral(numbers, preferred)


def _from_start(axes: Sequence[int], ndim: int) -> Axes:
    return tuple([int(i) + ndim if -ndim <= i < 0 else int(i) for i in axes])


def dot(
    lhs: ArrayLike,
    rhs: ArrayLike,
    *,
    dimension_numbers: Sequence[Sequence[Sequence[int]]] | None = None,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Product of vectors and matrices: the last axis of lhs is contracted with the first of rhs.

    Shapes: each operand has rank 1 or 2, unless dimension_numbers are given, which are those of
    `dot_general`, as are the other options.
    Raises: ShapeError for other ranks and when the sizes differ, DtypeError, OptionError.
    """
    check_precision("dot", precision)
    x, y = as_operand(lhs, "dot"), as_operand(rhs, "dot")
    if dimension_numbers is None:
        if x.ndim not in (1, 2) or y.ndim not in (1, 2):
            raise ShapeError(
                f"dot: operands must be vectors or matrices, got {x.aval} and {y.aval}; "
                "use dot_general or fstensor.numpy.matmul"
            )
        dimension_numbers = (((x.ndim - 1,), (0,)), ((), ()))
    return dot_general(x, y, dimension_numbers, preferred_element_type=preferred_element_type)


def batch_matmul(lhs: ArrayLike, rhs: ArrayLike, precision: PrecisionLike = None) -> Array:
    """Matrix products of two stacks of matrices.

    Shapes: (..., m, k) and (..., k, n) -> (..., m, n), with equal leading axes.
    precision: as of `dot_general`.
    Raises: ShapeError for ranks below 2, unequal ranks or sizes that differ; DtypeError,
        OptionError.
    """
    check_precision("batch_matmul", precision)
    x, y = as_operand(lhs, "batch_matmul"), as_operand(rhs, "batch_matmul")
    if x.ndim != y.ndim or x.ndim < 2:
        raise ShapeError(
            f"batch_matmul: operands must have one rank of at least 2, got {x.aval} and {y.aval}"
        )
    batch = tuple(range(x.ndim - 2))
    return dot_general(x, y, (((x.ndim - 1,), (x.ndim - 2,)), (batch, batch)))

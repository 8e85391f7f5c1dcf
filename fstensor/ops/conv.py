"""Convolutions: of any spatial rank, layout, stride, dilation of either operand, and grouping.

In terms of canonical layouts, with x (N, C, *S), w (O, C, *K), strides s and dilations d, the
result is y[n, o, p] = sum over c, k of x'[n, c, p s + k d] w[o, c, k], where x' is x with its
elements spread by lhs_dilation, then padded. (It is what mathematics calls a cross-correlation.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike, DtypeLike
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value, primitive
from fstensor.core.trace import operand as as_operand
from fstensor.errors import OptionError, ShapeError
from fstensor.ops.arrange import rev
from fstensor.ops.convert import convert_element_type
from fstensor.ops.dot import contraction_dtype, widened
from fstensor.ops.elementwise import add_any
from fstensor.ops.im2col import Geometry, convolve_groups, dilated
from fstensor.ops.precision import Precision, PrecisionLike, as_precision
from fstensor.ops.shape import moveaxis, reshape, zeros_of

Pads: TypeAlias = tuple[tuple[int, int], ...]


class ConvDimensionNumbers(NamedTuple):
    """Which axis of each array is which.

    lhs_spec, out_spec: the axes of batch, features, then the spatial ones.
    rhs_spec: the axes of output features, input features, then the spatial ones.
    """

    lhs_spec: tuple[int, ...]
    rhs_spec: tuple[int, ...]
    out_spec: tuple[int, ...]


ConvGeneralDilatedDimensionNumbers: TypeAlias = ConvDimensionNumbers | Sequence[str] | None


@final
@primitive("conv_general_dilated")
class ConvGeneralDilated(Primitive):
    """Convolution of a batch `lhs` with a kernel `rhs`.

    feature_group_count splits the input features, batch_group_count the batch, each together with
    the output features, into groups that are convolved apart from each other.
    """

    batch_group_count: int
    dimension_numbers: ConvDimensionNumbers
    feature_group_count: int
    lhs_dilation: tuple[int, ...]
    padding: Pads
    precision: Precision
    preferred_element_type: np.dtype[Any] | None
    rhs_dilation: tuple[int, ...]
    window_strides: tuple[int, ...]

    def abstract(self, lhs: ShapedArray, rhs: ShapedArray) -> ShapedArray:
        dtype = contraction_dtype(self.name, lhs, rhs, self.preferred_element_type)
        self._check_options(lhs, rhs)
        self._check_groups(lhs, rhs)
        (batch, _, *sizes), (outputs, _, *window) = self._canonical_shapes(lhs, rhs)
        spatial = self._geometry().places(sizes, window)
        canonical = (batch // self.batch_group_count, outputs, *spatial)
        weak = lhs.weak_type and rhs.weak_type and self.preferred_element_type is None
        shape = tuple([canonical[i] for i in inverse(self.dimension_numbers.out_spec)])
        return ShapedArray(shape, dtype, weak)

    def _check_options(self, lhs: ShapedArray, rhs: ShapedArray) -> None:
        rank = lhs.ndim
        if rank != rhs.ndim or rank < 2:
            raise ShapeError(
                f"{self.name}: operands must have one rank of at least 2 (batch or output features,"
                f" features, spatial axes), got {lhs} and {rhs}"
            )
        for spec in self.dimension_numbers:
            if sorted(spec) != list(range(rank)):
                raise OptionError(
                    f"{self.name}: dimension_numbers must name each axis once, "
                    f"got {self.dimension_numbers} for {lhs} and {rhs}"
                )
        for option in ("window_strides", "padding", "lhs_dilation", "rhs_dilation"):
            given = getattr(self, option)
            if len(given) != rank - 2 or (option != "padding" and any(n < 1 for n in given)):
                raise OptionError(
                    f"{self.name}: {option} must have a {'pair' if option == 'padding' else 'size'}"
                    f" for each of the {rank - 2} spatial axes, sizes being positive, got {given}"
                )
        sizes = self._canonical_shapes(lhs, rhs)[0][2:]
        for n, dilation, (low, high) in zip(sizes, self.lhs_dilation, self.padding, strict=True):
            if dilated(n, dilation) + low + high < 0:
                raise ShapeError(
                    f"{self.name}: negative padding must leave something, "
                    f"got {(low, high)} for an axis of size {n} of {lhs}"
                )

    def _check_groups(self, lhs: ShapedArray, rhs: ShapedArray) -> None:
        (batch, features, *_), (outputs, inputs, *_) = self._canonical_shapes(lhs, rhs)
        by_feature, by_batch = self.feature_group_count, self.batch_group_count
        if by_feature < 1 or by_batch < 1 or (by_feature > 1 and by_batch > 1):
            raise OptionError(
                f"{self.name}: group counts must be positive, and one of them 1, got "
                f"feature_group_count={by_feature}, batch_group_count={by_batch}"
            )
        if features != inputs * by_feature:
            raise ShapeError(
                f"{self.name}: input features must match, got {lhs} and {rhs} "
                f"({features} != {inputs} in each of {by_feature} groups)"
            )
        if outputs % (by_feature * by_batch) or batch % by_batch:
            raise ShapeError(
                f"{self.name}: groups must be of equal size, got {lhs} and {rhs} "
                f"({outputs} output features, batch of {batch}, "
                f"{by_feature * by_batch} groups)"
            )

    def _canonical_shapes(
        self, lhs: ShapedArray | Array | Linear, rhs: ShapedArray | Array | Linear
    ) -> tuple[list[int], list[int]]:
        """(batch, features, *spatial) and (output features, features, *window)."""
        lhs_spec, rhs_spec, _ = self.dimension_numbers
        return [lhs.shape[i] for i in lhs_spec], [rhs.shape[i] for i in rhs_spec]

    def impl(self, xp: Any, lhs: Any, rhs: Any) -> Any:
        out_dtype = self.preferred_element_type or lhs.dtype
        lhs, rhs = widened(lhs, rhs, out_dtype)
        lhs_spec, rhs_spec, out_spec = self.dimension_numbers
        x, w = lhs.transpose(lhs_spec), rhs.transpose(rhs_spec)
        groups = self.feature_group_count * self.batch_group_count
        w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
        batch, features, *sizes = x.shape
        if self.batch_group_count > 1:
            x = x.reshape(groups, batch // groups, features, *sizes)
        else:
            x = x.reshape(batch, groups, features // groups, *sizes).swapaxes(0, 1)
        y = convolve_groups(xp, x, w, self._geometry()).swapaxes(0, 1)
        y = y.reshape(y.shape[0], groups * y.shape[2], *y.shape[3:])
        return y.transpose(inverse(out_spec)).astype(out_dtype, copy=False)

    def _geometry(self) -> Geometry:
        return Geometry(self.window_strides, self.padding, self.lhs_dilation, self.rhs_dilation)

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
        if isinstance(lhs, Linear):
            return [self._pull_back_lhs(ct, lhs, rhs), None]
        return [None, self._pull_back_rhs(ct, lhs, rhs)]

    def _pull_back_lhs(self, ct: Array, lhs: Linear, rhs: Array) -> Array:
        """The convolution of `ct`, dilated by the strides, with the reversed kernel.

        From the definition, element i of x' receives ct[p] w[k] wherever p s + k d = i: with
        q = K - 1 - k that is a window over the places i - (K - 1) d + q d of the dilated ct, so
        (K - 1) d elements of padding in front take the place of the low padding of x.
        """
        if 0 in ct.shape or 0 in rhs.shape:
            return zeros_of(lhs.aval)
        numbers = self.dimension_numbers
        lhs_spec, (outputs, inputs, *window), out_spec = numbers
        sizes, kernel = (shape[2:] for shape in self._canonical_shapes(lhs, rhs))
        padding = []
        for i, axis in enumerate(out_spec[2:]):
            reach = dilated(kernel[i], self.rhs_dilation[i])
            low = reach - 1 - self.padding[i][0]
            covered = dilated(ct.shape[axis], self.window_strides[i])
            high = dilated(sizes[i], self.lhs_dilation[i]) + reach - 1 - covered - low
            padding.append((low, high))
        groups = self.feature_group_count * self.batch_group_count
        if groups > 1:
            # From (groups, outputs of one; inputs of one) to (outputs of one; groups, inputs).
            rhs = _merge(*_split(rhs, outputs, groups), inputs)
        out = ConvGeneralDilated(
            batch_group_count=1,
            dimension_numbers=ConvDimensionNumbers(out_spec, (inputs, outputs, *window), lhs_spec),
            feature_group_count=groups,
            lhs_dilation=self.window_strides,
            padding=tuple(padding),
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
            rhs_dilation=self.rhs_dilation,
            window_strides=self.lhs_dilation,
        ).bind(ct, rev(rhs, window))
        if self.batch_group_count > 1:
            out = _merge(*_split(out, lhs_spec[1], groups), lhs_spec[0])
        return convert_element_type(out, lhs.aval.dtype)

    def _pull_back_rhs(self, ct: Array, lhs: Array, rhs: Linear) -> Array:
        """The convolution of `lhs` with `ct` as kernel: batch and features change their parts.

        Element k of the kernel receives x'[p s + k d] ct[p], summed over p: a window of `ct`,
        dilated by the strides s, at the places k d.
        """
        if 0 in ct.shape or 0 in lhs.shape:
            return zeros_of(rhs.aval)
        lhs_spec, rhs_spec, out_spec = self.dimension_numbers
        sizes, kernel = (shape[2:] for shape in self._canonical_shapes(lhs, rhs))
        padding = []
        for i, axis in enumerate(out_spec[2:]):
            covered = dilated(ct.shape[axis], self.window_strides[i])
            needed = dilated(kernel[i], self.rhs_dilation[i]) + covered - 1
            low = self.padding[i][0]
            padding.append((low, needed - dilated(sizes[i], self.lhs_dilation[i]) - low))
        out = ConvGeneralDilated(
            batch_group_count=self.feature_group_count,
            dimension_numbers=ConvDimensionNumbers(
                _swapped(lhs_spec), _swapped(out_spec), _swapped(rhs_spec)
            ),
            feature_group_count=self.batch_group_count,
            lhs_dilation=self.lhs_dilation,
            padding=tuple(padding),
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
            rhs_dilation=self.window_strides,
            window_strides=self.rhs_dilation,
        ).bind(lhs, ct)
        return convert_element_type(out, rhs.aval.dtype)

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        """One of operands joins their batch, one of kernels their outputs, one of both the groups.

        Groups stay outermost: a batch that joins an axis split into groups goes behind them.
        """
        (lhs, rhs), (lhs_dim, rhs_dim) = args, dims
        lhs_spec, rhs_spec, out_spec = self.dimension_numbers
        by_feature, by_batch = self.feature_group_count, self.batch_group_count
        if lhs_dim is not None and rhs_dim is not None:
            if by_batch > 1:
                lhs, by_batch = _merge(lhs, lhs_dim, lhs_spec[0]), by_batch * axis.size
            else:
                lhs, by_feature = _merge(lhs, lhs_dim, lhs_spec[1]), by_feature * axis.size
            rhs = _merge(rhs, rhs_dim, rhs_spec[0])
            out = self._regrouped(by_feature, by_batch).bind(lhs, rhs)
            return _split(out, out_spec[1], axis.size)
        if lhs_dim is not None:
            lhs = _merge_behind(lhs, lhs_dim, lhs_spec[0], by_batch)
            return _split(self.bind(lhs, rhs), out_spec[0], axis.size)
        assert rhs_dim is not None
        groups = by_feature * by_batch
        rhs = _merge_behind(rhs, rhs_dim, rhs_spec[0], groups)
        out = self.bind(lhs, rhs)
        if groups == 1:
            return _split(out, out_spec[1], axis.size)
        return _split_behind(out, out_spec[1], groups, axis.size)

    def _regrouped(self, feature_group_count: int, batch_group_count: int) -> ConvGeneralDilated:
        changes = {
            "feature_group_count": feature_group_count,
            "batch_group_count": batch_group_count,
        }
        return ConvGeneralDilated(**{**self.params, **changes})


def inverse(permutation: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def _swapped(spec: tuple[int, ...]) -> tuple[int, ...]:
    return (spec[1], spec[0], *spec[2:])


def _split(x: Array, axis: int, count: int) -> tuple[Array, int]:
    """`axis` in `count` parts: the part's index is a new axis in front of it, named second."""
    shape = (*x.shape[:axis], count, x.shape[axis] // count, *x.shape[axis + 1 :])
    return reshape(x, shape), axis


def _merge(x: Array, source: int, target: int) -> Array:
    """Axis `source` joined to another as its major part; that one is at `target` without it."""
    x = moveaxis(x, source, target)
    shape = (*x.shape[:target], x.shape[target] * x.shape[target + 1], *x.shape[target + 2 :])
    return reshape(x, shape)


def _merge_behind(x: Array, source: int, target: int, groups: int) -> Array:
    """As `_merge`, but between the group and the rest of the index along `target`."""
    if groups == 1:
        return _merge(x, source, target)
    x, _ = _split(moveaxis(x, source, 0), target + 1, groups)
    return _merge(_merge(x, 0, target + 1), target, target)


def _split_behind(x: Array, axis: int, groups: int, count: int) -> tuple[Array, int]:
    """As `_split`, for a part between the group and the rest of the index."""
    size = x.shape[axis] // (groups * count)
    shape = (*x.shape[:axis], groups, count, size, *x.shape[axis + 1 :])
    x = moveaxis(reshape(x, shape), axis + 1, 0)
    return _merge(x, axis + 1, axis + 1), 0


def conv_general_dilated(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Convolution over any number of spatial axes.

    padding: a pair (low, high) for each spatial axis, negative ones cut; or "VALID", "SAME",
        "SAME_LOWER" as in `padtype_to_pads`.
    lhs_dilation, rhs_dilation: the distance at which elements of the operand and of the kernel are
        placed; 1 by default.
    dimension_numbers: see `conv_dimension_numbers`; by default batch (or output features),
        features, spatial axes.
    feature_group_count: features and output features fall into this many groups, convolved apart.
    batch_group_count: batch and output features fall into this many groups, convolved apart.
    precision: a lower bound on the accuracy. See `Precision`.
    Shapes: canonically lhs (n, c, *s), rhs (o, c / feature_group_count, *k) ->
        (n / batch_group_count, o, *y), y = floor((padded s - dilated k) / stride) + 1.
    Dtypes: any numeric, one for both; with preferred_element_type the result has that dtype.
        Products of 16-bit floats are summed in float32 and rounded once.
    Raises: ShapeError when shapes or groups do not fit, OptionError, DtypeError.
    """
    accuracy = as_precision("conv_general_dilated", precision)
    x, w = (as_operand(operand, "conv_general_dilated") for operand in (lhs, rhs))
    numbers = conv_dimension_numbers(x.shape, w.shape, dimension_numbers)
    rank = max(x.ndim - 2, 0)
    base = tuple(lhs_dilation) if lhs_dilation is not None else (1,) * rank
    spread = tuple(rhs_dilation) if rhs_dilation is not None else (1,) * rank
    strides = tuple(window_strides)
    if isinstance(padding, str):
        if any(d != 1 for d in base):
            raise OptionError(
                f"conv_general_dilated: padding must be given in numbers beside lhs_dilation, "
                f"got {padding!r} and {base}; or use conv_transpose"
            )
        window = [w.shape[i] for i in numbers.rhs_spec[2:]]
        reach = [dilated(k, d) for k, d in zip(window, spread, strict=False)]
        padding = padtype_to_pads(
            [x.shape[i] for i in numbers.lhs_spec[2:]], reach, strides, padding
        )
    preferred = None if preferred_element_type is None else dtypes.canonical(preferred_element_type)
    return ConvGeneralDilated(
        batch_group_count=int(batch_group_count),
        dimension_numbers=numbers,
        feature_group_count=int(feature_group_count),
        lhs_dilation=tuple(map(int, base)),
        padding=as_pads(padding, "conv_general_dilated"),
        precision=accuracy,
        preferred_element_type=preferred,
        rhs_dilation=tuple(map(int, spread)),
        window_strides=tuple(map(int, strides)),
    ).bind(x, w)


def as_pads(padding: Sequence[Sequence[int]], what: str) -> Pads:
    """Pairs of ints. Raises OptionError for anything else."""
    try:
        return tuple([(int(low), int(high)) for low, high in padding])
    except (TypeError, ValueError):
        raise OptionError(
            f"{what}: padding must be a string or a pair (low, high) for each axis, got {padding!r}"
        ) from None


def padtype_to_pads(
    in_shape: Sequence[int],
    window_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: str,
) -> list[tuple[int, int]]:
    """The pairs (low, high) that a kind of padding stands for.

    "VALID": none. "SAME": as much as gives ceil(size / stride) places, the odd element behind;
    "SAME_LOWER": the odd element in front.
    Raises: OptionError for another kind, or when the lengths differ.
    """
    kind = padding.upper() if isinstance(padding, str) else padding
    if kind not in ("VALID", "SAME", "SAME_LOWER"):
        raise OptionError(
            f"padtype_to_pads: padding must be 'VALID', 'SAME' or 'SAME_LOWER', got {padding!r}"
        )
    if not len(in_shape) == len(window_shape) == len(window_strides):
        raise OptionError(
            f"padtype_to_pads: needs a size, window and stride for each axis, "
            f"got {tuple(in_shape)}, {tuple(window_shape)} and {tuple(window_strides)}"
        )
    if kind == "VALID":
        return [(0, 0)] * len(in_shape)
    pads = []
    for n, k, s in zip(in_shape, window_shape, window_strides, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        less, more = total // 2, total - total // 2
        pads.append((less, more) if kind == "SAME" else (more, less))
    return pads


def conv_dimension_numbers(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    dimension_numbers: ConvGeneralDilatedDimensionNumbers,
) -> ConvDimensionNumbers:
    """Dimension numbers from a description of the three layouts.

    dimension_numbers: None for batch, features, spatial axes; or three strings such as
        ("NHWC", "HWIO", "NHWC") with N or O, C or I, and one letter for each spatial axis, which
        are ordered as in the second; or ConvDimensionNumbers, returned as they are.
    Raises: OptionError when they do not fit the ranks.
    """
    rank = len(lhs_shape)
    if len(rhs_shape) != rank:
        raise ShapeError(
            f"conv_dimension_numbers: operands must have one rank, got shapes {tuple(lhs_shape)} "
            f"and {tuple(rhs_shape)}"
        )
    if dimension_numbers is None:
        order = tuple(range(rank))
        return ConvDimensionNumbers(order, order, order)
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    specs = tuple(dimension_numbers)
    if len(specs) != 3 or any(not isinstance(s, str) or len(s) != rank for s in specs):
        raise OptionError(
            f"conv_dimension_numbers: needs three strings of {rank} letters, "
            f"such as ('NHWC', 'HWIO', 'NHWC'), got {dimension_numbers!r}"
        )
    lhs, rhs, out = specs
    spatial = [c for c in rhs if c not in "OI"]
    letters = (["N", "C", *spatial], ["O", "I", *spatial], ["N", "C", *spatial])
    for spec, wanted in zip((lhs, rhs, out), letters, strict=True):
        if sorted(spec) != sorted(wanted) or len(set(spec)) < rank:
            raise OptionError(
                "conv_dimension_numbers: layouts must have N and C, or O and I, and the same "
                f"spatial letters, each once, got {dimension_numbers!r}"
            )
    lhs_spec, rhs_spec, out_spec = (
        tuple([spec.index(c) for c in wanted])
        for spec, wanted in zip((lhs, rhs, out), letters, strict=True)
    )
    return ConvDimensionNumbers(lhs_spec, rhs_spec, out_spec)


def conv(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Convolution of (n, c, *s) with (o, c, *k) and a kind of padding. See conv_general_dilated."""
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_with_general_padding(
    lhs: ArrayLike,
    rhs: ArrayLike,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
) -> Array:
    """Convolution of (n, c, *s) with (o, c, *k). See conv_general_dilated."""
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_transpose(
    lhs: ArrayLike,
    rhs: ArrayLike,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    transpose_kernel: bool = False,
    precision: PrecisionLike = None,
    preferred_element_type: DtypeLike = None,
    use_consistent_padding: bool = False,
) -> Array:
    """Convolution with fractional strides: the shapes are those of a convolution's transpose.

    strides: the distance at which elements of lhs are placed.
    padding: "SAME" gives size · stride places, "VALID" gives size · stride + max(k - stride, 0);
        pairs pad the dilated operand itself, or with use_consistent_padding are the padding of the
        convolution whose transpose this is.
    dimension_numbers: as of conv_general_dilated; by default features last, ("NHWC", "HWIO",
        "NHWC") and its kin for other ranks.
    transpose_kernel: whether to reverse the kernel and exchange its features: the true transpose.
    Raises: as conv_general_dilated.
    """
    x, w = (as_operand(operand, "conv_transpose") for operand in (lhs, rhs))
    rank = max(x.ndim - 2, 0)
    if dimension_numbers is None:
        letters = "".join(map(chr, range(ord("a"), ord("a") + rank)))
        dimension_numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    numbers = conv_dimension_numbers(x.shape, w.shape, dimension_numbers)
    window = [w.shape[i] for i in numbers.rhs_spec[2:]]
    spread = tuple(rhs_dilation) if rhs_dilation is not None else (1,) * rank
    reach = [dilated(k, d) for k, d in zip(window, spread, strict=False)]
    if isinstance(padding, str):
        kinds = [_transposed_pads(k, s, padding) for k, s in zip(reach, strides, strict=False)]
        pads: Sequence[tuple[int, int]] = kinds
    elif use_consistent_padding:
        given = as_pads(padding, "conv_transpose")
        pads = [(k - 1 - low, k - 1 - high) for k, (low, high) in zip(reach, given, strict=False)]
    else:
        pads = padding
    if transpose_kernel:
        w = rev(w, numbers.rhs_spec[2:])
        numbers = numbers._replace(rhs_spec=_swapped(numbers.rhs_spec))
    return conv_general_dilated(
        x,
        w,
        (1,) * rank,
        pads,
        lhs_dilation=strides,
        rhs_dilation=spread,
        dimension_numbers=numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def _transposed_pads(window: int, stride: int, padding: str) -> tuple[int, int]:
    """Padding of the dilated operand, so that the result has the size of a convolution's input."""
    kind = padding.upper()
    if kind == "SAME":
        total = window + stride - 2
        low = window - 1 if stride > window - 1 else -(-total // 2)
    elif kind == "VALID":
        total = window + stride - 2 + max(window - stride, 0)
        low = window - 1
    else:
        raise OptionError(f"conv_transpose: padding must be 'SAME' or 'VALID', got {padding!r}")
    return low, total - low

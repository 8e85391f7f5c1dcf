"""The discrete Fourier transform, of complex and of real numbers."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any, assert_never, final

import numpy as np

from fstensor import dtypes
from fstensor.array import Array, ArrayLike, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import MappedAxis, Value, primitive
from fstensor.errors import OptionError, ShapeError
from fstensor.ops.arrange import concatenate
from fstensor.ops.convert import conj, convert_element_type
from fstensor.ops.elementwise import mul
from fstensor.ops.families import COMPLEX, FLOAT, Kind, Structural
from fstensor.ops.index import slice_in_dim
from fstensor.ops.shape import moveaxis

_WIDE_FLOAT = Kind("float32 or float64", lambda d: d in (np.float32, np.float64))


class FftType(enum.IntEnum):
    """Which transform: forward or inverse, and whether the numbers before it are real."""

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3


@final
@primitive("fft")
class Fft(Structural):
    """Discrete Fourier transform over the last axes, of sizes `fft_lengths`.

    FFT: y[k] = sum over j of x[j] w^(jk), w = exp(-2 pi i / n), along each of the axes.
    IFFT: its inverse. RFFT: of real x, for the last axis only the frequencies 0 to n/2, since the
    others are their conjugates. IRFFT: its inverse, which completes the conjugates.
    """

    fft_lengths: tuple[int, ...]
    fft_type: FftType

    def abstract(self, x: ShapedArray) -> ShapedArray:
        lengths, kind = self.fft_lengths, self.fft_type
        what = f"fft: {kind.name}"
        (_WIDE_FLOAT if kind is FftType.RFFT else COMPLEX).check(what, x)
        if not lengths or len(lengths) > x.ndim or any(n < 1 for n in lengths):
            raise ShapeError(
                f"{what}: fft_lengths must give a positive size for each transformed axis, the "
                f"last ones, got {lengths} for {x}"
            )
        half = (*lengths[:-1], lengths[-1] // 2 + 1)
        before = half if kind is FftType.IRFFT else lengths
        others = x.shape[: x.ndim - len(lengths)]
        if x.shape != (*others, *before):
            raise ShapeError(
                f"{what}: the last axes must have the sizes {before} for fft_lengths={lengths}, "
                f"got {x}; slice or pad it"
            )
        if kind is FftType.RFFT:
            return ShapedArray((*others, *half), dtypes.to_complex(x.dtype))
        dtype = dtypes.to_real(x.dtype) if kind is FftType.IRFFT else x.dtype
        return ShapedArray((*others, *lengths), dtype)

    def impl(self, xp: Any, x: Any) -> Any:
        axes = tuple(range(-len(self.fft_lengths), 0))
        match self.fft_type:
            case FftType.FFT:
                return xp.fft.fftn(x, axes=axes)
            case FftType.IFFT:
                return xp.fft.ifftn(x, axes=axes)
            case FftType.RFFT:
                return xp.fft.rfftn(x, axes=axes)
            case FftType.IRFFT:
                # By axes: of frequencies that are not conjugate-symmetric, a transform of several
                # axes at once may take other halves than the last axis's.
                if axes[:-1]:
                    x = xp.fft.ifftn(x, axes=axes[:-1])
                return xp.fft.irfft(x, n=self.fft_lengths[-1], axis=-1)
            case _:
                assert_never(self.fft_type)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        # FFT and IFFT: their matrices w^(jk) are symmetric, along each axis.
        #
        # RFFT, y[k] = sum_j x[j] w^(jk) for k <= n/2: the transpose into the reals is
        #   sum_k Re(ct[k] w^(jk)) = sum_k Re(conj(ct[k]) w^(-jk)).
        # IRFFT, x[j] = (1/n) sum_k m[k] Re(y[k] w^(-jk)), where m[k] = 2 for a frequency that
        # stands for its conjugate too, and 1 for those that are their own: 0 and, if n is even,
        # n/2. So RFFT's transpose is n IRFFT(conj(ct) / m). And IRFFT's own, by
        #   sum_j ct[j] x[j] = Re sum_k y[k] (m[k] / n) sum_j ct[j] w^(-jk),
        # is conj(RFFT(ct)) m / n. With more axes n is their product, while m stays the last's: over
        # the others all frequencies are summed, each for itself.
        lengths = self.fft_lengths
        if self.fft_type is FftType.RFFT:
            halved = _with_shared(conj(ct), lengths[-1], 0.5)
            full = Fft(lengths, FftType.IRFFT).bind(halved)
            return [mul(full, math.prod(lengths))]
        if self.fft_type is FftType.IRFFT:
            half = conj(Fft(lengths, FftType.RFFT).bind(ct))
            doubled = _with_shared(half, lengths[-1], 2)
            return [mul(doubled, 1 / math.prod(lengths))]
        return [self.bind(ct)]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        return self.bind(moveaxis(args[0], dims[0], 0)), 0


def _with_shared(half: Array, n: int, factor: float) -> Array:
    """The first n/2 + 1 of n frequencies, those times `factor` that stand for conjugates too."""
    axis, end = half.ndim - 1, (n + 1) // 2
    first, shared, own = (
        slice_in_dim(half, start, limit, axis=axis)
        for start, limit in ((0, 1), (1, end), (max(end, 1), n // 2 + 1))
    )
    return concatenate([first, mul(shared, factor), own], axis)


def fft(x: ArrayLike, fft_type: FftType | str, fft_lengths: Sequence[int]) -> Array:
    """Discrete Fourier transform of `x` over its last axes, of which fft_lengths gives the sizes.

    fft_type: a member of FftType or its name. The inverse ones divide by the number of elements.
    Shapes: (..., *fft_lengths) to itself; where the numbers are real, frequencies have the last
    size n // 2 + 1.
    Dtypes: RFFT takes floats, the others take what can become complex; single precision stays so.
    Raises: OptionError for an unknown type, DtypeError, ShapeError when sizes do not fit.
    """
    try:
        kind = FftType[fft_type.upper()] if isinstance(fft_type, str) else FftType(fft_type)
    except (KeyError, ValueError):
        raise OptionError(
            f"fft: fft_type must be one of {', '.join(t.name for t in FftType)}, got {fft_type!r}"
        ) from None
    x = lift(x, what="fft")
    if kind is FftType.RFFT:
        FLOAT.check("fft: RFFT", ShapedArray(x.shape, x.dtype))
        x = convert_element_type(x, dtypes.to_real(dtypes.to_complex(x.dtype)))
    else:
        x = convert_element_type(x, dtypes.to_complex(x.dtype))
    lengths = tuple(fft_lengths)
    return Fft(lengths, kind).bind(x) if lengths else x

"""Discrete Fourier transforms: `jax.numpy.fft`'s names and signatures, NumPy's values and shapes.

Of x along an axis of n places, the transform is

    y[k] = sum over j of x[j] exp(-2 pi i j k / n),

and the inverse has the opposite sign and divides by n. `norm` moves that factor: "backward", the
default, leaves the transform without one, "forward" divides it by n and not the inverse, "ortho"
divides both by sqrt(n). An axis is cut, or padded with zeros behind, to the size that is given.

Dtypes: single precision stays single. Integers and bools become the default float, half precision
becomes float32. Frequencies are complex.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, Axis, DtypeLike, normalize_axes
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.lax import FftType
from fstensor.numpy.arithmetic import conj
from fstensor.numpy.creation import DeviceLike, to_device
from fstensor.numpy.promote import cast, constant, converted, inexact, owned
from fstensor.numpy.shape import moveaxis, roll

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]

_NORMS = ("backward", "ortho", "forward")


def _transform(
    what: str,
    kind: FftType,
    a: ArrayLike,
    s: Sequence[int] | None,
    axes: Sequence[int] | None,
    norm: str | None,
) -> Array:
    x = _operand(what, kind, a)
    if axes is None:
        count = x.ndim if s is None else len(s)
        if count > x.ndim:
            raise ShapeError(f"{what}: s must give at most {x.ndim} sizes, got {s} for {x.aval}")
        axes = range(x.ndim - count, x.ndim)
    places = normalize_axes(tuple(axes), x.ndim, what)
    if not places:
        return x
    lengths = _lengths(what, kind, [x.shape[i] for i in places], s)
    last = range(x.ndim - len(places), x.ndim)
    x = moveaxis(x, places, last)
    before = (*lengths[:-1], lengths[-1] // 2 + 1) if kind is FftType.IRFFT else lengths
    x = _resized(x, (*x.shape[: last.start], *before))
    return moveaxis(_scaled(what, lax.fft(x, kind, lengths), kind, lengths, norm), last, places)


def _operand(what: str, kind: FftType, a: ArrayLike) -> Array:
    x = inexact(what, owned(a, what))
    wide = dtypes.to_complex(x.dtype)
    if kind is not FftType.RFFT:
        return converted(x, wide)
    if dtypes.is_complex(x.dtype):
        raise DtypeError(f"{what}: takes real numbers, got {x.aval}; take the real part, or fft")
    return converted(x, dtypes.to_real(wide))


def _lengths(
    what: str, kind: FftType, sizes: list[int], s: Sequence[int] | None
) -> tuple[int, ...]:
    """The sizes of the transform, in which -1 stands for those of the operand."""
    if s is None:
        given = list(sizes)
        if kind is FftType.IRFFT:
            given[-1] = 2 * (given[-1] - 1)
    else:
        given = [operator.index(n) for n in s]
        if len(given) != len(sizes):
            raise ShapeError(
                f"{what}: s must give a size for each axis, got {len(given)} for {len(sizes)} axes"
            )
        given = [size if n == -1 else n for n, size in zip(given, sizes, strict=True)]
    if any(n < 1 for n in given):
        raise ShapeError(f"{what}: a transform needs at least 1 place, got {tuple(given)}")
    return tuple(given)


def _resized(x: Array, shape: tuple[int, ...]) -> Array:
    """`x` cut, or padded with zeros behind, to `shape`."""
    if any(n < m for n, m in zip(shape, x.shape, strict=True)):
        x = lax.slice(x, (0,) * x.ndim, tuple(map(min, shape, x.shape)))
    if x.shape != shape:
        more = [(0, n - m, 0) for n, m in zip(shape, x.shape, strict=True)]
        x = lax.pad(x, constant(0, x), more)
    return x


def _scaled(
    what: str, y: Array, kind: FftType, lengths: tuple[int, ...], norm: str | None
) -> Array:
    if norm is None:
        norm = "backward"
    if norm not in _NORMS:
        raise OptionError(f"{what}: norm must be one of {', '.join(_NORMS)}, got {norm!r}")
    if norm == "backward":
        return y
    n = math.prod(lengths)
    factor = math.sqrt(n) if norm == "ortho" else float(n)
    inverse = kind in (FftType.IFFT, FftType.IRFFT)
    return lax.mul(y, constant(factor if inverse else 1 / factor, y))


def _sizes(n: int | None) -> tuple[int, ...] | None:
    return None if n is None else (n,)


# One axis


def fft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The transform along one axis, of which `n` places are used.

    Shapes: `axis` has size n in the result, by default that of `a`.
    Raises: AxisError; ShapeError when n < 1; OptionError for another norm.
    """
    return _transform("fft", FftType.FFT, a, _sizes(n), (axis,), norm)


def ifft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The inverse of `fft`; shapes and errors are the same."""
    return _transform("ifft", FftType.IFFT, a, _sizes(n), (axis,), norm)


def rfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The transform of real numbers: the frequencies 0 to n / 2; the others are conjugates.

    Shapes: `axis` has size n // 2 + 1 in the result.
    Raises: DtypeError for complex numbers, and what `fft` does.
    """
    return _transform("rfft", FftType.RFFT, a, _sizes(n), (axis,), norm)


def irfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The inverse of `rfft`: n real numbers, 2 (m - 1) by default for m frequencies.

    The imaginary parts of frequency 0, and n / 2 for even n, belong to no real numbers: they are
    not used. Pass n when it was odd.
    Raises: what `fft` does.
    """
    return _transform("irfft", FftType.IRFFT, a, _sizes(n), (axis,), norm)


def hfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The transform of numbers of which those at -j are the conjugates of those at j: it is real.

    Shapes: `a` holds places 0 to n / 2; n is 2 (m - 1) by default for m of them.
    Raises: what `fft` does.
    """
    return _transform("hfft", FftType.IRFFT, conj(a), _sizes(n), (axis,), _turned("hfft", norm))


def ihfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The inverse of `hfft`: of n real numbers, the places 0 to n / 2.

    Raises: DtypeError for complex numbers, and what `fft` does.
    """
    turned = _turned("ihfft", norm)
    return lax.conj(_transform("ihfft", FftType.RFFT, a, _sizes(n), (axis,), turned))


def _turned(what: str, norm: str | None) -> str:
    """The norm for the opposite direction."""
    opposite = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}
    if norm not in opposite:
        raise OptionError(f"{what}: norm must be one of {', '.join(_NORMS)}, got {norm!r}")
    return opposite[norm]


# Several axes


def fftn(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """The transform along several axes, one after the other.

    s: the size to use of each axis; -1 for all of it, the default.
    axes: all by default, or the last ones when `s` is given. Distinct, unlike NumPy's.
    Raises: AxisError; ShapeError when sizes are below 1 or not as many as axes; OptionError.
    """
    return _transform("fftn", FftType.FFT, a, s, axes, norm)


def ifftn(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """The inverse of `fftn`; parameters and errors are the same."""
    return _transform("ifftn", FftType.IFFT, a, s, axes, norm)


def rfftn(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """The transform of real numbers along several axes: `rfft` along the last of `axes`.

    Raises: DtypeError for complex numbers, and what `fftn` does.
    """
    return _transform("rfftn", FftType.RFFT, a, s, axes, norm)


def irfftn(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """The inverse of `rfftn`: `irfft` along the last of `axes`; errors as in `fftn`."""
    return _transform("irfftn", FftType.IRFFT, a, s, axes, norm)


def fft2(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] = (-2, -1),
    norm: str | None = None,
) -> Array:
    """`fftn` along two axes."""
    return _transform("fft2", FftType.FFT, a, s, _pair("fft2", axes), norm)


def ifft2(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] = (-2, -1),
    norm: str | None = None,
) -> Array:
    """`ifftn` along two axes."""
    return _transform("ifft2", FftType.IFFT, a, s, _pair("ifft2", axes), norm)


def rfft2(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] = (-2, -1),
    norm: str | None = None,
) -> Array:
    """`rfftn` along two axes."""
    return _transform("rfft2", FftType.RFFT, a, s, _pair("rfft2", axes), norm)


def irfft2(
    a: ArrayLike,
    s: Sequence[int] | None = None,
    axes: Sequence[int] = (-2, -1),
    norm: str | None = None,
) -> Array:
    """`irfftn` along two axes."""
    return _transform("irfft2", FftType.IRFFT, a, s, _pair("irfft2", axes), norm)


def _pair(what: str, axes: Sequence[int]) -> Sequence[int]:
    if len(axes) != 2:
        raise OptionError(f"{what}: axes must be two, got {tuple(axes)}; use {what[:-1]}n")
    return axes


# Frequencies


def fftfreq(
    n: int, d: ArrayLike = 1.0, *, dtype: DtypeLike = None, device: DeviceLike = None
) -> Array:
    """The frequencies of `fft` of n samples `d` apart: 0, 1, …, -2, -1 over (d n).

    dtype: that of `d` by default, and the default float for a Python number.
    Raises: OptionError when n < 1.
    """
    count = _count("fftfreq", n)
    numbers = np.concatenate([np.arange((count + 1) // 2), np.arange(-(count // 2), 0)])
    return _frequencies("fftfreq", numbers, count, d, dtype, device)


def rfftfreq(
    n: int, d: ArrayLike = 1.0, *, dtype: DtypeLike = None, device: DeviceLike = None
) -> Array:
    """The frequencies of `rfft` of n samples `d` apart: 0, 1, …, n // 2 over (d n).

    dtype and errors as in `fftfreq`.
    """
    count = _count("rfftfreq", n)
    return _frequencies("rfftfreq", np.arange(count // 2 + 1), count, d, dtype, device)


def _count(what: str, n: int) -> int:
    count = operator.index(n)
    if count < 1:
        raise OptionError(f"{what}: n must be at least 1, got {count}")
    return count


def _frequencies(
    what: str, numbers: np.ndarray, n: int, d: ArrayLike, dtype: DtypeLike, device: DeviceLike
) -> Array:
    step = inexact(what, d) if dtype is None else cast(what, d, dtypes.canonical(dtype))
    if step.ndim:
        raise ShapeError(f"{what}: d must be a scalar, got {step.aval}")
    step = converted(step, step.dtype)  # strong
    span = lax.mul(step, constant(n, step))
    found = lax.div(owned(numbers.astype(step.dtype), what), span)
    return found if device is None else to_device(found, device)


def fftshift(x: ArrayLike, axes: Axis = None) -> Array:
    """Places rolled so that frequency 0 comes to the middle; along all axes by default."""
    x = owned(x, "fftshift")
    places = normalize_axes(axes, x.ndim, "fftshift")
    return roll(x, [x.shape[i] // 2 for i in places], places) if places else x


def ifftshift(x: ArrayLike, axes: Axis = None) -> Array:
    """The inverse of `fftshift`, from which it differs for odd sizes."""
    x = owned(x, "ifftshift")
    places = normalize_axes(axes, x.ndim, "ifftshift")
    return roll(x, [-(x.shape[i] // 2) for i in places], places) if places else x

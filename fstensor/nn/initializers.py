"""First values of parameters: `init(key, shape, dtype)`, with JAX's names and values.

What makes them compares and hashes by value, as layers do that have them. `dtype` stands for the
one that is used when `init` is given none, by default the default float.

Of a kernel, the last two axes are inputs and outputs, and those before them are its window: each
output has fan-in = inputs times the size of the window. Other axes can be named.

>>> import fstensor as fst
>>> init = fst.nn.initializers.he_normal()
>>> init(fst.random.key(0), (64, 32)).shape
(64, 32)
>>> init == fst.nn.initializers.he_normal()
True
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from fstensor import dtypes, random
from fstensor import numpy as fnp
from fstensor.array import Array, DtypeLike, normalize_axis
from fstensor.errors import OptionError, ShapeError

Mode = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution = Literal["normal", "truncated_normal", "uniform"]
Axes = int | Sequence[int]
Dtype = np.dtype[Any]

# Standard deviations of normal distributions of variance 1 that are cut off at 2: of a float, and
# of a complex number by its absolute value, as JAX has it. (The latter is 0.962.)
_DEVIATION_WITHIN_TWO = 0.87962566103423978
_COMPLEX_DEVIATION_WITHIN_TWO = 0.95311164380491208


# Constants


def zeros(key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
    """All 0."""
    return fnp.zeros(shape, dtype)


def ones(key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
    """All 1."""
    return fnp.ones(shape, dtype)


@final
@dataclass(frozen=True)
class Constant:
    """See `constant`."""

    value: complex
    dtype: Dtype | None = None

    def __call__(self, key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
        return fnp.full(shape, self.value, _chosen(dtype, self.dtype))


def constant(value: complex, dtype: DtypeLike = None) -> Constant:
    """All the same number. Raises: ShapeError for a value that is no scalar."""
    scalar = np.asarray(value)
    if scalar.ndim:
        raise ShapeError(f"constant: the value must be a scalar, got shape {scalar.shape}")
    return Constant(scalar.item(), _given(dtype))


@final
@dataclass(frozen=True)
class Identity:
    """See `identity`."""

    scale: float
    dtype: Dtype | None

    def __call__(self, key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
        if len(shape) != 2:
            raise ShapeError(f"identity: a matrix must have two axes, got shape {tuple(shape)}")
        inputs, outputs = shape
        kind = _chosen(dtype, self.dtype)
        return fnp.eye(inputs, outputs, dtype=kind) * fnp.asarray(self.scale, kind)


def identity(scale: float = 1.0, dtype: DtypeLike = None) -> Identity:
    """A multiple of the identity matrix; inputs or outputs that are too many get 0.

    Raises: ShapeError for another number of axes than two.
    """
    return Identity(scale, _given(dtype))


@final
@dataclass(frozen=True)
class Dirac:
    """See `dirac`."""

    groups: int
    dtype: Dtype | None

    def __call__(self, key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
        if len(shape) not in (3, 4, 5):
            raise ShapeError(
                f"dirac: a kernel must have three to five axes, got shape {tuple(shape)}"
            )
        *window, inputs, outputs = shape
        if outputs % self.groups:
            raise ShapeError(
                f"dirac: {outputs} outputs cannot be divided into {self.groups} groups"
            )
        kind = _chosen(dtype, self.dtype)
        one_group = fnp.eye(inputs, outputs // self.groups, dtype=kind)
        kernel = fnp.zeros(shape, kind)
        return kernel.at[tuple(n // 2 for n in window)].set(fnp.tile(one_group, (1, self.groups)))


def dirac(groups: int = 1, dtype: DtypeLike = None) -> Dirac:
    """A kernel with which a convolution keeps its input; in each group if there are some.

    The input, padded by half the window, is what comes out, of as many channels as inputs and
    outputs both have.
    Shapes: (*window, inputs of a group, outputs), with one to three axes of the window.
    Raises: OptionError for no groups, ShapeError.
    """
    if operator.index(groups) < 1:
        raise OptionError(f"dirac: groups must be at least 1, got {groups}")
    return Dirac(groups, _given(dtype))


# Plain random numbers


@final
@dataclass(frozen=True)
class Uniform:
    """See `uniform`."""

    scale: float
    dtype: Dtype | None

    def __call__(self, key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
        return random.uniform(key, shape, _chosen(dtype, self.dtype)) * self.scale


def uniform(scale: float = 1e-2, dtype: DtypeLike = None) -> Uniform:
    """Uniform in [0, scale)."""
    return Uniform(scale, _given(dtype))


@final
@dataclass(frozen=True)
class Normal:
    """See `normal`."""

    stddev: float
    dtype: Dtype | None

    def __call__(self, key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
        return random.normal(key, shape, _chosen(dtype, self.dtype)) * self.stddev


def normal(stddev: float = 1e-2, dtype: DtypeLike = None) -> Normal:
    """Normal, with mean 0 and a standard deviation."""
    return Normal(stddev, _given(dtype))


@final
@dataclass(frozen=True)
class TruncatedNormal:
    """See `truncated_normal`."""

    stddev: float
    dtype: Dtype | None
    lower: float
    upper: float

    def __call__(self, key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
        kind = _chosen(dtype, self.dtype)
        return random.truncated_normal(key, self.lower, self.upper, shape, kind) * self.stddev


def truncated_normal(
    stddev: float = 1e-2, dtype: DtypeLike = None, lower: float = -2.0, upper: float = 2.0
) -> TruncatedNormal:
    """Normal numbers that lie in (lower, upper), multiplied by `stddev`.

    By the cut their standard deviation is less than `stddev`; see `variance_scaling`.
    """
    return TruncatedNormal(stddev, _given(dtype), lower, upper)


@final
@dataclass(frozen=True)
class Sparse:
    """See `sparse`."""

    sparsity: float
    stddev: float
    dtype: Dtype | None

    def __call__(self, key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
        if len(shape) != 2:
            raise ShapeError(f"sparse: a matrix must have two axes, got shape {tuple(shape)}")
        inputs, outputs = shape
        value_key, place_key = random.split(key)
        values = random.normal(value_key, shape, _chosen(dtype, self.dtype)) * self.stddev
        ranks = fnp.broadcast_to(fnp.arange(inputs)[:, None], (inputs, outputs))
        ranks = random.permutation(place_key, ranks, independent=True)
        return values * (ranks >= math.ceil(self.sparsity * inputs))


def sparse(sparsity: float, stddev: float = 1e-2, dtype: DtypeLike = None) -> Sparse:
    """Normal, with the fraction `sparsity` of each output's weights 0, rounded up.

    Raises: OptionError for a sparsity outside of [0, 1], ShapeError for another number of axes than
        two.
    Source: J. Martens, Deep learning via Hessian-free optimization, 2010, section 5.
    """
    if not 0 <= sparsity <= 1:
        raise OptionError(f"sparse: sparsity must lie in [0, 1], got {sparsity}")
    return Sparse(sparsity, stddev, _given(dtype))


# Random numbers scaled by the size of a kernel


@final
@dataclass(frozen=True)
class VarianceScaling:
    """See `variance_scaling`."""

    scale: float
    mode: Mode
    distribution: Distribution
    in_axis: int | tuple[int, ...]
    out_axis: int | tuple[int, ...]
    batch_axis: int | tuple[int, ...]
    dtype: Dtype | None

    def __call__(self, key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
        shape = tuple(shape)
        kind = _chosen(dtype, self.dtype)
        deviation = math.sqrt(self.scale / max(self._fan(shape), 1))
        is_complex = dtypes.is_complex(kind)
        if self.distribution == "normal":
            return random.normal(key, shape, kind) * deviation
        if self.distribution == "uniform" and is_complex:
            return _in_disk(key, shape, kind) * deviation
        if self.distribution == "uniform":
            return random.uniform(key, shape, kind, -1) * (math.sqrt(3) * deviation)
        if is_complex:
            return _normal_in_disk(key, shape, kind) * (deviation / _COMPLEX_DEVIATION_WITHIN_TWO)
        cut = random.truncated_normal(key, -2, 2, shape, kind)
        return cut * (deviation / _DEVIATION_WITHIN_TWO)

    def _fan(self, shape: tuple[int, ...]) -> float:
        fan_in, fan_out = fans(shape, self.in_axis, self.out_axis, self.batch_axis)
        if self.mode == "fan_avg":
            return (fan_in + fan_out) / 2
        if self.mode == "fan_geo_avg":
            return math.sqrt(fan_in * fan_out)
        return fan_in if self.mode == "fan_in" else fan_out


def _in_disk(key: Array, shape: tuple[int, ...], dtype: Dtype) -> Array:
    """Complex numbers of variance 1, uniform in a disk around 0."""
    radius_key, angle_key = random.split(key)
    real = dtypes.to_real(dtype)
    radius = fnp.sqrt(2 * random.uniform(radius_key, shape, real))
    return radius * _on_circle(angle_key, shape, real)


def _normal_in_disk(key: Array, shape: tuple[int, ...], dtype: Dtype) -> Array:
    """Complex normal numbers of variance 1, given that their absolute values are below 2."""
    radius_key, angle_key = random.split(key)
    real = dtypes.to_real(dtype)
    # The square of the absolute value is exponential.
    mass = -math.expm1(-4.0) * random.uniform(radius_key, shape, real)
    return fnp.sqrt(-fnp.log(1 - mass)) * _on_circle(angle_key, shape, real)


def _on_circle(key: Array, shape: tuple[int, ...], dtype: Dtype) -> Array:
    return fnp.exp(2j * math.pi * random.uniform(key, shape, dtype))


def fans(
    shape: Sequence[int], in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = ()
) -> tuple[float, float]:
    """How many inputs each output of a kernel has, and how many outputs each input.

    Raises: ShapeError for fewer than two axes where in_axis is -2, AxisError.
    """
    if in_axis == -2 and len(shape) < 2:
        raise ShapeError(
            f"initializer: a kernel must have two axes or more, got shape {tuple(shape)}; "
            "or say which are its in_axis and out_axis"
        )
    inputs, outputs, batch = (
        {normalize_axis(a, len(shape), "initializer") for a in _axes(axes)}
        for axes in (in_axis, out_axis, batch_axis)
    )
    window = math.prod(n for a, n in enumerate(shape) if a not in inputs | outputs | batch)
    fan_in, fan_out = (math.prod(shape[a] for a in axes) * window for axes in (inputs, outputs))
    return fan_in, fan_out


def variance_scaling(
    scale: float,
    mode: Mode,
    distribution: Distribution,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: DtypeLike = None,
) -> VarianceScaling:
    """Random values of mean 0 and variance scale / fan.

    mode: "fan_in", "fan_out", or their mean, "fan_avg", or geometric mean, "fan_geo_avg".
    distribution: "normal"; "uniform", for complex numbers in a disk; or "truncated_normal", cut off
        at two standard deviations and scaled to the same variance.
    in_axis, out_axis, batch_axis: axes of the kernel. Those of the batch count for neither fan.
    Raises: OptionError for another mode or distribution, or a scale that is not positive; when it
        is called, ShapeError and AxisError.
    """
    if mode not in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"):
        raise OptionError(
            f"variance_scaling: mode must be fan_in, fan_out, fan_avg or fan_geo_avg, got {mode!r}"
        )
    if distribution not in ("normal", "truncated_normal", "uniform"):
        raise OptionError(
            "variance_scaling: distribution must be normal, truncated_normal or uniform, "
            f"got {distribution!r}"
        )
    if scale <= 0:
        raise OptionError(f"variance_scaling: scale must be positive, got {scale}")
    inputs, outputs, batch = (
        a if isinstance(a, int) else tuple(a) for a in (in_axis, out_axis, batch_axis)
    )
    return VarianceScaling(scale, mode, distribution, inputs, outputs, batch, _given(dtype))


def lecun_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DtypeLike = None
) -> VarianceScaling:
    """Variance 1 / fan-in (LeCun et al., 1998, section 4.6), normal within two deviations."""
    return variance_scaling(1, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def lecun_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DtypeLike = None
) -> VarianceScaling:
    """Variance 1 / fan-in (LeCun et al., 1998, section 4.6), uniform."""
    return variance_scaling(1, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def glorot_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DtypeLike = None
) -> VarianceScaling:
    """Variance 2 / (fan-in + fan-out) (Glorot, Bengio, 2010, eq. 12), normal within two deviations.

    Also named `xavier_normal`.
    """
    return variance_scaling(1, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def glorot_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DtypeLike = None
) -> VarianceScaling:
    """Variance 2 / (fan-in + fan-out) (Glorot, Bengio, 2010, eq. 16), uniform.

    Also named `xavier_uniform`.
    """
    return variance_scaling(1, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


def he_normal(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DtypeLike = None
) -> VarianceScaling:
    """Variance 2 / fan-in (He et al., 2015, eq. 10), normal within two deviations.

    Also named `kaiming_normal`.
    """
    return variance_scaling(2, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def he_uniform(
    in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: DtypeLike = None
) -> VarianceScaling:
    """Variance 2 / fan-in (He et al., 2015, eq. 10), uniform. Also named `kaiming_uniform`."""
    return variance_scaling(2, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


xavier_normal = glorot_normal
xavier_uniform = glorot_uniform
kaiming_normal = he_normal
kaiming_uniform = he_uniform


# Orthogonal matrices


@final
@dataclass(frozen=True)
class Orthogonal:
    """See `orthogonal`."""

    scale: float
    column_axis: int
    dtype: Dtype | None

    def __call__(self, key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
        shape = tuple(shape)
        kind = _chosen(dtype, self.dtype)
        if len(shape) < 2:
            raise ShapeError(f"orthogonal: a kernel must have two axes or more, got shape {shape}")
        axis = normalize_axis(self.column_axis, len(shape), "orthogonal")
        if 0 in shape:
            return fnp.zeros(shape, kind)
        columns, others = shape[axis], shape[:axis] + shape[axis + 1 :]
        matrix = random.orthogonal(key, math.prod(others), (), kind, columns)
        return fnp.moveaxis(fnp.reshape(matrix, (*others, columns)), -1, axis) * self.scale


def orthogonal(scale: float = 1.0, column_axis: int = -1, dtype: DtypeLike = None) -> Orthogonal:
    """An orthogonal matrix, distributed uniformly, or a unitary one, multiplied by `scale`.

    column_axis: the axis along which its columns lie; all others together are its rows. The shorter
        ones of both are orthonormal.
    Raises: ShapeError for fewer than two axes, AxisError.
    Source: A. Saxe, J. McClelland, S. Ganguli, Exact solutions to the nonlinear dynamics of
        learning in deep linear neural networks, 2013.
    """
    return Orthogonal(scale, column_axis, _given(dtype))


@final
@dataclass(frozen=True)
class DeltaOrthogonal:
    """See `delta_orthogonal`."""

    scale: float
    column_axis: int
    dtype: Dtype | None

    def __call__(self, key: Array, shape: Sequence[int], dtype: DtypeLike = None) -> Array:
        shape = tuple(shape)
        if len(shape) not in (3, 4, 5):
            raise ShapeError(
                f"delta_orthogonal: a kernel must have three to five axes, got shape {shape}"
            )
        if shape[-1] < shape[-2]:
            raise ShapeError(
                "delta_orthogonal: a kernel must have as many outputs as inputs or more, "
                f"got shape {shape}"
            )
        kind = _chosen(dtype, self.dtype)
        matrix = Orthogonal(self.scale, self.column_axis, None)(key, shape[-2:], kind)
        middle = tuple((n - 1) // 2 for n in shape[:-2])
        return fnp.zeros(shape, kind).at[middle].set(matrix)


def delta_orthogonal(
    scale: float = 1.0, column_axis: int = -1, dtype: DtypeLike = None
) -> DeltaOrthogonal:
    """A kernel that is 0 except in the middle of its window, where it is as of `orthogonal`.

    Raises: ShapeError unless there are one to three axes of the window, or for more inputs than
        outputs.
    Source: L. Xiao et al., Dynamical Isometry and a Mean Field Theory of CNNs, 2018.
    """
    return DeltaOrthogonal(scale, column_axis, _given(dtype))


# What they share


def _given(dtype: DtypeLike) -> Dtype | None:
    """A dtype in the form that compares by value."""
    return None if dtype is None else dtypes.canonical(dtype)


def _chosen(dtype: DtypeLike, own: Dtype | None) -> Dtype:
    """The dtype that was asked for, else the initializer's own, else the default float."""
    if dtype is not None:
        return dtypes.canonical(dtype)
    return dtypes.default_float() if own is None else own


def _axes(axes: Axes) -> Sequence[int]:
    return (axes,) if isinstance(axes, int) else axes

"""Spherical harmonics."""

from __future__ import annotations

import math
from collections.abc import Callable

from fstensor import dtypes, lax
from fstensor import numpy as fnp
from fstensor.array import Array, ArrayLike, lift
from fstensor.core.trace import Tracer
from fstensor.errors import ArgumentError, DtypeError, OptionError
from fstensor.numpy.promote import cast, constant, equal_ranks, result_pair, select
from fstensor.transforms.jvp import jvp


def sph_harm_y(
    n: ArrayLike,
    m: ArrayLike,
    theta: ArrayLike,
    phi: ArrayLike,
    diff_n: int | None = None,
    n_max: int | None = None,
) -> Array | tuple[Array, ...]:
    """Spherical harmonics Y_n^m(theta, phi), with the Condon-Shortley phase, orthonormal.

    sqrt((2n + 1) / (4 pi) (n - m)! / (n + m)!) P_n^m(cos theta) exp(i m phi)

    n, m: degree and order, integers. The result is 0 unless |m| <= n.
    theta, phi: the polar angle, within [0, pi], and the azimuth. Differentiable in both, to any
        order, also at the poles.
    diff_n: None or 0 for the value alone. For 1 or 2 also its derivatives, as SciPy has them:
        (value, gradient) or (value, gradient, Hessian), whose last axes are theta and phi.
    n_max: the highest degree; the largest of `n` by default, and needed when `n` is traced. Higher
        degrees are taken for n_max.
    Shapes: the four broadcast. Dtypes: complex, of the precision of theta and phi.
    By the recurrence in the degree of the normalized Legendre functions, which is stable; DLMF
    14.10.3. Its cost is proportional to n_max.
    Raises: DtypeError, ArgumentError for traced degrees without n_max, OptionError for diff_n.
    """
    orders = 0 if diff_n is None else diff_n
    if orders not in (0, 1, 2):
        raise OptionError(f"sph_harm_y: diff_n must be None, 0, 1 or 2, got {diff_n}")
    degree, order = (_whole(k) for k in (n, m))
    if n_max is None:
        if isinstance(degree, Tracer):
            raise ArgumentError("sph_harm_y: n_max must be given when n is traced, got None")
        n_max = int(fnp.max(degree, initial=0))
    dtype, weak = result_pair("sph_harm_y", (theta, phi))
    if dtypes.is_complex(dtype):
        raise DtypeError(f"sph_harm_y: takes real angles, got {dtypes.name(dtype)}")
    dtype = dtypes.to_inexact(dtype)
    args = [cast("sph_harm_y", x, dtype, weak) for x in (degree, order, theta, phi)]
    shape = lax.broadcast_shapes(*[x.shape for x in args])
    whole, k, polar, azimuth = (fnp.broadcast_to(x, shape) for x in equal_ranks(args))
    whole = lax.min(whole, constant(n_max, whole))

    def value(polar: Array, azimuth: Array) -> Array:
        size = _legendre(whole, lax.abs(k), lax.cos(polar), lax.sin(polar), n_max)
        odd = fnp.mod(k, constant(2, k)) != constant(0, k)
        size = select(odd & (k < constant(0, k)), lax.neg(size), size)
        turn = k * azimuth
        return lax.complex(size * lax.cos(turn), size * lax.sin(turn))

    outs = [value(polar, azimuth)]
    derivative: Callable[[Array, Array], Array] = value
    for _ in range(orders):
        derivative = _gradient(derivative)
        outs.append(derivative(polar, azimuth))
    return tuple(outs) if orders else outs[0]


def _whole(x: ArrayLike) -> Array:
    x = lift(x, what="sph_harm_y")
    if not dtypes.is_integer(x.dtype):
        raise DtypeError(f"sph_harm_y: n and m must be integers, got {x.aval}")
    return x


def _gradient(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """The derivatives of an elementwise function of two operands, along a new last axis."""

    def of_both(x: Array, y: Array) -> Array:
        one, none = fnp.ones_like(x), fnp.zeros_like(x)
        parts = [jvp(function, (x, y), ts)[1] for ts in ((one, none), (none, one))]
        return fnp.stack(parts, -1)

    return of_both


def _legendre(n: Array, m: Array, x: Array, s: Array, n_max: int) -> Array:
    """The normalized Legendre function of degree n and order m >= 0 at x = cos, s = sin.

    P_m^m = sqrt((2m + 1) / (2m)) (-s) P_(m-1)^(m-1), and from there up by
    P_i^m = a (x P_(i-1)^m - b P_(i-2)^m), with a^2 = (4 i^2 - 1) / (i^2 - m^2) and
    b^2 = ((i - 1)^2 - m^2) / (4 (i - 1)^2 - 1).
    """
    zero, one = constant(0, x), constant(1, x)
    value, before = fnp.full_like(x, math.sqrt(0.25 / math.pi)), fnp.zeros_like(x)
    for i in range(1, n_max + 1):
        diagonal = value * (constant(-math.sqrt(1 + 0.5 / i), s) * s)
        value = select(m >= constant(i, m), diagonal, value)
    for i in range(1, n_max + 1):
        climbs = (m < constant(i, m)) & (n >= constant(i, n))
        gap = select(climbs, constant(i * i, m) - m * m, one)
        a = lax.sqrt(constant(4 * i * i - 1, x) / gap)
        behind = lax.max(constant((i - 1) ** 2, m) - m * m, zero)
        b = lax.sqrt(behind * constant(1 / (4 * (i - 1) ** 2 - 1) if i > 1 else 0, x))
        above = a * (x * value - b * before)
        value, before = select(climbs, above, value), select(climbs, value, before)
    return select(m <= n, value, zero)

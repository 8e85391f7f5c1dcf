"""Quantiles, counts, covariance, differences, interpolation and convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from tests.differential.cases.elementwise import functions
from tests.differential.cases.reductions import axes
from tests.differential.checks import Call, Fixed
from tests.differential.strategies import COMPLEX, FLOATS, INTS, NUMBERS, REALS, Draw


def of_elements(d: Draw) -> Call:
    shape = d.shape((1, 3), (1, 3))
    return Call(d.array(shape), **axes(d, len(shape)))


def fractions(scale: float) -> Any:
    def draw(d: Draw) -> Call:
        shape = d.shape((1, 3), (1, 3))
        # Away from the elements themselves, where the slope in q jumps.
        q = (
            np.array([0.13, 0.44, 0.92]) * scale
            if d.smooth
            else np.array([0, 0.25, 0.5, 1]) * scale
        )
        q = q if d.flag() else q[d.integer(0, len(q) - 1)]
        method = "linear" if d.smooth else d.one_of("linear", "lower", "higher", "nearest")
        return Call(d.array(shape), Fixed(q), **axes(d, len(shape)), method=method)

    return draw


def between(quantile: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's function, but for NaN from 0 times an infinite neighbour."""

    def reference(x: Any, q: Any, axis: Any, keepdims: bool, method: str) -> Any:
        low, high, value = (
            np.asarray(quantile(x, q, axis, method=m, keepdims=keepdims))
            for m in ("lower", "higher", method)
        )
        return np.where(low == high, low, value)

    return reference


def counted(d: Draw) -> Call:
    x = d.array((d.integer(0, 5),), "int32", 0, 6)
    options = {"weights": d.array(x.shape, "float32", -2, 2)} if d.flag() else {}
    return Call(Fixed(x), **options, minlength=d.integer(0, 8))


def variables(d: Draw) -> Call:
    return Call(d.array((d.integer(1, 3), d.integer(3, 5))), rowvar=d.flag(), ddof=d.integer(0, 1))


def correlated(d: Draw) -> Call:
    return Call(d.array((d.integer(2, 3), d.integer(3, 5))))


def differences(d: Draw) -> Call:
    shape = d.shape((1, 3))
    options = {k: d.one_of(0, 1) for k in ("prepend", "append") if d.flag()}
    return Call(d.array(shape), d.integer(0, 2), d.axis(len(shape)), **options)


def flat_differences(d: Draw) -> Call:
    x = d.array(d.shape())
    options = {k: d.array((d.integer(0, 2),), x.dtype) for k in ("to_begin", "to_end") if d.flag()}
    return Call(x, **options)


def slopes(d: Draw) -> Call:
    shape = d.shape((1, 2), (3, 3))
    axis = d.integer(-len(shape), len(shape) - 1)
    spacing = d.one_of(1.0, 0.5) if d.flag() else np.array([0.0, 0.7, 2.0])
    x = d.array(shape)
    # Added to a slope, for that of a constant is made of rounding errors.
    x = x + 10 * np.arange(x.size).reshape(shape).astype(x.dtype)
    return Call(x, Fixed(spacing), axis=axis, edge_order=d.integer(1, 2))


def samples(d: Draw) -> Call:
    shape = d.shape((1, 3))
    return Call(d.array(shape), dx=d.one_of(1.0, 0.5), axis=d.integer(-len(shape), len(shape) - 1))


def interpolated(d: Draw) -> Call:
    n = d.integer(1, 4)
    places = np.sort(np.arange(n) * 1.5 - 2)
    options = {k: d.one_of(-7.0, 7.0) for k in ("left", "right") if d.flag()}
    return Call(d.array(d.shape((0, 2)), "float64"), places, d.array((n,), "float64"), **options)


def phases(d: Draw) -> Call:
    shape = d.shape((1, 2))
    return Call(d.array(shape, "float64", -9, 9), axis=d.integer(-len(shape), len(shape) - 1))


def two_vectors(d: Draw) -> Call:
    kind = d.dtype()
    x, y = (d.array((d.integer(1, 4),), kind) for _ in range(2))
    return Call(x, y, mode=d.one_of("full", "same", "valid"))


def binned(d: Draw) -> Call:
    x = d.array(d.shape(), None, -3, 3)
    options: dict[str, Any] = {"bins": d.one_of(1, 4)} if d.flag() else {}
    if d.flag():
        options["bins"] = Fixed(np.array([-2.0, -0.5, 0.25, 2.5]))
    elif d.flag():
        options["range"] = (-2.0, 2.0)
    if d.flag():
        options["density"] = x.size > 0
    return Call(np.asarray(x, np.float64), **options)


def bin_edges(d: Draw) -> Call:
    options: dict[str, Any] = {"range": (-2.0, 2.0)} if d.flag() else {}
    return Call(d.array(d.shape(), "float64"), bins=d.integer(1, 5), **options)


def points(d: Draw) -> Call:
    n = d.integer(1, 6)
    return Call(d.array((n,), "float64"), d.array((n,), "float64"), bins=d.one_of(2, (2, 3)))


def cloud(d: Draw) -> Call:
    return Call(d.array((d.integer(1, 6), 2), "float64"), bins=d.one_of(2, (2, 3)))


def along_an_axis(d: Draw) -> Call:
    shape = d.shape((1, 3), (1, 3))
    axis = d.integer(-len(shape), len(shape) - 1)
    return Call(Fixed(lambda row: row * row.sum()), axis, d.array(shape))


def over_axes(d: Draw) -> Call:
    shape = d.shape((2, 3))
    # The functions of three libraries share this method.
    return Call(Fixed(lambda x, axis: x.sum(axis)), d.array(shape), d.permutation(len(shape))[:2])


FUNCTIONS = [
    *functions("nanmedian", of_elements, kinds=REALS),
    *functions("nanquantile", fractions(1), kinds=REALS, reference=between(np.nanquantile)),
    *functions(
        "nanpercentile", fractions(100), kinds=REALS, reference=between(np.nanpercentile), factor=20
    ),
    *functions("median", of_elements, kinds=REALS),
    *functions("quantile", fractions(1), kinds=REALS, reference=between(np.quantile)),
    *functions(
        "percentile", fractions(100), kinds=REALS, reference=between(np.percentile), factor=20
    ),
    *functions("bincount", counted, differentiable=False, jax=None),
    *functions("cov", variables, kinds=NUMBERS, edgy=False, factor=8),
    *functions("corrcoef", correlated, kinds=FLOATS + COMPLEX, edgy=False, factor=40),
    *functions("diff", differences, kinds=NUMBERS),
    *functions("ediff1d", flat_differences, kinds=NUMBERS),
    *functions(
        "gradient",
        slopes,
        kinds=FLOATS + COMPLEX,
        edgy=False,
        factor=8,
        jax=None,
        dtype_like=lambda f, *_, **__: f,
        why="JAX has no edge_order",
    ),
    *functions(
        "trapezoid",
        samples,
        kinds=NUMBERS,
        factor=8,
        dtype_like=lambda y, **_: jnp.mean(y),
        why="JAX raises for an empty axis",
    ),
    *functions("interp", interpolated, kinds=FLOATS, factor=8),
    *functions("unwrap", phases, kinds=FLOATS),
    *functions(
        "convolve correlate",
        two_vectors,
        kinds=INTS + FLOATS + COMPLEX,
        edgy=False,
        factor=8,
        dtype_like="numpy",
        why="JAX makes floats of integers",
    ),
    *functions("histogram", binned, kinds=FLOATS, edgy=False, differentiable=False, jax=None),
    *functions(
        "histogram_bin_edges",
        bin_edges,
        kinds=FLOATS,
        edgy=False,
        differentiable=False,
        dtype_like="numpy",
    ),
    *functions("histogram2d", points, kinds=FLOATS, edgy=False, differentiable=False, jax=None),
    *functions("histogramdd", cloud, kinds=FLOATS, edgy=False, differentiable=False, jax=None),
    *functions("apply_along_axis", along_an_axis, kinds=FLOATS + COMPLEX),
    *functions("apply_over_axes", over_axes, kinds=FLOATS + COMPLEX),
]

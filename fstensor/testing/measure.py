"""Finds out what a function can do, by doing it on its example.

Each measurement answers "yes", or says what is the matter; "-" where the question has no sense.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

import fstensor as fst
from fstensor import dtypes
from fstensor.testing.examples.example import Example

YES = "yes"
NOTHING = "-"
# Examples are small and well conditioned; a derivative is the difference of values 1e-6 apart.
_RTOL, _STEP, _DERIVATIVE_RTOL = 1e-9, 1e-6, 1e-5


def measurements(
    function: Callable[..., Any], example: Example, others: Mapping[str, Any]
) -> dict[str, str]:
    """The columns `value`, `jit-able`, `batchable` and `differentiable` of one function.

    others: the functions of NumPy, SciPy and JAX that its value is compared with.
    """

    def apply(*arrays: Any) -> Any:
        return [fst.numpy.asarray(x) for x in _leaves(example.call(function, *arrays))]

    out = {}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = [np.asarray(x) for x in apply(*example.arrays)]
        except Exception as error:  # whatever it is, it is the answer
            return {"value": _said(error)}
        out["value"] = _answer(lambda: _value(example, expected, others))
        out["jit-able"] = _answer(
            lambda: _compare(fst.jit(apply)(*example.arrays), expected, _rtol(expected))
        )
        out["batchable"] = _answer(lambda: _vmap(apply, example))
        out["differentiable"] = _answer(lambda: _jvp(apply, example, expected))
    return out


def _leaves(tree: Any) -> list[Any]:
    return [x for x in fst.tree.leaves(tree) if not isinstance(x, str)]


def _answer(measure: Callable[[], str]) -> str:
    try:
        return measure()
    except Exception as error:  # a user's function may raise anything
        return _said(error)


def _said(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}"


def _rtol(values: list[np.ndarray]) -> float:
    """How far results may differ that are rounded in other places."""
    narrow = any(x.dtype.itemsize <= 4 and x.dtype.kind == "f" for x in values)
    return 1e-6 if narrow else _RTOL


def _compare(got: Any, expected: list[np.ndarray], rtol: float = _RTOL) -> str:
    leaves = [np.asarray(x) for x in got]
    if len(leaves) != len(expected):
        return f"{len(leaves)} results instead of {len(expected)}"
    for g, e in zip(leaves, expected, strict=True):
        if g.shape != e.shape:
            return f"shape {g.shape} instead of {e.shape}"
        exact = not (dtypes.is_inexact(g.dtype) and dtypes.is_inexact(e.dtype))
        scale = 1.0
        if not exact and e.size:
            scale = max(1.0, float(np.nanmax(np.abs(np.nan_to_num(e)))))
        g, e = _wide(g), _wide(e)
        if not np.allclose(g, e, rtol=0 if exact else rtol, atol=rtol * scale, equal_nan=True):
            return "another value"
    return YES


def _wide(x: np.ndarray) -> np.ndarray:
    """Narrow and new dtypes as those that NumPy compares."""
    return x.astype(np.float64) if x.dtype.kind == "V" else x


def _value(example: Example, expected: list[np.ndarray], others: Mapping[str, Any]) -> str:
    if not all(np.all(np.isfinite(_wide(x))) for x in expected):
        return "the example is not finite"  # NaN equals any NaN: nothing would be compared
    for library in example.like.split():
        other = others.get(library.removesuffix("32"))
        if other is None:
            continue
        leaves = other_value(library, other, example)
        # Defaults are 32 bits wide here, and 64 there.
        return _compare(expected, leaves, _rtol([*expected, *leaves]))
    return NOTHING


def other_value(library: str, function: Callable[..., Any], example: Example) -> list[np.ndarray]:
    """What the function of that library gives for the example: the arrays of its result."""
    with _width(library):
        theirs = example.call(function, *example.arrays)
        return [np.asarray(x) for x in _leaves(_plain(theirs))]


@contextlib.contextmanager
def _width(library: str) -> Iterator[None]:
    """JAX with 64 bits by default, unless `library` is `jax32`."""
    if not library.startswith("jax"):
        yield
        return
    import jax

    with jax.enable_x64(library == "jax"):
        yield


def _plain(x: Any) -> Any:
    """Named tuples of NumPy and JAX as plain ones."""
    return tuple(map(_plain, x)) if isinstance(x, (tuple, list)) else x


def _second(x: np.ndarray) -> np.ndarray:
    """Other operands for the second element of a batch; integers may be indices, and stay."""
    if x.dtype.kind in "fc":
        return np.asarray(0.95 * x)
    # Of unsigned integers, examples hold the data of random keys.
    return x + 1 if x.dtype.kind == "u" else x


def _vmap(apply: Callable[..., Any], example: Example) -> str:
    """All operands batched, and each alone."""
    count = len(example.arrays)
    which = [tuple(range(count)), *((i,) for i in range(count) if count > 1)]
    for batched in which if count else ():
        answer = _vmap_over(apply, example, batched)
        if answer != YES:
            return answer
    return YES if count else NOTHING


def _vmap_over(apply: Callable[..., Any], example: Example, batched: tuple[int, ...]) -> str:
    first = example.arrays
    second = [_second(x) if i in batched else x for i, x in enumerate(first)]
    operands = [
        np.stack([x, y]) if i in batched else x
        for i, (x, y) in enumerate(zip(first, second, strict=True))
    ]
    in_axes = [0 if i in batched else None for i in range(len(first))]
    loop = [[np.asarray(x) for x in apply(*arrays)] for arrays in (first, second)]
    expected = [np.stack(pair) for pair in zip(*loop, strict=True)]
    return _compare(fst.vmap(apply, in_axes)(*operands), expected)


def _jvp(apply: Callable[..., Any], example: Example, value: list[np.ndarray]) -> str:
    """Derivative along one direction, forwards beside central differences, and backwards.

    Backwards: the sums of ct * J t and of (J^T ct) * t are equal, in their real parts.
    """
    places = [i for i, x in enumerate(example.arrays) if x.dtype.kind in "fc"]
    kept = [i for i, y in enumerate(value) if dtypes.is_inexact(y.dtype)]
    if not places:
        return NOTHING
    if not kept:
        return "integers"
    points = [example.arrays[i] for i in places]
    # An irregular direction, so that no error cancels.
    directions = [_irregular(x, i + 0.5) for i, x in enumerate(points)]

    def moved(*xs: Any) -> list[Any]:
        arrays = list(example.arrays)
        for i, x in zip(places, xs, strict=True):
            arrays[i] = x
        out = apply(*arrays)
        return [out[i] for i in kept]

    def at(step: float) -> list[np.ndarray]:
        shifted = [np.asarray(x + step * d) for x, d in zip(points, directions, strict=True)]
        return [np.asarray(y) for y in moved(*shifted)]

    slopes = [
        (above - below) / (2 * _STEP) for above, below in zip(at(_STEP), at(-_STEP), strict=True)
    ]
    _, tangents = fst.jvp(moved, tuple(points), tuple(directions))
    answer = _compare(tangents, slopes, _DERIVATIVE_RTOL)
    if answer != YES:
        return answer
    cotangents = [_irregular(np.asarray(y), i + 0.2) for i, y in enumerate(tangents)]
    _, pull = fst.vjp(moved, *points)
    forwards = _real_product(cotangents, tangents)
    backwards = _real_product(pull(cotangents), directions)
    return YES if np.isclose(forwards, backwards, _RTOL, _RTOL) else "vjp is not the adjoint of jvp"


def _irregular(like: np.ndarray, phase: float) -> np.ndarray:
    values = np.cos(1.7 * np.arange(like.size) + phase)
    return values.reshape(like.shape).astype(like.dtype)


def _real_product(xs: Any, ys: Any) -> float:
    pairs = zip(xs, ys, strict=True)
    return float(sum(np.real(np.sum(np.asarray(x) * np.asarray(y))) for x, y in pairs))

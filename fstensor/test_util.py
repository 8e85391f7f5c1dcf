"""Checks of derivatives against finite differences, for the tests of users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from fstensor import dtypes, tree
from fstensor.array import Array, lift
from fstensor.errors import ArgumentError, OptionError
from fstensor.transforms.jvp import jvp
from fstensor.transforms.transpose import vjp

__all__ = ["check_grads"]

Function: TypeAlias = Callable[..., Any]
# What finite differences with the step below give for smooth functions of magnitude one, with
# room for a few operations. Keyed by the bits of a real part.
_TOLERANCES = {8: 0.5, 16: 5e-2, 32: 2e-3, 64: 1e-6}


def check_grads(
    f: Function,
    args: Sequence[Any],
    order: int,
    modes: str | Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Compare derivatives of `f` at `args`, up to the given order, with finite differences.

    Each derivative is compared along one direction, drawn at random but always the same. Of the
    forward mode ("fwd"), the tangent is compared with a central difference of step `eps`; of the
    reverse mode ("rev"), the product of cotangent and Jacobian, along the same direction. A higher
    order takes derivatives of derivatives, in each combination of the modes.
    args: the arguments, trees of arrays; those of integer dtypes are held fixed.
    atol, rtol: the tolerances, which follow the narrowest dtype unless given. eps: the step, by
        default the cube root of that dtype's precision, where the errors of truncation and of
        rounding balance.
    Raises: AssertionError, naming the derivative, the leaf and the largest error.

    >>> import fstensor as fst
    >>> fst.test_util.check_grads(fst.numpy.sin, (0.5,), order=2)
    """
    modes = (modes,) if isinstance(modes, str) else tuple(dict.fromkeys(modes))
    if not set(modes) <= {"fwd", "rev"} or not modes:
        raise OptionError(f"check_grads: modes must be among 'fwd' and 'rev', got {modes!r}")
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise OptionError(f"check_grads: order must be a positive int, got {order!r}")
    if not isinstance(args, (tuple, list)):
        raise ArgumentError(f"check_grads: args must be a tuple, got {type(args).__name__}")
    arrays = tree.map(lambda x: lift(x, what="check_grads"), tuple(args))
    floats = [x.dtype for x in tree.leaves(arrays) if dtypes.is_inexact(x.dtype)]
    if not floats:
        raise ArgumentError("check_grads: no argument has a float or complex dtype")
    reals = [dtypes.to_real(d) for d in floats]
    precision = max(float(dtypes.finfo(d).eps) for d in reals)
    default = _TOLERANCES[min(int(dtypes.finfo(d).bits) for d in reals)]
    check = _Check(
        default if atol is None else atol,
        default if rtol is None else rtol,
        precision ** (1 / 3) if eps is None else eps,
    )
    _check_order(check, f, arrays, order, modes, ())


def _check_order(
    check: _Check, f: Function, args: Any, order: int, modes: tuple[str, ...], path: tuple[str, ...]
) -> None:
    for mode in modes:
        here = (*path, mode)
        if mode == "fwd":
            check.forward(f, args, here)
            if order > 1:
                tangents = check.direction(args, 7)
                _check_order(check, _tangent_of(f, tangents), args, order - 1, modes, here)
        else:
            check.reverse(f, args, here)
            if order > 1:
                _check_order(check, _cotangents_of(f), args, order - 1, modes, here)


def _tangent_of(f: Function, tangents: Any) -> Function:
    """The function whose derivatives are the second ones in the forward mode."""
    return lambda *args: _inexact_leaves(jvp(f, args, tangents)[1])


def _cotangents_of(f: Function) -> Function:
    def cotangents(*args: Any) -> Any:
        out, pullback = vjp(f, *args)
        # Fixed weights: cotangents that depend on the output would mix in other derivatives.
        return _inexact_leaves(pullback(_random_tree(out, 11)))

    return cotangents


def _inexact_leaves(x: Any) -> list[Array]:
    return [y for y in tree.leaves(x) if dtypes.is_inexact(y.dtype)]


class _Check:
    """Comparisons of derivatives, with their tolerances and the step of the differences."""

    def __init__(self, atol: float, rtol: float, eps: float) -> None:
        self.atol = atol
        self.rtol = rtol
        self.eps = eps

    def direction(self, x: Any, seed: int) -> Any:
        return _random_tree(x, seed)

    def difference(self, f: Function, args: Any, tangents: Any) -> list[np.ndarray[Any, Any]]:
        """The central difference of each leaf of the output, in double precision."""
        ahead, behind = (
            _numbers(f(*tree.map(lambda x, t, step=step: _moved(x, t, step), args, tangents)))
            for step in (self.eps, -self.eps)
        )
        return [(a - b) / (2 * self.eps) for a, b in zip(ahead, behind, strict=True)]

    def forward(self, f: Function, args: Any, path: tuple[str, ...]) -> None:
        tangents = self.direction(args, 3)
        out, out_tangent = jvp(f, args, tangents)
        self.compare("the value under jvp", path, out, _numbers(out), _numbers(f(*args)))
        expected = self.difference(f, args, tangents)
        self.compare("the tangent", path, out, _numbers(out_tangent), expected)

    def reverse(self, f: Function, args: Any, path: tuple[str, ...]) -> None:
        tangents = self.direction(args, 3)
        out, pullback = vjp(f, *args)
        self.compare("the value under vjp", path, out, _numbers(out), _numbers(f(*args)))
        cts = self.direction(out, 5)
        got = _inner(tangents, pullback(cts))
        differences = self.difference(f, args, tangents)
        weights = [x if _is_differentiable(x) else np.zeros(()) for x in tree.leaves(cts)]
        expected = sum(
            (float(np.sum(_wide(c) * d).real) for c, d in zip(weights, differences, strict=True)),
            0.0,
        )
        self.compare("the product of cotangent and tangent", path, 0.0, [_wide(got)], [expected])

    def compare(
        self,
        what: str,
        path: tuple[str, ...],
        like: Any,
        got: Sequence[Any],
        expected: Sequence[Any],
    ) -> None:
        leaves = tree.leaves_with_path(like)
        for (keys, leaf), g, e in zip(leaves, got, expected, strict=True):
            if not _is_differentiable(leaf):
                continue
            g, e = np.asarray(g), np.asarray(e)
            error = np.abs(g - e)
            wrong = ~(error <= self.atol + self.rtol * np.abs(e))
            wrong &= ~((g == e) | (np.isnan(g) & np.isnan(e)))
            if not wrong.any():
                continue
            worst = np.unravel_index(np.argmax(np.where(wrong, error, -1)), error.shape)
            place = tree.keystr(keys) + (f"[{', '.join(map(str, worst))}]" if worst else "")
            raise AssertionError(
                f"check_grads: {what} differs from finite differences at order {len(path)}, "
                f"mode {' of '.join(reversed(path))}"
                f"{f', output{place}' if place else ''}: got {g[worst]:.8g}, "
                f"expected {e[worst]:.8g}, error {error[worst]:.3g} beyond "
                f"atol={self.atol:g}, rtol={self.rtol:g}; {int(wrong.sum())} of {wrong.size} differ"
            )


def _is_differentiable(x: Any) -> bool:
    return dtypes.is_inexact(lift(x).dtype)


def _random_tree(x: Any, seed: int) -> Any:
    """Normal numbers of the types of a tree's tangents."""
    draw = np.random.default_rng(seed)

    def leaf(value: Any) -> Any:
        aval = lift(value).aval
        if not dtypes.is_inexact(aval.dtype):
            return np.zeros(aval.shape, dtypes.float0)
        normal = np.asarray(draw.standard_normal(aval.shape))
        if dtypes.is_complex(aval.dtype):
            normal = normal + 1j * draw.standard_normal(aval.shape)
        return lift(normal.astype(aval.dtype))

    return tree.map(leaf, x)


def _moved(x: Array, tangent: Any, step: float) -> Array:
    if not _is_differentiable(x):
        return x
    # The sum is rounded once, to the dtype of x.
    return lift((_wide(x) + step * _wide(tangent)).astype(x.dtype))


def _wide(x: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(x)
    return array.astype(np.complex128 if dtypes.is_complex(array.dtype) else np.float64)


def _numbers(x: Any) -> list[np.ndarray[Any, Any]]:
    """The leaves in double precision; zeros for those that have no derivative."""
    return [
        _wide(leaf) if _is_differentiable(leaf) else np.zeros(np.shape(leaf))
        for leaf in tree.leaves(x)
    ]


def _inner(tangents: Any, cotangents: Any) -> float:
    total = 0.0
    for t, ct in zip(tree.leaves(tangents), tree.leaves(cotangents), strict=True):
        if _is_differentiable(t):
            total += float(np.sum(_wide(ct) * _wide(t)).real)
    return total

"""Gradients, Jacobians and Hessians, by the transforms below them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, final

import numpy as np

from fstensor import dtypes, ops, tree
from fstensor.array import Array
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary
from fstensor.errors import GradError
from fstensor.ops.families import constant
from fstensor.transforms.arguments import (
    FlatFunction,
    check_callable,
    fix_others,
    leaf_names,
    lift_leaves,
    normalize_argnums,
)
from fstensor.transforms.jvp import instantiate
from fstensor.transforms.linearize import Linearized, active_inputs, linearize_flat
from fstensor.transforms.transpose import pull
from fstensor.transforms.vmap import vmap


def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that returns both the value of `fun` and its gradient.

    fun: returns a scalar of float dtype, or a pair (scalar, aux) when has_aux.
    argnums: the positional arguments to differentiate by. An int gives one gradient, a sequence a
        tuple of them; each has the tree, shapes and dtypes of its argument.
    holomorphic: for a complex function that satisfies the Cauchy-Riemann equations; arguments and
        result must be complex. Otherwise, for complex x = a + ib, the gradient of a real f is
        df/da - i df/db, as in JAX.
    allow_int: allow integer and bool arguments; their gradients have dtype float0.
    Returns ((value, aux), gradient) when has_aux, else (value, gradient).
    Raises: GradError when the result is no real scalar or an argument is not inexact.

    >>> import fstensor as fst
    >>> value, slope = fst.value_and_grad(fst.numpy.square)(3.0)
    >>> float(value), float(slope)
    (9.0, 6.0)
    """
    check_callable(fun, "value_and_grad")

    @boundary
    @functools.wraps(fun)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        target = _Target(fun, args, kwargs, argnums, has_aux, "grad")
        target.check(holomorphic, allow_int)
        linear = target.linearize()
        out, aux = target.flat.outputs(linear.outs)
        _check_scalar(out, holomorphic, target.flat.name)
        gradient = target.arrange(pull(linear, [constant(1, out)], target.primals))
        return ((out, aux), gradient) if has_aux else (out, gradient)

    return value_and_gradient


def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that returns the gradient of `fun`; see `value_and_grad` for the arguments.

    Returns (gradient, aux) when has_aux, else the gradient.

    >>> import fstensor as fst
    >>> float(fst.grad(fst.numpy.sin)(0.0))
    1.0
    """
    check_callable(fun, "grad")
    both = value_and_grad(fun, argnums, has_aux, holomorphic, allow_int)

    @boundary
    @functools.wraps(fun)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


def jacfwd(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `fun`, column by column in forward mode.

    The better choice when there are fewer inputs than outputs.
    argnums, has_aux, holomorphic: as in `grad`.
    Returns the output's tree with, for each leaf of shape s, a tree like the chosen arguments, of
    arrays (*s, *shape of the argument's leaf).
    Raises: GradError when an argument is not of float dtype (complex, when holomorphic).

    >>> import fstensor as fst
    >>> fst.jacfwd(lambda x: fst.numpy.stack([x, x * x]))(3.0).tolist()
    [1.0, 6.0]
    """
    check_callable(fun, "jacfwd")

    @boundary
    @functools.wraps(fun)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        target = _Target(fun, args, kwargs, argnums, has_aux, "jacfwd")
        target.check(holomorphic, allow_int=False)
        if not holomorphic:
            target.check_real("jacrev")
        linear = target.linearize()

        def push(*tangents: Array) -> list[Array]:
            pushed = zip(linear.push(tangents), linear.outs[: target.flat.count], strict=False)
            return [instantiate(t, x.aval) for t, x in pushed]

        in_avals = [p.aval for p in target.primals]
        columns = vmap(push, out_axes=-1)(*_basis(in_avals))
        _, aux = target.flat.outputs(linear.outs)
        result = tree.unflatten(
            target.flat.out_tree,
            [target.arrange(_split(c, -1, in_avals)) for c in columns],
        )
        return (result, aux) if has_aux else result

    return jacobian


def jacrev(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `fun`, row by row in reverse mode.

    The better choice when there are fewer outputs than inputs. Arguments and result as in `jacfwd`.
    Raises: GradError when an argument or the output has a dtype without derivatives.

    >>> import fstensor as fst
    >>> fst.jacrev(lambda x: fst.numpy.stack([x, x * x]))(3.0).tolist()
    [1.0, 6.0]
    """
    check_callable(fun, "jacrev")

    @boundary
    @functools.wraps(fun)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        target = _Target(fun, args, kwargs, argnums, has_aux, "jacrev")
        target.check(holomorphic, allow_int)
        linear = target.linearize()
        outs = linear.outs[: target.flat.count]
        _check_outputs(outs, holomorphic, target.flat.name)
        out_avals = [x.aval for x in outs]
        rows = vmap(lambda *cts: pull(linear, cts, target.primals))(*_basis(out_avals))
        by_input = [_split(r, 0, out_avals) for r in rows]
        _, aux = target.flat.outputs(linear.outs)
        result = tree.unflatten(
            target.flat.out_tree,
            [target.arrange([parts[i] for parts in by_input]) for i in range(len(outs))],
        )
        return (result, aux) if has_aux else result

    return jacobian


jacobian = jacrev


def hessian(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """A function that returns the Hessian of `fun`, forward over reverse. Arguments as in `grad`.

    For an argument of shape s the result has shape (*s, *s) for a scalar function.

    >>> import fstensor as fst
    >>> float(fst.hessian(lambda x: x**3)(2.0))
    12.0
    """
    gradient = jacrev(fun, argnums, has_aux=has_aux, holomorphic=holomorphic)
    return jacfwd(gradient, argnums, has_aux=has_aux, holomorphic=holomorphic)


@final
class _Target:
    """A function with its arguments, seen as one of the leaves of the chosen ones."""

    def __init__(
        self,
        fun: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        argnums: int | Sequence[int],
        has_aux: bool,
        what: str,
    ) -> None:
        self.fun, self.args, self.argnums, self.what = fun, args, argnums, what
        self.chosen = normalize_argnums(argnums, len(args), what)
        leaves, self.in_tree = tree.flatten(tuple([args[i] for i in self.chosen]))
        self.primals = lift_leaves(leaves, what)
        of_chosen = fix_others(fun, args, kwargs, self.chosen)
        self.flat = FlatFunction(of_chosen, self.in_tree, what, has_aux, described=fun)

    def linearize(self) -> Linearized:
        active = active_inputs(self.primals)
        return linearize_flat(self.flat, self.primals, active, self.what, self.flat.name)

    def arrange(self, leaves: Sequence[Any]) -> Any:
        """Leaves as the chosen argument, or the tuple of chosen arguments."""
        trees = tree.unflatten(self.in_tree, leaves)
        return trees[0] if isinstance(self.argnums, int) else trees

    def check(self, holomorphic: bool, allow_int: bool) -> None:
        """Raises GradError naming the first argument whose dtype has no derivative."""
        for i, x in enumerate(self.primals):
            if holomorphic and not dtypes.is_complex(x.dtype):
                rule = "with holomorphic=True every argument must be complex"
                self._refuse(i, rule, "convert it with astype(complex)")
            if not dtypes.is_inexact(x.dtype) and not allow_int:
                rule = "arguments must have a float or complex dtype"
                self._refuse(i, rule, "pass a float, or set allow_int=True for a float0 gradient")

    def check_real(self, alternative: str) -> None:
        """Raises GradError for a complex argument."""
        for i, x in enumerate(self.primals):
            if dtypes.is_complex(x.dtype):
                rule = "arguments must be real"
                self._refuse(i, rule, f"set holomorphic=True, or use {alternative}")

    def _refuse(self, i: int, rule: str, hint: str) -> NoReturn:
        names = leaf_names(self.fun, self.args)
        counts = [len(tree.leaves(a)) for a in self.args]
        of_chosen = [names[sum(counts[:k]) + j] for k in self.chosen for j in range(counts[k])]
        raise GradError(
            f"{self.what}: {rule}, got {self.primals[i].aval} for {of_chosen[i]} "
            f"of {self.flat.name}; {hint}"
        )


def _check_scalar(out: Any, holomorphic: bool, name: str) -> None:
    if not isinstance(out, Array):
        raise GradError(
            f"grad: {name} must return one scalar, got a {type(out).__name__}; "
            "set has_aux=True to return more beside it"
        )
    if out.shape:
        raise GradError(
            f"grad: {name} must return a scalar, got {out.aval}; "
            "reduce it (for example by its mean), or use jacrev or vjp"
        )
    _check_outputs([out], holomorphic, name, "grad")


def _check_outputs(
    outs: Sequence[Array], holomorphic: bool, name: str, what: str = "jacrev"
) -> None:
    for out in outs:
        if holomorphic and not dtypes.is_complex(out.dtype):
            raise GradError(
                f"{what}: with holomorphic=True {name} must return complex values, got {out.aval}"
            )
        if not holomorphic and not dtypes.is_float(out.dtype):
            raise GradError(
                f"{what}: {name} must return real values of float dtype, got {out.aval}; "
                "take the real part or the absolute value, or set holomorphic=True"
            )


def _basis(avals: Sequence[ShapedArray]) -> list[Array]:
    """For each aval its columns of the unit matrix of all together, as (total, *shape)."""
    total = sum(a.size for a in avals)
    basis, start = [], 0
    for a in avals:
        rows = ops.shape.broadcasted_iota(np.int64, (total, a.size), 0)
        columns = ops.shape.broadcasted_iota(np.int64, (total, a.size), 1)
        unit = ops.logical.eq(rows, ops.elementwise.add(columns, start))
        values = ops.convert.convert_element_type(unit, a.dtype)
        basis.append(ops.shape.reshape(values, (total, *a.shape)))
        start += a.size
    return basis


def _split(matrix: Array, axis: int, avals: Sequence[ShapedArray]) -> list[Array]:
    """Cut the first or last axis into the leaves' parts, and give each its leaf's shape."""
    axis %= matrix.ndim
    parts, start = [], 0
    for a in avals:
        part = ops.index.slice_in_dim(matrix, start, start + a.size, axis=axis)
        shape = (*matrix.shape[:axis], *a.shape, *matrix.shape[axis + 1 :])
        parts.append(ops.shape.reshape(part, shape))
        start += a.size
    return parts

"""Transposition: reverse-mode differentiation of what linearization recorded.

A linear program y = A t becomes the program of its transpose, ct_t = A^T ct_y: the equations are
walked backwards, and each primitive maps the cotangents of its outputs to those of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fstensor import tree
from fstensor.array import Array
from fstensor.core.boundary import boundary
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Jaxpr, Literal, Var
from fstensor.core.primitive import ZERO, Linear, Value
from fstensor.core.source_info import replays
from fstensor.core.trace import beside
from fstensor.errors import ArgumentError, TreeError
from fstensor.ops.elementwise import add_any
from fstensor.transforms.arguments import FlatFunction, check_callable, lift_leaves
from fstensor.transforms.jvp import check_tangent, instantiate
from fstensor.transforms.linearize import Linearized, active_inputs, linearize_flat
from fstensor.transforms.make_jaxpr import aval_of, trace_closed


def add_cotangents(a: Value, b: Value) -> Value:
    if a is ZERO:
        return b
    return a if b is ZERO else add_any(a, b)


@replays
def backward_pass(jaxpr: Jaxpr, consts: Sequence[Array], cts: Sequence[Value]) -> list[Value]:
    """Cotangents of the inputs of a program that is linear in them, ZERO where none arrives.

    Equations that depend on constants alone are run forwards first.
    """
    known: dict[Var, Array] = dict(zip(jaxpr.constvars, consts, strict=True))
    linear: set[Var] = set(jaxpr.invars)
    waiting: dict[Var, Value] = {}

    def argument(atom: Atom) -> Value:
        if isinstance(atom, Literal):
            return atom.value
        return Linear(atom.aval) if atom in linear else known[atom]

    def arrive(atom: Atom, ct: Value) -> None:
        if ct is not ZERO and isinstance(atom, Var) and atom in linear:
            waiting[atom] = add_cotangents(waiting.get(atom, ZERO), ct)

    backwards = []
    for eqn in jaxpr.eqns:
        if any(v in linear for v in eqn.invars):
            linear.update(eqn.outvars)
            backwards.append(eqn)
        else:
            out = eqn.primitive.bind(*map(argument, eqn.invars))
            outs = out if eqn.primitive.multiple_results else [out]
            known.update(zip(eqn.outvars, outs, strict=True))

    for atom, ct in zip(jaxpr.outvars, cts, strict=True):
        arrive(atom, ct)
    for eqn in reversed(backwards):
        given = [waiting.pop(v, ZERO) for v in eqn.outvars]
        if all(ct is ZERO for ct in given):
            continue
        ct = given if eqn.primitive.multiple_results else given[0]
        results = eqn.primitive.transpose(ct, *map(argument, eqn.invars))
        for atom, result in zip(eqn.invars, results, strict=True):
            if result is not None:
                arrive(atom, result)
    return [waiting.get(v, ZERO) for v in jaxpr.invars]


def transpose_jaxpr(
    closed: ClosedJaxpr, linear: tuple[bool, ...], forced: bool = False
) -> tuple[ClosedJaxpr, list[bool]]:
    """The transpose of a program with respect to the inputs marked linear.

    Its inputs are the other inputs of `closed`, then cotangents of all its outputs; its outputs are
    the cotangents of the linear inputs that are not zero by structure, which the second result
    marks; of all of them when forced.
    """
    key = ("transpose", linear, forced)
    return closed.derive(key, lambda: _transpose_jaxpr(closed, linear, forced))


def _transpose_jaxpr(
    closed: ClosedJaxpr, linear: tuple[bool, ...], forced: bool
) -> tuple[ClosedJaxpr, list[bool]]:
    marks: list[bool] = []
    inner = closed.jaxpr
    residuals = [v for v, on in zip(inner.invars, linear, strict=True) if not on]
    unknowns = [v for v, on in zip(inner.invars, linear, strict=True) if on]
    opened = Jaxpr([*inner.constvars, *residuals], unknowns, inner.outvars, inner.eqns)

    def function(*args: Array) -> list[Array]:
        given, cts = args[: len(residuals)], args[len(residuals) :]
        results = backward_pass(opened, [*closed.consts, *given], cts)
        if forced:
            results = [instantiate(ct, v.aval) for ct, v in zip(results, unknowns, strict=True)]
        marks.extend(ct is not ZERO for ct in results)
        return [ct for ct in results if ct is not ZERO]

    avals = [*(v.aval for v in residuals), *(a.tangent for a in closed.out_avals)]
    return trace_closed(function, avals, "transpose", closed.name), marks


@boundary
def linear_transpose(fun: Callable[..., Any], *primals: Any) -> Callable[[Any], tuple[Any, ...]]:
    """The transpose of a function that is linear in all of its arguments.

    primals: arrays or ShapeDtypeStructs that tell the arguments' shapes and dtypes.
    Returns a function of a cotangent of the output, that gives a tuple with one for each argument.
    Raises: MissingRuleError when it meets an operation that is not linear.

    >>> import fstensor as fst
    >>> f_transpose = fst.linear_transpose(lambda x: 3.0 * x, fst.numpy.float32(0))
    >>> float(f_transpose(fst.numpy.float32(2))[0])
    6.0
    """
    check_callable(fun, "linear_transpose")
    leaves, in_tree = tree.flatten(primals)
    flat = FlatFunction(fun, in_tree, "linear_transpose", has_aux=False)
    avals = [aval_of(x) for x in leaves]
    closed = trace_closed(flat, avals, "linear_transpose", flat.name)

    @boundary
    def transposed(ct: Any) -> tuple[Any, ...]:
        ct_leaves = _check_cotangents(ct, flat.out_tree, "linear_transpose")
        cts = [
            check_tangent(c, a, "linear_transpose: cotangent")
            for c, a in zip(ct_leaves, closed.out_avals, strict=True)
        ]
        results = backward_pass(closed.jaxpr, closed.consts, cts)
        filled = [instantiate(r, a) for r, a in zip(results, avals, strict=True)]
        return tuple(tree.unflatten(in_tree, filled))

    return transposed


def _check_cotangents(ct: Any, out_tree: tree.PyTreeDef, what: str) -> list[Any]:
    leaves, structure = tree.flatten(ct)
    if structure != out_tree:
        difference = tree.describe_mismatch(out_tree, ct)
        raise TreeError(
            f"{what}: the cotangent must have the structure of the output; {difference}"
        )
    return leaves


@boundary
def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `fun` at `primals`, and the function that pulls cotangents back to them.

    Returns (out, f_vjp); (out, f_vjp, aux) when has_aux and `fun` returns (out, aux). f_vjp takes
    a cotangent with the structure, shapes and dtypes of out, and returns a tuple with one for each
    primal; those of integers and bools have dtype float0.
    f_vjp raises TreeError, ShapeError or DtypeError when the cotangent does not fit the output.

    >>> import fstensor as fst
    >>> y, f_vjp = fst.vjp(lambda a, b: a * b, 2.0, 5.0)
    >>> [float(ct) for ct in f_vjp(1.0)]
    [5.0, 2.0]
    """
    check_callable(fun, "vjp")
    leaves, in_tree = tree.flatten(primals)
    ps = lift_leaves(leaves, "vjp")
    flat = FlatFunction(fun, in_tree, "vjp", has_aux)
    linear = linearize_flat(flat, ps, active_inputs(ps), "vjp", flat.name)
    out, aux = flat.outputs(linear.outs)

    @boundary
    def f_vjp(*given: Any) -> tuple[Any, ...]:
        if len(given) != 1:
            raise ArgumentError(
                f"vjp: the pullback takes one cotangent, got {len(given)}; "
                "a function with several outputs takes them in a tuple"
            )
        ct_leaves = _check_cotangents(given[0], flat.out_tree, "vjp")
        cts = [
            check_tangent(c, x.aval, "vjp: cotangent")
            for c, x in zip(ct_leaves, linear.outs[: flat.count], strict=True)
        ]
        return tuple(tree.unflatten(in_tree, pull(linear, cts, ps)))

    return (out, f_vjp, aux) if has_aux else (out, f_vjp)


def pull(linear: Linearized, cts: Sequence[Value], primals: Sequence[Array]) -> list[Array]:
    """Cotangents of all inputs for those of the first outputs; later outputs (aux) have none."""
    active = [ct for ct, on in zip(cts, linear.active_outs, strict=False) if on]
    missing = sum(linear.active_outs) - len(active)
    with beside(primals):
        results = iter(backward_pass(linear.jaxpr, linear.consts, [*active, *[ZERO] * missing]))
        return [
            instantiate(next(results) if on else ZERO, p.aval)
            for p, on in zip(primals, linear.active_ins, strict=True)
        ]

"""`custom_root`: a root of a function by any solver, with derivatives of its own.

With f(a, x) = 0 for all parameters a, which is what a solver establishes,

    df/da da + df/dx dx = 0,    so    dx = -(df/dx)^-1 (df/da da),

by the implicit function theorem: one linear solve, whatever the solver did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fstensor import tree
from fstensor.array import Array
from fstensor.control.common import leaf_paths, lifted_tree, split_at, trace_tree_function
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Value
from fstensor.core.state import state
from fstensor.errors import ArgumentError, ShapeError, TreeError
from fstensor.ops.elementwise import neg
from fstensor.transforms.arguments import split_aux
from fstensor.transforms.custom_common import SymbolicZero
from fstensor.transforms.custom_jvp import custom_jvp
from fstensor.transforms.jvp import instantiate, jvp_flat
from fstensor.transforms.linearize import linearize


def custom_root(
    f: Callable[[Any], Any],
    initial_guess: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    tangent_solve: Callable[[Callable[[Any], Any], Any], Any],
    has_aux: bool = False,
) -> Any:
    """The x with f(x) == 0 that `solve` finds, with the derivatives of such an x.

    f: takes a tree like initial_guess, and gives such a tree; it is differentiated, also by the
        values that it refers to.
    solve: solve(f, initial_guess) returns x; it need not be differentiable.
    tangent_solve: tangent_solve(g, y) returns the x with g(x) == y, where g is f linearized at the
        root; for scalars `lambda g, y: y / g(1.0)`. For the reverse mode it must be transposable.
    has_aux: `solve` returns (x, aux); so does this function. aux has no derivatives.
    Raises: TreeError or ShapeError when a function does not return what is like initial_guess.

    >>> import fstensor as fst
    >>> def sqrt(a):
    ...     def newton(f, x):
    ...         return fst.lax.fori_loop(0, 20, lambda i, x: x - f(x) / (2 * x), x)
    ...     return fst.lax.custom_root(lambda x: x * x - a, 1.0, newton, lambda g, y: y / g(1.0))
    >>> float(sqrt(4.0)), float(fst.grad(sqrt)(4.0))
    (2.0, 0.25)
    """
    for function in (f, solve, tangent_solve):
        if not callable(function):
            raise ArgumentError(f"custom_root: takes functions, got {type(function).__name__}")
    leaves, structure = lifted_tree("custom_root", initial_guess)
    avals = [x.aval.strong for x in leaves]
    count = len(leaves)
    aux_trees: list[tree.PyTreeDef] = []

    def residual(x: Any) -> Any:
        return _like("f", f(x), structure, avals)

    def solution(guess: Any) -> Any:
        out = solve(f, guess)
        x, aux = split_aux(out, "custom_root: solve") if has_aux else (out, None)
        extra, aux_tree = tree.flatten(aux)
        aux_trees.append(aux_tree)
        return [*_like("solve", x, structure, avals), *extra]

    def linear_solution(x: Any, y: Any) -> Any:
        return _like("tangent_solve", tangent_solve(linearize(f, x)[1], y), structure, avals)

    one = tree.treedef_tuple([structure])
    residuals = trace_tree_function(residual, avals, one, "custom_root")
    solver = trace_tree_function(solution, avals, one, "custom_root")
    two = tree.treedef_tuple([structure, structure])
    tangents = trace_tree_function(linear_solution, [*avals, *avals], two, "custom_root")

    # The programs close over nothing: what the functions refer to are arguments.
    captured = [residuals.captured, solver.captured, tangents.captured]

    def root(of_f: list[Array], of_solve: list[Array], of_tangent: list[Array], guess: Any) -> Any:
        return solver.closed.as_function()(*of_solve, *guess)

    def root_jvp(primals: Sequence[Any], given: Sequence[Any]) -> tuple[Any, Any]:
        of_f, _, of_tangent, _ = primals
        outs = implicit(*primals)
        x, aux = split_at(outs, count)
        moving = [ZERO if isinstance(t, SymbolicZero) else t for t in given[0]]
        rhs = _pushed(residuals.closed.as_function(), [*of_f, *x], [*moving, *[ZERO] * count])
        if all(t is ZERO for t in rhs):
            return outs, [SymbolicZero(y.aval.tangent) for y in outs]
        filled = [instantiate(t, y.aval) for t, y in zip(rhs, x, strict=True)]
        found = tangents.closed.as_function()(*of_tangent, *x, *filled)
        return outs, [*map(neg, found), *(SymbolicZero(y.aval.tangent) for y in aux)]

    implicit = custom_jvp(root)
    implicit.defjvp(root_jvp, symbolic_zeros=True)
    outs = implicit(*captured, leaves)
    x = tree.unflatten(structure, outs[:count])
    return (x, tree.unflatten(aux_trees[0], outs[count:])) if has_aux else x


def _pushed(
    function: Callable[..., Sequence[Any]], primals: Sequence[Array], tangents: Sequence[Value]
) -> list[Value]:
    return jvp_flat(function, primals, tangents, state.trace, "jvp", "custom_root")[1]


def _like(
    name: str, y: Any, structure: tree.PyTreeDef, avals: Sequence[ShapedArray]
) -> list[Array]:
    """The leaves of y. Raises TreeError or ShapeError unless it has the guess's type."""
    if tree.structure(y) != structure:
        difference = tree.describe_mismatch(structure, y)
        raise TreeError(
            f"custom_root: {name} must return the structure of initial_guess; {difference}"
        )
    found, _ = lifted_tree("custom_root", y)
    for path, x, a in zip(leaf_paths(structure), found, avals, strict=True):
        if not x.aval.same_type(a):
            raise ShapeError(
                f"custom_root: {name} must return the type of initial_guess, "
                f"got {x.aval} for initial_guess{path} of {a}"
            )
    return found

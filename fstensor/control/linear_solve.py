"""`custom_linear_solve`: the solution of A x = b by any solver, with derivatives of its own.

The derivative needs no derivative of the solver: from A x = b follows

    dA x + A dx = db,    so    dx = A^-1 (db - dA x),

another solve with the same matrix, and the transpose of that is a solve with the transposed one
(B. Christianson, "Reverse accumulation and attractive fixed points", 1994).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

from fstensor import tree
from fstensor.control.common import Traced, leaf_paths, lifted_tree, split_at, trace_tree_function
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Value, primitive
from fstensor.core.state import state
from fstensor.errors import ArgumentError, JaxprTypeError, MissingRuleError, ShapeError, TreeError
from fstensor.ops.elementwise import neg
from fstensor.ops.index import batch_first
from fstensor.transforms.arguments import split_aux
from fstensor.transforms.jvp import instantiate, jvp_flat
from fstensor.transforms.make_jaxpr import ShapeDtypeStruct
from fstensor.transforms.programs import ProgramPrimitive, run
from fstensor.transforms.transpose import add_cotangents, linear_transpose
from fstensor.transforms.vmap import batch_jaxpr


@final
@dataclasses.dataclass(frozen=True)
class Parts:
    """What belongs to the four functions: their programs, or what each of them captures."""

    matvec: Any
    vecmat: Any
    solve: Any
    transpose_solve: Any

    def __iter__(self) -> Iterator[Any]:
        return iter((self.matvec, self.vecmat, self.solve, self.transpose_solve))

    def transposed(self) -> Parts:
        return Parts(self.vecmat, self.matvec, self.transpose_solve, self.solve)


@final
@primitive("custom_linear_solve")
class LinearSolve(ProgramPrimitive):
    """The solution. Operands: what the functions capture, one after the other, then b.

    const_lengths: how much each of them captures. Without a `transpose_solve`, the programs of that
    and of `vecmat` are None. Results: x, then what the solver tells besides.
    """

    const_lengths: Parts
    jaxprs: Parts

    @property
    def programs(self) -> tuple[ClosedJaxpr, ...]:
        return tuple([p for p in self.jaxprs if p is not None])

    @property
    def params(self) -> dict[str, Any]:
        named = {f.name: getattr(self.jaxprs, f.name) for f in dataclasses.fields(self.jaxprs)}
        return {"const_lengths": tuple(self.const_lengths), **named}

    def split(self, values: Sequence[Any]) -> tuple[Parts, list[Any]]:
        """Operands, or what belongs to them, as those of the functions and of b."""
        *parts, b = split_at(values, *self.const_lengths)
        return Parts(*parts), b

    def abstract(self, *avals: ShapedArray) -> Sequence[ShapedArray]:
        consts, b = self.split(avals)
        for program, own in zip(self.jaxprs, consts, strict=True):
            if program is not None and not all(
                x.same_type(y) for x, y in zip(program.in_avals, [*own, *b], strict=True)
            ):
                raise JaxprTypeError(
                    f"custom_linear_solve: {program.name} takes {program.in_avals}, "
                    f"got {[*own, *b]}"
                )
        outs: Sequence[ShapedArray] = self.jaxprs.solve.out_avals
        return outs

    def impl(self, xp: Any, *buffers: Any) -> Any:
        consts, b = self.split(buffers)
        return run(self.jaxprs.solve, xp, [*consts.solve, *b])

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        outs = self.bind(*primals)
        consts, b = self.split(primals)
        t_consts, t_b = self.split(tangents)
        x = outs[: len(b)]
        rhs = list(t_b)
        if any(t is not ZERO for t in t_consts.matvec):
            function = self.jaxprs.matvec.as_function()
            given = [*consts.matvec, *x], [*t_consts.matvec, *[ZERO] * len(x)]
            _, ts = jvp_flat(function, *given, state.trace, "jvp", self.jaxprs.matvec.name)
            rhs = [
                add_cotangents(t, ZERO if m is ZERO else neg(m))
                for t, m in zip(rhs, ts, strict=True)
            ]
        if all(t is ZERO for t in rhs):  # of the solver's own captures x does not depend
            return outs, [ZERO] * len(outs)
        filled = [instantiate(t, y.aval) for t, y in zip(rhs, b, strict=True)]
        captured = [c for part in consts for c in part]
        dx = self.bind(*captured, *filled)[: len(b)]
        return outs, [*dx, *[ZERO] * (len(outs) - len(b))]

    def transpose(self, cts: Any, *args: Value) -> Sequence[Value]:
        if self.jaxprs.transpose_solve is None:
            raise MissingRuleError(
                "custom_linear_solve: the reverse mode needs transpose_solve, or symmetric=True"
            )
        consts, b = self.split(args)
        if any(isinstance(x, Linear) for part in consts for x in part):
            raise MissingRuleError(
                "custom_linear_solve: is linear in b alone, and cannot be transposed with respect "
                "to values that its functions refer to"
            )
        given = [instantiate(ct, y.aval) for ct, y in zip(cts, b, strict=False)]
        captured = [c for part in consts.transposed() for c in part]
        turned = LinearSolve(self.const_lengths.transposed(), self.jaxprs.transposed())
        return [*[None] * len(captured), *turned.bind(*captured, *given)[: len(b)]]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        # Whatever is batched, so is x, and with it what each function takes and gives.
        consts, b = self.split(args)
        const_dims, b_dims = self.split(dims)
        programs = Parts(
            *[
                p and batch_jaxpr(p, axis, (*d, *[0] * len(b)), (True,) * len(p.out_avals))[0]
                for p, d in zip(self.jaxprs, const_dims, strict=True)
            ]
        )
        placed = [batch_first(x, d, axis.size) for x, d in zip(b, b_dims, strict=True)]
        captured = [c for part in consts for c in part]
        outs = LinearSolve(self.const_lengths, programs).bind(*captured, *placed)
        return outs, [0] * len(outs)


def custom_linear_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    transpose_solve: Callable[[Callable[[Any], Any], Any], Any] | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """The x with matvec(x) == b that `solve` finds, with the derivatives of such an x.

    matvec: a linear function of a tree like b, which gives such a tree; it is differentiated.
    solve: solve(matvec, b) returns x; it need not be differentiable.
    transpose_solve: the same for the transpose, transpose_solve(vecmat, b), where vecmat is made
        from `matvec`. The reverse mode needs it, unless `symmetric` says that matvec is its own
        transpose.
    has_aux: `solve` and `transpose_solve` return (x, aux); so does this function. aux has no
        derivatives.
    Raises: TreeError or ShapeError when a function does not return what is like b;
        MissingRuleError in the reverse mode without a way to solve the transpose.

    >>> import fstensor as fst
    >>> def divide(a, b):
    ...     return fst.lax.custom_linear_solve(lambda x: a * x, b, lambda f, b: b / f(1.0),
    ...                                        symmetric=True)
    >>> [float(t) for t in fst.grad(divide, (0, 1))(2.0, 6.0)]
    [-1.5, 0.5]
    """
    for f in (matvec, solve, *([] if transpose_solve is None else [transpose_solve])):
        if not callable(f):
            raise ArgumentError(f"custom_linear_solve: takes functions, got {type(f).__name__}")
    if transpose_solve is None and symmetric:
        transpose_solve = solve
    leaves, structure = lifted_tree("custom_linear_solve", b)
    avals = [x.aval.strong for x in leaves]
    aux_trees: list[tree.PyTreeDef] = []

    def traced(function: Callable[[Any], Any], name: str, aux: bool) -> Traced:
        def checked(x: Any) -> Any:
            out = function(x)
            y, more = split_aux(out, f"custom_linear_solve: {name}") if aux else (out, None)
            _check_like(name, y, structure, avals)
            extra, aux_tree = tree.flatten(more)
            if aux:
                aux_trees.append(aux_tree)
            return [*tree.leaves(y), *extra]

        checked.__wrapped__ = function  # type: ignore[attr-defined]  # for its name in messages
        in_tree = tree.treedef_tuple([structure])
        return trace_tree_function(checked, avals, in_tree, "custom_linear_solve")

    def solver(function: Callable[..., Any], matrix: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def of_b(x: Any) -> Any:
            return function(matrix, x)

        of_b.__wrapped__ = function  # type: ignore[attr-defined]
        return of_b

    parts: list[Traced | None] = [traced(matvec, "matvec", False), None]
    parts.append(traced(solver(solve, matvec), "solve", has_aux))
    if transpose_solve is None:
        parts.append(None)
    else:
        like = tree.unflatten(structure, [ShapeDtypeStruct(a.shape, a.dtype) for a in avals])
        vecmat = matvec if symmetric else _transposed(matvec, like)
        parts[1] = parts[0] if symmetric else traced(vecmat, "the transpose of matvec", False)
        parts.append(traced(solver(transpose_solve, vecmat), "transpose_solve", has_aux))
    captured = [p.captured if p else [] for p in parts]
    lengths = Parts(*map(len, captured))
    operation = LinearSolve(lengths, Parts(*[p and p.closed for p in parts]))
    outs = operation.bind(*[c for part in captured for c in part], *leaves)
    x = tree.unflatten(structure, outs[: len(leaves)])
    return (x, tree.unflatten(aux_trees[0], outs[len(leaves) :])) if has_aux else x


def _transposed(matvec: Callable[[Any], Any], like: Any) -> Callable[[Any], Any]:
    def vecmat(x: Any) -> Any:
        return linear_transpose(matvec, like)(x)[0]

    return vecmat


def _check_like(name: str, y: Any, structure: tree.PyTreeDef, avals: Sequence[ShapedArray]) -> None:
    """Raises TreeError or ShapeError unless y has the type of b."""
    if tree.structure(y) != structure:
        difference = tree.describe_mismatch(structure, y)
        raise TreeError(f"custom_linear_solve: {name} must return the structure of b; {difference}")
    found, _ = lifted_tree("custom_linear_solve", y)
    for path, x, a in zip(leaf_paths(structure), found, avals, strict=True):
        if not x.aval.same_type(a):
            raise ShapeError(
                f"custom_linear_solve: {name} must return the type of b, "
                f"got {x.aval} for b{path} of {a}"
            )

"""Linearization: the value now, the derivative as a program.

`linearize` runs a function under jvp with unknown tangents. The primal part is computed, in the
trace that was current before; each operation on tangents is recorded. The recorded program is
linear in the tangents, and its constants are the residuals: the values of the forward pass that
the derivative needs. Residuals are referred to, not copied, and those that no output needs are
dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, final

from fstensor import tree
from fstensor.array import Array
from fstensor.core.boundary import boundary
from fstensor.core.jaxpr import Atom, ClosedJaxpr, DebugInfo, Jaxpr, dce, eval_jaxpr
from fstensor.core.primitive import ZERO, Value
from fstensor.core.state import state
from fstensor.core.trace import PartialTrace, current_trace
from fstensor.errors import TreeError
from fstensor.transforms.arguments import FlatFunction, check_callable, lift_leaves
from fstensor.transforms.jvp import check_tangent, instantiate, jvp_flat
from fstensor.transforms.make_jaxpr import trace_flat


@final
@dataclasses.dataclass(frozen=True)
class Linearized:
    """A function's outputs and its derivative there.

    `jaxpr` maps the tangents of the active inputs to those of the active outputs, with `consts` as
    residuals; all other tangents are zero.
    """

    outs: list[Array]
    jaxpr: Jaxpr
    consts: list[Array]
    active_ins: list[bool]
    active_outs: list[bool]

    def push(self, tangents: Sequence[Value]) -> list[Value]:
        """Tangents of the outputs for tangents of all inputs, ZERO where zero by structure."""
        given = [
            instantiate(t, v.aval)
            for t, v in zip(_selected(tangents, self.active_ins), self.jaxpr.invars, strict=True)
        ]
        results = iter(eval_jaxpr(self.jaxpr, self.consts, *given))
        return [next(results) if on else ZERO for on in self.active_outs]


def _selected(values: Sequence[Any], marks: Sequence[bool]) -> list[Any]:
    return [x for x, on in zip(values, marks, strict=True) if on]


def linearize_flat(
    function: Callable[..., Sequence[Any]],
    primals: Sequence[Array],
    active: Sequence[bool],
    transform: str,
    name: str,
) -> Linearized:
    """Linearize a function of flat arguments with respect to those marked active."""
    parent = state.trace
    trace = PartialTrace(parent, transform, name)
    try:
        tangents = [
            trace.new_input(p.aval.tangent) if on else ZERO
            for p, on in zip(primals, active, strict=True)
        ]
        outs, out_tangents = jvp_flat(function, primals, tangents, trace, transform, name)
        atoms = [trace.atom(t) for t in out_tangents if t is not ZERO]
    finally:
        trace.alive = False
    jaxpr, consts = trace.builder.build(atoms, DebugInfo(transform, name))
    jaxpr, consts = prune(jaxpr, consts)
    return Linearized(outs, jaxpr, consts, list(active), [t is not ZERO for t in out_tangents])


def active_inputs(primals: Sequence[Array]) -> list[bool]:
    """Which inputs have derivatives: those of float or complex dtype."""
    return [not p.aval.tangent.is_float0 for p in primals]


def prune(jaxpr: Jaxpr, consts: Sequence[Array]) -> tuple[Jaxpr, list[Array]]:
    """Drop equations and constants that no output needs."""
    jaxpr = dce(jaxpr)
    used: set[Any] = {v for eqn in jaxpr.eqns for v in eqn.invars}
    used.update(jaxpr.outvars)
    kept = [(v, c) for v, c in zip(jaxpr.constvars, consts, strict=True) if v in used]
    constvars = [v for v, _ in kept]
    pruned = Jaxpr(constvars, jaxpr.invars, jaxpr.outvars, jaxpr.eqns, jaxpr.debug_info)
    return pruned, [c for _, c in kept]


@boundary
def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `fun` at `primals`, and its derivative there as a function of tangents.

    The derivative costs as many operations as its part of a jvp, however often it is applied.
    Returns (out, f_jvp), or (out, f_jvp, aux) when has_aux and `fun` returns (out, aux).
    f_jvp raises TreeError, ShapeError or DtypeError when tangents do not fit primals.

    >>> import fstensor as fst
    >>> y, f_jvp = fst.linearize(fst.numpy.square, 3.0)
    >>> float(f_jvp(1.0))
    6.0
    """
    check_callable(fun, "linearize")
    leaves, in_tree = tree.flatten(primals)
    ps = lift_leaves(leaves, "linearize")
    flat = FlatFunction(fun, in_tree, "linearize", has_aux)
    linear = linearize_flat(flat, ps, active_inputs(ps), "linearize", flat.name)

    def f_jvp(*tangents: Any) -> Any:
        leaves, structure = tree.flatten(tangents)
        if structure != in_tree:
            difference = tree.describe_mismatch(in_tree, tangents)
            raise TreeError(f"linearize: tangents must have the structure of primals; {difference}")
        checked = [
            check_tangent(t, p.aval, "linearize: tangent") for p, t in zip(ps, leaves, strict=True)
        ]
        pushed = zip(linear.push(checked), linear.outs, strict=True)
        return flat.outputs([instantiate(t, x.aval) for t, x in pushed])[0]

    out, aux = flat.outputs(linear.outs)
    return (out, f_jvp, aux) if has_aux else (out, f_jvp)


@final
@dataclasses.dataclass(frozen=True)
class Split:
    """A program in two parts: what known inputs determine, and the rest.

    `known` maps the known inputs to the known outputs, then to the residuals that are neither
    inputs nor outputs of it. `unknown` maps residuals and unknown inputs to the unknown outputs,
    which `unknown_outs` marks. `residuals` tells for each residual where it is found in the known
    inputs followed by what `known` returns: nothing that exists already is returned again.
    """

    known: ClosedJaxpr
    unknown: ClosedJaxpr
    unknown_outs: list[bool]
    residuals: list[int]

    @property
    def known_count(self) -> int:
        """The number of known outputs."""
        return len(self.unknown_outs) - sum(self.unknown_outs)


def split_jaxpr(
    closed: ClosedJaxpr,
    unknown: tuple[bool, ...],
    forced: tuple[bool, ...] | None = None,
    whole: bool = False,
) -> Split:
    """Split a program by its known and unknown inputs.

    forced: outputs that count as unknown even where known inputs determine them.
    whole: an operation on unknown values is unknown as a whole, also where it holds programs.
    """
    key = ("split", unknown, forced, whole)
    return closed.derive(key, lambda: _split_jaxpr(closed, unknown, forced, whole))


def _split_jaxpr(
    closed: ClosedJaxpr, unknown: tuple[bool, ...], forced: tuple[bool, ...] | None, whole: bool
) -> Split:
    rest: list[Jaxpr] = []
    marks: list[bool] = []
    known_avals = _selected(closed.in_avals, [not on for on in unknown])

    def known_part(*known: Array) -> list[Array]:
        trace = PartialTrace(state.trace, "linearize", closed.name, whole)
        given = iter(known)
        try:
            with current_trace(trace):
                args = [
                    trace.new_input(a) if on else next(given)
                    for a, on in zip(closed.in_avals, unknown, strict=True)
                ]
                outs = closed.as_function()(*args)
                wanted = forced or (False,) * len(outs)
                marks.extend(on or trace.is_unknown(x) for x, on in zip(outs, wanted, strict=True))
                atoms = [trace.atom(x) for x in _selected(outs, marks)]
        finally:
            trace.alive = False
        jaxpr, residuals = prune(*trace.builder.build(atoms, DebugInfo("linearize", closed.name)))
        rest.append(jaxpr)
        return [*_selected(outs, [not on for on in marks]), *residuals]

    traced, consts = trace_flat(known_part, known_avals, "linearize", closed.name)
    linear = rest[0]
    outvars, residuals = _forward_residuals(traced, len(marks) - sum(marks))
    known = Jaxpr(traced.constvars, traced.invars, outvars, traced.eqns, traced.debug_info)
    unknown_jaxpr = Jaxpr(
        (), [*linear.constvars, *linear.invars], linear.outvars, linear.eqns, linear.debug_info
    )
    return Split(ClosedJaxpr(known, consts), ClosedJaxpr(unknown_jaxpr), marks, residuals)


def _forward_residuals(traced: Jaxpr, known_count: int) -> tuple[list[Atom], list[int]]:
    """The outputs without residuals that are inputs or earlier outputs, and each one's place."""
    outvars = traced.outvars[:known_count]
    places: dict[Atom, int] = {}
    for i, atom in enumerate([*traced.invars, *outvars]):
        places.setdefault(atom, i)
    residuals = []
    for atom in traced.outvars[known_count:]:
        if atom not in places:
            places[atom] = len(traced.invars) + len(outvars)
            outvars.append(atom)
        residuals.append(places[atom])
    return outvars, residuals

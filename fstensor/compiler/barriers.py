"""Barriers: their results are their operands, but nothing that needs one comes before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fstensor.compiler.steps import HostStep, Step
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Literal, Var
from fstensor.ops.barrier import OptimizationBarrier


def free_numbers(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program with numbers taken around barriers, which they need not wait for."""
    jaxpr = closed.jaxpr
    same: dict[Var, Atom] = {}
    eqns: list[Eqn] = []
    for eqn in jaxpr.eqns:
        operands = [same.get(a, a) if isinstance(a, Var) else a for a in eqn.invars]
        results = eqn.outvars
        if isinstance(eqn.primitive, OptimizationBarrier):
            pairs = list(zip(operands, results, strict=True))
            same.update((v, a) for a, v in pairs if isinstance(a, Literal))
            pairs = [(a, v) for a, v in pairs if not isinstance(a, Literal)]
            operands, results = [a for a, _ in pairs], [v for _, v in pairs]
        eqns.append(Eqn(eqn.primitive, operands, results, eqn.source_info))
    outs = [same.get(a, a) if isinstance(a, Var) else a for a in jaxpr.outvars]
    changed = Jaxpr(jaxpr.constvars, jaxpr.invars, outs, eqns, jaxpr.debug_info)
    return ClosedJaxpr(changed, closed.consts) if same else closed


def is_barrier(step: Step) -> bool:
    return isinstance(step, HostStep) and isinstance(step.eqn.primitive, OptimizationBarrier)


def drop_barriers(steps: Sequence[Step]) -> tuple[list[Step], dict[Var, Atom]]:
    """The steps without barriers, and what to read in place of a barrier's results.

    Barriers have done their work: what they keep apart was not shared, and comes in their order.
    """
    same: dict[Var, Atom] = {}
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, HostStep):
            eqn = step.eqn
            operands = [same.get(a, a) if isinstance(a, Var) else a for a in eqn.invars]
            if is_barrier(step):
                same.update(zip(eqn.outvars, operands, strict=True))
            else:
                renamed = Eqn(eqn.primitive, operands, eqn.outvars, eqn.source_info)
                kept.append(HostStep(renamed))
            continue
        reads = [same.get(v, v) for v in step.reads]
        assert all(isinstance(v, Var) for v in reads), "see _make_real"
        kept.append(replace(step, reads=[v for v in reads if isinstance(v, Var)]))
    return kept, same

"""Constant folding: numbers that follow from numbers are computed once, before the program runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fstensor.array import ConcreteArray, from_buffer
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Literal, Var
from fstensor.core.primitive import Primitive


def fold_constants(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program without the equations whose operands and results are all known scalars.

    Arrays are not folded: they would take the memory that the program saves.
    """
    j = closed.jaxpr
    known: dict[Var, Literal] = {}
    eqns = []

    def read(atom: Atom) -> Atom:
        return known.get(atom, atom) if isinstance(atom, Var) else atom

    for eqn in j.eqns:
        invars = [read(a) for a in eqn.invars]
        value = folded(eqn.primitive, invars, eqn.outvars[0].aval) if eqn.outvars else None
        if value is None:
            eqns.append(Eqn(eqn.primitive, invars, eqn.outvars, eqn.source_info))
        else:
            known[eqn.outvars[0]] = Literal(value)
    outvars = [read(a) for a in j.outvars]
    return ClosedJaxpr(Jaxpr(j.constvars, j.invars, outvars, eqns, j.debug_info), closed.consts)


def folded(
    primitive: Primitive, invars: Sequence[Atom], out_aval: ShapedArray
) -> ConcreteArray | None:
    """The result where it is a scalar that follows from known ones, else None."""
    if (
        not invars
        or primitive.multiple_results
        or primitive.effectful
        or primitive.axis_names
        or primitive.stays_apart
        or out_aval.shape
        or out_aval.dtype.kind not in "biufc"
    ):
        return None
    buffers = []
    for a in invars:
        if not isinstance(a, Literal) or not isinstance(a.value._buffer, np.ndarray):
            return None
        buffers.append(a.value._buffer)
    with np.errstate(all="ignore"):
        out = np.asarray(primitive.impl(np, *buffers))
    return ConcreteArray(from_buffer(out)._buffer, out_aval)

"""Equations in place of others, before a program becomes kernels."""

from __future__ import annotations

import itertools

from fstensor.core.jaxpr import Eqn, Jaxpr
from fstensor.ops.arrange import Split
from fstensor.ops.index import Slice


def without_splits(jaxpr: Jaxpr) -> Jaxpr:
    """The program with a slice for each result of a split: kernels read it in place."""
    if not any(isinstance(e.primitive, Split) for e in jaxpr.eqns):
        return jaxpr
    eqns = [part for e in jaxpr.eqns for part in _parts(e)]
    return Jaxpr(jaxpr.constvars, jaxpr.invars, jaxpr.outvars, eqns, jaxpr.debug_info)


def _parts(eqn: Eqn) -> list[Eqn]:
    split = eqn.primitive
    if not isinstance(split, Split):
        return [eqn]
    (x,) = eqn.invars
    ends = list(itertools.accumulate(split.sizes))
    found = []
    for n, end, out in zip(split.sizes, ends, eqn.outvars, strict=True):
        starts, limits = [0] * x.aval.ndim, list(x.aval.shape)
        starts[split.axis], limits[split.axis] = end - n, end
        part = Slice(tuple(starts), tuple(limits), None)
        found.append(Eqn(part, [x], [out], eqn.source_info))
    return found

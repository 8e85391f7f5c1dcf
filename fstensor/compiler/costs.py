"""What one operation costs by itself."""

from __future__ import annotations

import functools

from fstensor.compiler.fuse import fuse
from fstensor.compiler.steps import HostStep
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr, Eqn, Jaxpr, Var
from fstensor.core.primitive import Primitive


@functools.lru_cache(maxsize=4096)
def flops(primitive: Primitive, avals: tuple[ShapedArray, ...]) -> int:
    """Operations of arithmetic on floats, for operands of these types, as kernels count theirs.

    None where `impl` does the work, as of sorting and decompositions.
    """
    found = primitive.infer(avals)
    outvars = [Var(a) for a in (found if primitive.multiple_results else [found])]
    invars = [Var(a) for a in avals]
    alone = Jaxpr([], invars, outvars, [Eqn(primitive, invars, outvars, None)])
    return sum(s.flops for s in fuse(ClosedJaxpr(alone, [])) if not isinstance(s, HostStep))

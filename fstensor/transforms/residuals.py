"""What reverse mode keeps of a function between its two passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fstensor import tree
from fstensor.core import source_info
from fstensor.core.aval import ShapedArray
from fstensor.core.boundary import boundary
from fstensor.core.jaxpr import Eqn
from fstensor.core.trace import JaxprTrace, current_trace
from fstensor.transforms.arguments import FlatFunction, check_callable, leaf_names, lift_leaves
from fstensor.transforms.checkpoint_policies import Name
from fstensor.transforms.jit import Jit
from fstensor.transforms.linearize import active_inputs, linearize_flat


@boundary
def saved_residuals(
    f: Callable[..., Any], *args: Any, **kwargs: Any
) -> list[tuple[ShapedArray, str]]:
    """The values that reverse mode keeps between the passes of `f`: their types and origins.

    Each is an argument, a constant that `f` refers to, or what an operation gave at a line of the
    user's; a number that stands in the derivative itself is not among them.
    """
    check_callable(f, "saved_residuals")
    leaves, in_tree = tree.flatten((args, kwargs))
    values = lift_leaves(leaves, "saved_residuals")
    trace = JaxprTrace("saved_residuals", source_info.describe_function(f))
    try:
        with current_trace(trace):
            inputs = [trace.new_input(x.aval) for x in values]
            flat = FlatFunction(lambda a, k: f(*a, **k), in_tree, "saved_residuals", False, f)
            active = active_inputs(inputs)
            linear = linearize_flat(flat, inputs, active, "saved_residuals", flat.name)
            kept = {trace.atom(x) for x in linear.consts}
    finally:
        trace.alive = False
    names = [*leaf_names(f, args), *(n + p for n, p in _keyword_paths(kwargs))]
    found: list[tuple[ShapedArray, str]] = []
    found += [(v.aval, "from a constant") for v, _ in trace.builder.constants.values() if v in kept]
    for v, name in zip(trace.builder.invars, names, strict=True):
        if v in kept:
            found.append((v.aval, f"from the argument {name}"))
    for eqn in trace.builder.eqns:
        found += [(v.aval, _origin(eqn)) for v in eqn.outvars if v in kept]
    return found


def _keyword_paths(kwargs: dict[str, Any]) -> list[tuple[str, str]]:
    # Dictionaries are flattened in the order of their keys.
    return [
        (n, tree.keystr(p)) for n in sorted(kwargs) for p, _ in tree.leaves_with_path(kwargs[n])
    ]


def _origin(eqn: Eqn) -> str:
    where = f" from {eqn.source_info} ({eqn.source_info.function})" if eqn.source_info else ""
    if isinstance(eqn.primitive, Name):
        return f"named {eqn.primitive.label!r}{where}"
    if isinstance(eqn.primitive, Jit):
        return f"output of jitted function {eqn.primitive.label!r}{where}"
    return f"output of {eqn.primitive.name}{where}"


def print_saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Print what reverse mode keeps between the passes of `f`, a line for each value.

    >>> import fstensor as fst
    >>> fst.print_saved_residuals(lambda x, y: x * y, fst.numpy.ones(3), fst.numpy.ones(3))
    f32[3] from the argument x
    f32[3] from the argument y
    """
    for aval, origin in saved_residuals(f, *args, **kwargs):
        print(f"{aval.short()} {origin}")

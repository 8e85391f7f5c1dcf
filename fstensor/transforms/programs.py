"""What primitives that hold programs share: calls, branches, loops, functions with their own rules.

Their rules are transforms of the programs that they hold, and their `impl` runs these programs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from fstensor.array import Array
from fstensor.compiler.numpy_executor import Program
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import ClosedJaxpr, Jaxpr
from fstensor.core.primitive import Primitive
from fstensor.core.trace import Tracer
from fstensor.errors import JaxprTypeError
from fstensor.transforms.make_jaxpr import trace_flat


class ProgramPrimitive(Primitive):
    """An operation that holds programs, with several results."""

    multiple_results = True

    @property
    @abstractmethod
    def programs(self) -> tuple[ClosedJaxpr, ...]:
        """The programs that it holds."""

    @property
    def axis_names(self) -> tuple[Any, ...]:
        return tuple({n for p in self.programs for n in p.axis_names})

    @property
    def effectful(self) -> bool:
        return any(p.effectful for p in self.programs)

    def infer(self, avals: tuple[ShapedArray, ...]) -> Any:
        # The table that the others share would keep the programs alive.
        return self.abstract(*avals)


def check_inputs(what: str, program: ClosedJaxpr, avals: Sequence[ShapedArray]) -> None:
    """Raises JaxprTypeError when a program does not take operands of these types."""
    expected = program.in_avals
    if tuple(avals) != expected and (
        len(avals) != len(expected) or not all(map(ShapedArray.same_type, avals, expected))
    ):
        raise JaxprTypeError(f"{what}: {program.name} takes {expected}, got {tuple(avals)}")


def program_of(closed: ClosedJaxpr) -> Program:
    """The program made ready to run, once."""
    return closed.derive("program", lambda: Program(closed))


def run(closed: ClosedJaxpr, xp: Any, buffers: Sequence[Any]) -> list[Any]:
    """The buffers of a program's outputs. `xp` is the array module of the inputs."""
    return program_of(closed).run(xp, buffers)


def runner(closed: ClosedJaxpr, xp: Any, like: Sequence[Any]) -> Callable[..., list[Any]]:
    """A program as a function of buffers that lie where `like` do, for many calls."""
    return program_of(closed).function(xp, like)


def trace_captured(
    function: Callable[..., Sequence[Any]],
    avals: Sequence[ShapedArray],
    transform: str,
    name: str,
) -> tuple[ClosedJaxpr, list[Array]]:
    """Record a function of flat arguments that may refer to tracers of enclosing transforms.

    Those become the program's first inputs, and are the second result; concrete arrays that it
    refers to become the program's constants.
    """
    jaxpr, consts = trace_flat(function, avals, transform, name)
    pairs = list(zip(jaxpr.constvars, consts, strict=True))
    captured = [(v, c) for v, c in pairs if isinstance(c, Tracer)]
    fixed = [(v, c) for v, c in pairs if not isinstance(c, Tracer)]
    opened = Jaxpr(
        [v for v, _ in fixed],
        [*(v for v, _ in captured), *jaxpr.invars],
        jaxpr.outvars,
        jaxpr.eqns,
        jaxpr.debug_info,
    )
    return ClosedJaxpr(opened, [c for _, c in fixed]), [c for _, c in captured]

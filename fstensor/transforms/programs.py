"""What primitives that hold programs share: calls, branches, loops, functions with their own rules.

Their rules are transforms of the programs that they hold, and their `impl` runs these programs.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fstensor import device
from fstensor.array import Array
from fstensor.compiler import ahead
from fstensor.compiler.available import why_not
from fstensor.compiler.numpy_executor import Program
from fstensor.compiler.simplify import already_simple, simplify
from fstensor.config import config
from fstensor.core import finite, memory
from fstensor.core.aval import ShapedArray
from fstensor.core.jaxpr import Atom, ClosedJaxpr, Eqn, Jaxpr, Literal
from fstensor.core.primitive import Primitive
from fstensor.core.source_info import user_stacklevel
from fstensor.core.state import state
from fstensor.core.trace import Tracer
from fstensor.errors import ConcretizationTypeError, JaxprTypeError
from fstensor.transforms.make_jaxpr import trace_flat

if TYPE_CHECKING:
    from fstensor.compiler.invocation import FromArrays
    from fstensor.compiler.native import Native


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

    @property
    def runs_only_where_due(self) -> bool:
        return any(p.runs_only_where_due for p in self.programs)

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
    """The program made ready to run by NumPy, once."""
    return closed.derive("program", lambda: Program(closed))


def simplified(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program after the passes that make it smaller, made once."""
    return simplify(closed)


def known_simple(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same program, of which `simplified` gives it back: it has been through all passes."""
    return already_simple(closed)


def native_program_of(closed: ClosedJaxpr) -> Program:
    """The program compiled for this machine's processor, once."""
    return closed.derive(
        "native program", lambda: Program(closed, lambda _: native_of(closed).result)
    )


def native_function_of(closed: ClosedJaxpr) -> Callable[..., list[Any]]:
    """The compiled program as a function of buffers: its native call, where that is all of it."""
    only = native_of(closed).only
    return native_program_of(closed).on_cpu if only is None else only.function


def native_function_of_arrays(closed: ClosedJaxpr) -> FromArrays | None:
    """The same of a tuple of Arrays, that looks whether they are what the program takes.

    None where the program is more than one native call, or where it cannot be told.
    """
    only = native_of(closed).only
    if only is None:
        return None
    from fstensor.compiler.invocation import from_arrays

    return from_arrays(only.call, only.code, closed.in_avals)


def may_give_up(closed: ClosedJaxpr, inputs: Iterable[int]) -> None:
    """Note, before it is compiled, which inputs of a program its caller may give up."""
    closed.derive("donated", lambda: tuple(inputs))


def donated_of(closed: ClosedJaxpr) -> tuple[int, ...]:
    return closed.derive("donated", tuple[int, ...])


def native_of(closed: ClosedJaxpr) -> Native:
    """A program's compilation for this machine's processor, of which all is done once."""

    def made() -> Native:
        from fstensor.compiler.native import Native  # loads LLVM

        return Native(simplify(closed), donated_of(closed))

    return closed.derive("native", made)


_is_imported = False


def note_import() -> None:
    """Tell that all of the package is there: what jit is given from now on is the user's."""
    global _is_imported
    _is_imported = True


def make_ready() -> None:
    """Begin to load and compile what all native programs need, since there will be one soon."""
    if _is_imported and config.executor == "llvm":
        ahead.begin()


config.require("executor", "llvm", why_not)


def runs_natively(closed: ClosedJaxpr | None = None) -> bool:
    """Whether programs on the CPU are compiled to native code.

    closed: one that is about to be run, in whatever way: it is brought as far as it can be while
    LLVM gets ready.
    """
    if config.executor != "llvm":
        return False
    if closed is not None:
        simplify(closed)
        if ahead.is_at_work():
            # What fails here, LLVM's loading first of all, fails again where it is needed.
            with contextlib.suppress(Exception):
                native_of(closed).begin()
    return _can_compile()


@functools.cache
def _can_compile() -> bool:
    reason = why_not()
    if reason:
        warnings.warn(
            "jit: programs are run by NumPy, operation by operation, since LLVM cannot be used, "
            f"{reason}; install llvmlite, or choose this by config.update('executor', 'numpy')",
            RuntimeWarning,
            stacklevel=user_stacklevel(),
        )
    return not reason


def compile_whole(closed: ClosedJaxpr, offered: Mapping[str, bytes] = {}) -> dict[str, bytes]:
    """Make a program and those within it ready to run on the CPU.

    offered: object code that need not be compiled again, by keys as in the result, which is all
    that was used. Where NumPy runs programs there is none.
    """
    if not runs_natively(closed):
        program_of(closed)
        return {}
    from fstensor.compiler.llvm.engine import exchange

    with exchange(offered) as used:
        _compile_each(closed)
    return used


def _compile_each(closed: ClosedJaxpr) -> None:
    native_program_of(closed)
    for eqn in native_of(closed).result.eqns:
        if isinstance(eqn.primitive, ProgramPrimitive):
            for program in eqn.primitive.programs:
                _compile_each(program)


def flops_of(eqn: Eqn) -> int:
    """Operations of arithmetic of one equation, by itself, that holds no programs."""
    from fstensor.compiler.costs import flops  # what makes kernels is loaded when it is needed

    return flops(eqn.primitive, tuple([a.aval for a in eqn.invars]))


def maker_of(aval: ShapedArray) -> Callable[[], np.ndarray[Any, Any]]:
    """A function that gives arrays of this type in memory that is used again and again."""
    return memory.maker(aval.shape, aval.dtype)


def native_matcher(avals: Sequence[ShapedArray]) -> Callable[..., bool] | None:
    """A quick answer to whether arguments are Arrays on the CPU with these very avals."""
    from fstensor.compiler.llvm import entry

    return entry.of_arrays(avals) if entry.can_look_at_arrays() else None


def run(closed: ClosedJaxpr, xp: Any, buffers: Sequence[Any]) -> list[Any]:
    """The buffers of a program's outputs. `xp` is the array module of the inputs."""
    return runner(closed, xp, buffers)(*buffers)


def runner(closed: ClosedJaxpr, xp: Any, like: Sequence[Any]) -> Callable[..., list[Any]]:
    """A program as a function of buffers that lie where `like` do, for many calls."""
    if finite.is_wanted():
        home = device.home_of(like)
        return lambda *buffers: _run_checked(closed, xp, home, buffers)
    if xp is np and state.compiled and runs_natively(closed):
        return native_program_of(closed).on_cpu
    return program_of(closed).function(xp, like)


def run_compiled(closed: ClosedJaxpr, xp: Any, buffers: Sequence[Any]) -> list[Any]:
    """As `run`, of a program that will run again: it is worth the time to compile it."""
    before, state.compiled = state.compiled, True
    try:
        return runner(closed, xp, buffers)(*buffers)
    finally:
        state.compiled = before


def _run_checked(
    closed: ClosedJaxpr, xp: Any, home: device.Device, buffers: Sequence[Any]
) -> list[Any]:
    """A program run equation by equation, for the settings that look at each result."""
    simple = simplified(closed)
    env: dict[Atom, Any] = dict(zip(simple.jaxpr.invars, buffers, strict=True))

    def fixed(x: Array) -> Any:
        return device.move(x.concretize(ConcretizationTypeError, "the value of"), home)

    def read(atom: Atom) -> Any:
        return fixed(atom.value) if isinstance(atom, Literal) else env[atom]

    env.update(zip(simple.jaxpr.constvars, map(fixed, simple.consts), strict=True))
    for eqn in simple.eqns:
        operands = [read(a) for a in eqn.invars]
        out = eqn.primitive.impl(xp, *operands)
        outs = list(out) if eqn.primitive.multiple_results else [out]
        outs = [np.asarray(y) if isinstance(y, np.generic) else y for y in outs]
        finite.check(eqn.primitive, operands, outs, eqn.source_info, closed.name)
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(a) for a in simple.jaxpr.outvars]


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

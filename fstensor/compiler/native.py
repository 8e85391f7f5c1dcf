"""Programs for the CPU: all that has a form in the loop IR becomes native code.

The result is a program again, in which one equation, `native`, stands for each segment. The other
equations are those that are run by their primitives' `impl` between the native parts; the NumPy
executor runs both.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from fstensor.compiler import recipe
from fstensor.compiler.calls import Assembled, Call
from fstensor.compiler.fingerprint import NoFingerprintError, fingerprint
from fstensor.compiler.layout import ALIGNMENT
from fstensor.compiler.llvm import engine, objects
from fstensor.compiler.threads import BARRIER_BYTES, provide_barrier, size_of_team, team
from fstensor.core import memory
from fstensor.core.aval import ShapedArray
from fstensor.core.collector import no_collection
from fstensor.core.donation import given_up
from fstensor.core.jaxpr import ClosedJaxpr, Eqn, Jaxpr
from fstensor.core.primitive import Primitive

if TYPE_CHECKING:
    from fstensor.compiler.pipeline import Pipeline

# More threads than this that compile have little to do beside one that writes.
_MOST_COMPILING = 4


@final
class NativeCall(Primitive):
    """A segment of a program as an equation: one native call.

    It belongs to the program that it was made for, and is equal to no other.
    """

    name = "native"
    multiple_results = True
    result_is_apart = True
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(
        self, number: int, call: Call, code: engine.Compiled, program: ClosedJaxpr
    ) -> None:
        self.number = number
        self.call = call
        # From buffers to results. It does not refer to this object.
        self.function = (_together if call.shared else _alone)(call, code, program)

    @property
    def params(self) -> dict[str, Any]:
        return {"number": self.number}

    def abstract(self, *avals: ShapedArray) -> Any:
        return [v.aval for v in self.call.writes]

    def impl(self, xp: Any, *buffers: Any) -> Any:
        return self.function(*buffers)


_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


def _alone(call: Call, code: engine.Compiled, program: ClosedJaxpr) -> Callable[..., list[Any]]:
    """A call by one thread, as a function from buffers to results. It keeps the code."""
    makers, scratch_of = _makers_of(call), _scratch_of(call)
    only = makers[0] if len(makers) == 1 else None
    are_plain = objects.plainness(len(call.reads))
    block = objects.block_of(len(call.reads) + len(call.writes) + 2)
    items = objects.ITEMS if objects.tuples_are_known() else 0
    native = _FUNCTION(code.address(call.function))

    def run(*buffers: Any, _code: engine.Compiled = code) -> list[Any]:
        if not are_plain(buffers):
            buffers = tuple([_plain(b) for b in buffers])
        if given_up:
            outputs = _taken(call.takes, program, buffers, makers)
        elif only is not None:
            outputs = [only()]
        else:
            outputs = [make() for make in makers]
        arguments = (*buffers, *outputs, scratch_of(1), None)  # no barrier
        # Their addresses are read where the tuple has them, if that is known.
        native(id(arguments) + items if items else block(arguments), 0, 1)
        return outputs

    return run


def _together(call: Call, code: engine.Compiled, program: ClosedJaxpr) -> Callable[..., list[Any]]:
    """A call by a team of threads, as a function from buffers to results. It keeps the code."""
    makers, scratch_of = _makers_of(call), _scratch_of(call)
    are_plain = objects.plainness(len(call.reads))
    block_of = objects.block_of(len(call.reads) + len(call.writes) + 2)
    address = code.address(call.function)
    barrier = np.zeros(BARRIER_BYTES + 128, np.uint8)
    barrier_address = -(-barrier.__array_interface__["data"][0] // 128) * 128

    def run(*buffers: Any, _kept: Any = (code, barrier)) -> list[Any]:
        if not are_plain(buffers):
            buffers = tuple([_plain(b) for b in buffers])
        if given_up:
            outputs = _taken(call.takes, program, buffers, makers)
        else:
            outputs = [make() for make in makers]
        runners = team()
        arguments = (*buffers, *outputs, scratch_of(runners.size))
        block = block_of(arguments)
        block[-1] = barrier_address
        runners.run(address, ctypes.addressof(block))
        return outputs

    return run


Maker: TypeAlias = Callable[[], Any]


def _makers_of(call: Call) -> list[Maker]:
    return [memory.maker(v.aval.shape, v.aval.dtype) for v in call.writes]


def _taken(
    takes: Sequence[tuple[int, int]],
    program: ClosedJaxpr,
    buffers: Sequence[Any],
    makers: Sequence[Maker],
) -> list[Any]:
    """Memory for the results: that of arguments which are given up, where it can be.

    Large ones that came from elsewhere are left: a loop is faster in memory of the pool, which has
    large pages.
    """
    taken = {
        k: i
        for k, i in takes
        if given_up.get(id(buffers[i])) is program
        and (buffers[i].nbytes < memory.SMALLEST_MAPPED or memory.is_pooled(buffers[i]))
    }
    return [buffers[taken[k]] if k in taken else make() for k, make in enumerate(makers)]


def _scratch_of(call: Call) -> Callable[[int], Any]:
    """Gives memory for the values inside, and what each of so many threads needs for itself."""
    size, each = call.scratch, call.workspace
    if not size and not each:
        none = memory.maker((2 * ALIGNMENT,), np.dtype(np.uint8))()
        return lambda threads: none
    makers: dict[int, Maker] = {}

    def scratch(threads: int) -> Any:
        make = makers.get(threads)
        if make is None:
            shape = (size + each * threads + 2 * ALIGNMENT,)
            make = makers[threads] = memory.maker(shape, np.dtype(np.uint8))
        return make()

    return scratch


def _plain(x: Any) -> Any:
    """A copy whose elements lie in row-major order, at addresses that suit their size."""
    return np.require(x, requirements=["C", "A"])


@final
class Native:
    """A program compiled for this machine.

    source: the simplified program. donated: which of its inputs callers may give up. result: the
    program in which native calls stand for most of the equations. is_whole: whether they stand for
    all. call: the program as a function of buffers, where it is one native call of its inputs.
    """

    def __init__(self, source: ClosedJaxpr, donated: tuple[int, ...] = ()) -> None:
        self.source = source
        self._donated = donated
        with no_collection():
            assembled, code = self._found() or self._made()
        self.is_whole = len(assembled.functions) == len(assembled.parts)
        eqns: list[Eqn] = []
        for n, part in enumerate(assembled.parts):
            if isinstance(part, Eqn):
                eqns.append(part)
                continue
            assert code is not None
            info = part.origin and part.origin.source_info
            eqns.append(Eqn(NativeCall(n, part, code, source), part.reads, part.writes, info))
        j = source.jaxpr
        constvars = [*j.constvars, *assembled.constants]
        changed = Jaxpr(constvars, j.invars, assembled.outputs, eqns, j.debug_info)
        self.result = ClosedJaxpr(changed, [*source.consts, *assembled.constants.values()])
        self.call = _only_call(changed)

    @functools.cached_property
    def pipeline(self) -> Pipeline:
        """The stages on the way. Where the code was found on disk, they are gone through now."""
        return _stages()(self.source, self._donated)

    @functools.cached_property
    def _key(self) -> str | None:
        """What the program's code is found by; None where it must be compiled."""
        if engine.verifying():
            return None
        try:
            rest = engine.digest(f"{objects.data_offset()} {self._donated}")
            return f"{fingerprint(self.source)}-{rest}"
        except NoFingerprintError:
            return None

    def _found(self) -> tuple[Assembled, engine.Compiled | None] | None:
        entry = engine.find(self._key) if self._key else None
        if entry is None:
            return None
        assembled, code = recipe.read(self.source, entry)
        provide_barrier()
        return assembled, engine.load_object(code, assembled.functions)

    def _made(self) -> tuple[Assembled, engine.Compiled | None]:
        make = _stages()  # before the engine is taken: others may have work for it
        threads = 1 if engine.verifying() else min(size_of_team(), _MOST_COMPILING)
        with engine.in_parts(threads) as parts:
            if "pipeline" not in self.__dict__:
                send = parts.add if threads > 1 else None
                self.pipeline = make(self.source, self._donated, send)
            assembled, text = self.pipeline.assembled, self.pipeline.llvm
            if not assembled.functions:
                return assembled, None
            provide_barrier()
            header = recipe.written(self.source, assembled) if self._key else None
            code = engine.compile_module(text, kept=header is None, parts=parts)
        if self._key and header is not None:
            engine.keep(self._key, header + code.object_code)
        return assembled, code


def _only_call(j: Jaxpr) -> Callable[..., list[Any]] | None:
    """The function of the native call that is all that a program does, if there is one."""
    if len(j.eqns) != 1:
        return None
    (eqn,) = j.eqns
    if not isinstance(eqn.primitive, NativeCall):
        return None
    same = [*eqn.invars] == [*j.invars] and [*eqn.outvars] == [*j.outvars]
    return eqn.primitive.function if same else None


def _stages() -> type[Pipeline]:
    from fstensor.compiler.pipeline import Pipeline  # takes time that most calls do not need

    return Pipeline

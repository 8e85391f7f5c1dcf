"""Programs for the CPU: all that has a form in the loop IR becomes native code.

The result is a program again, in which one equation, `native`, stands for each segment. The other
equations are those that are run by their primitives' `impl` between the native parts; the NumPy
executor runs both.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from fstensor.compiler import recipe
from fstensor.compiler.calls import Assembled, Call
from fstensor.compiler.fingerprint import NoFingerprintError, fingerprint
from fstensor.compiler.layout import ALIGNMENT
from fstensor.compiler.llvm import engine, objects
from fstensor.compiler.threads import BARRIER_BYTES, provide_barrier, size_of_team, team
from fstensor.core import memory
from fstensor.core.aval import ShapedArray
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
        self._program = program
        self._code = code  # lives as long as its address is in use
        self._address = code.address(call.function)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self._function = kind(self._address)
        self._outputs = [memory.maker(v.aval.shape, v.aval.dtype) for v in call.writes]
        self._block = objects.block_of(len(call.reads) + len(call.writes) + 2)
        self._are_plain = objects.plainness(len(call.reads))
        self._reads_tuples = objects.tuples_are_known()
        self._barrier = np.zeros(BARRIER_BYTES + 128, np.uint8)
        start = self._barrier.__array_interface__["data"][0]
        self._barrier_address = -(-start // 128) * 128
        self._scratch_makers: dict[int, Callable[[], Any]] = {}

    @property
    def params(self) -> dict[str, Any]:
        return {"number": self.number}

    def abstract(self, *avals: ShapedArray) -> Any:
        return [v.aval for v in self.call.writes]

    def impl(self, xp: Any, *buffers: Any) -> Any:
        if not self._are_plain(buffers):
            buffers = tuple([_plain(b) for b in buffers])
        outputs = self._taken(buffers) if given_up else [make() for make in self._outputs]
        if self.call.shared:
            runners = team()
            arguments = (*buffers, *outputs, self._scratch_for(runners.size))
            block = self._block(arguments)
            block[-1] = self._barrier_address
            runners.run(self._address, ctypes.addressof(block))
        else:
            arguments = (*buffers, *outputs, self._scratch_for(1), None)  # no barrier
            # Their addresses are read where the tuple has them, if that is known.
            place = id(arguments) + objects.ITEMS if self._reads_tuples else self._block(arguments)
            self._function(place, 0, 1)
        return outputs

    def _taken(self, buffers: Sequence[Any]) -> list[Any]:
        """Memory for the results: that of arguments which are given up, where it can be.

        Large ones that came from elsewhere are left: a loop is faster in memory of the pool, which
        has large pages.
        """
        program = self._program
        taken = {
            k: i
            for k, i in self.call.takes
            if given_up.get(id(buffers[i])) is program
            and (buffers[i].nbytes < memory.SMALLEST_MAPPED or memory.is_pooled(buffers[i]))
        }
        return [buffers[taken[k]] if k in taken else make() for k, make in enumerate(self._outputs)]

    def _scratch_for(self, threads: int) -> Any:
        """Memory for the values inside, and what each thread needs for itself."""
        make = self._scratch_makers.get(threads)
        if make is None:
            size = self.call.scratch + self.call.workspace * threads
            make = memory.maker((size + 2 * ALIGNMENT,), np.dtype(np.uint8))
            if not size:
                make = functools.partial(_same, make())
            self._scratch_makers[threads] = make
        return make()


def _same(x: Any) -> Any:
    return x


def _plain(x: Any) -> Any:
    """A copy whose elements lie in row-major order, at addresses that suit their size."""
    return np.require(x, requirements=["C", "A"])


@final
class Native:
    """A program compiled for this machine.

    source: the simplified program. donated: which of its inputs callers may give up. result: the
    program in which native calls stand for most of the equations. is_whole: whether they stand for
    all.
    """

    def __init__(self, source: ClosedJaxpr, donated: tuple[int, ...] = ()) -> None:
        self.source = source
        self._donated = donated
        with _no_collection():
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


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Leave garbage for a while: nearly all of what a compiler makes goes without a collector.

    It would look through all objects of the process several times.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _stages() -> type[Pipeline]:
    from fstensor.compiler.pipeline import Pipeline  # takes time that most calls do not need

    return Pipeline

"""Programs for the CPU: all that has a form in the loop IR becomes native code.

The result is a program again, in which one equation, `native`, stands for each segment. The other
equations are those that are run by their primitives' `impl` between the native parts; the NumPy
executor runs both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, final

from fstensor.compiler import recipe
from fstensor.compiler.calls import Assembled, Call
from fstensor.compiler.fingerprint import NoFingerprintError, fingerprint
from fstensor.compiler.invocation import from_buffers
from fstensor.compiler.llvm import engine, library
from fstensor.compiler.threads import provide_barrier, size_of_team
from fstensor.core.aval import ShapedArray
from fstensor.core.collector import no_collection
from fstensor.core.jaxpr import ClosedJaxpr, Eqn, Jaxpr
from fstensor.core.primitive import Primitive

if TYPE_CHECKING:
    from fstensor.compiler.pipeline import Pipeline

T = TypeVar("T")

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
        self.code = code
        # From buffers to results. It does not refer to this object.
        self.function = from_buffers(call, code, program)

    @property
    def params(self) -> dict[str, Any]:
        return {"number": self.number}

    def abstract(self, *avals: ShapedArray) -> Any:
        return [v.aval for v in self.call.writes]

    def impl(self, xp: Any, *buffers: Any) -> Any:
        return self.function(*buffers)


@final
class Native:
    """A program compiled for this machine, once one asks for what becomes of it.

    source: the simplified program. donated: which of its inputs callers may give up.
    """

    def __init__(self, source: ClosedJaxpr, donated: tuple[int, ...] = ()) -> None:
        self.source = source
        self._donated = donated
        self._kept: dict[str, Any] = {}

    def _once(self, what: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once.

        `functools.cached_property` may have a lock, which would stay taken in the child of a fork.
        """
        if what not in self._kept:
            self._kept[what] = make()
        found: T = self._kept[what]
        return found

    def begin(self) -> None:
        """Do what can be done while LLVM itself gets ready: look for the code, or go on to plan."""
        with no_collection():
            if self._found() is None:
                self.pipeline  # noqa: B018  # which is kept

    @property
    def is_whole(self) -> bool:
        """Whether native calls stand for all equations in the result."""
        return all(isinstance(e.primitive, NativeCall) for e in self.result.eqns)

    @property
    def only(self) -> NativeCall | None:
        """The native call of its inputs that is all that the program does, if it is one."""
        return _only_call(self.result.jaxpr)

    @property
    def result(self) -> ClosedJaxpr:
        """The program in which native calls stand for most of the equations."""
        return self._once("result", self._compiled)

    def _compiled(self) -> ClosedJaxpr:
        source = self.source
        with no_collection():
            assembled, code = self._loaded() or self._made()
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
        return ClosedJaxpr(changed, [*source.consts, *assembled.constants.values()])

    @property
    def pipeline(self) -> Pipeline:
        """The stages on the way. Where the code was found on disk, they are gone through now."""
        from fstensor.compiler.pipeline import Pipeline  # takes time that most calls do not need

        return self._once("pipeline", lambda: Pipeline(self.source, self._donated))

    @property
    def _key(self) -> str | None:
        """What the program's code is found by; None where it must be compiled."""
        return self._once("key", self._make_key)

    def _make_key(self) -> str | None:
        if engine.verifying():
            return None
        try:
            rest = engine.digest(str(self._donated))
            return f"{fingerprint(self.source)}-{rest}"
        except NoFingerprintError:
            return None

    def _found(self) -> bytes | None:
        """The code as it is on disk, say."""
        return self._once("entry", lambda: engine.find(self._key) if self._key else None)

    def _loaded(self) -> tuple[Assembled, engine.Compiled | None] | None:
        entry = self._found()
        self._kept["entry"] = None  # its code is kept otherwise
        if entry is None:
            return None
        assembled, code = recipe.read(self.source, entry)
        provide_barrier()
        library.provide(code)
        return assembled, engine.load_object(code, assembled.functions)

    def _made(self) -> tuple[Assembled, engine.Compiled | None]:
        pipeline = self.pipeline  # before the engine is taken: others may have work for it
        threads = 1 if engine.verifying() else min(size_of_team(), _MOST_COMPILING)
        with engine.in_parts(threads) as parts:
            text, assembled, _ = pipeline.write(parts.add)
            if not assembled.functions:
                return assembled, None
            provide_barrier()
            library.provide(text)
            header = recipe.written(self.source, assembled) if self._key else None
            names = assembled.functions
            code = engine.compile_module(text, kept=header is None, parts=parts, names=names)
        if self._key and header is not None:
            engine.keep(self._key, header + code.object_code)
        return assembled, code


def _only_call(j: Jaxpr) -> NativeCall | None:
    """The native call that is all that a program does, if it is one."""
    if len(j.eqns) != 1:
        return None
    (eqn,) = j.eqns
    if not isinstance(eqn.primitive, NativeCall):
        return None
    same = [*eqn.invars] == [*j.invars] and [*eqn.outvars] == [*j.outvars]
    return eqn.primitive if same else None

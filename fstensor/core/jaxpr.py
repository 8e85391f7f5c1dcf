"""The jaxpr: the program that tracing records.

A jaxpr is a list of equations, each applying a primitive to variables and literals. It is closed by
constants. `Jaxpr.check` verifies it, `eval_jaxpr` runs it in the current trace, and
`core.printing` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeAlias, TypeVar, final

import numpy as np

from fstensor.array import Array, ConcreteArray
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import Primitive
from fstensor.core.source_info import SourceInfo, replays
from fstensor.errors import JaxprTypeError


@final
class Var:
    """A variable: assigned once, told apart by identity."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return f"Var({id(self) & 0xFFFF:x}:{self.aval.short()})"


@final
class Literal:
    """A scalar constant that stands in an equation itself."""

    __slots__ = ("value",)

    def __init__(self, value: ConcreteArray) -> None:
        self.value = value

    @property
    def aval(self) -> ShapedArray:
        return self.value.aval

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for literals with the same bits and type, also NaNs."""
        return (np.asarray(self.value).tobytes(), self.aval)

    def __repr__(self) -> str:
        return f"Literal({self.value}:{self.aval.short()})"


Atom: TypeAlias = Var | Literal
T = TypeVar("T")


@final
class Eqn:
    """One equation: `outvars = primitive(invars)`, and the user's line that it came from."""

    __slots__ = ("invars", "outvars", "primitive", "source_info")

    def __init__(
        self,
        primitive: Primitive,
        invars: Sequence[Atom],
        outvars: Sequence[Var],
        source_info: SourceInfo | None,
    ) -> None:
        self.primitive = primitive
        self.invars = list(invars)
        self.outvars = list(outvars)
        self.source_info = source_info

    @property
    def params(self) -> dict[str, Any]:
        return self.primitive.params

    def __repr__(self) -> str:
        from fstensor.core.printing import eqn_text

        return eqn_text(self)


@final
class DebugInfo:
    """Where a jaxpr came from: `traced_for` ("jit"), the function, its arguments' names."""

    __slots__ = ("arg_names", "function", "traced_for")

    def __init__(
        self, traced_for: str, function: str, arg_names: tuple[str, ...] | None = None
    ) -> None:
        self.traced_for = traced_for
        self.function = function
        self.arg_names = arg_names

    def __repr__(self) -> str:
        return f"DebugInfo({self.traced_for} of {self.function})"


@final
class Jaxpr:
    """A program: `lambda constvars; invars. let eqns in outvars`.

    Two jaxprs are equal when they differ only in the names of their variables.
    """

    def __init__(
        self,
        constvars: Sequence[Var],
        invars: Sequence[Var],
        outvars: Sequence[Atom],
        eqns: Sequence[Eqn],
        debug_info: DebugInfo | None = None,
    ) -> None:
        self.constvars = list(constvars)
        self.invars = list(invars)
        self.outvars = list(outvars)
        self.eqns = list(eqns)
        self.debug_info = debug_info

    @cached_property
    def in_avals(self) -> tuple[ShapedArray, ...]:
        return tuple([v.aval for v in self.invars])

    @cached_property
    def out_avals(self) -> tuple[ShapedArray, ...]:
        return tuple([a.aval for a in self.outvars])

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        numbers: dict[Var, int] = {}

        def define(vs: Iterable[Var]) -> tuple[Any, ...]:
            return tuple([(numbers.setdefault(v, len(numbers)), v.aval) for v in vs])

        def use(atoms: Iterable[Atom]) -> tuple[Any, ...]:
            return tuple([a.key if isinstance(a, Literal) else numbers[a] for a in atoms])

        head = define(self.constvars), define(self.invars)
        body = tuple([(e.primitive, use(e.invars), define(e.outvars)) for e in self.eqns])
        return (*head, body, use(self.outvars))

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Jaxpr) and self._hash == other._hash and self._key == other._key

    def check(self) -> None:
        """Verify that the program is well formed and well typed. Raises JaxprTypeError."""
        defined: set[Var] = set()

        def define(v: Var, where: str) -> None:
            if v in defined:
                raise JaxprTypeError(f"jaxpr: a variable of {where} is defined twice, {v.aval}")
            defined.add(v)

        def use(atom: Atom, where: str) -> None:
            if isinstance(atom, Var) and atom not in defined:
                raise JaxprTypeError(f"jaxpr: {where} uses an undefined variable, {atom.aval}")

        for v in [*self.constvars, *self.invars]:
            define(v, "the binders")
        for eqn in self.eqns:
            name = eqn.primitive.name
            for atom in eqn.invars:
                use(atom, name)
            inferred = eqn.primitive.abstract(*[a.aval for a in eqn.invars])
            expected = list(inferred) if eqn.primitive.multiple_results else [inferred]
            got = [v.aval for v in eqn.outvars]
            if got != expected:
                raise JaxprTypeError(f"jaxpr: {name} has results {expected}, recorded as {got}")
            for value in eqn.params.values():
                if isinstance(value, (Jaxpr, ClosedJaxpr)):
                    value.check()
            for v in eqn.outvars:
                define(v, name)
        for atom in self.outvars:
            use(atom, "the output")

    def __repr__(self) -> str:
        from fstensor.core.printing import jaxpr_text

        return jaxpr_text(self)


@final
class ClosedJaxpr:
    """A jaxpr with the values of its constvars."""

    __slots__ = ("_derived", "consts", "jaxpr")

    def __init__(self, jaxpr: Jaxpr, consts: Sequence[Array] = ()) -> None:
        self.jaxpr = jaxpr
        self.consts = list(consts)
        self._derived: dict[Any, Any] = {}

    @property
    def name(self) -> str:
        """The function that it was traced from, for messages."""
        return self.jaxpr.debug_info.function if self.jaxpr.debug_info else "a jaxpr"

    def derive(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` computes of this program, made once and kept as long as the program."""
        if key not in self._derived:
            self._derived[key] = make()
        found: T = self._derived[key]
        return found

    @property
    def axis_names(self) -> frozenset[Any]:
        """The mapped axes that its operations communicate over."""
        return self.derive(
            "axis_names",
            lambda: frozenset([n for eqn in self.eqns for n in eqn.primitive.axis_names]),
        )

    @property
    def effectful(self) -> bool:
        """Whether running it does more than give results."""
        return self.derive("effectful", lambda: any(e.primitive.effectful for e in self.eqns))

    @property
    def runs_only_where_due(self) -> bool:
        """Whether some operation in it must not run in a branch that is not taken."""
        return self.derive(
            "where due", lambda: any(e.primitive.runs_only_where_due for e in self.eqns)
        )

    def as_function(self) -> Callable[..., list[Any]]:
        """A function of flat arguments that runs the program in the current trace."""
        return lambda *args: eval_jaxpr(self.jaxpr, self.consts, *args)

    @property
    def in_avals(self) -> tuple[ShapedArray, ...]:
        return self.jaxpr.in_avals

    @property
    def out_avals(self) -> tuple[ShapedArray, ...]:
        return self.jaxpr.out_avals

    @property
    def eqns(self) -> list[Eqn]:
        return self.jaxpr.eqns

    def __hash__(self) -> int:
        return hash((self.jaxpr, *map(id, self.consts)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ClosedJaxpr)
            and self.jaxpr == other.jaxpr
            and len(self.consts) == len(other.consts)
            and all(a is b for a, b in zip(self.consts, other.consts, strict=True))
        )

    def check(self) -> None:
        """Verify the jaxpr, and that the constants fit it. Raises JaxprTypeError."""
        expected = [v.aval for v in self.jaxpr.constvars]
        got = [c.aval for c in self.consts]
        if expected != got:
            raise JaxprTypeError(f"jaxpr: constants must be {expected}, got {got}")
        self.jaxpr.check()

    def __repr__(self) -> str:
        return repr(self.jaxpr)


@replays
def eval_jaxpr(jaxpr: Jaxpr, consts: Sequence[Any], *args: Any) -> list[Any]:
    """Run a program in the current trace."""
    env: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(atom: Atom) -> Any:
        return atom.value if isinstance(atom, Literal) else env[atom]

    for eqn in jaxpr.eqns:
        out = eqn.primitive.bind(*map(read, eqn.invars))
        if eqn.primitive.multiple_results:
            env.update(zip(eqn.outvars, out, strict=True))
        else:
            env[eqn.outvars[0]] = out
    return [read(a) for a in jaxpr.outvars]


def dce(jaxpr: Jaxpr, used_outputs: Sequence[bool] | None = None) -> Jaxpr:
    """Without the equations that no used output needs, but for effects. Inputs all stay."""
    outvars = [
        v
        for v, used in zip(jaxpr.outvars, used_outputs or [True] * len(jaxpr.outvars), strict=True)
        if used
    ]
    live: set[Var] = {v for v in outvars if isinstance(v, Var)}
    kept = []
    for eqn in reversed(jaxpr.eqns):
        used = [v in live for v in eqn.outvars]
        if eqn.primitive.effectful or any(used):
            if not all(used):
                eqn = _without_unused(eqn, used)
            kept.append(eqn)
            live.update(v for v in eqn.invars if isinstance(v, Var))
    return Jaxpr(jaxpr.constvars, jaxpr.invars, outvars, kept[::-1], jaxpr.debug_info)


def _without_unused(eqn: Eqn, used: Sequence[bool]) -> Eqn:
    smaller = eqn.primitive.without_unused(used)
    if smaller is None:
        return eqn
    primitive, ins, outs = smaller
    invars = [a for a, on in zip(eqn.invars, ins, strict=True) if on]
    outvars = [v for v, on in zip(eqn.outvars, outs, strict=True) if on]
    return Eqn(primitive, invars, outvars, eqn.source_info)


def dce_closed(
    closed: ClosedJaxpr, used: tuple[bool, ...], stay: tuple[bool, ...] | None = None
) -> tuple[ClosedJaxpr, list[bool]]:
    """The program of the used outputs alone, and which of its inputs it still takes.

    stay: inputs that it takes even where it does not read them.
    """
    return closed.derive(("dce", used, stay), lambda: _dce_closed(closed, used, stay))


def _dce_closed(
    closed: ClosedJaxpr, used: tuple[bool, ...], stay: tuple[bool, ...] | None
) -> tuple[ClosedJaxpr, list[bool]]:
    jaxpr = dce(closed.jaxpr, used)
    read: set[Atom] = {a for eqn in jaxpr.eqns for a in eqn.invars}
    read.update(jaxpr.outvars)
    pairs = [(v, c) for v, c in zip(jaxpr.constvars, closed.consts, strict=True) if v in read]
    ins = [v in read for v in jaxpr.invars]
    if stay is not None:
        ins = [a or b for a, b in zip(ins, stay, strict=True)]
    invars = [v for v, on in zip(jaxpr.invars, ins, strict=True) if on]
    smaller = Jaxpr([v for v, _ in pairs], invars, jaxpr.outvars, jaxpr.eqns, jaxpr.debug_info)
    return ClosedJaxpr(smaller, [c for _, c in pairs]), ins

"""Jaxprs as text, in JAX's syntax.

`{ lambda a:f32[3]; b:f32[]. let c:f32[3] = mul a b in (c,) }` binds a constant a and an argument b,
and returns c. A program that does not fit on one line is broken into one line for each equation.

The text is laid out from a document: strings joined with places where a line may be broken
(P. Wadler, "A prettier printer", 2003). A group is printed on one line if it fits there, or else
broken at all of its places.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from fstensor import dtypes

if TYPE_CHECKING:
    from fstensor.core.jaxpr import Atom, Eqn, Jaxpr, Var

WIDTH = 80


@final
@dataclass(frozen=True, slots=True)
class Break:
    """A place for a line break; `text` stands there when the line is not broken."""

    text: str = " "


@final
@dataclass(frozen=True, slots=True)
class Nest:
    """A document whose lines after the first are indented by two more columns."""

    doc: Doc


@final
@dataclass(frozen=True, slots=True)
class Group:
    """A document whose places are all broken, or none of them."""

    doc: Doc


Doc: TypeAlias = "str | tuple[Doc, ...] | Break | Nest | Group"


def layout(doc: Doc, width: int = WIDTH) -> str:
    """The text of a document, with its groups on one line where they fit into `width` columns."""
    parts: list[str] = []
    column = 0
    todo: list[tuple[int, bool, Doc]] = [(0, False, doc)]
    while todo:
        indent, flat, d = todo.pop()
        match d:
            case str():
                parts.append(d)
                column += len(d)
            case tuple():
                todo.extend((indent, flat, part) for part in reversed(d))
            case Nest():
                todo.append((indent + 2, flat, d.doc))
            case Group():
                todo.append((indent, flat or _fits(d.doc, width - column), d.doc))
            case Break() if flat:
                parts.append(d.text)
                column += len(d.text)
            case Break():
                parts.append("\n" + " " * indent)
                column = indent
    return "".join(parts)


def _fits(doc: Doc, room: int) -> bool:
    """Whether the document fits on one line. Looks no further than the room goes."""
    todo = [doc]
    while todo and room >= 0:
        d = todo.pop()
        match d:
            case str():
                room -= len(d)
            case tuple():
                todo.extend(reversed(d))
            case Break():
                room -= len(d.text)
            case _:
                todo.append(d.doc)
    return room >= 0


def _join(separator: Doc, docs: Sequence[Doc]) -> Doc:
    return tuple([part for i, d in enumerate(docs) for part in ((separator, d) if i else (d,))])


@final
class _Names:
    """The names of variables, handed out in order of appearance, and those of shared programs.

    Programs are told apart by identity here: it is one object that occurs in several places.
    """

    def __init__(self) -> None:
        self.of_vars: dict[Var, str] = {}
        self.of_shared: dict[int, str] = {}
        self._count = 0

    def of(self, atom: Atom) -> str:
        from fstensor.core.jaxpr import Literal

        if isinstance(atom, Literal):
            return f"{np.asarray(atom.value).item()}:{atom.aval.short()}"
        if atom not in self.of_vars:
            self.of_vars[atom] = self._fresh()
        return self.of_vars[atom]

    def alias(self, inner: Sequence[Atom], outer: Sequence[Atom]) -> None:
        """Name a called program's variables like those they are bound to, where they can be."""
        from fstensor.core.jaxpr import Literal

        taken: set[Atom] = set()
        for a, b in zip(inner, outer, strict=True):
            if isinstance(a, Literal) or isinstance(b, Literal):
                continue
            if a not in self.of_vars and b not in taken:
                taken.add(b)
                self.of_vars[a] = self.of(b)

    def drop_unread(self, jaxpr: Jaxpr) -> None:
        """Name the results that nothing reads `_`."""
        read = {a for eqn in jaxpr.eqns for a in eqn.invars} | set(jaxpr.outvars)
        for eqn in jaxpr.eqns:
            self.of_vars.update((v, "_") for v in eqn.outvars if v not in read)

    def _fresh(self) -> str:
        while True:
            name = _letters(self._count)
            self._count += 1
            if name not in self.of_shared.values():
                return name


def _letters(n: int) -> str:
    """a, b, …, z, ba, bb, …: n in base 26."""
    head = _letters(n // 26) if n >= 26 else ""
    return head + chr(ord("a") + n % 26)


def jaxpr_text(jaxpr: Jaxpr) -> str:
    """The program in JAX's syntax.

    Programs inside it that occur more than once, or are long, stand in front of it under a name:
    `let f = { lambda ; … } in { lambda ; … jit[name=f jaxpr=f] … }`.
    """
    names = _Names()
    names.drop_unread(jaxpr)
    shared = _shared_programs(jaxpr)
    names.of_shared = {id(inner): name for name, inner in shared.items()}
    docs: list[Doc] = []
    for name, inner in shared.items():
        docs += ["let ", name, " = ", _program(inner, names), " in", Break()]
    docs.append(_program(jaxpr, names))
    return layout(tuple(docs))


def eqn_text(eqn: Eqn) -> str:
    """One equation, its variables named from a on."""
    return layout(_equation(eqn, _Names()))


_LONG = 10  # equations; a longer program inside another stands in front of it


def _shared_programs(jaxpr: Jaxpr) -> dict[str, Jaxpr]:
    """The programs to print in front, by name, in order of appearance."""
    counts: Counter[int] = Counter()
    programs: dict[int, Jaxpr] = {}
    labels: dict[int, str] = {}
    queue = deque([jaxpr])
    while queue:
        program = queue.popleft()
        key = id(program)
        programs[key] = program
        long = program is not jaxpr and len(program.eqns) > _LONG
        counts[key] += 2 if long else 1
        if counts[key] > (4 if long else 2):
            continue  # what it holds has been counted twice
        for eqn in program.eqns:
            params = eqn.params
            for inner in _programs_in(params):
                queue.append(inner)
                if "name" in params:
                    labels.setdefault(id(inner), str(params["name"]).strip("<>"))
    shared: dict[str, Jaxpr] = {}
    for key, count in counts.items():
        if count > 1:
            label = labels.get(key, "jaxpr")
            numbered = (f"{label}{i or ''}" for i in itertools.count())
            name = next(n for n in numbered if n not in shared)
            shared[name] = programs[key]
    return shared


def _programs_in(params: Mapping[str, Any]) -> Iterator[Jaxpr]:
    for value in params.values():
        for v in value if isinstance(value, tuple) else (value,):
            program = _as_program(v)
            if program is not None:
                yield program


def _as_program(value: Any) -> Jaxpr | None:
    from fstensor.core.jaxpr import ClosedJaxpr, Jaxpr

    if isinstance(value, ClosedJaxpr):
        return value.jaxpr
    return value if isinstance(value, Jaxpr) else None


def _program(jaxpr: Jaxpr, names: _Names) -> Doc:
    """`{ lambda constvars; invars. let eqns in (outvars) }`."""
    head = ("{ lambda ", _binders(jaxpr.constvars, names), "; ", _binders(jaxpr.invars, names))
    eqns = _join(Break("; "), [_equation(e, names) for e in jaxpr.eqns])
    results = _atoms(jaxpr.outvars, names, ",")
    end = ",)" if len(jaxpr.outvars) == 1 else ")"
    body = (*head, ". let", Nest((Break(), eqns)), Break(), "in (", results, end)
    return Group((Nest(body), " }"))


def _binders(variables: Sequence[Var], names: _Names) -> Doc:
    return _filled([f"{names.of(v)}:{v.aval.short()}" for v in variables])


def _atoms(atoms: Sequence[Atom], names: _Names, separator: str = "") -> Doc:
    return _filled([names.of(a) for a in atoms], separator)


def _filled(words: Sequence[str], separator: str = "") -> Doc:
    """Words that fill their lines: each place is broken by itself."""
    return Nest(Group(_join((separator, Group(Break())), words)))


def _equation(eqn: Eqn, names: _Names) -> Doc:
    """`results = primitive[parameters] operands`."""
    params = eqn.primitive.printed_params()
    called = eqn.primitive.called_program()
    if called is not None and id(called.jaxpr) not in names.of_shared:
        names.alias(called.jaxpr.invars, eqn.invars)
        names.alias(called.jaxpr.outvars, eqn.outvars)
    results: Doc = (_binders(eqn.outvars, names), " = ") if eqn.outvars else ""
    order = sorted(params, key=lambda key: (key != "name", key))
    pairs: list[Doc] = [(f"{key}=", _parameter(params[key], names)) for key in order]
    shown = _bracketed("[", pairs, "]") if pairs else ""
    return (results, eqn.primitive.name, shown, " ", _atoms(eqn.invars, names))


def _bracketed(start: str, docs: Sequence[Doc], end: str) -> Doc:
    return Group((Nest((start, Break(""), _join(Break(), docs))), Break(""), end))


def _parameter(value: Any, names: _Names) -> Doc:
    if type(value) is tuple and all(_as_program(v) is not None for v in value):
        return _bracketed("(", [_parameter(v, names) for v in value], ")")
    program = _as_program(value)
    if program is not None:
        return names.of_shared.get(id(program)) or _program(program, names)
    if isinstance(value, np.dtype):
        return dtypes.name(value)
    if isinstance(value, frozenset):
        return f"frozenset({{{', '.join(map(repr, sorted(value)))}}})"
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    # An address would make the text differ from run to run.
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value))

"""LLVM IR as text. A `Function` collects lines and gives names; a `Module` collects functions.

Text is written, not a tree of objects: LLVM parses it at once, and so do readers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, final

_PARAMETER = re.compile(r" %[\w.]+(?=[,)])")
_GLOBAL = re.compile(r"@([\w.$-]+)")
# A part of a module is sent away once it has as many characters.
_PART = 40_000
# What is left is one part where it has no more than so many: two would take longer.
_SMALL = 10_000
# What the same operands give another result for, later on.
_CHANGING = ("load", "call", "phi", "alloca", "atomicrmw", "cmpxchg", "freeze")


@final
class Part(NamedTuple):
    """Some functions of a module, as one by itself. quickly: LLVM shall not make them fast."""

    text: str
    quickly: bool


@final
class Module:
    """Functions, declarations and constants, each once.

    send: takes parts of the module as they get ready, to be compiled while others are written; all
    of them, linked together, are the module. Functions are public in them, so that those of one
    part can call those of another.
    """

    def __init__(self, send: Callable[[Part], None] | None = None) -> None:
        self._declared: dict[str, None] = {}
        self._functions: dict[str, str] = {}
        self._send = send
        # Functions that have not been sent: those to be made fast, and those quickly.
        self._unsent: dict[bool, dict[str, str]] = {False: {}, True: {}}

    def declare(self, line: str) -> None:
        """A line on the level of the module, such as the declaration of an intrinsic."""
        self._declared[line] = None

    def define(self, name: str, text: str, quickly: bool) -> None:
        assert name not in self._functions, name
        self._functions[name] = text
        if self._send is not None:
            unsent = self._unsent[quickly]
            unsent[name] = text
            if sum(map(len, unsent.values())) >= _PART:
                self._send_ready(quickly)

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def __str__(self) -> str:
        return _module_text(self._declared, self._functions.values())

    def send_rest(self) -> None:
        """Send what was not sent yet. No function is to follow."""
        if sum(len(text) for unsent in self._unsent.values() for text in unsent.values()) < _SMALL:
            self._unsent[False] |= self._unsent[True]
            self._unsent[True] = {}
        for quickly, unsent in self._unsent.items():
            if unsent:
                self._send_ready(quickly)
            assert not unsent, unsent

    def _send_ready(self, quickly: bool) -> None:
        """Send the functions that refer to nothing but what is there already."""
        unsent = self._unsent[quickly]
        lines = {_GLOBAL.findall(line)[0]: line for line in self._declared if "@" in line}
        needed = {line: None for line in self._declared if "@" not in line}
        ready = []
        for name, text in unsent.items():
            others = self._needed(text, lines)
            if others is not None:
                needed |= others
                ready.append(name)
        texts = [unsent.pop(name) for name in ready]
        own = {_declaration(text) for text in texts}
        if texts:
            public = [t.replace("define internal ", "define ", 1) for t in texts]
            assert self._send is not None
            text = _module_text([n for n in needed if n not in own], public)
            self._send(Part(text, quickly))

    def _needed(self, text: str, lines: Mapping[str, str]) -> dict[str, None] | None:
        """The lines that a function needs of its module; None where some are missing yet."""
        names = _GLOBAL.findall(text)
        own, needed, seen = names[0], dict[str, None](), set[str]()
        while names:
            name = names.pop()
            if name in seen or name == own:
                continue
            seen.add(name)
            if name in self._functions:
                needed[_declaration(self._functions[name])] = None
            elif name in lines:
                needed[lines[name]] = None
                names += _GLOBAL.findall(lines[name])
            else:
                return None
        return needed


def _module_text(declared: Iterable[str], functions: Iterable[str]) -> str:
    attributes = "attributes #0 = { nounwind }"
    attributes += "\nattributes #1 = { nounwind noinline optnone }"
    return "\n".join([*declared, "", *functions, attributes, ""])


def _declaration(definition: str) -> str:
    """The line by which another module knows of a function."""
    head = definition[: definition.index("\n")].replace("internal ", "", 1)
    head = head[: head.rindex(" #")].replace("define ", "declare ", 1)
    return _PARAMETER.sub("", head)


@final
class Function:
    """The lines of one function, with names for its values and blocks.

    parameters: their types and names, as in ["ptr noalias %x", "i64 %n"]. quickly: LLVM shall spend
    no time on making it fast.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: Sequence[str],
        returns: str = "void",
        linkage: str = "internal ",
        quickly: bool = False,
    ) -> None:
        self.module = module
        self.name = name
        self._quickly = quickly
        self._head = (
            f"define {linkage}{returns} @{name}({', '.join(parameters)}) #{int(quickly)} {{"
        )
        self._lines: list[str] = ["entry:"]
        self._known: dict[str, str] = {}  # of this block: results by what computes them
        self._count = 0
        self.block = "entry"  # the block that lines are added to

    @property
    def length(self) -> int:
        """How many lines there are."""
        return len(self._lines)

    def name_for(self, what: str = "v") -> str:
        """A name, such as "%v12", that no other value has."""
        self._count += 1
        return f"%{what}{self._count}"

    def value(self, line: str) -> str:
        """Add an instruction that has a result, and give the result's name.

        What the block has computed already is not computed again.
        """
        if not line.startswith(_CHANGING):
            return self.once(line)
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"  {name} = {line}")
        return name

    def once(self, line: str) -> str:
        """The same of an instruction that has one result wherever it stands, whatever it is."""
        known = self._known.get(line)
        if known is not None:
            return known
        self._count += 1
        name = self._known[line] = f"%v{self._count}"
        self._lines.append(f"  {name} = {line}")
        return name

    def bytes_further(self, address: str, count: int) -> str:
        """The address that many bytes behind another one."""
        return self.value(f"getelementptr i8, ptr {address}, i64 {count}") if count else address

    def do(self, line: str) -> None:
        """Add an instruction without a result."""
        self._lines.append(f"  {line}")

    def new_block(self, what: str) -> str:
        """A label for a block to come."""
        self._count += 1
        return f"{what}{self._count}"

    def enter(self, label: str) -> None:
        """What follows stands in this block. The one before must have ended in a branch."""
        self._lines.append(f"{label}:")
        self._known = {}
        self.block = label

    def branch(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch_if(self, condition: str, then: str, otherwise: str) -> None:
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}")

    @contextmanager
    def only_if(self, condition: str) -> Iterator[None]:
        """Lines that run only if an i1 holds; they hand on no values."""
        inside, after = self.new_block("if"), self.new_block("after")
        self.branch_if(condition, inside, after)
        self.enter(inside)
        yield
        self.branch(after)
        self.enter(after)

    @contextmanager
    def loop(self, start: str, stop: str, step: str = "1") -> Iterator[str]:
        """Run the lines of the block for i = start, start + step, ... < stop; gives i, an i64.

        With nothing to do it runs not once. Values that are carried around: see `carried`.
        """
        with self.carrying(start, stop, step, []) as (i, _, _):
            yield i

    @contextmanager
    def carrying(
        self, start: str, stop: str, step: str, carried: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[str, list[str], list[str]]]:
        """As `loop`, with values that each round hands on to the next.

        carried: types and first values. Gives i, the values of this round, and a list that starts
        out as a copy of them: the block replaces its items by the values for the next round. After
        the block that list holds the names of the last values.
        """
        before, head, body, after = self.block, *map(self.new_block, ("head", "body", "after"))
        self.branch(head)
        self.enter(head)
        i, following = self.name_for("i"), self.name_for("i")
        names = [self.name_for("c") for _ in carried]
        place = len(self._lines)  # the phis name the block that the body ends in, known later
        inside = self.value(f"icmp slt i64 {i}, {stop}")
        self.branch_if(inside, body, after)
        self.enter(body)
        replaced = list(names)
        yield i, names, replaced
        self.do(f"{following} = add nuw nsw i64 {i}, {step}")
        end = self.block
        self.branch(head)
        phis = [f"  {i} = phi i64 [{start}, %{before}], [{following}, %{end}]"]
        for name, (kind, first), last in zip(names, carried, replaced, strict=True):
            phis.append(f"  {name} = phi {kind} [{first}, %{before}], [{last}, %{end}]")
        self._lines[place:place] = phis
        self.enter(after)
        replaced[:] = names

    @contextmanager
    def repeating(
        self, carried: Sequence[tuple[str, str]]
    ) -> Iterator[tuple[list[str], list[str], Callable[[str], None]]]:
        """Run the lines of the block again and again, until what they call with a bool is false.

        carried: as for `carrying`. Gives the values of this round, the list for those of the next,
        and the function to be called, once: a round ends there where the bool does not hold.
        """
        before, head, body, after = self.block, *map(self.new_block, ("head", "body", "after"))
        self.branch(head)
        self.enter(head)
        names = [self.name_for("c") for _ in carried]
        place = len(self._lines)
        replaced = list(names)

        def go_on(condition: str) -> None:
            self.branch_if(condition, body, after)
            self.enter(body)

        yield names, replaced, go_on
        end = self.block
        self.branch(head)
        self._lines[place:place] = [
            f"  {name} = phi {kind} [{first}, %{before}], [{last}, %{end}]"
            for name, (kind, first), last in zip(names, carried, replaced, strict=True)
        ]
        self.enter(after)
        replaced[:] = names

    def finish(self, result: str = "void") -> None:
        """Return, and hand the text to the module."""
        self.do(f"ret {result}")
        text = "\n".join([self._head, *self._lines, "}\n"])
        self.module.define(self.name, text, self._quickly)

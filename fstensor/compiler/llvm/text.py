"""LLVM IR as text. A `Function` collects lines and gives names; a `Module` collects functions.

Text is written, not a tree of objects: LLVM parses it at once, and so do readers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import final

_PARAMETER = re.compile(r" %[\w.]+(?=[,)])")


@final
class Module:
    """Functions, declarations and constants, each once."""

    def __init__(self) -> None:
        self._declared: dict[str, None] = {}
        self._functions: dict[str, str] = {}

    def declare(self, line: str) -> None:
        """A line on the level of the module, such as the declaration of an intrinsic."""
        self._declared[line] = None

    def define(self, name: str, text: str) -> None:
        assert name not in self._functions, name
        self._functions[name] = text

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def __str__(self) -> str:
        return self._text(self._functions.values())

    def _text(self, functions: Iterable[str]) -> str:
        attributes = "attributes #0 = { nounwind }"
        attributes += "\nattributes #1 = { nounwind noinline optnone }"
        return "\n".join([*self._declared, "", *functions, attributes, ""])

    def parts(self, count: int) -> list[str]:
        """The module as several, of about the same length, that can be linked together.

        Functions are public in them, so that those of one part can call those of another.
        """
        shares: list[dict[str, str]] = [{} for _ in range(count)]
        lengths = [0] * count
        for name, text in sorted(self._functions.items(), key=lambda item: -len(item[1])):
            k = lengths.index(min(lengths))
            shares[k][name] = text.replace("define internal ", "define ", 1)
            lengths[k] += len(text)
        declared = {name: _declaration(text) for name, text in self._functions.items()}
        return [
            self._text([*(d for n, d in declared.items() if n not in share), *share.values()])
            for share in shares
        ]


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
        self._head = (
            f"define {linkage}{returns} @{name}({', '.join(parameters)}) #{int(quickly)} {{"
        )
        self._lines: list[str] = ["entry:"]
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
        """Add an instruction that has a result, and give the result's name."""
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"  {name} = {line}")
        return name

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
        self.block = label

    def branch(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch_if(self, condition: str, then: str, otherwise: str) -> None:
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}")

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
        self.module.define(self.name, "\n".join([self._head, *self._lines, "}\n"]))

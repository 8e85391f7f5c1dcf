"""Arguments that have the structure of earlier ones, taken apart by a function written for it.

Such a function checks at each container that it is the one expected, and reads its children; that
takes a tenth of the time of finding out what there is.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any, TypeAlias, final

from fstensor import tree

# The leaves of a call's arguments; None where these have another structure.
Taker: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...] | None]

_MOST_NODES = 2000  # so that the function is not too long to be compiled


def taker(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Taker:
    """A function that takes apart arguments of the structure of these, with the leaves in order.

    What stands where these have a leaf may count as one: whoever asks must look whether it is.
    """
    structure = tree.structure((args, kwargs))
    if structure.num_nodes > _MOST_NODES:
        return functools.partial(_taken, structure)
    writer = _Writer()
    positional, named = structure.children()
    leaves = writer.children("args", args, positional) + writer.children("kwargs", kwargs, named)
    lines = ["def take(args, kwargs):", " try:", *writer.lines, f"  return ({''.join(leaves)})"]
    lines += [" except KeyError:", "  return None"]
    exec(compile("\n".join(lines), "<fstensor taker>", "exec"), writer.scope)
    return writer.scope["take"]  # type: ignore[no-any-return]  # what was written


def _taken(
    structure: tree.PyTreeDef, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, ...] | None:
    leaves, found = tree.flatten((args, kwargs))
    return tuple(leaves) if found == structure else None


@final
class _Writer:
    """The lines of a taker, and the objects that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {}
        self._numbers = itertools.count()

    def children(self, name: str, node: Any, structure: tree.PyTreeDef) -> list[str]:
        """Write what takes the container of this name apart; give its leaves as expressions."""
        kind, below = structure.type, structure.children()
        assert kind is not None
        self._unless(f"{name}.__class__ is {self._name(kind)}")
        registered = tree.registration(kind)
        if kind is type(None):
            return []
        if kind is dict:
            self._unless(f"len({name}) == {len(below)}")
            keys = structure.entries()
            nodes = [node[k] for k in keys]
            parts = f"{self._name(operator.itemgetter(*keys))}({name})" if keys else "()"
            if len(keys) == 1:  # then the getter gives no tuple
                parts = f"({parts},)"
        elif kind is tuple or kind is list or registered is None:
            assert issubclass(kind, (tuple, list))  # of others there are named tuples
            self._unless(f"len({name}) == {len(below)}")
            nodes, parts = list(node), name
        else:
            flatten = registered[0]
            found, rest, *_ = flatten(node)
            nodes, parts = list(found), self._new()
            self.lines.append(f"  {parts}, rest, *_ = {self._name(flatten)}({name})")
            self.lines.append(f"  {parts} = tuple({parts})")
            self._unless(f"len({parts}) == {len(below)} and rest == {self._name(rest)}")
        if all(s.type is None for s in below):
            return [f"*{parts}, "] if below else []
        names = [self._new() for _ in below]
        self.lines.append(f"  {', '.join(names)}, = {parts}")
        leaves: list[str] = []
        for child, inner, s in zip(names, nodes, below, strict=True):
            leaves += [f"{child}, "] if s.type is None else self.children(child, inner, s)
        return leaves

    def _unless(self, condition: str) -> None:
        self.lines.append(f"  if not ({condition}): return None")

    def _new(self) -> str:
        return f"n{next(self._numbers)}"

    def _name(self, x: Any) -> str:
        name = f"c{len(self.scope)}"
        self.scope[name] = x
        return name

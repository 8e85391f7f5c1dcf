"""The names that belong to each tier, and the reasons for what they lack: two files, read once.

`tiers.toml` holds the names by module and tier. `reasons.toml` holds groups, each with one reason:

| group | of |
|---|---|
| pending | names that are not there yet (patterns such as `nn.*` allowed) |
| parameters | parameters in which a signature rightly differs from NumPy's or JAX's |
| columns | names that rightly are not differentiable, batchable, … |
| defects | parameters or columns that are wrong and wait to be mended |
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Name:
    """One name that users expect: `numpy`, `linalg.norm`, … of a module, and its tier."""

    module: str
    name: str
    tier: str

    @property
    def path(self) -> str:
        """The name below the package: `numpy.sum`, `grad`."""
        return self.name if self.module == "fstensor" else f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Group:
    """Names (patterns of paths), perhaps parameters or a column of theirs, and one reason."""

    reason: str
    names: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        """Whether the group speaks of this name."""
        return any(fnmatchcase(path, pattern) for pattern in self.names) and not any(
            fnmatchcase(path, pattern) for pattern in self.without
        )

    def speaks_of(self, path: str, column: str, what: str = "") -> bool:
        """Whether the group explains this column, or this difference of a signature."""
        if column == "signature":
            said = any(fnmatchcase(what, pattern) for pattern in self.parameters)
        else:
            said = column in self.columns
        return said and self.covers(path)


def _read(file: str) -> dict[str, Any]:
    text = resources.files("fstensor.testing").joinpath(file).read_text(encoding="utf-8")
    return tomllib.loads(text)


@functools.cache
def names() -> tuple[Name, ...]:
    """All names, in the order of the file."""

    def found() -> Iterator[Name]:
        for module, tiers in _read("tiers.toml").items():
            for tier, words in tiers.items():
                yield from (Name(module, word, tier) for word in words.split())

    return tuple(found())


@functools.cache
def reasons() -> Mapping[str, tuple[Group, ...]]:
    """The groups of `reasons.toml`, by their kind."""

    def group(entry: Mapping[str, str]) -> Group:
        return Group(
            " ".join(entry["reason"].split()),
            tuple(entry["names"].split()),
            tuple(entry.get("parameters", "").split()),
            tuple(entry.get("columns", "").split()),
            tuple(entry.get("without", "").split()),
        )

    return {kind: tuple(map(group, groups)) for kind, groups in _read("reasons.toml").items()}


def pending(path: str) -> str:
    """Why a name is not there yet, or an empty text."""
    return next((g.reason for g in reasons().get("pending", ()) if g.covers(path)), "")


def explanation(path: str, column: str, what: str = "") -> tuple[str, str]:
    """Why a name lacks a property: the kind of the group that says so, and its reason.

    column: `signature`, `batchable`, …; for `signature`, `what` is the difference as
        `signatures.differences` gives it: `out` for a parameter that is not there,
        `axis:default`, `axis:kind`, `x:name`, `dtype:order`, `size:extra`, `copy:unused`.
    Kinds: "parameters" and "columns" excuse, "defects" does not. ("", "") if nothing is said.
    """
    for kind in ("parameters", "columns", "defects"):
        for group in reasons().get(kind, ()):
            if group.speaks_of(path, column, what):
                return kind, group.reason
    return "", ""

"""Which of the names that users expect are there, and what each can do.

`python -m fstensor.testing.surface` prints one line for each name of `tiers.toml`:

| column | "yes" means |
|---|---|
| present | the name is there |
| signature | every call written for NumPy or JAX means the same here |
| tested | the name occurs in the tests; a dash where they are not at hand |
| differentiable | `jvp` of its example gives central differences, and `vjp` the adjoint |
| batchable | `vmap` of its example gives what a loop gives |
| jit-able | `jit` of its example gives what the example gives |
| value | its example gives what NumPy's, SciPy's or (with `--jax`) JAX's function gives |

"reason" stands where something is missing for a reason, "no" where it is a defect; the notes below
the table say more. Nothing is claimed: all columns are found out when the command runs.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import fstensor
from fstensor.testing import signatures, tiers
from fstensor.testing.examples import examples
from fstensor.testing.measure import NOTHING, YES, measurements
from fstensor.testing.tiers import Name

MEASURED = ("differentiable", "batchable", "jit-able", "value")
COLUMNS = ("present", "signature", "tested", *MEASURED)
# Answers that need no reason.
FINE = (YES, NOTHING, "integers", "pending")


@dataclass(frozen=True)
class Note:
    """What is the matter with a column of a name, and what the project says about it.

    kind: "parameters" or "columns" for a reason, "pending" for a name that is not there yet,
        "defects" for a defect that is known, and "" for one that is not.
    """

    column: str
    what: str
    kind: str
    text: str


@dataclass
class Row:
    """What was found out about one name.

    columns: "yes", "-", "integers" (no derivative, since the result is none), "pending",
        "reason" or "no".
    """

    name: Name
    columns: dict[str, str] = field(default_factory=lambda: dict.fromkeys(COLUMNS, NOTHING))
    notes: list[Note] = field(default_factory=list)

    def note(self, column: str, what: str = "") -> None:
        """Mark a column as not "yes", with what the project says about it."""
        kind, text = tiers.explanation(self.name.path, column, what)
        self.notes.append(Note(column, what, kind, text))
        excused = kind in ("parameters", "columns") and self.columns[column] != "no"
        self.columns[column] = "reason" if excused else "no"


def rows(names: Iterable[Name] | None = None, *, jax_values: bool = False) -> list[Row]:
    """Look at every name. jax_values: compare values with JAX's too, which takes a while."""
    return [_row(name, jax_values) for name in (tiers.names() if names is None else names)]


def _row(name: Name, jax_values: bool) -> Row:
    row = Row(name)
    value = signatures.lookup("fstensor", name.path)
    if value is signatures.MISSING:
        why = tiers.pending(name.path)
        row.columns["present"] = "pending" if why else "no"
        row.notes.append(Note("present", "", "pending" if why else "", why))
        return row
    row.columns["present"] = YES
    words = words_of_tests()
    if words is not None:
        row.columns["tested"] = YES
        if name.name.rpartition(".")[2] not in words:
            row.note("tested")
    if callable(value) and not isinstance(value, (type, ModuleType)):
        _look_at_signature(row, value)
        _measure(row, value, jax_values)
    return row


def _look_at_signature(row: Row, function: Any) -> None:
    others = signatures.counterparts(row.name.path)
    others.pop("scipy", None)  # its signatures are those of JAX, or hidden
    if any(signatures.parameters(other) is not None for other in others.values()):
        row.columns["signature"] = YES
    for difference in signatures.differences(function, others):
        row.note("signature", difference)
    for parameter in signatures.unused_parameters(function):
        row.note("signature", f"{parameter}:unused")


def _measure(row: Row, function: Any, jax_values: bool) -> None:
    path = row.name.path
    example = examples().get(path)
    if example is None:
        if tiers.explanation(path, "example") == ("", ""):
            row.note("value", "there is no example")
        return
    others = signatures.counterparts(path)
    if not jax_values:
        others.pop("jax", None)
    for column, answer in measurements(function, example, others).items():
        row.columns[column] = answer
        if answer not in FINE:
            row.columns[column] = YES
            row.note(column, answer)


@functools.cache
def words_of_tests() -> frozenset[str] | None:
    """Identifiers, attributes and words of texts in the project's tests.

    Tests of this package do not count. None where the tests are not at hand.
    """
    tests = Path(fstensor.__file__).parents[1] / "tests"
    if not (tests / "conftest.py").is_file():
        return None
    found: set[str] = set()
    for file in tests.rglob("*.py"):
        if "testing" in file.relative_to(tests).parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.alias):
                found.add(node.name.rpartition(".")[2])
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(re.findall(r"\w+", node.value))
    return frozenset(found)


def as_text(found: Sequence[Row], *, only_missing: bool = False) -> str:
    """The table and the notes of each module, and a summary of all."""
    modules: dict[str, list[Row]] = {}
    for row in found:
        modules.setdefault(row.name.module, []).append(row)
    parts = []
    for module, of_module in modules.items():
        if only_missing:
            parts.extend(_missing(of_module))
        else:
            parts.extend([module, *_table(of_module), *_notes(of_module), ""])
    parts.extend(_summary(modules))
    if signatures.lookup("jax", "numpy") is signatures.MISSING:
        parts.append("Signatures are not compared with JAX's: jax is not installed.")
    return "\n".join(parts)


def _table(found: Sequence[Row]) -> list[str]:
    width = max(len(row.name.name) for row in found)
    widths = {column: max(len(column), 8) for column in COLUMNS}

    def line(first: str, tier: str, cells: dict[str, str]) -> str:
        padded = (cells[column].ljust(widths[column]) for column in COLUMNS)
        return f"  {first:<{width}}  {tier:<4}  {'  '.join(padded)}".rstrip()

    header = line("name", "tier", {column: column for column in COLUMNS})
    return [header, *(line(row.name.name, row.name.tier, row.columns) for row in found)]


def _notes(found: Sequence[Row]) -> list[str]:
    """One line for each reason, with what it explains, then the defects."""
    said: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    unknown = []
    for row in found:
        for note in row.notes:
            if note.kind:
                key = (note.kind, note.column, note.text)
                said.setdefault(key, []).append((row.name.name, note.what))
            else:
                unknown.append(f"  defect: {note.column} of {row.name.name}: {note.what}")
    lines = []
    for (kind, column, text), cases in said.items():
        who = list(dict.fromkeys(name for name, _ in cases))
        names = ", ".join(who) if len(who) <= 6 else f"{len(who)} names"
        what = ", ".join(dict.fromkeys(what for _, what in cases)) if column == "signature" else ""
        label = f"{'defect: ' if kind == 'defects' else ''}{column}{what and ' ' + what}"
        lines.append(f"  {label} ({names}): {text}")
    return lines + unknown


def _missing(found: Sequence[Row]) -> list[str]:
    return [
        f"{row.name.path} ({row.name.tier}): {tiers.pending(row.name.path) or 'no reason'}"
        for row in found
        if row.columns["present"] != YES
    ]


def _summary(modules: dict[str, list[Row]]) -> list[str]:
    out = []
    for module, of_module in modules.items():
        for tier in sorted({row.name.tier for row in of_module}):
            mine = [row for row in of_module if row.name.tier == tier]
            there = [row for row in mine if row.columns["present"] == YES]
            text = f"{module} {tier}: {len(there)} of {len(mine)} present"
            for column in COLUMNS[1:]:
                asked = [r for r in there if r.columns[column] not in (NOTHING, "integers")]
                if asked:
                    yes = sum(row.columns[column] == YES for row in asked)
                    text += f", {column} {yes}/{len(asked)}"
            out.append(text)
    return out


def as_json(found: Sequence[Row]) -> str:
    """A list with one object for each name."""
    entries = [
        {
            **dataclasses.asdict(row.name),
            **row.columns,
            "notes": [dataclasses.asdict(note) for note in row.notes],
        }
        for row in found
    ]
    return json.dumps(entries, indent=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the surface; 0 even if something is missing, since tests decide what must be there."""
    modules = list(dict.fromkeys(name.module for name in tiers.names()))
    parser = argparse.ArgumentParser(
        prog="python -m fstensor.testing.surface",
        description="Print which of the names that users expect are there, and what each can do.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for each name")
    parser.add_argument("--module", choices=modules, metavar="NAME", help=", ".join(modules))
    parser.add_argument("--missing", action="store_true", help="list what is not there, and why")
    parser.add_argument("--jax", action="store_true", help="compare values with JAX's too (slow)")
    options = parser.parse_args(arguments)
    chosen = [n for n in tiers.names() if options.module in (None, n.module)]
    found = rows(chosen, jax_values=options.jax)
    print(as_json(found) if options.json else as_text(found, only_missing=options.missing))
    return 0


if __name__ == "__main__":
    sys.exit(main())

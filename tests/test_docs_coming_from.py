"""docs/coming_from.md says what is so: its code runs, and its tables give what they say.

A line of a table has what something is called elsewhere, an expression that does it here, what that
gives, flattened and rounded to four digits, and remarks. Code of other libraries stands in blocks
of `py`, and does not run.
"""

import doctest
import importlib.util
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import fstensor as fst
from fstensor import nn

PATH = Path(__file__).parent.parent / "docs" / "coming_from.md"
PAGE = PATH.read_text()
HEADS = ("| here | gives | |", "| run |")  # how the first line of a table ends
ROOTS = {
    "fst": fst,
    "fnp": fst.numpy,
    "lax": fst.lax,
    "random": fst.random,
    "nn": nn,
    "initializers": nn.initializers,
    "models": nn.models,
    "optim": fst.optim,
    "metrics": fst.metrics,
    "net": nn.Net(nn.Identity()),
}


class Row(NamedTuple):
    """A line of a table."""

    there: str
    here: str
    gives: str
    remark: str


class Piece(NamedTuple):
    """What runs, and the line of the page where it stands."""

    line: int
    what: str | Row


def pieces(text, first):
    """Blocks of code and lines of tables that run, in order."""
    found, block = [], None
    for number, line in enumerate(text.splitlines(), first):
        if block is not None and line.strip() == "```":
            found.append(Piece(number - len(block), "\n".join(block) + "\n"))
            block = None
        elif block is not None:
            block.append(line)
        elif line.strip() == "```python":
            block = []
        elif line.startswith("| ") and not line.endswith(HEADS):
            cells = [cell.strip() for cell in line[1:-1].split("|")]
            if len(cells) == len(Row._fields):
                found.append(Piece(number, Row(*cells)))
    return found


def chapters():
    """The pieces of each chapter by its title, and those before the first, the imports, by ""."""
    starts = [m.start() for m in re.finditer(r"^## ", PAGE, re.MULTILINE)]
    found = {"": pieces(PAGE[: starts[0]], 1)}
    for start, end in zip(starts, [*starts[1:], len(PAGE)], strict=True):
        text = PAGE[start:end]
        found[text.splitlines()[0].removeprefix("## ")] = pieces(text, PAGE[:start].count("\n") + 1)
    return found


CHAPTERS = chapters()
ROWS = [piece.what for found in CHAPTERS.values() for piece in found if isinstance(piece.what, Row)]


def elements(value):
    """What a value holds, one after the other: numbers, and texts for dtypes and devices."""
    found = []
    for leaf in fst.tree.leaves(value):
        if isinstance(leaf, np.dtype):
            found.append(leaf.name)
        elif isinstance(leaf, str):
            found.append(str(leaf))
        else:
            found += np.ravel(np.asarray(leaf)).tolist()
    return found


def check(row, names):
    """Raises: AssertionError unless a line's expression gives what it says."""
    code = re.fullmatch(r"`([^`]+)`", row.here)
    assert code, f"one expression must be here, got {row.here}"
    got, said = elements(eval(code[1], names)), eval(f"[{row.gives}]", {})
    # Half a unit of the fourth digit, and what float32 may add to it.
    same = len(got) == len(said) and all(
        g == s if isinstance(s, (bool, str)) else abs(g - s) < 0.55e-4
        for g, s in zip(got, said, strict=True)
    )
    assert same, f"gives {got}, not {said}"


def problems_of(found):
    """What is not so, when pieces run one after the other."""
    names, problems = {}, []
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    for line, what in found:
        if isinstance(what, Row):
            try:
                check(what, names)
            except Exception as error:
                problems.append(f"line {line}: {what.here}: {type(error).__name__}: {error}\n")
        else:
            test = parser.get_doctest(what, {}, PATH.name, str(PATH), line)
            test.globs = names  # what is defined is there for all that follows
            runner.run(test, out=problems.append, clear_globs=False)
    return problems


@pytest.mark.parametrize("title", list(CHAPTERS)[1:])
def test_what_it_says(title):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problems = problems_of(CHAPTERS[""] + CHAPTERS[title])
    assert not problems, "".join(problems)


def test_what_is_wrong_is_found():
    block, wrong = ">>> y = 2\n>>> y\n3\n", Row("", "`y * np.ones(2)`", "2, 2.001", "")
    right = Row("", "`(y * np.ones(2), 'a', True)`", "2.00003, 2, 'a', True", "")
    found = [*CHAPTERS[""], Piece(1, block), Piece(2, wrong), Piece(3, right)]
    first, second = "".join(problems_of(found)).split("line 2:")
    assert "Expected:\n    3\nGot:\n    2\n" in first
    assert "gives [2.0, 2.0], not [2, 2.001]" in second


def test_everything_runs():
    """No line of a table and no block of code is left out."""
    kinds = re.findall(r"^ *```(\w+)$", PAGE, re.MULTILINE)
    assert set(kinds) == {"python", "py"}
    blocks = [what for found in CHAPTERS.values() for _, what in found if isinstance(what, str)]
    assert len(blocks) == kinds.count("python") >= 20
    assert all(">>>" in block for block in blocks)
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    heads = [line for line in lines if line.endswith(HEADS)]
    assert len(lines) == 2 * len(heads) + len(ROWS) + len(programs())
    assert len(ROWS) >= 250


def programs():
    return re.findall(r"\| `python -m (fstensor\.examples\.\w+)[ \w-]*` \|$", PAGE, re.MULTILINE)


def test_names_are_there():
    """Also those in remarks, which do not run."""
    dotted = re.compile(rf"\b(?:{'|'.join(ROOTS)})(?:\.[A-Za-z]\w*)+")
    names = {name for row in ROWS for name in dotted.findall(f"{row.here} {row.remark}")}
    assert len(names) >= 200
    for name in sorted(names):
        root, *rest = name.split(".")
        value = ROOTS[root]
        for part in rest:
            assert hasattr(value, part), name
            value = getattr(value, part)


def test_programs_are_there():
    assert len(programs()) >= 10
    for name in programs():
        spec = importlib.util.find_spec(name)
        assert spec, name
        assert "\ndef main(" in Path(spec.origin).read_text(), name


def test_links():
    for target in re.findall(r"\]\((\w+\.md)\)", PAGE):
        assert (PATH.parent / target).exists(), target

"""Every error in docs/errors.md comes from the code above it, in these words, and the cure cures.

A section is code that errs, the message, and code that does not. `--update-golden` writes the
messages anew.
"""

import re
import warnings
from pathlib import Path

import pytest

import fstensor as fst
from fstensor import errors

PATH = Path(__file__).parent.parent / "docs" / "errors.md"
_SECTION = re.compile(
    r"^### (?P<title>[^\n]*)\n(?:(?!^###?#? ).)*?"
    r"```python\n(?P<cause>.*?)```\n\n```text\n(?P<message>.*?)```\n.*?"
    r"```python\n(?P<cure>.*?)```",
    re.MULTILINE | re.DOTALL,
)
SECTIONS = list(_SECTION.finditer(PATH.read_text()))
SETTINGS = dict(fst.config._values)


@pytest.fixture(autouse=True)
def usual_settings():
    before = dict(fst.config._values)
    fst.config.update("explain_retraces", "auto")
    yield
    for name, value in before.items():
        fst.config.update(name, value)


@pytest.fixture(autouse=True)
def files_of_its_own(monkeypatch, tmp_path):
    """Examples write files where they are."""
    monkeypatch.chdir(tmp_path)


def run(code, file):
    exec(compile(code, file, "exec"), {"__name__": "__main__"})


def message_of(code):
    """What Python prints of the error or warning that ends the code, without the note on frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            run(code, "example.py")
        except errors.FstensorError as error:
            return f"{type(error).__name__}: {error}"
    raise AssertionError("no error")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: s["title"])
def test_the_code_raises_this(section, request):
    message = message_of(section["cause"])
    if request.config.getoption("--update-golden"):
        PATH.write_text(PATH.read_text().replace(section["message"], f"{message}\n", 1))
        return
    assert message + "\n" == section["message"]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: s["title"])
def test_the_cure_runs(section):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(section["cure"], "cure.py")


def test_every_section_is_tested():
    assert len(SECTIONS) == PATH.read_text().count("\n### ") >= 25


# JaxprTypeError and MissingRuleError are mistakes in a primitive, not in a user's program.
INTERNAL = {"FstensorError", "JaxprTypeError", "MissingRuleError", "ConcretizationTypeError"}


def test_every_class_is_shown():
    shown = {s["message"].split(":")[0] for s in SECTIONS}
    classes = {
        n
        for n, c in vars(errors).items()
        if isinstance(c, type) and issubclass(c, errors.FstensorError)
    }
    assert classes - shown == INTERNAL

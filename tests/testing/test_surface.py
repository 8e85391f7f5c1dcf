"""The names that users expect are there, and each does what the surface says of it."""

import json
import subprocess
import sys
from fnmatch import fnmatchcase

import pytest

from fstensor.config import config
from fstensor.testing import measure, signatures, surface, tiers
from fstensor.testing.examples import examples

NAMES = tiers.names()
PATHS = [name.path for name in NAMES]


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_compiled():
    """Whether a function is jit-able is a question to its tracing, which any executor answers.

    That native code computes the same is what the tests of the functions and the compiler show.
    """
    with config.override(executor="numpy"):
        yield


@pytest.fixture(scope="module")
def rows(recorded_for_module):
    """What is found out, with values of JAX from a file."""
    ask, paths = measure.other_value, {id(e): path for path, e in examples().items()}

    def other_value(library, function, example):
        if not library.startswith("jax"):
            return ask(library, function, example)
        about = f"{library} {paths[id(example)]}"
        return recorded_for_module.each(lambda: ask(library, function, example), about)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "other_value", other_value)
        return {row.name.path: row for row in surface.rows(jax_values=True)}


def is_there(name):
    return signatures.lookup("fstensor", name.path) is not signatures.MISSING


def test_no_name_stands_twice():
    assert len(set(PATHS)) == len(PATHS)


def test_every_name_is_there_or_pending():
    missing = [n.path for n in NAMES if not is_there(n) and not tiers.pending(n.path)]
    assert not missing, "names of tiers.toml that are not there, and not pending in reasons.toml"


def test_what_is_there_is_not_pending():
    built = [n.path for n in NAMES if is_there(n) and tiers.pending(n.path)]
    assert not built, "these are there now: take them out of `pending` in reasons.toml"


def test_every_difference_has_a_reason_or_is_a_known_defect(rows):
    unknown = [
        (path, note.column, note.what)
        for path, row in rows.items()
        for note in row.notes
        if not note.kind
    ]
    assert not unknown, "mend these, or give a reason in reasons.toml"


def test_every_reason_explains_something(rows):
    """Each pattern of names, and each parameter and column, of each entry."""
    notes = [(path, note) for path, row in rows.items() for note in row.notes]
    idle = []
    for kind, groups in tiers.reasons().items():
        for group in groups:
            if kind == "pending" or "example" in group.columns:
                # Whether a name is missing is another test's question; examples have no notes.
                used = [(p, None) for p in PATHS if group.covers(p)]
            else:
                used = [
                    (p, n.what if n.column == "signature" else n.column)
                    for p, n in notes
                    if group.speaks_of(p, n.column, n.what)
                ]
            idle += [n for n in group.names if not any(fnmatchcase(p, n) for p, _ in used)]
            said = [] if "example" in group.columns else [*group.parameters, *group.columns]
            idle += [
                f"{group.names[0]}…: {pattern}"
                for pattern in said
                if not any(fnmatchcase(what, pattern) for _, what in used)
            ]
    assert not idle, "take these out of reasons.toml"


def test_every_example_has_its_name():
    assert not set(examples()) - set(PATHS)


def test_answers_are_found_out(rows):
    """A function that fails is found to fail: the columns are no claims."""
    columns = dict(rows["numpy.sin"].columns)
    assert columns.pop("signature") == "reason", "there is no out"
    assert set(columns.values()) == {"yes"}
    assert rows["numpy.argmax"].columns["differentiable"] == "integers"
    assert rows["numpy.save"].columns["jit-able"] == "reason"


def broken_name(monkeypatch, function):
    monkeypatch.setattr("fstensor.numpy.sin", function)
    (name,) = [n for n in NAMES if n.path == "numpy.sin"]
    (row,) = surface.rows([name])
    return row.columns


def test_a_wrong_value_is_noticed(monkeypatch):
    import fstensor.numpy as fnp

    columns = broken_name(monkeypatch, fnp.cos)
    assert columns["value"] == "no"
    assert columns["differentiable"] == "yes"


def test_a_wrong_derivative_is_noticed(monkeypatch):
    import fstensor.numpy as fnp
    from fstensor import lax

    sin = fnp.sin
    columns = broken_name(monkeypatch, lambda x, /: sin(lax.stop_gradient(x)))
    assert columns["differentiable"] == "no"
    assert columns["value"] == columns["jit-able"] == columns["batchable"] == "yes"


def test_a_function_that_cannot_be_traced_is_noticed(monkeypatch):
    import numpy as np

    columns = broken_name(monkeypatch, lambda x, /: np.sin(np.asarray(x)))
    assert columns["value"] == "yes"
    assert columns["jit-able"] == columns["batchable"] == columns["differentiable"] == "no"


def test_an_ignored_parameter_is_noticed(monkeypatch):
    import fstensor.numpy as fnp

    def sin(x, *, scale=1.0):
        return cos_of_quarter(x)

    cos_of_quarter = fnp.sin
    assert signatures.unused_parameters(sin) == ["scale"]
    assert broken_name(monkeypatch, sin)["signature"] == "no"


class TestDifferences:
    def differences(self, ours, **theirs):
        return signatures.differences(ours, theirs)

    def test_equal(self):
        assert self.differences(lambda a, axis=None: 0, numpy=lambda a, axis=None: 0) == []

    def test_missing(self):
        assert self.differences(lambda a: 0, numpy=lambda a, out=None: 0) == ["out"]

    def test_default(self):
        found = self.differences(lambda a, axis=0: 0, numpy=lambda a, axis=-1: 0)
        assert found == ["axis:default"]

    def test_one_is_not_true(self):
        found = self.differences(lambda a, axis=1: 0, numpy=lambda a, axis=True: 0)
        assert found == ["axis:default"]

    def test_like_one_of_both(self):
        found = self.differences(lambda a, n=0: 0, numpy=lambda a, n=-1: 0, jax=lambda a, n=0: 0)
        assert found == []

    def test_order(self):
        found = self.differences(lambda a, n=0, m=0: 0, numpy=lambda a, m=0, n=0: 0)
        assert found == ["n:order", "m:order"]

    def test_kind(self):
        assert self.differences(lambda a, *, n=0: 0, numpy=lambda a, n=0: 0) == ["n:kind"]
        assert self.differences(lambda a, /: 0, numpy=lambda a: 0) == ["a:kind"]

    def test_more_forms_of_calls_are_no_difference(self):
        assert self.differences(lambda a, n=0: 0, numpy=lambda a, /, *, n=0: 0) == []

    def test_name(self):
        assert self.differences(lambda x: 0, numpy=lambda a: 0) == ["x:name"]

    def test_extra(self):
        assert self.differences(lambda a, n=0: 0, numpy=lambda a: 0) == ["n:extra"]
        assert self.differences(lambda a, *, n=0: 0, numpy=lambda a: 0) == []


def run(*arguments):
    command = [sys.executable, "-m", "fstensor.testing.surface", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_command():
    text = run("--module", "numpy.fft")
    lines = text.splitlines()
    assert lines[0] == "numpy.fft"
    assert lines[1].split() == ["name", "tier", *surface.COLUMNS]
    assert lines[2].split()[:4] == ["fft", "T1", "yes", "reason"]
    assert "arrays are immutable" in text
    assert lines[-1].startswith("numpy.fft T1: 18 of 18 present")


def test_command_as_json(capsys):
    assert surface.main(["--json", "--module", "random"]) == 0
    entries = json.loads(capsys.readouterr().out)
    (entry,) = [e for e in entries if e["name"] == "uniform"]
    assert entry["tier"] == "T1"
    assert entry["batchable"] == "yes"
    assert entry["notes"][0]["kind"] == "parameters"


def test_command_lists_what_is_missing(capsys, monkeypatch):
    real = signatures.lookup

    def lookup(root, path):
        hidden = root == "fstensor" and path == "random.bits"
        return signatures.MISSING if hidden else real(root, path)

    monkeypatch.setattr(signatures, "lookup", lookup)
    assert surface.main(["--missing", "--module", "random"]) == 0
    assert "random.bits (T1): no reason" in capsys.readouterr().out


def test_without_jax(capsys, monkeypatch):
    real = signatures.lookup

    def lookup(root, path):
        return signatures.MISSING if root == "jax" else real(root, path)

    monkeypatch.setattr(signatures, "lookup", lookup)
    assert surface.main(["--module", "lax.linalg"]) == 0
    text = capsys.readouterr().out
    assert "jax is not installed" in text
    assert text.splitlines()[2].split()[:4] == ["cholesky", "T2", "yes", "-"]

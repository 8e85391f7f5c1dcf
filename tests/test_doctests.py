"""The examples in the README and in docstrings give what they say."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import fstensor

MODULES = [m.name for m in pkgutil.walk_packages(fstensor.__path__, "fstensor.")]


def test_readme():
    path = Path(__file__).parent.parent / "README.md"
    failed, tried = doctest.testfile(str(path), module_relative=False)
    assert tried >= 8
    assert not failed


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed


def test_the_main_transforms_have_examples():
    for f in (fstensor.grad, fstensor.vmap, fstensor.jit, fstensor.jvp, fstensor.vjp):
        assert ">>>" in f.__doc__

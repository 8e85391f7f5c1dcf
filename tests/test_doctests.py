"""The examples in the README and in docstrings give what they say."""

import doctest
import importlib
import inspect
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


class Finder(doctest.DocTestFinder):
    """Finds the examples of decorated functions, too."""

    def _from_module(self, module, object):
        return super()._from_module(module, inspect.unwrap(object))


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in Finder().find(module, name):
        runner.run(test)
    assert not runner.failures


def test_the_main_transforms_have_examples():
    for f in (fstensor.grad, fstensor.vmap, fstensor.jit, fstensor.jvp, fstensor.vjp):
        assert ">>>" in f.__doc__

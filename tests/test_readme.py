import doctest
from pathlib import Path


def test_readme_examples():
    path = Path(__file__).parent.parent / "README.md"
    failed, tried = doctest.testfile(str(path), module_relative=False)
    assert tried >= 8
    assert not failed

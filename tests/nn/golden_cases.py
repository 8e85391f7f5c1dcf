"""What PyTorch computed for a case, and how results are compared with it.

The scripts in tests/golden/make say what the arrays are.
"""

from pathlib import Path

import numpy as np

import fstensor as fst
from fstensor import numpy as fnp

_DIRECTORY = Path(__file__).parents[1] / "golden"


def case_names(family):
    with np.load(_DIRECTORY / f"{family}.npz") as arrays:
        return sorted({k.split("/")[0] for k in arrays.files})


def case(family, name):
    """The arrays of a case: a dict of dicts, as their paths say."""
    found = {}
    with np.load(_DIRECTORY / f"{family}.npz") as arrays:
        for path in arrays.files:
            first, *folders, last = path.split("/")
            if first == name:
                place = found
                for folder in folders:
                    place = place.setdefault(folder, {})
                place[last] = arrays[path]
    assert found, f"{family}.npz has no case {name}"
    return found


def weighted(outputs):
    """The sum of all outputs, each times cos(0, 1, 2, ...)."""
    total = 0.0
    for y in fst.tree.leaves(outputs):
        total = total + (y * fnp.cos(fnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)).sum()
    return total


def assert_agrees(function, given, expected, gradients, rtol=1e-10):
    """Values and gradients, computed at once and compiled.

    function: of `given`, a dict of all that has gradients.
    """
    for wrap in (lambda f: f, fst.jit):
        compare(wrap(function)(given), expected, rtol)
        compare(wrap(fst.grad(lambda g: weighted(function(g))))(given), gradients, rtol)
    small = fst.tree.map(lambda x: x.astype(np.float32), given)
    compare(fst.jit(function)(small), expected, 1e-5)
    compare(fst.jit(fst.grad(lambda g: weighted(function(g))))(small), gradients, 1e-5)


def compare(found, expected, rtol):
    """Relative to each element, and to the largest of an array."""
    assert fst.tree.structure(found) == fst.tree.structure(expected)
    for path, x in fst.tree.leaves_with_path(found):
        y = expected
        for entry in path:
            y = y[entry.key if hasattr(entry, "key") else entry.idx]
        assert x.shape == y.shape, path
        atol = rtol * max(1, np.abs(y).max(initial=0))
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, err_msg=str(path))

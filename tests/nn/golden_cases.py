"""What PyTorch computed for a case, and how results are compared with it.

The scripts in tests/golden/make say what the arrays are.
"""

import functools
import math
from pathlib import Path

import numpy as np

import fstensor as fst
from fstensor import numpy as fnp

_DIRECTORY = Path(__file__).parents[1] / "golden"


@functools.cache
def _arrays(family):
    """All arrays of a family, by their paths."""
    with np.load(_DIRECTORY / f"{family}.npz") as file:
        stored = dict(file)
    for kind in "fi":  # some families have all of a kind as one
        if f"{kind}_names" not in stored:
            continue
        flat, start = stored.pop(f"{kind}_values"), 0
        for described in str(stored.pop(f"{kind}_names")).splitlines():
            path, _, sizes = described.partition(":")
            shape = tuple(map(int, sizes.split()))
            stored[path] = flat[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        assert start == len(flat)
    return stored


def case_names(family):
    return sorted({k.split("/")[0] for k in _arrays(family)})


def case(family, name):
    """The arrays of a case: a dict of dicts, as their paths say."""
    found = {}
    for path, array in _arrays(family).items():
        first, *folders, last = path.split("/")
        if first == name:
            place = found
            for folder in folders:
                place = place.setdefault(folder, {})
            place[last] = array
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

    def weighted_and_plain(given):
        outputs = function(given)
        return weighted(outputs), outputs

    both = fst.grad(weighted_and_plain, has_aux=True)
    compiled = fst.jit(both)
    small = fst.tree.map(lambda x: x.astype(np.float32), given)
    for f, x, tolerance in ((both, given, rtol), (compiled, given, rtol), (compiled, small, 1e-5)):
        found, outputs = f(x)
        compare(outputs, expected, tolerance)
        compare(found, gradients, tolerance)


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

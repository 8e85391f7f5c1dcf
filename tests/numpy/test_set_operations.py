import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check

NAMES = ["union1d", "intersect1d", "setdiff1d", "setxor1d"]
X = np.array([[3, 1, 3], [7, 5, 1]])
Y = np.array([5, 2, 3, 3, 9])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["int32", "float64", "bool", "complex64"])
def test_against_numpy(name, dtype):
    own, numpys = getattr(fnp, name), getattr(np, name)
    x, y = X.astype(dtype), Y.astype(dtype)
    for a, b in [(x, y), (y, x), (x, y[:0]), (x[:0], y), (x, x), (x[:0], y[:0])]:
        check(own(a, b), numpys(a, b), dtype)


@pytest.mark.parametrize("name", NAMES)
def test_nan(name):
    x, y = np.array([np.nan, 1, np.nan, 2]), np.array([2, np.nan, 3])
    check(getattr(fnp, name)(x, y), getattr(np, name)(x, y))


@pytest.mark.parametrize("name", NAMES)
def test_with_size(name):
    own, expected = getattr(fnp, name), getattr(np, name)(X, Y)
    n = expected.size
    for size in (n - 1, n, n + 2):
        found = fst.jit(lambda x, y, own=own, k=size: own(x, y, size=k, fill_value=-1))(X, Y)
        filled = np.concatenate([expected[:size], np.full(max(size - n, 0), -1)])
        check(found, filled)
        least = np.concatenate([expected[:size], np.full(max(size - n, 0), expected.min())])
        check(own(X, Y, size=size), least)
    check(own(X[:0], Y, size=0), np.zeros(0, "int64"))
    with pytest.raises(errors.ConcretizationTypeError, match="pass size"):
        fst.jit(own)(X, Y)


def test_unique_operands():
    x, y = np.array([4, 1, 3]), np.array([3, 9])
    check(fnp.setdiff1d(x, y, assume_unique=True), np.setdiff1d(x, y, assume_unique=True))
    check(fnp.setxor1d(x, y, assume_unique=True), np.setxor1d(x, y, assume_unique=True))
    check(fnp.intersect1d(x, y, assume_unique=True), np.intersect1d(x, y, assume_unique=True))


def test_places_of_common_elements():
    expected = np.intersect1d(X, Y, return_indices=True)
    check(fnp.intersect1d(X, Y, return_indices=True), list(expected))
    found = fst.jit(lambda x, y: fnp.intersect1d(x, y, return_indices=True, size=3))(X, Y)
    check(found, [np.array([3, 5, 3]), np.array([0, 4, 6]), np.array([2, 0, 5])])
    empty = fnp.intersect1d(X, Y[:0], return_indices=True)
    check(empty, list(np.intersect1d(X, Y[:0], return_indices=True)))

"""Methods of Array that stand for functions of these files, and those that would write."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values

X = values((3, 4), "float32")


def test_choosing():
    which, choices = np.array([1, 0, 1]), [np.arange(3.0), 7.0]
    check(fnp.asarray(which).choose(choices), which.choose(choices))
    check(
        fnp.asarray(which + 2).choose(choices, mode="wrap"),
        (which + 2).choose(choices, mode="wrap"),
    )
    mask = np.array([True, False, True])
    check(fnp.asarray(X).compress(mask, 0), X.compress(mask, 0))


def test_partitioned_copies():
    x = fnp.asarray(X)
    check(x.partition(1, 0), np.sort(X, 0))
    check(x.argpartition(1), np.argsort(X), "int32")
    check(x, X)


@pytest.mark.parametrize("name", ["fill", "put", "resize", "itemset", "setflags"])
def test_writing(name):
    for x in (fnp.asarray(X), fst.jit(lambda x: x)(X)):
        with pytest.raises(errors.ImmutableArrayError, match=rf"{name}: .* float32\[3,4\]; use "):
            getattr(x, name)(0)
    with pytest.raises(errors.ImmutableArrayError):
        fst.jit(lambda x: getattr(x, name)(1, 2))(X)

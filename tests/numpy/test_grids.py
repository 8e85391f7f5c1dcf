import numpy as np
import pytest

import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check

S = np.s_
KEYS = [
    S[0:3],
    S[0:3, 1:5],
    S[-1:1:5j],
    S[0:2, 0:1:3j, 5:0:-2],
    S[0:1:0.25, 0:2],
    S[3:3, 0:2],
    S[:4],
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_grids(key):
    check(fnp.mgrid[key], np.mgrid[key])
    own, expected = fnp.ogrid[key], np.ogrid[key]
    assert isinstance(own, tuple) == isinstance(expected, tuple)
    check(own, expected)


def test_dtypes():
    assert fnp.mgrid[0:2].dtype == "int32"
    assert fnp.mgrid[0:2, 0:1:3j].dtype == "float32"


V, W, M = np.array([1, 2, 3]), np.array([4, 5, 6]), np.ones((3, 2))


@pytest.mark.filterwarnings("ignore:the matrix subclass")  # NumPy's result for "r" and "c"
@pytest.mark.parametrize("name", ["r_", "c_"])
@pytest.mark.parametrize(
    "key",
    [S[1:4], S[1:4, V], S[V, W], S["0,2", V, W], S["1,2", V, W], S["0,2,0", V, W],
     S["-1,3", V, W], S["1,2,0", M, V], S["r", V, W], S["c", V, W], S[0:1:3j, 1:2:3j]],
    ids=str,
)  # fmt: skip
def test_joining(name, key):
    theirs = getattr(np, name)
    check(getattr(fnp, name)[key], np.asarray(theirs[key]))


def test_scalars_and_lists():
    check(fnp.r_[V, 0, [7, 8.5]], np.r_[V, 0, [7, 8.5]])
    check(fnp.r_[0.5], np.r_[0.5])
    check(fnp.c_[1, 2], np.c_[1, 2])
    check(fnp.c_[M, V], np.c_[M, V])
    assert fnp.r_[np.float16([1]), 2.0].dtype == "float16"


def test_index():
    assert fnp.s_[1:2, ..., None] == (slice(1, 2), ..., None)


def test_mistakes():
    with pytest.raises(errors.ArgumentError, match="mgrid: a slice must have a stop"):
        fnp.mgrid[0:]
    with pytest.raises(errors.OptionError, match="r_: the string must be"):
        fnp.r_["x", V]
    with pytest.raises(errors.ArgumentError, match="needs something to join"):
        fnp.r_["0,2"]

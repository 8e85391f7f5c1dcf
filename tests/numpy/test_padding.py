import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, few, values

MODES = ["constant", "edge", "linear_ramp", "maximum", "mean", "median", "minimum", "reflect",
         "symmetric", "wrap"]  # fmt: skip
X = values((3, 4), "float64")


@pytest.mark.parametrize("mode", MODES)
@few
@hypothesis.given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=2),
    widths=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=2),
)
def test_modes(mode, shape, widths):
    x = values(tuple(shape), "float64")
    widths = widths[: x.ndim]
    check(fnp.pad(x, widths, mode), np.pad(x, widths, mode), "float64", factor=20)
    i = values(tuple(shape), "int32", -9, 9)
    check(fnp.pad(i, widths, mode), np.pad(i, widths, mode), "int32")


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
@pytest.mark.parametrize("width", [(1, 1), (0, 3), (7, 2), (9, 9)])
def test_odd_reflection(mode, width):
    for x in (X, values((3, 1), "float64"), values((2, 2), "int32")):
        got = fnp.pad(x, [(0, 0), width], mode, reflect_type="odd")
        check(got, np.pad(x, [(0, 0), width], mode, reflect_type="odd"), x.dtype, factor=20)


@pytest.mark.parametrize("width", [1, (1,), (1, 2), ((1, 2),), ((1, 2), (0, 3)), ((1,), (2,)),
                                   np.array([[1, 2], [0, 3]]), {0: (1, 2)}, {-1: 3}])  # fmt: skip
def test_forms_of_widths(width):
    check(fnp.pad(X, width), np.pad(X, width))


@pytest.mark.parametrize("value", [7, (1, 2), ((1, 2), (3, 4)), ((5,), (6,))])
def test_forms_of_values(value):
    check(fnp.pad(X, 2, constant_values=value), np.pad(X, 2, constant_values=value))
    check(
        fnp.pad(X, 2, "linear_ramp", end_values=value),
        np.pad(X, 2, "linear_ramp", end_values=value),
    )


@pytest.mark.parametrize("length", [1, 2, (1, 2), ((1, 2), (2, 9))])
@pytest.mark.parametrize("mode", ["maximum", "mean", "median", "minimum"])
def test_stat_length(mode, length):
    check(fnp.pad(X, 2, mode, stat_length=length), np.pad(X, 2, mode, stat_length=length))


def test_traced_value_and_empty():
    got = fst.jit(lambda v: fnp.pad(X, 1, constant_values=v))(3.0)
    check(got, np.pad(X, 1, constant_values=3))
    check(fnp.pad(np.zeros((0, 2)), 1), np.pad(np.zeros((0, 2)), 1))
    assert fnp.pad(X, 1, "empty").shape == (5, 6)


def test_gradient():
    gradient = fst.grad(lambda x: fnp.pad(x, 2, "reflect").sum())(fnp.ones(3))
    assert gradient.tolist() == [2, 3, 2]


def test_mistakes():
    with pytest.raises(errors.OptionError, match="mode must be one of"):
        fnp.pad(X, 1, "mirror")
    with pytest.raises(errors.ArgumentError, match="'edge' does not take constant_values"):
        fnp.pad(X, 1, "edge", constant_values=1)
    with pytest.raises(errors.OptionError, match="must not be negative"):
        fnp.pad(X, -1)
    with pytest.raises(errors.ShapeError, match="a pair for each of 2 axes"):
        fnp.pad(X, ((1, 1), (1, 1), (1, 1)))
    with pytest.raises(errors.ShapeError, match="empty axis"):
        fnp.pad(np.zeros((0, 2)), 1, "edge")
    with pytest.raises(errors.OptionError, match="reflect_type must be"):
        fnp.pad(X, 1, "reflect", reflect_type="strange")

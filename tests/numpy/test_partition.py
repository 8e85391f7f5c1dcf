import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values

X = values((4, 5), "float64")


@pytest.mark.parametrize("axis", [0, -1, None])
@pytest.mark.parametrize("kth", [0, 2, -1, (1, 3)])
def test_partition(kth, axis):
    got, expected = np.asarray(fnp.partition(X, kth, axis)), np.partition(X, kth, axis)
    along = -1 if axis is None else axis
    for k in np.atleast_1d(kth):
        np.testing.assert_array_equal(got.take(k, along), expected.take(k, along))
        below, above = np.split(got, [k % got.shape[along]], along)
        assert (below.max(along, initial=-9) <= above.min(along)).all()
    np.testing.assert_array_equal(np.sort(got, along), np.sort(expected, along))
    places = np.asarray(fnp.argpartition(X, kth, axis))
    flat = X.ravel() if axis is None else X
    np.testing.assert_array_equal(np.take_along_axis(flat, places, along), got)


def test_compress():
    for condition, axis in [([0, 1, 1], 0), ([True, False], 1), ([0, 0, 1, 0, 1], None)]:
        c = np.array(condition)
        expected = np.compress(c, X, axis)
        check(fnp.compress(c, X, axis), expected)
        n = expected.shape[axis or 0]
        for size in (n - 1, n, n + 2):
            traced = fst.jit(
                lambda c, x, a=axis, k=size: fnp.compress(c, x, a, size=k, fill_value=9)
            )
            width = [(0, 0)] * expected.ndim
            width[axis or 0] = (0, max(size - n, 0))
            kept = expected.take(range(min(size, n)), axis or 0)
            check(traced(c, X), np.pad(kept, width, constant_values=9))


def test_mistakes():
    with pytest.raises(errors.OptionError, match="kth must lie within the axis of size 5, got 5"):
        fnp.partition(X, 5)
    with pytest.raises(errors.ShapeError, match="a vector of at most 4 elements"):
        fnp.compress(np.ones(5), X, 0)
    with pytest.raises(errors.AxisError):
        fnp.argpartition(X, 0, 2)

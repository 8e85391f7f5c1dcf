import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, quietly, values

X = values((40, 3), "float64")
W = values((40,), "float64", 0.1, 1)
EDGES = np.array([-2.0, -1, 0.5, 2])


@pytest.mark.parametrize("density", [None, False, True])
@pytest.mark.parametrize("weights", [None, W])
def test_against_numpy(density, weights):
    options = {"weights": weights, "density": density}
    for bins, limits in [
        (4, None), ((2, 3, 4), None), ((EDGES, 3, EDGES), None),
        (3, [(-1, 1), None, (-5, 2)]), ((2, 2, 2), [(-1, 1)] * 3),
    ]:  # fmt: skip
        counts, edges = fnp.histogramdd(X, bins, limits, **options)
        expected, expected_edges = quietly(np.histogramdd, X, bins, limits, **options)
        check(counts, expected, factor=20)
        check(edges, list(expected_edges), factor=20)
    x, y = X[:, 0], X[:, 1]
    for bins in (5, (2, 3), EDGES, (EDGES, 4), EDGES.tolist(), [EDGES, EDGES]):
        got = fnp.histogram2d(x, y, bins, **options)
        check(got, list(np.histogram2d(x, y, bins, **options)), factor=20)


def test_on_edges_and_outside():
    points = np.array([[-2.0, 2], [2, 2], [0.5, -1], [9, 0], [-3, 0], [np.nan, 0]])
    check(fnp.histogramdd(points, (EDGES, EDGES))[0], np.histogramdd(points, (EDGES, EDGES))[0])
    coordinates = (points[:3, 0], points[:3, 1])
    check(fnp.histogramdd(coordinates, 2)[0], np.histogramdd(coordinates, 2)[0])


def test_jit():
    got = fst.jit(lambda x: fnp.histogramdd(x, 3)[0])(X)
    check(got, np.histogramdd(X, 3)[0])


def test_mistakes():
    with pytest.raises(errors.ShapeError, match="bins must be given for 3 axes, got 2"):
        fnp.histogramdd(X, (2, 3))
    with pytest.raises(errors.ShapeError, match="one row for each point"):
        fnp.histogramdd(X[None])
    with pytest.raises(errors.ShapeError, match="a weight for each point"):
        fnp.histogramdd(X, weights=np.ones(3))
    with pytest.raises(errors.ShapeError, match="a y for each x"):
        fnp.histogram2d(X[:, 0], X[:3, 0])

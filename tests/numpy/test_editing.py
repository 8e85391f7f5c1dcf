import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values

X = values((3, 4), "float64")


@pytest.mark.parametrize(
    ("obj", "axis", "shape"),
    [(1, None, ()), (0, 0, (4,)), (-1, 1, (3,)), (4, 1, ()), ([1, 3, 1], 1, (3, 3)),
     ([0], 1, (3, 2)), (1, 1, (2, 3)), (slice(0, 4, 2), 1, (3, 2)), ([2, 0, -1], 0, (4,)),
     ([5, 12], None, (2,)), ([], 1, (3, 0)), (np.array([True, False, True]), 0, ())],
)  # fmt: skip
def test_insert(obj, axis, shape):
    more = values(shape, "float64", seed=9)
    check(fnp.insert(X, obj, more, axis), np.insert(X, obj, more, axis))
    check(
        fnp.insert(X.astype("int32"), obj, more, axis),
        np.insert(X.astype("int32"), obj, more, axis),
    )


def test_insert_traced():
    where = np.array([3, 0, 0])
    got = fst.jit(lambda x, i: fnp.insert(x, i, 7.0, axis=1))(X, where)
    check(got, np.insert(X, where, 7.0, axis=1))
    slope = fst.grad(lambda v: (fnp.insert(X[0], [1, 2], v) * np.arange(6)).sum())(np.ones(2))
    check(slope, np.array([1.0, 3]))


@pytest.mark.parametrize(
    ("obj", "axis"),
    [(0, None), (-1, 1), ([1, 1, 0], 0), (slice(None, None, 2), 1), ([], 1), ([3, -4], 1),
     (np.array([True, False, True]), 0)],
)  # fmt: skip
def test_delete(obj, axis):
    check(fnp.delete(X, obj, axis), np.delete(X, obj, axis))


def test_delete_traced():
    check(fst.jit(lambda x, i: fnp.delete(x, i, 1))(X, -2), np.delete(X, -2, 1))
    places = np.array([3, 0])
    unique = fst.jit(lambda x, i: fnp.delete(x, i, 1, assume_unique_indices=True))
    check(unique(X, places), np.delete(X, places, 1))
    with pytest.raises(errors.ConcretizationTypeError, match="assume_unique_indices=True"):
        fst.jit(fnp.delete)(X, places)


@pytest.mark.parametrize("shape", [(), 5, (0,), (2, 3), (5, 4), (13,), (2, 0)])
def test_resize(shape):
    check(fnp.resize(X, shape), np.resize(X, shape))
    check(fnp.resize(np.zeros(0), shape), np.zeros(shape))


def test_block():
    a, b, c = np.ones((2, 2)), np.zeros((2, 3)), np.arange(5)
    for nested in ([[a, b], [c]], [a, b], a, [[a], [b[:, :2]]], [1, 2.5], [[[a], [a]]], [[1]]):
        check(fnp.block(nested), np.block(nested))


def test_mistakes():
    with pytest.raises(errors.OutOfBoundsError, match="insert: a place is outside"):
        fnp.insert(X, 5, 0.0, axis=1)
    with pytest.raises(errors.OutOfBoundsError, match="delete: a place is outside"):
        fnp.delete(X, [0, 4], axis=1)
    with pytest.raises(errors.ArgumentError, match="places must be integers"):
        fnp.delete(X, 1.0)
    with pytest.raises(errors.ShapeError, match=r"values must broadcast to \(3, 2\)"):
        fnp.insert(X, [0, 1], np.ones(3), axis=1)
    with pytest.raises(errors.ShapeError, match="a mask must have 4 elements"):
        fnp.delete(X, np.array([True]), axis=1)
    with pytest.raises(errors.ShapeError, match="a scalar or a vector"):
        fnp.delete(X, np.zeros((1, 1), int))
    with pytest.raises(errors.OptionError, match="must not be negative"):
        fnp.resize(X, (-1,))
    with pytest.raises(errors.ShapeError, match="equally deep"):
        fnp.block([[X], X])
    with pytest.raises(errors.ShapeError, match="an empty list"):
        fnp.block([])

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values


def test_triangles_and_diagonals():
    for args in [(3,), (3, 1), (4, -1, 2)]:
        check(fnp.tril_indices(*args), np.tril_indices(*args), "int32")
        check(fnp.triu_indices(*args), np.triu_indices(*args), "int32")
    x = values((3, 4), "float32")
    check(fnp.tril_indices_from(x, 1), np.tril_indices_from(x, 1), "int32")
    check(fnp.triu_indices_from(x), np.triu_indices_from(x), "int32")
    check(fnp.diag_indices(3, 3), np.diag_indices(3, 3), "int32")
    check(fnp.diag_indices_from(x[:, :3]), np.diag_indices_from(x[:, :3]), "int32")
    with pytest.raises(errors.ShapeError, match="all of one size"):
        fnp.diag_indices_from(x)
    with pytest.raises(errors.ShapeError, match="takes a matrix"):
        fnp.tril_indices_from(x[0])


def test_unravel_index():
    i = np.array([[0, 5], [11, 7]], np.int32)
    check(fnp.unravel_index(i, (3, 4)), np.unravel_index(i, (3, 4)), "int32")
    check(fnp.unravel_index(i, 12), np.unravel_index(i, 12), "int32")
    for order in "CF":
        expected = np.unravel_index(i, (3, 4), order)
        check(fnp.unravel_index(i, (3, 4), order), expected, "int32")
        check(fst.jit(lambda i, o=order: fnp.unravel_index(i, (3, 4), o))(i), expected, "int32")
    with pytest.raises(errors.OptionError, match="order must be 'C' or 'F', got 'K'"):
        fnp.unravel_index(i, (3, 4), "K")
    assert [int(j) for j in fnp.unravel_index(-1, (3, 4))] == [2, 3]
    assert [int(j) for j in fnp.unravel_index(99, (3, 4))] == [2, 3]
    with pytest.raises(errors.ArgumentError, match="must be integers"):
        fnp.unravel_index(1.0, (3, 4))


def test_ravel_multi_index():
    multi = (np.array([2, 0, 1], np.int32), np.array([3, 1, 0], np.int32))
    for order in "CF":
        expected = np.ravel_multi_index(multi, (3, 4), order=order)
        check(fnp.ravel_multi_index(multi, (3, 4), order=order), expected, "int32")
    outside = (np.array([-1, 5], np.int32), np.array([4, -9], np.int32))
    for mode in ("wrap", "clip"):
        expected = np.ravel_multi_index(outside, (3, 4), mode=mode)
        check(fnp.ravel_multi_index(outside, (3, 4), mode), expected, "int32")
    with pytest.raises(errors.OutOfBoundsError, match="out of bounds for an axis of size 3"):
        fnp.ravel_multi_index(outside, (3, 4))
    with pytest.raises(errors.ConcretizationTypeError, match="mode='wrap'"):
        fst.jit(lambda m: fnp.ravel_multi_index(m, (3, 4)))(multi)


def test_dtype_of_ravel_multi_index():
    near = (np.array([-1, 2], np.int8), np.array([100, 3], np.int8))
    for mode in ("wrap", "clip"):
        expected = np.ravel_multi_index(near, (300, 200), mode=mode)
        for dtype in ("int64", "int32", "uint16"):
            got = fnp.ravel_multi_index(near, (300, 200), mode, dtype=dtype)
            check(got, expected, dtype)
    one = np.array([1], np.int8)
    check(fnp.ravel_multi_index((one, one), (3, 4)), np.array([5]), "int8")
    check(fnp.ravel_multi_index((), ()), 0, "int32")
    with pytest.raises(errors.DtypeError, match=r"int8 cannot count all places of \(30, 40\)"):
        fnp.ravel_multi_index((one, one), (30, 40))
    with pytest.raises(errors.DtypeError, match="dtype must be an integer, got float32"):
        fnp.ravel_multi_index((one, one), (3, 4), dtype="float32")


def test_choose():
    which = np.array([[0, 1], [2, 1]], np.int32)
    choices = [values((2, 2), "float32"), np.float32(9), values((2,), "float32")]
    check(fnp.choose(which, choices), np.choose(which, choices), "float32")
    for mode in ("wrap", "clip"):
        check(
            fnp.choose(which * 3 - 2, choices, mode=mode),
            np.choose(which * 3 - 2, choices, mode=mode),
        )
    with pytest.raises(errors.OutOfBoundsError, match=r"\[0, 3\)"):
        fnp.choose(which + 1, choices)
    with pytest.raises(errors.ArgumentError, match="must be integers"):
        fnp.choose(1.5, choices)

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values


def test_piecewise():
    x = values((2, 5), "float64")
    cases = [
        ([x < 0, x > 1], [lambda v: -v, lambda v: v * 2]),
        ([x < 0, x > 1], [lambda v: -v, 3, lambda v: v + 1]),
        ([x < 0, x < 1], [1, 2, 4]),
    ]
    for conditions, functions in cases:
        expected = np.piecewise(x, conditions, functions)
        check(fnp.piecewise(x, conditions, functions), expected)
        check(fst.jit(lambda v, c, f=functions: fnp.piecewise(v, c, f))(x, conditions), expected)
    check(fnp.piecewise(x[0], x[0] < 0, [5, 6]), np.piecewise(x[0], x[0] < 0, [5, 6]))
    ints = np.arange(4)
    check(fnp.piecewise(ints, [ints < 2], [lambda v: v * 1.5, 7.9]),
          np.piecewise(ints, [ints < 2], [lambda v: v * 1.5, 7.9]), "int64")  # fmt: skip
    check(
        fnp.piecewise(x, np.stack([x < 0, x > 1]), [1, 2]), np.piecewise(x, [x < 0, x > 1], [1, 2])
    )
    check(fnp.piecewise(x, [x < 0], [lambda v, a, b: v * a + b], 2, b=1),
          np.piecewise(x, [x < 0], [lambda v, a, b: v * a + b], 2, b=1))  # fmt: skip
    slope = fst.grad(lambda v: fnp.piecewise(v, [v < 0], [lambda v: v * 3, lambda v: v**2]).sum())
    check(slope(x), np.where(x < 0, 3, 2 * x))
    with pytest.raises(errors.ArgumentError, match="needs 1 or 2 functions"):
        fnp.piecewise(x, [x < 0], [])


def test_fromfunction():
    check(
        fnp.fromfunction(lambda i, j: i + 2 * j, (3, 2)),
        np.fromfunction(lambda i, j: i + 2 * j, (3, 2)),
        "float32",
    )
    got = fnp.fromfunction(lambda i, k=1: i * k, (4,), dtype=int, k=3)
    check(got, np.arange(4) * 3, "int32")
    check(fnp.fromfunction(lambda i, j: 1.0, (2, 3)), np.ones((2, 3)))
    check(fnp.fromfunction(lambda i: fnp.arange(2) + i, (3,)), np.arange(3)[:, None] + np.arange(2))
    assert fnp.fromfunction(lambda: 2.0, ()) == 2


@pytest.mark.parametrize("axis", [0, -1])
def test_unwrap(axis):
    x = values((4, 6), "float64", -20, 20)
    for options in ({}, {"discont": 5.0}, {"period": 3.0}, {"period": 3.0, "discont": 2.0}):
        check(fnp.unwrap(x, axis=axis, **options), np.unwrap(x, axis=axis, **options), factor=20)
    ints = values((4, 6), "int32", -20, 20)
    for period in (4, 5):
        check(
            fnp.unwrap(ints, axis=axis, period=period),
            np.unwrap(ints, axis=axis, period=period),
            "int32",
        )
    check(fst.grad(lambda v: fnp.unwrap(v, axis=axis).sum())(x), np.ones((4, 6)))
    check(fnp.unwrap(x[:0], axis=axis), np.unwrap(x[:0], axis=axis))


def test_unwrap_of_half_periods():
    x = np.array([0, 2, 4, 2, 0, 1.0])
    check(fnp.unwrap(x, period=4.0), np.unwrap(x, period=4.0))
    check(fnp.unwrap(x.astype(int), period=4), np.unwrap(x.astype(int), period=4))
    with pytest.raises(errors.ArgumentError, match="unwrap: takes real numbers"):
        fnp.unwrap(np.ones(2) + 1j)


def test_einsum_path():
    shapes = [(2, 30), (30, 4), (4, 5)]
    arrays = [fnp.ones(s) for s in shapes]
    path, report = fnp.einsum_path("ij,jk,kl->il", *arrays)
    assert path == [(0, 1), (0, 1)]
    assert "Optimized" in str(report)
    lists = fnp.einsum_path(arrays[0], [0, 1], arrays[1], [1, 2], arrays[2], [2, 3], [0, 3])
    assert lists[0] == path
    check(fnp.einsum("ij,jk,kl->il", *arrays, optimize=path), np.full((2, 5), 120.0))

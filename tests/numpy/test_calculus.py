import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values

X = values((4, 5), "float64")


class TestDiff:
    @pytest.mark.parametrize("n", [0, 1, 2, 6])
    @pytest.mark.parametrize("axis", [0, -1])
    def test_against_numpy(self, n, axis):
        check(fnp.diff(X, n, axis), np.diff(X, n, axis))
        b = X > 0
        check(fnp.diff(b, n, axis), np.diff(b, n, axis), "bool")

    def test_ends(self):
        check(fnp.diff(X, prepend=0.0), np.diff(X, prepend=0.0))
        check(fnp.diff(X, axis=0, append=X[:2]), np.diff(X, axis=0, append=X[:2]))
        check(fnp.ediff1d(X, 9.0, np.array([1.0, 2.0])), np.ediff1d(X, 9.0, np.array([1.0, 2.0])))

    def test_mistakes(self):
        with pytest.raises(errors.ShapeError, match="at least 1 axis"):
            fnp.diff(1.0)
        with pytest.raises(errors.OptionError, match="n must not be negative"):
            fnp.diff(X, -1)


class TestGradient:
    @pytest.mark.parametrize("edge_order", [1, 2])
    def test_spacings(self, edge_order):
        places = np.array([0, 1, 1.5, 4, 7.0])
        for args, axis in [((), None), ((2.0,), None), ((2.0, 0.5), None), ((places,), 1),
                           ((3.0, places), (0, 1)), ((), -1), ((), (1, 0))]:  # fmt: skip
            got = fnp.gradient(X, *args, axis=axis, edge_order=edge_order)
            expected = np.gradient(X, *args, axis=axis, edge_order=edge_order)
            check(list(got) if isinstance(expected, (tuple, list)) else got, expected, factor=20)

    def test_mistakes(self):
        with pytest.raises(errors.ShapeError, match="at least 3 samples"):
            fnp.gradient(np.ones(2), edge_order=2)
        with pytest.raises(errors.ShapeError, match="one for each sample"):
            fnp.gradient(X, np.ones(3), axis=0)
        with pytest.raises(errors.ArgumentError, match="takes one spacing"):
            fnp.gradient(X, 1, 2, 3)


def test_trapezoid():
    places = np.array([0, 1, 1.5, 4, 7.0])
    check(fnp.trapezoid(X), np.trapezoid(X))
    check(fnp.trapezoid(X, dx=0.5, axis=0), np.trapezoid(X, dx=0.5, axis=0))
    check(fnp.trapezoid(X, places), np.trapezoid(X, places))
    check(fnp.trapezoid(X, X.cumsum(0), axis=0), np.trapezoid(X, X.cumsum(0), axis=0))


class TestInterp:
    xp = np.array([-1.0, 0, 0.5, 2])
    fp = np.array([1.0, 3, -1, 5])
    x = np.array([[-2, -1, -0.5, 0, 0.1], [0.5, 1.9, 2, 3, np.nan]])

    def test_against_numpy(self):
        check(fnp.interp(self.x, self.xp, self.fp), np.interp(self.x, self.xp, self.fp))
        got = fnp.interp(self.x, self.xp, self.fp, -7, np.inf)
        np.testing.assert_allclose(np.asarray(got), np.interp(self.x, self.xp, self.fp, -7, np.inf))
        check(fnp.interp(0.25, self.xp, self.fp), np.interp(0.25, self.xp, self.fp))
        check(
            fnp.interp(self.x, self.xp[:1], self.fp[:1]),
            np.interp(self.x, self.xp[:1], self.fp[:1]),
        )

    def test_period(self):
        x = np.array([-5, -0.3, 0, 0.9, 4.2, 17])
        xp, fp = np.array([3.0, 0.5, 1.5]), np.array([1.0, 5, 2])
        check(fnp.interp(x, xp, fp, period=4.0), np.interp(x, xp, fp, period=4.0), factor=20)

    def test_gradient_and_dtype(self):
        slope = fst.grad(lambda x: fnp.interp(x, self.xp, self.fp))(0.25)
        assert float(slope) == -8
        values_ = fst.grad(lambda fp: fnp.interp(0.25, self.xp, fp))(self.fp)
        assert values_.tolist() == [0, 0.5, 0.5, 0]
        assert fnp.interp(np.int32(1), np.arange(3, dtype="int32"), np.ones(3, "float16")).dtype

    def test_mistakes(self):
        with pytest.raises(errors.ShapeError, match="vectors of one size"):
            fnp.interp(0.5, self.xp, self.fp[:2])


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("n", "m"), [(5, 3), (3, 5), (4, 4), (1, 3), (6, 2), (2, 6), (5, 5)])
@pytest.mark.parametrize("dtype", ["float64", "int32", "complex128"])
def test_convolve_and_correlate(mode, n, m, dtype):
    x, y = values((n,), dtype), values((m,), dtype, seed=3)
    check(fnp.convolve(x, y, mode), np.convolve(x, y, mode), dtype)
    check(fnp.correlate(x, y, mode), np.correlate(x, y, mode), dtype)


@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_options_of_convolve(name):
    own, theirs = getattr(fnp, name), getattr(np, name)
    x, y = values((5,), "int8"), values((3,), "int8", seed=3)
    wide = theirs(x.astype("float32"), y.astype("float32"), "full")
    check(own(x, y, "full", preferred_element_type="float32"), wide, "float32")
    check(own(x * 1.0, y * 1.0, "full", precision="highest"), wide, "float64")
    with pytest.raises(errors.OptionError, match=f"{name}: precision must be"):
        own(x, y, precision="best")


def test_convolve_mistakes():
    with pytest.raises(errors.OptionError, match="mode must be"):
        fnp.convolve(np.ones(2), np.ones(2), "half")
    with pytest.raises(errors.ShapeError, match="two vectors"):
        fnp.convolve(X, X)
    with pytest.raises(errors.ShapeError, match="with elements"):
        fnp.convolve(np.ones(0), np.ones(2))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_apply_along_axis(axis):
    x = values((2, 3, 4), "float64")
    for own, theirs in [(fnp.sum, np.sum), (fnp.cumsum, np.cumsum),
                        (lambda v: fnp.outer(v, v), lambda v: np.outer(v, v))]:  # fmt: skip
        check(fnp.apply_along_axis(own, axis, x), np.apply_along_axis(theirs, axis, x))
    check(fnp.apply_along_axis(lambda v, k: v * k, axis, x, 3.0), x * 3)


def test_apply_over_axes():
    x = values((2, 3, 4), "float64")
    check(fnp.apply_over_axes(fnp.sum, x, (0, 2)), np.apply_over_axes(np.sum, x, (0, 2)))
    with pytest.raises(errors.ShapeError, match="keep or drop"):
        fnp.apply_over_axes(lambda x, axis: fnp.zeros(()), x, (0,))

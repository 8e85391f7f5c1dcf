import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, few, shape_and_axes, values

METHODS = ["linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf"]
FRACTIONS = np.array([0, 0.2, 0.25, 0.5, 0.7, 1])


class TestQuantiles:
    @few
    @hypothesis.given(case=shape_and_axes(min_side=1), keepdims=st.booleans(), data=st.data())
    def test_along_axes(self, case, keepdims, data):
        shape, axis = case
        axis = None if axis == () else axis
        x = values(shape, data.draw(st.sampled_from(["float32", "float64"])))
        check(
            fnp.median(x, axis, keepdims=keepdims), np.median(x, axis, keepdims=keepdims), x.dtype
        )
        q = data.draw(st.sampled_from([0.3, [0.0, 1.0], [[0.1, 0.5, 0.9]]]))
        expected = np.quantile(x, np.array(q, x.dtype), axis, keepdims=keepdims)
        check(fnp.quantile(x, np.array(q), axis, keepdims=keepdims), expected, x.dtype, factor=20)

    @pytest.mark.parametrize("method", METHODS)
    def test_methods(self, method):
        for n in (4, 5):
            x = values((n,), "float64")
            q = np.array([0, 0.2, 0.25, 0.5, 0.7, 1])
            check(fnp.quantile(x, q, method=method), np.quantile(x, q, method=method), factor=20)
            check(
                fnp.percentile(x, 100 * q, method=method),
                np.percentile(x, 100 * q, method=method),
                factor=20,
            )

    def test_nan_and_infinity(self):
        x = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, np.inf]])
        assert np.isnan(fnp.median(x, 1)).tolist() == [True, False]
        assert fnp.quantile(x[1], np.array([0.5, 1.0])).tolist() == [2, np.inf]

    def test_fractions_in_full_precision(self):
        x = values((7,), "float64")
        for q in (0.3, np.array(0.3), 0, 1):
            check(fnp.quantile(x, q), np.quantile(x, q), factor=20)
        for q in (30, 30.5, np.array([5, 30], "int32")):
            check(fnp.percentile(x, q), np.percentile(x, q), factor=20)
            check(fnp.nanpercentile(x, q), np.percentile(x, q), factor=20)

    def test_integers_give_floats(self):
        check(fnp.median(np.array([1, 2, 4, 8], "int32")), 3.0, "float32")

    def test_mistakes(self):
        with pytest.raises(errors.OptionError, match="method must be one of"):
            fnp.quantile(np.ones(3), 0.5, method="best")
        with pytest.raises(errors.ShapeError, match="no elements"):
            fnp.median(np.ones(0))
        with pytest.raises(errors.OptionError, match="overwrite_input"):
            fnp.median(np.ones(3), overwrite_input=True)

    def test_gradient_of_a_median(self):
        assert fst.grad(fnp.median)(fnp.array([3.0, 1.0, 2.0])).tolist() == [0, 0, 1]
        assert fst.grad(fnp.median)(fnp.array([3.0, 1.0])).tolist() == [0.5, 0.5]


class TestWithoutNan:
    x = values((3, 4, 5), "float64")
    x[values((3, 4, 5), "float64", seed=1) > 1] = np.nan
    x[1, 2] = np.nan

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("axis", [None, 1, -1, (0, 2)])
    @pytest.mark.filterwarnings("ignore:All-NaN slice")
    def test_methods(self, method, axis):
        options = {"axis": axis, "method": method, "keepdims": True}
        expected = np.nanquantile(self.x, FRACTIONS, **options)
        check(fnp.nanquantile(self.x, FRACTIONS, **options), expected, factor=20)
        check(fnp.nanpercentile(self.x, 100 * FRACTIONS, **options), expected, factor=20)

    @pytest.mark.filterwarnings("ignore:All-NaN slice")
    def test_median(self):
        for axis in (None, 0, (1, 2)):
            check(fnp.nanmedian(self.x, axis), np.nanmedian(self.x, axis))
        check(fnp.nanmedian(self.x, -1, keepdims=True), np.nanmedian(self.x, -1, keepdims=True))
        assert np.isnan(fnp.nanmedian(np.array([np.nan, np.nan])))
        check(fnp.nanmedian(np.array([1, 2, 4, 8], "int32")), 3.0, "float32")

    def test_infinities(self):
        x = np.array([np.nan, -np.inf, 1.0, np.inf])
        assert fnp.nanquantile(x, np.array([0.0, 0.5, 0.75, 1.0])).tolist() == [
            -np.inf, 1, np.inf, np.inf,
        ]  # fmt: skip

    def test_gradient(self):
        x = np.array([[3.0, np.nan, 2.0], [np.nan, 1.0, 5.0]])
        slope = fst.grad(lambda x: fnp.nanmedian(x, 1).sum())(x)
        assert slope.tolist() == [[0.5, 0, 0.5], [0, 0.5, 0.5]]
        slope = fst.grad(lambda x: fnp.nanquantile(x, 0.25, 1).sum())(x)
        assert slope.tolist() == [[0.25, 0, 0.75], [0, 0.75, 0.25]]

    def test_jit_and_vmap(self):
        for name in ("nanmedian", "nanquantile", "nanpercentile"):
            more = () if name == "nanmedian" else (0.3,)
            f = getattr(fnp, name)
            one = np.stack([np.asarray(f(x, *more)) for x in self.x])
            check(fst.vmap(lambda x, f=f, more=more: f(x, *more))(self.x), one)
            check(fst.jit(lambda x, f=f, more=more: f(x, *more, axis=(1, 2)))(self.x), one)


class TestWeights:
    x = values((3, 4, 5), "float64")
    whole = np.random.default_rng(0).integers(0, 4, (3, 4, 5))
    whole[..., 1] += 1
    shares = np.random.default_rng(1).random((3, 4, 5))

    @pytest.mark.parametrize("axis", [None, 1, (2, 0)])
    def test_of_all_elements(self, axis):
        for weights in (self.whole, self.shares):
            options = {"axis": axis, "method": "inverted_cdf", "weights": weights}
            expected = np.quantile(self.x, FRACTIONS, **options)
            check(fnp.quantile(self.x, FRACTIONS, **options), expected, "float64")
            check(fnp.percentile(self.x, 100 * FRACTIONS, **options), expected, "float64")
            check(fnp.nanquantile(self.x, FRACTIONS, **options), expected, "float64")

    def test_of_an_axis(self):
        options = {"axis": 1, "method": "inverted_cdf", "weights": np.array([1, 0, 3, 2])}
        check(fnp.quantile(self.x, 0.4, **options), np.quantile(self.x, 0.4, **options))
        options = {"axis": (2, 0), "method": "inverted_cdf", "weights": self.whole[:, 0].T}
        check(fnp.quantile(self.x, 0.4, **options), np.quantile(self.x, 0.4, **options))

    def test_of_nan(self):
        x = self.x.copy()
        x[0, 1:3, 2] = np.nan
        options = {"axis": None, "method": "inverted_cdf", "weights": self.shares}
        expected = np.nanquantile(x, FRACTIONS, **options)
        check(fnp.nanquantile(x, FRACTIONS, **options), expected)
        check(fnp.nanpercentile(x, 100 * FRACTIONS, **options), expected)
        assert np.isnan(fnp.quantile(x, 0.5, **options))
        # Whatever the weight of NaN is.
        assert float(fnp.nanquantile(np.array([2.0, np.nan]), 0.5, method="inverted_cdf",
                                     weights=np.array([1.0, -1.0]))) == 2  # fmt: skip

    @pytest.mark.parametrize("bad", [[0, 0, 0], [1, -1, 1], [1, np.nan, 1]])
    def test_weights_that_are_none(self, bad):
        for f in (fnp.quantile, fnp.nanquantile):
            got = f(np.arange(3.0), 0.5, method="inverted_cdf", weights=np.array(bad))
            assert np.isnan(got)

    def test_hundredths(self):
        q = np.arange(1, 101) / 100
        x, one = np.arange(100.0), np.ones(100)
        check(fnp.quantile(x, q, method="inverted_cdf", weights=one), x)

    def test_transforms(self):
        def f(x, w):
            return fnp.quantile(x, 0.4, method="inverted_cdf", weights=w)

        expected = [np.quantile(x, 0.4, method="inverted_cdf", weights=w)
                    for x, w in zip(self.x[0], self.whole[0], strict=True)]  # fmt: skip
        check(fst.vmap(f)(self.x[0], self.whole[0]), np.array(expected))
        check(fst.jit(fst.vmap(f))(self.x[0], self.whole[0]), np.array(expected))
        slopes = fst.grad(f, (0, 1))(self.x[0, 0], self.shares[0, 0])
        assert slopes[0].tolist() == [float(y == f(self.x[0, 0], self.shares[0, 0]))
                                      for y in self.x[0, 0]]  # fmt: skip
        assert slopes[1].tolist() == [0] * 5

    def test_mistakes(self):
        with pytest.raises(errors.OptionError, match="weights need method='inverted_cdf'"):
            fnp.quantile(np.ones(3), 0.5, weights=np.ones(3))
        with pytest.raises(errors.ShapeError, match="nanquantile: weights must have the shape"):
            fnp.nanquantile(np.ones(3), 0.5, method="inverted_cdf", weights=np.ones(2))
        with pytest.raises(errors.DtypeError, match="weights must be real"):
            fnp.quantile(np.ones(3), 0.5, method="inverted_cdf", weights=np.ones(3) * 1j)

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import (
    ALL,
    FLOATS,
    NUMBERS,
    REALS,
    check,
    few,
    quietly,
    shape_and_axes,
    values,
)

OF_ANY_SIZE = {"sum": ALL, "prod": ALL, "all": ALL, "any": ALL, "count_nonzero": ALL}
OF_SOME = {
    "max": REALS,
    "min": REALS,
    "ptp": REALS,
    "mean": NUMBERS,
    "var": NUMBERS,
    "std": NUMBERS,
}
NAN = ["nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd"]


def wide(x):
    return x if x.dtype.kind in "bfc" else x.astype(np.int64)


@pytest.mark.parametrize("name", OF_ANY_SIZE)
@few
@hypothesis.given(case=shape_and_axes(), keepdims=st.booleans(), data=st.data())
def test_reductions_of_any_size(name, case, keepdims, data):
    shape, axis = case
    x = values(shape, data.draw(st.sampled_from(OF_ANY_SIZE[name])))
    got = getattr(fnp, name)(x, axis, keepdims=keepdims)
    expected = getattr(np, name)(wide(x), axis, keepdims=keepdims)
    check(got, expected)


@pytest.mark.parametrize("name", OF_SOME)
@few
@hypothesis.given(case=shape_and_axes(min_side=1), keepdims=st.booleans(), data=st.data())
def test_reductions_of_some_elements(name, case, keepdims, data):
    shape, axis = case
    x = values(shape, data.draw(st.sampled_from(OF_SOME[name])))
    got = getattr(fnp, name)(x, axis, keepdims=keepdims)
    # In float64: the mean of small integers is rounded twice in NumPy.
    expected = quietly(getattr(np, name), x, axis, keepdims=keepdims)
    check(got, expected, factor=20)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@few
@hypothesis.given(case=shape_and_axes(min_side=1), keepdims=st.booleans(), data=st.data())
def test_places(name, case, keepdims, data):
    shape, axis = case
    axis = None if isinstance(axis, tuple) else axis
    x = values(shape, data.draw(st.sampled_from(REALS)))
    expected = getattr(np, name)(x, axis, keepdims=keepdims)
    check(getattr(fnp, name)(x, axis, keepdims=keepdims), expected, "int32")


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@few
@hypothesis.given(case=shape_and_axes(), data=st.data())
def test_running_totals(name, case, data):
    shape, axis = case
    axis = None if isinstance(axis, tuple) else axis
    x = values(shape, data.draw(st.sampled_from(["bool", "int8", "int64", *FLOATS])))
    check(getattr(fnp, name)(x, axis), getattr(np, name)(wide(x), axis))


@pytest.mark.parametrize("name", NAN)
@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
def test_nan_is_left_out(name, axis):
    x = values((3, 4), "float64")
    x[0, 1] = x[1] = np.nan
    expected = getattr(np, name)(x, axis)
    check(getattr(fnp, name)(x, axis), expected, "float64")
    i = values((3, 4), "int32")
    check(getattr(fnp, name)(i, axis), getattr(np, name)(i.astype("int64"), axis), factor=20)


@pytest.mark.parametrize("name", ["nancumsum", "nancumprod"])
def test_running_without_nan(name):
    own, theirs = getattr(fnp, name), getattr(np, name)
    x = values((3, 4), "float64")
    x[0, 1] = x[1] = np.nan
    for axis in (None, 0, -1):
        check(own(x, axis), theirs(x, axis), "float64")
        check(fst.jit(lambda x, a=axis: own(x, a))(x), theirs(x, axis))
    check(own(x, 0, "float32"), theirs(x, 0), "float32")
    check(own(values((3, 4), "int8"), 1), theirs(values((3, 4), "int8"), 1), "int32")
    check(fst.vmap(own)(x), theirs(x, 1))
    slope = fst.grad(lambda x: own(x, 1)[:, -1].sum())(x)
    filled = np.where(np.isnan(x), 1, x)
    steps = np.ones((3, 4)) if name == "nancumsum" else filled.prod(1, keepdims=True) / filled
    check(slope, np.where(np.isnan(x), 0, steps), factor=20)


@pytest.mark.parametrize("name", ["nanmax", "nanmean", "nanvar"])
def test_nothing_but_nan(name):
    assert np.isnan(getattr(fnp, name)(np.array([np.nan, np.nan])))
    assert float(fnp.nansum(np.array([np.nan, np.nan]))) == 0


def test_nanargmax():
    x = np.array([[np.nan, 1.0, 3.0], [np.nan, np.nan, np.nan], [2.0, np.nan, -1.0]])
    assert fnp.nanargmax(x, 1).tolist() == [2, -1, 0]
    assert fnp.nanargmin(x, 1).tolist() == [1, -1, 2]
    assert fnp.nanargmin(x, 0).tolist() == [2, 0, 2]
    assert int(fnp.nanargmax(x)) == 2


class TestDtypes:
    @pytest.mark.parametrize(
        ("given", "total"),
        [
            ("bool", "int32"),
            ("int8", "int32"),
            ("uint8", "uint32"),
            ("int64", "int64"),
            ("float16", "float16"),
            ("bfloat16", "bfloat16"),
            ("float64", "float64"),
        ],
    )
    def test_sum_and_product(self, given, total):
        x = fnp.ones(4, given)
        for function in (fnp.sum, fnp.prod, fnp.cumsum):
            assert function(x).dtype.name == total
        assert fnp.sum(x, dtype="complex64").dtype == np.complex64

    def test_default_of_64_bits(self):
        with fst.config.override(default_dtype_bits=64):
            assert fnp.sum(fnp.ones(4, "int8")).dtype == np.int64
            assert fnp.mean(fnp.ones(4, "int8")).dtype == np.float64

    def test_small_integers_do_not_overflow(self):
        assert int(fnp.sum(fnp.full(1000, 100, "int8"))) == 100_000
        assert fnp.sum(fnp.ones(3, "int8"), promote_integers=False).dtype == np.int8

    def test_halves_are_added_in_float32(self):
        x = np.full(4096, 1.0, np.float16)
        assert float(fnp.sum(x)) == 4096
        assert float(fnp.mean(x)) == 1
        assert fnp.mean(x).dtype == np.float16

    def test_mean_and_variance_of_integers_are_floats(self):
        x = np.arange(4, dtype=np.int32)
        assert fnp.mean(x).dtype == fnp.var(x).dtype == np.float32
        assert fnp.var(np.array([1j, 2])).dtype == np.float64

    def test_weakness_is_kept(self):
        assert fnp.sum(fnp.asarray(2.0)).weak_type
        assert not fnp.sum(fnp.ones(2)).weak_type


class TestWhereAndInitial:
    x = values((3, 4), "float64")
    mask = values((3, 4), "bool")

    @pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "all", "any"])
    @pytest.mark.parametrize("axis", [None, 0, 1])
    def test_where(self, name, axis):
        mask = self.mask.copy()
        mask[0], mask[:, 0] = True, True
        expected = getattr(np, name)(self.x, axis, where=mask)
        check(getattr(fnp, name)(self.x, axis, where=mask), expected)

    @pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
    def test_initial(self, name):
        for where in (None, self.mask):
            options = {} if where is None else {"where": where}
            expected = getattr(np, name)(self.x, 0, initial=2.0, **options)
            check(getattr(fnp, name)(self.x, 0, initial=2.0, **options), expected)

    def test_where_broadcasts(self):
        row = np.array([True, False, True, True])
        check(fnp.sum(self.x, 1, where=row), np.sum(self.x, 1, where=row))
        check(fnp.mean(self.x, 1, where=row), np.mean(self.x, 1, where=row))

    def test_initial_of_no_elements(self):
        x = np.zeros((0, 3))
        check(fnp.max(x, 0, initial=-1.0), np.max(x, 0, initial=-1.0))
        check(fnp.max(x, 0, initial=-1.0, keepdims=True), np.full((1, 3), -1.0))

    def test_extrema_need_initial(self):
        with pytest.raises(errors.OptionError, match="`initial` must be given"):
            fnp.max(self.x, where=self.mask)
        with pytest.raises(errors.ShapeError, match="no result for no elements"):
            fnp.min(np.zeros((2, 0)), 1)
        check(fnp.min(np.zeros((2, 0)), 0), np.zeros(0))
        with pytest.raises(errors.ShapeError, match="initial must be a scalar"):
            fnp.sum(self.x, initial=np.ones(2))


class TestVariance:
    x = values((5, 3), "float64")

    def test_ddof_and_correction(self):
        check(fnp.var(self.x, 0, ddof=1), np.var(self.x, 0, ddof=1))
        check(fnp.std(self.x, 0, correction=1), np.std(self.x, 0, ddof=1))
        with pytest.raises(errors.ArgumentError, match="ddof or correction"):
            fnp.var(self.x, ddof=1, correction=1)

    def test_known_mean(self):
        mean = self.x.mean(0, keepdims=True)
        check(fnp.var(self.x, 0, mean=mean), np.var(self.x, 0))

    def test_of_complex_numbers(self):
        z = values((6,), "complex128")
        check(fnp.var(z), np.var(z))


class TestAverage:
    x = values((3, 4), "float64")

    def test_weights(self):
        for axis, shape in [(None, (3, 4)), (0, (3,)), (1, (4,)), (1, (3, 4)), ((0, 1), (3, 4))]:
            w = values(shape, "float64", 0.1, 1)
            check(fnp.average(self.x, axis, w), np.average(self.x, axis, w))
            check(list(fnp.average(self.x, axis, w, True)), list(np.average(self.x, axis, w, True)))
        check(fnp.average(self.x, 0, keepdims=True), np.average(self.x, 0, keepdims=True))
        check(
            fnp.average(self.x, (1, 0), values((4, 3), "float64", 0.1, 1)),
            np.average(self.x.T, (0, 1), values((4, 3), "float64", 0.1, 1)),
        )

    def test_weights_that_do_not_fit(self):
        with pytest.raises(errors.ShapeError, match="weights must have the shape"):
            fnp.average(self.x, 0, np.ones(4))


def test_cumulative_sum_and_product():
    x = values((2, 3), "float64")
    check(
        fnp.cumulative_sum(x, axis=1, include_initial=True),
        np.cumulative_sum(x, axis=1, include_initial=True),
    )
    check(
        fnp.cumulative_prod(x[0], include_initial=True),
        np.cumulative_prod(x[0], include_initial=True),
    )
    with pytest.raises(errors.ArgumentError, match="axis must be given"):
        fnp.cumulative_sum(x)


def test_out_is_refused():
    with pytest.raises(errors.ArgumentError, match="sum: arrays are immutable, so out"):
        fnp.sum(np.ones(3), out=np.zeros(()))


def test_axes_that_do_not_exist():
    with pytest.raises(errors.AxisError, match="sum: axis 2"):
        fnp.sum(np.ones((2, 2)), 2)
    with pytest.raises(errors.AxisError, match="distinct"):
        fnp.sum(np.ones((2, 2)), (0, -2))


def test_gradients():
    x = fnp.array([1.0, 3.0, 3.0])
    assert fst.grad(fnp.max)(x).tolist() == [0, 0.5, 0.5]
    assert fst.grad(fnp.mean)(x).tolist() == pytest.approx([1 / 3] * 3)
    assert fst.grad(fnp.var)(x).tolist() == pytest.approx(((x - 7 / 3) * 2 / 3).tolist())
    masked = fst.grad(lambda x: fnp.mean(x, where=np.array([True, False, True])))(x)
    assert masked.tolist() == [0.5, 0, 0.5]

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, few, filled_shapes, values

floats_with_ties = st.sampled_from([0.0, -1.0, 1.0, 2.5, np.inf, -np.inf, np.nan])


class TestSort:
    @few
    @hypothesis.given(data=st.data(), shape=filled_shapes)
    def test_along_axes(self, data, shape):
        x = data.draw(hnp.arrays("float32", shape, elements=floats_with_ties))
        axis = data.draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
        np.testing.assert_array_equal(np.asarray(fnp.sort(x, axis)), np.sort(x, axis))
        expected = np.argsort(x, axis, stable=True)
        check(fnp.argsort(x, axis), expected, "int32")

    def test_descending(self):
        x = np.array([2, 1, 3, 1, 2], np.int32)
        assert fnp.sort(x, descending=True).tolist() == [3, 2, 2, 1, 1]
        assert fnp.argsort(x, descending=True).tolist() == [2, 0, 4, 1, 3]
        assert fnp.sort(np.array([1, np.nan, 2]), descending=True).tolist()[1:] == [2, 1]

    def test_options(self):
        assert fnp.argsort(np.arange(3), dtype="int64").dtype == np.int64
        assert int(fnp.argsort(5)) == 0
        with pytest.raises(errors.ArgumentError, match="kind and order"):
            fnp.sort(np.arange(3), kind="stable")

    def test_lexsort(self):
        first, second = np.array([1, 5, 1, 4, 3]), np.array([9, 4, 0, 4, 0])
        check(fnp.lexsort((second, first)), np.lexsort((second, first)), "int32")

    def test_gradient(self):
        weights = np.array([1.0, 2.0, 3.0], "float32")
        gradient = fst.grad(lambda x: fnp.sum(fnp.sort(x) * weights))(fnp.array([3.0, 1.0, 2.0]))
        assert gradient.tolist() == [3, 1, 2]


class TestSearch:
    @few
    @hypothesis.given(
        edges=st.lists(floats_with_ties, max_size=9),
        v=st.lists(floats_with_ties, min_size=1, max_size=5),
        side=st.sampled_from(["left", "right"]),
    )
    def test_searchsorted(self, edges, v, side):
        a, v = np.sort(np.array(edges, "float64")), np.array(v, "float64")
        check(fnp.searchsorted(a, v, side), np.searchsorted(a, v, side), "int32")

    def test_complex_scalar_and_sorter(self):
        a = np.sort(np.array([1 + 1j, 1, 2, 0]))
        check(fnp.searchsorted(a, np.array([1 + 0.5j, 5])), np.searchsorted(a, [1 + 0.5j, 5]))
        x = np.array([3, 1, 2])
        check(fnp.searchsorted(x, 2, sorter=np.argsort(x)), np.searchsorted(np.sort(x), 2))

    @pytest.mark.parametrize("right", [False, True])
    @pytest.mark.parametrize("bins", [[1, 2, 4], [4, 2, 1], [1], [1, 1, 2]])
    def test_digitize(self, bins, right):
        x = np.array([0, 1, 1.5, 2, 3, 4, 5])
        bins = np.array(bins, "float64")
        check(fnp.digitize(x, bins, right), np.digitize(x, bins, right), "int32")

    @pytest.mark.parametrize("invert", [False, True])
    def test_isin(self, invert):
        x, tests = values((3, 4), "int32"), np.array([1, -2, 1], np.int32)
        check(fnp.isin(x, tests, invert=invert), np.isin(x, tests, invert=invert), "bool")
        check(fnp.isin(x, tests[:0], invert=invert), np.isin(x, tests[:0], invert=invert), "bool")

    def test_mistakes(self):
        with pytest.raises(errors.OptionError, match="'left' or 'right'"):
            fnp.searchsorted(np.arange(3), 1, "middle")
        with pytest.raises(errors.ShapeError, match="sorted vector"):
            fnp.searchsorted(np.ones((2, 2)), 1)


class TestNonzero:
    @few
    @hypothesis.given(shape=filled_shapes)
    def test_concrete_and_of_known_size(self, shape):
        x = values(shape, "int8", -1, 1)
        expected = np.nonzero(x)
        check(fnp.nonzero(x), expected, "int32")
        count = len(expected[0])
        check(fst.jit(lambda x: fnp.nonzero(x, size=count))(x), expected, "int32")
        check(fnp.flatnonzero(x), np.flatnonzero(x), "int32")
        check(fnp.argwhere(x), np.argwhere(x), "int32")

    def test_size_cuts_and_fills(self):
        x = np.array([0, 1, 0, 1, 1])
        assert fnp.flatnonzero(x, size=2).tolist() == [1, 3]
        assert fnp.flatnonzero(x, size=5, fill_value=-7).tolist() == [1, 3, 4, -7, -7]
        assert fnp.flatnonzero(x, size=7).tolist() == [1, 3, 4, 0, 0, 0, 0]
        rows, columns = fnp.nonzero(x.reshape(5, 1), size=4, fill_value=(8, 9))
        assert (rows.tolist(), columns.tolist()) == ([1, 3, 4, 8], [0, 0, 0, 9])

    def test_extract(self):
        x = values((2, 3), "float32")
        check(fnp.extract(x > 0, x), np.extract(x > 0, x))
        got = fst.jit(lambda x: fnp.extract(x > 0, x, size=6, fill_value=-1))(x)
        count = int((x > 0).sum())
        assert got.tolist() == [*x[x > 0].tolist(), *[-1] * (6 - count)]

    def test_traced_without_size(self):
        for function in (fnp.nonzero, fnp.flatnonzero, fnp.argwhere, fnp.unique):
            with pytest.raises(errors.ConcretizationTypeError, match="pass size"):
                fst.jit(function)(np.ones(3))

    def test_scalars(self):
        with pytest.raises(errors.ShapeError, match="at least 1 axis"):
            fnp.nonzero(1)
        assert fnp.argwhere(1).shape == np.argwhere(1).shape


class TestUnique:
    @few
    @hypothesis.given(data=st.data(), shape=filled_shapes)
    def test_against_numpy(self, data, shape):
        x = data.draw(hnp.arrays("float32", shape, elements=floats_with_ties))
        axis = data.draw(st.sampled_from([None, *range(len(shape))]))
        if axis is not None:
            x = np.nan_to_num(x, nan=5)  # NumPy cannot tell rows with NaN apart
        expected = np.unique(x, True, True, True, axis)
        size = expected[0].shape[axis or 0]
        concrete = fnp.unique(x, True, True, True, axis)
        sized = fst.jit(lambda x: fnp.unique(x, True, True, True, axis, size=size))(x)
        for found in (concrete, sized):
            np.testing.assert_array_equal(np.asarray(found[0]), expected[0])
            for got, wanted in zip(found[1:], expected[1:], strict=True):
                check(got, wanted, "int32")

    def test_size_cuts_and_fills(self):
        x = np.array([3, 1, 3, 2], np.int32)
        assert fnp.unique(x, size=2).tolist() == [1, 2]
        assert fnp.unique(x, size=5).tolist() == [1, 2, 3, 1, 1]
        found, counts = fnp.unique(x, return_counts=True, size=5, fill_value=9)
        assert (found.tolist(), counts.tolist()) == ([1, 2, 3, 9, 9], [1, 1, 2, 0, 0])

    def test_equal_nan(self):
        x = np.array([np.nan, 1.0, np.nan], "float32")
        for size, count in ((None, 3), (3, 3)):
            assert fnp.unique(x, equal_nan=False, size=size).shape == (count,)
        assert fnp.unique(x).shape == (2,)

    def test_array_api(self):
        x = np.array([[2, 1], [2, 2]], np.int32)
        for name in ("unique_all", "unique_counts", "unique_inverse"):
            got, expected = getattr(fnp, name)(x), getattr(np, name)(x)
            assert got._fields == expected._fields
            for g, e in zip(got, expected, strict=True):
                check(g, e, "int32")
        check(fnp.unique_values(x), np.unique_values(x))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize("most", [3, 10_000])
def test_long_vectors_are_sorted_stably(dtype, most):
    rng = np.random.default_rng(0)
    x = rng.integers(-most, most, 20_000).astype(dtype)
    if dtype.startswith("f"):
        x[rng.random(x.size) < 0.05] = -0.0
        x[rng.random(x.size) < 0.02] = np.nan
    assert np.asarray(fnp.sort(x)).tobytes() == np.sort(x, kind="stable").tobytes()
    np.testing.assert_array_equal(fnp.sort(np.abs(x)), np.sort(np.abs(x)))
    np.testing.assert_array_equal(fnp.argsort(x), np.argsort(x, kind="stable"))

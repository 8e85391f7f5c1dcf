import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, few, values

X = values((2, 3, 4), "float32")


class TestConcatenate:
    @few
    @hypothesis.given(
        axis=st.integers(-3, 2), sizes=st.lists(st.integers(0, 3), min_size=1, max_size=4)
    )
    def test_along_any_axis(self, axis, sizes):
        parts = []
        for i, n in enumerate(sizes):
            shape = [2, 3, 4]
            shape[axis] = n
            parts.append(values(tuple(shape), "float32", seed=i))
        check(fnp.concatenate(parts, axis), np.concatenate(parts, axis), "float32")

    def test_flat(self):
        check(fnp.concatenate([X, X[0]], None), np.concatenate([X, X[0]], None))

    def test_dtypes_promote(self):
        parts = [np.ones(1, "int32"), np.ones(2, "float16")]
        assert fnp.concatenate(parts).dtype == np.float16
        assert fnp.concatenate(parts, dtype="int8").dtype == np.int8
        assert fnp.concat(parts, axis=0).dtype == np.float16

    def test_one_array_counts_along_its_first_axis(self):
        check(fnp.concatenate(X, 1), np.concatenate(X, 1))
        check(fnp.concatenate(fnp.asarray(X), 1), np.concatenate(X, 1))

    def test_mistakes(self):
        with pytest.raises(errors.ShapeError, match="at least one array"):
            fnp.concatenate([])
        with pytest.raises(errors.ShapeError, match="concatenate"):
            fnp.concatenate([X, X[0]])
        with pytest.raises(errors.ArgumentError, match="takes a sequence"):
            fnp.concatenate(1.0)


class TestStack:
    @pytest.mark.parametrize("axis", [0, 1, -1, 3])
    def test_axis(self, axis):
        check(fnp.stack([X, X + 1], axis), np.stack([X, X + 1], axis))

    @pytest.mark.parametrize("name", ["hstack", "vstack", "dstack", "column_stack"])
    @pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4)])
    def test_others(self, name, shape):
        x, y = values(shape, "float32"), values(shape, "float32", seed=1)
        check(getattr(fnp, name)([x, y]), getattr(np, name)([x, y]))

    def test_unequal_shapes(self):
        with pytest.raises(errors.ShapeError, match="stack: arrays must have one shape"):
            fnp.stack([X, X[0]])

    def test_append(self):
        check(fnp.append(X, X[:1], 0), np.append(X, X[:1], 0))
        check(fnp.append(X, 1.0), np.append(X, 1.0), "float32")


class TestSplit:
    @pytest.mark.parametrize("cut", [1, 2, 4, [1, 3], [3, 1], [0, -1], [2, 9], np.array([1, 2])])
    def test_split(self, cut):
        check(fnp.split(X, cut, 2), np.split(X, cut, 2))

    @pytest.mark.parametrize("cut", [2, 3, 5, [1]])
    def test_array_split(self, cut):
        check(fnp.array_split(X, cut, 1), np.array_split(X, cut, 1))

    def test_along_fixed_axes(self):
        check(fnp.hsplit(X, 3), np.hsplit(X, 3))
        check(fnp.hsplit(X[0, 0], 2), np.hsplit(X[0, 0], 2))
        check(fnp.vsplit(X, 2), np.vsplit(X, 2))
        check(fnp.dsplit(X, [1]), np.dsplit(X, [1]))
        check(list(fnp.unstack(X, axis=1)), list(np.unstack(X, axis=1)))

    def test_mistakes(self):
        with pytest.raises(errors.ShapeError, match=r"array_split allows"):
            fnp.split(X, 3, 2)
        with pytest.raises(errors.OptionError, match="at least 1 part"):
            fnp.array_split(X, 0)
        with pytest.raises(errors.ShapeError, match="at least 3 axes"):
            fnp.dsplit(X[0], 2)

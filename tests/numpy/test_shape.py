import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import broadcastable, check, few, shape_and_axes, shapes, values

X = values((2, 3, 4), "float32")


class TestReshape:
    @few
    @hypothesis.given(shape=shapes, order=st.sampled_from("CF"), data=st.data())
    def test_orders(self, shape, order, data):
        x = np.arange(np.prod(shape, dtype=int), dtype=np.int32).reshape(shape)
        divisors = [n for n in (1, 2, 3, 4) if x.size % n == 0]
        first = data.draw(st.sampled_from(divisors))
        target = (first, x.size // first)
        check(fnp.reshape(x, target, order), x.reshape(target, order=order), "int32")
        check(fnp.ravel(x, order), x.ravel(order), "int32")

    def test_minus_one(self):
        check(fnp.reshape(X, (4, -1)), X.reshape(4, -1))
        check(fnp.reshape(X, -1), X.reshape(-1))
        check(fnp.reshape(np.zeros((0, 3)), (-1, 3)), np.zeros((0, 3)))

    @pytest.mark.parametrize("shape", [(5, -1), (-1, -1), (2, 2), (-1, 0)])
    def test_sizes_that_do_not_fit(self, shape):
        with pytest.raises(errors.ShapeError, match="reshape"):
            fnp.reshape(X, shape)

    def test_other_mistakes(self):
        with pytest.raises(errors.OptionError, match="order must be"):
            fnp.reshape(X, -1, "A")
        with pytest.raises(errors.ArgumentError, match="made of integers"):
            fnp.reshape(X, (2.0, 12))


class TestAxes:
    def test_reordering(self):
        check(fnp.transpose(X), X.T)
        check(fnp.transpose(X, (-1, 0, 1)), X.transpose(2, 0, 1))
        check(fnp.permute_dims(X, (1, 0, 2)), X.transpose(1, 0, 2))
        check(fnp.swapaxes(X, 0, -1), X.swapaxes(0, -1))
        check(fnp.matrix_transpose(X), X.swapaxes(-1, -2))
        for axis, start in [(2, 0), (0, 3), (1, -1), (0, 1)]:
            check(fnp.rollaxis(X, axis, start), np.rollaxis(X, axis, start))

    @few
    @hypothesis.given(data=st.data())
    def test_moveaxis(self, data):
        count = data.draw(st.integers(1, 3))
        source = data.draw(st.permutations(range(3)))[:count]
        destination = data.draw(st.permutations(range(-3, 0)))[:count]
        check(fnp.moveaxis(X, source, destination), np.moveaxis(X, source, destination))

    def test_adding_and_dropping(self):
        for axis in (0, -1, (0, 2), (1, -1)):
            check(fnp.expand_dims(X, axis), np.expand_dims(X, axis))
        y = X.reshape(2, 1, 12, 1)
        for axis in (None, 1, -1, (1, 3)):
            check(fnp.squeeze(y, axis), np.squeeze(y, axis))
        with pytest.raises(errors.ShapeError, match="squeeze"):
            fnp.squeeze(y, 0)

    @pytest.mark.parametrize("name", ["atleast_1d", "atleast_2d", "atleast_3d"])
    def test_atleast(self, name):
        for shape in ((), (3,), (2, 3), (2, 3, 4), (2, 1, 3, 4)):
            x = values(shape, "float32")
            check(getattr(fnp, name)(x), getattr(np, name)(x))
        assert isinstance(getattr(fnp, name)(X, 1.0), list)

    def test_mistakes(self):
        with pytest.raises(errors.AxisError, match="swapaxes: axis 3"):
            fnp.swapaxes(X, 0, 3)
        with pytest.raises(errors.AxisError, match="one destination for each source"):
            fnp.moveaxis(X, (0, 1), 0)
        with pytest.raises(errors.ShapeError, match="at least 2 axes"):
            fnp.matrix_transpose(X[0, 0])


class TestBroadcast:
    @few
    @hypothesis.given(shapes=broadcastable(count=3))
    def test_arrays(self, shapes):
        arrays = [values(s, "int32") for s in shapes]
        check(fnp.broadcast_arrays(*arrays), np.broadcast_arrays(*arrays), "int32")
        assert fnp.broadcast_shapes(*shapes) == np.broadcast_shapes(*shapes)
        target = np.broadcast_shapes(*shapes)
        check(fnp.broadcast_to(arrays[0], target), np.broadcast_to(arrays[0], target))

    def test_mistakes(self):
        for x, shape in [(X, (3, 4)), (X, (2, 3, 5)), (np.ones(3), (3, 1, 2))]:
            with pytest.raises(errors.ShapeError, match="broadcast_to: only axes of size 1"):
                fnp.broadcast_to(x, shape)
        with pytest.raises(errors.ShapeError, match=r"\(2,\) and \(3,\)"):
            fnp.broadcast_shapes((2,), (3,))


class TestTurning:
    @few
    @hypothesis.given(case=shape_and_axes())
    def test_flip(self, case):
        shape, axis = case
        x = values(shape, "int32")
        check(fnp.flip(x, axis), np.flip(x, axis), "int32")

    def test_flips_of_matrices(self):
        check(fnp.fliplr(X), np.fliplr(X))
        check(fnp.flipud(X), np.flipud(X))

    @pytest.mark.parametrize("k", range(-2, 6))
    @pytest.mark.parametrize("axes", [(0, 1), (2, 0), (-1, -2)])
    def test_rot90(self, k, axes):
        check(fnp.rot90(X, k, axes), np.rot90(X, k, axes))

    @pytest.mark.parametrize(
        ("shift", "axis"),
        [
            (1, None),
            (-5, None),
            (1, 0),
            (7, -1),
            (-2, 1),
            ((1, 2), (0, 2)),
            (2, (0, 1)),
            ((1, 1), (0, 0)),
            (0, 0),
        ],
    )
    def test_roll(self, shift, axis):
        check(fnp.roll(X, shift, axis), np.roll(X, shift, axis))

    def test_roll_by_a_traced_shift(self):
        for shift in (-9, -1, 0, 3, 5):
            check(fst.jit(lambda s: fnp.roll(X, s, 1))(shift), np.roll(X, shift, 1))
        check(fnp.roll(np.zeros((0, 2)), fnp.asarray(1), 0), np.zeros((0, 2)))
        with pytest.raises(errors.ArgumentError, match="shift must be an integer"):
            fnp.roll(X, fnp.asarray(1.0), 0)


class TestRepeating:
    @pytest.mark.parametrize("reps", [2, (2, 1), (1, 2, 3), (2, 1, 1, 2), (0,), ()])
    def test_tile(self, reps):
        check(fnp.tile(X, reps), np.tile(X, reps))
        check(fnp.tile(np.float32(1), reps), np.tile(np.float32(1), reps))

    @pytest.mark.parametrize(
        ("repeats", "axis"), [(2, None), (3, 1), (0, 0), ([1, 2], 0), ([0, 2, 1], -2), ([2], 1)]
    )
    def test_repeat(self, repeats, axis):
        check(fnp.repeat(X, repeats, axis), np.repeat(X, repeats, axis))
        check(fnp.repeat(X, np.array(repeats), axis), np.repeat(X, repeats, axis))

    def test_repeat_by_traced_counts(self):
        counts = np.array([1, 0, 2], np.int32)
        repeat = fst.jit(lambda c: fnp.repeat(X, c, 1, total_repeat_length=3))
        check(repeat(counts), np.repeat(X, counts, 1))
        longer = fst.jit(lambda c: fnp.repeat(X[0, 0], c, total_repeat_length=6))
        assert longer(np.array([1, 1, 0, 1])).tolist() == X[0, 0][[0, 1, 3, 3, 3, 3]].tolist()

    def test_mistakes(self):
        with pytest.raises(errors.ShapeError, match="one count for each element"):
            fnp.repeat(X, [1, 2], 1)
        with pytest.raises(errors.OptionError, match="must not be negative"):
            fnp.repeat(X, -1)
        with pytest.raises(errors.OptionError, match="must not be negative"):
            fnp.tile(X, -1)


def test_shape_ndim_size():
    assert (fnp.shape(X), fnp.ndim(X), fnp.size(X), fnp.size(X, 1)) == ((2, 3, 4), 3, 24, 3)
    assert (fnp.shape(1), fnp.ndim(1.0), fnp.size(True)) == ((), 0, 1)


def test_gradients_of_rearrangements():
    for function in (
        lambda x: fnp.roll(x, 1, 1),
        lambda x: fnp.repeat(x, [1, 0, 2], 1),
        lambda x: fnp.tile(x, (2, 1)),
        lambda x: fnp.rot90(x),
        lambda x: fnp.reshape(x, -1, "F"),
    ):
        # The cotangent of a sum of squares of copies counts the copies.
        gradient = fst.grad(lambda x, f=function: fnp.sum(f(x) ** 2))(X)
        copies = np.asarray(function(np.arange(24).reshape(X.shape))).ravel()
        counts = np.bincount(copies, minlength=24).reshape(X.shape)
        check(gradient, 2 * X * counts, "float32")

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.array import ArrayLike
from fstensor.errors import ShapeError
from fstensor.transforms.replay import replayed


class Counted:
    """A replayed function, and how often its Python code ran."""

    def __init__(self, function):
        self.count = 0

        def scaled(x: "ArrayLike", y: "ArrayLike" = None, axis=None, flag=False):
            self.count += 1
            return function(x, y, axis, flag)

        self.call = replayed(scaled)


@pytest.fixture
def total():
    return Counted(lambda x, y, axis, flag: fnp.sum(x * (1 if y is None else y), axis) + flag)


X = fnp.asarray(np.arange(6.0).reshape(2, 3))


def test_runs_once_for_a_signature(total):
    for _ in range(3):
        np.testing.assert_array_equal(total.call(X, axis=0), [3, 5, 7])
    assert total.count == 1
    np.testing.assert_array_equal(total.call(X + 1, axis=0), [5, 7, 9])
    assert total.count == 1


def test_each_option_shape_dtype_and_weakness_is_a_signature(total):
    calls = [
        ((X,), {}),
        ((X,), {"axis": 0}),
        ((X,), {"axis": (0, 1)}),
        ((X,), {"axis": (1, 0)}),
        ((X,), {"flag": True}),
        ((X, X), {}),
        ((X[:1],), {}),
        ((X.astype(np.float32),), {}),
        ((fnp.asarray(1.0),), {}),
        ((fnp.asarray(1.0, dtype=np.float32),), {}),
    ]
    for args, kwargs in calls:
        before = total.count
        first = total.call(*args, **kwargs)
        assert total.count == before + 1
        again = total.call(*args, **kwargs)
        assert total.count == before + 1
        assert first.aval == again.aval
        np.testing.assert_array_equal(first, again)


def test_options_that_are_equal_but_not_the_same_are_told_apart():
    kind = Counted(lambda x, y, axis, flag: x * 0 + (10 if axis is True else axis))
    assert kind.call(X, None, 1)[0, 0] == 1
    assert kind.call(X, None, True)[0, 0] == 10


def test_default_dtypes_are_part_of_the_signature():
    made = Counted(lambda x, y, axis, flag: fnp.sum(x) + fnp.ones(()))
    whole = fnp.asarray(np.arange(3, dtype=np.int8))
    assert made.call(whole).dtype == np.float32
    with fst.config.override(default_dtype_bits=64):
        assert made.call(whole).dtype == np.float64
    assert made.call(whole).dtype == np.float32


def test_under_a_transform_operations_are_recorded_one_by_one(total):
    total.call(X)
    assert "reduce_sum" in str(fst.make_jaxpr(total.call)(X))
    np.testing.assert_array_equal(fst.grad(total.call)(X), np.ones((2, 3)))
    np.testing.assert_array_equal(fst.vmap(total.call)(X), [3, 12])
    np.testing.assert_array_equal(fst.jit(total.call)(X), 15)


def test_other_arguments_run_as_written(total):
    for x in (np.arange(3.0), 2.0, np.float32(2)):
        before = total.count
        total.call(x)
        total.call(x)
        assert total.count == before + 2


def test_an_ndarray_changed_between_calls_is_read_anew(total):
    x = np.ones(3)
    assert total.call(x) == 3
    x[:] = 2
    assert total.call(x) == 6


def test_results_that_are_trees():
    both = Counted(lambda x, y, axis, flag: {"a": x + 1, "b": (x, None)})
    for _ in range(2):
        out = both.call(X)
        np.testing.assert_array_equal(out["a"], np.asarray(X) + 1)
        assert out["b"][1] is None
        np.testing.assert_array_equal(out["b"][0], X)
    assert both.count == 1


def test_errors_are_those_of_the_function_and_are_raised_each_time():
    for _ in range(2):
        with pytest.raises(ShapeError, match=r"dot: .*float32\[2\].*float32\[3\]"):
            fnp.dot(fnp.ones(2), fnp.ones(3))
    with pytest.raises(TypeError, match="positional argument"):
        fnp.dot(fnp.ones(2), fnp.ones(2), None, None)


def test_deleted_arrays_are_refused():
    x = fnp.ones(3)
    fnp.sum(x)
    x.delete()
    with pytest.raises(fst.errors.DeletedArrayError):
        fnp.sum(x)


def test_keyword_and_positional_calls_agree():
    assert fnp.sum(X, 0).shape == fnp.sum(a=X, axis=0).shape == fnp.sum(axis=0, a=X).shape == (3,)

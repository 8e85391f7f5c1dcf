import operator
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.array import ArrayLike
from fstensor.core.trace import EvalTrace
from fstensor.errors import ShapeError
from fstensor.transforms.replay import RECORDED_AT, replayed


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


def test_a_signature_is_recorded_when_it_comes_again(total):
    for i in range(RECORDED_AT + 5):
        np.testing.assert_array_equal(total.call(X, axis=0), [3, 5, 7])
        assert total.count == min(i + 1, RECORDED_AT)
    np.testing.assert_array_equal(total.call(X + 1, axis=0), [5, 7, 9])
    assert total.count == RECORDED_AT


def test_scalars_that_are_others_each_time_are_not_recorded(total):
    for i in range(3000):
        assert float(total.call(X, float(i))) == 15 * i
    assert total.count == 3000


def test_python_scalars_are_parts_of_the_signature(total):
    for y in (1, 1.0, True, 2.5):
        before = total.count
        for _ in range(RECORDED_AT + 1):
            np.testing.assert_array_equal(total.call(X, y), 15 * y)
        assert total.count == before + RECORDED_AT
    for y in (0.0, -0.0) * (RECORDED_AT + 1):
        assert np.all(np.signbit(fnp.multiply(X + 1, y)) == np.signbit(y))


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
        for _ in range(RECORDED_AT):
            first = total.call(*args, **kwargs)
        assert total.count == before + RECORDED_AT
        again = total.call(*args, **kwargs)
        assert total.count == before + RECORDED_AT
        assert first.aval == again.aval
        np.testing.assert_array_equal(first, again)


def test_options_that_are_equal_but_not_the_same_are_told_apart():
    kind = Counted(lambda x, y, axis, flag: x * 0 + (10 if axis is True else axis))
    for _ in range(RECORDED_AT + 1):
        assert kind.call(X, None, 1)[0, 0] == 1
        assert kind.call(X, None, True)[0, 0] == 10


def test_default_dtypes_are_part_of_the_signature():
    made = Counted(lambda x, y, axis, flag: fnp.sum(x) + fnp.ones(()))
    whole = fnp.asarray(np.arange(3, dtype=np.int8))
    for _ in range(RECORDED_AT + 1):
        assert made.call(whole).dtype == np.float32
        with fst.config.override(default_dtype_bits=64):
            assert made.call(whole).dtype == np.float64
    assert made.count == 2 * RECORDED_AT


def test_under_a_transform_operations_are_recorded_one_by_one(total):
    for _ in range(RECORDED_AT + 1):
        total.call(X)
    assert "reduce_sum" in str(fst.make_jaxpr(total.call)(X))
    np.testing.assert_array_equal(fst.grad(total.call)(X), np.ones((2, 3)))
    np.testing.assert_array_equal(fst.vmap(total.call)(X), [3, 12])
    np.testing.assert_array_equal(fst.jit(total.call)(X), 15)


def test_other_arguments_run_as_written(total):
    for x in (np.arange(3.0), 2.0, np.float32(2)):
        before = total.count
        for _ in range(RECORDED_AT + 1):
            total.call(x)
        assert total.count == before + RECORDED_AT + 1


def test_an_ndarray_changed_between_calls_is_read_anew(total):
    x = np.ones(3)
    assert total.call(x) == 3
    x[:] = 2
    assert total.call(x) == 6


def test_results_that_are_trees():
    both = Counted(lambda x, y, axis, flag: {"a": x + 1, "b": (x, None)})
    for _ in range(RECORDED_AT + 1):
        out = both.call(X)
        np.testing.assert_array_equal(out["a"], np.asarray(X) + 1)
        assert out["b"][1] is None
        np.testing.assert_array_equal(out["b"][0], X)
    assert both.count == RECORDED_AT


def test_errors_are_those_of_the_function_and_are_raised_each_time():
    for _ in range(RECORDED_AT + 1):
        with pytest.raises(ShapeError, match=r"dot: .*float32\[2\].*float32\[3\]"):
            fnp.dot(fnp.ones(2), fnp.ones(3))
    with pytest.raises(TypeError, match="positional argument"):
        fnp.dot(fnp.ones(2), fnp.ones(2), None, None)


def test_deleted_arrays_are_refused():
    x = fnp.ones(3)
    for _ in range(RECORDED_AT + 1):
        fnp.sum(x), x + x
    x.delete()
    with pytest.raises(fst.errors.DeletedArrayError):
        fnp.sum(x)
    with pytest.raises(fst.errors.DeletedArrayError):
        x + x


def test_keyword_and_positional_calls_agree():
    assert fnp.sum(X, 0).shape == fnp.sum(a=X, axis=0).shape == fnp.sum(axis=0, a=X).shape == (3,)


def replayed_call(function, *args):
    """The result of a call that is made often, and then must be replayed."""
    for _ in range(RECORDED_AT):
        function(*args)
    with patch.object(EvalTrace, "process", side_effect=AssertionError("run as written")):
        return function(*args)


A, B = fnp.asarray(np.float32([1, 2, 3])), fnp.asarray(np.float32([3, 1, 2]))
M = fnp.asarray(np.float32([[1, 2], [3, 4]]))


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (fnp.add, (A, B)),
        (fnp.divide, (A, 2.0)),
        (operator.add, (A, B)),
        (operator.sub, (1.0, A)),
        (operator.truediv, (A, 2)),
        (operator.pow, (A, 2)),
        (operator.pow, (2.0, A)),
        (operator.lt, (A, B)),
        (operator.eq, (A, 2)),
        (operator.neg, (A,)),
        (abs, (A,)),
        (operator.matmul, (M, M)),
        (operator.mul, (A, A)),
        (np.dot, (A, B)),
        (fnp.clip, (A, 1.5, 2.5)),
        (fnp.exp, (A,)),
        (fnp.sum, (M, 0)),
        (fnp.max, (M,)),
        (fnp.reshape, (M, (4, 1))),
        (fnp.astype, (A, np.int32)),
        (fnp.subtract, (A[0], B[1])),
    ],
)
def test_common_functions_are_replayed_with_the_same_result(function, args):
    expected = function(*args)
    got = replayed_call(function, *args)
    assert got.aval is expected.aval
    assert isinstance(got._buffer, np.ndarray)
    np.testing.assert_array_equal(got, expected)


def test_a_call_within_a_callback_has_the_usual_errors_and_context():
    def host(x):
        return np.asarray(fnp.log(fnp.asarray(x)) + 1)

    for _ in range(RECORDED_AT + 1):
        y = fst.pure_callback(host, fst.ShapeDtypeStruct((), np.float32), fnp.float32(-1.0))
        assert np.isnan(y)


def test_each_thread_replays():
    def work():
        return [float(fnp.sum(A + i)) for i in [1] * (RECORDED_AT + 1)]

    with ThreadPoolExecutor(4) as pool:
        for got in [pool.submit(work) for _ in range(8)]:
            assert got.result() == [9] * (RECORDED_AT + 1)


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_results(order):
    x = fnp.asarray(
        np.asarray(np.random.default_rng(0).random((1024, 600), np.float32), order=order)
    )
    row, expected = fnp.ones((600,), np.float32), np.asarray(x)
    results = []
    for _ in range(RECORDED_AT + 3):
        results += [x + x, fnp.exp(x), x * 2.0, x.T - 1, x + row, fnp.sqrt(x.astype(np.float64))]
    np.testing.assert_array_equal(np.asarray(results[-6]), 2 * expected)
    for i, y in enumerate(results):
        np.testing.assert_array_equal(y, results[i % 6])
        assert y._buffer.flags.c_contiguous == results[i % 6]._buffer.flags.c_contiguous
        assert y.aval is results[i % 6].aval

"""The functions beside the primitives that slice, gather, scatter, join and sort."""

import numpy as np
import pytest

from fstensor import dtypes, errors, lax
from fstensor.array import from_buffer
from fstensor.transforms.jit import jit
from fstensor.transforms.transpose import linear_transpose

X = np.arange(12, dtype=np.float32).reshape(3, 4)
ROWS = lax.GatherDimensionNumbers((1,), (0,), (0,))
INTO_ROWS = lax.ScatterDimensionNumbers((1,), (0,), (0,))


def check(got, expected):
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(got), expected)


@pytest.mark.parametrize("start", [0, 1, -1, -3, 5])
@pytest.mark.parametrize("traced", [False, True])
def test_dynamic_slices_along_one_axis(start, traced):
    run = jit if traced else lambda f: f
    start = np.int32(start) if traced else start
    at = min(max(start + 3 if start < 0 else start, 0), 1)
    check(run(lambda x, i: lax.dynamic_slice_in_dim(x, i, 2))(X, start), X[at : at + 2])
    changed = X.copy()
    changed[at : at + 2] = 7
    new = np.full((2, 4), 7, np.float32)
    check(run(lambda x, i: lax.dynamic_update_slice_in_dim(x, new, i, 0))(X, start), changed)


def test_dynamic_index_in_dim():
    check(lax.dynamic_index_in_dim(X, -1, 1), X[:, -1:])
    check(lax.dynamic_index_in_dim(X, np.uint8(2), 1, keepdims=False), X[:, 2])
    changed = X.copy()
    changed[:, 1] = -1
    check(lax.dynamic_update_index_in_dim(X, np.full(3, -1, np.float32), 1, 1), changed)
    check(lax.dynamic_update_index_in_dim(X, np.full((3, 1), -1, np.float32), 1, 1), changed)
    check(lax.index_in_dim(X, -1, 1, keepdims=False), X[:, -1])
    check(lax.index_in_dim(X, 0, 0), X[:1])


def test_dynamic_slice_takes_starts_in_any_form():
    for starts in ([1, 2], (np.int8(1), 2), np.array([1, 2]), from_buffer(np.array([-2, -2]))):
        check(lax.dynamic_slice(X, starts, (2, 2)), X[1:3, 2:4])
    check(lax.dynamic_slice(X, [-1, 0], (2, 2), allow_negative_indices=False), X[:2, :2])
    check(lax.dynamic_update_slice(X, X[:1, :1] - 5, [2, 3])[2, 3], np.float32(-5))


def test_scatter_modes_and_kinds():
    rows, new = np.array([[0], [3], [0]]), np.ones((3, 4), np.float32)
    check(lax.gather(X, rows, ROWS, (1, 4), mode="clip"), X[[0, 2, 0]])
    check(lax.gather(X, rows, ROWS, (1, 4), fill_value=9)[1], np.full(4, 9, np.float32))
    assert np.isnan(np.asarray(lax.gather(X, rows, ROWS, (1, 4)))[1]).all()
    expected = {
        lax.scatter: [1, X[2]],
        lax.scatter_add: [X[0] + 2, X[2] + 1],
        lax.scatter_sub: [X[0] - 2, X[2] - 1],
        lax.scatter_mul: [X[0], X[2]],
        lax.scatter_min: [np.minimum(X[0], 1), 1],
        lax.scatter_max: [np.maximum(X[0], 1), X[2]],
    }
    for function, (first, last) in expected.items():
        dropped, clipped = X.copy(), X.copy()
        dropped[0] = clipped[0] = first
        clipped[2] = 1 if function is lax.scatter else last
        check(function(X, rows, new, INTO_ROWS), dropped)
        check(function(X, rows, new, INTO_ROWS, mode="clip"), clipped)


def test_linear_transpose_of_replacing_scatter_with_repeated_indices():
    rows = np.array([[0], [2], [0]])

    def replace(x, new):
        return lax.scatter(x, rows, new, INTO_ROWS)

    ct_x, ct_new = linear_transpose(replace, X, X)(X)
    check(ct_x, np.stack([np.zeros(4), X[1], np.zeros(4)]))
    check(ct_new, np.stack([np.zeros(4), X[2], X[0]]))


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_sort_of_extension_dtypes_puts_nan_last(name):
    x = from_buffer(np.array([3.0, np.nan, 1.0, -2.0]).astype(dtypes.canonical(name)))
    assert str(lax.sort(x).tolist()) == "[-2.0, 1.0, 3.0, nan]"
    keys, places = lax.sort_key_val(x, np.arange(4))
    assert keys.dtype == x.dtype
    check(places, [3, 2, 0, 1])
    values, places = lax.top_k(x, 2)
    assert str(values.tolist()) == "[nan, 3.0]"
    check(places, [1, 0])


def test_sort_gives_what_it_takes():
    check(lax.sort(X[::-1], 0), X)
    assert isinstance(lax.sort([X]), tuple)
    first, second = lax.sort((np.array([1, 0, 1]), np.array([5, 6, 4])), num_keys=2)
    check(first, [0, 1, 1])
    check(second, [6, 4, 5])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: lax.dynamic_slice(X, [0], (1, 1)),
            ValueError,
            "a start index for each axis, got 1",
        ),
        (
            lambda: lax.dynamic_slice(X, [0, 0], (4, 1)),
            ValueError,
            r"got \(4, 1\) for float32\[3,4\]",
        ),
        (lambda: lax.dynamic_slice(X, [0.0, 0], (1, 1)), TypeError, "indices must be integers"),
        (lambda: lax.dynamic_slice(X, 0, (1, 1)), TypeError, "start_indices must be a sequence"),
        (
            lambda: lax.dynamic_update_slice(X, np.ones((4, 4), np.float32), [0, 0]),
            ValueError,
            r"no larger, got float32\[4,4\] for float32\[3,4\]",
        ),
        (
            lambda: lax.dynamic_update_slice(X, np.ones((1, 1)), [0, 0]),
            TypeError,
            r"dtypes must be equal, got float32\[3,4\] and float64\[1,1\]",
        ),
        (
            lambda: lax.index_in_dim(X, 3),
            IndexError,
            r"3 is out of bounds for axis 0 of float32\[3,4\]",
        ),
        (
            lambda: lax.gather(X, np.zeros((2, 2), int), ROWS, (1, 4)),
            ValueError,
            "last axis of the",
        ),
        (
            lambda: lax.gather(X, np.zeros((2, 1)), ROWS, (1, 4)),
            TypeError,
            "indices must be integers",
        ),
        (lambda: lax.gather(X, np.zeros((2, 1), int), ROWS, (2, 4)), ValueError, "be 1 on dropped"),
        (
            lambda: lax.gather(X, np.zeros((2, 1), int), ROWS, (1, 4), mode="x"),
            ValueError,
            "mode: must",
        ),
        (
            lambda: lax.scatter(X, np.zeros((2, 1), int), X, INTO_ROWS),
            ValueError,
            r"scatter: updates must have the indices' batch axes .* got float32\[3,4\]",
        ),
        (lambda: lax.concatenate([X, X[:, :1]], 0), ValueError, "shapes must agree but for axis 0"),
        (lambda: lax.concatenate([], 0), ValueError, "needs at least one operand"),
        (lambda: lax.concatenate([X, X.astype(int)], 0), TypeError, "dtypes must be equal"),
        (
            lambda: lax.split(X, (1, 1)),
            ValueError,
            r"must add up to the size of axis 0, got \(1, 1\)",
        ),
        (lambda: lax.rev(X, (0, 0)), ValueError, "axes must be distinct"),
        (lambda: lax.sort((X, X[:1])), ValueError, "operands must have one shape"),
        (lambda: lax.sort(X, num_keys=2), ValueError, "num_keys must lie between 1 and"),
        (lambda: lax.top_k(X, 5), ValueError, r"got 5 for float32\[3,4\]"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text) as info:
        call()
    assert isinstance(info.value, errors.FstensorError)

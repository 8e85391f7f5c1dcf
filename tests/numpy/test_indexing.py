"""NumPy's indexing: read, derived, updated, traced and batched, compared with NumPy."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import fstensor.numpy as fnp
from fstensor import errors
from fstensor.array import from_buffer
from fstensor.transforms.grad import grad
from fstensor.transforms.jit import jit
from fstensor.transforms.make_jaxpr import make_jaxpr
from fstensor.transforms.vmap import vmap

SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
FEW = settings(SETTINGS, max_examples=60)


def numbered(shape, dtype=np.float64):
    """Distinct values, so that a wrong element shows."""
    return np.arange(1, np.prod(shape, dtype=int) + 1).reshape(shape).astype(dtype)


@st.composite
def arrays_and_basic_indices(draw):
    x = numbered(draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
    index = draw(hnp.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True, max_dims=6))
    return x, index


@st.composite
def integer_arrays(draw, size, shape):
    values = draw(hnp.arrays(np.int64, shape, elements=st.integers(-size, size - 1)))
    return values.astype(draw(st.sampled_from([np.int64, np.int32, np.int8])))


@st.composite
def arrays_and_advanced_indices(draw, max_dims=4):
    """An index of integers, slices, None, Ellipsis, integer arrays and at most one mask."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=max_dims, min_side=1, max_side=4))
    x = numbered(shape)
    shapes = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=len(shape), max_dims=2, max_side=3, min_side=0)
    ).input_shapes
    entries, axis = [], 0
    may_mask = may_skip = True
    while axis < len(shape):
        n = shape[axis]
        kinds = ["array", "array", "int", "slice", "none", "mask", "ellipsis", "stop"]
        kind = draw(st.sampled_from(kinds))
        if kind == "stop" and may_skip:
            break
        if kind == "ellipsis" and may_skip:
            may_skip = False
            entries.append(Ellipsis)
            axis += draw(st.integers(0, len(shape) - axis))
            continue
        if kind == "none" and len(entries) < 6:
            entries.append(None)
            continue
        if kind == "mask" and may_mask:
            may_mask = False
            rank = draw(st.integers(1, len(shape) - axis))
            entries.append(draw(hnp.arrays(bool, shape[axis : axis + rank])))
            axis += rank
            continue
        if kind == "array":
            entries.append(draw(integer_arrays(n, shapes[axis])))
        elif kind == "int":
            entries.append(draw(st.integers(-n, n - 1)))
        else:
            entries.append(draw(st.slices(n)))
        axis += 1
    index = tuple(entries)
    try:
        x[index]
    except IndexError:  # the number of elements of the mask does not broadcast with the arrays
        assume(False)
    return x, index


ANY = arrays_and_basic_indices() | arrays_and_advanced_indices()


def check(got, expected):
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(got), expected)


def traced_parts(index):
    """The index with a hole for each integer array, the arrays, and the way back."""
    entries = index if isinstance(index, tuple) else (index,)
    arrays = [e for e in entries if isinstance(e, np.ndarray) and e.dtype != bool]

    def rebuild(values):
        given = iter(values)
        return tuple(
            next(given) if isinstance(e, np.ndarray) and e.dtype != bool else e for e in entries
        )

    return arrays, rebuild


@SETTINGS
@given(arrays_and_basic_indices())
def test_basic(pair):
    x, index = pair
    check(from_buffer(x)[index], x[index])
    check(jit(lambda a: a[index])(x), x[index])


@SETTINGS
@given(arrays_and_advanced_indices())
def test_advanced(pair):
    x, index = pair
    check(from_buffer(x)[index], x[index])
    arrays, rebuild = traced_parts(index)
    check(jit(lambda a: a[index])(x), x[index])
    check(jit(lambda a, *given: a[rebuild(given)])(x, *arrays), x[index])
    check(from_buffer(x)[rebuild([from_buffer(a) for a in arrays])], x[index])


@FEW
@given(ANY)
def test_vmap(pair):
    x, index = pair
    arrays, rebuild = traced_parts(index)
    both = np.stack([x, x + 100])
    shifted = [np.stack([a, a[..., ::-1] if a.ndim else a]) for a in arrays]
    expected = np.stack([both[k][rebuild([s[k] for s in shifted])] for k in range(2)])
    check(vmap(lambda a, *given: a[rebuild(given)])(both, *shifted), expected)
    shared = np.stack([x[index], (x + 100)[index]])
    check(vmap(lambda a: a[index])(both), shared)
    check(jit(vmap(lambda a: a[index], in_axes=-1))(np.moveaxis(both, 0, -1)), shared)


@FEW
@given(ANY)
def test_grad_adds_for_repeated_indices(pair):
    x, index = pair
    weights = numbered(x[index].shape)
    expected = np.zeros_like(x)
    np.add.at(expected, index, weights)
    check(grad(lambda a: fnp.sum(a[index] * weights))(x), expected)
    arrays, rebuild = traced_parts(index)
    traced = jit(grad(lambda a, *given: fnp.sum(a[rebuild(given)] * weights)))
    check(traced(x, *arrays), expected)


@FEW
@given(ANY, st.booleans())
def test_set(pair, scalar):
    x, index = pair
    value = 0.5 if scalar else -numbered(x[index].shape)
    expected = x.copy()
    expected[index] = value
    check(from_buffer(x).at[index].set(value), expected)
    arrays, rebuild = traced_parts(index)
    check(jit(lambda a, *given: a.at[rebuild(given)].set(value))(x, *arrays), expected)
    both = np.stack([x, x + 100])
    check(vmap(lambda a: a.at[index].set(value))(both)[0], expected)


UPDATES = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "divide": np.divide,
}


@FEW
@given(ANY, st.sampled_from(sorted(UPDATES)))
def test_update(pair, name):
    x, index = pair
    # Powers of two: every order of operations gives the same result.
    values = 2.0 ** (np.arange(x[index].size) % 5 - 2).reshape(x[index].shape)
    expected = x.copy()
    UPDATES[name].at(expected, index, values)
    check(getattr(from_buffer(x).at[index], name)(values), expected)
    arrays, rebuild = traced_parts(index)
    update = jit(lambda a, v, *given: getattr(a.at[rebuild(given)], name)(v))
    check(update(x, values, *arrays), expected)
    batched = vmap(lambda a, v: getattr(a.at[index], name)(v), in_axes=(None, 0))
    check(batched(x, np.stack([values, values]))[1], expected)


@FEW
@given(arrays_and_advanced_indices(max_dims=3))
def test_grad_of_set(pair):
    """The cotangent goes to what is left of x, and to the last value of each element."""
    x, index = pair
    values = numbered(x[index].shape)
    weights = 3 * numbered(x.shape)
    last = np.zeros(x.shape, int)
    last[index] = np.arange(values.size).reshape(values.shape) + 1
    stays = last[index] == np.arange(values.size).reshape(values.shape) + 1
    ct_x, ct_values = grad(lambda a, v: fnp.sum(a.at[index].set(v) * weights), argnums=(0, 1))(
        x, values
    )
    check(ct_x, np.where(last == 0, weights, 0))
    check(ct_values, np.where(stays, weights[index], 0))


def test_power_apply_and_get():
    x = numbered((3, 4))
    rows = np.array([0, 2])
    expected = x.copy()
    expected[rows] **= 2
    check(from_buffer(x).at[rows].power(2), expected)
    expected = x.copy()
    expected[1:, ::2] = np.sqrt(x[1:, ::2])
    check(from_buffer(x).at[1:, ::2].apply(fnp.sqrt), expected)
    check(from_buffer(x).at[rows, 1].get(), x[rows, 1])
    check(from_buffer(x).at[rows, 1].mul(2.0), np.where(np.isin(x, x[rows, 1]), 2 * x, x))


# What lies outside


@pytest.mark.parametrize("index", [5, -4, (0, 9), np.array([0, 3]), (slice(None), -3)])
def test_static_index_outside_raises(index):
    x = fnp.zeros((3, 2))
    for use in (lambda: x[index], lambda: x.at[index].set(0.0), lambda: x.at[index].get()):
        with pytest.raises(
            IndexError, match=r"index: -?\d is out of bounds for axis \d of float32"
        ):
            use()
    with pytest.raises(errors.OutOfBoundsError):
        jit(lambda a: a[index])(x)


def test_message_of_static_index_outside():
    with pytest.raises(IndexError, match=r"^index: 5 is out of bounds for axis 0 of float32\[3\]"):
        fnp.zeros(3)[5]


@pytest.mark.parametrize("traced", [False, True])
def test_dynamic_index_outside_reads_the_nearest_and_writes_nothing(traced):
    x = numbered((3, 2))
    run = jit if traced else lambda f: f
    far, near = from_buffer(np.array([7, -9, 1])), np.array([2, 0, 1])
    check(run(lambda a, i: a[i])(x if traced else from_buffer(x), far), x[near])
    scalar = from_buffer(np.array(7))
    check(run(lambda a, i: a[i, 1])(x if traced else from_buffer(x), scalar), x[2, 1])
    expected = x.copy()
    expected[1] += 10
    check(run(lambda a, i: a.at[i].add(10))(x if traced else from_buffer(x), far), expected)


def test_modes():
    x, i = from_buffer(numbered((3,))), np.array([0, 5, -1, -5])
    check(x.at[i].get(mode="fill"), np.array([1, np.nan, 3, np.nan]))
    check(x.at[i].get(mode="fill", fill_value=7), np.array([1.0, 7, 3, 7]))
    check(x.at[i].get(mode="clip"), np.array([1.0, 3, 3, 1]))
    check(x.at[i].set(9, mode="drop"), np.array([9.0, 2, 9]))
    check(x.at[i].add(1, mode="clip"), np.array([3.0, 2, 5]))
    check(x.at[7].get(mode="fill"), np.array(np.nan))
    check(x.at[-1].set(9, mode="drop", wrap_negative_indices=False), np.array([1.0, 2, 3]))
    integers = from_buffer(np.arange(3, dtype=np.int16))
    check(integers.at[i].get(mode="fill")[1], np.array(-(2**15), np.int16))
    check(from_buffer(np.arange(3, dtype=np.uint8)).at[9].get(mode="fill"), np.array(255, np.uint8))
    with pytest.raises(ValueError, match="mode: must be 'clip', 'fill', 'drop'"):
        x.at[0].set(1, mode="wrong")


# What is no index


@pytest.mark.parametrize(
    ("index", "error", "text"),
    [
        ([0, 1], TypeError, r"index: must not be a list, got \[0, 1\]; use x\[np.array"),
        (1.0, TypeError, "index: must be made of integers, .* got 1.0 of type float"),
        ("a", TypeError, "index: must be made of integers, .* got 'a' of type str"),
        (np.array([1.0]), TypeError, r"arrays must be of integers or bools, got float64\[1\]"),
        ((0, 0, 0), IndexError, r"too many indices, got 3 for float32\[3,2\] of 2 dimensions"),
        ((Ellipsis, Ellipsis), IndexError, "can have one Ellipsis, got 2"),
        (slice(None, None, 0), ValueError, "the step of a slice must not be zero"),
        (slice(0.5, None), TypeError, "the bounds of a slice must be integers or None, got 0.5"),
        (np.ones(2, bool), ValueError, r"a mask must have the shape .* got bool\[2\] at axis 0"),
        (
            (np.zeros(2, int), np.zeros(3, int)),
            ValueError,
            r"index arrays must broadcast against each other, got shapes \(2,\) and \(3,\)",
        ),
    ],
)
def test_wrong_index(index, error, text):
    x = fnp.zeros((3, 2))
    with pytest.raises(error, match=text):
        x[index]
    with pytest.raises(error, match=text):
        x.at[index].set(0.0)


def test_traced_mask_and_bounds():
    x = fnp.arange(3.0)
    with pytest.raises(errors.NonConcreteBooleanIndexError, match=r"bool\[3\]; use .*where"):
        jit(lambda a: a[a > 0])(x)
    with pytest.raises(errors.TracerIntegerConversionError, match=r"lax\.dynamic_slice_in_dim"):
        jit(lambda a, i: a[i:])(x, 1)
    check(grad(lambda a: fnp.sum(a[a > 0] ** 2))(x), np.array([0, 2, 4], np.float32))


def test_wrong_values():
    x = fnp.zeros((3, 2))
    with pytest.raises(errors.ShapeError, match=r"values must broadcast to the shape \(2,\), got"):
        x.at[0].set(np.zeros(3))
    with pytest.raises(errors.DtypeError, match="a complex value has no place in a real array"):
        x.at[0].set(1j)
    with pytest.raises(errors.DtypeError, match=r"got complex128\[2\] for float32\[3,2\]"):
        x.at[0].add(np.zeros(2, complex))
    with pytest.raises(errors.DtypeError, match=r"at\[...\].divide: takes a float or complex"):
        fnp.arange(3).at[0].divide(2)
    check(fnp.arange(3).at[0].set(2.5), np.array([2, 1, 2], np.int32))


def test_bools_and_integers_are_told_apart():
    """True == 1 == 1.0, but as indices they differ."""
    x = fnp.arange(3.0)
    values = np.arange(3, dtype=np.float32)
    for _ in range(2):
        check(x[1], values[1])
        check(x[True], values[True])
        check(x[np.int8(1)], values[1])
        check(x[False], values[False])
        check(x[0], values[0])
        check(x[np.array(1)], values[1])
        check(x[(1,)], values[1])
        with pytest.raises(TypeError):
            x[1.0]
    check(x.at[True].set(1), np.ones(3, np.float32))


def test_repr_of_unfinished_update():
    x = fnp.zeros(3)
    assert repr(x.at) == "At(float32[3]); write x.at[index].set(value), or add, multiply, get, ..."
    assert repr(x.at[1]).startswith("Ref(float32[3], 1); nothing is changed yet: call .set(value)")


# The equations that indices stand for


@pytest.mark.parametrize(
    ("index", "names"),
    [
        (1, ["slice", "squeeze"]),
        (slice(None, None, -1), ["rev"]),
        (slice(None, None, -2), ["slice", "rev"]),
        (None, ["broadcast_in_dim"]),
        (Ellipsis, []),
        ((1, None, slice(None, None, -1)), ["slice", "rev", "squeeze", "broadcast_in_dim"]),
        (np.array([0, 2]), ["gather"]),
    ],
)
def test_equations_of_static_indices(index, names):
    closed = make_jaxpr(lambda x: x[index])(np.zeros((4, 5), np.float32))
    assert [e.primitive.name for e in closed.jaxpr.eqns] == names


def test_equations_of_traced_scalar():
    closed = make_jaxpr(lambda x, i: x[i])(np.zeros(3, np.float32), np.int32(1))
    assert str(closed) == (
        "{ lambda ; a:f32[3] b:i32[]. let\n"
        "    c:bool[] = lt b 0:i32[]\n"
        "    d:i32[] = add b 3:i32[]\n"
        "    e:i32[] = select_n c b d\n"
        "    f:f32[1] = dynamic_slice[slice_sizes=(1,)] a e\n"
        "    g:f32[] = squeeze[dimensions=(0,)] f\n"
        "  in (g,) }"
    )


def test_equations_of_traced_array():
    closed = make_jaxpr(lambda x, i: x[i])(np.zeros((4, 5), np.float32), np.zeros(2, np.int32))
    assert str(closed) == (
        "{ lambda ; a:f32[4,5] b:i32[2]. let\n"
        "    c:bool[2] = lt b 0:i32[]\n"
        "    d:i32[2] = add b 4:i32[]\n"
        "    e:i32[2] = select_n c b d\n"
        "    f:i32[2,1] = broadcast_in_dim[broadcast_dimensions=(0,)] e\n"
        "    g:f32[2,5] = gather[\n"
        "      dimension_numbers=GatherDimensionNumbers(offset_dims=(1,), "
        "collapsed_slice_dims=(0,), start_index_map=(0,), operand_batching_dims=(), "
        "start_indices_batching_dims=())\n"
        "      fill_value=None\n"
        "      indices_are_sorted=False\n"
        "      mode=GatherScatterMode.PROMISE_IN_BOUNDS\n"
        "      slice_sizes=(1, 5)\n"
        "      unique_indices=False\n"
        "    ] a f\n"
        "  in (g,) }"
    )


# take and its kin


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("mode", ["clip", "wrap"])
def test_take_modes(axis, mode):
    x, i = numbered((3, 4)), np.array([[0, 5], [-1, -7]])
    check(fnp.take(x, i, axis=axis, mode=mode), np.take(x, i, axis=axis, mode=mode))
    traced = jit(lambda a, b: fnp.take(a, b, axis=axis, mode=mode))
    check(traced(x, i), np.take(x, i, axis=axis, mode=mode))


def test_take_default():
    x = numbered((3, 4))
    check(fnp.take(x, np.array([2, -1]), axis=0), x[[2, -1]])
    check(fnp.take(x, 1, axis=1), x[:, 1])
    check(fnp.take(x, from_buffer(np.array([5])), axis=0), np.full((1, 4), np.nan))
    filled = fnp.take(x, np.array([5, 0]), axis=0, mode="fill", fill_value=0)
    check(filled, np.stack([np.zeros(4), x[0]]))
    check(fnp.take(np.zeros((0, 2)), np.zeros(0, int), axis=0), np.zeros((0, 2)))
    with pytest.raises(IndexError, match="5 is out of bounds for axis 0 of float64"):
        fnp.take(x, np.array([5]), axis=0)
    with pytest.raises(IndexError, match=r"axis 0 of float64.* has no elements"):
        fnp.take(np.zeros((0, 2)), np.zeros(1, int), axis=0)
    with pytest.raises(ValueError, match=r"mode must be .* got 'raise'; 'raise' cannot be traced"):
        fnp.take(x, 0, mode="raise")
    with pytest.raises(TypeError, match="arrays are immutable"):
        fnp.take(x, 0, out=x)
    with pytest.raises(TypeError, match="indices must be an array of integers"):
        fnp.take(x, np.array([0.0]))


ALONG = [((3, 4), (3, 2), 1), ((3, 4), (5, 4), 0), ((3, 4), (1, 2), 1), ((1, 4), (3, 2), 1)]


@pytest.mark.parametrize(("shape", "indices", "axis"), [*ALONG, ((2, 3, 4), (2, 1, 4), 1)])
def test_take_along_axis(shape, indices, axis):
    x = numbered(shape)
    i = np.random.default_rng(0).integers(-shape[axis], shape[axis], indices)
    check(fnp.take_along_axis(x, i, axis), np.take_along_axis(x, i, axis))
    check(jit(lambda a, b: fnp.take_along_axis(a, b, axis))(x, i), np.take_along_axis(x, i, axis))
    weights = numbered(np.take_along_axis(x, i, axis).shape)
    expected = np.zeros_like(x)
    for k in range(x.size):
        probe = np.zeros(x.size)
        probe[k] = 1
        picked = np.take_along_axis(probe.reshape(shape), i, axis)
        expected.flat[k] = np.sum(picked * weights)
    check(grad(lambda a: fnp.sum(fnp.take_along_axis(a, i, axis) * weights))(x), expected)


@pytest.mark.parametrize("mode", ["fill", "clip", "promise_in_bounds"])
@pytest.mark.parametrize("wrap", [None, True, False])
def test_negative_indices_along_an_axis(mode, wrap):
    x, i = np.arange(6.0).reshape(2, 3), np.array([[2], [-1]])
    got = fnp.take_along_axis(x, i, 1, mode, wrap_negative_indices=wrap).tolist()
    wraps = wrap is True or (wrap is None and mode != "promise_in_bounds")
    if wraps:
        assert got == [[2], [5]]
    elif mode == "fill":
        assert got[0] == [2]
        assert np.isnan(got[1][0])
    elif mode == "clip":
        assert got == [[2], [3]]
    else:  # a promise that is broken
        assert got[0] == [2]


def test_take_along_axis_flat_and_outside():
    x = numbered((2, 3))
    check(fnp.take_along_axis(x, np.array([5, 0]), None), np.array([6.0, 1.0]))
    check(fnp.take_along_axis(x, np.array([[7], [0]]), 1), np.array([[np.nan], [4.0]]))
    check(fnp.take_along_axis(x, np.array([[7], [-5]]), 1, mode="clip"), np.array([[3.0], [4.0]]))
    with pytest.raises(errors.ShapeError, match="one rank, and sizes that agree or are 1"):
        fnp.take_along_axis(x, np.zeros((3, 1), int), 1)


@pytest.mark.parametrize(("shape", "indices", "axis"), ALONG[:3])
def test_put_along_axis(shape, indices, axis):
    x = numbered(shape)
    rng = np.random.default_rng(0)
    i = np.argsort(rng.random((*indices[:axis], shape[axis], *indices[axis + 1 :])), axis)
    i = np.take(i, range(min(indices[axis], shape[axis])), axis)
    for value in (0.5, -numbered(i.shape)):
        expected = x.copy()
        np.put_along_axis(expected, i, value, axis)
        check(fnp.put_along_axis(x, i, value, axis, inplace=False), expected)
    expected = x.copy()
    np.put_along_axis(expected, np.array([3, 1]), 9, None)
    check(fnp.put_along_axis(x, np.array([3, 1]), 9, None, inplace=False), expected)
    with pytest.raises(TypeError, match="pass inplace=False"):
        fnp.put_along_axis(x, i, 0.5, axis)


def test_ix():
    x = numbered((4, 5))
    check(
        from_buffer(x)[fnp.ix_(np.array([0, 3]), np.array([4, 1, 1]))], x[np.ix_([0, 3], [4, 1, 1])]
    )
    mask = np.array([True, False, True, True])
    check(from_buffer(x)[fnp.ix_(mask, [0, 2])], x[np.ix_(mask, [0, 2])])
    with pytest.raises(errors.ShapeError, match="ix_: index 0 must have one dimension"):
        fnp.ix_(np.zeros((2, 2), int))


# The paths of other array modules


def test_combine_equal():
    from fstensor.ops.scatter import combine_equal

    rng = np.random.default_rng(0)
    for ufunc, start in ((np.add, 0.0), (np.multiply, 1.0), (np.maximum, -np.inf)):
        places = rng.integers(0, 5, 40)
        values = 2.0 ** rng.integers(-2, 3, 40)
        got_places, got_values = combine_equal(np, ufunc, places, values)
        assert sorted(got_places) == sorted(set(places))
        got, expected = np.full(5, start), np.full(5, start)
        got[got_places] = ufunc(got[got_places], got_values)
        ufunc.at(expected, places, values)
        np.testing.assert_array_equal(got, expected)

"""The settings that look at values: debug_nans, debug_infs and check_indices."""

import threading

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import config, lax
from fstensor.errors import NonFiniteError, OutOfBoundsError
from fstensor.transforms.replay import RECORDED_AT
from tests.tolerances import assert_close

X = np.array([1.0, -2.0, 0.0], np.float32)
HERE = "test_debugging.py"


def line_of(function, text):
    """`file:line` of the line of a function that has `text` in it."""
    code = function.__code__
    with open(code.co_filename) as file:
        lines = file.read().splitlines()
    line = next(i for i in range(code.co_firstlineno, len(lines) + 1) if text in lines[i - 1])
    return f"{HERE}:{line}"


def message(error, f, *args):
    with pytest.raises(error) as caught:
        f(*args)
    return str(caught.value)


# debug_nans and debug_infs


def entropy(x):
    doubled = x * 2
    return -fnp.sum(doubled * fnp.log(doubled))


TRANSFORMS = {
    "eager": lambda f: f,
    "jit": fst.jit,
    "grad": fst.grad,
    "jit-grad": lambda f: fst.jit(fst.grad(f)),
    "vmap": lambda f: lambda x: fst.vmap(f)(x[None]),
    "jit-vmap": lambda f: fst.jit(lambda x: fst.vmap(f)(x[None])),
    "jit-jit": lambda f: fst.jit(lambda x: fst.jit(f)(x) + 1),
}


@pytest.mark.parametrize("wrap", TRANSFORMS.values(), ids=TRANSFORMS)
def test_the_operation_is_named_with_its_line(wrap):
    f = wrap(entropy)
    f(X)  # compiled without the setting, too
    with fst.debug_nans(True):
        text = message(NonFiniteError, f, X)
    assert text.startswith("log: the result must have no NaN while debug_nans is on, got 1 in ")
    assert "(-4 to 2, 0 not finite)" in text
    assert text.endswith(line_of(entropy, "fnp.log"))


def test_whole_messages():
    def quotient(x, n):
        return x / n

    x = fnp.array([1.0, np.inf, 0.0])
    where = line_of(quotient, "x / n")
    with config.override(debug_nans=True, debug_infs=True):
        assert message(NonFiniteError, quotient, x, fnp.zeros(3)).startswith(
            "div: the result must have no NaN while debug_nans is on, got 1 in float32[3] from "
            "float32[3] (0 to 1, 1 not finite), float32[3] (0 to 0, 0 not finite); at "
        )
        text = message(NonFiniteError, fst.jit(quotient), x[:1], fnp.zeros(1))
    assert "div: the result must have no infinity while debug_infs is on, got 1 in float32[1]" in (
        text
    )
    assert f"; in quotient at {where.rpartition(':')[0]}:" in text.replace("tests/", "")
    assert text.endswith(where)


def test_ranges_of_all_dtypes():
    with fst.debug_nans():
        z = fnp.array([3 + 4j, 0])
        text = message(NonFiniteError, lambda: z / (z * 0))
        assert "from complex64[2] (size 0 to 5, 0 not finite), complex64[2] (size 0 to 0, " in text
        nans = fnp.array([np.nan] * 2)
        choose = message(NonFiniteError, lambda: fnp.where(np.array([True, False]), nans, 1.0))
        assert "got 1 in float32[2] from bool[2], " in choose
        assert "float32[2] (2 not finite)" in choose
        text = message(NonFiniteError, lambda: lax.rem(fnp.bfloat16(1), fnp.bfloat16(0)))
        assert "got 1 in bfloat16[] from bfloat16[] (1 to 1, 0 not finite), bfloat16[] (0" in text
        text = message(NonFiniteError, lambda: lax.pow(fnp.float32(-8), fnp.float32(0.5)))
        assert text.startswith("pow: ")


def sums(xs):
    def body(c, x):
        return fnp.sqrt(c - x), c

    return lax.scan(body, 3.0, xs)[0]


def iterated(x):
    return lax.while_loop(lambda c: c < 10, lambda c: fnp.sqrt(c - 5) + 1, x)


def chosen(x):
    return lax.cond(x > 0, lambda x: x, lambda x: fnp.sqrt(x), x)


@pytest.mark.parametrize("wrap", [lambda f: f, fst.jit, fst.grad, lambda f: fst.jit(fst.grad(f))])
@pytest.mark.parametrize(
    ("f", "x", "values"),
    [
        (sums, np.arange(5.0, dtype=np.float32), "-1.14"),
        (lambda x: lax.scan(lambda c, _: (fnp.sqrt(c - 1), None), x, length=3)[0], 1.0, "-1 to -1"),
        (chosen, -2.0, "-2 to -2"),
    ],
)
def test_inside_of_loops_and_branches(wrap, f, x, values):
    with fst.debug_nans():
        text = message(NonFiniteError, wrap(f), x)
    assert text.startswith("sqrt: the result must have no NaN ")
    assert f"float32[] ({values}" in text
    assert HERE in text


def test_inside_of_while():
    for f in (iterated, fst.jit(iterated)):
        with fst.debug_nans():
            text = message(NonFiniteError, f, 6.0)
        assert "from float32[] (-3 to -3, 0 not finite); in <lambda> at " in text
        assert text.endswith(line_of(iterated, "sqrt"))


def test_derivatives_name_the_line_that_they_come_from():
    def guarded(x):
        root = fnp.sqrt(x)
        return fnp.where(x > 0, root, 0.0).sum()

    x = fnp.array([1.0, 0.0])
    for f in (fst.grad(guarded), fst.jit(fst.grad(guarded))):
        with fst.debug_nans():
            text = message(NonFiniteError, f, x)
        assert text.startswith("mul: the result must have no NaN")  # 0 times infinity
        assert text.endswith(line_of(guarded, "fnp.sqrt"))


def test_the_first_operation_is_named():
    def f(x):
        first = fnp.log(x)
        return fnp.exp(first) + fnp.sqrt(x)

    for g in (f, fst.jit(f)):
        with fst.debug_nans():
            assert message(NonFiniteError, g, X).startswith("log: ")


def test_what_is_handed_on_or_unused_is_not_looked_at():
    @fst.jit
    def f(x, nan):
        fnp.log(x)
        return x, nan

    with fst.debug_nans():
        assert np.isnan(f(X, np.nan)[1])


def test_functions_that_expect_nans_work():
    with fst.debug_nans():
        assert fnp.nanmean(fnp.array([1.0, np.nan])) == 1
        assert fnp.isnan(fnp.array([1.0, np.nan])).tolist() == [False, True]


def test_replayed_functions_are_looked_into():
    x = fnp.array([1.0, np.inf])
    for _ in range(RECORDED_AT):
        assert np.isnan(fnp.var(x))
    with fst.debug_nans():
        assert message(NonFiniteError, fnp.var, x).startswith("sub: ")
    assert np.isnan(fnp.var(x))


def test_infinities():
    with fst.debug_infs(True):
        text = message(NonFiniteError, lambda: 1 / fnp.asarray(X))
        assert text.startswith("div: the result must have no infinity while debug_infs is on, got ")
        fnp.log(-1.0)
    with fst.debug_nans(True):
        1 / fnp.asarray(X)


def test_results_of_callbacks_are_looked_at():
    def f():
        return fst.pure_callback(lambda: np.float32(np.nan), fst.ShapeDtypeStruct((), np.float32))

    with fst.debug_nans():
        assert "pure_callback: the result must have no NaN" in message(NonFiniteError, fst.jit(f))


def test_effects_happen_once():
    seen = []

    def f(xs):
        return lax.scan(lambda c, x: (fst.debug.callback(seen.append, x), (c + x, c))[1], 0.0, xs)

    with fst.debug_nans():
        fst.jit(f)(X)
    assert [float(x) for x in seen] == [1, -2, 0]


def test_results_are_the_same():
    def f(x, w):
        h, _ = lax.scan(lambda h, x: (fnp.tanh(w @ h + x), None), fnp.zeros(3), x)
        return fnp.sum(h**2) + lax.fori_loop(0, 3, lambda i, s: s + x[i, 0], 0.0)

    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=s).astype(np.float32) for s in [(4, 3), (3, 3)])
    slope = fst.grad(f, argnums=(0, 1))
    for g, ws in ((f, w), (slope, w), (fst.vmap(slope, in_axes=(None, 0)), np.stack([w, -w]))):
        plain = fst.jit(g)(x, ws)
        with config.override(debug_nans=True, debug_infs=True):
            checked = fst.jit(g)(x, ws)
        # Operation by operation, each is rounded; compiled together, they round once.
        fst.tree.map(lambda a, b: assert_close(a, b, derivative=True), plain, checked)


def test_the_setting_is_of_the_block_and_the_thread():
    with fst.debug_nans(True):
        assert config.debug_nans
    with pytest.raises(NonFiniteError), fst.debug_nans(True):
        fnp.log(-1.0)
    assert not config.debug_nans
    assert not config.checking
    fnp.log(-1.0)
    found = []
    with fst.debug_nans():
        thread = threading.Thread(target=lambda: found.append(fnp.log(-1.0)))
        thread.start()
        thread.join()
        with fst.debug_nans(False):
            fnp.log(-1.0)
    assert np.isnan(found[0])


def test_the_setting_for_the_process():
    try:
        config.update("debug_infs", True)
        assert config.checking
        assert message(NonFiniteError, lambda: fnp.log(0.0)).startswith("log: ")
    finally:
        config.update("debug_infs", False)
    assert not config.checking


def test_the_error_is_the_builtin_too():
    assert issubclass(NonFiniteError, FloatingPointError)
    assert issubclass(NonFiniteError, fst.errors.FstensorError)


# check_indices

TABLE = fnp.arange(12.0).reshape(4, 3)
ROWS = lax.GatherDimensionNumbers((1,), (0,), (0,))
INTO_ROWS = lax.ScatterDimensionNumbers((1,), (0,), (0,))
BOTH = lax.GatherDimensionNumbers((), (0, 1), (0, 1))

# A function of an index, the index, what the message starts with; None for no error.
INDEXED = {
    "scalar": (lambda i: TABLE[i], 7, "index: 7 is out of bounds on axis 0"),
    "negative": (lambda i: TABLE[i], -5, "index: -5 is out of bounds on axis 0"),
    "last-negative": (lambda i: TABLE[i], -4, None),
    "second-axis": (lambda i: TABLE[0, i], 3, "index: 3 is out of bounds on axis 1"),
    "array": (lambda i: TABLE[i], [0, 9], "index: 9 is out of bounds on axis 0"),
    "beside-slice": (lambda i: TABLE[1:, i], [2, -4], "index: -4 is out of bounds on axis 1"),
    "set": (lambda i: TABLE.at[i].set(0.0), 4, "index: 4 is out of bounds on axis 0"),
    "add": (lambda i: TABLE.at[:, i].add(1.0), [3], "index: 3 is out of bounds on axis 1"),
    "get": (lambda i: TABLE.at[i].get(), [4], "index: 4 is out of bounds on axis 0"),
    "no-wrap": (
        lambda i: TABLE.at[i].set(0.0, wrap_negative_indices=False),
        -1,
        "index: -1 is out of bounds on axis 0",
    ),
    "promise": (
        lambda i: TABLE.at[i].add(0.0, mode="promise_in_bounds"),
        [4],
        "index: 4 is out of bounds on axis 0",
    ),
    "promise-get": (
        lambda i: TABLE.at[i].get(mode="promise_in_bounds"),
        [4],
        "index: 4 is out of bounds on axis 0",
    ),
    "drop": (lambda i: TABLE.at[i].set(0.0, mode="drop"), 4, None),
    "fill": (lambda i: TABLE.at[i].get(mode="fill"), [4], None),
    "take": (lambda i: fnp.take(TABLE, i, axis=1), [3], "take: 3 is out of bounds on axis 1"),
    "take-promise": (
        lambda i: fnp.take(TABLE, i, axis=1, mode="promise_in_bounds"),
        [3],
        "take: 3 is out of bounds on axis 1",
    ),
    "take-clip": (lambda i: fnp.take(TABLE, i, axis=1, mode="clip"), [3], None),
    "take-wrap": (lambda i: fnp.take(TABLE, i, axis=1, mode="wrap"), [3], None),
    "take-along": (
        lambda i: fnp.take_along_axis(TABLE, i, axis=0),
        [[0, 5, 0]],
        "take_along_axis: 5 is out of bounds on axis 0",
    ),
    "put-along": (
        lambda i: fnp.put_along_axis(TABLE, i, 0.0, axis=0, inplace=False),
        [[0, 5, 0]],
        "put_along_axis: 5 is out of bounds on axis 0",
    ),
    "slice": (
        lambda i: lax.dynamic_slice(TABLE, (i, 0), (2, 3)),
        3,
        "dynamic_slice: 3 is out of bounds for a box of size 2 on axis 0",
    ),
    "slice-negative": (
        lambda i: lax.dynamic_slice(TABLE, (i, 0), (2, 3)),
        -1,
        "dynamic_slice: -1 is out of bounds for a box of size 2 on axis 0",
    ),
    "slice-at-end": (lambda i: lax.dynamic_slice(TABLE, (i, 0), (2, 3)), -2, None),
    "update": (
        lambda i: lax.dynamic_update_slice(TABLE, TABLE[:2], (i, 0)),
        3,
        "dynamic_update_slice: 3 is out of bounds for a box of size 2 on axis 0",
    ),
    "index-in-dim": (
        lambda i: lax.dynamic_index_in_dim(TABLE, i, 1),
        3,
        "dynamic_slice: 3 is out of bounds on axis 1",
    ),
    "gather": (
        lambda i: lax.gather(TABLE, i, ROWS, (1, 3)),
        [[0], [4]],
        "gather: 4 is out of bounds on axis 0",
    ),
    "gather-two-axes": (
        lambda i: lax.gather(TABLE, i, BOTH, (1, 1)),
        [[0, 2], [3, 3]],
        "gather: 3 is out of bounds on axis 1",
    ),
    "gather-clip": (lambda i: lax.gather(TABLE, i, ROWS, (1, 3), mode="clip"), [[4]], None),
    "scatter": (
        lambda i: lax.scatter_add(TABLE, i, TABLE[:1], INTO_ROWS),
        [[-1]],
        "scatter_add: -1 is out of bounds on axis 0",
    ),
    "scatter-drop": (
        lambda i: lax.scatter(TABLE, i, TABLE[:1], INTO_ROWS, mode="drop"),
        [[-1]],
        None,
    ),
}


@pytest.mark.parametrize("wrap", [lambda f: f, fst.jit, lambda f: fst.jit(lambda i: fst.jit(f)(i))])
@pytest.mark.parametrize(("f", "index", "text"), INDEXED.values(), ids=INDEXED)
def test_indices(f, index, text, wrap):
    g = wrap(f)
    i = fnp.asarray(np.asarray(index, np.int32))
    plain = g(i)  # traced without the setting, too
    with config.override(check_indices=True):
        if text is None:
            np.testing.assert_array_equal(g(i), plain)
            return
        got = message(OutOfBoundsError, g, i)
    size = {"0": 4, "1": 3}[text[-1]]
    assert got.startswith(f"{text} of float32[")
    assert f",3], whose size is {size}; found because check_indices is on; at " in got
    assert got.rpartition("; at ")[2].startswith(f"tests/{HERE}:")
    np.testing.assert_array_equal(g(i), plain)  # and off again


def looked_up(i):
    doubled = 2 * TABLE
    row = doubled[i]
    return fnp.sum(row)


INDEX_TRANSFORMS = {
    "eager": lambda f: f,
    "jit": fst.jit,
    "vmap": fst.vmap,
    "jit-vmap": lambda f: fst.jit(fst.vmap(f)),
    "scan": lambda f: lambda i: lax.scan(lambda c, k: (c + f(k), None), 0.0, i)[0],
    "map": lambda f: lambda i: lax.map(f, i),
    "cond": lambda f: lambda i: lax.cond(True, f, lambda i: 0.0, i),
    "grad": lambda f: lambda i: fst.grad(lambda x: x * f(i))(1.0),
    "jit-grad": lambda f: lambda i: fst.jit(fst.grad(lambda x: x * f(i)))(1.0),
}


@pytest.mark.parametrize("wrap", INDEX_TRANSFORMS.values(), ids=INDEX_TRANSFORMS)
def test_the_line_of_an_index_is_kept_under_transforms(wrap):
    with config.override(check_indices=True):
        text = message(OutOfBoundsError, wrap(looked_up), fnp.array([0, 11]))
        assert text.startswith("index: 11 is out of bounds on axis 0 of float32[4,3]")
        assert text.endswith(line_of(looked_up, "doubled[i]"))
        wrap(looked_up)(fnp.array([0, 3]))


def test_gradients_with_indices_inside():
    def f(x, i):
        return fnp.sum(x[i] ** 2)

    i = fnp.array([0, 0, 3])
    expected = fst.grad(f)(TABLE, i)
    with config.override(check_indices=True):
        np.testing.assert_array_equal(fst.jit(fst.grad(f))(TABLE, i), expected)
        np.testing.assert_array_equal(fst.jit(fst.grad(f))(TABLE, i - 4), fst.grad(f)(TABLE, i - 4))


def test_programs_of_both_kinds_are_kept():
    traced = []

    @fst.jit
    def f(i):
        traced.append(i)
        return TABLE[i]

    i = fnp.array(9)
    f(i)
    for _ in range(2):
        with config.override(check_indices=True), pytest.raises(OutOfBoundsError):
            f(i)
        assert f(i).tolist() == [9, 10, 11]
    assert len(traced) == 2


def test_shapes_are_told_before_indices():
    with config.override(check_indices=True), pytest.raises(fst.errors.ShapeError):
        lax.gather(TABLE, fnp.array([[9]]), ROWS, (9, 3))


def test_an_axis_without_elements():
    x = fnp.zeros((0, 3))
    with config.override(check_indices=True):
        for f in (lambda i: x.at[i].set(1.0), fst.jit(lambda i: x.at[i].set(1.0))):
            text = message(OutOfBoundsError, f, fnp.array([0]))
            assert text.startswith("index: axis 0 of float32[0,3] has no elements; at ")
    assert x.at[fnp.array([0])].set(1.0).shape == (0, 3)

"""Calls of Python from programs: pure_callback, io_callback, debug.callback, debug.print."""

import contextvars
import traceback
import warnings

import jax
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax
from fstensor.core.state import state
from fstensor.core.trace import EVAL
from fstensor.errors import (
    ArgumentError,
    DtypeError,
    FstensorError,
    MissingRuleError,
    OptionError,
    ShapeError,
    TreeError,
)
from fstensor.experimental import io_callback

F32 = fst.ShapeDtypeStruct((), np.float32)
X = np.array([1.0, 2.0, 3.0], np.float32)


def like(x):
    return fst.ShapeDtypeStruct(x.shape, x.dtype)


def sine(x, **options):
    return fst.pure_callback(np.sin, like(x), x, **options)


class Seen(list):
    """A callback that keeps what it saw, as numbers."""

    def __call__(self, *args):
        self.append(tuple(np.asarray(a).tolist() for a in args))


# pure_callback


def test_value():
    np.testing.assert_array_equal(sine(fnp.asarray(X)), np.sin(X))
    np.testing.assert_array_equal(fst.jit(sine)(X), np.sin(X))


def test_trees():
    def callback(a, *, b):
        return {"sum": a[0] + b["x"], "pair": (a[1], b["x"])}

    shapes = {"sum": F32, "pair": [F32, F32]}

    def f(x, y):
        return fst.pure_callback(callback, shapes, (x, y), b={"x": x * 2})

    out = fst.jit(f)(fnp.float32(1), fnp.float32(5))
    assert fst.tree.map(float, out) == {"sum": 3.0, "pair": [5.0, 2.0]}


def test_named_tuples_stand_for_tuples():
    a = np.array([[2.0, 1.0], [1.0, 2.0]])
    shapes = (fst.ShapeDtypeStruct((2,), np.float64), fst.ShapeDtypeStruct((2, 2), np.float64))
    values, vectors = fst.pure_callback(np.linalg.eigh, shapes, a)
    np.testing.assert_allclose(vectors * values @ vectors.T, a)


def test_the_callback_is_given_arrays_with_values():
    kinds = []

    def callback(x, n, flag):
        kinds.extend([type(x) is type(fnp.zeros(1)), x.dtype, n.dtype, flag.dtype])
        return x

    fst.jit(lambda x: fst.pure_callback(callback, F32, x, 3, True))(1.0)
    assert kinds == [True, np.float32, np.int32, np.bool_]


def test_random_keys_pass():
    def f(key):
        return fst.pure_callback(lambda k: fst.random.uniform(k), F32, key)

    key = fst.random.key(3)
    assert fst.jit(f)(key) == fst.random.uniform(key)


@pytest.mark.parametrize("scalar", [True, 2, 2.5, np.float64(2.5)])
def test_python_scalars_take_the_dtype(scalar):
    out = fst.pure_callback(lambda: scalar, F32)
    assert out.dtype == np.float32
    assert float(out) == float(scalar)


def test_results_that_the_user_may_write_into_are_copied():
    own = np.zeros(3, np.float32)
    out = fst.pure_callback(lambda: own, like(own))
    own[:] = 1
    assert out.tolist() == [0, 0, 0]


def test_unused_results_are_not_computed():
    seen = []

    def f(x):
        fst.pure_callback(lambda y: seen.append(y) or y, F32, x)
        return x

    fst.jit(f)(1.0)
    assert not seen


def test_jaxpr_shows_the_callback():
    def own_name(x):
        return x

    text = str(fst.make_jaxpr(lambda x: fst.pure_callback(own_name, F32, x))(1.0))
    assert "pure_callback[" in text
    assert "callback=own_name at " in text
    assert "vmap_method=None" in text


@pytest.mark.parametrize(
    ("result", "error", "text"),
    [
        (
            lambda: (np.zeros(2, np.float32), np.float32(1)),
            ShapeError,
            "must return float32[3] at [0], as result_shape_dtypes says, got float32[2]; at ",
        ),
        (
            lambda: (np.zeros(3), np.float32(1)),
            DtypeError,
            "must return float32[3] at [0], as result_shape_dtypes says, got float64[3]; "
            "convert with astype; at ",
        ),
        (
            lambda: (np.zeros(3, np.float32), 1j),
            DtypeError,
            "must return float32[] at [1], as result_shape_dtypes says, got complex64[]; ",
        ),
        (
            lambda: np.zeros(3, np.float32),
            TreeError,
            "must return the structure of result_shape_dtypes; ",
        ),
        (
            lambda: (np.zeros(3, np.float32), "text"),
            ArgumentError,
            "must return arrays and scalars, got str at [1]; at ",
        ),
    ],
)
@pytest.mark.parametrize("wrap", [lambda f: f, fst.jit])
def test_results_are_checked(result, error, text, wrap):
    def wrong():
        return result()

    shapes = (fst.ShapeDtypeStruct((3,), np.float32), F32)
    with pytest.raises(error) as caught:
        wrap(lambda: fst.pure_callback(wrong, shapes))()
    message = str(caught.value)
    assert message.startswith("pure_callback: wrong at ")
    assert text in message
    assert "test_callbacks.py:" in message


def test_a_single_result_is_named_without_path():
    with pytest.raises(ShapeError, match=r"must return float32\[\], as result_shape"):
        fst.pure_callback(lambda: X, F32)


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match="pure_callback: takes a function, got int"):
        fst.pure_callback(3, F32)
    with pytest.raises(
        OptionError, match=r"vmap_method must be None or one of 'sequential', .*got"
    ):
        fst.pure_callback(np.sin, F32, 1.0, vmap_method="vectorized")
    with pytest.raises(ArgumentError, match="tree of ShapeDtypeStructs, got float at its root"):
        fst.pure_callback(np.sin, 1.0, 1.0)
    with pytest.raises(ArgumentError, match=r"got str at \['a'\]"):
        fst.pure_callback(np.sin, {"a": "text"}, 1.0)
    with pytest.raises(ArgumentError, match=r"arguments of .* got a leaf of type str; bind it"):
        fst.pure_callback(np.sin, F32, "text")


@pytest.mark.parametrize("differentiate", [fst.grad, fst.jacfwd, lambda f: fst.jit(fst.grad(f))])
def test_no_derivative(differentiate):
    with pytest.raises(MissingRuleError, match="pure_callback: sin has no derivative; give it one"):
        differentiate(lambda x: sine(x) * 2)(1.0)


def test_stop_gradient_makes_it_a_constant():
    assert fst.grad(lambda x: x * sine(lax.stop_gradient(x)))(1.0) == fnp.sin(1.0)


# vmap


@pytest.mark.parametrize(
    ("method", "shapes"),
    [
        ("sequential", [((), (2,))] * 3),
        ("sequential_unrolled", [((), (2,))] * 3),
        ("expand_dims", [((3,), (1, 2))]),
        ("broadcast_all", [((3,), (3, 2))]),
        ("legacy_vectorized", [((3,), (2,))]),
    ],
)
def test_vmap_methods(method, shapes):
    got = []

    def callback(x, y):
        got.append((x.shape, y.shape))
        y = np.asarray(y)
        x = np.asarray(x)
        return (x[..., None] * y).astype(np.float32)

    def f(x, y):
        shape = fst.ShapeDtypeStruct((2,), np.float32)
        return fst.pure_callback(callback, shape, x, y, vmap_method=method)

    y = np.array([10.0, 20.0], np.float32)
    for wrap in (lambda f: f, fst.jit):
        got.clear()
        out = wrap(fst.vmap(f, in_axes=(0, None)))(X, y)
        np.testing.assert_array_equal(out, X[:, None] * y)
        assert got == shapes


@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all"])
def test_nested_vmap_is_like_jax(method):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    y = np.arange(3, dtype=np.float32)

    def f(library, struct):
        def one(a, b):
            result = struct((), np.float32)
            return library.pure_callback(
                lambda p, q: np.asarray(p) - np.asarray(q), result, a, b, vmap_method=method
            )

        return library.vmap(library.vmap(one), in_axes=(0, None))(x, y)

    ours = f(fst, fst.ShapeDtypeStruct)
    np.testing.assert_array_equal(ours, f(jax, jax.ShapeDtypeStruct))


def test_vmap_of_none():
    out = fst.vmap(lambda x: sine(x, vmap_method="sequential"))(np.zeros(0, np.float32))
    assert out.shape == (0,)


def test_vmap_needs_a_method():
    with pytest.raises(
        MissingRuleError, match="vmap needs to know how sin takes a batch, got vmap_method=None; "
    ):
        fst.vmap(sine)(X)


# io_callback


def test_io_runs_even_if_unused():
    seen = Seen()
    f = fst.jit(lambda x: (io_callback(seen, None, x), x)[1])
    f(1.0)
    f(2.0)
    assert seen == [(1.0,), (2.0,)]


def test_io_results_are_used():
    counter = iter(range(100))

    @fst.jit
    def f():
        struct = fst.ShapeDtypeStruct((), np.int32)
        return [io_callback(lambda: next(counter), struct) for _ in range(3)]

    assert [int(x) for x in f()] == [0, 1, 2]
    assert [int(x) for x in f()] == [3, 4, 5]


def test_io_in_loops_runs_at_each_step():
    seen = Seen()

    def body(c, x):
        io_callback(seen, None, c, x)
        return c + x, None

    fst.jit(lambda: lax.scan(body, 0, np.arange(3)))()
    assert seen == [(0, 0), (0, 1), (1, 2)]
    seen.clear()
    lax.while_loop(lambda i: i < 3, lambda i: (io_callback(seen, None, i), i + 1)[1], 0)
    assert seen == [(0,), (1,), (2,)]


def test_io_under_vmap():
    seen = Seen()
    fst.vmap(lambda x, y: io_callback(seen, None, x, y, ordered=False), (0, None))(X, 7)
    assert seen == [(1.0, 7), (2.0, 7), (3.0, 7)]
    with pytest.raises(
        OptionError, match=r"io_callback: an ordered call .* has no order under vmap, got ordered"
    ):
        fst.vmap(lambda x: io_callback(seen, None, x))(X)


def test_io_that_sees_nothing_mapped_runs_once_under_vmap():
    seen = Seen()
    fst.vmap(lambda x: (io_callback(seen, None, 7), x)[1])(X)
    assert seen == [(7,)]


def test_io_under_vmap_of_choices():
    def choose(x):
        return lax.cond(x > 1, lambda: io_callback(Seen(), None, ordered=False), lambda: None)

    with pytest.raises(OptionError, match=r"vmap: a cond whose choice is mapped .* io_callback"):
        fst.vmap(choose)(X)

    def loop(x):
        def body(c):
            io_callback(Seen(), None, c, ordered=False)
            return c + 1

        return lax.while_loop(lambda c: c < 3, body, x)

    with pytest.raises(OptionError, match=r"while_loop whose condition is mapped .* io_callback"):
        fst.vmap(loop)(X)


def test_io_has_no_derivative():
    with pytest.raises(MissingRuleError, match=r"io_callback: .* has no derivative"):
        fst.grad(lambda x: io_callback(lambda y: y, F32, x))(1.0)


def test_io_known_to_linearize_runs_once():
    seen = Seen()

    def f(x, n):
        io_callback(seen, None, n)
        return fst.jit(lambda x: (io_callback(seen, None, n + 1), x * x)[1])(x)

    _, f_jvp = fst.linearize(lambda x: f(x, fnp.int32(4)), 3.0)
    assert seen == [(4,), (5,)]
    assert float(f_jvp(1.0)) == 6
    assert float(f_jvp(2.0)) == 12
    assert seen == [(4,), (5,)]


# The world around the callback


def test_nested_use_of_everything():
    def callback(x):
        assert state.trace is EVAL
        inner = fst.pure_callback(lambda y: fnp.exp(y), F32, x)
        return fst.jit(fst.grad(fnp.sin))(x) + fst.vmap(fnp.cos)(x[None])[0] + inner

    def f(x):
        return fst.pure_callback(callback, F32, x)

    expected = 2 * np.cos(np.float32(0.5)) + np.exp(np.float32(0.5))
    for g in (f, fst.jit(f), fst.jit(lambda x: fst.jit(f)(x))):
        np.testing.assert_allclose(g(fnp.float32(0.5)), expected, rtol=1e-6)


def test_the_bottom_trace_is_current_while_another_follows_the_call():
    traces = []

    def callback():
        traces.append((state.trace is EVAL, dict(state.axes)))
        return fnp.sin(1.0)

    def f(x):
        before = state.trace
        y = x * fst.pure_callback(callback, F32)
        assert state.trace is before
        return y

    fst.grad(f)(2.0)
    fst.vmap(f, axis_name="i")(X)
    assert traces == [(True, {})] * 2


@pytest.mark.parametrize("wrap", [lambda f: f, fst.jit])
def test_exceptions_reach_the_user_unchanged(wrap):
    class Mine(Exception):
        pass

    raised = Mine("once")

    def failing(x):
        fnp.sin(x)
        raise raised

    before = state.trace, state.axes, state.quiet
    with pytest.raises(Mine) as caught:
        wrap(lambda x: fst.pure_callback(failing, F32, x) + 1)(1.0)
    assert caught.value is raised
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "failing" in names
    assert (state.trace, state.axes, state.quiet) == before
    assert float(fst.jit(fnp.sin)(0.0)) == 0  # what follows works


def test_the_callback_sees_numpys_usual_handling_of_errors():
    def callback(x):
        states.append(np.geterr())
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            np.float32(1) / np.zeros((), np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fnp.log(x - 1)  # fstensor itself stays silent
        return x

    states = []
    fst.jit(lambda x: fst.pure_callback(callback, F32, x))(1.0)
    assert states == [{"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}]


def test_variables_of_the_callers_context_are_left_alone():
    variable = contextvars.ContextVar("variable", default=0)
    fst.debug.callback(lambda: variable.set(1))
    assert variable.get() == 0


# debug.callback and debug.print


def test_print(capsys):
    fst.debug.print("x = {}, y = {y:.2f}, {s}", 3, y=fnp.float32(0.123), s="text")
    fst.jit(lambda x: fst.debug.print("{x.shape} {x}", x=x))(X)
    assert capsys.readouterr().out == "x = 3, y = 0.12, text\n(3,) [1. 2. 3.]\n"


def test_print_under_transforms(capsys):
    def f(x):
        fst.debug.print("at {}", x)
        return x * x

    assert float(fst.grad(f)(2.0)) == 4
    assert capsys.readouterr().out == "at 2.0\n"
    fst.jit(fst.grad(f))(3.0)
    assert capsys.readouterr().out == "at 3.0\n"
    fst.hessian(f)(4.0)
    assert "at 4.0\n" in capsys.readouterr().out
    fst.vmap(f)(X)
    assert capsys.readouterr().out == "at 1.0\nat 2.0\nat 3.0\n"
    fst.jit(fst.vmap(fst.grad(f)))(X)
    assert capsys.readouterr().out == "at 1.0\nat 2.0\nat 3.0\n"
    fst.jvp(f, (5.0,), (1.0,))
    assert capsys.readouterr().out == "at 5.0\n"


def test_print_is_not_run_by_tracing(capsys):
    fst.make_jaxpr(lambda x: fst.debug.print("{}", x))(1.0)
    fst.eval_shape(lambda x: fst.debug.print("{}", x), 1.0)
    assert capsys.readouterr().out == ""


def test_jaxpr_of_print():
    text = str(fst.make_jaxpr(lambda x: fst.debug.print("x {}", x, ordered=False))(1.0))
    assert "debug_callback[callback='x {}' ordered=False] a" in text


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        (("{}", 1, 2), {}, "the format must use each argument, got none for 1; use {} or {name}"),
        (("{}", 1), {"y": 2}, "got none for 'y'"),
        (("{} {}", 1), {}, "the arguments must fit the format '{} {}', got 1 by position and none"),
        (("{x}",), {"y": 2}, "got 0 by position and y by name ('x'); write {{ for a brace"),
        (("{",), {}, "must fit the format '{'"),
        ((3,), {}, "debug.print: takes a format string, got int"),
    ],
)
def test_formats_are_checked_at_once(args, kwargs, text):
    with pytest.raises(ArgumentError) as caught:
        fst.make_jaxpr(lambda: fst.debug.print(*args, **kwargs))()
    assert text in str(caught.value)


def test_the_check_of_formats_can_be_left_out():
    program = fst.jit(lambda: fst.debug.print("{}", skip_format_check=True))
    with pytest.raises(IndexError):
        program()


def test_debug_callback():
    seen = []
    kwargs = {"b": [2, None], "name": "static"}
    fst.jit(lambda x: fst.debug.callback(lambda *a, **k: seen.append((a, k)), x, **kwargs))(1.0)
    ((a, k),) = seen
    assert (float(a[0]), int(k["b"][0]), k["b"][1], k["name"]) == (1.0, 2, None, "static")
    with pytest.raises(ArgumentError, match=r"debug.callback: takes a function, got str"):
        fst.debug.callback("text")


def test_debug_callback_of_what_is_returned():
    assert fst.debug.callback(lambda: "ignored") is None


def test_differentiated_scan_calls_once_per_step():
    seen, fixed = Seen(), Seen()

    def body(c, x):
        fst.debug.callback(seen, c, x)
        fst.debug.callback(fixed)  # it depends on nothing, and is not hoisted
        return c * x, c

    def f(c, xs):
        return lax.scan(body, c, xs)[0]

    expected = [(2.0, 1.0), (2.0, 2.0), (4.0, 3.0)]
    for g in (fst.grad(f), fst.jit(fst.grad(f)), fst.grad(fst.jit(f)), fst.grad(f, argnums=1)):
        seen.clear(), fixed.clear()
        g(2.0, X)
        assert seen == expected
        assert fixed == [()] * 3


@pytest.mark.parametrize("unroll", [2, True])
def test_differentiated_scan_unrolled(unroll):
    seen = Seen()

    def f(c):
        return lax.scan(
            lambda c, x: (fst.debug.callback(seen, x), (c * x, None))[1], c, X, unroll=unroll
        )[0]

    assert float(fst.grad(f)(2.0)) == 6
    assert seen == [(1.0,), (2.0,), (3.0,)]


def test_nested_differentiated_scans():
    seen = Seen()

    def inner(c, x):
        fst.debug.callback(seen)
        return c * x, None

    def outer(c, x):
        return lax.scan(inner, c * x, X)[0], None

    fst.jit(fst.grad(lambda c: lax.scan(outer, c, X)[0]))(1.0)
    assert len(seen) == 9


def test_differentiated_while_loop_calls_once_per_step():
    seen = Seen()

    def body(state):
        i, x = state
        fst.debug.callback(seen, i)
        return i + 1, x * x

    def f(x):
        return lax.while_loop(lambda s: s[0] < 3, body, (0, x))[1]

    assert float(fst.grad(f)(2.0)) == 8 * 2**7
    assert seen == [(0,), (1,), (2,)]


@pytest.mark.parametrize("wrap", [lambda f: f, fst.jit, fst.grad, lambda f: fst.jit(fst.grad(f))])
def test_only_the_branch_that_is_taken_calls(wrap):
    seen = Seen()

    def f(x):
        def true(x):
            fst.debug.callback(seen, x)
            return x * 2

        return lax.cond(x > 1, true, lambda x: x, x)

    wrap(f)(2.0)
    assert seen == [(2.0,)]
    wrap(f)(0.0)
    assert seen == [(2.0,)]


def test_vmap_of_choices_calls_for_all_examples_as_in_jax():
    def f(library, callback):
        lib = library.lax

        def one(x):
            x = lib.cond(
                x > 1,
                lambda x: (library.debug.callback(callback, x), x + 1)[1],
                lambda x: x,
                x,
            )
            return lib.while_loop(
                lambda c: c < 4, lambda c: (library.debug.callback(callback, c), c + 1)[1], x
            )

        return library.vmap(one)(X)

    ours, theirs = Seen(), Seen()
    out = f(fst, ours)
    expected = f(jax, theirs)
    jax.effects_barrier()
    np.testing.assert_array_equal(out, expected)
    assert sorted(ours) == sorted(theirs)


def test_tangents_are_seen_where_they_are_computed():
    seen = Seen()

    def f(x):
        _, t = fst.jvp(lambda y: y * y, (x,), (1.0,))
        fst.debug.callback(seen, t)
        return t

    assert float(fst.grad(f)(3.0)) == 2
    assert seen == [(6.0,)]


def test_programs_with_effects_differ_by_callback():
    first, second = Seen(), Seen()
    f = fst.jit(lambda x: fst.debug.callback(first, x))
    g = fst.jit(lambda x: fst.debug.callback(second, x))
    f(1), g(2)
    assert (first, second) == ([(1,)], [(2,)])


def test_errors_are_of_the_tree():
    assert issubclass(MissingRuleError, FstensorError)
    assert issubclass(MissingRuleError, NotImplementedError)

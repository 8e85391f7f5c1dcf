import functools
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.errors import ArgumentError, DeletedArrayError, OptionError
from tests.tolerances import assert_close

X = np.float32([0.3, -1.2, 2.0])


def counted(f):
    """`f`, and a list that grows each time Python runs it."""
    calls = []

    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        calls.append(1)
        return f(*args, **kwargs)

    return wrapper, calls


def test_traces_once_for_each_signature():
    f, calls = counted(lambda x: x * 2)
    g = fst.jit(f)
    for x in (X, X + 1, fnp.asarray(X)):
        assert_close(g(x), 2 * np.asarray(x))
    assert len(calls) == 1
    g(X[:2])
    assert len(calls) == 2, "another shape"
    g(X.astype(np.float64))
    assert len(calls) == 3, "another dtype"
    g(1.0)
    g(np.float32(1.0))
    assert len(calls) == 5, "a weak type and a strong one"
    with fst.config.override(default_dtype_bits=64):
        assert g(1.0).dtype == np.float64
    assert len(calls) == 6, "another setting"


def test_jits_of_one_function_share_their_programs():
    f, calls = counted(lambda x: x * 2)
    for _ in range(3):
        fst.jit(f)(X)
    assert len(calls) == 1


def test_cache_does_not_keep_the_function():
    def f(x):
        return x * 2

    fst.jit(f)(X)
    alive = weakref.ref(f)
    del f
    gc.collect()
    assert alive() is None


def test_fresh_lambda_is_a_miss():
    calls = []
    for _ in range(2):
        fst.jit(lambda x: calls.append(1) or x)(X)
    assert len(calls) == 2


def test_static_arguments():
    f, calls = counted(lambda x, n, *, flag: x * n if flag else x)
    g = fst.jit(f, static_argnums=1, static_argnames="flag")
    assert_close(g(X, 3, flag=True), 3 * X)
    assert_close(g(X, 3, flag=True), 3 * X)
    assert len(calls) == 1
    assert_close(g(X, 4, flag=True), 4 * X)
    assert_close(g(X, 3, flag=False), X)
    assert len(calls) == 3


def test_static_names_and_numbers_imply_each_other():
    def f(x, n):
        return x[:n]

    assert fst.jit(f, static_argnames="n")(X, 2).shape == (2,)
    assert fst.jit(f, static_argnums=1)(X, n=2).shape == (2,)


def test_equal_static_values_of_two_types_are_told_apart():
    g = fst.jit(lambda x, n: x * n, static_argnums=1)
    assert g(np.int32(2), 1).dtype == np.int32
    assert g(np.int32(2), 1.0).dtype == np.float32
    assert g(np.int32(2), True).dtype == np.int32


def test_static_values_must_be_hashable():
    with pytest.raises(ArgumentError, match=r"must be hashable, got list for n; pass a tuple"):
        fst.jit(lambda x, n: x, static_argnums=1)(X, [1])


def test_options_that_fit_no_parameter():
    with pytest.raises(OptionError, match=r"static_argnums=3 names no argument"):
        fst.jit(lambda x: x, static_argnums=3)
    with pytest.raises(OptionError, match=r"static_argnames='y' names no argument, there are x"):
        fst.jit(lambda x: x, static_argnames="y")
    with pytest.raises(OptionError, match="both static and donated"):
        fst.jit(lambda x: x, static_argnums=0, donate_argnums=0)


def test_arguments_that_are_no_arrays():
    with pytest.raises(ArgumentError, match=r"trees of arrays or scalars, got a leaf of type str"):
        fst.jit(lambda x, s: x)(X, "sum")


def test_as_decorator_with_options():
    @fst.jit
    def f(x):
        """Twice."""
        return x * 2

    @functools.partial(fst.jit, static_argnames=("n",))
    def g(x, n):
        return x * n

    @fst.jit(static_argnames=("n",))
    def h(x, n):
        return x * n

    assert f.__name__ == "f"
    assert f.__doc__ == "Twice."
    assert_close(f(X), 2 * X)
    assert_close(g(X, n=2), 2 * X)
    assert_close(h(X, n=2), 2 * X)


def test_methods():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        @functools.partial(fst.jit, static_argnums=0)
        def __call__(self, x):
            return self.scale * x

    assert_close(Model(2.0)(X), 2 * X)
    assert_close(Model(3.0)(X), 3 * X)
    assert_close(fst.jit(Model(4.0).__call__)(X), 4 * X)


def test_keyword_arguments_in_any_order():
    f, calls = counted(lambda x, y: x - y)
    g = fst.jit(f)
    assert_close(g(x=X, y=X), 0 * X)
    assert_close(g(y=X, x=X), 0 * X)
    assert len(calls) == 1


def test_donated_arrays_are_deleted():
    g = fst.jit(lambda p, x: fst.tree.map(lambda w: w + x, p), donate_argnums=0)
    p = {"w": fnp.asarray(X)}
    out = g(p, 1.0)
    assert_close(out["w"], X + 1)
    with pytest.raises(DeletedArrayError, match=r"float32\[3\] was donated to a call of <lambda>"):
        p["w"] + 1
    assert p["w"].is_deleted()
    n = X.copy()
    g({"w": n}, 1.0)
    np.testing.assert_array_equal(n, X), "the caller's own memory is left alone"


def test_donated_array_that_is_also_an_output():
    x = fnp.asarray(X)
    assert_close(fst.jit(lambda x: x, donate_argnums=0)(x), X)


def test_result_does_not_share_the_callers_memory():
    n = X.copy()
    y = fst.jit(lambda x: (x, fnp.reshape(x, (3, 1))))(n)
    n[:] = 100
    assert_close(y[0], X)
    assert_close(y[1], X[:, None])


def test_captured_arrays_are_constants():
    c = X.copy()
    g = fst.jit(lambda x: x + c)
    assert_close(g(X), 2 * X)
    c[:] = 100
    with fst.config.override(check_captures="off"):
        assert_close(g(X), 2 * X)


def test_nested_and_captured_tracers():
    @fst.jit
    def outer(x):
        @fst.jit
        def inner(y):
            return y * x  # x belongs to the outer trace

        return inner(x) + inner(2.0)

    assert_close(outer(X), X * X + 2 * X)
    assert_close(fst.grad(lambda x: fst.jit(lambda y: y * x)(x))(3.0), np.float32(6.0))
    assert_close(fst.vmap(lambda x: fst.jit(lambda y: y * x)(2.0))(X), 2 * X)


def test_lower_and_text():
    lowered = fst.jit(lambda x: fnp.sin(x) * 2).lower(fst.ShapeDtypeStruct((3,), np.float32))
    assert lowered.as_text() == (
        "{ lambda ; a:f32[3]. let b:f32[3] = sin a; c:f32[3] = mul b 2.0:f32[] in (c,) }"
    )
    program = lowered.as_text("numpy")
    assert "sin(xp, s0)" in program
    assert "del s1" in program
    with pytest.raises(OptionError, match="stage must be"):
        lowered.as_text("ptx")


def test_calls_are_inlined_and_dead_code_dropped():
    @fst.jit
    def f(x):
        fst.jit(fnp.exp)(x)
        return fst.jit(fnp.sin)(x)

    text = f.lower(X).as_text("optimized")
    assert "jit" not in text
    assert "exp" not in text
    assert "sin" in text


def test_inline_option():
    g = fst.jit(lambda x: x * 2, inline=True)
    assert "jit" not in str(fst.make_jaxpr(lambda x: g(x))(X))
    assert_close(g(X), 2 * X)


def test_disable_jit_runs_python():
    f, calls = counted(lambda x: x * 2 if x > 0 else x)
    with fst.disable_jit():
        assert float(fst.jit(f)(2.0)) == 4.0
        fst.jit(f)(2.0)
    assert len(calls) == 2
    with pytest.raises(fst.errors.TracerBoolConversionError):
        fst.jit(f)(2.0)


def test_clear_caches():
    f, calls = counted(lambda x: x * 2)
    g = fst.jit(f)
    g(X)
    fst.clear_caches()
    g(X)
    assert len(calls) == 2


def test_error_while_tracing_leaves_no_trace_behind():
    def bad(x):
        raise RuntimeError("user")

    for transform in (fst.jit, fst.grad, fst.vmap, fst.make_jaxpr):
        with pytest.raises(RuntimeError, match="user"):
            transform(bad)(X)
    assert_close(fnp.sin(X), np.sin(X))
    assert fst.grad(lambda x: x * x)(3.0) == 6.0


def test_signatures_are_bounded(monkeypatch):
    from fstensor.transforms import jit as module

    monkeypatch.setattr(module, "_MOST_SIGNATURES", 2)
    f, calls = counted(lambda x: x * 2)
    g = fst.jit(f)
    for n in (1, 2, 3):
        g(np.ones(n, np.float32))
    g(np.ones(3, np.float32))
    assert len(calls) == 3
    g(np.ones(1, np.float32))
    assert len(calls) == 4, "the oldest signature was dropped"


def test_known_calls_take_ndarrays_and_scalars():
    f, calls = counted(lambda t, y: {k: v * y for k, v in t.items()})
    g = fst.jit(f)
    tree = {f"w{i}": fnp.full(3, i, np.float32) for i in range(20)}
    for y in (2.0, 3.0, np.float32(4), 5, True, np.float64(2), X, X + 1, fnp.asarray(X)) * 3:
        out = g(tree, y)
        expected = f(tree, y)
        for k, v in expected.items():
            assert out[k].aval is v.aval, y
            assert_close(out[k], v)
    mixed = {**tree, "w7": np.full(3, 7, np.float32)}
    assert_close(g(mixed, X)["w7"], 7 * X)
    before = len(calls)
    g(mixed, X + 2)
    assert len(calls) == before


def test_known_calls_do_not_share_the_callers_memory():
    g = fst.jit(lambda x, y: (x, y, x + y))
    n, x = X.copy(), fnp.asarray(X)
    for _ in range(4):
        first, second, total = g(n, x)
        n += 1
        assert_close(first, n - 1)
        assert_close(total, first + second)


def test_known_calls_refuse_what_is_no_array():
    g = fst.jit(lambda x, y: x + y)
    x = fnp.asarray(X)
    for _ in range(4):
        assert_close(g(x, x), 2 * X)
        with pytest.raises(ArgumentError, match="a leaf of type str"):
            g(x, "x")
        with pytest.raises(OverflowError):
            g(x, 2**100)


def test_known_calls_find_the_types_that_were_used_before():
    f, calls = counted(lambda t: sum(t))
    g = fst.jit(f)
    lists = [[fnp.ones(n, kind)] * 10 for n in (1, 2) for kind in (np.float32, np.int32)]
    for _ in range(4):
        for xs in lists:
            assert g(xs).aval is xs[0].aval
            assert_close(g(xs), 10 * np.asarray(xs[0]))
    assert len(calls) == 4


def test_known_calls_heed_settings():
    g = fst.jit(lambda x: x / x)
    x = fnp.zeros(3)
    for _ in range(3):
        assert np.isnan(g(x)).all()
        with fst.debug_nans(), pytest.raises(fst.errors.NonFiniteError):
            g(x)
        with fst.config.override(disable_jit=True):
            assert np.isnan(g(x)).all()


def test_threads_make_known_calls():
    trees = [{f"w{i}": fnp.full(3, i + n, np.float32) for i in range(n + 8)} for n in range(6)]
    g = fst.jit(lambda t: sum(t.values()))

    def work(t):
        return [float(g(t)[0]) for _ in range(200)]

    with ThreadPoolExecutor(6) as pool:
        for t, got in zip(trees, pool.map(work, trees), strict=True):
            assert got == [sum(float(v[0]) for v in t.values())] * 200


def test_known_calls_donate_arrays_and_leave_ndarrays_alone():
    g = fst.jit(lambda t, x: {k: v + x for k, v in t.items()}, donate_argnums=0)
    state = {f"w{i}": fnp.full(3, i, np.float32) for i in range(10)}
    for n in range(5):
        given = state
        state = g(given, X)
        assert all(v.is_deleted() for v in given.values())
        assert_close(state["w9"], 9 + (n + 1) * X)
    mixed = {k: np.full(3, 1, np.float32) for k in state}
    for _ in range(5):
        assert_close(g(mixed, X)["w0"], 1 + X)
        assert_close(mixed["w0"], np.ones(3, np.float32))

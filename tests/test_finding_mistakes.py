"""Errors and warnings that tell where a mistake was made."""

import dataclasses
import logging
import traceback

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax
from fstensor.errors import (
    FstensorError,
    MutatedCaptureError,
    OptionError,
    RetraceWarning,
    ShapeError,
    StaticArgumentError,
    UnexpectedTracerError,
)

X = np.float32([0.3, -1.2, 2.0])


# Retraces


def told(call):
    with fst.explain_cache_misses(), pytest.warns(RetraceWarning) as found:
        call()
    assert len(found) == 1
    assert found[0].filename == __file__
    return str(found[0].message)


def loss(params, x, n=2):
    return (x @ params["w1"] * n).sum()


PARAMS = {"w1": np.ones((3, 2), np.float32), "b": np.zeros(2, np.float32)}


def test_functions_of_the_library_are_traced_again_in_silence(recwarn):
    with fst.config.override(explain_retraces=True):
        for n in range(12):
            fst.random.uniform(fst.random.key(0), (n,))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda f: f(PARAMS | {"w1": np.ones((3, 4), np.float32)}, X),
            "params['w1'] changed from float32[3,2] to float32[3,4] (shape); pad it",
        ),
        (
            lambda f: f(PARAMS, X.astype(np.float64)),
            "x changed from float32[3] to float64[3] (dtype); convert it with astype",
        ),
        (
            lambda f: f(PARAMS | {"b": 0.0}, X),
            "params['b'] changed from float32[2] to float32[] (shape)",
        ),
        (lambda f: f(PARAMS, X, 3), "the static argument n changed from 2 to 3; pass it as"),
        (
            lambda f: f({"w1": PARAMS["w1"]}, X, 2),
            "the structure of the arguments changed: params: expected dict with keys ['b', 'w1'] "
            "at the root, got dict with keys ['w1']; pass the same keys",
        ),
    ],
)
def test_what_changed_is_named_by_its_path(change, text):
    f = fst.jit(lambda params, x, n: loss(params, x, n), static_argnames="n")
    g = lambda params, x, n=2: f(params, x, n)
    g(PARAMS, X)
    assert text in told(lambda: change(g))


def test_weak_types_and_settings():
    f = fst.jit(lambda x: x * 2)
    f(np.float32(1.0))
    assert "x changed from float32[] to weak float32[] (weak type)" in told(lambda: f(1.0))
    with fst.config.override(default_dtype_bits=64):
        assert "the configuration changed" in told(lambda: f(np.float32(1.0)))


def test_nearest_signature_is_compared_with():
    f = fst.jit(lambda x, y: x.sum() + y.sum())
    f(X, X)
    with fst.config.override(explain_retraces=False):
        f(X[:2], X[:2])
    text = told(lambda: f(X, X[:1]))
    assert "because y changed from float32[3] to float32[1] (shape); pad" in text


def test_told_once_at_the_sixth_signature(recwarn):
    f = fst.jit(lambda x: x.sum())
    with fst.config.override(explain_retraces="auto"):
        for n in range(5):
            f(np.ones(n))
        with pytest.warns(RetraceWarning, match="for signature 6 .told once for each function."):
            f(np.ones(5))
        f(np.ones(5))
        f(np.ones(6))
    with fst.config.override(explain_retraces=False):
        f(np.ones(7))
    assert not recwarn


def test_compiles_are_logged(caplog):
    f = fst.jit(loss)
    with fst.log_compiles():
        f(PARAMS, X)
        f(PARAMS, X)
    f(PARAMS, X[None])
    assert [(r.name, r.levelno) for r in caplog.records] == [("fstensor.jit", logging.WARNING)]
    assert caplog.messages[0].startswith("loss at tests/test_finding_mistakes.py:")
    assert "for (float32[2], float32[3,2], float32[3]): traced in " in caplog.messages[0]
    assert " s, compiled in " in caplog.messages[0]


# ndarrays written into after they were captured


def test_captured_ndarray():
    c = X.copy()

    def f(x):
        return x + c

    g = fst.jit(f)
    g(1.0)
    g(1.0)
    c[1] = 7
    with pytest.raises(MutatedCaptureError, match=r"the NumPy array c, float32\[3\]"):
        g(1.0)
    c[1] = X[1]
    g(1.0)
    c[1] = 7
    g.clear_cache()
    assert float(g(0.0)[1]) == 7


def test_part_of_a_captured_ndarray():
    table = np.arange(12.0).reshape(3, 4)
    g = fst.jit(lambda x: x + table[1, ::2])
    g(1.0)
    table[0] = table[1, 1] = 100
    g(1.0)
    table[1, 2] = 100
    with pytest.raises(MutatedCaptureError, match=r"table, float64\[2\]"):
        g(1.0)


def test_captured_through_a_nested_jit():
    c = X.copy()
    inner = fst.jit(lambda x: x + c)
    inner(1.0)
    outer = fst.jit(lambda x: inner(x) * 2)
    outer(1.0)
    c[0] = 7
    with pytest.raises(MutatedCaptureError):
        outer(1.0)


def test_captured_in_a_loop_and_a_gradient():
    c = X.copy()
    g = fst.jit(
        fst.grad(lambda x: lax.scan(lambda s, _: (s * c.sum() + fnp.sum(c), None), x, X)[0])
    )
    h = fst.jit(lambda x: lax.scan(lambda s, _: (s + c, None), x, X)[0])
    g(1.0)
    h(X)
    c[0] = 7
    for f, x in ((g, 1.0), (h, X)):
        with pytest.raises(MutatedCaptureError):
            f(x)


def test_large_captures_are_sampled():
    c = np.zeros(10**5, np.float32)
    g = fst.jit(lambda x: x + fnp.sum(c))
    g(1.0)
    c[1] = 1  # between the samples
    g(1.0)
    with fst.config.override(check_captures="all"), pytest.raises(MutatedCaptureError):
        g(1.0)
    c += 1
    with pytest.raises(MutatedCaptureError):
        g(1.0)
    with fst.config.override(check_captures="off"):
        assert float(g(1.0)) == 1.0


def test_what_the_function_makes_for_itself_is_not_watched():
    def f(x):
        n = np.zeros(3, np.float32)
        y = x + n
        n += 1
        return y + n

    g = fst.jit(f)
    g(X)
    (traced,) = g._signatures.values()
    assert traced.ndarrays == ()
    np.testing.assert_allclose(g(X), X + 1)


# Static arguments


@dataclasses.dataclass
class Mutable:
    n: int


@dataclasses.dataclass(unsafe_hash=True)
class Hashed:
    n: int


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ([1], "got list for n; pass a tuple or a frozen dataclass"),
        ({}, "got dict for n; pass a tuple"),
        (Mutable(1), "got Mutable for n; declare the dataclass with frozen=True"),
        (X, "got ndarray for n; arrays are no static arguments: leave it out of static_argnums"),
    ],
)
def test_static_arguments_that_cannot_be_hashed(value, hint):
    with pytest.raises(StaticArgumentError) as info:
        fst.jit(lambda x, n: x, static_argnames="n")(X, value)
    assert hint in str(info.value)


def test_traced_static_argument():
    inner = fst.jit(lambda x, n: x, static_argnums=1)
    with pytest.raises(
        StaticArgumentError, match=r"a Python value, got a traced float32\[\] for n"
    ):
        fst.jit(lambda x: inner(x, x))(1.0)


def test_static_argument_changed_in_place():
    f = fst.jit(lambda x, options: x * options.n, static_argnums=1)
    options = Hashed(2)
    f(X, options)
    options.n = 3
    with pytest.raises(StaticArgumentError, match=r"changed in place .* options=Hashed\(n=3\)"):
        f(X, options)
    np.testing.assert_allclose(f(X, Hashed(3)), 3 * X)


# Leaks


class Holder:
    pass


@pytest.mark.parametrize("transform", [fst.jit, fst.grad, fst.vmap, lambda f: fst.jit(fst.grad(f))])
def test_leaks_are_found_when_the_call_ends(transform):
    holder, kept = Holder(), []

    def to_attribute(x):
        holder.y = x * 2
        return x * x

    def to_list(x):
        kept.append(x * 2)
        return x * x

    for f, text in ((to_attribute, "the attribute 'y' of a Holder"), (to_list, "a list")):
        with fst.checking_leaks(), pytest.raises(UnexpectedTracerError) as info:
            transform(f)(X if transform is fst.vmap else 2.0)
        assert f"held by {text}; return it" in str(info.value)
        line = f.__code__.co_firstlineno + 1
        assert f"made at tests/test_finding_mistakes.py:{line}" in str(info.value)


def test_no_leak_no_complaint():
    def f(x):
        y = x * 2
        return lax.scan(lambda c, a: (c * y + a, c), x, fnp.arange(3.0))[0]

    with fst.checking_leaks():
        for g in (f, fst.jit(f), fst.grad(f), fst.grad(fst.grad(f)), fst.jit(fst.grad(fst.jit(f)))):
            g(2.0)
            fst.vmap(g)(X)
        fst.vjp(f, 2.0)[1](1.0)
        fst.jacfwd(f)(2.0)


# Tracebacks


def frames(error):
    return [f.filename for f in traceback.extract_tb(error.__traceback__)]


def bad(x):
    return x + fnp.ones((2, 2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: fst.jit(bad)(X),
        lambda: fst.grad(lambda x: bad(x).sum())(X),
        lambda: fst.vmap(bad)(np.ones((2, 3))),
        lambda: fst.jvp(bad, (X,), (X,)),
        lambda: fst.vjp(bad, X),
        lambda: lax.scan(lambda c, x: (bad(c), x), X, X),
        lambda: lax.cond(True, bad, bad, X),
        lambda: fst.jit(fst.vmap(fst.jit(fst.grad(lambda x: bad(x).sum()))))(np.ones((2, 3))),
        lambda: fst.eval_shape(bad, X),
        lambda: fst.make_jaxpr(bad)(X),
    ],
)
def test_own_frames_are_folded(call):
    with pytest.raises(ShapeError) as info:
        call()
    assert set(frames(info.value)) == {__file__}
    assert info.value.__notes__ == [
        "frames inside fstensor are folded; "
        'fstensor.config.update("traceback_filtering", "off") shows them'
    ]
    with fst.config.override(traceback_filtering="off"), pytest.raises(ShapeError) as info:
        call()
    assert len(set(frames(info.value))) > 2
    assert not hasattr(info.value, "__notes__")


def test_errors_of_users_keep_their_frames_and_causes():
    def f(x):
        try:
            bad(x)
        except ShapeError as error:
            raise KeyError("mine") from error

    with pytest.raises(KeyError) as info:
        fst.jit(fst.grad(f))(X)
    assert set(frames(info.value)) == {__file__}
    assert [f.name for f in traceback.extract_tb(info.value.__traceback__)][-1] == "f"
    cause = info.value.__cause__
    assert isinstance(cause, ShapeError)
    assert set(frames(cause)) == {__file__}


def test_error_before_the_users_function_runs():
    with pytest.raises(FstensorError) as info:
        fst.grad(lambda x: x)(X)
    assert frames(info.value) == [__file__]


def test_names_of_settings():
    with fst.config.override(jax_explain_cache_misses=True):
        assert fst.config.explain_retraces is True
    assert fst.config.explain_retraces is False, "as tests/conftest.py has it"
    with pytest.raises(OptionError, match="traceback_filtering takes 'fold' or 'off', got 'some'"):
        fst.config.update("jax_traceback_filtering", "some")

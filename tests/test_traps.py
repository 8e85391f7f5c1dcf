"""Bugs that have bitten libraries of this kind, each with its test."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax, random
from fstensor.core.state import state
from fstensor.core.trace import EVAL
from tests.tolerances import assert_close

X = np.float32([0.3, -1.2, 2.0])


def test_perturbation_confusion():
    assert float(fst.grad(lambda x: x * fst.grad(lambda y: x * y)(2.0))(3.0)) == 6.0
    assert float(fst.grad(lambda x: x * fst.jvp(lambda y: x + y, (1.0,), (1.0,))[1])(1.0)) == 1.0
    nested = fst.jit(fst.grad(fst.jit(lambda x: x * fst.jit(fst.grad(lambda y: x * y))(2.0))))
    assert float(nested(3.0)) == 6.0


def test_symbolic_zeros_are_not_materialized():
    # The tangent of y is zero by structure: nothing is computed for it.
    text = str(fst.make_jaxpr(fst.grad(lambda x, y: fnp.sum(x + fnp.sin(y))))(X, X))
    assert "cos" not in text


def test_jvp_rule_is_skipped_when_all_tangents_are_zero():
    text = str(fst.make_jaxpr(lambda x, y: fst.jvp(lambda x: x + fnp.sin(y), (x,), (x,)))(X, X))
    assert "cos" not in text


def test_cotangents_are_summed_once():
    text = str(fst.make_jaxpr(fst.grad(lambda x: fnp.sum(x + x + x)))(X))
    assert text.count("add_any") == 2


def test_weak_types_are_part_of_the_cache_key():
    calls = []
    f = fst.jit(lambda x: calls.append(1) or x * np.float16(2))
    assert f(1.0).dtype == np.float16
    assert f(np.float32(1)).dtype == np.float32
    assert len(calls) == 2


def test_weak_types_do_not_matter_to_derivatives():
    assert fst.grad(lambda x: x * x)(2.0).dtype == np.float32
    _, tangent = fst.jvp(lambda x: x * 2, (2.0,), (np.float32(1.0),))
    assert float(tangent) == 2.0
    _, f_vjp = fst.vjp(lambda x: x * 2, 2.0)
    assert float(f_vjp(np.float32(1.0))[0]) == 2.0


def test_configuration_is_part_of_the_cache_key():
    f = fst.jit(lambda: fnp.zeros(2))
    assert f().dtype == np.float32
    with fst.config.override(default_dtype_bits=64):
        assert f().dtype == np.float64
    assert f().dtype == np.float32


def test_configuration_is_restored_on_errors_and_belongs_to_a_thread():
    with pytest.raises(RuntimeError), fst.config.override(default_dtype_bits=64):
        raise RuntimeError
    assert fst.config.default_dtype_bits == 32
    seen = []
    with fst.config.override(default_dtype_bits=64):
        thread = threading.Thread(target=lambda: seen.append(fst.config.default_dtype_bits))
        thread.start()
        thread.join()
    assert seen == [32]


def test_trace_stack_is_restored_on_errors():
    def bad(x):
        return fst.vmap(fst.jit(fst.grad(lambda y: [][0])))(x)

    for transform in (fst.jit, fst.grad, fst.vmap):
        with pytest.raises(IndexError):
            transform(bad)(X)
        assert state.trace is EVAL
        assert not state.axes


def test_threads_trace_apart():
    results = {}

    def work(k):
        def slow(x):
            time.sleep(0.01)
            return fnp.sum(x * k)

        results[k] = np.asarray(fst.jit(fst.grad(slow))(X))

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k, got in results.items():
        assert_close(got, np.full(3, k, np.float32))


def test_tracing_time_is_linear():
    def chain(n):
        def f(x):
            for _ in range(n):
                x = fnp.sin(x) + 1.0
            return x

        return f

    # Counted, not timed: equations grow in proportion, and so does the text.
    short, long = (fst.make_jaxpr(chain(n))(1.0) for n in (20, 200))
    assert len(long.eqns) == 10 * len(short.eqns)
    gradient = fst.make_jaxpr(fst.grad(chain(200)))(1.0)
    assert len(gradient.eqns) <= 6 * len(long.eqns)


def test_captured_arrays_are_passed_not_folded():
    big = fnp.ones((300, 300))
    closed = fst.make_jaxpr(lambda x: x + big)(1.0)
    assert closed.consts == [big] or closed.consts[0] is big
    assert len(str(closed)) < 200


def test_where_gradient_and_the_double_where():
    naive = fst.grad(lambda x: fnp.where(x > 0, fnp.sqrt(x), 0.0))(0.0)
    assert np.isnan(float(naive)) == np.isnan(
        float(jax.grad(lambda x: jnp.where(x > 0, jnp.sqrt(x), 0.0))(0.0))
    )

    def double(x):
        safe = fnp.where(x > 0, x, 1.0)
        return fnp.where(x > 0, fnp.sqrt(safe), 0.0)

    assert float(fst.grad(double)(0.0)) == 0.0


def test_gradient_of_repeated_indices_adds():
    g = fst.grad(lambda x: fnp.sum(x[np.array([0, 0, 2])]))(X)
    assert_close(g, np.float32([2, 0, 1]))


def test_broadcasting_gradients_of_unequal_ranks():
    m = np.ones((4, 1, 3), np.float32)
    gx, gm = fst.grad(lambda x, m: fnp.sum(x * m * 2), argnums=(0, 1))(X, m)
    assert_close(gx, np.full(3, 8, np.float32))
    assert_close(gm, np.broadcast_to(2 * X, (4, 1, 3)).astype(np.float32))


def test_maximum_of_the_same():
    assert_close(fst.grad(lambda x: fnp.sum(fnp.maximum(x, x)))(X), np.ones(3, np.float32))


def test_square_at_zero():
    assert float(fst.grad(lambda x: x**2)(0.0)) == 0.0
    assert float(fst.grad(fst.grad(lambda x: x**2))(0.0)) == 2.0
    assert float(fst.grad(lambda x: x**2.0)(0.0)) == 0.0
    assert float(fst.grad(lambda x: x**1)(0.0)) == 1.0


def test_reflected_operators():
    x = fnp.asarray(2.0)
    assert float(5 - x) == 3.0
    assert float(5 / x) == 2.5
    assert float(5 // x) == 2.0
    assert float(5 % x) == 1.0
    assert float(5**x) == 25.0
    assert bool(x < 5)
    assert not bool(5 < x)  # noqa: SIM300  # the reflected operator is what is tested
    assert bool(np.float32(5) > x)
    assert float(np.float32(5) - x) == 3.0


def test_checks_are_made_on_every_call():
    f = fst.jit(lambda x, y: lax.add(x, y))
    for _ in range(2):
        f(X, X)
        lax.add(X, X)
        for call in (f, lax.add):
            with pytest.raises(fst.errors.ShapeError):
                call(X, X[:2])


def test_convolution_of_a_strided_view():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 6, 3)).astype(np.float32)
    w = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)

    def loss(x, w):
        y = lax.conv_general_dilated(x, w, (2, 1), "SAME", rhs_dilation=(1, 2))
        return fnp.sum(fnp.sin(y))

    view = x.transpose(0, 3, 2, 1)[:, :, ::-1]
    assert not view.flags.c_contiguous
    expected = fst.grad(loss, argnums=(0, 1))(np.ascontiguousarray(view), w)
    for got, want in zip(fst.grad(loss, argnums=(0, 1))(view, w), expected, strict=True):
        assert_close(got, want, derivative=True)


def test_small_parts_do_not_keep_large_arrays_alive():
    x = fnp.zeros((1000, 1000))
    parts = [x[0, 0], x[3], x[::100, ::100]]
    for part in parts:
        assert not np.shares_memory(np.asarray(part), np.asarray(x))


def test_sum_of_float16_does_not_overflow_early():
    x = np.full(4096, 0.1, np.float16)
    assert abs(float(fnp.sum(x)) - 409.5) < 1.0


def test_dropout_mask_does_not_change_under_recomputation():
    key = random.key(0)

    def f(x):
        return fnp.sum(fnp.where(random.uniform(key, x.shape) < 0.5, x, 0.0))

    mask = np.asarray(fst.grad(f)(X))
    assert_close(fst.jit(fst.grad(f))(X), mask)
    assert_close(fst.vjp(f, X)[1](np.float32(1))[0], mask)


def test_failed_backward_pass_leaks_nothing():
    import gc

    gc.collect()
    before = len(gc.get_objects())
    for _ in range(5):
        with pytest.raises(fst.errors.GradError):
            fst.grad(lambda x: fnp.sin(x) * fnp.exp(x))(X)
    gc.collect()
    assert len(gc.get_objects()) - before < 200


def test_collectives_under_nested_vmap():
    m = np.arange(6, dtype=np.float32).reshape(2, 3)

    def f(np_lax, vmap):
        inner = vmap(lambda x: x - np_lax.psum(x, "i") + np_lax.psum(x, "o"), axis_name="i")
        return vmap(inner, axis_name="o")

    assert_close(f(lax, fst.vmap)(m), f(jax.lax, jax.vmap)(m))


def test_no_warning_leaks_from_numpy():
    # The test configuration turns warnings into errors.
    x = fnp.asarray([0.0, -1.0, np.inf])
    fnp.log(x), x / 0, fnp.sqrt(x), x - x, fnp.exp(x * 1000)
    fst.jit(lambda x: (fnp.log(x), x / 0, x - x))(x)
    fst.grad(lambda x: fnp.sum(fnp.log(x)))(x)
    fnp.asarray(np.int32([1])) // fnp.asarray(np.int32([0]))

"""Loops and choices as native code: against the NumPy executor."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import config, grad, jit, lax, random, vmap
from fstensor.compiler.control import ChoiceStep, LoopStep
from fstensor.compiler.llvm.number_loop import is_of_numbers
from tests.compiler.test_indexing import both, check, check_values, compiled, hosts, numbers

CLOSE = 2e-5


def the_loop(f, *args):
    """The single loop of a program."""
    (step,) = [s for s in compiled(f, *args).steps if isinstance(s, LoopStep)]
    return step


def rnn(w, h, xs):
    def cell(h, x):
        h = fnp.tanh(h @ w + x)
        return h, 2 * h

    return lax.scan(cell, h, xs)


def gru(w, u, h, xs):
    def cell(h, x):
        a, b = x @ w, h @ u
        n = h.shape[-1]
        z = lax.logistic(a[:, :n] + b[:, :n])
        r = lax.logistic(a[:, n : 2 * n] + b[:, n : 2 * n])
        c = fnp.tanh(a[:, 2 * n :] + r * b[:, 2 * n :])
        h = z * h + (1 - z) * c
        return h, h

    return lax.scan(cell, h, xs)


def cells(size=8, batch=4, steps=6):
    w = 0.3 * numbers((size, size), seed=1)
    return w, numbers((batch, size), seed=2), numbers((steps, batch, size), seed=3)


# Loops of known length


def test_a_recurrent_net_is_one_product_a_step():
    step = the_loop(rnn, *cells())
    (body,) = step.bodies
    assert [type(s).__name__ for s in body.segment.steps] == ["ProductStep"]
    assert not is_of_numbers(step)
    check(rnn, *cells(), tolerance=CLOSE)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_last_carry_is_where_the_result_is(steps):
    check(rnn, *cells(steps=steps), tolerance=CLOSE)


def test_gradients_of_recurrent_nets():
    w, h, xs = cells()
    u = 0.3 * numbers((8, 24), seed=4)
    v = 0.3 * numbers((8, 24), seed=5)
    check(grad(lambda w, h, xs: rnn(w, h, xs)[1].sum(), (0, 1, 2)), w, h, xs, tolerance=1e-4)
    f = lambda w, u, h, xs: (gru(w, u, h, xs)[1] ** 2).sum()
    check(grad(f, (0, 1, 2, 3)), u, v, h, xs, tolerance=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("unroll", [1, 2, 3, 10, True])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_unrolled_scans(shape, unroll, reverse):
    def f(c, xs):
        step = lambda c, x: (0.9 * c + x, (c, x > c))
        return lax.scan(step, c, xs, reverse=reverse, unroll=unroll)

    check(f, numbers(shape), numbers((10, *shape), seed=1), tolerance=1e-6)


def test_loops_over_numbers_keep_them_in_registers():
    def f(x, xs):
        return lax.scan(lambda c, i: (c + 2 * xs[i % 5], c > 0), x, fnp.arange(7))

    args = (np.float32(0.5), numbers((5,)))
    assert is_of_numbers(the_loop(f, *args))
    check(f, *args, tolerance=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "i1", "u4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(), (5,)])
def test_carries_of_any_dtype(dtype, shape):
    def f(x, xs):
        op = fnp.logical_xor if dtype == "bool" else fnp.add
        return lax.scan(lambda c, y: (op(c, y), (y, c)), x, xs)

    check(f, numbers(shape, dtype), numbers((4, *shape), dtype, seed=1))


def test_a_carry_that_moves_from_place_to_place():
    def f(a, b, c):
        return lax.fori_loop(0, 7, lambda i, s: (s[1], s[2], s[0] + s[1]), (a, b, c))

    check(f, np.float32(1), np.float32(2), np.float32(3))
    check(f, *(numbers((6,), seed=s) for s in range(3)))


def test_a_carry_that_stays_the_same():
    def f(x, table):
        return lax.fori_loop(0, 5, lambda i, s: (s[0] + s[1][i], s[1]), (x, table))

    assert the_loop(f, np.float32(0), numbers((5,))).kept == [False, False, True]
    check(f, np.float32(0), numbers((5,)))


def test_a_body_that_returns_numbers_and_what_it_gets_twice():
    def f(x, xs):
        return lax.scan(lambda c, y: (fnp.ones_like(c), (y, y, c, 3.0)), x, xs)

    check(f, numbers((4,)), numbers((3, 4)))


def test_updates_in_place():
    def f(x):
        return lax.fori_loop(0, 20, lambda i, c: c.at[i].set(c[i - 1] + c[i]), x)

    (body,) = the_loop(f, numbers((1000,))).bodies
    assert the_loop(f, numbers((1000,))).in_place[-1]
    # What is written over is not copied first.
    assert body.segment.scratch < 1000
    check(f, numbers((1000,)))


def test_an_update_that_reads_what_is_gone_is_not_in_place():
    def f(x):
        return lax.fori_loop(0, 5, lambda i, c: c[::-1] + 0.5 * c, x)

    assert the_loop(f, numbers((1000,))).in_place == [False]
    check(f, numbers((1000,)))


def test_arguments_are_not_written_over():
    x = fnp.asarray(numbers((100,)))
    before = np.array(x)
    out = jit(lambda x: lax.fori_loop(0, 3, lambda i, c: c * 2, x))(x)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(out, before * 8)


def test_loops_in_loops():
    def inner(i, c):
        return lax.fori_loop(0, 4, lambda j, c: c.at[i, j].add(c[j, i]), c)

    check(lambda c: lax.fori_loop(0, 4, inner, c), numbers((4, 4)), tolerance=1e-6)
    check(grad(lambda c: lax.fori_loop(0, 4, inner, c).sum()), numbers((4, 4)), tolerance=1e-5)


def test_constants_of_bodies():
    table, scale = numbers((6,), seed=3), numbers((2, 3), seed=4)

    def f(x):
        body = lambda c, i: (c * fnp.asarray(scale) + fnp.asarray(table)[i], None)
        return lax.scan(body, x, fnp.arange(6))[0]

    check(f, numbers((2, 3)), tolerance=1e-6)


def test_random_keys_as_carry():
    def f(key):
        def step(key, _):
            key, use = random.split(key)
            return key, random.normal(use, (3,))

        key, draws = lax.scan(step, key, None, length=4)
        return random.key_data(key), draws

    got, expected = jit(f)(random.key(3)), f(random.key(3))
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_allclose(got[1], expected[1], 1e-5, 1e-6)


def test_views_as_operands_and_results():
    def f(x, xs):
        step = lambda c, y: (c.T + y, c[:, 0])
        return lax.scan(step, x.T, xs[::-1].transpose(0, 2, 1))

    check(f, numbers((4, 4)), numbers((3, 4, 4), seed=1))


def test_large_arrays_are_shared_among_threads():
    x, xs = numbers((400, 500)), numbers((6, 400, 500), seed=1)

    def f(x, xs):
        step = lambda c, y: (fnp.sin(c[::-1] + y), (c + y).sum(0))
        return lax.scan(step, x, xs)

    check(f, x, xs, tolerance=1e-5)


def test_results_do_not_depend_on_threads():
    args = cells(64, 64, 20)
    found = []
    before = config.threads
    try:
        for threads in (1, 2, 3):
            config.update("threads", threads)
            found.append([np.asarray(y) for y in jit(lambda *a: rnn(*a))(*args)])
    finally:
        config.update("threads", before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


# Loops with a condition


@pytest.mark.parametrize("stop", [-1.0, 1.0, 5.0, 1e6])
@pytest.mark.parametrize("shape", [(), (3,), (3, 50)])
def test_while_loops(stop, shape):
    def f(x, stop):
        going = lambda s: fnp.max(s[1]) < stop
        return lax.while_loop(
            going, lambda s: (s[0] + 1, 1.5 * s[1] + s[1][::-1] if shape else 2 * s[1]), (0, x)
        )

    check(f, np.abs(numbers(shape)) + np.float32(0.5), np.float32(stop), tolerance=1e-6)


def test_a_while_loop_whose_carry_changes_places():
    def f(a, b):
        more = lambda s: s[0] < 100
        return lax.while_loop(more, lambda s: (s[1], s[0] + s[1]), (a, b))

    for first in (1, 50, 99, 100):
        check(f, np.int32(first), np.int32(1))
    g = lambda a, b: lax.while_loop(lambda s: s[0][0] < 90, lambda s: (s[1], s[0] + s[1]), (a, b))
    for first in (1, 50, 89, 95):
        check(g, np.full(5, first, np.int32), np.ones(5, np.int32))


def test_a_while_loop_of_large_arrays():
    def f(x):
        more = lambda s: (s[1] ** 2).mean() > 1e-3
        return lax.while_loop(more, lambda s: (s[0] + 1, 0.5 * s[1] + 0.1 * s[1][::-1]), (0, x))

    check(f, numbers((300, 400)), tolerance=1e-5)


def test_batched_while_loops():
    def f(x):
        return lax.while_loop(lambda s: s < 100, lambda s: s * s + 1, x)

    check(vmap(f), fnp.arange(1, 9))


# Choices


@pytest.mark.parametrize("which", [-3, 0, 1, 2, 7])
@pytest.mark.parametrize("shape", [(), (5,), (300, 200)])
def test_switches(which, shape):
    branches = [lambda x: (x + 1, x), lambda x: (x[::-1] if shape else x, 2 * x), lambda x: (x, x)]
    f = lambda i, x: lax.switch(i, branches, x)
    check(f, np.int32(which), numbers(shape))


@pytest.mark.parametrize("flag", [False, True])
def test_gradients_of_choices(flag):
    def f(flag, x):
        return lax.cond(flag, lambda x: fnp.sin(x).sum(), lambda x: (x**2).sum(), x)

    check(grad(f, 1), np.bool_(flag), numbers((7,)), tolerance=1e-6)


def test_choices_in_loops():
    def f(x):
        def body(i, c):
            return lax.cond(i % 3 == 0, lambda c: c * 2, lambda c: c + i, c)

        return lax.fori_loop(0, 10, body, x)

    check(f, np.float32(1))
    check(f, numbers((9,)))
    (body,) = the_loop(f, numbers((9,))).bodies
    assert [type(s) for s in body.segment.steps].count(ChoiceStep) == 1


# What stays on the host


def test_a_loop_around_a_host_call_stays_on_the_host():
    def f(x):
        return lax.fori_loop(0, 3, lambda i, c: fnp.sort(c)[::-1] + c, x)

    x = numbers((9,))
    assert hosts(compiled(f, x)) == ["scan"]
    check_values(f, x, tolerance=1e-6)


def test_loops_with_callbacks_stay_on_the_host():
    seen = []

    def f(x):
        def body(i, c):
            fst.debug.callback(lambda i: seen.append(int(i)), i)
            return c + i

        return lax.fori_loop(0, 3, body, x)

    assert jit(f)(np.int32(1)).item() == 4
    assert sorted(seen) == [0, 1, 2]


def test_loops_of_no_steps():
    f = lambda x, xs: lax.scan(lambda c, y: (c + y, c), x, xs)
    check_values(f, np.float32(1), numbers((0,)))


# What is shown


def test_the_plan_shows_programs_inside():
    lowered = jit(rnn).lower(*cells())
    plan = lowered.as_text("plan")
    assert "loop 0: f32[8,8] #0, f32[4,8] #1, f32[6,4,8] #2" in plan
    assert "loop, 6 rounds, carry in turn" in plan
    assert "body" in lowered.as_text("kernels")
    assert lowered.report() == "native: 1 kernels in one call"
    product = 2 * 4 * 8 * 8
    assert lowered.cost_analysis()["flops"] >= 6 * product


def test_both_executors_agree_on_programs_in_programs():
    f = lambda x: lax.map(lambda y: lax.while_loop(lambda s: s < 3, lambda s: s + y, y), x)
    for got, expected in zip(*both(f, np.abs(numbers((5,))) + np.float32(0.1)), strict=True):
        np.testing.assert_allclose(got, expected, 1e-6)

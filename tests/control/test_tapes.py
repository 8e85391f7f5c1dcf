"""Tapes: what loops of unknown length keep for the reverse mode."""

import numpy as np
import pytest

import fstensor as fst
from fstensor import lax
from fstensor.config import config
from fstensor.control.tapes import SpreadTape, UniteTapes, spread, united
from fstensor.core.jaxpr import Literal
from fstensor.core.tape import ZERO_TAPE, Tape, sum_of_tapes, unwrapped, wrapped, zero_tapes
from fstensor.transforms.arguments import lift_leaves
from fstensor.transforms.linearize import linearize_flat


def filled(count, shape=(2,)):
    tape = Tape()
    for i in range(count):
        tape.append(np, np.full(shape, float(i)))
    return tape


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 100])
@pytest.mark.parametrize("shape", [(), (2,), (0,), (2, 3)])
def test_steps_are_kept_in_order(count, shape):
    steps = filled(count, shape).steps()
    assert steps.shape == (count, *shape)
    np.testing.assert_array_equal(steps.reshape(count, -1), np.tile(
        np.arange(float(count))[:, None], (1, steps[0].size)
    ))  # fmt: skip


def test_a_value_is_copied_when_it_is_kept():
    value = np.zeros(2)
    tape = Tape()
    tape.append(np, value)
    value += 1
    assert tape.steps().tolist() == [[0.0, 0.0]]


def test_room_doubles():
    assert len(filled(1000)._steps) == 1024


def test_sums():
    tape = filled(3)
    assert tape.plus(ZERO_TAPE) is tape
    assert ZERO_TAPE.plus(tape) is tape
    np.testing.assert_array_equal(tape.plus(tape).steps(), 2 * tape.steps())
    assert ZERO_TAPE.plus(Tape()).is_zero
    total = sum_of_tapes(wrapped(tape, (4,)), wrapped(tape))
    assert len({id(t) for t in total}) == 1


def test_references():
    tape = filled(3)
    assert unwrapped(wrapped(tape)) is tape
    assert unwrapped(wrapped(tape, (2, 3))) is tape
    assert unwrapped(zero_tapes((2,))).is_zero
    assert unwrapped(wrapped(tape, (0,))).is_zero
    chosen = np.where([False, True, False], wrapped(tape, (3,)), zero_tapes((3,)))
    assert unwrapped(chosen) is tape


def test_printing():
    assert repr(ZERO_TAPE) == "Tape(zeros)"
    assert repr(filled(3)) == "Tape(3 steps)"


def residual():
    """An Array that is a tape: what the derivative of a loop keeps."""

    def f(x):
        return [lax.while_loop(lambda c: c < 3, lambda c: c * x * c, x)]

    (x,) = lift_leaves([np.float32(1.5)], "test")
    jaxpr = linearize_flat(f, [x], [True], "linearize", "f").jaxpr
    literals = [a.value for e in jaxpr.eqns for a in e.invars if isinstance(a, Literal)]
    return next(c for c in literals if c.dtype == fst.dtypes.tape)


def test_spread_and_united_are_inverse():
    tape = residual()
    assert united(spread(tape, 4), 0).shape == ()
    for out_axis in (0, 1):
        both = fst.vmap(lambda t: spread(t, 2), out_axes=out_axis)(spread(tape, 3))
        assert both.shape == ((3, 2) if out_axis == 0 else (2, 3))
        assert fst.vmap(lambda t: united(t, 0), in_axes=out_axis)(both).shape == (3,)


def test_spread_and_united_are_each_others_transpose():
    tape = residual()
    many = spread(tape, 4)
    assert SpreadTape(0, 4).transpose(many, tape)[0].shape == ()
    assert UniteTapes(0).transpose(tape, many)[0].shape == (4,)
    assert SpreadTape(0, 4).jvp([tape], [tape])[1].shape == (4,)
    assert UniteTapes(0).jvp([many], [many])[1].shape == ()


def test_no_memory_is_kept_for_values_that_do_not_change():
    w = np.ones((40, 40))

    def f(x):
        return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, w @ c[1]), (0, x))[1].sum()

    closed = fst.make_jaxpr(fst.grad(f))(np.ones(40))
    (loop,) = [e for e in closed.eqns if e.primitive.name == "while"]
    assert not [v for v in loop.outvars if v.aval.dtype == fst.dtypes.tape]


def test_choices_between_loops_of_different_lengths():
    # Each branch has tapes of its own, of its own number of steps.
    def loop(x, n):
        return lax.while_loop(
            lambda c: c[0] < n, lambda c: (c[0] + 1, fst.numpy.sin(c[1]) * x), (0, x)
        )[1]

    def f(x, n):
        return lax.cond(x > 0.5, lambda x: loop(x, n), lambda x: loop(x * 2, n + 2), x)

    with config.override(default_dtype_bits=64):
        xs, ns = np.float64([0.2, 0.7, 0.4, 1.1]), np.array([1, 4, 0, 2])
        each = [
            fst.grad(f)(x, n)
            for x, n in zip(fst.numpy.asarray(xs), fst.numpy.asarray(ns), strict=True)
        ]
        np.testing.assert_allclose(fst.vmap(fst.grad(f))(xs, ns), np.stack(each), rtol=1e-12)
        total = lambda xs: fst.vmap(f)(xs, ns).sum()
        np.testing.assert_allclose(fst.grad(total)(xs), np.stack(each), rtol=1e-12)


def test_a_branch_with_a_loop_in_a_scan_in_a_batch():
    # Where an example does not take the branch, the cotangent of its tape is a tape of zeros.
    def inner(c, x):
        return lax.while_loop(
            lambda s: s[0] < 3, lambda s: (s[0] + 1, fst.numpy.sin(s[1]) * x), (0, c)
        )[1]

    def f(x):
        step = lambda c, e: (lax.cond(e > 0.1, inner, lambda c, x: c * x, c, x[0]), c)
        return fst.numpy.sum(lax.scan(step, x[1], x)[1] * x)

    with config.override(default_dtype_bits=64):
        xs = fst.numpy.asarray([[0.3, -1.2, 2.0], [0.6, -2.4, 4.0]])
        second = fst.grad(lambda xs: fst.numpy.sum(fst.vmap(fst.grad(f))(xs)))(xs)
        each = [fst.grad(lambda x: fst.numpy.sum(fst.grad(f)(x)))(x) for x in xs]
        np.testing.assert_allclose(second, np.stack(each), rtol=1e-12)

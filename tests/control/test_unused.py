"""Loops and branches lose the results that nobody uses, with all that only those need."""

import numpy as np

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.core.jaxpr import ClosedJaxpr, dce, dce_closed
from tests.tolerances import assert_close

X = np.float32([0.3, -1.2, 2.0])


def smaller(f, *args, used=(True,)):
    """The program of the used results of a function, checked, and its one loop or branch."""
    whole = fst.make_jaxpr(f)(*args)
    program = ClosedJaxpr(dce(whole.jaxpr, used), whole.consts)
    program.check()
    expected = [x for x, on in zip(fst.tree.leaves(f(*args)), used, strict=True) if on]
    got = program.as_function()(*fst.tree.leaves(args))
    for a, b in zip(got, expected, strict=True):
        assert_close(a, b)
    (eqn,) = [e for e in program.eqns if e.primitive.name in ("scan", "while", "cond")]
    return eqn


def names(program):
    return [e.primitive.name for e in program.eqns]


def test_scan():
    def f(c, d, w, xs):
        def step(carry, x):
            c, d, e = carry
            return (fnp.sin(c), d * x, e + c), (fnp.exp(c), fnp.cos(d) * w)

        (c, d, e), (y, z) = fst.lax.scan(step, (c, d, c), xs)
        return c, d, e, y, z

    args = *np.float32([0.5, 0.7, 2.0]), X
    first = smaller(f, *args, used=(True, False, False, False, False))
    assert names(first.primitive.jaxpr) == ["sin"]
    assert (len(first.invars), len(first.outvars)) == (1, 1)
    second = smaller(f, *args, used=(False, True, False, False, False))
    assert names(second.primitive.jaxpr) == ["mul"]
    assert (len(second.invars), len(second.outvars)) == (2, 1)
    third = smaller(f, *args, used=(False, False, True, False, False))
    assert sorted(names(third.primitive.jaxpr)) == ["add", "sin"]
    assert (len(third.invars), len(third.outvars)) == (2, 2), "e needs c"
    last = smaller(f, *args, used=(False, False, False, False, True))
    assert sorted(names(last.primitive.jaxpr)) == ["cos", "mul", "mul"]
    assert (len(last.invars), len(last.outvars)) == (3, 2), "z needs d"


def test_while():
    def f(c, d, w):
        def step(carry):
            i, c, d, e = carry
            return i + 1, fnp.sin(c), d * w, e + d

        i, c, d, e = fst.lax.while_loop(lambda s: s[0] < 3, step, (0, c, d, d))
        return i, c, d, e

    args = 0.5, 0.7, 2.0
    first = smaller(f, *args, used=(False, True, False, False))
    assert names(first.primitive.body_jaxpr) == ["add", "sin"]
    assert (len(first.invars), len(first.outvars)) == (2, 2), "the condition needs i"
    last = smaller(f, *args, used=(False, False, False, True))
    assert sorted(names(last.primitive.body_jaxpr)) == ["add", "add", "mul"]
    assert len(last.outvars) == 3


def test_recorded_while():
    def f(c):
        return fst.lax.while_loop(lambda c: c < 3, lambda c: c * fnp.exp(fnp.sin(c)), c)

    def forwards(transformed):
        eqns = fst.make_jaxpr(transformed)(0.7).eqns
        return next(e for e in eqns if e.primitive.name == "while")

    assert len(forwards(fst.grad(f)).outvars) > 2
    assert len(forwards(fst.grad(fst.checkpoint(f))).outvars) == 2, "the count and the carry"
    assert_close(fst.grad(fst.checkpoint(f))(0.7), fst.grad(f)(0.7), derivative=True)


def test_cond():
    def f(c, x, w):
        return fst.lax.cond(
            c, lambda: (fnp.sin(x), fnp.exp(w)), lambda: (fnp.cos(x), fnp.tanh(w) * x)
        )

    first = smaller(f, True, 0.3, 0.4, used=(True, False))
    assert [names(b) for b in first.primitive.branches] == [["cos"], ["sin"]]
    assert (len(first.invars), len(first.outvars)) == (2, 1)
    second = smaller(f, False, 0.3, 0.4, used=(False, True))
    assert [names(b) for b in second.primitive.branches] == [["tanh", "mul"], ["exp"]]
    assert (len(second.invars), len(second.outvars)) == (3, 1), "one branch takes x"


def test_programs():
    closed = fst.make_jaxpr(lambda x, y: (fnp.sin(x), fnp.cos(y)))(1.0, 2.0)
    program, ins = dce_closed(closed, (False, True))
    assert ins == [False, True]
    assert names(program) == ["cos"]
    assert len(program.in_avals) == 1
    program, ins = dce_closed(closed, (False, True), (True, False))
    assert ins == [True, True]
    assert len(program.in_avals) == 2

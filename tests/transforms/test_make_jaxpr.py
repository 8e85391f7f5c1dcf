import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.core.jaxpr import ClosedJaxpr, Eqn, Jaxpr, Var, eval_jaxpr
from fstensor.errors import ArgumentError, JaxprTypeError
from tests.tolerances import assert_close

X = np.float32([0.3, -1.2, 2.0])


def f(x):
    return fnp.sin(x) * 2.0


def test_eval_jaxpr_runs_the_program():
    closed = fst.make_jaxpr(f)(X)
    assert isinstance(closed, ClosedJaxpr)
    (y,) = eval_jaxpr(closed.jaxpr, closed.consts, fnp.asarray(X))
    assert_close(y, f(X))


def test_equal_programs_are_equal_whatever_their_variables():
    a, b = fst.make_jaxpr(f)(X), fst.make_jaxpr(lambda z: fnp.sin(z) * 2.0)(X)
    assert a.jaxpr == b.jaxpr
    assert hash(a.jaxpr) == hash(b.jaxpr)
    assert a.jaxpr != fst.make_jaxpr(lambda x: fnp.sin(x) * 3.0)(X).jaxpr
    assert a.jaxpr != fst.make_jaxpr(f)(X[:2]).jaxpr
    zero, minus = (fst.make_jaxpr(lambda x, c=c: x * c)(X).jaxpr for c in (0.0, -0.0))
    assert zero != minus, "literals are compared by their bits"


def test_every_equation_knows_its_line():
    closed = fst.make_jaxpr(f)(X)
    line = f.__code__.co_firstlineno + 1
    for eqn in closed.eqns:
        assert eqn.source_info.line == line
        assert eqn.source_info.file == __file__
        assert eqn.source_info.function == "f"


def test_eqn_params():
    closed = fst.make_jaxpr(lambda x: fnp.sum(x))(X)
    assert closed.eqns[0].params == {"axes": (0,)}
    assert closed.eqns[0].primitive.name == "reduce_sum"


def test_static_argnums_and_return_shape():
    closed, shape = fst.make_jaxpr(lambda x, n: {"y": x * n}, 1, return_shape=True)(X, 3)
    assert len(closed.in_avals) == 1
    assert shape == {"y": fst.ShapeDtypeStruct((3,), np.float32)}


def test_constants_are_hoisted_once():
    c = np.ones(3, np.float32)
    held = fnp.asarray(c)
    closed = fst.make_jaxpr(lambda x: x + held + held)(X)
    assert len(closed.consts) == 1
    assert closed.consts[0] is held


def test_eval_shape_computes_nothing():
    struct = fst.ShapeDtypeStruct((1 << 20, 1 << 20), np.float32)
    out = fst.eval_shape(lambda x: {"s": fnp.sum(x, axis=0), "y": x}, struct)
    assert out["s"] == fst.ShapeDtypeStruct((1 << 20,), np.float32)
    assert out["y"].shape == struct.shape


def test_check_finds_what_is_wrong():
    closed = fst.make_jaxpr(f)(X)
    closed.check()
    jaxpr = closed.jaxpr
    reversed_eqns = Jaxpr(jaxpr.constvars, jaxpr.invars, jaxpr.outvars, jaxpr.eqns[::-1])
    with pytest.raises(JaxprTypeError, match="uses an undefined variable"):
        reversed_eqns.check()
    twice = Jaxpr(jaxpr.constvars, jaxpr.invars, jaxpr.outvars, [*jaxpr.eqns, jaxpr.eqns[0]])
    with pytest.raises(JaxprTypeError, match="defined twice"):
        twice.check()
    sin = jaxpr.eqns[0]
    wrong = Eqn(sin.primitive, sin.invars, [Var(sin.outvars[0].aval.update(shape=(5,)))], None)
    with pytest.raises(JaxprTypeError, match=r"sin has results .*float32\[3\]"):
        Jaxpr((), jaxpr.invars, wrong.outvars, [wrong]).check()


def test_outputs_must_be_arrays():
    with pytest.raises(ArgumentError, match=r"must return trees of arrays or scalars.*type str"):
        fst.make_jaxpr(lambda x: "text")(X)


def test_typeof():
    assert str(fst.typeof(X)) == "float32[3]"
    assert fst.typeof(2.0).weak_type
    assert not fst.typeof(np.float32(2)).weak_type

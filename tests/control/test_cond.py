"""`cond` and `switch` by themselves, in their derivatives and in batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax
from fstensor.config import config
from fstensor.errors import (
    ArgumentError,
    CarryTypeError,
    DtypeError,
    OptionError,
    ShapeError,
    TreeError,
)
from tests.tolerances import assert_close

X = np.asarray(0.7)
NAMESPACES = {"fst": (fst, fnp), "jax": (jax, jnp)}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True), config.override(default_dtype_bits=64):
        yield


def both(function, *args):
    """What both libraries make of a function of (library, its numpy)."""
    return [function(m, np_)(*args) for m, np_ in NAMESPACES.values()]


# The choice


@pytest.mark.parametrize(
    ("pred", "taken"),
    [
        (True, "yes"),
        (False, "no"),
        (np.True_, "yes"),
        (fnp.asarray(False), "no"),
        (3, "yes"),
        (0, "no"),
        (-0.0, "no"),
        (0.1, "yes"),
        (np.nan, "yes"),
    ],
)
def test_predicates(pred, taken):
    f = lambda p: lax.cond(p, lambda x: x + 1, lambda x: x - 1, X)
    for g in (f, fst.jit(f)):
        assert_close(g(pred), X + (1 if taken == "yes" else -1))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.uint32])
@pytest.mark.parametrize("index", [-5, -1, 0, 1, 2, 3, 100])
def test_switch_clamps(index, dtype):
    if index < np.iinfo(dtype).min:
        index = np.iinfo(dtype).max
    branches = [lambda x, k=k: x * k for k in (2, 3, 5)]
    expected = X * (2, 3, 5)[min(max(index, 0), 2)]
    f = lambda i: lax.switch(i, branches, X)
    for g in (f, fst.jit(f)):
        assert_close(g(dtype(index)), expected)
    many = np.asarray([index] * 2, dtype)
    assert_close(fst.vmap(f)(many), np.stack([expected] * 2))


@pytest.mark.parametrize(
    ("index", "taken"),
    [
        (np.uint32(2**32 - 1), 2),
        (np.uint64(2**32), 2),
        (np.int64(2**32), 2),
        (np.int64(-(2**32) + 1), 0),
        (np.uint64(2**63), 2),
    ],
)
def test_switch_of_an_index_beyond_int32(index, taken):
    # JAX wraps it to int32 before it clamps.
    f = lambda i: lax.switch(i, [lambda: 0, lambda: 1, lambda: 2])
    assert int(f(index)) == int(fst.jit(f)(index)) == taken


def test_operands_are_trees():
    def f(m, np_):
        return lambda p: m.lax.cond(
            p, lambda a, b: {"u": a["x"] * b[0]}, lambda a, b: {"u": b[1] - a["x"]},
            {"x": X}, (X * 2, X * 3),
        )  # fmt: skip

    for p in (True, False):
        ours, theirs = both(f, p)
        assert_close(ours["u"], theirs["u"])


def test_operand_by_name():
    assert lax.cond(True, lambda x: 1, lambda x: 2, operand=None).item() == 1
    assert lax.switch(1, [lambda x: x, lambda x: -x], operand=3).item() == -3
    with pytest.raises(ArgumentError, match="operands are given by position or by name, not both"):
        lax.cond(True, lambda x: 1, lambda x: 2, X, operand=X)


def test_branches_without_operands_and_results():
    assert lax.cond(True, lambda: None, lambda: None) is None
    assert lax.switch(0, [lambda: (), lambda: ()]) == ()


def test_weak_and_strong_results_agree():
    y = lax.cond(True, lambda x: 1.0, lambda x: x, X)
    assert (y.dtype, y.weak_type) == (np.float64, False)
    y = lax.cond(True, lambda: 1.0, lambda: 2.0)
    assert y.weak_type


# Wrong arguments


def test_messages_about_arguments():
    f = lambda x: x
    with pytest.raises(ShapeError, match=r"cond: pred must be a scalar, got bool\[1\]"):
        lax.cond(np.array([True]), f, f, X)
    with pytest.raises(DtypeError, match="cond: pred must be a bool or a real number, got complex"):
        lax.cond(1j, f, f, X)
    with pytest.raises(ArgumentError, match="cond: pred: must be an array or a scalar, got None"):
        lax.cond(None, f, f, X)
    with pytest.raises(ArgumentError, match="cond: takes two functions, got float"):
        lax.cond(True, 1.0, f, X)
    with pytest.raises(OptionError, match="switch: needs at least one branch, got none"):
        lax.switch(0, [], X)
    with pytest.raises(DtypeError, match=r"switch: index must be an integer, got float64\[\]"):
        lax.switch(1.0, [f, f], X)
    with pytest.raises(DtypeError, match=r"switch: index must be an integer, got bool\[\]"):
        lax.switch(True, [f], X)
    with pytest.raises(ShapeError, match=r"switch: index must be a scalar, got int64\[2\]"):
        lax.switch(np.arange(2), [f, f], X)
    with pytest.raises(ArgumentError, match="switch: takes functions, got str"):
        lax.switch(0, [f, "g"], X)


def test_branches_of_different_types():
    yes = lambda x: {"a": x, "b": (x, x)}
    no = lambda x: {"a": x.astype(np.float32), "b": (x, fnp.stack([x, x]))}
    with pytest.raises(CarryTypeError) as error:
        lax.cond(True, yes, no, X)
    text = str(error.value)
    assert text.startswith("cond: branches must return one type, but in <lambda> at ")
    assert "['a'] is float32[] and float64[], ['b'][1] is float64[2] and float64[]" in text
    assert "convert with astype; at " in text


def test_branches_of_different_structure():
    with pytest.raises(TreeError) as error:
        lax.switch(0, [lambda x: (x, x), lambda x: (x,)], X)
    assert "switch: branches must return one structure, but <lambda> at " in str(error.value)
    assert "tuple" in str(error.value)


# Derivatives


def piecewise(m, np_):
    def f(x):
        return m.lax.cond(x > 0.5, lambda v: np_.sin(v) * x, lambda v: v**3, x)

    return f


@pytest.mark.parametrize("x", [0.2, 0.7])
def test_derivatives(x):
    x = np.asarray(x)
    for d in (
        lambda m, f: m.grad(f),
        lambda m, f: m.jacfwd(m.grad(f)),
        lambda m, f: m.jit(m.grad(f)),
        lambda m, f: m.grad(m.grad(m.grad(f))),
    ):
        ours, theirs = both(lambda m, np_, d=d: d(m, piecewise(m, np_)), x)
        assert_close(ours, theirs, derivative=True, factor=10)


def test_derivative_of_one_branch_only():
    def f(m, np_):
        return lambda x: m.lax.cond(x > 0, lambda: x * x, lambda: 4.0)

    for x in (-1.0, 2.0):
        ours, theirs = both(lambda m, np_: m.grad(f(m, np_)), np.asarray(x))
        assert_close(ours, theirs)


def test_integer_operands_and_results():
    def f(m, np_):
        def g(x, i):
            y, j = m.lax.cond(x > 0, lambda x, i: (x * i, i + 1), lambda x, i: (x, i), x, i)
            return y * j

        return g

    for x in (2.0, -2.0):
        ours, theirs = both(lambda m, np_: m.grad(f(m, np_)), np.asarray(x), 3)
        assert_close(ours, theirs)
    _, tangent = fst.jvp(
        lambda x, i: lax.cond(x > 0, lambda i: i, lambda i: -i, i),
        (X, 3), (X, np.zeros((), fst.float0)),
    )  # fmt: skip
    assert tangent.dtype == fst.float0


def test_branches_share_places_for_residuals():
    def f(x, y):
        return lax.switch(
            fnp.asarray(1),
            [lambda: fnp.sin(x) * y, lambda: fnp.exp(x * y), lambda: fnp.tanh(x) * fnp.cos(y)],
        )

    closed = fst.make_jaxpr(fst.grad(f, (0, 1)))(X, X)
    closed.check()
    conds = [e for e in closed.eqns if e.primitive.name == "cond"]
    assert len(conds) == 2
    # The result, and as many residuals as the branch with most of them has.
    assert len(conds[0].outvars) <= 1 + 4


# Batches


def test_batch_of_predicates():
    xs = np.float64([-1.0, 0.2, 0.7, 2.0])
    for d in (lambda m, f: f, lambda m, f: m.grad(f), lambda m, f: m.jit(m.grad(m.grad(f)))):
        ours, theirs = both(lambda m, np_, d=d: m.vmap(d(m, piecewise(m, np_))), xs)
        assert_close(ours, theirs, derivative=True, factor=10)


def test_nested_batches_of_predicates():
    ps = np.array([[True, False], [False, False]])
    xs = np.arange(4.0).reshape(2, 2)
    f = lambda p, x: lax.cond(p, lambda x: x + 10, lambda x: -x, x)
    expected = np.where(ps, xs + 10, -xs)
    assert_close(fst.vmap(fst.vmap(f))(ps, xs), expected)
    assert_close(fst.vmap(fst.vmap(f), (1, 1), 1)(ps, xs), expected)
    assert_close(fst.vmap(fst.vmap(f, (None, 0)), (0, 0))(ps[:, 0], xs),
                 np.where(ps[:, :1], xs + 10, -xs))  # fmt: skip


@pytest.mark.parametrize("transform", ["vmap_grad", "grad_vmap", "jit_vmap_grad", "jvp", "hessian"])
def test_a_branch_not_taken_lets_no_nan_into_gradients(transform):
    # jax#1052: under vmap both branches run, also where their slope is infinite or NaN.
    def f(x):
        return lax.cond(x > 0, lambda x: fnp.sqrt(x) + fnp.log(x) / x, lambda x: 0.0 * x, x)

    xs = np.float64([0.0, 4.0, -1.0])
    slope = np.float64([0.0, 0.25 + (1 - np.log(4.0)) / 16, 0.0])
    if transform == "vmap_grad":
        got = fst.vmap(fst.grad(f))(xs)
    elif transform == "jit_vmap_grad":
        got = fst.jit(fst.vmap(fst.grad(f)))(xs)
    elif transform == "grad_vmap":
        got = fst.grad(lambda xs: fst.vmap(f)(xs).sum())(xs)
    elif transform == "jvp":
        got = fst.jvp(fst.vmap(f), (xs,), (np.ones(3),))[1]
    else:
        got = np.diag(fst.hessian(lambda xs: fst.vmap(f)(xs).sum())(xs))
        assert np.all(np.isfinite(got))
        assert got[0] == got[2] == 0
        return
    assert_close(got, slope, derivative=True)


def test_nested_choices_let_no_nan_into_gradients():
    def f(x):
        inner = lambda x: lax.cond(x > 1, lambda x: fnp.log(x - 1), lambda x: x, x)
        return lax.cond(x > 0, inner, lambda x: -x, x)

    got = fst.vmap(fst.grad(f))(np.float64([-1.0, 0.5, 1.0, 3.0]))
    assert_close(got, np.float64([-1.0, 1.0, 1.0, 0.5]), derivative=True)


def test_closed_over_values_are_guarded_like_operands():
    def f(x):
        return lax.cond(x > 0, lambda: fnp.sqrt(x), lambda: 2 * x)

    assert_close(fst.vmap(fst.grad(f))(np.float64([0.0, 4.0])), np.float64([2.0, 0.25]))


def test_batch_of_operands_runs_one_branch():
    closed = fst.make_jaxpr(fst.vmap(lambda p, x: lax.cond(p, fnp.sin, fnp.cos, x), (None, 0)))(
        True, np.ones(3)
    )
    assert [e.primitive.name for e in closed.eqns][-1] == "cond"


def test_a_result_that_all_examples_share_stays_shared():
    def f(p, x, y):
        return lax.cond(p, lambda x, y: (x, y), lambda x, y: (x + 1, y * 2), x, y)

    _, shared = fst.vmap(f, (None, 0, None), (0, None))(True, np.ones(3), X)
    assert shared.shape == ()


# Python


def test_disable_jit_runs_one_branch():
    seen = []
    with config.override(disable_jit=True):
        y = lax.cond(
            X > 0, lambda x: seen.append(float(x)) or x, lambda x: seen.append("no") or x, X
        )
        z = lax.switch(7, [lambda x: seen.append("first"), lambda x: seen.append("last") or x], X)
    assert seen == [0.7, "last"]
    assert_close(np.asarray(y), X)
    assert_close(np.asarray(z), X)


def test_both_branches_are_checked_also_when_one_is_known_to_run():
    with pytest.raises(CarryTypeError):
        lax.cond(True, lambda: 1.0, lambda: fnp.ones(2))

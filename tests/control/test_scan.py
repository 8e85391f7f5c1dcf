"""`scan` by itself, in its derivatives and in batches, against JAX and against Python loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax
from fstensor.config import config
from fstensor.errors import ArgumentError, CarryTypeError, OptionError, ShapeError, TreeError
from tests.tolerances import assert_close

XS = np.float64([0.4, -1.1, 0.9, 1.7, -0.3, 0.8, 0.2])
X = np.asarray(0.7)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True), config.override(default_dtype_bits=64):
        yield


def assert_trees_close(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert_close(a, b, derivative=True, factor=10)


def weighted(step, module, **options):
    """A scalar function of the start and the xs, which reads all results."""

    def f(c, xs):
        last, ys = module.lax.scan(step, c, xs, **options)
        return last + (ys * ys).sum()

    return f


# Options


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("unroll", [1, 2, 3, 7, 10, True, False, np.int64(2)])
def test_unroll_and_reverse_change_neither_results_nor_gradients(unroll, reverse, recorded):
    def step(c, x):
        return c * x + 0.5, c - x

    ours = weighted(step, fst, unroll=unroll, reverse=reverse)
    theirs = weighted(step, jax, reverse=reverse)

    def like(got, ask):
        assert_trees_close(got, tuple(recorded.each(ask)))

    got = lax.scan(step, X, XS, unroll=unroll, reverse=reverse)
    like(got, lambda: jax.lax.scan(step, X, XS, reverse=reverse))
    like(fst.grad(ours, (0, 1))(X, XS), lambda: jax.grad(theirs, (0, 1))(X, XS))
    like((fst.hessian(ours, 1)(X, XS),), lambda: [jax.hessian(theirs, 1)(X, XS)])


@pytest.mark.parametrize("reverse", [False, True])
def test_trees(reverse):
    def step(c, x):
        a, b = c["a"], c["b"][0]
        return {"a": a * x["u"], "b": [b + x["v"][0]]}, (a, {"s": b * x["u"]})

    init = {"a": X, "b": [np.ones(2)]}
    xs = {"u": XS[:3], "v": [np.arange(6.0).reshape(3, 2)]}
    got = lax.scan(step, init, xs, reverse=reverse)
    assert_trees_close(got, jax.lax.scan(step, init, xs, reverse=reverse))


def test_without_xs():
    assert_trees_close(
        lax.scan(lambda c, x: (c * 2, x), X, length=3),
        jax.lax.scan(lambda c, x: (c * 2, x), X, length=3),
    )
    last, ys = lax.scan(lambda c, _: (c + 1, c), 0, None, length=np.int64(4))
    assert last.item() == 4
    assert ys.tolist() == [0, 1, 2, 3]


def test_empty_trees():
    assert lax.scan(lambda c, x: (c, None), None, length=5) == (None, None)
    assert lax.scan(lambda c, x: ((), {}), (), (), length=5) == ((), {})
    last, ys = lax.scan(lambda c, x: (c, x * 2), None, XS)
    assert last is None
    np.testing.assert_array_equal(ys, XS * 2)


def test_xs_of_empty_arrays():
    got = lax.scan(lambda c, x: (c + x.sum(), x), X, np.zeros((3, 0)))
    assert_trees_close(got, jax.lax.scan(lambda c, x: (c + x.sum(), x), X, np.zeros((3, 0))))


def test_no_steps_give_the_start_and_empty_ys():
    def step(c, x):
        return c * x, (c, x.astype(np.float32))

    got = lax.scan(step, X, np.zeros((0,)))
    assert_trees_close(got, jax.lax.scan(step, X, np.zeros((0,))))


@pytest.mark.parametrize("transformed", ["grad", "jit_grad", "vmap_grad", "hessian"])
def test_no_steps_have_gradients(transformed):
    def f(c, xs):
        last, ys = lax.scan(lambda c, x: (c * x, c * 2), c, xs)
        return last * 3 + ys.sum()

    empty = np.zeros((0,))
    if transformed == "hessian":
        assert fst.hessian(f, 1)(X, empty).shape == (0, 0)
        return
    g = fst.grad(f, (0, 1))
    if transformed == "vmap_grad":
        to_c, to_xs = fst.vmap(g, (0, None))(np.ones(2), empty)
        assert to_c.tolist() == [3.0, 3.0]
        assert to_xs.shape == (2, 0)
        return
    to_c, to_xs = (fst.jit(g) if transformed == "jit_grad" else g)(X, empty)
    assert to_c.item() == 3.0
    assert to_xs.shape == (0,)


def test_a_list_is_a_pair_too():
    last, ys = lax.scan(lambda c, x: [c + x, c], X, XS)
    assert_close(last, X + XS.sum())
    assert ys.shape == (7,)


# Types of the carry


def test_integer_carry_beside_a_float():
    def step(c, x):
        i, v = c
        return (i + 1, v * x + i), i

    assert_trees_close(lax.scan(step, (0, X), XS), jax.lax.scan(step, (0, X), XS))
    value = lambda m: lambda v: m.lax.scan(step, (0, v), XS)[0][1]
    assert_close(fst.grad(value(fst))(X), jax.grad(value(jax))(X), derivative=True)


def test_weak_carry_takes_the_type_of_the_body():
    last, ys = lax.scan(lambda c, x: (c + x, c), 0.0, np.ones(3, np.float32))
    assert (last.dtype, ys.dtype, last.weak_type) == (np.float32, np.float32, False)
    last, _ = lax.scan(lambda c, x: (c + x, None), 0, np.ones(3, np.float32))
    assert last.dtype == np.float32


def test_weak_carry_that_stays_weak():
    last, _ = lax.scan(lambda c, _: (c + 1, None), 0, length=3)
    assert last.weak_type
    assert (last * np.float32(2)).dtype == np.float32


def test_weak_carry_whose_type_spreads_from_part_to_part():
    # JAX gives up after one step of promotion (jax#9046).
    (a, b), _ = lax.scan(lambda c, x: ((c[1], c[0] + x), None), (0.0, 1), np.ones(3, np.float32))
    assert (a.dtype, b.dtype) == (np.float32, np.float32)


def test_carry_of_bools_and_keys():
    def step(c, _):
        flag, key = c
        key, other = fst.random.split(key)
        return (~flag, key), fst.random.uniform(other, ())

    def theirs(c, _):
        flag, key = c
        key, other = jax.random.split(key)
        return (~flag, key), jax.random.uniform(other, (), np.float64)

    (flag, _), draws = lax.scan(step, (np.bool_(True), fst.random.key(3)), None, length=3)
    _, expected = jax.lax.scan(theirs, (np.bool_(True), jax.random.key(3)), None, length=3)
    assert flag.item() is False
    np.testing.assert_array_equal(draws, expected)
    batched = fst.vmap(lambda k: lax.scan(step, (np.bool_(True), k), None, length=3)[1])
    np.testing.assert_array_equal(batched(fst.random.key(3)[None])[0], expected)


def test_carry_that_changes_its_type():
    init = {"w": np.float32(1), "n": [np.zeros(2), np.int32(0)]}

    def step(c, x):
        return {"w": c["w"].astype(np.int32), "n": [c["n"][0][:1], c["n"][1]]}, None

    with pytest.raises(CarryTypeError) as error:
        lax.scan(step, init, length=2)
    assert (
        "scan: the carry must keep its shapes and dtypes, but the body changes "
        "['n'][0] from float64[2] to float64[1], ['w'] from float32[] to int32[]; "
        "convert with astype, or start with the type that it returns; at "
    ) in str(error.value)
    assert "test_scan.py" in str(error.value)


def test_carry_that_is_one_array_and_changes():
    with pytest.raises(CarryTypeError, match=r"changes the carry from float32\[\] to float64\[\]"):
        lax.scan(lambda c, x: (c * x, None), np.float32(1), XS)


def test_carry_that_changes_its_structure():
    with pytest.raises(TreeError, match="scan: the carry must keep its structure, but the body"):
        lax.scan(lambda c, x: ((c, c), None), X, XS)


# Wrong arguments


def test_messages():
    ok = lambda c, x: (c, x)
    with pytest.raises(ArgumentError, match="scan: takes a function, got float"):
        lax.scan(1.0, X, XS)
    with pytest.raises(ArgumentError, match="scan: without xs, length must be given"):
        lax.scan(ok, X)
    with pytest.raises(ArgumentError, match=r"scan: length must be an integer, got 2\.5"):
        lax.scan(ok, X, length=2.5)
    with pytest.raises(OptionError, match="scan: length must not be negative, got -1"):
        lax.scan(ok, X, length=-1)
    with pytest.raises(OptionError, match="scan: unroll must be at least 1, got 0"):
        lax.scan(ok, X, XS, unroll=0)
    with pytest.raises(ArgumentError, match=r"scan: unroll must be an integer or a bool, got 1\.5"):
        lax.scan(ok, X, XS, unroll=1.5)
    with pytest.raises(ShapeError, match=r"scan: xs\['b'\] must have a leading axis, got float64"):
        lax.scan(ok, X, {"a": XS, "b": X})
    sizes = r"xs\[0\] of float64\[7\], xs\[1\] of float64\[2\]"
    with pytest.raises(ShapeError, match=f"scan: leading axes must have one size, got {sizes}"):
        lax.scan(ok, X, (XS, XS[:2]))
    with pytest.raises(ShapeError, match=r"got xs of float64\[7\] and length=3"):
        lax.scan(ok, X, XS, length=3)
    with pytest.raises(ArgumentError, match=r"scan: the function must return a pair \(carry, y\)"):
        lax.scan(lambda c, x: c, X, XS)
    with pytest.raises(ArgumentError, match="scan: the function must return a pair"):
        lax.scan(lambda c, x: (c, x, x), X, XS)


# Values from outside


def test_closed_over_tracers():
    def f(m):
        def g(w):
            def step(c, x):
                return c * w + x, c

            return m.lax.scan(step, w * w, XS)[0]

        return lambda w: m.jit(lambda w: m.grad(g)(w) * g(w))(w)

    assert_close(fst.grad(f(fst))(X), jax.grad(f(jax))(X), derivative=True, factor=10)
    batch = np.float64([0.1, 0.7, -0.4])
    got = fst.vmap(fst.grad(f(fst)))(batch)
    assert_close(got, jax.vmap(jax.grad(f(jax)))(batch), derivative=True, factor=10)


def test_closed_over_tracers_of_two_levels():
    def f(m):
        def outer(a):
            inner = lambda b: m.lax.scan(lambda c, x: (c * a + b * x, None), a, XS)[0]
            return m.grad(inner)(a * 2) * a

        return m.grad(outer)

    assert_close(f(fst)(X), f(jax)(X), derivative=True, factor=10)


def test_closed_over_array_is_not_copied_into_the_program():
    w = fnp.ones((50, 50))
    jaxpr = fst.make_jaxpr(lambda c: lax.scan(lambda c, _: (w @ c, None), c, length=2)[0])(
        np.ones(50)
    )
    (eqn,) = jaxpr.eqns
    assert eqn.primitive.jaxpr.consts[0] is w


# Batches


@pytest.mark.parametrize("axes", [(0, None), (None, 1), (0, 1), (0, 0)])
def test_vmap(axes):
    xs = np.stack([XS, XS * 2, XS - 1])
    args = np.arange(3.0) if axes[0] == 0 else X, {None: XS, 0: xs, 1: xs.T}[axes[1]]
    step = lambda c, x: (c * x + 1, c)
    got = fst.vmap(lambda c, xs: lax.scan(step, c, xs), axes, (0, 1))(*args)
    expected = jax.vmap(lambda c, xs: jax.lax.scan(step, c, xs), axes, (0, 1))(*args)
    assert_trees_close(got, expected)


def test_vmap_of_a_carry_that_becomes_batched_in_later_steps():
    def step(m):
        return lambda c, x: ((x, c[0], c[1]), c[2])

    def f(m):
        return lambda xs: m.lax.scan(step(m), (X, X, X), xs)

    xs = np.stack([XS, XS * 2])
    assert_trees_close(fst.vmap(f(fst))(xs), jax.vmap(f(jax))(xs))


def test_jvp_of_a_carry_that_becomes_active_in_later_steps():
    def f(m):
        return lambda v: m.lax.scan(
            lambda c, _: ((v, c[0], c[1] * c[0]), c[2]), (X, X, X), length=4
        )

    assert_trees_close(fst.jvp(f(fst), (X,), (X,)), jax.jvp(f(jax), (X,), (X,)))
    pull = lambda m: m.grad(lambda v: f(m)(v)[1].sum())(X)
    assert_close(pull(fst), pull(jax), derivative=True)


# What linearization keeps


def loops(function, *args):
    """The scans of the program of `function`, first to last."""
    closed = fst.make_jaxpr(function)(*args)
    closed.check()
    return closed, [e for e in closed.eqns if e.primitive.name == "scan"]


def stacked(eqn):
    """The types of the ys of a scan."""
    return [str(v.aval) for v in eqn.outvars[eqn.primitive.num_carry :]]


def test_a_hidden_state_that_is_a_result_is_stacked_once():
    def loss(w, xs):
        def step(h, x):
            h = fnp.tanh(w @ h + x)
            return h, h

        return lax.scan(step, np.zeros(3), xs)[1].sum()

    _, (forwards, backwards) = loops(fst.grad(loss), np.ones((3, 3)), np.ones((5, 3)))
    # The states, which the loss reads and the slope of tanh needs; those before each step; and
    # 1 - state.
    assert stacked(forwards) == ["float64[5,3]"] * 3
    outs = forwards.primitive.jaxpr.jaxpr.outvars[1:]
    assert len(set(outs)) == 3
    assert forwards.outvars[1] in backwards.invars


def test_what_is_the_same_in_each_step_is_computed_once_outside():
    def loss(w, xs):
        def step(h, x):
            h = h * fnp.sin(w) + x
            return h, None

        return lax.scan(step, np.zeros(()), xs)[0]

    closed, (forwards, _) = loops(fst.grad(loss), X, XS)
    names = [e.primitive.name for e in closed.eqns]
    assert names.index("sin") < names.index("scan")
    assert "sin" not in [e.primitive.name for e in forwards.primitive.jaxpr.eqns]
    assert "cos" not in [e.primitive.name for e in forwards.primitive.jaxpr.eqns]
    # Of the step only the state before it is needed.
    assert stacked(forwards) == ["float64[7]"]


def test_an_input_is_read_again_rather_than_stacked_again():
    def loss(h, xs):
        return lax.scan(lambda h, x: (h * x, None), h, xs)[0]

    closed, (forwards, backwards) = loops(fst.grad(loss), X, XS)
    assert stacked(forwards) == []
    (xs,) = [v for v in closed.jaxpr.invars if v.aval.shape == (7,)]
    assert xs in backwards.invars


def test_a_constant_is_passed_rather_than_stacked():
    def loss(h, w):
        return lax.scan(lambda h, _: (w @ h, None), h, length=5)[0].sum()

    closed, (forwards, backwards) = loops(fst.grad(loss), np.ones(3), np.ones((3, 3)))
    assert stacked(forwards) == []
    (w,) = [v for v in closed.jaxpr.invars if v.aval.shape == (3, 3)]
    assert w in backwards.invars


def test_one_residual_of_two_operations_is_stacked_once():
    def loss(h, xs):
        def step(h, x):
            s = fnp.exp(h)
            return s * x + s * s, None

        return lax.scan(step, h, xs)[0]

    _, (forwards, _) = loops(fst.grad(loss), X, XS)
    assert len(stacked(forwards)) == len(set(forwards.primitive.jaxpr.jaxpr.outvars[1:])) <= 2


def test_second_derivatives_keep_the_number_of_loops():
    def loss(h, xs):
        return lax.scan(lambda h, x: (fnp.sin(h) * x, None), h, xs)[0]

    _, found = loops(fst.grad(fst.grad(loss)), X, XS)
    assert len(found) <= 4


# Python loops


def test_disable_jit_runs_python():
    seen = []

    def step(c, x):
        seen.append(float(x))
        return c + x, c * x

    with config.override(disable_jit=True):
        got = lax.scan(step, X, XS, reverse=True)
        assert seen == list(XS[::-1])
        g = fst.grad(lambda c: lax.scan(lambda c, x: (c * x, None), c, XS)[0])(X)
        with pytest.raises(OptionError, match="scan: cannot run without steps while jit is"):
            lax.scan(step, X, np.zeros(0))
        assert lax.scan(lambda c, _: (c, None), X, length=2)[1] is None
    assert_trees_close(got, jax.lax.scan(lambda c, x: (c + x, c * x), X, XS, reverse=True))
    assert_close(g, np.prod(XS), derivative=True)


def test_float32_stays_float32():
    with config.override(default_dtype_bits=32):
        xs = XS.astype(np.float32)
        f = lambda c: lax.scan(lambda c, x: (fnp.tanh(c * x) + 0.5, None), c, xs)[0]
        g = fst.grad(f)(np.float32(0.7))
    with jax.enable_x64(False):
        h = lambda c: jax.lax.scan(lambda c, x: (jnp.tanh(c * x) + 0.5, None), c, xs)[0]
        assert_close(g, jax.grad(h)(np.float32(0.7)), derivative=True)

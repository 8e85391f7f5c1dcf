"""`while_loop`: values, batches of conditions, and derivatives in both modes."""

import jax
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax
from fstensor.config import config
from fstensor.errors import ArgumentError, CarryTypeError, OptionError, TreeError
from tests.tolerances import assert_close

X = np.asarray(0.7)
NS = np.array([0, 3, 1, 5, 20])


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True), config.override(default_dtype_bits=64):
        yield


def times(x, n, **options):
    """x sin(x)^n by n steps."""
    return lax.while_loop(
        lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * fnp.sin(x)), (0, x), **options
    )[1]


def times_jax(x, n):
    return x * jax.numpy.sin(x) ** n


# Values


def test_values():
    assert lax.while_loop(lambda x: x < 100, lambda x: 2 * x, 3).item() == 192
    got = lax.while_loop(lambda c: c["i"] < 3, lambda c: {"i": c["i"] + 1, "v": [c["v"][0] * 2]},
                         {"i": 0, "v": [np.ones(2)]})  # fmt: skip
    assert got["i"].item() == 3
    assert got["v"][0].tolist() == [8.0, 8.0]


def test_no_steps():
    assert_close(times(X, 0), X)
    assert_close(fst.grad(times)(X, 0), np.asarray(1.0))
    assert_close(fst.jit(fst.grad(times))(X, 0), np.asarray(1.0))
    assert lax.while_loop(lambda c: False, lambda c: None, None) is None


def test_weak_carry_takes_the_type_of_the_body():
    i, v = lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * np.float32(2)), (0, 1))
    assert (i.weak_type, v.dtype, v.item()) == (True, np.float32, 8.0)


def test_random_key_as_carry():
    def body(c):
        i, key, total = c
        key, other = fst.random.split(key)
        return i + 1, key, total + fst.random.uniform(other, ())

    def f(key, x):
        return lax.while_loop(lambda c: c[0] < 3, body, (0, key, x))[2]

    key = fst.random.key(0)
    assert_close(fst.grad(f, 1)(key, X), np.asarray(1.0))
    got = fst.vmap(f, (0, None))(fst.random.split(key, 2), X)
    assert_close(got, np.stack([f(k, X) for k in fst.random.split(key, 2)]))


# Wrong arguments


def test_messages():
    with pytest.raises(ArgumentError, match="while_loop: takes two functions, got int"):
        lax.while_loop(1, lambda c: c, X)
    with pytest.raises(
        ArgumentError, match=r"cond_fun must return a bool scalar, got int64\[\] from <lambda> at"
    ):
        lax.while_loop(lambda c: c, lambda c: c, 1)
    with pytest.raises(ArgumentError, match=r"must return a bool scalar, got bool\[2\]"):
        lax.while_loop(lambda c: c > 0, lambda c: c, np.ones(2))
    with pytest.raises(ArgumentError, match=r"must return a bool scalar, got .*\(\*,\)"):
        lax.while_loop(lambda c: (c > 0,), lambda c: c, X)
    with pytest.raises(CarryTypeError) as error:
        lax.while_loop(lambda c: True, lambda c: {"a": c["a"] > 0}, {"a": np.float32(1)})
    assert (
        "while_loop: the carry must keep its shapes and dtypes, but the body changes "
        "['a'] from float32[] to bool[]; convert with astype" in str(error.value)
    )
    with pytest.raises(TreeError, match="while_loop: the carry must keep its structure, but"):
        lax.while_loop(lambda c: True, lambda c: (c, c), X)
    for wrong in (-1, True, 2.0):
        with pytest.raises(OptionError, match="while_loop: max_steps must be a non-negative int"):
            times(X, 2, max_steps=wrong)


# Derivatives


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 17])
def test_reverse_mode_of_any_number_of_steps(n):
    ours, theirs = times, times_jax
    for _ in range(3):
        ours, theirs = fst.grad(ours), jax.grad(theirs)
        assert_close(ours(X, n), theirs(X, n), derivative=True, factor=10)
        assert_close(fst.jit(ours)(X, n), theirs(X, n), derivative=True, factor=10)


def test_one_program_for_all_numbers_of_steps():
    traced = []

    @fst.jit
    @fst.grad
    def g(x, n):
        traced.append(n)
        return times(x, n)

    for n in range(5):
        assert_close(g(X, n), jax.grad(times_jax)(X, n), derivative=True)
    assert len(traced) == 1


def test_modes_agree():
    f = lambda x: times(x, 4)
    assert_close(fst.jacfwd(f)(X), fst.grad(f)(X), derivative=True)
    forward_over_reverse = fst.jacfwd(fst.grad(f))(X)
    assert_close(forward_over_reverse, fst.grad(fst.jacfwd(f))(X), derivative=True)
    assert_close(
        forward_over_reverse, fst.linearize(fst.grad(f), X)[1](np.ones(())), derivative=True
    )


def test_a_condition_on_what_is_differentiated():
    def f(x):
        return lax.while_loop(lambda v: v < 10, lambda v: v * x, x)

    # 1.7^5 > 10 > 1.7^4
    assert_close(fst.grad(f)(np.asarray(1.7)), np.asarray(5 * 1.7**4), derivative=True)
    got = fst.vmap(fst.grad(f))(np.float64([1.7, 20.0, 3.0]))
    assert_close(got, np.float64([5 * 1.7**4, 1.0, 27.0]), derivative=True)


def test_a_parameter_that_the_condition_alone_reads_has_no_slope():
    f = lambda x, end: lax.while_loop(lambda v: v < end, lambda v: v * x, x)
    to_x, to_end = fst.grad(f, (0, 1))(np.asarray(2.0), np.asarray(10.0))
    assert_close(to_x, np.asarray(4 * 2.0**3))
    assert to_end.item() == 0.0


def test_integer_carries_have_no_tangent():
    _, (i, v) = fst.jvp(
        lambda x: lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] * x), (0, x)),
        (X,), (np.ones(()),),
    )  # fmt: skip
    assert i.dtype == fst.float0
    assert_close(v, np.asarray(3 * 0.7**2), derivative=True)


# Batches


@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None)])
def test_vmap(axes):
    xs = np.linspace(0.2, 1.4, 5)
    args = [v if a == 0 else v[3] for v, a in zip((xs, NS), axes, strict=True)]
    assert_close(fst.vmap(times, axes)(*args), jax.vmap(times_jax, axes)(*args), derivative=True)
    for ours, theirs in (
        (fst.grad(times), jax.grad(times_jax)),
        (fst.grad(fst.grad(times)), jax.grad(jax.grad(times_jax))),
    ):
        got = fst.vmap(ours, axes)(*args)
        assert_close(got, jax.vmap(theirs, axes)(*args), derivative=True, factor=100)
        assert_close(fst.jit(fst.vmap(ours, axes))(*args), got, derivative=True)


def test_finished_examples_do_not_change():
    # jax#2960: the body would change them, and even make them NaN.
    def f(n):
        return lax.while_loop(
            lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] / (n - c[0] - 1), c[2] + 1), (0, 1.0, 0)
        )

    counts, values, same = fst.vmap(f)(np.array([2, 5, 0, 3]))
    assert counts.tolist() == same.tolist() == [2, 5, 0, 3]
    assert np.asarray(values)[2] == 1.0
    nested = fst.vmap(fst.vmap(f))(np.array([[2, 5], [0, 3]]))
    for got, expected in zip(nested, (counts, values, same), strict=True):
        np.testing.assert_array_equal(got, np.asarray(expected).reshape(2, 2))


def test_nested_batches_of_which_one_decides():
    ns, xs = np.array([0, 2, 3]), np.linspace(0.3, 1.1, 4)
    got = fst.vmap(fst.vmap(fst.grad(times), (0, None)), (None, 0))(xs, ns)
    expected = [[jax.grad(times_jax)(x, int(n)) for x in xs] for n in ns]
    assert_close(got, np.asarray(expected), derivative=True, factor=10)


def test_a_loop_within_a_finished_example():
    def f(n):
        inner = lambda v: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] + 1), (0, v))
        return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, inner(c[1])[1]), (0, 0))[1]

    assert fst.vmap(f)(np.array([0, 1, 3, 2])).tolist() == [0, 1, 9, 4]


def test_batch_without_examples():
    assert fst.vmap(times)(np.zeros(0), np.zeros(0, int)).shape == (0,)
    assert fst.vmap(fst.grad(times))(np.zeros(0), np.zeros(0, int)).shape == (0,)


# Bounded loops


@pytest.mark.parametrize(("most", "steps"), [(0, 0), (1, 1), (4, 4), (6, 4)])
def test_max_steps(most, steps):
    assert_close(times(X, 4, max_steps=most), times(X, steps))
    got = fst.grad(lambda x: times(x, 4, max_steps=most))(X)
    assert_close(got, fst.grad(times)(X, steps), derivative=True)
    got = fst.vmap(fst.grad(lambda x, n: times(x, n, max_steps=most)))(np.full(5, 0.7), NS)
    expected = [jax.grad(times_jax)(0.7, int(min(n, most))) for n in NS]
    assert_close(got, np.asarray(expected), derivative=True, factor=10)


def test_a_bounded_loop_is_a_scan():
    closed = fst.make_jaxpr(lambda x: times(x, 4, max_steps=6))(X)
    assert {e.primitive.name for e in closed.eqns} >= {"scan"}
    assert "while" not in str(closed)


# Python


def test_disable_jit_runs_python():
    seen = []
    with config.override(disable_jit=True):
        y = lax.while_loop(lambda v: float(v) < 10, lambda v: seen.append(float(v)) or v * 2, 1.5)
        g = fst.grad(lambda x: lax.while_loop(lambda v: v < 10, lambda v: v * x, x))(
            np.asarray(1.7)
        )
    assert float(y) == 12.0
    assert seen == [1.5, 3.0, 6.0]
    assert_close(g, np.asarray(5 * 1.7**4), derivative=True)


def test_float32_stays_float32():
    with config.override(default_dtype_bits=32):
        g = fst.jit(fst.grad(times))(np.float32(0.7), 5)
    with jax.enable_x64(False):
        assert_close(g, jax.grad(times_jax)(np.float32(0.7), 5), derivative=True)

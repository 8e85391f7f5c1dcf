"""Transforms of transforms of control flow, to third order, against straight-line code in JAX."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax
from fstensor.config import config
from tests.compose import test_compositions
from tests.tolerances import assert_close

X = test_compositions.X
W = np.random.default_rng(0).standard_normal((3, 3))


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True), config.override(default_dtype_bits=64):
        yield


TRANSFORMS = {
    **test_compositions.TRANSFORMS,
    "hessian": lambda m, np_: lambda f: lambda x: np_.sum(m.hessian(f)(x) * W),
    "checkpoint": lambda m, np_: m.checkpoint,
}
del TRANSFORMS["vmap_last"]

# Each function of a vector, with control flow in fstensor, and without in JAX.


def step(np_, c, x):
    return np_.tanh(c * x) + 0.5 * np_.sin(c)


def cond(x):
    return lax.cond(x[0] > 0.1, lambda x: fnp.sum(x**3) * x[2], lambda x: fnp.sin(x @ (W @ x)), x)


def cond_straight(np_, x):
    return np_.where(x[0] > 0.1, np_.sum(x**3) * x[2], np_.sin(x @ (W @ x)))


def switch(x):
    branches = [lambda: fnp.sin(x[0] * x[1]), lambda: fnp.exp(-x @ x), lambda: fnp.prod(x)]
    return lax.switch(fnp.sum(x > 0.1) - 1, branches) * x[1]


def switch_straight(np_, x):
    i = np_.sum(x > 0.1) - 1
    last = np_.where(i >= 2, np_.prod(x), np_.exp(-x @ x))
    return np_.where(i <= 0, np_.sin(x[0] * x[1]), last) * x[1]


def scan(x):
    last, ys = lax.scan(lambda c, e: (step(fnp, c, e) * x[0], c * e), x[1], x, reverse=True)
    return last + fnp.sum(ys * ys)


def scan_straight(np_, x):
    c, total = x[1], 0.0
    for i in (2, 1, 0):
        c, total = step(np_, c, x[i]) * x[0], total + (c * x[i]) ** 2
    return c + total


def trip_count(np_, x):
    return 2 + np_.sum(x > 0.1)


def while_loop(x):
    n = trip_count(fnp, x)
    body = lambda s: (s[0] + 1, fnp.tanh(s[1] * x + s[0]) + 0.5 * s[1])
    return fnp.sum(lax.while_loop(lambda s: s[0] < n, body, (0, x))[1])


def while_straight(np_, x):
    v = x
    for i in range(5):
        v = np_.where(i < trip_count(np_, x), np_.tanh(v * x + i) + 0.5 * v, v)
    return np_.sum(v)


def while_bounded(x):
    n = trip_count(fnp, x)
    body = lambda s: (s[0] + 1, fnp.tanh(s[1] * x + s[0]) + 0.5 * s[1])
    return fnp.sum(lax.while_loop(lambda s: s[0] < n, body, (0, x), max_steps=5)[1])


def fori_known(x):
    return fnp.sum(lax.fori_loop(0, 3, lambda i, v: fnp.sin(v) * x[i] + i, x))


def fori_known_straight(np_, x):
    v = x
    for i in range(3):
        v = np_.sin(v) * x[i] + i
    return np_.sum(v)


def fori_traced(x):
    return fnp.sum(lax.fori_loop(0, trip_count(fnp, x), lambda i, v: step(fnp, v, x) + i, x))


def fori_traced_straight(np_, x):
    v = x
    for i in range(5):
        v = np_.where(i < trip_count(np_, x), step(np_, v, x) + i, v)
    return np_.sum(v)


def associative_scan(x):
    return fnp.sum(lax.associative_scan(lambda a, b: a * b + a + b, fnp.sin(x)) * x)


def associative_scan_straight(np_, x):
    s = np_.sin(x)
    y = [s[0]]
    for i in (1, 2):
        y.append(y[-1] * s[i] + y[-1] + s[i])
    return np_.stack(y) @ x


def map_in_batches(x):
    return fnp.sum(lax.map(lambda e: fnp.exp(e) * x, x, batch_size=2) * W)


def map_straight(np_, x):
    return np_.sum(np_.exp(x)[:, None] * x * W)


def nested(x):
    """A loop in a branch in a loop."""

    def inner(c):
        body = lambda s: (s[0] + 1, step(fnp, s[1], x[0]))
        return lax.while_loop(lambda s: s[0] < trip_count(fnp, x), body, (0, c))[1]

    def outer(c, e):
        c = lax.cond(e > 0.1, inner, lambda c: c * e, c)
        return c, c

    return fnp.sum(lax.scan(outer, x[1], x)[1] * x)


def nested_straight(np_, x):
    c, total = x[1], 0.0
    for k in range(3):
        v = c
        for i in range(5):
            v = np_.where(i < trip_count(np_, x), step(np_, v, x[0]), v)
        c = np_.where(x[k] > 0.1, v, c * x[k])
        total = total + c * x[k]
    return total


@fst.custom_jvp
def own_jvp(x):
    return fnp.sin(x) * x


@own_jvp.defjvp
def _(primals, tangents):
    (x,), (t,) = primals, tangents
    return own_jvp(x), t * (fnp.cos(x) * x + fnp.sin(x))


def custom_jvp(x):
    return fnp.sum(own_jvp(own_jvp(x) * x[1]))


def custom_jvp_straight(np_, x):
    y = np_.sin(x) * x * x[1]
    return np_.sum(np_.sin(y) * y)


@fst.custom_vjp
def own_vjp(x, c):
    return fnp.tanh(c * x)


own_vjp.defvjp(
    lambda x, c: (own_vjp(x, c), (x, c)),
    lambda res, ct: (
        res[1] * ct * (1 - fnp.tanh(res[1] * res[0]) ** 2),
        fnp.sum(res[0] * ct * (1 - fnp.tanh(res[1] * res[0]) ** 2)),
    ),
)
own_vjp.defjvp(
    lambda primals, ts: (
        own_vjp(*primals),
        (1 - fnp.tanh(primals[0] * primals[1]) ** 2) * (ts[0] * primals[1] + primals[0] * ts[1]),
    )
)


def custom_vjp(x):
    return lax.scan(lambda c, e: (fnp.sum(own_vjp(x, c)) * e, None), x[0], x)[0]


def custom_vjp_straight(np_, x):
    c = x[0]
    for i in range(3):
        c = np_.sum(np_.tanh(c * x)) * x[i]
    return c


def custom_linear_solve(x):
    a = W + 4 * fnp.eye(3) + fnp.outer(x, x)
    solve = lambda matvec, b: fnp.linalg.solve(fst.jacobian(matvec)(b), b)
    return fnp.sum(lax.custom_linear_solve(lambda v: a @ v, fnp.sin(x), solve, solve) ** 2)


def custom_linear_solve_straight(np_, x):
    a = W + 4 * np_.eye(3) + np_.outer(x, x)
    return np_.sum(np_.linalg.solve(a, np_.sin(x)) ** 2)


def callback(x):
    fst.debug.callback(lambda v: None, x)

    def body(c, e):
        fst.debug.callback(lambda v: None, c)
        return step(fnp, c, e), c

    return fnp.sum(lax.scan(body, x[0], x)[1] ** 2)


def callback_straight(np_, x):
    c, total = x[0], 0.0
    for i in range(3):
        c, total = step(np_, c, x[i]), total + c**2
    return total


FUNCTIONS = {
    "cond": (cond, cond_straight),
    "switch": (switch, switch_straight),
    "scan": (scan, scan_straight),
    "while_loop": (while_loop, while_straight),
    "while_bounded": (while_bounded, while_straight),
    "fori_known": (fori_known, fori_known_straight),
    "fori_traced": (fori_traced, fori_traced_straight),
    "associative_scan": (associative_scan, associative_scan_straight),
    "map": (map_in_batches, map_straight),
    "nested": (nested, nested_straight),
    "custom_jvp": (custom_jvp, custom_jvp_straight),
    "custom_vjp": (custom_vjp, custom_vjp_straight),
    "custom_linear_solve": (custom_linear_solve, custom_linear_solve_straight),
    "callback": (callback, callback_straight),
}
PAIRS = list(itertools.product(TRANSFORMS, repeat=2))
TRIPLES = [
    t
    for t in itertools.product(["grad", "jvp", "vmap", "jit", "linearize", "checkpoint"], repeat=3)
    if t.count("jit") + t.count("checkpoint") < 2
]


def composed(names, f, module, np_):
    for name in reversed(names):
        f = TRANSFORMS[name](module, np_)(f)
    return f


@functools.cache
def in_jax(names, function):
    straight = functools.partial(FUNCTIONS[function][1], jnp)
    return np.asarray(composed(names, straight, jax, jnp)(X))


@pytest.fixture
def check(recorded_for_module):
    def against_jax(names, function):
        # Compiling straight-line code, or computing it again, changes nothing.
        asked = tuple(n for n in names if n not in ("jit", "checkpoint"))
        about = f"{function} {'_'.join(asked)}"
        expected = recorded_for_module(lambda: in_jax(asked, function), about)
        got = composed(names, FUNCTIONS[function][0], fst, fnp)(X)
        assert_close(got, expected, derivative=True, factor=100)  # fourth derivatives of loops

    return against_jax


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_single(name, function, check):
    check((name,), function)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("names", PAIRS, ids="_".join)
def test_pair(names, function, check):
    check(names, function)


@pytest.mark.parametrize("names", TRIPLES, ids="_".join)
def test_triple(names):
    # Against fstensor's own derivatives of straight-line code, which other tests compare with JAX.
    start = TRIPLES.index(names)
    for function in {list(FUNCTIONS)[start % len(FUNCTIONS)], "nested"}:
        f, straight = FUNCTIONS[function]
        got = composed(names, f, fst, fnp)(X)
        expected = composed(names, functools.partial(straight, fnp), fst, fnp)(X)
        assert_close(got, expected, derivative=True, factor=100)

"""Transforms of transforms, to third order, against JAX and against each other."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from tests.tolerances import assert_close

X = np.float64([0.3, -1.2, 2.0])


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


# Each function of a vector, as a function of the namespace; scalar-valued.
FUNCTIONS = {
    "elementwise": lambda np_: lambda x: np_.sum(np_.sin(x) * np_.exp(-x * x)),
    "contraction": lambda np_: lambda x: np_.sum(np_.tanh(np_.outer(x, x) @ x)),
    "indexing": lambda np_: lambda x: np_.sum(x[np.array([0, 2, 0])] * x[::-1]) * x[1],
    "reduction": lambda np_: lambda x: np_.log(np_.sum(np_.exp(x))) + np_.prod(x) + np_.max(x),
    "selection": lambda np_: lambda x: np_.sum(np_.where(x > 0, x**3, np_.cos(x))),
    "shapes": lambda np_: (
        lambda x: np_.sum(np_.concatenate([x, x * x]).reshape(2, 3).T @ np_.stack([x, x]))
    ),
}


def scalar(f):
    return lambda g: lambda x: f(g(x))


# Each transform maps scalar-valued functions of a vector to such functions again.
TRANSFORMS = {
    "grad": lambda m, np_: lambda f: lambda x: np_.sum(m.grad(f)(x) * np.arange(1.0, 4.0)),
    "jvp": lambda m, np_: lambda f: lambda x: m.jvp(f, (x,), (x * 0.5 + 1.0,))[1],
    "vjp": lambda m, np_: lambda f: lambda x: np_.sum(m.vjp(f, x)[1](np.float64(2.0))[0]),
    "linearize": lambda m, np_: lambda f: lambda x: m.linearize(f, x)[1](np_.cos(x)),
    "vmap": lambda m, np_: (
        lambda f: lambda x: np_.sum(m.vmap(f)(np_.stack([x, 2.0 * x])) * np.array([1.0, 0.5]))
    ),
    "vmap_last": lambda m, np_: (
        lambda f: lambda x: np_.sum(m.vmap(f, in_axes=-1)(np_.stack([x, x - 1.0], axis=-1)))
    ),
    "jit": lambda m, np_: lambda f: lambda x: m.jit(f)(x),
}

PAIRS = list(itertools.product(TRANSFORMS, repeat=2))
TRIPLES = [
    t
    for t in itertools.product(["grad", "jvp", "vmap", "jit", "linearize"], repeat=3)
    if len(set(t)) > 1 or t[0] in ("grad", "jvp", "vmap")
]


def composed(names, function, module, np_):
    f = FUNCTIONS[function](np_)
    for name in reversed(names):
        f = TRANSFORMS[name](module, np_)(f)
    return f


@pytest.fixture
def check(recorded_for_module):
    def against_jax(names, function):
        ours = composed(names, function, fst, fnp)(X)
        about = f"{function} {'_'.join(names)}"
        theirs = recorded_for_module(lambda: composed(names, function, jax, jnp)(X), about)
        assert_close(ours, theirs, derivative=True, factor=10)

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
def test_triple(names, check):
    check(names, "elementwise")
    check(names, "contraction" if "jit" in names else "indexing")


def test_hessian_vector_products_agree():
    f = FUNCTIONS["contraction"](fnp)
    v = np.float64([1.0, 2.0, -1.0])
    forward_over_reverse = fst.jvp(fst.grad(f), (X,), (v,))[1]
    reverse_over_forward = fst.grad(lambda x: fst.jvp(f, (x,), (v,))[1])(X)
    reverse_over_reverse = fst.grad(lambda x: fnp.vdot(fst.grad(f)(x), v))(X)
    dense = fst.hessian(f)(X) @ v
    for got in (forward_over_reverse, reverse_over_forward, reverse_over_reverse):
        assert_close(got, dense, derivative=True)


def test_third_derivative():
    f = fnp.sin
    for _ in range(3):
        f = fst.grad(f)
    assert_close(f(np.array(0.7)), np.array(-np.cos(0.7)), derivative=True)


def test_jacobian_of_vmap_is_block_diagonal():
    m = np.arange(6.0).reshape(2, 3)
    jac = fst.jacrev(fst.vmap(lambda x: fnp.sin(x)))(m)
    assert jac.shape == (2, 3, 2, 3)
    assert_close(jac, jax.jacrev(jax.vmap(jnp.sin))(m))


def test_numpy_functions_are_differentiated():
    assert_close(fst.grad(lambda x: np.sum(np.sin(x)))(X), np.cos(X))
    assert_close(fst.jit(lambda x: np.add(np.exp(x), 1))(X), np.exp(X) + 1)
    assert_close(fst.vmap(lambda x: np.multiply(x, 2))(X), X * 2)

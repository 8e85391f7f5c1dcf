"""`custom_vmap` and `sequential_vmap`, like JAX's and in reverse mode."""

import functools

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.errors import ArgumentError, MissingRuleError, ShapeError, TreeError
from tests.transforms.both import X, check_like_jax


def function_of(lib, xp):
    @lib.custom_batching.custom_vmap
    def f(x, y):
        return xp.sin(x) * y

    @f.def_vmap
    def rule(axis_size, in_batched, xs, ys):
        return 2 * xp.cos(xs) * ys, in_batched[0] or in_batched[1]

    return f


def along(lib, f):
    return lambda a, b: lib.jvp(f, (a, b), (a, b))[1]


USES = {
    "value": lambda lib, xp: function_of(lib, xp)(1.0, 2.0),
    "vmap": lambda lib, xp: lib.vmap(function_of(lib, xp))(X, X),
    "vmap_first": lambda lib, xp: lib.vmap(function_of(lib, xp), (0, None))(X, 2.0),
    "jit_vmap": lambda lib, xp: lib.jit(lib.vmap(function_of(lib, xp), (None, 0)))(2.0, X),
    "vmap_jit": lambda lib, xp: lib.vmap(lib.jit(function_of(lib, xp)))(X, X),
    "vmap_vmap": lambda lib, xp: lib.vmap(lib.vmap(function_of(lib, xp), (0, None)))(
        X[:, None] * X, X
    ),
    "jvp": lambda lib, xp: along(lib, function_of(lib, xp))(1.0, 2.0),
    "jvp_vmap": lambda lib, xp: lib.jvp(lib.vmap(function_of(lib, xp)), (X, X), (X, X)),
    "vmap_jvp": lambda lib, xp: lib.vmap(along(lib, function_of(lib, xp)), (0, None))(X, 2.0),
    "vmap_jvp_shared": lambda lib, xp: lib.vmap(
        lambda a: lib.jvp(function_of(lib, xp), (a, 2.0), (1.0, 1.0))[1]
    )(X),
    "vmap_jit_jvp": lambda lib, xp: lib.vmap(lib.jit(along(lib, function_of(lib, xp))), (0, None))(
        X, 2.0
    ),
    "grad_vmap": lambda lib, xp: lib.grad(
        lambda x: lib.vmap(function_of(lib, xp), (0, None))(x, 2.0).sum()
    )(X),
    "scan": lambda lib, xp: lib.vmap(
        lambda a: lib.lax.scan(lambda c, e: (function_of(lib, xp)(c, e), c), a, X)[0]
    )(X),
    "sequential": lambda lib, xp: lib.vmap(
        lib.custom_batching.sequential_vmap(lambda x, y: xp.sin(x) * y), (0, None)
    )(X, 2.0),
}


@pytest.mark.parametrize("use", USES)
def test_like_jax(use, recorded):
    check_like_jax(recorded, USES[use])


def test_reverse_mode_is_that_of_the_function():
    f, plain = function_of(fst, fnp), lambda x, y: fnp.sin(x) * y
    np.testing.assert_allclose(fst.grad(f)(1.0, 2.0), fst.grad(plain)(1.0, 2.0))
    np.testing.assert_allclose(fst.vmap(fst.grad(f))(X, X), fst.vmap(fst.grad(plain))(X, X))
    g = fst.custom_batching.sequential_vmap(plain)
    total = lambda x: fst.vmap(g, (0, None))(x, 2.0).sum()
    np.testing.assert_allclose(fst.grad(total)(X), 2 * np.cos(X))


def test_it_goes_into_custom_vjp():
    f = fst.custom_vjp(function_of(fst, fnp))
    f.defvjp(lambda x, y: (f(x, y), y), lambda y, ct: (7 * ct * y, None))
    np.testing.assert_allclose(fst.vmap(f)(X, X), 2 * np.cos(X) * X)
    np.testing.assert_allclose(fst.vmap(fst.grad(f))(X, X), 7 * X)


MISTAKES = {
    "no_pair": (lambda n, b, x: x, ArgumentError, "must return a pair"),
    "flags": (lambda n, b, x: (x, (True,)), TreeError, "what it says to be batched must have"),
    "tree": (lambda n, b, x: ((x,), (True,)), TreeError, "its result must have the structure"),
    "shape": (lambda n, b, x: (x[0], True), ShapeError, r"batch in front, got float..\[\] for"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_rules(mistake):
    rule, error, words = MISTAKES[mistake]
    f = fst.custom_batching.custom_vmap(lambda x: x)
    f.def_vmap(rule)
    with pytest.raises(error, match=f"custom_vmap: the rule <lambda> at .*{words}"):
        fst.vmap(f)(X)


def test_other_mistakes():
    with pytest.raises(MissingRuleError, match="has no rule; give it one with def_vmap"):
        fst.custom_batching.custom_vmap(lambda x: x)(1.0)

    def of_c(c, x):
        f = fst.custom_batching.custom_vmap(lambda x: x * c)
        f.def_vmap(lambda n, b, x: (x, True))
        return f(x)

    with pytest.raises(ArgumentError, match="refers to a value that is being mapped"):
        fst.vmap(functools.partial(of_c, x=1.0))(X)

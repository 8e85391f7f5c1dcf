"""`custom_root`, like JAX's."""

import numpy as np
import pytest

import fstensor as fst
from fstensor.errors import ArgumentError, ShapeError, TreeError
from tests.transforms.both import check_like_jax

PARAMETERS = np.asarray([0.5, 1.0, 1.2])


def root_of(lib, xp):
    def newton(f, guess):
        return lib.lax.while_loop(
            lambda x: abs(f(x)) > 1e-12, lambda x: x - f(x) / lib.grad(f)(x), guess
        )

    def root(a, guess=1.0):
        return lib.lax.custom_root(
            lambda x: x**3 - a * xp.cos(a), guess, newton, lambda g, y: y / g(1.0)
        )

    return root


USES = {
    "value": lambda lib, root: root(1.0),
    "jvp": lambda lib, root: lib.jvp(root, (1.0,), (1.0,)),
    "grad": lambda lib, root: lib.grad(root, (0, 1))(1.0, 1.0),
    "grad_grad": lambda lib, root: lib.grad(lib.grad(root))(1.0),
    "jit_grad": lambda lib, root: lib.jit(lib.grad(root))(1.0),
    "grad_jit": lambda lib, root: lib.grad(lib.jit(root))(1.0),
    "vmap": lambda lib, root: lib.vmap(root)(PARAMETERS),
    "vmap_grad": lambda lib, root: lib.vmap(lib.grad(root))(PARAMETERS),
    "grad_vmap": lambda lib, root: lib.grad(lambda a: lib.vmap(root)(a).sum())(PARAMETERS),
    "scan": lambda lib, root: lib.grad(
        lambda a: lib.lax.scan(lambda c, _: (root(c), c), a, None, length=3)[0]
    )(1.0),
}


@pytest.mark.parametrize("use", USES)
def test_like_jax(use, recorded):
    check_like_jax(recorded, lambda lib, xp: USES[use](lib, root_of(lib, xp)))


def with_aux(a):
    solve = lambda f, x: (fst.numpy.sqrt(a), {"steps": 3})
    return fst.lax.custom_root(
        lambda x: x * x - a, 1.0, solve, lambda g, y: y / g(1.0), has_aux=True
    )


def test_aux_has_no_derivatives():
    assert with_aux(4.0)[1]["steps"] == 3
    assert fst.grad(lambda a: with_aux(a)[0])(4.0) == 0.25
    assert fst.jit(fst.grad(lambda a: with_aux(a)[0]))(4.0) == 0.25


def test_mistakes():
    root, f, tangent = fst.lax.custom_root, lambda x: x, lambda g, y: y
    with pytest.raises(TreeError, match="f must return the structure of initial_guess"):
        root(lambda x: (x,), 1.0, lambda f, x: x, tangent)
    with pytest.raises(ShapeError, match=r"solve must return the type of .*, got float32\[2\]"):
        root(f, 1.0, lambda f, x: np.ones(2, np.float32), tangent)
    with pytest.raises(ArgumentError, match="takes functions, got int"):
        root(f, 1.0, 3, tangent)

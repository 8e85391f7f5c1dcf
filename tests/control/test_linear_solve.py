"""`custom_linear_solve`, like JAX's."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.errors import ArgumentError, MissingRuleError, ShapeError, TreeError
from tests.transforms.both import check_like_jax

RNG = np.random.default_rng(0)
MATRICES = RNG.normal(size=(3, 3, 3)) + 4 * np.eye(3)
VECTORS = RNG.normal(size=(3, 3))
A, B = MATRICES[0], VECTORS[0]


def solver(lib, xp, symmetric):
    def solve(matrix, b):
        a = matrix + matrix.T if symmetric else matrix
        transpose = None if symmetric else (lambda _, b: xp.linalg.solve(a.T, b))
        return lib.lax.custom_linear_solve(
            lambda x: a @ x, b, lambda _, b: xp.linalg.solve(a, b), transpose, symmetric
        )

    return solve, lambda matrix, b: xp.sum(solve(matrix, b) ** 2)


USES = {
    "value": lambda lib, s, loss: s(A, B),
    "jvp": lambda lib, s, loss: lib.jvp(s, (A, B), (MATRICES[1], VECTORS[1])),
    "jvp_of_b": lambda lib, s, loss: lib.jvp(lambda b: s(A, b), (B,), (VECTORS[1],)),
    "grad": lambda lib, s, loss: lib.grad(loss, (0, 1))(A, B),
    "jit_grad": lambda lib, s, loss: lib.jit(lib.grad(loss, (0, 1)))(A, B),
    "grad_jit": lambda lib, s, loss: lib.grad(lib.jit(loss), (0, 1))(A, B),
    "vmap": lambda lib, s, loss: lib.vmap(s)(MATRICES, VECTORS),
    "vmap_b": lambda lib, s, loss: lib.vmap(s, (None, 0))(A, VECTORS),
    "vmap_a": lambda lib, s, loss: lib.vmap(s, (0, None))(MATRICES, B),
    "vmap_grad": lambda lib, s, loss: lib.vmap(lib.grad(loss, (0, 1)))(MATRICES, VECTORS),
    "grad_vmap": lambda lib, s, loss: lib.grad(lambda b: lib.vmap(s, (None, 0))(A, b).sum())(
        VECTORS
    ),
    "hessian": lambda lib, s, loss: lib.hessian(loss, (0, 1))(A, B),
    "jacrev_jacrev": lambda lib, s, loss: lib.jacrev(lib.jacrev(loss))(A, B),
    "scan": lambda lib, s, loss: lib.grad(
        lambda a: lib.lax.scan(lambda c, _: (s(a, c), c[0]), B, None, length=3)[0].sum()
    )(A),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("symmetric", [False, True])
def test_like_jax(use, symmetric, recorded):
    check_like_jax(recorded, lambda lib, xp: USES[use](lib, *solver(lib, xp, symmetric)))


def test_aux(recorded):
    def program(lib, xp):
        def solve(a, b):
            told = {"n": xp.sum(b)}
            return lib.lax.custom_linear_solve(
                lambda x: a @ x,
                b,
                lambda _, b: (xp.linalg.solve(a, b), told),
                lambda _, b: (xp.linalg.solve(a.T, b), told),
                has_aux=True,
            )

        return [
            solve(A, B),
            lib.grad(lambda a: solve(a, B)[0].sum())(A),
            lib.vmap(solve)(MATRICES, VECTORS),
        ]

    check_like_jax(recorded, program)


def test_trees():
    def divide(p):
        return fst.lax.custom_linear_solve(
            lambda x: {"u": p["a"] * x["u"], "w": 3 * x["w"]},
            {"u": p["b"], "w": fnp.float32(2)},
            lambda _, y: {"u": y["u"] / p["a"], "w": y["w"] / 3},
            symmetric=True,
        )["u"]

    g = fst.grad(divide)({"a": 2.0, "b": 3.0})
    assert (float(g["a"]), float(g["b"])) == (-0.75, 0.5)


def test_mistakes():
    b = np.float32([1, 2])
    solve = fst.lax.custom_linear_solve
    with pytest.raises(MissingRuleError, match="needs transpose_solve, or symmetric=True"):
        fst.grad(lambda b: solve(lambda x: 2 * x, b, lambda f, y: y / 2).sum())(b)
    with pytest.raises(ShapeError, match=r"matvec must return the type of b, got float32\[\] for"):
        solve(lambda x: x.sum(), b, lambda f, y: y)
    with pytest.raises(TreeError, match="solve must return the structure of b"):
        solve(lambda x: x, b, lambda f, y: (y,))
    with pytest.raises(ArgumentError, match=r"with has_aux=True .* a pair \(out, aux\)"):
        solve(lambda x: x, b, lambda f, y: y, has_aux=True)
    with pytest.raises(ArgumentError, match="takes functions, got ndarray"):
        solve(b, b, lambda f, y: y)

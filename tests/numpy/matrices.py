"""Matrices for tests of linear algebra, and what is compared of functions of them."""

import numpy as np

import fstensor as fst
from tests.numpy.compare import check, values

# Elimination and decompositions amplify roundings by the condition number, here up to about 50.
FACTOR = 500


def matrix(shape, dtype="float64", seed=0):
    """A random matrix plus a multiple of the identity, which keeps it well conditioned."""
    x = values(shape, dtype, -1, 1, seed) + 3 * np.eye(*shape[-2:])
    return x.astype(dtype)


def definite(shape, dtype="float64", seed=0):
    x = matrix(shape, dtype, seed)
    return (x @ x.conj().swapaxes(-1, -2)).astype(dtype)


def hermitian(shape, dtype="float64", seed=0):
    x = values(shape, dtype, -1, 1, seed)
    return ((x + x.conj().swapaxes(-1, -2)) / 2).astype(dtype)


def each(function, *stacks):
    """`function` applied along the first axis, and the results stacked."""
    return fst.tree.map(
        lambda *xs: np.stack([np.asarray(x) for x in xs]),
        *[function(*xs) for xs in zip(*stacks, strict=True)],
    )


def agree(function, *stacks, factor=FACTOR):
    """jit gives what the eager function does, and vmap what a loop over the first axis does."""
    compiled = fst.jit(function)(*[s[0] for s in stacks])
    check(compiled, fst.tree.leaves(function(*[s[0] for s in stacks])), factor=factor)
    looped = each(function, *stacks)
    check(fst.vmap(function)(*stacks), fst.tree.leaves(looped), factor=factor)

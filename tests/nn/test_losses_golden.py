"""Losses and distances give PyTorch's values and gradients, eagerly and compiled."""

from pathlib import Path

import numpy as np
import pytest

import fstensor as fst
from fstensor import numpy as fnp
from tests.nn.losses_cases import CASES

# PyTorch has 1e-12 in single precision here, and these gradients are multiples of it.
ROUNDED = ("binary_cross_entropy_edges", "cosine_embedding_loss_margin")
GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "losses.npz"))


def operands(name, dtype):
    arrays = [GOLDEN[f"operand/{n}"] for n in GOLDEN[f"{name}/operands"]]
    return [x.astype(dtype) if x.dtype.kind == "f" else x for x in arrays]


def with_gradients(name, dtype):
    """A function of the operands that gives the value and all gradients, and the operands."""
    arrays = operands(name, dtype)
    moved = [i for i in range(len(arrays)) if f"{name}/grad{i}" in GOLDEN]
    assert moved

    def weighed(*arrays):
        value = CASES[name](*arrays)
        weights = fnp.cos(fnp.arange(value.size, dtype=value.dtype)).reshape(value.shape)
        return fnp.sum(value * weights), value

    def run(*arrays):
        (_, value), grads = fst.value_and_grad(weighed, moved, has_aux=True)(*arrays)
        return value, dict(zip(moved, grads, strict=True))

    return run, arrays


def check(name, value, grads, rtol, atol):
    np.testing.assert_allclose(value, GOLDEN[f"{name}/value"], rtol, atol)
    for i, grad in grads.items():
        np.testing.assert_allclose(grad, GOLDEN[f"{name}/grad{i}"], rtol, atol, err_msg=str(i))


def test_all_cases_are_here():
    assert {key.split("/")[0] for key in GOLDEN} == {"operand", *CASES}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients(name):
    run, arrays = with_gradients(name, np.float64)
    value, grads = run(*arrays)
    assert value.dtype == np.float64
    check(name, value, grads, 1e-8 if name in ROUNDED else 1e-10, 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_jit_in_single_precision(name):
    run, arrays = with_gradients(name, np.float32)
    value, grads = fst.jit(run)(*arrays)
    assert value.dtype == np.float32
    check(name, value, grads, 1e-5, 1e-5)

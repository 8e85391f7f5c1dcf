"""One program run with the package and with JAX, in 64 bits, for comparison."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

import fstensor as fst
from fstensor.config import config
from tests.tolerances import assert_close

X = np.asarray([0.3, 1.1, 2.4])


@contextlib.contextmanager
def double():
    with jax.enable_x64(True), config.override(default_dtype_bits=64):
        yield


def check_like_jax(recorded, program):
    """program(library, its numpy) gives the same trees of arrays with both."""
    with double():
        got = _values(fst, program(fst, fst.numpy))
        want = recorded.each(lambda: _values(jax, program(jax, jnp)))
    assert len(got) == len(want) > 0
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        assert_close(a, b, derivative=True)


def _values(library, out):
    leaves = fst.tree.leaves(out) if library is fst else jax.tree.leaves(out)
    return [np.asarray(x) for x in leaves]

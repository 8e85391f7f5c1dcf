"""Every function of fstensor.numpy against NumPy and JAX, at drawn arguments."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

import fstensor as fst
from tests.differential import checks
from tests.differential.cases import FUNCTIONS


def settings(profile):
    return hypothesis.settings(hypothesis.settings.get_profile(profile))


def parametrized(functions):
    return pytest.mark.parametrize("function", [pytest.param(f, id=f.id) for f in functions])


@parametrized(FUNCTIONS)
@settings("values")
@hypothesis.given(data=st.data())
def test_value(function, data):
    call = function.draw(function.drawer(data, valid=False))
    bits = data.draw(st.sampled_from([32, 64]), label="default bits")
    hypothesis.note(call)
    with fst.config.override(default_dtype_bits=bits), jax.enable_x64(bits == 64):
        checks.check_value(function, call)


@parametrized([f for f in FUNCTIONS if f.traceable])
@settings("transforms")
@hypothesis.given(data=st.data())
def test_jit_and_vmap(function, data):
    draw = function.drawer(data)
    call = function.draw(draw)
    hypothesis.assume(call.arrays)
    hypothesis.note(call)
    checks.check_jit(function, call)
    checks.check_vmap(function, call, draw)


@parametrized([f for f in FUNCTIONS if f.differentiable])
@settings("derivatives")
@hypothesis.given(data=st.data(), seed=st.integers(0, 99))
def test_derivatives(recorded_for_module, function, data, seed):
    call = function.draw(function.drawer(data, smooth=True))
    hypothesis.assume(call.arrays)
    hypothesis.note(call)
    with fst.config.override(default_dtype_bits=64), jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        checks.check_derivatives(function, call, rng, recorded_for_module)

"""Random programs with nested control flow against JAX. See `random_programs`.

FSTENSOR_PROGRAMS=20000 runs so many of them instead of three hundred. What JAX says of those is in
a file, known by their texts; programs that Hypothesis makes are new ones, and JAX runs them.
"""

import functools
import hashlib
import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fstensor.config import config
from tests.compose.random_programs import check, generate

COUNT = int(os.environ.get("FSTENSOR_PROGRAMS", "300"))
AT_ONCE = 20


@pytest.fixture(autouse=True)
def _double():
    with config.override(default_dtype_bits=64):
        yield


@pytest.mark.parametrize("start", range(0, COUNT, AT_ONCE))
def test_programs(start, recorded):
    for seed in range(start, min(start + AT_ONCE, COUNT)):
        text = generate(random.Random(seed))
        about = f"{seed} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
        try:
            check(text, seed, functools.partial(recorded.each, about=about))
        except Exception as error:
            error.add_note(f"seed {seed}\n{text}")
            raise


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.integers(0, 1000))
def test_programs_that_hypothesis_makes_smaller(rng, seed):
    text = generate(rng)
    try:
        check(text, seed)
    except Exception as error:
        error.add_note(text)
        raise

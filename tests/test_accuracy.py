"""Values against mpmath, in units in the last place: a small part of benchmarks/accuracy.py."""

import math

import mpmath
import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.accuracy_functions import FUNCTIONS

POINTS = 6
# Those known to miss the limit, with what they reach instead; docs/accuracy.md says where and why.
# None: what cancels has no bound to test.
MISSES = {
    "betainc": None,
    "betaln": None,
    "digamma (< 0)": None,
    "erfinv": 6,
    "gammainc": 12,
    "gammaincc": 12,
    "gammaln (< 0)": None,
    "kl_div": None,
    "logaddexp": None,
    "logit": None,
    "ndtri": 6,
    "polygamma": 6,
    "rel_entr": None,
    "sinc": None,
}


@pytest.mark.parametrize("dtype", accuracy.DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize(
    "function",
    [f for f in FUNCTIONS if MISSES.get(f.name, accuracy.LIMIT)],
    ids=lambda f: f.name,
)
def test_error(function, dtype):
    result = accuracy.judge(function, dtype, POINTS)
    # Elementary functions at one precision are NumPy's, whose error differs between processors.
    limit = MISSES.get(function.name, accuracy.LIMIT) if dtype is np.float64 else accuracy.LIMIT
    assert result.largest <= limit, accuracy.line(result)


def test_every_miss_has_its_reason():
    reasons = {f.name for f in FUNCTIONS if f.miss}
    assert set(MISSES) == reasons


@pytest.mark.parametrize(
    ("got", "exact", "expected"),
    [
        (1.0, 1, 0),
        (1.0 + 2**-52, 1, 1),
        (1.0 - 2**-53, 1, 0.5),
        (5e-324, 0, 1),
        (math.inf, mpmath.mpf(2) ** 1024, 0),
        (math.inf, mpmath.mpf(2) ** 2000, 0),
        (math.inf, (1 - mpmath.mpf(2) ** -53) * mpmath.mpf(2) ** 1024, 1),
        (np.finfo(float).max, mpmath.inf, 1),
        (math.nan, 1, math.inf),
        (math.nan, mpmath.nan, 0),
    ],
)
def test_distance(got, exact, expected):
    with mpmath.workprec(200):
        assert accuracy.ulps(float(got), mpmath.mpf(exact), np.float64) == expected


@pytest.mark.parametrize("name", ["gamma", "gammaincc", "betainc", "polygamma", "expn"])
def test_long_arrays_are_evaluated_in_blocks(name):
    function = next(f for f in FUNCTIONS if f.name == name)
    args = [np.resize(a, 70001) for a in accuracy.arguments(function, np.float64, 5)]
    long = np.asarray(function.call(*args))
    short = np.asarray(function.call(*[a[-99:] for a in args]))
    np.testing.assert_allclose(long[-99:], short, rtol=1e-15)


def test_points_reach_the_ends():
    rng = np.random.default_rng(0)
    points = accuracy.sample(accuracy.Range("floats", (-math.inf, math.inf)), np.float32, 20, rng)
    assert points.min() == np.finfo(np.float32).min
    assert points.max() == np.finfo(np.float32).max
    assert np.all(np.diff(points) > 0)

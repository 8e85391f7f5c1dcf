"""Edge values one by one, where draws meet them only now and then."""

import inspect

import numpy as np
import pytest

import fstensor as fst
from fstensor import dtypes
from tests.differential import checks
from tests.differential.cases import elementwise, reductions
from tests.differential.strategies import COMPLEX, FLOATS, INTS, edges

KINDS = (*FLOATS, *INTS)


def of(family, *draws):
    return [pytest.param(f, id=f.id) for f in family.FUNCTIONS if f.draw in draws]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", of(elementwise, elementwise.one))
def test_every_edge(function, kind):
    if kind in function.kinds:
        checks.check_value(function, checks.Call(edges(np.dtype(kind))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", of(elementwise, elementwise.two))
def test_every_pair_of_edges(function, kind):
    if kind in function.kinds:
        values = edges(np.dtype(kind))
        pairs = [m.ravel() for m in np.meshgrid(values, values)]
        checks.check_value(function, checks.Call(*pairs))


nan, inf = np.nan, np.inf
ROWS = [
    [nan, 1.0, 2.0],
    [3.0, nan, nan],
    [nan, nan, nan],
    [inf, 1.0, inf],
    [-inf, -inf, -inf],
    [inf, 0.0, -inf],
    [-0.0, -0.0, -0.0],
    [0.0, -0.0, 1e-30],
    [2.0, 2.0, 2.0],
]
REDUCTIONS = [
    pytest.param(f, id=f.id)
    for f in reductions.FUNCTIONS
    if set(FLOATS) <= set(f.kinds) and not f.name.startswith("cumulative")
]


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("function", REDUCTIONS)
def test_rows_and_columns_of_edges(function, kind):
    x = np.array(ROWS, kind)
    more = {"ddof": 1} if "ddof" in inspect.signature(function.ours).parameters else {}
    keeps = "keepdims" in inspect.signature(function.ours).parameters
    for axis in (1, -2, None):
        for keepdims in (False, True) if keeps else (False,):
            options = {"axis": axis, **({"keepdims": keepdims} if keeps else {}), **more}
            checks.check_value(function, checks.Call(x, **options))


def test_edges_have_every_kind_of_value():
    for kind in FLOATS:
        x = edges(np.dtype(kind))
        limits = np.finfo(kind)
        assert np.isnan(x).any()
        assert {np.inf, -np.inf, float(limits.max), float(limits.smallest_subnormal)} <= set(
            x.tolist()
        )
        assert np.signbit(x[x == 0]).any()


def test_edges_of_complex_numbers_are_told_apart():
    # Which parts are NaN is agreed upon for what only moves, splits or tests the parts.
    parts = [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan]
    for kind in COMPLEX:
        z = np.array([complex(a, b) for a in parts for b in parts]).astype(kind)
        for f in elementwise.FUNCTIONS:
            if f.name in ("conj", "real", "imag", "isnan", "isinf", "isfinite", "abs", "negative"):
                checks.check_value(f, checks.Call(z))


def test_subnormal_numbers_are_not_flushed():
    for kind in FLOATS:
        tiny = np.array([np.finfo(kind).smallest_subnormal])
        for f in (lambda x: x * 1, lambda x: x + 0, lambda x: abs(-x), fst.jit(lambda x: x * 1)):
            assert np.asarray(f(fst.numpy.asarray(tiny)))[0] == tiny[0]
    assert dtypes.finfo("float32").smallest_subnormal > 0

"""Every function of the standard gives the values, shapes and dtypes of array-api-strict.

Each call runs at once and inside of jit. The default dtypes are set to 64 bits, as those of
array-api-strict are; with 32 bits the result has to be of the same kind.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.config import config
from tests.array_api.calls import CALLS, Dtype
from tests.array_api.standard import FUNCTIONS, ours, strict, theirs
from tests.tolerances import assert_close

few = settings(
    max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def depends_on_values(name: str, args: Any) -> bool:
    """Whether the result has a shape that depends on values, which no lazy evaluation can know."""
    if name == "repeat":
        return isinstance(args[1], np.ndarray)
    return name == "nonzero" or name.startswith("unique_")


# Their results are no arrays, and they have tests of their own in test_inspection.py.
INSPECTION = {"__array_namespace_info__", "finfo", "iinfo", "from_dlpack"}


def test_every_function_is_called():
    assert set(FUNCTIONS) - INSPECTION == set(CALLS)


def replaced(x: Any, array: Any, namespace: Any) -> Any:
    """Arguments with ndarrays and names of dtypes replaced by what a namespace has for them."""
    if isinstance(x, np.ndarray):
        return array(x)
    if isinstance(x, Dtype):
        return getattr(namespace, x)
    if isinstance(x, (list, tuple)) and not isinstance(x, str):
        return type(x)(replaced(y, array, namespace) for y in x)
    if isinstance(x, dict):
        return {k: replaced(v, array, namespace) for k, v in x.items()}
    return x


def under_jit(function: Any, args: Any, kwargs: Any) -> Any:
    """The call with all of its arrays as arguments of a jitted function."""
    found: list[np.ndarray] = []
    replaced((args, kwargs), found.append, fnp)

    def body(arrays: list[Any]) -> Any:
        given = iter(arrays)
        a, k = replaced((args, kwargs), lambda _: next(given), fnp)
        return function(*a, **k)

    return fst.jit(body)(found)


def check(name: str, got: Any, expected: Any, exact: bool = True) -> None:
    """The same tree of arrays, dtypes, bools and tuples of integers."""
    if isinstance(expected, (tuple, list)):
        assert isinstance(got, tuple)
        assert getattr(got, "_fields", None) == getattr(expected, "_fields", None)
        assert len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            check(name, g, e, exact)
    elif isinstance(expected, (bool, int)):
        assert type(got) is type(expected)
        assert got == expected
    elif isinstance(expected, strict.float32.__class__):
        assert isinstance(got, np.dtype)
        assert got == str(expected).removeprefix("array_api_strict.")
    else:
        check_array(name, got, np.from_dlpack(expected), exact)


def check_array(name: str, got: Any, expected: np.ndarray, exact: bool) -> None:
    assert isinstance(got, fst.Array)
    if not exact:
        assert got.shape == expected.shape
        assert any(fnp.isdtype(got.dtype, k) and fnp.isdtype(expected.dtype, k) for k in KINDS)
    elif name.startswith("empty"):
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    else:
        # NumPy computes many complex functions by formulas with a few more roundings.
        assert_close(got, expected, factor=20, err_msg=name)


FACTORS = {"linalg.eig", "linalg.eigh", "linalg.eigvals", "linalg.qr", "linalg.svd"}


def check_factors(name: str, got: Any, expected: Any) -> None:
    """The same product, since factors are determined only up to signs, phases and order."""
    check(name, got, expected, exact=False)
    pairs = zip(*map(fst.tree.leaves, (got, expected)), strict=True)
    assert all(g.dtype == np.from_dlpack(e).dtype for g, e in pairs)
    own, theirs = (multiplied(name, fst.tree.map(np.from_dlpack, x)) for x in (got, expected))
    for g, e in zip(own, theirs, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-4, atol=1e-5)


def multiplied(name: str, x: Any) -> list[np.ndarray]:
    if name == "linalg.eigvals":
        return [np.sort(x, axis=-1)]
    if name == "linalg.qr":
        return [x[0] @ x[1], np.tril(x[1], -1), np.conj(x[0].mT) @ x[0]]
    if name == "linalg.svd":
        u, s, vh = x
        n = s.shape[-1]
        return [s, (u[..., :n] * s[..., None, :]) @ vh[..., :n, :], np.conj(u.mT) @ u]
    values, vectors = x
    return [np.sort(values), (vectors * values[..., None, :]) @ np.linalg.inv(vectors)]


KINDS = ("bool", "integral", "real floating", "complex floating")


@pytest.mark.parametrize("name", sorted(CALLS))
@few
@given(data=st.data())
def test_function(name, data):
    args, kwargs = data.draw(CALLS[name])
    with np.errstate(all="ignore"):
        a, k = replaced((args, kwargs), strict.asarray, strict)
        expected = theirs(name)(*a, **k)
    if args == () and name in ("meshgrid", "broadcast_arrays"):
        return
    compare = check_factors if name in FACTORS else check
    with config.override(default_dtype_bits=64):
        a, k = replaced((args, kwargs), fnp.asarray, fnp)
        compare(name, ours(name)(*a, **k), expected)
        if not (depends_on_values(name, args) or is_static(expected)):
            compare(name, under_jit(ours(name), args, kwargs), expected)
    check(name, ours(name)(*a, **k), expected, exact=False)


def is_static(expected: Any) -> bool:
    """Whether the result is a dtype, a shape or a bool, which jit does not return."""
    return not isinstance(expected, type(strict.asarray(1))) and not (
        isinstance(expected, (tuple, list)) and any(not is_static(e) for e in expected)
    )


@few
@given(data=st.data())
def test_isin_invert(data):
    x, y = data.draw(CALLS["isin"])[0]
    expected = np.isin(x, y, invert=True)
    check_array("isin", fnp.isin(fnp.asarray(x), fnp.asarray(y), invert=True), expected, True)
    check_array("isin", under_jit(fnp.isin, (x, y), {"invert": True}), expected, True)

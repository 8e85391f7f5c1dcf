"""Integer arithmetic at the ends of each dtype: as in NumPy, and without its warnings."""

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.differential.strategies import INTS, edges

SIGNED = [name for name in INTS if name.startswith("int")]


def pairs(dtype):
    """All pairs of edge values."""
    values = edges(np.dtype(dtype))
    return [m.ravel() for m in np.meshgrid(values, values)]


def check(name, *args):
    function = getattr(fnp, name)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(*args)
    jitted = fst.jit(lambda *xs: function(*xs))  # anew, for a warning counts the retraces of one
    for got in (function(*args), jitted(*args)):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(np.asarray(got), expected)


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("name", ["add", "subtract", "multiply"])
def test_overflow_wraps(name, dtype):
    check(name, *pairs(dtype))


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_division_by_zero_gives_zero(name, dtype):
    x, y = pairs(dtype)
    assert (y == 0).any()
    check(name, x, y)
    zeros = np.zeros(3, dtype)
    assert np.asarray(getattr(fnp, name)(np.arange(3).astype(dtype), zeros)).tolist() == [0, 0, 0]
    assert np.asarray(fnp.arange(3, dtype=dtype) // 0).tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", INTS)
def test_true_division_by_zero_is_infinite_or_nan(dtype):
    got = fnp.divide(np.array([1, 0, 7]).astype(dtype), np.zeros(3, dtype))
    np.testing.assert_array_equal(np.asarray(got), np.float32([np.inf, np.nan, np.inf]))


@pytest.mark.parametrize("dtype", SIGNED)
def test_the_least_integer(dtype):
    least = np.array([np.iinfo(dtype).min], dtype)
    for name in ("negative", "abs", "square", "sign", "invert"):
        check(name, least)
    assert fnp.negative(least).item() == least[0]
    assert fnp.abs(least).item() == least[0]
    # The one quotient that overflows.
    assert fnp.floor_divide(least, np.array([-1], dtype)).item() == least[0]
    assert fnp.remainder(least, np.array([-1], dtype)).item() == 0


@pytest.mark.parametrize("dtype", INTS)
def test_negative_of_unsigned_and_other_unary_functions(dtype):
    x = edges(np.dtype(dtype))
    for name in ("negative", "abs", "square", "sign", "invert", "bitwise_count"):
        check(name, x)


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("name", ["left_shift", "right_shift"])
def test_shifts_by_the_width_and_beyond(name, dtype):
    bits = np.iinfo(dtype).bits
    x = edges(np.dtype(dtype))
    for by in (0, 1, bits - 1, bits, bits + 1, 100):
        check(name, x, np.full(x.shape, by, dtype))


@pytest.mark.parametrize("dtype", SIGNED)
@pytest.mark.parametrize("name", ["left_shift", "right_shift"])
def test_shifts_by_negative_numbers(name, dtype):
    # As by the width: NumPy leaves it to the processor, but has the same.
    x = edges(np.dtype(dtype))
    check(name, x, np.full(x.shape, -1, dtype))


@pytest.mark.parametrize("dtype", INTS)
def test_powers_wrap(dtype):
    x = edges(np.dtype(dtype))
    for n in (0, 1, 2, 3, 7, 63):
        check("power", x, np.full(x.shape, n, dtype))
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(np.asarray(fnp.asarray(x) ** n), x ** x.dtype.type(n))


@pytest.mark.parametrize("dtype", INTS)
def test_negative_powers_raise(dtype):
    x = fnp.ones(3, dtype)
    for power in (lambda x: x**-1, lambda x: fnp.power(x, -2)):
        for f in (power, fst.jit(power)):
            with pytest.raises(errors.OptionError, match="at least 0"):
                f(x)


@pytest.mark.parametrize("dtype", SIGNED)
def test_arrays_of_negative_exponents_round_to_zero(dtype):
    # NumPy raises; ours may be traced, where the exponents are not known.
    x = np.array([0, 1, -1, 2, 3, -5], dtype)
    for n in (-1, -2, -3):
        got = fnp.power(x, np.full(x.shape, n, dtype))
        assert np.asarray(got).tolist() == [0, 1, (-1) ** -n, 0, 0, 0]


@pytest.mark.parametrize("dtype", INTS)
@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod"])
def test_reductions_wrap(name, dtype):
    x = edges(np.dtype(dtype))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    got = getattr(fnp, name)(x)
    # In at least the default integer; modulo 2^32 that is what NumPy has in 64 bits.
    np.testing.assert_array_equal(np.asarray(got), expected.astype(got.dtype))


@pytest.mark.parametrize("dtype", INTS)
def test_means_do_not_overflow(dtype):
    x = np.full(4, np.iinfo(dtype).max, dtype)
    np.testing.assert_allclose(np.asarray(fnp.mean(x)), float(np.iinfo(dtype).max), rtol=1e-6)


@pytest.mark.parametrize("dtype", SIGNED)
def test_gcd_and_lcm_at_the_ends(dtype):
    x, y = pairs(dtype)
    check("gcd", x, y)
    check("lcm", x, y)


@pytest.mark.parametrize("dtype", INTS)
def test_extrema_and_order(dtype):
    x, y = pairs(dtype)
    for name in ("maximum", "minimum", "less", "greater_equal", "equal"):
        check(name, x, y)
    check("sort", x)
    check("max", x)
    assert fnp.argmax(x).item() == np.argmax(x)

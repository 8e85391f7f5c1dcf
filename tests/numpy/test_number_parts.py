import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import errors
from tests.numpy.compare import check, values

KINDS = ["float16", "float32", "float64"]
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.75, -7.0, np.inf, -np.inf, np.nan]


def extremes(dtype):
    info = np.finfo(dtype)
    ends = [info.max, info.tiny, info.smallest_subnormal, 5 * float(info.smallest_subnormal)]
    return np.array([*EDGES, *ends, -info.tiny * 0.75], dtype)


def same(got, expected):
    """Equal to the bit, but for NaN's payload."""
    for g, e in zip(got, expected, strict=True):
        g = np.asarray(g)
        assert g.dtype == e.dtype
        np.testing.assert_array_equal(g, e)
        if g.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(g), np.signbit(e))


@pytest.mark.parametrize("dtype", KINDS)
def test_floats_against_numpy(dtype):
    x = extremes(dtype)
    same(fnp.modf(x), np.modf(x))
    same(fnp.frexp(x), np.frexp(x))
    same(fst.jit(fnp.frexp)(x), np.frexp(x))


@pytest.mark.parametrize("dtype", KINDS)
def test_powers_of_two(dtype):
    rng = np.random.default_rng(0)
    # Mantissas with all digits, so that results below the normal numbers are rounded.
    x = np.concatenate([extremes(dtype), rng.uniform(0.5, 2, 40).astype(dtype)])
    digits = 1100 if dtype == "float64" else 160
    exponents = np.concatenate([np.arange(-digits, digits, 7), [-5000, 5000, 0]]).astype("int32")
    x, exponents = x[:, None], exponents[None]
    with np.errstate(all="ignore"):
        expected = np.ldexp(x, exponents)
    same([fnp.ldexp(x, exponents)], [expected])
    top = np.ldexp(np.finfo(dtype).max, -2 * digits)
    assert float(fnp.ldexp(np.array(top, dtype), np.int8(3))) == float(np.ldexp(top, 3))


def test_bfloat16():
    x = np.array([0.75, 3.0, 1e-39, -1e38], "float32").astype(fnp.bfloat16)
    mantissa, exponent = fnp.frexp(x)
    assert mantissa.dtype == x.dtype
    np.testing.assert_array_equal(np.asarray(fnp.ldexp(mantissa, exponent)), x)
    np.testing.assert_array_equal(exponent, np.frexp(x.astype("float32"))[1])


def test_integers_become_floats():
    check(fnp.modf(np.array([3, -2])), [np.zeros(2), np.array([3.0, -2])], "float32")
    check(fnp.ldexp(3, 2), 12.0, "float32")
    assert fnp.frexp(8)[0].dtype == "float32"


def test_slopes():
    x = np.array([0.75, -2.0, 5.0])
    check(fst.grad(lambda v: fnp.modf(v)[0].sum())(x), np.ones(3))
    check(fst.grad(lambda v: fnp.modf(v)[1].sum())(x), np.zeros(3))
    check(fst.grad(lambda v: fnp.frexp(v)[0].sum())(x), np.array([1, 0.25, 0.125]))
    check(fst.grad(lambda v: fnp.ldexp(v, np.array([1, -1, 0])).sum())(x), np.array([2, 0.5, 1]))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_divisors(dtype):
    info = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    special = [0, 1, info.max, info.min, info.max - 1, 6, 4, 12, 34, 55, 89]
    x = np.concatenate([np.array(special, dtype), rng.integers(info.min, info.max, 30, dtype)])
    x, y = x[:, None], x[None]
    check(fnp.gcd(x, y), np.gcd(x, y), dtype)
    check(fst.jit(fnp.gcd)(x, y), np.gcd(x, y), dtype)
    check(fnp.lcm(x, y), np.lcm(x, y), dtype)


def test_neighbours_in_the_sequence_of_fibonacci():
    a, b = 1, 1
    while b < 2**63:
        if a < 2**31:
            assert int(fnp.gcd(np.int64(a), np.int64(b))) == 1
        last = (a, b)
        a, b = b, a + b
    assert int(fnp.gcd(*np.array(last))) == 1
    assert int(fnp.gcd(*np.array(last)[::-1])) == 1


@pytest.mark.parametrize("bitorder", ["big", "little"])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_bits(axis, bitorder):
    for shape in [(3, 20), (8, 8), (2, 0), (0, 5)]:
        for dtype in ("bool", "int32"):
            x = values(shape, dtype, -1, 1)
            check(fnp.packbits(x, axis, bitorder), np.packbits(x, axis, bitorder), "uint8")
        packed = values(shape, "uint8", 0, 255)
        for count in (None, 0, 3, 50, -5):
            if count and packed.size == 0:
                continue  # NumPy's result is memory that was never written
            got = fnp.unpackbits(packed, axis, count, bitorder)
            check(got, np.unpackbits(packed, axis, count, bitorder), "uint8")
    empty = fnp.unpackbits(np.zeros((2, 0), np.uint8), 1, 3)
    check(empty, np.zeros((2, 3)), "uint8")
    check(fnp.packbits(True), np.packbits(True), "uint8")


def test_mistakes():
    for function in (fnp.modf, fnp.frexp, lambda x: fnp.ldexp(x, 1)):
        with pytest.raises(errors.DtypeError, match=r"takes real numbers, got complex64\[\]"):
            function(np.complex64(1))
    with pytest.raises(errors.DtypeError, match="exponents must be integers"):
        fnp.ldexp(1.0, 2.0)
    with pytest.raises(errors.DtypeError, match="gcd: takes integers"):
        fnp.gcd(1.0, 2)
    with pytest.raises(errors.DtypeError, match="lcm: takes integers"):
        fnp.lcm(True, False)
    with pytest.raises(errors.DtypeError, match="packbits: takes bools or integers"):
        fnp.packbits(1.0)
    with pytest.raises(errors.DtypeError, match="unpackbits: takes uint8"):
        fnp.unpackbits(1)
    with pytest.raises(errors.OptionError, match="bitorder must be"):
        fnp.unpackbits(np.uint8([1]), bitorder="middle")
    with pytest.raises(errors.ArgumentError, match="out must be None"):
        fnp.modf(1.0, np.ones(()))

import itertools
import math
import zlib

import mpmath as mp
import numpy as np
import pytest
from scipy import special

from fstensor.compiler.elementary import EXPANSIONS
from fstensor.core.scalar import ELEMENTARY, FLOAT64, ArrayOps

DTYPES = ["float32", "float64"]
INF, NAN = math.inf, math.nan

# The largest errors, in units in the last place of the exact result, for float32 and float64: those
# of every 331st float32, and of a million float64, rounded up.
BOUNDS = {
    "acos": (1.2, 1.2), "acosh": (2.2, 2.5), "asin": (2.1, 2.1), "asinh": (2, 1.8),
    "atan": (1.2, 1.2), "atan2": (1.3, 1.4), "atanh": (2.1, 2), "cbrt": (0.9, 0.9),
    "cos": (2.2, 2.4), "cosh": (2, 1.5), "erf": (1.8, 1.8), "erfc": (3.7, 3.5),
    "exp": (1.5, 1.5), "exp2": (1.3, 2), "expm1": (1.6, 2.2), "log": (0.9, 0.9),
    "log1p": (1.7, 1.4), "log2": (2.1, 1.7), "logistic": (2.6, 2.6), "pow": (0.51, 1.5),
    "rsqrt": (1.5, 1.5), "sin": (2.2, 2.5), "sinh": (1.6, 1.7), "tan": (3.2, 3.5),
    "tanh": (2.4, 2.5),
}  # fmt: skip
# Where the machine cannot multiply and add with one rounding.
MORE_WITH_TWO_ROUNDINGS = 0.6

EXACT = {
    "acos": mp.acos, "acosh": mp.acosh, "asin": mp.asin, "asinh": mp.asinh, "atan": mp.atan,
    "atan2": mp.atan2, "atanh": mp.atanh, "cos": mp.cos, "cosh": mp.cosh, "erf": mp.erf,
    "erfc": mp.erfc, "exp": mp.exp, "expm1": mp.expm1, "log": mp.log, "log1p": mp.log1p,
    "pow": mp.power, "sin": mp.sin, "sinh": mp.sinh, "tan": mp.tan, "tanh": mp.tanh,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "exp2": lambda x: mp.power(2, x),
    "log2": lambda x: mp.log(x) / mp.log(2),
    "logistic": lambda x: 1 / (1 + mp.exp(-x)),
    "rsqrt": lambda x: 1 / mp.sqrt(x),
}  # fmt: skip

# Where results are neither overflows nor constants: for float32, then for float64.
INTERESTING = {
    "acos": [(-1, 1)] * 2,
    "acosh": [(1, 10)] * 2,
    "asin": [(-1, 1)] * 2,
    "atanh": [(-1, 1)] * 2,
    "cosh": [(-90, 90), (-711, 711)],
    "erf": [(-4.5, 4.5), (-6.5, 6.5)],
    "erfc": [(-5, 10.2), (-7, 27.3)],
    "exp": [(-104, 89), (-746, 710)],
    "exp2": [(-150, 128), (-1075, 1024)],
    "expm1": [(-25, 89), (-45, 710)],
    "log": [(0, 5)] * 2,
    "log1p": [(-1, 5)] * 2,
    "log2": [(0, 5)] * 2,
    "logistic": [(-104, 20), (-746, 40)],
    "rsqrt": [(0, 5)] * 2,
    "sinh": [(-90, 90), (-711, 711)],
    "tanh": [(-10, 10), (-20, 20)],
}


def evaluate(name, *args):
    with np.errstate(all="ignore"):
        result = ArrayOps(EXPANSIONS).elementary(name, *args)
    assert result.dtype == args[0].dtype
    return result


def errors(name, args, results):
    """The distances of results from the exact ones, in units in the last place."""
    info = np.finfo(results.dtype)
    digits, least = info.nmant + 1, int(info.minexp) - info.nmant
    overflow = mp.ldexp(1, int(info.maxexp))
    found = []
    with mp.workprec(160):
        for *numbers, result in zip(*args, results, strict=True):
            exact = EXACT[name](*(mp.mpf(float(x)) for x in numbers))
            if isinstance(exact, mp.mpc) or mp.isnan(exact) or mp.isinf(exact) or exact == 0:
                expected = NAN if isinstance(exact, mp.mpc) else float(exact)
                np.testing.assert_equal(float(result), expected, err_msg=str((name, numbers)))
                continue
            assert not np.isnan(result), (name, numbers)
            place = mp.ldexp(1, max(mp.frexp(abs(exact))[1] - digits, least))
            exact = max(-overflow, min(overflow, exact))
            got = mp.mpf(float(result))
            got = mp.sign(got) * overflow if mp.isinf(got) else got
            found.append(float(abs(got - exact) / place))
    return np.array(found)


def any_bits(rng, dtype, count):
    """Floats of all sizes."""
    bits = rng.integers(0, 256, (count, np.dtype(dtype).itemsize), dtype=np.uint8)
    x = bits.view(dtype)[:, 0]
    return x[np.isfinite(x)]


def samples(name, dtype, count):
    rng = np.random.default_rng(zlib.crc32((name + dtype).encode()))
    small = 10.0 ** rng.uniform(-7 if dtype == "float32" else -15, 0, count)
    if ELEMENTARY[name] == 2:
        return (_bases_and_exponents if name == "pow" else _points)(rng, dtype, count)
    low, high = INTERESTING.get(name, [(-30, 30)] * 2)[dtype == "float64"]
    spread = np.concatenate(
        [
            rng.uniform(low, high, 3 * count),
            small,
            -small,
            1 - small,
            1 + small,
            small - 1,
            8 * small,
        ]
    ).astype(dtype)
    tiny = np.finfo(dtype).tiny * rng.uniform(0, 1.5, count // 4).astype(dtype)
    x = np.concatenate([any_bits(rng, dtype, 2 * count), spread, tiny, -tiny])
    if name in ("sin", "cos", "tan"):
        turns = np.round(10.0 ** rng.uniform(0, 7, count))
        x = np.concatenate([x, (turns * (np.pi / 2)).astype(dtype), 13000 * spread])
    if name in ("log", "log2", "log1p", "rsqrt", "acosh", "acos", "asin", "atanh"):
        x = x[(x >= low) & ((x <= high) | (high > 2))]
    elif name in INTERESTING:  # beyond, exact results take mpmath long
        x = x[(x >= 2 * low) & (x <= 2 * high)]
    return (x,)


def _bases_and_exponents(rng, dtype, count):
    limit = np.finfo(dtype).maxexp
    x = abs(any_bits(rng, dtype, count))
    x = np.concatenate([x[x > 0], rng.uniform(0.6, 1.5, count), 1 + 1e-4 * rng.normal(size=count)])
    x = x.astype(dtype)
    y = rng.uniform(-1.1, 1.1, len(x)) * limit / abs(np.log2(x.astype(np.float64)))
    whole = rng.integers(-9, 9, count)
    return (
        np.concatenate([x, rng.uniform(0, 10, count), rng.uniform(-10, 0, count)]).astype(dtype),
        np.concatenate([y, rng.uniform(-8, 8, count), whole]).astype(dtype),
    )


def _points(rng, dtype, count):
    sizes = 10.0 ** rng.uniform(-4, 4, (2, count)) * rng.choice([-1, 1], (2, count))
    y, x = any_bits(rng, dtype, count), any_bits(rng, dtype, count)
    common = min(len(x), len(y))
    return (
        np.concatenate([y[:common], sizes[0].astype(dtype)]),
        np.concatenate([x[:common], sizes[1].astype(dtype)]),
    )


@pytest.fixture(params=[False, True], ids=["fused", "rounded_twice"])
def more(request, monkeypatch):
    """What bounds are raised by, with and without fused multiplications and additions."""
    if request.param:
        monkeypatch.setattr(ArrayOps, "fma", lambda self, x, y, z: x * y + z)
    return MORE_WITH_TWO_ROUNDINGS if request.param else 0


def test_table_is_complete():
    names = {(name, np.dtype(dtype)) for name in ELEMENTARY for dtype in DTYPES}
    assert set(EXPANSIONS) == names
    assert set(BOUNDS) == set(EXACT) == set(ELEMENTARY)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(ELEMENTARY))
def test_accuracy(name, dtype, more):
    args = samples(name, dtype, 150)
    found = errors(name, args, evaluate(name, *args))
    assert len(found) > 100
    assert found.max() <= BOUNDS[name][dtype == "float64"] + more


@pytest.mark.parametrize(
    ("name", "reference"),
    [("exp", np.exp), ("expm1", np.expm1), ("log", np.log), ("log1p", np.log1p),
     ("sin", np.sin), ("cos", np.cos), ("tan", np.tan), ("tanh", np.tanh), ("sinh", np.sinh),
     ("cosh", np.cosh), ("cbrt", np.cbrt), ("atan", np.arctan), ("asin", np.arcsin),
     ("acos", np.arccos), ("asinh", np.arcsinh), ("acosh", np.arccosh), ("atanh", np.arctanh),
     ("erf", special.erf), ("erfc", special.erfc), ("logistic", special.expit)],
)  # fmt: skip
def test_float32_of_all_sizes(name, reference):
    """One float32 of 40000, also NaN and beyond the domain, against float64."""
    x = np.arange(0, 1 << 32, 40009, np.int64).astype(np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        exact = reference(x.astype(np.float64))
        rounded = exact.astype(np.float32)
    results = evaluate(name, x)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(results[~finite], rounded[~finite])
    exact = exact[finite]
    place = np.ldexp(1.0, np.maximum(np.frexp(exact)[1] - 24, -149))
    assert (abs(results[finite] - exact) / place).max() <= BOUNDS[name][0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_next_to_multiples_of_half_pi(name, dtype, more):
    rng = np.random.default_rng(5)
    largest = int(np.finfo(dtype).maxexp)
    found = [6381956970095103 * 2.0**797] if dtype == "float64" else []  # the closest of all
    with mp.workprec(1300):
        for exponent in rng.integers(0, largest - 1, 150):
            k = int(mp.floor(mp.ldexp(1 + mp.mpf(rng.random()), int(exponent)) / (mp.pi / 2)))
            found.append(float(np.dtype(dtype).type(float(k * mp.pi / 2))))
    x = np.array(found, dtype)
    assert errors(name, (x,), evaluate(name, x)).max() <= BOUNDS[name][1] + more


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sin", "cos", "tanh", "erf"])
def test_stays_within_one(name, dtype, more):
    extremes = np.pi / 2 * np.arange(4000)
    x = np.concatenate([extremes, np.linspace(0, 10, 4000)]).astype(dtype)
    assert abs(evaluate(name, x)).max() == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "exp2", "log2"])
def test_powers_of_two_are_exact(name, dtype):
    k = np.arange(int(np.finfo(dtype).minexp) - np.finfo(dtype).nmant, np.finfo(dtype).maxexp)
    powers = np.ldexp(np.ones_like(k, dtype), k)
    if name == "log2":
        np.testing.assert_array_equal(evaluate("log2", powers), k)
    elif name == "exp2":
        np.testing.assert_array_equal(evaluate("exp2", k.astype(dtype)), powers)
    else:
        assert evaluate("exp", np.zeros(1, dtype)) == 1


# The values at zero, infinity and beyond the domain, as in Annex F of C99.
SPECIAL = {
    "acos": [(1, 0.0), (2, NAN), (-2, NAN), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "acosh": [(1, 0.0), (0.5, NAN), (-5, NAN), (-INF, NAN), (INF, INF), (NAN, NAN)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (2, NAN), (-2, NAN), (INF, NAN), (NAN, NAN)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (NAN, NAN)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (INF, np.pi / 2), (-INF, -np.pi / 2), (NAN, NAN)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1, INF), (-1, -INF), (2, NAN), (-INF, NAN), (NAN, NAN)],
    "cbrt": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (NAN, NAN), (27, 3), (-8, -2)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "cosh": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, INF), (NAN, NAN), (1000, INF)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN)],
    "erfc": [(0.0, 1), (-0.0, 1), (INF, 0.0), (-INF, 2), (NAN, NAN), (100, 0.0), (-100, 2)],
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (NAN, NAN), (1e4, INF), (-1e4, 0.0)],
    "exp2": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (NAN, NAN), (1e4, INF), (-1e4, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1), (NAN, NAN), (1e4, INF)],
    "log": [(1, 0.0), (0.0, -INF), (-0.0, -INF), (-1, NAN), (-INF, NAN), (INF, INF), (NAN, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1, -INF), (-2, NAN), (-INF, NAN), (INF, INF), (NAN, NAN)],
    "log2": [(1, 0.0), (0.0, -INF), (-0.0, -INF), (-1, NAN), (-INF, NAN), (INF, INF), (NAN, NAN)],
    "logistic": [(0.0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0.0), (NAN, NAN), (-1e4, 0.0)],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (4, 0.5), (INF, 0.0), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (NAN, NAN), (-1000, -INF)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (50, 1), (-50, -1)],
}


def test_special_values_are_listed():
    assert set(SPECIAL) == {name for name, arity in ELEMENTARY.items() if arity == 1}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(SPECIAL))
def test_special_values(name, dtype, more):
    x, expected = np.array(SPECIAL[name], dtype).T
    np.testing.assert_array_equal(evaluate(name, x), expected)
    got = evaluate(name, x)[expected == 0]
    np.testing.assert_array_equal(np.signbit(got), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "reference"), [("pow", np.power), ("atan2", np.arctan2)], ids=["pow", "atan2"]
)
def test_special_pairs(name, reference, dtype, more):
    """All pairs of edge values against the platform's functions, which follow C99."""
    info = np.finfo(dtype)
    sizes = [0.0, info.smallest_subnormal, info.tiny, 0.5, 1, 1.5, 2, 3, 4, 2.0**30 + 1, 1e30]
    sizes += [info.max, INF]
    edges = np.array([sign * size for size in sizes for sign in (1, -1)] + [NAN], dtype)
    x, y = np.array(list(itertools.product(edges, edges)), dtype).T
    with np.errstate(all="ignore"):
        expected = reference(x, y)
    got = evaluate(name, x, y)
    np.testing.assert_allclose(got, expected, rtol=4 * info.eps, atol=2 * info.smallest_subnormal)
    kept = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[kept]), np.signbit(expected[kept]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "sign"),
    [("asin", 1), ("asinh", 1), ("atan", 1), ("atanh", 1), ("expm1", 1), ("log1p", 1), ("sin", 1),
     ("sinh", 1), ("tan", 1), ("tanh", 1), ("log1p", -1), ("expm1", -1), ("tanh", -1)],
)  # fmt: skip
def test_subnormal_numbers_are_fixed_points(name, sign, dtype, more):
    x = sign * np.finfo(dtype).smallest_subnormal * np.array([1, 2, 3, 1000001], dtype)
    np.testing.assert_array_equal(evaluate(name, x), x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_results(dtype, more):
    """Results that become subnormal are rounded once."""
    info = np.finfo(dtype)
    x = np.log(float(info.tiny)) - np.linspace(0.1, 0.65, 60) * info.nmant
    for name in ("exp", "logistic"):
        args = (x.astype(dtype),)
        results = evaluate(name, *args)
        assert ((results > 0) & (results < info.tiny)).all()
        assert errors(name, args, results).max() <= BOUNDS[name][0] + more
    y = np.sqrt(-x).astype(dtype)
    results = evaluate("erfc", y)
    assert (results < info.tiny).all()
    assert errors("erfc", (y,), results).max() <= BOUNDS["erfc"][0] + more


@pytest.mark.parametrize("name", sorted(set(ELEMENTARY) - {"pow"}))
def test_float32_stays_in_float32(name, monkeypatch):
    """Float64 would halve the speed; only what happens rarely may use it."""

    def convert(self, x, dtype):
        assert dtype != FLOAT64
        return x.astype(dtype)

    monkeypatch.setattr(ArrayOps, "rarely", lambda self, condition, usual, otherwise: usual)
    monkeypatch.setattr(ArrayOps, "convert", convert)
    x = np.float32([1.25, 1.5])
    assert evaluate(name, *[x] * ELEMENTARY[name]).dtype == np.float32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(ELEMENTARY))
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (3, 4)])
def test_shapes(name, dtype, shape):
    x = np.full(shape, 0.75, dtype)
    assert np.shape(evaluate(name, *[x] * ELEMENTARY[name])) == shape

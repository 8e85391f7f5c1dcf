"""Rules `lower` against `impl`: what kernels compute is what the interpreter computes."""

import itertools

import numpy as np
import pytest

from fstensor import dtypes
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import registry
from fstensor.core.scalar import BFLOAT16, BOOL, COMPUTED, FLOAT16, STORED, ArrayOps
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.ops.convert import ConvertElementType
from fstensor.ops.families import PerElement
from fstensor.ops.special import erf_inv
from tests.ops.cases import CASES
from tests.tolerances import assert_close

OPS = ArrayOps()
INTEGERS = [np.dtype(c) for c in "bBhHiIlL"]
HALVES = (FLOAT16, BFLOAT16)

LACKING = {
    "of complex numbers, which kernels do not hold": ["complex", "conj", "imag", "real"],
    "looks numbers up in a table, by their bits": ["gamma", "polygamma"],
    "sums as many terms as the data ask for": [
        "expn",
        "igamma",
        "igamma_grad_a",
        "igammac",
        "random_gamma_grad",
        "regularized_incomplete_beta",
        "zeta",
    ],
}
WITHOUT = {name for names in LACKING.values() for name in names}

# Operations that are exact, or rounded once, or that the reference has from NumPy, as `impl` has.
# The others evaluate approximations in other arithmetic.
ROUNDED_OTHERWISE = {
    *("bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "digamma", "erf", "erf_inv", "erfc"),
    *("erfcx", "expi", "lgamma", "log_ndtr", "logistic", "ndtr", "ndtri", "rsqrt", "spence"),
}

PER_ELEMENT = [c for c in CASES if isinstance(c.primitive, PerElement)]
# One case of each primitive with its parameters and each number of operands.
INSTANCES = list(
    {
        (c.primitive, len(c.operands)): c for c in PER_ELEMENT if c.primitive.name not in WITHOUT
    }.values()
)


def lowered(primitive, args):
    """The result of the rule, spread to its shape; 16-bit floats pass through float32."""
    out = primitive.abstract(*[ShapedArray(a.shape, a.dtype) for a in args])
    if primitive.reads_bits and any(a.dtype in HALVES for a in args):
        return NotImplemented
    args = [a.astype(np.float32) if a.dtype in HALVES else a for a in args]
    with np.errstate(all="ignore"):
        got = primitive.lower(OPS, *args)
        if got is NotImplemented:
            return got
        got = np.asarray(got)
        if out.dtype in HALVES:
            assert got.dtype == np.float32
            got = got.astype(out.dtype)
    return np.broadcast_to(got, out.shape)


def computed(primitive, args):
    with np.errstate(all="ignore"):
        return np.asarray(primitive.impl(np, *args))


def assert_same(got, expected):
    """Equal to the last bit, with the sign of zeros; a NaN is a NaN."""
    assert got.dtype == expected.dtype
    if dtypes.is_float(got.dtype):
        with np.errstate(invalid="ignore"):  # of signaling NaN
            got, expected = got.astype(np.float64), expected.astype(np.float64)
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(expected)[numbers])
    np.testing.assert_array_equal(got, expected)


def assert_agrees(primitive, args, factor=1.0):
    got, expected = lowered(primitive, args), computed(primitive, args)
    in_halves = any(a.dtype in HALVES for a in args)
    if in_halves or primitive.name in ROUNDED_OTHERWISE:
        assert_close(got, expected, factor=factor)
    else:
        assert_same(got, expected)


def accepts(primitive, avals):
    try:
        primitive.abstract(*avals)
    except (DtypeError, OptionError, ShapeError):
        return False
    return True


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(c, d, id=f"{c.name}-{d}")
        for c in PER_ELEMENT
        for d in c.dtypes
        if lowered(c.primitive, c.arguments(d)) is not NotImplemented
    ],
)
def test_cases(case, dtype):
    assert_agrees(case.primitive, case.arguments(dtype), case.factor)


def test_what_has_no_rule():
    """Whoever adds a primitive writes its rule, or the reason why not."""
    names = {c.primitive.name for c in PER_ELEMENT}
    assert names == {name for name, cls in registry.items() if issubclass(cls, PerElement)}
    having = {
        c.primitive.name
        for c in PER_ELEMENT
        for d in c.dtypes
        if lowered(c.primitive, c.arguments(d)) is not NotImplemented
    }
    assert names - having == WITHOUT


@pytest.mark.parametrize("case", INSTANCES, ids=lambda c: repr(c.primitive))
def test_dtypes_of_case_that_have_no_rule(case):
    """A rule may be lacking for complex numbers and results, and where widths of bits change."""
    for dtype in case.dtypes:
        args = case.arguments(dtype)
        if lowered(case.primitive, args) is NotImplemented:
            out = case.primitive.abstract(*[ShapedArray(a.shape, a.dtype) for a in args])
            stored = all(d in STORED for d in (out.dtype, *[a.dtype for a in args]))
            assert not stored or case.primitive.reads_bits


def integers_of(rng, dtype):
    """Numbers of all sizes, with the ends, zero and the numbers beside them."""
    info = np.iinfo(dtype)
    some = rng.integers(info.min, info.max, 40, dtype, endpoint=True)
    small = some >> rng.integers(0, info.bits, 40).astype(dtype)
    ends = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, info.bits - 1, info.bits]
    signed = [-1, -2, -info.bits] if info.min < 0 else []
    return np.concatenate([some, small, np.array(ends + signed, dtype)])


def grid(values, count):
    """Every combination of values, `count` at a time."""
    return [a.ravel() for a in np.meshgrid(*[values] * count, indexing="ij")]


def combinations(rng, values, count):
    if count <= 2:
        return grid(values, count)
    return [rng.permutation(np.tile(values, 20)) for _ in range(count)]


def instances(candidates):
    """Every primitive with every one of the dtypes that its rule takes."""
    found = []
    for case, dtype in itertools.product(INSTANCES, map(np.dtype, candidates)):
        args = [np.ones(3, dtype) for _ in case.operands]
        accepted = accepts(case.primitive, [ShapedArray(a.shape, a.dtype) for a in args])
        if accepted and lowered(case.primitive, args) is not NotImplemented:
            found.append(
                pytest.param(case, dtype, id=f"{case.primitive}-{len(case.operands)}-{dtype}")
            )
    return found


@pytest.mark.parametrize(("case", "dtype"), instances([*INTEGERS, BOOL]))
def test_integers(case, dtype):
    rng = np.random.default_rng(0)
    values = np.array([False, True]) if dtype == BOOL else integers_of(rng, dtype)
    args = combinations(rng, values, len(case.operands))
    assert_agrees(case.primitive, args)


def floats_of(rng, dtype):
    """Special values, ends of the range, halves between integers, and numbers of many sizes."""
    info = np.finfo(dtype)
    exact = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.0, 1e3, np.inf, np.pi]
    sizes = [info.max, info.tiny, info.smallest_subnormal, info.eps, 1 - info.epsneg, 1 / info.eps]
    some = rng.standard_normal(20) * 10.0 ** rng.integers(-6, 7, 20)
    positive = np.array([*exact, *sizes, 2**31, 2**63, *np.abs(some)]).astype(dtype)
    return np.concatenate([positive, -positive, np.array([np.nan], dtype)])


@pytest.mark.parametrize(("case", "dtype"), instances(["float32", "float64"]))
def test_floats(case, dtype):
    rng = np.random.default_rng(0)
    args = combinations(rng, floats_of(rng, dtype), len(case.operands))
    got, expected = lowered(case.primitive, args), computed(case.primitive, args)
    if case.primitive.name not in ROUNDED_OTHERWISE:
        assert_same(got, expected)
        return
    # Each element by its own size, which differ here.
    tiny = np.finfo(dtype).tiny
    rtol = 1e-6 if dtype == np.float32 else 2e-14
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=4 * tiny)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(a, b, id=f"{a}-{b}")
        for a, b in itertools.product(sorted(STORED, key=str), repeat=2)
    ],
)
def test_conversions(old, new):
    rng = np.random.default_rng(0)
    if old == BOOL:
        x = np.array([False, True])
    elif old.kind in "iu":
        x = integers_of(rng, old)
    else:
        wide = old if old in COMPUTED else np.dtype(np.float32)
        borders = [np.iinfo(d).max for d in INTEGERS] + [np.iinfo(d).min for d in INTEGERS]
        with np.errstate(over="ignore"):
            x = np.array([*floats_of(rng, wide), *borders, *np.add(borders, 0.5)]).astype(old)
    assert_agrees(ConvertElementType(new, False), [x])


def test_conversion_to_half_rounds_once():
    """Numbers next to the middle between two of float16: float32 rounds them onto it."""
    rng = np.random.default_rng(0)
    middle = (1 + (rng.integers(0, 1024, 1000) + 0.5) / 1024) * 2.0 ** rng.integers(-24, 16, 1000)
    x = (middle[:, None] * (1 + np.array([0, 1e-15, -1e-15, 1e-10, -1e-10]))).ravel()
    convert = ConvertElementType(FLOAT16, False)
    twice = x.astype(np.float32).astype(np.float16)
    assert (twice != x.astype(np.float16)).any()
    assert_same(lowered(convert, [x]), computed(convert, [x]))
    assert_same(lowered(convert, [-x]), computed(convert, [-x]))


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "int4"])
@pytest.mark.parametrize("case", INSTANCES, ids=lambda c: repr(c.primitive))
def test_other_dtypes_have_no_rule(case, dtype):
    args = [np.zeros(2, dtypes.canonical(dtype)) for _ in case.operands]
    assert case.primitive.lower(OPS, *args) is NotImplemented


def test_erf_inv_in_the_tails():
    """The approximation in float32 holds up to the last number before 1."""
    x = (1 - 2.0 ** -np.linspace(0.1, 24, 500)).astype(np.float32)
    x = np.concatenate([x, -x, np.float32([1e-30, 1e-8, 0.0])])
    expected = np.asarray(erf_inv(x.astype(np.float64)))
    got = lowered(registry["erf_inv"](), [x])
    np.testing.assert_allclose(got, expected, rtol=4e-7)

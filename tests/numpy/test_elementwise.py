import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import dtypes, errors
from tests.numpy.compare import (
    ALL,
    COMPLEX,
    FLOATS,
    INTS,
    NUMBERS,
    REALS,
    broadcastable,
    check,
    few,
    quietly,
    values,
)

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-30, 20.0, np.inf, -np.inf, np.nan]

# name: (low, high) of real arguments within the domain
INEXACT_UNARY = {
    "exp": (-3, 3),
    "exp2": (-3, 3),
    "expm1": (-3, 3),
    "log": (0.1, 9),
    "log2": (0.1, 9),
    "log10": (0.1, 9),
    "log1p": (-0.9, 9),
    "sqrt": (0, 9),
    "cbrt": (-9, 9),
    "reciprocal": (0.5, 3),
    "sin": (-9, 9),
    "cos": (-9, 9),
    "tan": (-1, 1),
    "arcsin": (-1, 1),
    "arccos": (-1, 1),
    "arctan": (-9, 9),
    "sinh": (-3, 3),
    "cosh": (-3, 3),
    "tanh": (-3, 3),
    "arcsinh": (-9, 9),
    "arccosh": (1, 9),
    "arctanh": (-0.9, 0.9),
    "deg2rad": (-360, 360),
    "rad2deg": (-6, 6),
    "sinc": (-3, 3),
    "fabs": (-3, 3),
    "rint": (-9, 9),
}
REAL_ONLY = {"cbrt", "deg2rad", "rad2deg", "fabs"}


@pytest.mark.parametrize("name", INEXACT_UNARY)
def test_functions_of_floats(name):
    low, high = INEXACT_UNARY[name]
    for dtype in FLOATS:
        x = values((3, 4), dtype, low, high)
        check(getattr(fnp, name)(x), getattr(np, name)(x), dtype, factor=20)
    if name != "reciprocal":  # of integers it is an integer in NumPy
        x = np.array([1], "int32")
        check(
            getattr(fnp, name)(x),
            quietly(getattr(np, name), x.astype("float32")),
            "float32",
            factor=20,
        )


# log1p of -1 from below and the like: NumPy's own edges, through our primitives.
@pytest.mark.parametrize("name", INEXACT_UNARY)
def test_functions_of_floats_at_edges(name):
    x = np.array(EDGES, "float64")
    check(getattr(fnp, name)(x), quietly(getattr(np, name), x), "float64", factor=100)


@pytest.mark.parametrize("name", sorted(set(INEXACT_UNARY) - REAL_ONLY - {"exp2", "rint"}))
def test_functions_of_complex_numbers(name):
    x = values((4,), "complex128", 0.1, 0.9)
    check(getattr(fnp, name)(x), getattr(np, name)(x), "complex128", factor=200)


ANY_UNARY = {
    "abs": NUMBERS,
    "negative": NUMBERS,
    "positive": NUMBERS,
    "sign": REALS,
    "square": NUMBERS,
    "floor": REALS,
    "ceil": REALS,
    "trunc": REALS,
    "conj": NUMBERS,
    "real": NUMBERS,
    "imag": NUMBERS,
    "isnan": NUMBERS,
    "isinf": NUMBERS,
    "isfinite": NUMBERS,
    "signbit": REALS,
    "logical_not": ALL,
    "invert": ("bool", *INTS),
    "bitwise_count": INTS,
    "isposinf": FLOATS,
    "isneginf": FLOATS,
    "isreal": NUMBERS,
    "iscomplex": NUMBERS,
    "round": NUMBERS,
    "nan_to_num": NUMBERS,
}


@pytest.mark.parametrize("name", ANY_UNARY)
def test_functions_of_any_dtype(name):
    for dtype in ANY_UNARY[name]:
        for shape in ((), (0, 2), (3, 4)):
            x = values(shape, dtype)
            expected = quietly(getattr(np, name), x)
            check(getattr(fnp, name)(x), expected, np.asarray(expected).dtype)


@pytest.mark.parametrize("name", ["abs", "sign", "floor", "trunc", "round", "isinf", "signbit"])
def test_functions_of_any_dtype_at_edges(name):
    x = np.array(EDGES, "float32")
    got, expected = getattr(fnp, name)(x), getattr(np, name)(x)
    np.testing.assert_array_equal(np.asarray(got), expected)
    if expected.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))


def test_signbit_of_float16_and_bfloat16():
    for dtype in (np.float16, dtypes.bfloat16):
        assert fnp.signbit(np.array([1, -1, -0.0]).astype(dtype)).tolist() == [False, True, True]


@pytest.mark.parametrize("decimals", [-2, -1, 1, 3])
def test_round_to_decimals(decimals):
    x = np.array([0.125, 12.5, -25.0, 1250.0, 149.9999])
    check(fnp.round(x, decimals), np.round(x, decimals), "float64")
    i = np.array([5, 15, 25, -149, 150], "int32")
    check(fnp.round(i, decimals), np.round(i, decimals), "int32")


BINARY = {
    "add": ALL,
    "subtract": NUMBERS,
    "multiply": ALL,
    "maximum": REALS,
    "minimum": REALS,
    "fmax": REALS,
    "fmin": REALS,
    "equal": ALL,
    "not_equal": ALL,
    "less": ALL,
    "less_equal": ALL,
    "greater": ALL,
    "greater_equal": ALL,
    "logical_and": ALL,
    "logical_or": ALL,
    "logical_xor": ALL,
    "bitwise_and": ("bool", *INTS),
    "bitwise_or": ("bool", *INTS),
    "bitwise_xor": ("bool", *INTS),
    "floor_divide": REALS,
    "remainder": REALS,
    "fmod": REALS,
    "divide": (*FLOATS, *COMPLEX),
    "arctan2": FLOATS,
    "hypot": FLOATS,
    "logaddexp": FLOATS,
    "logaddexp2": FLOATS,
    "copysign": FLOATS,
    "heaviside": FLOATS,
    "nextafter": FLOATS,
}


@pytest.mark.parametrize("name", BINARY)
@few
@hypothesis.given(shapes=broadcastable(), data=st.data())
def test_binary_functions_broadcast(name, shapes, data):
    dtype = data.draw(st.sampled_from(BINARY[name]))
    x, y = values(shapes[0], dtype, seed=1), values(shapes[1], dtype, seed=2)
    expected = np.asarray(quietly(getattr(np, name), x, y))
    check(getattr(fnp, name)(x, y), expected, expected.dtype, factor=20)


@pytest.mark.parametrize(
    "name",
    [
        "maximum",
        "fmin",
        "hypot",
        "logaddexp",
        "copysign",
        "divide",
        "arctan2",
        "less",
        "equal",
        "heaviside",
        "floor_divide",
    ],
)
def test_binary_functions_at_edges(name):
    x, y = (m.ravel() for m in np.meshgrid(EDGES, EDGES))
    check(getattr(fnp, name)(x, y), quietly(getattr(np, name), x, y), factor=20)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_extrema_of_complex_numbers(name):
    parts = [0, 1, np.nan]
    z = np.array([complex(a, b) for a in parts for b in parts])
    x, y = (m.ravel() for m in np.meshgrid(z, z))
    np.testing.assert_array_equal(np.asarray(getattr(fnp, name)(x, y)), getattr(np, name)(x, y))


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
@pytest.mark.parametrize("dtype", ["int32", "int8", "float64"])
def test_division_signs_and_zero(name, dtype):
    x, y = (m.ravel() for m in np.meshgrid([-7, -6, -1, 0, 5, 6], [-4, -3, 0, 2, 3]))
    x, y = x.astype(dtype), y.astype(dtype)
    check(getattr(fnp, name)(x, y), quietly(getattr(np, name), x, y), dtype)
    q, r = fnp.divmod(x, y)
    check([q, r], [quietly(np.floor_divide, x, y), quietly(np.remainder, x, y)], dtype)


def test_mod_of_infinity():
    x, y = np.array([-1.0, 1.0, 1.0, -1.0]), np.array([np.inf, np.inf, -np.inf, -np.inf])
    check(fnp.mod(x, y), quietly(np.mod, x, y))


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64"])
def test_shifts(dtype):
    x, y = np.array([1, 5, 250, 7], dtype), np.array([0, 3, 1, 2], dtype)
    for name in ("left_shift", "right_shift"):
        check(getattr(fnp, name)(x, y), getattr(np, name)(x, y), dtype)


def test_right_shift_keeps_the_sign():
    assert int(fnp.right_shift(np.int32(-9), np.int32(1))) == -5


class TestPower:
    def test_static_integer_exponent(self):
        x = values((3,), "float32")
        for n in (0, 1, 2, 3, -1, -2):
            check(fnp.power(x, n), np.power(x, np.float32(n)), "float32")

    def test_square_has_an_exact_slope_at_zero(self):
        assert float(fst.grad(lambda x: x**2)(0.0)) == 0.0
        assert float(fst.grad(lambda x: x**1)(0.0)) == 1.0

    def test_integer_bases_and_exponents(self):
        x, y = np.meshgrid(np.arange(-4, 5, dtype=np.int32), np.arange(6, dtype=np.int32))
        check(fnp.power(x, y), np.power(x, y), "int32")

    def test_integer_power_wraps(self):
        x, y = np.full(3, 3, np.int8), np.array([4, 5, 90], np.int8)
        check(fnp.power(x, y), quietly(np.power, x, y), "int8")

    def test_float_exponents(self):
        x, y = values((4,), "float64", 0.1, 3), values((4,), "float64")
        check(fnp.power(x, y), np.power(x, y), "float64")
        check(fnp.power(2, y), np.power(2.0, y), "float64")
        check(fnp.float_power(3, 2), 9.0, "float32")

    def test_array_of_integer_exponents(self):
        x, y = values((4,), "float32"), np.array([0, 1, 2, 3], "int32")
        check(fnp.power(x, y), np.power(x, y.astype("float32")), "float32")

    def test_negative_power_of_integers(self):
        with pytest.raises(errors.OptionError, match="at least 0"):
            fnp.power(np.arange(3), -1)


class TestClip:
    def test_against_numpy(self):
        x = values((3, 4), "float32")
        check(fnp.clip(x, -1, 1), np.clip(x, -1, 1), "float32")
        check(fnp.clip(x, None, 1), np.clip(x, None, 1), "float32")
        check(fnp.clip(x, np.float32(2), np.float32(-2)), np.clip(x, 2, -2), "float32")
        check(fnp.clip(x, max=0), np.clip(x, None, 0), "float32")

    def test_slope_at_a_bound_is_half(self):
        slopes = fst.vmap(fst.grad(lambda x: fnp.clip(x, -1.0, 1.0)))(
            fnp.array([-2.0, -1, 0, 1, 2])
        )
        assert slopes.tolist() == [0, 0.5, 1, 0.5, 0]

    def test_complex_numbers(self):
        with pytest.raises(errors.DtypeError, match="clip: takes real numbers"):
            fnp.clip(1j, 0, 1)


def test_nan_to_num_with_other_values():
    x = np.array([np.nan, np.inf, -np.inf, 1.0], "float32")
    check(fnp.nan_to_num(x), np.nan_to_num(x), "float32")
    check(fnp.nan_to_num(x, nan=7, posinf=8, neginf=9), np.array([7, 8, 9, 1]), "float32")
    z = np.array([complex(np.nan, np.inf), 1j])
    check(fnp.nan_to_num(z), np.nan_to_num(z), "complex128")
    with pytest.raises(errors.OptionError, match="immutable"):
        fnp.nan_to_num(x, copy=False)


def test_angle():
    z = np.array([1, 1j, -1, -1j, 1 + 1j])
    check(fnp.angle(z), np.angle(z), "float64")
    check(fnp.angle(z, deg=True), np.angle(z, deg=True), "float64")
    check(fnp.angle(np.array([1.0, -1.0])), np.angle([1.0, -1.0]), "float64")


class TestClose:
    def test_isclose(self):
        a = np.array([1.0, 1.0 + 1e-6, 1.1, np.nan, np.inf, -np.inf, 1e-9])
        b = np.array([1.0, 1.0, 1.0, np.nan, np.inf, np.inf, 0.0])
        for equal_nan in (False, True):
            got = fnp.isclose(a, b, equal_nan=equal_nan)
            np.testing.assert_array_equal(np.asarray(got), np.isclose(a, b, equal_nan=equal_nan))

    def test_integers_do_not_overflow(self):
        assert not fnp.isclose(np.int8(100), np.int8(-100))

    def test_allclose_and_equal(self):
        x = values((3,), "float32")
        assert bool(fnp.allclose(x, x + 1e-9))
        assert not bool(fnp.allclose(x, x + 1))
        assert bool(fnp.array_equal(x, x.copy()))
        assert not bool(fnp.array_equal(x, x[:2]))
        assert not bool(fnp.array_equal([np.nan] @ np.ones((1, 1)), np.array([np.nan])))
        assert bool(fnp.array_equal(np.array([np.nan]), np.array([np.nan]), equal_nan=True))
        assert bool(fnp.array_equiv(np.ones(3), np.ones((2, 3))))
        assert not bool(fnp.array_equiv(np.ones(3), np.ones((2, 2))))


class TestWhere:
    def test_broadcasts_and_promotes(self):
        c, x, y = values((3, 1), "bool"), values((4,), "int32"), values((), "float32")
        check(fnp.where(c, x, y), np.where(c, x, y), "float32")
        check(fnp.where(c, x, 0), np.where(c, x, 0), "int32")
        check(fnp.where(x, 1.5, 0), np.where(x, 1.5, 0), "float32")

    def test_one_operand_is_nonzero(self):
        c = values((3, 4), "bool")
        check(fnp.where(c), np.where(c), "int32")

    def test_missing_operand(self):
        with pytest.raises(errors.ArgumentError, match="both x and y"):
            fnp.where(True, 1)

    def test_double_where_keeps_nan_out_of_the_gradient(self):
        def guarded(x):
            safe = fnp.where(x > 0, x, 1.0)
            return fnp.where(x > 0, fnp.sqrt(safe), 0.0)

        assert float(fst.grad(guarded)(0.0)) == 0.0

    def test_select(self):
        x = np.arange(6)
        conditions, choices = [x < 2, x > 3], [x, x**2]
        check(fnp.select(conditions, choices, 42), np.select(conditions, choices, 42), "int64")
        with pytest.raises(errors.ShapeError, match="one choice for each"):
            fnp.select(conditions, choices[:1])


class TestPromotion:
    @pytest.mark.parametrize("left", ALL)
    @pytest.mark.parametrize("right", ALL)
    def test_dtypes_join_in_the_lattice(self, left, right):
        x, y = values((2,), left), values((2,), right)
        assert fnp.add(x, y).dtype == dtypes.promote_types(left, right)

    @pytest.mark.parametrize("dtype", ["int8", "float16", "bfloat16", "float64", "complex64"])
    def test_python_scalars_are_weak(self, dtype):
        x = fnp.ones(2, dtype)
        assert (x + 1).dtype == x.dtype
        assert (1 + x).dtype == x.dtype
        expected = "float32" if dtype == "int8" else dtype
        assert (x * 2.0).dtype == dtypes.canonical(expected)
        assert (np.float64(2) * x).dtype == dtypes.canonical(expected)

    def test_weakness_is_kept(self):
        assert fnp.add(1, 2).weak_type
        assert fnp.floor_divide(7, 2).weak_type
        assert fnp.sin(1.0).weak_type
        assert (fnp.ones(2, "int8") + 1.0).weak_type
        assert not (fnp.ones(2, "float32") + 1.0).weak_type

    def test_negative_zero_is_not_mistaken_for_zero(self):
        x = fnp.ones(1)
        assert np.signbit(x * -0.0).tolist() == [True]
        assert np.signbit(x * 0.0).tolist() == [False]

    def test_signs_of_zero_in_complex_numbers(self):
        for z in (complex(1, 0.0), complex(1, -0.0), complex(0.0, 1), complex(-0.0, 1)):
            got = complex(fnp.asarray(z))
            assert math.copysign(1, got.imag) == math.copysign(1, z.imag)
            assert math.copysign(1, got.real) == math.copysign(1, z.real)
            joined = complex(fnp.where(True, z, fnp.zeros((), complex)))
            assert math.copysign(1, joined.imag) == math.copysign(1, z.imag)

    def test_integers_out_of_range(self):
        with pytest.raises(OverflowError, match="between 0 and 255 for uint8, got 300"):
            fnp.ones(2, "uint8") + 300

    def test_lists_are_refused_with_a_hint(self):
        with pytest.raises(errors.ArgumentError, match=r"add: must be an array .*asarray"):
            fnp.add([1], fnp.ones(1))

    def test_shapes_that_do_not_fit(self):
        with pytest.raises(errors.ShapeError, match="add: shapes must agree"):
            fnp.ones(2) + fnp.ones(3)

    def test_ranks_are_equalized_as_in_jax(self):
        jaxpr = fst.make_jaxpr(fnp.add)(fnp.ones(3), fnp.ones((2, 3)))
        assert (
            str(jaxpr).replace("\n", " ").count("broadcast_in_dim[broadcast_dimensions=(1,)") == 1
        )
        assert "broadcast" not in str(fst.make_jaxpr(fnp.add)(1.0, fnp.ones((2, 3))))


def test_captured_arrays_are_copied_when_traced():
    x = np.ones(3)
    jaxpr = fst.make_jaxpr(lambda y: y + x)(fnp.zeros(3))
    x[0] = 5
    assert np.asarray(jaxpr.consts[0])[0] == 1

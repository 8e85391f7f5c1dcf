"""Conventions of elementwise operations that the matrix of cases cannot see: kinks, ends, texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.ops import convert, elementwise, logical, polygamma, rounding, special, transcendental
from fstensor.ops.reduce import reduce_sum
from fstensor.transforms.grad import grad
from fstensor.transforms.jvp import jvp
from fstensor.transforms.make_jaxpr import make_jaxpr


def slopes(function, *args):
    """The derivative in each argument."""
    args = [np.asarray(a, np.float64) for a in args]
    return [float(g) for g in grad(function, argnums=tuple(range(len(args))))(*args)]


@pytest.mark.parametrize("function", [elementwise.max, elementwise.min])
def test_ties_are_shared(function):
    assert slopes(function, 2.0, 2.0) == [0.5, 0.5]
    assert slopes(function, 0.0, -0.0) == [0.5, 0.5]
    assert slopes(lambda x: function(x, x), 3.0) == [1.0]
    assert slopes(function, 2.0, 1.0) == ([1.0, 0.0] if function is elementwise.max else [0.0, 1.0])
    assert slopes(function, np.nan, 1.0) == [0.0, 0.0]


def test_abs_at_zero():
    assert slopes(elementwise.abs, 0.0) == [1.0]
    assert slopes(elementwise.abs, -0.0) == [1.0]
    _, tangent = jvp(elementwise.abs, (np.asarray(0j),), (np.asarray(1 + 1j),))
    assert float(tangent) == 0.0


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((0.0, 0.5, 1.0), [0, 1, 0]),
        ((0.0, 0.0, 1.0), [0, 0, 0]),
        ((0.0, 1.0, 1.0), [0, 0, 0]),
        ((0.0, -1.0, 1.0), [1, 0, 0]),
        ((0.0, 2.0, 1.0), [0, 0, 1]),
        ((2.0, 0.5, 1.0), [0, 0, 0]),
        ((0.0, np.nan, 1.0), [0, 0, 0]),
    ],
)
def test_clamp_has_slope_one_strictly_between_its_bounds(args, expected):
    assert slopes(elementwise.clamp, *args) == expected
    assert [float(g) for g in jax.grad(lax.clamp, argnums=(0, 1, 2))(*args)] == expected


def test_clamp_sums_the_cotangents_of_scalar_bounds():
    x = np.array([-2.0, -1.0, 0.0, 3.0], np.float32)
    ends = np.array(-0.5, np.float32), np.array(0.5, np.float32)

    def total(low, x, high):
        return reduce_sum(elementwise.clamp(low, x, high), (0,))

    low, mid, high = grad(total, argnums=(0, 1, 2))(ends[0], x, ends[1])
    assert (float(low), float(high)) == (2.0, 1.0)
    np.testing.assert_array_equal(mid, [0, 0, 1, 0])


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.0, 0.0, [0.0, 0.0]),
        (0.0, 1.0, [1.0, 0.0]),
        (0.0, 2.0, [0.0, 0.0]),
        (-3.0, 0.0, [0.0, np.nan]),
        (np.inf, 0.0, [0.0, np.inf]),
        (2.0, 3.0, [12.0, 8 * np.log(2)]),
    ],
)
def test_pow_has_finite_slopes_wherever_they_exist(x, y, expected):
    np.testing.assert_allclose(slopes(elementwise.pow, x, y), expected, rtol=1e-15)


@pytest.mark.parametrize("power", [lambda x: elementwise.pow(x, 2), elementwise.square])
def test_second_derivative_of_a_square_at_zero(power):
    assert slopes(grad(power), 0.0) == [2.0]
    assert slopes(grad(lambda x: elementwise.integer_pow(x, 2)), 0.0) == [2.0]


def test_integer_exponents_have_no_gradient():
    x = np.array([1.5, 2.0], np.float32)
    out, tangent = jvp(lambda x: elementwise.pow(x, np.array([0, 3])), (x,), (np.ones_like(x),))
    np.testing.assert_array_equal(out, [1, 8])
    np.testing.assert_array_equal(tangent, [0, 12])


@pytest.mark.parametrize(("x", "y"), [(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0)])
def test_atan2_on_the_axes(x, y):
    expected = [float(g) for g in jax.grad(lax.atan2, argnums=(0, 1))(x, y)]
    assert slopes(transcendental.atan2, x, y) == expected


@pytest.mark.parametrize("order", [0, 1, 2])
def test_polygamma_and_zeta_differentiate_in_their_second_operand(order):
    m, step = np.asarray(float(order)), 1e-5
    low, x, high = (np.asarray(v) for v in (2.3 - step, 2.3, 2.3 + step))
    for function, first in ((polygamma.polygamma, m), (polygamma.zeta, m + np.asarray(2.0))):
        first = np.asarray(first)
        slope = float(grad(function, argnums=1)(first, x))
        expected = (float(function(first, high)) - float(function(first, low))) / (2 * step)
        np.testing.assert_allclose(slope, expected, rtol=1e-8)


def test_log_gamma_is_exact_beside_its_zeros():
    # Abramowitz and Stegun 6.1.33, to second order.
    z = np.array([1e-9, -1e-9, 1e-12])
    euler, second = 0.5772156649015329, (np.pi**2 / 6 - 1) / 2
    at_two, at_one = z + 2 - 2, z + 1 - 1
    np.testing.assert_allclose(
        special.lgamma(2 + z), (1 - euler) * at_two + second * at_two**2, rtol=1e-14
    )
    np.testing.assert_allclose(
        special.lgamma(1 + z), -euler * at_one + (second + 0.5) * at_one**2, rtol=1e-14
    )


@pytest.mark.parametrize("target", ["int8", "uint8", "int16", "int32", "uint32", "bool"])
@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32"])
def test_conversion_to_integers_agrees_with_jax(source, target):
    x = np.array([np.nan, np.inf, -np.inf, 3e4, -3e4, 300.7, -300.7, -1.5, 0.5, -0.0], np.float32)
    x = np.asarray(jnp.asarray(x).astype(source))
    expected = lax.convert_element_type(x, target)
    np.testing.assert_array_equal(convert.convert_element_type(x, target), expected)


UNARY = {
    elementwise: ["sqrt", "rsqrt", "cbrt", "square", "abs", "neg"],
    rounding: ["floor", "round"],
    transcendental: [
        *("exp", "exp2", "expm1", "log", "log1p", "logistic"),
        *("sin", "cos", "tan", "asin", "acos", "atan"),
        *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    ],
    special: ["erf", "erfc", "erf_inv", "lgamma"],
    polygamma: ["digamma"],
}
# Not rem, for which JAX divides twice.
BINARY = {elementwise: ["add", "sub", "mul", "div", "max", "min"], transcendental: ["atan2"]}


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in UNARY.items() for n in names])
def test_jaxpr_of_jvp_reads_as_jaxs(module, name):
    x = np.ones(3, np.float32)
    ours = make_jaxpr(lambda x, t: jvp(getattr(module, name), (x,), (t,)))(x, x)
    theirs = jax.make_jaxpr(lambda x, t: jax.jvp(getattr(lax, name), (x,), (t,)))(x, x)
    assert str(ours) == str(theirs)


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, ns in BINARY.items() for n in ns])
@pytest.mark.parametrize("argument", [0, 1])
def test_jaxpr_of_jvp_of_two_operands_reads_as_jaxs(module, name, argument):
    x = np.ones(3, np.float32)

    def pushed(jvp, function):
        def of(x, y, t):
            if argument == 0:
                return jvp(lambda x: function(x, y), (x,), (t,))
            return jvp(lambda y: function(x, y), (y,), (t,))

        return of

    ours = make_jaxpr(pushed(jvp, getattr(module, name)))(x, x, x)
    theirs = jax.make_jaxpr(pushed(jax.jvp, getattr(lax, name)))(x, x, x)
    assert str(ours) == str(theirs)


def test_jaxpr_of_bits_reads_as_jaxs():
    def ours(i, x):
        return (
            logical.bitwise_and(i, i),
            logical.bitwise_or(i, i),
            logical.bitwise_xor(i, i),
            logical.bitwise_not(i),
            logical.shift_left(i, i),
            logical.shift_right_arithmetic(i, i),
            logical.shift_right_logical(i, i),
            logical.population_count(i),
            logical.clz(i),
            convert.bitcast_convert_type(i, np.int8),
            rounding.round(x, rounding.RoundingMethod.TO_NEAREST_EVEN),
            elementwise.nextafter(x, x),
            elementwise.is_finite(x),
        )

    def theirs(i, x):
        return (
            i & i,
            i | i,
            i ^ i,
            ~i,
            lax.shift_left(i, i),
            lax.shift_right_arithmetic(i, i),
            lax.shift_right_logical(i, i),
            lax.population_count(i),
            lax.clz(i),
            lax.bitcast_convert_type(i, np.int8),
            lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
            lax.nextafter(x, x),
            lax.is_finite(x),
        )

    args = np.ones(3, np.int32), np.ones(3, np.float32)
    assert str(make_jaxpr(ours)(*args)) == str(jax.make_jaxpr(theirs)(*args))


def test_functions_carry_the_names_that_users_call():
    assert logical.bitwise_and.__name__ == "bitwise_and"
    assert special.erf_inv.__name__ == "erf_inv"


def test_errors_name_the_operation_and_its_operands():
    x, i = np.ones((2, 3), np.float32), np.ones((2, 3), np.int32)
    with pytest.raises(DtypeError, match=r"pow: .*got float32\[2,3\] and float64\[2,3\]"):
        elementwise.pow(x, x.astype(np.float64))
    with pytest.raises(DtypeError, match=r"pow: takes a float or complex dtype, got int32\[2,3\]"):
        elementwise.pow(i, i)
    with pytest.raises(OptionError, match=r"round: rounding_method must be .*, got 7"):
        rounding.round(x, 7)
    with pytest.raises(DtypeError, match=r"round: takes a float dtype, got int32\[2,3\]"):
        rounding.round(i)
    with pytest.raises(DtypeError, match=r"clamp: dtypes must be equal, got int32\[2,3\]"):
        elementwise.clamp(i, x, i)
    with pytest.raises(ShapeError, match=r"clamp: shapes must agree"):
        elementwise.clamp(np.zeros(2, np.float32), x, 1.0)
    with pytest.raises(
        DtypeError, match=r"and: takes an integer or bool dtype, got float32\[2,3\]"
    ):
        logical.bitwise_and(x, x)
    with pytest.raises(ShapeError, match=r"bitcast_convert_type: .* size 2 .* got int32\[2,3\]"):
        convert.bitcast_convert_type(i, np.int64)
    with pytest.raises(DtypeError, match=r"bitcast_convert_type: .* got int32\[2,3\] to bool"):
        convert.bitcast_convert_type(i, np.bool_)
    with pytest.raises(OptionError, match=r"integer_pow: .* got int32\[2,3\] to the power -1"):
        elementwise.integer_pow(i, -1)

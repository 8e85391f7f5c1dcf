"""Dtypes and promotion, against NumPy and JAX."""

import contextlib
import itertools
import pickle

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fstensor import dtypes
from fstensor.config import config
from fstensor.errors import DtypeError

INTS = ["int2", "int4", "int8", "int16", "int32", "int64"]
UINTS = ["uint2", "uint4", "uint8", "uint16", "uint32", "uint64"]
FLOAT8 = [
    "float8_e3m4",
    "float8_e4m3",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e4m3b11fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]
FLOATS = [*FLOAT8, "bfloat16", "float16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
NUMBERS = [*INTS, *UINTS, *FLOATS, *COMPLEX]
ALL = ["bool", *NUMBERS]
SCALARS = {int: 1, float: 1.0, complex: 1j}
WEAK_DEFAULTS = {bits: (f"int{bits}", f"float{bits}", f"complex{2 * bits}") for bits in (32, 64)}

# Where promotion departs from JAX, with what each gives for the operands named.
NUMPY_SCALARS_ARE_WEAK = [
    # np.float64 and np.complex128 scalars are Python floats and complexes, so that x / np.sqrt(64)
    # keeps the dtype of x; in JAX they are strong, and cut to 32 bits unless 64 are enabled.
    ("bfloat16", np.float64(1), "bfloat16", "float32"),
    ("float16", np.float64(1), "float16", "float32"),
    ("float8_e5m2", np.float64(1), "float8_e5m2", "error"),
    ("int32", np.float64(1), "float32", "float32"),
    ("float32", np.float64(1), "float32", "float32"),
    ("float32", np.complex128(1), "complex64", "complex64"),
]


def dtype_of(name):
    return np.dtype(getattr(dtypes, "bool_" if name == "bool" else name))


@contextlib.contextmanager
def jax_with_explicit_64_bits():
    """JAX with 32-bit defaults, but dtypes of 64 bits left alone where they are asked for."""
    before = jax.config.jax_explicit_x64_dtypes
    jax.config.update("jax_explicit_x64_dtypes", "allow")
    try:
        yield
    finally:
        jax.config.update("jax_explicit_x64_dtypes", before)


def promote_or_error(*pairs):
    try:
        return dtypes.promote_all(pairs)
    except DtypeError:
        return "error"


def jax_add(make_operands):
    """The dtype of a sum in JAX, and whether it is weak."""
    try:
        out = jax.eval_shape(lambda: jnp.add(*make_operands()))
    except jax.dtypes.TypePromotionError:
        return "error"
    return out.dtype, out.weak_type


def message(caught):
    return caught.value.args[0]


# Promotion


def test_promote_agrees_with_jax_for_all_pairs_when_the_default_is_64_bits():
    pairs = [
        (dtype_of(n), weak) for n in ALL for weak in (False, True) if (n, weak) != ("bool", True)
    ]
    with jax.enable_x64(True), config.override(default_dtype_bits=64):
        for a, b in itertools.product(pairs, pairs):
            x, y = (jax.ShapeDtypeStruct((), dtype, weak_type=weak) for dtype, weak in (a, b))
            try:
                out = jax.eval_shape(jnp.add, x, y)
                expected = out.dtype, out.weak_type
            except jax.dtypes.TypePromotionError:
                expected = "error"
            assert promote_or_error(a, b) == expected, (a, b)
            if expected != "error":
                assert dtypes.promote(a, b) == expected, (a, b)


def test_promote_agrees_with_jax_for_all_pairs_when_the_default_is_32_bits():
    arrays = {name: (dtype_of(name), False) for name in ALL}
    with jax_with_explicit_64_bits():
        for a, b in itertools.product(ALL, ALL):
            expected = jax_add(lambda a=a, b=b: (jnp.zeros((), a), jnp.zeros((), b)))
            assert promote_or_error(arrays[a], arrays[b]) == expected, (a, b)
        for a, x in itertools.product(ALL, SCALARS.values()):
            expected = jax_add(lambda a=a, x=x: (jnp.zeros((), a), x))
            assert promote_or_error(arrays[a], dtypes.weak_pair(x)) == expected, (a, x)
            assert promote_or_error(dtypes.weak_pair(x), arrays[a]) == expected, (a, x)
        for x, y in itertools.product(SCALARS.values(), SCALARS.values()):
            expected = jax_add(lambda x=x, y=y: (x, y))
            assert promote_or_error(dtypes.weak_pair(x), dtypes.weak_pair(y)) == expected, (x, y)


@pytest.mark.parametrize("bits", [32, 64])
def test_promote_types_and_result_type_agree_with_jax(bits):
    def or_error(function, *args):
        try:
            return np.dtype(function(*args))
        except (DtypeError, jax.dtypes.TypePromotionError):
            return "error"

    jax_mode = jax_with_explicit_64_bits() if bits == 32 else jax.enable_x64(True)
    with config.override(default_dtype_bits=bits), jax_mode:
        for a, b in itertools.product(ALL, [*ALL, int, float, complex]):
            expected = or_error(jnp.result_type, a, b)
            assert or_error(dtypes.promote_types, a, b) == expected, (a, b)
            assert or_error(dtypes.promote_types, b, a) == expected, (a, b)
            assert or_error(dtypes.result_type, dtype_of(a), b) == expected, (a, b)


def test_result_type_takes_arrays_scalars_dtypes_and_names():
    class Weak:
        dtype = np.dtype("int16")
        weak_type = True

    f16 = np.zeros(2, np.float16)
    assert dtypes.result_type(f16, 1.0) == np.float16
    assert dtypes.result_type(f16, "bfloat16") == np.float32
    assert dtypes.result_type(f16, int, np.dtype("int64")) == np.float16
    assert dtypes.result_type(np.zeros(2, np.float64), np.float32(1)) == np.float64
    assert dtypes.result_type(Weak(), np.int8(1)) == np.int8
    assert dtypes.result_type(Weak()) == np.int16
    assert dtypes.result_type(1, True) == np.int32
    assert dtypes.result_type(np.float32) == np.float32
    with config.override(default_dtype_bits=64):
        assert dtypes.result_type(1, 2.0) == np.float64


@pytest.mark.parametrize(("name", "scalar", "ours", "in_jax"), NUMPY_SCALARS_ARE_WEAK)
def test_numpy_scalars_that_are_python_scalars_are_weak(name, scalar, ours, in_jax):
    results = (
        promote_or_error((dtype_of(name), False), dtypes.weak_pair(scalar)),
        jax_add(lambda: (jnp.zeros((), name), scalar)),
    )
    assert [r if r == "error" else r[0].name for r in results] == [ours, in_jax]


def test_dtypes_of_64_bits_are_never_narrowed():
    for name in ["int64", "uint64", "float64", "complex128"]:
        assert dtypes.canonical(name).name == name
        assert dtypes.promote_types(name, "bool").name == name
        assert jnp.promote_types(name, "bool").name == name  # JAX narrows when it makes the array:
        with pytest.warns(UserWarning, match="will be truncated"):
            assert jnp.zeros((), name).dtype.name != name


nodes = st.sampled_from([(name, False) for name in ALL] + [(name, True) for name in SCALARS])


def pair_of(node):
    name, weak = node
    return (dtypes.scalar_dtype(name) if weak else dtype_of(name)), weak


def join(a, b):
    return "error" if "error" in (a, b) else promote_or_error(a, b)


@given(nodes, nodes, nodes, st.sampled_from([32, 64]))
def test_promotion_is_commutative_associative_and_idempotent(a, b, c, bits):
    with config.override(default_dtype_bits=bits):
        a, b, c = map(pair_of, (a, b, c))
        assert join(a, b) == join(b, a)
        assert join(join(a, b), c) == join(a, join(b, c)) == promote_or_error(a, b, c)
        assert join(a, a) == a


def test_promotion_keeps_widths_of_weak_dtypes_only_among_themselves():
    i16, f16 = (np.dtype("int16"), True), (np.dtype("float16"), True)
    assert dtypes.promote(i16, i16) == i16
    assert dtypes.promote(i16, f16) == f16
    assert dtypes.promote(f16, (np.dtype("int8"), False)) == (np.dtype("float32"), True)


def test_promotion_of_what_holds_no_numbers():
    key, none = (dtypes.prng_key, False), (dtypes.float0, False)
    assert dtypes.promote(key, key) == key
    assert dtypes.promote_all([none, none]) == none
    for other in (none, (np.dtype("int8"), False), (np.dtype("int32"), True)):
        assert promote_or_error(key, other) == "error"


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (
            [("float8_e4m3fn", False), ("float32", False)],
            "promote: 8-bit floats do not promote implicitly, got float8_e4m3fn and float32; "
            "cast with x.astype('float32')",
        ),
        (
            [("float8_e5m2", False), ("complex64", True)],
            "promote: 8-bit floats do not promote implicitly, got float8_e5m2 and weak complex64; "
            "cast with x.astype('float32')",
        ),
        (
            [("int4", False), ("int8", False)],
            "promote: narrow integers do not promote implicitly, got int4 and int8; "
            "cast with x.astype('int32')",
        ),
        (
            [("key<fry>", False), ("uint32", False)],
            "promote: random keys mix with no other dtype, got key<fry> and uint32; "
            "random.key_data(key) gives its words",
        ),
        (
            [("float0", False), ("float32", False)],
            "promote: float0 has no values, got float0 and float32; "
            "it is only the tangent of integers and bools",
        ),
    ],
)
def test_promotion_errors(pairs, text):
    pairs = [(dtypes.canonical(name), weak) for name, weak in pairs]
    with pytest.raises(DtypeError) as caught:
        dtypes.promote(*pairs)
    assert message(caught) == text
    assert isinstance(caught.value, TypeError)


def test_result_type_errors():
    with pytest.raises(DtypeError) as caught:
        dtypes.result_type()
    assert message(caught) == "promote: there must be at least one dtype, got none"
    with pytest.raises(DtypeError) as caught:
        dtypes.result_type(np.zeros(2), {"a": 1})
    assert message(caught) == "dtype: must be a number or an array, got a value of type dict"


# Spellings and defaults


@pytest.mark.parametrize("name", ALL)
def test_canonical_takes_every_spelling(name):
    dtype = dtype_of(name)
    for spelling in (name, dtype, dtype.type, getattr(jnp, name + "_" * (name == "bool"), name)):
        assert dtypes.canonical(spelling) is dtypes.canonical(name)
    assert dtypes.canonical(pickle.loads(pickle.dumps(dtype))) == dtype
    assert dtypes.name(dtype) == name


def test_canonical_of_other_names_for_the_same_dtype():
    assert dtypes.canonical("f4") == dtypes.canonical("<f4") == np.float32
    assert dtypes.canonical(np.longlong) is dtypes.canonical(np.dtype("q")) is np.dtype("int64")
    assert dtypes.canonical(np.ulonglong) is dtypes.canonical("uint64")
    assert dtypes.canonical("float0") is dtypes.float0
    assert dtypes.canonical(np.dtype([("fry", "u4", (2,))])) is dtypes.prng_key
    assert dtypes.canonical(jax.dtypes.float0) is dtypes.float0


@pytest.mark.parametrize("bits", [32, 64])
def test_defaults_follow_the_configuration(bits):
    with config.override(default_dtype_bits=bits):
        i, f, c = map(np.dtype, WEAK_DEFAULTS[bits])
        assert dtypes.canonical(int) == dtypes.canonical("int") == dtypes.default_int() == i
        assert dtypes.canonical(float) == dtypes.canonical("float") == dtypes.default_float() == f
        assert dtypes.canonical(complex) == dtypes.default_complex() == c
        assert dtypes.canonical("uint") == dtypes.default_uint() == np.dtype(f"uint{bits}")
        assert dtypes.canonical(bool) == dtypes.scalar_dtype(bool) == np.dtype(bool)
        assert [dtypes.scalar_dtype(t) for t in (int, float, complex)] == [i, f, c]
        assert dtypes.weak_pair(1) == (i, True)
        assert dtypes.weak_pair(True) == (np.dtype(bool), False)
        assert dtypes.weak_pair(np.float64(1)) == (f, True)
        assert dtypes.weak_pair(np.complex128(1)) == (c, True)
        assert dtypes.weak_pair(np.float32(1)) == (np.dtype("float32"), False)
        assert dtypes.weak_pair(np.int64(1)) == (np.dtype("int64"), False)
        assert dtypes.weak_pair(np.bool_(1)) == (np.dtype(bool), False)
        assert dtypes.weak_pair(np.zeros((), "f8")) == (np.dtype("float64"), False)
        assert dtypes.to_inexact("int8") == dtypes.to_inexact(bool) == f
        assert dtypes.to_complex("int8") == c


def test_subclasses_of_python_scalars_are_weak():
    class Level(int):
        pass

    assert dtypes.weak_pair(Level(3)) == (np.dtype("int32"), True)
    assert dtypes.scalar_dtype(Level) == np.int32


NOT_DTYPES = {
    "one must be named, got None; float32 is the usual choice": [None],
    "must be a dtype or the name of one, got 'floaty'": ["floaty"],
    "must be a dtype or the name of one, got [1]": [[1]],
    "must be a dtype or the name of one, got <class 'numpy.floating'>": [np.floating],
    "must be bool, a number or a random key, got object; convert to one of these first": [
        object,
        np.dtype("O"),
        dict,
    ],
    "must be bool, a number or a random key, got <U3; convert to one of these first": ["U3"],
    "must be bool, a number or a random key, got datetime64[s]; convert to one of these first": [
        "datetime64[s]"
    ],
    f"must be bool, a number or a random key, got {np.dtype(np.longdouble)}; "
    "use float64 or complex128": [np.longdouble],
    "must have this machine's byte order, got >f4; convert with x.astype('float32')": [
        ">f4",
        np.dtype(">f4"),
    ],
}


@pytest.mark.parametrize(("text", "values"), NOT_DTYPES.items())
def test_what_is_no_dtype_raises(text, values):
    for value in values:
        with pytest.raises(DtypeError) as caught:
            dtypes.canonical(value)
        assert message(caught) == f"dtype: {text}"


def test_scalar_dtype_of_another_type_raises():
    with pytest.raises(DtypeError) as caught:
        dtypes.scalar_dtype(str)
    assert message(caught) == "dtype: must be a type of Python scalars, got str"


# Predicates


@pytest.mark.parametrize("name", ALL)
def test_predicates(name):
    expected = {
        dtypes.is_bool: name == "bool",
        dtypes.is_integer: name in INTS + UINTS,
        dtypes.is_signed: name in INTS,
        dtypes.is_unsigned: name in UINTS,
        dtypes.is_float: name in FLOATS,
        dtypes.is_complex: name in COMPLEX,
        dtypes.is_inexact: name in FLOATS + COMPLEX,
        dtypes.is_numeric: name in NUMBERS,
        dtypes.is_key: False,
        dtypes.is_float0: False,
    }
    dtype = dtype_of(name)
    for predicate, value in expected.items():
        for spelling in (dtype, dtype.type, name):
            assert predicate(spelling) is value, predicate


def test_predicates_of_keys_float0_and_unsupported_dtypes():
    for special in (dtypes.prng_key, dtypes.float0, np.dtype("O"), "U3", np.longdouble):
        assert not dtypes.is_numeric(special)
        assert not dtypes.is_bool(special)
        assert not dtypes.is_inexact(special)
        assert dtypes.is_key(special) is (special is dtypes.prng_key)
        assert dtypes.is_float0(special) is (special is dtypes.float0)
    assert dtypes.is_integer("i4")
    assert dtypes.is_float(float)
    assert not dtypes.is_float(int)


ABSTRACT = [
    np.generic,
    np.number,
    np.integer,
    np.signedinteger,
    np.unsignedinteger,
    np.inexact,
    np.floating,
    np.complexfloating,
    np.character,
]


def test_issubdtype_agrees_with_jax():
    concrete = [np.float32, "float32", "bfloat16", np.dtype("int8"), bool, int, float, complex]
    for a, b in itertools.product([*ALL, *ABSTRACT, int, float], [*ABSTRACT, *concrete]):
        if isinstance(a, str):
            assert dtypes.issubdtype(dtype_of(a), b) == jnp.issubdtype(a, b), (a, b)
        assert dtypes.issubdtype(a, b) == jnp.issubdtype(a, b), (a, b)


def test_issubdtype_of_keys_float0_and_unsupported_dtypes():
    key, float0 = dtypes.prng_key, dtypes.float0
    assert dtypes.issubdtype(key, dtypes.prng_key)
    assert dtypes.issubdtype(key, np.generic)
    assert dtypes.issubdtype(float0, np.generic)
    assert not dtypes.issubdtype(np.float32, dtypes.prng_key)
    assert not dtypes.issubdtype(key, float0)
    assert not any(dtypes.issubdtype(d, c) for d in (key, float0) for c in (np.number, np.int32))
    assert not dtypes.issubdtype(np.dtype("O"), np.number)
    assert dtypes.issubdtype(np.longdouble, np.floating)


def test_isdtype_agrees_with_jax():
    kinds = ["bool", "signed integer", "unsigned integer", "integral", "real floating"]
    kinds += ["complex floating", "numeric", "float32", np.dtype("int8"), ("bool", "integral")]
    for name, kind in itertools.product(ALL, kinds):
        assert dtypes.isdtype(dtype_of(name), kind) == jnp.isdtype(name, kind), (name, kind)
    assert not dtypes.isdtype(dtypes.prng_key, "numeric")
    with pytest.raises(DtypeError) as caught:
        dtypes.isdtype("int8", "float")
    assert message(caught) == (
        "isdtype: kind must be a dtype or one of bool, signed integer, unsigned integer, "
        "integral, real floating, complex floating, numeric, got 'float'"
    )


def test_can_cast_agrees_with_jax():
    for a, b in itertools.product(ALL, ALL):
        for casting in ("no", "safe", "same_kind", "unsafe"):
            expected = jnp.can_cast(a, b, casting)
            assert dtypes.can_cast(a, b, casting) == expected, (a, b, casting)
    assert dtypes.can_cast(np.zeros(3, np.int8), "float32")
    assert dtypes.can_cast(np.float64(3), "float64")
    assert not dtypes.can_cast(dtypes.prng_key, "uint32")
    assert dtypes.can_cast(dtypes.prng_key, dtypes.prng_key)
    with pytest.raises(DtypeError) as caught:
        dtypes.can_cast(1, "int8")
    assert message(caught) == "can_cast: must be a dtype or an array, got a value of type int"


# Limits, relatives, names


@pytest.mark.parametrize("name", [*FLOATS, *COMPLEX])
def test_finfo_agrees_with_jax(name):
    ours, jaxs = dtypes.finfo(dtype_of(name)), jnp.finfo(name)
    for field in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "dtype"):
        assert getattr(ours, field) == getattr(jaxs, field), field
    assert dtypes.finfo(np.zeros(2, dtype_of(name))).bits == ours.bits


@pytest.mark.parametrize("name", INTS + UINTS)
def test_iinfo_agrees_with_jax(name):
    ours, jaxs = dtypes.iinfo(dtype_of(name)), jnp.iinfo(name)
    for field in ("bits", "max", "min", "dtype"):
        assert getattr(ours, field) == getattr(jaxs, field), field


def test_limits_of_the_wrong_kind_raise():
    with pytest.raises(DtypeError) as caught:
        dtypes.finfo("int32")
    assert message(caught) == "finfo: dtype must be inexact, got int32; iinfo takes integers"
    with pytest.raises(DtypeError) as caught:
        dtypes.iinfo(bool)
    assert message(caught) == "iinfo: dtype must be an integer, got bool; finfo takes floats"


def test_relatives_of_a_dtype():
    for name in FLOATS + COMPLEX:
        dtype = dtype_of(name)
        assert dtypes.to_inexact(dtype) == dtypes.tangent_dtype(dtype) == dtype
        wide = name in ("float64", "complex128")
        assert dtypes.to_complex(dtype) == np.dtype("complex128" if wide else "complex64")
    for name in ["bool", *INTS, *UINTS]:
        assert dtypes.tangent_dtype(dtype_of(name)) is dtypes.float0
        assert dtypes.to_real(name) == dtype_of(name)
    assert dtypes.tangent_dtype(dtypes.prng_key) is dtypes.float0
    assert dtypes.to_real("complex64") == np.float32
    assert dtypes.to_real("complex128") == np.float64
    assert dtypes.to_real("bfloat16") == ml_dtypes.bfloat16
    for function in (dtypes.to_inexact, dtypes.to_complex):
        with pytest.raises(DtypeError) as caught:
            function(dtypes.prng_key)
        assert message(caught) == "dtype: must be bool or a number, got key<fry>"


@pytest.mark.parametrize("name", ALL)
def test_short_names_agree_with_jax(name):
    with jax.enable_x64(True):
        printed = jax.core.ShapedArray((), np.dtype(name)).str_short(short_dtypes=True)
    assert dtypes.short_name(dtype_of(name)) == printed.removesuffix("[]")
    assert dtypes.short_name(name) == dtypes.short_name(dtype_of(name))


def test_names_of_keys_and_float0():
    printed = str(jax.random.key(0).dtype)
    assert dtypes.name(dtypes.prng_key) == dtypes.short_name(dtypes.prng_key) == printed
    assert dtypes.name(dtypes.float0) == dtypes.short_name(dtypes.float0) == "float0"
    assert dtypes.float0 == jax.dtypes.float0
    assert dtypes.prng_key.itemsize == 8
    assert dtypes.name(np.float32) == "float32"

"""Dtypes and how they promote.

A dtype here is always an `np.dtype`; the low-precision ones come from ml_dtypes. Promotion is the
join in one lattice, which is JAX's. The three nodes i*, f* and c* stand for Python's int, float and
complex: such a scalar is *weak*, it takes on the width of whatever dtype it meets.

::

    bool ─ i* ─┬─ u8 ──┬─ u16 ──┬─ u32 ──┬─ u64 ─┐         ┌─ bf16 ─┐
               │        ╲        ╲        ╲      ├─ f* ──┬─┤        ├─ f32 ──┬─ f64 ──┐
               ├─ i8 ─── i16 ─── i32 ─── i64 ────┘       │ └─ f16 ──┘        │        ├─ c128
               └─ int2, uint2, int4, uint4               ├─ c* ───────────── c64 ─────┘
                                                         └─ the 8-bit floats

An 8-bit float or a narrow integer has nothing above it: to mix it with another width is an error,
for no choice of result would serve everyone. While the default is 32 bits, u32 lies under i32
instead of i64, so that no 64-bit dtype arises where none was asked for. What JAX does otherwise: it
narrows 64-bit dtypes unless told not to, and an `np.float64` scalar, a Python float, is strong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np

from fstensor.config import config
from fstensor.errors import DtypeError

Dtype: TypeAlias = np.dtype[Any]
DtypeLike: TypeAlias = Any  # what `canonical` accepts; NumPy's own DTypeLike lacks ml_dtypes' types
Pair: TypeAlias = tuple[Dtype, bool]  # a dtype, and whether it is weak

bool_ = np.bool_
int8, int16, int32, int64 = np.int8, np.int16, np.int32, np.int64
uint8, uint16, uint32, uint64 = np.uint8, np.uint16, np.uint32, np.uint64
int2, int4, uint2, uint4 = ml_dtypes.int2, ml_dtypes.int4, ml_dtypes.uint2, ml_dtypes.uint4
float16, float32, float64 = np.float16, np.float32, np.float64
bfloat16 = ml_dtypes.bfloat16
float8_e3m4 = ml_dtypes.float8_e3m4
float8_e4m3 = ml_dtypes.float8_e4m3
float8_e4m3fn = ml_dtypes.float8_e4m3fn
float8_e4m3fnuz = ml_dtypes.float8_e4m3fnuz
float8_e4m3b11fnuz = ml_dtypes.float8_e4m3b11fnuz
float8_e5m2 = ml_dtypes.float8_e5m2
float8_e5m2fnuz = ml_dtypes.float8_e5m2fnuz
float8_e8m0fnu = ml_dtypes.float8_e8m0fnu
complex64, complex128 = np.complex64, np.complex128

float0: Dtype = np.dtype([("float0", np.void, 0)])
"""The dtype of tangents of integers and bools: it has no values, and takes no memory."""

prng_key: Dtype = np.dtype([("fry", np.uint32, (2,))])
"""The dtype of random keys, two 32-bit words each; it prints as `key<fry>`."""

tape: Dtype = np.dtype(object)
"""The dtype of tapes (`core.tape`): what loops of unknown length leave for their derivatives."""

_FLOAT8 = (
    float8_e3m4,
    float8_e4m3,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e4m3b11fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float8_e8m0fnu,
)
_NARROW_INTS = (int2, int4, uint2, uint4)
_KIND_MEMBERS: dict[type, list[Dtype]] = {
    np.bool_: [np.dtype(bool_)],
    np.signedinteger: [np.dtype(t) for t in (int2, int4, int8, int16, int32, int64)],
    np.unsignedinteger: [np.dtype(t) for t in (uint2, uint4, uint8, uint16, uint32, uint64)],
    np.floating: [np.dtype(t) for t in (*_FLOAT8, bfloat16, float16, float32, float64)],
    np.complexfloating: [np.dtype(complex64), np.dtype(complex128)],
}
_NUMBERS = [dtype for members in _KIND_MEMBERS.values() for dtype in members]
_DEFAULTS: dict[int, dict[type, Dtype]] = {
    bits: {
        bool: np.dtype(bool),
        int: np.dtype(f"int{bits}"),
        float: np.dtype(f"float{bits}"),
        complex: np.dtype(f"complex{2 * bits}"),
    }
    for bits in (32, 64)
}


def _spellings(dtype: Dtype) -> list[Any]:
    return [dtype, dtype.type, dtype.name]


# Several NumPy types may share a width (`np.longlong` and `np.int64`), hence the second part.
_CANONICAL: dict[Any, Dtype] = {
    **{spelling: dtype for dtype in _NUMBERS for spelling in _spellings(dtype)},
    **{np.dtype(c).type: np.dtype(np.dtype(c).name) for c in "bhilqBHILQ"},
    bool: np.dtype(bool),
    float0: float0,
    prng_key: prng_key,
    "float0": float0,
    "key<fry>": prng_key,
}


def canonical(dtype: DtypeLike) -> Dtype:
    """The `np.dtype` that `dtype` names.

    Takes dtypes, NumPy's and ml_dtypes' scalar types, their names, and Python's bool, int, float
    and complex, as types or names, which have the default width. No dtype is ever narrowed.
    Raises: DtypeError for anything else, such as object, strings, dates, long doubles, None.
    """
    try:
        found = _CANONICAL.get(dtype)
    except TypeError:  # not hashable
        found = None
    return _canonical_uncommon(dtype) if found is None else found


def _canonical_uncommon(dtype: DtypeLike) -> Dtype:
    if isinstance(dtype, (type, str)) and dtype in _OF_DEFAULT_WIDTH:
        return _OF_DEFAULT_WIDTH[dtype]()
    if dtype is None:
        raise DtypeError("dtype: one must be named, got None; float32 is the usual choice")
    found = _numpy_dtype(dtype)
    if found is None:
        raise DtypeError(f"dtype: must be a dtype or the name of one, got {dtype!r}")
    if found in _CANONICAL:
        return _CANONICAL[found]
    native = found.newbyteorder("=")
    if native in _CANONICAL:
        raise DtypeError(
            f"dtype: must have this machine's byte order, got {found}; "
            f"convert with x.astype({native.name!r})"
        )
    hint = "use float64 or complex128" if found.char in "gG" else "convert to one of these first"
    raise DtypeError(f"dtype: must be bool, a number or a random key, got {found}; {hint}")


def _numpy_dtype(dtype: DtypeLike) -> Dtype | None:
    """What NumPy makes of `dtype`; None where it refuses, or would warn, as of abstract types."""
    if isinstance(dtype, np.dtype):
        return dtype
    if not isinstance(dtype, (type, str)) or dtype in _ABSTRACT:
        return None
    try:
        return np.dtype(dtype)
    except (TypeError, ValueError):
        return None


_ABSTRACT: frozenset[Any] = frozenset(
    above
    for kind in (*_KIND_MEMBERS, np.character)
    for above in kind.__mro__
    if above not in (np.bool_, object)
)


# Defaults and Python scalars


def default_int() -> Dtype:
    """int32, or int64 by `config.default_dtype_bits`: of Python ints, and of `arange(3)`."""
    return _DEFAULTS[config.default_dtype_bits][int]


def default_uint() -> Dtype:
    """uint32, or uint64 by `config.default_dtype_bits`."""
    return np.dtype(uint32) if config.default_dtype_bits == 32 else np.dtype(uint64)


def default_float() -> Dtype:
    """float32, or float64 by `config.default_dtype_bits`: of Python floats, and of `zeros(3)`."""
    return _DEFAULTS[config.default_dtype_bits][float]


def default_complex() -> Dtype:
    """complex64, or complex128 by `config.default_dtype_bits`."""
    return _DEFAULTS[config.default_dtype_bits][complex]


_OF_DEFAULT_WIDTH: dict[Any, Callable[[], Dtype]] = {
    int: default_int,
    float: default_float,
    complex: default_complex,
    "int": default_int,
    "uint": default_uint,
    "float": default_float,
    "complex": default_complex,
}
_SCALAR_KINDS: dict[type, type] = {
    bool: bool,
    int: int,
    float: float,
    complex: complex,
    np.float64: float,
    np.complex128: complex,
}


def _scalar_kind(pytype: type) -> type | None:
    """bool, int, float or complex, whichever `pytype` is or derives from; else None."""
    kind = _SCALAR_KINDS.get(pytype)
    if kind is None:
        kind = next((k for k in (int, float, complex) if issubclass(pytype, k)), None)
    return kind


def scalar_dtype(pytype: type) -> Dtype:
    """The dtype of a Python scalar of type `pytype`: bool, or a default. Raises: DtypeError."""
    kind = _scalar_kind(pytype)
    if kind is None:
        raise DtypeError(f"dtype: must be a type of Python scalars, got {pytype.__name__}")
    return _DEFAULTS[config.default_dtype_bits][kind]


def weak_pair(x: Any) -> Pair:
    """The dtype of the value `x`, and whether it is weak.

    Weak are Python's int, float and complex, hence also `np.float64` and `np.complex128` scalars,
    which derive from them, and whatever says so by an attribute `weak_type`. A bool is never weak.
    Raises: DtypeError if `x` has no dtype.
    """
    kind = _SCALAR_KINDS.get(type(x))
    if kind is None:
        dtype = getattr(x, "dtype", None)
        if dtype is not None:
            return canonical(dtype), getattr(x, "weak_type", False)
        kind = _scalar_kind(type(x))
        if kind is None:
            raise DtypeError(f"dtype: must be a number or an array, got {_type_name(x)}")
    return _DEFAULTS[config.default_dtype_bits][kind], kind is not bool


def _type_name(x: Any) -> str:
    return f"a value of type {type(x).__name__}"


# Promotion

_Node: TypeAlias = Dtype | type  # the types int, float, complex are the nodes i*, f*, c*


def _edges(default_bits: int) -> dict[_Node, list[_Node]]:
    """The lattice: from each node to those just above it."""
    b, i8, i16, i32, i64 = map(np.dtype, (bool_, int8, int16, int32, int64))
    u8, u16, u32, u64 = map(np.dtype, (uint8, uint16, uint32, uint64))
    bf16, f16, f32, f64 = map(np.dtype, (bfloat16, float16, float32, float64))
    c64, c128 = map(np.dtype, (complex64, complex128))
    return {
        b: [int],
        int: [u8, i8, *map(np.dtype, _NARROW_INTS)],
        u8: [u16, i16],
        u16: [u32, i32],
        u32: [u64, i32 if default_bits == 32 else i64],
        u64: [float],
        i8: [i16],
        i16: [i32],
        i32: [i64],
        i64: [float],
        float: [bf16, f16, complex, *map(np.dtype, _FLOAT8)],
        bf16: [f32],
        f16: [f32],
        f32: [f64, c64],
        f64: [c128],
        complex: [c64],
        c64: [c128],
    }


def _upper_bounds(edges: dict[_Node, list[_Node]]) -> dict[_Node, frozenset[_Node]]:
    bounds: dict[_Node, frozenset[_Node]] = {}

    def visit(node: _Node) -> frozenset[_Node]:
        if node not in bounds:
            bounds[node] = frozenset({node}).union(*map(visit, edges.get(node, [])))
        return bounds[node]

    visit(np.dtype(bool))
    return bounds


_UPPER_BOUNDS = {bits: _upper_bounds(_edges(bits)) for bits in (32, 64)}
_WEAK_NODES: dict[type, _Node] = {
    np.bool_: np.dtype(bool),
    np.signedinteger: int,
    np.unsignedinteger: int,
    np.floating: float,
    np.complexfloating: complex,
}


def promote(a: Pair, b: Pair) -> Pair:
    """The dtype, and whether it is weak, of an operation on `a` and `b`.

    A weak int and a strong dtype give that dtype, but a weak float and a strong int give the
    default float, weakly: `int8 + 1.0` is then ready to meet a bfloat16 without widening it.
    Raises: DtypeError where the lattice has no upper bound.
    """
    return a if a == b else _by_default(*_join((a, b)))


def promote_all(pairs: Iterable[Pair]) -> Pair:
    """As `promote`, for one or more operands; their order does not matter."""
    return _by_default(*_join(tuple(pairs)))


def _by_default(at_32: Pair, at_64: Pair) -> Pair:
    return at_32 if at_32 is at_64 or config.default_dtype_bits == 32 else at_64


@functools.lru_cache(maxsize=8192)
def _join(pairs: tuple[Pair, ...]) -> tuple[Pair, Pair]:
    """What `pairs` promote to by a default of 32 and of 64 bits: one object where these agree."""
    at_32, at_64 = _join_with_default(32, pairs), _join_with_default(64, pairs)
    return (at_32, at_32) if at_32 == at_64 else (at_32, at_64)


def _join_with_default(bits: int, pairs: tuple[Pair, ...]) -> Pair:
    """The least upper bound; of weak dtypes alone as if they were strong, to keep their widths."""
    if not pairs:
        raise DtypeError("promote: there must be at least one dtype, got none")
    all_weak = all(weak for _, weak in pairs)
    dtypes = {dtype for dtype, _ in pairs}
    if len(dtypes) == 1:
        return dtypes.pop(), all_weak
    upper_bounds = _UPPER_BOUNDS[bits]
    if not dtypes <= upper_bounds.keys():
        raise _promotion_error(pairs)
    nodes = {
        _WEAK_NODES[_KINDS[dtype]] if weak and not all_weak else dtype for dtype, weak in pairs
    }
    common = frozenset.intersection(*(upper_bounds[node] for node in nodes))
    least = next((node for node in common if upper_bounds[node] == common), None)
    if least is None:
        raise _promotion_error(pairs)
    return (_DEFAULTS[bits][least], True) if isinstance(least, type) else (least, all_weak)


def _promotion_error(pairs: Iterable[Pair]) -> DtypeError:
    dtypes = {dtype for dtype, _ in pairs}
    if prng_key in dtypes:
        rule, hint = "random keys mix with no other dtype", "random.key_data(key) gives its words"
    elif float0 in dtypes:
        rule, hint = "float0 has no values", "it is only the tangent of integers and bools"
    elif not dtypes.isdisjoint(map(np.dtype, _NARROW_INTS)):
        rule, hint = "narrow integers do not promote implicitly", "cast with x.astype('int32')"
    else:
        rule, hint = "8-bit floats do not promote implicitly", "cast with x.astype('float32')"
    got = dict.fromkeys(("weak " if weak else "") + name(dtype) for dtype, weak in pairs)
    return DtypeError(f"promote: {rule}, got {' and '.join(got)}; {hint}")


def promote_types(a: DtypeLike, b: DtypeLike) -> Dtype:
    """The dtype to which `a` and `b` promote; int, float and complex, as Python types, are weak.

    >>> promote_types("int64", "float32"), promote_types("bfloat16", float)
    (dtype('float32'), dtype(bfloat16))
    """
    return promote(_dtype_pair(a), _dtype_pair(b))[0]


def result_type(*args: Any) -> Dtype:
    """The dtype to which all `args` promote: arrays, Python scalars, dtypes and names of dtypes.

    Raises: DtypeError as `promote` does, and without arguments.
    """
    return promote_all([_dtype_pair(x) if _names_dtype(x) else weak_pair(x) for x in args])[0]


def _names_dtype(x: Any) -> bool:
    return isinstance(x, (np.dtype, type, str)) or x is None


def _dtype_pair(dtype: DtypeLike) -> Pair:
    weak = dtype is int or dtype is float or dtype is complex
    return canonical(dtype), weak


# What kind of dtype


class _Kinds(dict[Any, type]):
    """From any spelling of a dtype to the NumPy class above it; what is not known is looked up."""

    def __missing__(self, dtype: DtypeLike) -> type:
        found = _numpy_dtype(dtype)
        if found is None:
            return self[canonical(dtype)]
        return self[found] if found in _CANONICAL else found.type


_KINDS = _Kinds(
    {
        **{s: k for k, dtypes in _KIND_MEMBERS.items() for d in dtypes for s in _spellings(d)},
        bool: np.bool_,
        int: np.signedinteger,
        float: np.floating,
        complex: np.complexfloating,
        float0: np.void,
        prng_key: np.void,
        "float0": np.void,
        "key<fry>": np.void,
    }
)
_INTEGERS = frozenset({np.signedinteger, np.unsignedinteger})
_INEXACT = frozenset({np.floating, np.complexfloating})
_NUMERIC = _INTEGERS | _INEXACT


def is_bool(dtype: DtypeLike) -> bool:
    """Whether `dtype` is bool."""
    return _KINDS[dtype] is np.bool_


def is_integer(dtype: DtypeLike) -> bool:
    """Whether `dtype` is an integer, signed or not, of any width."""
    return _KINDS[dtype] in _INTEGERS


def is_signed(dtype: DtypeLike) -> bool:
    """Whether `dtype` is a signed integer."""
    return _KINDS[dtype] is np.signedinteger


def is_unsigned(dtype: DtypeLike) -> bool:
    """Whether `dtype` is an unsigned integer."""
    return _KINDS[dtype] is np.unsignedinteger


def is_float(dtype: DtypeLike) -> bool:
    """Whether `dtype` is a real floating-point number, of any width."""
    return _KINDS[dtype] is np.floating


def is_complex(dtype: DtypeLike) -> bool:
    """Whether `dtype` is complex."""
    return _KINDS[dtype] is np.complexfloating


def is_inexact(dtype: DtypeLike) -> bool:
    """Whether `dtype` is real or complex floating-point: those that can be differentiated."""
    return _KINDS[dtype] in _INEXACT


def is_numeric(dtype: DtypeLike) -> bool:
    """Whether `dtype` is an integer, float or complex; bools are not."""
    return _KINDS[dtype] in _NUMERIC


def is_key(dtype: DtypeLike) -> bool:
    """Whether `dtype` is that of random keys."""
    return _CANONICAL.get(dtype) is prng_key


def is_float0(dtype: DtypeLike) -> bool:
    """Whether `dtype` is float0."""
    return _CANONICAL.get(dtype) is float0


def issubdtype(arg1: DtypeLike, arg2: DtypeLike) -> bool:
    """Whether dtype `arg1` is `arg2` or lies under NumPy's abstract class `arg2`, as np.floating.

    bfloat16 and the 8-bit floats lie under np.floating, the narrow integers under np.integer.
    Python's types mean 64 bits here, as in NumPy and JAX: float32 is no subdtype of float.
    """
    if arg2 in _ABSTRACT:
        return issubclass(arg1 if arg1 in _ABSTRACT else _KINDS[arg1], arg2)
    first, second = (_numpy_dtype(_CANONICAL.get(x, x)) for x in (arg1, arg2))
    return first is not None and first == second


_ISDTYPE_KINDS: dict[str, frozenset[type]] = {
    "bool": frozenset({np.bool_}),
    "signed integer": frozenset({np.signedinteger}),
    "unsigned integer": frozenset({np.unsignedinteger}),
    "integral": _INTEGERS,
    "real floating": frozenset({np.floating}),
    "complex floating": frozenset({np.complexfloating}),
    "numeric": _NUMERIC,
}


def isdtype(dtype: DtypeLike, kind: DtypeLike | tuple[DtypeLike, ...]) -> bool:
    """Whether `dtype` is of `kind`: a dtype, one of the kinds' names, or a tuple of those.

    The names are the array API's: bool, signed integer, unsigned integer, integral, real floating,
    complex floating, numeric. Raises: DtypeError for another name.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str) and kind in _ISDTYPE_KINDS:
        return _KINDS[dtype] in _ISDTYPE_KINDS[kind]
    if isinstance(kind, str) and kind not in _CANONICAL:
        raise DtypeError(
            f"isdtype: kind must be a dtype or one of {', '.join(_ISDTYPE_KINDS)}, got {kind!r}"
        )
    return canonical(dtype) == canonical(kind)


def can_cast(from_: Any, to: DtypeLike, casting: str = "safe") -> bool:
    """Whether NumPy's `casting` rule lets `from_`, a dtype or an array, become `to`.

    Raises: DtypeError for a Python scalar, whose dtype would depend on what it meets.
    """
    if isinstance(from_, int | float | complex) and not isinstance(from_, np.generic):
        raise DtypeError(f"can_cast: must be a dtype or an array, got {_type_name(from_)}")
    source = _dtype_of(from_)
    target = canonical(to)
    if source in (float0, prng_key) or target in (float0, prng_key):
        return source == target
    return np.can_cast(source, target, casting=casting)  # type: ignore[arg-type]


def finfo(dtype: Any) -> ml_dtypes.finfo:
    """The limits of a float dtype (of the parts of a complex one), or of an array's dtype.

    Attributes as NumPy's: bits, eps, max, min, smallest_normal, smallest_subnormal, dtype, ...
    Raises: DtypeError unless inexact.
    """
    dtype = _dtype_of(dtype)
    if not is_inexact(dtype):
        raise DtypeError(f"finfo: dtype must be inexact, got {name(dtype)}; iinfo takes integers")
    return _finfo(dtype)


def iinfo(int_type: Any) -> ml_dtypes.iinfo:
    """The limits (bits, min, max, dtype) of an integer dtype, or of an array's dtype.

    Raises: DtypeError unless an integer.
    """
    dtype = _dtype_of(int_type)
    if not is_integer(dtype):
        raise DtypeError(f"iinfo: dtype must be an integer, got {name(dtype)}; finfo takes floats")
    return _iinfo(dtype)


_finfo: Callable[[Dtype], ml_dtypes.finfo] = ml_dtypes.finfo  # which ml_dtypes does not annotate
_iinfo: Callable[[Dtype], ml_dtypes.iinfo] = ml_dtypes.iinfo


def _dtype_of(x: Any) -> Dtype:
    return canonical(x if _names_dtype(x) else getattr(x, "dtype", x))


# From one dtype to another

_TO_REAL: dict[Dtype, Dtype] = {
    np.dtype(complex64): np.dtype(float32),
    np.dtype(complex128): np.dtype(float64),
}
_TO_COMPLEX: dict[Dtype, Dtype] = {
    **{dtype: np.dtype(complex64) for dtype in _KIND_MEMBERS[np.floating]},
    np.dtype(float64): np.dtype(complex128),
    np.dtype(complex64): np.dtype(complex64),
    np.dtype(complex128): np.dtype(complex128),
}


def to_inexact(dtype: DtypeLike) -> Dtype:
    """`dtype` if inexact, else the default float: the dtype of `sqrt(x)` for any `x`.

    JAX looks at the integer instead: float64 of 64 bits, float32 of fewer, by either default.
    """
    return canonical(dtype) if is_inexact(dtype) else _checked_default(dtype, default_float)


def to_real(dtype: DtypeLike) -> Dtype:
    """The dtype of the real part: float32 of complex64, float64 of complex128, else `dtype`."""
    known = canonical(dtype)
    return _TO_REAL.get(known, known)


def to_complex(dtype: DtypeLike) -> Dtype:
    """The complex dtype that holds `dtype`: at least complex64, the default one for integers."""
    found = _TO_COMPLEX.get(canonical(dtype))
    return _checked_default(dtype, default_complex) if found is None else found


def _checked_default(dtype: DtypeLike, default: Callable[[], Dtype]) -> Dtype:
    if _KINDS[dtype] is np.void:
        raise DtypeError(f"dtype: must be bool or a number, got {name(dtype)}")
    return default()


def tangent_dtype(dtype: DtypeLike) -> Dtype:
    """The dtype of tangents: `dtype` itself if inexact, else float0."""
    if dtype == tape:
        return tape
    return canonical(dtype) if is_inexact(dtype) else float0


# Names

_SHORT_PREFIXES = {"uint": "u", "int": "i", "bfloat": "bf", "float": "f", "complex": "c"}


def _shorten(full: str) -> str:
    """float8_e4m3fn -> f8_e4m3fn; bool stays."""
    for long, short in _SHORT_PREFIXES.items():
        if full.startswith(long):
            return short + full.removeprefix(long)
    return full


_NAMES: dict[Any, str] = {
    **{dtype: dtype.name for dtype in _NUMBERS},
    float0: "float0",
    prng_key: "key<fry>",
    tape: "tape",
}
_SHORT_NAMES: dict[Any, str] = {
    **{dtype: _shorten(dtype.name) for dtype in _NUMBERS},
    float0: "float0",
    prng_key: "key<fry>",
    tape: "tape",
}


def name(dtype: DtypeLike) -> str:
    """The full name, as in error text: `float32`, `key<fry>`."""
    return _NAMES.get(dtype) or _NAMES[canonical(dtype)]


def short_name(dtype: DtypeLike) -> str:
    """The name as printed in jaxprs: `f32`, `bf16`, `f8_e4m3fn`, `key<fry>`."""
    return _SHORT_NAMES.get(dtype) or _SHORT_NAMES[canonical(dtype)]

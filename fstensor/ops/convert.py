"""Conversions: of dtype, between complex numbers and their parts, between devices."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import device as device_lib
from fstensor import dtypes
from fstensor.array import Array, ArrayLike, DtypeLike, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Value, primitive
from fstensor.core.scalar import (
    COMPUTED,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    STORED,
    UINT32,
    ScalarOps,
    V,
)
from fstensor.device import Device
from fstensor.errors import DtypeError, OptionError, ShapeError
from fstensor.ops.elementwise import neg
from fstensor.ops.families import (
    ANY,
    COMPLEX,
    FLOAT,
    NUMERIC,
    Binary,
    PerElement,
    Structural,
    Unary,
    binary,
    constant,
    unary,
    unbroadcast,
)
from fstensor.ops.shape import moveaxis


@final
@primitive("convert_element_type")
class ConvertElementType(Unary):
    """Elementwise conversion to another dtype. Complex to real drops the imaginary part."""

    new_dtype: np.dtype[Any]
    weak_type: bool

    takes = NUMERIC

    def abstract(self, *avals: ShapedArray) -> ShapedArray:
        self.takes.check(self.name, *avals)
        return ShapedArray(avals[0].shape, self.new_dtype, self.weak_type)

    def same_as(
        self, avals: tuple[ShapedArray, ...], literals: Sequence[Array | None]
    ) -> int | None:
        return 0 if avals[0] == self.abstract(*avals) else None

    def impl(self, xp: Any, x: Any) -> Any:
        if dtypes.is_complex(x.dtype) and not dtypes.is_complex(self.new_dtype):
            x = x.real if not dtypes.is_bool(self.new_dtype) else x != 0
        if dtypes.is_integer(self.new_dtype) and dtypes.is_float(x.dtype):
            return _to_integers(xp, x, self.new_dtype)
        return x.astype(self.new_dtype)

    def element(self, ops: ScalarOps[V], x: V) -> Any:
        target, kind = self.new_dtype, ops.dtype(x).kind
        if target not in STORED:
            return NotImplemented
        if target not in COMPUTED:
            return _rounded_to_half(ops, x, target)
        if target.kind == "b":
            return x if kind == "b" else ops.ne(x, ops.like(0, x))
        if kind == "f" and target.kind in "iu":
            return _to_integer(ops, x, target)
        return ops.convert(x, target)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        out = self.bind(*primals)
        if not dtypes.is_inexact(self.new_dtype):
            return out, ZERO
        return out, convert_element_type(tangents[0], self.new_dtype)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [convert_element_type(ct, x.aval.dtype)]


def _to_integers(xp: Any, x: Any, target: np.dtype[Any]) -> Any:
    """Floats rounded towards zero; what lies outside `target` gives its ends, and NaN gives 0."""
    if x.dtype.itemsize < 4:
        x = x.astype(np.float32)
    info = dtypes.iinfo(target)
    # The ends that floats represent exactly: the highest integer itself may not be one.
    below, above = x < float(info.min), x >= float(info.max + 1)
    whole = xp.where(below | above | (x != x), x.dtype.type(0), x).astype(target)
    whole = xp.where(above, xp.asarray(info.max, target), whole)
    return xp.where(below, xp.asarray(info.min, target), whole)


def _to_integer(ops: ScalarOps[V], x: V, target: np.dtype[Any]) -> V:
    """`_to_integers`, of one element."""
    info = np.iinfo(target)
    below = ops.lt(x, ops.like(float(info.min), x))
    above = ops.ge(x, ops.like(float(info.max + 1), x))
    unusual = ops.or_(ops.or_(below, above), ops.ne(x, x))
    whole = ops.convert(ops.select(unusual, ops.like(0, x), x), target)
    whole = ops.select(above, ops.constant(info.max, target), whole)
    return ops.select(below, ops.constant(info.min, target), whole)


def _rounded_to_half(ops: ScalarOps[V], x: V, target: np.dtype[Any]) -> V:
    """A number rounded to 16 bits, as float32."""
    wide = ops.dtype(x) == FLOAT64 and target == FLOAT16
    single = _rounded_to_odd(ops, x) if wide else ops.convert(x, FLOAT32)
    return ops.convert(ops.convert(single, target), FLOAT32)


def _rounded_to_odd(ops: ScalarOps[V], x: V) -> V:
    """The float32 beside the float64 `x` that ends in a set bit, unless `x` is a float32.

    So it is on no border between numbers of 16 bits where x is not: rounding it once more is
    rounding x. (S. Boldo, G. Melquiond, Emulation of FMA and correctly rounded sums, IEEE
    Transactions on Computers 57, 2008.)
    """
    near = ops.convert(x, FLOAT32)
    back, bits = ops.convert(near, FLOAT64), ops.bitcast(near, UINT32)
    one = ops.constant(1, UINT32)
    outside = ops.gt(ops.abs(back), ops.abs(x))
    bits = ops.select(outside, ops.sub(bits, one), bits)
    odd = ops.select(ops.ne(back, x), ops.or_(bits, one), bits)
    return ops.bitcast(odd, FLOAT32)


def convert_element_type(operand: ArrayLike, new_dtype: DtypeLike) -> Array:
    """Elementwise conversion to another dtype; the result is not weak.

    Complex to real drops the imaginary part. Floats to integers round towards zero; numbers beyond
    the integers' range give the nearest end of it, and NaN gives 0.
    """
    target = dtypes.canonical(new_dtype)
    # A Python float goes there directly, not by way of the default float.
    direct = type(operand) is float and dtypes.is_inexact(target)
    x = lift(operand, target) if direct else lift(operand)
    if x.dtype == target and not x.weak_type:
        return x
    return ConvertElementType(target, False).bind(x)


@final
@primitive("reduce_precision")
class ReducePrecision(Unary):
    """Elementwise rounding to the nearest float with fewer bits, in the dtype of the operand.

    Halves go to even; what is too large becomes infinite, and what is too small 0.
    """

    exponent_bits: int
    mantissa_bits: int

    takes = FLOAT
    reads_bits = True

    def abstract(self, *avals: ShapedArray) -> ShapedArray:
        if self.exponent_bits < 1 or self.mantissa_bits < 0:
            raise OptionError(
                "reduce_precision: exponent_bits must be positive and mantissa_bits not negative, "
                f"got {self.exponent_bits} and {self.mantissa_bits}"
            )
        out = super().abstract(*avals)
        if out.dtype.itemsize < 2:
            raise DtypeError(f"reduce_precision: takes floats of 16 bits or more, got {avals[0]}")
        return out

    def impl(self, xp: Any, x: Any) -> Any:
        """On the bits, where an overflow of the mantissa carries over into the exponent."""
        mantissa = dtypes.finfo(x.dtype).nmant
        exponent = 8 * x.dtype.itemsize - 1 - mantissa
        as_bits = np.dtype(f"u{x.dtype.itemsize}")

        def number(value: int) -> Any:
            return xp.asarray(value, as_bits)

        bits = x.view(as_bits)
        sign = bits & number(1 << (mantissa + exponent))
        size = bits & number((1 << (mantissa + exponent)) - 1)
        dropped = mantissa - self.mantissa_bits
        if dropped > 0:
            last = size >> number(dropped) & number(1)
            size = size + last + number((1 << (dropped - 1)) - 1)
            size = size >> number(dropped) << number(dropped)
        if self.exponent_bits < exponent:
            bias, narrow = (1 << (exponent - 1)) - 1, (1 << (self.exponent_bits - 1)) - 1
            infinity = number(((1 << exponent) - 1) << mantissa)
            size = xp.where(size >= number((bias + narrow + 1) << mantissa), infinity, size)
            size = xp.where(size < number((bias - narrow + 1) << mantissa), number(0), size)
        return xp.where(x != x, x, (sign | size).astype(as_bits).view(x.dtype))

    def element(self, ops: ScalarOps[V], x: V) -> V:
        dtype = ops.dtype(x)
        as_bits = np.dtype(f"u{dtype.itemsize}")
        mantissa = dtypes.finfo(dtype).nmant
        exponent = 8 * dtype.itemsize - 1 - mantissa

        def number(value: int) -> V:
            return ops.constant(value, as_bits)

        size = ops.bitcast(ops.abs(x), as_bits)
        dropped = mantissa - self.mantissa_bits
        if dropped > 0:
            last = ops.and_(ops.shr(size, number(dropped)), number(1))
            size = ops.add(size, ops.add(last, number((1 << (dropped - 1)) - 1)))
            size = ops.and_(size, number((1 << (8 * dtype.itemsize)) - (1 << dropped)))
        if self.exponent_bits < exponent:
            bias, narrow = (1 << (exponent - 1)) - 1, (1 << (self.exponent_bits - 1)) - 1
            infinity = number(((1 << exponent) - 1) << mantissa)
            too_large = ops.ge(size, number((bias + narrow + 1) << mantissa))
            too_small = ops.lt(size, number((bias - narrow + 1) << mantissa))
            size = ops.select(too_large, infinity, ops.select(too_small, number(0), size))
        rounded = ops.copysign(ops.bitcast(size, dtype), x)
        return ops.select(ops.ne(x, x), x, rounded)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return self.bind(t)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [self.bind(ct)]


def reduce_precision(operand: ArrayLike, exponent_bits: int, mantissa_bits: int) -> Array:
    """Elementwise rounding to a float format with fewer bits, in the dtype of `operand`.

    exponent_bits, mantissa_bits: those of the format; more than the dtype has are no restriction.
        Halves go to even. The format has no subnormal numbers: they become 0, with their sign.
    Dtypes: float. Tangents and cotangents are rounded in the same way.
    Raises: OptionError unless exponent_bits > 0 and mantissa_bits >= 0; DtypeError.
    """
    bits = operator.index(exponent_bits), operator.index(mantissa_bits)
    return ReducePrecision(*bits).bind(operand)


@final
@primitive("bitcast_convert_type")
class BitcastConvertType(PerElement):
    """The same bits read as another dtype; a difference in width becomes a last axis."""

    new_dtype: np.dtype[Any]

    reads_bits = True

    def abstract(self, *avals: ShapedArray) -> ShapedArray:
        (x,) = avals
        NUMERIC.check(self.name, x)
        if x.dtype == self.new_dtype:
            return x.strong
        if not (_has_plain_bits(x.dtype) and _has_plain_bits(self.new_dtype)):
            raise DtypeError(
                "bitcast_convert_type: takes integers and floats of whole bytes, "
                f"got {x} to {dtypes.name(self.new_dtype)}"
            )
        old, new = x.dtype.itemsize, self.new_dtype.itemsize
        if new < old:
            return ShapedArray((*x.shape, old // new), self.new_dtype)
        if new == old:
            return ShapedArray(x.shape, self.new_dtype)
        if not x.shape or x.shape[-1] * old != new:
            raise ShapeError(
                f"bitcast_convert_type: the last axis must have size {new // old} to become one "
                f"{dtypes.name(self.new_dtype)}, got {x}"
            )
        return ShapedArray(x.shape[:-1], self.new_dtype)

    def impl(self, xp: Any, x: Any) -> Any:
        old, new = x.dtype.itemsize, self.new_dtype.itemsize
        if new == old:
            return x.view(self.new_dtype)
        if new < old:
            rows = xp.array(x, order="C").reshape((*x.shape, 1))
            return rows.view(self.new_dtype)
        # A copy, since what is aligned for narrow numbers may not be so for wide ones.
        return xp.array(x, order="C").view(self.new_dtype).reshape(x.shape[:-1])

    def element(self, ops: ScalarOps[V], x: V) -> Any:
        if ops.dtype(x).itemsize != self.new_dtype.itemsize or self.new_dtype not in COMPUTED:
            return NotImplemented
        return ops.bitcast(x, self.new_dtype)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), ZERO

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        return self.bind(moveaxis(args[0], dims[0], 0)), 0


def _has_plain_bits(dtype: np.dtype[Any]) -> bool:
    if dtypes.is_integer(dtype):
        return dtypes.iinfo(dtype).bits >= 8
    return dtypes.is_float(dtype)


def bitcast_convert_type(operand: ArrayLike, new_dtype: DtypeLike) -> Array:
    """The bits of `operand` read as another dtype, in this machine's byte order; no derivative.

    Shapes: the same for dtypes of one width. To a narrower dtype, a last axis is added that holds
    the parts of each number, the lowest first; to a wider one, such a last axis is dropped.
    Dtypes: integers and floats; bool and complex only to themselves.
    Raises: DtypeError; ShapeError when the last axis does not make up one wider number.
    """
    return BitcastConvertType(dtypes.canonical(new_dtype)).bind(operand)


@final
@primitive("real")
class Real(Unary):
    """Elementwise real part of complex numbers."""

    takes = COMPLEX

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return dtypes.to_real(dtype)

    def impl(self, xp: Any, x: Any) -> Any:
        return x.real.copy()

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return real(t)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [complex(ct, constant(0, ct))]


@final
@primitive("imag")
class Imag(Unary):
    """Elementwise imaginary part of complex numbers."""

    takes = COMPLEX

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return dtypes.to_real(dtype)

    def impl(self, xp: Any, x: Any) -> Any:
        return x.imag.copy()

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return imag(t)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [complex(constant(0, ct), neg(ct))]


@final
@primitive("complex")
class Complex(Binary):
    """Elementwise x + iy of real x and y."""

    takes = FLOAT

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return dtypes.to_complex(dtype)

    def impl(self, xp: Any, x: Any, y: Any) -> Any:
        out = xp.empty(np.broadcast_shapes(x.shape, y.shape), dtypes.to_complex(x.dtype))
        out.real = x
        out.imag = y
        return out

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return complex(t, constant(0, t))

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Array:
        return complex(constant(0, t), t)

    def transpose(self, ct: Array, x: Value, y: Value) -> Sequence[Value]:
        return [
            unbroadcast(real(ct), x) if isinstance(x, Linear) else None,
            unbroadcast(imag(neg(ct)), y) if isinstance(y, Linear) else None,
        ]


@final
@primitive("conj")
class Conj(Unary):
    """Elementwise complex conjugate."""

    takes = COMPLEX

    def impl(self, xp: Any, x: Any) -> Any:
        return xp.conj(x)

    def derive(self, t: Array, out: Array, x: Array) -> Array:
        return conj(t)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [conj(ct)]


real = unary(Real)
imag = unary(Imag)
complex = binary(Complex)
conj = unary(Conj)


@final
@primitive("stop_gradient")
class StopGradient(Unary):
    """The operand itself, as a constant to differentiation."""

    takes = ANY

    def impl(self, xp: Any, x: Any) -> Any:
        return x

    def element(self, ops: ScalarOps[V], x: V) -> V:
        return x

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), ZERO


@final
@primitive("device_put")
class DevicePut(Structural):
    """The operand on another device."""

    device: Device

    def abstract(self, x: ShapedArray) -> ShapedArray:
        return x

    def impl(self, xp: Any, x: Any) -> Any:
        return device_lib.move(x, self.device)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [ct]

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, Any]:
        return self.bind(*args), dims[0]

"""Conversions: of dtype, between complex numbers and their parts, between devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from fstensor import device as device_lib
from fstensor import dtypes
from fstensor.array import Array, ArrayLike, DtypeLike, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Value, primitive
from fstensor.device import Device
from fstensor.ops.elementwise import neg
from fstensor.ops.families import (
    ANY,
    COMPLEX,
    FLOAT,
    NUMERIC,
    Binary,
    Structural,
    Unary,
    binary,
    constant,
    unary,
    unbroadcast,
)


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

    def impl(self, xp: Any, x: Any) -> Any:
        if dtypes.is_complex(x.dtype) and not dtypes.is_complex(self.new_dtype):
            x = x.real if not dtypes.is_bool(self.new_dtype) else x != 0
        return x.astype(self.new_dtype)

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        out = self.bind(*primals)
        if not dtypes.is_inexact(self.new_dtype):
            return out, ZERO
        return out, convert_element_type(tangents[0], self.new_dtype)

    def transpose(self, ct: Array, x: Value) -> Sequence[Value]:
        return [convert_element_type(ct, x.aval.dtype)]


def convert_element_type(x: ArrayLike, new_dtype: DtypeLike) -> Array:
    """Elementwise conversion to another dtype; the result is not weak.

    Complex to real drops the imaginary part. Floats to integers round towards zero.
    """
    x, target = lift(x), dtypes.canonical(new_dtype)
    if x.dtype == target and not x.weak_type:
        return x
    return ConvertElementType(target, False).bind(x)


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
        out = xp.empty(xp.broadcast(x, y).shape, dtypes.to_complex(x.dtype))
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

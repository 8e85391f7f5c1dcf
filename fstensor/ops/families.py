"""What families of primitives share: checks of shapes and dtypes, and the rules that follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from fstensor import dtypes, ops
from fstensor.array import Array, ArrayLike, lift
from fstensor.core.aval import ShapedArray
from fstensor.core.primitive import ZERO, Linear, MappedAxis, Primitive, Value
from fstensor.core.scalar import BINARY, BOOL, COMPARISONS, COMPUTED, UNARY, ScalarOps, V
from fstensor.errors import DtypeError, ShapeError


class Kind:
    """A set of dtypes that an operation takes, with the words for it."""

    def __init__(self, words: str, contains: Callable[[np.dtype[Any]], bool]) -> None:
        self.words = words
        self.contains = contains

    def check(self, what: str, *avals: ShapedArray) -> None:
        """Raises DtypeError naming `what` when a dtype is outside."""
        for aval in avals:
            if not self.contains(aval.dtype):
                raise DtypeError(f"{what}: takes {self.words}, got {aval}; convert with astype")


ANY = Kind("any dtype", lambda d: True)
NUMERIC = Kind("a numeric dtype", lambda d: dtypes.is_numeric(d) or dtypes.is_bool(d))
NUMBER = Kind("an integer, float or complex dtype", dtypes.is_numeric)
INEXACT = Kind("a float or complex dtype", dtypes.is_inexact)
FLOAT = Kind("a float dtype", dtypes.is_float)
COMPLEX = Kind("a complex dtype", dtypes.is_complex)
INTEGER = Kind("an integer dtype", dtypes.is_integer)
BITS = Kind("an integer or bool dtype", lambda d: dtypes.is_integer(d) or dtypes.is_bool(d))
ORDERED = Kind(
    "an integer, float or bool dtype",
    lambda d: not dtypes.is_complex(d) and (dtypes.is_numeric(d) or dtypes.is_bool(d)),
)


def check_same_dtype(what: str, avals: Sequence[ShapedArray]) -> np.dtype[Any]:
    first = avals[0].dtype
    if any(a.dtype != first for a in avals):
        got = " and ".join(map(str, avals))
        raise DtypeError(
            f"{what}: dtypes must be equal, got {got}; convert with astype, "
            "or use fstensor.numpy, which promotes"
        )
    return first


def broadcast_shape(what: str, avals: Sequence[ShapedArray]) -> tuple[int, ...]:
    """The shape of an elementwise result: scalars go with any shape, axes of size 1 stretch."""
    shapes = {a.shape for a in avals if a.shape}
    if len(shapes) <= 1:
        return next(iter(shapes), ())
    sizes = [{n for n in column if n != 1} for column in zip(*shapes, strict=False)]
    if len({len(s) for s in shapes}) > 1 or any(len(s) > 1 for s in sizes):
        got = " and ".join(map(str, avals))
        raise ShapeError(
            f"{what}: shapes must agree, got {got}; "
            "axes of size 1 stretch, other sizes must be equal"
        )
    return tuple([s.pop() if s else 1 for s in sizes])


def unbroadcast(ct: Array, arg: Linear) -> Array:
    """Sum `ct` over the axes along which an elementwise operation stretched `arg`."""
    if ct.shape == arg.shape:
        return ct
    if not arg.shape:
        return ops.reduce.reduce_sum(ct, tuple(range(ct.ndim)))
    axes = tuple([i for i, n in enumerate(arg.shape) if n != ct.shape[i]])
    return ops.shape.reshape(ops.reduce.reduce_sum(ct, axes), arg.shape)


class PerElement(Primitive):
    """An operation whose result has each element from one element of each operand."""

    # The operation of `ScalarOps` that it is, where it is a single one.
    scalar_op: ClassVar[str] = ""
    # Whether the bits of operands count, so that no float can stand for one of another width.
    reads_bits: ClassVar[bool] = False

    def lower(self, ops: ScalarOps[V], *args: V) -> Any:
        """One element of the result from one of each operand, in the vocabulary of kernels.

        NotImplemented where there is no such form for these dtypes: then `impl` is called between
        compiled parts. Floats of 16 bits come and go as float32, unless `reads_bits`.
        """
        if any(ops.dtype(x) not in COMPUTED for x in args):
            return NotImplemented
        return self.element(ops, *args)

    def element(self, ops: ScalarOps[V], *args: V) -> Any:
        """`lower`, for operands of the dtypes of arithmetic."""
        return apply_scalar_op(ops, self.scalar_op, *args) if self.scalar_op else NotImplemented


# Bools add and multiply as truth values.
_OF_BOOLS = {"add": "or", "mul": "and", "max": "or", "min": "and"}


def apply_scalar_op(ops: ScalarOps[V], name: str, *args: V) -> V:
    """The operation of `ScalarOps` that has this name in one of its tables."""
    if ops.dtype(args[0]) == BOOL:
        name = _OF_BOOLS.get(name, name)
    if name in UNARY:
        return ops.unary(name, *args)
    if name in BINARY:
        return ops.binary(name, *args)
    if name in COMPARISONS:
        return ops.compare(name, *args)
    return ops.elementary(name, *args)


class Elementwise(PerElement):
    """A function of scalars, applied to each element.

    Operands have one dtype; their shapes are equal up to axes of size 1 and scalars, which
    stretch. A subclass gives `impl` and, where it is differentiable, `tangent`.
    """

    takes: ClassVar[Kind] = NUMERIC

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return dtype

    def abstract(self, *avals: ShapedArray) -> ShapedArray:
        self.takes.check(self.name, *avals)
        dtype = check_same_dtype(self.name, avals)
        weak = all(a.weak_type for a in avals)
        result = self.result_dtype(dtype)
        return ShapedArray(
            broadcast_shape(self.name, avals), result, weak and not dtypes.is_bool(result)
        )

    def on_numpy(self, *avals: ShapedArray) -> Callable[..., Any]:
        dtype = avals[0].dtype
        if self.elementwise_ufunc and dtype.kind in "fc" and dtype.isbuiltin == 1:
            return getattr(np, self.elementwise_ufunc)
        return super().on_numpy(*avals)

    def tangent(self, i: int, t: Array, out: Array, *args: Value) -> Value:
        """The part of the output's tangent that comes from the tangent `t` of operand `i`."""
        raise self._missing("tangent", "differentiation")

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        out = self.bind(*primals)
        total: Value = ZERO
        for i, t in enumerate(tangents):
            if t is ZERO:
                continue
            part = self.tangent(i, t, out, *primals)
            if part is not ZERO:
                part = ops.shape.stretch(part, out.shape)
                total = part if total is ZERO else ops.elementwise.add_any(total, part)
        return out, total

    def batch(
        self, axis: MappedAxis, args: Sequence[Value], dims: Sequence[int | None]
    ) -> tuple[Any, int]:
        batched = {(x.ndim, d) for x, d in zip(args, dims, strict=True) if d is not None}
        if len(batched) == 1 and all(
            d is not None or x.ndim == 0 for x, d in zip(args, dims, strict=True)
        ):
            return self.bind(*args), next(iter(batched))[1]
        rank = max(x.ndim - (d is not None) for x, d in zip(args, dims, strict=True))
        return self.bind(*[_align(x, d, rank) for x, d in zip(args, dims, strict=True)]), 0


def _align(x: Array, dim: int | None, rank: int) -> Array:
    """With the batch in front and `rank` axes behind it, scalars left alone."""
    if dim is None:
        return ops.shape.expand_dims(x, (0,)) if x.ndim else x
    x = ops.shape.moveaxis(x, dim, 0)
    missing = rank - (x.ndim - 1)
    return ops.shape.expand_dims(x, tuple(range(1, 1 + missing))) if missing else x


class Unary(Elementwise):
    """An elementwise function of one operand: its tangent is `derive(t, out, x)`."""

    def derive(self, t: Array, out: Array, x: Array) -> Value:
        raise self._missing("derive", "differentiation")

    def tangent(self, i: int, t: Array, out: Array, *args: Value) -> Value:
        return self.derive(t, out, args[0])


class Binary(Elementwise):
    """An elementwise function of two operands; `derive_x` and `derive_y` give its tangent."""

    def derive_x(self, t: Array, out: Array, x: Array, y: Array) -> Value:
        raise self._missing("derive_x", "differentiation")

    def derive_y(self, t: Array, out: Array, x: Array, y: Array) -> Value:
        raise self._missing("derive_y", "differentiation")

    def tangent(self, i: int, t: Array, out: Array, *args: Value) -> Value:
        return (self.derive_y if i else self.derive_x)(t, out, args[0], args[1])


class Discrete(Elementwise):
    """An elementwise function that is constant between jumps: its tangent is zero."""

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), ZERO


class Comparison(Discrete):
    """A relation of two operands; the result is bool."""

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(bool)


class Structural(Primitive):
    """A linear rearrangement of the elements of one operand."""

    def jvp(self, primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Any, Any]:
        return self.bind(*primals), self.bind(*tangents)


def is_real_literal(x: Array | None, value: int) -> bool:
    """Whether an operand of `same_as` is this number, of a real dtype."""
    return x is not None and not dtypes.is_complex(x.dtype) and bool(np.asarray(x) == value)


def constant(value: complex, like: Array | ShapedArray) -> Array:
    """A scalar of the dtype of `like`, for use in a rule."""
    return lift(value, like.dtype)


def unary(cls: type[Elementwise]) -> Callable[[ArrayLike], Array]:
    """The function that applies a primitive of one operand, with its class's docstring."""
    apply = cls()

    def function(x: ArrayLike) -> Array:
        return apply.bind(x)

    return _named_for(cls, function)


def binary(cls: type[Elementwise]) -> Callable[[ArrayLike, ArrayLike], Array]:
    """The function that applies a primitive of two operands.

    A Python scalar takes the dtype of the other operand, as in `add(x, 1)`.
    """
    apply = cls()

    def function(x: ArrayLike, y: ArrayLike) -> Array:
        if isinstance(x, Array):
            if not isinstance(y, Array):
                y = beside(y, x, cls.name)
        elif isinstance(y, Array):
            x = beside(x, y, cls.name)
        return apply.bind(x, y)

    return _named_for(cls, function)


def beside(scalar: ArrayLike, other: Array, what: str) -> Array:
    """`scalar` as an operand of `what` next to `other`, whose dtype a Python scalar takes."""
    if isinstance(scalar, Array):
        return scalar
    is_scalar = isinstance(scalar, (bool, int, float, complex))
    return lift(scalar, other.dtype if is_scalar else None, what)


def _named_for(cls: type[Primitive], function: Callable[..., Array]) -> Callable[..., Array]:
    function.__name__ = function.__qualname__ = cls.name
    function.__module__ = cls.__module__
    function.__doc__ = cls.__doc__
    return function

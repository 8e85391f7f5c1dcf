"""Array: the one type that users meet, concrete or traced.

`Array` holds every operator, method and property. `ConcreteArray` below wraps a NumPy or CuPy
buffer; `core.trace.Tracer` stands for a value that a transform is following. Methods are the
functions of `fstensor.numpy`, which hands itself to `serve_methods_from` once it is loaded, so that
this file stays below it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, final

import numpy as np

from fstensor import device as device_lib
from fstensor import dtypes
from fstensor.core import memory, scalars
from fstensor.core.aval import ShapedArray
from fstensor.core.state import state
from fstensor.device import Device
from fstensor.errors import (
    ArgumentError,
    AxisError,
    ConcretizationTypeError,
    DeletedArrayError,
    ImmutableArrayError,
    OptionError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
)

if TYPE_CHECKING:
    from fstensor import numpy as fnp
    from fstensor.numpy.at import At

Axis: TypeAlias = int | Sequence[int] | None
Scalar: TypeAlias = scalars.Scalar
ArrayLike: TypeAlias = "Array | np.ndarray[Any, Any] | np.generic | Scalar"
DtypeLike: TypeAlias = Any  # what dtypes.canonical accepts; np.typing.DTypeLike lacks ours

_SCALARS = (bool, int, float, complex)


def serve_methods_from(
    namespace: ModuleType, eager: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    """Take the functions behind methods and operators from `namespace`.

    eager: a decorator that makes calls with concrete arrays cheap. Operators are worth it.
    """
    globals()["fnp"] = namespace
    for name in _OPERATORS:
        setattr(ConcreteArray, name, eager(getattr(Array, name)))


def _binary(name: str) -> Callable[[Array, Any], Array]:
    def method(self: Array, other: Any) -> Array:
        if isinstance(other, _OPERANDS):
            return getattr(fnp, name)(self, other)
        return NotImplemented

    return method


def _reflected(name: str) -> Callable[[Array, Any], Array]:
    def method(self: Array, other: Any) -> Array:
        if isinstance(other, _OPERANDS):
            return getattr(fnp, name)(other, self)
        return NotImplemented

    return method


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul")
_OF_BITS = ("and", "or", "xor", "lshift", "rshift")
_OPERATORS = [f"__{prefix}{name}__" for prefix in ("", "r") for name in _ARITHMETIC + _OF_BITS]
_OPERATORS += [f"__{n}__" for n in ("neg", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne")]


def _in_place(name: str, instead: str) -> Callable[..., NoReturn]:
    def method(self: Array, *args: Any, **kwargs: Any) -> NoReturn:
        raise ImmutableArrayError(
            f"{name}: arrays are immutable, got x.{name}(...) on {self.aval}; use {instead}"
        )

    method.__name__ = name
    method.__doc__ = f"Raises ImmutableArrayError, since it would write; use {instead}."
    return method


class Array:
    """An immutable array: a value to compute with, concrete or traced.

    Make one with `fstensor.numpy.array`, `zeros` and their kin. Operators broadcast as NumPy's do
    and promote dtypes by `fstensor.dtypes`. `x.at[i].set(v)` and its siblings give changed copies.
    """

    __slots__ = ("__weakref__",)
    __hash__ = None  # type: ignore[assignment]  # as ndarray: == is elementwise
    __array_priority__ = 100

    aval: ShapedArray

    def __init__(self) -> None:
        raise ArgumentError("Array: is not made by calling its class; use fstensor.numpy.array")

    def concretize(self, error: type[ConcretizationTypeError], what: str) -> Any:
        """The buffer of a concrete value; a tracer without one raises `error`."""
        raise TypeError("abstract")

    # Properties

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.aval.dtype

    @property
    def weak_type(self) -> bool:
        """Whether the dtype gives way to that of any other operand, as a Python scalar's does."""
        return self.aval.weak_type

    @property
    def ndim(self) -> int:
        return len(self.aval.shape)

    @property
    def size(self) -> int:
        return self.aval.size

    @property
    def itemsize(self) -> int:
        return self.aval.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.aval.size * self.aval.dtype.itemsize

    @property
    def T(self) -> Array:
        return fnp.transpose(self)

    @property
    def mT(self) -> Array:
        return fnp.matrix_transpose(self)

    @property
    def real(self) -> Array:
        return fnp.real(self)

    @property
    def imag(self) -> Array:
        return fnp.imag(self)

    @property
    def flat(self) -> Iterator[Array]:
        """An iterator over the elements in row-major order."""
        return iter(fnp.ravel(self))

    @property
    def at(self) -> At:
        """Functional updates: `x.at[i].set(v)`, and likewise add, multiply, min, max, get."""
        return fnp.At(self)

    # Operators

    __add__, __radd__ = _binary("add"), _reflected("add")
    __sub__, __rsub__ = _binary("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _binary("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _binary("true_divide"), _reflected("true_divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide"), _reflected("floor_divide")
    __mod__, __rmod__ = _binary("remainder"), _reflected("remainder")
    __divmod__, __rdivmod__ = _binary("divmod"), _reflected("divmod")
    __rpow__ = _reflected("power")
    __matmul__, __rmatmul__ = _binary("matmul"), _reflected("matmul")
    __and__, __rand__ = _binary("bitwise_and"), _reflected("bitwise_and")
    __or__, __ror__ = _binary("bitwise_or"), _reflected("bitwise_or")
    __xor__, __rxor__ = _binary("bitwise_xor"), _reflected("bitwise_xor")
    __lshift__, __rlshift__ = _binary("left_shift"), _reflected("left_shift")
    __rshift__, __rrshift__ = _binary("right_shift"), _reflected("right_shift")
    __lt__, __le__ = _binary("less"), _binary("less_equal")
    __gt__, __ge__ = _binary("greater"), _binary("greater_equal")
    __eq__ = _binary("equal")  # type: ignore[assignment]  # elementwise, as ndarray
    __ne__ = _binary("not_equal")  # type: ignore[assignment]  # likewise

    def __pow__(self, other: Any, modulo: None = None) -> Array:
        if modulo is not None:
            raise ArgumentError("pow: the three-argument form is not defined for arrays")
        return fnp.power(self, other) if isinstance(other, _OPERANDS) else NotImplemented

    def __neg__(self) -> Array:
        return fnp.negative(self)

    def __pos__(self) -> Array:
        return fnp.positive(self)

    def __abs__(self) -> Array:
        return fnp.abs(self)

    def __invert__(self) -> Array:
        return fnp.invert(self)

    def __round__(self, ndigits: int | None = None) -> Array:
        return fnp.round(self, 0 if ndigits is None else ndigits)

    # Conversion to Python

    def __bool__(self) -> bool:
        what = "the truth value of"
        return bool(self.concretize(TracerBoolConversionError, what))

    def __int__(self) -> int:
        return int(self.concretize(ConcretizationTypeError, "int() of").item())

    def __float__(self) -> float:
        return float(self.concretize(ConcretizationTypeError, "float() of").item())

    def __complex__(self) -> complex:
        return complex(self.concretize(ConcretizationTypeError, "complex() of").item())

    def __index__(self) -> int:
        value = self.concretize(TracerIntegerConversionError, "a Python index made of")
        if self.ndim or not (dtypes.is_integer(self.dtype)):
            raise ArgumentError(f"index: only integer scalars can be an index, got {self.aval}")
        return operator.index(value.item())

    def __len__(self) -> int:
        if not self.aval.shape:
            raise ArgumentError(f"len: a 0-d array has no length, got {self.aval}")
        return self.aval.shape[0]

    def __iter__(self) -> Iterator[Array]:
        if not self.aval.shape:
            raise ArgumentError(f"iter: a 0-d array cannot be iterated over, got {self.aval}")
        return (self[i] for i in range(self.aval.shape[0]))

    def __contains__(self, value: object) -> bool:
        return bool(fnp.any(self == value))

    def item(self, *args: int) -> Any:
        """The one element, or that at `args`, as a Python scalar."""
        return self.concretize(ConcretizationTypeError, "item() of").item(*args)

    def tolist(self) -> Any:
        return self.concretize(ConcretizationTypeError, "tolist() of").tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        return self.concretize(ConcretizationTypeError, "tobytes() of").tobytes(order)

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        value = self.concretize(ConcretizationTypeError, f"the format {spec!r} of")
        return format(value.item() if self.ndim == 0 else np.asarray(self), spec)

    # NumPy's protocols

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """A read-only view of the values, without a copy on the CPU unless one is asked for."""
        buffer = self.concretize(TracerArrayConversionError, "the NumPy array of")
        if dtypes.is_key(self.dtype):
            raise ArgumentError("random key: is not a number array; see random.key_data")
        values = device_lib.move(buffer, device_lib.CPU)
        if dtype is not None and values.dtype != np.dtype(dtype):
            return values.astype(dtype)
        if copy:
            return values.copy()
        view = values.view()
        view.flags.writeable = False
        return view

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return fnp.dispatch_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return fnp.dispatch_function(func, args, kwargs)

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        return fnp.array_namespace(api_version)

    def __dlpack__(self, **kwargs: Any) -> Any:
        """A read-only view; a copy for consumers that know nothing of read-only arrays."""
        buffer = self.concretize(ConcretizationTypeError, "the DLPack capsule of")
        if isinstance(buffer, np.ndarray):
            # Read-only memory can be told apart since DLPack 1.0.
            knows_read_only = (kwargs.get("max_version") or (0, 0)) >= (1, 0)
            if knows_read_only or kwargs.get("copy") is False:
                buffer = buffer.view()
                buffer.flags.writeable = False
            else:
                buffer = buffer.copy()
        return buffer.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[Any, Any]:
        buffer = self.concretize(ConcretizationTypeError, "the DLPack device of")
        return buffer.__dlpack_device__()

    # Indexing

    def __getitem__(self, index: Any) -> Array:
        return fnp.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ImmutableArrayError(
            f"array assignment: arrays are immutable, got x[...] = value on {self.aval}; "
            "use x = x.at[...].set(value)"
        )

    def __delitem__(self, index: Any) -> NoReturn:
        raise ImmutableArrayError(
            f"array deletion: arrays are immutable, got del x[...] on {self.aval}; "
            "use fstensor.numpy.concatenate of the parts to keep"
        )

    # Methods of ndarray that write into it

    fill = _in_place("fill", "fstensor.numpy.full_like(x, value)")
    put = _in_place("put", "x.ravel().at[indices].set(values).reshape(x.shape)")
    resize = _in_place("resize", "fstensor.numpy.resize(x, shape)")
    itemset = _in_place("itemset", "x.at[index].set(value)")
    setflags = _in_place("setflags", "numpy.array(x) for an ndarray that can be written into")

    # Methods, in NumPy's order of parameters

    def all(self, axis: Axis = None, keepdims: bool = False) -> Array:
        return fnp.all(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Array:
        return fnp.any(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Array:
        return fnp.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Array:
        return fnp.argmin(self, axis=axis, keepdims=keepdims)

    def argpartition(self, kth: int | Sequence[int], axis: int | None = -1) -> Array:
        return fnp.argpartition(self, kth, axis)

    def argsort(
        self, axis: int | None = -1, *, stable: bool = True, descending: bool = False
    ) -> Array:
        return fnp.argsort(self, axis=axis, stable=stable, descending=descending)

    def astype(self, dtype: DtypeLike, copy: bool = False) -> Array:
        return fnp.astype(self, dtype, copy=copy)

    def choose(
        self, choices: Sequence[ArrayLike] | Array, out: None = None, mode: str = "raise"
    ) -> Array:
        return fnp.choose(self, choices, out, mode)

    def clip(self, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Array:
        return fnp.clip(self, min, max)

    def compress(self, condition: ArrayLike, axis: int | None = None, **kwargs: Any) -> Array:
        return fnp.compress(condition, self, axis, **kwargs)

    def conj(self) -> Array:
        return fnp.conj(self)

    def conjugate(self) -> Array:
        return fnp.conj(self)

    def copy(self) -> Array:
        return fnp.copy(self)

    def cumprod(self, axis: int | None = None, dtype: DtypeLike = None) -> Array:
        return fnp.cumprod(self, axis=axis, dtype=dtype)

    def cumsum(self, axis: int | None = None, dtype: DtypeLike = None) -> Array:
        return fnp.cumsum(self, axis=axis, dtype=dtype)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
        return fnp.diagonal(self, offset, axis1, axis2)

    def dot(self, other: ArrayLike) -> Array:
        return fnp.dot(self, other)

    def flatten(self) -> Array:
        return fnp.ravel(self)

    def max(self, axis: Axis = None, keepdims: bool = False, **kwargs: Any) -> Array:
        return fnp.max(self, axis=axis, keepdims=keepdims, **kwargs)

    def mean(
        self, axis: Axis = None, dtype: DtypeLike = None, keepdims: bool = False, **kwargs: Any
    ) -> Array:
        return fnp.mean(self, axis=axis, dtype=dtype, keepdims=keepdims, **kwargs)

    def min(self, axis: Axis = None, keepdims: bool = False, **kwargs: Any) -> Array:
        return fnp.min(self, axis=axis, keepdims=keepdims, **kwargs)

    def nonzero(self) -> tuple[Array, ...]:
        return fnp.nonzero(self)

    def partition(self, kth: int | Sequence[int], axis: int | None = -1) -> Array:
        """A partitioned copy: unlike `ndarray.partition`, which works in place."""
        return fnp.partition(self, kth, axis)

    def prod(
        self, axis: Axis = None, dtype: DtypeLike = None, keepdims: bool = False, **kwargs: Any
    ) -> Array:
        return fnp.prod(self, axis=axis, dtype=dtype, keepdims=keepdims, **kwargs)

    def ptp(self, axis: Axis = None, keepdims: bool = False) -> Array:
        return fnp.ptp(self, axis=axis, keepdims=keepdims)

    def ravel(self) -> Array:
        return fnp.ravel(self)

    def repeat(self, repeats: int | Sequence[int], axis: int | None = None) -> Array:
        return fnp.repeat(self, repeats, axis=axis)

    def reshape(self, *shape: Any) -> Array:
        return fnp.reshape(self, shape[0] if len(shape) == 1 else shape)

    def round(self, decimals: int = 0) -> Array:
        return fnp.round(self, decimals)

    def searchsorted(self, v: ArrayLike, side: str = "left") -> Array:
        return fnp.searchsorted(self, v, side=side)

    def sort(
        self, axis: int | None = -1, *, stable: bool = True, descending: bool = False
    ) -> Array:
        """A sorted copy: unlike `ndarray.sort`, which sorts in place."""
        return fnp.sort(self, axis=axis, stable=stable, descending=descending)

    def squeeze(self, axis: Axis = None) -> Array:
        return fnp.squeeze(self, axis=axis)

    def std(
        self,
        axis: Axis = None,
        dtype: DtypeLike = None,
        ddof: int = 0,
        keepdims: bool = False,
        **kwargs: Any,
    ) -> Array:
        return fnp.std(self, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims, **kwargs)

    def sum(
        self, axis: Axis = None, dtype: DtypeLike = None, keepdims: bool = False, **kwargs: Any
    ) -> Array:
        return fnp.sum(self, axis=axis, dtype=dtype, keepdims=keepdims, **kwargs)

    def swapaxes(self, axis1: int, axis2: int) -> Array:
        return fnp.swapaxes(self, axis1, axis2)

    def take(self, indices: ArrayLike, axis: int | None = None, mode: str | None = None) -> Array:
        return fnp.take(self, indices, axis=axis, mode=mode)

    def trace(
        self, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: DtypeLike = None
    ) -> Array:
        return fnp.trace(self, offset, axis1, axis2, dtype)

    def transpose(self, *axes: Any) -> Array:
        if not axes or axes == (None,):
            return fnp.transpose(self)
        return fnp.transpose(self, axes[0] if isinstance(axes[0], Sequence) else axes)

    def var(
        self,
        axis: Axis = None,
        dtype: DtypeLike = None,
        ddof: int = 0,
        keepdims: bool = False,
        **kwargs: Any,
    ) -> Array:
        return fnp.var(self, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims, **kwargs)

    def view(self, dtype: DtypeLike) -> Array:
        """The bits of `self` read as another dtype of the same width."""
        return fnp.view(self, dtype)

    def to_device(self, device: str | Device, /, *, stream: None = None) -> Array:
        """`self` on `device`. Copies are made on the current stream: `stream` must be None."""
        if stream is not None:
            raise OptionError(f"to_device: stream must be None, got {stream!r}")
        return fnp.to_device(self, device)

    def block_until_ready(self) -> Array:
        """Wait for the value to be computed, and return it."""
        return self


@final
class ConcreteArray(Array):
    """An Array with values, in a NumPy or CuPy buffer that nobody writes into."""

    __slots__ = ("_buffer", "aval")

    def __init__(self, buffer: Any, aval: ShapedArray) -> None:
        self._buffer = buffer
        self.aval = aval

    def concretize(self, error: type[ConcretizationTypeError], what: str) -> Any:
        return self._buffer

    def __getattr__(self, name: str) -> Any:
        # Reached only when a slot is empty: `delete` has taken the buffer away.
        if name == "_buffer":
            function = _donated_to.get(id(self))
            if function is None:
                raise DeletedArrayError(
                    f"array: this {self.aval} was deleted; keep what is needed later"
                )
            raise DeletedArrayError(
                f"array: this {self.aval} was donated to a call of {function}; use the result of "
                "that call, or do not name the argument in donate_argnums"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def device(self) -> Device:
        return device_lib.device_of(self._buffer)

    def devices(self) -> set[Device]:
        return {self.device}

    def delete(self) -> None:
        """Give the buffer back; any later use raises DeletedArrayError."""
        if not self.is_deleted():
            _donated_to.pop(id(self), None)
            del self._buffer

    def donate(self, function: str) -> None:
        """Delete it, as the argument that a call of `function` was given to keep."""
        if not self.is_deleted():
            if len(_donated_to) >= _MOST_DONATED:
                _donated_to.clear()
            _donated_to[id(self)] = function
            del self._buffer

    def is_deleted(self) -> bool:
        try:
            object.__getattribute__(self, "_buffer")
        except AttributeError:
            return True
        return False

    def block_until_ready(self) -> Array:
        if device_lib.is_cupy(self._buffer):
            self._buffer.device.synchronize()
        return self

    def __reduce__(self) -> Any:
        return _rebuild, (device_lib.move(self._buffer, device_lib.CPU), self.aval.weak_type)

    def __copy__(self) -> Array:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Array:
        return ConcreteArray(self._buffer.copy(), self.aval)

    def __repr__(self) -> str:
        if self.is_deleted():
            return f"Array(<deleted>, dtype={dtypes.name(self.dtype)}, shape={self.shape})"
        weak = ", weak_type=True" if self.weak_type else ""
        body = np.array2string(self._printable(), separator=", ", prefix="Array(")
        return f"Array({body}, dtype={dtypes.name(self.dtype)}, shape={self.shape}{weak})"

    def __str__(self) -> str:
        return str(self._printable())

    def _printable(self) -> np.ndarray[Any, Any]:
        values = device_lib.move(self._buffer, device_lib.CPU)
        return values["fry"] if dtypes.is_key(self.dtype) else values


# Where deleted arrays went, by their ids: of each array its last entry holds, and a message with
# less in it is all that is lost with an entry.
_MOST_DONATED = 65536
_donated_to: dict[int, str] = {}


def _rebuild(buffer: np.ndarray[Any, Any], weak_type: bool) -> Array:
    return from_buffer(buffer, weak_type)


_OPERANDS = (Array, np.ndarray, *_SCALARS, np.generic)


def from_buffer(buffer: Any, weak_type: bool = False) -> ConcreteArray:
    """Wrap a buffer that belongs to us, or that nobody will write into. No copy."""
    return ConcreteArray(
        buffer, ShapedArray(buffer.shape, dtypes.canonical(buffer.dtype), weak_type)
    )


def is_array_like(x: object) -> bool:
    """Whether functions take `x` as an array: Arrays, ndarrays, scalars, but no lists."""
    return isinstance(x, _OPERANDS) or device_lib.is_cupy(x)


def _plain(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An ndarray proper, in the machine's byte order."""
    x = np.asarray(x)
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def lift(x: Any, dtype: np.dtype[Any] | None = None, what: str = "array argument") -> Array:
    """`x` as an Array. A Python scalar becomes weak, or strong of `dtype`.

    An ndarray that its owner could still write into is copied, since the Array must not change.
    Raises: ArgumentError for what is not array-like, with a hint for lists.
    """
    if isinstance(x, np.ndarray) and x.flags.writeable:
        copied = from_buffer(_plain(memory.copy(x)))
        if state.captures is not None:
            state.captures.add(x, copied)
        return copied
    return borrow(x, dtype, what)


def borrow(x: Any, dtype: np.dtype[Any] | None = None, what: str = "array argument") -> Array:
    """`lift` without the copy: for an operation that is done with `x` before it returns."""
    if isinstance(x, Array):
        return x
    if isinstance(x, np.ndarray):
        return from_buffer(_plain(x))
    if device_lib.is_cupy(x):
        return from_buffer(x)
    if isinstance(x, _SCALARS):  # np.float64 and np.complex128 scalars too: they are weak
        weak = dtype is None and not isinstance(x, bool)
        kind = dtypes.scalar_dtype(type(x)) if dtype is None else dtype
        buffer: Any = scalars.buffer(x, kind)
        if not device_lib.default_is_cpu():
            buffer = device_lib.move(buffer, device_lib.current_default_device())
        return ConcreteArray(buffer, scalars.aval(kind, weak))
    if isinstance(x, np.generic):
        return from_buffer(np.asarray(x))
    hint = "; convert it with fstensor.numpy.asarray" if isinstance(x, (list, tuple)) else ""
    raise ArgumentError(f"{what}: must be an array or a scalar, got {type(x).__name__}{hint}")


def normalize_axis(axis: int, ndim: int, what: str) -> int:
    """A non-negative axis. Raises AxisError when there is no such axis."""
    index = operator.index(axis)
    if not -ndim <= index < ndim:
        raise AxisError(f"{what}: axis {index} does not exist in an array of {ndim} dimensions")
    return index + ndim if index < 0 else index


def normalize_axes(axis: Axis, ndim: int, what: str) -> tuple[int, ...]:
    """Non-negative distinct axes; None means all. Raises AxisError."""
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, Sequence):
        return (normalize_axis(axis, ndim, what),)
    axes = tuple(normalize_axis(a, ndim, what) for a in axis)
    if len(set(axes)) != len(axes):
        raise AxisError(f"{what}: axes must be distinct, got {tuple(axis)}")
    return axes

"""Arrays from nothing, from numbers, and from other things."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fstensor import device as device_lib
from fstensor import dtypes, lax
from fstensor.array import (
    Array,
    ArrayLike,
    ConcreteArray,
    DtypeLike,
    borrow,
    from_buffer,
    is_array_like,
    lift,
)
from fstensor.core import memory
from fstensor.device import Device
from fstensor.errors import ArgumentError, OptionError, ShapeError
from fstensor.numpy.promote import (
    constant,
    converted,
    operand,
    owned,
    promote_inexact,
    repeated,
    result_pair,
    scalar,
)
from fstensor.ops.convert import DevicePut
from fstensor.transforms.replay import replayed

Shape = int | Sequence[int]
DeviceLike = str | Device | None

# From other things


def asarray(
    a: Any,
    dtype: DtypeLike = None,
    order: str | None = None,
    *,
    copy: bool | None = None,
    device: DeviceLike = None,
) -> Array:
    """An Array of what `a` holds: an array, a scalar, or nested lists and tuples of these.

    dtype: None keeps that of an array; Python scalars give bool, the default int (int32), float
        (float32) or complex, and lists what their elements promote to.
    copy: None copies a writable ndarray, whose owner could change it; False never copies (the
        owner of `a` must then leave it alone); True always does.
    order: None or "K" only: elements have no order in memory that an Array would show.
    Raises: ArgumentError for what is not array-like, ShapeError for lists of unequal lengths,
    OptionError for copy=False where a copy is needed.
    """
    _check_order("asarray", order)
    target = None if dtype is None else dtypes.canonical(dtype)
    if copy is False:
        return _left_in_place("asarray", _without_copy(a, target), device)
    if isinstance(a, Array):
        result = a if target is None else converted(a, target)
    elif isinstance(a, np.ndarray):
        # Not `target in (None, ...)`: to NumPy, float64 equals None.
        result = (
            lift(a)
            if target is None or target == a.dtype
            else converted(operand(a, "asarray"), target)
        )
    elif isinstance(a, (bool, int, float, complex)):
        result = lift(a, target)
    elif isinstance(a, (list, tuple)):
        result = _from_nested(a, target)
    else:
        result = _from_other(a, target)
    return _placed(result, device)


def array(
    object: Any,
    dtype: DtypeLike = None,
    *,
    copy: bool | None = True,
    order: str | None = "K",
    ndmin: int = 0,
    device: DeviceLike = None,
) -> Array:
    """As `asarray`, with axes of size 1 in front up to rank `ndmin`.

    copy: True copies an ndarray also when it cannot be written into; an Array never changes, so it
        is its own copy.
    """
    _check_order("array", order)
    if copy and isinstance(object, np.ndarray):
        object = memory.copy(object)
        object.flags.writeable = False
    result = asarray(object, dtype, copy=None if copy else copy, device=device)
    missing = operator.index(ndmin) - result.ndim
    return lax.expand_dims(result, range(missing)) if missing > 0 else result


def _check_order(what: str, order: str | None) -> None:
    if order not in (None, "K"):
        raise OptionError(
            f"{what}: order must be None or 'K', got {order!r}; "
            "an Array does not show how its elements lie in memory"
        )


def _without_copy(a: Any, dtype: np.dtype[Any] | None) -> Array:
    if not isinstance(a, (Array, np.ndarray)) and not device_lib.is_cupy(a):
        raise OptionError(
            f"asarray: copy=False takes an array, got {type(a).__name__}, which must be copied"
        )
    result = borrow(a)
    if dtype is not None and result.dtype != dtype:
        raise OptionError(
            f"asarray: copy=False cannot convert, got {result.aval} for dtype {dtypes.name(dtype)}"
        )
    return result


def _from_other(a: Any, dtype: np.dtype[Any] | None) -> Array:
    """From a NumPy scalar, a CuPy array, or what knows how to become an ndarray."""
    if is_array_like(a):
        result = lift(a)
    elif hasattr(a, "__array__"):
        result = from_buffer(np.array(a))
    elif isinstance(a, range):
        result, dtype = from_buffer(np.array(a)), dtype or dtypes.default_int()
    elif hasattr(a, "__array_interface__") or _is_buffer(a):
        result = from_buffer(np.array(a))
    elif hasattr(a, "__dlpack__"):
        result = from_dlpack(a)
    else:
        raise ArgumentError(
            f"asarray: takes arrays, scalars and nested lists of these, got {type(a).__name__}"
        )
    return result if dtype is None else converted(result, dtype)


def _is_buffer(a: Any) -> bool:
    """Whether `a` shows its memory by Python's buffer protocol. Text, even as bytes, does not."""
    if isinstance(a, (str, bytes)):
        return False
    try:
        memoryview(a)
    except TypeError:
        return False
    return True


def _from_nested(a: Sequence[Any], dtype: np.dtype[Any] | None) -> Array:
    leaves = list(_leaves(a))
    if dtype is None:
        dtype = result_pair("asarray", leaves)[0] if leaves else dtypes.default_float()
    if builtins.any(isinstance(x, Array) for x in leaves):
        return _stacked(a, dtype)
    try:
        return from_buffer(np.array(a, dtype))
    except ValueError as error:
        raise ShapeError(f"asarray: nested lists must have equal lengths ({error})") from None


def _leaves(a: Any) -> Iterator[Any]:
    if isinstance(a, (list, tuple)):
        for x in a:
            yield from _leaves(x)
    else:
        yield a


def _stacked(a: Any, dtype: np.dtype[Any]) -> Array:
    """Nested lists with Arrays among the leaves, which may be traced."""
    if not isinstance(a, (list, tuple)):
        return asarray(a, dtype)
    if not a:
        return zeros((0,), dtype)
    parts = [_stacked(x, dtype) for x in a]
    if builtins.any(x.shape != parts[0].shape for x in parts):
        got = " and ".join(dict.fromkeys(str(x.aval) for x in parts))
        raise ShapeError(f"asarray: elements of a list must have one shape, got {got}")
    return lax.concatenate([lax.expand_dims(x, (0,)) for x in parts], 0)


def _placed(x: Array, device: DeviceLike) -> Array:
    if device is None:
        return x
    return DevicePut(device_lib.canonical_device(device)).bind(x)


def _left_in_place(what: str, x: Array, device: DeviceLike) -> Array:
    """`x`, which must lie on `device` already, or be traced."""
    if device is not None and isinstance(x, ConcreteArray):
        target = device_lib.canonical_device(device)
        if x.device != target:
            raise OptionError(
                f"{what}: copy=False cannot move an array from {x.device} to {target}"
            )
    return _placed(x, device)


def copy(a: ArrayLike, order: str | None = None) -> Array:
    """`a` as an Array of its own, which stays when `a` is donated."""
    _check_order("copy", order)
    result = asarray(a)
    if not isinstance(result, ConcreteArray):
        return result
    return ConcreteArray(result._buffer.copy(), result.aval)


@replayed
def astype(
    x: ArrayLike, dtype: DtypeLike, /, *, copy: bool = False, device: DeviceLike = None
) -> Array:
    """`x` converted to `dtype`. Complex to real drops the imaginary part.

    copy: has no effect to be seen, since an Array never changes.
    """
    x = owned(x, "astype")
    target = dtypes.default_float() if dtype is None else dtypes.canonical(dtype)
    return _placed(converted(x, target), device)


def view(x: ArrayLike, dtype: DtypeLike) -> Array:
    """The bits of `x` read as another dtype.

    Shapes: a dtype of another width changes the size of the last axis.
    """
    return lax.bitcast_convert_type(owned(x, "view"), dtypes.canonical(dtype))


def to_device(x: Array, device: str | Device) -> Array:
    """`x` on `device`."""
    return _placed(x, device)


def from_dlpack(x: Any, /, *, device: DeviceLike = None, copy: bool | None = None) -> Array:
    """An Array of what another library's array holds, through DLPack.

    copy: None and True copy, since the other library could write into its array; False does not.
    Raises: OptionError for copy=False with another device than that of `x`.
    """
    if isinstance(x, Array):
        return _left_in_place("from_dlpack", x, device) if copy is False else _placed(x, device)
    module = np
    if x.__dlpack_device__()[0] not in (1, 3):  # neither CPU nor pinned memory
        module = device_lib.array_module(device_lib.canonical_device("cuda"))
    buffer = module.from_dlpack(x)
    if copy is False:
        return _left_in_place("from_dlpack", from_buffer(buffer), device)
    return _placed(from_buffer(buffer.copy()), device)


# Filled


def _shape(what: str, shape: Shape) -> tuple[int, ...]:
    try:
        one_size: Any = shape  # if it is no sequence, or else an error
        sizes = tuple(map(operator.index, shape if isinstance(shape, Sequence) else [one_size]))
    except TypeError:
        raise ArgumentError(f"{what}: shape must be made of integers, got {shape!r}") from None
    if builtins.any(n < 0 for n in sizes):
        raise ShapeError(f"{what}: sizes must not be negative, got {sizes}")
    return sizes


def zeros(shape: Shape, dtype: DtypeLike = None, *, device: DeviceLike = None) -> Array:
    """An array of zeros; float32 by default."""
    return full(_shape("zeros", shape), 0, _or_default(dtype), device=device)


def ones(shape: Shape, dtype: DtypeLike = None, *, device: DeviceLike = None) -> Array:
    """An array of ones; float32 by default."""
    return full(_shape("ones", shape), 1, _or_default(dtype), device=device)


def empty(shape: Shape, dtype: DtypeLike = None, *, device: DeviceLike = None) -> Array:
    """An array of zeros: memory that nobody has written to could not be pure."""
    return full(_shape("empty", shape), 0, _or_default(dtype), device=device)


def full(
    shape: Shape, fill_value: ArrayLike, dtype: DtypeLike = None, *, device: DeviceLike = None
) -> Array:
    """An array filled with `fill_value`, which broadcasts; its dtype by default."""
    sizes = _shape("full", shape)
    if not isinstance(fill_value, (bool, int, float, complex)):
        value = asarray(fill_value, dtype)
    elif dtype is None:
        value = lift(fill_value)
    else:
        value = scalar(fill_value, dtypes.canonical(dtype))
    return _placed(broadcast_to(value, sizes), device)


def _or_default(dtype: DtypeLike) -> np.dtype[Any]:
    return dtypes.default_float() if dtype is None else dtypes.canonical(dtype)


def zeros_like(
    a: ArrayLike, dtype: DtypeLike = None, shape: Shape | None = None, *, device: DeviceLike = None
) -> Array:
    """Zeros of the shape and dtype of `a`, unless others are given."""
    return full_like(a, 0, dtype, shape, device=device)


def ones_like(
    a: ArrayLike, dtype: DtypeLike = None, shape: Shape | None = None, *, device: DeviceLike = None
) -> Array:
    """Ones of the shape and dtype of `a`, unless others are given."""
    return full_like(a, 1, dtype, shape, device=device)


def empty_like(
    prototype: ArrayLike,
    dtype: DtypeLike = None,
    shape: Shape | None = None,
    *,
    device: DeviceLike = None,
) -> Array:
    """Zeros of the shape and dtype of `prototype`, unless others are given."""
    return full_like(prototype, 0, dtype, shape, device=device)


def full_like(
    a: ArrayLike,
    fill_value: ArrayLike,
    dtype: DtypeLike = None,
    shape: Shape | None = None,
    *,
    device: DeviceLike = None,
) -> Array:
    """An array filled with `fill_value`, of the shape and dtype of `a` unless others are given.

    `a` may be anything with a shape and a dtype.
    """
    described = a if hasattr(a, "shape") and hasattr(a, "dtype") else operand(a, "full_like")
    kind, weak = dtypes.weak_pair(described)
    sizes = tuple(described.shape) if shape is None else _shape("full_like", shape)
    if dtype is not None:
        kind, weak = dtypes.canonical(dtype), False
    if isinstance(fill_value, (bool, int, float, complex)):
        value = scalar(fill_value, kind, weak)
    else:
        value = converted(owned(fill_value, "full_like"), kind, weak)
    return _placed(broadcast_to(value, sizes), device)


def broadcast_to(array: ArrayLike, shape: Shape) -> Array:
    """`array` repeated along new leading axes and axes of size 1, up to `shape`.

    Raises: ShapeError when it does not fit.
    """
    x, target = owned(array, "broadcast_to"), _shape("broadcast_to", shape)
    kept = target[len(target) - x.ndim :]
    if x.ndim > len(target) or builtins.any(
        n not in (1, m) for n, m in zip(x.shape, kept, strict=True)
    ):
        raise ShapeError(
            f"broadcast_to: only axes of size 1 and missing leading axes stretch, "
            f"got {x.aval} to {target}"
        )
    return repeated(x, target)


# Ranges


def arange(
    start: ArrayLike,
    stop: ArrayLike | None = None,
    step: ArrayLike | None = None,
    dtype: DtypeLike = None,
    *,
    device: DeviceLike = None,
) -> Array:
    """Numbers from `start` up to, but without, `stop`, by `step`; from 0 with one argument.

    dtype: by default what the arguments promote to, the default int for Python ints.
    Raises: ConcretizationTypeError for traced arguments, since they would set the shape.
    """
    given = [x for x in (start, stop, step) if x is not None]
    kind = result_pair("arange", given)[0] if dtype is None else dtypes.canonical(dtype)
    first, last = (0, start) if stop is None else (start, stop)
    first, last, by = (_number(x) for x in (first, last, 1 if step is None else step))
    if by == 0:
        raise OptionError("arange: step must not be 0")
    count = builtins.max(0, math.ceil((last - first) / by))
    if first == 0 and by == 1 and not dtypes.is_bool(kind):
        return _placed(lax.iota(kind, count), device)
    return _placed(from_buffer(np.arange(first, last, by).astype(kind)), device)


def _number(x: ArrayLike) -> Any:
    """The Python number of a concrete scalar."""
    value = x.item() if isinstance(x, (Array, np.ndarray, np.generic)) else x
    if isinstance(value, complex):
        raise ArgumentError(f"arange: takes real numbers, got {value}")
    return value


def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DtypeLike = None,
    axis: int = 0,
    *,
    device: DeviceLike = None,
) -> Array | tuple[Array, Array]:
    """`num` evenly spaced numbers from `start` to `stop`, with or without its end.

    Shapes: start and stop broadcast; `num` becomes a new axis at `axis` of the result.
    dtype: a float by default; for integers the numbers are rounded down.
    Returns: the numbers, or (numbers, step) if `retstep`.
    """
    num = operator.index(num)
    if num < 0:
        raise OptionError(f"linspace: num must not be negative, got {num}")
    kind = None if dtype is None else dtypes.canonical(dtype)
    first, last = promote_inexact("linspace", start, stop)
    first, last = converted(first, first.dtype), converted(last, last.dtype)
    shape = np.broadcast_shapes(first.shape, last.shape)
    intervals = num - 1 if endpoint else num
    span = lax.sub(last, first)
    step = lax.div(span, constant(intervals, span)) if intervals > 0 else full_like(span, math.nan)
    real = dtypes.to_real(first.dtype)
    place = lax.reshape(lax.iota(real, num), (num, *[1] * len(shape)))
    place = converted(place, first.dtype)
    first, last = (lax.expand_dims(repeated(x, shape), (0,)) for x in (first, last))
    if intervals > 0:
        # Weighted means of the two ends: exact at both, and the same from either side.
        t = lax.div(place, constant(intervals, place))
        values = lax.add(lax.mul(first, lax.sub(constant(1, t), t)), lax.mul(last, t))
    else:
        values = repeated(first, (num, *shape))
    if endpoint and num > 1:
        # Rounding must not carry the last number past `stop`.
        at_end = lax.eq(place, constant(intervals, place))
        whole = (num, *shape)
        values = lax.select(repeated(at_end, whole), repeated(last, whole), values)
    values = _moved(values, 0, axis)
    if kind is not None:
        values = converted(lax.floor(values) if dtypes.is_integer(kind) else values, kind)
    values = _placed(values, device)
    return (values, step) if retstep else values


def _moved(x: Array, source: int, destination: int) -> Array:
    destination += x.ndim * (destination < 0)
    order = [i for i in range(x.ndim) if i != source]
    order.insert(destination, source)
    return lax.transpose(x, order)


def logspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    base: ArrayLike = 10.0,
    dtype: DtypeLike = None,
    axis: int = 0,
) -> Array:
    """`base` to the power of evenly spaced exponents from `start` to `stop`."""
    exponents = linspace(start, stop, num, endpoint, axis=axis)
    assert isinstance(exponents, Array)
    values = lax.pow(*promote_inexact("logspace", base, exponents))
    return values if dtype is None else converted(values, dtypes.canonical(dtype))


def geomspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    dtype: DtypeLike = None,
    axis: int = 0,
) -> Array:
    """`num` numbers from `start` to `stop`, each the same multiple of the one before.

    Negative ends have to be both negative. Integers become floats.
    """
    first, last = promote_inexact("geomspace", start, stop)
    sign = lax.sign(first)
    ends = [lax.log(lax.div(x, sign)) for x in (first, last)]
    exponents = linspace(ends[0], ends[1], num, endpoint, axis=axis)
    assert isinstance(exponents, Array)
    spread = lax.expand_dims(sign, (axis % exponents.ndim,)) if sign.ndim else sign
    values = lax.mul(lax.exp(exponents), spread)
    return values if dtype is None else converted(values, dtypes.canonical(dtype))


# Matrices and grids


def eye(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: DtypeLike = None,
    *,
    device: DeviceLike = None,
) -> Array:
    """Ones on the k-th diagonal of an N by M matrix, zeros elsewhere; float32 by default."""
    i, j = _places("eye", N, N if M is None else M, operator.index(k))
    return _placed(converted(lax.eq(i, j), _or_default(dtype)), device)


def _places(what: str, rows: int, columns: int, k: int) -> tuple[Array, Array]:
    """The row of each element plus `k`, and its column."""
    shape = _shape(what, (rows, columns))
    i = lax.broadcasted_iota(np.int32, shape, 0)
    return lax.add(i, constant(k, i)) if k else i, lax.broadcasted_iota(np.int32, shape, 1)


def identity(n: int, dtype: DtypeLike = None) -> Array:
    """The n by n identity matrix; float32 by default."""
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: DtypeLike = None) -> Array:
    """Ones at and below the k-th diagonal of an N by M matrix, zeros above."""
    i, j = _places("tri", N, N if M is None else M, operator.index(k))
    return converted(lax.ge(i, j), _or_default(dtype))


def meshgrid(
    *xi: ArrayLike, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Array, ...]:
    """Coordinates of a grid, one array for each of the vectors `xi`.

    indexing: "xy" swaps the first two axes of the grid, "ij" does not.
    sparse: leave the other axes at size 1.
    copy: has no effect to be seen, since an Array never changes.
    Raises: OptionError for another indexing, ShapeError for operands of rank above 1.
    """
    if indexing not in ("xy", "ij"):
        raise OptionError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    vectors = [owned(x, "meshgrid") for x in xi]
    for x in vectors:
        if x.ndim > 1:
            raise ShapeError(f"meshgrid: takes vectors, got {x.aval}")
    places = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        places[:2] = [1, 0]
    grid = [1] * len(vectors)
    for x, place in zip(vectors, places, strict=True):
        grid[place] = x.size
    found = []
    for x, place in zip(vectors, places, strict=True):
        x = x if x.ndim else lax.expand_dims(x, (0,))
        shape = [x.size if i == place else 1 for i in range(len(grid))] if sparse else grid
        found.append(lax.broadcast_in_dim(x, shape, (place,)))
    return tuple(found)


def indices(
    dimensions: Sequence[int], dtype: DtypeLike = None, sparse: bool = False
) -> Array | tuple[Array, ...]:
    """The indices of a grid: one array for each axis, stacked in front unless `sparse`."""
    shape = _shape("indices", dimensions)
    kind = dtypes.default_int() if dtype is None else dtypes.canonical(dtype)
    if sparse:
        return tuple(
            lax.broadcasted_iota(kind, [n if j == i else 1 for j in range(len(shape))], i)
            for i, n in enumerate(shape)
        )
    grids = [lax.broadcasted_iota(kind, shape, i) for i in range(len(shape))]
    if not grids:
        return zeros((0,), kind)
    return lax.concatenate([lax.expand_dims(x, (0,)) for x in grids], 0)

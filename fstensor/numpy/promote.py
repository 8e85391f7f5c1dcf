"""From what users pass to what `fstensor.lax` takes: Arrays of one dtype, and of one rank or none.

Dtypes join in the lattice of `fstensor.dtypes`. Ranks are made equal by leading axes of size 1;
those stretch inside the primitive. Scalars need no axes. A Python scalar beside an Array becomes a
constant of the Array's dtype, so that nothing is converted at run time.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from fstensor import dtypes, lax
from fstensor.array import Array, ArrayLike, ConcreteArray, is_array_like, lift
from fstensor.core.trace import operand as operand
from fstensor.device import Device, current_default_device
from fstensor.errors import ArgumentError, ConcretizationTypeError
from fstensor.ops.convert import ConvertElementType


def owned(x: ArrayLike, what: str) -> Array:
    """`x` as an Array in memory that nobody writes into: for an operation that may return a view.

    `operand` is for those that never do. Raises: ArgumentError for what is not array-like.
    """
    return lift(x, what=what)


def inexact(what: str, x: ArrayLike) -> Array:
    """One operand as a float or complex; integers and bools become the default float."""
    if isinstance(x, Array) and dtypes.is_inexact(x.aval.dtype):
        return x
    x = operand(x, what)
    return converted(x, dtypes.to_inexact(x.dtype), x.weak_type)


def numeric(what: str, x: ArrayLike) -> Array:
    """One operand as a number: bools become the default integer."""
    x = operand(x, what)
    return converted(x, dtypes.default_int(), False) if dtypes.is_bool(x.dtype) else x


def promote(what: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Two operands of one dtype and rank."""
    if isinstance(x, Array):
        a = x.aval
        if isinstance(y, Array):
            b = y.aval
            if a is b:
                return x, y
        elif (y.__class__, a.dtype) in _JOINS:
            return x, _literal(y, a.dtype, a.weak_type)  # type: ignore[arg-type]  # a scalar
    elif isinstance(y, Array) and (x.__class__, y.aval.dtype) in _JOINS:
        b = y.aval
        return _literal(x, b.dtype, b.weak_type), y  # type: ignore[arg-type]  # a scalar
    x, y = promote_all(what, x, y)
    return x, y


_NUMBERS = [np.dtype(c) for c in "bhilBHILefdFD"] + [np.dtype(dtypes.bfloat16)]
# The types of Python scalars that join an Array of some dtype without changing it.
_JOINS = frozenset(
    [
        *[(int, d) for d in _NUMBERS],
        *[(float, d) for d in _NUMBERS if dtypes.is_inexact(d)],
        *[(complex, d) for d in _NUMBERS if dtypes.is_complex(d)],
    ]
)


def _literal(x: complex, dtype: dtypes.Dtype, weak: bool) -> Array:
    """`scalar`, remembered, for an operand that never becomes a result itself."""
    # 0.0 and -0.0 are equal, and would share an entry; so would complex numbers made of them.
    if isinstance(x, int) or (isinstance(x, float) and x):
        return _remembered(x, dtype, weak, current_default_device())
    return scalar(x, dtype, weak)


@functools.lru_cache(maxsize=4096, typed=True)
def _remembered(x: complex, dtype: dtypes.Dtype, weak: bool, device: Device) -> Array:
    return scalar(x, dtype, weak)


def promote_inexact(what: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Two operands of one float or complex dtype, and of one rank."""
    if isinstance(x, Array) and isinstance(y, Array):
        a, b = x.aval, y.aval
        if a is b and dtypes.is_inexact(a.dtype):
            return x, y
    dtype, weak = result_pair(what, (x, y))
    x, y = equal_ranks(_all_converted(what, (x, y), dtypes.to_inexact(dtype), weak))
    return x, y


def promote_all(what: str, *args: ArrayLike) -> list[Array]:
    """Any number of operands, made one dtype and rank."""
    return equal_ranks(promote_dtypes(what, *args))


def promote_dtypes(what: str, *args: ArrayLike) -> list[Array]:
    """Any number of operands, made one dtype."""
    avals = [x.aval for x in args if isinstance(x, Array)]
    if len(avals) == len(args):
        kind, weak = avals[0].dtype, avals[0].weak_type
        if all(a.dtype is kind and a.weak_type is weak for a in avals):
            return list(args)  # type: ignore[arg-type]  # Arrays, as was just seen
    return _all_converted(what, args, *result_pair(what, args))


def result_pair(what: str, args: Sequence[ArrayLike]) -> dtypes.Pair:
    """The dtype that `args` promote to, and whether it is weak. Raises: ArgumentError."""
    pairs = []
    for x in args:
        if isinstance(x, Array):
            pairs.append((x.aval.dtype, x.aval.weak_type))
        elif is_array_like(x):
            pairs.append(dtypes.weak_pair(x))
        else:
            lift(x, what=what)  # raises, with a hint
    return dtypes.promote_all(pairs)


def _all_converted(
    what: str, args: Sequence[ArrayLike], dtype: dtypes.Dtype, weak: bool
) -> list[Array]:
    return [cast(what, x, dtype, weak) for x in args]


def scalar(x: complex, dtype: dtypes.Dtype, weak: bool = False) -> Array:
    """A Python scalar as an Array of `dtype`. Raises: OverflowError for an int too large."""
    strong = lift(x, dtype)
    return with_weakness(strong, True) if weak else strong


def constant(value: complex, like: Array) -> Array:
    """A Python scalar as an Array of the dtype of `like`, and as weak."""
    return scalar(value, like.dtype, like.weak_type)


def cast(what: str, x: ArrayLike, dtype: dtypes.Dtype, weak: bool = False) -> Array:
    """One operand as `dtype`. A Python scalar goes there directly, in its full precision."""
    if isinstance(x, (bool, int, float, complex)):
        return scalar(x, dtype, weak)
    return converted(operand(x, what), dtype, weak)


def converted(x: Array, dtype: dtypes.Dtype, weak: bool = False) -> Array:
    """`x` as `dtype`, weak or not."""
    a = x.aval
    if a.dtype == dtype:
        return x if a.weak_type == weak else with_weakness(x, weak)
    return ConvertElementType(dtype, weak).bind(x)


def with_weakness(x: Array, weak: bool) -> Array:
    """`x`, with its dtype weak or not."""
    if x.aval.weak_type == weak:
        return x
    if isinstance(x, ConcreteArray):
        return ConcreteArray(x._buffer, x.aval.update(weak_type=weak))
    return ConvertElementType(x.dtype, weak).bind(x)


def equal_ranks(args: Sequence[Array]) -> list[Array]:
    """Arrays of one rank, by leading axes of size 1; scalars stay scalars."""
    rank = max([x.ndim for x in args])
    return [lax.expand_dims(x, range(rank - x.ndim)) if 0 < x.ndim < rank else x for x in args]


def repeated(x: Array, shape: tuple[int, ...]) -> Array:
    """`x` repeated along axes that it lacks and axes of size 1, up to `shape`."""
    if x.shape == shape:
        return x
    return lax.broadcast_in_dim(x, shape, range(len(shape) - x.ndim, len(shape)))


def select(condition: Array, x: Array, y: Array) -> Array:
    """`x` where the bool `condition` holds, else `y`, of one dtype; shapes broadcast."""
    shape = np.broadcast_shapes(condition.shape, x.shape, y.shape)
    return lax.select(*[repeated(a, shape) for a in (condition, x, y)])


def concrete(what: str, x: Array, remedy: str) -> np.ndarray[Any, Any]:
    """The values of `x`, on which the size of a result depends. Raises: ConcretizationTypeError."""
    try:
        x.concretize(ConcretizationTypeError, what)
    except ConcretizationTypeError:
        raise ConcretizationTypeError(
            f"{what}: the size of the result depends on values, and these are traced, "
            f"got {x.aval}; {remedy}"
        ) from None
    return np.asarray(x)


def refuse_out(what: str, out: Any) -> None:
    """Raises ArgumentError when an array to write into is passed."""
    if out is not None:
        raise ArgumentError(
            f"{what}: arrays are immutable, so out must be None, got {type(out).__name__}; "
            "use the result that is returned"
        )

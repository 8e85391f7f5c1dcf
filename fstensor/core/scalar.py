"""The arithmetic of kernels, one element at a time.

A kernel says what is done with single elements; a target runs it on vectors of them, or on a thread
each. `ScalarOps` is the vocabulary: what a primitive's `lower` rule may say. Whoever implements it
decides what a value is: the compiler's kernels record instructions, a target prints them for
vectors, and `ArrayOps` computes at once with NumPy, as the reference.

Dtypes are np.dtype objects: bool, integers of 8 to 64 bits, float32 and float64. A 16-bit float
exists in memory only: `convert` reads and writes it, arithmetic happens in float32. So does a
random key: elsewhere it is a uint64, whose low half is the key's first word.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

import ml_dtypes
import numpy as np

from fstensor import dtypes

if TYPE_CHECKING:
    from fstensor.core.affine import Affine, Index
    from fstensor.core.aval import ShapedArray

V = TypeVar("V")

Dtype = np.dtype[Any]
BOOL = np.dtype(np.bool_)
INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)
UINT32 = np.dtype(np.uint32)
UINT64 = np.dtype(np.uint64)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
FLOAT16 = np.dtype(np.float16)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
KEY = dtypes.prng_key

# The dtypes of arithmetic, and those of numbers in memory.
COMPUTED = frozenset(map(np.dtype, "?bhilBHILfd")) | {INT64, UINT64}
STORED = COMPUTED | {FLOAT16, BFLOAT16}

UNARY = frozenset(
    {"neg", "abs", "sqrt", "floor", "ceil", "trunc", "rint", "not", "popcount", "clz"}
)
BINARY = frozenset(
    {"add", "sub", "mul", "div", "rem", "min", "max", "copysign"}
    | {"and", "or", "xor", "shl", "shr", "rotl"}
)
COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
# Functions that a target expands into the operations above.
ELEMENTARY = {
    "exp": 1, "exp2": 1, "expm1": 1, "log": 1, "log1p": 1, "log2": 1, "sin": 1, "cos": 1, "tan": 1,
    "tanh": 1, "sinh": 1, "cosh": 1, "asin": 1, "acos": 1, "atan": 1, "asinh": 1, "acosh": 1,
    "atanh": 1, "logistic": 1, "erf": 1, "erfc": 1, "cbrt": 1, "rsqrt": 1, "pow": 2, "atan2": 2,
}  # fmt: skip


class ScalarOps(ABC, Generic[V]):
    """What can be done with elements. Operands of an operation have one dtype."""

    # What an implementation supplies

    @abstractmethod
    def dtype(self, x: V) -> Dtype:
        """The dtype of a value."""

    @abstractmethod
    def constant(self, value: Any, dtype: Dtype) -> V:
        """A number of a dtype of arithmetic."""

    @abstractmethod
    def unary(self, op: str, x: V) -> V:
        """An operation of UNARY. `rint` rounds halves to even; `not` is that of bits and bools."""

    @abstractmethod
    def binary(self, op: str, x: V, y: V) -> V:
        """An operation of BINARY; of bools only `and`, `or` and `xor`.

        `div` and `rem` of integers round towards zero; a divisor of zero, and the smallest integer
        by -1, are undefined: rules choose another divisor first. `min` and `max` of floats are NaN
        where an operand is. `shl` and `shr` by the number of bits or more are undefined; `shr`
        keeps the sign of signed integers. `rotl` is of unsigned ones: what leaves to the left comes
        back from the right. `copysign` has the size of x and the sign of y.
        """

    @abstractmethod
    def compare(self, op: str, x: V, y: V) -> V:
        """An operation of COMPARISONS, giving a bool. With NaN, all but `ne` are false."""

    @abstractmethod
    def fma(self, x: V, y: V, z: V) -> V:
        """The sum x y + z of floats, rounded once where the machine can, else twice."""

    @abstractmethod
    def select(self, condition: V, x: V, y: V) -> V:
        """Choose x where the bool `condition` holds, else y."""

    @abstractmethod
    def convert(self, x: V, dtype: Dtype) -> V:
        """Make x another dtype. Floats out of an integer dtype's range give any integer."""

    @abstractmethod
    def bitcast(self, x: V, dtype: Dtype) -> V:
        """The bits of x as another dtype of its size."""

    @abstractmethod
    def elementary(self, name: str, *args: V) -> V:
        """A function of ELEMENTARY, of floats."""

    def rarely(self, condition: V, usual: V, otherwise: Callable[[], V]) -> V:
        """`usual`, but `otherwise()` where `condition` holds, which is computed only if need be."""
        return self.select(condition, otherwise(), usual)

    # The words that rules are written in

    def add(self, x: V, y: V) -> V:
        return self.binary("add", x, y)

    def sub(self, x: V, y: V) -> V:
        return self.binary("sub", x, y)

    def mul(self, x: V, y: V) -> V:
        return self.binary("mul", x, y)

    def div(self, x: V, y: V) -> V:
        return self.binary("div", x, y)

    def rem(self, x: V, y: V) -> V:
        return self.binary("rem", x, y)

    def min(self, x: V, y: V) -> V:
        return self.binary("min", x, y)

    def max(self, x: V, y: V) -> V:
        return self.binary("max", x, y)

    def and_(self, x: V, y: V) -> V:
        return self.binary("and", x, y)

    def or_(self, x: V, y: V) -> V:
        return self.binary("or", x, y)

    def xor(self, x: V, y: V) -> V:
        return self.binary("xor", x, y)

    def shl(self, x: V, y: V) -> V:
        return self.binary("shl", x, y)

    def shr(self, x: V, y: V) -> V:
        return self.binary("shr", x, y)

    def rotl(self, x: V, y: V) -> V:
        return self.binary("rotl", x, y)

    def copysign(self, x: V, y: V) -> V:
        return self.binary("copysign", x, y)

    def neg(self, x: V) -> V:
        return self.unary("neg", x)

    def abs(self, x: V) -> V:
        return self.unary("abs", x)

    def sqrt(self, x: V) -> V:
        return self.unary("sqrt", x)

    def floor(self, x: V) -> V:
        return self.unary("floor", x)

    def ceil(self, x: V) -> V:
        return self.unary("ceil", x)

    def trunc(self, x: V) -> V:
        return self.unary("trunc", x)

    def rint(self, x: V) -> V:
        return self.unary("rint", x)

    def not_(self, x: V) -> V:
        return self.unary("not", x)

    def eq(self, x: V, y: V) -> V:
        return self.compare("eq", x, y)

    def ne(self, x: V, y: V) -> V:
        return self.compare("ne", x, y)

    def lt(self, x: V, y: V) -> V:
        return self.compare("lt", x, y)

    def le(self, x: V, y: V) -> V:
        return self.compare("le", x, y)

    def gt(self, x: V, y: V) -> V:
        return self.compare("gt", x, y)

    def ge(self, x: V, y: V) -> V:
        return self.compare("ge", x, y)

    def like(self, value: Any, x: V) -> V:
        """A number of the dtype of `x`."""
        return self.constant(value, self.dtype(x))


class Elements(ABC, Generic[V]):
    """An operand as a rule sees it that computes results from their indices."""

    aval: ShapedArray

    @abstractmethod
    def at(self, index: Index) -> V:
        """The element at an index that exists."""

    @abstractmethod
    def at_if(self, condition: V, index: Index) -> V:
        """The element at an index that exists where `condition` holds, else any number."""

    @abstractmethod
    def take(self, index: Index, offsets: Sequence[V | None]) -> V:
        """The element at `index`, moved along some axes by computed int64s. It must exist."""


class IndexedOps(ScalarOps[V]):
    """What rules have at hand that compute results from their indices."""

    @abstractmethod
    def index(self, place: Affine, dtype: Dtype = INT64) -> V:
        """An index as a number of an integer dtype, modulo 2 to the number of its bits."""


@final
class ArrayOps(ScalarOps[Any]):
    """The operations computed by NumPy on whole arrays: the reference of all targets.

    Elementary functions are expanded by `expansions`, a table by name and dtype, or computed by
    NumPy where it is None.
    """

    def __init__(self, expansions: Any = None) -> None:
        self._expansions = expansions

    def dtype(self, x: Any) -> Dtype:
        dtype: Dtype = x.dtype
        return dtype

    def constant(self, value: Any, dtype: Dtype) -> Any:
        return np.asarray(value).astype(dtype)

    def unary(self, op: str, x: Any) -> Any:
        assert op in UNARY, op
        return _NUMPY[op](x)

    def binary(self, op: str, x: Any, y: Any) -> Any:
        assert x.dtype == y.dtype, (op, x.dtype, y.dtype)
        if op in ("div", "rem") and x.dtype.kind in "iu":
            assert np.all(y != 0), "rules choose another divisor first"
            assert x.dtype.kind == "u" or not np.any((y == -1) & (x == np.iinfo(x.dtype).min))
            rest = np.fmod(x, y)
            return rest if op == "rem" else (x - rest) // y
        assert x.dtype != BOOL or op in ("and", "or", "xor"), op
        assert x.dtype.kind == "u" or op != "rotl", x.dtype
        out = _NUMPY[op](x, y)
        if op in ("shl", "shr"):  # what is undefined is made wrong
            out = np.where((y >= 0) & (y < 8 * x.dtype.itemsize), out, ~out)
        return out

    def compare(self, op: str, x: Any, y: Any) -> Any:
        assert x.dtype == y.dtype, (op, x.dtype, y.dtype)
        return _NUMPY[op](x, y)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        if x.dtype == FLOAT32:  # the product is exact in float64
            return (x.astype(np.float64) * y + z).astype(np.float32)
        wide = np.longdouble
        return (x.astype(wide) * y.astype(wide) + z.astype(wide)).astype(np.float64)

    def select(self, condition: Any, x: Any, y: Any) -> Any:
        assert condition.dtype == BOOL
        assert x.dtype == y.dtype, (x.dtype, y.dtype)
        return np.where(condition, x, y)

    def convert(self, x: Any, dtype: Dtype) -> Any:
        return x.astype(dtype)

    def bitcast(self, x: Any, dtype: Dtype) -> Any:
        return np.ascontiguousarray(x).view(dtype).reshape(x.shape)

    def elementary(self, name: str, *args: Any) -> Any:
        if self._expansions is not None:
            return self._expansions[name, args[0].dtype](self, *args)
        return _NUMPY[name](*args)


def _count_ones(x: Any) -> Any:
    # NumPy counts those of the absolute value.
    unsigned = x.view(np.dtype(f"u{x.dtype.itemsize}"))
    return np.bitwise_count(unsigned).astype(x.dtype)


def _rotated(x: Any, y: Any) -> Any:
    bits = 8 * x.dtype.itemsize
    return x << y | x >> (bits - y) % bits


def _of_numbers(function: Callable[[float], float]) -> Callable[[Any], Any]:
    in_double = np.vectorize(function, otypes=[np.float64])
    return lambda x: in_double(x).astype(x.dtype)


def _count_leading_zeros(x: Any) -> Any:
    bits = 8 * x.dtype.itemsize
    unsigned = x.view(np.dtype(f"u{x.dtype.itemsize}"))
    counts = sum((unsigned >> k != 0).astype(np.int64) for k in range(bits))
    return (bits - counts).astype(x.dtype)


_NUMPY: dict[str, Any] = {
    "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil,
    "trunc": np.trunc, "rint": np.rint, "not": np.invert, "clz": _count_leading_zeros,
    "popcount": _count_ones,
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "rem": np.fmod,
    "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "shl": np.left_shift, "shr": np.right_shift, "copysign": np.copysign,
    "rotl": _rotated,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log1p": np.log1p,
    "log2": np.log2, "sin": np.sin, "cos": np.cos, "tan": np.tan, "tanh": np.tanh,
    "sinh": np.sinh, "cosh": np.cosh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "cbrt": np.cbrt,
    "rsqrt": lambda x: 1 / np.sqrt(x), "pow": np.power, "atan2": np.arctan2,
    "logistic": lambda x: np.exp(-np.logaddexp(0, -x)), "erf": _of_numbers(math.erf),
    "erfc": _of_numbers(math.erfc),
}  # fmt: skip

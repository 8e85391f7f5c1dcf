"""Operations on elements, printed as LLVM instructions on scalars or on vectors of them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, final

import numpy as np

from fstensor.compiler.elementary import EXPANSIONS
from fstensor.compiler.llvm.text import Function
from fstensor.core.scalar import (
    BFLOAT16,
    BOOL,
    FLOAT16,
    FLOAT32,
    FLOAT64,
    Dtype,
    ScalarOps,
)


class Register(NamedTuple):
    """An LLVM value: its text, the dtype, and how many elements it holds."""

    text: str
    dtype: Dtype
    lanes: int = 1


# A bfloat16 is the upper half of a float32, and an integer here: few machines know it, the others
# would call a function for each, and some of those that do take its smallest numbers for zeros.
_FLOATS = {FLOAT32: "float", FLOAT64: "double", FLOAT16: "half"}
_BITS = np.dtype(np.uint32)
_UPPER = np.dtype(np.uint16)
_INTEGER_OPS = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_FLOAT_OPS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "rem": "frem"}
_ROUNDINGS = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "nearbyint"}
_FLOAT_RELATIONS = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


def scalar_type(dtype: Dtype) -> str:
    """The LLVM type of a value of arithmetic."""
    return _FLOATS.get(dtype) or ("i1" if dtype == BOOL else f"i{8 * dtype.itemsize}")


def memory_type(dtype: Dtype) -> str:
    """The LLVM type of an element in memory: a bool takes a byte."""
    return "i8" if dtype == BOOL else scalar_type(dtype)


def type_of(dtype: Dtype, lanes: int) -> str:
    kind = scalar_type(dtype)
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


def suffix(dtype: Dtype, lanes: int) -> str:
    """How overloaded intrinsics name a type, as in v16f32."""
    bits = 1 if dtype == BOOL else 8 * dtype.itemsize
    letter = f"{'f' if dtype in _FLOATS else 'i'}{bits}"
    return letter if lanes == 1 else f"v{lanes}{letter}"


def memory_suffix(dtype: Dtype, lanes: int) -> str:
    """As `suffix`, of elements in memory."""
    return f"v{lanes}i8" if dtype == BOOL else suffix(dtype, lanes)


def literal(value: Any, dtype: Dtype) -> str:
    """The text of a constant."""
    if dtype == BOOL:
        return "true" if value else "false"
    if dtype == BFLOAT16:
        return str(np.asarray(value, dtype).view(np.uint16))
    if dtype.kind != "f":
        return str(int(value))
    # Floats are written by their bits; those of 32 bits as the same number of 64.
    if type(value) is not dtype.type:
        with np.errstate(all="ignore"):
            value = np.asarray(value, dtype)
    exact = float(value)
    if math.isnan(exact):
        return "0x7FF8000000000000"
    return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"


@final
class VectorWriter(ScalarOps[Register]):
    """Prints operations into a function, on as many lanes as the operands have.

    An operand of one lane goes with vectors: it is spread over the lanes.
    """

    def __init__(self, function: Function, has_fma: bool = True) -> None:
        self.function = function
        self._has_fma = has_fma
        self._spread: dict[tuple[Register, int], tuple[str, Register]] = {}

    def _intrinsic(self, name: str, result: str, *operands: str) -> str:
        """A call of an intrinsic; each operand as "type value"."""
        kinds = ", ".join(o.rsplit(" ", 1)[0] if "(" not in o else _type(o) for o in operands)
        self.function.module.declare(f"declare {result} @{name}({kinds})")
        return self.function.value(f"call {result} @{name}({', '.join(operands)})")

    def spread(self, x: Register, lanes: int) -> Register:
        """`x` in each of `lanes` lanes."""
        if x.lanes == lanes:
            return x
        assert x.lanes == 1, (x, lanes)
        kind = scalar_type(x.dtype)
        if x.text[0] != "%":
            return Register(f"splat ({kind} {x.text})", x.dtype, lanes)
        known = self._spread.get((x, lanes))
        if known is not None and known[0] == self.function.block:
            return known[1]
        whole = f"<{lanes} x {kind}>"
        one = self.function.value(f"insertelement {whole} poison, {kind} {x.text}, i64 0")
        text = self.function.value(
            f"shufflevector {whole} {one}, {whole} poison, <{lanes} x i32> zeroinitializer"
        )
        result = Register(text, x.dtype, lanes)
        self._spread[x, lanes] = (self.function.block, result)
        return result

    def _together(self, *args: Register) -> list[Register]:
        lanes = max(a.lanes for a in args)
        return [self.spread(a, lanes) for a in args]

    def _result(self, line: str, dtype: Dtype, lanes: int) -> Register:
        return Register(self.function.value(line), dtype, lanes)

    def dtype(self, x: Register) -> Dtype:
        return x.dtype

    def constant(self, value: Any, dtype: Dtype) -> Register:
        return Register(literal(value, dtype), dtype)

    def unary(self, op: str, x: Register) -> Register:
        kind = type_of(x.dtype, x.lanes)
        of = f"{kind} {x.text}"
        floating = x.dtype.kind == "f"
        if op == "neg":
            line = f"fneg {of}" if floating else f"sub {kind} {self._zero(x)}, {x.text}"
            return self._result(line, x.dtype, x.lanes)
        if op == "not":
            ones = self.spread(Register("true" if x.dtype == BOOL else "-1", x.dtype), x.lanes)
            return self._result(f"xor {of}, {ones.text}", x.dtype, x.lanes)
        if op == "abs" and not floating:
            if x.dtype.kind != "i":
                return x
            name = f"llvm.abs.{suffix(x.dtype, x.lanes)}"
            return Register(self._intrinsic(name, kind, of, "i1 false"), x.dtype, x.lanes)
        if op == "popcount":
            name = "llvm.ctpop"
        elif op == "clz":
            name = f"llvm.ctlz.{suffix(x.dtype, x.lanes)}"
            return Register(self._intrinsic(name, kind, of, "i1 false"), x.dtype, x.lanes)
        elif op == "abs":
            name = "llvm.fabs"
        elif op == "sqrt":
            name = "llvm.sqrt"
        else:
            if not floating:
                return x  # integers are round
            name = f"llvm.{_ROUNDINGS[op]}"
        text = self._intrinsic(f"{name}.{suffix(x.dtype, x.lanes)}", kind, of)
        return Register(text, x.dtype, x.lanes)

    def _zero(self, x: Register) -> str:
        return self.spread(Register("0", x.dtype), x.lanes).text

    def binary(self, op: str, x: Register, y: Register) -> Register:
        assert x.dtype == y.dtype, (op, x, y)
        if op in ("div", "rem") and self._divides_by_floats(x, y):
            return self._divided(op, x, y)
        x, y = self._together(x, y)
        kind, dtype = type_of(x.dtype, x.lanes), x.dtype
        if op in ("min", "max"):
            return self._extremum(op, x, y)
        if dtype.kind == "f":
            if op == "copysign":
                name = f"llvm.copysign.{suffix(dtype, x.lanes)}"
                text = self._intrinsic(name, kind, f"{kind} {x.text}", f"{kind} {y.text}")
                return Register(text, dtype, x.lanes)
            flags = "contract " if op in ("add", "sub", "mul") else ""
            return self._result(
                f"{_FLOAT_OPS[op]} {flags}{kind} {x.text}, {y.text}", dtype, x.lanes
            )
        if op == "rotl":
            name = f"llvm.fshl.{suffix(dtype, x.lanes)}"
            operands = (f"{kind} {x.text}", f"{kind} {x.text}", f"{kind} {y.text}")
            return Register(self._intrinsic(name, kind, *operands), dtype, x.lanes)
        if dtype == BOOL and op in ("add", "mul"):
            op = {"add": "or", "mul": "and"}[op]
        signed = dtype.kind == "i"
        word = (
            _INTEGER_OPS.get(op)
            or {
                "div": "sdiv" if signed else "udiv",
                "rem": "srem" if signed else "urem",
                "shl": "shl",
                "shr": "ashr" if signed else "lshr",
            }[op]
        )
        return self._result(f"{word} {kind} {x.text}, {y.text}", dtype, x.lanes)

    def _divides_by_floats(self, x: Register, y: Register) -> bool:
        """Machines do not divide vectors of integers. LLVM knows better ways for constants."""
        small = x.dtype.kind in "iu" and x.dtype.itemsize <= 4
        return small and max(x.lanes, y.lanes) > 1 and y.text[0] == "%"

    def _divided(self, op: str, x: Register, y: Register) -> Register:
        """The quotient or rest of integers below 2^b, exactly, by floats of p > b + 2 bits.

        A quotient x / y that is no integer is below the next one by 1 / y at least, a part in x of
        it: rounding does not reach it. That holds for (x + 1/2) / y, too, which is no integer and
        has the same integral part, so that even the inverse of y does, with one rounding more.
        """
        floating = FLOAT64 if x.dtype.itemsize == 4 else FLOAT32
        dividend, divisor = self.convert(x, floating), self.convert(y, floating)
        if y.lanes == 1:
            half = self.constant(0.5, floating)
            if x.dtype.kind == "i":
                half = self.copysign(half, dividend)
            inverse = self.div(self.constant(1, floating), divisor)
            quotient = self.mul(self.add(dividend, half), inverse)
        else:
            quotient = self.div(dividend, divisor)
        whole = self.convert(quotient, x.dtype)
        return whole if op == "div" else self.sub(x, self.mul(whole, y))

    def _extremum(self, op: str, x: Register, y: Register) -> Register:
        kind, dtype = type_of(x.dtype, x.lanes), x.dtype
        if dtype.kind == "f":
            # The machine's own minimum gives y where either is NaN: right, unless it was x.
            relation = "ogt" if op == "max" else "olt"
            test = self._result(f"fcmp {relation} {kind} {x.text}, {y.text}", BOOL, x.lanes)
            usual = self.select(test, x, y)
            nan = self._result(f"fcmp uno {kind} {x.text}, {x.text}", BOOL, x.lanes)
            return self.select(nan, x, usual)
        if dtype == BOOL:
            return self.binary("or" if op == "max" else "and", x, y)
        name = f"llvm.{'s' if dtype.kind == 'i' else 'u'}{op}.{suffix(dtype, x.lanes)}"
        text = self._intrinsic(name, kind, f"{kind} {x.text}", f"{kind} {y.text}")
        return Register(text, dtype, x.lanes)

    def compare(self, op: str, x: Register, y: Register) -> Register:
        assert x.dtype == y.dtype, (op, x, y)
        x, y = self._together(x, y)
        kind = type_of(x.dtype, x.lanes)
        if x.dtype.kind == "f":
            line = f"fcmp {_FLOAT_RELATIONS[op]} {kind} {x.text}, {y.text}"
        else:
            letter = "" if op in ("eq", "ne") else "s" if x.dtype.kind == "i" else "u"
            line = f"icmp {letter}{op} {kind} {x.text}, {y.text}"
        return self._result(line, BOOL, x.lanes)

    def fma(self, x: Register, y: Register, z: Register) -> Register:
        x, y, z = self._together(x, y, z)
        if not self._has_fma:
            return self.add(self.mul(x, y), z)
        kind = type_of(x.dtype, x.lanes)
        operands = [f"{kind} {a.text}" for a in (x, y, z)]
        name = f"llvm.fma.{suffix(x.dtype, x.lanes)}"
        return Register(self._intrinsic(name, kind, *operands), x.dtype, x.lanes)

    def select(self, condition: Register, x: Register, y: Register) -> Register:
        x, y = self._together(x, y)
        if condition.lanes > x.lanes:
            x, y = (self.spread(a, condition.lanes) for a in (x, y))
        test, kind = type_of(BOOL, condition.lanes), type_of(x.dtype, x.lanes)
        line = f"select {test} {condition.text}, {kind} {x.text}, {kind} {y.text}"
        return self._result(line, x.dtype, x.lanes)

    def convert(self, x: Register, dtype: Dtype) -> Register:
        if x.dtype == dtype:
            return x
        if x.text[0] != "%" and x.lanes == 1 and x.dtype != dtype:
            x = self._named(x)
        if BFLOAT16 in (x.dtype, dtype):
            return self._convert_bfloat(x, dtype)
        kind, to = type_of(x.dtype, x.lanes), type_of(dtype, x.lanes)
        floats = x.dtype in _FLOATS, dtype in _FLOATS
        if dtype == BOOL:
            return self.compare("ne", x, self.constant(0, x.dtype))
        if floats == (True, True):
            if x.dtype.itemsize == dtype.itemsize:
                return self.convert(self.convert(x, FLOAT32), dtype)
            word = "fpext" if dtype.itemsize > x.dtype.itemsize else "fptrunc"
        elif floats == (False, True):
            word = "sitofp" if x.dtype.kind == "i" else "uitofp"
        elif floats == (True, False):
            word = "fptosi" if dtype.kind == "i" else "fptoui"
        elif x.dtype == BOOL:
            word = "zext"
        elif dtype.itemsize == x.dtype.itemsize:
            return Register(x.text, dtype, x.lanes)
        elif dtype.itemsize < x.dtype.itemsize:
            word = "trunc"
        else:
            word = "sext" if x.dtype.kind == "i" else "zext"
        return self._result(f"{word} {kind} {x.text} to {to}", dtype, x.lanes)

    def _convert_bfloat(self, x: Register, dtype: Dtype) -> Register:
        if x.dtype == BFLOAT16:
            bits = self.convert(Register(x.text, _UPPER, x.lanes), _BITS)
            value = self.bitcast(self.shl(bits, self.constant(16, _BITS)), FLOAT32)
            return self.convert(value, dtype)
        value = self.convert(x, FLOAT32)
        bits, sixteen = self.bitcast(value, _BITS), self.constant(16, _BITS)
        upper = self.shr(bits, sixteen)
        # To the nearest, of two to the even one: what carries is above half, or half and odd.
        odd = self.and_(upper, self.constant(1, _BITS))
        near = self.shr(self.add(bits, self.add(odd, self.constant(0x7FFF, _BITS))), sixteen)
        sign = self.and_(upper, self.constant(0x8000, _BITS))
        nan = self.or_(sign, self.constant(0x7FC0, _BITS))
        found = self.select(self.compare("ne", value, value), nan, near)
        text = self.convert(found, _UPPER).text
        return Register(text, BFLOAT16, x.lanes)

    def _named(self, x: Register) -> Register:
        """A constant as a value: not every instruction takes a literal of its type."""
        kind = scalar_type(x.dtype)
        return self._result(f"select i1 true, {kind} {x.text}, {kind} {x.text}", x.dtype, 1)

    def bitcast(self, x: Register, dtype: Dtype) -> Register:
        if scalar_type(x.dtype) == scalar_type(dtype):
            return Register(x.text, dtype, x.lanes)
        kind, to = type_of(x.dtype, x.lanes), type_of(dtype, x.lanes)
        return self._result(f"bitcast {kind} {x.text} to {to}", dtype, x.lanes)

    def elementary(self, name: str, *args: Register) -> Register:
        result: Register = EXPANSIONS[name, args[0].dtype](self, *self._together(*args))
        return result

    def rarely(
        self, condition: Register, usual: Register, otherwise: Callable[[], Register]
    ) -> Register:
        f = self.function
        some = condition.text
        if condition.lanes > 1:
            kind = type_of(BOOL, condition.lanes)
            name = f"llvm.vector.reduce.or.{suffix(BOOL, condition.lanes)}"
            some = self._intrinsic(name, "i1", f"{kind} {condition.text}")
        rare, after, before = f.new_block("rare"), f.new_block("usual"), f.block
        f.branch_if(some, rare, after)
        f.enter(rare)
        result = self.select(condition, otherwise(), usual)
        end = f.block
        f.branch(after)
        f.enter(after)
        usual = self.spread(usual, result.lanes)
        kind = type_of(result.dtype, result.lanes)
        line = f"phi {kind} [{usual.text}, %{before}], [{result.text}, %{end}]"
        return self._result(line, result.dtype, result.lanes)


def _type(operand: str) -> str:
    """The type in front of an operand such as "<4 x float> splat (float 1.0)"."""
    return operand[: operand.index(">") + 1] if operand[0] == "<" else operand.split(" ", 1)[0]

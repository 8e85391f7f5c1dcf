"""Bools of matrices as bits, in the order in which vectors along the lines read them."""

from __future__ import annotations

import numpy as np

from fstensor.compiler.llvm.packing import first_lanes, load, offset, store
from fstensor.compiler.llvm.text import Function, Module
from fstensor.core.scalar import UINT32

WORD = 32  # bools in a number
_BYTE = np.dtype(np.uint8)


def write_bits(module: Module, name: str, stride: int, width: int) -> None:
    """Add `void @name(ptr %from, ptr %to, i64 %count, i64 %lines)`.

    It gathers the first `count` bools of each line. Lines are `stride` bytes apart; bit b of the
    number w * width + line is the element WORD * w + b of a line.
    """
    parameters = ["ptr noalias %from", "ptr noalias %to", "i64 %count", "i64 %lines"]
    fn = Function(module, name, parameters)

    def word(line: str, near: str, k: str, mask: str | None) -> None:
        x = load(fn, offset(fn, near, _BYTE, k), _BYTE, WORD, mask)
        x = fn.value(f"icmp ne <{WORD} x i8> {x}, zeroinitializer")
        x = fn.value(f"bitcast <{WORD} x i1> {x} to i{WORD}")
        far = offset(fn, "%to", UINT32, fn.value(f"udiv i64 {k}, {WORD}"), width)
        store(fn, x, offset(fn, far, UINT32, line), UINT32, 1)

    whole = fn.value(f"and i64 %count, {-WORD}")
    mask = first_lanes(fn, WORD, fn.value(f"sub nsw i64 %count, {whole}"))
    with fn.loop("0", "%lines") as line:
        near = offset(fn, "%from", _BYTE, line, stride)
        with fn.loop("0", whole, str(WORD)) as k:
            word(line, near, k, None)
        with fn.loop(whole, "%count", str(WORD)) as k:
            word(line, near, k, mask)
    fn.finish()

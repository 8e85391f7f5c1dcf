"""Arithmetic of indices, which are i64: decimal numbers or names."""

from __future__ import annotations

from collections.abc import Sequence

from fstensor.compiler.llvm.text import Function


def clamped(fn: Function, x: str, most: int) -> str:
    """The number from 0 to `most` that is nearest."""
    fn.module.declare("declare i64 @llvm.smin.i64(i64, i64)")
    fn.module.declare("declare i64 @llvm.smax.i64(i64, i64)")
    x = fn.value(f"call i64 @llvm.smax.i64(i64 {x}, i64 0)")
    return fn.value(f"call i64 @llvm.smin.i64(i64 {x}, i64 {most})")


def at_most(fn: Function, x: str, most: int) -> str:
    """The smaller one."""
    fn.module.declare("declare i64 @llvm.smin.i64(i64, i64)")
    return fn.value(f"call i64 @llvm.smin.i64(i64 {x}, i64 {most})")


def times(fn: Function, x: str, by: int) -> str:
    if x.isdecimal():
        return str(int(x) * by)
    return x if by == 1 else fn.value(f"mul nsw i64 {x}, {by}")


def plus(fn: Function, x: str, y: str) -> str:
    if x.isdecimal() and y.isdecimal():
        return str(int(x) + int(y))
    return x if y == "0" else y if x == "0" else fn.value(f"add nsw i64 {x}, {y}")


def minus(fn: Function, x: str, y: str) -> str:
    if x.isdecimal() and y.isdecimal():
        return str(int(x) - int(y))
    return x if y == "0" else fn.value(f"sub nsw i64 {x}, {y}")


def divided(fn: Function, x: str, by: int) -> tuple[str, str]:
    """Quotient and remainder of a number that is not negative."""
    if by == 1:
        return x, "0"
    return fn.value(f"udiv i64 {x}, {by}"), fn.value(f"urem i64 {x}, {by}")


def share(fn: Function, units: int) -> tuple[str, str]:
    """The part of some units that belongs to the thread %thread of %threads."""
    start = fn.value(f"mul nsw i64 %thread, {units}")
    stop = fn.value(f"add nsw i64 {start}, {units}")
    start = fn.value(f"udiv i64 {start}, %threads")
    return start, fn.value(f"udiv i64 {stop}, %threads")


def split(fn: Function, number: str, sizes: Sequence[int]) -> list[str]:
    """The indices that a number stands for, the last running fastest."""
    found: list[str] = []
    for k, size in enumerate(reversed(sizes)):
        last = k == len(sizes) - 1
        found.insert(0, number if last else fn.value(f"urem i64 {number}, {size}"))
        if not last:
            number = fn.value(f"udiv i64 {number}, {size}")
    return found

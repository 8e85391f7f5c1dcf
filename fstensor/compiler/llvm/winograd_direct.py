"""Results that are not finite, computed again as sums over the window, product by product.

Sums of an infinity with others, and their differences, would make NaN of what is infinite, or reach
results whose windows do not meet it; and sums may overflow where no product does. All such results
come out as infinite or NaN, so that nothing else has to be looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from fstensor.compiler.convolution import Convolution
from fstensor.compiler.llvm.conv_plan import in_pieces
from fstensor.compiler.llvm.indices import plus, times
from fstensor.compiler.llvm.packing import Source, constant_mask, load, offset, store, widened
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.tiles import multiply_add
from fstensor.compiler.llvm.vector import suffix, type_of
from fstensor.compiler.llvm.winograd_transforms import vectors
from fstensor.core.scalar import Dtype


def write_check(
    module: Module, name: str, dtype: Dtype, lanes: int, rows: int, widths: tuple[int, int]
) -> None:
    """Add `i1 @name(ptr %results)`: whether any element of some rows is not finite.

    widths: how many elements of a row there are, and how many elements apart rows are.
    """
    fn = Function(module, name, ["ptr %results"], returns="i1")
    width, row = widths
    pieces = in_pieces(width, lanes, 16 // dtype.itemsize)
    kinds = [type_of(dtype, p.lanes) for p in pieces]
    carried = [(kind, "zeroinitializer") for kind in kinds]
    with fn.carrying("0", str(rows), "1", carried) as (i, now, then):
        line = offset(fn, "%results", dtype, i, row)
        for n, (p, kind) in enumerate(zip(pieces, kinds, strict=True)):
            x = load(fn, offset(fn, line, dtype, str(p.at)), dtype, p.lanes)
            if p.valid < p.lanes:
                mask = f"<{p.lanes} x i1> {constant_mask(p.lanes, p.valid)}"
                x = fn.value(f"select {mask}, {kind} {x}, {kind} zeroinitializer")
            # 0 for what is finite, otherwise NaN.
            x = fn.value(f"fsub {kind} {x}, {x}")
            then[n] = fn.value(f"fadd {kind} {now[n]}, {x}")
    total = "false"
    for p, kind, x in zip(pieces, kinds, then, strict=True):
        odd = fn.value(f"fcmp une {kind} {x}, zeroinitializer")
        function = f"@llvm.vector.reduce.or.v{p.lanes}i1"
        fn.module.declare(f"declare i1 {function}(<{p.lanes} x i1>)")
        odd = fn.value(f"call i1 {function}(<{p.lanes} x i1> {odd})")
        total = fn.value(f"or i1 {total}, {odd}")
    fn.finish(f"i1 {total}")


class DirectSum:
    """Writes sums of products for one result, or neighbouring outputs of it."""

    def __init__(self, fn: Function, conv: Convolution, target: Target, width: int) -> None:
        self.fn, self.conv, self.target, self.width = fn, conv, target, width
        self.dtype, self.lanes = conv.dtype, target.lanes(conv.dtype)

    def clear(self, far: str) -> None:
        """Zeros in the place of the sums."""

        def some(at: str, lanes: int, mask: str | None) -> None:
            to = offset(self.fn, far, self.dtype, at)
            store(self.fn, "zeroinitializer", to, self.dtype, lanes)

        vectors(self.fn, self.width, self.dtype, self.lanes, some)

    def element(self, near: str, place: Sequence[str], window: Sequence[str]) -> tuple[str, str]:
        """Where the element lies that a place of results and one of the window meet.

        near: the image's first element. Also says whether it is inside of the image; if not, there
        is a zero, and the address is that of the first element.
        """
        fn, conv = self.fn, self.conv
        inside, found = "true", near
        for p, k, axis in zip(place, window, conv.axes, strict=True):
            at = plus(fn, times(fn, p, axis.stride), times(fn, k, axis.dilation))
            at = fn.value(f"sub nsw i64 {at}, {axis.low}")
            there = fn.value(f"icmp ult i64 {at}, {axis.size}")
            inside = fn.value(f"and i1 {inside}, {there}")
            found = offset(fn, found, conv.lhs_dtype, at, axis.lhs)
        return fn.value(f"select i1 {inside}, ptr {found}, ptr {near}"), inside

    def add(
        self, element: tuple[str, str], kernel: str, memory: Dtype, far: str, exact: bool
    ) -> None:
        """Add an element's products with neighbours of the kernel to the sums.

        exact: nothing may be read behind these.
        """
        fn, dtype = self.fn, self.dtype
        near, inside = element
        x = load(fn, near, self.conv.lhs_dtype, 1)
        x = widened(fn, x, Source(self.conv.lhs_dtype, dtype, 1, 1), 1)
        x = fn.value(f"select i1 {inside}, {type_of(dtype, 1)} {x}, {type_of(dtype, 1)} 0.0")

        def some(at: str, lanes: int, mask: str | None) -> None:
            kind, one = type_of(dtype, lanes), type_of(dtype, 1)
            first = fn.value(f"insertelement {kind} poison, {one} {x}, i64 0")
            zeros = f"<{lanes} x i32> zeroinitializer"
            many = fn.value(f"shufflevector {kind} {first}, {kind} poison, {zeros}")
            y = load(fn, offset(fn, kernel, memory, at), memory, lanes, mask)
            y = widened(fn, y, Source(memory, dtype, 1, 1), lanes)
            to = offset(fn, far, dtype, at)
            total = load(fn, to, dtype, lanes)
            total = multiply_add(fn, kind, suffix(dtype, lanes), self.target, many, y, total)
            store(fn, total, to, dtype, lanes)

        vectors(fn, self.width, dtype, self.lanes, some, exact)

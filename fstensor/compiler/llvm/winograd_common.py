"""What both ways of Winograd's algorithm share: see `winograd`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from fstensor.compiler.convolution import Convolution
from fstensor.compiler.llvm.conv_copy import write_copy
from fstensor.compiler.llvm.conv_plan import Copied, Level, in_pieces, rounded_up
from fstensor.compiler.llvm.conv_tile import ConvTile, write_conv_tile
from fstensor.compiler.llvm.conv_turned import Epilogue
from fstensor.compiler.llvm.indices import (
    at_most,
    times,
)
from fstensor.compiler.llvm.packing import constant_mask, load, offset
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.winograd_direct import write_check
from fstensor.compiler.llvm.winograd_plan import POINTS, WinogradPlan
from fstensor.compiler.llvm.winograd_transforms import Tiles, of_operand, write_tiles

# Multiplications of vectors that are worth a round of a loop.
_LEAST_WORK = 16


class WinogradWriter(ABC):
    """Writes the functions of a convolution.

    Subclasses write those of a way, and say how much room in the workspace that takes: own_size of
    each thread's, shared_size of all. In elements, copy_at is where copies of the operand are in a
    thread's room, which begins with its transformed tiles; result_rows is how many rows of results
    are looked at together.
    """

    own_size: int
    shared_size: int
    copy_at: int
    result_rows: int

    def __init__(
        self,
        module: Module,
        name: str,
        conv: Convolution,
        plan: WinogradPlan,
        target: Target,
        extra: Sequence[str],
        epilogue: Epilogue,
        along: int | None,
    ) -> None:
        self.module, self.name, self.conv, self.plan = module, name, conv, plan
        self.target, self.extra, self.epilogue, self.along = target, list(extra), epilogue, along
        self.dtype, self.lanes = conv.dtype, target.lanes(conv.dtype)
        self.tiles = plan.images * plan.band_tiles
        self.make_room()

    @abstractmethod
    def make_room(self) -> None:
        """Decide where things lie in the workspace."""

    def room(self, size: int) -> int:
        """Elements of a piece of the workspace: vectors may go beyond the last one wanted."""
        return rounded_up(size + 2 * self.lanes, self.line)

    def room_of_copy(self, copies: Sequence[Copied]) -> int:
        return self.room(copies[0].target * copies[0].extent) if copies else 0

    @property
    def line(self) -> int:
        """How many elements a line of a cache has."""
        return 64 // self.dtype.itemsize

    @property
    def bytes(self) -> tuple[int, int]:
        """Of the workspace: what all threads share, and what each of them needs."""
        sizes = (self.shared_size, self.own_size)
        shared, own = [rounded_up(n, self.line) * self.dtype.itemsize for n in sizes]
        return shared, own

    def write(self) -> None:
        """Add all functions."""
        plan, conv = self.plan, self.conv
        self.write_tile()
        dtypes = (conv.lhs_dtype, conv.dtype)
        if plan.copies:
            write_copy(self.module, f"{self.name}.copy", dtypes, plan.copies, True, self.lanes)
        self.write_operand()
        write_check(
            self.module, f"{self.name}.odd", self.dtype, self.lanes, self.result_rows,
            (plan.width, plan.b_row),
        )  # fmt: skip

    @staticmethod
    def strides(copies: Sequence[Copied], in_memory: list[int]) -> list[int]:
        found = {c.axis: c.target for c in copies}
        return [found.get(number, stride) for number, stride in enumerate(in_memory)]

    def write_operand(self) -> None:
        """Tiles of the operand, or its copy."""
        plan, conv = self.plan, self.conv
        tiles = Tiles(
            plan.axes,
            channels=plan.block if plan.by_inputs else conv.inputs,
            strides=self.strides(plan.copies, [a.lhs for a in conv.axes]),
            sizes=(POINTS, POINTS),
            row=plan.a_row,
            point=self.tiles * plan.a_row,
            exact=not plan.copies,
        )
        fn = Function(self.module, f"{self.name}.operand", ["ptr noalias %from", "ptr noalias %to"])
        write_tiles(fn, tiles, self.dtype, self.lanes, of_operand)
        fn.finish()

    def write_tile(self) -> None:
        """A tile of sums: some rows, and the columns of a panel."""
        plan = self.plan
        parameters = ["ptr noalias %a", "ptr noalias %b", "ptr noalias %sums"]
        parameters += ["i1 %resume"] * plan.by_inputs
        fn = Function(self.module, f"{self.name}.tile", parameters)
        step = plan.a_row if plan.by_inputs else 1
        work = plan.rows * plan.b_row // self.lanes
        some = max(n for n in range(1, -(-_LEAST_WORK // work) + 1) if plan.depth % n == 0)
        levels = [Level(plan.depth // some, some * step, some * plan.b_row)]
        levels.append(Level(some, step, plan.b_row))
        apart = 1 if plan.by_inputs else plan.a_row
        tile = ConvTile(
            self.dtype,
            tuple([level for level in levels if level.size > 1]),
            in_pieces(plan.width, self.lanes, 16 // self.dtype.itemsize),
            tuple([n * apart for n in range(plan.rows)]),
            plan.b_row,
            resumable=plan.by_inputs,
            b_padded=True,
            apart=False,
        )
        write_conv_tile(fn, tile, self.target)
        fn.finish()

    def output(self, fn: Function, panel: str) -> str:
        """The first output of a panel."""
        return at_most(fn, times(fn, panel, self.plan.width), self.conv.outputs - self.plan.width)

    def first_row(self, fn: Function, block: str) -> str:
        """The first row of a tile of sums."""
        return at_most(fn, times(fn, block, self.plan.rows), self.plan.all_rows - self.plan.rows)

    def columns(self) -> list[tuple[int, int]]:
        """From where, and how many columns of a panel are handed on; last, of the last one."""
        plan = self.plan
        twice = plan.panels * plan.width - self.conv.outputs
        return [(0, plan.width)] + [(twice, plan.width - twice)] * (twice > 0)

    def finisher(self, fn: Function, panel: str) -> str:
        """The function that hands on the results of a panel."""
        if len(self.columns()) == 1:
            return f"@{self.name}.finish0"
        inside = fn.value(f"icmp slt i64 {panel}, {self.plan.panels - 1}")
        return fn.value(f"select i1 {inside}, ptr @{self.name}.finish0, ptr @{self.name}.finish1")

    def parameters(self) -> list[str]:
        rest = ["ptr %shared", "ptr %own", "i64 %thread", "i64 %threads"]
        return ["ptr %a", "ptr %b", *self.extra, *rest]

    def finish_parameters(self) -> list[str]:
        return ["i64 %n", "i64 %at", "i64 %output", *self.extra]

    def hand_on(self, fn: Function, line: str, index: list[str], columns: tuple[int, int]) -> None:
        """Hand a row of results of neighbouring outputs to the epilogue."""
        first, width = columns
        for p in in_pieces(width, self.lanes, 16 // self.dtype.itemsize):
            acc = load(fn, offset(fn, line, self.dtype, str(first + p.at)), self.dtype, p.lanes)
            at = fn.value(f"add nsw i64 %output, {first + p.at}")
            mask = constant_mask(p.lanes, p.valid) if p.valid < p.lanes else None
            self.epilogue(fn, acc, [*index, at], p.lanes, mask)

    def take_operand(self, fn: Function, near: str, stride: int, at: str) -> None:
        """Transform the tiles of the images in work, which are `stride` apart, for a band."""
        conv, plan = self.conv, self.plan
        with fn.loop("0", str(plan.images)) as i:
            image = offset(fn, near, conv.lhs_dtype, i, stride)
            if plan.copies:
                copy = offset(fn, "%own", self.dtype, str(self.copy_at))
                fn.do(f"call void @{self.name}.copy(ptr {image}, ptr {copy}, i64 {at})")
                image = copy
            else:
                skipped = sum(-axis.low * axis.lhs for axis in conv.axes)
                image = offset(fn, image, self.dtype, "1", skipped) if skipped else image
                image = offset(fn, image, self.dtype, at, conv.axes[0].lhs)
            to = offset(fn, "%own", self.dtype, i, plan.band_tiles * plan.a_row)
            fn.do(f"call void @{self.name}.operand(ptr {image}, ptr {to})")

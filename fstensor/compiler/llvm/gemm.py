"""Matrix products as LLVM functions: C[batch, i, j] = sum over k of A[batch, i, k] B[batch, k, j].

`write_product(module, name, spec, target, extra, epilogue)` adds

    void @name(ptr %a, ptr %b, <extra parameters>, ptr %workspace, i64 %thread, i64 %threads)

Each thread of a team calls it with its own number; together they compute the whole, each its own
part, without waiting for another. `workspace_bytes(spec, target, threads)` says how large the
workspace is, which starts at a multiple of 64 bytes.

What becomes of the results is the caller's choice: `epilogue(fn, acc, batch, i, j, lanes, mask)`
writes the lines that store (or use) C[batch, i, j:j + lanes]. It is reached exactly once for each
element, with the complete sum. `acc` is a value of type `<lanes x float>`, or of the scalar type
where lanes is 1; `batch`, `i` and `j` are i64 values; `mask` is a constant of type `<lanes x i1>`,
or None where all lanes are valid. `lanes` is a power of two, at most that of a vector. The lines
stand in functions of their own, which know the `extra` parameters, all of them pointers; they may
use nothing else, and may contain blocks. They are written several times, and once for a trial whose
text is thrown away.

The method is that of K. Goto and R. A. van de Geijn, "Anatomy of high-performance matrix
multiplication" (2008), as arranged in BLIS (F. G. Van Zee and R. A. van de Geijn, 2015): blocks of
B are copied into panels that stay in the second cache, rows of A stay in the first, and a tile of C
stays in registers while k runs. Small products, and those with few rows, are read in place.

Code is shared between the products of a module. Tiles and copies depend on few numbers, and take
strides when they run; the loops around them, in `gemm_loops`, are the same for all products, and
find in a table what a product is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from fstensor.compiler.llvm.gemm_loops import Context, loops_of, table
from fstensor.compiler.llvm.gemm_plan import (
    MatrixProduct,
    has_no_results,
    make_plan,
    normal,
    workspace_bytes,
)
from fstensor.compiler.llvm.packing import (
    Source,
    constant_mask,
    offset,
    write_line_copy,
    write_packing,
)
from fstensor.compiler.llvm.target import Target
from fstensor.compiler.llvm.text import Function, Module
from fstensor.compiler.llvm.tiles import Tile, write_tile
from fstensor.compiler.llvm.vector import type_of
from fstensor.core.scalar import Dtype

# Up to this extent of k, results are not stored between the sums and an epilogue of few lines.
_SHORT_K = 256
_SHORT_EPILOGUE = 12

# From so many lines on, an epilogue is written once for all whole vectors of a row.
_LONG_EPILOGUE = 16

__all__ = ["Epilogue", "MatrixProduct", "make_plan", "workspace_bytes", "write_product"]

Epilogue = Callable[[Function, str, list[str], str, str, int, str | None], None]


def write_product(
    module: Module,
    name: str,
    spec: MatrixProduct,
    target: Target,
    extra: Sequence[str],
    epilogue: Epilogue,
) -> None:
    """Add the function `name`, described above, and those it calls that are not there yet."""
    spec = normal(spec)
    parameters = ["ptr %a", "ptr %b", *extra, "ptr %workspace", "i64 %thread", "i64 %threads"]
    fn = Function(module, name, parameters, quickly=True)
    if not has_no_results(spec):
        _Writer(module, name, spec, target, extra, epilogue).write(fn)
    fn.finish()


class _Writer:
    """Writes the functions of one product."""

    def __init__(
        self,
        module: Module,
        name: str,
        spec: MatrixProduct,
        target: Target,
        extra: Sequence[str],
        epilogue: Epilogue,
    ) -> None:
        self.module, self.name, self.spec, self.target = module, name, spec, target
        self.extra = [x.removeprefix("ptr ") for x in extra]
        self.epilogue = epilogue
        self.plan = make_plan(spec, target)
        tile = self.plan.tile
        self.rows = _counts(spec.m, tile.rows)
        self.widths = _counts(spec.n, tile.width)
        self.context = Context(len(spec.batch), self.extra)
        self.in_registers = self._finishes_in_registers()

    def _finishes_in_registers(self) -> bool:
        """Whether tiles call the epilogue: where storing the sums first would take its time."""
        tile = self.plan.tile
        if tile.kind != "outer" or self.spec.k > _SHORT_K or self.plan.blocks(self.spec.k) > 1:
            return False
        return self._epilogue_length() <= _SHORT_EPILOGUE

    def _epilogue_length(self) -> int:
        trial = Function(self.module, "", [])
        lanes = self.plan.lanes
        batch = [f"%n{n}" for n in range(len(self.spec.batch))]
        self.epilogue(trial, "%acc", batch, "%i", "%j", lanes, constant_mask(lanes, 1))
        return trial.length

    def write(self, fn: Function) -> None:
        """The call of the loops that all products share, with the table of this one."""
        tiles = [[self._tile(r, w) for w in self.widths] for r in self.rows]
        finish = [] if self.in_registers else self._finishes()
        pack_a = [self._pack_a(r) for r in self.rows] if self.plan.a_packing else []
        pack_b = [self._pack_b(w) for w in self.widths] if self.plan.b_packed else []
        values = table(self.spec, self.plan, tiles, finish, pack_a, pack_b)
        kinds = ", ".join(v.split(" ", 1)[0] for v in values)
        constant = f"@{self.name}.table"
        self.module.declare(
            f"{constant} = internal constant {{ {kinds} }} {{ {', '.join(values)} }}, align 64"
        )
        context = self.context.make(fn)
        passed = f"ptr {constant}, ptr %a, ptr %b, ptr {context}, ptr %workspace"
        loops = loops_of(self.module, self.spec)
        fn.do(f"call void @{loops}({passed}, i64 %thread, i64 %threads)")

    # Tiles

    def _tile(self, rows: int, width: int) -> str:
        """A function for a size of a tile. It finds its strides in the first places of the table.

        %sums: where its results are stored, or the context of the epilogue that it writes itself.
        """
        packed = self.plan.b_packed and self.plan.tile.kind == "outer"
        tile = self.plan.tile._replace(
            rows=rows, width=width, b_padded=packed,
            a_row="%a_row", a_k="%a_k", b_k="%b_k", b_column="%b_column",
        )  # fmt: skip
        name = f"tile_{tile.kind}_{tile.dtype}_{rows}x{width}"
        if packed:
            tile, name = tile._replace(b_k=tile.row_size(self.plan.lanes)), f"{name}_panel"
        if self.plan.a_packing == "interleaved":
            tile, name = tile._replace(a_row=1, a_k=rows), f"{name}_interleaved"
        if self.in_registers:
            name = f"{self.name}.tile{rows}x{width}"
        if name in self.module:
            return name
        parameters = ["ptr noalias %a", "ptr noalias %b", "i64 %count", "ptr %sums", "i1 %resume"]
        fn = Function(self.module, name, [*parameters, "ptr %table"])
        strides = ["%a_row", "%a_k", "%b_k", "%b_column"]
        for n, stride in enumerate(strides):
            where = fn.value(f"getelementptr i64, ptr %table, i64 {n}")
            fn.do(f"{stride} = load i64, ptr {where}")
        finish = None
        if self.in_registers:
            finish = partial(self._finish_in_registers, fn, tile)
        resumable = not self.in_registers and tile.kind != "inner"
        write_tile(fn, tile, self.target, resumable, finish)
        fn.finish()
        return name

    def _finish_in_registers(self, fn: Function, tile: Tile, sums: list[str]) -> None:
        batch, row, column = self.context.load(fn, "%sums")
        pieces = tile.pieces(self.plan.lanes)
        columns = [fn.value(f"add nsw i64 {column}, {at}") if at else column for at, _, _ in pieces]
        for r in range(tile.rows):
            i = fn.value(f"add nsw i64 {row}, {r}") if r else row
            for v, (_, lanes, mask) in enumerate(pieces):
                acc = sums[r * len(pieces) + v]
                if lanes == 1:
                    kind = type_of(tile.dtype, self.plan.lanes)
                    acc = fn.value(f"extractelement {kind} {acc}, i64 0")
                self.epilogue(fn, acc, batch, i, columns[v], lanes, mask)

    def _finishes(self) -> list[str]:
        if self.plan.in_lines:
            return [self._finish_lines()]
        return [self._finish(w) for w in self.widths]

    def _finish(self, width: int) -> str:
        """A function that hands the sums of a tile, row by row, to the epilogue."""
        name = f"{self.name}.finish{width}"
        fn = Function(self.module, name, ["ptr %sums", "i64 %rows", "ptr %context"])
        batch, row, column = self.context.load(fn, "%context")
        with fn.loop("0", "%rows") as r:
            i = fn.value(f"add nsw i64 {row}, {r}")
            self._finish_line(fn, width, "%sums", r, batch, i, column)
        fn.finish()
        return name

    def _finish_lines(self) -> str:
        """As `_finish`, for tiles side by side: so many whole ones, of so many, so far apart."""
        name, tile = f"{self.name}.finish", self.plan.tile
        parameters = ["ptr %sums", "i64 %rows", "ptr %context"]
        parameters += ["i64 %whole", "i64 %number", "i64 %distance"]
        fn = Function(self.module, name, parameters)
        batch, row, column = self.context.load(fn, "%context")

        def tiles(i: str, r: str, bounds: tuple[str, str], width: int) -> None:
            with fn.loop(*bounds) as n:
                far = fn.value(f"mul nsw i64 {n}, %distance")
                sums = fn.value(f"getelementptr i8, ptr %sums, i64 {far}")
                j = fn.value(f"mul nsw i64 {n}, {tile.width}")
                j = fn.value(f"add nsw i64 {column}, {j}")
                self._finish_line(fn, width, sums, r, batch, i, j)

        with fn.loop("0", "%rows") as r:
            i = fn.value(f"add nsw i64 {row}, {r}")
            for width in self.widths:
                is_whole = width == tile.width
                tiles(i, r, ("0", "%whole") if is_whole else ("%whole", "%number"), width)
        fn.finish()
        return name

    def _finish_line(
        self, fn: Function, width: int, sums: str, r: str, batch: list[str], i: str, column: str
    ) -> None:
        """Hand line r of the sums of a tile to the epilogue."""
        tile = self.plan.tile._replace(width=width)
        dtype, pieces = tile.dtype, tile.pieces(self.plan.lanes)

        def piece(at: str, lanes: int, mask: str | None) -> None:
            address = offset(fn, line, dtype, at)
            kind = type_of(dtype, lanes)
            acc = fn.value(f"load {kind}, ptr {address}, align {dtype.itemsize}")
            j = fn.value(f"add nsw i64 {column}, {at}") if at != "0" else column
            self.epilogue(fn, acc, batch, i, j, lanes, mask)

        line = offset(fn, sums, dtype, r, tile.row_size(self.plan.lanes))
        whole = sum(mask is None for _, _, mask in pieces)
        in_loop = whole > 1 and self._epilogue_length() >= _LONG_EPILOGUE
        if in_loop:
            lanes = pieces[0][1]
            with fn.loop("0", str(whole * lanes), str(lanes)) as at:
                piece(at, lanes, None)
        for start, lanes, mask in pieces[whole * in_loop :]:
            piece(str(start), lanes, mask)

    # Copies

    def _pack_b(self, width: int) -> str:
        """A function that copies panels of B."""
        spec, tile = self.spec, self.plan.tile
        # A column of b alone is read by elements, not vectors.
        narrow = tile._replace(width=width)
        padded = narrow.row_size(self.plan.lanes) if tile.kind == "outer" else width
        return self._packing(spec.memory[1], spec.b_k, spec.b_column, width, padded)

    def _pack_a(self, rows: int) -> str:
        """A function that copies rows of A."""
        spec = self.spec
        if self.plan.a_packing == "interleaved":
            return self._packing(spec.memory[0], spec.a_k, spec.a_row, rows, rows)
        source, form = _source(spec.memory[0], spec.dtype, spec.a_k, spec.a_row)
        name = f"lines_{form}_{rows}"
        if name not in self.module:
            write_line_copy(self.module, name, source, rows, self.plan.lanes, _STRIDES)
        return name

    def _packing(self, memory: Dtype, k_stride: int, line_stride: int, *sizes: int) -> str:
        width, padded = sizes
        source, form = _source(memory, self.spec.dtype, k_stride, line_stride)
        name = f"panel_{form}_{width}_{padded}"
        if name not in self.module:
            write_packing(
                self.module, name, source, width, padded, "%size", self.plan.lanes, _STRIDES
            )
        return name


_STRIDES = ("i64 %k_stride", "i64 %line_stride", "i64 %size")


def _source(memory: Dtype, dtype: Dtype, k_stride: int, line_stride: int) -> tuple[Source, str]:
    """Where a copy comes from, with strides other than 1 known at run time, and a name for that."""
    if line_stride == 1:
        return Source(memory, dtype, "%k_stride", 1), f"{memory}_{dtype}_rows"
    if k_stride == 1:
        return Source(memory, dtype, 1, "%line_stride"), f"{memory}_{dtype}_lines"
    return Source(memory, dtype, "%k_stride", "%line_stride"), f"{memory}_{dtype}_elements"


def _counts(size: int, most: int) -> list[int]:
    """The size of whole tiles, and what remains, as far as there are such."""
    return [most] * (size >= most) + [size % most] * (size % most > 0)

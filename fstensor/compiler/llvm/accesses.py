"""Where the elements of a kernel lie in memory, and how vectors of them are read and written."""

from __future__ import annotations

from collections.abc import Sequence

from fstensor.compiler.kernels import LOADS, Access, Kernel, Store, computed
from fstensor.compiler.llvm.text import Function
from fstensor.compiler.llvm.vector import (
    Register,
    VectorWriter,
    memory_suffix,
    memory_type,
    scalar_type,
    type_of,
)
from fstensor.compiler.schedule import Schedule
from fstensor.core.affine import Affine
from fstensor.core.scalar import BOOL, INT64, Dtype


class AccessWriter:
    """Prints loads and stores within the loops of a schedule; what `LoopWriter` begins with."""

    def __init__(self, f: Function, schedule: Schedule, has_fma: bool) -> None:
        self.kernel: Kernel = schedule.kernel
        self.schedule = schedule
        self.f = f
        self.buffers = [f"%p{k}" for k in range(len(self.kernel.buffers))]  # their addresses
        # Buffers of one element that is in a register; None for those that are to be.
        self.held: dict[int, Register | None] = {}
        self.ops = VectorWriter(self.f, has_fma)
        self.variables: dict[int, str] = {}  # of the axes whose loops are open
        self.mask: str | None = None  # of the lanes that exist, in the last round of a loop
        self.bases: dict[tuple[int, ...], str] = {}

    def places(self) -> list[Affine]:
        found = [i.detail for i in self.kernel.instructions if i.op == "index"]
        found += [i.detail.place for i in self.kernel.instructions if i.op in LOADS]
        return found + [s.access.place for s in self.kernel.stores]

    def base(self, place: Affine) -> str:
        """The part of a place that the open outer loops fix, but for what is constant."""
        outer = len(self.kernel.outer)
        fixed = [a for a in range(outer) if a in self.variables and a != self.schedule.lane]
        key = tuple([place.strides[a] for a in fixed])
        if key not in self.bases:
            total = "0"
            for a in fixed:
                total = self._plus(total, self.variables[a], place.strides[a])
            self.bases[key] = total
        return self.bases[key]

    def plus_constant(self, total: str, constant: int) -> str:
        if not constant:
            return total
        return str(constant) if total == "0" else self.f.value(f"add nsw i64 {total}, {constant}")

    def _plus(self, total: str, variable: str, stride: int) -> str:
        if stride == 0:
            return total
        if stride != 1:
            variable = self.f.value(f"mul nsw i64 {variable}, {stride}")
        return variable if total == "0" else self.f.value(f"add nsw i64 {total}, {variable}")

    def _place(self, place: Affine, u: int) -> tuple[str, int]:
        """The position of a vector's first element: what the loops make of it, and the rest.

        The first is the same for the vectors of a round, and for neighbours.
        """
        total = self.base(place)
        lane = self.schedule.lane
        for a in range(len(self.kernel.outer), len(self.kernel.sizes)):
            if a != lane and place.strides[a]:
                total = self._plus(total, self.variables[a], place.strides[a])
        if lane >= 0 and place.strides[lane]:
            total = self._plus(total, self.variables[lane], place.strides[lane])
            return total, place.constant + u * self.schedule.lanes * place.strides[lane]
        return total, place.constant

    def _index(self, place: Affine, dtype: Dtype, u: int) -> Register:
        where = self.plus_constant(*self._place(place, u))
        first = self.ops.convert(Register(where, INT64), dtype)
        lane, lanes = self.schedule.lane, self.schedule.lanes
        if lane < 0 or not place.strides[lane] or lanes == 1:
            return first
        return self.ops.add(self.ops.spread(first, lanes), self._steps(place.strides[lane], dtype))

    def _steps(self, stride: int, dtype: Dtype = INT64) -> Register:
        kind, bits = scalar_type(dtype), 8 * dtype.itemsize
        numbers = [k * stride % (1 << bits) for k in range(self.schedule.lanes)]
        text = ", ".join(f"{kind} {n}" for n in numbers)
        return Register(f"<{text}>", dtype, self.schedule.lanes)

    def _pointer(self, access: Access, u: int, offset: Register | None = None) -> str:
        kind = memory_type(self.kernel.buffers[access.buffer])
        where, constant = self._place(access.place, u)
        if offset is not None:
            where = self.f.value(f"add nsw i64 {where}, {offset.text}")
        pointer = self.buffers[access.buffer]
        for number in (where, str(constant)):
            if number != "0":
                pointer = self.f.value(f"getelementptr {kind}, ptr {pointer}, i64 {number}")
        return pointer

    def _pointers(self, access: Access, u: int, stride: int, offset: Register | None = None) -> str:
        """One pointer for each lane, for elements that are not neighbours."""
        kind, lanes = memory_type(self.kernel.buffers[access.buffer]), self.schedule.lanes
        first = self.plus_constant(*self._place(access.place, u))
        where = self.ops.spread(Register(first, INT64), lanes)
        where = self.ops.add(where, self._steps(stride))
        if offset is not None:
            where = self.ops.add(where, offset)
        base = f"getelementptr {kind}, ptr {self.buffers[access.buffer]}"
        return self.f.value(f"{base}, <{lanes} x i64> {where.text}")

    def _stride(self, access: Access) -> int:
        lane = self.schedule.lane
        return access.place.strides[lane] if lane >= 0 and self.schedule.lanes > 1 else 0

    def load(self, access: Access, u: int, offset: Register | None = None) -> Register:
        """Elements from memory, `offset` further on."""
        dtype = self.kernel.buffers[access.buffer]
        kind, aligned, lanes = memory_type(dtype), dtype.alignment, self.schedule.lanes
        stride = self._stride(access)
        scattered = stride not in (0, 1) or (offset is not None and offset.lanes > 1)
        if stride == 0 and not scattered:
            text = self.f.value(
                f"load {kind}, ptr {self._pointer(access, u, offset)}, align {aligned}"
            )
            return self._loaded(text, dtype, 1)
        vector = f"<{lanes} x {kind}>"
        if stride == 1 and self.mask is None and not scattered:
            where = self._pointer(access, u, offset)
            text = self.f.value(f"load {vector}, ptr {where}, align {aligned}")
            return self._loaded(text, dtype, lanes)
        of = memory_suffix(dtype, lanes)
        one = "1.0" if dtype.kind == "f" else "1"
        filling = f"{vector} splat ({kind} {one})"
        mask = self.mask or "splat (i1 true)"
        if stride == 1 and not scattered:
            where = f"ptr align {aligned} {self._pointer(access, u, offset)}"
            name, kinds = f"llvm.masked.load.{of}.p0", f"ptr, <{lanes} x i1>, {vector}"
        else:
            where = f"<{lanes} x ptr> align {aligned} {self._pointers(access, u, stride, offset)}"
            name = f"llvm.masked.gather.{of}.v{lanes}p0"
            kinds = f"<{lanes} x ptr>, <{lanes} x i1>, {vector}"
        self.f.module.declare(f"declare {vector} @{name}({kinds})")
        text = self.f.value(f"call {vector} @{name}({where}, <{lanes} x i1> {mask}, {filling})")
        return self._loaded(text, dtype, lanes)

    def _load_if(self, access: Access, u: int, condition: Register) -> Register:
        """Elements from memory where `condition` holds; nothing is touched where no lane asks."""
        lanes = self.schedule.lanes if self._stride(access) else 1
        some = condition.text
        if condition.lanes > 1:
            of = f"v{condition.lanes}i1"
            kind = type_of(BOOL, condition.lanes)
            self.f.module.declare(f"declare i1 @llvm.vector.reduce.or.{of}({kind})")
            some = self.f.value(f"call i1 @llvm.vector.reduce.or.{of}({kind} {some})")
        self.base(access.place)
        there, after, before = self.f.new_block("there"), self.f.new_block("on"), self.f.block
        self.f.branch_if(some, there, after)
        self.f.enter(there)
        mask = self.mask
        if lanes > 1 and condition.lanes > 1:
            wanted = condition
            if mask is not None:
                wanted = self.ops.binary("and", wanted, Register(mask, BOOL, lanes))
            self.mask = wanted.text
        found = self.load(access, u)
        self.mask = mask
        end = self.f.block
        self.f.branch(after)
        self.f.enter(after)
        other = self.ops.spread(self.ops.constant(1, found.dtype), found.lanes)
        kind = type_of(found.dtype, found.lanes)
        text = self.f.value(f"phi {kind} [{other.text}, %{before}], [{found.text}, %{end}]")
        return found._replace(text=text)

    def _loaded(self, text: str, dtype: Dtype, lanes: int) -> Register:
        """A value from memory in the dtype of arithmetic."""
        if dtype == BOOL:
            kind = "i8" if lanes == 1 else f"<{lanes} x i8>"
            zero = "0" if lanes == 1 else "zeroinitializer"
            return Register(self.f.value(f"icmp ne {kind} {text}, {zero}"), BOOL, lanes)
        return self.ops.convert(Register(text, dtype, lanes), computed(dtype))

    def _are_interleaved(self, stores: Sequence[Store]) -> bool:
        """Whether the vectors of some stores together make up one part of memory."""
        if len(stores) < 2 or self.schedule.lanes == 1 or self.mask is not None:
            return False
        first = stores[0].access
        return self._stride(first) == len(stores) and all(
            s.access == Access(first.buffer, first.place + k) for k, s in enumerate(stores)
        )

    def _store_in_turn(self, first: Store, vectors: Sequence[Register], u: int) -> None:
        """Write the first elements of all vectors, then the second ones, and so on."""
        lanes, count = self.schedule.lanes, len(vectors)
        dtype = self.kernel.buffers[first.access.buffer]
        kind = memory_type(dtype)
        texts = [self._stored(self.ops.spread(self.ops.convert(v, dtype), lanes)) for v in vectors]
        size = lanes
        while len(texts) > 1:  # one vector of all of them
            texts += ["poison"] * (len(texts) % 2)
            vector, size = f"<{size} x {kind}>", 2 * size
            every = ", ".join(f"i32 {k}" for k in range(size))
            texts = [
                self.f.value(f"shufflevector {vector} {a}, {vector} {b}, <{size} x i32> <{every}>")
                for a, b in zip(texts[::2], texts[1::2], strict=True)
            ]
        vector, total = f"<{size} x {kind}>", lanes * count
        order = ", ".join(f"i32 {k * lanes + j}" for j in range(lanes) for k in range(count))
        text = self.f.value(
            f"shufflevector {vector} {texts[0]}, {vector} poison, <{total} x i32> <{order}>"
        )
        where = self._pointer(first.access, u)
        self.f.do(f"store <{total} x {kind}> {text}, ptr {where}, align {dtype.alignment}")

    def _stored(self, value: Register) -> str:
        """A value as it stands in memory."""
        if value.dtype != BOOL:
            return value.text
        wide = "i8" if value.lanes == 1 else f"<{value.lanes} x i8>"
        return self.f.value(f"zext {type_of(BOOL, value.lanes)} {value.text} to {wide}")

    def store(self, store: Store, value: Register, u: int, offset: Register | None = None) -> None:
        """Write the elements of vector u, `offset` further on."""
        access = store.access
        dtype, lanes = self.kernel.buffers[access.buffer], self.schedule.lanes
        kind, aligned, stride = memory_type(dtype), dtype.alignment, self._stride(access)
        value = self.ops.convert(value, dtype)
        if access.buffer in self.held:
            self.held[access.buffer] = self.ops.convert(value, computed(dtype))
            return
        if stride:
            value = self.ops.spread(value, lanes)
        text = self._stored(value)
        if stride == 0:
            self.f.do(
                f"store {kind} {text}, ptr {self._pointer(access, u, offset)}, align {aligned}"
            )
            return
        vector = f"<{lanes} x {kind}>"
        if stride == 1 and self.mask is None:
            past = ""
            if access.buffer in self.schedule.streamed:
                self.f.module.declare("!0 = !{i32 1}")
                past, aligned = ", !nontemporal !0", lanes * dtype.itemsize
            self.f.do(
                f"store {vector} {text}, ptr {self._pointer(access, u, offset)}, "
                f"align {aligned}{past}"
            )
            return
        of, mask = memory_suffix(dtype, lanes), self.mask or "splat (i1 true)"
        if stride == 1:
            name, where = (
                f"llvm.masked.store.{of}.p0",
                f"ptr align {aligned} {self._pointer(access, u, offset)}",
            )
            kinds = f"{vector}, ptr, <{lanes} x i1>"
        else:
            name = f"llvm.masked.scatter.{of}.v{lanes}p0"
            where = f"<{lanes} x ptr> align {aligned} {self._pointers(access, u, stride, offset)}"
            kinds = f"{vector}, <{lanes} x ptr>, <{lanes} x i1>"
        self.f.module.declare(f"declare void @{name}({kinds})")
        self.f.do(f"call void @{name}({vector} {text}, {where}, <{lanes} x i1> {mask})")

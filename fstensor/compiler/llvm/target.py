"""What a CPU offers to generated code: width and number of vector registers, caches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from fstensor.core.scalar import Dtype


@dataclass(frozen=True)
class Target:
    """A kind of CPU, as far as the code written for it depends on it.

    vector_bytes: the size of a vector register (64, 32 or 16). registers: how many there are.
    has_fma: x y + z is one instruction. l1, l2: bytes of the data caches of one core, or less.
    """

    vector_bytes: int
    registers: int
    has_fma: bool
    l1: int = 32 * 1024
    l2: int = 256 * 1024

    def lanes(self, dtype: Dtype) -> int:
        """How many elements a vector holds."""
        return self.vector_bytes // dtype.itemsize

    @property
    def product_tile(self) -> tuple[int, int]:
        """Rows, and vectors in each, of the part of a matrix product that registers can hold.

        The sums, one row of the second factor, and one or two elements of the first must fit.
        """
        if self.registers >= 32:
            return 12, 2
        return (6, 2) if self.has_fma else (4, 2)


AVX512 = Target(64, 32, True, l2=1024 * 1024)
AVX2 = Target(32, 16, True)
SSE2 = Target(16, 16, False)
NEON = Target(16, 32, True)


@cache
def host_target() -> Target:
    """The kind of CPU that this process runs on."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        return NEON
    if features.get("avx512f") and features.get("avx512vl"):
        return AVX512
    if features.get("avx2") and features.get("fma"):
        return AVX2
    return SSE2

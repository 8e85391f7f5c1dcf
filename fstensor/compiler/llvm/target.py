"""What a CPU offers to generated code: width and number of vector registers, caches.

Programs are compiled for the processor at hand. The environment's FSTENSOR_TARGET chooses an older
kind in its place, to look at the code for it or to run it: "avx512", "avx2" or "sse2".
"""

from __future__ import annotations

import os
from functools import cache
from typing import NamedTuple

from fstensor.core.scalar import Dtype
from fstensor.errors import OptionError


class Target(NamedTuple):
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

# What the environment's FSTENSOR_TARGET may name, and LLVM's name of the plainest such processor.
TARGETS = {
    "avx512": (AVX512, "x86-64-v4"),
    "avx2": (AVX2, "x86-64-v3"),
    "sse2": (SSE2, "x86-64"),
    "neon": (NEON, "generic"),
}


@cache
def chosen_target() -> str | None:
    """What FSTENSOR_TARGET names instead of this machine's own kind; None where it is not set.

    Raises: OptionError unless this machine's processor is of that family.
    """
    import llvmlite.binding as llvm

    name = os.environ.get("FSTENSOR_TARGET", "")
    if not name:
        return None
    features = llvm.get_host_cpu_features()
    here = ["neon"] if _is_arm() else ["sse2"]
    if features.get("avx2") and features.get("fma"):
        here.append("avx2")
    if features.get("avx512f") and features.get("avx512vl"):
        here.append("avx512")
    if name not in here:
        known = " or ".join(map(repr, here))
        raise OptionError(f"FSTENSOR_TARGET: must be {known} on this machine, got {name!r}")
    return name


def _is_arm() -> bool:
    import llvmlite.binding as llvm

    return bool(llvm.get_process_triple().startswith(("aarch64", "arm64")))


@cache
def has_half_conversions() -> bool:
    """Whether there are instructions between float16 and float32."""
    import llvmlite.binding as llvm

    chosen = chosen_target()
    if chosen is not None:
        return chosen != "sse2"
    return _is_arm() or bool(llvm.get_host_cpu_features().get("f16c"))


@cache
def host_target() -> Target:
    """The kind of CPU that programs are compiled for: this machine's, or what was chosen."""
    import llvmlite.binding as llvm

    name = chosen_target()
    if name is not None:
        return TARGETS[name][0]
    features = llvm.get_host_cpu_features()
    if _is_arm():
        return NEON
    if features.get("avx512f") and features.get("avx512vl"):
        return AVX512
    if features.get("avx2") and features.get("fma"):
        return AVX2
    return SSE2

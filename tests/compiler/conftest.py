import math

import pytest

from fstensor.compiler.llvm import library
from fstensor.compiler.llvm.gemm_loops import LOOPS
from fstensor.core import memory
from tests.compiler.guarded import guarded


@pytest.fixture(autouse=True)
def _everything_is_verified(monkeypatch):
    """What each stage makes is checked: kernels by us, LLVM IR by LLVM."""
    monkeypatch.setenv("FSTENSOR_VERIFY_IR", "1")


@pytest.fixture(autouse=True, scope="session")
def _common_functions():
    """Modules that tests compile by themselves call them, too."""
    library.provide(" ".join(LOOPS))


@pytest.fixture
def guarded_memory(monkeypatch):
    """Nothing is read or written behind results and scratch memory; both begin as NaN."""

    def maker(shape, dtype):
        def make():
            size = math.prod(shape) * dtype.itemsize
            room = guarded(max(size, 1))
            room[:] = 0xFF
            return room[:size].view(dtype).reshape(shape)

        return make

    monkeypatch.setattr(memory, "maker", maker)

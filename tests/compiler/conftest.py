import math

import pytest

from fstensor.compiler import native
from tests.compiler.guarded import guarded


@pytest.fixture(autouse=True)
def _everything_is_verified(monkeypatch):
    """What each stage makes is checked: kernels by us, LLVM IR by LLVM."""
    monkeypatch.setenv("FSTENSOR_VERIFY_IR", "1")


@pytest.fixture
def guarded_memory(monkeypatch):
    """Nothing is read or written behind results and scratch memory; both begin as NaN."""

    def maker(shape, dtype):
        def make():
            size = math.prod(shape) * dtype.itemsize
            memory = guarded(max(size, 1))
            memory[:] = 0xFF
            return memory[:size].view(dtype).reshape(shape)

        return make

    monkeypatch.setattr(native.memory, "maker", maker)

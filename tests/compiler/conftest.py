import pytest


@pytest.fixture(autouse=True)
def _everything_is_verified(monkeypatch):
    """What each stage makes is checked: kernels by us, LLVM IR by LLVM."""
    monkeypatch.setenv("FSTENSOR_VERIFY_IR", "1")

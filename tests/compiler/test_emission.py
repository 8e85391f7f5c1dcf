"""Modules that are compiled in parts, by several threads."""

import ctypes

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.compiler import native
from fstensor.compiler.llvm import emission, engine
from fstensor.compiler.llvm.text import Function, Module


@pytest.fixture
def calls():
    """A module of functions that call each other: @top gives 3 (x + 1) + 7."""
    module = Module()
    for name, op, number in (("plus", "add", 1), ("times", "mul", 3), ("more", "add", 7)):
        f = Function(module, name, ["i64 %x"], returns="i64")
        f.finish(f"i64 {f.value(f'{op} i64 %x, {number}')}")
    f = Function(module, "top", ["i64 %x"], returns="i64", linkage="")
    x = "%x"
    for name in ("plus", "times", "more"):
        x = f.value(f"call i64 @{name}(i64 {x})")
    f.finish(f"i64 {x}")
    return module


def call(compiled, x):
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(compiled.address("top"))(x)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_parts_are_linked_together(calls, count):
    parts = calls.parts(count)
    assert sum(p.count("\ndefine ") for p in parts) == 4
    compiled = engine.compile_module(str(calls), verify=True, parts=parts)
    assert call(compiled, 5) == 25
    assert compiled.names == ("top",)
    again = engine.load_object(compiled.object_code, compiled.names)
    assert call(again, 5) == 25


def test_what_was_cut_off_is_not_taken_apart():
    code = emission.joined([b"abc", b"", b"defg"])
    assert emission.taken_apart(code) == [b"abc", b"", b"defg"]
    assert emission.joined([b"abc"]) == b"abc"
    for size in range(16, len(code)):
        with pytest.raises(RuntimeError, match="not whole"):
            emission.taken_apart(code[:size])


def test_errors_of_other_threads_are_raised(calls):
    parts = [*calls.parts(2), "define void @wrong() { ret i64 1 }"]
    with pytest.raises(RuntimeError, match="value doesn't match function"):
        engine.compile_module(str(calls) + "; wrong", parts=parts)


def test_a_program_in_parts(monkeypatch):
    monkeypatch.setenv("FSTENSOR_VERIFY_IR", "")
    monkeypatch.setenv("FSTENSOR_CACHE_DIR", "")
    monkeypatch.setattr(native, "_LEAST_TEXT", 1000)
    counts, emit = [], engine._emit_all

    def watched(texts, verify):
        counts.append(len(texts))
        return emit(texts, verify)

    monkeypatch.setattr(engine, "_emit_all", watched)
    f = lambda x, w: (
        fnp.sum(fnp.tanh(x @ w) ** 2, axis=0)
        + fst.lax.fori_loop(0, 3, lambda i, c: fnp.sin(c) * 1.25, x[0])
    )
    x, w = np.ones((64, 16), np.float32), np.eye(16, dtype=np.float32)
    expected = f(x, w)
    np.testing.assert_allclose(fst.jit(f)(x, w), expected, 1e-5)
    assert max(counts) > 1


def test_without_the_way_around_the_lock(calls, monkeypatch):
    class Locked:
        """llvmlite's functions, none of which can be called without its lock."""

    monkeypatch.setattr(
        emission.llvm.ffi.lib, "_fntab", {"LLVMPY_TargetMachineEmitToMemory": Locked()}
    )
    entry = emission.llvm.ffi.lib.LLVMPY_TargetMachineEmitToMemory
    assert getattr(entry, "_cfn", None) is None

    class Machine:
        def emit_object(self, module):
            return b"locked"

    assert emission.emit_object(Machine(), None) == b"locked"

"""Modules that are compiled in parts, by several threads."""

import ctypes
import threading

import numpy as np
import pytest

import fstensor as fst
import fstensor.numpy as fnp
from fstensor.compiler.llvm import emission, engine, text
from fstensor.compiler.llvm.text import Function, Module, Part


@pytest.fixture
def parts():
    """What a module sends away while it is written."""
    return []


@pytest.fixture
def calls(parts):
    """A module of functions that call each other: @top gives 3 (x + 1) + 7."""
    module = Module(parts.append)
    module.declare("@seven = internal constant { i64, ptr } { i64 7, ptr @plus }")
    for name, op, number in (("plus", "add", 1), ("times", "mul", 3), ("more", "add", "seven")):
        f = Function(module, name, ["i64 %x"], returns="i64")
        if number == "seven":
            number = f.value("load i64, ptr @seven")
        f.finish(f"i64 {f.value(f'{op} i64 %x, {number}')}")
    f = Function(module, "top", ["i64 %x"], returns="i64", linkage="")
    x = "%x"
    for name in ("plus", "times", "more"):
        x = f.value(f"call i64 @{name}(i64 {x})")
    f.finish(f"i64 {x}")
    module.send_rest()
    return module


def call(compiled, x):
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(compiled.address("top"))(x)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("least", "count"), [(1, 4), (150, 2), (1000, 1)])
def test_parts_are_linked_together(monkeypatch, request, parts, least, count, threads):
    monkeypatch.setattr(text, "_PART", least)
    calls = request.getfixturevalue("calls")
    assert len(parts) == count
    assert sum(p.text.count("\ndefine ") for p in parts) == 4
    with engine.in_parts(threads) as crew:
        for part in parts:
            crew.add(part)
        compiled = engine.compile_module(str(calls), verify=True, parts=crew)
    assert call(compiled, 5) == 25
    assert compiled.names == ("top",)
    again = engine.load_object(compiled.object_code, compiled.names)
    assert call(again, 5) == 25


def test_a_function_is_sent_once_those_that_it_calls_are_there(monkeypatch, parts):
    monkeypatch.setattr(text, "_PART", 1)
    module = Module(parts.append)
    for count, (name, called) in enumerate((("top", "middle"), ("middle", "low"), ("low", ""))):
        f = Function(module, name, [])
        if called:
            f.do(f"call void @{called}()")
        f.finish()
        assert len(parts) == count
    top, rest = [p.text for p in parts]
    assert top.count("declare void @middle()") == top.count("\ndefine ") == 1
    assert rest.count("\ndefine ") == 2
    assert "declare" not in rest


def test_what_was_cut_off_is_not_taken_apart():
    code = emission.joined([b"abc", b"", b"defg"])
    assert emission.taken_apart(code) == [b"abc", b"", b"defg"]
    assert emission.joined([b"abc"]) == b"abc"
    for size in range(16, len(code)):
        with pytest.raises(RuntimeError, match="not whole"):
            emission.taken_apart(code[:size])


@pytest.mark.parametrize("threads", [1, 2])
def test_errors_of_all_threads_are_raised(calls, parts, threads):
    wrong = Part("define void @wrong() { ret i64 1 }", False)
    with engine.in_parts(threads) as crew:
        for part in [wrong, *parts, wrong]:
            crew.add(part)
        with pytest.raises(RuntimeError, match="value doesn't match function"):
            engine.compile_module(str(calls) + "; wrong", parts=crew)


def test_an_error_beside_the_threads_ends_them(calls, parts):
    def fails():
        with engine.in_parts(3) as crew:
            for part in parts * 5:
                crew.add(part)
            raise KeyError("beside")

    before = threading.active_count()
    with pytest.raises(KeyError, match="beside"):
        fails()
    assert threading.active_count() == before


def test_a_program_in_parts(monkeypatch):
    monkeypatch.setenv("FSTENSOR_VERIFY_IR", "")
    monkeypatch.setenv("FSTENSOR_CACHE_DIR", "")
    monkeypatch.setattr(text, "_PART", 1000)
    counts, joined = [], emission.joined

    def watched(codes):
        counts.append(len(codes))
        return joined(codes)

    monkeypatch.setattr(emission, "joined", watched)
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

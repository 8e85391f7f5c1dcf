import ctypes
import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

from fstensor.compiler.llvm import engine, object_cache

ADD = """
define i64 @{name}(i64 %x) #0 {{
  %y = add i64 %x, {constant}
  ret i64 %y
}}

define internal void @hidden() #0 {{
  ret void
}}
attributes #0 = {{ nounwind }}
"""

SCALE = """
define void @scale(ptr %p) nounwind {
  %x = load <16 x float>, ptr %p, align 4
  %y = fmul <16 x float> %x, splat (float 2.0)
  store <16 x float> %y, ptr %p, align 4
  ret void
}
"""


def add(constant, name="f"):
    return ADD.format(name=name, constant=constant)


def call(compiled, x, name="f"):
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(compiled.address(name))
    return function(x)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of this test's own, and nothing compiled before."""
    monkeypatch.setenv("FSTENSOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("FSTENSOR_VERIFY_IR", raising=False)
    monkeypatch.setattr(engine, "_known", {})
    return tmp_path / "cache"


def entries(folder):
    return sorted(folder.glob("*.object"))


def emitted(monkeypatch):
    """A list that grows with every text that LLVM compiles."""
    texts = []
    emit = engine._emit

    def watched(text, machine, verify):
        texts.append(text)
        return emit(text, machine, verify)

    monkeypatch.setattr(engine, "_emit", watched)
    return texts


def test_code_runs():
    compiled = engine.compile_module(add(5))
    assert compiled.names == ("f",)
    assert call(compiled, 37) == 42


def test_modules_have_names_of_their_own():
    compiled = [engine.compile_module(add(k)) for k in range(20)]
    gc.collect()
    assert [call(c, 100) for c in compiled] == [100 + k for k in range(20)]


def test_a_name_that_is_not_defined():
    with pytest.raises(KeyError, match="hidden"):
        engine.compile_module(add(5)).address("hidden")


def test_quoted_names():
    assert call(engine.compile_module(add(1, '"a b"')), 1, "a b") == 2


def test_the_same_text_is_compiled_once_while_it_lives(monkeypatch):
    monkeypatch.setenv("FSTENSOR_CACHE_DIR", "")
    texts = emitted(monkeypatch)
    first = engine.compile_module(add(9))
    assert engine.compile_module(add(9)) is first
    assert len(texts) == 1


def test_functions_of_the_process_and_provided_ones():
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    double = kind(lambda x: 2 * x)
    engine.provide("fst_test_double", ctypes.cast(double, ctypes.c_void_p).value)
    compiled = engine.compile_module("""
declare i64 @fst_test_double(i64)
declare i64 @labs(i64)
define i64 @f(i64 %x) nounwind {
  %y = call i64 @labs(i64 %x)
  %z = call i64 @fst_test_double(i64 %y)
  ret i64 %z
}""")
    assert call(compiled, -21) == 42


def test_constants_are_read_and_written_in_place():
    compiled = engine.compile_module("""
@count = internal global i64 40
@table = internal constant [3 x i64] [i64 1, i64 2, i64 3]
define i64 @f(i64 %i) nounwind {
  %p = getelementptr i64, ptr @table, i64 %i
  %x = load i64, ptr %p
  %old = load i64, ptr @count
  %new = add i64 %old, %x
  store i64 %new, ptr @count
  ret i64 %new
}""")
    assert [call(compiled, 1), call(compiled, 2)] == [42, 45]


def test_text_that_cannot_be_parsed_is_shown_with_its_line():
    text = "define i64 @f(i64 %x) {\n  %y = add i64 %x, 1\n  ret i64 %z\n}"
    with pytest.raises(RuntimeError, match=r"undefined value '%z'(?s:.)*     3 \|   ret i64 %z"):
        engine.compile_module(text)


INVALID = """define i64 @f(i64 %x) {
  %y = add i64 %z, 1
  %z = add i64 %x, 1
  ret i64 %y
}"""


def test_verifier():
    with pytest.raises(RuntimeError, match=r"does not dominate(?s:.)*     2 \|   %y = add"):
        engine.compile_module(INVALID, verify=True)


def test_verifier_by_the_environment(monkeypatch):
    monkeypatch.setenv("FSTENSOR_VERIFY_IR", "1")
    with pytest.raises(RuntimeError, match="does not dominate"):
        engine.compile_module(INVALID)


def test_a_function_that_nobody_provides():
    text = (
        "declare void @fst_nobody()\ndefine void @f() {\n  call void @fst_nobody()\n  ret void\n}"
    )
    with pytest.raises(RuntimeError, match="nothing provides fst_nobody"):
        engine.compile_module(text)


def test_object_code_can_be_loaded():
    compiled = engine.compile_module(add(7))
    again = engine.load_object(compiled.object_code, compiled.names)
    assert call(again, 1) == 8
    with pytest.raises(RuntimeError):
        engine.load_object(compiled.object_code[:100], compiled.names)


def test_fingerprint_names_processor_and_versions():
    import llvmlite

    assert llvmlite.__version__ in engine.fingerprint()
    assert llvmlite.binding.get_host_cpu_name() in engine.fingerprint()


@pytest.mark.parametrize(
    ("triple", "cpu", "features", "instruction"),
    [
        ("aarch64-unknown-linux-gnu", None, "", r"fadd\s+v0\.4s"),
        ("arm64-apple-macosx14.0", "apple-m1", "", r"fadd\.4s"),
        ("x86_64-unknown-linux-gnu", None, "", r"addps.*%xmm"),
        ("x86_64-unknown-linux-gnu", "x86-64-v3", "", r"vaddps.*%ymm"),
        ("x86_64-unknown-linux-gnu", None, "+avx512f", r"vaddps.*%zmm"),
        ("x86_64-pc-windows-msvc", "x86-64-v4", "", r"vaddps.*%zmm"),
    ],
)
def test_assembly_for_other_processors(triple, cpu, features, instruction):
    import re

    # A product with 2 is made a sum.
    assert re.search(instruction, engine.assembly(SCALE, triple, cpu, features))


def test_assembly_for_this_processor():
    assert "scale:" in engine.assembly(SCALE).replace("_scale:", "scale:")
    with pytest.raises(RuntimeError, match="expected"):
        engine.assembly("define nothing")


def test_assembly_for_an_unknown_processor():
    with pytest.raises(RuntimeError, match="abacus"):
        engine.assembly(SCALE, "abacus-unknown-none")


def test_threads_compile_at_once():
    results = {}

    def work(start):
        for k in range(start, start + 10):
            results[start, k] = call(engine.compile_module(add(k)), 1)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 5, 10, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result == k + 1 for (_, k), result in results.items())
    assert len(results) == 30


# The cache on disk


def test_an_entry_is_read_in_place_of_compiling(folder, monkeypatch):
    texts = emitted(monkeypatch)
    engine.compile_module(add(3))
    engine._known.clear()
    assert len(entries(folder)) == 1
    assert call(engine.compile_module(add(3)), 1) == 4
    assert len(texts) == 1


def test_entries_depend_on_the_processor(folder, monkeypatch):
    texts = emitted(monkeypatch)
    engine.compile_module(add(3))
    engine._known.clear()
    monkeypatch.setattr(engine, "fingerprint", lambda: "another processor")
    engine.compile_module(add(3))
    assert len(texts) == len(entries(folder)) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:20],
        lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
        lambda content: b"something else" + content,
    ],
    ids=["empty", "cut", "cut-in-head", "one-bit", "another-file"],
)
def test_a_spoilt_entry_is_compiled_and_written_anew(folder, monkeypatch, spoil):
    texts = emitted(monkeypatch)
    engine.compile_module(add(3))
    engine._known.clear()
    (path,) = entries(folder)
    content = path.read_bytes()
    path.write_bytes(spoil(content))
    assert call(engine.compile_module(add(3)), 1) == 4
    assert len(texts) == 2
    assert path.read_bytes() == content


@pytest.mark.parametrize("value", ["", "0"])
def test_the_cache_can_be_off(folder, monkeypatch, value):
    monkeypatch.setenv("FSTENSOR_CACHE_DIR", value)
    assert object_cache.directory() is None
    assert call(engine.compile_module(add(3)), 1) == 4
    assert not folder.exists()


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("FSTENSOR_CACHE_DIR", str(blocked / "cache"))
    assert call(engine.compile_module(add(3)), 1) == 4


def test_a_disk_that_is_full(folder, monkeypatch):
    def full(*args):
        raise OSError("no space left")

    monkeypatch.setattr(object_cache.os, "replace", full)
    assert call(engine.compile_module(add(3)), 1) == 4
    assert not list(folder.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
def test_the_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.delenv("FSTENSOR_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert object_cache.directory() == tmp_path / "fstensor"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert object_cache.directory() == tmp_path / ".cache" / "fstensor"


def test_trim_deletes_what_was_unused_for_longest(folder):
    for age in range(8):
        object_cache.store(f"key{age}", bytes(1000))
        os.utime(folder / f"key{age}.object", (time.time() - 100 * age,) * 2)
    (folder / "notes.txt").write_text("of the user")
    object_cache.trim(folder, 10**6)
    assert len(entries(folder)) == 8
    object_cache.load("key7")  # used now
    object_cache.trim(folder, 6000)
    assert {p.stem for p in entries(folder)} == {"key7", "key0", "key1", "key2"}
    assert (folder / "notes.txt").exists()


def test_the_size_is_looked_at_while_storing(folder, monkeypatch):
    monkeypatch.setattr(object_cache, "MOST_BYTES", 20_000)
    for k in range(3 * object_cache._WRITES_BETWEEN_TRIMS + 1):
        object_cache.store(f"key{k}", bytes(1000))
    assert len(entries(folder)) < 1.5 * object_cache._WRITES_BETWEEN_TRIMS


def _store_and_load(folder, seed):
    os.environ["FSTENSOR_CACHE_DIR"] = str(folder)
    data = bytes(range(256)) * 1000
    for k in range(50):
        object_cache.store(f"key{k % 3}", data)
        found = object_cache.load(f"key{(k + seed) % 3}")
        assert found in (None, data)


def test_processes_share_the_cache(folder):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_store_and_load, args=(folder, s)) for s in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0, 0, 0]


COMPILE_AT_ONCE = """
import os, sys, time
import numpy as np
import fstensor as fst
import fstensor.numpy as fnp
from fstensor.compiler.llvm import engine

start, rounds = sys.argv[1], int(sys.argv[2])
while not os.path.exists(start):
    time.sleep(0.001)
x = np.linspace(0, 1, 36, dtype=np.float32).reshape(6, 6)
for k in range(rounds):
    got = np.asarray(fst.jit(lambda x, k=k: fnp.tanh(x @ x.T) + k)(x))
    assert np.allclose(got, np.tanh(x @ x.T) + k, atol=1e-5)
    engine._known.clear()
"""


def test_processes_compile_the_same_programs_at_once(folder, tmp_path):
    """They write and read the same entries, which someone spoils all the time."""
    start, count, rounds = tmp_path / "start", 4, 12
    command = [sys.executable, "-c", COMPILE_AT_ONCE, str(start), str(rounds)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(count)]
    start.touch()
    spoilt = 0
    while any(process.poll() is None for process in processes):
        for path in entries(folder)[::3]:
            with path.open("r+b") as file:
                file.seek(spoilt * 37 % 2000)
                file.write(b"spoilt" if spoilt % 2 else b"")
                if spoilt % 5 == 0:
                    file.truncate()
            spoilt += 1
        time.sleep(0.002)
    assert [process.communicate()[1] for process in processes] == [b""] * count
    assert [process.returncode for process in processes] == [0] * count
    assert spoilt > 20
    # Another one finds what is whole, mends what is not, and leaves nothing behind.
    subprocess.run(command, check=True)
    whole = [path for path in entries(folder) if object_cache.load(path.stem) is not None]
    assert len(whole) >= rounds
    assert len(entries(folder)) == len(list(folder.iterdir()))


def test_what_a_killed_process_left_goes_too(folder):
    folder.mkdir()
    (folder / "new-cut off").write_bytes(bytes(5000))
    os.utime(folder / "new-cut off", (1, 1))
    object_cache.store("key", bytes(1000))
    object_cache.trim(folder, 4000)
    assert [path.name for path in folder.iterdir()] == ["key.object"]


def test_the_library_does_not_import_llvmlite():
    code = "import sys, fstensor; assert 'llvmlite' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_exit_with_code_in_memory_is_silent():
    code = (
        "from fstensor.compiler.llvm import engine\n"
        "kept = [engine.compile_module('define i64 @f() { ret i64 %d }' % k) for k in range(5)]\n"
        "import builtins; builtins.kept = kept\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # by JAX, if it was imported
def test_a_child_compiles_though_threads_of_the_parent_did():
    stop = threading.Event()

    def compile_on():
        k = 1000
        while not stop.is_set():
            engine.compile_module(add(k := k + 1))

    thread = threading.Thread(target=compile_on)
    thread.start()
    try:
        for k in range(5):
            child = os.fork()
            if not child:
                os._exit(call(engine.compile_module(add(k)), 1))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == k + 1
    finally:
        stop.set()
        thread.join()

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

import fstensor as fst
from fstensor.compiler import threads
from fstensor.compiler.llvm import engine, entry, team

# A block of one word, an address. There, at 0 is a barrier; at 256 the number of errors; at 264 the
# sum of `threads` over all runs; from 512 on a slot of 128 bytes for each thread. Each thread adds
# 1 to its slot, and after a barrier looks whether the slots are equal.
PHASES = """
declare void @fst_barrier(ptr, i64)

define void @phases(ptr %block, i64 %thread, i64 %threads) nounwind {
entry:
  %argument = load ptr, ptr %block
  %slots = getelementptr i8, ptr %argument, i64 512
  %offset = mul i64 %thread, 128
  %slot = getelementptr i8, ptr %slots, i64 %offset
  %old = load i64, ptr %slot
  %new = add i64 %old, 1
  store i64 %new, ptr %slot
  call void @fst_barrier(ptr %argument, i64 %threads)
  br label %look
look:
  %i = phi i64 [0, %entry], [%i2, %look]
  %o = mul i64 %i, 128
  %p = getelementptr i8, ptr %slots, i64 %o
  %x = load i64, ptr %p
  %wrong = icmp ne i64 %x, %new
  %error = zext i1 %wrong to i64
  %e = getelementptr i8, ptr %argument, i64 256
  %ignored = atomicrmw add ptr %e, i64 %error monotonic
  %i2 = add i64 %i, 1
  %more = icmp slt i64 %i2, %threads
  br i1 %more, label %look, label %meet
meet:
  call void @fst_barrier(ptr %argument, i64 %threads)
  %first = icmp eq i64 %thread, 0
  br i1 %first, label %note, label %end
note:
  %s = getelementptr i8, ptr %argument, i64 264
  %sum = load i64, ptr %s
  %sum2 = add i64 %sum, %threads
  store i64 %sum2, ptr %s
  ret void
end:
  ret void
}
"""


def run(of_team, address, argument=0):
    """Have a team run the function at an address, on a block with one word."""
    entry.of_buffers((), 0, entry.Target(address, of_team.state, argument, None))()


class Phases:
    """An argument for the function above, and what it holds."""

    def __init__(self):
        threads.provide_barrier()
        self.compiled = engine.compile_module(PHASES)
        self.address = self.compiled.address("phases")
        self._buffer = ctypes.create_string_buffer(512 + 128 * 64 + 64)
        self.argument = -(-ctypes.addressof(self._buffer) // 64) * 64

    def run(self):
        run(threads.team(), self.address, self.argument)

    def read(self, offset):
        return ctypes.c_int64.from_address(self.argument + offset).value

    @property
    def errors(self):
        return self.read(256)

    @property
    def total_threads(self):
        return self.read(264)

    def counts(self, size):
        return [self.read(512 + 128 * i) for i in range(size)]


@pytest.fixture(autouse=True)
def restored():
    yield
    fst.config.update("threads", "auto")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_all_threads_meet_between_phases(size):
    fst.config.update("threads", size)
    phases = Phases()
    runs = 10_000 if size <= 2 else 2_000
    for _ in range(runs):
        phases.run()
    assert phases.errors == 0
    assert phases.counts(size + 1) == [runs] * size + [0]
    assert phases.total_threads == runs * size


def test_runs_with_pauses_wake_the_workers():
    fst.config.update("threads", 3)
    phases = Phases()
    for k in range(60):
        phases.run()
        time.sleep(0.0002 * (k % 6))
    assert phases.errors == 0
    assert phases.counts(3) == [60] * 3


def test_a_change_of_size():
    phases = Phases()
    for size in (2, 4, 1, 3, 2):
        fst.config.update("threads", size)
        before = phases.total_threads
        assert threads.team().size == size
        ctypes.memset(phases.argument + 512, 0, 128 * 8)
        phases.run()
        assert phases.counts(5) == [1] * size + [0] * (5 - size)
        assert phases.total_threads - before == size
    assert phases.errors == 0


def test_an_override_belongs_to_its_thread():
    fst.config.update("threads", 2)
    big = threads.team()
    with fst.config.override(threads=1):
        assert threads.team().size == 1
    assert threads.team() is big


def test_a_team_that_was_replaced_runs_alone():
    fst.config.update("threads", 2)
    old = threads.team()
    fst.config.update("threads", 3)
    threads.team()
    phases = Phases()
    run(old, phases.address, phases.argument)
    assert phases.counts(2) == [1, 0]


def test_automatic_size():
    fst.config.update("threads", "auto")
    assert threads.team().size == min(threads.usable_cpus(), 64)
    assert 1 <= threads.usable_cpus() <= os.cpu_count()


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "2", None, 5000])
def test_settings_that_are_refused(value):
    with pytest.raises(
        fst.errors.OptionError, match="threads takes 'auto' or an int from 1 to 1024, got"
    ):
        fst.config.update("threads", value)


def test_without_limits_of_a_container(monkeypatch):
    monkeypatch.setattr(threads.Path, "read_text", lambda self: "max 100000\n")
    assert threads._cpus_of_container() > 10_000
    monkeypatch.setattr(threads.Path, "read_text", lambda self: "150000 100000\n")
    assert threads._cpus_of_container() == 2


def test_an_idle_team_takes_no_time():
    fst.config.update("threads", 4)
    phases = Phases()
    phases.run()
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.02


def test_callers_at_once():
    fst.config.update("threads", 2)
    all_phases = [Phases() for _ in range(4)]

    def work(phases):
        for _ in range(500):
            phases.run()

    callers = [threading.Thread(target=work, args=(p,)) for p in all_phases]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()
    for phases in all_phases:
        assert phases.counts(1) == [500]
        assert 500 <= phases.total_threads <= 1000


def test_callers_that_change_the_size_at_once():
    all_phases = [Phases() for _ in range(3)]

    def work(phases, size):
        with fst.config.override(threads=size):
            for _ in range(100):
                phases.run()

    callers = [
        threading.Thread(target=work, args=(p, size))
        for p, size in zip(all_phases, (2, 3, 4), strict=True)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()
    assert [p.counts(1) for p in all_phases] == [[100]] * 3


def test_a_callback_that_runs_the_team():
    fst.config.update("threads", 2)
    inner = Phases()
    seen = []

    def callback(argument, thread, count):
        seen.append((thread, count))
        if not thread:
            inner.run()

    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    function = kind(callback)
    run(threads.team(), ctypes.cast(function, ctypes.c_void_p).value)
    assert sorted(seen) == [(0, 2), (1, 2)]
    assert inner.counts(2) == [1, 0]  # the team was busy
    inner.run()
    assert inner.counts(2) == [2, 1]


def test_a_callback_that_changes_the_size():
    fst.config.update("threads", 2)
    inner = Phases()

    def callback(argument, thread, count):
        if not thread:
            fst.config.update("threads", 3)
            inner.run()

    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    function = kind(callback)
    run(threads.team(), ctypes.cast(function, ctypes.c_void_p).value)
    assert inner.counts(3) == [1, 1, 1]
    assert threads._retired
    fst.config.update("threads", 2)
    threads.team()
    assert not threads._retired


def test_no_more_threads(monkeypatch):
    start = threads._thread.start_new_thread
    started = []

    def limited(function, arguments):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(arguments)
        return start(function, arguments)

    monkeypatch.setattr(threads._thread, "start_new_thread", limited)
    fst.config.update("threads", 6)
    phases = Phases()
    phases.run()
    assert phases.counts(2) == [1, 0]
    assert len(started) == 2


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # by JAX, if it was imported
def test_fork():
    fst.config.update("threads", 3)
    phases = Phases()
    phases.run()
    stale = threads.team()
    for _ in range(3):
        child = os.fork()
        if not child:
            other = Phases()
            run(stale, other.address, other.argument)
            before = phases.counts(1)[0]
            for _ in range(100):
                phases.run()
            right = other.counts(2) == [1, 0] and phases.counts(3) == [before + 100] * 3
            right = right and phases.errors == 0
            os._exit(0 if right else 1)
        phases.run()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    phases.run()
    assert phases.counts(3) == [5, 5, 5]
    assert phases.errors == 0


def _in_child(queue):
    phases = Phases()
    for _ in range(10):
        phases.run()
    queue.put((phases.errors, phases.counts(2)))


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # by JAX, if it was imported
def test_processes_that_are_forked():
    fst.config.update("threads", 2)
    Phases().run()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_in_child, args=(queue,)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [(0, [10, 10])] * 2
    for process in processes:
        process.join(60)
        assert process.exitcode == 0


EXIT = """
import fstensor as fst, threading, time
from tests.compiler.test_threads import Phases
fst.config.update("threads", 3)
phases = Phases()
phases.run()
{then}
"""


@pytest.mark.parametrize(
    "then",
    [
        "",
        "time.sleep(0.01)",
        "import atexit; atexit.register(phases.run)",
        "import atexit; threading.Thread(target=lambda: [phases.run() for _ in range(99)]).start()",
        "threading.Thread(target=lambda: [phases.run() for _ in range(9**9)], daemon=True).start()"
        "; time.sleep(0.02)",
    ],
    ids=["spinning", "blocked", "at-exit", "other-thread", "daemon-running"],
)
def test_exit(then):
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", EXIT.format(then=then)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("machine", ["AMD64", "arm64", "riscv64"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_source_for_other_systems(machine, system):
    triples = {
        ("AMD64", "linux"): "x86_64-unknown-linux-gnu",
        ("AMD64", "darwin"): "x86_64-apple-macosx13.0",
        ("AMD64", "win32"): "x86_64-pc-windows-msvc-elf",
        ("arm64", "linux"): "aarch64-unknown-linux-gnu",
        ("arm64", "darwin"): "arm64-apple-macosx14.0",
        ("arm64", "win32"): "aarch64-pc-windows-msvc-elf",
    }
    triple = triples.get((machine, system), "riscv64-unknown-linux-gnu")
    text = engine.assembly(team.source(machine, system), triple)
    assert ("SwitchToThread" if system == "win32" else "sched_yield") in text
    pause = {"AMD64": "pause", "arm64": "isb"}.get(machine, "fst_spin")
    assert pause in text

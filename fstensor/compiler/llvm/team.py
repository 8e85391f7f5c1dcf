"""The native side of a team of threads, in LLVM IR: the mailbox, the workers' loop, the barrier.

`fstensor.compiler.threads` is the Python side. What blocks is the system's mutex and condition.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from fstensor.compiler.llvm import engine

STATE_BYTES = 768  # of a team, all zeros at first, aligned to 128
THREADS_AT = 24  # where in it the number of threads stands

_SOURCE = """
; A team, by bytes: generation 0, function 8, argument 16, threads 24, remaining 128, busy 256,
; sleepers 384, mutex 512, condition 640. Variables that different threads write stand apart.

@mailbox_turns = internal global i64 1000
@barrier_turns = internal global i64 1000

declare i32 @{let_others}()

define void @fst_tune(i64 %mailbox, i64 %barrier) nounwind {{
  store i64 %mailbox, ptr @mailbox_turns
  store i64 %barrier, ptr @barrier_turns
  ret void
}}

; One turn of the loop that waits by the mailbox. Where threads share a processor, whoever spins may
; keep that from running which he waits for, so now and then others are let.
define internal void @spin(i64 %turn) nounwind {{
entry:
  %phase = and i64 %turn, 63
  %now = icmp eq i64 %phase, 0
  br i1 %now, label %let, label %pause
pause:
  {pause}
  ret void
let:
  %ignored = call i32 @{let_others}()
  ret void
}}

; That many turns, to find out how long one takes.
define void @fst_spin(i64 %count) nounwind {{
entry:
  br label %again
again:
  %i = phi i64 [0, %entry], [%next, %again]
  %next = add i64 %i, 1
  call void @spin(i64 %next)
  %more = icmp slt i64 %next, %count
  br i1 %more, label %again, label %end
end:
  ret void
}}

; Returns when the number at %p is not %old: spins for a while, and then lets other threads run.
define internal void @await_change(ptr %p, i64 %old) nounwind {{
entry:
  %limit = load i64, ptr @barrier_turns
  br label %look
look:
  %i = phi i64 [0, %entry], [%next, %spin], [%next, %let]
  %now = load atomic i64, ptr %p acquire, align 8
  %same = icmp eq i64 %now, %old
  br i1 %same, label %wait, label %end
wait:
  %next = add i64 %i, 1
  %short = icmp slt i64 %i, %limit
  br i1 %short, label %spin, label %let
spin:
  call void @spin(i64 %next)
  br label %look
let:
  %ignored = call i32 @{let_others}()
  br label %look
end:
  ret void
}}

; Threads count themselves at 0; the last one sets that back and begins the next phase, at 128.
define void @fst_barrier(ptr %state, i64 %threads) nounwind {{
entry:
  %alone = icmp sle i64 %threads, 1
  br i1 %alone, label %end, label %arrive
arrive:
  %p = getelementptr i8, ptr %state, i64 128
  %phase = load atomic i64, ptr %p acquire, align 8
  %before = atomicrmw add ptr %state, i64 1 acq_rel, align 8
  %others = sub i64 %threads, 1
  %last = icmp eq i64 %before, %others
  br i1 %last, label %open, label %wait
open:
  store atomic i64 0, ptr %state monotonic, align 8
  %following = add i64 %phase, 1
  store atomic i64 %following, ptr %p release, align 8
  ret void
wait:
  call void @await_change(ptr %p, i64 %phase)
  ret void
end:
  ret void
}}

; Where the part of a thread begins in what threads divide among them, in whole grains.
define i64 @fst_part(i64 %thread, i64 %threads, i64 %total, i64 %grain) nounwind {{
entry:
  %more = add i64 %total, %grain
  %up = sub i64 %more, 1
  %grains = udiv i64 %up, %grain
  %product = mul i64 %thread, %grains
  %quotient = udiv i64 %product, %threads
  %place = mul i64 %quotient, %grain
  %beyond = icmp ugt i64 %place, %total
  %begin = select i1 %beyond, i64 %total, i64 %place
  ret i64 %begin
}}

; Run a function on all threads of a team, or on this one alone while the team is busy.
define void @fst_run(ptr %team, ptr %function, ptr %argument) nounwind {{
entry:
  %busy = getelementptr i8, ptr %team, i64 256
  %taken = atomicrmw xchg ptr %busy, i64 1 acquire, align 8
  %free = icmp eq i64 %taken, 0
  br i1 %free, label %together, label %alone
alone:
  call void %function(ptr %argument, i64 0, i64 1)
  ret void
together:
  %p = getelementptr i8, ptr %team, i64 24
  %threads = load i64, ptr %p
  call void @post(ptr %team, ptr %function, ptr %argument)
  call void %function(ptr %argument, i64 0, i64 %threads)
  call void @await_workers(ptr %team)
  store atomic i64 0, ptr %busy release, align 8
  ret void
}}

; Let the workers return, if the team is free: 1 if so. It is busy from then on.
define i64 @fst_stop(ptr %team) nounwind {{
entry:
  %busy = getelementptr i8, ptr %team, i64 256
  %taken = atomicrmw xchg ptr %busy, i64 1 acquire, align 8
  %free = icmp eq i64 %taken, 0
  br i1 %free, label %stop, label %end
stop:
  call void @post(ptr %team, ptr null, ptr null)
  call void @await_workers(ptr %team)
  ret i64 1
end:
  ret i64 0
}}

; Make the team busy for good: its threads are gone.
define void @fst_abandon(ptr %team) nounwind {{
  %busy = getelementptr i8, ptr %team, i64 256
  store atomic i64 1, ptr %busy release, align 8
  ret void
}}

; Workers look whether the generation has changed before they sleep, after they have said that they
; do; here it is the other way round. So one of both sees the other.
define internal void @post(ptr %team, ptr %function, ptr %argument) nounwind {{
entry:
  %p = getelementptr i8, ptr %team, i64 24
  %threads = load i64, ptr %p
  %workers = sub i64 %threads, 1
  %remaining = getelementptr i8, ptr %team, i64 128
  store atomic i64 %workers, ptr %remaining monotonic, align 8
  %f = getelementptr i8, ptr %team, i64 8
  store ptr %function, ptr %f
  %a = getelementptr i8, ptr %team, i64 16
  store ptr %argument, ptr %a
  %old = atomicrmw add ptr %team, i64 1 seq_cst, align 8
  %s = getelementptr i8, ptr %team, i64 384
  %sleepers = load atomic i64, ptr %s seq_cst, align 8
  %none = icmp eq i64 %sleepers, 0
  br i1 %none, label %end, label %wake
wake:
  %mutex = getelementptr i8, ptr %team, i64 512
  %condition = getelementptr i8, ptr %team, i64 640
  call void @lock(ptr %mutex)
  call void @signal(ptr %condition)
  call void @unlock(ptr %mutex)
  ret void
end:
  ret void
}}

define internal void @await_workers(ptr %team) nounwind {{
entry:
  %p = getelementptr i8, ptr %team, i64 128
  br label %again
again:
  %n = load atomic i64, ptr %p acquire, align 8
  %done = icmp eq i64 %n, 0
  br i1 %done, label %end, label %wait
wait:
  call void @await_change(ptr %p, i64 %n)
  br label %again
end:
  ret void
}}

; The life of the worker of this index.
define void @fst_work(ptr %team, i64 %index) nounwind {{
entry:
  %p = getelementptr i8, ptr %team, i64 24
  %f = getelementptr i8, ptr %team, i64 8
  %a = getelementptr i8, ptr %team, i64 16
  %remaining = getelementptr i8, ptr %team, i64 128
  %threads = load i64, ptr %p
  br label %next
next:
  %seen = phi i64 [0, %entry], [%now, %work]
  %now = call i64 @await_post(ptr %team, i64 %seen)
  %function = load ptr, ptr %f
  %argument = load ptr, ptr %a
  %stop = icmp eq ptr %function, null
  br i1 %stop, label %end, label %work
work:
  call void %function(ptr %argument, i64 %index, i64 %threads)
  %n = atomicrmw sub ptr %remaining, i64 1 release, align 8
  br label %next
end:
  %m = atomicrmw sub ptr %remaining, i64 1 release, align 8
  ret void
}}

; The generation, once it is not %seen any more.
define internal i64 @await_post(ptr %team, i64 %seen) nounwind {{
entry:
  %limit = load i64, ptr @mailbox_turns
  br label %look
look:
  %i = phi i64 [0, %entry], [%next, %spin]
  %early = load atomic i64, ptr %team acquire, align 8
  %same = icmp eq i64 %early, %seen
  br i1 %same, label %wait, label %end
wait:
  %next = add i64 %i, 1
  %short = icmp slt i64 %i, %limit
  br i1 %short, label %spin, label %sleep
spin:
  call void @spin(i64 %next)
  br label %look
sleep:
  %s = getelementptr i8, ptr %team, i64 384
  %mutex = getelementptr i8, ptr %team, i64 512
  %condition = getelementptr i8, ptr %team, i64 640
  call void @lock(ptr %mutex)
  %more = atomicrmw add ptr %s, i64 1 seq_cst, align 8
  br label %check
check:
  %late = load atomic i64, ptr %team seq_cst, align 8
  %still = icmp eq i64 %late, %seen
  br i1 %still, label %block, label %wake
block:
  call void @wait(ptr %condition, ptr %mutex)
  br label %check
wake:
  %less = atomicrmw sub ptr %s, i64 1 seq_cst, align 8
  call void @unlock(ptr %mutex)
  ret i64 %late
end:
  ret i64 %early
}}
"""

# Mutexes and conditions are smaller than the 128 bytes that they have, on every system.
_POSIX = """
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)

define void @fst_prepare(ptr %team) nounwind {
  %mutex = getelementptr i8, ptr %team, i64 512
  %condition = getelementptr i8, ptr %team, i64 640
  %a = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %b = call i32 @pthread_cond_init(ptr %condition, ptr null)
  ret void
}
define internal void @lock(ptr %mutex) nounwind {
  %a = call i32 @pthread_mutex_lock(ptr %mutex)
  ret void
}
define internal void @unlock(ptr %mutex) nounwind {
  %a = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}
define internal void @wait(ptr %condition, ptr %mutex) nounwind {
  %a = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  ret void
}
define internal void @signal(ptr %condition) nounwind {
  %a = call i32 @pthread_cond_broadcast(ptr %condition)
  ret void
}
"""

_WINDOWS = """
declare void @AcquireSRWLockExclusive(ptr)
declare void @ReleaseSRWLockExclusive(ptr)
declare i32 @SleepConditionVariableSRW(ptr, ptr, i32, i32)
declare void @WakeAllConditionVariable(ptr)

define void @fst_prepare(ptr %team) nounwind {
  ret void
}
define internal void @lock(ptr %mutex) nounwind {
  call void @AcquireSRWLockExclusive(ptr %mutex)
  ret void
}
define internal void @unlock(ptr %mutex) nounwind {
  call void @ReleaseSRWLockExclusive(ptr %mutex)
  ret void
}
define internal void @wait(ptr %condition, ptr %mutex) nounwind {
  %a = call i32 @SleepConditionVariableSRW(ptr %condition, ptr %mutex, i32 -1, i32 0)
  ret void
}
define internal void @signal(ptr %condition) nounwind {
  call void @WakeAllConditionVariable(ptr %condition)
  ret void
}
"""


class Native(NamedTuple):
    """The functions of this module, for calls from Python. A team is the address of its state.

    prepare(team); work(team, index), which returns when the team is stopped; stop(team), 1 if it
    was free; abandon(team); tune(mailbox turns, barrier turns); spin(turns).
    """

    prepare: Callable[[int], None]
    work: Callable[[int, int], None]
    stop: Callable[[int], int]
    abandon: Callable[[int], None]
    tune: Callable[[int, int], None]
    spin: Callable[[int], None]
    barrier: int  # the address of fst_barrier


@functools.cache
def native() -> Native:
    """The functions, compiled once. Other modules may declare those that are provided then."""
    compiled = engine.compile_module(source(platform.machine(), sys.platform), quickly=True)
    # Workers run this code until the process ends, so it is never given back.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(compiled))
    for name in ("fst_barrier", "fst_run", "fst_part"):
        engine.provide(name, compiled.address(name))

    def function(name: str, count: int, returns: Any = None) -> Any:
        # Of all types of arguments, ctypes converts pointers the fastest.
        kind = ctypes.CFUNCTYPE(returns, *[ctypes.c_void_p] * count)
        return kind(compiled.address(f"fst_{name}"))

    return Native(
        prepare=function("prepare", 1),
        work=function("work", 2),
        stop=function("stop", 1, ctypes.c_int64),
        abandon=function("abandon", 1),
        tune=function("tune", 2),
        spin=function("spin", 1),
        barrier=compiled.address("fst_barrier"),
    )


def source(machine: str, system: str) -> str:
    """The IR for a machine and a system, as `platform.machine` and `sys.platform` name them."""
    machine = machine.lower()
    if machine in ("x86_64", "amd64", "i686", "i386"):
        pause, declaration = "call void @llvm.x86.sse2.pause()", "void @llvm.x86.sse2.pause()"
    elif machine in ("aarch64", "arm64"):  # `isb`, since its `yield` takes no time
        pause, declaration = "call void @llvm.aarch64.isb(i32 15)", "void @llvm.aarch64.isb(i32)"
    else:
        pause, declaration = "", "void @llvm.donothing()"
    windows = system == "win32"
    body = _SOURCE.format(pause=pause, let_others="SwitchToThread" if windows else "sched_yield")
    return f"declare {declaration}\n{body}{_WINDOWS if windows else _POSIX}"

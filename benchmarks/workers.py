"""Contenders in processes of their own, which take turns.

A worker is `python -m benchmarks.workers CONTENDER MODULE`. The parent writes a line of JSON to its
standard input and reads one from its standard output; in between the worker waits for the pipe and
takes no time of any core. Arrays go through files. The module has a function

    prepare(contender: str, item: dict) -> Task

which builds what the item asks for, or raises Skip. Requests, by the value of "do":

    about      import the library; answers with its version and its number of threads
    prepare    build the task of "item" and call it once; answers with the seconds of that call
    result     write what the task computes to the file "path"
    calibrate  find how many calls take about "target" seconds
    run        make that many calls, after a few untimed ones; answers with the seconds of a call
    memory     answer with the largest amount of memory that has been resident so far, in bytes
"""

from __future__ import annotations

import importlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


class Skip(Exception):
    """The contender has nothing to set against this item."""


class WorkerError(Exception):
    """A worker failed, or died; the text is the last line of its traceback."""


@dataclass(frozen=True)
class Task:
    """Something to time.

    call: what is timed.
    result: what it computes, as NumPy arrays, to be compared between contenders.
    wait: returns when everything that was called has been computed; timed with the last call.
    """

    call: Callable[[], object]
    result: Callable[[], Mapping[str, np.ndarray]]
    wait: Callable[[], object] = lambda: None


# The worker's side


def timed(task: Task, calls: int) -> float:
    """The seconds a call takes, over that many calls."""
    call = task.call
    start = time.perf_counter()
    for _ in range(calls):
        call()
    task.wait()
    return (time.perf_counter() - start) / calls


def calibrate(task: Task, target: float) -> int:
    """How many calls take about `target` seconds."""
    calls = 1
    while (elapsed := timed(task, calls) * calls) < target / 10:
        calls *= 4
    return max(1, round(calls * target / elapsed))


def peak_memory() -> int:
    """The most bytes of this process that have been resident at a time.

    Linux hands `ru_maxrss` of the parent down to a child that it starts, so that a small program
    started by a large one seems large; the peak in /proc begins with the program.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


class Server:
    """Answers requests, with one task at a time."""

    def __init__(self, contender: str, module: Any) -> None:
        self.contender = contender
        self.module = module
        self.task: Task | None = None
        self.calls = 1

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        do = request["do"]
        if do == "about":
            return importlib.import_module("benchmarks.libraries").about(self.contender)
        if do == "memory":
            return {"peak": peak_memory()}
        if do == "prepare":
            self.task = None  # its arrays go before those of the next are made
            self.task = self.module.prepare(self.contender, request["item"])
            return {"seconds": timed(self.task, 1)}
        assert self.task is not None, f"{do} before prepare"
        if do == "result":
            arrays: dict[str, Any] = dict(self.task.result())
            with open(request["path"], "wb") as file:
                np.savez(file, **arrays)
            return {}
        if do == "calibrate":
            self.calls = calibrate(self.task, request["target"])
            return {"calls": self.calls}
        assert do == "run", do
        timed(self.task, 1 + self.calls // 4)
        return {"seconds": timed(self.task, self.calls)}


def serve(contender: str, module: str, source: Iterable[str], sink: TextIO) -> None:
    server = Server(contender, importlib.import_module(module))
    for line in source:
        try:
            answer = server.answer(json.loads(line))
        except Skip as error:
            answer = {"skip": str(error)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=sink, flush=True)


def main() -> None:
    contender, module, cores = sys.argv[1:]
    if hasattr(os, "sched_setaffinity"):
        # Before any library looks how many cores there are.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    # What libraries print must not come between the answers.
    sink = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(contender, module, sys.stdin, sink)


# The parent's side


def interpreter(contender: str, given: Mapping[str, str]) -> str:
    """The Python of a contender: as given, as BENCH_PYTHON_<NAME> says, or this one."""
    names = (contender, "torch") if contender == "torch_compile" else (contender,)
    for name in names:
        if path := given.get(name) or os.environ.get(f"BENCH_PYTHON_{name.upper()}"):
            return path
    return sys.executable


class Worker:
    """A contender in its process. Leaves with the `with` block."""

    def __init__(
        self,
        contender: str,
        module: str,
        *,
        python: str = sys.executable,
        threads: int,
        environment: Mapping[str, str] | None = None,
        quiet: bool = False,
    ) -> None:
        self.contender = contender
        # With its bytecode on disk, as an installed package has it.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.workers", contender, module, str(threads)],
            cwd=ROOT,
            env={**inherited, **counts, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
        )

    def ask(self, do: str, **rest: Any) -> dict[str, Any]:
        """The answer to a request; raises Skip or WorkerError."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps({"do": do, **rest}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"the process ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "skip" in answer:
            raise Skip(answer["skip"])
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def result(self) -> dict[str, np.ndarray]:
        """What the prepared task computes."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "result.npz")
            self.ask("result", path=path)
            with np.load(path) as arrays:
                return dict(arrays)

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def race(
    workers: Mapping[str, Worker], *, rounds: int, target: float, settle: float = 0.03
) -> dict[str, list[float]]:
    """The seconds of a call in each round, of workers that have prepared the same item.

    Every round has another order. Before each turn there is a pause in which the threads of the
    one before fall asleep, and the turn begins with untimed calls, which fill the caches.
    """
    for worker in workers.values():
        worker.ask("calibrate", target=target)
    times: dict[str, list[float]] = {name: [] for name in workers}
    order, shuffled = list(workers), random.Random(0)
    for _ in range(rounds):
        shuffled.shuffle(order)
        for name in order:
            time.sleep(settle)
            times[name].append(workers[name].ask("run")["seconds"])
    return times


if __name__ == "__main__":
    # Under its own name, so that the Skip that modules raise is the one that is caught.
    importlib.import_module("benchmarks.workers").main()

"""The command line, the description of the machine, and the tables that all benchmarks share."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.libraries import CONTENDERS, cores
from benchmarks.workers import Worker, interpreter

OURS = "fstensor"
# Which instruction sets decide how fast arithmetic can be, in the names of /proc/cpuinfo.
INSTRUCTIONS = ("sse2", "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile",
                "asimd", "sve")  # fmt: skip


# Command line


def parser(name: str, about: str, against: Sequence[str], rounds: int) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    result = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=about,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    result.add_argument(
        "--against",
        default=",".join(against),
        help=f"the peers, by commas: of {', '.join(c for c in CONTENDERS if c != OURS)}; or none",
    )
    result.add_argument("--json", metavar="FILE", help="write all figures there")
    result.add_argument("--rounds", type=int, default=rounds, help="turns of each contender")
    result.add_argument("--threads", type=int, default=cores(), help="cores for each contender")
    result.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PEER=PATH",
        help="the interpreter that has a peer, as in torch=/path/to/python; "
        "the variable BENCH_PYTHON_TORCH says the same",
    )
    result.add_argument("--verbose", action="store_true", help="show what workers print")
    return result


@dataclass(frozen=True)
class Setup:
    """Who competes, and how."""

    contenders: tuple[str, ...]
    pythons: Mapping[str, str]
    threads: int
    rounds: int
    verbose: bool = False

    def worker(self, contender: str, module: str, **rest: Any) -> Worker:
        return Worker(
            contender,
            module,
            python=interpreter(contender, self.pythons),
            threads=self.threads,
            quiet=not self.verbose,
            **rest,
        )

    @contextmanager
    def workers(self, module: str, **rest: Any) -> Iterator[dict[str, Worker]]:
        with ExitStack() as stack:
            yield {c: stack.enter_context(self.worker(c, module, **rest)) for c in self.contenders}


def setup(options: argparse.Namespace, module: str) -> tuple[Setup, dict[str, Any]]:
    """Who of the contenders is there, and what they say of themselves."""
    wanted = [] if options.against == "none" else options.against.split(",")
    if unknown := set(wanted) - set(CONTENDERS):
        sys.exit(f"--against: unknown {', '.join(sorted(unknown))}; known {', '.join(CONTENDERS)}")
    pythons = dict(pair.partition("=")[::2] for pair in options.python)
    if unknown := set(pythons) - set(CONTENDERS):
        sys.exit(f"--python: unknown {', '.join(sorted(unknown))}; known {', '.join(CONTENDERS)}")
    everyone = (OURS, *(c for c in wanted if c != OURS))
    who = Setup(everyone, pythons, options.threads, options.rounds, options.verbose)
    found = {}
    for contender in everyone:
        try:
            with who.worker(contender, module) as worker:
                answer = worker.ask("about")
        except OSError as error:
            sys.exit(f"{contender}: no such interpreter: {error.filename}")
        if "missing" in answer:
            print(f"{contender}: left out, {answer['missing']}; --python says where it is")
        else:
            found[contender] = answer
    return replace(who, contenders=tuple(found)), found


# The machine


def machine(threads: int) -> str:
    """CPU, instruction sets, cores, system and load, in a line."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""

    def entry(*names: str) -> str:
        found = re.search(rf"^(?:{'|'.join(names)})\s*: (.*)$", text, re.MULTILINE)
        return found[1].strip() if found else ""

    flags = entry("flags", "Features").split()
    parts = [
        entry("model name") or platform.processor() or platform.machine(),
        "family {} model {}".format(entry("cpu family"), entry("model")) if entry("model") else "",
        " ".join(i for i in INSTRUCTIONS if i in flags),
        f"{cores()} cores, {threads} used",
        f"{platform.system()} {platform.machine()}",
        f"load at the start {os.getloadavg()[0]:.1f}",
    ]
    return "; ".join(p for p in parts if p)


def versions(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Each library with its version, and the NumPy and the threads that it says it has."""
    parts = []
    for name, answer in found.items():
        threads = f", {answer['threads']} threads" if "threads" in answer else ""
        parts.append(f"{name} {answer['version']} (NumPy {answer['numpy']}{threads})")
    return "; ".join(parts)


def copy_bandwidth(size: int, threads: int, rounds: int = 9) -> float:
    """Bytes read and written a second by threads that copy float32 arrays of `size` elements."""
    source, target = np.ones(size, np.float32), np.zeros(size, np.float32)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))

    def copy(part: int) -> None:
        np.copyto(parts[part][1], parts[part][0])

    times = []
    for _ in range(rounds):
        running = [threading.Thread(target=copy, args=(i,)) for i in range(1, threads)]
        start = time.perf_counter()
        for thread in running:
            thread.start()
        copy(0)
        for thread in running:
            thread.join()
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / statistics.median(times)


# Figures


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def best_peer(seconds: Mapping[str, float]) -> float | None:
    """Our time over that of the fastest peer."""
    peers = [t for name, t in seconds.items() if name != OURS]
    return seconds[OURS] / min(peers) if peers and OURS in seconds else None


def duration(seconds: float) -> str:
    """Three digits with a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale or unit == "us":
            return (
                f"{seconds / scale:.3g} {unit}"
                if seconds / scale < 999.5
                else (f"{seconds / scale:.0f} {unit}")
            )
    raise AssertionError


def ratio(value: float | None, limit: float | None = None) -> str:
    """A ratio, marked where it misses its limit."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:.2f}{' !' if limit is not None and value > limit else ''}"


@dataclass
class Table:
    """Rows of texts under a head; the first column is flushed left."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]

    def line(self, row: Sequence[str], widths: Sequence[int] | None = None) -> str:
        widths = widths or self.widths()
        first, *rest = zip(row, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(text.rjust(w) for text, w in rest)]).rstrip()

    def __str__(self) -> str:
        widths = self.widths()
        return "\n".join([self.title, *(self.line(r, widths) for r in (self.head, *self.rows))])

    def show_last(self) -> None:
        """Show that something happens, for those who watch."""
        print(self.line(self.rows[-1]), file=sys.stderr, flush=True)

    def markdown(self) -> str:
        rows = [f"| {' | '.join(row)} |" for row in (self.head, *self.rows)]
        rule = "|---|" + "--:|" * (len(self.head) - 1)
        return "\n".join([f"**{self.title}**", "", rows[0], rule, *rows[1:]])


@dataclass
class Report:
    """What a benchmark found."""

    name: str
    about: str
    machine: str
    versions: str
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, table: Table) -> None:
        print(f"\n{table}", flush=True)
        self.tables.append(table)

    def note(self, text: str) -> None:
        print(text, flush=True)
        self.notes.append(text)

    def markdown(self) -> str:
        parts = [f"## {self.name}", self.about, f"{self.machine}. {self.versions}."]
        parts += [table.markdown() for table in self.tables]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(parts)

    def write(self, path: str | None) -> None:
        if path:
            rest = {"machine": self.machine, "versions": self.versions, "notes": self.notes}
            text = json.dumps({"name": self.name, **rest, **self.figures}, indent=1)
            Path(path).write_text(text + "\n", encoding="utf-8")


def start(
    name: str, about: str, options: argparse.Namespace, module: str
) -> tuple[Setup, Report, dict[str, Any]]:
    """Find the contenders and begin the report."""
    described = machine(options.threads)
    who, found = setup(options, module)
    report = Report(name, about, described, versions(found))
    print(f"{about}\n{report.machine}\n{report.versions}", flush=True)
    return who, report, found

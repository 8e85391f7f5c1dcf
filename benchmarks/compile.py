"""The first call of a training step: trace, differentiate, compile, run; and the memory of a run.

Each first call is in a fresh process, which has imported the library: cold with an empty cache on
disk, warm with the cache that a cold one has left. Importing the library is shown by itself. Then
the process goes on training for some steps, and says how much memory has been resident at most.
`python -m benchmarks.compile [--against jax,torch_compile]`
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.models import MODELS, training
from benchmarks.report import OURS, Report, Setup, Table, duration, parser, ratio, start
from benchmarks.workers import Skip, Task, WorkerError

ABOUT = "First calls of three training steps in fresh processes (medians)"
MODULE = "benchmarks.compile"
# The most seconds a first call of ours may take, and the most of JAX's.
LIMITS = {"cold": 0.25, "warm": 0.1}
SHARE_OF_JAX = 0.2


def prepare(contender: str, item: dict[str, Any]) -> Task:
    """A training step of the item's model; see `benchmarks.models.training`."""
    run = training(item)
    if contender in ("torch", "torch_compile"):
        from benchmarks.models import modules

        return modules.prepare(contender, run)
    if contender == "numpy":
        raise Skip("NumPy does not differentiate")
    from benchmarks.models import functional

    return functional.prepare(contender, run)


def caches(folder: str) -> dict[str, str]:
    """The variables that make each library keep what it compiles in the folder."""
    return {
        "FSTENSOR_CACHE_DIR": f"{folder}/fstensor",
        "JAX_COMPILATION_CACHE_DIR": f"{folder}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/torch",
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
    }


def first_call(
    who: Setup, contender: str, item: dict[str, Any], folder: str, steps: int
) -> dict[str, float]:
    """The seconds of the import and of the first call, and the peak of memory after some steps."""
    with who.worker(contender, MODULE, environment=caches(folder)) as worker:
        imported = worker.ask("about")["import"]
        first = worker.ask("prepare", item=item)["seconds"]
        # No calibration: as many steps for all.
        for _ in range(steps):
            worker.ask("run")
        return {"import": imported, "first": first, "peak": worker.ask("memory")["peak"]}


def first_calls(
    who: Setup, report: Report, items: dict[str, dict[str, Any]], *, repeats: int, steps: int = 8
) -> dict[str, Any]:
    """By model, contender and "cold" or "warm": the medians of what `first_call` finds."""
    found: dict[str, Any] = {}
    for name, item in items.items():
        for contender in who.contenders:
            runs: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
            try:
                for _ in range(repeats):
                    with tempfile.TemporaryDirectory() as folder:
                        for state in ("cold", "warm"):
                            runs[state].append(first_call(who, contender, item, folder, steps))
                            seconds = duration(runs[state][-1]["first"])
                            print(f"{name}, {contender}, {state}: {seconds}", file=sys.stderr)
            except Skip:
                continue
            except WorkerError as error:
                report.note(f"{name}, {contender}: failed, {error}")
                continue
            found.setdefault(name, {})[contender] = {
                state: {k: statistics.median(r[k] for r in results) for k in results[0]}
                for state, results in runs.items()
            }
    return found


def first_call_table(found: dict[str, Any]) -> Table:
    """Seconds of first calls, ours beside JAX's and beside the limits."""
    head = ("model", "contender", "import", "cold", "warm", "cold / JAX", "warm / JAX")
    table = Table("First call", head)
    for name, by_contender in found.items():
        jax = by_contender.get("jax")
        for contender, states in by_contender.items():
            first = {state: states[state]["first"] for state in ("cold", "warm")}
            texts, shares = [], []
            for state, seconds in first.items():
                over = contender == OURS and seconds > LIMITS[state]
                texts.append(duration(seconds) + (" !" if over else ""))
                share = seconds / jax[state]["first"] if jax and contender != "jax" else None
                shares.append(ratio(share, SHARE_OF_JAX if contender == OURS else None))
            imported = duration(states["cold"]["import"])
            table.rows.append((MODELS[name].title, contender, imported, *texts, *shares))
    return table


def memory_table(found: dict[str, Any]) -> Table:
    """The peak of resident memory in a run, ours over that of the most frugal peer."""
    contenders = list(dict.fromkeys(c for by in found.values() for c in by))
    table = Table("Peak resident memory of a run, MiB", ("model", *contenders, "ours / best"))
    for name, by_contender in found.items():
        peaks = {c: states["warm"]["peak"] for c, states in by_contender.items()}
        peers = [peak for c, peak in peaks.items() if c != OURS]
        share = peaks[OURS] / min(peers) if peers and OURS in peaks else None
        cells = [f"{peaks[c] / 2**20:.0f}" if c in peaks else "" for c in contenders]
        table.rows.append((MODELS[name].title, *cells, ratio(share, 1.0)))
    return table


def main(argv: Sequence[str] | None = None) -> Report:
    options_parser = parser("compile", __doc__ or "", ("jax", "torch_compile"), rounds=3)
    options_parser.add_argument("--model", nargs="+", choices=list(MODELS), default=list(MODELS))
    options_parser.add_argument("--batch", type=int, default=128)
    options = options_parser.parse_args(argv)
    who, report, _ = start("compile", ABOUT, options, MODULE)
    items = {name: {"model": name, "batch": options.batch} for name in options.model}
    found = first_calls(who, report, items, repeats=options.rounds)
    report.add(first_call_table(found))
    report.add(memory_table(found))
    report.note(
        f"! marks a miss: cold {LIMITS['cold']} s, warm {LIMITS['warm']} s, "
        f"{SHARE_OF_JAX} of JAX's; memory at most that of the most frugal peer."
    )
    report.figures["first_calls"] = found
    report.write(options.json)
    return report


if __name__ == "__main__":
    main()

"""What a call costs beside its arithmetic: eager operations, small gradients, jitted calls, import.

Arrays are tiny, so that the time is that of dispatch.
`python -m benchmarks.dispatch [--against jax,numpy,torch]`
"""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.libraries import functional as namespaces
from benchmarks.libraries import package
from benchmarks.operations.functional import named
from benchmarks.ops import difference
from benchmarks.report import OURS, Report, Table, parser, ratio, start
from benchmarks.workers import Skip, Task, Worker, WorkerError, interpreter, race

ABOUT = "Microseconds a call (medians)"
MODULE = "benchmarks.dispatch"
MICRO = 1e-6
VALUES = np.arange(3, dtype=np.float32)
LEAVES = 100

# The most that ours may take, in seconds, and as a share of JAX's time.
LIMITS: dict[str, tuple[float | None, float | None]] = {
    "x + x": (3 * MICRO, None),
    "x * 2.0": (None, None),
    "sum(x)": (None, None),
    "x[1]": (6 * MICRO, None),
    "x.at[1].set(2)": (20 * MICRO, None),
    "grad of five operations": (300 * MICRO, None),
    "vmap of two operations": (80 * MICRO, None),
    "jit of x + x": (None, 1.0),
    "jit with a tree of 100 arrays": (None, 1 / 3),
}
IMPORT_LIMIT = 0.15


def eager_calls(x: Any, sum_: Callable[[Any], Any]) -> dict[str, Callable[[], object]]:
    return {
        "x + x": lambda: x + x,
        "x * 2.0": lambda: x * 2.0,
        "sum(x)": lambda: sum_(x),
        "x[1]": lambda: x[1],
    }


def functional_calls(contender: str) -> dict[str, Callable[[], object]]:
    """Of fstensor and JAX: the eager calls, and those of transforms."""
    lib = namespaces(contender)
    root, np_ = lib.root, lib.np
    x, s = np_.asarray(VALUES), np_.asarray(0.5)
    tree = {f"w{i}": x for i in range(LEAVES)}
    grad = root.grad(lambda x: np_.sin(np_.exp(x * 2.0) * (x + 1.0)))
    vmap = root.vmap(lambda x: np_.sin(x) * x)
    jit, jit_tree = root.jit(lambda x: x + x), root.jit(lambda t: t["w0"])
    return {
        **eager_calls(x, np_.sum),
        "x.at[1].set(2)": lambda: x.at[1].set(2),
        "grad of five operations": lambda: grad(s),
        "vmap of two operations": lambda: vmap(x),
        "jit of x + x": lambda: jit(x),
        "jit with a tree of 100 arrays": lambda: jit_tree(tree),
    }


def torch_calls() -> dict[str, Callable[[], object]]:
    import torch

    def grad() -> Any:
        s = torch.tensor(0.5, requires_grad=True)
        return torch.autograd.grad(torch.sin(torch.exp(s * 2.0) * (s + 1.0)), s)[0]

    x = torch.from_numpy(VALUES)
    return {**eager_calls(x, torch.sum), "grad of five operations": grad}


def prepare(contender: str, item: Mapping[str, Any]) -> Task:
    """The call with the item's "name"."""
    if contender == "numpy":
        found = eager_calls(VALUES, np.sum)
    elif contender == "torch":
        found = torch_calls()
    elif contender == "torch_compile":
        found = {}
    else:
        found = functional_calls(contender)
    if item["name"] not in found:
        raise Skip(f"{contender} has no {item['name']}")
    call = found[item["name"]]
    return Task(call, lambda: named(call()))


def agreeing(workers: Mapping[str, Worker], name: str, report: Report) -> dict[str, Worker]:
    """The workers that have the call, with the same result as the first."""
    good: dict[str, Worker] = {}
    first = None
    for contender, worker in workers.items():
        try:
            worker.ask("prepare", item={"name": name})
            got = worker.result()
        except Skip:
            continue
        except WorkerError as error:
            report.note(f"{name}, {contender}: failed, {error}")
            continue
        first = first or got
        if difference(got, first) <= 1e-5:
            good[contender] = worker
        else:
            report.note(f"{name}, {contender}: not timed, another result")
    return good


def import_seconds(contender: str, python: str) -> float:
    """The time of importing it in a fresh interpreter in which NumPy is loaded already."""
    code = (
        "import time, numpy; start = time.perf_counter(); "
        f"import {package(contender)}; print(time.perf_counter() - start)"
    )
    # An installed package has its bytecode; ours in a checkout has it after the first run.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def run() -> float:
        command = [python, "-c", code]
        return float(
            subprocess.run(command, capture_output=True, check=True, env=environment).stdout
        )

    run()
    return statistics.median(run() for _ in range(7))


def main(argv: Sequence[str] | None = None) -> Report:
    options = parser("dispatch", __doc__ or "", ("jax", "numpy"), rounds=15).parse_args(argv)
    who, report, _ = start("dispatch", ABOUT, options, MODULE)
    table = Table("Calls", ("", *who.contenders, "limit", "ours / JAX"))
    report.figures["calls"] = []
    with who.workers(MODULE) as workers:
        for name, (limit, share) in LIMITS.items():
            times = race(agreeing(workers, name, report), rounds=who.rounds, target=0.01)
            medians = {c: statistics.median(v) for c, v in times.items()}
            report.figures["calls"].append({"name": name, "median": medians})
            row = [name]
            for contender in who.contenders:
                seconds = medians.get(contender)
                over = contender == OURS and limit and seconds and seconds > limit
                text = "" if seconds is None else f"{1e6 * seconds:.2f}"
                row.append(text + (" !" if over else ""))
            row.append(f"{1e6 * limit:.0f}" if limit else "")
            both = OURS in medians and "jax" in medians
            row.append(ratio(medians[OURS] / medians["jax"], share) if both else "")
            table.rows.append(tuple(row))
    report.add(table)

    imports = {
        c: import_seconds(c, interpreter(c, who.pythons))
        for c in who.contenders
        if c not in ("numpy", "torch_compile")
    }
    report.figures["import"] = imports
    report.note(
        "Import beyond NumPy's, ms: "
        + ", ".join(f"{c} {1e3 * t:.0f}" for c, t in imports.items())
        + f" (limit of ours {1e3 * IMPORT_LIMIT:.0f})."
    )
    report.write(options.json)
    return report


if __name__ == "__main__":
    main()

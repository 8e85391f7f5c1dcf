"""The three headline models: a training step, its first call, and the memory of a run.

float32, cross-entropy, Adam. Every library starts with the same parameters, and the losses of the
first steps must agree before anything is timed (without dropout, at a small learning rate).
`python -m benchmarks.train [--against jax,torch,torch_compile] [--batch 32 128 512]`
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import compile as first
from benchmarks.models import MODELS, STEPS_COMPARED
from benchmarks.report import OURS, Report, Setup, Table, best_peer, duration, parser, ratio, start
from benchmarks.workers import Skip, Worker, WorkerError, race

PUBLISHED_BATCH = 128

ABOUT = "Training steps (medians), and the ratio of ours to the fastest peer's"
MODULE = "benchmarks.compile"
TOLERANCE = 1e-3


def losses(worker: Worker, item: Mapping[str, Any]) -> list[float]:
    """The losses of the first steps, under conditions in which libraries can agree."""
    worker.ask("prepare", item={**item, "compared": True})
    return worker.result()["losses"].tolist()


def agreeing(
    workers: Mapping[str, Worker], item: Mapping[str, Any], report: Report, figures: Any
) -> dict[str, Worker]:
    """The workers whose losses agree with those of the first peer that has any."""
    found = {}
    for name, worker in workers.items():
        try:
            found[name] = losses(worker, item)
        except Skip:
            pass
        except WorkerError as error:
            report.note(f"{item['model']}, {name}: failed, {error}")
    figures["losses"] = found
    if not found:
        return {}
    judge = next((name for name in found if name != OURS), OURS)
    good = {}
    for name, values in found.items():
        worst = float(np.max(np.abs(np.subtract(values, found[judge]))))
        if np.isfinite(values).all() and worst <= TOLERANCE:
            good[name] = workers[name]
        else:
            report.note(
                f"{item['model']}, {name}: not timed, its losses {values} differ "
                f"from {judge}'s {found[judge]}"
            )
    return good


def measure(who: Setup, item: dict[str, Any], report: Report, target: float) -> dict[str, Any]:
    """The seconds of a step in each round, by contender."""
    figures: dict[str, Any] = {}
    # Fresh processes for each model: none pays for another's memory.
    with who.workers(MODULE) as workers:
        racing = agreeing(workers, item, report, figures)
        for name, worker in list(racing.items()):
            try:
                worker.ask("prepare", item=item)
            except WorkerError as error:
                report.note(f"{item['model']}, {name}: failed, {error}")
                del racing[name]
        figures["rounds"] = race(racing, rounds=who.rounds, target=target)
    return figures


def main(argv: Sequence[str] | None = None) -> Report:
    options_parser = parser("train", __doc__ or "", ("jax", "torch", "torch_compile"), rounds=9)
    options_parser.add_argument("--model", nargs="+", choices=list(MODELS), default=list(MODELS))
    options_parser.add_argument("--batch", type=int, nargs="+", default=[128])
    options_parser.add_argument("--data", metavar="DIR", help="take MNIST and CoLA from there")
    options_parser.add_argument("--seconds", type=float, default=0.5, help="time of a turn")
    options_parser.add_argument(
        "--steps-only", action="store_true", help="no first calls, and no memory"
    )
    options = options_parser.parse_args(argv)
    who, report, _ = start("train", ABOUT, options, MODULE)

    folder = str(Path(options.data).resolve()) if options.data else None
    head = ("model", "batch", *who.contenders, "ours / best", "limit")
    table = Table("Training step", head)
    head = ("model", *who.contenders, "PyDyNet, published")
    epochs = Table(f"A pass over the data, in batches of {PUBLISHED_BATCH}, as steps take", head)
    report.figures["steps"] = []
    for name in options.model:
        for batch in options.batch:
            item = {"model": name, "batch": batch, "data": folder}
            figures = measure(who, item, report, options.seconds)
            medians = {c: statistics.median(v) for c, v in figures["rounds"].items()}
            figures |= {"model": name, "batch": batch, "median": medians}
            report.figures["steps"].append(figures)
            limit = MODELS[name].limit
            cells = [duration(medians[c]) if c in medians else "" for c in who.contenders]
            share = ratio(best_peer(medians), limit)
            table.rows.append((MODELS[name].title, str(batch), *cells, share, f"{limit:.2f}"))
            table.show_last()
            if batch == PUBLISHED_BATCH:
                model = MODELS[name]
                cells = [
                    duration(model.epoch * medians[c]) if c in medians else ""
                    for c in who.contenders
                ]
                epochs.rows.append((model.title, *cells, duration(model.published)))
    report.add(table)
    if epochs.rows:
        report.add(epochs)
    report.note(
        f"Losses of the first {STEPS_COMPARED} steps agreed within {TOLERANCE} before timing; "
        f"{'data from files' if folder else 'synthetic data'}."
    )

    if not options.steps_only:
        items = {n: {"model": n, "batch": options.batch[0], "data": folder} for n in options.model}
        found = first.first_calls(who, report, items, repeats=1)
        report.add(first.first_call_table(found))
        report.add(first.memory_table(found))
        report.figures["first_calls"] = found
    report.write(options.json)
    return report


if __name__ == "__main__":
    main()

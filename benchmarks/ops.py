"""Single operations, forward and with their gradients: time, rate, and ratio to the best peer.

Every result is compared before it is timed: with NumPy's in float64 where NumPy has the operation,
otherwise with the first peer's. `python -m benchmarks.ops [--only matmul conv] [--match 10^7]`
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.libraries import functional as namespaces
from benchmarks.operations import functional
from benchmarks.operations.items import LIMITS, Item, items
from benchmarks.report import (
    OURS,
    Report,
    Setup,
    Table,
    best_peer,
    copy_bandwidth,
    duration,
    geometric_mean,
    parser,
    ratio,
    start,
)
from benchmarks.workers import Skip, Task, Worker, WorkerError, race

ABOUT = "Operations (medians), and the ratio of ours to the fastest peer's"
MODULE = "benchmarks.ops"
# From how many bytes on an operation is compared with the bandwidth of a copy.
LARGE = 40_000_000
SHARE_OF_COPY = 0.8
# float64 in JAX is to be asked for.
ENVIRONMENT = {"JAX_ENABLE_X64": "1"}


def operands(item: Item) -> list[np.ndarray]:
    """The same in every process; with gradients, the cotangent of the value comes last."""
    rng = np.random.default_rng(0)
    found = list(item.operands(rng))
    if item.grads:
        value = functional.function(namespaces("numpy"), without_grads(item))
        found.append(rng.standard_normal(value_shape(item, value, found)).astype(found[0].dtype))
    return found


def without_grads(item: Item) -> Item:
    return Item(item.group, item.name, item.function, item.operands, item.params)


def value_shape(item: Item, value: Any, found: Sequence[np.ndarray]) -> tuple[int, ...]:
    if item.function in functional.OF_NUMPY:
        return np.shape(value(*found))
    if item.function == "convolution":
        conv, layout = item.params["conv"], item.params["layout"]
        sizes = {"N": conv.n, "C": conv.outputs, "H": conv.result(), "W": conv.result()}
        return tuple(sizes[c] for c in layout)
    return (*found[0].shape[:2], found[1].shape[1])  # the states of a recurrence


def prepare(contender: str, item: Mapping[str, Any]) -> Task:
    """The task of the item with that "name"."""
    found = items(item.get("tiny", False))[item["name"]]
    if contender in ("torch", "torch_compile"):
        from benchmarks.operations import eager

        return eager.prepare(contender, found, operands(found))
    return functional.prepare(contender, found, operands(found))


# Agreement


def reference(item: Item) -> dict[str, np.ndarray] | None:
    """NumPy's results in float64, where NumPy has the operation."""
    if item.grads or item.function not in functional.OF_NUMPY:
        return None
    wide = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in operands(item)]
    return functional.named(functional.function(namespaces("numpy"), item)(*wide))


def difference(got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """The largest error of an element over the largest size of the elements, in each result."""
    if sorted(got) != sorted(expected):
        return float("inf")
    worst = 0.0
    for name, x in got.items():
        y = expected[name]
        if x.shape != y.shape:
            return float("inf")
        error = np.max(np.abs(np.subtract(x, y, dtype=np.float64)), initial=0)
        worst = max(worst, float(error / max(1e-30, float(np.max(np.abs(y), initial=0)))))
        if np.isnan(error):
            return float("inf")
    return worst


def agreeing(
    workers: Mapping[str, Worker], item: Item, request: Mapping[str, Any], report: Report
) -> dict[str, Worker]:
    """The workers that have the item, and whose results are right."""
    expected, judge = reference(item), "NumPy's in float64"
    good = {}
    # Peers first: one of them judges where NumPy does not.
    for name in sorted(workers, key=lambda n: n == OURS):
        try:
            workers[name].ask("prepare", item=request)
            got = workers[name].result()
        except Skip:
            continue
        except WorkerError as error:
            report.note(f"{item.name}, {name}: failed, {error}")
            continue
        if expected is None:
            expected, judge = got, name
        if (error := difference(got, expected)) <= item.rtol:
            good[name] = workers[name]
        else:
            report.note(f"{item.name}, {name}: not timed, {error:.1e} from {judge}")
    if OURS in good and judge == OURS:
        report.note(f"{item.name}: nothing to compare ours with")
    return good


# The tables


def rate(item: Item, seconds: float, bandwidth: float) -> str:
    """What an operation reaches: of the bandwidth of a copy, or of arithmetic."""
    if item.flops:
        return f"{item.flops / seconds / 1e9:.1f} Gflop/s"
    if item.traffic >= LARGE:
        share = item.traffic / seconds / bandwidth
        return f"{share:.0%} of copy{' !' if share < SHARE_OF_COPY else ''}"
    return ""


def share(item: Item, medians: Mapping[str, float]) -> float | None:
    """Our time over that of the peer that the group's limit speaks of."""
    peer = LIMITS[item.group].peer
    if peer and peer in medians and OURS in medians:
        return medians[OURS] / medians[peer]
    return best_peer(medians)


def run_group(
    group: str, todo: Sequence[Item], who: Setup, report: Report, options: Any, bandwidth: float
) -> None:
    limit = LIMITS[group]
    against = limit.peer if limit.peer in who.contenders else "best"
    table = Table(group, ("", *who.contenders, f"ours / {against}", "ours reaches"))
    shares = []
    with who.workers(MODULE, environment=ENVIRONMENT) as workers:
        for item in todo:
            racing = agreeing(workers, item, {"name": item.name, "tiny": options.tiny}, report)
            try:
                times = race(racing, rounds=who.rounds, target=options.seconds)
            except WorkerError as error:
                report.note(f"{item.name}: failed while it was timed, {error}")
                continue
            medians = {c: statistics.median(v) for c, v in times.items()}
            ours = share(item, medians)
            shares += [ours] if ours else []
            cells = [duration(medians[c]) if c in medians else "" for c in who.contenders]
            reached = rate(item, medians[OURS], bandwidth) if OURS in medians else ""
            table.rows.append((item.name, *cells, ratio(ours, limit.each), reached))
            table.show_last()
            figures = {"group": group, "name": item.name, "median": medians, "rounds": times}
            report.figures["items"].append(figures)
    empty = [""] * len(who.contenders)
    mean = geometric_mean(shares)
    table.rows.append(("geometric mean", *empty, ratio(mean, limit.mean), ""))
    report.figures["means"][group] = mean if shares else None
    report.add(table)


def main(argv: Sequence[str] | None = None) -> Report:
    options_parser = parser("ops", __doc__ or "", ("jax", "torch"), rounds=7)
    options_parser.add_argument("--only", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    options_parser.add_argument("--match", default="", help="only items with this in their name")
    options_parser.add_argument("--seconds", type=float, default=0.1, help="time of a turn")
    options_parser.add_argument("--tiny", action="store_true", help="tiny operands, as in tests")
    options = options_parser.parse_args(argv)
    who, report, _ = start("ops", ABOUT, options, MODULE)
    bandwidth = copy_bandwidth(10**5 if options.tiny else 2 * 10**7, options.threads)
    report.figures |= {"copy bandwidth": bandwidth, "items": [], "means": {}}
    table = items(options.tiny)
    for group in options.only:
        todo = [i for i in table.values() if i.group == group and options.match in i.name]
        if todo:
            run_group(group, todo, who, report, options, bandwidth)
    report.note(
        f"A copy with {options.threads} threads reads and writes {bandwidth / 1e9:.1f} GB/s. "
        "! marks what is beyond the limit of its group, or under "
        f"{SHARE_OF_COPY:.0%} of a copy's bandwidth."
    )
    report.write(options.json)
    return report


if __name__ == "__main__":
    main()

"""Timing of short calls: contenders take turns, so that a change of speed hits them all."""

from __future__ import annotations

import random
import statistics
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One thing measured: seconds a call for each contender, and the most it may take."""

    name: str
    seconds: dict[str, float]
    limit: float | None


def calls_per_round(call: Callable[[], object], target: float = 0.01) -> int:
    """How many calls take about `target` seconds."""
    timer = timeit.Timer(call)
    timer.timeit(10)  # the first calls trace and compile
    number = 1
    while (elapsed := timer.timeit(number)) < target / 10:
        number *= 4
    return max(1, int(number * target / elapsed))


def measure(contenders: dict[str, Callable[[], object]], rounds: int = 15) -> dict[str, float]:
    """The median time of a call of each contender, over rounds taken in turn.

    Each round has another order and begins with calls that are not timed: who comes after a
    contender that fills the caches, or whose threads still spin, would pay for it.
    """
    timers = {name: timeit.Timer(call) for name, call in contenders.items()}
    numbers = {name: calls_per_round(call) for name, call in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    shuffled = random.Random(0)
    for _ in range(rounds):
        shuffled.shuffle(order)
        for name in order:
            timer = timers[name]
            timer.timeit(1 + numbers[name] // 4)
            times[name].append(timer.timeit(numbers[name]) / numbers[name])
    return {name: statistics.median(values) for name, values in times.items()}


def table(rows: Sequence[Row], ours: str, peers: Sequence[str]) -> str:
    """Microseconds for each contender, the ratio of the first peer to ours, and the limit."""
    head = f"{'':34}" + "".join(f"{name:>12}" for name in (ours, *peers))
    lines = [head + f"{f'{peers[0]} / ours':>14}{'limit':>8}"]
    for row in rows:
        cells = [
            f"{1e6 * row.seconds[n]:12.2f}" if n in row.seconds else " " * 12
            for n in (ours, *peers)
        ]
        ratio = row.seconds[peers[0]] / row.seconds[ours] if peers[0] in row.seconds else None
        limit = ""
        if row.limit is not None:
            limit = f"{1e6 * row.limit:6.0f}" + (" " if row.seconds[ours] <= row.limit else " !")
        lines.append(
            f"{row.name:34}{''.join(cells)}{'' if ratio is None else f'{ratio:13.1f}x'}{limit:>8}"
        )
    return "\n".join(lines)

"""How far values are from the exact ones, in units in the last place.

For every elementary and special function, float32 and float64, at points spread over its domain,
against mpmath. The unit is that of the correctly rounded result's last place; among subnormal
results it is the smallest subnormal. A result that should overflow is right if it is infinite.

`python -m benchmarks.accuracy`, with

    --dtype float32        only that dtype
    --functions erf gamma  only these
    --points 100           points a range, 300 by default
    --write docs/accuracy.md
"""

from __future__ import annotations

import argparse
import math
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

import fstensor as fst
from benchmarks.accuracy_functions import FUNCTIONS, Function, Range

LIMIT = 4.0
DTYPES = (np.float32, np.float64)


# Points


def ordinal(x: float, dtype: type) -> int:
    """The number of floats between 0 and x, with the sign of x."""
    bits = np.array(abs(x), dtype).view(np.int32 if dtype is np.float32 else np.int64)
    return int(math.copysign(int(bits), x))


def from_ordinals(n: Sequence[int], dtype: type) -> Any:
    integers = np.int32 if dtype is np.float32 else np.int64
    size = np.abs(np.array(n, np.int64)).astype(integers).view(dtype)
    return np.where(np.array(n) < 0, -size, size)


def sample(where: Range, dtype: type, count: int, rng: np.random.Generator) -> Any:
    """About `count` floats of the range, its ends among them."""
    info = np.finfo(dtype)
    low, high = (float(np.clip(v, float(info.min), float(info.max))) for v in where.ends)
    if low > 0:
        low = max(low, float(info.smallest_subnormal))
    if where.kind == "near":
        # The float at the point, its neighbours, and points that approach it from both sides.
        steps = [s * 2.0**-k for k in np.linspace(1, info.nmant + 2, count // 2) for s in (1, -1)]
        near = [low * (1 + s) if low else s for s in steps]
        here = ordinal(low, dtype)
        return np.concatenate(
            [np.array(near, dtype), from_ordinals([here + i for i in range(-3, 4)], dtype)]
        )
    if where.kind == "linear":
        inner = rng.uniform(low, high, count)
        return np.append(inner, [low, high]).astype(dtype)
    a, b = ordinal(low, dtype), ordinal(high, dtype)
    # One random float in each of `count` stretches that hold equally many.
    inner = [a + int((b - a) * ((i + u) / count)) for i, u in enumerate(rng.random(count))]
    return from_ordinals([a, *inner, b], dtype)


def arguments(function: Function, dtype: type, count: int) -> list[Any]:
    """The operands: for each product of ranges, `count` points for a function of one operand."""
    rng = np.random.default_rng(0)
    columns = []
    for ranges in function.ranges:
        column = [sample(r, dtype, count, rng) for r in ranges]
        size = max(map(len, column))
        if len(column) > 1:
            column = [rng.permutation(np.resize(c, size)) for c in column]
        columns.append(column)
    args = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    if function.adjust:
        args = [np.asarray(a, dtype) for a in function.adjust(*args)]
    keep = np.all([np.isfinite(a) for a in args], axis=0)
    return [a[keep] for a in args]


# Distances


def settled(exact: Callable[..., Any], args: Iterable[float]) -> Any:
    """The exact value to 80 bits at least: at twice the precision it is the same.

    NaN outside of the domain, where it is complex.
    """
    args = [mpf(a) for a in args]
    mp.prec = 120
    value = exact(*args)
    while mp.prec < 20000:
        if isinstance(value, mpmath.mpc):
            return mpmath.nan
        mp.prec *= 2
        better = exact(*args)
        same = better == value or mpmath.isnan(better)
        if same or abs(better - value) <= abs(better) * mpf(2) ** -80:
            return better
        value = better
    raise ArithmeticError(f"no convergence at {args}")


def ulps(got: float, exact: Any, dtype: type) -> float:
    """The distance of a float from the exact value, in units in the last place."""
    info = np.finfo(dtype)
    if mpmath.isnan(exact) or math.isnan(got):
        return 0.0 if mpmath.isnan(exact) and math.isnan(got) else math.inf
    end = mpf(2) ** int(info.maxexp)
    # Values from half a unit below 2^maxexp on round to infinity.
    if abs(exact) >= end - mpf(2) ** int(info.maxexp - info.nmant - 2):
        exact = end if exact > 0 else -end
    exponent = int(mpmath.frexp(exact)[1]) - 1 if exact else int(info.minexp)
    exponent = min(max(exponent, int(info.minexp)), int(info.maxexp) - 1)
    if math.isinf(got):
        got = math.copysign(1, got) * end
    return float(abs(mpf(got) - exact) / mpf(2) ** (exponent - int(info.nmant)))


@dataclass(frozen=True)
class Result:
    """The largest error of a function, where it is, and the share of points beyond the limit."""

    function: Function
    dtype: type
    largest: float
    at: tuple[float, ...]
    beyond: float
    points: int
    worst: tuple[tuple[float, tuple[float, ...]], ...]


def judge(function: Function, dtype: type, count: int) -> Result:
    args = arguments(function, dtype, count)
    got = np.asarray(function.call(*map(fst.numpy.asarray, args)))
    assert got.dtype == dtype, (function.name, got.dtype)
    rows = []
    for value, *point in zip(got.tolist(), *[a.tolist() for a in args], strict=True):
        rows.append((ulps(value, settled(function.exact, point), dtype), tuple(point)))
    rows.sort(key=lambda row: -row[0])
    beyond = sum(error > LIMIT for error, _ in rows) / len(rows)
    return Result(function, dtype, rows[0][0], rows[0][1], beyond, len(rows), tuple(rows[:12]))


# The report


def figure(x: float) -> str:
    return f"{x:.2f}" if x < 100 else f"{x:.1e}" if math.isfinite(x) else "inf"


def place(result: Result) -> str:
    digits = 9 if result.dtype is np.float32 else 17
    return ", ".join(f"{v:.{digits}g}" for v in result.at)


def line(result: Result) -> str:
    share = f"{100 * result.beyond:.1f} % beyond {LIMIT:.0f}" if result.beyond else ""
    name, dtype = result.function.name, result.dtype.__name__
    return f"{name:14}{dtype:9}{figure(result.largest):>9}  at {place(result):44} {share}"


def document(results: Sequence[Result]) -> str:
    """The text of docs/accuracy.md."""
    by_name: dict[str, dict[type, Result]] = {}
    for r in results:
        by_name.setdefault(r.function.name, {})[r.dtype] = r
    head = "| function | domain | " + " | ".join(f"{d.__name__} | at" for d in DTYPES) + " |"
    rows = [head, "|---|---|" + "--:|---|" * len(DTYPES)]
    misses = []
    for name, found in by_name.items():
        first = next(iter(found.values())).function
        cells = []
        for dtype in DTYPES:
            if dtype not in found:
                cells += ["", ""]
                continue
            r = found[dtype]
            text = figure(r.largest)
            cells += [f"**{text}**" if r.largest > LIMIT else text, place(r)]
            if r.largest > LIMIT:
                misses.append(
                    f"- `{name}`, {dtype.__name__}: {text} ULP at {place(r)}; "
                    f"{100 * r.beyond:.1f} % of the points are beyond {LIMIT:.0f}. {first.miss}"
                )
        rows.append(f"| {name} | {first.domain} | " + " | ".join(cells) + " |")
    total = sum(r.points for r in results)
    return TEXT.format(
        limit=f"{LIMIT:.0f}",
        numpy=np.__version__,
        mpmath=mpmath.__version__,
        machine=platform.machine(),
        total=f"{total:,}",
        table="\n".join(rows),
        misses="\n".join(misses) or "None.",
    )


TEXT = """# Accuracy

Written by `python -m benchmarks.accuracy --write docs/accuracy.md`; run it to check a figure.

The largest distance of a result from the exact value, in units in the last place (ULP) of the
correctly rounded result: 0.5 is the best that a float can do. Among subnormal results the unit is
the smallest subnormal, and a result that overflows is right if the exact value rounds to infinity.
Exact values come from mpmath {mpmath}, at a precision that is doubled until the value settles, for
the very float that the function is given. NumPy {numpy} on {machine}; {total} points.

Points are spread over the domain as the floats themselves are (equally many in every binade, down
to the subnormals and up to overflow), and densely where a function is of size 1, near its zeros and
poles, and where our way of evaluating it changes. Domains of functions of several operands are
boxes; the table says which. It is a measurement, not a proof: the largest error found, not the
largest there is.

Elementary functions are NumPy's own, or made of them as JAX makes them. Special functions are ours:
they are evaluated in float64 for every dtype, so that float32 results are rounded once. On a GPU,
CuPy's elementary functions take the place of NumPy's; the table does not speak of them.

## Beyond {limit} ULP

{misses}

## All functions

{table}
"""


def main(arguments_: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("--dtype", choices=[d.__name__ for d in DTYPES])
    parser.add_argument("--functions", nargs="+", metavar="NAME")
    parser.add_argument("--points", type=int, default=300, help="points a range")
    parser.add_argument("--worst", action="store_true", help="list the worst points")
    parser.add_argument("--write", metavar="FILE", help="write the table there, as Markdown")
    options = parser.parse_args(arguments_)
    known = {f.name for f in FUNCTIONS}
    if unknown := set(options.functions or ()) - known:
        parser.error(f"unknown functions: {', '.join(sorted(unknown))}")
    results = []
    start = time.perf_counter()
    for function in FUNCTIONS:
        if options.functions and function.name not in options.functions:
            continue
        for dtype in DTYPES:
            if options.dtype in (None, dtype.__name__):
                before = time.perf_counter()
                results.append(judge(function, dtype, options.points))
                print(line(results[-1]), f"[{time.perf_counter() - before:.1f} s]", flush=True)
                if options.worst:
                    for error, point in results[-1].worst:
                        print(f"    {figure(error):>9} at {point}")
    print(f"{time.perf_counter() - start:.0f} s")
    if options.write:
        with open(options.write, "w", encoding="utf-8") as file:
            file.write(document(results))


if __name__ == "__main__":
    main()

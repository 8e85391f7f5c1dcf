"""All benchmarks of speed, one after the other, and benchmarks/RESULTS.md of what they found.

`python -m benchmarks [--only train ops] [--quick] [--python torch=/path/to/python]`
Alone on the machine: what else runs on it is in the figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import compile as first
from benchmarks import dispatch, ops, train
from benchmarks.report import Report

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"

# The options of each benchmark, and those by which it is quick.
BENCHMARKS: dict[str, tuple[Callable[[Sequence[str]], Report], list[str], list[str]]] = {
    "train": (
        train.main,
        ["--steps-only", "--batch", "128", "32", "512"],
        ["--rounds", "2"],
    ),
    "compile": (first.main, ["--against", "jax,torch,torch_compile"], ["--rounds", "1"]),
    "dispatch": (dispatch.main, ["--against", "jax,numpy,torch"], ["--rounds", "3"]),
    "ops": (ops.main, [], ["--rounds", "3", "--seconds", "0.03"]),
}

TEXT = """# Results

Written by `python -m benchmarks` (`make bench`). Each library has a process of its own, and they
take turns in shuffled order; while one is timed, the others sleep. Results are compared before they
are timed. Times are medians over the turns; a ratio under 1 means that fstensor takes less time. A
`!` marks what is beyond the limit that the project has set itself.

{sections}
"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH")
    parser.add_argument("--threads", metavar="N", help="cores for each contender")
    parser.add_argument("--write", metavar="FILE", default=str(RESULTS))
    options = parser.parse_args(argv)

    shared = [word for pair in options.python for word in ("--python", pair)]
    if options.threads:
        shared += ["--threads", options.threads]
    sections = []
    for name in options.only:
        run, arguments, quick = BENCHMARKS[name]
        print(f"\n== {name}", file=sys.stderr, flush=True)
        report = run([*arguments, *(quick if options.quick else []), *shared])
        sections.append(report.markdown())
        # After each, so that what was found stays if a later one fails.
        text = TEXT.format(sections="\n\n".join(sections))
        Path(options.write).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Forty common functions called eagerly: beside NumPy and JAX, at one, 10^3 and 10^6 elements.

One element shows what a call costs beside its arithmetic, a million whether anything is done twice.
`python -m benchmarks.eager [function ...]`
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fstensor.numpy as fnp
from benchmarks.measure import measure

SIZES = (1, 1_000, 1_000_000)
MOST_ABOVE_NUMPY = 5e-6  # seconds, at one element
MOST_TIMES_NUMPY = 1.1  # at a million elements

# Each takes the namespace and arrays: x and y of floats in (0, 1), i of integers, m and n matrices
# with as many elements, b of bools.
Function = Callable[[Any, dict[str, Any]], Any]
FUNCTIONS: dict[str, Function] = {
    "add": lambda np_, a: np_.add(a["x"], a["y"]),
    "x + y": lambda np_, a: a["x"] + a["y"],
    "x * 2.0": lambda np_, a: a["x"] * 2.0,
    "subtract": lambda np_, a: np_.subtract(a["x"], a["y"]),
    "multiply": lambda np_, a: np_.multiply(a["x"], a["y"]),
    "divide": lambda np_, a: np_.divide(a["x"], a["y"]),
    "x ** 2": lambda np_, a: a["x"] ** 2,
    "power": lambda np_, a: np_.power(a["x"], a["y"]),
    "floor_divide of integers": lambda np_, a: np_.floor_divide(a["i"], a["j"]),
    "remainder of integers": lambda np_, a: np_.remainder(a["i"], a["j"]),
    "negative": lambda np_, a: -a["x"],
    "abs": lambda np_, a: np_.abs(a["x"]),
    "sqrt": lambda np_, a: np_.sqrt(a["x"]),
    "exp": lambda np_, a: np_.exp(a["x"]),
    "log": lambda np_, a: np_.log(a["x"]),
    "sin": lambda np_, a: np_.sin(a["x"]),
    "tanh": lambda np_, a: np_.tanh(a["x"]),
    "maximum": lambda np_, a: np_.maximum(a["x"], a["y"]),
    "x < y": lambda np_, a: a["x"] < a["y"],
    "logical_and": lambda np_, a: np_.logical_and(a["b"], a["b"]),
    "where": lambda np_, a: np_.where(a["b"], a["x"], a["y"]),
    "clip": lambda np_, a: np_.clip(a["x"], 0.2, 0.8),
    "sum": lambda np_, a: np_.sum(a["x"]),
    "sum over axis 0": lambda np_, a: np_.sum(a["m"], axis=0),
    "mean": lambda np_, a: np_.mean(a["x"]),
    "var": lambda np_, a: np_.var(a["x"]),
    "max": lambda np_, a: np_.max(a["x"]),
    "argmax": lambda np_, a: np_.argmax(a["x"]),
    "cumsum": lambda np_, a: np_.cumsum(a["x"]),
    "sort": lambda np_, a: np_.sort(a["x"]),
    "argsort, stable": lambda np_, a: np_.argsort(a["x"], stable=True),
    "m @ n": lambda np_, a: a["m"] @ a["n"],
    "dot": lambda np_, a: np_.dot(a["x"], a["y"]),
    "reshape": lambda np_, a: np_.reshape(a["x"], (-1, 1)),
    "transpose": lambda np_, a: np_.transpose(a["m"]),
    "concatenate": lambda np_, a: np_.concatenate([a["x"], a["y"]]),
    "stack": lambda np_, a: np_.stack([a["x"], a["y"]]),
    "x[::-1]": lambda np_, a: a["x"][::-1],
    "x[i]": lambda np_, a: a["x"][a["i"]],
    "astype": lambda np_, a: a["i"].astype(np_.float32),
}


def operands(size: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    side = max(1, round(size**0.5))
    index = rng.integers(0, size, size).astype(np.int32)
    return {
        "x": rng.random(size, np.float32),
        "y": rng.random(size, np.float32) + np.float32(0.01),
        "i": index,
        "j": rng.integers(1, 9, size).astype(np.int32),
        "b": rng.random(size) < 0.5,
        "m": rng.random((side, side), np.float32),
        "n": rng.random((side, side), np.float32),
    }


def contenders(name: str, values: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    f = FUNCTIONS[name]
    ours = {k: fnp.asarray(v) for k, v in values.items()}
    theirs = {k: jnp.asarray(v) for k, v in values.items()}
    # NumPy reads the same memory: where arrays happen to lie makes up to a tenth of the time.
    values = {k: np.asarray(v) for k, v in ours.items()}
    check(name, f(fnp, ours), f(np, values))
    return {
        "fstensor": lambda: f(fnp, ours),
        "NumPy": lambda: f(np, values),
        "JAX": lambda: jax.block_until_ready(f(jnp, theirs)),
    }


def check(name: str, got: Any, expected: Any) -> None:
    """Whoever computes something else is not a peer."""
    np.testing.assert_allclose(np.asarray(got), expected, rtol=2e-4, atol=1e-5, err_msg=name)


def main() -> None:
    names = sys.argv[1:] or list(FUNCTIONS)
    unknown = [n for n in names if n not in FUNCTIONS]
    if unknown:
        sys.exit(f"no such function: {', '.join(unknown)}; there are {', '.join(FUNCTIONS)}")
    print(f"microseconds a call (median); NumPy {np.__version__}, JAX {jax.__version__}")
    for size in SIZES:
        values = operands(size)
        heads = ("fstensor", "NumPy", "JAX", "ours - NumPy", "ours / NumPy")
        print(f"\n{size:,} elements\n{'':28}" + "".join(f"{h:>14}" for h in heads))
        missed = 0
        for name in names:
            t = measure(contenders(name, values), rounds=15)
            above, times = t["fstensor"] - t["NumPy"], t["fstensor"] / t["NumPy"]
            # What holds for a call at one element is allowed on top at a million, too.
            large = size == SIZES[-1] and times > MOST_TIMES_NUMPY and above > MOST_ABOVE_NUMPY
            miss = (size == 1 and above > MOST_ABOVE_NUMPY) or large
            missed += miss
            cells = "".join(f"{1e6 * t[k]:14.2f}" for k in heads[:3])
            print(f"{name:28}{cells}{1e6 * above:14.2f}{times:14.2f}{' !' if miss else ''}")
        if size == 1:
            print(f"more than 5 us above NumPy: {missed} of {len(names)}")
        elif size == SIZES[-1]:
            print(f"more than {MOST_TIMES_NUMPY} times NumPy: {missed} of {len(names)}")


if __name__ == "__main__":
    main()

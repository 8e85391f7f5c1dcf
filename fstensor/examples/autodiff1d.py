"""Derivatives of a function of one variable, and what they find: roots, extrema, polynomials.

    python -m fstensor.examples.autodiff1d

The function is f(x) = exp(x) sin(x). Its n-th derivative is 2^(n/2) exp(x) sin(x + n pi / 4), its
minimum nearest to 0 lies at -pi/4, its maximum at 3 pi/4, and it is 0 at pi; so what is computed
here stands beside what is exact. All numbers have 64 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import random
from fstensor.examples import common
from fstensor.experimental.jet import jet

Function: TypeAlias = Callable[[fst.Array], fst.Array]


def f(x: fst.Array) -> fst.Array:
    return fnp.exp(x) * fnp.sin(x)


def exact_derivative(order: int, x: float) -> float:
    return 2 ** (order / 2) * math.exp(x) * math.sin(x + order * math.pi / 4)


def derivatives(f: Function, x: fst.Array, orders: int) -> list[fst.Array]:
    """f(x), f'(x), f''(x) and so on: the gradient of each derivative is the next one."""
    values = []
    for _ in range(orders + 1):
        values.append(f(x))
        f = fst.grad(f)
    return values


def taylor(f: Function, degree: int) -> fst.Array:
    """The coefficients of f around 0, of the powers 0, 1, ..., all from one evaluation of f."""
    line = [1.0] + [0.0] * (degree - 1)  # the derivatives of x itself
    value, terms = jet(f, (0.0,), (line,))
    factorials = [math.factorial(n) for n in range(degree + 1)]
    return fnp.stack([value, *terms]) / fnp.asarray(factorials, "float64")


def newton(f: Function, x: fst.Array, steps: int, name: str) -> fst.Array:
    """A root of f near x, by x <- x - f(x) / f'(x)."""
    value_and_slope = fst.jit(fst.value_and_grad(f))
    for step in range(steps):
        value, slope = value_and_slope(x)
        x = x - value / slope
        common.progress(f"{name}  step {step + 1}  x = {float(x):.15f}", last=step + 1 == steps)
    return x


def descend(f: Function, x: fst.Array, rate: float, steps: int, name: str) -> fst.Array:
    """A minimum of f near x, by x <- x - rate f'(x)."""
    slope = fst.jit(fst.grad(f))
    for step in range(steps):
        x = x - rate * slope(x)
        if (step + 1) % 10 == 0:
            common.progress(f"{name}  step {step + 1}  x = {float(x):.15f}", last=step + 1 == steps)
    return x


class Found(NamedTuple):
    """A name, what was computed, and what is exact, for each line of the closing table."""

    rows: tuple[tuple[str, float, float], ...]

    def worst(self) -> float:
        """The largest difference between the two."""
        return max(abs(value - exact) for _, value, exact in self.rows)

    def __str__(self) -> str:
        cells = [
            (name, f"{value:.15f}", f"{exact:.15f}", f"{abs(value - exact):.0e}")
            for name, value, exact in self.rows
        ]
        return common.table(("", "computed", "exact", "difference"), cells)


def main(argv: Sequence[str] | None = None) -> Found:
    parser = common.parser("autodiff1d", __doc__)
    parser.add_argument(
        "--orders", type=common.positive(int), default=6, help="how many derivatives to take"
    )
    options = parser.parse_args(argv)
    with fst.config.override(default_dtype_bits=64):
        found = compute(options.seed, options.orders)
    print(found)
    return found


def compute(seed: int, orders: int) -> Found:
    """The derivatives at a random point, the Taylor polynomial, and the three points."""
    x = random.uniform(random.key(seed), minval=-1, maxval=2)
    at = float(x)
    rows = [
        (f"derivative {n} at {at:.3f}", float(value), exact_derivative(n, at))
        for n, value in enumerate(derivatives(f, x, orders))
    ]
    rows += [
        (f"Taylor coefficient of x^{n}", value, exact_derivative(n, 0) / math.factorial(n))
        for n, value in enumerate(taylor(f, orders).tolist())
    ]
    root = newton(f, fnp.asarray(3.0), 6, "root")
    maximum = newton(fst.grad(f), fnp.asarray(2.0), 6, "maximum")
    minimum = descend(f, fnp.asarray(0.0), 1.0, 50, "minimum")
    rows += [
        ("root", float(root), math.pi),
        ("maximum at", float(maximum), 3 * math.pi / 4),
        ("minimum at", float(minimum), -math.pi / 4),
    ]
    return Found(tuple(rows))


if __name__ == "__main__":
    main()

"""Derivatives of functions of two variables, and three ways down Rosenbrock's valley.

    python -m fstensor.examples.autodiff2d

First the gradient, the Hessian and a Jacobian at a random point, beside what is exact. Then the
minimum of f(x, y) = (1 - x)^2 + 100 (y - x^2)^2 (Rosenbrock, 1960), which is 0 at (1, 1), by
gradient descent, by Newton's method, and by L-BFGS. A picture shows where Newton's method went.
All numbers have 64 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

import fstensor as fst
import fstensor.numpy as fnp
from fstensor import lax, optim, random
from fstensor.examples import common

Function: TypeAlias = Callable[[fst.Array], fst.Array]
START = (-1.2, 1.0)
# Where the picture ends, to the left, right, bottom and top, and its columns and rows.
LEFT, RIGHT, BOTTOM, TOP = -1.6, 1.6, -0.6, 1.6
COLUMNS, ROWS = 64, 22


def rosenbrock(p: fst.Array) -> fst.Array:
    x, y = p
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def cartesian(p: fst.Array) -> fst.Array:
    """The point with the radius and the angle p."""
    radius, angle = p
    return fnp.stack([radius * fnp.cos(angle), radius * fnp.sin(angle)])


def exact(x: float, y: float) -> dict[str, list[float]]:
    """By hand: of Rosenbrock's function at (x, y), and of `cartesian` for radius x and angle y."""
    return {
        "gradient": [2 * (x - 1) - 400 * x * (y - x**2), 200 * (y - x**2)],
        "Hessian": [2 - 400 * y + 1200 * x**2, -400 * x, -400 * x, 200.0],
        "Jacobian": [math.cos(y), -x * math.sin(y), math.sin(y), x * math.cos(y)],
    }


def computed(p: fst.Array) -> dict[str, list[float]]:
    return {
        "gradient": fst.grad(rosenbrock)(p).tolist(),
        "Hessian": fst.hessian(rosenbrock)(p).ravel().tolist(),
        "Jacobian": fst.jacobian(cartesian)(p).ravel().tolist(),
    }


class Descent(NamedTuple):
    """How one method went down. path: (steps, 2), where it was; value: of f at the end."""

    path: fst.Array
    value: float

    def distance(self) -> float:
        """From the end of the path to the minimum."""
        return math.dist(self.path[-1].tolist(), (1, 1))


def gradient_descent(f: Function, start: fst.Array, steps: int, rate: float) -> Descent:
    """p <- p - rate f'(p): many small steps, as one loop in one program."""
    slope = fst.grad(f)

    def step(p: fst.Array, _: None) -> tuple[fst.Array, fst.Array]:
        after = p - rate * slope(p)
        return after, after

    end, path = fst.jit(lambda p: lax.scan(step, p, length=steps))(start)
    return Descent(path, float(f(end)))


def newton(f: Function, start: fst.Array, steps: int) -> Descent:
    """p <- p - H^-1 f'(p), which is the minimum of the parabola that fits f best at p."""
    step = fst.jit(lambda p: p - fnp.linalg.solve(fst.hessian(f)(p), fst.grad(f)(p)))
    path = [start]
    for _ in range(steps):
        path.append(step(path[-1]))
    return Descent(fnp.stack(path[1:]), float(f(path[-1])))


def lbfgs(f: Function, start: fst.Array, steps: int) -> Descent:
    """Newton's method with a Hessian learned from gradients, and a search along each direction."""
    value_and_grad = fst.value_and_grad(f)
    optimizer = optim.lbfgs()

    @fst.jit
    def step(p: fst.Array, state: optim.State) -> tuple[fst.Array, optim.State]:
        value, grads = value_and_grad(p)
        updates, state = optimizer.update(
            grads, state, p, value=value, value_and_grad=value_and_grad
        )
        return optim.apply_updates(p, updates), state

    path, state = [start], optimizer.init(start)
    for _ in range(steps):
        p, state = step(path[-1], state)
        path.append(p)
    return Descent(fnp.stack(path[1:]), float(f(path[-1])))


def picture(f: Function, path: fst.Array) -> str:
    """The heights of f as characters, darker the higher, and a path over them.

    A digit counts the steps to its place; those that lead out of the picture are left out.
    """
    x, y = np.linspace(LEFT, RIGHT, COLUMNS), np.linspace(TOP, BOTTOM, ROWS)
    points = fnp.asarray(np.stack(np.meshgrid(x, y), axis=-1))
    heights = fst.vmap(fst.vmap(f))(points)
    # A shade more for each factor of 10.
    shades = fnp.clip(fnp.floor(fnp.log10(heights + 1e-3) + 2), 0, 5).astype(int).tolist()
    rows = [[" .:-=+"[shade] for shade in row] for row in shades]
    for step, (x_step, y_step) in enumerate(path.tolist()):
        column = round((x_step - LEFT) / (RIGHT - LEFT) * (COLUMNS - 1))
        row = round((TOP - y_step) / (TOP - BOTTOM) * (ROWS - 1))
        if 0 <= column < COLUMNS and 0 <= row < ROWS:
            rows[row][column] = str(step % 10)
    return "\n".join("".join(row) for row in rows)


class Found(NamedTuple):
    """worst: the largest relative difference of a derivative from what is exact."""

    worst: float
    descents: dict[str, Descent]

    def __str__(self) -> str:
        cells = [
            (
                name,
                f"{len(descent.path):,}",
                "({:.6f}, {:.6f})".format(*descent.path[-1].tolist()),
                f"{descent.value:.1e}",
            )
            for name, descent in self.descents.items()
        ]
        return common.table(("method", "steps", "ends at", "value there"), cells)


def main(argv: Sequence[str] | None = None) -> Found:
    parser = common.parser("autodiff2d", __doc__)
    parser.add_argument(
        "--steps", type=common.positive(int), default=20_000, help="of gradient descent"
    )
    parser.add_argument("--lr", type=common.positive(float), default=1e-3, help="of the same")
    options = parser.parse_args(argv)
    with fst.config.override(default_dtype_bits=64):
        return compute(options.seed, options.steps, options.lr)


def compute(seed: int, steps: int, rate: float) -> Found:
    p = random.uniform(random.key(seed), (2,), minval=0.5, maxval=1.5)
    found, known = computed(p), exact(*p.tolist())
    rows = [
        (what, f"{value:.12f}", f"{by_hand:.12f}", abs(value - by_hand) / abs(by_hand))
        for what in known
        for value, by_hand in zip(found[what], known[what], strict=True)
    ]
    print("derivatives at ({:.3f}, {:.3f})".format(*p.tolist()))
    head = ("", "computed", "exact", "relative difference")
    print(common.table(head, [(*cells, f"{difference:.0e}") for *cells, difference in rows]))

    start = fnp.asarray(START)
    descents = {
        "gradient descent": gradient_descent(rosenbrock, start, steps, rate),
        "Newton": newton(rosenbrock, start, 8),
        "L-BFGS": lbfgs(rosenbrock, start, 40),
    }
    print(f"\nNewton's steps 1, 2, ... from {START} at 0 to the minimum at (1, 1)")
    print(picture(rosenbrock, fnp.concatenate([start[None], descents["Newton"].path])))
    results = Found(max(row[-1] for row in rows), descents)
    print(f"\n{results}")
    return results


if __name__ == "__main__":
    main()

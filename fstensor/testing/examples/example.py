"""What an example is, and the few shapes of calls that most functions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Call = Callable[..., Any]


@dataclass(frozen=True)
class Example:
    """A small call of one function.

    call: takes the function and the arrays. It is run with NumPy's or JAX's function too, so it
        uses only what they share.
    arrays: the operands over which jit, vmap and derivatives are tried; ndarrays.
    like: whose function gives the value to compare with, the first that is there: `numpy`,
        `scipy`, `jax` with 64 bits by default, `jax32` without; or nobody.
    """

    call: Call
    arrays: tuple[np.ndarray, ...] = ()
    like: str = "numpy jax"


Examples = dict[str, Example]


def plain(f: Call, *arrays: Any) -> Any:
    """The function of its arrays and nothing else."""
    return f(*arrays)


def each(names: str, *arrays: Any, call: Call = plain, like: str = "numpy jax") -> Examples:
    """One example for all of these names, separated by spaces."""
    operands = tuple(np.asarray(x) for x in arrays)
    return {name: Example(call, operands, like) for name in names.split()}


def given(*after: Any, **options: Any) -> Call:
    """A call with further arguments after the arrays."""
    return lambda f, *arrays: f(*arrays, *after, **options)


def listed(*after: Any, **options: Any) -> Call:
    """A call with one list of all arrays."""
    return lambda f, *arrays: f(list(arrays), *after, **options)


def constant(*arguments: Any, **options: Any) -> Call:
    """A call without arrays."""
    return lambda f: f(*arguments, **options)


# Operands. No two elements are equal, none lies at a kink, and each domain is kept when all
# elements shrink by a twentieth.
UNIT = np.array([0.31, -0.52, 0.73])  # within (-1, 1)
POSITIVE = np.array([0.37, 1.62, 2.83])
FRACTION = np.array([0.21, 0.64, 0.83])  # within (0, 1)
ABOVE_ONE = np.array([1.23, 1.86, 2.97])
OTHER = np.array([1.47, -0.38, 0.59])
MATRIX = np.array([[0.9, -1.3, 0.4], [2.1, 0.7, -0.6]])
SQUARE = np.array([[2.0, 0.3, -0.4], [0.5, 1.7, 0.2], [-0.1, 0.6, 2.4]])
SYMMETRIC = np.array([[4.0, 0.6, -0.4], [0.6, 3.1, 0.2], [-0.4, 0.2, 2.2]])
CUBE = np.sin(np.arange(1.0, 25.0)).reshape(2, 3, 4)
INTEGERS = np.array([3, 6, 10])
SMALL_INTEGERS = np.array([2, 1, 3])
BOOLS = np.array([True, False, True])
OTHER_BOOLS = np.array([False, False, True])
COMPLEX = np.array([0.3 + 0.8j, -1.1 + 0.4j, 0.7 - 0.9j])

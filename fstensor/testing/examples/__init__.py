"""One small example call of every function, on which its properties are found out."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from fstensor.testing.examples import (
    of_lax,
    of_nn,
    of_numpy,
    of_numpy_arrays,
    of_random,
    of_scipy,
    of_transforms,
)
from fstensor.testing.examples.example import Example


@functools.cache
def examples() -> Mapping[str, Example]:
    """All examples, by the path of their function: `numpy.sum`, `grad`."""
    parts = (of_lax, of_nn, of_numpy, of_numpy_arrays, of_random, of_scipy, of_transforms)
    return {
        name if module == "fstensor" else f"{module}.{name}": example
        for part in parts
        for module, found in part.EXAMPLES.items()
        for name, example in found.items()
    }

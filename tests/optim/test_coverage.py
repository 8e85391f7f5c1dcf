"""Every optimizer, transformation and schedule is followed step by step in some test."""

import inspect
import re

import pytest

from fstensor import optim
from tests.optim import (
    test_averaging,
    test_lbfgs,
    test_optimizers,
    test_schedules,
    test_transformations,
)

# Those in tests of their own; the others are in cases with trajectories of PyTorch or Optax.
APART = {
    "shampoo": test_optimizers.test_shampoo,
    "sparse_adam": test_optimizers.test_sparse_adam,
    "asgd_average": test_optimizers.test_asgd_average,
    "sam": test_transformations.test_sam,
    "normalize": test_transformations.test_clip_of_zeros,
    "lbfgs": test_lbfgs.test_torch,
    "average_params": test_averaging.test_torch,
    "ema_params": test_averaging.test_torch,
    "reduce_on_plateau": test_schedules.test_plateau,
    # Neither library has these: they are compared with their formulas.
    "inverse_sqrt_schedule": test_schedules.test_inverse_sqrt,
    "constant_schedule": test_schedules.test_dtypes,
    "set_to_zero": test_transformations.test_freeze,
}


def in_cases():
    """The functions that the cases call."""
    found = set()
    for cases in (
        test_optimizers.TORCH,
        test_optimizers.OPTAX,
        test_transformations.OPTAX,
        test_transformations.SAME,
    ):
        for make in cases.values():
            found.update(make.__code__.co_names)
    text = inspect.getsource(test_schedules)
    found.update(re.findall(r"optim\.(\w+)\(", text[: text.index("CASES = ")]))
    return found


def makers():
    """Public functions that make a transformation, a schedule, or what is like them."""
    kinds = ("GradientTransformation", "Schedule", "Averaging", "Plateau")
    functions = {n: f for n in optim.__all__ if inspect.isfunction(f := getattr(optim, n))}
    made = [n for n, f in functions.items() if f.__annotations__["return"].startswith(kinds)]
    return [*made, "sam", "asgd_average"]


def test_there_are_many():
    assert len(makers()) > 60


@pytest.mark.parametrize("name", makers())
def test_followed(name):
    if name in APART:
        assert f"optim.{name}(" in inspect.getsource(APART[name])
    else:
        assert name in in_cases()
